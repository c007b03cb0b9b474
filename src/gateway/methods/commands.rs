//! Slash commands in a message for a session: carried out by the gateway, answered as a message of the assistant, no
//! model asked (agent.md 12).

use serde_json::Value;

use super::chat::{self, waiting};
use super::session_write::ModelWorld;
use crate::agent::control::AbortReason;
use crate::agent::model::{ModelRef, cli_backend, resolve};
use crate::agent::run::Task;
use crate::agent::tool::approval::pending::Decision;
use crate::gateway::dedupe::{self, Remembered};
use crate::gateway::disk::Commit;
use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Effect, Handled};
use crate::gateway::notes::Note;
use crate::gateway::runs::Phase;
use crate::gateway::session_key::Place;
use crate::gateway::state::State;
use crate::protocol::errors::WireError;
use crate::protocol::table::Scope;
use crate::session::command::{Command, ModelWish};
use crate::session::key::{KeyKind, KeyRules};
use crate::session::patch::{self, Asks};
use crate::session::{lifecycle, made, preview, reply, row};
use crate::store::session::entry::Entry;
use crate::sys::clock::Now;

/// What stands for a model nobody chose.
const NO_MODEL: &str = "none";

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

/// What a person who begins a conversation with no words of their own is answered to.
const GREETING: &str =
    "A new conversation begins. Greet the user in one or two sentences and ask what they want to do.";

/// What becomes of a command.
pub enum Outcome {
    /// It is answered.
    Done(Handled),
    /// It is a turn with these words.
    Turn(String),
    /// It is a run of another kind.
    Run(Task),
}

/// Carries a command out and answers `started`, as for a turn; the words follow as a `chat` event.
pub fn run(
    state: &mut State,
    sent: &Sent<'_>,
    command: Command,
    request: &Request<'_>,
    fx: &mut Vec<Effect>,
) -> Outcome {
    let words = match command {
        Command::Stop => return Outcome::Done(Ok(chat::stop(state, sent.place, AbortReason::Stop, request, fx))),
        Command::Compact(mind) => return Outcome::Run(Task::Compact(mind)),
        Command::New(rest) => match begin_anew(state, sent.place, rest, request, fx) {
            Ok(Some(first)) => return Outcome::Turn(first),
            Ok(None) => Ok("A new conversation has begun.".to_string()),
            Err(error) => Err(error),
        },
        Command::Approve { id, decision } => Ok(approve(state, &id, decision, request, fx)),
        other => words(state, sent.place, other, request),
    };
    Outcome::Done(words.and_then(|words| say(state, sent, &words, request, fx)))
}

/// Several switches that are the whole message.
pub fn switches(
    state: &mut State,
    sent: &Sent<'_>,
    hints: Vec<Command>,
    request: &Request<'_>,
    fx: &mut Vec<Effect>,
) -> Handled {
    let texts: Result<Vec<String>, WireError> =
        hints.into_iter().map(|hint| words(state, sent.place, hint, request)).collect();
    say(state, sent, &texts?.join("\n"), request, fx)
}

/// A new conversation; the words of its first turn, when there is to be one. A model's name alone chooses the model.
fn begin_anew(
    state: &mut State,
    place: &Place,
    rest: String,
    request: &Request<'_>,
    fx: &mut Vec<Effect>,
) -> Result<Option<String>, WireError> {
    state.stop_runs(&place.key, None, AbortReason::Stop, request.now, fx);
    let entry = renew(state, place, request)?;
    let named = !rest.is_empty() && !rest.contains(char::is_whitespace) && is_model(state, &rest);
    if named {
        model(state, place, &entry, ModelWish::Set(rest), request)?;
    } else if !rest.is_empty() {
        return Ok(Some(rest));
    }
    let has_model = named || current(state, place, &entry, request.now) != NO_MODEL;
    Ok(has_model.then(|| GREETING.to_string()))
}

/// Whether a word is the name of a configured model or an alias.
fn is_model(state: &State, word: &str) -> bool {
    let alias = || resolve::aliases(&state.config).iter().any(|(alias, _)| alias.eq_ignore_ascii_case(word));
    let found = resolve::find(&state.config, word).ok().map(|reference| reference.to_string());
    alias() || found.is_some_and(|found| names(state).contains(&found))
}

/// `/<alias>`: a model's other name as a command.
pub fn by_alias(state: &State, text: &str) -> Option<Command> {
    let word = text.trim().strip_prefix('/')?;
    let known = resolve::aliases(&state.config).into_iter().any(|(alias, _)| alias.eq_ignore_ascii_case(word));
    known.then(|| Command::Model(ModelWish::Set(word.to_string())))
}

/// Decides about a command that waits, if the sender may.
fn approve(
    state: &mut State,
    id: &str,
    decision: Option<&'static str>,
    request: &Request<'_>,
    fx: &mut Vec<Effect>,
) -> String {
    if !state.session(request.conn).is_some_and(|session| Scope::Approvals.allowed_by(&session.scopes)) {
        return "This client may not decide about commands: it lacks operator.approvals.".to_string();
    }
    let Some(decision) = decision.and_then(|word| Decision::parse(word).ok()) else {
        return "Write /approve <id> allow-once, allow-always or deny.".to_string();
    };
    let found = state.approvals.find(id).map(str::to_string);
    let by = sender(state, request);
    let settled = state.approvals.resolve(found.as_deref().unwrap_or(id), decision, Some(&by), request.now);
    match settled {
        Ok(settled) => {
            state.approval_settled(settled, fx);
            format!("Approval {id}: {}.", decision.name())
        }
        Err(_) => format!("No command waits under {}; `openclaw approvals` lists them.", preview::cut(id, 40)),
    }
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
        Command::Status => status(state, place, &entry, request.now),
        Command::Model(wish) => model(state, place, &entry, wish, request)?,
        Command::Models(provider) => {
            let of = |name: &String| {
                let own = name.split_once('/').map(|(provider, _)| provider);
                provider.as_deref().is_none_or(|wanted| own.is_some_and(|own| own.eq_ignore_ascii_case(wanted.trim())))
            };
            // The numbers are those of the whole list.
            let all = names(state).into_iter().enumerate().filter(|(_, name)| of(name));
            reply::models(&current(state, place, &entry, request.now), all)
        }
        Command::Activation(_) if row::kind(&place.key, &entry) != KeyKind::Group => {
            "This is about groups only.".to_string()
        }
        other => match reply::switch(&other, &entry, &state.config.raw, request.now.wall_ms) {
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
pub fn status(state: &State, place: &Place, entry: &Entry, now: Now) -> String {
    let Some(key) = KeyRules::of(&state.config).canonical(&place.key) else { return String::new() };
    let waiting = state.runs.of_session(&place.key).map(|(_, run)| run.waiting().len());
    let running = state.runs.of_session(&place.key).any(|(_, run)| run.phase != Phase::Queued);
    let queue = state.queue_rules(place, None).describe();
    let model = current(state, place, entry, now);
    let reference = ModelRef::parse(&model).unwrap_or_default();
    let status = reply::Status {
        version: state.facts.version,
        model: &model,
        key_source: state.models.paid_by.get(&reference.provider).map(String::as_str),
        window: resolve::facts(&state.config, &reference).context_window,
        runtime: match cli_backend::configured(&state.config, &reference.provider) {
            Some(_) => &reference.provider,
            None => "direct",
        },
        queue: &queue,
        queued: waiting.sum(),
        running,
    };
    reply::status(&key, entry, &status, now.wall_ms)
}

fn current(state: &State, place: &Place, entry: &Entry, now: Now) -> String {
    let own = entry.text("modelOverride").map(|model| match entry.text("providerOverride") {
        Some(provider) => format!("{provider}/{model}"),
        None => model.into_owned(),
    });
    let configured = || resolve::select(&state.config, &place.agent, None).ok().flatten();
    own.or_else(|| configured().map(|selection| selection.primary.to_string()))
        .or_else(|| state.models.found(now.mono).map(|found| found.reference.to_string()))
        .unwrap_or_else(|| NO_MODEL.to_string())
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
        ModelWish::Show => {
            let all = names(state).into_iter().enumerate();
            return Ok(reply::models(&current(state, place, entry, request.now), all));
        }
        ModelWish::Default => {
            for name in ["providerOverride", "modelOverride", "authProfileOverride"] {
                changed.clear(name);
            }
            format!(
                "Model set to {}.",
                default.map_or("the default".to_string(), |(provider, model)| format!("{provider}/{model}"))
            )
        }
        ModelWish::Set(written) => {
            // `model@profile` names the account, too.
            let (written, profile) = match written.rsplit_once('@').filter(|(_, profile)| profile.contains(':')) {
                Some((model, profile)) => (model.to_string(), Some(profile.to_string())),
                None => (written, None),
            };
            let number = written.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            let named = number.and_then(|at| names(state).into_iter().nth(at)).unwrap_or(written);
            let chosen = match world.model(&named) {
                Ok(chosen) => chosen,
                Err(text) => return Ok(text),
            };
            let words = reply::model_set(&chosen.0, &chosen.1);
            patch::set_model(&mut changed, chosen, default.as_ref());
            if let Some(profile) = profile {
                changed.set("authProfileOverride", profile);
            }
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
    // What the command changed is on disk before it is acknowledged, and its words follow.
    let started = json!({"runId": sent.run_id, "status": "started"});
    state.commit_sessions(Commit { reply: Some((waiting(request), started)), ..Commit::default() }, fx);
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
    if let Some(key) = dedupe::key(sent.method, &request.params) {
        let done = json!({"runId": sent.run_id, "status": "ok"});
        state.memory.note(key, Remembered::Ended(Ok(done)), request.now.mono);
    }
    Ok(Answer::Later)
}
