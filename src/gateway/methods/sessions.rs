//! `sessions.list`.

use serde_json::{Value, json};

use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Handled};
use crate::gateway::sessions::SessionRow;
use crate::gateway::state::State;

/// Rows one answer holds when the caller names no limit.
const LIMIT: usize = 200;

/// Sessions, newest first, filtered as asked.
pub fn list(state: &State, request: &Request<'_>) -> Handled {
    let rows: Vec<SessionRow<'_>> = state.sessions.rows().into_iter().filter(|row| wanted(row, request)).collect();
    let limit = request.count("limit").and_then(|n| usize::try_from(n).ok()).unwrap_or(LIMIT).max(1);
    let offset = request.count("offset").and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let page: Vec<Value> = rows.iter().skip(offset).take(limit).map(|row| row.to_wire()).collect();
    let agent = request.params.get("agentId").and_then(Value::as_str).map(str::to_string);
    let agent = agent.unwrap_or_else(|| state.config.default_agent_id().to_string());
    let shown = offset.saturating_add(page.len());
    Ok(Answer::Json(json!({
        "ts": request.now.wall_ms,
        "path": state.sessions_file(&agent),
        "count": page.len(),
        "totalCount": rows.len(),
        "limitApplied": limit,
        "hasMore": shown < rows.len(),
        "nextOffset": if shown < rows.len() { json!(shown) } else { Value::Null },
        "defaults": state.session_defaults(),
        "sessions": page,
    })))
}

fn wanted(row: &SessionRow<'_>, request: &Request<'_>) -> bool {
    let text = |name: &str| request.params.get(name).and_then(Value::as_str);
    let member = |name: &str| row.entry.text(name);
    let fresh = request
        .count("activeMinutes")
        .is_none_or(|minutes| request.now.wall_ms.saturating_sub(row.updated_ms()) <= minutes.saturating_mul(60_000));
    let kind = match row.kind() {
        "global" => request.flag("includeGlobal") != Some(false),
        "unknown" => request.flag("includeUnknown") != Some(false),
        _ => true,
    };
    fresh
        && kind
        && text("agentId").is_none_or(|agent| agent == row.agent)
        && text("label").is_none_or(|label| member("label").as_deref() == Some(label))
        && text("spawnedBy").is_none_or(|key| member("spawnedBy").as_deref() == Some(key))
        && text("search").is_none_or(|search| row.matches(search))
}
