//! `models.list` and `models.authStatus`: which models there are, and whether they can be used.

use serde_json::Value;

use super::agents::agent_id;
use super::chat::waiting;
use crate::agent::model::{resolve, standing};
use crate::gateway::disk::Then;
use crate::gateway::dispatch::Request;
use crate::gateway::errand::{Errand, ModelsAsk};
use crate::gateway::event::{Answer, Effect, Handled};
use crate::gateway::state::State;
use crate::protocol::errors::WireError;

/// The models of the configuration; where there is none, and for `refresh` with `view` all, those of servers on this
/// machine too.
pub fn list(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let asked = request.flag("refresh") == Some(true) && request.text("view") == "all";
    let ask = ask(state, request)?;
    let chosen = resolve::select(&state.config, &ask.agent, None).is_ok_and(|selection| selection.is_some());
    let look = asked || (!chosen && resolve::listed(&state.config).is_empty());
    answer(state, request, Errand::Models(ModelsAsk { look, ..ask }), fx)
}

/// Where the keys of the providers come from, and how long they last.
pub fn auth_status(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let ask = ask(state, request)?;
    answer(state, request, Errand::Auth(ask), fx)
}

fn ask(state: &State, request: &Request<'_>) -> Result<ModelsAsk, WireError> {
    let agent = agent_id(state, request)?;
    if state.config.agents.find(&agent).is_none() {
        return Err(WireError::invalid(format!("unknown agent id \"{agent}\"")));
    }
    Ok(ModelsAsk {
        profiles: state.facts.paths.auth_profiles(&agent),
        agent,
        config: state.config.clone(),
        env: state.facts.env.clone(),
        look: false,
        now_ms: request.now.wall_ms,
    })
}

/// Has the errand thread answer, which counts as one of the reads that a connection may have waiting.
pub fn answer(state: &mut State, request: &Request<'_>, errand: Errand, fx: &mut Vec<Effect>) -> Handled {
    state.read_begins(request.conn)?;
    fx.push(Effect::Errand(errand, Then::Answer(waiting(request))));
    Ok(Answer::Later)
}

/// The rows of the configuration alone, for answers that cannot wait.
pub fn rows(state: &State, agent: &str) -> Vec<Value> {
    standing::models(&state.config, agent, &[], None)
}
