//! `logs`: the gateway's log through `logs.tail`, once or for ever (`spec/cli.md` 11).

use std::time::Duration;

use serde_json::{Map, Value};

use crate::cli::amount;
use crate::cli::fail::{CliError, Kind};
use crate::cli::out::Style;
use crate::cli::parse::Parsed;
use crate::cli::rpc::{Line, list, text};
use crate::cli::world::World;
use crate::limits;
use crate::sys::date;
use crate::sys::order;

/// What stays the same over all requests.
struct Tail<'a> {
    world: &'a World,
    parsed: &'a Parsed,
    limit: u64,
    max_bytes: u64,
    utc: bool,
    cursor: Option<u64>,
    announced: bool,
}

/// `logs [--follow]`
///
/// # Errors
/// The first request fails; while following only a closed standard output.
pub fn run(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let interval = amount::millis(parsed, "interval", 1000)?;
    let mut tail = Tail {
        world,
        parsed,
        limit: amount::count(parsed, "limit", 200)?,
        max_bytes: amount::count(parsed, "max-bytes", 250_000)?,
        utc: parsed.has("utc"),
        cursor: None,
        announced: false,
    };
    let mut line = tail.open().and_then(|mut line| tail.step(&mut line).map(|()| line)).map_err(|e| tail.failure(e))?;
    while parsed.has("follow") {
        std::thread::sleep(interval);
        line.renew();
        match tail.step(&mut line) {
            Ok(()) => {}
            Err(error) if error.kind == Kind::Transport => line = tail.reopen(interval)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Tail<'_> {
    fn open(&self) -> Result<Line, CliError> {
        Line::open(self.world, self.parsed, &["logs.tail"])
    }

    /// Waits for the gateway to come back; a restart must not end `--follow`.
    fn reopen(&mut self, interval: Duration) -> Result<Line, CliError> {
        self.notice("Gateway connection lost; waiting for it to come back.")?;
        loop {
            std::thread::sleep(limits::FOLLOW_RETRY.max(interval));
            match self.open() {
                Ok(line) => {
                    self.notice("Gateway is back.")?;
                    return Ok(line);
                }
                Err(error) if error.kind == Kind::Transport || error.wire.retryable => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn step(&mut self, line: &mut Line) -> Result<(), CliError> {
        let mut params = Map::new();
        params.insert("limit".into(), self.limit.into());
        params.insert("maxBytes".into(), self.max_bytes.into());
        if let Some(cursor) = self.cursor {
            params.insert("cursor".into(), cursor.into());
        }
        let payload = line.call("logs.tail", &params.into())?;
        self.show(&payload)?;
        self.cursor = payload.get("cursor").and_then(Value::as_u64).or(self.cursor);
        Ok(())
    }

    fn show(&mut self, payload: &Value) -> Result<(), CliError> {
        let json = self.world.json;
        if !self.announced {
            self.announced = true;
            match json {
                true => self.world.out.json_line(&meta(payload))?,
                false => self.world.out.styled(&[(Style::Dim, &format!("Log file: {}", text(payload, "file")))])?,
            }
        }
        let flag = |name: &str| payload.get(name).and_then(Value::as_bool) == Some(true);
        if flag("reset") {
            self.notice("Log cursor reset (file rotated).")?;
        }
        if flag("truncated") {
            self.notice("Log tail truncated (increase --max-bytes).")?;
        }
        for raw in list(payload, "lines").iter().filter_map(Value::as_str) {
            match (Entry::read(raw), json) {
                (Some(entry), true) => self.world.out.json_line(&entry.to_json(raw))?,
                (Some(entry), false) => self.print(&entry)?,
                (None, true) => self.world.out.json_line(&json!({ "type": "raw", "raw": raw }))?,
                (None, false) => self.world.out.line(raw)?,
            }
        }
        Ok(())
    }

    fn notice(&self, message: &str) -> Result<(), CliError> {
        if self.world.json {
            return self.world.out.json_line(&json!({ "type": "notice", "message": message }));
        }
        self.world.out.note(Style::Warn, message);
        Ok(())
    }

    fn print(&self, entry: &Entry) -> Result<(), CliError> {
        let style = match entry.level.as_str() {
            "error" | "fatal" => Style::Bad,
            "warn" => Style::Warn,
            "debug" | "trace" => Style::Dim,
            _ => Style::Plain,
        };
        let shown = if self.utc { in_utc(&entry.time) } else { entry.time.clone() };
        let clock = if self.world.out.terminal { shown.get(11..19).unwrap_or(&shown).to_string() } else { shown };
        let name = entry.subsystem.as_deref().or(entry.module.as_deref()).unwrap_or_default();
        let mut parts: Vec<(Style, &str)> = Vec::new();
        for part in
            [(Style::Dim, clock.as_str()), (style, &entry.level), (Style::Strong, name), (style, &entry.message)]
        {
            if !part.1.is_empty() {
                parts.extend((!parts.is_empty()).then_some((Style::Plain, " ")));
                parts.push(part);
            }
        }
        self.world.out.styled(&parts)
    }

    /// The first failure, in the words and shapes that scripts know.
    fn failure(&self, error: CliError) -> CliError {
        let unreachable = matches!(error.kind, Kind::Transport);
        if self.world.json && error.kind != Kind::BrokenPipe && error.kind != Kind::Usage {
            let target = error.wire.target.clone().unwrap_or_else(|| json!({}));
            let mut details = target.as_object().cloned().unwrap_or_default();
            details.insert("message".into(), error.lines().into());
            let message = if unreachable { NOT_REACHABLE } else { error.message.as_str() };
            let object = json!({
                "type": "error", "message": message, "error": error.wire.reason.as_deref().unwrap_or(&error.message),
                "details": details, "hint": format!("Hint: run `{}`.", self.world.command("doctor")),
            });
            self.world.out.note(Style::Plain, &object.to_string());
            return CliError::negative();
        }
        if !unreachable {
            return error;
        }
        let reason = error.message.clone();
        let mut error = error;
        error.message = NOT_REACHABLE.to_string();
        error.hints.insert(0, reason);
        error.hint(format!("Hint: run `{}`.", self.world.command("doctor")))
    }
}

const NOT_REACHABLE: &str = "Gateway not reachable. Is it running and accessible?";

fn meta(payload: &Value) -> Value {
    let mut meta = json!({ "type": "meta", "file": text(payload, "file"), "sourceKind": "file" });
    if let Value::Object(members) = &mut meta {
        for name in ["cursor", "size"] {
            members.insert(name.into(), payload.get(name).cloned().unwrap_or(Value::Null));
        }
    }
    meta
}

/// One log line in the file's shape (`spec/lifecycle.md` 14).
#[derive(Debug, PartialEq)]
struct Entry {
    time: String,
    level: String,
    subsystem: Option<String>,
    module: Option<String>,
    message: String,
}

impl Entry {
    fn read(raw: &str) -> Option<Entry> {
        let Value::Object(line) = serde_json::from_str(raw).ok()? else { return None };
        let meta = line.get("_meta").unwrap_or(&Value::Null);
        let binding = text(meta, "name");
        let names: Value = serde_json::from_str(binding).unwrap_or(Value::Null);
        let name = |key: &str| Some(text(&names, key).to_string()).filter(|name| !name.is_empty());
        let time = match line.get("time").and_then(Value::as_str) {
            Some(time) => time.to_string(),
            None => text(meta, "date").to_string(),
        };
        let level = text(meta, "logLevelName").to_lowercase();
        if time.is_empty() && level.is_empty() {
            return None;
        }
        Some(Entry {
            time,
            level,
            subsystem: name("subsystem"),
            module: name("module"),
            message: message(&line, binding),
        })
    }

    fn to_json(&self, raw: &str) -> Value {
        let mut object = json!({ "type": "log", "time": self.time, "level": self.level });
        if let Value::Object(members) = &mut object {
            for (key, name) in [("subsystem", &self.subsystem), ("module", &self.module)] {
                if let Some(name) = name {
                    members.insert(key.into(), name.as_str().into());
                }
            }
            members.insert("message".into(), self.message.as_str().into());
            members.insert("raw".into(), raw.into());
        }
        object
    }
}

/// The numbered members in order, joined; the binding object that repeats the name is left out.
fn message(line: &Map<String, Value>, binding: &str) -> String {
    let mut parts: Vec<(u32, &Value)> =
        line.iter().filter_map(|(key, value)| key.parse().ok().map(|n: u32| (n, value))).collect();
    order::by_key(&mut parts, |(n, _)| *n);
    let texts = parts.iter().filter_map(|(_, value)| match value {
        Value::String(text) if !binding.is_empty() && text == binding => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    });
    let joined = texts.collect::<Vec<_>>().join(" ");
    match (joined.is_empty(), line.get("message").and_then(Value::as_str)) {
        (true, Some(message)) => message.to_string(),
        _ => joined,
    }
}

/// An ISO time with a zone offset, moved to UTC; anything else stays.
fn in_utc(time: &str) -> String {
    shifted(time).unwrap_or_else(|| time.to_string())
}

fn shifted(time: &str) -> Option<String> {
    let number = |from: usize, to: usize| time.get(from..to)?.parse::<i64>().ok();
    let sign = match time.get(23..24)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let offset = sign * (number(24, 26)? * 3600 + number(27, 29)? * 60);
    let days = date::days(number(0, 4)?, u32::try_from(number(5, 7)?).ok()?, u32::try_from(number(8, 10)?).ok()?);
    let seconds = days * date::DAY + number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)? - offset;
    let wall_ms = u64::try_from(seconds.checked_mul(1000)? + number(20, 23)?).ok()?;
    Some(date::iso_utc(wall_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_shapes_and_strips_the_binding() {
        let a = r#"{"0":"{\"subsystem\":\"gateway/ws\"}","1":"← open","_meta":{"name":"{\"subsystem\":\"gateway/ws\"}","logLevelName":"INFO","date":"d"},"time":"2026-11-21T02:11:55.234Z"}"#;
        let entry = Entry::read(a).unwrap();
        assert_eq!(
            (entry.level.as_str(), entry.subsystem.as_deref(), entry.message.as_str()),
            ("info", Some("gateway/ws"), "← open")
        );
        assert_eq!(entry.time, "2026-11-21T02:11:55.234Z");
        let b =
            r#"{"0":"Gateway reachable.","_meta":{"name":"openclaw","logLevelName":"WARN"},"time":"t","message":"x"}"#;
        assert_eq!(Entry::read(b).unwrap().message, "Gateway reachable.");
        let c = r#"{"0":{"port":1},"1":"listening","_meta":{"logLevelName":"INFO","date":"d"}}"#;
        assert_eq!(Entry::read(c).unwrap().message, "{\"port\":1} listening");
        assert_eq!(Entry::read("plain text"), None);
        assert_eq!(Entry::read("[1]"), None);
    }

    #[test]
    fn utc_moves_the_offset() {
        assert_eq!(in_utc("2026-11-21T01:30:00.250+02:00"), "2026-11-20T23:30:00.250Z");
        assert_eq!(in_utc("2026-11-21T01:30:00.250Z"), "2026-11-21T01:30:00.250Z");
        assert_eq!(in_utc("nonsense"), "nonsense");
    }
}
