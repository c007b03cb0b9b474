//! Changes of sessions as followers hear of them, and what the end of a run leaves in its session's entry.
//! Decides entries and events; files are written by the disk thread.

use serde_json::{Value, json};

use super::broadcast::Reach;
use super::event::{ConnId, Effect};
use super::runs::outcome::Outcome;
use super::runs::{Run, RunNo};
use super::state::State;
use crate::sys::clock::Now;

impl State {
    /// The payload of `sessions.changed`; none when nobody listens.
    pub fn change_of(&self, agent: &str, key: &str, reason: &str, now: Now) -> Option<Value> {
        if self.watch.of_all().is_empty() {
            return None;
        }
        let mut payload = json!({"sessionKey": key, "agentId": agent, "reason": reason, "ts": now.wall_ms});
        if let (Some(row), Some(members)) = (self.sessions.row(agent, key), payload.as_object_mut()) {
            members.insert("session".into(), row.to_wire());
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
        if followers.is_empty() {
            return;
        }
        let mut payload = json!({
            "sessionKey": key, "agentId": agent, "message": message, "messageId": id, "updatedAt": now.wall_ms,
        });
        if let (Some(row), Some(members)) = (self.sessions.row(agent, key), payload.as_object_mut()) {
            members.insert("session".into(), row.to_wire());
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
        let Some(entry) = self.sessions.get_mut(&run.agent_id, &run.session_key) else { return };
        // A reset or a new session meanwhile: this run belongs to the transcript before it.
        if entry.session_id().as_deref() != Some(run.session_id.as_str()) {
            return;
        }
        entry.touch(now.wall_ms);
        entry.set("abortedLastRun", outcome.stopped().is_some());
        if let Some(model) = &account.model {
            entry.set("systemSent", true);
            entry.set("modelProvider", model.provider.as_str());
            entry.set("model", model.model.as_str());
            entry.set("contextTokens", account.context_window);
            entry.set("inputTokens", account.last_usage.input);
            entry.set("outputTokens", account.last_usage.output);
            entry.set("totalTokens", account.last_usage.prompt_tokens());
        }
        if account.compactions > 0 {
            let before = entry.number("compactionCount").unwrap_or(0);
            entry.set("compactionCount", before + account.compactions);
        }
        if let Some((backend, id)) = &account.cli_session {
            let mut ids = entry.object("cliSessionIds").unwrap_or_default();
            ids.set(backend, id.as_str());
            entry.set("cliSessionIds", &ids);
        }
        self.save_sessions_soon(fx);
        let change = self.change_of(&run.agent_id, &run.session_key, "end", now);
        self.tell_changes(change.as_slice(), fx);
    }
}
