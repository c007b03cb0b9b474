//! `system presence|event|heartbeat` and `secrets reload` (`spec/cli.md` 17, 23).

use serde_json::Value;

use crate::cli::fail::CliError;
use crate::cli::parse::Parsed;
use crate::cli::rpc;
use crate::cli::world::World;

/// `system presence`: JSON always.
///
/// # Errors
/// As every call.
pub fn presence(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    world.out.json(&rpc::call(world, parsed, "system-presence", &json!({}))?)
}

/// `system event`: wakes the main session with a line.
///
/// # Errors
/// An empty text, an unknown mode, or the call.
pub fn event(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let text = parsed.text("text").map(str::trim).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| CliError::usage("--text is required"))?;
    let mode = parsed.text("mode").unwrap_or("next-heartbeat");
    if !["now", "next-heartbeat"].contains(&mode) {
        return Err(CliError::usage("--mode must be now or next-heartbeat"));
    }
    let answer = rpc::call(world, parsed, "wake", &json!({ "mode": mode, "text": text }))?;
    if world.json { world.out.json(&answer) } else { world.out.line("ok") }
}

/// `system heartbeat last`: JSON always.
///
/// # Errors
/// As every call.
pub fn heartbeat_last(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    world.out.json(&rpc::call(world, parsed, "last-heartbeat", &json!({}))?)
}

/// `system heartbeat enable`: JSON always.
///
/// # Errors
/// As every call.
pub fn heartbeat_enable(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    world.out.json(&rpc::call(world, parsed, "set-heartbeats", &json!({ "enabled": true }))?)
}

/// `system heartbeat disable`: JSON always.
///
/// # Errors
/// As every call.
pub fn heartbeat_disable(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    world.out.json(&rpc::call(world, parsed, "set-heartbeats", &json!({ "enabled": false }))?)
}

/// `secrets reload`
///
/// # Errors
/// As every call.
pub fn secrets_reload(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let answer = rpc::call(world, parsed, "secrets.reload", &json!({}))?;
    if world.json {
        return world.out.json(&answer);
    }
    match answer.get("warningCount").and_then(Value::as_u64).unwrap_or(0) {
        0 => world.out.line("Secrets reloaded."),
        n => world.out.line(&format!("Secrets reloaded. {n} warning(s); see the gateway's log.")),
    }
}
