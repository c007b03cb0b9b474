//! What the model gets of a transcript (agent.md 10): the path to the leaf, from the last compaction on, without failed
//! answers, with a result for every tool call. Pure; the transcript is read elsewhere.

use serde::Deserialize;
use serde_json::Value;

use crate::agent::message::{AssistantMessage, Block, Message, StopReason, ToolResultMessage};
use crate::store::transcript::{Branch, Kind, Transcript};

use super::heartbeat;
use super::member;
use crate::sys::order;

/// What stands before a summary.
const SUMMARY_HEAD: &str = "[Summary of the conversation so far; the messages it covers are no longer shown]";
/// The result of a call whose turn was interrupted.
const LOST_RESULT: &str = "No result: the turn ended before this call finished.";
/// What stands for a picture that is not sent any more.
const OLD_PICTURE: &str =
    "[an earlier picture was here; it is no longer sent along. Read its file again if it is needed]";

/// A message and the line it came from; none for the summary and for results made up here.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Id of the line.
    pub id: Option<Box<str>>,
    /// The message.
    pub message: Message,
}

/// The model's view of a conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// Messages, oldest first.
    pub items: Vec<Item>,
    /// Summary of what was compacted away; it is the first item, too.
    pub summary: Option<String>,
    /// The model last switched to: provider and id.
    pub model: Option<(String, String)>,
    /// The thinking level last switched to.
    pub thinking: Option<String>,
    /// The first item said after the last compaction: what providers counted before it tells nothing any more.
    pub fresh_from: usize,
}

#[derive(Deserialize)]
struct Compaction {
    #[serde(default)]
    summary: String,
    #[serde(default, rename = "firstKeptEntryId")]
    first_kept: String,
}

impl Context {
    /// The messages alone.
    pub fn messages(&self) -> Vec<Message> {
        self.items.iter().map(|item| item.message.clone()).collect()
    }

    /// Leaves out heartbeats that found nothing; see [`heartbeat::without_quiet`].
    pub fn forget_quiet_heartbeats(&mut self, ack_chars: usize) {
        let fresh = self.items.len().saturating_sub(self.fresh_from);
        let latest = self.items.split_off(self.items.len() - fresh);
        self.items = heartbeat::without_quiet(std::mem::take(&mut self.items), ack_chars);
        self.fresh_from = self.items.len();
        self.items.extend(heartbeat::without_quiet(latest, ack_chars));
    }

    /// Puts a note in place of the pictures that go beyond these bytes; the newest stay.
    pub fn shed_pictures(&mut self, most: usize) {
        let mut bytes = 0_usize;
        for block in self.items.iter_mut().rev().flat_map(|item| item.message.content_mut().iter_mut().rev()) {
            if let Block::Image { data, .. } = block {
                bytes = bytes.saturating_add(data.len());
                if bytes > most {
                    *block = Block::text(OLD_PICTURE);
                }
            }
        }
    }
}

/// Whether the lines read suffice for the context of the last line; for [`Transcript::read_until`].
pub fn suffices(transcript: &Transcript) -> bool {
    let Some(leaf) = transcript.leaf() else { return false };
    let branch = transcript.branch(leaf);
    branch.complete || compaction(transcript, &branch).is_some_and(|(_, _, first)| first.is_some())
}

/// The context at a line, or at the last one.
pub fn context(transcript: &Transcript, leaf: Option<usize>) -> Context {
    let Some(leaf) = leaf.or_else(|| transcript.leaf()) else { return Context::default() };
    let branch = transcript.branch(leaf);
    let mut context = Context::default();
    let mut shown: &[usize] = &branch.lines;
    let mut fresh: &[usize] = &branch.lines;
    let kept: Vec<usize>;
    if let Some((place, line, first)) = compaction(transcript, &branch) {
        let before = branch.lines.get(first.unwrap_or(place)..place).unwrap_or_default();
        let after = branch.lines.get(place + 1..).unwrap_or_default();
        kept = before.iter().chain(after).copied().collect();
        shown = &kept;
        fresh = after;
        context.items.push(Item { id: None, message: summary_message(&line.summary) });
        context.summary = Some(line.summary);
    }
    for at in &branch.lines {
        switches(transcript, *at, &mut context);
    }
    let items = shown.iter().filter_map(|at| item(transcript, *at)).collect();
    context.items.extend(answered(items));
    let fresh = order::set(fresh.iter().filter_map(|at| transcript.lines().get(*at)).map(|line| &*line.id));
    let is_fresh = |item: &Item| item.id.as_deref().is_some_and(|id| fresh.contains(id));
    context.fresh_from = context.items.iter().position(is_fresh).unwrap_or(context.items.len());
    context
}

/// The last compaction on a path: its place there, what it says, the place of the first line it keeps.
fn compaction(transcript: &Transcript, branch: &Branch) -> Option<(usize, Compaction, Option<usize>)> {
    let line = |at: &usize| transcript.lines().get(*at);
    let place = branch.lines.iter().rposition(|at| line(at).is_some_and(|line| line.kind == Kind::Compaction))?;
    let said: Compaction = serde_json::from_str(transcript.text(*branch.lines.get(place)?)?).ok()?;
    let first = branch
        .lines
        .iter()
        .take(place)
        .rposition(|at| line(at).is_some_and(|line| !line.id.is_empty() && line.id.as_ref() == said.first_kept));
    Some((place, said, first))
}

fn summary_message(summary: &str) -> Message {
    Message::user(format!("{SUMMARY_HEAD}\n\n{summary}"), 0)
}

fn switches(transcript: &Transcript, at: usize, context: &mut Context) {
    let Some(line) = transcript.lines().get(at) else { return };
    if !matches!(line.kind, Kind::ModelChange | Kind::ThinkingLevel) {
        return;
    }
    let said: Value = transcript.text(at).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let text = |name: &str| member::text(&said, name).map(String::from);
    match line.kind {
        Kind::ModelChange => context.model = text("provider").zip(text("modelId")).or(context.model.take()),
        _ => context.thinking = text("thinkingLevel").or(context.thinking.take()),
    }
}

fn item(transcript: &Transcript, at: usize) -> Option<Item> {
    let line = transcript.lines().get(at)?;
    let message = match line.kind {
        Kind::Message => serde_json::from_str(transcript.message(at)?.get()).ok()?,
        Kind::CustomMessage => custom(transcript.text(at)?)?,
        _ => return None,
    };
    Some(Item { id: (!line.id.is_empty()).then(|| line.id.clone()), message })
}

/// A `custom_message` speaks to the model as a user would.
fn custom(line: &str) -> Option<Message> {
    #[derive(Deserialize)]
    struct Line {
        content: Value,
    }
    let line: Line = serde_json::from_str(line).ok()?;
    serde_json::from_value(json!({"role": "user", "content": line.content})).ok()
}

/// Leaves out failed answers, empty ones, and results without a call; makes up results that are missing, since
/// providers refuse a call without one.
fn answered(items: Vec<Item>) -> Vec<Item> {
    let mut out: Vec<Item> = Vec::with_capacity(items.len());
    let mut open: Vec<(String, String)> = Vec::new();
    for item in items {
        match &item.message {
            Message::ToolResult(result) => {
                let Some(at) = open.iter().position(|(id, _)| *id == result.tool_call_id) else { continue };
                open.remove(at);
            }
            Message::Assistant(answer) => {
                close(&mut open, &mut out);
                if matches!(answer.stop_reason, StopReason::Error | StopReason::Aborted) || answer.content.is_empty() {
                    continue;
                }
                open = calls(answer); // small servers begin anew with "call_0" in every answer
            }
            Message::User(user) => {
                close(&mut open, &mut out);
                if user.content.is_empty() {
                    continue;
                }
            }
        }
        out.push(item);
    }
    close(&mut open, &mut out);
    out
}

fn calls(answer: &AssistantMessage) -> Vec<(String, String)> {
    let call = |block: &Block| match block {
        Block::ToolCall { id, name, .. } => Some((id.clone(), name.clone())),
        _ => None,
    };
    answer.content.iter().filter_map(call).collect()
}

fn close(open: &mut Vec<(String, String)>, out: &mut Vec<Item>) {
    for (id, name) in open.drain(..) {
        let result = ToolResultMessage {
            tool_call_id: id,
            tool_name: name,
            content: vec![Block::text(LOST_RESULT)],
            is_error: true,
            timestamp: out.last().map_or(0, |item| item.message.timestamp()),
            ..ToolResultMessage::default()
        };
        out.push(Item { id: None, message: Message::ToolResult(result) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::message::text_of;

    const EXAMPLE: &str = include_str!("../../fixtures/sessions/transcript-v2026.2.9.jsonl");

    fn read(text: &str) -> Transcript {
        Transcript::parse(text.as_bytes().to_vec(), true)
    }

    /// A transcript of these lines, each hanging on the one before, ids `0`, `1`, …
    fn chain(lines: &[Value]) -> Transcript {
        let mut text = String::from("{\"type\":\"session\",\"version\":3,\"id\":\"s\"}\n");
        for (at, line) in lines.iter().enumerate() {
            let mut line = line.clone();
            line["id"] = at.to_string().into();
            line["parentId"] = at.checked_sub(1).map_or(Value::Null, |parent| parent.to_string().into());
            text.push_str(&format!("{line}\n"));
        }
        read(&text)
    }

    fn said(role: &str, text: &str) -> Value {
        json!({"type":"message","message":{"role":role,"content":[{"type":"text","text":text}],"stopReason":"stop"}})
    }

    fn called(ids: &[&str], stop: &str) -> Value {
        let calls: Vec<Value> =
            ids.iter().map(|id| json!({"type":"toolCall","id":id,"name":"exec","arguments":{}})).collect();
        json!({"type":"message","message":{"role":"assistant","content":calls,"stopReason":stop}})
    }

    fn result(id: &str) -> Value {
        json!({"type":"message","message":{"role":"toolResult","toolCallId":id,"toolName":"exec",
            "content":[{"type":"text","text":"out"}],"isError":false}})
    }

    fn view(transcript: &Transcript) -> Vec<String> {
        let items = context(transcript, None).items;
        let show = |item: &Item| match &item.message {
            Message::User(user) => format!("user {}", text_of(&user.content)),
            Message::Assistant(answer) => format!("assistant {}{}", text_of(&answer.content), calls(answer).len()),
            Message::ToolResult(result) => format!("result {} {}", result.tool_call_id, result.is_error),
        };
        items.iter().map(show).collect()
    }

    #[test]
    fn the_example_of_the_specification_is_four_messages() {
        let context = context(&read(EXAMPLE), None);
        assert_eq!(context.items.len(), 4);
        assert_eq!(context.model, Some(("PROVIDER_ID".into(), "MODEL_ID".into())));
        assert_eq!(context.thinking.as_deref(), Some("off"));
        assert_eq!(context.items[3].id.as_deref(), Some("06f85583"));
    }

    #[test]
    fn failed_answers_and_their_orphans_are_left_out() {
        let transcript = chain(&[
            said("user", "a"),
            called(&["x"], "aborted"),
            result("x"),
            json!({"type":"message","message":{"role":"assistant","content":[],"stopReason":"error"}}),
            said("user", "b"),
            said("assistant", "c"),
            said("bashExecution", "no role of ours"),
        ]);
        assert_eq!(view(&transcript), ["user a", "user b", "assistant c0"]);
    }

    #[test]
    fn every_call_gets_a_result() {
        let transcript = chain(&[
            said("user", "a"),
            called(&["x", "y"], "toolUse"),
            result("y"),
            result("stranger"),
            said("user", "b"),
            called(&["z"], "toolUse"),
        ]);
        let expected =
            ["user a", "assistant 2", "result y false", "result x true", "user b", "assistant 1", "result z true"];
        assert_eq!(view(&transcript), expected);
    }

    #[test]
    fn ids_of_calls_may_repeat_from_answer_to_answer() {
        let transcript = chain(&[
            said("user", "a"),
            called(&["call_0"], "toolUse"),
            result("call_0"),
            called(&["call_0", "call_0"], "toolUse"),
            result("call_0"),
        ]);
        let expected = [
            "user a",
            "assistant 1",
            "result call_0 false",
            "assistant 2",
            "result call_0 false",
            "result call_0 true",
        ];
        assert_eq!(view(&transcript), expected);
    }

    #[test]
    fn the_newest_pictures_stay_as_far_as_their_bytes_allow() {
        let image = |data: &str| Block::image(data, "image/png");
        let said = |content: Vec<Block>| {
            let message = Message::User(crate::agent::message::UserMessage { content, ..Default::default() });
            Item { id: None, message }
        };
        let items = || vec![said(vec![image("aaaa")]), said(vec![image("bbb"), Block::text("t"), image("cc")])];
        let left = |most: usize| -> Vec<String> {
            let mut context = Context { items: items(), ..Context::default() };
            context.shed_pictures(most);
            let blocks = context.items.iter().flat_map(|item| item.message.content().to_vec());
            blocks.map(|block| if let Block::Image { data, .. } = block { data } else { "-".into() }).collect()
        };
        assert_eq!(left(9), ["aaaa", "bbb", "-", "cc"]);
        assert_eq!(left(8), ["-", "bbb", "-", "cc"]);
        assert_eq!(left(4), ["-", "-", "-", "cc"]);
        assert_eq!(left(1), ["-", "-", "-", "-"]);
    }

    #[test]
    fn a_compaction_replaces_what_stands_before_the_kept_line() {
        let compaction =
            |first: &str| json!({"type":"compaction","summary":"sum","firstKeptEntryId":first,"tokensBefore":9});
        let lines = |first| {
            [said("user", "a"), said("assistant", "b"), said("user", "c"), compaction(first), said("user", "d")]
        };
        let shown = view(&chain(&lines("2")));
        assert_eq!(shown.len(), 3);
        assert!(shown[0].ends_with("\n\nsum") && shown[1..] == ["user c", "user d"]);
        assert_eq!(view(&chain(&lines("gone"))).len(), 2);
        let context = context(&chain(&lines("0")), None);
        assert_eq!((context.summary.as_deref(), context.fresh_from, context.items.len()), (Some("sum"), 4, 5));
    }

    #[test]
    fn the_last_compaction_counts_and_the_end_of_a_file_suffices_for_it() {
        let compaction =
            |first: &str, summary: &str| json!({"type":"compaction","summary":summary,"firstKeptEntryId":first});
        let transcript = chain(&[
            said("user", "a"),
            compaction("0", "one"),
            said("user", "b"),
            compaction("2", "two"),
            said("user", "c"),
        ]);
        assert_eq!(view(&transcript)[1..], ["user b", "user c"]);
        let end = |skip: usize| {
            let lines: Vec<&str> = (0..6).skip(skip).filter_map(|at| transcript.text(at)).collect();
            Transcript::parse(format!("{}\n", lines.join("\n")).into_bytes(), false)
        };
        assert!(suffices(&transcript) && suffices(&end(3)) && !suffices(&end(4)));
        assert_eq!(view(&end(3)), view(&transcript));
    }

    #[test]
    fn notes_for_the_model_speak_as_user() {
        let transcript = chain(&[json!({"type":"custom_message","customType":"n","content":"note","display":false})]);
        assert_eq!(view(&transcript), ["user note"]);
    }

    #[test]
    fn a_transcript_cut_at_every_byte_has_a_context() {
        for cut in 0..EXAMPLE.len() {
            let items = context(&read(&EXAMPLE[..cut]), None).items;
            let open =
                items.iter().filter(|item| matches!(&item.message, Message::Assistant(a) if !calls(a).is_empty()));
            let results = items.iter().filter(|item| matches!(item.message, Message::ToolResult(_)));
            assert_eq!(open.count(), results.count(), "{cut}");
        }
    }
}
