//! What the disk thread does with transcripts: read the end for clients, add a message of the gateway, shorten, put
//! away. Answers are serialised here, so that a long history costs the state thread nothing.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::stamp;
use crate::limits;
use crate::store::atomic;
use crate::store::session::archive::{self, Reason};
use crate::store::session::writer::{self, NewLine, Safety, Start, Writer};
use crate::store::transcript::{Kind, Transcript};
use crate::sys::id::Entropy;

/// What is wanted of a transcript, or of several.
pub enum Ask {
    /// Its last messages; they are put into `head` under `messages`.
    History {
        /// The file; none for a session without one.
        path: Option<PathBuf>,
        /// Most messages.
        limit: usize,
        /// Newest messages to skip.
        offset: usize,
        /// Longest text; longer ones are cut.
        max_chars: usize,
        /// The other members of the answer.
        head: Map<String, Value>,
    },
    /// One message by its entry, whole.
    Message {
        /// The file.
        path: Option<PathBuf>,
        /// The entry.
        id: String,
    },
    /// The last words of several sessions.
    Previews {
        /// Keys as the client wrote them, with their files.
        sessions: Vec<(String, Option<PathBuf>)>,
        /// Most messages of each.
        limit: usize,
        /// Longest text.
        max_chars: usize,
        /// When.
        ts: u64,
    },
    /// Shortens it to its last lines.
    Shorten {
        /// The file.
        path: Option<PathBuf>,
        /// The session's key, for the answer.
        key: String,
        /// Lines to keep.
        lines: usize,
        /// When.
        now_ms: u64,
    },
}

/// A message the gateway itself adds.
pub struct Addition {
    /// The file.
    pub path: PathBuf,
    /// The session, for a file that begins here.
    pub session_id: String,
    /// Working directory of its runs.
    pub workspace: PathBuf,
    /// The messages in order.
    pub messages: Vec<Value>,
    /// When.
    pub now_ms: u64,
    /// Seed of the ids of the new lines.
    pub seed: [u8; 32],
}

/// Reads what is wanted; the serialised payload.
pub fn read(ask: Ask) -> Result<String, String> {
    let fail = |error: io::Error| format!("cannot read the transcript: {error}");
    match ask {
        Ask::History { path, limit, offset, max_chars, head } => {
            history(path.as_deref(), limit, offset, max_chars, head).map_err(fail)
        }
        Ask::Message { path, id } => message(path.as_deref(), &id).map_err(fail),
        Ask::Previews { sessions, limit, max_chars, ts } => {
            let rows: Vec<Value> =
                sessions.iter().map(|(key, path)| preview(key, path.as_deref(), limit, max_chars)).collect();
            Ok(json!({"ts": ts, "previews": rows}).to_string())
        }
        Ask::Shorten { path, key, lines, now_ms } => {
            shorten(path.as_deref(), &key, lines, now_ms).map(|answer| answer.to_string()).map_err(fail)
        }
    }
}

fn history(
    path: Option<&Path>,
    limit: usize,
    offset: usize,
    max_chars: usize,
    mut head: Map<String, Value>,
) -> io::Result<String> {
    let wanted = limit.saturating_add(offset);
    let read = path.map(|path| Transcript::read_until(path, |known| known.messages() > wanted)).transpose()?.flatten();
    let transcript = read.unwrap_or_else(|| Transcript::parse(Vec::new(), true));
    let all: Vec<usize> = positions(&transcript);
    let end = all.len().saturating_sub(offset);
    let start = end.saturating_sub(limit);
    let mut messages: Vec<String> = Vec::new();
    let mut bytes = 0_usize;
    let page = all.get(start..end).unwrap_or_default();
    for at in page.iter().rev() {
        let Some(message) = shown(&transcript, *at, max_chars) else { continue };
        let text = message.to_string();
        bytes = bytes.saturating_add(text.len());
        if bytes > limits::HISTORY_BYTES {
            break;
        }
        messages.push(text);
    }
    let more = messages.len() < page.len() || start > 0 || !transcript.is_whole();
    head.insert("hasMore".into(), more.into());
    if transcript.is_whole() {
        head.insert("totalMessages".into(), all.len().into());
    }
    messages.reverse();
    Ok(with_messages(&head, &messages))
}

/// The head with the messages in it, which are serialised already.
fn with_messages(head: &Map<String, Value>, messages: &[String]) -> String {
    let head = Value::Object(head.clone()).to_string();
    let open = head.strip_suffix('}').unwrap_or("{");
    let comma = if open.len() > 1 { "," } else { "" };
    format!("{open}{comma}\"messages\":[{}]}}", messages.join(","))
}

fn positions(transcript: &Transcript) -> Vec<usize> {
    let lines = transcript.lines().iter().enumerate();
    lines.filter(|(_, line)| line.kind == Kind::Message).map(|(at, _)| at).collect()
}

/// A message as clients see it: without the time stamp and the message id that only the model needs.
fn shown(transcript: &Transcript, at: usize, max_chars: usize) -> Option<Value> {
    let mut message: Value = serde_json::from_str(transcript.message(at)?.get()).ok()?;
    let user = message.get("role").and_then(Value::as_str) == Some("user");
    if let Some(Value::String(text)) = message.get_mut("content") {
        *text = fit(if user { stamp::bare(text) } else { text }, max_chars);
    }
    for block in message.get_mut("content").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(Value::String(text)) = block.get_mut("text") {
            *text = fit(if user { stamp::bare(text) } else { text }, max_chars);
        }
    }
    Some(message)
}

fn fit(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_string(),
    }
}

fn message(path: Option<&Path>, id: &str) -> io::Result<String> {
    let found = |known: &Transcript| known.position(id).is_some();
    let read = path.map(|path| Transcript::read_until(path, found)).transpose()?.flatten();
    let message = read.and_then(|known| shown(&known, known.position(id)?, usize::MAX));
    Ok(match message {
        Some(message) => json!({"ok": true, "message": message}).to_string(),
        None => json!({"ok": false, "unavailableReason": "not_found"}).to_string(),
    })
}

fn preview(key: &str, path: Option<&Path>, limit: usize, max_chars: usize) -> Value {
    let Some(path) = path else { return json!({"key": key, "status": "missing", "items": []}) };
    let read = Transcript::read_until(path, |known| known.messages() >= limit);
    let transcript = match read {
        Err(_) => return json!({"key": key, "status": "error", "items": []}),
        Ok(None) => return json!({"key": key, "status": "empty", "items": []}),
        Ok(Some(transcript)) => transcript,
    };
    let all = positions(&transcript);
    let mut items: Vec<Value> = all
        .iter()
        .rev()
        .filter_map(|at| preview_item(&shown(&transcript, *at, usize::MAX)?, max_chars))
        .take(limit)
        .collect();
    items.reverse();
    json!({"key": key, "status": if items.is_empty() { "empty" } else { "ok" }, "items": items})
}

fn preview_item(message: &Value, max_chars: usize) -> Option<Value> {
    let blocks = message.get("content").and_then(Value::as_array);
    let kind = |block: &Value, name: &str| block.get("type").and_then(Value::as_str) == Some(name);
    let role = match message.get("role").and_then(Value::as_str) {
        Some("toolResult") => "tool",
        Some("assistant") if blocks.is_some_and(|blocks| blocks.iter().any(|block| kind(block, "toolCall"))) => "tool",
        Some(role) => role,
        None => "other",
    };
    let texts: Vec<&str> = match message.get("content") {
        Some(Value::String(text)) => vec![text.as_str()],
        _ => blocks.into_iter().flatten().filter_map(|block| block.get("text").and_then(Value::as_str)).collect(),
    };
    let text = texts.join("\n");
    (!text.trim().is_empty()).then(|| json!({"role": role, "text": fit(text.trim(), max_chars)}))
}

/// Adds messages of the gateway to a transcript; the id of the last one.
pub fn add(addition: &Addition) -> Result<String, String> {
    let fail = |error: io::Error| format!("cannot write the transcript: {error}");
    let workspace = addition.workspace.display().to_string();
    let start = Start { session_id: &addition.session_id, cwd: &workspace, now_ms: addition.now_ms };
    let mut writer = Writer::open(&addition.path, &start, Entropy::from_seed(addition.seed)).map_err(fail)?;
    let mut id = String::new();
    for message in &addition.messages {
        let text = message.to_string();
        id = writer.append(&NewLine::Message(&text), addition.now_ms, Safety::Power).map_err(fail)?;
    }
    Ok(id)
}

/// Keeps the header and the last lines; the whole file stays beside it (agent.md 11).
fn shorten(path: Option<&Path>, key: &str, lines: usize, now_ms: u64) -> io::Result<Value> {
    let refused = |reason: &str| json!({"ok": true, "key": key, "compacted": false, "reason": reason});
    let Some(path) = path else { return Ok(refused("no sessionId")) };
    let Some(transcript) = Transcript::read(path, limits::TRANSCRIPT_BYTES)? else {
        return Ok(refused("no transcript"));
    };
    let body: Vec<usize> = (0..transcript.lines().len())
        .filter(|at| transcript.lines().get(*at).is_some_and(|line| line.kind != Kind::Header))
        .collect();
    if body.len() <= lines {
        return Ok(json!({"ok": true, "key": key, "compacted": false, "kept": body.len()}));
    }
    let kept = body.get(body.len().saturating_sub(lines)..).unwrap_or_default();
    let text = shortened(&transcript, kept, path, now_ms);
    let copy = archive::name(path, Reason::Shortened, now_ms)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the transcript has no usable name"))?;
    std::fs::copy(path, &copy)?;
    atomic::write(path, text.as_bytes(), 0o600)?;
    Ok(json!({"ok": true, "key": key, "compacted": true, "kept": kept.len(), "archived": copy.display().to_string()}))
}

/// The header, then the kept lines; the first of them becomes the root.
fn shortened(transcript: &Transcript, kept: &[usize], path: &Path, now_ms: u64) -> String {
    let header = match transcript.lines().first().filter(|line| line.kind == Kind::Header) {
        Some(_) => transcript.text(0).unwrap_or_default().to_string(),
        None => {
            let id = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            writer::header(&Start { session_id: &id, cwd: "", now_ms })
        }
    };
    let mut out = header;
    out.push('\n');
    for (rank, at) in kept.iter().enumerate() {
        let text = transcript.text(*at).unwrap_or_default();
        out.push_str(&if rank == 0 { rooted(text) } else { text.to_string() });
        out.push('\n');
    }
    out
}

fn rooted(line: &str) -> String {
    use crate::store::session::object::{Field, Object};
    match Object::parse(line) {
        Ok(mut object) => {
            object.set("parentId", Field::from(&Value::Null));
            object.print()
        }
        Err(_) => line.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../fixtures/sessions/transcript-v2026.2.9.jsonl");

    fn file(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("openclaw-transcripts-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("t.jsonl");
        std::fs::write(&path, EXAMPLE).unwrap();
        path
    }

    fn ask(ask: Ask) -> Value {
        serde_json::from_str(&read(ask).unwrap()).unwrap()
    }

    #[test]
    fn the_history_is_the_end_of_the_file() {
        let path = file("history");
        let head = Map::from_iter([("sessionKey".to_string(), json!("k"))]);
        let get = |limit: usize, offset: usize| {
            ask(Ask::History { path: Some(path.clone()), limit, offset, max_chars: 1000, head: head.clone() })
        };
        let all = get(200, 0);
        assert_eq!(
            (all["messages"].as_array().unwrap().len(), &all["hasMore"], &all["totalMessages"]),
            (4, &json!(false), &json!(4))
        );
        assert_eq!(all["messages"][0]["role"], "user");
        assert!(!all["messages"][0]["content"][0]["text"].as_str().unwrap().starts_with('['), "{all}");
        let last = get(1, 1);
        assert_eq!(last["messages"], json!([all["messages"][2]]));
        assert_eq!((last["hasMore"].as_bool(), last["sessionKey"].as_str()), (Some(true), Some("k")));
        let none = ask(Ask::History { path: None, limit: 1, offset: 0, max_chars: 9, head });
        assert_eq!(none["messages"], json!([]));
    }

    #[test]
    fn previews_name_what_is_missing() {
        let sessions = vec![
            ("a".to_string(), Some(file("preview"))),
            ("b".into(), None),
            ("c".into(), Some("/none/x.jsonl".into())),
        ];
        let rows = ask(Ask::Previews { sessions, limit: 2, max_chars: 20, ts: 1 });
        let status: Vec<&str> =
            rows["previews"].as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap()).collect();
        assert_eq!(status, ["ok", "missing", "empty"]);
        assert_eq!(rows["previews"][0]["items"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn shortening_keeps_the_header_and_makes_a_new_root() {
        let path = file("shorten");
        let answer = ask(Ask::Shorten { path: Some(path.clone()), key: "k".into(), lines: 2, now_ms: 5 });
        assert_eq!((answer["compacted"].as_bool(), answer["kept"].as_u64()), (Some(true), Some(2)));
        let after = Transcript::read(&path, usize::MAX).unwrap().unwrap();
        assert!(after.header().is_some());
        assert!(after.branch(after.leaf().unwrap()).complete);
        assert_eq!(after.lines().len(), 3);
        assert_eq!(std::fs::read_to_string(answer["archived"].as_str().unwrap()).unwrap(), EXAMPLE);
        let again = ask(Ask::Shorten { path: Some(path), key: "k".into(), lines: 2, now_ms: 6 });
        assert_eq!(again["compacted"], false);
    }

    #[test]
    fn an_added_message_can_be_read_again() {
        let path = file("add");
        let addition = Addition {
            path: path.clone(),
            session_id: "s".into(),
            workspace: "/w".into(),
            messages: vec![json!({"role": "assistant", "content": [{"type": "text", "text": "hello"}]})],
            now_ms: 7,
            seed: [3; 32],
        };
        let id = add(&addition).unwrap();
        let found = ask(Ask::Message { path: Some(path), id });
        assert_eq!(found["message"]["content"][0]["text"], "hello");
        assert_eq!(ask(Ask::Message { path: None, id: "x".into() })["ok"], false);
    }
}
