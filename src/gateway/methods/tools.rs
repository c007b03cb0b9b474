//! `tools.catalog` and `tools.effective`: the tools there are, and those that a turn gets.

use super::agents::agent_id;
use crate::agent::tool::catalog;
use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Handled};
use crate::gateway::state::State;

/// All tools there are.
pub fn catalog(state: &State, request: &Request<'_>) -> Handled {
    let agent = agent_id(state, request)?;
    Ok(Answer::Json(catalog::catalog(&agent)))
}
