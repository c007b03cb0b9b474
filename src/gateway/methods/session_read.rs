//! What clients ask about sessions: resolve, describe, get, preview, follow.

use serde_json::{Map, Value, json};

use super::chat::{self, waiting};
use crate::gateway::disk::{Job, Then};
use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Effect, Handled};
use crate::gateway::session_key::{self, Place};
use crate::gateway::state::State;
use crate::gateway::transcripts::Ask;
use crate::limits;
use crate::protocol::errors::WireError;

/// Sessions one preview looks at; more are left out (agent.md 11).
const PREVIEWS: usize = 64;

/// The session that `key` names.
pub fn place(state: &State, method: &str, request: &Request<'_>) -> Result<Place, WireError> {
    session_key::of_params(&state.config, method, &request.params, "key")
}

/// The full key of a session that exists.
pub fn resolve(state: &State, request: &Request<'_>) -> Handled {
    let text = |name: &str| request.params.get(name).and_then(Value::as_str).map(str::trim).filter(|t| !t.is_empty());
    let given: Vec<(&str, &str)> =
        ["key", "sessionId", "label"].iter().filter_map(|name| Some((*name, text(name)?))).collect();
    let (name, value) = match given.as_slice() {
        [one] => *one,
        [] => return Err(WireError::invalid("Either key, sessionId or label is required")),
        _ => return Err(WireError::invalid("Provide either key, sessionId, or label (not multiple)")),
    };
    let found = match name {
        "key" => {
            let place = place(state, "sessions.resolve", request)?;
            state.sessions.row(&place.agent, &place.key).map(|row| row.key.to_string())
        }
        _ => {
            let agent = text("agentId").map(str::to_lowercase);
            let parent = text("spawnedBy");
            let rows = state.sessions.rows().into_iter();
            rows.filter(|row| agent.as_deref().is_none_or(|agent| agent == row.agent))
                .filter(|row| parent.is_none_or(|parent| row.entry.text("spawnedBy").as_deref() == Some(parent)))
                .find(|row| row.entry.text(name).as_deref() == Some(value))
                .map(|row| row.key.to_string())
        }
    };
    match found {
        Some(key) => Ok(Answer::Json(json!({"ok": true, "key": key}))),
        None if request.flag("allowMissing") == Some(true) => Ok(Answer::Json(json!({"ok": false}))),
        None => Err(WireError::invalid(format!("No session found: {value}"))),
    }
}

/// One session's row, or `null`.
pub fn describe(state: &State, request: &Request<'_>) -> Handled {
    let place = place(state, "sessions.describe", request)?;
    let row = state.sessions.row(&place.agent, &place.key).map(|row| row.to_wire());
    Ok(Answer::Json(json!({"session": row})))
}

/// Its messages.
pub fn get(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let place = place(state, "sessions.get", request)?;
    chat::ask_history(state, &place, request, Map::new(), fx)
}

/// The last words of several.
pub fn preview(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let keys = request.texts("keys").unwrap_or_default();
    let sessions = keys.iter().take(PREVIEWS).map(|key| {
        let place = session_key::of_key(&state.config, key, None);
        (key.clone(), chat::transcript(state, &place))
    });
    let number =
        |name: &str, default: usize| request.count(name).and_then(|n| usize::try_from(n).ok()).unwrap_or(default);
    let ask = Ask::Previews {
        sessions: sessions.collect(),
        limit: number("limit", 12).min(limits::PREVIEW_MESSAGES),
        max_chars: number("maxChars", 240),
        ts: request.now.wall_ms,
    };
    fx.push(Effect::Disk(Job::Transcript(ask), Then::Transcript(waiting(request))));
    Ok(Answer::Later)
}

/// This connection wants every session's changes.
pub fn subscribe(state: &mut State, request: &Request<'_>) -> Handled {
    state.watch.follow_all(request.conn);
    Ok(Answer::Json(json!({"subscribed": true})))
}

/// It does not any more.
pub fn unsubscribe(state: &mut State, request: &Request<'_>) -> Handled {
    state.watch.leave_all(request.conn);
    Ok(Answer::Json(json!({"subscribed": false})))
}

/// This connection wants one session's messages.
pub fn follow(state: &mut State, request: &Request<'_>) -> Handled {
    let place = place(state, "sessions.messages.subscribe", request)?;
    if !state.watch.follow(request.conn, &place.key) {
        let text = format!("too many sessions are followed (limit {})", limits::FOLLOWED_SESSIONS);
        return Err(WireError::invalid(text));
    }
    Ok(Answer::Json(json!({"subscribed": true, "key": place.key})))
}

/// It does not any more.
pub fn leave(state: &mut State, request: &Request<'_>) -> Handled {
    let place = place(state, "sessions.messages.unsubscribe", request)?;
    state.watch.leave(request.conn, &place.key);
    Ok(Answer::Json(json!({"subscribed": false, "key": place.key})))
}
