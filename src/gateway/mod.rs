//! The daemon: boot, the state thread's loop, shutdown. See `lib.rs` for the map.
//! Knows nothing of the command line; everything it needs is in [`Boot`].

pub mod access;
pub mod agent_files;
pub mod approvals_file;
pub mod attachments;
pub mod auth;
pub mod beacon;
mod broadcast;
mod commit;
pub mod conn;
pub mod connect_params;
pub mod core;
pub mod cron;
pub mod dedupe;
pub mod deliver;
pub mod desk;
pub mod device;
pub mod disk;
pub mod dispatch;
pub mod errand;
pub mod event;
pub mod field;
pub mod handle;
pub mod handshake;
pub mod health;
#[cfg(test)]
mod heartbeat_tests;
mod heartbeat_turns;
pub mod heartbeats;
pub mod hello;
pub mod hooks;
pub mod intake;
pub mod journal;
#[cfg(test)]
mod journal_tests;
mod living;
pub mod logins;
pub mod methods;
pub mod metrics;
mod model_memory;
pub mod no_device;
pub mod node_commands;
pub mod node_list;
pub mod notes;
pub mod origin;
pub mod pairing;
pub mod pairing_devices;
pub mod pairing_nodes;
pub mod presence;
pub mod programs;
mod renewal;
mod retention;
pub mod roster;
pub mod runs;
#[cfg(test)]
mod script;
#[cfg(test)]
mod script_tests;
pub mod session_change;
pub mod session_key;
#[cfg(test)]
mod session_tests;
pub mod sessions;
pub mod start;
pub mod state;
pub mod system_events;
pub mod timers;
pub mod tool_asks;
pub mod transcripts;
pub mod trouble;
pub mod usage;
pub mod watch;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use crossbeam_channel::{Sender, bounded};

use self::conn::gate::Total;
use self::conn::{Hub, HubSettings, accept};
use self::core::Core;
use self::disk::Place;
use self::event::{Event, Input};
use crate::config::env::Env;
use crate::config::load::Snapshot;
use crate::config::paths::Paths;
use crate::config::resolve::Plan;
use crate::http::locality::RealIp;
use crate::limits;
use crate::sys::clock::Clock;
use crate::sys::host;
use crate::sys::notify::Notifier;
use crate::sys::signals::{self, SignalError};

/// Everything the gateway needs to know before it starts.
pub struct Boot {
    /// What the start-up checks decided.
    pub plan: Plan,
    /// The configuration.
    pub snapshot: Snapshot,
    /// Where files are.
    pub paths: Paths,
    /// The environment.
    pub env: Env,
    /// The clock, started as early as possible.
    pub clock: Clock,
    /// The file the log goes to now.
    pub log_file: Box<dyn Fn() -> Option<PathBuf> + Send + Sync>,
    /// The way to the service manager.
    pub notifier: Notifier,
}

/// Why the gateway did not start.
#[derive(Debug)]
pub enum StartError {
    /// Another program has the port.
    PortBusy(SocketAddr),
    /// The address cannot be bound.
    Bind(SocketAddr, io::Error),
    /// Another gateway uses the same state directory.
    Locked(PathBuf, String),
    /// A state file cannot be read; going on would overwrite it.
    State(PathBuf, String),
    /// A file of the state cannot be made.
    Unwritable(PathBuf, io::Error),
    /// The system refuses something.
    System(&'static str, io::Error),
    /// Signals cannot be handled.
    Signals(SignalError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::PortBusy(addr) => write!(f, "another gateway instance is already listening on ws://{addr}"),
            StartError::Bind(addr, cause) => write!(f, "failed to bind gateway socket on ws://{addr}: {cause}"),
            StartError::Locked(file, owner) => {
                write!(f, "gateway already running{owner}; lock timeout on {}", file.display())
            }
            StartError::State(file, cause) => write!(f, "cannot read {}: {cause}", file.display()),
            StartError::Unwritable(file, cause) => write!(f, "cannot write {}: {cause}", file.display()),
            StartError::System(what, cause) => write!(f, "{what}: {cause}"),
            StartError::Signals(cause) => write!(f, "{cause}"),
        }
    }
}

impl std::error::Error for StartError {}

/// The listeners: having them is the lock on the port, so they come before anything else.
pub struct Listeners {
    /// Bound sockets with their addresses, the primary first.
    pub sockets: Vec<(TcpListener, SocketAddr)>,
    /// Aliases that could not be bound, with the reason.
    pub missing: Vec<(SocketAddr, io::Error)>,
}

/// Binds every address of the plan; only the loopback alias may fail.
pub fn listen(plan: &Plan) -> Result<Listeners, StartError> {
    let mut listeners = Listeners { sockets: Vec::new(), missing: Vec::new() };
    let mut port = plan.port;
    let optional = plan.optional_hosts.iter().map(|host| (host, true));
    for (host, optional) in plan.hosts.iter().map(|host| (host, false)).chain(optional) {
        let addr = SocketAddr::new(*host, port);
        match TcpListener::bind(addr).and_then(|socket| Ok((socket.local_addr()?, socket))) {
            Ok((bound, socket)) => {
                port = bound.port();
                listeners.sockets.push((socket, bound));
            }
            Err(error) if optional => listeners.missing.push((addr, error)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(StartError::PortBusy(addr)),
            Err(error) => return Err(StartError::Bind(addr, error)),
        }
    }
    Ok(listeners)
}

/// Runs the gateway on these listeners until it is told to stop; `ready` is called once clients are
/// served. Returns after everything acknowledged is on disk.
pub fn run(boot: Boot, listeners: Listeners, ready: impl FnOnce()) -> Result<(), StartError> {
    let _lock = start::lock(&boot.paths, &boot.env)?;
    let port = listeners.sockets.first().map_or(boot.plan.port, |(_, addr)| addr.port());
    let (events, queue) = bounded(limits::EVENT_QUEUE);
    let Boot { plan, snapshot, paths, env, clock, log_file, notifier } = boot;
    let state = start::state(&plan, &snapshot, &paths, port, clock.now(), &notifier)?;
    let proxy_mode = state.secrets.mode() == auth::Mode::TrustedProxy;
    let settings = HubSettings {
        proxy_login: proxy_mode.then(|| start::proxy_login(&state.config)).flatten(),
        proxies: start::proxies(&state.config.gateway),
        real_ip: if state.config.gateway.allow_real_ip_fallback { RealIp::Fallback } else { RealIp::Ignore },
        hsts: state.config.gateway.http.strict_transport_security.clone(),
    };
    let total = Total::new(start::room(plan.max_connections, host::open_files_limit()));
    let hub = Hub::new(events.clone(), settings, total.clone())
        .map_err(|e| StartError::System("cannot start a thread", e))?;
    let queue = (events.clone(), queue);
    let place = Place { paths, env, log_file };
    let store = disk::spawn(place, events.clone()).map_err(|e| StartError::System("cannot start a thread", e))?;
    install_signals(events)?;
    let mut addresses = Vec::new();
    for (socket, addr) in listeners.sockets {
        addresses.push(addr);
        accept::spawn(socket, hub.clone(), total.clone())
            .map_err(|e| StartError::System("cannot start a thread", e))?;
    }
    start::announce(&addresses, &listeners.missing, &notifier);
    log::logger().flush();
    ready();
    let mut core = Core::new(state, clock, hub, queue, store.queues, notifier);
    core.run();
    core.finish();
    disk::wait(&store.ended, limits::STORE_END);
    log::info!(target: "gateway", "stopped");
    log::logger().flush();
    Ok(())
}

fn install_signals(events: Sender<Event>) -> Result<(), StartError> {
    let deliver = move |signal| {
        log::info!(target: "gateway", "signal received what={signal:?}");
        // A signal must not wait for long behind a flood of requests: leaving late is worse than
        // leaving without farewell.
        if events.send_timeout(Event::Input(Input::Signal(signal)), limits::SIGNAL_WAIT).is_err() {
            log::logger().flush();
            std::process::exit(0);
        }
    };
    signals::install(deliver).map_err(StartError::Signals)
}
