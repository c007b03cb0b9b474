//! What clients ask about sessions: resolve, describe, get, preview, follow.

use super::chat;
use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Effect, Handled};
use crate::gateway::session_key::{self, Place};
use crate::gateway::state::State;
use crate::gateway::transcripts::Ask;
use crate::limits;
use crate::protocol::errors::WireError;
use crate::session::fault::Refusal;
use crate::session::key::KeyRules;
use crate::session::list::Named;
use crate::sys::order;

/// The session that `key` names.
pub fn place(state: &State, method: &str, request: &Request<'_>) -> Result<Place, WireError> {
    session_key::of_params(&state.config, method, &request.params, "key")
}

/// The full key of a session that exists.
pub fn resolve(state: &State, request: &Request<'_>) -> Handled {
    let rules = KeyRules::of(&state.config);
    match Named::of(&request.params).resolve(&rules, state.sessions.indexes()) {
        Ok(key) => Ok(Answer::Json(json!({"ok": true, "key": key.as_str(), "agentId": rules.owner(&key)}))),
        Err(Refusal::NotFound(_) | Refusal::LabelNotFound(_)) if request.flag("allowMissing") == Some(true) => {
            Ok(Answer::Json(json!({"ok": false})))
        }
        Err(refusal) => Err(WireError::invalid(refusal.to_string())),
    }
}

/// One session's row, or `null`.
pub fn describe(state: &State, request: &Request<'_>) -> Handled {
    let place = place(state, "sessions.describe", request)?;
    let row = state.session_row(&place.agent, &place.key);
    Ok(Answer::Json(json!({"session": row})))
}

/// Its messages.
pub fn get(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let place = place(state, "sessions.get", request)?;
    let head = order::object([("key".to_string(), place.key.as_str().into())]);
    chat::ask_history(state, &place, request, head, fx)
}

/// The last words of several.
pub fn preview(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let keys = request.texts("keys").unwrap_or_default();
    let sessions = keys.iter().take(limits::PREVIEW_KEYS).map(|key| {
        let place = session_key::of_key(&state.config, key, None);
        let known = state.sessions.get(&place.agent, &place.key).is_some();
        (key.clone(), known, chat::transcript(state, &place))
    });
    let number =
        |name: &str, default: usize| request.count(name).and_then(|n| usize::try_from(n).ok()).unwrap_or(default);
    let ask = Ask::Previews {
        sessions: sessions.collect(),
        limit: number("limit", limits::PREVIEW_ITEMS).min(limits::PREVIEW_ITEMS_MAX),
        max_chars: number("maxChars", limits::PREVIEW_CHARS).min(limits::PREVIEW_CHARS_MAX),
        ts: request.now.wall_ms,
    };
    chat::read(state, request, ask, fx)
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
