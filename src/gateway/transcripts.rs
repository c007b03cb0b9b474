//! What the disk thread does with transcripts: read the end for clients, add a message of the gateway, shorten, put
//! away. Answers are serialised here, so that a long history costs the state thread nothing.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::limits;
use crate::session::compact::{self, Outcome};
use crate::session::{history, preview};
use crate::store::atomic;
use crate::store::session::archive::{self, Reason};
use crate::store::session::entry::Entry;
use crate::store::session::writer::{self, NewLine, Safety, Start, Writer};
use crate::store::transcript::Transcript;
use crate::sys::id::Entropy;

/// What is wanted of a transcript, or of several.
pub enum Ask {
    /// Its last messages; they are put into `head` under `messages`.
    History {
        /// The file; none for a session without one.
        path: Option<PathBuf>,
        /// Which ones.
        ask: history::Ask,
        /// The other members of the answer; at least one.
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
        /// Keys as the client wrote them, whether they are known, their files.
        sessions: Vec<(String, bool, Option<PathBuf>)>,
        /// Most messages of each.
        limit: usize,
        /// Longest text.
        max_chars: usize,
        /// When.
        ts: u64,
    },
    /// Titles and last words for the rows of `sessions.list`.
    Titles {
        /// The answer without them.
        answer: Value,
        /// The sessions of its first rows.
        peeks: Vec<Peek>,
        /// Whether titles are wanted.
        titles: bool,
        /// Whether last words are wanted.
        last: bool,
    },
    /// Shortens it to its last lines: the only one that writes.
    Shorten {
        /// The file.
        path: Option<PathBuf>,
        /// The session's key, for the answer.
        key: String,
        /// The session, for a lost header.
        session_id: String,
        /// Lines to keep.
        lines: usize,
        /// When.
        now_ms: u64,
    },
}

/// A session whose transcript is looked at for a list.
pub struct Peek {
    /// Its entry.
    pub entry: Entry,
    /// Its transcript.
    pub path: Option<PathBuf>,
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
        Ask::History { path, ask, head } => history(path.as_deref(), &ask, &head).map_err(fail),
        Ask::Message { path, id } => message(path.as_deref(), &id).map_err(fail),
        Ask::Previews { sessions, limit, max_chars, ts } => {
            let row = |(key, known, path): &(String, bool, Option<PathBuf>)| {
                previewed(key, *known, path.as_deref(), limit, max_chars)
            };
            let rows: Vec<Value> = sessions.iter().map(row).collect();
            Ok(json!({"ts": ts, "previews": rows}).to_string())
        }
        Ask::Titles { answer, peeks, titles, last } => Ok(titled(answer, &peeks, titles, last).to_string()),
        Ask::Shorten { path, key, session_id, lines, now_ms } => {
            let outcome = shorten(path.as_deref(), &session_id, lines, now_ms).map_err(fail)?;
            Ok(compact::answer(&key, &outcome).to_string())
        }
    }
}

fn history(path: Option<&Path>, ask: &history::Ask, head: &Map<String, Value>) -> io::Result<String> {
    let enough = |known: &Transcript| history::suffices(known, ask);
    let read = path.map(|path| Transcript::read_for_client(path, enough)).transpose()?.flatten();
    let page = history::page(&read.unwrap_or_else(|| Transcript::parse(Vec::new(), true)), ask);
    let mut head = head.clone();
    head.insert("hasMore".into(), page.has_more.into());
    head.extend(page.total.map(|total| ("totalMessages".to_string(), total.into())));
    // The messages are texts already; a history of megabytes is not parsed again only to be printed.
    let head = Value::Object(head).to_string();
    Ok(format!("{},\"messages\":{}}}", head.strip_suffix('}').unwrap_or(&head), page.json()))
}

fn message(path: Option<&Path>, id: &str) -> io::Result<String> {
    let found = |known: &Transcript| known.position(id).is_some();
    let read = path.map(|path| Transcript::read_for_client(path, found)).transpose()?.flatten();
    Ok(match read.and_then(|known| history::one(&known, id)) {
        Some(shown) => format!("{{\"ok\":true,\"message\":{}}}", shown.json),
        None => json!({"ok": false, "unavailableReason": "not_found"}).to_string(),
    })
}

fn previewed(key: &str, known: bool, path: Option<&Path>, limit: usize, max_chars: usize) -> Value {
    let read = path.map(|path| Transcript::read_for_client(path, |known| known.messages() >= limit)).transpose();
    match read {
        Ok(transcript) => preview::of(key, known, transcript.flatten().as_ref(), limit, max_chars),
        Err(_) => preview::row(key, "error", &[]),
    }
}

/// The rows with titles and last words; of a long transcript only the end is read, and for a title the beginning.
fn titled(mut answer: Value, peeks: &[Peek], titles: bool, last: bool) -> Value {
    let rows = answer.get_mut("sessions").and_then(Value::as_array_mut);
    for (row, peek) in rows.into_iter().flatten().zip(peeks) {
        let read = peek.path.as_deref().map(|path| Transcript::read(path, limits::TRANSCRIPT_WINDOW));
        let transcript = read.and_then(Result::ok).flatten();
        let Some(members) = row.as_object_mut() else { continue };
        if titles {
            let beginning = || preview::read_first_words(peek.path.as_deref()?).ok()?;
            let first = match &transcript {
                Some(end) if !end.is_whole() => beginning(),
                whole => whole.as_ref().and_then(preview::first_words),
            };
            let title = preview::title(&peek.entry, first.as_deref());
            members.extend(title.map(|title| ("derivedTitle".to_string(), title.into())));
        }
        let words = transcript.as_ref().filter(|_| last).and_then(preview::last_message);
        members.extend(words.map(|words| ("lastMessagePreview".to_string(), words.into())));
    }
    answer
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
fn shorten(path: Option<&Path>, session_id: &str, max_lines: usize, now_ms: u64) -> io::Result<Outcome> {
    let Some(path) = path else { return Ok(Outcome::NoSession) };
    let Some(transcript) = Transcript::read(path, limits::TRANSCRIPT_BYTES)? else { return Ok(Outcome::NoTranscript) };
    let header = writer::header(&Start { session_id, cwd: "", now_ms });
    let shortened = match compact::shorten(&transcript, &header, max_lines) {
        Ok(shortened) => shortened,
        Err(lines) => return Ok(Outcome::ShortEnough(lines)),
    };
    let copy = archive::name(path, Reason::Shortened, now_ms)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the transcript has no usable name"))?;
    std::fs::copy(path, &copy)?;
    // The lines that are cut off stand only there from now on.
    std::fs::File::open(&copy)?.sync_all()?;
    atomic::write(path, shortened.text.as_bytes(), atomic::PRIVATE)?;
    Ok(Outcome::Done { kept: shortened.kept, archived: copy.display().to_string() })
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
    fn the_history_is_put_into_its_answer() {
        let head = Map::from_iter([("sessionKey".to_string(), json!("k"))]);
        let get = |path: Option<PathBuf>| ask(Ask::History { path, ask: history::Ask::default(), head: head.clone() });
        let all = get(Some(file("history")));
        assert_eq!((all["messages"].as_array().unwrap().len(), all["sessionKey"].as_str()), (4, Some("k")));
        assert_eq!((all["hasMore"].as_bool(), all["totalMessages"].as_u64()), (Some(false), Some(4)));
        assert_eq!(get(None)["messages"], json!([]));
        assert_eq!(get(Some("/none/t.jsonl".into()))["messages"], json!([]));
    }

    #[test]
    fn a_client_reads_no_further_than_allowed_but_always_the_last_line() {
        let path = file("long");
        let line = |id: usize, bytes: usize| {
            let text = "x".repeat(bytes);
            format!(
                "{{\"type\":\"message\",\"id\":\"m{id}\",\"parentId\":null,\"message\":{{\"role\":\"user\",\"content\":\"{text}\"}}}}\n"
            )
        };
        let write = |lines: Vec<String>| std::fs::write(&path, lines.concat()).unwrap();
        let get = |id: &str| ask(Ask::Message { path: Some(path.clone()), id: id.into() })["ok"] == true;
        write((0..20).map(|id| line(id, limits::TRANSCRIPT_READ_BYTES / 16)).collect());
        assert_eq!((get("m19"), get("m8"), get("m0"), get("none")), (true, true, false, false));
        let wish = history::Ask { offset: 19, ..history::Ask::default() };
        let page =
            ask(Ask::History { path: Some(path.clone()), ask: wish, head: Map::from_iter([("k".into(), json!(1))]) });
        assert_eq!((&page["messages"], &page["hasMore"]), (&json!([]), &json!(false)), "nobody asks for ever");
        write(vec![line(0, 9), line(1, limits::TRANSCRIPT_READ_BYTES + 1)]);
        assert_eq!((get("m1"), get("none")), (true, false));
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_long_conversation_still_has_the_title_of_its_first_words() {
        let path = file("title");
        let line = |id: usize, text: &str| {
            format!(
                "{}\n",
                json!({"type": "message", "id": format!("m{id}"), "message": {"role": "user", "content": text}})
            )
        };
        let long = "x".repeat(limits::TRANSCRIPT_WINDOW / 2);
        std::fs::write(&path, line(0, "buy milk") + &line(1, &long) + &line(2, &long) + &line(3, "and bread")).unwrap();
        let peeks = vec![Peek { entry: Entry::new("s", 1), path: Some(path.clone()) }];
        let answer = json!({"sessions": [{}]});
        let rows = ask(Ask::Titles { answer, peeks, titles: true, last: true });
        assert_eq!(rows["sessions"][0], json!({"derivedTitle": "buy milk", "lastMessagePreview": "and bread"}));
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn previews_name_what_is_missing() {
        let sessions = vec![
            ("a".to_string(), true, Some(file("preview"))),
            ("b".into(), false, None),
            ("c".into(), true, Some("/none/x.jsonl".into())),
        ];
        let rows = ask(Ask::Previews { sessions, limit: 2, max_chars: 20, ts: 1 });
        let status: Vec<&str> =
            rows["previews"].as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap()).collect();
        assert_eq!(status, ["ok", "missing", "empty"]);
    }

    #[test]
    fn shortening_keeps_the_old_file_beside_the_new_one() {
        let path = file("shorten");
        let wish =
            || Ask::Shorten { path: Some(path.clone()), key: "k".into(), session_id: "s".into(), lines: 2, now_ms: 5 };
        let answer = ask(wish());
        assert_eq!((answer["compacted"].as_bool(), answer["kept"].as_u64()), (Some(true), Some(2)));
        let after = Transcript::read(&path, usize::MAX).unwrap().unwrap();
        assert!(after.header().is_some() && after.branch(after.leaf().unwrap()).complete);
        assert_eq!(std::fs::read_to_string(answer["archived"].as_str().unwrap()).unwrap(), EXAMPLE);
        assert_eq!(ask(wish())["compacted"], false);
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
