//! Short views of a session: the last things said, a title, the last words (agent.md 11). Text from messages; of files
//! only a bounded beginning or end is read.

use std::io;
use std::path::Path;

use serde_json::Value;

use crate::limits;
use crate::store::session::entry::Entry;
use crate::store::transcript::{Kind, Transcript};
use crate::sys::date;

use super::member::{at, number, text};
use super::stamp;

/// The parameters of `sessions.preview`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Keys as written; those beyond the limit are left out.
    pub keys: Vec<String>,
    /// Items of each.
    pub limit: usize,
    /// Characters of each item.
    pub max_chars: usize,
}

impl Ask {
    /// Reads parameters that passed the schema.
    pub fn of(params: &Value) -> Ask {
        let number = |name: &str| number(params, name).and_then(|number| usize::try_from(number).ok());
        let keys = at(params, "keys").as_array().into_iter().flatten().filter_map(Value::as_str).map(str::trim);
        Ask {
            keys: keys.filter(|key| !key.is_empty()).take(limits::PREVIEW_KEYS).map(String::from).collect(),
            limit: number("limit").unwrap_or(limits::PREVIEW_ITEMS).clamp(1, limits::PREVIEW_ITEMS_MAX),
            max_chars: number("maxChars").unwrap_or(limits::PREVIEW_CHARS).clamp(20, limits::PREVIEW_CHARS_MAX),
        }
    }
}

/// One thing said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// `user`, `assistant`, `tool`, `system` or `other`; an answer that calls a tool counts as `tool`.
    pub role: &'static str,
    /// The text, cut.
    pub text: String,
}

/// The last things said, oldest first.
pub fn items(transcript: &Transcript, limit: usize, max_chars: usize) -> Vec<Said> {
    let mut found: Vec<Said> =
        messages(transcript).filter_map(|message| said(&message, max_chars)).take(limit).collect();
    found.reverse();
    found
}

/// The row of `sessions.preview`: `ok`, `empty` or `missing`, and the items.
pub fn row(key_as_sent: &str, status: &str, items: &[Said]) -> Value {
    let items: Vec<Value> = items.iter().map(|said| json!({"role": said.role, "text": said.text})).collect();
    json!({"key": key_as_sent, "status": status, "items": items})
}

/// The row for a session's transcript; none for a key without an entry.
pub fn of(key_as_sent: &str, known: bool, transcript: Option<&Transcript>, limit: usize, max_chars: usize) -> Value {
    let found = transcript.map(|transcript| items(transcript, limit, max_chars)).unwrap_or_default();
    let status = match (known, found.is_empty()) {
        (false, _) => "missing",
        (true, true) => "empty",
        (true, false) => "ok",
    };
    row(key_as_sent, status, &found)
}

/// The last words of a person or the assistant.
pub fn last_message(transcript: &Transcript) -> Option<String> {
    let spoken = |said: &Said| matches!(said.role, "user" | "assistant");
    let mut all = messages(transcript).filter_map(|message| said(&message, limits::LAST_MESSAGE_CHARS));
    all.find(spoken).map(|said| said.text)
}

/// The first thing a person said, if the beginning of the file was read.
pub fn first_words(transcript: &Transcript) -> Option<String> {
    if !transcript.is_whole() {
        return None;
    }
    let messages = (0..transcript.lines().len()).filter_map(|at| parsed(transcript, at));
    let mut all = messages.filter_map(|message| said(&message, limits::LAST_MESSAGE_CHARS));
    all.find(|said| said.role == "user" && !said.text.starts_with('/')).map(|said| said.text)
}

/// The first words of a session, from the beginning of its file.
pub fn read_first_words(path: &Path) -> io::Result<Option<String>> {
    let head = Transcript::head(path, limits::TRANSCRIPT_HEAD_BYTES)?;
    Ok(head.as_ref().and_then(first_words))
}

/// A title: the chat's name, else the first words, else the session's id and day.
pub fn title(entry: &Entry, first_words: Option<&str>) -> Option<String> {
    let named = entry.text("displayName").or_else(|| entry.text("subject")).map(|name| name.trim().to_string());
    let words = || first_words.map(|words| at_word(words, limits::TITLE_CHARS)).filter(|words| !words.is_empty());
    named.or_else(words).or_else(|| {
        let id: String = entry.session_id()?.chars().take(8).collect();
        match entry.updated_ms() {
            0 => Some(id),
            at => Some(format!("{id} ({})", date::day_name(at, 0))),
        }
    })
}

/// Parsed messages, newest first.
fn messages(transcript: &Transcript) -> impl Iterator<Item = Value> {
    (0..transcript.lines().len()).rev().filter_map(|at| parsed(transcript, at))
}

fn parsed(transcript: &Transcript, at: usize) -> Option<Value> {
    transcript.lines().get(at).filter(|line| line.kind == Kind::Message)?;
    serde_json::from_str(transcript.message(at)?.get()).ok()
}

fn said(message: &Value, max_chars: usize) -> Option<Said> {
    if super::prompt::is_silence(message) {
        return None;
    }
    let content = at(message, "content");
    let blocks = content.as_array().map(Vec::as_slice).unwrap_or_default();
    let calls: Vec<&str> = blocks
        .iter()
        .filter(|block| text(block, "type") == Some("toolCall"))
        .filter_map(|block| text(block, "name"))
        .collect();
    let role = match text(message, "role") {
        Some("assistant") if !calls.is_empty() => "tool",
        Some("user") => "user",
        Some("assistant") => "assistant",
        Some("toolResult" | "tool") => "tool",
        Some("system") => "system",
        _ => "other",
    };
    let texts: Vec<&str> = match content {
        Value::String(text) => vec![text],
        _ => blocks.iter().filter_map(|block| text(block, "text")).collect(),
    };
    let mut words = texts.join("\n");
    if role == "user" {
        words = stamp::strip(&words).into_owned();
    }
    if words.trim().is_empty() && !calls.is_empty() {
        words = format!("call {}", calls.join(", "));
    }
    let text = cut(words.trim(), max_chars);
    (!text.is_empty()).then_some(Said { role, text })
}

/// At most this many characters, three dots included.
pub fn cut(text: &str, max_chars: usize) -> String {
    if text.chars().nth(max_chars).is_none() {
        return text.to_string();
    }
    let kept: String = text.chars().take(max_chars.saturating_sub(3)).collect();
    format!("{}...", kept.trim_end())
}

/// One line of at most this many characters, ended at a word where that does not lose much.
fn at_word(text: &str, max_chars: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().nth(max_chars).is_none() {
        return line;
    }
    let kept: String = line.chars().take(max_chars.saturating_sub(1)).collect();
    let word = kept.rfind(' ').filter(|at| *at * 5 > kept.len() * 3).and_then(|at| kept.get(..at));
    format!("{}…", word.unwrap_or(&kept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::session::object::Object;

    const EXAMPLE: &str = include_str!("../../fixtures/sessions/transcript-v2026.2.9.jsonl");

    fn example() -> Transcript {
        Transcript::parse(EXAMPLE.as_bytes().to_vec(), true)
    }

    #[test]
    fn previews_are_those_of_the_original() {
        let row = of("ex", true, Some(&example()), 12, 240);
        let expected = json!({"key": "ex", "status": "ok", "items": [
            {"role": "user", "text": "run the two echo commands"},
            {"role": "tool", "text": "let me use a tool"},
            {"role": "tool", "text": "hi\nthere"},
            {"role": "assistant", "text": "Both commands ran."},
        ]});
        assert_eq!(row, expected);
        assert_eq!(of("x", false, None, 12, 240), json!({"key": "x", "status": "missing", "items": []}));
        assert_eq!(of("x", true, None, 12, 240)["status"], "empty");
    }

    #[test]
    fn what_is_asked_is_bounded() {
        let keys: Vec<String> = (0..100).map(|at| format!("k{at}")).collect();
        let ask = Ask::of(&json!({"keys": keys, "limit": 0, "maxChars": 100_000}));
        assert_eq!((ask.keys.len(), ask.limit, ask.max_chars), (limits::PREVIEW_KEYS, 1, limits::PREVIEW_CHARS_MAX));
        assert_eq!(Ask::of(&json!({"keys": [" a ", " "]})), Ask { keys: vec!["a".into()], limit: 12, max_chars: 240 });
    }

    #[test]
    fn long_texts_are_cut_to_the_limit_dots_included() {
        assert_eq!(cut("tok0 tok1 tok2 tok3 tok4", 20), "tok0 tok1 tok2 to...");
        assert_eq!(cut("exactly", 7), "exactly");
        assert_eq!(cut("ééééé", 4), "é...");
        let items = items(&example(), 1, 20);
        assert_eq!(items, [Said { role: "assistant", text: "Both commands ran.".into() }]);
    }

    #[test]
    fn titles_come_from_the_name_the_words_or_the_id() {
        let entry = |json: &str| Entry::from(Object::parse(json).unwrap());
        assert_eq!(
            title(&entry(r#"{"displayName":" telegram:g-team ","subject":"Team"}"#), None).unwrap(),
            "telegram:g-team"
        );
        let plain = entry(r#"{"sessionId":"11111111-1111","updatedAt":1795238412555}"#);
        assert_eq!(title(&plain, None).unwrap(), "11111111 (2026-11-21)");
        assert_eq!(title(&plain, Some("run  the\ntwo")).unwrap(), "run the two");
        let long = title(&plain, Some(&"word ".repeat(30))).unwrap();
        assert!(long.chars().count() <= limits::TITLE_CHARS && long.ends_with("word…"), "{long}");
        assert_eq!(title(&entry("{}"), None), None);
    }

    #[test]
    fn first_and_last_words() {
        assert_eq!(first_words(&example()).unwrap(), "run the two echo commands");
        assert_eq!(last_message(&example()).unwrap(), "Both commands ran.");
        assert_eq!(last_message(&Transcript::default()), None);
    }

    #[test]
    fn a_call_without_words_is_named() {
        let call = json!({"role": "assistant", "content": [{"type": "toolCall", "name": "exec"}, {"type": "toolCall", "name": "read"}]});
        assert_eq!(said(&call, 100).unwrap(), Said { role: "tool", text: "call exec, read".into() });
        assert_eq!(said(&json!({"role": "user", "content": "  "}), 100), None);
        assert_eq!(said(&json!(7), 100), None);
    }
}
