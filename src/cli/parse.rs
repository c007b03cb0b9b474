//! From argument words to a command of the table with its flags: no side effects, plain data.
//! The only file that names lexopt. Knows no config, socket or terminal.

use std::ffi::OsString;

use lexopt::Arg as Word;

use super::commands::{COMMANDS, GLOBALS, HELP, LOG_LEVELS, NO_COLOR};
use super::fail::{CliError, Kind};
use super::later;
use super::suggest::nearest;
use super::table::{self, Command, Flag, Value};
use crate::config::Profile;

/// What stood before the command, and `--no-color` from anywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Globals {
    /// Profile name; `dev` for `--dev`.
    pub profile: Option<String>,
    /// `--log-level`
    pub log_level: Option<String>,
    /// `--no-color`
    pub no_color: bool,
}

/// A command line that can run.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The row.
    pub command: &'static Command,
    /// What stood before it.
    pub globals: Globals,
    /// Positional arguments.
    pub args: Vec<String>,
    values: Vec<(&'static str, String)>,
}

impl Parsed {
    /// A command line of this command without flags; the tests and `help` start here.
    pub fn bare(command: &'static Command) -> Parsed {
        Parsed { command, globals: Globals::default(), args: Vec::new(), values: Vec::new() }
    }

    /// Whether the switch was given.
    pub fn has(&self, long: &str) -> bool {
        self.text(long).is_some()
    }

    /// The value of a flag; the last one wins.
    pub fn text(&self, long: &str) -> Option<&str> {
        self.values.iter().rev().find(|(name, _)| *name == long).map(|(_, value)| value.as_str())
    }

    /// All values of a repeatable flag.
    pub fn all(&self, long: &str) -> Vec<String> {
        self.values.iter().filter(|(name, _)| *name == long).map(|(_, value)| value.clone()).collect()
    }

    /// A positional argument.
    pub fn arg(&self, n: usize) -> Option<&str> {
        self.args.get(n).map(String::as_str)
    }

    /// Whether the answer is one JSON document.
    pub fn json(&self) -> bool {
        self.has("json")
    }
}

/// What a command line asks for.
#[derive(Debug, Clone)]
pub enum Wish {
    /// Run this.
    Run(Box<Parsed>),
    /// Show the help of this command, or of the program.
    Help(Option<&'static Command>),
    /// Show the version.
    Version,
}

/// A line that cannot run, and whether it asked for JSON.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Why.
    pub error: CliError,
    /// Whether `--json` stood on the line.
    pub json: bool,
    /// Whether `--no-color` stood on the line.
    pub no_color: bool,
}

/// Reads a whole command line (without the program's name).
///
/// # Errors
/// A [`Refusal`] with the text for the person.
pub fn parse(words: &[OsString]) -> Result<Wish, Box<Refusal>> {
    let mut line = Line::default();
    line.globals.no_color = before_dashes(words).any(|word| word == "--no-color");
    if words.iter().any(|word| word.to_str().is_none()) {
        // The word is not repeated: it may be a secret.
        let what = "OpenClaw could not parse this command: an argument is not valid UTF-8.";
        return Err(line.refuse(words, CliError::usage(what).hint("Try: openclaw --help")));
    }
    match line.read(words) {
        Ok(wish) => Ok(wish),
        Err(error) if error.kind == Kind::Profile => Err(line.refuse(words, error)),
        Err(_) if before_dashes(words).any(|word| word == "--help" || word == "-h") => Ok(Wish::Help(line.command)),
        Err(error) => Err(line.refuse(words, error)),
    }
}

fn before_dashes(words: &[OsString]) -> impl Iterator<Item = &OsString> {
    words.iter().take_while(|word| *word != "--")
}

/// The state of one reading.
#[derive(Default)]
struct Line {
    command: Option<&'static Command>,
    words: Vec<String>,
    globals: Globals,
    dev: bool,
    given: Vec<(&'static str, String)>,
    args: Vec<String>,
}

impl Line {
    fn refuse(&self, words: &[OsString], error: CliError) -> Box<Refusal> {
        let json = before_dashes(words).any(|word| word == "--json");
        Box::new(Refusal { error, json, no_color: self.globals.no_color })
    }

    fn read(&mut self, words: &[OsString]) -> Result<Wish, CliError> {
        let mut parser = lexopt::Parser::from_args(words.iter().cloned());
        parser.set_short_equals(false);
        while let Some(word) = parser.next().map_err(|error| self.unreadable(&error))? {
            let flag = match word {
                Word::Long("no-color") => continue,
                Word::Long("help") | Word::Short('h') => return Ok(Wish::Help(self.command)),
                Word::Long(name) => self.long(name)?,
                Word::Short(letter) => self.short(letter)?,
                Word::Value(value) => {
                    self.positional(&value.to_string_lossy())?;
                    continue;
                }
            };
            if flag.long == "version" && self.command.is_none() {
                return Ok(Wish::Version);
            }
            self.take(flag, &mut parser)?;
        }
        self.finish()
    }

    /// The flag of this name: of the current command, else of any below it (flags before the
    /// subcommand count too, `spec/cli.md` 28).
    fn long(&self, name: &str) -> Result<&'static Flag, CliError> {
        let Some(command) = self.command else {
            return GLOBALS.iter().find(|flag| flag.long == name).ok_or_else(|| self.unknown(&format!("--{name}")));
        };
        command
            .flag(name)
            .or_else(|| command.descendants().find_map(|below| below.flag(name)))
            .ok_or_else(|| self.unknown(&format!("--{name}")))
    }

    fn short(&self, letter: char) -> Result<&'static Flag, CliError> {
        let found = match self.command {
            None => GLOBALS.iter().find(|flag| flag.short == Some(letter)),
            Some(command) => {
                command.letter(letter).or_else(|| command.descendants().find_map(|below| below.letter(letter)))
            }
        };
        found.ok_or_else(|| self.unknown(&format!("-{letter}")))
    }

    fn take(&mut self, flag: &'static Flag, parser: &mut lexopt::Parser) -> Result<(), CliError> {
        let value = match flag.value {
            Value::Switch => match parser.optional_value() {
                Some(extra) => {
                    return Err(self.unknown(&format!("--{}={}", flag.long, extra.to_string_lossy())));
                }
                None => String::new(),
            },
            _ => match parser.value() {
                Ok(value) => value.to_string_lossy().into_owned(),
                Err(_) if self.command.is_none() && flag.long == "profile" => {
                    return Err(CliError::new(Kind::Profile, "[openclaw] --profile requires a value"));
                }
                Err(_) => {
                    let what =
                        format!("OpenClaw could not parse this command: option '{}' argument missing", flag.usage());
                    return Err(CliError::usage(what).hint(self.try_help()));
                }
            },
        };
        if self.command.is_none() {
            return self.global(flag, value);
        }
        self.given.push((flag.long, value));
        Ok(())
    }

    fn global(&mut self, flag: &'static Flag, value: String) -> Result<(), CliError> {
        match flag.long {
            "dev" if matches!(&self.globals.profile, Some(name) if !name.eq_ignore_ascii_case("dev")) => {
                Err(CliError::new(Kind::Profile, "[openclaw] Cannot combine --dev with --profile"))
            }
            "dev" => {
                self.dev = true;
                self.globals.profile = Some("dev".into());
                Ok(())
            }
            "profile" => self.profile(value),
            "log-level" if !LOG_LEVELS.contains(&value.as_str()) => {
                let what = format!("Invalid --log-level \"{value}\" (use {}).", LOG_LEVELS.join(", "));
                Err(CliError::usage(what).hint(self.try_help()))
            }
            "log-level" => {
                self.globals.log_level = Some(value);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn profile(&mut self, name: String) -> Result<(), CliError> {
        if name.is_empty() {
            return Err(CliError::new(Kind::Profile, "[openclaw] --profile requires a value"));
        }
        if self.dev && !name.eq_ignore_ascii_case("dev") {
            return Err(CliError::new(Kind::Profile, "[openclaw] Cannot combine --dev with --profile"));
        }
        Profile::named(&name).map_err(|error| CliError::new(Kind::Profile, format!("[openclaw] {error}")))?;
        self.globals.profile = Some(name);
        Ok(())
    }

    fn positional(&mut self, word: &str) -> Result<(), CliError> {
        let mut path = self.words.clone();
        path.push(word.to_string());
        let takes_args = self.command.is_some_and(|command| !command.args.is_empty());
        if !takes_args && let Some(next) = find(&path) {
            self.words = path;
            self.command = next;
            return Ok(());
        }
        match self.command {
            None => Err(unknown_command(word)),
            Some(command) if command.children().next().is_some() => Err(unknown_child(command, word)),
            Some(_) => {
                self.args.push(word.to_string());
                Ok(())
            }
        }
    }

    fn finish(&mut self) -> Result<Wish, CliError> {
        let Some(command) = self.command else {
            return if self.words.is_empty() {
                Ok(Wish::Help(None))
            } else {
                Err(CliError::usage(format!("OpenClaw {} needs a command.", self.words.join(" ")))
                    .hint(self.try_help()))
            };
        };
        for (name, _) in &self.given {
            if command.flag(name).is_none() {
                return Err(self.unknown(&format!("--{name}")));
            }
        }
        self.check_required(command)?;
        self.check_pairs(command)?;
        let parsed = Parsed {
            command,
            globals: std::mem::take(&mut self.globals),
            args: std::mem::take(&mut self.args),
            values: std::mem::take(&mut self.given),
        };
        Ok(Wish::Run(Box::new(parsed)))
    }

    fn check_required(&self, command: &'static Command) -> Result<(), CliError> {
        let given = |long: &str| self.given.iter().any(|(name, _)| *name == long);
        if let Some(flag) = command.all_flags().find(|flag| flag.required && !given(flag.long)) {
            let what = format!("Missing required option \"{}\".", flag.usage());
            return Err(CliError::usage(what).hint(self.try_help()));
        }
        if let Some(arg) = command.args.iter().skip(self.args.len()).find(|arg| arg.required) {
            let what = format!("Missing required argument \"{}\".", arg.name);
            return Err(CliError::usage(what).hint(self.try_help()));
        }
        let many = command.args.iter().any(|arg| arg.many);
        if self.args.len() > command.args.len() && !many {
            return Err(CliError::usage("Too many arguments for this command.").hint(self.try_help()));
        }
        Ok(())
    }

    fn check_pairs(&self, command: &'static Command) -> Result<(), CliError> {
        for (name, _) in &self.given {
            let Some(flag) = command.flag(name) else { continue };
            let other = flag.not_with.iter().find(|other| self.given.iter().any(|(name, _)| name == *other));
            if let Some(other) = other {
                let what = format!("Use either --{other} or --{name}, not both.");
                return Err(CliError::usage(what).hint(self.try_help()));
            }
        }
        Ok(())
    }

    fn unreadable(&self, error: &lexopt::Error) -> CliError {
        CliError::usage(format!("OpenClaw could not parse this command: {error}")).hint(self.try_help())
    }

    fn unknown(&self, option: &str) -> CliError {
        let error = CliError::usage(format!("OpenClaw does not recognize option \"{}\".", shown(option)));
        let known: Vec<&str> = match self.command {
            Some(command) => command.all_flags().map(|flag| flag.long).chain([HELP.long, NO_COLOR.long]).collect(),
            None => GLOBALS.iter().map(|flag| flag.long).collect(),
        };
        let near = option.strip_prefix("--").and_then(|name| nearest(name, known));
        let error = match near {
            Some(name) => error.hint(format!("Did you mean --{name}?")),
            None => error,
        };
        error.hint(self.try_help())
    }

    fn try_help(&self) -> String {
        let path = self.command.map(|command| format!("{} ", command.name())).unwrap_or_default();
        format!("Try: openclaw {path}--help")
    }
}

/// Finds a command; a prefix of an alias (`daemon`) is a path without a command yet.
#[allow(clippy::option_option, reason = "three answers: no such path, a path on the way, a command")]
fn find(path: &[String]) -> Option<Option<&'static Command>> {
    if let Some(command) = table::find(path) {
        return Some(Some(command));
    }
    let begins = |alias: &[&str]| alias.len() > path.len() && alias.iter().zip(path).all(|(a, b)| *a == b);
    COMMANDS.iter().any(|command| command.aliases.iter().any(|alias| begins(alias))).then_some(None)
}

/// The error for a command that the original has and this version does not.
fn missing_command(path: &str) -> Option<CliError> {
    let advice = later::advice(path)?;
    Some(CliError::usage(format!("openclaw {path} is not in this version.")).hint(advice).hint("Try: openclaw --help"))
}

fn unknown_command(word: &str) -> CliError {
    if let Some(error) = missing_command(word) {
        return error;
    }
    let error = CliError::usage(format!("OpenClaw does not know the command \"{}\".", shown(word)));
    let top = COMMANDS.iter().filter_map(|command| match command.path {
        [one] => Some(*one),
        _ => None,
    });
    let error = match nearest(word, top) {
        Some(name) => error.hint(format!("Did you mean: openclaw {name}")),
        None => error,
    };
    error.hint("Try: openclaw --help").hint("Docs: https://docs.openclaw.ai/cli")
}

fn unknown_child(command: &'static Command, word: &str) -> CliError {
    let name = command.name();
    if let Some(error) = missing_command(&format!("{name} {word}")) {
        return error;
    }
    let error = CliError::usage(format!("OpenClaw {name} has no command \"{}\".", shown(word)));
    let known = command.children().filter_map(|child| child.path.last().copied());
    let error = match nearest(word, known) {
        Some(near) => error.hint(format!("Did you mean: openclaw {name} {near}")),
        None => error,
    };
    error.hint(format!("Try: openclaw {name} --help")).hint("Docs: https://docs.openclaw.ai/cli")
}

/// A word of the command line inside a message: bounded, without control characters.
fn shown(word: &str) -> String {
    word.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn run(line: &str) -> Parsed {
        match parse(&words(line)) {
            Ok(Wish::Run(parsed)) => *parsed,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn refused(line: &str) -> CliError {
        match parse(&words(line)) {
            Err(refusal) => refusal.error,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn flags_count_before_and_after_the_subcommand() {
        let parsed = run("gateway --port 19001 status --json");
        assert_eq!(parsed.command.name(), "gateway status");
        assert_eq!(parsed.text("port"), Some("19001"));
        assert!(parsed.json());
        assert_eq!(run("gateway status --port=19001").text("port"), Some("19001"));
        assert_eq!(run("gateway --json status").command.name(), "gateway status");
    }

    #[test]
    fn a_flag_of_the_parent_alone_is_unknown_to_the_child() {
        let error = refused("gateway --bind lan status");
        assert_eq!(error.message, "OpenClaw does not recognize option \"--bind\".");
        assert_eq!(error.hints.last().unwrap(), "Try: openclaw gateway status --help");
    }

    #[test]
    fn dev_before_the_command_is_the_profile_and_after_it_the_gateways_flag() {
        assert_eq!(run("--dev gateway").globals.profile.as_deref(), Some("dev"));
        let parsed = run("gateway --dev");
        assert_eq!(parsed.globals.profile, None);
        assert!(parsed.has("dev"));
    }

    #[test]
    fn profile_mistakes_have_their_texts_and_kind() {
        for (line, text) in [
            ("--profile a.b status", "[openclaw] Invalid --profile (use letters, numbers, \"_\", \"-\" only)"),
            ("--dev --profile x status", "[openclaw] Cannot combine --dev with --profile"),
            ("--profile x --dev status", "[openclaw] Cannot combine --dev with --profile"),
            ("--profile", "[openclaw] --profile requires a value"),
        ] {
            let error = refused(line);
            assert_eq!((error.kind, error.message.as_str()), (Kind::Profile, text), "{line}");
        }
        assert_eq!(run("--profile dev --dev status").globals.profile.as_deref(), Some("dev"));
        assert_eq!(run("--profile=Rescue status").globals.profile.as_deref(), Some("Rescue"));
    }

    #[test]
    fn help_and_version_win_over_mistakes() {
        assert!(matches!(parse(&words("gateway status --nosuch --help")), Ok(Wish::Help(Some(_)))));
        assert!(matches!(parse(&words("foobar -h")), Ok(Wish::Help(None))));
        assert!(matches!(parse(&words("-V")), Ok(Wish::Version)));
        assert!(matches!(parse(&words("")), Ok(Wish::Help(None))));
        assert!(parse(&words("gateway call x -- --help")).is_err());
    }

    #[test]
    fn no_color_stands_anywhere() {
        assert!(run("status --no-color").globals.no_color);
        assert!(run("--no-color gateway call health").globals.no_color);
    }

    #[test]
    fn mistakes_name_the_thing_and_the_next_command() {
        assert_eq!(refused("foobar").message, "OpenClaw does not know the command \"foobar\".");
        assert_eq!(refused("gatewya").hints[0], "Did you mean: openclaw gateway");
        assert_eq!(refused("gateway statsu").message, "OpenClaw gateway has no command \"statsu\".");
        assert_eq!(refused("status --jsno").hints[0], "Did you mean --json?");
        assert_eq!(refused("devices list x").message, "Too many arguments for this command.");
        assert_eq!(refused("gateway call").message, "Missing required argument \"method\".");
        assert_eq!(refused("system event").message, "Missing required option \"--text <text>\".");
        assert_eq!(
            refused("gateway status --url").message,
            "OpenClaw could not parse this command: option '--url <url>' argument missing"
        );
        assert_eq!(refused("status --json=1").message, "OpenClaw does not recognize option \"--json=1\".");
        assert_eq!(refused("gateway status --port 1 --url ws://x").message, "Use either --url or --port, not both.");
    }

    #[test]
    fn daemon_status_is_gateway_status() {
        assert_eq!(run("daemon status --json").command.name(), "gateway status");
        assert!(refused("daemon").message.contains("daemon"));
    }

    #[test]
    fn every_example_of_the_table_parses() {
        for command in *COMMANDS {
            for (line, _) in command.examples {
                let line = line.split(" | ").next().unwrap_or(line);
                let line = line.split(" > ").next().unwrap_or(line);
                let spoken: Vec<OsString> = shell_words(line);
                assert!(matches!(parse(&spoken), Ok(Wish::Run(_))), "{line}: {:?}", parse(&spoken));
            }
        }
    }

    /// Words as a shell would cut them: single and double quotes, nothing else.
    fn shell_words(line: &str) -> Vec<OsString> {
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        for c in line.chars() {
            match (quote, c) {
                (Some(q), c) if q == c => quote = None,
                (None, '\'' | '"') => quote = Some(c),
                (None, ' ') => words.push(OsString::from(std::mem::take(&mut word))),
                (_, c) => word.push(c),
            }
        }
        words.push(OsString::from(word));
        words
    }
}
