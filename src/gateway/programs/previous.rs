//! Which conversation an earlier `/v1/responses` answer belongs to, and what it said, for half an hour (http.md 8.1):
//! `previous_response_id` goes on there, and items that a program names by id are found. Only who got the answer finds
//! it. Pure; the clock comes in, the one that nobody sets.

use std::collections::VecDeque;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::limits;
use crate::sys::table::Table;

/// Who got an answer: a digest of the secret, the agent and the session the request named. The secret itself is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder([u8; 32]);

impl Holder {
    /// Of these parts, which cannot run into each other.
    pub fn of(parts: &[&str]) -> Holder {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        Holder(digest.finalize().into())
    }
}

/// An answer that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Its id.
    pub id: String,
    /// Who got it.
    pub holder: Holder,
    /// Its session.
    pub session_key: String,
    /// What it said, with the id of each item.
    pub items: Vec<(String, String)>,
}

/// What a request names of earlier answers.
#[derive(Clone, Debug)]
pub struct Earlier {
    /// Who asks.
    pub holder: Holder,
    /// The answer whose conversation is to go on.
    pub response: Option<String>,
    /// Items of answers.
    pub items: Vec<String>,
}

/// What is known of that.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The answer's session.
    pub session_key: Option<String>,
    /// The items' texts, those that are known.
    pub items: Table<String, String>,
}

impl Given {
    fn bytes(&self) -> usize {
        let items: usize = self.items.iter().map(|(id, text)| id.len() + text.len()).sum();
        self.id.len() + self.session_key.len() + items
    }
}

/// Answers, oldest first.
#[derive(Debug, Default)]
pub struct Previous {
    entries: VecDeque<(Duration, Given)>,
    bytes: usize,
}

impl Previous {
    /// Remembers an answer; the oldest give way to it.
    pub fn note(&mut self, mut given: Given, now: Duration) {
        self.sweep(now);
        if given.bytes() > limits::PREVIOUS_BYTES {
            // Too long to be kept for those who name it: its session still is.
            given.items = Vec::new();
        }
        while self.entries.len() >= limits::PREVIOUS_RESPONSES || self.bytes + given.bytes() > limits::PREVIOUS_BYTES {
            if !self.forget_oldest() {
                break;
            }
        }
        self.bytes += given.bytes();
        self.entries.push_back((now, given));
    }

    /// All that is known of what a request names.
    pub fn known(&self, earlier: &Earlier, now: Duration) -> Known {
        let session = |id: &String| self.session(id, earlier.holder, now).map(str::to_string);
        let item = |id: &String| Some((id.clone(), self.item(id, earlier.holder, now)?.to_string()));
        Known {
            session_key: earlier.response.as_ref().and_then(session),
            items: earlier.items.iter().filter_map(item).collect(),
        }
    }

    /// The session an answer belongs to.
    pub fn session(&self, id: &str, holder: Holder, now: Duration) -> Option<&str> {
        self.fresh(holder, now).find(|given| given.id == id).map(|given| given.session_key.as_str())
    }

    /// Whether an answer that can still be named belongs to a session.
    pub fn has_session(&self, key: &str) -> bool {
        self.entries.iter().any(|(_, given)| given.session_key == key)
    }

    /// What an item said.
    pub fn item(&self, id: &str, holder: Holder, now: Duration) -> Option<&str> {
        let mut items = self.fresh(holder, now).flat_map(|given| &given.items);
        items.find(|(found, _)| found == id).map(|(_, text)| text.as_str())
    }

    /// Newest first.
    fn fresh(&self, holder: Holder, now: Duration) -> impl Iterator<Item = &Given> {
        let is_fresh = move |since: &Duration| now.saturating_sub(*since) <= limits::PREVIOUS_AGE;
        let fresh = self.entries.iter().rev().take_while(move |(since, _)| is_fresh(since));
        fresh.map(|(_, given)| given).filter(move |given| given.holder == holder)
    }

    /// Forgets what is too old.
    pub fn sweep(&mut self, now: Duration) {
        while self.entries.front().is_some_and(|(since, _)| now.saturating_sub(*since) > limits::PREVIOUS_AGE) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) -> bool {
        let oldest = self.entries.pop_front();
        self.bytes -= oldest.as_ref().map_or(0, |(_, given)| given.bytes());
        oldest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn min(n: u64) -> Duration {
        Duration::from_secs(60 * n)
    }

    fn me() -> Holder {
        Holder::of(&["secret", "main", ""])
    }

    fn given(id: &str, text: &str) -> Given {
        let items = vec![(format!("msg_{id}"), text.to_string())];
        Given { id: format!("resp_{id}"), holder: me(), session_key: "agent:main:x".into(), items }
    }

    #[test]
    fn an_answer_and_its_items_are_found_for_half_an_hour() {
        let mut previous = Previous::default();
        previous.note(given("1", "hello"), min(1));
        assert_eq!(previous.session("resp_1", me(), min(31)), Some("agent:main:x"));
        assert_eq!(previous.item("msg_1", me(), min(31)), Some("hello"));
        assert_eq!((previous.session("msg_1", me(), min(1)), previous.item("resp_1", me(), min(1))), (None, None));
        assert_eq!(previous.session("resp_1", me(), min(31) + Duration::from_millis(1)), None);
        previous.sweep(min(32));
        assert_eq!((previous.entries.len(), previous.bytes), (0, 0));
    }

    #[test]
    fn nobody_else_finds_it() {
        let mut previous = Previous::default();
        previous.note(given("1", "hello"), min(1));
        for other in [["other", "main", ""], ["secret", "ops", ""], ["secret", "main", "key"], ["secretmain", "", ""]] {
            let other = Holder::of(&other);
            assert_eq!(
                (previous.session("resp_1", other, min(1)), previous.item("msg_1", other, min(1))),
                (None, None)
            );
        }
    }

    #[test]
    fn answers_and_their_bytes_are_bounded() {
        let mut previous = Previous::default();
        for n in 0..limits::PREVIOUS_RESPONSES + 10 {
            previous.note(given(&n.to_string(), "x"), min(1));
        }
        assert_eq!(previous.entries.len(), limits::PREVIOUS_RESPONSES);
        let session = |previous: &Previous, id: &str| previous.session(id, me(), min(2)).map(str::to_string);
        assert!(session(&previous, "resp_9").is_none() && session(&previous, "resp_10").is_some());
        let half = "x".repeat(limits::PREVIOUS_BYTES / 2);
        for id in ["a", "b", "c"] {
            previous.note(given(id, &half), min(2));
            assert!(previous.bytes <= limits::PREVIOUS_BYTES);
        }
        assert!(session(&previous, "resp_b").is_none() && session(&previous, "resp_c").is_some());
        previous.note(given("long", &"x".repeat(limits::PREVIOUS_BYTES)), min(2));
        assert!(session(&previous, "resp_long").is_some() && previous.item("msg_long", me(), min(2)).is_none());
    }
}
