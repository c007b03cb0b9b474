//! From a command line to an answer of the gateway: target, credentials, least scopes, one deadline,
//! and errors that end with what to type next (`spec/cli.md` 2).

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::amount;
use super::fail::{CliError, Kind};
use super::help::VERSION;
use super::parse::Parsed;
use super::spinner::Spinner;
use super::world::World;
use crate::client::{Address, Client, ClientError, ClientInfo, DeviceUse, Options};
use crate::protocol::methods;
use crate::protocol::table::Scope;

pub use super::aim::{Aim, aim};

/// Protocols this program speaks.
pub const PROTOCOLS: (u8, u8) = (3, 4);

/// Calls one method with the flags of the command.
///
/// # Errors
/// No target, no credentials, no connection, or the gateway's error.
pub fn call(world: &World, parsed: &Parsed, method: &str, params: &Value) -> Result<Value, CliError> {
    let mut line = Line::open(world, parsed, &[method])?;
    line.call(method, params)
}

/// A connection of a command that calls more than once.
pub struct Line {
    client: Client,
    aim: Aim,
    timeout: Duration,
    expect_final: bool,
    spin: bool,
}

impl Line {
    /// Connects with the scopes that these methods need.
    ///
    /// # Errors
    /// As [`call`].
    pub fn open(world: &World, parsed: &Parsed, need: &[&str]) -> Result<Line, CliError> {
        let aim = aim(world, parsed)?;
        let timeout = timeout(parsed)?;
        credentials(world, &aim, need.first().copied().unwrap_or_default())?;
        let options = options(world, &aim, need, timeout);
        let _spinner = Spinner::start("Waiting for the gateway…", !world.json);
        let client = Client::connect(&options).map_err(|error| explain(world, &aim, error))?;
        Ok(Line { client, aim, timeout, expect_final: parsed.has("expect-final"), spin: !world.json })
    }

    /// Calls one method.
    ///
    /// # Errors
    /// The gateway's error or a broken connection.
    pub fn call(&mut self, method: &str, params: &Value) -> Result<Value, CliError> {
        let _spinner = Spinner::start("Waiting for the answer…", self.spin);
        self.client.call(method, params, self.expect_final).map_err(|error| explain_here(&self.aim, error))
    }

    /// Gives the next calls the whole time again.
    pub fn renew(&mut self) {
        self.client.allow(self.timeout);
    }

    /// The error frame of a call stays a value, for commands that go on without it.
    ///
    /// # Errors
    /// A broken connection.
    pub fn call_if_possible(&mut self, method: &str, params: &Value) -> Result<Option<Value>, CliError> {
        match self.client.call(method, params, false) {
            Ok(payload) => Ok(Some(payload)),
            Err(ClientError::Request(_)) => Ok(None),
            Err(error) => Err(explain_here(&self.aim, error)),
        }
    }
}

/// `--timeout`, or the default that the command's row names.
///
/// # Errors
/// A value that is no positive number.
pub fn timeout(parsed: &Parsed) -> Result<Duration, CliError> {
    let default = parsed.command.flag("timeout").and_then(|flag| flag.default.parse().ok()).unwrap_or(10_000);
    amount::millis(parsed, "timeout", default)
}

/// The least scopes for these methods, over both protocols; an unknown method needs everything.
pub fn scopes(need: &[&str]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for method in need {
        let wanted = match methods::find(method) {
            Some(row) => [row.scope_v3, row.scope_v4],
            None => [Scope::Admin, Scope::Admin],
        };
        names.extend(wanted.iter().map(|scope| if *scope == Scope::None { Scope::Read } else { *scope }.name()));
    }
    names.sort_unstable();
    names.dedup();
    // `operator.admin` implies the others, and a paired device may hold nothing else.
    if names.contains(&"operator.admin") { vec!["operator.admin"] } else { names }
}

/// The client options of an ordinary command. It connects as `cli`, which both originals leave out
/// of presence; a `gateway-client` would appear there for every command.
pub fn options(world: &World, aim: &Aim, need: &[&str], timeout: Duration) -> Options {
    Options {
        url: aim.url.clone(),
        token: aim.token.clone(),
        password: aim.password.clone(),
        client: ClientInfo { id: "cli", mode: "cli", version: VERSION.to_string(), display_name: None },
        protocols: PROTOCOLS,
        scopes: scopes(need),
        device: DeviceUse::Create(world.paths.identity_dir.clone()),
        timeout,
        wall_ms: world.now_ms,
    }
}

/// Refuses before opening a socket when nothing at all could authenticate (`spec/cli.md` 2.2).
///
/// # Errors
/// The refusal.
pub fn credentials(world: &World, aim: &Aim, method: &str) -> Result<(), CliError> {
    let shared = aim.token.is_some() || aim.password.is_some();
    let paired = || world.paths.identity_dir.join("device-auth.json").exists();
    let open = || world.config().gateway.auth.mode.is_some_and(|mode| mode.as_str() == "none");
    if shared || paired() || open() {
        return Ok(());
    }
    let what = format!("gateway {method} requires credentials before opening a websocket");
    Err(CliError::new(Kind::Credentials, what)
        .hint("Fix: configure gateway.auth token/password, pair this device, or pass --token/--password.")
        .hint(format!("Config: {}", world.snapshot.path.display())))
}

fn explain_here(aim: &Aim, error: ClientError) -> CliError {
    translate(aim, "openclaw", error)
}

/// A client error as the command shows it.
pub fn explain(world: &World, aim: &Aim, error: ClientError) -> CliError {
    let program = world.command("");
    translate(aim, program.trim_end(), error)
}

fn translate(aim: &Aim, program: &str, error: ClientError) -> CliError {
    let reason = error.to_string();
    let mut out = match &error {
        ClientError::Request(answer) => {
            let mut out = CliError::new(Kind::Request, &reason);
            out.code = Some(answer.code.clone());
            out.details = answer.details.clone();
            out.retryable = answer.retryable;
            return out;
        }
        ClientError::Refused(answer) => {
            let mut out = CliError::new(Kind::Request, &reason);
            out.code = Some(answer.code.clone());
            out.details = answer.details.clone();
            out.retryable = answer.retryable;
            refusal_hints(out, program, &error)
        }
        ClientError::Unreachable { .. } => {
            let what = format!("Gateway not reachable at {} ({reason}).", aim.url);
            CliError::new(Kind::Transport, what)
                .hint(format!("Start it with `{program} gateway run` or check `{program} gateway status`."))
        }
        ClientError::TlsMissing { .. } => CliError::new(Kind::Transport, &reason)
            .hint("Fix: use ws:// through a tunnel, e.g. ssh -N -L 18789:127.0.0.1:18789 user@gateway-host"),
        ClientError::NotGateway(_) => CliError::new(Kind::Transport, &reason)
            .hint(format!("Fix: check the port; `{program} gateway status` names who listens there.")),
        _ => CliError::new(Kind::Transport, &reason),
    };
    out.target = Some(aim.to_json());
    out.reason = (out.kind == Kind::Transport).then_some(reason);
    aim.block().into_iter().fold(out, CliError::hint)
}

fn refusal_hints(out: CliError, program: &str, error: &ClientError) -> CliError {
    let details = error.answer().and_then(|answer| answer.details.as_ref());
    let request = details.and_then(|details| details.get("requestId")).and_then(Value::as_str);
    if error.pairing_required() {
        let id = request.unwrap_or("--latest");
        return out.hint(format!("Fix: on the gateway's machine run: {program} devices approve {id}"));
    }
    if out.message.starts_with("unauthorized") {
        return out
            .hint("Fix: pass --token or --password, or set OPENCLAW_GATEWAY_TOKEN to the gateway's own token.");
    }
    out
}

/// Whether an address is this machine.
pub fn is_loopback(url: &str) -> bool {
    Address::parse(url).is_ok_and(|address| address.is_loopback())
}

/// An object of these members, without those that are `None`.
pub fn object(members: &[(&str, Option<Value>)]) -> Value {
    let present = members.iter().filter_map(|(name, value)| value.clone().map(|value| ((*name).to_string(), value)));
    Value::Object(present.collect::<Map<String, Value>>())
}

/// A list member of a payload; empty when missing.
pub fn list<'a>(payload: &'a Value, name: &str) -> &'a [Value] {
    payload.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A text member of a payload; empty when missing.
pub fn text<'a>(payload: &'a Value, name: &str) -> &'a str {
    payload.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Texts of a list member, joined.
pub fn joined(payload: &Value, name: &str) -> String {
    list(payload, name).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

/// An empty parameter object.
pub fn nothing() -> Value {
    json!({})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_the_least_that_both_protocols_accept() {
        assert_eq!(scopes(&["no.such.method"]), ["operator.admin"]);
        assert_eq!(scopes(&["system-presence"]), ["operator.read"]);
        assert_eq!(scopes(&["device.pair.list"]), ["operator.pairing"]);
        assert_eq!(scopes(&["system-presence", "no.such.method"]), ["operator.admin"]);
    }
}
