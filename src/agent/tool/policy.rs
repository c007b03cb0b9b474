//! Which tools a turn may use: profiles, allow and deny lists, per provider and per agent (agent.md 16). Pure: reads
//! the configuration as a value, answers names; a denied tool is neither shown nor run.

use serde_json::Value;

use super::table::{Group, TOOLS, Tool, find};
use crate::config::model::raw_agent;
use crate::limits;

/// Members of a profile; `None` is everything.
type Members = Option<&'static [&'static str]>;

/// The profiles.
const PROFILES: &[(&str, Members)] = &[
    ("minimal", Some(&["session_status"])),
    ("coding", Some(&["group:fs", "group:runtime", "group:sessions", "group:memory", "image"])),
    ("messaging", Some(&["group:messaging", "sessions_list", "sessions_history", "sessions_send", "session_status"])),
    ("full", None),
];

/// Names that a configuration may use for tools which other versions have; lists that name them are no mistakes.
const FOREIGN: &[&str] =
    &["browser", "canvas", "gateway", "image", "message", "nodes", "sessions_spawn", "tts", "web_search"];

/// Groups without a tool of ours.
const FOREIGN_GROUPS: &[&str] = &["ui", "messaging", "nodes", "plugins"];

/// One step: what it lets through.
#[derive(Clone, Debug, Default, PartialEq)]
struct Step {
    /// Patterns; `None` lets everything through.
    allow: Option<Vec<String>>,
    deny: Vec<String>,
}

/// The policy of one turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    steps: Vec<Step>,
    /// What is wrong with the configuration, for the log.
    pub warnings: Vec<String>,
}

/// Whom a policy is for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The agent.
    pub agent_id: &'a str,
    /// The provider of its model.
    pub provider: &'a str,
    /// Its model, without the provider.
    pub model: &'a str,
}

impl Policy {
    /// The policy of a configuration. Each step can only narrow what the ones before it left.
    pub fn new(config: &Value, subject: Subject<'_>) -> Policy {
        let mut policy = Policy::default();
        let global = config.get("tools").unwrap_or(&Value::Null);
        policy.section("tools", global, subject);
        if let Some(own) = agent_tools(config, subject.agent_id) {
            policy.section(&format!("agents.{}.tools", subject.agent_id), own, subject);
        }
        policy
    }

    /// The same without these; for callers with a list of their own.
    pub fn and_deny<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Policy {
        let deny = self.denied("the caller's deny", names.into_iter().map(normal));
        self.steps.push(Step { allow: None, deny });
        self
    }

    /// A list of what is forbidden: one that is too long to be read forbids everything, and a name nobody knows may be
    /// a slip of the pen that leaves a tool open.
    fn denied(&mut self, place: &str, names: impl Iterator<Item = String>) -> Vec<String> {
        let deny: Vec<String> = names.take(limits::POLICY_NAMES + 1).collect();
        if deny.len() > limits::POLICY_NAMES {
            self.warnings.push(format!("{place} has over {} names; every tool is denied", limits::POLICY_NAMES));
            return vec!["*".to_string()];
        }
        let unknown = listed(deny.iter().filter(|name| !is_known(name)));
        if !unknown.is_empty() {
            self.warnings.push(format!("{place} names unknown tools, which denies nothing: {unknown}"));
        }
        deny
    }

    /// Whether a tool may be used.
    pub fn allows(&self, tool: &Tool) -> bool {
        self.steps.iter().all(|step| {
            let hit = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, tool));
            !hit(&step.deny) && step.allow.as_deref().is_none_or(hit)
        })
    }

    fn section(&mut self, place: &str, section: &Value, subject: Subject<'_>) {
        let (providers, own) = (section.get("byProvider"), [place.to_string(), format!("{place}.byProvider")]);
        let [place, by_provider] = &own;
        let specific = providers.and_then(|providers| by_model(providers, subject));
        self.profile(place, section);
        if let Some(specific) = specific {
            self.profile(by_provider, specific);
        }
        self.lists(place, section);
        if let Some(specific) = specific {
            self.lists(by_provider, specific);
        }
    }

    /// A name that is no profile narrows to the smallest one: a slip of the pen must not open everything.
    fn profile(&mut self, place: &str, section: &Value) {
        let Some(name) = section.get("profile").and_then(Value::as_str).map(str::trim).filter(|name| !name.is_empty())
        else {
            return;
        };
        let found = PROFILES.iter().find(|(profile, _)| profile.eq_ignore_ascii_case(name));
        let members = match found {
            Some((_, members)) => *members,
            None => {
                self.warnings.push(format!("{place}.profile: unknown profile {}; using minimal", quoted(name)));
                PROFILES.first().and_then(|(_, members)| *members)
            }
        };
        if let Some(members) = members {
            let also = names(section.get("alsoAllow"));
            let allow = members.iter().map(|name| normal(name)).chain(also).collect();
            self.steps.push(Step { allow: Some(allow), deny: Vec::new() });
        }
    }

    fn lists(&mut self, place: &str, section: &Value) {
        let deny = self.denied(&format!("{place}.deny"), all_names(section.get("deny")));
        let mut allow = names(section.get("allow"));
        if !allow.is_empty() && !allow.iter().any(|name| is_known(name)) {
            let listed = listed(allow.iter());
            self.warnings.push(format!("{place}.allow names only unknown tools and is ignored: {listed}"));
            allow.clear();
        }
        if !allow.is_empty() && section.get("profile").is_none() {
            allow.extend(names(section.get("alsoAllow")));
        }
        let allow = (!allow.is_empty()).then_some(allow);
        self.steps.push(Step { allow, deny });
    }
}

/// The profile that an agent's turns have, for lists: its own, the shared one, or the one that names all.
pub fn profile_name(config: &Value, agent_id: &str) -> &'static str {
    let sections = [agent_tools(config, agent_id), config.get("tools")];
    let written = sections.into_iter().flatten().find_map(|section| section.get("profile").and_then(Value::as_str));
    let Some(written) = written.map(str::trim).filter(|name| !name.is_empty()) else { return "full" };
    let known = PROFILES.iter().find(|(name, _)| name.eq_ignore_ascii_case(written));
    known.or(PROFILES.first()).map_or("full", |(name, _)| name)
}

/// Profiles that name a tool, for the catalogue; `full` names all.
pub fn profiles_of(tool: &Tool) -> impl Iterator<Item = &'static str> {
    let named = |members: &Members| members.is_none_or(|members| members.iter().any(|name| matches(name, tool)));
    PROFILES.iter().filter(move |(_, members)| named(members)).map(|(name, _)| *name)
}

/// `agents.list[].tools`, or `agents.entries.<id>.tools`.
pub(super) fn agent_tools<'a>(config: &'a Value, agent_id: &str) -> Option<&'a Value> {
    raw_agent(config, agent_id)?.get("tools")
}

/// The entry of `provider/model`, else of the provider.
fn by_model<'a>(providers: &'a Value, subject: Subject<'_>) -> Option<&'a Value> {
    let exact = format!("{}/{}", subject.provider, subject.model);
    let entry = |wanted: &str| {
        let members = providers.as_object().into_iter().flatten();
        members.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
    };
    entry(&exact).or_else(|| entry(subject.provider))
}

fn names(list: Option<&Value>) -> Vec<String> {
    all_names(list).take(limits::POLICY_NAMES).collect()
}

fn all_names(list: Option<&Value>) -> impl Iterator<Item = String> {
    let items = list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    items.map(normal).filter(|name| !name.is_empty())
}

/// The first of them, for people.
fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.take(8).map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

/// Lower case, aliases resolved.
fn normal(name: &str) -> String {
    find(name).map_or_else(|| name.trim().to_ascii_lowercase(), |tool| tool.name.to_string())
}

fn matches(pattern: &str, tool: &Tool) -> bool {
    match pattern.strip_prefix("group:") {
        Some("openclaw") => true,
        Some(group) => tool.group.name() == group,
        None => wildcard(pattern, tool.name),
    }
}

fn is_known(pattern: &str) -> bool {
    match pattern.strip_prefix("group:") {
        Some(group) => {
            group == "openclaw" || FOREIGN_GROUPS.contains(&group) || Group::ALL.iter().any(|ours| ours.name() == group)
        }
        None => {
            TOOLS.iter().any(|tool| wildcard(pattern, tool.name)) || FOREIGN.iter().any(|name| wildcard(pattern, name))
        }
    }
}

/// Whether a name fits a pattern in which `*` stands for any text. Linear in both: remembers one `*` to go back to.
fn wildcard(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n, mut back) = (0, 0, None);
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            back = Some((p, n));
            p += 1;
        } else if pattern.get(p) == name.get(n) {
            p += 1;
            n += 1;
        } else if let Some((star, from)) = back {
            back = Some((star, from + 1));
            p = star + 1;
            n = from + 1;
        } else {
            return false;
        }
    }
    pattern.iter().skip(p).all(|c| *c == b'*')
}

fn quoted(name: &str) -> String {
    let short: String = name.chars().take(limits::FAULT_NAME_CHARS).collect();
    format!("\"{}\"", short.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: Subject<'static> = Subject { agent_id: "main", provider: "openai", model: "gpt" };

    fn allowed(config: Value) -> Vec<&'static str> {
        let policy = Policy::new(&config, SUBJECT);
        TOOLS.iter().filter(|tool| policy.allows(tool)).map(|tool| tool.name).collect()
    }

    fn tools(section: Value) -> Vec<&'static str> {
        allowed(json!({ "tools": section }))
    }

    #[test]
    fn everything_is_allowed_when_nothing_is_said() {
        assert_eq!(allowed(json!({})).len(), TOOLS.len());
        assert_eq!(tools(json!({"profile": "full", "allow": [], "deny": []})).len(), TOOLS.len());
        assert_eq!(tools(json!({"allow": ["*"]})).len(), TOOLS.len());
        assert_eq!(tools(json!({"allow": ["group:openclaw"]})).len(), TOOLS.len());
    }

    #[test]
    fn lists_profiles_and_groups_narrow() {
        let table: &[(Value, &[&str])] = &[
            (json!({"profile": "minimal"}), &["session_status"]),
            (
                json!({"profile": "Messaging"}),
                &["session_status", "sessions_list", "sessions_history", "sessions_send"],
            ),
            (json!({"profile": "minimal", "alsoAllow": ["read"]}), &["read", "session_status"]),
            (json!({"profile": "minimal", "allow": ["read"]}), &[]),
            (json!({"allow": ["BASH"]}), &["exec"]),
            (json!({"allow": ["apply-patch", "group:runtime"]}), &["apply_patch", "exec", "process"]),
            (json!({"allow": ["memory_*", "re*d"]}), &["read", "memory_search", "memory_get"]),
            (json!({"allow": ["group:fs"], "deny": ["write", "edit"]}), &["read", "apply_patch"]),
            (json!({"allow": ["read"], "deny": ["*"]}), &[]),
            (json!({"deny": ["group:openclaw"]}), &[]),
            (json!({"allow": ["read", "nosuch"]}), &["read"]),
            (json!({"allow": ["group:ui"]}), &[]),
            (json!({"allow": ["browser"]}), &[]),
            (json!({"allow": ["read"], "alsoAllow": ["write"]}), &["read", "write"]),
        ];
        for (section, expected) in table {
            assert_eq!(tools(section.clone()), *expected, "{section}");
        }
    }

    #[test]
    fn deny_wins_over_every_allow_of_later_steps() {
        let config = json!({
            "tools": {"deny": ["exec"]},
            "agents": {"list": [{"id": "Main", "tools": {"allow": ["exec", "read"], "profile": "coding"}}]},
        });
        assert_eq!(allowed(config), ["read"]);
    }

    #[test]
    fn an_agent_can_only_narrow_and_others_are_not_concerned() {
        let config = json!({
            "tools": {"allow": ["read", "write"]},
            "agents": {"entries": {"main": {"tools": {"deny": ["write"]}}, "other": {"tools": {"deny": ["*"]}}}},
        });
        assert_eq!(allowed(config), ["read"]);
    }

    #[test]
    fn the_entry_of_the_model_beats_the_one_of_its_provider() {
        let by = |key: &str| tools(json!({"byProvider": {"openai": {"deny": ["exec"]}, key: {"allow": ["read"]}}}));
        assert_eq!(by("OpenAI/gpt"), ["read"]);
        assert!(!by("openai/other").contains(&"exec") && by("openai/other").len() == TOOLS.len() - 1);
        assert_eq!(tools(json!({"byProvider": {"openai": {"profile": "minimal"}}})), ["session_status"]);
    }

    #[test]
    fn an_allow_list_of_unknown_tools_is_ignored_with_a_warning() {
        let policy = Policy::new(&json!({"tools": {"allow": ["nosuch", "\u{1b}[31m"], "deny": ["exec"]}}), SUBJECT);
        assert_eq!(policy.warnings, [r#"tools.allow names only unknown tools and is ignored: "nosuch", "\u{1b}[31m""#]);
        assert!(policy.allows(find("read").unwrap()) && !policy.allows(find("exec").unwrap()));
    }

    #[test]
    fn unknown_names_of_a_deny_list_are_told() {
        let deny = json!(["exce", "write", "browser", "group:ui", "read*"]);
        let policy = Policy::new(&json!({"tools": {"deny": deny}}), SUBJECT);
        assert_eq!(policy.warnings, [r#"tools.deny names unknown tools, which denies nothing: "exce""#]);
        assert!(!policy.allows(find("write").unwrap()));
    }

    #[test]
    fn an_unknown_profile_opens_nothing() {
        let policy = Policy::new(&json!({"tools": {"profile": "codng"}}), SUBJECT);
        assert_eq!(policy.warnings, [r#"tools.profile: unknown profile "codng"; using minimal"#]);
        assert!(!policy.allows(find("exec").unwrap()));
    }

    #[test]
    fn wrong_types_are_nothing_said() {
        assert_eq!(tools(json!({"allow": "read", "deny": {"exec": true}, "profile": 5})).len(), TOOLS.len());
        assert_eq!(allowed(json!({"tools": [], "agents": {"list": {}}})).len(), TOOLS.len());
    }

    #[test]
    fn long_lists_and_patterns_are_bounded_in_number_and_time() {
        let many: Vec<String> = (0..10_000).map(|n| format!("t{n}")).chain(["exec".to_string()]).collect();
        assert!(tools(json!({"deny": many})).is_empty(), "what is forbidden beyond the bound is not let through");
        let policy = Policy::new(&json!({}), SUBJECT).and_deny(many.iter().map(String::as_str));
        assert!(!policy.allows(find("exec").unwrap()) && policy.warnings[0].contains("over 256 names"));
        assert_eq!(tools(json!({"deny": vec!["exec"; limits::POLICY_NAMES]})).len(), TOOLS.len() - 1);
        assert!(!wildcard(&"*a".repeat(10_000), &"a".repeat(5_000)));
        assert!(wildcard("*", "") && wildcard("a*", "a") && !wildcard("a", "ab") && wildcard("*b*", "abc"));
    }

    #[test]
    fn a_callers_own_list_is_one_more_step() {
        let policy = Policy::new(&json!({}), SUBJECT).and_deny(["bash", "sessions_*"]);
        assert!(!policy.allows(find("exec").unwrap()) && !policy.allows(find("sessions_send").unwrap()));
        assert!(policy.allows(find("read").unwrap()));
    }
}
