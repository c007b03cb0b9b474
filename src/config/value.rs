//! Reading members out of an untyped JSON value without ever failing: a wrong type reads as absent, because
//! validation has already reported it.

use std::time::Duration;

use serde_json::Value;

use super::secret::Secret;

static NULL: Value = Value::Null;

/// One place in a configuration value, possibly absent.
#[derive(Clone, Copy)]
pub(super) struct Node<'a>(&'a Value);

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value) -> Node<'a> {
        Node(value)
    }

    pub(super) fn at(self, key: &str) -> Node<'a> {
        Node(self.0.get(key).unwrap_or(&NULL))
    }

    /// The first of several spellings that is present.
    pub(super) fn either(self, paths: &[&str]) -> Node<'a> {
        let found = paths.iter().map(|path| path.split('.').fold(self, Node::at)).find(|node| !node.0.is_null());
        found.unwrap_or(Node(&NULL))
    }

    pub(super) fn is_present(self) -> bool {
        !self.0.is_null()
    }

    /// Text with its blanks trimmed; blank text counts as absent.
    pub(super) fn text(self) -> Option<String> {
        self.0.as_str().map(str::trim).filter(|text| !text.is_empty()).map(String::from)
    }

    pub(super) fn secret(self) -> Option<Secret> {
        self.0.as_str().filter(|text| !text.trim().is_empty()).map(Secret::new)
    }

    pub(super) fn flag(self) -> Option<bool> {
        self.0.as_bool()
    }

    pub(super) fn integer(self) -> Option<u64> {
        self.0.as_u64()
    }

    pub(super) fn number(self) -> Option<f64> {
        self.0.as_f64()
    }

    pub(super) fn millis(self) -> Option<Duration> {
        self.integer().map(Duration::from_millis)
    }

    pub(super) fn texts(self) -> Vec<String> {
        self.items().filter_map(|item| item.text()).collect()
    }

    pub(super) fn items(self) -> impl Iterator<Item = Node<'a>> {
        self.0.as_array().into_iter().flatten().map(Node)
    }

    pub(super) fn members(self) -> impl Iterator<Item = (&'a str, Node<'a>)> {
        self.0.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), Node(value)))
    }
}

/// A duration as written in `heartbeat.every`: `30m`, `1h30m`, `45s`, `500ms`, `2d`; a bare number is minutes
/// (agent.md 25).
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim().to_ascii_lowercase();
    if text.is_empty() {
        return None;
    }
    let mut rest = text.as_str();
    let mut total = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(letters)?;
        total += number.parse::<f64>().ok()? * seconds_per(unit.trim())?;
        rest = tail;
    }
    Duration::try_from_secs_f64(total).ok()
}

fn seconds_per(unit: &str) -> Option<f64> {
    Some(match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "" | "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_bare_numbers_are_minutes() {
        let seconds = |text| duration(text).map(|d| d.as_secs_f64());
        assert_eq!(seconds("30m"), Some(1800.0));
        assert_eq!(seconds("1h30m"), Some(5400.0));
        assert_eq!(seconds(" 1.5H "), Some(5400.0));
        assert_eq!(seconds("500ms"), Some(0.5));
        assert_eq!(seconds("5"), Some(300.0));
        assert_eq!(seconds("0m"), Some(0.0));
        for bad in ["", "m", "x", "1y", "-5m", "1..2s", "99999999999999999999999999d"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn wrong_types_read_as_absent() {
        let value = json!({"a": 5, "b": " ", "c": [1, "x", " "]});
        let node = Node::root(&value);
        assert_eq!(node.at("a").text(), None);
        assert_eq!(node.at("b").text(), None);
        assert_eq!(node.at("a").at("deep").flag(), None);
        assert_eq!(node.at("c").texts(), ["x"]);
        assert_eq!(node.either(&["q.r", "a"]).integer(), Some(5));
    }
}
