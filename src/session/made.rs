//! Assistant messages the gateway writes itself: answers to commands, injected notes, copies of sent messages
//! (agent.md 5). Owns their marks; knows neither files nor events.

use serde_json::Value;

use crate::agent::message::{AssistantMessage, Block, Message, StopReason};
use crate::limits;

/// Why the gateway writes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An answer to a command, or a note from outside.
    Injected,
    /// A copy of a message sent through a channel.
    Mirror,
}

/// The message.
pub fn message(text: &str, cause: Cause, now_ms: u64) -> Message {
    let model = match cause {
        Cause::Injected => "gateway-injected",
        Cause::Mirror => "delivery-mirror",
    };
    Message::Assistant(AssistantMessage {
        content: vec![Block::text(text)],
        api: "openai-responses".to_string(), // the original's mark, though no model was asked
        provider: "openclaw".to_string(),
        model: model.to_string(),
        stop_reason: StopReason::Stop,
        timestamp: now_ms,
        ..AssistantMessage::default()
    })
}

/// The text of `chat.inject`: `[label]`, a blank line, the text.
pub fn labelled(text: &str, label: Option<&str>) -> String {
    match label.map(str::trim).filter(|label| !label.is_empty()) {
        Some(label) => format!("[{}]\n\n{text}", label.chars().take(limits::INJECT_LABEL_CHARS).collect::<String>()),
        None => text.to_string(),
    }
}

/// A message's JSON, as a transcript line holds it.
pub fn json(message: &Message) -> String {
    serde_json::to_string(message).expect("messages hold only texts, numbers, lists and string-keyed maps")
}

/// A message's value, as events and answers hold it.
pub fn value(message: &Message) -> Value {
    serde_json::to_value(message).expect("messages hold only texts, numbers, lists and string-keyed maps")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bears_the_marks_of_the_original() {
        let value = value(&message("hi", Cause::Injected, 7));
        assert_eq!(value["provider"], "openclaw");
        assert_eq!((&value["model"], &value["api"]), (&"gateway-injected".into(), &"openai-responses".into()));
        assert_eq!((&value["stopReason"], &value["usage"]["totalTokens"]), (&"stop".into(), &0.into()));
        assert!(json(&message("hi", Cause::Mirror, 7)).contains("\"delivery-mirror\""));
    }

    #[test]
    fn a_label_stands_above_the_text() {
        assert_eq!(labelled("t", Some(" L ")), "[L]\n\nt");
        assert_eq!(labelled("t", Some(" ")), "t");
        assert_eq!(
            labelled("t", Some(&"é".repeat(200))).chars().filter(|c| *c == 'é').count(),
            limits::INJECT_LABEL_CHARS
        );
    }
}
