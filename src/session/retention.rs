//! Which old sessions may go, by age and by number (`session.maintenance`, and bounds of their own for those that nobody
//! can name again). Pure: names what would go, so that a dry run and the real one cannot differ.

use std::time::Duration;

use crate::store::session::throwaway::Kind;
use crate::store::sessions::Index;

use super::key::{self, KeyKind, KeyRules};
use super::throwaway;
use crate::sys::order;

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Sessions changed within this time; all when none.
    pub age: Option<Duration>,
    /// This many of the newest; all when none.
    pub count: Option<usize>,
    /// Only tell what would go.
    pub warn_only: bool,
}

/// Why a session would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Too old.
    Age,
    /// Too many newer ones.
    Count,
}

/// A session that would go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Going {
    /// Its key as stored.
    pub key: String,
    /// Why.
    pub why: Why,
    /// Its last change.
    pub updated_ms: u64,
    /// What it is if nobody can name it again.
    pub throwaway: Option<Kind>,
}

/// A session that may go: what it is, its last change, its key.
type Row<'a> = (Option<Kind>, u64, &'a str);

impl Keep {
    /// Whether nothing goes.
    pub fn is_all(&self) -> bool {
        self.age.is_none() && self.count.is_none()
    }

    /// Sessions of an index that would go, oldest first; before those that somebody may come back to, those that nobody
    /// can name again. Main, global and running sessions stay.
    pub fn going(&self, index: &Index, rules: &KeyRules, busy: impl Fn(&str) -> bool, now_ms: u64) -> Vec<Going> {
        let stays = |stored: &str| {
            key::kind_of(stored) == KeyKind::Global
                || busy(stored)
                || rules.canonical(stored).is_some_and(|key| rules.is_main(&key))
        };
        let rows = index.iter().filter(|(key, _)| !stays(key));
        let rows: Vec<Row<'_>> =
            rows.map(|(key, entry)| (throwaway::kind_of(key, entry), entry.updated_ms(), key)).collect();
        let stay = index.len().saturating_sub(rows.len());
        self.pick(rows, self.count.map(|count| count.saturating_sub(stay)), now_ms)
    }

    /// Of the sessions of a kind that nobody can name again those that would go, oldest first.
    pub fn throwaways(&self, index: &Index, kind: Kind, stays: impl Fn(&str) -> bool, now_ms: u64) -> Vec<Going> {
        if self.is_all() {
            return Vec::new();
        }
        let rows = index.iter().filter(|(key, entry)| throwaway::kind_of(key, entry) == Some(kind));
        let rows = rows.map(|(key, entry)| (Some(kind), entry.updated_ms(), key)).collect();
        let mut going = self.pick(rows, self.count, now_ms);
        going.retain(|going| !stays(&going.key));
        going
    }

    fn pick(&self, mut rows: Vec<Row<'_>>, room: Option<usize>, now_ms: u64) -> Vec<Going> {
        order::by(&mut rows, |a, b| {
            a.0.is_some().cmp(&b.0.is_some()).then_with(|| b.1.cmp(&a.1)).then_with(|| a.2.cmp(b.2))
        });
        let why = |place: usize, updated: u64| match () {
            () if self.age.is_some_and(|age| u128::from(now_ms.saturating_sub(updated)) > age.as_millis()) => {
                Some(Why::Age)
            }
            () if room.is_some_and(|room| place >= room) => Some(Why::Count),
            () => None,
        };
        let going = rows.iter().enumerate().rev().filter_map(|(place, (throwaway, updated_ms, key))| {
            let why = why(place, *updated_ms)?;
            Some(Going { key: (*key).to_string(), why, updated_ms: *updated_ms, throwaway: *throwaway })
        });
        going.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::session::entry::Entry;

    const DAY: u64 = 86_400_000;

    fn going(keep: &Keep) -> Vec<(String, Why)> {
        let mut index = Index::default();
        for (key, days) in [
            ("agent:main:main", 90),
            ("agent:main:a", 1),
            ("agent:main:b", 2),
            ("agent:main:c", 40),
            ("global", 99),
            ("agent:main:busy", 80),
        ] {
            index.insert(key, Entry::new("s", 100 * DAY - days * DAY));
        }
        let rules = KeyRules { default_agent: "main".into(), main_key: "main".into(), global: false };
        let found = keep.going(&index, &rules, |key| key.ends_with("busy"), 100 * DAY);
        found.into_iter().map(|going| (going.key, going.why)).collect()
    }

    #[test]
    fn everything_is_kept_unless_said_otherwise() {
        assert_eq!(going(&Keep::default()), []);
    }

    #[test]
    fn the_old_and_the_many_go_but_never_main_or_running_ones() {
        let age = Keep { age: Some(Duration::from_secs(30 * 86_400)), ..Keep::default() };
        assert_eq!(going(&age), [("agent:main:c".to_string(), Why::Age)]);
        let count = Keep { count: Some(4), ..age.clone() };
        assert_eq!(going(&count), [("agent:main:c".to_string(), Why::Age), ("agent:main:b".to_string(), Why::Count)]);
        assert_eq!(going(&Keep { count: Some(1), ..Keep::default() }).len(), 3);
    }

    /// An index with these sessions of programs' calls, `(number, age in days)`, and one that is named.
    fn calls(ages: &[(u8, u64)]) -> Index {
        let mut index = Index::default();
        index.insert("agent:main:openai-user:ann", Entry::new("s", 0));
        for (number, days) in ages {
            let uuid = format!("6f07d653-4d76-4184-a1f6-9503000000{number:02}");
            index.insert(&call(*number), Entry::new(&Kind::Call.id(uuid), 100 * DAY - days * DAY));
        }
        index
    }

    fn call(number: u8) -> String {
        format!("agent:main:openai:6f07d653-4d76-4184-a1f6-9503000000{number:02}")
    }

    #[test]
    fn calls_go_by_their_own_bounds_and_busy_ones_stay() {
        let index = calls(&[(1, 1), (2, 2), (3, 3), (4, 40)]);
        let keep = Keep { age: Some(Duration::from_secs(30 * 86_400)), count: Some(2), warn_only: false };
        let going = |keep: &Keep, busy: &str| -> Vec<(String, Why)> {
            let going = keep.throwaways(&index, Kind::Call, |key| key == busy, 100 * DAY);
            going.into_iter().map(|going| (going.key, going.why)).collect()
        };
        assert_eq!(going(&keep, ""), [(call(4), Why::Age), (call(3), Why::Count)]);
        assert_eq!(going(&keep, &call(3)), [(call(4), Why::Age)]);
        assert_eq!(going(&Keep::default(), ""), []);
        assert_eq!(keep.throwaways(&index, Kind::Run, |_| false, 100 * DAY), []);
    }

    #[test]
    fn under_one_bound_for_all_a_burst_of_calls_drives_nobody_out() {
        let index = calls(&[(1, 0), (2, 0), (3, 0)]);
        let rules = KeyRules { default_agent: "main".into(), main_key: "main".into(), global: false };
        let keep = Keep { count: Some(2), ..Keep::default() };
        let going = keep.going(&index, &rules, |_| false, 100 * DAY);
        let going: Vec<_> = going.into_iter().map(|going| (going.key, going.throwaway)).collect();
        assert_eq!(going, [(call(3), Some(Kind::Call)), (call(2), Some(Kind::Call))]);
    }
}
