//! When a job runs: once, at an interval, or by an expression in a time zone. Zones come from outside, already read.

use std::sync::Arc;

use serde_json::Value;

use super::expression::Expression;
use super::{moment, next};
use crate::limits;
use crate::sys::date;
use crate::sys::table::Table;
use crate::sys::zone::Zone;

/// A schedule that can be reckoned with.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// Once.
    At(u64),
    /// At every multiple of an interval after an anchor.
    Every {
        /// Milliseconds.
        every: u64,
        /// When it began.
        anchor: u64,
    },
    /// By an expression.
    Cron(Box<Expression>, Arc<Zone>),
}

/// Why a schedule cannot be reckoned with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The zone must be read first.
    Unread(String),
    /// It is wrong; the text is for a person.
    Wrong(String),
}

/// Time zones that were read, by name; none for names that mean nothing.
#[derive(Debug, Default)]
pub struct Zones {
    /// The machine's own.
    pub local: Arc<Zone>,
    named: Table<String, Option<Arc<Zone>>>,
}

impl Zones {
    /// No zones but this one, the machine's.
    pub fn new(local: Zone) -> Zones {
        Zones { local: Arc::new(local), named: Table::new() }
    }

    /// Keeps what was read under a name. Names nobody uses any more go when there are too many.
    pub fn add(&mut self, name: String, zone: Option<Arc<Zone>>) {
        if self.named.len() >= limits::CRON_ZONES {
            self.named.retain(|_, zone| zone.as_ref().is_some_and(|zone| Arc::strong_count(zone) > 1));
        }
        self.named.insert(name, zone);
    }

    fn get(&self, name: &str) -> Result<Arc<Zone>, Fault> {
        match self.named.get(name) {
            _ if name.is_empty() => Ok(self.local.clone()),
            Some(Some(zone)) => Ok(zone.clone()),
            Some(None) => Err(Fault::Wrong(format!(
                "unknown time zone \"{name}\": use a name of the system's time zone database, such as Europe/Berlin"
            ))),
            None => Err(Fault::Unread(name.to_string())),
        }
    }
}

/// Reads a zone from the system's files; the usual names of UTC need none.
pub fn read_zone(name: &str) -> Option<Arc<Zone>> {
    let utc = ["utc", "etc/utc", "gmt", "etc/gmt", "z"].contains(&name.to_lowercase().as_str());
    // A path of its own could name anything, a pipe included.
    let plain = !name.trim_start_matches(':').starts_with('/');
    match (utc, plain) {
        (true, _) => Some(Arc::default()),
        (false, true) => Zone::named(name).map(Arc::new),
        (false, false) => None,
    }
}

/// The zone a schedule names, if any.
pub fn zone_name(schedule: &Value) -> Option<&str> {
    schedule.get("tz").and_then(Value::as_str).map(str::trim).filter(|name| !name.is_empty())
}

impl Schedule {
    /// Reads a job's `schedule`; an interval without an anchor counts from the one given.
    ///
    /// # Errors
    /// What is wrong with it, or the zone that must be read first.
    pub fn read(schedule: &Value, anchor: u64, zones: &Zones) -> Result<Schedule, Fault> {
        let number = |name: &str| schedule.get(name).and_then(Value::as_u64);
        let text = |name: &str| schedule.get(name).and_then(Value::as_str).unwrap_or_default().trim();
        match text("kind") {
            "at" => at_of(schedule).map(Schedule::At).ok_or_else(|| {
                let got = schedule.get("at").map_or("nothing".to_string(), |at| at.to_string().replace('"', ""));
                Fault::Wrong(format!("Invalid schedule.at: expected ISO-8601 timestamp (got {got})"))
            }),
            "every" => match number("everyMs") {
                Some(every) if every > 0 => Ok(Schedule::Every {
                    every: every.max(limits::CRON_EVERY_MS),
                    anchor: number("anchorMs").unwrap_or(anchor),
                }),
                _ => Err(Fault::Wrong("at /schedule/everyMs: must be an integer >= 1".to_string())),
            },
            "cron" => {
                let expression = Expression::parse(text("expr"))
                    .map_err(|why| Fault::Wrong(format!("cron expression \"{}\": {why}", shown(text("expr")))))?;
                Ok(Schedule::Cron(Box::new(expression), zones.get(zone_name(schedule).unwrap_or_default())?))
            }
            kind => Err(Fault::Wrong(format!("schedule.kind \"{}\" is none of at, every, cron", shown(kind)))),
        }
    }

    /// The first moment after this one.
    pub fn next(&self, after: u64) -> Option<u64> {
        match self {
            Schedule::At(at) => (*at > after).then_some(*at),
            Schedule::Every { anchor, .. } if after < *anchor => Some(*anchor),
            Schedule::Every { every, anchor } => {
                anchor.checked_add(((after - anchor) / every).checked_add(1)?.checked_mul(*every)?)
            }
            Schedule::Cron(expression, zone) => next::next(expression, zone, after),
        }
    }

    /// How many moments there are after `from` up to `until`, counted to a limit.
    pub fn count(&self, from: u64, until: u64) -> u32 {
        let (mut count, mut at) = (0, from);
        while let Some(next) = self.next(at).filter(|next| *next <= until && count < limits::CRON_COUNTED) {
            (count, at) = (count + 1, next);
        }
        count
    }
}

/// The moment of a one-time schedule, in the present and the older form.
pub fn at_of(schedule: &Value) -> Option<u64> {
    let member = |name: &str| schedule.get(name);
    match (member("atMs"), member("at")) {
        (Some(Value::Number(at)), _) => at.as_u64(),
        (Some(Value::String(at)), _) | (None, Some(Value::String(at))) => moment::parse(at, None),
        _ => None,
    }
}

/// Refuses a one-time schedule that has passed or lies too far ahead, in the original's words.
///
/// # Errors
/// The text.
pub fn check_moment(at: u64, now_ms: u64) -> Result<(), String> {
    const YEAR_MS: u64 = 31_557_600_000;
    let iso = date::iso_utc;
    if at.saturating_add(60_000) < now_ms {
        let ago = (now_ms - at) / 60_000;
        return Err(format!(
            "schedule.at is in the past: {} ({ago} minutes ago). Current time: {}",
            iso(at),
            iso(now_ms)
        ));
    }
    if at.saturating_sub(now_ms) > limits::CRON_AHEAD_YEARS * YEAR_MS {
        return Err(format!(
            "schedule.at is too far in the future: {} ({} years ahead). Maximum allowed: {} years",
            iso(at),
            (at - now_ms) / YEAR_MS,
            limits::CRON_AHEAD_YEARS
        ));
    }
    Ok(())
}

/// What somebody wrote, fit for an error.
fn shown(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(schedule: &Value) -> Result<Schedule, Fault> {
        Schedule::read(schedule, 7, &Zones::default())
    }

    #[test]
    fn intervals_keep_their_anchor() {
        let every = read(&json!({"kind": "every", "everyMs": 60_000, "anchorMs": 5_000})).unwrap();
        assert_eq!(every.next(0), Some(5_000));
        assert_eq!(every.next(5_000), Some(65_000));
        assert_eq!(every.next(64_999), Some(65_000));
        assert_eq!(every.next(65_000), Some(125_000));
        assert_eq!(every.count(5_000, 125_000), 2);
        assert_eq!(every.next(u64::MAX), None);
        assert_eq!(read(&json!({"kind": "every", "everyMs": 60_000})).unwrap().next(7), Some(60_007));
        let fast = read(&json!({"kind": "every", "everyMs": 1})).unwrap();
        assert_eq!(fast.next(7), Some(7 + limits::CRON_EVERY_MS));
        assert_eq!(fast.count(7, u64::MAX), limits::CRON_COUNTED);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let wrong = |schedule: Value| match read(&schedule) {
            Err(Fault::Wrong(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            wrong(json!({"kind": "at", "at": "soon"})),
            "Invalid schedule.at: expected ISO-8601 timestamp (got soon)"
        );
        assert_eq!(wrong(json!({"kind": "every"})), "at /schedule/everyMs: must be an integer >= 1");
        assert_eq!(wrong(json!({"kind": "stream"})), "schedule.kind \"stream\" is none of at, every, cron");
        assert_eq!(
            wrong(json!({"kind": "cron", "expr": "61 * * * *"})),
            "cron expression \"61 * * * *\": minute: 61 is not in 0-59"
        );
        let mut zones = Zones::default();
        let mars = json!({"kind": "cron", "expr": "* * * * *", "tz": "Mars/X"});
        assert_eq!(Schedule::read(&mars, 0, &zones), Err(Fault::Unread("Mars/X".into())));
        zones.add("Mars/X".into(), read_zone("Mars/X"));
        assert!(matches!(Schedule::read(&mars, 0, &zones), Err(Fault::Wrong(text)) if text.contains("Mars/X")));
        assert_eq!(read_zone("UTC"), Some(Arc::default()));
        assert!(read_zone("EST5EDT,M3.2.0,M11.1.0").is_some() && read_zone("/etc/localtime").is_none());
    }

    #[test]
    fn zones_nobody_uses_are_forgotten() {
        let mut zones = Zones::default();
        let kept = Arc::new(Zone::utc());
        zones.add("kept".into(), Some(kept.clone()));
        for n in 0..limits::CRON_ZONES {
            zones.add(format!("zone {n}"), None);
        }
        assert!(zones.named.len() <= limits::CRON_ZONES);
        assert!(zones.get("kept").is_ok());
    }

    #[test]
    fn moments_in_the_past_and_far_ahead_are_refused() {
        let now = 1_795_255_899_475;
        assert_eq!(check_moment(now - 60_000, now), Ok(()));
        let past = check_moment(now - 120_001, now).unwrap_err();
        assert_eq!(
            past,
            "schedule.at is in the past: 2026-11-21T10:09:39.474Z (2 minutes ago). Current time: 2026-11-21T10:11:39.475Z"
        );
        let year = 31_557_600_000;
        assert_eq!(check_moment(now + limits::CRON_AHEAD_YEARS * year, now), Ok(()));
        let far = check_moment(now + 11 * year, now).unwrap_err();
        assert!(far.ends_with("(11 years ahead). Maximum allowed: 10 years"), "{far}");
    }
}
