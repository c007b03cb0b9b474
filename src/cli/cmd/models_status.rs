//! `models status`: which model answers, what is tried after it, and where the keys come from (`spec/cli.md` 24).

use std::process::ExitCode;

use serde_json::Value;

use crate::cli::fail::{CliError, Kind};
use crate::cli::parse::Parsed;
use crate::cli::rpc::{self, Line};
use crate::cli::world::World;
use crate::sys::order;

/// What the command has found out.
struct Found {
    agent: String,
    default: Option<String>,
    resolved: Option<String>,
    fallbacks: Vec<String>,
    auth: Option<Value>,
    /// Why there is no word of the gateway.
    silent: Option<String>,
}

/// `models status`
///
/// # Errors
/// An unknown agent, a closed standard output; a gateway that refuses. One that is not there is no error.
pub fn run(world: &World, parsed: &Parsed) -> Result<ExitCode, CliError> {
    let found = find(world, parsed)?;
    if world.json {
        world.out.json(&document(world, &found))?;
    } else if parsed.has("plain") {
        world.out.line(found.resolved.as_deref().unwrap_or("-"))?;
    } else {
        text(world, &found)?;
    }
    Ok(if parsed.has("check") { ExitCode::from(verdict(&found)) } else { ExitCode::SUCCESS })
}

fn find(world: &World, parsed: &Parsed) -> Result<Found, CliError> {
    let config = world.config();
    let agent = parsed.text("agent").unwrap_or(config.default_agent_id()).trim().to_lowercase();
    let known = config.agents.find(&agent);
    let known = known.ok_or_else(|| CliError::usage(format!("unknown agent \"{agent}\"; see agents list")))?;
    let choice = known.model;
    let default = choice.as_ref().map(|choice| choice.primary.clone());
    let mut found = Found {
        agent,
        resolved: default.clone(),
        default,
        fallbacks: choice.map(|choice| choice.fallbacks).unwrap_or_default(),
        auth: None,
        silent: None,
    };
    match ask(world, parsed, &mut found) {
        Ok(()) => {}
        Err(error) if matches!(error.kind, Kind::Transport | Kind::Credentials) => found.silent = Some(error.message),
        Err(error) => return Err(error),
    }
    Ok(found)
}

fn ask(world: &World, parsed: &Parsed, found: &mut Found) -> Result<(), CliError> {
    let mut line = Line::open(world, parsed, &["models.list", "models.authStatus"])?;
    let params = json!({"agentId": found.agent});
    let models = line.call("models.list", &params)?;
    let is_default = |row: &&Value| rpc::list(row, "tags").iter().any(|tag| tag == "default");
    if let Some(row) = rpc::list(&models, "models").iter().find(is_default) {
        found.resolved = Some(format!("{}/{}", rpc::text(row, "provider"), rpc::text(row, "id")));
    }
    found.auth = Some(line.call("models.authStatus", &params)?);
    Ok(())
}

fn providers(found: &Found) -> &[Value] {
    found.auth.as_ref().map(|auth| rpc::list(auth, "providers")).unwrap_or_default()
}

/// Providers of the models that answer, and how their keys stand.
fn in_use<'a>(found: &'a Found) -> impl Iterator<Item = &'a Value> {
    let models: Vec<&String> = found.resolved.iter().chain(&found.fallbacks).collect();
    let used = move |row: &&'a Value| {
        let provider = format!("{}/", rpc::text(row, "provider"));
        models.iter().any(|model| model.starts_with(&provider))
    };
    providers(found).iter().filter(used)
}

fn missing(found: &Found) -> Vec<&str> {
    let bad = in_use(found).filter(|row| matches!(rpc::text(row, "status"), "missing" | "expired"));
    bad.map(|row| rpc::text(row, "provider")).collect()
}

/// 1 when nothing could answer, 2 when that is near.
fn verdict(found: &Found) -> u8 {
    let ending = in_use(found).any(|row| rpc::text(row, "status") == "expiring");
    match (found.resolved.is_none() || found.auth.is_none() || !missing(found).is_empty(), ending) {
        (true, _) => 1,
        (false, true) => 2,
        (false, false) => 0,
    }
}

fn store(world: &World, found: &Found) -> std::path::PathBuf {
    world.paths.agents_dir.join(&found.agent).join("agent")
}

fn document(world: &World, found: &Found) -> Value {
    let dir = store(world, found);
    let table = world.config().raw.pointer("/agents/defaults/models").and_then(Value::as_object);
    let named = table.into_iter().flatten().filter_map(|(key, entry)| {
        let alias = rpc::text(entry, "alias").trim();
        (!alias.is_empty()).then(|| (alias.to_string(), Value::from(key.as_str())))
    });
    let aliases = order::object(named);
    let allowed: Vec<&String> = table.into_iter().flatten().map(|(key, _)| key).collect();
    json!({
        "configPath": world.snapshot.path.display().to_string(),
        "agentDir": dir.display().to_string(),
        "defaultModel": found.default,
        "resolvedDefault": found.resolved,
        "fallbacks": found.fallbacks,
        "aliases": aliases,
        "allowed": allowed,
        "gatewayReachable": found.silent.is_none(),
        "auth": {
            "storePath": dir.join("auth-profiles.json").display().to_string(),
            "missingProvidersInUse": missing(found),
            "providers": providers(found),
        },
    })
}

fn text(world: &World, found: &Found) -> Result<(), CliError> {
    let out = &world.out;
    let model = match (&found.resolved, &found.default) {
        (Some(model), Some(_)) => model.clone(),
        (Some(model), None) => format!("{model} (found on this machine; nothing is configured)"),
        (None, _) => "- (none configured and none found; see models scan)".to_string(),
    };
    out.line(&format!("Config    : {}", world.short(&world.snapshot.path)))?;
    out.line(&format!("Agent     : {} ({})", found.agent, world.short(&store(world, found))))?;
    out.line(&format!("Default   : {model}"))?;
    out.line(&format!(
        "Fallbacks : {}",
        if found.fallbacks.is_empty() { "-".into() } else { found.fallbacks.join(", ") }
    ))?;
    if let Some(why) = &found.silent {
        return out.line(&format!("Keys      : not known, the gateway does not answer ({why})"));
    }
    out.line("Keys")?;
    if providers(found).is_empty() {
        return out.line("- no provider has or needs one");
    }
    providers(found).iter().try_for_each(|row| out.line(&provider_line(row)))
}

fn provider_line(row: &Value) -> String {
    let key = row.get("apiKey").map(|key| match rpc::text(key, "envVar") {
        "" => "key in the config".to_string(),
        name => format!("key in {name}"),
    });
    let profiles = rpc::list(row, "profiles").iter().map(|profile| {
        let until = profile.get("expiry").map(|expiry| format!(", {} left", rpc::text(expiry, "label")));
        format!("profile {}{}", rpc::text(profile, "profileId"), until.unwrap_or_default())
    });
    let all: Vec<String> = profiles.chain(key).collect();
    let what = match (all.is_empty(), rpc::text(row, "status")) {
        (false, "static" | "ok") => all.join("; "),
        (false, status) => format!("{}: {}", status.to_uppercase(), all.join("; ")),
        (true, "missing") => "MISSING: set its key in the environment or in models.providers".to_string(),
        (true, _) => "needs no key".to_string(),
    };
    format!("- {}: {what}", rpc::text(row, "provider"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(status: &str) -> Found {
        let auth = json!({"providers": [
            {"provider": "up", "status": status, "profiles": []}, {"provider": "idle", "status": "missing"},
        ]});
        let resolved = Some("up/m".to_string());
        Found {
            agent: "main".into(),
            default: resolved.clone(),
            resolved,
            fallbacks: Vec::new(),
            auth: Some(auth),
            silent: None,
        }
    }

    #[test]
    fn only_providers_in_use_count() {
        let codes = ["static", "ok", "expiring", "expired", "missing"].map(|status| verdict(&found(status)));
        assert_eq!(codes, [0, 0, 2, 1, 1]);
        assert_eq!(verdict(&Found { auth: None, ..found("ok") }), 1);
        assert_eq!(missing(&found("missing")), ["up"]);
    }

    #[test]
    fn a_provider_is_one_line() {
        let row = json!({"provider": "p", "status": "expiring", "apiKey": {"source": "env", "envVar": "P_KEY"},
            "profiles": [{"profileId": "p:a", "expiry": {"label": "3h"}}]});
        assert_eq!(provider_line(&row), "- p: EXPIRING: profile p:a, 3h left; key in P_KEY");
        assert_eq!(provider_line(&json!({"provider": "o", "status": "static"})), "- o: needs no key");
    }
}
