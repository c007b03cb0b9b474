//! The string a device signs at `connect`, in its three forms (`spec/protocol.md` section 3.2).
//! Knows nothing of which form is acceptable when: that is `gateway::device`.

use super::key::SecretKey;

/// The forms of the signed payload, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Without a nonce.
    V1,
    /// With the nonce of the challenge.
    V2,
    /// With nonce, platform and device family.
    V3,
}

/// Everything a signed payload can name, as sent in `connect`.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    /// Device id.
    pub device_id: &'a str,
    /// `client.id`.
    pub client_id: &'a str,
    /// `client.mode`.
    pub client_mode: &'a str,
    /// Effective role.
    pub role: &'a str,
    /// Scopes exactly as sent, in the client's order.
    pub scopes: &'a [String],
    /// `device.signedAt`.
    pub signed_at_ms: u64,
    /// See [`signing_token`].
    pub token: &'a str,
    /// The challenge's nonce.
    pub nonce: &'a str,
    /// `client.platform`.
    pub platform: &'a str,
    /// `client.deviceFamily`, empty when absent.
    pub device_family: &'a str,
}

/// The token that goes into the payload: the first one present, never the password.
pub fn signing_token<'a>(
    token: Option<&'a str>,
    device_token: Option<&'a str>,
    bootstrap_token: Option<&'a str>,
) -> &'a str {
    token.or(device_token).or(bootstrap_token).unwrap_or("")
}

/// The payload of one form: fields joined by `|`.
pub fn payload(form: Form, claim: &Claim<'_>) -> String {
    let head = match form {
        Form::V1 => "v1",
        Form::V2 => "v2",
        Form::V3 => "v3",
    };
    let Claim { device_id, client_id, client_mode, role, signed_at_ms, token, nonce, .. } = claim;
    let scopes = claim.scopes.join(",");
    let mut text = format!("{head}|{device_id}|{client_id}|{client_mode}|{role}|{scopes}|{signed_at_ms}|{token}");
    if form != Form::V1 {
        text.push('|');
        text.push_str(nonce);
    }
    if form == Form::V3 {
        for field in [claim.platform, claim.device_family] {
            text.push('|');
            text.push_str(&field.trim().to_ascii_lowercase());
        }
    }
    text
}

/// The client's half: the signature over the payload of this form.
pub fn sign_payload(key: &SecretKey, form: Form, claim: &Claim<'_>) -> String {
    key.sign(&payload(form, claim))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(scopes: &[String]) -> Claim<'_> {
        Claim {
            device_id: "d",
            client_id: "cli",
            client_mode: "probe",
            role: "operator",
            scopes,
            signed_at_ms: 1_700_000_000_000,
            token: "t",
            nonce: "n",
            platform: " macOS 15.0 ",
            device_family: "Mac",
        }
    }

    #[test]
    fn forms_join_their_fields_with_bars() {
        let scopes = ["operator.write".to_string(), "operator.admin".to_string()];
        let seven = "d|cli|probe|operator|operator.write,operator.admin|1700000000000|t";
        assert_eq!(payload(Form::V1, &claim(&scopes)), format!("v1|{seven}"));
        assert_eq!(payload(Form::V2, &claim(&scopes)), format!("v2|{seven}|n"));
        assert_eq!(payload(Form::V3, &claim(&scopes)), format!("v3|{seven}|n|macos 15.0|mac"));
    }

    /// Made with OpenSSL (through Node) from the seed of 32 sevens.
    #[test]
    fn keys_and_signatures_agree_with_openssl() {
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n-----END PRIVATE KEY-----\n";
        let key = SecretKey::from_pem(pem).unwrap();
        assert_eq!(key.to_pem(), pem);
        assert_eq!(key.public().encode(), "6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw");
        assert_eq!(key.public().device_id(), "fe812c12f3ab4ce6ac5db69ac352f906cb1b11ef43fb33e252ef7ff552263889");
        assert!(key.public().to_pem().contains("\nMCowBQYDK2VwAyEA6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=\n"));
        let scopes = ["operator.write".to_string(), "operator.admin".to_string()];
        let expected = "n8DF82TmAupfioiXH-0vkrNP0vAD17Ho8NBRnGNvLzoDAiaPdDdaqiRr9FFcuEcxdHRiBFZ-BhgZLPHmHaz7Cw";
        assert_eq!(sign_payload(&key, Form::V3, &claim(&scopes)), expected);
        assert!(key.public().verify(&payload(Form::V3, &claim(&scopes)), expected));
    }

    #[test]
    fn absent_parts_leave_empty_fields() {
        let bare = Claim { token: "", device_family: "", ..claim(&[]) };
        assert_eq!(payload(Form::V3, &bare), "v3|d|cli|probe|operator||1700000000000||n|macos 15.0|");
    }

    #[test]
    fn the_first_token_present_is_signed() {
        assert_eq!(signing_token(Some("a"), Some("b"), Some("c")), "a");
        assert_eq!(signing_token(None, Some("b"), Some("c")), "b");
        assert_eq!(signing_token(None, None, Some("c")), "c");
        assert_eq!(signing_token(None, None, None), "");
    }
}
