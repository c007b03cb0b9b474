//! Everything the gateway knows while it runs, owned by the state thread alone.
//! Small methods without I/O, clock or randomness of their own.

use std::sync::Arc;
use std::time::Duration;

use super::access::Access;
use super::auth::{LoginLimits, Logins, Secrets};
use super::conn::Peer;
use super::connect_params::Client;
use super::cron::Cron;
use super::dedupe::Memory;
use super::event::{Call, ConnId, Effect, Input, Timer};
use super::health::HealthCache;
use super::heartbeats::Heartbeats;
use super::hooks::HookBook;
use super::journal::{Journal, OpenRun};
use super::methods::session_write::Deletion;
use super::metrics::Counts;
use super::model_memory::ModelMemory;
use super::pairing::Change;
use super::pairing_devices::{DeviceBook, TokenForm};
use super::pairing_nodes::NodeBook;
use super::presence::{OwnFacts, Presence, PresenceKey};
use super::programs::previous::Previous;
use super::retention::Sweeps;
use super::runs::Runs;
use super::sessions::SessionBook;
use super::system_events::SystemEvents;
use super::tool_asks::Approver;
use super::trouble::Record;
use super::watch::Watch;
use crate::agent::http;
use crate::agent::tool::approval::pending::Approvals;
use crate::config::env::Env;
use crate::config::model::Config;
use crate::config::paths::Paths;
use crate::http::api::Surface;
use crate::limits;
use crate::protocol::errors::WireError;
use crate::sys::clock::Now;
use crate::sys::id::Entropy;
use crate::sys::table::Table;
use crate::sys::zone::Zone;

/// Facts that hold for the life of the process.
pub struct Facts {
    /// Program version.
    pub version: &'static str,
    /// Host name.
    pub host: String,
    /// First address that is not loopback.
    pub ip: Option<String>,
    /// `linux 6.1.0` and the like.
    pub platform: String,
    /// CPU architecture as Node names it.
    pub arch: &'static str,
    /// Port in use.
    pub port: u16,
    /// Where this instance keeps its files.
    pub paths: Paths,
    /// Time zone of message stamps.
    pub zone: Zone,
    /// The environment the configuration was read in.
    pub env: Arc<Env>,
    /// Proxies and certificates of that environment.
    pub http: http::Settings,
    /// The gateway's own device id and public key.
    pub identity: Option<(String, String)>,
    /// Whether the log shows requests as they come in, not only with their answers.
    pub log_requests: bool,
    /// Interval of the `tick` event.
    pub tick: Duration,
    /// Time a handshake may take.
    pub handshake: Duration,
    /// Interval in which the service manager wants a sign of life.
    pub watchdog: Option<Duration>,
    /// Monotonic time of the start.
    pub started: Duration,
}

/// Where a connection stands.
pub enum Phase {
    /// The challenge was sent.
    Challenged {
        /// The challenge's nonce.
        nonce: String,
    },
    /// The handshake succeeded; `hello-ok` waits for the disk.
    Joining(Box<Session>),
    /// In use.
    Ready(Box<Session>),
    /// A close frame is queued; whatever still comes in is ignored.
    Closing(Option<Box<Session>>),
}

/// One WebSocket.
pub struct Conn {
    /// Who it is, as far as the upgrade request tells.
    pub peer: Peer,
    /// Where it stands.
    pub phase: Phase,
    /// Its public id, a UUID.
    pub public_id: String,
    /// When it was opened.
    pub opened: Duration,
    /// A ping was sent and nothing has come since.
    pub pinged: bool,
    /// Requests of this connection that wait for the disk.
    pub reads: usize,
}

/// What the handshake established.
#[derive(Debug, Clone)]
pub struct Session {
    /// Negotiated protocol, 3 or 4.
    pub protocol: u8,
    /// `operator` or `node`.
    pub role: Role,
    /// Effective scopes.
    pub scopes: Vec<String>,
    /// What the client says of itself.
    pub client: Client,
    /// The device, if one was proven.
    pub device_id: Option<String>,
    /// Key in the presence list, if this client is shown there.
    pub presence_key: Option<PresenceKey>,
    /// How it authenticated.
    pub method: &'static str,
    /// Declared capabilities.
    pub caps: Vec<String>,
    /// Invokable commands of a node, filtered by the platform's allowlist.
    pub commands: Vec<String>,
    /// Permissions a node declares.
    pub permissions: Option<Table<String, bool>>,
    /// A node's search path.
    pub path_env: Option<String>,
    /// Wall-clock time of the handshake, milliseconds.
    pub connected_ms: u64,
    /// Events sent so far.
    pub seq: u64,
    /// Unauthorised calls in a row.
    pub unauthorized: u32,
}

/// What a connection is allowed to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A person's or program's control connection.
    Operator,
    /// A device that lends abilities.
    Node,
}

impl Role {
    /// The role's name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Role::Operator => "operator",
            Role::Node => "node",
        }
    }
}

/// Numbers about the process's life.
#[derive(Debug, Default, Clone)]
pub struct Counters {
    /// WebSockets opened.
    pub opened: u64,
    /// Handshakes that succeeded.
    pub admitted: u64,
    /// Handshakes that were refused.
    pub refused: u64,
    /// Requests answered.
    pub requests: u64,
    /// Requests answered with an error.
    pub failed: u64,
}

/// When the next presence broadcast may go out.
#[derive(Default)]
pub struct PresenceGate {
    /// Time of the last broadcast.
    pub last: Option<Duration>,
    /// A broadcast is held back and its timer set.
    pub held: bool,
}

/// When the next health refresh may run.
#[derive(Default)]
pub struct HealthGate {
    /// A refresh is due by timer.
    pub held: bool,
}

/// All of it.
pub struct State {
    /// Unchanging facts.
    pub facts: Facts,
    /// The configuration in force; replaced whole.
    pub config: Arc<Config>,
    /// Warnings of the last configuration load, for `health`.
    pub config_warnings: usize,
    /// What clients must present.
    pub secrets: Secrets,
    /// How a newly read configuration becomes secrets.
    pub access: Access,
    /// Origins that browsers may come from.
    pub allowed_origins: Vec<String>,
    /// Source of ids, nonces and tokens.
    pub entropy: Entropy,
    /// Every open WebSocket, by number.
    pub conns: Table<ConnId, Box<Conn>>,
    /// Calls of HTTP programs that wait for their answers, as connections that nobody sees.
    pub calls: Table<ConnId, Session>,
    /// The timer for handshakes that take too long is set.
    pub handshakes_timed: bool,
    /// Who is there.
    pub presence: Presence,
    /// Distance of presence broadcasts.
    pub presence_gate: PresenceGate,
    /// The health object.
    pub health: HealthCache,
    /// Distance of health refreshes.
    pub health_gate: HealthGate,
    /// Paired devices and pending requests.
    pub devices: DeviceBook,
    /// What of the device book is not on disk and nobody waits for.
    pub devices_unsaved: Change,
    /// Paired nodes and pending requests.
    pub nodes: NodeBook,
    /// What of the node book is not on disk and nobody waits for.
    pub nodes_unsaved: Change,
    /// Answers to calls that may be repeated.
    pub memory: Memory,
    /// Failed logins by address.
    pub logins: Logins,
    /// Hooks: wrong tokens, turns, requests that may be repeated.
    pub hooks: HookBook,
    /// Answers of `/v1/responses` that programs may name.
    pub previous: Previous,
    /// Sessions of all agents.
    pub sessions: SessionBook,
    /// Runs that have not ended.
    pub runs: Runs,
    /// Commands that wait for an operator's word.
    pub approvals: Approvals<Approver>,
    /// Calls that wait for the session indexes.
    pub held: Vec<(ConnId, String, Call)>,
    /// What programs want that waits for them too.
    pub held_inputs: Vec<Input>,
    /// Sessions that go when their turns have stopped.
    pub deletions: Vec<Deletion>,
    /// Number of the last one.
    pub next_deletion: u64,
    /// Turns that have not ended, as they stand on disk.
    pub journal: Journal,
    /// Turns the last process broke off, until the indexes are there.
    pub broken_off: Vec<OpenRun>,
    /// When the next look at approvals is due, on the monotonic clock.
    pub approvals_at: Option<Duration>,
    /// What turns have learnt about models.
    pub models: ModelMemory,
    /// When sessions were let go.
    pub sweeps: Sweeps,
    /// Interfaces that somebody asked for while they are off; the log says of each once what switches it on.
    pub asked_off: Vec<Surface>,
    /// A save of the indexes is due by timer.
    pub sessions_gate: bool,
    /// Who follows which sessions.
    pub watch: Watch,
    /// Heartbeats.
    pub heartbeats: Heartbeats,
    /// Lines waiting for the next turns of sessions.
    pub system_events: SystemEvents,
    /// Scheduled work.
    pub cron: Cron,
    /// Numbers.
    pub counters: Counters,
    /// More numbers, for `/metrics` alone.
    pub metrics: Counts,
    /// What went wrong.
    pub trouble: Record,
    /// The gateway is on its way out.
    pub stopping: bool,
}

impl Facts {
    /// What the presence list says of the gateway itself.
    pub fn own(&self) -> OwnFacts {
        let family = match self.platform.split(' ').next() {
            Some("macos") => "Mac",
            Some("windows") => "Windows",
            _ => "Linux",
        };
        OwnFacts {
            host: self.host.clone(),
            ip: self.ip.clone().unwrap_or_else(|| self.host.clone()),
            version: self.version.to_string(),
            platform: self.platform.clone(),
            device_family: family.to_string(),
            model_identifier: self.arch.to_string(),
        }
    }
}

/// What a state is made of at the start.
pub struct Beginning {
    /// Unchanging facts.
    pub facts: Facts,
    /// The configuration.
    pub config: Arc<Config>,
    /// How many warnings it gave.
    pub config_warnings: usize,
    /// Where the secrets come from.
    pub access: Access,
    /// Origins that browsers may come from.
    pub allowed_origins: Vec<String>,
    /// Source of ids, nonces and tokens.
    pub entropy: Entropy,
    /// Devices as stored.
    pub devices: DeviceBook,
    /// Nodes as stored.
    pub nodes: NodeBook,
}

impl State {
    /// The state before the first event: nobody is connected.
    pub fn new(beginning: Beginning) -> State {
        let Beginning { facts, config, config_warnings, access, allowed_origins, entropy, devices, nodes } = beginning;
        let runs = Runs::new(config.agents.defaults.max_concurrent);
        State {
            presence: Presence::new(&facts.own()),
            facts,
            logins: Logins::new(login_limits(&config)),
            previous: Previous::default(),
            config,
            config_warnings,
            secrets: access.now(),
            access,
            allowed_origins,
            entropy,
            conns: Table::new(),
            hooks: HookBook::default(),
            calls: Table::new(),
            handshakes_timed: false,
            presence_gate: PresenceGate::default(),
            health: HealthCache::default(),
            health_gate: HealthGate::default(),
            devices,
            devices_unsaved: Change::NONE,
            nodes,
            nodes_unsaved: Change::NONE,
            memory: Memory::default(),
            sessions: SessionBook::default(),
            runs,
            approvals: Approvals::default(),
            held: Vec::new(),
            held_inputs: Vec::new(),
            deletions: Vec::new(),
            next_deletion: 0,
            journal: Journal::default(),
            broken_off: Vec::new(),
            approvals_at: None,
            models: ModelMemory::default(),
            sweeps: Sweeps::default(),
            asked_off: Vec::new(),
            sessions_gate: false,
            watch: Watch::default(),
            heartbeats: Heartbeats::default(),
            system_events: SystemEvents::default(),
            cron: Cron::default(),
            counters: Counters::default(),
            metrics: Counts::default(),
            trouble: Record::default(),
            stopping: false,
        }
    }

    /// What is to be done before the first event.
    pub fn start(&mut self, now: Now, fx: &mut Vec<Effect>) {
        self.metrics_begin(now);
        self.refresh_health(now, fx);
        self.load_sessions(fx);
        self.hooks_in_force(fx);
        self.plan_heartbeats(now, fx);
        self.load_cron(fx);
        fx.push(Effect::Timer(self.facts.tick, Timer::Tick));
        fx.push(Effect::Timer(limits::PING, Timer::Ping));
        fx.push(Effect::Timer(limits::SWEEP, Timer::Sweep));
        fx.push(Effect::Timer(limits::HEALTH_AGE, Timer::Health));
        if let Some(interval) = self.facts.watchdog {
            fx.push(Effect::Timer(interval, Timer::Watchdog));
        }
    }

    /// The session of a connection in use.
    pub fn session(&self, conn: ConnId) -> Option<&Session> {
        match self.conns.get(&conn).map(|entry| &entry.phase) {
            Some(Phase::Ready(session)) => Some(session),
            Some(_) => None,
            None => self.calls.get(&conn),
        }
    }

    /// The session of a connection in use, to change.
    pub fn session_mut(&mut self, conn: ConnId) -> Option<&mut Session> {
        match self.conns.get_mut(&conn).map(|entry| &mut entry.phase) {
            Some(Phase::Ready(session)) => Some(session),
            Some(_) => None,
            None => self.calls.get_mut(&conn),
        }
    }

    /// All connections in use.
    pub fn sessions_in_use(&self) -> impl Iterator<Item = (ConnId, &Conn, &Session)> {
        self.conns.iter().filter_map(|(id, conn)| match &conn.phase {
            Phase::Ready(session) => Some((*id, conn.as_ref(), session.as_ref())),
            _ => None,
        })
    }

    /// Ends a connection from our side. Its client stays listed until the reader has gone.
    pub fn close(&mut self, conn: ConnId, code: u16, reason: impl Into<String>, fx: &mut Vec<Effect>) {
        let Some(entry) = self.conns.get_mut(&conn) else { return };
        let session = match std::mem::replace(&mut entry.phase, Phase::Closing(None)) {
            Phase::Closing(session) => {
                entry.phase = Phase::Closing(session);
                return;
            }
            Phase::Ready(session) => Some(session),
            Phase::Challenged { .. } | Phase::Joining(_) => None,
        };
        entry.phase = Phase::Closing(session);
        let reason = reason.into();
        log::debug!(target: "gateway/ws", "→ close conn={conn} code={code} reason={reason}");
        fx.push(Effect::Close(conn, code, reason));
    }

    /// Counts a request that will wait for the disk; one connection cannot fill the disk thread's queue.
    pub fn read_begins(&mut self, conn: ConnId) -> Result<(), WireError> {
        let Some(entry) = self.conns.get_mut(&conn) else { return Ok(()) };
        if entry.reads >= limits::READS_PER_CONNECTION {
            return Err(WireError::unavailable(
                "too many reads of this connection are waiting; wait for their answers",
            ));
        }
        entry.reads += 1;
        Ok(())
    }

    /// The disk has answered it.
    pub fn read_done(&mut self, conn: ConnId) {
        if let Some(entry) = self.conns.get_mut(&conn) {
            entry.reads = entry.reads.saturating_sub(1);
        }
    }

    /// Time since the gateway started.
    pub fn uptime(&self, now: Now) -> Duration {
        now.mono.saturating_sub(self.facts.started)
    }
}

fn login_limits(config: &Config) -> LoginLimits {
    let limit = &config.gateway.auth.rate_limit;
    LoginLimits {
        attempts: limit.max_attempts,
        window_ms: super::health::millis(limit.window),
        lockout_ms: super::health::millis(limit.lockout),
        exempt_loopback: limit.exempt_loopback,
    }
}

/// A new device token.
pub fn device_token(entropy: &mut Entropy, form: TokenForm) -> String {
    match form {
        TokenForm::Hex32 => entropy.hex(16),
        TokenForm::Base64Url43 => entropy.base64url(32),
    }
}
