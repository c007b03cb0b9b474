//! The `connect` request, step by step in the order of protocol.md 2.2: version, role, origin,
//! device, credentials, pairing, greeting. Pure; every refusal is one error and one close.

use super::auth::{self, Caller, Method, Presented};
use super::broadcast;
use super::connect_params::{ConnectParams, ConnectRequest};
use super::device::{self, Attempt, ProvenDevice};
use super::disk::Commit;
use super::event::{Admission, ConnId, Effect};
use super::hello;
use super::no_device::{self, Bare};
use super::node_commands::{self, Platform};
use super::origin::{self, OriginCheck, SharedSecret};
use super::pairing::{Verdict, effective_scopes};
use super::pairing_devices::{self, Arrival, Decision, IssuedToken};
use super::state::{Phase, Role, Session, State, device_token};
use super::trouble::Trouble;
use crate::protocol::errors::WireError;
use crate::sys::clock::Now;

/// A greeting that waits until what it promises is on disk.
pub struct Greeting {
    /// Whom to greet.
    pub conn: ConnId,
    /// The id of its `connect`.
    pub id: String,
    /// A device token to hand out.
    pub issued: Option<IssuedToken>,
}

/// Why a handshake ends: what the peer is told and how the socket is closed.
struct Refusal {
    error: WireError,
    code: u16,
    reason: Option<String>,
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Refusal {
        Refusal { error, code: 1008, reason: None }
    }
}

/// Decides on a `connect`.
pub fn connect(
    state: &mut State,
    conn: ConnId,
    id: &str,
    request: Result<Box<ConnectRequest>, WireError>,
    now: Now,
    fx: &mut Vec<Effect>,
) {
    let outcome = request.map_err(Refusal::from);
    if let Err(refusal) = outcome.and_then(|request| admit(state, conn, id, &request, now, fx)) {
        refuse(state, conn, id, refusal, now, fx);
    }
}

fn refuse(state: &mut State, conn: ConnId, id: &str, refusal: Refusal, now: Now, fx: &mut Vec<Effect>) {
    state.counters.refused += 1;
    state.trouble.add(Trouble::ConnectRefused, Some(conn), now.wall_ms);
    let Refusal { error, code, reason } = refusal;
    let remote = state.conns.get(&conn).map(|entry| entry.peer.addr.to_string()).unwrap_or_default();
    log::info!(target: "gateway/ws", "connect refused conn={conn} remote={remote} code={} error={}", error.code.row().name, error.for_log());
    broadcast::fail(fx, conn, id, &error);
    state.close(conn, code, reason.unwrap_or(error.message), fx);
}

/// What the steps need of the connection.
struct Door {
    nonce: String,
    peer: super::conn::Peer,
}

impl Door {
    fn of(state: &State, conn: ConnId) -> Option<Door> {
        let entry = state.conns.get(&conn)?;
        let Phase::Challenged { nonce } = &entry.phase else { return None };
        Some(Door { nonce: nonce.clone(), peer: entry.peer.clone() })
    }

    fn side(&self) -> origin::Peer<'_> {
        origin::Peer { ip: self.peer.addr.ip(), host: self.peer.host.as_deref(), forwarded_by_stranger: false }
    }
}

fn admit(
    state: &mut State,
    conn: ConnId,
    id: &str,
    request: &ConnectRequest,
    now: Now,
    fx: &mut Vec<Effect>,
) -> Result<(), Refusal> {
    let params = &request.params;
    let Some(door) = Door::of(state, conn) else { return Ok(()) };
    let protocol = params.negotiate().map_err(|error| Refusal { error, code: 1002, reason: None })?;
    let role = params.role().ok_or_else(|| WireError::invalid("invalid role"))?;
    let page = OriginCheck {
        protocol,
        client_id: &params.client.id,
        client_mode: &params.client.mode,
        origin: door.peer.origin.as_deref(),
        host: door.peer.host.as_deref(),
        allowed: &state.allowed_origins,
        guarded: state.secrets.mode() != auth::Mode::None,
    };
    origin::check(&page).map_err(|fault| fault.wire())?;
    let silent_for = |secret| door.side().approves_silently(&page, secret);
    let (silent, silent_with_secret) = (silent_for(SharedSecret::NotShown), silent_for(SharedSecret::Right));
    // Protocol 4 counts any direct loopback socket as local, protocol 3 looks at the Host too (protocol.md 3.4).
    let side = door.side();
    let local = if protocol >= 4 { side.is_direct_loopback() } else { side.is_local() };
    let asked = Asked { protocol, role, local };

    let device = prove(request, &asked, &door, now)?;
    let bare = bare(state, params, &asked, device.is_some());
    let method = authenticate(state, params, &bare, device.as_ref(), &door, now)?;
    let wanted = effective_scopes(protocol, role.name(), Some(&params.scopes));
    let scopes = if device.is_some() { wanted } else { no_device::scopes(&bare, wanted, method) };
    let session = session(state, params, &asked, &device, method, scopes, now);
    match device {
        None => {
            let greeting = Greeting { conn, id: id.to_string(), issued: None };
            join(state, conn, session);
            welcome(state, &greeting, now, fx);
        }
        Some(device) => {
            let silent = if method != Method::DeviceToken { silent_with_secret } else { silent };
            let remote_ip = (!asked.local).then(|| door.peer.addr.ip().to_string());
            let pairing = Pairing { params, device: &device, silent, remote_ip };
            pair(state, (conn, id), &pairing, session, now, fx)?;
        }
    }
    Ok(())
}

/// What a connection wants to be.
struct Asked {
    protocol: u8,
    role: Role,
    local: bool,
}

fn bare<'a>(state: &State, params: &'a ConnectParams, asked: &Asked, has_device: bool) -> Bare<'a> {
    let ui = &state.config.gateway.control_ui;
    let caller = Caller {
        protocol: asked.protocol,
        client_id: &params.client.id,
        client_mode: &params.client.mode,
        local: asked.local,
        has_device,
    };
    Bare { caller, role: asked.role.name(), ui_exempt: ui.allow_insecure_auth || ui.dangerously_disable_device_auth }
}

fn prove(request: &ConnectRequest, asked: &Asked, door: &Door, now: Now) -> Result<Option<ProvenDevice>, WireError> {
    let (Some(claim), Some(signed)) = (&request.params.device, request.signed) else { return Ok(None) };
    let attempt = Attempt { protocol: asked.protocol, local: asked.local, challenge: &door.nonce, now_ms: now.wall_ms };
    device::check(claim, signed, &attempt).map(Some).map_err(|fault| fault.wire())
}

/// Shared secret first, then the device's own token (protocol.md 3.6); without a device the rules of 3.3.
fn authenticate(
    state: &mut State,
    params: &ConnectParams,
    bare: &Bare<'_>,
    device: Option<&ProvenDevice>,
    door: &Door,
    now: Now,
) -> Result<Method, WireError> {
    let credentials = &params.auth;
    let presented = Presented {
        token: credentials.token.as_deref(),
        password: credentials.password.as_deref(),
        device_token: credentials.device_token.as_deref(),
        proxy_user: door.peer.proxy_user.as_deref(),
    };
    let devices = &state.devices;
    let protocol = bare.caller.protocol;
    let valid =
        |device: &ProvenDevice, token| devices.verify_token(protocol, &device.id, bare.role, &params.scopes, token);
    let by_device = || device.is_some_and(|device| presented.device_tokens().any(|token| valid(device, token)));
    let from = (door.peer.addr.ip(), now.mono_ms());
    let result = auth::login(&state.secrets, &presented, &mut state.logins, from, by_device);
    match device {
        Some(_) => result.map_err(|reason| reason.wire(&bare.caller)),
        None => no_device::check(bare, result).map_err(|fault| fault.wire(&bare.caller)),
    }
}

fn session(
    state: &State,
    params: &ConnectParams,
    asked: &Asked,
    device: &Option<ProvenDevice>,
    method: Method,
    scopes: Vec<String>,
    now: Now,
) -> Box<Session> {
    let nodes = &state.config.gateway.nodes;
    let commands = match asked.role {
        Role::Node => {
            let platform = Platform::of(Some(&params.client.platform), params.client.device_family.as_deref());
            let allowlist = node_commands::allowlist(platform, &nodes.allow_commands, &nodes.deny_commands);
            node_commands::kept(&params.commands, &allowlist)
        }
        Role::Operator => Vec::new(),
    };
    Box::new(Session {
        protocol: asked.protocol,
        role: asked.role,
        scopes,
        client: params.client.clone(),
        device_id: device.as_ref().map(|device| device.id.clone()),
        presence_key: None,
        method: method.name(),
        caps: params.caps.clone(),
        commands,
        permissions: params.permissions.clone(),
        path_env: params.path_env.clone(),
        connected_ms: now.wall_ms,
        seq: 0,
        unauthorized: 0,
    })
}

/// What the pairing step needs besides the session.
struct Pairing<'a> {
    params: &'a ConnectParams,
    device: &'a ProvenDevice,
    silent: bool,
    remote_ip: Option<String>,
}

impl Pairing<'_> {
    fn arrival<'a>(&'a self, session: &'a Session) -> Arrival<'a> {
        let client = &self.params.client;
        Arrival {
            protocol: session.protocol,
            device_id: &self.device.id,
            public_key: &self.device.public_key,
            role: session.role.name(),
            scopes: &session.scopes,
            silent: self.silent,
            display_name: client.display_name.as_deref(),
            platform: Some(&client.platform),
            device_family: client.device_family.as_deref(),
            client_id: &client.id,
            client_mode: &client.mode,
            remote_ip: self.remote_ip.as_deref(),
        }
    }
}

/// Looks the device up, approves or files a request, hands out its token. What the greeting promises
/// must be on disk first.
fn pair(
    state: &mut State,
    (conn, id): (ConnId, &str),
    pairing: &Pairing<'_>,
    session: Box<Session>,
    now: Now,
    fx: &mut Vec<Effect>,
) -> Result<(), Refusal> {
    let arrival = pairing.arrival(&session);
    let (decision, mut change) = state.devices.arrive(&arrival, state.entropy.uuid(), now.wall_ms);
    let mut commit = Commit::default();
    match decision {
        Decision::Paired | Decision::Unrecorded => {}
        Decision::Approved { request_id } => {
            let payload =
                pairing_devices::resolved_payload(&request_id, &pairing.device.id, Verdict::Approved, now.wall_ms);
            commit.events.push(("device.pair.resolved", payload));
        }
        Decision::Required(refusal) => {
            if refusal.created {
                commit.events.push(("device.pair.requested", pairing_devices::request_view(&refusal.request)));
            }
            let protocol = session.protocol;
            state.commit_devices(change, commit, now, fx);
            let reason = Some(refusal.close_reason(protocol));
            return Err(Refusal { error: refusal.wire(protocol), code: 1008, reason });
        }
    }
    let entropy = &mut state.entropy;
    let token = state.devices.ensure_token(&arrival, now.wall_ms, |form| device_token(entropy, form));
    let issued = token.map(|(issued, made)| {
        change = change.and(made);
        issued
    });
    change = change.and(state.devices.touch(&pairing.device.id, session.role.name(), now.wall_ms));
    commit.greeting = Some(Box::new(Greeting { conn, id: id.to_string(), issued }));
    join(state, conn, session);
    state.commit_devices(change, commit, now, fx);
    Ok(())
}

/// From here on the connection has a session, but hears nothing before its greeting.
fn join(state: &mut State, conn: ConnId, session: Box<Session>) {
    if let Some(entry) = state.conns.get_mut(&conn) {
        entry.phase = Phase::Joining(session);
    }
}

/// Sends `hello-ok`; the client is listed as present before the snapshot is taken (protocol.md 5.3).
pub fn welcome(state: &mut State, greeting: &Greeting, now: Now, fx: &mut Vec<Effect>) {
    let conn = greeting.conn;
    let Some(entry) = state.conns.get_mut(&conn) else { return };
    let Phase::Joining(mut session) = std::mem::replace(&mut entry.phase, Phase::Closing(None)) else { return };
    let (peer, public_id) = (entry.peer.clone(), entry.public_id.clone());
    state.arrived(&mut session, &peer, &public_id, now);
    let Some(payload) = hello::payload(state, &public_id, &session, greeting.issued.as_ref(), now) else {
        log::error!(target: "gateway/ws", "cannot build a greeting conn={conn}");
        fx.push(Effect::Close(conn, 1011, "internal error".to_string()));
        return;
    };
    let protocol = session.protocol;
    log::info!(
        target: "gateway/ws",
        "→ hello-ok conn={conn} client={} mode={} version={} protocol={protocol} role={} auth={} remote={}",
        session.client.id, session.client.mode, session.client.version, session.role.name(), session.method, peer.addr
    );
    state.counters.admitted += 1;
    if let Some(entry) = state.conns.get_mut(&conn) {
        entry.phase = Phase::Ready(session);
    }
    let admission =
        Admission { max_message: hello::max_message(protocol), max_buffered: hello::max_buffered(protocol) };
    fx.push(Effect::Admit(conn, admission));
    broadcast::reply_raw(fx, conn, &greeting.id, &payload);
    state.presence_changed(now, fx);
    state.health_soon(fx);
}
