//! Changes single values in a configuration file's text and leaves everything else as it is: comments, order, spelling.
//! Knows no key and writes no file.

use jsonc_parser::cst::{CstArray, CstInputValue, CstNode, CstObject, CstRootNode};
use serde_json::Value;

use super::json5;

/// One step of a path.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A member of an object; made where it is missing.
    Name(String),
    /// An element of a list, which must be there.
    At(usize),
}

/// What is done at the end of a path.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// The member gets this value.
    Put(Value),
    /// The list gets this as its last element; it is made where it is missing.
    Append(Value),
    /// The member or element goes; nothing happens when there is none.
    Remove,
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    path: Vec<Step>,
    act: Act,
}

impl Change {
    /// A change at a path of names.
    pub fn at(names: &[&str], act: Act) -> Change {
        Change { path: names.iter().map(|name| Step::Name((*name).to_string())).collect(), act }
    }

    /// A change at any path.
    pub fn new(path: Vec<Step>, act: Act) -> Change {
        Change { path, act }
    }
}

/// The text after these changes, in their order.
///
/// # Errors
/// A text that cannot be read, or a path that leads through something else than it says.
pub fn apply(text: &str, changes: &[Change]) -> Result<String, String> {
    let root = CstRootNode::parse(text, &json5::options()).map_err(|error| error.to_string())?;
    let top = root.object_value_or_create().ok_or("the file is not an object")?;
    for change in changes {
        perform(Place::Object(top.clone()), change)?;
    }
    Ok(root.to_string())
}

enum Place {
    Object(CstObject),
    Array(CstArray),
}

fn perform(top: Place, change: &Change) -> Result<(), String> {
    let Some((last, way)) = change.path.split_last() else { return Err("no path".to_string()) };
    let mut at = top;
    for (step, next) in way.iter().zip(change.path.iter().skip(1)) {
        at = down(&at, step, matches!(next, Step::At(_)))?;
    }
    match &change.act {
        Act::Put(value) => put(&at, last, input(value)),
        Act::Append(value) => match down(&at, last, true)? {
            Place::Array(list) => {
                list.append(input(value));
                Ok(())
            }
            Place::Object(_) => Err(wrong(last)),
        },
        Act::Remove => {
            remove(&at, last);
            Ok(())
        }
    }
}

fn down(at: &Place, step: &Step, to_list: bool) -> Result<Place, String> {
    let found = match (at, step, to_list) {
        (Place::Object(object), Step::Name(name), false) => object.object_value_or_create(name).map(Place::Object),
        (Place::Object(object), Step::Name(name), true) => object.array_value_or_create(name).map(Place::Array),
        (Place::Array(list), Step::At(_), false) => element(list, step).and_then(|e| e.as_object()).map(Place::Object),
        _ => None,
    };
    found.ok_or_else(|| wrong(step))
}

fn wrong(step: &Step) -> String {
    match step {
        Step::Name(name) => format!("{name} has an unexpected form"),
        Step::At(at) => format!("element {at} has an unexpected form"),
    }
}

fn element(list: &CstArray, step: &Step) -> Option<CstNode> {
    let Step::At(at) = step else { return None };
    list.elements().into_iter().nth(*at)
}

fn put(at: &Place, last: &Step, value: CstInputValue) -> Result<(), String> {
    let (Place::Object(object), Step::Name(name)) = (at, last) else { return Err(wrong(last)) };
    match object.get(name) {
        Some(known) => known.set_value(value),
        None => drop(object.append(name, value)),
    }
    Ok(())
}

fn remove(at: &Place, last: &Step) {
    match (at, last) {
        (Place::Object(object), Step::Name(name)) => {
            if let Some(known) = object.get(name) {
                known.remove();
            }
        }
        (Place::Array(list), step) => {
            if let Some(element) = element(list, step) {
                element.remove();
            }
        }
        (Place::Object(_), Step::At(_)) => {}
    }
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(flag) => CstInputValue::Bool(*flag),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(members) => {
            CstInputValue::Object(members.iter().map(|(name, value)| (name.clone(), input(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &[&str] = &["agents", "defaults", "model"];

    fn put(text: &str) -> String {
        apply(text, &[Change::at(MODEL, Act::Put("p/m".into()))]).unwrap()
    }

    fn parsed(text: &str) -> Value {
        json5::parse(text).unwrap().value
    }

    #[test]
    fn comments_and_spelling_stay() {
        let text = "{\n  // mine\n  gateway: {port: 1}, // end\n  agents: {defaults: {model: 'old/one'}},\n}\n";
        assert_eq!(put(text), text.replace("'old/one'", "\"p/m\""));
    }

    #[test]
    fn missing_objects_are_made() {
        for text in ["", "{}", "{gateway: {}}", "{agents: {}}"] {
            assert_eq!(parsed(&put(text))["agents"]["defaults"]["model"], "p/m", "{text}");
        }
    }

    #[test]
    fn lists_grow_and_shrink_round_their_comments() {
        let text = "{\n  agents: {\n    list: [\n      // first\n      {id: 'a'},\n      {id: 'b'}, // second\n    ],\n  },\n}\n";
        let list = || vec![Step::Name("agents".into()), Step::Name("list".into())];
        let at = |n: usize| list().into_iter().chain([Step::At(n)]).collect::<Vec<_>>();
        let name = |n: usize| at(n).into_iter().chain([Step::Name("name".into())]).collect::<Vec<_>>();
        let grown = apply(
            text,
            &[
                Change::new(list(), Act::Append(json!({"id": "c", "identity": {"emoji": "x"}}))),
                Change::new(name(1), Act::Put("Bee".into())),
            ],
        )
        .unwrap();
        let all = json!([{"id": "a"}, {"id": "b", "name": "Bee"}, {"id": "c", "identity": {"emoji": "x"}}]);
        assert_eq!(parsed(&grown)["agents"]["list"], all, "{grown}");
        assert!(grown.contains("// first") && grown.contains("// second"), "{grown}");
        let shrunk = apply(&grown, &[Change::new(at(1), Act::Remove), Change::new(name(0), Act::Remove)]).unwrap();
        assert_eq!(parsed(&shrunk)["agents"]["list"], json!([{"id": "a"}, all[2]]), "{shrunk}");
        assert!(shrunk.contains("// first"), "{shrunk}");
    }

    #[test]
    fn a_list_is_made_where_there_is_none() {
        let made = apply("{}", &[Change::at(&["agents", "list"], Act::Append(json!({"id": "a"})))]).unwrap();
        assert_eq!(parsed(&made)["agents"]["list"], json!([{"id": "a"}]));
    }

    #[test]
    fn what_is_of_another_form_is_refused() {
        let model = |text: &str| apply(text, &[Change::at(MODEL, Act::Put("x".into()))]);
        assert!(model("[1]").is_err());
        assert!(model("{agents: 5}").unwrap_err().contains("agents"));
        let list = apply("{agents: {list: {}}}", &[Change::at(&["agents", "list"], Act::Append(json!({})))]);
        assert!(list.unwrap_err().contains("list"));
        let beyond = vec![Step::Name("l".into()), Step::At(3), Step::Name("x".into())];
        assert!(apply("{l: []}", &[Change::new(beyond, Act::Put(1.into()))]).is_err());
    }
}
