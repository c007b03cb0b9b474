//! The text of one log record, for the file and for the console. Pure; everything that reaches a line is redacted,
//! cut and freed of control characters here.

use std::borrow::Cow;
use std::fmt::{self, Write};

use log::{Level, Record};

use super::ConsoleStyle;
use crate::limits;
use crate::sys::date;
use crate::sys::redact::redact;

/// Channels whose logs carry just their name on the console.
const CHANNELS: [&str; 9] =
    ["telegram", "whatsapp", "discord", "slack", "signal", "imessage", "googlechat", "msteams", "webchat"];

/// One record, its message already clean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub wall_ms: u64,
    pub level: Level,
    pub subsystem: &'a str,
    pub message: &'a str,
}

/// The subsystem of a record: its target; for one without a target of its own the module path. Records of other crates
/// count only from warnings on: below that they may carry payloads.
pub(super) fn subsystem<'a>(record: &Record<'a>) -> Option<Cow<'a, str>> {
    let ours = record.module_path().is_none_or(|path| path.split("::").next() == Some("openclaw"));
    if !ours && record.level() > Level::Warn {
        return None;
    }
    let target = record.target();
    if !target.contains("::") {
        return Some(Cow::Borrowed(target));
    }
    Some(Cow::Owned(target.strip_prefix("openclaw::").unwrap_or(target).replace("::", "/")))
}

/// The message of a record, bounded while it is made: a peer's text may be in it.
pub(super) fn message(args: &fmt::Arguments<'_>) -> String {
    let mut bounded = Bounded { text: String::new(), room: 2 * limits::LOG_MESSAGE_CHARS, cut: 0 };
    // a Display that fails leaves what it wrote so far
    let _ = bounded.write_fmt(*args);
    let clean = redact(&bounded.text);
    let (kept, rest) = match clean.char_indices().nth(limits::LOG_MESSAGE_CHARS) {
        Some((at, _)) => clean.split_at(at),
        None => (clean.as_ref(), ""),
    };
    let mut out = String::with_capacity(kept.len());
    kept.chars().for_each(|c| push_visible(&mut out, c));
    let cut = bounded.cut + rest.chars().count();
    if cut > 0 {
        put(&mut out, format_args!("… ({cut} more characters)"));
    }
    out
}

/// Takes so many characters and counts the others.
struct Bounded {
    text: String,
    room: usize,
    cut: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        for c in piece.chars() {
            if self.room == 0 {
                self.cut += 1;
            } else {
                self.room -= 1;
                self.text.push(c);
            }
        }
        Ok(())
    }
}

/// Control characters would forge lines or drive the terminal, direction marks would reorder it: they are spelled out.
fn push_visible(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            put(out, format_args!("{}", c.escape_unicode()));
        }
        c if c.is_control() => put(out, format_args!("{}", c.escape_unicode())),
        c => out.push(c),
    }
}

/// A line of the file, with its end: the newer original's shape (lifecycle.md 14).
pub(super) fn file(entry: &Entry<'_>, hostname: &str, offset: i32) -> String {
    let mut name = String::from("{\"subsystem\":");
    push_json(&mut name, entry.subsystem);
    name.push('}');
    let (level_id, level_name) = level(entry.level);
    let mut out = String::with_capacity(320 + 2 * entry.message.len());
    out.push_str("{\"0\":");
    push_json(&mut out, &name);
    out.push_str(",\"1\":");
    push_json(&mut out, entry.message);
    out.push_str(",\"_meta\":{\"hostname\":");
    push_json(&mut out, hostname);
    out.push_str(",\"name\":");
    push_json(&mut out, &name);
    out.push_str(",\"parentNames\":[\"openclaw\"],\"date\":");
    push_json(&mut out, &date::iso_utc(entry.wall_ms));
    put(&mut out, format_args!(",\"logLevelId\":{level_id},\"logLevelName\":\"{level_name}\"}},\"time\":"));
    push_json(&mut out, &date::iso_offset(entry.wall_ms, offset));
    out.push_str(",\"hostname\":");
    push_json(&mut out, hostname);
    out.push_str(",\"message\":");
    push_json(&mut out, entry.message);
    out.push_str("}\n");
    out
}

/// A line of the console, without its end.
pub(super) fn console(entry: &Entry<'_>, style: ConsoleStyle, colour: bool) -> String {
    let name = short_name(entry.subsystem);
    let message = without_prefix(entry.message, &name);
    match style {
        ConsoleStyle::Json => console_json(entry),
        ConsoleStyle::Compact => format!("{} [{name}] {message}", date::iso_utc(entry.wall_ms)),
        ConsoleStyle::Pretty if colour => {
            let (paint, time) = (paint(entry.level), date::clock_utc(entry.wall_ms));
            format!("\u{1b}[2m{time}\u{1b}[0m \u{1b}[36m[{name}]\u{1b}[0m {paint}{message}\u{1b}[0m")
        }
        ConsoleStyle::Pretty => format!("{} [{name}] {message}", date::clock_utc(entry.wall_ms)),
    }
}

fn console_json(entry: &Entry<'_>) -> String {
    let mut out = String::from("{\"time\":");
    push_json(&mut out, &date::iso_utc(entry.wall_ms));
    out.push_str(",\"level\":");
    push_json(&mut out, &level(entry.level).1.to_ascii_lowercase());
    out.push_str(",\"subsystem\":");
    push_json(&mut out, entry.subsystem);
    out.push_str(",\"message\":");
    push_json(&mut out, entry.message);
    out.push('}');
    out
}

/// The name in brackets: leading `gateway`, `channels` and `providers` are dropped, at most two parts stay, channels
/// are called by their name alone; what would become empty stays whole (lifecycle.md 14).
pub fn short_name(subsystem: &str) -> String {
    let parts: Vec<&str> = subsystem.split('/').collect();
    let common = parts.iter().take_while(|part| matches!(**part, "gateway" | "channels" | "providers")).count();
    let rest = parts.get(common..).unwrap_or_default();
    match rest {
        [] => subsystem.to_owned(),
        [first, ..] if CHANNELS.contains(first) => (*first).to_owned(),
        rest => rest.get(rest.len().saturating_sub(2)..).unwrap_or_default().join("/"),
    }
}

/// `[heartbeat] heartbeat: started` says it twice.
fn without_prefix<'a>(message: &'a str, name: &str) -> &'a str {
    let bracketed = message.strip_prefix('[').and_then(|rest| rest.strip_prefix(name)?.strip_prefix(']'));
    let repeated = bracketed.or_else(|| message.strip_prefix(name)?.strip_prefix(':'));
    repeated.map(str::trim_start).filter(|rest| !rest.is_empty()).unwrap_or(message)
}

fn level(level: Level) -> (u8, &'static str) {
    match level {
        Level::Trace => (1, "TRACE"),
        Level::Debug => (2, "DEBUG"),
        Level::Info => (3, "INFO"),
        Level::Warn => (4, "WARN"),
        Level::Error => (5, "ERROR"),
    }
}

fn paint(level: Level) -> &'static str {
    match level {
        Level::Error => "\u{1b}[31m",
        Level::Warn => "\u{1b}[33m",
        Level::Info => "",
        Level::Debug | Level::Trace => "\u{1b}[2m",
    }
}

fn push_json(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => put(out, format_args!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn put(out: &mut String, piece: fmt::Arguments<'_>) {
    out.write_fmt(piece).expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(message: &'static str) -> Entry<'static> {
        Entry { wall_ms: 1_795_226_400_234, level: Level::Info, subsystem: "gateway/ws", message }
    }

    #[test]
    fn file_lines_have_the_keys_of_the_original_in_their_order() {
        assert_eq!(
            file(&entry("a \"b\""), "box", 3600),
            concat!(
                r#"{"0":"{\"subsystem\":\"gateway/ws\"}","1":"a \"b\"","_meta":{"hostname":"box","#,
                r#""name":"{\"subsystem\":\"gateway/ws\"}","parentNames":["openclaw"],"date":"2026-11-21T02:00:00.234Z","#,
                r#""logLevelId":3,"logLevelName":"INFO"},"time":"2026-11-21T03:00:00.234+01:00","hostname":"box","#,
                "\"message\":\"a \\\"b\\\"\"}\n"
            )
        );
    }

    #[test]
    fn console_lines_in_every_style() {
        let entry = entry("ws: opened");
        assert_eq!(console(&entry, ConsoleStyle::Pretty, false), "02:00:00 [ws] opened");
        assert_eq!(console(&entry, ConsoleStyle::Compact, true), "2026-11-21T02:00:00.234Z [ws] opened");
        assert_eq!(
            console(&entry, ConsoleStyle::Json, true),
            r#"{"time":"2026-11-21T02:00:00.234Z","level":"info","subsystem":"gateway/ws","message":"ws: opened"}"#
        );
        assert!(console(&entry, ConsoleStyle::Pretty, true).contains("\u{1b}[36m[ws]\u{1b}[0m"));
    }

    #[test]
    fn names_in_brackets_are_short() {
        for (subsystem, name) in [
            ("gateway", "gateway"),
            ("gateway/ws", "ws"),
            ("gateway/channels/telegram/x", "telegram"),
            ("gateway/channels/matrix/a/b", "a/b"),
            ("gateway/channels", "gateway/channels"),
            ("agent/embedded", "agent/embedded"),
            ("a/b/c", "b/c"),
        ] {
            assert_eq!(short_name(subsystem), name);
        }
    }

    #[test]
    fn a_message_that_is_only_the_prefix_stays() {
        assert_eq!(without_prefix("ws:", "ws"), "ws:");
        assert_eq!(without_prefix("[ws] up", "ws"), "up");
        assert_eq!(without_prefix("wsx: up", "ws"), "wsx: up");
    }

    #[test]
    fn long_messages_are_cut_and_counted() {
        let long = "ü".repeat(3 * limits::LOG_MESSAGE_CHARS);
        let text = message(&format_args!("{long}"));
        assert_eq!(text.chars().filter(|c| *c == 'ü').count(), limits::LOG_MESSAGE_CHARS);
        assert!(text.ends_with(&format!("… ({} more characters)", 2 * limits::LOG_MESSAGE_CHARS)));
    }

    #[test]
    fn no_character_of_a_message_moves_the_terminal() {
        let text = message(&format_args!("a\r\n\u{1b}[2J\u{7}\u{9b}\u{202e}\u{7f}\u{2028}é"));
        assert_eq!(text, "a\\r\\n\\u{1b}[2J\\u{7}\\u{9b}\\u{202e}\\u{7f}\\u{2028}é");
    }

    #[test]
    fn other_crates_are_heard_from_warnings_on() {
        let name = |level, target, module| {
            subsystem(&Record::builder().level(level).target(target).module_path(Some(module)).build())
                .map(Cow::into_owned)
        };
        assert_eq!(name(Level::Debug, "tungstenite::protocol", "tungstenite::protocol"), None);
        let heard = name(Level::Warn, "tungstenite::protocol", "tungstenite::protocol");
        assert_eq!(heard.as_deref(), Some("tungstenite/protocol"));
        assert_eq!(name(Level::Trace, "gateway/ws", "openclaw::gateway").as_deref(), Some("gateway/ws"));
        assert_eq!(name(Level::Info, "openclaw::store::x", "openclaw::store").as_deref(), Some("store/x"));
    }
}
