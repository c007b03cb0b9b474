//! One entry of the session index (agent.md 9): which transcript a key has, and the switches of the conversation.
//! Knows the members by name and keeps all others; what they do is decided elsewhere.

use std::borrow::Cow;

use super::object::{Field, Object};

/// Names of members this program meets, sorted: they cost no memory per entry.
const NAMES: &[&str] = &[
    "abortedLastRun",
    "authProfileOverride",
    "channel",
    "chatType",
    "cliSessionIds",
    "compactionCount",
    "contextTokens",
    "deliveryContext",
    "displayName",
    "elevatedLevel",
    "execAsk",
    "execHost",
    "execNode",
    "execSecurity",
    "groupActivation",
    "groupChannel",
    "groupId",
    "inputTokens",
    "kept",
    "label",
    "lastAccountId",
    "lastChannel",
    "lastThreadId",
    "lastTo",
    "memoryFlushAt",
    "model",
    "modelOverride",
    "modelProvider",
    "origin",
    "outputTokens",
    "providerOverride",
    "queueCap",
    "queueDebounceMs",
    "queueDrop",
    "queueMode",
    "reasoningLevel",
    "responseUsage",
    "sendPolicy",
    "sessionFile",
    "sessionId",
    "skillsSnapshot",
    "space",
    "spawnedBy",
    "subject",
    "systemPromptReport",
    "systemSent",
    "thinkingLevel",
    "totalTokens",
    "updatedAt",
    "verboseLevel",
];

/// A name, without a copy of its own when it is a known one.
pub(super) fn name(text: &str) -> Cow<'static, str> {
    match NAMES.binary_search(&text).ok().and_then(|at| NAMES.get(at)) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(text.to_string()),
    }
}

/// An entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    fields: Object,
}

impl From<Object> for Entry {
    fn from(fields: Object) -> Entry {
        Entry { fields }
    }
}

impl Entry {
    /// A new conversation.
    pub fn new(session_id: &str, now_ms: u64) -> Entry {
        let mut fields = Object::new();
        fields.set("sessionId", session_id);
        fields.set("updatedAt", now_ms);
        Entry { fields }
    }

    /// Its members.
    pub fn fields(&self) -> &Object {
        &self.fields
    }

    /// Its members, to change.
    pub fn fields_mut(&mut self) -> &mut Object {
        &mut self.fields
    }

    /// Which transcript it has now; none for an entry that only holds switches.
    pub fn session_id(&self) -> Option<Cow<'_, str>> {
        self.text("sessionId")
    }

    /// Last change, milliseconds since the epoch.
    pub fn updated_ms(&self) -> u64 {
        self.number("updatedAt").unwrap_or(0)
    }

    /// Marks a change; time never goes backwards.
    pub fn touch(&mut self, now_ms: u64) {
        let later = now_ms.max(self.updated_ms());
        self.fields.set("updatedAt", later);
    }

    /// The text of a member, blank ones excluded.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.fields.text(name).filter(|text| !text.trim().is_empty())
    }

    /// The number of a member.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.fields.number(name)
    }

    /// The flag of a member.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.fields.flag(name)
    }

    /// The object of a member.
    pub fn object(&self, name: &str) -> Option<Object> {
        self.fields.object(name)
    }

    /// Puts a member in place.
    pub fn set(&mut self, name: &str, field: impl Into<Field>) {
        self.fields.set(name, field);
    }

    /// Puts a member in place or, with nothing, takes it away.
    pub fn put(&mut self, name: &str, field: Option<impl Into<Field>>) {
        match field {
            Some(field) => self.fields.set(name, field),
            None => drop(self.fields.remove(name)),
        }
    }

    /// Takes a member away.
    pub fn clear(&mut self, name: &str) {
        self.fields.remove(name);
    }

    /// Its JSON without white space, members in their order.
    pub fn print(&self) -> String {
        self.fields.print()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_are_sorted_and_cost_nothing() {
        assert!(NAMES.is_sorted());
        assert!(matches!(name("updatedAt"), Cow::Borrowed(_)) && matches!(name("novel"), Cow::Owned(_)));
    }

    #[test]
    fn time_never_goes_backwards() {
        let mut entry = Entry::new("s", 100);
        entry.touch(50);
        assert_eq!(entry.updated_ms(), 100);
        entry.touch(150);
        assert_eq!(entry.print(), r#"{"sessionId":"s","updatedAt":150}"#);
    }

    #[test]
    fn blank_texts_count_as_absent() {
        let entry = Entry::from(Object::parse(r#"{"label":" ","model":"m","origin":{"label":"O"}}"#).unwrap());
        assert_eq!((entry.text("label"), entry.text("model").as_deref()), (None, Some("m")));
        assert_eq!(entry.object("origin").unwrap().text("label").unwrap(), "O");
    }
}
