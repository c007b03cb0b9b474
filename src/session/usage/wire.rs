//! The forms of `sessions.usage`, its two details and `usage.cost`, as seen on the original. Pure printing of counts.

use serde_json::{Map, Value};

use crate::agent::message::Usage;
use crate::limits;
use crate::session::member::{at, text};
use crate::session::preview;
use crate::store::session::entry::Entry;
use crate::store::transcript::Transcript;

use super::{Counts, Day, ModelName, OfModel, Span, Tally, messages};
use crate::sys::order;
use crate::sys::table::Table;

/// One session of a report.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// Its key.
    pub key: &'a str,
    /// Its agent.
    pub agent: &'a str,
    /// Its entry.
    pub entry: &'a Entry,
    /// Its transcript's path.
    pub file: &'a str,
    /// What it cost.
    pub tally: Tally,
}

/// The answer of `sessions.usage`.
pub fn sessions(rows: &[Row<'_>], span: &Span, now_ms: u64) -> Value {
    let mut all = Tally::default();
    let mut agents: Table<String, Usage> = Table::new();
    let mut channels: Table<String, Usage> = Table::new();
    for row in rows {
        let usage = row.tally.sum().usage;
        all.add(&row.tally);
        agents.or_default(row.agent.to_string()).add(&usage);
        if let Some(channel) = channel(row.entry) {
            channels.or_default(channel).add(&usage);
        }
    }
    let rows: Vec<Value> = rows.iter().map(row).collect();
    json!({
        "updatedAt": now_ms,
        "startDate": span.start,
        "endDate": span.end,
        "sessions": rows,
        "totals": totals(&all.sum().usage),
        "aggregates": with(aggregates(&all, &agents, &channels), json!({"sessionCount": rows.len(), "costDaily": daily(&all)})),
    })
}

/// The answer of `usage.cost`.
pub fn cost(all: &Tally, days: u64, now_ms: u64) -> Value {
    json!({"updatedAt": now_ms, "days": days, "daily": daily(all), "totals": totals(&all.sum().usage)})
}

fn daily(all: &Tally) -> Vec<Value> {
    all.days.iter().map(|(date, day)| with(json!({"date": date}), totals(&day.usage))).collect()
}

/// The answer of `sessions.usage.timeseries`: one point an answer, at most the newest so many.
pub fn series(session_id: &str, transcript: &Transcript) -> Value {
    let (mut tokens, mut money) = (0_u64, 0.0);
    let mut points = Vec::new();
    for (at_ms, message) in messages(transcript).filter(|(_, message)| text(message, "role") == Some("assistant")) {
        let usage = Usage::of(at(&message, "usage").clone());
        tokens = tokens.saturating_add(usage.total_tokens);
        money += usage.cost.total;
        points.push(json!({
            "timestamp": at_ms, "input": usage.input, "output": usage.output, "cacheRead": usage.cache_read,
            "cacheWrite": usage.cache_write, "totalTokens": usage.total_tokens, "cost": usage.cost.total,
            "cumulativeTokens": tokens, "cumulativeCost": money,
        }));
    }
    let points = points.split_off(points.len().saturating_sub(limits::USAGE_POINTS));
    json!({"sessionId": session_id, "points": points})
}

/// The answer of `sessions.usage.logs`: the newest messages as plain text.
pub fn logs(transcript: &Transcript, limit: usize) -> Value {
    let mut lines: Vec<Value> = messages(transcript).filter_map(|(at_ms, message)| log_line(at_ms, &message)).collect();
    let lines = lines.split_off(lines.len().saturating_sub(limit));
    json!({ "logs": lines })
}

fn log_line(at_ms: u64, message: &Value) -> Option<Value> {
    let role = text(message, "role")?;
    let content = at(message, "content");
    let blocks = content.as_array().into_iter().flatten().filter_map(|block| text(block, "text"));
    let mut words: Vec<&str> = content.as_str().into_iter().chain(blocks).collect();
    let tool = format!("[Tool: {}]", text(message, "toolName").unwrap_or("unknown"));
    if role == "toolResult" {
        words.splice(0..0, [tool.as_str(), "[Tool Result]"]);
    }
    let content = preview::cut(words.join("\n").trim(), limits::USAGE_LOG_CHARS);
    if content.is_empty() {
        return None;
    }
    let mut line = json!({"timestamp": at_ms, "role": role, "content": content});
    if role == "assistant" {
        let usage = Usage::of(at(message, "usage").clone());
        line = with(line, json!({"tokens": usage.total_tokens, "cost": usage.cost.total}));
    }
    Some(line)
}

fn channel(entry: &Entry) -> Option<String> {
    let origin = || entry.object("origin").and_then(|origin| origin.text("provider").map(|name| name.into_owned()));
    let own = entry.text("channel").map(|name| name.into_owned());
    own.or_else(origin).or_else(|| entry.text("lastChannel").map(|name| name.into_owned()))
}

fn row(row: &Row<'_>) -> Value {
    let entry = row.entry;
    let mut out = json!({"key": row.key, "updatedAt": entry.updated_ms(), "agentId": row.agent});
    for name in
        ["sessionId", "label", "chatType", "origin", "modelProvider", "model", "modelOverride", "providerOverride"]
    {
        let value = entry.fields().get(name).map(|field| field.value()).filter(|value| !value.is_null());
        out = with(out, value.map_or(json!({}), |value| json!({ name: value })));
    }
    let named = channel(entry).map_or(json!({}), |channel| json!({ "channel": channel }));
    let usage = with(json!({"sessionId": entry.session_id(), "sessionFile": row.file}), session(&row.tally));
    with(with(out, named), json!({ "usage": usage }))
}

fn session(tally: &Tally) -> Value {
    let sum = tally.sum();
    let days = || tally.days.iter();
    let tokens: Vec<Value> = days()
        .map(|(date, day)| json!({"date": date, "tokens": day.usage.total_tokens, "cost": day.usage.cost.total}))
        .collect();
    let counted: Vec<Value> = days().map(|(date, day)| with(json!({"date": date}), counts(&day.counts))).collect();
    let dates: Vec<&String> = tally.days.keys().collect();
    let mut out = json!({
        "activityDates": dates, "dailyBreakdown": tokens, "dailyMessageCounts": counted,
        "dailyLatency": daily_waits(tally), "dailyModelUsage": daily_models(tally),
        "messageCounts": counts(&sum.counts), "modelUsage": models(&sum.models),
    });
    if let (Some(first), Some(last)) = (sum.first_ms, sum.last_ms) {
        let life = json!({"firstActivity": first, "lastActivity": last, "durationMs": last.saturating_sub(first)});
        out = with(out, life);
    }
    if !sum.tools.is_empty() {
        out = with(out, json!({ "toolUsage": tools(&sum) }));
    }
    if let Some(waits) = waits(&sum.waits) {
        out = with(out, json!({ "latency": waits }));
    }
    with(out, totals(&sum.usage))
}

fn aggregates(all: &Tally, agents: &Table<String, Usage>, channels: &Table<String, Usage>) -> Value {
    let sum = all.sum();
    let mut providers: Table<&str, OfModel> = Table::new();
    for ((provider, _), answers) in &sum.models {
        let provider = providers.or_default(provider);
        provider.count += answers.count;
        provider.usage.add(&answers.usage);
    }
    let by = |name: &str, map: &Table<String, Usage>| -> Vec<Value> {
        map.iter().map(|(key, usage)| json!({ name: key, "totals": totals(usage) })).collect()
    };
    let daily = |(date, day): (&String, &Day)| {
        json!({"date": date, "tokens": day.usage.total_tokens, "cost": day.usage.cost.total,
            "messages": day.counts.user + day.counts.assistant, "toolCalls": day.counts.tool_calls,
            "errors": day.counts.errors})
    };
    let by_provider = providers.iter().map(
        |(provider, answers)| json!({"provider": provider, "count": answers.count, "totals": totals(&answers.usage)}),
    );
    let out = json!({
        "messages": counts(&sum.counts),
        "tools": tools(&sum),
        "byModel": models(&sum.models),
        "byProvider": by_provider.collect::<Vec<_>>(),
        "byAgent": by("agentId", agents),
        "byChannel": by("channel", channels),
        "dailyLatency": daily_waits(all),
        "modelDaily": daily_models(all),
        "daily": all.days.iter().map(daily).collect::<Vec<_>>(),
    });
    with(out, waits(&sum.waits).map_or(json!({}), |waits| json!({ "latency": waits })))
}

fn totals(usage: &Usage) -> Value {
    json!({
        "input": usage.input, "output": usage.output, "cacheRead": usage.cache_read, "cacheWrite": usage.cache_write,
        "totalTokens": usage.total_tokens, "totalCost": usage.cost.total, "inputCost": usage.cost.input,
        "outputCost": usage.cost.output, "cacheReadCost": usage.cost.cache_read,
        "cacheWriteCost": usage.cost.cache_write, "missingCostEntries": 0,
    })
}

fn counts(counts: &Counts) -> Value {
    json!({
        "total": counts.user + counts.assistant, "user": counts.user, "assistant": counts.assistant,
        "toolCalls": counts.tool_calls, "toolResults": counts.tool_results, "errors": counts.errors,
    })
}

fn tools(sum: &Day) -> Value {
    let mut tools: Vec<(&String, &u64)> = sum.tools.iter().collect();
    order::by(&mut tools, |a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
    let list: Vec<Value> = tools.iter().map(|(name, count)| json!({"name": name, "count": count})).collect();
    json!({"totalCalls": sum.tools.values().sum::<u64>(), "uniqueTools": list.len(), "tools": list})
}

fn models(models: &Table<ModelName, OfModel>) -> Vec<Value> {
    let mut list: Vec<(&ModelName, &OfModel)> = models.iter().collect();
    order::by(&mut list, |a, b| b.1.usage.cost.total.total_cmp(&a.1.usage.cost.total).then_with(|| a.0.cmp(b.0)));
    let form = |((provider, model), answers): (&ModelName, &OfModel)| json!({"provider": provider, "model": model, "count": answers.count, "totals": totals(&answers.usage)});
    list.into_iter().map(form).collect()
}

fn daily_models(tally: &Tally) -> Vec<Value> {
    let of_day = |(date, day): (&String, &Day)| {
        let form = |((provider, model), answers): (&ModelName, &OfModel)| {
            json!({"date": date, "provider": provider, "model": model, "tokens": answers.usage.total_tokens,
                "cost": answers.usage.cost.total, "count": answers.count})
        };
        day.models.iter().map(form).collect::<Vec<_>>()
    };
    tally.days.iter().flat_map(of_day).collect()
}

fn daily_waits(tally: &Tally) -> Vec<Value> {
    let of_day = |(date, day): (&String, &Day)| waits(&day.waits).map(|waits| with(json!({"date": date}), waits));
    tally.days.iter().filter_map(of_day).collect()
}

fn waits(waits: &[u64]) -> Option<Value> {
    let mut sorted = waits.to_vec();
    order::by(&mut sorted, Ord::cmp);
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let rank = (sorted.len() * 95).div_ceil(100).max(1) - 1;
    let count = u32::try_from(sorted.len()).unwrap_or(u32::MAX);
    let average = sorted.iter().sum::<u64>() as f64 / f64::from(count);
    Some(json!({"count": count, "avgMs": average, "p95Ms": sorted.get(rank), "minMs": min, "maxMs": max}))
}

/// The members of both.
fn with(one: Value, two: Value) -> Value {
    let mut out: Map<String, Value> = one.as_object().cloned().unwrap_or_default();
    out.extend(two.as_object().cloned().unwrap_or_default());
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::usage::tests::example;
    use crate::store::session::object::Object;

    const EXAMPLE: &str = include_str!("../../../fixtures/sessions/transcript-v2026.2.9.jsonl");

    #[test]
    fn a_report_has_the_members_of_the_original() {
        let entry = r#"{"sessionId":"s","updatedAt":7,"origin":{"provider":"webchat"},"chatType":"direct"}"#;
        let entry = Entry::from(Object::parse(entry).unwrap());
        let row = Row { key: "agent:main:ex", agent: "main", entry: &entry, file: "/f", tally: example() };
        let span = Span { start: "2026-11-01".into(), end: "2026-11-30".into() };
        let report = sessions(&[row], &span, 9);
        let session = &report["sessions"][0];
        assert_eq!((&session["channel"], &session["usage"]["totalTokens"]), (&"webchat".into(), &240.into()));
        assert_eq!(session["usage"]["dailyModelUsage"][0]["count"], 2);
        assert_eq!(
            session["usage"]["latency"],
            json!({"count": 2, "avgMs": 255.5, "p95Ms": 485, "minMs": 26, "maxMs": 485})
        );
        assert_eq!(session["usage"]["messageCounts"]["total"], 3);
        let names: Vec<&String> = report["aggregates"].as_object().unwrap().keys().collect();
        assert_eq!(
            names,
            [
                "byAgent",
                "byChannel",
                "byModel",
                "byProvider",
                "costDaily",
                "daily",
                "dailyLatency",
                "latency",
                "messages",
                "modelDaily",
                "sessionCount",
                "tools"
            ]
        );
        assert_eq!(
            report["aggregates"]["tools"],
            json!({"totalCalls": 1, "uniqueTools": 1, "tools": [{"name": "exec", "count": 1}]})
        );
    }

    #[test]
    fn costs_are_listed_by_day() {
        let report = cost(&example(), 2, 9);
        assert_eq!((&report["daily"][0]["date"], &report["totals"]["cacheRead"]), (&"2026-11-21".into(), &80.into()));
    }

    #[test]
    fn details_are_those_of_the_original() {
        let transcript = Transcript::parse(EXAMPLE.as_bytes().to_vec(), true);
        let series = series("s", &transcript);
        assert_eq!(series["points"][1]["cumulativeTokens"], 240);
        assert_eq!(series["points"][0]["timestamp"], 1_795_226_293_192_u64);
        let logs = logs(&transcript, 3);
        assert_eq!(
            logs["logs"][0],
            json!({"timestamp": 1_795_226_293_192_u64, "role": "assistant",
            "content": "let me use a tool", "tokens": 120, "cost": 0.0001})
        );
        assert_eq!(logs["logs"][1]["content"], "[Tool: exec]\n[Tool Result]\nhi\nthere");
        assert_eq!(logs["logs"].as_array().unwrap().len(), 3);
    }
}
