//! Judges the `device` proof of a `connect`: which payload forms count, clock skew, nonce, and the refusals
//! (`spec/protocol.md` section 3.2). Pure; knows nothing of pairing or sockets.

use std::time::Duration;

use serde_json::json;

use crate::identity::{Claim, Form, PublicKey, payload};
use crate::limits;
use crate::protocol::errors::WireError;

/// `connect.params.device` as sent.
#[derive(Clone, Copy)]
pub struct Proof<'a> {
    /// `device.id`.
    pub id: &'a str,
    /// `device.publicKey`.
    pub public_key: &'a str,
    /// `device.signature`.
    pub signature: &'a str,
    /// `device.signedAt`.
    pub signed_at_ms: u64,
    /// `device.nonce`.
    pub nonce: Option<&'a str>,
}

/// What the connection itself knows about the attempt.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// Negotiated protocol.
    pub protocol: u8,
    /// Whether the client is local (protocol.md 3.4).
    pub local: bool,
    /// The nonce of this connection's challenge.
    pub challenge: &'a str,
    /// `client.id`.
    pub client_id: &'a str,
    /// `client.mode`.
    pub client_mode: &'a str,
    /// Effective role.
    pub role: &'a str,
    /// Scopes exactly as sent.
    pub scopes: &'a [String],
    /// See [`crate::identity::signing_token`].
    pub token: &'a str,
    /// `client.platform`.
    pub platform: &'a str,
    /// `client.deviceFamily`, empty when absent.
    pub device_family: &'a str,
    /// Wall clock.
    pub now_ms: u64,
}

/// A device whose proof held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenDevice {
    /// Device id, equal to the digest of the key.
    pub id: String,
    /// The public key in its wire form, whatever form was sent.
    pub public_key: String,
}

/// Why a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceFault {
    /// The id is not the digest of the key.
    IdMismatch,
    /// Signed too long ago, or in the future.
    Expired,
    /// No nonce where one is needed.
    NonceMissing,
    /// The nonce of another connection.
    NonceMismatch,
    /// No acceptable form carries this signature.
    Signature,
    /// The key text is no key.
    PublicKey,
}

impl DeviceFault {
    /// Message, `details.code` and `details.reason`.
    fn row(self) -> (&'static str, &'static str, &'static str) {
        match self {
            DeviceFault::IdMismatch => {
                ("device identity mismatch", "DEVICE_AUTH_DEVICE_ID_MISMATCH", "device-id-mismatch")
            }
            DeviceFault::Expired => {
                ("device signature expired", "DEVICE_AUTH_SIGNATURE_EXPIRED", "device-signature-stale")
            }
            DeviceFault::NonceMissing => {
                ("device nonce required", "DEVICE_AUTH_NONCE_REQUIRED", "device-nonce-missing")
            }
            DeviceFault::NonceMismatch => {
                ("device nonce mismatch", "DEVICE_AUTH_NONCE_MISMATCH", "device-nonce-mismatch")
            }
            DeviceFault::Signature => ("device signature invalid", "DEVICE_AUTH_SIGNATURE_INVALID", "device-signature"),
            DeviceFault::PublicKey => {
                ("device public key invalid", "DEVICE_AUTH_PUBLIC_KEY_INVALID", "device-public-key")
            }
        }
    }

    /// The refusal as the peer sees it; the connection is then closed 1008 with the same text.
    pub fn wire(self) -> WireError {
        let (message, code, reason) = self.row();
        WireError::invalid(message).with_details(json!({"code": code, "reason": reason}))
    }
}

/// Checks a proof in the reference's order: id, age, nonce, signature.
pub fn check(proof: &Proof<'_>, attempt: &Attempt<'_>) -> Result<ProvenDevice, DeviceFault> {
    let key = PublicKey::decode(proof.public_key).map_err(|_| DeviceFault::PublicKey)?;
    let id = key.device_id();
    if proof.id != id {
        return Err(DeviceFault::IdMismatch);
    }
    if attempt.now_ms.abs_diff(proof.signed_at_ms) > skew_ms(attempt.protocol) {
        return Err(DeviceFault::Expired);
    }
    let forms = acceptable_forms(proof, attempt)?;
    let claim = claim(proof, attempt);
    if !forms.iter().any(|form| key.verify(&payload(*form, &claim), proof.signature)) {
        return Err(DeviceFault::Signature);
    }
    Ok(ProvenDevice { id, public_key: key.encode() })
}

/// The forms to try. Without a nonce only a local protocol 3 client may pass, with the oldest form; with one,
/// either newer form counts on both protocols (a 9.6 node that fell back to 3 still signs the newest).
fn acceptable_forms(proof: &Proof<'_>, attempt: &Attempt<'_>) -> Result<&'static [Form], DeviceFault> {
    match proof.nonce.filter(|nonce| !nonce.is_empty()) {
        None if attempt.local && attempt.protocol < 4 => Ok(&[Form::V1]),
        None => Err(DeviceFault::NonceMissing),
        Some(nonce) if nonce != attempt.challenge => Err(DeviceFault::NonceMismatch),
        Some(_) => Ok(&[Form::V3, Form::V2]),
    }
}

fn claim<'a>(proof: &Proof<'a>, attempt: &Attempt<'a>) -> Claim<'a> {
    Claim {
        device_id: proof.id,
        client_id: attempt.client_id,
        client_mode: attempt.client_mode,
        role: attempt.role,
        scopes: attempt.scopes,
        signed_at_ms: proof.signed_at_ms,
        token: attempt.token,
        nonce: proof.nonce.unwrap_or(""),
        platform: attempt.platform,
        device_family: attempt.device_family,
    }
}

fn skew_ms(protocol: u8) -> u64 {
    let skew: Duration = if protocol >= 4 { limits::SIGNATURE_SKEW_V4 } else { limits::SIGNATURE_SKEW_V3 };
    u64::try_from(skew.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{SecretKey, sign_payload};

    const NOW: u64 = 1_795_233_714_506;

    struct Case {
        form: Form,
        protocol: u8,
        local: bool,
        nonce: Option<&'static str>,
        age_ms: i64,
    }

    fn run(case: &Case, change: impl Fn(&mut Proof<'_>, &mut Attempt<'_>)) -> Result<ProvenDevice, DeviceFault> {
        let key = SecretKey::from_seed([3; 32]).unwrap();
        let (id, public) = (key.public().device_id(), key.public().encode());
        let scopes = ["operator.write".to_string(), "operator.admin".to_string()];
        let signed_at_ms = NOW.checked_add_signed(-case.age_ms).unwrap();
        let mut attempt = Attempt {
            protocol: case.protocol,
            local: case.local,
            challenge: "nonce-1",
            client_id: "cli",
            client_mode: "cli",
            role: "operator",
            scopes: &scopes,
            token: "secret",
            platform: "Linux",
            device_family: "Linux",
            now_ms: NOW,
        };
        let mut proof = Proof { id: &id, public_key: &public, signature: "", signed_at_ms, nonce: case.nonce };
        let signature = sign_payload(&key, case.form, &claim(&proof, &attempt));
        proof.signature = &signature;
        change(&mut proof, &mut attempt);
        check(&proof, &attempt)
    }

    fn case(form: Form, protocol: u8) -> Case {
        Case { form, protocol, local: false, nonce: Some("nonce-1"), age_ms: 0 }
    }

    #[test]
    fn both_newer_forms_pass_on_both_protocols_from_anywhere() {
        for form in [Form::V2, Form::V3] {
            for protocol in [3, 4] {
                for local in [false, true] {
                    let case = Case { local, ..case(form, protocol) };
                    assert!(run(&case, |_, _| {}).is_ok(), "{form:?} {protocol} {local}");
                }
            }
        }
    }

    #[test]
    fn the_form_without_nonce_passes_only_locally_on_protocol_3() {
        for (protocol, local, expected) in [
            (3, true, Ok(())),
            (3, false, Err(DeviceFault::NonceMissing)),
            (4, true, Err(DeviceFault::NonceMissing)),
            (4, false, Err(DeviceFault::NonceMissing)),
        ] {
            let case = Case { local, nonce: None, ..case(Form::V1, protocol) };
            assert_eq!(run(&case, |_, _| {}).map(|_| ()), expected, "{protocol} {local}");
        }
        let with_nonce = Case { local: true, ..case(Form::V1, 3) };
        assert_eq!(run(&with_nonce, |_, _| {}), Err(DeviceFault::Signature));
        let empty = Case { nonce: Some(""), ..case(Form::V2, 4) };
        assert_eq!(run(&empty, |_, _| {}), Err(DeviceFault::NonceMissing));
    }

    #[test]
    fn skew_is_ten_minutes_on_3_and_two_on_4_in_both_directions() {
        for (protocol, age_ms, fresh) in [
            (3, 600_000, true),
            (3, 600_001, false),
            (3, -600_000, true),
            (3, -600_001, false),
            (4, 120_000, true),
            (4, 120_001, false),
            (4, -120_001, false),
        ] {
            let result = run(&Case { age_ms, ..case(Form::V2, protocol) }, |_, _| {});
            assert_eq!(result.is_ok(), fresh, "{protocol} {age_ms}");
            assert!(fresh || result == Err(DeviceFault::Expired));
        }
    }

    #[test]
    fn every_signed_field_is_covered() {
        type Tamper = fn(&mut Proof<'_>, &mut Attempt<'_>);
        let changes: [(&str, Tamper); 9] = [
            ("client id", |_, a| a.client_id = "test"),
            ("client mode", |_, a| a.client_mode = "ui"),
            ("role", |_, a| a.role = "node"),
            ("scopes", |_, a| a.scopes = &[]),
            ("token", |_, a| a.token = "other"),
            ("platform", |_, a| a.platform = "darwin"),
            ("family", |_, a| a.device_family = ""),
            ("time", |p, _| p.signed_at_ms += 1),
            ("signature", |p, _| p.signature = "AAAA"),
        ];
        for (name, change) in changes {
            assert_eq!(run(&case(Form::V3, 4), change), Err(DeviceFault::Signature), "{name}");
        }
    }

    #[test]
    fn refusals_come_in_the_reference_order_with_its_texts() {
        let stale_and_foreign = Case { age_ms: 900_000, nonce: Some("other"), ..case(Form::V2, 3) };
        assert_eq!(run(&stale_and_foreign, |p, _| p.id = "00"), Err(DeviceFault::IdMismatch));
        assert_eq!(run(&stale_and_foreign, |_, _| {}), Err(DeviceFault::Expired));
        let foreign = Case { nonce: Some("other"), ..case(Form::V2, 3) };
        assert_eq!(run(&foreign, |_, _| {}), Err(DeviceFault::NonceMismatch));
        assert_eq!(run(&foreign, |p, _| p.public_key = "?"), Err(DeviceFault::PublicKey));
        let wire = DeviceFault::Expired.wire().to_value();
        assert_eq!(
            wire,
            json!({"code": "INVALID_REQUEST", "message": "device signature expired",
                   "details": {"code": "DEVICE_AUTH_SIGNATURE_EXPIRED", "reason": "device-signature-stale"}})
        );
    }

    #[test]
    fn a_pem_key_is_stored_in_wire_form() {
        let key = SecretKey::from_seed([3; 32]).unwrap();
        let pem = key.public().to_pem();
        let device = run(&case(Form::V3, 4), |p, _| p.public_key = Box::leak(pem.clone().into_boxed_str())).unwrap();
        assert_eq!(device, ProvenDevice { id: key.public().device_id(), public_key: key.public().encode() });
    }
}
