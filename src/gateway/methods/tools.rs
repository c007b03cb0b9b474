//! `tools.catalog` and `tools.effective`: the tools there are, and those that a turn gets.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::agents::agent_id;
use super::chat::waiting;
use crate::agent::model::resolve;
use crate::agent::tool::approval::judge::{Origin, Rules};
use crate::agent::tool::policy::{self, Subject};
use crate::agent::tool::{self, Wanted, catalog};
use crate::config::Config;
use crate::gateway::disk::{Job, Then};
use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Effect, Handled};
use crate::gateway::session_key;
use crate::gateway::state::State;

/// All tools there are.
pub fn catalog(state: &State, request: &Request<'_>) -> Handled {
    let agent = agent_id(state, request)?;
    Ok(Answer::Json(catalog::catalog(&agent)))
}

/// A question for the tools of a session's next turn; part of the answer is in a file.
pub struct ToolsAsk {
    config: Arc<Config>,
    agent: String,
    provider: String,
    model: String,
    exec: Rules,
}

/// The tools that the next turn of a session gets, by the table and the policy that the turn itself will ask.
pub fn effective(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let place = session_key::of_params(&state.config, "tools.effective", &request.params, "sessionKey")?;
    let entry = state.sessions.get(&place.agent, &place.key);
    let own = |name: &str| entry.and_then(|entry| entry.text(name)).map(|word| word.into_owned());
    let chosen = resolve::select(&state.config, &place.agent, None).ok().flatten().map(|selection| selection.primary);
    let provider = own("providerOverride").or_else(|| chosen.as_ref().map(|model| model.provider.clone()));
    let model = own("modelOverride").or_else(|| chosen.map(|model| model.model));
    let exec = Rules::of_session(own("execSecurity").as_deref(), own("execAsk").as_deref());
    let (provider, model) = (provider.unwrap_or_default(), model.unwrap_or_default());
    state.read_begins(request.conn)?;
    let ask = ToolsAsk { config: state.config.clone(), agent: place.agent, provider, model, exec };
    fx.push(Effect::Disk(Job::Tools(Box::new(ask)), Then::Answer(waiting(request))));
    Ok(Answer::Later)
}

/// The answer, on the disk thread.
pub fn answer(ask: &ToolsAsk, approvals: &Path) -> Value {
    let subject = Subject { agent_id: &ask.agent, provider: &ask.provider, model: &ask.model };
    let exec = [ask.exec, tool::file_rules(approvals, &ask.agent)];
    let wanted = Wanted { origin: Origin::Operator, web: true, deny: &[], exec: &exec };
    let (offered, warnings) = tool::offered(&ask.config.raw, subject, wanted);
    let profile = policy::profile_name(&ask.config.raw, &ask.agent);
    catalog::effective(&ask.agent, profile, &offered, &warnings)
}
