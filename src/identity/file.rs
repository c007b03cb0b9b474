//! The file `identity/device.json` in the original's form (`spec/protocol.md` section 3.7).
//! Knows its text, not where it lies or how it is written.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::key::{KeyFault, PublicKey, SecretKey};

/// An identity with the time it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFile {
    /// The key.
    pub key: SecretKey,
    /// When it was made.
    pub created_at_ms: u64,
}

/// Why an identity file cannot be used.
#[derive(Debug)]
pub enum FileFault {
    /// Not JSON of the expected shape.
    Json(serde_json::Error),
    /// A version that this program does not know.
    Version(u64),
    /// A key in it is broken.
    Key(KeyFault),
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileFault::Json(_) => f.write_str("device identity is not readable JSON"),
            FileFault::Version(version) => write!(f, "device identity has unknown version {version}"),
            FileFault::Key(_) => f.write_str("device identity holds a broken key"),
        }
    }
}

impl std::error::Error for FileFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FileFault::Json(error) => Some(error),
            FileFault::Version(_) => None,
            FileFault::Key(fault) => Some(fault),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    version: u64,
    #[serde(default)]
    device_id: String,
    public_key_pem: String,
    private_key_pem: String,
    #[serde(default)]
    created_at_ms: u64,
}

impl DeviceFile {
    /// Reads the file's text. The stored id is not trusted: it follows from the key.
    pub fn parse(text: &str) -> Result<DeviceFile, FileFault> {
        let shape: Shape = serde_json::from_str(text).map_err(FileFault::Json)?;
        if shape.version != 1 {
            return Err(FileFault::Version(shape.version));
        }
        let key = SecretKey::from_pem(&shape.private_key_pem).map_err(FileFault::Key)?;
        let public = PublicKey::decode(&shape.public_key_pem).map_err(FileFault::Key)?;
        if public != key.public() {
            return Err(FileFault::Key(KeyFault::Mismatch));
        }
        Ok(DeviceFile { key, created_at_ms: shape.created_at_ms })
    }

    /// The file's text; it holds the private key.
    pub fn to_text(&self) -> String {
        let shape = Shape {
            version: 1,
            device_id: self.key.public().device_id(),
            public_key_pem: self.key.public().to_pem(),
            private_key_pem: self.key.to_pem(),
            created_at_ms: self.created_at_ms,
        };
        let mut text = serde_json::to_string_pretty(&shape).unwrap_or_default();
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> DeviceFile {
        DeviceFile { key: SecretKey::from_seed([7; 32]).unwrap(), created_at_ms: 1_795_233_714_506 }
    }

    #[test]
    fn reads_back_what_it_writes_in_the_original_order_and_size() {
        let text = sample().to_text();
        assert_eq!(DeviceFile::parse(&text).unwrap(), sample());
        assert_eq!(text.len(), 416);
        let order = ["version", "deviceId", "publicKeyPem", "privateKeyPem", "createdAtMs"];
        let places: Vec<_> = order.iter().map(|name| text.find(name).unwrap()).collect();
        assert!(places.is_sorted(), "{text}");
    }

    #[test]
    fn refuses_foreign_versions_and_mixed_keys() {
        let text = sample().to_text();
        assert!(matches!(
            DeviceFile::parse(&text.replace("\"version\": 1", "\"version\": 2")),
            Err(FileFault::Version(2))
        ));
        let other = SecretKey::from_seed([8; 32]).unwrap().public().to_pem().replace('\n', "\\n");
        let own = sample().key.public().to_pem().replace('\n', "\\n");
        assert!(matches!(DeviceFile::parse(&text.replace(&own, &other)), Err(FileFault::Key(KeyFault::Mismatch))));
        assert!(matches!(DeviceFile::parse("{}"), Err(FileFault::Json(_))));
    }

    #[test]
    fn faults_do_not_repeat_the_file() {
        let fault =
            DeviceFile::parse("{\"version\":1,\"publicKeyPem\":\"x\",\"privateKeyPem\":\"canary\"}").unwrap_err();
        assert!(!format!("{fault} {fault:?}").contains("canary"));
    }
}
