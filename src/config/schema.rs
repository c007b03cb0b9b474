//! The published face of the key table: JSON Schema, hints for user interfaces, lookup of one path.
//! Printers of `keys`; they decide nothing. Shapes: protocol.md 8.1 and 8.4.

use serde_json::{Map, Value};

pub use super::keys::{KEYS, Key, ReloadKind, Type, is_sensitive, is_sensitive_text, reload_kind};
pub use super::validate::{Validation, validate};

use super::keys;
use crate::sys::order;

/// The configuration as JSON Schema, draft 07.
pub fn json_schema() -> Value {
    let mut schema = object_schema("", true);
    if let Value::Object(members) = &mut schema {
        members.insert("$schema".to_string(), json!("http://json-schema.org/draft-07/schema#"));
        members.insert("title".to_string(), json!("OpenClaw configuration"));
    }
    schema
}

/// Hints by path for forms: label, help, group, order, secrecy.
pub fn ui_hints() -> Value {
    let hints = KEYS.iter().enumerate().map(|(order, key)| (key.path.to_string(), hint(order, key)));
    Value::Object(order::object(hints))
}

/// Schema, hint and children of one path; list items may be written `list.0`, `list[0]` or `list.*`.
pub fn lookup(path: &str) -> Option<Value> {
    let path = dotted(path);
    if matches!(path.as_str(), "" | "*") {
        return Some(json!({"path": ".", "schema": shallow(&object_schema("", true)), "children": children("", "")}));
    }
    let (order, key) =
        KEYS.iter().enumerate().find(|(_, key)| keys::find(&path).is_some_and(|k| k.path == key.path))?;
    Some(json!({
        "path": path,
        "schema": shallow(&schema_of(key)),
        "reloadKind": reload_kind(&path).name(),
        "hint": hint(order, key),
        "hintPath": key.path,
        "children": children(key.path, &path),
    }))
}

/// A path with brackets and slashes rewritten to dots.
fn dotted(path: &str) -> String {
    let parts = path.split(['.', '/', '[', ']']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(".")
}

/// The schema without the schemas of its members, which `children` lists.
fn shallow(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Value::Object(members) = &mut schema {
        members.remove("properties");
        members.remove("items");
        members.remove("anyOf");
    }
    schema
}

fn children(pattern: &str, path: &str) -> Vec<Value> {
    let rows = KEYS.iter().enumerate().filter(|(_, key)| keys::parent(key.path) == pattern);
    rows.map(|(order, key)| {
        let name = keys::last(key.path);
        let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
        json!({
            "key": name,
            "reloadKind": reload_kind(&path).name(),
            "path": path,
            "required": false,
            "hasChildren": keys::children(key.path).next().is_some(),
            "type": type_names(key.kind),
            "hint": hint(order, key),
            "hintPath": key.path,
        })
    })
    .collect()
}

fn hint(order: usize, key: &Key) -> Value {
    let group = key.path.split('.').next().unwrap_or_default();
    let mut hint = Map::new();
    hint.insert("label".to_string(), json!(label(keys::last(key.path))));
    hint.insert("help".to_string(), json!(key.doc));
    hint.insert("group".to_string(), json!(label(group)));
    hint.insert("order".to_string(), json!(order));
    if key.sensitive {
        hint.insert("sensitive".to_string(), json!(true));
    }
    if !key.default.is_empty() {
        hint.insert("placeholder".to_string(), json!(key.default.trim_matches('"')));
    }
    Value::Object(hint)
}

/// `controlUi` as people read it: `Control ui`.
fn label(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        match (out.is_empty(), c.is_ascii_uppercase()) {
            (true, _) => out.push(c.to_ascii_uppercase()),
            (false, true) => {
                out.push(' ');
                out.push(c.to_ascii_lowercase());
            }
            (false, false) => out.push(c),
        }
    }
    if out == "*" { "Entry".to_string() } else { out }
}

fn schema_of(key: &Key) -> Value {
    let mut schema = match key.kind {
        Type::Flag => json!({"type": "boolean"}),
        Type::Text => json!({"type": "string"}),
        Type::Number => json!({"type": "number"}),
        Type::Integer(min, i64::MAX) => json!({"type": "integer", "minimum": min}),
        Type::Integer(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        Type::Choice(names) => json!({"type": "string", "enum": names}),
        Type::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Type::List => json!({"type": "array", "items": item_schema(key.path)}),
        Type::Map => json!({"type": "object", "additionalProperties": item_schema(key.path)}),
        Type::Closed => object_schema(key.path, true),
        Type::Open => object_schema(key.path, false),
        Type::TextOr => json!({"anyOf": [{"type": "string"}, object_schema(key.path, false)]}),
        Type::Every => json!({"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]}),
        Type::Any => json!({}),
    };
    if let Value::Object(members) = &mut schema {
        members.insert("description".to_string(), json!(key.doc));
        if let Ok(default) = serde_json::from_str::<Value>(key.default) {
            members.insert("default".to_string(), default);
        }
    }
    schema
}

fn item_schema(pattern: &str) -> Value {
    keys::row(&format!("{pattern}.*")).map_or_else(|| json!({}), schema_of)
}

fn object_schema(pattern: &str, closed: bool) -> Value {
    let properties =
        order::object(keys::children(pattern).map(|key| (keys::last(key.path).to_string(), schema_of(key))));
    let mut schema = json!({"type": "object", "properties": properties});
    if let (true, Value::Object(members)) = (closed, &mut schema) {
        members.insert("additionalProperties".to_string(), json!(false));
    }
    schema
}

fn type_names(kind: Type) -> Value {
    match kind {
        Type::Flag => json!("boolean"),
        Type::Text | Type::Choice(_) => json!("string"),
        Type::Integer(..) => json!("integer"),
        Type::Number => json!("number"),
        Type::Texts | Type::List => json!("array"),
        Type::Map | Type::Closed | Type::Open => json!("object"),
        Type::TextOr => json!(["string", "object"]),
        Type::Every => json!(["string", "integer"]),
        Type::Any => json!(["string", "number", "boolean", "object", "array", "null"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_nests_the_table() {
        let schema = json_schema();
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
        let port = &schema["properties"]["gateway"]["properties"]["port"];
        assert_eq!(port["default"], 18789);
        assert_eq!(port["maximum"], 65535);
        let agent = &schema["properties"]["agents"]["properties"]["list"]["items"];
        assert_eq!(agent["properties"]["identity"]["properties"]["emoji"]["type"], "string");
        let key =
            &schema["properties"]["models"]["properties"]["providers"]["additionalProperties"]["properties"]["apiKey"];
        assert_eq!(key["type"], "string");
    }

    #[test]
    fn every_row_has_a_hint_and_secrets_are_marked() {
        let hints = ui_hints();
        assert_eq!(hints.as_object().map(|hints| hints.len()), Some(KEYS.len()));
        assert_eq!(hints["gateway.auth.token"]["sensitive"], true);
        assert_eq!(hints["gateway.controlUi"]["label"], "Control ui");
        assert_eq!(hints["gateway.port"]["placeholder"], "18789");
    }

    #[test]
    fn lookup_shows_one_level() {
        let found = lookup("gateway.auth").unwrap();
        assert_eq!(found["path"], "gateway.auth");
        assert_eq!(found["reloadKind"], "restart");
        assert!(found["schema"].get("properties").is_none());
        let names: Vec<_> = found["children"].as_array().unwrap().iter().map(|c| c["key"].as_str().unwrap()).collect();
        assert!(names.starts_with(&["mode", "token", "password"]), "{names:?}");
        assert_eq!(found["children"][4]["hasChildren"], true);
    }

    #[test]
    fn lookup_reads_brackets_and_knows_what_it_does_not_know() {
        assert_eq!(lookup("agents.list[0].id").unwrap()["path"], "agents.list.0.id");
        assert_eq!(lookup("agents/list/*/id").unwrap()["hintPath"], "agents.list.*.id");
        assert_eq!(lookup("nope.x"), None);
        assert!(lookup(".").unwrap()["children"].as_array().unwrap().len() > 20);
    }
}
