//! `exec.approval.*` and `exec.approvals.*`: commands that wait for a person, and the file of what may run unasked.

use serde_json::Value;

use super::chat::waiting;
use crate::agent::tool::approval::pending::{Decision, Request as Wish, Wait};
use crate::gateway::broadcast;
use crate::gateway::disk::{Job, Then};
use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Effect, Handled};
use crate::gateway::state::{Role, State};
use crate::gateway::tool_asks::Approver;
use crate::protocol::errors::WireError;

/// Asks the operators; the answer is the decision, or comes at once and again with `twoPhase`.
pub fn request(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let id = match request.text("id").trim() {
        "" => state.entropy.uuid(),
        id => id.to_string(),
    };
    let waiter = Approver::Client(waiting(request));
    let wish = Wish::from_params(&request.params);
    let event = state.approvals.request(wish, id.clone(), request.count("timeoutMs"), Some(waiter), request.now)?;
    state.broadcast("exec.approval.requested", &event, fx);
    state.approval_timer(request.now, fx);
    if request.flag("twoPhase") == Some(true) {
        let mut accepted = json!({"status": "accepted", "id": id});
        if let (Some(members), Some(event)) = (accepted.as_object_mut(), event.as_object()) {
            let times = ["createdAtMs", "expiresAtMs"].iter();
            members.extend(times.filter_map(|name| Some((name.to_string(), event.get(*name)?.clone()))));
        }
        broadcast::reply(fx, request.conn, request.id, &accepted);
    }
    Ok(Answer::Later)
}

/// Decides.
pub fn resolve(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let decision = Decision::parse(request.text("decision"))?;
    let by = state.session(request.conn).map(|session| session.client.id.to_string());
    let settled = state.approvals.resolve(request.text("id"), decision, by.as_deref(), request.now)?;
    state.approval_settled(settled, fx);
    Ok(Answer::Json(json!({"ok": true})))
}

/// Those that wait.
pub fn list(state: &State) -> Handled {
    Ok(Answer::Json(state.approvals.list()))
}

/// One that waits.
pub fn get(state: &State, request: &Request<'_>) -> Handled {
    state.approvals.get(request.text("id")).map(Answer::Json)
}

/// Waits for the decision.
pub fn wait(state: &mut State, request: &Request<'_>) -> Handled {
    match state.approvals.wait(request.text("id"), Approver::Client(waiting(request)))? {
        Wait::Ended(_, answer) => Ok(Answer::Json(answer)),
        Wait::Pending => Ok(Answer::Later),
    }
}

/// The file.
pub fn file(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    state.read_begins(request.conn)?;
    fx.push(Effect::Disk(Job::ApprovalsGet, Then::Transcript(waiting(request))));
    Ok(Answer::Later)
}

/// Replaces the file, if it is still the one the client saw.
pub fn set(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let mut seed = [0_u8; 32];
    state.entropy.fill(&mut seed);
    let params: Value = request.params.clone();
    if !params.get("file").is_some_and(Value::is_object) {
        return Err(WireError::invalid("invalid exec.approvals.set params: file is required"));
    }
    state.read_begins(request.conn)?;
    fx.push(Effect::Disk(Job::ApprovalsSet(params, seed), Then::Answer(waiting(request))));
    Ok(Answer::Later)
}

/// The file of a node, which only the node itself can read and write.
pub fn of_node(state: &State, request: &Request<'_>) -> Handled {
    let node = request.text("nodeId").trim();
    let connected = state.sessions_in_use().any(|(_, _, session)| {
        let id = session.device_id.as_deref().unwrap_or(&session.client.id);
        session.role == Role::Node && id == node
    });
    let (code, text) = match connected {
        false => ("NOT_CONNECTED", "node not connected"),
        true => ("NOT_SUPPORTED", "this gateway does not pass commands on to nodes yet"),
    };
    let details = json!({"nodeError": {"code": code, "message": text}, "nodeCommandDispatched": false});
    Err(WireError::unavailable(text).with_details(details))
}
