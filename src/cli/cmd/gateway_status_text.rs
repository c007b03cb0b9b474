//! The text of `gateway status`, block by block (`spec/cli.md` 4.1): facts on standard output,
//! problems and what to do about them on standard error.

use super::gateway_status::{Report, probe_ok};
use crate::cli::fail::CliError;
use crate::cli::help::VERSION;
use crate::cli::out::Style;
use crate::cli::probe::Probe;
use crate::cli::world::World;
use crate::config::Snapshot;
use crate::service::ports;
use crate::service::{Runtime, Service, Status};

/// Config issues that are listed.
const ISSUES: usize = 5;
/// Lines of a probe's error.
const ERROR_LINES: usize = 12;

/// Prints the report.
///
/// # Errors
/// A closed standard output.
pub fn print(world: &World, report: &Report) -> Result<(), CliError> {
    service_block(world, report)?;
    config_block(world, report)?;
    gateway_block(world, report)?;
    versions_block(world, report)?;
    runtime_block(world, report)?;
    world.out.line("")?;
    trouble_block(world, report);
    port_block(world, report)?;
    extra_block(world, report);
    world.out.line(&format!("Troubles: run {}", world.command("status")))?;
    world.out.line("Troubleshooting: https://docs.openclaw.ai/troubleshooting")
}

fn bad(world: &World, line: &str) {
    world.out.note(Style::Bad, line);
}

fn advice(world: &World, line: &str) {
    world.out.note(Style::Plain, line);
}

fn service_block(world: &World, report: &Report) -> Result<(), CliError> {
    let (service, out) = (&report.service, &world.out);
    let loaded = match (service.supervised || service.command.is_some(), service.loaded) {
        (false, _) => "diagnostic only, not the probe target",
        (true, true) => "enabled",
        (true, false) => "disabled",
    };
    out.line(&format!("Service: {} ({loaded})", service.label))?;
    out.line(&format!("File logs: {}", world.short(&report.log_file)))?;
    if let Some(command) = &service.command {
        let words = ports::without_secrets(command.argv.iter().map(String::as_str));
        out.line(&format!("Command: {}", words.join(" ")))?;
        out.line(&format!("Service file: {}", world.short(&command.source)))?;
        if let Some(dir) = &command.working_dir {
            out.line(&format!("Working dir: {dir}"))?;
        }
        let env: Vec<String> = command.safe_env().iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !env.is_empty() {
            out.line(&format!("Service env: {}", env.join(" ")))?;
        }
    }
    out.line("")?;
    if !service.audit.is_empty() {
        bad(world, "Service config looks out of date or non-standard.");
        for remark in &service.audit {
            bad(world, &format!("Service config issue: {}", remark.message));
        }
        let (doctor, repair) = (world.command("doctor"), world.command("doctor --repair"));
        advice(world, &format!("Recommendation: run \"{doctor}\" (or \"{repair}\")."));
    }
    Ok(())
}

fn config_block(world: &World, report: &Report) -> Result<(), CliError> {
    world.out.line(&format!("Config (cli): {}", config_line(world, &world.snapshot)))?;
    issues(world, "Config issue", &world.snapshot);
    world.out.line(&format!("Config (service): {}", config_line(world, &report.daemon)))?;
    if world.snapshot.path != report.daemon.path {
        issues(world, "Service config issue", &report.daemon);
        bad(
            world,
            "Root cause: CLI and service are using different config paths (likely a profile/state-dir mismatch).",
        );
        let install = world.command("gateway install --force");
        advice(world, &format!("Fix: rerun `{install}` from the same --profile / OPENCLAW_STATE_DIR you expect."));
    }
    world.out.line("")
}

fn config_line(world: &World, snapshot: &Snapshot) -> String {
    let missing = if snapshot.exists { "" } else { " (missing)" };
    let invalid = if snapshot.valid { "" } else { " (invalid)" };
    format!("{}{missing}{invalid}", world.short(&snapshot.path))
}

fn issues(world: &World, label: &str, snapshot: &Snapshot) {
    for issue in snapshot.issues.iter().take(ISSUES) {
        bad(world, &format!("{label}: {issue}"));
    }
}

fn gateway_block(world: &World, report: &Report) -> Result<(), CliError> {
    let out = &world.out;
    let (bind, host, port, source) = (report.bind, &report.host, report.port, report.port_source);
    out.line(&format!("Gateway: bind={bind} ({host}), port={port} ({source})"))?;
    out.line(&format!("Probe target: {}", report.url))?;
    match &report.dashboard {
        Some(url) => out.line(&format!("Dashboard: {url}"))?,
        None => out.line("Dashboard: disabled")?,
    }
    if let Some(note) = &report.note {
        out.line(&format!("Probe note: {note}"))?;
    }
    out.line("")
}

fn versions_block(world: &World, report: &Report) -> Result<(), CliError> {
    let Some(version) = report.probe.as_ref().and_then(|probe| probe.version.as_deref()) else { return Ok(()) };
    let program = std::env::current_exe().map(|path| format!(" ({})", world.short(&path))).unwrap_or_default();
    world.out.line(&format!("CLI version: {VERSION}{program}"))?;
    world.out.line(&format!("Gateway version: {version}"))?;
    world.out.line("")
}

fn runtime_block(world: &World, report: &Report) -> Result<(), CliError> {
    let out = &world.out;
    let (style, line) = runtime_line(&report.service);
    out.styled(&[(Style::Plain, "Runtime: "), (style, &line)])?;
    let Some(probe) = &report.probe else { return Ok(()) };
    let label = if report.read { "Read probe" } else { "Connectivity probe" };
    if probe_ok(probe) {
        out.styled(&[(Style::Plain, &format!("{label}: ")), (Style::Good, "ok")])?;
        return out.line(&format!("Capability: {}", probe.capability.replace('_', "-")));
    }
    if report.service.runtime.status == Status::Running {
        out.line("Warm-up: the service can take a few seconds. Try again shortly.")?;
    }
    out.line(&format!("Capability: {}", probe.capability.replace('_', "-")))?;
    failed_probe(world, report, probe, label);
    Ok(())
}

fn failed_probe(world: &World, report: &Report, probe: &Probe, label: &str) {
    bad(world, &format!("{label}: failed"));
    bad(world, &format!("Probe target: {}", report.url));
    let why = probe.read_error().unwrap_or_default();
    for line in why.lines().take(ERROR_LINES) {
        bad(world, &format!("  {line}"));
    }
    if report.listeners.status == "busy"
        && let Some(line) = &report.last_error
    {
        bad(world, &format!("Last gateway error: {line}"));
    }
}

fn runtime_line(service: &Service) -> (Style, String) {
    let Runtime { status, state, sub_state, pid, last_exit_status, last_exit_reason, detail, .. } = &service.runtime;
    if !service.supervised && service.command.is_none() {
        return (Style::Plain, "unknown (diagnostic only, not the probe target)".to_string());
    }
    let mut parts: Vec<String> = Vec::new();
    parts.extend(pid.map(|pid| format!("pid {pid}")));
    parts.extend(state.as_ref().filter(|state| *state != status.word()).map(|state| format!("state {state}")));
    parts.extend(sub_state.as_ref().map(|sub| format!("sub {sub}")));
    parts.extend(last_exit_status.map(|exit| format!("last exit {exit}")));
    parts.extend(last_exit_reason.as_ref().map(|reason| format!("reason {reason}")));
    parts.extend(detail.clone());
    let style = match status {
        Status::Running => Style::Good,
        Status::Stopped => Style::Bad,
        Status::Unknown => Style::Plain,
    };
    let more = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
    (style, format!("{}{more}", status.word()))
}

fn trouble_block(world: &World, report: &Report) {
    let service = &report.service;
    if !service.supervised {
        let why = service.runtime.detail.as_deref().unwrap_or("no supervisor");
        advice(
            world,
            &format!("systemd user services unavailable ({why}); run the gateway under your own supervisor."),
        );
        return;
    }
    if service.runtime.missing_unit && service.command.is_none() {
        bad(world, "Service unit not found.");
        advice(world, &format!("Run: {}", world.command("gateway install")));
        advice(world, &format!("File logs: {}", world.short(&report.log_file)));
    } else if service.loaded && service.runtime.status == Status::Stopped {
        bad(world, "Service is loaded but not running (likely exited immediately).");
        advice(world, &format!("File logs: {}", world.short(&report.log_file)));
        advice(world, &format!("Logs: {}", journal(service)));
    }
}

fn journal(service: &Service) -> String {
    let user = if service.system_unit { "" } else { "--user " };
    format!("journalctl {user}-u {} -n 200 --no-pager", service.unit)
}

fn port_block(world: &World, report: &Report) -> Result<(), CliError> {
    let answered = report.probe.as_ref().is_some_and(probe_ok);
    if report.listeners.status == "busy" && !answered {
        ports::lines(&report.listeners).iter().for_each(|line| bad(world, line));
    }
    let addresses: Vec<&str> = report.listeners.listeners.iter().map(|listener| listener.address.as_str()).collect();
    if !addresses.is_empty() {
        world.out.line(&format!("Listening: {}", addresses.join(", ")))?;
    }
    if let Some(port) = &report.cli_port {
        world.out.line(&format!("Note: CLI config resolves gateway port={} ({}).", port.port, port.status))?;
    }
    let service = &report.service;
    if service.loaded && service.runtime.status == Status::Running && report.listeners.status == "free" {
        bad(world, &format!("Gateway port {} is not listening (service appears running).", report.port));
        if let Some(line) = &report.last_error {
            bad(world, &format!("Last gateway error: {line}"));
        }
        advice(world, &format!("Logs: {}", journal(service)));
    }
    Ok(())
}

fn extra_block(world: &World, report: &Report) {
    if report.extra.is_empty() {
        return;
    }
    bad(world, "Other gateway-like services detected (best effort):");
    for extra in &report.extra {
        let scope = if extra.system { "system" } else { "user" };
        bad(world, &format!("- {} ({scope}, unit: {})", extra.label, world.short(&extra.path)));
    }
    for extra in &report.extra {
        let user = if extra.system { "" } else { "--user " };
        advice(world, &format!("Cleanup hint: systemctl {user}disable --now {}", extra.label));
        advice(world, &format!("Cleanup hint: rm {}", world.short(&extra.path)));
    }
    advice(
        world,
        "Recommendation: run a single gateway per machine for most setups. One gateway supports several agents.",
    );
    advice(
        world,
        "If you need multiple gateways (e.g., a rescue bot on the same host), isolate ports + config/state with --profile.",
    );
}
