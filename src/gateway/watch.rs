//! Which connections follow which sessions: all changes, or the messages of one session. Bounded per connection;
//! forgets a connection with its end. Pure.

use std::collections::BTreeSet;

use super::event::ConnId;
use crate::limits;
use crate::sys::table::Table;

/// The followers.
#[derive(Debug, Default)]
pub struct Watch {
    all: Table<ConnId, ()>,
    keys: Table<ConnId, BTreeSet<String>>,
}

impl Watch {
    /// The connection wants to hear of every session's changes.
    pub fn follow_all(&mut self, conn: ConnId) {
        self.all.insert(conn, ());
    }

    /// It does not any more.
    pub fn leave_all(&mut self, conn: ConnId) {
        self.all.remove(&conn);
    }

    /// The connection wants the messages of this session; false when it follows too many already.
    pub fn follow(&mut self, conn: ConnId, key: &str) -> bool {
        let keys = self.keys.or_default(conn);
        if keys.len() >= limits::FOLLOWED_SESSIONS && !keys.contains(key) {
            return false;
        }
        keys.insert(key.to_string());
        true
    }

    /// It does not any more.
    pub fn leave(&mut self, conn: ConnId, key: &str) {
        if let Some(keys) = self.keys.get_mut(&conn) {
            keys.remove(key);
        }
    }

    /// The connection has gone.
    pub fn forget(&mut self, conn: ConnId) {
        self.all.remove(&conn);
        self.keys.remove(&conn);
    }

    /// Who hears of every change.
    pub fn of_all(&self) -> Vec<ConnId> {
        self.all.keys().copied().collect()
    }

    /// Who gets this session's messages.
    pub fn of(&self, key: &str) -> Vec<ConnId> {
        self.keys.iter().filter(|(_, keys)| keys.contains(key)).map(|(conn, _)| *conn).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn followers_come_and_go() {
        let (one, two) = (ConnId(1), ConnId(2));
        let mut watch = Watch::default();
        watch.follow_all(one);
        assert!(watch.follow(one, "a") && watch.follow(two, "a") && watch.follow(two, "b"));
        assert_eq!((watch.of_all(), watch.of("a"), watch.of("c")), (vec![one], vec![one, two], vec![]));
        watch.leave(two, "a");
        watch.leave_all(one);
        assert_eq!((watch.of_all(), watch.of("a"), watch.of("b")), (vec![], vec![one], vec![two]));
        watch.forget(two);
        assert_eq!(watch.of("b"), vec![]);
    }

    #[test]
    fn one_connection_follows_a_bounded_number() {
        let mut watch = Watch::default();
        for n in 0..limits::FOLLOWED_SESSIONS {
            assert!(watch.follow(ConnId(1), &n.to_string()));
        }
        assert!(!watch.follow(ConnId(1), "more") && watch.follow(ConnId(1), "0"));
    }
}
