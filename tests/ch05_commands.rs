//! Chapter 5: what a person types with a slash (`spec/agent.md` 12): each command does its thing.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::ch05_agent::{chat, texts};
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::peer::{Hello, Peer};
use crate::harness::upstream::{Act, Upstream};

fn start(upstream: &Upstream, more: &str) -> Gateway {
    Setup::new().config(&upstream.config(more)).start()
}

/// Sends a message and waits for the text of its end.
fn say(peer: &mut Peer, text: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let key = format!("k{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let answer = peer.get("chat.send", json!({"sessionKey": "main", "message": text, "idempotencyKey": key}));
    assert_eq!(answer["status"], "started", "{answer}");
    chat(peer, &key, "final")["payload"]["message"]["content"][0]["text"].as_str().unwrap_or_default().to_string()
}

fn row(peer: &mut Peer) -> Value {
    peer.get("sessions.describe", json!({"key": "main"}))["session"].clone()
}

#[test]
fn the_list_fits_the_official_schema_and_every_command_answers() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream, "");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let commands = peer.get("commands.list", json!({"scope": "text"}))["commands"].clone();
    assert!(commands.as_array().unwrap().iter().all(|row| row["source"] == "native" && row["scope"] == "text"));
    assert_eq!(peer.get("commands.list", json!({"scope": "native"}))["commands"], json!([]));
    let names: Vec<&str> = commands.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"compact") && !names.contains(&"activation"), "{names:?}");
    let quiet = ["new", "stop", "compact"];
    for name in names.iter().filter(|name| !quiet.contains(name)) {
        let words = say(&mut peer, &format!("/{name}"));
        assert!(!words.is_empty() && !words.contains("not known"), "/{name}: {words}");
    }
    assert!(say(&mut peer, "/whoami ").contains("may use commands"));
    assert!(!upstream.asked_more());
}

#[test]
fn a_conversation_is_summarised_on_request() {
    let upstream = Upstream::play(vec![Act::Say(&["noted"]), Act::Say(&["A SUMMARY"]), Act::Say(&["yes"])]);
    let gateway = start(&upstream, "");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    assert!(say(&mut peer, "/compact").contains("nothing to summarise"));
    say(&mut peer, &"word ".repeat(3000));
    upstream.asked();
    let words = say(&mut peer, "/compact the names");
    assert!(words.contains("is summarised"), "{words}");
    assert!(upstream.asked()["messages"].to_string().contains("mind this: the names"));
    say(&mut peer, "and now?");
    let asked = upstream.asked()["messages"].to_string();
    assert!(asked.contains("A SUMMARY") && !asked.contains("word word"), "{asked}");
    assert!(say(&mut peer, "/status").contains("Compactions: 1"));
}

#[test]
fn a_command_is_approved_by_typing() {
    let script = vec![Act::Call("exec", json!({"command": "/usr/bin/env"})), Act::Say(&["it ran"])];
    let upstream = Upstream::play(script);
    let gateway = start(&upstream, ", tools: {exec: {security: \"allowlist\", ask: \"always\", host: \"gateway\"}}");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    peer.get("chat.send", json!({"sessionKey": "main", "message": "go", "idempotencyKey": "r"}));
    let id = peer.event("exec.approval.requested")["payload"]["id"].as_str().unwrap().to_string();
    assert!(say(&mut peer, "/approve ghost allow-once").contains("No command waits"));
    assert!(say(&mut peer, &format!("/approve {id} perhaps")).contains("Write /approve"));
    let mut reader = Peer::connect(&gateway, &Hello::v4().scopes(&["operator.write"]));
    assert!(say(&mut reader, &format!("/approve {id} deny")).contains("may not decide"));
    assert!(say(&mut peer, &format!("/approve {} once", &id[..8])).contains("allow-once"));
    assert_eq!(peer.event("exec.approval.resolved")["payload"]["decision"], "allow-once");
    assert_eq!(chat(&mut peer, "r", "final")["payload"]["message"]["content"][0]["text"], "it ran");
}

#[test]
fn figures_and_thoughts_stand_around_an_answer_and_not_in_the_transcript() {
    const THOUGHT: &[u8] = b"data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hmm\"}}]}\n\n\
        data: {\"choices\":[{\"delta\":{\"content\":\"so\"}}]}\n\n\
        data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let upstream = Upstream::play(vec![Act::Say(&["plain"]), Act::Raw(THOUGHT), Act::Raw(THOUGHT)]);
    let gateway = start(&upstream, "");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    assert_eq!(say(&mut peer, "/usage tokens"), "Usage footer: tokens.");
    assert_eq!(say(&mut peer, "hi"), "plain\n\nUsage: 10 in, 2 out");
    say(&mut peer, "/usage off");
    say(&mut peer, "/reasoning on");
    assert_eq!(say(&mut peer, "think"), "Reasoning:\nhmm\n\nso");
    let history = texts(&peer.get("chat.history", json!({"sessionKey": "main"})));
    assert!(history.contains(&"plain".to_string()), "{history:?}");
    peer.get("chat.send", json!({"sessionKey": "main", "message": "/reasoning stream go on", "idempotencyKey": "s"}));
    let told = peer.event_where("agent", |p| p["stream"] == "thinking");
    assert_eq!(told["payload"]["data"], json!({"text": "hmm", "delta": "hmm"}));
    assert_eq!(chat(&mut peer, "s", "final")["payload"]["message"]["content"][0]["text"], "so");
}

#[test]
fn models_are_chosen_by_name_number_and_alias() {
    let upstream = Upstream::play(vec![]);
    let config = upstream
        .config("")
        .replace("model: \"up/m\"", "model: \"up/m\", models: {\"up/m\": {alias: \"quick\"}, \"up/big\": {}}");
    let config =
        config.replace("input: [\"text\"]}", "input: [\"text\"]}, {id: \"big\", name: \"Big\", contextWindow: 9000}");
    let gateway = Setup::new().config(&config).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    assert_eq!(say(&mut peer, "/model big"), "Model set to up/big.");
    assert!(say(&mut peer, "/status").contains("of 9k"));
    assert_eq!(say(&mut peer, "/quick"), "Model set to up/m.");
    assert_eq!(say(&mut peer, "/model 2"), "Model set to up/big.");
    assert!(say(&mut peer, "/models up").contains("2. up/big") && !say(&mut peer, "/models other").contains("up/m"));
    assert!(say(&mut peer, "/model nowhere/x").contains("not allowed"));
    say(&mut peer, "/model default");
    assert_eq!(say(&mut peer, "hello"), "done");
    assert_eq!(upstream.asked()["model"], "m");
    say(&mut peer, "/new big");
    let greeting = upstream.asked();
    assert_eq!(greeting["model"], "big");
    assert!(greeting["messages"].to_string().contains("Greet the user"));
    assert!(say(&mut peer, "/status ").contains("(key: configuration, ***)"));
}

#[test]
fn switches_persist_alone_and_hold_for_one_turn_in_a_message() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream, "");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    assert_eq!(say(&mut peer, "/think high /verbose on"), "Thinking: high.\nVerbose: on.");
    let kept = row(&mut peer);
    assert_eq!((&kept["thinkingLevel"], &kept["verboseLevel"]), (&json!("high"), &json!("on")));
    say(&mut peer, "/think low what is it");
    assert!(upstream.asked()["messages"].to_string().contains("what is it"));
    assert_eq!(row(&mut peer)["thinkingLevel"], "high");
    say(&mut peer, "/send off");
    let refused = peer.call("chat.send", json!({"sessionKey": "main", "message": "x", "idempotencyKey": "x"}));
    assert_eq!(refused["error"]["message"], "send blocked by session policy");
    say(&mut peer, "/send on");
    assert_eq!(say(&mut peer, "hello"), "done");
}

#[test]
fn stop_ends_the_turn_and_everything_that_waits() {
    let upstream = Upstream::play(vec![Act::SayAndHang(&["long"])]);
    let gateway = start(&upstream, "");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    for key in ["a", "b", "c"] {
        peer.get("chat.send", json!({"sessionKey": "main", "message": key, "idempotencyKey": key}));
    }
    upstream.asked();
    let stopped = peer.get("chat.send", json!({"sessionKey": "main", "message": "/stop", "idempotencyKey": "s"}));
    assert_eq!(stopped["runIds"], json!(["a", "b", "c"]));
    for key in ["a", "b", "c"] {
        assert_eq!(chat(&mut peer, key, "aborted")["payload"]["stopReason"], "stop");
    }
    assert_eq!(say(&mut peer, "go on"), "done");
}
