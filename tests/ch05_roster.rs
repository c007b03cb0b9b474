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
    upstream.asked();
    let busy = peer.call("agents.delete", json!({"agentId": "ops"}));
    assert_eq!((&busy["error"]["code"], &busy["error"]["retryable"]), (&json!("UNAVAILABLE"), &json!(true)), "{busy}");
    peer.response(&id);
    upstream.hung_up();
    peer.get("agent.wait", json!({"runId": "a", "timeoutMs": 5000}));
    // The run's thread may need a moment more; the error said that it may be tried again.
    let gone = (0..200).any(|_| peer.call("agents.delete", json!({"agentId": "ops"}))["ok"] == true);
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
