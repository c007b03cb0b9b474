//! The time a message carries for the model: `[Sat 2026-11-21 01:52 UTC] text` (agent.md 2). Put on and taken off
//! again here. Pure; the clock comes in.

use super::state::State;
use crate::sys::clock::Now;
use crate::sys::date;

impl State {
    /// The message with the time before it, unless it tells a time already.
    pub fn stamp(&self, message: &str, now: Now) -> String {
        if has_time(message) {
            return message.to_string();
        }
        let offset = self.facts.zone.offset(date::seconds(now.wall_ms));
        format!("{} {message}", stamp(now.wall_ms, offset, &self.facts.zone_name))
    }
}

fn stamp(wall_ms: u64, offset: i32, zone: &str) -> String {
    let local = wall_ms.saturating_add_signed(i64::from(offset) * 1000);
    let day = date::http(local).get(..3).unwrap_or_default().to_string();
    let iso = date::iso_offset(wall_ms, offset);
    let (date, time) = iso.split_once('T').unwrap_or((iso.as_str(), ""));
    format!("[{day} {date} {} {zone}]", time.get(..5).unwrap_or_default())
}

/// Whether a text begins with a bracket that holds a date, or names the current time.
fn has_time(text: &str) -> bool {
    text.contains("Current time: ") || envelope(text).is_some()
}

/// What the person wrote, without stamp, message id and envelope.
pub fn bare(whole: &str) -> &str {
    let text =
        whole.rsplit_once("\n[message_id: ").filter(|(_, id)| id.trim_end().ends_with(']') && !id.contains('\n'));
    let text = text.map_or(whole, |(before, _)| before);
    envelope(text).unwrap_or(text)
}

/// The text without the bracket before it, if that holds a date.
fn envelope(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let (head, rest) = inner.split_once(']')?;
    let dated = head.len() <= 200 && head.split_whitespace().any(is_date);
    dated.then(|| rest.strip_prefix(' ').unwrap_or(rest))
}

fn is_date(word: &str) -> bool {
    let parts: Vec<&str> = word.split('-').collect();
    let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
    matches!(parts.as_slice(), [year, month, day] if digits(year, 4) && digits(month, 2) && digits(day, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_has_weekday_date_time_and_zone() {
        assert_eq!(stamp(1_795_226_293_164, 0, "UTC"), "[Sat 2026-11-21 01:58 UTC]");
    }

    #[test]
    fn bare_texts_are_what_was_written() {
        assert_eq!(bare("[Sat 2026-11-21 01:52 UTC] hi\n[message_id: k-1]"), "hi");
        assert_eq!(bare("[note] hi"), "[note] hi");
        assert_eq!(bare("a\n[message_id: k]\nb"), "a\n[message_id: k]\nb");
    }

    #[test]
    fn stamped_texts_are_known() {
        assert!(has_time("[Sat 2026-11-21 01:52 UTC] hi") && has_time("[Telegram Ann 2026-11-21 01:55 UTC] hi"));
        assert!(has_time("x\nCurrent time: noon") && !has_time("[note] hi") && !has_time("hi [2026-11-21]"));
    }
}
