//! The view of a transcript for people (`chat.history`): every message of the file in its order, newest last, with time
//! stamps and envelopes taken off what users wrote (agent.md 5). Pure.

use serde_json::Value;

use crate::limits;
use crate::store::session::object::{Field, Object, quote};
use crate::store::transcript::{Kind, Transcript};
use crate::sys::date;

use super::member::number;
use super::prompt::{HEARTBEAT_OK, SILENT, is_silence};
use super::stamp;

/// What is shown of a message no answer can carry.
const TOO_LARGE: &str = "[this message is too large to be shown here]";

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Most messages.
    pub limit: usize,
    /// Messages at the end to pass over.
    pub offset: usize,
    /// Most bytes of JSON.
    pub bytes: usize,
}

impl Default for Ask {
    fn default() -> Ask {
        Ask { limit: limits::HISTORY_MESSAGES, offset: 0, bytes: limits::HISTORY_BYTES }
    }
}

impl Ask {
    /// Reads parameters that passed the schema.
    pub fn of(params: &Value) -> Ask {
        let number = |name: &str| number(params, name).and_then(|number| usize::try_from(number).ok());
        let limit = number("limit").unwrap_or(limits::HISTORY_MESSAGES).clamp(1, limits::HISTORY_MESSAGES_MAX);
        Ask { limit, offset: number("offset").unwrap_or(0), ..Ask::default() }
    }
}

/// Messages as JSON, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The messages.
    pub messages: Vec<Shown>,
    /// Whether older ones were left out.
    pub has_more: bool,
    /// Number of messages there are, if the whole file was read.
    pub total: Option<usize>,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Id of its line.
    pub id: Box<str>,
    /// Its JSON.
    pub json: String,
}

impl Page {
    /// The messages as one JSON list.
    pub fn json(&self) -> String {
        let texts: Vec<&str> = self.messages.iter().map(|message| message.json.as_str()).collect();
        format!("[{}]", texts.join(","))
    }
}

/// Whether the lines read suffice; for [`Transcript::read_until`].
pub fn suffices(transcript: &Transcript, ask: &Ask) -> bool {
    shown_lines(transcript).count() > ask.limit.saturating_add(ask.offset)
}

/// The last messages that fit.
pub fn page(transcript: &Transcript, ask: &Ask) -> Page {
    let lines: Vec<usize> = shown_lines(transcript).collect();
    let end = lines.len().saturating_sub(ask.offset);
    let mut page = Page { total: transcript.is_whole().then_some(lines.len()), ..Page::default() };
    let mut bytes = 2;
    let mut left = end;
    for at in lines.iter().take(end).rev().take(ask.limit) {
        left -= 1;
        let Some(mut message) = shown(transcript, *at) else { continue };
        if message.json.len() + 3 > ask.bytes {
            // It fits no page: it must hide neither itself nor what is older.
            message.json = slim(&message.json, ask.bytes, &message.id);
        }
        bytes += message.json.len() + 1;
        if bytes > ask.bytes && !page.messages.is_empty() {
            left += 1;
            break;
        }
        page.messages.push(message);
    }
    // What stands before the part that was read cannot be shown; a page without messages must not promise more.
    page.has_more = left > 0 || (!transcript.is_whole() && !page.messages.is_empty());
    page.messages.reverse();
    page
}

/// One message by the id of its line.
pub fn one(transcript: &Transcript, id: &str) -> Option<Shown> {
    shown(transcript, transcript.position(id)?)
}

/// A message that is too long for any page: without its pictures' data, or else without its words.
fn slim(json: &str, most: usize, id: &str) -> String {
    let Ok(mut object) = Object::parse(json) else { return String::from("{}") };
    if let Some(Field::Raw(blocks)) = object.get("content") {
        let blocks: Vec<Object> = serde_json::from_str(blocks).unwrap_or_default();
        let blocks: Vec<String> = blocks.into_iter().map(|block| without_picture(block).print()).collect();
        object.set("content", Field::Raw(format!("[{}]", blocks.join(",")).into()));
    }
    let bare = object.print();
    if bare.len() + 3 <= most {
        return bare;
    }
    object.retain(|name| matches!(name, "role" | "timestamp"));
    object.set("content", Field::Raw(format!(r#"[{{"type":"text","text":{}}}]"#, quote(TOO_LARGE)).into()));
    let mark = format!(r#"{{"id":{},"truncated":true,"reason":"oversized"}}"#, quote(id));
    object.set("__openclaw", Field::Raw(mark.into()));
    object.print()
}

/// What stands for a picture's data says how long that was.
fn without_picture(mut block: Object) -> Object {
    if block.text("type").as_deref() == Some("image") {
        let length = block.get("data").or_else(|| block.get("source")).map_or(0, |data| data.print().len());
        block.retain(|name| !matches!(name, "data" | "source"));
        block.set("omitted", true);
        block.set("bytes", u64::try_from(length).unwrap_or(0));
    }
    block
}

fn shown_lines(transcript: &Transcript) -> impl Iterator<Item = usize> {
    let visible = |kind: Kind| matches!(kind, Kind::Message | Kind::Compaction);
    transcript.lines().iter().enumerate().filter(move |(_, line)| visible(line.kind)).map(|(at, _)| at)
}

fn shown(transcript: &Transcript, at: usize) -> Option<Shown> {
    let line = transcript.lines().get(at)?;
    let json = match line.kind {
        Kind::Message => with_id(message(transcript.message(at)?.get())?, &line.id),
        Kind::Compaction => compaction(&Object::parse(transcript.text(at)?).ok()?),
        _ => return None,
    };
    Some(Shown { id: line.id.clone(), json })
}

/// A message's JSON, members in the file's order, users' texts without what the gateway put around them; none for one
/// that says nothing to people.
pub fn message(json: &str) -> Option<String> {
    let mut object = Object::parse(json).ok()?;
    if object.get("provenance").is_some() && serde_json::from_str(json).is_ok_and(|value| is_silence(&value)) {
        return None;
    }
    if object.text("role").as_deref() != Some("user") {
        let told = json.contains(SILENT) || json.contains(HEARTBEAT_OK);
        let silent = told && serde_json::from_str(json).is_ok_and(|value| is_silence(&value));
        return (!silent).then(|| object.print());
    }
    match object.get("content")? {
        Field::Text(text) => {
            let text = stamp::strip(text).into_owned();
            object.set("content", text);
        }
        Field::Raw(blocks) => {
            let blocks: Vec<Object> = serde_json::from_str(blocks).unwrap_or_default();
            let blocks: Vec<String> = blocks.into_iter().map(|block| bare(block).print()).collect();
            object.set("content", Field::Raw(format!("[{}]", blocks.join(",")).into()));
        }
        _ => {}
    }
    Some(object.print())
}

/// A message with the name under which `chat.message.get` finds it, where the newer original has it.
fn with_id(mut json: String, id: &str) -> String {
    // An object with a role ends in a brace and is not empty.
    json.pop();
    json + r#","__openclaw":{"id":"# + &quote(id) + "}}"
}

fn bare(mut block: Object) -> Object {
    if let Some(text) = block.text("text") {
        let text = stamp::strip(&text).into_owned();
        block.set("text", text);
    }
    block
}

/// A compaction shows as a line of the system, marked for clients that draw it.
fn compaction(line: &Object) -> String {
    let id = line.text("id").unwrap_or_default();
    let at = line.text("timestamp").and_then(|text| parse_iso(&text)).unwrap_or(0);
    format!(
        r#"{{"role":"system","content":[{{"type":"text","text":"Compaction"}}],"timestamp":{at},"__openclaw":{{"kind":"compaction","id":{}}}}}"#,
        quote(&id)
    )
}

/// Milliseconds of `2026-11-21T05:20:20.727Z`.
pub fn parse_iso(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u32>().ok();
    let marks = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":"), (19, ".")];
    if text.len() != 24 || !text.ends_with('Z') || marks.iter().any(|(at, mark)| text.get(*at..at + 1) != Some(*mark)) {
        return None;
    }
    let days = date::days(i64::from(number(0, 4)?), number(5, 7)?, number(8, 10)?);
    let seconds = i64::from(number(11, 13)?) * 3600 + i64::from(number(14, 16)?) * 60 + i64::from(number(17, 19)?);
    u64::try_from((days * date::DAY + seconds) * 1000 + i64::from(number(20, 23)?)).ok()
}

/// The answer of `chat.history`: its members, for the row's session and switches.
pub fn answer(
    key_as_sent: &str,
    session_id: Option<&str>,
    page: &Page,
    thinking: &str,
    verbose: Option<&str>,
) -> String {
    let mut out = Object::new();
    out.set("sessionKey", key_as_sent);
    if let Some(id) = session_id {
        out.set("sessionId", id);
    }
    out.set("messages", Field::Raw(page.json().into()));
    out.set("thinkingLevel", thinking);
    if let Some(verbose) = verbose {
        out.set("verboseLevel", verbose);
    }
    out.set("hasMore", page.has_more);
    if let Some(total) = page.total {
        out.set("totalMessages", Field::from(&Value::from(total)));
    }
    out.print()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../fixtures/sessions/transcript-v2026.2.9.jsonl");

    fn read(text: &str) -> Transcript {
        Transcript::parse(text.as_bytes().to_vec(), true)
    }

    #[test]
    fn shows_all_messages_with_ids_without_stamps_and_else_byte_for_byte() {
        let page = page(&read(EXAMPLE), &Ask::default());
        assert_eq!((page.messages.len(), page.has_more, page.total), (4, false, Some(4)));
        let user = r#"{"role":"user","content":[{"type":"text","text":"run the two echo commands"}],"timestamp":1795226293164,"__openclaw":{"id":"77067bf2"}}"#;
        assert_eq!(page.messages[0].json, user);
        for message in &page.messages[1..3] {
            let marked = format!(",\"__openclaw\":{{\"id\":\"{}\"}}}}", message.id);
            let plain = message.json.strip_suffix(&marked).expect("every message carries its id, at its end");
            assert!(EXAMPLE.contains(&format!("{plain}}}")));
        }
        assert!(page.json().starts_with("[{\"role\":\"user\"") && page.json().ends_with("}]"));
    }

    #[test]
    fn the_newest_that_fit_are_shown() {
        let ids = |ask: Ask| {
            let page = page(&read(EXAMPLE), &ask);
            (page.messages.iter().map(|message| message.id.to_string()).collect::<Vec<_>>(), page.has_more)
        };
        let all = Ask::default();
        assert_eq!(ids(Ask { limit: 2, ..all }), (vec!["b151ce43".into(), "06f85583".into()], true));
        assert_eq!(ids(Ask { limit: 2, offset: 2, ..all }), (vec!["77067bf2".into(), "22a7abb4".into()], false));
        assert_eq!(ids(Ask { limit: 2, offset: 9, ..all }), (vec![], false));
        assert_eq!(ids(Ask { bytes: 600, ..all }), (vec!["06f85583".into()], true));
        assert_eq!(ids(Ask { bytes: 10, ..all }), (vec!["06f85583".into()], true), "the last one is always there");
    }

    #[test]
    fn dead_branches_and_plain_texts_are_shown_too() {
        let text = concat!(
            r#"{"type":"message","id":"a","parentId":null,"message":{"role":"user","content":"[Sat 2026-11-21 01:58 UTC] x\n[message_id: k]"}}"#,
            "\n",
            r#"{"type":"message","id":"b","parentId":null,"message":{"role":"user","content":7}}"#,
            "\n",
            r#"{"type":"message","id":"c","parentId":null,"message":[]}"#,
            "\n",
            r#"{"type":"compaction","id":"d","parentId":"b","timestamp":"2026-11-21T05:20:20.727Z","summary":"s"}"#,
            "\n",
        );
        let page = page(&read(text), &Ask::default());
        let texts: Vec<&str> = page.messages.iter().map(|message| message.json.as_str()).collect();
        let marker = r#"{"role":"system","content":[{"type":"text","text":"Compaction"}],"timestamp":1795238420727,"__openclaw":{"kind":"compaction","id":"d"}}"#;
        let x = r#"{"role":"user","content":"x","__openclaw":{"id":"a"}}"#;
        let seven = r#"{"role":"user","content":7,"__openclaw":{"id":"b"}}"#;
        assert_eq!(texts, [x, seven, marker]);
    }

    #[test]
    fn the_limits_hold() {
        let ask = |params: Value| (Ask::of(&params).limit, Ask::of(&params).offset);
        assert_eq!(ask(json!({})), (limits::HISTORY_MESSAGES, 0));
        assert_eq!(ask(json!({"limit": 5000, "offset": 7})), (limits::HISTORY_MESSAGES_MAX, 7));
        let line = |at: usize| {
            let text = "x".repeat(1024 * 1024);
            format!(
                "{{\"type\":\"message\",\"id\":\"{at}\",\"parentId\":null,\"message\":{{\"role\":\"assistant\",\"content\":\"{text}\"}}}}\n"
            )
        };
        let page = page(&read(&(0..8).map(line).collect::<String>()), &Ask::default());
        assert_eq!((page.messages.len(), page.has_more), (5, true));
        assert!(page.json().len() <= limits::HISTORY_BYTES);
    }

    #[test]
    fn a_message_that_fits_no_page_hides_nothing() {
        let line = |id: &str, content: &str| {
            format!(
                "{{\"type\":\"message\",\"id\":\"{id}\",\"parentId\":null,\"message\":{{\"role\":\"user\",\"content\":{content},\"timestamp\":5}}}}\n"
            )
        };
        let long = "x".repeat(limits::HISTORY_BYTES);
        let picture =
            format!(r#"[{{"type":"text","text":"see"}},{{"type":"image","data":"{long}","mimeType":"image/png"}}]"#);
        let text = [line("a", "\"first\""), line("b", &picture), line("c", &quote(&long))].concat();
        let page = page(&read(&text), &Ask::default());
        let shown: Vec<Value> = page.messages.iter().map(|m| serde_json::from_str(&m.json).unwrap()).collect();
        assert_eq!((shown.len(), page.has_more, &shown[0]["content"]), (3, false, &Value::from("first")));
        let marker =
            serde_json::json!({"type": "image", "mimeType": "image/png", "omitted": true, "bytes": long.len() + 2});
        assert_eq!((&shown[1]["content"][0]["text"], &shown[1]["content"][1]), (&Value::from("see"), &marker));
        assert_eq!(
            (&shown[2]["content"][0]["text"], &shown[2]["timestamp"]),
            (&Value::from(TOO_LARGE), &Value::from(5))
        );
        assert_eq!(shown[2]["__openclaw"]["truncated"], true);
    }

    #[test]
    fn the_answer_names_the_session_as_it_was_asked_for() {
        let text = answer("main", Some("s"), &Page::default(), "off", None);
        assert_eq!(
            text,
            r#"{"sessionKey":"main","sessionId":"s","messages":[],"thinkingLevel":"off","hasMore":false}"#
        );
    }

    #[test]
    fn one_message_is_found_by_its_line() {
        assert!(one(&read(EXAMPLE), "b151ce43").unwrap().json.contains("\"toolCallId\":\"call_1\""));
        assert_eq!(one(&read(EXAMPLE), "db44f135"), None);
    }
}
