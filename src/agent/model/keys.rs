//! Which key a provider is called with (agent.md 23): the session's profile, the configured order, the profiles file,
//! the environment, the configuration. Owns the file's data model and its reading; writing it is the caller's.

use serde_json::{Map, Value};

use crate::config::{Config, Env, Secret};
use crate::limits;
use crate::store::atomic;
use crate::sys::order;

/// Environment variables of well-known providers, in the order they are looked at.
const VARIABLES: [(&str, &[&str]); 20] = [
    ("anthropic", &["ANTHROPIC_OAUTH_TOKEN", "ANTHROPIC_API_KEY"]),
    ("cerebras", &["CEREBRAS_API_KEY"]),
    ("deepseek", &["DEEPSEEK_API_KEY"]),
    ("fireworks", &["FIREWORKS_API_KEY"]),
    ("gemini", &["GEMINI_API_KEY", "GOOGLE_API_KEY"]),
    ("google", &["GEMINI_API_KEY", "GOOGLE_API_KEY"]),
    ("groq", &["GROQ_API_KEY"]),
    ("litellm", &["LITELLM_API_KEY"]),
    ("lmstudio", &["LMSTUDIO_API_KEY", "LM_API_TOKEN"]),
    ("mistral", &["MISTRAL_API_KEY"]),
    ("moonshot", &["MOONSHOT_API_KEY"]),
    ("nvidia", &["NVIDIA_API_KEY"]),
    ("ollama", &["OLLAMA_API_KEY"]),
    ("openai", &["OPENAI_API_KEY"]),
    ("openrouter", &["OPENROUTER_API_KEY"]),
    ("together", &["TOGETHER_API_KEY"]),
    ("vllm", &["VLLM_API_KEY"]),
    ("voyage", &["VOYAGE_API_KEY"]),
    ("xai", &["XAI_API_KEY"]),
    ("zai", &["ZAI_API_KEY", "Z_AI_API_KEY"]),
];

/// Where a key comes from; shown in `/status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A profile of the file.
    Profile(String),
    /// An environment variable.
    Env(String),
    /// `models.providers.<id>.apiKey`.
    Config,
    /// There is none: fine for servers that ask for none.
    None,
}

impl KeySource {
    /// A short word for people.
    pub fn describe(&self) -> String {
        match self {
            KeySource::Profile(id) => format!("profile {id}"),
            KeySource::Env(name) => format!("environment {name}"),
            KeySource::Config => "configuration".to_string(),
            KeySource::None => "no key".to_string(),
        }
    }
}

/// A key and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub secret: Option<Secret>,
    /// Its source.
    pub source: KeySource,
}

impl Key {
    /// The key as people may see it: its beginning and end, if it is long enough to have both.
    pub fn masked(&self) -> String {
        let Some(secret) = &self.secret else { return "none".to_string() };
        let chars: Vec<char> = secret.expose().chars().collect();
        if chars.len() < 16 {
            return "***".to_string();
        }
        let (head, tail) = (chars.iter().take(4), chars.iter().skip(chars.len() - 4));
        head.chain(['…'].iter()).chain(tail).collect()
    }
}

/// The profiles file: `auth-profiles.json` beside an agent's other files. Everything in it survives a rewrite.
#[derive(Clone, Default)]
pub struct AuthProfiles {
    raw: Map<String, Value>,
}

impl std::fmt::Debug for AuthProfiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthProfiles").field("profiles", &self.ids().collect::<Vec<_>>()).finish()
    }
}

/// A profile as people may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant<'a> {
    /// Its provider.
    pub provider: &'a str,
    /// `api_key`, `token` or `oauth`.
    pub kind: &'a str,
    /// When it ends.
    pub expires_ms: Option<u64>,
}

/// What happened with a profile, for its statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// A call succeeded.
    Used,
    /// A call failed; no further one before that moment (Unix milliseconds).
    CoolsUntil(u64),
    /// The account has no credit; no further call before that moment.
    DisabledUntil(u64),
}

impl AuthProfiles {
    /// Reads the file's bytes; an unreadable one counts as empty, with the reason.
    pub fn parse(bytes: &[u8]) -> Result<AuthProfiles, String> {
        if bytes.len() > limits::AUTH_PROFILES_BYTES {
            return Err(format!("over {} bytes", limits::AUTH_PROFILES_BYTES));
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(raw)) => Ok(AuthProfiles { raw }),
            Ok(_) => Err("not an object".to_string()),
            // the text of a fault names a place, never a content
            Err(fault) => Err(fault.to_string()),
        }
    }

    /// Reads a file; one that cannot be read counts as empty, and the log says so.
    pub fn open(file: &std::path::Path) -> AuthProfiles {
        let read = atomic::read_bounded(file, limits::AUTH_PROFILES_BYTES).map_err(|error| error.to_string());
        let parsed = read.and_then(|bytes| bytes.map(|bytes| AuthProfiles::parse(&bytes)).transpose());
        parsed
            .unwrap_or_else(|why| {
                log::warn!(target: "agent", "auth profiles are not readable file={} error={why}", file.display());
                None
            })
            .unwrap_or_default()
    }

    /// All profile ids.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.raw.get("profiles").and_then(Value::as_object).into_iter().flatten().map(|(id, _)| id.as_str())
    }

    fn profile(&self, id: &str) -> Option<&Value> {
        self.raw.get("profiles")?.get(id)
    }

    /// The key of a profile: an `api_key`, or a `token` that has not expired. OAuth profiles are left untouched and
    /// unused.
    fn key(&self, id: &str, now_ms: u64) -> Option<Secret> {
        let profile = self.profile(id)?;
        let member = |name: &str| profile.get(name).and_then(Value::as_str).map(str::trim);
        let key = match member("type")? {
            "api_key" => member("key")?,
            "token" => {
                let expires = profile.get("expires").and_then(Value::as_u64).filter(|expires| *expires > 0);
                expires.is_none_or(|expires| expires > now_ms).then(|| member("token")).flatten()?
            }
            _ => return None,
        };
        (!key.is_empty()).then(|| Secret::new(key))
    }

    /// What kind of credential a profile holds, without it.
    pub fn grant(&self, id: &str) -> Option<Grant<'_>> {
        let profile = self.profile(id)?;
        let member = |name: &str| profile.get(name).and_then(Value::as_str);
        let expires = profile.get("expires").and_then(Value::as_u64).filter(|expires| *expires > 0);
        Some(Grant { provider: member("provider")?, kind: member("type")?, expires_ms: expires })
    }

    fn provider_of(&self, id: &str) -> Option<&str> {
        self.profile(id)?.get("provider").and_then(Value::as_str)
    }

    /// Profiles of a provider: in the given order, else in the file's own, else as they stand with the least recently
    /// used one first, so that several accounts share the work.
    fn of_provider(&self, provider: &str, order: &[String]) -> Vec<String> {
        let own: Vec<String> = texts(self.raw.get("order").and_then(|order| order.get(provider)));
        let order = if order.is_empty() { own } else { order.to_vec() };
        let mut rest: Vec<&str> = self.ids().filter(|id| self.provider_of(id) == Some(provider)).collect();
        if !order.is_empty() {
            let known = |id: &String| self.provider_of(id) == Some(provider);
            return order.into_iter().filter(known).collect();
        }
        order::by_key(&mut rest, |id| self.stat(id, "lastUsed"));
        rest.into_iter().map(String::from).collect()
    }

    fn stat(&self, id: &str, name: &str) -> u64 {
        let stats = self.raw.get("usageStats").and_then(|stats| stats.get(id));
        stats.and_then(|stats| stats.get(name)).and_then(Value::as_u64).unwrap_or(0)
    }

    /// Until when a profile must not be used; 0 when it may be.
    pub fn blocked_until(&self, id: &str) -> u64 {
        self.stat(id, "cooldownUntil").max(self.stat(id, "disabledUntil"))
    }

    /// Failures in a row of a profile.
    pub fn errors(&self, id: &str) -> u64 {
        self.stat(id, "errorCount")
    }

    /// Enters what happened; the caller writes [`AuthProfiles::to_json`] back.
    pub fn note(&mut self, id: &str, noted: Noted, now_ms: u64) {
        if self.profile(id).is_none() {
            return;
        }
        let provider = self.provider_of(id).map(String::from);
        let errors = self.errors(id);
        let stats = object(self.raw.entry("usageStats").or_insert_with(|| json!({})));
        let stat = object(stats.entry(id.to_string()).or_insert_with(|| json!({})));
        match noted {
            Noted::Used => {
                stat.insert("lastUsed".into(), json!(now_ms));
                stat.insert("errorCount".into(), json!(0));
                for name in ["cooldownUntil", "disabledUntil", "disabledReason"] {
                    stat.remove(name);
                }
                if let Some(provider) = provider {
                    object(self.raw.entry("lastGood").or_insert_with(|| json!({}))).insert(provider, json!(id));
                }
            }
            Noted::CoolsUntil(until) => {
                stat.insert("errorCount".into(), json!(errors + 1));
                stat.insert("cooldownUntil".into(), json!(until));
            }
            Noted::DisabledUntil(until) => {
                stat.insert("errorCount".into(), json!(errors + 1));
                stat.insert("disabledUntil".into(), json!(until));
                stat.insert("disabledReason".into(), json!("billing"));
            }
        }
    }

    /// The whole file, pretty-printed as the original does.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(&self.raw).unwrap_or_else(|_| "{}".to_string())
    }
}

/// The object in a value, made one if it is none.
fn object(value: &mut Value) -> &mut Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => {
            *other = json!({});
            other.as_object_mut().expect("an object was put here just now")
        }
    }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(String::from).collect()
}

/// Where keys are looked for.
#[derive(Clone, Copy, Debug)]
pub struct KeyRing<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The environment, `.env` files included.
    pub env: &'a Env,
    /// The agent's profiles.
    pub profiles: &'a AuthProfiles,
    /// Unix time in milliseconds.
    pub now_ms: u64,
}

impl KeyRing<'_> {
    /// Every key a provider may be called with, best first; never empty: the last resort is no key.
    pub fn keys(&self, provider: &str, session_profile: Option<&str>) -> Vec<Key> {
        let mut keys: Vec<Key> = Vec::new();
        let order = texts(self.config.raw.pointer(&format!("/auth/order/{}", pointer(provider))));
        let listed = self.profiles.of_provider(provider, &order);
        let wanted = session_profile.filter(|id| self.profiles.provider_of(id) == Some(provider)).map(String::from);
        for id in wanted.iter().chain(listed.iter().filter(|id| Some(*id) != wanted.as_ref())) {
            if let Some(secret) = self.profiles.key(id, self.now_ms) {
                keys.push(Key { secret: Some(secret), source: KeySource::Profile(id.clone()) });
            }
        }
        keys.extend(self.environment(provider));
        keys.extend(self.configured(provider));
        if keys.is_empty() {
            keys.push(Key { secret: None, source: KeySource::None });
        }
        keys
    }

    /// Well-known providers whose environment variable is set.
    pub fn with_variables(&self) -> impl Iterator<Item = String> {
        VARIABLES.iter().filter(|(id, _)| self.environment(id).is_some()).map(|(id, _)| (*id).to_string())
    }

    fn environment(&self, provider: &str) -> Option<Key> {
        let names = VARIABLES.iter().find(|(id, _)| *id == provider).map(|(_, names)| *names)?;
        names.iter().find_map(|name| self.variable(name))
    }

    fn variable(&self, name: &str) -> Option<Key> {
        let secret = Secret::new(self.env.get(name)?.trim());
        Some(Key { secret: Some(secret), source: KeySource::Env(name.to_string()) })
    }

    fn configured(&self, provider: &str) -> Option<Key> {
        self.written(self.config.raw.pointer(&format!("/models/providers/{}/apiKey", pointer(provider)))?)
    }

    /// A key as configurations write it: a literal, the name of a variable, or `{source: "env", id}`; `${VAR}` was
    /// replaced when the file was read.
    pub fn written(&self, raw: &Value) -> Option<Key> {
        if raw.is_object() {
            let source = raw.get("source").and_then(Value::as_str);
            let id = raw.get("id").and_then(Value::as_str).filter(|_| source == Some("env"))?;
            return self.variable(id);
        }
        let written = raw.as_str()?.trim();
        if is_variable_name(written) {
            // a literal key never looks like this; an unset variable must not be sent as a key
            return self.variable(written);
        }
        (!written.is_empty()).then(|| Key { secret: Some(Secret::new(written)), source: KeySource::Config })
    }
}

/// `NAME_LIKE_THIS`, the way variables are written.
fn is_variable_name(text: &str) -> bool {
    let shape = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    text.contains('_') && text.starts_with(|c: char| c.is_ascii_uppercase()) && text.chars().all(shape)
}

/// A member's name inside a JSON pointer.
pub(super) fn pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles() -> AuthProfiles {
        let file = json!({"version": 1, "unknown": [1], "profiles": {
            "p:a": {"type": "api_key", "provider": "p", "key": "key-a"},
            "p:b": {"type": "token", "provider": "p", "token": "tok-b", "expires": 1000},
            "p:c": {"type": "oauth", "provider": "p", "access": "acc-c", "refresh": "r"},
            "q:a": {"type": "api_key", "provider": "q", "key": "key-q"}}});
        AuthProfiles::parse(file.to_string().as_bytes()).unwrap()
    }

    fn sources(config: Value, env: &[(&str, &str)], provider: &str, session: Option<&str>, now_ms: u64) -> Vec<String> {
        let config = Config::from_value(config);
        let (env, profiles) = (Env::of(env.iter().copied()), profiles());
        let ring = KeyRing { config: &config, env: &env, profiles: &profiles, now_ms };
        let show =
            |key: Key| format!("{}={}", key.source.describe(), key.secret.map_or(String::new(), |s| s.expose().into()));
        ring.keys(provider, session).into_iter().map(show).collect()
    }

    #[test]
    fn a_profiles_file_beyond_its_bound_is_refused() {
        let mut file = b"{\"profiles\":{}}".to_vec();
        file.resize(limits::AUTH_PROFILES_BYTES, b' ');
        assert!(AuthProfiles::parse(&file).is_ok());
        file.push(b' ');
        assert!(AuthProfiles::parse(&file).unwrap_err().contains("over 1048576 bytes"));
    }

    #[test]
    fn no_variable_with_a_key_is_left_to_commands() {
        let all = VARIABLES.iter().flat_map(|(_, names)| names.iter());
        let left: Vec<_> = all.filter(|name| !crate::config::env::is_private(name)).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn profiles_come_before_the_environment_and_the_configuration() {
        let config = json!({"models": {"providers": {"p": {"baseUrl": "http://h", "apiKey": "literal"}}}});
        assert_eq!(
            sources(config.clone(), &[], "p", None, 1),
            ["profile p:a=key-a", "profile p:b=tok-b", "configuration=literal"]
        );
        assert_eq!(sources(config, &[], "p", None, 5000), ["profile p:a=key-a", "configuration=literal"], "expired");
        assert_eq!(sources(json!({}), &[], "p", Some("p:b"), 1)[0], "profile p:b=tok-b");
        assert_eq!(
            sources(json!({"auth": {"order": {"p": ["p:b", "q:a"]}}}), &[], "p", None, 1),
            ["profile p:b=tok-b"]
        );
    }

    #[test]
    fn variables_are_known_by_provider_named_or_referenced() {
        let env = [("OPENAI_API_KEY", "from-env"), ("MY_KEY", "mine")];
        assert_eq!(sources(json!({}), &env, "openai", None, 1), ["environment OPENAI_API_KEY=from-env"]);
        for written in [json!("MY_KEY"), json!({"source": "env", "id": "MY_KEY"})] {
            let config = json!({"models": {"providers": {"x/y": {"baseUrl": "http://h", "apiKey": written}}}});
            assert_eq!(sources(config.clone(), &env, "x/y", None, 1), ["environment MY_KEY=mine"]);
            assert_eq!(sources(config, &[], "x/y", None, 1), ["no key="], "an unset variable is not sent as a key");
        }
    }

    #[test]
    fn a_provider_without_key_is_called_without() {
        assert_eq!(sources(json!({}), &[], "local", None, 1), ["no key="]);
    }

    #[test]
    fn what_happened_is_entered_and_everything_else_survives() {
        let mut file = profiles();
        file.note("p:a", Noted::CoolsUntil(500), 100);
        file.note("p:a", Noted::DisabledUntil(900), 100);
        assert_eq!((file.blocked_until("p:a"), file.errors("p:a"), file.blocked_until("p:b")), (900, 2, 0));
        file.note("p:a", Noted::Used, 1000);
        file.note("ghost", Noted::Used, 1000);
        let read: Value = serde_json::from_str(&file.to_json()).unwrap();
        assert_eq!((file.blocked_until("p:a"), &read["lastGood"]["p"]), (0, &json!("p:a")));
        assert_eq!((&read["unknown"], &read["profiles"]["p:c"]["refresh"]), (&json!([1]), &json!("r")));
        assert_eq!(read["usageStats"], json!({"p:a": {"lastUsed": 1000, "errorCount": 0}}));
        assert_eq!(file.of_provider("p", &[]), ["p:b", "p:c", "p:a"], "the one used last comes last");
    }

    #[test]
    fn no_key_is_ever_shown() {
        assert!(!format!("{:?}", profiles()).contains("key-a"));
        let key = |text: &str| Key { secret: Some(Secret::new(text)), source: KeySource::Config };
        assert_eq!(key("sk-proj-0123456789abcdef").masked(), "sk-p…cdef");
        assert_eq!(key("short-canary").masked(), "***");
        assert!(!format!("{:?}", key("canary")).contains("canary"));
        assert!(AuthProfiles::parse(b"{\"profiles\": canary").unwrap_err().contains("line 1"));
    }
}
