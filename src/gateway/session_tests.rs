//! Sessions and runs in the pure core while the disk takes its time or refuses, told as scripts.

use serde_json::{Value, json};

use super::disk::{Done, Job, Then};
use super::event::{ConnId, Effect, Input, Timer};
use super::script::{Script, request};
use super::sessions::Shelf;
use crate::limits;

/// A gateway with one client whose indexes were read: none has a session.
fn gateway() -> Script {
    let mut script = Script::new(json!({}));
    script.join(1, 4);
    load(&mut script, None);
    script
}

fn load(script: &mut Script, fault: Option<&str>) {
    let shelf = Shelf { path: "x".into(), index: Default::default(), fault: fault.map(str::to_string), unsaved: false };
    let done = Done::Sessions(vec![("main".into(), shelf)]);
    script.raw(Input::Stored { then: Then::Sessions, done });
}

fn call(script: &mut Script, method: &str, params: Value) -> Vec<Effect> {
    script.raw(request(1, method, params))
}

/// Payloads, or errors, of the answers among these.
fn answers(effects: &[Effect]) -> Vec<Value> {
    let sent = effects.iter().filter_map(|effect| match effect {
        Effect::Send(ConnId(1), bytes) => serde_json::from_slice::<Value>(bytes).ok(),
        _ => None,
    });
    sent.map(|frame| if frame["ok"] == true { frame["payload"].clone() } else { frame["error"].clone() }).collect()
}

/// The only disk job that somebody waits for.
fn job(effects: Vec<Effect>) -> (Job, Then) {
    let mut jobs = effects.into_iter().filter_map(|effect| match effect {
        Effect::Disk(_, Then::Nothing | Then::Sessions) => None,
        Effect::Disk(job, then) => Some((job, then)),
        _ => None,
    });
    let job = jobs.next().expect("a job");
    assert!(jobs.next().is_none());
    job
}

fn stored(script: &mut Script, then: Then, done: Done) -> Vec<Effect> {
    script.raw(Input::Stored { then, done })
}

fn ask(key: &str) -> Value {
    json!({"message": "hi", "idempotencyKey": key})
}

#[test]
fn a_refused_call_may_come_again_with_its_key() {
    let mut script = gateway();
    load(&mut script, Some("torn"));
    let refused = answers(&call(&mut script, "agent", ask("k")));
    assert_eq!(refused[0]["code"], "UNAVAILABLE");
    load(&mut script, None);
    let effects = call(&mut script, "agent", ask("k"));
    assert!(answers(&effects).is_empty());
    let (_, then) = job(effects);
    assert_eq!(answers(&stored(&mut script, then, Done::Written(Ok(()))))[0]["status"], "accepted");
    assert_eq!(answers(&call(&mut script, "agent", ask("k")))[0]["status"], "accepted");
}

#[test]
fn a_long_run_is_remembered_until_it_ends() {
    let mut script = gateway();
    let (_, then) = job(call(&mut script, "agent", ask("k")));
    stored(&mut script, then, Done::Written(Ok(())));
    for _ in 0..10 {
        script.wait(limits::SWEEP);
        script.raw(Input::Timer(Timer::Sweep));
    }
    assert_eq!(answers(&call(&mut script, "agent", ask("k")))[0]["status"], "accepted");
}

#[test]
fn a_repeated_create_gets_the_first_answer() {
    let mut script = gateway();
    let create = || json!({"key": "agent:main:new", "idempotencyKey": "k"});
    let (_, then) = job(call(&mut script, "sessions.create", create()));
    assert_eq!(answers(&call(&mut script, "sessions.create", create()))[0]["code"], "UNAVAILABLE");
    let first = answers(&stored(&mut script, then, Done::Written(Ok(()))));
    assert_eq!(answers(&call(&mut script, "sessions.create", create())), first);
}

#[test]
fn a_create_that_could_not_be_saved_may_come_again() {
    let mut script = gateway();
    let create = || json!({"key": "agent:main:new", "idempotencyKey": "k"});
    let (_, then) = job(call(&mut script, "sessions.create", create()));
    let refused = answers(&stored(&mut script, then, Done::Written(Err("full".into()))));
    assert_eq!(refused[0]["code"], "UNAVAILABLE");
    let (_, then) = job(call(&mut script, "sessions.create", create()));
    assert_eq!(answers(&stored(&mut script, then, Done::Written(Ok(()))))[0]["ok"], true);
}

#[test]
fn a_transcript_is_put_away_only_after_its_entry_is_gone_from_the_disk() {
    let mut script = gateway();
    let delete = |script: &mut Script| job(call(script, "sessions.delete", json!({"key": "agent:main:x"})));
    let create = |script: &mut Script| {
        let (_, then) = job(call(script, "sessions.create", json!({"key": "agent:main:x"})));
        stored(script, then, Done::Written(Ok(())));
    };
    create(&mut script);
    let (first, then) = delete(&mut script);
    assert!(matches!(first, Job::Indexes(_)));
    let refused = stored(&mut script, then, Done::Written(Err("full".into())));
    assert_eq!(answers(&refused)[0]["code"], "UNAVAILABLE");
    assert!(!refused.iter().any(|effect| matches!(effect, Effect::Disk(Job::PutAway(..), _))));
    create(&mut script);
    let (_, then) = delete(&mut script);
    let (second, then) = job(stored(&mut script, then, Done::Written(Ok(()))));
    assert!(matches!(second, Job::PutAway(..)));
    let done = stored(&mut script, then, Done::PutAway(vec!["away".into()]));
    assert_eq!(answers(&done)[0]["archived"], json!(["away"]));
}
