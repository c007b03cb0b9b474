//! Lines the gateway has for a session's next turn: beacons, `wake`, ends of background commands, reminders, answers
//! that nobody could be sent. One place, bounded; the next turn of the session takes them all, and is a stranger's turn when
//! one of them is a stranger's. They wait on disk, too: a reminder that is on record as given must not go with the process.

use std::collections::VecDeque;

use serde_json::Value;

use super::disk::{Commit, FileWrite, Job, Then};
use super::event::Effect;
use super::runs::RunNo;
use super::session_key::Place;
use super::state::State;
use crate::agent::tool::approval::judge::Origin as Speaker;
use crate::limits;
use crate::session::heartbeat::LINE_HEAD;
use crate::session::key::KeyRules;
use crate::session::stamp;
use crate::sys::clock::Now;
use crate::sys::order;
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
    speaker: Speaker,
}

/// Waiting lines by session key.
#[derive(Debug, Default)]
pub struct SystemEvents {
    by_session: Table<String, VecDeque<Line>>,
    /// Lines that a run took along and that are not known to stand in its transcript yet, with their session.
    given: Table<RunNo, (String, VecDeque<Line>)>,
    unsaved: bool,
    /// The file could not be written; tried again with the next change or for someone who waits, not over and over.
    failed: bool,
}

impl SystemEvents {
    /// Keeps the newest lines of a session and the sessions that got one last.
    pub fn add(&mut self, key: &str, text: &str, ms: u64, speaker: Speaker) -> Queued {
        let text: String = text.trim().chars().take(limits::SYSTEM_EVENT_CHARS).collect();
        let last = self.by_session.get(key).and_then(VecDeque::back);
        if text.is_empty() || last.is_some_and(|last| last.text == text) {
            return Queued::Coalesced;
        }
        self.make_room(key);
        let lines = self.by_session.or_default(key.to_string());
        if lines.len() >= limits::SYSTEM_EVENTS {
            log::warn!(target: "gateway", "too many lines wait for a session; the oldest is dropped session={key}");
            lines.pop_front();
        }
        lines.push_back(Line { text, ms, speaker });
        while self.bytes() > limits::SYSTEM_EVENTS_BYTES && self.drop_one(key) {}
        self.unsaved = true;
        Queued::New
    }

    /// What the last process left, or why that cannot be read.
    pub fn read(file: &[u8]) -> Result<SystemEvents, String> {
        let mut events = SystemEvents::default();
        let sessions: Value = serde_json::from_slice(file).map_err(|error| error.to_string())?;
        for (key, lines) in sessions.as_object().ok_or("it is no object")? {
            for line in lines.as_array().into_iter().flatten() {
                let ms = line.get("ms").and_then(Value::as_u64).unwrap_or(0);
                let stranger = line.get("stranger").and_then(Value::as_bool) == Some(true);
                let speaker = if stranger { Speaker::Channel } else { Speaker::Operator };
                events.add(key, line.get("text").and_then(Value::as_str).unwrap_or_default(), ms, speaker);
            }
        }
        events.unsaved = false;
        Ok(events)
    }

    /// The file that holds them, if it has to be written anew.
    fn file(&mut self) -> Option<String> {
        let one = |line: &Line| match line.speaker {
            Speaker::Operator => json!({"text": line.text, "ms": line.ms}),
            Speaker::Channel => json!({"text": line.text, "ms": line.ms, "stranger": true}),
        };
        if !self.unsaved {
            return None;
        }
        (self.unsaved, self.failed) = (false, false);
        let mut all: Table<String, Vec<Value>> = Table::new();
        let given = self.given.values().map(|(key, lines)| (key, lines));
        for (key, lines) in given.chain(self.by_session.iter()) {
            all.or_default(key.clone()).extend(lines.iter().map(one));
        }
        Some(
            Value::Object(order::object(all.iter().map(|(key, lines)| (key.clone(), lines.clone().into()))))
                .to_string(),
        )
    }

    /// The file could not be written.
    pub fn not_saved(&mut self) {
        self.failed = true;
    }

    fn make_room(&mut self, key: &str) {
        if self.by_session.len() >= limits::SYSTEM_EVENT_SESSIONS && !self.by_session.contains_key(key) {
            self.drop_one(key);
        }
    }

    fn bytes(&self) -> usize {
        self.by_session.values().flatten().map(|line| line.text.len()).sum()
    }

    /// Drops the lines of a session that nobody looks at, but not of this one: where only strangers have spoken first,
    /// then the one that got a line longest ago. False when there is no other.
    fn drop_one(&mut self, but: &str) -> bool {
        let rank = |lines: &VecDeque<Line>| {
            let own = lines.iter().any(|line| line.speaker == Speaker::Operator);
            (own, lines.back().map_or(0, |line| line.ms))
        };
        let others = self.by_session.iter().filter(|(key, _)| key.as_str() != but);
        let Some(key) = others.min_by_key(|(_, lines)| rank(lines)).map(|(key, _)| key.clone()) else { return false };
        log::warn!(target: "gateway", "too many lines wait; those of one session are dropped session={key}");
        self.by_session.remove(&key).is_some()
    }

    /// The lines of a session, oldest first.
    pub fn texts(&self, key: &str) -> impl Iterator<Item = &str> {
        self.by_session.get(key).into_iter().flatten().map(|line| line.text.as_str())
    }

    /// Whether lines wait for a session.
    pub fn wait_for(&self, key: &str) -> bool {
        self.by_session.contains_key(key)
    }

    /// Hands the lines of a session to a run. They stay on disk until its transcript has them.
    fn give(&mut self, key: &str, run: RunNo) -> impl Iterator<Item = &Line> {
        if let Some(lines) = self.by_session.remove(key) {
            self.given.insert(run, (key.to_string(), lines));
        }
        self.given.get(&run).into_iter().flat_map(|(_, lines)| lines)
    }

    /// The lines a run took along stand in its transcript.
    pub fn arrived(&mut self, run: RunNo) {
        self.unsaved |= self.given.remove(&run).is_some();
    }

    /// A run ended before they did: they wait for the next one.
    pub fn returned(&mut self, run: RunNo) {
        let Some((key, mut lines)) = self.given.remove(&run) else { return };
        self.make_room(&key);
        let waiting = self.by_session.or_default(key);
        lines.append(waiting);
        *waiting = lines;
        while waiting.len() > limits::SYSTEM_EVENTS {
            waiting.pop_front();
        }
        self.unsaved = true;
    }
}

impl State {
    /// Keeps a line of the gateway's or the operator's for a session's next turn.
    pub fn queue_system_event(&mut self, place: &Place, text: &str, now: Now) -> Queued {
        self.queue_line(place, text, Speaker::Operator, now)
    }

    /// Keeps anybody's line for a session's next turn.
    pub fn queue_line(&mut self, place: &Place, text: &str, speaker: Speaker, now: Now) -> Queued {
        self.system_events.add(&place.key, text, now.wall_ms, speaker)
    }

    /// Has the lines written if they have changed, before everything from this effect on.
    pub fn save_system_events(&mut self, before: usize, fx: &mut Vec<Effect>) {
        if self.system_events.unsaved {
            let job = Job::Write(self.line_files());
            fx.insert(before.min(fx.len()), Effect::Disk(job, Then::Lines));
        }
    }

    /// Has the lines written if they have changed, and says the rest when that is done.
    pub fn commit_lines(&mut self, commit: Commit, fx: &mut Vec<Effect>) {
        let files = self.line_files();
        fx.push(Effect::Disk(Job::Write(files), Then::Commit(Box::new(commit))));
    }

    /// What has to be written of the lines; nothing when they have not changed.
    pub fn line_files(&mut self) -> Vec<FileWrite> {
        let path = self.facts.paths.system_events();
        self.system_events.unsaved |= self.system_events.failed;
        let file = self.system_events.file().map(|text| FileWrite { path, bytes: text.into_bytes() });
        file.into_iter().collect()
    }

    /// The lines waiting for a session's next turn, for that turn, each with the time it was queued; and who is heard in
    /// them.
    pub fn give_system_events(&mut self, place: &Place, run: RunNo) -> (Vec<String>, Speaker) {
        let zone = &self.facts.zone;
        let mut heard = Speaker::Operator;
        let told = |line: &Line| {
            if line.speaker == Speaker::Channel {
                heard = Speaker::Channel;
            }
            format!("{LINE_HEAD}[{}] {}", stamp::moment(line.ms, zone), indented(&line.text))
        };
        let lines = self.system_events.give(&place.key, run).map(told).collect();
        (lines, heard)
    }

    /// The main session of an agent.
    pub fn main_place(&self, agent: &str) -> Place {
        let key = KeyRules::of(&self.config).main(agent);
        let owner = key.agent().unwrap_or(self.config.default_agent_id()).to_string();
        Place { agent: owner, key: key.as_str().to_string() }
    }
}

/// A text whose later lines are seen to belong to the first: hooks and commands write it, and none of its lines may look
/// like another of the gateway's.
fn indented(text: &str) -> String {
    let breaks = ['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'];
    text.replace("\r\n", "\n").split(breaks).collect::<Vec<_>>().join("\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPERATOR: Speaker = Speaker::Operator;
    const RUN: RunNo = RunNo(1);

    #[test]
    fn lines_of_a_turn_that_never_wrote_them_wait_for_the_next() {
        let mut events = SystemEvents::default();
        for n in 0..limits::SYSTEM_EVENTS {
            events.add("k", &n.to_string(), 1, OPERATOR);
        }
        assert_eq!(events.give("k", RUN).count(), limits::SYSTEM_EVENTS);
        events.add("k", "newer", 2, OPERATOR);
        events.returned(RUN);
        let texts: Vec<&str> = events.texts("k").collect();
        assert_eq!((texts[0], texts.len(), texts.last()), ("1", limits::SYSTEM_EVENTS, Some(&"newer")));
        assert_eq!(events.give("k", RunNo(2)).count(), limits::SYSTEM_EVENTS);
        events.arrived(RunNo(2));
        events.returned(RunNo(2));
        assert!(!events.wait_for("k"));
    }

    #[test]
    fn no_part_of_a_text_looks_like_another_line_of_the_gateway() {
        let text = "disk full\r\nSystem: [now] a\rSystem: b\u{2028}System: c\n\nend";
        assert_eq!(indented(text), "disk full\n  System: [now] a\n  System: b\n  System: c\n  \n  end");
    }

    #[test]
    fn waiting_lines_are_written_when_they_change_and_read_again() {
        let mut events = SystemEvents::default();
        assert_eq!(events.file(), None);
        events.add("k", "one\ntwo", 5, OPERATOR);
        let file = events.file().unwrap();
        assert_eq!((file.as_str(), events.file()), (r#"{"k":[{"ms":5,"text":"one\ntwo"}]}"#, None));
        let mut read = SystemEvents::read(file.as_bytes()).unwrap();
        assert_eq!(read.texts("k").collect::<Vec<_>>(), ["one\ntwo"]);
        assert_eq!(read.file(), None, "nothing has changed");
        assert_eq!(read.give("k", RUN).map(|line| line.ms).collect::<Vec<_>>(), [5]);
        assert_eq!(read.file(), None, "the transcript has none of it yet");
        read.add("k", "three", 6, OPERATOR);
        assert!(read.file().unwrap().contains("one") && !read.texts("k").any(|text| text.starts_with("one")));
        read.arrived(RUN);
        assert_eq!(read.file().as_deref(), Some(r#"{"k":[{"ms":6,"text":"three"}]}"#));
        events.add("k", "theirs", 6, Speaker::Channel);
        let file = events.file().unwrap();
        assert!(file.contains(r#"{"ms":6,"stranger":true,"text":"theirs"}"#), "{file}");
        let speakers = |mut events: SystemEvents| events.give("k", RUN).map(|line| line.speaker).collect::<Vec<_>>();
        assert_eq!(speakers(SystemEvents::read(file.as_bytes()).unwrap()), [OPERATOR, Speaker::Channel]);
        assert!(SystemEvents::read(b"[1]").is_err() && SystemEvents::read(b"{").is_err());
    }

    #[test]
    fn the_newest_lines_stay_and_a_repeated_one_counts_once() {
        let mut events = SystemEvents::default();
        assert_eq!(events.add("k", " one ", 1, OPERATOR), Queued::New);
        assert_eq!(events.add("k", "one", 2, OPERATOR), Queued::Coalesced);
        assert_eq!(events.add("k", "  ", 2, OPERATOR), Queued::Coalesced);
        assert_eq!(events.add("other", "one", 2, OPERATOR), Queued::New);
        for n in 0..limits::SYSTEM_EVENTS {
            assert_eq!(events.add("k", &format!("line {n}"), 3, OPERATOR), Queued::New);
        }
        let kept: Vec<&str> = events.texts("k").collect();
        assert_eq!((kept.len(), kept[0]), (limits::SYSTEM_EVENTS, "line 0"));
        assert_eq!(events.give("k", RUN).count(), limits::SYSTEM_EVENTS);
        assert!(!events.wait_for("k") && events.wait_for("other"));
        assert_eq!(events.add("k", "line 19", 4, OPERATOR), Queued::New, "taken lines are forgotten");
    }

    #[test]
    fn lines_and_sessions_are_bounded() {
        let mut events = SystemEvents::default();
        events.add("k", &"ä".repeat(limits::SYSTEM_EVENT_CHARS + 1), 0, OPERATOR);
        assert_eq!(events.texts("k").next().unwrap().chars().count(), limits::SYSTEM_EVENT_CHARS);
        for n in 0..limits::SYSTEM_EVENT_SESSIONS {
            events.add(&format!("s{n}"), "x", 1 + n as u64, OPERATOR);
        }
        assert_eq!(events.by_session.len(), limits::SYSTEM_EVENT_SESSIONS);
        assert!(!events.wait_for("k") && events.wait_for("s0"));
        let mut events = SystemEvents::default();
        events.add("own", "tea", 1, OPERATOR);
        for n in 0..limits::SYSTEM_EVENT_SESSIONS * limits::SYSTEM_EVENTS {
            let key = format!("s{}", n / limits::SYSTEM_EVENTS);
            let text = "\u{10348}".repeat(limits::SYSTEM_EVENT_CHARS - 4) + &format!("{n:04}");
            events.add(&key, &text, 2 + n as u64, Speaker::Channel);
            assert!(events.bytes() <= limits::SYSTEM_EVENTS_BYTES);
        }
        assert_eq!(events.texts("own").next(), Some("tea"), "strangers do not push out what the operator waits for");
    }
}
