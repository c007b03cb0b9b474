//! What a model says of a job, as the members a client would send: members that stand beside each other find their place,
//! spans become moments, and the conversation it is said in is the one it is for. What is wrong stays as it is, for the
//! gateway to refuse. Pure.

use serde_json::{Map, Value};

use super::job::IN_SESSION;
use super::moment;
use crate::limits;
use crate::sys::date;

/// Where members of a job belong that a model writes beside the others, and what they are called there.
const PLACES: [(&str, &str, &str); 14] = [
    ("at", "schedule", "at"),
    ("in", "schedule", "at"),
    ("every", "schedule", "everyMs"),
    ("everyMs", "schedule", "everyMs"),
    ("cron", "schedule", "expr"),
    ("expr", "schedule", "expr"),
    ("tz", "schedule", "tz"),
    ("message", "payload", "message"),
    ("text", "payload", "text"),
    ("model", "payload", "model"),
    ("thinking", "payload", "thinking"),
    ("timeoutSeconds", "payload", "timeoutSeconds"),
    ("session", "", "sessionTarget"),
    ("target", "", "sessionTarget"),
];

/// The members of a job, or of a change of one whose session is `known`. `here` is the conversation; none when nobody
/// may speak into it.
pub fn members(said: &Map<String, Value>, here: Option<&str>, known: Option<&str>, now: u64) -> Map<String, Value> {
    let mut job = said.clone();
    for (written, part, name) in PLACES {
        let Some(value) = job.remove(written) else { continue };
        let held = if part.is_empty() { Some(&mut job) } else { part_of(&mut job, part) };
        if let Some(held) = held {
            held.entry(name).or_insert(value);
        }
    }
    if let Some(Value::Object(schedule)) = job.get_mut("schedule") {
        plan(schedule, now);
    }
    let is_line = job.get("sessionTarget").and_then(Value::as_str).or(known) == Some("main");
    if let Some(Value::Object(payload)) = job.get_mut("payload") {
        word(payload, is_line);
    }
    let is_turn = kind(&job, "payload") == "agentTurn";
    match (job.get("sessionTarget").and_then(Value::as_str), here) {
        (Some("current"), Some(key)) => drop(job.insert("sessionTarget".into(), format!("{IN_SESSION}{key}").into())),
        (None, Some(key)) if known.is_none() && is_turn => {
            job.insert("sessionTarget".into(), format!("{IN_SESSION}{key}").into());
        }
        (Some("current"), None) => drop(job.insert("sessionTarget".into(), "isolated".into())),
        _ => {}
    }
    if known.is_none() && !job.contains_key("name") {
        name(&mut job);
    }
    job
}

fn part_of<'a>(job: &'a mut Map<String, Value>, part: &str) -> Option<&'a mut Map<String, Value>> {
    job.entry(part).or_insert_with(|| json!({})).as_object_mut()
}

fn kind<'a>(job: &'a Map<String, Value>, part: &str) -> &'a str {
    job.get(part).and_then(|part| part.get("kind")).and_then(Value::as_str).unwrap_or_default()
}

/// A schedule: its kind follows from its members, and spans may be written as such.
fn plan(schedule: &mut Map<String, Value>, now: u64) {
    for (written, name) in [("every", "everyMs"), ("cron", "expr"), ("in", "at")] {
        if let Some(value) = schedule.remove(written) {
            schedule.entry(name).or_insert(value);
        }
    }
    let span = |value: &Value| moment::span(value.as_str()?.trim().trim_start_matches('+'));
    if let Some(ms) = schedule.get("at").and_then(span) {
        schedule.insert("at".into(), date::iso_utc(now.saturating_add(ms)).into());
    }
    if let Some(ms) = schedule.get("everyMs").and_then(span) {
        schedule.insert("everyMs".into(), ms.into());
    }
    let kinds = [("at", "at"), ("everyMs", "every"), ("expr", "cron")];
    if let (false, Some((_, kind))) =
        (schedule.contains_key("kind"), kinds.iter().find(|(member, _)| schedule.contains_key(*member)))
    {
        schedule.insert("kind".into(), (*kind).into());
    }
}

/// What it says: a turn, unless it is a line for the main session.
fn word(payload: &mut Map<String, Value>, is_line: bool) {
    if !payload.contains_key("kind") {
        payload.insert("kind".into(), if is_line { "systemEvent" } else { "agentTurn" }.into());
    }
    let (wrong, right) = match payload.get("kind").and_then(Value::as_str) {
        Some("systemEvent") => ("message", "text"),
        _ => ("text", "message"),
    };
    if let Some(text) = payload.remove(wrong) {
        payload.entry(right).or_insert(text);
    }
}

/// A name for a job that was given none: how what it says begins.
fn name(job: &mut Map<String, Value>) {
    let said = job.get("payload").and_then(|payload| payload.get("message").or_else(|| payload.get("text")));
    let line = said.and_then(Value::as_str).and_then(|text| text.trim().lines().next()).unwrap_or_default();
    let short: String = line.chars().take(limits::META_CHARS).collect();
    if !short.is_empty() {
        job.insert("name".into(), short.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_255_899_475;

    fn job(said: Value) -> Value {
        Value::Object(members(said.as_object().unwrap(), Some("agent:main:main"), None, NOW))
    }

    #[test]
    fn a_reminder_may_be_said_in_a_few_words() {
        let wanted = json!({
            "name": "Tell them that tea is ready.",
            "schedule": {"kind": "at", "at": "2026-11-21T10:31:39.475Z"},
            "payload": {"kind": "agentTurn", "message": "Tell them that tea is ready."},
            "sessionTarget": "session:agent:main:main",
        });
        let message = "Tell them that tea is ready.";
        assert_eq!(job(json!({"at": "20m", "message": message})), wanted);
        assert_eq!(job(json!({"in": "+20m", "text": message, "session": "current"})), wanted);
        assert_eq!(job(json!({"schedule": {"at": "20m"}, "payload": {"text": message}})), wanted);
        let whole = json!({"name": "n", "schedule": {"kind": "cron", "expr": "0 7 * * *", "tz": "Europe/Berlin"},
            "payload": {"kind": "agentTurn", "message": "go", "thinking": "low"}, "sessionTarget": "isolated"});
        assert_eq!(job(whole.clone()), whole);
        let beat = job(json!({"every": "1h", "message": "go", "session": "isolated"}));
        assert_eq!(beat["schedule"], json!({"kind": "every", "everyMs": 3_600_000}));
        let line = job(json!({"cron": "@daily", "text": "Water the plants", "session": "main"}));
        assert_eq!(line["payload"], json!({"kind": "systemEvent", "text": "Water the plants"}));
        assert_eq!((&line["schedule"]["kind"], &line["sessionTarget"]), (&json!("cron"), &json!("main")));
    }

    #[test]
    fn where_nobody_may_speak_a_job_has_a_session_of_its_own() {
        let said = json!({"at": "20m", "message": "go", "session": "current"});
        let job = members(said.as_object().unwrap(), None, None, NOW);
        assert_eq!(job["sessionTarget"], "isolated");
    }

    #[test]
    fn a_change_gets_nothing_that_was_not_said() {
        let change = |known: &str, said: Value| {
            Value::Object(members(said.as_object().unwrap(), Some("agent:main:main"), Some(known), NOW))
        };
        let patch = change("isolated", json!({"schedule": {"at": "1h"}}));
        assert_eq!(patch, json!({"schedule": {"kind": "at", "at": "2026-11-21T11:11:39.475Z"}}));
        let patch = change("main", json!({"text": "another"}));
        assert_eq!(patch, json!({"payload": {"kind": "systemEvent", "text": "another"}}));
        assert_eq!(change("isolated", json!({"text": "b"}))["payload"], json!({"kind": "agentTurn", "message": "b"}));
    }

    #[test]
    fn nonsense_stays_what_it_is_and_names_are_short() {
        assert_eq!(job(json!({"schedule": "tomorrow", "at": 5})), json!({"schedule": "tomorrow"}));
        assert_eq!(job(json!({"payload": [1], "name": 7})), json!({"payload": [1], "name": 7}));
        let long = job(json!({"at": "1h", "message": "ä".repeat(limits::META_CHARS + 1)}));
        assert_eq!(long["name"].as_str().unwrap().chars().count(), limits::META_CHARS);
    }
}
