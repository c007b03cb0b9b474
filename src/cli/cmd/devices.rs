//! `devices list|approve|reject|rotate|revoke|remove|rename` (`spec/cli.md` 14).

use serde_json::Value;

use crate::cli::amount;
use crate::cli::fail::CliError;
use crate::cli::grid;
use crate::cli::out::Style;
use crate::cli::parse::Parsed;
use crate::cli::rpc::{self, joined, list as items, text};
use crate::cli::world::World;

/// `devices list`
///
/// # Errors
/// As every call.
pub fn list(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let payload = rpc::call(world, parsed, "device.pair.list", &json!({}))?;
    if world.json {
        return world.out.json(&payload);
    }
    let (pending, paired) = (items(&payload, "pending"), items(&payload, "paired"));
    if pending.is_empty() && paired.is_empty() {
        return world.out.line("No device pairing entries.");
    }
    if !pending.is_empty() {
        world.out.styled(&[(Style::Strong, &format!("Pending ({})", pending.len()))])?;
        let rows: Vec<Vec<String>> = pending.iter().map(|row| pending_row(row, world.now_ms)).collect();
        world.out.line(&grid::draw(&["Request", "Device", "Role", "IP", "Age", "Flags"], &rows, world.out.width()))?;
        world.out.note(Style::Dim, &format!("Approve with: {}", world.command("devices approve <requestId>")));
    }
    if !paired.is_empty() {
        world.out.styled(&[(Style::Strong, &format!("Paired ({})", paired.len()))])?;
        let rows: Vec<Vec<String>> = paired.iter().map(paired_row).collect();
        world.out.line(&grid::draw(&["Device", "Roles", "Scopes", "Tokens", "IP"], &rows, world.out.width()))?;
    }
    Ok(())
}

fn name(row: &Value) -> String {
    match text(row, "displayName") {
        "" => text(row, "deviceId").to_string(),
        name => format!("{name}\n{}", text(row, "deviceId")),
    }
}

fn pending_row(row: &Value, now_ms: u64) -> Vec<String> {
    let flag =
        |name: &str, word: &str| (row.get(name).and_then(Value::as_bool) == Some(true)).then(|| word.to_string());
    let flags: Vec<String> = [flag("isRepair", "repair"), flag("silent", "local")].into_iter().flatten().collect();
    let role = match joined(row, "roles") {
        empty if empty.is_empty() => text(row, "role").to_string(),
        roles => roles,
    };
    let age = amount::since(row.get("ts"), now_ms).unwrap_or_default();
    vec![text(row, "requestId").to_string(), name(row), role, text(row, "remoteIp").to_string(), age, flags.join(", ")]
}

fn paired_row(row: &Value) -> Vec<String> {
    let tokens: Vec<String> = items(row, "tokens").iter().map(token).collect();
    vec![name(row), joined(row, "roles"), joined(row, "scopes"), tokens.join(", "), text(row, "remoteIp").to_string()]
}

fn token(token: &Value) -> String {
    let revoked = token.get("revokedAtMs").is_some_and(|at| !at.is_null());
    let role = text(token, "role");
    if revoked { format!("{role} (revoked)") } else { role.to_string() }
}

/// `devices approve [requestId] [--latest]`
///
/// # Errors
/// Nothing to approve, or the call.
pub fn approve(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let mut line = rpc::Line::open(world, parsed, &["device.pair.approve", "device.pair.list"])?;
    let request = match parsed.arg(0) {
        Some(request) if !parsed.has("latest") => request.to_string(),
        Some(_) => return Err(CliError::usage("Use either a request id or --latest, not both.")),
        None => latest(world, parsed, &line.call("device.pair.list", &json!({}))?)?,
    };
    let payload = line.call("device.pair.approve", &json!({ "requestId": request })).map_err(|error| {
        if error.message.contains("unknown requestId") {
            error.hint(format!("Run {} and retry with the current request id.", world.command("devices list")))
        } else {
            error
        }
    })?;
    decided(world, "Approved", &payload)
}

/// The newest pending request; without `--latest` only if it is named by the person.
fn latest(world: &World, parsed: &Parsed, payload: &Value) -> Result<String, CliError> {
    let newest = items(payload, "pending").iter().max_by_key(|row| row.get("ts").and_then(Value::as_u64).unwrap_or(0));
    let newest = newest.ok_or_else(|| CliError::other("No pending device pairing requests to approve"))?;
    let id = text(newest, "requestId").to_string();
    if parsed.has("latest") {
        return Ok(id);
    }
    let who = match text(newest, "displayName") {
        "" => text(newest, "deviceId"),
        name => name,
    };
    Err(CliError::usage(format!("The newest request is {id} from {who}."))
        .hint(format!("Approve it with: {}", world.command(&format!("devices approve {id}")))))
}

fn decided(world: &World, word: &str, payload: &Value) -> Result<(), CliError> {
    if world.json {
        return world.out.json(payload);
    }
    let device = payload.pointer("/device/deviceId").or_else(|| payload.get("deviceId")).and_then(Value::as_str);
    world.out.styled(&[(Style::Good, word), (Style::Plain, " "), (Style::Plain, device.unwrap_or("device"))])
}

/// `devices reject <requestId>`
///
/// # Errors
/// As every call.
pub fn reject(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let params = json!({ "requestId": parsed.arg(0).unwrap_or_default() });
    decided(world, "Rejected", &rpc::call(world, parsed, "device.pair.reject", &params)?)
}

fn token_params(parsed: &Parsed) -> Result<Value, CliError> {
    let part = |flag: &str| {
        let value = parsed.text(flag).map(str::trim).filter(|value| !value.is_empty());
        value.map(str::to_string).ok_or_else(|| CliError::usage(format!("--{flag} must not be empty")))
    };
    Ok(json!({ "deviceId": part("device")?, "role": part("role")? }))
}

/// `devices rotate`: JSON always; it carries the new token.
///
/// # Errors
/// As every call.
pub fn rotate(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let mut params = token_params(parsed)?;
    let scopes = parsed.all("scope");
    if let (false, Value::Object(members)) = (scopes.is_empty(), &mut params) {
        members.insert("scopes".into(), scopes.into());
    }
    world.out.json(&rpc::call(world, parsed, "device.token.rotate", &params)?)
}

/// `devices revoke`: JSON always.
///
/// # Errors
/// As every call.
pub fn revoke(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    world.out.json(&rpc::call(world, parsed, "device.token.revoke", &token_params(parsed)?)?)
}

/// `devices remove <deviceId>`
///
/// # Errors
/// As every call.
pub fn remove(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let params = json!({ "deviceId": parsed.arg(0).unwrap_or_default() });
    decided(world, "Removed", &rpc::call(world, parsed, "device.pair.remove", &params)?)
}

/// `devices rename`
///
/// # Errors
/// As every call.
pub fn rename(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let (device, label) = (parsed.text("device").unwrap_or_default(), parsed.text("name").unwrap_or_default().trim());
    if label.is_empty() {
        return Err(CliError::usage("--name must not be empty"));
    }
    let params = json!({ "deviceId": device, "label": label });
    let payload = rpc::call(world, parsed, "device.pair.rename", &params)?;
    if world.json {
        return world.out.json(&payload);
    }
    world.out.line(&format!("device rename ok: {device} -> {label}"))
}
