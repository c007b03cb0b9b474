//! Changes of the pairing books on their way to disk: nothing is acknowledged before it is there.
//! Decides what is written and what is said afterwards; the writing is `disk`'s.

use std::path::Path;

use super::broadcast;
use super::dedupe::Remembered;
use super::disk::{Commit, FileWrite, Job, Then};
use super::event::Effect;
use super::handshake;
use super::pairing::{Change, Write};
use super::runs::Ended;
use super::state::State;
use super::trouble::Trouble;
use crate::protocol::errors::WireError;
use crate::sys::clock::Now;

impl State {
    /// Saves what changed of the device book and then says what is to be said. A change that may be
    /// lost waits for the next occasion, and nobody waits for it.
    pub fn commit_devices(&mut self, change: Change, commit: Commit, now: Now, fx: &mut Vec<Effect>) {
        self.devices_unsaved = self.devices_unsaved.and(change);
        // Also when an earlier change could not be saved: this answer may rest on it.
        if !self.devices_unsaved.is_urgent() {
            return self.committed(commit, now, fx);
        }
        let files = self.device_files();
        fx.push(Effect::Disk(Job::Write(files), Then::Commit(Box::new(commit))));
    }

    /// The same for the node book.
    pub fn commit_nodes(&mut self, change: Change, commit: Commit, now: Now, fx: &mut Vec<Effect>) {
        self.nodes_unsaved = self.nodes_unsaved.and(change);
        if !self.nodes_unsaved.is_urgent() {
            return self.committed(commit, now, fx);
        }
        let files = self.node_files();
        fx.push(Effect::Disk(Job::Write(files), Then::Commit(Box::new(commit))));
    }

    /// Saves what nobody waits for.
    pub fn save_unsaved(&mut self, fx: &mut Vec<Effect>) {
        self.write_cron_log(fx);
        let mut files = self.device_files();
        files.extend(self.node_files());
        files.extend(self.cron_files());
        if !files.is_empty() {
            // Nobody is told, but what cannot be written counts as unsaved again.
            fx.push(Effect::Disk(Job::Write(files), Then::Commit(Box::default())));
        }
    }

    fn device_files(&mut self) -> Vec<FileWrite> {
        let change = std::mem::take(&mut self.devices_unsaved);
        let dir = &self.facts.paths.devices_dir;
        files(change, dir, || self.devices.paired_text(), || self.devices.pending_text())
    }

    fn node_files(&mut self) -> Vec<FileWrite> {
        let change = std::mem::take(&mut self.nodes_unsaved);
        let dir = &self.facts.paths.nodes_dir;
        files(change, dir, || self.nodes.paired_text(), || self.nodes.pending_text())
    }

    /// The change is on disk: tell everyone concerned.
    pub fn committed(&mut self, mut commit: Commit, now: Now, fx: &mut Vec<Effect>) {
        // One that was stopped meanwhile is not restored by the next start.
        if let Some(line) = commit.line.take_if(|line| self.runs.find(&line.run_id).is_some()) {
            let job = self.journal_open(&line);
            return fx.push(Effect::Disk(job, Then::Commit(Box::new(commit))));
        }
        for (name, payload) in &commit.events {
            self.broadcast(name, payload, fx);
        }
        if let Some((waiting, payload)) = &commit.reply {
            broadcast::reply(fx, waiting.conn, &waiting.id, payload);
            if let Some(name) = commit.remembered {
                self.memory.note(name, Remembered::Ended(Ok(payload.clone())), now.mono);
            }
        }
        self.tell_changes(&commit.changed, fx);
        if let Some(key) = commit.held {
            self.let_go(&key, now, fx);
        }
        if let Some((file, waiting, key)) = commit.put_away {
            fx.push(Effect::Disk(Job::PutAway(vec![file], now.wall_ms), Then::PutAway(waiting, key)));
        }
        if !commit.retain.is_empty() {
            fx.push(Effect::Disk(Job::Retain(commit.retain), Then::Nothing));
        }
        for conn in commit.revoked {
            self.close(conn, 4001, "client invalidated: device token revoked or device removed", fx);
        }
        if let Some(greeting) = commit.greeting {
            handshake::welcome(self, &greeting, now, fx);
        }
    }

    /// The change stays in memory and is written with the next one, but whoever asked for it must not
    /// believe that it is safe.
    pub fn not_committed(&mut self, commit: Commit, text: &str, now: Now, fx: &mut Vec<Effect>) {
        self.trouble.add(Trouble::WriteFailed, None, now.wall_ms);
        self.devices_unsaved = self.devices_unsaved.and(Change::BOTH);
        self.nodes_unsaved = self.nodes_unsaved.and(Change::BOTH);
        self.cron.unsaved = true;
        self.sessions.not_saved();
        if !commit.retain.is_empty() {
            self.sweeps.again();
        }
        self.system_events.not_saved();
        let asker = commit.message.as_ref().and_then(|id| self.runs.get(self.runs.find(id)?)?.asker.clone());
        let refused = commit.message.as_ref().is_some_and(|id| self.drop_message(id, fx));
        let text = match refused {
            true => format!("message not accepted, because it cannot be saved: {text}"),
            false => format!("in effect until the next restart, but not saved: {text}"),
        };
        if let Some(name) = &commit.remembered {
            self.memory.drop(name);
        }
        // The same call is carried out, and saved, once the disk takes it.
        let error = WireError { retryable: Some(true), ..WireError::unavailable(text) };
        // A client that waits for the run's end is told below, in its first answer.
        if let (Some(asker), Some(run_id), true, None) = (asker, &commit.message, refused, &commit.reply) {
            self.tell_asker(&asker, run_id, Err(&error), fx);
        }
        let put_away = commit.put_away.as_ref().map(|wish| &wish.1);
        for waiting in commit.reply.as_ref().map(|(waiting, _)| waiting).into_iter().chain(put_away) {
            self.counters.failed += 1;
            broadcast::fail(fx, waiting.conn, &waiting.id, &error);
        }
        if let Some(id) = commit.message.as_ref().filter(|_| refused) {
            let ended = Ended { started_ms: None, ended_ms: now.wall_ms, error: Some(error.message.clone()) };
            self.note_end(id, &ended, now, fx);
        }
        if let Some(key) = &commit.held {
            self.let_go(key, now, fx);
        }
        if self.stopping {
            self.exit_when_empty(fx);
        }
        if let Some(greeting) = commit.greeting {
            self.counters.refused += 1;
            broadcast::fail(fx, greeting.conn, &greeting.id, &error);
            self.close(greeting.conn, 1011, error.message, fx);
        }
    }
}

fn files(change: Change, dir: &Path, paired: impl Fn() -> String, pending: impl Fn() -> String) -> Vec<FileWrite> {
    let mut files = Vec::new();
    if change.paired != Write::None {
        files.push(FileWrite { path: dir.join("paired.json"), bytes: paired().into_bytes() });
    }
    if change.pending != Write::None {
        files.push(FileWrite { path: dir.join("pending.json"), bytes: pending().into_bytes() });
    }
    files
}
