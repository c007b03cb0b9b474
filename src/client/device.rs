//! The identity of this machine as a client: keys in `<state>/identity/device.json`, tokens in
//! `device-auth.json`, the signed payload of protocol.md 3.2. Knows no socket.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::DeviceUse;
use super::error::ClientError;
use super::hello::{Challenge, ClientInfo, PLATFORM, Proof};
use crate::identity::{Claim, DeviceFile, Form, SecretKey, sign_payload};
use crate::limits;
use crate::store::atomic;
use crate::sys::id::Entropy;

/// What a proof is about.
pub struct Ask<'a> {
    /// Who connects.
    pub client: &'a ClientInfo,
    /// Role of the connection.
    pub role: &'a str,
    /// Scopes exactly as `connect` sends them.
    pub scopes: &'a [String],
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
    key: SecretKey,
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
        let Some(text) = read(&path)? else { return Ok(None) };
        let file =
            DeviceFile::parse(&text).map_err(|fault| ClientError::Identity(format!("{}: {fault}", path.display())))?;
        Ok(Some(Device::of(dir, file.key)))
    }

    fn create(dir: &Path, wall_ms: u64) -> Result<Device, ClientError> {
        let failed = |why: String| ClientError::Identity(format!("cannot create {}: {why}", dir.display()));
        let mut seed = [0u8; 32];
        Entropy::from_os().map_err(|error| failed(error.to_string()))?.fill(&mut seed);
        let key = SecretKey::from_seed(seed).map_err(|fault| failed(fault.to_string()))?;
        let text = DeviceFile { key: key.clone(), created_at_ms: wall_ms }.to_text();
        write(&dir.join("device.json"), &text).map_err(|error| failed(error.to_string()))?;
        Ok(Device::of(dir, key))
    }

    fn of(dir: &Path, key: SecretKey) -> Device {
        let id = key.public().device_id();
        Device { dir: dir.to_path_buf(), key, id }
    }

    /// Signs the form `v2`, which both protocols accept (`v1` without a nonce). The gateway's clock
    /// is used when it is told: a machine without a battery clock may be years off.
    pub fn prove(&self, ask: &Ask<'_>) -> Proof {
        let signed_at_ms = ask.challenge.ts_ms.unwrap_or(ask.wall_ms);
        let form = if ask.challenge.nonce.is_empty() { Form::V1 } else { Form::V2 };
        let claim = Claim {
            device_id: &self.id,
            client_id: ask.client.id,
            client_mode: ask.client.mode,
            role: ask.role,
            scopes: ask.scopes,
            signed_at_ms,
            token: ask.token,
            nonce: &ask.challenge.nonce,
            platform: PLATFORM,
            device_family: "",
        };
        Proof {
            id: self.id.clone(),
            public_key: self.key.public().encode(),
            signature: sign_payload(&self.key, form, &claim),
            signed_at_ms,
        }
    }

    /// The token that a gateway gave this device for a role.
    pub fn stored_token(&self, role: &str) -> Option<String> {
        let file = tokens_file(&self.dir.join("device-auth.json"))?;
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
        let old = tokens_file(&path).unwrap_or(Value::Null);
        let mine = old.get("deviceId").and_then(Value::as_str) == Some(self.id.as_str());
        let mut tokens = match old.get("tokens").and_then(Value::as_object) {
            Some(tokens) if mine => tokens.clone(),
            _ => Map::new(),
        };
        let entry = json!({ "token": token, "role": role, "scopes": scopes, "updatedAtMs": wall_ms });
        tokens.insert(role.to_string(), entry);
        let file = json!({ "version": 1, "deviceId": self.id, "tokens": tokens });
        write(&path, &format!("{file:#}\n"))
            .map_err(|error| ClientError::Identity(format!("cannot write {}: {error}", path.display())))
    }
}

fn read(path: &Path) -> Result<Option<String>, ClientError> {
    let failed = |why: String| ClientError::Identity(format!("cannot read {}: {why}", path.display()));
    match atomic::read_bounded(path, limits::IDENTITY_BYTES).map_err(|error| failed(error.to_string()))? {
        None => Ok(None),
        Some(bytes) => String::from_utf8(bytes).map(Some).map_err(|_| failed("not UTF-8".to_string())),
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    atomic::write(path, text.as_bytes(), atomic::PRIVATE)
}

fn tokens_file(path: &Path) -> Option<Value> {
    serde_json::from_str(&read(path).ok()??).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
    fn a_broken_identity_file_is_an_error_not_a_new_identity() {
        let dir = dir("broken");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("device.json"), "{}").unwrap();
        assert!(Device::find(&DeviceUse::Create(dir.clone()), 1).is_err());
        fs::remove_dir_all(dir).unwrap();
    }
}
