//! Members of a request's body, checked one after the other: types, ranges, and the texts that refuse them, in the words
//! programs know from the original (http.md 6.2). Knows no interface.

use serde_json::{Map, Value};

use crate::protocol::{check, lenient};

/// A body as an object, or the text that refuses it; an empty one is an empty object.
pub fn body(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "Invalid JSON: the body is not UTF-8".to_string())?;
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    if check::has_too_many_values(text) {
        return Err("The body has too many values.".to_string());
    }
    match lenient::value(text) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(other) => Err(wrong("", "object", Some(&other))),
        Err(error) => Err(format!("Invalid JSON: {error}")),
    }
}

/// `messages: Invalid input: expected array, received string`.
pub fn wrong(path: &str, expected: &str, found: Option<&Value>) -> String {
    format!("{path}: Invalid input: expected {expected}, received {}", kind(found))
}

fn kind(value: Option<&Value>) -> &'static str {
    match value {
        None => "undefined",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "boolean",
        Some(Value::Number(_)) => "number",
        Some(Value::String(_)) => "string",
        Some(Value::Array(_)) => "array",
        Some(Value::Object(_)) => "object",
    }
}

/// The member of an object; `null` counts as none.
fn member<'a>(from: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    from.get(name).filter(|value| !value.is_null())
}

/// A text that may be missing.
pub fn text<'a>(from: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    typed(from, name, "string", Value::as_str)
}

/// A switch that may be missing.
pub fn flag(from: &Map<String, Value>, name: &str) -> Result<bool, String> {
    typed(from, name, "boolean", Value::as_bool).map(|flag| flag == Some(true))
}

/// A member of a type, which may be missing.
pub fn typed<'a, T>(
    from: &'a Map<String, Value>,
    name: &str,
    expected: &str,
    read: impl Fn(&'a Value) -> Option<T>,
) -> Result<Option<T>, String> {
    match member(from, name) {
        None => Ok(None),
        Some(value) => read(value).map(Some).ok_or_else(|| wrong(name, expected, Some(value))),
    }
}

/// A number within its range.
pub fn number(from: &Map<String, Value>, name: &str, least: i32, most: i32) -> Result<Option<f64>, String> {
    let number = typed(from, name, "number", Value::as_f64)?;
    match number {
        Some(number) if !(f64::from(least)..=f64::from(most)).contains(&number) => {
            Err(format!("`{name}` must be between {least} and {most}."))
        }
        number => Ok(number),
    }
}

/// A count above zero.
pub fn count(from: &Map<String, Value>, name: &str) -> Result<Option<u64>, String> {
    let Some(number) = typed(from, name, "number", Value::as_f64)? else { return Ok(None) };
    match from.get(name).and_then(Value::as_u64) {
        Some(count) if count > 0 => Ok(Some(count)),
        _ if number <= 0.0 => Err(format!("{name}: Too small: expected number to be >0")),
        _ => Err(format!("{name}: Invalid input: expected int, received number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn bodies_are_objects_of_bounded_depth_and_size() {
        assert_eq!(body(b"").unwrap(), Map::new());
        assert_eq!(body(b" \n").unwrap(), Map::new());
        assert_eq!(body(b"[]").unwrap_err(), ": Invalid input: expected object, received array");
        assert!(body(b"{\"a\":").unwrap_err().starts_with("Invalid JSON: EOF"));
        assert!(body(b"{\"a\":\"\xff\"}").unwrap_err().contains("UTF-8"));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(4000), "]".repeat(4000));
        assert!(body(deep.as_bytes()).unwrap_err().contains("recursion"));
        let many = format!("{{\"a\":[{}0]}}", "0,".repeat(crate::limits::JSON_VALUES));
        assert!(body(many.as_bytes()).unwrap_err().contains("too many values"));
    }

    #[test]
    fn members_are_of_their_type_and_in_their_range() {
        let from = object(json!({"s": 1, "b": "x", "n": 9, "t": true, "nothing": null, "c": 0, "h": 1.5,
            "far": 9_007_199_254_740_994.0}));
        assert_eq!(text(&from, "s").unwrap_err(), "s: Invalid input: expected string, received number");
        assert_eq!(flag(&from, "b").unwrap_err(), "b: Invalid input: expected boolean, received string");
        assert_eq!((flag(&from, "t"), flag(&from, "nothing"), text(&from, "none")), (Ok(true), Ok(false), Ok(None)));
        assert_eq!(number(&from, "n", 0, 2).unwrap_err(), "`n` must be between 0 and 2.");
        assert_eq!((number(&from, "n", -9, 9), number(&from, "nothing", 0, 1)), (Ok(Some(9.0)), Ok(None)));
        assert_eq!(count(&from, "c").unwrap_err(), "c: Too small: expected number to be >0");
        assert_eq!(count(&from, "h").unwrap_err(), "h: Invalid input: expected int, received number");
        assert_eq!(count(&from, "n"), Ok(Some(9)));
        assert!(count(&from, "far").unwrap_err().contains("expected int"));
        let from = body(br#"{"w": 2.0, "e": 5e0}"#).unwrap();
        assert_eq!((count(&from, "w"), count(&from, "e")), (Ok(Some(2)), Ok(Some(5))));
    }
}
