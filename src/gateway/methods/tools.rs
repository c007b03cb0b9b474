//! `tools.catalog` and `tools.effective`: the tools there are, and those that a turn gets.

use super::agents::agent_id;
use crate::agent::model::resolve;
use crate::agent::tool::approval::judge::{Origin, Rules};
use crate::agent::tool::policy::{self, Subject};
use crate::agent::tool::{self, Wanted, catalog};
use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Handled};
use crate::gateway::session_key;
use crate::gateway::state::State;

/// All tools there are.
pub fn catalog(state: &State, request: &Request<'_>) -> Handled {
    let agent = agent_id(state, request)?;
    Ok(Answer::Json(catalog::catalog(&agent)))
}

/// The tools that the next turn of a session gets, by the table and the policy that the turn itself will ask.
pub fn effective(state: &State, request: &Request<'_>) -> Handled {
    let place = session_key::of_params(&state.config, "tools.effective", &request.params, "sessionKey")?;
    let entry = state.sessions.get(&place.agent, &place.key);
    let own = |name: &str| entry.and_then(|entry| entry.text(name)).map(|word| word.into_owned());
    let chosen = resolve::select(&state.config, &place.agent, None).ok().flatten().map(|selection| selection.primary);
    let provider = own("providerOverride").or_else(|| chosen.as_ref().map(|model| model.provider.clone()));
    let model = own("modelOverride").or_else(|| chosen.map(|model| model.model));
    let (provider, model) = (provider.unwrap_or_default(), model.unwrap_or_default());
    let subject = Subject { agent_id: &place.agent, provider: &provider, model: &model };
    let exec = [Rules::of_session(own("execSecurity").as_deref(), own("execAsk").as_deref())];
    let wanted = Wanted { origin: Origin::Operator, web: true, deny: &[], exec: &exec };
    let (offered, warnings) = tool::offered(&state.config.raw, subject, wanted);
    let profile = policy::profile_name(&state.config.raw, &place.agent);
    Ok(Answer::Json(catalog::effective(&place.agent, profile, &offered, &warnings)))
}
