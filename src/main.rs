//! The `openclaw` binary: hand the command line to the library, exit with its code.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    openclaw::cli::main()
}
