//! What happens to a message while its session's turn still runs (agent.md 6): the mode and its numbers, from the
//! message, the session's switches, the channel, the configuration. Pure; who waits for what is `gateway::runs`.

use std::time::Duration;

use serde_json::Value;

use crate::limits;
use crate::store::session::entry::Entry;

use super::member::{at, number, text};

/// What becomes of the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It waits with the others that wait; they are one turn.
    #[default]
    Collect,
    /// It waits for a turn of its own.
    Followup,
    /// The running turn hears it after its next tool; otherwise it waits for a turn of its own.
    Steer,
    /// The running turn hears it, and it gets a turn of its own.
    SteerBacklog,
    /// The running turn is stopped, and those that wait; this one runs.
    Interrupt,
}

impl Mode {
    /// Names as stored, with other spellings people and the original use.
    const NAMES: [(Mode, &str, &[&str]); 5] = [
        (Mode::Collect, "collect", &["coalesce"]),
        (Mode::Followup, "followup", &["follow-up", "follow-ups", "followups"]),
        (Mode::Steer, "steer", &["steering", "queue", "queued"]),
        (Mode::SteerBacklog, "steer-backlog", &["steer+backlog", "steer_backlog"]),
        (Mode::Interrupt, "interrupt", &["interrupts", "abort"]),
    ];

    /// The mode of that name.
    pub fn parse(word: &str) -> Option<Mode> {
        let word = word.trim().to_lowercase();
        let found = Mode::NAMES.iter().find(|(_, name, others)| *name == word || others.contains(&word.as_str()));
        found.map(|(mode, ..)| *mode)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Mode::NAMES.iter().find(|(mode, ..)| *mode == self).map_or("", |(_, name, _)| name)
    }
}

/// What goes when too many wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest goes; the turn is told one line of it.
    #[default]
    Summarize,
    /// The oldest goes.
    Old,
    /// The new one is refused.
    New,
}

impl Overflow {
    /// The rule of that name.
    pub fn parse(word: &str) -> Option<Overflow> {
        match word.trim().to_lowercase().as_str() {
            "summarize" | "summary" => Some(Overflow::Summarize),
            "old" | "oldest" => Some(Overflow::Old),
            "new" | "newest" => Some(Overflow::New),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Overflow::Summarize => "summarize",
            Overflow::Old => "old",
            Overflow::New => "new",
        }
    }
}

/// The rules for one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What becomes of it.
    pub mode: Mode,
    /// Silence that is waited for before what waits becomes a turn.
    pub debounce: Duration,
    /// Messages that may wait in a session.
    pub cap: usize,
    /// What goes beyond.
    pub overflow: Overflow,
}

impl Rules {
    /// The rules: the message's own mode, else the session's, else the channel's, else everybody's.
    pub fn of(config: &Value, entry: Option<&Entry>, channel: &str, own: Option<&str>) -> Rules {
        let queue = at(at(config, "messages"), "queue");
        let switch = |name: &str| entry.and_then(|entry| entry.text(name));
        let count = |name: &str| entry.and_then(|entry| entry.number(name));
        let by_channel = text(at(queue, "byChannel"), channel).and_then(Mode::parse);
        let mode = own
            .and_then(Mode::parse)
            .or_else(|| switch("queueMode").and_then(|word| Mode::parse(&word)))
            .or(by_channel)
            .or_else(|| text(queue, "mode").and_then(Mode::parse));
        let overflow = switch("queueDrop").and_then(|word| Overflow::parse(&word));
        let debounce = count("queueDebounceMs")
            .or_else(|| number(at(queue, "debounceMsByChannel"), channel))
            .or_else(|| number(queue, "debounceMs"));
        let cap = count("queueCap").or_else(|| number(queue, "cap")).and_then(|cap| usize::try_from(cap).ok());
        Rules {
            mode: mode.unwrap_or_default(),
            debounce: debounce.map_or(limits::QUEUE_DEBOUNCE, Duration::from_millis).min(limits::QUEUE_DEBOUNCE_MAX),
            cap: cap.unwrap_or(limits::QUEUE_CAP).clamp(1, limits::QUEUE_CAP_MAX),
            overflow: overflow.or_else(|| text(queue, "drop").and_then(Overflow::parse)).unwrap_or_default(),
        }
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        let (mode, drop) = (self.mode.name(), self.overflow.name());
        format!("{mode}, wait {} ms, at most {}, drop {drop}", self.debounce.as_millis(), self.cap)
    }
}

/// Messages that had to go because too many waited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    count: usize,
    lines: Vec<String>,
}

impl Lost {
    /// One more; the first words of it are kept.
    pub fn add(&mut self, text: &str) {
        self.count += 1;
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.lines.push(super::preview::cut(&words, limits::QUEUE_LINE_CHARS));
        if self.lines.len() > limits::QUEUE_CAP {
            self.lines.remove(0);
        }
    }

    /// Takes over what another turn would have told.
    pub fn take(&mut self, other: &mut Lost) {
        self.count += std::mem::take(&mut other.count);
        let mut lines = std::mem::take(&mut other.lines);
        lines.append(&mut self.lines);
        let surplus = lines.len().saturating_sub(limits::QUEUE_CAP);
        self.lines = lines.split_off(surplus);
    }

    /// What the turn is told, if any had to go.
    pub fn told(&self) -> Option<String> {
        (self.count > 0).then(|| {
            let lines: Vec<String> = self.lines.iter().map(|line| format!("- {line}")).collect();
            format!(
                "System: {} earlier messages did not fit into the queue. They began:\n{}",
                self.count,
                lines.join("\n")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::session::object::Object;

    #[test]
    fn the_nearest_word_counts() {
        let config = json!({"messages": {"queue": {"mode": "followup", "byChannel": {"webchat": "steer+backlog"},
            "debounceMs": 5, "cap": 3, "drop": "old"}}});
        let entry = Entry::from(Object::parse(r#"{"queueMode":"abort","queueCap":7}"#).unwrap());
        let of = |entry, channel, own| Rules::of(&config, entry, channel, own);
        assert_eq!(of(None, "telegram", None).mode, Mode::Followup);
        assert_eq!(of(None, "webchat", None).mode, Mode::SteerBacklog);
        assert_eq!(of(Some(&entry), "webchat", None).mode, Mode::Interrupt);
        assert_eq!(of(Some(&entry), "webchat", Some("steer")).mode, Mode::Steer);
        assert_eq!(of(Some(&entry), "x", None).describe(), "interrupt, wait 5 ms, at most 7, drop old");
        assert_eq!(
            Rules::of(&Value::Null, None, "x", None).describe(),
            "collect, wait 1000 ms, at most 20, drop summarize"
        );
    }

    #[test]
    fn names_are_read_back_and_numbers_bounded() {
        assert!(Mode::NAMES.iter().all(|(mode, name, _)| Mode::parse(name) == Some(*mode) && mode.name() == *name));
        for rule in [Overflow::Summarize, Overflow::Old, Overflow::New] {
            assert_eq!(Overflow::parse(rule.name()), Some(rule));
        }
        let wild = json!({"messages": {"queue": {"mode": "fly", "debounceMs": 99_999_999, "cap": 0}}});
        let rules = Rules::of(&wild, None, "x", None);
        assert_eq!((rules.mode, rules.debounce, rules.cap), (Mode::Collect, limits::QUEUE_DEBOUNCE_MAX, 1));
        let many = json!({"messages": {"queue": {"cap": 1_000_000}}});
        assert_eq!(Rules::of(&many, None, "x", None).cap, limits::QUEUE_CAP_MAX);
    }

    #[test]
    fn what_had_to_go_is_told_in_bounded_lines() {
        let (mut lost, mut older) = (Lost::default(), Lost::default());
        assert_eq!(lost.told(), None);
        lost.add("second\nline");
        older.add(&"x".repeat(500));
        lost.take(&mut older);
        let told = lost.told().unwrap();
        assert!(told.starts_with("System: 2 earlier messages") && told.ends_with("\n- second line"), "{told}");
        let line = told.lines().nth(1).unwrap();
        assert_eq!(line.chars().count(), "- ".len() + limits::QUEUE_LINE_CHARS, "{line}");
        (0..100).for_each(|_| lost.add("more"));
        assert_eq!((lost.lines.len(), lost.count), (limits::QUEUE_CAP, 102));
    }
}
