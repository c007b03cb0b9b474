//! Every deadline of the gateway in one heap, owned by the state thread.
//! Knows when, never why; reads no clock.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

use super::event::Timer;

/// A heap of deadlines, earliest first; equal ones in the order in which they were set.
#[derive(Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<Entry>>,
    next: u64,
}

struct Entry {
    at: Duration,
    order: u64,
    what: Timer,
}

impl Timers {
    /// Sets a timer for this moment (time since the process started).
    pub fn set(&mut self, at: Duration, what: Timer) {
        self.heap.push(Reverse(Entry { at, order: self.next, what }));
        self.next += 1;
    }

    /// The next deadline.
    pub fn next(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// Takes one timer that is due.
    pub fn due(&mut self, now: Duration) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry.what)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_timers_in_order_of_time_and_setting() {
        let mut timers = Timers::default();
        let at = Duration::from_secs;
        timers.set(at(3), Timer::Tick);
        timers.set(at(1), Timer::Sweep);
        timers.set(at(1), Timer::Health);
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.due(at(0)), None);
        assert_eq!(timers.due(at(1)), Some(Timer::Sweep));
        assert_eq!(timers.due(at(1)), Some(Timer::Health));
        assert_eq!(timers.due(at(1)), None);
        assert_eq!(timers.due(at(9)), Some(Timer::Tick));
        assert_eq!(timers.next(), None);
    }
}
