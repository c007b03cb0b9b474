//! `protocol gen`: the protocol table as files for other programs.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::fail::CliError;
use crate::cli::out::Out;
use crate::cli::parse::Parsed;
use crate::protocol::emit;

/// A printer of the table: its flag, its file, its function.
type Printer = (&'static str, &'static str, fn() -> String);

const PRINTERS: &[Printer] = &[
    ("schema", "protocol.schema.json", emit::json_schema::json_schema),
    ("ts", "protocol.ts", emit::typescript::typescript),
    ("swift", "Protocol.swift", emit::swift::swift),
    ("markdown", "protocol.md", emit::markdown::markdown),
];

/// `protocol gen --schema|--ts|--swift|--markdown [--out DIR]`
///
/// # Errors
/// No kind chosen, several for standard output, or a directory that cannot be written.
pub fn generate(out: &Out, parsed: &Parsed) -> Result<ExitCode, CliError> {
    let chosen: Vec<&Printer> = PRINTERS.iter().filter(|(flag, _, _)| parsed.has(flag)).collect();
    let dir = parsed.text("out");
    match (dir, chosen.as_slice()) {
        (_, []) => Err(CliError::usage("Choose at least one of --schema, --ts, --swift, --markdown.")
            .hint("Try: openclaw protocol gen --help")),
        (None, [(_, _, print)]) => out.verbatim(&print()).map(|()| ExitCode::SUCCESS),
        (None, _) => Err(CliError::usage("Several kinds need --out <dir>.").hint("Try: openclaw protocol gen --help")),
        (Some(dir), chosen) => {
            chosen.iter().try_for_each(|(_, name, print)| write(out, Path::new(dir), name, &print()))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn write(out: &Out, dir: &Path, name: &str, text: &str) -> Result<(), CliError> {
    let path = dir.join(name);
    let failed = |error: std::io::Error| CliError::other(format!("cannot write {}: {error}", path.display()));
    std::fs::create_dir_all(dir).map_err(failed)?;
    // Generated files can be made again at any time: no need for the atomic dance.
    std::fs::write(&path, text).map_err(failed)?;
    out.line(&format!("Wrote {}", path.display()))
}
