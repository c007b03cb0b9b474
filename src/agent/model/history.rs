//! A conversation made fit for sending: failed answers left out, every tool call answered exactly once, pictures only
//! for models that see (agent.md 10). Pure; the same for all wire forms.

use crate::agent::message::{AssistantMessage, Block, Extra, Message, StopReason, ToolResultMessage, UserMessage};

/// What a call without result is answered with: its turn was cut off.
const NO_RESULT: &str = "no result: the run ended before this tool did";
/// Longest name of a tool.
const NAME_CHARS: usize = 64;
/// What stands for a picture when the model cannot see it.
const NO_IMAGE: &str = "[a picture was here; this model reads text only]";

/// The conversation as it may be sent.
pub(super) fn sendable(messages: &[Message], images: bool) -> Vec<Message> {
    let mut out = Vec::with_capacity(messages.len());
    let mut rest = messages.iter();
    while let Some(message) = rest.next() {
        match message {
            Message::User(user) => push_user(&mut out, user, images),
            Message::Assistant(assistant) if is_usable(assistant) => {
                push_assistant(&mut out, assistant, rest.as_slice(), images);
            }
            // a result goes out with its call, or not at all
            Message::Assistant(_) | Message::ToolResult(_) => {}
        }
    }
    out
}

fn is_usable(message: &AssistantMessage) -> bool {
    !matches!(message.stop_reason, StopReason::Error | StopReason::Aborted) && !message.content.is_empty()
}

fn push_user(out: &mut Vec<Message>, user: &UserMessage, images: bool) {
    let content = visible(&user.content, images);
    if !content.is_empty() {
        out.push(Message::User(UserMessage { content, timestamp: user.timestamp, extra: Extra::new() }));
    }
}

fn push_assistant(out: &mut Vec<Message>, assistant: &AssistantMessage, later: &[Message], images: bool) {
    let mut assistant = assistant.clone();
    for block in &mut assistant.content {
        if let Block::ToolCall { name, .. } = block {
            *name = plain_name(name);
        }
    }
    out.push(Message::Assistant(assistant.clone()));
    let until_next = later.iter().take_while(|message| !matches!(message, Message::Assistant(_)));
    let results: Vec<&ToolResultMessage> = until_next
        .filter_map(|message| match message {
            Message::ToolResult(result) => Some(result),
            _ => None,
        })
        .collect();
    for block in &assistant.content {
        let Block::ToolCall { id, name, .. } = block else { continue };
        let found = results.iter().find(|result| result.tool_call_id == *id);
        out.push(Message::ToolResult(match found {
            Some(result) => ToolResultMessage {
                content: visible(&result.content, images),
                tool_name: name.clone(),
                ..(*result).clone()
            },
            None => missing(id, name, assistant.timestamp),
        }));
    }
}

/// A name as every server takes it. Small models call tools by names that no server takes back, and one of those in the
/// history would make every further request fail.
fn plain_name(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let plain: String = name.chars().take(NAME_CHARS).map(|c| if fits(c) { c } else { '_' }).collect();
    if plain.is_empty() { "unnamed".to_string() } else { plain }
}

fn missing(id: &str, name: &str, timestamp: u64) -> ToolResultMessage {
    ToolResultMessage {
        tool_call_id: id.to_string(),
        tool_name: name.to_string(),
        content: vec![Block::text(NO_RESULT)],
        is_error: true,
        timestamp,
        ..ToolResultMessage::default()
    }
}

/// Texts that are not empty, and pictures if they can be seen.
fn visible(content: &[Block], images: bool) -> Vec<Block> {
    let shown = content.iter().filter_map(|block| match block {
        Block::Text { text, .. } if !text.trim().is_empty() => Some(block.clone()),
        Block::Image { .. } if images => Some(block.clone()),
        Block::Image { .. } => Some(Block::text(NO_IMAGE)),
        _ => None,
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assistant(content: Vec<Block>, stop_reason: StopReason) -> Message {
        Message::Assistant(AssistantMessage { content, stop_reason, ..AssistantMessage::default() })
    }

    fn result(id: &str) -> Message {
        let content = vec![Block::text("done")];
        Message::ToolResult(ToolResultMessage { tool_call_id: id.into(), content, ..ToolResultMessage::default() })
    }

    fn call(id: &str) -> Block {
        Block::tool_call(id, "exec", json!({}))
    }

    /// `u`, `a`, `r:id` or `r!id` for an error result.
    fn shape(messages: &[Message]) -> Vec<String> {
        let shape = |message: &Message| match message {
            Message::User(_) => "u".to_string(),
            Message::Assistant(_) => "a".to_string(),
            Message::ToolResult(result) if result.is_error => format!("r!{}", result.tool_call_id),
            Message::ToolResult(result) => format!("r:{}", result.tool_call_id),
        };
        sendable(messages, false).iter().map(shape).collect()
    }

    #[test]
    fn failed_answers_and_their_results_are_left_out() {
        let messages = [
            Message::user("q", 1),
            assistant(vec![Block::text("half"), call("1")], StopReason::Aborted),
            result("1"),
            assistant(vec![], StopReason::Stop),
            Message::user("  ", 2),
            Message::user("again", 3),
        ];
        assert_eq!(shape(&messages), ["u", "u"]);
    }

    #[test]
    fn every_call_is_answered_once_and_before_anything_else() {
        let messages = [
            assistant(vec![call("1"), call("2"), call("3")], StopReason::ToolUse),
            result("2"),
            Message::user("meanwhile", 1),
            result("1"),
            result("2"),
            result("9"),
            assistant(vec![Block::text("x")], StopReason::Stop),
            result("3"),
        ];
        assert_eq!(shape(&messages), ["a", "r:1", "r:2", "r!3", "u", "a"]);
    }

    #[test]
    fn names_that_no_server_takes_back_are_made_plain() {
        let calls =
            ["", "exec", "exec<|channel|>", &"x".repeat(65)].map(|name| Block::tool_call(name, name, json!({})));
        let sent = sendable(&[assistant(calls.to_vec(), StopReason::ToolUse), result("exec<|channel|>")], false);
        let names: Vec<&str> = sent[0]
            .content()
            .iter()
            .filter_map(|block| match block {
                Block::ToolCall { name, .. } => Some(name.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(names, ["unnamed", "exec", "exec__channel__", &"x".repeat(64)]);
        assert!(
            matches!(&sent[3], Message::ToolResult(result) if result.tool_name == "exec__channel__" && !result.is_error)
        );
    }

    #[test]
    fn pictures_are_named_where_they_cannot_be_seen() {
        let user = UserMessage { content: vec![Block::image("AA", "image/png")], ..UserMessage::default() };
        let messages = [Message::User(user)];
        assert_eq!(sendable(&messages, true)[0].content(), [Block::image("AA", "image/png")]);
        assert_eq!(sendable(&messages, false)[0].content(), [Block::text(NO_IMAGE)]);
    }
}
