//! Behaviour of the pure core, told as scripts.

use std::time::Duration;

use super::broadcast::Reach;
use super::event::{Class, ConnId, Effect, Ended, Inbound, Input, Timer, Violation};
use super::script::{Did, Script, answer, events, hello, request};
use crate::limits;
use crate::sys::signals::Signal;

fn gateway() -> Script {
    Script::new(json!({}))
}

#[test]
fn greets_with_a_challenge_and_then_with_hello_ok() {
    let mut script = gateway();
    let opened = script.open(1);
    let challenge = answer(&opened, 1);
    assert_eq!(challenge["event"], "connect.challenge");
    assert!(challenge.get("seq").is_none() && challenge["payload"]["nonce"].is_string());
    let did = script.connect(1, hello(4));
    let admitted = did.iter().position(|did| *did == Did::Admitted(1)).unwrap();
    let sent = did.iter().position(|did| matches!(did, Did::Sent(1, _))).unwrap();
    assert!(admitted < sent, "the reader must know its limits before the client can use them");
    assert_eq!(answer(&did, 1)["payload"]["protocol"], 4);
    assert_eq!(events(&did), ["presence"]);
}

#[test]
fn numbers_events_per_connection_from_one() {
    let mut script = gateway();
    script.join(1, 3);
    script.wait(Duration::from_secs(1));
    let did = script.join(2, 4);
    let Some(Did::Broadcast(_, _, to)) = did.iter().find(|did| matches!(did, Did::Broadcast(..))) else {
        panic!("no broadcast: {did:?}")
    };
    assert_eq!(to, &[(1, 2), (2, 1)]);
}

#[test]
fn nothing_that_waits_for_the_disk_is_acknowledged_by_a_second_call() {
    let mut script = gateway();
    script.join(1, 3);
    let params = json!({"nodeId": "n1"});
    let full = |_: &[String]| Err("No space left on device".to_string());
    let first = script.feed_with(request(1, "node.pair.request", params.clone()), full);
    assert_eq!(answer(&first, 1)["ok"], false);
    script.feed_with(Input::Timer(Timer::Sweep), full);
    let again = script.feed_with(request(1, "node.pair.request", params.clone()), full);
    assert_eq!(answer(&again, 1)["ok"], false, "it is not on disk");
    let saved = script.feed(request(1, "node.pair.request", params));
    assert_eq!(answer(&saved, 1)["ok"], true);
    assert!(saved.iter().any(|did| matches!(did, Did::Wrote(_))), "{saved:?}");
}

#[test]
fn chosen_followers_lose_only_what_the_table_lets_slow_clients_miss() {
    let mut script = gateway();
    script.join(1, 4);
    let mut class = |name: &str| {
        let mut fx = Vec::new();
        script.state.tell(&[ConnId(1)], name, "{}", Reach::Numbered, &mut fx);
        let [Effect::Broadcast { class, .. }] = fx.as_slice() else { panic!("{name} was not sent") };
        *class
    };
    assert_eq!(class("session.message"), Class::Required);
    assert_eq!(class("sessions.changed"), Class::Droppable);
}

#[test]
fn a_lockout_ends_on_time_when_the_clock_is_set_back() {
    let mut script = Script::new(json!({"gateway": {"auth": {"rateLimit": {"exemptLoopback": false}}}}));
    let with_token = |token: &str| {
        let mut params = hello(4);
        params["auth"] = json!({"token": token});
        params
    };
    let code = |script: &mut Script, conn: u64, token: &str| {
        script.open(conn);
        let answer = answer(&script.connect(conn, with_token(token)), conn);
        answer["error"]["details"]["code"].as_str().unwrap_or("none").to_string()
    };
    for conn in 1..=10 {
        assert_eq!(code(&mut script, conn, "wrong"), "AUTH_TOKEN_MISMATCH");
    }
    assert_eq!(code(&mut script, 11, "wrong"), "AUTH_RATE_LIMITED");
    script.set_clock(script.now().wall_ms - 86_400_000);
    script.wait(limits::LOGIN_LOCKOUT);
    assert_eq!(code(&mut script, 12, "wrong"), "AUTH_TOKEN_MISMATCH");
}

#[test]
fn a_flood_of_arrivals_causes_few_presence_broadcasts() {
    let mut script = gateway();
    let count = |did: &[Did]| events(did).iter().filter(|name| **name == "presence").count();
    let during: usize = (1..=100).map(|conn| count(&script.join(conn, 4))).sum();
    assert_eq!(during, 1, "the first at once, the others held back");
    script.wait(limits::PRESENCE_INTERVAL);
    assert_eq!(count(&script.timer(Timer::Presence)), 1);
    script.wait(limits::PRESENCE_INTERVAL);
    assert_eq!(count(&script.leave(1)), 1, "quiet again: at once");
}

#[test]
fn a_request_before_connect_is_answered_and_closed() {
    let mut script = gateway();
    script.open(1);
    let did = script.call(1, "health", json!({}));
    let text = "invalid handshake: first request must be connect";
    assert_eq!(answer(&did, 1)["error"]["message"], text);
    assert!(did.contains(&Did::Closed(1, 1008, text.into())));
}

#[test]
fn nothing_is_answered_after_the_close_frame() {
    let mut script = gateway();
    script.open(1);
    let fatal = Input::Frame { conn: ConnId(1), frame: Inbound::Fatal(Violation::FirstNotJson) };
    assert_eq!(script.feed(fatal), [Did::Closed(1, 1000, String::new())]);
    assert_eq!(script.call(1, "health", json!({})), []);
    assert_eq!(script.connect(1, hello(4)), []);
    script.leave(1);
    assert_eq!(script.call(1, "health", json!({})), [], "a late frame of a closed connection");
}

#[test]
fn every_request_gets_exactly_one_answer() {
    let mut script = gateway();
    script.join(1, 4);
    for (method, ok) in
        [("health", true), ("no.such", false), ("connect", false), ("node.describe", false), ("status", true)]
    {
        let did = script.call(1, method, json!({}));
        assert_eq!(answer(&did, 1)["ok"], ok, "{method}");
    }
}

#[test]
fn a_handshake_that_takes_too_long_is_closed_and_a_finished_one_is_not() {
    let mut script = gateway();
    script.open(1);
    script.join(2, 4);
    script.wait(limits::HANDSHAKE);
    assert_eq!(script.timer(Timer::Handshake), [Did::Closed(1, 1000, String::new())]);
}

#[test]
fn who_does_not_answer_a_ping_is_gone() {
    let mut script = gateway();
    script.join(1, 4);
    script.join(2, 4);
    let pinged = script.timer(Timer::Ping);
    assert_eq!(pinged, [Did::Pinged(1), Did::Pinged(2)]);
    script.feed(Input::Alive(ConnId(1)));
    let did = script.timer(Timer::Ping);
    assert_eq!(did, [Did::Closed(2, 1001, "ping timeout".into()), Did::Pinged(1)]);
}

#[test]
fn tells_everyone_before_it_stops_and_leaves_with_the_last() {
    let mut script = gateway();
    script.join(1, 3);
    script.join(2, 4);
    let did = script.feed(Input::Signal(Signal::Terminate));
    let told = did.iter().position(|did| matches!(did, Did::Broadcast(name, ..) if name == "shutdown")).unwrap();
    let closed = did.iter().position(|did| *did == Did::Closed(1, 1012, "service restart".into())).unwrap();
    assert!(told < closed, "{did:?}");
    assert_eq!(script.leave(1), []);
    assert_eq!(script.leave(2), [Did::Exit]);
}

#[test]
fn a_second_signal_does_not_wait() {
    let mut script = gateway();
    script.join(1, 4);
    script.feed(Input::Signal(Signal::Terminate));
    assert_eq!(script.feed(Input::Signal(Signal::Terminate)), [Did::Exit]);
}

#[test]
fn a_pairing_change_is_on_disk_before_it_is_acknowledged() {
    let mut script = gateway();
    script.join(1, 3);
    let did = script.call(1, "node.pair.request", json!({"nodeId": "n1", "commands": ["system.run"]}));
    let wrote = did.iter().position(|did| matches!(did, Did::Wrote(_))).unwrap();
    let replied = did.iter().position(|did| matches!(did, Did::Sent(..))).unwrap();
    assert!(wrote < replied, "{did:?}");
    assert_eq!(events(&did), ["node.pair.requested"]);
}

#[test]
fn a_full_disk_is_an_error_and_not_an_acknowledgement() {
    let mut script = gateway();
    script.join(1, 3);
    let ask = request(1, "node.pair.request", json!({"nodeId": "n1"}));
    let did = script.feed_with(ask, |_| Err("no space left".into()));
    let frame = answer(&did, 1);
    assert_eq!((frame["ok"].clone(), frame["error"]["code"].clone()), (json!(false), json!("UNAVAILABLE")));
    assert_eq!(events(&did), [""; 0], "nobody hears of what is not saved");
    let later = script.timer(Timer::Sweep);
    assert!(later.iter().any(|did| matches!(did, Did::Wrote(names) if names.contains(&"pending.json".into()))));
}

#[test]
fn a_node_that_keeps_trying_is_shown_out() {
    let mut script = gateway();
    script.open(1);
    let mut params = hello(4);
    params["role"] = json!("node");
    params["client"]["mode"] = json!("node");
    params["scopes"] = json!([]);
    script.connect(1, params);
    for _ in 0..limits::UNAUTHORIZED_IN_A_ROW {
        let did = script.call(1, "config.get", json!({}));
        assert_eq!(answer(&did, 1)["error"]["message"], "unauthorized role: node");
    }
    let last = script.call(1, "config.get", json!({}));
    assert!(last.contains(&Did::Closed(1, 1008, "repeated unauthorized calls".into())));
}

#[test]
fn a_missing_scope_is_named_in_the_words_of_each_protocol() {
    for (protocol, code) in [(3, "INVALID_REQUEST"), (4, "FORBIDDEN")] {
        let mut script = gateway();
        script.open(1);
        let mut params = hello(protocol);
        params["scopes"] = json!(["operator.read"]);
        script.connect(1, params);
        let error = answer(&script.call(1, "set-heartbeats", json!({"enabled": false})), 1)["error"].clone();
        assert_eq!(
            (error["code"].as_str(), error["message"].as_str()),
            (Some(code), Some("missing scope: operator.admin"))
        );
        assert_eq!(error["details"]["missingScope"], "operator.admin");
    }
}

#[test]
fn a_lost_connection_leaves_the_state_as_it_was() {
    let mut script = gateway();
    for conn in 1..=50 {
        script.join(conn, 4);
    }
    for conn in 1..=50 {
        script.feed(Input::Closed { conn: ConnId(conn), why: Ended::Lost });
    }
    assert!(script.state.conns.is_empty());
    script.wait(limits::PRESENCE_AGE + Duration::from_secs(1));
    script.timer(Timer::Sweep);
    assert!(script.state.presence.is_empty(), "entries of those who left are forgotten in time");
}

#[test]
fn one_connection_cannot_fill_the_disk_threads_queue() {
    let mut script = gateway();
    script.join(1, 4);
    let refused = |did: &[Did]| did.iter().any(|did| matches!(did, Did::Sent(1, frame) if frame["ok"] == false));
    let asked: Vec<bool> =
        (0..=limits::READS_PER_CONNECTION).map(|_| refused(&script.call(1, "logs.tail", json!({})))).collect();
    assert!(asked[..limits::READS_PER_CONNECTION].iter().all(|refused| !refused));
    assert!(asked[limits::READS_PER_CONNECTION], "the one too many is told to wait");
}
