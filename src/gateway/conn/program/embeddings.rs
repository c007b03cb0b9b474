//! `POST /v1/embeddings` from the admitted request to its answer. The provider is asked by a thread of its own, whose
//! stack goes with it, while the connection's thread looks after the client; so many requests at once and no more.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, SendTimeoutError};

use super::{Answered, Exchange};
use crate::agent::control::{AbortReason, Control};
use crate::agent::http::Settings;
use crate::agent::model::discover::Places;
use crate::agent::model::embed::{Ask, Embedded, Ground, Refusal, embed};
use crate::agent::model::keys::AuthProfiles;
use crate::agent::model::lineup::Live;
use crate::gateway::conn::Hub;
use crate::gateway::event::{HttpAnswer, HttpAsk, Input};
use crate::gateway::programs::embeddings::{Report, Setting, failure};
use crate::http::api::embeddings::{self, Request};
use crate::http::api::{invalid, missing_scope};
use crate::http::reply::Reply;
use crate::http::route;
use crate::limits;
use crate::protocol::table::Scope;
use crate::sys::id::Entropy;
use crate::sys::thread;

/// Why there are no vectors: something to answer, or nobody to answer to.
enum End {
    Refused(Reply),
    Gone,
}

/// Serves the request.
pub(super) fn serve(exchange: &Exchange<'_>) -> Answered {
    match answer(exchange) {
        Ok(reply) | Err(End::Refused(reply)) => Answered::Reply(reply),
        Err(End::Gone) => Answered::Gone,
    }
}

fn answer(exchange: &Exchange<'_>) -> Result<Reply, End> {
    let model = exchange.head.header("x-openclaw-model").map(str::trim).filter(|model| !model.is_empty());
    if model.is_some() && !exchange.grant.has(Scope::Admin) {
        return Err(End::Refused(missing_scope(Scope::Admin)));
    }
    let request = embeddings::parse(&exchange.body.take()).map_err(End::Refused)?;
    let setting = setting(exchange, &request.model)?;
    let Request { model: shown, texts, form, dimensions } = request;
    let ask = Ask { agent: setting.agent.clone(), model: model.map(String::from), dimensions, texts };
    let (embedded, _place) = work(exchange, ask, setting)?;
    Ok(embeddings::answer(&shown, &mut embedded.vectors.rows(), form, embedded.tokens))
}

fn setting(exchange: &Exchange<'_>, model: &str) -> Result<Setting, End> {
    let aim = exchange.wish("", model, "");
    match exchange.hub.ask(HttpAsk::Embeddings(Box::new(aim))) {
        Some(HttpAnswer::Embeddings(setting)) => Ok(*setting),
        Some(HttpAnswer::Refused(reply)) => Err(End::Refused(*reply)),
        _ => Err(End::Refused(route::unavailable())),
    }
}

/// Has a thread do it, and hands its place on: the answer's text is the largest part. Left before the end, the thread is
/// told to stop and ends by itself.
fn work(exchange: &Exchange<'_>, ask: Ask, setting: Setting) -> Result<(Embedded, Place), End> {
    let control = Control::within(limits::EMBED_TIME);
    let place = place(exchange, &control)?;
    let (theirs, hub) = (control.clone(), Arc::clone(exchange.hub));
    let pending = thread::ask("embed", limits::STACK_RUN, move || {
        let answer = ask_provider(&ask, setting, &theirs, &hub);
        answer.map(|embedded| (embedded, place))
    });
    let pending = pending.map_err(|error| {
        log::error!(target: "http", "cannot start a thread for embeddings error={error}");
        End::Refused(route::unavailable())
    })?;
    while !pending.is_over(limits::CLIENT_CHECK) {
        if exchange.is_gone() {
            control.cancel(AbortReason::Gone);
            return Err(End::Gone);
        }
        if exchange.hub.is_stopping() {
            control.cancel(AbortReason::Shutdown);
        }
    }
    match pending.join() {
        Some(Ok(done)) => Ok(done),
        Some(Err(Refusal::Request(text))) => Err(End::Refused(invalid(text))),
        Some(Err(Refusal::Model(error))) => Err(End::Refused(failure(&error))),
        None => Err(End::Refused(Reply::error(500, "internal error", "api_error"))),
    }
}

fn ask_provider(ask: &Ask, setting: Setting, control: &Control, hub: &Hub) -> Result<Embedded, Refusal> {
    let ground = Ground {
        profiles: AuthProfiles::open(&setting.paths.auth_profiles(&setting.agent)),
        http: Settings::new(&setting.env, None),
        places: Places::of(&setting.env),
        config: setting.config,
        env: setting.env,
        cooldowns: setting.cooldowns,
    };
    let mut changes = Vec::new();
    let entropy = Entropy::from_os().unwrap_or_else(|_| Entropy::from_seed([0; 32]));
    let answer = embed(ask, &ground, control, &mut Live(entropy), &mut changes);
    let used = answer.as_ref().ok().map(|embedded| (embedded.reference.clone(), embedded.tokens));
    if let Err(Refusal::Model(error)) = &answer {
        log::warn!(target: "http", "embeddings failed agent={} kind={} error={error}", ask.agent, error.kind.name());
    }
    hub.tell(Input::Embedded(Box::new(Report { agent: setting.agent, changes, used })));
    answer
}

/// A place among those that are worked on; given back when it is dropped.
struct Place(Receiver<()>);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.0.try_recv();
    }
}

/// Waits for a place, as long as the request may take and the client is there.
fn place(exchange: &Exchange<'_>, control: &Control) -> Result<Place, End> {
    let (places, taken) = &exchange.hub.embeddings;
    loop {
        match places.send_timeout((), limits::CLIENT_CHECK) {
            Ok(()) => return Ok(Place(taken.clone())),
            Err(SendTimeoutError::Disconnected(())) => return Err(End::Refused(route::unavailable())),
            Err(SendTimeoutError::Timeout(())) if exchange.is_gone() => return Err(End::Gone),
            Err(SendTimeoutError::Timeout(())) if exchange.hub.is_stopping() => {
                return Err(End::Refused(route::unavailable()));
            }
            Err(SendTimeoutError::Timeout(())) if control.remaining() == Some(Duration::ZERO) => {
                let text = "too many requests for embeddings at once; try again in a moment";
                let reply = Reply::error(503, text, "service_unavailable").header("Retry-After", "1");
                return Err(End::Refused(reply));
            }
            Err(SendTimeoutError::Timeout(())) => {}
        }
    }
}
