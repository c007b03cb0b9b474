//! The hand-over from the command line to `gateway::run`: refusals, log, token, listeners, and what a
//! person reads first. The one place where the command line calls the gateway.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use super::gateway_run::GatewayRunArgs;
use crate::cli::fail::{CliError, Kind};
use crate::cli::world::World;
use crate::config::model::{ConsoleStyle as Style, Level, Logging};
use crate::config::resolve::{EXIT_CONFIG, default_port};
use crate::config::{Plan, Refusal, plan, token};
use crate::gateway::{self, Boot, Listeners, StartError};
use crate::service::ports;
use crate::sys::clock::Clock;
use crate::sys::log::{self as logger, ConsoleStyle, FileRule, LogHandle, LogOptions};
use crate::sys::notify::Notifier;
use crate::sys::{host, memory, signals, thread};

/// Runs the gateway until it is told to stop.
///
/// # Errors
/// What keeps it from starting.
pub fn start(world: &World, args: &GatewayRunArgs) -> Result<ExitCode, CliError> {
    memory::settle();
    // Signals are masked for the whole process, so before any thread exists.
    signals::block_restart_signal().map_err(|error| failed(&error.to_string()))?;
    let clock = Clock::start();
    let (plan, made_token) = decide(world, args)?;
    let log = open_log(world, args)?;
    thread::log_panics();
    let listeners = gateway::listen(&plan).map_err(|error| refused(world, &error))?;
    let addresses: Vec<SocketAddr> = listeners.sockets.iter().map(|(_, addr)| *addr).collect();
    tell(world, &plan, &log);
    let greet = || greet(world, &addresses, made_token);
    let result = run(world, plan, clock, log, listeners, greet);
    logger::flush();
    result.map(|()| ExitCode::SUCCESS)
}

fn run(
    world: &World,
    plan: Plan,
    clock: Clock,
    log: Arc<LogHandle>,
    listeners: Listeners,
    greet: impl FnOnce(),
) -> Result<(), CliError> {
    let boot = Boot {
        snapshot: world.snapshot.clone(),
        paths: world.paths.clone(),
        env: world.env.clone(),
        clock,
        log_file: Box::new(move || log.current_file()),
        notifier: Notifier::from_env(|name| std::env::var_os(name)),
        plan,
    };
    gateway::run(boot, listeners, greet).map_err(|error| refused(world, &error))
}

/// What was logged on the way comes before the error that ends the program.
fn refused(world: &World, error: &StartError) -> CliError {
    logger::flush();
    refuse_start(world, error)
}

/// The start-up decisions in their order (`spec/lifecycle.md` 8); the token of a first start is made last.
fn decide(world: &World, args: &GatewayRunArgs) -> Result<(Plan, Option<String>), CliError> {
    let mut flags = args.flags.clone();
    flags.read_password_file().map_err(refusal)?;
    let interfaces: Vec<IpAddr> = host::lan_addresses().into_iter().map(IpAddr::V4).collect();
    let mut plan = plan(&flags, &world.snapshot, &world.paths, &interfaces).map_err(refusal)?;
    not_yet(args, &plan)?;
    not_yet_configured(world, args, &plan)?;
    let random = token::random().map_err(|error| failed(&error.to_string()))?;
    let made =
        plan.settle_token(&world.paths, &random).map_err(|error| unwritable(world, failed(&error.to_string())))?;
    let secret = plan.auth.token.as_ref().filter(|_| made).map(|secret| secret.expose().to_string());
    Ok((plan, secret))
}

/// Flags that the table has and this version cannot do are refused, never ignored.
fn not_yet(args: &GatewayRunArgs, plan: &Plan) -> Result<(), CliError> {
    let asked_tailscale = plan.tailscale.name() != "off" && args.flags.tailscale.is_some();
    let unavailable = [
        (args.force, "--force", "stop the other program first"),
        (plan.reset, "--reset", "remove the state directory by hand"),
        (args.raw_stream || args.raw_stream_path.is_some(), "--raw-stream", "leave the flag out"),
        (asked_tailscale, "--tailscale serve|funnel", "run `tailscale serve` yourself"),
    ];
    match unavailable.iter().find(|(asked, ..)| *asked) {
        Some((_, flag, instead)) => Err(CliError::usage(format!("{flag} is not available in this version; {instead}"))),
        None => Ok(()),
    }
}

/// The same for the configuration: listening in plain text where TLS is asked for would be worse than not at all.
fn not_yet_configured(world: &World, args: &GatewayRunArgs, plan: &Plan) -> Result<(), CliError> {
    let tailscale = plan.tailscale.name() != "off" && args.flags.tailscale.is_none();
    let unavailable = [
        (world.config().gateway.tls_enabled, "gateway.tls.enabled", "let a reverse proxy or an SSH tunnel encrypt"),
        (tailscale, "gateway.tailscale.mode", "run `tailscale serve` yourself"),
    ];
    match unavailable.iter().find(|(asked, ..)| *asked) {
        Some((_, key, instead)) => {
            let line = format!("{key} is not available in this version; take it out and {instead}");
            Err(refusal(Refusal { lines: vec![line], exit_code: EXIT_CONFIG }))
        }
        None => Ok(()),
    }
}

fn refusal(refusal: Refusal) -> CliError {
    let mut lines = refusal.lines.into_iter();
    let mut error = CliError::new(Kind::Config, lines.next().unwrap_or_default());
    error.wire.refused_start = refusal.exit_code == EXIT_CONFIG;
    lines.fold(error, CliError::hint)
}

fn failed(text: &str) -> CliError {
    CliError::other(format!("Gateway failed to start: {text}"))
}

/// Names who has the port, where that can be told (`spec/lifecycle.md` 8, row 15).
fn refuse_start(world: &World, error: &StartError) -> CliError {
    let mut refused = failed(&error.to_string());
    if let StartError::PortBusy(_) | StartError::Locked(..) = error {
        let stop = world.command("gateway stop");
        refused = refused.hint(format!("If the gateway is supervised, stop it with: {stop}"));
    }
    if let StartError::Locked(..) = error {
        refused = refused.hint(
            "Or give the second one a state and a port of its own: openclaw --profile <name> gateway --port <port>",
        );
    }
    if let StartError::State(..) = error {
        refused =
            refused.hint("Going on would overwrite it: repair it, or move it away to start without what is in it.");
    }
    if let StartError::State(..) | StartError::Unwritable(..) = error {
        refused = unwritable(world, refused);
    }
    if let StartError::PortBusy(addr) = error {
        refused = refused.hint("Or: systemctl --user stop openclaw-gateway.service");
        refused = refused.hint("System error: EADDRINUSE");
        for line in ports::lines(&ports::inspect(addr.port(), &world.command("gateway stop"))) {
            refused = refused.hint(line);
        }
        let status = world.command("gateway status");
        refused = refused.hint(format!("Try: {status}, or another port with --port"));
    }
    refused
}

fn unwritable(world: &World, error: CliError) -> CliError {
    let dir = world.paths.state_dir.display();
    error
        .hint(format!("State is kept in {dir}, which must be yours and writable."))
        .hint("Try: another directory with OPENCLAW_STATE_DIR=<dir>")
}

fn open_log(world: &World, args: &GatewayRunArgs) -> Result<Arc<LogHandle>, CliError> {
    let config = &world.config().logging;
    let get = |name: &str| world.env.get(name).map(OsString::from);
    let file = match &config.file {
        Some(file) => FileRule::Fixed(world.paths.expand(file, &world.paths.state_dir)),
        None => FileRule::Daily { dir: world.paths.log_dir.clone(), profile: world.paths.profile.clone() },
    };
    let mut options = LogOptions::standard(file, get);
    options.level = level(config.level);
    options.console_level = level(config.console_level);
    options.max_file_bytes = config.max_file_bytes;
    let terminal = std::io::stdout().is_terminal();
    options.colour = logger::colour_wanted(get, terminal);
    let usual = if terminal { ConsoleStyle::Pretty } else { ConsoleStyle::Compact };
    options.style = style(config).unwrap_or(usual);
    if args.verbose {
        options.console_level = log::LevelFilter::Debug;
    }
    if let Some(level) = args.log_level.as_deref().and_then(logger::parse_level) {
        (options.level, options.console_level) = (level, level);
    }
    logger::init(options).map(Arc::new).map_err(|error| failed(&error.to_string()))
}

fn level(level: Level) -> log::LevelFilter {
    logger::parse_level(level.name()).unwrap_or(log::LevelFilter::Info)
}

fn style(config: &Logging) -> Option<ConsoleStyle> {
    config.console_style.map(|style| match style {
        Style::Pretty => ConsoleStyle::Pretty,
        Style::Compact => ConsoleStyle::Compact,
        Style::Json => ConsoleStyle::Json,
    })
}

/// What the operator should know about this start.
fn tell(world: &World, plan: &Plan, log: &LogHandle) {
    for warning in &world.snapshot.warnings {
        log::warn!(target: "config", "{warning}");
    }
    for note in &plan.notes {
        log::warn!(target: "gateway", "{note}");
    }
    if let Some(file) = log.current_file() {
        log::info!(target: "gateway", "log file: {}", file.display());
    }
    log::info!(target: "gateway", "auth mode={} ({})", plan.auth.mode.name(), plan.auth.source_label());
}

/// A newcomer's first lines. A fresh token is shown once, but never where standard output ends in a
/// journal: under a service manager.
fn greet(world: &World, addresses: &[SocketAddr], made_token: Option<String>) {
    let Some(addr) = addresses.first() else { return };
    if made_token.is_none() && !std::io::stdout().is_terminal() {
        return;
    }
    let managed = ["NOTIFY_SOCKET", "INVOCATION_ID", "JOURNAL_STREAM", "OPENCLAW_SERVICE_MARKER"];
    let managed = managed.iter().any(|name| std::env::var_os(name).is_some());
    let mut lines =
        vec![String::new(), format!("OpenClaw gateway {} is ready on ws://{addr}", env!("CARGO_PKG_VERSION"))];
    if let Some(token) = made_token {
        let file = world.short(&world.paths.token_file);
        lines.push(format!("An access token was made and kept in {file}; commands on this machine find it."));
        let shown = if managed { String::new() } else { format!("#token={token}") };
        lines.push(format!("Dashboard: http://{addr}/{shown}"));
    }
    let program = if std::env::var_os("CARGO").is_some() { "cargo run --release --" } else { "openclaw" };
    let profile = world.command("").trim().trim_start_matches("openclaw").to_string();
    let found = default_port(&world.snapshot).0 == addr.port();
    let port = if found { String::new() } else { format!(" --port {}", addr.port()) };
    lines.push(format!("Try in another terminal:  {program}{profile} health{port}"));
    lines.push(format!("                          {program}{profile} gateway call system-presence{port}"));
    lines.push("Stop it with Ctrl-C.".to_string());
    lines.push(String::new());
    for line in lines {
        let _ = world.out.line(&line);
    }
}
