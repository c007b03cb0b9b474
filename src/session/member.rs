//! Members of a JSON value that may not be there: absent reads as `null`. Knows nothing of what they mean.

use serde_json::Value;

static NULL: Value = Value::Null;

/// The member of this name.
pub(super) fn at<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&NULL)
}

/// The text of a member.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    at(value, name).as_str()
}

/// The number of a member.
pub(super) fn number(value: &Value, name: &str) -> Option<u64> {
    let value = at(value, name);
    // JavaScript writes whole numbers beyond its integers as floats; all of ours are below 2^53
    let float = || value.as_f64().filter(|number| (0.0..9e15).contains(number)).map(|number| number as u64);
    value.as_u64().or_else(float)
}
