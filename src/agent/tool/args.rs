//! Arguments as models send them, brought into the form of the table and checked. Pure; knows no tool.

use serde_json::{Map, Value};

use super::table::Tool;
use crate::limits;
use crate::protocol::check;
use crate::protocol::kinds::Kind;

/// Checked arguments of one call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Args(Map<String, Value>);

impl Args {
    /// Arguments for this tool; the text says what is wrong with them. Other spellings are accepted, `null` counts as
    /// absent, and numbers and switches written as texts are read: small models do all of that.
    pub fn read(tool: &Tool, arguments: &Value) -> Result<Args, String> {
        let parsed = match arguments {
            Value::String(text) if text.trim().is_empty() => Value::Object(Map::new()),
            Value::String(text) if check::has_too_many_values(text) => {
                return Err(format!("the arguments have more than {} values", limits::JSON_VALUES));
            }
            Value::String(text) => {
                serde_json::from_str(text).map_err(|fault| format!("the arguments are no JSON: {fault}"))?
            }
            Value::Null => Value::Object(Map::new()),
            other => other.clone(),
        };
        let Value::Object(mut members) = parsed else { return Err("the arguments must be an object".to_string()) };
        members.retain(|_, value| !value.is_null());
        respell(tool, &mut members);
        loosen(tool, &mut members);
        let value = Value::Object(members);
        let faults = check::check(&tool.parameters, &value);
        match value {
            Value::Object(members) if faults.is_empty() => Ok(Args(members)),
            _ => Err(check::text(&faults)),
        }
    }

    /// A text; the empty one when absent.
    pub fn text(&self, name: &str) -> &str {
        self.optional(name).unwrap_or_default()
    }

    /// A text that may be absent.
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// A number; whole ones may be written with a fraction of zero.
    pub fn count(&self, name: &str) -> Option<usize> {
        let value = self.0.get(name)?;
        let float = || value.as_f64().filter(|float| *float >= 0.0).map(|float| format!("{float:.0}"));
        let whole = value.as_u64().or_else(|| float()?.parse().ok())?;
        usize::try_from(whole).ok()
    }

    /// All of them.
    pub fn whole(&self) -> &Map<String, Value> {
        &self.0
    }

    /// A fraction.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.0.get(name)?.as_f64()
    }

    /// A switch; off when absent.
    pub fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// The members of an object.
    pub fn members(&self, name: &str) -> impl Iterator<Item = (&str, &Value)> {
        let object = self.0.get(name).and_then(Value::as_object);
        object.into_iter().flatten().map(|(name, value)| (name.as_str(), value))
    }
}

fn respell(tool: &Tool, members: &mut Map<String, Value>) {
    for (other, name) in tool.spellings {
        if let Some(value) = members.remove(*other) {
            members.entry(*name).or_insert(value);
        }
    }
}

fn loosen(tool: &Tool, members: &mut Map<String, Value>) {
    let Kind::Obj(object) = tool.parameters else { return };
    for field in object.fields {
        let Some(Value::String(text)) = members.get(field.name) else { continue };
        let text = text.trim();
        let read = match field.kind {
            Kind::Int { .. } | Kind::Num => text.parse::<serde_json::Number>().ok().map(Value::Number),
            Kind::Bool => text.to_ascii_lowercase().parse().ok().map(Value::Bool),
            _ => None,
        };
        if let Some(value) = read {
            members.insert(field.name.to_string(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::tool::table::find;

    fn read(tool: &str, arguments: Value) -> Result<Args, String> {
        Args::read(find(tool).unwrap(), &arguments)
    }

    #[test]
    fn spellings_nulls_and_texts_of_numbers_are_read() {
        let args = read("read", json!({"file_path": "a", "offset": "3", "limit": null, "extra": 1})).unwrap();
        assert_eq!((args.text("path"), args.count("offset"), args.count("limit")), ("a", Some(3), None));
        assert_eq!(
            read("edit", json!("{\"path\":\"a\",\"old_string\":\"b\",\"new_string\":\"\"}")).unwrap().text("oldText"),
            "b"
        );
        assert!(read("exec", json!({"command": "x", "background": "true"})).unwrap().flag("background"));
        assert_eq!(read("exec", json!({"command": "x", "timeout": 5.0})).unwrap().count("timeout"), Some(5));
        assert!(read("sessions_list", json!("")).is_ok() && read("sessions_list", Value::Null).is_ok());
    }

    #[test]
    fn wrong_arguments_are_named() {
        assert_eq!(read("read", json!({})).unwrap_err(), "must have required property 'path'");
        assert_eq!(read("read", json!({"path": 5})).unwrap_err(), "at /path: must be string");
        assert_eq!(read("read", json!({"path": "x", "offset": 0})).unwrap_err(), "at /offset: must be >= 1");
        assert_eq!(read("read", json!([])).unwrap_err(), "the arguments must be an object");
        assert!(read("read", json!("{\"path\":")).unwrap_err().starts_with("the arguments are no JSON: EOF"));
        let many = format!("{{\"path\":[{}0]}}", "0,".repeat(limits::JSON_VALUES));
        assert!(read("read", json!(many)).unwrap_err().contains("values"), "a text of two bytes a value");
        assert!(read("process", json!({"action": "dance"})).unwrap_err().contains("must be equal to constant"));
    }
}
