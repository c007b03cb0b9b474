//! `config file|validate|get`: reading only (`spec/cli.md` 20).

use serde_json::Value;

use crate::cli::fail::{CliError, Kind};
use crate::cli::parse::Parsed;
use crate::cli::world::World;

/// `config file`: the path, whether it exists or not.
///
/// # Errors
/// A closed standard output.
pub fn file(world: &World) -> Result<(), CliError> {
    world.out.line(&world.snapshot.path.display().to_string())
}

/// `config validate`
///
/// # Errors
/// A missing or invalid file.
pub fn validate(world: &World) -> Result<(), CliError> {
    let snapshot = &world.snapshot;
    let path = snapshot.path.display().to_string();
    let issues: Vec<Value> =
        snapshot.issues.iter().map(|issue| json!({ "path": issue.path, "message": issue.message })).collect();
    if world.json {
        let message = if snapshot.exists { "config is invalid" } else { "file not found" };
        let ok = snapshot.exists && snapshot.valid;
        let mut answer = json!({ "ok": ok, "valid": ok, "path": path });
        if let (false, Value::Object(members)) = (ok, &mut answer) {
            members.insert("error".into(), json!({ "type": "cli_error", "message": message }));
            members.insert("issues".into(), issues.into());
        }
        world.out.json(&answer)?;
        return if ok { Ok(()) } else { Err(CliError::negative()) };
    }
    if !snapshot.exists {
        let error = CliError::other(format!("Config file not found: {}", world.short(&snapshot.path)));
        return Err(error.hint("The least that it needs: { gateway: { mode: \"local\" } }"));
    }
    if !snapshot.valid {
        let error = CliError::new(Kind::Config, format!("Config invalid at {}.", world.short(&snapshot.path)));
        let error =
            snapshot.issues.iter().fold(error, |error, issue| error.hint(format!("- {}", snapshot.told(issue))));
        return Err(error.hint(format!("Run `{}` to repair, then retry.", world.command("doctor"))));
    }
    for warning in &snapshot.warnings {
        world.out.note(crate::cli::out::Style::Warn, &format!("Warning: {}", snapshot.told(warning)));
    }
    world.out.line(&format!("Config valid: {}", world.short(&snapshot.path)))
}

/// `config get <path>`: the value as the gateway reads it; secrets are replaced.
///
/// # Errors
/// A bad path, a missing value, an invalid file.
pub fn get(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let written = parsed.arg(0).unwrap_or_default();
    let path = parse_path(written).map_err(CliError::usage)?;
    let shown = crate::config::redacted(&world.snapshot.resolved);
    let found = path.iter().try_fold(&shown, |value, part| match value {
        Value::Array(items) => part.parse::<usize>().ok().and_then(|n| items.get(n)),
        other => other.get(part),
    });
    let value = found.ok_or_else(|| CliError::other(format!("Config path not found: {written}")))?;
    match value {
        Value::String(text) if !world.json => world.out.line(text),
        value => world.out.json(value),
    }
}

/// Dots, `[index]`, `[key]`, and `\` before a character that is meant as it stands.
fn parse_path(text: &str) -> Result<Vec<String>, String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut chars = text.trim().chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => part.extend(chars.next()),
            '.' => parts.push(std::mem::take(&mut part)),
            '[' => {
                parts.push(std::mem::take(&mut part));
                let mut key = String::new();
                loop {
                    match chars.next() {
                        Some(']') => break,
                        Some(c) => key.push(c),
                        None => return Err(format!("Invalid path (missing \"]\"): {text}")),
                    }
                }
                if key.trim().is_empty() {
                    return Err(format!("Invalid path (empty \"[]\"): {text}"));
                }
                parts.push(key.trim().to_string());
            }
            c => part.push(c),
        }
    }
    parts.push(part);
    parts.retain(|part| !part.is_empty());
    if parts.is_empty() { Err("Path is empty.".to_string()) } else { Ok(parts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_dots_brackets_and_escapes() {
        assert_eq!(parse_path("a.b[0].c[x.y]").unwrap(), ["a", "b", "0", "c", "x.y"]);
        assert_eq!(parse_path("a\\.b").unwrap(), ["a.b"]);
        assert_eq!(parse_path(" ").unwrap_err(), "Path is empty.");
        assert_eq!(parse_path("a[").unwrap_err(), "Invalid path (missing \"]\"): a[");
        assert_eq!(parse_path("a[]").unwrap_err(), "Invalid path (empty \"[]\"): a[]");
    }
}
