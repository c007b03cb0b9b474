//! `logs.tail`: the request becomes a job of the store thread, which knows the file.

use crate::gateway::disk::{Job, TailAsk, Then, Waiting};
use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Effect, Handled};
use crate::gateway::state::State;
use crate::limits;

/// Asks for the end of the log; the store thread names the file, which changes with the date.
pub fn tail(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    state.read_begins(request.conn)?;
    let bounded = |name: &str, default: usize, most: usize| {
        request.count(name).and_then(|n| usize::try_from(n).ok()).unwrap_or(default).clamp(1, most)
    };
    let ask = TailAsk {
        cursor: request.count("cursor"),
        limit: bounded("limit", limits::TAIL_LINES, limits::TAIL_LINES_MAX),
        max_bytes: bounded("maxBytes", limits::TAIL_BYTES, limits::TAIL_BYTES_MAX),
    };
    let waiting = Waiting { conn: request.conn, id: request.id.to_string() };
    fx.push(Effect::Disk(Job::Tail(ask), Then::LogsTail(waiting)));
    Ok(Answer::Later)
}
