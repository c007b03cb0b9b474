//! Scheduled work over days of a fake clock: restarts, kills, jumps of the clock, days on which it changes, turns that
//! fail and a disk that does not write. The disk is a map of files, a turn is whatever the test says.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::files::Loaded;
use crate::agent::run::{Account, Cause, RunEvent, RunFailure, RunResult};
use crate::agent::tool::approval::judge::Origin as Speaker;
use crate::cron::book::Book;
use crate::cron::history;
use crate::cron::schedule::Zones;
use crate::gateway::cron::files::CronJob;
use crate::gateway::disk::{Done, Job, Then};
use crate::gateway::event::{Effect, Input, Timer};
use crate::gateway::runs::RunNo;
use crate::gateway::script::{Script, request};
use crate::gateway::session_key::Place;
use crate::gateway::timers::Timers;
use crate::limits;
use crate::protocol::errors::WireError;
use crate::sys::clock::Now;
use crate::sys::date;
use crate::sys::zone::Zone;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// New York's rule of today.
const ZONE: &str = "EST5EDT,M3.2.0,M11.1.0";

/// A gateway that lives for days, dies and comes back on the same disk.
struct World {
    script: Script,
    timers: Timers,
    now: Now,
    disk: BTreeMap<String, String>,
    /// Run logs, by file name.
    logs: BTreeMap<String, Vec<u8>>,
    writes: bool,
    config: Value,
    /// What was told, by event name `cron`.
    events: Vec<Value>,
    answers: Vec<Value>,
    /// Turns that were started and have not ended.
    turns: Vec<(RunNo, String)>,
    most_turns: usize,
    effects: u64,
    disk_jobs: usize,
    /// What waits for a webhook.
    posts: Vec<Then>,
}

impl World {
    fn new(config: Value, start: &str) -> World {
        let now = Now { mono: Duration::from_secs(1), wall_ms: crate::cron::moment::parse(start, None).unwrap() };
        let mut world = World {
            script: Script::new(config.clone()),
            timers: Timers::default(),
            now,
            disk: BTreeMap::new(),
            logs: BTreeMap::new(),
            writes: true,
            config,
            events: Vec::new(),
            answers: Vec::new(),
            turns: Vec::new(),
            most_turns: 0,
            effects: 0,
            disk_jobs: 0,
            posts: Vec::new(),
        };
        world.start();
        world
    }

    /// Comes up with what is on disk.
    fn start(&mut self) {
        self.script = Script::new(self.config.clone());
        self.script.set_now(self.now);
        self.script.state.facts.zone = Zone::named(ZONE).unwrap();
        (self.timers, self.turns) = (Timers::default(), Vec::new());
        let mut fx = Vec::new();
        self.script.state.start(self.now, &mut fx);
        self.perform(fx);
        self.feed(Input::Stored { then: Then::Sessions, done: Done::Sessions(Vec::new()) });
        let joined = self.script.join(1, 3);
        assert!(!joined.is_empty());
    }

    /// Dies at once, is away for a while, and comes back.
    fn die(&mut self, away: Duration) {
        self.now.wall_ms += away.as_millis() as u64;
        self.start();
    }

    fn feed(&mut self, input: Input) {
        self.script.set_now(self.now);
        let fx = self.script.raw(input);
        self.perform(fx);
    }

    fn perform(&mut self, fx: Vec<Effect>) {
        for effect in fx {
            self.effects += 1;
            match effect {
                Effect::Timer(after, what) => self.timers.set(self.now.mono + after, what),
                Effect::Disk(job, then) => {
                    self.disk_jobs += 1;
                    let done = self.job(job);
                    self.feed(Input::Stored { then, done });
                }
                Effect::StartRun(no, spec) => {
                    self.turns.push((no, spec.session_key.clone()));
                    self.most_turns = self.most_turns.max(self.turns.len());
                    self.feed(Input::Run(no, RunEvent::Started));
                }
                Effect::Broadcast { head, .. } => {
                    let text = format!("{}0}}", std::str::from_utf8(&head).unwrap());
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    if frame["event"] == "cron" {
                        self.events.push(frame["payload"].clone());
                    }
                }
                Effect::Errand(_, then) => self.posts.push(then),
                Effect::Send(_, bytes) => self.answers.push(serde_json::from_slice(&bytes).unwrap()),
                _ => {}
            }
        }
    }

    fn job(&mut self, job: Job) -> Done {
        match job {
            Job::Write(_) if !self.writes => Done::Written(Err("no space left".into())),
            Job::Write(files) => {
                for file in files {
                    let name = file.path.file_name().unwrap().to_string_lossy().into_owned();
                    self.disk.insert(name, String::from_utf8(file.bytes).unwrap());
                }
                Done::Written(Ok(()))
            }
            Job::Cron(CronJob::Load(path, local)) => {
                let mut zones = Zones::new(local);
                let text = self.disk.get("jobs.json").map(String::as_bytes);
                let mut book = Book::parse(text, &zones);
                zones.add("New_York".into(), Some(std::sync::Arc::new(Zone::named(ZONE).unwrap())));
                book.as_mut().unwrap().jobs.iter_mut().for_each(|job| job.plan(&zones));
                let logged = book.as_ref().unwrap().jobs.iter().filter_map(|job| {
                    let (id, began) = (job.id(), job.state("runningAtMs")?);
                    let ended = history::last_run(self.logs.get(id)?)?;
                    (ended.began == began).then(|| (id.to_string(), ended))
                });
                let logged = logged.collect();
                Done::CronLoaded(Box::new(Loaded { path, book, zones, logged }))
            }
            Job::Cron(CronJob::Zone(_)) if !self.writes => Done::Refused,
            Job::Cron(CronJob::Zone(name)) => Done::CronZone(name, None),
            Job::Cron(CronJob::Log(logs)) => {
                for (path, lines) in logs {
                    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                    self.logs.entry(name).or_default().extend(format!("{lines}\n").bytes());
                }
                Done::Written(Ok(()))
            }
            Job::Cron(CronJob::Runs(_, id, wanted, otherwise)) => {
                let log = self.logs.get(&id).map_or(&b""[..], Vec::as_slice);
                let page = || Ok(history::page(log, &id, &wanted).to_string());
                Done::Answer(otherwise.filter(|_| log.is_empty()).map_or_else(page, |error| Err(*error)))
            }
            _ => Done::Written(Ok(())),
        }
    }

    /// Time passes; every timer fires when it is due.
    fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while let Some(at) = self.timers.next().filter(|at| *at <= end) {
            let step = at.saturating_sub(self.now.mono);
            self.now.mono += step;
            self.now.wall_ms += step.as_millis() as u64;
            let Some(what) = self.timers.due(self.now.mono) else { continue };
            if matches!(what, Timer::Cron) {
                self.feed(Input::Timer(what));
            }
        }
        let rest = end - self.now.mono;
        self.now.mono += rest;
        self.now.wall_ms += rest.as_millis() as u64;
    }

    /// The wall clock is set; nothing else happens.
    fn jump(&mut self, seconds: i64) {
        self.now.wall_ms = self.now.wall_ms.checked_add_signed(seconds * 1000).unwrap();
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.answers.clear();
        self.feed(request(1, method, params));
        let frames: Vec<Value> = self.answers.iter().filter(|frame| frame["type"] == "res").cloned().collect();
        assert_eq!(frames.len(), 1, "{method}: {frames:?}");
        let frame = &frames[0];
        if frame["ok"] == true { frame["payload"].clone() } else { frame["error"].clone() }
    }

    fn add(&mut self, name: &str, schedule: Value, more: Value) -> String {
        let mut params = json!({"name": name, "schedule": schedule, "payload": {"kind": "systemEvent", "text": name}});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let job = self.call("cron.add", params);
        job["id"].as_str().unwrap_or_else(|| panic!("{job}")).to_string()
    }

    /// Ends the turns that run.
    fn end_turns(&mut self, result: Result<&str, &str>) {
        for (no, _) in std::mem::take(&mut self.turns) {
            let event = match result {
                Ok(text) => {
                    let account = Account { texts: vec![text.to_string()], ..Account::default() };
                    RunEvent::Finished(Box::new(RunResult { account, stop_reason: "stop" }))
                }
                Err(text) => RunEvent::Failed(Box::new(RunFailure {
                    account: Account::default(),
                    cause: Cause::Internal,
                    message: text.to_string(),
                    retry_after: None,
                    status: None,
                })),
            };
            self.feed(Input::Run(no, event));
        }
    }

    fn runs(&mut self, id: &str) -> Vec<Value> {
        let page = self.call("cron.runs", json!({"id": id, "limit": 5000}));
        page["entries"].as_array().unwrap().clone()
    }

    /// When a job ran well.
    fn times(&mut self, id: &str) -> Vec<String> {
        let ran = self.runs(id).into_iter().filter(|entry| entry["status"] == "ok");
        ran.map(|entry| date::iso_utc(entry["runAtMs"].as_u64().unwrap())[..16].to_string()).collect()
    }

    fn state(&mut self, id: &str) -> Value {
        let list = self.call("cron.list", json!({"includeDisabled": true}));
        let jobs = list["jobs"].as_array().unwrap();
        jobs.iter().find(|job| job["id"] == id).map(|job| job["state"].clone()).unwrap_or_default()
    }
}

fn every(ms: u64) -> Value {
    json!({"kind": "every", "everyMs": ms})
}

fn cron(expr: &str) -> Value {
    json!({"kind": "cron", "expr": expr, "tz": "New_York"})
}

fn turn(message: &str) -> Value {
    json!({"payload": {"kind": "agentTurn", "message": message}, "delivery": {"mode": "none"}})
}

#[test]
fn a_week_with_the_spring_change_runs_each_job_at_its_times() {
    let mut world = World::new(json!({}), "2026-03-05T12:00:00Z");
    let night = world.add("night", cron("30 2 * * *"), json!({}));
    let hourly = world.add("hourly", every(3_600_000), json!({}));
    world.pass(7 * DAY);
    let nights =
        ["03-06T07:30", "03-07T07:30", "03-08T07:00", "03-09T06:30", "03-10T06:30", "03-11T06:30", "03-12T06:30"];
    assert_eq!(world.times(&night), nights.map(|at| format!("2026-{at}")));
    assert_eq!(world.times(&hourly).len(), 7 * 24);
    assert!(world.runs(&night).iter().all(|entry| entry["error"].is_null()), "nothing was missed");
}

#[test]
fn an_hour_that_comes_twice_in_autumn_counts_once() {
    let mut world = World::new(json!({}), "2026-10-31T12:00:00Z");
    let night = world.add("night", cron("30 1 * * *"), json!({}));
    world.pass(3 * DAY);
    assert_eq!(world.times(&night), ["2026-11-01T05:30", "2026-11-02T06:30", "2026-11-03T06:30"]);
}

#[test]
fn what_was_missed_is_caught_up_once_or_left_out_and_always_shown() {
    let mut world = World::new(json!({}), "2026-05-01T12:00:00Z");
    let caught = world.add("caught", every(600_000), json!({}));
    let skipped = world.add("skipped", every(600_000), json!({"missed": "skip"}));
    let once = world.add("once", json!({"kind": "at", "at": "2026-05-01T14:00:00Z"}), json!({"deleteAfterRun": false}));
    world.pass(30 * MINUTE);
    world.die(10 * HOUR);
    world.pass(MINUTE);
    let after = world.runs(&caught);
    let new: Vec<&Value> = after[3..].iter().collect();
    assert_eq!(new.len(), 2, "{new:?}");
    assert_eq!(new[0]["error"], "missed 60 runs since 2026-05-01T12:40:00.000Z; one is run now");
    assert_eq!((&new[0]["status"], &new[1]["status"]), (&json!("skipped"), &json!("ok")));
    let left_out = world.runs(&skipped);
    assert_eq!(left_out.len(), 4);
    assert!(left_out[3]["error"].as_str().unwrap().ends_with("none is run later (missed: skip)"));
    let state = world.state(&skipped);
    assert_eq!((&state["lastStatus"], &state["missed"]["count"]), (&json!("skipped"), &json!(60)));
    assert!(world.state(&caught)["missed"]["action"] == "caught-up");
    assert_eq!(world.times(&once).len(), 1, "a reminder is late rather than lost");
    assert_eq!(world.state(&once)["nextRunAtMs"], Value::Null);
    // The beat is the old one, for both.
    world.pass(10 * MINUTE);
    let beat = |times: Vec<String>| times.last().unwrap().clone();
    assert_eq!(beat(world.times(&caught)), "2026-05-01T22:40");
    assert_eq!(beat(world.times(&skipped)), "2026-05-01T22:40");
}

#[test]
fn many_jobs_missed_at_once_do_not_burst() {
    let mut world = World::new(json!({"cron": {"maxConcurrentRuns": 2}}), "2026-05-01T12:00:00Z");
    let ids: Vec<String> = (0..20).map(|n| world.add(&format!("job {n}"), every(600_000), turn("go"))).collect();
    world.die(5 * HOUR);
    world.pass(MINUTE);
    assert_eq!(world.turns.len(), 2);
    for _ in 0..10 {
        world.end_turns(Ok("done"));
    }
    assert_eq!((world.most_turns, world.turns.len()), (2, 0));
    for id in &ids {
        assert_eq!(world.times(id).len(), 1);
    }
}

#[test]
fn a_book_full_of_missed_jobs_leaves_room_in_the_queue_of_the_disk() {
    let mut world = World::new(json!({}), "2026-05-01T12:00:00Z");
    let beat = world.add("beat", every(600_000), json!({}));
    // As another gateway left it.
    let mut book: Value = serde_json::from_str(&world.disk["jobs.json"]).unwrap();
    let jobs = book["jobs"].as_array_mut().unwrap();
    let copy = |n: usize| {
        let mut job = jobs[0].clone();
        job["id"] = json!(format!("job-{n}"));
        job
    };
    let copies: Vec<Value> = (1..limits::CRON_JOBS).map(copy).collect();
    jobs.extend(copies);
    world.disk.insert("jobs.json".into(), book.to_string());
    let before = world.disk_jobs;
    world.die(5 * HOUR);
    world.pass(MINUTE);
    let used = world.disk_jobs - before;
    assert!(used * 8 < limits::STORE_QUEUE, "{used} of {}", limits::STORE_QUEUE);
    for id in [&beat, "job-1", "job-499"] {
        let told: Vec<Value> = world.runs(id).into_iter().map(|entry| entry["status"].clone()).collect();
        assert_eq!(told, ["skipped", "ok"], "{id}");
    }
    assert_eq!(world.logs.len(), limits::CRON_JOBS);
}

#[test]
fn a_job_that_is_edited_while_it_waits_missed_its_runs_once() {
    let mut world = World::new(json!({}), "2026-05-01T12:00:00Z");
    let ids: Vec<String> = (0..5).map(|n| world.add(&format!("job {n}"), every(600_000), turn("go"))).collect();
    world.die(5 * HOUR);
    world.pass(MINUTE);
    let edit = |world: &mut World, at: usize, patch: Value| {
        world.call("cron.update", json!({"id": ids[at], "patch": patch}));
    };
    edit(&mut world, 1, json!({"name": "another"}));
    edit(&mut world, 2, json!({"schedule": every(1_200_000)}));
    edit(&mut world, 3, json!({"sessionTarget": "main", "payload": {"kind": "systemEvent", "text": "now a line"}}));
    edit(&mut world, 4, json!({"missed": "skip"}));
    for _ in 0..5 {
        world.end_turns(Ok("done"));
    }
    let told = |world: &mut World, at: usize| -> Vec<String> {
        let runs = world.runs(&ids[at]).into_iter();
        runs.map(|entry| entry["error"].as_str().map_or("ran".into(), |text| text[text.len() - 11..].into())).collect()
    };
    for (at, wanted) in [(0, vec!["one is run now"]), (1, vec!["one is run now"]), (3, vec!["one is run now"])] {
        let wanted: Vec<&str> = wanted.into_iter().map(|text| &text[text.len() - 11..]).chain(["ran"]).collect();
        assert_eq!(told(&mut world, at), wanted, "job {at}");
    }
    assert_eq!(told(&mut world, 2).len(), 1, "it waits for its new time");
    assert_eq!(told(&mut world, 4), [" is run now", "ssed: skip)"]);
    let lines: Vec<&str> = world.script.state.system_events.texts("agent:main:main").collect();
    assert!(lines.iter().any(|line| line.starts_with("now a line (was due at ")), "{lines:?}");
}

#[test]
fn all_repeated_jobs_may_leave_out_what_they_missed() {
    let mut world = World::new(json!({"cron": {"skipMissedJobs": true}}), "2026-05-01T12:00:00Z");
    let skips = world.add("skips", every(600_000), json!({}));
    let runs = world.add("runs", every(600_000), json!({"missed": "run"}));
    let once = world.add("once", json!({"kind": "at", "at": "2026-05-01T14:00:00Z"}), json!({"deleteAfterRun": false}));
    world.die(5 * HOUR);
    world.pass(MINUTE);
    let count = |world: &mut World, id: &str| (world.runs(id).len(), world.times(id).len());
    assert_eq!(count(&mut world, &skips), (1, 0));
    assert_eq!((count(&mut world, &runs), count(&mut world, &once)), ((2, 1), (2, 1)));
}

#[test]
fn a_clock_that_was_ahead_when_the_gateway_went_down_stalls_nothing() {
    let mut world = World::new(json!({}), "2031-05-01T12:00:00Z");
    let beat = world.add("beat", every(600_000), json!({}));
    let noon = world.add("noon", cron("0 12 * * *"), json!({}));
    let once = world.add("once", json!({"kind": "at", "at": "2031-05-02T12:00:00Z"}), json!({}));
    world.pass(11 * MINUTE);
    world.jump(-5 * 365 * 86_400);
    world.die(Duration::ZERO);
    let next = |world: &mut World, id: &str| world.state(id)["nextRunAtMs"].as_u64().unwrap() - world.now.wall_ms;
    assert!(next(&mut world, &beat) <= 600_000);
    assert!(next(&mut world, &noon) <= 86_400_000);
    assert!(next(&mut world, &once) > 86_400_000_000, "a moment is a moment");
    world.pass(11 * MINUTE);
    assert_eq!(world.times(&beat).len(), 2);
}

#[test]
fn a_turn_that_cannot_begin_was_not_run() {
    let mut world = World::new(json!({}), "2026-05-01T12:00:00Z");
    let mut job = turn("go");
    job["payload"]["thinking"] = json!("sideways");
    let id = world.add("t", every(3_600_000), job);
    let refused = world.call("cron.run", json!({"id": id}));
    assert_eq!(refused["code"], "INVALID_REQUEST", "{refused}");
    let text = refused["message"].as_str().unwrap();
    assert!(text.starts_with(&format!("job {id} did not start: unknown thinking level \"sideways\"")), "{text}");
    let runs = world.runs(&id);
    assert_eq!((runs.len(), &runs[0]["status"]), (1, &json!("error")));
    assert!(!world.script.state.cron.is_busy(&id));
}

#[test]
fn an_empty_line_was_not_given() {
    let mut world = World::new(json!({}), "2026-05-01T12:00:00Z");
    world.add("t", every(3_600_000), json!({}));
    let empty = world.disk["jobs.json"].replace("\"text\": \"t\"", "\"text\": \" \"");
    world.disk.insert("jobs.json".into(), empty);
    world.die(Duration::ZERO);
    let id = world.call("cron.list", json!({}))["jobs"][0]["id"].clone();
    let ran = world.call("cron.run", json!({"id": id}));
    assert_eq!((&ran["ran"], &ran["reason"]), (&json!(false), &json!("main job requires non-empty systemEvent text")));
}

#[test]
fn runs_are_of_jobs_that_are_or_were() {
    let mut world = World::new(json!({}), "2026-05-01T12:00:00Z");
    let id = world.add("t", every(3_600_000), turn("go"));
    assert_eq!(world.runs(&id).len(), 0, "one that has not run yet");
    world.call("cron.run", json!({"id": id}));
    world.call("cron.remove", json!({"id": id}));
    world.end_turns(Ok("done"));
    let runs = world.runs(&id);
    assert_eq!((runs.len(), &runs[0]["summary"]), (1, &json!("done")), "what it was running is told in its log");
    let gone = world.call("cron.runs", json!({"id": "nobody"}));
    assert_eq!(gone["details"], json!({"code": "CRON_JOB_NOT_FOUND", "jobId": "nobody"}));
    assert!(gone["message"].as_str().unwrap().starts_with("cron job not found: nobody. "), "{gone}");
}

#[test]
fn a_turn_that_was_killed_is_marked_and_the_job_goes_on() {
    let mut world = World::new(json!({}), "2026-05-01T12:00:00Z");
    let id = world.add("t", every(3_600_000), turn("go"));
    world.pass(HOUR + MINUTE);
    assert_eq!(world.turns, [(RunNo(1), format!("agent:main:cron:{id}"))]);
    assert!(world.disk["jobs.json"].contains("runningAtMs"), "the mark is on disk before the turn starts");
    world.die(MINUTE);
    let runs = world.runs(&id);
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0]["error"], "interrupted: the gateway ended while the job ran");
    assert_eq!(world.state(&id)["runningAtMs"], Value::Null);
    assert_eq!(world.state(&id)["lastStatus"], "error");
    world.pass(HOUR);
    world.end_turns(Ok("done"));
    assert_eq!(world.times(&id), ["2026-05-01T14:00"]);
}

#[test]
fn a_kill_between_a_runs_line_and_the_book_does_not_run_it_again() {
    let mut world = World::new(json!({}), "2026-05-01T12:00:00Z");
    let at = |hour: u64| json!({"kind": "at", "at": format!("2026-05-01T{hour}:00:00Z")});
    let gone = world.add("gone", at(13), turn("go"));
    let mut keeps = turn("go");
    keeps["deleteAfterRun"] = json!(false);
    let kept = world.add("kept", at(14), keeps);
    for _ in 0..2 {
        world.pass(HOUR + MINUTE);
        assert_eq!(world.turns.len(), 1);
        world.writes = false;
        world.end_turns(Ok("done"));
        world.writes = true;
        world.die(MINUTE);
    }
    world.pass(DAY);
    assert!(world.turns.is_empty(), "{:?}", world.turns);
    assert_eq!((world.times(&gone).len(), world.times(&kept).len()), (1, 1));
    assert_eq!(world.call("cron.status", json!({}))["jobs"], 1);
    assert_eq!(world.state(&kept)["lastStatus"], "ok");
}

#[test]
fn a_run_that_makes_up_for_missed_ones_and_is_killed_is_told_as_such() {
    let mut world = World::new(json!({}), "2026-05-01T12:00:00Z");
    let id = world.add("t", every(600_000), turn("go"));
    world.die(5 * HOUR);
    world.pass(MINUTE);
    assert_eq!(world.turns.len(), 1);
    world.die(MINUTE);
    let runs = world.runs(&id);
    let told: Vec<&str> = runs.iter().map(|entry| entry["error"].as_str().unwrap()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("missed 30 runs") && told[1].starts_with("interrupted: "), "{told:?}");
}

#[test]
fn a_reminder_that_is_put_off_while_it_runs_comes_again() {
    let mut world = World::new(json!({}), "2026-05-01T12:00:00Z");
    let id = world.add("t", json!({"kind": "at", "at": "2026-05-01T13:00:00Z"}), turn("go"));
    world.pass(HOUR + MINUTE);
    let later = json!({"schedule": {"kind": "at", "at": "2026-05-01T15:00:00Z"}});
    let job = world.call("cron.update", json!({"id": id, "patch": later}));
    assert_eq!(date::iso_utc(job["state"]["nextRunAtMs"].as_u64().unwrap()), "2026-05-01T15:00:00.000Z");
    world.end_turns(Ok("done"));
    world.pass(3 * HOUR);
    assert_eq!(world.turns.len(), 1);
    world.end_turns(Ok("done"));
    assert_eq!(world.times(&id), ["2026-05-01T13:00", "2026-05-01T15:00"]);
    assert_eq!(world.call("cron.status", json!({}))["jobs"], 0);
}

#[test]
fn an_answer_that_is_an_acknowledgement_is_not_passed_on() {
    let mut world = World::new(json!({}), "2026-05-01T12:00:00Z");
    world.add("t", every(3_600_000), json!({"payload": {"kind": "agentTurn", "message": "go"}}));
    let mut told = Vec::new();
    for text in ["HEARTBEAT_OK. All is quiet.", "**HEARTBEAT_OK**", "NO_REPLY", "The disk is full."] {
        world.pass(HOUR + MINUTE);
        world.end_turns(Ok(text));
        let place = world.script.state.main_place("main");
        told = world.script.state.system_events.texts(&place.key).map(str::to_string).collect();
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with("It says: The disk is full."), "{told:?}");
}

#[test]
fn a_scheduler_that_is_switched_off_keeps_nothing_waiting() {
    let mut world = World::new(json!({}), "2026-05-01T12:00:00Z");
    let ids: Vec<String> = (0..2).map(|n| world.add(&format!("job {n}"), every(600_000), turn("go"))).collect();
    world.pass(11 * MINUTE);
    assert_eq!(world.turns.len(), 1);
    let mut config = (*world.script.state.config).clone();
    config.raw = json!({"cron": {"enabled": false}});
    world.script.state.config = std::sync::Arc::new(config);
    let mut fx = Vec::new();
    world.script.state.cron_renewed(world.now, &mut fx);
    world.perform(fx);
    let ran = |world: &mut World, id: &str| world.call("cron.run", json!({"id": id}))["ran"] == true;
    assert!(ids.iter().any(|id| ran(&mut world, id)), "the one that waited can be run by hand");
}

#[test]
fn a_clock_that_jumps_neither_stalls_nor_bursts() {
    let mut world = World::new(json!({}), "2026-05-10T12:00:00Z");
    let beat = world.add("beat", every(600_000), json!({}));
    let noon = world.add("noon", cron("0 12 * * *"), json!({}));
    world.pass(30 * MINUTE);
    world.jump(-3 * 86_400);
    world.pass(HOUR);
    assert_eq!(world.times(&beat).len(), 3 + 6, "it does not wait three days");
    world.jump(10 * 86_400);
    world.pass(2 * MINUTE);
    assert_eq!(world.times(&beat).len(), 9 + 1, "one for all that the jump left out");
    assert_eq!(world.times(&noon).len(), 1);
    let told = world.runs(&noon).into_iter().filter(|entry| entry["status"] == "skipped");
    assert_eq!(told.count(), 1);
    // A small correction repeats nothing.
    let before = world.times(&beat).len();
    world.pass(10 * MINUTE);
    world.jump(-300);
    world.pass(6 * MINUTE);
    assert_eq!(world.times(&beat).len(), before + 1);
}

#[test]
fn failures_pause_the_job_and_are_told() {
    let mut world = World::new(json!({}), "2026-05-01T12:00:00Z");
    let id = world.add("t", every(60_000), json!({"payload": {"kind": "agentTurn", "message": "go"}}));
    for _ in 0..6 {
        world.pass(HOUR + 2 * MINUTE);
        world.end_turns(Err("the model is gone"));
    }
    let runs = world.runs(&id);
    let failed: Vec<&Value> = runs.iter().filter(|entry| entry["status"] == "error").collect();
    assert_eq!(failed.len(), 6);
    assert_eq!(failed[5]["error"], "the model is gone");
    assert_eq!(failed[5]["deliveryStatus"], "not-delivered");
    let state = world.state(&id);
    assert_eq!(state["consecutiveErrors"], 6);
    let next = state["nextRunAtMs"].as_u64().unwrap();
    assert_eq!(next - failed[5]["ts"].as_u64().unwrap(), limits::CRON_BACKOFF_MS[4]);
    let place = world.script.state.main_place("main");
    let told: Vec<&str> = world.script.state.system_events.texts(&place.key).collect();
    assert!(told.iter().any(|line| line.contains("Cron \"t\"") && line.contains("the model is gone")), "{told:?}");
}

#[test]
fn what_is_answered_is_on_disk_and_survives() {
    let mut world = World::new(json!({}), "2026-05-01T12:00:00Z");
    let id = world.add("kept", every(600_000), json!({}));
    assert_eq!(world.events.iter().filter(|event| event["action"] == "added").count(), 1);
    world.die(Duration::ZERO);
    assert_eq!(world.call("cron.list", json!({}))["jobs"][0]["id"], id);
    world.writes = false;
    let refused = world.call("cron.remove", json!({"id": id}));
    assert_eq!(refused["code"], "UNAVAILABLE");
    assert!(refused["message"].as_str().unwrap().contains("not saved"), "{refused}");
    world.writes = true;
    world.die(Duration::ZERO);
    assert_eq!(world.call("cron.list", json!({}))["jobs"][0]["id"], id, "nobody was told that it is gone");
    assert_eq!(world.call("cron.remove", json!({"id": id})), json!({"ok": true, "removed": true}));
    world.die(Duration::ZERO);
    assert_eq!(world.call("cron.status", json!({}))["jobs"], 0);
}

#[test]
fn a_disabled_scheduler_runs_nothing_by_itself() {
    let mut world = World::new(json!({"cron": {"enabled": false}}), "2026-05-01T12:00:00Z");
    let id = world.add("t", every(60_000), json!({}));
    let before = world.effects;
    world.pass(DAY);
    assert_eq!(world.effects, before, "no timer either");
    assert!(world.times(&id).is_empty());
    assert_eq!(world.call("cron.status", json!({}))["nextWakeAtMs"], Value::Null);
    assert_eq!(world.call("cron.run", json!({"id": id})), json!({"ok": true, "ran": true}));
    assert_eq!(world.times(&id).len(), 1);
}

#[test]
fn a_run_by_hand_is_one_run() {
    let mut world = World::new(json!({}), "2026-05-01T12:00:00Z");
    let id = world.add("t", every(3_600_000), turn("go"));
    assert_eq!(world.call("cron.run", json!({"id": id, "mode": "due"}))["reason"], "not-due");
    let ran = world.call("cron.run", json!({"id": id}));
    assert_eq!((&ran["ran"], &ran["enqueued"]), (&json!(true), &json!(true)));
    assert_eq!(world.call("cron.run", json!({"id": id}))["reason"], "already-running");
    world.pass(2 * HOUR);
    assert_eq!(world.turns.len(), 1, "what becomes due while it runs waits for its end");
    world.end_turns(Ok("done"));
    let runs = world.runs(&id);
    assert_eq!((runs.len(), &runs[0]["runId"]), (1, &ran["runId"]));
    assert_eq!(runs[0]["summary"], "done");
    world.call("cron.update", json!({"id": id, "patch": {"enabled": false}}));
    assert_eq!(world.call("cron.run", json!({"id": id, "mode": "if-enabled"}))["reason"], "disabled");
    world.call("cron.run", json!({"id": id}));
    world.call("cron.remove", json!({"id": id}));
    world.end_turns(Ok("done"));
    assert_eq!(world.call("cron.status", json!({}))["jobs"], 0, "the end of a turn does not bring its job back");
}

#[test]
fn a_run_is_over_when_its_webhook_has_taken_it_or_not() {
    let config = json!({"cron": {"webhookSsrfPolicy": {"allowedHostnames": ["127.0.0.1"]}}});
    let mut world = World::new(config, "2026-05-01T12:00:00Z");
    let mut wish = turn("go");
    wish["delivery"] = json!({"mode": "webhook", "to": "http://127.0.0.1:9/x"});
    let id = world.add("t", every(3_600_000), wish);
    let ends = [
        (Done::Answer(Ok(String::new())), json!(true), Value::Null),
        (Done::Answer(Err(WireError::unavailable("status 404"))), json!(false), json!("status 404")),
        (Done::Refused, json!(false), json!("too many webhooks wait to be called")),
    ];
    for (at, (done, delivered, error)) in ends.into_iter().enumerate() {
        world.pass(HOUR + MINUTE);
        world.end_turns(Ok("news"));
        assert!(world.script.state.cron.is_busy(&id) && world.runs(&id).len() == at, "nothing is on record yet");
        let then = world.posts.remove(0);
        world.feed(Input::Stored { then, done });
        let entry = world.runs(&id).last().unwrap().clone();
        assert_eq!((&entry["delivered"], &entry["deliveryError"]), (&delivered, &error), "{entry}");
        assert_eq!(world.state(&id)["lastDelivered"], delivered);
    }
    world.pass(HOUR + MINUTE);
    world.end_turns(Ok("HEARTBEAT_OK"));
    assert!(world.posts.is_empty(), "nothing to say");
    world.pass(HOUR + MINUTE);
    world.end_turns(Ok("news"));
    world.feed(Input::Signal(crate::sys::signals::Signal::Terminate));
    let log = String::from_utf8(world.logs[&id].clone()).unwrap();
    assert!(log.lines().last().unwrap().contains("stopped before the webhook had taken it"), "{log}");
    assert!(!world.disk["jobs.json"].contains("runningAtMs"));
    world.die(Duration::ZERO);
    assert_eq!(world.state(&id)["lastStatus"], "ok");
}

#[test]
fn what_a_job_says_after_a_strangers_line_stays_a_strangers() {
    let mut world = World::new(json!({}), "2026-05-01T12:00:00Z");
    let mut wish = turn("go");
    (wish["sessionTarget"], wish["delivery"]) =
        (json!("session:desk"), json!({"mode": "announce", "channel": "telegram", "to": "1"}));
    world.add("t", every(3_600_000), wish);
    let place = |key: &str| Place { agent: "main".into(), key: key.into() };
    for (number, speaker) in [(1, Speaker::Channel), (2, Speaker::Operator)] {
        let now = world.script.now();
        world.script.state.queue_line(&place("agent:main:desk"), "a line", speaker, now);
        world.pass(HOUR + MINUTE);
        world.end_turns(Ok("news"));
        let (lines, heard) = world.script.state.give_system_events(&place("agent:main:main"), RunNo(900 + number));
        assert!(lines.len() == 1 && heard == speaker, "{lines:?} {heard:?}");
    }
}

#[test]
fn what_is_said_in_its_conversation_is_delivered() {
    let mut world = World::new(json!({}), "2026-05-01T12:00:00Z");
    let mut wish = turn("go");
    (wish["sessionTarget"], wish["delivery"]) = (json!("session:desk"), json!({"mode": "announce"}));
    let id = world.add("t", every(3_600_000), wish);
    for (end, status) in [(Ok("news"), "delivered"), (Ok("HEARTBEAT_OK"), "not-requested"), (Err("x"), "not-delivered")]
    {
        world.pass(HOUR + MINUTE);
        assert_eq!(world.turns[0].1, "agent:main:desk");
        world.end_turns(end);
        assert_eq!(world.runs(&id).last().unwrap()["deliveryStatus"], status);
    }
    let told: Vec<&str> = world.script.state.system_events.texts("agent:main:main").collect();
    assert!(told.len() == 1 && told[0].contains("failed: x"), "{told:?}");
}

#[test]
fn each_turn_has_a_conversation_of_its_own() {
    let mut world = World::new(json!({}), "2026-05-01T12:00:00Z");
    let id = world.add("t", every(3_600_000), turn("go"));
    for _ in 0..3 {
        world.pass(HOUR + MINUTE);
        world.end_turns(Ok("done"));
    }
    let sessions: std::collections::BTreeSet<String> =
        world.runs(&id).iter().map(|entry| entry["sessionId"].as_str().unwrap().to_string()).collect();
    assert_eq!(sessions.len(), 3);
}

#[test]
fn jobs_are_bounded_and_wrong_ones_refused() {
    let mut world = World::new(json!({}), "2026-05-01T12:00:00Z");
    let refused = |world: &mut World, schedule: Value| {
        let params = json!({"name": "x", "schedule": schedule, "payload": {"kind": "systemEvent", "text": "x"}});
        world.call("cron.add", params)["message"].as_str().unwrap().to_string()
    };
    let never = refused(&mut world, json!({"kind": "cron", "expr": "0 0 30 2 *"}));
    let wanted = "cron expression \"0 0 30 2 *\" has no upcoming run time and would never fire";
    assert_eq!(never, format!("invalid cron.add params: {wanted}"));
    let zone = refused(&mut world, json!({"kind": "cron", "expr": "0 0 * * *", "tz": "Mars/X"}));
    assert!(zone.starts_with("invalid cron.add params: unknown time zone \"Mars/X\""), "{zone}");
    world.writes = false;
    assert_eq!(
        refused(&mut world, json!({"kind": "cron", "expr": "0 0 * * *", "tz": "Mars/Y"})),
        "the disk is busy; try again"
    );
    world.writes = true;
    assert_eq!(world.call("cron.get", json!({"id": "no"}))["details"]["code"], "CRON_JOB_NOT_FOUND");
    assert_eq!(world.call("cron.remove", json!({}))["message"], "invalid cron.remove params: missing id");
    for n in 0..limits::CRON_JOBS {
        world.add(&format!("job {n}"), every(86_400_000), json!({"enabled": false}));
    }
    assert!(refused(&mut world, every(60_000)).contains("too many scheduled jobs (limit 500)"));
    let too_long = |method: &str, limit: usize| (method.to_string(), json!({"id": "x", "limit": limit}));
    for (method, params) in
        [too_long("cron.list", limits::CRON_PAGE + 1), too_long("cron.runs", limits::CRON_RUNS_MAX + 1)]
    {
        assert_eq!(world.call(&method, params)["code"], "INVALID_REQUEST", "{method}");
    }
    let id = world.call("cron.list", json!({"includeDisabled": true}))["jobs"][0]["id"].clone();
    assert_eq!(world.call("cron.runs", json!({"id": id}))["limit"], limits::CRON_RUNS);
    assert_eq!(world.call("cron.runs", json!({"id": id, "limit": limits::CRON_RUNS_MAX}))["total"], 0);
    let page = world.call("cron.list", json!({"includeDisabled": true, "limit": limits::CRON_PAGE, "offset": 400}));
    assert_eq!((page["jobs"].as_array().unwrap().len(), &page["nextOffset"]), (100, &Value::Null));
}

#[test]
fn a_full_book_takes_no_more() {
    let mut world = World::new(json!({}), "2026-05-01T12:00:00Z");
    let long = "ä".repeat(limits::CRON_MESSAGE_CHARS);
    let mut last = Value::Null;
    for n in 0..limits::CRON_JOBS {
        let mut params = json!({"name": format!("job {n}"), "enabled": false, "schedule": every(60_000)});
        params.as_object_mut().unwrap().extend(turn(&long).as_object().unwrap().clone());
        last = world.call("cron.add", params);
        if last["id"].is_null() {
            break;
        }
    }
    assert!(last["message"].as_str().unwrap().starts_with("the schedule is full"), "{last}");
    assert!(world.disk["jobs.json"].len() <= limits::CRON_FULL_BYTES + 4096);
}
