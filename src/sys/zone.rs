//! The offset of local time, from the system's zone files (TZif, RFC 9636) and POSIX rules. Bounded reading; anything
//! it does not understand is UTC. Knows nothing of dates but arithmetic.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::limits;
use crate::sys::date::{self, DAY};

const ZONES: &str = "/usr/share/zoneinfo";
const LOCAL: &str = "/etc/localtime";

/// A time zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// Unix times from which an offset holds, ascending.
    changes: Vec<(i64, i32)>,
    /// Offset before the first change.
    first: i32,
    /// What holds after the last change.
    rule: Option<Rule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    standard: i32,
    summer: Option<Summer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Summer {
    offset: i32,
    from: Change,
    to: Change,
}

/// A yearly change: its day, and the second of that day in local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    day: Day,
    second: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Day {
    /// 1…365, the 29th of February never counted.
    Julian(i64),
    /// 0…365, leap days counted.
    OfYear(i64),
    /// Month, week 1…5 (5 = last), weekday 0…6.
    Weekday(u32, i64, u32),
}

impl Zone {
    /// UTC.
    pub fn utc() -> Zone {
        Zone::default()
    }

    /// The zone of `TZ`, else of the machine; UTC when neither can be read.
    pub fn local(get: impl Fn(&str) -> Option<OsString>) -> Zone {
        let zone = match get("TZ").and_then(|name| name.into_string().ok()) {
            Some(name) => Zone::named(&name),
            None => read(Path::new(LOCAL)).and_then(|bytes| Zone::parse(&bytes)),
        };
        zone.unwrap_or_default()
    }

    /// The zone of a `TZ` value: a name below the zone directory, a path, or a POSIX rule.
    pub fn named(name: &str) -> Option<Zone> {
        let name = name.strip_prefix(':').unwrap_or(name);
        if name.is_empty() || name.len() > limits::ZONE_RULE_BYTES || name.split('/').any(|part| part == "..") {
            return None;
        }
        let file = read(&PathBuf::from(ZONES).join(name)).and_then(|bytes| Zone::parse(&bytes));
        file.or_else(|| Some(Zone { rule: Some(parse_rule(name)?), ..Zone::default() }))
    }

    /// The offset from UTC in seconds at a Unix time; east is positive.
    pub fn offset(&self, unix: i64) -> i32 {
        let after = self.changes.partition_point(|(from, _)| *from <= unix);
        match (after.checked_sub(1).and_then(|last| self.changes.get(last)), &self.rule) {
            (_, Some(rule)) if after == self.changes.len() => rule.offset(unix),
            (Some((_, offset)), _) => *offset,
            (None, _) => self.first,
        }
    }

    /// Reads a zone file of any version.
    pub fn parse(bytes: &[u8]) -> Option<Zone> {
        let (head, old) = Header::read(bytes)?;
        if head.version < b'2' {
            return head.body(old, 4).map(|(zone, _)| zone);
        }
        let (head, new) = Header::read(old.get(head.size(4)?..)?)?;
        let (mut zone, footer) = head.body(new, 8)?;
        let text = std::str::from_utf8(footer).ok()?.strip_prefix('\n')?;
        zone.rule = text.split('\n').next().and_then(parse_rule);
        Some(zone)
    }
}

/// Counts at the start of a zone file's block.
struct Header {
    version: u8,
    universal: usize,
    standard: usize,
    leaps: usize,
    changes: usize,
    types: usize,
    letters: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<(Header, &[u8])> {
        let rest = bytes.strip_prefix(b"TZif")?;
        let (fixed, rest) = rest.split_at_checked(16)?;
        let (counts, rest) = rest.split_at_checked(24)?;
        let mut counts = counts.chunks(4).filter_map(|chunk| usize::try_from(big_endian(chunk)).ok());
        let mut next = || counts.next();
        let [universal, standard, leaps, changes, types, letters] =
            [next()?, next()?, next()?, next()?, next()?, next()?];
        let version = *fixed.first()?;
        Some((Header { version, universal, standard, leaps, changes, types, letters }, rest))
    }

    /// Bytes of the block that follows, with times of `width` bytes.
    fn size(&self, width: usize) -> Option<usize> {
        let times = self.changes.checked_mul(width + 1)?.checked_add(self.leaps.checked_mul(width + 4)?)?;
        let rest = self.types.checked_mul(6)?.checked_add(self.letters)?;
        times.checked_add(rest)?.checked_add(self.universal)?.checked_add(self.standard)
    }

    fn body<'a>(&self, bytes: &'a [u8], width: usize) -> Option<(Zone, &'a [u8])> {
        let (block, footer) = bytes.split_at_checked(self.size(width)?)?;
        let (times, rest) = block.split_at_checked(self.changes * width)?;
        let (indices, rest) = rest.split_at_checked(self.changes)?;
        let offsets: Vec<i32> = rest.get(..self.types * 6)?.chunks(6).filter_map(offset_of).collect();
        let offset_at = |index: &u8| offsets.get(usize::from(*index)).copied();
        let changes = times.chunks(width).zip(indices).map(|(time, index)| Some((big_endian(time), offset_at(index)?)));
        let changes: Vec<(i64, i32)> = changes.collect::<Option<_>>()?;
        let ascending = changes.windows(2).all(|pair| matches!(pair, [a, b] if a.0 < b.0));
        ascending.then_some((Zone { changes, first: *offsets.first()?, rule: None }, footer))
    }
}

fn offset_of(kind: &[u8]) -> Option<i32> {
    let offset = i32::try_from(big_endian(kind.get(..4)?)).ok()?;
    (offset.unsigned_abs() < 26 * 3600).then_some(offset)
}

/// A signed number of 4 or 8 bytes.
fn big_endian(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|byte| *byte >= 0x80);
    bytes.iter().fold(if negative { -1 } else { 0 }, |value, byte| value << 8 | i64::from(*byte))
}

impl Rule {
    fn offset(&self, unix: i64) -> i32 {
        let Some(summer) = self.summer else { return self.standard };
        let year = date::date(unix.saturating_add(i64::from(self.standard))).year;
        let from = summer.from.unix(year, self.standard);
        let to = summer.to.unix(year, summer.offset);
        let inside = if from < to { unix >= from && unix < to } else { unix >= from || unix < to };
        if inside { summer.offset } else { self.standard }
    }
}

impl Change {
    /// When the change happens in a year, seen with the offset that holds before it.
    fn unix(&self, year: i64, offset: i32) -> i64 {
        self.day.number(year) * DAY + self.second - i64::from(offset)
    }
}

impl Day {
    fn number(self, year: i64) -> i64 {
        let january = date::days(year, 1, 1);
        match self {
            Day::OfYear(day) => january + day,
            Day::Julian(day) => {
                let leap = date::days(year, 3, 1) - january == 60;
                january + day - 1 + i64::from(leap && day >= 60)
            }
            Day::Weekday(month, week, weekday) => {
                let first = date::days(year, month, 1);
                let ahead = i64::from(weekday) - i64::from(date::weekday(first));
                let day = first + ahead.rem_euclid(7) + (week - 1) * 7;
                let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                if day >= date::days(next_year, next_month, 1) { day - 7 } else { day }
            }
        }
    }
}

/// A POSIX rule such as `CET-1CEST,M3.5.0,M10.5.0/3` or `<+0330>-3:30`.
fn parse_rule(text: &str) -> Option<Rule> {
    if text.len() > limits::ZONE_RULE_BYTES {
        return None;
    }
    let (standard, rest) = clock(skip_name(text)?)?;
    let standard = west(standard)?;
    if rest.is_empty() {
        return Some(Rule { standard, summer: None });
    }
    let rest = skip_name(rest)?;
    let (offset, rest) = match clock(rest) {
        Some((offset, rest)) => (west(offset)?, rest),
        None => (standard + 3600, rest),
    };
    // without dates POSIX leaves them to the system; the customary ones are those of the United States
    let dates = if rest.is_empty() { ",M3.2.0,M11.1.0" } else { rest };
    let (from, to) = dates.strip_prefix(',')?.split_once(',')?;
    Some(Rule { standard, summer: Some(Summer { offset, from: change(from)?, to: change(to)? }) })
}

fn west(seconds: i64) -> Option<i32> {
    i32::try_from(-seconds).ok()
}

fn skip_name(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix('<') {
        return rest.split_once('>').map(|(_, rest)| rest);
    }
    let rest = text.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    (text.len() - rest.len() >= 3).then_some(rest)
}

/// `[+-]h[:m[:s]]` in seconds, and what follows; hours up to 167 as newer zone files have them.
fn clock(text: &str) -> Option<(i64, &str)> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut total = 0;
    for unit in [3600, 60, 1] {
        let (number, after) = digits(rest)?;
        total += number * unit;
        rest = after;
        match rest.strip_prefix(':') {
            Some(after) if unit > 1 => rest = after,
            _ => break,
        }
    }
    (total <= 168 * 3600).then_some((sign * total, rest))
}

fn digits(text: &str) -> Option<(i64, &str)> {
    let size = text.bytes().take(3).take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at_checked(size)?;
    Some((number.parse().ok()?, rest))
}

fn change(text: &str) -> Option<Change> {
    let (day, second) = match text.split_once('/') {
        Some((day, time)) => (day, clock(time).filter(|(_, rest)| rest.is_empty())?.0),
        None => (text, 7200),
    };
    Some(Change { day: parse_day(day)?, second })
}

fn parse_day(text: &str) -> Option<Day> {
    if let Some(rest) = text.strip_prefix('J') {
        return rest.parse().ok().filter(|day| (1..=365).contains(day)).map(Day::Julian);
    }
    let Some(rest) = text.strip_prefix('M') else {
        return text.parse().ok().filter(|day| (0..=365).contains(day)).map(Day::OfYear);
    };
    let mut parts = rest.split('.');
    let month = parts.next()?.parse().ok().filter(|month| (1..=12).contains(month))?;
    let week = parts.next()?.parse().ok().filter(|week| (1..=5).contains(week))?;
    let weekday = parts.next()?.parse().ok().filter(|day| *day < 7)?;
    parts.next().is_none().then_some(Day::Weekday(month, week, weekday))
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(limits::ZONE_FILE_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(year: i64, month: u32, day: u32, hour: i64) -> i64 {
        date::days(year, month, day) * DAY + hour * 3600
    }

    fn rule(text: &str) -> Zone {
        Zone { rule: Some(parse_rule(text).unwrap()), ..Zone::default() }
    }

    #[test]
    fn european_summer_time_begins_and_ends_at_one_utc() {
        let zone = rule("CET-1CEST,M3.5.0,M10.5.0/3");
        assert_eq!(zone.offset(at(2026, 3, 29, 1) - 1), 3600);
        assert_eq!(zone.offset(at(2026, 3, 29, 1)), 7200);
        assert_eq!(zone.offset(at(2026, 10, 25, 1) - 1), 7200);
        assert_eq!(zone.offset(at(2026, 10, 25, 1)), 3600);
    }

    #[test]
    fn southern_summer_spans_the_new_year() {
        let zone = rule("AEST-10AEDT,M10.1.0,M4.1.0/3");
        assert_eq!(zone.offset(at(2026, 1, 1, 0)), 11 * 3600);
        assert_eq!(zone.offset(at(2026, 7, 1, 0)), 10 * 3600);
        assert_eq!(zone.offset(at(2026, 12, 31, 23)), 11 * 3600);
    }

    #[test]
    fn rules_in_every_form() {
        assert_eq!(rule("UTC0").offset(0), 0);
        assert_eq!(rule("<+0330>-3:30").offset(0), 12_600);
        assert_eq!(rule("EST5EDT").offset(at(2026, 7, 1, 0)), -4 * 3600);
        assert_eq!(rule("XST-1XDT-3,J60/0,J300/0").offset(at(2024, 3, 1, 0) - 3600), 3 * 3600);
        assert_eq!(rule("XST-1XDT-3,J60/0,J300/0").offset(at(2024, 2, 29, 20)), 3600);
        assert_eq!(rule("XST0XDT,59/0,300/0").offset(at(2024, 2, 29, 0)), 3600);
        for faulty in ["", "A1", "UTC", "UTC0X", "CET-1CEST,M13.1.0,M1.1.0", "CET-1CEST,M3.5.0", "CET999", "<+1"] {
            assert_eq!(parse_rule(faulty), None, "{faulty}");
        }
    }

    /// A version 2 file with two changes and a rule, built by hand.
    fn sample() -> Vec<u8> {
        let header = |counts: [u32; 6]| {
            let mut bytes = b"TZif2".to_vec();
            bytes.extend([0; 15]);
            counts.iter().for_each(|count| bytes.extend(count.to_be_bytes()));
            bytes
        };
        let mut bytes = header([0, 0, 0, 0, 1, 1]);
        bytes.extend([0; 7]);
        bytes.extend(header([0, 0, 0, 2, 2, 8]));
        [-1_000_i64, 1_000].iter().for_each(|time| bytes.extend(time.to_be_bytes()));
        bytes.extend([1, 0]);
        for (offset, index) in [(600_i32, 0_u8), (-1200, 4)] {
            bytes.extend(offset.to_be_bytes());
            bytes.extend([0, index]);
        }
        bytes.extend(b"AAA\0BBB\0\nCCC-2\n");
        bytes
    }

    #[test]
    fn reads_a_zone_file() {
        let zone = Zone::parse(&sample()).unwrap();
        assert_eq!([-2000, -1000, 999, 1000].map(|unix| zone.offset(unix)), [600, -1200, -1200, 7200]);
    }

    #[test]
    fn a_damaged_zone_file_is_refused_or_read_but_never_panics() {
        let whole = sample();
        for cut in 0..whole.len() {
            let _ = Zone::parse(&whole[..cut]).map(|zone| zone.offset(0));
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                let _ = Zone::parse(&bytes).map(|zone| [i64::MIN / 4, 0, i64::MAX / 4].map(|unix| zone.offset(unix)));
            }
        }
    }

    #[test]
    fn names_do_not_leave_the_zone_directory() {
        assert_eq!(Zone::named("../../etc/passwd"), None);
        assert_eq!(Zone::named(""), None);
        let local = Zone::local(|_| Some("No/Such_Zone".into()));
        assert_eq!(local, Zone::utc());
        assert_eq!(Zone::local(|_| Some(":<+05>-5".into())).offset(0), 18_000);
    }

    #[test]
    fn system_zone_files_agree_with_their_rules() {
        for (name, text) in
            [("Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3"), ("America/New_York", "EST5EDT,M3.2.0,M11.1.0")]
        {
            let Some(bytes) = read(&Path::new(ZONES).join(name)) else { continue }; // no zone files here
            let zone = Zone::parse(&bytes).unwrap();
            for day in 0..366 * 3 {
                let unix = at(2024, 1, 1, 0) + day * DAY + 12 * 3600;
                assert_eq!(zone.offset(unix), rule(text).offset(unix), "{name} {unix}");
            }
        }
    }
}
