//! What the configuration says about sessions beyond `config::model`: scopes of direct chats, freshness, retention,
//! reset words, send policy, caps of workspace files. Read from the raw value; anything wrong gets its default.

use std::time::Duration;

use serde_json::Value;

use crate::config::duration;
use crate::limits;

use super::freshness::{Freshness, Rules};
use super::key::{IdentityLinks, SessionKey};
use super::member::{at, number, text};
use super::retention::Keep;
use crate::sys::table::Table;

/// Hour of the daily reset (agent.md 9).
const AT_HOUR: u32 = 4;
/// Idle minutes when a rule says `idle` and no number.
const IDLE_MINUTES: u64 = 60;

/// `session.dmScope`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DmScope {
    /// All in the main session.
    #[default]
    Main,
    /// One per person.
    PerPeer,
    /// One per channel and person.
    PerChannelPeer,
    /// One per channel, account and person.
    PerAccountChannelPeer,
}

/// Whether answers may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendPolicy {
    /// They may.
    Allow,
    /// They may not.
    Deny,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SendRule {
    deny: bool,
    channel: Option<String>,
    chat_type: Option<String>,
    key_prefix: Option<String>,
}

/// The settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How direct chats are cut.
    pub dm_scope: DmScope,
    /// Names of people with several addresses.
    pub identity_links: IdentityLinks,
    /// When a conversation is over.
    pub freshness: Rules,
    /// Further words that start a new conversation.
    pub reset_triggers: Vec<String>,
    /// What is kept of old sessions.
    pub keep: Keep,
    /// What is kept of those that nobody can name again.
    pub keep_calls: Keep,
    /// What is kept of past runs of jobs.
    pub keep_runs: Keep,
    /// Characters of one workspace file in the prompt.
    pub file_chars: usize,
    /// Tokens kept free before a conversation is shortened; none leaves it to the size of the window.
    pub reserve_tokens: Option<u64>,
    /// Name of the time zone in time stamps; the host's when none.
    pub zone: Option<String>,
    send: Vec<SendRule>,
    send_default_deny: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings::read(&Value::Null)
    }
}

impl Settings {
    /// Reads the whole configuration's value.
    pub fn read(config: &Value) -> Settings {
        let session = at(config, "session");
        let defaults = at(at(config, "agents"), "defaults");
        let send = at(session, "sendPolicy");
        let keep = keep(at(session, "maintenance"));
        let keep_calls = keep_calls(&keep);
        let chars = number(defaults, "bootstrapMaxChars").and_then(|n| usize::try_from(n).ok());
        Settings {
            dm_scope: dm_scope(text(session, "dmScope").unwrap_or_default()),
            identity_links: identity_links(at(session, "identityLinks")),
            freshness: freshness(session),
            reset_triggers: texts(at(session, "resetTriggers")),
            keep_runs: keep_runs(at(at(config, "cron"), "sessionRetention"), &keep_calls),
            keep_calls,
            keep,
            file_chars: chars.filter(|n| *n > 0).unwrap_or(limits::WORKSPACE_FILE_CHARS),
            reserve_tokens: ["reserveTokens", "reserveTokensFloor"]
                .iter()
                .filter_map(|name| number(at(defaults, "compaction"), name))
                .max(),
            zone: text(defaults, "userTimezone").map(str::trim).filter(|zone| !zone.is_empty()).map(String::from),
            send: at(send, "rules").as_array().into_iter().flatten().map(send_rule).collect(),
            send_default_deny: text(send, "default") == Some("deny"),
        }
    }

    /// Whether answers of a session may be sent: its own switch, else the first rule that denies, else one that
    /// allows, else the default.
    pub fn send_policy(&self, key: &SessionKey, own: Option<&str>, channel: Option<&str>, chat: &str) -> SendPolicy {
        match own {
            Some("allow") => return SendPolicy::Allow,
            Some("deny") => return SendPolicy::Deny,
            _ => {}
        }
        let fits = |rule: &&SendRule| {
            rule.channel.as_deref().is_none_or(|name| Some(name) == channel)
                && rule.chat_type.as_deref().is_none_or(|name| name == chat)
                && rule
                    .key_prefix
                    .as_deref()
                    .is_none_or(|prefix| key.as_str().starts_with(prefix) || key.rest().starts_with(prefix))
        };
        let mut fitting = self.send.iter().filter(fits).peekable();
        let any = fitting.peek().is_some();
        match (fitting.any(|rule| rule.deny), any) {
            (true, _) => SendPolicy::Deny,
            (false, true) => SendPolicy::Allow,
            (false, false) if self.send_default_deny => SendPolicy::Deny,
            (false, false) => SendPolicy::Allow,
        }
    }
}

fn dm_scope(name: &str) -> DmScope {
    match name {
        "per-peer" => DmScope::PerPeer,
        "per-channel-peer" => DmScope::PerChannelPeer,
        "per-account-channel-peer" => DmScope::PerAccountChannelPeer,
        _ => DmScope::Main,
    }
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    items.map(|text| text.trim().to_lowercase()).filter(|text| !text.is_empty()).collect()
}

fn identity_links(value: &Value) -> IdentityLinks {
    let members = value.as_object().into_iter().flatten();
    IdentityLinks(members.map(|(name, peers)| (name.to_lowercase(), texts(peers))).collect())
}

fn send_rule(value: &Value) -> SendRule {
    let matched = |name: &str| text(at(value, "match"), name).map(str::to_lowercase);
    SendRule {
        deny: text(value, "action") == Some("deny"),
        channel: matched("channel"),
        chat_type: matched("chatType"),
        key_prefix: matched("keyPrefix"),
    }
}

/// `session.idleMinutes` alone is the older way to say `idle` (agent.md 9).
fn freshness(session: &Value) -> Rules {
    let legacy = number(session, "idleMinutes");
    let said = at(session, "reset").is_object() || at(session, "resetByType").is_object();
    let base = match (said, legacy) {
        (false, Some(minutes)) => Freshness::idle(minutes),
        _ => rule(at(session, "reset"), &Freshness::daily(AT_HOUR), legacy),
    };
    let named = |name: &str| -> Table<String, Freshness> {
        let members = at(session, name).as_object().into_iter().flatten();
        let spelled = |kind: &str| if kind == "dm" { "direct".to_string() } else { kind.to_lowercase() };
        members.map(|(kind, value)| (spelled(kind), rule(value, &base, legacy))).collect()
    };
    Rules { by_kind: named("resetByType"), by_channel: named("resetByChannel"), base }
}

fn rule(value: &Value, base: &Freshness, legacy: Option<u64>) -> Freshness {
    if !value.is_object() {
        return base.clone();
    }
    let hour = number(value, "atHour").and_then(|hour| u32::try_from(hour).ok()).filter(|hour| *hour < 24);
    let minutes = number(value, "idleMinutes").filter(|minutes| *minutes > 0).or(legacy);
    match text(value, "mode") {
        Some("idle") => Freshness::idle(minutes.unwrap_or(IDLE_MINUTES)),
        _ => Freshness { at_hour: Some(hour.unwrap_or(AT_HOUR)), idle: minutes.map(minutes_long) },
    }
}

/// A duration of minutes that cannot overflow.
pub(super) fn minutes_long(minutes: u64) -> Duration {
    Duration::from_secs(minutes.saturating_mul(60))
}

/// `session.maintenance` as later versions of the original spell it. Without it every session that has a name is kept.
fn keep(value: &Value) -> Keep {
    let days = number(value, "pruneDays");
    let age = age(at(value, "pruneAfter"), "d").filter(|age| !age.is_zero());
    Keep {
        age: age.or_else(|| days.map(|days| Duration::from_secs(days.saturating_mul(86_400)))),
        count: number(value, "maxEntries").and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0),
        warn_only: text(value, "mode") == Some("warn"),
    }
}

/// Sessions that nobody can name again go by themselves; what the configuration says about all counts for them, too.
fn keep_calls(all: &Keep) -> Keep {
    Keep {
        age: all.age.or(Some(limits::THROWAWAY_AGE)),
        count: all.count.is_none().then_some(limits::THROWAWAY_SESSIONS),
        ..*all
    }
}

/// `cron.sessionRetention` of the newer original: a span, or `false` or nought for ever.
fn keep_runs(value: &Value, calls: &Keep) -> Keep {
    let age = age(value, "h");
    if *value == Value::Bool(false) || age.is_some_and(|age| age.is_zero()) {
        return Keep::default();
    }
    Keep { age: age.or(calls.age), count: Some(limits::THROWAWAY_SESSIONS), ..*calls }
}

/// `30d`, `12h`, `1h30m`; a bare number is of this unit.
fn age(value: &Value, unit: &str) -> Option<Duration> {
    match value {
        Value::String(text) if text.trim().parse::<u64>().is_err() => duration(text),
        Value::String(text) => duration(&format!("{}{unit}", text.trim())),
        Value::Number(number) => duration(&format!("{number}{unit}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::key::KeyRules;

    fn settings(session: Value) -> Settings {
        Settings::read(&json!({"session": session}))
    }

    #[test]
    fn defaults_keep_everything_and_reset_at_four() {
        let settings = Settings::default();
        assert_eq!((settings.dm_scope, settings.keep.clone()), (DmScope::Main, Keep::default()));
        let throwaways =
            Keep { age: Some(limits::THROWAWAY_AGE), count: Some(limits::THROWAWAY_SESSIONS), warn_only: false };
        assert_eq!((&settings.keep_calls, &settings.keep_runs), (&throwaways, &throwaways));
        assert_eq!(settings.freshness.base, Freshness::daily(4));
        assert_eq!(settings.file_chars, limits::WORKSPACE_FILE_CHARS);
    }

    #[test]
    fn freshness_knows_both_spellings() {
        assert_eq!(settings(json!({"idleMinutes": 30})).freshness.base, Freshness::idle(30));
        let both = settings(json!({"idleMinutes": 30, "reset": {"mode": "daily", "atHour": 6}})).freshness.base;
        assert_eq!(both, Freshness { at_hour: Some(6), idle: Some(minutes_long(30)) });
        let typed = settings(json!({"reset": {"mode": "idle"}, "resetByType": {"dm": {"mode": "daily"}, "group": 5}}));
        assert_eq!(typed.freshness.base, Freshness::idle(60));
        assert_eq!(typed.freshness.by_kind["direct"], Freshness::daily(4));
        assert_eq!(typed.freshness.by_kind["group"], Freshness::idle(60));
        assert_eq!(settings(json!({"reset": {"atHour": 99}})).freshness.base, Freshness::daily(4));
    }

    #[test]
    fn retention_is_read_and_odd_values_keep() {
        let keep = settings(json!({"maintenance": {"pruneAfter": "30d", "maxEntries": 500}})).keep;
        assert_eq!(keep, Keep { age: Some(Duration::from_secs(30 * 86_400)), count: Some(500), warn_only: false });
        assert_eq!(settings(json!({"maintenance": {"pruneAfter": "soon", "maxEntries": 0}})).keep, Keep::default());
        assert!(settings(json!({"maintenance": {"mode": "warn", "pruneDays": 3}})).keep.warn_only);
        let age =
            |after: Value| settings(json!({"maintenance": {"pruneAfter": after}})).keep.age.map(|age| age.as_secs());
        for (after, seconds) in
            [(json!("1h30m"), 5400), (json!("2"), 172_800), (json!(2), 172_800), (json!(" 9 m"), 540)]
        {
            assert_eq!(age(after), Some(seconds));
        }
        assert_eq!((age(json!("0d")), age(json!(-1)), age(json!(true))), (None, None, None));
    }

    #[test]
    fn what_is_said_about_all_sessions_counts_for_those_without_a_name_and_runs_have_a_span_of_their_own() {
        let said = settings(json!({"maintenance": {"pruneAfter": "2h", "maxEntries": 5, "mode": "warn"}}));
        let two_hours = Some(Duration::from_secs(7200));
        assert_eq!(said.keep_calls, Keep { age: two_hours, count: None, warn_only: true });
        let bound = Some(limits::THROWAWAY_SESSIONS);
        assert_eq!(said.keep_runs, Keep { age: two_hours, count: bound, warn_only: true });
        let runs = |span: Value| Settings::read(&json!({"cron": {"sessionRetention": span}})).keep_runs;
        for (span, hours) in [(json!("24h"), 24), (json!("2"), 2), (json!("7d"), 168)] {
            let age = Some(Duration::from_secs(hours * 3600));
            assert_eq!(runs(span), Keep { age, count: bound, warn_only: false });
        }
        assert!(runs(json!(false)).is_all() && runs(json!("0h")).is_all());
        for odd in [json!(null), json!("soon"), json!(true)] {
            assert_eq!(runs(odd), Settings::default().keep_runs);
        }
    }

    #[test]
    fn a_denying_rule_wins_and_the_sessions_own_switch_beats_all() {
        let rules = KeyRules { default_agent: "main".into(), main_key: "main".into(), global: false };
        let key = rules.canonical("agent:main:telegram:group:1").unwrap();
        let settings = settings(json!({"sendPolicy": {"default": "deny", "rules": [
            {"action": "allow", "match": {"channel": "telegram"}},
            {"action": "deny", "match": {"chatType": "group", "keyPrefix": "telegram:"}},
        ]}}));
        let policy = |own, channel, chat| settings.send_policy(&key, own, channel, chat);
        assert_eq!(policy(None, Some("telegram"), "group"), SendPolicy::Deny);
        assert_eq!(policy(None, Some("telegram"), "direct"), SendPolicy::Allow);
        assert_eq!(policy(None, Some("slack"), "direct"), SendPolicy::Deny);
        assert_eq!(policy(Some("allow"), Some("telegram"), "group"), SendPolicy::Allow);
        assert_eq!(Settings::default().send_policy(&key, None, None, "direct"), SendPolicy::Allow);
    }
}
