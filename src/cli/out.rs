//! Standard output and standard error: what goes where, colours, and text from outside made harmless.
//! The only file that prints (but for the spinner). Knows no command.

use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use super::fail::{CliError, Kind};
use crate::sys::host;

/// How a piece of text looks on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// A heading.
    Strong,
    /// Good news.
    Good,
    /// A warning.
    Warn,
    /// Bad news.
    Bad,
    /// Less important.
    Dim,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Style::Plain => "",
            Style::Strong => "\x1b[1m",
            Style::Good => "\x1b[32m",
            Style::Warn => "\x1b[33m",
            Style::Bad => "\x1b[31m",
            Style::Dim => "\x1b[2m",
        }
    }
}

/// Where a program's output goes, and how wide and colourful it may be.
#[derive(Debug, Clone)]
pub struct Out {
    color: bool,
    color_err: bool,
    columns: Option<usize>,
    /// Whether standard output is a terminal.
    pub terminal: bool,
}

/// What decides about colours.
#[derive(Debug, Clone, Copy, Default)]
pub struct ColorWish {
    /// `NO_COLOR` is set, or `--no-color` was given.
    pub never: bool,
    /// `FORCE_COLOR` is set to something other than `0`.
    pub always: bool,
    /// `--no-color` was given: it beats `FORCE_COLOR`.
    pub flag: bool,
}

impl ColorWish {
    /// Whether a stream is coloured (`spec/cli.md` 1.4).
    pub fn on(self, terminal: bool) -> bool {
        if self.flag {
            return false;
        }
        self.always || (terminal && !self.never)
    }
}

impl Out {
    /// The real streams. `columns` is the value of `COLUMNS`.
    pub fn new(wish: ColorWish, columns: Option<&str>) -> Out {
        let terminal = io::stdout().is_terminal();
        let columns = columns.and_then(|text| text.trim().parse().ok());
        Out { color: wish.on(terminal), color_err: wish.on(io::stderr().is_terminal()), columns, terminal }
    }

    /// Columns of tables: `COLUMNS`, which most shells keep to themselves, else the terminal's, else 80.
    pub fn width(&self) -> usize {
        let ask = || self.terminal.then(host::terminal_columns).flatten();
        self.columns.filter(|columns| *columns > 0).or_else(ask).map_or(80, |columns| columns.clamp(20, 400))
    }

    /// One or more lines for the person who reads the result.
    ///
    /// # Errors
    /// A closed or failing standard output.
    pub fn line(&self, text: &str) -> Result<(), CliError> {
        self.styled(&[(Style::Plain, text)])
    }

    /// A line of differently styled pieces.
    ///
    /// # Errors
    /// A closed or failing standard output.
    pub fn styled(&self, parts: &[(Style, &str)]) -> Result<(), CliError> {
        let mut bytes = render(parts, self.color);
        bytes.push('\n');
        self.bytes(bytes.as_bytes())
    }

    /// One JSON document, indented by two.
    ///
    /// # Errors
    /// A closed or failing standard output.
    pub fn json(&self, value: &Value) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(value).map_err(|error| CliError::other(error.to_string()))?;
        self.bytes(format!("{}\n", json_safe(&text)).as_bytes())
    }

    /// One JSON document on one line.
    ///
    /// # Errors
    /// A closed or failing standard output.
    pub fn json_line(&self, value: &Value) -> Result<(), CliError> {
        self.bytes(format!("{}\n", json_safe(&value.to_string())).as_bytes())
    }

    /// Text of this program that must arrive unchanged (scripts, generated files).
    ///
    /// # Errors
    /// A closed or failing standard output.
    pub fn verbatim(&self, text: &str) -> Result<(), CliError> {
        self.bytes(text.as_bytes())
    }

    /// A piece of a line, shown at once.
    ///
    /// # Errors
    /// A closed or failing standard output.
    pub fn piece(&self, text: &str) -> Result<(), CliError> {
        self.bytes(clean(text).as_bytes())
    }

    fn bytes(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => CliError::new(Kind::BrokenPipe, ""),
            _ => CliError::other(format!("cannot write to standard output: {error}")),
        })
    }

    /// A line on standard error: warnings, problems, what to do about them.
    pub fn note(&self, style: Style, text: &str) {
        let mut bytes = render(&[(style, text)], self.color_err);
        bytes.push('\n');
        // Nobody is left to be told when standard error is gone.
        let _ = io::stderr().lock().write_all(bytes.as_bytes());
    }
}

fn render(parts: &[(Style, &str)], color: bool) -> String {
    let mut out = String::new();
    for (style, text) in parts {
        let text = clean(text);
        match color && *style != Style::Plain && !text.is_empty() {
            true => out.push_str(&format!("{}{text}\x1b[0m", style.code())),
            false => out.push_str(&text),
        }
    }
    out
}

/// Text from outside without anything a terminal would obey: control characters become U+FFFD,
/// so do the marks that turn the writing direction. Line breaks and tabs stay.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if obeyed(c) && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

fn obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON text in which the control characters that serde_json leaves alone (DEL, C1) are escaped too.
fn json_safe(text: &str) -> String {
    if !text.chars().any(|c| obeyed(c) && c != '\n') {
        return text.to_string();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match obeyed(c) && c != '\n' {
            true => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_reaches_the_terminal_as_a_command() {
        let evil = "a\x1b]0;owned\x07b\u{9b}31m\u{202e}c\nd\te";
        assert_eq!(clean(evil), "a\u{fffd}]0;owned\u{fffd}b\u{fffd}31m\u{fffd}c\nd\te");
        assert!(!render(&[(Style::Bad, evil)], false).contains('\x1b'));
        let text = serde_json::to_string(&json!({ "x": "\u{9b}\u{7f}\x1b" })).unwrap();
        assert_eq!(json_safe(&text), "{\"x\":\"\\u009b\\u007f\\u001b\"}");
    }

    #[test]
    fn tables_are_as_wide_as_asked_within_reason() {
        let width = |columns| Out { columns, ..Out::new(ColorWish::default(), None) };
        for (columns, expected) in [(Some(100), 100), (Some(30), 30), (Some(5), 20), (Some(9999), 400)] {
            assert_eq!(width(columns).width(), expected);
        }
        let piped = Out { terminal: false, ..width(Some(0)) };
        assert_eq!(piped.width(), 80);
    }

    #[test]
    fn colours_follow_the_flag_then_force_then_the_terminal() {
        let wish = |never, always, flag| ColorWish { never, always, flag };
        assert!(wish(false, false, false).on(true));
        assert!(!wish(false, false, false).on(false));
        assert!(!wish(true, false, false).on(true));
        assert!(wish(true, true, false).on(false));
        assert!(!wish(true, true, true).on(true));
    }
}
