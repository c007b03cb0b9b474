//! The program's own tools, in the flat form of today and the nested one of chat completions, and its word on whether
//! one must be called (http.md 8.1).

use serde_json::Value;

use crate::http::api::chat::{Choice, Function};
use crate::http::api::strict::{At, Fields, Refused, Shape, clip};
use crate::limits;

/// `tools`, and what `tool_choice` leaves of them.
pub fn tools(fields: &mut Fields<'_>) -> Result<(Vec<Function>, Choice), Refused> {
    let list = fields.list("tools")?;
    let at = At::ROOT.name("tools");
    if list.len() > limits::CLIENT_TOOLS {
        return Err(at.fault(&format!("at most {} tools are taken", limits::CLIENT_TOOLS)));
    }
    let tools: Result<_, Refused> =
        list.into_iter().enumerate().map(|(index, value)| tool(value, at.item(index))).collect();
    choice(fields, tools?)
}

fn tool(value: Value, at: At<'_>) -> Result<Function, Refused> {
    let mut outer = Fields::of(value, at)?;
    let kind = outer.need_text("type")?;
    if kind != "function" {
        let text = format!("only function tools are supported, not {:?}", clip(&kind));
        return Err(at.name("type").fault(&text));
    }
    match outer.take("function") {
        None => named(outer),
        Some(inner) => {
            outer.done()?;
            named(Fields::of(inner, at.name("function"))?)
        }
    }
}

fn named(mut fields: Fields<'_>) -> Result<Function, Refused> {
    let name = fields.need_text("name")?;
    if name.is_empty() || name.chars().count() > limits::CLIENT_TOOL_NAME_CHARS {
        let text = format!("must have 1 to {} characters", limits::CLIENT_TOOL_NAME_CHARS);
        return Err(fields.at().name("name").fault(&text));
    }
    fields.pass(&[
        ("strict", Shape::Flag),
        ("allowed_callers", Shape::List),
        ("defer_loading", Shape::Flag),
        ("output_schema", Shape::Object),
    ])?;
    let parameters = fields.shaped("parameters", Shape::Object)?;
    let tool = Function {
        name,
        description: fields.text("description")?.unwrap_or_default(),
        parameters: parameters.unwrap_or_else(|| json!({"type": "object", "properties": {}})),
    };
    fields.done()?;
    Ok(tool)
}

/// The choice has to be one that can be met.
fn choice(fields: &mut Fields<'_>, tools: Vec<Function>) -> Result<(Vec<Function>, Choice), Refused> {
    let at = At::ROOT.name("tool_choice");
    let choice = match fields.take("tool_choice") {
        None => Choice::Auto,
        Some(Value::String(word)) => match word.as_str() {
            "auto" => Choice::Auto,
            "none" => return Ok((Vec::new(), Choice::Auto)),
            "required" => Choice::Required,
            _ => return Err(at.fault("Invalid option: expected one of auto|none|required")),
        },
        Some(value) => Choice::Named(pinned(value, at)?),
    };
    match &choice {
        Choice::Required if tools.is_empty() => Err(at.fault("required, but no tools were provided")),
        Choice::Named(name) if tools.iter().all(|tool| tool.name != *name) => {
            Err(at.fault(&format!("requested unknown tool: {}", clip(name))))
        }
        _ => Ok((tools, choice)),
    }
}

/// `{type: "function", name}`, or with the name inside of `function`.
fn pinned(value: Value, at: At<'_>) -> Result<String, Refused> {
    let mut outer = Fields::of(value, at)?;
    if outer.need_text("type")? != "function" {
        return Err(at.name("type").fault("only `function` is supported"));
    }
    let name = match outer.take("function") {
        None => outer.need_text("name")?,
        Some(inner) => {
            let mut inner = Fields::of(inner, at.name("function"))?;
            let name = inner.need_text("name")?;
            inner.done()?;
            name
        }
    };
    outer.done()?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<(Vec<Function>, Choice), String> {
        let mut fields = Fields::of(body, At::ROOT).unwrap();
        tools(&mut fields).map_err(|fault| fault.0)
    }

    #[test]
    fn both_forms_say_the_same() {
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
        let flat = json!({"type": "function", "name": "w", "description": "d", "parameters": schema, "strict": true});
        let nested = json!({"type": "function", "function": {"name": "w", "description": "d", "parameters": schema}});
        let expected = Function { name: "w".into(), description: "d".into(), parameters: schema };
        let (tools, _) = read(json!({"tools": [flat, nested]})).unwrap();
        assert_eq!(tools, [expected.clone(), expected]);
        let bare =
            read(json!({"tools": [{"type": "function", "name": "w", "parameters": null, "strict": null}]})).unwrap();
        assert_eq!(bare.0[0].parameters, json!({"type": "object", "properties": {}}));
    }

    #[test]
    fn wrong_tools_are_refused_by_their_path() {
        let tool = |tool: Value| read(json!({"tools": [tool]})).unwrap_err();
        assert_eq!(
            tool(json!({"type": "function"})),
            "tools.0.name: Invalid input: expected string, received undefined"
        );
        assert!(tool(json!({"type": "web_search"})).contains("only function tools are supported, not \"web_search\""));
        assert_eq!(tool(json!({"type": "function", "name": "w", "x": 1})), "tools.0: Unrecognized key: \"x\"");
        assert_eq!(
            tool(json!({"type": "function", "function": {"name": "w"}, "name": "w"})),
            "tools.0: Unrecognized key: \"name\""
        );
        assert!(read(json!({"tools": {}})).unwrap_err().starts_with("tools: Invalid input: expected array"));
        let long = "w".repeat(limits::CLIENT_TOOL_NAME_CHARS + 1);
        assert!(tool(json!({"type": "function", "name": long})).starts_with("tools.0.name: must have 1 to"));
        let many = vec![json!({"type": "function", "name": "w"}); limits::CLIENT_TOOLS + 1];
        assert!(read(json!({"tools": many})).unwrap_err().starts_with("tools: at most"));
    }

    #[test]
    fn a_choice_has_to_be_one_that_can_be_met() {
        let choice = |choice: Value| {
            let tools = json!([{"type": "function", "name": "w"}]);
            read(json!({"tools": tools, "tool_choice": choice})).map(|(_, choice)| choice)
        };
        assert_eq!(choice(json!("required")), Ok(Choice::Required));
        let none = read(json!({"tools": [{"type": "function", "name": "w"}], "tool_choice": "none"}));
        assert_eq!(none, Ok((vec![], Choice::Auto)));
        assert_eq!(choice(json!({"type": "function", "name": "w"})), Ok(Choice::Named("w".into())));
        assert_eq!(choice(json!({"type": "function", "function": {"name": "w"}})), Ok(Choice::Named("w".into())));
        assert_eq!(
            choice(json!({"type": "function", "name": "z"})).unwrap_err(),
            "tool_choice: requested unknown tool: z"
        );
        assert!(choice(json!("maybe")).is_err());
        assert_eq!(
            choice(json!({"type": "web_search"})).unwrap_err(),
            "tool_choice.type: only `function` is supported"
        );
        assert_eq!(
            read(json!({"tool_choice": "required"})).unwrap_err(),
            "tool_choice: required, but no tools were provided"
        );
    }
}
