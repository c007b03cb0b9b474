//! What a client asks for, as the members of a job: trimmed, completed as the original completes it, and checked. The
//! shape was checked before, by the protocol table. Pure.

use serde_json::{Map, Value};

use super::job::IN_SESSION;
use super::schedule;
use crate::limits;
use crate::sys::{date, order};

/// Members of a job that a client may set.
const TAKEN: [&str; 8] =
    ["name", "description", "enabled", "deleteAfterRun", "sessionTarget", "wakeMode", "missed", "agentId"];
/// Members of a turn that say where its answer goes; they belong into `delivery`.
const OLD_DELIVERY: [&str; 4] = ["deliver", "channel", "to", "bestEffortDeliver"];

/// A new job of these parameters.
///
/// # Errors
/// What is wrong with them.
pub fn create(params: &Value, id: String, now: u64) -> Result<Map<String, Value>, String> {
    let mut job = Map::new();
    let payload = params.get("payload").cloned().unwrap_or_default();
    let turn = kind_of(&payload) == "agentTurn";
    job.insert("id".into(), id.into());
    job.insert("enabled".into(), true.into());
    job.insert("wakeMode".into(), "now".into());
    job.insert("sessionTarget".into(), if turn { "isolated" } else { "main" }.into());
    job.insert("createdAtMs".into(), now.into());
    job.insert("state".into(), json!({}));
    if kind_of(params.get("schedule").unwrap_or(&Value::Null)) == "at" {
        job.insert("deleteAfterRun".into(), true.into());
    }
    change(&mut job, params, now)?;
    if job.get("sessionTarget") == Some(&json!("isolated")) && !job.contains_key("delivery") {
        job.insert("delivery".into(), json!({"mode": "announce"}));
    }
    check(&job)?;
    Ok(job)
}

/// Changes members of a job.
///
/// # Errors
/// What is wrong with them.
pub fn update(job: &mut Map<String, Value>, patch: &Value, now: u64) -> Result<(), String> {
    change(job, patch, now)?;
    if job.get("sessionTarget") == Some(&json!("main")) {
        job.remove("delivery");
    }
    check(job)
}

fn change(job: &mut Map<String, Value>, wanted: &Value, now: u64) -> Result<(), String> {
    for name in TAKEN {
        match wanted.get(name) {
            None => {}
            Some(Value::Null) => drop(job.remove(name)),
            Some(Value::String(text)) => drop(job.insert(name.into(), text.trim().into())),
            Some(other) => drop(job.insert(name.into(), other.clone())),
        }
    }
    job.retain(|name, value| !(matches!(name.as_str(), "description" | "agentId") && value == ""));
    if let Some(schedule) = wanted.get("schedule") {
        job.insert("schedule".into(), schedule_of(schedule, now)?);
    }
    if let Some(payload) = wanted.get("payload") {
        change_payload(job, payload);
    }
    if let Some(delivery) = wanted.get("delivery") {
        lay_over(job, "delivery", delivery, json!({"mode": "none"}));
    }
    job.insert("updatedAtMs".into(), now.into());
    Ok(())
}

fn kind_of(value: &Value) -> &str {
    value.get("kind").and_then(Value::as_str).unwrap_or_default()
}

/// The schedule as it is kept: moments in one form, intervals with their anchor.
fn schedule_of(wanted: &Value, now: u64) -> Result<Value, String> {
    let mut kept = wanted.as_object().cloned().unwrap_or_default();
    match kind_of(wanted) {
        "at" => {
            if let Some(at) = schedule::at_of(wanted) {
                schedule::check_moment(at, now)?;
                kept = order::object([("kind".into(), "at".into()), ("at".into(), date::iso_utc(at).into())]);
            }
        }
        "every" => {
            let too_short = |every: u64| (1..limits::CRON_EVERY_MS).contains(&every);
            if wanted.get("everyMs").and_then(Value::as_u64).is_some_and(too_short) {
                return Err(format!("at /schedule/everyMs: must be at least {}", limits::CRON_EVERY_MS));
            }
            kept.entry("anchorMs").or_insert_with(|| now.into());
        }
        _ => {
            for name in ["expr", "tz"] {
                if let Some(Value::String(text)) = kept.get_mut(name) {
                    *text = text.trim().to_string();
                }
            }
        }
    }
    let own: &[&str] = match kind_of(wanted) {
        "at" => &["kind", "at"],
        "every" => &["kind", "everyMs", "anchorMs"],
        _ => &["kind", "expr", "tz", "staggerMs"],
    };
    match kept.keys().find(|name| !own.contains(&name.as_str())) {
        Some(name) => Err(format!("at /schedule: unexpected property '{name}' beside kind \"{}\"", kind_of(wanted))),
        None => Ok(Value::Object(kept)),
    }
}

/// A payload of the same kind is changed, one of another kind takes its place. What an older client says there about
/// delivery goes where it belongs.
fn change_payload(job: &mut Map<String, Value>, wanted: &Value) {
    let mut wanted = wanted.clone();
    let old = old_delivery(&mut wanted);
    if job.get("payload").is_some_and(|payload| kind_of(payload) != kind_of(&wanted)) {
        job.remove("payload");
    }
    lay_over(job, "payload", &wanted, json!({}));
    if let Some(delivery) = old {
        lay_over(job, "delivery", &delivery, json!({"mode": "none"}));
    }
}

fn old_delivery(payload: &mut Value) -> Option<Value> {
    let members = payload.as_object_mut()?;
    let mut taken = OLD_DELIVERY.map(|name| members.remove(name)).into_iter();
    let (deliver, channel, to, best) = (taken.next()?, taken.next()?, taken.next()?, taken.next()?);
    if deliver.is_none() && to.is_none() && best.is_none() {
        return None;
    }
    let mode = if deliver == Some(Value::Bool(false)) { "none" } else { "announce" };
    let mut delivery = json!({"mode": mode});
    for (name, value) in [("channel", channel), ("to", to), ("bestEffort", best)] {
        if let (Some(value), Some(members)) = (value, delivery.as_object_mut()) {
            members.insert(name.into(), value);
        }
    }
    Some(delivery)
}

/// Sets the members of an object member; `null` and blank texts remove one.
fn lay_over(job: &mut Map<String, Value>, name: &str, wanted: &Value, fresh: Value) {
    let held = job.entry(name).or_insert(fresh);
    let (Some(held), Some(wanted)) = (held.as_object_mut(), wanted.as_object()) else { return };
    for (name, value) in wanted {
        match value {
            Value::Null => drop(held.remove(name)),
            Value::String(text) if text.trim().is_empty() && name != "text" && name != "message" => {
                held.remove(name);
            }
            Value::String(text) => drop(held.insert(name.clone(), text.trim().into())),
            value => drop(held.insert(name.clone(), value.clone())),
        }
    }
}

fn check(job: &Map<String, Value>) -> Result<(), String> {
    let text = |name: &str| job.get(name).and_then(Value::as_str).unwrap_or_default();
    let inner = |name: &str| job.get("payload").and_then(|payload| payload.get(name)).and_then(Value::as_str);
    let kind = job.get("payload").map_or("", kind_of);
    let long = |name: &str, text: &str, most: usize| {
        let too_long = text.chars().count() > most;
        too_long.then(|| format!("at /{name}: must NOT have more than {most} characters"))
    };
    let said = inner(if kind == "systemEvent" { "text" } else { "message" }).unwrap_or_default();
    let most = if kind == "systemEvent" { limits::SYSTEM_EVENT_CHARS } else { limits::CRON_MESSAGE_CHARS };
    let target = text("sessionTarget");
    let is_turn = target == "isolated" || target.strip_prefix(IN_SESSION).is_some_and(|key| !key.is_empty());
    let delivery = |name: &str| job.get("delivery").and_then(|delivery| delivery.get(name)).and_then(Value::as_str);
    let faults = [
        (delivery("mode") == Some("webhook") && !delivery("to").is_some_and(is_address)).then(|| {
            "delivery.mode=\"webhook\" requires delivery.to to be a valid http(s) URL without user and password"
                .to_string()
        }),
        (!is_turn && !matches!(target, "main" | ""))
            .then(|| format!("at /sessionTarget: must be main, isolated or {IN_SESSION}<key of a session>")),
        text("name").is_empty().then(|| "cron job name is required".to_string()),
        long("name", text("name"), limits::CRON_NAME_CHARS),
        long("description", text("description"), limits::CRON_DESCRIPTION_CHARS),
        long("payload", said, most),
        (target == "main" && kind != "systemEvent")
            .then(|| "main cron jobs require payload.kind=\"systemEvent\"".to_string()),
        (is_turn && kind != "agentTurn").then(|| "isolated cron jobs require payload.kind=\"agentTurn\"".to_string()),
        (said.is_empty() && kind == "systemEvent").then(|| "payload.kind=\"systemEvent\" requires text".to_string()),
        (said.is_empty() && kind == "agentTurn").then(|| "payload.kind=\"agentTurn\" requires message".to_string()),
        (job.contains_key("delivery") && !is_turn)
            .then(|| "cron delivery config is only supported for sessionTarget=\"isolated\"".to_string()),
    ];
    faults.into_iter().flatten().next().map_or(Ok(()), Err)
}

/// Whether a text is an address that can be posted to.
fn is_address(text: &str) -> bool {
    let scheme = |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let rest = text.split_once("://").filter(|_| scheme("http://") || scheme("https://")).map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let odd = |letter: char| letter.is_control() || letter.is_whitespace() || letter == '\\';
    text.len() <= limits::WEB_URL_BYTES && !authority.is_empty() && !authority.contains('@') && !text.contains(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_255_899_475;

    fn made(params: Value) -> Result<Value, String> {
        create(&params, "id".into(), NOW).map(Value::Object)
    }

    fn event(more: Value) -> Value {
        let mut params = json!({"name": " n ", "schedule": {"kind": "every", "everyMs": 60_000},
            "payload": {"kind": "systemEvent", "text": " hello "}});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    }

    #[test]
    fn a_job_is_completed_as_the_original_does() {
        let job = made(event(json!({"agentId": "Ops", "description": " "}))).unwrap();
        let wanted = json!({
            "id": "id", "name": "n", "enabled": true, "createdAtMs": NOW, "updatedAtMs": NOW, "agentId": "Ops",
            "schedule": {"kind": "every", "everyMs": 60_000, "anchorMs": NOW}, "sessionTarget": "main",
            "wakeMode": "now", "payload": {"kind": "systemEvent", "text": "hello"}, "state": {},
        });
        assert_eq!(job, wanted);
        let turn = made(json!({"name": "t", "schedule": {"kind": "at", "at": "2026-12-01T08:00"},
            "payload": {"kind": "agentTurn", "message": "go", "to": "+1555", "model": " "}}));
        let turn = turn.unwrap();
        assert_eq!(turn["schedule"], json!({"kind": "at", "at": "2026-12-01T08:00:00.000Z"}));
        assert_eq!(turn["deleteAfterRun"], true);
        assert_eq!(turn["sessionTarget"], "isolated");
        assert_eq!(turn["payload"], json!({"kind": "agentTurn", "message": "go"}));
        assert_eq!(turn["delivery"], json!({"mode": "announce", "to": "+1555"}));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |more: Value| made(event(more)).unwrap_err();
        assert_eq!(wrong(json!({"name": "  "})), "cron job name is required");
        assert_eq!(
            wrong(json!({"sessionTarget": "isolated"})),
            "isolated cron jobs require payload.kind=\"agentTurn\""
        );
        assert_eq!(
            wrong(json!({"sessionTarget": "main", "payload": {"kind": "agentTurn", "message": "a"}})),
            "main cron jobs require payload.kind=\"systemEvent\""
        );
        assert!(wrong(json!({"delivery": {"mode": "none"}})).starts_with("cron delivery config is only"));
        assert_eq!(
            wrong(json!({"payload": {"kind": "systemEvent", "text": " "}})),
            "payload.kind=\"systemEvent\" requires text"
        );
        assert!(wrong(json!({"schedule": {"kind": "every", "everyMs": 999}})).ends_with("must be at least 1000"));
        assert!(wrong(json!({"schedule": {"kind": "every", "everyMs": 5000, "tz": "UTC"}})).contains("'tz'"));
        assert!(
            wrong(json!({"schedule": {"kind": "at", "at": "2020-01-01"}})).starts_with("schedule.at is in the past")
        );
    }

    #[test]
    fn a_webhook_is_an_address_without_secrets() {
        let to = |to: &str| {
            made(json!({"name": "t", "schedule": {"kind": "every", "everyMs": 60_000},
                "payload": {"kind": "agentTurn", "message": "go"}, "delivery": {"mode": "webhook", "to": to}}))
        };
        assert_eq!(to("HTTPS://x.example/a?b=c").unwrap()["delivery"]["mode"], "webhook");
        let long = format!("http://x/{}", "a".repeat(limits::WEB_URL_BYTES));
        for wrong in ["", "x.example", "ftp://x", "http://", "http:///a", "http://u:p@x", "http://x/a b", &long] {
            assert!(to(wrong).unwrap_err().starts_with("delivery.mode=\"webhook\" requires"), "{wrong}");
        }
    }

    #[test]
    fn a_turn_may_be_part_of_a_conversation() {
        let turn = |target: &str| {
            made(json!({"name": "t", "schedule": {"kind": "every", "everyMs": 60_000}, "sessionTarget": target,
                "payload": {"kind": "agentTurn", "message": "go"}}))
        };
        assert_eq!(turn("session:main").unwrap().get("delivery"), None, "its answer stands there");
        for wrong in ["session:", "elsewhere"] {
            assert!(turn(wrong).unwrap_err().starts_with("at /sessionTarget: must be main, isolated or session:<key"));
        }
        assert!(made(event(json!({"sessionTarget": "session:main"}))).is_err());
    }

    #[test]
    fn texts_are_bounded() {
        let fits = |name: &str, most: usize| {
            assert!(made(event(json!({name: "x".repeat(most)}))).is_ok());
            let text = made(event(json!({name: "x".repeat(most + 1)}))).unwrap_err();
            assert_eq!(text, format!("at /{name}: must NOT have more than {most} characters"));
        };
        fits("name", limits::CRON_NAME_CHARS);
        fits("description", limits::CRON_DESCRIPTION_CHARS);
        let said = |kind: &str, member: &str, most: usize| {
            let of = |len: usize| made(event(json!({"payload": {"kind": kind, member: "x".repeat(len)}})));
            assert!(of(most).is_ok() && of(most + 1).is_err());
        };
        said("systemEvent", "text", limits::SYSTEM_EVENT_CHARS);
        said("agentTurn", "message", limits::CRON_MESSAGE_CHARS);
    }

    #[test]
    fn a_patch_changes_what_it_names() {
        let job = made(json!({"name": "t", "schedule": {"kind": "every", "everyMs": 60_000}, "agentId": "ops",
            "payload": {"kind": "agentTurn", "message": "go", "model": "m"}}));
        let Value::Object(mut job) = job.unwrap() else { panic!() };
        let patch = json!({"agentId": null, "payload": {"kind": "agentTurn", "model": null, "thinking": "low"},
            "delivery": {"mode": "none"}, "schedule": {"kind": "cron", "expr": " 0 7 * * * ", "tz": "UTC"}});
        update(&mut job, &patch, NOW + 1).unwrap();
        assert_eq!(job["payload"], json!({"kind": "agentTurn", "message": "go", "thinking": "low"}));
        assert_eq!(job["delivery"], json!({"mode": "none"}));
        assert_eq!(job["schedule"], json!({"kind": "cron", "expr": "0 7 * * *", "tz": "UTC"}));
        assert_eq!((job.get("agentId"), &job["updatedAtMs"]), (None, &json!(NOW + 1)));
        let main = json!({"sessionTarget": "main", "payload": {"kind": "systemEvent", "text": "x"}});
        update(&mut job, &main, NOW + 2).unwrap();
        assert_eq!((&job["payload"], job.get("delivery")), (&json!({"kind": "systemEvent", "text": "x"}), None));
        assert!(update(&mut job, &json!({"payload": {"kind": "agentTurn"}}), NOW).is_err());
    }
}
