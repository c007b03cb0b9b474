//! `health` and `status`.

use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Effect, Handled};
use crate::gateway::state::State;
use crate::limits;

/// The cached object, unless a probe is asked for. An old one is answered at once and then refreshed.
pub fn health(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    if request.flag("probe") == Some(true) {
        state.refresh_health(request.now, fx);
    }
    let age = request.now.wall_ms.saturating_sub(state.health.ts);
    if u128::from(age) > limits::HEALTH_AGE.as_millis() {
        state.health_soon(fx);
    }
    Ok(Answer::Raw(state.health.json.clone()))
}

/// A summary for people.
pub fn status(state: &State, request: &Request<'_>) -> Handled {
    Ok(Answer::Json(state.status_object(request.now)))
}
