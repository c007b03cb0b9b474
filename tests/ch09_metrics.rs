//! Chapter 9, metrics: `GET /metrics` by raw HTTP: off by default, behind the secret, and counting what really happened.

use serde_json::json;

use crate::harness::TOKEN;
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::http::{Answer, Wire, fetch};
use crate::harness::peer::{Hello, Peer};
use crate::harness::upstream::{Act, Upstream};

const ON: &str = "{gateway: {mode: \"local\", metrics: {enabled: true}}}";

fn scrape(gateway: &Gateway) -> Answer {
    Wire::open(gateway.port).ask(format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"))
}

/// The value of a sample, by everything that stands before it.
fn value(answer: &Answer, sample: &str) -> Option<f64> {
    let found = answer.body.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    found.map(|text| text.parse().unwrap())
}

#[test]
fn it_is_off_by_default_and_takes_the_secret_and_get_alone() {
    let gateway = Gateway::start();
    assert_eq!(scrape(&gateway).status, 404);
    let gateway = Setup::new().config(ON).start();
    assert_eq!(fetch(gateway.port, "/metrics").status, 401);
    let post = format!("POST /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    let answer = Wire::open(gateway.port).ask(post);
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")));
    let answer = scrape(&gateway);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(!answer.body.contains(TOKEN));
}

#[test]
fn what_happened_is_counted() {
    let gateway = Setup::new().config(ON).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    for _ in 0..3 {
        peer.call("health", json!({}));
    }
    assert_eq!(peer.call("no.such.method", json!({}))["ok"], false);
    let wrong = "GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong\r\n\r\n";
    assert_eq!(Wire::open(gateway.port).ask(wrong).status, 401);
    assert_eq!(Wire::open(gateway.port).ask("garbage\r\n\r\n").status, 400);
    let answer = scrape(&gateway);
    let of = |sample: &str| value(&answer, sample);
    assert_eq!(of(r#"openclaw_requests_total{method="health",outcome="ok"}"#), Some(3.0));
    assert_eq!(of(r#"openclaw_requests_total{method="unknown",outcome="refused"}"#), Some(1.0));
    assert_eq!(of(r#"openclaw_handshakes_total{outcome="admitted"}"#), Some(1.0));
    assert_eq!(of("openclaw_login_failures_total"), Some(1.0));
    assert_eq!(of(r#"openclaw_http_requests_total{route="/metrics",status="4xx"}"#), Some(1.0));
    assert_eq!(of(r#"openclaw_http_requests_total{route="malformed",status="4xx"}"#), Some(1.0));
    assert_eq!(of(r#"openclaw_http_requests_total{route="websocket",status="1xx"}"#), Some(1.0));
    assert_eq!(of("openclaw_websockets"), Some(1.0));
    assert!(of("openclaw_event_seconds_count").unwrap() >= 5.0);
    assert!(of("openclaw_connections").unwrap() >= 2.0);
    assert!(of("process_start_time_seconds").unwrap() > 1.7e9);
    assert!(!cfg!(target_os = "linux") || of("process_resident_memory_bytes").unwrap() > 1e6);
    assert_eq!(of(r#"openclaw_trouble_total{type="ws.slow_consumer"}"#), Some(0.0));
    // the answers before this one count in the next
    let answer = scrape(&gateway);
    assert_eq!(value(&answer, r#"openclaw_http_requests_total{route="/metrics",status="2xx"}"#), Some(1.0));
}

#[test]
fn hooks_have_one_place_whatever_their_path() {
    let config = "{gateway: {mode: \"local\", metrics: {enabled: true}}, hooks: {enabled: true, token: \"hook\"}}";
    let gateway = Setup::new().config(config).start();
    let post = |path: &str, token: &str, body: &str| {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nX-OpenClaw-Token: {token}\r\nContent-Length: {length}");
        Wire::open(gateway.port).ask(format!("{head}\r\n\r\n{body}")).status
    };
    assert_eq!(post("/hooks/wake", "hook", r#"{"text": "x", "mode": "next-heartbeat"}"#), 200);
    assert_eq!(post("/hooks/wake", "wrong", "{}"), 401);
    assert_eq!(post("/hooks/my-secret-path", "hook", "{}"), 404);
    assert_eq!(post("/elsewhere", "hook", "{}"), 404);
    let answer = scrape(&gateway);
    let of = |route: &str, status: &str| {
        value(&answer, &format!(r#"openclaw_http_requests_total{{route="{route}",status="{status}"}}"#))
    };
    assert_eq!((of("/hooks", "2xx"), of("/hooks", "4xx"), of("other", "4xx")), (Some(1.0), Some(2.0), Some(1.0)));
    assert!(!answer.body.contains("my-secret-path"));
}

#[test]
fn turns_and_their_tokens_are_counted() {
    let upstream = Upstream::play(vec![Act::Say(&["hi"]), Act::Refuse(400, "", r#"{"error":{"message":"no"}}"#)]);
    let gateway =
        Setup::new().config(&upstream.config(", gateway: {mode: \"local\", metrics: {enabled: true}}")).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    for key in ["one", "two"] {
        let id = peer.send("agent", json!({"message": "hello", "idempotencyKey": key, "agentId": "main"}));
        assert_eq!(peer.response(&id)["payload"]["status"], "accepted");
        let end = peer.response(&id);
        assert_eq!(end["ok"], key == "one", "{end}");
    }
    let answer = scrape(&gateway);
    let of = |sample: &str| value(&answer, sample);
    assert_eq!(of(r#"openclaw_runs_total{outcome="ok"}"#), Some(1.0));
    assert_eq!(of(r#"openclaw_runs_total{outcome="error"}"#), Some(1.0));
    assert_eq!(of(r#"openclaw_runs_active{state="running"}"#), Some(0.0));
    assert_eq!(of(r#"openclaw_tokens_total{provider="up",model="m",kind="input"}"#), Some(10.0));
    assert_eq!(of(r#"openclaw_tokens_total{provider="up",model="m",kind="output"}"#), Some(2.0));
    assert_eq!(of(r#"openclaw_requests_total{method="agent",outcome="accepted"}"#), Some(2.0));
    assert_eq!(of("openclaw_late_failures_total"), Some(1.0));
}
