//! Requests of HTTP programs on their connection's own thread: admission, body, the interface, the answer. What the
//! interfaces say is `crate::http::api`'s and `gateway::programs`'; here is only who waits for what.

mod admin;
mod chat;
mod embeddings;
mod hooks;
mod metrics;
mod pictures;
mod responses;
mod telling;
mod tools;

use std::cell::Cell;
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use super::Hub;
use super::body::Body;
use super::http::{Server, Turn};
use crate::gateway::event::{Event, HttpAnswer, HttpAsk, Input, Order};
use crate::gateway::programs::admit::{Admit, Grant};
use crate::gateway::programs::feed::{self, FeedEnd, Next};
use crate::gateway::programs::target::{Aim, Target};
use crate::http::api::{Row, Surface, models};
use crate::http::head::{BodyLength, Head};
use crate::http::reply::{After, Context, Reply};
use crate::http::route;
use crate::http::sse::EventStream;
use crate::limits;
use crate::sys::clock;

/// An admitted request with its body, and the way to answer it.
pub struct Exchange<'a> {
    /// The request's head.
    pub head: &'a Head,
    /// What the caller may do.
    pub grant: &'a Grant,
    /// The body.
    pub body: &'a Body,
    /// The way to the state thread.
    pub hub: &'a Arc<Hub>,
    socket: &'a TcpStream,
    date: &'a str,
    /// What the client sent behind its request meanwhile: the connection goes on with it.
    ahead: Cell<Vec<u8>>,
}

/// How an interface answered.
#[derive(Debug)]
pub enum Answered {
    /// With this, which is still to be written.
    Reply(Reply),
    /// It has written a stream to its end.
    Streamed(After),
    /// The client has gone, or the stream broke.
    Gone,
}

impl From<Reply> for Answered {
    fn from(reply: Reply) -> Answered {
        Answered::Reply(reply)
    }
}

impl Exchange<'_> {
    /// Opens an event stream as the answer; every event leaves at once.
    pub fn stream(&self) -> io::Result<EventStream<&TcpStream>> {
        self.socket.set_write_timeout(Some(limits::HTTP_WRITE))?;
        EventStream::start(self.socket, &self.context())
    }

    /// What follows a stream that ended properly.
    pub fn after_stream(&self) -> After {
        let context = self.context();
        if context.keep_alive && context.version_minor == 1 { After::Keep } else { After::Close }
    }

    fn context(&self) -> Context<'_> {
        Context::of(self.head, self.date, self.hub.settings.hsts.as_deref())
    }

    /// Whether the client has closed its connection, or its half of it.
    pub fn is_gone(&self) -> bool {
        if self.socket.set_nonblocking(true).is_err() {
            return true;
        }
        let gone = self.ends_ahead();
        self.socket.set_nonblocking(false).is_err() || gone
    }

    /// The end stands behind what was sent ahead, so that is taken in, as far as there is room: who sends more of it is
    /// taken to be there until a write fails.
    fn ends_ahead(&self) -> bool {
        let (mut ahead, mut chunk) = (self.ahead.take(), [0; 512]);
        let ended = loop {
            if ahead.len() >= limits::HTTP_AHEAD_BYTES {
                break false;
            }
            match (&mut &*self.socket).read(&mut chunk) {
                Ok(0) => break true,
                Ok(count) => ahead.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        self.ahead.set(ahead);
        ended
    }

    /// What the request says about whom it is for. `word` names the interface in keys of sessions.
    pub fn wish(&self, word: &'static str, model: &str, user: &str) -> Aim {
        let header = |name: &str| self.head.header(name).unwrap_or_default().to_string();
        let agent = Some(header("x-openclaw-agent-id")).filter(|id| !id.trim().is_empty());
        Aim {
            word,
            model: model.to_string(),
            user: user.to_string(),
            agent: agent.unwrap_or_else(|| header("x-openclaw-agent")),
            session_key: header("x-openclaw-session-key"),
            other_model: header("x-openclaw-model"),
            channel: header("x-openclaw-message-channel"),
            grant: self.grant.clone(),
        }
    }

    /// For whom the request is, or the answer that refuses it.
    pub fn aim(&self, word: &'static str, model: &str, user: &str) -> Result<Box<Target>, Reply> {
        let aim = self.wish(word, model, user);
        match self.hub.ask(HttpAsk::Aim(Box::new(aim))) {
            Some(HttpAnswer::Aimed(target)) => Ok(target),
            Some(HttpAnswer::Refused(reply)) => Err(*reply),
            _ => Err(route::unavailable()),
        }
    }

    fn models(&self) -> Reply {
        match self.hub.ask(HttpAsk::Agents) {
            Some(HttpAnswer::Agents(agents)) => models::answer(self.head.path(), &agents),
            _ => route::unavailable(),
        }
    }

    /// Hands an order to the state thread; none when the gateway ends.
    pub fn order(&self, order: Order) -> Option<Ordered<'_>> {
        let (line, end) = feed::line();
        let ticket = self.hub.next_ticket();
        self.hub.events.send_timeout(Event::Program { ticket, order, feed: line }, limits::STATE_REPLY).ok()?;
        Some(Ordered { hub: self.hub, ticket, end, over: false, looked: Instant::now() })
    }
}

/// An order under way. Dropped before its end, it stops what was ordered.
pub struct Ordered<'a> {
    hub: &'a Hub,
    ticket: u64,
    end: FeedEnd,
    over: bool,
    /// When it was last seen that the client is there.
    looked: Instant,
}

impl Ordered<'_> {
    /// What the state thread tells next; none when the client has gone, is too slow, or the gateway ends.
    pub fn next(&mut self, exchange: &Exchange<'_>) -> Option<feed::Feed> {
        loop {
            match self.end.next(limits::CLIENT_CHECK) {
                // Pieces may come without a pause, and not all of them are written: the client is looked for all the same.
                Next::Feed(feed) if feed.is_last() || self.looked.elapsed() < limits::CLIENT_CHECK => {
                    self.over |= feed.is_last();
                    return Some(feed);
                }
                Next::Feed(_) | Next::Nothing if exchange.is_gone() => return None,
                Next::Feed(feed) => {
                    self.looked = Instant::now();
                    return Some(feed);
                }
                Next::Nothing => self.looked = Instant::now(),
                Next::Cut => {
                    self.over = true;
                    return None;
                }
            }
        }
    }
}

impl Drop for Ordered<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.hub.tell(Input::ProgramGone(self.ticket));
        }
    }
}

impl Server<'_> {
    /// Serves one request of a program. Not inlined: its stack would stay with every connection, WebSockets too.
    #[inline(never)]
    pub(super) fn program(&mut self, head: &Head, client: IpAddr, row: &'static Row, stays: bool) -> Turn {
        let grant = match self.admit(head, client, row) {
            Ok(grant) => grant,
            Err(reply) => {
                // What comes with a refused request is not read as a body, so nothing can follow it.
                let stays = stays && head.body() == BodyLength::None;
                return self.answer(head, &if stays { *reply } else { reply.closing() });
            }
        };
        let body = match self.body(head, row.body) {
            Ok(body) => body,
            Err(Some(reply)) => return self.refuse(&row.body_refused(reply)),
            Err(None) => return Turn::Done,
        };
        let date = self.date.at(clock::wall_ms()).to_string();
        let (socket, hub) = (self.socket, self.hub);
        let exchange = Exchange { head, grant: &grant, body: &body, hub, socket, date: &date, ahead: Cell::default() };
        let answered = serve(&exchange, row.surface);
        self.heads.give_back(&exchange.ahead.take());
        drop(body);
        if matches!(answered, Answered::Streamed(_)) {
            self.hub.tally.answered(self.place, 200);
        }
        match answered {
            Answered::Reply(reply) => self.answer(head, &if stays { reply } else { reply.closing() }),
            Answered::Streamed(After::Keep) if stays => Turn::Again,
            Answered::Streamed(_) => self.end(),
            Answered::Gone => Turn::Done,
        }
    }

    fn admit(&self, head: &Head, client: IpAddr, row: &'static Row) -> Result<Grant, Box<Reply>> {
        if self.hub.is_stopping() {
            return Err(Box::new(route::unavailable()));
        }
        let text = |name: &str| head.header(name).map(str::to_string);
        let ask = Admit {
            caller: self.caller(head, client),
            row,
            method_fits: row.takes(head),
            scopes: head.joined("x-openclaw-scopes"),
            origin: text("origin"),
            host: text("host"),
            proxy_user: self.proxy_user(head),
        };
        match self.hub.ask(HttpAsk::Admit(Box::new(ask))) {
            Some(HttpAnswer::Admitted(grant)) => Ok(grant),
            Some(HttpAnswer::Refused(reply)) => Err(reply),
            _ => Err(Box::new(route::unavailable())),
        }
    }
}

/// The interface's own part.
fn serve(exchange: &Exchange<'_>, surface: Surface) -> Answered {
    match surface {
        Surface::AdminRpc => admin::serve(exchange),
        Surface::Tools => tools::serve(exchange),
        Surface::Models => Answered::Reply(exchange.models()),
        Surface::Embeddings => embeddings::serve(exchange),
        Surface::Metrics => metrics::serve(exchange),
        Surface::Chat => chat::serve(exchange),
        Surface::Responses => responses::serve(exchange),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{Shutdown, TcpListener};

    use crossbeam_channel::unbounded;

    use super::*;
    use crate::gateway::conn::HubSettings;
    use crate::gateway::conn::gate::Total;
    use crate::gateway::programs::feed::Feed;
    use crate::http::head::HeadReader;
    use crate::http::locality::{Proxies, RealIp};

    #[test]
    fn a_gone_client_is_seen_although_pieces_come_without_a_pause() {
        let (hub, told) = hub();
        let (client, socket) = pair();
        let head = HeadReader::new().push(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap().unwrap();
        let (grant, body) = (Grant::default(), Body::new(&hub.bodies));
        let ahead = Cell::default();
        let exchange =
            Exchange { head: &head, grant: &grant, body: &body, hub: &hub, socket: &socket, date: "", ahead };
        let (line, end) = feed::line();
        let long_ago = Instant::now() - limits::CLIENT_CHECK;
        let mut ordered = Ordered { hub: &hub, ticket: 7, end, over: false, looked: long_ago };
        let piece = || Feed::Text("x".into());
        assert!(line.push(piece()) && line.push(piece()) && line.push(piece()));
        assert!(matches!(ordered.next(&exchange), Some(Feed::Text(_))) && ordered.looked > long_ago);
        (&client).write_all(b"GET / HTTP/1.1\r\n").unwrap();
        socket.peek(&mut [0]).unwrap();
        assert!(!exchange.is_gone() && !exchange.is_gone(), "who sends the next request is there");
        (&client).write_all(b"Host: x\r\n\r\n").unwrap();
        drop(client);
        assert!(ordered.next(&exchange).is_some(), "it was there a moment ago");
        ordered.looked = long_ago;
        assert!(ordered.next(&exchange).is_none());
        assert_eq!(exchange.ahead.take(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "what was sent ahead is kept");
        drop(ordered);
        assert!(matches!(told.try_recv(), Ok(Event::Input(Input::ProgramGone(7)))));
    }

    #[test]
    fn so_much_is_taken_in_ahead_of_its_turn_and_no_more() {
        let hub = hub().0;
        let (client, socket) = pair();
        let head = HeadReader::new().push(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap().unwrap();
        let (grant, body) = (Grant::default(), Body::new(&hub.bodies));
        let ahead = Cell::new(vec![b'x'; limits::HTTP_AHEAD_BYTES - 1]);
        let exchange =
            Exchange { head: &head, grant: &grant, body: &body, hub: &hub, socket: &socket, date: "", ahead };
        client.shutdown(Shutdown::Write).unwrap();
        socket.peek(&mut [0]).unwrap();
        assert!(exchange.is_gone(), "there is room to look");
        exchange.ahead.set(vec![b'x'; limits::HTTP_AHEAD_BYTES]);
        assert!(!exchange.is_gone(), "nothing is read any more");
        assert_eq!(exchange.ahead.take().len(), limits::HTTP_AHEAD_BYTES);
    }

    fn hub() -> (Arc<Hub>, crossbeam_channel::Receiver<Event>) {
        let settings =
            HubSettings { proxies: Proxies::default(), real_ip: RealIp::Ignore, proxy_login: None, hsts: None };
        let (events, told) = unbounded();
        (Hub::new(events, settings, Total::new(1)).unwrap(), told)
    }

    /// Both ends of a connection.
    fn pair() -> (TcpStream, TcpStream) {
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(door.local_addr().unwrap()).unwrap();
        (client, door.accept().unwrap().0)
    }
}
