//! One job: its members as they stand in the file, known and unknown, and the schedule read from them. What a run leaves
//! behind, when it is due again, and what was missed meanwhile. Reads no clock.

use serde_json::{Map, Value};

use super::schedule::{Fault, Schedule, Zones};
use crate::limits;
use crate::sys::date;

/// What stands in `sessionTarget` before the key of a conversation.
pub const IN_SESSION: &str = "session:";

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It did what it was to do.
    Ok,
    /// It failed.
    Error,
    /// It did not take place.
    Skipped,
}

impl Status {
    /// The word for it on the wire and in files.
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Error => "error",
            Status::Skipped => "skipped",
        }
    }
}

/// What a run leaves behind.
#[derive(Debug, Clone)]
pub struct Ended {
    /// How it ended.
    pub status: Status,
    /// Why, unless well.
    pub error: Option<String>,
    /// What it said.
    pub summary: Option<String>,
    /// The conversation it was.
    pub session: Option<(String, String)>,
    /// Its name, for a turn.
    pub run_id: Option<String>,
    /// When it began.
    pub began: u64,
    /// When it was over.
    pub ended: u64,
    /// Whether what it left was taken by whom it is for.
    pub delivered: bool,
    /// Why its answer reached nobody, when it should have.
    pub undelivered: Option<String>,
}

impl Ended {
    /// Whether it was delivered; nothing if it was not to be.
    pub fn was_delivered(&self) -> Option<bool> {
        (self.delivered || self.undelivered.is_some()).then_some(self.delivered)
    }

    /// The same in a word; the newer original's command line takes a run without one for unfinished.
    pub fn delivery_status(&self) -> Option<&'static str> {
        match (self.was_delivered(), self.status) {
            (Some(true), _) => Some("delivered"),
            (Some(false), _) => Some("not-delivered"),
            (None, Status::Skipped) => None,
            (None, _) => Some("not-requested"),
        }
    }
}

/// Runs that did not take place in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// When the first one was due.
    pub first: u64,
    /// How many there were.
    pub count: u32,
}

/// One job.
#[derive(Debug, Clone)]
pub struct Job {
    members: Map<String, Value>,
    schedule: Result<Schedule, Fault>,
}

impl Job {
    /// A job of these members; without an id that can name a file it is none.
    pub fn of(members: Map<String, Value>, zones: &Zones) -> Option<Job> {
        let mut job = Job { members, schedule: Err(Fault::Wrong(String::new())) };
        is_plain(job.id()).then(|| {
            job.plan(zones);
            job
        })
    }

    /// Reads the schedule anew.
    pub fn plan(&mut self, zones: &Zones) {
        let none = Value::Null;
        let schedule = self.members.get("schedule").unwrap_or(&none);
        self.schedule = Schedule::read(schedule, self.number("createdAtMs").unwrap_or(0), zones);
    }

    /// All of it.
    pub fn members(&self) -> &Map<String, Value> {
        &self.members
    }

    /// All of it, to change; the schedule is read anew by [`Job::plan`].
    pub fn members_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.members
    }

    /// Its schedule, or why it has none.
    pub fn schedule(&self) -> Result<&Schedule, &Fault> {
        self.schedule.as_ref()
    }

    /// Its id.
    pub fn id(&self) -> &str {
        self.text("id")
    }

    /// A text member; empty when there is none.
    pub fn text(&self, name: &str) -> &str {
        self.members.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.members.get(name).and_then(Value::as_u64)
    }

    /// A member of an object member.
    pub fn inner(&self, object: &str, name: &str) -> Option<&Value> {
        self.members.get(object)?.get(name)
    }

    /// A text member of an object member; empty when there is none.
    pub fn inner_text(&self, object: &str, name: &str) -> &str {
        self.inner(object, name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether it runs by itself.
    pub fn is_enabled(&self) -> bool {
        self.members.get("enabled").and_then(Value::as_bool).unwrap_or(true)
    }

    /// Whether it is a turn of an agent, and not a line for the main session.
    pub fn is_turn(&self) -> bool {
        self.text("sessionTarget") == "isolated" || self.session().is_some()
    }

    /// The conversation its turn is part of; none if it has one of its own.
    pub fn session(&self) -> Option<&str> {
        self.text("sessionTarget").strip_prefix(IN_SESSION)
    }

    /// A moment or count of its state.
    pub fn state(&self, name: &str) -> Option<u64> {
        self.inner("state", name).and_then(Value::as_u64)
    }

    /// When it runs next. What another program promised by a schedule we cannot read is not ours to keep.
    pub fn next_run(&self) -> Option<u64> {
        self.state("nextRunAtMs").filter(|_| self.is_enabled() && !matches!(self.schedule, Err(Fault::Wrong(_))))
    }

    /// Sets a member of its state, or removes it.
    pub fn set(&mut self, name: &str, value: Option<Value>) {
        let state = self.members.entry("state").or_insert_with(|| json!({}));
        if !state.is_object() {
            *state = json!({});
        }
        let Some(state) = state.as_object_mut() else { return };
        match value {
            Some(value) => drop(state.insert(name.to_string(), value)),
            None => drop(state.remove(name)),
        }
    }

    fn is_once(&self) -> bool {
        matches!(self.schedule, Ok(Schedule::At(_)))
    }

    /// The moment after this one at which it is due; a one-time job that has not run yet stays due.
    pub fn next_after(&self, after: u64) -> Option<u64> {
        let schedule = self.schedule.as_ref().ok().filter(|_| self.is_enabled())?;
        let ran_well = self.inner_text("state", "lastStatus") == "ok";
        let last = self.state("lastRunAtMs").filter(|_| ran_well);
        match schedule {
            // One that is planned anew after its run has another one before it.
            Schedule::At(at) if last.is_some_and(|last| last >= *at) => None,
            Schedule::At(at) => Some(*at),
            other => other.next(after),
        }
    }

    /// Says when it runs next; an earlier promise that has not come yet is given up.
    pub fn aim(&mut self, after: u64) {
        let next = self.next_after(after).map(Value::from);
        self.set("nextRunAtMs", next);
    }

    /// The clock went back to this moment: nothing waits longer than its schedule says, and nothing of the last hour is
    /// repeated.
    pub fn clock_went_back(&mut self, now: u64) {
        if self.is_once() || self.next_run().is_none() {
            return;
        }
        self.anchor_before(now);
        let last = self.state("lastRunAtMs").unwrap_or(0);
        let back = u64::try_from(limits::CRON_BACK.as_millis()).unwrap_or(0);
        let from = if last > now && last - now <= back { last } else { now };
        self.aim(from);
    }

    /// A job made while the clock was ahead keeps its beat, but does not wait for the day it was made.
    fn anchor_before(&mut self, now: u64) {
        let Ok(Schedule::Every { every, anchor }) = &mut self.schedule else { return };
        if *anchor <= now || self.members.get("createdAtMs").and_then(Value::as_u64).is_none_or(|made| made <= now) {
            return;
        }
        *anchor -= ((*anchor - now) / *every).saturating_mul(*every);
        let anchor = *anchor;
        if let Some(schedule) = self.members.get_mut("schedule").and_then(Value::as_object_mut) {
            schedule.insert("anchorMs".into(), anchor.into());
        }
    }

    /// What was missed, when it is due and should have run some time ago.
    pub fn missed(&self, now: u64) -> Option<Missed> {
        let first = self.next_run()?;
        let late = u64::try_from(limits::CRON_LATE.as_millis()).unwrap_or(0);
        let schedule = self.schedule.as_ref().ok()?;
        (first.saturating_add(late) < now).then(|| Missed { first, count: 1 + schedule.count(first, now) })
    }

    /// Whether a missed run is left out instead of caught up: as it says itself, else as all repeated ones do.
    pub fn skips_missed(&self, all_do: bool) -> bool {
        match self.text("missed") {
            "skip" => true,
            "run" => false,
            _ => all_do && !self.is_once(),
        }
    }

    /// Whether it was changed at a time that has not come yet: the clock went back while nobody looked.
    pub fn is_ahead_of(&self, now: u64) -> bool {
        let step = u64::try_from(limits::CRON_STEP.as_millis()).unwrap_or(0);
        self.number("updatedAtMs").is_some_and(|at| at > now.saturating_add(step))
    }

    /// It begins.
    pub fn begin(&mut self, now: u64) {
        self.set("runningAtMs", Some(now.into()));
        self.set("lastError", None);
    }

    /// Runs were missed: it is on record, whether one of them is caught up or not.
    pub fn note_missed(&mut self, missed: Missed, now: u64, caught_up: bool) {
        let record = json!({
            "count": missed.count, "firstDueAtMs": missed.first, "notedAtMs": now,
            "action": if caught_up { "caught-up" } else { "skipped" },
        });
        self.set("missed", Some(record));
    }

    /// Takes in how a run ended. True when the job is to be removed.
    pub fn end(&mut self, ended: &Ended) -> bool {
        let errors = self.state("consecutiveErrors").unwrap_or(0);
        let errors = if ended.status == Status::Error { errors + 1 } else { 0 };
        let next = self.next_run();
        let changed_meanwhile = self.number("updatedAtMs").is_some_and(|at| at > ended.began);
        self.set("runningAtMs", None);
        let word = Value::from(ended.status.name());
        let marks = [
            ("lastRunAtMs", Some(ended.began.into())),
            ("lastStatus", Some(word.clone())),
            ("lastRunStatus", Some(word)),
            ("lastDurationMs", Some(ended.ended.saturating_sub(ended.began).into())),
            ("lastError", ended.error.as_deref().map(Value::from)),
            ("consecutiveErrors", Some(errors.into())),
            ("lastDelivered", ended.was_delivered().map(Value::from)),
            ("lastDeliveryStatus", ended.delivery_status().map(Value::from)),
            ("lastDeliveryError", ended.undelivered.as_deref().map(Value::from)),
        ];
        for (name, value) in marks {
            self.set(name, value);
        }
        self.members.insert("updatedAtMs".into(), ended.ended.into());
        let planned_anew = matches!(self.schedule, Ok(Schedule::At(at)) if at > ended.began) && changed_meanwhile;
        if planned_anew {
            self.aim(ended.ended);
            return false;
        }
        if self.is_once() {
            let goes = ended.status == Status::Ok && self.members.get("deleteAfterRun") == Some(&Value::Bool(true));
            self.members.insert("enabled".into(), false.into());
            self.set("nextRunAtMs", None);
            return goes;
        }
        // A run by hand does not move a moment that is still ahead.
        match next.filter(|next| *next > ended.ended && errors == 0) {
            Some(next) => self.set("nextRunAtMs", Some(next.into())),
            None => self.aim(ended.ended),
        }
        if let (Some(pause), Some(next)) = (backoff(errors), self.next_run()) {
            self.set("nextRunAtMs", Some(next.max(ended.ended.saturating_add(pause)).into()));
        }
        false
    }
}

/// The pause after so many failures in a row.
fn backoff(errors: u64) -> Option<u64> {
    let at = usize::try_from(errors.checked_sub(1)?).unwrap_or(usize::MAX);
    limits::CRON_BACKOFF_MS.get(at).or(limits::CRON_BACKOFF_MS.last()).copied()
}

/// Whether an id may be part of a file's name.
pub fn is_plain(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=128).contains(&id.len()) && !id.starts_with('.') && id.bytes().all(plain)
}

impl Missed {
    /// For a person: in the run log, the log and the job's record.
    pub fn text(&self, caught_up: bool) -> String {
        let times = match self.count {
            1 => "1 run".to_string(),
            limits::CRON_COUNTED.. => format!("{} or more runs", limits::CRON_COUNTED),
            count => format!("{count} runs"),
        };
        let then = if caught_up { "one is run now" } else { "none is run later (missed: skip)" };
        format!("missed {times} since {}; {then}", date::iso_utc(self.first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_255_899_475;

    fn job(schedule: Value) -> Job {
        let members = json!({"id": "j", "enabled": true, "createdAtMs": NOW, "schedule": schedule, "extra": [1]});
        let mut job = Job::of(members.as_object().unwrap().clone(), &Zones::default()).unwrap();
        job.aim(NOW);
        job
    }

    fn ended(status: Status, began: u64) -> Ended {
        Ended {
            status,
            error: (status == Status::Error).then(|| "broken".to_string()),
            summary: None,
            session: None,
            run_id: None,
            began,
            ended: began + 10,
            delivered: false,
            undelivered: None,
        }
    }

    #[test]
    fn failures_in_a_row_make_pauses_as_the_original_does() {
        let mut job = job(json!({"kind": "every", "everyMs": 20_000}));
        let mut pauses = Vec::new();
        for n in 0..7 {
            let began = NOW + n * 10_000_000;
            assert!(!job.end(&ended(Status::Error, began)));
            pauses.push(job.next_run().unwrap() - began - 10);
        }
        assert_eq!(pauses[1..], [60_000, 300_000, 900_000, 3_600_000, 3_600_000, 3_600_000]);
        assert!(pauses[0] >= 30_000);
        assert_eq!(job.state("consecutiveErrors"), Some(7));
        assert_eq!(job.inner_text("state", "lastError"), "broken");
        job.end(&ended(Status::Ok, NOW + 100_000_000));
        assert_eq!((job.state("consecutiveErrors"), job.inner("state", "lastError")), (Some(0), None));
        assert!(job.next_run().unwrap() <= NOW + 100_000_010 + 20_000);
    }

    #[test]
    fn a_one_time_job_runs_once() {
        let at = json!({"kind": "at", "at": date::iso_utc(NOW + 1000)});
        let mut kept = job(at.clone());
        assert_eq!(kept.next_run(), Some(NOW + 1000));
        assert!(!kept.end(&ended(Status::Ok, NOW + 1000)));
        assert!(!kept.is_enabled() && kept.next_run().is_none());
        let mut gone = job(at.clone());
        gone.members_mut().insert("deleteAfterRun".into(), true.into());
        assert!(!gone.clone().end(&ended(Status::Error, NOW + 1000)), "a failed one stays to be looked at");
        assert!(gone.end(&ended(Status::Ok, NOW + 1000)));
    }

    #[test]
    fn a_one_time_job_that_is_planned_anew_runs_again() {
        let plan = |job: &mut Job, at: u64, now: u64| {
            let schedule = json!({"kind": "at", "at": date::iso_utc(at)});
            job.members_mut().insert("schedule".into(), schedule);
            job.members_mut().insert("updatedAtMs".into(), now.into());
            job.members_mut().insert("enabled".into(), true.into());
            job.plan(&Zones::default());
            job.aim(now);
        };
        let mut after = job(json!({"kind": "at", "at": date::iso_utc(NOW + 1000)}));
        after.end(&ended(Status::Ok, NOW + 1000));
        plan(&mut after, NOW + 9000, NOW + 2000);
        assert_eq!(after.next_run(), Some(NOW + 9000));
        after.end(&ended(Status::Ok, NOW + 9000));
        assert!(!after.is_enabled() && after.next_run().is_none());
        // While it runs.
        let mut during = job(json!({"kind": "at", "at": date::iso_utc(NOW + 1000)}));
        during.members_mut().insert("deleteAfterRun".into(), true.into());
        plan(&mut during, NOW + 9000, NOW + 1005);
        assert!(!during.end(&ended(Status::Ok, NOW + 1000)));
        assert_eq!((during.next_run(), during.inner_text("state", "lastStatus")), (Some(NOW + 9000), "ok"));
        assert!(during.end(&ended(Status::Ok, NOW + 9000)));
    }

    #[test]
    fn a_run_by_hand_does_not_move_the_next_one() {
        let mut job = job(json!({"kind": "every", "everyMs": 600_000}));
        let next = job.next_run();
        job.end(&ended(Status::Ok, NOW + 5000));
        assert_eq!(job.next_run(), next);
    }

    #[test]
    fn what_was_missed_is_counted() {
        let job = job(json!({"kind": "every", "everyMs": 600_000}));
        let first = NOW + 600_000;
        assert_eq!(job.missed(first + 119_000), None);
        assert_eq!(job.missed(first + 121_000), Some(Missed { first, count: 1 }));
        let missed = job.missed(first + 1_900_000).unwrap();
        assert_eq!(missed.count, 4);
        assert_eq!(missed.text(true), "missed 4 runs since 2026-11-21T10:21:39.475Z; one is run now");
        assert_eq!(job.missed(u64::MAX / 2).unwrap().count, limits::CRON_COUNTED + 1);
    }

    #[test]
    fn a_clock_that_goes_back_neither_stalls_nor_repeats() {
        let mut job = job(json!({"kind": "every", "everyMs": 600_000}));
        job.end(&ended(Status::Ok, NOW + 600_000));
        assert_eq!(job.next_run(), Some(NOW + 1_200_000));
        job.clock_went_back(NOW - 86_400_000);
        let soon = NOW - 86_400_000;
        assert_eq!(job.next_run(), Some(soon + 600_000), "it does not wait for the day it was made");
        assert_eq!(job.inner("schedule", "anchorMs"), Some(&json!(soon)));
        job.end(&ended(Status::Ok, soon + 600_000));
        job.clock_went_back(soon + 300_000);
        assert_eq!(job.next_run(), Some(soon + 1_200_000), "the run of five minutes later has been");
    }

    #[test]
    fn ids_name_files() {
        assert!(is_plain("ae331dd9-7746-494f-8da5-d978d14c94d1") && is_plain(&"a".repeat(128)));
        assert!(["", "..", "a/b", "a\\b", ".x", "a b"].iter().all(|id| !is_plain(id)) && !is_plain(&"a".repeat(129)));
        assert!(Job::of(json!({"id": "../x"}).as_object().unwrap().clone(), &Zones::default()).is_none());
    }
}
