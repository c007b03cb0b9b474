//! From a message a client sends to a run in its lane: session entry, plan of the run, first answer. The answer goes
//! out after a new entry is on disk; the run starts after the answer.

use serde_json::Value;

use super::dedupe::Remembered;
use super::disk::{Commit, Job, Then, Waiting};
use super::dispatch::Request;
use super::event::{Answer, ConnId, Effect, Handled};
use super::journal::OpenRun;
use super::runs::said::Said;
use super::runs::{Asker, Dress, Origin, Phase, Run, RunNo, Verbose, Waits};
use super::session_key::{self, Place};
use super::state::State;
use crate::agent::control::AbortReason;
use crate::agent::message::Block;
use crate::agent::model::failover::Cooldowns;
use crate::agent::model::{ModelRef, Thinking};
use crate::agent::run::{ClientTools, Prompt, RunSpec, Task};
use crate::agent::tool::approval::judge::Origin as Speaker;
use crate::limits;
use crate::protocol::errors::WireError;
use crate::session::key::KeyRules;
use crate::session::lifecycle;
use crate::session::queue::Lost;
use crate::session::settings::{SendPolicy, Settings};
use crate::session::throwaway;
use crate::store::session::archive;
use crate::store::session::entry::Entry;
use crate::store::session::throwaway::Kind;
use crate::sys::clock::Now;
use std::path::PathBuf;
use std::time::Duration;

/// A message on its way to become a run.
pub struct Intake {
    /// Which session.
    pub place: Place,
    /// The client's name for the run.
    pub run_id: String,
    /// How it was asked for.
    pub origin: Origin,
    /// Who speaks: what a stranger says gets fewer tools, also by way of another session.
    pub speaker: Speaker,
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
    /// Why the answer will not be delivered, when it should be.
    pub undelivered: Option<&'static str>,
    /// What the run is for.
    pub task: Task,
    /// How much of tool calls is shown, for this turn.
    pub verbose: Option<Verbose>,
    /// Which thoughts are shown, for this turn.
    pub reasoning: Option<String>,
    /// Whether the conversation has begun just now and may not be on disk yet.
    pub is_first: bool,
    /// Whether the conversation may be over by now, so that this message starts another.
    pub may_renew: bool,
    /// Whether it begins a conversation of its own under the key.
    pub fresh: bool,
    /// What the message itself says about waiting.
    pub queue_mode: Option<String>,
    /// What a program brings along.
    pub client_tools: ClientTools,
    /// The channel a program speaks for.
    pub channel: Option<String>,
    /// What a conversation is that begins with it, when nobody will be able to name that one again.
    pub throwaway: Option<Kind>,
    /// Whether someone will come back to the session by its name, so that a new one is on disk before its run starts.
    pub named: bool,
}

impl Intake {
    /// A message without wishes whose sender gets no answer.
    pub fn new(place: Place, run_id: String, origin: Origin, prompt: Vec<Block>, limit: Option<Duration>) -> Intake {
        Intake {
            place,
            run_id,
            origin,
            speaker: Speaker::Operator,
            prompt,
            limit,
            thinking: None,
            model: None,
            extra_system: None,
            label: None,
            spawned_by: None,
            remembered: None,
            repeated: Value::Null,
            ack: Value::Null,
            undelivered: None,
            task: Task::Answer,
            verbose: None,
            reasoning: None,
            is_first: false,
            may_renew: false,
            fresh: false,
            queue_mode: None,
            client_tools: ClientTools::default(),
            channel: None,
            throwaway: None,
            named: false,
        }
    }
}

impl State {
    /// Takes a message in. The answer comes at once, or when a new session is on disk.
    pub fn take_in(&mut self, request: &Request<'_>, intake: Intake, fx: &mut Vec<Effect>) -> Handled {
        self.check_room(&intake.run_id, &intake.place)?;
        let way = self.make_way(&intake, request.now, fx)?;
        let (entry, created) = self.open_session(&intake, request.now)?;
        let created = created || intake.is_first;
        let waiting = || Waiting { conn: request.conn, id: request.id.to_string() };
        let asker = (intake.origin == Origin::Agent).then(|| Asker::Client(waiting()));
        let remembered = intake.remembered.clone();
        let (ack, repeated, message) = (intake.ack.clone(), intake.repeated.clone(), intake.run_id.clone());
        let Place { agent, key } = intake.place.clone();
        let line = self.line(&intake, &entry, request.now);
        match (way.join, way.rules) {
            (Some(no), Some(rules)) => self.join_run(no, intake, &rules, request.now),
            (_, rules) => {
                let mut run = self.plan(intake, &entry, Some(request.conn), asker, request.now)?;
                run.waits = way.waits;
                run.not_before = rules.map(|rules| request.now.mono + rules.debounce);
                self.enqueue_run(run);
            }
        }
        if let Some(name) = remembered {
            self.memory.note(name, Remembered::Running(Some(repeated)), request.now.mono);
        }
        let reason = if created { "create" } else { "send" };
        let changed = self.change_of(&agent, &key, reason, request.now);
        let reply = Some((waiting(), ack));
        let held = way.join.is_none().then(|| key.clone());
        if let Some(key) = &held {
            self.runs.hold(key);
        }
        let changed = changed.into_iter().collect();
        // A refused message has no line: it would come back after a crash.
        let line = line.map(Box::new);
        let commit = Commit { reply, changed, message: Some(message), line, held, ..Commit::default() };
        match created {
            true => self.commit_sessions(commit, fx),
            false => self.committed(commit, request.now, fx),
        }
        // Behind its own line in the journal come those of the messages that go for it.
        if let Some(rules) = way.rules {
            self.shed(&key, &rules, request.now, fx);
        }
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
        self.check_room(&intake.run_id, &intake.place)?;
        let (entry, created) = self.open_session(&intake, now)?;
        let is_throwaway = created && intake.throwaway == Some(Kind::Call);
        let line = self.line(&intake, &entry, now);
        let waits = (created && intake.named).then(|| (intake.place.key.clone(), intake.run_id.clone()));
        let run = self.plan(intake, &entry, conn, asker, now)?;
        self.enqueue_run(run);
        match waits {
            Some((key, message)) => {
                self.runs.hold(&key);
                let line = line.map(Box::new);
                let commit = Commit { message: Some(message), line, held: Some(key), ..Commit::default() };
                self.commit_sessions(commit, fx);
            }
            None => {
                fx.extend(line.map(|line| Effect::Disk(self.journal_open(&line), Then::Nothing)));
                self.save_sessions_soon(fx);
            }
        }
        if is_throwaway {
            self.throwaway_begun(now, fx);
        }
        self.start_due_runs(now, fx);
        Ok(())
    }

    fn check_room(&self, run_id: &str, place: &Place) -> Result<(), WireError> {
        self.check_policy(place)?;
        self.check_stuck(place)?;
        if self.runs.len() >= limits::RUNS {
            let text = format!("too many runs are waiting (limit {})", limits::RUNS);
            return Err(WireError { retry_after_ms: Some(1000), ..WireError::unavailable(text) });
        }
        if self.journal.is_full() {
            let text = "the messages that wait are too long together; wait for an answer or stop a turn";
            return Err(WireError { retry_after_ms: Some(1000), ..WireError::unavailable(text) });
        }
        match self.runs.find(run_id) {
            Some(_) => Err(WireError::invalid("a run with this idempotencyKey is already active")),
            None => Ok(()),
        }
    }

    /// The message's line in the journal; none for work that is no message.
    fn line(&self, intake: &Intake, entry: &Entry, now: Now) -> Option<OpenRun> {
        let Place { agent, key } = &intake.place;
        let store = self.config.session_store(&self.facts.paths, agent);
        let run = OpenRun {
            run_id: intake.run_id.clone(),
            agent: agent.clone(),
            key: key.clone(),
            session: entry.session_id()?.into_owned(),
            transcript: archive::transcript(store.parent()?, entry)?,
            workspace: self.config.workspace(&self.facts.paths, agent),
            ms: now.wall_ms,
            text: OpenRun::text_of(&intake.prompt),
            is_lost: false,
        };
        (intake.task == Task::Answer).then_some(run)
    }

    /// The session's entry after this message touched it, and whether it is new.
    fn open_session(&mut self, intake: &Intake, now: Now) -> Result<(Entry, bool), WireError> {
        let Place { agent, key } = &intake.place;
        let path = self.config.session_store(&self.facts.paths, agent);
        let fresh = self.session_id_for(key, intake.throwaway);
        let known = self.sessions.get(agent, key).cloned();
        let over = intake.fresh || intake.may_renew && self.is_over(&intake.place, known.as_ref(), now);
        let index = self.sessions.open(agent, || path)?;
        let created = over || known.as_ref().and_then(|entry| entry.session_id()).is_none();
        let mut entry = known.unwrap_or_default();
        if over {
            if let Some((key, kept)) = throwaway::kept_run(key, &entry) {
                index.insert(&key, kept);
            }
            entry = lifecycle::reset(Some(&entry), &fresh, now.wall_ms);
        } else if created {
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
        if intake.throwaway.is_none() {
            throwaway::keep(&mut entry);
        }
        index.insert(key, entry.clone());
        Ok((entry, created))
    }

    /// Whether the session's rules end its conversation before this message (agent.md 9); never under a running turn.
    fn is_over(&self, place: &Place, known: Option<&Entry>, now: Now) -> bool {
        let Some(entry) = known.filter(|entry| entry.session_id().is_some()) else { return false };
        let Some(key) = KeyRules::of(&self.config).canonical(&place.key) else { return false };
        if self.runs.of_session(&place.key).next().is_some() {
            return false;
        }
        let settings = Settings::read(&self.config.raw);
        let channel = entry.text("lastChannel").or_else(|| entry.text("channel"));
        let rule = settings.freshness.of(&key, channel.as_deref());
        let over = !rule.holds(entry.updated_ms(), now.wall_ms, &self.facts.zone);
        if over {
            log::info!(target: "agent", "the conversation is over, a new one begins session={key} (session.reset)");
        }
        over
    }

    /// Refuses a message for a session whose policy is not to be spoken to (`session.sendPolicy`).
    fn check_policy(&self, place: &Place) -> Result<(), WireError> {
        let entry = self.sessions.get(&place.agent, &place.key);
        let word = |name: &str| entry.and_then(|entry| entry.text(name));
        let Some(key) = KeyRules::of(&self.config).canonical(&place.key) else { return Ok(()) };
        let channel = word("lastChannel").or_else(|| word("channel"));
        let chat = word("chatType").map_or_else(|| key.kind().name().to_string(), |kind| kind.into_owned());
        let policy = Settings::read(&self.config.raw).send_policy(
            &key,
            word("sendPolicy").as_deref(),
            channel.as_deref().or(key.channel()),
            &chat,
        );
        match policy {
            SendPolicy::Allow => Ok(()),
            SendPolicy::Deny => Err(WireError::invalid("send blocked by session policy")),
        }
    }

    /// The id a new session gets: the one its key asks for, unless another session has it; one of their own kind those
    /// that nobody can name again.
    fn session_id_for(&mut self, key: &str, throwaway: Option<Kind>) -> String {
        if let Some(kind) = throwaway {
            return kind.id(self.entropy.uuid());
        }
        let taken = |id: &&str| self.sessions.all().any(|row| row.entry.session_id().as_deref() == Some(*id));
        match session_key::explicit_id(key).filter(|id| !taken(id)) {
            Some(id) => id.to_string(),
            None => self.entropy.uuid(),
        }
    }

    fn transcript_of(&self, place: &Place, entry: &Entry) -> Result<PathBuf, WireError> {
        let store = self.config.session_store(&self.facts.paths, &place.agent);
        archive::transcript(store.parent().unwrap_or(&store), entry)
            .ok_or_else(|| WireError::unavailable(format!("session {} has an unusable transcript name", place.key)))
    }

    fn plan(
        &mut self,
        intake: Intake,
        entry: &Entry,
        conn: Option<ConnId>,
        asker: Option<Asker>,
        now: Now,
    ) -> Result<Run, WireError> {
        let session_id = entry.session_id().map(|id| id.to_string()).unwrap_or_default();
        let transcript = self.transcript_of(&intake.place, entry)?;
        let prompts = match intake.task {
            Task::Answer | Task::Heartbeat => {
                vec![Prompt { run_id: intake.run_id.clone(), content: intake.prompt }]
            }
            Task::Compact(_) => Vec::new(),
        };
        let seed = self.run_seed();
        let Place { agent, key } = intake.place;
        let word = |name: &str| entry.text(name).map(|word| word.into_owned());
        let reasoning = intake.reasoning.or_else(|| word("reasoningLevel"));
        let dress =
            Dress { thoughts: reasoning.as_deref() == Some("on"), usage: word("responseUsage").unwrap_or_default() };
        let spec = RunSpec {
            run_id: intake.run_id.clone(),
            session_key: key.clone(),
            agent_id: agent.clone(),
            session_id: session_id.clone(),
            transcript,
            workspace: self.config.workspace(&self.facts.paths, &agent),
            prompts,
            speaker: intake.speaker,
            task: intake.task,
            shows_thoughts: reasoning.as_deref() == Some("stream"),
            exec_security: word("execSecurity"),
            exec_ask: word("execAsk"),
            model: intake.model.or_else(|| own_model(entry)),
            auth_profile: word("authProfileOverride"),
            cooldowns: Cooldowns::default(),
            found: None,
            thinking: intake.thinking.or_else(|| entry.text("thinkingLevel").and_then(|level| Thinking::parse(&level))),
            limit: intake.limit,
            extra_system: intake.extra_system,
            client_tools: intake.client_tools,
            channel: intake.channel,
            cli_sessions: entry.object("cliSessionIds").map(|ids| Value::Object(ids.to_map())).unwrap_or_default(),
            config: self.config.clone(),
            paths: self.facts.paths.clone(),
            env: self.facts.env.clone(),
            http: self.facts.http.clone(),
            seed,
        };
        Ok(Run {
            id: intake.run_id,
            joined: Vec::new(),
            undelivered: intake.undelivered,
            waits: Waits::Turn,
            not_before: None,
            lost: Lost::default(),
            origin: intake.origin,
            speaker: intake.speaker,
            session_key: key,
            agent_id: agent,
            session_id,
            conn,
            asker,
            remembered: intake.remembered,
            phase: Phase::Queued,
            spec: Some(Box::new(spec)),
            verbose: intake.verbose.unwrap_or_else(|| Verbose::parse(entry.text("verboseLevel").as_deref())),
            dress,
            said: Said::default(),
            started_ms: None,
            accepted_ms: now.wall_ms,
        })
    }

    fn run_seed(&mut self) -> [u8; 32] {
        let mut seed = [0_u8; 32];
        self.entropy.fill(&mut seed);
        seed
    }

    /// A message that could not be saved leaves the run it waits in, which does not start if there is no other message;
    /// false when that one has begun with it.
    pub fn drop_message(&mut self, id: &str, fx: &mut Vec<Effect>) -> bool {
        let waits = |no: &RunNo| self.runs.get(*no).is_some_and(|run| run.spec.is_some());
        let Some(no) = self.runs.find(id).filter(waits) else { return false };
        let remembered = match self.runs.part(no, id) {
            Some(gone) => gone.remembered,
            None => self.runs.remove(no).and_then(|run| run.remembered),
        };
        self.journal_close(id, fx);
        if let Some(name) = remembered {
            self.memory.drop(&name);
        }
        true
    }

    /// Hands a session's index to the disk thread; the rest follows when it is there.
    pub fn commit_sessions(&mut self, commit: Commit, fx: &mut Vec<Effect>) {
        match self.sessions.unsaved() {
            Some(job) => fx.push(Effect::Disk(job, Then::Commit(Box::new(commit)))),
            // An earlier job of this very moment carries the change; its place in the queue is before ours.
            None => fx.push(Effect::Disk(Job::Write(Vec::new()), Then::Commit(Box::new(commit)))),
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
        let Some(run) = self.runs.get(no).filter(|run| !run.is_heartbeat()) else { return };
        let (agent, key) = (run.agent_id.clone(), run.session_key.clone());
        if let Some(entry) = self.sessions.get_mut(&agent, &key) {
            entry.set("abortedLastRun", true);
        }
    }

    /// Whoever waits hears it before the connection closes.
    fn answer_interrupted(&mut self, no: RunNo, fx: &mut Vec<Effect>) {
        let Some(asker) = self.runs.take_asker(no) else { return };
        let id = self.runs.get(no).map_or(String::new(), |run| run.id.clone());
        let error = WireError { retryable: Some(true), ..WireError::unavailable("the gateway is stopping") };
        self.tell_asker(&asker, &id, Err(&error), fx);
    }
}

/// The model a session's entry names.
pub fn own_model(entry: &Entry) -> Option<ModelRef> {
    match (entry.text("providerOverride"), entry.text("modelOverride")) {
        (Some(provider), Some(model)) => Some(ModelRef::new(provider, model)),
        (None, Some(model)) => ModelRef::parse(&model),
        _ => None,
    }
}
