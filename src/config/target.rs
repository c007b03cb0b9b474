//! Which gateway a command talks to, and with what credentials (cli.md 2.1 and 2.2).
//! Pure but for the generated token file, which it only reads; opens no connection.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use super::load::Snapshot;
use super::model::{Bind, Mode};
use super::paths::Paths;
use super::resolve::{default_port, is_tailnet, parse_port};
use super::secret::Secret;
use super::token;

/// The connection flags of a command.
#[derive(Clone, Debug, Default)]
pub struct TargetFlags {
    /// `--url`.
    pub url: Option<String>,
    /// `--port`, as written.
    pub port: Option<String>,
    /// `--token`.
    pub token: Option<Secret>,
    /// `--password`.
    pub password: Option<Secret>,
}

/// A gateway to connect to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The WebSocket address.
    pub url: String,
    /// Where the address came from, as shown after `Source:`.
    pub source_label: String,
    /// The bind mode, as shown after `Bind:`; none when it says nothing about this target.
    pub bind_detail: Option<String>,
    /// The configuration file, as shown after `Config:`.
    pub config_path: PathBuf,
    /// Token to present.
    pub token: Option<Secret>,
    /// Password to present.
    pub password: Option<Secret>,
    /// Fingerprint the server's certificate must have.
    pub tls_fingerprint: Option<String>,
    /// Whether this is the gateway of this configuration on this machine.
    pub is_local: bool,
    /// A problem with the generated token file, when it would have been used.
    pub token_file_problem: Option<String>,
}

/// Why there is no target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// `--url` came without `--token` or `--password`.
    ExplicitCredentials {
        /// The configuration file.
        config: PathBuf,
    },
    /// Remote mode without an address.
    RemoteUrlMissing {
        /// The configuration file.
        config: PathBuf,
    },
    /// An address that is not ws:// or wss://.
    InvalidUrl {
        /// Where it came from.
        source: String,
    },
    /// `--port` is no port.
    InvalidPort,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TargetError::ExplicitCredentials { config } => write!(
                f,
                "gateway url override requires explicit credentials\n\
                 Fix: pass --token or --password together with the url.\nConfig: {}",
                config.display()
            ),
            TargetError::RemoteUrlMissing { config } => write!(
                f,
                "gateway remote mode misconfigured: gateway.remote.url missing\nConfig: {}\n\
                 Fix: set gateway.remote.url, or set gateway.mode=local.",
                config.display()
            ),
            TargetError::InvalidUrl { source } => {
                write!(f, "invalid gateway url from {source} (use ws://host:port or wss://host:port)")
            }
            TargetError::InvalidPort => f.write_str("Invalid port"),
        }
    }
}

impl std::error::Error for TargetError {}

impl Target {
    /// The block that ends every failure message; scripts look for its first line (cli.md 2.1).
    pub fn details(&self) -> String {
        let mut text = format!(
            "Gateway target: {}\nSource: {}\nConfig: {}",
            self.url,
            self.source_label,
            self.config_path.display()
        );
        if let Some(bind) = &self.bind_detail {
            text.push_str(&format!("\nBind: {bind}"));
        }
        text
    }

    /// Whether there is anything to present.
    pub fn has_credentials(&self) -> bool {
        self.token.is_some() || self.password.is_some()
    }

    /// The text for a method that cannot be called without credentials (cli.md 2.2).
    pub fn credentials_required(&self, method: &str) -> String {
        format!(
            "gateway {method} requires credentials before opening a websocket\n\
             Fix: configure gateway.auth token/password, pair this device, or pass --token/--password.\nConfig: {}",
            self.config_path.display()
        )
    }
}

/// Decides the target of a command. `interfaces` are this machine's addresses.
pub fn client_target(
    snapshot: &Snapshot,
    paths: &Paths,
    flags: &TargetFlags,
    interfaces: &[IpAddr],
) -> Result<Target, TargetError> {
    if let Some(url) = text(flags.url.as_deref()) {
        return overridden(snapshot, flags, url);
    }
    if let Some(port) = &flags.port {
        let port = parse_port(port).ok_or(TargetError::InvalidPort)?;
        let url = format!("{}://127.0.0.1:{port}", scheme(snapshot));
        return Ok(with_local(target(snapshot, url, "cli --port"), snapshot, paths, flags));
    }
    if let Some(url) = snapshot.env.get("OPENCLAW_GATEWAY_URL") {
        return from_env(snapshot, paths, flags, url);
    }
    if snapshot.config.gateway.mode == Some(Mode::Remote) {
        return remote(snapshot, flags);
    }
    Ok(with_local(local(snapshot, interfaces), snapshot, paths, flags))
}

fn overridden(snapshot: &Snapshot, flags: &TargetFlags, url: &str) -> Result<Target, TargetError> {
    let mut found = target(snapshot, checked(url, "cli --url")?, "cli --url");
    found.token = flags.token.clone();
    found.password = flags.password.clone();
    if !found.has_credentials() {
        return Err(TargetError::ExplicitCredentials { config: snapshot.path.clone() });
    }
    Ok(found)
}

/// The environment names both address and secret; the file's secret only goes to this machine.
fn from_env(snapshot: &Snapshot, paths: &Paths, flags: &TargetFlags, url: &str) -> Result<Target, TargetError> {
    let label = "env OPENCLAW_GATEWAY_URL";
    let mut found = target(snapshot, checked(url, label)?, label);
    if is_loopback_url(&found.url) {
        return Ok(with_local(found, snapshot, paths, flags));
    }
    found.token = flags.token.clone().or_else(|| variable(snapshot, "OPENCLAW_GATEWAY_TOKEN"));
    found.password = flags.password.clone().or_else(|| variable(snapshot, "OPENCLAW_GATEWAY_PASSWORD"));
    Ok(found)
}

fn remote(snapshot: &Snapshot, flags: &TargetFlags) -> Result<Target, TargetError> {
    let remote = &snapshot.config.gateway.remote;
    let label = "config gateway.remote.url";
    let Some(url) = text(remote.url.as_deref()) else {
        return Err(TargetError::RemoteUrlMissing { config: snapshot.path.clone() });
    };
    let mut found = target(snapshot, checked(url, label)?, label);
    found.token = flags.token.clone().or_else(|| remote.token.clone());
    let password = flags.password.clone().or_else(|| variable(snapshot, "OPENCLAW_GATEWAY_PASSWORD"));
    found.password = password.or_else(|| remote.password.clone());
    found.tls_fingerprint = remote.tls_fingerprint.clone();
    Ok(found)
}

fn local(snapshot: &Snapshot, interfaces: &[IpAddr]) -> Target {
    let (port, _) = default_port(snapshot);
    let bind = snapshot.config.gateway.bind.unwrap_or(Bind::Loopback);
    let (host, label) = match bind {
        Bind::Tailnet => named(interfaces.iter().find(|ip| is_tailnet(ip)), "tailnet"),
        Bind::Lan => named(interfaces.iter().find(|ip| is_lan(ip)), "lan"),
        _ => named(None, ""),
    };
    let mut found = target(snapshot, format!("{}://{host}:{port}", scheme(snapshot)), &label);
    found.bind_detail = Some(bind.name().to_string());
    found
}

fn named(ip: Option<&IpAddr>, kind: &str) -> (String, String) {
    match ip {
        Some(ip) => (ip.to_string(), format!("local {kind} {ip}")),
        None => ("127.0.0.1".to_string(), "local loopback".to_string()),
    }
}

fn is_lan(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V4(v4) if !v4.is_loopback() && !v4.is_unspecified() && !v4.is_link_local()) && !is_tailnet(ip)
}

/// Credentials of this machine's own gateway: flag, environment, file, and last the generated token.
fn with_local(mut found: Target, snapshot: &Snapshot, paths: &Paths, flags: &TargetFlags) -> Target {
    let auth = &snapshot.config.gateway.auth;
    let token = flags.token.clone().or_else(|| variable(snapshot, "OPENCLAW_GATEWAY_TOKEN"));
    found.token = token.or_else(|| auth.token.clone());
    let password = flags.password.clone().or_else(|| variable(snapshot, "OPENCLAW_GATEWAY_PASSWORD"));
    found.password = password.or_else(|| auth.password.clone());
    found.is_local = true;
    if !found.has_credentials() {
        match token::read(&paths.token_file) {
            Ok(token) => found.token = token,
            Err(error) => found.token_file_problem = Some(error.to_string()),
        }
    }
    found
}

fn target(snapshot: &Snapshot, url: String, label: &str) -> Target {
    Target {
        url,
        source_label: label.to_string(),
        bind_detail: None,
        config_path: snapshot.path.clone(),
        token: None,
        password: None,
        tls_fingerprint: None,
        is_local: false,
        token_file_problem: None,
    }
}

fn variable(snapshot: &Snapshot, name: &str) -> Option<Secret> {
    snapshot.env.get(name).map(|value| Secret::new(value.trim()))
}

fn text(value: Option<&str>) -> Option<&str> {
    value.map(str::trim).filter(|value| !value.is_empty())
}

fn scheme(snapshot: &Snapshot) -> &'static str {
    if snapshot.config.gateway.tls_enabled { "wss" } else { "ws" }
}

/// A WebSocket address with a host; the address itself is not repeated in the error, it may hold a secret.
fn checked(url: &str, source: &str) -> Result<String, TargetError> {
    let url = url.trim();
    let host = host_of(url).unwrap_or_default();
    let is_socket = url
        .split_once("://")
        .is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("ws") || scheme.eq_ignore_ascii_case("wss"));
    let clean = !url.contains(|c: char| c.is_whitespace() || c.is_control());
    if is_socket && !host.is_empty() && clean {
        return Ok(url.to_string());
    }
    Err(TargetError::InvalidUrl { source: source.to_string() })
}

/// The host of an address, without port and user.
fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.strip_prefix('[') {
        Some(v6) => v6.split_once(']').map(|(v6, _)| v6),
        None => host.split(':').next(),
    }
}

/// Whether an address names this machine.
pub fn is_loopback_url(url: &str) -> bool {
    let host = host_of(url).unwrap_or_default();
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::env::Env;
    use crate::config::load::{interpret, testing::TempDir};
    use crate::config::paths::Profile;

    #[test]
    fn this_machine_is_named_by_its_addresses_and_not_by_what_begins_like_them() {
        for url in ["http://127.0.0.1:11434/v1", "HTTP://LOCALHOST", "http://[::1]:1/v1", "http://me@127.9.9.9?x"] {
            assert!(is_loopback_url(url), "{url}");
        }
        for url in [
            "http://127.evil.example/v1",
            "https://localhost.evil.example",
            "http://127.0.0.1@evil.example",
            "http://evil.example/127.0.0.1",
            "http://192.168.0.2",
            "127.0.0.1",
            "",
        ] {
            assert!(!is_loopback_url(url), "{url}");
        }
    }

    fn run(config: &str, vars: &[(&str, &str)], flags: TargetFlags) -> Result<Target, TargetError> {
        let vars = [("HOME", "/nowhere")].iter().chain(vars).copied();
        let env = Env::of(vars);
        let paths = Paths::resolve(&env, &Profile::none());
        let snapshot = interpret(&paths.config_file, config.to_string(), &env);
        let interfaces = ["127.0.0.1", "192.168.1.7", "100.64.0.9"].map(|ip| ip.parse().unwrap());
        client_target(&snapshot, &paths, &flags, &interfaces)
    }

    fn shown(found: &Target) -> (String, String, Option<String>) {
        let secret = |s: &Option<Secret>| s.as_ref().map(|s| s.expose().to_string());
        (found.url.clone(), found.source_label.clone(), secret(&found.token).or(secret(&found.password)))
    }

    #[test]
    fn the_local_gateway_follows_port_and_bind() {
        let plain = run("{}", &[], TargetFlags::default()).unwrap();
        assert_eq!(
            plain.details(),
            "Gateway target: ws://127.0.0.1:18789\nSource: local loopback\n\
             Config: /nowhere/.openclaw/openclaw.json\nBind: loopback"
        );
        let lan = run("{gateway: {bind: 'lan', port: 7}}", &[], TargetFlags::default()).unwrap();
        assert_eq!((lan.url.as_str(), lan.source_label.as_str()), ("ws://192.168.1.7:7", "local lan 192.168.1.7"));
        let tail = run("{gateway: {bind: 'tailnet', tls: {enabled: true}}}", &[], TargetFlags::default()).unwrap();
        assert_eq!(tail.url, "wss://100.64.0.9:18789");
    }

    #[test]
    fn an_explicit_url_needs_explicit_credentials() {
        let vars = [("OPENCLAW_GATEWAY_TOKEN", "env")];
        let url = || TargetFlags { url: Some("ws://h:1".into()), ..TargetFlags::default() };
        let error = run("{gateway: {auth: {token: 't'}}}", &vars, url()).unwrap_err().to_string();
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines[0], "gateway url override requires explicit credentials");
        assert!(lines[1].starts_with("Fix: pass --token or --password "));
        assert_eq!(lines[2], "Config: /nowhere/.openclaw/openclaw.json");
        let given = run("{}", &vars, TargetFlags { password: Some(Secret::new("p")), ..url() }).unwrap();
        assert_eq!(shown(&given), ("ws://h:1".into(), "cli --url".into(), Some("p".into())));
        assert!(!given.details().contains("Bind:"));
    }

    #[test]
    fn remote_mode_uses_only_remote_credentials() {
        let config = "{gateway: {mode: 'remote', auth: {token: 'local'}, remote: {url: 'wss://h', token: 'r'}}}";
        let found = run(config, &[("OPENCLAW_GATEWAY_TOKEN", "env")], TargetFlags::default()).unwrap();
        assert_eq!(shown(&found), ("wss://h".into(), "config gateway.remote.url".into(), Some("r".into())));
        let error = run("{gateway: {mode: 'remote'}}", &[], TargetFlags::default()).unwrap_err().to_string();
        assert_eq!(
            error,
            "gateway remote mode misconfigured: gateway.remote.url missing\n\
             Config: /nowhere/.openclaw/openclaw.json\nFix: set gateway.remote.url, or set gateway.mode=local."
        );
    }

    #[test]
    fn local_credentials_are_flag_then_env_then_config() {
        let config = "{gateway: {auth: {token: 'c'}}}";
        let token = |vars: &[(&str, &str)], flags| shown(&run(config, vars, flags).unwrap()).2.unwrap();
        let flag = || TargetFlags { token: Some(Secret::new("f")), ..TargetFlags::default() };
        let vars = [("OPENCLAW_GATEWAY_TOKEN", "e")];
        assert_eq!(token(&vars, flag()), "f");
        assert_eq!(token(&vars, TargetFlags::default()), "e");
        assert_eq!(token(&[], TargetFlags::default()), "c");
    }

    #[test]
    fn the_generated_token_is_the_last_local_source() {
        let dir = TempDir::new("target");
        dir.write(".openclaw/gateway-token", "made\n");
        let home = dir.path().to_string_lossy().into_owned();
        let env = Env::of([("HOME", home.as_str())]);
        let paths = Paths::resolve(&env, &Profile::none());
        let find = |text: &str| {
            let snapshot = interpret(&paths.config_file, text.to_string(), &env);
            client_target(&snapshot, &paths, &TargetFlags::default(), &[]).unwrap()
        };
        assert_eq!(shown(&find("{}")).2.as_deref(), Some("made"));
        assert_eq!(shown(&find("{gateway: {auth: {password: 'p'}}}")).2.as_deref(), Some("p"));
        assert!(!find("{gateway: {mode: 'remote', remote: {url: 'ws://h'}}}").has_credentials());
    }

    #[test]
    fn a_port_or_a_loopback_address_means_this_machine() {
        let config = "{gateway: {auth: {token: 'c'}}}";
        let port = |port: &str| TargetFlags { port: Some(port.into()), ..TargetFlags::default() };
        let found = run(config, &[], port("9")).unwrap();
        assert_eq!(shown(&found), ("ws://127.0.0.1:9".into(), "cli --port".into(), Some("c".into())));
        assert_eq!(run(config, &[], port("x")).unwrap_err(), TargetError::InvalidPort);
        let env = |url| run(config, &[("OPENCLAW_GATEWAY_URL", url)], TargetFlags::default()).unwrap();
        assert!(env("ws://[::1]:5/x").is_local && env("ws://localhost:5").has_credentials());
        for far in ["ws://h:5", "ws://127.0.0.1.evil.example", "ws://127.0.0.1@evil.example"] {
            assert!(!env(far).has_credentials(), "{far} must not get the file's secret");
        }
    }

    #[test]
    fn wrong_addresses_are_refused_without_repeating_them() {
        for url in ["http://h", "ws://", "h:1", "ws://a b"] {
            let flags = TargetFlags { url: Some(url.into()), token: Some(Secret::new("t")), ..TargetFlags::default() };
            let error = run("{}", &[], flags).unwrap_err().to_string();
            assert_eq!(error, "invalid gateway url from cli --url (use ws://host:port or wss://host:port)");
        }
    }
}
