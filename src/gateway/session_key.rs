//! Which session a client means: from the key, agent or alias it wrote to agent and canonical key (agent.md 8). Pure.

use serde_json::Value;

use crate::config::model::{Config, SessionScope};
use crate::protocol::errors::WireError;
use crate::store::sessions::spelling;

/// A session, whether it exists or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its agent.
    pub agent: String,
    /// Its canonical key.
    pub key: String,
}

/// The main session of an agent.
pub fn main_key(config: &Config, agent: &str) -> String {
    match config.session.scope {
        SessionScope::Global => "global".to_string(),
        SessionScope::PerSender => format!("agent:{agent}:{}", config.session.main_key),
    }
}

/// The session behind a written key.
pub fn of_key(config: &Config, written: &str, agent: Option<&str>) -> Place {
    let text = spelling(written.trim()).into_owned();
    let default = agent.unwrap_or_else(|| config.default_agent_id()).to_string();
    let own = text.strip_prefix("agent:").and_then(|rest| rest.split_once(':'));
    let (agent, rest) = match own {
        Some((agent, rest)) if !agent.is_empty() && !rest.is_empty() => (agent.to_string(), rest.to_string()),
        _ => (default, text.clone()),
    };
    let main = config.session.main_key.as_str();
    let key = match rest.as_str() {
        "main" => main_key(config, &agent),
        rest if rest == main => main_key(config, &agent),
        "global" | "unknown" if own.is_none() => rest,
        _ => format!("agent:{agent}:{rest}"),
    };
    Place { agent, key }
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
    let Some(written) = text(key_member) else {
        let agent = named.unwrap_or_else(|| config.default_agent_id().to_string());
        let key = main_key(config, &agent);
        return Ok(Place { agent, key });
    };
    let place = of_key(config, written, named.as_deref());
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
    use serde_json::json;

    fn config(value: Value) -> Config {
        Config::from_value(value)
    }

    fn key(config: &Config, written: &str) -> String {
        of_key(config, written, None).key
    }

    #[test]
    fn aliases_mean_the_main_session() {
        let plain = config(json!({}));
        for written in ["main", " Main ", "agent:main:main"] {
            assert_eq!(key(&plain, written), "agent:main:main", "{written}");
        }
        let renamed = config(json!({"session": {"mainKey": "work"}}));
        assert_eq!(
            (key(&renamed, "main"), key(&renamed, "work")),
            ("agent:main:work".into(), "agent:main:work".into())
        );
        let global = config(json!({"session": {"scope": "global"}}));
        assert_eq!((key(&global, "main"), key(&global, "agent:main:main")), ("global".into(), "global".into()));
    }

    #[test]
    fn bare_keys_belong_to_the_default_agent_and_are_lower_case() {
        let plain = config(json!({"agents": {"list": [{"id": "ops", "default": true}, {"id": "main"}]}}));
        assert_eq!(of_key(&plain, "Foo", None), Place { agent: "ops".into(), key: "agent:ops:foo".into() });
        assert_eq!(of_key(&plain, "foo", Some("main")).key, "agent:main:foo");
        assert_eq!(key(&plain, "agent:main:telegram:DM:5"), "agent:main:telegram:direct:5");
        assert_eq!(key(&plain, "unknown"), "unknown");
    }

    #[test]
    fn agents_must_exist_and_agree() {
        let config = config(json!({"agents": {"list": [{"id": "main"}, {"id": "ops"}]}}));
        let of = |params: Value| of_params(&config, "agent", &params, "sessionKey").map(|place| place.key);
        assert_eq!(of(json!({})).unwrap(), "agent:main:main");
        assert_eq!(of(json!({"agentId": "Ops"})).unwrap(), "agent:ops:main");
        let text = |params: Value| of(params).unwrap_err().message;
        assert_eq!(text(json!({"agentId": "ghost"})), "invalid agent params: unknown agent id \"ghost\"");
        assert_eq!(text(json!({"sessionKey": "agent:ghost:main"})), "invalid agent params: unknown agent id \"ghost\"");
        assert_eq!(
            text(json!({"agentId": "ops", "sessionKey": "agent:main:x"})),
            "invalid agent params: agent \"ops\" does not match session key agent \"main\""
        );
    }
}
