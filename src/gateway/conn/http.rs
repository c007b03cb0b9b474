//! The HTTP part of a connection: reads heads under a deadline, answers what is no upgrade, keeps
//! the connection or ends it. The grammar and the answers are `crate::http`'s.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tungstenite::handshake::derive_accept_key;

use super::gate::{Address, Permit, Slot};
use super::tally::Place;
use super::{Hub, Peer, SHORTEST};
use crate::gateway::event::{Caller, HttpAnswer, HttpAsk};
use crate::http::head::{BodyLength, Head, HeadFault, HeadReader};
use crate::http::locality::{self, Unattributed};
use crate::http::reply::{After, Context, DateText, Reply, write_switching};
use crate::http::route::{self, Detail, Probe, Refusal, Route, route, websocket_key, websocket_protocol};
use crate::limits;
use crate::sys::clock;
use crate::sys::host;

/// What is left of the HTTP connection when a WebSocket takes over.
pub struct Upgrade {
    /// Who it is, as far as the request tells.
    pub peer: Peer,
    /// Bytes that came behind the request: the first WebSocket frames.
    pub rest: Vec<u8>,
}

/// Serves requests until the connection ends (`None`) or becomes a WebSocket.
pub fn serve(
    socket: &TcpStream,
    addr: SocketAddr,
    (slot, permit): (&Slot, Permit),
    hub: &Arc<Hub>,
) -> Option<(Upgrade, Permit)> {
    let server = Server {
        socket,
        addr,
        hub,
        heads: HeadReader::new(),
        out: Vec::new(),
        date: DateText::default(),
        slot,
        standing: Standing::New(permit),
        timeout: Duration::ZERO,
        place: Place::default(),
    };
    server.run()
}

/// One HTTP connection.
pub(super) struct Server<'a> {
    pub(super) socket: &'a TcpStream,
    addr: SocketAddr,
    pub(super) hub: &'a Arc<Hub>,
    pub(super) heads: HeadReader,
    out: Vec<u8>,
    pub(super) date: DateText,
    slot: &'a Slot,
    standing: Standing,
    timeout: Duration,
    /// Where the current request is counted.
    pub(super) place: Place,
}

/// How a connection counts at the gate.
#[derive(Default)]
enum Standing {
    /// Nothing is known of it: it holds a permit.
    New(Permit),
    /// It has sent a whole request and is bounded by the idle time: it holds none.
    Known(Address),
    /// It is over.
    #[default]
    Gone,
}

impl Standing {
    fn known(self) -> Standing {
        match self {
            Standing::New(permit) => Standing::Known(permit.give_back()),
            other => other,
        }
    }

    /// A WebSocket has to authenticate, so it needs a permit again.
    fn permit(self) -> Option<Permit> {
        match self {
            Standing::New(permit) => Some(permit),
            Standing::Known(address) => address.ask(),
            Standing::Gone => None,
        }
    }
}

/// How waiting for a head ended.
enum Next {
    Head(Head),
    Fault(HeadFault),
    TooSlow,
    Gone,
}

/// What follows an answer.
pub(super) enum Turn {
    Again,
    Done,
    Upgrade(Upgrade, Permit),
}

impl Server<'_> {
    fn run(mut self) -> Option<(Upgrade, Permit)> {
        let mut idle = limits::HTTP_HEAD;
        loop {
            self.place = Place::default();
            let turn = match self.next_head(idle) {
                Next::Head(head) => self.request(&head),
                Next::Fault(fault) => self.refuse(&Reply::head_fault(fault)),
                Next::TooSlow => self.refuse(&Reply::text(408, "Request Timeout").closing()),
                Next::Gone => return None,
            };
            match turn {
                Turn::Again => idle = limits::HTTP_IDLE,
                Turn::Done => return None,
                Turn::Upgrade(upgrade, permit) => return Some((upgrade, permit)),
            }
        }
    }

    /// Reads until a head is whole. Its deadline runs from its first byte and shrinks with each
    /// read, so that one byte a second does not hold a thread for ever.
    fn next_head(&mut self, idle: Duration) -> Next {
        // Not on the stack, whose pages would stay with the connection.
        let mut chunk = vec![0_u8; limits::HTTP_HEAD_READ_BYTES];
        let mut deadline = None;
        let mut fresh: &[u8] = &[];
        loop {
            match self.heads.push(fresh) {
                Ok(Some(head)) => return Next::Head(head),
                Err(fault) => return Next::Fault(fault),
                Ok(None) => {}
            }
            let wait = if self.heads.started() {
                deadline
                    .get_or_insert_with(|| Instant::now() + limits::HTTP_HEAD)
                    .saturating_duration_since(Instant::now())
            } else {
                idle
            };
            if wait.is_zero() || !self.wait_at_most(wait) {
                return if self.heads.started() { Next::TooSlow } else { Next::Gone };
            }
            match (&mut self.socket).read(&mut chunk) {
                Ok(0) => return Next::Gone,
                Ok(n) => fresh = chunk.get(..n).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => fresh = &[],
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return if self.heads.started() { Next::TooSlow } else { Next::Gone };
                }
                Err(_) => return Next::Gone,
            }
        }
    }

    /// Sets the socket's timeout unless it stands so already: a kept connection costs no extra call.
    pub(super) fn wait_at_most(&mut self, wait: Duration) -> bool {
        let wait = wait.max(SHORTEST);
        if self.timeout != wait {
            self.timeout = wait;
            return self.socket.set_read_timeout(Some(wait)).is_ok();
        }
        true
    }

    fn request(&mut self, head: &Head) -> Turn {
        let settings = &self.hub.settings;
        let client = locality::client_address(self.addr.ip(), head, &settings.proxies, settings.real_ip);
        let route = route(head);
        self.place = Place::of(route);
        let client = match (client, route) {
            (Ok(client), _) => client,
            (Err(_), Route::Probe(Probe::Live)) => self.addr.ip(),
            (Err(Unattributed), _) => return self.refuse(&Unattributed.reply().closing()),
        };
        if route == Route::WebSocket {
            return self.upgrade(head, client);
        }
        // Its permit bounds it while it is being ended, too.
        let crowded = self.slot.is_crowded();
        if !crowded {
            self.standing = std::mem::take(&mut self.standing).known();
        }
        if too_large(head) {
            return self.refuse(&Reply::too_large().closing());
        }
        if let Route::Api(row) = route {
            return self.program(head, client, row, !crowded);
        }
        if route == Route::Refused(Refusal::NotFound)
            && self.hub.hooks.load(Ordering::Relaxed)
            && let Some(turn) = self.hook(head, client, !crowded)
        {
            return turn;
        }
        let reply = self.reply(head, client, route);
        // These take no body: what comes with a request is drained and the connection ends, because the next request
        // could not be told from it.
        let stays = !crowded && head.body() == BodyLength::None;
        self.answer(head, &if stays { reply } else { reply.closing() })
    }

    fn reply(&self, head: &Head, client: IpAddr, route: Route) -> Reply {
        match route {
            Route::Probe(Probe::Live) => route::live(),
            Route::Probe(Probe::Ready) => match self.hub.ask(HttpAsk::Ready(self.caller(head, client))) {
                Some(HttpAnswer::Probe { failing, uptime_ms, detailed }) => {
                    route::ready(&failing, uptime_ms, detail(detailed))
                }
                _ => route::unavailable(),
            },
            Route::Probe(Probe::Startup) => match self.hub.ask(HttpAsk::Startup(self.caller(head, client))) {
                Some(HttpAnswer::Probe { uptime_ms, detailed, .. }) => {
                    route::startup(None, env!("CARGO_PKG_VERSION"), uptime_ms, detail(detailed))
                }
                _ => route::unavailable(),
            },
            _ if self.hub.is_stopping() => route::unavailable(),
            Route::Index => route::index(),
            Route::Refused(refusal) => refusal.reply(),
            Route::WebSocket | Route::Api(_) => Reply::not_found(),
        }
    }

    pub(super) fn caller(&self, head: &Head, client: IpAddr) -> Caller {
        Caller {
            ip: client,
            local: locality::is_local_direct(self.addr.ip(), head),
            bearer: head.bearer().map(str::to_string),
        }
    }

    pub(super) fn proxy_user(&self, head: &Head) -> Option<String> {
        let settings = &self.hub.settings;
        let user = settings.proxy_login.as_ref()?.user(self.addr.ip(), head, &settings.proxies)?;
        // A program on this machine that goes by an outer address is no proxy; for loopback there is a setting.
        (locality::is_loopback(self.addr.ip()) || !host::is_own(self.addr)).then_some(user)
    }

    fn upgrade(&mut self, head: &Head, client: IpAddr) -> Turn {
        if self.hub.is_stopping() {
            return self.refuse(&route::upgrade_unavailable());
        }
        let Some(key) = websocket_key(head) else { return Turn::Done };
        let Some(permit) = std::mem::take(&mut self.standing).permit() else {
            return self.refuse(&route::upgrade_unavailable());
        };
        self.out.clear();
        write_switching(&mut self.out, &derive_accept_key(key.as_bytes()), websocket_protocol(head));
        self.hub.tally.answered(self.place, 101);
        if (&mut self.socket).write_all(&self.out).is_err() {
            return Turn::Done;
        }
        let text = |name: &str| head.header(name).map(str::to_string);
        let peer = Peer {
            addr: SocketAddr::new(client, self.addr.port()),
            host: text("host"),
            origin: text("origin"),
            user_agent: text("user-agent"),
            proxy_user: self.proxy_user(head),
        };
        Turn::Upgrade(Upgrade { peer, rest: self.heads.take_rest() }, permit)
    }

    pub(super) fn answer(&mut self, head: &Head, reply: &Reply) -> Turn {
        self.out.clear();
        let context = Context::of(head, self.date.at(clock::wall_ms()), self.hub.settings.hsts.as_deref());
        let after = reply.write_to(&mut self.out, &context);
        self.hub.tally.answered(self.place, reply.status());
        if (&mut self.socket).write_all(&self.out).is_err() {
            return Turn::Done;
        }
        let_go(&mut self.out);
        match after {
            After::Keep => Turn::Again,
            After::Close => self.end(),
        }
    }

    /// An answer that ends the connection.
    pub(super) fn refuse(&mut self, reply: &Reply) -> Turn {
        self.out.clear();
        let context = Context::closing(self.date.at(clock::wall_ms()), self.hub.settings.hsts.as_deref());
        reply.write_to(&mut self.out, &context);
        self.hub.tally.answered(self.place, reply.status());
        if (&mut self.socket).write_all(&self.out).is_err() {
            return Turn::Done;
        }
        self.end()
    }

    /// Closing with unread bytes makes the kernel send a reset that may destroy the answer, so what
    /// the peer still sends is read for a moment and thrown away.
    pub(super) fn end(&mut self) -> Turn {
        let _ = self.socket.shutdown(Shutdown::Write);
        drain(self.socket);
        Turn::Done
    }
}

/// Reads what may still come, so much and so long.
fn drain(mut socket: &TcpStream) {
    let deadline = Instant::now() + limits::HTTP_DRAIN;
    let mut sink = vec![0_u8; limits::HTTP_READ_BYTES];
    let mut left = limits::HTTP_DRAIN_BYTES;
    while left > 0 {
        let wait = deadline.saturating_duration_since(Instant::now());
        if wait.is_zero() || socket.set_read_timeout(Some(wait.max(SHORTEST))).is_err() {
            return;
        }
        let room = left.min(sink.len());
        match socket.read(sink.get_mut(..room).unwrap_or_default()) {
            Ok(n) if n > 0 => left -= n,
            _ => return,
        }
    }
}

fn too_large(head: &Head) -> bool {
    head.content_length().is_some_and(|length| length > limits::HTTP_BODY_BYTES)
}

fn detail(detailed: bool) -> Detail {
    if detailed { Detail::Full } else { Detail::Plain }
}

/// Forgets an answer that was written, and does not hold on to the memory of a large one.
fn let_go(out: &mut Vec<u8>) {
    out.clear();
    out.shrink_to(limits::HTTP_OUT_BYTES);
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_still_comes_is_thrown_away_to_a_bound() {
        for (more, left) in [(0, 0), (7, 7)] {
            let door = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut client = TcpStream::connect(door.local_addr().unwrap()).unwrap();
            let mut socket = door.accept().unwrap().0;
            client.write_all(&vec![b'x'; limits::HTTP_DRAIN_BYTES + more]).unwrap();
            drop(client);
            drain(&socket);
            let mut rest = Vec::new();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            socket.read_to_end(&mut rest).unwrap();
            assert_eq!(rest.len(), left);
        }
    }

    #[test]
    fn a_large_answer_leaves_little_behind() {
        let mut out = vec![0; limits::HTTP_OUT_BYTES * 10];
        let_go(&mut out);
        assert!(out.is_empty() && out.capacity() <= limits::HTTP_OUT_BYTES * 2);
        let mut small = Vec::with_capacity(64);
        let_go(&mut small);
        assert_eq!(small.capacity(), 64);
    }
}
