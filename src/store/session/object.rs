//! A JSON object whose members keep their order and, where this program does not know better, their very text.
//! serde_json's own map sorts; the original's files are not sorted, and a rewrite must not reorder them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::layout;
use crate::sys::order;

/// Texts of this length and more are shared between entries: sessions repeat one long list of skills.
const SHARED_BYTES: usize = 256;

/// The value of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// A text.
    Text(Box<str>),
    /// A whole number.
    Number(u64),
    /// `true` or `false`.
    Flag(bool),
    /// Anything else: JSON without white space.
    Raw(Arc<str>),
}

impl From<&str> for Field {
    fn from(text: &str) -> Field {
        Field::Text(text.into())
    }
}

impl From<String> for Field {
    fn from(text: String) -> Field {
        Field::Text(text.into_boxed_str())
    }
}

impl From<u64> for Field {
    fn from(number: u64) -> Field {
        Field::Number(number)
    }
}

impl From<bool> for Field {
    fn from(flag: bool) -> Field {
        Field::Flag(flag)
    }
}

impl From<&Value> for Field {
    fn from(value: &Value) -> Field {
        Field::read(&value.to_string())
    }
}

impl From<&Object> for Field {
    fn from(object: &Object) -> Field {
        Field::Raw(object.print().into())
    }
}

impl Field {
    /// Reads valid JSON. What would be printed differently from how it was written stays as it is.
    fn read(json: &str) -> Field {
        match json.as_bytes().first() {
            Some(b'"') => match serde_json::from_str::<String>(json) {
                Ok(text) if quote(&text) == json => Field::Text(text.into_boxed_str()),
                _ => Field::Raw(json.into()),
            },
            Some(b'0'..=b'9') => match json.parse::<u64>() {
                Ok(number) if number.to_string() == json => Field::Number(number),
                _ => Field::Raw(json.into()),
            },
            _ if json == "true" || json == "false" => Field::Flag(json == "true"),
            _ => Field::Raw(layout::compact(json).into()),
        }
    }

    /// Its JSON without white space.
    pub fn print(&self) -> Cow<'_, str> {
        match self {
            Field::Text(text) => Cow::Owned(quote(text)),
            Field::Number(number) => Cow::Owned(number.to_string()),
            Field::Flag(flag) => Cow::Borrowed(if *flag { "true" } else { "false" }),
            Field::Raw(json) => Cow::Borrowed(json),
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Field::Text(text) => Some(Cow::Borrowed(text)),
            Field::Raw(json) if json.starts_with('"') => serde_json::from_str::<String>(json).ok().map(Cow::Owned),
            _ => None,
        }
    }

    /// The number without its fraction, if it is one and not negative.
    pub fn number(&self) -> Option<u64> {
        match self {
            Field::Number(number) => Some(*number),
            // exact up to 2^53, far beyond the year 200,000
            Field::Raw(json) => json.parse::<f64>().ok().filter(|n| (0.0..9e15).contains(n)).map(|n| n as u64),
            _ => None,
        }
    }

    /// The flag, if it is one.
    pub fn flag(&self) -> Option<bool> {
        match self {
            Field::Flag(flag) => Some(*flag),
            _ => None,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Field::Raw(json) if json.as_ref() == "null")
    }

    /// The value; `null` for one that serde_json refuses (nested too deeply, half a surrogate pair).
    pub fn value(&self) -> Value {
        match self {
            Field::Text(text) => Value::from(text.as_ref()),
            Field::Number(number) => Value::from(*number),
            Field::Flag(flag) => Value::from(*flag),
            Field::Raw(json) => serde_json::from_str(json).unwrap_or_default(),
        }
    }
}

/// Members in the order of the file.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Object {
    members: Vec<(Cow<'static, str>, Field)>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish() // values are people's texts
    }
}

impl Object {
    /// An empty object.
    pub fn new() -> Object {
        Object::default()
    }

    /// Reads a JSON object. Of a repeated name the last value counts, at the place of the first.
    pub fn parse(json: &str) -> Result<Object, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// The member of this name.
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.members.iter().find(|(known, _)| known == name).map(|(_, field)| field)
    }

    /// The text of this name.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name)?.text()
    }

    /// The number of this name.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.number()
    }

    /// The flag of this name.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.get(name)?.flag()
    }

    /// The object of this name.
    pub fn object(&self, name: &str) -> Option<Object> {
        match self.get(name)? {
            Field::Raw(json) => Object::parse(json).ok(),
            _ => None,
        }
    }

    /// Puts a member in place, at the end when it is new.
    pub fn set(&mut self, name: &str, field: impl Into<Field>) {
        let field = field.into();
        match self.members.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = field,
            None => self.members.push((super::entry::name(name), field)),
        }
    }

    /// Takes a member away and says whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.members.len();
        self.members.retain(|(known, _)| known != name);
        before != self.members.len()
    }

    /// Keeps the members whose name passes.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.members.retain(|(name, _)| keep(name));
    }

    /// The names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(name, _)| name.as_ref())
    }

    /// The members in order.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Field)> {
        self.members.iter().map(|(name, field)| (name.as_ref(), field))
    }

    /// Its JSON without white space.
    pub fn print(&self) -> String {
        let mut out = String::from("{");
        for (at, (name, field)) in self.members.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            out.push_str(&quote(name));
            out.push(':');
            out.push_str(&field.print());
        }
        out.push('}');
        out
    }

    /// As a value of serde_json, whose members are sorted.
    pub fn to_map(&self) -> Map<String, Value> {
        order::object(self.members.iter().map(|(name, field)| (name.to_string(), field.value())))
    }

    /// Lets long texts that another object already holds be held once.
    pub fn share(&mut self, pool: &mut BTreeSet<Arc<str>>) {
        for (_, field) in &mut self.members {
            let Field::Raw(json) = field else { continue };
            if json.len() < SHARED_BYTES {
                continue;
            }
            match pool.get(json.as_ref()) {
                Some(known) => *json = Arc::clone(known),
                None => drop(pool.insert(Arc::clone(json))),
            }
        }
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Object, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut object = Object::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    object.set(&name, Field::read(value.get()));
                }
                Ok(object)
            }
        }
        from.deserialize_map(Members)
    }
}

/// A text as JSON.
pub fn quote(text: &str) -> String {
    serde_json::to_string(text).expect("a text is always valid JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_byte_for_byte() {
        for json in [
            r#"{"z":1,"a":"x","m":{"b":[1,2],"a":null},"t":true,"f":1.50,"n":-3,"e":"\u00e9\/","s":"\ud800","big":18446744073709551616}"#,
            r#"{"é\n":"ü\"","":{}}"#,
            "{}",
        ] {
            assert_eq!(Object::parse(json).unwrap().print(), json);
        }
        assert_eq!(Object::parse("{ \"a\" : [ 1 , {\"b\" : 2} ] }").unwrap().print(), r#"{"a":[1,{"b":2}]}"#);
    }

    #[test]
    fn members_keep_their_place_and_the_last_of_a_name_counts() {
        let mut object = Object::parse(r#"{"a":1,"b":2,"a":3}"#).unwrap();
        object.set("b", "x");
        object.set("c", true);
        assert!(object.remove("a") && !object.remove("a"));
        assert_eq!(object.print(), r#"{"b":"x","c":true}"#);
    }

    #[test]
    fn reads_texts_numbers_and_flags_of_odd_spelling() {
        let object = Object::parse(r#"{"t":"\u0041","n":1795238197251.5908,"e":1e3,"m":-1,"x":null}"#).unwrap();
        assert_eq!(object.text("t").unwrap(), "A");
        assert_eq!(
            (object.number("n"), object.number("e"), object.number("m")),
            (Some(1_795_238_197_251), Some(1000), None)
        );
        assert!(object.get("x").unwrap().is_null() && object.flag("x").is_none());
    }

    #[test]
    fn refuses_what_is_no_object() {
        assert!(Object::parse("[1]").is_err() && Object::parse("{\"a\":}").is_err() && Object::parse("").is_err());
    }

    #[test]
    fn long_texts_are_held_once() {
        let long = format!(r#"{{"s":{{"p":"{}"}}}}"#, "x".repeat(400));
        let (mut one, mut two) = (Object::parse(&long).unwrap(), Object::parse(&long).unwrap());
        let mut pool = BTreeSet::new();
        one.share(&mut pool);
        two.share(&mut pool);
        let [Some(Field::Raw(a)), Some(Field::Raw(b))] = [one.get("s"), two.get("s")] else { panic!("raw expected") };
        assert!(Arc::ptr_eq(a, b));
    }
}
