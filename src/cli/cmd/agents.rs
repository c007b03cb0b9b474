//! `agents list|add|delete|set-identity`: the agents of the configuration (`spec/cli.md` 24).

use serde_json::Value;

use crate::cli::change;
use crate::cli::fail::CliError;
use crate::cli::grid;
use crate::cli::parse::Parsed;
use crate::cli::rpc;
use crate::cli::world::World;
use crate::config::roster::{self, Wish};
use crate::config::sections::ResolvedAgent;
use crate::store::{atomic, trash};
use crate::sys::order;

/// `agents list`
///
/// # Errors
/// A closed standard output.
pub fn list(world: &World) -> Result<(), CliError> {
    let rows: Vec<Value> = world.config().agents.resolved().iter().map(|agent| row(world, agent)).collect();
    if world.json {
        return world.out.json(&rows.into());
    }
    let cells = |row: &Value| {
        let mark = if row.get("isDefault").and_then(Value::as_bool) == Some(true) { " (default)" } else { "" };
        vec![
            format!("{}{mark}", rpc::text(row, "id")),
            rpc::text(row, "name").to_string(),
            rpc::text(row, "model").to_string(),
            rpc::text(row, "workspace").to_string(),
        ]
    };
    let table: Vec<Vec<String>> = rows.iter().map(cells).collect();
    world.out.line(&grid::draw(&["Agent", "Name", "Model", "Workspace"], &table, world.out.width()))
}

fn row(world: &World, agent: &ResolvedAgent) -> Value {
    let workspace = world.config().workspace(&world.paths, &agent.id);
    let mut row = json!({
        "id": agent.id,
        "workspace": workspace.display().to_string(),
        "agentDir": agent_dir(world, &agent.id),
        "bindings": bindings(world, &agent.id),
        "isDefault": agent.is_default,
    });
    if let Some(members) = row.as_object_mut() {
        members.extend(agent.name.clone().map(|name| ("name".to_string(), name.into())));
        members.extend(agent.model.clone().map(|model| ("model".to_string(), model.primary.into())));
    }
    row
}

fn agent_dir(world: &World, agent: &str) -> String {
    world.paths.agents_dir.join(agent).join("agent").display().to_string()
}

fn bindings(world: &World, agent: &str) -> usize {
    let list = rpc::list(&world.config().raw, "bindings");
    list.iter().filter(|binding| rpc::text(binding, "agentId").trim().eq_ignore_ascii_case(agent)).count()
}

/// `agents add`
///
/// # Errors
/// A name that will not do, a config file that cannot be changed, or the call.
pub fn add(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let name = parsed.arg(0).unwrap_or_default().trim();
    let wish = Wish {
        name: Some(name.to_string()),
        workspace: parsed.text("workspace").map(|path| absolute(world, path)),
        model: parsed.text("model").map(|model| Some(model.to_string())),
        ..Wish::default()
    };
    let mut params = order::object([("name".to_string(), name.into())]);
    params.extend(wish.workspace.clone().map(|path| ("workspace".to_string(), path.into())));
    params.extend(wish.model.clone().flatten().map(|model| ("model".to_string(), model.into())));
    let (answer, told) = match change::by_gateway(world, parsed, "agents.create", &params.into())? {
        Ok(answer) => (answer, "The gateway uses it from now on."),
        Err(_turn) => (create(world, &wish)?, "No gateway is running; the next start uses it."),
    };
    let agent = rpc::text(&answer, "agentId");
    if world.json {
        let mut out = answer.clone();
        if let Some(members) = out.as_object_mut() {
            members.remove("ok");
            members.insert("agentDir".to_string(), agent_dir(world, agent).into());
        }
        return world.out.json(&out);
    }
    world.out.line(&format!("Agent {agent} added. Workspace: {}", rpc::text(&answer, "workspace")))?;
    world.out.line(told)
}

/// A folder that the gateway will find, wherever it was started; `~` is its own home.
fn absolute(world: &World, path: &str) -> String {
    if path.starts_with('~') {
        return path.to_string();
    }
    let here = std::env::current_dir().unwrap_or_default();
    world.paths.expand(path, &here).display().to_string()
}

fn create(world: &World, wish: &Wish) -> Result<Value, CliError> {
    let changed = roster::create(&world.snapshot, &world.paths, &world.env, wish)
        .map_err(|error| change::refused(world, error))?;
    let folder = changed.snapshot.config.workspace(&world.paths, &changed.agent);
    atomic::create_dir(&folder)
        .map_err(|error| CliError::other(format!("cannot make the workspace {}: {error}", folder.display())))?;
    change::save(world, &changed.snapshot)?;
    let mut answer = json!({"agentId": changed.agent, "name": wish.name, "workspace": folder.display().to_string()});
    if let (Some(members), Some(Some(model))) = (answer.as_object_mut(), &wish.model) {
        members.insert("model".to_string(), model.as_str().into());
    }
    Ok(answer)
}

/// `agents delete`
///
/// # Errors
/// No `--force`, an agent that is not there or cannot go, or the call.
pub fn delete(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let agent = parsed.arg(0).unwrap_or_default().trim().to_lowercase();
    if !parsed.has("force") {
        let text = format!("Agent \"{agent}\" with its sessions and its workspace would go to the trash.");
        return Err(CliError::other(text).hint("Add --force to do it."));
    }
    let mut out = json!({
        "agentId": agent,
        "workspace": world.config().workspace(&world.paths, &agent).display().to_string(),
        "agentDir": agent_dir(world, &agent),
        "sessionsDir": world.paths.agents_dir.join(&agent).join("sessions").display().to_string(),
    });
    let answer = match change::by_gateway(world, parsed, "agents.delete", &json!({"agentId": agent}))? {
        Ok(answer) => answer,
        Err(_turn) => erase(world, &agent)?,
    };
    let told = ["removedBindings", "removed", "failed"].into_iter();
    let told = told.filter_map(|name| Some((name.to_string(), answer.get(name)?.clone())));
    out.as_object_mut().into_iter().for_each(|members| members.extend(told.clone()));
    if world.json {
        return world.out.json(&out);
    }
    world.out.line(&format!("Agent {agent} deleted."))?;
    for row in rpc::list(&answer, "removed").iter().filter(|row| rpc::text(row, "method") == "trash") {
        world.out.line(&format!("In the trash: {}", rpc::text(row, "path")))?;
    }
    for row in rpc::list(&answer, "failed") {
        world.out.line(&format!("Still there: {} ({})", rpc::text(row, "path"), rpc::text(row, "reason")))?;
    }
    Ok(())
}

/// Without a gateway: the entry goes, and what nobody else can be using. The workspace is a person's folder; it stays.
fn erase(world: &World, agent: &str) -> Result<Value, CliError> {
    let changed = roster::delete(&world.snapshot, &world.env, agent).map_err(|error| change::refused(world, error))?;
    change::save(world, &changed.snapshot)?;
    let own = world.paths.agents_dir.join(&changed.agent);
    let moved = trash::put(&world.paths.home, &own, world.now_ms);
    let path = own.display().to_string();
    let workspace = world.config().workspace(&world.paths, &changed.agent).display().to_string();
    let kept = json!({"path": workspace, "reason": "without a running gateway workspaces stay"});
    Ok(match moved {
        Ok(place) => {
            let method = if place.is_some() { "trash" } else { "missing" };
            json!({"removedBindings": changed.removed_bindings, "removed": [{"path": path, "method": method}], "failed": [kept]})
        }
        Err(error) => {
            let failed = json!({"path": path, "reason": error.to_string()});
            json!({"removedBindings": changed.removed_bindings, "removed": [], "failed": [failed, kept]})
        }
    })
}

/// `agents set-identity`
///
/// # Errors
/// Nothing to change, an agent that is not there, a config file that cannot be changed.
pub fn set_identity(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let agent = parsed.text("agent").unwrap_or(world.config().default_agent_id()).to_string();
    let text = |name: &str| parsed.text(name).map(str::to_string);
    let wish = Wish {
        shown_name: text("name"),
        emoji: text("emoji"),
        avatar: text("avatar"),
        theme: text("theme"),
        ..Wish::default()
    };
    if wish == Wish::default() {
        return Err(CliError::usage("Nothing to change: give --name, --emoji, --avatar or --theme."));
    }
    let changed = roster::update(&world.snapshot, &world.paths, &world.env, &agent, &wish)
        .map_err(|error| change::refused(world, error))?;
    change::save(world, &changed.snapshot)?;
    let told = change::tell(world, parsed);
    if world.json {
        let after = changed.snapshot.config.agents.find(&changed.agent).and_then(|agent| agent.identity);
        let after = after.unwrap_or_default();
        let members = [("name", after.name), ("theme", after.theme), ("emoji", after.emoji), ("avatar", after.avatar)];
        let said = members.into_iter().filter_map(|(name, text)| Some((name.to_string(), text?.into())));
        let identity = order::object(said);
        return world.out.json(&json!({"agentId": changed.agent, "identity": identity}));
    }
    world.out.line(&format!("Identity of {} changed.", changed.agent))?;
    world.out.line(&told)
}
