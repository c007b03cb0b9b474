//! Chapter 8: plain HTTP on the same port (`spec/http.md` 2 to 5): routes, framing, refusals, upgrades.

use serde_json::json;

use crate::harness::TOKEN;
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::http::{Answer, Wire, fetch, get};
use crate::harness::peer::{Hello, Peer};
use crate::harness::websocket::{Socket, TEXT, frame, upgrade_request};

/// One request on a connection of its own.
fn ask(gateway: &Gateway, request: impl AsRef<[u8]>) -> Answer {
    Wire::open(gateway.port).ask(request)
}

#[test]
fn the_probes_answer_without_a_secret() {
    let gateway = Gateway::start();
    for path in ["/health", "/healthz"] {
        let answer = fetch(gateway.port, path);
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"ok":true,"status":"live"}"#));
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    for path in ["/ready", "/readyz"] {
        let answer = fetch(gateway.port, path);
        assert_eq!((answer.status, &answer.json()["ready"]), (200, &json!(true)));
        assert_eq!(answer.json()["failing"], json!([]));
        assert!(answer.json()["uptimeMs"].is_u64());
    }
    for path in ["/startup", "/startupz"] {
        let answer = fetch(gateway.port, path).json();
        assert_eq!((&answer["ok"], &answer["status"]), (&json!(true), &json!("started")));
        assert!(answer["version"].is_string() && answer["uptimeMs"].is_u64());
    }
}

#[test]
fn probes_take_get_and_head_only_and_have_nothing_below() {
    let gateway = Gateway::start();
    for path in ["/health", "/readyz", "/startup"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
            let answer = ask(&gateway, format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method} {path}");
            assert_eq!(answer.body, "Method Not Allowed");
        }
        let mut wire = Wire::open(gateway.port);
        wire.send(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let answer = wire.head_answer().unwrap();
        assert_eq!(answer.status, 200);
        assert_ne!(answer.header("content-length"), Some("0"));
        assert_eq!(wire.ask(get("/health")).status, 200, "HEAD has no body to trip over");
        assert_eq!(fetch(gateway.port, &format!("{path}/x")).status, 404);
    }
}

#[test]
fn the_index_says_what_this_is_and_the_rest_is_not_found() {
    let gateway = Gateway::start();
    let index = fetch(gateway.port, "/");
    assert_eq!(index.status, 200);
    assert_eq!(index.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(index.body.contains("OpenClaw"));
    assert!(!index.body.contains(TOKEN));
    for path in ["/api/x", "/v1/models", "/v1/chat/completions", "/plugins/x", "/..%2f..%2fetc/passwd", "/%00"] {
        let answer = fetch(gateway.port, path);
        assert_eq!((answer.status, answer.body.as_str()), (404, "Not Found"), "{path}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    }
    assert_eq!(ask(&gateway, "POST /nowhere HTTP/1.1\r\nHost: x\r\n\r\n").status, 404);
}

#[test]
fn every_answer_carries_the_security_headers_and_none_allows_another_origin() {
    let gateway = Gateway::start();
    let requests = [
        get("/"),
        get("/health"),
        get("/nowhere"),
        "OPTIONS / HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\n\r\n".into(),
        "BAD".repeat(3) + "\r\n\r\n",
    ];
    for request in requests {
        let answer = ask(&gateway, &request);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{request:?}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert!(answer.header("permissions-policy").is_some());
        assert!(answer.header("access-control-allow-origin").is_none());
        assert!(answer.header("server").is_none());
    }
}

#[test]
fn strict_transport_security_is_sent_when_configured() {
    let config = r#"{gateway: {mode: "local", http: {securityHeaders: {strictTransportSecurity: "max-age=60"}}}}"#;
    let gateway = Setup::new().config(config).start();
    assert_eq!(fetch(gateway.port, "/health").header("strict-transport-security"), Some("max-age=60"));
}

#[test]
fn a_connection_is_kept_and_requests_may_follow_each_other_unasked() {
    let gateway = Gateway::start();
    let mut wire = Wire::open(gateway.port);
    for _ in 0..3 {
        assert_eq!(wire.ask(get("/health")).status, 200);
    }
    wire.send(format!("{}{}{}", get("/health"), get("/nowhere"), get("/ready")));
    let statuses: Vec<u16> = (0..3).map(|_| wire.answer().unwrap().status).collect();
    assert_eq!(statuses, [200, 404, 200]);
    let last = wire.ask("GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(last.closes());
    assert!(wire.ends());
}

#[test]
fn http_1_0_is_answered_and_closed_unless_it_asks_to_stay() {
    let gateway = Gateway::start();
    let mut wire = Wire::open(gateway.port);
    assert_eq!(wire.ask("GET /health HTTP/1.0\r\n\r\n").status, 200);
    assert!(wire.ends());
}

#[test]
fn a_head_may_arrive_byte_by_byte() {
    let gateway = Gateway::start();
    let mut wire = Wire::open(gateway.port);
    for byte in get("/health").bytes() {
        wire.send([byte]);
    }
    assert_eq!(wire.answer().unwrap().status, 200);
}

#[test]
fn heads_that_are_too_large_are_refused_with_431() {
    let gateway = Gateway::start();
    let long_path = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(20_000));
    let long_header = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(20_000));
    let many: String = (0..100).map(|n| format!("X-{n}: 1\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    let endless = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(40_000));
    for request in [long_path, long_header, many, endless] {
        let answer = ask(&gateway, &request);
        assert_eq!(answer.status, 431, "{:?}", &request[..40]);
        assert!(answer.closes());
    }
    assert_eq!(fetch(gateway.port, "/health").status, 200);
}

/// Heads whose framing two programs could read differently. None may bring a second answer.
const SMUGGLED: &[(&str, &str)] = &[
    (
        "length and chunked",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    (
        "two lengths",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 35\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    (
        "a list of lengths",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0, 35\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    (
        "a signed length",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    (
        "a negative length",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    (
        "a hexadecimal length",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    (
        "an overflowing length",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551616\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    (
        "an empty length",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    (
        "another coding",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    (
        "a coding after chunked",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    (
        "chunked twice",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    (
        "a disguised coding",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    (
        "a tab in the coding",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\tchunked\x0b\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    (
        "a space before the colon",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    (
        "a folded line",
        "POST / HTTP/1.1\r\nHost: x\r\nX: a\r\n Transfer-Encoding: chunked\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    ("a bare carriage return", "GET / HTTP/1.1\r\nHost: x\r\nX: a\rGET /health HTTP/1.1\r\n\r\n"),
    ("a null in a value", "GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n"),
    ("no host", "GET / HTTP/1.1\r\nX: 1\r\n\r\n"),
    ("two hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
    ("a space in the target", "GET / x HTTP/1.1\r\nHost: x\r\n\r\n"),
    (
        "a chunked body on 1.0",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    ("a header line without a colon", "GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n"),
    ("a header line without a name", "GET / HTTP/1.1\r\nHost: x\r\n: value\r\n\r\n"),
];

#[test]
fn ambiguous_heads_are_refused_and_nothing_behind_them_is_answered() {
    let gateway = Gateway::start();
    for (name, request) in SMUGGLED {
        let mut wire = Wire::open(gateway.port);
        let answer = wire.ask(request);
        assert!([400, 501].contains(&answer.status), "{name}: {answer:?}");
        assert!(answer.closes(), "{name}");
        assert!(wire.ends(), "{name}: a second answer");
    }
    assert_eq!(fetch(gateway.port, "/health").status, 200);
}

#[test]
fn a_body_nobody_wants_is_never_read_as_a_request() {
    let gateway = Gateway::start();
    let body = get("/health");
    let request = format!("POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut wire = Wire::open(gateway.port);
    assert_eq!(wire.ask(request).status, 404);
    if let Some(second) = {
        wire.send(get("/nowhere"));
        wire.finish();
        wire.answer()
    } {
        assert_eq!(second.status, 404, "the body was answered as a request");
    }
}

#[test]
fn a_declared_body_over_the_limit_is_refused_unread() {
    let gateway = Gateway::start();
    let mut wire = Wire::open(gateway.port);
    let answer = wire.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n");
    assert_eq!(answer.status, 413);
    assert_eq!(answer.json(), json!({"error": {"message": "Payload too large", "type": "invalid_request_error"}}));
    assert!(answer.closes() && wire.ends());
}

#[test]
fn an_expectation_we_cannot_meet_is_417() {
    let gateway = Gateway::start();
    let answer = ask(&gateway, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: magic\r\n\r\n");
    assert_eq!(answer.status, 417);
}

#[test]
fn other_upgrades_and_broken_ones_are_refused() {
    let gateway = Gateway::start();
    let requests = [
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n".to_string(),
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
            .into(),
        upgrade_request("/", "").replace("dGhlIHNhbXBsZSBub25jZQ==", "short"),
    ];
    for request in &requests {
        assert_eq!(ask(&gateway, request).status, 400, "{request}");
    }
    assert_eq!(ask(&gateway, &requests[1]).body, "Missing or invalid Sec-WebSocket-Key header");
}

#[test]
fn a_websocket_opens_on_any_path() {
    let gateway = Gateway::start();
    for path in ["/", "/ws", "/v1/models?x=1", "/health", "/a/b/c"] {
        Peer::over(Socket::open_with(gateway.port, path, "Sec-WebSocket-Extensions: permessage-deflate\r\n"));
    }
}

#[test]
fn the_first_offered_subprotocol_is_echoed_and_compression_is_not() {
    let gateway = Gateway::start();
    let more = "Sec-WebSocket-Protocol: one, two\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
    let answer = ask(&gateway, upgrade_request("/", more));
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("sec-websocket-protocol"), Some("one"));
    assert!(answer.header("sec-websocket-extensions").is_none());
}

#[test]
fn frames_in_the_same_packet_as_the_head_are_not_lost() {
    let gateway = Gateway::start();
    let connect = json!({"type": "req", "id": "early", "method": "connect", "params": Hello::v3().params()});
    let mut packet = upgrade_request("/", "").into_bytes();
    packet.extend(frame(true, TEXT, true, connect.to_string().as_bytes()));
    let mut wire = Wire::open(gateway.port);
    assert_eq!(wire.ask(packet).status, 101);
    let mut peer = Peer::over(Socket::over(wire));
    assert_eq!(peer.response("early")["ok"], true);
}

#[test]
fn an_upgrade_works_on_a_kept_connection() {
    let gateway = Gateway::start();
    let mut wire = Wire::open(gateway.port);
    assert_eq!(wire.ask(get("/health")).status, 200);
    assert_eq!(wire.ask(upgrade_request("/", "")).status, 101);
    Peer::over(Socket::over(wire));
}

#[test]
fn forwarded_requests_of_an_unknown_proxy_are_refused_but_live_probes_are_not() {
    let gateway = Gateway::start();
    for header in [
        "X-Forwarded-For: 192.0.2.1",
        "X-Real-IP: 192.0.2.1",
        "Forwarded: for=192.0.2.1",
        "X-Forwarded-Host: a.example",
    ] {
        let answer = ask(&gateway, format!("GET / HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n"));
        assert_eq!(answer.status, 403, "{header}");
        assert_eq!(answer.json()["error"]["type"], "proxy_attribution_required");
        assert_eq!(ask(&gateway, upgrade_request("/", &format!("{header}\r\n"))).status, 403);
        assert_eq!(ask(&gateway, format!("GET /health HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n")).status, 200);
    }
}

#[test]
fn a_trusted_proxy_speaks_for_its_client() {
    let config = r#"{gateway: {mode: "local", trustedProxies: ["127.0.0.1"]}}"#;
    let gateway = Setup::new().config(config).start();
    let answer = ask(&gateway, "GET /ready HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"ready":true}"#), "a stranger sees no details");
    let more = format!("Authorization: Bearer {TOKEN}\r\nX-Forwarded-For: 192.0.2.1\r\n");
    let answer = ask(&gateway, format!("GET /ready HTTP/1.1\r\nHost: x\r\n{more}\r\n"));
    assert!(answer.json()["uptimeMs"].is_u64(), "{answer:?}");
}

#[test]
fn garbage_is_answered_or_closed_but_never_hangs() {
    let gateway = Gateway::start();
    let cases: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\xff\xfe\xfd GET\r\n\r\n",
    ];
    for bytes in cases {
        let mut wire = Wire::open(gateway.port);
        wire.send(bytes);
        wire.finish();
        if let Some(answer) = wire.answer() {
            assert!(answer.status >= 400, "{bytes:?}: {answer:?}");
        }
    }
    assert_eq!(fetch(gateway.port, "/health").status, 200);
}
