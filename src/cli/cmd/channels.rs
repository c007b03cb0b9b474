//! `channels status`: every account and its state, or the config's view when the gateway is down
//! (`spec/cli.md` 12).

use serde_json::Value;

use crate::cli::amount;
use crate::cli::fail::{CliError, Kind};
use crate::cli::out::Style;
use crate::cli::parse::Parsed;
use crate::cli::rpc::{self, list, text};
use crate::cli::world::World;

/// `channels status`
///
/// # Errors
/// A bad flag; an unreachable gateway is a result, not an error.
pub fn status(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let timeout = u64::try_from(rpc::timeout(parsed)?.as_millis()).unwrap_or(u64::MAX);
    let probe = parsed.has("probe");
    if !world.json {
        let mode = if probe { " (probe)" } else { "" };
        world.out.line(&format!("Checking channel status{mode}…"))?;
    }
    let params = json!({ "probe": probe, "timeoutMs": timeout });
    let answer = rpc::call(world, parsed, "channels.status", &params);
    match answer {
        Ok(payload) if world.json => world.out.json(&payload),
        Ok(payload) => reachable(world, &payload),
        Err(error) if error.kind == Kind::Usage => Err(error),
        Err(error) if world.json => world.out.json(&config_json(world, &error)),
        Err(error) => config_text(world, &error),
    }
}

fn reachable(world: &World, payload: &Value) -> Result<(), CliError> {
    world.out.styled(&[(Style::Good, "Gateway reachable.")])?;
    let lines = account_lines(payload, world.now_ms);
    if lines.is_empty() {
        world.out.line("- no configured chat channels")?;
    }
    lines.iter().try_for_each(|line| world.out.line(line))?;
    let issues = list(payload, "statusIssues");
    if !issues.is_empty() {
        world.out.line("")?;
        world.out.styled(&[(Style::Warn, "Warnings:")])?;
        issues.iter().try_for_each(|issue| world.out.line(&issue_line(issue)))?;
        world.out.line(&format!("- Run: {}", world.command("doctor")))?;
    }
    world.out.line("")?;
    world.out.line(&format!("Tip: {} adds the gateway's own view.", world.command("status --deep")))
}

fn issue_line(issue: &Value) -> String {
    let fix = match text(issue, "fix") {
        "" => String::new(),
        fix => format!(" ({fix})"),
    };
    format!("- {} {}: {}{fix}", text(issue, "channel"), text(issue, "accountId"), text(issue, "message"))
}

/// `- <Label> <accountId> (<name>): state, state, …` per configured account.
fn account_lines(payload: &Value, now_ms: u64) -> Vec<String> {
    let mut lines = Vec::new();
    for id in list(payload, "channelOrder").iter().filter_map(Value::as_str) {
        let label = payload.get("channelLabels").map(|labels| text(labels, id)).filter(|label| !label.is_empty());
        let accounts = payload.get("channelAccounts").map(|accounts| list(accounts, id)).unwrap_or_default();
        let shown = accounts.iter().filter(|account| {
            let is = |name: &str| account.get(name).and_then(Value::as_bool) == Some(true);
            is("configured") || is("linked") || is("running")
        });
        lines.extend(shown.map(|account| account_line(label.unwrap_or(id), account, now_ms)));
    }
    lines
}

fn account_line(label: &str, account: &Value, now_ms: u64) -> String {
    let flag = |name: &str| account.get(name).and_then(Value::as_bool);
    let mut bits: Vec<String> = Vec::new();
    for (name, yes, no) in [
        ("enabled", "enabled", "disabled"),
        ("configured", "configured", "not configured"),
        ("linked", "linked", "not linked"),
        ("running", "running", "stopped"),
        ("connected", "connected", "disconnected"),
    ] {
        bits.extend(flag(name).map(|on| if on { yes } else { no }.to_string()));
    }
    for (name, word) in [("lastInboundAt", "in"), ("lastOutboundAt", "out")] {
        bits.extend(amount::since(account.get(name), now_ms).map(|age| format!("{word}:{age}")));
    }
    for (name, word) in [("mode", "mode"), ("dmPolicy", "dm"), ("tokenSource", "token")] {
        if !text(account, name).is_empty() {
            bits.push(format!("{word}:{}", text(account, name)));
        }
    }
    let allow = rpc::joined(account, "allowFrom").replace(", ", ",");
    if !allow.is_empty() {
        bits.push(format!("allow:{allow}"));
    }
    for (name, good, bad) in [("probe", "works", "probe failed"), ("audit", "audit ok", "audit failed")] {
        let ok = account.get(name).and_then(|probe| probe.get("ok")).and_then(Value::as_bool);
        bits.extend(ok.map(|ok| if ok { good } else { bad }.to_string()));
    }
    if !text(account, "lastError").is_empty() {
        bits.push(format!("error:{}", text(account, "lastError")));
    }
    let name = match text(account, "name") {
        "" => String::new(),
        name => format!(" ({name})"),
    };
    format!("- {label} {}{name}: {}", text(account, "accountId"), bits.join(", "))
}

/// Channels with a section in the config, in its order.
fn configured(world: &World) -> Vec<String> {
    let channels = world.snapshot.resolved.get("channels").and_then(Value::as_object);
    let real = |id: &&String| *id != "defaults";
    channels.map(|channels| channels.keys().filter(real).cloned().collect()).unwrap_or_default()
}

fn mode(world: &World) -> &'static str {
    world.config().gateway.mode.map(|mode| mode.name()).unwrap_or("local")
}

fn config_json(world: &World, error: &CliError) -> Value {
    let mut answer = json!({
        "gatewayReachable": false, "error": error.message, "configOnly": true,
        "config": { "path": world.snapshot.path.display().to_string(), "mode": mode(world) },
        "configuredChannels": configured(world),
    });
    if let (Kind::Credentials, Value::Object(members)) = (error.kind, &mut answer) {
        members.insert("gatewayAuthUnavailable".into(), true.into());
    }
    answer
}

fn config_text(world: &World, error: &CliError) -> Result<(), CliError> {
    let reason = error.wire.reason.as_deref().unwrap_or(&error.message);
    world.out.note(Style::Bad, &format!("Gateway not reachable: {reason}"));
    error.hints.iter().for_each(|hint| world.out.note(Style::Plain, hint));
    let what = if error.kind == Kind::Credentials { "Gateway auth unavailable" } else { "Gateway not reachable" };
    world.out.line(&format!("{what}; showing config-only status."))?;
    world.out.line(&format!("Config: {}", world.snapshot.path.display()))?;
    world.out.line(&format!("Mode: {}", mode(world)))?;
    configured(world).iter().try_for_each(|id| {
        let enabled = world.snapshot.resolved.pointer(&format!("/channels/{id}/enabled")).and_then(Value::as_bool);
        let word = if enabled == Some(false) { "disabled" } else { "enabled" };
        world.out.line(&format!("- {id}: {word}, configured"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_line_lists_its_states_in_order() {
        let payload = json!({
            "channelOrder": ["telegram"], "channelLabels": {"telegram": "Telegram"},
            "channelAccounts": {"telegram": [
                {"accountId": "default", "name": "bot", "enabled": true, "configured": true, "running": false,
                 "lastInboundAt": 700_000, "dmPolicy": "pairing", "allowFrom": ["1", "2"], "probe": {"ok": true}, "lastError": "boom"},
                {"accountId": "unused", "configured": false}]},
        });
        assert_eq!(
            account_lines(&payload, 1_000_000),
            [
                "- Telegram default (bot): enabled, configured, stopped, in:5m ago, dm:pairing, allow:1,2, works, error:boom"
            ]
        );
    }
}
