//! The manual page in roff, printed from the command table.
//! Pure; knows nothing of pagers.

use std::fmt::Write as _;

use super::commands::{COMMANDS, GLOBALS};
use super::help::{VERSION, usage};
use super::table::Flag;
use crate::sys::order;

/// The whole page, section 1.
pub fn page() -> String {
    let mut out = format!(".TH OPENCLAW 1 \"\" \"OpenClaw {VERSION}\" \"User Commands\"\n");
    out.push_str(".SH NAME\nopenclaw \\- the OpenClaw gateway and its command line\n");
    out.push_str(".SH SYNOPSIS\n.B openclaw\n[\\fIoptions\\fR] [\\fIcommand\\fR]\n");
    out.push_str(".SH DESCRIPTION\n");
    out.push_str("One process that owns messaging, agent turns and every client's control plane, and the commands that run it and talk to it.\n");
    out.push_str(".SH GLOBAL OPTIONS\nThese stand before the command;\n.B \\-\\-no\\-color\nand\n.B \\-\\-help\nmay stand anywhere.\n");
    flags(&mut out, GLOBALS.iter());
    out.push_str(".SH COMMANDS\n");
    for command in *COMMANDS {
        let line = usage(command);
        let _ = writeln!(out, ".SS {}", escaped(line.trim_start_matches("Usage: ")));
        let _ = writeln!(out, "{}.", escaped(command.about));
        if !command.details.is_empty() {
            let _ = writeln!(out, ".PP\n{}", escaped(command.details));
        }
        for arg in command.args {
            let _ = writeln!(out, ".TP\n.I {}\n{}.", escaped(arg.name), escaped(arg.about));
        }
        let mut sorted: Vec<&'static Flag> = command.all_flags().collect();
        order::by_key(&mut sorted, |flag| flag.long);
        flags(&mut out, sorted.into_iter());
        out.push_str(".PP\nExamples:\n");
        for (line, what) in command.examples {
            let _ = writeln!(out, ".TP\n.B openclaw {}\n{}.", escaped(line), escaped(what));
        }
    }
    out.push_str(".SH EXIT STATUS\n");
    for (code, what) in EXIT {
        let _ = writeln!(out, ".TP\n.B {code}\n{what}");
    }
    out.push_str(".SH ENVIRONMENT\n");
    for (name, what) in ENVIRONMENT {
        let _ = writeln!(out, ".TP\n.B {name}\n{what}");
    }
    out
}

const EXIT: &[(&str, &str)] = &[
    ("0", "Success; also status commands that found the gateway down."),
    ("1", "The command failed, the gateway refused, or the command line is wrong."),
    ("2", "A bad profile name or combination."),
    ("78", "The gateway refused to start because of its configuration."),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("OPENCLAW_STATE_DIR", "Directory of all state (~/.openclaw)."),
    ("OPENCLAW_CONFIG_PATH", "The config file (openclaw.json in the state directory)."),
    ("OPENCLAW_GATEWAY_PORT", "Port to listen on and to connect to (18789)."),
    ("OPENCLAW_GATEWAY_TOKEN, OPENCLAW_GATEWAY_PASSWORD", "The shared secret."),
    ("OPENCLAW_GATEWAY_URL", "Target of the commands."),
    ("NO_COLOR, FORCE_COLOR", "Colours off or on."),
    ("COLUMNS", "Width of tables, in place of the terminal's."),
];

fn flags<'a>(out: &mut String, flags: impl Iterator<Item = &'a Flag>) {
    for flag in flags {
        let letter = flag.short.map(|c| format!("\\-{c}, ")).unwrap_or_default();
        let choices = flag.value.choices();
        let among = if choices.is_empty() { String::new() } else { format!(" ({})", choices.join(", ")) };
        let default = if flag.default.is_empty() { String::new() } else { format!(" Default: {}.", flag.default) };
        let _ = writeln!(
            out,
            ".TP\n.B {letter}{}\n{}{}.{}",
            escaped(&flag.usage()),
            escaped(flag.about),
            escaped(&among),
            escaped(&default)
        );
    }
}

/// Text that roff prints as it stands.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with('.') || text.starts_with('\'') { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_line_starts_a_request_by_accident() {
        for line in page().lines().filter(|line| line.starts_with('.')) {
            let word = line.split_whitespace().next().unwrap();
            assert!([".TH", ".SH", ".SS", ".B", ".I", ".TP", ".PP"].contains(&word), "{line}");
        }
        assert!(!page().lines().any(|line| line.starts_with('\'')));
    }
}
