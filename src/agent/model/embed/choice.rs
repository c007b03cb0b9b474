//! Which provider, model, address and keys turn an agent's texts into vectors: `memory.search` and
//! `agents.defaults.memorySearch`, the agent's own sections over them; without any, an OpenAI key or an Ollama on this
//! machine. Owns the order of those; sends nothing but the question what that Ollama has.

use serde_json::Value;

use super::wire::Form;
use super::{Ask, Ground};
use crate::agent::control::Control;
use crate::agent::http::plain;
use crate::agent::model::endpoint::Endpoint;
use crate::agent::model::keys::{Key, KeyRing, KeySource};
use crate::agent::model::open::{Opener, native};
use crate::agent::model::{ErrorKind, ModelError, ModelRef, anthropic, discover, ollama};
use crate::config::model::raw_agent;
use crate::config::{Config, Secret};
use crate::limits;

/// What providers are asked for when nobody names a model (agent.md 27).
const MODELS: [(&str, &str); 6] = [
    ("gemini", "gemini-embedding-001"),
    ("google", "gemini-embedding-001"),
    ("mistral", "mistral-embed"),
    ("ollama", "nomic-embed-text"),
    ("openai", "text-embedding-3-small"),
    ("voyage", "voyage-4-large"),
];
/// A provider that is nothing but `remote`: it never gets the key of another one.
const COMPATIBLE: &str = "openai-compatible";

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// The request asks for what the agent does not have.
    Request(&'static str),
    /// No model answered.
    Model(ModelError),
}

impl From<ModelError> for Refusal {
    fn from(error: ModelError) -> Refusal {
        Refusal::Model(error)
    }
}

/// Who is asked, and with which keys, best first.
pub(super) struct Choice {
    pub(super) target: Target,
    pub(super) keys: Vec<Key>,
}

/// One model of one server and how it is to be asked.
pub(super) struct Target {
    pub(super) endpoint: Endpoint,
    pub(super) form: Form,
    pub(super) dimensions: Option<usize>,
    pub(super) input_type: Option<String>,
}

/// What the configuration says, each member from the nearest section that has it.
struct Settings<'c> {
    sections: [Option<&'c Value>; 4],
}

impl<'c> Settings<'c> {
    fn read(config: &'c Config, agent: &str) -> Settings<'c> {
        let own = raw_agent(&config.raw, agent);
        let at = |pointer| config.raw.pointer(pointer);
        let own_at = |pointer| own.and_then(|own| own.pointer(pointer));
        Settings {
            sections: [
                own_at("/memory/search"),
                own_at("/memorySearch"),
                at("/memory/search"),
                at("/agents/defaults/memorySearch"),
            ],
        }
    }

    fn find<T>(&self, pointer: &str, read: impl Fn(&'c Value) -> Option<T>) -> Option<T> {
        self.sections.into_iter().flatten().filter_map(|section| section.pointer(pointer)).find_map(read)
    }

    fn text(&self, pointer: &str) -> Option<&'c str> {
        self.find(pointer, Value::as_str).map(str::trim).filter(|text| !text.is_empty())
    }

    /// `auto` is the old word for nothing said.
    fn provider(&self) -> Option<&'c str> {
        self.text("/provider").filter(|provider| *provider != "auto")
    }

    fn dimensions(&self) -> Option<usize> {
        let number = self.find("/outputDimensionality", Value::as_u64)?;
        usize::try_from(number).ok().filter(|number| (1..=limits::EMBED_DIMENSIONS).contains(number))
    }

    fn headers(&self) -> Vec<(String, Secret)> {
        let headers = self.find("/remote/headers", Value::as_object);
        let text = |(name, value): (&String, &Value)| Some(plain(name, value.as_str()?));
        headers.into_iter().flatten().filter_map(text).collect()
    }
}

/// Chooses. A fallback takes the place of a provider that cannot be asked at all: by settings, never by weather.
pub(super) fn choose(ask: &Ask, ground: &Ground, ring: &KeyRing<'_>, control: &Control) -> Result<Choice, Refusal> {
    let settings = Settings::read(&ground.config, &ask.agent);
    let (provider, found) = match settings.provider() {
        Some(provider) => (known_id(&ground.config, provider), None),
        None => unsaid(&settings, ground, ring, control)?,
    };
    let chosen = Chosen { ask, ground, ring, settings: &settings };
    let model = match ask.model.as_deref() {
        Some(asked) => asked_model(asked, &provider)?,
        None => settings.text("/model").map(|model| own_name(model, &provider)).or(found.as_deref()).unwrap_or(""),
    };
    let refused = match chosen.open(&provider, model, true) {
        Ok(choice) => return Ok(choice),
        Err(error) => error,
    };
    let fallback = settings.text("/fallback").filter(|_| ask.model.is_none()).filter(|name| *name != "none");
    let Some(fallback) = fallback.map(|name| known_id(&ground.config, name)).filter(|name| *name != provider) else {
        return Err(refused.into());
    };
    log::warn!(target: "agent", "embeddings use the fallback provider={fallback} why={refused}");
    Ok(chosen.open(&fallback, "", false)?)
}

/// The provider when the configuration names none, and what was found there.
fn unsaid(
    settings: &Settings<'_>,
    ground: &Ground,
    ring: &KeyRing<'_>,
    control: &Control,
) -> Result<(String, Option<String>), Refusal> {
    let remote = settings.text("/remote/baseUrl").is_some() || settings.find("/remote/apiKey", Some).is_some();
    if remote || ring.keys("openai", None).iter().any(|key| key.secret.is_some()) {
        return Ok(("openai".to_string(), None));
    }
    let base = &ground.places.ollama;
    match discover::look_for_embeddings(base, ground.places.patience, control) {
        Ok(model) => Ok(("ollama".to_string(), Some(model))),
        Err(why) => {
            let message = format!(
                "no embedding model is configured: set memory.search.provider and memory.search.model (and the \
                 provider's key), or OPENAI_API_KEY, or pull one into a local Ollama (at {base}: {why})"
            );
            // written here in full: the cleaner takes names of keys for keys
            Err(ModelError { message, ..ModelError::new(ErrorKind::NotConfigured, "") }.into())
        }
    }
}

/// A provider as the configuration spells it, else in lower case.
fn known_id(config: &Config, provider: &str) -> String {
    let own = config.providers.iter().find(|own| own.id.eq_ignore_ascii_case(provider));
    own.map_or_else(|| provider.to_ascii_lowercase(), |own| own.id.clone())
}

/// What `x-openclaw-model` names: a model of the agent's provider and of no other (http.md 7).
fn asked_model<'t>(asked: &'t str, provider: &str) -> Result<&'t str, Refusal> {
    let Some((prefix, model)) = asked.trim().split_once('/') else { return Ok(asked.trim()) };
    match model.trim() {
        "" => Err(Refusal::Request("Unsupported embedding model reference.")),
        _ if !prefix.trim().eq_ignore_ascii_case(provider) => {
            Err(Refusal::Request("This agent does not allow that embedding provider on `/v1/embeddings`."))
        }
        model => Ok(model),
    }
}

/// A configured model without its provider's name; other slashes belong to the model.
fn own_name<'t>(model: &'t str, provider: &str) -> &'t str {
    let parts = model.split_once('/').filter(|(prefix, _)| prefix.eq_ignore_ascii_case(provider));
    parts.map_or(model, |(_, model)| model)
}

/// What a choice is made from.
struct Chosen<'c> {
    ask: &'c Ask,
    ground: &'c Ground,
    ring: &'c KeyRing<'c>,
    settings: &'c Settings<'c>,
}

impl Chosen<'_> {
    /// A provider's server, or the one `remote` names in its place.
    fn open(&self, provider: &str, model: &str, remote: bool) -> Result<Choice, ModelError> {
        let own = MODELS.iter().find(|(id, _)| *id == provider).map(|(_, model)| *model);
        let reference = ModelRef::new(provider, if model.is_empty() { own.unwrap_or("") } else { model });
        let base = self.settings.text("/remote/baseUrl").filter(|_| remote).map(|base| base.trim_end_matches('/'));
        let written = self.settings.find("/remote/apiKey", Some).filter(|_| remote);
        let opener =
            Opener { config: &self.ground.config, env: &self.ground.env, http: &self.ground.http, found: None };
        let place = self.place(&opener, &reference, base)?;
        let away = base.filter(|base| place.base.as_deref() != Some(*base));
        let mut keys = match written {
            Some(written) => vec![self.ring.written(written).ok_or_else(unset_key)?],
            // what belongs to the provider goes to the provider's own server only
            None if away.is_some() => vec![Key { secret: None, source: KeySource::None }],
            None => self.ring.keys(provider, None),
        };
        keys.truncate(limits::MODEL_FALLBACKS);
        let first = keys.first().cloned().unwrap_or(Key { secret: None, source: KeySource::None });
        let mut endpoint = match away {
            Some(base) => opener.elsewhere(&reference, base, first.secret)?,
            None => self.at_home(&opener, &reference, &first)?,
        };
        if reference.model.is_empty() {
            return Err(settle(format!("which model of {provider}? Set memory.search.model")));
        }
        if remote {
            self.add_headers(&mut endpoint);
        }
        let endpoint = if place.form == Form::Ollama { native(endpoint) } else { endpoint };
        let target = Target {
            endpoint,
            form: place.form,
            dimensions: self.ask.dimensions.or_else(|| self.settings.dimensions()),
            input_type: self.settings.text("/documentInputType").or(self.settings.text("/inputType")).map(String::from),
        };
        Ok(Choice { target, keys })
    }

    /// The provider's own server; on this machine it may listen at another port than usual.
    fn at_home(&self, opener: &Opener<'_>, reference: &ModelRef, key: &Key) -> Result<Endpoint, ModelError> {
        let configured = self.ground.config.providers.iter().any(|own| own.id == reference.provider);
        if reference.provider == "ollama" && !configured {
            return opener.elsewhere(reference, &self.ground.places.ollama, key.secret.clone());
        }
        opener.endpoint(reference, key).map(|(endpoint, _)| endpoint)
    }

    fn add_headers(&self, endpoint: &mut Endpoint) {
        for (name, value) in self.settings.headers() {
            endpoint.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
            endpoint.headers.push((name, value));
        }
    }

    /// Where the provider's own server is and what it speaks.
    fn place(&self, opener: &Opener<'_>, reference: &ModelRef, remote: Option<&str>) -> Result<Place, ModelError> {
        let provider = reference.provider.as_str();
        if let Some(form) = Form::without_server(provider, remote.is_some()) {
            return form.map(|form| Place { base: None, form }).map_err(settle);
        }
        match opener.place(reference) {
            Ok((_, form, _)) if form.api == anthropic::API => {
                Err(settle(format!("{provider} has no embedding models: choose another memory.search.provider")))
            }
            Ok((base, form, _)) if form.api == ollama::API => Ok(Place { base: Some(base), form: Form::Ollama }),
            Ok((base, ..)) => Ok(Place { base: Some(base), form: Form::of(provider) }),
            // a name for the server that `remote` tells of
            Err(_) if remote.is_some() => Ok(Place { base: None, form: Form::of(provider) }),
            Err(error) => Err(error),
        }
    }
}

struct Place {
    base: Option<String>,
    form: Form,
}

impl Form {
    /// The words for a provider that mean no server known by name.
    fn without_server(provider: &str, remote: bool) -> Option<Result<Form, String>> {
        match provider {
            COMPATIBLE if remote => Some(Ok(Form::OpenAi)),
            COMPATIBLE => {
                Some(Err("memory.search.provider is openai-compatible: set memory.search.remote.baseUrl".into()))
            }
            "none" => Some(Err("embeddings are switched off: memory.search.provider is none".into())),
            "local" => {
                Some(Err("this gateway runs no embedding model itself: set memory.search.provider to ollama, or to \
                 openai-compatible with memory.search.remote.baseUrl"
                    .into()))
            }
            _ => None,
        }
    }
}

fn settle(text: String) -> ModelError {
    // our own words, which the cleaner would take for secrets in places
    ModelError { message: text, ..ModelError::new(ErrorKind::NotConfigured, "") }
}

fn unset_key() -> ModelError {
    settle("memory.search.remote.apiKey names a variable that is not set".to_string())
}
