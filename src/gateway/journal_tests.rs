//! Messages that wait in the pure core, and what becomes of them when the disk refuses or the gateway ends, told as scripts.

use super::desk::Behalf;
use super::desk::ToolAsk;
use super::disk::{Done, Job, Then};
use super::event::{ConnId, Effect, Ended, Input};
use super::journal::{Change, OpenRun};
use super::runs::RunNo;
use super::script::Script;
use super::session_tests::{answers, call, configured, create, gateway, job, say, send, started, stopped, stored};
use crate::agent::tool::approval::judge::Origin as Speaker;
use crate::agent::tool::desk::{Ask, Note};
use crate::limits;
use crate::store::session::entry::Entry;
use crate::sys::signals::Signal;

/// Texts of what the turns that got a thread are asked.
fn asked(effects: &[Effect]) -> String {
    let of = |effect: &Effect| {
        if let Effect::StartRun(_, spec) = effect { Some(format!("{:?}", spec.prompts)) } else { None }
    };
    effects.iter().filter_map(of).collect()
}

#[test]
fn a_message_that_another_ones_turn_answers_stays_when_the_other_cannot_be_saved() {
    let mut script = gateway();
    let key = "agent:main:x";
    create(&mut script, key);
    let no = RunNo(started(&send(&mut script, say("works", key)))[0]);
    let (_, first) = job(call(&mut script, "chat.send", say("first", key)));
    send(&mut script, say("joins", key));
    let refused = answers(&stored(&mut script, first, Done::Written(Err("full".into()))));
    assert!(refused[0]["message"].as_str().unwrap().starts_with("message not accepted"), "{refused:?}");
    script.wait(limits::QUEUE_DEBOUNCE);
    let heard = asked(&script.raw(Input::Run(no, stopped())));
    assert!(heard.contains("joins") && !heard.contains("first"), "{heard}");
}

/// Lines of the journal in the order in which they are written.
fn journalled(effects: &[Effect]) -> String {
    let of = |effect: &Effect| match effect {
        Effect::Disk(Job::Journal(_, Change::Append(text) | Change::Replace(text)), _) => Some(text.clone()),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

#[test]
fn a_message_is_in_the_journal_before_the_one_that_goes_for_it_leaves() {
    let mut script = configured(json!({"messages": {"queue": {"mode": "followup", "cap": 1, "drop": "old"}}}));
    let key = "agent:main:x";
    create(&mut script, key);
    for id in ["works", "oldest"] {
        send(&mut script, say(id, key));
    }
    let effects = call(&mut script, "chat.send", say("newest", key));
    let more = journalled(&effects);
    let rest = journalled(&stored(&mut script, job(effects).1, Done::Written(Ok(()))));
    let text = more + &rest;
    let (open, done) = (text.find(r#""open":"newest""#), text.find(r#""done":"oldest""#));
    assert!(open.is_some() && open < done, "{text}");
}

#[test]
fn what_no_journal_takes_is_not_accepted_in_a_new_session_either() {
    let mut script = gateway();
    let (first, then) = job(call(&mut script, "agent", say("new", "agent:main:new")));
    assert!(matches!(first, Job::Indexes(_)));
    let effects = stored(&mut script, then, Done::Written(Ok(())));
    assert!(answers(&effects).is_empty() && started(&effects).is_empty(), "it is not in the journal yet");
    let (second, then) = job(effects);
    assert!(matches!(second, Job::Journal(..)));
    let refused = stored(&mut script, then, Done::Written(Err("full".into())));
    assert!(answers(&refused)[0]["message"].as_str().unwrap().starts_with("message not accepted"));
    assert!(started(&refused).is_empty() && script.state.runs.is_empty());
}

#[test]
fn lines_that_wait_go_with_a_turn_that_begins_and_not_with_one_that_never_does() {
    let mut script = gateway();
    let key = "agent:main:main";
    create(&mut script, key);
    let no = RunNo(started(&send(&mut script, say("works", key)))[0]);
    script.raw(Input::Note(Note::SystemEvent {
        session_key: key.into(),
        text: "tea is ready".into(),
        wake: false,
        speaker: Speaker::Operator,
    }));
    send(&mut script, say("waits", key));
    call(&mut script, "chat.abort", json!({"sessionKey": key, "runId": "waits"}));
    send(&mut script, say("next", key));
    script.wait(limits::QUEUE_DEBOUNCE);
    let heard = asked(&script.raw(Input::Run(no, stopped())));
    assert!(heard.contains("tea is ready"), "{heard}");
}

#[test]
fn what_did_not_fit_into_the_queue_is_told_to_the_turn_that_is_steered() {
    let mut script = configured(json!({"messages": {"queue": {"mode": "steer", "cap": 1}}}));
    let key = "agent:main:x";
    create(&mut script, key);
    let no = RunNo(started(&send(&mut script, say("works", key)))[0]);
    for id in ["shortened", "whole"] {
        send(&mut script, say(id, key));
    }
    let heard = format!("{:?}", script.state.steering(no));
    assert!(heard.contains("1 earlier messages did not fit"), "{heard}");
}

/// A turn in the journal.
fn open_run(id: &str, text: String) -> OpenRun {
    let (agent, key, session) = ("main".into(), "agent:main:x".into(), "s".into());
    let (transcript, workspace, run_id) = ("x".into(), "x".into(), id.into());
    OpenRun { run_id, agent, key, session, transcript, workspace, ms: 1, text, is_lost: false }
}

#[test]
fn messages_wait_only_as_far_as_they_can_be_read_again_after_a_kill() {
    let mut script = gateway();
    let key = "agent:main:x";
    create(&mut script, key);
    script.state.journal.open(&open_run("long", "x".repeat(limits::JOURNAL_OPEN_BYTES)));
    let refused = answers(&call(&mut script, "chat.send", say("more", key)));
    assert_eq!((&refused[0]["code"], &refused[0]["retryAfterMs"]), (&json!("UNAVAILABLE"), &json!(1000)));
    script.state.journal.close("long");
    assert!(answers(&send(&mut script, say("more", key)))[0]["status"].is_string());
}

#[test]
fn a_tool_sees_how_sessions_of_its_own_agent_stand_and_of_no_other() {
    let mut script = configured(json!({"agents": {"list": [{"id": "main", "default": true}, {"id": "ops"}]}}));
    let at = script.now().wall_ms;
    for (agent, key) in [("main", "agent:main:x"), ("ops", "agent:ops:x")] {
        script.state.sessions.open(agent, || agent.into()).unwrap().insert(key, Entry::new("s", at));
    }
    let no = RunNo(started(&send(&mut script, say("works", "agent:main:x")))[0]);
    let mut status = |key: &str| {
        let ask = ToolAsk::Ask(Ask::Status { session_key: Some(key.into()) });
        let effects = script.raw(Input::Tool { by: Behalf::Run(no), ticket: 1, ask });
        let reply = effects.into_iter().find_map(|effect| match effect {
            Effect::AnswerTool(_, reply) => Some(format!("{reply:?}")),
            _ => None,
        });
        reply.unwrap()
    };
    assert!(status("x").contains("statusText") && status("agent:main:nobody").contains("Unknown sessionKey"));
    assert!(status("agent:ops:x").contains("belongs to agent ops"), "{}", status("agent:ops:x"));
}

#[test]
fn a_message_that_could_not_be_put_into_its_transcript_stays_in_the_journal() {
    let mut script = Script::new(json!({}));
    let recovered = Done::Recovered(vec![
        open_run("kept", String::new()),
        OpenRun { is_lost: true, ..open_run("lost", String::new()) },
    ]);
    script.raw(Input::Stored { then: Then::Sessions, done: recovered });
    let effects = script.raw(Input::Stored { then: Then::Sessions, done: Done::Sessions(Vec::new()) });
    let text = journalled(&effects);
    assert!(text.contains(r#""open":"lost""#) && !text.contains("kept"), "{text}");
}

#[test]
fn a_message_that_was_stopped_before_its_line_was_due_gets_none() {
    let rules = json!({"mode": "followup", "cap": 1, "drop": "summarize", "debounceMs": 0});
    let mut script = configured(json!({"messages": {"queue": rules}}));
    let key = "agent:main:new";
    let (_, first) = job(call(&mut script, "chat.send", say("first", key)));
    send(&mut script, say("next", key));
    let told = answers(&call(&mut script, "chat.abort", json!({"sessionKey": key, "runId": "first"})));
    assert_eq!(told[0]["runIds"], json!(["first"]), "{told:?}");
    let effects = stored(&mut script, first, Done::Written(Ok(())));
    assert_eq!((journalled(&effects).as_str(), started(&effects).len()), ("", 1));
}

#[test]
fn a_message_that_could_not_be_saved_holds_up_neither_who_waits_for_it_nor_the_end_of_the_gateway() {
    let mut script = gateway();
    let (_, then) = job(call(&mut script, "agent", say("new", "agent:main:new")));
    call(&mut script, "agent.wait", json!({"runId": "new"}));
    script.raw(Input::Signal(Signal::Terminate));
    let gone = script.raw(Input::Closed { conn: ConnId(1), why: Ended::ByPeer(1000) });
    let exits = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Exit));
    assert!(!exits(&gone), "the disk has not answered");
    let effects = stored(&mut script, then, Done::Written(Err("full".into())));
    assert!(
        exits(&effects) && answers(&effects).iter().any(|told| told["runId"] == "new" && told["status"] == "error")
    );
}

#[test]
fn only_what_the_end_of_the_gateway_kept_from_being_heard_comes_back() {
    let key = "agent:main:new";
    for (aborted, done) in [(false, 0), (true, 1)] {
        let mut script = gateway();
        let (_, then) = job(call(&mut script, "agent", say("new", key)));
        if aborted {
            call(&mut script, "chat.abort", json!({"sessionKey": key}));
        }
        script.raw(Input::Signal(Signal::Terminate));
        let (_, then) = job(stored(&mut script, then, Done::Written(Ok(()))));
        let effects = stored(&mut script, then, Done::Written(Ok(())));
        let written = effects.iter().filter(|effect| matches!(effect, Effect::Disk(Job::Journal(..), _))).count();
        assert!(written == done && script.state.runs.is_empty(), "{aborted}");
    }
}
