//! JSON in little code. `json!` has the form of serde_json's macro, but a member is one call, and all of an object
//! unwind the same way (serde_json inlines a text, a map insertion, a panic and a clean-up for each). [`Members`] reads
//! objects with members that must survive; serde's `flatten` and `tag` compile a parser of their own for each such type.
//! Knows nothing of the program; stands before all modules so that every file has `json!` without importing it.

use std::mem::ManuallyDrop;

use serde::Serialize;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::{Error, Map, Value};

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

/// An object under construction. When one of its values panics it is leaked: cleaning up would cost code at every use,
/// and a panic is a fault of this program anyway.
#[derive(Debug, Default)]
pub struct Object(ManuallyDrop<Map<String, Value>>);

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
        Value::Object(ManuallyDrop::into_inner(self.0))
    }
}

/// A list under construction, leaked as [`Object`] is.
#[derive(Debug, Default)]
pub struct List(ManuallyDrop<Vec<Value>>);

impl List {
    /// Adds a value.
    pub fn push_value(&mut self, item: Value) {
        self.0.push(item);
    }

    /// The list.
    pub fn done(self) -> Value {
        Value::Array(ManuallyDrop::into_inner(self.0))
    }
}

/// What a thing is as JSON.
///
/// # Panics
/// Where the library's macro does: a map whose keys are no texts, which no type of this program holds.
pub fn value<T: Serialize + ?Sized>(thing: &T) -> Value {
    serde_json::to_value(thing).expect("names are texts")
}

/// The members of an object, taken out one by one. What is wrong is kept until [`Members::done`], so that a record is
/// written down as one expression without a way out at each of its members.
#[derive(Debug)]
pub struct Members {
    left: Map<String, Value>,
    fault: Option<Error>,
}

impl Members {
    /// Of a value that has to be an object.
    pub fn of(value: Value) -> Members {
        match value {
            Value::Object(left) => Members { left, fault: None },
            _ => Members { left: Map::new(), fault: Some(Error::custom("expected an object")) },
        }
    }

    /// A member that may be missing.
    pub fn take<T: DeserializeOwned + Default>(&mut self, name: &str) -> T {
        self.left.remove(name).map_or_else(T::default, |value| self.typed(value))
    }

    /// A member that has to be there.
    pub fn need<T: DeserializeOwned + Default>(&mut self, name: &'static str) -> T {
        let value = self.value(name);
        value.map_or_else(T::default, |value| self.typed(value))
    }

    /// A member that has to be there, as it is.
    pub fn value(&mut self, name: &'static str) -> Option<Value> {
        let value = self.left.remove(name);
        if value.is_none() {
            self.wrong(Error::missing_field(name));
        }
        value
    }

    /// A member that may be missing, as it is.
    pub fn maybe(&mut self, name: &str) -> Option<Value> {
        self.left.remove(name)
    }

    /// The members of a value inside of this one.
    pub fn inside<T>(&mut self, value: Value, read: impl FnOnce(&mut Members) -> T) -> T {
        let mut from = Members::of(value);
        let part = read(&mut from);
        from.fault.into_iter().for_each(|fault| self.wrong(fault));
        part
    }

    fn typed<T: DeserializeOwned + Default>(&mut self, value: Value) -> T {
        T::deserialize(value).unwrap_or_else(|fault| {
            self.wrong(fault);
            T::default()
        })
    }

    /// Refuses the record for a reason of its own.
    pub fn refuse(&mut self, why: &str) {
        self.wrong(Error::custom(why));
    }

    /// The first fault is the one that is told.
    fn wrong(&mut self, fault: Error) {
        self.fault.get_or_insert(fault);
    }

    /// All members that were not taken.
    pub fn rest(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.left)
    }

    /// The record, unless something was wrong.
    ///
    /// # Errors
    /// The first member that is missing or of another type.
    pub fn done<T>(self, record: T) -> Result<T, Error> {
        self.fault.map_or(Ok(record), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::Members;
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

    #[test]
    fn members_are_taken_and_the_first_fault_is_told() {
        let read = |value: Value| {
            let mut from = Members::of(value);
            let record = (from.need::<String>("id"), from.take::<u64>("n"), from.take::<Option<bool>>("flag"));
            let rest = Value::Object(from.rest());
            from.done((record, rest)).map_err(|fault| fault.to_string())
        };
        let whole = read(json!({"id": "x", "n": 3, "flag": null, "more": [1]}));
        assert_eq!(whole, Ok((("x".to_string(), 3, None), json!({"more": [1]}))));
        assert_eq!(read(json!({"n": "no"})), Err("missing field `id`".to_string()));
        assert_eq!(read(json!({"id": null})), Err("invalid type: null, expected a string".to_string()));
        assert_eq!(read(json!({"id": "x", "n": -1})).map_err(|fault| fault.contains("-1")), Err(true));
        assert_eq!(read(json!(["x"])), Err("expected an object".to_string()));
    }
}
