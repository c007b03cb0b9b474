//! The wire form `openai-responses` (agent.md 19, outline). Owns requests and answers of that form; the conversation is
//! sent whole each time and nothing is stored on the server.

use serde_json::{Map, Value};

use super::collect::{CallKey, Collector};
use super::endpoint::{Decoder, Ending, Endpoint, Flow, text, tokens};
use super::frames::{Frame, Framing};
use super::openai_completions::{arguments_object, call_id, effort, result_text};
use super::served::Form;
use super::{ErrorKind, ModelError, ModelRequest, ToolChoice, history};
use crate::agent::message::{AssistantMessage, Block, Message, StopReason, Usage};

/// As transcripts name it.
pub const API: &str = "openai-responses";

/// `POST {base}/responses`.
pub(super) const FORM: Form = Form {
    api: API,
    path: "/responses",
    framing: Framing::Sse,
    headers: Endpoint::bearer,
    body,
    answer: |endpoint| Box::new(Answer::new(endpoint)),
    context: Endpoint::context_window,
};

fn body(endpoint: &Endpoint, request: &ModelRequest) -> Value {
    let mut body = Map::new();
    body.insert("model".into(), json!(endpoint.reference.model));
    body.insert("stream".into(), json!(true));
    body.insert("input".into(), input(endpoint, request));
    if !request.system.is_empty() {
        body.insert("instructions".into(), json!(request.system));
    }
    if endpoint.compat.store {
        body.insert("store".into(), json!(false));
    }
    if let Some(limit) = request.sampling.max_tokens.or(endpoint.facts.max_tokens) {
        body.insert("max_output_tokens".into(), json!(limit));
    }
    body.extend(request.sampling.members(&["temperature", "top_p"]));
    if let Some(format) = &request.sampling.response_format {
        body.insert("text".into(), json!({"format": flat(format)}));
    }
    if let Some(effort) = effort(request.thinking).filter(|_| endpoint.facts.reasoning) {
        body.insert("reasoning".into(), json!({"effort": effort, "summary": "auto"}));
        body.insert("include".into(), json!(["reasoning.encrypted_content"]));
    }
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            json!({
                "type": "function", "name": tool.name, "description": tool.description,
                "parameters": tool.parameters, "strict": false,
            })
        });
        body.insert("tools".into(), tools.collect());
        match &request.tool_choice {
            ToolChoice::Auto => {}
            ToolChoice::None => drop(body.insert("tool_choice".into(), json!("none"))),
            ToolChoice::Required => drop(body.insert("tool_choice".into(), json!("required"))),
            ToolChoice::Named(name) => {
                drop(body.insert("tool_choice".into(), json!({"type": "function", "name": name})));
            }
        }
    }
    Value::Object(body)
}

/// The other form of OpenAI keeps a schema one level deeper.
fn flat(format: &Value) -> Value {
    let mut format = format.clone();
    if let Some(members) = format.as_object_mut()
        && let Some(Value::Object(schema)) = members.remove("json_schema")
    {
        members.extend(schema);
    }
    format
}

fn input(endpoint: &Endpoint, request: &ModelRequest) -> Value {
    let mut items = Vec::new();
    for message in history::sendable(&request.messages, endpoint.facts.images) {
        match message {
            Message::User(user) => {
                items.push(json!({"type": "message", "role": "user", "content": parts(&user.content)}))
            }
            Message::Assistant(assistant) => assistant_items(endpoint, &assistant, &mut items),
            Message::ToolResult(result) => {
                let pictures = result.content.iter().any(|block| matches!(block, Block::Image { .. }));
                let output = if pictures { parts(&result.content) } else { json!(result_text(&result.content)) };
                let call = call_id(&result.tool_call_id);
                items.push(json!({"type": "function_call_output", "call_id": call, "output": output}));
            }
        }
    }
    Value::Array(items)
}

fn parts(blocks: &[Block]) -> Value {
    let parts = blocks.iter().filter_map(|block| match block {
        Block::Text { text, .. } => Some(json!({"type": "input_text", "text": text})),
        Block::Image { data, mime_type, .. } => Some(json!({
            "type": "input_image", "detail": "auto", "image_url": format!("data:{mime_type};base64,{data}"),
        })),
        _ => None,
    });
    parts.collect()
}

fn assistant_items(endpoint: &Endpoint, message: &AssistantMessage, items: &mut Vec<Value>) {
    let ours = message.api == API && message.provider == endpoint.reference.provider;
    for block in &message.content {
        match block {
            Block::Text { text, .. } if !text.is_empty() => items.push(json!({
                "type": "message", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": text, "annotations": []}],
            })),
            // the whole reasoning item stands in the signature; another provider's means nothing here
            Block::Thinking { signature: Some(signature), .. } if ours => {
                items.extend(serde_json::from_str::<Value>(signature).ok().filter(Value::is_object));
            }
            Block::ToolCall { id, name, arguments, .. } => items.push(json!({
                "type": "function_call", "call_id": call_id(id), "name": name,
                "arguments": arguments_object(arguments).to_string(),
            })),
            _ => {}
        }
    }
}

/// Reads an answer.
struct Answer<'e> {
    endpoint: &'e Endpoint,
    response: Option<Value>,
    /// Whether the text of the current message came in pieces.
    streamed: bool,
    /// Item ids and the call ids they stand for.
    calls: Vec<(String, String)>,
}

impl<'e> Answer<'e> {
    fn new(endpoint: &'e Endpoint) -> Answer<'e> {
        Answer { endpoint, response: None, streamed: false, calls: Vec::new() }
    }

    fn key(&self, item: &str) -> CallKey {
        let known = self.calls.iter().find(|(known, _)| known == item).map(|(_, call)| call.as_str());
        CallKey { index: None, id: known.unwrap_or(item).to_string() }
    }

    fn added(&mut self, item: &Value, out: &mut Collector<'_>) -> Result<(), ModelError> {
        if text(item, "type") != "function_call" {
            return Ok(());
        }
        let (id, call) = (item_id(item), text(item, "call_id"));
        let call = if call.is_empty() { id } else { call };
        self.calls.push((id.to_string(), call.to_string()));
        out.call(&self.key(id), text(item, "name"), text(item, "arguments"))
    }

    fn finished(&mut self, item: &Value, out: &mut Collector<'_>) -> Result<(), ModelError> {
        match text(item, "type") {
            "function_call" => {
                let known = self.calls.iter().any(|(known, _)| known == item_id(item));
                if !known {
                    self.added(item, out)?;
                }
                out.settle(&self.key(item_id(item)), text(item, "arguments"));
            }
            "reasoning" => out.signature(&item.to_string())?,
            "message" if !std::mem::take(&mut self.streamed) => message_text(item, out)?,
            _ => {}
        }
        Ok(())
    }

    fn failed(&self, response: &Value) -> ModelError {
        self.fail(response.get("error").filter(|error| !error.is_null()).unwrap_or(&json!("it failed")))
    }

    /// Calls that stand in the closing event alone: LiteLLM streams none of those it translates, and its item ids change
    /// from event to event.
    fn late_calls(&mut self, out: &mut Collector<'_>) -> Result<(), ModelError> {
        let items =
            self.response.as_ref().and_then(|response| response.get("output")).and_then(Value::as_array).cloned();
        for item in items.unwrap_or_default().iter().filter(|item| text(item, "type") == "function_call") {
            let names = [text(item, "call_id"), text(item, "id")];
            let known =
                self.calls.iter().any(|(id, call)| names.contains(&call.as_str()) || names.contains(&id.as_str()));
            if !known {
                self.finished(item, out)?;
            }
        }
        Ok(())
    }

    fn fail(&self, error: &Value) -> ModelError {
        ModelError::inside(self.endpoint.provider(), error, self.endpoint.key.as_ref())
    }
}

/// An item's own name; servers that give it none are told apart by the call.
fn item_id(item: &Value) -> &str {
    Some(text(item, "id")).filter(|id| !id.is_empty()).unwrap_or_else(|| text(item, "call_id"))
}

fn message_text(item: &Value, out: &mut Collector<'_>) -> Result<(), ModelError> {
    let parts = item.get("content").and_then(Value::as_array).into_iter().flatten();
    for part in parts {
        out.text(text(part, "text"))?;
        out.text(text(part, "refusal"))?;
    }
    Ok(())
}

impl Decoder for Answer<'_> {
    fn frame(&mut self, frame: &Frame, out: &mut Collector<'_>) -> Result<Flow, ModelError> {
        if frame.data.trim() == "[DONE]" || frame.data.trim().is_empty() {
            return Ok(Flow::More);
        }
        let event = self.endpoint.json(&frame.data)?;
        let kind = Some(text(&event, "type")).filter(|kind| !kind.is_empty()).unwrap_or(&frame.name);
        match kind {
            "response.output_text.delta" | "response.refusal.delta" => {
                self.streamed = true;
                out.text(text(&event, "delta"))?;
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                out.thinking(text(&event, "delta"))?;
            }
            "response.output_item.added" => self.added(event.get("item").unwrap_or(&Value::Null), out)?,
            "response.function_call_arguments.delta" => {
                out.call(&self.key(text(&event, "item_id")), "", text(&event, "delta"))?;
            }
            "response.output_item.done" => self.finished(event.get("item").unwrap_or(&Value::Null), out)?,
            "response.completed" | "response.incomplete" => {
                self.response = event.get("response").cloned();
                self.late_calls(out)?;
                return Ok(Flow::Done);
            }
            "response.failed" => return Err(self.failed(event.get("response").unwrap_or(&event))),
            "error" => return Err(self.fail(event.get("error").unwrap_or(&event))),
            _ => {}
        }
        Ok(Flow::More)
    }

    fn whole(&mut self, answer: &Value, out: &mut Collector<'_>) -> Result<(), ModelError> {
        if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
            return Err(self.fail(error));
        }
        let Some(items) = answer.get("output").and_then(Value::as_array) else {
            return Err(self.endpoint.unusable("it has no output"));
        };
        for item in items {
            self.finished(item, out)?;
        }
        self.response = Some(answer.clone());
        Ok(())
    }

    fn ending(&mut self, out: &Collector<'_>) -> Result<Ending, ModelError> {
        let Some(response) = &self.response else { return Err(self.endpoint.cut()) };
        let reason = response.pointer("/incomplete_details/reason").and_then(Value::as_str);
        let stop = match text(response, "status") {
            "failed" | "cancelled" => return Err(self.failed(response)),
            "incomplete" if reason == Some("content_filter") => {
                let text = format!("{}: the provider's content filter stopped the answer", self.endpoint.provider());
                return Err(ModelError::new(ErrorKind::Format, text));
            }
            "incomplete" => StopReason::Length,
            _ if out.has_calls() => StopReason::ToolUse,
            _ => StopReason::Stop,
        };
        let prompt = tokens(response, "usage.input_tokens");
        let cache_read = tokens(response, "usage.input_tokens_details.cached_tokens").min(prompt);
        let output = tokens(response, "usage.output_tokens");
        let total_tokens = prompt.saturating_add(output);
        Ok(Ending {
            stop,
            usage: Usage { input: prompt - cache_read, output, cache_read, total_tokens, ..Usage::default() },
        })
    }
}
