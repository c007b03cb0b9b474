//! Commands that wait for an operator: the tool answers at once, a thread waits for the decision, and the outcome
//! reaches the session as a system event (agent.md 17).

use std::sync::Arc;

use crossbeam_channel::RecvTimeoutError;

use super::super::approval::judge::{self, ExecPolicy, Facts, Verdict};
use super::super::approval::pending::Decision;
use super::super::desk::{Desk, Note, Waiting};
use super::launch::Launch;
use super::{Job, Jobs, ToolOutcome, Toolbox, Work, how, tail, with_tail};
use crate::agent::control::Control;
use crate::agent::tool::text;
use crate::limits;
use crate::sys::child::StopReason;
use crate::sys::thread;

/// A command that is not decided yet.
struct Undecided {
    id: String,
    policy: ExecPolicy,
    facts: Facts,
    launch: Launch,
    agent_id: String,
    job: Job,
    name: String,
    jobs: Jobs,
    desk: Arc<dyn Desk>,
    control: Control,
}

impl Toolbox {
    /// Leaves a thread that waits, and tells the model so.
    pub(super) fn approve_later(
        &mut self,
        waiting: Waiting,
        policy: ExecPolicy,
        facts: &Facts,
        launch: &Launch,
        work: &Work<'_>,
    ) -> ToolOutcome {
        let Waiting { id, expires_at_ms, decision } = waiting;
        let slug: String = id.chars().take(8).collect();
        let undecided = Undecided {
            id: id.clone(),
            policy,
            facts: facts.clone(),
            launch: launch.clone(),
            agent_id: self.setup.agent_id.clone(),
            job: self.job(&launch.command, &launch.cwd),
            name: self.fresh_name(),
            jobs: self.setup.jobs.clone(),
            desk: Arc::clone(&self.setup.desk),
            control: work.control.clone(),
        };
        let wait = move || {
            // The gateway says when the time is over; this is for the case that it does not.
            let decided = decision.recv_timeout(limits::APPROVAL_WAIT + limits::STATE_REPLY);
            match decided {
                Ok(decision) => undecided.decided(decision),
                Err(RecvTimeoutError::Timeout) => undecided.decided(None),
                // nothing may start while the gateway leaves
                Err(RecvTimeoutError::Disconnected) => {
                    undecided.tell("exec denied: the gateway stopped before anybody decided")
                }
            }
        };
        if let Err(fault) = thread::spawn("tool:approval", limits::STACK_ACCEPT, wait) {
            return ToolOutcome::error(format!("exec denied: nobody can wait for the approval: {fault}"));
        }
        let text = format!(
            "Approval required (id {slug}, full {id}). The operator was asked; the outcome arrives as a system event. Do \
             not run the command again meanwhile."
        );
        ToolOutcome::text(text).with_details(json!({
            "status": "approval-pending", "approvalId": id, "approvalSlug": slug, "expiresAtMs": expires_at_ms,
            "host": "gateway", "command": launch.command, "cwd": launch.cwd.display().to_string(),
        }))
    }
}

impl Undecided {
    fn decided(self, decision: Option<Decision>) {
        if self.control.cancelled() {
            return self.tell("Exec not run: its turn was stopped");
        }
        match decision {
            Some(Decision::Deny) => self.tell("Exec denied by the operator"),
            Some(Decision::AllowOnce) => self.start(),
            Some(Decision::AllowAlways) => {
                let patterns: Vec<String> = self.facts.missing.iter().map(|path| path.display().to_string()).collect();
                if !patterns.is_empty() {
                    self.desk.tell(Note::AllowAlways { agent_id: self.agent_id.clone(), patterns });
                }
                self.start();
            }
            None => match judge::fallback(self.policy, &self.facts, "nobody decided in time") {
                Verdict::Run => self.start(),
                Verdict::Refuse(text) => self.tell(&text),
                Verdict::Ask => self.tell("exec denied: approval needed"),
            },
        }
    }

    fn start(self) {
        if !self.jobs.has_room() {
            return self.tell("Exec approved but not run: too many commands run in the background");
        }
        let child = match self.launch.start(true) {
            Ok(child) => child,
            Err(fault) => return self.tell(&format!("Exec approved but not started: {fault}")),
        };
        self.jobs.add(self.name.clone(), self.job.clone(), child.clone(), 0);
        // the run may have been stopped while it started
        if self.control.cancelled() {
            child.stop(StopReason::Asked);
        }
        let watched = child.clone();
        child.at_exit(move |exit| {
            let head = format!("Exec {} ({})", how(exit), self.name);
            self.tell(&with_tail(head, &tail(&watched)));
        });
    }

    /// One system event: what happened, which command, under which approval.
    fn tell(&self, what: &str) {
        let (head, rest) = what.split_once('\n').unwrap_or((what, ""));
        let command = text::label(&self.job.command, limits::META_CHARS);
        let text = format!("{head} (approval {}): {command}\n{rest}", self.id);
        let (session_key, speaker) = (self.job.session_key.clone(), self.job.speaker);
        self.desk.tell(Note::SystemEvent { session_key, text: text.trim_end().to_string(), wake: true, speaker });
    }
}
