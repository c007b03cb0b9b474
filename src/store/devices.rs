//! The records of `devices/paired.json` and `devices/pending.json` in the original's form
//! (`spec/protocol.md` section 3.7). Knows their text; rules about them live in `gateway::pairing_devices`.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use super::records::Record;
use crate::json::Members;
use crate::sys::table::Table;

pub use super::records::{Extra, Records, RecordsFault, parse, print};

/// A device's token for one role.
#[derive(Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceToken {
    /// The secret: 32 hex characters (protocol 3) or 43 of base64url (protocol 4).
    pub token: String,
    /// The role it speaks for.
    pub role: String,
    /// Scopes it carries.
    pub scopes: Vec<String>,
    /// When the first token of this role was made.
    pub created_at_ms: u64,
    /// When it was last replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_at_ms: Option<u64>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at_ms: Option<u64>,
    /// When it was last used to connect.
    #[serde(skip_serializing_if = "Option::is_none")]
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
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PairedDevice {
    /// Hex digest of the key.
    pub device_id: String,
    /// Public key in its wire form.
    pub public_key: String,
    /// Name the client gave itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Name the operator gave it; wins over `displayName` in lists. Ours: the original ignores it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// `client.platform`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// `client.deviceFamily`. Ours: the original ignores it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// `client.id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// `client.mode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_mode: Option<String>,
    /// Role of the last connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// All approved roles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// All approved scopes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Address of the last remote connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// Tokens by role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Table<String, DeviceToken>>,
    /// When it was first approved.
    pub created_at_ms: u64,
    /// When it was last approved.
    pub approved_at_ms: u64,
    /// Unknown members.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A device that waits for approval.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingDevice {
    /// Id by which it is approved or rejected.
    pub request_id: String,
    /// Hex digest of the key.
    pub device_id: String,
    /// Public key in its wire form.
    pub public_key: String,
    /// Name the client gave itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// `client.platform`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// `client.deviceFamily`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// `client.id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// `client.mode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_mode: Option<String>,
    /// Role asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Roles asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// Scopes asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Address of a remote client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
    /// Whether it is approved without asking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent: Option<bool>,
    /// Whether the device was paired before.
    pub is_repair: bool,
    /// When it asked.
    pub ts: u64,
    /// Unknown members.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Record for DeviceToken {
    fn read(from: &mut Members) -> DeviceToken {
        DeviceToken {
            token: from.need("token"),
            role: from.need("role"),
            scopes: from.take("scopes"),
            created_at_ms: from.take("createdAtMs"),
            rotated_at_ms: from.take("rotatedAtMs"),
            revoked_at_ms: from.take("revokedAtMs"),
            last_used_at_ms: from.take("lastUsedAtMs"),
            extra: Extra::of(from.rest()),
        }
    }
}

impl Record for PairedDevice {
    fn read(from: &mut Members) -> PairedDevice {
        PairedDevice {
            device_id: from.need("deviceId"),
            public_key: from.need("publicKey"),
            display_name: from.take("displayName"),
            label: from.take("label"),
            platform: from.take("platform"),
            device_family: from.take("deviceFamily"),
            client_id: from.take("clientId"),
            client_mode: from.take("clientMode"),
            role: from.take("role"),
            roles: from.take("roles"),
            scopes: from.take("scopes"),
            remote_ip: from.take("remoteIp"),
            tokens: tokens(from),
            created_at_ms: from.take("createdAtMs"),
            approved_at_ms: from.take("approvedAtMs"),
            extra: Extra::of(from.rest()),
        }
    }
}

impl Record for PendingDevice {
    fn read(from: &mut Members) -> PendingDevice {
        PendingDevice {
            request_id: from.need("requestId"),
            device_id: from.need("deviceId"),
            public_key: from.need("publicKey"),
            display_name: from.take("displayName"),
            platform: from.take("platform"),
            device_family: from.take("deviceFamily"),
            client_id: from.take("clientId"),
            client_mode: from.take("clientMode"),
            role: from.take("role"),
            roles: from.take("roles"),
            scopes: from.take("scopes"),
            remote_ip: from.take("remoteIp"),
            silent: from.take("silent"),
            is_repair: from.take("isRepair"),
            ts: from.take("ts"),
            extra: Extra::of(from.rest()),
        }
    }
}

fn tokens(from: &mut Members) -> Option<Table<String, DeviceToken>> {
    let all: Option<Map<String, Value>> = from.take("tokens");
    all.map(|all| all.into_iter().map(|(role, token)| (role, from.inside(token, DeviceToken::read))).collect())
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
        assert_eq!(print::<PendingDevice>(&Table::new()), "{}");
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
