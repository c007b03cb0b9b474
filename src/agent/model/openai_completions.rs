//! The wire form `openai-completions` (agent.md 19): OpenAI's chat completions and everything that imitates them.
//! Owns requests and answers of that form; asks nothing of a server that small ones do not understand.

use serde_json::{Map, Value};

use super::collect::{CallKey, Collector};
use super::endpoint::{Decoder, Ending, Endpoint, Flow, MaxTokensField, text, tokens};
use super::frames::{Frame, Framing};
use super::served::Form;
use super::{ErrorKind, ModelError, ModelRequest, Thinking, ToolChoice, history};
use crate::agent::message::{Block, Message, StopReason, Usage, text_of};

/// As transcripts name it.
pub const API: &str = "openai-completions";
/// Members about sampling that this form and Ollama's have.
pub(super) const SAMPLING: [&str; 6] =
    ["temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "stop"];

/// `POST {base}/chat/completions`.
pub(super) const FORM: Form = Form {
    api: API,
    path: "/chat/completions",
    framing: Framing::Sse,
    headers: Endpoint::bearer,
    body,
    answer: |endpoint| Box::new(Answer::new(endpoint)),
    context: Endpoint::context_window,
};

/// The request.
fn body(endpoint: &Endpoint, request: &ModelRequest) -> Value {
    let (facts, compat) = (&endpoint.facts, endpoint.compat);
    let mut body = Map::new();
    body.insert("model".into(), json!(endpoint.reference.model));
    body.insert("stream".into(), json!(true));
    if compat.stream_usage {
        body.insert("stream_options".into(), json!({"include_usage": true}));
    }
    if compat.store {
        body.insert("store".into(), json!(false));
    }
    if let Some(limit) = request.sampling.max_tokens.or(facts.max_tokens) {
        let name = match compat.max_tokens_field {
            MaxTokensField::MaxTokens => "max_tokens",
            MaxTokensField::MaxCompletionTokens => "max_completion_tokens",
        };
        body.insert(name.into(), json!(limit));
    }
    body.extend(request.sampling.members(&SAMPLING));
    if let Some(format) = &request.sampling.response_format {
        body.insert("response_format".into(), format.clone());
    }
    if let Some(effort) = effort(request.thinking).filter(|_| facts.reasoning && compat.reasoning_effort) {
        body.insert("reasoning_effort".into(), json!(effort));
    }
    body.insert("messages".into(), messages(endpoint, request));
    if !request.tools.is_empty() {
        body.insert("tools".into(), tools(endpoint, request));
        if let Some(choice) = tool_choice(&request.tool_choice) {
            body.insert("tool_choice".into(), choice);
        }
    }
    Value::Object(body)
}

/// The effort's name; the highest one is not known everywhere.
pub(super) fn effort(thinking: Thinking) -> Option<&'static str> {
    match thinking {
        Thinking::Off => None,
        Thinking::XHigh => Some("high"),
        level => Some(level.name()),
    }
}

fn tools(endpoint: &Endpoint, request: &ModelRequest) -> Value {
    let tools = request.tools.iter().map(|tool| {
        let mut function = json!({
            "name": tool.name, "description": tool.description, "parameters": tool.parameters,
        });
        if let Some(function) = function.as_object_mut().filter(|_| endpoint.compat.strict) {
            function.insert("strict".into(), json!(false));
        }
        json!({"type": "function", "function": function})
    });
    tools.collect()
}

fn tool_choice(choice: &ToolChoice) -> Option<Value> {
    match choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some(json!("none")),
        ToolChoice::Required => Some(json!("required")),
        ToolChoice::Named(name) => Some(json!({"type": "function", "function": {"name": name}})),
    }
}

fn messages(endpoint: &Endpoint, request: &ModelRequest) -> Value {
    let mut out = Vec::new();
    if !request.system.is_empty() {
        let developer = endpoint.compat.developer_role && endpoint.facts.reasoning;
        out.push(json!({"role": if developer { "developer" } else { "system" }, "content": request.system}));
    }
    let mut pictures = Vec::new();
    for message in history::sendable(&request.messages, endpoint.facts.images) {
        if !matches!(message, Message::ToolResult(_)) {
            push_pictures(&mut out, &mut pictures);
        }
        match message {
            Message::User(user) => out.push(json!({"role": "user", "content": content(&user.content)})),
            Message::Assistant(assistant) => out.push(assistant_message(&assistant.content)),
            Message::ToolResult(result) => {
                let is_image = |block: &&Block| matches!(block, Block::Image { .. });
                pictures.extend(result.content.iter().filter(is_image).cloned());
                out.push(json!({
                    "role": "tool", "tool_call_id": call_id(&result.tool_call_id), "content": result_text(&result.content),
                }));
            }
        }
    }
    push_pictures(&mut out, &mut pictures);
    Value::Array(out)
}

/// A tool's text; some servers refuse an empty one.
pub(super) fn result_text(content: &[Block]) -> String {
    let text = text_of(content);
    if text.is_empty() { "(no text)".to_string() } else { text }
}

/// Pictures of tools go into a message of their own after all results (agent.md 19).
fn push_pictures(out: &mut Vec<Value>, pictures: &mut Vec<Block>) {
    if !pictures.is_empty() {
        let mut blocks = vec![Block::text("Pictures from the tools above:")];
        blocks.append(pictures);
        out.push(json!({"role": "user", "content": content(&blocks)}));
    }
}

/// A plain string unless there is a picture: every server takes that.
fn content(blocks: &[Block]) -> Value {
    if !blocks.iter().any(|block| matches!(block, Block::Image { .. })) {
        return json!(text_of(blocks));
    }
    let parts = blocks.iter().filter_map(|block| match block {
        Block::Text { text, .. } => Some(json!({"type": "text", "text": text})),
        Block::Image { data, mime_type, .. } => {
            Some(json!({"type": "image_url", "image_url": {"url": format!("data:{mime_type};base64,{data}")}}))
        }
        _ => None,
    });
    parts.collect()
}

fn assistant_message(blocks: &[Block]) -> Value {
    let text = text_of(blocks);
    let calls: Vec<Value> = blocks
        .iter()
        .filter_map(|block| match block {
            Block::ToolCall { id, name, arguments, .. } => Some(json!({
                "id": call_id(id), "type": "function",
                "function": {"name": name, "arguments": arguments_object(arguments).to_string()},
            })),
            _ => None,
        })
        .collect();
    let content = if text.is_empty() && !calls.is_empty() { Value::Null } else { json!(text) };
    let mut message = json!({"role": "assistant", "content": content});
    if let Some(message) = message.as_object_mut().filter(|_| !calls.is_empty()) {
        message.insert("tool_calls".into(), Value::Array(calls));
    }
    message
}

/// The original keeps `call id|item id` as a call's id; only the first half names the call, and OpenAI refuses long ones.
pub(super) fn call_id(id: &str) -> &str {
    id.split('|').next().unwrap_or(id)
}

/// What the model wrote as arguments, always an object: servers parse it and fail on anything else.
pub(super) fn arguments_object(arguments: &Value) -> Value {
    match arguments {
        Value::Object(_) => arguments.clone(),
        Value::Null => json!({}),
        other => json!({"malformed": other}),
    }
}

/// Reads an answer.
struct Answer<'e> {
    endpoint: &'e Endpoint,
    finish: Option<String>,
    done: bool,
    usage: Usage,
}

impl<'e> Answer<'e> {
    fn new(endpoint: &'e Endpoint) -> Answer<'e> {
        Answer { endpoint, finish: None, done: false, usage: Usage::default() }
    }

    fn delta(&mut self, delta: &Value, out: &mut Collector<'_>) -> Result<(), ModelError> {
        let thought = ["reasoning_content", "reasoning", "reasoning_text"].map(|name| text(delta, name));
        out.thinking(thought.into_iter().find(|text| !text.is_empty()).unwrap_or_default())?;
        match delta.get("content") {
            Some(Value::String(piece)) => out.text(piece)?,
            // parts instead of a string
            Some(Value::Array(parts)) => parts.iter().try_for_each(|part| out.text(text(part, "text")))?,
            _ => {}
        }
        out.text(text(delta, "refusal"))?;
        for call in delta.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            tool_call(call, out)?;
        }
        Ok(())
    }

    fn chunk(&mut self, chunk: &Value, member: &str, out: &mut Collector<'_>) -> Result<(), ModelError> {
        if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
            return Err(ModelError::inside(self.endpoint.provider(), error, self.endpoint.key.as_ref()));
        }
        if let Some(usage) = chunk.get("usage").filter(|usage| usage.is_object()) {
            self.usage = usage_of(usage);
        }
        let Some(choice) = chunk.get("choices").and_then(|choices| choices.get(0)) else { return Ok(()) };
        if let Some(delta) = choice.get(member) {
            self.delta(delta, out)?;
        }
        if let Some(finish) = choice.get("finish_reason").and_then(Value::as_str).filter(|text| !text.is_empty()) {
            self.finish = Some(finish.to_string());
        }
        Ok(())
    }
}

fn tool_call(call: &Value, out: &mut Collector<'_>) -> Result<(), ModelError> {
    let function = call.get("function").unwrap_or(call);
    let key = CallKey { index: call.get("index").and_then(Value::as_u64), id: text(call, "id").to_string() };
    match function.get("arguments") {
        Some(Value::Object(arguments)) => {
            out.call(&key, text(function, "name"), &Value::Object(arguments.clone()).to_string())
        }
        _ => out.call(&key, text(function, "name"), text(function, "arguments")),
    }
}

/// `prompt_tokens` holds the cached ones, ours do not (seen: 100/40/20 becomes 60/40/20).
fn usage_of(usage: &Value) -> Usage {
    let prompt = tokens(usage, "prompt_tokens");
    let cache_read = tokens(usage, "prompt_tokens_details.cached_tokens").min(prompt);
    let output = tokens(usage, "completion_tokens");
    let reasoning = tokens(usage, "completion_tokens_details.reasoning_tokens");
    let total = tokens(usage, "total_tokens");
    // reasoning is part of the completion, except where the sum shows that it was counted apart
    let apart = reasoning > 0 && total == prompt.saturating_add(output).saturating_add(reasoning);
    let output = if apart { output.saturating_add(reasoning) } else { output };
    Usage {
        input: prompt - cache_read,
        output,
        cache_read,
        total_tokens: prompt.saturating_add(output),
        ..Usage::default()
    }
}

impl Decoder for Answer<'_> {
    fn frame(&mut self, frame: &Frame, out: &mut Collector<'_>) -> Result<Flow, ModelError> {
        let data = frame.data.trim();
        if data == "[DONE]" {
            self.done = true;
            return Ok(Flow::Done);
        }
        if data.is_empty() {
            return Ok(Flow::More);
        }
        let chunk = self.endpoint.json(data)?;
        if frame.name == "error" && chunk.get("error").is_none() {
            return Err(ModelError::inside(self.endpoint.provider(), &chunk, self.endpoint.key.as_ref()));
        }
        // a whole message inside a stream comes from servers that only pretend to stream
        let member = if chunk.pointer("/choices/0/message").is_some() { "message" } else { "delta" };
        self.chunk(&chunk, member, out)?;
        Ok(Flow::More)
    }

    fn whole(&mut self, answer: &Value, out: &mut Collector<'_>) -> Result<(), ModelError> {
        if answer.get("error").is_none_or(Value::is_null) && answer.pointer("/choices/0").is_none() {
            return Err(self.endpoint.unusable("it has no choices"));
        }
        self.chunk(answer, "message", out)?;
        self.done = true;
        Ok(())
    }

    fn ending(&mut self, _: &Collector<'_>) -> Result<Ending, ModelError> {
        let stop = match self.finish.as_deref() {
            Some("length") => StopReason::Length,
            Some("tool_calls" | "function_call") => StopReason::ToolUse,
            Some("content_filter") => {
                let text = format!("{}: the provider's content filter stopped the answer", self.endpoint.provider());
                return Err(ModelError::new(ErrorKind::Format, text));
            }
            Some(_) => StopReason::Stop,
            None if self.done => StopReason::Stop,
            None => return Err(self.endpoint.cut()),
        };
        Ok(Ending { stop, usage: self.usage })
    }
}
