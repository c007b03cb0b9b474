//! Which old sessions may go, by age and by number (`session.maintenance`). Pure: names what would go, so that a dry
//! run and the real one cannot differ. The default keeps everything.

use std::time::Duration;

use crate::store::sessions::Index;

use super::key::{self, KeyKind, KeyRules};
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
}

impl Keep {
    /// Sessions of an index that would go, oldest first. Main, global and running sessions stay.
    pub fn going(&self, index: &Index, rules: &KeyRules, busy: impl Fn(&str) -> bool, now_ms: u64) -> Vec<Going> {
        let stays = |stored: &str| {
            key::kind_of(stored) == KeyKind::Global
                || busy(stored)
                || rules.canonical(stored).is_some_and(|key| rules.is_main(&key))
        };
        let mut rows: Vec<(u64, &str)> =
            index.iter().filter(|(key, _)| !stays(key)).map(|(key, entry)| (entry.updated_ms(), key)).collect();
        order::by(&mut rows, |a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        let room = self.count.map(|count| count.saturating_sub(index.len().saturating_sub(rows.len())));
        let why = |place: usize, updated: u64| match () {
            () if self.age.is_some_and(|age| u128::from(now_ms.saturating_sub(updated)) > age.as_millis()) => {
                Some(Why::Age)
            }
            () if room.is_some_and(|room| place >= room) => Some(Why::Count),
            () => None,
        };
        let going = rows.iter().enumerate().rev().filter_map(|(place, (updated_ms, key))| {
            let why = why(place, *updated_ms)?;
            Some(Going { key: (*key).to_string(), why, updated_ms: *updated_ms })
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
}
