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
    thought_shown: usize,
    told: usize,
    fed: usize,
    /// Whether a program was told something of an earlier message.
    fed_before: bool,
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
        self.fed_before |= self.fed > 0;
        (self.shown, self.thought_shown, self.told, self.fed) = (0, 0, 0, 0);
        self.began = true;
    }

    /// The whole text of the current message.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// More of the model's thoughts; whether they may go out now, as with the text.
    pub fn think(&mut self, delta: &str, now: Duration) -> bool {
        self.thought.push_str(delta);
        self.may_repeat(self.thought.len(), now)
    }

    /// What was thought since the last piece that went out, and the whole thought; none when nothing was.
    pub fn show_thought(&mut self) -> Option<(&str, &str)> {
        let from = std::mem::replace(&mut self.thought_shown, self.thought.len());
        self.thought.get(from..).filter(|delta| !delta.is_empty()).map(|delta| (delta, self.thought.as_str()))
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
        self.may_repeat(self.text.len(), now)
    }

    /// Clients read the whole text in each event (the apps show it) and add up the additions (programs do), so an event
    /// cannot be shorter, only rarer: without this an answer of 100 KB in 20,000 pieces is 1 GB for each client.
    fn may_repeat(&mut self, whole: usize, now: Duration) -> bool {
        if self.paid_until.saturating_sub(now) > limits::AGENT_TEXT_AHEAD {
            return false;
        }
        self.paid_until = self.paid_until.max(now).saturating_add(cost(whole));
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

    /// What was added since a program was last told; all of it together reads like the texts of a whole answer.
    pub fn feed(&mut self) -> String {
        let from = std::mem::replace(&mut self.fed, self.text.len());
        let more = self.text.get(from..).unwrap_or_default();
        let gap = if from == 0 && self.fed_before && !more.is_empty() { "\n\n" } else { "" };
        format!("{gap}{more}")
    }

    /// Whether a chat delta may go out, after something was added.
    pub fn due(&mut self, now: Duration) -> Due {
        if self.held {
            return Due::Waiting;
        }
        // a long text is told twice each time, and the rate holds for that, too
        let interval = limits::CHAT_DELTA.max(cost(self.text.len()) * 2);
        let wait = self.last.map_or(Duration::ZERO, |last| (last + interval).saturating_sub(now));
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

/// How long an event with that much text takes at the rate.
fn cost(whole: usize) -> Duration {
    let bytes = u32::try_from(whole.saturating_add(limits::AGENT_EVENT_BYTES)).unwrap_or(u32::MAX);
    (Duration::from_secs(1) * bytes) / limits::AGENT_TEXT_RATE
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
    fn a_long_answer_is_repeated_at_the_rate_and_nothing_of_it_is_lost() {
        let (mut said, mut bytes, mut added) = (Said::default(), 0, String::new());
        let whole = "x".repeat(100_000);
        for n in 0..20_000 {
            said.add(whole.get(..5).unwrap());
            let now = ms(n);
            let due = said.due(now) == Due::Now;
            if let Some(delta) = due.then(|| said.take(now)).flatten() {
                bytes += delta.whole.len();
            }
            if said.may_show(now) || due {
                let (delta, text) = said.show();
                bytes += text.len();
                added.push_str(delta);
            }
            said.release();
        }
        added.push_str(said.show().0);
        assert_eq!(added, whole);
        // twenty seconds, two kinds of events
        assert!(bytes < 20 * 3 * 1024 * 1024, "{bytes}");
        let mut long = Said::default();
        long.add(&"x".repeat(limits::MODEL_TEXT_BYTES));
        assert_eq!(long.due(ms(0)), Due::Now);
        long.take(ms(0));
        long.add("x");
        assert!(matches!(long.due(ms(1)), Due::After(wait) if wait > Duration::from_secs(15)));
    }

    #[test]
    fn thoughts_are_told_like_text_in_fewer_and_larger_pieces() {
        let (mut said, mut added, mut pieces) = (Said::default(), String::new(), 0);
        for _ in 0..2000 {
            if said.think("hmm ", ms(7)) {
                added.push_str(said.show_thought().unwrap().0);
                pieces += 1;
            }
        }
        let (rest, whole) = said.show_thought().unwrap();
        assert!(pieces > 50 && pieces < 200, "{pieces}");
        assert_eq!((added + rest, whole.len()), ("hmm ".repeat(2000), 8000));
        assert!(said.show_thought().is_none());
        said.next_message();
        assert!(said.think("new", ms(9000)));
        assert_eq!(said.show_thought(), Some(("new", "new")));
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
    fn a_program_reads_messages_with_a_gap_between_them() {
        let mut said = Said::default();
        said.next_message();
        said.add("one");
        assert_eq!((said.feed().as_str(), said.feed().as_str()), ("one", ""));
        said.next_message();
        assert_eq!(said.feed(), "");
        said.add("two");
        assert_eq!(said.feed(), "\n\ntwo");
        said.add("!");
        assert_eq!(said.feed(), "!");
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
