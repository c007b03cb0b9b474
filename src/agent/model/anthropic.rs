//! The wire form `anthropic-messages` (agent.md 20). Owns requests and answers of that form, the places of cache marks
//! and the rule that all results of one turn go into one message.

use serde_json::{Map, Value};

use super::collect::{CallKey, Collector};
use super::endpoint::{Decoder, Ending, Endpoint, Flow, text};
use super::frames::{Frame, Framing};
use super::openai_completions::{arguments_object, result_text};
use super::served::Form;
use super::{ErrorKind, ModelError, ModelRequest, Thinking, ToolChoice, history};
use crate::agent::http::plain;
use crate::agent::message::{AssistantMessage, Block, Message, StopReason, Usage};
use crate::config::Secret;
use crate::limits;

/// As transcripts name it.
pub const API: &str = "anthropic-messages";
/// Longest id of a tool call.
const ID_CHARS: usize = 64;
/// The smallest budget for thoughts that the interface takes.
const LEAST: u64 = 1024;
/// Beginning of keys that are OAuth tokens and go into another header.
const OAUTH: &str = "sk-ant-oat";

/// `POST {base}/v1/messages`; the address is written with and without its version.
pub(super) const FORM: Form = Form {
    api: API,
    path: "/v1/messages",
    framing: Framing::Sse,
    headers,
    body,
    answer: |endpoint| Box::new(Answer::new(endpoint)),
    context: Endpoint::context_window,
};

fn headers(endpoint: &Endpoint) -> Vec<(String, Secret)> {
    let mut headers = vec![plain("anthropic-version", "2023-06-01")];
    match &endpoint.key {
        Some(key) if key.expose().starts_with(OAUTH) => {
            headers.extend(endpoint.bearer());
            headers.push(plain("anthropic-beta", "oauth-2025-04-20"));
        }
        Some(key) => headers.push(("x-api-key".to_string(), key.clone())),
        None => {}
    }
    headers
}

fn body(endpoint: &Endpoint, request: &ModelRequest) -> Value {
    let (answer, budget) = shares(endpoint, request);
    let mut body = Map::new();
    body.insert("model".into(), json!(endpoint.reference.model));
    body.insert("max_tokens".into(), json!(answer));
    body.insert("stream".into(), json!(true));
    if !request.system.is_empty() {
        let cached = json!([{"type": "text", "text": request.system, "cache_control": {"type": "ephemeral"}}]);
        body.insert("system".into(), cached);
    }
    body.insert("messages".into(), messages(endpoint, request));
    if let Some(budget) = budget {
        body.insert("thinking".into(), json!({"type": "enabled", "budget_tokens": budget}));
    } else if let Some(temperature) = request.sampling.temperature {
        // the scale ends at 1 here, and newer models take only one of the two
        body.insert("temperature".into(), json!(temperature.min(1.0)));
    } else {
        body.extend(request.sampling.members(&["top_p"]));
    }
    if !request.sampling.stop.is_empty() {
        body.insert("stop_sequences".into(), json!(request.sampling.stop));
    }
    if !request.tools.is_empty() {
        body.insert(
            "tools".into(),
            request
                .tools
                .iter()
                .map(
                    |tool| json!({"name": tool.name, "description": tool.description, "input_schema": tool.parameters}),
                )
                .collect(),
        );
        let choice = match &request.tool_choice {
            ToolChoice::Auto => None,
            ToolChoice::None => Some(json!({"type": "none"})),
            ToolChoice::Required => Some(json!({"type": "any"})),
            ToolChoice::Named(name) => Some(json!({"type": "tool", "name": name})),
        };
        body.extend(choice.map(|choice| ("tool_choice".to_string(), choice)));
    }
    Value::Object(body)
}

/// Tokens of the answer, and how many of them may be thoughts: the answer itself keeps [`LEAST`], and a limit that is
/// set is never exceeded.
fn shares(endpoint: &Endpoint, request: &ModelRequest) -> (u64, Option<u64>) {
    // the interface refuses thoughts before a call that it must make
    let is_free = matches!(request.tool_choice, ToolChoice::Auto | ToolChoice::None);
    let wanted = budget(request.thinking).filter(|_| endpoint.facts.reasoning && is_free);
    let Some(limit) = request.sampling.max_tokens.or(endpoint.facts.max_tokens) else {
        return (wanted.map_or(0, |budget| budget + LEAST).max(limits::MODEL_ANSWER_TOKENS), wanted);
    };
    let fits = wanted.map(|budget| budget.min(limit.saturating_sub(LEAST)));
    (limit, fits.filter(|budget| *budget >= LEAST))
}

/// Tokens a model may think.
fn budget(thinking: Thinking) -> Option<u64> {
    match thinking {
        Thinking::Off => None,
        Thinking::Minimal => Some(LEAST),
        Thinking::Low => Some(2048),
        Thinking::Medium => Some(8192),
        Thinking::High => Some(16_384),
        Thinking::XHigh => Some(32_768),
    }
}

fn messages(endpoint: &Endpoint, request: &ModelRequest) -> Value {
    let mut merged: Vec<(&'static str, Vec<Value>)> = Vec::new();
    for message in history::sendable(&request.messages, endpoint.facts.images) {
        let (role, blocks) = match &message {
            Message::User(user) => ("user", content(&user.content)),
            Message::ToolResult(result) => (
                "user",
                vec![json!({
                    "type": "tool_result", "tool_use_id": call_id(&result.tool_call_id),
                    "content": result_content(&result.content), "is_error": result.is_error,
                })],
            ),
            Message::Assistant(assistant) => ("assistant", assistant_blocks(endpoint, assistant)),
        };
        match merged.last_mut() {
            _ if blocks.is_empty() => {}
            Some((last, all)) if *last == role => all.extend(blocks),
            _ => merged.push((role, blocks)),
        }
    }
    mark_cache(&mut merged);
    merged.into_iter().map(|(role, content)| json!({"role": role, "content": content})).collect()
}

/// The last block of the last user message ends what the provider may keep (agent.md 20).
fn mark_cache(merged: &mut [(&'static str, Vec<Value>)]) {
    let last = merged.iter_mut().rev().find(|(role, _)| *role == "user");
    let block = last.and_then(|(_, blocks)| blocks.last_mut()).and_then(Value::as_object_mut);
    if let Some(block) = block {
        block.insert("cache_control".into(), json!({"type": "ephemeral"}));
    }
}

fn content(blocks: &[Block]) -> Vec<Value> {
    let parts = blocks.iter().filter_map(|block| match block {
        Block::Text { text, .. } => Some(json!({"type": "text", "text": text})),
        Block::Image { data, mime_type, .. } => Some(json!({
            "type": "image", "source": {"type": "base64", "media_type": mime_type, "data": data},
        })),
        _ => None,
    });
    parts.collect()
}

fn result_content(blocks: &[Block]) -> Value {
    let pictures = blocks.iter().any(|block| matches!(block, Block::Image { .. }));
    if pictures { Value::Array(content(blocks)) } else { json!(result_text(blocks)) }
}

fn assistant_blocks(endpoint: &Endpoint, message: &AssistantMessage) -> Vec<Value> {
    let ours = message.api == API && message.provider == endpoint.reference.provider;
    let blocks = message.content.iter().filter_map(|block| match block {
        Block::Text { text, .. } => (!text.trim().is_empty()).then(|| json!({"type": "text", "text": text})),
        Block::ToolCall { id, name, arguments, .. } => Some(json!({
            "type": "tool_use", "id": call_id(id), "name": name, "input": arguments_object(arguments),
        })),
        // signed thoughts go back unchanged; those of others mean nothing here
        Block::Thinking { thinking, signature: Some(signature), extra } if ours => {
            let hidden = extra.get("redacted").and_then(Value::as_bool).unwrap_or(false);
            Some(if hidden {
                json!({"type": "redacted_thinking", "data": signature})
            } else {
                json!({"type": "thinking", "thinking": thinking, "signature": signature})
            })
        }
        _ => None,
    });
    blocks.collect()
}

/// Ids of other providers in the alphabet this one takes.
fn call_id(id: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let id: String = id.chars().take(ID_CHARS).map(|c| if fits(c) { c } else { '_' }).collect();
    if id.is_empty() { "call".to_string() } else { id }
}

/// Reads an answer.
struct Answer<'e> {
    endpoint: &'e Endpoint,
    stop: Option<String>,
    stopped: bool,
    usage: Usage,
}

impl<'e> Answer<'e> {
    fn new(endpoint: &'e Endpoint) -> Answer<'e> {
        Answer { endpoint, stop: None, stopped: false, usage: Usage::default() }
    }

    /// Later events repeat the counts, some of them only in part.
    fn usage(&mut self, usage: &Value) {
        let newer = |old: u64, name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or(old);
        self.usage.input = newer(self.usage.input, "input_tokens");
        self.usage.output = newer(self.usage.output, "output_tokens");
        self.usage.cache_read = newer(self.usage.cache_read, "cache_read_input_tokens");
        self.usage.cache_write = newer(self.usage.cache_write, "cache_creation_input_tokens");
    }

    fn block(&mut self, index: Option<u64>, block: &Value, out: &mut Collector<'_>) -> Result<(), ModelError> {
        match text(block, "type") {
            "text" => out.text(text(block, "text")),
            "thinking" => {
                out.thinking(text(block, "thinking"))?;
                match text(block, "signature") {
                    "" => Ok(()),
                    signature => out.signature(signature),
                }
            }
            "redacted_thinking" => out.hidden(text(block, "data")),
            "tool_use" => {
                let whole = block.get("input").filter(|input| input.as_object().is_some_and(|input| !input.is_empty()));
                let arguments = whole.map(Value::to_string).unwrap_or_default();
                let key = CallKey { index, id: text(block, "id").to_string() };
                out.call(&key, text(block, "name"), &arguments)
            }
            _ => Ok(()),
        }
    }

    fn delta(&mut self, index: Option<u64>, delta: &Value, out: &mut Collector<'_>) -> Result<(), ModelError> {
        match text(delta, "type") {
            "text_delta" => out.text(text(delta, "text")),
            "thinking_delta" => out.thinking(text(delta, "thinking")),
            "signature_delta" => out.signature(text(delta, "signature")),
            "input_json_delta" => out.call(&CallKey { index, id: String::new() }, "", text(delta, "partial_json")),
            _ => Ok(()),
        }
    }

    fn fail(&self, error: &Value) -> ModelError {
        ModelError::inside(self.endpoint.provider(), error, self.endpoint.key.as_ref())
    }
}

impl Decoder for Answer<'_> {
    fn frame(&mut self, frame: &Frame, out: &mut Collector<'_>) -> Result<Flow, ModelError> {
        if frame.data.trim().is_empty() || frame.data.trim() == "[DONE]" {
            return Ok(Flow::More);
        }
        let event = self.endpoint.json(&frame.data)?;
        let index = event.get("index").and_then(Value::as_u64);
        let member = |name: &str| event.get(name).unwrap_or(&Value::Null);
        let kind = Some(text(&event, "type")).filter(|kind| !kind.is_empty()).unwrap_or(&frame.name);
        match kind {
            "message_start" => self.usage(event.pointer("/message/usage").unwrap_or(&Value::Null)),
            "content_block_start" => self.block(index, member("content_block"), out)?,
            "content_block_delta" => self.delta(index, member("delta"), out)?,
            "message_delta" => {
                self.usage(member("usage"));
                let reason = event.pointer("/delta/stop_reason").and_then(Value::as_str);
                self.stop = reason.map(String::from).or(self.stop.take());
            }
            "message_stop" => {
                self.stopped = true;
                return Ok(Flow::Done);
            }
            "error" => return Err(self.fail(event.get("error").unwrap_or(&event))),
            _ => {}
        }
        Ok(Flow::More)
    }

    fn whole(&mut self, answer: &Value, out: &mut Collector<'_>) -> Result<(), ModelError> {
        if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
            return Err(self.fail(error));
        }
        let Some(blocks) = answer.get("content").and_then(Value::as_array) else {
            return Err(self.endpoint.unusable("it has no content"));
        };
        for (index, block) in blocks.iter().enumerate() {
            self.block(u64::try_from(index).ok(), block, out)?;
        }
        self.usage(answer.get("usage").unwrap_or(&Value::Null));
        self.stop = answer.get("stop_reason").and_then(Value::as_str).map(String::from);
        self.stopped = true;
        Ok(())
    }

    fn ending(&mut self, _: &Collector<'_>) -> Result<Ending, ModelError> {
        let stop = match self.stop.as_deref() {
            Some("max_tokens" | "model_context_window_exceeded") => StopReason::Length,
            Some("tool_use") => StopReason::ToolUse,
            Some("refusal") => {
                let text = format!("{}: the model refused to answer", self.endpoint.provider());
                return Err(ModelError::new(ErrorKind::Format, text));
            }
            _ if self.stopped => StopReason::Stop,
            _ => return Err(self.endpoint.cut()),
        };
        let mut usage = self.usage;
        usage.total_tokens = usage.prompt_tokens().saturating_add(usage.output);
        if !self.stopped { Err(self.endpoint.cut()) } else { Ok(Ending { stop, usage }) }
    }
}
