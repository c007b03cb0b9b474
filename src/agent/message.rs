//! Messages of a session exactly as a transcript line holds them (agent.md 10), read and written. Owns field names and
//! number forms; knows neither files nor models. Members it does not know survive, sorted to the end.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::json::Members;

/// Members of an object that this version does not know.
pub type Extra = Map<String, Value>;

/// One message of a transcript.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(tag = "role", rename_all = "camelCase")]
pub enum Message {
    /// What a person, a channel or the gateway asked.
    User(UserMessage),
    /// What the model answered.
    Assistant(AssistantMessage),
    /// What a tool answered the model.
    ToolResult(ToolResultMessage),
}

/// `role: "user"`.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserMessage {
    /// Texts and images.
    pub content: Vec<Block>,
    /// Unix time in milliseconds.
    pub timestamp: u64,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// `role: "assistant"`.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AssistantMessage {
    /// Texts, thoughts and tool calls in the model's order.
    pub content: Vec<Block>,
    /// Wire form it came by, such as `openai-completions`.
    pub api: String,
    /// Provider's id.
    pub provider: String,
    /// Model's id.
    pub model: String,
    /// What it cost.
    pub usage: Usage,
    /// Why it ended.
    pub stop_reason: StopReason,
    /// What failed, with [`StopReason::Error`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// Unix time in milliseconds.
    pub timestamp: u64,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// `role: "toolResult"`.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolResultMessage {
    /// The call it answers.
    pub tool_call_id: String,
    /// The tool that was called.
    pub tool_name: String,
    /// What the model sees.
    pub content: Vec<Block>,
    /// What clients see in addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// Whether the tool failed.
    pub is_error: bool,
    /// Unix time in milliseconds.
    pub timestamp: u64,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// One part of a message's content. Build them with the functions of the same name.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Block {
    /// Text.
    Text {
        /// The text.
        text: String,
        /// Everything else.
        #[serde(flatten)]
        extra: Extra,
    },
    /// What the model thought before it answered.
    Thinking {
        /// The thought, empty when the provider hides it.
        thinking: String,
        /// What the provider wants back unchanged.
        #[serde(rename = "thinkingSignature", skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
        /// Everything else.
        #[serde(flatten)]
        extra: Extra,
    },
    /// A picture.
    Image {
        /// Base64 of the file.
        data: String,
        /// Such as `image/png`.
        mime_type: String,
        /// Everything else.
        #[serde(flatten)]
        extra: Extra,
    },
    /// A wish of the model to call a tool.
    ToolCall {
        /// Names the call in its result.
        id: String,
        /// The tool.
        name: String,
        /// An object; a text when the model's arguments were no JSON.
        arguments: Value,
        /// Everything else.
        #[serde(flatten)]
        extra: Extra,
    },
    /// A kind this version does not know, or a known one with missing members.
    #[serde(untagged)]
    Other(Value),
}

impl Block {
    /// A text.
    pub fn text(text: impl Into<String>) -> Block {
        Block::Text { text: text.into(), extra: Extra::new() }
    }

    /// A thought.
    pub fn thinking(thinking: impl Into<String>, signature: Option<String>) -> Block {
        Block::Thinking { thinking: thinking.into(), signature, extra: Extra::new() }
    }

    /// A picture in base64.
    pub fn image(data: impl Into<String>, mime_type: impl Into<String>) -> Block {
        Block::Image { data: data.into(), mime_type: mime_type.into(), extra: Extra::new() }
    }

    /// A tool call.
    pub fn tool_call(id: impl Into<String>, name: impl Into<String>, arguments: Value) -> Block {
        Block::ToolCall { id: id.into(), name: name.into(), arguments, extra: Extra::new() }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Block::Text { text, .. } => Some(text),
            _ => None,
        }
    }
}

/// All texts of a content, joined by line ends.
pub fn text_of(content: &[Block]) -> String {
    let texts: Vec<&str> = content.iter().filter_map(Block::as_text).collect();
    texts.join("\n")
}

impl Message {
    /// Its content.
    pub fn content(&self) -> &[Block] {
        match self {
            Message::User(user) => &user.content,
            Message::Assistant(assistant) => &assistant.content,
            Message::ToolResult(result) => &result.content,
        }
    }

    /// Its content, to be changed.
    pub fn content_mut(&mut self) -> &mut Vec<Block> {
        match self {
            Message::User(user) => &mut user.content,
            Message::Assistant(assistant) => &mut assistant.content,
            Message::ToolResult(result) => &mut result.content,
        }
    }

    /// Unix time in milliseconds.
    pub fn timestamp(&self) -> u64 {
        match self {
            Message::User(user) => user.timestamp,
            Message::Assistant(assistant) => assistant.timestamp,
            Message::ToolResult(result) => result.timestamp,
        }
    }

    /// A message of a person with one text.
    pub fn user(text: impl Into<String>, timestamp: u64) -> Message {
        Message::User(UserMessage { content: vec![Block::text(text)], timestamp, extra: Extra::new() })
    }
}

/// Tokens and their price.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Prompt tokens that were not cached.
    pub input: u64,
    /// Answer tokens, thoughts included.
    pub output: u64,
    /// Prompt tokens read from the provider's cache.
    pub cache_read: u64,
    /// Prompt tokens written to it.
    pub cache_write: u64,
    /// All of them.
    pub total_tokens: u64,
    /// What they cost.
    pub cost: Cost,
}

impl Usage {
    /// Tokens of the prompt, cached or not: the size of the context (agent.md 9).
    pub fn prompt_tokens(&self) -> u64 {
        self.input.saturating_add(self.cache_read).saturating_add(self.cache_write)
    }

    /// Adds another call's numbers (agent.md 28: a run's total is the sum over its calls).
    pub fn add(&mut self, other: &Usage) {
        self.input = self.input.saturating_add(other.input);
        self.output = self.output.saturating_add(other.output);
        self.cache_read = self.cache_read.saturating_add(other.cache_read);
        self.cache_write = self.cache_write.saturating_add(other.cache_write);
        self.total_tokens = self.total_tokens.saturating_add(other.total_tokens);
        self.cost.input += other.cost.input;
        self.cost.output += other.cost.output;
        self.cost.cache_read += other.cost.cache_read;
        self.cost.cache_write += other.cost.cache_write;
        self.cost.total += other.cost.total;
    }
}

/// Money, in the currency of the configured prices.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// For `input` tokens.
    #[serde(serialize_with = "number")]
    pub input: f64,
    /// For `output` tokens.
    #[serde(serialize_with = "number")]
    pub output: f64,
    /// For `cacheRead` tokens.
    #[serde(serialize_with = "number")]
    pub cache_read: f64,
    /// For `cacheWrite` tokens.
    #[serde(serialize_with = "number")]
    pub cache_write: f64,
    /// The sum.
    #[serde(serialize_with = "number")]
    pub total: f64,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum StopReason {
    /// The model was done; also any reason this version does not know.
    #[default]
    Stop,
    /// The token limit cut it.
    Length,
    /// It waits for tools.
    ToolUse,
    /// It failed: the message is left out of later requests.
    Error,
    /// Somebody stopped it: left out too.
    Aborted,
}

impl StopReason {
    /// As written in a transcript.
    pub fn name(self) -> &'static str {
        match self {
            StopReason::Stop => "stop",
            StopReason::Length => "length",
            StopReason::ToolUse => "toolUse",
            StopReason::Error => "error",
            StopReason::Aborted => "aborted",
        }
    }
}

impl From<String> for StopReason {
    fn from(text: String) -> StopReason {
        let all = [StopReason::Length, StopReason::ToolUse, StopReason::Error, StopReason::Aborted];
        all.into_iter().find(|reason| reason.name() == text).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Message, D::Error> {
        Message::read(Value::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl Message {
    fn read(value: Value) -> Result<Message, serde_json::Error> {
        let mut from = Members::of(value);
        let role: String = from.need("role");
        let message = match role.as_str() {
            "user" => Message::User(UserMessage::read(&mut from)),
            "assistant" => Message::Assistant(AssistantMessage::read(&mut from)),
            "toolResult" => Message::ToolResult(ToolResultMessage::read(&mut from)),
            _ => {
                from.refuse("unknown role");
                Message::User(UserMessage::default())
            }
        };
        from.done(message)
    }
}

impl UserMessage {
    fn read(from: &mut Members) -> UserMessage {
        let (content, timestamp) = (blocks(from), count(from, "timestamp"));
        UserMessage { content, timestamp, extra: from.rest() }
    }
}

impl AssistantMessage {
    fn read(from: &mut Members) -> AssistantMessage {
        AssistantMessage {
            content: blocks(from),
            api: from.take("api"),
            provider: from.take("provider"),
            model: from.take("model"),
            usage: Usage::read(from),
            stop_reason: from.take("stopReason"),
            error_message: from.take("errorMessage"),
            timestamp: count(from, "timestamp"),
            extra: from.rest(),
        }
    }
}

impl ToolResultMessage {
    fn read(from: &mut Members) -> ToolResultMessage {
        ToolResultMessage {
            tool_call_id: from.take("toolCallId"),
            tool_name: from.take("toolName"),
            content: blocks(from),
            details: from.take("details"),
            is_error: from.take("isError"),
            timestamp: count(from, "timestamp"),
            extra: from.rest(),
        }
    }
}

impl Usage {
    /// What stands in a line that was read as plain JSON; nothing when it cannot be read.
    pub fn of(value: Value) -> Usage {
        let mut from = Members::of(value);
        let usage = Usage::inside(&mut from);
        from.done(usage).unwrap_or_default()
    }

    fn read(from: &mut Members) -> Usage {
        from.maybe("usage").map_or_else(Usage::default, |usage| from.inside(usage, Usage::inside))
    }

    fn inside(from: &mut Members) -> Usage {
        Usage {
            input: count(from, "input"),
            output: count(from, "output"),
            cache_read: count(from, "cacheRead"),
            cache_write: count(from, "cacheWrite"),
            total_tokens: count(from, "totalTokens"),
            cost: Cost::read(from),
        }
    }
}

impl Cost {
    fn read(from: &mut Members) -> Cost {
        let Some(cost) = from.maybe("cost") else { return Cost::default() };
        from.inside(cost, |from| {
            // `null` counts as nothing
            let mut amount = |name: &str| from.maybe(name).and_then(|value| value.as_f64()).unwrap_or(0.0);
            let (input, output) = (amount("input"), amount("output"));
            let (cache_read, cache_write, total) = (amount("cacheRead"), amount("cacheWrite"), amount("total"));
            Cost { input, output, cache_read, cache_write, total }
        })
    }
}

impl<'de> Deserialize<'de> for StopReason {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<StopReason, D::Error> {
        Ok(StopReason::from(String::deserialize(from)?))
    }
}

/// The original also writes a bare text as content.
fn blocks(from: &mut Members) -> Vec<Block> {
    match from.value("content") {
        Some(Value::String(text)) => vec![Block::text(text)],
        Some(Value::Array(list)) => list.into_iter().map(Block::read).collect(),
        None | Some(Value::Null) => Vec::new(),
        Some(_) => {
            from.refuse("content is neither a text nor a list");
            Vec::new()
        }
    }
}

impl Block {
    fn read(value: Value) -> Block {
        let Value::Object(members) = value else { return Block::Other(value) };
        let is_text = |name: &str| members.get(name).is_some_and(Value::is_string);
        let may_be_text = |name: &str| members.get(name).is_none_or(|value| value.is_string() || value.is_null());
        let is_known = match members.get("type").and_then(Value::as_str) {
            Some("text") => is_text("text"),
            Some("thinking") => is_text("thinking") && may_be_text("thinkingSignature"),
            Some("image") => is_text("data") && is_text("mimeType"),
            Some("toolCall") => is_text("id") && is_text("name"),
            _ => false,
        };
        if is_known { Block::known(members) } else { Block::Other(Value::Object(members)) }
    }

    /// One whose members have been looked at.
    fn known(mut extra: Extra) -> Block {
        let mut take = |name: &str| match extra.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let mut text = |name: &str| take(name).unwrap_or_default();
        match text("type").as_str() {
            "text" => Block::Text { text: text("text"), extra },
            "thinking" => Block::Thinking { thinking: text("thinking"), signature: take("thinkingSignature"), extra },
            "image" => Block::Image { data: text("data"), mime_type: text("mimeType"), extra },
            _ => {
                let (id, name) = (text("id"), text("name"));
                Block::ToolCall { id, name, arguments: extra.remove("arguments").unwrap_or_default(), extra }
            }
        }
    }
}

/// A count that JavaScript may have written as a float, or as `null` for "not a number".
fn count(from: &mut Members, name: &str) -> u64 {
    let value = from.maybe(name).unwrap_or_default();
    let float = || value.as_f64().filter(|float| (0.0..9e15).contains(float)).map_or(0, |float| float as u64);
    value.as_u64().unwrap_or_else(float)
}

/// Writes a number as JavaScript does: no fraction for whole numbers, an exponent only below a millionth.
fn number<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    let text = match value.abs() {
        size if !size.is_finite() => "0".to_string(),
        size if size == 0.0 || (1e-6..1e21).contains(&size) => format!("{value}"),
        _ => format!("{value:e}"),
    };
    RawValue::from_string(text).map_err(S::Error::custom)?.serialize(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads, writes, and compares bytes.
    fn same(text: &str) {
        let message: Message = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&message).unwrap(), text);
    }

    #[test]
    fn messages_of_the_original_come_back_byte_for_byte() {
        same(r#"{"role":"user","content":[{"type":"text","text":"run"}],"timestamp":1795226293164}"#);
        same(
            r#"{"role":"assistant","content":[{"type":"text","text":"let me"},{"type":"toolCall","id":"call_1","name":"exec","arguments":{"command":"echo hi"}}],"api":"openai-completions","provider":"p","model":"m","usage":{"input":60,"output":20,"cacheRead":40,"cacheWrite":0,"totalTokens":120,"cost":{"input":0.000059999999999999995,"output":4e-7,"cacheRead":0,"cacheWrite":0,"total":1.5}},"stopReason":"toolUse","timestamp":1795226293165}"#,
        );
        same(
            r#"{"role":"toolResult","toolCallId":"call_1","toolName":"exec","content":[{"type":"text","text":"hi\nthere"}],"details":{"cwd":"/home","exitCode":0},"isError":false,"timestamp":1795226293512}"#,
        );
        same(r#"{"role":"user","content":[{"type":"image","data":"AAAA","mimeType":"image/png"}],"timestamp":1}"#);
    }

    #[test]
    fn members_and_blocks_from_elsewhere_survive() {
        same(
            r#"{"role":"assistant","content":[{"type":"thinking","thinking":"hm","thinkingSignature":"s","redacted":true},{"type":"text","text":"a","textSignature":"t"},{"kind":1,"type":"novel"},{"type":"text"}],"api":"","provider":"","model":"","usage":{"input":0,"output":0,"cacheRead":0,"cacheWrite":0,"totalTokens":0,"cost":{"input":0,"output":0,"cacheRead":0,"cacheWrite":0,"total":0}},"stopReason":"error","errorMessage":"401","timestamp":5,"responseId":"x"}"#,
        );
    }

    #[test]
    fn a_bare_text_and_odd_numbers_are_read() {
        let message: Message =
            serde_json::from_value(json!({"role":"user","content":"hi","timestamp":1795226293164.0})).unwrap();
        assert_eq!((text_of(message.content()).as_str(), message.timestamp()), ("hi", 1_795_226_293_164));
        let usage = json!({"input":null,"output":-3,"cost":{"total":null}});
        let answer = serde_json::from_value(json!({"role":"assistant","content":null,"usage":usage})).unwrap();
        assert!(matches!(answer, Message::Assistant(answer) if answer == AssistantMessage::default()));
        assert!(serde_json::from_value::<Message>(json!({"role":"assistant","content":[],"usage":null})).is_err());
    }

    #[test]
    fn unknown_stop_reasons_read_as_stop_and_unknown_roles_do_not_read() {
        let read = |text: &str| serde_json::from_value::<StopReason>(json!(text)).unwrap();
        assert_eq!((read("toolUse"), read("novel")), (StopReason::ToolUse, StopReason::Stop));
        assert!(serde_json::from_value::<Message>(json!({"role":"bash","content":[]})).is_err());
    }

    #[test]
    fn usage_adds_up() {
        let one =
            Usage { input: 60, output: 20, cache_read: 40, cache_write: 0, total_tokens: 120, ..Usage::default() };
        let mut sum = one;
        sum.add(&one);
        assert_eq!((sum.input, sum.output, sum.cache_read, sum.prompt_tokens()), (120, 40, 80, 200));
    }
}
