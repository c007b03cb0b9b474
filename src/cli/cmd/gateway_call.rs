//! `gateway call`, `gateway health` and `gateway usage-cost` (`spec/cli.md` 6).

use serde_json::Value;

use super::health;
use crate::cli::fail::CliError;
use crate::cli::out::Style;
use crate::cli::parse::Parsed;
use crate::cli::rpc;
use crate::cli::suggest::nearest;
use crate::cli::vocabulary;
use crate::cli::world::World;

/// `gateway call <method>`
///
/// # Errors
/// Bad parameters before connecting; then as every call.
pub fn call(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let method = parsed.arg(0).unwrap_or_default();
    let params: Value = serde_json::from_str(parsed.text("params").unwrap_or("{}"))
        .map_err(|_| CliError::usage("--params must be valid JSON."))?;
    expect_url(world, parsed)?;
    let payload = rpc::call(world, parsed, method, &params).map_err(|error| with_near(error, method))?;
    if world.json {
        return world.out.json(&payload);
    }
    world.out.styled(&[(Style::Strong, "Gateway call: "), (Style::Plain, method)])?;
    world.out.json(&payload)
}

fn with_near(error: CliError, method: &str) -> CliError {
    if !error.message.starts_with("unknown method") {
        return error;
    }
    match nearest(method, vocabulary::methods().map(|(name, _)| name)).filter(|near| *near != method) {
        Some(near) => error.hint(format!("Did you mean: {near}")),
        None => error,
    }
}

fn expect_url(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let Some(expected) = parsed.text("expect-url") else { return Ok(()) };
    let aim = rpc::aim(world, parsed)?;
    if aim.url.trim_end_matches('/') == expected.trim_end_matches('/') {
        return Ok(());
    }
    Err(CliError::other(format!("the target is {}, not the expected {expected}", aim.url)))
}

/// `gateway health`
///
/// # Errors
/// As every call.
pub fn health(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let payload = rpc::call(world, parsed, "health", &json!({}))?;
    if world.json {
        return world.out.json(&payload);
    }
    world.out.styled(&[(Style::Strong, "Gateway Health")])?;
    let ok = payload.get("ok").and_then(Value::as_bool).unwrap_or(true);
    let took = payload.get("durationMs").and_then(Value::as_u64).unwrap_or(0);
    let (style, word) = if ok { (Style::Good, "OK") } else { (Style::Bad, "NOT OK") };
    world.out.styled(&[(style, word), (Style::Plain, &format!(" ({took}ms)"))])?;
    health::channel_lines(&payload).iter().try_for_each(|line| world.out.line(line))
}

/// `gateway usage-cost`
///
/// # Errors
/// As every call.
pub fn usage_cost(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let days = parsed.text("days").and_then(|days| days.trim().parse::<u32>().ok()).unwrap_or(30).max(1);
    let payload = rpc::call(world, parsed, "usage.cost", &json!({"days": days}))?;
    if world.json {
        return world.out.json(&payload);
    }
    let line = |sum: &Value| {
        let money = sum.get("totalCost").and_then(Value::as_f64).unwrap_or(0.0);
        let tokens = sum.get("totalTokens").and_then(Value::as_u64).unwrap_or(0);
        format!("${money:.4} · {tokens} tokens")
    };
    world.out.styled(&[(Style::Strong, &format!("Usage cost ({days} days)"))])?;
    world.out.line(&format!("Total: {}", line(payload.get("totals").unwrap_or(&Value::Null))))?;
    match rpc::list(&payload, "daily").last() {
        Some(day) => world.out.line(&format!("Latest day: {} · {}", rpc::text(day, "date"), line(day))),
        None => Ok(()),
    }
}
