//! `nodes status|list|describe|pending|approve|reject|rename` (`spec/cli.md` 13).

use serde_json::{Map, Value};

use crate::cli::amount;
use crate::cli::fail::CliError;
use crate::cli::grid;
use crate::cli::out::Style;
use crate::cli::parse::Parsed;
use crate::cli::rpc::{self, Line, joined, list as items, text};
use crate::cli::world::World;

/// Shortest prefix of a node id that names it.
const PREFIX: usize = 6;

/// `nodes status`
///
/// # Errors
/// A bad `--last-connected`, or the call.
pub fn status(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let seen = Seen::from(parsed)?;
    let mut line = Line::open(world, parsed, &["node.list", "node.pair.list"])?;
    let mut payload = line.call("node.list", &json!({}))?;
    let pairs = match seen.span {
        Some(_) => line.call_if_possible("node.pair.list", &json!({}))?.unwrap_or(Value::Null),
        None => Value::Null,
    };
    let kept: Vec<Value> =
        items(&payload, "nodes").iter().filter(|node| seen.keeps(node, &pairs, world.now_ms)).cloned().collect();
    if let Value::Object(members) = &mut payload {
        members.insert("nodes".into(), kept.clone().into());
    }
    if world.json {
        return world.out.json(&payload);
    }
    let count = |name: &str| kept.iter().filter(|node| is(node, name)).count();
    world.out.line(&format!(
        "Known: {} · Paired: {} · Connected: {}",
        kept.len(),
        count("paired"),
        count("connected")
    ))?;
    let rows: Vec<Vec<String>> = kept.iter().map(|node| known_row(node, world.now_ms)).collect();
    table(world, &["Node", "Platform", "IP", "Status", "Caps"], &rows)
}

/// `nodes list`
///
/// # Errors
/// A bad `--last-connected`, or the call.
pub fn list(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let seen = Seen::from(parsed)?;
    let mut line = Line::open(world, parsed, &["node.pair.list", "node.list"])?;
    let mut payload = line.call("node.pair.list", &json!({}))?;
    if seen.any() {
        let known = line.call_if_possible("node.list", &json!({}))?.unwrap_or(Value::Null);
        let kept = items(&payload, "paired").iter().filter(|node| seen.keeps_paired(node, &known, world.now_ms));
        let kept: Vec<Value> = kept.cloned().collect();
        if let Value::Object(members) = &mut payload {
            members.insert("paired".into(), kept.into());
        }
    }
    if world.json {
        return world.out.json(&payload);
    }
    let (pending, paired) = (items(&payload, "pending"), items(&payload, "paired"));
    world.out.line(&format!("Pending: {} · Paired: {}", pending.len(), paired.len()))?;
    pending_table(world, pending)?;
    let rows: Vec<Vec<String>> = paired
        .iter()
        .map(|node| {
            let last = amount::since(node.get("lastConnectedAtMs"), world.now_ms).unwrap_or_else(|| "never".into());
            vec![named(node), text(node, "platform").into(), text(node, "remoteIp").into(), last]
        })
        .collect();
    table(world, &["Node", "Platform", "IP", "Last connected"], &rows)
}

/// `nodes pending`
///
/// # Errors
/// As every call.
pub fn pending(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let payload = rpc::call(world, parsed, "node.pair.list", &json!({}))?;
    let pending = items(&payload, "pending");
    if world.json {
        return world.out.json(&pending.into());
    }
    if pending.is_empty() {
        return world.out.line("No pending pairing requests.");
    }
    pending_table(world, pending)
}

fn pending_table(world: &World, pending: &[Value]) -> Result<(), CliError> {
    let rows: Vec<Vec<String>> = pending
        .iter()
        .map(|row| {
            let age = amount::since(row.get("ts"), world.now_ms).unwrap_or_default();
            let repair = if is(row, "isRepair") { "repair" } else { "" };
            vec![text(row, "requestId").into(), named(row), text(row, "remoteIp").into(), age, repair.into()]
        })
        .collect();
    table(world, &["Request", "Node", "IP", "Age", "Flags"], &rows)
}

fn table(world: &World, headers: &[&str], rows: &[Vec<String>]) -> Result<(), CliError> {
    if rows.is_empty() { Ok(()) } else { world.out.line(&grid::draw(headers, rows, world.out.width())) }
}

/// `nodes approve|reject <requestId>`: JSON always.
///
/// # Errors
/// As every call.
pub fn decide(world: &World, parsed: &Parsed, method: &str) -> Result<(), CliError> {
    let params = json!({ "requestId": parsed.arg(0).unwrap_or_default() });
    world.out.json(&rpc::call(world, parsed, method, &params)?)
}

/// `nodes rename`
///
/// # Errors
/// No such node, an empty name, or the call.
pub fn rename(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let name = parsed.text("name").unwrap_or_default().trim();
    if name.is_empty() {
        return Err(CliError::usage("--name must not be empty"));
    }
    let mut line = Line::open(world, parsed, &["node.rename", "node.list"])?;
    let id = find(&mut line, parsed)?;
    let payload = line.call("node.rename", &json!({ "nodeId": id, "displayName": name }))?;
    if world.json {
        return world.out.json(&payload);
    }
    world.out.line(&format!("node rename ok: {id} -> {name}"))
}

/// `nodes describe`
///
/// # Errors
/// No such node, or the call.
pub fn describe(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let mut line = Line::open(world, parsed, &["node.describe", "node.list"])?;
    let id = find(&mut line, parsed)?;
    let node = line.call("node.describe", &json!({ "nodeId": id }))?;
    if world.json {
        return world.out.json(&node);
    }
    world.out.styled(&[(Style::Strong, "Node")])?;
    let mut rows = vec![vec!["ID".to_string(), text(&node, "nodeId").to_string()]];
    for (label, name) in [
        ("Name", "displayName"),
        ("Platform", "platform"),
        ("Version", "version"),
        ("Core", "coreVersion"),
        ("UI", "uiVersion"),
        ("Device", "deviceFamily"),
        ("Model", "modelIdentifier"),
        ("IP", "remoteIp"),
        ("PATH", "pathEnv"),
    ] {
        if !text(&node, name).is_empty() {
            rows.push(vec![label.to_string(), text(&node, name).to_string()]);
        }
    }
    rows.push(vec!["Status".to_string(), state(&node)]);
    rows.push(vec!["Caps".to_string(), joined(&node, "caps")]);
    world.out.line(&grid::draw(&["Field", "Value"], &rows, world.out.width()))?;
    world.out.styled(&[(Style::Strong, "Commands")])?;
    let commands = items(&node, "commands");
    if commands.is_empty() {
        return world.out.line("- (none reported)");
    }
    commands.iter().filter_map(Value::as_str).try_for_each(|command| world.out.line(&format!("- {command}")))
}

/// The id of the node that `--node` names.
fn find(line: &mut Line, parsed: &Parsed) -> Result<String, CliError> {
    let wanted = parsed.text("node").unwrap_or_default().trim().to_string();
    let listed = match line.call_if_possible("node.list", &json!({}))? {
        Some(payload) => payload,
        None => line.call("node.pair.list", &json!({}))?,
    };
    let nodes = if listed.get("nodes").is_some() { items(&listed, "nodes") } else { items(&listed, "paired") };
    choose(nodes, &wanted).map(|node| text(node, "nodeId").to_string())
}

/// Exact id, exact address, name in any spelling, or a prefix of the id of at least six characters.
fn choose<'a>(nodes: &'a [Value], wanted: &str) -> Result<&'a Value, CliError> {
    let plain = normal(wanted);
    let tests: [&dyn Fn(&Value) -> bool; 4] = [
        &|node| text(node, "nodeId") == wanted,
        &|node| !wanted.is_empty() && text(node, "remoteIp") == wanted,
        &|node| {
            !plain.is_empty() && (text(node, "displayName") == wanted || normal(text(node, "displayName")) == plain)
        },
        &|node| wanted.len() >= PREFIX && text(node, "nodeId").starts_with(wanted),
    ];
    for test in tests {
        let found: Vec<&Value> = nodes.iter().filter(|node| test(node)).collect();
        match found.as_slice() {
            [] => {}
            [one] => return Ok(one),
            many => {
                let names: Vec<String> = many
                    .iter()
                    .map(|node| format!("{} ({})", text(node, "nodeId"), text(node, "displayName")))
                    .collect();
                return Err(CliError::other(format!("ambiguous node: {wanted} (matches: {})", names.join(", "))));
            }
        }
    }
    let known: Vec<&str> = nodes.iter().map(|node| text(node, "nodeId")).collect();
    let known = if known.is_empty() { String::new() } else { format!(" (known: {})", known.join(", ")) };
    Err(CliError::other(format!("unknown node: {wanted}{known}")))
}

fn normal(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// `--connected` and `--last-connected`.
struct Seen {
    connected: bool,
    span: Option<u64>,
}

impl Seen {
    fn from(parsed: &Parsed) -> Result<Seen, CliError> {
        let span = match parsed.text("last-connected") {
            None => None,
            Some(text) => Some(amount::parse_span(text).ok_or_else(|| {
                CliError::usage(format!("Invalid --last-connected \"{text}\". Use a span such as 30m, 24h or 7d."))
            })?),
        };
        Ok(Seen { connected: parsed.has("connected"), span })
    }

    fn any(&self) -> bool {
        self.connected || self.span.is_some()
    }

    fn keeps(&self, node: &Value, pairs: &Value, now_ms: u64) -> bool {
        let last = || {
            let paired = by_id(pairs, "paired", text(node, "nodeId"));
            let stored = paired.and_then(|paired| paired.get("lastConnectedAtMs")).and_then(Value::as_u64);
            stored.max(node.get("connectedAtMs").and_then(Value::as_u64))
        };
        let connected = is(node, "connected");
        let recent = |span: u64| connected || last().is_some_and(|at| now_ms.saturating_sub(at) <= span);
        (!self.connected || connected) && self.span.is_none_or(recent)
    }

    fn keeps_paired(&self, node: &Value, known: &Value, now_ms: u64) -> bool {
        let empty = Value::Object(Map::new());
        let live = by_id(known, "nodes", text(node, "nodeId")).unwrap_or(&empty);
        let pairs = json!({ "paired": [node] });
        self.keeps(live, &Value::Null, now_ms) || (!self.connected && self.keeps(node, &pairs, now_ms))
    }
}

fn by_id<'a>(payload: &'a Value, name: &str, id: &str) -> Option<&'a Value> {
    items(payload, name).iter().find(|node| text(node, "nodeId") == id)
}

fn is(node: &Value, name: &str) -> bool {
    node.get(name).and_then(Value::as_bool) == Some(true)
}

fn named(node: &Value) -> String {
    match text(node, "displayName") {
        "" => text(node, "nodeId").to_string(),
        name => format!("{name}\n{}", text(node, "nodeId")),
    }
}

fn state(node: &Value) -> String {
    let paired = if is(node, "paired") { "paired" } else { "unpaired" };
    let connected = if is(node, "connected") { "connected" } else { "disconnected" };
    format!("{paired}, {connected}")
}

fn known_row(node: &Value, now_ms: u64) -> Vec<String> {
    let mut status = state(node);
    if let (true, Some(since)) = (is(node, "connected"), amount::since(node.get("connectedAtMs"), now_ms)) {
        status = format!("{status} ({since})");
    }
    vec![named(node), text(node, "platform").into(), text(node, "remoteIp").into(), status, joined(node, "caps")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_by_id_address_name_or_prefix() {
        let nodes = [
            json!({"nodeId": "abcdef123", "displayName": "Kitchen Pad", "remoteIp": "10.0.0.2"}),
            json!({"nodeId": "abcdef456", "displayName": "Hall", "remoteIp": "10.0.0.3"}),
        ];
        let id = |wanted: &str| choose(&nodes, wanted).map(|node| text(node, "nodeId").to_string());
        for wanted in ["abcdef123", "10.0.0.2", "Kitchen Pad", "kitchen-pad", "abcdef1"] {
            assert_eq!(id(wanted).unwrap(), "abcdef123", "{wanted}");
        }
        assert!(id("abcdef").unwrap_err().message.starts_with("ambiguous node: abcdef (matches:"));
        assert!(id("abcde").unwrap_err().message.starts_with("unknown node: abcde"));
        assert!(id("").is_err());
    }

    #[test]
    fn the_time_filter_keeps_recent_and_connected_nodes() {
        let seen = Seen { connected: false, span: Some(60_000) };
        let pairs =
            json!({"paired": [{"nodeId": "a", "lastConnectedAtMs": 950_000}, {"nodeId": "b", "lastConnectedAtMs": 1}]});
        assert!(seen.keeps(&json!({"nodeId": "a"}), &pairs, 1_000_000));
        assert!(!seen.keeps(&json!({"nodeId": "b"}), &pairs, 1_000_000));
        assert!(seen.keeps(&json!({"nodeId": "b", "connected": true}), &pairs, 1_000_000));
    }
}
