//! From a reference and a key to something that can be called: which address, which wire form, which abilities. Owns
//! the table of well-known providers.

use serde_json::Value;

use super::cli_backend::{self, CliBackend};
use super::discover::Found;
use super::endpoint::{Compat, Endpoint, Facts, MaxTokensField};
use super::keys::Key;
use super::served::{FORMS, Form, Served, form};
use super::{ErrorKind, Model, ModelError, ModelRef, anthropic, ollama, openai_completions, openai_responses, resolve};
use crate::agent::http::{Client, Reach, Settings};
use crate::config::target::is_loopback_url;
use crate::config::{Config, Env, Secret};

/// Providers that need no `baseUrl`: id, address, wire form, context of a model nobody described.
const PROVIDERS: [(&str, &str, &str, u64); 17] = [
    ("anthropic", "https://api.anthropic.com", anthropic::API, 200_000),
    ("cerebras", "https://api.cerebras.ai/v1", openai_completions::API, 128_000),
    ("deepseek", "https://api.deepseek.com/v1", openai_completions::API, 64_000),
    ("gemini", "https://generativelanguage.googleapis.com/v1beta/openai", openai_completions::API, 1_000_000),
    ("google", "https://generativelanguage.googleapis.com/v1beta/openai", openai_completions::API, 1_000_000),
    ("groq", "https://api.groq.com/openai/v1", openai_completions::API, 128_000),
    ("litellm", "http://127.0.0.1:4000", openai_completions::API, 128_000),
    ("llamacpp", "http://127.0.0.1:8080/v1", openai_completions::API, 32_768),
    ("lmstudio", "http://127.0.0.1:1234/v1", openai_completions::API, 32_768),
    ("mistral", "https://api.mistral.ai/v1", openai_completions::API, 128_000),
    ("moonshot", "https://api.moonshot.ai/v1", openai_completions::API, 128_000),
    ("ollama", "http://127.0.0.1:11434", ollama::API, 32_768),
    ("openai", "https://api.openai.com/v1", openai_responses::API, 200_000),
    ("openrouter", "https://openrouter.ai/api/v1", openai_completions::API, 128_000),
    // for embeddings only
    ("voyage", "https://api.voyageai.com/v1", openai_completions::API, 32_000),
    ("xai", "https://api.x.ai/v1", openai_completions::API, 128_000),
    ("zai", "https://api.z.ai/api/paas/v4", openai_completions::API, 128_000),
];

/// Everything opening a model needs.
#[derive(Clone, Copy, Debug)]
pub struct Opener<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The environment that command-line backends run in.
    pub env: &'a Env,
    /// Proxies and certificates.
    pub http: &'a Settings,
    /// A local server that was found because nothing is configured.
    pub found: Option<&'a Found>,
}

impl Opener<'_> {
    /// Opens a model with a key; nothing is connected yet.
    pub fn open(&self, reference: &ModelRef, key: &Key) -> Result<Box<dyn Model>, ModelError> {
        if let Some(backend) = cli_backend::configured(self.config, &reference.provider) {
            return Ok(Box::new(CliBackend::new(reference.clone(), backend?, self.env.clone())));
        }
        let (endpoint, form) = self.endpoint(reference, key)?;
        let endpoint = if form.api == ollama::API { native(endpoint) } else { endpoint };
        Ok(Box::new(Served { form, endpoint }))
    }

    /// The server of a model and its wire form.
    pub(super) fn endpoint(&self, reference: &ModelRef, key: &Key) -> Result<(Endpoint, &'static Form), ModelError> {
        let (base_url, form, context) = self.place(reference)?;
        let local = is_loopback_url(&base_url);
        let custom = self.config.providers.iter().any(|provider| provider.id == reference.provider);
        if key.secret.is_none() && !local && !custom {
            return Err(no_key(&reference.provider));
        }
        let client = self.client(reference, &base_url)?;
        let endpoint = Endpoint {
            reference: reference.clone(),
            compat: self.compat(reference, &base_url),
            headers: self.headers(reference),
            facts: self.facts(reference, context),
            key: key.secret.clone(),
            base_url,
            client,
        };
        Ok((endpoint, form))
    }

    /// A server at an address of its own: nothing that belongs to the provider goes there.
    pub(super) fn elsewhere(
        &self,
        reference: &ModelRef,
        base_url: &str,
        key: Option<Secret>,
    ) -> Result<Endpoint, ModelError> {
        Ok(Endpoint {
            reference: reference.clone(),
            compat: Compat::CAUTIOUS,
            headers: Vec::new(),
            facts: Facts::default(),
            key,
            base_url: base_url.to_string(),
            client: self.client(reference, base_url)?,
        })
    }

    fn client(&self, reference: &ModelRef, base_url: &str) -> Result<Client, ModelError> {
        Client::new(base_url, self.http, Reach::Anywhere)
            .map_err(|fault| ModelError::transport(&reference.provider, &fault))
    }

    /// Address, wire form and guessed context.
    pub(super) fn place(&self, reference: &ModelRef) -> Result<(String, &'static Form, Option<u64>), ModelError> {
        let id = reference.provider.as_str();
        let configured = self.config.providers.iter().find(|provider| provider.id == id);
        let known = PROVIDERS.iter().find(|(known, ..)| *known == id);
        let found = self.found.filter(|found| found.reference == *reference);
        let model = configured.and_then(|provider| provider.models.iter().find(|model| model.id == reference.model));
        let base_url = configured
            .and_then(|provider| provider.base_url.clone())
            .or_else(|| found.map(|found| found.base_url.clone()))
            .or_else(|| known.map(|(_, url, ..)| (*url).to_string()))
            .ok_or_else(|| no_provider(id))?;
        let api = model
            .and_then(|model| model.api.clone())
            .or_else(|| configured.and_then(|provider| provider.api.clone()))
            .or_else(|| found.map(|found| found.api.to_string()))
            .or_else(|| known.map(|(_, _, api, _)| (*api).to_string()))
            .unwrap_or_else(|| openai_completions::API.to_string());
        let form = form(&api).ok_or_else(|| {
            let known: Vec<&str> = FORMS.iter().map(|form| form.api).collect();
            let text = format!(
                "models.providers.{id}.api is \"{api}\", which this gateway does not speak: use one of {}",
                known.join(", ")
            );
            ModelError::new(ErrorKind::NotConfigured, text)
        })?;
        Ok((base_url.trim_end_matches('/').to_string(), form, known.map(|(.., context)| *context)))
    }

    fn facts(&self, reference: &ModelRef, guessed: Option<u64>) -> Facts {
        let found = self.found.filter(|found| found.reference == *reference);
        let mut facts = resolve::facts(self.config, reference);
        if let Some(found) = found {
            facts.context_window = facts.context_window.or(found.context_window);
            facts.images |= found.images;
            facts.no_tools |= found.tools == Some(false);
            facts.reasoning |= found.reasoning;
        }
        facts.context_window = facts.context_window.or(guessed);
        facts
    }

    /// Headers of the provider and of the model, the latter winning.
    fn headers(&self, reference: &ModelRef) -> Vec<(String, Secret)> {
        let mut headers: Vec<(String, Secret)> = Vec::new();
        for place in [resolve::raw_provider(self.config, &reference.provider), self.raw_model(reference)] {
            let map = place.and_then(|place| place.get("headers")).and_then(Value::as_object);
            for (name, value) in map.into_iter().flatten() {
                let Some(value) = value.as_str() else { continue };
                headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
                headers.push((name.clone(), Secret::new(value)));
            }
        }
        headers
    }

    fn raw_model(&self, reference: &ModelRef) -> Option<&Value> {
        let models = resolve::raw_provider(self.config, &reference.provider)?.get("models")?.as_array()?;
        models.iter().find(|model| model.get("id").and_then(Value::as_str) == Some(reference.model.as_str()))
    }

    /// Cautious, except towards OpenAI itself and where the configuration says more (agent.md 19).
    fn compat(&self, reference: &ModelRef, base_url: &str) -> Compat {
        let openai = base_url.starts_with("https://api.openai.com/");
        let mut compat = if openai { Compat::OPENAI } else { Compat::CAUTIOUS };
        let knobs = self.raw_model(reference).and_then(|model| model.get("compat"));
        let flag = |name: &str| knobs.and_then(|knobs| knobs.get(name)).and_then(Value::as_bool);
        compat.store = flag("supportsStore").unwrap_or(compat.store);
        compat.developer_role = flag("supportsDeveloperRole").unwrap_or(compat.developer_role);
        compat.reasoning_effort = flag("supportsReasoningEffort").unwrap_or(compat.reasoning_effort);
        compat.stream_usage = flag("supportsUsageInStreaming").unwrap_or(compat.stream_usage);
        compat.strict = flag("supportsStrictMode").unwrap_or(compat.strict);
        match knobs.and_then(|knobs| knobs.get("maxTokensField")).and_then(Value::as_str) {
            Some("max_tokens") => compat.max_tokens_field = MaxTokensField::MaxTokens,
            Some("max_completion_tokens") => compat.max_tokens_field = MaxTokensField::MaxCompletionTokens,
            _ => {}
        }
        compat
    }
}

/// People write Ollama's address with the path of its other interface.
pub(super) fn native(mut endpoint: Endpoint) -> Endpoint {
    if let Some(base) = endpoint.base_url.strip_suffix("/v1") {
        endpoint.base_url = base.to_string();
    }
    endpoint
}

/// Says what to set when a model's provider is one that nobody described: asked before a turn begins.
pub fn check_provider(config: &Config, id: &str) -> Result<(), ModelError> {
    let described = config.providers.iter().any(|own| own.id == id && own.base_url.is_some());
    let known = described || PROVIDERS.iter().any(|(known, ..)| *known == id);
    if known || cli_backend::configured(config, id).is_some() { Ok(()) } else { Err(no_provider(id)) }
}

/// Whether a provider may be asked without a key: it was configured by hand, or runs on this machine, or is a command.
pub fn needs_no_key(config: &Config, provider: &str) -> bool {
    let known = PROVIDERS.iter().find(|(id, ..)| *id == provider);
    let own = config.providers.iter().find(|own| own.id == provider).and_then(|own| own.base_url.as_deref());
    let open = match (own, known) {
        (Some(url), Some(_)) => is_loopback_url(url),
        (Some(_), None) => true,
        (None, known) => known.is_some_and(|(_, url, ..)| is_loopback_url(url)),
    };
    open || cli_backend::configured(config, provider).is_some()
}

fn no_provider(id: &str) -> ModelError {
    let id: String = id.chars().take(64).collect();
    ModelError::new(
        ErrorKind::NotConfigured,
        format!(
            "no provider \"{id}\" is configured: set models.providers.{id}.baseUrl (and apiKey, api, models), or choose \
             another model in agents.defaults.model"
        ),
    )
}

fn no_key(provider: &str) -> ModelError {
    let variable = format!("{}_API_KEY", provider.to_ascii_uppercase());
    let message = format!(
        "no key for {provider}: set {variable} in the environment or in ~/.openclaw/.env, or models.providers.{provider}.apiKey"
    );
    // the cleaner would take what follows "apiKey" for one
    ModelError { message, ..ModelError::new(ErrorKind::Auth, "") }
}

#[cfg(test)]
mod tests {
    use super::super::keys::KeySource;
    use super::*;
    use crate::agent::http::Trust;

    fn open(config: Value, reference: &str, key: Option<&str>) -> Result<Box<dyn Model>, ModelError> {
        let config = Config::from_value(config);
        let bundle = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls/ca.pem");
        let trust = Trust { bundle: Some(bundle), extra: Vec::new() };
        let (env, http) = (Env::of([]), Settings { trust, ..Settings::default() });
        let opener = Opener { config: &config, env: &env, http: &http, found: None };
        let key = Key { secret: key.map(Secret::new), source: KeySource::None };
        opener.open(&ModelRef::parse(reference).unwrap(), &key)
    }

    #[test]
    fn configured_and_well_known_providers_open() {
        let config = json!({"models": {"providers": {"x": {"baseUrl": "http://h:1/v1/", "models": [{"id": "m", "contextWindow": 7}]}}}});
        assert_eq!(open(config.clone(), "x/m", None).unwrap().context_window(), 7);
        assert_eq!(open(config, "x/unlisted", None).unwrap().context_window(), crate::limits::MODEL_CONTEXT);
        assert_eq!(open(json!({}), "ollama/llama", None).unwrap().context_window(), 32_768);
        #[cfg(feature = "tls")]
        assert_eq!(open(json!({}), "anthropic/claude", Some("k")).unwrap().context_window(), 200_000);
    }

    #[test]
    fn a_model_that_was_found_is_what_its_server_says() {
        let (config, env, http) = (Config::default(), Env::of([]), Settings::default());
        for (tools, takes) in [(Some(false), false), (Some(true), true), (None, true)] {
            let found = Found {
                reference: ModelRef::new("ollama", "m"),
                base_url: "http://127.0.0.1:1".into(),
                api: ollama::API,
                context_window: Some(4096),
                tools,
                images: true,
                reasoning: false,
                why: String::new(),
            };
            let opener = Opener { config: &config, env: &env, http: &http, found: Some(&found) };
            let model = opener.open(&found.reference, &Key { secret: None, source: KeySource::None }).unwrap();
            assert_eq!((model.context_window(), model.takes_images(), model.takes_tools()), (4096, true, takes));
        }
    }

    #[test]
    fn a_provider_is_one_that_is_configured_well_known_or_a_command() {
        let own = json!({"x": {"baseUrl": "http://h:1/v1"}, "bare": {"api": "ollama"}});
        let config = Config::from_value(json!({"models": {"providers": own},
            "agents": {"defaults": {"cliBackends": {"mine": {"command": "m"}}}}}));
        for id in ["x", "openai", "mine", "claude-cli"] {
            assert!(check_provider(&config, id).is_ok(), "{id}");
        }
        for id in ["nope", "bare", ""] {
            let error = check_provider(&config, id).unwrap_err();
            assert_eq!(error.kind, ErrorKind::NotConfigured, "{id}");
        }
    }

    #[test]
    fn what_is_missing_is_said_with_the_names_to_set() {
        let text = |config: Value, reference: &str| open(config, reference, None).err().unwrap();
        let error = text(json!({}), "nowhere/m");
        assert!(error.kind == ErrorKind::NotConfigured && error.message.contains("models.providers.nowhere.baseUrl"));
        let error = text(json!({}), "openai/m");
        assert!(error.kind == ErrorKind::Auth && error.message.contains("OPENAI_API_KEY"), "{error}");
        let error = text(json!({"models": {"providers": {"x": {"baseUrl": "http://h", "api": "bedrock"}}}}), "x/m");
        assert!(error.message.contains("bedrock") && error.message.contains("ollama"), "{error}");
        let error = text(json!({"models": {"providers": {"x": {"baseUrl": "ftp://h"}}}}), "x/m");
        assert_eq!(error.kind, ErrorKind::NotConfigured);
    }
}
