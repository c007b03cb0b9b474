//! `sessions.list`.

use serde_json::{Map, Value};

use super::chat::{self, transcript_of};
use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Effect, Handled};
use crate::gateway::state::State;
use crate::gateway::transcripts::{Ask, Peek};
use crate::limits;
use crate::session::list::{self, Filter};
use crate::session::row;

/// Sessions, newest first, filtered as asked. Titles and last words stand in the transcripts, which the disk thread
/// reads.
pub fn list(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let filter = Filter::of(&request.params);
    let page = filter.page(state.sessions.indexes(), request.now.wall_ms);
    let defaults = state.defaults();
    let rows: Vec<Map<String, Value>> =
        page.rows.iter().map(|found| row::row(found.key, found.entry, &defaults)).collect();
    let path = match (&filter.agent_id, state.sessions.indexes().count()) {
        (Some(agent), _) => state.sessions_file(&agent.to_lowercase()),
        (None, 0 | 1) => state.sessions_file(state.config.default_agent_id()),
        (None, _) => "(multiple)".to_string(),
    };
    let answer = list::answer(&page, rows, &path, &defaults, request.now.wall_ms);
    if !filter.include_derived_titles && !filter.include_last_message {
        return Ok(Answer::Json(answer));
    }
    let peek = |found: &list::Found<'_>| Peek {
        entry: found.entry.clone(),
        path: transcript_of(state, found.agent, found.entry),
    };
    let peeks = page.rows.iter().take(limits::SESSION_PEEKS).map(peek).collect();
    let ask = Ask::Titles { answer, peeks, titles: filter.include_derived_titles, last: filter.include_last_message };
    chat::read(state, request, ask, fx)
}
