//! Sockets: accepting, reading, writing. One reader thread per connection, which starts as an HTTP
//! connection and may become a WebSocket with a writer thread beside it.
//! Talks to the state thread through channels only; owns no gateway state.

pub mod accept;
mod body;
pub mod gate;
pub mod http;
pub mod outbox;
mod program;
pub mod reader;
pub mod refusals;
pub mod session;
pub mod tally;
pub mod writer;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
pub use tungstenite::Bytes;

use super::event::{Admission, ConnId, Event, HttpAnswer, HttpAsk, Input};
use crate::http::locality::{Proxies, RealIp};
use crate::http::proxy_login::ProxyLogin;
use crate::limits;
use crate::sys::queue;
use crate::sys::thread::Worker;
use gate::{Permit, Total};
use outbox::Outbox;
use tally::Tally;

/// What the upgrade request says about the peer.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Address of the client: the socket's, or the one a trusted proxy vouches for.
    pub addr: SocketAddr,
    /// `Host` header.
    pub host: Option<String>,
    /// `Origin` header.
    pub origin: Option<String>,
    /// `User-Agent` header.
    pub user_agent: Option<String>,
    /// The user a trusted proxy vouches for, where that is how people log in.
    pub proxy_user: Option<String>,
}

/// The core's ends of one connection.
pub struct Link {
    /// The way to the writer.
    pub outbox: Outbox,
    /// Held until the handshake succeeds.
    pub permit: Option<Permit>,
    /// Where the reader waits for the verdict on its `connect`.
    pub admission: Option<queue::Sender<Admission>>,
    /// Outbound bytes from which the connection counts as slow.
    pub max_buffered: usize,
    /// One for each message in the state thread's queue; taken out with the message.
    pub turns: Receiver<()>,
}

/// What every connection thread shares: immutable settings, counters, the way to the state thread.
pub struct Hub {
    /// The state thread's queue.
    pub events: Sender<Event>,
    /// Set when the gateway stops: no new connections.
    pub stopping: AtomicBool,
    /// Set while hooks are served, or until it is known: paths that are nobody's may be theirs.
    pub hooks: AtomicBool,
    /// Settings that stay for the life of the process.
    pub settings: HubSettings,
    /// How many connections there are.
    pub total: Total,
    /// What is counted for `/metrics`.
    pub tally: Tally,
    /// Reads first messages: their deep stack (typed parameters, a signature) would stay with every connection.
    pub clerk: Worker,
    /// Bytes of request bodies in memory.
    pub bodies: Arc<AtomicUsize>,
    /// Requests for embeddings that are worked on: one message for each.
    pub embeddings: (Sender<()>, Receiver<()>),
    /// Tools that run for programs.
    pub tools: Arc<AtomicUsize>,
    next: AtomicU64,
}

/// Settings of the front door.
pub struct HubSettings {
    /// Addresses whose forwarding headers count.
    pub proxies: Proxies,
    /// Whether a trusted proxy's `X-Real-IP` counts too.
    pub real_ip: RealIp,
    /// How a trusted proxy names the user, in trusted-proxy mode.
    pub proxy_login: Option<ProxyLogin>,
    /// Value of `Strict-Transport-Security`, if configured.
    pub hsts: Option<String>,
}

impl Hub {
    /// A hub in front of this queue.
    pub fn new(events: Sender<Event>, settings: HubSettings, total: Total) -> io::Result<Arc<Hub>> {
        Ok(Arc::new(Hub {
            events,
            stopping: AtomicBool::new(false),
            hooks: AtomicBool::new(true),
            settings,
            total,
            tally: Tally::default(),
            clerk: Worker::start("clerk", limits::STACK_PARSER)?,
            bodies: Arc::default(),
            tools: Arc::default(),
            embeddings: bounded(limits::EMBED_AT_ONCE),
            next: AtomicU64::new(1),
        }))
    }

    /// A number no other connection has.
    pub fn next_conn(&self) -> ConnId {
        ConnId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// A number no other order of a program has.
    pub fn next_ticket(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Hands input to the state thread; waits while its queue is full. `false`: the gateway has ended.
    pub fn tell(&self, input: Input) -> bool {
        self.events.send(Event::Input(input)).is_ok()
    }

    /// Asks the state thread and waits for the answer, but not for long.
    pub fn ask(&self, ask: HttpAsk) -> Option<HttpAnswer> {
        let (reply, answer) = queue::bounded(1);
        self.events.send_timeout(Event::Http { ask, reply }, limits::STATE_REPLY).ok()?;
        answer.recv_timeout(limits::STATE_REPLY).ok()
    }

    /// Whether the gateway is on its way out.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// Both ends of a verdict: the core's and the reader's.
pub fn verdict() -> (queue::Sender<Admission>, queue::Receiver<Admission>) {
    queue::bounded(1)
}

/// The smallest timeout a socket accepts: zero would mean "wait for ever".
pub const SHORTEST: Duration = Duration::from_millis(1);
