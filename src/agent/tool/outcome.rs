//! What a tool call came to, and how much of it a model sees. Owns the bounds of a result; knows no tool.

use serde_json::Value;

use crate::agent::message::Block;
use crate::limits;

/// The end of a tool call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolOutcome {
    /// What the model sees.
    pub content: Vec<Block>,
    /// What clients see in addition.
    pub details: Option<Value>,
    /// Whether the tool failed.
    pub is_error: bool,
    /// A short label for people, such as the path or the command.
    pub meta: String,
}

/// News of a call that still runs: the `partialResult` of a tool event (agent.md 4).
#[derive(Clone, Debug, PartialEq)]
pub struct Partial {
    /// What there is so far.
    pub content: Vec<Block>,
    /// What clients see in addition.
    pub details: Value,
}

impl ToolOutcome {
    /// A result with one text.
    pub fn text(text: impl Into<String>) -> ToolOutcome {
        ToolOutcome { content: vec![Block::text(text)], details: None, is_error: false, meta: String::new() }
    }

    /// A failure with the text that tells the model what to do better.
    pub fn error(text: impl Into<String>) -> ToolOutcome {
        ToolOutcome { is_error: true, ..ToolOutcome::text(text) }
    }

    /// A result that is JSON: the model sees it as text, clients as it is.
    pub fn json(value: Value) -> ToolOutcome {
        let text = serde_json::to_string_pretty(&value).unwrap_or_default();
        ToolOutcome { details: Some(value), ..ToolOutcome::text(text) }
    }

    /// The same with details.
    pub fn with_details(self, details: Value) -> ToolOutcome {
        ToolOutcome { details: Some(details), ..self }
    }

    /// The same with a label.
    pub fn with_meta(self, meta: impl Into<String>) -> ToolOutcome {
        ToolOutcome { meta: meta.into(), ..self }
    }

    /// The result as `tool` events carry it.
    pub fn to_value(&self) -> Value {
        let mut value = json!({"content": self.content});
        if let (Some(map), Some(details)) = (value.as_object_mut(), &self.details) {
            map.insert("details".into(), details.clone());
        }
        value
    }

    /// The same, with texts cut to the share of the context that one result may take (agent.md 15).
    pub fn truncated(mut self, context_tokens: u64) -> ToolOutcome {
        let mut left = result_chars(context_tokens);
        for block in &mut self.content {
            if let Block::Text { text, .. } = block {
                *text = head_and_tail(text, left);
                left = left.saturating_sub(text.len());
            }
        }
        self
    }
}

impl Partial {
    /// As `tool` events carry it.
    pub fn to_value(&self) -> Value {
        json!({"content": self.content, "details": self.details})
    }
}

/// Characters one result may have with a context of that many tokens.
pub fn result_chars(context_tokens: u64) -> usize {
    let share = context_tokens.saturating_mul(limits::TOKEN_CHARS).saturating_mul(limits::TOOL_RESULT_PERCENT) / 100;
    usize::try_from(share).unwrap_or(usize::MAX).clamp(limits::TOOL_RESULT_MIN_BYTES, limits::TOOL_RESULT_BYTES)
}

/// A text of at most about `max` bytes: its beginning and its end with a note between; whole when it fits.
pub fn head_and_tail(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_string();
    }
    let head = text.floor_char_boundary(max * 2 / 3);
    let tail = text.ceil_char_boundary(text.len() - max / 3);
    let (start, end) = (text.get(..head).unwrap_or_default(), text.get(tail..).unwrap_or_default());
    format!("{start}\n[... {} bytes left out ...]\n{end}", tail - head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_results_keep_their_beginning_and_their_end() {
        let text = format!("begin{}end", "ä".repeat(1_000_000));
        let outcome = ToolOutcome::text(text).truncated(10_000);
        let seen = outcome.content[0].as_text().unwrap();
        assert!(seen.starts_with("begin") && seen.ends_with("end") && seen.contains("bytes left out"));
        assert!(seen.len() <= result_chars(10_000) + 64, "{}", seen.len());
    }

    #[test]
    fn the_share_has_a_floor_and_a_ceiling() {
        assert_eq!(result_chars(0), limits::TOOL_RESULT_MIN_BYTES);
        assert_eq!(result_chars(u64::MAX), limits::TOOL_RESULT_BYTES);
        let share = 20_000 * limits::TOKEN_CHARS * limits::TOOL_RESULT_PERCENT / 100;
        assert_eq!(u64::try_from(result_chars(20_000)).unwrap(), share);
    }

    #[test]
    fn several_texts_share_the_room() {
        let content = vec![Block::text("a".repeat(100_000)), Block::text("b".repeat(100_000))];
        let cut = ToolOutcome { content, ..ToolOutcome::text("") }.truncated(10_000);
        let total: usize = cut.content.iter().filter_map(Block::as_text).map(str::len).sum();
        assert!(total <= result_chars(10_000) + 128, "{total}");
    }

    #[test]
    fn short_texts_stay_whole() {
        assert_eq!(head_and_tail("abc", 3), "abc");
        assert_eq!(ToolOutcome::error("no").truncated(0).content[0].as_text(), Some("no"));
    }
}
