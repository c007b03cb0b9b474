//! The memory of answered calls: a client that repeats a call with the same idempotency key gets the
//! first answer again instead of a second effect (protocol.md 6.4). Pure; the clock comes in.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use crate::limits;
use crate::protocol::errors::WireError;

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
    entries: HashMap<String, (u64, Remembered)>,
    /// Keys in the order of their time; entries that were renewed stand in it twice.
    order: VecDeque<(u64, String)>,
}

/// The name under which a call is remembered, if it carries a key.
pub fn key(method: &str, params: &Value) -> Option<String> {
    let key = params.get("idempotencyKey")?.as_str()?.trim();
    (!key.is_empty()).then(|| format!("{method}:{key}"))
}

impl Memory {
    /// What is known of this call.
    pub fn recall(&self, key: &str, now_ms: u64) -> Option<&Remembered> {
        let (since, remembered) = self.entries.get(key)?;
        (now_ms.saturating_sub(*since) <= ttl_ms()).then_some(remembered)
    }

    /// Remembers a call, or how it ended; the oldest gives way to the newest.
    pub fn note(&mut self, key: String, remembered: Remembered, now_ms: u64) {
        self.sweep(now_ms);
        while self.entries.len() >= limits::IDEMPOTENCY_ENTRIES && !self.entries.contains_key(&key) {
            let Some((since, oldest)) = self.order.pop_front() else { break };
            self.forget(&oldest, since);
        }
        self.order.push_back((now_ms, key.clone()));
        self.entries.insert(key, (now_ms, remembered));
        // Renewed entries leave their old place behind: a client that repeats one call must not make the
        // list grow for as long as entries last.
        if self.order.len() > 2 * limits::IDEMPOTENCY_ENTRIES {
            let entries = &self.entries;
            self.order.retain(|(since, key)| entries.get(key).is_some_and(|(noted, _)| noted == since));
        }
    }

    /// Forgets a call that had no effect after all.
    pub fn drop(&mut self, key: &str) {
        self.entries.remove(key);
    }

    /// Forgets what is too old.
    pub fn sweep(&mut self, now_ms: u64) {
        while let Some((since, _)) = self.order.front() {
            if now_ms.saturating_sub(*since) <= ttl_ms() {
                return;
            }
            if let Some((since, key)) = self.order.pop_front() {
                self.forget(&key, since);
            }
        }
    }

    /// Removes an entry unless it was renewed since.
    fn forget(&mut self, key: &str, since: u64) {
        if self.entries.get(key).is_some_and(|(noted, _)| *noted == since) {
            self.entries.remove(key);
        }
    }
}

fn ttl_ms() -> u64 {
    super::health::millis(limits::IDEMPOTENCY)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ended(n: u64) -> Remembered {
        Remembered::Ended(Ok(json!({"n": n})))
    }

    #[test]
    fn remembers_for_five_minutes() {
        let mut memory = Memory::default();
        memory.note("send:a".into(), ended(1), 1000);
        assert_eq!(memory.recall("send:a", 301_000), Some(&ended(1)));
        assert_eq!(memory.recall("send:a", 301_001), None);
        memory.sweep(301_001);
        assert!(memory.entries.is_empty() && memory.order.is_empty());
    }

    #[test]
    fn a_renewed_entry_counts_from_its_renewal() {
        let mut memory = Memory::default();
        memory.note("agent:a".into(), Remembered::Running(None), 0);
        memory.note("agent:a".into(), ended(2), 200_000);
        memory.sweep(301_000);
        assert_eq!(memory.recall("agent:a", 301_000), Some(&ended(2)));
    }

    #[test]
    fn holds_no_more_than_the_limit() {
        let mut memory = Memory::default();
        for n in 0..limits::IDEMPOTENCY_ENTRIES as u64 + 10 {
            memory.note(format!("send:{n}"), ended(n), n);
        }
        assert_eq!(memory.entries.len(), limits::IDEMPOTENCY_ENTRIES);
        assert_eq!(memory.recall("send:0", 2000), None);
        assert_eq!(memory.recall("send:10", 2000), Some(&ended(10)));
    }

    #[test]
    fn a_call_that_is_renewed_for_ever_takes_no_more_room() {
        let mut memory = Memory::default();
        for n in 0..limits::IDEMPOTENCY_ENTRIES as u64 * 10 {
            memory.note("agent:a".into(), Remembered::Running(None), n);
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
}
