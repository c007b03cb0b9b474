//! Which session a client means: from the key, agent or alias it wrote to agent and canonical key (agent.md 8). Pure.

use serde_json::Value;

use crate::config::model::Config;
use crate::limits;
use crate::protocol::errors::WireError;
use crate::session::key::{self, KeyRules};
use crate::store::session::archive;

/// A session, whether it exists or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its agent.
    pub agent: String,
    /// Its canonical key.
    pub key: String,
}

/// The session behind a written key; the main one behind a blank key.
pub fn of_key(config: &Config, written: &str, agent: Option<&str>) -> Place {
    let rules = KeyRules::of(config);
    let agent = agent.unwrap_or(&rules.default_agent);
    let key = rules.canonical_for(written, agent).unwrap_or_else(|| rules.main(agent));
    // A global session has no agent in its key.
    let owner = key.agent().unwrap_or(agent).to_string();
    Place { agent: owner, key: key.as_str().to_string() }
}

/// How a key says that the session was asked for by its id.
const EXPLICIT: &str = "explicit:";

/// The session that is begun for an id.
pub fn of_id(config: &Config, id: &str, agent: &str) -> Place {
    of_key(config, &format!("{EXPLICIT}{id}"), Some(agent))
}

/// The session id a key asks for, if it is of that kind.
pub fn explicit_id(key: &str) -> Option<&str> {
    key::rest_of(key).strip_prefix(EXPLICIT).filter(|id| archive::is_plain(id))
}

/// The session the parameters of a method name, checked: `agentId` must exist and agree with the key.
pub fn of_params(config: &Config, method: &str, params: &Value, key_member: &str) -> Result<Place, WireError> {
    let text = |name: &str| params.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
    let refuse = |what: String| WireError::invalid(format!("invalid {method} params: {what}"));
    let named = text("agentId").map(str::to_lowercase);
    if let Some(id) = &named
        && config.agents.find(id).is_none()
    {
        return Err(refuse(format!("unknown agent id \"{id}\"")));
    }
    if text(key_member).is_some_and(|key| key.chars().count() > limits::SESSION_KEY_CHARS) {
        let most = limits::SESSION_KEY_CHARS;
        return Err(refuse(format!("at /{key_member}: must NOT have more than {most} characters")));
    }
    let place = of_key(config, text(key_member).unwrap_or_default(), named.as_deref());
    if let Some(id) = named.filter(|id| *id != place.agent) {
        return Err(refuse(format!("agent \"{id}\" does not match session key agent \"{}\"", place.agent)));
    }
    if config.agents.find(&place.agent).is_none() {
        return Err(refuse(format!("unknown agent id \"{}\"", place.agent)));
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_must_exist_and_agree() {
        let config = Config::from_value(json!({"agents": {"list": [{"id": "main"}, {"id": "ops"}]}}));
        let of = |params: Value| of_params(&config, "agent", &params, "sessionKey").map(|place| place.key);
        assert_eq!(of(json!({})).unwrap(), "agent:main:main");
        assert_eq!(of(json!({"agentId": "Ops"})).unwrap(), "agent:ops:main");
        let text = |params: Value| of(params).unwrap_err().message;
        assert!(of(json!({"sessionKey": "k".repeat(limits::SESSION_KEY_CHARS)})).is_ok());
        let long = text(json!({"sessionKey": "k".repeat(limits::SESSION_KEY_CHARS + 1)}));
        assert_eq!(long, "invalid agent params: at /sessionKey: must NOT have more than 512 characters");
        assert_eq!(text(json!({"agentId": "ghost"})), "invalid agent params: unknown agent id \"ghost\"");
        assert_eq!(text(json!({"sessionKey": "agent:ghost:main"})), "invalid agent params: unknown agent id \"ghost\"");
        assert_eq!(
            text(json!({"agentId": "ops", "sessionKey": "agent:main:x"})),
            "invalid agent params: agent \"ops\" does not match session key agent \"main\""
        );
    }
}
