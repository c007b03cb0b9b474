//! Moments and spans as people write them: `2026-12-01T08:00`, `1795255899475`, `20m`. Pure.

use super::next;
use crate::sys::date::{self, DAY};
use crate::sys::zone::Zone;

/// A moment in milliseconds since 1970: ISO 8601 or a bare number of them. Without a zone of its own it is local time of
/// the one given, and UTC without any, as the original has it.
pub fn parse(text: &str, zone: Option<&Zone>) -> Option<u64> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().filter(|ms| *ms > 0);
    }
    let (day, rest) = text.split_at_checked(10)?;
    let mut parts = day.split('-').map(|part| number(part, part.len()));
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let (month, day) = (u32::try_from(month).ok()?, u32::try_from(day).ok()?);
    let at = date::date(date::days(year, month, day) * DAY);
    if (at.year, at.month, at.day) != (year, month, day) || !(1970..=9999).contains(&year) {
        return None;
    }
    let midnight = date::days(year, month, day) * DAY;
    let (second, ms, offset) = time(rest)?;
    let local = midnight + second;
    let unix = match (offset, zone) {
        (Some(offset), _) => local - offset,
        (None, Some(zone)) => next::moment(zone, local),
        (None, None) => local,
    };
    u64::try_from(unix).ok()?.checked_mul(1000)?.checked_add(ms)
}

/// `THH:MM[:SS[.fff]]` with or without a zone: second of the day, milliseconds, offset.
fn time(text: &str) -> Option<(i64, u64, Option<i64>)> {
    if text.is_empty() {
        return Some((0, 0, None));
    }
    let text = text.strip_prefix(['T', 't', ' '])?;
    let end = text.find(|letter: char| !(letter.is_ascii_digit() || letter == ':' || letter == '.'));
    let (clock, zone) = text.split_at(end.unwrap_or(text.len()));
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.split(':').map(|part| number(part, 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let digits: String = fraction.chars().chain("00".chars()).take(3).collect();
    Some((hour * 3600 + minute * 60 + second, digits.parse().ok()?, offset(zone)?))
}

/// Of a written zone, if there is one.
fn offset(zone: &str) -> Option<Option<i64>> {
    if zone.is_empty() {
        return Some(None);
    }
    if zone.eq_ignore_ascii_case("z") {
        return Some(Some(0));
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':').or_else(|| rest.split_at_checked(2))?;
    let minutes = if minutes.is_empty() { 0 } else { number(minutes, 2)? };
    Some(Some(sign * (number(hours, 2)? * 3600 + minutes * 60))).filter(|_| minutes < 60)
}

fn number(text: &str, digits: usize) -> Option<i64> {
    let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// A span in milliseconds: `500ms`, `30s`, `1.5h`, `7d`; a unit must be there.
pub fn span(text: &str) -> Option<u64> {
    let text = text.trim().to_lowercase();
    let end = text.find(|letter: char| !(letter.is_ascii_digit() || letter == '.'))?;
    let (number, unit) = text.split_at(end);
    let unit: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let scale = 10_u64.checked_pow(u32::try_from(part.len()).ok()?)?;
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let ms = whole.checked_add(part.parse::<u64>().ok()?.checked_mul(unit)? / scale)?;
    (ms > 0).then_some(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_with_and_without_a_zone() {
        let utc = |text: &str| parse(text, None).map(date::iso_utc);
        let some = |text: &str| Some(text.to_string());
        assert_eq!(utc("2026-12-01"), some("2026-12-01T00:00:00.000Z"));
        assert_eq!(utc("2026-12-01T08:30"), some("2026-12-01T08:30:00.000Z"));
        assert_eq!(utc("2026-12-01T08:30:05.25Z"), some("2026-12-01T08:30:05.250Z"));
        assert_eq!(utc("2026-12-01T08:30:05+05:30"), some("2026-12-01T03:00:05.000Z"));
        assert_eq!(utc("2026-12-01T08:30-0200"), some("2026-12-01T10:30:00.000Z"));
        assert_eq!(utc("1795255899475"), some("2026-11-21T10:11:39.475Z"));
        for wrong in
            ["", "0", "tomorrow", "2026-13-01", "2026-02-30", "2026-12-01T24:00", "2026-12-01T08", "2026-12-01X"]
        {
            assert_eq!(utc(wrong), None, "{wrong}");
        }
        let berlin = Zone::named("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let local = |text: &str| parse(text, Some(&berlin)).map(date::iso_utc);
        assert_eq!(local("2026-07-01T08:00"), some("2026-07-01T06:00:00.000Z"));
        assert_eq!(local("2026-07-01T08:00Z"), some("2026-07-01T08:00:00.000Z"));
        assert_eq!(local("2026-03-29T02:30"), some("2026-03-29T01:00:00.000Z"), "this time does not exist");
    }

    #[test]
    fn spans_need_a_unit() {
        assert_eq!(span("20m"), Some(1_200_000));
        assert_eq!(span(" 1.5H "), Some(5_400_000));
        assert_eq!(span("7d"), Some(604_800_000));
        for wrong in ["", "20", "m", "0m", "-5m", "1w", "99999999999999999999d", "1.2.3s"] {
            assert_eq!(span(wrong), None, "{wrong}");
        }
    }
}
