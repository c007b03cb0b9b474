//! From a message a client sends to a run in its lane: session entry, plan of the run, first answer. The answer goes
//! out after a new entry is on disk; the run starts after the answer.

use serde_json::Value;

use super::dedupe::Remembered;
use super::disk::{Commit, Then, Waiting};
use super::dispatch::Request;
use super::event::{Answer, ConnId, Effect, Handled};
use super::runs::said::Said;
use super::runs::{Asker, Origin, Phase, Run, RunNo, Verbose};
use super::session_key::Place;
use super::state::State;
use crate::agent::control::AbortReason;
use crate::agent::message::Block;
use crate::agent::model::{ModelRef, Thinking};
use crate::agent::run::RunSpec;
use crate::limits;
use crate::protocol::errors::WireError;
use crate::store::session::archive;
use crate::store::session::entry::Entry;
use crate::sys::clock::Now;
use std::time::Duration;

/// A message on its way to become a run.
pub struct Intake {
    /// Which session.
    pub place: Place,
    /// The client's name for the run.
    pub run_id: String,
    /// How it was asked for.
    pub origin: Origin,
    /// What the person says.
    pub prompt: Vec<Block>,
    /// How much the model thinks, for this turn.
    pub thinking: Option<Thinking>,
    /// The model, for this turn.
    pub model: Option<ModelRef>,
    /// Time limit; none is no limit.
    pub limit: Option<Duration>,
    /// More for the system prompt.
    pub extra_system: Option<String>,
    /// A name for the session.
    pub label: Option<String>,
    /// The session that asked for this one.
    pub spawned_by: Option<String>,
    /// Under which name a repeated call finds it.
    pub remembered: Option<String>,
    /// What a repeated call gets while it runs.
    pub repeated: Value,
    /// The first answer.
    pub ack: Value,
}

impl State {
    /// Takes a message in. The answer comes at once, or when a new session is on disk.
    pub fn take_in(&mut self, request: &Request<'_>, intake: Intake, fx: &mut Vec<Effect>) -> Handled {
        self.check_room(&intake.run_id)?;
        let (entry, created) = self.open_session(&intake, request.now)?;
        let waiting = || Waiting { conn: request.conn, id: request.id.to_string() };
        let asker = (intake.origin == Origin::Agent).then(|| Asker::Client(waiting()));
        let remembered = intake.remembered.clone();
        let (ack, repeated) = (intake.ack.clone(), intake.repeated.clone());
        let run = self.plan(intake, &entry, Some(request.conn), asker, request.now)?;
        let (agent, key) = (run.agent_id.clone(), run.session_key.clone());
        let no = self.enqueue_run(run);
        if let Some(name) = remembered {
            self.memory.note(name, Remembered::Running(Some(repeated)), request.now.mono);
        }
        let reason = if created { "create" } else { "send" };
        let changed = self.change_of(&agent, &key, reason, request.now);
        if created {
            self.runs.hold(&key);
            let reply = Some((Waiting { conn: request.conn, id: request.id.to_string() }, ack));
            let changed = changed.into_iter().collect();
            let commit = Commit { reply, changed, run: Some(no), held: Some(key), ..Commit::default() };
            self.commit_sessions(commit, fx);
            return Ok(Answer::Later);
        }
        self.tell_changes(changed.as_slice(), fx);
        super::broadcast::reply(fx, request.conn, request.id, &ack);
        self.start_due_runs(fx);
        Ok(Answer::Later)
    }

    /// The same for a message whose sender gets another answer, or none.
    pub fn take_in_for(
        &mut self,
        conn: Option<ConnId>,
        asker: Option<Asker>,
        intake: Intake,
        now: Now,
        fx: &mut Vec<Effect>,
    ) -> Result<(), WireError> {
        self.check_room(&intake.run_id)?;
        let (entry, _) = self.open_session(&intake, now)?;
        let run = self.plan(intake, &entry, conn, asker, now)?;
        self.enqueue_run(run);
        self.save_sessions_soon(fx);
        self.start_due_runs(fx);
        Ok(())
    }

    fn check_room(&self, run_id: &str) -> Result<(), WireError> {
        if self.runs.len() >= limits::RUNS {
            let text = format!("too many runs are waiting (limit {})", limits::RUNS);
            return Err(WireError { retry_after_ms: Some(1000), ..WireError::unavailable(text) });
        }
        match self.runs.find(run_id) {
            Some(_) => Err(WireError::invalid("a run with this idempotencyKey is already active")),
            None => Ok(()),
        }
    }

    /// The session's entry after this message touched it, and whether it is new.
    fn open_session(&mut self, intake: &Intake, now: Now) -> Result<(Entry, bool), WireError> {
        let Place { agent, key } = &intake.place;
        let path = self.config.session_store(&self.facts.paths, agent);
        let fresh = self.entropy.uuid();
        let index = self.sessions.open(agent, || path)?;
        let known = index.get(key).cloned();
        if known.as_ref().and_then(|entry| entry.text("sendPolicy")).as_deref() == Some("deny") {
            return Err(WireError::invalid("send blocked by session policy"));
        }
        let created = known.as_ref().and_then(|entry| entry.session_id()).is_none();
        let mut entry = known.unwrap_or_default();
        if created {
            entry.set("sessionId", fresh);
        }
        entry.touch(now.wall_ms);
        if entry.flag("abortedLastRun") == Some(true) {
            entry.set("abortedLastRun", false);
        }
        if let Some(label) = &intake.label {
            entry.set("label", label.as_str());
        }
        if let Some(parent) = &intake.spawned_by {
            entry.set("spawnedBy", parent.as_str());
        }
        index.insert(key, entry.clone());
        Ok((entry, created))
    }

    fn plan(
        &mut self,
        intake: Intake,
        entry: &Entry,
        conn: Option<ConnId>,
        asker: Option<Asker>,
        now: Now,
    ) -> Result<Run, WireError> {
        let place = intake.place;
        let session_id = entry.session_id().map(|id| id.to_string()).unwrap_or_default();
        let store = self.config.session_store(&self.facts.paths, &place.agent);
        let folder = store.parent().unwrap_or(&store);
        let transcript = archive::transcript(folder, entry)
            .ok_or_else(|| WireError::unavailable(format!("session {} has an unusable transcript name", place.key)))?;
        let mut seed = [0_u8; 32];
        self.entropy.fill(&mut seed);
        let own_model = match (entry.text("providerOverride"), entry.text("modelOverride")) {
            (Some(provider), Some(model)) => Some(ModelRef::new(provider, model)),
            (None, Some(model)) => ModelRef::parse(&model),
            _ => None,
        };
        let notes = self.take_notes(&place);
        let notes = notes.iter().map(|line| format!("System: {line}")).collect::<Vec<_>>().join("\n");
        let notes = (!notes.is_empty()).then(|| Block::text(notes));
        let Place { agent, key } = place;
        let word = |name: &str| entry.text(name).map(|word| word.into_owned());
        let spec = RunSpec {
            run_id: intake.run_id.clone(),
            session_key: key.clone(),
            agent_id: agent.clone(),
            session_id: session_id.clone(),
            transcript,
            workspace: self.config.workspace(&self.facts.paths, &agent),
            prompt: notes.into_iter().chain(intake.prompt).collect(),
            exec_security: word("execSecurity"),
            exec_ask: word("execAsk"),
            model: intake.model.or(own_model),
            thinking: intake.thinking.or_else(|| entry.text("thinkingLevel").and_then(|level| Thinking::parse(&level))),
            limit: intake.limit,
            extra_system: intake.extra_system,
            cli_sessions: entry.object("cliSessionIds").map(|ids| Value::Object(ids.to_map())).unwrap_or_default(),
            config: self.config.clone(),
            paths: self.facts.paths.clone(),
            env: self.facts.env.clone(),
            seed,
        };
        Ok(Run {
            id: intake.run_id,
            origin: intake.origin,
            session_key: key,
            agent_id: agent,
            session_id,
            conn,
            asker,
            remembered: intake.remembered,
            phase: Phase::Queued,
            spec: Some(Box::new(spec)),
            verbose: Verbose::parse(entry.text("verboseLevel").as_deref()),
            said: Said::default(),
            started_ms: None,
            accepted_ms: now.wall_ms,
        })
    }

    /// A new session could not be saved: its run does not start.
    pub fn drop_run(&mut self, no: RunNo) {
        if let Some(run) = self.runs.remove(no)
            && let Some(name) = run.remembered
        {
            self.memory.drop(&name);
        }
    }

    /// Hands a session's index to the disk thread; the rest follows when it is there.
    pub fn commit_sessions(&mut self, commit: Commit, fx: &mut Vec<Effect>) {
        match self.sessions.unsaved() {
            Some(job) => fx.push(Effect::Disk(job, Then::Commit(commit))),
            // An earlier job of this very moment carries the change; its place in the queue is before ours.
            None => fx.push(Effect::Disk(super::disk::Job::Write(Vec::new()), Then::Commit(commit))),
        }
    }

    /// Saves changed indexes that nobody waits for, soon.
    pub fn save_sessions_soon(&mut self, fx: &mut Vec<Effect>) {
        if !self.sessions_gate {
            self.sessions_gate = true;
            fx.push(Effect::Timer(limits::SESSIONS_SAVE, super::event::Timer::SaveSessions));
        }
    }

    /// Saves changed indexes now.
    pub fn save_sessions(&mut self, fx: &mut Vec<Effect>) {
        self.sessions_gate = false;
        fx.extend(self.sessions.unsaved().map(|job| Effect::Disk(job, Then::Sessions)));
    }

    /// Every run is told to stop; those that wait end at once, the others mark their sessions (lifecycle.md 12).
    pub fn interrupt_runs(&mut self, now: Now, fx: &mut Vec<Effect>) {
        let all: Vec<RunNo> = self.runs.all().map(|(no, _)| no).collect();
        for no in all {
            self.mark_interrupted(no);
            self.stop_run(no, AbortReason::Shutdown, now, fx);
            self.answer_interrupted(no, fx);
        }
        self.save_sessions(fx);
    }

    fn mark_interrupted(&mut self, no: RunNo) {
        let Some(run) = self.runs.get(no) else { return };
        let (agent, key) = (run.agent_id.clone(), run.session_key.clone());
        if let Some(entry) = self.sessions.get_mut(&agent, &key) {
            entry.set("abortedLastRun", true);
        }
    }

    /// Whoever waits hears it before the connection closes.
    fn answer_interrupted(&mut self, no: RunNo, fx: &mut Vec<Effect>) {
        let Some(run) = self.runs.get_mut(no) else { return };
        let Some(asker) = run.asker.take() else { return };
        let id = run.id.clone();
        let error = WireError { retryable: Some(true), ..WireError::unavailable("the gateway is stopping") };
        self.tell_asker(&asker, &id, Err(&error), fx);
    }
}
