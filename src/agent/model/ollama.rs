//! The wire form `ollama` (agent.md 21): Ollama's own `/api/chat`, because only it can set the size of the context;
//! through its OpenAI-like interface long prompts are cut silently.

use serde_json::{Map, Value};

use super::collect::{CallKey, Collector};
use super::endpoint::{Decoder, Ending, Endpoint, Flow, text, tokens};
use super::frames::{Frame, Framing};
use super::openai_completions::{SAMPLING, arguments_object, result_text};
use super::served::Form;
use super::{ModelError, ModelRequest, Thinking, history};
use crate::agent::message::{Block, Message, StopReason, Usage, text_of};
use crate::limits;
use crate::sys::order;

/// As transcripts name it.
pub const API: &str = "ollama";

/// `POST {base}/api/chat`.
pub(super) const FORM: Form = Form {
    api: API,
    path: "/api/chat",
    framing: Framing::Ndjson,
    headers: Endpoint::bearer,
    body,
    answer: |endpoint| Box::new(Answer::new(endpoint)),
    context,
};

/// What is asked of the server is what is promised to the run, else prompts would be cut.
fn context(endpoint: &Endpoint) -> u64 {
    endpoint.facts.context_window.filter(|tokens| *tokens > 0).unwrap_or(limits::MODEL_CONTEXT_LOCAL)
}

fn body(endpoint: &Endpoint, request: &ModelRequest) -> Value {
    let mut options = order::object([("num_ctx".to_string(), json!(context(endpoint)))]);
    if let Some(limit) = request.sampling.max_tokens.or(endpoint.facts.max_tokens) {
        options.insert("num_predict".into(), json!(limit));
    }
    options.extend(request.sampling.members(&SAMPLING));
    let mut body = Map::new();
    body.insert("model".into(), json!(endpoint.reference.model));
    body.insert("stream".into(), json!(true));
    body.insert("messages".into(), messages(endpoint, request));
    body.insert("options".into(), Value::Object(options));
    if let Some(format) = format(request) {
        body.insert("format".into(), format);
    }
    if endpoint.facts.reasoning {
        body.insert("think".into(), json!(request.thinking != Thinking::Off));
    }
    if !request.tools.is_empty() {
        body.insert(
            "tools".into(),
            request
                .tools
                .iter()
                .map(|tool| {
                    json!({"type": "function", "function": {
                        "name": tool.name, "description": tool.description, "parameters": tool.parameters,
                    }})
                })
                .collect(),
        );
    }
    Value::Object(body)
}

/// A schema, or the word for any JSON.
fn format(request: &ModelRequest) -> Option<Value> {
    let asked = request.sampling.response_format.as_ref()?;
    let schema = request.sampling.schema().and_then(|wrapped| wrapped.get("schema")).cloned();
    schema.or_else(|| (text(asked, "type") == "json_object").then(|| json!("json")))
}

fn messages(endpoint: &Endpoint, request: &ModelRequest) -> Value {
    let mut out = Vec::new();
    if !request.system.is_empty() {
        out.push(json!({"role": "system", "content": request.system}));
    }
    for message in history::sendable(&request.messages, endpoint.facts.images) {
        let mut built = match &message {
            Message::User(user) => json!({"role": "user", "content": text_of(&user.content)}),
            Message::ToolResult(result) => {
                json!({"role": "tool", "tool_name": result.tool_name, "content": result_text(&result.content)})
            }
            Message::Assistant(assistant) => json!({"role": "assistant", "content": text_of(&assistant.content)}),
        };
        if let Some(object) = built.as_object_mut() {
            for (name, list) in [("images", images(message.content())), ("tool_calls", calls(message.content()))] {
                if !list.is_empty() {
                    object.insert(name.to_string(), Value::Array(list));
                }
            }
        }
        out.push(built);
    }
    Value::Array(out)
}

fn images(blocks: &[Block]) -> Vec<Value> {
    let data = blocks.iter().filter_map(|block| match block {
        Block::Image { data, .. } => Some(json!(data)),
        _ => None,
    });
    data.collect()
}

fn calls(blocks: &[Block]) -> Vec<Value> {
    let calls = blocks.iter().filter_map(|block| match block {
        Block::ToolCall { name, arguments, .. } => {
            Some(json!({"function": {"name": name, "arguments": arguments_object(arguments)}}))
        }
        _ => None,
    });
    calls.collect()
}

/// Reads an answer.
struct Answer<'e> {
    endpoint: &'e Endpoint,
    last: Option<Value>,
    calls: u64,
}

impl<'e> Answer<'e> {
    fn new(endpoint: &'e Endpoint) -> Answer<'e> {
        Answer { endpoint, last: None, calls: 0 }
    }

    fn part(&mut self, part: &Value, out: &mut Collector<'_>) -> Result<Flow, ModelError> {
        if let Some(error) = part.get("error").filter(|error| !error.is_null()) {
            return Err(ModelError::inside(self.endpoint.provider(), error, self.endpoint.key.as_ref()));
        }
        let message = part.get("message").unwrap_or(&Value::Null);
        out.thinking(text(message, "thinking"))?;
        out.text(text(message, "content"))?;
        for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            // every call comes whole; their ids are made here
            let key = CallKey { index: Some(self.calls), id: String::new() };
            self.calls += 1;
            let function = call.get("function").unwrap_or(&Value::Null);
            let arguments = function.get("arguments").map(Value::to_string).unwrap_or_default();
            out.call(&key, text(function, "name"), &arguments)?;
        }
        if part.get("done").and_then(Value::as_bool) != Some(true) {
            return Ok(Flow::More);
        }
        self.last = Some(part.clone());
        Ok(Flow::Done)
    }
}

impl Decoder for Answer<'_> {
    fn frame(&mut self, frame: &Frame, out: &mut Collector<'_>) -> Result<Flow, ModelError> {
        let part = self.endpoint.json(&frame.data)?;
        self.part(&part, out)
    }

    fn whole(&mut self, answer: &Value, out: &mut Collector<'_>) -> Result<(), ModelError> {
        self.part(answer, out).map(|_| ())
    }

    fn ending(&mut self, _: &Collector<'_>) -> Result<Ending, ModelError> {
        let Some(last) = &self.last else { return Err(self.endpoint.cut()) };
        let stop = if text(last, "done_reason") == "length" { StopReason::Length } else { StopReason::Stop };
        let (input, output) = (tokens(last, "prompt_eval_count"), tokens(last, "eval_count"));
        Ok(Ending { stop, usage: Usage { input, output, ..Usage::default() } })
    }
}
