//! The lines of a job's run log, as the original writes and reads them: one for each run that is over. Pure.

use serde_json::{Map, Value};

use super::job::{Ended, Status};
use crate::limits;
use crate::sys::order;

/// What is to be shown of a run log.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Most entries.
    pub limit: usize,
    /// Entries to leave out at the beginning.
    pub offset: usize,
    /// Only of this run.
    pub run_id: Option<String>,
    /// Only of these outcomes.
    pub statuses: Vec<String>,
    /// Only with this in answer or error.
    pub query: Option<String>,
    /// The newest first (`Some(true)`) or last; without a wish the newest ones, the oldest of them first.
    pub newest_first: Option<bool>,
}

/// The line of a run.
pub fn line(job_id: &str, ended: &Ended, next_run: Option<u64>) -> Map<String, Value> {
    let text = |text: &Option<String>| text.as_deref().map(|text| Value::from(cut(text)));
    let (session_id, session_key) = ended.session.clone().unzip();
    let members = [
        ("ts", Some(ended.ended.into())),
        ("jobId", Some(job_id.into())),
        ("action", Some("finished".into())),
        ("status", Some(ended.status.name().into())),
        ("error", text(&ended.error)),
        ("summary", text(&ended.summary)),
        ("sessionId", session_id.map(Value::from)),
        ("sessionKey", session_key.map(Value::from)),
        ("runId", ended.run_id.as_deref().map(Value::from)),
        ("runAtMs", Some(ended.began.into())),
        ("durationMs", Some(ended.ended.saturating_sub(ended.began).into())),
        ("nextRunAtMs", next_run.map(Value::from)),
        ("delivered", ended.was_delivered().map(Value::from)),
        ("deliveryStatus", ended.delivery_status().map(Value::from)),
        ("deliveryError", text(&ended.undelivered)),
    ];
    order::object(members.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?))))
}

/// A record of something that was no run: `skipped`, with the reason.
pub fn skipped(why: String, at: u64) -> Ended {
    Ended {
        status: Status::Skipped,
        error: Some(why),
        summary: None,
        session: None,
        run_id: None,
        began: at,
        ended: at,
        delivered: false,
        undelivered: None,
    }
}

/// A text of a run, at the length that is kept.
pub fn cut(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(limits::CRON_SUMMARY_CHARS) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_string(),
    }
}

/// The answer of `cron.runs` from the log's bytes; lines that cannot be read (a cut tail) do not count.
pub fn page(log: &[u8], job_id: &str, wanted: &Wanted) -> Value {
    let lines = log.split(|byte| *byte == b'\n');
    let read = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let found: Vec<Value> = read.filter(|entry| entry["jobId"] == job_id && wanted.has(entry)).collect();
    let total = found.len();
    let from = wanted.offset.min(total);
    let to = from.saturating_add(wanted.limit).min(total);
    let entries: Vec<Value> = match wanted.newest_first {
        Some(false) => found.into_iter().skip(from).take(to - from).collect(),
        Some(true) => found.into_iter().rev().skip(from).take(to - from).collect(),
        None => found.into_iter().skip(total - to).take(to - from).collect(),
    };
    let next = (to < total).then_some(to);
    json!({
        "entries": entries, "total": total, "offset": from, "limit": wanted.limit,
        "hasMore": next.is_some(), "nextOffset": next,
    })
}

impl Wanted {
    fn has(&self, entry: &Value) -> bool {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let says = |query: &String| {
            let query = query.to_lowercase();
            ["summary", "error"].iter().any(|name| text(name).to_lowercase().contains(&query))
        };
        text("action") == "finished"
            && entry.get("ts").is_some_and(Value::is_number)
            && self.run_id.as_ref().is_none_or(|id| text("runId") == id)
            && (self.statuses.is_empty() || self.statuses.iter().any(|status| text("status") == status))
            && self.query.as_ref().is_none_or(says)
    }
}

/// The last run in a log, as far as a job's state needs it. A note that runs were missed is none, though it may bear the
/// moment at which the one that makes up for them began.
pub fn last_run(log: &[u8]) -> Option<Ended> {
    let lines = log.split(|byte| *byte == b'\n').rev();
    let mut read = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    read.find_map(|entry| {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_string);
        let word = text("status")?;
        let status = [Status::Ok, Status::Error].into_iter().find(|status| word == status.name())?;
        let (began, ended) = (entry.get("runAtMs")?.as_u64()?, entry.get("ts")?.as_u64()?);
        let (error, undelivered) = (text("error"), text("deliveryError"));
        let delivered = entry.get("delivered") == Some(&Value::Bool(true));
        Some(Ended { status, error, summary: None, session: None, run_id: None, began, ended, delivered, undelivered })
    })
}

/// What stays of a log that has become too long.
pub fn kept(log: &[u8]) -> &[u8] {
    let end = log.strip_suffix(b"\n").unwrap_or(log);
    let breaks = end.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    let mut from = breaks.map(|(at, _)| at + 1).take(limits::CRON_LOG_LINES);
    // Half the bytes go in any case, so that the next lines do not cut it again.
    let fits = |at: &usize| log.len() - at <= limits::CRON_LOG_BYTES / 2;
    let mut best = log.len();
    let mut seen = 0;
    for at in from.by_ref().take_while(fits) {
        (best, seen) = (at, seen + 1);
    }
    if seen == 0 { log } else { log.get(best..).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(count: u64) -> Vec<u8> {
        let line = |n: u64| {
            let status = if n.is_multiple_of(2) { "ok" } else { "error" };
            json!({"ts": n, "jobId": "j", "action": "finished", "status": status, "summary": format!("Run {n}"), "runAtMs": n})
        };
        (0..count).map(|n| format!("{}\n", line(n))).collect::<String>().into_bytes()
    }

    fn shown(wanted: &Wanted, log: &[u8]) -> Vec<u64> {
        let page = page(log, "j", wanted);
        page["entries"].as_array().unwrap().iter().map(|entry| entry["ts"].as_u64().unwrap()).collect()
    }

    #[test]
    fn the_newest_runs_are_shown_and_a_cut_tail_is_no_run() {
        let mut log = log(10);
        log.extend(b"{\"ts\": 99, \"jobId\": \"j\", \"acti");
        let wanted = Wanted { limit: 3, ..Wanted::default() };
        assert_eq!(shown(&wanted, &log), [7, 8, 9]);
        assert_eq!(shown(&Wanted { offset: 3, ..wanted.clone() }, &log), [4, 5, 6]);
        assert_eq!(shown(&Wanted { newest_first: Some(true), offset: 1, ..wanted.clone() }, &log), [8, 7, 6]);
        assert_eq!(shown(&Wanted { newest_first: Some(false), ..wanted.clone() }, &log), [0, 1, 2]);
        assert_eq!(shown(&Wanted { statuses: vec!["error".into()], ..wanted.clone() }, &log), [5, 7, 9]);
        assert_eq!(shown(&Wanted { query: Some("run 4".into()), ..wanted.clone() }, &log), [4]);
        let last = |log: &[u8]| last_run(log).map(|ended| (ended.status, ended.began));
        assert_eq!(last(&log), Some((Status::Error, 9)));
        let mut noted = log.clone();
        noted.extend(format!("\n{}\n", Value::Object(line("j", &skipped("missed".into(), 10), None))).bytes());
        assert_eq!(last(&noted), Some((Status::Error, 9)), "a note is no run");
        let end = page(&log, "j", &Wanted { offset: 9, ..wanted });
        assert_eq!((&end["total"], &end["hasMore"], &end["nextOffset"]), (&json!(10), &json!(false), &Value::Null));
        assert_eq!(page(b"", "j", &Wanted::default())["entries"], json!([]));
    }

    #[test]
    fn a_log_that_is_too_long_keeps_its_end() {
        let short = log(limits::CRON_LOG_LINES as u64 + 5);
        let left = String::from_utf8(kept(&short).to_vec()).unwrap();
        assert_eq!(left.lines().count(), limits::CRON_LOG_LINES);
        assert!(left.starts_with('{') && left.ends_with("}\n"));
        let wide: Vec<u8> =
            "x".repeat(limits::CRON_LOG_BYTES / 10).lines().flat_map(|l| [l, "\n"].concat().into_bytes()).collect();
        let wide = wide.repeat(12);
        assert!(kept(&wide).len() <= limits::CRON_LOG_BYTES / 2 && !kept(&wide).is_empty());
        assert_eq!(kept(b"one line"), b"one line");
    }

    #[test]
    fn a_line_has_what_is_known() {
        let ended = Ended { summary: Some("x".repeat(limits::CRON_SUMMARY_CHARS + 1)), ..skipped("why".into(), 5) };
        let line = line("j", &ended, None);
        assert_eq!(line["summary"].as_str().unwrap().chars().count(), limits::CRON_SUMMARY_CHARS + 1);
        assert_eq!((&line["status"], &line["error"], &line["ts"]), (&json!("skipped"), &json!("why"), &json!(5)));
        assert!(!line.contains_key("nextRunAtMs") && !line.contains_key("delivered"));
    }
}
