//! Heartbeats under a fake clock: weeks in seconds, clocks that jump, machines that sleep, sessions that are busy.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::deliver::{Delivered, Parcel};
use super::disk::{Done, Job, Then};
use super::event::{Effect, Input, Timer};
use super::heartbeats::{HeartbeatAsk, HeartbeatRead, Wake};
use super::runs::RunNo;
use super::script::{Script, request};
use super::session_key::Place;
use super::sessions::Shelf;
use crate::agent::message::text_of;
use crate::agent::run::{Account, Cause, RunEvent, RunFailure, RunResult, RunSpec};
use crate::agent::tool::approval::judge::Origin as Speaker;
use crate::config::model::Config;
use crate::limits;
use crate::session::history::parse_iso;
use crate::sys::date;
use crate::sys::signals::Signal;
use crate::sys::zone::Zone;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A gateway, its timers, its disk and its model.
struct World {
    script: Script,
    timers: BTreeSet<Duration>,
    /// What `HEARTBEAT.md` asks for: nothing, or something.
    asks_nothing: bool,
    /// What the model says; none lets the turn run on.
    says: Option<&'static str>,
    /// Turns that run on.
    open: Vec<RunNo>,
    /// When turns began, what they were asked, and of which agent.
    turns: Vec<(u64, String, String)>,
    heartbeats: Vec<Value>,
    chats: Vec<Value>,
    exits: bool,
}

impl World {
    fn new(config: Value, start: &str) -> World {
        World::at(config, utc(start))
    }

    fn at(config: Value, start_ms: u64) -> World {
        let mut script = Script::new(config);
        script.set_clock(start_ms);
        let mut world = World {
            script,
            timers: BTreeSet::new(),
            asks_nothing: false,
            says: Some("HEARTBEAT_OK"),
            open: Vec::new(),
            turns: Vec::new(),
            heartbeats: Vec::new(),
            chats: Vec::new(),
            exits: false,
        };
        world.script.join(1, 4);
        let (now, mut fx) = (world.script.now(), Vec::new());
        world.script.state.start(now, &mut fx);
        world.perform(fx);
        let agents: Vec<String> =
            world.script.state.config.agents.resolved().into_iter().map(|agent| agent.id).collect();
        let shelf = |id: String| {
            (id.clone(), Shelf { path: id.clone().into(), index: Default::default(), fault: None, unsaved: false })
        };
        let done = Done::Sessions(agents.into_iter().map(shelf).collect());
        world.feed(Input::Stored { then: Then::Sessions, done });
        world
    }

    fn feed(&mut self, input: Input) {
        let effects = self.script.raw(input);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Timer(wait, Timer::Heartbeat) => drop(self.timers.insert(self.script.now().mono + wait)),
                Effect::Disk(Job::Heartbeat(ask), then) => {
                    let done = Done::Heartbeat(match ask {
                        HeartbeatAsk::File(_) => HeartbeatRead::AsksNothing(self.asks_nothing),
                        HeartbeatAsk::Zones(names) => HeartbeatRead::Zones(
                            names.into_iter().map(|name| (name.clone(), Zone::named(&name))).collect(),
                        ),
                    });
                    self.feed(Input::Stored { then, done });
                }
                Effect::Disk(Job::Write(_) | Job::Indexes(_) | Job::Journal(..), then) => {
                    self.feed(Input::Stored { then, done: Done::Written(Ok(())) });
                }
                Effect::StartRun(no, spec) => self.turn(no, *spec),
                Effect::Broadcast { head, .. } => self.hear(&head),
                Effect::Exit => self.exits = true,
                _ => {}
            }
        }
    }

    fn turn(&mut self, no: RunNo, spec: RunSpec) {
        let text = spec.prompts.iter().map(|prompt| text_of(&prompt.content)).collect::<Vec<_>>().join("\n");
        self.turns.push((self.script.now().wall_ms, text, spec.agent_id));
        self.feed(Input::Run(no, RunEvent::Started));
        match self.says {
            Some(text) => self.answer(no, text),
            None => self.open.push(no),
        }
    }

    fn answer(&mut self, no: RunNo, text: &str) {
        self.feed(Input::Run(no, RunEvent::Text(text.to_string())));
        self.feed(Input::Run(no, RunEvent::MessageEnd));
        let account = Account { texts: vec![text.to_string()], ..Account::default() };
        self.feed(Input::Run(no, RunEvent::Finished(Box::new(RunResult { account, stop_reason: "stop" }))));
    }

    fn fail(&mut self, no: RunNo) {
        let failure = RunFailure {
            account: Account::default(),
            cause: Cause::Internal,
            message: "the model is gone".into(),
            retry_after: None,
            status: None,
        };
        self.feed(Input::Run(no, RunEvent::Failed(Box::new(failure))));
    }

    fn hear(&mut self, head: &[u8]) {
        let frame: Value = serde_json::from_str(&format!("{}0}}", std::str::from_utf8(head).unwrap())).unwrap();
        let payload = frame["payload"].clone();
        match frame["event"].as_str().unwrap() {
            "heartbeat" => self.heartbeats.push(payload),
            "chat" => self.chats.push(payload),
            _ => {}
        }
    }

    /// Lets time pass, timer by timer.
    fn pass(&mut self, time: Duration) {
        let end = self.script.now().mono + time;
        while let Some(at) = self.timers.first().copied().filter(|at| *at <= end) {
            self.timers.pop_first();
            let now = self.script.now().mono;
            self.script.wait(at.saturating_sub(now));
            self.feed(Input::Timer(Timer::Heartbeat));
        }
        let now = self.script.now().mono;
        self.script.wait(end - now);
    }

    fn wake(&mut self, agent: &str, reason: &str) {
        let (now, mut fx) = (self.script.now(), Vec::new());
        self.script.state.wake(agent, Wake::Now, reason, now, &mut fx);
        self.perform(fx);
    }

    fn queue(&mut self, text: &str) {
        let (now, place) = (self.script.now(), self.script.state.main_place("main"));
        self.script.state.queue_system_event(&place, text, now);
    }

    fn call(&mut self, method: &str, params: Value) {
        self.feed(request(1, method, params));
    }

    fn say(&mut self, key: &str) {
        self.call("chat.send", json!({"message": "hi", "sessionKey": "main", "idempotencyKey": key}));
    }

    /// Minutes between turns.
    fn distances(&self) -> Vec<u64> {
        self.turns.windows(2).map(|pair| (pair[1].0 - pair[0].0) / 60_000).collect()
    }

    fn told(&self) -> Vec<(&str, &str)> {
        self.heartbeats
            .iter()
            .map(|event| (event["status"].as_str().unwrap(), event["reason"].as_str().unwrap_or("")))
            .collect()
    }

    fn entry(&self, name: &str) -> Option<u64> {
        self.script.state.sessions.get("main", "agent:main:main")?.number(name)
    }
}

fn beats(block: Value) -> Value {
    json!({"agents": {"defaults": {"heartbeat": block}}})
}

fn world(block: Value) -> World {
    World::new(beats(block), "2026-06-01T12:00:00Z")
}

/// A week of heartbeats in hours of a zone: the local minute of each turn, and how many there were.
fn week(zone: &str, start: &str) -> World {
    let hours = json!({"start": "08:00", "end": "22:00", "timezone": zone});
    let mut world = World::new(beats(json!({"every": "30m", "activeHours": hours})), start);
    world.pass(7 * 24 * HOUR);
    let zone = Zone::named(zone).unwrap();
    for (ms, ..) in &world.turns {
        let unix = date::seconds(*ms);
        let hour = (unix + i64::from(zone.offset(unix))).rem_euclid(date::DAY) / 3600;
        assert!((8..22).contains(&hour), "{}", date::iso_utc(*ms));
    }
    world
}

#[test]
fn a_week_of_heartbeats_keeps_to_local_hours_when_summer_begins_and_ends() {
    for (zone, start, nights) in [
        ("Europe/Berlin", "2026-03-25T00:00:00Z", [10 * 60 + 30, 9 * 60 + 30]),
        ("America/New_York", "2026-10-28T08:00:00Z", [10 * 60 + 30, 11 * 60 + 30]),
    ] {
        let world = week(zone, start);
        assert_eq!(world.turns.len(), 7 * 28, "{zone}");
        let distances = world.distances();
        let of = |minutes: u64| distances.iter().filter(|distance| **distance == minutes).count();
        assert_eq!((of(30), of(nights[0]), of(nights[1])), (7 * 27, 5, 1), "{zone}: {distances:?}");
        assert!(world.told().iter().all(|told| *told == ("ok-token", "interval")));
    }
}

#[test]
fn a_machine_that_slept_looks_once_and_not_ten_times() {
    let mut world = world(json!({"every": "30m"}));
    world.pass(2 * HOUR);
    let before = world.turns.len();
    assert_eq!(before, 4);
    let asleep = world.script.now().wall_ms + 5 * 3_600_000;
    world.script.set_clock(asleep);
    world.pass(MINUTE);
    assert_eq!(world.turns.len(), before + 1, "seen within a minute");
    world.pass(3 * HOUR);
    assert!(world.distances()[before..].iter().all(|distance| (15..=45).contains(distance)), "{:?}", world.distances());
    assert!((before + 6..=before + 8).contains(&world.turns.len()));
}

#[test]
fn a_clock_set_back_delays_nothing() {
    let mut world = world(json!({"every": "30m"}));
    world.pass(2 * HOUR);
    let mut last = world.script.now();
    let back = last.wall_ms - 3_600_000;
    world.script.set_clock(back);
    let mut times = Vec::new();
    for _ in 0..180 {
        let count = world.turns.len();
        world.pass(MINUTE);
        let now = world.script.now();
        times.extend((count < world.turns.len()).then(|| (now.mono - last.mono).as_secs() / 60));
        last = if count < world.turns.len() { now } else { last };
    }
    assert!(times.len() >= 5 && times.iter().all(|minutes| (15..=46).contains(minutes)), "{times:?}");
}

#[test]
fn a_clock_that_is_corrected_a_little_moves_nothing() {
    let turns = |back_ms: u64| {
        let mut world = world(json!({"every": "30m"}));
        world.pass(HOUR);
        let next = world.turns[1].0 + 1_800_000;
        world.pass(Duration::from_millis(next - world.script.now().wall_ms) - MINUTE);
        world.script.set_clock(world.script.now().wall_ms - back_ms);
        world.pass(5 * MINUTE);
        world.turns.len()
    };
    assert_eq!(turns(limits::HEARTBEAT_CLOCK_SLACK_MS), 3);
    assert_eq!(turns(limits::HEARTBEAT_CLOCK_SLACK_MS + 1000), 2, "planned anew, and too soon after the last one");
}

#[test]
fn a_gateway_that_restarts_every_twenty_minutes_still_looks_around() {
    let mut ms = utc("2026-06-01T12:00:00Z");
    let mut turns = Vec::new();
    for _ in 0..72 {
        let mut world = World::at(beats(json!({"every": "30m"})), ms);
        world.pass(20 * MINUTE);
        turns.append(&mut world.turns);
        ms = world.script.now().wall_ms;
    }
    assert_eq!(turns.len(), 48, "a day has 48 half hours");
}

#[test]
fn switched_off_means_off_and_nothing_is_made_up_for() {
    let mut world = world(json!({"every": "30m"}));
    world.call("set-heartbeats", json!({"enabled": false}));
    world.wake("main", "wake");
    world.pass(24 * HOUR);
    assert!(world.turns.is_empty() && world.heartbeats.is_empty());
    world.call("set-heartbeats", json!({"enabled": true}));
    world.pass(MINUTE);
    assert!(world.turns.len() <= 1);
    world.pass(HOUR);
    assert_eq!(world.turns.len(), 2);
}

#[test]
fn no_interval_means_no_heartbeat_and_no_timer() {
    for config in
        [beats(json!({"every": "0m"})), json!({"agents": {"list": [{"id": "main", "heartbeat": {"every": "0"}}]}})]
    {
        let mut world = World::new(config, "2026-06-01T12:00:00Z");
        world.pass(24 * HOUR);
        world.wake("main", "wake");
        assert!(world.turns.is_empty() && world.timers.is_empty());
    }
}

#[test]
fn only_agents_with_a_block_have_heartbeats_each_at_its_own_time() {
    let list = json!([{"id": "main"}, {"id": "ops", "heartbeat": {"every": "1h"}}, {"id": "lab", "heartbeat": {}}]);
    let mut world = World::new(json!({"agents": {"list": list}}), "2026-06-01T12:00:00Z");
    world.pass(24 * HOUR);
    let of = |id: &str| world.turns.iter().filter(|(.., agent)| agent == id).count();
    assert_eq!((of("main"), of("ops"), of("lab")), (0, 24, 48), "{:?}", world.told().first());
}

#[test]
fn a_busy_session_is_looked_at_when_its_turn_is_over() {
    let mut world = world(json!({"every": "30m"}));
    world.says = None;
    world.say("k");
    let chat = world.open.pop().unwrap();
    world.pass(3 * HOUR);
    assert_eq!(world.turns.len(), 1, "the person's alone");
    world.says = Some("HEARTBEAT_OK");
    world.answer(chat, "hello");
    world.pass(Duration::from_secs(1));
    assert_eq!(world.turns.len(), 2);
    world.pass(MINUTE);
    assert_eq!(world.turns.len(), 2, "what was missed is not made up for");
}

#[test]
fn several_wishes_make_one_run_that_sees_all_lines() {
    let mut world = world(json!({"every": "30m"}));
    for n in 0..3 {
        world.queue(&format!("line {n}"));
        world.wake("main", "cron:1");
        world.pass(Duration::from_millis(50));
    }
    assert!(world.turns.is_empty(), "not at once");
    world.pass(Duration::from_secs(1));
    assert_eq!(world.turns.len(), 1);
    let (_, text, _) = &world.turns[0];
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "System: [Mon 2026-06-01 12:00 UTC] line 0");
    assert!(
        lines[2].ends_with("line 2") && lines[3].is_empty() && lines[4].starts_with("Something happened"),
        "{text}"
    );
    assert_eq!(lines.last(), Some(&"Current time: Mon 2026-06-01 12:00 UTC"));
    assert_eq!(world.told(), [("ok-token", "cron:1")]);
}

#[test]
fn wishes_that_cause_each_other_are_slowed_down() {
    let mut world = world(json!({"every": "30m"}));
    for _ in 0..60 {
        world.wake("main", "exec-event");
        world.pass(Duration::from_secs(1));
    }
    assert_eq!(world.turns.len(), limits::HEARTBEAT_WAKES);
    world.pass(MINUTE);
    assert!(world.turns.len() > limits::HEARTBEAT_WAKES, "late, not lost");
}

#[test]
fn an_empty_file_is_nothing_to_look_at_unless_lines_wait() {
    let mut world = world(json!({"every": "30m"}));
    world.asks_nothing = true;
    world.pass(HOUR);
    assert_eq!(world.told(), [("skipped", "empty-heartbeat-file"); 2]);
    assert!(world.turns.is_empty());
    world.queue("the door bell rang");
    world.wake("main", "wake");
    world.pass(Duration::from_secs(1));
    assert_eq!(world.turns.len(), 1);
    assert!(world.turns[0].1.contains("the door bell rang"));
}

#[test]
fn a_wish_at_night_waits_with_its_lines_and_says_so() {
    let hours = json!({"start": "08:00", "end": "22:00", "timezone": "UTC"});
    let mut world = World::new(beats(json!({"every": "30m", "activeHours": hours})), "2026-06-01T23:00:00Z");
    world.queue("not so urgent");
    world.wake("main", "wake");
    world.pass(HOUR);
    assert_eq!((world.told(), world.turns.len()), (vec![("skipped", "quiet-hours")], 0));
    world.pass(9 * HOUR);
    assert!(world.turns[0].1.contains("not so urgent"));
    assert!(world.turns[0].0 >= utc("2026-06-02T08:00:00Z"));
}

#[test]
fn a_heartbeat_leaves_its_session_as_old_as_it_was() {
    let mut world = world(json!({"every": "30m"}));
    world.says = Some("hello");
    world.say("k");
    let said = world.entry("updatedAt").unwrap();
    world.says = Some("HEARTBEAT_OK");
    world.pass(HOUR);
    assert_eq!((world.turns.len(), world.entry("updatedAt")), (3, Some(said)));
    world.says = None;
    world.pass(HOUR);
    let beat = world.open.pop().unwrap();
    world.script.wait(MINUTE);
    world.say("meanwhile");
    let meanwhile = world.script.now().wall_ms;
    world.answer(beat, "HEARTBEAT_OK");
    assert!(world.entry("updatedAt") >= Some(meanwhile), "a message in between counts");
}

#[test]
fn people_see_alerts_once_a_day_and_acknowledgements_never() {
    let mut world = world(json!({"every": "30m"}));
    world.pass(HOUR);
    assert!(world.chats.is_empty(), "{:?}", world.chats);
    world.says = Some("The disk is full.");
    world.pass(HOUR);
    let texts: Vec<&Value> = world.chats.iter().map(|chat| &chat["message"]["content"][0]["text"]).collect();
    assert_eq!(texts, [&json!("The disk is full.")]);
    assert_eq!(world.told()[2..], [("skipped", "no-target"), ("skipped", "duplicate")]);
    assert_eq!(world.heartbeats[2]["preview"], "The disk is full.");
    assert_eq!(world.heartbeats[2]["hasMedia"], false);
    world.pass(24 * HOUR);
    assert_eq!(world.chats.len(), 2, "a day later again");
    let first = &world.heartbeats[0];
    assert_eq!((&first["silent"], &first["indicatorType"]), (&json!(true), &json!("ok")));
    assert_eq!(world.script.state.heartbeats.last.as_ref(), world.heartbeats.last());
}

#[test]
fn long_alerts_are_shown_whole_and_told_in_short() {
    let mut world = world(json!({"every": "30m"}));
    let long: &'static str = "ä".repeat(limits::HEARTBEAT_PREVIEW_CHARS + 1).leak();
    world.says = Some(long);
    world.pass(HOUR / 2);
    let preview = world.heartbeats[0]["preview"].as_str().unwrap();
    assert_eq!(preview.chars().count(), limits::HEARTBEAT_PREVIEW_CHARS);
    assert_eq!(world.chats[0]["message"]["content"][0]["text"], long);
}

#[test]
fn nothing_is_asked_in_the_first_minute() {
    let mut world = world(json!({"every": "5m"}));
    let started = world.script.now().wall_ms;
    world.pass(6 * MINUTE);
    assert!(world.turns[0].0 >= started + u64::try_from(limits::HEARTBEAT_SETTLING.as_millis()).unwrap());
    let starts = (0..60).map(|minute| {
        let mut world = World::at(beats(json!({"every": "5m"})), started + minute * 5_000);
        world.pass(limits::HEARTBEAT_SETTLING - Duration::from_secs(1));
        world.turns.len()
    });
    assert_eq!(starts.sum::<usize>(), 0);
}

#[test]
fn what_cannot_be_delivered_is_kept_for_the_main_session() {
    let mut world = world(json!({"every": "0m"}));
    let place = Place { agent: "main".into(), key: "agent:main:cron:1".into() };
    let text = "x".repeat(limits::UNDELIVERED_CHARS + 1);
    let deliver = |world: &mut World, channel: &str, place: &Place| {
        let now = world.script.now();
        let parcel = Parcel { place, channel, to: None, from: "Cron \"a\"", text: &text, speaker: Speaker::Operator };
        world.script.state.deliver(&parcel, now)
    };
    let lines = |world: &World| {
        world.script.state.system_events.texts("agent:main:main").map(str::to_string).collect::<Vec<_>>()
    };
    assert_eq!(deliver(&mut world, "none", &place), Delivered::Unwanted);
    assert_eq!(
        deliver(&mut world, "last", &Place { key: "agent:main:main".into(), ..place.clone() }),
        Delivered::NoTarget
    );
    assert!(lines(&world).is_empty(), "it stands there already, or nobody wanted it");
    assert_eq!(deliver(&mut world, "telegram", &place), Delivered::NoChannel("telegram".into()));
    let lines = lines(&world);
    assert!(
        lines[0].starts_with("Cron \"a\" could not be delivered (channel telegram is not available"),
        "{}",
        lines[0]
    );
    assert_eq!(lines[0].matches('x').count(), limits::UNDELIVERED_CHARS);
}

#[test]
fn what_is_shown_can_be_chosen() {
    let run = |says: &'static str, shown: Value| {
        let config = json!({"agents": {"defaults": {"heartbeat": {"every": "30m", "target": "none"}}},
            "channels": {"defaults": {"heartbeat": shown}}});
        let mut world = World::new(config, "2026-06-01T12:00:00Z");
        world.says = Some(says);
        world.pass(HOUR / 2);
        let told = world.told().into_iter().map(|(status, reason)| format!("{status} {reason}")).collect::<Vec<_>>();
        (told.join(","), world.chats.len(), world.turns.len())
    };
    assert_eq!(run("HEARTBEAT_OK", json!({"showOk": true})), ("ok-token interval".into(), 1, 1));
    assert_eq!(run("NO_REPLY", json!({})), ("ok-empty interval".into(), 0, 1));
    assert_eq!(run("Fire!", json!({})), ("skipped target-none".into(), 1, 1));
    assert_eq!(run("Fire!", json!({"showAlerts": false})), ("skipped alerts-disabled".into(), 0, 1));
    let off = json!({"showOk": false, "showAlerts": false, "useIndicator": false});
    assert_eq!(run("Fire!", off), ("skipped alerts-disabled".into(), 0, 0));
}

#[test]
fn failures_are_told_and_the_next_try_waits_longer() {
    let mut world = world(json!({"every": "30m"}));
    world.says = None;
    for _ in 0..6 * 60 {
        world.pass(MINUTE);
        while let Some(no) = world.open.pop() {
            world.fail(no);
        }
    }
    assert_eq!(world.distances(), [30, 60, 120], "and 240 more");
    assert_eq!(world.told()[0], ("failed", "the model is gone"));
    assert_eq!(world.heartbeats[0]["indicatorType"], "error");
    assert!(world.chats.is_empty(), "nobody asked, so nobody sees an error in the chat");
    world.says = Some("HEARTBEAT_OK");
    world.wake("main", "wake");
    world.pass(2 * HOUR);
    assert!(world.distances()[3..].iter().skip(1).all(|distance| *distance <= 45), "{:?}", world.distances());
}

#[test]
fn an_unknown_model_is_told_and_no_turn_starts() {
    let mut world = world(json!({"every": "30m", "model": "nobody-knows"}));
    world.pass(HOUR / 2);
    assert!(world.turns.is_empty());
    assert!(world.told()[0].1.starts_with("heartbeat.model: unknown model"), "{:?}", world.told());
}

#[test]
fn a_message_does_not_join_a_heartbeat_and_stopping_it_is_no_failure() {
    let mut world = world(json!({"every": "30m"}));
    world.says = None;
    world.pass(HOUR / 2);
    let beat = world.open.pop().unwrap();
    world.say("k");
    assert!(world.open.is_empty(), "the message waits");
    world.says = Some("hello");
    world.call("chat.abort", json!({"sessionKey": "main"}));
    let failure = RunFailure {
        account: Account::default(),
        cause: Cause::Stopped(crate::agent::control::AbortReason::Rpc),
        message: String::new(),
        retry_after: None,
        status: None,
    };
    world.feed(Input::Run(beat, RunEvent::Failed(Box::new(failure))));
    assert_eq!(world.told(), [("skipped", "aborted")]);
}

#[test]
fn the_gateway_stops_while_a_heartbeat_runs() {
    let mut world = world(json!({"every": "30m"}));
    world.says = None;
    world.pass(HOUR / 2);
    let beat = world.open.pop().unwrap();
    world.feed(Input::Signal(Signal::Terminate));
    world.script.leave(1);
    assert!(!world.exits);
    world.fail(beat);
    assert!(world.exits);
    let entry = world.script.state.sessions.get("main", "agent:main:main").unwrap();
    assert_ne!(entry.flag("abortedLastRun"), Some(true), "no person's turn was broken off");
    world.pass(24 * HOUR);
    assert_eq!(world.turns.len(), 1);
}

#[test]
fn a_changed_configuration_holds_from_its_next_moment_on() {
    let mut world = world(json!({"every": "30m"}));
    world.pass(HOUR);
    let change = |world: &mut World, config: Value| {
        let (now, mut fx) = (world.script.now(), Vec::new());
        let agents = Config::from_value(config);
        world.script.state.config = std::sync::Arc::new(world.script.state.config.with_turns_of(&agents));
        world.script.state.plan_heartbeats(now, &mut fx);
        world.perform(fx);
    };
    change(&mut world, beats(json!({"every": "10m"})));
    world.pass(HOUR);
    assert_eq!(world.turns.len(), 2 + 6);
    change(&mut world, beats(json!({"every": "0m"})));
    world.pass(24 * HOUR);
    assert_eq!(world.turns.len(), 2 + 6);
    change(&mut world, beats(json!({"every": "1h"})));
    world.pass(5 * HOUR);
    assert_eq!(world.turns.len(), 2 + 6 + 5);
}

#[test]
fn heartbeats_run_in_the_configured_session_but_lines_are_seen_where_they_wait() {
    let mut world = world(json!({"every": "30m", "session": "watch"}));
    world.pass(HOUR / 2);
    assert!(world.script.state.sessions.get("main", "agent:main:watch").is_some());
    assert!(world.entry("updatedAt").is_none());
    world.queue("look");
    world.wake("main", "wake");
    world.pass(Duration::from_secs(1));
    assert!(world.entry("updatedAt").is_some() && world.turns[1].1.contains("look"));
}

fn utc(text: &str) -> u64 {
    parse_iso(&text.replace('Z', ".000Z")).unwrap()
}
