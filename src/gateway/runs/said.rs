//! What a run has said so far, and when it is told: pieces go out as `agent` events, joined when they come faster than
//! clients can read, chat deltas at most once per interval (agent.md 5). Pure; the clock comes in.

use std::time::Duration;

use crate::limits;
use crate::session::prompt;

/// What a chat delta carries.
#[derive(Debug, PartialEq, Eq)]
pub struct Delta<'a> {
    /// What was added since the last one.
    pub added: &'a str,
    /// A new message began: `added` is all of it.
    pub replace: bool,
    /// The whole text of the current message.
    pub whole: &'a str,
}

/// Whether a chat delta goes out now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Now.
    Now,
    /// After this long; nobody has set a timer yet.
    After(Duration),
    /// A timer is set already.
    Waiting,
}

/// The text of the assistant's current message and the counters of the run's events.
#[derive(Debug, Default)]
pub struct Said {
    seq: u64,
    reserved: bool,
    text: String,
    thought: String,
    shown: usize,
    told: usize,
    fed: usize,
    began: bool,
    last: Option<Duration>,
    held: bool,
    paid_until: Duration,
}

impl Said {
    /// The number of the next event of this run; all streams count together.
    pub fn next_seq(&mut self) -> u64 {
        if !std::mem::take(&mut self.reserved) {
            self.seq += 1;
        }
        self.seq
    }

    /// Takes the number of the next event for a `chat` event that comes before it: they share it.
    pub fn reserve(&mut self) {
        self.next_seq();
        self.reserved = true;
    }

    /// The number of the last event.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// More of the current message.
    pub fn add(&mut self, delta: &str) {
        self.text.push_str(delta);
    }

    /// The current message is complete; the next piece begins another.
    pub fn next_message(&mut self) {
        self.text.clear();
        self.thought.clear();
        (self.shown, self.told, self.fed) = (0, 0, 0);
        self.began = true;
    }

    /// The whole text of the current message.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// More of the model's thoughts; all of the current ones.
    pub fn think(&mut self, delta: &str) -> &str {
        self.thought.push_str(delta);
        &self.thought
    }

    /// Whether the current message is, or may still become, one that says nothing to people.
    pub fn is_hidden(&self, complete: bool) -> bool {
        match complete {
            true => prompt::spoken(&self.text).is_none(),
            false => prompt::may_be_silence(&self.text),
        }
    }

    /// Whether the next piece may go out now, which counts for the following ones; else it waits for the next chat delta.
    pub fn may_show(&mut self, now: Duration) -> bool {
        if self.paid_until.saturating_sub(now) > limits::AGENT_TEXT_AHEAD {
            return false;
        }
        let bytes = self.text.len() + limits::AGENT_EVENT_BYTES;
        let cost = u32::try_from(bytes)
            .map_or(Duration::MAX, |bytes| (Duration::from_secs(1) * bytes) / limits::AGENT_TEXT_RATE);
        self.paid_until = self.paid_until.max(now).saturating_add(cost);
        true
    }

    /// Whether something was added since the last piece that went out.
    pub fn has_more(&self) -> bool {
        self.shown < self.text.len()
    }

    /// What was added since the last piece that went out, and the whole text.
    pub fn show(&mut self) -> (&str, &str) {
        let from = std::mem::replace(&mut self.shown, self.text.len());
        (self.text.get(from..).unwrap_or_default(), &self.text)
    }

    /// What was added since a program was last told.
    pub fn feed(&mut self) -> String {
        let from = std::mem::replace(&mut self.fed, self.text.len());
        self.text.get(from..).unwrap_or_default().to_string()
    }

    /// Whether a chat delta may go out, after something was added.
    pub fn due(&mut self, now: Duration) -> Due {
        if self.held {
            return Due::Waiting;
        }
        let wait = self.last.map_or(Duration::ZERO, |last| (last + limits::CHAT_DELTA).saturating_sub(now));
        if wait.is_zero() {
            return Due::Now;
        }
        self.held = true;
        Due::After(wait)
    }

    /// The timer has come.
    pub fn release(&mut self) {
        self.held = false;
    }

    /// The delta to send now, if there is something new.
    pub fn take(&mut self, now: Duration) -> Option<Delta<'_>> {
        if self.told >= self.text.len() {
            return None;
        }
        let from = std::mem::replace(&mut self.told, self.text.len());
        let replace = std::mem::take(&mut self.began);
        self.last = Some(now);
        let added = self.text.get(from..).unwrap_or_default();
        Some(Delta { added, replace, whole: &self.text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_first_piece_goes_at_once_and_the_next_after_the_interval() {
        let mut said = Said::default();
        said.add("Hel");
        assert_eq!(said.due(ms(0)), Due::Now);
        assert_eq!(said.take(ms(0)), Some(Delta { added: "Hel", replace: false, whole: "Hel" }));
        said.add("lo");
        assert_eq!(said.due(ms(100)), Due::After(ms(50)));
        said.add("!");
        assert_eq!(said.due(ms(120)), Due::Waiting);
        said.release();
        assert_eq!(said.take(ms(150)), Some(Delta { added: "lo!", replace: false, whole: "Hello!" }));
        assert_eq!(said.take(ms(150)), None);
    }

    #[test]
    fn a_burst_is_told_in_fewer_and_larger_pieces() {
        let mut said = Said::default();
        let mut told = 0;
        let mut pieces = 0;
        for _ in 0..500 {
            said.add("word ");
            if said.may_show(ms(7)) {
                told += said.show().1.len() + limits::AGENT_EVENT_BYTES;
                pieces += 1;
            }
        }
        let ahead = 48 * 1024;
        assert!(pieces > 50 && told > ahead - 4096 && told < ahead + 4096, "{pieces} pieces, {told} bytes");
        assert!(said.has_more() && !said.may_show(ms(7)) && said.may_show(ms(57)));
    }

    #[test]
    fn pieces_at_the_pace_of_a_model_all_go_out() {
        let mut said = Said::default();
        for n in 0..1000 {
            said.add("word ");
            assert!(said.may_show(ms(n * 10)), "piece {n}");
        }
    }

    #[test]
    fn what_may_be_silence_is_held_back() {
        let mut said = Said::default();
        said.add("NO");
        assert!(said.is_hidden(false) && !said.is_hidden(true));
        said.add(" way");
        assert!(!said.is_hidden(false));
        assert_eq!(said.show(), ("NO way", "NO way"));
        said.next_message();
        said.add("NO_REPLY");
        assert!(said.is_hidden(false) && said.is_hidden(true));
    }

    #[test]
    fn a_new_message_replaces_the_old_one() {
        let mut said = Said::default();
        said.add("one");
        said.take(ms(0));
        said.next_message();
        assert_eq!(said.take(ms(500)), None);
        said.add("two");
        assert_eq!(said.take(ms(500)), Some(Delta { added: "two", replace: true, whole: "two" }));
        said.add("!");
        assert_eq!(said.take(ms(900)), Some(Delta { added: "!", replace: false, whole: "two!" }));
    }
}
