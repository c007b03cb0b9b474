//! Chapter 3: requests after the handshake (`spec/protocol.md` 6 and 7): faults, scopes, roles, shapes of answers.

use openclaw::protocol::{check, methods};
use serde_json::{Value, json};

use crate::harness::device::Device;
use crate::harness::gateway::Gateway;
use crate::harness::peer::{Hello, Peer};

#[test]
fn an_unknown_method_is_named() {
    let gateway = Gateway::start();
    for hello in [Hello::v3(), Hello::v4()] {
        let answer = Peer::connect(&gateway, &hello).call("no.such.method", json!({}));
        assert_eq!(answer["error"]["code"], "INVALID_REQUEST", "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().starts_with("unknown method: no.such.method"), "{answer}");
        assert!(answer.get("payload").is_none(), "no null members: {answer}");
    }
}

#[test]
fn faults_of_parameters_are_all_named_in_order() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let cases = [
        ("logs.tail", json!({"limit": 0}), "invalid logs.tail params: at /limit: must be >= 1"),
        ("logs.tail", json!({"limit": 5001}), "invalid logs.tail params: at /limit: must be <= 5000"),
        ("logs.tail", json!({"limit": "x"}), "invalid logs.tail params: at /limit: must be integer"),
        ("logs.tail", json!({"limit": 1.5}), "invalid logs.tail params: at /limit: must be integer"),
        ("logs.tail", json!({"bogus": 1}), "invalid logs.tail params: at root: unexpected property 'bogus'"),
        ("logs.tail", json!([]), "invalid logs.tail params: must be object"),
        (
            "device.token.rotate",
            json!({}),
            "invalid device.token.rotate params: must have required property 'deviceId'; \
             must have required property 'role'",
        ),
        (
            "logs.tail",
            json!({"x": 1, "limit": 0, "cursor": -1}),
            "invalid logs.tail params: at root: unexpected property 'x'; at /cursor: must be >= 0; \
             at /limit: must be >= 1",
        ),
        ("set-heartbeats", json!({}), "invalid set-heartbeats params: enabled (boolean) required"),
        ("system-event", json!({"text": ""}), "text required"),
        ("system-event", json!({}), "text required"),
    ];
    for (method, params, message) in cases {
        let answer = peer.call(method, params.clone());
        assert_eq!(answer["error"]["code"], "INVALID_REQUEST", "{method} {params}: {answer}");
        assert_eq!(answer["error"]["message"], message, "{method} {params}");
    }
}

#[test]
fn a_thousand_faults_make_a_bounded_text() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let params: serde_json::Map<String, Value> =
        (0..1000).map(|n| (format!("{n}{}", "k".repeat(200)), Value::Null)).collect();
    let answer = peer.call("logs.tail", Value::Object(params));
    assert!(answer["error"]["message"].as_str().unwrap().len() < 8 * 1024, "{answer}");
    peer.alive();
}

#[test]
fn later_frames_that_are_not_json_are_passed_over() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    for text in ["not json", "{", "", "{\"type\":\"req\",}"] {
        peer.socket.text(text);
    }
    peer.alive();
}

#[test]
fn later_frames_that_are_no_requests_are_answered_with_their_id() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let cases = [
        (r#"{"type":"event","event":"x"}"#, "invalid"),
        (r#"{"type":"req","id":"known","params":{}}"#, "known"),
        (r#"{"type":"req","id":"","method":"health"}"#, ""),
        (r#"{"type":"req","id":7,"method":"health"}"#, "invalid"),
        ("[1,2]", "invalid"),
        ("null", "invalid"),
    ];
    for (text, id) in cases {
        peer.socket.text(text);
        let answer = peer.response(id);
        assert_eq!(answer["ok"], false);
        assert_eq!(answer["error"]["code"], "INVALID_REQUEST", "{text}: {answer}");
        assert!(
            answer["error"]["message"].as_str().unwrap().starts_with("invalid request frame: "),
            "{text}: {answer}"
        );
    }
    peer.alive();
}

#[test]
fn the_same_id_may_be_used_again_and_each_request_is_answered_once() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let frame = json!({"type": "req", "id": "same", "method": "status"}).to_string();
    for _ in 0..3 {
        peer.socket.text(&frame);
    }
    for _ in 0..3 {
        assert_eq!(peer.response("same")["ok"], true);
    }
    peer.alive();
}

#[test]
fn a_text_that_was_cut_within_a_character_is_understood() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    peer.socket.text(r#"{"type":"req","id":"cut","method":"no.such\ud83d","params":{"text":"\ude00"}}"#);
    let answer = peer.response("cut");
    assert_eq!(answer["error"]["message"], "unknown method: no.such\u{fffd}");
}

#[test]
fn a_burst_of_requests_is_answered_completely() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let ids: Vec<String> = (0..500).map(|_| peer.send("system-presence", json!({}))).collect();
    for id in ids {
        assert_eq!(peer.response(&id)["ok"], true);
    }
}

#[test]
fn a_missing_scope_is_said_in_each_generations_way() {
    let gateway = Gateway::start();
    let cases =
        [("set-heartbeats", "operator.admin"), ("device.pair.list", "operator.pairing"), ("wake", "operator.write")];
    for (method, scope) in cases {
        let answer = Peer::connect(&gateway, &Hello::v3().scopes(&["operator.read"])).call(method, json!({}));
        assert_eq!(answer["error"]["code"], "INVALID_REQUEST", "{answer}");
        assert_eq!(answer["error"]["message"], format!("missing scope: {scope}"));
        let answer = Peer::connect(&gateway, &Hello::v4().scopes(&["operator.read"])).call(method, json!({}));
        assert_eq!(answer["error"]["code"], "FORBIDDEN", "{answer}");
        assert_eq!(answer["error"]["details"]["code"], "MISSING_SCOPE");
        assert_eq!(answer["error"]["details"]["missingScope"], scope);
        assert_eq!(answer["error"]["details"]["requiredScopes"], json!([scope]));
    }
}

#[test]
fn a_v3_operator_without_scopes_is_admin_and_a_v4_one_is_nothing() {
    let gateway = Gateway::start();
    let mut old = Peer::connect(&gateway, &Hello::v3());
    assert_eq!(old.get("set-heartbeats", json!({"enabled": true}))["ok"], true);
    let mut new = Peer::connect(&gateway, &Hello { scopes: None, ..Hello::v4() });
    assert_eq!(new.hello["auth"]["scopes"], json!([]));
    assert_eq!(new.call("status", json!({}))["error"]["message"], "missing scope: operator.read");
}

#[test]
fn write_implies_read_and_an_unknown_name_needs_admin() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v3().scopes(&["operator.write"]));
    peer.get("status", json!({}));
    let answer = peer.call("no.such.method", json!({}));
    assert_eq!(answer["error"]["message"], "missing scope: operator.admin", "{answer}");
}

#[test]
fn roles_keep_to_their_methods() {
    let gateway = Gateway::start();
    let mut node = Peer::connect_device(&gateway, &Hello::v3().node(&["system.run"]), &Device::number(30), 2);
    let answer = node.call("status", json!({}));
    assert_eq!(answer["error"]["message"], "unauthorized role: node", "{answer}");
    if methods::find("node.event").is_some() {
        let mut operator = Peer::connect(&gateway, &Hello::v3());
        let answer = operator.call("node.event", json!({"event": "x"}));
        assert_eq!(answer["error"]["message"], "unauthorized role: operator", "{answer}");
    }
}

#[test]
fn a_second_connect_is_refused_and_the_connection_stays() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let answer = peer.call("connect", Hello::v4().params());
    assert_eq!(answer["error"]["message"], "connect is only valid as the first request", "{answer}");
    peer.alive();
}

/// Parameters with which a read-only method that does not take `{}` answers on an empty gateway.
fn params_of(method: &str) -> Value {
    match method {
        "config.schema.lookup" => json!({"path": "gateway.port"}),
        "sessions.preview" => json!({"keys": ["agent:main:main"]}),
        "sessions.describe" | "sessions.get" | "sessions.messages.subscribe" | "sessions.messages.unsubscribe" => {
            json!({"key": "agent:main:main"})
        }
        "system-event" => json!({"text": "hello"}),
        "set-heartbeats" => json!({"enabled": true}),
        "wake" => json!({"mode": "next-heartbeat", "text": "hello"}),
        "node.pair.request" => json!({"nodeId": "n1", "displayName": "Node"}),
        "node.pair.verify" => json!({"nodeId": "n1", "token": "x"}),
        _ => json!({}),
    }
}

#[test]
fn every_advertised_method_answers_in_the_shape_its_row_promises() {
    let gateway = Gateway::start();
    drop(Peer::connect_device(&gateway, &Hello::v4(), &Device::number(31), 3));
    for hello in [Hello::v3(), Hello::v4()] {
        let mut peer = Peer::connect(&gateway, &hello);
        let names: Vec<String> = serde_json::from_value(peer.hello["features"]["methods"].clone()).unwrap();
        let mut answered = 0;
        for name in names {
            let row = methods::find(&name).unwrap_or_else(|| panic!("{name} is advertised but not in the table"));
            let answer = peer.call(&name, params_of(&name));
            let message = answer["error"]["message"].as_str().unwrap_or("");
            assert!(!message.starts_with("unknown method"), "{name} is advertised but unknown");
            if answer["ok"] == true {
                let faults = check::check(row.result, &answer["payload"]);
                assert!(faults.is_empty(), "{name}: {}\n{}", check::text(&faults), answer["payload"]);
                answered += 1;
            }
        }
        assert!(answered >= 15, "only {answered} methods gave a result");
    }
}

#[test]
fn no_frame_has_a_null_member() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    for method in ["health", "status", "system-presence", "no.such.method", "device.pair.list", "last-heartbeat"] {
        let answer = peer.call(method, json!({}));
        let members = answer.as_object().unwrap();
        let known = ["type", "id", "ok", "payload", "error"];
        assert!(members.keys().all(|name| known.contains(&name.as_str())), "{answer}");
        assert!(!members.contains_key("error") || !members["error"].is_null(), "{answer}");
        assert!(
            method == "last-heartbeat" || members.get("payload").is_none_or(|payload| !payload.is_null()),
            "{answer}"
        );
    }
}

#[test]
fn health_and_status_hold_what_the_command_lines_print() {
    let gateway = Gateway::start();
    let mut peer = Peer::connect(&gateway, &Hello::v3());
    let health = peer.get("health", json!({}));
    assert_eq!(health["ok"], true);
    assert_eq!(health["defaultAgentId"], "main");
    assert_eq!(health["agents"][0]["isDefault"], true);
    assert!(health["sessions"]["path"].as_str().unwrap().ends_with("agents/main/sessions/sessions.json"), "{health}");
    let status = peer.get("status", json!({}));
    assert_eq!(status["heartbeat"]["defaultAgentId"], "main");
    assert_eq!(status["sessions"]["count"], 0);
    assert!(status.get("linkChannel").is_none_or(|link| !link.is_null()));
}

#[test]
fn the_configuration_is_shown_without_its_secrets() {
    let setup = crate::harness::gateway::Setup::new().env("OPENCLAW_GATEWAY_TOKEN", "");
    let gateway = setup.config(r#"{gateway: {mode: "local", auth: {token: "config-canary-5512"}}}"#).start();
    let hello = Hello::v3().auth(json!({"token": "config-canary-5512"}));
    let config = Peer::connect(&gateway, &hello).get("config.get", json!({}));
    assert_eq!(config["valid"], true);
    assert_eq!(config["exists"], true);
    assert!(!config.to_string().contains("config-canary-5512"), "{config}");
    assert!(config.to_string().contains("__OPENCLAW_REDACTED__"), "{config}");
}
