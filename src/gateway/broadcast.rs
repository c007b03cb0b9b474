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

impl State {
    /// Sends an event to every connection that may see it. `name` must have a row in the event table.
    pub fn broadcast(&mut self, name: &str, payload: &Value, fx: &mut Vec<Effect>) {
        self.broadcast_raw(name, &payload.to_string(), fx);
    }

    /// The same for a payload that is serialised already: the frame is encoded once for all.
    pub fn broadcast_raw(&mut self, name: &str, payload: &str, fx: &mut Vec<Effect>) {
        let Some(row) = events::find(name) else {
            log::error!(target: "gateway", "event without a row event={name}");
            return;
        };
        let to = self.number(row);
        if to.is_empty() {
            return;
        }
        let versions = row.versioned.then(|| self.state_version());
        let class = if row.drop_if_slow { Class::Droppable } else { Class::Required };
        log::debug!(target: "gateway/ws", "→ event {name} clients={}", to.len());
        let head = Bytes::from(frame::event_head(name, payload, versions));
        fx.push(Effect::Broadcast { to, head, class });
    }

    /// Receivers of this event, each with its next number. Dropped events count too: the gap tells
    /// the client to refresh (protocol.md 1, slow-consumer rule).
    fn number(&mut self, row: &table::Event) -> Vec<(ConnId, u64)> {
        let mut to = Vec::new();
        for (id, conn) in &mut self.conns {
            let super::state::Phase::Ready(session) = &mut conn.phase else { continue };
            if may_see(session, row) {
                session.seq += 1;
                to.push((*id, session.seq));
            }
        }
        to
    }

    /// The two counters that `presence` and `health` carry.
    pub fn state_version(&self) -> StateVersion {
        StateVersion { presence: self.presence.version(), health: self.health.version }
    }
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
