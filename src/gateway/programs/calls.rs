//! Calls of the protocol's methods by HTTP programs: each one is a connection that nobody sees, which exists from the
//! call to its answer. Methods are dispatched as for any client; this file knows none of them.

use serde_json::Value;

use crate::agent::tool::desk::DeskFault;
use crate::gateway::connect_params::Client;
use crate::gateway::dispatch;
use crate::gateway::event::{Call, ConnId, Effect, ToolReply};
use crate::gateway::programs::feed::Feed;
use crate::gateway::state::{Role, Session, State};
use crate::limits;
use crate::protocol::errors::WireError;
use crate::protocol::frame;
use crate::protocol::methods;
use crate::protocol::table::Scope;
use crate::sys::clock::Now;

/// A call, and what its caller may do.
#[derive(Debug)]
pub struct CallOrder {
    /// The request's id.
    pub id: String,
    /// What is called.
    pub call: Call,
    /// Scopes of the caller.
    pub scopes: Vec<String>,
}

impl State {
    /// Dispatches a call; its one answer goes to the ticket's feed, now or later. Tickets and connections share their
    /// numbers, so that of the ticket is no other connection's.
    pub fn order_call(&mut self, ticket: u64, order: CallOrder, now: Now, fx: &mut Vec<Effect>) {
        if self.calls.len() >= limits::PROGRAM_CALLS {
            let text = "too many calls wait for their answers; try again in a moment";
            let error = WireError { retry_after_ms: Some(1000), ..WireError::unavailable(text) };
            return fx.push(Effect::Feed(ticket, Feed::Answer(frame::response_err(&order.id, &error, None).into())));
        }
        let conn = ConnId(ticket);
        self.calls.insert(conn, caller(order.scopes, now));
        dispatch::dispatch(self, conn, &order.id, order.call, now, fx);
    }

    /// The same for a tool of a turn, for what its agent may do; its answer is the frame.
    pub fn call_for_tool(
        &mut self,
        ticket: u64,
        method: &str,
        params: Value,
        now: Now,
        fx: &mut Vec<Effect>,
    ) -> Result<Option<ToolReply>, DeskFault> {
        let Some(row) = methods::find(method).filter(|_| self.calls.len() < limits::PROGRAM_CALLS) else {
            return Err(DeskFault::Refused("too many calls wait for their answers; try again in a moment".to_string()));
        };
        let conn = ConnId(ticket);
        self.calls.insert(conn, caller(vec![Scope::Admin.name().to_string()], now));
        dispatch::dispatch(self, conn, method, Call::Known(row, row.read(Some(params))), now, fx);
        Ok(None)
    }

    /// The call is answered, or its program has gone: the connection ends.
    pub fn call_is_over(&mut self, ticket: u64) -> bool {
        self.calls.remove(&ConnId(ticket)).is_some()
    }
}

/// The caller as handlers see it: an operator without a device, whom nobody lists.
fn caller(scopes: Vec<String>, now: Now) -> Session {
    Session {
        protocol: 4,
        role: Role::Operator,
        scopes,
        client: Client { id: "http".to_string(), mode: "backend".to_string(), ..Client::default() },
        device_id: None,
        presence_key: None,
        method: "http",
        caps: Vec::new(),
        commands: Vec::new(),
        permissions: None,
        path_env: None,
        connected_ms: now.wall_ms,
        seq: 0,
        unauthorized: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::event::{Input, Order};
    use crate::gateway::script::Script;

    fn order(ticket: u64, method: &str, scope: &str) -> Input {
        let row = methods::find(method).unwrap();
        let order =
            CallOrder { id: "r".to_string(), call: Call::Known(row, row.read(None)), scopes: vec![scope.to_string()] };
        Input::Program { ticket, order: Order::Call(Box::new(order)) }
    }

    fn sent(effects: &[Effect]) -> Vec<(u64, Value)> {
        let frame = |effect: &Effect| match effect {
            Effect::Send(conn, bytes) => Some((conn.0, serde_json::from_slice(bytes).unwrap())),
            Effect::Feed(ticket, Feed::Answer(bytes)) => Some((*ticket, serde_json::from_slice(bytes).unwrap())),
            _ => None,
        };
        effects.iter().filter_map(frame).collect()
    }

    #[test]
    fn a_call_is_answered_like_a_clients_and_seen_by_nobody() {
        let mut script = Script::new(json!({}));
        let effects = script.raw(order(900, "system-presence", "operator.admin"));
        let answers = sent(&effects);
        assert_eq!(answers.len(), 1);
        assert_eq!((answers[0].0, &answers[0].1["ok"]), (900, &json!(true)));
        assert_eq!(answers[0].1["payload"].as_array().unwrap().len(), 1, "the gateway alone: {answers:?}");
        assert_eq!(script.state.sessions_in_use().count(), 0);
        let events = script.raw(Input::Timer(crate::gateway::event::Timer::Tick));
        assert!(!events.iter().any(|effect| matches!(effect, Effect::Broadcast { .. })), "no event for it");
        script.raw(Input::ProgramGone(900));
        assert!(script.state.calls.is_empty());
    }

    #[test]
    fn scopes_hold_here_too() {
        let mut script = Script::new(json!({}));
        let answers = sent(&script.raw(order(1, "agents.create", "operator.read")));
        assert_eq!(answers[0].1["ok"], false);
    }

    #[test]
    fn calls_that_wait_are_bounded() {
        let mut script = Script::new(json!({}));
        for ticket in 0..limits::PROGRAM_CALLS as u64 {
            assert!(sent(&script.raw(order(ticket, "config.get", "operator.admin"))).is_empty(), "the disk is asked");
        }
        let answers = sent(&script.raw(order(5000, "config.get", "operator.admin")));
        assert_eq!(answers[0].1["error"]["code"], "UNAVAILABLE");
        script.raw(Input::ProgramGone(3));
        assert!(sent(&script.raw(order(5001, "config.get", "operator.admin"))).is_empty());
    }
}
