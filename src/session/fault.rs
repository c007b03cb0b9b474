//! Why an operation on sessions is refused, in the original's words (agent.md 11). All of them are `INVALID_REQUEST`.
//! Knows no wire form.

use std::fmt;

use super::key::SessionKey;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The key is blank.
    KeyRequired,
    /// Nothing was named.
    NothingNamed,
    /// More than one thing was named.
    SeveralNamed,
    /// No session has this key or id, as it was written.
    NotFound(String),
    /// No session has this label.
    LabelNotFound(String),
    /// Several sessions fit; their keys.
    Ambiguous(String, Vec<String>),
    /// Another session has this label.
    LabelInUse(String),
    /// A field takes one of these values.
    Choice(&'static str, &'static str),
    /// A field must not be blank.
    Empty(&'static str),
    /// The model cannot be used; why.
    Model(String),
    /// Only sub-agents have a parent.
    NoSubagent,
    /// A parent stays for good: it cannot be changed.
    ParentFixed,
    /// A parent stays for good: it cannot be cleared.
    ParentKept,
    /// The main session cannot be deleted.
    Main(SessionKey),
    /// A label is longer than the limit.
    LabelTooLong(usize),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::KeyRequired => f.write_str("key required"),
            Refusal::NothingNamed => f.write_str("Either key, sessionId, or label is required"),
            Refusal::SeveralNamed => f.write_str("Provide either key, sessionId, or label (not multiple)"),
            Refusal::NotFound(name) => write!(f, "No session found: {name}"),
            Refusal::LabelNotFound(label) => write!(f, "No session found with label: {label}"),
            Refusal::Ambiguous(name, keys) => write!(f, "Multiple sessions found: {name} ({})", keys.join(", ")),
            Refusal::LabelInUse(label) => write!(f, "label already in use: {label}"),
            Refusal::Choice(field, choices) => write!(f, "invalid {field} (use {choices})"),
            Refusal::Empty(field) => write!(f, "invalid {field}: empty"),
            Refusal::Model(why) => f.write_str(why),
            Refusal::NoSubagent => f.write_str("spawnedBy is only supported for subagent:* sessions"),
            Refusal::ParentFixed => f.write_str("spawnedBy cannot be changed once set"),
            Refusal::ParentKept => f.write_str("spawnedBy cannot be cleared once set"),
            Refusal::Main(key) => write!(f, "Cannot delete the main session ({key})."),
            Refusal::LabelTooLong(most) => write!(f, "invalid label: too long (max {most})"),
        }
    }
}

impl std::error::Error for Refusal {}
