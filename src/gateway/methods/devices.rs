//! `device.pair.*` and `device.token.*`: every change is on disk before it is acknowledged.

use serde_json::Value;

use crate::gateway::disk::{Commit, Waiting};
use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, ConnId, Effect, Handled};
use crate::gateway::pairing::{Change, PairFault, Verdict};
use crate::gateway::pairing_devices::{TokenForm, device_view, resolved_payload};
use crate::gateway::state::{State, device_token};
use crate::protocol::errors::{Code, WireError};

/// Devices, paired and waiting.
pub fn list(state: &State, request: &Request<'_>) -> Handled {
    Ok(Answer::Json(state.devices.list(request.now.wall_ms)))
}

/// Approves a request; nobody can grant a scope he does not hold.
pub fn approve(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let id = request.text("requestId");
    let scopes = state.session(request.conn).map(|session| session.scopes.clone()).unwrap_or_default();
    if let Some(scope) = state.devices.approval_gap(id, &scopes) {
        let details = json!({"code": "MISSING_SCOPE", "missingScope": scope, "requiredScopes": [scope]});
        return Err(WireError::new(Code::InvalidRequest, format!("missing scope: {scope}")).with_details(details));
    }
    let (device, change) = state.devices.approve(id, request.now.wall_ms).map_err(PairFault::wire)?;
    let answer = json!({"requestId": id, "device": device_view(&device)});
    let event = resolved_payload(id, &device.device_id, Verdict::Approved, request.now.wall_ms);
    commit(state, request, change, answer, Some(event), Vec::new(), fx)
}

/// Rejects a request.
pub fn reject(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let id = request.text("requestId");
    let (pending, change) = state.devices.reject(id, request.now.wall_ms).map_err(PairFault::wire)?;
    let event = resolved_payload(id, &pending.device_id, Verdict::Rejected, request.now.wall_ms);
    let answer = json!({"requestId": id, "deviceId": pending.device_id});
    commit(state, request, change, answer, Some(event), Vec::new(), fx)
}

/// Forgets a device and closes its connections.
pub fn remove(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let id = request.text("deviceId").to_string();
    let (_, change) = state.devices.remove(&id).map_err(PairFault::wire)?;
    let gone = connections_of(state, &id, None);
    commit(state, request, change, json!({"deviceId": id}), None, gone, fx)
}

/// Gives a device the operator's own name for it.
pub fn rename(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let (id, label) = (request.text("deviceId").to_string(), request.text("label"));
    let (device, change) = state.devices.rename(&id, label).map_err(PairFault::wire)?;
    let answer = json!({"deviceId": id, "label": device.label});
    commit(state, request, change, answer, None, Vec::new(), fx)
}

/// Replaces a device's token. Protocol 4 tells the new one only to the device itself.
pub fn rotate(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let (id, role) = (request.text("deviceId").to_string(), request.text("role").to_string());
    let Some(session) = state.session(request.conn) else { return Err(WireError::invalid("unauthorized")) };
    let (protocol, own) = (session.protocol, session.device_id.as_deref() == Some(id.as_str()));
    let token = device_token(&mut state.entropy, TokenForm::of(protocol));
    let scopes = request.texts("scopes");
    let rotated = state.devices.rotate(&id, &role, scopes.as_deref(), token, request.now.wall_ms);
    let (issued, change) = rotated.map_err(PairFault::wire)?;
    let mut answer = json!({"deviceId": id, "role": role, "scopes": issued.scopes, "rotatedAtMs": issued.issued_at_ms});
    if let (true, Some(map)) = (protocol < 4 || own, answer.as_object_mut()) {
        map.insert("token".into(), issued.token.into());
    }
    commit(state, request, change, answer, None, stale(state, request, &id, &role), fx)
}

/// Takes a device's token back and ends what was opened with it.
pub fn revoke(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let (id, role) = (request.text("deviceId").to_string(), request.text("role").to_string());
    let change = state.devices.revoke(&id, &role, request.now.wall_ms).map_err(PairFault::wire)?;
    let answer = json!({"deviceId": id, "role": role, "revokedAtMs": request.now.wall_ms});
    commit(state, request, change, answer, None, stale(state, request, &id, &role), fx)
}

/// Connections that live on the device token which is no longer valid; the caller's own stays open to
/// hear the answer.
fn stale(state: &State, request: &Request<'_>, device: &str, role: &str) -> Vec<ConnId> {
    let by_token = |conn: &ConnId| {
        state.session(*conn).is_some_and(|session| session.method == "device-token" && *conn != request.conn)
    };
    connections_of(state, device, Some(role)).into_iter().filter(by_token).collect()
}

fn connections_of(state: &State, device: &str, role: Option<&str>) -> Vec<ConnId> {
    state
        .sessions_in_use()
        .filter(|(_, _, session)| session.device_id.as_deref() == Some(device))
        .filter(|(_, _, session)| role.is_none_or(|role| session.role.name() == role))
        .map(|(conn, ..)| conn)
        .collect()
}

fn commit(
    state: &mut State,
    request: &Request<'_>,
    change: Change,
    answer: Value,
    resolved: Option<Value>,
    revoked: Vec<ConnId>,
    fx: &mut Vec<Effect>,
) -> Handled {
    let waiting = Waiting { conn: request.conn, id: request.id.to_string() };
    let commit = Commit {
        reply: Some((waiting, answer)),
        events: resolved.map(|payload| ("device.pair.resolved", payload)).into_iter().collect(),
        revoked,
        ..Commit::default()
    };
    state.commit_devices(change, commit, request.now, fx);
    Ok(Answer::Later)
}
