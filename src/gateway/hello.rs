//! The `hello-ok` payload (protocol.md 5): one shape that a strict protocol 3 client and the closed
//! protocol 4 schema both accept. Builds bytes from the state; decides nothing.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::pairing_devices::IssuedToken;
use super::state::{Session, State};
use crate::limits;
use crate::protocol::{events, methods};
use crate::sys::clock::Now;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Hello<'a> {
    r#type: &'static str,
    protocol: u8,
    server: Value,
    features: Features,
    snapshot: Snapshot<'a>,
    auth: Value,
    policy: Value,
}

#[derive(Serialize)]
struct Features {
    methods: Vec<&'static str>,
    events: Vec<&'static str>,
    capabilities: [&'static str; 0],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot<'a> {
    presence: &'a RawValue,
    health: &'a RawValue,
    state_version: Value,
    uptime_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    config_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_dir: Option<String>,
    session_defaults: Value,
    auth_mode: &'static str,
}

/// Serialises the greeting of a connection; `None` only if a cached part were not JSON.
pub fn payload(
    state: &mut State,
    public_id: &str,
    session: &Session,
    issued: Option<&IssuedToken>,
    now: Now,
) -> Option<String> {
    let presence = RawValue::from_string(state.presence_json(now).to_string()).ok()?;
    let health = RawValue::from_string(state.health.json.to_string()).ok()?;
    let admin = session.scopes.iter().any(|scope| scope == "operator.admin");
    let versions = state.state_version();
    let paths = &state.facts.paths;
    let hello = Hello {
        r#type: "hello-ok",
        protocol: session.protocol,
        server: server(state, public_id, session.protocol),
        features: Features {
            methods: methods::names(session.protocol),
            events: events::names(session.protocol),
            capabilities: [],
        },
        snapshot: Snapshot {
            presence: &presence,
            health: &health,
            state_version: json!({"presence": versions.presence, "health": versions.health}),
            uptime_ms: super::health::millis(state.uptime(now)),
            config_path: admin.then(|| paths.config_file.display().to_string()),
            state_dir: admin.then(|| paths.state_dir.display().to_string()),
            session_defaults: session_defaults(state),
            auth_mode: state.secrets.mode().name(),
        },
        auth: auth(session, issued),
        policy: policy(session.protocol, state.facts.tick),
    };
    serde_json::to_string(&hello).ok()
}

/// Protocol 4's schema is closed here; only protocol 3 clients are told the host.
fn server(state: &State, public_id: &str, protocol: u8) -> Value {
    let mut server = json!({"version": state.facts.version, "connId": public_id});
    if let (true, Some(map)) = (protocol < 4, server.as_object_mut()) {
        map.insert("host".into(), state.facts.host.as_str().into());
    }
    server
}

fn session_defaults(state: &State) -> Value {
    let agent = state.config.default_agent_id();
    let main = &state.config.session.main_key;
    json!({
        "defaultAgentId": agent,
        "mainKey": main,
        "mainSessionKey": format!("agent:{agent}:{main}"),
        "scope": state.config.session.scope.name(),
    })
}

fn auth(session: &Session, issued: Option<&IssuedToken>) -> Value {
    let mut auth = json!({"role": session.role.name(), "scopes": session.scopes});
    if let (Some(issued), Some(map)) = (issued, auth.as_object_mut()) {
        map.insert("deviceToken".into(), issued.token.as_str().into());
        map.insert("issuedAtMs".into(), issued.issued_at_ms.into());
    }
    auth
}

/// What the connection may send and how often it hears a tick.
fn policy(protocol: u8, tick: Duration) -> Value {
    json!({
        "maxPayload": max_message(protocol),
        "maxBufferedBytes": max_buffered(protocol),
        "tickIntervalMs": super::health::millis(tick),
    })
}

/// Largest inbound message of a protocol version.
pub fn max_message(protocol: u8) -> usize {
    if protocol >= 4 { limits::MESSAGE_BYTES_V4 } else { limits::MESSAGE_BYTES_V3 }
}

/// Outbound bytes from which a connection of this protocol version counts as slow.
pub fn max_buffered(protocol: u8) -> usize {
    if protocol >= 4 { limits::BUFFERED_BYTES_V4 } else { limits::BUFFERED_BYTES_V3 }
}
