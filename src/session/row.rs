//! One session as clients see it in lists (protocol.md 8.5). Pure: an entry in, a JSON object out.

use serde_json::{Map, Value};

use crate::store::session::entry::Entry;
use crate::store::session::object::Object;

use super::key::{self, KeyKind};

/// Members of an entry that go to clients unchanged.
const MEMBERS: &[&str] = &[
    "label",
    "channel",
    "subject",
    "groupChannel",
    "space",
    "chatType",
    "origin",
    "sessionId",
    "systemSent",
    "abortedLastRun",
    "thinkingLevel",
    "verboseLevel",
    "reasoningLevel",
    "elevatedLevel",
    "responseUsage",
    "sendPolicy",
    "groupActivation",
    "inputTokens",
    "outputTokens",
    "contextTokens",
    "deliveryContext",
    "lastChannel",
    "lastTo",
    "lastAccountId",
    "spawnedBy",
];

/// What a session without a model of its own uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Provider's id.
    pub provider: Option<String>,
    /// Model's id.
    pub model: Option<String>,
    /// Size of its context in tokens.
    pub context_tokens: Option<u64>,
}

impl Defaults {
    /// As `sessions.list` shows them.
    pub fn to_wire(&self) -> Value {
        json!({"modelProvider": self.provider, "model": self.model, "contextTokens": self.context_tokens})
    }

    /// Provider and model of an entry: its override, else the last used, else these.
    pub fn resolve(&self, entry: Option<&Entry>) -> (Option<String>, Option<String>) {
        let pair = |provider: &str, model: &str| {
            let entry = entry?;
            let model = entry.text(model)?.into_owned();
            Some((entry.text(provider).map(|name| name.into_owned()).or_else(|| self.provider.clone()), Some(model)))
        };
        pair("providerOverride", "modelOverride").unwrap_or_else(|| (self.provider.clone(), self.model.clone()))
    }
}

/// What kind of conversation an entry is: its own word, else what its key says.
pub fn kind(key: &str, entry: &Entry) -> KeyKind {
    let group = entry.text("chatType").is_some_and(|chat| chat == "group" || chat == "channel");
    match key::kind_of(key) {
        KeyKind::Direct if group => KeyKind::Group,
        kind => kind,
    }
}

/// The name to show: the chat's, else the label, else the sender's.
pub fn display_name(entry: &Entry) -> Option<String> {
    let own = entry.text("displayName").or_else(|| entry.text("label")).map(|name| name.into_owned());
    own.or_else(|| entry.object("origin").and_then(|origin: Object| origin.text("label").map(|name| name.into_owned())))
}

/// The row of an entry.
pub fn row(key: &str, entry: &Entry, defaults: &Defaults) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("key".into(), key.into());
    row.insert("kind".into(), kind(key, entry).name().into());
    if let Some(agent) = key::agent_of(key) {
        row.insert("agentId".into(), agent.into());
    }
    row.insert("updatedAt".into(), entry.updated_ms().into());
    for name in MEMBERS {
        let value = entry.fields().get(name).map(|field| field.value()).filter(|value| !value.is_null());
        if let Some(value) = value {
            row.insert((*name).to_string(), value);
        }
    }
    if let Some(name) = display_name(entry) {
        row.insert("displayName".into(), name.into());
    }
    row.insert("totalTokens".into(), entry.number("totalTokens").unwrap_or(0).into());
    let (provider, model) = defaults.resolve(Some(entry));
    for (name, value) in [("modelProvider", provider), ("model", model)] {
        if let Some(value) = value {
            row.insert(name.into(), value.into());
        }
    }
    for (name, value) in [("archived", false), ("pinned", false), ("unread", false)] {
        row.insert(name.into(), value.into());
    }
    row
}

/// The short row of `health`.
pub fn recent(key: &str, entry: &Entry, now_ms: u64) -> Value {
    let at = entry.updated_ms();
    json!({"key": key, "updatedAt": at, "age": now_ms.saturating_sub(at)})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(json: &str) -> Entry {
        Entry::from(Object::parse(json).unwrap())
    }

    fn defaults() -> Defaults {
        Defaults { provider: Some("bench".into()), model: Some("m".into()), context_tokens: Some(200_000) }
    }

    #[test]
    fn rows_hold_wire_members_only_and_never_null() {
        let entry =
            entry(r#"{"sessionId":"s","updatedAt":5,"label":null,"skillsSnapshot":{"x":1},"origin":{"label":"O"}}"#);
        let row = Value::Object(row("agent:main:x", &entry, &defaults()));
        let expected = json!({"key": "agent:main:x", "kind": "direct", "agentId": "main", "updatedAt": 5,
            "sessionId": "s", "displayName": "O", "origin": {"label": "O"}, "totalTokens": 0,
            "modelProvider": "bench", "model": "m", "archived": false, "pinned": false, "unread": false});
        assert_eq!(row, expected);
    }

    #[test]
    fn kinds_follow_the_key_and_the_chat_type() {
        let of = |key: &str, json: &str| kind(key, &entry(json)).name();
        assert_eq!(of("agent:main:telegram:group:-1", "{}"), "group");
        assert_eq!(of("agent:main:x", r#"{"chatType":"channel"}"#), "group");
        assert_eq!(of("agent:main:x", r#"{"chatType":"direct"}"#), "direct");
        assert_eq!((of("global", r#"{"chatType":"group"}"#), of("unknown", "{}")), ("global", "unknown"));
    }

    #[test]
    fn the_model_is_the_override_or_the_default() {
        let resolve = |json: &str| defaults().resolve(Some(&entry(json)));
        assert_eq!(resolve(r#"{"modelOverride":"x","providerOverride":"p"}"#), (Some("p".into()), Some("x".into())));
        assert_eq!(resolve(r#"{"modelOverride":"x"}"#), (Some("bench".into()), Some("x".into())));
        assert_eq!(resolve(r#"{"model":"old","modelProvider":"gone"}"#), (Some("bench".into()), Some("m".into())));
    }
}
