//! The records of `nodes/paired.json` and `nodes/pending.json` in the original's form
//! (`spec/protocol.md` section 12.4). Knows their text; rules about them live in `gateway::pairing_nodes`.

use std::fmt;

use serde::Serialize;

use crate::json::Members;
use crate::sys::table::Table;

pub use super::records::{Extra, Record, Records, RecordsFault, parse, print, record};

/// What a node says about itself; shared by requests, pending and paired records.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFacts {
    /// Name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Version of the node program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Version of its core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_version: Option<String>,
    /// Version of its user interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ui_version: Option<String>,
    /// Device family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// Model identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_identifier: Option<String>,
    /// Capabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caps: Option<Vec<String>>,
    /// Commands it offers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commands: Option<Vec<String>>,
    /// Programs it offers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bins: Option<Vec<String>>,
    /// Permissions the operating system granted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Table<String, bool>>,
    /// Its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<String>,
}

/// A node that waits for approval.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingNode {
    /// Id by which it is approved or rejected.
    pub request_id: String,
    /// Node id.
    pub node_id: String,
    /// What it says about itself.
    #[serde(flatten)]
    pub facts: NodeFacts,
    /// Asked not to disturb the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent: Option<bool>,
    /// Whether the node was paired before.
    pub is_repair: bool,
    /// When it asked.
    pub ts: u64,
    /// Unknown members.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A paired node.
#[derive(Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PairedNode {
    /// Node id.
    pub node_id: String,
    /// The secret it was given.
    pub token: String,
    /// What it says about itself.
    #[serde(flatten)]
    pub facts: NodeFacts,
    /// When it was first approved.
    pub created_at_ms: u64,
    /// When it was last approved.
    pub approved_at_ms: u64,
    /// Unknown members.
    #[serde(flatten)]
    pub extra: Extra,
}

impl fmt::Debug for PairedNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PairedNode {{ node_id: {:?}, facts: {:?}, .. }}", self.node_id, self.facts)
    }
}

impl Record for NodeFacts {
    fn read(from: &mut Members) -> NodeFacts {
        NodeFacts {
            display_name: from.take("displayName"),
            platform: from.take("platform"),
            version: from.take("version"),
            core_version: from.take("coreVersion"),
            ui_version: from.take("uiVersion"),
            device_family: from.take("deviceFamily"),
            model_identifier: from.take("modelIdentifier"),
            caps: from.take("caps"),
            commands: from.take("commands"),
            bins: from.take("bins"),
            permissions: from.take("permissions"),
            remote_ip: from.take("remoteIp"),
        }
    }
}

impl Record for PendingNode {
    fn read(from: &mut Members) -> PendingNode {
        PendingNode {
            request_id: from.need("requestId"),
            node_id: from.need("nodeId"),
            facts: NodeFacts::read(from),
            silent: from.take("silent"),
            is_repair: from.take("isRepair"),
            ts: from.take("ts"),
            extra: Extra::of(from.rest()),
        }
    }
}

impl Record for PairedNode {
    fn read(from: &mut Members) -> PairedNode {
        PairedNode {
            node_id: from.need("nodeId"),
            token: from.need("token"),
            facts: NodeFacts::read(from),
            created_at_ms: from.take("createdAtMs"),
            approved_at_ms: from.take("approvedAtMs"),
            extra: Extra::of(from.rest()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGINAL: &str = r#"{
  "n1": {
    "nodeId": "n1",
    "token": "0123456789abcdef0123456789abcdef",
    "displayName": "Node1",
    "platform": "linux",
    "caps": [
      "system"
    ],
    "commands": [
      "system.run"
    ],
    "permissions": {
      "system.run": true
    },
    "createdAtMs": 1795233714520,
    "approvedAtMs": 1795233714520,
    "lastConnectedAtMs": 1795233714999
  }
}"#;

    #[test]
    fn prints_an_original_file_byte_for_byte_unknown_members_included() {
        let records: Records<PairedNode> = parse(ORIGINAL).unwrap();
        assert_eq!(print(&records.entries), ORIGINAL);
        assert!(!format!("{records:?}").contains("0123456789abcdef"));
    }

    #[test]
    fn reads_a_pending_request() {
        let text = r#"{"r":{"requestId":"r","nodeId":"n1","caps":["system"],"isRepair":false,"ts":5,"silent":true}}"#;
        let records: Records<PendingNode> = parse(text).unwrap();
        let pending = &records.entries["r"];
        assert_eq!((pending.ts, pending.silent, pending.is_repair), (5, Some(true), false));
        assert_eq!(serde_json::to_string(&records.entries).unwrap().len(), text.len());
    }
}
