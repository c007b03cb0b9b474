//! Messages that come while their session's turn runs (agent.md 6): they join a run that waits, wait for a turn of
//! their own, are heard by the running one, or take its place. Each keeps its client's name and gets exactly one end.

use super::{Ended, Joined, Origin, Phase, Run, RunNo, Waits};
use crate::agent::control::AbortReason;
use crate::agent::message::{Block, text_of};
use crate::agent::run::Prompt;
use crate::gateway::dedupe::Remembered;
use crate::gateway::event::Effect;
use crate::gateway::intake::Intake;
use crate::gateway::session_key::Place;
use crate::gateway::state::State;
use crate::protocol::errors::WireError;
use crate::session::queue::{Mode, Overflow, Rules};
use crate::session::stamp;
use crate::sys::clock::Now;

/// What channel the gateway's own clients count as.
const CHANNEL: &str = "webchat";

/// How a message waits.
#[derive(Default)]
pub struct Way {
    /// The rules, when the session is busy.
    pub rules: Option<Rules>,
    /// The run that takes it in.
    pub join: Option<RunNo>,
    /// What its own run does while it waits.
    pub waits: Waits,
}

impl State {
    /// The rules for messages of a session.
    pub fn queue_rules(&self, place: &Place, own: Option<&str>) -> Rules {
        Rules::of(&self.config.raw, self.sessions.get(&place.agent, &place.key), CHANNEL, own)
    }

    /// Messages of a session that wait.
    pub fn waiting_messages(&self, key: &str) -> usize {
        self.waiting_chats(key).map(|(_, run)| run.waiting().len()).sum()
    }

    fn waiting_chats<'a>(&'a self, key: &'a str) -> impl Iterator<Item = (RunNo, &'a Run)> {
        self.runs.of_session(key).filter(|(_, run)| run.origin == Origin::Chat && run.phase == Phase::Queued)
    }

    /// Decides how a message waits; an interrupting one makes way for itself. Scripts (`agent`) wait in line.
    pub fn make_way(&mut self, intake: &Intake, now: Now, fx: &mut Vec<Effect>) -> Result<Way, WireError> {
        let key = intake.place.key.as_str();
        let busy = self.runs.of_session(key).any(|(_, run)| !matches!(run.phase, Phase::Stopping(_)));
        if intake.origin == Origin::Agent || !busy {
            return Ok(Way::default());
        }
        let rules = self.queue_rules(&intake.place, intake.queue_mode.as_deref());
        if rules.mode == Mode::Interrupt {
            self.stop_runs(key, None, AbortReason::Interrupt, now, fx);
            return Ok(Way::default());
        }
        let waiting = self.waiting_messages(key);
        if rules.overflow == Overflow::New && waiting >= rules.cap {
            let text = format!("{waiting} messages already wait in this session; wait for an answer or send /stop");
            return Err(WireError { retryable: Some(true), ..WireError::unavailable(text) });
        }
        let waits = match rules.mode {
            Mode::Collect => Waits::Gathers,
            Mode::Steer => Waits::Steers,
            Mode::SteerBacklog => Waits::SteersAndStays,
            Mode::Followup | Mode::Interrupt => Waits::Turn,
        };
        let last = self.runs.of_session(key).last();
        // what different people say does not become one message: the tools of a turn depend on who speaks
        let gathers =
            |run: &Run| run.waits == Waits::Gathers && run.phase == Phase::Queued && run.speaker == intake.speaker;
        let join = last.filter(|(_, run)| waits == Waits::Gathers && gathers(run)).map(|(no, _)| no);
        Ok(Way { rules: Some(rules), join, waits })
    }

    /// A message joins a run that waits.
    pub fn join_run(&mut self, no: RunNo, intake: Intake, rules: &Rules, now: Now) {
        self.runs.ended.began(&intake.run_id);
        self.runs.join(no, [Joined { id: intake.run_id.clone(), remembered: intake.remembered }]);
        let Some(run) = self.runs.get_mut(no) else { return };
        run.not_before = Some(now.mono + rules.debounce);
        if let Some(spec) = &mut run.spec {
            spec.thinking = intake.thinking.or(spec.thinking);
            spec.prompts.push(Prompt { run_id: intake.run_id, content: intake.prompt });
        }
    }

    /// Lets the oldest messages go until no more than the rules allow wait.
    pub fn shed(&mut self, key: &str, rules: &Rules, now: Now, fx: &mut Vec<Effect>) {
        while self.waiting_messages(key) > rules.cap {
            let mut chats = self.waiting_chats(key);
            let (Some((no, run)), next) = (chats.next(), chats.next().map(|(no, _)| no)) else { return };
            let Some(oldest) = run.waiting().first().cloned() else { return };
            drop(chats);
            if rules.overflow == Overflow::Summarize {
                self.shorten(no, next, &oldest);
            } else if !self.stop_part(no, &oldest.run_id, AbortReason::Dropped, now, fx) {
                self.stop_run(no, AbortReason::Dropped, now, fx);
            }
        }
    }

    /// A message becomes one line of a run that stays: its own, or the next one.
    fn shorten(&mut self, no: RunNo, next: Option<RunNo>, oldest: &Prompt) {
        let text = text_of(&oldest.content);
        let line = stamp::strip(&text);
        let Some(run) = self.runs.get_mut(no) else { return };
        run.lost.add(&line);
        match &mut run.spec {
            Some(spec) if spec.prompts.len() > 1 => drop(spec.prompts.remove(0)),
            _ => {
                let (Some(next), Some(mut run)) = (next, self.runs.remove(no)) else { return };
                let own = Joined { id: run.id, remembered: run.remembered };
                self.runs.join(next, std::iter::once(own).chain(run.joined));
                if let Some(next) = self.runs.get_mut(next) {
                    next.lost.take(&mut run.lost);
                }
            }
        }
    }

    /// Takes one message away from a waiting run that has others; false when it is not such a one.
    pub fn stop_part(&mut self, no: RunNo, id: &str, reason: AbortReason, now: Now, fx: &mut Vec<Effect>) -> bool {
        let Some(run) = self.runs.get(no).filter(|run| run.phase == Phase::Queued) else { return false };
        let (key, agent) = (run.session_key.clone(), run.agent_id.clone());
        let Some(gone) = self.runs.part(no, id) else { return false };
        let text = format!("run aborted ({})", reason.name());
        self.tell_chat_aborted(&gone.id, &key, &agent, reason.name(), fx);
        let ended = Ended { started_ms: None, ended_ms: now.wall_ms, error: Some(text.clone()) };
        self.note_end(&gone.id, &ended, now, fx);
        self.journal_close(&gone.id, fx);
        if let Some(key) = gone.remembered {
            self.memory.note(key, Remembered::Ended(Err(WireError::unavailable(text))), now.mono);
        }
        true
    }

    /// What waits to be heard by a running turn: its run takes those messages in.
    pub fn steering(&mut self, no: RunNo) -> Vec<Vec<Block>> {
        // What a person says is not answered by a turn that people may never hear of.
        let hears = |run: &&Run| run.phase == Phase::Running && !run.is_heartbeat();
        let Some(run) = self.runs.get(no).filter(hears) else { return Vec::new() };
        let (key, speaker) = (run.session_key.clone(), run.speaker);
        let steers = |run: &Run| matches!(run.waits, Waits::Steers | Waits::SteersAndStays) && run.speaker == speaker;
        let waiting: Vec<RunNo> = self.waiting_chats(&key).filter(|(_, run)| steers(run)).map(|(no, _)| no).collect();
        let mut said = Vec::new();
        for other in waiting {
            let Some(run) = self.runs.get_mut(other) else { continue };
            run.tell_lost();
            said.extend(run.waiting().iter().map(|prompt| prompt.content.clone()));
            if run.waits == Waits::SteersAndStays {
                run.waits = Waits::Turn;
            } else if let Some(run) = self.runs.remove(other) {
                let own = Joined { id: run.id, remembered: run.remembered };
                self.runs.join(no, std::iter::once(own).chain(run.joined));
            }
        }
        said
    }
}
