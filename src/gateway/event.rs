//! Everything that can happen to the gateway, and everything it can want done about it.
//! Closed enums on purpose: a new variant is a change of architecture. Holds no behaviour.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::conn::{Bytes, Link, Peer};
use super::connect_params::ConnectRequest;
use super::desk::{Behalf, ToolAsk};
use super::disk::{Done, Job, Then};
use super::errand::Errand;
use super::hooks::{HookOrder, Knock};
use super::metrics::Snapshot;
use super::programs::admit::{Admit, Grant};
use super::programs::calls::CallOrder;
use super::programs::embeddings::{Report, Setting};
use super::programs::feed::{Feed, FeedLine};
use super::programs::previous::{Earlier, Given, Known};
use super::programs::runs::RunOrder;
use super::programs::target::{Aim, Target};
use super::programs::tools::Ground;
use super::runs::RunNo;
use crate::agent::control::AbortReason;
use crate::agent::message::Block;
use crate::agent::run::{RunEvent, RunSpec};
use crate::agent::tool::approval::pending::Decision;
use crate::agent::tool::desk::{DeskFault, Note};
use crate::config::Config;
use crate::http::reply::Reply;
use crate::protocol::errors::WireError;
use crate::protocol::table::Method;
use crate::sys::queue::Sender;
use crate::sys::signals::Signal;

/// One connection for as long as the process lives; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

impl std::fmt::Display for ConnId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What the state thread receives: pure input, or input with a channel end that the core keeps.
pub enum Event {
    /// A WebSocket is open; the core keeps the link, the state the peer.
    Opened {
        /// The new connection.
        conn: ConnId,
        /// Who it is, as far as the upgrade request tells.
        peer: Peer,
        /// The way to its writer and reader.
        link: Link,
    },
    /// An HTTP handler asks something only the state knows.
    Http {
        /// The question.
        ask: HttpAsk,
        /// Where the handler waits.
        reply: Sender<HttpAnswer>,
    },
    /// An HTTP program wants something done that takes a while.
    Program {
        /// Names the order; from [`super::conn::Hub::next_ticket`].
        ticket: u64,
        /// What.
        order: Order,
        /// Where its handler is told.
        feed: FeedLine,
    },
    /// A tool asks something.
    Tool {
        /// On whose behalf.
        by: Behalf,
        /// The question.
        ask: ToolAsk,
        /// Where the tool waits.
        reply: Sender<ToolReply>,
        /// Where it waits for a decision, if it asked for one.
        decide: Sender<Option<Decision>>,
    },
    /// A tool wants something to be known.
    Note(Note),
    /// Anything that needs no channel.
    Input(Input),
}

/// What [`super::handle::handle`] sees: plain data.
pub enum Input {
    /// A WebSocket is open.
    Opened {
        /// The new connection.
        conn: ConnId,
        /// Who it is.
        peer: Peer,
    },
    /// A message arrived and was parsed and checked by the reader.
    Frame {
        /// Where it came from.
        conn: ConnId,
        /// What it says.
        frame: Inbound,
    },
    /// A pong or any other sign of life.
    Alive(ConnId),
    /// The reader has ended; exactly once for every `Opened`.
    Closed {
        /// Which connection.
        conn: ConnId,
        /// Why.
        why: Ended,
    },
    /// An HTTP handler asks.
    Http {
        /// Number of the waiting handler.
        ticket: u64,
        /// The question.
        ask: HttpAsk,
    },
    /// An HTTP program wants something done.
    Program {
        /// Names the order.
        ticket: u64,
        /// What.
        order: Order,
    },
    /// A request for embeddings is over.
    Embedded(Box<Report>),
    /// The program has gone, or reads too slowly.
    ProgramGone(u64),
    /// A program gets an answer that it may name later.
    Given(Box<Given>),
    /// The disk thread has done a job.
    Stored {
        /// What was to follow.
        then: Then,
        /// How it went.
        done: Done,
    },
    /// A run's thread tells something.
    Run(RunNo, RunEvent),
    /// A tool asks.
    Tool {
        /// On whose behalf.
        by: Behalf,
        /// Number of the waiting tool.
        ticket: u64,
        /// The question.
        ask: ToolAsk,
    },
    /// A tool wants something to be known.
    Note(Note),
    /// A timer is due.
    Timer(Timer),
    /// The process got a signal.
    Signal(Signal),
}

/// A message as the reader hands it on.
pub enum Inbound {
    /// The `connect` request, its parameters checked against the table.
    Connect {
        /// Request id.
        id: String,
        /// What it asks, or what refuses it.
        request: Result<Box<ConnectRequest>, WireError>,
    },
    /// Any other request.
    Call {
        /// Request id.
        id: String,
        /// What is called.
        call: Call,
    },
    /// A frame that is JSON but no request.
    NotRequest {
        /// The frame's id where it had one.
        id: Option<String>,
        /// The validator's text.
        text: String,
    },
    /// Something that ends the connection (protocol.md 7).
    Fatal(Violation),
}

/// A called method.
#[derive(Debug)]
pub enum Call {
    /// It has a row; the parameters are checked (`Err` holds the text that refuses them).
    Known(&'static Method, Result<Value, String>),
    /// It has none.
    Unknown(String),
}

/// What a peer can do before or instead of a valid message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// The first message is not JSON.
    FirstNotJson,
    /// The first message is JSON but no request.
    FirstNotRequest,
    /// The message is larger than the connection may send.
    TooLarge,
    /// Bytes that are no WebSocket.
    Protocol,
    /// A text message that is not UTF-8.
    NotText,
}

/// Why a reader ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The peer closed with this code (1005 when it sent none).
    ByPeer(u16),
    /// The peer vanished without a close frame.
    Lost,
    /// We closed it.
    ByUs,
}

/// What an HTTP handler asks.
#[derive(Debug, Clone)]
pub enum HttpAsk {
    /// Is the gateway ready, and may this caller see details?
    Ready(Caller),
    /// Has it started?
    Startup(Caller),
    /// May this program use this interface?
    Admit(Box<Admit>),
    /// Is this for a hook, and may it pass?
    Hook(Box<Knock>),
    /// What do the tools of this session need?
    Tools {
        /// The session; the main one when none.
        session_key: Option<String>,
        /// The agent; the key's own or the default one when none.
        agent: Option<String>,
    },
    /// For whom is this request?
    Aim(Box<Aim>),
    /// Which agents are there?
    Agents,
    /// By which settings do texts for this agent become vectors?
    Embeddings(Box<Aim>),
    /// How much of everything is there?
    Metrics,
    /// What is known of answers that this request names?
    Earlier(Box<Earlier>),
}

/// What an HTTP program wants done.
#[derive(Debug)]
pub enum Order {
    /// A turn.
    Run(Box<RunOrder>),
    /// A method of the protocol.
    Call(Box<CallOrder>),
    /// What a hook asks for.
    Hook(Box<HookOrder>),
}

/// Who asks over HTTP.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Address of the client.
    pub ip: IpAddr,
    /// A direct request from this machine (`spec/http.md` 5.2).
    pub local: bool,
    /// Bearer credential.
    pub bearer: Option<String>,
}

/// What the state answers to HTTP.
#[derive(Debug, Clone)]
pub enum HttpAnswer {
    /// To a probe.
    Probe {
        /// Parts that are not ready.
        failing: Vec<&'static str>,
        /// Milliseconds since start.
        uptime_ms: u64,
        /// Whether the caller may see more than `ok`.
        detailed: bool,
    },
    /// The program may.
    Admitted(Grant),
    /// It is for a hook and may pass, by this configuration, or is refused; none when it is for no hook.
    Hook(Option<Result<Arc<Config>, Box<Reply>>>),
    /// By these.
    Embeddings(Box<Setting>),
    /// So much.
    Metrics(Box<Snapshot>),
    /// It may not; this is what it is told.
    Refused(Box<Reply>),
    /// What tools need, or why there are none.
    Tools(Result<Box<Ground>, WireError>),
    /// For this one.
    Aimed(Box<Target>),
    /// These.
    Agents(Vec<String>),
    /// This.
    Earlier(Known),
}

/// What the state thread wants to be woken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// The oldest connection without a handshake is due. One timer for all: one each would stay in the
    /// heap long after its connection.
    Handshake,
    /// Broadcast `tick`.
    Tick,
    /// Ping everyone and drop who did not answer the last one.
    Ping,
    /// Forget what has expired.
    Sweep,
    /// A presence broadcast that was held back is due.
    Presence,
    /// Refresh the health object; the next one is a minute later.
    Health,
    /// Refresh the health object once, because something changed.
    HealthSoon,
    /// Tell the service manager that the state thread is alive.
    Watchdog,
    /// Stop waiting for clients to leave.
    Shutdown,
    /// A chat delta was held back.
    ChatDelta(RunNo),
    /// A run should have ended by now.
    RunOverdue(RunNo),
    /// A run that was told to stop should have ended long ago.
    RunStuck(RunNo),
    /// A client has waited long enough for a session to be deleted.
    DeleteWait(u64),
    /// Save session indexes that nobody waits for.
    SaveSessions,
    /// Messages that waited for silence may be due.
    Runs,
    /// A heartbeat may be due.
    Heartbeat,
    /// A scheduled job may be due.
    Cron,
    /// An approval may have expired.
    Approvals,
    /// A tool has waited long enough for a turn.
    ToolWait(u64),
    /// A client has waited long enough for a run.
    AgentWait(u64),
}

/// How a queued event behaves towards a slow client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Skipped.
    Droppable,
    /// Closes the client with 1008.
    Required,
}

/// What the core does for the state.
pub enum Effect {
    /// A text frame to one connection.
    Send(ConnId, Bytes),
    /// One event to many: the frame up to `"seq":`, and each receiver with its number.
    Broadcast {
        /// Receivers with their sequence numbers.
        to: Vec<(ConnId, u64)>,
        /// The shared bytes.
        head: Bytes,
        /// What happens to slow ones.
        class: Class,
    },
    /// A WebSocket ping.
    Ping(ConnId),
    /// The handshake succeeded: release the pre-auth permit, tell the reader its new limits.
    Admit(ConnId, Admission),
    /// Queue a close frame behind everything queued before and end the connection.
    Close(ConnId, u16, String),
    /// The reader has gone: forget the link.
    Forget(ConnId),
    /// Answer a waiting HTTP handler.
    Answer(u64, HttpAnswer),
    /// Tell a waiting HTTP handler something.
    Feed(u64, Feed),
    /// Have the disk thread do something; `then` comes back with the result.
    Disk(Job, Then),
    /// Have the errand thread answer something.
    Errand(Errand, Then),
    /// Give a run a thread.
    StartRun(RunNo, Box<RunSpec>),
    /// Answer a waiting tool.
    AnswerTool(u64, ToolReply),
    /// Tell a tool what was decided.
    Decide(u64, Option<Decision>),
    /// Tell a run's thread to stop.
    StopRun(RunNo, AbortReason),
    /// Wake the state thread after this long.
    Timer(Duration, Timer),
    /// Tell the supervisor something (`sd_notify`).
    Notify(Notice),
    /// Refuse new connections from now on.
    StopAccepting,
    /// Whether hooks are served, so that connections ask for them only then.
    Hooks(bool),
    /// Leave the loop.
    Exit,
}

/// What a tool is answered.
#[derive(Debug)]
pub enum ToolReply {
    /// This.
    Value(Value),
    /// What stands at the end of this transcript; the tool's thread reads it itself.
    Read {
        /// The session.
        key: String,
        /// Its transcript.
        path: Option<PathBuf>,
        /// Messages.
        limit: usize,
        /// Whether results of tools are among them.
        include_tools: bool,
    },
    /// The response to what it called.
    Frame(Bytes),
    /// The request for approval was filed; the decision comes by itself.
    Filed {
        /// Its id.
        id: String,
        /// When it expires.
        expires_at_ms: u64,
    },
    /// What the person said meanwhile.
    Said(Vec<Vec<Block>>),
    /// No.
    Refused(DeskFault),
}

/// What a supervisor is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The gateway is stopping.
    Stopping,
    /// The state thread is alive.
    Alive,
}

/// What a finished handshake means for the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// Largest message from now on, bytes.
    pub max_message: usize,
    /// Outbound bytes from which the connection counts as slow.
    pub max_buffered: usize,
}

/// A result payload: built now, or kept serialised.
#[derive(Debug)]
pub enum Answer {
    /// A value to serialise.
    Json(Value),
    /// Serialised before.
    Raw(Arc<str>),
    /// The answer comes with a later event.
    Later,
}

/// What every handler returns.
pub type Handled = Result<Answer, WireError>;
