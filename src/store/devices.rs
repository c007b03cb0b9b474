//! The records of `devices/paired.json` and `devices/pending.json` in the original's form
//! (`spec/protocol.md` section 3.7). Knows their text; rules about them live in `gateway::pairing_devices`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use super::records::{Extra, Records, RecordsFault, parse, print};

/// A device's token for one role.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceToken {
    /// The secret: 32 hex characters (protocol 3) or 43 of base64url (protocol 4).
    pub token: String,
    /// The role it speaks for.
    pub role: String,
    /// Scopes it carries.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// When the first token of this role was made.
    #[serde(default)]
    pub created_at_ms: u64,
    /// When it was last replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_at_ms: Option<u64>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at_ms: Option<u64>,
    /// When it was last used to connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at_ms: Option<u64>,
    /// Unknown members.
    #[serde(flatten)]
    pub extra: Extra,
}

impl fmt::Debug for DeviceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceToken {{ role: {:?}, scopes: {:?}, .. }}", self.role, self.scopes)
    }
}

/// A paired device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PairedDevice {
    /// Hex digest of the key.
    pub device_id: String,
    /// Public key in its wire form.
    pub public_key: String,
    /// Name the client gave itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Name the operator gave it; wins over `displayName` in lists. Ours: the original ignores it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// `client.platform`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// `client.deviceFamily`. Ours: the original ignores it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// `client.id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// `client.mode`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_mode: Option<String>,
    /// Role of the last connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// All approved roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// All approved scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Address of the last remote connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// Tokens by role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<BTreeMap<String, DeviceToken>>,
    /// When it was first approved.
    #[serde(default)]
    pub created_at_ms: u64,
    /// When it was last approved.
    #[serde(default)]
    pub approved_at_ms: u64,
    /// Unknown members.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A device that waits for approval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingDevice {
    /// Id by which it is approved or rejected.
    pub request_id: String,
    /// Hex digest of the key.
    pub device_id: String,
    /// Public key in its wire form.
    pub public_key: String,
    /// Name the client gave itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// `client.platform`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// `client.deviceFamily`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// `client.id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// `client.mode`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_mode: Option<String>,
    /// Role asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Roles asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// Scopes asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Address of a remote client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// Whether it is approved without asking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<bool>,
    /// Whether the device was paired before.
    #[serde(default)]
    pub is_repair: bool,
    /// When it asked.
    #[serde(default)]
    pub ts: u64,
    /// Unknown members.
    #[serde(flatten)]
    pub extra: Extra,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shape of a file that 2026.2.9 wrote, with made-up secrets.
    const ORIGINAL: &str = r#"{
  "ed38": {
    "deviceId": "ed38",
    "publicKey": "AAAA",
    "platform": "linux",
    "clientId": "cli",
    "clientMode": "cli",
    "role": "operator",
    "roles": [
      "operator"
    ],
    "scopes": [
      "operator.admin",
      "operator.approvals",
      "operator.pairing"
    ],
    "tokens": {
      "operator": {
        "token": "0123456789abcdef0123456789abcdef",
        "role": "operator",
        "scopes": [
          "operator.admin"
        ],
        "createdAtMs": 1795233714520,
        "lastUsedAtMs": 1795233792868
      }
    },
    "createdAtMs": 1795233714520,
    "approvedAtMs": 1795233714520
  }
}"#;

    #[test]
    fn prints_an_original_file_byte_for_byte() {
        let records: Records<PairedDevice> = parse(ORIGINAL).unwrap();
        assert!(records.skipped.is_empty());
        assert_eq!(print(&records.entries), ORIGINAL);
        assert_eq!(print::<PendingDevice>(&BTreeMap::new()), "{}");
    }

    #[test]
    fn keeps_members_it_does_not_know() {
        let text = ORIGINAL.replace("\"role\": \"operator\",\n    \"roles\"", "\"future\": {\"a\": 1},\n    \"roles\"");
        let records: Records<PairedDevice> = parse(&text).unwrap();
        assert!(print(&records.entries).contains("\"future\": {"));
    }

    #[test]
    fn unreadable_records_are_named_and_the_rest_is_kept() {
        let text = ORIGINAL.replacen('{', "{\"bad\": {\"deviceId\": 5}, \"worse\": null,", 1);
        let records: Records<PairedDevice> = parse(&text).unwrap();
        assert_eq!(records.skipped, ["bad", "worse"]);
        assert_eq!(records.entries.len(), 1);
        assert!(parse::<PairedDevice>("[]").is_err());
        assert!(parse::<PairedDevice>("{\"a\":").is_err());
        assert!(parse::<PairedDevice>(" \n").unwrap().entries.is_empty());
    }

    #[test]
    fn nulls_count_as_absent() {
        let text = ORIGINAL.replace("\"platform\": \"linux\"", "\"platform\": null, \"displayName\": null");
        let records: Records<PairedDevice> = parse(&text).unwrap();
        assert_eq!(records.entries["ed38"].platform, None);
    }

    #[test]
    fn debug_shows_no_token() {
        let records: Records<PairedDevice> = parse(ORIGINAL).unwrap();
        assert!(!format!("{records:?}").contains("0123456789abcdef"));
    }
}
