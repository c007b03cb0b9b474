//! Checking a configuration value against the key table.
//! Owns the wording of issues (what makes a file invalid) and warnings (what is odd but survivable).

use serde_json::{Map, Value};

use super::hooks;
use super::include::type_name;
use super::keys::{self, KEYS, Key, Type};
use super::load::Issue;
use super::value::duration;
use crate::limits;

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validation {
    /// What makes the configuration invalid.
    pub issues: Vec<Issue>,
    /// What is odd, such as unknown keys.
    pub warnings: Vec<Issue>,
}

/// Checks a resolved configuration.
pub fn validate(value: &Value) -> Validation {
    let mut check = Check { found: Validation::default() };
    match value {
        Value::Object(members) => check.members("", "", members, true),
        other => check.issue("", expected("object", other)),
    }
    check.relations(value);
    check.found
}

/// Issues of one value against one row; for the table's own tests.
#[cfg(test)]
pub(super) fn check_value(key: &Key, value: &Value) -> Vec<Issue> {
    let mut check = Check { found: Validation::default() };
    check.value(key, key.path, value);
    check.found.issues
}

struct Check {
    found: Validation,
}

impl Check {
    fn issue(&mut self, path: &str, message: String) {
        if self.found.issues.len() < limits::CONFIG_ISSUES {
            self.found.issues.push(Issue { path: path.to_string(), message });
        }
    }

    fn warn(&mut self, path: &str, message: String) {
        if self.found.warnings.len() < limits::CONFIG_ISSUES {
            self.found.warnings.push(Issue { path: path.to_string(), message });
        }
    }

    fn members(&mut self, pattern: &str, path: &str, members: &Map<String, Value>, closed: bool) {
        for (name, value) in members {
            match keys::row(&join(pattern, name)) {
                Some(key) => self.value(key, &join(path, name), value),
                None if closed => self.unknown(pattern, path, name),
                None => {}
            }
        }
    }

    fn unknown(&mut self, pattern: &str, path: &str, name: &str) {
        if pattern == "gateway" && name == "token" {
            let text = "gateway.token is ignored; use gateway.auth.token instead".to_string();
            return self.warn("gateway.token", text);
        }
        let shown: String = name.chars().take(80).collect();
        let hint = match nearest(pattern, name) {
            Some(known) => format!("; did you mean \"{known}\"?"),
            None => String::new(),
        };
        self.warn(path, format!("Unrecognized key: \"{shown}\"{hint}"));
    }

    fn value(&mut self, key: &Key, path: &str, value: &Value) {
        match (key.kind, value) {
            (Type::Any, _) => {}
            (Type::Flag, Value::Bool(_)) | (Type::Text, Value::String(_)) | (Type::Number, Value::Number(_)) => {}
            (Type::Integer(min, max), Value::Number(number)) => match number.as_i64() {
                Some(number) => self.range(path, number, min, max),
                None => self.issue(path, "Invalid input: expected int, received number".to_string()),
            },
            (Type::Choice(names), Value::String(text)) => self.choice(path, text, names),
            (Type::Texts, Value::Array(items)) => self.texts(path, items),
            (Type::List, Value::Array(items)) => {
                let rows = items.iter().enumerate().map(|(index, item)| (index.to_string(), item));
                self.each(key, path, rows);
            }
            (Type::Map, Value::Object(members)) => {
                self.each(key, path, members.iter().map(|(name, value)| (name.clone(), value)));
            }
            (Type::Closed, Value::Object(members)) => self.members(key.path, path, members, true),
            (Type::Open | Type::TextOr, Value::Object(members)) => self.members(key.path, path, members, false),
            (Type::TextOr, Value::String(_)) => {}
            (Type::Every, Value::Number(number)) if number.as_u64().is_some() => {}
            (Type::Every, Value::String(text)) => {
                if duration(text).is_none() {
                    self.issue(path, "Invalid duration (use numbers with ms, s, m, h or d)".to_string());
                }
            }
            (Type::TextOr | Type::Every, _) => self.issue(path, "Invalid input".to_string()),
            (Type::Choice(names), _) => self.issue(path, options(names)),
            (kind, other) => self.issue(path, expected(wanted(kind), other)),
        }
    }

    fn each<'v>(&mut self, key: &Key, path: &str, items: impl Iterator<Item = (String, &'v Value)>) {
        let Some(row) = keys::row(&join(key.path, "*")) else { return };
        for (name, item) in items {
            self.value(row, &join(path, &name), item);
        }
    }

    fn texts(&mut self, path: &str, items: &[Value]) {
        for (index, item) in items.iter().enumerate().filter(|(_, item)| !item.is_string()) {
            self.issue(&format!("{path}.{index}"), expected("string", item));
        }
    }

    fn range(&mut self, path: &str, number: i64, min: i64, max: i64) {
        if number < min {
            let bound = if min == 1 { ">0".to_string() } else { format!(">={min}") };
            self.issue(path, format!("Too small: expected number to be {bound}"));
        } else if number > max {
            self.issue(path, format!("Too big: expected number to be <={max}"));
        }
    }

    fn choice(&mut self, path: &str, text: &str, names: &[&str]) {
        if !names.contains(&text) {
            self.issue(path, options(names));
        }
    }

    /// Rules between keys (lifecycle.md 5.2, 8).
    fn relations(&mut self, value: &Value) {
        for (path, text) in hooks::issues(value) {
            self.issue(&path, text);
        }
        for (path, text) in hooks::warnings(value) {
            self.warn(&path, text);
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}

fn expected(wanted: &str, found: &Value) -> String {
    format!("Invalid input: expected {wanted}, received {}", type_name(found))
}

fn options(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    format!("Invalid option: expected one of {}", quoted.join("|"))
}

const fn wanted(kind: Type) -> &'static str {
    match kind {
        Type::Flag => "boolean",
        Type::Integer(..) | Type::Number => "number",
        Type::Texts | Type::List => "array",
        Type::Map => "record",
        Type::Closed | Type::Open => "object",
        _ => "string",
    }
}

/// The known sibling that a mistyped name most resembles; a name that is only in the wrong place is shown in full.
fn nearest(pattern: &str, name: &str) -> Option<&'static str> {
    let name: Vec<char> = name.chars().take(64).flat_map(char::to_lowercase).collect();
    let bound = name.len().div_ceil(3).clamp(1, 3);
    let siblings = keys::children(pattern).map(|key| keys::last(key.path));
    let near = siblings.map(|known| (distance(&name, known), known)).min();
    near.filter(|(distance, _)| *distance <= bound).map(|(_, known)| known).or_else(|| elsewhere(pattern, &name))
}

/// A key of the same name elsewhere in the same section, when there is only one.
fn elsewhere(pattern: &str, name: &[char]) -> Option<&'static str> {
    let section = pattern.split('.').next().filter(|section| !section.is_empty())?;
    let inside = |key: &&Key| key.path.split('.').next() == Some(section) && !key.path.contains('*');
    let mut same = KEYS.iter().filter(inside).filter(|key| distance(name, keys::last(key.path)) == 0);
    let first = same.next()?;
    same.next().is_none().then_some(first.path)
}

/// Edit distance without regard to case.
fn distance(name: &[char], known: &str) -> usize {
    let known: Vec<char> = known.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=known.len()).collect();
    for (line, left) in name.iter().enumerate() {
        let mut diagonal = line;
        let mut previous = line + 1;
        let mut next = vec![previous];
        for (right, above) in known.iter().zip(row.iter().skip(1)) {
            let cost = diagonal + usize::from(left != right);
            diagonal = *above;
            previous = cost.min(previous + 1).min(above + 1);
            next.push(previous);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issues(value: Value) -> Vec<String> {
        validate(&value).issues.iter().map(Issue::to_string).collect()
    }

    fn warnings(value: Value) -> Vec<String> {
        let found = validate(&value);
        assert_eq!(found.issues, [], "unexpected issues");
        found.warnings.iter().map(Issue::to_string).collect()
    }

    #[test]
    fn wrong_types_are_issues_with_their_path() {
        let value = json!({"gateway": {"port": "x", "mode": "far", "auth": 5, "trustedProxies": [1, "a"]},
            "agents": {"list": [{"id": 1}], "defaults": {"model": 3}}, "models": {"providers": []}});
        assert_eq!(
            issues(value),
            [
                "agents.defaults.model: Invalid input",
                "agents.list.0.id: Invalid input: expected string, received number",
                "gateway.auth: Invalid input: expected object, received number",
                "gateway.mode: Invalid option: expected one of \"local\"|\"remote\"",
                "gateway.port: Invalid input: expected number, received string",
                "gateway.trustedProxies.0: Invalid input: expected string, received number",
                "models.providers: Invalid input: expected record, received array",
            ]
        );
        assert_eq!(issues(json!([])), ["<root>: Invalid input: expected object, received array"]);
    }

    #[test]
    fn numbers_have_ranges() {
        let port = |port: Value| issues(json!({"gateway": {"port": port}}));
        assert_eq!(port(json!(0)), ["gateway.port: Too small: expected number to be >0"]);
        assert_eq!(port(json!(70000)), ["gateway.port: Too big: expected number to be <=65535"]);
        assert_eq!(port(json!(1.5)), ["gateway.port: Invalid input: expected int, received number"]);
        assert_eq!(
            issues(json!({"gateway": {"reload": {"debounceMs": -1}}})),
            ["gateway.reload.debounceMs: Too small: expected number to be >=0"]
        );
    }

    #[test]
    fn unknown_keys_warn_with_a_suggestion() {
        assert_eq!(
            warnings(json!({"gatewy": {}, "gateway": {"prot": 1, "password": "x", "zzzzzz": 1, "token": "t"}})),
            [
                "gateway: Unrecognized key: \"password\"",
                "gateway: Unrecognized key: \"prot\"; did you mean \"port\"?",
                "gateway.token: gateway.token is ignored; use gateway.auth.token instead",
                "gateway: Unrecognized key: \"zzzzzz\"",
                "<root>: Unrecognized key: \"gatewy\"; did you mean \"gateway\"?",
            ]
        );
        assert_eq!(
            warnings(json!({"gateway": {"debounceMs": 1}})),
            ["gateway: Unrecognized key: \"debounceMs\"; did you mean \"gateway.reload.debounceMs\"?"]
        );
    }

    #[test]
    fn known_sections_that_are_not_read_are_accepted() {
        assert_eq!(
            warnings(json!({"channels": {"telegram": {"x": 1}}, "plugins": [], "talk": 1, "wizard": {"a": 1}})),
            [""; 0]
        );
        assert_eq!(warnings(json!({"agents": {"defaults": {"compaction": {}}}, "session": {"reset": {}}})), [""; 0]);
    }

    #[test]
    fn hooks_need_a_token_and_a_path() {
        let value = json!({"hooks": {"enabled": true, "path": "/"}});
        assert_eq!(
            issues(value),
            ["hooks.token: hooks.enabled requires hooks.token", "hooks.path: hooks.path may not be '/'"]
        );
        assert_eq!(issues(json!({"hooks": {"enabled": false}})), [""; 0]);
    }

    #[test]
    fn heartbeat_intervals_must_be_durations() {
        let every = |every: Value| issues(json!({"agents": {"defaults": {"heartbeat": {"every": every}}}}));
        assert_eq!(every(json!("1h")), [""; 0]);
        assert_eq!(every(json!(15)), [""; 0]);
        assert_eq!(every(json!("soon")).len(), 1);
        assert_eq!(every(json!([])), ["agents.defaults.heartbeat.every: Invalid input"]);
    }

    #[test]
    fn reports_are_bounded() {
        let many: Map<String, Value> = (0..500).map(|n| (format!("unknown{n}"), Value::Null)).collect();
        assert_eq!(validate(&Value::Object(many)).warnings.len(), limits::CONFIG_ISSUES);
    }
}
