//! `health`: channels, agents and sessions of the running gateway (`spec/cli.md` 9).

use serde_json::Value;

use crate::cli::amount;
use crate::cli::fail::CliError;
use crate::cli::parse::Parsed;
use crate::cli::rpc;
use crate::cli::world::World;

/// Recent sessions that the text lists.
const RECENT: usize = 5;

/// `health`
///
/// # Errors
/// As every call.
pub fn run(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let params = if parsed.has("verbose") || parsed.has("debug") { json!({ "probe": true }) } else { json!({}) };
    let payload = rpc::call(world, parsed, "health", &params)?;
    if world.json {
        return world.out.json(&payload);
    }
    lines(&payload).iter().try_for_each(|line| world.out.line(line))
}

/// The text of a health payload.
pub fn lines(payload: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(payload.get("eventLoop").and_then(event_loop));
    lines.extend(payload.get("durationMs").map(|took| format!("Gateway probe duration: {took}ms")));
    lines.extend(channel_lines(payload));
    let agents = list(payload, "agents");
    if !agents.is_empty() {
        let names: Vec<String> = agents.iter().map(agent_name).collect();
        lines.push(format!("Agents: {}", names.join(", ")));
        let beats: Vec<String> = agents.iter().filter_map(heartbeat).collect();
        lines.push(format!("Heartbeat interval: {}", beats.join(", ")));
    }
    lines.extend(agents.iter().flat_map(sessions));
    lines
}

fn event_loop(measured: &Value) -> Option<String> {
    let number = |name: &str| measured.get(name).and_then(Value::as_f64);
    let word = if measured.get("degraded").and_then(Value::as_bool).unwrap_or(false) { "degraded" } else { "ok" };
    let mut line = format!("Gateway event loop: {word}");
    for (label, name, unit) in [
        ("max", "delayMaxMs", "ms"),
        ("p99", "delayP99Ms", "ms"),
        ("util", "utilization", ""),
        ("cpu", "cpuCoreRatio", ""),
    ] {
        if let Some(value) = number(name) {
            let value = if unit == "ms" { format!("{value:.0}") } else { format!("{value}") };
            line.push_str(&format!(" {label}={value}{unit}"));
        }
    }
    number("delayMaxMs").map(|_| line)
}

/// One line per configured channel, in the gateway's order.
pub fn channel_lines(payload: &Value) -> Vec<String> {
    let empty = serde_json::Map::new();
    let channels = payload.get("channels").and_then(Value::as_object).unwrap_or(&empty);
    let mut ids: Vec<&str> = list(payload, "channelOrder").iter().filter_map(Value::as_str).collect();
    ids.extend(channels.keys().map(String::as_str).filter(|id| !ids.contains(id)).collect::<Vec<_>>());
    let label = |id: &str| {
        let label = payload.get("channelLabels").and_then(|labels| labels.get(id)).and_then(Value::as_str);
        label.unwrap_or(id).to_string()
    };
    ids.iter()
        .filter_map(|id| channels.get(*id).map(|state| format!("{}: {}", label(id), channel_state(state))))
        .collect()
}

fn channel_state(state: &Value) -> String {
    let flag = |name: &str| state.get(name).and_then(Value::as_bool);
    if let Some(probe) = state.get("probe").filter(|probe| probe.is_object()) {
        let took = probe.get("elapsedMs").and_then(Value::as_u64).map(|ms| format!(" ({ms}ms)")).unwrap_or_default();
        let why = probe.get("error").and_then(Value::as_str).map(|why| format!(" ({why})")).unwrap_or_default();
        return if probe.get("ok").and_then(Value::as_bool) == Some(true) {
            format!("ok{took}")
        } else {
            format!("failed{why}")
        };
    }
    match (flag("linked"), flag("configured")) {
        (Some(true), _) => "linked",
        (Some(false), _) => "not linked",
        (None, Some(true)) => "configured",
        (None, Some(false)) => "not configured",
        (None, None) => "unknown",
    }
    .to_string()
}

fn agent_name(agent: &Value) -> String {
    let id = text(agent, "agentId");
    if agent.get("isDefault").and_then(Value::as_bool) == Some(true) { format!("{id} (default)") } else { id }
}

fn heartbeat(agent: &Value) -> Option<String> {
    let beat = agent.get("heartbeat")?;
    let every = match beat.get("enabled").and_then(Value::as_bool) {
        Some(false) => "disabled".to_string(),
        _ => text(beat, "every"),
    };
    Some(format!("{every} ({})", text(agent, "agentId")))
}

fn sessions(agent: &Value) -> Vec<String> {
    let Some(sessions) = agent.get("sessions") else { return Vec::new() };
    let count = sessions.get("count").and_then(Value::as_u64).unwrap_or(0);
    let head = format!("Session store ({}): {} ({count} entries)", text(agent, "agentId"), text(sessions, "path"));
    let recent = list(sessions, "recent").iter().take(RECENT).map(|session| {
        let age = session.get("age").and_then(Value::as_u64).map(amount::ago).unwrap_or_else(|| "no activity".into());
        format!("- {} ({age})", text(session, "key"))
    });
    std::iter::once(head).chain(recent).collect()
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_string()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_the_documented_lines() {
        let payload = json!({
            "ok": true, "channelOrder": ["telegram"], "channelLabels": {"telegram": "Telegram"},
            "channels": {"telegram": {"configured": true, "probe": {"ok": true, "elapsedMs": 120}}, "irc": {"linked": false}},
            "agents": [{"agentId": "main", "isDefault": true, "heartbeat": {"enabled": true, "every": "30m"},
                "sessions": {"path": "/s.json", "count": 1, "recent": [{"key": "agent:main:main", "age": 420_000}]}}],
        });
        assert_eq!(
            lines(&payload),
            [
                "Telegram: ok (120ms)",
                "irc: not linked",
                "Agents: main (default)",
                "Heartbeat interval: 30m (main)",
                "Session store (main): /s.json (1 entries)",
                "- agent:main:main (7m ago)"
            ]
        );
    }

    #[test]
    fn an_empty_payload_prints_nothing_and_does_not_fail() {
        assert!(lines(&json!({})).is_empty());
        assert!(lines(&Value::Null).is_empty());
    }
}
