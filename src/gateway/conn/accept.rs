//! The accept loop of one listener: counts, refuses what is too much, starts a reader thread.
//! Never reads from a socket and never waits for one.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::gate::{Gate, Refused, Total};
use super::refusals::Refusals;
use super::{Hub, reader};
use crate::limits;
use crate::sys::thread;

/// How long to pause when the system has no file descriptors left; accepting again at once would spin.
const PAUSE: Duration = Duration::from_millis(50);
/// At most one warning about refused connections in this time, so that a flood cannot fill the log; the
/// same for connections that the system refuses us.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Starts the loop on its own thread. It lives as long as the process.
pub fn spawn(listener: TcpListener, hub: Arc<Hub>, total: Total) -> std::io::Result<JoinHandle<()>> {
    let port = listener.local_addr().map(|addr| addr.port()).unwrap_or_default();
    thread::spawn(&format!("accept:{port}"), limits::STACK_ACCEPT, move || {
        let mut door = Door::new(Gate::new(total), hub);
        for socket in listener.incoming() {
            match socket {
                Ok(socket) => door.admit(socket),
                Err(error) => door.failed(&error),
            }
        }
    })
}

struct Door {
    gate: Gate,
    hub: Arc<Hub>,
    refusals: Refusals,
    refused: u64,
    warned: Option<Instant>,
    failures: u64,
    complained: Option<Instant>,
}

impl Door {
    fn new(gate: Gate, hub: Arc<Hub>) -> Door {
        let refusals = Refusals::default();
        Door { gate, hub, refusals, refused: 0, warned: None, failures: 0, complained: None }
    }

    fn admit(&mut self, socket: TcpStream) {
        self.refusals.sweep();
        let Ok(addr) = socket.peer_addr() else { return };
        if self.hub.is_stopping() {
            return self.refusals.add(socket, "Gateway is temporarily unavailable while suspending or restarting");
        }
        let (slot, permit) = match self.gate.enter(addr.ip()) {
            Ok(entry) => entry,
            Err(why) => {
                self.refusals.add(socket, reason(why));
                return self.warn(why, addr.ip());
            }
        };
        let conn = self.hub.next_conn();
        let hub = self.hub.clone();
        let run = move || reader::run(socket, reader::Arrival { conn, addr, slot, permit }, &hub);
        if let Err(error) = thread::spawn(&format!("read:{conn}"), limits::STACK_PARSER, run) {
            self.complain("cannot start a thread for a connection", &error);
        }
    }

    fn failed(&mut self, error: &std::io::Error) {
        if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) {
            return;
        }
        self.complain("accept failed (too many open files? raise `ulimit -n`)", error);
        std::thread::sleep(PAUSE);
    }

    fn complain(&mut self, what: &str, error: &std::io::Error) {
        self.failures += 1;
        if self.complained.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            log::error!(target: "gateway", "{what} error={error} failures={}", self.failures);
            self.complained = Some(Instant::now());
        }
    }

    fn warn(&mut self, why: Refused, address: std::net::IpAddr) {
        self.refused += 1;
        self.hub.tally.refused(why == Refused::Full);
        if self.warned.is_some_and(|at| at.elapsed() < WARN_EVERY) {
            return;
        }
        log::warn!(target: "gateway", "connection refused why={why:?} remote={address} refused={}", self.refused);
        self.warned = Some(Instant::now());
    }
}

fn reason(why: Refused) -> &'static str {
    match why {
        Refused::Full => "Too many connections. Raise gateway.maxConnections or close some clients.",
        Refused::Unauthenticated => "Too many unauthenticated connections from this address.",
    }
}
