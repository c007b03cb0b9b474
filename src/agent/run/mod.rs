//! A run: one message of a person, answered. Owns what goes into a run and what comes out of it; the loop itself is in
//! `turn`. Knows nothing of connections, clients and the gateway's state.

pub mod begin;
mod desk;
mod pieces;
mod prompt;
pub mod turn;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::control::AbortReason;
use super::http::Settings;
use super::message::{Block, Usage};
use super::model::discover::Found;
use super::model::failover::{Change, Cooldowns};
use super::model::{ErrorKind, ModelRef, Sampling, Thinking, ToolChoice, ToolSpec};
use super::tool::Jobs;
use super::tool::approval::judge::Origin as Speaker;
use super::tool::desk::Desk;
use crate::config::env::Env;
use crate::config::model::Config;
use crate::config::paths::Paths;

/// Everything a run needs, as plain data: nothing in it changes while the run works.
pub struct RunSpec {
    /// The client's name for the run.
    pub run_id: String,
    /// Canonical session key.
    pub session_key: String,
    /// The agent.
    pub agent_id: String,
    /// Names the transcript.
    pub session_id: String,
    /// The transcript's file.
    pub transcript: PathBuf,
    /// Folder the tools work in.
    pub workspace: PathBuf,
    /// What it is for.
    pub task: Task,
    /// Whether the model's thoughts are told while it thinks.
    pub shows_thoughts: bool,
    /// Who speaks: decides which tools there are and what commands may do.
    pub speaker: Speaker,
    /// What the person said, stamped; several messages when some waited together.
    pub prompts: Vec<Prompt>,
    /// The session's model, if another than the agent's.
    pub model: Option<ModelRef>,
    /// The account the session wants.
    pub auth_profile: Option<String>,
    /// What earlier runs learnt about accounts.
    pub cooldowns: Cooldowns,
    /// A server that an earlier run found on this machine.
    pub found: Option<Found>,
    /// How much the model thinks; none leaves it to the configuration.
    pub thinking: Option<Thinking>,
    /// Time limit, counted from the start of the thread; none is no limit.
    pub limit: Option<Duration>,
    /// More for the system prompt.
    pub extra_system: Option<String>,
    /// What a program brings along.
    pub client_tools: ClientTools,
    /// The channel the message comes from, when it is another than a chat window.
    pub channel: Option<String>,
    /// The session's ids at command-line backends.
    pub cli_sessions: Value,
    /// The session's word on which commands run.
    pub exec_security: Option<String>,
    /// The session's word on when a person is asked.
    pub exec_ask: Option<String>,
    /// The configuration in force at the start.
    pub config: Arc<Config>,
    /// Where files are.
    pub paths: Paths,
    /// The environment.
    pub env: Arc<Env>,
    /// Proxies and certificates.
    pub http: Settings,
    /// Seed of the ids this run makes.
    pub seed: [u8; 32],
}

/// What a program brings along with its message (http.md 6.2, 8.1).
#[derive(Debug, Clone, Default)]
pub struct ClientTools {
    /// Tools the program runs itself: a call of one ends the run. They win over the gateway's own of the same name.
    pub tools: Vec<ToolSpec>,
    /// Whether the model must call one.
    pub choice: ToolChoice,
    /// How the model is to answer.
    pub sampling: Sampling,
    /// Results of calls that ended earlier runs of the session.
    pub results: Vec<ClientResult>,
}

/// What a program's own tool gave back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientResult {
    /// The call it answers.
    pub id: String,
    /// What the model sees.
    pub text: String,
}

impl ClientTools {
    /// Whether the model has to call one of them, and nothing else.
    pub fn is_forced(&self) -> bool {
        matches!(self.choice, ToolChoice::Required | ToolChoice::Named(_))
    }

    /// The tools the model is told of.
    pub fn offered(&self) -> impl Iterator<Item = &ToolSpec> {
        self.tools.iter().filter(|tool| match &self.choice {
            ToolChoice::Auto | ToolChoice::Required => true,
            ToolChoice::None => false,
            ToolChoice::Named(name) => tool.name == *name,
        })
    }
}

/// A call of a program's own tool.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientCall {
    /// Names the call.
    pub id: String,
    /// The tool.
    pub name: String,
    /// Its arguments; a text when they were no JSON.
    pub arguments: Value,
}

/// What a run is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Task {
    /// To answer what the person said.
    #[default]
    Answer,
    /// To look around without anybody asking: what it asks is the gateway's own word.
    Heartbeat,
    /// To shorten the conversation, minding what the person asks to mind.
    Compact(Option<String>),
}

/// One message of a person.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// The client's name for it.
    pub run_id: String,
    /// What it says.
    pub content: Vec<Block>,
}

/// What a run may reach beyond its own files.
pub struct Hands {
    /// The gateway, for its tools.
    pub desk: Arc<dyn Desk>,
    /// Commands in the background, of all runs.
    pub jobs: Jobs,
}

/// What a run tells while it works. Exactly one of the last two comes, and nothing after it.
#[derive(Debug)]
pub enum RunEvent {
    /// The thread works.
    Started,
    /// The model that answers now.
    Model(ModelRef),
    /// More text of the assistant's current message.
    Text(String),
    /// More of the model's thoughts.
    Thought(String),
    /// The assistant's current message is complete.
    MessageEnd,
    /// A tool begins.
    ToolStart(ToolStart),
    /// A tool has something to show before it is done.
    ToolUpdate(ToolUpdate),
    /// A tool is done.
    ToolEnd(ToolEnd),
    /// The conversation is being shortened, or that is over.
    Compaction {
        /// Whether it is over.
        done: bool,
        /// Whether it worked.
        completed: bool,
    },
    /// A message stands in the transcript.
    Appended {
        /// Its entry.
        id: String,
        /// The message.
        message: Value,
    },
    /// What was learnt about accounts.
    Learnt(Vec<Change>),
    /// A server was found on this machine.
    Found(Box<Found>),
    /// The one that was found before does not answer.
    Vanished,
    /// The run ended well.
    Finished(Box<RunResult>),
    /// It did not.
    Failed(Box<RunFailure>),
}

/// A tool begins.
#[derive(Debug)]
pub struct ToolStart {
    /// Names the call.
    pub call: String,
    /// The tool.
    pub name: String,
    /// Its arguments.
    pub args: Value,
}

/// A tool shows something.
#[derive(Debug)]
pub struct ToolUpdate {
    /// Names the call.
    pub call: String,
    /// The tool.
    pub name: String,
    /// `content` and `details` so far.
    pub partial: Value,
}

/// A tool is done.
#[derive(Debug)]
pub struct ToolEnd {
    /// Names the call.
    pub call: String,
    /// The tool.
    pub name: String,
    /// A short label for people.
    pub meta: String,
    /// Whether it failed.
    pub is_error: bool,
    /// `content` and `details`.
    pub result: Value,
}

/// What is known of a run at its end, however it ended.
#[derive(Debug, Default, Clone)]
pub struct Account {
    /// Texts of the assistant's messages, one each.
    pub texts: Vec<String>,
    /// The model's thoughts, as far as it shows them.
    pub thoughts: Vec<String>,
    /// Calls of a program's own tools, which ended the run.
    pub calls: Vec<ClientCall>,
    /// Who pays for the answers, for people.
    pub paid_by: String,
    /// Tokens of the conversation after it was shortened on request.
    pub shortened_to: Option<u64>,
    /// Tokens of all model calls.
    pub usage: Usage,
    /// Tokens of the last one: the size of the context.
    pub last_usage: Usage,
    /// The model that answered last.
    pub model: Option<ModelRef>,
    /// Tokens its context holds.
    pub context_window: u64,
    /// How often the conversation was shortened.
    pub compactions: u64,
    /// The backend's id of the conversation, with the backend.
    pub cli_session: Option<(String, String)>,
    /// How long it took.
    pub took: Duration,
}

/// A run that ended well.
#[derive(Debug)]
pub struct RunResult {
    /// What is known of it.
    pub account: Account,
    /// Why the model stopped, as transcripts name it.
    pub stop_reason: &'static str,
}

/// A run that did not end well.
#[derive(Debug)]
pub struct RunFailure {
    /// What is known of it.
    pub account: Account,
    /// Why.
    pub cause: Cause,
    /// For people; bounded, no secrets.
    pub message: String,
    /// How long the provider asks to wait.
    pub retry_after: Option<Duration>,
    /// The provider's HTTP status, if there was one.
    pub status: Option<u16>,
}

/// Why a run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No model answered.
    Model(ErrorKind),
    /// It was stopped, or its time was over.
    Stopped(AbortReason),
    /// The transcript could not be read or written.
    Storage,
    /// A fault of this program.
    Internal,
}

impl Cause {
    /// Whether the same message may succeed a little later.
    pub fn retryable(self) -> bool {
        match self {
            Cause::Model(kind) => kind.is_transient(),
            Cause::Stopped(reason) => matches!(reason, AbortReason::Timeout | AbortReason::Shutdown),
            Cause::Storage | Cause::Internal => false,
        }
    }

    /// `errorKind` of `chat` events (protocol.md 9).
    pub fn chat_kind(self) -> &'static str {
        match self {
            Cause::Model(ErrorKind::RateLimit | ErrorKind::Overloaded) => "rate_limit",
            Cause::Model(ErrorKind::ContextOverflow) => "context_length",
            Cause::Model(ErrorKind::Timeout) | Cause::Stopped(AbortReason::Timeout) => "timeout",
            _ => "unknown",
        }
    }

    /// A stable word for logs and `details`.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Model(kind) => kind.name(),
            Cause::Stopped(reason) => reason.name(),
            Cause::Storage => "storage",
            Cause::Internal => "internal",
        }
    }
}
