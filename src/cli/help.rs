//! The help pages, printed from the command table: plain text, at most 80 columns.
//! Pure; knows nothing of terminals.

use super::commands::{COMMANDS, GLOBALS, HELP};
use super::table::{Arg, Command, Flag, Run, Source};
use crate::sys::order;

/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
const WIDTH: usize = 80;
const DOCS: &str = "https://docs.openclaw.ai/cli";

/// The first line of every help page and the answer to `--version`.
pub fn version_line() -> String {
    format!("OpenClaw {VERSION}")
}

/// The page of one command, or of the whole program.
pub fn page(command: Option<&'static Command>) -> String {
    match command {
        Some(command) => command_page(command),
        None => root_page(),
    }
}

fn root_page() -> String {
    let mut out = format!("{}\n\nUsage: openclaw [options] [command]\n", version_line());
    out.push_str("\nThe OpenClaw gateway, and the commands that talk to it.\n");
    section(&mut out, "Options", &rows_of_flags(GLOBALS.iter()));
    let top: Vec<(String, String)> = COMMANDS
        .iter()
        .filter_map(|command| match command.path {
            [word] => Some((mark(word, command), command.about.to_string())),
            _ => None,
        })
        .collect();
    section(&mut out, "Commands (* has subcommands)", &top);
    let examples: &[(&str, &str)] = &[
        ("gateway --allow-unconfigured", "Start a gateway on this machine"),
        ("status", "See how it is doing"),
        ("--profile rescue gateway --port 19789", "A second, separate gateway"),
    ];
    out.push_str(&examples_text(examples));
    out.push_str(&format!("\nDocs: {DOCS}\n"));
    out
}

fn command_page(command: &'static Command) -> String {
    let mut out = format!("{}\n\n{}\n\n{}.\n", version_line(), usage(command), command.about);
    if !command.details.is_empty() {
        out.push('\n');
        for line in wrap(command.details, WIDTH) {
            out.push_str(&line);
            out.push('\n');
        }
    }
    if !command.aliases.is_empty() {
        let names: Vec<String> = command.aliases.iter().map(|alias| alias.join(" ")).collect();
        out.push_str(&format!("\nAlso: openclaw {}\n", names.join(", openclaw ")));
    }
    let args: Vec<(String, String)> = command.args.iter().map(|arg| (arg_usage(arg), arg.about.to_string())).collect();
    section(&mut out, "Arguments", &args);
    section(&mut out, "Options", &rows_of_flags(command.all_flags().chain(std::iter::once(&HELP))));
    let children: Vec<(String, String)> = command
        .children()
        .map(|child| (mark(child.path.last().copied().unwrap_or(""), child), child.about.to_string()))
        .collect();
    section(&mut out, "Commands", &children);
    if command.args.iter().any(|arg| arg.source == Source::Methods) {
        section(&mut out, "Methods", &methods());
    }
    out.push_str(&examples_text(command.examples));
    out
}

/// The methods that `gateway call` can name.
pub fn methods() -> Vec<(String, String)> {
    super::vocabulary::methods().map(|(name, doc)| (name.to_string(), doc.to_string())).collect()
}

/// The `Usage:` line.
pub fn usage(command: &Command) -> String {
    let mut line = format!("Usage: openclaw {} [options]", command.name());
    if command.children().next().is_some() {
        line.push_str(if command.run == Run::Group { " <command>" } else { " [command]" });
    }
    for arg in command.args {
        line.push(' ');
        line.push_str(&arg_usage(arg));
    }
    line
}

fn arg_usage(arg: &Arg) -> String {
    let dots = if arg.many { "..." } else { "" };
    if arg.required { format!("<{}{dots}>", arg.name) } else { format!("[{}{dots}]", arg.name) }
}

fn mark(word: &str, command: &Command) -> String {
    if command.children().next().is_some() { format!("{word} *") } else { word.to_string() }
}

fn rows_of_flags<'a>(flags: impl Iterator<Item = &'a Flag>) -> Vec<(String, String)> {
    let mut flags: Vec<&Flag> = flags.collect();
    order::by_key(&mut flags, |flag| flag.long);
    flags.into_iter().map(|flag| (flag_usage(flag), flag_about(flag))).collect()
}

fn flag_usage(flag: &Flag) -> String {
    match flag.short {
        Some(letter) => format!("-{letter}, {}", flag.usage()),
        None => flag.usage(),
    }
}

fn flag_about(flag: &Flag) -> String {
    let mut about = flag.about.to_string();
    let choices = flag.value.choices();
    if !choices.is_empty() {
        about.push_str(&format!(" ({})", choices.join(", ")));
    }
    if flag.required {
        about.push_str(" (required)");
    }
    if !flag.default.is_empty() {
        about.push_str(&format!(" [default: {}]", flag.default));
    }
    about
}

fn examples_text(examples: &[(&str, &str)]) -> String {
    let mut out = String::from("\nExamples:\n");
    for (line, what) in examples {
        out.push_str(&format!("  openclaw {line}\n      {what}\n"));
    }
    out
}

/// A titled two-column list; nothing when empty.
fn section(out: &mut String, title: &str, rows: &[(String, String)]) {
    if rows.is_empty() {
        return;
    }
    out.push_str(&format!("\n{title}:\n"));
    let widest = rows.iter().map(|(left, _)| left.chars().count()).max().unwrap_or(0);
    let column = widest.min(28) + 4;
    for (left, right) in rows {
        let lines = wrap(right, WIDTH - column);
        let mut lines = lines.iter();
        let long = left.chars().count() + 4 > column;
        if long {
            out.push_str(&format!("  {left}\n"));
        } else {
            let first = lines.next().map(String::as_str).unwrap_or("");
            out.push_str(format!("  {left:<width$}{first}", width = column - 2).trim_end());
            out.push('\n');
        }
        for line in lines {
            out.push_str(&format!("{:column$}{line}\n", ""));
        }
    }
}

/// Breaks a text at spaces into lines of at most `width` characters; a longer word stays whole.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let fits = line.is_empty() || line.chars().count() + 1 + word.chars().count() <= width;
        if !fits {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_fits_eighty_columns_but_for_command_lines() {
        let pages = COMMANDS.iter().map(Some).chain(std::iter::once(None));
        for page in pages.map(page) {
            for line in page.lines().filter(|line| !line.starts_with("  openclaw ")) {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
        }
    }

    #[test]
    fn every_command_has_examples_and_one_line_about_it() {
        for command in *COMMANDS {
            assert!(!command.examples.is_empty(), "{}", command.name());
            assert!(!command.about.is_empty() && !command.about.ends_with('.'), "{}", command.name());
        }
    }

    #[test]
    fn no_command_has_a_flag_twice_and_names_are_plain() {
        for command in *COMMANDS {
            let mut seen = std::collections::HashSet::new();
            for flag in command.all_flags().chain([&HELP]) {
                assert!(seen.insert(flag.long), "{}: --{}", command.name(), flag.long);
                assert!(flag.long.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
                assert!(!flag.about.is_empty() && !flag.about.ends_with('.'), "--{}", flag.long);
                for other in flag.not_with {
                    assert!(command.flag(other).is_some(), "{}: --{} names --{other}", command.name(), flag.long);
                }
            }
        }
    }

    #[test]
    fn paths_are_unique_and_have_parents() {
        let mut seen = std::collections::HashSet::new();
        for command in *COMMANDS {
            for path in command.aliases.iter().chain([&command.path]) {
                assert!(seen.insert(*path), "{path:?}");
            }
            if let [parent @ .., _] = command.path
                && !parent.is_empty()
            {
                assert!(super::super::table::find(parent).is_some(), "{parent:?}");
            }
        }
    }
}
