//! From a command line to an answer of the gateway: target, credentials, least scopes, one deadline,
//! and errors that end with what to type next (`spec/cli.md` 2).

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;

use super::amount;
use super::fail::{CliError, Kind};
use super::help::VERSION;
use super::parse::Parsed;
use super::spinner::Spinner;
use super::world::World;
use crate::client::{Answer, Client, ClientError, ClientInfo, DeviceUse, Incoming, Options};
use crate::protocol::methods;
use crate::protocol::table::Scope;
use crate::sys::host;

use crate::config::Secret;
use crate::config::resolve::AuthMode;
use crate::config::target::{Target, TargetError, TargetFlags, client_target};
use crate::sys::order;

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
    aim: Target,
    options: Options,
    expect_final: bool,
    spin: bool,
}

impl Line {
    /// Connects with the scopes that these methods need.
    ///
    /// # Errors
    /// As [`call`].
    pub fn open(world: &World, parsed: &Parsed, need: &[&str]) -> Result<Line, CliError> {
        Line::open_within(world, parsed, need, timeout(parsed)?)
    }

    /// The same with a time of the command's own choice.
    ///
    /// # Errors
    /// As [`call`].
    pub fn open_within(world: &World, parsed: &Parsed, need: &[&str], timeout: Duration) -> Result<Line, CliError> {
        let aim = aim(world, parsed)?;
        credentials(world, &aim, need.first().copied().unwrap_or_default())?;
        let options = options(world, &aim, need, timeout);
        let _spinner = Spinner::start("Waiting for the gateway…", !world.json);
        let client = Client::connect(&options).map_err(|error| explain(world, &aim, error))?;
        Ok(Line { client, aim, options, expect_final: parsed.has("expect-final"), spin: !world.json })
    }

    /// Calls one method.
    ///
    /// # Errors
    /// The gateway's error or a broken connection.
    pub fn call(&mut self, method: &str, params: &Value) -> Result<Value, CliError> {
        let _spinner = Spinner::start("Waiting for the answer…", self.spin);
        let first = self.client.call(method, params, self.expect_final);
        let answer = match first {
            Err(ClientError::Request(answer)) if self.widen(&answer) => {
                self.client.call(method, params, self.expect_final)
            }
            other => other,
        };
        answer.map_err(|error| explain_here(&self.aim, error))
    }

    /// The final answer of a two-stage call. `on` gets the events and says when the spinner has to go.
    ///
    /// # Errors
    /// As [`Line::call`].
    pub fn call_final(
        &mut self,
        method: &str,
        params: &Value,
        on: &mut dyn FnMut(&Incoming) -> bool,
    ) -> Result<Value, CliError> {
        let mut spinner = Some(Spinner::start("Waiting for the answer…", self.spin));
        let mut show = |event: &Incoming| {
            // Taken away before the first piece, so that both never stand on one line.
            if event.event == "agent" && text(&event.payload, "stream") == "assistant" {
                spinner = None;
            }
            on(event);
        };
        let first = self.client.call_final(method, params, &mut show);
        let answer = match first {
            Err(ClientError::Request(answer)) if self.widen(&answer) => {
                self.client.call_final(method, params, &mut show)
            }
            other => other,
        };
        answer.map_err(|error| explain_here(&self.aim, error))
    }

    /// Gives the next calls another deadline.
    pub fn allow(&mut self, time: Duration) {
        self.client.allow(time);
    }

    /// Connects again with a scope that the gateway found missing: approving a device, for one,
    /// needs every scope that the device asks for. Says whether the call may be tried once more.
    fn widen(&mut self, answer: &Answer) -> bool {
        let Some(scope) = answer.message.strip_prefix("missing scope: ") else { return false };
        if self.options.scopes.iter().any(|have| have == scope) {
            return false;
        }
        let mut wider = self.options.clone();
        wider.scopes.push(scope.to_string());
        match Client::connect(&wider) {
            Ok(client) if !client.hello.lacks(&wider.scopes) => {
                self.client = client;
                self.options = wider;
                true
            }
            // The first refusal says it better than a second one about the connection.
            _ => false,
        }
    }

    /// Gives the next calls the whole time again.
    pub fn renew(&mut self) {
        self.client.allow(self.options.timeout);
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

/// The target that flags, environment and config name.
///
/// # Errors
/// Bad flags, a remote mode without address, `--url` without credentials.
pub fn aim(world: &World, parsed: &Parsed) -> Result<Target, CliError> {
    let secret = |flag: &str| parsed.text(flag).map(Secret::new);
    let flags = TargetFlags {
        url: parsed.text("url").map(str::to_string),
        port: amount::port(parsed)?.map(|port| port.to_string()),
        token: secret("token"),
        password: secret("password"),
    };
    let interfaces: Vec<IpAddr> = host::lan_addresses().into_iter().map(IpAddr::V4).collect();
    client_target(&world.snapshot, &world.paths, &flags, &interfaces).map_err(|error| {
        let kind = match error {
            TargetError::ExplicitCredentials { .. } => Kind::Credentials,
            TargetError::RemoteUrlMissing { .. } => Kind::Config,
            _ => Kind::Usage,
        };
        several(kind, &error.to_string())
    })
}

/// An error from a text of several lines: the first is the message, the others are hints.
fn several(kind: Kind, text: &str) -> CliError {
    let mut lines = text.lines();
    let error = CliError::new(kind, lines.next().unwrap_or_default());
    lines.fold(error, CliError::hint)
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
    order::by(&mut names, Ord::cmp);
    names.dedup();
    // `operator.admin` implies the others, and a paired device may hold nothing else.
    if names.contains(&"operator.admin") { vec!["operator.admin"] } else { names }
}

/// The client options of an ordinary command. It connects as `cli`, which both originals leave out
/// of presence; a `gateway-client` would appear there for every command.
pub fn options(world: &World, aim: &Target, need: &[&str], timeout: Duration) -> Options {
    Options {
        url: aim.url.clone(),
        token: aim.token.as_ref().map(|secret| secret.expose().to_string()),
        password: aim.password.as_ref().map(|secret| secret.expose().to_string()),
        client: ClientInfo { id: "cli", mode: "cli", version: VERSION.to_string(), display_name: None },
        protocols: PROTOCOLS,
        scopes: scopes(need).into_iter().map(str::to_string).collect(),
        device: DeviceUse::Create(world.paths.identity_dir.clone()),
        timeout,
        wall_ms: world.now_ms,
    }
}

/// Refuses before opening a socket when nothing at all could authenticate (`spec/cli.md` 2.2).
///
/// # Errors
/// The refusal.
pub fn credentials(world: &World, aim: &Target, method: &str) -> Result<(), CliError> {
    let paired = || world.paths.identity_dir.join("device-auth.json").exists();
    let open = || world.config().gateway.auth.mode.is_some_and(|mode| mode == AuthMode::None);
    if aim.has_credentials() || paired() || open() {
        return Ok(());
    }
    let mut error = several(Kind::Credentials, &aim.credentials_required(method));
    error.hints.extend(aim.token_file_problem.clone());
    if aim.is_local && aim.token_file_problem.is_none() {
        let start = world.command("gateway --allow-unconfigured");
        error = error.hint(format!("No gateway has run here yet? Start one, which makes a token: {start}"));
    }
    Err(error)
}

fn explain_here(aim: &Target, error: ClientError) -> CliError {
    translate(aim, "openclaw", error)
}

/// A client error as the command shows it.
pub fn explain(world: &World, aim: &Target, error: ClientError) -> CliError {
    let program = world.command("");
    translate(aim, program.trim_end(), error)
}

fn translate(aim: &Target, program: &str, error: ClientError) -> CliError {
    let reason = error.to_string();
    let mut out = match &error {
        ClientError::Request(answer) => {
            let mut out = CliError::new(Kind::Request, &reason);
            out.wire.code = Some(answer.code.clone());
            out.wire.details = answer.details.clone();
            out.wire.retryable = answer.retryable;
            return out;
        }
        ClientError::Refused(answer) => {
            let mut out = CliError::new(Kind::Request, &reason);
            out.wire.code = Some(answer.code.clone());
            out.wire.details = answer.details.clone();
            out.wire.retryable = answer.retryable;
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
    let mut target = json!({ "url": aim.url, "urlSource": aim.source_label });
    if let (Some(bind), Value::Object(members)) = (&aim.bind_detail, &mut target) {
        members.insert("bindDetail".into(), format!("Bind: {bind}").into());
    }
    out.wire.target = Some(target);
    out.wire.reason = (out.kind == Kind::Transport).then_some(reason);
    aim.details().lines().fold(out, CliError::hint)
}

fn refusal_hints(out: CliError, program: &str, error: &ClientError) -> CliError {
    let details = error.answer().and_then(|answer| answer.details.as_ref());
    let request = details.and_then(|details| details.get("requestId")).and_then(Value::as_str);
    if error.pairing_required() {
        let id = request.unwrap_or("--latest");
        return out.hint(format!("Fix: on the gateway's machine run: {program} devices approve {id}"));
    }
    if out.message.starts_with("unauthorized") {
        return out.hint("Fix: pass --token or --password, or set OPENCLAW_GATEWAY_TOKEN to the gateway's own token.");
    }
    out
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
