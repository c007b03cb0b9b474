//! Sending: responses to one connection, events to everyone who may see them.
//! One place numbers the events; nothing else writes frames.

use serde_json::Value;

use super::conn::Bytes;
use super::event::{Class, ConnId, Effect};
use super::state::{Role, Session, State};
use crate::protocol::errors::WireError;
use crate::protocol::events;
use crate::protocol::frame::{self, StateVersion};
use crate::protocol::table::{self, Scope};

/// A successful response.
pub fn reply(fx: &mut Vec<Effect>, conn: ConnId, id: &str, payload: &Value) {
    reply_raw(fx, conn, id, &payload.to_string());
}

/// A successful response whose payload is serialised already.
pub fn reply_raw(fx: &mut Vec<Effect>, conn: ConnId, id: &str, payload: &str) {
    fx.push(Effect::Send(conn, frame::response_ok(id, payload).into()));
}

/// An error response.
pub fn fail(fx: &mut Vec<Effect>, conn: ConnId, id: &str, error: &WireError) {
    fx.push(Effect::Send(conn, frame::response_err(id, error, None).into()));
}

/// The same with a payload beside the error: the second answer of `agent` has both (protocol.md 6.3).
pub fn fail_with(fx: &mut Vec<Effect>, conn: ConnId, id: &str, error: &WireError, payload: &Value) {
    fx.push(Effect::Send(conn, frame::response_err(id, error, Some(&payload.to_string())).into()));
}

/// How an event to chosen connections is numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Protocol 3 has no number on it (protocol.md 6.2).
    Targeted,
    /// It counts like a broadcast.
    Numbered,
}

impl State {
    /// Sends an event to every connection that may see it. `name` must have a row in the event table.
    pub fn broadcast(&mut self, name: &str, payload: &Value, fx: &mut Vec<Effect>) {
        self.broadcast_raw(name, &payload.to_string(), fx);
    }

    /// The same for a payload that is serialised already: the frame is encoded once for all.
    pub fn broadcast_raw(&mut self, name: &str, payload: &str, fx: &mut Vec<Effect>) {
        let class = events::find(name).map_or(Class::Required, class);
        self.broadcast_as(name, payload, class, fx);
    }

    /// The same with another treatment of slow clients than the row's.
    pub fn broadcast_as(&mut self, name: &str, payload: &str, class: Class, fx: &mut Vec<Effect>) {
        let Some(row) = events::find(name) else {
            log::error!(target: "gateway", "event without a row event={name}");
            return;
        };
        let to = self.number(row);
        if to.is_empty() {
            return;
        }
        let versions = row.versioned.then(|| self.state_version());
        log::debug!(target: "gateway/ws", "→ event {name} clients={}", to.len());
        let head = Bytes::from(frame::event_head(name, payload, versions));
        fx.push(Effect::Broadcast { to, head, class });
    }

    /// Receivers of this event, each with its next number. Dropped events count too: the gap tells
    /// the client to refresh (protocol.md 1, slow-consumer rule).
    fn number(&mut self, row: &table::Event) -> Vec<(ConnId, u64)> {
        let mut to = Vec::new();
        for (id, conn) in self.conns.iter_mut() {
            let super::state::Phase::Ready(session) = &mut conn.phase else { continue };
            if may_see(session, row) {
                session.seq += 1;
                to.push((*id, session.seq));
            }
        }
        to
    }

    /// Sends an event to chosen connections, as far as they may see it.
    pub fn tell(&mut self, conns: &[ConnId], name: &str, payload: &str, reach: Reach, fx: &mut Vec<Effect>) {
        let Some(row) = events::find(name) else {
            log::error!(target: "gateway", "event without a row event={name}");
            return;
        };
        let mut to = Vec::new();
        for conn in conns {
            let Some(session) = self.session_mut(*conn).filter(|session| may_see(session, row)) else { continue };
            if reach == Reach::Targeted && session.protocol < 4 {
                fx.push(Effect::Send(*conn, frame::event_plain(name, payload).into()));
            } else {
                session.seq += 1;
                to.push((*conn, session.seq));
            }
        }
        if !to.is_empty() {
            let head = Bytes::from(frame::event_head(name, payload, None));
            fx.push(Effect::Broadcast { to, head, class: class(row) });
        }
    }

    /// The two counters that `presence` and `health` carry.
    pub fn state_version(&self) -> StateVersion {
        StateVersion { presence: self.presence.version(), health: self.health.version }
    }
}

/// What a slow client gets of it: nothing, or the end of its connection.
fn class(row: &table::Event) -> Class {
    if row.drop_if_slow { Class::Droppable } else { Class::Required }
}

fn may_see(session: &Session, row: &table::Event) -> bool {
    if session.protocol < row.since {
        return false;
    }
    match row.guard(session.protocol) {
        Scope::None => true,
        guard => session.role == Role::Operator && guard.allowed_by(&session.scopes),
    }
}
