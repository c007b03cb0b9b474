//! The one layer of retries (agent.md 22): the same model again a little later, then the next account, then the next
//! model; pauses for accounts that failed. A pure state machine: time, chance and waiting come from outside.

use std::time::Duration;

use super::keys::{AuthProfiles, Noted};
use super::{ErrorKind, ModelError, ModelRef};
use crate::limits;
use crate::sys::order;
use crate::sys::table::Table;

/// Pauses of an account after its first, second, third and further failures (agent.md 22).
const COOLDOWNS: [Duration; 4] =
    [Duration::from_secs(60), Duration::from_secs(5 * 60), Duration::from_secs(25 * 60), Duration::from_secs(60 * 60)];
/// Pause of an account without credit; it doubles up to [`BILLING_MAX`] (agent.md 22).
const BILLING: Duration = Duration::from_secs(5 * 3600);
/// See [`BILLING`].
const BILLING_MAX: Duration = Duration::from_secs(24 * 3600);
/// Largest part of a pause that chance adds, so that many runs do not come back at the same moment.
const JITTER: f64 = 0.25;

/// One way to get an answer: a model through an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The model.
    pub reference: ModelRef,
    /// Who pays: a profile's id, or the provider's.
    pub account: String,
}

/// How an account fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Standing {
    until_ms: u64,
    errors: u64,
}

/// Accounts that better not be called for a while. Kept by the gateway between runs; a run gets a copy and gives back
/// changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cooldowns(Table<String, Standing>);

/// What a run learnt about an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The account.
    pub account: String,
    /// What happened with it.
    pub noted: Noted,
}

impl Cooldowns {
    /// The pauses a profiles file remembers.
    pub fn of_profiles(profiles: &AuthProfiles) -> Cooldowns {
        let standing = |id: &str| Standing { until_ms: profiles.blocked_until(id), errors: profiles.errors(id) };
        Cooldowns(profiles.ids().map(|id| (id.to_string(), standing(id))).collect())
    }

    /// The same with what another record knows: the later pause counts.
    #[must_use]
    pub fn with(mut self, other: &Cooldowns) -> Cooldowns {
        for (account, theirs) in &other.0 {
            let ours = self.0.or_default(account.clone());
            ours.until_ms = ours.until_ms.max(theirs.until_ms);
            ours.errors = ours.errors.max(theirs.errors);
        }
        self
    }

    /// Enters a change; whether the account had failures before.
    pub fn apply(&mut self, change: &Change) -> bool {
        let standing = self.0.or_default(change.account.clone());
        let failed = standing.errors > 0;
        match change.noted {
            Noted::Used => *standing = Standing::default(),
            Noted::CoolsUntil(until_ms) | Noted::DisabledUntil(until_ms) => {
                *standing = Standing { until_ms, errors: standing.errors.saturating_add(1) };
            }
        }
        failed
    }

    /// When an account may be called again; none when it may be called now.
    pub fn until(&self, account: &str, now_ms: u64) -> Option<u64> {
        self.0.get(account).map(|standing| standing.until_ms).filter(|until| *until > now_ms)
    }

    fn errors(&self, account: &str) -> u64 {
        self.0.get(account).map_or(0, |standing| standing.errors)
    }
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Call this candidate.
    Call(usize),
    /// Wait, then call this candidate.
    Pause(Duration, usize),
    /// Give up.
    Fail(ModelError),
}

/// One call that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What was called.
    pub candidate: Candidate,
    /// Why it failed.
    pub error: ModelError,
}

/// The course of one question through the candidates.
#[derive(Clone, Debug)]
pub struct Failover {
    candidates: Vec<Candidate>,
    /// Candidates still to be tried, the current one first.
    order: Vec<usize>,
    attempt: u32,
    cooldowns: Cooldowns,
    changes: Vec<Change>,
    failures: Vec<Failure>,
    note: Option<String>,
}

impl Failover {
    /// A question to these candidates. Accounts that pause come last, the one that is due first before the others: a
    /// single provider is never locked out.
    pub fn new(candidates: Vec<Candidate>, cooldowns: Cooldowns, preferred: Option<usize>, now_ms: u64) -> Failover {
        let due = |at: &usize| {
            let account = candidates.get(*at).map_or("", |candidate| candidate.account.as_str());
            (cooldowns.until(account, now_ms).unwrap_or(0), Some(*at) != preferred, *at)
        };
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        order::by_key(&mut order, due);
        let first = order.first().and_then(|at| candidates.get(*at));
        let paused = first.and_then(|first| Some((first, cooldowns.until(&first.account, now_ms)?)));
        let note = paused.map(|(first, until)| {
            let seconds = until.saturating_sub(now_ms).div_ceil(1000);
            format!("every account is cooling down; trying {} anyway, which is due in {seconds} s", first.reference)
        });
        Failover { candidates, order, attempt: 1, cooldowns, changes: Vec::new(), failures: Vec::new(), note }
    }

    /// Candidates in the order in which they are tried.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// A candidate by its number.
    pub fn candidate(&self, at: usize) -> Option<&Candidate> {
        self.candidates.get(at)
    }

    /// The first step.
    pub fn begin(&self) -> Step {
        match self.order.first() {
            Some(at) => Step::Call(*at),
            None => Step::Fail(ModelError::new(ErrorKind::NotConfigured, "no model to call")),
        }
    }

    /// The next step after a failure; `chance` is between 0 and 1.
    pub fn failed(&mut self, error: ModelError, now_ms: u64, chance: f64) -> Step {
        let Some((at, candidate)) = self.current() else { return Step::Fail(error) };
        self.failures.push(Failure { candidate: candidate.clone(), error: error.clone() });
        // part of an answer is out, somebody stopped the run, or only compaction helps: nobody else can do better
        if error.streamed || matches!(error.kind, ErrorKind::Aborted | ErrorKind::ContextOverflow) {
            return Step::Fail(error);
        }
        if error.kind.is_transient()
            && self.attempt < limits::MODEL_ATTEMPTS
            && let Some(pause) = self.pause(&error, chance)
        {
            self.attempt += 1;
            return Step::Pause(pause, at);
        }
        self.cool(&candidate, &error, now_ms);
        self.next(&candidate, error.kind)
    }

    /// The current candidate answered.
    pub fn succeeded(&mut self) {
        if let Some((_, candidate)) = self.current() {
            self.change(Change { account: candidate.account, noted: Noted::Used });
        }
    }

    /// What was learnt about accounts.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Every call that failed, in order.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// What a person should know before the first call: that everything is cooling down.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    fn current(&self) -> Option<(usize, Candidate)> {
        let at = *self.order.first()?;
        Some((at, self.candidates.get(at)?.clone()))
    }

    /// 1, 2, 4 s with some chance, or what the server asks for; none when it asks for too much.
    fn pause(&self, error: &ModelError, chance: f64) -> Option<Duration> {
        if let Some(asked) = error.retry_after {
            return (asked <= limits::MODEL_RETRY_AFTER).then_some(asked);
        }
        let doubled = limits::MODEL_RETRY.saturating_mul(1 << (self.attempt - 1).min(16));
        Some(doubled.mul_f64(1.0 + JITTER * chance.clamp(0.0, 1.0)))
    }

    /// Only what is the account's fault makes it pause.
    fn cool(&mut self, candidate: &Candidate, error: &ModelError, now_ms: u64) {
        let errors = self.cooldowns.errors(&candidate.account);
        let until = |pause: Duration| now_ms.saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        let noted = match error.kind {
            ErrorKind::Billing => {
                let doublings = u32::try_from(errors).unwrap_or(u32::MAX).min(8);
                Noted::DisabledUntil(until(BILLING.saturating_mul(1 << doublings).min(BILLING_MAX)))
            }
            ErrorKind::Auth | ErrorKind::RateLimit => {
                let step = usize::try_from(errors).unwrap_or(usize::MAX).min(COOLDOWNS.len() - 1);
                let pause = COOLDOWNS.get(step).copied().unwrap_or_default();
                // a date far away is a mistake of the server's
                Noted::CoolsUntil(until(pause.max(error.retry_after.unwrap_or_default().min(BILLING_MAX))))
            }
            _ => return,
        };
        self.change(Change { account: candidate.account.clone(), noted });
    }

    fn change(&mut self, change: Change) {
        self.cooldowns.apply(&change);
        self.changes.push(change);
    }

    /// Another account of the same model only helps when the account was the trouble.
    fn next(&mut self, failed: &Candidate, kind: ErrorKind) -> Step {
        let accounts_fault = matches!(kind, ErrorKind::Auth | ErrorKind::Billing | ErrorKind::RateLimit);
        let candidates = &self.candidates;
        self.order.remove(0);
        self.order.retain(|at| {
            let same = candidates.get(*at).is_some_and(|other| other.reference == failed.reference);
            accounts_fault || !same
        });
        self.attempt = 1;
        match self.order.first() {
            Some(at) => Step::Call(*at),
            None => Step::Fail(self.verdict()),
        }
    }

    /// One error for all failures: of the first model, telling about the others.
    fn verdict(&self) -> ModelError {
        let mut last: Vec<&Failure> = Vec::new();
        for failure in &self.failures {
            last.retain(|seen| seen.candidate != failure.candidate);
            last.push(failure);
        }
        let Some(first) = last.first() else { return ModelError::new(ErrorKind::NotConfigured, "no model to call") };
        if last.len() == 1 {
            return first.error.clone();
        }
        let told: Vec<String> =
            last.iter().map(|failure| format!("{}: {}", failure.candidate.reference, failure.error)).collect();
        let retry_after = last.iter().filter_map(|failure| failure.error.retry_after).min();
        let text = format!("every model failed. {}", told.join("; "));
        ModelError { status: first.error.status, retry_after, ..ModelError::new(first.error.kind, text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn candidates(list: &[(&str, &str)]) -> Vec<Candidate> {
        let candidate = |(model, account): &(&str, &str)| Candidate {
            reference: ModelRef::parse(model).unwrap(),
            account: (*account).to_string(),
        };
        list.iter().map(candidate).collect()
    }

    fn failover(list: &[(&str, &str)]) -> Failover {
        Failover::new(candidates(list), Cooldowns::default(), None, NOW)
    }

    fn error(kind: ErrorKind) -> ModelError {
        ModelError::new(kind, format!("it was {}", kind.name()))
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn kind_of(step: Step) -> ErrorKind {
        match step {
            Step::Fail(error) => error.kind,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_passing_trouble_is_waited_for_twice_and_then_the_next_model_is_called() {
        let mut course = failover(&[("a/m", "a"), ("b/m", "b")]);
        assert_eq!(course.begin(), Step::Call(0));
        assert_eq!(course.failed(error(ErrorKind::Server), NOW, 0.0), Step::Pause(secs(1), 0));
        assert_eq!(course.failed(error(ErrorKind::Timeout), NOW, 1.0), Step::Pause(Duration::from_millis(2500), 0));
        assert_eq!(course.failed(error(ErrorKind::Overloaded), NOW, 0.0), Step::Call(1));
        assert_eq!(course.failed(error(ErrorKind::Network), NOW, 0.0), Step::Pause(secs(1), 1));
        course.succeeded();
        assert_eq!(course.changes(), [Change { account: "b".into(), noted: Noted::Used }]);
        assert_eq!(course.failures().len(), 4);
    }

    #[test]
    fn what_the_server_asks_for_is_honoured_unless_it_is_too_long() {
        let asks = |seconds| ModelError { retry_after: Some(secs(seconds)), ..error(ErrorKind::RateLimit) };
        let mut course = failover(&[("a/m", "a"), ("b/m", "b")]);
        assert_eq!(course.failed(asks(60), NOW, 0.9), Step::Pause(secs(60), 0));
        assert_eq!(course.failed(asks(61), NOW, 0.9), Step::Call(1));
        assert_eq!(course.changes()[0].noted, Noted::CoolsUntil(NOW + 61_000));
        let mut course = failover(&[("a/m", "a")]);
        course.failed(asks(10 * 365 * 86_400), NOW, 0.0);
        let most = u64::try_from(BILLING_MAX.as_millis()).unwrap();
        assert_eq!(course.changes()[0].noted, Noted::CoolsUntil(NOW + most), "a date far away");
    }

    #[test]
    fn lasting_troubles_are_not_repeated() {
        for kind in [
            ErrorKind::Auth,
            ErrorKind::Billing,
            ErrorKind::Format,
            ErrorKind::NotFound,
            ErrorKind::Protocol,
            ErrorKind::NotConfigured,
        ] {
            let mut course = failover(&[("a/m", "a"), ("b/m", "b")]);
            assert_eq!(course.failed(error(kind), NOW, 0.0), Step::Call(1), "{}", kind.name());
        }
    }

    #[test]
    fn nothing_is_repeated_once_part_of_an_answer_is_out_or_somebody_stopped_it() {
        let streamed = ModelError { streamed: true, ..error(ErrorKind::Network) };
        for error in [streamed, error(ErrorKind::Aborted), error(ErrorKind::ContextOverflow)] {
            let mut course = failover(&[("a/m", "a"), ("b/m", "b")]);
            assert_eq!(course.failed(error.clone(), NOW, 0.0), Step::Fail(error));
        }
    }

    #[test]
    fn another_account_is_tried_only_when_the_first_was_the_trouble() {
        let list = [("a/m", "a:one"), ("a/m", "a:two"), ("b/m", "b")];
        let mut course = failover(&list);
        assert_eq!(course.failed(error(ErrorKind::Auth), NOW, 0.0), Step::Call(1));
        let mut course = failover(&list);
        assert_eq!(course.failed(error(ErrorKind::NotFound), NOW, 0.0), Step::Call(2));
    }

    #[test]
    fn pauses_of_accounts_grow_and_end_with_a_success() {
        let mut cooldowns = Cooldowns::default();
        for minutes in [1, 5, 25, 60, 60] {
            let mut course = Failover::new(candidates(&[("a/m", "a")]), cooldowns.clone(), None, NOW);
            course.failed(error(ErrorKind::Auth), NOW, 0.0);
            course.changes().iter().for_each(|change| {
                cooldowns.apply(change);
            });
            assert_eq!(cooldowns.until("a", NOW), Some(NOW + minutes * 60_000));
        }
        cooldowns.apply(&Change { account: "a".into(), noted: Noted::Used });
        assert_eq!(cooldowns, Cooldowns(Table::from([("a".to_string(), Standing::default())])));
        for hours in [5, 10, 20, 24, 24] {
            let mut course = Failover::new(candidates(&[("a/m", "a")]), cooldowns.clone(), None, NOW);
            course.failed(error(ErrorKind::Billing), NOW, 0.0);
            course.changes().iter().for_each(|change| {
                cooldowns.apply(change);
            });
            assert_eq!(cooldowns.until("a", NOW), Some(NOW + hours * 3_600_000));
        }
    }

    #[test]
    fn paused_accounts_come_last_and_are_never_locked_out_silently() {
        let mut cooldowns = Cooldowns::default();
        cooldowns.apply(&Change { account: "a".into(), noted: Noted::CoolsUntil(NOW + 90_000) });
        let course = Failover::new(candidates(&[("a/m", "a"), ("b/m", "b")]), cooldowns.clone(), None, NOW);
        assert_eq!((course.begin(), course.note()), (Step::Call(1), None));
        cooldowns.apply(&Change { account: "b".into(), noted: Noted::CoolsUntil(NOW + 41_500) });
        let course = Failover::new(candidates(&[("a/m", "a"), ("b/m", "b")]), cooldowns.clone(), None, NOW);
        assert_eq!(course.begin(), Step::Call(1));
        assert!(course.note().unwrap().contains("b/m anyway, which is due in 42 s"), "{:?}", course.note());
        let course = Failover::new(candidates(&[("a/m", "a")]), cooldowns, None, NOW + 100_000);
        assert_eq!((course.begin(), course.note()), (Step::Call(0), None));
    }

    #[test]
    fn the_model_that_answered_last_is_asked_first() {
        let course = Failover::new(candidates(&[("a/m", "a"), ("b/m", "b")]), Cooldowns::default(), Some(1), NOW);
        assert_eq!(course.begin(), Step::Call(1));
    }

    #[test]
    fn the_last_error_tells_about_all_models() {
        let mut course = failover(&[("a/m", "a"), ("b/m", "b")]);
        course.failed(error(ErrorKind::NotFound), NOW, 0.0);
        let Step::Fail(error) = course.failed(error(ErrorKind::Auth), NOW, 0.0) else { panic!() };
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert_eq!(error.message, "every model failed. a/m: it was not_found; b/m: it was auth");
        assert_eq!(kind_of(failover(&[]).begin()), ErrorKind::NotConfigured);
        let mut alone = failover(&[("a/m", "a")]);
        assert_eq!(
            alone.failed(ModelError::new(ErrorKind::Auth, "no"), NOW, 0.0),
            Step::Fail(ModelError::new(ErrorKind::Auth, "no"))
        );
    }
}
