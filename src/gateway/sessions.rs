//! Session rows as the agents' indexes on disk list them (`agents/<id>/sessions/sessions.json`).
//! Reads and lists; runs and transcripts are not its business.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::limits;
use crate::store::atomic;

/// One session, as small as listings need it; the rest of the entry is kept for the wire row.
#[derive(Debug, Clone)]
pub struct SessionRow {
    /// Agent it belongs to.
    pub agent: String,
    /// Session key.
    pub key: String,
    /// Last change, milliseconds since the epoch.
    pub updated_ms: u64,
    /// The members of the stored entry that are wire members too.
    pub entry: Map<String, Value>,
}

/// Members of a stored entry that go to clients unchanged (protocol.md 8.5).
const WIRE_MEMBERS: &[&str] = &[
    "label",
    "displayName",
    "channel",
    "chatType",
    "origin",
    "sessionId",
    "systemSent",
    "abortedLastRun",
    "thinkingLevel",
    "verboseLevel",
    "reasoningLevel",
    "elevatedLevel",
    "sendPolicy",
    "inputTokens",
    "outputTokens",
    "totalTokens",
    "modelProvider",
    "model",
    "contextTokens",
    "deliveryContext",
    "lastChannel",
    "lastTo",
    "lastAccountId",
    "spawnedBy",
    "groupActivation",
    "responseUsage",
];

/// Reads the indexes of these agents; a missing or unreadable one counts as empty and is logged.
pub fn read_all(stores: &[(String, PathBuf)]) -> Vec<SessionRow> {
    let mut rows: Vec<SessionRow> = stores.iter().flat_map(|(agent, path)| read(agent, path)).collect();
    rows.sort_by(|a, b| b.updated_ms.cmp(&a.updated_ms).then_with(|| a.key.cmp(&b.key)));
    rows
}

fn read(agent: &str, path: &Path) -> Vec<SessionRow> {
    let bytes = match atomic::read_bounded(path, limits::STATE_FILE_BYTES) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Vec::new(),
        Err(error) => {
            log::warn!(target: "store", "cannot read sessions file={} error={error}", path.display());
            return Vec::new();
        }
    };
    match serde_json::from_slice::<Map<String, Value>>(&bytes) {
        Ok(entries) => entries.into_iter().filter_map(|(key, entry)| row(agent, key, entry)).collect(),
        Err(error) => {
            log::warn!(target: "store", "cannot read sessions file={} error={error}", path.display());
            Vec::new()
        }
    }
}

fn row(agent: &str, key: String, entry: Value) -> Option<SessionRow> {
    let Value::Object(mut entry) = entry else { return None };
    let updated_ms = entry.get("updatedAt").and_then(Value::as_u64).unwrap_or(0);
    entry.retain(|name, value| WIRE_MEMBERS.contains(&name.as_str()) && !value.is_null());
    Some(SessionRow { agent: agent.to_string(), key, updated_ms, entry })
}

impl SessionRow {
    /// `direct`, `group`, `global` or `unknown`.
    pub fn kind(&self) -> &'static str {
        let group = self.entry.get("chatType").and_then(Value::as_str).is_some_and(|chat| chat != "direct");
        match self.key.as_str() {
            "global" => "global",
            "unknown" => "unknown",
            key if group || key.contains(":group:") || key.contains(":channel:") => "group",
            _ => "direct",
        }
    }

    /// The row of `sessions.list`.
    pub fn to_wire(&self) -> Value {
        let mut row = self.entry.clone();
        row.insert("key".into(), self.key.as_str().into());
        row.insert("kind".into(), self.kind().into());
        row.insert("agentId".into(), self.agent.as_str().into());
        row.insert("updatedAt".into(), self.updated_ms.into());
        for (name, value) in [("archived", false), ("pinned", false), ("unread", false)] {
            row.insert(name.into(), value.into());
        }
        Value::Object(row)
    }

    /// The short row of `health`.
    pub fn to_recent(&self, now_ms: u64) -> Value {
        json!({"key": self.key, "updatedAt": self.updated_ms, "age": now_ms.saturating_sub(self.updated_ms)})
    }

    /// Whether the search text occurs in what a person would look for.
    pub fn matches(&self, search: &str) -> bool {
        let search = search.to_lowercase();
        let member = |name: &str| self.entry.get(name).and_then(Value::as_str).unwrap_or_default().to_lowercase();
        self.key.to_lowercase().contains(&search)
            || ["label", "displayName", "sessionId"].iter().any(|name| member(name).contains(&search))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> SessionRow {
        let entry =
            json!({"updatedAt": 5000, "sessionId": "s-1", "model": "m", "skillsSnapshot": {"x": 1}, "label": null});
        row("main", "agent:main:main".to_string(), entry).unwrap()
    }

    #[test]
    fn keeps_wire_members_only_and_never_null() {
        let wire = example().to_wire();
        assert_eq!(wire["sessionId"], "s-1");
        assert!(wire.get("skillsSnapshot").is_none() && wire.get("label").is_none());
    }

    #[test]
    fn tells_groups_from_direct_chats() {
        let mut session = example();
        assert_eq!(session.kind(), "direct");
        session.key = "agent:main:telegram:group:-100".to_string();
        assert_eq!(session.kind(), "group");
    }

    #[test]
    fn skips_entries_that_are_no_objects() {
        assert!(row("main", "k".to_string(), json!([1])).is_none());
    }
}
