//! When a conversation is over and the next message starts a new one (agent.md 9). Pure arithmetic over the time of the
//! last message, now, and a time zone; reads no clock.

use std::time::Duration;

use crate::sys::date;
use crate::sys::zone::Zone;

use super::key::{KeyKind, SessionKey};
use super::settings::minutes_long;
use crate::sys::table::Table;

/// One rule: at an hour of the day, after a time without messages, or whichever comes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// Hour of the daily end, local time.
    pub at_hour: Option<u32>,
    /// Longest silence.
    pub idle: Option<Duration>,
}

impl Freshness {
    /// Over every day at an hour.
    pub fn daily(at_hour: u32) -> Freshness {
        Freshness { at_hour: Some(at_hour), idle: None }
    }

    /// Over after minutes of silence.
    pub fn idle(minutes: u64) -> Freshness {
        Freshness { at_hour: None, idle: Some(minutes_long(minutes)) }
    }

    /// Whether a conversation last touched then still goes on.
    pub fn holds(&self, updated_ms: u64, now_ms: u64, zone: &Zone) -> bool {
        let idle = self.idle.is_some_and(|idle| u128::from(now_ms.saturating_sub(updated_ms)) > idle.as_millis());
        let over = self.at_hour.is_some_and(|hour| date::seconds(updated_ms) < last_hour(now_ms, hour, zone));
        !idle && !over
    }
}

/// The latest moment, in Unix seconds, at which the local clock struck this hour.
fn last_hour(now_ms: u64, hour: u32, zone: &Zone) -> i64 {
    let now = date::seconds(now_ms);
    let local = now + i64::from(zone.offset(now));
    let today = local - local.rem_euclid(date::DAY) + i64::from(hour) * 3600;
    let wanted = if today <= local { today } else { today - date::DAY };
    // the offset then may differ from the one now; asking again at the result settles it
    let guess = wanted - i64::from(zone.offset(now));
    let moment = wanted - i64::from(zone.offset(guess));
    moment.min(now)
}

/// The rules of a configuration: a channel's own, else that of the kind of chat, else the general one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The general rule.
    pub base: Freshness,
    /// By `direct`, `group`, `thread`.
    pub by_kind: Table<String, Freshness>,
    /// By channel.
    pub by_channel: Table<String, Freshness>,
}

impl Rules {
    /// The rule for a session.
    pub fn of(&self, key: &SessionKey, channel: Option<&str>) -> &Freshness {
        let kind = match key.kind() {
            _ if key.is_thread() => "thread",
            KeyKind::Group => "group",
            _ => "direct",
        };
        let of_channel = channel.or(key.channel()).and_then(|channel| self.by_channel.get(channel));
        of_channel.or_else(|| self.by_kind.get(kind)).unwrap_or(&self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::key::KeyRules;

    const HOUR: u64 = 3_600_000;

    /// 2026-11-21T00:00:00Z.
    const DAY0: u64 = 1_795_219_200_000;

    #[test]
    fn a_day_ends_at_its_hour() {
        let rule = Freshness::daily(4);
        let holds = |updated: u64, now: u64| rule.holds(DAY0 + updated, DAY0 + now, &Zone::utc());
        assert!(holds(3 * HOUR, 3 * HOUR + 59 * 60_000), "before four, same night");
        assert!(!holds(3 * HOUR, 4 * HOUR), "the clock struck four");
        assert!(holds(4 * HOUR, 27 * HOUR), "until next four");
        assert!(!holds(4 * HOUR, 28 * HOUR));
        assert!(!holds(0, 24 * 30 * HOUR));
        assert!(holds(30 * HOUR, 29 * HOUR), "a clock that went back ends nothing");
    }

    #[test]
    fn silence_ends_it_too() {
        let rule = Freshness { at_hour: Some(4), idle: Some(minutes_long(30)) };
        let holds = |updated: u64, now: u64| rule.holds(DAY0 + updated, DAY0 + now, &Zone::utc());
        assert!(holds(10 * HOUR, 10 * HOUR + 30 * 60_000) && !holds(10 * HOUR, 10 * HOUR + 30 * 60_001));
        assert!(!holds(4 * HOUR - 1000, 4 * HOUR), "whichever comes first");
        assert!(Freshness::default().holds(0, u64::MAX / 2, &Zone::utc()), "no rule, no end");
    }

    #[test]
    fn the_hour_is_local_and_survives_a_change_of_the_clocks() {
        let Some(berlin) = Zone::named("Europe/Berlin") else { return }; // no zone files here
        let rule = Freshness::daily(4);
        // 2026-10-25: at 03:00 summer time (01:00Z) clocks go back; 04:00 is 03:00Z
        let night = 1_792_886_400_000; // 2026-10-25T00:00Z
        assert!(rule.holds(night, night + 2 * HOUR, &berlin), "03:00 winter time");
        assert!(!rule.holds(night, night + 3 * HOUR, &berlin), "04:00 winter time");
        assert!(!rule.holds(night - HOUR, night + 12 * HOUR, &berlin));
        assert!(rule.holds(night + 3 * HOUR, night + 12 * HOUR, &berlin));
    }

    #[test]
    fn the_nearest_rule_counts() {
        let keys = KeyRules { default_agent: "main".into(), main_key: "main".into(), global: false };
        let rules = Rules {
            base: Freshness::daily(4),
            by_kind: [("thread".to_string(), Freshness::idle(1)), ("group".to_string(), Freshness::idle(2))].into(),
            by_channel: [("slack".to_string(), Freshness::idle(3))].into(),
        };
        let of = |key: &str, channel| rules.of(&keys.canonical(key).unwrap(), channel).clone();
        assert_eq!(of("main", None), Freshness::daily(4));
        assert_eq!(of("main", Some("slack")), Freshness::idle(3));
        assert_eq!(of("agent:main:telegram:group:1", None), Freshness::idle(2));
        assert_eq!(of("agent:main:telegram:group:1:topic:2", None), Freshness::idle(1));
        assert_eq!(of("agent:main:slack:group:1", None), Freshness::idle(3));
    }
}
