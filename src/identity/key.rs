//! Ed25519 keys in the text forms of the wire and of files: base64url, PEM, and the device id.
//! Knows nothing of what is signed or who asks.

use std::fmt;

use base64::prelude::{
    BASE64_STANDARD as BASE64, BASE64_STANDARD_NO_PAD as BASE64_NOPAD, BASE64_URL_SAFE as BASE64URL,
    BASE64_URL_SAFE_NO_PAD as BASE64URL_NOPAD, Engine as _,
};
use sha2::{Digest, Sha256};

use crate::sys::id::hex;

/// DER head of an Ed25519 SubjectPublicKeyInfo; the raw 32 bytes follow (RFC 8410).
const SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// DER head of an Ed25519 PKCS#8 private key; the 32-byte seed follows (RFC 8410).
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// Longest key text that is looked at: a PEM block is 119 bytes, line ends may differ.
const KEY_TEXT_BYTES: usize = 512;

/// Why a key text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFault {
    /// Neither base64 of 32 bytes nor an Ed25519 PEM block.
    Malformed,
    /// The private and the public part do not belong together.
    Mismatch,
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyFault::Malformed => "not an ed25519 key",
            KeyFault::Mismatch => "private key and public key do not belong together",
        })
    }
}

impl std::error::Error for KeyFault {}

/// A public key: 32 raw bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads base64url or standard base64, padded or not, or a PEM SubjectPublicKeyInfo.
    pub fn decode(text: &str) -> Result<PublicKey, KeyFault> {
        let raw = match pem_body(text, "PUBLIC KEY") {
            Some(der) => strip(&der?, &SPKI_HEAD)?,
            None => decode_base64(text)?,
        };
        <[u8; 32]>::try_from(raw).map(PublicKey).map_err(|_| KeyFault::Malformed)
    }

    /// The wire form: base64url without padding.
    pub fn encode(&self) -> String {
        BASE64URL_NOPAD.encode(self.0)
    }

    /// The device id: lower-case hex SHA-256 of the raw key.
    pub fn device_id(&self) -> String {
        hex(&Sha256::digest(self.0))
    }

    /// The PEM form of files.
    pub fn to_pem(&self) -> String {
        pem("PUBLIC KEY", &[&SPKI_HEAD[..], &self.0[..]].concat())
    }

    /// Whether `signature` (base64 of any kind) is this key's signature over `message`.
    pub fn verify(&self, message: &str, signature: &str) -> bool {
        let Ok(raw) = decode_base64(signature) else { return false };
        let Ok(signature) = ed25519_compact::Signature::from_slice(&raw) else { return false };
        let key = ed25519_compact::PublicKey::new(self.0);
        // A key of small order would let one signature fit many messages.
        key.validate().is_ok() && key.verify(message, &signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.encode())
    }
}

/// A private key; never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(ed25519_compact::SecretKey);

impl SecretKey {
    /// The key of a 32-byte seed, which must come from the system's randomness; all zeros are refused.
    pub fn from_seed(seed: [u8; 32]) -> Result<SecretKey, KeyFault> {
        let pair = ed25519_compact::KeyPair::try_from_seed(ed25519_compact::Seed::new(seed));
        pair.map(|pair| SecretKey(pair.sk)).map_err(|_| KeyFault::Malformed)
    }

    /// Reads a PEM PKCS#8 private key.
    pub fn from_pem(text: &str) -> Result<SecretKey, KeyFault> {
        let der = pem_body(text, "PRIVATE KEY").ok_or(KeyFault::Malformed)??;
        let seed = <[u8; 32]>::try_from(strip(&der, &PKCS8_HEAD)?).map_err(|_| KeyFault::Malformed)?;
        SecretKey::from_seed(seed)
    }

    /// The PEM form of files; secret.
    pub fn to_pem(&self) -> String {
        pem("PRIVATE KEY", &[&PKCS8_HEAD[..], &self.0.seed()[..]].concat())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.public_key())
    }

    /// The signature over `message` as base64url without padding.
    pub fn sign(&self, message: &str) -> String {
        BASE64URL_NOPAD.encode(self.0.sign(message, None).as_ref())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public().encode())
    }
}

/// Base64 of either alphabet, padded or not: peers of both generations differ here.
fn decode_base64(text: &str) -> Result<Vec<u8>, KeyFault> {
    let text = text.trim();
    if text.len() > KEY_TEXT_BYTES {
        return Err(KeyFault::Malformed);
    }
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    if padding > 2 {
        return Err(KeyFault::Malformed);
    }
    let bytes = body.as_bytes();
    BASE64URL_NOPAD
        .decode(bytes)
        .or_else(|_| BASE64_NOPAD.decode(bytes))
        .or_else(|_| BASE64URL.decode(text.as_bytes()))
        .map_err(|_| KeyFault::Malformed)
}

/// The DER bytes of a PEM block of this kind; `None` when the text is no PEM at all.
fn pem_body(text: &str, kind: &str) -> Option<Result<Vec<u8>, KeyFault>> {
    let text = text.trim();
    if !text.starts_with("-----BEGIN") {
        return None;
    }
    let body = text
        .strip_prefix(&format!("-----BEGIN {kind}-----"))
        .and_then(|rest| rest.strip_suffix(&format!("-----END {kind}-----")))
        .filter(|body| body.len() <= KEY_TEXT_BYTES);
    let Some(body) = body else { return Some(Err(KeyFault::Malformed)) };
    let joined: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    Some(BASE64.decode(joined.as_bytes()).map_err(|_| KeyFault::Malformed))
}

fn strip(der: &[u8], head: &[u8]) -> Result<Vec<u8>, KeyFault> {
    der.strip_prefix(head).map(<[u8]>::to_vec).ok_or(KeyFault::Malformed)
}

/// A PEM block; both our DER forms fit one line of 64 characters.
fn pem(kind: &str, der: &[u8]) -> String {
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", BASE64.encode(der))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032 section 7.1, test 1.
    const SEED: [u8; 32] = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49,
        0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
    ];
    const PUBLIC_HEX: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    const EMPTY_SIGNATURE: &str = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";

    #[test]
    fn agrees_with_the_rfc_8032_vector() {
        let key = SecretKey::from_seed(SEED).unwrap();
        assert_eq!(hex(&key.public().0), PUBLIC_HEX);
        let signature = key.sign("");
        assert_eq!(hex(&BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap()), EMPTY_SIGNATURE);
        assert!(key.public().verify("", &signature));
        assert!(!key.public().verify("x", &signature));
    }

    #[test]
    fn device_id_is_the_hex_digest_of_the_raw_key() {
        let id = SecretKey::from_seed(SEED).unwrap().public().device_id();
        assert_eq!(id, "21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9");
    }

    #[test]
    fn reads_every_public_key_form() {
        // A key whose base64 has both letters that the alphabets spell differently.
        let key = PublicKey([0xfb; 32]);
        let plain = key.encode();
        assert!(plain.contains('-') || plain.contains('_'));
        let standard = plain.replace('-', "+").replace('_', "/");
        for text in [
            plain.clone(),
            format!("{plain}="),
            standard.clone(),
            format!("{standard}="),
            format!(" {plain}\n"),
            key.to_pem(),
            key.to_pem().replace('\n', "\r\n"),
        ] {
            assert_eq!(PublicKey::decode(&text), Ok(key), "{text:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_key() {
        let key = SecretKey::from_seed(SEED).unwrap();
        for text in
            ["", "AAAA", "!!!", &"A".repeat(44), &"A".repeat(10_000), &key.to_pem(), "-----BEGIN PUBLIC KEY-----"]
        {
            assert_eq!(PublicKey::decode(text), Err(KeyFault::Malformed), "{text:?}");
        }
        assert_eq!(SecretKey::from_pem(&key.public().to_pem()), Err(KeyFault::Malformed));
        assert_eq!(SecretKey::from_pem("nothing"), Err(KeyFault::Malformed));
    }

    #[test]
    fn pem_forms_have_the_lengths_of_the_original_files_and_read_back() {
        let key = SecretKey::from_seed(SEED).unwrap();
        assert_eq!(key.public().to_pem().len(), 113);
        assert_eq!(key.to_pem().len(), 119);
        assert_eq!(SecretKey::from_pem(&key.to_pem()), Ok(key));
    }

    #[test]
    fn signatures_are_read_in_both_alphabets() {
        let key = SecretKey::from_seed(SEED).unwrap();
        let signature = key.sign("hello");
        let standard = signature.replace('-', "+").replace('_', "/");
        assert!(key.public().verify("hello", &standard));
        assert!(key.public().verify("hello", &format!("{standard}==")));
        assert!(!key.public().verify("hello", "AAAA"));
        assert!(!key.public().verify("hello", ""));
    }

    #[test]
    fn a_zero_seed_and_a_weak_key_are_refused() {
        assert_eq!(SecretKey::from_seed([0; 32]), Err(KeyFault::Malformed));
        assert_eq!(
            SecretKey::from_pem(&pem("PRIVATE KEY", &[&PKCS8_HEAD[..], &[0; 32]].concat())),
            Err(KeyFault::Malformed)
        );
        let mut identity_point = [0; 32];
        identity_point[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(!PublicKey(identity_point).verify("anything", &BASE64URL_NOPAD.encode(signature)));
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = SecretKey::from_seed(SEED).unwrap();
        let shown = format!("{key:?}");
        assert!(!shown.contains(&BASE64URL_NOPAD.encode(SEED)));
        assert!(!shown.contains("157"));
        assert!(shown.contains(&key.public().encode()));
    }
}
