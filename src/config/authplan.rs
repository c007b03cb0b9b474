//! Which secret protects the gateway, and when it may not start without one (lifecycle.md 7 and 8, decisions.md 17).
//! Pure: looks at flags, configuration and environment; makes no token itself.

use std::net::IpAddr;

use super::load::Snapshot;
use super::model::{AuthMode, Bind};
use super::resolve::{Flags, Listen, Refusal, Source, is_tailnet};
use super::secret::Secret;

/// What clients must show.
#[derive(Clone, Debug)]
pub struct AuthPlan {
    /// The kind of proof.
    pub mode: AuthMode,
    /// The token, when one is known; also kept in password mode if configured.
    pub token: Option<Secret>,
    /// The password, when one is known.
    pub password: Option<Secret>,
    /// Where the secret of this mode came from.
    pub source: Source,
    /// Whether the token is the generated one; it is then absent until settled.
    pub generated: bool,
}

impl AuthPlan {
    /// Whether the generated token has still to be fetched or made.
    pub fn needs_token(&self) -> bool {
        self.generated && self.token.is_none()
    }

    /// The source as shown in logs.
    pub fn source_label(&self) -> &'static str {
        match (self.mode, self.source) {
            (AuthMode::None, _) => "no auth",
            (AuthMode::TrustedProxy, _) => "gateway.trustedProxies",
            (AuthMode::Token, Source::Flag) => "--token",
            (AuthMode::Password, Source::Flag) => "--password",
            (AuthMode::Token, Source::Config) => "gateway.auth.token",
            (AuthMode::Password, Source::Config) => "gateway.auth.password",
            (AuthMode::Token, Source::Env) => "OPENCLAW_GATEWAY_TOKEN",
            (AuthMode::Password, Source::Env) => "OPENCLAW_GATEWAY_PASSWORD",
            (_, Source::File | Source::Default) => "generated token file",
        }
    }
}

pub(super) fn resolve(
    flags: &Flags,
    asked: Option<AuthMode>,
    snapshot: &Snapshot,
    bind: Bind,
    listen: &Listen,
) -> Result<AuthPlan, Refusal> {
    let auth = &snapshot.config.gateway.auth;
    let env = |name: &str| snapshot.env.get(name).map(Secret::new);
    let token = first(&flags.token, &auth.token, env("OPENCLAW_GATEWAY_TOKEN"));
    let password = first(&flags.password, &auth.password, env("OPENCLAW_GATEWAY_PASSWORD"));
    let explicit = asked.or_else(|| explicit_mode(flags, auth.mode));
    let mode = explicit.unwrap_or(if password.is_some() { AuthMode::Password } else { AuthMode::Token });
    let secret = match mode {
        AuthMode::Token => token.as_ref(),
        AuthMode::Password => password.as_ref(),
        AuthMode::None | AuthMode::TrustedProxy => None,
    };
    let source = secret.map(|(_, source)| *source);
    match mode {
        AuthMode::None => check_open(snapshot, bind, listen)?,
        AuthMode::TrustedProxy => check_proxies(&snapshot.config.gateway.trusted_proxies, listen)?,
        AuthMode::Token | AuthMode::Password if source.is_some() => {}
        AuthMode::Token if explicit.is_some() => return Err(missing(snapshot, "token", "TOKEN")),
        AuthMode::Password => return Err(missing(snapshot, "password", "PASSWORD")),
        AuthMode::Token if listen.exposed => return Err(unprotected(snapshot, bind)),
        AuthMode::Token => {}
    }
    let generated = mode == AuthMode::Token && source.is_none();
    let keep = |found: Option<(Secret, Source)>| found.map(|(secret, _)| secret).filter(|_| mode != AuthMode::None);
    let source = source.unwrap_or(if generated { Source::File } else { Source::Default });
    Ok(AuthPlan { mode, token: keep(token), password: keep(password), source, generated })
}

/// A mode that somebody wrote down. A secret on the command line is such a word where the file says nothing, or says
/// that none is needed; `--password` always is (cli.md 3).
fn explicit_mode(flags: &Flags, configured: Option<AuthMode>) -> Option<AuthMode> {
    match configured {
        _ if flags.password.is_some() => Some(AuthMode::Password),
        None | Some(AuthMode::None) if flags.token.is_some() => Some(AuthMode::Token),
        configured => configured,
    }
}

fn first(flag: &Option<Secret>, config: &Option<Secret>, env: Option<Secret>) -> Option<(Secret, Source)> {
    let flag = flag.clone().filter(|secret| !secret.expose().trim().is_empty());
    let flag = flag.map(|secret| (secret, Source::Flag));
    flag.or_else(|| config.clone().map(|secret| (secret, Source::Config)))
        .or_else(|| env.map(|secret| (secret, Source::Env)))
}

fn missing(snapshot: &Snapshot, name: &str, variable: &str) -> Refusal {
    let lines = [
        format!("Gateway auth is set to {name}, but no {name} is configured."),
        format!("Set gateway.auth.{name} (or OPENCLAW_GATEWAY_{variable}), or pass --{name}."),
    ];
    Refusal::config(lines.into_iter().chain(hints(snapshot)))
}

fn unprotected(snapshot: &Snapshot, bind: Bind) -> Refusal {
    let lines = [
        format!("Refusing to bind gateway to {bind} without auth."),
        "Set gateway.auth.token/password (or OPENCLAW_GATEWAY_TOKEN/OPENCLAW_GATEWAY_PASSWORD) \
         or pass --token/--password."
            .to_string(),
    ];
    Refusal::config(lines.into_iter().chain(hints(snapshot)))
}

/// Where people put a secret that does not protect this gateway.
fn hints(snapshot: &Snapshot) -> Vec<String> {
    let gateway = &snapshot.config.gateway;
    let mut lines = Vec::new();
    if gateway.has_legacy_token {
        lines.push("Found \"gateway.token\" in config. Use \"gateway.auth.token\" instead.".to_string());
    }
    if gateway.remote.token.is_some() {
        let line = "\"gateway.remote.token\" is for remote CLI calls; it does not enable local gateway auth.";
        lines.push(line.to_string());
    }
    lines
}

/// Without any secret, only this machine or a private network may reach the gateway (runbook A9).
fn check_open(snapshot: &Snapshot, bind: Bind, listen: &Listen) -> Result<(), Refusal> {
    let private = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local() || is_tailnet(ip),
        IpAddr::V6(v6) => v6.is_loopback(),
    };
    if listen.hosts.iter().all(private) { Ok(()) } else { Err(unprotected(snapshot, bind)) }
}

/// A proxy must be named, and one of them must be able to reach a gateway that listens only here.
fn check_proxies(proxies: &[String], listen: &Listen) -> Result<(), Refusal> {
    if proxies.is_empty() {
        let line = "gateway auth mode is trusted-proxy, but no proxy is trusted (set gateway.trustedProxies)";
        return Err(Refusal::config([line]));
    }
    let local = |proxy: &String| proxy.starts_with("127.") || proxy.starts_with("::1");
    if !listen.exposed && !proxies.iter().any(local) {
        let line = "gateway auth mode=trusted-proxy with bind=loopback requires a loopback address in \
            gateway.trustedProxies";
        return Err(Refusal::config([line]));
    }
    Ok(())
}
