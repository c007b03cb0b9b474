//! Changes of sessions as followers hear of them, and what the end of a run leaves in its session's entry.
//! Decides entries and events; files are written by the disk thread.

use std::path::Path;

use serde_json::Value;

use super::broadcast::Reach;
use super::event::{ConnId, Effect};
use super::runs::outcome::Outcome;
use super::runs::{Run, RunNo};
use super::state::State;
use crate::session::lifecycle::{self, Finished};
use crate::session::{prompt, row};
use crate::store::sessions::Arrival;
use crate::sys::clock::Now;

impl State {
    /// A session's row.
    pub fn session_row(&self, agent: &str, key: &str) -> Option<Value> {
        let found = self.sessions.row(agent, key)?;
        Some(Value::Object(row::row(found.key, found.entry, &self.defaults())))
    }

    /// The payload of `sessions.changed`; none when nobody listens.
    pub fn change_of(&self, agent: &str, key: &str, reason: &str, now: Now) -> Option<Value> {
        if self.watch.of_all().is_empty() {
            return None;
        }
        let mut payload = json!({"sessionKey": key, "agentId": agent, "reason": reason, "ts": now.wall_ms});
        if let (Some(row), Some(members)) = (self.session_row(agent, key), payload.as_object_mut()) {
            members.insert("session".into(), row);
        }
        Some(payload)
    }

    /// Tells followers of all sessions.
    pub fn tell_changes(&mut self, changes: &[Value], fx: &mut Vec<Effect>) {
        for change in changes {
            let followers = self.watch.of_all();
            self.tell(&followers, "sessions.changed", &change.to_string(), Reach::Numbered, fx);
        }
    }

    /// Another program, an original's `agent --local` for instance, has written into a session index.
    pub fn sessions_arrived(&mut self, path: &Path, arrivals: Vec<Arrival>, now: Now, fx: &mut Vec<Effect>) {
        let Some((agent, keys)) = self.sessions.arrived(path, arrivals) else { return };
        log::info!(target: "store", "{} sessions were changed by another program file={}", keys.len(), path.display());
        let change = |key: &String| {
            let reason = if self.sessions.get(&agent, key).is_some() { "send" } else { "delete" };
            self.change_of(&agent, key, reason, now)
        };
        let changed: Vec<Value> = keys.iter().filter_map(change).collect();
        self.tell_changes(&changed, fx);
        self.save_sessions_soon(fx);
    }

    /// Who follows this session's messages.
    pub fn followers(&self, key: &str) -> Vec<ConnId> {
        self.watch.of(key)
    }

    /// A message stands in the transcript of a run's session.
    pub fn message_appended(&mut self, no: RunNo, id: &str, message: Value, now: Now, fx: &mut Vec<Effect>) {
        let Some(run) = self.runs.get(no) else { return };
        let (agent, key) = (run.agent_id.clone(), run.session_key.clone());
        self.tell_message(&agent, &key, id, message, now, fx);
    }

    /// A message stands in a session's transcript: its followers get it.
    pub fn tell_message(&mut self, agent: &str, key: &str, id: &str, message: Value, now: Now, fx: &mut Vec<Effect>) {
        let followers = self.followers(key);
        if followers.is_empty() || prompt::is_silence(&message) {
            return;
        }
        let mut payload = json!({
            "sessionKey": key, "agentId": agent, "message": message, "messageId": id, "updatedAt": now.wall_ms,
        });
        if let (Some(row), Some(members)) = (self.session_row(agent, key), payload.as_object_mut()) {
            members.insert("session".into(), row);
        }
        self.tell(&followers, "session.message", &payload.to_string(), Reach::Numbered, fx);
    }

    /// A conversation is being shortened, or that is over.
    pub fn compaction(&mut self, no: RunNo, done: bool, completed: bool, now: Now, fx: &mut Vec<Effect>) {
        let data = match done {
            false => json!({"phase": "start"}),
            true => json!({"phase": "end", "willRetry": completed}),
        };
        self.tell_stream(no, "compaction", &data, now, fx);
        let Some(run) = self.runs.get(no) else { return };
        let followers = self.followers(&run.session_key);
        if followers.is_empty() {
            return;
        }
        let mut payload = json!({
            "sessionKey": run.session_key, "agentId": run.agent_id, "operationId": format!("compact-{}", run.id),
            "operation": "compact", "phase": if done { "end" } else { "start" }, "ts": now.wall_ms,
        });
        if let Some(members) = payload.as_object_mut().filter(|_| done) {
            members.insert("completed".into(), completed.into());
        }
        self.tell(&followers, "session.operation", &payload.to_string(), Reach::Numbered, fx);
    }

    /// What a run leaves in its session's entry (agent.md 9): model, tokens of the last call, whether it was stopped.
    pub fn session_after_run(&mut self, run: &Run, outcome: &Outcome, now: Now, fx: &mut Vec<Effect>) {
        let account = &outcome.account;
        let kept = self.heartbeats.age_kept(run);
        let Some(entry) = self.sessions.get_mut(&run.agent_id, &run.session_key) else { return };
        // A reset or a new session meanwhile: this run belongs to the transcript before it.
        if entry.session_id().as_deref() != Some(run.session_id.as_str()) {
            return;
        }
        let model = account.model.clone().unwrap_or_default();
        let last = &account.last_usage;
        let finished = Finished {
            provider: model.provider,
            model: model.model,
            context_tokens: Some(account.context_window).filter(|tokens| *tokens > 0),
            tokens: (last.total_tokens > 0).then(|| (last.input, last.output, last.prompt_tokens())),
            aborted: outcome.stopped().is_some() && !run.is_heartbeat(),
            cli_session: account.cli_session.clone(),
            compactions: account.compactions,
        };
        let age = kept.filter(|(touched, _)| *touched == entry.updated_ms()).map(|(_, before)| before);
        lifecycle::finish(entry, &finished, now.wall_ms);
        if let Some(before) = age {
            entry.set("updatedAt", before);
        }
        if let Some(tokens) = account.shortened_to {
            entry.set("totalTokens", tokens);
        }
        if let Some(model) = account.model.as_ref().filter(|_| !account.paid_by.is_empty()) {
            self.models.paid_by.insert(model.provider.clone(), account.paid_by.clone());
        }
        self.save_sessions_soon(fx);
        let change = self.change_of(&run.agent_id, &run.session_key, "end", now);
        self.tell_changes(change.as_slice(), fx);
    }
}
