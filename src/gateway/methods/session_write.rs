//! What clients change about sessions: reset, delete, shorten, create, send, stop. A change is on disk before it is
//! acknowledged; a session whose turn is running is stopped first.

use serde_json::Value;

use super::chat::{self, waiting};
use super::commands;
use super::session_read::place;
use crate::agent::control::AbortReason;
use crate::agent::model::resolve;
use crate::gateway::broadcast;
use crate::gateway::dedupe;
use crate::gateway::disk::{Commit, Job, Then, Waiting};
use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Effect, Handled, Timer};
use crate::gateway::session_key::Place;
use crate::gateway::state::State;
use crate::gateway::transcripts::Ask;
use crate::limits;
use crate::protocol::errors::WireError;
use crate::session::key::{KeyRules, SessionKey};
use crate::session::lifecycle;
use crate::session::list::Found;
use crate::session::patch::{self, Asks};
use crate::session::throwaway;
use crate::store::session::entry::Entry;
use crate::sys::clock::Now;

/// Lines a shortened transcript keeps when the client names no number (agent.md 11).
const KEPT_LINES: u64 = 400;

/// Begins a session anew under its key: another transcript, the switches stay.
pub fn reset(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let place = place(state, "sessions.reset", request)?;
    expect(state, &place, request)?;
    state.stop_runs(&place.key, None, AbortReason::Rpc, request.now, fx);
    let entry = commands::renew(state, &place, request)?;
    let answer = json!({"ok": true, "key": place.key, "entry": entry_value(&entry)});
    commit(state, &place, "reset", answer, request, fx)
}

/// What a patch asks of the gateway.
pub struct ModelWorld<'a> {
    /// The gateway.
    pub state: &'a State,
    /// The session's agent.
    pub agent: &'a str,
}

impl Asks for ModelWorld<'_> {
    fn label_in_use(&self, label: &str, key: &SessionKey) -> bool {
        let other =
            |row: &Found<'_>| row.key != key.as_str() && row.entry.text("label").is_some_and(|own| own == label);
        self.state.sessions.all().any(|row| other(&row))
    }

    fn model(&self, written: &str) -> Result<(String, String), String> {
        let found = resolve::find(&self.state.config, written).map_err(|error| error.message)?;
        match resolve::allowed(&self.state.config, &found) {
            true => Ok((found.provider, found.model)),
            false => Err(format!("model not allowed: {found}")),
        }
    }

    fn default_model(&self) -> Option<(String, String)> {
        let selection = resolve::select(&self.state.config, self.agent, None).ok()??;
        Some((selection.primary.provider, selection.primary.model))
    }

    fn has_extra_high(&self) -> bool {
        true
    }
}

/// Changes a session's switches; a session that does not exist begins to.
pub fn patch(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let place = place(state, "sessions.patch", request)?;
    let key = KeyRules::of(&state.config).canonical(&place.key).ok_or_else(|| WireError::invalid("key required"))?;
    let known = state.sessions.get(&place.agent, &place.key).cloned();
    let fresh = state.entropy.uuid();
    let before = known.unwrap_or_else(|| Entry::new(&fresh, request.now.wall_ms));
    let empty = serde_json::Map::new();
    let params = request.params.as_object().unwrap_or(&empty);
    let world = ModelWorld { state, agent: &place.agent };
    let entry = patch::apply(&before, &key, params, &world, request.now.wall_ms)
        .map_err(|refusal| WireError::invalid(refusal.to_string()))?;
    let path = state.config.session_store(&state.facts.paths, &place.agent);
    let shown = path.display().to_string();
    state.sessions.open(&place.agent, || path)?.insert(&place.key, entry.clone());
    let resolved = state.defaults().resolve(Some(&entry));
    let answer = lifecycle::patch_answer(&key, &entry, &shown, resolved);
    commit(state, &place, "patch", answer, request, fx)
}

/// An entry as clients get it.
pub fn entry_value(entry: &Entry) -> Value {
    Value::Object(entry.fields().to_map())
}

/// A change that was made for another state of the session is refused.
fn expect(state: &State, place: &Place, request: &Request<'_>) -> Result<(), WireError> {
    let expected = request.text("expectedSessionId");
    let entry = state.sessions.get(&place.agent, &place.key);
    let current = entry.and_then(|entry| entry.session_id()).unwrap_or_default();
    if expected.is_empty() || expected == current {
        return Ok(());
    }
    Err(WireError::invalid(format!("session {} has changed; reload and try again", place.key)))
}

/// Saves, then answers and tells followers.
pub fn commit(
    state: &mut State,
    place: &Place,
    reason: &str,
    answer: Value,
    request: &Request<'_>,
    fx: &mut Vec<Effect>,
) -> Handled {
    state.keep_session(place);
    let commit = change(state, place, reason, answer, request);
    state.commit_sessions(commit, fx);
    Ok(Answer::Later)
}

fn change(state: &State, place: &Place, reason: &str, answer: Value, request: &Request<'_>) -> Commit {
    let changed = state.change_of(&place.agent, &place.key, reason, request.now);
    Commit {
        reply: Some((waiting(request), answer)),
        changed: changed.into_iter().collect(),
        remembered: dedupe::key(&format!("sessions.{reason}"), &request.params),
        ..Commit::default()
    }
}

/// Forgets a session; its transcript is renamed, not erased.
pub fn delete(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let place = place(state, "sessions.delete", request)?;
    let rules = KeyRules::of(&state.config);
    if let Some(key) = rules.canonical(&place.key) {
        lifecycle::may_delete(&key, &rules).map_err(|refusal| WireError::invalid(refusal.to_string()))?;
    }
    expect(state, &place, request)?;
    state.stop_runs(&place.key, None, AbortReason::Rpc, request.now, fx);
    state.next_deletion += 1;
    let deletion = Deletion {
        ticket: state.next_deletion,
        transcript: request.flag("deleteTranscript") != Some(false),
        remembered: dedupe::key("sessions.delete", &request.params),
        waiting: waiting(request),
        place,
    };
    if !state.runs.is_at_work(&deletion.place.key) {
        return delete_now(state, deletion, request.now, fx);
    }
    if state.deletions.len() >= limits::DELETIONS {
        return Err(still_active(&deletion.place.key));
    }
    // Its turn is stopping; none may begin before the session is gone.
    state.runs.hold(&deletion.place.key);
    fx.push(Effect::Timer(limits::DELETE_WAIT, Timer::DeleteWait(deletion.ticket)));
    state.deletions.push(deletion);
    Ok(Answer::Later)
}

/// A session that goes as soon as its turn has stopped.
pub struct Deletion {
    ticket: u64,
    place: Place,
    waiting: Waiting,
    transcript: bool,
    remembered: Option<String>,
}

fn still_active(key: &str) -> WireError {
    let text = format!("session {key} is still active; try again in a moment.");
    WireError { retry_after_ms: Some(500), ..WireError::unavailable(text) }
}

fn delete_now(state: &mut State, deletion: Deletion, now: Now, fx: &mut Vec<Effect>) -> Handled {
    let Deletion { place, waiting, remembered, .. } = deletion;
    let transcript = chat::transcript(state, &place).filter(|_| deletion.transcript);
    let path = state.config.session_store(&state.facts.paths, &place.agent);
    let deleted = state.sessions.open(&place.agent, || path)?.remove(&place.key).is_some();
    let changed = state.change_of(&place.agent, &place.key, "delete", now).into_iter().collect();
    let commit = match transcript.filter(|_| deleted) {
        // The index goes first, and has to be on disk: a transcript without an entry is harmless, an entry without one is not.
        Some(file) => Commit { changed, put_away: Some((file, waiting, place.key)), ..Commit::default() },
        None => {
            let answer = json!({"ok": true, "key": place.key, "deleted": deleted, "archived": []});
            Commit { reply: Some((waiting, answer)), changed, remembered, ..Commit::default() }
        }
    };
    state.commit_sessions(commit, fx);
    Ok(Answer::Later)
}

impl State {
    /// A turn of this session has ended: whoever waits to delete it goes on.
    pub fn deletions_go_on(&mut self, key: &str, now: Now, fx: &mut Vec<Effect>) {
        while !self.runs.is_at_work(key) {
            let Some(at) = self.deletions.iter().position(|deletion| deletion.place.key == key) else { return };
            let deletion = self.deletions.remove(at);
            // What came meanwhile was for a session that is no more.
            self.stop_runs(key, None, AbortReason::Rpc, now, fx);
            self.let_go(key, now, fx);
            let waiting = deletion.waiting.clone();
            if let Err(error) = delete_now(self, deletion, now, fx) {
                self.counters.failed += 1;
                broadcast::fail(fx, waiting.conn, &waiting.id, &error);
            }
        }
    }

    /// A turn has not stopped in time: the session stays.
    pub fn deletion_is_over(&mut self, ticket: u64, now: Now, fx: &mut Vec<Effect>) {
        let Some(at) = self.deletions.iter().position(|deletion| deletion.ticket == ticket) else { return };
        let Deletion { place, waiting, .. } = self.deletions.remove(at);
        self.counters.failed += 1;
        broadcast::fail(fx, waiting.conn, &waiting.id, &still_active(&place.key));
        self.let_go(&place.key, now, fx);
    }
}

/// Shortens a transcript to its last lines.
pub fn compact(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let place = place(state, "sessions.compact", request)?;
    state.check_stuck(&place)?;
    if state.runs.of_session(&place.key).next().is_some() {
        let error = WireError::unavailable("a turn is running in this session; try again when it is over");
        return Err(WireError { retry_after_ms: Some(1000), ..error });
    }
    let lines = usize::try_from(request.count("maxLines").unwrap_or(KEPT_LINES)).unwrap_or(usize::MAX);
    let session_id = state.sessions.get(&place.agent, &place.key).and_then(|entry| entry.session_id());
    let ask = Ask::Shorten {
        session_id: session_id.map(|id| id.to_string()).unwrap_or_default(),
        path: chat::transcript(state, &place),
        key: place.key.clone(),
        lines,
        now_ms: request.now.wall_ms,
    };
    state.keep_session(&place);
    // A turn that began now would go on writing into the file that is being replaced.
    state.runs.hold(&place.key);
    fx.push(Effect::Disk(Job::Transcript(ask), Then::Shortened(waiting(request), place)));
    Ok(Answer::Later)
}

/// Begins a session, with a first turn if there is a message.
pub fn create(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let place = match request.text("key").trim() {
        "" => fresh_place(state, request)?,
        _ => place(state, "sessions.create", request)?,
    };
    let label = request.text("label").trim().to_string();
    let taken = |row: &Found<'_>| row.key != place.key && row.entry.text("label").as_deref() == Some(label.as_str());
    if !label.is_empty() && state.sessions.all().any(|row| taken(&row)) {
        return Err(WireError::invalid(format!("label already in use: {label}")));
    }
    let entry = make(state, &place, request)?;
    let message = [request.text("message"), request.text("task")].into_iter().find(|text| !text.trim().is_empty());
    let mut answer = json!({
        "ok": true, "key": place.key, "runStarted": message.is_some(), "entry": entry_value(&entry),
        "sessionId": entry.session_id().unwrap_or_default(),
    });
    let mut commit = change(state, &place, "create", Value::Null, request);
    if let Some(message) = message {
        // It starts once the session is on disk and its client knows the run.
        state.runs.hold(&place.key);
        let run_id = match start_first(state, &place, message, request, fx) {
            Ok(run_id) => run_id,
            Err(error) => {
                state.let_go(&place.key, request.now, fx);
                return Err(error);
            }
        };
        (commit.message, commit.held) = (Some(run_id.clone()), Some(place.key));
        if let Some(members) = answer.as_object_mut() {
            members.insert("runId".into(), run_id.into());
        }
    }
    commit.reply = Some((waiting(request), answer));
    state.commit_sessions(commit, fx);
    Ok(Answer::Later)
}

fn fresh_place(state: &mut State, request: &Request<'_>) -> Result<Place, WireError> {
    let Place { agent, .. } = place(state, "sessions.create", request)?;
    let key = format!("agent:{agent}:dashboard:{}", state.entropy.uuid());
    Ok(Place { agent, key })
}

fn make(state: &mut State, place: &Place, request: &Request<'_>) -> Result<Entry, WireError> {
    let path = state.config.session_store(&state.facts.paths, &place.agent);
    let fresh = state.entropy.uuid();
    let wish = request.text("model").trim();
    let world = ModelWorld { state, agent: &place.agent };
    let chosen = (!wish.is_empty()).then(|| world.model(wish)).transpose().map_err(WireError::invalid)?;
    let default = world.default_model();
    let index = state.sessions.open(&place.agent, || path)?;
    let mut entry = index.get(&place.key).cloned().unwrap_or_default();
    if entry.session_id().is_none() {
        entry.set("sessionId", fresh);
    }
    entry.touch(request.now.wall_ms);
    let members = [("label", "label"), ("thinkingLevel", "thinkingLevel"), ("parentSessionKey", "spawnedBy")];
    for (param, member) in members {
        let text = request.text(param).trim();
        if !text.is_empty() {
            entry.set(member, text);
        }
    }
    if let Some(chosen) = chosen {
        patch::set_model(&mut entry, chosen, default.as_ref());
    }
    throwaway::keep(&mut entry);
    index.insert(&place.key, entry.clone());
    Ok(entry)
}

/// The first turn of a new session; its own answer is the session's.
fn start_first(
    state: &mut State,
    place: &Place,
    message: &str,
    request: &Request<'_>,
    fx: &mut Vec<Effect>,
) -> Result<String, WireError> {
    let run_id = state.entropy.uuid();
    chat::begin(state, place.clone(), message, &run_id, request, fx)?;
    Ok(run_id)
}

/// A message for a session.
pub fn send(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let place = place(state, "sessions.send", request)?;
    chat::send_to(state, "sessions.send", place, request, fx)
}

/// The same, instead of the turn that is running.
pub fn steer(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let place = place(state, "sessions.steer", request)?;
    if state.sessions.get(&place.agent, &place.key).is_none() {
        return Err(WireError::invalid(format!("session not found: {}", request.text("key"))));
    }
    let mut params = request.params.clone();
    if let Some(members) = params.as_object_mut() {
        members.insert("queueMode".to_string(), "interrupt".into());
    }
    let request = Request { params, ..*request };
    chat::send_to(state, "sessions.steer", place, &request, fx)
}

/// Stops a session's turns, or one run.
pub fn abort(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let run_id = request.text("runId");
    let by_run = state.runs.find(run_id).and_then(|no| state.runs.get(no)).map(|run| run.session_key.clone());
    let key = match (request.text("key").trim().is_empty(), by_run) {
        (false, _) => place(state, "sessions.abort", request)?.key,
        (true, Some(key)) => key,
        (true, None) if run_id.is_empty() => return Err(WireError::invalid("key or runId required")),
        (true, None) => String::new(),
    };
    let only = (!run_id.is_empty()).then_some(run_id);
    let stopped = state.stop_runs(&key, only, AbortReason::Rpc, request.now, fx);
    let first = stopped.run_ids.first();
    Ok(Answer::Json(json!({
        "ok": true,
        "abortedRunId": first,
        "status": if first.is_some() { "aborted" } else { "no-active-run" },
    })))
}
