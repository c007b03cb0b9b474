//! `chat.*`: what a chat window does with a session.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::agent;
use super::commands::{self, Sent};
use crate::agent::control::AbortReason;
use crate::agent::model::Thinking;
use crate::gateway::attachments;
use crate::gateway::dedupe;
use crate::gateway::disk::{Job, Then, Waiting};
use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Effect, Handled};
use crate::gateway::intake::Intake;
use crate::gateway::notes::Note;
use crate::gateway::runs::Origin;
use crate::gateway::session_key::{self, Place};
use crate::gateway::state::State;
use crate::gateway::transcripts::Ask;
use crate::limits;
use crate::protocol::errors::WireError;
use crate::session::command::{self, Command, Parsed, TABLE, Wish};
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
    let (text, hints) = match parsed {
        Parsed::Message { text, hints } => (text, hints),
        Parsed::Command(command) => {
            let first = match &command {
                Command::New(rest) => rest.clone(),
                _ => String::new(),
            };
            let sent = Sent { place: &place, method, text: message, run_id: &run_id };
            match commands::run(state, &sent, command, request, fx) {
                Some(handled) => return handled,
                None => (first, Vec::new()),
            }
        }
    };
    let message = text.as_str();
    if request.params.get("queueMode").and_then(Value::as_str) == Some("interrupt") {
        state.stop_runs(&place.key, None, AbortReason::Interrupt, request.now, fx);
    }
    let limit = match request.count("timeoutMs") {
        None => Some(state.config.agents.defaults.timeout),
        Some(0) => None,
        Some(ms) => Some(Duration::from_millis(ms).min(limits::AGENT_TIMEOUT_MAX)),
    };
    let thinking = request.params.get("thinking").and_then(Value::as_str).filter(|text| !text.is_empty());
    let intake = Intake {
        prompt: agent::prompt(state, message, pictures, Some(&run_id), request.now),
        thinking: hinted(&hints).or(agent::thinking(method, thinking)?),
        model: None,
        limit,
        extra_system: None,
        label: None,
        spawned_by: None,
        remembered: dedupe::key(method, &request.params),
        repeated: json!({"runId": run_id, "status": "in_flight"}),
        ack: json!({"runId": run_id, "status": "started"}),
        origin: Origin::Chat,
        run_id,
        place,
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
    let intake = Intake {
        prompt: agent::prompt(state, message, Vec::new(), Some(run_id), request.now),
        limit: Some(state.config.agents.defaults.timeout),
        remembered: None,
        repeated: Value::Null,
        ack: Value::Null,
        origin: Origin::Chat,
        run_id: run_id.to_string(),
        thinking: None,
        model: None,
        extra_system: None,
        label: None,
        spawned_by: None,
        place,
    };
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
    fx.push(Effect::Disk(Job::Transcript(ask), Then::Transcript(waiting(request))));
    Ok(Answer::Later)
}

/// Models and commands.
pub fn metadata(state: &State, request: &Request<'_>) -> Handled {
    place(state, "chat.metadata", request)?;
    Ok(Answer::Json(metadata_of(state)))
}

fn metadata_of(state: &State) -> Value {
    json!({"models": super::models::rows(state, state.config.default_agent_id()), "commands": command_rows()})
}

/// The commands a person can type.
pub fn commands_list() -> Handled {
    Ok(Answer::Json(json!({"commands": command_rows()})))
}

fn command_rows() -> Vec<Value> {
    TABLE.iter().map(command_row).collect()
}

/// A command as `commands.list` shows it.
fn command_row(row: &command::Row) -> Value {
    let names = std::iter::once(&row.name).chain(row.aliases);
    let aliases: Vec<String> = names.map(|name| format!("/{name}")).collect();
    json!({
        "name": row.name, "textAliases": aliases, "description": row.doc, "category": row.category,
        "source": "native", "scope": "text", "acceptsArgs": !row.args.is_empty(),
    })
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
