//! `sessions`: the sessions in an agent's store, read from its file (`spec/cli.md` 24).

use std::io::Read;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::cli::amount;
use crate::cli::fail::CliError;
use crate::cli::grid;
use crate::cli::parse::Parsed;
use crate::cli::rpc;
use crate::cli::world::World;
use crate::limits;
use crate::sys::order;

/// Members that go to the answer unchanged.
const MEMBERS: &[&str] = &[
    "sessionId",
    "model",
    "modelProvider",
    "contextTokens",
    "inputTokens",
    "outputTokens",
    "totalTokens",
    "thinkingLevel",
    "verboseLevel",
    "label",
    "systemSent",
    "abortedLastRun",
];

/// `sessions`
///
/// # Errors
/// A store that cannot be read, a bad number.
pub fn list(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let active = match parsed.text("active") {
        None => None,
        Some(text) => Some(minutes(text)?),
    };
    let path = store(world, parsed);
    let mut rows = read(&path, world.now_ms)?;
    let limit = active.map_or(u64::MAX, |minutes| minutes.saturating_mul(60_000));
    let age = |row: &Value| row.get("ageMs").and_then(Value::as_u64).unwrap_or(u64::MAX);
    rows.retain(|row| age(row) <= limit);
    order::by_key(&mut rows, age);
    if world.json {
        let path = path.display().to_string();
        return world.out.json(&json!({"path": path, "count": rows.len(), "activeMinutes": active, "sessions": rows}));
    }
    world.out.line(&format!("Session store: {}", world.short(&path)))?;
    world.out.line(&format!("Sessions listed: {}", rows.len()))?;
    let table: Vec<Vec<String>> = rows.iter().map(cells).collect();
    if table.is_empty() {
        return Ok(());
    }
    world.out.line(&grid::draw(&["Kind", "Key", "Age", "Model", "Tokens", "Flags"], &table, world.out.width()))
}

fn minutes(text: &str) -> Result<u64, CliError> {
    let minutes = text.trim().parse::<u64>().ok().filter(|minutes| *minutes > 0);
    minutes.ok_or_else(|| CliError::usage("--active must be a positive integer (minutes)"))
}

fn store(world: &World, parsed: &Parsed) -> PathBuf {
    if let Some(path) = parsed.text("store") {
        return world.paths.expand(path, world.env.cwd());
    }
    let agent = parsed.text("agent").unwrap_or(world.config().default_agent_id()).to_lowercase();
    world.config().session_store(&world.paths, &agent)
}

fn read(path: &PathBuf, now_ms: u64) -> Result<Vec<Value>, CliError> {
    let fail = |error: String| CliError::other(format!("cannot read {}: {error}", path.display()));
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fail(error.to_string())),
    };
    let mut text = String::new();
    let most = u64::try_from(limits::STATE_FILE_BYTES).unwrap_or(u64::MAX);
    file.take(most).read_to_string(&mut text).map_err(|error| fail(error.to_string()))?;
    let entries: Map<String, Value> = serde_json::from_str(&text).map_err(|error| fail(error.to_string()))?;
    Ok(entries.iter().filter(|(_, entry)| entry.is_object()).map(|(key, entry)| row(key, entry, now_ms)).collect())
}

fn row(key: &str, entry: &Value, now_ms: u64) -> Value {
    // The original's clock has fractions.
    let updated = entry.get("updatedAt").and_then(Value::as_f64).map(|at| at as u64);
    let mut row = Map::new();
    row.insert("key".into(), key.into());
    row.insert("kind".into(), kind(key).into());
    row.insert("updatedAt".into(), updated.into());
    row.insert("ageMs".into(), updated.map(|at| now_ms.saturating_sub(at)).into());
    for name in MEMBERS {
        row.extend(entry.get(*name).filter(|value| !value.is_null()).map(|value| (name.to_string(), value.clone())));
    }
    Value::Object(row)
}

fn kind(key: &str) -> &'static str {
    match key {
        "global" => "global",
        "unknown" => "unknown",
        key if key.contains(":group:") || key.contains(":channel:") => "group",
        _ => "direct",
    }
}

fn cells(row: &Value) -> Vec<String> {
    let number = |name: &str| row.get(name).and_then(Value::as_u64);
    let flag =
        |name: &str, word: &str| (row.get(name).and_then(Value::as_bool) == Some(true)).then(|| word.to_string());
    let tokens = match (number("totalTokens"), number("contextTokens")) {
        (Some(used), Some(window)) => format!("{used}/{window}"),
        (Some(used), None) => used.to_string(),
        _ => String::new(),
    };
    vec![
        rpc::text(row, "kind").to_string(),
        rpc::text(row, "key").to_string(),
        number("ageMs").map(amount::ago).unwrap_or_default(),
        rpc::text(row, "model").to_string(),
        tokens,
        flag("abortedLastRun", "aborted").unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_with_a_fraction_has_an_age() {
        let row = row("agent:main:main", &json!({"updatedAt": 1_795_238_197_251.590_8}), 1_795_238_197_300);
        assert_eq!((&row["updatedAt"], &row["ageMs"]), (&json!(1_795_238_197_251_u64), &json!(49)));
    }
}
