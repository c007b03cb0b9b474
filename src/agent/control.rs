//! How a run is stopped: a switch the gateway throws, and a deadline. Owns the reasons; everything that blocks inside a
//! run asks here how long it may, and leaves an action here that ends it at once.

use std::time::{Duration, Instant};

use crate::sys::cancel::{Cancel, Registration};

/// Why a run is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortReason {
    /// `chat.abort`, `sessions.abort` or a client that left.
    Rpc,
    /// A stop word or `/stop`.
    Stop,
    /// The run's own time limit.
    Timeout,
    /// A newer message of the same session took its place.
    Interrupt,
    /// The gateway stops or restarts.
    Shutdown,
    /// It waited, and too many others came after it.
    Dropped,
    /// Whoever asked has gone.
    Gone,
}

impl AbortReason {
    const ALL: [AbortReason; 7] = [
        AbortReason::Rpc,
        AbortReason::Stop,
        AbortReason::Timeout,
        AbortReason::Interrupt,
        AbortReason::Shutdown,
        AbortReason::Dropped,
        AbortReason::Gone,
    ];

    /// The text of `stopReason` in `chat` events (agent.md 5).
    pub fn name(self) -> &'static str {
        match self {
            AbortReason::Rpc => "rpc",
            AbortReason::Stop => "stop",
            AbortReason::Timeout => "timeout",
            AbortReason::Interrupt => "interrupt",
            AbortReason::Shutdown => "shutdown",
            AbortReason::Dropped => "dropped",
            AbortReason::Gone => "disconnected",
        }
    }

    fn from_number(number: u8) -> AbortReason {
        AbortReason::ALL.into_iter().find(|reason| *reason as u8 == number).unwrap_or(AbortReason::Rpc)
    }
}

/// What ended a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// The time is over.
    Over,
    /// The run was stopped, or its deadline came first.
    Stopped(AbortReason),
}

/// Stop switch and deadline of one run; clones control the same run.
#[derive(Clone, Debug, Default)]
pub struct Control {
    cancel: Cancel,
    deadline: Option<Instant>,
}

impl Control {
    /// Without a deadline.
    pub fn new() -> Control {
        Control::default()
    }

    /// With a deadline that far from now; a time too large for a clock is none.
    pub fn within(limit: Duration) -> Control {
        Control { cancel: Cancel::new(), deadline: Instant::now().checked_add(limit) }
    }

    /// The same switch with a deadline no later than that far from now: one step of the run.
    pub fn step(&self, limit: Duration) -> Control {
        let step = Instant::now().checked_add(limit);
        let deadline = [self.deadline, step].into_iter().flatten().min();
        Control { cancel: self.cancel.clone(), deadline }
    }

    /// Stops the run; false when it was stopped before. Never blocks, so the state thread may call it.
    pub fn cancel(&self, reason: AbortReason) -> bool {
        self.cancel.throw(reason as u8)
    }

    /// Why the run must stop now, if it must: the switch first, then the deadline.
    pub fn stopped(&self) -> Option<AbortReason> {
        let thrown = self.cancel.reason().map(AbortReason::from_number);
        thrown.or_else(|| (self.remaining() == Some(Duration::ZERO)).then_some(AbortReason::Timeout))
    }

    /// Whether the switch was thrown; a deadline that passed does not count.
    pub fn cancelled(&self) -> bool {
        self.cancel.reason().is_some()
    }

    /// Time to the deadline; none without one.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// The time a blocking step may take: its own limit or what is left of the run.
    pub fn at_most(&self, limit: Duration) -> Duration {
        self.remaining().map_or(limit, |left| left.min(limit))
    }

    /// Runs `action` when the run is stopped, at once if it already is; it must not block. Dropping the answer takes
    /// the action back. A deadline runs no action: whoever blocks uses [`Control::at_most`].
    pub fn on_cancel(&self, action: impl FnOnce() + Send + 'static) -> Registration {
        self.cancel.on_throw(action)
    }

    /// Waits, unless the run is stopped meanwhile.
    pub fn pause(&self, time: Duration) -> Pause {
        self.cancel.wait(self.at_most(time));
        self.stopped().map_or(Pause::Over, Pause::Stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_survive_the_switch() {
        for reason in AbortReason::ALL {
            let control = Control::new();
            assert!(control.cancel(reason) && control.cancelled());
            assert_eq!(control.stopped(), Some(reason), "{}", reason.name());
        }
    }

    #[test]
    fn a_passed_deadline_is_a_timeout_and_not_a_cancellation() {
        let control = Control::within(Duration::ZERO);
        assert_eq!((control.stopped(), control.cancelled()), (Some(AbortReason::Timeout), false));
        assert_eq!(control.pause(Duration::from_secs(60)), Pause::Stopped(AbortReason::Timeout));
    }

    #[test]
    fn a_step_never_outlives_its_run() {
        let run = Control::within(Duration::from_secs(1));
        assert!(run.step(Duration::from_secs(60)).remaining().unwrap() <= Duration::from_secs(1));
        assert!(run.step(Duration::ZERO).stopped().is_some() && run.stopped().is_none());
        assert!(Control::new().step(Duration::MAX).remaining().is_none());
        run.cancel(AbortReason::Stop);
        assert!(run.step(Duration::from_secs(1)).cancelled());
    }

    #[test]
    fn a_pause_is_over_when_nothing_stops_it() {
        assert_eq!(Control::new().pause(Duration::ZERO), Pause::Over);
        assert_eq!(Control::new().at_most(Duration::from_secs(3)), Duration::from_secs(3));
    }
}
