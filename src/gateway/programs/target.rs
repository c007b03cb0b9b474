//! For whom a program's request is: the agent, the session, the model (http.md 6.1). One place for `/v1/chat/completions`
//! and `/v1/responses`; asked of the state for each request, so that a changed configuration counts at once.

use std::sync::Arc;

use super::admit::Grant;
use super::runs::RunOrder;
use crate::agent::message::Block;
use crate::agent::model::{ModelRef, open, resolve};
use crate::agent::run::ClientTools;
use crate::config::env::Env;
use crate::config::model::Config;
use crate::gateway::session_key;
use crate::gateway::state::State;
use crate::http::api::models::{Named, is_agent_id, named};
use crate::http::api::{invalid, missing_scope};
use crate::http::reply::Reply;
use crate::limits;
use crate::protocol::table::Scope;
use crate::session::key;

/// What a request says about whom it is for.
#[derive(Debug, Clone, Default)]
pub struct Aim {
    /// The interface's word in the keys of the sessions it begins: `openai`, `openresponses`.
    pub word: &'static str,
    /// `model`.
    pub model: String,
    /// `user`.
    pub user: String,
    /// `x-openclaw-agent-id` or `x-openclaw-agent`.
    pub agent: String,
    /// `x-openclaw-session-key`.
    pub session_key: String,
    /// `x-openclaw-model`.
    pub other_model: String,
    /// `x-openclaw-message-channel`.
    pub channel: String,
    /// What the caller may do.
    pub grant: Grant,
}

/// For whom it is.
#[derive(Debug, Clone)]
pub struct Target {
    /// The agent, which exists.
    pub agent: String,
    /// The session.
    pub session_key: String,
    /// Whether the request named it, so that another one can.
    pub named: bool,
    /// The model for this turn, where the request wants another one.
    pub model: Option<ModelRef>,
    /// The channel it is said to come from.
    pub channel: Option<String>,
    /// A UUID nothing else has: for the run, and in the key of a session of its own.
    pub id: String,
    /// The configuration in force.
    pub config: Arc<Config>,
    /// The environment, for what is fetched on the request's behalf.
    pub env: Arc<Env>,
}

impl Target {
    /// A turn for it, without further wishes.
    pub fn order(&self, run_id: String, prompt: Vec<Block>) -> RunOrder {
        RunOrder {
            run_id,
            agent: self.agent.clone(),
            session_key: self.session_key.clone(),
            named: self.named,
            prompt,
            extra_system: None,
            model: self.model.clone(),
            channel: self.channel.clone(),
            tools: ClientTools::default(),
            limit: None,
        }
    }
}

type Refused = Box<Reply>;

impl State {
    /// Whom a request is for, or the answer that refuses it.
    pub fn take_aim(&mut self, aim: &Aim) -> Result<Target, Refused> {
        let id = self.entropy.uuid();
        let config = &self.config;
        let named = agent(config, aim)?;
        let (agent, session_key) = session(config, aim, named, &id)?;
        let model = model(config, aim, &agent)?;
        Ok(Target {
            agent,
            session_key,
            named: !(aim.session_key.trim().is_empty() && aim.user.trim().is_empty()),
            model,
            channel: channel(aim)?,
            id,
            config: config.clone(),
            env: self.facts.env.clone(),
        })
    }
}

/// The agent alone, for an interface without sessions.
pub fn aimed_agent(config: &Config, aim: &Aim) -> Result<String, Refused> {
    Ok(agent(config, aim)?.unwrap_or_else(|| config.default_agent_id().to_string()))
}

fn refuse<T>(text: &str) -> Result<T, Refused> {
    Err(Box::new(invalid(text)))
}

/// The agent a request names; none when it leaves it to the default.
fn agent(config: &Config, aim: &Aim) -> Result<Option<String>, Refused> {
    let by_model = match named(&aim.model) {
        Named::Agent(id) => Some(id),
        Named::Foreign if !config.gateway.http.accept_foreign_models => {
            return refuse("Invalid `model`. Use `openclaw` or `openclaw/<agentId>`.");
        }
        Named::Default | Named::Foreign => None,
    };
    let header = aim.agent.trim().to_ascii_lowercase();
    let named = if header.is_empty() { by_model } else { Some(header) };
    match named {
        Some(id) => existing(config, id).map(Some),
        None => Ok(None),
    }
}

fn existing(config: &Config, id: String) -> Result<String, Refused> {
    if config.agents.find(&id).is_some() {
        return Ok(id);
    }
    let shown: String = id.chars().take(limits::AGENT_ID_CHARS).collect();
    refuse(&format!("Unknown agent '{shown}'."))
}

/// The session: as the header says it, one for each user, or one of its own. A key that names an agent brings it along.
fn session(config: &Config, aim: &Aim, agent: Option<String>, id: &str) -> Result<(String, String), Refused> {
    let agent_or_default = || agent.clone().unwrap_or_else(|| config.default_agent_id().to_string());
    let written = aim.session_key.trim();
    if written.is_empty() {
        let (agent, user) = (agent_or_default(), aim.user.trim());
        let key = match user.is_empty() {
            true => format!("agent:{agent}:{}:{id}", aim.word),
            false => format!("agent:{agent}:{}-user:{user}", aim.word),
        };
        check_length(&key, "user")?;
        return Ok((agent, key));
    }
    check_length(written, "x-openclaw-session-key")?;
    if key::is_reserved(written) {
        return refuse("`x-openclaw-session-key` cannot use reserved internal session namespaces.");
    }
    let place = session_key::of_key(config, written, Some(&agent_or_default()));
    let owner = existing(config, place.agent)?;
    match agent.filter(|agent| *agent != owner) {
        Some(agent) => refuse(&format!("`x-openclaw-session-key` belongs to agent '{owner}', not to '{agent}'.")),
        None => Ok((owner, place.key)),
    }
}

fn check_length(key: &str, name: &str) -> Result<(), Refused> {
    if key.chars().any(char::is_control) {
        return refuse(&format!("`{name}` must not have control characters."));
    }
    match key.chars().count() > limits::SESSION_KEY_CHARS {
        true => refuse(&format!(
            "`{name}` is too long: a session key has at most {} characters.",
            limits::SESSION_KEY_CHARS
        )),
        false => Ok(()),
    }
}

/// The model that the request wants in place of the agent's.
fn model(config: &Config, aim: &Aim, agent: &str) -> Result<Option<ModelRef>, Refused> {
    let wanted = aim.other_model.trim();
    if wanted.is_empty() {
        return Ok(None);
    }
    if !aim.grant.has(Scope::Admin) {
        return Err(Box::new(missing_scope(Scope::Admin)));
    }
    let Ok(found) = resolve::find(config, wanted) else { return refuse("Invalid `x-openclaw-model`.") };
    if !resolve::allowed(config, &found) {
        return refuse(&format!("Model '{found}' is not allowed for agent '{agent}'."));
    }
    match open::check_provider(config, &found.provider) {
        Ok(()) => Ok(Some(found)),
        Err(error) => refuse(&format!("Invalid `x-openclaw-model`: {}", error.message)),
    }
}

/// The channel's name goes into the system prompt, so it has to be one.
fn channel(aim: &Aim) -> Result<Option<String>, Refused> {
    let channel = aim.channel.trim().to_ascii_lowercase();
    match channel.as_str() {
        "" | "webchat" => Ok(None),
        name if is_agent_id(name) => Ok(Some(channel)),
        _ => refuse("Invalid `x-openclaw-message-channel`."),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn config(more: Value) -> Config {
        let mut config = json!({"agents": {"list": [{"id": "main"}, {"id": "ops"}]}});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Config::from_value(config)
    }

    fn aim(model: &str) -> Aim {
        let grant = Grant { scopes: vec!["operator.admin".into()], owner: true };
        Aim { word: "openai", model: model.into(), grant, ..Aim::default() }
    }

    /// Agent and key, or the refusal's text.
    fn take(config: &Config, aim: &Aim) -> Result<(String, String), String> {
        let text = |reply: Refused| {
            let body: Value = serde_json::from_slice(reply.body_bytes()).unwrap();
            body["error"]["message"].as_str().unwrap().to_string()
        };
        let agent = agent(config, aim).map_err(text)?;
        let (agent, key) = session(config, aim, agent, "u1").map_err(text)?;
        model(config, aim, &agent).map_err(text)?;
        channel(aim).map_err(text)?;
        Ok((agent, key))
    }

    #[test]
    fn the_model_and_the_header_name_the_agent() {
        let config = config(json!({}));
        let agent = |aim: &Aim| take(&config, aim).map(|(agent, _)| agent);
        for (model, id) in [("", "main"), ("openclaw/default", "main"), ("openclaw:OPS", "ops"), ("agent:ops", "ops")] {
            assert_eq!(agent(&aim(model)).as_deref(), Ok(id), "{model}");
        }
        assert_eq!(agent(&aim("openclaw/ghost")).unwrap_err(), "Unknown agent 'ghost'.");
        assert_eq!(agent(&aim("gpt-4o")).unwrap_err(), "Invalid `model`. Use `openclaw` or `openclaw/<agentId>`.");
        let header = |model: &str, id: &str| agent(&Aim { agent: id.into(), ..aim(model) });
        assert_eq!(header("openclaw/main", "Ops").as_deref(), Ok("ops"));
        assert_eq!(header("", "ghost").unwrap_err(), "Unknown agent 'ghost'.");
        assert!(header("gpt-4o", "ops").unwrap_err().starts_with("Invalid `model`"));
    }

    #[test]
    fn a_switch_lets_models_of_others_mean_the_default_agent() {
        let config = config(json!({"gateway": {"http": {"endpoints": {"acceptForeignModels": true}}}}));
        assert_eq!(take(&config, &aim("gpt-4o")).unwrap().0, "main");
        assert_eq!(take(&config, &aim("openclaw/ghost")).unwrap_err(), "Unknown agent 'ghost'.");
    }

    #[test]
    fn sessions_are_new_or_the_users_or_the_named_one() {
        let config = config(json!({}));
        let key = |aim: Aim| take(&config, &aim).map(|(_, key)| key);
        assert_eq!(key(aim("")).as_deref(), Ok("agent:main:openai:u1"));
        assert_eq!(
            key(Aim { user: " Alice ".into(), ..aim("agent:ops") }).as_deref(),
            Ok("agent:ops:openai-user:Alice")
        );
        let named = |model: &str, key_: &str| take(&config, &Aim { session_key: key_.into(), ..aim(model) });
        assert_eq!(named("", "my-app").unwrap(), ("main".into(), "agent:main:my-app".into()));
        assert_eq!(named("", "agent:ops:My-App").unwrap(), ("ops".into(), "agent:ops:my-app".into()));
        assert_eq!(named("agent:ops", "my-app").unwrap(), ("ops".into(), "agent:ops:my-app".into()));
        let text = |model: &str, key: &str| named(model, key).unwrap_err();
        assert!(text("openclaw/main", "agent:ops:x").contains("belongs to agent 'ops', not to 'main'"));
        assert_eq!(text("", "agent:ghost:x"), "Unknown agent 'ghost'.");
        for reserved in ["cron:x", "Subagent:x", "agent:main:acp:x", "AGENT:ops:cron:y"] {
            assert!(text("", reserved).contains("reserved internal session namespaces"), "{reserved}");
        }
    }

    #[test]
    fn keys_are_bounded() {
        let config = config(json!({}));
        let named = |count: usize| take(&config, &Aim { session_key: "k".repeat(count), ..aim("") });
        assert!(named(limits::SESSION_KEY_CHARS).is_ok());
        assert!(named(limits::SESSION_KEY_CHARS + 1).unwrap_err().contains("too long"));
        let user = |user: String| take(&config, &Aim { user, ..aim("") });
        assert!(user("u".repeat(limits::SESSION_KEY_CHARS)).unwrap_err().contains("`user` is too long"));
        assert!(user("a\u{0}b".into()).unwrap_err().contains("control"));
    }

    #[test]
    fn another_model_is_for_administrators_and_within_the_policy() {
        let listed = config(json!({"agents": {
            "list": [{"id": "main"}, {"id": "ops"}], "defaults": {"models": {"p/m": {"alias": "fast"}}},
        }, "models": {"providers": {"p": {"baseUrl": "http://127.0.0.1:1/v1"}}}}));
        let with = |config: &Config, other: &str| take(config, &Aim { other_model: other.into(), ..aim("") });
        assert!(with(&listed, "p/m").is_ok() && with(&listed, "fast").is_ok());
        assert_eq!(with(&listed, "p/x").unwrap_err(), "Model 'p/x' is not allowed for agent 'main'.");
        assert_eq!(with(&listed, "nothing").unwrap_err(), "Invalid `x-openclaw-model`.");
        let open = config(json!({"models": {"providers": {"q": {"baseUrl": "http://127.0.0.1:1/v1"}}}}));
        assert!(with(&open, "q/x").is_ok() && with(&open, "openai/x").is_ok());
        let told = with(&open, "nope/x").unwrap_err();
        assert!(
            told.starts_with("Invalid `x-openclaw-model`: ") && told.contains("models.providers.nope.baseUrl"),
            "{told}"
        );
        let grant = Grant { scopes: vec!["operator.write".into()], owner: false };
        let refused = take(&listed, &Aim { other_model: "p/m".into(), grant, ..aim("") }).unwrap_err();
        assert_eq!(refused, "missing scope: operator.admin");
    }

    #[test]
    fn channels_are_names() {
        let of = |text: &str| channel(&Aim { channel: text.into(), ..aim("") }).map_err(|_| ());
        assert_eq!((of(""), of("webchat"), of(" Telegram ")), (Ok(None), Ok(None), Ok(Some("telegram".into()))));
        assert_eq!((of("a b"), of("x\ny")), (Err(()), Err(())));
    }
}
