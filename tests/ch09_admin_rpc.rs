//! Chapter 9: the protocol's methods over HTTP, `/api/v1/admin/rpc` (`spec/http.md` 13).

use serde_json::{Value, json};

use crate::harness::gateway::{Gateway, Setup};
use crate::harness::http::{Answer, Wire, get};
use crate::harness::peer::{Hello, Peer};
use crate::harness::replay::Replay;
use crate::harness::{PATIENCE, TOKEN};

const ON: &str = r#"{plugins: {entries: {"admin-http-rpc": {enabled: true}}}}"#;

fn gateway() -> Gateway {
    Setup::new().config(ON).start()
}

fn request(body: &str) -> String {
    let length = body.len();
    format!(
        "POST /api/v1/admin/rpc HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn call(gateway: &Gateway, method: &str, params: Value) -> Answer {
    let body = json!({"id": "r", "method": method, "params": params}).to_string();
    Wire::open(gateway.port).ask(request(&body))
}

#[test]
fn it_answers_as_the_newer_original_does() {
    let gateway = gateway();
    Replay::of(&gateway)
        // `config.set` is not there yet, so it is refused as a method, not for its parameters.
        .ignore("adminrpc-badparams", &["/error/message"])
        // One of the two has more to say: a list of what there is, not the list of the original.
        .ignore("adminrpc-list", &["/payload/methods"])
        .leave_out("adminrpc-health", "what it says of health is compared below, member by member")
        .play("adminrpc");
}

#[test]
fn it_is_off_until_it_is_switched_on() {
    let gateway = Gateway::start();
    let answer = call(&gateway, "health", json!({}));
    assert_eq!((answer.status, answer.body.as_str()), (404, "Not Found"));
}

#[test]
fn a_method_answers_what_it_answers_a_client() {
    let gateway = gateway();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    for method in ["agents.list", "channels.status", "node.list", "exec.approvals.get", "models.list"] {
        let answer = call(&gateway, method, json!({}));
        assert_eq!(answer.status, 200, "{method}: {}", answer.body);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let (mut answer, mut payload) = (answer.json(), peer.get(method, json!({})));
        // The moment of asking.
        answer["payload"].as_object_mut().unwrap().remove("ts");
        payload.as_object_mut().unwrap().remove("ts");
        assert_eq!(answer, json!({"id": "r", "ok": true, "payload": payload}), "{method}");
    }
    let health = call(&gateway, "health", json!({})).json();
    assert_eq!(health["payload"]["ok"], true);
    assert!(health["payload"]["agents"].is_array() && health["payload"]["ts"].is_u64());
}

#[test]
fn an_answer_that_comes_from_the_disk_comes_too() {
    let gateway = gateway();
    let tail = call(&gateway, "logs.tail", json!({"limit": 5})).json();
    assert!(tail["payload"]["lines"].as_array().is_some_and(|lines| !lines.is_empty()), "{tail}");
    let config = call(&gateway, "config.get", Value::Null).json();
    assert_eq!(config["payload"]["valid"], true, "{config}");
    assert!(!config.to_string().contains(TOKEN));
    let bad = call(&gateway, "logs.tail", json!({"limit": 0}));
    assert_eq!((bad.status, &bad.json()["error"]["code"]), (400, &json!("INVALID_REQUEST")));
}

#[test]
fn a_caller_is_no_client_and_gets_no_event() {
    let gateway = gateway();
    let presence = call(&gateway, "status", json!({}));
    assert_eq!(presence.status, 200);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let listed = peer.get("system-presence", json!({}));
    assert_eq!(listed.as_array().unwrap().len(), 2, "the gateway and the peer: {listed}");
}

#[test]
fn many_calls_on_one_connection_each_get_their_own_answer() {
    let gateway = gateway();
    let mut wire = Wire::open(gateway.port);
    let bodies: Vec<String> = (0..50).map(|n| json!({"id": format!("n{n}"), "method": "status"}).to_string()).collect();
    wire.send(bodies.iter().map(|body| request(body)).collect::<String>());
    for n in 0..50 {
        let answer = wire.answer().unwrap().json();
        assert_eq!((&answer["id"], &answer["ok"]), (&json!(format!("n{n}")), &json!(true)));
    }
}

#[test]
fn what_is_no_call_is_refused_in_its_own_words() {
    let gateway = gateway();
    let said = |body: &str| {
        let answer = Wire::open(gateway.port).ask(request(body));
        (answer.status, answer.json()["error"]["message"].as_str().unwrap().to_string())
    };
    assert_eq!(said(""), (400, "request body must be JSON".into()));
    assert_eq!(said("[]"), (400, "request body must be an object".into()));
    assert_eq!(said("{\"method\": 5}"), (400, "method must be a non-empty string".into()));
    assert_eq!(said(&"[".repeat(100_000)), (400, "request body must be valid JSON".into()));
    let large = format!("{{\"method\":\"{}\"}}", "x".repeat(openclaw::limits::ADMIN_BODY_BYTES));
    assert_eq!(said(&large), (413, "Payload too large".into()));
    let name = format!("{{\"id\":\"a\",\"method\":\"{}\"}}", "x".repeat(100_000));
    let (status, text) = said(&name);
    assert!(status == 400 && text.len() < 300, "{text}");
    assert_eq!(Wire::open(gateway.port).ask(get("/api/v1/admin/rpc/x")).status, 404);
}

#[test]
fn a_stop_does_not_wait_for_calls() {
    let gateway = gateway();
    assert_eq!(call(&gateway, "status", json!({})).status, 200);
    let began = std::time::Instant::now();
    let (status, _home) = gateway.stop();
    assert!(status.success() && began.elapsed() < PATIENCE / 2);
}
