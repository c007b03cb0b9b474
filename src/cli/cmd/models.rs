//! `models list|set|scan`: the models as the configuration has them, the one that answers, and those that could
//! (`spec/cli.md` 24).

use serde_json::Value;

use crate::cli::change;
use crate::cli::fail::CliError;
use crate::cli::grid;
use crate::cli::parse::Parsed;
use crate::cli::rpc;
use crate::cli::world::World;
use crate::config::roster;
use crate::config::sections::{Model, Provider};
use crate::config::target::is_loopback_url;

/// `models list`
///
/// # Errors
/// A closed standard output.
pub fn list(world: &World) -> Result<(), CliError> {
    let config = world.config();
    let agent = config.agents.find(config.default_agent_id());
    let choice = agent.and_then(|agent| agent.model);
    let primary = choice.as_ref().map(|choice| choice.primary.clone()).unwrap_or_default();
    let fallbacks = choice.map(|choice| choice.fallbacks).unwrap_or_default();
    let rows: Vec<Value> = config
        .providers
        .iter()
        .flat_map(|provider| provider.models.iter().map(|model| row(provider, model, &primary, &fallbacks)))
        .collect();
    if world.json {
        return world.out.json(&json!({"count": rows.len(), "models": rows}));
    }
    if rows.is_empty() {
        return world
            .out
            .line("No models configured. A local server (Ollama, llama.cpp, LM Studio) is found by itself.");
    }
    let cells = |row: &Value| {
        let window = row.get("contextWindow").and_then(Value::as_u64).map(|tokens| tokens.to_string());
        vec![
            rpc::text(row, "key").to_string(),
            rpc::text(row, "name").to_string(),
            rpc::text(row, "input").to_string(),
            window.unwrap_or_default(),
            rpc::joined(row, "tags"),
        ]
    };
    let table: Vec<Vec<String>> = rows.iter().map(cells).collect();
    world.out.line(&grid::draw(&["Model", "Name", "Input", "Context", "Tags"], &table, world.out.width()))
}

/// `models set`
///
/// # Errors
/// A reference without provider, a config file that cannot be read or written.
pub fn set(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let written = parsed.arg(0).unwrap_or_default().trim();
    if written.split_once('/').is_none_or(|(provider, model)| provider.is_empty() || model.is_empty()) {
        return Err(CliError::usage(format!("not a model: \"{written}\". Use provider/model, such as ollama/qwen3.")));
    }
    let path = &world.snapshot.path;
    let after =
        roster::set_model(&world.snapshot, &world.env, written).map_err(|error| change::refused(world, error))?;
    change::save(world, &after)?;
    let told = change::tell(world, parsed);
    if world.json {
        return world.out.json(&json!({"ok": true, "path": path.display().to_string(), "model": written}));
    }
    world.out.line(&format!("Model set to {written} in {}.", world.short(path)))?;
    world.out.line(&told)
}

/// `models scan`
///
/// # Errors
/// As every call; with `--set-default`, nothing found or a config file that cannot be changed.
pub fn scan(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let answer = rpc::call(world, parsed, "models.list", &json!({"view": "all", "refresh": true}))?;
    let configured: Vec<&str> = world.config().providers.iter().map(|provider| provider.id.as_str()).collect();
    let found = rpc::list(&answer, "models").iter();
    let found: Vec<&Value> = found.filter(|row| !configured.contains(&rpc::text(row, "provider"))).collect();
    let key = |row: &Value| format!("{}/{}", rpc::text(row, "provider"), rpc::text(row, "id"));
    let first = found.first().map(|row| key(row));
    let told = match &first {
        Some(first) if parsed.has("set-default") => Some(choose(world, parsed, first)?),
        _ => None,
    };
    if world.json {
        return world.out.json(&json!({"models": found, "setDefault": told.is_some()}));
    }
    let Some(first) = first else {
        return world
            .out
            .line("No model server answers on this machine (Ollama 11434, llama.cpp 8080, LM Studio 1234).");
    };
    found.iter().try_for_each(|row| {
        let window =
            row.get("contextWindow").and_then(Value::as_u64).map(|tokens| format!(", {tokens} tokens of context"));
        world.out.line(&format!("{}{}", key(row), window.unwrap_or_default()))
    })?;
    match told {
        Some(told) => world.out.line(&format!("Model set to {first}. {told}")),
        None => world.out.line(&format!("Use it with: {}", world.command(&format!("models set {first}")))),
    }
}

/// Writes the choice and tells a running gateway; a line for the person.
fn choose(world: &World, parsed: &Parsed, model: &str) -> Result<String, CliError> {
    let after = roster::set_model(&world.snapshot, &world.env, model).map_err(|error| change::refused(world, error))?;
    change::save(world, &after)?;
    Ok(change::tell(world, parsed))
}

fn row(provider: &Provider, model: &Model, primary: &str, fallbacks: &[String]) -> Value {
    let key = format!("{}/{}", provider.id, model.id);
    let mut tags = Vec::new();
    if key == primary {
        tags.push("default".to_string());
    }
    let place = fallbacks.iter().position(|fallback| *fallback == key);
    tags.extend(place.map(|at| format!("fallback#{}", at + 1)));
    let input = if model.input.is_empty() { "text".to_string() } else { model.input.join("+") };
    json!({
        "key": key,
        "name": model.name,
        "input": input,
        "contextWindow": model.context_window,
        "local": provider.base_url.as_deref().is_some_and(is_loopback_url),
        "tags": tags,
        "missing": false,
    })
}
