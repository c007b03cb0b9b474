//! From the messages of a request to what an agent is told (http.md 6.3): one prompt, with the earlier ones as context,
//! more for the system prompt, the pictures of the last word, and the results of tools. Pure.

use serde_json::Value;

/// What stands before the earlier messages.
const CONTEXT: &str = "[Chat messages since your last reply - for context]";
/// What stands before the current one.
const CURRENT: &str = "[Current message - respond to this]";
/// The prompt of a message that is only a picture.
pub const ONLY_PICTURES: &str = "User sent image(s) with no text.";

/// Stands for a picture of an earlier message.
pub const PICTURE: &str = " [image]";

/// What the messages of a request say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    /// What the agent is told.
    pub prompt: String,
    /// More for the system prompt.
    pub system: Option<String>,
    /// Addresses of the pictures of the last user message, as written.
    pub pictures: Vec<String>,
    /// Results of tools: the call's id and the text.
    pub results: Vec<(String, String)>,
}

/// One message of the conversation.
#[derive(Debug)]
pub struct Entry {
    sender: String,
    text: String,
    /// Whether a person or a tool speaks, so that it wants an answer.
    asks: bool,
    tool: bool,
}

impl Entry {
    /// A person speaks.
    pub fn user(text: String) -> Entry {
        Entry { sender: "User".to_string(), text, asks: true, tool: false }
    }

    /// The model spoke.
    pub fn assistant(text: String) -> Entry {
        Entry { sender: "Assistant".to_string(), text, asks: false, tool: false }
    }

    /// A tool gives back what it found; without a name it is just a tool.
    pub fn tool(who: &str, text: String) -> Entry {
        let sender = if who.is_empty() { "Tool".to_string() } else { format!("Tool:{who}") };
        Entry { sender, text, asks: true, tool: true }
    }

    /// Adds to what was said.
    pub fn add(&mut self, more: &str) {
        self.text.push_str(more);
    }
}

/// A call of a tool, as it is told.
pub fn call_line(id: &str, name: &str, arguments: &str) -> String {
    format!("tool_call id={id} name={name} arguments={arguments}")
}

/// Reads messages; none when nobody says anything.
pub fn read(list: &[Value]) -> Option<Conversation> {
    let role =
        |message: &Value| message.get("role").and_then(Value::as_str).map(str::trim).unwrap_or_default().to_string();
    let last_user = list.iter().rposition(|message| role(message) == "user");
    let (mut system, mut entries) = (Vec::new(), Vec::new());
    let mut said = Conversation::default();
    for (at, message) in list.iter().enumerate() {
        let text = text_of(message.get("content"));
        match role(message).as_str() {
            "system" | "developer" => system.extend((!text.is_empty()).then_some(text)),
            "user" => {
                let found = pictures(message.get("content"));
                let text = if text.is_empty() && !found.is_empty() { ONLY_PICTURES.to_string() } else { text };
                let mut entry = Entry::user(text);
                // The model sees pictures of the current message only; it should know that there were others.
                match last_user == Some(at) {
                    true => said.pictures = found,
                    false => found.iter().for_each(|_| entry.add(PICTURE)),
                }
                push(&mut entries, entry);
            }
            "assistant" => push_assistant(&mut entries, message, text),
            "tool" | "function" => push_tool(&mut entries, &mut said, message, text),
            _ => {}
        }
    }
    said.prompt = prompt(&entries)?;
    said.system = (!system.is_empty()).then(|| system.join("\n\n"));
    Some(said)
}

fn push(entries: &mut Vec<Entry>, entry: Entry) {
    if !entry.text.is_empty() {
        entries.push(entry);
    }
}

/// The calls an assistant made are told, so that results further down have something to belong to.
fn push_assistant(entries: &mut Vec<Entry>, message: &Value, text: String) {
    let calls = message.get("tool_calls").and_then(Value::as_array).into_iter().flatten().map(|call| {
        let word = |pointer: &str| call.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (id, name, arguments) = (word("/id"), word("/function/name"), word("/function/arguments"));
        call_line(id, name, arguments)
    });
    let lines: Vec<String> = std::iter::once(text).filter(|text| !text.is_empty()).chain(calls).collect();
    push(entries, Entry::assistant(lines.join("\n")));
}

fn push_tool(entries: &mut Vec<Entry>, said: &mut Conversation, message: &Value, text: String) {
    let word = |name: &str| message.get(name).and_then(Value::as_str).map(str::trim).filter(|word| !word.is_empty());
    let id = word("tool_call_id");
    // An empty result of a known call is a result.
    if text.is_empty() && id.is_none() {
        return;
    }
    if let Some(id) = id {
        said.results.push((id.to_string(), text.clone()));
    }
    entries.push(Entry::tool(id.or(word("name")).unwrap_or_default(), text));
}

/// The text of a content: itself, or its parts that are text.
fn text_of(content: Option<&Value>) -> String {
    let part = |part: &Value| {
        let kind = part.get("type").and_then(Value::as_str);
        let text = part.get("text").and_then(Value::as_str).filter(|_| matches!(kind, Some("text" | "input_text")));
        text.map(String::from)
    };
    // Blank is empty; anything else stays as it was written.
    let text = match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().filter_map(part).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    };
    if text.trim().is_empty() { String::new() } else { text }
}

/// Addresses of pictures; a part without one counts as an address that is none.
fn pictures(content: Option<&Value>) -> Vec<String> {
    let parts = content.and_then(Value::as_array).into_iter().flatten();
    let parts = parts.filter(|part| part.get("type").and_then(Value::as_str) == Some("image_url"));
    let address = |part: &Value| {
        let picture = part.get("image_url").unwrap_or(&Value::Null);
        picture.get("url").unwrap_or(picture).as_str().unwrap_or_default().to_string()
    };
    parts.map(address).collect()
}

/// Where the last message stands that wants an answer.
pub fn current(entries: &[Entry]) -> Option<usize> {
    entries.iter().rposition(|entry| entry.asks).or(entries.len().checked_sub(1))
}

/// The last message that wants an answer, with everything before it; what follows it is dropped.
pub fn prompt(entries: &[Entry]) -> Option<String> {
    let at = current(entries)?;
    let (current, earlier) = entries.get(..=at)?.split_last()?;
    let line = |entry: &Entry| format!("{}: {}", entry.sender, entry.text);
    if earlier.is_empty() {
        return Some(if current.tool { line(current) } else { current.text.clone() });
    }
    let earlier: Vec<String> = earlier.iter().map(line).collect();
    Some(format!("{CONTEXT}\n{}\n\n{CURRENT}\n{}", earlier.join("\n"), line(current)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(list: Value) -> Conversation {
        read(list.as_array().unwrap()).unwrap()
    }

    #[test]
    fn a_single_message_is_the_prompt_as_it_is() {
        let one = said(json!([{"role": "system", "content": "Be terse."}, {"role": "user", "content": "hi"}]));
        assert_eq!((one.prompt.as_str(), one.system.as_deref()), ("hi", Some("Be terse.")));
        let two = said(json!([{"role": "developer", "content": "A"}, {"role": "system", "content": "B"},
            {"role": "user", "content": [{"type": "text", "text": "three"}, {"type": "input_text", "text": "four"},
                {"type": "audio", "text": "no"}]}]));
        assert_eq!((two.prompt.as_str(), two.system.as_deref()), ("three\nfour", Some("A\n\nB")));
    }

    #[test]
    fn earlier_messages_are_context_and_later_ones_are_dropped() {
        let text = said(json!([
            {"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}, {"role": "narrator", "content": "x"},
            {"role": "user", "content": "three"}, {"role": "assistant", "content": "dropped"},
        ]));
        assert_eq!(
            text.prompt,
            "[Chat messages since your last reply - for context]\nUser: one\nAssistant: two\n\n\
             [Current message - respond to this]\nUser: three"
        );
        assert_eq!(said(json!([{"role": "assistant", "content": "alone"}])).prompt, "alone");
    }

    #[test]
    fn calls_and_results_of_tools_are_told() {
        let text = said(json!([
            {"role": "user", "content": "weather?"},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "get", "arguments": "{\"city\":\"Oslo\"}"}}]},
            {"role": "tool", "tool_call_id": "c0", "content": ""},
            {"role": "tool", "tool_call_id": "c1", "content": "4 C"},
        ]));
        assert_eq!(
            text.prompt,
            "[Chat messages since your last reply - for context]\nUser: weather?\n\
             Assistant: tool_call id=c1 name=get arguments={\"city\":\"Oslo\"}\nTool:c0: \n\n\
             [Current message - respond to this]\nTool:c1: 4 C"
        );
        assert_eq!(text.results, [("c0".into(), String::new()), ("c1".into(), "4 C".into())]);
        assert_eq!(said(json!([{"role": "function", "name": "f", "content": "x"}])).prompt, "Tool:f: x");
        assert_eq!(said(json!([{"role": "tool", "content": "x"}])).prompt, "Tool: x");
    }

    #[test]
    fn pictures_are_those_of_the_last_user_message() {
        let picture = |url: Value| json!({"type": "image_url", "image_url": url});
        let text = said(json!([
            {"role": "user", "content": [picture(json!("data:old"))]},
            {"role": "user", "content": [picture(json!({"url": "data:new"})), picture(json!("data:two")), picture(json!(5))]},
        ]));
        let earlier = format!("{CONTEXT}\nUser: {ONLY_PICTURES} [image]\n\n{CURRENT}\nUser: {ONLY_PICTURES}");
        assert_eq!((text.prompt, text.pictures.len()), (earlier, 3));
        assert_eq!(text.pictures, ["data:new", "data:two", ""]);
    }

    #[test]
    fn nothing_said_is_no_prompt() {
        for list in
            [json!([]), json!([{"role": "system", "content": "x"}]), json!([{"role": "user", "content": " "}, 5])]
        {
            assert_eq!(read(list.as_array().unwrap()), None, "{list}");
        }
    }
}
