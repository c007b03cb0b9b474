//! Making a conversation smaller: the plain shortening of `sessions.compact`, and the plan of an automatic compaction
//! near the end of the context window (agent.md 10, 11, 22). Pure; the model that summarises is called elsewhere.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::agent::message::{Block, Message, StopReason};
use crate::limits;
use crate::store::session::object::{Field, Object, quote};
use crate::store::transcript::{Kind, Transcript};
use crate::sys::order;

use super::context::{Context, Item};
use super::member::number;

/// Tokens a picture counts when nobody knows better.
const IMAGE_TOKENS: u64 = 1200;
/// Characters of a token, on average.
const TOKEN_CHARS: u64 = 4;

/// Lines `sessions.compact` is to keep.
pub fn max_lines(params: &Value) -> usize {
    let lines = number(params, "maxLines").and_then(|lines| usize::try_from(lines).ok());
    lines.unwrap_or(limits::COMPACT_LINES).max(1)
}

/// A shortened transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortened {
    /// The new file.
    pub text: String,
    /// Lines kept, the header apart.
    pub kept: usize,
}

/// The last `max_lines` lines under the header, their tree closed again; `Err` holds the number of lines of a file that
/// is short enough. The original loses the header, and with it the whole conversation.
pub fn shorten(transcript: &Transcript, header: &str, max_lines: usize) -> Result<Shortened, usize> {
    let is_line = |at: &usize| transcript.lines().get(*at).is_some_and(|line| line.kind != Kind::Header);
    let all: Vec<usize> = (0..transcript.lines().len()).filter(is_line).collect();
    if all.len() <= max_lines {
        return Err(transcript.lines().len());
    }
    let kept = all.get(all.len() - max_lines..).unwrap_or_default();
    let first = transcript.header().and_then(|_| transcript.text(0)).unwrap_or(header);
    let first_kept = kept.first().and_then(|at| transcript.lines().get(*at)).map(|line| &*line.id);
    let known = order::set(kept.iter().filter_map(|at| transcript.lines().get(*at)).map(|line| &*line.id));
    let mut text = format!("{first}\n");
    for at in kept {
        text.push_str(&rehung(transcript.text(*at).unwrap_or_default(), &known, first_kept));
        text.push('\n');
    }
    Ok(Shortened { text, kept: kept.len() })
}

/// A line whose references to lines that are gone are taken off.
fn rehung(line: &str, known: &BTreeSet<&str>, first_kept: Option<&str>) -> String {
    let Ok(mut object) = Object::parse(line) else { return line.to_string() };
    let gone = |name: &str| object.text(name).is_some_and(|id| !known.contains(id.as_ref()));
    let (parent, kept) = (gone("parentId"), gone("firstKeptEntryId"));
    if !parent && !kept {
        return line.to_string();
    }
    if parent {
        object.set("parentId", Field::Raw("null".into()));
    }
    if let Some(first) = first_kept.filter(|_| kept) {
        object.set("firstKeptEntryId", first);
    }
    object.print()
}

/// The answer of `sessions.compact`.
pub fn answer(key: &str, outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Done { kept, archived } => {
            json!({"ok": true, "key": key, "compacted": true, "archived": archived, "kept": kept})
        }
        Outcome::ShortEnough(kept) => json!({"ok": true, "key": key, "compacted": false, "kept": kept}),
        Outcome::NoSession => json!({"ok": true, "key": key, "compacted": false, "reason": "no sessionId"}),
        Outcome::NoTranscript => json!({"ok": true, "key": key, "compacted": false, "reason": "no transcript"}),
    }
}

/// What `sessions.compact` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Shortened to this many lines; where the old file is.
    Done {
        /// Lines kept.
        kept: usize,
        /// Path of the old file.
        archived: String,
    },
    /// Nothing to do: lines there are.
    ShortEnough(usize),
    /// The key has no conversation.
    NoSession,
    /// The conversation has no file.
    NoTranscript,
}

/// Sizes that decide about an automatic compaction, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The model's window.
    pub window: u64,
    /// Kept free for the answer and for what the estimate misses.
    pub reserve: u64,
    /// Recent messages that are kept as they are.
    pub keep: u64,
    /// What system prompt and tools take; they count against the window, too.
    pub fixed: u64,
}

impl Budget {
    /// The budget of a window: at most a quarter free, or half of it when the configuration says how much; at most a
    /// quarter kept.
    pub fn of(window: u64, fixed: u64, reserve: Option<u64>) -> Budget {
        let usual = limits::COMPACTION_RESERVE_TOKENS.min(window / 4);
        Budget {
            window,
            reserve: reserve.map_or(usual, |reserve| reserve.min(window / 2)),
            keep: limits::COMPACTION_KEEP_TOKENS.min(window / 4),
            fixed,
        }
    }
}

/// What to compact.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Messages to summarise: the first so many items of the context.
    pub summarise: usize,
    /// Id of the first line that is kept, for the `compaction` line.
    pub first_kept: String,
    /// Tokens of the context before.
    pub tokens_before: u64,
}

/// The plan, when the context is near the window's end; `force` for `/compact` and after a refusal of the provider.
pub fn plan(context: &Context, budget: &Budget, force: Force) -> Option<Plan> {
    let tokens_before = tokens(context, budget.fixed);
    if force == Force::No && tokens_before <= budget.window.saturating_sub(budget.reserve) {
        return None;
    }
    // Whoever asks for it, or found that our idea of the window is wrong, wants it to become much shorter.
    let keep = if force == Force::Yes { budget.keep.min(tokens_before / 4) } else { budget.keep };
    let mut kept = 0;
    let mut cut = None;
    for (at, item) in context.items.iter().enumerate().rev() {
        kept += estimate(&item.message);
        if kept > keep && cut.is_some() {
            break;
        }
        if at > 0 && can_begin(item) {
            cut = Some(at);
        }
    }
    let cut = cut?;
    let first_kept = context.items.get(cut)?.id.as_deref()?.to_string();
    let new = context.items.iter().take(cut).filter(|item| item.id.is_some()).count();
    (new > 0).then_some(Plan { summarise: cut, first_kept, tokens_before })
}

/// Whether a plan is made even when there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Only near the end of the window.
    No,
    /// In any case.
    Yes,
}

/// A context may begin with what a user said, or with an answer, but not with a tool's result; and it must be a line.
fn can_begin(item: &Item) -> bool {
    item.id.is_some() && !matches!(item.message, Message::ToolResult(_))
}

/// Tokens of a context: what the provider counted at the last answer, and an estimate of what came after. Some servers
/// count only what was not cached, or what was left after they cut the prompt: then the estimate of the whole counts.
pub fn tokens(context: &Context, fixed: u64) -> u64 {
    let counted = |item: &Item| match &item.message {
        Message::Assistant(answer) if answer.stop_reason != StopReason::Error => {
            Some(answer.usage.prompt_tokens().saturating_add(answer.usage.output)).filter(|tokens| *tokens > 0)
        }
        _ => None,
    };
    let last = context.items.iter().rposition(|item| counted(item).is_some());
    let last = last.filter(|at| *at >= context.fresh_from);
    let after = context.items.iter().skip(last.map_or(0, |at| at + 1)).map(|item| estimate(&item.message)).sum::<u64>();
    let base = last.and_then(|at| context.items.get(at)).and_then(counted).unwrap_or(fixed);
    base.saturating_add(after).max(estimated(context, fixed) / 4 * 3)
}

/// A rough number of tokens of a whole context, so that two can be compared.
pub fn estimated(context: &Context, fixed: u64) -> u64 {
    fixed + context.items.iter().map(|item| estimate(&item.message)).sum::<u64>()
}

/// A rough number of tokens.
pub fn estimate(message: &Message) -> u64 {
    let block = |block: &Block| match block {
        Block::Text { text, .. } => chars(text),
        Block::Thinking { thinking, .. } => chars(thinking),
        Block::ToolCall { name, arguments, .. } => chars(name) + chars(&arguments.to_string()),
        Block::Image { .. } => IMAGE_TOKENS * TOKEN_CHARS,
        Block::Other(value) => chars(&value.to_string()),
    };
    message.content().iter().map(block).sum::<u64>().div_ceil(TOKEN_CHARS) + 4
}

fn chars(text: &str) -> u64 {
    u64::try_from(text.chars().count()).unwrap_or(u64::MAX / 8)
}

/// What the summarising model is told.
pub const SUMMARY_TASK: &str = "You write the memory of a conversation that is about to be shortened. From the log below, \
    write what is needed to go on without it: what the user wants and prefers, what was decided and why, what was done \
    (files, commands, results that matter, with exact names, paths and numbers), what is open, and what comes next. \
    Keep everything of an earlier summary that still holds. Plain text with short headings, no preamble, at most 800 words.";

/// The log of the messages to summarise, as one text; the newest part of it when it is too long.
pub fn log_text(items: &[Item], instructions: Option<&str>, max_chars: usize) -> String {
    let mut pieces: Vec<String> = Vec::new();
    let mut room = max_chars;
    for item in items.iter().rev() {
        let piece = entry_text(&item.message);
        let size = piece.chars().count() + 1;
        if size > room {
            pieces.push("(earlier messages left out)".to_string());
            break;
        }
        room -= size;
        pieces.push(piece);
    }
    pieces.reverse();
    let mut text = format!("<log>\n{}\n</log>", pieces.join("\n"));
    if let Some(instructions) = instructions.map(str::trim).filter(|text| !text.is_empty()) {
        text.push_str(&format!("\n\nThe user asks to mind this: {instructions}"));
    }
    text
}

fn entry_text(message: &Message) -> String {
    let role = match message {
        Message::User(_) => "User",
        Message::Assistant(_) => "Assistant",
        Message::ToolResult(_) => "Result",
    };
    let block = |block: &Block| match block {
        Block::Text { text, .. } => Some(ends(text, limits::SUMMARY_BLOCK_CHARS)),
        Block::ToolCall { name, arguments, .. } => {
            Some(format!("(calls {name} {})", ends(&arguments.to_string(), limits::SUMMARY_BLOCK_CHARS)))
        }
        Block::Image { .. } => Some("(picture)".to_string()),
        Block::Thinking { .. } | Block::Other(_) => None,
    };
    let texts: Vec<String> = message.content().iter().filter_map(block).collect();
    format!("{role}: {}", texts.join("\n"))
}

/// A text with its middle left out when it is too long.
pub fn ends(text: &str, max_chars: usize) -> String {
    let count = text.chars().count();
    if count <= max_chars {
        return text.to_string();
    }
    let tail = max_chars / 4;
    let head: String = text.chars().take(max_chars - tail).collect();
    let end: String = text.chars().skip(count - tail).collect();
    format!("{head}\n[… {} characters left out …]\n{end}", count - max_chars)
}

/// The summary when no model can write one: it says that something is gone.
pub fn plain_summary(messages: usize, previous: Option<&str>) -> String {
    let note = format!("{messages} earlier messages were dropped to make room; their content is not known any more.");
    match previous {
        Some(previous) => format!("{previous}\n\n{note}"),
        None => note,
    }
}

/// A JSON text of the compaction's numbers, for logs and events.
pub fn describe(plan: &Plan) -> String {
    format!(
        "{{\"summarised\":{},\"firstKeptEntryId\":{},\"tokensBefore\":{}}}",
        plan.summarise,
        quote(&plan.first_kept),
        plan.tokens_before
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::message::{AssistantMessage, ToolResultMessage, Usage};
    use crate::session::context;

    const EXAMPLE: &str = include_str!("../../fixtures/sessions/transcript-v2026.2.9.jsonl");

    fn example() -> Transcript {
        Transcript::parse(EXAMPLE.as_bytes().to_vec(), true)
    }

    #[test]
    fn shortening_keeps_the_header_and_closes_the_tree() {
        let short = shorten(&example(), "", 3).unwrap();
        assert_eq!((short.kept, short.text.lines().count()), (3, 4));
        let again = Transcript::parse(short.text.clone().into_bytes(), true);
        assert_eq!(again.header(), example().header());
        let branch = again.branch(again.leaf().unwrap());
        assert!(branch.complete && branch.lines.len() == 3);
        assert_eq!(shorten(&again, "", 3), Err(4), "a second time there is nothing to do");
        let lines: Vec<&str> = EXAMPLE.lines().collect();
        assert!(short.text.ends_with(&format!("{}\n{}\n", lines[6], lines[7])), "the rest is untouched");
    }

    #[test]
    fn a_kept_compaction_points_to_a_kept_line() {
        let text = concat!(
            "{\"type\":\"message\",\"id\":\"a\",\"parentId\":null,\"message\":{}}\n",
            "{\"type\":\"message\",\"id\":\"b\",\"parentId\":\"a\",\"message\":{}}\n",
            "{\"type\":\"compaction\",\"id\":\"c\",\"parentId\":\"b\",\"summary\":\"s\",\"firstKeptEntryId\":\"a\"}\n",
        );
        let transcript = Transcript::parse(text.as_bytes().to_vec(), true);
        let short = shorten(&transcript, "{\"type\":\"session\",\"id\":\"s\"}", 2).unwrap();
        assert!(short.text.starts_with("{\"type\":\"session\",\"id\":\"s\"}\n"));
        assert!(
            short.text.contains("\"id\":\"b\",\"parentId\":null") && short.text.contains("\"firstKeptEntryId\":\"b\"")
        );
    }

    #[test]
    fn a_count_from_before_a_compaction_is_not_believed() {
        let mut context = context::context(&example(), None);
        context.fresh_from = context.items.len();
        assert!(tokens(&context, 500) > 500 && tokens(&context, 500) < 560);
        assert_eq!((max_lines(&json!({"maxLines": 0})), max_lines(&json!({}))), (1, limits::COMPACT_LINES));
    }

    #[test]
    fn answers_are_those_of_the_original() {
        let text = |outcome| answer("k", &outcome).to_string();
        assert_eq!(text(Outcome::ShortEnough(7)), r#"{"compacted":false,"kept":7,"key":"k","ok":true}"#);
        assert_eq!(text(Outcome::NoSession), r#"{"compacted":false,"key":"k","ok":true,"reason":"no sessionId"}"#);
        let done = text(Outcome::Done { kept: 3, archived: "/a".into() });
        assert_eq!(done, r#"{"archived":"/a","compacted":true,"kept":3,"key":"k","ok":true}"#);
    }

    fn conversation(turns: usize, chars: usize) -> Context {
        let mut context = Context::default();
        let mut push = |message: Message| {
            let id = format!("{:08x}", context.items.len());
            context.items.push(Item { id: Some(id.into()), message });
        };
        for turn in 0..turns {
            push(Message::user("q".repeat(chars), 0));
            let call = Block::tool_call(format!("c{turn}"), "exec", json!({}));
            push(Message::Assistant(AssistantMessage { content: vec![call], ..AssistantMessage::default() }));
            let content = vec![Block::text("r".repeat(chars))];
            push(Message::ToolResult(ToolResultMessage {
                tool_call_id: format!("c{turn}"),
                content,
                ..ToolResultMessage::default()
            }));
            push(Message::Assistant(AssistantMessage {
                content: vec![Block::text("done")],
                ..AssistantMessage::default()
            }));
        }
        context
    }

    #[test]
    fn a_plan_is_made_only_near_the_end_of_the_window() {
        let context = conversation(10, 4000);
        assert_eq!(plan(&context, &Budget::of(200_000, 500, None), Force::No), None);
        let plan = plan(&context, &Budget::of(20_000, 500, None), Force::No).unwrap();
        assert!(plan.tokens_before > 15_000 && plan.summarise > 0);
        let kept: u64 = context.items[plan.summarise..].iter().map(|item| estimate(&item.message)).sum();
        assert!(kept <= 5_000, "{kept}");
        assert_eq!(context.items[plan.summarise].id.as_deref(), Some(plan.first_kept.as_str()));
        assert!(!matches!(context.items[plan.summarise].message, Message::ToolResult(_)));
    }

    #[test]
    fn force_makes_one_even_with_room_but_never_of_nothing() {
        assert!(plan(&conversation(2, 10), &Budget::of(200_000, 0, None), Force::Yes).is_some());
        assert_eq!(plan(&Context::default(), &Budget::of(1000, 0, None), Force::Yes), None);
        let mut only_summary = conversation(1, 10);
        only_summary.items.truncate(1);
        only_summary.items.insert(0, Item { id: None, message: Message::user("s", 0) });
        assert_eq!(plan(&only_summary, &Budget::of(10, 0, None), Force::No), None, "a summary is not summarised alone");
    }

    #[test]
    fn one_message_larger_than_the_window_is_still_cut_off_from_the_rest() {
        let mut context = conversation(3, 10);
        context.items.push(Item { id: Some("ffff".into()), message: Message::user("x".repeat(400_000), 0) });
        let plan = plan(&context, &Budget::of(20_000, 0, None), Force::No).unwrap();
        assert_eq!(plan.first_kept, "ffff");
    }

    #[test]
    fn the_providers_count_is_believed_over_the_estimate() {
        let mut context = context::context(&example(), None);
        assert_eq!(tokens(&context, 0), 120, "100 in the prompt, 20 answered");
        context.items.push(Item { id: None, message: Message::user("x".repeat(400), 0) });
        assert_eq!(tokens(&context, 0), 224);
        let usage = Usage { input: 7, ..Usage::default() };
        let answer = AssistantMessage { usage, stop_reason: StopReason::Error, ..AssistantMessage::default() };
        context.items.push(Item { id: None, message: Message::Assistant(answer) });
        assert_eq!(tokens(&context, 0), 228);
    }

    #[test]
    fn the_log_is_bounded_and_keeps_the_newest() {
        let context = conversation(50, 100);
        let log = log_text(&context.items, Some(" mind the gap "), 2000);
        assert!(log.chars().count() < 2200 && log.starts_with("<log>\n(earlier messages left out)"));
        assert!(log.contains("Assistant: done\n</log>") && log.ends_with("The user asks to mind this: mind the gap"));
        let long = ends(&"é".repeat(100), 40);
        assert!(long.contains("[… 60 characters left out …]"));
    }
}
