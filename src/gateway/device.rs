//! Judges the `device` proof of a `connect`: which payload forms count, clock skew, nonce, and the refusals
//! (`spec/protocol.md` section 3.2). Pure; knows nothing of pairing or sockets. The signature, which costs the most,
//! is checked by the connection's own thread, the rest by the state thread: a flood of proofs slows nobody else.

use std::time::Duration;

use super::connect_params::{ConnectParams, DeviceClaim};
use crate::identity::{Claim, Form, PublicKey, payload, signing_token};
use crate::limits;
use crate::protocol::errors::WireError;

/// What a signature says, whoever sent it and whenever.
#[derive(Debug, Clone, Copy)]
pub struct Signed {
    /// The key, if its text is one.
    key: Option<PublicKey>,
    /// The form that carries the signature, if one does.
    form: Option<Form>,
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

/// Works out the key and the form of a `device` proof. With a nonce either newer form counts on both protocols (a 9.6
/// node that fell back to 3 still signs the newest), without one only the oldest.
pub fn examine(params: &ConnectParams) -> Option<Signed> {
    let device = params.device.as_ref()?;
    let key = PublicKey::decode(&device.public_key).ok();
    let forms: &[Form] = if device.nonce().is_some() { &[Form::V3, Form::V2] } else { &[Form::V1] };
    let holds = |form: &Form| {
        let claim = claim(params, device)?;
        key?.verify(&payload(*form, &claim), &device.signature).then_some(*form)
    };
    Some(Signed { key, form: forms.iter().find_map(holds) })
}

/// The signed fields; none for a role that is not ours.
fn claim<'a>(params: &'a ConnectParams, device: &'a DeviceClaim) -> Option<Claim<'a>> {
    let auth = &params.auth;
    Some(Claim {
        device_id: &device.id,
        client_id: &params.client.id,
        client_mode: &params.client.mode,
        role: params.role()?.name(),
        scopes: &params.scopes,
        signed_at_ms: device.signed_at_ms(),
        token: signing_token(auth.token.as_deref(), auth.device_token.as_deref(), auth.bootstrap_token.as_deref()),
        nonce: device.nonce().unwrap_or_default(),
        platform: &params.client.platform,
        device_family: params.client.device_family.as_deref().unwrap_or_default(),
    })
}

/// Checks a proof in the reference's order: id, age, nonce, signature.
pub fn check(device: &DeviceClaim, signed: Signed, attempt: &Attempt<'_>) -> Result<ProvenDevice, DeviceFault> {
    let key = signed.key.ok_or(DeviceFault::PublicKey)?;
    let id = key.device_id();
    if device.id != id {
        return Err(DeviceFault::IdMismatch);
    }
    if attempt.now_ms.abs_diff(device.signed_at_ms()) > skew_ms(attempt.protocol) {
        return Err(DeviceFault::Expired);
    }
    match device.nonce() {
        // Without a nonce only a local protocol 3 client may pass.
        None if attempt.local && attempt.protocol < 4 => {}
        None => return Err(DeviceFault::NonceMissing),
        Some(nonce) if nonce != attempt.challenge => return Err(DeviceFault::NonceMismatch),
        Some(_) => {}
    }
    signed.form.ok_or(DeviceFault::Signature)?;
    Ok(ProvenDevice { id, public_key: key.encode() })
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

    /// A `connect` signed in this form, then changed.
    fn run(case: &Case, change: impl Fn(&mut ConnectParams)) -> Result<ProvenDevice, DeviceFault> {
        let key = SecretKey::from_seed([3; 32]).unwrap();
        let device = json!({"id": key.public().device_id(), "publicKey": key.public().encode(), "signature": "",
            "signedAt": NOW.checked_add_signed(-case.age_ms).unwrap(), "nonce": case.nonce});
        let mut params = ConnectParams::read(json!({"minProtocol": 3, "maxProtocol": 4, "device": device,
            "client": {"id": "cli", "version": "1", "platform": "Linux", "mode": "cli", "deviceFamily": "Linux"},
            "scopes": ["operator.write", "operator.admin"], "auth": {"token": "secret"}}))
        .unwrap();
        let signature = sign_payload(&key, case.form, &claim(&params, params.device.as_ref().unwrap()).unwrap());
        params.device.as_mut().unwrap().signature = signature;
        change(&mut params);
        let attempt = Attempt { protocol: case.protocol, local: case.local, challenge: "nonce-1", now_ms: NOW };
        check(params.device.as_ref().unwrap(), examine(&params).unwrap(), &attempt)
    }

    /// Changes the proof only.
    fn claimed(change: impl Fn(&mut DeviceClaim)) -> impl Fn(&mut ConnectParams) {
        move |params| change(params.device.as_mut().unwrap())
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
                    assert!(run(&case, |_| {}).is_ok(), "{form:?} {protocol} {local}");
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
            assert_eq!(run(&case, |_| {}).map(|_| ()), expected, "{protocol} {local}");
        }
        let with_nonce = Case { local: true, ..case(Form::V1, 3) };
        assert_eq!(run(&with_nonce, |_| {}), Err(DeviceFault::Signature));
        let empty = Case { nonce: Some(""), ..case(Form::V2, 4) };
        assert_eq!(run(&empty, |_| {}), Err(DeviceFault::NonceMissing));
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
            let result = run(&Case { age_ms, ..case(Form::V2, protocol) }, |_| {});
            assert_eq!(result.is_ok(), fresh, "{protocol} {age_ms}");
            assert!(fresh || result == Err(DeviceFault::Expired));
        }
    }

    #[test]
    fn every_signed_field_is_covered() {
        type Tamper = fn(&mut ConnectParams);
        let changes: [(&str, Tamper); 10] = [
            ("client id", |p| p.client.id = "test".into()),
            ("client mode", |p| p.client.mode = "ui".into()),
            ("role", |p| p.role = Some("node".into())),
            ("no role of ours", |p| p.role = Some("admin".into())),
            ("scopes", |p| p.scopes.clear()),
            ("token", |p| p.auth.token = Some("other".into())),
            ("platform", |p| p.client.platform = "darwin".into()),
            ("family", |p| p.client.device_family = None),
            ("time", |p| p.device.as_mut().unwrap().signed_at += 1),
            ("signature", |p| p.device.as_mut().unwrap().signature = "AAAA".into()),
        ];
        for (name, change) in changes {
            assert_eq!(run(&case(Form::V3, 4), change), Err(DeviceFault::Signature), "{name}");
        }
    }

    #[test]
    fn refusals_come_in_the_reference_order_with_its_texts() {
        let stale_and_foreign = Case { age_ms: 900_000, nonce: Some("other"), ..case(Form::V2, 3) };
        assert_eq!(run(&stale_and_foreign, claimed(|p| p.id = "00".into())), Err(DeviceFault::IdMismatch));
        assert_eq!(run(&stale_and_foreign, |_| {}), Err(DeviceFault::Expired));
        let foreign = Case { nonce: Some("other"), ..case(Form::V2, 3) };
        assert_eq!(run(&foreign, |_| {}), Err(DeviceFault::NonceMismatch));
        assert_eq!(run(&foreign, claimed(|p| p.public_key = "?".into())), Err(DeviceFault::PublicKey));
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
        let device = run(&case(Form::V3, 4), claimed(|p| p.public_key = pem.clone())).unwrap();
        assert_eq!(device, ProvenDevice { id: key.public().device_id(), public_key: key.public().encode() });
    }
}
