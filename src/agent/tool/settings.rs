//! The settings under `tools` that are not policy, with their defaults. Pure; wrong types read as nothing said.

use std::time::Duration;

use serde_json::Value;

use super::approval::judge::{AskMode, Origin, Rules, Security};
use super::approval::safe;
use crate::limits;

/// Whether file tools may leave the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confinement {
    /// They may not.
    Workspace,
    /// They may, as the operator could.
    None,
}

/// What a turn's tools are set to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    /// `fs.workspaceOnly`; unset it holds for turns that a channel started.
    pub(super) confinement: Confinement,
    /// `exec.applyPatch.enabled`.
    pub(super) apply_patch: bool,
    /// `exec.security`, `.ask`, `.askFallback`.
    pub(super) exec: Rules,
    /// `exec.safeBins`.
    pub(super) safe_bins: Vec<String>,
    /// `exec.pathPrepend`.
    pub(super) path_prepend: Vec<String>,
    /// `exec.passEnv`: variables that commands get although they look like secrets.
    pub(super) pass_env: Vec<String>,
    /// `exec.timeoutSec`.
    pub(super) timeout: Duration,
    /// `exec.backgroundMs`.
    pub(super) yield_after: Duration,
    /// `exec.notifyOnExit`.
    pub(super) notify_on_exit: bool,
    /// `web.fetch.enabled`.
    pub(super) web_fetch: bool,
    /// `web.fetch.maxChars`.
    pub(super) web_chars: usize,
}

impl Settings {
    /// Reads `tools`, and over it the agent's own `tools`.
    pub(super) fn read(config: &Value, agent_id: &str, origin: Origin) -> Settings {
        let global = config.get("tools");
        let own = super::policy::agent_tools(config, agent_id);
        let at = Sources([own, global]);
        let confined = at.flag("/fs/workspaceOnly").unwrap_or(origin == Origin::Channel);
        let seconds = |path| at.count(path).filter(|n| *n > 0).map(Duration::from_secs);
        Settings {
            confinement: if confined { Confinement::Workspace } else { Confinement::None },
            apply_patch: at.flag("/exec/applyPatch/enabled").unwrap_or(true),
            exec: at.rules(),
            safe_bins: at.texts("/exec/safeBins").unwrap_or_else(|| safe::names().map(String::from).collect()),
            path_prepend: at.texts("/exec/pathPrepend").unwrap_or_default(),
            pass_env: at.texts("/exec/passEnv").unwrap_or_default(),
            timeout: seconds("/exec/timeoutSec").unwrap_or(limits::EXEC_TIMEOUT).min(limits::EXEC_TIMEOUT_MAX),
            yield_after: at.count("/exec/backgroundMs").map_or(limits::EXEC_YIELD, Duration::from_millis),
            notify_on_exit: at.flag("/exec/notifyOnExit").unwrap_or(true),
            web_fetch: at.flag("/web/fetch/enabled").unwrap_or(true),
            web_chars: at
                .count("/web/fetch/maxChars")
                .and_then(|count| usize::try_from(count).ok())
                .unwrap_or(limits::WEB_CHARS)
                .clamp(1, limits::WEB_CHARS_MAX),
        }
    }
}

/// The agent's own section, then everybody's.
struct Sources<'a>([Option<&'a Value>; 2]);

impl<'a> Sources<'a> {
    fn find<T>(&self, path: &str, read: impl Fn(&'a Value) -> Option<T>) -> Option<T> {
        self.0.into_iter().flatten().filter_map(|section| section.pointer(path)).find_map(read)
    }

    fn flag(&self, path: &str) -> Option<bool> {
        self.find(path, Value::as_bool)
    }

    fn count(&self, path: &str) -> Option<u64> {
        self.find(path, Value::as_u64)
    }

    fn texts(&self, path: &str) -> Option<Vec<String>> {
        let read = |value: &Value| {
            let items = value.as_array()?.iter().filter_map(Value::as_str);
            Some(items.take(limits::POLICY_NAMES).map(|text| text.trim().to_string()).collect())
        };
        self.find(path, read)
    }

    /// Each section can only make the other stricter; an unknown word is the strictest.
    fn rules(&self) -> Rules {
        let words = |path: &str| -> Vec<&'a str> {
            let found = self.0.into_iter().flatten().filter_map(|section| section.pointer(path)?.as_str());
            found.filter(|word| !word.trim().is_empty()).collect()
        };
        let strict = |path: &str| {
            let words = words(path);
            words.into_iter().map(|word| Security::parse(word).unwrap_or(Security::Deny)).min()
        };
        let ask = words("/exec/ask").into_iter().map(|word| AskMode::parse(word).unwrap_or(AskMode::Always)).max();
        Rules { security: strict("/exec/security"), ask, ask_fallback: strict("/exec/askFallback") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_depend_on_who_started_the_turn() {
        let read = |origin| Settings::read(&json!({}), "main", origin);
        assert_eq!(read(Origin::Channel).confinement, Confinement::Workspace);
        assert_eq!(read(Origin::Operator).confinement, Confinement::None);
        assert_eq!(read(Origin::Operator).timeout, Duration::from_secs(1800));
        assert!(read(Origin::Operator).safe_bins.contains(&"jq".to_string()));
    }

    #[test]
    fn an_agents_own_settings_come_first_but_never_loosen_exec() {
        let config = json!({
            "tools": {"exec": {"security": "allowlist", "ask": "off", "timeoutSec": 5, "safeBins": []}, "fs": {"workspaceOnly": true}},
            "agents": {"list": [{"id": "main", "tools": {"exec": {"security": "full", "ask": "nonsense", "timeoutSec": 0}, "fs": {"workspaceOnly": false}}}]},
        });
        let settings = Settings::read(&config, "main", Origin::Channel);
        assert_eq!((settings.exec.security, settings.exec.ask), (Some(Security::Allowlist), Some(AskMode::Always)));
        assert_eq!((settings.timeout, settings.confinement), (limits::EXEC_TIMEOUT, Confinement::None));
        assert!(settings.safe_bins.is_empty());
    }

    #[test]
    fn numbers_are_bounded_and_wrong_types_are_nothing() {
        let config = json!({"tools": {"exec": {"timeoutSec": u64::MAX, "backgroundMs": "x"}, "web": {"fetch": {"maxChars": 0}}}});
        let settings = Settings::read(&config, "main", Origin::Operator);
        assert_eq!((settings.timeout, settings.yield_after), (limits::EXEC_TIMEOUT_MAX, limits::EXEC_YIELD));
        assert_eq!(settings.web_chars, 1);
    }
}
