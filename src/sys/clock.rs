//! The program's only source of time. Pure code gets a [`Now`] passed in and never asks by itself,
//! so that tests fix it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One moment on both clocks: deadlines use `mono`, everything a person or a file sees uses `wall_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Time since the process started; never jumps.
    pub mono: Duration,
    /// Unix time in milliseconds; may jump when somebody sets the clock.
    pub wall_ms: u64,
}

impl Now {
    /// The time since the start in milliseconds: for spans that a corrected date must neither end nor prolong.
    pub fn mono_ms(self) -> u64 {
        u64::try_from(self.mono.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The running clock, started once per process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock whose monotonic side starts now.
    pub fn start() -> Clock {
        Clock { origin: Instant::now() }
    }

    /// The current moment.
    pub fn now(&self) -> Now {
        Now { mono: self.origin.elapsed(), wall_ms: wall_ms() }
    }

    /// The instant of a monotonic time, for `recv_deadline` and socket timeouts.
    pub fn instant(&self, mono: Duration) -> Instant {
        self.origin.checked_add(mono).unwrap_or(self.origin)
    }
}

/// Unix time in milliseconds; a clock before 1970 counts as 0, one after the year 292 million as the largest value.
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_side_never_goes_back() {
        let clock = Clock::start();
        let first = clock.now();
        let second = clock.now();
        assert!(second.mono >= first.mono);
    }

    #[test]
    fn wall_side_is_after_this_was_written() {
        assert!(Clock::start().now().wall_ms > 1_700_000_000_000);
    }

    #[test]
    fn instants_and_monotonic_times_agree() {
        let clock = Clock::start();
        let later = clock.instant(Duration::from_secs(5));
        assert_eq!(later.duration_since(clock.origin), Duration::from_secs(5));
    }
}
