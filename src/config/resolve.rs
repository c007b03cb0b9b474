//! What a start of the gateway may do: port, addresses, authentication, or a refusal with its exact text.
//! Pure decisions over flags, configuration and environment (lifecycle.md 6–8); opens no socket and writes nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use super::authplan;
use super::env::Env;
use super::load::Snapshot;
use super::model::{Bind, DEFAULT_PORT, Mode, TailscaleMode};
use super::paths::Paths;
use super::secret::Secret;
use super::token::{self, TokenError};
use crate::limits;

pub use super::authplan::AuthPlan;
pub use super::model::AuthMode;

/// Exit code of configuration refusals, which supervisors must not retry (lifecycle.md 8).
pub const EXIT_CONFIG: u8 = 78;
/// Distance of the canvas port from the gateway's (decisions.md 11).
const CANVAS_OFFSET: u16 = 4;
/// Distance of the browser control port.
const BROWSER_OFFSET: u16 = 2;

/// The flags of `openclaw gateway run` that decide something, as they were written.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--port`.
    pub port: Option<String>,
    /// `--bind`.
    pub bind: Option<String>,
    /// `--auth`.
    pub auth: Option<String>,
    /// `--token`.
    pub token: Option<Secret>,
    /// `--password`.
    pub password: Option<Secret>,
    /// `--password-file`; [`Flags::read_password_file`] turns it into `password`.
    pub password_file: Option<PathBuf>,
    /// `--tailscale`.
    pub tailscale: Option<String>,
    /// `--tailscale-reset-on-exit`.
    pub tailscale_reset_on_exit: bool,
    /// `--allow-unconfigured`.
    pub allow_unconfigured: bool,
    /// `--dev` after the command.
    pub dev: bool,
    /// `--reset`.
    pub reset: bool,
    /// `--ws-log`.
    pub ws_log: Option<String>,
    /// `--compact`.
    pub compact: bool,
}

/// How WebSocket traffic is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WsLog {
    /// Pairs a request with its response.
    #[default]
    Auto,
    /// One line per frame.
    Full,
    /// Short pairs.
    Compact,
}

/// A refusal to start: what stderr gets, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The lines, in order.
    pub lines: Vec<String>,
    /// 78 for configuration, 1 for the rest.
    pub exit_code: u8,
}

impl Refusal {
    /// A refusal of a flag: exit 1.
    pub(super) fn usage(line: impl Into<String>) -> Refusal {
        Refusal { lines: vec![line.into()], exit_code: 1 }
    }

    /// A refusal of the configuration: exit 78.
    pub(super) fn config<L: Into<String>>(lines: impl IntoIterator<Item = L>) -> Refusal {
        Refusal { lines: lines.into_iter().map(Into::into).collect(), exit_code: EXIT_CONFIG }
    }

    fn start(message: &str) -> Refusal {
        Refusal::usage(format!("Gateway failed to start: Error: {message}"))
    }
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag.
    Flag,
    /// The configuration file.
    Config,
    /// The environment.
    Env,
    /// The token file made at the first start.
    File,
    /// Nobody said anything.
    Default,
}

/// Everything decided before the first socket is opened.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The port.
    pub port: u16,
    /// Where it came from.
    pub port_source: Source,
    /// The bind mode.
    pub bind: Bind,
    /// Addresses that must be bound, the primary one first.
    pub hosts: Vec<IpAddr>,
    /// Addresses bound when possible; failure only warns.
    pub optional_hosts: Vec<IpAddr>,
    /// Whether others than this machine may reach it.
    pub exposed: bool,
    /// What clients must show.
    pub auth: AuthPlan,
    /// Whether a Tailscale Serve identity replaces the secret.
    pub allow_tailscale: bool,
    /// Publication over Tailscale.
    pub tailscale: TailscaleMode,
    /// Browser origins that may connect beside the gateway's own.
    pub allowed_origins: Vec<String>,
    /// Connections of every kind at once.
    pub max_connections: usize,
    /// Time for a handshake.
    pub handshake: Duration,
    /// Port of the canvas server; none when it is off.
    pub canvas_port: Option<u16>,
    /// Folder of the canvas server.
    pub canvas_root: PathBuf,
    /// Port of browser control, loopback only.
    pub browser_port: Option<u16>,
    /// The default agent's workspace.
    pub workspace: PathBuf,
    /// How WebSocket traffic is logged.
    pub ws_log: WsLog,
    /// Whether this is a development start.
    pub dev: bool,
    /// Whether the development state is to be wiped first.
    pub reset: bool,
    /// Things to warn about once logging runs.
    pub notes: Vec<String>,
}

impl Flags {
    /// Reads the file that `--password-file` names into `password`.
    pub fn read_password_file(&mut self) -> Result<(), Refusal> {
        let Some(path) = &self.password_file else { return Ok(()) };
        if self.password.is_some() {
            return Err(Refusal::usage("Use either --password or --password-file, not both."));
        }
        let secret = token::read_secret_file(path);
        let refused = |error| Refusal::usage(format!("Cannot read --password-file {}: {error}", path.display()));
        self.password = Some(secret.map_err(refused)?);
        Ok(())
    }
}

impl Plan {
    /// Fetches or makes the generated token when the plan needs one; says whether it was made now.
    pub fn settle_token(&mut self, paths: &Paths, random: &[u8; token::TOKEN_BYTES]) -> Result<bool, TokenError> {
        if !self.auth.needs_token() {
            return Ok(false);
        }
        let (secret, made) = token::ensure(&paths.token_file, random)?;
        self.auth.token = Some(secret);
        Ok(made)
    }
}

/// Decides a start, in the order of the refusals of lifecycle.md 8. `interfaces` are this machine's addresses.
pub fn plan(flags: &Flags, snapshot: &Snapshot, paths: &Paths, interfaces: &[IpAddr]) -> Result<Plan, Refusal> {
    let gateway = &snapshot.config.gateway;
    let env = &snapshot.env;
    let dev = flags.dev || paths.profile.as_deref() == Some("dev");
    if flags.reset && !dev {
        return Err(Refusal::usage("Use --reset with --dev."));
    }
    let ws_log = ws_log(flags)?;
    if !snapshot.valid {
        return Err(Refusal::config(config_invalid(snapshot, paths)));
    }
    let (port, port_source) = choose_port(flags, snapshot)?;
    let auth_flag = auth_flag(flags)?;
    let tailscale = tailscale(flags, gateway.tailscale.mode)?;
    check_mode(snapshot, paths, flags.allow_unconfigured, dev)?;
    let bind = bind(flags)?.or(gateway.bind).unwrap_or(Bind::Loopback);
    let listen = listen(bind, gateway.custom_bind_host.as_deref(), interfaces)?;
    let auth = authplan::resolve(flags, auth_flag, snapshot, bind, &listen)?;
    check_tailscale(tailscale, bind, auth.mode)?;
    let workspace = gateway_workspace(snapshot, paths);
    Ok(Plan {
        port,
        port_source,
        bind,
        allowed_origins: allowed_origins(snapshot, port, listen.exposed),
        allow_tailscale: gateway
            .auth
            .allow_tailscale
            .unwrap_or(tailscale == TailscaleMode::Serve && auth.mode != AuthMode::Password),
        auth,
        exposed: listen.exposed,
        hosts: listen.hosts,
        optional_hosts: listen.optional,
        notes: listen.notes,
        tailscale,
        max_connections: max_connections(env, gateway.max_connections),
        handshake: handshake(env),
        canvas_port: canvas_port(snapshot, port),
        canvas_root: canvas_root(snapshot, paths, &workspace),
        browser_port: port.checked_add(BROWSER_OFFSET),
        workspace,
        ws_log,
        dev,
        reset: flags.reset,
    })
}

/// The block that tells a person that the configuration is invalid (cli.md 1.5).
pub fn config_invalid(snapshot: &Snapshot, paths: &Paths) -> Vec<String> {
    let mut lines = vec![
        "Config invalid".to_string(),
        format!("File: {}", paths.shorten_home(&snapshot.path)),
        "Problem:".to_string(),
    ];
    lines.extend(snapshot.issues.iter().map(|issue| format!("  - {}", snapshot.told(issue))));
    lines.push(String::new());
    lines.push(format!("Run: {}", paths.command("doctor --fix")));
    lines
}

/// The port clients and servers agree on when no flag is given (lifecycle.md 1).
pub fn default_port(snapshot: &Snapshot) -> (u16, Source) {
    let port = |name| snapshot.env.get(name).and_then(parse_port);
    match (port("OPENCLAW_GATEWAY_PORT").or_else(|| port("CLAWDBOT_GATEWAY_PORT")), snapshot.config.gateway.port) {
        (Some(port), _) => (port, Source::Env),
        (None, Some(port)) => (port, Source::Config),
        (None, None) => (DEFAULT_PORT, Source::Default),
    }
}

/// A port number from text.
pub fn parse_port(text: &str) -> Option<u16> {
    text.trim().parse().ok().filter(|port| *port > 0)
}

/// Whether an address is in the range Tailscale gives out, 100.64.0.0/10.
pub fn is_tailnet(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.octets().first() == Some(&100) && ip.octets().get(1).is_some_and(|b| b & 0xC0 == 64))
}

/// What a bind mode listens on.
#[derive(Debug)]
pub(super) struct Listen {
    pub(super) hosts: Vec<IpAddr>,
    pub(super) optional: Vec<IpAddr>,
    pub(super) exposed: bool,
    pub(super) notes: Vec<String>,
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Never widens: a narrow bind that is impossible stays on loopback or fails (lifecycle.md 6).
fn listen(bind: Bind, custom: Option<&str>, interfaces: &[IpAddr]) -> Result<Listen, Refusal> {
    let local = || Listen {
        hosts: vec![LOOPBACK],
        optional: vec![IpAddr::V6(Ipv6Addr::LOCALHOST)],
        exposed: false,
        notes: Vec::new(),
    };
    let on = |hosts: Vec<IpAddr>| Listen { hosts, optional: Vec::new(), exposed: true, notes: Vec::new() };
    match bind {
        Bind::Loopback | Bind::Auto => Ok(local()),
        Bind::Lan => Ok(on(vec![ANY])),
        Bind::Tailnet => Ok(match interfaces.iter().find(|ip| is_tailnet(ip)) {
            Some(ip) => on(vec![*ip, LOOPBACK]),
            None => {
                let note = "bind=tailnet: no tailnet address found, listening on loopback only".to_string();
                // Still counts as exposed: the address may appear at the next start.
                Listen { notes: vec![note], exposed: true, ..local() }
            }
        }),
        Bind::Custom => match custom.map(|host| (host, host.parse::<Ipv4Addr>())) {
            Some((_, Ok(Ipv4Addr::LOCALHOST))) => Ok(local()),
            Some((_, Ok(ip))) if ip.is_loopback() => {
                Ok(Listen { exposed: false, ..on(vec![IpAddr::V4(ip), LOOPBACK]) })
            }
            Some((_, Ok(Ipv4Addr::UNSPECIFIED))) => Ok(on(vec![ANY])),
            Some((_, Ok(ip))) => Ok(on(vec![IpAddr::V4(ip), LOOPBACK])),
            Some((host, Err(_))) => {
                Err(Refusal::config([format!("gateway.customBindHost is not an IPv4 address: {host}")]))
            }
            None => Err(Refusal::config(["gateway.bind=custom requires gateway.customBindHost"])),
        },
    }
}

fn ws_log(flags: &Flags) -> Result<WsLog, Refusal> {
    match flags.ws_log.as_deref().map(str::trim) {
        _ if flags.compact => Ok(WsLog::Compact),
        None | Some("auto") => Ok(WsLog::Auto),
        Some("full") => Ok(WsLog::Full),
        Some("compact") => Ok(WsLog::Compact),
        Some(_) => Err(Refusal::usage("Invalid --ws-log (use \"auto\", \"full\", \"compact\")")),
    }
}

fn choose_port(flags: &Flags, snapshot: &Snapshot) -> Result<(u16, Source), Refusal> {
    match &flags.port {
        // The system chooses, and the `listening on` line says what: for tests and for trying things.
        Some(text) if text.trim() == "0" => Ok((0, Source::Flag)),
        Some(text) => parse_port(text).map(|port| (port, Source::Flag)).ok_or_else(|| Refusal::usage("Invalid port")),
        None => Ok(default_port(snapshot)),
    }
}

fn auth_flag(flags: &Flags) -> Result<Option<AuthMode>, Refusal> {
    let Some(text) = &flags.auth else { return Ok(None) };
    let refused = || Refusal::usage("Invalid --auth (use \"token\", \"password\", \"none\", or \"trusted-proxy\")");
    AuthMode::parse(text).map(Some).ok_or_else(refused)
}

fn tailscale(flags: &Flags, configured: TailscaleMode) -> Result<TailscaleMode, Refusal> {
    let Some(text) = &flags.tailscale else { return Ok(configured) };
    let refused = || Refusal::usage("Invalid --tailscale (use \"off\", \"serve\", or \"funnel\")");
    TailscaleMode::parse(text).ok_or_else(refused)
}

fn bind(flags: &Flags) -> Result<Option<Bind>, Refusal> {
    let Some(text) = &flags.bind else { return Ok(None) };
    let refused = || Refusal::usage("Invalid --bind (use \"loopback\", \"lan\", \"tailnet\", \"auto\", or \"custom\")");
    Bind::parse(text).map(Some).ok_or_else(refused)
}

fn check_mode(snapshot: &Snapshot, paths: &Paths, allow: bool, dev: bool) -> Result<(), Refusal> {
    if allow || snapshot.config.gateway.mode == Some(Mode::Local) || (dev && !snapshot.exists) {
        return Ok(());
    }
    if !snapshot.exists {
        let setup = paths.command("setup");
        let line = format!("Missing config. Run `{setup}` or set gateway.mode=local (or pass --allow-unconfigured).");
        return Err(Refusal::config([line]));
    }
    let current = snapshot.config.gateway.mode.map_or("unset", Mode::name);
    let line =
        format!("Gateway start blocked: set gateway.mode=local (current: {current}) or pass --allow-unconfigured.");
    Err(Refusal::config([line]))
}

fn check_tailscale(tailscale: TailscaleMode, bind: Bind, mode: AuthMode) -> Result<(), Refusal> {
    if tailscale == TailscaleMode::Funnel && mode != AuthMode::Password {
        return Err(Refusal::start(
            "tailscale funnel requires gateway auth mode=password (set gateway.auth.password or OPENCLAW_GATEWAY_PASSWORD)",
        ));
    }
    if tailscale != TailscaleMode::Off && !matches!(bind, Bind::Loopback | Bind::Auto) {
        return Err(Refusal::start("tailscale serve/funnel requires gateway bind=loopback (127.0.0.1)"));
    }
    Ok(())
}

/// Origins as configured; a bind beyond loopback without any gets the two local ones (runbook G4).
fn allowed_origins(snapshot: &Snapshot, port: u16, exposed: bool) -> Vec<String> {
    let configured = snapshot.config.gateway.control_ui.allowed_origins.clone().unwrap_or_default();
    if !exposed || !configured.is_empty() {
        return configured;
    }
    vec![format!("http://localhost:{port}"), format!("http://127.0.0.1:{port}")]
}

fn max_connections(env: &Env, configured: usize) -> usize {
    let asked = env.get("OPENCLAW_GATEWAY_MAX_CONNECTIONS").and_then(|text| text.trim().parse::<usize>().ok());
    asked.filter(|count| *count > 0).unwrap_or(configured).min(limits::CONNECTIONS_MAX)
}

fn handshake(env: &Env) -> Duration {
    let asked = env.get("OPENCLAW_HANDSHAKE_TIMEOUT_MS").and_then(|text| text.trim().parse::<u64>().ok());
    asked.filter(|ms| *ms > 0).map_or(limits::HANDSHAKE, Duration::from_millis).min(limits::HANDSHAKE_MAX)
}

fn gateway_workspace(snapshot: &Snapshot, paths: &Paths) -> PathBuf {
    let configured = snapshot.config.agents.defaults.workspace.as_deref();
    configured.map_or_else(|| paths.workspace.clone(), |path| paths.expand(path, &paths.state_dir))
}

fn canvas_port(snapshot: &Snapshot, port: u16) -> Option<u16> {
    let canvas = &snapshot.config.canvas_host;
    if !canvas.enabled || snapshot.env.truthy("OPENCLAW_SKIP_CANVAS_HOST") {
        return None;
    }
    let from_env = snapshot.env.get("OPENCLAW_CANVAS_HOST_PORT").and_then(parse_port);
    from_env.or(canvas.port).or_else(|| port.checked_add(CANVAS_OFFSET)).filter(|canvas| *canvas != port)
}

fn canvas_root(snapshot: &Snapshot, paths: &Paths, workspace: &std::path::Path) -> PathBuf {
    let configured = snapshot.config.canvas_host.root.as_deref();
    configured.map_or_else(|| workspace.join("canvas"), |path| paths.expand(path, &paths.state_dir))
}

#[cfg(test)]
mod tests;
