//! Reads the members of a strict request body one by one: each has a type, and what is left over is an error. Texts of
//! errors begin with the member's path, in the wording of the original's validator (http.md 8.1).

use std::fmt;

use serde_json::{Map, Value};

use super::fields::wrong;

/// Where a value stands in the body; written as `tools.0.name`.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    up: Option<&'a At<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Name(&'a str),
    Index(usize),
}

impl<'a> At<'a> {
    /// The body itself.
    pub const ROOT: At<'static> = At { up: None, step: Step::Root };

    /// A member of it.
    pub fn name(&'a self, name: &'a str) -> At<'a> {
        At { up: Some(self), step: Step::Name(name) }
    }

    /// An item of it.
    pub fn item(&'a self, index: usize) -> At<'a> {
        At { up: Some(self), step: Step::Index(index) }
    }

    /// What is wrong there.
    pub fn fault(&self, what: &str) -> Refused {
        Refused(format!("{self}: {what}"))
    }

    /// Another type than it has to be.
    pub fn expected(&self, what: &str, found: &Value) -> Refused {
        Refused(wrong(&self.to_string(), what, Some(found)))
    }

    fn missing(&self, what: &str) -> Refused {
        Refused(wrong(&self.to_string(), what, None))
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(up) = self.up.filter(|up| !matches!(up.step, Step::Root)) {
            write!(f, "{up}.")?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Name(name) => f.write_str(name),
            Step::Index(index) => write!(f, "{index}"),
        }
    }
}

/// Why a request is refused, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

/// What a member has to be when nothing but its type counts.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A text.
    Text,
    /// True or false.
    Flag,
    /// A whole number above zero.
    Count,
    /// A list.
    List,
    /// An object.
    Object,
    /// An object whose members are texts.
    Texts,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Anything.
    Any,
}

impl Shape {
    fn check(self, at: &At<'_>, value: &Value) -> Result<(), Refused> {
        let (fits, name) = match self {
            Shape::Text => (value.is_string(), "string"),
            Shape::Flag => (value.is_boolean(), "boolean"),
            Shape::Count => (value.as_u64().is_some_and(|n| n > 0), "positive integer"),
            Shape::List => (value.is_array(), "array"),
            Shape::Object | Shape::Texts => (value.is_object(), "object"),
            Shape::Word(words) => (value.as_str().is_some_and(|word| words.contains(&word)), ""),
            Shape::Any => (true, ""),
        };
        match (self, value) {
            (Shape::Word(words), _) if !fits => {
                Err(at.fault(&format!("Invalid option: expected one of {}", words.join("|"))))
            }
            (Shape::Texts, Value::Object(map)) => match map.iter().find(|(_, value)| !value.is_string()) {
                Some((name, value)) => Err(at.name(name).expected("string", value)),
                None => Ok(()),
            },
            _ if fits => Ok(()),
            _ => Err(at.expected(name, value)),
        }
    }
}

/// The members of an object.
#[derive(Debug)]
pub struct Fields<'a> {
    at: At<'a>,
    map: Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// Of a value that has to be an object.
    pub fn of(value: Value, at: At<'a>) -> Result<Fields<'a>, Refused> {
        match value {
            Value::Object(map) => Ok(Fields { at, map }),
            other => Err(at.expected("object", &other)),
        }
    }

    /// Where the object stands.
    pub fn at(&self) -> &At<'a> {
        &self.at
    }

    /// A member that may be missing; `null` is as good as that, since SDKs send it for what was not said.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// Whether a member was said.
    pub fn has(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|value| !value.is_null())
    }

    /// The word that says which kind of object it is.
    pub fn word(&self, name: &str) -> Option<&str> {
        self.map.get(name).and_then(Value::as_str)
    }

    /// A member of that shape, if it was said.
    pub fn shaped(&mut self, name: &str, shape: Shape) -> Result<Option<Value>, Refused> {
        let Some(value) = self.take(name) else { return Ok(None) };
        shape.check(&self.at.name(name), &value)?;
        Ok(Some(value))
    }

    /// A text.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Refused> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.at.name(name).expected("string", &other)),
        }
    }

    /// A text that has to be there.
    pub fn need_text(&mut self, name: &str) -> Result<String, Refused> {
        self.text(name)?.ok_or_else(|| self.at.name(name).missing("string"))
    }

    /// Any value that has to be there.
    pub fn need(&mut self, name: &str, what: &str) -> Result<Value, Refused> {
        self.take(name).ok_or_else(|| self.at.name(name).missing(what))
    }

    /// A switch; off when it was not said.
    pub fn flag(&mut self, name: &str) -> Result<bool, Refused> {
        Ok(self.shaped(name, Shape::Flag)?.and_then(|value| value.as_bool()).unwrap_or(false))
    }

    /// A whole number above zero.
    pub fn count(&mut self, name: &str) -> Result<Option<u64>, Refused> {
        Ok(self.shaped(name, Shape::Count)?.and_then(|value| value.as_u64()))
    }

    /// A number from zero to `most`.
    pub fn number(&mut self, name: &str, most: f64) -> Result<Option<f64>, Refused> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let at = self.at.name(name);
        let number = value.as_f64().ok_or_else(|| at.expected("number", &value))?;
        match (0.0..=most).contains(&number) {
            true => Ok(Some(number)),
            false => Err(at.fault(&format!("must be between 0 and {most}"))),
        }
    }

    /// A list; empty when it was not said.
    pub fn list(&mut self, name: &str) -> Result<Vec<Value>, Refused> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(list),
            Some(other) => Err(self.at.name(name).expected("array", &other)),
        }
    }

    /// Members that may be there, are looked at, and change nothing.
    pub fn pass(&mut self, members: &[(&str, Shape)]) -> Result<(), Refused> {
        members.iter().try_for_each(|(name, shape)| self.shaped(name, *shape).map(drop))
    }

    /// Everything else is an error.
    pub fn done(self) -> Result<(), Refused> {
        let names: Vec<String> = self.map.keys().take(8).map(|name| Value::from(clip(name)).to_string()).collect();
        match names.len() {
            0 => Ok(()),
            1 => Err(self.at.fault(&format!("Unrecognized key: {}", names.concat()))),
            _ => Err(self.at.fault(&format!("Unrecognized keys: {}", names.join(", ")))),
        }
    }
}

/// A name that can be repeated in an error.
pub fn clip(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: Value) -> Fields<'static> {
        Fields::of(value, At::ROOT).unwrap()
    }

    #[test]
    fn faults_name_the_path_in_the_originals_words() {
        let tools = At::ROOT.name("tools");
        let tool = tools.item(0);
        let mut fields = Fields::of(json!({"name": 3}), tool).unwrap();
        assert_eq!(
            fields.need_text("name").unwrap_err().0,
            "tools.0.name: Invalid input: expected string, received number"
        );
        assert_eq!(
            fields.need_text("other").unwrap_err().0,
            "tools.0.other: Invalid input: expected string, received undefined"
        );
        assert_eq!(of(json!({"foo": 1})).done().unwrap_err().0, ": Unrecognized key: \"foo\"");
        assert_eq!(of(json!({"b": 1, "a": 1})).done().unwrap_err().0, ": Unrecognized keys: \"a\", \"b\"");
        let fault = Fields::of(json!([]), At::ROOT).unwrap_err();
        assert_eq!(fault.0, ": Invalid input: expected object, received array");
    }

    #[test]
    fn null_is_as_good_as_missing() {
        let mut fields = of(json!({"a": null, "b": null, "c": null}));
        assert_eq!((fields.text("a"), fields.flag("b"), fields.list("c")), (Ok(None), Ok(false), Ok(vec![])));
        assert_eq!(fields.done(), Ok(()));
    }

    #[test]
    fn numbers_have_bounds() {
        let number = |value: Value, most| of(json!({"t": value})).number("t", most);
        assert_eq!(number(json!(2), 2.0), Ok(Some(2.0)));
        assert_eq!(number(json!(2.1), 2.0).unwrap_err().0, "t: must be between 0 and 2");
        assert!(number(json!("1"), 2.0).unwrap_err().0.contains("received string"));
        let count = |value: Value| of(json!({"n": value})).count("n");
        assert_eq!(count(json!(1)), Ok(Some(1)));
        let refused = [json!(0), json!(-1), json!(1.5), json!(1e16), json!(1e300), json!("1")];
        assert!(refused.into_iter().all(|value| count(value).is_err()));
    }

    #[test]
    fn shapes_look_inside() {
        let shaped = |value: Value, shape| of(json!({"m": value})).shaped("m", shape);
        assert!(shaped(json!({"a": "b"}), Shape::Texts).is_ok());
        let fault = shaped(json!({"a": 1}), Shape::Texts).unwrap_err();
        assert_eq!(fault.0, "m.a: Invalid input: expected string, received number");
        let fault = shaped(json!("c"), Shape::Word(&["a", "b"])).unwrap_err();
        assert_eq!(fault.0, "m: Invalid option: expected one of a|b");
    }
}
