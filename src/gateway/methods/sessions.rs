//! `sessions.list`.

use serde_json::{Map, Value};

use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Handled};
use crate::gateway::state::State;
use crate::session::list::{self, Filter};
use crate::session::row;

/// Sessions, newest first, filtered as asked.
pub fn list(state: &State, request: &Request<'_>) -> Handled {
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
    Ok(Answer::Json(list::answer(&page, rows, &path, &defaults, request.now.wall_ms)))
}
