//! Trying a gateway: can it be reached, what may we do there, what does it say about itself
//! (`spec/cli.md` 4, 5, 10). Never creates an identity; an unreachable gateway is a result.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::help::VERSION;
use super::rpc::{PROTOCOLS, list, text};
use crate::client::{Answer, Client, ClientError, ClientInfo, DeviceUse, Options};

/// What to try.
pub struct Attempt<'a> {
    /// `ws://host:port`
    pub url: &'a str,
    /// Token to present.
    pub token: Option<String>,
    /// Password to present.
    pub password: Option<String>,
    /// Time for everything.
    pub timeout: Duration,
    /// Where the identity lies, if a stored one may be used.
    pub identity: &'a Path,
    /// Methods to call after the handshake; all need no more than `operator.read`.
    pub calls: &'a [&'a str],
    /// Milliseconds since 1970.
    pub wall_ms: u64,
}

/// What came of it.
pub struct Probe {
    /// The address.
    pub url: String,
    /// Time until the handshake was done.
    pub latency_ms: Option<u64>,
    /// Role that was granted.
    pub role: Option<String>,
    /// Scopes that were granted.
    pub scopes: Vec<String>,
    /// Gateway version.
    pub version: Option<String>,
    /// Build id.
    pub build_id: Option<String>,
    /// Id of the connection.
    pub conn_id: Option<String>,
    /// Capability as in JSON.
    pub capability: &'static str,
    /// Why there is no connection.
    pub error: Option<ClientError>,
    /// The answers, in the order of the calls.
    pub answers: Vec<Result<Value, Answer>>,
}

/// Connects, calls, hangs up. On protocol 3 reading the config needs `operator.admin`, which is
/// known only after the greeting: then everything is done once more.
pub fn probe(attempt: &Attempt<'_>) -> Probe {
    let first = once(attempt, "operator.read");
    let wants_admin = |answer: &Result<Value, Answer>| match answer {
        Err(answer) => answer.message == "missing scope: operator.admin",
        Ok(_) => false,
    };
    if !first.answers.iter().any(wants_admin) {
        return first;
    }
    let second = once(attempt, "operator.admin");
    if second.reached() { second } else { first }
}

fn once(attempt: &Attempt<'_>, scope: &str) -> Probe {
    let reading = !attempt.calls.is_empty();
    let options = Options {
        url: attempt.url.to_string(),
        token: attempt.token.clone(),
        password: attempt.password.clone(),
        // A probe that reads must be a plain `cli`: protocol 4 takes every scope from mode `probe`.
        client: ClientInfo {
            id: "cli",
            mode: if reading { "cli" } else { "probe" },
            version: VERSION.to_string(),
            display_name: None,
        },
        protocols: PROTOCOLS,
        scopes: vec![scope.to_string()],
        device: DeviceUse::Stored(attempt.identity.to_path_buf()),
        timeout: attempt.timeout,
        wall_ms: attempt.wall_ms,
    };
    let began = Instant::now();
    match Client::connect(&options) {
        Ok(client) => connected(attempt, client, began, scope),
        Err(error) => failed(attempt.url, error),
    }
}

fn failed(url: &str, error: ClientError) -> Probe {
    let capability = if error.pairing_required() { "pairing_pending" } else { "unknown" };
    Probe {
        url: url.to_string(),
        latency_ms: None,
        role: None,
        scopes: Vec::new(),
        version: None,
        build_id: None,
        conn_id: None,
        capability,
        error: Some(error),
        answers: Vec::new(),
    }
}

fn connected(attempt: &Attempt<'_>, mut client: Client, began: Instant, asked: &str) -> Probe {
    let latency = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let hello = client.hello.clone();
    // Protocol 3 says nothing without a device: then what was asked for was granted.
    let scopes = hello.scopes.unwrap_or_else(|| vec![asked.to_string()]);
    let calls: Vec<(&str, Value)> = attempt.calls.iter().map(|method| (*method, json!({}))).collect();
    let (answers, error) = match client.call_all(&calls) {
        Ok(answers) => (answers, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    Probe {
        url: attempt.url.to_string(),
        latency_ms: Some(latency),
        role: hello.role.or_else(|| Some("operator".to_string())),
        capability: capability(&scopes),
        scopes,
        version: hello.version,
        build_id: hello.build_id,
        conn_id: hello.conn_id,
        error,
        answers,
    }
}

/// The strongest thing that scopes allow.
pub fn capability(scopes: &[String]) -> &'static str {
    let has = |name: &str| scopes.iter().any(|scope| scope == name);
    match () {
        () if has("operator.admin") => "admin_capable",
        () if has("operator.write") => "write_capable",
        () if has("operator.read") => "read_only",
        () => "connected_no_operator_scope",
    }
}

impl Probe {
    /// Whether the handshake succeeded.
    pub fn reached(&self) -> bool {
        self.latency_ms.is_some()
    }

    /// The answer to one of the calls, if it succeeded.
    pub fn answer(&self, calls: &[&str], method: &str) -> Option<&Value> {
        let at = calls.iter().position(|call| *call == method)?;
        self.answers.get(at)?.as_ref().ok()
    }

    /// Why the calls did not all succeed.
    pub fn read_error(&self) -> Option<String> {
        let refused = self.answers.iter().find_map(|answer| answer.as_ref().err()).map(|answer| answer.message.clone());
        refused.or_else(|| self.error.as_ref().map(ToString::to_string))
    }

    /// Whether the calls failed only for a missing scope.
    pub fn scope_limited(&self) -> bool {
        let mut errors = self.answers.iter().filter_map(|answer| answer.as_ref().err()).peekable();
        errors.peek().is_some() && errors.all(|answer| answer.message.starts_with("missing scope"))
    }

    /// `rpc` of `gateway status --json` and `auth`, `server` of `gateway probe --json`.
    pub fn auth_json(&self) -> Value {
        json!({ "role": self.role, "scopes": self.scopes, "capability": self.capability })
    }

    /// Version and connection.
    pub fn server_json(&self) -> Value {
        let mut server = json!({ "version": self.version, "connId": self.conn_id });
        if let (Some(build), Value::Object(members)) = (&self.build_id, &mut server) {
            members.insert("buildId".into(), build.as_str().into());
        }
        server
    }
}

/// The gateway's own entry in a presence list, as `{host, ip, version, platform}`.
pub fn own_entry(presence: &Value) -> Option<Value> {
    let entries = presence.as_array()?;
    let own = entries.iter().find(|entry| text(entry, "mode") == "gateway" && text(entry, "reason") == "self")?;
    let member = |name: &str| own.get(name).filter(|value| value.is_string()).cloned().unwrap_or(Value::Null);
    Some(json!({
        "host": member("host"), "ip": member("ip"), "version": member("version"), "platform": member("platform"),
    }))
}

/// What makes a gateway itself: its instance id, else host and address.
pub fn identity(presence: &Value) -> Option<String> {
    let entries = presence.as_array()?;
    let own = entries.iter().find(|entry| text(entry, "mode") == "gateway" && text(entry, "reason") == "self")?;
    match text(own, "instanceId") {
        "" => None,
        id => Some(format!("{id} {}", text(own, "host"))),
    }
}

/// The part of a `config.get` payload that `gateway probe` shows.
pub fn config_view(payload: &Value) -> Value {
    let config = payload.get("config").or_else(|| payload.get("parsed")).unwrap_or(&Value::Null);
    let at = |pointer: &str| config.pointer(pointer).cloned().unwrap_or(Value::Null);
    let set = |pointer: &str| config.pointer(pointer).is_some_and(|value| !value.is_null() && value != "");
    json!({
        "path": payload.get("path").cloned().unwrap_or(Value::Null),
        "exists": payload.get("exists").and_then(Value::as_bool).unwrap_or(false),
        "valid": payload.get("valid").and_then(Value::as_bool).unwrap_or(false),
        "issues": list(payload, "issues"), "legacyIssues": list(payload, "legacyIssues"),
        "gateway": {
            "mode": at("/gateway/mode"), "bind": at("/gateway/bind"), "port": at("/gateway/port"),
            "controlUiEnabled": at("/gateway/controlUi/enabled"), "controlUiBasePath": at("/gateway/controlUi/basePath"),
            "authMode": at("/gateway/auth/mode"), "authTokenConfigured": set("/gateway/auth/token"),
            "authPasswordConfigured": set("/gateway/auth/password"), "remoteUrl": at("/gateway/remote/url"),
            "remoteTokenConfigured": set("/gateway/remote/token"),
            "remotePasswordConfigured": set("/gateway/remote/password"),
            "tailscaleMode": at("/gateway/tailscale/mode"),
        },
        "discovery": { "wideAreaEnabled": at("/discovery/wideArea/enabled") },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_is_the_strongest_scope() {
        let of = |scopes: &[&str]| capability(&scopes.iter().map(|s| (*s).to_string()).collect::<Vec<_>>());
        assert_eq!(of(&[]), "connected_no_operator_scope");
        assert_eq!(of(&["operator.read", "operator.write"]), "write_capable");
        assert_eq!(of(&["operator.admin"]), "admin_capable");
        assert_eq!(of(&["operator.pairing"]), "connected_no_operator_scope");
    }

    #[test]
    fn the_gateway_is_the_entry_that_reports_itself() {
        let presence = json!([{"mode": "cli", "reason": "connect"},
            {"mode": "gateway", "reason": "self", "host": "h", "version": "1", "instanceId": "i"}]);
        assert_eq!(own_entry(&presence), Some(json!({"host": "h", "ip": null, "version": "1", "platform": null})));
        assert_eq!(identity(&presence).as_deref(), Some("i h"));
    }
}
