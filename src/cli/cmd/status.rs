//! `status`: an overview of this installation, with or without a gateway (`spec/cli.md` 10).

use serde_json::Value;

use super::gateway_probe::own_line;
use crate::cli::amount;
use crate::cli::fail::CliError;
use crate::cli::grid;
use crate::cli::help::VERSION;
use crate::cli::out::Style;
use crate::cli::parse::Parsed;
use crate::cli::probe::{self, Attempt, Probe};
use crate::cli::rpc::{self, list, text};
use crate::cli::spinner::Spinner;
use crate::cli::world::World;
use crate::config::{Secret, Target};
use crate::service::{self, Service};
use crate::sys::host;

const CALLS: [&str; 5] = ["status", "system-presence", "agents.list", "health", "last-heartbeat"];
/// Sessions that the text lists.
const SESSIONS: usize = 10;

/// What was found out.
struct Found {
    target: Result<Target, CliError>,
    probe: Option<Probe>,
    service: Service,
}

impl Found {
    fn answer(&self, method: &str) -> Option<&Value> {
        self.probe.as_ref()?.answer(&CALLS, method)
    }

    fn reachable(&self) -> bool {
        self.probe.as_ref().is_some_and(Probe::reached)
    }

    fn error(&self) -> Option<String> {
        match (&self.target, &self.probe) {
            (Err(error), _) => Some(error.message.clone()),
            (Ok(_), Some(probe)) if !probe.reached() => probe.read_error(),
            _ => None,
        }
    }
}

/// `status`
///
/// # Errors
/// Bad flags; an unreachable gateway is a result.
pub fn run(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let timeout = rpc::timeout(parsed)?;
    let target = rpc::aim(world, parsed);
    let probe = {
        let _spinner = Spinner::start("Looking around…", !world.json);
        let expose = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_string());
        target.as_ref().ok().map(|target| {
            probe::probe(&Attempt {
                url: &target.url,
                token: expose(&target.token),
                password: expose(&target.password),
                timeout,
                identity: &world.paths.identity_dir,
                calls: &CALLS,
                wall_ms: world.now_ms,
            })
        })
    };
    let found = Found { target, probe, service: service::inspect(&world.env, &world.paths) };
    let deep = parsed.has("deep") || parsed.has("all");
    if world.json { world.out.json(&document(world, &found, deep)) } else { print(world, &found, deep) }
}

fn os_json() -> Value {
    let (platform, arch, release) = (host::platform(), host::arch(), host::kernel_release());
    json!({ "platform": platform, "arch": arch, "release": release, "label": format!("{platform} {release} ({arch})") })
}

fn document(world: &World, found: &Found, deep: bool) -> Value {
    let mut document = match found.answer("status") {
        Some(Value::Object(members)) => members.clone(),
        _ => local_summary(world).as_object().cloned().unwrap_or_default(),
    };
    let mut put = |name: &str, value: Value| {
        document.insert(name.to_string(), value);
    };
    put("os", os_json());
    put("update", json!({ "installKind": "binary", "packageManager": "none" }));
    put("updateChannel", "stable".into());
    put("updateChannelSource", "default".into());
    put("memory", Value::Null);
    put("gateway", gateway_json(world, found));
    put("gatewayService", service_json(&found.service));
    let label = found.service.label;
    put(
        "nodeService",
        json!({ "label": label, "installed": false, "loadedText": "disabled", "runtimeShort": "not supported" }),
    );
    put("agents", agents_json(world, found));
    if deep {
        put("health", found.answer("health").cloned().unwrap_or(Value::Null));
        put("lastHeartbeat", found.answer("last-heartbeat").cloned().unwrap_or(Value::Null));
    }
    document.into()
}

/// The part of the `status` payload that is known without a gateway.
fn local_summary(world: &World) -> Value {
    let agents: Vec<Value> = world
        .config()
        .agents
        .resolved()
        .iter()
        .map(|agent| json!({ "agentId": agent.id, "enabled": agent.heartbeat.is_some() }))
        .collect();
    json!({
        "runtimeVersion": null,
        "heartbeat": { "defaultAgentId": world.config().default_agent_id(), "agents": agents },
        "channelSummary": [], "queuedSystemEvents": [],
        "sessions": { "paths": [], "count": 0, "defaults": { "model": null, "contextTokens": null }, "recent": [], "byAgent": [] },
    })
}

fn mode(world: &World) -> &'static str {
    world.config().gateway.mode.map(|mode| mode.name()).unwrap_or("local")
}

fn gateway_json(world: &World, found: &Found) -> Value {
    let target = found.target.as_ref().ok();
    let own = found.answer("system-presence").and_then(probe::own_entry);
    json!({
        "mode": mode(world), "url": target.map(|target| target.url.as_str()),
        "urlSource": target.map(|target| target.source_label.as_str()), "misconfigured": found.target.is_err(),
        "reachable": found.reachable(), "connectLatencyMs": found.probe.as_ref().and_then(|probe| probe.latency_ms),
        "self": own, "error": found.error(),
        "authWarning": found.probe.as_ref().filter(|probe| probe.scope_limited()).and_then(Probe::read_error),
    })
}

fn service_json(service: &Service) -> Value {
    json!({
        "label": service.label, "installed": service.command.is_some(),
        "loadedText": if service.loaded { "enabled" } else { "disabled" }, "runtimeShort": runtime_short(service),
    })
}

fn runtime_short(service: &Service) -> String {
    let runtime = &service.runtime;
    let mut parts: Vec<String> = runtime.pid.map(|pid| format!("pid {pid}")).into_iter().collect();
    parts.extend(runtime.state.clone());
    parts.extend(runtime.detail.clone());
    if parts.is_empty() {
        runtime.status.word().to_string()
    } else {
        format!("{} ({})", runtime.status.word(), parts.join(", "))
    }
}

fn agents_json(world: &World, found: &Found) -> Value {
    let sessions = found.answer("status").map(|status| status.get("sessions").unwrap_or(&Value::Null));
    let by_agent = sessions.map(|sessions| list(sessions, "byAgent")).unwrap_or_default();
    let ids: Vec<String> = match found.answer("agents.list") {
        Some(payload) => list(payload, "agents").iter().map(|agent| text(agent, "id").to_string()).collect(),
        None => world.config().agents.resolved().into_iter().map(|agent| agent.id).collect(),
    };
    let agents: Vec<Value> = ids
        .iter()
        .map(|id| {
            let row = by_agent.iter().find(|row| text(row, "agentId") == id);
            let last = row.and_then(|row| list(row, "recent").first()).and_then(|session| session.get("updatedAt"));
            let at = last.and_then(Value::as_u64);
            json!({
                "id": id, "sessionsPath": row.map(|row| text(row, "path")),
                "sessionsCount": row.and_then(|row| row.get("count")).and_then(Value::as_u64).unwrap_or(0),
                "lastUpdatedAt": at, "lastActiveAgeMs": at.map(|at| world.now_ms.saturating_sub(at)),
                "bootstrapPending": false, "workspaceDir": world.config().workspace(&world.paths, id).display().to_string(),
            })
        })
        .collect();
    let total: u64 = agents.iter().filter_map(|agent| agent.get("sessionsCount")).filter_map(Value::as_u64).sum();
    json!({
        "defaultId": world.config().default_agent_id(), "agents": agents, "totalSessions": total, "bootstrapPendingCount": 0,
    })
}

fn print(world: &World, found: &Found, deep: bool) -> Result<(), CliError> {
    let out = &world.out;
    out.styled(&[(Style::Strong, "OpenClaw status")])?;
    out.line("")?;
    out.styled(&[(Style::Strong, "Overview")])?;
    out.line(&grid::draw(&["Item", "Value"], &overview(world, found), out.width()))?;
    if let Some(health) = found.answer("health").filter(|_| deep) {
        out.line("")?;
        out.styled(&[(Style::Strong, "Health")])?;
        super::health::lines(health).iter().try_for_each(|line| out.line(line))?;
    }
    let sessions = found.answer("status").and_then(|status| status.get("sessions"));
    let rows: Vec<Vec<String>> = sessions
        .map(|sessions| list(sessions, "recent"))
        .unwrap_or_default()
        .iter()
        .take(SESSIONS)
        .map(session_row)
        .collect();
    if !rows.is_empty() {
        out.line("")?;
        out.styled(&[(Style::Strong, "Sessions")])?;
        out.line(&grid::draw(&["Key", "Kind", "Age", "Model", "Tokens"], &rows, out.width()))?;
    }
    out.line("")?;
    next_steps(world, found).iter().try_for_each(|line| out.line(line))
}

fn overview(world: &World, found: &Found) -> Vec<Vec<String>> {
    let row = |name: &str, value: String| vec![name.to_string(), value];
    let os = os_json();
    let agents = agents_json(world, found);
    let count = list(&agents, "agents").len();
    let sessions = agents.get("totalSessions").and_then(Value::as_u64).unwrap_or(0);
    let service = &found.service;
    let events = found.answer("status").map(|status| list(status, "queuedSystemEvents").len()).unwrap_or(0);
    let mut rows = vec![
        row("Version", format!("OpenClaw {VERSION}")),
        row("OS", text(&os, "label").to_string()),
        row("Config", config_cell(world)),
        row("Gateway", gateway_cell(world, found)),
        row("Gateway service", service_cell(service)),
        row("Agents", format!("{count} · {sessions} sessions · default {}", text(&agents, "defaultId"))),
    ];
    if found.reachable() {
        rows.push(row("Model", model_cell(found)));
        rows.push(row("Events", if events == 0 { "none".to_string() } else { format!("{events} queued") }));
        rows.push(row("Heartbeat", heartbeat_cell(found)));
    }
    rows
}

fn service_cell(service: &Service) -> String {
    match (service.supervised, &service.command) {
        (false, None) => service.label.to_string(),
        (_, None) => format!("{} · not installed", service.label),
        (_, Some(_)) => format!("{} · installed · {}", service.label, runtime_short(service)),
    }
}

fn config_cell(world: &World) -> String {
    let missing = if world.snapshot.exists { "" } else { " (missing)" };
    let invalid = if world.snapshot.valid { "" } else { " (invalid)" };
    format!("{}{missing}{invalid}", world.short(&world.snapshot.path))
}

/// The one cell that scripts read (`spec/cli.md` 10).
fn gateway_cell(world: &World, found: &Found) -> String {
    let mode = mode(world);
    let target = match &found.target {
        Ok(target) => target,
        Err(error) => return format!("{mode} · misconfigured ({})", error.message),
    };
    let at = format!("{mode} · {} ({})", target.url, target.source_label);
    let Some(latency) = found.probe.as_ref().and_then(|probe| probe.latency_ms) else {
        return format!("{at} · unreachable ({})", found.error().unwrap_or_default());
    };
    let auth = match (&target.token, &target.password) {
        (Some(_), Some(_)) => "auth token+password",
        (Some(_), None) => "auth token",
        (None, Some(_)) => "auth password",
        (None, None) => "auth none",
    };
    let own = found.answer("system-presence").and_then(probe::own_entry).map(|own| format!(" · {}", own_line(&own)));
    format!("{at} · reachable {latency}ms · {auth}{}", own.unwrap_or_default())
}

fn model_cell(found: &Found) -> String {
    let status = found.answer("status");
    let at = |path: &str| status.and_then(|status| status.pointer(path)).and_then(Value::as_str);
    match (at("/sessions/defaults/modelProvider"), at("/sessions/defaults/model"), at("/modelFound")) {
        (_, Some(_), Some(why)) => why.to_string(),
        (Some(provider), Some(model), None) => format!("{provider}/{model}"),
        (None, Some(model), None) => model.to_string(),
        (_, None, _) => "none configured; a local server is looked for at the first turn".to_string(),
    }
}

fn heartbeat_cell(found: &Found) -> String {
    let agents = found.answer("status").and_then(|status| status.get("heartbeat")).map(|beat| list(beat, "agents"));
    let cells: Vec<String> = agents
        .unwrap_or_default()
        .iter()
        .map(|agent| {
            let on = agent.get("enabled").and_then(Value::as_bool) == Some(true);
            let every = if on { text(agent, "every") } else { "disabled" };
            format!("{every} ({})", text(agent, "agentId"))
        })
        .collect();
    if cells.is_empty() { "unknown".to_string() } else { cells.join(", ") }
}

fn session_row(session: &Value) -> Vec<String> {
    let age = session.get("age").and_then(Value::as_u64).map(amount::ago).unwrap_or_default();
    let tokens = session.get("totalTokens").and_then(Value::as_u64).map(|n| n.to_string()).unwrap_or_default();
    vec![text(session, "key").into(), text(session, "kind").into(), age, text(session, "model").into(), tokens]
}

fn next_steps(world: &World, found: &Found) -> Vec<String> {
    let mut lines = vec!["Next steps:".to_string()];
    if found.reachable() {
        lines.push(format!("  Watch the log: {}", world.command("logs --follow")));
        lines.push(format!("  Probe channels: {}", world.command("status --deep")));
    } else {
        let start = if world.snapshot.exists { "gateway run" } else { "gateway run --allow-unconfigured" };
        lines.push(format!("  Start the gateway: {}", world.command(start)));
        lines.push(format!("  Find out more: {}", world.command("gateway status")));
    }
    lines
}
