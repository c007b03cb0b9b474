//! Chapter 5: agents, models, usage and tools as clients manage them (`spec/protocol.md` 8.2, 8.4): changes take effect
//! while the gateway runs, and on disk.

use serde_json::{Value, json};

use crate::harness::gateway::{Gateway, Setup};
use crate::harness::peer::{Hello, Peer};
use crate::harness::upstream::{Act, Upstream};

fn start(upstream: &Upstream) -> Gateway {
    Setup::new().config(&upstream.config(", // mine\n")).start()
}

/// The text of a turn's answer.
fn turn(peer: &mut Peer, params: Value) -> String {
    let id = peer.send("agent", params);
    let first = peer.response(&id);
    assert_eq!(first["payload"]["status"], "accepted", "{first}");
    let last = peer.response(&id);
    last["payload"]["result"]["payloads"][0]["text"].as_str().unwrap_or_else(|| panic!("{last}")).to_string()
}

fn refused(peer: &mut Peer, method: &str, params: Value) -> String {
    let answer = peer.call(method, params);
    assert_eq!(answer["ok"], false, "{answer}");
    answer["error"]["message"].as_str().unwrap().to_string()
}

fn config(gateway: &Gateway) -> String {
    std::fs::read_to_string(gateway.home().state("openclaw.json")).unwrap()
}

#[test]
fn an_agent_is_made_used_changed_and_deleted_without_a_restart() {
    let upstream = Upstream::play(vec![Act::Say(&["I am ops"])]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let folder = gateway.home().path().join("ops");
    let made = peer.get("agents.create", json!({"name": "Ops", "workspace": "~/ops", "emoji": "🛠"}));
    let expected = json!({"ok": true, "agentId": "ops", "name": "Ops", "workspace": folder});
    assert_eq!(made, expected);
    assert_eq!(turn(&mut peer, json!({"message": "hi", "idempotencyKey": "a", "agentId": "ops"})), "I am ops");
    assert_eq!(peer.get("agents.update", json!({"agentId": "ops", "model": "up/other"}))["ok"], true);
    upstream.asked();
    turn(&mut peer, json!({"message": "hi", "idempotencyKey": "b", "agentId": "ops"}));
    assert_eq!(upstream.asked()["model"], "other");
    let list = peer.get("agents.list", json!({}));
    let identity = json!({"name": "Ops", "emoji": "🛠"});
    assert_eq!((&list["agents"][1]["identity"], &list["defaultId"]), (&identity, &json!("main")), "{list}");
    assert!(config(&gateway).contains("// mine"));

    let sessions = gateway.home().state("agents/ops/sessions");
    assert!(sessions.join("sessions.json").exists());
    let gone = peer.get("agents.delete", json!({"agentId": "ops"}));
    assert_eq!((&gone["removedBindings"], &gone["failed"]), (&json!(0), &json!([])), "{gone}");
    assert!(!sessions.exists() && !folder.exists());
    assert!(!config(&gateway).contains("\"ops\""));
    let text = refused(&mut peer, "agent", json!({"message": "hi", "idempotencyKey": "c", "agentId": "ops"}));
    assert!(text.contains("unknown agent id"), "{text}");
    let all = peer.get("sessions.list", json!({}));
    assert_eq!(all["count"], 0, "{all}");
    let (status, home) = gateway.stop();
    assert!(status.success() && !home.state("agents/ops/sessions").exists(), "its sessions are not written again");
}

#[test]
fn an_agent_that_comes_back_finds_its_sessions() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let create = json!({"name": "ops", "workspace": "~/ops"});
    peer.get("agents.create", create.clone());
    turn(&mut peer, json!({"message": "remember", "idempotencyKey": "a", "agentId": "ops"}));
    peer.get("agents.delete", json!({"agentId": "ops", "deleteFiles": false}));
    peer.get("agents.create", create);
    let history = peer.get("chat.history", json!({"sessionKey": "agent:ops:main"}));
    assert_eq!(history["messages"].as_array().unwrap().len(), 2, "{history}");
}

#[test]
fn a_busy_agent_is_told_to_stop_before_it_goes() {
    let upstream = Upstream::play(vec![Act::SayAndHang(&["..."])]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    peer.get("agents.create", json!({"name": "ops"}));
    let id = peer.send("agent", json!({"message": "hi", "idempotencyKey": "a", "agentId": "ops"}));
    assert_eq!(peer.response(&id)["payload"]["status"], "accepted");
    peer.event_where("agent", |p| p["stream"] == "assistant");
    let busy = peer.call("agents.delete", json!({"agentId": "ops"}));
    assert_eq!((&busy["error"]["code"], &busy["error"]["retryable"]), (&json!("UNAVAILABLE"), &json!(true)), "{busy}");
    peer.response(&id);
    upstream.hung_up();
    peer.get("agent.wait", json!({"runId": "a", "timeoutMs": 5000}));
    // Its client is answered at once, but the agent is busy until the run's thread has written its last line, which takes
    // as long as the disk takes: so many tries in a row may all be over before. A wait for nobody is a pause.
    let tried = |peer: &mut Peer| peer.call("agents.delete", json!({"agentId": "ops"}))["ok"] == true;
    let pause = json!({"runId": "nobody", "timeoutMs": 20});
    let gone = (0..500).any(|_| tried(&mut peer) || peer.get("agent.wait", pause.clone())["status"] != "timeout");
    assert!(gone);
}

#[test]
fn workspace_files_are_read_and_written_by_name_only() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let file = |name: &str| json!({"agentId": "main", "name": name});
    let missing = peer.get("agents.files.get", file("SOUL.md"));
    assert_eq!(missing["file"]["missing"], true, "{missing}");
    let set = peer.get("agents.files.set", json!({"agentId": "main", "name": "SOUL.md", "content": "Be kind.\n"}));
    assert_eq!((&set["ok"], &set["file"]["size"]), (&json!(true), &json!(9)), "{set}");
    let list = peer.get("agents.files.list", json!({"agentId": "main"}));
    assert_eq!((list["files"].as_array().unwrap().len(), &list["files"][1]["missing"]), (8, &json!(false)), "{list}");
    turn(&mut peer, json!({"message": "hi", "idempotencyKey": "a"}));
    assert!(upstream.asked().to_string().contains("Be kind."), "the next turn reads it");

    for name in ["../SOUL.md", "/etc/passwd", "soul.md", "notes.md"] {
        assert_eq!(refused(&mut peer, "agents.files.get", file(name)), format!("unsupported file \"{name}\""));
    }
    let outside = gateway.home().path().join("outside");
    std::fs::write(&outside, "secret").unwrap();
    let workspace = set["workspace"].as_str().unwrap();
    std::os::unix::fs::symlink(&outside, format!("{workspace}/USER.md")).unwrap();
    let text = refused(&mut peer, "agents.files.get", file("USER.md"));
    assert!(text.contains("outside the workspace"), "{text}");
    let params = json!({"agentId": "main", "name": "USER.md", "content": "x"});
    assert!(refused(&mut peer, "agents.files.set", params).contains("outside"));
    assert_eq!(std::fs::read_to_string(outside).unwrap(), "secret");
    assert_eq!(refused(&mut peer, "agents.files.list", json!({"agentId": "ghost"})), "unknown agent id");
}

#[test]
fn agents_are_changed_by_administrators_only() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    for (hello, code) in [(Hello::v3(), "INVALID_REQUEST"), (Hello::v4(), "FORBIDDEN")] {
        let mut peer = Peer::connect(&gateway, &hello.scopes(&["operator.write"]));
        let answer = peer.call("agents.create", json!({"name": "x"}));
        assert_eq!(answer["error"]["code"], code, "{answer}");
    }
}

#[test]
fn the_command_line_changes_a_running_gateway_and_a_file_without_one() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let added = gateway.cli_json(&["agents", "add", "Ops", "--workspace", "ops", "--json"]);
    assert_eq!(added["agentId"], "ops", "{added}");
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    turn(&mut peer, json!({"message": "hi", "idempotencyKey": "a", "agentId": "ops"}));
    let set = gateway.cli(&["models", "set", "up/second"]);
    assert!(String::from_utf8_lossy(&set.stdout).contains("running gateway uses it"), "{set:?}");
    upstream.asked();
    turn(&mut peer, json!({"message": "hi", "idempotencyKey": "b"}));
    assert_eq!(upstream.asked()["model"], "second");
    let identity = gateway.cli_json(&["agents", "set-identity", "--agent", "ops", "--name", "Opsy", "--json"]);
    assert_eq!(identity["identity"], json!({"name": "Opsy"}));
    assert_eq!(peer.get("agent.identity.get", json!({"agentId": "ops"}))["name"], "Opsy");
    let unforced = gateway.cli(&["agents", "delete", "ops"]);
    assert!(!unforced.status.success() && String::from_utf8_lossy(&unforced.stderr).contains("--force"));
    let gone = gateway.cli_json(&["agents", "remove", "ops", "--force", "--json"]);
    assert_eq!((&gone["agentId"], &gone["failed"]), (&json!("ops"), &json!([])), "{gone}");

    let (_, home) = gateway.stop();
    let offline = |words: &[&str]| String::from_utf8_lossy(&home.run(words, &[]).stdout).into_owned();
    assert!(offline(&["agents", "add", "night"]).contains("No gateway is running"));
    assert!(offline(&["agents", "list"]).contains("night"));
    assert!(offline(&["agents", "delete", "night", "--force"]).contains("deleted"));
    assert!(!offline(&["agents", "list"]).contains("night"));
    assert!(std::fs::read_to_string(home.state("openclaw.json")).unwrap().contains("// mine"));
}

#[test]
fn usage_is_counted_from_transcripts_when_asked() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let empty = peer.get("usage.cost", json!({"days": 7}));
    assert_eq!((&empty["days"], &empty["daily"]), (&json!(7), &json!([])), "{empty}");
    turn(&mut peer, json!({"message": "hi", "idempotencyKey": "a"}));
    turn(&mut peer, json!({"message": "again", "idempotencyKey": "b", "sessionKey": "other"}));
    let cost = peer.get("usage.cost", json!({}));
    assert_eq!((&cost["totals"]["totalTokens"], &cost["daily"][0]["output"]), (&json!(24), &json!(4)), "{cost}");
    let report = peer.get("sessions.usage", json!({"range": "7d"}));
    assert_eq!(report["sessions"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!(report["aggregates"]["byModel"][0]["model"], "m", "{report}");
    let one = peer.get("sessions.usage", json!({"key": "main"}));
    assert_eq!((&one["sessions"][0]["key"], &one["totals"]["totalTokens"]), (&json!("agent:main:main"), &json!(12)));
    let series = peer.get("sessions.usage.timeseries", json!({"key": "main"}));
    assert_eq!(series["points"][0]["cumulativeTokens"], 12, "{series}");
    let logs = peer.get("sessions.usage.logs", json!({"key": "main", "limit": 1}));
    assert_eq!((logs["logs"].as_array().unwrap().len(), &logs["logs"][0]["content"]), (1, &json!("done")), "{logs}");

    let left = report["sessions"][0]["sessionId"].as_str().unwrap().to_string();
    let key = report["sessions"][0]["key"].clone();
    peer.get("sessions.reset", json!({"key": key}));
    let all = peer.get("sessions.usage", json!({}));
    let keys: Vec<&Value> = all["sessions"].as_array().unwrap().iter().map(|row| &row["key"]).collect();
    assert!(keys.contains(&&json!(left)), "a conversation that was left still cost what it cost: {keys:?}");
    let of_left = peer.get("sessions.usage.timeseries", json!({"key": left}));
    assert_eq!((&of_left["sessionId"], &of_left["points"][0]["cumulativeTokens"]), (&json!(left), &json!(12)));

    assert_eq!(refused(&mut peer, "sessions.usage.timeseries", json!({})), "key is required for timeseries");
    let none = refused(&mut peer, "sessions.usage.timeseries", json!({"key": "nobody"}));
    assert_eq!(none, "No transcript found for session: agent:main:nobody");
    for zone in ["Nowhere/Land", "/etc/passwd", "../../etc/passwd"] {
        let text = refused(&mut peer, "usage.cost", json!({"mode": "specific", "timeZone": zone}));
        assert!(text.starts_with("unknown time zone"), "{text}");
    }
    let shown = gateway.cli(&["gateway", "usage-cost"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("24 tokens"), "{shown:?}");
    assert_eq!(peer.get("usage.status", json!({}))["providers"], json!([]));
}

#[test]
fn what_was_deleted_with_an_agent_costs_nothing_any_more() {
    let upstream = Upstream::play(vec![]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    peer.get("agents.create", json!({"name": "ops", "workspace": "~/ops"}));
    turn(&mut peer, json!({"message": "hi", "idempotencyKey": "a", "agentId": "ops"}));
    let of = |peer: &mut Peer, agent: &str| {
        peer.get("usage.cost", json!({"agentId": agent}))["totals"]["totalTokens"].clone()
    };
    assert_eq!((of(&mut peer, "ops"), of(&mut peer, "main")), (json!(12), json!(0)));
    peer.get("agents.delete", json!({"agentId": "ops"}));
    assert_eq!(refused(&mut peer, "usage.cost", json!({"agentId": "ops"})), "unknown agent id \"ops\"");
}

/// An Ollama with one model, as far as the search asks it.
fn ollama() -> u16 {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut first = String::new();
            let _ = BufReader::new(stream.try_clone().unwrap()).read_line(&mut first);
            let body = match first.contains("/api/tags") {
                true => r#"{"models":[{"name":"tiny:1b"}]}"#,
                false => r#"{"capabilities":["tools"],"model_info":{"x.context_length":4096}}"#,
            };
            let _ =
                write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        }
    });
    port
}

#[test]
fn models_of_this_machine_are_found_shown_and_chosen() {
    let host = format!("127.0.0.1:{}", ollama());
    let gateway = Setup::new().env("OLLAMA_HOST", &host).config("{gateway: {mode: \"local\"}} // mine\n").start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let models = peer.get("models.list", json!({}))["models"].clone();
    assert_eq!((&models[0]["id"], &models[0]["tags"]), (&json!("tiny:1b"), &json!(["default"])), "{models}");
    assert_eq!((&models[0]["supportsTools"], &models[0]["contextWindow"]), (&json!(true), &json!(4096)));
    let status = gateway.cli_json(&["models", "status", "--json"]);
    assert_eq!((&status["resolvedDefault"], &status["defaultModel"]), (&json!("ollama/tiny:1b"), &Value::Null));
    let scan = gateway.cli(&["models", "scan", "--set-default"]);
    let text = String::from_utf8_lossy(&scan.stdout).into_owned();
    assert!(text.contains("Model set to ollama/tiny:1b. The running gateway uses it"), "{scan:?}");
    assert!(config(&gateway).contains("// mine") && config(&gateway).contains("ollama/tiny:1b"));
    let list = peer.get("agents.list", json!({}));
    assert_eq!(list["agents"][0]["model"]["primary"], "ollama/tiny:1b");
}

#[test]
fn providers_say_where_their_keys_are_and_never_the_keys() {
    let upstream = Upstream::play(vec![]);
    let config = upstream.config("").replace("\"key\"", "\"key-0123456789\"");
    let gateway = Setup::new().env("GROQ_API_KEY", "groq-0123456789").config(&config).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let auth = peer.get("models.authStatus", json!({}));
    let rows = auth["providers"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["provider"].as_str().unwrap()).collect();
    assert_eq!(names, ["groq", "up"], "{auth}");
    assert_eq!((&rows[0]["apiKey"]["source"], &rows[1]["apiKey"]["source"]), (&json!("env"), &json!("config")));
    assert!(!auth.to_string().contains("0123456789"), "{auth}");
    assert_eq!(refused(&mut peer, "models.authStatus", json!({"agentId": "ghost"})), "unknown agent id \"ghost\"");
    let status = gateway.cli(&["models", "status", "--check"]);
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.status.success() && text.contains("up: key in the config"), "{status:?}");
    assert!(!text.contains("0123456789"), "{text}");
}

#[test]
fn the_tools_shown_are_the_tools_that_a_turn_gets() {
    let upstream = Upstream::play(vec![]);
    let more = ", tools: {profile: \"coding\", deny: [\"exec\"]}";
    let gateway = Setup::new().config(&upstream.config(more)).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let effective = peer.get("tools.effective", json!({"sessionKey": "main"}));
    let tools = effective["groups"][0]["tools"].as_array().unwrap();
    let shown: Vec<&str> = tools.iter().map(|tool| tool["id"].as_str().unwrap()).collect();
    turn(&mut peer, json!({"message": "hi", "idempotencyKey": "a"}));
    let asked = upstream.asked();
    let offered: Vec<&str> =
        asked["tools"].as_array().unwrap().iter().map(|tool| tool["function"]["name"].as_str().unwrap()).collect();
    assert_eq!(shown, offered);
    assert!(!shown.contains(&"exec") && shown.contains(&"process") && effective["profile"] == "coding", "{effective}");
    // commands that the approvals file forbids are not offered either
    let closed = json!({"file": {"version": 1, "defaults": {"security": "deny"}}});
    peer.get("exec.approvals.set", closed);
    let effective = peer.get("tools.effective", json!({"sessionKey": "main"})).to_string();
    assert!(!effective.contains("\"process\"") && effective.contains("\"read\""), "{effective}");
    let text = refused(&mut peer, "tools.effective", json!({"sessionKey": "main", "agentId": "ghost"}));
    assert!(text.contains("unknown agent id"), "{text}");
}

#[test]
fn steering_replaces_the_turn_that_runs() {
    let upstream = Upstream::play(vec![Act::SayAndHang(&["long"]), Act::Say(&["short"])]);
    let gateway = start(&upstream);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let text = refused(&mut peer, "sessions.steer", json!({"key": "main", "message": "hi"}));
    assert_eq!(text, "session not found: main");
    peer.get("sessions.send", json!({"key": "main", "message": "first", "idempotencyKey": "a"}));
    peer.event_where("agent", |p| p["stream"] == "assistant");
    let started = peer.get("sessions.steer", json!({"key": "main", "message": "rather this", "idempotencyKey": "b"}));
    assert_eq!(started, json!({"runId": "b", "status": "started"}));
    upstream.hung_up();
    let last = peer.event_where("chat", |p| p["runId"] == "b" && p["state"] == "final");
    assert_eq!(last["payload"]["message"]["content"][0]["text"], "short");
    assert_eq!(
        refused(&mut peer, "sessions.steer", json!({"key": "main", "message": " "})),
        "message or attachment required"
    );
}

#[test]
fn files_of_nodes_that_are_not_there_are_unavailable() {
    let gateway = Gateway::start();
    for hello in [Hello::v3(), Hello::v4()] {
        let mut peer = Peer::connect(&gateway, &hello);
        for (method, params) in [
            ("exec.approvals.node.get", json!({"nodeId": "n"})),
            ("exec.approvals.node.set", json!({"nodeId": "n", "file": {"version": 1}})),
        ] {
            let error = peer.call(method, params)["error"].clone();
            assert_eq!((&error["code"], &error["message"]), (&json!("UNAVAILABLE"), &json!("node not connected")));
            assert_eq!(error["details"]["nodeError"]["code"], "NOT_CONNECTED");
        }
    }
}
