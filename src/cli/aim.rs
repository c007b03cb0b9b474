//! Which gateway a command talks to and with what (`spec/cli.md` 2.1, 2.2).
//! Decides from flags, environment and config; opens nothing.

use serde_json::{Value, json};

use super::amount;
use super::fail::{CliError, Kind};
use super::parse::Parsed;
use super::world::World;

/// A target with its credentials.
#[derive(Clone)]
pub struct Aim {
    /// `ws://host:port`
    pub url: String,
    /// Where the address came from.
    pub source: String,
    /// `Bind: …`, for local targets.
    pub bind: Option<String>,
    /// The config file, for messages.
    pub config: String,
    /// Shared token.
    pub token: Option<String>,
    /// Shared password.
    pub password: Option<String>,
}

impl Aim {
    /// The lines at the end of every connection error (`spec/cli.md` 2.1).
    pub fn block(&self) -> Vec<String> {
        let mut lines = vec![
            format!("Gateway target: {}", self.url),
            format!("Source: {}", self.source),
            format!("Config: {}", self.config),
        ];
        lines.extend(self.bind.as_ref().map(|bind| format!("Bind: {bind}")));
        lines
    }

    /// The same as JSON.
    pub fn to_json(&self) -> Value {
        let mut target = json!({ "url": self.url, "urlSource": self.source });
        if let (Some(bind), Value::Object(members)) = (&self.bind, &mut target) {
            members.insert("bindDetail".into(), format!("Bind: {bind}").into());
        }
        target
    }
}
