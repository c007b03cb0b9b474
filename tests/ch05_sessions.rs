//! Chapter 5: which session a message belongs to, when a conversation is over, and how it stays within the model's
//! context (`spec/agent.md` 8, 9, 22).

use serde_json::{Value, json};

use crate::ch05_agent::{begin, begin_with, chat, texts};
use crate::harness::gateway::{Gateway, Home, Setup};
use crate::harness::peer::{Hello, Peer};
use crate::harness::upstream::{Act, Upstream};

fn start(upstream: &Upstream, more: &str) -> Gateway {
    Setup::new().config(&upstream.config(more)).start()
}

#[test]
fn a_message_to_somebody_gets_the_session_the_scope_says() {
    let upstream = Upstream::play(vec![]);
    for (scope, key) in [
        ("main", "agent:main:main"),
        ("per-peer", "agent:main:direct:+15550001"),
        ("per-channel-peer", "agent:main:telegram:direct:+15550001"),
        ("per-account-channel-peer", "agent:main:telegram:work:direct:+15550001"),
    ] {
        let gateway = start(&upstream, &format!(", session: {{dmScope: \"{scope}\"}}"));
        let mut peer = Peer::connect(&gateway, &Hello::v3());
        let params = json!({"message": "hi", "idempotencyKey": "a", "to": "+15550001", "channel": "telegram",
            "accountId": "work"});
        let id = begin_with(&mut peer, params);
        assert_eq!(peer.response(&id)["ok"], true);
        let rows = peer.get("sessions.list", json!({}));
        assert_eq!(rows["sessions"][0]["key"], key, "{rows}");
        let group = json!({"message": "hi", "idempotencyKey": "g", "groupId": "-100", "channel": "telegram"});
        let id = begin_with(&mut peer, group);
        peer.response(&id);
        let rows = peer.get("sessions.list", json!({}));
        assert_eq!(rows["sessions"][0]["key"], "agent:main:telegram:group:-100", "{rows}");
    }
}

#[test]
fn a_conversation_that_is_over_gives_way_to_a_new_one() {
    let upstream = Upstream::play(vec![]);
    let home = Home::new();
    let folder = home.state("agents/main/sessions");
    std::fs::create_dir_all(&folder).unwrap();
    let index =
        json!({"agent:main:main": {"sessionId": "yesterday", "updatedAt": 1_700_000_000_000_u64, "label": "L"}});
    std::fs::write(folder.join("sessions.json"), index.to_string()).unwrap();
    let gateway = Setup::new().home(home).config(&upstream.config("")).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let id = begin_with(&mut peer, json!({"message": "hi", "idempotencyKey": "a", "sessionKey": "main"}));
    peer.response(&id);
    let of = |peer: &mut Peer| peer.get("sessions.describe", json!({"key": "main"}))["session"].clone();
    assert_eq!(of(&mut peer)["sessionId"], "yesterday", "an explicit key goes on with what there is");
    drop(peer);
    let (_, home) = gateway.stop();
    std::fs::write(home.state("agents/main/sessions/sessions.json"), index.to_string()).unwrap();
    let gateway = Setup::new().home(home).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    peer.get("chat.send", json!({"sessionKey": "main", "message": "good morning", "idempotencyKey": "b"}));
    chat(&mut peer, "b", "final");
    let row = of(&mut peer);
    assert!(row["sessionId"] != "yesterday" && row["label"] == "L", "{row}");
    assert_eq!(texts(&peer.get("chat.history", json!({"sessionKey": "main"}))), ["good morning", "done"]);
}

#[test]
fn a_session_that_must_not_be_spoken_to_refuses() {
    let upstream = Upstream::play(vec![]);
    let policy = ", session: {sendPolicy: {rules: [{action: \"deny\", match: {keyPrefix: \"quiet\"}}]}}";
    let gateway = start(&upstream, policy);
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let blocked = peer.call("agent", json!({"message": "hi", "idempotencyKey": "a", "sessionKey": "quiet-place"}));
    assert_eq!(blocked["error"]["message"], "send blocked by session policy");
    let id = begin(&mut peer, "hi", "b");
    assert_eq!(peer.response(&id)["ok"], true);
}

#[test]
fn a_long_conversation_is_summarised_before_it_does_not_fit() {
    let script = vec![Act::Say(&["noted"]), Act::Say(&["SUMMARY OF IT"]), Act::Say(&["going on"])];
    let upstream = Upstream::play(script);
    let small = upstream.config(", tools: {deny: [\"*\"]}").replace("100000", "4000");
    let gateway = Setup::new().config(&small).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let long = "word ".repeat(4000);
    let id = begin(&mut peer, &long, "a");
    peer.response(&id);
    upstream.asked();
    let id = begin(&mut peer, "and now", "b");
    peer.event_where("agent", |p| p["stream"] == "compaction" && p["data"]["phase"] == "end");
    assert_eq!(peer.response(&id)["payload"]["result"]["payloads"][0]["text"], "going on");
    let summarising = upstream.asked();
    assert!(summarising["messages"][0]["content"].as_str().unwrap().contains("memory of a conversation"));
    let asked = upstream.asked()["messages"].to_string();
    assert!(asked.contains("SUMMARY OF IT") && asked.contains("and now") && !asked.contains("word word"), "{asked}");
    peer.get("chat.send", json!({"sessionKey": "main", "message": "/status", "idempotencyKey": "s"}));
    assert!(chat(&mut peer, "s", "final").to_string().contains("Compactions: 1"));
    let shown = peer.get("chat.history", json!({"sessionKey": "main"}));
    let marks = |message: &&Value| message["__openclaw"]["kind"] == "compaction";
    assert_eq!(shown["messages"].as_array().unwrap().iter().filter(marks).count(), 1);
}

#[test]
fn an_answer_that_cannot_be_delivered_is_said_to_be_so() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream, "");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let ask = |more: Value| {
        let mut params = json!({"message": "hi", "deliver": true});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    let id = begin_with(&mut peer, ask(json!({"idempotencyKey": "a"})));
    let done = peer.response(&id)["payload"]["result"].clone();
    assert_eq!(done["payloads"][0]["text"], "done");
    assert_eq!(done["deliveryStatus"]["status"], "failed", "{done}");
    for (more, code, text) in [
        (json!({"sessionKey": "side"}), "INVALID_REQUEST", "delivery channel is required: pass --channel"),
        (json!({"channel": "telegram"}), "NOT_LINKED", "channel is not linked: telegram"),
    ] {
        let mut params = ask(more);
        params["idempotencyKey"] = json!(code);
        let refused = peer.call("agent", params);
        assert_eq!(refused["error"]["code"], code, "{refused}");
        assert!(refused["error"]["message"].as_str().unwrap().starts_with(text), "{refused}");
    }
}

#[test]
fn a_transcript_with_a_torn_tail_is_read_and_goes_on() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream, "");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let id = begin(&mut peer, "one", "a");
    peer.response(&id);
    let session = peer.get("sessions.describe", json!({"key": "main"}))["session"]["sessionId"].clone();
    drop(peer);
    let (_, home) = gateway.stop();
    let path = home.state("agents/main/sessions").join(format!("{}.jsonl", session.as_str().unwrap()));
    let mut text = std::fs::read(&path).unwrap();
    text.extend(br#"{"type":"message","id":"0badc0de","parentId":null,"mess"#);
    std::fs::write(&path, text).unwrap();
    let gateway = Setup::new().home(home).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    assert_eq!(texts(&peer.get("chat.history", json!({"sessionKey": "main"}))), ["one", "done"]);
    let id = begin(&mut peer, "two", "b");
    peer.response(&id);
    assert_eq!(texts(&peer.get("chat.history", json!({"sessionKey": "main"}))), ["one", "done", "two", "done"]);
    upstream.asked();
    assert!(upstream.asked()["messages"].to_string().contains("one"));
}

#[test]
fn what_another_program_writes_into_the_index_stays() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream, "");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    for key in ["agent:main:ours", "agent:main:gone"] {
        assert_eq!(peer.get("sessions.create", json!({"key": key}))["ok"], true);
    }
    let file = gateway.home().state("agents/main/sessions/sessions.json");
    let read = || serde_json::from_slice::<Value>(&std::fs::read(&file).unwrap()).unwrap();
    let mut index = read();
    let at = index["agent:main:ours"]["updatedAt"].as_u64().unwrap();
    index["agent:main:local"] = json!({"sessionId": "local", "updatedAt": at, "novel": [1]});
    std::fs::write(&file, index.to_string()).unwrap();
    assert_eq!(peer.get("sessions.delete", json!({"key": "agent:main:gone"}))["deleted"], true);
    assert_eq!(read()["agent:main:local"], index["agent:main:local"]);
    let mut shown = Vec::new();
    for row in peer.get("sessions.list", json!({}))["sessions"].as_array().unwrap() {
        shown.push(row["key"].as_str().unwrap().to_string());
    }
    assert!(
        shown.contains(&"agent:main:local".to_string()) && !shown.contains(&"agent:main:gone".to_string()),
        "{shown:?}"
    );
    peer.get("sessions.patch", json!({"key": "agent:main:local", "label": "L"}));
    assert_eq!((&read()["agent:main:local"]["novel"], &read()["agent:main:gone"]), (&json!([1]), &Value::Null));
}
