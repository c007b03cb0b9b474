//! `POST /v1/responses` (http.md 8) as plain data: what a request says and what is answered. Strict: what is not known
//! is refused with its path, and so is what would be ignored although the answer would then be another one. Owns no
//! connection; who runs the turn does not matter here.

pub mod answer;
pub mod events;
pub mod items;
pub mod media;
pub mod prompt;
mod tools;

use serde_json::Value;

use self::items::Item;
use super::chat::{Choice, Function, Knobs};
use super::fields;
use super::strict::{At, Fields, Refused, Shape};

/// A request.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// Names the agent; given back as it is.
    pub model: String,
    /// Whether events are wanted.
    pub stream: bool,
    /// Names the person, and so the session.
    pub user: Option<String>,
    /// The answer whose conversation goes on.
    pub previous: Option<String>,
    /// More for the system prompt.
    pub instructions: Option<String>,
    /// The conversation.
    pub items: Vec<Item>,
    /// The program's own tools.
    pub tools: Vec<Function>,
    /// Whether one must be called.
    pub choice: Choice,
    /// How the model is to answer.
    pub knobs: Knobs,
}

/// Members that are taken and change nothing, as in the original: wishes, names for bills and caches, and settings of a
/// service that keeps answers.
const WITHOUT_EFFECT: &[(&str, Shape)] = &[
    ("max_tool_calls", Shape::Count),
    ("metadata", Shape::Texts),
    ("store", Shape::Flag),
    ("reasoning", Shape::Object),
    ("truncation", Shape::Word(&["auto", "disabled"])),
    ("include", Shape::List),
    ("parallel_tool_calls", Shape::Flag),
    ("service_tier", Shape::Text),
    ("prompt_cache_key", Shape::Text),
    ("prompt_cache_retention", Shape::Text),
    ("prompt_cache_options", Shape::Object),
    ("safety_identifier", Shape::Text),
    ("stream_options", Shape::Object),
    ("context_management", Shape::List),
];

/// Members of OpenAI's own interface without which the answer would be another one.
const REFUSED: &[(&str, &str)] = &[
    ("background", "is not supported; the answer comes on this connection, so leave it out"),
    ("conversation", "is not supported; use `previous_response_id` or the header `x-openclaw-session-key`"),
    ("prompt", "templates are not kept here; write `instructions`"),
    ("top_logprobs", "is not supported"),
    ("moderation", "is not supported"),
];

impl Request {
    /// Reads a body; an empty one counts as an empty object.
    pub fn read(body: &[u8]) -> Result<Request, Refused> {
        let members = fields::body(body).map_err(Refused)?;
        let mut fields = Fields::of(members.into(), At::ROOT)?;
        let request = Request::members(&mut fields)?;
        fields.done()?;
        Ok(request)
    }

    fn members(fields: &mut Fields<'_>) -> Result<Request, Refused> {
        let model = fields.need_text("model")?;
        refuse(fields)?;
        fields.pass(WITHOUT_EFFECT)?;
        let input = fields.need("input", "string or array")?;
        let items = items::input(input, At::ROOT.name("input"))?;
        let (tools, choice) = tools::tools(fields)?;
        Ok(Request {
            model,
            stream: fields.flag("stream")?,
            user: fields.text("user")?,
            previous: fields.text("previous_response_id")?,
            instructions: fields.text("instructions")?,
            items,
            tools,
            choice,
            knobs: Knobs {
                max_tokens: fields.count("max_output_tokens")?,
                temperature: fields.number("temperature", 2.0)?,
                top_p: fields.number("top_p", 1.0)?,
                response_format: format(fields)?,
                ..Knobs::default()
            },
        })
    }
}

/// `false` and zero ask for nothing.
fn refuse(fields: &mut Fields<'_>) -> Result<(), Refused> {
    let asks = |value: &Value| !matches!(value, Value::Bool(false)) && value.as_f64() != Some(0.0);
    for (name, why) in REFUSED {
        if fields.take(name).filter(asks).is_some() {
            return Err(fields.at().name(name).fault(why));
        }
    }
    Ok(())
}

/// `text.format`, in the form of chat completions; a plain text is nothing special.
fn format(fields: &mut Fields<'_>) -> Result<Option<Value>, Refused> {
    let Some(text) = fields.take("text") else { return Ok(None) };
    let at = At::ROOT.name("text");
    let mut text = Fields::of(text, at)?;
    text.pass(&[("verbosity", Shape::Word(&["low", "medium", "high"]))])?;
    let format = text.take("format");
    text.done()?;
    let Some(format) = format else { return Ok(None) };
    let mut format = Fields::of(format, at.name("format"))?;
    let wish = match format.need_text("type")?.as_str() {
        "text" => None,
        "json_object" => Some(json!({"type": "json_object"})),
        "json_schema" => Some(schema(&mut format)?),
        _ => {
            let text = "Invalid option: expected one of text|json_object|json_schema";
            return Err(format.at().name("type").fault(text));
        }
    };
    format.done()?;
    Ok(wish)
}

fn schema(format: &mut Fields<'_>) -> Result<Value, Refused> {
    let mut inner = serde_json::Map::new();
    inner.insert("name".into(), format.need_text("name")?.into());
    inner.insert("schema".into(), format.need("schema", "object")?);
    for (name, shape) in [("description", Shape::Text), ("strict", Shape::Flag)] {
        inner.extend(format.shaped(name, shape)?.map(|value| (name.to_string(), value)));
    }
    Ok(json!({"type": "json_schema", "json_schema": inner}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> Result<Request, String> {
        Request::read(value.to_string().as_bytes()).map_err(|fault| fault.0)
    }

    fn with(name: &str, value: Value) -> Result<Request, String> {
        read(json!({"model": "openclaw", "input": "hi", name: value}))
    }

    #[test]
    fn the_least_is_a_model_and_an_input() {
        let request = read(json!({"model": "openclaw", "input": "hi"})).unwrap();
        assert_eq!((request.model.as_str(), request.stream, request.items.len()), ("openclaw", false, 1));
        assert_eq!((request.choice, request.tools), (Choice::Auto, vec![]));
        assert_eq!(
            read(json!({"input": "hi"})).unwrap_err(),
            "model: Invalid input: expected string, received undefined"
        );
        assert!(read(json!({"model": "m"})).unwrap_err().starts_with("input: Invalid input: expected string or array"));
        assert!(Request::read(b"").unwrap_err().0.starts_with("model: "));
        assert!(Request::read(b"{").unwrap_err().0.starts_with("Invalid JSON: "));
        assert!(Request::read(b"[]").unwrap_err().0.contains("expected object, received array"));
    }

    #[test]
    fn every_row_of_the_table_is_taken() {
        let request = read(json!({
            "model": "openclaw/main", "input": [], "instructions": "Be kind.", "stream": true, "user": "u",
            "max_output_tokens": 64, "max_tool_calls": 3, "temperature": 0.5, "top_p": 1,
            "previous_response_id": "resp_1", "metadata": {"a": "b"}, "store": false,
            "reasoning": {"effort": "low", "summary": "auto"}, "truncation": "auto",
            "text": {"format": {"type": "text"}, "verbosity": "low"}, "tool_choice": "auto", "tools": [],
            "include": ["reasoning.encrypted_content"], "parallel_tool_calls": true, "service_tier": "auto",
            "prompt_cache_key": "k", "safety_identifier": "s", "stream_options": {"include_obfuscation": false},
            "background": false, "top_logprobs": 0, "conversation": null, "prompt": null,
        }))
        .unwrap();
        let knobs = &request.knobs;
        assert_eq!(request.previous.as_deref(), Some("resp_1"));
        assert_eq!((knobs.max_tokens, knobs.temperature, knobs.top_p), (Some(64), Some(0.5), Some(1.0)));
        assert_eq!((request.instructions.as_deref(), request.user.as_deref()), (Some("Be kind."), Some("u")));
        assert!(request.stream && request.items.is_empty() && knobs.response_format.is_none());
    }

    #[test]
    fn nothing_is_ignored_that_would_change_the_answer() {
        assert_eq!(with("foo", json!(1)).unwrap_err(), ": Unrecognized key: \"foo\"");
        for (name, value) in [
            ("background", json!(true)),
            ("conversation", json!("conv_1")),
            ("prompt", json!({"id": "p"})),
            ("top_logprobs", json!(5)),
        ] {
            let fault = with(name, value).unwrap_err();
            assert!(fault.starts_with(&format!("{name}: ")), "{fault}");
        }
        assert_eq!(with("temperature", json!(3)).unwrap_err(), "temperature: must be between 0 and 2");
        assert!(with("max_output_tokens", json!(0)).unwrap_err().starts_with("max_output_tokens: Invalid input"));
        assert!(with("stream", json!("yes")).unwrap_err().starts_with("stream: Invalid input: expected boolean"));
        assert!(with("metadata", json!({"a": 1})).unwrap_err().starts_with("metadata.a: "));
        assert!(with("truncation", json!("x")).unwrap_err().starts_with("truncation: Invalid option"));
    }

    #[test]
    fn formats_are_said_as_chat_completions_say_them() {
        let format = |value: Value| with("text", json!({"format": value})).map(|request| request.knobs.response_format);
        assert_eq!(format(json!({"type": "json_object"})), Ok(Some(json!({"type": "json_object"}))));
        let schema = json!({"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": true});
        let expected = json!({"type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": true}});
        assert_eq!(format(schema), Ok(Some(expected)));
        assert!(format(json!({"type": "xml"})).unwrap_err().starts_with("text.format.type: Invalid option"));
        assert!(format(json!({"type": "text", "x": 1})).unwrap_err().starts_with("text.format: Unrecognized key"));
        assert!(format(json!({"type": "json_schema"})).unwrap_err().starts_with("text.format.name: "));
    }
}
