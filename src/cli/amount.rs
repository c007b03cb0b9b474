//! Times and counts as people read and type them: `7m ago`, `30m`, `10000`.
//! Pure.

use std::time::Duration;

use serde_json::Value;

use super::fail::CliError;
use super::parse::Parsed;

/// A span in its largest unit: `12s`, `7m`, `3h`, `2d`.
pub fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `7m ago`, or `just now` within the first minute.
pub fn ago(ms: u64) -> String {
    if ms < 60_000 { "just now".to_string() } else { format!("{} ago", span(ms)) }
}

/// How long ago a wall-clock time of a payload was.
pub fn since(at: Option<&Value>, now_ms: u64) -> Option<String> {
    let at = at.and_then(Value::as_u64).filter(|at| *at > 0)?;
    Some(ago(now_ms.saturating_sub(at)))
}

/// A span as people type it: `500ms`, `30s`, `30m`, `24h`, `7d`; a bare number means milliseconds.
pub fn parse_span(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let unit = match unit {
        "" | "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// The value of a flag that takes milliseconds.
///
/// # Errors
/// Anything but a positive number.
pub fn millis(parsed: &Parsed, flag: &str, default: u64) -> Result<Duration, CliError> {
    let Some(text) = parsed.text(flag) else { return Ok(Duration::from_millis(default)) };
    match text.trim().parse::<u64>() {
        Ok(ms) if ms > 0 => Ok(Duration::from_millis(ms.min(MAX_MILLIS))),
        _ => Err(CliError::usage(format!(
            "Invalid --{flag}. Use a positive millisecond value, e.g. --{flag} 30000. Received: \"{text}\"."
        ))),
    }
}

/// A day: longer waits are a slip, and no clock can overflow.
const MAX_MILLIS: u64 = 86_400_000;

/// The value of a flag that takes a count.
///
/// # Errors
/// Anything but a positive number.
pub fn count(parsed: &Parsed, flag: &str, default: u64) -> Result<u64, CliError> {
    let Some(text) = parsed.text(flag) else { return Ok(default) };
    match text.trim().parse::<u64>() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(CliError::usage(format!("Invalid --{flag}. Use a positive number. Received: \"{text}\"."))),
    }
}

/// The value of `--port`.
///
/// # Errors
/// Anything but a port.
pub fn port(parsed: &Parsed) -> Result<Option<u16>, CliError> {
    let Some(text) = parsed.text("port") else { return Ok(None) };
    match text.trim().parse::<u16>() {
        Ok(port) if port > 0 => Ok(Some(port)),
        _ => Err(CliError::usage("--port must be an integer between 1 and 65535.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_and_write_in_the_same_units() {
        for (text, ms) in [("30m", 1_800_000), ("24h", 86_400_000), ("7d", 604_800_000), ("12s", 12_000)] {
            assert_eq!(parse_span(text), Some(ms));
        }
        assert_eq!(span(1_800_000), "30m");
        assert_eq!(ago(59_000), "just now");
        assert_eq!(ago(420_000), "7m ago");
        for bad in ["", "m", "5w", "-3m", "99999999999999999999d"] {
            assert_eq!(parse_span(bad), None, "{bad}");
        }
    }
}
