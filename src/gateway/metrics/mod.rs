//! What `/metrics` tells, as plain numbers: counted by the state thread while it works, copied when somebody asks. To
//! count costs an addition: places are numbers known beforehand, nothing is allocated. The text is made in `text`, on
//! the thread of whoever asks.

pub mod text;

use std::time::Duration;

use super::health::millis;
use super::runs::outcome::Outcome;
use super::state::{Counters, State};
use super::trouble::Trouble;
use crate::agent::control::AbortReason;
use crate::agent::message::Usage;
use crate::agent::model::ModelRef;
use crate::agent::run::Cause;
use crate::cron::job::Status;
use crate::limits;
use crate::protocol::errors::Code;
use crate::protocol::methods::METHODS;
use crate::protocol::table::Method;
use crate::sys::clock::Now;

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// At once.
    Ok,
    /// It could not be done: the gateway's fault, or a matter of time.
    Error,
    /// It is wrong, or not allowed: the caller's to put right.
    Refused,
    /// Taken; the answer comes when the disk, a device or a turn is done with it.
    Accepted,
}

impl Answered {
    const NAMES: [&'static str; 4] = ["ok", "error", "refused", "accepted"];

    /// An error at once.
    pub fn refusing(code: Code) -> Answered {
        match code {
            Code::Unavailable | Code::AgentTimeout => Answered::Error,
            _ => Answered::Refused,
        }
    }
}

/// How a turn ended.
const OUTCOMES: [&str; 4] = ["ok", "error", "aborted", "timeout"];

/// What became of a heartbeat, as its event says.
const BEATS: [&str; 5] = ["ok-empty", "ok-token", "sent", "skipped", "failed"];

/// What became of a scheduled run.
const CRON: [Status; 3] = [Status::Ok, Status::Error, Status::Skipped];

/// What the token counts of a model are of.
const TOKENS: [&str; 5] = ["input", "output", "cache_read", "cache_write", "embedding"];

/// Upper bounds of the handling times, with their text in seconds.
const BOUNDS: [(Duration, &str); 6] = [
    (Duration::from_micros(10), "0.00001"),
    (Duration::from_micros(100), "0.0001"),
    (Duration::from_millis(1), "0.001"),
    (Duration::from_millis(10), "0.01"),
    (Duration::from_millis(100), "0.1"),
    (Duration::from_secs(1), "1"),
];

/// How long things took.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    /// One count for each bound, and one for what is above all of them.
    counts: [u64; BOUNDS.len() + 1],
    sum: Duration,
}

impl Histogram {
    /// Counts one.
    pub fn add(&mut self, took: Duration) {
        let at = BOUNDS.iter().take_while(|(bound, _)| took > *bound).count();
        if let Some(count) = self.counts.get_mut(at) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(took);
    }
}

/// Tokens of one model.
#[derive(Debug, Clone)]
struct Tokens {
    provider: String,
    model: String,
    counts: [u64; TOKENS.len()],
}

/// What the state thread counts for nobody else.
#[derive(Debug, Clone)]
pub struct Counts {
    /// By the number of the method's handler; the last is for methods there are not.
    requests: Vec<[u64; Answered::NAMES.len()]>,
    /// Time spent on each event, its effects included.
    pub handling: Histogram,
    /// Events that wait.
    pub queued: usize,
    runs: [u64; OUTCOMES.len()],
    beats: [u64; BEATS.len()],
    cron: [u64; CRON.len()],
    tokens: Vec<Tokens>,
    started_ms: u64,
}

impl Default for Counts {
    fn default() -> Counts {
        Counts {
            requests: vec![[0; Answered::NAMES.len()]; METHODS.len() + 1],
            handling: Histogram::default(),
            queued: 0,
            runs: [0; OUTCOMES.len()],
            beats: [0; BEATS.len()],
            cron: [0; CRON.len()],
            tokens: Vec::new(),
            started_ms: 0,
        }
    }
}

impl Counts {
    /// Counts a request; none is a method there is not.
    pub fn request(&mut self, row: Option<&Method>, how: Answered) {
        let at = row.map_or(METHODS.len(), |row| row.handler as usize);
        if let Some(count) = self.requests.get_mut(at).and_then(|counts| counts.get_mut(how as usize)) {
            *count += 1;
        }
    }

    /// Counts a turn that is over.
    pub fn run(&mut self, outcome: &Outcome) {
        let at = match outcome.cause() {
            None => 0,
            Some(Cause::Stopped(AbortReason::Timeout)) => 3,
            Some(Cause::Stopped(_)) => 2,
            Some(_) => 1,
        };
        if let Some(count) = self.runs.get_mut(at) {
            *count += 1;
        }
        let Usage { input, output, cache_read, cache_write, .. } = outcome.account.usage;
        if let Some(model) = &outcome.account.model {
            self.tokens(model, [input, output, cache_read, cache_write, 0]);
        }
    }

    /// Counts a heartbeat.
    pub fn heartbeat(&mut self, status: &str) {
        let place = BEATS.iter().position(|known| *known == status);
        if let Some(count) = place.and_then(|at| self.beats.get_mut(at)) {
            *count += 1;
        }
    }

    /// Counts a scheduled run, one that did not take place included.
    pub fn scheduled(&mut self, status: Status) {
        if let Some(count) = self.cron.get_mut(status as usize) {
            *count += 1;
        }
    }

    /// Adds tokens of texts that became vectors.
    pub fn embedded(&mut self, model: &ModelRef, tokens: u64) {
        self.tokens(model, [0, 0, 0, 0, tokens]);
    }

    /// Models beyond a bound share a place: their names come from outside.
    fn tokens(&mut self, model: &ModelRef, more: [u64; TOKENS.len()]) {
        let is = |row: &Tokens, provider: &str, name: &str| row.provider == provider && row.model == name;
        let (mut provider, mut name) = (model.provider.as_str(), model.model.as_str());
        if self.tokens.len() >= limits::METRIC_MODELS && !self.tokens.iter().any(|row| is(row, provider, name)) {
            (provider, name) = ("other", "other");
        }
        let at = self.tokens.iter().position(|row| is(row, provider, name)).unwrap_or_else(|| {
            self.tokens.push(Tokens { provider: provider.into(), model: name.into(), counts: [0; TOKENS.len()] });
            self.tokens.len() - 1
        });
        let Some(row) = self.tokens.get_mut(at) else { return };
        row.counts.iter_mut().zip(more).for_each(|(count, more)| *count = count.saturating_add(more));
    }
}

/// Everything the state knows, at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    counts: Counts,
    counters: Counters,
    version: &'static str,
    websockets: usize,
    running: usize,
    waiting: usize,
    sessions: usize,
    jobs: usize,
    login_failures: u64,
    troubles: [u64; Trouble::ALL.len()],
}

impl State {
    /// The numbers of this moment.
    pub fn metrics_snapshot(&self) -> Snapshot {
        let running = self.runs.at_work();
        Snapshot {
            counts: self.metrics.clone(),
            counters: self.counters.clone(),
            version: self.facts.version,
            websockets: self.conns.len(),
            running,
            waiting: self.runs.len().saturating_sub(running),
            sessions: self.sessions.len(),
            jobs: self.cron.book.jobs.len(),
            login_failures: self.logins.failures(),
            troubles: Trouble::ALL.map(|what| self.trouble.count(what)),
        }
    }

    /// Notes when the process began; by this clock, which may be put right later.
    pub fn metrics_begin(&mut self, now: Now) {
        self.metrics.started_ms = now.wall_ms.saturating_sub(millis(self.uptime(now)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_place_of_its_own() {
        let mut places: Vec<usize> = METHODS.iter().map(|row| row.handler as usize).collect();
        places.sort_unstable();
        assert_eq!(places, (0..METHODS.len()).collect::<Vec<_>>());
    }

    #[test]
    fn scheduled_runs_stand_in_the_order_of_their_names() {
        assert!(CRON.iter().enumerate().all(|(at, status)| *status as usize == at));
    }

    #[test]
    fn a_time_at_a_bound_belongs_below_it() {
        let mut times = Histogram::default();
        for (bound, _) in BOUNDS {
            times.add(bound);
            times.add(bound + Duration::from_nanos(1));
        }
        assert_eq!(times.counts, [1, 2, 2, 2, 2, 2, 1]);
    }

    #[test]
    fn models_beyond_the_bound_share_a_place() {
        let mut counts = Counts::default();
        for n in 0..limits::METRIC_MODELS + 5 {
            counts.embedded(&ModelRef::new("p", n.to_string()), 1);
        }
        counts.embedded(&ModelRef::new("p", "0"), 1);
        assert_eq!(counts.tokens.len(), limits::METRIC_MODELS + 1);
        let of = |model: &str| counts.tokens.iter().find(|row| row.model == model).unwrap().counts[4];
        assert_eq!((of("0"), of("other")), (2, 5));
    }
}
