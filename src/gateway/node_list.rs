//! The answers of `node.list` and `node.describe` (`spec/protocol.md` section 12.2), built from paired devices and
//! connected nodes. Pure: both come in as plain records.

use serde::Serialize;
use serde_json::Value;

use super::pairing::PairFault;
use crate::store::devices::PairedDevice;
use crate::sys::order;
use crate::sys::table::Table;

/// A connected node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConnectedNode {
    /// Device id, or `client.id` without a device.
    pub node_id: String,
    /// `client.displayName`.
    pub display_name: Option<String>,
    /// `client.platform`.
    pub platform: Option<String>,
    /// `client.version`.
    pub version: Option<String>,
    /// Version of its core.
    pub core_version: Option<String>,
    /// Version of its user interface.
    pub ui_version: Option<String>,
    /// `client.deviceFamily`.
    pub device_family: Option<String>,
    /// `client.modelIdentifier`.
    pub model_identifier: Option<String>,
    /// `client.id`.
    pub client_id: Option<String>,
    /// `client.mode`.
    pub client_mode: Option<String>,
    /// Address of a node that is not local.
    pub remote_ip: Option<String>,
    /// Declared capabilities.
    pub caps: Vec<String>,
    /// Commands kept at connect.
    pub commands: Vec<String>,
    /// Its PATH.
    pub path_env: Option<String>,
    /// Permissions the operating system granted it.
    pub permissions: Option<Table<String, bool>>,
    /// When it connected.
    pub connected_at_ms: u64,
}

/// One entry as printed; the members of both generations.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    node_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    core_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ui_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_family: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_identifier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_ip: Option<String>,
    caps: Vec<String>,
    commands: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_env: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<Table<String, bool>>,
    session_host: bool,
    /// The device pairing is the approval here (protocol.md 12.1), so a listed node is never waiting for a second one.
    approval_state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_at_ms: Option<u64>,
    paired: bool,
    connected: bool,
}

/// The answer of `node.list`.
pub fn list<'a>(
    devices: impl Iterator<Item = &'a PairedDevice>,
    connected: impl Iterator<Item = &'a ConnectedNode>,
    now_ms: u64,
) -> Value {
    json!({"ts": now_ms, "nodes": entries(devices, connected)})
}

/// The answer of `node.describe`.
pub fn describe<'a>(
    node_id: &str,
    devices: impl Iterator<Item = &'a PairedDevice>,
    connected: impl Iterator<Item = &'a ConnectedNode>,
    now_ms: u64,
) -> Result<Value, PairFault> {
    let found = entries(devices, connected).into_iter().find(|entry| entry.node_id == node_id.trim());
    let mut value = serde_json::to_value(found.ok_or(PairFault::UnknownNode)?).unwrap_or_default();
    if let Value::Object(map) = &mut value {
        map.insert("ts".into(), now_ms.into());
    }
    Ok(value)
}

/// Paired devices with the role `node` and connected nodes, connected ones first, then by name.
fn entries<'a>(
    devices: impl Iterator<Item = &'a PairedDevice>,
    connected: impl Iterator<Item = &'a ConnectedNode>,
) -> Vec<Entry> {
    let nodes = devices.filter(|device| has_role_node(device));
    let mut known = Table::from_iter(nodes.map(|device| (device.device_id.as_str(), offline(device))));
    for node in connected {
        let paired = known.remove(node.node_id.as_str());
        known.insert(&node.node_id, online(node, paired));
    }
    let keyed = known.into_values().map(|entry| {
        let name = entry.display_name.as_deref().unwrap_or(&entry.node_id).to_lowercase();
        (!entry.connected, name, entry)
    });
    let mut keyed: Vec<(bool, String, Entry)> = keyed.collect();
    order::by(&mut keyed, |(off, name, entry), other| {
        (off, name, &entry.node_id).cmp(&(&other.0, &other.1, &other.2.node_id))
    });
    keyed.into_iter().map(|(_, _, entry)| entry).collect()
}

fn has_role_node(device: &PairedDevice) -> bool {
    device.role.as_deref() == Some("node") || device.roles.iter().flatten().any(|role| role == "node")
}

fn offline(device: &PairedDevice) -> Entry {
    Entry {
        node_id: device.device_id.clone(),
        display_name: device.label.clone().or(device.display_name.clone()),
        platform: device.platform.clone(),
        client_id: device.client_id.clone(),
        client_mode: device.client_mode.clone(),
        device_family: device.device_family.clone(),
        remote_ip: device.remote_ip.clone(),
        approval_state: "approved",
        approved_at_ms: Some(device.approved_at_ms),
        paired: true,
        ..Entry::default()
    }
}

/// A connected node speaks for itself; only an operator's name for it wins.
fn online(node: &ConnectedNode, paired: Option<Entry>) -> Entry {
    let known = paired.unwrap_or_default();
    Entry {
        node_id: node.node_id.clone(),
        display_name: known.display_name.clone().or(node.display_name.clone()),
        platform: node.platform.clone().or(known.platform),
        version: node.version.clone(),
        core_version: node.core_version.clone(),
        ui_version: node.ui_version.clone(),
        client_id: node.client_id.clone().or(known.client_id),
        client_mode: node.client_mode.clone().or(known.client_mode),
        device_family: node.device_family.clone().or(known.device_family),
        model_identifier: node.model_identifier.clone(),
        remote_ip: node.remote_ip.clone().or(known.remote_ip),
        caps: sorted(&node.caps),
        commands: sorted(&node.commands),
        path_env: node.path_env.clone(),
        permissions: node.permissions.clone(),
        session_host: false,
        approval_state: "approved",
        approved_at_ms: known.approved_at_ms,
        connected_at_ms: Some(node.connected_at_ms),
        paired: known.paired,
        connected: true,
    }
}

fn sorted(items: &[String]) -> Vec<String> {
    let mut items = items.to_vec();
    order::by(&mut items, Ord::cmp);
    items.dedup();
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::devices::{Records, parse};

    fn devices() -> Records<PairedDevice> {
        parse(
            r#"{"n1":{"deviceId":"n1","publicKey":"k","role":"node","roles":["node"],"platform":"linux","approvedAtMs":7},
                "n2":{"deviceId":"n2","publicKey":"k","roles":["operator","node"],"label":"Attic","displayName":"x"},
                "op":{"deviceId":"op","publicKey":"k","role":"operator","roles":["operator"]}}"#,
        )
        .unwrap()
    }

    fn pi() -> ConnectedNode {
        ConnectedNode {
            node_id: "n1".into(),
            display_name: Some("Pi".into()),
            platform: Some("linux".into()),
            version: Some("1.0.0".into()),
            caps: vec!["system".into(), "browser".into()],
            commands: vec!["system.run".into(), "system.notify".into()],
            path_env: Some("/usr/bin".into()),
            permissions: Some([("system.run".to_string(), true)].into()),
            connected_at_ms: 9,
            ..ConnectedNode::default()
        }
    }

    #[test]
    fn the_entry_of_a_connected_node_matches_the_transcript() {
        let devices = devices();
        let value = list(devices.entries.values(), [&pi()].into_iter(), 11);
        let expected = json!({"nodeId": "n1", "displayName": "Pi", "platform": "linux", "version": "1.0.0",
            "caps": ["browser", "system"], "commands": ["system.notify", "system.run"], "pathEnv": "/usr/bin",
            "permissions": {"system.run": true}, "connectedAtMs": 9, "paired": true, "connected": true,
            "approvalState": "approved", "approvedAtMs": 7, "sessionHost": false});
        assert_eq!((&value["ts"], &value["nodes"][0]), (&json!(11), &expected));
        let offline = &value["nodes"][1];
        assert_eq!((&offline["displayName"], &offline["connected"]), (&json!("Attic"), &json!(false)));
        assert_eq!((&offline["caps"], &offline["commands"]), (&json!([]), &json!([])));
        assert_eq!(value["nodes"].as_array().unwrap().len(), 2, "operators are no nodes");
    }

    #[test]
    fn connected_nodes_come_first_then_names_without_case() {
        let node = |id: &str, name: Option<&str>| ConnectedNode {
            node_id: id.into(),
            display_name: name.map(str::to_string),
            ..ConnectedNode::default()
        };
        let connected = [node("z", Some("beta")), node("y", Some("Alpha")), node("b", None)];
        let devices = devices();
        let value = list(devices.entries.values(), connected.iter(), 0);
        let ids: Vec<_> =
            value["nodes"].as_array().unwrap().iter().map(|node| node["nodeId"].as_str().unwrap()).collect();
        assert_eq!(ids, ["y", "b", "z", "n2", "n1"]);
        assert_eq!(value["nodes"][0]["paired"], false);
    }

    #[test]
    fn describe_finds_one_or_says_so() {
        let devices = devices();
        let value = describe("n2", devices.entries.values(), [].into_iter(), 5).unwrap();
        assert_eq!((&value["nodeId"], &value["ts"]), (&json!("n2"), &json!(5)));
        let fault = describe("op", devices.entries.values(), [].into_iter(), 5).unwrap_err();
        assert_eq!(fault.to_string(), "unknown nodeId");
    }
}
