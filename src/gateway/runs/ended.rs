//! Runs that have ended, remembered for a while for whoever asks or waits (`agent.wait`, agent.md 3).
//! Pure; the clock comes in.

use std::collections::VecDeque;
use std::time::Duration;

use crate::gateway::disk::Waiting;
use crate::limits;
use crate::sys::table::Table;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// When its thread began; none when it never did.
    pub started_ms: Option<u64>,
    /// When it was over.
    pub ended_ms: u64,
    /// What went wrong, if something did.
    pub error: Option<String>,
}

/// Somebody who waits for the end of a run, known or not.
struct Waiter {
    ticket: u64,
    run_id: String,
    waiting: Waiting,
}

/// The memory and the waiters.
#[derive(Default)]
pub struct EndedRuns {
    ended: Table<String, (Duration, Ended)>,
    order: VecDeque<(Duration, String)>,
    waiters: Vec<Waiter>,
    next: u64,
}

impl EndedRuns {
    /// How the run ended, if that is known.
    pub fn get(&self, run_id: &str) -> Option<&Ended> {
        self.ended.get(run_id).map(|(_, ended)| ended)
    }

    /// Notes an end at a moment of the monotonic clock; everyone who waited for it.
    pub fn note(&mut self, run_id: &str, ended: Ended, now: Duration) -> Vec<Waiting> {
        self.sweep(now);
        while self.order.len() >= limits::ENDED_RUNS {
            let Some((since, id)) = self.order.pop_front() else { break };
            self.forget(since, &id);
        }
        self.order.push_back((now, run_id.to_string()));
        self.ended.insert(run_id.to_string(), (now, ended));
        let (come, stay) = std::mem::take(&mut self.waiters).into_iter().partition(|waiter| waiter.run_id == run_id);
        self.waiters = stay;
        let come: Vec<Waiter> = come;
        come.into_iter().map(|waiter| waiter.waiting).collect()
    }

    /// A run of this name begins anew: its last end is no answer any more.
    pub fn began(&mut self, run_id: &str) {
        self.ended.remove(run_id);
    }

    /// Someone waits; the ticket names them. `None` when too many wait already.
    pub fn wait(&mut self, run_id: &str, waiting: Waiting) -> Option<u64> {
        if self.waiters.len() >= limits::RUN_WAITERS {
            return None;
        }
        self.next += 1;
        self.waiters.push(Waiter { ticket: self.next, run_id: run_id.to_string(), waiting });
        Some(self.next)
    }

    /// The time of a waiter is over: who it was and for what, unless it was answered before.
    pub fn give_up(&mut self, ticket: u64) -> Option<(String, Waiting)> {
        let at = self.waiters.iter().position(|waiter| waiter.ticket == ticket)?;
        let waiter = self.waiters.swap_remove(at);
        Some((waiter.run_id, waiter.waiting))
    }

    /// Forgets what is too old.
    pub fn sweep(&mut self, now: Duration) {
        while let Some((since, _)) = self.order.front() {
            if now.saturating_sub(*since) <= limits::ENDED_RUN_AGE {
                return;
            }
            if let Some((since, id)) = self.order.pop_front() {
                self.forget(since, &id);
            }
        }
    }

    fn forget(&mut self, since: Duration, id: &str) {
        if self.ended.get(id).is_some_and(|(at, _)| *at == since) {
            self.ended.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::event::ConnId;

    fn end(at: u64) -> Ended {
        Ended { started_ms: Some(1), ended_ms: at, error: None }
    }

    fn waiting(id: &str) -> Waiting {
        Waiting { conn: ConnId(1), id: id.to_string() }
    }

    #[test]
    fn an_end_is_remembered_for_ten_minutes() {
        let mut runs = EndedRuns::default();
        let at = Duration::from_secs(1);
        runs.note("a", end(1000), at);
        // Whatever the clock on the wall does meanwhile.
        runs.note("b", end(u64::MAX), at);
        runs.sweep(at + limits::ENDED_RUN_AGE);
        assert_eq!(runs.get("a"), Some(&end(1000)));
        runs.sweep(at + limits::ENDED_RUN_AGE + Duration::from_nanos(1));
        assert_eq!(runs.get("a"), None);
        assert!(runs.order.is_empty());
    }

    #[test]
    fn waiters_are_answered_once() {
        let mut runs = EndedRuns::default();
        let one = runs.wait("a", waiting("1")).unwrap();
        let two = runs.wait("b", waiting("2")).unwrap();
        let told = runs.note("a", end(5), Duration::ZERO);
        assert_eq!(told.iter().map(|waiting| waiting.id.as_str()).collect::<Vec<_>>(), ["1"]);
        assert!(runs.give_up(one).is_none());
        assert_eq!(runs.give_up(two).map(|(run, _)| run).as_deref(), Some("b"));
        assert!(runs.give_up(two).is_none());
    }

    #[test]
    fn so_many_may_wait_and_no_more() {
        let mut runs = EndedRuns::default();
        let waits = (0..limits::RUN_WAITERS + 1).filter(|_| runs.wait("a", waiting("1")).is_some()).count();
        assert_eq!(waits, limits::RUN_WAITERS);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut runs = EndedRuns::default();
        for n in 0..limits::ENDED_RUNS as u64 + 5 {
            runs.note(&n.to_string(), end(n), Duration::from_millis(n));
        }
        assert_eq!(runs.ended.len(), limits::ENDED_RUNS);
        assert!(runs.get("4").is_none() && runs.get("5").is_some());
    }
}
