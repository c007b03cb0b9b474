//! Chapter 5: messages that come while a turn runs (`spec/agent.md` 6), and answers of silence.

use serde_json::{Value, json};

use crate::ch05_agent::{begin, chat, texts};
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::peer::{Hello, Peer};
use crate::harness::upstream::{Act, Upstream};

fn start(upstream: &Upstream, queue: &str) -> Gateway {
    Setup::new().config(&upstream.config(&format!(", messages: {{queue: {{{queue}}}}}"))).start()
}

fn say(peer: &mut Peer, text: &str, key: &str) -> Value {
    peer.call("chat.send", json!({"sessionKey": "main", "message": text, "idempotencyKey": key}))
}

fn history(peer: &mut Peer) -> Vec<String> {
    texts(&peer.get("chat.history", json!({"sessionKey": "main"})))
}

/// What the person said in a request to the model.
fn heard(request: &Value) -> Vec<String> {
    let users = request["messages"].as_array().unwrap().iter().filter(|message| message["role"] == "user");
    users.map(|message| message["content"].to_string()).collect()
}

#[test]
fn collected_messages_are_one_turn_and_each_has_its_end() {
    let upstream = Upstream::play(vec![Act::SayWhenTold("first"), Act::Say(&["both"])]);
    let gateway = start(&upstream, "debounceMs: 50");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    for (text, key) in [("one", "a"), ("two", "b"), ("three", "c")] {
        assert_eq!(say(&mut peer, text, key)["payload"]["status"], "started");
    }
    let waiting = peer.send("agent.wait", json!({"runId": "c"}));
    upstream.asked();
    upstream.go();
    chat(&mut peer, "a", "final");
    let together = chat(&mut peer, "b", "final");
    assert_eq!(together["payload"]["message"]["content"][0]["text"], "both");
    assert_eq!(chat(&mut peer, "c", "final")["payload"]["message"], Value::Null);
    assert_eq!(peer.response(&waiting)["payload"]["status"], "ok");
    assert_eq!(heard(&upstream.asked()).len(), 3);
    assert_eq!(history(&mut peer), ["one", "first", "two", "three", "both"]);
    assert_eq!(say(&mut peer, "three", "c")["payload"], json!({"runId": "c", "status": "ok"}), "remembered");
    assert!(!upstream.asked_more());
}

#[test]
fn followups_are_a_turn_each_and_the_session_may_say_so() {
    let upstream = Upstream::play(vec![Act::SayWhenTold("first"), Act::Say(&["second"]), Act::Say(&["third"])]);
    let gateway = start(&upstream, "debounceMs: 10");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let told = say(&mut peer, "/queue followup cap:5", "q");
    assert_eq!(told["payload"]["status"], "started");
    let words = chat(&mut peer, "q", "final")["payload"]["message"]["content"][0]["text"].to_string();
    assert!(words.contains("Queue: followup, wait 10 ms, at most 5, drop summarize."), "{words}");
    for (text, key) in [("one", "a"), ("two", "b"), ("three", "c")] {
        say(&mut peer, text, key);
    }
    upstream.go();
    for (key, text) in [("a", "first"), ("b", "second"), ("c", "third")] {
        assert_eq!(chat(&mut peer, key, "final")["payload"]["message"]["content"][0]["text"], text);
    }
}

#[test]
fn a_steering_message_is_heard_after_the_next_tool() {
    let script = vec![Act::CallWhenTold("exec", json!({"command": "echo one"})), Act::Say(&["as you wish"])];
    let upstream = Upstream::play(script);
    let gateway = start(&upstream, "mode: \"steer\", debounceMs: 0");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    say(&mut peer, "work", "a");
    upstream.asked();
    say(&mut peer, "rather this", "b");
    upstream.go();
    assert_eq!(chat(&mut peer, "a", "final")["payload"]["message"]["content"][0]["text"], "as you wish");
    chat(&mut peer, "b", "final");
    let asked = upstream.asked();
    assert!(heard(&asked).last().unwrap().contains("rather this"), "{asked}");
    assert_eq!(asked["messages"].as_array().unwrap().iter().filter(|message| message["role"] == "tool").count(), 1);
    assert!(!upstream.asked_more());
}

#[test]
fn a_steering_message_that_finds_no_tool_gets_its_own_turn() {
    let upstream = Upstream::play(vec![Act::SayWhenTold("first"), Act::Say(&["second"])]);
    let gateway = start(&upstream, "mode: \"steer\", debounceMs: 0");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    say(&mut peer, "one", "a");
    upstream.asked();
    say(&mut peer, "two", "b");
    upstream.go();
    chat(&mut peer, "a", "final");
    assert_eq!(chat(&mut peer, "b", "final")["payload"]["message"]["content"][0]["text"], "second");
}

#[test]
fn an_interrupting_message_takes_the_place_of_the_running_turn() {
    let upstream = Upstream::play(vec![Act::SayAndHang(&["long"]), Act::Say(&["short"])]);
    let gateway = start(&upstream, "mode: \"abort\"");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    say(&mut peer, "one", "a");
    peer.event_where("agent", |p| p["stream"] == "assistant");
    say(&mut peer, "two", "b");
    assert_eq!(chat(&mut peer, "a", "aborted")["payload"]["stopReason"], "interrupt");
    upstream.hung_up();
    assert_eq!(chat(&mut peer, "b", "final")["payload"]["message"]["content"][0]["text"], "short");
}

#[test]
fn too_many_messages_are_told_shortened_or_refused() {
    let upstream = Upstream::play(vec![Act::SayWhenTold("first"), Act::SayWhenTold("second"), Act::SayWhenTold("x")]);
    let gateway = start(&upstream, "debounceMs: 0, cap: 1");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    for (text, key) in [("one", "a"), ("two long words", "b"), ("three", "c")] {
        say(&mut peer, text, key);
    }
    upstream.asked();
    upstream.go();
    let heard_now = heard(&upstream.asked());
    assert!(heard_now[1].contains("1 earlier messages") && heard_now[1].contains("- two long words"), "{heard_now:?}");
    say(&mut peer, "/queue drop:new", "q");
    say(&mut peer, "four", "d");
    let refused = say(&mut peer, "five", "e");
    assert_eq!((&refused["error"]["code"], &refused["error"]["retryable"]), (&json!("UNAVAILABLE"), &json!(true)));
    say(&mut peer, "/queue drop:old", "q2");
    say(&mut peer, "six", "f");
    assert_eq!(chat(&mut peer, "d", "aborted")["payload"]["stopReason"], "dropped");
    upstream.go();
    chat(&mut peer, "b", "final");
    upstream.go();
    chat(&mut peer, "f", "final");
}

#[test]
fn one_of_several_waiting_messages_can_be_taken_back() {
    let upstream = Upstream::play(vec![Act::SayWhenTold("first"), Act::Say(&["second"])]);
    let gateway = start(&upstream, "debounceMs: 50");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    for (text, key) in [("one", "a"), ("two", "b"), ("three", "c")] {
        say(&mut peer, text, key);
    }
    let taken = peer.get("chat.abort", json!({"sessionKey": "main", "runId": "b"}));
    assert_eq!(taken["runIds"], json!(["b"]));
    chat(&mut peer, "b", "aborted");
    upstream.go();
    assert_eq!(chat(&mut peer, "c", "final")["payload"]["message"]["content"][0]["text"], "second");
    assert_eq!(history(&mut peer), ["one", "first", "three", "second"]);
}

#[test]
fn an_answer_of_silence_is_shown_nowhere() {
    let upstream = Upstream::play(vec![Act::Say(&["NO", "_REPLY"]), Act::Say(&["NO", " way"])]);
    let gateway = start(&upstream, "");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let id = begin(&mut peer, "hush", "r");
    let (mut told, mut last) = (Vec::new(), Value::Null);
    while last.is_null() {
        let frame = peer.frame();
        match frame["event"].as_str() {
            Some("chat" | "agent") => told.push(frame.to_string()),
            _ if frame["id"] == id.as_str() => last = frame,
            _ => {}
        }
    }
    assert_eq!(last["payload"]["result"]["payloads"], json!([]));
    assert!(told.iter().any(|event| event.contains("\"final\"")) && !told.concat().contains("NO"), "{told:?}");
    assert_eq!(history(&mut peer), ["hush"]);
    let id = begin(&mut peer, "speak", "r2");
    assert_eq!(peer.response(&id)["payload"]["result"]["payloads"][0]["text"], "NO way");
    assert!(upstream.asked()["messages"].to_string().contains("hush"));
    assert!(upstream.asked()["messages"].to_string().contains("NO_REPLY"), "the model knows what it said");
}
