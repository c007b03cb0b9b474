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

use std::io::{self, ErrorKind};
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;

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
}

/// How an interface answered.
pub enum Answered {
    /// With this, which is still to be written.
    Reply(Reply),
    /// It has written a stream to its end.
    Streamed(After),
    /// The client has gone, or the stream broke.
    Gone,
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

    /// Whether the client has closed its connection, or its half of it. Bytes of a next request mean that it is there.
    pub fn is_gone(&self) -> bool {
        if self.socket.set_nonblocking(true).is_err() {
            return true;
        }
        let gone = match self.socket.peek(&mut [0]) {
            Ok(n) => n == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        };
        self.socket.set_nonblocking(false).is_err() || gone
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
        Some(Ordered { hub: self.hub, ticket, end, over: false })
    }
}

/// An order under way. Dropped before its end, it stops what was ordered.
pub struct Ordered<'a> {
    hub: &'a Hub,
    ticket: u64,
    end: FeedEnd,
    over: bool,
}

impl Ordered<'_> {
    /// What the state thread tells next; none when the client has gone, is too slow, or the gateway ends.
    pub fn next(&mut self, exchange: &Exchange<'_>) -> Option<feed::Feed> {
        loop {
            match self.end.next(limits::CLIENT_CHECK) {
                Next::Feed(feed) => {
                    self.over |= feed.is_last();
                    return Some(feed);
                }
                Next::Nothing if exchange.is_gone() => return None,
                Next::Nothing => {}
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
        let exchange = Exchange { head, grant: &grant, body: &body, hub, socket, date: &date };
        let answered = serve(&exchange, row.surface);
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
            scopes: text("x-openclaw-scopes"),
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
