//! A blocking WebSocket client of the gateway: connect, call, read events.
//! Used by the command line and by tests; knows the wire and the device files, nothing of the gateway's inside.

pub mod device;
pub mod error;
pub mod hello;
pub mod link;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tungstenite::handshake::HandshakeError;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message, WebSocket};

pub use error::{Answer, ClientError};
pub use hello::{ClientInfo, Hello};
pub use link::{Address, Deadline};

use crate::limits;
use device::Device;
use hello::{Challenge, Connect, connect_params};
use link::Link;

/// Whether the connection may use the identity of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceUse {
    /// Never.
    Never,
    /// The one in this directory, if it exists with a token (probes: `spec/cli.md` 2.3).
    Stored(PathBuf),
    /// The one in this directory, created when the shared secret is missing or not enough.
    Create(PathBuf),
}

/// What a connection needs.
#[derive(Clone)]
pub struct Options {
    /// `ws://host:port`
    pub url: String,
    /// Shared token.
    pub token: Option<String>,
    /// Shared password.
    pub password: Option<String>,
    /// Who connects.
    pub client: ClientInfo,
    /// Lowest and highest protocol.
    pub protocols: (u8, u8),
    /// Scopes to ask for.
    pub scopes: Vec<String>,
    /// Device identity.
    pub device: DeviceUse,
    /// Time for connecting and everything after it.
    pub timeout: Duration,
    /// Milliseconds since 1970, for signatures and token files.
    pub wall_ms: u64,
}

/// Secrets stay out of debug output.
impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("url", &self.url)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("client", &self.client)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// The role of every connection of this program.
const ROLE: &str = "operator";

/// An open connection.
pub struct Client {
    socket: WebSocket<Link>,
    next_id: u64,
    events: VecDeque<Incoming>,
    /// What the gateway said at the handshake.
    pub hello: Hello,
}

/// Says goodbye, so that the gateway does not log an abnormal end; its own goodbye is not waited for.
impl Drop for Client {
    fn drop(&mut self) {
        // Nothing is left to do for a connection that is already broken.
        let _ = self.socket.close(None).and_then(|()| self.socket.flush());
    }
}

/// The id of a request and what came back.
type Response = (String, Result<Value, Answer>);

/// An event of the gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    /// Event name.
    pub event: String,
    /// Its payload.
    pub payload: Value,
    /// Its number on this connection, if it has one.
    pub seq: Option<u64>,
}

impl Client {
    /// Connects and authenticates: the shared secret first, the device only when that is not enough.
    ///
    /// # Errors
    /// Everything of [`ClientError`]; with several attempts the one that says most.
    pub fn connect(options: &Options) -> Result<Client, ClientError> {
        let deadline = Deadline::after(options.timeout);
        let shared = options.token.is_some() || options.password.is_some();
        if !shared {
            return connect_as_device(options, deadline, None);
        }
        match attempt(options, deadline, &Credentials::shared(options)) {
            Ok(client) if client.hello.lacks(&options.scopes) => connect_with_more(options, deadline, client),
            Err(ClientError::Refused(answer)) if wants_device(&answer) => {
                connect_as_device(options, deadline, Some(ClientError::Refused(answer)))
            }
            other => other,
        }
    }

    /// Sends a request and waits for its answer; with `expect_final` for the one after `accepted`.
    ///
    /// # Errors
    /// [`ClientError::Request`] with the gateway's error, or a broken connection.
    pub fn call(&mut self, method: &str, params: &Value, expect_final: bool) -> Result<Value, ClientError> {
        let id = self.send(method, params)?;
        loop {
            let payload = self.answer(&id)?.map_err(ClientError::Request)?;
            let accepted = payload.get("status").and_then(Value::as_str) == Some("accepted");
            if !(expect_final && accepted) {
                return Ok(payload);
            }
        }
    }

    /// The final answer of a two-stage call; `on` gets every event on the way.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn call_final(
        &mut self,
        method: &str,
        params: &Value,
        on: &mut dyn FnMut(&Incoming),
    ) -> Result<Value, ClientError> {
        let id = self.send(method, params)?;
        loop {
            let answer = self.frame()?;
            for event in self.events.drain(..) {
                on(&event);
            }
            let Some((_, answer)) = answer.filter(|(got, _)| *got == id) else { continue };
            let payload = answer.map_err(ClientError::Request)?;
            if payload.get("status").and_then(Value::as_str) != Some("accepted") {
                return Ok(payload);
            }
        }
    }

    /// Sends several requests at once and returns the answers in their order.
    ///
    /// # Errors
    /// Only for a broken connection; error frames are inside.
    pub fn call_all(&mut self, calls: &[(&str, Value)]) -> Result<Vec<Result<Value, Answer>>, ClientError> {
        let mut ids = Vec::new();
        for (method, params) in calls {
            ids.push(self.send(method, params)?);
        }
        let mut answers: Vec<Option<Result<Value, Answer>>> = vec![None; ids.len()];
        while answers.iter().any(Option::is_none) {
            let Some((id, answer)) = self.frame()? else { continue };
            let place = ids.iter().position(|known| *known == id).and_then(|n| answers.get_mut(n));
            if let Some(place) = place {
                *place = Some(answer);
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Gives the following calls and events a new deadline.
    pub fn allow(&mut self, time: Duration) {
        self.socket.get_mut().deadline = Deadline::after(time);
    }

    /// The next event, waiting until the deadline.
    ///
    /// # Errors
    /// The deadline, or a broken connection.
    pub fn next_event(&mut self) -> Result<Incoming, ClientError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            // An answer to a request that nobody waits for any more.
            let _ = self.frame()?;
        }
    }

    fn send(&mut self, method: &str, params: &Value) -> Result<String, ClientError> {
        self.next_id += 1;
        let id = format!("c{}", self.next_id);
        let frame = json!({ "type": "req", "id": id, "method": method, "params": params }).to_string();
        let deadline = self.socket.get_ref().deadline;
        self.socket.send(Message::text(frame)).map_err(|error| broken(error, deadline))?;
        Ok(id)
    }

    fn answer(&mut self, id: &str) -> Result<Result<Value, Answer>, ClientError> {
        loop {
            match self.frame()? {
                Some((got, answer)) if got == id => return Ok(answer),
                _ => {}
            }
        }
    }

    /// Reads one frame: an answer is returned, an event is kept.
    fn frame(&mut self) -> Result<Option<Response>, ClientError> {
        let mut frame = read_frame(&mut self.socket)?;
        match frame.get("type").and_then(Value::as_str) {
            Some("res") => Ok(Some(response(&mut frame))),
            Some("event") => {
                self.keep(&mut frame);
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Keeps an event for [`Client::next_event`]; the oldest goes when nobody reads them.
    fn keep(&mut self, frame: &mut Value) {
        if self.events.len() >= limits::CLIENT_EVENTS {
            self.events.pop_front();
        }
        let event = frame.get("event").and_then(Value::as_str).unwrap_or_default().to_string();
        let seq = frame.get("seq").and_then(Value::as_u64);
        let payload = frame.get_mut("payload").map(Value::take).unwrap_or(Value::Null);
        self.events.push_back(Incoming { event, payload, seq });
    }
}

/// What one attempt presents.
struct Credentials<'a> {
    token: Option<&'a str>,
    password: Option<&'a str>,
    device: Option<&'a Device>,
}

impl<'a> Credentials<'a> {
    fn shared(options: &'a Options) -> Credentials<'a> {
        Credentials { token: options.token.as_deref(), password: options.password.as_deref(), device: None }
    }
}

/// Whether a refusal of the shared secret alone may be cured by the device: it is wanted, or its
/// own token may still be good.
fn wants_device(answer: &Answer) -> bool {
    let wanted = ["DEVICE_IDENTITY_REQUIRED", "AUTH_TOKEN_MISMATCH", "AUTH_PASSWORD_MISMATCH"];
    wanted.contains(&answer.detail_code())
        || answer.message == "device identity required"
        || answer.message.starts_with("unauthorized: gateway token mismatch")
        || answer.message.starts_with("unauthorized: gateway password mismatch")
}

/// The shared secret was right but gave too few scopes: the same with the device, if there may be one.
fn connect_with_more(options: &Options, deadline: Deadline, small: Client) -> Result<Client, ClientError> {
    let Some(device) = Device::find(&options.device, options.wall_ms)? else { return Ok(small) };
    let credentials = Credentials { device: Some(&device), ..Credentials::shared(options) };
    match attempt(options, deadline, &credentials) {
        Ok(client) => Ok(client),
        // The small connection still serves what needs no scope; a missing one is named by the call.
        Err(_) => Ok(small),
    }
}

/// Connects with the device's own token, else with what is shared and a proof.
fn connect_as_device(
    options: &Options,
    deadline: Deadline,
    refused: Option<ClientError>,
) -> Result<Client, ClientError> {
    let mismatch = matches!(&refused, Some(error) if error.to_string().starts_with("unauthorized"));
    // A wrong shared secret must not create an identity: it would end in the same refusal.
    let wanted = match &options.device {
        DeviceUse::Create(dir) if mismatch => &DeviceUse::Stored(dir.clone()),
        other => other,
    };
    let Some(device) = Device::find(wanted, options.wall_ms)? else {
        return match refused {
            Some(error) => Err(error),
            None => attempt(options, deadline, &Credentials::shared(options)),
        };
    };
    if let Some(token) = device.stored_token(ROLE) {
        let credentials = Credentials { token: Some(&token), password: None, device: Some(&device) };
        match attempt(options, deadline, &credentials) {
            Err(ClientError::Refused(answer)) if answer.message.starts_with("unauthorized") => {}
            other => return other,
        }
    }
    match refused {
        Some(error) if mismatch => Err(error),
        _ => attempt(options, deadline, &Credentials { device: Some(&device), ..Credentials::shared(options) }),
    }
}

/// One connection with one set of credentials.
fn attempt(options: &Options, deadline: Deadline, with: &Credentials<'_>) -> Result<Client, ClientError> {
    let mut socket = open(&options.url, deadline)?;
    let challenge = loop {
        let frame = read_frame(&mut socket)?;
        if frame.get("event").and_then(Value::as_str) == Some("connect.challenge") {
            break Challenge::from_payload(frame.get("payload").unwrap_or(&Value::Null));
        }
    };
    let proof = with.device.map(|device| {
        device.prove(&device::Ask {
            client: &options.client,
            role: ROLE,
            scopes: &options.scopes,
            token: with.token.unwrap_or_default(),
            challenge: &challenge,
            wall_ms: options.wall_ms,
        })
    });
    let params = connect_params(&Connect {
        client: &options.client,
        protocols: options.protocols,
        role: ROLE,
        scopes: &options.scopes,
        token: with.token,
        password: with.password,
        proof: proof.as_ref().map(|proof| (proof, challenge.nonce.as_str())),
    });
    let mut client = Client { socket, next_id: 0, events: VecDeque::new(), hello: Hello::default() };
    let id = client.send("connect", &params)?;
    let payload = client.answer(&id)?.map_err(ClientError::Refused)?;
    client.hello = Hello::from_payload(&payload)?;
    if let (Some(device), Some(token)) = (with.device, &client.hello.device_token) {
        let scopes = client.hello.scopes.clone().unwrap_or_default();
        device.keep_token(ROLE, token, &scopes, options.wall_ms)?;
    }
    Ok(client)
}

fn open(url: &str, deadline: Deadline) -> Result<WebSocket<Link>, ClientError> {
    let address = Address::parse(url)?;
    let link = Link::open(&address, deadline)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(limits::WS_READ_BUFFER)
        .max_message_size(Some(limits::MESSAGE_BYTES_V4))
        .max_frame_size(Some(limits::MESSAGE_BYTES_V4));
    match tungstenite::client::client_with_config(url, link, Some(config)) {
        Ok((socket, _)) => Ok(socket),
        Err(HandshakeError::Failure(error)) => Err(not_upgraded(error, deadline)),
        Err(HandshakeError::Interrupted(_)) => Err(deadline.error()),
    }
}

fn not_upgraded(error: tungstenite::Error, deadline: Deadline) -> ClientError {
    match error {
        tungstenite::Error::Http(response) => {
            ClientError::NotGateway(format!("unexpected server response: {}", response.status().as_u16()))
        }
        tungstenite::Error::Protocol(_) => ClientError::NotGateway("no WebSocket answer".to_string()),
        other => broken(other, deadline),
    }
}

fn read_frame(socket: &mut WebSocket<Link>) -> Result<Value, ClientError> {
    loop {
        let deadline = socket.get_ref().deadline;
        match socket.read() {
            Ok(Message::Text(text)) => {
                return serde_json::from_str(text.as_str()).map_err(|_| ClientError::Garbage("no JSON"));
            }
            Ok(Message::Binary(_)) => return Err(ClientError::Garbage("a binary frame")),
            Ok(Message::Close(frame)) => return Err(closed(frame)),
            Ok(_) => {}
            Err(error) => return Err(broken(error, deadline)),
        }
    }
}

fn closed(frame: Option<tungstenite::protocol::CloseFrame>) -> ClientError {
    match frame {
        Some(frame) => ClientError::Closed { code: frame.code.into(), reason: frame.reason.as_str().to_string() },
        None => ClientError::Closed { code: 1005, reason: String::new() },
    }
}

fn broken(error: tungstenite::Error, deadline: Deadline) -> ClientError {
    use std::io::ErrorKind::TimedOut;
    match error {
        tungstenite::Error::Io(error) if error.kind() == TimedOut => deadline.error(),
        tungstenite::Error::Capacity(_) => ClientError::Garbage("a frame above the size limit"),
        tungstenite::Error::Utf8(_) => ClientError::Garbage("text that is not UTF-8"),
        _ => ClientError::Closed { code: 1006, reason: String::new() },
    }
}

fn response(frame: &mut Value) -> Response {
    let id = frame.get("id").and_then(Value::as_str).unwrap_or_default().to_string();
    let answer = if frame.get("ok").and_then(Value::as_bool) == Some(true) {
        Ok(frame.get_mut("payload").map(Value::take).unwrap_or(Value::Null))
    } else {
        Err(Answer::from_frame(frame.get("error").unwrap_or(&Value::Null)))
    };
    (id, answer)
}

#[cfg(test)]
mod tests;
