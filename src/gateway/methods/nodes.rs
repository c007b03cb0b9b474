//! `node.list`, `node.describe`, `node.rename` and the node pairing store (`node.pair.*`).

use serde_json::Value;

use crate::gateway::disk::{Commit, Waiting};
use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Effect, Handled};
use crate::gateway::node_list::{self, ConnectedNode};
use crate::gateway::pairing::{Change, PairFault, Verdict, covers};
use crate::gateway::pairing_devices::TokenForm;
use crate::gateway::pairing_nodes::{
    NodeRequest, approved_view, node_view, request_view, required_scopes, resolved_payload,
};
use crate::gateway::state::{Role, Session, State, device_token};
use crate::protocol::errors::{Code, WireError};

/// Paired and connected nodes.
pub fn list(state: &State, request: &Request<'_>) -> Handled {
    let connected = connected(state);
    Ok(Answer::Json(node_list::list(state.devices.devices(), connected.iter(), request.now.wall_ms)))
}

/// One of them.
pub fn describe(state: &State, request: &Request<'_>) -> Handled {
    let connected = connected(state);
    let node = request.text("nodeId");
    let entry = node_list::describe(node, state.devices.devices(), connected.iter(), request.now.wall_ms);
    entry.map(Answer::Json).map_err(PairFault::wire)
}

/// Nodes that are connected now; of two connections of one node the newer counts.
fn connected(state: &State) -> Vec<ConnectedNode> {
    let mut nodes: Vec<ConnectedNode> = Vec::new();
    for (_, conn, session) in state.sessions_in_use().filter(|(_, _, session)| session.role == Role::Node) {
        let client = session.client.clone();
        let node = ConnectedNode {
            node_id: session.device_id.clone().unwrap_or_else(|| client.id.clone()),
            display_name: client.display_name,
            platform: Some(client.platform),
            version: Some(client.version),
            device_family: client.device_family,
            model_identifier: client.model_identifier,
            client_id: Some(client.id),
            client_mode: Some(client.mode),
            remote_ip: (!conn.peer.addr.ip().is_loopback()).then(|| conn.peer.addr.ip().to_string()),
            caps: session.caps.clone(),
            commands: session.commands.clone(),
            path_env: session.path_env.clone(),
            permissions: session.permissions.clone(),
            connected_at_ms: session.connected_ms,
            ..ConnectedNode::default()
        };
        nodes.retain(|other| other.node_id != node.node_id);
        nodes.push(node);
    }
    nodes
}

/// Gives a node a name, in the node store or, for a paired device with that role, in the device store.
pub fn rename(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let (id, name) = (request.text("nodeId").to_string(), request.text("displayName"));
    match state.nodes.rename(&id, name) {
        Ok((name, change)) => {
            let answer = json!({"nodeId": id, "displayName": name});
            commit(state, request, change, answer, None, fx)
        }
        Err(PairFault::UnknownNode) => {
            let (device, change) = state.devices.rename(&id, name).map_err(|fault| match fault {
                PairFault::UnknownDevice => PairFault::UnknownNode.wire(),
                other => other.wire(),
            })?;
            let answer = json!({"nodeId": id, "displayName": device.label});
            let reply = Commit { reply: Some((waiting(request), answer)), ..Commit::default() };
            state.commit_devices(change, reply, request.now, fx);
            Ok(Answer::Later)
        }
        Err(fault) => Err(fault.wire()),
    }
}

/// A node asks to be paired; the operators hear of a new request.
pub fn request(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let asked = NodeRequest::from_params(&request.params);
    let asked = asked.ok_or_else(|| WireError::invalid("invalid node.pair.request params: nodeId required"))?;
    let (pending, created, change) = state.nodes.request(asked, state.entropy.uuid(), request.now.wall_ms);
    let view = request_view(&pending);
    let answer = json!({"status": "pending", "request": view, "created": created});
    let event = created.then_some(("node.pair.requested", view));
    commit(state, request, change, answer, event, fx)
}

/// Paired and waiting nodes.
pub fn pairs(state: &State, request: &Request<'_>) -> Handled {
    Ok(Answer::Json(state.nodes.list(request.now.wall_ms)))
}

/// Approves a request; the node's secret is told once, in this answer. On protocol 4 nodes identify
/// themselves by their device and the secret is left out.
pub fn approve(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let id = request.text("requestId").to_string();
    let Some(session) = state.session(request.conn) else { return Err(WireError::invalid("unauthorized")) };
    let protocol = session.protocol;
    check_approver(state, session, &id)?;
    let token = device_token(&mut state.entropy, TokenForm::Hex32);
    let (node, change) = state.nodes.approve(&id, token, request.now.wall_ms).map_err(PairFault::wire)?;
    let view = if protocol >= 4 { node_view(&node) } else { approved_view(&node) };
    let event = resolved_payload(&id, &node.node_id, Verdict::Approved, request.now.wall_ms);
    let answer = json!({"requestId": id, "node": view});
    commit(state, request, change, answer, Some(("node.pair.resolved", event)), fx)
}

/// On protocol 4 the commands a node offers decide which scopes its approval takes (protocol.md 12.4).
fn check_approver(state: &State, session: &Session, request_id: &str) -> Result<(), WireError> {
    let Some(pending) = state.nodes.pending(request_id).filter(|_| session.protocol >= 4) else { return Ok(()) };
    let required = required_scopes(pending.facts.commands.as_deref().unwrap_or_default());
    let held = |scope: &&str| covers(4, &session.scopes, &[scope.to_string()]);
    let Some(missing) = required.iter().find(|scope| !held(scope)) else { return Ok(()) };
    let details = json!({"code": "MISSING_SCOPE", "missingScope": missing, "requiredScopes": required});
    Err(WireError::new(Code::Forbidden, format!("missing scope: {missing}")).with_details(details))
}

/// Rejects a request.
pub fn reject(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let id = request.text("requestId").to_string();
    let (pending, change) = state.nodes.reject(&id, request.now.wall_ms).map_err(PairFault::wire)?;
    let event = resolved_payload(&id, &pending.node_id, Verdict::Rejected, request.now.wall_ms);
    let answer = json!({"requestId": id, "nodeId": pending.node_id});
    commit(state, request, change, answer, Some(("node.pair.resolved", event)), fx)
}

/// Forgets a node.
pub fn remove(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let id = request.text("nodeId").to_string();
    let (_, change) = state.nodes.remove(&id).map_err(PairFault::wire)?;
    commit(state, request, change, json!({"nodeId": id}), None, fx)
}

/// Checks a node's secret.
pub fn verify(state: &State, request: &Request<'_>) -> Handled {
    let node = state.nodes.verify(request.text("nodeId"), request.text("token"));
    Ok(Answer::Json(match node {
        Some(node) => json!({"ok": true, "node": node_view(node)}),
        None => json!({"ok": false}),
    }))
}

fn waiting(request: &Request<'_>) -> Waiting {
    Waiting { conn: request.conn, id: request.id.to_string() }
}

fn commit(
    state: &mut State,
    request: &Request<'_>,
    change: Change,
    answer: Value,
    event: Option<(&'static str, Value)>,
    fx: &mut Vec<Effect>,
) -> Handled {
    let commit =
        Commit { reply: Some((waiting(request), answer)), events: event.into_iter().collect(), ..Commit::default() };
    state.commit_nodes(change, commit, request.now, fx);
    Ok(Answer::Later)
}
