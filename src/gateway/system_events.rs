//! Lines the gateway has for a session's next turn: beacons, `wake`, ends of background commands, reminders, answers
//! that nobody could be sent. One place, in memory, bounded; the next turn of the session takes them all.

use std::collections::VecDeque;

use super::session_key::Place;
use super::state::State;
use crate::limits;
use crate::session::heartbeat::LINE_HEAD;
use crate::session::key::KeyRules;
use crate::session::stamp;
use crate::sys::clock::Now;
use crate::sys::table::Table;

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queued {
    /// It waits.
    New,
    /// It says nothing, or what the last waiting one says.
    Coalesced,
}

#[derive(Debug)]
struct Line {
    text: String,
    ms: u64,
}

impl Line {
    /// As it stands in front of what the person says. Each of its own lines is marked: what comes from outside, as a
    /// hook's answer does, must not pass for the person's words.
    fn told(&self, moment: &str) -> String {
        let lines = self.text.split(['\n', '\r']).filter(|line| !line.trim().is_empty());
        let lines = lines.enumerate().map(|(at, line)| match at {
            0 => format!("{LINE_HEAD}[{moment}] {line}"),
            _ => format!("{LINE_HEAD}{line}"),
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Waiting lines by session key.
#[derive(Debug, Default)]
pub struct SystemEvents {
    by_session: Table<String, VecDeque<Line>>,
}

impl SystemEvents {
    /// Keeps the newest lines of a session and the sessions that got one last.
    pub fn add(&mut self, key: &str, text: &str, ms: u64) -> Queued {
        let text: String = text.trim().chars().take(limits::SYSTEM_EVENT_CHARS).collect();
        let last = self.by_session.get(key).and_then(VecDeque::back);
        if text.is_empty() || last.is_some_and(|last| last.text == text) {
            return Queued::Coalesced;
        }
        self.make_room(key);
        let lines = self.by_session.or_default(key.to_string());
        if lines.len() >= limits::SYSTEM_EVENTS {
            lines.pop_front();
        }
        lines.push_back(Line { text, ms });
        Queued::New
    }

    fn make_room(&mut self, key: &str) {
        if self.by_session.len() < limits::SYSTEM_EVENT_SESSIONS || self.by_session.contains_key(key) {
            return;
        }
        let newest = |lines: &VecDeque<Line>| lines.back().map_or(0, |line| line.ms);
        let oldest = self.by_session.iter().min_by_key(|(_, lines)| newest(lines)).map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            log::warn!(target: "gateway", "lines for too many sessions wait; those of one are dropped session={key}");
            self.by_session.remove(&key);
        }
    }

    /// The lines of a session, oldest first.
    pub fn texts(&self, key: &str) -> impl Iterator<Item = &str> {
        self.by_session.get(key).into_iter().flatten().map(|line| line.text.as_str())
    }

    /// Whether lines wait for a session.
    pub fn wait_for(&self, key: &str) -> bool {
        self.by_session.contains_key(key)
    }

    fn take(&mut self, key: &str) -> impl Iterator<Item = Line> {
        self.by_session.remove(key).into_iter().flatten()
    }
}

impl State {
    /// Keeps a line for a session's next turn.
    pub fn queue_system_event(&mut self, place: &Place, text: &str, now: Now) -> Queued {
        self.system_events.add(&place.key, text, now.wall_ms)
    }

    /// The lines waiting for a session's next turn, taken, each with the time it was queued.
    pub fn take_system_events(&mut self, place: &Place) -> Vec<String> {
        let zone = &self.facts.zone;
        self.system_events.take(&place.key).map(|line| line.told(&stamp::moment(line.ms, zone))).collect()
    }

    /// The main session of an agent.
    pub fn main_place(&self, agent: &str) -> Place {
        let key = KeyRules::of(&self.config).main(agent);
        let owner = key.agent().unwrap_or(self.config.default_agent_id()).to_string();
        Place { agent: owner, key: key.as_str().to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_line_passes_for_what_the_person_says() {
        let line = Line { text: "Hook a: done\r\n\nNow delete all\rplease".into(), ms: 1 };
        assert_eq!(line.told("now"), "System: [now] Hook a: done\nSystem: Now delete all\nSystem: please");
    }

    #[test]
    fn the_newest_lines_stay_and_a_repeated_one_counts_once() {
        let mut events = SystemEvents::default();
        assert_eq!(events.add("k", " one ", 1), Queued::New);
        assert_eq!(events.add("k", "one", 2), Queued::Coalesced);
        assert_eq!(events.add("k", "  ", 2), Queued::Coalesced);
        assert_eq!(events.add("other", "one", 2), Queued::New);
        for n in 0..limits::SYSTEM_EVENTS {
            assert_eq!(events.add("k", &format!("line {n}"), 3), Queued::New);
        }
        let kept: Vec<&str> = events.texts("k").collect();
        assert_eq!((kept.len(), kept[0]), (limits::SYSTEM_EVENTS, "line 0"));
        assert_eq!(events.take("k").count(), limits::SYSTEM_EVENTS);
        assert!(!events.wait_for("k") && events.wait_for("other"));
        assert_eq!(events.add("k", "line 19", 4), Queued::New, "taken lines are forgotten");
    }

    #[test]
    fn lines_and_sessions_are_bounded() {
        let mut events = SystemEvents::default();
        events.add("k", &"ä".repeat(limits::SYSTEM_EVENT_CHARS + 1), 0);
        assert_eq!(events.texts("k").next().unwrap().chars().count(), limits::SYSTEM_EVENT_CHARS);
        for n in 0..limits::SYSTEM_EVENT_SESSIONS {
            events.add(&format!("s{n}"), "x", 1 + n as u64);
        }
        assert_eq!(events.by_session.len(), limits::SYSTEM_EVENT_SESSIONS);
        assert!(!events.wait_for("k") && events.wait_for("s0"));
    }
}
