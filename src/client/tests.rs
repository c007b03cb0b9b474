//! The client against a gateway of a few lines: handshake, credentials in their order, bounds.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

use super::*;

type Server = WebSocket<std::net::TcpStream>;

/// Serves one connection per closure and reports every `connect` it got.
fn gateway(serve: Vec<fn(&mut Server, &Value)>) -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let (sender, seen) = channel();
    std::thread::spawn(move || {
        for serve in serve {
            let (stream, _) = listener.accept().unwrap();
            let mut socket = tungstenite::accept(stream).unwrap();
            send(
                &mut socket,
                &json!({"type": "event", "event": "connect.challenge", "payload": {"nonce": "n1", "ts": 1000}}),
            );
            let connect = receive(&mut socket);
            sender.send(connect["params"].clone()).unwrap();
            serve(&mut socket, &connect);
        }
    });
    (url, seen)
}

fn send(socket: &mut Server, frame: &Value) {
    socket.send(Message::text(frame.to_string())).unwrap();
}

fn receive(socket: &mut Server) -> Value {
    loop {
        if let Message::Text(text) = socket.read().unwrap() {
            return serde_json::from_str(text.as_str()).unwrap();
        }
    }
}

fn hello(socket: &mut Server, connect: &Value, auth: &Value) {
    let payload = json!({"type": "hello-ok", "protocol": 4, "server": {"version": "9", "connId": "c"}, "auth": auth});
    send(socket, &json!({"type": "res", "id": connect["id"], "ok": true, "payload": payload}));
}

fn refuse(socket: &mut Server, connect: &Value, code: &str, message: &str) {
    let error = json!({"code": code, "message": message});
    send(socket, &json!({"type": "res", "id": connect["id"], "ok": false, "error": error}));
    let _ = socket.close(Some(CloseFrame { code: 1008.into(), reason: message.to_string().into() }));
    let _ = socket.flush();
}

fn scoped(socket: &mut Server, connect: &Value) {
    let scopes = connect["params"]["scopes"].clone();
    let token = connect["params"].get("device").map(|_| "device-token-1");
    hello(socket, connect, &json!({"role": "operator", "scopes": scopes, "deviceToken": token}));
}

fn options(url: &str, token: Option<&str>, device: DeviceUse) -> Options {
    Options {
        url: url.to_string(),
        token: token.map(str::to_string),
        password: None,
        client: ClientInfo { id: "cli", mode: "cli", version: "1".into(), display_name: None },
        protocols: (3, 4),
        scopes: vec!["operator.read".to_string()],
        device,
        timeout: Duration::from_secs(10),
        wall_ms: 5,
    }
}

fn dir(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("openclaw-client-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

#[test]
fn a_shared_token_needs_no_device() {
    let dir = dir("shared");
    let (url, seen) = gateway(vec![scoped]);
    let client = Client::connect(&options(&url, Some("t"), DeviceUse::Create(dir.clone()))).unwrap();
    assert_eq!((client.hello.protocol, client.hello.version.as_deref()), (4, Some("9")));
    let connect = seen.recv().unwrap();
    assert_eq!(connect["auth"], json!({"token": "t"}));
    assert!(connect.get("device").is_none());
    assert!(!dir.exists(), "no identity is made when it is not needed");
}

#[test]
fn missing_scopes_are_asked_for_with_the_device() {
    let dir = dir("scopes");
    let small: fn(&mut Server, &Value) =
        |socket, connect| hello(socket, connect, &json!({"role": "operator", "scopes": []}));
    let (url, seen) = gateway(vec![small, scoped, scoped]);
    let client = Client::connect(&options(&url, Some("t"), DeviceUse::Create(dir.clone()))).unwrap();
    assert_eq!(client.hello.scopes.as_deref(), Some(&["operator.read".to_string()][..]));
    assert!(seen.recv().unwrap().get("device").is_none());
    let signed = seen.recv().unwrap();
    assert_eq!(signed["device"]["nonce"], "n1");
    assert_eq!(signed["device"]["signedAt"], 1000);
    // The token that the gateway gave is kept and used when nothing is shared.
    let _again = Client::connect(&options(&url, None, DeviceUse::Create(dir.clone()))).unwrap();
    assert_eq!(seen.recv().unwrap()["auth"], json!({"token": "device-token-1"}));
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_wrong_token_is_named_and_makes_no_identity() {
    let dir = dir("wrong");
    let wrong: fn(&mut Server, &Value) =
        |socket, connect| refuse(socket, connect, "INVALID_REQUEST", "unauthorized: gateway token mismatch (x)");
    let (url, _seen) = gateway(vec![wrong]);
    let error = Client::connect(&options(&url, Some("t"), DeviceUse::Create(dir.clone()))).err().unwrap();
    assert_eq!(error.to_string(), "unauthorized: gateway token mismatch (x)");
    assert!(!dir.exists());
}

#[test]
fn answers_find_their_calls_in_any_order_and_events_wait() {
    let serve: fn(&mut Server, &Value) = |socket, connect| {
        scoped(socket, connect);
        let (first, second) = (receive(socket), receive(socket));
        send(socket, &json!({"type": "event", "event": "tick", "payload": {"ts": 1}, "seq": 7}));
        send(socket, &json!({"type": "res", "id": second["id"], "ok": false, "error": {"code": "X", "message": "no"}}));
        send(socket, &json!({"type": "res", "id": first["id"], "ok": true, "payload": {"n": 1}}));
    };
    let (url, _seen) = gateway(vec![serve]);
    let mut client = Client::connect(&options(&url, Some("t"), DeviceUse::Never)).unwrap();
    let answers = client.call_all(&[("a", json!({})), ("b", json!({}))]).unwrap();
    assert_eq!(answers[0], Ok(json!({"n": 1})));
    assert_eq!(answers[1].as_ref().unwrap_err().message, "no");
    assert_eq!(
        client.next_event().unwrap(),
        Incoming { event: "tick".into(), payload: json!({"ts": 1}), seq: Some(7) }
    );
}

#[test]
fn expect_final_waits_for_the_second_answer() {
    let serve: fn(&mut Server, &Value) = |socket, connect| {
        scoped(socket, connect);
        for _ in 0..2 {
            let request = receive(socket);
            for status in ["accepted", "ok"] {
                send(socket, &json!({"type": "res", "id": request["id"], "ok": true, "payload": {"status": status}}));
            }
        }
    };
    let (url, _seen) = gateway(vec![serve]);
    let mut client = Client::connect(&options(&url, Some("t"), DeviceUse::Never)).unwrap();
    assert_eq!(client.call("agent", &json!({}), true).unwrap()["status"], "ok");
    assert_eq!(client.call("agent", &json!({}), false).unwrap()["status"], "accepted");
}

#[test]
fn a_gateway_that_says_nothing_ends_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let short = Options { timeout: Duration::from_millis(80), ..options(&url, Some("t"), DeviceUse::Never) };
    let error = Client::connect(&short).err().unwrap();
    assert_eq!(error.to_string(), "gateway timeout after 80ms");
}

#[test]
fn something_that_is_no_gateway_is_named() {
    use std::io::{Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 2048];
        let _ = stream.read(&mut head);
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let error = Client::connect(&options(&url, Some("t"), DeviceUse::Never)).err().unwrap();
    assert_eq!(error.to_string(), "not a gateway: unexpected server response: 503");
}

#[test]
fn options_do_not_show_their_secrets() {
    let shown = format!("{:?}", options("ws://x", Some("geheim"), DeviceUse::Never));
    assert!(!shown.contains("geheim"), "{shown}");
}

/// With `OPENCLAW_TRY_URL` and `OPENCLAW_TRY_TOKEN`: a real gateway accepts this machine's signature
/// and afterwards its device token alone.
#[test]
#[ignore = "needs a running gateway"]
fn a_real_gateway_accepts_the_device() {
    let (url, token) = (std::env::var("OPENCLAW_TRY_URL").unwrap(), std::env::var("OPENCLAW_TRY_TOKEN").unwrap());
    let dir = dir("real");
    let options = options(&url, Some(&token), DeviceUse::Create(dir.clone()));
    let device = Device::find(&options.device, 1).unwrap().unwrap();
    let deadline = Deadline::after(options.timeout);
    let credentials = Credentials { device: Some(&device), ..Credentials::shared(&options) };
    let client = attempt(&options, deadline, &credentials).unwrap();
    assert!(client.hello.device_token.is_some());
    let alone = Options { token: None, ..options };
    let mut client = Client::connect(&alone).unwrap();
    assert!(client.call("system-presence", &json!({}), false).unwrap().is_array());
    std::fs::remove_dir_all(dir).unwrap();
}
