//! `gateway run`: everything up to the start of the gateway; the one command that calls it.

use std::process::ExitCode;

use crate::cli::fail::CliError;
use crate::cli::parse::Parsed;
use crate::cli::world::World;

/// The flags of `gateway run` as given; `config::resolve` judges their values in the order of the
/// start-up refusals (`spec/lifecycle.md` 8).
#[derive(Debug, Clone, Default)]
pub struct GatewayRunArgs {
    /// `--port`
    pub port: Option<String>,
    /// `--bind`
    pub bind: Option<String>,
    /// `--auth`
    pub auth: Option<String>,
    /// `--token`
    pub token: Option<crate::config::Secret>,
    /// `--password`
    pub password: Option<crate::config::Secret>,
    /// `--password-file`
    pub password_file: Option<String>,
    /// `--tailscale`
    pub tailscale: Option<String>,
    /// `--tailscale-reset-on-exit`
    pub tailscale_reset_on_exit: bool,
    /// `--allow-unconfigured`
    pub allow_unconfigured: bool,
    /// `--dev` after the command, or the profile `dev`.
    pub dev: bool,
    /// `--reset`
    pub reset: bool,
    /// `--force`
    pub force: bool,
    /// `--verbose`
    pub verbose: bool,
    /// `--ws-log`; `compact` for `--compact`.
    pub ws_log: Option<String>,
    /// `--raw-stream`
    pub raw_stream: bool,
    /// `--raw-stream-path`
    pub raw_stream_path: Option<String>,
    /// `--log-level` before the command.
    pub log_level: Option<String>,
}

impl GatewayRunArgs {
    /// Takes the flags out of a command line.
    pub fn from_parsed(parsed: &Parsed, profile: Option<&str>) -> GatewayRunArgs {
        let text = |flag: &str| parsed.text(flag).map(str::to_string);
        let secret = |flag: &str| parsed.text(flag).map(crate::config::Secret::new);
        GatewayRunArgs {
            port: text("port"),
            bind: text("bind"),
            auth: text("auth"),
            token: secret("token"),
            password: secret("password"),
            password_file: text("password-file"),
            tailscale: text("tailscale"),
            tailscale_reset_on_exit: parsed.has("tailscale-reset-on-exit"),
            allow_unconfigured: parsed.has("allow-unconfigured"),
            dev: parsed.has("dev") || profile == Some("dev"),
            reset: parsed.has("reset"),
            force: parsed.has("force"),
            verbose: parsed.has("verbose"),
            ws_log: if parsed.has("compact") { Some("compact".to_string()) } else { text("ws-log") },
            raw_stream: parsed.has("raw-stream"),
            raw_stream_path: text("raw-stream-path"),
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
    start(world, &args)
}

/// The hand-over to `gateway::run`.
fn start(_world: &World, _args: &GatewayRunArgs) -> Result<ExitCode, CliError> {
    Err(CliError::other("the gateway is not linked into this build yet"))
}
