//! An answer while it comes: texts, thoughts and tool calls put together from their pieces and told on at once. Owns
//! the bounds of an answer; every wire form feeds it.

use serde_json::{Map, Value};

use super::{ModelError, ModelEvent};
use crate::agent::message::{Block, Extra};
use crate::limits;
use crate::protocol::check;
use crate::sys::order;

/// One part under construction.
#[derive(Debug)]
enum Part {
    Text(String),
    Thinking { text: String, signature: Option<String>, extra: Extra },
    Call { key: CallKey, id: String, name: String, arguments: String },
}

/// What a server says to tell tool calls apart; either may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CallKey {
    /// Position in its list.
    pub(super) index: Option<u64>,
    /// Its own name for the call.
    pub(super) id: String,
}

/// Puts an answer together.
pub(super) struct Collector<'a> {
    provider: &'a str,
    on: &'a mut dyn FnMut(ModelEvent),
    parts: Vec<Part>,
    bytes: usize,
    told: bool,
    said: bool,
    /// Makes up ids that no earlier call of the session has.
    turn: usize,
}

impl<'a> Collector<'a> {
    pub(super) fn new(provider: &'a str, turn: usize, on: &'a mut dyn FnMut(ModelEvent)) -> Collector<'a> {
        Collector { provider, on, parts: Vec::new(), bytes: 0, told: false, said: false, turn }
    }

    /// Whether anything was handed out: the server has begun to answer.
    pub(super) fn told(&self) -> bool {
        self.told
    }

    /// Whether text was handed out, which a second answer would repeat. Thoughts and begun calls can begin anew.
    pub(super) fn said(&self) -> bool {
        self.said
    }

    pub(super) fn has_calls(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Call { .. }))
    }

    /// More text.
    pub(super) fn text(&mut self, piece: &str) -> Result<(), ModelError> {
        if piece.is_empty() {
            return Ok(());
        }
        self.count(piece.len())?;
        match self.parts.last_mut() {
            Some(Part::Text(text)) => text.push_str(piece),
            _ => self.add(Part::Text(piece.to_string()))?,
        }
        self.tell(ModelEvent::Text(piece.to_string()));
        Ok(())
    }

    /// More of a thought.
    pub(super) fn thinking(&mut self, piece: &str) -> Result<(), ModelError> {
        if piece.is_empty() {
            return Ok(());
        }
        self.count(piece.len())?;
        match self.parts.last_mut() {
            Some(Part::Thinking { text, signature: None, .. }) => text.push_str(piece),
            _ => self.add(Part::Thinking { text: piece.to_string(), signature: None, extra: Extra::new() })?,
        }
        self.tell(ModelEvent::Thinking(piece.to_string()));
        Ok(())
    }

    /// More of what the provider wants back with the last thought.
    pub(super) fn signature(&mut self, piece: &str) -> Result<(), ModelError> {
        self.count(piece.len())?;
        if !matches!(self.parts.last(), Some(Part::Thinking { .. })) {
            self.add(Part::Thinking { text: String::new(), signature: None, extra: Extra::new() })?;
        }
        if let Some(Part::Thinking { signature, .. }) = self.parts.last_mut() {
            signature.get_or_insert_default().push_str(piece);
        }
        Ok(())
    }

    /// A thought the provider hides: only its signature, marked as the original marks it.
    pub(super) fn hidden(&mut self, data: &str) -> Result<(), ModelError> {
        self.count(data.len())?;
        let extra = order::object([("redacted".to_string(), Value::Bool(true))]);
        self.add(Part::Thinking { text: String::new(), signature: Some(data.to_string()), extra })
    }

    /// A tool call, or more of one: a new id or index starts a call (agent.md 19).
    pub(super) fn call(&mut self, key: &CallKey, name: &str, arguments: &str) -> Result<(), ModelError> {
        self.count(name.len() + arguments.len())?;
        match self.find(key, name) {
            Some(at) => self.grow(at, name, arguments),
            None => self.start(key, name, arguments),
        }
    }

    /// Replaces a call's arguments by the whole text a server repeats at the end.
    pub(super) fn settle(&mut self, key: &CallKey, whole: &str) {
        for part in &mut self.parts {
            if let Part::Call { key: known, arguments, .. } = part
                && known == key
                && !whole.is_empty()
            {
                *arguments = whole.to_string();
            }
        }
    }

    fn find(&self, key: &CallKey, name: &str) -> Option<usize> {
        let calls = self.parts.iter().enumerate().rev().filter_map(|(at, part)| match part {
            Part::Call { key, name, arguments, .. } => Some((at, key, name, arguments)),
            _ => None,
        });
        for (at, known, known_name, arguments) in calls {
            let same_id = key.id.is_empty() || known.id.is_empty() || key.id == known.id;
            let same_index = key.index.is_none() || known.index.is_none() || key.index == known.index;
            // without id and index a second name, or a name after complete arguments, is another call
            let anonymous = key.id.is_empty() && key.index.is_none();
            let another = anonymous && !name.is_empty() && (!known_name.is_empty() || !arguments.is_empty());
            let named_anew = !key.id.is_empty() && known.id.is_empty() && key.index.is_none();
            if same_id && same_index && !another && !named_anew {
                return Some(at);
            }
            if anonymous {
                return None;
            }
        }
        None
    }

    fn start(&mut self, key: &CallKey, name: &str, arguments: &str) -> Result<(), ModelError> {
        let id = self.own_id(&key.id);
        let call =
            Part::Call { key: key.clone(), id: id.clone(), name: name.to_string(), arguments: arguments.to_string() };
        self.add(call)?;
        if !name.is_empty() {
            self.tell(ModelEvent::ToolCall { id, name: name.to_string() });
        }
        Ok(())
    }

    /// The server's id, or one that no other call of the answer has: results find their calls by it.
    fn own_id(&self, theirs: &str) -> String {
        let ids =
            || self.parts.iter().filter_map(|part| if let Part::Call { id, .. } = part { Some(id) } else { None });
        let mut id = theirs.to_string();
        let mut number = ids().count();
        while id.is_empty() || ids().any(|known| *known == id) {
            id = if theirs.is_empty() { format!("call_{}_{number}", self.turn) } else { format!("{theirs}_{number}") };
            number += 1;
        }
        id
    }

    fn grow(&mut self, at: usize, more_name: &str, more: &str) -> Result<(), ModelError> {
        let mut begun = None;
        if let Some(Part::Call { id, name, arguments, .. }) = self.parts.get_mut(at) {
            if name.is_empty() && !more_name.is_empty() {
                *name = more_name.to_string();
                begun = Some(ModelEvent::ToolCall { id: id.clone(), name: name.clone() });
            }
            arguments.push_str(more);
        }
        if let Some(event) = begun {
            self.tell(event);
        }
        Ok(())
    }

    fn add(&mut self, part: Part) -> Result<(), ModelError> {
        if self.parts.len() >= limits::MODEL_PARTS {
            let what = format!("it has more than {} parts", limits::MODEL_PARTS);
            return Err(ModelError::protocol(self.provider, what));
        }
        self.parts.push(part);
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<(), ModelError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > limits::MODEL_TEXT_BYTES {
            let what = format!("it has more than {} bytes of text", limits::MODEL_TEXT_BYTES);
            return Err(ModelError::protocol(self.provider, what));
        }
        Ok(())
    }

    fn tell(&mut self, event: ModelEvent) {
        self.told = true;
        self.said |= matches!(event, ModelEvent::Text(_));
        (self.on)(event);
    }

    /// The whole content. Arguments that are no JSON object stay a text, so that the tool can say so.
    pub(super) fn blocks(self) -> Vec<Block> {
        let blocks = self.parts.into_iter().map(|part| match part {
            Part::Text(text) => Block::text(text),
            Part::Thinking { text, signature, extra } => Block::Thinking { thinking: text, signature, extra },
            Part::Call { id, name, arguments, .. } => Block::tool_call(id, name, arguments_of(&arguments)),
        });
        blocks.collect()
    }
}

/// Arguments as an object; some servers wrap the text once more.
fn arguments_of(text: &str) -> Value {
    if text.trim().is_empty() {
        return Value::Object(Map::new());
    }
    if check::has_too_many_values(text) {
        return Value::String(text.to_string());
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Value::Object(object),
        Ok(Value::Null) => Value::Object(Map::new()),
        Ok(Value::String(inner)) if !check::has_too_many_values(&inner) => match serde_json::from_str(&inner) {
            Ok(Value::Object(object)) => Value::Object(object),
            _ => Value::String(text.to_string()),
        },
        _ => Value::String(text.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: Option<u64>, id: &str) -> CallKey {
        CallKey { index, id: id.to_string() }
    }

    /// Calls as `(id, name, arguments)` after these pieces.
    fn calls(pieces: &[(Option<u64>, &str, &str, &str)]) -> Vec<(String, String, Value)> {
        let mut on = |_| ();
        let mut out = Collector::new("p", 3, &mut on);
        for (index, id, name, arguments) in pieces {
            out.call(&key(*index, id), name, arguments).unwrap();
        }
        let blocks = out.blocks().into_iter().map(|block| match block {
            Block::ToolCall { id, name, arguments, .. } => (id, name, arguments),
            other => panic!("{other:?}"),
        });
        blocks.collect()
    }

    fn call(id: &str, name: &str, arguments: Value) -> (String, String, Value) {
        (id.to_string(), name.to_string(), arguments)
    }

    #[test]
    fn calls_are_told_apart_by_index_by_id_or_by_name() {
        let two = [call("a", "x", json!({"k":1})), call("b", "y", json!({}))];
        let by_index =
            [(Some(0), "a", "x", "{\"k\""), (Some(1), "b", "y", ""), (Some(0), "", "", ":1}"), (Some(1), "", "", "{}")];
        assert_eq!(calls(&by_index), two);
        assert_eq!(calls(&[(Some(0), "a", "x", "{\"k\":1}"), (Some(0), "b", "y", "{}")]), two, "one index for all");
        assert_eq!(calls(&[(None, "a", "x", "{\"k\":"), (None, "", "", "1}"), (None, "b", "y", "{}")]), two);
        let unnamed = [call("call_3_0", "x", json!({})), call("call_3_1", "x", json!({}))];
        assert_eq!(calls(&[(None, "", "x", "{}"), (None, "", "x", "{}")]), unnamed);
        assert_eq!(calls(&[(Some(0), "", "x", ""), (Some(1), "", "x", "")]), unnamed);
    }

    #[test]
    fn calls_with_one_id_get_one_each() {
        let same = [
            (Some(0), "a", "x", "{}"),
            (Some(1), "a", "y", ""),
            (Some(2), "a_1", "z", ""),
            (Some(1), "a", "", "{\"k\":1}"),
        ];
        let own = [call("a", "x", json!({})), call("a_1", "y", json!({"k":1})), call("a_1_2", "z", json!({}))];
        assert_eq!(calls(&same), own);
        let ours = [call("call_3_1", "x", json!({})), call("call_3_2", "x", json!({}))];
        assert_eq!(calls(&[(Some(0), "call_3_1", "x", ""), (Some(1), "", "x", "")]), ours, "made up ones, too");
    }

    #[test]
    fn a_name_that_is_repeated_or_late_does_not_start_a_call() {
        assert_eq!(calls(&[(Some(0), "a", "x", "{"), (Some(0), "a", "x", "}")]), [call("a", "x", json!({}))]);
        assert_eq!(calls(&[(Some(0), "a", "", ""), (Some(0), "", "x", "{}")]), [call("a", "x", json!({}))]);
    }

    #[test]
    fn arguments_that_are_no_object_stay_text() {
        assert_eq!(calls(&[(None, "a", "x", "{\"k\":")])[0].2, json!("{\"k\":"));
        assert_eq!(calls(&[(None, "a", "x", "[1]")])[0].2, json!("[1]"));
        assert_eq!(calls(&[(None, "a", "x", "\"{\\\"k\\\":1}\"")])[0].2, json!({"k":1}));
    }

    #[test]
    fn arguments_with_too_many_values_stay_text() {
        let many = format!("{{\"k\":[{}0]}}", "0,".repeat(limits::JSON_VALUES));
        assert_eq!(calls(&[(None, "a", "x", &many)])[0].2, json!(many));
    }

    #[test]
    fn pieces_are_told_at_once_and_parts_keep_their_order() {
        let mut events = Vec::new();
        let mut on = |event| events.push(event);
        let mut out = Collector::new("p", 0, &mut on);
        out.thinking("h").unwrap();
        out.thinking("m").unwrap();
        out.signature("s1").unwrap();
        out.text("a").unwrap();
        out.text("").unwrap();
        out.text("b").unwrap();
        out.call(&key(Some(0), "c"), "x", "").unwrap();
        out.text("d").unwrap();
        assert!(out.told() && out.has_calls());
        let blocks = out.blocks();
        assert_eq!(blocks[0], Block::thinking("hm", Some("s1".to_string())));
        assert_eq!((blocks[1].as_text(), blocks[3].as_text(), blocks.len()), (Some("ab"), Some("d"), 4));
        assert_eq!(events.len(), 6);
        assert_eq!(events[4], ModelEvent::ToolCall { id: "c".into(), name: "x".into() });
    }

    #[test]
    fn endless_answers_are_cut_with_an_error() {
        let mut on = |_| ();
        let mut out = Collector::new("p", 0, &mut on);
        let piece = "x".repeat(1024 * 1024);
        let fault = (0..20).find_map(|_| out.text(&piece).err()).unwrap();
        let most = limits::MODEL_TEXT_BYTES;
        assert!(fault.message.contains(&format!("more than {most} bytes")), "{}", fault.message);
        let mut out = Collector::new("p", 0, &mut on);
        let calls = (0..1000).take_while(|at| out.call(&key(Some(*at), ""), "x", "").is_ok()).count();
        assert_eq!(calls, limits::MODEL_PARTS);
    }
}
