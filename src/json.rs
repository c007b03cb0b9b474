//! `json!`, the form of serde_json's macro in a fifth of the code: a member is one call, and all of an object unwind
//! the same way (serde_json inlines a text, a map insertion, a panic and a clean-up for each). Knows nothing of the
//! program; stands before all modules so that every file has it without importing it.

use serde::Serialize;
use serde_json::{Map, Value};

/// Builds a [`Value`] from a JSON literal; expressions are taken by reference and may be anything that serialises.
/// Names are literals, variables or expressions in parentheses.
macro_rules! json {
    (null) => { ::serde_json::Value::Null };
    ([]) => { ::serde_json::Value::Array(::std::vec::Vec::new()) };
    ({}) => { ::serde_json::Value::Object(::serde_json::Map::new()) };
    ([ $($items:tt)+ ]) => {{
        let mut list = $crate::json::List::default();
        json!(@list list $($items)+);
        list.done()
    }};
    ({ $($members:tt)+ }) => {{
        let mut object = $crate::json::Object::default();
        json!(@object object $($members)+);
        object.done()
    }};

    (@object $object:ident) => {};
    (@object $object:ident $name:literal : $($rest:tt)+) => { json!(@member $object ($name) $($rest)+); };
    (@object $object:ident $name:ident : $($rest:tt)+) => { json!(@member $object ($name) $($rest)+); };
    (@object $object:ident ($name:expr) : $($rest:tt)+) => { json!(@member $object ($name) $($rest)+); };

    (@member $object:ident ($name:expr) null $(, $($rest:tt)*)?) => {
        $object.put_value(&*$name, ::serde_json::Value::Null);
        json!(@object $object $($($rest)*)?);
    };
    (@member $object:ident ($name:expr) { $($value:tt)* } $(, $($rest:tt)*)?) => {
        $object.put_value(&*$name, json!({ $($value)* }));
        json!(@object $object $($($rest)*)?);
    };
    (@member $object:ident ($name:expr) [ $($value:tt)* ] $(, $($rest:tt)*)?) => {
        $object.put_value(&*$name, json!([ $($value)* ]));
        json!(@object $object $($($rest)*)?);
    };
    (@member $object:ident ($name:expr) $value:literal $(, $($rest:tt)*)?) => {
        $object.put_literal(&*$name, $value);
        json!(@object $object $($($rest)*)?);
    };
    (@member $object:ident ($name:expr) $value:expr $(, $($rest:tt)*)?) => {
        $object.put(&*$name, &$value);
        json!(@object $object $($($rest)*)?);
    };

    (@list $list:ident) => {};
    (@list $list:ident null $(, $($rest:tt)*)?) => {
        $list.push_value(::serde_json::Value::Null);
        json!(@list $list $($($rest)*)?);
    };
    (@list $list:ident { $($value:tt)* } $(, $($rest:tt)*)?) => {
        $list.push_value(json!({ $($value)* }));
        json!(@list $list $($($rest)*)?);
    };
    (@list $list:ident [ $($value:tt)* ] $(, $($rest:tt)*)?) => {
        $list.push_value(json!([ $($value)* ]));
        json!(@list $list $($($rest)*)?);
    };
    (@list $list:ident $value:expr $(, $($rest:tt)*)?) => {
        $list.push_value($crate::json::value(&$value));
        json!(@list $list $($($rest)*)?);
    };

    ($value:expr) => { $crate::json::value(&$value) };
}

/// An object under construction.
#[derive(Debug, Default)]
pub struct Object(Map<String, Value>);

impl Object {
    /// Adds whatever serialises.
    pub fn put<T: Serialize + ?Sized>(&mut self, name: &str, member: &T) {
        self.put_value(name, value(member));
    }

    /// Adds a number, text or switch; by value, so that a literal text needs no place of its own.
    pub fn put_literal<T: Into<Value>>(&mut self, name: &str, member: T) {
        self.put_value(name, member.into());
    }

    /// Adds a value; the last of equal names stays.
    pub fn put_value(&mut self, name: &str, member: Value) {
        self.0.insert(name.to_owned(), member);
    }

    /// The object.
    pub fn done(self) -> Value {
        Value::Object(self.0)
    }
}

/// A list under construction.
#[derive(Debug, Default)]
pub struct List(Vec<Value>);

impl List {
    /// Adds a value.
    pub fn push_value(&mut self, item: Value) {
        self.0.push(item);
    }

    /// The list.
    pub fn done(self) -> Value {
        Value::Array(self.0)
    }
}

/// What a thing is as JSON.
///
/// # Panics
/// Where the library's macro does: a map whose keys are no texts, which no type of this program holds.
pub fn value<T: Serialize + ?Sized>(thing: &T) -> Value {
    serde_json::to_value(thing).expect("names are texts")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json as library};

    #[test]
    fn builds_what_the_library_builds() {
        let (name, list, none) = ("n".to_string(), vec![1, 2], None::<u8>);
        let ours = json!({
            "null": null, "yes": true, "number": -1.5, "text": "t", "empty": {}, "none": [], "list": list, "of": none,
            name: list.len() + 1, (format!("{name}2")): {"deep": [null, {"a": [1, "b", name]}, [], name.len(), ["x"].concat()]},
            "call": ["x", "y"].concat(),
        });
        let theirs = library!({
            "null": null, "yes": true, "number": -1.5, "text": "t", "empty": {}, "none": [], "list": list, "of": none,
            "n": list.len() + 1, "n2": {"deep": [null, {"a": [1, "b", name]}, [], name.len(), "x"]},
            "call": "xy",
        });
        assert_eq!(ours, theirs);
        assert_eq!(
            (json!(null), json!([]), json!({}), json!(name)),
            (Value::Null, library!([]), library!({}), "n".into())
        );
    }

    #[test]
    fn the_last_of_equal_names_stays() {
        assert_eq!(json!({"a": 1, "a": 2}), library!({"a": 2}));
    }
}
