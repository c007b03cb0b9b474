//! Which model answers (agent.md 18): the session's choice, the agent's, everybody's; names, aliases and the list of
//! allowed ones. Pure: reads the configuration.

use serde_json::Value;

use super::endpoint::Facts;
use super::keys::pointer;
use super::{ErrorKind, ModelError, ModelRef};
use crate::config::Config;
use crate::config::model::Model;
use crate::limits;

/// Why a model was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The session names it.
    Session,
    /// The agent has one of its own.
    Agent,
    /// `agents.defaults.model`.
    Defaults,
    /// Nobody chose: a local server was found.
    Discovered,
}

impl Origin {
    /// A short word for people.
    pub fn name(self) -> &'static str {
        match self {
            Origin::Session => "session",
            Origin::Agent => "agent",
            Origin::Defaults => "default",
            Origin::Discovered => "found on this machine",
        }
    }
}

/// The model of a turn and what is tried after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The first choice.
    pub primary: ModelRef,
    /// The others, in order, each once.
    pub fallbacks: Vec<ModelRef>,
    /// Why.
    pub origin: Origin,
}

impl Selection {
    /// All models, the first choice first.
    pub fn all(&self) -> impl Iterator<Item = &ModelRef> {
        std::iter::once(&self.primary).chain(&self.fallbacks)
    }
}

/// The configured model of an agent's turn; none when nobody chose one, which is when a local server is looked for.
pub fn select(config: &Config, agent: &str, session: Option<&ModelRef>) -> Result<Option<Selection>, ModelError> {
    let own = config.agents.list.iter().find(|known| known.id == agent).and_then(|known| known.model.as_ref());
    let choice = own.or(config.agents.defaults.model.as_ref());
    let configured = choice.map(|choice| find(config, &choice.primary)).transpose();
    let origin = match (session, own) {
        (Some(_), _) => Origin::Session,
        (None, Some(_)) => Origin::Agent,
        (None, None) => Origin::Defaults,
    };
    // a session's own choice works even when the configured one is misspelt
    let primary = match session {
        Some(reference) => Some(reference.clone()),
        None => configured?,
    };
    let Some(primary) = primary else { return Ok(None) };
    let mut fallbacks: Vec<ModelRef> = Vec::new();
    for text in choice.into_iter().flat_map(|choice| &choice.fallbacks) {
        let fallback = find(config, text)?;
        if fallback != primary && !fallbacks.contains(&fallback) && fallbacks.len() + 1 < limits::MODEL_FALLBACKS {
            fallbacks.push(fallback);
        }
    }
    Ok(Some(Selection { primary, fallbacks, origin }))
}

/// The model a person means: an alias, `provider/model`, or the id of a configured model.
pub fn find(config: &Config, text: &str) -> Result<ModelRef, ModelError> {
    let text = text.trim();
    if let Some((_, reference)) = aliases(config).into_iter().find(|(alias, _)| alias.eq_ignore_ascii_case(text)) {
        return Ok(reference);
    }
    if let Some(reference) = ModelRef::parse(text) {
        let provider = reference.provider.to_ascii_lowercase();
        let bare = || config.providers.iter().find(|known| known.models.iter().any(|model| model.id == text));
        let known = config.providers.iter().any(|known| known.id == reference.provider);
        // an id with slashes of a configured provider, written without its provider
        return Ok(match bare().filter(|_| !known) {
            Some(owner) => ModelRef::new(&owner.id, text),
            None if known => reference,
            None => ModelRef::new(provider, reference.model),
        });
    }
    let owner = config.providers.iter().find(|known| known.models.iter().any(|model| model.id == text));
    owner.map(|owner| ModelRef::new(&owner.id, text)).ok_or_else(|| {
        let text: String = text.chars().take(100).collect();
        ModelError::new(
            ErrorKind::NotConfigured,
            format!(
                "unknown model \"{text}\": write it as provider/model, or give it an alias in agents.defaults.models"
            ),
        )
    })
}

/// `agents.defaults.models`: names people use for models.
pub fn aliases(config: &Config) -> Vec<(String, ModelRef)> {
    let named = table(config).filter_map(|(key, entry)| {
        let alias = entry.get("alias").and_then(Value::as_str).map(str::trim).filter(|alias| !alias.is_empty())?;
        Some((alias.to_string(), ModelRef::parse(key)?))
    });
    named.collect()
}

/// Whether `/model` and `sessions.patch` may choose this one: any, unless `agents.defaults.models` lists some.
pub fn allowed(config: &Config, reference: &ModelRef) -> bool {
    let mut listed = table(config).peekable();
    listed.peek().is_none() || listed.any(|(key, _)| ModelRef::parse(key).as_ref() == Some(reference))
}

fn table(config: &Config) -> impl Iterator<Item = (&String, &Value)> {
    config.raw.pointer("/agents/defaults/models").and_then(Value::as_object).into_iter().flatten()
}

/// A configured model, for lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Which one.
    pub reference: ModelRef,
    /// Its name for people.
    pub name: String,
    /// What is known about it.
    pub facts: Facts,
}

/// All configured models (agent.md 18: only those, not the whole market).
pub fn listed(config: &Config) -> Vec<Listed> {
    let all = config.providers.iter().flat_map(|provider| {
        provider.models.iter().map(|model| Listed {
            reference: ModelRef::new(&provider.id, &model.id),
            name: model.name.clone(),
            facts: facts_of(model),
        })
    });
    all.collect()
}

/// What the configuration says about a model; nothing when it is not listed there.
pub fn facts(config: &Config, reference: &ModelRef) -> Facts {
    let provider = config.providers.iter().find(|provider| provider.id == reference.provider);
    let model = provider.and_then(|provider| provider.models.iter().find(|model| model.id == reference.model));
    model.map(facts_of).unwrap_or_default()
}

fn facts_of(model: &Model) -> Facts {
    Facts {
        context_window: model.context_window,
        max_tokens: model.max_tokens,
        reasoning: model.reasoning,
        images: model.input.iter().any(|kind| kind == "image"),
        no_tools: false,
        cost: model.cost.unwrap_or_default(),
    }
}

/// The part of the configuration about one provider that the typed one leaves out (headers, compat).
pub(super) fn raw_provider<'c>(config: &'c Config, provider: &str) -> Option<&'c Value> {
    config.raw.pointer(&format!("/models/providers/{}", pointer(provider)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::from_value(json!({
            "agents": {
                "defaults": {
                    "model": {"primary": "local/small", "fallbacks": ["fast", "local/small", "local/a/b", "fast"]},
                    "models": {"remote/big": {"alias": "fast"}, "local/small": {}},
                },
                "list": [{"id": "one", "model": "big"}, {"id": "two"}],
            },
            "models": {"providers": {
                "local": {"baseUrl": "http://h", "models": [{"id": "small", "contextWindow": 100}, {"id": "a/b"}]},
                "remote": {"baseUrl": "http://r", "models": [{"id": "big", "input": ["text", "image"]}]},
            }},
        }))
    }

    #[test]
    fn the_session_wins_over_the_agent_over_the_defaults() {
        let select = |agent: &str, session: Option<&ModelRef>| select(&config(), agent, session).unwrap().unwrap();
        let chosen = select("two", None);
        assert_eq!((chosen.primary.to_string().as_str(), chosen.origin), ("local/small", Origin::Defaults));
        assert_eq!(chosen.fallbacks, [ModelRef::new("remote", "big"), ModelRef::new("local", "a/b")]);
        let chosen = select("one", None);
        assert_eq!((chosen.primary.to_string().as_str(), chosen.origin), ("remote/big", Origin::Agent));
        let other = ModelRef::new("x", "y");
        assert_eq!((select("one", Some(&other)).primary, select("one", Some(&other)).origin), (other, Origin::Session));
    }

    #[test]
    fn so_many_models_are_tried_and_no_more() {
        let many: Vec<String> = (0..50).map(|n| format!("p/m{n}")).collect();
        let config =
            Config::from_value(json!({"agents": {"defaults": {"model": {"primary": "p/first", "fallbacks": many}}}}));
        assert_eq!(select(&config, "main", None).unwrap().unwrap().all().count(), limits::MODEL_FALLBACKS);
    }

    #[test]
    fn nobody_chose_and_nonsense_are_told_apart() {
        assert_eq!(select(&Config::default(), "main", None), Ok(None));
        let config = Config::from_value(json!({"agents": {"defaults": {"model": "nonsense"}}}));
        let error = select(&config, "main", None).unwrap_err();
        assert!(error.kind == ErrorKind::NotConfigured && error.message.contains("provider/model"), "{error}");
    }

    #[test]
    fn names_are_aliases_references_or_ids() {
        let found = |text: &str| find(&config(), text).unwrap().to_string();
        assert_eq!([found("FAST"), found("small"), found("a/b")], ["remote/big", "local/small", "local/a/b"]);
        assert_eq!([found("local/new"), found("OpenAI/gpt-5")], ["local/new", "openai/gpt-5"]);
    }

    #[test]
    fn a_list_of_models_allows_only_those() {
        assert!(allowed(&config(), &ModelRef::new("remote", "big")) && !allowed(&config(), &ModelRef::new("x", "y")));
        assert!(allowed(&Config::default(), &ModelRef::new("x", "y")));
    }

    #[test]
    fn configured_models_are_listed_with_their_facts() {
        let listed = listed(&config());
        assert_eq!(listed.len(), 3);
        assert!(facts(&config(), &ModelRef::new("remote", "big")).images);
        assert_eq!(facts(&config(), &ModelRef::new("local", "small")).context_window, Some(100));
    }
}
