//! The reader thread of one connection. It begins as an HTTP connection; an upgrade turns it into
//! a WebSocket, whose messages it parses, checks and hands to the state thread.
//! Decides nothing about who may do what, and never writes to a WebSocket's socket.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Sender, bounded};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Bytes, Error, Message, WebSocket};

use super::gate::{Permit, Slot};
use super::http::{self, Upgrade};
use super::outbox::{self, Outbox};
use super::session::{self, Phase, Step};
use super::{Hub, Link, verdict, writer};
use crate::gateway::event::{Admission, ConnId, Ended, Event, Inbound, Input, Violation};
use crate::limits;
use crate::sys::{queue, thread};

/// A connection as the accept loop hands it over.
pub struct Arrival {
    /// Its number.
    pub conn: ConnId,
    /// Address of the socket's other end.
    pub addr: SocketAddr,
    /// Held for the life of the connection.
    pub slot: Slot,
    /// Held until it has authenticated.
    pub permit: Permit,
}

/// Serves one connection to its end.
pub fn run(socket: TcpStream, arrival: Arrival, hub: &Arc<Hub>) {
    let Arrival { conn, addr, slot, permit } = arrival;
    if prepare(&socket).is_err() {
        return;
    }
    if let Some((upgrade, permit)) = http::serve(&socket, addr, (&slot, permit), hub) {
        websocket(socket, conn, upgrade, permit, hub);
    }
    drop(slot);
}

fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(limits::WRITE_STALL))
}

fn websocket(socket: TcpStream, conn: ConnId, upgrade: Upgrade, permit: Permit, hub: &Arc<Hub>) {
    if socket.set_read_timeout(None).is_err() {
        return;
    }
    // Shared instead of duplicated: one file descriptor a connection, not two.
    let socket = Arc::new(socket);
    let (outbox, inbox) = outbox::outbox();
    let for_writer = socket.clone();
    let write = move || writer::run(&for_writer, &inbox);
    let writer = match thread::spawn(&format!("write:{conn}"), limits::STACK_WRITER, write) {
        Ok(writer) => writer,
        Err(error) => {
            log::error!(target: "gateway/ws", "cannot start a writer thread conn={conn} error={error}");
            return;
        }
    };
    let (admission, verdict) = verdict();
    let (turn, turns) = bounded(limits::EVENTS_PER_CONNECTION);
    let link = Link {
        outbox: outbox.clone(),
        permit: Some(permit),
        admission: Some(admission),
        max_buffered: limits::BUFFERED_BYTES_V3,
        turns,
    };
    if hub.events.send(Event::Opened { conn, peer: upgrade.peer, link }).is_err() {
        return;
    }
    let split = Split { socket, outbox, conn, hub: hub.clone(), told: Instant::now() };
    let ws = open(split, upgrade.rest);
    let mut reader = Reader { conn, hub, verdict, turn, ws, phase: Phase::AwaitConnect };
    // A bug here must not leave a connection behind that nobody ends; the panic hook has logged it.
    let why = catch_unwind(AssertUnwindSafe(|| reader.read_all())).unwrap_or(Ended::Lost);
    drop(reader);
    hub.tell(Input::Closed { conn, why });
    // The connection counts until its last byte is written or given up.
    let _ = writer.join();
}

fn open(split: Split, rest: Vec<u8>) -> WebSocket<Split> {
    let config = WebSocketConfig::default()
        .read_buffer_size(limits::WS_READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(limits::PREAUTH_MESSAGE_BYTES))
        .max_frame_size(Some(limits::PREAUTH_MESSAGE_BYTES));
    WebSocket::from_partially_read(split, rest, Role::Server, Some(config))
}

/// The reader's view of the socket: reads come from it, writes (pongs and close replies, which
/// tungstenite makes by itself) go through the outbox between the writer's frames.
struct Split {
    socket: Arc<TcpStream>,
    outbox: Outbox,
    conn: ConnId,
    hub: Arc<Hub>,
    told: Instant,
}

impl Read for Split {
    /// A large message on a thin line takes minutes, and no pong can come in the midst of it: its bytes
    /// are signs of life too. A full queue may drop them; the next ones are not far.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = (&*self.socket).read(buffer)?;
        if self.told.elapsed() >= limits::PING / 4 {
            self.told = Instant::now();
            let _ = self.hub.events.try_send(Event::Input(Input::Alive(self.conn)));
        }
        Ok(length)
    }
}

impl Write for Split {
    fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
        self.outbox.push_control(Bytes::copy_from_slice(frame));
        Ok(frame.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Reader<'a> {
    conn: ConnId,
    hub: &'a Arc<Hub>,
    verdict: queue::Receiver<Admission>,
    turn: Sender<()>,
    ws: WebSocket<Split>,
    phase: Phase,
}

impl Reader<'_> {
    fn read_all(&mut self) -> Ended {
        loop {
            match self.ws.read() {
                Ok(message) => {
                    if let Some(why) = self.message(message) {
                        return why;
                    }
                }
                Err(error) => return self.failed(&error),
            }
        }
    }

    /// `Some` when the connection is over.
    fn message(&mut self, message: Message) -> Option<Ended> {
        match message {
            Message::Text(text) => self.text(text.as_str()),
            // A binary message may hold UTF-8 JSON (protocol.md 1); other bytes are no JSON.
            Message::Binary(bytes) => self.text(std::str::from_utf8(&bytes).unwrap_or("\u{0}")),
            Message::Ping(_) | Message::Pong(_) => self.tell(Input::Alive(self.conn)),
            Message::Close(frame) => {
                let code = frame.map_or(1005, |frame| u16::from(frame.code));
                // Reading on lets tungstenite send its close reply.
                while self.ws.read().is_ok() {}
                Some(Ended::ByPeer(code))
            }
            Message::Frame(_) => None,
        }
    }

    fn text(&mut self, text: &str) -> Option<Ended> {
        let step = match self.phase {
            Phase::Ready => session::read(Phase::Ready, text),
            Phase::AwaitConnect => self.first(text),
        };
        match step {
            Step::Ignore => self.tell(Input::Alive(self.conn)),
            Step::Forward(frame @ Inbound::Fatal(_)) => self.fatal(frame),
            Step::Forward(frame) => self.hand_over(frame),
            Step::ForwardConnect(frame) => self.connect(frame),
        }
    }

    /// The first message, read by the clerk; one that it cannot read is no request.
    fn first(&self, text: &str) -> Step {
        let text = text.to_string();
        let read = self.hub.clerk.ask(move || session::read(Phase::AwaitConnect, &text)).join();
        read.unwrap_or(Step::Forward(Inbound::Fatal(Violation::Protocol)))
    }

    /// Nothing but the verdict counts until it is there: what the client sends meanwhile stays in
    /// the socket. No verdict means that a close frame is queued.
    fn connect(&mut self, frame: Inbound) -> Option<Ended> {
        if let Some(why) = self.hand_over(frame) {
            return Some(why);
        }
        let Ok(admission) = self.verdict.recv() else { return Some(self.drain()) };
        self.phase = Phase::Ready;
        self.ws.set_config(|config| {
            config.max_message_size = Some(admission.max_message);
            config.max_frame_size = Some(admission.max_message);
        });
        None
    }

    fn fatal(&mut self, frame: Inbound) -> Option<Ended> {
        let told = self.hand_over(frame);
        Some(told.unwrap_or_else(|| self.drain()))
    }

    fn failed(&mut self, error: &Error) -> Ended {
        let violation = match error {
            Error::Capacity(_) => Violation::TooLarge,
            Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => return Ended::Lost,
            Error::Utf8(_) => Violation::NotText,
            Error::Protocol(_) | Error::AttackAttempt => Violation::Protocol,
            _ => return Ended::Lost,
        };
        log::debug!(target: "gateway/ws", "bad frame conn={} error={error}", self.conn);
        self.fatal(Inbound::Fatal(violation)).unwrap_or(Ended::ByUs)
    }

    /// After our close frame: reads what the peer still sends and throws it away, so that the frame
    /// reaches it. Ends when the peer closes or the writer, tired of waiting, shuts the socket down.
    fn drain(&mut self) -> Ended {
        let mut sink = vec![0_u8; limits::HTTP_READ_BYTES];
        let mut socket: &TcpStream = &self.ws.get_ref().socket;
        while matches!(socket.read(&mut sink), Ok(n) if n > 0) {}
        let _ = socket.shutdown(Shutdown::Read);
        Ended::ByUs
    }

    /// Waits until the state thread has taken earlier messages; a closed connection waits for nothing.
    fn hand_over(&self, frame: Inbound) -> Option<Ended> {
        let _ = self.turn.send(());
        self.tell(Input::Frame { conn: self.conn, frame })
    }

    fn tell(&self, input: Input) -> Option<Ended> {
        if self.hub.tell(input) { None } else { Some(Ended::ByUs) }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use crossbeam_channel::unbounded;

    use super::*;
    use crate::gateway::conn::gate::{Gate, Total};
    use crate::gateway::conn::{HubSettings, Peer};
    use crate::http::locality::{Proxies, RealIp};

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A masked text frame; the mask changes nothing.
    fn frame(text: &str) -> Vec<u8> {
        let length = u16::try_from(text.len()).unwrap().to_be_bytes();
        [&[0x81, 0xfe][..], &length, &[0; 4], text.as_bytes()].concat()
    }

    #[test]
    fn so_many_messages_of_a_connection_wait_for_the_state_thread_and_the_rest_in_the_socket() {
        let (events, told) = unbounded();
        let settings =
            HubSettings { proxies: Proxies::default(), real_ip: RealIp::Ignore, proxy_login: None, hsts: None };
        let total = Total::new(8);
        let hub = Hub::new(events, settings, total.clone()).unwrap();
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(door.local_addr().unwrap()).unwrap();
        let (socket, addr) = door.accept().unwrap();
        let (_slot, permit) = Gate::new(total).enter(addr.ip()).ok().unwrap();
        let peer = Peer { addr, host: None, origin: None, user_agent: None, proxy_user: None };
        let upgrade = Upgrade { peer, rest: Vec::new() };
        let work = move || websocket(socket, ConnId(1), upgrade, permit, &hub);
        let reader = thread::spawn("read:1", limits::STACK_PARSER, work).unwrap();
        let Ok(Event::Opened { link, .. }) = told.recv_timeout(PATIENCE) else { panic!("not opened") };
        let arrives = |wait| matches!(told.recv_timeout(wait), Ok(Event::Input(Input::Frame { .. })));
        let request = |method: &str| frame(&format!(r#"{{"type":"req","id":"1","method":"{method}","params":{{}}}}"#));
        client.write_all(&request("connect")).unwrap();
        assert!(arrives(PATIENCE));
        let admission = Admission { max_message: limits::MESSAGE_BYTES_V3, max_buffered: limits::BUFFERED_BYTES_V3 };
        link.admission.unwrap().send(admission).unwrap();
        client.write_all(&request("health").repeat(limits::EVENTS_PER_CONNECTION + 8)).unwrap();
        assert!((1..limits::EVENTS_PER_CONNECTION).all(|_| arrives(PATIENCE)));
        assert!(!arrives(Duration::from_millis(200)), "one more waits");
        link.turns.recv().unwrap();
        assert!(arrives(PATIENCE), "one was taken, one may come");
        assert!(!arrives(Duration::from_millis(200)));
        drop((link.turns, link.outbox, client));
        while !matches!(told.recv_timeout(PATIENCE), Ok(Event::Input(Input::Closed { .. }))) {}
        reader.join().unwrap();
    }
}
