//! Presence, system events, heartbeat switches, and what the gateway says of itself.

use serde_json::Value;

use crate::config::model::Config;
use crate::gateway::beacon::Beacon;
use crate::gateway::disk::{Commit, Waiting};
use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, ConnId, Effect, Handled};
use crate::gateway::heartbeats::Wake;
use crate::gateway::session_key;
use crate::gateway::state::State;
use crate::gateway::trouble::Query;
use crate::limits;
use crate::protocol::errors::WireError;
use crate::sys::date;

/// The list, not wrapped in an object (protocol.md 8.1).
pub fn presence(state: &mut State, request: &Request<'_>) -> Handled {
    Ok(Answer::Raw(state.presence_json(request.now)))
}

/// A beacon of a machine or app, or a line for the main session's next turn.
pub fn event(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let beacon = Beacon::from_params(&request.params)?;
    let caller = state.session(request.conn).and_then(|session| session.presence_key.clone());
    let line = state.presence.beacon(&beacon, caller.as_ref(), request.now.wall_ms);
    state.presence_changed(request.now, fx);
    let Some(line) = line else { return Ok(Answer::Json(json!({"ok": true}))) };
    let main = state.main_place(state.config.default_agent_id());
    state.queue_system_event(&main, &line, request.now);
    Ok(answer_when_saved(state, request, fx))
}

/// The last heartbeat event, or `null`.
pub fn last_heartbeat(state: &State) -> Handled {
    Ok(Answer::Json(state.heartbeats.last.clone().unwrap_or(Value::Null)))
}

/// Switches heartbeats on or off for the life of the process.
pub fn set_heartbeats(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let enabled = request.flag("enabled").unwrap_or(state.heartbeats.enabled);
    state.set_heartbeats(enabled, request.now, fx);
    state.health_soon(fx);
    Ok(Answer::Json(json!({"ok": true, "enabled": enabled})))
}

/// Queues a line for an agent's main session, or for the named one, and has the agent look at it.
pub fn wake(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let text = request.text("text").trim();
    if text.is_empty() {
        return Ok(Answer::Json(json!({"ok": false})));
    }
    let place = session_key::of_params(&state.config, "wake", &request.params, "sessionKey")?;
    state.queue_system_event(&place, text, request.now);
    let mode = if request.text("mode") == "now" { Wake::Now } else { Wake::NextHeartbeat };
    state.wake(&place.agent, mode, "wake", request.now, fx);
    Ok(answer_when_saved(state, request, fx))
}

/// A line that somebody was told of survives a crash.
fn answer_when_saved(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Answer {
    let waiting = Waiting { conn: request.conn, id: request.id.to_string() };
    state.commit_lines(Commit { reply: Some((waiting, json!({"ok": true}))), ..Commit::default() }, fx);
    Answer::Later
}

/// The record of what went wrong since the start.
pub fn stability(state: &State, request: &Request<'_>) -> Handled {
    let query = Query {
        limit: request.count("limit").and_then(|n| usize::try_from(n).ok()).unwrap_or(limits::TROUBLE_ENTRIES),
        kind: request.params.get("type").and_then(Value::as_str),
        since: request.count("sinceSeq").unwrap_or(0),
    };
    let mut answer = state.trouble.answer(&query, date::iso_utc(request.now.wall_ms));
    if let Some(summary) = answer.get_mut("summary").and_then(Value::as_object_mut) {
        let counters = &state.counters;
        summary.insert(
            "connections".into(),
            json!({"open": state.conns.len(), "opened": counters.opened, "admitted": counters.admitted, "refused": counters.refused}),
        );
        summary.insert("requests".into(), json!({"answered": counters.requests, "failed": counters.failed}));
        summary.insert("configWarnings".into(), state.config_warnings.into());
    }
    Ok(Answer::Json(answer))
}

/// The gateway's own device id and key, by which several addresses of one gateway are recognised.
pub fn identity(state: &State) -> Handled {
    match &state.facts.identity {
        Some((device_id, public_key)) => Ok(Answer::Json(json!({"deviceId": device_id, "publicKey": public_key}))),
        None => Err(WireError::unavailable("gateway identity is not available")),
    }
}

/// This program never asks a registry for updates (decisions.md, lifecycle.md 5.2).
pub fn update_status() -> Handled {
    Ok(Answer::Json(json!({"sentinel": null, "updateAvailable": null, "effectiveChannel": "stable"})))
}

/// Takes over the secrets of a freshly read configuration and lets go of clients whose shared secret
/// is no longer valid; whoever asked stays.
pub fn secrets_reloaded(state: &mut State, asker: ConnId, config: &Config, fx: &mut Vec<Effect>) {
    let fresh = state.access.reread(config);
    if fresh.same_as(&state.secrets) {
        return;
    }
    state.secrets = fresh;
    let stale: Vec<ConnId> = state
        .sessions_in_use()
        .filter(|(conn, _, session)| *conn != asker && matches!(session.method, "token" | "password"))
        .map(|(conn, ..)| conn)
        .collect();
    for conn in stale {
        state.close(conn, 4001, "gateway auth changed", fx);
    }
}
