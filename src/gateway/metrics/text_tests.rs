//! The text, read back by a parser that takes nothing the format does not allow.

use std::collections::BTreeSet;

use super::*;
use crate::agent::model::ModelRef;
use crate::gateway::conn::tally::{Place, Tally};
use crate::gateway::metrics::Counts;
use crate::gateway::state::Counters;
use crate::http::route::Route;
use crate::protocol::errors::Code;

/// One sample: name, labels, value.
type Sample = (String, Vec<(String, String)>, f64);

/// One metric with its samples.
struct Family {
    name: String,
    kind: String,
    samples: Vec<Sample>,
}

fn is_name(text: &str, colons: bool) -> bool {
    let mut chars = text.chars();
    let start = |c: char| c.is_ascii_alphabetic() || c == '_' || (colons && c == ':');
    chars.next().is_some_and(start) && chars.all(|c| start(c) || c.is_ascii_digit())
}

/// Labels between the braces, and what follows them.
fn labels(text: &str) -> (Vec<(String, String)>, &str) {
    let Some(mut rest) = text.strip_prefix('{') else { return (Vec::new(), text) };
    let mut found = Vec::new();
    loop {
        let (name, after) = rest.split_once("=\"").expect("a label's name");
        assert!(is_name(name, false) && !name.starts_with("__"), "{name}");
        let (mut value, mut chars) = (String::new(), after.char_indices());
        let end = loop {
            match chars.next().expect("a label's end") {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next().expect("an escape").1 {
                    '\\' => '\\',
                    '"' => '"',
                    'n' => '\n',
                    other => panic!("escape of {other}"),
                }),
                (_, c) => value.push(c),
            }
        };
        found.push((name.to_string(), value));
        match after.split_at(end + 1).1.split_at(1) {
            (",", more) => rest = more,
            ("}", more) => return (found, more),
            other => panic!("after a label: {other:?}"),
        }
    }
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).expect("a value");
    let (name, rest) = line.split_at(end);
    assert!(is_name(name, true), "{name}");
    let (labels, rest) = labels(rest);
    let value = rest.strip_prefix(' ').expect("one blank before the value");
    assert!(!value.contains(' '), "no time stamps: {line}");
    (name.to_string(), labels, value.parse().unwrap_or_else(|_| panic!("{line}")))
}

fn parse(text: &str) -> Vec<Family> {
    assert!(text.ends_with('\n') && !text.contains("\n\n") && !text.contains('\r'));
    let mut families: Vec<Family> = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let (name, help) = line.strip_prefix("# HELP ").expect(line).split_once(' ').expect("a help text");
        assert!(is_name(name, true) && !help.is_empty() && !help.contains('\\'), "{line}");
        let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).expect(name).to_string();
        assert!(["counter", "gauge", "histogram"].contains(&kind.as_str()), "{kind}");
        assert!(families.iter().all(|family| family.name != name), "{name} twice");
        let mut samples = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            samples.push(sample(line));
        }
        families.push(Family { name: name.to_string(), kind, samples });
    }
    families
}

fn check(family: &Family) {
    let Family { name, kind, samples } = family;
    assert!(!samples.is_empty(), "{name}");
    assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
    let mut seen = BTreeSet::new();
    for (sample, labels, value) in samples {
        let suffix = sample.strip_prefix(name.as_str()).expect(sample);
        let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(suffixes.contains(&suffix), "{sample}");
        assert!(value.is_finite() && *value >= 0.0, "{sample}");
        let names: BTreeSet<_> = labels.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), labels.len(), "{sample}: a label twice");
        assert!(seen.insert((sample, labels)), "{sample} {labels:?} twice");
    }
    if kind == "histogram" {
        check_histogram(samples);
    }
}

fn check_histogram(samples: &[Sample]) {
    let buckets: Vec<(f64, f64)> = samples
        .iter()
        .filter(|(name, ..)| name.ends_with("_bucket"))
        .map(|(_, labels, value)| (labels[0].1.replace("+Inf", "inf").parse().unwrap(), *value))
        .collect();
    assert!(buckets.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1), "{buckets:?}");
    let count = samples.iter().find(|(name, ..)| name.ends_with("_count")).unwrap().2;
    assert_eq!(*buckets.last().unwrap(), (f64::INFINITY, count));
}

fn numbers() -> Numbers {
    let mut counts = Counts::default();
    let health = METHODS.iter().find(|row| row.name == "health");
    counts.request(health, Answered::Ok);
    counts.request(health, Answered::Ok);
    counts.request(health, Answered::Error);
    counts.request(None, Answered::refusing(Code::InvalidRequest));
    counts.request(health, Answered::Accepted);
    counts.heartbeat("sent");
    counts.scheduled(Status::Skipped);
    counts.started_ms = 1_700_000_000_123;
    for micros in [5, 50, 5_000_000] {
        counts.handling.add(Duration::from_micros(micros));
    }
    counts.embedded(&ModelRef::new("p\"q", "back\\slash\nline"), 7);
    let tally = Tally::default();
    tally.answered(Place::of(Route::Index), 200);
    tally.refused(true);
    let state = Snapshot {
        counts,
        counters: Counters { opened: 3, admitted: 2, refused: 1, requests: 4, failed: 5 },
        version: "1.2.3",
        websockets: 2,
        running: 1,
        waiting: 0,
        sessions: 4,
        jobs: 2,
        login_failures: 6,
        troubles: [9; Trouble::ALL.len()],
    };
    Numbers { state, tally: tally.read(8), resident: Some(5_000_000) }
}

#[test]
fn every_metric_is_well_formed() {
    let families = parse(&text(&numbers()));
    families.iter().for_each(check);
    assert_eq!(families.len(), ROWS.len());
    // in OpenMetrics a counter has the name without its ending, which must not be another metric's
    let bare: BTreeSet<&str> = families.iter().map(|family| family.name.trim_end_matches("_total")).collect();
    assert_eq!(bare.len(), families.len());
}

#[test]
fn the_samples_say_what_was_counted() {
    let families = parse(&text(&numbers()));
    let of = |name: &str, labels: &[(&str, &str)]| {
        let labels: Vec<_> = labels.iter().map(|(name, text)| ((*name).to_string(), (*text).to_string())).collect();
        let mut samples = families.iter().flat_map(|family| &family.samples);
        samples.find(|(sample, found, _)| sample == name && *found == labels).map(|sample| sample.2)
    };
    assert_eq!(of("openclaw_requests_total", &[("method", "health"), ("outcome", "ok")]), Some(2.0));
    assert_eq!(of("openclaw_requests_total", &[("method", "unknown"), ("outcome", "refused")]), Some(1.0));
    assert_eq!(of("openclaw_requests_total", &[("method", "health"), ("outcome", "error")]), Some(1.0));
    assert_eq!(of("openclaw_requests_total", &[("method", "health"), ("outcome", "accepted")]), Some(1.0));
    // five failed, two of them at once
    assert_eq!(of("openclaw_late_failures_total", &[]), Some(3.0));
    assert_eq!(of("process_start_time_seconds", &[]), Some(1_700_000_000.123));
    assert_eq!(of("openclaw_event_seconds_bucket", &[("le", "0.0001")]), Some(2.0));
    assert_eq!(of("openclaw_event_seconds_sum", &[]), Some(5.000_055));
    assert_eq!(of("openclaw_trouble_total", &[("type", "ws.slow_consumer")]), Some(9.0));
    assert_eq!(of("openclaw_connections_refused_total", &[("reason", "full")]), Some(1.0));
    assert_eq!(of("openclaw_http_requests_total", &[("route", "index"), ("status", "2xx")]), Some(1.0));
    assert_eq!(of("openclaw_heartbeats_total", &[("status", "sent")]), Some(1.0));
    assert_eq!(of("openclaw_cron_runs_total", &[("status", "skipped")]), Some(1.0));
    let model = [("provider", "p\"q"), ("model", "back\\slash\nline"), ("kind", "embedding")];
    assert_eq!(of("openclaw_tokens_total", &model), Some(7.0));
}

#[test]
fn what_the_system_does_not_tell_is_left_out() {
    let text = text(&Numbers { resident: None, ..numbers() });
    assert!(!text.contains("resident"));
    parse(&text).iter().for_each(check);
}
