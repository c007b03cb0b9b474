//! `chat.*`: what a chat window does with a session.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::agent;
use super::commands::{self, Outcome, Sent};
use crate::agent::control::AbortReason;
use crate::agent::model::Thinking;
use crate::agent::run::Task;
use crate::gateway::attachments;
use crate::gateway::dedupe;
use crate::gateway::disk::{Job, Then, Waiting};
use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Effect, Handled};
use crate::gateway::intake::Intake;
use crate::gateway::notes::Note;
use crate::gateway::runs::{Origin, Verbose};
use crate::gateway::session_key::{self, Place};
use crate::gateway::state::State;
use crate::gateway::transcripts::Ask;
use crate::limits;
use crate::protocol::errors::WireError;
use crate::session::command::{self, Command, Parsed, Wish};
use crate::session::queue::Mode;
use crate::session::settings::Settings;
use crate::session::{history, made};
use crate::store::session::archive;
use crate::store::session::entry::Entry;

/// The session a method means.
pub fn place(state: &State, method: &str, request: &Request<'_>) -> Result<Place, WireError> {
    session_key::of_params(&state.config, method, &request.params, "sessionKey")
}

/// A message: a stop word, or a turn.
pub fn send(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let place = place(state, "chat.send", request)?;
    send_to(state, "chat.send", place, request, fx)
}

/// The same for `sessions.send`, whose session was found before.
pub fn send_to(state: &mut State, method: &str, place: Place, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let message = request.text("message");
    agent::check_size(method, message)?;
    let pictures = attachments::pictures(method, request.params.get("attachments"))?;
    if message.trim().is_empty() && pictures.is_empty() {
        return Err(WireError::invalid("message or attachment required"));
    }
    let run_id = match request.text("idempotencyKey").trim() {
        "" => state.entropy.uuid(),
        key => key.to_string(),
    };
    let plain = request.flag("suppressCommandInterpretation") == Some(true) || !pictures.is_empty();
    let words = Settings::read(&state.config.raw).reset_triggers;
    let parsed = match plain {
        true => Parsed::Message { text: message.to_string(), hints: Vec::new() },
        false => command::parse(message, &words),
    };
    let parsed = match parsed {
        Parsed::Message { text, hints } if !plain => match commands::by_alias(state, &text) {
            Some(command) => Parsed::Command(command),
            None => Parsed::Message { text, hints },
        },
        other => other,
    };
    let sent = Sent { place: &place, method, text: message, run_id: &run_id };
    let mut is_first = false;
    let (text, hints, task) = match parsed {
        Parsed::Message { text, hints } if text.trim().is_empty() && !hints.is_empty() => {
            return commands::switches(state, &sent, hints, request, fx);
        }
        Parsed::Message { text, hints } => (text, hints, Task::Answer),
        Parsed::Command(command) => match commands::run(state, &sent, command, request, fx) {
            Outcome::Done(handled) => return handled,
            Outcome::Turn(first) => {
                is_first = true;
                (first, Vec::new(), Task::Answer)
            }
            Outcome::Run(task) => (String::new(), Vec::new(), task),
        },
    };
    let message = text.as_str();
    let limit = match request.count("timeoutMs") {
        None => Some(state.config.agents.defaults.timeout),
        Some(0) => None,
        Some(ms) => Some(Duration::from_millis(ms).min(limits::AGENT_TIMEOUT_MAX)),
    };
    let thinking = request.params.get("thinking").and_then(Value::as_str).filter(|text| !text.is_empty());
    let prompt = agent::prompt(state, message, pictures, Some(&run_id), request.now);
    let intake = Intake {
        thinking: hinted(&hints).or(agent::thinking(method, thinking)?),
        verbose: hints.iter().find_map(|hint| match hint {
            Command::Verbose(Wish::Set(level)) => Some(Verbose::parse(Some(level))),
            _ => None,
        }),
        reasoning: hints.iter().find_map(|hint| match hint {
            Command::Reasoning(Wish::Set(level)) => Some((*level).to_string()),
            _ => None,
        }),
        remembered: dedupe::key(method, &request.params),
        repeated: json!({"runId": run_id, "status": "in_flight"}),
        ack: json!({"runId": run_id, "status": "started"}),
        is_first,
        may_renew: true,
        // Work on the conversation itself waits for its turn, whatever the mode.
        queue_mode: match task {
            Task::Answer | Task::Heartbeat => {
                request.params.get("queueMode").and_then(Value::as_str).map(str::to_string)
            }
            Task::Compact(_) => Some(Mode::Followup.name().to_string()),
        },
        task,
        ..Intake::new(place, run_id, Origin::Chat, prompt, limit)
    };
    state.take_in(request, intake, fx)
}

/// Starts a turn nobody gets an answer for: its events tell.
pub fn begin(
    state: &mut State,
    place: Place,
    message: &str,
    run_id: &str,
    request: &Request<'_>,
    fx: &mut Vec<Effect>,
) -> Result<(), WireError> {
    agent::check_size("sessions.create", message)?;
    let prompt = agent::prompt(state, message, Vec::new(), Some(run_id), request.now);
    let limit = Some(state.config.agents.defaults.timeout);
    let intake = Intake::new(place, run_id.to_string(), Origin::Chat, prompt, limit);
    state.take_in_for(Some(request.conn), None, intake, request.now, fx)
}

/// A thinking level that stood in the message itself.
fn hinted(hints: &[Command]) -> Option<Thinking> {
    hints.iter().find_map(|hint| match hint {
        Command::Think(Wish::Set(level)) => Thinking::parse(level),
        _ => None,
    })
}

/// Stops the session's turns.
pub fn stop(
    state: &mut State,
    place: &Place,
    reason: AbortReason,
    request: &Request<'_>,
    fx: &mut Vec<Effect>,
) -> Answer {
    let stopped = state.stop_runs(&place.key, None, reason, request.now, fx);
    Answer::Json(json!({"ok": true, "aborted": !stopped.run_ids.is_empty(), "runIds": stopped.run_ids}))
}

/// Stops the session's turns, or one.
pub fn abort(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let place = place(state, "chat.abort", request)?;
    let run_id = request.text("runId");
    if run_id.is_empty() {
        return Ok(stop(state, &place, AbortReason::Rpc, request, fx));
    }
    let other = state.runs.find(run_id).and_then(|no| state.runs.get(no));
    if other.is_some_and(|run| run.session_key != place.key) {
        return Err(WireError::invalid("runId does not match sessionKey"));
    }
    let stopped = state.stop_runs(&place.key, Some(run_id), AbortReason::Rpc, request.now, fx);
    Ok(Answer::Json(json!({"ok": true, "aborted": !stopped.run_ids.is_empty(), "runIds": stopped.run_ids})))
}

/// The transcript's file of a session, if it has one.
pub fn transcript(state: &State, place: &Place) -> Option<PathBuf> {
    transcript_of(state, &place.agent, state.sessions.get(&place.agent, &place.key)?)
}

/// The transcript's file of an entry.
pub fn transcript_of(state: &State, agent: &str, entry: &Entry) -> Option<PathBuf> {
    let store = state.config.session_store(&state.facts.paths, agent);
    archive::transcript(store.parent().unwrap_or(&store), entry)
}

/// The last messages.
pub fn history(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let place = place(state, "chat.history", request)?;
    let head = history_head(state, &place, request);
    ask_history(state, &place, request, head, fx)
}

/// History and metadata in one answer.
pub fn startup(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let place = place(state, "chat.startup", request)?;
    let mut head = history_head(state, &place, request);
    head.insert("metadata".into(), metadata_of(state));
    ask_history(state, &place, request, head, fx)
}

/// Has the last messages read into this answer.
pub fn ask_history(
    state: &mut State,
    place: &Place,
    request: &Request<'_>,
    head: Map<String, Value>,
    fx: &mut Vec<Effect>,
) -> Handled {
    let number =
        |name: &str, default: usize| request.count(name).and_then(|n| usize::try_from(n).ok()).unwrap_or(default);
    let wanted = history::Ask::default();
    let wanted = history::Ask {
        limit: number("limit", wanted.limit).clamp(1, limits::HISTORY_MESSAGES_MAX),
        offset: number("offset", 0),
        ..wanted
    };
    let ask = Ask::History { path: transcript(state, place), ask: wanted, head };
    read(state, request, ask, fx)
}

/// Has the answer read from transcripts.
pub fn read(state: &mut State, request: &Request<'_>, ask: Ask, fx: &mut Vec<Effect>) -> Handled {
    state.read_begins(request.conn)?;
    fx.push(Effect::Disk(Job::Transcript(ask), Then::Transcript(waiting(request))));
    Ok(Answer::Later)
}

fn history_head(state: &State, place: &Place, request: &Request<'_>) -> Map<String, Value> {
    let mut head = Map::new();
    head.insert("sessionKey".into(), request.text("sessionKey").into());
    let entry = state.sessions.get(&place.agent, &place.key);
    let text = |name: &str| entry.and_then(|entry| entry.text(name)).map(|text| text.to_string());
    head.extend(text("sessionId").map(|id| ("sessionId".to_string(), id.into())));
    head.insert("thinkingLevel".into(), text("thinkingLevel").unwrap_or_else(|| "off".to_string()).into());
    head.extend(text("verboseLevel").map(|level| ("verboseLevel".to_string(), level.into())));
    head
}

/// One message, whole.
pub fn message_get(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let place = place(state, "chat.message.get", request)?;
    let ask = Ask::Message { path: transcript(state, &place), id: request.text("messageId").to_string() };
    read(state, request, ask, fx)
}

/// Models and commands.
pub fn metadata(state: &State, request: &Request<'_>) -> Handled {
    place(state, "chat.metadata", request)?;
    Ok(Answer::Json(metadata_of(state)))
}

fn metadata_of(state: &State) -> Value {
    json!({"models": super::models::rows(state, state.config.default_agent_id()), "commands": command::list(None, true)})
}

/// The commands a person can type.
pub fn commands_list(request: &Request<'_>) -> Handled {
    let scope = request.params.get("scope").and_then(Value::as_str);
    Ok(Answer::Json(json!({"commands": command::list(scope, request.flag("includeArgs") != Some(false))})))
}

/// Adds a message of the assistant.
pub fn inject(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let place = place(state, "chat.inject", request)?;
    agent::check_size("chat.inject", request.text("message"))?;
    let text = made::labelled(request.text("message"), Some(request.text("label")));
    let message = made::value(&made::message(&text, made::Cause::Injected, request.now.wall_ms));
    let note = Note { waiting: Some(waiting(request)), place, run_id: None, seq: 0, message: message.clone() };
    state.add_messages(note, vec![message], request.now, fx)?;
    Ok(Answer::Later)
}

/// Who waits for the answer to this request.
pub fn waiting(request: &Request<'_>) -> Waiting {
    Waiting { conn: request.conn, id: request.id.to_string() }
}
