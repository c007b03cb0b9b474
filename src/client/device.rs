//! The identity of this machine as a client: keys in `<state>/identity/device.json`, tokens in
//! `device-auth.json`, the signed payload of protocol.md 3.2. Knows no socket.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use ed25519_compact::{KeyPair, Noise, Seed};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::DeviceUse;
use super::error::ClientError;
use super::hello::{Challenge, ClientInfo, Proof};
use crate::limits;
use crate::sys::id::Entropy;

/// DER in front of an Ed25519 seed in PKCS #8.
const PRIVATE_PREFIX: &[u8] =
    &[0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// DER in front of an Ed25519 key in SPKI.
const PUBLIC_PREFIX: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What a proof is about.
pub struct Ask<'a> {
    /// Who connects.
    pub client: &'a ClientInfo,
    /// Role of the connection.
    pub role: &'a str,
    /// Scopes exactly as `connect` sends them.
    pub scopes: &'a [&'a str],
    /// The string of `auth.token`, empty for none.
    pub token: &'a str,
    /// The gateway's challenge.
    pub challenge: &'a Challenge,
    /// This machine's clock.
    pub wall_ms: u64,
}

/// The identity, loaded.
pub struct Device {
    dir: PathBuf,
    keys: KeyPair,
    id: String,
}

impl Device {
    /// The device that this use allows: none, a stored one, or a new one.
    ///
    /// # Errors
    /// A file that cannot be read, understood or written.
    pub fn find(allowed: &DeviceUse, wall_ms: u64) -> Result<Option<Device>, ClientError> {
        match allowed {
            DeviceUse::Never => Ok(None),
            DeviceUse::Stored(dir) => {
                let device = Device::load(dir)?;
                Ok(device.filter(|device| device.stored_token("operator").is_some()))
            }
            DeviceUse::Create(dir) => match Device::load(dir)? {
                Some(device) => Ok(Some(device)),
                None => Device::create(dir, wall_ms).map(Some),
            },
        }
    }

    /// Reads `device.json`; `None` when there is none.
    ///
    /// # Errors
    /// A file that cannot be read or understood.
    pub fn load(dir: &Path) -> Result<Option<Device>, ClientError> {
        let path = dir.join("device.json");
        let Some(file) = read_json(&path)? else { return Ok(None) };
        let unusable = || ClientError::Identity(format!("{} holds no usable key", path.display()));
        let pem = file.get("privateKeyPem").and_then(Value::as_str).ok_or_else(unusable)?;
        let seed = seed_from_pem(pem).ok_or_else(unusable)?;
        Ok(Some(Device::from_seed(dir, seed)))
    }

    fn create(dir: &Path, wall_ms: u64) -> Result<Device, ClientError> {
        let failed = |error: io::Error| ClientError::Identity(format!("cannot create {}: {error}", dir.display()));
        let mut seed = [0u8; 32];
        Entropy::from_os().map_err(failed)?.fill(&mut seed);
        let device = Device::from_seed(dir, seed);
        let public: &[u8] = device.keys.pk.as_ref();
        let file = json!({
            "version": 1, "deviceId": device.id,
            "publicKeyPem": pem("PUBLIC KEY", PUBLIC_PREFIX, public),
            "privateKeyPem": pem("PRIVATE KEY", PRIVATE_PREFIX, &seed),
            "createdAtMs": wall_ms,
        });
        write_json(&dir.join("device.json"), &file).map_err(failed)?;
        Ok(device)
    }

    fn from_seed(dir: &Path, seed: [u8; 32]) -> Device {
        let keys = KeyPair::from_seed(Seed::new(seed));
        let public: &[u8] = keys.pk.as_ref();
        let id = HEXLOWER.encode(&Sha256::digest(public));
        Device { dir: dir.to_path_buf(), keys, id }
    }

    /// Signs the form `v2`, which both protocols accept. The gateway's clock is used when it is
    /// told: a machine without a battery clock may be years off.
    ///
    /// # Errors
    /// None today; the signature of `load` and `create` cannot fail after them.
    pub fn prove(&self, ask: &Ask<'_>) -> Result<Proof, ClientError> {
        let signed_at_ms = ask.challenge.ts_ms.unwrap_or(ask.wall_ms);
        let text = payload(&self.id, ask, signed_at_ms);
        let public: &[u8] = self.keys.pk.as_ref();
        let signature = self.keys.sk.sign(text, None::<Noise>);
        Ok(Proof {
            id: self.id.clone(),
            public_key: BASE64URL_NOPAD.encode(public),
            signature: BASE64URL_NOPAD.encode(signature.as_ref()),
            signed_at_ms,
        })
    }

    /// The token that a gateway gave this device for a role.
    pub fn stored_token(&self, role: &str) -> Option<String> {
        let file = read_json(&self.dir.join("device-auth.json")).ok().flatten()?;
        if file.get("deviceId").and_then(Value::as_str) != Some(self.id.as_str()) {
            return None;
        }
        let token = file.get("tokens")?.get(role)?.get("token")?.as_str()?;
        (!token.is_empty()).then(|| token.to_string())
    }

    /// Keeps the token that `hello-ok` carried.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep_token(&self, role: &str, token: &str, scopes: &[String], wall_ms: u64) -> Result<(), ClientError> {
        if self.stored_token(role).as_deref() == Some(token) {
            return Ok(());
        }
        let path = self.dir.join("device-auth.json");
        let old = read_json(&path).ok().flatten().unwrap_or(Value::Null);
        let mine = old.get("deviceId").and_then(Value::as_str) == Some(self.id.as_str());
        let mut tokens = match old.get("tokens").and_then(Value::as_object) {
            Some(tokens) if mine => tokens.clone(),
            _ => Map::new(),
        };
        let entry = json!({ "token": token, "role": role, "scopes": scopes, "updatedAtMs": wall_ms });
        tokens.insert(role.to_string(), entry);
        let file = json!({ "version": 1, "deviceId": self.id, "tokens": tokens });
        write_json(&path, &file)
            .map_err(|error| ClientError::Identity(format!("cannot write {}: {error}", path.display())))
    }
}

fn payload(id: &str, ask: &Ask<'_>, signed_at_ms: u64) -> String {
    let head = if ask.challenge.nonce.is_empty() { "v1" } else { "v2" };
    let mut fields = vec![
        head.to_string(),
        id.to_string(),
        ask.client.id.to_string(),
        ask.client.mode.to_string(),
        ask.role.to_string(),
        ask.scopes.join(","),
        signed_at_ms.to_string(),
        ask.token.to_string(),
    ];
    if !ask.challenge.nonce.is_empty() {
        fields.push(ask.challenge.nonce.clone());
    }
    fields.join("|")
}

fn pem(label: &str, prefix: &[u8], key: &[u8]) -> String {
    let der: Vec<u8> = prefix.iter().chain(key).copied().collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64.encode(&der))
}

fn seed_from_pem(pem: &str) -> Option<[u8; 32]> {
    let body: String =
        pem.lines().filter(|line| !line.starts_with("-----")).flat_map(str::chars).filter(|c| !c.is_whitespace()).collect();
    let der = BASE64.decode(body.as_bytes()).ok()?;
    der.strip_prefix(PRIVATE_PREFIX)?.get(..32)?.try_into().ok()
}

fn read_json(path: &Path) -> Result<Option<Value>, ClientError> {
    use std::io::Read;
    let failed = |why: String| ClientError::Identity(format!("cannot read {}: {why}", path.display()));
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
    };
    let mut text = String::new();
    let limit = u64::try_from(limits::UNIT_FILE_BYTES).unwrap_or(u64::MAX);
    file.take(limit).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    serde_json::from_str(&text).map(Some).map_err(|error| failed(error.to_string()))
}

/// Temp file, fsync, rename, fsync of the directory; the file is the owner's alone.
fn write_json(path: &Path, value: &Value) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    builder.create(dir)?;
    let temp = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    let mut file = options.open(&temp)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temp, path)?;
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("openclaw-device-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn a_created_identity_is_found_again_and_private() {
        let dir = dir("again");
        let first = Device::find(&DeviceUse::Create(dir.clone()), 7).unwrap().unwrap();
        let second = Device::load(&dir).unwrap().unwrap();
        assert_eq!(first.id, second.id);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(dir.join("device.json")).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(Device::find(&DeviceUse::Stored(dir.clone()), 7).unwrap().is_none(), "no token yet");
        first.keep_token("operator", "abc", &["operator.read".into()], 9).unwrap();
        assert_eq!(second.stored_token("operator").as_deref(), Some("abc"));
        assert!(Device::find(&DeviceUse::Stored(dir.clone()), 7).unwrap().is_some());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn the_signed_text_is_the_documented_one_and_verifies() {
        let device = Device::from_seed(Path::new("/nowhere"), [7; 32]);
        let client = ClientInfo { id: "cli", mode: "cli", version: "1".into(), display_name: None };
        let challenge = Challenge { nonce: "n".into(), ts_ms: Some(5) };
        let ask =
            Ask { client: &client, role: "operator", scopes: &["a", "b"], token: "t", challenge: &challenge, wall_ms: 1 };
        let text = payload(&device.id, &ask, 5);
        assert_eq!(text, format!("v2|{}|cli|cli|operator|a,b|5|t|n", device.id));
        let proof = device.prove(&ask).unwrap();
        let signature = BASE64URL_NOPAD.decode(proof.signature.as_bytes()).unwrap();
        let signature = ed25519_compact::Signature::from_slice(&signature).unwrap();
        device.keys.pk.verify(text, &signature).unwrap();
        assert_eq!(proof.signed_at_ms, 5);
    }

    #[test]
    fn a_broken_identity_file_is_an_error_not_a_new_identity() {
        let dir = dir("broken");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("device.json"), "{}").unwrap();
        assert!(Device::find(&DeviceUse::Create(dir.clone()), 1).is_err());
        fs::remove_dir_all(dir).unwrap();
    }
}
