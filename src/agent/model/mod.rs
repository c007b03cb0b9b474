//! Models: what is asked of one, what it answers, how it fails. Owns the trait and its types; each wire form, the
//! choice of a model and the retries have files of their own.

pub mod anthropic;
pub mod cli_backend;
mod collect;
pub mod discover;
pub mod embed;
pub mod endpoint;
pub mod failover;
mod fault;
pub mod frames;
mod history;
pub mod keys;
pub mod lineup;
pub mod ollama;
pub mod open;
pub mod openai_completions;
pub mod openai_responses;
pub mod resolve;
pub mod served;
pub mod standing;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::control::Control;
use super::message::{Block, Message, StopReason, Usage};

/// One call to a model.
#[derive(Clone, Debug, Default)]
pub struct ModelRequest {
    /// The system prompt; may be empty.
    pub system: String,
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// Tools it may call.
    pub tools: Vec<ToolSpec>,
    /// Whether it must call one.
    pub tool_choice: ToolChoice,
    /// Whether an answer without these tools would be wrong: a program's own are among them.
    pub needs_tools: bool,
    /// How it picks its words.
    pub sampling: Sampling,
    /// How much it thinks first.
    pub thinking: Thinking,
    /// What only a command-line backend uses.
    pub session: CallSession,
}

/// Where a call belongs, for backends that keep the conversation themselves (agent.md 24).
#[derive(Clone, Debug, Default)]
pub struct CallSession {
    /// Directory the command runs in; the process's own when none.
    pub workspace: Option<PathBuf>,
    /// The ids of this conversation (`cliSessionIds` in the session entry) under the backends that gave them: which one
    /// is called turns out only then.
    pub cli_sessions: Value,
    /// A fresh UUID for a conversation the backend does not know yet; empty for a question outside of any.
    pub new_cli_session: String,
}

impl CallSession {
    /// A backend's own id of this conversation, after its first turn.
    pub fn known_to(&self, backend: &str) -> Option<&str> {
        self.cli_sessions.get(backend).and_then(Value::as_str).filter(|id| !id.is_empty())
    }
}

/// A tool as the model sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON schema of its arguments.
    pub parameters: Value,
}

/// Whether the model must call a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// It decides.
    #[default]
    Auto,
    /// It must not.
    None,
    /// It must call one.
    Required,
    /// It must call this one.
    Named(String),
}

/// How a model picks its words; what is not said is left to the server. Wire forms without a member leave it out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// Largest answer, tokens.
    pub max_tokens: Option<u64>,
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// 0 to 1.
    pub top_p: Option<f64>,
    /// -2 to 2.
    pub frequency_penalty: Option<f64>,
    /// -2 to 2.
    pub presence_penalty: Option<f64>,
    /// For answers that can be repeated.
    pub seed: Option<i64>,
    /// Texts before which the answer ends; at most four.
    pub stop: Vec<String>,
    /// `response_format` of the OpenAI form, as the program wrote it.
    pub response_format: Option<Value>,
}

impl Sampling {
    /// What is set of these members, by the names of the OpenAI form.
    pub(super) fn members(&self, names: &[&str]) -> Vec<(String, Value)> {
        let number = |value: Option<f64>| value.map(Value::from);
        let all = [
            ("temperature", number(self.temperature)),
            ("top_p", number(self.top_p)),
            ("frequency_penalty", number(self.frequency_penalty)),
            ("presence_penalty", number(self.presence_penalty)),
            ("seed", self.seed.map(Value::from)),
            ("stop", (!self.stop.is_empty()).then(|| json!(self.stop))),
        ];
        let wanted = all.into_iter().filter(|(name, _)| names.contains(name));
        wanted.filter_map(|(name, value)| Some((name.to_string(), value?))).collect()
    }

    /// The schema an answer must follow and what stands beside it, where one is asked for.
    pub(super) fn schema(&self) -> Option<&Value> {
        self.response_format.as_ref()?.get("json_schema").filter(|schema| schema.is_object())
    }
}

/// How much a model thinks before it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thinking {
    /// Not at all.
    #[default]
    Off,
    /// As little as it can.
    Minimal,
    /// A little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// As much as it can.
    XHigh,
}

impl Thinking {
    /// All levels as written in sessions and commands.
    pub const NAMES: [(&'static str, Thinking); 6] = [
        ("off", Thinking::Off),
        ("minimal", Thinking::Minimal),
        ("low", Thinking::Low),
        ("medium", Thinking::Medium),
        ("high", Thinking::High),
        ("xhigh", Thinking::XHigh),
    ];

    /// The level of that name.
    pub fn parse(text: &str) -> Option<Thinking> {
        Thinking::NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text.trim())).map(|(_, level)| *level)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Thinking::NAMES.iter().find(|(_, level)| *level == self).map_or("off", |(name, _)| name)
    }
}

/// What a model says while it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelEvent {
    /// More text.
    Text(String),
    /// More of its thoughts.
    Thinking(String),
    /// It began to call a tool; the arguments come with the reply.
    ToolCall {
        /// Names the call.
        id: String,
        /// The tool.
        name: String,
    },
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelReply {
    /// Texts, thoughts and tool calls in order. A tool call whose arguments were no JSON object carries them as text.
    pub content: Vec<Block>,
    /// Tokens and their price; zero when the provider reports none.
    pub usage: Usage,
    /// Why it ended.
    pub stop: StopReason,
    /// The model's id, as configured.
    pub model: String,
    /// The provider's id.
    pub provider: String,
    /// The wire form, as transcripts name it.
    pub api: &'static str,
    /// The backend's id of the conversation, to be kept in the session entry (agent.md 24).
    pub cli_session: Option<String>,
}

/// A provider and one of its models.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelRef {
    /// Provider's id.
    pub provider: String,
    /// Model's id; may contain slashes.
    pub model: String,
}

impl ModelRef {
    /// A reference of these parts.
    pub fn new(provider: impl Into<String>, model: impl Into<String>) -> ModelRef {
        ModelRef { provider: provider.into(), model: model.into() }
    }

    /// Reads `provider/model`, split at the first slash (agent.md 18); none when a part is missing.
    pub fn parse(text: &str) -> Option<ModelRef> {
        let (provider, model) = text.trim().split_once('/')?;
        let (provider, model) = (provider.trim(), model.trim());
        (!provider.is_empty() && !model.is_empty()).then(|| ModelRef::new(provider, model))
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

/// What kind of failure it was: decides about retry, fallback and cool-down (agent.md 22).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The key is missing, wrong or not allowed to.
    Auth,
    /// The account has no credit.
    Billing,
    /// Too many requests.
    RateLimit,
    /// No answer in time.
    Timeout,
    /// The server did not like the request.
    Format,
    /// The conversation is longer than the model's context: compact it and call again.
    ContextOverflow,
    /// No such model or address.
    NotFound,
    /// The provider has too much to do.
    Overloaded,
    /// The provider failed.
    Server,
    /// The connection failed.
    Network,
    /// The answer was not what the wire form promises, or was cut, or was too large.
    Protocol,
    /// The run was stopped.
    Aborted,
    /// There is no model to call.
    NotConfigured,
}

impl ErrorKind {
    /// A stable word for logs, health and clients.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Auth => "auth",
            ErrorKind::Billing => "billing",
            ErrorKind::RateLimit => "rate_limit",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Format => "format",
            ErrorKind::ContextOverflow => "context_overflow",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Overloaded => "overloaded",
            ErrorKind::Server => "server",
            ErrorKind::Network => "network",
            ErrorKind::Protocol => "protocol",
            ErrorKind::Aborted => "aborted",
            ErrorKind::NotConfigured => "not_configured",
        }
    }

    /// Whether the same call may succeed a little later.
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            ErrorKind::RateLimit | ErrorKind::Timeout | ErrorKind::Overloaded | ErrorKind::Server | ErrorKind::Network
        )
    }
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelError {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// For people: bounded, without secrets.
    pub message: String,
    /// The HTTP status, if there was one.
    pub status: Option<u16>,
    /// How long the provider asks to wait.
    pub retry_after: Option<Duration>,
    /// Whether text of the answer was already handed out, so that a retry would repeat it.
    pub streamed: bool,
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ModelError {}

/// Something that answers: a server or a command.
pub trait Model: Send {
    /// Which model this is.
    fn reference(&self) -> &ModelRef;

    /// Tokens its context holds.
    fn context_window(&self) -> u64;

    /// Whether it can be given tools; a command-line backend cannot.
    fn takes_tools(&self) -> bool {
        true
    }

    /// Whether it can look at pictures.
    fn takes_images(&self) -> bool {
        false
    }

    /// Asks it. Blocks until the answer is whole, the control stops it or a deadline of `limits` passes; `on` gets the
    /// pieces as they come. An answer that was cut is an error.
    fn call(
        &self,
        request: &ModelRequest,
        control: &Control,
        on: &mut dyn FnMut(ModelEvent),
    ) -> Result<ModelReply, ModelError>;
}

#[cfg(test)]
mod wire_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_split_at_the_first_slash() {
        assert_eq!(ModelRef::parse(" openrouter/meta/llama "), Some(ModelRef::new("openrouter", "meta/llama")));
        assert_eq!(ModelRef::parse("p/m").unwrap().to_string(), "p/m");
        assert!(["", "m", "/m", "p/", " / "].iter().all(|text| ModelRef::parse(text).is_none()));
    }

    #[test]
    fn thinking_levels_have_their_names() {
        assert!(
            Thinking::NAMES.iter().all(|(name, level)| Thinking::parse(name) == Some(*level) && level.name() == *name)
        );
        assert_eq!((Thinking::parse(" XHIGH"), Thinking::parse("some")), (Some(Thinking::XHigh), None));
    }
}
