//! Commands that only print what the tables hold: `completion`, `man`, `help`, and groups without a subcommand.

use std::process::ExitCode;

use crate::cli::commands::SHELLS;
use crate::cli::fail::CliError;
use crate::cli::out::{Out, Style};
use crate::cli::parse::Parsed;
use crate::cli::table::{self, Command};
use crate::cli::{complete, help, man};

/// `completion -s <shell>`
///
/// # Errors
/// An unknown shell.
pub fn completion(out: &Out, parsed: &Parsed) -> Result<ExitCode, CliError> {
    let shell = parsed.text("shell").unwrap_or("zsh");
    let script = complete::script(shell).ok_or_else(|| {
        CliError::usage(format!("Unknown shell \"{shell}\" (use {}).", SHELLS.join(", ")))
            .hint("Try: openclaw completion --help")
    })?;
    out.verbatim(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// `man`
///
/// # Errors
/// A closed standard output.
pub fn man(out: &Out) -> Result<ExitCode, CliError> {
    out.verbatim(&man::page())?;
    Ok(ExitCode::SUCCESS)
}

/// `help [command...]`
///
/// # Errors
/// Words that name no command.
pub fn help(out: &Out, parsed: &Parsed) -> Result<ExitCode, CliError> {
    let command = match parsed.args.as_slice() {
        [] => None,
        words => Some(table::find(words).ok_or_else(|| {
            CliError::usage(format!("OpenClaw does not know the command \"{}\".", words.join(" ")))
                .hint("Try: openclaw --help")
        })?),
    };
    out.verbatim(&help::page(command))?;
    Ok(ExitCode::SUCCESS)
}

/// A group that was called without a subcommand: its help on standard error, exit 1, like the original.
///
/// # Errors
/// None.
pub fn group(out: &Out, command: &'static Command) -> Result<ExitCode, CliError> {
    out.note(Style::Plain, help::page(Some(command)).trim_end());
    Ok(ExitCode::from(1))
}
