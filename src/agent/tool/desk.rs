//! What tools want from the gateway, as one trait: sessions, approvals, notes. Owns the shapes of the questions; knows
//! nothing of who answers. Every call may block until its deadline, so it is made on the run's thread only.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use super::approval::judge::Origin;
use super::approval::pending::{Decision, Request};
use crate::agent::control::Control;
use crate::agent::message::Block;
use crate::sys::queue::Receiver;

/// A question about sessions or scheduled work; the answer is JSON that the model sees.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// How a session stands: `{statusText, …}`; that is the card.
    Status {
        /// The session; the turn's own when none.
        session_key: Option<String>,
    },
    /// The agents a turn of this one may start turns of: `{requester, allowAny, agents: [{id, configured}]}`.
    Agents,
    /// The agent's sessions: `{count, sessions: [row]}`.
    List {
        /// Number of rows.
        limit: usize,
        /// Only those used in that many minutes.
        active_minutes: Option<usize>,
        /// Only those that contain this text.
        search: Option<String>,
    },
    /// A session's messages: `{sessionKey, messages: []}`.
    History {
        /// Which one.
        target: Target,
        /// Number of messages, the last ones.
        limit: usize,
        /// Whether results of tools are among them.
        include_tools: bool,
    },
    /// A turn in another session: `{runId, status, sessionKey, reply?, error?}`.
    Send {
        /// Which one.
        target: Target,
        /// What is said.
        message: String,
        /// How long the answer is waited for; zero does not wait.
        wait: Duration,
    },
    /// Something about the agent's scheduled work, as the model asked for it.
    Cron(Map<String, Value>),
}

/// How a session is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// By its key, as written.
    Key(String),
    /// By its label.
    Label(String),
}

/// Something the gateway should know; nobody waits.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// A line for the session's next turn, such as the end of a background command (agent.md 25).
    SystemEvent {
        /// The session.
        session_key: String,
        /// The line.
        text: String,
        /// Whether the session should be woken for it.
        wake: bool,
        /// Whose turn it comes from.
        speaker: Origin,
    },
    /// An allowlist entry let a command through (`lastUsedAt` and its like in the approvals file).
    AllowlistUsed {
        /// The agent.
        agent_id: String,
        /// The entry's pattern.
        pattern: String,
        /// The command.
        command: String,
        /// The program it resolved to.
        resolved_path: String,
    },
    /// An operator chose `allow-always`: these programs go into the agent's allowlist.
    AllowAlways {
        /// The agent.
        agent_id: String,
        /// Programs.
        patterns: Vec<String>,
    },
}

/// A pending approval.
#[derive(Debug)]
pub struct Waiting {
    /// Its id.
    pub id: String,
    /// When it expires, in Unix milliseconds.
    pub expires_at_ms: u64,
    /// The decision; `None` when it expired. A closed channel is a refusal: the gateway leaves.
    pub decision: Receiver<Option<Decision>>,
}

/// Why the gateway does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeskFault {
    /// It refuses; the text is for the model.
    Refused(String),
    /// No connected client may decide approvals.
    NoApprover,
    /// It did not answer in time, or it stops.
    Silent,
}

impl fmt::Display for DeskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeskFault::Refused(text) => f.write_str(text),
            DeskFault::NoApprover => f.write_str("no client that may approve commands is connected"),
            DeskFault::Silent => f.write_str("the gateway did not answer in time"),
        }
    }
}

impl std::error::Error for DeskFault {}

/// The gateway as tools see it.
pub trait Desk: Send + Sync {
    /// Answers a question, at the latest when `control` says stop or the step's own deadline has passed.
    fn ask(&self, question: Ask, control: &Control) -> Result<Value, DeskFault>;

    /// Files a request for approval and tells the operators.
    fn approve(&self, request: Request, control: &Control) -> Result<Waiting, DeskFault>;

    /// What the person said meanwhile and wants the running turn to hear; each message once.
    fn steering(&self, _: &Control) -> Vec<Vec<Block>> {
        Vec::new()
    }

    /// Takes a note; never blocks long and never fails.
    fn tell(&self, note: Note);
}
