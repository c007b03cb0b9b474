//! Changes of the config file by a command: through the gateway that runs on it, or by hand where none does; and how a
//! running gateway hears of the latter.

use serde_json::Value;

use super::fail::{CliError, Kind};
use super::parse::Parsed;
use super::rpc::{self, Line};
use super::world::World;
use crate::config::Snapshot;
use crate::store::atomic;
use crate::store::lock::{Turn, turn};

/// Has a running gateway do it; none when no gateway has the state directory and the command may do it itself, as long
/// as it keeps what it got.
///
/// # Errors
/// As every call.
pub fn by_gateway(
    world: &World,
    parsed: &Parsed,
    method: &str,
    params: &Value,
) -> Result<Result<Value, Turn>, CliError> {
    let own = rpc::aim(world, parsed)?.is_local && parsed.text("port").is_none();
    match turn(&world.paths.lock_file) {
        free @ Turn::Ours(_) if own => Ok(Err(free)),
        _ => rpc::call(world, parsed, method, params).map(Ok),
    }
}

/// A refusal to change the file.
pub fn refused(world: &World, text: impl std::fmt::Display) -> CliError {
    CliError::new(Kind::Config, format!("cannot change {}: {text}", world.short(&world.snapshot.path)))
}

/// Writes the changed file.
///
/// # Errors
/// The disk's.
pub fn save(world: &World, after: &Snapshot) -> Result<(), CliError> {
    let text = after.raw.as_deref().unwrap_or_default();
    atomic::write(&after.path, text.as_bytes(), atomic::PRIVATE).map_err(|error| refused(world, error))
}

/// Tells a running gateway that the file has changed; a line for the person.
pub fn tell(world: &World, parsed: &Parsed) -> String {
    if matches!(turn(&world.paths.lock_file), Turn::Ours(_)) {
        return "No gateway is running; the next start uses it.".to_string();
    }
    let told =
        Line::open(world, parsed, &["secrets.reload"]).and_then(|mut line| line.call("secrets.reload", &json!({})));
    match told {
        Ok(_) => "The running gateway uses it from the next turn on.".to_string(),
        Err(error) => format!("The running gateway was not told ({}); restart it to use this.", error.message),
    }
}
