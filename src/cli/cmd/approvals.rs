//! `approvals get|allowlist add|allowlist remove`: what agents may run without asking, through the gateway, which owns
//! the file.

use serde_json::Value;

use crate::cli::fail::CliError;
use crate::cli::grid;
use crate::cli::parse::Parsed;
use crate::cli::rpc::{self, Line};
use crate::cli::world::World;

/// `approvals get`
///
/// # Errors
/// As every call.
pub fn get(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let answer = rpc::call(world, parsed, "exec.approvals.get", &json!({}))?;
    if world.json {
        return world.out.json(&answer);
    }
    let place = rpc::text(&answer, "path");
    let there = answer.get("exists").and_then(Value::as_bool).unwrap_or(false);
    world.out.line(&format!("File: {place}{}", if there { "" } else { " (not there)" }))?;
    let file = answer.get("file").unwrap_or(&Value::Null);
    for name in ["security", "ask", "askFallback"] {
        let word = file.get("defaults").map(|defaults| rpc::text(defaults, name)).unwrap_or_default();
        if !word.is_empty() {
            world.out.line(&format!("Default {name}: {word}"))?;
        }
    }
    let rows = rows(file);
    if rows.is_empty() {
        return world.out.line("No program is on an allowlist.");
    }
    world.out.line(&grid::draw(&["Agent", "Program", "Last command"], &rows, world.out.width()))
}

fn rows(file: &Value) -> Vec<Vec<String>> {
    let agents = file.get("agents").and_then(Value::as_object);
    let mut rows = Vec::new();
    for (agent, rules) in agents.into_iter().flatten() {
        for entry in rpc::list(rules, "allowlist") {
            let pattern = entry.as_str().unwrap_or_else(|| rpc::text(entry, "pattern"));
            rows.push(vec![agent.clone(), pattern.to_string(), rpc::text(entry, "lastUsedCommand").to_string()]);
        }
    }
    rows
}

/// `approvals allowlist add`
///
/// # Errors
/// As every call; the file changed meanwhile.
pub fn allow(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    change(world, parsed, |list, pattern| {
        let known = list.iter().any(|entry| is(entry, pattern));
        if !known {
            list.push(json!({"pattern": pattern}));
        }
        !known
    })
}

/// `approvals allowlist remove`
///
/// # Errors
/// As every call; the file changed meanwhile.
pub fn forbid(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    change(world, parsed, |list, pattern| {
        let before = list.len();
        list.retain(|entry| !is(entry, pattern));
        before != list.len()
    })
}

fn is(entry: &Value, pattern: &str) -> bool {
    entry.as_str().unwrap_or_else(|| rpc::text(entry, "pattern")) == pattern
}

/// Reads the file, changes one list and writes it back, if nobody else did meanwhile.
fn change(world: &World, parsed: &Parsed, edit: impl Fn(&mut Vec<Value>, &str) -> bool) -> Result<(), CliError> {
    let pattern = parsed.arg(0).unwrap_or_default().trim();
    if pattern.is_empty() {
        return Err(CliError::usage("a program is required"));
    }
    let agent = parsed.text("agent").unwrap_or("*").trim().to_lowercase();
    let mut line = Line::open(world, parsed, &["exec.approvals.get", "exec.approvals.set"])?;
    let before = line.call("exec.approvals.get", &json!({}))?;
    let mut file = before.get("file").cloned().unwrap_or_else(|| json!({"version": 1}));
    let changed = match list_of(&mut file, &agent) {
        Some(list) => edit(list, pattern),
        None => return Err(CliError::other("the approvals file has an unknown shape; see approvals get --json")),
    };
    let after = match changed {
        true => line.call("exec.approvals.set", &json!({"file": file, "baseHash": before.get("hash")}))?,
        false => before,
    };
    if world.json {
        return world.out.json(&after);
    }
    world.out.line(if changed { "Allowlist changed." } else { "Nothing to change." })
}

/// The allowlist of an agent, made where it is missing.
fn list_of<'a>(file: &'a mut Value, agent: &str) -> Option<&'a mut Vec<Value>> {
    let agents = file.as_object_mut()?.entry("agents").or_insert_with(|| json!({}));
    let rules = agents.as_object_mut()?.entry(agent).or_insert_with(|| json!({}));
    rules.as_object_mut()?.entry("allowlist").or_insert_with(|| json!([])).as_array_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_made_where_they_are_missing() {
        let mut file = json!({"version": 1});
        list_of(&mut file, "*").unwrap().push(json!({"pattern": "/bin/ls"}));
        assert_eq!(rows(&file), vec![vec!["*".to_string(), "/bin/ls".into(), String::new()]]);
        assert!(list_of(&mut json!({"agents": 5}), "*").is_none());
    }
}
