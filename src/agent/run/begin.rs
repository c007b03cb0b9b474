//! The thread of a run: opens what the loop works with, runs it, and turns every end, a panic included, into the one
//! last event.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::desk::{Desk, Ground};
use super::{Account, Cause, Hands, RunEvent, RunFailure, RunSpec, Task, turn};
use crate::agent::control::Control;
use crate::agent::model::ErrorKind;
use crate::agent::tool;

/// Runs to the end. Exactly one `Finished` or `Failed` is told, as the last thing.
pub fn run(spec: RunSpec, hands: Hands, control: &Control, tell: impl Fn(RunEvent)) {
    let (jobs, run_id) = (hands.jobs.clone(), spec.run_id.clone());
    let began = Instant::now();
    tell(RunEvent::Started);
    let mut end = match catch_unwind(AssertUnwindSafe(|| work(spec, hands, control, &tell))) {
        Ok(end) => end,
        Err(_) => Err(Box::new(failure(Cause::Internal, "internal error; see the gateway log".to_string()))),
    };
    match &mut end {
        Ok(result) => result.account.took = began.elapsed(),
        Err(failure) => failure.account.took = began.elapsed(),
    }
    // a command in the background outlives a turn that ended by itself
    if control.stopped().is_some() {
        tool::run_ended(&jobs, &run_id);
    }
    tell(match end {
        Ok(result) => RunEvent::Finished(Box::new(result)),
        Err(failure) => RunEvent::Failed(failure),
    });
}

fn work(
    mut spec: RunSpec,
    hands: Hands,
    control: &Control,
    tell: &dyn Fn(RunEvent),
) -> Result<super::RunResult, Box<RunFailure>> {
    let task = std::mem::take(&mut spec.task);
    let thoughts = spec.shows_thoughts;
    let prompts = std::mem::take(&mut spec.prompts).into_iter().map(|prompt| prompt.content).collect();
    let remembered = spec.found.is_some();
    let ground = Ground::prepare(spec, control)?;
    if let Some(found) = ground.found().filter(|_| !remembered) {
        tell(RunEvent::Found(Box::new(found.clone())));
    }
    let mut desk = Desk::open(&ground, hands)?;
    let end = match task {
        Task::Answer => turn::answer(&mut desk, prompts, thoughts, control, tell),
        Task::Heartbeat => turn::look_around(&mut desk, prompts, control, tell),
        Task::Compact(mind) => turn::compact(&mut desk, mind.as_deref(), control, tell),
    };
    let gone = |failure: &RunFailure| matches!(failure.cause, Cause::Model(ErrorKind::Network | ErrorKind::NotFound));
    if ground.found().is_some() && end.as_ref().is_err_and(|failure| gone(failure)) {
        tell(RunEvent::Vanished);
    }
    end
}

/// A run without a thread.
pub fn not_started(error: &io::Error) -> RunFailure {
    failure(Cause::Internal, format!("cannot start a thread for the run: {error}"))
}

/// A failure before anything was done.
pub(super) fn failure(cause: Cause, message: String) -> RunFailure {
    RunFailure { account: Account::default(), cause, message, retry_after: None, status: None }
}
