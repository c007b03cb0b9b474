//! `gateway probe`: every known gateway, tried at the same time (`spec/cli.md` 5).

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::amount;
use crate::cli::fail::CliError;
use crate::cli::out::Style;
use crate::cli::parse::Parsed;
use crate::cli::probe::{self, Attempt, Probe};
use crate::cli::rpc::{self, text};
use crate::cli::spinner::Spinner;
use crate::cli::world::World;
use crate::config::model::Mode;
use crate::config::{Secret, TargetFlags, client_target};
use crate::limits;
use crate::sys::order;
use crate::sys::thread::{self, Pending};

/// What is asked after the handshake.
pub const CALLS: [&str; 4] = ["health", "status", "system-presence", "config.get"];
/// Time of one remote target (`spec/cli.md` 5).
const REMOTE_BUDGET: Duration = Duration::from_millis(1500);
/// Shown search time; nothing is searched, so none is spent.
const DISCOVERY_MS: u64 = 1200;

/// One gateway to try.
struct Goal {
    id: &'static str,
    url: String,
    active: bool,
    token: Option<Secret>,
    password: Option<Secret>,
}

impl Goal {
    fn label(&self) -> &'static str {
        match (self.id, self.active) {
            ("explicit", _) => "URL (explicit)",
            ("configRemote", true) => "Remote (configured)",
            ("configRemote", false) => "Remote (configured, inactive)",
            _ => "Local loopback",
        }
    }
}

/// `gateway probe`
///
/// # Errors
/// Bad flags; nothing reachable is exit 1 without an error.
pub fn run(world: &World, parsed: &Parsed) -> Result<ExitCode, CliError> {
    if parsed.has("ssh") || parsed.has("ssh-auto") || parsed.has("ssh-identity") {
        return Err(CliError::usage("This build cannot open SSH tunnels.").hint(
            "Fix: ssh -N -L 18790:127.0.0.1:18789 user@host, then probe --url ws://127.0.0.1:18790 --token TOKEN",
        ));
    }
    let budget = rpc::timeout(parsed)?;
    let began = Instant::now();
    let goals = goals(world, parsed)?;
    let probes = {
        let _spinner = Spinner::start("Probing gateways…", !world.json);
        try_all(world, &goals, budget)?
    };
    let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let warnings = warnings(world, &goals, &probes);
    let primary = primary(&goals, &probes);
    if world.json {
        world.out.json(&report(world, &goals, &probes, &warnings, budget, took, primary))?;
    } else {
        print(world, &goals, &probes, &warnings, budget, primary)?;
    }
    Ok(if primary.is_some() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn goals(world: &World, parsed: &Parsed) -> Result<Vec<Goal>, CliError> {
    let secret = |flag: &str| parsed.text(flag).map(Secret::new);
    let (token, password) = (secret("token"), secret("password"));
    let port = amount::port(parsed)?.unwrap_or_else(|| crate::config::resolve::default_port(&world.snapshot).0);
    let flags =
        TargetFlags { port: Some(port.to_string()), token: token.clone(), password: password.clone(), url: None };
    let local = client_target(&world.snapshot, &world.paths, &flags, &[])
        .map_err(|error| CliError::usage(error.to_string()))?;
    let mut goals = Vec::new();
    if let Some(url) = parsed.text("url") {
        goals.push(explicit(url, &local, (token.clone(), password.clone()))?);
    }
    let gateway = &world.config().gateway;
    if let Some(url) = gateway.remote.url.clone() {
        let active = gateway.mode == Some(Mode::Remote);
        let token = token.or_else(|| gateway.remote.token.clone());
        let password = password.or_else(|| gateway.remote.password.clone());
        goals.push(Goal { id: "configRemote", url, active, token, password });
    }
    let (token, password) = (local.token, local.password);
    goals.push(Goal { id: "localLoopback", url: local.url, active: true, token, password });
    let mut seen: Vec<String> = Vec::new();
    goals.retain(|goal| {
        let new = !seen.contains(&goal.url);
        seen.push(goal.url.clone());
        new
    });
    Ok(goals)
}

/// The secrets of this machine go only to this machine; another address needs its own flags.
fn explicit(
    url: &str,
    local: &crate::config::Target,
    (token, password): (Option<Secret>, Option<Secret>),
) -> Result<Goal, CliError> {
    let address = crate::client::Address::parse(url).map_err(|error| CliError::usage(error.to_string()))?;
    let here = address.is_loopback() && token.is_none() && password.is_none();
    let (token, password) = if here { (local.token.clone(), local.password.clone()) } else { (token, password) };
    Ok(Goal { id: "explicit", url: url.trim_end_matches('/').to_string(), active: true, token, password })
}

/// Tries all at the same time; a target that does not answer within its budget has timed out by itself.
fn try_all(world: &World, goals: &[Goal], budget: Duration) -> Result<Vec<Probe>, CliError> {
    let mut pending = Vec::new();
    for goal in goals {
        let time = if goal.id == "localLoopback" { budget } else { budget.min(REMOTE_BUDGET) };
        let expose = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_string());
        let (url, token, password) = (goal.url.clone(), expose(&goal.token), expose(&goal.password));
        let (identity, wall_ms) = (world.paths.identity_dir.clone(), world.now_ms);
        let work = move || {
            let attempt =
                Attempt { url: &url, token, password, timeout: time, identity: &identity, calls: &CALLS, wall_ms };
            probe::probe(&attempt)
        };
        let probe = thread::ask("probe", limits::STACK_PARSER, work)
            .map_err(|error| CliError::other(format!("cannot start a probe: {error}")))?;
        pending.push(probe);
    }
    let ended = |probe: Pending<Probe>| probe.join().ok_or_else(|| CliError::other("a probe ended without a result"));
    pending.into_iter().map(ended).collect()
}

/// The first reachable target; the goals stand in order of preference.
fn primary(goals: &[Goal], probes: &[Probe]) -> Option<usize> {
    let active = |goal: &Goal| goal.active;
    let reached = goals.iter().zip(probes).position(|(goal, probe)| probe.reached() && active(goal));
    reached.or_else(|| probes.iter().position(Probe::reached))
}

fn warnings(world: &World, goals: &[Goal], probes: &[Probe]) -> Vec<Value> {
    let mut warnings = Vec::new();
    let reached: Vec<(&Goal, &Probe)> = goals.iter().zip(probes).filter(|(_, probe)| probe.reached()).collect();
    let ids = |of: &[(&Goal, &Probe)]| of.iter().map(|(goal, _)| goal.id).collect::<Vec<_>>();
    if reached.is_empty() {
        let what = format!(
            "No gateway answered and let this command in; see Targets. Look at the service and the port with `{}`.",
            world.command("gateway status --deep")
        );
        warnings.push(json!({ "code": "no_gateway_reachable", "message": what }));
    }
    let mut identities: Vec<Option<String>> =
        reached.iter().map(|(_, probe)| probe.answer(&CALLS, "system-presence").and_then(probe::identity)).collect();
    order::by(&mut identities, Ord::cmp);
    let unproven = identities.first().is_none_or(Option::is_none);
    identities.dedup();
    if reached.len() > 1 && (identities.len() > 1 || unproven) {
        let what =
            "multiple reachable gateway identities; run one gateway per machine, or separate profiles, ports and state";
        warnings.push(json!({ "code": "multiple_gateways", "message": what, "targetIds": ids(&reached) }));
    }
    let limited: Vec<(&Goal, &Probe)> = reached.iter().filter(|(_, probe)| probe.scope_limited()).copied().collect();
    if !limited.is_empty() {
        let what = "The connection works, but it may not read (missing scope: operator.read). Pair this device or use other credentials.";
        warnings.push(json!({ "code": "probe_scope_limited", "message": what, "targetIds": ids(&limited) }));
    }
    warnings
}

fn report(
    world: &World,
    goals: &[Goal],
    probes: &[Probe],
    warnings: &[Value],
    budget: Duration,
    took: u64,
    primary: Option<usize>,
) -> Value {
    let best = primary.and_then(|n| probes.get(n));
    let loopback = goals.iter().find(|goal| goal.id == "localLoopback").map(|goal| goal.url.clone());
    let port = crate::config::resolve::default_port(&world.snapshot).0;
    json!({
        "ok": best.is_some(), "degraded": best.is_some_and(|probe| probe.read_error().is_some()),
        "capability": best.map(|probe| probe.capability).unwrap_or("unknown"),
        "ts": world.now_ms, "durationMs": took, "timeoutMs": u64::try_from(budget.as_millis()).unwrap_or(u64::MAX),
        "primaryTargetId": primary.and_then(|n| goals.get(n)).map(|goal| goal.id),
        "warnings": warnings,
        "network": {
            "localLoopbackUrl": loopback.unwrap_or_else(|| format!("ws://127.0.0.1:{port}")),
            "localTailnetUrl": null, "tailnetIPv4": null,
        },
        "discovery": { "timeoutMs": DISCOVERY_MS, "count": 0, "beacons": [] },
        "targets": goals.iter().zip(probes).map(|(goal, probe)| target(goal, probe)).collect::<Vec<_>>(),
    })
}

fn target(goal: &Goal, probe: &Probe) -> Value {
    let answer = |method: &str| probe.answer(&CALLS, method).cloned().unwrap_or(Value::Null);
    let close = probe.error.as_ref().and_then(|error| error.close());
    let presence = answer("system-presence");
    json!({
        "id": goal.id, "kind": goal.id, "url": probe.url, "active": goal.active, "tunnel": null,
        "connect": {
            "ok": probe.reached(), "rpcOk": probe.reached() && probe.read_error().is_none(),
            "scopeLimited": probe.scope_limited(), "latencyMs": probe.latency_ms, "error": probe.read_error(),
            "close": close.map(|(code, reason)| json!({ "code": code, "reason": reason })),
        },
        "auth": probe.auth_json(), "server": probe.server_json(),
        "self": probe::own_entry(&presence),
        "config": probe.answer(&CALLS, "config.get").map(probe::config_view),
        "health": answer("health"), "summary": answer("status"), "presence": presence,
    })
}

fn print(
    world: &World,
    goals: &[Goal],
    probes: &[Probe],
    warnings: &[Value],
    budget: Duration,
    primary: Option<usize>,
) -> Result<(), CliError> {
    let out = &world.out;
    let best = primary.and_then(|n| probes.get(n));
    out.styled(&[(Style::Strong, "Gateway Status")])?;
    let (style, word) = if best.is_some() { (Style::Good, "yes") } else { (Style::Bad, "no") };
    out.styled(&[(Style::Plain, "Reachable: "), (style, word)])?;
    let capability = best.map(|probe| probe.capability).unwrap_or("unknown");
    out.line(&format!("Capability: {}", capability.replace('_', "-")))?;
    out.line(&format!("Probe budget: {}ms", budget.as_millis()))?;
    if !warnings.is_empty() {
        out.line("")?;
        out.styled(&[(Style::Warn, "Warning:")])?;
        warnings.iter().try_for_each(|warning| out.line(&format!("- {}", text(warning, "message"))))?;
    }
    out.line("")?;
    out.styled(&[(Style::Strong, "Discovery (this machine)")])?;
    out.line("Found 0 gateways via Bonjour (local.)")?;
    out.line("Tip: this build does not search the network; name other gateways with --url.")?;
    out.line("")?;
    out.styled(&[(Style::Strong, "Targets")])?;
    for (goal, probe) in goals.iter().zip(probes) {
        out.styled(&[(Style::Strong, goal.label()), (Style::Plain, " "), (Style::Dim, &probe.url)])?;
        out.line(&format!("  {}", connect_line(probe)))?;
        if let Some(own) = probe.answer(&CALLS, "system-presence").and_then(probe::own_entry) {
            out.line(&format!("  Gateway: {}", own_line(&own)))?;
        }
        if let Some(config) = probe.answer(&CALLS, "config.get").map(probe::config_view) {
            let wide = config.pointer("/discovery/wideAreaEnabled").and_then(Value::as_bool);
            let word = wide.map_or("unknown", |on| if on { "enabled" } else { "disabled" });
            out.line(&format!("  Wide-area discovery: {word}"))?;
        }
    }
    out.line("")
}

fn connect_line(probe: &Probe) -> String {
    let word = match probe.capability {
        "connected_no_operator_scope" => "connect-only".to_string(),
        "pairing_pending" => "pairing pending".to_string(),
        other => other.replace('_', "-"),
    };
    let Some(latency) = probe.latency_ms else {
        let why = probe.read_error().unwrap_or_default();
        return format!("Connect: failed - {} · Capability: {word}", why.lines().next().unwrap_or_default());
    };
    let read = match probe.read_error() {
        None => "ok".to_string(),
        Some(why) if probe.scope_limited() => format!("limited - {why}"),
        Some(why) => format!("failed - {why}"),
    };
    format!("Connect: ok ({latency}ms) · Capability: {word} · Read probe: {read}")
}

/// `vm (192.0.2.2) · linux 6.18 · app 2026.9.6`
pub fn own_line(own: &Value) -> String {
    let ip = match text(own, "ip") {
        "" => String::new(),
        ip => format!(" ({ip})"),
    };
    let mut parts = vec![format!("{}{ip}", text(own, "host"))];
    parts.extend(Some(text(own, "platform").to_string()).filter(|platform| !platform.is_empty()));
    parts.extend(
        Some(text(own, "version")).filter(|version| !version.is_empty()).map(|version| format!("app {version}")),
    );
    parts.join(" · ")
}
