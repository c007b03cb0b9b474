//! `gateway run`: its command line; the start itself is `gateway_start`'s.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::fail::CliError;
use crate::cli::parse::Parsed;
use crate::cli::world::World;
use crate::config::{Flags, Secret};

/// The command line of `gateway run`.
#[derive(Debug, Clone, Default)]
pub struct GatewayRunArgs {
    /// What `config::resolve` judges, in the order of the start-up refusals (`spec/lifecycle.md` 8).
    pub flags: Flags,
    /// `--force`
    pub force: bool,
    /// `--verbose`
    pub verbose: bool,
    /// `--raw-stream`
    pub raw_stream: bool,
    /// `--raw-stream-path`
    pub raw_stream_path: Option<PathBuf>,
    /// `--log-level` before the command.
    pub log_level: Option<String>,
}

impl GatewayRunArgs {
    /// Takes the flags out of a command line.
    pub fn from_parsed(parsed: &Parsed, profile: Option<&str>) -> GatewayRunArgs {
        let text = |flag: &str| parsed.text(flag).map(str::to_string);
        let secret = |flag: &str| parsed.text(flag).map(Secret::new);
        let flags = Flags {
            port: text("port"),
            bind: text("bind"),
            auth: text("auth"),
            token: secret("token"),
            password: secret("password"),
            password_file: text("password-file").map(PathBuf::from),
            tailscale: text("tailscale"),
            tailscale_reset_on_exit: parsed.has("tailscale-reset-on-exit"),
            allow_unconfigured: parsed.has("allow-unconfigured"),
            dev: parsed.has("dev") || profile == Some("dev"),
            reset: parsed.has("reset"),
            ws_log: text("ws-log"),
            compact: parsed.has("compact"),
        };
        GatewayRunArgs {
            flags,
            force: parsed.has("force"),
            verbose: parsed.has("verbose"),
            raw_stream: parsed.has("raw-stream"),
            raw_stream_path: text("raw-stream-path").map(PathBuf::from),
            log_level: parsed.globals.log_level.clone(),
        }
    }
}

/// Runs the gateway in the foreground.
///
/// # Errors
/// What keeps it from starting.
pub fn run(world: &World, parsed: &Parsed) -> Result<ExitCode, CliError> {
    let args = GatewayRunArgs::from_parsed(parsed, world.paths.profile.as_deref());
    super::gateway_start::start(world, &args)
}
