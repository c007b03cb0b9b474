//! Event scripts: the pure core is fed inputs under a fake clock, and what it wants done is compared.
//! Test code only.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::access::Access;
use super::conn::Peer;
use super::connect_params::ConnectRequest;
use super::disk::{Done, Job, Then};
use super::event::{Call, ConnId, Effect, Ended, Inbound, Input, Timer};
use super::handle::handle;
use super::pairing_devices::DeviceBook;
use super::pairing_nodes::NodeBook;
use super::state::{Beginning, Facts, State};
use crate::agent::http;
use crate::config::model::Config;
use crate::config::resolve::{AuthMode, AuthPlan, Source};
use crate::config::{Env, Paths, Profile, Secret};
use crate::limits;
use crate::protocol::{check, methods};
use crate::sys::clock::Now;
use crate::sys::id::Entropy;
use crate::sys::zone::Zone;

/// A core with a fake clock and nothing else.
pub struct Script {
    /// The state under test.
    pub state: State,
    now: Now,
    effects: Vec<Effect>,
}

/// What the core wanted done, in the words of a test.
#[derive(Debug, Clone, PartialEq)]
pub enum Did {
    /// A frame to one connection.
    Sent(u64, Value),
    /// An event to these connections, each with its number.
    Broadcast(String, Value, Vec<(u64, u64)>),
    /// A close frame.
    Closed(u64, u16, String),
    /// The handshake succeeded.
    Admitted(u64),
    /// A ping.
    Pinged(u64),
    /// Files to write.
    Wrote(Vec<String>),
    /// The loop ends.
    Exit,
}

impl Script {
    /// A gateway with token `secret` and this configuration.
    pub fn new(config: Value) -> Script {
        let env = Env::of([("HOME", "/nowhere")]);
        let paths = Paths::resolve(&env, &Profile::none());
        let config = Config::from_value(config);
        let entropy = Entropy::from_seed([7; 32]);
        let now = Now { mono: Duration::from_secs(1), wall_ms: 1_760_000_000_000 };
        let plan = AuthPlan {
            mode: AuthMode::Token,
            token: Some(Secret::new("secret")),
            password: None,
            source: Source::Config,
            generated: false,
        };
        let state = State::new(Beginning {
            facts: facts(paths, now),
            config: Arc::new(config),
            config_warnings: 0,
            access: Access::of(plan),
            allowed_origins: Vec::new(),
            entropy,
            devices: DeviceBook::default(),
            nodes: NodeBook::default(),
        });
        Script { state, now, effects: Vec::new() }
    }

    /// Sets the clock.
    pub fn set_now(&mut self, now: Now) {
        self.now = now;
    }

    /// Lets time pass.
    pub fn wait(&mut self, time: Duration) {
        self.now.mono += time;
        self.now.wall_ms += u64::try_from(time.as_millis()).unwrap();
    }

    /// What both clocks say.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Sets the clock on the wall; what counts the time since the start goes on.
    pub fn set_clock(&mut self, wall_ms: u64) {
        self.now.wall_ms = wall_ms;
    }

    /// Feeds one input and says what was done; disk jobs are done at once and succeed.
    pub fn feed(&mut self, input: Input) -> Vec<Did> {
        self.feed_with(input, |_| Ok(()))
    }

    /// The same with a disk that may refuse to write.
    pub fn feed_with(&mut self, input: Input, disk: impl Fn(&[String]) -> Result<(), String>) -> Vec<Did> {
        let mut did = Vec::new();
        handle(&mut self.state, input, self.now, &mut self.effects);
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                self.perform(effect, &disk, &mut did);
            }
        }
        did
    }

    fn perform(&mut self, effect: Effect, disk: &impl Fn(&[String]) -> Result<(), String>, did: &mut Vec<Did>) {
        match effect {
            Effect::Send(conn, bytes) => did.push(Did::Sent(conn.0, serde_json::from_slice(&bytes).unwrap())),
            Effect::Broadcast { to, head, .. } => {
                let text = format!("{}0}}", std::str::from_utf8(&head).unwrap());
                let frame: Value = serde_json::from_str(&text).unwrap();
                let name = frame["event"].as_str().unwrap().to_string();
                let to = to.iter().map(|(conn, seq)| (conn.0, *seq)).collect();
                did.push(Did::Broadcast(name, frame["payload"].clone(), to));
            }
            Effect::Close(conn, code, reason) => did.push(Did::Closed(conn.0, code, reason)),
            Effect::Admit(conn, _) => did.push(Did::Admitted(conn.0)),
            Effect::Ping(conn) => did.push(Did::Pinged(conn.0)),
            Effect::Exit => did.push(Did::Exit),
            Effect::Disk(Job::Write(files), then) => {
                let names: Vec<String> =
                    files.iter().map(|file| file.path.file_name().unwrap().to_string_lossy().into_owned()).collect();
                let done = Done::Written(disk(&names));
                did.push(Did::Wrote(names));
                self.stored(then, done);
            }
            _ => {}
        }
    }

    fn stored(&mut self, then: Then, done: Done) {
        handle(&mut self.state, Input::Stored { then, done }, self.now, &mut self.effects);
    }

    /// Feeds one input and gives back what is wanted, undone: for tests in which the disk takes its time.
    pub fn raw(&mut self, input: Input) -> Vec<Effect> {
        handle(&mut self.state, input, self.now, &mut self.effects);
        std::mem::take(&mut self.effects)
    }

    /// Opens a connection from this machine.
    pub fn open(&mut self, conn: u64) -> Vec<Did> {
        let peer = Peer {
            addr: "127.0.0.1:5000".parse().unwrap(),
            host: Some("127.0.0.1:18789".to_string()),
            origin: None,
            user_agent: None,
            proxy_user: None,
        };
        self.feed(Input::Opened { conn: ConnId(conn), peer })
    }

    /// Sends `connect`.
    pub fn connect(&mut self, conn: u64, params: Value) -> Vec<Did> {
        let faults = check::check(methods::find("connect").unwrap().params, &params);
        assert!(faults.is_empty(), "{faults:?}");
        let request = ConnectRequest::read(params).map(Box::new);
        self.feed(Input::Frame { conn: ConnId(conn), frame: Inbound::Connect { id: "c".into(), request } })
    }

    /// Opens and connects in one go; the client is `gateway-client` with everything allowed.
    pub fn join(&mut self, conn: u64, protocol: u8) -> Vec<Did> {
        self.open(conn);
        self.connect(conn, hello(protocol))
    }

    /// Calls a method with checked parameters.
    pub fn call(&mut self, conn: u64, method: &str, params: Value) -> Vec<Did> {
        self.feed(request(conn, method, params))
    }

    /// The peer closes.
    pub fn leave(&mut self, conn: u64) -> Vec<Did> {
        self.feed(Input::Closed { conn: ConnId(conn), why: Ended::ByPeer(1000) })
    }

    /// A timer is due.
    pub fn timer(&mut self, timer: Timer) -> Vec<Did> {
        self.feed(Input::Timer(timer))
    }
}

fn facts(paths: Paths, now: Now) -> Facts {
    Facts {
        version: "1.2.3",
        host: "gatehouse".to_string(),
        ip: Some("192.0.2.10".to_string()),
        platform: "linux 6.1".to_string(),
        arch: "x64",
        port: 18789,
        paths,
        identity: None,
        zone: Zone::utc(),
        env: Arc::new(Env::of([])),
        http: http::Settings::default(),
        log_requests: false,
        tick: limits::TICK,
        handshake: limits::HANDSHAKE,
        watchdog: None,
        started: now.mono,
    }
}

/// A request as the reader hands it over.
pub fn request(conn: u64, method: &str, params: Value) -> Input {
    let call = match methods::find(method) {
        Some(row) => {
            let faults = check::check(row.params, &params);
            Call::Known(row, if faults.is_empty() { Ok(params) } else { Err(row.refuse(&faults)) })
        }
        None => Call::Unknown(method.to_string()),
    };
    Input::Frame { conn: ConnId(conn), frame: Inbound::Call { id: "r".into(), call } }
}

/// Parameters of a `connect` with the right token.
pub fn hello(protocol: u8) -> Value {
    json!({
        "minProtocol": protocol, "maxProtocol": protocol,
        "client": {"id": "gateway-client", "version": "1", "platform": "linux", "mode": "ui"},
        "role": "operator", "scopes": ["operator.admin"], "auth": {"token": "secret"},
    })
}

/// Names of the broadcasts among what was done.
pub fn events(did: &[Did]) -> Vec<&str> {
    did.iter().filter_map(|did| if let Did::Broadcast(name, ..) = did { Some(name.as_str()) } else { None }).collect()
}

/// The only frame sent to this connection.
pub fn answer(did: &[Did], conn: u64) -> Value {
    let frames: Vec<&Value> = did
        .iter()
        .filter_map(|did| {
            if let Did::Sent(to, frame) = did
                && *to == conn
            {
                Some(frame)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(frames.len(), 1, "{did:?}");
    frames[0].clone()
}
