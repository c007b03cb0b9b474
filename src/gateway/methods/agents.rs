//! `agents.*` and `agent.identity.get`: who the agents are, and the files of their workspaces.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::chat::waiting;
use crate::agent::control::AbortReason;
use crate::config::roster::Wish;
use crate::config::sections::ResolvedAgent;
use crate::gateway::agent_files::{self, FileAsk};
use crate::gateway::disk::{Job, Then};
use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Effect, Handled};
use crate::gateway::roster::Wanted;
use crate::gateway::runs::RunNo;
use crate::gateway::state::State;
use crate::protocol::errors::WireError;
use crate::sys::order;

/// Name and avatar of an agent without an identity of its own (protocol.md 8.1).
const DEFAULT_NAME: &str = "Assistant";

/// All configured agents.
pub fn list(state: &State) -> Handled {
    let agents: Vec<Value> = state.config.agents.resolved().iter().map(|agent| row(state, agent)).collect();
    Ok(Answer::Json(json!({
        "defaultId": state.config.default_agent_id(),
        "mainKey": state.config.session.main_key,
        "scope": state.config.session.scope.name(),
        "agents": agents,
    })))
}

fn row(state: &State, agent: &ResolvedAgent) -> Value {
    let mut row = Map::new();
    row.insert("id".into(), agent.id.as_str().into());
    if let Some(name) = &agent.name {
        row.insert("name".into(), name.as_str().into());
    }
    let identity = agent.identity.clone().unwrap_or_default();
    let members = [
        ("name", &identity.name),
        ("theme", &identity.theme),
        ("emoji", &identity.emoji),
        ("avatar", &identity.avatar),
    ];
    let said = members.iter().filter_map(|(name, text)| Some((name.to_string(), text.as_deref()?.into())));
    let identity = order::object(said);
    if !identity.is_empty() {
        row.insert("identity".into(), Value::Object(identity));
    }
    row.insert("workspace".into(), workspace(state, &agent.id).display().to_string().into());
    if let Some(model) = &agent.model {
        row.insert("model".into(), json!({"primary": model.primary, "fallbacks": model.fallbacks}));
    }
    Value::Object(row)
}

/// How an agent presents itself.
pub fn identity(state: &State, request: &Request<'_>) -> Handled {
    let id = agent_id(state, request)?;
    let agent = state.config.agents.find(&id);
    let identity = agent.as_ref().and_then(|agent| agent.identity.clone()).unwrap_or_default();
    let name = identity.name.or_else(|| agent.and_then(|agent| agent.name));
    let name = name.unwrap_or_else(|| DEFAULT_NAME.to_string());
    let avatar = identity.avatar.unwrap_or_else(|| name.chars().take(1).collect());
    let mut answer = json!({"agentId": id, "name": name, "avatar": avatar});
    if let (Some(emoji), Some(map)) = (identity.emoji, answer.as_object_mut()) {
        map.insert("emoji".into(), emoji.into());
    }
    Ok(Answer::Json(answer))
}

/// The agent named directly or through a session key `agent:<id>:…`.
pub fn agent_id(state: &State, request: &Request<'_>) -> Result<String, WireError> {
    let named = request.params.get("agentId").and_then(Value::as_str).map(str::to_lowercase);
    let keyed = request.params.get("sessionKey").and_then(Value::as_str).and_then(|key| {
        key.to_lowercase().strip_prefix("agent:").and_then(|rest| rest.split(':').next().map(str::to_string))
    });
    match (named, keyed) {
        (Some(named), Some(keyed)) if named != keyed => Err(WireError::invalid(format!(
            "invalid agent.identity.get params: agent \"{named}\" does not match session key agent \"{keyed}\""
        ))),
        (Some(id), _) | (None, Some(id)) => Ok(id),
        (None, None) => Ok(state.config.default_agent_id().to_string()),
    }
}

fn workspace(state: &State, agent: &str) -> PathBuf {
    state.config.workspace(&state.facts.paths, agent)
}

fn wish(request: &Request<'_>) -> Wish {
    let text = |name: &str| request.params.get(name).and_then(Value::as_str).map(str::to_string);
    let model = request.params.get("model").map(|model| model.as_str().map(str::to_string));
    Wish {
        name: text("name"),
        workspace: text("workspace"),
        model,
        emoji: text("emoji"),
        avatar: text("avatar"),
        ..Wish::default()
    }
}

fn change(state: &mut State, request: &Request<'_>, wanted: Wanted, fx: &mut Vec<Effect>) -> Handled {
    state.renew(wanted, waiting(request), fx)?;
    Ok(Answer::Later)
}

/// Adds an agent; it can be used as soon as this is answered.
pub fn create(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    change(state, request, Wanted::Create(wish(request)), fx)
}

/// Changes an agent; turns that are running go on as they began.
pub fn update(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    if request.params.get("name").and_then(Value::as_str).is_some_and(|name| name.trim().is_empty()) {
        return Err(WireError::invalid("agent name is required"));
    }
    change(state, request, Wanted::Update(request.text("agentId").to_string(), wish(request)), fx)
}

/// Takes an agent out, when none of its turns runs any more.
pub fn delete(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let agent = request.text("agentId").trim().to_lowercase();
    let own = |state: &State| -> Vec<RunNo> {
        state.runs.all().filter(|(_, run)| run.agent_id == agent).map(|(no, _)| no).collect()
    };
    for no in own(state) {
        state.stop_run(no, AbortReason::Rpc, request.now, fx);
    }
    if !own(state).is_empty() {
        let text = format!("agent \"{agent}\" is still busy; its turns were told to stop, try again in a moment");
        return Err(WireError { retry_after_ms: Some(500), ..WireError::unavailable(text) });
    }
    let files = (request.flag("deleteFiles") != Some(false)).then_some(request.now.wall_ms);
    change(state, request, Wanted::Delete(agent, files), fx)
}

/// The files of a workspace.
pub fn files(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    ask(state, request, agent_files::Wanted::List, fx)
}

/// One of them.
pub fn file_get(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    ask(state, request, agent_files::Wanted::Get(file_name(request)?), fx)
}

/// One of them, replaced.
pub fn file_set(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let content = request.text("content").to_string();
    ask(state, request, agent_files::Wanted::Set(file_name(request)?, content), fx)
}

fn file_name(request: &Request<'_>) -> Result<String, WireError> {
    let name = request.text("name").trim();
    if agent_files::is_known(name) {
        return Ok(name.to_string());
    }
    let shown: String = name.chars().take(80).collect();
    Err(WireError::invalid(format!("unsupported file \"{shown}\"")))
}

fn ask(state: &mut State, request: &Request<'_>, wanted: agent_files::Wanted, fx: &mut Vec<Effect>) -> Handled {
    let agent = request.text("agentId").trim().to_lowercase();
    if state.config.agents.find(&agent).is_none() {
        return Err(WireError::invalid("unknown agent id"));
    }
    let folder = workspace(state, &agent);
    state.read_begins(request.conn)?;
    let ask = FileAsk { agent, folder, wanted };
    fx.push(Effect::Disk(Job::AgentFiles(ask), Then::Answer(waiting(request))));
    Ok(Answer::Later)
}
