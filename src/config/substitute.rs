//! `${NAME}` in configuration texts, and the `env` block that feeds it (lifecycle.md 3).
//! Owns the reference syntax and what a missing variable means; never lets an unresolved reference pass for a secret.

use serde_json::Value;

use super::env::Env;
use super::keys;
use crate::limits;

/// A reference to a variable that has no value, or one that is too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The variable.
    pub name: String,
    /// Whether it has a value, with which the text would be too long.
    pub too_long: bool,
    /// The dotted path of the text that names it.
    pub path: String,
    /// Whether the text was a secret; it was then taken out of the configuration.
    pub secret: bool,
}

impl Missing {
    /// Whether this makes the configuration invalid: only what decides who may connect does.
    pub fn is_fatal(&self) -> bool {
        self.path == "gateway.auth" || self.path.starts_with("gateway.auth.")
    }

    /// The message for an issue, or for a warning that also says what became of the value.
    pub fn message(&self) -> String {
        let fate = match (self.is_fatal(), self.secret) {
            (true, _) => "",
            (false, true) => " (the secret stays unset)",
            (false, false) => " (kept as written)",
        };
        let what = if self.too_long { "Too long" } else { "Missing" };
        format!("{what} env var \"{}\" referenced at config path: {}{fate}", self.name, self.path)
    }
}

/// Variables that the configuration's `env` block adds: only those that are unset or blank.
pub fn env_block(config: &Value, env: &Env) -> Vec<(String, String)> {
    let block = config.get("env").and_then(Value::as_object);
    let vars = block.and_then(|block| block.get("vars")).and_then(Value::as_object);
    let direct = block.into_iter().flatten().filter(|(name, _)| !matches!(name.as_str(), "vars" | "shellEnv"));
    let mut seen = env.clone();
    let mut added = Vec::new();
    for (name, value) in vars.into_iter().flatten().chain(direct) {
        let Some(written) = value.as_str() else { continue };
        let (Ok(value), true) = (expand(written, &seen), is_settable(name)) else { continue };
        if !value.trim().is_empty() && seen.set_if_unset(name, value.clone()) {
            added.push((name.clone(), value));
        }
    }
    added
}

/// Replaces references in every text below `value`; what could not be replaced is returned.
pub fn substitute(value: &mut Value, env: &Env) -> Vec<Missing> {
    let mut missing = Vec::new();
    walk(value, env, &mut Vec::new(), &mut missing);
    missing
}

fn is_settable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

fn walk(value: &mut Value, env: &Env, path: &mut Vec<String>, missing: &mut Vec<Missing>) {
    match value {
        Value::String(text) => match expand(text, env) {
            Ok(expanded) => *text = expanded,
            Err(Lack { name, too_long }) => {
                let dotted = path.join(".");
                let secret = keys::is_sensitive_text(&dotted);
                missing.push(Missing { name, too_long, path: dotted, secret });
            }
        },
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                path.push(index.to_string());
                walk(item, env, path, missing);
                path.pop();
            }
        }
        Value::Object(members) => {
            let mut unusable = Vec::new();
            for (name, member) in members.iter_mut() {
                path.push(name.clone());
                let before = missing.len();
                walk(member, env, path, missing);
                let lost = member.is_string() && missing.get(before).is_some_and(|found| found.secret);
                unusable.extend(lost.then(|| name.clone()));
                path.pop();
            }
            for name in unusable {
                members.remove(&name);
            }
        }
        _ => {}
    }
}

/// The variable without which a text cannot be completed.
#[derive(Debug, PartialEq, Eq)]
struct Lack {
    name: String,
    too_long: bool,
}

/// The text with its references replaced, or the first variable that is missing or makes it too long.
fn expand(text: &str, env: &Env) -> Result<String, Lack> {
    let lack = |name: &str, too_long| Lack { name: name.to_string(), too_long };
    let most = limits::SUBSTITUTED_BYTES.max(text.len());
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut last) = (text, "");
    while let Some(at) = rest.find('$') {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        rest = match reference(tail) {
            Some((Reference::Escaped(name), tail)) => {
                out.push_str(&format!("${{{name}}}"));
                tail
            }
            Some((Reference::Name(name), tail)) => {
                out.push_str(env.get(name).ok_or_else(|| lack(name, false))?);
                last = name;
                tail
            }
            None => {
                out.push('$');
                tail.get(1..).unwrap_or_default()
            }
        };
        if out.len() > most {
            return Err(lack(last, true));
        }
    }
    out.push_str(rest);
    if out.len() > most { Err(lack(last, true)) } else { Ok(out) }
}

enum Reference<'a> {
    Name(&'a str),
    Escaped(&'a str),
}

/// A reference at the start of `text`, which begins with `$`, and what follows it.
fn reference(text: &str) -> Option<(Reference<'_>, &str)> {
    let escaped = text.strip_prefix("$${");
    let body = escaped.or_else(|| text.strip_prefix("${"))?;
    let (name, tail) = body.split_once('}')?;
    let first = name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_');
    let rest = name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let reference = if escaped.is_some() { Reference::Escaped(name) } else { Reference::Name(name) };
    (first && rest).then_some((reference, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Env {
        Env::of([("A", "one"), ("B_2", "two"), ("BLANK", " ")])
    }

    #[test]
    fn replaces_references_and_leaves_other_dollars() {
        let text = |t: &str| expand(t, &env()).unwrap();
        assert_eq!(text("x${A}y${B_2}"), "xoney".to_string() + "two");
        assert_eq!(text("$A ${a} $${A} ${} $$ ${A"), "$A ${a} ${A} ${} $$ ${A");
        let lack = |name: &str| Err(Lack { name: name.into(), too_long: false });
        assert_eq!(expand("${BLANK}", &env()), lack("BLANK"));
        assert_eq!(expand("${NOPE}", &env()), lack("NOPE"));
    }

    #[test]
    fn references_cannot_multiply_without_end_and_never_stay_for_a_secret() {
        let half = "x".repeat(limits::SUBSTITUTED_BYTES / 2);
        let env = Env::of([("HALF", half.as_str())]);
        assert_eq!(expand("${HALF}${HALF}", &env).unwrap().len(), limits::SUBSTITUTED_BYTES);
        let lack = Err(Lack { name: "HALF".into(), too_long: true });
        for text in ["${HALF}${HALF}!", "!${HALF}${HALF}", "${HALF}${HALF}${HALF}"] {
            assert_eq!(expand(text, &env), lack, "{text}");
        }
        let long = "y".repeat(limits::SUBSTITUTED_BYTES + 1);
        assert_eq!(expand(&long, &env).unwrap(), long, "what is written so stays");
        let mut value = json!({"gateway": {"auth": {"token": "${HALF}${HALF}!"}}});
        let missing = substitute(&mut value, &env);
        assert_eq!(value, json!({"gateway": {"auth": {}}}));
        assert!(missing[0].is_fatal() && missing[0].message().starts_with("Too long env var \"HALF\""), "{missing:?}");
    }

    #[test]
    fn a_value_is_not_expanded_twice() {
        let env = Env::of([("A", "${B}"), ("B", "deep")]);
        assert_eq!(expand("${A}", &env).unwrap(), "${B}");
    }

    #[test]
    fn a_missing_variable_in_auth_is_fatal_and_never_a_secret() {
        let mut value = json!({"gateway": {"auth": {"token": "${NOPE}"}, "remote": {"token": "${NOPE}"}},
            "session": {"store": "${NOPE}/x"}, "list": ["${A}"]});
        let missing = substitute(&mut value, &env());
        assert_eq!(
            value,
            json!({"gateway": {"auth": {}, "remote": {}}, "session": {"store": "${NOPE}/x"}, "list": ["one"]})
        );
        let fatal: Vec<_> = missing.iter().filter(|m| m.is_fatal()).map(Missing::message).collect();
        assert_eq!(fatal, ["Missing env var \"NOPE\" referenced at config path: gateway.auth.token"]);
        assert_eq!(missing.len(), 3);
    }

    #[test]
    fn the_env_block_fills_only_what_is_unset() {
        let config = json!({"env": {"A": "other", "NEW": "n", "vars": {"BLANK": "filled", "R": "${A}!", "Q": "${NO}"},
            "shellEnv": {"enabled": true}, "BAD=": "x"}});
        let mut added = env_block(&config, &env());
        added.sort();
        let expected = [("BLANK", "filled"), ("NEW", "n"), ("R", "one!")].map(|(a, b)| (a.to_string(), b.to_string()));
        assert_eq!(added, expected);
    }
}
