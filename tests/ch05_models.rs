//! Chapter 5: model servers that refuse, hang, break off or talk nonsense, and what is remembered of them
//! (`spec/agent.md` 22, 23): a typed error in time, a session that goes on, a transcript that can be read.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::ch05_agent::{begin, begin_with, chat, texts};
use crate::harness::gateway::{Gateway, Home, Setup};
use crate::harness::peer::{Hello, Peer};
use crate::harness::upstream::{Act, Upstream};

fn start(upstream: &Upstream) -> Gateway {
    Setup::new().config(&upstream.config("")).start()
}

/// The second answer of a turn.
fn turn(peer: &mut Peer, message: &str, key: &str) -> Value {
    let id = begin(peer, message, key);
    peer.response(&id)
}

fn text_of(answer: &Value) -> &str {
    answer["payload"]["result"]["payloads"][0]["text"].as_str().unwrap_or_default()
}

/// The session answers again, and its transcript reads.
fn goes_on(peer: &mut Peer, key: &str) {
    let again = turn(peer, "and now?", key);
    assert_eq!(text_of(&again), "done", "{again}");
    let history = texts(&peer.get("chat.history", json!({"sessionKey": "main"})));
    assert_eq!(history.last().map(String::as_str), Some("done"), "{history:?}");
}

/// One data line of a stream with this delta.
fn line(delta: &Value) -> String {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": delta}]}))
}

#[test]
fn every_fault_is_a_typed_error_in_time_and_the_session_goes_on() {
    for (at, (act, reason)) in [
        (Act::Refuse(401, "", r#"{"error":{"message":"bad key"}}"#), "auth"),
        (Act::Refuse(404, "", r#"{"error":{"message":"no such model"}}"#), "not_found"),
        (Act::Refuse(402, "", r#"{"error":{"message":"insufficient credits"}}"#), "billing"),
        (Act::Refuse(429, "retry-after: 90\r\n", r#"{"error":{"message":"slow down"}}"#), "rate_limit"),
        (Act::Raw(b"data: {not json\n\n"), "protocol"),
        (Act::Raw(b"data: \xff\xfe\n\n"), "protocol"),
        (Act::SayAndCut(&["half"]), "network"),
    ]
    .into_iter()
    .enumerate()
    {
        let upstream = Upstream::play(vec![act]);
        let gateway = start(&upstream);
        let mut peer = Peer::connect(&gateway, &Hello::v4());
        let began = Instant::now();
        let failed = turn(&mut peer, "hi", &format!("r{at}"));
        assert_eq!((&failed["ok"], &failed["payload"]["status"]), (&json!(false), &json!("error")), "{failed}");
        assert_eq!(failed["error"]["code"], "UNAVAILABLE", "{failed}");
        let found = failed["error"]["details"]["reason"].as_str().unwrap();
        assert!(found == reason || (reason == "network" && found == "protocol"), "{reason}: {failed}");
        assert!(failed["error"]["retryable"].is_boolean() && began.elapsed() < Duration::from_secs(9), "{failed}");
        if reason == "rate_limit" {
            assert_eq!(failed["error"]["retryAfterMs"], 90_000, "{failed}");
        }
        assert!(chat(&mut peer, &format!("r{at}"), "error")["payload"]["errorMessage"].is_string());
        goes_on(&mut peer, &format!("g{at}"));
    }
}

#[test]
fn passing_trouble_is_waited_for() {
    let slow = Act::Refuse(429, "retry-after: 1\r\n", r#"{"error":{"message":"slow down"}}"#);
    let upstream = Upstream::play(vec![slow, Act::Refuse(500, "", "oops"), Act::Say(&["at last"])]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let answer = turn(&mut peer, "hi", "r");
    assert_eq!(text_of(&answer), "at last", "{answer}");
    let upstream = Upstream::play((0..3).map(|_| Act::Refuse(500, "", "oops")).collect());
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let failed = turn(&mut peer, "hi", "r");
    assert_eq!(
        (&failed["error"]["details"]["reason"], &failed["error"]["retryable"]),
        (&json!("server"), &json!(true))
    );
    goes_on(&mut peer, "g");
}

#[test]
fn a_server_that_says_nothing_ends_in_agent_timeout() {
    let upstream = Upstream::play(vec![Act::Hang]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let id = begin_with(&mut peer, json!({"message": "hi", "idempotencyKey": "r", "timeout": 1}));
    let failed = peer.response(&id);
    assert_eq!(failed["error"]["code"], "AGENT_TIMEOUT", "{failed}");
    assert!(failed["payload"]["summary"].as_str().unwrap().starts_with("agent timed out after 1"), "{failed}");
    upstream.hung_up();
    goes_on(&mut peer, "g");
}

#[test]
fn a_tool_call_may_come_in_any_pieces() {
    let arguments = json!({"command": "printf 'h\u{e9} \\360\\237\\230\\200'"}).to_string();
    let call = json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "exec", "arguments": ""}});
    let mut stream = line(&json!({"tool_calls": [call]}));
    for piece in arguments.chars() {
        stream += &line(&json!({"tool_calls": [{"index": 0, "function": {"arguments": piece.to_string()}}]}));
    }
    stream += "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n";
    let upstream = Upstream::play(vec![Act::Dribble(stream.into_bytes()), Act::Say(&["it is done"])]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    assert_eq!(text_of(&turn(&mut peer, "hi", "r")), "it is done");
    upstream.asked();
    assert!(upstream.asked()["messages"].to_string().contains("h\u{e9} \u{1f600}"));
}

#[test]
fn a_flood_of_text_is_cut_off_and_told() {
    let upstream = Upstream::play(vec![Act::Flood(100 * 1024 * 1024)]);
    let gateway = Setup::new().slow().config(&upstream.config("")).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    // What the text itself does to a client's queue is not this test's matter.
    peer.forgets_events = true;
    let id = begin(&mut peer, "hi", "r");
    let failed = peer.response(&id);
    assert_eq!(failed["error"]["code"], "UNAVAILABLE", "{}", failed["error"]);
    assert!(failed["error"]["message"].as_str().unwrap().contains("more than"), "{}", failed["error"]);
    goes_on(&mut peer, "g");
}

/// A home whose agent has two accounts at the server.
fn two_accounts(upstream: &Upstream) -> (Home, String) {
    let home = Home::new();
    let folder = home.state("agents/main/agent");
    std::fs::create_dir_all(&folder).unwrap();
    let profile = |key: &str| json!({"type": "api_key", "provider": "up", "key": key});
    let file = json!({"version": 1, "profiles": {"up:a": profile("key-a"), "up:b": profile("key-b")}});
    std::fs::write(folder.join("auth-profiles.json"), file.to_string()).unwrap();
    let order = ", auth: {order: {up: [\"up:a\", \"up:b\"]}}";
    (home, upstream.config(order).replace("apiKey: \"key\", ", ""))
}

#[test]
fn an_account_that_was_refused_pauses_across_runs_and_restarts() {
    let refuse = || Act::Refuse(401, "", r#"{"error":{"message":"bad key"}}"#);
    let upstream = Upstream::play(vec![refuse(), Act::Say(&["from b"]), Act::Say(&["b again"])]);
    let (home, config) = two_accounts(&upstream);
    let gateway = Setup::new().home(home).config(&config).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    assert_eq!(text_of(&turn(&mut peer, "hi", "a")), "from b");
    assert_eq!(text_of(&turn(&mut peer, "hi", "b")), "b again");
    assert_eq!((upstream.key(), upstream.key(), upstream.key()), ("key-a".into(), "key-b".into(), "key-b".into()));
    peer.get("chat.send", json!({"sessionKey": "main", "message": "/status", "idempotencyKey": "s"}));
    assert!(chat(&mut peer, "s", "final").to_string().contains("profile up:b"));
    drop(peer);
    let (_, home) = gateway.stop();
    let file: Value =
        serde_json::from_slice(&std::fs::read(home.state("agents/main/agent/auth-profiles.json")).unwrap()).unwrap();
    assert_eq!((&file["usageStats"]["up:a"]["errorCount"], &file["lastGood"]["up"]), (&json!(1), &json!("up:b")));
    let gateway = Setup::new().home(home).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    assert_eq!(text_of(&turn(&mut peer, "hi", "c")), "done");
    assert_eq!(upstream.key(), "key-b");
}

#[test]
fn a_session_may_name_its_account() {
    let upstream = Upstream::play(vec![]);
    let (home, config) = two_accounts(&upstream);
    let config = config.replace("input: [\"text\"]}", "input: [\"text\"]}, {id: \"n\", name: \"n\"}");
    let gateway = Setup::new().home(home).config(&config).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    peer.get("chat.send", json!({"sessionKey": "main", "message": "/model up/n@up:b", "idempotencyKey": "m"}));
    assert_eq!(text_of(&turn(&mut peer, "hi", "a")), "done");
    assert_eq!(upstream.key(), "key-b");
    let id = begin_with(&mut peer, json!({"message": "hi", "idempotencyKey": "o", "sessionKey": "other"}));
    peer.response(&id);
    assert_eq!(upstream.key(), "key-a");
}

#[test]
fn a_single_account_is_asked_again_however_often_it_refused() {
    let refuse = || Act::Refuse(401, "", r#"{"error":{"message":"bad key"}}"#);
    let upstream = Upstream::play(vec![refuse(), refuse()]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    assert_eq!(turn(&mut peer, "hi", "a")["ok"], false);
    assert_eq!(turn(&mut peer, "hi", "b")["ok"], false);
    goes_on(&mut peer, "c");
}

#[test]
fn a_server_found_on_this_machine_is_remembered() {
    let tags = r#"{"models":[{"name":"tiny"}]}"#;
    let show = r#"{"capabilities":["completion","tools"],"model_info":{"x.context_length":8192}}"#;
    let says = r#"{"message":{"role":"assistant","content":"local"},"done":true,"done_reason":"stop"}"#;
    let answer = |body| Act::Refuse(200, "", body);
    let upstream = Upstream::play(vec![answer(tags), answer(show), answer(says), answer(says)]);
    let gateway = Setup::new()
        .env("OLLAMA_HOST", &format!("127.0.0.1:{}", upstream.port))
        .config("{agents: {defaults: {skipBootstrap: true}}}")
        .start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    assert_eq!(text_of(&turn(&mut peer, "hi", "a")), "local");
    assert_eq!(text_of(&turn(&mut peer, "hi", "b")), "local");
    for expected in [Value::Null, json!("tiny"), json!("tiny"), json!("tiny")] {
        assert_eq!(upstream.asked()["model"], expected);
    }
    assert!(!upstream.asked_more());
    peer.get("chat.send", json!({"sessionKey": "main", "message": "/status", "idempotencyKey": "s"}));
    assert!(chat(&mut peer, "s", "final").to_string().contains("Model: ollama/tiny"));
    let status = peer.get("status", json!({}));
    assert!(status["modelFound"].as_str().is_some_and(|why| why.contains("tiny")), "{status}");
    assert_eq!(status["sessions"]["recent"][0]["model"], "tiny");
    let shown = gateway.cli(&["status"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.lines().any(|line| line.starts_with("│ Model ") && line.contains("found")), "{shown}");
}
