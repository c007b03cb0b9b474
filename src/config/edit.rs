//! Changes one value in a configuration file's text and leaves everything else as it is: comments, order, spelling.
//! Knows no key and writes no file.

use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};

use super::json5;

/// The text with this string at this path; objects on the way are made. An object that stands in the value's place gets
/// it as `member` instead.
///
/// # Errors
/// A text that cannot be read, or a path that leads through something that is no object.
pub fn set_text(text: &str, path: &[&str], value: &str, member: &str) -> Result<String, String> {
    let root = CstRootNode::parse(text, &json5::options()).map_err(|error| error.to_string())?;
    let mut at = root.object_value_or_create().ok_or("the file is not an object")?;
    let Some((last, way)) = path.split_last() else { return Err("no path".to_string()) };
    for name in way {
        at = step(&at, name)?;
    }
    match at.get(last) {
        Some(known) => match known.object_value() {
            Some(object) => put(&object, member, value),
            None => known.set_value(CstInputValue::String(value.to_string())),
        },
        None => put(&at, last, value),
    }
    Ok(root.to_string())
}

fn step(at: &CstObject, name: &str) -> Result<CstObject, String> {
    at.object_value_or_create(name).ok_or_else(|| format!("{name} is not an object"))
}

fn put(at: &CstObject, name: &str, value: &str) {
    let value = CstInputValue::String(value.to_string());
    match at.get(name) {
        Some(known) => known.set_value(value),
        None => drop(at.append(name, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &[&str] = &["agents", "defaults", "model"];

    fn set(text: &str) -> String {
        set_text(text, MODEL, "p/m", "primary").unwrap()
    }

    #[test]
    fn comments_and_spelling_stay() {
        let text = "{\n  // mine\n  gateway: {port: 1}, // end\n  agents: {defaults: {model: 'old/one'}},\n}\n";
        assert_eq!(set(text), text.replace("'old/one'", "\"p/m\""));
    }

    #[test]
    fn missing_objects_are_made() {
        for text in ["", "{}", "{gateway: {}}", "{agents: {}}"] {
            let value = json5::parse(&set(text)).unwrap().value;
            assert_eq!(value["agents"]["defaults"]["model"], "p/m", "{text}");
        }
    }

    #[test]
    fn a_choice_with_fallbacks_keeps_them() {
        let value =
            json5::parse(&set("{agents: {defaults: {model: {primary: 'a/b', fallbacks: ['c/d']}}}}")).unwrap().value;
        assert_eq!(value["agents"]["defaults"]["model"]["primary"], "p/m");
        assert_eq!(value["agents"]["defaults"]["model"]["fallbacks"][0], "c/d");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(set_text("[1]", MODEL, "x", "primary").is_err());
        assert!(set_text("{agents: 5}", MODEL, "x", "primary").unwrap_err().contains("agents"));
    }
}
