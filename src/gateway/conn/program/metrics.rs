//! `GET /metrics`: asks the state thread for its numbers, adds those of the connections and the process, and writes the
//! text on the connection's own thread.

use super::{Answered, Exchange};
use crate::gateway::event::{HttpAnswer, HttpAsk};
use crate::gateway::metrics::text::{Numbers, TYPE, text};
use crate::http::reply::Reply;
use crate::http::route;
use crate::sys::memory;

/// Serves the request.
pub(super) fn serve(exchange: &Exchange<'_>) -> Answered {
    let hub = exchange.hub;
    let Some(HttpAnswer::Metrics(state)) = hub.ask(HttpAsk::Metrics) else {
        return Answered::Reply(route::unavailable());
    };
    let numbers = Numbers { state: *state, tally: hub.tally.read(hub.total.taken()), resident: memory::resident() };
    Answered::Reply(Reply::new(200).body(TYPE, text(&numbers).into_bytes()).no_store())
}
