//! Chapter 5: agent turns over the wire (`spec/agent.md` 2 to 7, `spec/protocol.md` 6.3, 6.4, 9), against a model server
//! that answers by script.

use serde_json::{Value, json};

use crate::harness::gateway::{Gateway, Setup};
use crate::harness::peer::{Hello, Peer};
use crate::harness::upstream::{Act, Upstream};

fn start(upstream: &Upstream) -> Gateway {
    Setup::new().config(&upstream.config("")).start()
}

/// Starts a turn; the id of the request, whose first answer was `accepted`.
pub fn begin(peer: &mut Peer, message: &str, key: &str) -> String {
    begin_with(peer, json!({"message": message, "idempotencyKey": key}))
}

pub fn begin_with(peer: &mut Peer, params: Value) -> String {
    let id = peer.send("agent", params);
    let first = peer.response(&id);
    assert_eq!(first["payload"]["status"], "accepted", "{first}");
    id
}

fn lifecycle(peer: &mut Peer, run: &str, phase: &str) -> Value {
    peer.event_where("agent", |p| p["runId"] == run && p["stream"] == "lifecycle" && p["data"]["phase"] == phase)
}

pub fn chat(peer: &mut Peer, run: &str, state: &str) -> Value {
    peer.event_where("chat", |p| p["runId"] == run && p["state"] == state)
}

pub fn texts(history: &Value) -> Vec<String> {
    let text = |message: &Value| message["content"][0]["text"].as_str().unwrap_or_default().to_string();
    history["messages"].as_array().unwrap().iter().map(text).collect()
}

#[test]
fn a_turn_is_accepted_streamed_and_answered() {
    let upstream = Upstream::play(vec![Act::Say(&["Hel", "lo"])]);
    let gateway = start(&upstream);
    for hello in [Hello::v3(), Hello::v4()] {
        let mut peer = Peer::connect(&gateway, &hello);
        let run = format!("run-{}", hello.protocol.0);
        let id = begin(&mut peer, "hi", &run);
        let started = lifecycle(&mut peer, &run, "start");
        assert_eq!(started["payload"]["sessionKey"], "agent:main:main");
        let text = if hello.protocol.0 == 3 { "Hello" } else { "done" };
        let ended = lifecycle(&mut peer, &run, "end");
        assert!(ended["payload"]["seq"].as_u64() > started["payload"]["seq"].as_u64());
        assert_eq!(chat(&mut peer, &run, "final")["payload"]["message"]["content"][0]["text"], text);
        let last = peer.response(&id);
        assert_eq!(last["payload"]["result"]["payloads"], json!([{"text": text, "mediaUrl": null}]), "{last}");
        assert_eq!(last["payload"]["result"]["meta"]["agentMeta"]["provider"], "up");
        peer.alive();
    }
    let question = upstream.asked();
    let asked = question["messages"].as_array().unwrap().last().unwrap()["content"].to_string();
    assert!(
        asked.contains("] hi") && asked.contains("[") && asked.contains("20"),
        "the message tells its time: {asked}"
    );
}

#[test]
fn deltas_carry_the_whole_text_and_the_addition() {
    let upstream = Upstream::play(vec![Act::Say(&["one ", "two"])]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    begin(&mut peer, "hi", "r");
    let first = peer.event_where("agent", |p| p["stream"] == "assistant");
    let second = peer.event_where("agent", |p| p["stream"] == "assistant");
    assert_eq!(first["payload"]["data"], json!({"text": "one ", "delta": "one "}));
    assert_eq!(second["payload"]["data"], json!({"text": "one two", "delta": "two"}));
    let delta = chat(&mut peer, "r", "delta")["payload"].clone();
    assert_eq!((delta["deltaText"].as_str(), &delta["message"]["content"][0]["text"]), (Some("one "), &json!("one ")));
}

#[test]
fn everyone_sees_a_run_but_only_its_starter_gets_the_answer() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let (mut one, mut two) = (Peer::connect(&gateway, &Hello::v3()), Peer::connect(&gateway, &Hello::v4()));
    let id = begin(&mut one, "hi", "r");
    assert_eq!(one.response(&id)["ok"], true);
    chat(&mut two, "r", "final");
    let history = two.get("chat.history", json!({"sessionKey": "main"}));
    assert_eq!(texts(&history), ["hi", "done"]);
    assert_eq!(history["sessionKey"], "main");
}

#[test]
fn a_repeated_call_runs_nothing_again() {
    let upstream = Upstream::play(vec![Act::SayWhenTold("once")]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let params = json!({"message": "hi", "idempotencyKey": "same"});
    let id = begin_with(&mut peer, params.clone());
    upstream.asked();
    assert_eq!(peer.get("agent", params.clone())["status"], "accepted");
    upstream.go();
    assert_eq!(peer.response(&id)["payload"]["status"], "ok");
    let again = peer.get("agent", params);
    assert_eq!(again["result"]["payloads"][0]["text"], "once", "{again}");
    assert!(!upstream.asked_more());
    let ended = peer.get("agent.wait", json!({"runId": "same", "timeoutMs": 0}));
    assert_eq!(ended["status"], "ok", "{ended}");
}

#[test]
fn chat_send_answers_at_once_and_tells_the_rest_by_events() {
    let upstream = Upstream::play(vec![Act::SayWhenTold("hello")]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let params = json!({"sessionKey": "main", "message": "hi", "idempotencyKey": "c1"});
    assert_eq!(peer.get("chat.send", params.clone()), json!({"runId": "c1", "status": "started"}));
    assert_eq!(peer.get("chat.send", params.clone()), json!({"runId": "c1", "status": "in_flight"}));
    upstream.go();
    chat(&mut peer, "c1", "final");
    assert_eq!(peer.get("chat.send", params), json!({"runId": "c1", "status": "ok"}));
    let empty = peer.call("chat.send", json!({"sessionKey": "main", "message": " ", "idempotencyKey": "c2"}));
    assert_eq!(empty["error"]["message"], "message or attachment required");
}

#[test]
fn one_run_per_session_in_order_and_others_beside_it() {
    let upstream = Upstream::play(vec![Act::SayWhenTold("first"), Act::Say(&["other"]), Act::Say(&["second"])]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let first = begin(&mut peer, "1", "a");
    upstream.asked();
    let second = begin(&mut peer, "2", "b");
    let other = begin_with(&mut peer, json!({"message": "3", "idempotencyKey": "c", "sessionKey": "elsewhere"}));
    assert_eq!(peer.response(&other)["payload"]["result"]["payloads"][0]["text"], "other");
    upstream.go();
    assert_eq!(peer.response(&first)["payload"]["result"]["payloads"][0]["text"], "first");
    assert_eq!(peer.response(&second)["payload"]["result"]["payloads"][0]["text"], "second");
    let history = peer.get("chat.history", json!({"sessionKey": "main"}));
    assert_eq!(texts(&history), ["1", "first", "2", "second"]);
}

#[test]
fn a_model_failure_is_an_error_and_the_session_stays_usable() {
    let upstream = Upstream::play(vec![
        Act::Refuse(401, "", r#"{"error":{"message":"bad key"}}"#),
        Act::Refuse(404, "", r#"{"error":{"message":"no such model"}}"#),
        Act::Raw(b"data: {not json\n\n"),
        Act::Raw(b"data: \xff\xfe\n\n"),
        Act::SayAndCut(&["half"]),
    ]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    for run in ["k401", "k404", "malformed", "utf8", "cut"] {
        let id = begin(&mut peer, "hi", run);
        let last = peer.response(&id);
        assert_eq!(
            (last["ok"].as_bool(), last["error"]["code"].as_str()),
            (Some(false), Some("UNAVAILABLE")),
            "{last}"
        );
        assert_eq!(last["payload"]["status"], "error", "{last}");
        assert!(last["error"]["retryable"].is_boolean(), "{last}");
        lifecycle(&mut peer, run, "error");
        assert!(chat(&mut peer, run, "error")["payload"]["errorMessage"].is_string());
    }
    let id = begin(&mut peer, "and now?", "good");
    assert_eq!(peer.response(&id)["payload"]["result"]["payloads"][0]["text"], "done");
}

#[test]
fn no_model_at_all_says_what_to_set() {
    // Nobody answers at the discard port; a machine may well have a server at the usual ones.
    let gateway = Setup::new()
        .env("OLLAMA_HOST", "http://127.0.0.1:9")
        .env("LLAMA_ARG_PORT", "9")
        .env("OPENCLAW_LMSTUDIO_PORT", "9")
        .config("{agents: {defaults: {skipBootstrap: true}}}")
        .start();
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let id = begin(&mut peer, "hi", "r");
    let last = peer.response(&id);
    assert_eq!(last["ok"], false, "{last}");
    assert!(last["error"]["message"].as_str().unwrap().contains("no model is configured"), "{last}");
}

#[test]
fn a_hanging_model_ends_in_agent_timeout() {
    let upstream = Upstream::play(vec![Act::SayAndHang(&["par"]), Act::Say(&["fine"])]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let id = begin_with(&mut peer, json!({"message": "hi", "idempotencyKey": "r", "timeout": 1}));
    let last = peer.response(&id);
    assert_eq!(last["error"]["code"], "AGENT_TIMEOUT", "{last}");
    assert_eq!((&last["error"]["retryable"], &last["payload"]["status"]), (&json!(true), &json!("error")));
    upstream.hung_up();
    assert_eq!(lifecycle(&mut peer, "r", "end")["payload"]["data"]["aborted"], true);
    assert_eq!(chat(&mut peer, "r", "aborted")["payload"]["stopReason"], "timeout");
    let id = begin(&mut peer, "again", "r2");
    assert_eq!(peer.response(&id)["payload"]["result"]["payloads"][0]["text"], "fine");
}

#[test]
fn chat_abort_stops_runs_of_either_kind_and_keeps_what_was_said() {
    let upstream = Upstream::play(vec![Act::SayAndHang(&["partial"]), Act::SayAndHang(&["x"])]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let id = begin(&mut peer, "hi", "a");
    peer.event_where("agent", |p| p["stream"] == "assistant");
    let other = peer.call("chat.abort", json!({"sessionKey": "other", "runId": "a"}));
    assert_eq!(other["error"]["message"], "runId does not match sessionKey");
    let aborted = peer.get("chat.abort", json!({"sessionKey": "main"}));
    assert_eq!(aborted, json!({"ok": true, "aborted": true, "runIds": ["a"]}));
    upstream.hung_up();
    assert_eq!(peer.response(&id)["error"]["details"]["reason"], "rpc");
    assert_eq!(chat(&mut peer, "a", "aborted")["payload"]["stopReason"], "rpc");
    peer.get("chat.send", json!({"sessionKey": "main", "message": "go", "idempotencyKey": "b"}));
    peer.event_where("agent", |p| p["runId"] == "b" && p["stream"] == "assistant");
    let stopped =
        peer.get("chat.send", json!({"sessionKey": "agent:main:main", "message": "/stop", "idempotencyKey": "s"}));
    assert_eq!(stopped["runIds"], json!(["b"]));
    lifecycle(&mut peer, "b", "end");
    let history = peer.get("chat.history", json!({"sessionKey": "main"}));
    assert_eq!(texts(&history), ["hi", "partial", "go", "x"]);
    assert_eq!(history["messages"][1]["stopReason"], "aborted");
    assert_eq!(peer.get("chat.abort", json!({"sessionKey": "main"}))["aborted"], false);
}

#[test]
fn a_waiting_run_can_be_aborted_before_it_starts() {
    let upstream = Upstream::play(vec![Act::SayWhenTold("one")]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let first = begin(&mut peer, "1", "a");
    let second = begin(&mut peer, "2", "b");
    assert_eq!(peer.get("chat.abort", json!({"sessionKey": "main", "runId": "b"}))["runIds"], json!(["b"]));
    assert_eq!(peer.response(&second)["ok"], false);
    upstream.go();
    assert_eq!(peer.response(&first)["ok"], true);
}

#[test]
fn agent_wait_waits_and_gives_up() {
    let upstream = Upstream::play(vec![Act::SayWhenTold("one")]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    assert_eq!(peer.get("agent.wait", json!({"runId": "ghost", "timeoutMs": 50}))["status"], "timeout");
    begin(&mut peer, "hi", "r");
    let waiting = peer.send("agent.wait", json!({"runId": "r"}));
    upstream.asked();
    upstream.go();
    let answer = peer.response(&waiting);
    assert_eq!(answer["payload"]["status"], "ok", "{answer}");
    assert!(answer["payload"]["startedAt"].is_u64() && answer["payload"]["endedAt"].is_u64());
}

#[test]
fn refusals_before_a_run_name_the_reason() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let cases = [
        (json!({"message": "x"}), "invalid agent params: must have required property 'idempotencyKey'"),
        (json!({"channel": "nochan"}), "invalid agent params: unknown channel: nochan"),
        (json!({"agentId": "ghost"}), "invalid agent params: unknown agent id \"ghost\""),
        (json!({"sessionId": "../ghost"}), "invalid agent params: at /sessionId: must be letters, digits and -_.+@"),
        (json!({"thinking": "lots"}), "invalid agent params: at /thinking: must be one of"),
        (json!({"attachments": [{"content": "AAAA"}]}), "invalid agent params: at /attachments/0: only png"),
    ];
    for (at, (params, text)) in cases.into_iter().enumerate() {
        let mut all = json!({"message": "x", "idempotencyKey": format!("k{at}")});
        if params.get("message").is_some() {
            all = params;
        } else {
            all.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
        }
        let answer = peer.call("agent", all);
        assert_eq!(answer["error"]["code"], "INVALID_REQUEST", "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().starts_with(text), "{answer}");
    }
    assert!(!upstream.asked_more());
}

#[test]
fn a_session_id_begins_a_session_of_that_id_and_finds_it_again() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let id = "11111111-1111-4111-8111-111111111111";
    let mut turn = |run: &str, session: Value| {
        let mut params = json!({"message": "hi", "idempotencyKey": run});
        params.as_object_mut().unwrap().extend(session.as_object().unwrap().clone());
        let asked = peer.send("agent", params);
        let accepted = peer.response(&asked)["payload"]["sessionKey"].clone();
        (accepted, peer.response(&asked)["payload"]["result"]["meta"]["agentMeta"]["sessionId"].clone())
    };
    let key = json!(format!("agent:main:explicit:{id}"));
    assert_eq!(turn("1", json!({"sessionId": id})), (key.clone(), json!(id)));
    assert_eq!(turn("2", json!({"sessionId": id})), (key.clone(), json!(id)));
    assert_eq!(turn("3", json!({"sessionId": id, "sessionKey": key})), (key.clone(), json!(id)));
    assert_eq!(turn("4", json!({"sessionKey": key})), (key, json!(id)));
    // The newer command line makes such a key of an id that another session has.
    let (main, main_id) = turn("5", json!({}));
    let made = format!("agent:main:explicit:{}", main_id.as_str().unwrap());
    assert_eq!(turn("6", json!({"sessionId": main_id, "sessionKey": made})), (main, main_id.clone()));
    assert_ne!(turn("7", json!({"sessionKey": made})).1, main_id);
    let lines = upstream_lines(&upstream, 4);
    assert_eq!(lines, 4, "the fourth turn saw the three before it");
}

/// How many user messages the numbered request to the model had.
fn upstream_lines(upstream: &Upstream, number: usize) -> usize {
    let body = (0..number).fold(Value::Null, |_, _| upstream.asked());
    body["messages"].as_array().unwrap().iter().filter(|message| message["role"] == "user").count()
}

#[test]
fn subscribers_hear_of_messages_and_changes() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    peer.get("sessions.subscribe", json!({}));
    let followed = peer.get("sessions.messages.subscribe", json!({"key": "main"}));
    assert_eq!(followed, json!({"subscribed": true, "key": "agent:main:main"}));
    begin(&mut peer, "hi", "r");
    let changed = peer.event_where("sessions.changed", |p| p["reason"] == "create");
    assert_eq!(changed["payload"]["session"]["key"], "agent:main:main");
    for role in ["user", "assistant"] {
        let told = peer.event("session.message");
        assert_eq!(
            (&told["payload"]["message"]["role"], &told["payload"]["sessionKey"]),
            (&json!(role), &json!("agent:main:main"))
        );
    }
    peer.event_where("sessions.changed", |p| p["reason"] == "end");
}

#[test]
fn commands_are_answered_without_the_model() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let say = |peer: &mut Peer, text: &str, key: &str| {
        let answer = peer.get("chat.send", json!({"sessionKey": "main", "message": text, "idempotencyKey": key}));
        assert_eq!(answer["status"], "started", "{answer}");
        chat(peer, key, "final")["payload"]["message"]["content"][0]["text"].as_str().unwrap().to_string()
    };
    assert!(say(&mut peer, "/status", "s").contains("Model: up/m"));
    assert_eq!(say(&mut peer, "/think high", "t"), "Thinking: high.");
    let before = peer.get("sessions.describe", json!({"key": "main"}))["session"].clone();
    assert_eq!(before["thinkingLevel"], "high", "{before}");
    assert_eq!(say(&mut peer, "/new", "n"), "done");
    assert!(upstream.asked()["messages"].to_string().contains("Greet the user"));
    let after = peer.get("sessions.describe", json!({"key": "main"}))["session"].clone();
    assert!(after["sessionId"] != before["sessionId"] && after["thinkingLevel"] == "high", "{after}");
    assert!(!upstream.asked_more());
    assert_eq!(say(&mut peer, "/new and hello", "m"), "done");
    assert!(upstream.asked()["messages"].to_string().contains("] and hello"));
}

#[test]
fn a_tool_call_is_shown_to_its_starter_run_and_answered_to_the_model() {
    let script = vec![Act::Call("exec", json!({"command": "echo from-the-shell"})), Act::Say(&["it says so"])];
    let upstream = Upstream::play(script);
    let gateway = start(&upstream);
    let caps = Hello::v4().with("caps", json!(["tool-events"]));
    let (mut peer, mut other) = (Peer::connect(&gateway, &caps), Peer::connect(&gateway, &caps));
    peer.get("sessions.patch", json!({"key": "main", "verboseLevel": "full"}));
    other.get("sessions.messages.subscribe", json!({"key": "main"}));
    let id = begin(&mut peer, "run it", "r");
    let started = peer.event_where("agent", |p| p["stream"] == "tool" && p["data"]["phase"] == "start");
    assert_eq!(started["payload"]["data"]["args"]["command"], "echo from-the-shell");
    let ended = peer.event_where("agent", |p| p["stream"] == "tool" && p["data"]["phase"] == "result");
    assert!(ended["payload"]["data"]["result"].to_string().contains("from-the-shell"), "{ended}");
    assert_eq!(ended["payload"]["data"]["isError"], false);
    assert_eq!(peer.response(&id)["payload"]["result"]["payloads"][0]["text"], "it says so");
    other.event_where("session.tool", |p| p["data"]["phase"] == "result");
    let first = upstream.asked();
    let offered: Vec<&str> =
        first["tools"].as_array().unwrap().iter().map(|tool| tool["function"]["name"].as_str().unwrap()).collect();
    let prompt = first["messages"][0]["content"].as_str().unwrap().to_string();
    assert!(offered.contains(&"exec") && offered.iter().all(|name| prompt.contains(*name)), "{offered:?}\n{prompt}");
    let second = upstream.asked()["messages"].to_string();
    assert!(second.contains("from-the-shell") && second.contains("\"tool\""), "{second}");
}

#[test]
fn a_tool_that_is_not_there_is_an_answer_the_model_can_read() {
    let script = vec![Act::Call("fly", json!({})), Act::Call("read", json!({"path": 7})), Act::Say(&["sorry"])];
    let upstream = Upstream::play(script);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let id = begin(&mut peer, "fly", "r");
    assert_eq!(peer.response(&id)["payload"]["result"]["payloads"][0]["text"], "sorry");
    upstream.asked();
    assert!(upstream.asked()["messages"].to_string().contains("no tool named"));
    assert!(upstream.asked()["messages"].to_string().contains("invalid arguments for read"));
}

#[test]
fn a_command_waits_for_an_operators_word() {
    let script = vec![Act::Call("exec", json!({"command": "/usr/bin/env"})), Act::Say(&["done so"])];
    let upstream = Upstream::play(script);
    let more = ", tools: {exec: {security: \"allowlist\", ask: \"always\", host: \"gateway\"}}";
    let gateway = Setup::new().config(&upstream.config(more)).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let id = begin(&mut peer, "go", "r");
    let asked = peer.event("exec.approval.requested");
    assert_eq!(asked["payload"]["request"]["command"], "/usr/bin/env", "{asked}");
    let approval = asked["payload"]["id"].clone();
    assert_eq!(peer.get("exec.approval.list", json!({}))[0]["id"], approval);
    let wrong = peer.call("exec.approval.resolve", json!({"id": "ghost", "decision": "deny"}));
    assert_eq!(wrong["error"]["message"], "unknown approval id");
    peer.get("exec.approval.resolve", json!({"id": approval, "decision": "deny"}));
    assert_eq!(peer.event("exec.approval.resolved")["payload"]["decision"], "deny");
    assert_eq!(peer.response(&id)["ok"], true);
}

#[test]
fn an_abort_ends_a_command_that_runs() {
    let upstream = Upstream::play(vec![Act::Call("exec", json!({"command": "sleep 60"}))]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v4().with("caps", json!(["tool-events"])));
    peer.get("sessions.patch", json!({"key": "main", "verboseLevel": "on"}));
    let id = begin(&mut peer, "wait", "r");
    peer.event_where("agent", |p| p["stream"] == "tool" && p["data"]["phase"] == "start");
    peer.get("chat.abort", json!({"sessionKey": "main"}));
    assert_eq!(peer.response(&id)["error"]["details"]["reason"], "rpc");
    let next = begin(&mut peer, "and now", "r2");
    assert_eq!(peer.response(&next)["ok"], true);
}

#[test]
fn a_command_in_the_background_outlives_its_turn() {
    let script = vec![
        Act::Call("exec", json!({"command": "sleep 60", "background": true})),
        Act::Say(&["started"]),
        Act::Call("process", json!({"action": "list"})),
        Act::Say(&["it runs"]),
    ];
    let upstream = Upstream::play(script);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    for (message, key) in [("start it", "r1"), ("how is it", "r2")] {
        let id = begin(&mut peer, message, key);
        assert_eq!(peer.response(&id)["ok"], true);
    }
    let asked: Vec<Value> = (0..4).map(|_| upstream.asked()).collect();
    let listed = asked[3]["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap().to_string();
    assert!(listed.contains(" running ") && listed.contains("sleep 60"), "{listed}");
}

/// A pipe that tells when its first line was written.
fn told(pipe: &std::path::Path) -> String {
    let (send, receive) = std::sync::mpsc::channel();
    let pipe = pipe.to_owned();
    std::thread::spawn(move || send.send(std::fs::read_to_string(pipe)));
    receive.recv_timeout(crate::harness::PATIENCE).expect("nothing was told").unwrap()
}

#[test]
fn no_command_outlives_the_gateway_not_even_one_that_ignores_being_asked() {
    let pipe = std::env::temp_dir().join(format!("openclaw-ch05-{}.pipe", std::process::id()));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let command = format!("trap '' TERM; echo $$ > {}; while :; do sleep 0.05; done", pipe.display());
    let upstream = Upstream::play(vec![Act::Call("exec", json!({"command": command, "background": true}))]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let id = begin(&mut peer, "start it", "r");
    let pid = told(&pipe);
    assert_eq!(peer.response(&id)["ok"], true);
    gateway.stop();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let runs = stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']));
    let _ = std::fs::remove_file(&pipe);
    assert!(!runs, "{stat}");
}

#[test]
fn switches_of_a_session_are_patched() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let patched = peer.get("sessions.patch", json!({"key": "main", "label": "Mine", "verboseLevel": "full"}));
    assert_eq!((&patched["entry"]["label"], &patched["resolved"]["model"]), (&json!("Mine"), &json!("m")));
    let bad = peer.call("sessions.patch", json!({"key": "main", "model": "nowhere"}));
    assert_eq!(bad["error"]["code"], "INVALID_REQUEST", "{bad}");
    let taken = peer.call("sessions.patch", json!({"key": "other", "label": "Mine"}));
    assert_eq!(taken["error"]["message"], "label already in use: Mine");
}

#[test]
fn an_injected_message_is_told_and_stays() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let inject = json!({"sessionKey": "main", "message": "note this", "label": "x"});
    assert_eq!(peer.call("chat.inject", inject.clone())["error"]["message"], "session not found");
    let id = begin(&mut peer, "hi", "r");
    peer.response(&id);
    let answer = peer.get("chat.inject", inject);
    let run = format!("inject-{}", answer["messageId"].as_str().unwrap());
    assert_eq!(chat(&mut peer, &run, "final")["payload"]["seq"], 0);
    assert_eq!(texts(&peer.get("chat.history", json!({"sessionKey": "main"})))[2], "[x]\n\nnote this");
}

#[test]
fn sessions_are_created_reset_previewed_resolved_and_deleted() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let made = peer.get("sessions.create", json!({"key": "trip", "label": "Trip", "message": "plan it"}));
    assert_eq!((&made["key"], &made["runStarted"]), (&json!("agent:main:trip"), &json!(true)));
    chat(&mut peer, made["runId"].as_str().unwrap(), "final");
    let found = peer.get("sessions.resolve", json!({"label": "Trip"}));
    assert_eq!(found, json!({"ok": true, "key": "agent:main:trip", "agentId": "main"}));
    let previews = peer.get("sessions.preview", json!({"keys": ["trip", "nothing"]}))["previews"].clone();
    assert_eq!((&previews[0]["status"], &previews[1]["status"]), (&json!("ok"), &json!("missing")));
    let reset = peer.get("sessions.reset", json!({"key": "trip"}));
    assert_ne!(reset["entry"]["sessionId"], made["sessionId"]);
    assert_eq!(reset["entry"]["label"], "Trip");
    let main = peer.call("sessions.delete", json!({"key": "main"}));
    assert_eq!(main["error"]["message"], "Cannot delete the main session (agent:main:main).");
    assert_eq!(peer.get("sessions.delete", json!({"key": "trip"}))["deleted"], true);
    assert_eq!(peer.get("sessions.describe", json!({"key": "trip"}))["session"], Value::Null);
}

#[test]
fn a_session_goes_on_after_kill_and_restart() {
    let upstream = Upstream::play(vec![
        Act::Say(&["first"]),
        Act::SayAndHang(&["never"]),
        Act::Say(&["quick"]),
        Act::Say(&["third"]),
    ]);
    let mut gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let id = begin(&mut peer, "one", "a");
    peer.response(&id);
    begin(&mut peer, "two", "b");
    peer.event_where("agent", |p| p["runId"] == "b" && p["stream"] == "assistant");
    peer.get("chat.send", json!({"sessionKey": "main", "message": "two and a half", "idempotencyKey": "w"}));
    let quick = begin_with(&mut peer, json!({"message": "hi", "idempotencyKey": "q", "sessionKey": "fine"}));
    assert_eq!(peer.response(&quick)["ok"], true);
    gateway.signal("KILL");
    gateway.wait();
    let gateway = Setup::new().home(gateway.into_home()).start();
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let rows = peer.get("sessions.list", json!({}))["sessions"].clone();
    let row = |key: &str| rows.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap().clone();
    assert_eq!(row("agent:main:main")["abortedLastRun"], true, "{rows}");
    assert_ne!(row("agent:main:fine")["abortedLastRun"], true, "{rows}");
    for run in ["b", "w"] {
        let ended = peer.get("agent.wait", json!({"runId": run, "timeoutMs": 0}));
        assert_eq!(
            (&ended["status"], &ended["error"]),
            (&json!("error"), &json!("the gateway ended during this turn"))
        );
    }
    let id = begin(&mut peer, "three", "c");
    assert_eq!(peer.response(&id)["payload"]["result"]["payloads"][0]["text"], "third");
    assert_eq!(
        texts(&peer.get("chat.history", json!({"sessionKey": "main"}))),
        ["one", "first", "two", "two and a half", "three", "third"]
    );
    let row = peer.get("sessions.list", json!({}))["sessions"][0].clone();
    assert_eq!(row["abortedLastRun"], false, "{row}");
}

#[test]
fn a_shutdown_answers_and_marks_interrupted_runs() {
    let upstream = Upstream::play(vec![Act::SayAndHang(&["half"])]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let id = begin(&mut peer, "hi", "r");
    peer.event_where("agent", |p| p["stream"] == "assistant");
    peer.get("chat.send", json!({"sessionKey": "main", "message": "and then", "idempotencyKey": "waits"}));
    gateway.signal("TERM");
    let last = peer.response(&id);
    assert_eq!(last["error"]["message"], "the gateway is stopping", "{last}");
    let (status, home) = gateway.stop();
    assert!(status.success());
    let gateway = Setup::new().home(home).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let row = peer.get("sessions.describe", json!({"key": "main"}))["session"].clone();
    assert_eq!(row["abortedLastRun"], true, "{row}");
    let shown = texts(&peer.get("chat.history", json!({"sessionKey": "main"})));
    assert_eq!(shown, ["hi", "half", "and then"], "what waited is not lost");
}

#[test]
fn the_command_line_keeps_the_allowlist_and_chooses_the_model() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    assert!(gateway.cli(&["approvals", "allowlist", "add", "/usr/bin/git"]).status.success());
    let file = gateway.cli_json(&["approvals", "get", "--json"]);
    assert_eq!(file["file"]["agents"]["*"]["allowlist"][0]["pattern"], "/usr/bin/git", "{file}");
    assert!(gateway.cli(&["approvals", "allowlist", "remove", "/usr/bin/git"]).status.success());
    let file = gateway.cli_json(&["approvals", "get", "--json"]);
    assert_eq!(file["file"]["agents"]["*"]["allowlist"], json!([]));
    assert_eq!(gateway.cli_json(&["models", "set", "up/other", "--json"])["model"], "up/other");
    let config = gateway.cli_json(&["config", "get", "agents.defaults.model", "--json"]);
    assert_eq!(config, json!("up/other"));
    assert_eq!(gateway.cli_json(&["models", "list", "--json"])["models"][0]["key"], "up/m");
}

#[test]
fn the_command_line_waits_for_the_answer_and_its_status_tells_how_it_went() {
    let upstream = Upstream::play(vec![Act::Say(&["from ", "afar"]), Act::Refuse(401, "", "{}")]);
    let gateway = start(&upstream);
    let good = gateway.cli(&["agent", "--message", "hi"]);
    assert_eq!(String::from_utf8_lossy(&good.stdout), "from afar\n");
    assert!(good.status.success());
    let bad = gateway.cli(&["agent", "-m", "hi", "--json"]);
    assert_eq!(bad.status.code(), Some(1));
    let error: Value = serde_json::from_slice(&bad.stdout).unwrap();
    assert_eq!((&error["ok"], &error["error"]["code"]), (&json!(false), &json!("UNAVAILABLE")), "{error}");
    let run = error["runId"].as_str().unwrap();
    assert_eq!((&error["origin"], run.len()), (&json!("gateway"), 36), "{error}");
    assert!(String::from_utf8_lossy(&bad.stderr).contains(run), "{bad:?}");
    let sessions = gateway.cli_json(&["sessions", "--json"]);
    assert_eq!(sessions["sessions"][0]["key"], "agent:main:main", "{sessions}");
}
