//! What a `/v1/responses` request says: items and their parts, each a strict object (http.md 8.1). An item without a
//! type is a message, since the short form of OpenAI's own SDK leaves it out. Pictures and files are `media`'s.

use serde_json::Value;

use super::media::{self, Sent};
use crate::http::api::strict::{At, Fields, Refused, Shape, clip};

/// One thing that was said.
#[derive(Debug, PartialEq)]
pub enum Item {
    /// A message.
    Message(Role, Content),
    /// A call of a tool, as an earlier answer had it.
    Call {
        /// Names the call.
        call_id: String,
        /// The tool.
        name: String,
        /// Its arguments, JSON as text.
        arguments: String,
    },
    /// What a tool answered.
    Output {
        /// The call it answers.
        call_id: String,
        /// The answer.
        content: Content,
    },
    /// An item of an earlier answer, by its id.
    Reference(String),
}

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Whoever runs the program: `system` and `developer`.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// What a message says.
#[derive(Debug, Default, PartialEq)]
pub struct Content {
    /// Its texts, joined by line ends.
    pub text: String,
    /// Addresses of pictures, as written.
    pub images: Vec<String>,
    /// Files.
    pub files: Vec<Sent>,
}

const ROLES: &[(&str, Role)] =
    &[("system", Role::System), ("developer", Role::System), ("user", Role::User), ("assistant", Role::Assistant)];

const STATUS: Shape = Shape::Word(&["in_progress", "completed", "incomplete"]);

/// The conversation; a text alone is a message of the person.
pub fn input(value: Value, at: At<'_>) -> Result<Vec<Item>, Refused> {
    match value {
        Value::String(text) => Ok(vec![Item::Message(Role::User, Content { text, ..Content::default() })]),
        Value::Array(list) => {
            let mut items = Vec::with_capacity(list.len());
            for (index, value) in list.into_iter().enumerate() {
                items.extend(item(value, at.item(index))?);
            }
            Ok(items)
        }
        other => Err(at.expected("string or array", &other)),
    }
}

/// None for what tells the model nothing.
fn item(value: Value, at: At<'_>) -> Result<Option<Item>, Refused> {
    let mut fields = Fields::of(value, at)?;
    let item = match kind(&mut fields)?.as_str() {
        "message" => message(&mut fields)?,
        "function_call" => call(&mut fields)?,
        "function_call_output" => output(&mut fields)?,
        "item_reference" => Item::Reference(fields.need_text("id")?),
        // Thoughts of another model: nothing this one could use.
        "reasoning" => return Ok(None),
        other => {
            return Err(at.name("type").fault(&format!("items of type {:?} are not supported", clip(other))));
        }
    };
    fields.done()?;
    Ok(Some(item))
}

fn kind(fields: &mut Fields<'_>) -> Result<String, Refused> {
    let bare = if fields.has("id") && !fields.has("role") { "item_reference" } else { "message" };
    Ok(fields.text("type")?.unwrap_or_else(|| bare.to_string()))
}

fn message(fields: &mut Fields<'_>) -> Result<Item, Refused> {
    let name = fields.need_text("role")?;
    let role = ROLES.iter().find(|(word, _)| *word == name).map(|(_, role)| *role);
    let role = role.ok_or_else(|| {
        fields.at().name("role").fault("Invalid option: expected one of system|developer|user|assistant")
    })?;
    fields.pass(&[("id", Shape::Text), ("status", STATUS), ("phase", Shape::Word(&["commentary", "final_answer"]))])?;
    let value = fields.need("content", "string")?;
    Ok(Item::Message(role, content(value, fields.at().name("content"))?))
}

fn call(fields: &mut Fields<'_>) -> Result<Item, Refused> {
    fields.pass(&[("id", Shape::Text), ("status", STATUS), ("caller", Shape::Object), ("namespace", Shape::Text)])?;
    Ok(Item::Call {
        call_id: fields.need_text("call_id")?,
        name: fields.need_text("name")?,
        arguments: fields.need_text("arguments")?,
    })
}

fn output(fields: &mut Fields<'_>) -> Result<Item, Refused> {
    let ignored = [
        ("id", Shape::Text),
        ("status", STATUS),
        ("name", Shape::Text),
        ("caller", Shape::Object),
        ("namespace", Shape::Text),
    ];
    fields.pass(&ignored)?;
    let call_id = fields.need_text("call_id")?;
    let value = fields.need("output", "string")?;
    Ok(Item::Output { call_id, content: content(value, fields.at().name("output"))? })
}

/// A text, or parts.
fn content(value: Value, at: At<'_>) -> Result<Content, Refused> {
    let list = match value {
        Value::String(text) => return Ok(Content { text, ..Content::default() }),
        Value::Array(list) => list,
        other => return Err(at.expected("string or array", &other)),
    };
    let mut content = Content::default();
    let mut texts = Vec::new();
    for (index, value) in list.into_iter().enumerate() {
        let mut fields = Fields::of(value, at.item(index))?;
        texts.extend(part(&mut fields, &mut content)?);
        fields.done()?;
    }
    content.text = texts.join("\n");
    Ok(content)
}

/// The text of a part, if it is one.
fn part(fields: &mut Fields<'_>, content: &mut Content) -> Result<Option<String>, Refused> {
    let kind = fields.need_text("type")?;
    fields.pass(&[("prompt_cache_breakpoint", Shape::Object)])?;
    match kind.as_str() {
        "input_text" => fields.need_text("text").map(Some),
        "output_text" => {
            fields.pass(&[("annotations", Shape::List), ("logprobs", Shape::List)])?;
            fields.need_text("text").map(Some)
        }
        "refusal" => fields.need_text("refusal").map(Some),
        "input_image" => {
            content.images.push(media::image(fields)?);
            Ok(None)
        }
        "input_file" => {
            media::file(fields, content)?;
            Ok(None)
        }
        _ => {
            let kinds = "Invalid option: expected one of input_text|output_text|input_image|input_file|refusal";
            Err(fields.at().name("type").fault(kinds))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> Result<Vec<Item>, String> {
        input(value, At::ROOT.name("input")).map_err(|fault| fault.0)
    }

    fn text(text: &str) -> Content {
        Content { text: text.into(), ..Content::default() }
    }

    #[test]
    fn a_text_alone_is_the_persons_message() {
        assert_eq!(read(json!("hi")), Ok(vec![Item::Message(Role::User, text("hi"))]));
        assert_eq!(read(json!(3)).unwrap_err(), "input: Invalid input: expected string or array, received number");
    }

    #[test]
    fn every_kind_of_item_is_taken() {
        let items = read(json!([
            {"role": "user", "content": "short form"},
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
            {"type": "message", "id": "msg_1", "status": "completed", "phase": "commentary", "role": "assistant",
             "content": [{"type": "output_text", "text": "c", "annotations": [], "logprobs": []}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
            {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "w", "arguments": "{}", "status": "completed"},
            {"type": "function_call_output", "call_id": "c1", "output": "4 C"},
            {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "5 C"}]},
            {"type": "item_reference", "id": "msg_2"},
            {"id": "msg_3"},
        ]));
        let call = Item::Call { call_id: "c1".into(), name: "w".into(), arguments: "{}".into() };
        let output = |said: &str| Item::Output { call_id: "c1".into(), content: text(said) };
        let expected = vec![
            Item::Message(Role::User, text("short form")),
            Item::Message(Role::System, text("a\nb")),
            Item::Message(Role::Assistant, text("c")),
            call,
            output("4 C"),
            output("5 C"),
            Item::Reference("msg_2".into()),
            Item::Reference("msg_3".into()),
        ];
        assert_eq!(items, Ok(expected));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_its_path() {
        let fault = |value: Value| read(json!([value])).unwrap_err();
        assert_eq!(fault(json!("hi")), "input.0: Invalid input: expected object, received string");
        assert_eq!(
            fault(json!({"role": "user", "content": "x", "name": "bob"})),
            "input.0: Unrecognized key: \"name\""
        );
        assert_eq!(
            fault(json!({"role": "tool", "content": "x"})),
            "input.0.role: Invalid option: expected one of system|developer|user|assistant"
        );
        assert_eq!(
            fault(json!({"type": "web_search_call", "id": "x"})),
            "input.0.type: items of type \"web_search_call\" are not supported"
        );
        assert_eq!(
            fault(json!({"type": "function_call", "call_id": "c", "name": "n"})),
            "input.0.arguments: Invalid input: expected string, received undefined"
        );
        let part = |part: Value| fault(json!({"role": "user", "content": [part]}));
        assert!(part(json!({"type": "text", "text": "x"})).starts_with("input.0.content.0.type: Invalid option"));
        assert_eq!(
            part(json!({"type": "input_text", "text": "x", "extra": 1})),
            "input.0.content.0: Unrecognized key: \"extra\""
        );
        assert!(part(json!({"type": "input_text"})).starts_with("input.0.content.0.text: Invalid input"));
    }
}
