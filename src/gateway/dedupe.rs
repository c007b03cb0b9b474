//! The memory of answered calls: a client that repeats a call with the same idempotency key gets the
//! first answer again instead of a second effect (protocol.md 6.4). Pure; the clock comes in, and it is the one that
//! nobody sets: a corrected date must neither forget calls nor keep them.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::limits;
use crate::protocol::errors::WireError;
use crate::sys::id::hex;
use crate::sys::table::Table;

/// What is remembered of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Remembered {
    /// It runs; this was the first answer, if there was one.
    Running(Option<Value>),
    /// It has ended like this.
    Ended(Result<Value, WireError>),
}

/// Answers by `<method>:<idempotency key>`.
#[derive(Debug, Default)]
pub struct Memory {
    entries: Table<String, (Duration, Remembered)>,
    /// Keys in the order of their time; entries that were renewed stand in it twice.
    order: VecDeque<(Duration, String)>,
}

/// The name under which a call is remembered, if it carries a key. A long key is known by its hash, so that names cost
/// the same whatever clients think up; no key that is kept as it is can look like one.
pub fn key(method: &str, params: &Value) -> Option<String> {
    let key = params.get("idempotencyKey")?.as_str()?.trim();
    match key.len() {
        0 => None,
        1..=limits::IDEMPOTENCY_KEY_BYTES => Some(format!("{method}:{key}")),
        _ => Some(format!("{method}#{}", hex(&Sha256::digest(key)))),
    }
}

impl Memory {
    /// What is known of this call.
    pub fn recall(&self, key: &str, now: Duration) -> Option<&Remembered> {
        let (since, remembered) = self.entries.get(key)?;
        (now.saturating_sub(*since) <= limits::IDEMPOTENCY).then_some(remembered)
    }

    /// Remembers a call, or how it ended; the oldest gives way to the newest.
    pub fn note(&mut self, key: String, remembered: Remembered, now: Duration) {
        self.sweep(now);
        while self.entries.len() >= limits::IDEMPOTENCY_ENTRIES && !self.entries.contains_key(&key) {
            let Some((since, oldest)) = self.order.pop_front() else { break };
            self.forget(&oldest, since);
        }
        self.order.push_back((now, key.clone()));
        self.entries.insert(key, (now, remembered));
        // Renewed entries leave their old place behind: a client that repeats one call must not make the
        // list grow for as long as entries last.
        if self.order.len() > 2 * limits::IDEMPOTENCY_ENTRIES {
            let entries = &self.entries;
            self.order.retain(|(since, key)| entries.get(key).is_some_and(|(noted, _)| noted == since));
        }
    }

    /// The call is still running: it counts as noted now.
    pub fn renew(&mut self, key: &str, now: Duration) {
        if let Some((since, _)) = self.entries.get_mut(key) {
            *since = now;
            self.order.push_back((now, key.to_string()));
        }
    }

    /// Forgets a call that had no effect after all.
    pub fn drop(&mut self, key: &str) {
        self.entries.remove(key);
    }

    /// Forgets what is too old.
    pub fn sweep(&mut self, now: Duration) {
        while let Some((since, _)) = self.order.front() {
            if now.saturating_sub(*since) <= limits::IDEMPOTENCY {
                return;
            }
            if let Some((since, key)) = self.order.pop_front() {
                self.forget(&key, since);
            }
        }
    }

    /// Removes an entry unless it was renewed since.
    fn forget(&mut self, key: &str, since: Duration) {
        if self.entries.get(key).is_some_and(|(noted, _)| *noted == since) {
            self.entries.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn ended(n: u64) -> Remembered {
        Remembered::Ended(Ok(json!({"n": n})))
    }

    #[test]
    fn remembers_for_five_minutes() {
        let mut memory = Memory::default();
        memory.note("send:a".into(), ended(1), ms(1000));
        assert_eq!(memory.recall("send:a", ms(301_000)), Some(&ended(1)));
        assert_eq!(memory.recall("send:a", ms(301_001)), None);
        memory.sweep(ms(301_001));
        assert!(memory.entries.is_empty() && memory.order.is_empty());
    }

    #[test]
    fn a_renewed_entry_counts_from_its_renewal() {
        let mut memory = Memory::default();
        memory.note("agent:a".into(), Remembered::Running(None), ms(0));
        memory.note("agent:a".into(), ended(2), ms(200_000));
        memory.sweep(ms(301_000));
        assert_eq!(memory.recall("agent:a", ms(301_000)), Some(&ended(2)));
    }

    #[test]
    fn holds_no_more_than_the_limit() {
        let mut memory = Memory::default();
        for n in 0..limits::IDEMPOTENCY_ENTRIES as u64 + 10 {
            memory.note(format!("send:{n}"), ended(n), ms(n));
        }
        assert_eq!(memory.entries.len(), limits::IDEMPOTENCY_ENTRIES);
        assert_eq!(memory.recall("send:0", ms(2000)), None);
        assert_eq!(memory.recall("send:10", ms(2000)), Some(&ended(10)));
    }

    #[test]
    fn a_call_that_is_renewed_for_ever_takes_no_more_room() {
        let mut memory = Memory::default();
        for n in 0..limits::IDEMPOTENCY_ENTRIES as u64 * 10 {
            memory.note("agent:a".into(), Remembered::Running(None), ms(n));
        }
        assert_eq!(memory.entries.len(), 1);
        assert!(memory.order.len() <= 2 * limits::IDEMPOTENCY_ENTRIES, "{}", memory.order.len());
    }

    #[test]
    fn calls_without_a_key_are_not_remembered() {
        assert_eq!(key("send", &json!({})), None);
        assert_eq!(key("send", &json!({"idempotencyKey": " "})), None);
        assert_eq!(key("send", &json!({"idempotencyKey": "k"})).as_deref(), Some("send:k"));
    }

    #[test]
    fn long_keys_are_told_apart_by_names_of_one_length() {
        let of = |text: String| key("send", &json!({"idempotencyKey": text})).unwrap();
        let short = of("x".repeat(limits::IDEMPOTENCY_KEY_BYTES));
        assert_eq!(short.len(), "send:".len() + limits::IDEMPOTENCY_KEY_BYTES);
        let (one, two) = (of("x".repeat(limits::IDEMPOTENCY_KEY_BYTES + 1)), of("x".repeat(1_000_000)));
        assert!(one != two && one.len() == two.len() && one.len() < 100, "{one} {two}");
        assert_eq!(one, of("x".repeat(limits::IDEMPOTENCY_KEY_BYTES + 1)));
    }
}
