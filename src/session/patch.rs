//! `sessions.patch`: changes of an entry's switches, checked and spelled as the original does (agent.md 11). Pure;
//! whether a model exists and whether a label is free comes in as a question.

use serde_json::{Map, Value};

use crate::limits;
use crate::store::session::entry::Entry;

use super::fault::Refusal;
use super::key::SessionKey;

/// What a patch has to ask.
pub trait Asks {
    /// Whether another session than this one has the label.
    fn label_in_use(&self, label: &str, key: &SessionKey) -> bool;
    /// Provider and model for what a person wrote, or why it cannot be used.
    fn model(&self, written: &str) -> Result<(String, String), String>;
    /// The model of a session without one of its own.
    fn default_model(&self) -> Option<(String, String)>;
    /// Whether the highest thinking level exists for the session's model.
    fn has_extra_high(&self) -> bool;
}

/// Thinking levels as a refusal lists them.
pub const THINKING: &str = "off|minimal|low|medium|high";

/// Applies a patch to an entry and marks it changed. `params` passed the schema; `null` clears. Nothing is changed when
/// anything is refused.
pub fn apply(
    entry: &Entry,
    key: &SessionKey,
    params: &Map<String, Value>,
    asks: &dyn Asks,
    now_ms: u64,
) -> Result<Entry, Refusal> {
    let mut entry = entry.clone();
    entry.touch(now_ms);
    for (field, value) in params {
        match field.as_str() {
            "label" => label(&mut entry, key, value, asks)?,
            "spawnedBy" => parent(&mut entry, key, value)?,
            "model" => model(&mut entry, value, asks)?,
            "thinkingLevel" => {
                let level = choice(value, |text| thinking(text, asks.has_extra_high()), "thinkingLevel", THINKING)?;
                entry.put(field, level.filter(|level| *level != "off"));
            }
            "execNode" => {
                let node = value.as_str().map(str::trim);
                if node == Some("") {
                    return Err(Refusal::Empty("execNode"));
                }
                entry.put(field, node);
            }
            other => switch(&mut entry, other, value)?,
        }
    }
    Ok(entry)
}

/// The switches that take one word of a list.
fn switch(entry: &mut Entry, field: &str, value: &Value) -> Result<(), Refusal> {
    let word = |names: &'static [&'static str]| {
        move |text: &str| names.iter().find(|name| name.eq_ignore_ascii_case(text.trim())).copied()
    };
    let chosen = match field {
        "verboseLevel" => choice(value, verbose, "verboseLevel", r#""on"|"off""#)?,
        "reasoningLevel" => {
            choice(value, reasoning, "reasoningLevel", r#""on"|"off"|"stream""#)?.filter(|level| *level != "off")
        }
        "elevatedLevel" => choice(value, elevated, "elevatedLevel", r#""on"|"off"|"ask"|"full""#)?,
        "responseUsage" => {
            choice(value, usage, "responseUsage", r#""off"|"tokens"|"full""#)?.filter(|mode| *mode != "off")
        }
        "execHost" => {
            choice(value, word(&["sandbox", "gateway", "node"]), "execHost", r#""sandbox"|"gateway"|"node""#)?
        }
        "execSecurity" => {
            choice(value, word(&["deny", "allowlist", "full"]), "execSecurity", r#""deny"|"allowlist"|"full""#)?
        }
        "execAsk" => choice(value, word(&["off", "on-miss", "always"]), "execAsk", r#""off"|"on-miss"|"always""#)?,
        "sendPolicy" => choice(value, word(&["allow", "deny"]), "sendPolicy", r#""allow"|"deny""#)?,
        "groupActivation" => choice(value, word(&["mention", "always"]), "groupActivation", r#""mention"|"always""#)?,
        _ => return Ok(()), // the key, and fields of later versions
    };
    entry.put(field, chosen);
    Ok(())
}

fn choice(
    value: &Value,
    read: impl Fn(&str) -> Option<&'static str>,
    field: &'static str,
    choices: &'static str,
) -> Result<Option<&'static str>, Refusal> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => read(text).map(Some).ok_or(Refusal::Choice(field, choices)),
        _ => Err(Refusal::Choice(field, choices)),
    }
}

/// A thinking level by any of its names.
pub fn thinking(text: &str, extra_high: bool) -> Option<&'static str> {
    match text.trim().to_lowercase().replace(['-', '_', ' '], "").as_str() {
        "off" | "none" => Some("off"),
        "minimal" | "min" | "think" => Some("minimal"),
        "on" | "low" | "enable" | "enabled" | "thinkhard" => Some("low"),
        "medium" | "med" | "mid" | "thinkharder" => Some("medium"),
        "high" | "max" | "highest" | "ultra" | "ultrathink" => Some("high"),
        "xhigh" | "extrahigh" if extra_high => Some("xhigh"),
        _ => None,
    }
}

/// A verbosity by any of its names.
pub fn verbose(text: &str) -> Option<&'static str> {
    match text.trim().to_lowercase().as_str() {
        "off" | "false" | "no" | "0" => Some("off"),
        "on" | "true" | "yes" | "1" | "minimal" => Some("on"),
        "full" | "all" | "everything" => Some("full"),
        _ => None,
    }
}

/// A way to show reasoning by any of its names.
pub fn reasoning(text: &str) -> Option<&'static str> {
    match text.trim().to_lowercase().as_str() {
        "off" | "false" | "no" | "hide" | "hidden" => Some("off"),
        "on" | "true" | "yes" | "show" | "visible" => Some("on"),
        "stream" | "streaming" | "live" | "draft" => Some("stream"),
        _ => None,
    }
}

/// A usage footer by any of its names.
pub fn usage(text: &str) -> Option<&'static str> {
    match text.trim().to_lowercase().as_str() {
        "off" | "false" | "no" | "disable" | "disabled" => Some("off"),
        "on" | "true" | "yes" | "tokens" | "token" | "enable" | "enabled" => Some("tokens"),
        "full" | "session" | "cost" => Some("full"),
        _ => None,
    }
}

fn elevated(text: &str) -> Option<&'static str> {
    match text.trim().to_lowercase().as_str() {
        "off" | "false" | "no" | "0" => Some("off"),
        "on" | "true" | "yes" | "1" => Some("on"),
        "ask" | "prompt" | "approve" | "approval" => Some("ask"),
        "full" | "auto" => Some("full"),
        _ => None,
    }
}

fn label(entry: &mut Entry, key: &SessionKey, value: &Value, asks: &dyn Asks) -> Result<(), Refusal> {
    let Some(text) = value.as_str().map(str::trim) else {
        entry.clear("label");
        return Ok(());
    };
    if text.is_empty() {
        return Err(Refusal::Empty("label"));
    }
    if text.chars().count() > limits::LABEL_CHARS {
        return Err(Refusal::LabelTooLong(limits::LABEL_CHARS));
    }
    if asks.label_in_use(text, key) {
        return Err(Refusal::LabelInUse(text.to_string()));
    }
    entry.set("label", text);
    Ok(())
}

fn parent(entry: &mut Entry, key: &SessionKey, value: &Value) -> Result<(), Refusal> {
    let known = entry.text("spawnedBy").map(|key| key.into_owned());
    match (value.as_str().map(str::trim), known) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(Refusal::ParentKept),
        (Some(""), _) => Err(Refusal::Empty("spawnedBy")),
        (Some(_), _) if !key.is_subagent() => Err(Refusal::NoSubagent),
        (Some(new), Some(known)) if new != known => Err(Refusal::ParentFixed),
        (Some(new), _) => {
            entry.set("spawnedBy", new);
            Ok(())
        }
    }
}

fn model(entry: &mut Entry, value: &Value, asks: &dyn Asks) -> Result<(), Refusal> {
    let Some(written) = value.as_str().map(str::trim) else {
        clear_model(entry);
        return Ok(());
    };
    if written.is_empty() {
        return Err(Refusal::Empty("model"));
    }
    let chosen = asks.model(written).map_err(Refusal::Model)?;
    set_model(entry, chosen, asks.default_model().as_ref());
    Ok(())
}

/// Gives a session a model of its own; the default one is no choice of its own.
pub fn set_model(entry: &mut Entry, chosen: (String, String), default: Option<&(String, String)>) {
    let before = entry.text("modelOverride").map(|model| model.into_owned());
    if default == Some(&chosen) {
        clear_model(entry);
        return;
    }
    if before.as_deref() != Some(chosen.1.as_str()) {
        entry.clear("authProfileOverride");
    }
    entry.set("providerOverride", chosen.0);
    entry.set("modelOverride", chosen.1);
}

fn clear_model(entry: &mut Entry) {
    for name in ["providerOverride", "modelOverride", "authProfileOverride"] {
        entry.clear(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::key::KeyRules;
    use crate::store::session::object::Object;

    struct World;

    impl Asks for World {
        fn label_in_use(&self, label: &str, _: &SessionKey) -> bool {
            label == "Taken"
        }
        fn model(&self, written: &str) -> Result<(String, String), String> {
            let (provider, model) = written.split_once('/').ok_or(format!("model not allowed: {written}"))?;
            Ok((provider.to_string(), model.to_string()))
        }
        fn default_model(&self) -> Option<(String, String)> {
            Some(("bench".to_string(), "bench".to_string()))
        }
        fn has_extra_high(&self) -> bool {
            false
        }
    }

    fn key(text: &str) -> SessionKey {
        KeyRules { default_agent: "main".into(), main_key: "main".into(), global: false }.canonical(text).unwrap()
    }

    fn patch_of(entry: &str, name: &str, params: Value) -> Result<String, String> {
        let entry = Entry::from(Object::parse(entry).unwrap());
        let done = apply(&entry, &key(name), params.as_object().unwrap(), &World, 9);
        done.map(|entry| entry.print()).map_err(|refusal| refusal.to_string())
    }

    fn patch(params: Value) -> Result<String, String> {
        patch_of(r#"{"updatedAt":1}"#, "foo", params)
    }

    #[test]
    fn values_are_spelled_as_the_original_stores_them() {
        for (field, written, stored) in [
            ("label", " Team A ", Some("Team A")),
            ("thinkingLevel", "HIGH", Some("high")),
            ("thinkingLevel", "off", None),
            ("verboseLevel", "off", Some("off")),
            ("verboseLevel", "full", Some("full")),
            ("reasoningLevel", "stream", Some("stream")),
            ("reasoningLevel", "off", None),
            ("responseUsage", "on", Some("tokens")),
            ("responseUsage", "off", None),
            ("elevatedLevel", "off", Some("off")),
            ("execHost", " Gateway ", Some("gateway")),
            ("execNode", " n1 ", Some("n1")),
            ("sendPolicy", "deny", Some("deny")),
            ("groupActivation", "always", Some("always")),
        ] {
            let member = stored.map_or(String::new(), |stored| format!(",\"{field}\":\"{stored}\""));
            assert_eq!(
                patch(json!({ field: written })).unwrap(),
                format!("{{\"updatedAt\":9{member}}}"),
                "{field} {written}"
            );
        }
    }

    #[test]
    fn refusals_have_the_originals_words() {
        for (params, text) in [
            (json!({"thinkingLevel": "huge"}), "invalid thinkingLevel (use off|minimal|low|medium|high)"),
            (json!({"thinkingLevel": "xhigh"}), "invalid thinkingLevel (use off|minimal|low|medium|high)"),
            (json!({"verboseLevel": "loud"}), r#"invalid verboseLevel (use "on"|"off")"#),
            (json!({"reasoningLevel": "x"}), r#"invalid reasoningLevel (use "on"|"off"|"stream")"#),
            (json!({"elevatedLevel": "zzz"}), r#"invalid elevatedLevel (use "on"|"off"|"ask"|"full")"#),
            (json!({"execHost": "mars"}), r#"invalid execHost (use "sandbox"|"gateway"|"node")"#),
            (json!({"execSecurity": "x"}), r#"invalid execSecurity (use "deny"|"allowlist"|"full")"#),
            (json!({"execAsk": "x"}), r#"invalid execAsk (use "off"|"on-miss"|"always")"#),
            (json!({"execNode": " "}), "invalid execNode: empty"),
            (json!({"model": " "}), "invalid model: empty"),
            (json!({"model": "nope"}), "model not allowed: nope"),
            (json!({"label": "Taken"}), "label already in use: Taken"),
            (json!({"spawnedBy": "agent:main:main"}), "spawnedBy is only supported for subagent:* sessions"),
        ] {
            assert_eq!(patch(params).unwrap_err(), text);
        }
        let label = "é".repeat(limits::LABEL_CHARS);
        assert!(patch(json!({"label": label})).is_ok() && patch(json!({"label": label + "é"})).is_err());
    }

    #[test]
    fn a_parent_is_set_once_and_for_good() {
        let child = |entry: &str, value: Value| patch_of(entry, "subagent:a", json!({"spawnedBy": value}));
        let born = child(r#"{"updatedAt":1}"#, json!("agent:main:main")).unwrap();
        assert_eq!(born, r#"{"updatedAt":9,"spawnedBy":"agent:main:main"}"#);
        assert_eq!(child(&born, json!("agent:main:main")).unwrap(), born);
        assert_eq!(child(&born, json!("agent:main:x")).unwrap_err(), "spawnedBy cannot be changed once set");
        assert_eq!(child(&born, Value::Null).unwrap_err(), "spawnedBy cannot be cleared once set");
        assert_eq!(child(&born, json!(" ")).unwrap_err(), "invalid spawnedBy: empty");
    }

    #[test]
    fn the_default_model_is_no_choice() {
        let own = r#"{"updatedAt":1,"providerOverride":"p","modelOverride":"m","authProfileOverride":"a"}"#;
        let other = r#"{"updatedAt":9,"providerOverride":"bench","modelOverride":"other"}"#;
        assert_eq!(patch_of(own, "foo", json!({"model": "bench/other"})).unwrap(), other);
        assert_eq!(patch_of(own, "foo", json!({"model": "bench/bench"})).unwrap(), r#"{"updatedAt":9}"#);
        assert_eq!(patch_of(own, "foo", json!({"model": null})).unwrap(), r#"{"updatedAt":9}"#);
    }

    #[test]
    fn null_clears_and_what_is_unknown_stays() {
        let entry = r#"{"updatedAt":1,"label":"L","sendPolicy":"deny","novel":{"a":1}}"#;
        let done = patch_of(entry, "foo", json!({"key": "foo", "label": null, "sendPolicy": null})).unwrap();
        assert_eq!(done, r#"{"updatedAt":9,"novel":{"a":1}}"#);
    }
}
