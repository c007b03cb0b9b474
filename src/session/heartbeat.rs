//! When a heartbeat is due, what it asks, and what its answer means (agent.md 25). Pure: the clock, the time zone and the
//! texts come in; starting turns and telling people is the gateway's.

use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::member::at;
use super::prompt::{HEARTBEAT_OK, SILENT};
use crate::agent::message::{Block, Extra, Message};
use crate::config::sections::ActiveHours;
use crate::limits;
use crate::session::context::Item;
use crate::sys::date;
use crate::sys::order;
use crate::sys::zone::Zone;

const MINUTE_MS: u64 = 60_000;
const DAY_MINUTES: u64 = 24 * 60;
/// How long the same alert is not repeated (agent.md 25).
const REPEAT_MS: u64 = 24 * 3_600_000;
/// The member that marks what the gateway itself says in a person's place, as the newer original has it.
const MARK: &str = "provenance";
const MARK_KIND: &str = "internal_system";
/// How lines of the gateway begin.
pub const LINE_HEAD: &str = "System: ";

/// What a turn asks that was started because of waiting lines; the token is fixed by the clients, the wording is ours.
const EVENT_PROMPT: &str = "Something happened while nobody was talking to you: see the System lines above. Pass on what \
    the user should know, or do what is asked there. If nothing needs attention, answer exactly HEARTBEAT_OK.";

/// The hours in which heartbeats may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// Minute of the day from which on.
    start: u64,
    /// Minute of the day before which; smaller than the start when the night is in between.
    end: u64,
    zone: Zone,
}

impl Hours {
    /// Hours as written. Anything that is no time of day means no limit, and so does an empty window.
    pub fn read(written: &ActiveHours, zone: Zone) -> Option<Hours> {
        let minute = |text: &Option<String>, last| minute_of_day(text.as_deref()?, last);
        let (start, end) = (minute(&written.start, DAY_MINUTES - 1)?, minute(&written.end, DAY_MINUTES)?);
        (start != end).then_some(Hours { start, end, zone })
    }

    /// Whether a moment is within them, by the clock on the wall of that zone.
    pub fn contain(&self, ms: u64) -> bool {
        let unix = date::seconds(ms);
        let local = unix + i64::from(self.zone.offset(unix));
        let minute = u64::try_from(local.rem_euclid(date::DAY) / 60).unwrap_or(0);
        match self.start < self.end {
            true => (self.start..self.end).contains(&minute),
            false => minute >= self.start || minute < self.end,
        }
    }

    /// The first minute after a moment that is within them. Two days of minutes are looked at: on the day of a change
    /// to summer time a short window may not exist.
    fn opening_after(&self, ms: u64) -> Option<u64> {
        let first = ms / MINUTE_MS + 1;
        (first..first + 2 * DAY_MINUTES).map(|minute| minute * MINUTE_MS).find(|ms| self.contain(*ms))
    }

    fn length_ms(&self) -> u64 {
        (self.end + DAY_MINUTES - self.start) % DAY_MINUTES * MINUTE_MS
    }
}

/// `HH:MM` as minute of the day.
fn minute_of_day(text: &str, last: u64) -> Option<u64> {
    let (hour, minute) = text.trim().split_once(':')?;
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| text.len() == 2);
    let (hour, minute) = (number(hour)?, number(minute).filter(|minute| *minute < 60)?);
    Some(hour * 60 + minute).filter(|minute| *minute <= last)
}

/// The moments at which an agent's heartbeats are due: fixed on the clock, so that a gateway that often restarts does not
/// begin to wait anew each time, and apart for several agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rhythm {
    every_ms: u64,
    phase_ms: u64,
    hours: Option<Hours>,
}

impl Rhythm {
    /// A rhythm with a phase of its own for this agent of this machine.
    pub fn new(every: Duration, machine: &str, agent: &str, hours: Option<Hours>) -> Rhythm {
        let every_ms = u64::try_from(every.max(limits::HEARTBEAT_SHORTEST).as_millis()).unwrap_or(u64::MAX);
        let digest = Sha256::digest(format!("{machine}:{agent}"));
        let number = digest.iter().take(4).fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        Rhythm { every_ms, phase_ms: number % every_ms, hours }
    }

    /// The first due moment after this one. A rhythm that misses the hours of a day is due when they begin.
    pub fn next(&self, after_ms: u64) -> u64 {
        let slot = self.slot_after(after_ms);
        let Some(hours) = self.hours.as_ref().filter(|hours| !hours.contain(slot)) else { return slot };
        let Some(opening) = hours.opening_after(slot) else { return slot };
        let first = self.slot_after(opening - 1);
        if first - opening < hours.length_ms() && hours.contain(first) { first } else { opening }
    }

    /// The next one after a run. What would come within half an interval is left out.
    pub fn after_run(&self, now_ms: u64) -> u64 {
        self.next(now_ms.saturating_add(self.every_ms / 2))
    }

    /// The next one after so many failures in a row: each doubles the distance, up to a day.
    pub fn after_failure(&self, now_ms: u64, failures: u32) -> u64 {
        let most = limits::HEARTBEAT_PATIENCE_MS.max(self.every_ms);
        let wait = self.every_ms.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(most);
        self.next(now_ms.saturating_add(wait - self.every_ms / 2))
    }

    /// When the first one may come of those that begin now.
    pub fn settled(&self, now_ms: u64) -> u64 {
        let most = u64::try_from(limits::HEARTBEAT_SETTLING.as_millis()).unwrap_or(u64::MAX);
        now_ms.saturating_add(most.min(self.every_ms))
    }

    /// Whether a heartbeat may run at this moment.
    pub fn is_open(&self, ms: u64) -> bool {
        self.hours.as_ref().is_none_or(|hours| hours.contain(ms))
    }

    fn slot_after(&self, ms: u64) -> u64 {
        let past = ms.saturating_add(self.every_ms).saturating_sub(self.phase_ms) % self.every_ms;
        ms.saturating_add(self.every_ms - past)
    }
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was said.
    Empty,
    /// All is well.
    Fine,
    /// A person should read this.
    Alert(String),
}

/// Reads an answer: the token at its beginning or end, in markup or not, makes it an acknowledgement unless much else is
/// said.
pub fn judge(answer: &str, ack_chars: usize) -> Verdict {
    let text = answer.trim();
    let plain = without_markup(text);
    if text.is_empty() || trim_markup(&plain) == SILENT {
        return Verdict::Empty;
    }
    let rest = without_token(text).filter(|rest| !rest.is_empty()).or_else(|| without_token(trim_markup(&plain)));
    match rest {
        None => Verdict::Alert(text.to_string()),
        Some(rest) if trim_markup(rest).chars().count() <= ack_chars => Verdict::Fine,
        Some(rest) => Verdict::Alert(rest.to_string()),
    }
}

/// The text without the token at either end; none when it has none there.
fn without_token(text: &str) -> Option<&str> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = text.trim();
    let mut found = false;
    loop {
        let head = rest.strip_prefix(HEARTBEAT_OK).filter(|rest| !rest.starts_with(word));
        let tail = || rest.strip_suffix(HEARTBEAT_OK).filter(|rest| !rest.ends_with(word));
        match head.or_else(tail) {
            Some(less) => (rest, found) = (less.trim(), true),
            None => return found.then_some(rest),
        }
    }
}

/// Without tags and hard spaces.
fn without_markup(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, tag)) = rest.split_once('<') {
        let Some((_, after)) = tag.split_once('>') else { break };
        out.push_str(before);
        out.push(' ');
        rest = after;
    }
    out.push_str(rest);
    out.replace("&nbsp;", " ")
}

fn trim_markup(text: &str) -> &str {
    text.trim_matches(|c: char| matches!(c, '*' | '`' | '~' | '_') || c.is_whitespace())
}

/// Whether an alert says what the last one said, not long ago.
pub fn is_repeated(text: &str, last: Option<&str>, last_ms: Option<u64>, now_ms: u64) -> bool {
    let recent = last_ms.is_some_and(|at| now_ms.saturating_sub(at) < REPEAT_MS);
    recent && last.is_some_and(|last| !last.trim().is_empty() && last.trim() == text.trim())
}

/// What of heartbeats is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visibility {
    /// Acknowledgements.
    pub ok: bool,
    /// Alerts.
    pub alerts: bool,
    /// The small sign clients have.
    pub indicator: bool,
}

/// `channels.*.heartbeat`: the account's word, else the channel's, else that for all channels (`channels.defaults`). The
/// gateway's own chat window has the last alone.
pub fn visibility(config: &Value, channel: Option<&str>, account: Option<&str>) -> Visibility {
    let channels = at(config, "channels");
    let own = channel.map_or(&Value::Null, |channel| at(channels, channel));
    let accounts = account.map_or(&Value::Null, |account| at(at(own, "accounts"), account));
    let says = |name: &str, default: bool| {
        let levels = [accounts, own, at(channels, "defaults")];
        levels.iter().find_map(|level| at(at(level, "heartbeat"), name).as_bool()).unwrap_or(default)
    };
    Visibility { ok: says("showOk", false), alerts: says("showAlerts", true), indicator: says("useIndicator", true) }
}

/// The sign for a status.
pub fn indicator(status: &str) -> Option<&'static str> {
    match status {
        "ok-empty" | "ok-token" => Some("ok"),
        "sent" => Some("alert"),
        "failed" => Some("error"),
        _ => None,
    }
}

/// What the turn asks. Work that ended and reminders speak for themselves; everything else asks what is configured.
pub fn prompt_for(reason: &str, lines_wait: bool, configured: &str, time: &str) -> String {
    let told = reason == "exec-event" || reason.starts_with("cron:") || reason.starts_with("hook:");
    let text = if told && lines_wait { EVENT_PROMPT } else { configured };
    format!("{text}\nCurrent time: {time}")
}

/// Members that mark a message as the gateway's own.
pub fn mark() -> Extra {
    let mark = json!({"kind": MARK_KIND, "sourceTool": "heartbeat"});
    order::object([(MARK.to_string(), mark)])
}

/// Whether the gateway itself said this in a person's place.
pub fn is_marked(message: &Value) -> bool {
    at(at(message, MARK), "kind").as_str() == Some(MARK_KIND)
}

/// The conversation without heartbeats that found nothing: forty of them a day would fill it.
pub fn without_quiet(items: Vec<Item>, ack_chars: usize) -> Vec<Item> {
    let mut out: Vec<Item> = Vec::with_capacity(items.len());
    let mut began: Option<usize> = None;
    for item in items {
        if let Message::User(user) = &item.message {
            let marked = user.extra.get(MARK).is_some_and(|mark| at(mark, "kind").as_str() == Some(MARK_KIND));
            // What happened stays known, whatever was made of it.
            let news = user.content.first().and_then(Block::as_text).is_some_and(|text| text.starts_with(LINE_HEAD));
            began = (marked && !news).then_some(out.len());
        }
        let quiet = matches!(&item.message, Message::Assistant(answer) if is_quiet(&answer.content, ack_chars));
        match began.filter(|_| quiet) {
            Some(from) => out.truncate(from),
            None => out.push(item),
        }
    }
    out
}

fn is_quiet(content: &[Block], ack_chars: usize) -> bool {
    let calls = content.iter().any(|block| matches!(block, Block::ToolCall { .. }));
    !calls && !matches!(judge(&crate::agent::message::text_of(content), ack_chars), Verdict::Alert(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF_HOUR: u64 = 30 * MINUTE_MS;

    fn hours(start: &str, end: &str, zone: &str) -> Option<Hours> {
        let text = |text: &str| Some(text.to_string());
        let written = ActiveHours { start: text(start), end: text(end), timezone: None };
        Hours::read(&written, Zone::named(zone).unwrap())
    }

    fn rhythm(minutes: u64, hours: Option<Hours>) -> Rhythm {
        Rhythm { every_ms: minutes * MINUTE_MS, phase_ms: 7 * MINUTE_MS, hours }
    }

    fn utc(text: &str) -> u64 {
        crate::session::history::parse_iso(&text.replace("Z", ".000Z")).unwrap()
    }

    #[test]
    fn slots_stay_where_they_are_on_the_clock() {
        let rhythm = rhythm(30, None);
        let noon = utc("2026-03-01T12:00:00Z");
        assert_eq!(rhythm.next(noon), noon + 7 * MINUTE_MS);
        assert_eq!(rhythm.next(noon + 7 * MINUTE_MS), noon + 37 * MINUTE_MS, "strictly after");
        assert_eq!(rhythm.after_run(noon), noon + 37 * MINUTE_MS, "7 minutes after a run is too soon");
        assert_eq!(rhythm.next(0), 7 * MINUTE_MS);
    }

    #[test]
    fn agents_and_machines_have_phases_of_their_own() {
        let every = Duration::from_millis(HALF_HOUR);
        let phases = ["a", "b", "c"].map(|agent| Rhythm::new(every, "m", agent, None).phase_ms);
        assert!(phases.iter().all(|phase| *phase < HALF_HOUR));
        assert!(phases[0] != phases[1] && phases[1] != phases[2], "{phases:?}");
        assert_ne!(Rhythm::new(every, "other", "a", None).phase_ms, phases[0]);
        let tiny = Rhythm::new(Duration::from_millis(1), "m", "a", None);
        assert_eq!(u128::from(tiny.every_ms), limits::HEARTBEAT_SHORTEST.as_millis());
    }

    #[test]
    fn failures_double_the_distance_up_to_a_day() {
        let rhythm = rhythm(30, None);
        let now = utc("2026-03-01T12:07:00Z");
        let waits = [1, 2, 3, 10, 99].map(|failures| (rhythm.after_failure(now, failures) - now) / MINUTE_MS);
        let day = limits::HEARTBEAT_PATIENCE_MS / MINUTE_MS;
        assert_eq!(waits, [30, 60, 120, day, day]);
    }

    #[test]
    fn hours_are_those_of_the_zone_in_summer_and_in_winter() {
        let hours = hours("08:00", "22:00", "Europe/Berlin").unwrap();
        for (at, open) in [
            ("2026-01-10T06:59:59Z", false),
            ("2026-01-10T07:00:00Z", true),
            ("2026-01-10T20:59:59Z", true),
            ("2026-01-10T21:00:00Z", false),
            ("2026-07-10T06:00:00Z", true),
            ("2026-07-10T05:59:59Z", false),
            ("2026-07-10T20:00:00Z", false),
        ] {
            assert_eq!(hours.contain(utc(at)), open, "{at}");
        }
    }

    #[test]
    fn a_window_over_midnight_and_one_that_is_no_window() {
        let night = hours("22:00", "06:00", "UTC").unwrap();
        let open = |at: &str| night.contain(utc(at));
        assert!(open("2026-01-10T22:00:00Z") && open("2026-01-10T05:59:00Z") && !open("2026-01-10T06:00:00Z"));
        for (start, end) in [("08:00", "08:00"), ("8:00", "22:00"), ("24:00", "25:00"), ("08:60", "22:00"), ("", "x")] {
            assert_eq!(hours(start, end, "UTC"), None, "{start} {end}");
        }
        assert!(hours("00:00", "24:00", "UTC").unwrap().contain(utc("2026-01-10T23:59:59Z")));
    }

    #[test]
    fn a_rhythm_is_due_within_its_hours_only() {
        let day = rhythm(30, hours("09:00", "17:00", "UTC"));
        assert_eq!(day.next(utc("2026-01-10T16:40:00Z")), utc("2026-01-11T09:07:00Z"));
        // 07:07 once a day is never within the hours: it is due when they begin
        let rare = Rhythm { every_ms: DAY_MINUTES * MINUTE_MS, phase_ms: 427 * MINUTE_MS, hours: day.hours.clone() };
        assert_eq!(rare.next(utc("2026-01-10T12:00:00Z")), utc("2026-01-11T09:00:00Z"));
        assert_eq!(rare.after_run(utc("2026-01-11T09:00:00Z")), utc("2026-01-12T09:00:00Z"));
    }

    #[test]
    fn an_hour_that_does_not_exist_is_skipped_and_one_that_comes_twice_counts_twice() {
        let spring = rhythm(30, hours("02:00", "03:00", "Europe/Berlin"));
        // the 29th of March 2026 has no 02:30 in Berlin
        assert_eq!(spring.next(utc("2026-03-28T12:00:00Z")), utc("2026-03-30T00:07:00Z"));
        let autumn = rhythm(30, hours("01:00", "02:00", "America/New_York"));
        // the 1st of November 2026 has it twice in New York
        let mut at = utc("2026-11-01T00:00:00Z");
        let mut due = Vec::new();
        for _ in 0..5 {
            at = autumn.next(at);
            due.push(date::iso_utc(at));
        }
        assert_eq!(
            due[..4].iter().map(|at| &at[..16]).collect::<Vec<_>>(),
            ["2026-11-01T05:07", "2026-11-01T05:37", "2026-11-01T06:07", "2026-11-01T06:37"]
        );
        assert_eq!(&due[4][..16], "2026-11-02T06:07");
    }

    #[test]
    fn the_token_is_found_at_both_ends_and_in_markup() {
        let fine = |text: &str| judge(text, 300) == Verdict::Fine;
        for text in [
            "HEARTBEAT_OK",
            " HEARTBEAT_OK\n",
            "**HEARTBEAT_OK**",
            "`HEARTBEAT_OK`",
            "<b>HEARTBEAT_OK</b>",
            "HEARTBEAT_OK.",
            "HEARTBEAT_OK HEARTBEAT_OK",
            "All quiet. HEARTBEAT_OK",
            "HEARTBEAT_OK - all quiet",
            "All quiet.\n\n**HEARTBEAT_OK**",
        ] {
            assert!(fine(text), "{text}");
        }
        for text in ["", "  ", "NO_REPLY", "**NO_REPLY**"] {
            assert_eq!(judge(text, 300), Verdict::Empty, "{text}");
        }
        for text in ["HEARTBEAT_OKAY", "I say HEARTBEAT_OK now", "The disk is full.", "MY_HEARTBEAT_OK", "a < b"] {
            assert_eq!(judge(text, 300), Verdict::Alert(text.to_string()), "{text}");
        }
    }

    #[test]
    fn much_beside_the_token_is_an_alert_without_it() {
        let long = "ä".repeat(301);
        assert_eq!(judge(&format!("HEARTBEAT_OK {long}"), 300), Verdict::Alert(long.clone()));
        assert_eq!(judge(&format!("{long} **HEARTBEAT_OK**"), 301), Verdict::Fine);
        assert_eq!(judge("HEARTBEAT_OK x", 0), Verdict::Alert("x".into()));
        assert_eq!(judge("HEARTBEAT_OK", 0), Verdict::Fine);
    }

    #[test]
    fn the_same_alert_is_repeated_after_a_day() {
        let now = 10 * REPEAT_MS;
        assert!(is_repeated(" a ", Some("a"), Some(now - REPEAT_MS + 1), now));
        assert!(!is_repeated("a", Some("a"), Some(now - REPEAT_MS), now));
        assert!(!is_repeated("a", Some("b"), Some(now), now) && !is_repeated("a", None, Some(now), now));
        assert!(!is_repeated("", Some(""), Some(now), now) && !is_repeated("a", Some("a"), None, now));
    }

    #[test]
    fn accounts_override_channels_and_channels_the_defaults() {
        let config = json!({"channels": {
            "defaults": {"heartbeat": {"showOk": true, "useIndicator": false}},
            "telegram": {"heartbeat": {"showOk": false, "showAlerts": false},
                "accounts": {"ops": {"heartbeat": {"showAlerts": true}}}},
        }});
        let of = |channel, account| {
            let Visibility { ok, alerts, indicator } = visibility(&config, channel, account);
            (ok, alerts, indicator)
        };
        assert_eq!(of(None, None), (true, true, false));
        assert_eq!(of(Some("telegram"), None), (false, false, false));
        assert_eq!(of(Some("telegram"), Some("ops")), (false, true, false));
        assert_eq!(of(Some("signal"), Some("ops")), (true, true, false));
        assert_eq!(visibility(&Value::Null, None, None), Visibility { ok: false, alerts: true, indicator: true });
    }

    #[test]
    fn reminders_ask_for_themselves() {
        let asked = |reason, wait| prompt_for(reason, wait, "Look around.", "Sat 12:00");
        for reason in ["interval", "wake"] {
            assert_eq!(asked(reason, true), "Look around.\nCurrent time: Sat 12:00");
        }
        for reason in ["cron:1", "hook:x", "exec-event"] {
            assert!(asked(reason, true).starts_with(EVENT_PROMPT) && asked(reason, false).starts_with("Look"));
        }
    }

    #[test]
    fn quiet_heartbeats_leave_the_conversation_and_alerts_stay() {
        let item = |message| Item { id: None, message };
        let user = |text: &str| item(Message::user(text, 0));
        let asked = |text: &str| {
            let mut message = Message::user(text, 0);
            if let Message::User(user) = &mut message {
                user.extra = mark();
            }
            item(message)
        };
        let beat = || asked("beat");
        let said = |text: &str| {
            let content = vec![Block::text(text)];
            item(Message::Assistant(crate::agent::message::AssistantMessage { content, ..Default::default() }))
        };
        let call = || {
            let content = vec![Block::ToolCall {
                id: "1".into(),
                name: "read".into(),
                arguments: json!({}),
                extra: Extra::new(),
            }];
            item(Message::Assistant(crate::agent::message::AssistantMessage { content, ..Default::default() }))
        };
        let texts = |items: Vec<Item>| -> Vec<String> {
            items.iter().map(|item| crate::agent::message::text_of(item.message.content())).collect()
        };
        let all = vec![
            user("hi"),
            said("hello"),
            beat(),
            said("HEARTBEAT_OK"),
            beat(),
            call(),
            said("HEARTBEAT_OK, quiet"),
            beat(),
            said("The disk is full."),
            user("say HEARTBEAT_OK"),
            said("HEARTBEAT_OK"),
            asked("System: it rains"),
            said("HEARTBEAT_OK"),
            beat(),
        ];
        let left = texts(without_quiet(all, 300));
        assert_eq!(left[..4], ["hi", "hello", "beat", "The disk is full."]);
        assert_eq!(left[4..8], ["say HEARTBEAT_OK", "HEARTBEAT_OK", "System: it rains", "HEARTBEAT_OK"]);
        assert_eq!(left[8..], ["beat"]);
    }
}
