//! Chapter 2: secrets, device identities, pairing, device tokens, the Origin rule (`spec/protocol.md` 1, 3, 4).

use serde_json::{Value, json};

use crate::harness::TOKEN;
use crate::harness::device::Device;
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::peer::{Hello, Peer, now_ms};
use crate::harness::websocket::Socket;

/// The error of a connect that must fail, and the close behind it.
fn refused(mut peer: Peer, params: Value) -> (Value, (u16, String)) {
    let answer = peer.greet(params);
    assert_eq!(answer["ok"], false, "{answer}");
    (answer["error"].clone(), peer.closed())
}

#[test]
fn a_wrong_or_missing_token_is_refused_with_a_hint_for_the_client() {
    let gateway = Gateway::start();
    let cases = [
        (
            Hello::v3().auth(json!({"token": "wrong"})),
            "token mismatch (provide gateway auth token)",
            "AUTH_TOKEN_MISMATCH",
        ),
        (
            Hello::v3().auth(json!({"token": "wrong"})).client("cli", "cli"),
            "token mismatch (set gateway.remote.token to match gateway.auth.token)",
            "AUTH_TOKEN_MISMATCH",
        ),
        (
            Hello::v3().auth(json!({"token": "wrong"})).client("webchat", "webchat"),
            "token mismatch (open the dashboard URL and paste the token in Control UI settings)",
            "AUTH_TOKEN_MISMATCH",
        ),
        (Hello::v3().auth(json!({"token": ""})), "gateway token", "AUTH_TOKEN"),
        (Hello::v4().auth(json!({"token": "wrong"})), "gateway token mismatch (", "AUTH_TOKEN_MISMATCH"),
    ];
    for (hello, part, code) in cases {
        // A browser client must say where its page is from.
        let more = format!("Host: 127.0.0.1:{0}\r\nOrigin: http://127.0.0.1:{0}\r\n", gateway.port);
        let more = if hello.client["mode"] == "webchat" { &more } else { "" };
        let (error, close) = refused(Peer::over(Socket::open_with(gateway.port, "/", more)), hello.params());
        if part == "gateway token" && error["code"] == "NOT_PAIRED" {
            continue; // An empty token is no token: "device identity required".
        }
        let message = error["message"].as_str().unwrap();
        assert_eq!(error["code"], "INVALID_REQUEST", "{error}");
        assert!(message.starts_with("unauthorized: gateway ") && message.contains(part), "{message}");
        assert!(error["details"]["code"].as_str().is_some_and(|found| found.starts_with(code)), "{error}");
        assert_eq!(close.0, 1008);
        assert!(message.starts_with(&close.1) && close.1.len() <= 120, "{close:?}");
        assert!(!message.contains("wrong"), "the secret is repeated");
    }
}

#[test]
fn nothing_at_all_is_answered_with_not_paired() {
    let gateway = Gateway::start();
    for hello in [Hello::v3().no_auth(), Hello::v4().no_auth()] {
        let (error, close) = refused(Peer::open(&gateway), hello.params());
        assert_eq!(error["code"], "NOT_PAIRED", "{error}");
        assert_eq!(error["message"], "device identity required");
        assert_eq!(close, (1008, "device identity required".to_string()));
    }
}

#[test]
fn tokens_that_share_a_prefix_or_a_length_are_wrong_too() {
    let gateway = Gateway::start();
    let shorter = &TOKEN[..TOKEN.len() - 1];
    let other = format!("{shorter}_");
    for token in [shorter, &other, &TOKEN.to_uppercase(), &"x".repeat(4096)] {
        let (error, _) = refused(Peer::open(&gateway), Hello::v3().auth(json!({"token": token})).params());
        assert!(error["message"].as_str().unwrap().contains("token mismatch"), "{error}");
    }
}

#[test]
fn password_mode_takes_the_password_and_says_so_when_it_is_wrong() {
    let setup = Setup::new().env("OPENCLAW_GATEWAY_TOKEN", "").env("OPENCLAW_GATEWAY_PASSWORD", "open sesame");
    let gateway = setup.start();
    Peer::connect(&gateway, &Hello::v3().auth(json!({"password": "open sesame"}))).alive();
    let (error, _) = refused(Peer::open(&gateway), Hello::v3().auth(json!({"password": "open"})).params());
    assert!(error["message"].as_str().unwrap().contains("gateway password mismatch"), "{error}");
    assert_eq!(error["details"]["code"], "AUTH_PASSWORD_MISMATCH");
}

#[test]
fn mode_none_lets_a_local_client_in_without_a_secret() {
    let gateway = Setup::new().env("OPENCLAW_GATEWAY_TOKEN", "").words(&["--auth", "none"]).start();
    Peer::connect(&gateway, &Hello::v3().no_auth()).alive();
    Peer::connect(&gateway, &Hello::v4().no_auth()).alive();
}

#[test]
fn a_right_token_keeps_its_scopes_on_loopback_without_a_device() {
    let gateway = Gateway::start();
    for (id, mode) in [("cli", "cli"), ("gateway-client", "backend"), ("cli", "probe")] {
        let hello = Hello::v4().client(id, mode).scopes(&["operator.read"]);
        let mut peer = Peer::connect(&gateway, &hello);
        assert_eq!(peer.hello["auth"]["scopes"], json!(["operator.read"]), "{id}/{mode}");
        peer.get("status", json!({}));
    }
}

#[test]
fn a_device_signs_in_each_accepted_form() {
    let gateway = Gateway::start();
    for (protocol, form) in [(3, 1), (3, 2), (3, 3), (4, 2), (4, 3)] {
        let base = if protocol == 3 { Hello::v3() } else { Hello::v4() };
        let hello = base.scopes(&["operator.admin", "operator.read"]).about("deviceFamily", " Linux ");
        let device = Device::number(u8::try_from(10 + protocol * 4 + u64::from(form)).unwrap());
        let mut peer = Peer::open(&gateway);
        let mut signed = hello.signed(form, "");
        let nonce = peer.nonce.clone();
        (signed.nonce, signed.family) = (&nonce, "linux");
        let answer = peer.greet(hello.clone().with("device", device.proof(&signed)).params());
        assert_eq!(answer["ok"], true, "protocol {protocol}, form {form}: {answer}");
        assert!(answer["payload"]["auth"]["deviceToken"].is_string(), "{answer}");
    }
}

#[test]
fn a_device_proof_with_a_fault_is_refused_by_its_name() {
    let gateway = Gateway::start();
    let device = Device::number(2);
    let hello = Hello::v4();
    let (now, hour) = (now_ms(), 3_600_000);
    type Change = fn(&mut Value, u64, u64);
    let cases: [(&str, &str, Change); 6] = [
        ("device identity mismatch", "DEVICE_AUTH_DEVICE_ID_MISMATCH", |proof, _, _| {
            proof["id"] = "0".repeat(64).into()
        }),
        ("device signature expired", "DEVICE_AUTH_SIGNATURE_EXPIRED", |proof, now, hour| {
            proof["signedAt"] = (now - hour).into();
        }),
        ("device signature expired", "DEVICE_AUTH_SIGNATURE_EXPIRED", |proof, now, hour| {
            proof["signedAt"] = (now + hour).into();
        }),
        ("device nonce mismatch", "DEVICE_AUTH_NONCE_MISMATCH", |proof, _, _| proof["nonce"] = "another".into()),
        ("device signature invalid", "DEVICE_AUTH_SIGNATURE_INVALID", |proof, _, _| {
            let text = proof["signature"].as_str().unwrap().to_string();
            let other = if text.starts_with('A') { "B" } else { "A" };
            proof["signature"] = format!("{other}{}", &text[1..]).into();
        }),
        ("device signature invalid", "DEVICE_AUTH_SIGNATURE_INVALID", |proof, _, _| proof["signature"] = "%%%".into()),
    ];
    for (message, code, change) in cases {
        let peer = Peer::open(&gateway);
        let mut proof = device.proof(&hello.signed(3, &peer.nonce.clone()));
        change(&mut proof, now, hour);
        let (error, close) = refused(peer, hello.clone().with("device", proof).params());
        assert_eq!(error["message"], message, "{error}");
        assert_eq!(error["details"]["code"], code);
        assert_eq!(close, (1008, message.to_string()));
    }
}

#[test]
fn a_proof_of_another_connection_is_not_replayed() {
    let gateway = Gateway::start();
    let (device, hello) = (Device::number(3), Hello::v4());
    let first = Peer::open(&gateway);
    let proof = device.proof(&hello.signed(3, &first.nonce.clone()));
    let (error, _) = refused(Peer::open(&gateway), hello.clone().with("device", proof).params());
    assert_eq!(error["message"], "device nonce mismatch");
}

#[test]
fn what_is_signed_cannot_be_changed_afterwards() {
    let gateway = Gateway::start();
    let device = Device::number(4);
    let signed_for = Hello::v4().scopes(&["operator.read"]);
    let peer = Peer::open(&gateway);
    let proof = device.proof(&signed_for.signed(3, &peer.nonce.clone()));
    let claimed = Hello::v4().scopes(&["operator.admin"]).with("device", proof);
    let (error, _) = refused(peer, claimed.params());
    assert_eq!(error["message"], "device signature invalid", "{error}");
}

#[test]
fn a_local_device_is_paired_at_once_and_its_token_opens_the_next_connection() {
    let gateway = Gateway::start();
    let device = Device::number(5);
    let peer = Peer::connect_device(&gateway, &Hello::v4(), &device, 3);
    let token = peer.hello["auth"]["deviceToken"].as_str().unwrap().to_string();
    assert_ne!(token, TOKEN);
    for auth in [json!({"token": token}), json!({"deviceToken": token})] {
        let hello = Hello::v4().auth(auth);
        let again = Peer::connect_device(&gateway, &hello, &device, 3);
        assert_eq!(again.hello["auth"]["deviceToken"], token.as_str(), "the token is kept while it is good");
    }
    let stolen = Peer::open(&gateway);
    let thief = Device::number(6);
    let hello = Hello::v4().auth(json!({"token": token}));
    let proof = thief.proof(&hello.signed(3, &stolen.nonce.clone()));
    let (error, _) = refused(stolen, hello.with("device", proof).params());
    assert_eq!(error["details"]["code"], "AUTH_TOKEN_MISMATCH", "{error}");
}

#[test]
fn pairings_survive_a_restart_in_the_files_of_the_original() {
    let gateway = Gateway::start();
    let device = Device::number(7);
    let peer = Peer::connect_device(&gateway, &Hello::v3(), &device, 2);
    let token = peer.hello["auth"]["deviceToken"].as_str().unwrap().to_string();
    drop(peer);
    let (status, home) = gateway.stop();
    assert!(status.success(), "{status}");
    let text = std::fs::read_to_string(home.state("devices/paired.json")).unwrap();
    let stored: Value = serde_json::from_str(&text).unwrap();
    let entry = &stored[device.id.as_str()];
    assert_eq!(entry["publicKey"], device.public_key());
    assert_eq!(entry["tokens"]["operator"]["token"], token.as_str());
    let gateway = Setup::new().home(home).start();
    Peer::connect_device(&gateway, &Hello::v3().auth(json!({"token": token})), &device, 2).alive();
}

#[test]
fn state_files_are_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let gateway = Gateway::start();
    drop(Peer::connect_device(&gateway, &Hello::v4(), &Device::number(8), 3));
    let (_, home) = gateway.stop();
    let mode = |name: &str| std::fs::metadata(home.state(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("devices/paired.json"), 0o600);
    assert_eq!(mode("devices"), 0o700);
    assert_eq!(mode(""), 0o700);
}

#[test]
fn a_device_token_is_rotated_and_revoked() {
    let gateway = Gateway::start();
    let device = Device::number(9);
    let hello = Hello::v3().scopes(&["operator.admin"]);
    let first = Peer::connect_device(&gateway, &hello, &device, 2);
    let old = first.hello["auth"]["deviceToken"].as_str().unwrap().to_string();
    let mut admin = Peer::connect(&gateway, &Hello::v3());
    let rotated = admin.get("device.token.rotate", json!({"deviceId": device.id, "role": "operator"}));
    let new = rotated["token"].as_str().unwrap().to_string();
    assert_ne!(old, new);
    assert!(rotated["rotatedAtMs"].is_u64(), "{rotated}");

    let with = |token: &str| hello.clone().auth(json!({"token": token}));
    let mut peer = Peer::open(&gateway);
    let answer = peer.greet_device(&with(&old), &device, 2);
    assert!(answer["error"]["message"].as_str().unwrap().contains("token mismatch"), "{answer}");
    drop(Peer::connect_device(&gateway, &with(&new), &device, 2));

    let revoked = admin.get("device.token.revoke", json!({"deviceId": device.id, "role": "operator"}));
    assert!(revoked["revokedAtMs"].is_u64(), "{revoked}");
    let mut peer = Peer::open(&gateway);
    let answer = peer.greet_device(&with(&new), &device, 2);
    assert!(answer["error"]["message"].as_str().unwrap().contains("token mismatch"), "{answer}");

    let unknown = admin.call("device.token.rotate", json!({"deviceId": "nobody", "role": "operator"}));
    assert_eq!(unknown["error"]["message"], "unknown deviceId/role", "{unknown}");
}

/// A client on a loopback socket that names another host is remote (protocol.md 3.4).
fn open_remote(gateway: &Gateway) -> Peer {
    Peer::over(Socket::open_with(gateway.port, "/", "Host: gateway.example\r\n"))
}

#[test]
fn a_remote_device_waits_for_approval() {
    let gateway = Gateway::start();
    let mut admin = Peer::connect(&gateway, &Hello::v3());
    let device = Device::number(20);
    let hello = Hello::v3().scopes(&["operator.read"]);

    let mut stranger = open_remote(&gateway);
    let answer = stranger.greet_device(&hello, &device, 2);
    assert_eq!(answer["error"]["code"], "NOT_PAIRED", "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().starts_with("pairing required"), "{answer}");
    let request = answer["error"]["details"]["requestId"].as_str().unwrap().to_string();
    let (code, reason) = stranger.closed();
    assert_eq!(code, 1008);
    assert!(reason.starts_with("pairing required"), "{reason}");

    let event = admin.event("device.pair.requested");
    assert_eq!(event["payload"]["requestId"], request.as_str());
    assert_eq!(event["payload"]["deviceId"], device.id.as_str());
    let list = admin.get("device.pair.list", json!({}));
    assert_eq!(list["pending"].as_array().unwrap().len(), 1, "{list}");

    // A second try asks again for the same thing: one pending request.
    let answer = open_remote(&gateway).greet_device(&hello, &device, 2);
    assert_eq!(answer["error"]["details"]["requestId"], request.as_str(), "{answer}");

    let approved = admin.get("device.pair.approve", json!({"requestId": request}));
    assert_eq!(approved["device"]["deviceId"], device.id.as_str(), "{approved}");
    let event = admin.event("device.pair.resolved");
    assert_eq!(event["payload"]["decision"], "approved");
    let mut peer = open_remote(&gateway);
    let answer = peer.greet_device(&hello, &device, 2);
    assert_eq!(answer["ok"], true, "{answer}");
}

#[test]
fn a_rejected_device_stays_outside() {
    let gateway = Gateway::start();
    let mut admin = Peer::connect(&gateway, &Hello::v3());
    let device = Device::number(21);
    let answer = open_remote(&gateway).greet_device(&Hello::v3(), &device, 2);
    let request = answer["error"]["details"]["requestId"].clone();
    let rejected = admin.get("device.pair.reject", json!({"requestId": request}));
    assert_eq!(rejected["deviceId"], device.id.as_str());
    assert_eq!(admin.event("device.pair.resolved")["payload"]["decision"], "rejected");
    let again = admin.call("device.pair.reject", json!({"requestId": request}));
    assert_eq!(again["error"]["message"], "unknown requestId");
    assert_eq!(open_remote(&gateway).greet_device(&Hello::v3(), &device, 2)["error"]["code"], "NOT_PAIRED");
}

#[test]
fn more_scopes_than_approved_need_another_approval() {
    let gateway = Gateway::start();
    let mut admin = Peer::connect(&gateway, &Hello::v3());
    let device = Device::number(22);
    let modest = Hello::v3().scopes(&["operator.read"]);
    let answer = open_remote(&gateway).greet_device(&modest, &device, 2);
    admin.get("device.pair.approve", json!({"requestId": answer["error"]["details"]["requestId"]}));
    assert_eq!(open_remote(&gateway).greet_device(&modest, &device, 2)["ok"], true);
    let greedy = Hello::v3().scopes(&["operator.read", "operator.admin"]);
    let answer = open_remote(&gateway).greet_device(&greedy, &device, 2);
    assert_eq!(answer["error"]["code"], "NOT_PAIRED", "{answer}");
    assert_eq!(answer["error"]["details"]["reason"], "scope-upgrade", "{answer}");
}

#[test]
fn the_pairing_list_shows_no_secret() {
    let gateway = Gateway::start();
    let peer = Peer::connect_device(&gateway, &Hello::v4(), &Device::number(23), 3);
    let token = peer.hello["auth"]["deviceToken"].as_str().unwrap();
    let list = Peer::connect(&gateway, &Hello::v4()).get("device.pair.list", json!({})).to_string();
    assert!(list.contains(&Device::number(23).id));
    assert!(!list.contains(token) && !list.contains(TOKEN));
}

#[test]
fn a_foreign_origin_is_refused_and_a_loopback_one_is_not() {
    let gateway = Setup::new()
        .config(r#"{gateway: {mode: "local", controlUi: {allowedOrigins: ["https://ui.example"]}}}"#)
        .start();
    let port = gateway.port;
    let origins = [
        (format!("http://127.0.0.1:{port}"), true),
        (format!("http://localhost:{port}"), true),
        ("https://ui.example".to_string(), true),
        ("https://evil.example".to_string(), false),
        (format!("http://127.0.0.1.evil.example:{port}"), false),
        ("http://localhost.evil.example".to_string(), false),
        ("https://ui.example.evil.example".to_string(), false),
        ("null".to_string(), false),
        ("nonsense".to_string(), false),
    ];
    for (origin, welcome) in origins {
        let more = format!("Host: 127.0.0.1:{port}\r\nOrigin: {origin}\r\n");
        let mut peer = Peer::over(Socket::open_with(port, "/", &more));
        let answer = peer.greet(Hello::v4().client("webchat-ui", "webchat").params());
        let found = answer["error"]["message"].as_str().unwrap_or("");
        assert_eq!(!found.starts_with("origin not allowed"), welcome, "{origin}: {answer}");
        if !welcome {
            assert_eq!(answer["error"]["details"]["code"], "CONTROL_UI_ORIGIN_NOT_ALLOWED");
            assert_eq!(peer.closed().0, 1008);
        }
    }
}

#[test]
fn secrets_stay_out_of_the_console_and_the_log_file() {
    let mut gateway = Setup::new().words(&["--verbose"]).start();
    let peer = Peer::connect_device(&gateway, &Hello::v4(), &Device::number(24), 3);
    let device_token = peer.hello["auth"]["deviceToken"].as_str().unwrap().to_string();
    refused(Peer::open(&gateway), Hello::v4().auth(json!({"token": "canary-wrong-token"})).params());
    let tail = Peer::connect(&gateway, &Hello::v4()).get("logs.tail", json!({})).to_string();
    let console = gateway.console();
    for secret in [TOKEN, &device_token, "canary-wrong-token"] {
        assert!(!console.contains(secret), "a secret is on the console");
        assert!(!tail.contains(secret), "a secret is in the log file");
    }
}
