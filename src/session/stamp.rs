//! The time stamp before a user's text and the message id after it: put there for the model, taken off for people
//! (agent.md 2.3, 10, 14). Pure text; the clock and the zone come in.

use std::borrow::Cow;

use crate::sys::date;
use crate::sys::zone::Zone;

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
/// First words of the envelopes channels put around a text.
const SURFACES: [&str; 14] = [
    "WebChat",
    "WhatsApp",
    "Telegram",
    "Signal",
    "Slack",
    "Discord",
    "Google Chat",
    "iMessage",
    "Teams",
    "Matrix",
    "Zalo",
    "BlueBubbles",
    "LINE",
    "Mattermost",
];
/// Text that already says what time it is.
const TOLD: &str = "Current time: ";
/// Characters of an envelope; longer brackets are somebody's own words.
const ENVELOPE_CHARS: usize = 400;

/// `[Sat 2026-11-21 01:52 UTC] text`, unless the text already tells the time.
pub fn stamp(text: &str, now_ms: u64, zone: &Zone) -> String {
    let told = bracket(text).is_some_and(|(inside, _)| has_moment(inside)) || text.contains(TOLD);
    if told || text.trim().is_empty() {
        return text.to_string();
    }
    format!("[{}] {text}", moment(now_ms, zone))
}

/// `Sat 2026-11-21 01:52 UTC`.
pub fn moment(now_ms: u64, zone: &Zone) -> String {
    let now = date::seconds(now_ms);
    let offset = zone.offset(now);
    let local = now + i64::from(offset);
    let at = date::date(local);
    let weekday = usize::try_from(date::weekday(local.div_euclid(date::DAY))).unwrap_or(0);
    format!(
        "{} {:04}-{:02}-{:02} {:02}:{:02} {}",
        WEEKDAYS.get(weekday).unwrap_or(&"Sun"),
        at.year,
        at.month,
        at.day,
        at.hour,
        at.minute,
        zone_name(offset)
    )
}

/// `UTC`, `GMT+1`, `GMT-3:30`.
pub fn zone_name(offset: i32) -> String {
    let minutes = offset.unsigned_abs() / 60;
    let sign = if offset < 0 { '-' } else { '+' };
    match (minutes / 60, minutes % 60) {
        (0, 0) => "UTC".to_string(),
        (hours, 0) => format!("GMT{sign}{hours}"),
        (hours, minutes) => format!("GMT{sign}{hours}:{minutes:02}"),
    }
}

/// The text with the line that names its message.
pub fn with_message_id(text: &str, id: &str) -> String {
    format!("{text}\n[message_id: {id}]")
}

/// The text as its sender wrote it.
pub fn strip(text: &str) -> Cow<'_, str> {
    let text = match bracket(text) {
        Some((inside, rest)) if has_moment(inside) || is_envelope(inside) => rest,
        _ => text,
    };
    if !text.lines().any(is_message_id) {
        return Cow::Borrowed(text);
    }
    let lines: Vec<&str> = text.split('\n').filter(|line| !is_message_id(line)).collect();
    Cow::Owned(lines.join("\n"))
}

/// The leading bracket's inside, and what follows it.
fn bracket(text: &str) -> Option<(&str, &str)> {
    let (inside, rest) = text.strip_prefix('[')?.split_once(']')?;
    (inside.len() <= ENVELOPE_CHARS).then(|| (inside, rest.trim_start()))
}

fn is_envelope(inside: &str) -> bool {
    SURFACES.iter().any(|name| inside.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))
}

fn is_message_id(line: &str) -> bool {
    let inside = line.trim().strip_prefix("[message_id:").and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|id| !id.trim().is_empty() && !id.contains(']'))
}

/// Whether a date and a time of day stand in it: `2026-11-21 01:52` or with a `T` between.
fn has_moment(text: &str) -> bool {
    const SHAPE: &[u8] = b"dddd-dd-dd dd:dd";
    let fits = |(byte, shape): (&u8, &u8)| match shape {
        b'd' => byte.is_ascii_digit(),
        b' ' => matches!(byte, b' ' | b'T'),
        other => byte == other,
    };
    text.as_bytes().windows(SHAPE.len()).any(|window| window.iter().zip(SHAPE).all(fits))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: u64 = 1_795_225_920_000; // 2026-11-21T01:52:00Z, a Saturday

    #[test]
    fn stamps_once_and_only_what_does_not_tell_the_time() {
        let stamped = stamp("hi", AT, &Zone::utc());
        assert_eq!(stamped, "[Sat 2026-11-21 01:52 UTC] hi");
        for told in [stamped.as_str(), "[Telegram Ann 2026-11-21 01:52 UTC] hi", "Current time: now", "  "] {
            assert_eq!(stamp(told, AT, &Zone::utc()), told);
        }
        assert_eq!(stamp("[note] hi", AT, &Zone::utc()), "[Sat 2026-11-21 01:52 UTC] [note] hi");
    }

    #[test]
    fn the_zone_is_named_by_its_offset() {
        assert_eq!([0, 3600, -12_600, 20_700].map(zone_name), ["UTC", "GMT+1", "GMT-3:30", "GMT+5:45"]);
    }

    #[test]
    fn what_was_put_on_comes_off() {
        let sent = with_message_id(&stamp("hi\nthere", AT, &Zone::utc()), "key-1");
        assert_eq!(sent, "[Sat 2026-11-21 01:52 UTC] hi\nthere\n[message_id: key-1]");
        assert_eq!(strip(&sent), "hi\nthere");
        assert_eq!(strip("[Telegram Ann (@ann) id:777 +3m Sat 2026-11-21 01:55 UTC] hello\n[message_id: 2]"), "hello");
        assert_eq!(strip("[WhatsApp Bob] hey"), "hey");
    }

    #[test]
    fn peoples_own_brackets_stay() {
        for text in ["[note] hi", "[]", "[", "[2026-11-21] day", "a [2026-11-21 01:52] b", "[message_id: ]", "ü[", ""]
        {
            assert_eq!(strip(text), text);
        }
        let long = format!("[{} 2026-11-21 01:52] x", "y".repeat(500));
        assert_eq!(strip(&long), long);
    }
}
