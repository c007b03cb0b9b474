//! The numbers as Prometheus reads them (text format 0.0.4). One table of metrics: a row is its name, its kind, what it
//! means, and where its samples come from. Pure.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use super::{Answered, BEATS, BOUNDS, CRON, OUTCOMES, Snapshot, TOKENS};
use crate::cron::job::Status;
use crate::gateway::conn::tally::Tallied;
use crate::gateway::trouble::Trouble;
use crate::protocol::methods::METHODS;

/// The format's media type.
pub const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All numbers: the state's, the connections', the process's.
pub struct Numbers {
    /// What the state knows.
    pub state: Snapshot,
    /// What the connections' threads counted.
    pub tally: Tallied,
    /// Memory in use, bytes, where the system tells.
    pub resident: Option<u64>,
}

/// One metric.
struct Row {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    samples: fn(&Numbers, &mut Samples<'_>),
}

const fn row(
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    samples: fn(&Numbers, &mut Samples<'_>),
) -> Row {
    Row { name, kind, help, samples }
}

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

const ROWS: &[Row] = &[
    row("openclaw_build_info", GAUGE, "The program's version.", |numbers, out| {
        out.put("", &[("version", numbers.state.version)], &1);
    }),
    row("process_start_time_seconds", GAUGE, "When the process began, Unix time.", |numbers, out| {
        out.plain(&seconds(Duration::from_millis(numbers.state.counts.started_ms)));
    }),
    row("process_resident_memory_bytes", GAUGE, "Memory in use.", |numbers, out| {
        numbers.resident.iter().for_each(|bytes| out.plain(bytes));
    }),
    row("openclaw_connections", GAUGE, "Open connections of every kind.", |numbers, out| {
        out.plain(&numbers.tally.open);
    }),
    row("openclaw_connections_refused_total", COUNTER, "Connections that were not let in.", |numbers, out| {
        out.each("reason", &["full", "unauthenticated"], &numbers.tally.refused);
    }),
    row("openclaw_websockets", GAUGE, "Open WebSockets.", |numbers, out| out.plain(&numbers.state.websockets)),
    row("openclaw_websockets_opened_total", COUNTER, "WebSockets opened since the start.", |numbers, out| {
        out.plain(&numbers.state.counters.opened);
    }),
    row(
        "openclaw_handshakes_total",
        COUNTER,
        "Handshakes by outcome; refused requests of programs count among the refused.",
        |numbers, out| {
            let counters = &numbers.state.counters;
            out.each("outcome", &["admitted", "refused"], &[counters.admitted, counters.refused]);
        },
    ),
    row("openclaw_login_failures_total", COUNTER, "Wrong tokens and passwords.", |numbers, out| {
        out.plain(&numbers.state.login_failures);
    }),
    row("openclaw_requests_total", COUNTER, REQUESTS, requests),
    row("openclaw_late_failures_total", COUNTER, "Accepted requests that failed in the end.", late_failures),
    row("openclaw_http_requests_total", COUNTER, "HTTP requests by route and class of status.", |numbers, out| {
        for (route, class, count) in numbers.tally.requests() {
            out.put("", &[("route", route), ("status", class)], &count);
        }
    }),
    row("openclaw_event_queue_length", GAUGE, "Events that wait for the state thread.", |numbers, out| {
        out.plain(&numbers.state.counts.queued);
    }),
    row("openclaw_event_seconds", "histogram", "Time the state thread spends on one event.", handling),
    row("openclaw_trouble_total", COUNTER, "What went wrong, slow clients among it.", |numbers, out| {
        out.each("type", &Trouble::ALL.map(Trouble::name), &numbers.state.troubles);
    }),
    row("openclaw_sessions", GAUGE, "Sessions in the indexes of all agents.", |numbers, out| {
        out.plain(&numbers.state.sessions);
    }),
    row("openclaw_runs_active", GAUGE, "Turns that work or wait.", |numbers, out| {
        let state = &numbers.state;
        out.each("state", &["running", "queued"], &[state.running as u64, state.waiting as u64]);
    }),
    row("openclaw_runs_total", COUNTER, "Turns that are over, by outcome.", |numbers, out| {
        out.each("outcome", &OUTCOMES, &numbers.state.counts.runs);
    }),
    row("openclaw_heartbeats_total", COUNTER, "Heartbeats, by what became of them.", |numbers, out| {
        out.each("status", &BEATS, &numbers.state.counts.beats);
    }),
    row("openclaw_cron_jobs", GAUGE, "Scheduled jobs.", |numbers, out| out.plain(&numbers.state.jobs)),
    row("openclaw_cron_runs_total", COUNTER, "Scheduled runs by outcome, missed ones as skipped.", |numbers, out| {
        out.each("status", &CRON.map(Status::name), &numbers.state.counts.cron);
    }),
    row("openclaw_tokens_total", COUNTER, "Tokens by model, as providers report them.", |numbers, out| {
        for row in &numbers.state.counts.tokens {
            for (kind, count) in TOKENS.iter().zip(row.counts).filter(|(_, count)| *count > 0) {
                out.put("", &[("provider", &row.provider), ("model", &row.model), ("kind", kind)], &count);
            }
        }
    }),
];

const REQUESTS: &str = "Requests by method and outcome: ok; error, could not be done; refused, wrong or not allowed; \
    accepted, answered when the work was over.";

fn requests(numbers: &Numbers, out: &mut Samples<'_>) {
    let names = METHODS.iter().map(|row| (row.handler as usize, row.name));
    for (at, method) in names.chain([(METHODS.len(), "unknown")]) {
        let counts = numbers.state.counts.requests.get(at).copied().unwrap_or_default();
        for (outcome, count) in Answered::NAMES.iter().zip(counts).filter(|(_, count)| *count > 0) {
            out.put("", &[("method", method), ("outcome", outcome)], &count);
        }
    }
}

fn late_failures(numbers: &Numbers, out: &mut Samples<'_>) {
    let at_once = [Answered::Error, Answered::Refused];
    let requests = numbers.state.counts.requests.iter();
    let errors = requests.flat_map(|counts| at_once.iter().filter_map(|how| counts.get(*how as usize)));
    out.plain(&numbers.state.counters.failed.saturating_sub(errors.sum()));
}

fn handling(numbers: &Numbers, out: &mut Samples<'_>) {
    let times = &numbers.state.counts.handling;
    let mut sum = 0_u64;
    let bounds = BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
    for (bound, count) in bounds.zip(times.counts) {
        sum += count;
        out.put("_bucket", &[("le", bound)], &sum);
    }
    out.put("_sum", &[], &seconds(times.sum));
    out.put("_count", &[], &sum);
}

/// Without a float: exact, and with as many digits as the clock has.
fn seconds(time: Duration) -> String {
    format!("{}.{:09}", time.as_secs(), time.subsec_nanos())
}

/// Where a row's samples go.
struct Samples<'a> {
    out: &'a mut String,
    name: &'static str,
}

impl Samples<'_> {
    fn plain(&mut self, value: &dyn Display) {
        self.put("", &[], value);
    }

    fn each(&mut self, label: &str, names: &[&str], values: &[u64]) {
        for (name, value) in names.iter().zip(values) {
            self.put("", &[(label, name)], value);
        }
    }

    fn put(&mut self, suffix: &str, labels: &[(&str, &str)], value: &dyn Display) {
        self.out.push_str(self.name);
        self.out.push_str(suffix);
        for (at, (label, text)) in labels.iter().enumerate() {
            self.out.push(if at == 0 { '{' } else { ',' });
            self.out.push_str(label);
            self.out.push_str("=\"");
            escape(self.out, text);
            self.out.push('"');
        }
        let _ = writeln!(self.out, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

/// A label's value, in which three characters mean something.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// The whole text.
pub fn text(numbers: &Numbers) -> String {
    let mut out = String::with_capacity(16 * 1024);
    for Row { name, kind, help, samples } in ROWS {
        let head = out.len();
        for part in ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"] {
            out.push_str(part);
        }
        let before = out.len();
        samples(numbers, &mut Samples { out: &mut out, name });
        // a metric without samples is left out
        if out.len() == before {
            out.truncate(head);
        }
    }
    out
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
