//! Scheduled work: the book of jobs, when the next one is due, what is to be done then, and its record. Every change
//! goes to disk before anybody hears of it. Decides; files are `files`' and the disk thread's, turns are `turns`'.

pub mod files;
mod tool;
mod turns;
pub mod webhook;
#[cfg(test)]
mod week_tests;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use self::files::{CronJob, Loaded};
use self::turns::Turn;
use super::broadcast;
use super::disk::{Commit, FileWrite, Job, Then, Waiting};
use super::dispatch;
use super::event::{Call, ConnId, Effect, Timer};
use super::heartbeats::Wake;
use super::state::State;
use crate::cron::book::Book;
use crate::cron::history;
use crate::cron::job::{Ended, Job as CronEntry, Missed, Status};
use crate::cron::schedule::{Fault, Zones};
use crate::limits;
use crate::protocol::errors::WireError;
use crate::sys::clock::Now;
use crate::sys::date;
use crate::sys::table::Table;
use crate::sys::zone::Zone;

/// Whether the book can be worked with.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It is being read.
    #[default]
    Loading,
    /// It can.
    Ready,
    /// Its file cannot be read; nothing is written over it.
    Broken(String),
}

/// Everything about scheduled work.
#[derive(Default)]
pub struct Cron {
    /// The jobs.
    pub book: Book,
    /// Time zones that were read.
    pub zones: Zones,
    /// The jobs' file.
    pub path: PathBuf,
    /// Whether jobs run by themselves.
    pub enabled: bool,
    /// Whether the book can be worked with.
    pub standing: Standing,
    /// Counts changes, so that a client that reads page by page notices one.
    pub revision: u64,
    /// Bytes of the book's file.
    pub size: usize,
    /// Turns at once.
    slots: usize,
    /// Calls that wait for the book or a zone.
    held: Vec<(ConnId, String, Call)>,
    /// Turns that have not ended, by job.
    turns: Table<String, Turn>,
    /// Jobs that are due and wait for a free place, with what they missed.
    waiting: Table<String, Option<Missed>>,
    /// Their order. Some of it may wait no more.
    queue: VecDeque<String>,
    /// Whether missed runs of repeated jobs that say nothing of it are left out.
    skips_missed: bool,
    /// Zones that are being read.
    reading: Vec<String>,
    /// Lines for run logs, by job, that were not handed to the disk yet.
    lines: Table<String, String>,
    /// When the timer is due, on the monotonic clock.
    armed: Option<Duration>,
    /// When the clock was last looked at.
    seen: Option<Now>,
    /// What has happened since the book was last handed to the disk.
    told: Vec<(&'static str, Value)>,
    /// The book has changed since then, or could not be written.
    pub unsaved: bool,
}

impl Cron {
    /// Whether a job is at work or about to.
    pub fn is_busy(&self, id: &str) -> bool {
        self.turns.contains_key(id) || self.waiting.contains_key(id)
    }

    /// The job that waits longest.
    fn next_waiting(&mut self) -> Option<(String, Option<Missed>)> {
        while let Some(id) = self.queue.pop_front() {
            if let Some(missed) = self.waiting.remove(&id) {
                return Some((id, missed));
            }
        }
        None
    }

    /// The run log of a job.
    pub fn log_path(&self, id: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new(".")).join("runs").join(format!("{id}.jsonl"))
    }

    /// Says something about a job once the book is on disk.
    fn tell(&mut self, id: &str, action: &str, more: &Value) {
        let mut payload = json!({"jobId": id, "action": action});
        let job = self.book.find(id).map(|job| ("job".to_string(), Value::Object(job.members().clone())));
        if let Some(members) = payload.as_object_mut() {
            let more = more.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
            members.extend(more.map(|(name, value)| (name.clone(), value.clone())));
            members.extend(job);
        }
        self.told.push(("cron", payload));
        self.unsaved = true;
    }
}

impl State {
    /// Reads the book; at the start, and when the configuration names another one.
    pub fn load_cron(&mut self, fx: &mut Vec<Effect>) {
        let settings = self.config.raw.get("cron").cloned().unwrap_or_default();
        let path = files::book_path(&self.config, &self.facts.paths);
        let slots = settings.get("maxConcurrentRuns").and_then(Value::as_u64).unwrap_or(1);
        self.cron.slots = usize::try_from(slots).unwrap_or(1).max(1);
        self.cron.skips_missed = settings.get("skipMissedJobs").and_then(Value::as_bool) == Some(true);
        let skipped = self.facts.env.truthy("OPENCLAW_SKIP_CRON");
        self.cron.enabled = !skipped && settings.get("enabled").and_then(Value::as_bool) != Some(false);
        if path != self.cron.path {
            self.cron.path.clone_from(&path);
            self.cron.standing = Standing::Loading;
            fx.push(Effect::Disk(Job::Cron(CronJob::Load(path, self.facts.zone.clone())), Then::CronLoaded));
        }
    }

    /// The configuration has changed.
    pub fn cron_renewed(&mut self, now: Now, fx: &mut Vec<Effect>) {
        let before = (self.cron.enabled, self.cron.slots);
        self.load_cron(fx);
        if before != (self.cron.enabled, self.cron.slots) {
            log::info!(target: "gateway/cron", "cron: changed enabled={} maxConcurrentRuns={}", self.cron.enabled, self.cron.slots);
        }
        if !self.cron.enabled {
            // Who waits for a place would count as at work, and could not be run by hand either.
            self.cron.waiting = Table::new();
            self.cron.queue.clear();
        }
        self.cron_due(now, fx);
    }

    /// The book has been read.
    pub fn cron_loaded(&mut self, loaded: Option<Loaded>, now: Now, fx: &mut Vec<Effect>) {
        let Some(Loaded { path, book, zones, logged }) = loaded else {
            return self.cron_not_read(now, fx);
        };
        if path != self.cron.path {
            return;
        }
        match book {
            Err(why) => {
                log::error!(target: "gateway/cron", "cron: no job runs: {why}");
                self.cron.standing = Standing::Broken(why);
            }
            Ok(book) => {
                (self.cron.book, self.cron.zones) = (book, zones);
                self.cron.standing = Standing::Ready;
                self.cron_resumes(&logged, now, fx);
            }
        }
        // Who asked meanwhile sees what was caught up.
        self.cron_due(now, fx);
        self.release_cron(now, fx);
    }

    /// The disk did not take the question: whoever asked for a zone may ask again, a book that was not read is not used.
    fn cron_not_read(&mut self, now: Now, fx: &mut Vec<Effect>) {
        self.cron.reading.clear();
        if self.cron.standing == Standing::Ready {
            for (conn, id, _) in std::mem::take(&mut self.cron.held) {
                self.counters.failed += 1;
                broadcast::fail(fx, conn, &id, &WireError::unavailable("the disk is busy; try again"));
            }
            return;
        }
        self.cron.standing =
            Standing::Broken("the schedule was not read, see the log; restart the gateway".to_string());
        self.release_cron(now, fx);
    }

    /// What the last process left: runs it did not end, and jobs without a next moment.
    fn cron_resumes(&mut self, logged: &[(String, Ended)], now: Now, fx: &mut Vec<Effect>) {
        let ids: Vec<String> = self.cron.book.jobs.iter().map(|job| job.id().to_string()).collect();
        let ahead = self.cron.book.jobs.iter().filter(|job| job.is_ahead_of(now.wall_ms)).count();
        if ahead > 0 {
            log::warn!(target: "gateway/cron", "cron: the clock stands before the last change of {ahead} jobs; they do not wait for that time");
        }
        for id in ids {
            let Some(job) = self.cron.book.find_mut(&id) else { continue };
            if let Err(Fault::Wrong(why)) = job.schedule() {
                log::warn!(target: "gateway/cron", "cron: job never runs job={id} reason={why}");
            }
            if job.is_ahead_of(now.wall_ms) {
                job.clock_went_back(now.wall_ms);
                self.cron.unsaved = true;
            }
            let running = job.state("runningAtMs");
            let in_log = logged.iter().find(|(known, _)| *known == id && running.is_some());
            if let Some((_, ended)) = in_log {
                // Only its state was not written any more.
                if job.end(ended) {
                    self.cron.book.remove(&id);
                }
                self.cron.unsaved = true;
            } else if let Some(began) = running {
                log::warn!(target: "gateway/cron", "cron: the gateway ended while a job ran job={id} since={}", date::iso_utc(began));
                let error = "interrupted: the gateway ended while the job ran".to_string();
                let record = history::skipped(error, now.wall_ms);
                self.end_cron(&id, &Ended { status: Status::Error, began, ..record });
            } else if job.is_enabled() && job.next_run().is_none() {
                job.aim(now.wall_ms);
                self.cron.unsaved |= job.next_run().is_some();
            }
        }
        let strange = self.cron.book.strange();
        if strange > 0 {
            log::warn!(target: "gateway/cron", "cron: {strange} entries are no jobs and are left alone file={}", self.cron.path.display());
        }
        self.cron.size = self.cron.book.to_text().len();
        let next = self.cron.book.next_wake().map_or("none".to_string(), date::iso_utc);
        let (enabled, jobs) = (self.cron.enabled, self.cron.book.jobs.len());
        log::info!(target: "gateway/cron", "cron: started enabled={enabled} jobs={jobs} next={next}");
        self.save_cron(None, fx);
    }

    /// Puts a call off until the book or a zone has been read.
    pub fn hold_for_cron(&mut self, conn: ConnId, id: &str, call: Call) -> Result<(), WireError> {
        if self.cron.held.len() >= limits::EVENT_QUEUE {
            return Err(WireError::unavailable("too many calls wait for the schedule; try again"));
        }
        self.cron.held.push((conn, id.to_string(), call));
        Ok(())
    }

    fn release_cron(&mut self, now: Now, fx: &mut Vec<Effect>) {
        for (conn, id, call) in std::mem::take(&mut self.cron.held) {
            dispatch::dispatch(self, conn, &id, call, now, fx);
        }
    }

    /// Has a zone read, once for all who wait for it.
    pub fn read_cron_zone(&mut self, name: String, fx: &mut Vec<Effect>) {
        if !self.cron.reading.contains(&name) {
            self.cron.reading.push(name.clone());
            fx.push(Effect::Disk(Job::Cron(CronJob::Zone(name)), Then::CronLoaded));
        }
    }

    /// A zone has been read, or does not exist.
    pub fn cron_zone(&mut self, name: String, zone: Option<Arc<Zone>>, now: Now, fx: &mut Vec<Effect>) {
        self.cron.reading.retain(|other| *other != name);
        self.cron.zones.add(name, zone);
        self.release_cron(now, fx);
    }

    /// Starts what is due, and waits for the next. The clock may have changed meanwhile.
    pub fn cron_due(&mut self, now: Now, fx: &mut Vec<Effect>) {
        if self.cron.armed.is_some_and(|at| at <= now.mono) {
            self.cron.armed = None;
        }
        if self.cron.standing != Standing::Ready || !self.sessions.ready || self.stopping {
            return;
        }
        self.watch_the_clock(now);
        if self.cron.enabled {
            for id in self.cron.book.due(now.wall_ms) {
                if !self.cron.is_busy(&id) {
                    self.cron_job_is_due(&id, now, fx);
                }
            }
            self.start_cron_turns(now, fx);
        }
        self.save_cron(None, fx);
        self.arm_cron(now, fx);
    }

    /// A clock that went back must not leave jobs waiting for a day that was; one that went on makes them late.
    fn watch_the_clock(&mut self, now: Now) {
        let Some(seen) = self.cron.seen.replace(now) else { return };
        let passed = super::health::millis(now.mono.saturating_sub(seen.mono));
        let expected = seen.wall_ms.saturating_add(passed);
        let step = super::health::millis(limits::CRON_STEP);
        if now.wall_ms.saturating_add(step) < expected {
            log::warn!(target: "gateway/cron", "cron: the clock went back ms={}", expected - now.wall_ms);
            self.cron.book.jobs.iter_mut().for_each(|job| job.clock_went_back(now.wall_ms));
            self.cron.unsaved = true;
        } else if expected.saturating_add(step) < now.wall_ms {
            log::info!(target: "gateway/cron", "cron: the clock went on, or the machine slept ms={}", now.wall_ms - expected);
        }
    }

    fn cron_job_is_due(&mut self, id: &str, now: Now, fx: &mut Vec<Effect>) {
        let all_skip = self.cron.skips_missed;
        let Some(job) = self.cron.book.find_mut(id) else { return };
        let missed = job.missed(now.wall_ms);
        let is_turn = job.is_turn();
        if let Some(missed) = missed {
            let caught_up = !job.skips_missed(all_skip);
            job.note_missed(missed, now.wall_ms, caught_up);
            let text = missed.text(caught_up);
            log::warn!(target: "gateway/cron", "cron: {text} job={id}");
            let record = history::skipped(text, now.wall_ms);
            if !caught_up {
                return self.end_cron(id, &record);
            }
            self.log_cron(id, &record);
        }
        if is_turn {
            self.cron.waiting.insert(id.to_string(), missed);
            self.cron.queue.push_back(id.to_string());
        } else {
            self.cron_event(id, missed, now, fx);
        }
    }

    /// A job for the main session: its line waits there, and the agent is woken. Why not, if there is none.
    pub fn cron_event(&mut self, id: &str, missed: Option<Missed>, now: Now, fx: &mut Vec<Effect>) -> Option<String> {
        let job = self.cron.book.find(id)?;
        let (text, wake) = (job.inner_text("payload", "text").trim().to_string(), wake_of(job));
        let place = self.main_place(&self.cron_agent(job));
        self.cron.tell(id, "started", &json!({"runAtMs": now.wall_ms}));
        let mut ended = history::skipped("main job requires non-empty systemEvent text".to_string(), now.wall_ms);
        if !text.is_empty() {
            let late = missed.map(|missed| format!(" (was due at {})", self.local_time(missed.first)));
            self.queue_system_event(&place, &format!("{text}{}", late.unwrap_or_default()), now);
            self.wake(&place.agent, wake, &format!("cron:{id}"), now, fx);
            ended = Ended { status: Status::Ok, error: None, summary: Some(text), ..ended };
        }
        self.end_cron(id, &ended);
        ended.error
    }

    fn local_time(&self, ms: u64) -> String {
        date::iso_offset(ms, self.facts.zone.offset(date::seconds(ms)))
    }

    /// The agent a job is for; the default one when its own is gone, as the original does.
    pub fn cron_agent(&self, job: &CronEntry) -> String {
        let wanted = job.text("agentId").to_lowercase();
        let known = !wanted.is_empty() && self.config.agents.find(&wanted).is_some();
        if known { wanted } else { self.config.default_agent_id().to_string() }
    }

    /// A run is over, or did not take place: into the job's state, its log and the next event.
    fn end_cron(&mut self, id: &str, ended: &Ended) {
        // One that was removed while it ran has a log still.
        let Some(job) = self.cron.book.find_mut(id) else { return self.log_cron(id, ended) };
        let goes = job.end(ended);
        let next = job.next_run();
        let (status, took) = (ended.status.name(), ended.ended.saturating_sub(ended.began));
        log::info!(target: "gateway/cron", "cron: job {status} job={id} durationMs={took} next={}", next.unwrap_or(0));
        self.log_cron(id, ended);
        let mut line = history::line(id, ended, next);
        line.retain(|name, _| !matches!(name.as_str(), "ts" | "jobId" | "action"));
        self.cron.tell(id, "finished", &Value::Object(line));
        if goes {
            self.cron.book.remove(id);
            self.cron.tell(id, "removed", &Value::Null);
        }
    }

    fn log_cron(&mut self, id: &str, ended: &Ended) {
        self.metrics.scheduled(ended.status);
        let next = self.cron.book.find(id).and_then(CronEntry::next_run);
        let line = Value::Object(history::line(id, ended, next)).to_string();
        let lines = self.cron.lines.or_default(id.to_string());
        if !lines.is_empty() {
            lines.push('\n');
        }
        lines.push_str(&line);
    }

    /// Hands what runs have left to their logs, in one go however many there are.
    pub fn write_cron_log(&mut self, fx: &mut Vec<Effect>) {
        let lines = std::mem::take(&mut self.cron.lines);
        let logs: Vec<(PathBuf, String)> =
            lines.into_iter().map(|(id, lines)| (self.cron.log_path(&id), lines)).collect();
        if !logs.is_empty() {
            fx.push(Effect::Disk(Job::Cron(CronJob::Log(logs)), Then::Nothing));
        }
    }

    /// A client has changed a job. If it is still due it keeps its place; it is not asked anew what it missed, unless
    /// that is to be left out now.
    pub fn cron_changed(&mut self, id: &str, action: &str, now: Now) {
        let job = self.cron.book.find(id);
        let next = job.and_then(CronEntry::next_run);
        let left_out = job.is_some_and(|job| job.skips_missed(self.cron.skips_missed));
        if left_out || next.is_none_or(|next| next > now.wall_ms) {
            self.cron.waiting.remove(id);
        }
        self.cron.tell(id, action, &json!({"nextRunAtMs": next}));
    }

    /// Hands a changed book to the disk; then whoever asked is answered and everybody is told.
    pub fn save_cron(&mut self, reply: Option<(Waiting, Value)>, fx: &mut Vec<Effect>) {
        self.write_cron_log(fx);
        if !self.cron.unsaved && reply.is_none() {
            return;
        }
        let commit = Commit { reply, events: std::mem::take(&mut self.cron.told), ..Commit::default() };
        let files = self.cron_files();
        fx.push(Effect::Disk(Job::Write(files), Then::Commit(Box::new(commit))));
    }

    /// The book's file and the copy the original keeps beside it, if they have changed.
    pub fn cron_files(&mut self) -> Vec<FileWrite> {
        if self.cron.standing != Standing::Ready || !std::mem::take(&mut self.cron.unsaved) {
            return Vec::new();
        }
        self.cron.revision += 1;
        let bytes = self.cron.book.to_text().into_bytes();
        self.cron.size = bytes.len();
        let copy = files::copy_of(&self.cron.path);
        vec![FileWrite { path: self.cron.path.clone(), bytes: bytes.clone() }, FileWrite { path: copy, bytes }]
    }

    /// Waits for the next job, in steps, so that a change of the clock is seen.
    fn arm_cron(&mut self, now: Now, fx: &mut Vec<Effect>) {
        let idle = self.cron.book.jobs.iter().filter(|job| !self.cron.is_busy(job.id()));
        let Some(next) = idle.filter_map(CronEntry::next_run).min().filter(|_| self.cron.enabled) else { return };
        let wait = Duration::from_millis(next.saturating_sub(now.wall_ms)).min(limits::CRON_STEP);
        let wait = wait.max(Duration::from_millis(10));
        let at = now.mono + wait;
        if self.cron.armed.is_none_or(|armed| at < armed) {
            self.cron.armed = Some(at);
            fx.push(Effect::Timer(wait, Timer::Cron));
        }
    }
}

fn wake_of(job: &CronEntry) -> Wake {
    if job.text("wakeMode") == "next-heartbeat" { Wake::NextHeartbeat } else { Wake::Now }
}
