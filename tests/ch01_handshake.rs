//! Chapter 1: the challenge, the first frame and the negotiation of a version (`spec/protocol.md` 2 and 7).

use serde_json::{Value, json};

use crate::harness::device::Device;
use crate::harness::gateway::Gateway;
use crate::harness::peer::{Hello, Peer};
use crate::harness::websocket::{BINARY, Socket};

/// A first frame that is no connect: the answer, if any, and the close that must follow.
fn first_frame(gateway: &Gateway, text: &str) -> (Option<Value>, (u16, String)) {
    let mut peer = Peer::open(gateway);
    peer.socket.text(text);
    let mut answer = None;
    loop {
        match peer.socket.next() {
            crate::harness::websocket::Arrival::Text(text) => answer = serde_json::from_str(&text).ok(),
            crate::harness::websocket::Arrival::Close(code, reason) => return (answer, (code, reason)),
            other => panic!("a close frame was due, {other:?} came"),
        }
    }
}

#[test]
fn the_challenge_comes_first_and_its_nonce_is_fresh() {
    let gateway = Gateway::start();
    let (one, two) = (Peer::open(&gateway), Peer::open(&gateway));
    assert_ne!(one.nonce, two.nonce);
    assert!(one.nonce.len() >= 16);
}

#[test]
fn a_first_frame_that_is_not_json_is_closed_with_1000_and_no_answer() {
    let gateway = Gateway::start();
    for text in ["hello", "{\"type\":", "", "{} {}", "\u{0}"] {
        assert_eq!(first_frame(&gateway, text), (None, (1000, String::new())), "{text:?}");
    }
}

#[test]
fn a_first_frame_that_is_no_request_is_closed_with_1008_and_no_answer() {
    let gateway = Gateway::start();
    let frames = [
        r#"{"type":"event","event":"x"}"#,
        "[]",
        "null",
        "1",
        r#"{"type":"req","method":"connect"}"#,
        r#"{"type":"req","id":"1"}"#,
        r#"{"type":"req","id":"","method":"connect"}"#,
        r#"{"type":"req","id":1,"method":"connect"}"#,
        r#"{"type":"req","id":"1","method":"connect","extra":1}"#,
    ];
    for text in frames {
        let expected = (None, (1008, "invalid request frame".to_string()));
        assert_eq!(first_frame(&gateway, text), expected, "{text}");
    }
}

#[test]
fn a_first_request_other_than_connect_is_answered_and_closed() {
    let gateway = Gateway::start();
    let (answer, close) = first_frame(&gateway, r#"{"type":"req","id":"a","method":"health"}"#);
    let answer = answer.unwrap();
    let text = "invalid handshake: first request must be connect";
    assert_eq!(answer["id"], "a");
    assert_eq!(answer["ok"], false);
    assert_eq!(answer["error"]["code"], "INVALID_REQUEST");
    assert_eq!(answer["error"]["message"], text);
    assert_eq!(close, (1008, text.to_string()));
}

#[test]
fn connect_parameters_against_the_schema_are_named_and_closed_with_the_same_text() {
    let gateway = Gateway::start();
    let long = "x".repeat(200);
    let cases: Vec<(Value, String)> = vec![
        (json!({}), "must have required property 'minProtocol'".into()),
        (bad(|params| params["client"]["id"] = "ios-node".into()), "at /client/id: must be equal to constant".into()),
        (
            bad(|params| params["client"]["mode"] = "operator".into()),
            "at /client/mode: must be equal to constant".into(),
        ),
        (bad(|params| params["minProtocol"] = 0.into()), "at /minProtocol: must be >= 1".into()),
        (bad(|params| params["caps"] = json!([""])), "at /caps/0: must NOT have fewer than 1 characters".into()),
        (bad(|params| params["bogus"] = 1.into()), "at root: unexpected property 'bogus'".into()),
        (bad(|params| params["client"]["bogus"] = 1.into()), "at /client: unexpected property 'bogus'".into()),
        (bad(|params| params["auth"] = json!({"token": 7})), "at /auth/token: must be string".into()),
        (bad(|params| params[&long] = 1.into()), "at root: unexpected property 'xxxxxxx".into()),
    ];
    for (params, part) in cases {
        let mut peer = Peer::open(&gateway);
        let answer = peer.greet(params);
        let message = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}")).to_string();
        assert_eq!(answer["error"]["code"], "INVALID_REQUEST");
        assert!(message.starts_with("invalid connect params: "), "{message}");
        assert!(message.contains(&part), "{message}");
        let (code, reason) = peer.closed();
        assert_eq!(code, 1008);
        assert!(reason.len() <= 120 && message.starts_with(&reason) && !reason.is_empty(), "{reason:?}");
    }
}

fn bad(change: impl FnOnce(&mut Value)) -> Value {
    let mut params = Hello::v3().params();
    change(&mut params);
    params
}

#[test]
fn a_close_reason_is_cut_at_a_character() {
    let gateway = Gateway::start();
    let mut peer = Peer::open(&gateway);
    peer.greet(bad(|params| params["ä".repeat(100)] = 1.into()));
    let (code, reason) = peer.closed();
    assert_eq!(code, 1008);
    assert!(reason.len() <= 120 && reason.contains('ä'));
}

#[test]
fn versions_are_negotiated_as_the_table_says() {
    let gateway = Gateway::start();
    // (min, max, mode, the version that is agreed, or none)
    let cases = [
        (3, 3, "backend", Some(3)),
        (4, 4, "backend", Some(4)),
        (3, 4, "backend", Some(4)),
        (1, 9, "backend", Some(4)),
        (1, 3, "backend", Some(3)),
        (3, 4, "probe", Some(4)),
        (1, 2, "backend", None),
        (5, 6, "backend", None),
        (4, 3, "backend", None),
    ];
    for (min, max, mode, expected) in cases {
        let mut hello = Hello::v4().client("gateway-client", mode);
        hello.protocol = (min, max);
        let mut peer = Peer::open(&gateway);
        let answer = peer.greet(hello.params());
        match expected {
            Some(version) => assert_eq!(answer["payload"]["protocol"], version, "{min}..{max} {mode}: {answer}"),
            None => {
                assert_eq!(answer["error"]["message"], "protocol mismatch", "{min}..{max}: {answer}");
                assert_eq!(answer["error"]["code"], "INVALID_REQUEST");
                assert!(answer["error"]["details"]["expectedProtocol"].is_u64(), "{answer}");
                assert_eq!(peer.closed(), (1002, "protocol mismatch".to_string()));
            }
        }
    }
}

#[test]
fn a_node_that_fell_back_to_3_is_answered_with_3_although_it_signs_the_newer_form() {
    let gateway = Gateway::start();
    let hello = Hello { protocol: (3, 3), ..Hello::v4().node(&["system.run"]) };
    let peer = Peer::connect_device(&gateway, &hello, &Device::number(1), 3);
    assert_eq!(peer.hello["protocol"], 3);
}

#[test]
fn an_unknown_role_is_refused() {
    let gateway = Gateway::start();
    let mut peer = Peer::open(&gateway);
    let answer = peer.greet(Hello::v3().role("admin").params());
    assert_eq!(answer["error"]["message"], "invalid role", "{answer}");
    assert_eq!(peer.closed(), (1008, "invalid role".to_string()));
}

#[test]
fn hello_ok_carries_what_both_generations_need() {
    let gateway = Gateway::start();
    for (hello, payload, buffered) in [(Hello::v3(), 524_288, 1_572_864), (Hello::v4(), 26_214_400, 52_428_800)] {
        let peer = Peer::connect(&gateway, &hello);
        let greeting = &peer.hello;
        assert_eq!(greeting["policy"]["maxPayload"], payload, "{greeting}");
        assert_eq!(greeting["policy"]["maxBufferedBytes"], buffered);
        assert_eq!(greeting["policy"]["tickIntervalMs"], 30_000);
        assert!(greeting["server"]["connId"].as_str().is_some_and(|id| !id.is_empty()));
        assert!(greeting["server"]["version"].as_str().is_some_and(|version| !version.is_empty()));
        let methods = greeting["features"]["methods"].as_array().unwrap();
        assert!(methods.contains(&"health".into()) && methods.contains(&"system-presence".into()));
        assert!(greeting["features"]["events"].as_array().unwrap().contains(&"tick".into()));
        let presence = greeting["snapshot"]["presence"].as_array().unwrap();
        assert!(presence.iter().any(|entry| entry["mode"] == "gateway" && entry["reason"] == "self"));
        assert!(presence.iter().any(|entry| entry["mode"] == "backend"), "the newcomer is in its own snapshot");
        assert!(greeting["snapshot"]["stateVersion"]["presence"].as_u64().is_some_and(|version| version >= 1));
        assert!(greeting["snapshot"]["uptimeMs"].is_u64());
        assert_eq!(greeting["auth"]["role"], "operator");
    }
}

#[test]
fn hello_ok_and_every_advertised_name_come_from_the_table() {
    let gateway = Gateway::start();
    for (hello, version) in [(Hello::v3(), 3), (Hello::v4(), 4)] {
        let peer = Peer::connect(&gateway, &hello);
        let names = |member: &str| -> Vec<String> {
            let list = peer.hello["features"][member].as_array().unwrap();
            list.iter().map(|name| name.as_str().unwrap().to_string()).collect()
        };
        assert_eq!(names("methods"), openclaw::protocol::methods::names(version));
        assert_eq!(names("events"), openclaw::protocol::events::names(version));
        let connect = openclaw::protocol::methods::find("connect");
        if let Some(row) = connect {
            let faults = openclaw::protocol::check::check(row.result, &peer.hello);
            assert!(faults.is_empty(), "{}", openclaw::protocol::check::text(&faults));
        }
    }
}

#[test]
fn a_binary_message_with_json_is_as_good_as_text() {
    let gateway = Gateway::start();
    let mut peer = Peer::open(&gateway);
    let frame = json!({"type": "req", "id": "b", "method": "connect", "params": Hello::v3().params()});
    peer.socket.frame(true, BINARY, frame.to_string().as_bytes());
    assert_eq!(peer.response("b")["ok"], true);
    peer.alive();
}

#[test]
fn a_fragmented_connect_with_a_ping_between_is_put_together() {
    let gateway = Gateway::start();
    let mut peer = Peer::open(&gateway);
    let frame = json!({"type": "req", "id": "f", "method": "connect", "params": Hello::v4().params()}).to_string();
    let (one, two) = frame.as_bytes().split_at(frame.len() / 2);
    peer.socket.frame(false, crate::harness::websocket::TEXT, one);
    peer.socket.frame(true, crate::harness::websocket::PING, b"between");
    peer.socket.frame(true, 0, two);
    assert_eq!(peer.socket.arrival(), crate::harness::websocket::Arrival::Pong(b"between".to_vec()));
    assert_eq!(peer.response("f")["ok"], true);
}

#[test]
fn two_connects_in_one_packet_make_one_connection() {
    let gateway = Gateway::start();
    let mut peer = Peer::open(&gateway);
    let first = peer.send("connect", Hello::v3().params());
    let second = peer.send("connect", Hello::v3().params());
    assert_eq!(peer.response(&first)["ok"], true);
    let answer = peer.response(&second);
    assert_eq!(answer["error"]["message"], "connect is only valid as the first request", "{answer}");
    peer.alive();
}

#[test]
fn a_client_that_leaves_at_any_point_of_the_handshake_is_forgotten() {
    let gateway = Gateway::start();
    let mut watcher = Peer::connect(&gateway, &Hello::v4());
    let quiet = (gateway.count("fd"), gateway.count("task"));
    for _ in 0..20 {
        Socket::open(gateway.port).drop_hard();
        let mut peer = Peer::open(&gateway);
        peer.send("connect", Hello::v3().params());
    }
    // Each poll is a full request: no sleeping, and bounded.
    let settled = (0..5_000).any(|_| {
        watcher.alive();
        gateway.count("fd") <= quiet.0 && gateway.count("task") <= quiet.1
    });
    assert!(settled, "before {quiet:?}, now {:?}", (gateway.count("fd"), gateway.count("task")));
}
