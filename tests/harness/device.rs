//! A device identity: keys, id and the three signed forms of `spec/protocol.md` 3.2.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64URL_NOPAD, Engine as _};
use ed25519_compact::{KeyPair, Seed};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A device.
pub struct Device {
    keys: KeyPair,
    /// Lower-case hex SHA-256 of the public key.
    pub id: String,
}

/// What a signature covers besides the device.
#[derive(Clone)]
pub struct Signed<'a> {
    pub form: u8,
    pub client_id: &'a str,
    pub client_mode: &'a str,
    pub role: &'a str,
    pub scopes: &'a [&'a str],
    pub signed_at: u64,
    pub token: &'a str,
    pub nonce: &'a str,
    pub platform: &'a str,
    pub family: &'a str,
}

impl Device {
    /// The device with this number: the same keys each time.
    pub fn number(number: u8) -> Device {
        let keys = KeyPair::from_seed(Seed::new([number; 32]));
        let id = openclaw::sys::id::hex(&Sha256::digest(keys.pk.as_ref()));
        Device { keys, id }
    }

    /// Its public key as the wire carries it.
    pub fn public_key(&self) -> String {
        BASE64URL_NOPAD.encode(self.keys.pk.as_ref())
    }

    /// The `device` object of a connect request.
    pub fn proof(&self, what: &Signed<'_>) -> Value {
        let payload = self.payload(what);
        let signature = BASE64URL_NOPAD.encode(self.keys.sk.sign(payload.as_bytes(), None).as_ref());
        let mut proof =
            json!({"id": self.id, "publicKey": self.public_key(), "signature": signature, "signedAt": what.signed_at});
        if what.form != 1 {
            proof["nonce"] = what.nonce.into();
        }
        proof
    }

    fn payload(&self, what: &Signed<'_>) -> String {
        let version = format!("v{}", what.form);
        let (scopes, at) = (what.scopes.join(","), what.signed_at.to_string());
        let mut parts =
            vec![&*version, &self.id, what.client_id, what.client_mode, what.role, &scopes, &at, what.token];
        if what.form > 1 {
            parts.push(what.nonce);
        }
        if what.form > 2 {
            parts.extend([what.platform, what.family]);
        }
        parts.join("|")
    }
}
