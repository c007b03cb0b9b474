//! The command line: from words to a command, from its result to an exit status.
//! Speaks to the gateway only through `client`; knows none of its inside.

pub mod amount;
pub mod commands;
pub mod complete;
pub mod fail;
pub mod grid;
pub mod help;
pub mod man;
pub mod out;
pub mod parse;
pub mod spinner;
pub mod suggest;
pub mod table;
pub mod vocabulary;

/// Entry point of the binary.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
