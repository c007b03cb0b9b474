//! `usage.status`, `usage.cost`, `sessions.usage` and its details: what conversations cost, counted when asked.

use std::path::PathBuf;

use serde_json::Value;

use super::models;
use super::session_read;
use crate::gateway::dispatch::Request;
use crate::gateway::errand::Errand;
use crate::gateway::event::{Answer, Effect, Handled};
use crate::gateway::methods::chat;
use crate::gateway::state::State;
use crate::gateway::usage::{Ask, Days, Store, Wanted};
use crate::limits;
use crate::protocol::errors::WireError;
use crate::store::session::archive;
use crate::sys::zone::Zone;

/// Days that `range` names.
const RANGES: &[(&str, i64)] = &[("7d", 7), ("30d", 30), ("90d", 90), ("1y", 365), ("all", 3650)];

/// Quotas that providers report. None does for the kinds of keys this gateway uses.
pub fn status(request: &Request<'_>) -> Handled {
    Ok(Answer::Json(json!({"updatedAt": request.now.wall_ms, "providers": []})))
}

/// Sums by day.
pub fn cost(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let ask = ask(state, request, Wanted::Cost)?;
    models::answer(state, request, Errand::Usage(Box::new(ask)), fx)
}

/// Sums by session.
pub fn sessions(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let keys = match request.text("key").trim() {
        "" => None,
        // A conversation that was left for a new one is listed under its own id.
        written => Some(vec![session_read::place(state, "sessions.usage", request)?.key, written.to_string()]),
    };
    let limit = request.count("limit").and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.unwrap_or(limits::USAGE_SESSIONS).clamp(1, limits::USAGE_SESSIONS_MAX);
    let ask = ask(state, request, Wanted::Sessions { keys, limit })?;
    models::answer(state, request, Errand::Usage(Box::new(ask)), fx)
}

/// The curve of one session.
pub fn series(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let Detail { key, session_id, path } = one(state, request, "sessions.usage.timeseries", "timeseries")?;
    let Some(path) = path else {
        return Err(WireError::invalid(format!("No transcript found for session: {key}")));
    };
    let ask = ask(state, request, Wanted::Series { key, session_id, path })?;
    models::answer(state, request, Errand::Usage(Box::new(ask)), fx)
}

/// The last messages of one session.
pub fn logs(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let Some(path) = one(state, request, "sessions.usage.logs", "logs")?.path else {
        return Ok(Answer::Json(json!({"logs": []})));
    };
    let limit = request.count("limit").and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.unwrap_or(limits::USAGE_LOG_LINES).clamp(1, limits::USAGE_SESSIONS_MAX);
    let ask = ask(state, request, Wanted::Logs { path, limit })?;
    models::answer(state, request, Errand::Usage(Box::new(ask)), fx)
}

/// A session whose details are wanted.
struct Detail {
    key: String,
    session_id: String,
    path: Option<PathBuf>,
}

/// The session that `key` names: one of the index, or the id of one that was left for a new one.
fn one(state: &State, request: &Request<'_>, method: &str, what: &str) -> Result<Detail, WireError> {
    let written = request.text("key").trim();
    if written.is_empty() {
        return Err(WireError::invalid(format!("key is required for {what}")));
    }
    let place = session_read::place(state, method, request)?;
    let entry = state.sessions.get(&place.agent, &place.key);
    let known = entry.and_then(|entry| entry.session_id()).map(|id| id.to_string());
    let (session_id, path) = match known {
        Some(id) => (id, chat::transcript(state, &place)),
        None => {
            let store = state.config.session_store(&state.facts.paths, &place.agent);
            let folder = store.parent().unwrap_or(&store);
            (written.to_string(), archive::transcript_of(folder, written, None))
        }
    };
    Ok(Detail { key: place.key, session_id, path })
}

fn ask(state: &State, request: &Request<'_>, wanted: Wanted) -> Result<Ask, WireError> {
    let text = |name: &str| request.params.get(name).and_then(Value::as_str).map(str::to_string);
    let range = RANGES.iter().find(|(name, _)| *name == request.text("range")).map(|(_, days)| *days);
    let days = request.params.get("days").and_then(Value::as_f64).map(|days| days.clamp(1.0, 3650.0) as i64);
    Ok(Ask {
        wanted,
        dates: (text("startDate"), text("endDate")),
        length: days.or(range),
        days: zone(state, request)?,
        stores: stores(state, request)?,
        now_ms: request.now.wall_ms,
    })
}

fn zone(state: &State, request: &Request<'_>) -> Result<Days, WireError> {
    let name = request.text("timeZone").trim();
    match request.text("mode") {
        "utc" => Ok(Days::Of(Zone::utc())),
        // A path is no name of a zone.
        "specific" if name.starts_with(['/', ':', '.']) => Err(WireError::invalid("unknown time zone")),
        "specific" if !name.is_empty() => Ok(Days::Named(name.to_string())),
        _ => Ok(Days::Of(state.facts.zone.clone())),
    }
}

/// The folders of all agents, or of the asked one.
fn stores(state: &State, request: &Request<'_>) -> Result<Vec<Store>, WireError> {
    let asked = request.text("agentId").trim().to_lowercase();
    let agents = state.config.agents.resolved();
    if !asked.is_empty() && !agents.iter().any(|agent| agent.id == asked) {
        return Err(WireError::invalid(format!("unknown agent id \"{asked}\"")));
    }
    let wanted = agents.into_iter().map(|agent| agent.id).filter(|id| asked.is_empty() || *id == asked);
    Ok(wanted
        .map(|agent| {
            let file = state.config.session_store(&state.facts.paths, &agent);
            let folder = file.parent().unwrap_or(&file).to_path_buf();
            let index = state.sessions.index(&agent);
            Store { agent, folder, index }
        })
        .collect())
}
