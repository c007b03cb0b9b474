//! The course of a run as the state thread sees it: arrival, start, events of its thread, end. Each run ends
//! exactly once here, whatever its thread says afterwards, and whoever waits is answered exactly once.

use serde_json::Value;

use super::outcome::Outcome;
use super::tell::ChatEnd;
use super::{Asker, Ended, Origin, Phase, Run, RunNo, Stuck};
use crate::agent::control::AbortReason;
use crate::agent::message::Block;
use crate::agent::run::{RunEvent, RunSpec};
use crate::agent::tool::approval::judge::Origin as Speaker;
use crate::gateway::broadcast;
use crate::gateway::dedupe::Remembered;
use crate::gateway::event::{Effect, Timer, ToolReply};
use crate::gateway::programs::feed::Feed;
use crate::gateway::session_key::Place;
use crate::gateway::state::State;
use crate::limits;
use crate::protocol::errors::{Code, WireError};
use crate::sys::clock::Now;

/// What became of a wish to stop runs.
pub struct Stopped {
    /// The runs that were told to stop, by the clients' names.
    pub run_ids: Vec<String>,
}

impl State {
    /// Takes a run into its lane; it starts when it is due.
    pub fn enqueue_run(&mut self, run: Run) {
        self.runs.ended.began(&run.id);
        self.runs.add(run);
    }

    /// Starts every run whose turn it is.
    pub fn start_due_runs(&mut self, now: Now, fx: &mut Vec<Effect>) {
        if self.stopping {
            return;
        }
        let (due, wait) = self.runs.due(now.mono);
        fx.extend(wait.map(|wait| Effect::Timer(wait, Timer::Runs)));
        for (no, mut spec) in due {
            self.give_lines(no, &mut spec);
            spec.cooldowns = self.models.cooldowns.clone();
            spec.found = self.models.found(now.mono).cloned();
            if let Some(limit) = spec.limit {
                fx.push(Effect::Timer(limit + limits::RUN_GRACE, Timer::RunOverdue(no)));
            }
            fx.push(Effect::StartRun(no, spec));
        }
    }

    /// What the session is to hear beside the message: a turn that never begins takes no line with it. What a stranger
    /// said is carried out with a stranger's rights, whoever takes it along.
    fn give_lines(&mut self, no: RunNo, spec: &mut RunSpec) {
        let Some(first) = spec.prompts.first_mut() else { return };
        let place = Place { agent: spec.agent_id.clone(), key: spec.session_key.clone() };
        let (lines, heard) = self.give_system_events(&place, no);
        if !lines.is_empty() {
            first.content.insert(0, Block::text(lines.join("\n") + "\n"));
        }
        if heard == Speaker::Channel {
            spec.speaker = heard;
            self.runs.get_mut(no).into_iter().for_each(|run| run.speaker = heard);
        }
    }

    /// Something a run's thread tells.
    pub fn run_event(&mut self, no: RunNo, event: RunEvent, now: Now, fx: &mut Vec<Effect>) {
        if matches!(event, RunEvent::Finished(_) | RunEvent::Failed(_)) {
            self.runs.stuck.remove(&no);
        }
        let Some(run) = self.runs.get_mut(no) else { return };
        let quiet = matches!(run.phase, Phase::Stopping(_));
        match event {
            RunEvent::Finished(result) => self.end_run(no, Outcome::ok(*result), now, fx),
            RunEvent::Failed(failure) => self.end_run(no, Outcome::failed(*failure), now, fx),
            RunEvent::Learnt(changes) => {
                let agent = run.agent_id.clone();
                self.learnt(&agent, changes, now, fx);
            }
            RunEvent::Found(found) => self.models.remember(*found, now.mono),
            RunEvent::Vanished => self.models.forget(),
            RunEvent::Appended { id, message } => {
                // Before the prompt may come results of a program's own tools.
                if message.get("role").is_some_and(|role| role == "user") {
                    self.system_events.arrived(no);
                }
                self.message_appended(no, &id, message, now, fx);
            }
            RunEvent::Started => {
                run.started_ms = Some(now.wall_ms);
                if !quiet {
                    self.tell_lifecycle(no, &json!({"phase": "start", "startedAt": now.wall_ms}), now, fx);
                }
            }
            _ if quiet => {}
            RunEvent::Model(model) => {
                let data = json!({"phase": "model", "provider": model.provider, "model": model.model});
                self.tell_lifecycle(no, &data, now, fx);
            }
            RunEvent::Text(delta) => self.tell_text(no, &delta, now, fx),
            RunEvent::Thought(delta) => {
                if run.said.think(&delta, now.mono) {
                    self.tell_thought(no, now, fx);
                }
            }
            RunEvent::MessageEnd => self.tell_message_end(no, now, fx),
            RunEvent::ToolStart(start) => self.tell_tool_start(no, start, now, fx),
            RunEvent::ToolUpdate(update) => self.tell_tool_update(no, update, now, fx),
            RunEvent::ToolEnd(end) => self.tell_tool_end(no, end, now, fx),
            RunEvent::Compaction { done, completed } => self.compaction(no, done, completed, now, fx),
        }
    }

    /// A held-back chat delta is due.
    pub fn chat_delta_due(&mut self, no: RunNo, now: Now, fx: &mut Vec<Effect>) {
        let Some(run) = self.runs.get_mut(no) else { return };
        run.said.release();
        if run.phase == Phase::Running && !run.said.is_hidden(false) {
            self.tell_said(no, now, fx);
        }
    }

    /// A run is past its limit and its thread has not ended: whoever waits is told without it. One that was stopped
    /// before has its end and is given up in its own time.
    pub fn run_overdue(&mut self, no: RunNo, fx: &mut Vec<Effect>) {
        let Some(run) = self.runs.get_mut(no).filter(|run| run.phase == Phase::Running) else { return };
        log::warn!(target: "agent", "run does not end in time run={}", run.id);
        run.phase = Phase::Stopping(AbortReason::Timeout);
        let error = WireError {
            retryable: Some(true),
            ..WireError::new(Code::AgentTimeout, "agent timed out and has not stopped yet")
        };
        let id = run.id.clone();
        let asker = self.runs.take_asker(no);
        fx.push(Effect::StopRun(no, AbortReason::Timeout));
        fx.push(Effect::Timer(limits::RUN_STUCK, Timer::RunStuck(no)));
        if let Some(asker) = asker {
            self.tell_asker(&asker, &id, Err(&error), fx);
        }
    }

    /// The second answer of a run that failed, or that ended with this payload.
    pub fn tell_asker(&mut self, asker: &Asker, run_id: &str, end: Result<&Value, &WireError>, fx: &mut Vec<Effect>) {
        match (asker, end) {
            (Asker::Client(waiting), Ok(payload)) => broadcast::reply(fx, waiting.conn, &waiting.id, payload),
            (Asker::Client(waiting), Err(error)) => {
                let payload = json!({"runId": run_id, "status": "error", "summary": error.message});
                self.counters.failed += 1;
                broadcast::fail_with(fx, waiting.conn, &waiting.id, error, &payload);
            }
            (Asker::Heartbeat(_), _) => {}
            // A run that is given up tells its program so before its thread ends.
            (Asker::Program(ticket), end) => {
                let error = end.err().cloned().unwrap_or_else(|| WireError::unavailable("the run has no outcome"));
                fx.push(Effect::Feed(*ticket, Feed::failed(error)));
            }
            // It is told with the outcome.
            (Asker::Hook(_), _) => {}
            // Its record is made with the outcome.
            (Asker::Cron(_), _) => {}
            (Asker::Tool(ticket), end) => {
                let value = match end {
                    Ok(payload) => json!({"runId": run_id, "status": "ok", "reply": reply_of(payload)}),
                    Err(error) => json!({"runId": run_id, "status": "error", "error": error.message}),
                };
                fx.push(Effect::AnswerTool(*ticket, ToolReply::Value(value)));
            }
        }
    }

    /// Stops runs of a session, or one of them.
    pub fn stop_runs(
        &mut self,
        key: &str,
        run_id: Option<&str>,
        reason: AbortReason,
        now: Now,
        fx: &mut Vec<Effect>,
    ) -> Stopped {
        let named = |run: &Run| run_id.is_none_or(|id| run.ids().any(|known| known == id));
        let wanted = |run: &Run| named(run) && !matches!(run.phase, Phase::Stopping(_));
        let hit: Vec<RunNo> = self.runs.of_session(key).filter(|(_, run)| wanted(run)).map(|(no, _)| no).collect();
        let mut run_ids = Vec::new();
        for no in hit {
            if let Some(id) = run_id.filter(|id| self.stop_part(no, id, reason, now, fx)) {
                run_ids.push(id.to_string());
                continue;
            }
            run_ids.extend(self.runs.get(no).into_iter().flat_map(|run| run.ids().cloned()));
            self.stop_run(no, reason, now, fx);
        }
        self.start_due_runs(now, fx);
        Stopped { run_ids }
    }

    /// The disk thread is done with a session: what was stopped meanwhile ends, what waits starts.
    pub fn let_go(&mut self, key: &str, now: Now, fx: &mut Vec<Effect>) {
        if !self.runs.let_go(key) {
            return;
        }
        let stopped = |(no, run): (RunNo, &Run)| match run.phase {
            Phase::Stopping(reason) if run.spec.is_some() => Some((no, reason)),
            _ => None,
        };
        let stopped: Vec<(RunNo, AbortReason)> = self.runs.of_session(key).filter_map(stopped).collect();
        for (no, reason) in stopped {
            self.end_run(no, Outcome::never_started(reason), now, fx);
        }
        self.start_due_runs(now, fx);
    }

    /// Stops one run: clients hear of it at once; its lane is free when its thread has ended.
    pub fn stop_run(&mut self, no: RunNo, reason: AbortReason, now: Now, fx: &mut Vec<Effect>) {
        let Some(run) = self.runs.get_mut(no) else { return };
        // who was told once is not told again; of a time limit nobody was told yet
        if matches!(run.phase, Phase::Stopping(known) if known != AbortReason::Timeout) {
            return;
        }
        let waits = run.phase == Phase::Queued;
        run.phase = Phase::Stopping(reason);
        run.said.reserve();
        self.tell_chat_end(no, &ChatEnd::Aborted { reason: reason.name(), message: None }, now, fx);
        if waits {
            // Its first answer may wait for the disk; the last one comes after it.
            let held = self.runs.get(no).is_some_and(|run| self.runs.is_held(&run.session_key));
            if !held {
                self.end_run(no, Outcome::never_started(reason), now, fx);
            }
        } else {
            fx.push(Effect::StopRun(no, reason));
            fx.push(Effect::Timer(limits::RUN_STUCK, Timer::RunStuck(no)));
        }
    }

    /// A run was told to stop long ago and its thread works on: it ends for everyone who waits. Its conversation takes
    /// no turn before the thread has ended, because a transcript has one writer.
    pub fn run_stuck(&mut self, no: RunNo, now: Now, fx: &mut Vec<Effect>) {
        let Some(run) = self.runs.get(no).filter(|run| run.spec.is_none()) else { return };
        let Phase::Stopping(reason) = run.phase else { return };
        log::error!(target: "agent", "run given up, its thread does not end run={} session={}", run.id, run.session_key);
        let key = run.session_key.clone();
        self.runs.stuck.insert(no, Stuck { run_id: run.id.clone(), session_id: run.session_id.clone() });
        let waiting: Vec<RunNo> = self.runs.of_session(&key).map(|(no, _)| no).filter(|other| *other != no).collect();
        for other in waiting {
            self.stop_run(other, reason, now, fx);
        }
        self.end_run(no, Outcome::never_started(reason), now, fx);
    }

    /// Refuses to write into a conversation whose last turn does not end.
    pub fn check_stuck(&self, place: &Place) -> Result<(), WireError> {
        let session = self.sessions.get(&place.agent, &place.key).and_then(|entry| entry.session_id());
        let stuck = self.runs.stuck.values().find(|stuck| Some(stuck.session_id.as_str()) == session.as_deref());
        let Some(stuck) = stuck else { return Ok(()) };
        let text = format!(
            "session {} is blocked: its turn {} was stopped but does not end; begin a new conversation (/new) or restart the gateway",
            place.key, stuck.run_id
        );
        Err(WireError { retry_after_ms: Some(5000), ..WireError::unavailable(text) })
    }

    /// The one end of a run.
    fn end_run(&mut self, no: RunNo, outcome: Outcome, now: Now, fx: &mut Vec<Effect>) {
        let Some(run) = self.runs.get(no) else { return };
        let told = matches!(run.phase, Phase::Stopping(reason) if reason != AbortReason::Timeout);
        let error = outcome.error(run);
        let ended = Ended {
            started_ms: run.started_ms,
            ended_ms: now.wall_ms,
            error: error.as_ref().map(|e| e.message.clone()),
        };
        log::info!(
            target: "agent", "run ended run={} session={} durationMs={} outcome={}",
            run.id, run.session_key, outcome.account.took.as_millis(), outcome.name()
        );
        // A turn that ended well has heard them, whatever its transcript keeps of it.
        match &error {
            None => self.system_events.arrived(no),
            Some(_) => self.system_events.returned(no),
        }
        self.metrics.run(&outcome);
        self.tell_lifecycle(no, &outcome.lifecycle(run.started_ms, now.wall_ms), now, fx);
        if !told {
            self.tell_outcome(no, &outcome, error.as_ref(), now, fx);
        }
        let Some(run) = self.runs.remove(no) else { return };
        // What still waited when the gateway stopped is in no transcript: the next start puts it there.
        let is_unheard = run.spec.is_some() && outcome.stopped() == Some(AbortReason::Shutdown);
        for id in run.ids() {
            self.note_end(id, &ended, now, fx);
            if !is_unheard {
                self.journal_close(id, fx);
            }
        }
        self.answer_run(&run, &outcome, error, now, fx);
        self.session_after_run(&run, &outcome, now, fx);
        self.deletions_go_on(&run.session_key, now, fx);
        self.start_due_runs(now, fx);
        self.heartbeats_have_room(now, fx);
        if self.stopping {
            self.exit_when_empty(fx);
        }
    }

    /// Whoever waits for this end, now or later, is told.
    pub fn note_end(&mut self, id: &str, ended: &Ended, now: Now, fx: &mut Vec<Effect>) {
        for waiting in self.runs.ended.note(id, ended.clone(), now.mono) {
            broadcast::reply(fx, waiting.conn, &waiting.id, &wait_answer(id, ended));
        }
    }

    fn tell_outcome(
        &mut self,
        no: RunNo,
        outcome: &Outcome,
        error: Option<&WireError>,
        now: Now,
        fx: &mut Vec<Effect>,
    ) {
        let text = self.runs.get(no).map_or(String::new(), |run| outcome.text(&run.dress));
        let end = match (error, outcome.stopped()) {
            (None, _) => ChatEnd::Final { text: &text, stop_reason: outcome.stop_reason },
            (Some(error), Some(reason)) => ChatEnd::Aborted { reason: reason.name(), message: Some(&error.message) },
            (Some(error), None) => ChatEnd::Error { message: &error.message, kind: outcome.chat_kind() },
        };
        self.tell_chat_end(no, &end, now, fx);
    }

    /// The second answer of `agent`, and what repeated calls get from now on.
    fn answer_run(&mut self, run: &Run, outcome: &Outcome, error: Option<WireError>, now: Now, fx: &mut Vec<Effect>) {
        let payload = match &error {
            None => outcome.answer(run),
            Some(error) => json!({"runId": run.id, "status": "error", "summary": error.message}),
        };
        let chat = |id: &str| json!({"runId": id, "status": "ok"});
        let own = if run.origin == Origin::Agent { payload.clone() } else { chat(&run.id) };
        let joined = run.joined.iter().map(|joined| (&joined.remembered, chat(&joined.id)));
        for (key, answer) in std::iter::once((&run.remembered, own)).chain(joined) {
            let Some(key) = key.clone() else { continue };
            let answer = error.as_ref().map_or(Ok(answer), |error| Err(error.clone()));
            self.memory.note(key, Remembered::Ended(answer), now.mono);
        }
        match &run.asker {
            None => {}
            Some(Asker::Heartbeat(agent)) => self.heartbeat_ended(agent, run, outcome, error, now, fx),
            Some(Asker::Program(ticket)) => self.program_ended(*ticket, run, outcome, error, fx),
            Some(Asker::Hook(no)) => self.hook_ended(*no, run, outcome, error, now, fx),
            Some(Asker::Cron(job)) => self.cron_ended(job, run, outcome, error, now, fx),
            Some(asker) => self.tell_asker(asker, &run.id, error.as_ref().map_or(Ok(&payload), Err), fx),
        }
    }
}

/// The texts of a run's answer, for a tool that waited for it.
fn reply_of(payload: &Value) -> String {
    let payloads = payload.pointer("/result/payloads").and_then(Value::as_array);
    let texts = payloads.into_iter().flatten().filter_map(|payload| payload.get("text").and_then(Value::as_str));
    texts.collect::<Vec<_>>().join("\n\n")
}

/// The answer of `agent.wait`.
pub fn wait_answer(run_id: &str, ended: &Ended) -> Value {
    let mut answer = json!({
        "runId": run_id,
        "status": if ended.error.is_some() { "error" } else { "ok" },
        "endedAt": ended.ended_ms,
    });
    if let Some(members) = answer.as_object_mut() {
        members.extend(ended.started_ms.map(|at| ("startedAt".to_string(), at.into())));
        members.extend(ended.error.as_ref().map(|text| ("error".to_string(), text.as_str().into())));
    }
    answer
}
