//! `agent` and `agent.wait`.

use std::time::Duration;

use serde_json::Value;

use crate::agent::message::Block;
use crate::agent::model::{ModelRef, Thinking};
use crate::gateway::attachments;
use crate::gateway::broadcast;
use crate::gateway::dedupe;
use crate::gateway::disk::Waiting;
use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Effect, Handled, Timer};
use crate::gateway::health::millis;
use crate::gateway::intake::Intake;
use crate::gateway::runs::Origin;
use crate::gateway::runs::course::wait_answer;
use crate::gateway::session_key::{self, Place};
use crate::gateway::state::State;
use crate::limits;
use crate::protocol::errors::{Code, WireError};
use crate::session::key::{Chat, ChatKind, KeyRules};
use crate::session::settings::Settings;
use crate::session::stamp;
use crate::store::session::archive;
use crate::sys::clock::Now;

/// Channels a client may name; the older command line always names one, configured or not (protocol.md 8.1).
const CHANNELS: &[&str] = &[
    "last",
    "webchat",
    "whatsapp",
    "telegram",
    "discord",
    "slack",
    "signal",
    "imessage",
    "googlechat",
    "msteams",
    "irc",
    "line",
    "matrix",
    "mattermost",
    "zalo",
    "nostr",
    "feishu",
    "bluebubbles",
];

/// A turn: `accepted` at once, the outcome when it is over.
pub fn run(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let params = &request.params;
    let text = |name: &str| params.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
    let message = request.text("message");
    check_size("agent", message)?;
    let pictures = attachments::pictures("agent", params.get("attachments"))?;
    for name in ["channel", "replyChannel"] {
        if let Some(channel) = text(name).filter(|channel| !CHANNELS.contains(&channel.to_lowercase().as_str())) {
            return Err(WireError::invalid(format!("invalid agent params: unknown channel: {channel}")));
        }
    }
    let place = place(state, request)?;
    let undelivered = undelivered(state, request, &place, text("replyChannel").or(text("channel")))?;
    let run_id = request.text("idempotencyKey").trim().to_string();
    if run_id.is_empty() {
        return Err(WireError::invalid("invalid agent params: at /idempotencyKey: must not be blank"));
    }
    let ack = json!({
        "runId": run_id, "status": "accepted", "acceptedAt": request.now.wall_ms,
        "sessionKey": place.key, "agentId": place.agent,
    });
    let limit = match request.count("timeout") {
        None => Some(state.config.agents.defaults.timeout),
        Some(0) => None,
        Some(seconds) => Some(Duration::from_secs(seconds).min(limits::AGENT_TIMEOUT_MAX)),
    };
    let prompt = prompt(state, message, pictures, None, request.now);
    let intake = Intake {
        thinking: thinking("agent", text("thinking"))?,
        model: model(text("provider"), text("model")),
        extra_system: text("extraSystemPrompt").map(str::to_string),
        label: text("label").map(str::to_string),
        spawned_by: text("spawnedBy").map(str::to_string),
        remembered: dedupe::key("agent", params),
        repeated: ack.clone(),
        ack,
        undelivered,
        may_renew: text("sessionKey").or(text("sessionId")).is_none(),
        ..Intake::new(place, run_id, Origin::Agent, prompt, limit)
    };
    state.take_in(request, intake, fx)
}

/// Why the answer will not be delivered although the caller wants that; refused when the caller must know before the
/// turn. As the original: a main session's turn runs all the same, unless the caller names a channel.
fn undelivered(
    state: &State,
    request: &Request<'_>,
    place: &Place,
    channel: Option<&str>,
) -> Result<Option<&'static str>, WireError> {
    if request.flag("deliver") != Some(true) {
        return Ok(None);
    }
    let last = state.sessions.get(&place.agent, &place.key).and_then(|entry| entry.text("lastChannel"));
    let channel = channel.map(str::to_lowercase).filter(|channel| channel != "last");
    let named = channel.is_some() && channel.as_deref() != Some("webchat");
    let channel = channel.or_else(|| last.map(|last| last.into_owned())).filter(|channel| channel != "webchat");
    let rules = KeyRules::of(&state.config);
    let main = rules.canonical(&place.key).is_some_and(|key| rules.is_main(&key));
    let best_effort = request.flag("bestEffortDeliver").unwrap_or(main && !named);
    match (best_effort, channel) {
        (true, None) => Ok(Some("channel_resolved_to_internal")),
        (true, Some(_)) => Ok(Some("unknown_channel")),
        (false, Some(channel)) => Err(WireError::new(Code::NotLinked, format!("channel is not linked: {channel}"))),
        (false, None) => Err(WireError::invalid(
            "delivery channel is required: pass --channel/--reply-channel or use a main session with a previous channel",
        )),
    }
}

/// The session: by key, by session id, by person, else the main one. An id that no session has begins one of that id,
/// as both originals do; the newer command line names its key itself, also for an id that exists.
fn place(state: &State, request: &Request<'_>) -> Result<Place, WireError> {
    let place = session_key::of_params(&state.config, "agent", &request.params, "sessionKey")?;
    let written = !request.text("sessionKey").trim().is_empty();
    let id = request.text("sessionId").trim();
    if written && (id.is_empty() || session_key::explicit_id(&place.key).is_none()) {
        return Ok(place);
    }
    if id.is_empty() {
        return Ok(of_peer(state, request, place));
    }
    let found = state.sessions.newest_of(|row| row.entry.session_id().as_deref() == Some(id));
    match found {
        Some(row) => Ok(Place { agent: row.agent.to_string(), key: row.key.to_string() }),
        None if written => Ok(place),
        None if archive::is_plain(id) => Ok(session_key::of_id(&state.config, id, &place.agent)),
        None => Err(WireError::invalid("invalid agent params: at /sessionId: must be letters, digits and -_.+@")),
    }
}

/// The session of the person or group a message is about, cut as `session.dmScope` says.
fn of_peer(state: &State, request: &Request<'_>, place: Place) -> Place {
    let (to, group) = (request.text("to").trim(), request.text("groupId").trim());
    let channel = request.text("channel").trim().to_lowercase();
    let channel = if channel.is_empty() || channel == "last" { "webchat" } else { &channel };
    let some = |text: &'static str| Some(request.text(text).trim()).filter(|text| !text.is_empty());
    let (kind, id) = if group.is_empty() { (ChatKind::Direct, to) } else { (ChatKind::Group, group) };
    if id.is_empty() {
        return place;
    }
    let id = id.strip_prefix(channel).and_then(|id| id.strip_prefix(':')).unwrap_or(id);
    let chat = Chat { channel, account: some("accountId"), kind, id, thread: some("threadId") };
    let settings = Settings::read(&state.config.raw);
    let rules = KeyRules::of(&state.config);
    let key = rules.of_chat(&place.agent, &chat, settings.dm_scope, &settings.identity_links);
    Place { key: key.as_str().to_string(), ..place }
}

/// Refuses what no model could read, before anything is stored.
pub fn check_size(method: &str, message: &str) -> Result<(), WireError> {
    if message.len() <= limits::PROMPT_BYTES {
        return Ok(());
    }
    Err(WireError::invalid(format!("invalid {method} params: at /message: larger than {} bytes", limits::PROMPT_BYTES)))
}

/// A thinking level by name.
pub fn thinking(method: &str, text: Option<&str>) -> Result<Option<Thinking>, WireError> {
    let Some(text) = text else { return Ok(None) };
    let level = Thinking::parse(text).ok_or_else(|| {
        let names: Vec<&str> = Thinking::NAMES.iter().map(|(name, _)| *name).collect();
        WireError::invalid(format!("invalid {method} params: at /thinking: must be one of {}", names.join(", ")))
    })?;
    Ok(Some(level))
}

fn model(provider: Option<&str>, model: Option<&str>) -> Option<ModelRef> {
    match (provider, model) {
        (Some(provider), Some(model)) => Some(ModelRef::new(provider, model)),
        (None, Some(model)) => ModelRef::parse(model),
        _ => None,
    }
}

/// The message as the model and the transcript get it: stamped with the time, pictures behind the text.
pub fn prompt(state: &State, message: &str, pictures: Vec<Block>, id: Option<&str>, now: Now) -> Vec<Block> {
    let stamped = stamp::stamp(message, now.wall_ms, &state.facts.zone);
    let text = match id {
        Some(id) => stamp::with_message_id(&stamped, id),
        None => stamped,
    };
    std::iter::once(Block::text(text)).chain(pictures).collect()
}

/// Waits for the end of a run; of an unknown one too, since it may come.
pub fn wait(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let run_id = request.text("runId");
    if let Some(ended) = state.runs.ended.get(run_id) {
        return Ok(Answer::Json(wait_answer(run_id, ended)));
    }
    let timeout = request.count("timeoutMs").map_or(limits::AGENT_WAIT, Duration::from_millis);
    if timeout.is_zero() {
        return Ok(Answer::Json(in_vain(run_id)));
    }
    let waiting = Waiting { conn: request.conn, id: request.id.to_string() };
    let ticket = state.runs.ended.wait(run_id, waiting).ok_or_else(|| {
        let error = WireError::unavailable("too many clients wait for runs");
        WireError { retry_after_ms: Some(millis(limits::AGENT_WAIT)), ..error }
    })?;
    fx.push(Effect::Timer(timeout.min(limits::AGENT_TIMEOUT_MAX), Timer::AgentWait(ticket)));
    Ok(Answer::Later)
}

fn in_vain(run_id: &str) -> Value {
    json!({"runId": run_id, "status": "timeout"})
}

/// Nothing ended in time.
pub fn wait_is_over(state: &mut State, ticket: u64, fx: &mut Vec<Effect>) {
    if let Some((run_id, waiting)) = state.runs.ended.give_up(ticket) {
        broadcast::reply(fx, waiting.conn, &waiting.id, &in_vain(&run_id));
    }
}
