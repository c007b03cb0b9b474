//! A peer that speaks the protocol: challenge, connect, requests, events. Built on the raw WebSocket, so that no code
//! of the gateway judges itself.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::TOKEN;
use super::device::{Device, Signed};
use super::gateway::Gateway;
use super::websocket::{Arrival, Socket};

/// Milliseconds since the epoch.
pub fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// How a peer connects; `params` gives the `connect` parameters.
#[derive(Clone)]
pub struct Hello {
    pub protocol: (u64, u64),
    pub client: Value,
    pub role: Option<&'static str>,
    pub scopes: Option<Vec<&'static str>>,
    pub auth: Option<Value>,
    pub extra: Value,
}

impl Hello {
    /// A protocol 3 operator with the shared token.
    pub fn v3() -> Hello {
        Hello {
            protocol: (3, 3),
            client: json!({"id": "gateway-client", "version": "1.0.0", "platform": "linux", "mode": "backend"}),
            role: None,
            scopes: None,
            auth: Some(json!({"token": TOKEN})),
            extra: json!({}),
        }
    }

    /// A protocol 4 operator with the shared token and every scope.
    pub fn v4() -> Hello {
        Hello { protocol: (4, 4), scopes: Some(vec!["operator.admin"]), ..Hello::v3() }
    }

    /// The same for another client.
    pub fn client(mut self, id: &str, mode: &str) -> Hello {
        self.client["id"] = id.into();
        self.client["mode"] = mode.into();
        self
    }

    /// The same with one more member in `client`.
    pub fn about(mut self, name: &str, value: &str) -> Hello {
        self.client[name] = value.into();
        self
    }

    /// The same with these scopes.
    pub fn scopes(mut self, scopes: &[&'static str]) -> Hello {
        self.scopes = Some(scopes.to_vec());
        self
    }

    /// The same with this role.
    pub fn role(mut self, role: &'static str) -> Hello {
        self.role = Some(role);
        self
    }

    /// The same with this `auth` object.
    pub fn auth(mut self, auth: Value) -> Hello {
        self.auth = Some(auth);
        self
    }

    /// The same without any secret.
    pub fn no_auth(mut self) -> Hello {
        self.auth = None;
        self
    }

    /// The same with more top-level members.
    pub fn with(mut self, name: &str, value: Value) -> Hello {
        self.extra[name] = value;
        self
    }

    /// A node.
    pub fn node(self, commands: &[&str]) -> Hello {
        self.client("node-host", "node").role("node").scopes(&[]).with("commands", json!(commands))
    }

    /// The `connect` parameters.
    pub fn params(&self) -> Value {
        let (min, max) = self.protocol;
        let mut params = json!({"minProtocol": min, "maxProtocol": max, "client": self.client});
        if let Some(role) = self.role {
            params["role"] = role.into();
        }
        if let Some(scopes) = &self.scopes {
            params["scopes"] = json!(scopes);
        }
        if let Some(auth) = &self.auth {
            params["auth"] = auth.clone();
        }
        for (name, value) in self.extra.as_object().unwrap() {
            params[name] = value.clone();
        }
        params
    }

    /// What a device signs for this connection.
    pub fn signed<'a>(&'a self, form: u8, nonce: &'a str) -> Signed<'a> {
        let text = |value: &'a Value| value.as_str().unwrap_or("");
        let auth = self.auth.as_ref();
        Signed {
            form,
            client_id: text(&self.client["id"]),
            client_mode: text(&self.client["mode"]),
            role: self.role.unwrap_or("operator"),
            scopes: self.scopes.as_deref().unwrap_or_default(),
            signed_at: now_ms(),
            token: auth.and_then(|auth| auth["token"].as_str().or(auth["deviceToken"].as_str())).unwrap_or(""),
            nonce,
            platform: text(&self.client["platform"]),
            family: text(&self.client["deviceFamily"]),
        }
    }
}

/// One connection.
pub struct Peer {
    /// The socket below.
    pub socket: Socket,
    /// The challenge's nonce.
    pub nonce: String,
    /// `hello-ok`, once connected.
    pub hello: Value,
    pending: VecDeque<Value>,
    next_id: u32,
    /// Events that nobody waits for are not kept.
    pub forgets_events: bool,
}

impl Peer {
    /// Upgrades and takes the challenge.
    pub fn open(gateway: &Gateway) -> Peer {
        Peer::over(Socket::open(gateway.port))
    }

    /// Takes the challenge on an upgraded socket.
    pub fn over(mut socket: Socket) -> Peer {
        let challenge = socket.json();
        assert_eq!(challenge["type"], "event");
        assert_eq!(challenge["event"], "connect.challenge");
        assert!(challenge.get("seq").is_none(), "the challenge has no seq: {challenge}");
        assert!(challenge["payload"]["ts"].as_u64().is_some_and(|ts| ts.abs_diff(now_ms()) < 60_000), "{challenge}");
        let nonce = challenge["payload"]["nonce"].as_str().unwrap().to_string();
        assert!(!nonce.is_empty());
        Peer { socket, nonce, hello: Value::Null, pending: VecDeque::new(), next_id: 0, forgets_events: false }
    }

    /// Connects; the gateway must agree.
    pub fn connect(gateway: &Gateway, hello: &Hello) -> Peer {
        let mut peer = Peer::open(gateway);
        let answer = peer.greet(hello.params());
        assert_eq!(answer["ok"], true, "{answer}");
        assert_eq!(answer["payload"]["type"], "hello-ok");
        peer.hello = answer["payload"].clone();
        peer
    }

    /// Connects with a device's proof of the given form.
    pub fn connect_device(gateway: &Gateway, hello: &Hello, device: &Device, form: u8) -> Peer {
        let mut peer = Peer::open(gateway);
        let answer = peer.greet_device(hello, device, form);
        assert_eq!(answer["ok"], true, "{answer}");
        peer.hello = answer["payload"].clone();
        peer
    }

    /// Sends `connect` with a device's proof and gives the answer.
    pub fn greet_device(&mut self, hello: &Hello, device: &Device, form: u8) -> Value {
        let proof = device.proof(&hello.signed(form, &self.nonce.clone()));
        self.greet(hello.clone().with("device", proof).params())
    }

    /// Sends `connect` and gives the answer, whatever it is.
    pub fn greet(&mut self, params: Value) -> Value {
        self.call("connect", params)
    }

    /// Sends a request and gives the response frame; events on the way are kept.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        self.response(&id)
    }

    /// Sends a request; its id.
    pub fn send(&mut self, method: &str, params: Value) -> String {
        self.next_id += 1;
        let id = format!("t{}", self.next_id);
        self.socket.text(&json!({"type": "req", "id": id, "method": method, "params": params}).to_string());
        id
    }

    /// The payload of a request that must succeed.
    pub fn get(&mut self, method: &str, params: Value) -> Value {
        let answer = self.call(method, params);
        assert_eq!(answer["ok"], true, "{method}: {answer}");
        answer["payload"].clone()
    }

    /// The response with this id; other frames are kept.
    pub fn response(&mut self, id: &str) -> Value {
        self.find(|frame| frame["type"] == "res" && frame["id"] == id)
    }

    /// The next event of this name, one already received first.
    pub fn event(&mut self, name: &str) -> Value {
        self.find(|frame| frame["type"] == "event" && frame["event"] == name)
    }

    /// The next event of this name that meets a condition.
    pub fn event_where(&mut self, name: &str, good: impl Fn(&Value) -> bool) -> Value {
        self.find(|frame| frame["type"] == "event" && frame["event"] == name && good(&frame["payload"]))
    }

    fn find(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.pending.iter().position(&wanted) {
            return self.pending.remove(at).unwrap();
        }
        loop {
            match self.socket.next() {
                Arrival::Text(text) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    if wanted(&frame) {
                        return frame;
                    }
                    if !(self.forgets_events && frame["type"] == "event") {
                        self.pending.push_back(frame);
                    }
                }
                other => panic!("the frame that was due did not come but {other:?}; before it: {}", self.last_words()),
            }
        }
    }

    /// What came last, short: a failure must not print a hundred megabytes.
    fn last_words(&self) -> String {
        let short = |frame: &Value| frame.to_string().chars().take(400).collect::<String>();
        let skipped = self.pending.len().saturating_sub(20);
        self.pending.iter().skip(skipped).map(short).collect::<Vec<_>>().join("\n")
    }

    /// The next frame, whatever it is.
    pub fn frame(&mut self) -> Value {
        self.pending.pop_front().unwrap_or_else(|| self.socket.json())
    }

    /// Waits for the close frame.
    pub fn closed(&mut self) -> (u16, String) {
        self.socket.closed()
    }

    /// Shows that the connection still works.
    pub fn alive(&mut self) {
        assert_eq!(self.get("health", json!({}))["ok"], true);
    }
}
