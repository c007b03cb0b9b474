//! What a backend's output means (agent.md 24): text, session id, usage and errors out of JSON, JSON lines, Claude's
//! event stream or plain text. Bounded, fed in pieces; knows nothing of processes.

use serde_json::Value;

use super::super::ModelEvent;
use super::super::frames::{Frames, Framing};
use super::Output;
use crate::agent::message::Usage;
use crate::limits;

/// Nesting followed when a text is looked for.
const DEPTH: usize = 6;

/// What was printed, understood.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Printed {
    pub(super) text: String,
    pub(super) session: Option<String>,
    pub(super) usage: Usage,
    pub(super) error: Option<String>,
}

/// Reads output while it comes.
pub(super) struct Reading<'a> {
    output: Output,
    fields: &'a [String],
    raw: Vec<u8>,
    taken: usize,
    frames: Frames,
    printed: Printed,
    /// Text of messages, apart from what was streamed.
    messages: Vec<String>,
    streamed: bool,
}

impl<'a> Reading<'a> {
    pub(super) fn new(output: Output, fields: &'a [String]) -> Reading<'a> {
        Reading {
            output,
            fields,
            raw: Vec::new(),
            taken: 0,
            frames: Frames::new(Framing::Ndjson),
            printed: Printed::default(),
            messages: Vec::new(),
            streamed: false,
        }
    }

    /// More output; an error when there is too much of it.
    pub(super) fn push(&mut self, bytes: &[u8], on: &mut dyn FnMut(ModelEvent)) -> Result<(), String> {
        self.taken = self.taken.saturating_add(bytes.len());
        if self.taken > limits::BACKEND_OUTPUT_BYTES {
            return Err(format!("the command printed more than {} bytes", limits::BACKEND_OUTPUT_BYTES));
        }
        match self.output {
            Output::Json => self.raw.extend_from_slice(bytes),
            Output::Text => {
                self.raw.extend_from_slice(bytes);
                self.plain(on);
            }
            Output::JsonLines | Output::StreamJson => {
                self.frames.push(bytes);
                while let Some(frame) = self.frames.next().map_err(|fault| fault.to_string())? {
                    self.line(&frame.data, on);
                }
            }
        }
        Ok(())
    }

    /// Everything was printed.
    pub(super) fn finish(mut self, on: &mut dyn FnMut(ModelEvent)) -> Result<Printed, String> {
        match self.output {
            Output::Json => self.whole(),
            Output::Text => {
                let rest = String::from_utf8_lossy(&self.raw).into_owned();
                self.printed.text.push_str(&rest);
                self.printed.text = self.printed.text.trim().to_string();
            }
            Output::JsonLines | Output::StreamJson => {
                if let Some(frame) = self.frames.finish().map_err(|fault| fault.to_string())? {
                    self.line(&frame.data, on);
                }
                if self.printed.text.is_empty() {
                    self.printed.text = self.messages.join("\n");
                }
            }
        }
        Ok(self.printed)
    }

    /// Hands out the whole characters that are there.
    fn plain(&mut self, on: &mut dyn FnMut(ModelEvent)) {
        let whole = match std::str::from_utf8(&self.raw) {
            Ok(_) => self.raw.len(),
            Err(fault) if fault.error_len().is_none() => fault.valid_up_to(),
            Err(_) => self.raw.len(),
        };
        let piece = String::from_utf8_lossy(self.raw.get(..whole).unwrap_or_default()).into_owned();
        self.raw.drain(..whole);
        if !piece.is_empty() {
            self.printed.text.push_str(&piece);
            on(ModelEvent::Text(piece));
        }
    }

    /// One JSON object; anything else is the answer itself.
    fn whole(&mut self) {
        let raw = String::from_utf8_lossy(&self.raw).into_owned();
        let Ok(value) = serde_json::from_str::<Value>(raw.trim()) else {
            self.printed.text = raw.trim().to_string();
            return;
        };
        // claude prints a list of events with `--verbose`
        let value = match value {
            Value::Array(list) => list.into_iter().next_back().unwrap_or_default(),
            other => other,
        };
        self.common(&value);
        let texts = ["message", "content", "result"].iter().filter_map(|name| value.get(name));
        let text = texts.map(|value| text_in(value, DEPTH)).find(|text| !text.trim().is_empty());
        self.printed.text = text.unwrap_or_else(|| text_in(&value, DEPTH)).trim().to_string();
        self.failure(&value);
    }

    /// Session id and usage, wherever they stand.
    fn common(&mut self, value: &Value) {
        if self.printed.session.is_none() {
            let names = self.fields.iter().map(String::as_str).chain(["thread_id"]);
            let found = names.filter_map(|name| value.get(name)).filter_map(Value::as_str).find(|id| !id.is_empty());
            self.printed.session = found.map(String::from);
        }
        if let Some(usage) = value.get("usage").filter(|usage| usage.is_object()) {
            self.printed.usage = usage_of(usage);
        }
        if let Some(cost) = value.get("total_cost_usd").and_then(Value::as_f64) {
            self.printed.usage.cost.total = cost;
        }
    }

    /// Claude reports failures with exit status 0 too.
    fn failure(&mut self, value: &Value) {
        let subtype = value.get("subtype").and_then(Value::as_str).unwrap_or_default();
        let failed = value.get("is_error").and_then(Value::as_bool) == Some(true) || subtype.starts_with("error");
        if failed {
            let said = value.get("result").map(|value| text_in(value, DEPTH)).filter(|text| !text.is_empty());
            self.printed.error = Some(said.unwrap_or_else(|| format!("the command reports {subtype}")));
        }
    }

    /// One event; lines that are no JSON are progress for people.
    fn line(&mut self, line: &str, on: &mut dyn FnMut(ModelEvent)) {
        let Ok(value) = serde_json::from_str::<Value>(line) else { return };
        self.common(&value);
        let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
        match (self.output, kind) {
            (Output::StreamJson, "stream_event") => self.event(&value, on),
            (Output::StreamJson, "result") => {
                let text = value.get("result").map(|value| text_in(value, DEPTH)).unwrap_or_default();
                if !text.trim().is_empty() {
                    self.printed.text = text.trim().to_string();
                }
                self.failure(&value);
            }
            (Output::StreamJson, "assistant") => {
                let text = value.get("message").map(|message| text_in(message, DEPTH)).unwrap_or_default();
                self.message(text, on);
            }
            // codex tells of lost connections as errors, too, and goes on
            (_, "turn.completed") => self.printed.error = None,
            (_, "error" | "turn.failed") => {
                let error = value.get("error").unwrap_or(&value);
                self.printed.error = Some(text_in(error, DEPTH)).filter(|text| !text.is_empty());
            }
            _ => self.item(&value, on),
        }
    }

    fn event(&mut self, value: &Value, on: &mut dyn FnMut(ModelEvent)) {
        let delta = value.pointer("/event/delta");
        let piece = |name: &str| delta.and_then(|delta| delta.get(name)).and_then(Value::as_str);
        if let Some(text) = piece("text").filter(|text| !text.is_empty()) {
            self.streamed = true;
            on(ModelEvent::Text(text.to_string()));
        } else if let Some(text) = piece("thinking").filter(|text| !text.is_empty()) {
            on(ModelEvent::Thinking(text.to_string()));
        }
    }

    /// Codex: `{item: {type, text}}`, where no type or one with `message` in it is the answer.
    fn item(&mut self, value: &Value, on: &mut dyn FnMut(ModelEvent)) {
        let Some(item) = value.get("item") else { return };
        let kind = item.get("type").and_then(Value::as_str).unwrap_or_default();
        let text = item.get("text").and_then(Value::as_str).unwrap_or_default();
        let finished = value
            .get("type")
            .and_then(Value::as_str)
            .is_none_or(|kind| !kind.ends_with("updated") && !kind.ends_with("started"));
        if finished && (kind.is_empty() || kind.contains("message")) {
            self.message(text.to_string(), on);
        }
    }

    fn message(&mut self, text: String, on: &mut dyn FnMut(ModelEvent)) {
        if text.is_empty() {
            return;
        }
        if !self.streamed {
            let separator = if self.messages.is_empty() { "" } else { "\n" };
            on(ModelEvent::Text(format!("{separator}{text}")));
        }
        self.messages.push(text);
    }
}

/// The text in a value that may be one, a list of parts, or an object around it.
fn text_in(value: &Value, depth: usize) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) if depth > 0 => list.iter().map(|item| text_in(item, depth - 1)).collect(),
        Value::Object(map) if depth > 0 => {
            let inner = ["text", "content", "message"].iter().filter_map(|name| map.get(*name));
            inner.map(|value| text_in(value, depth - 1)).find(|text| !text.is_empty()).unwrap_or_default()
        }
        _ => String::new(),
    }
}

fn usage_of(usage: &Value) -> Usage {
    let count = |names: &[&str]| names.iter().find_map(|name| usage.get(name)?.as_u64()).unwrap_or(0);
    // codex counts cached tokens as part of the input, claude does not
    let inside = count(&["cached_input_tokens"]);
    let cache_read = count(&["cache_read_input_tokens", "cached_input_tokens"]);
    let cache_write = count(&["cache_write_input_tokens", "cache_creation_input_tokens"]);
    let (input, output) = (count(&["input_tokens"]).saturating_sub(inside), count(&["output_tokens"]));
    let sum = [input, output, cache_read, cache_write].into_iter().fold(0, u64::saturating_add);
    let total_tokens = Some(count(&["total_tokens"])).filter(|total| *total > 0).unwrap_or(sum);
    Usage { input, output, cache_read, cache_write, total_tokens, ..Usage::default() }
}
