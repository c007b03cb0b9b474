//! Cancellation that ends blocking work at once: whoever blocks leaves an action behind (shut this socket down, kill
//! this process group) that runs on the thread of whoever cancels. Knows nothing of what is cancelled.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

type Action = Box<dyn FnOnce() + Send>;

/// A shared switch that can be thrown once; clones are the same switch. The reason is a number of the owner's choice.
#[derive(Clone, Default)]
pub struct Cancel {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    thrown: Condvar,
}

#[derive(Default)]
struct State {
    reason: Option<u8>,
    next: u64,
    actions: Vec<(u64, Action)>,
}

/// Keeps an action registered; dropping it takes the action back.
#[must_use = "the action is taken back when this is dropped"]
pub struct Registration {
    cancel: Cancel,
    id: u64,
}

impl Cancel {
    /// A switch that is not thrown.
    pub fn new() -> Cancel {
        Cancel::default()
    }

    /// Throws the switch and runs the actions; false when it was thrown before, whose reason then stays.
    pub fn throw(&self, reason: u8) -> bool {
        let mut state = self.state();
        if state.reason.is_some() {
            return false;
        }
        state.reason = Some(reason);
        let actions = std::mem::take(&mut state.actions);
        drop(state);
        self.inner.thrown.notify_all();
        for (_, action) in actions {
            action();
        }
        true
    }

    /// The reason it was thrown with.
    pub fn reason(&self) -> Option<u8> {
        self.state().reason
    }

    /// Runs `action` when the switch is thrown; at once if it already is. Actions must not block.
    pub fn on_throw(&self, action: impl FnOnce() + Send + 'static) -> Registration {
        let mut state = self.state();
        let id = state.next;
        if state.reason.is_some() {
            drop(state);
            action();
        } else {
            state.next += 1;
            state.actions.push((id, Box::new(action)));
        }
        Registration { cancel: self.clone(), id }
    }

    /// Waits until the switch is thrown, at most that long; whether it was thrown.
    pub fn wait(&self, time: Duration) -> bool {
        let until = Instant::now().checked_add(time);
        let mut state = self.state();
        while state.reason.is_none() {
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            // a bounded wait: `wait_timeout` overflows on absurd durations
            let left = left.min(Duration::from_secs(3600));
            state = self.inner.thrown.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// No action runs while this is held, so a poisoned lock still guards whole data.
    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancel").field("reason", &self.reason()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registration")
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.cancel.state().actions.retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn runs_what_is_registered_once_and_keeps_the_first_reason() {
        let cancel = Cancel::new();
        let (send, receive) = mpsc::channel();
        let registration = cancel.on_throw(move || send.send(1).unwrap());
        assert!(cancel.throw(7));
        assert!(!cancel.throw(8));
        drop(registration);
        assert_eq!((receive.iter().count(), cancel.reason()), (1, Some(7)));
    }

    #[test]
    fn runs_at_once_when_already_thrown() {
        let cancel = Cancel::new();
        cancel.throw(0);
        let (send, receive) = mpsc::channel();
        let _registration = cancel.on_throw(move || send.send(()).unwrap());
        assert!(receive.try_recv().is_ok());
    }

    #[test]
    fn a_dropped_registration_does_not_run() {
        let cancel = Cancel::new();
        let (send, receive) = mpsc::channel();
        drop(cancel.on_throw(move || send.send(()).unwrap()));
        cancel.throw(0);
        assert!(receive.try_recv().is_err());
    }

    #[test]
    fn a_wait_ends_when_thrown_and_when_over() {
        let cancel = Cancel::new();
        assert!(!cancel.wait(Duration::ZERO));
        let other = cancel.clone();
        let thrower = crate::sys::thread::spawn("throw", 64 * 1024, move || assert!(other.throw(1)));
        assert!(cancel.wait(Duration::from_secs(20)));
        thrower.unwrap().join().unwrap();
        assert!(cancel.wait(Duration::MAX));
    }

    #[test]
    fn an_action_may_use_the_switch_itself() {
        let cancel = Cancel::new();
        let inner = cancel.clone();
        let (send, receive) = mpsc::channel();
        let _registration = cancel.on_throw(move || send.send(inner.reason()).unwrap());
        cancel.throw(3);
        assert_eq!(receive.recv().unwrap(), Some(3));
    }
}
