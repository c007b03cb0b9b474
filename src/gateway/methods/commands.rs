//! Slash commands in a message for a session: carried out by the gateway, answered as a message of the assistant, no
//! model asked (agent.md 12).

use serde_json::{Value, json};

use super::chat;
use super::session_write::ModelWorld;
use crate::agent::control::AbortReason;
use crate::agent::model::resolve;
use crate::gateway::dedupe::{self, Remembered};
use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Effect, Handled};
use crate::gateway::notes::Note;
use crate::gateway::runs::Phase;
use crate::gateway::session_key::Place;
use crate::gateway::state::State;
use crate::protocol::errors::WireError;
use crate::session::command::{Command, ModelWish};
use crate::session::key::KeyRules;
use crate::session::patch::{self, Asks};
use crate::session::{lifecycle, made, reply};
use crate::store::session::entry::Entry;

/// A command that was sent as a message.
pub struct Sent<'a> {
    /// The session.
    pub place: &'a Place,
    /// The method it came by.
    pub method: &'a str,
    /// What the person wrote.
    pub text: &'a str,
    /// The client's name for the call.
    pub run_id: &'a str,
}

/// Carries a command out and answers `started`, as for a turn; the words follow as a `chat` event. `None` for a
/// command that is a turn after all.
pub fn run(
    state: &mut State,
    sent: &Sent<'_>,
    command: Command,
    request: &Request<'_>,
    fx: &mut Vec<Effect>,
) -> Option<Handled> {
    let words = match command {
        Command::Stop => return Some(Ok(chat::stop(state, sent.place, AbortReason::Stop, request, fx))),
        Command::New(rest) => {
            state.stop_runs(&sent.place.key, None, AbortReason::Stop, request.now, fx);
            if let Err(error) = renew(state, sent.place, request) {
                return Some(Err(error));
            }
            if !rest.is_empty() {
                return None;
            }
            "A new conversation has begun.".to_string()
        }
        other => match words(state, sent.place, other, request) {
            Ok(words) => words,
            Err(error) => return Some(Err(error)),
        },
    };
    Some(say(state, sent, &words, request, fx))
}

/// Another transcript under the same key.
pub fn renew(state: &mut State, place: &Place, request: &Request<'_>) -> Result<Entry, WireError> {
    let path = state.config.session_store(&state.facts.paths, &place.agent);
    let fresh = state.entropy.uuid();
    let index = state.sessions.open(&place.agent, || path)?;
    let entry = lifecycle::reset(index.get(&place.key), &fresh, request.now.wall_ms);
    index.insert(&place.key, entry.clone());
    Ok(entry)
}

fn words(state: &mut State, place: &Place, command: Command, request: &Request<'_>) -> Result<String, WireError> {
    let entry = ensure(state, place, request)?;
    Ok(match command {
        Command::Help => reply::help(),
        Command::Commands => reply::commands(),
        Command::Whoami => reply::whoami("webchat", &sender(state, request), true),
        Command::Status => status(state, place, &entry, request.now.wall_ms),
        Command::Model(wish) => model(state, place, &entry, wish, request)?,
        Command::Models(_) => reply::models(&current(state, place, &entry), &names(state)),
        Command::Compact(_) => {
            "Shorten this session with sessions.compact; a long one is summarised by itself.".to_string()
        }
        Command::Approve { .. } => "Approvals are decided with `openclaw approvals` or in the app.".to_string(),
        other => match reply::switch(&other, &entry, request.now.wall_ms) {
            Some(switched) => {
                put(state, place, switched.entry)?;
                switched.text
            }
            None => "This command is not known here.".to_string(),
        },
    })
}

/// The session's entry; a command may be the first thing said in it.
fn ensure(state: &mut State, place: &Place, request: &Request<'_>) -> Result<Entry, WireError> {
    let known = state.sessions.get(&place.agent, &place.key);
    if let Some(entry) = known.filter(|entry| entry.session_id().is_some()) {
        return Ok(entry.clone());
    }
    renew(state, place, request)
}

fn put(state: &mut State, place: &Place, entry: Entry) -> Result<(), WireError> {
    let path = state.config.session_store(&state.facts.paths, &place.agent);
    state.sessions.open(&place.agent, || path)?.insert(&place.key, entry);
    Ok(())
}

fn sender(state: &State, request: &Request<'_>) -> String {
    let session = state.session(request.conn);
    session.map_or_else(String::new, |session| session.client.id.to_string())
}

/// The card of `/status`.
pub fn status(state: &State, place: &Place, entry: &Entry, now_ms: u64) -> String {
    let Some(key) = KeyRules::of(&state.config).canonical(&place.key) else { return String::new() };
    let runs = state.runs.of_session(&place.key).map(|(_, run)| run.phase);
    let (mut running, mut queued) = (false, 0);
    for phase in runs {
        match phase {
            Phase::Queued => queued += 1,
            _ => running = true,
        }
    }
    let model = current(state, place, entry);
    let status = reply::Status {
        version: state.facts.version,
        model: &model,
        window: state.defaults().context_tokens,
        runtime: "direct",
        queued,
        running,
        ..reply::Status::default()
    };
    reply::status(&key, entry, &status, now_ms)
}

fn current(state: &State, place: &Place, entry: &Entry) -> String {
    let own = entry.text("modelOverride").map(|model| match entry.text("providerOverride") {
        Some(provider) => format!("{provider}/{model}"),
        None => model.into_owned(),
    });
    let configured = || resolve::select(&state.config, &place.agent, None).ok().flatten();
    own.or_else(|| configured().map(|selection| selection.primary.to_string())).unwrap_or_else(|| "none".to_string())
}

fn names(state: &State) -> Vec<String> {
    resolve::listed(&state.config).into_iter().map(|listed| listed.reference.to_string()).collect()
}

fn model(
    state: &mut State,
    place: &Place,
    entry: &Entry,
    wish: ModelWish,
    request: &Request<'_>,
) -> Result<String, WireError> {
    let mut changed = entry.clone();
    let world = ModelWorld { state, agent: &place.agent };
    let default = world.default_model();
    let words = match wish {
        ModelWish::Show => return Ok(reply::models(&current(state, place, entry), &names(state))),
        ModelWish::Default => {
            for name in ["providerOverride", "modelOverride"] {
                changed.clear(name);
            }
            format!(
                "Model set to {}.",
                default.map_or("the default".to_string(), |(provider, model)| format!("{provider}/{model}"))
            )
        }
        ModelWish::Set(written) => {
            let number = written.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            let named = number.and_then(|at| names(state).into_iter().nth(at)).unwrap_or(written);
            let chosen = match world.model(&named) {
                Ok(chosen) => chosen,
                Err(text) => return Ok(text),
            };
            let words = reply::model_set(&chosen.0, &chosen.1);
            patch::set_model(&mut changed, chosen, default.as_ref());
            words
        }
    };
    changed.touch(request.now.wall_ms);
    put(state, place, changed)?;
    Ok(words)
}

/// Writes the command and its answer down and tells everyone.
fn say(state: &mut State, sent: &Sent<'_>, words: &str, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let now_ms = request.now.wall_ms;
    let answer = made::value(&made::message(words, made::Cause::Injected, now_ms));
    let question: Value = json!({
        "role": "user", "content": [{"type": "text", "text": sent.text.trim()}], "timestamp": now_ms,
    });
    let note = Note {
        waiting: None,
        place: sent.place.clone(),
        run_id: Some(sent.run_id.to_string()),
        seq: 1,
        message: answer.clone(),
    };
    // A running turn owns the transcript: the answer is told all the same, only not written.
    if state.add_messages(note, vec![question, answer.clone()], request.now, fx).is_err() {
        state.tell_chat_note(&sent.place.key, &sent.place.agent, sent.run_id, 1, answer, fx);
    }
    state.save_sessions(fx);
    if let Some(key) = dedupe::key(sent.method, &request.params) {
        let done = json!({"runId": sent.run_id, "status": "ok"});
        state.memory.note(key, Remembered::Ended(Ok(done)), request.now.mono);
    }
    super::super::broadcast::reply(fx, request.conn, request.id, &json!({"runId": sent.run_id, "status": "started"}));
    Ok(Answer::Later)
}
