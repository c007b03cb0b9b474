//! `gateway status`: supervisor, config, port and probe, gathered and as JSON (`spec/cli.md` 4).
//! The text stands in `gateway_status_text`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Map, Value};

use super::gateway_status_text;
use crate::cli::amount;
use crate::cli::fail::{CliError, Kind};
use crate::cli::help::VERSION;
use crate::cli::parse::Parsed;
use crate::cli::probe::{self, Attempt, Probe};
use crate::cli::rpc;
use crate::cli::spinner::Spinner;
use crate::cli::world::World;
use crate::config::model::Bind;
use crate::config::resolve::default_port;
use crate::config::{Paths, Profile, Snapshot, Target, TargetFlags, client_target, load};
use crate::limits;
use crate::service::ports::{self, Port};
use crate::service::scan::{self, Extra};
use crate::service::{self, Service, Status};
use crate::store::atomic;
use crate::sys::log::daily_name;
use crate::sys::zone::Zone;
use crate::sys::{date, host, order};

/// Everything that the command shows.
pub struct Report {
    /// The supervisor's view.
    pub service: Service,
    /// The config the service reads; the command's own is in [`World`].
    pub daemon: Snapshot,
    /// Where the service's files are.
    pub daemon_paths: Paths,
    /// Bind mode, address to reach it, and a remark.
    pub bind: &'static str,
    /// Address to reach the gateway.
    pub host: String,
    /// Remark on the address.
    pub note: Option<String>,
    /// Port of the gateway.
    pub port: u16,
    /// Where the port came from.
    pub port_source: &'static str,
    /// `ws://…` of the probe.
    pub url: String,
    /// Who listens there.
    pub listeners: Port,
    /// Who listens on the command's own port, if that is another.
    pub cli_port: Option<Port>,
    /// The probe, unless it was not wanted.
    pub probe: Option<Probe>,
    /// Whether the probe had to read.
    pub read: bool,
    /// Last line of the service's error log that says something.
    pub last_error: Option<String>,
    /// Services that look like another gateway.
    pub extra: Vec<Extra>,
    /// Today's log file.
    pub log_file: PathBuf,
    /// Address of the control UI; none when it is switched off.
    pub dashboard: Option<String>,
}

/// `gateway status`
///
/// # Errors
/// Bad flags; with `--require-rpc` a failed probe is exit 1 without an error.
pub fn run(world: &World, parsed: &Parsed) -> Result<ExitCode, CliError> {
    let report = gather(world, parsed)?;
    if world.json {
        world.out.json(&to_json(world, &report))?;
    } else {
        gateway_status_text::print(world, &report)?;
    }
    let failed = report.probe.as_ref().is_some_and(|probe| !probe_ok(probe));
    Ok(if parsed.has("require-rpc") && failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Whether the probe did what it should.
pub fn probe_ok(probe: &Probe) -> bool {
    probe.reached() && probe.read_error().is_none()
}

fn gather(world: &World, parsed: &Parsed) -> Result<Report, CliError> {
    let timeout = rpc::timeout(parsed)?;
    let asked_port = amount::port(parsed)?;
    let service = service::inspect(&world.env, &world.paths);
    let (daemon, daemon_paths) = daemon_config(world, &service);
    let (port, port_source) = match (asked_port, service.command.as_ref().and_then(service::Command::port)) {
        (Some(port), _) => (port, "cli"),
        (None, Some(port)) => (port, "service args"),
        (None, None) => (default_port(&daemon).0, "env/config"),
    };
    let (bind, host, note) = reach(&daemon);
    let target = target(world, parsed, &daemon, &daemon_paths, port)?;
    let url = match parsed.text("url") {
        Some(_) => target.url.clone(),
        None => format!("{}://{host}:{port}", if target.url.starts_with("wss") { "wss" } else { "ws" }),
    };
    let read = parsed.has("require-rpc");
    let probe = (!parsed.has("no-probe")).then(|| {
        let _spinner = Spinner::start("Checking the gateway…", !world.json);
        let calls: &[&str] = if read { &["status"] } else { &[] };
        let expose = |secret: &Option<crate::config::Secret>| secret.as_ref().map(|secret| secret.expose().to_string());
        probe::probe(&Attempt {
            url: &url,
            token: expose(&target.token),
            password: expose(&target.password),
            timeout,
            identity: &daemon_paths.identity_dir,
            calls,
            wall_ms: world.now_ms,
        })
    });
    let stop = world.command("gateway stop");
    let listeners = ports::inspect(port, &stop);
    let own_port = default_port(&world.snapshot).0;
    let cli_port = (own_port != port).then(|| ports::inspect(own_port, &stop));
    let answered = probe.as_ref().is_some_and(probe_ok);
    let silent = service.loaded && service.runtime.status == Status::Running && !answered;
    let last_error = if silent { last_error(&daemon_paths) } else { None };
    let extra = scan::extra_services(&world.paths, &service.unit, parsed.has("deep"));
    let log_file = log_file(world, &daemon, &daemon_paths);
    let ui = &daemon.config.gateway.control_ui;
    let dashboard = ui.enabled.then(|| format!("http://{host}:{port}{}/", ui.base_path));
    Ok(Report {
        service,
        daemon,
        daemon_paths,
        bind,
        host,
        note,
        port,
        port_source,
        url,
        listeners,
        cli_port,
        probe,
        read,
        last_error,
        extra,
        log_file,
        dashboard,
    })
}

/// The config as the service sees it: its unit's variables over those of this process.
fn daemon_config(world: &World, service: &Service) -> (Snapshot, Paths) {
    let Some(command) = &service.command else { return (world.snapshot.clone(), world.paths.clone()) };
    let mut env = world.env.clone();
    for (name, value) in &command.env {
        env.set(name, value.clone());
    }
    let paths = Paths::resolve(&env, &Profile::none());
    (load(&paths, &env), paths)
}

/// Bind mode, the address at which it is reached from here, and a remark (`spec/cli.md` 4.1).
fn reach(daemon: &Snapshot) -> (&'static str, String, Option<String>) {
    let gateway = &daemon.config.gateway;
    let bind = gateway.bind.unwrap_or(Bind::Loopback);
    let here = || "127.0.0.1".to_string();
    let addresses = host::lan_addresses();
    match bind {
        Bind::Custom => (bind.name(), gateway.custom_bind_host.clone().unwrap_or_else(here), None),
        Bind::Tailnet => {
            let found = addresses.iter().find(|ip| crate::config::resolve::is_tailnet(&IpAddr::V4(**ip)));
            (bind.name(), found.map(ToString::to_string).unwrap_or_else(here), None)
        }
        Bind::Lan => {
            let host = addresses.first().map(ToString::to_string).unwrap_or_else(here);
            let note = format!("bind=lan listens on 0.0.0.0 (all interfaces); probing via {host}.");
            (bind.name(), host, Some(note))
        }
        Bind::Loopback => {
            (bind.name(), here(), Some("Loopback-only gateway; only local clients can connect.".to_string()))
        }
        Bind::Auto => (bind.name(), here(), None),
    }
}

/// Credentials for the probe. Without any the probe still runs: it tells whether something listens.
fn target(world: &World, parsed: &Parsed, daemon: &Snapshot, paths: &Paths, port: u16) -> Result<Target, CliError> {
    if parsed.has("url") {
        return rpc::aim(world, parsed);
    }
    let secret = |flag: &str| parsed.text(flag).map(crate::config::Secret::new);
    let flags =
        TargetFlags { url: None, port: Some(port.to_string()), token: secret("token"), password: secret("password") };
    client_target(daemon, paths, &flags, &[]).map_err(|error| CliError::new(Kind::Usage, error.to_string()))
}

fn log_file(world: &World, daemon: &Snapshot, paths: &Paths) -> PathBuf {
    match &daemon.config.logging.file {
        Some(file) => paths.expand(file, &paths.state_dir),
        None => {
            // The day of the gateway's zone, by which it names its files.
            let zone = Zone::local(|name| daemon.env.get(name).map(Into::into));
            let day = date::day_name(world.now_ms, zone.offset(date::seconds(world.now_ms)));
            paths.log_dir.join(daily_name(paths.profile.as_deref(), &day))
        }
    }
}

/// Signs of a start that failed, in the service's own log files (`spec/cli.md` 4.1).
const SIGNS: [&str; 4] =
    ["refusing to bind gateway", "gateway auth mode", "gateway start blocked", "failed to bind gateway socket"];

fn last_error(paths: &Paths) -> Option<String> {
    let files = ["gateway.err.log", "gateway.log"].map(|name| paths.state_dir.join("logs").join(name));
    let texts: Vec<String> = files
        .iter()
        .filter_map(|file| atomic::read_bounded(file, limits::STATE_FILE_BYTES).ok().flatten())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect();
    let telling = |line: &&str| {
        let line = line.to_lowercase();
        SIGNS.iter().any(|sign| line.contains(sign)) || (line.contains("tailscale ") && line.contains(" requires"))
    };
    let found = texts.iter().find_map(|text| text.lines().rev().find(telling));
    let last = || texts.iter().find_map(|text| text.lines().rev().find(|line| !line.trim().is_empty()));
    found.or_else(last).map(|line| line.trim().to_string())
}

/// The document of `--json` (`spec/cli.md` 4.2).
fn to_json(world: &World, report: &Report) -> Value {
    let program = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    let version = report.probe.as_ref().and_then(|probe| probe.version.clone());
    let ws = report.url.clone();
    let links = report.dashboard.as_ref().map(|http| json!({ "httpUrl": http, "wsUrl": ws }));
    let mut document = json!({
        "cli": { "version": VERSION, "entrypoint": program },
        "logFile": report.log_file.display().to_string(),
        "service": service_json(&report.service),
        "config": config_json(world, report),
        "gateway": {
            "bindMode": report.bind, "bindHost": report.host, "port": report.port, "portSource": report.port_source,
            "probeUrl": report.url, "version": version, "controlUiLinks": links,
        },
        "port": port_json(&report.listeners),
        "extraServices": report.extra.iter().map(extra_json).collect::<Vec<_>>(),
    });
    let Value::Object(members) = &mut document else { return document };
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(name.to_string(), value);
        }
    };
    put("portCli", report.cli_port.as_ref().map(port_json));
    put("lastError", report.last_error.clone().map(Value::from));
    put("rpc", report.probe.as_ref().map(|probe| rpc_json(probe, report.read)));
    if let Some(Value::Object(gateway)) = members.get_mut("gateway") {
        if let Some(note) = &report.note {
            gateway.insert("probeNote".into(), note.as_str().into());
        }
        if let Some(host) = &report.daemon.config.gateway.custom_bind_host {
            gateway.insert("customBindHost".into(), host.as_str().into());
        }
    }
    document
}

fn service_json(service: &Service) -> Value {
    let load_state = if service.loaded { "loaded" } else { "not-loaded" };
    let remarks =
        |remark: &service::Remark| json!({ "code": remark.code, "message": remark.message, "level": remark.level });
    json!({
        "label": service.label, "loaded": service.loaded, "loadState": { "status": load_state },
        "loadedText": "enabled", "notLoadedText": "disabled",
        "command": service.command.as_ref().map(command_json),
        "runtime": runtime_json(&service.runtime),
        "configAudit": { "ok": service.audit.is_empty(), "issues": service.audit.iter().map(remarks).collect::<Vec<_>>() },
    })
}

fn command_json(command: &service::Command) -> Value {
    let mut document = json!({
        "programArguments": ports::without_secrets(command.argv.iter().map(String::as_str)),
        "sourcePath": command.source.display().to_string(),
    });
    if let Value::Object(members) = &mut document {
        if let Some(dir) = &command.working_dir {
            members.insert("workingDirectory".into(), dir.as_str().into());
        }
        let env = command.safe_env();
        let env = order::object(env.iter().map(|(name, value)| ((*name).to_string(), (*value).into())));
        if !env.is_empty() {
            members.insert("environment".into(), env.into());
        }
    }
    document
}

fn runtime_json(runtime: &service::Runtime) -> Value {
    let mut members = Map::new();
    members.insert("status".into(), runtime.status.word().into());
    let texts = [
        ("state", &runtime.state),
        ("subState", &runtime.sub_state),
        ("lastExitReason", &runtime.last_exit_reason),
        ("detail", &runtime.detail),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            members.insert(name.into(), value.as_str().into());
        }
    }
    if let Some(pid) = runtime.pid {
        members.insert("pid".into(), pid.into());
    }
    if let Some(status) = runtime.last_exit_status {
        members.insert("lastExitStatus".into(), status.into());
    }
    if runtime.missing_unit {
        members.insert("missingUnit".into(), true.into());
    }
    members.into()
}

fn config_json(world: &World, report: &Report) -> Value {
    let mut document = json!({ "cli": snapshot_json(&world.snapshot), "daemon": snapshot_json(&report.daemon) });
    if let (true, Value::Object(members)) = (world.snapshot.path != report.daemon.path, &mut document) {
        members.insert("mismatch".into(), true.into());
    }
    document
}

fn snapshot_json(snapshot: &Snapshot) -> Value {
    let mut document =
        json!({ "path": snapshot.path.display().to_string(), "exists": snapshot.exists, "valid": snapshot.valid });
    if let Value::Object(members) = &mut document {
        if !snapshot.issues.is_empty() {
            let issues = snapshot.issues.iter().map(|issue| json!({ "path": issue.path, "message": issue.message }));
            members.insert("issues".into(), issues.collect::<Vec<_>>().into());
        }
        if let Some(ui) = snapshot.resolved.pointer("/gateway/controlUi") {
            members.insert("controlUi".into(), ui.clone());
        }
    }
    document
}

/// One port as JSON.
fn port_json(port: &Port) -> Value {
    let listeners = port.listeners.iter().map(|listener| {
        let mut members = Map::new();
        for (name, value) in [("pid", listener.pid), ("ppid", listener.ppid)] {
            if let Some(value) = value {
                members.insert(name.into(), value.into());
            }
        }
        for (name, value) in
            [("command", &listener.command), ("commandLine", &listener.command_line), ("user", &listener.user)]
        {
            if let Some(value) = value {
                members.insert(name.into(), value.as_str().into());
            }
        }
        members.insert("address".into(), listener.address.as_str().into());
        Value::Object(members)
    });
    json!({
        "port": port.port, "status": port.status, "listeners": listeners.collect::<Vec<_>>(), "hints": port.hints,
    })
}

fn rpc_json(probe: &Probe, read: bool) -> Value {
    let mut document = json!({
        "ok": probe_ok(probe), "kind": if read { "read" } else { "connect" }, "capability": probe.capability,
        "auth": probe.auth_json(), "server": probe.server_json(), "url": probe.url,
    });
    let Value::Object(members) = &mut document else { return document };
    if let Some(version) = &probe.version {
        members.insert("version".into(), version.as_str().into());
    }
    if let Some(error) = probe.read_error() {
        members.insert("error".into(), error.into());
        members.insert("gatewayReached".into(), reached_gateway(probe).into());
        members.insert("connectFailure".into(), json!({ "kind": failure_kind(probe) }));
        if matches!(probe.error, Some(crate::client::ClientError::Timeout { .. })) {
            members.insert("timedOut".into(), true.into());
        }
    }
    document
}

fn reached_gateway(probe: &Probe) -> bool {
    let answered = probe.error.as_ref().is_some_and(|error| error.answer().is_some() || error.close().is_some());
    probe.reached() || answered
}

fn failure_kind(probe: &Probe) -> &'static str {
    match &probe.error {
        Some(error) if error.pairing_required() => "pairing-required",
        Some(error) if error.answer().is_some() => "auth",
        Some(crate::client::ClientError::Timeout { .. }) => "timeout",
        Some(crate::client::ClientError::Unreachable { .. }) => "unreachable",
        Some(_) => "closed",
        None => "read",
    }
}

fn extra_json(extra: &Extra) -> Value {
    json!({
        "platform": "linux", "label": extra.label, "detail": format!("unit: {}", extra.path.display()),
        "scope": if extra.system { "system" } else { "user" }, "marker": extra.marker, "legacy": extra.marker != "openclaw",
    })
}
