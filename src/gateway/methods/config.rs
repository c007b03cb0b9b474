//! `config.get`, `config.schema`, `config.schema.lookup` and `secrets.reload`.
//! The file is read by the store thread at each call, so that an edit by hand is seen.

use std::sync::OnceLock;

use serde_json::Value;

use crate::config::load::{self, Issue, Snapshot};
use crate::config::schema;
use crate::gateway::disk::{Job, Then, Waiting};
use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Effect, Handled};
use crate::gateway::roster::Wanted;
use crate::gateway::state::State;
use crate::protocol::errors::WireError;
use crate::sys::date;

fn waiting(request: &Request<'_>) -> Waiting {
    Waiting { conn: request.conn, id: request.id.to_string() }
}

/// Has the configuration read anew.
pub fn get(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    state.read_begins(request.conn)?;
    fx.push(Effect::Disk(Job::Config, Then::ConfigGet(waiting(request))));
    Ok(Answer::Later)
}

/// The answer to `config.get`: no secret leaves the process (`raw` would carry them, so it is withheld
/// where the file holds any).
pub fn snapshot(snapshot: &Snapshot) -> Value {
    let config = load::redacted(&snapshot.resolved);
    let parsed = load::redacted(&snapshot.parsed);
    let raw = match &snapshot.raw {
        Some(raw) if parsed == snapshot.parsed => Value::String(raw.clone()),
        _ => Value::Null,
    };
    json!({
        "path": snapshot.path.display().to_string(),
        "exists": snapshot.exists,
        "raw": raw,
        "parsed": parsed,
        "valid": snapshot.valid,
        "config": config,
        "hash": snapshot.hash,
        "issues": issues(&snapshot.issues),
        "warnings": issues(&snapshot.warnings),
        "legacyIssues": [],
    })
}

fn issues(list: &[Issue]) -> Vec<Value> {
    list.iter().map(|issue| json!({"path": issue.path, "message": issue.message})).collect()
}

/// The schema of the configuration file. It is the same each time and large, so it is built once.
pub fn schema(request: &Request<'_>) -> Handled {
    static SCHEMA: OnceLock<String> = OnceLock::new();
    let constant = SCHEMA.get_or_init(|| {
        let (schema, hints) = (schema::json_schema(), schema::ui_hints());
        let version = Value::from(env!("CARGO_PKG_VERSION"));
        format!("{{\"schema\":{schema},\"uiHints\":{hints},\"version\":{version},\"generatedAt\":")
    });
    let generated_at = Value::from(date::iso_utc(request.now.wall_ms));
    Ok(Answer::Raw(format!("{constant}{generated_at}}}").into()))
}

/// One key of it.
pub fn lookup(request: &Request<'_>) -> Handled {
    let path = request.text("path");
    schema::lookup(path)
        .map(Answer::Json)
        .ok_or_else(|| WireError::invalid(format!("unknown config path: {path}; try config.schema")))
}

/// Reads the configuration anew and takes over its secrets, and what turns read.
pub fn reload_secrets(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    state.renew(Wanted::Reread, waiting(request), fx)?;
    Ok(Answer::Later)
}
