//! Chapter 5: heartbeats (`spec/agent.md` 25) over the wire and from the command line, against a model server that
//! answers by script. What takes longer than a second is told as event scripts, under a fake clock.

use std::fs;

use serde_json::{Value, json};

use crate::ch05_agent::{chat, texts};
use crate::harness::gateway::{Gateway, Home, Setup};
use crate::harness::peer::{Hello, Peer};
use crate::harness::upstream::{Act, Upstream};

/// A configuration with this heartbeat.
fn config(upstream: &Upstream, heartbeat: &str) -> String {
    upstream.config("").replace("skipBootstrap: true", &format!("skipBootstrap: true, heartbeat: {{{heartbeat}}}"))
}

fn start(upstream: &Upstream, heartbeat: &str) -> Gateway {
    Setup::new().config(&config(upstream, heartbeat)).start()
}

/// A gateway whose workspace has this file.
fn start_with_file(upstream: &Upstream, heartbeat: &str, text: &str) -> Gateway {
    let home = Home::new();
    let workspace = home.state("workspace");
    fs::create_dir_all(&workspace).unwrap();
    fs::write(workspace.join("HEARTBEAT.md"), text).unwrap();
    Setup::new().home(home).config(&config(upstream, heartbeat)).start()
}

/// What the person, or the gateway in its place, said in a request to the model.
fn heard(request: &Value) -> Vec<String> {
    let users = request["messages"].as_array().unwrap().iter().filter(|message| message["role"] == "user");
    let text = |message: &Value| match &message["content"] {
        Value::String(text) => text.clone(),
        blocks => blocks
            .as_array()
            .unwrap()
            .iter()
            .map(|block| block["text"].as_str().unwrap())
            .collect::<Vec<_>>()
            .join("\n"),
    };
    users.map(text).collect()
}

fn outcome(peer: &mut Peer) -> Value {
    peer.event("heartbeat")["payload"].clone()
}

#[test]
fn an_event_from_the_command_line_wakes_the_agent_at_once() {
    let upstream = Upstream::play(vec![Act::Say(&["**HEARTBEAT_", "OK**"])]);
    let gateway = start(&upstream, "every: \"24h\"");
    let mut peers = [Peer::connect(&gateway, &Hello::v3()), Peer::connect(&gateway, &Hello::v4())];
    let event = gateway.cli_json(&["system", "event", "--text", "the kettle boils", "--mode", "now", "--json"]);
    assert_eq!(event, json!({"ok": true}));
    let asked = heard(&upstream.asked());
    assert_eq!(asked.len(), 1);
    assert!(asked[0].starts_with("System: [") && asked[0].contains("] the kettle boils\n"), "{}", asked[0]);
    assert!(asked[0].contains("HEARTBEAT.md") && asked[0].contains("\nCurrent time: "), "{}", asked[0]);
    for peer in &mut peers {
        let told = outcome(peer);
        let members: Vec<&str> = told.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["durationMs", "indicatorType", "reason", "silent", "status", "ts"]);
        assert_eq!((&told["status"], &told["reason"]), (&json!("ok-token"), &json!("wake")));
        assert_eq!((&told["silent"], &told["indicatorType"]), (&json!(true), &json!("ok")));
        assert_eq!(gateway.cli_json(&["system", "heartbeat", "last", "--json"]), told);
    }
    let history = peers[0].get("chat.history", json!({"sessionKey": "main"}));
    assert!(texts(&history).is_empty(), "{history}");
}

#[test]
fn a_line_for_the_next_heartbeat_waits_for_the_next_turn() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream, "every: \"24h\"");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    assert_eq!(gateway.cli_json(&["system", "event", "--text", "no hurry", "--json"]), json!({"ok": true}));
    assert_eq!(peer.get("status", json!({}))["queuedSystemEvents"], json!(["no hurry"]));
    assert_eq!(peer.get("wake", json!({"mode": "now", "text": "  "})), json!({"ok": false}));
    peer.get("chat.send", json!({"sessionKey": "main", "message": "hi", "idempotencyKey": "k"}));
    let asked = heard(&upstream.asked());
    assert!(asked[0].contains("] no hurry\n") && asked[0].contains(" hi\n"), "{}", asked[0]);
    assert_eq!(peer.get("status", json!({}))["queuedSystemEvents"], json!([]));
}

#[test]
fn the_interval_asks_by_itself_and_only_alerts_are_heard_of() {
    let upstream = Upstream::play(vec![Act::Say(&["HEARTBEAT_OK"]), Act::Say(&["The cellar ", "is wet."])]);
    let gateway = start(&upstream, "every: \"1s\", prompt: \"Look at the cellar.\"");
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let asked = heard(&upstream.asked());
    assert!(asked.len() == 1 && asked[0].starts_with("Look at the cellar.\nCurrent time: "), "{asked:?}");
    assert_eq!(outcome(&mut peer)["status"], "ok-token");
    let shown = peer.event("chat")["payload"].clone();
    assert_eq!((&shown["state"], &shown["sessionKey"]), (&json!("final"), &json!("agent:main:main")));
    assert_eq!(shown["message"]["content"][0]["text"], "The cellar is wet.");
    assert_eq!(heard(&upstream.asked()).len(), 1, "a quiet heartbeat leaves the conversation");
    let told = outcome(&mut peer);
    assert_eq!((&told["status"], &told["reason"]), (&json!("skipped"), &json!("no-target")));
    assert_eq!((&told["preview"], &told["hasMedia"]), (&json!("The cellar is wet."), &json!(false)));
    assert_eq!(peer.get("set-heartbeats", json!({"enabled": false})), json!({"ok": true, "enabled": false}));
    let history = peer.get("chat.history", json!({"sessionKey": "main"}));
    assert_eq!(texts(&history)[0], "The cellar is wet.", "{history}");
}

#[test]
fn switched_off_the_gateway_says_so_and_stays_quiet() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream, "every: \"1s\", model: \"up/m\", target: \"none\", ackMaxChars: 7");
    assert_eq!(gateway.cli_json(&["system", "heartbeat", "disable"]), json!({"ok": true, "enabled": false}));
    gateway.cli_json(&["system", "event", "--text", "anybody there?", "--mode", "now", "--json"]);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let beat = |peer: &mut Peer| {
        let health = peer.event_where("health", |_| true)["payload"].clone();
        let row = &health["agents"][0]["heartbeat"];
        (health["heartbeatSeconds"].clone(), row["enabled"].clone(), row["every"].clone(), row["everyMs"].clone())
    };
    assert_eq!(beat(&mut peer), (json!(0), json!(false), json!("1s"), json!(1000)));
    peer.get("set-heartbeats", json!({"enabled": true}));
    assert_eq!(beat(&mut peer), (json!(1), json!(true), json!("1s"), json!(1000)));
    assert_eq!(outcome(&mut peer)["status"], "skipped", "the model says `done`, which is an alert");
    let asked = heard(&upstream.asked());
    assert!(asked[0].contains("anybody there?"), "what came meanwhile was kept: {asked:?}");
    let health = peer.get("health", json!({}));
    let row = &health["agents"][0]["heartbeat"];
    assert_eq!((&row["target"], &row["ackMaxChars"], &row["model"]), (&json!("none"), &json!(7), &json!("up/m")));
    assert!(row["prompt"].as_str().unwrap().contains("HEARTBEAT.md"));
}

#[test]
fn an_empty_file_costs_nothing_until_something_happens() {
    let upstream = Upstream::play(vec![Act::Say(&["Somebody is at the door."])]);
    let gateway = start_with_file(&upstream, "every: \"1s\"", "# Watch\n\n- [ ]\n");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let told = outcome(&mut peer);
    assert_eq!((&told["status"], &told["reason"]), (&json!("skipped"), &json!("empty-heartbeat-file")));
    assert!(!upstream.asked_more());
    gateway.cli_json(&["system", "event", "--text", "the bell rang", "--mode", "now", "--json"]);
    assert_eq!(peer.event("chat")["payload"]["message"]["content"][0]["text"], "Somebody is at the door.");
    assert!(heard(&upstream.asked())[0].contains("the bell rang"));
}

#[test]
fn a_failed_heartbeat_is_told_and_no_chat_window_shows_an_error() {
    let refused = || Act::Refuse(401, "", r#"{"error": {"message": "bad key"}}"#);
    let upstream = Upstream::play(vec![refused(), Act::Say(&["hello"])]);
    let gateway = start(&upstream, "every: \"24h\"");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    peer.get("wake", json!({"mode": "now", "text": "x"}));
    let told = outcome(&mut peer);
    assert_eq!((&told["status"], &told["indicatorType"]), (&json!("failed"), &json!("error")));
    assert!(told["reason"].as_str().unwrap().contains("bad key"), "{told}");
    peer.get("chat.send", json!({"sessionKey": "main", "message": "hi", "idempotencyKey": "k"}));
    let first = peer.event("chat")["payload"].clone();
    assert_eq!(first["runId"], "k", "{first}");
}

#[test]
fn the_gateway_stops_while_a_heartbeat_waits_for_its_model() {
    let upstream = Upstream::play(vec![Act::Hang]);
    let gateway = start(&upstream, "every: \"24h\"");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    peer.get("wake", json!({"mode": "now", "text": "x"}));
    upstream.asked();
    let (status, home) = gateway.stop();
    assert_eq!(status.code(), Some(0));
    let index = fs::read_to_string(home.state("agents/main/sessions/sessions.json")).unwrap();
    assert!(!index.contains("\"abortedLastRun\": true") && !index.contains("\"abortedLastRun\":true"), "{index}");
    assert!(!home.state("open-runs.jsonl").exists(), "nobody waits for it");
}

#[test]
fn a_changed_interval_holds_without_a_restart() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream, "every: \"0m\"");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    assert_eq!(peer.get("health", json!({}))["heartbeatSeconds"], 0);
    peer.get("wake", json!({"mode": "now", "text": "x"}));
    gateway.home().configure(&config(&upstream, "every: \"1s\""));
    peer.get("secrets.reload", json!({}));
    assert!(heard(&upstream.asked())[0].contains("] x\n"));
    assert_eq!(outcome(&mut peer)["preview"], "done");
}

#[test]
fn a_message_during_a_heartbeat_gets_its_own_answer() {
    let script = vec![Act::SayWhenTold("HEARTBEAT_OK"), Act::Say(&["hello"])];
    let upstream = Upstream::play(script);
    let gateway = start(&upstream, "every: \"24h\"");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    peer.get("wake", json!({"mode": "now", "text": "x"}));
    upstream.asked();
    let params = json!({"sessionKey": "main", "message": "hi", "idempotencyKey": "k", "queueMode": "steer"});
    peer.get("chat.send", params);
    upstream.go();
    assert_eq!(chat(&mut peer, "k", "final")["payload"]["message"]["content"][0]["text"], "hello");
}

#[test]
fn a_line_that_was_taken_survives_a_kill() {
    for (method, params) in [
        ("wake", json!({"mode": "next-heartbeat", "text": "remember the milk"})),
        ("system-event", json!({"text": "remember the milk"})),
    ] {
        let upstream = Upstream::play(vec![]);
        let mut gateway = start(&upstream, "every: \"0m\"");
        Peer::connect(&gateway, &Hello::v4()).get(method, params);
        gateway.signal("KILL");
        gateway.wait();
        let home = gateway.into_home();
        let gateway = Setup::new().config(&config(&upstream, "every: \"0m\"")).home(home).start();
        let status = Peer::connect(&gateway, &Hello::v4()).get("status", json!({}));
        assert_eq!(status["queuedSystemEvents"], json!(["remember the milk"]), "{method}");
    }
}

#[test]
fn waiting_lines_that_cannot_be_read_are_put_aside_and_not_written_over() {
    let upstream = Upstream::play(vec![]);
    let home = Home::new();
    let file = home.state("system-events.json");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "[\"half a li").unwrap();
    let gateway = Setup::new().home(home).config(&config(&upstream, "every: \"0m\"")).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    peer.get("wake", json!({"mode": "next-heartbeat", "text": "new"}));
    assert_eq!(fs::read_to_string(file.with_extension("unreadable.json")).unwrap(), "[\"half a li");
    assert!(fs::read_to_string(&file).unwrap().contains("new"));
}
