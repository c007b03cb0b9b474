//! Chapter 9: tools called over HTTP, `/tools/invoke` (`spec/http.md` 9).

use std::io::Read;
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::harness::gateway::{Gateway, Setup};
use crate::harness::http::{Answer, Wire};
use crate::harness::peer::{Hello, Peer};
use crate::harness::replay::Replay;
use crate::harness::upstream::{Act, Upstream};
use crate::harness::{PATIENCE, TOKEN};

fn request(body: &str) -> String {
    let length = body.len();
    format!(
        "POST /tools/invoke HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn invoke(gateway: &Gateway, body: Value) -> Answer {
    Wire::open(gateway.port).ask(request(&body.to_string()))
}

fn error(answer: &Answer) -> (u16, String, String) {
    let text = |name: &str| answer.json()["error"][name].as_str().unwrap_or_default().to_string();
    (answer.status, text("type"), text("message"))
}

/// A gateway with one turn behind it, in the session `alice` of an interface for programs.
fn used(more: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::play(vec![Act::Say(&["Hello from the fake model."])]);
    let gateway = Setup::new().config(&upstream.config(more)).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    for key in ["agent:main:openai-user:alice", "main"] {
        let params = json!({"sessionKey": key, "message": "hi", "idempotencyKey": key});
        peer.get("chat.send", params);
        peer.get("agent.wait", json!({"runId": key}));
    }
    (gateway, upstream)
}

#[test]
fn it_answers_as_the_newer_original_does() {
    let (gateway, _upstream) = used("");
    Replay::of(&gateway)
        .shape(&["tools-invoke", "tools-invoke-history", "tools-invoke-status", "tools-invoke-agents"])
        // Parsers word it differently.
        .ignore("tools-invoke-badjson", &["/error/message"])
        // There is one way to run an agent here, so nothing to tell.
        .ignore("tools-invoke-agents", &["/result/details/agents/0/agentRuntime"])
        // A version of its state that clients of the original's own store need.
        .ignore("tools-invoke-status", &["/result/details/stateVersion"])
        // What the original's database knows of messages, and input that waits for approval, which does not exist here.
        .ignore(
            "tools-invoke-history",
            &["/result/details/messages/0", "/result/details/contentRedacted", "/result/details/pendingInputs"],
        )
        .play("tools");
}

#[test]
fn session_tools_show_what_is_there() {
    let (gateway, _upstream) = used("");
    let list = invoke(&gateway, json!({"tool": "sessions_list"})).json();
    let details = &list["result"]["details"];
    assert_eq!(details["count"], 2, "{list}");
    for name in ["key", "kind", "channel", "sessionId", "updatedAt", "agentId", "model"] {
        assert!(!details["sessions"][0][name].is_null(), "{name}: {list}");
    }
    assert_eq!(
        serde_json::from_str::<Value>(list["result"]["content"][0]["text"].as_str().unwrap()).unwrap(),
        *details
    );
    let args = json!({"sessionKey": "agent:main:openai-user:alice"});
    let history = invoke(&gateway, json!({"name": "sessions_history", "args": args})).json();
    let messages = history["result"]["details"]["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 2);
    assert!(messages[1].to_string().contains("Hello from the fake model."), "{history}");
    let status = invoke(&gateway, json!({"tool": "session_status", "sessionKey": "main", "agentId": "main"})).json();
    assert_eq!(status["result"]["details"]["sessionKey"], "agent:main:main");
    assert_eq!(status["result"]["content"][0]["text"], status["result"]["details"]["statusText"]);
    let unknown = invoke(&gateway, json!({"tool": "session_status", "args": {"sessionKey": "nobody"}}));
    assert_eq!(error(&unknown), (400, "tool_error".into(), "Unknown sessionKey: agent:main:nobody".into()));
}

#[test]
fn memory_is_searched_in_the_agents_workspace() {
    let gateway = Gateway::start();
    let folder = gateway.home().state("workspace");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("MEMORY.md"), "The boiler is serviced by Marta.\n").unwrap();
    let found = invoke(&gateway, json!({"tool": "memory_search", "args": {"query": "boiler"}}));
    assert!(found.status == 200 && found.body.contains("Marta"), "{}", found.body);
    let read = invoke(&gateway, json!({"tool": "memory_get", "args": {"path": "MEMORY.md"}}));
    assert!(read.status == 200 && read.body.contains("boiler"), "{}", read.body);
    let outside = invoke(&gateway, json!({"tool": "memory_get", "args": {"path": "../openclaw.json"}}));
    assert_eq!(error(&outside).0, 400, "{}", outside.body);
    let local =
        invoke(&gateway, json!({"tool": "web_fetch", "args": {"url": format!("http://127.0.0.1:{}/", gateway.port)}}));
    assert_eq!((error(&local).0, error(&local).1), (400, "tool_error".into()), "no private address: {}", local.body);
}

#[test]
fn what_policy_or_the_list_for_programs_denies_looks_unknown() {
    let config =
        r#"{tools: {deny: ["memory_get"]}, gateway: {tools: {deny: ["web_fetch"], allow: ["sessions_send"]}}}"#;
    let gateway = Setup::new().config(config).start();
    for tool in
        ["read", "write", "edit", "exec", "bash", "process", "apply_patch", "memory_get", "web_fetch", "zzz", "cron"]
    {
        let answer = invoke(&gateway, json!({"tool": tool, "args": {"path": "/etc/passwd", "command": "id"}}));
        assert_eq!(error(&answer), (404, "not_found".into(), format!("Tool not available: {tool}")));
    }
    let send = invoke(&gateway, json!({"tool": "sessions_send", "args": {}}));
    assert_eq!(error(&send).1, "tool_error", "allowed again: {}", send.body);
    let plain = Gateway::start();
    assert_eq!(invoke(&plain, json!({"tool": "sessions_send"})).status, 404);
    let planning = Setup::new().config(r#"{gateway: {tools: {allow: ["cron"]}}}"#).start();
    let list = invoke(&planning, json!({"tool": "cron", "args": {"action": "list"}}));
    assert_eq!(list.status, 200, "{}", list.body);
}

#[test]
fn wrong_sessions_and_bodies_are_refused() {
    let gateway = Gateway::start();
    let ghost = invoke(&gateway, json!({"tool": "sessions_list", "agentId": "ghost"}));
    let (status, kind, text) = error(&ghost);
    assert!(status == 400 && kind == "invalid_request" && text.contains("ghost"), "{text}");
    let other = invoke(&gateway, json!({"tool": "sessions_list", "agentId": "main", "sessionKey": "agent:x:y"}));
    assert_eq!(other.status, 400);
    let limit = invoke(&gateway, json!({"tool": "sessions_list", "args": {"limit": "many"}}));
    assert!(error(&limit).2.starts_with("invalid arguments for sessions_list"), "{}", limit.body);
    let large = format!("{{\"tool\":\"{}\"}}", "x".repeat(openclaw::limits::TOOLS_BODY_BYTES));
    assert_eq!(Wire::open(gateway.port).ask(request(&large)).status, 413);
    assert_eq!(Wire::open(gateway.port).ask(request(&"[".repeat(100_000))).status, 400);
    let many = format!("{{\"tool\":\"x\",\"args\":[{}0]}}", "0,".repeat(openclaw::limits::JSON_VALUES));
    assert_eq!(Wire::open(gateway.port).ask(request(&many)).status, 400);
    let anonymous = request("{}").replace(TOKEN, "wrong");
    assert_eq!(Wire::open(gateway.port).ask(anonymous).status, 401);
}

#[test]
fn a_client_that_leaves_stops_its_tool_and_others_are_bounded() {
    let upstream = Upstream::play(vec![Act::Hang]);
    let gateway = Setup::new().config(&upstream.config(r#", gateway: {tools: {allow: ["sessions_send"]}}"#)).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let args = json!({"sessionKey": "agent:main:s", "message": "hi", "timeoutSeconds": 60});
    let hanging = request(&json!({"tool": "sessions_send", "args": args}).to_string());
    peer.get("sessions.create", json!({"key": "agent:main:s"}));
    let mut wires: Vec<Wire> = Vec::new();
    // The last place may be taken by the call that looks for it, so there are a few more than fit.
    let refused = std::iter::repeat_with(|| {
        let mut wire = Wire::open(gateway.port);
        wire.send(&hanging);
        wires.push(wire);
        invoke(&gateway, json!({"tool": "agents_list"}))
    });
    let refused = refused
        .take(10 * openclaw::limits::PROGRAM_TOOLS)
        .find(|answer| answer.status == 503)
        .expect("nothing bounds the number of tools");
    assert_eq!((error(&refused).1.as_str(), refused.header("retry-after")), ("unavailable", Some("1")));
    drop(wires);
    let free = std::iter::repeat_with(|| invoke(&gateway, json!({"tool": "agents_list"})))
        .take(100_000)
        .any(|answer| answer.status == 200);
    assert!(free, "tools of clients that left were not stopped");
}

#[test]
fn a_silent_web_server_does_not_hold_up_a_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = Gateway::start();
    let mut wire = Wire::open(gateway.port);
    let url = format!("http://localhost:{}/", listener.local_addr().unwrap().port());
    wire.send(request(&json!({"tool": "web_fetch", "args": {"url": url}}).to_string()));
    let began = std::time::Instant::now();
    let (status, _home) = gateway.stop();
    assert!(status.success() && began.elapsed() < PATIENCE / 2);
    let _ = wire.socket.read(&mut [0; 16]);
}
