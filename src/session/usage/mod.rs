//! What conversations cost: tokens, money, calls and waiting times, counted from transcripts (agent.md 28). Owns the
//! counting, line by line; [`wire`] owns the forms clients get. Nothing is estimated: what a provider did not report stays zero.

pub mod wire;

use serde_json::Value;

use crate::agent::message::Usage;
use crate::store::transcript::{Kind, Transcript};
use crate::sys::date;
use crate::sys::zone::Zone;

use super::history::parse_iso;
use super::member::{at, number, text};
use crate::sys::table::Table;

/// Days a report covers when nobody says which.
const DAYS: i64 = 30;
/// The provider of messages the gateway writes itself; nobody waited for a model there.
const GATEWAY: &str = "openclaw";

/// Days of a report, as local dates `YYYY-MM-DD`, both included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// First day.
    pub start: String,
    /// Last day.
    pub end: String,
}

impl Span {
    /// The asked days; anything that is no date counts as not said.
    pub fn of(start: Option<&str>, end: Option<&str>, now_ms: u64, zone: &Zone) -> Span {
        let end = end.filter(|day| is_day(day)).map_or_else(|| day(now_ms, zone), String::from);
        let start = start.filter(|day| is_day(day)).map_or_else(|| Span::days(DAYS, now_ms, zone).start, String::from);
        Span { start, end }
    }

    /// The last so many days, today included.
    pub fn days(days: i64, now_ms: u64, zone: &Zone) -> Span {
        let back = u64::try_from((days - 1).clamp(0, 3660) * date::DAY * 1000).unwrap_or(0);
        Span { start: day(now_ms.saturating_sub(back), zone), end: day(now_ms, zone) }
    }

    /// Everything.
    pub fn always() -> Span {
        Span { start: "0000-00-00".to_string(), end: "9999-99-99".to_string() }
    }

    /// Days it covers.
    pub fn length(&self) -> u64 {
        let at = |day: &str| parse_iso(&format!("{day}T12:00:00.000Z"));
        let (Some(start), Some(end)) = (at(&self.start), at(&self.end)) else { return 0 };
        let day = u64::try_from(date::DAY * 1000).unwrap_or(u64::MAX);
        end.checked_sub(start).map_or(0, |time| time / day + 1)
    }

    fn has(&self, day: &str) -> bool {
        self.start.as_str() <= day && day <= self.end.as_str()
    }
}

fn day(at_ms: u64, zone: &Zone) -> String {
    date::day_name(at_ms, zone.offset(date::seconds(at_ms)))
}

fn is_day(text: &str) -> bool {
    let shape = |(at, byte): (usize, u8)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
    text.len() == 10 && text.bytes().enumerate().all(shape)
}

/// Messages by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Of people.
    pub user: u64,
    /// Of the assistant.
    pub assistant: u64,
    /// Tools called.
    pub tool_calls: u64,
    /// Results of tools.
    pub tool_results: u64,
    /// Answers and results that failed.
    pub errors: u64,
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.user += other.user;
        self.assistant += other.assistant;
        self.tool_calls += other.tool_calls;
        self.tool_results += other.tool_results;
        self.errors += other.errors;
    }
}

/// Answers of one model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OfModel {
    /// Number of answers.
    pub count: u64,
    /// What they cost.
    pub usage: Usage,
}

/// Provider and model.
pub type ModelName = (String, String);

/// One day.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Day {
    /// What it cost.
    pub usage: Usage,
    /// Its messages.
    pub counts: Counts,
    /// Milliseconds from a question to each answer.
    pub waits: Vec<u64>,
    /// By model.
    pub models: Table<ModelName, OfModel>,
    /// Calls by tool.
    pub tools: Table<String, u64>,
    /// First message, milliseconds since the epoch.
    pub first_ms: Option<u64>,
    /// Last message.
    pub last_ms: Option<u64>,
}

impl Day {
    fn add(&mut self, other: &Day) {
        self.usage.add(&other.usage);
        self.counts.add(&other.counts);
        self.waits.extend(&other.waits);
        for (name, answers) in &other.models {
            let sum = self.models.or_default(name.clone());
            sum.count += answers.count;
            sum.usage.add(&answers.usage);
        }
        for (tool, count) in &other.tools {
            *self.tools.or_default(tool.clone()) += count;
        }
        self.first_ms = self.first_ms.into_iter().chain(other.first_ms).min();
        self.last_ms = self.last_ms.max(other.last_ms);
    }
}

/// What one or several conversations cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// By day.
    pub days: Table<String, Day>,
}

/// Counts a transcript line by line.
#[derive(Debug, Default)]
pub struct Counter {
    tally: Tally,
    asked: Option<u64>,
}

impl Counter {
    /// One line of the file; whatever is no message counts nothing.
    pub fn line(&mut self, line: &str, zone: &Zone) {
        let Some((at_ms, message)) = message(line) else { return };
        let day = self.tally.days.or_default(day(at_ms, zone));
        day.count(&message, at_ms, &mut self.asked);
    }

    /// The sum.
    pub fn tally(self) -> Tally {
        self.tally
    }
}

impl Tally {
    /// What of it is of these days.
    pub fn within(&self, span: &Span) -> Tally {
        let days = self.days.iter().filter(|(day, _)| span.has(day)).map(|(day, counts)| (day.clone(), counts.clone()));
        Tally { days: days.collect() }
    }

    /// Adds another tally.
    pub fn add(&mut self, other: &Tally) {
        for (day, counts) in &other.days {
            self.days.or_default(day.clone()).add(counts);
        }
    }

    /// All days together.
    pub fn sum(&self) -> Day {
        let mut sum = Day::default();
        self.days.values().for_each(|day| sum.add(day));
        sum
    }
}

impl Day {
    fn count(&mut self, message: &Value, at_ms: u64, asked: &mut Option<u64>) {
        self.first_ms = Some(self.first_ms.map_or(at_ms, |first| first.min(at_ms)));
        self.last_ms = self.last_ms.max(Some(at_ms));
        match text(message, "role") {
            Some("user") => {
                self.counts.user += 1;
                *asked = Some(at_ms);
            }
            Some("assistant") => {
                self.answer(message);
                let own = text(message, "provider") == Some(GATEWAY);
                if let Some(asked) = asked.filter(|_| !own) {
                    self.waits.push(at_ms.saturating_sub(asked));
                }
                for tool in calls(message) {
                    self.counts.tool_calls += 1;
                    *self.tools.or_default(tool.to_string()) += 1;
                }
            }
            Some("toolResult") => {
                self.counts.tool_results += 1;
                self.counts.errors += u64::from(at(message, "isError") == &Value::Bool(true));
            }
            _ => {}
        }
    }

    fn answer(&mut self, message: &Value) {
        let usage = Usage::of(at(message, "usage").clone());
        let name = |member: &str| text(message, member).unwrap_or("unknown").to_string();
        self.counts.assistant += 1;
        self.counts.errors += u64::from(text(message, "stopReason") == Some("error"));
        self.usage.add(&usage);
        let model = self.models.or_default((name("provider"), name("model")));
        model.count += 1;
        model.usage.add(&usage);
    }
}

/// Messages with the time of their line.
fn messages(transcript: &Transcript) -> impl Iterator<Item = (u64, Value)> {
    let messages = (0..transcript.lines().len())
        .filter(|at| transcript.lines().get(*at).is_some_and(|line| line.kind == Kind::Message));
    messages.filter_map(|at| message(transcript.text(at)?))
}

fn message(line: &str) -> Option<(u64, Value)> {
    let mut line: Value = serde_json::from_str(line).ok()?;
    if text(&line, "type") != Some("message") {
        return None;
    }
    let message = line.get_mut("message")?.take();
    let at_ms = text(&line, "timestamp").and_then(parse_iso).or_else(|| number(&message, "timestamp"))?;
    Some((at_ms, message))
}

fn calls(message: &Value) -> impl Iterator<Item = &str> {
    let blocks = at(message, "content").as_array().into_iter().flatten();
    blocks.filter(|block| text(block, "type") == Some("toolCall")).filter_map(|block| text(block, "name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../fixtures/sessions/transcript-v2026.2.9.jsonl");
    const NOW: u64 = 1_795_238_424_165; // 2026-11-21

    pub(super) fn example() -> Tally {
        let mut counter = Counter::default();
        EXAMPLE.lines().chain(["", "{", "{}", "[]"]).for_each(|line| counter.line(line, &Zone::utc()));
        counter.tally()
    }

    #[test]
    fn counts_the_example_of_the_specification() {
        let sum = example().sum();
        assert_eq!(
            (sum.usage.input, sum.usage.output, sum.usage.cache_read, sum.usage.total_tokens),
            (120, 40, 80, 240)
        );
        let counts = Counts { user: 1, assistant: 2, tool_calls: 1, tool_results: 1, errors: 0 };
        assert_eq!((sum.counts, sum.tools.get("exec")), (counts, Some(&1)));
        assert_eq!(sum.waits, [26, 485]);
        assert_eq!((sum.first_ms, sum.last_ms), (Some(1_795_226_293_166), Some(1_795_226_293_651)));
    }

    #[test]
    fn days_outside_do_not_count() {
        let span = Span::of(Some("2026-11-20"), Some("2026-11-20"), NOW, &Zone::utc());
        assert_eq!(example().within(&span), Tally::default());
        assert_eq!(example().within(&Span::always()), example());
    }

    #[test]
    fn the_usual_span_is_thirty_days() {
        let span = Span::of(Some("soon"), None, NOW, &Zone::utc());
        assert_eq!(span, Span { start: "2026-10-23".into(), end: "2026-11-21".into() });
        assert_eq!((span.length(), Span::days(1, NOW, &Zone::utc()).length()), (30, 1));
        assert_eq!(Span::days(1, NOW, &Zone::utc()).start, "2026-11-21");
    }

    #[test]
    fn sums_add_up() {
        let mut sum = example();
        sum.add(&example());
        let sum = sum.sum();
        assert_eq!((sum.usage.total_tokens, sum.tools["exec"], sum.waits.len()), (480, 2, 4));
    }
}
