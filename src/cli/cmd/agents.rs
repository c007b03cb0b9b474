//! `agents list`: the agents as the configuration has them (`spec/cli.md` 24).

use serde_json::{Value, json};

use crate::cli::fail::CliError;
use crate::cli::grid;
use crate::cli::rpc;
use crate::cli::world::World;
use crate::config::sections::ResolvedAgent;

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
    world.out.line(&grid::draw(&["Agent", "Name", "Model", "Workspace"], &table, world.out.width))
}

fn row(world: &World, agent: &ResolvedAgent) -> Value {
    let workspace = world.config().workspace(&world.paths, &agent.id);
    let mut row = json!({
        "id": agent.id,
        "workspace": workspace.display().to_string(),
        "agentDir": world.paths.agents_dir.join(&agent.id).join("agent").display().to_string(),
        "bindings": 0,
        "isDefault": agent.is_default,
        "routes": [],
    });
    if let Some(members) = row.as_object_mut() {
        members.extend(agent.name.clone().map(|name| ("name".to_string(), name.into())));
        members.extend(agent.model.clone().map(|model| ("model".to_string(), model.primary.into())));
    }
    row
}
