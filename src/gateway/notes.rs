//! Messages of the gateway itself in a session: injected ones and answers to commands. Written first, then told.

use serde_json::Value;

use super::broadcast;
use super::disk::{Job, Then, Waiting};
use super::event::Effect;
use super::session_key::Place;
use super::state::State;
use super::transcripts::Addition;
use crate::protocol::errors::WireError;
use crate::store::session::archive;
use crate::sys::clock::Now;

/// What follows once the messages are written.
pub struct Note {
    /// Whoever waits for the answer.
    pub waiting: Option<Waiting>,
    /// The session.
    pub place: Place,
    /// Name of the run in the `chat` event; none makes one of the message's entry.
    pub run_id: Option<String>,
    /// Number of the `chat` event.
    pub seq: u64,
    /// The last message.
    pub message: Value,
}

impl State {
    /// Has messages written into a session that exists; the last one is told to everyone.
    pub fn add_messages(
        &mut self,
        note: Note,
        messages: Vec<Value>,
        now: Now,
        fx: &mut Vec<Effect>,
    ) -> Result<(), WireError> {
        let Place { agent, key } = &note.place;
        let entry = self.sessions.get(agent, key).ok_or_else(|| WireError::invalid("session not found"))?;
        let session_id = entry.session_id().ok_or_else(|| WireError::invalid("session not found"))?.to_string();
        let store = self.config.session_store(&self.facts.paths, agent);
        let path = archive::transcript(store.parent().unwrap_or(&store), entry)
            .ok_or_else(|| WireError::unavailable("the session has no usable transcript"))?;
        self.check_stuck(&note.place)?;
        if self.runs.of_session(key).any(|(_, run)| run.spec.is_none()) {
            let error = WireError::unavailable("a turn is running in this session; try again when it is over");
            return Err(WireError { retry_after_ms: Some(1000), ..error });
        }
        self.keep_session(&note.place);
        let mut seed = [0_u8; 32];
        self.entropy.fill(&mut seed);
        let workspace = self.config.workspace(&self.facts.paths, agent);
        self.runs.hold(&note.place.key);
        let addition = Addition { path, session_id, workspace, messages, now_ms: now.wall_ms, seed };
        fx.push(Effect::Disk(Job::Add(Box::new(addition)), Then::Added(Box::new(note))));
        Ok(())
    }

    /// The messages are written, or are not.
    pub fn messages_added(&mut self, note: Note, result: Result<String, String>, now: Now, fx: &mut Vec<Effect>) {
        let key = note.place.key.clone();
        self.tell_added(note, result, now, fx);
        self.let_go(&key, now, fx);
    }

    fn tell_added(&mut self, note: Note, result: Result<String, String>, now: Now, fx: &mut Vec<Effect>) {
        let Note { waiting, place, run_id, seq, message } = note;
        let id = match result {
            Ok(id) => id,
            Err(text) => {
                log::error!(target: "agent", "message not written session={} error={text}", place.key);
                if let Some(waiting) = waiting {
                    self.counters.failed += 1;
                    broadcast::fail(fx, waiting.conn, &waiting.id, &WireError::unavailable(text));
                } else if let Some(run_id) = run_id {
                    // The sender of a command waits for its words.
                    self.tell_chat_note(&place.key, &place.agent, &run_id, seq, message, fx);
                }
                return;
            }
        };
        if let Some(entry) = self.sessions.get_mut(&place.agent, &place.key) {
            entry.touch(now.wall_ms);
        }
        self.save_sessions_soon(fx);
        self.tell_message(&place.agent, &place.key, &id, message.clone(), now, fx);
        let run_id = run_id.unwrap_or_else(|| format!("inject-{id}"));
        self.tell_chat_note(&place.key, &place.agent, &run_id, seq, message, fx);
        if let Some(waiting) = waiting {
            broadcast::reply(fx, waiting.conn, &waiting.id, &json!({"ok": true, "messageId": id}));
        }
    }
}
