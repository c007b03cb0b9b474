//! `agents.list`, `agent.identity.get` and `models.list`: what the configuration says.

use serde_json::{Map, Value, json};

use crate::agent::tool::catalog;
use crate::config::sections::{Model, ResolvedAgent};
use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Handled};
use crate::gateway::state::State;
use crate::protocol::errors::WireError;
use crate::sys::order;

/// Name and avatar of an agent without an identity of its own (protocol.md 8.1).
const DEFAULT_NAME: &str = "Assistant";

/// All configured agents.
pub fn list(state: &State) -> Handled {
    let agents: Vec<Value> = state.config.agents.resolved().iter().map(row).collect();
    Ok(Answer::Json(json!({
        "defaultId": state.config.default_agent_id(),
        "mainKey": state.config.session.main_key,
        "scope": state.config.session.scope.name(),
        "agents": agents,
    })))
}

fn row(agent: &ResolvedAgent) -> Value {
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
fn agent_id(state: &State, request: &Request<'_>) -> Result<String, WireError> {
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

/// Models of the configured providers.
pub fn models(state: &State) -> Handled {
    Ok(Answer::Json(json!({"models": model_rows(state)})))
}

/// The rows of `models.list`.
pub fn model_rows(state: &State) -> Vec<Value> {
    state
        .config
        .providers
        .iter()
        .flat_map(|provider| provider.models.iter().map(|model| row_of_model(&provider.id, model)))
        .collect()
}

/// All tools there are.
pub fn tools_catalog(state: &State, request: &Request<'_>) -> Handled {
    let agent = agent_id(state, request)?;
    Ok(Answer::Json(catalog::catalog(&agent)))
}

fn row_of_model(provider: &str, model: &Model) -> Value {
    let mut row = Map::new();
    row.insert("id".into(), model.id.as_str().into());
    row.insert("name".into(), model.name.as_str().into());
    row.insert("provider".into(), provider.into());
    if let Some(tokens) = model.context_window {
        row.insert("contextWindow".into(), tokens.into());
    }
    row.insert("reasoning".into(), model.reasoning.into());
    if !model.input.is_empty() {
        row.insert("input".into(), model.input.clone().into());
    }
    Value::Object(row)
}
