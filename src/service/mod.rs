//! What this machine knows about the gateway as a service: supervisor, unit file, listeners, look-alikes.
//! Looks only; starts, stops and writes nothing. Knows neither the protocol nor the command line.

pub mod child;
pub mod ports;
pub mod scan;
pub mod systemd;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::config::{Env, Paths};
use crate::limits;

/// Environment keys of a service that may be shown (`spec/cli.md` 4.4): never the token.
pub const SAFE_ENV: &[&str] =
    &["OPENCLAW_PROFILE", "OPENCLAW_STATE_DIR", "OPENCLAW_CONFIG_PATH", "OPENCLAW_GATEWAY_PORT", "OPENCLAW_NIX_MODE"];

/// Whether the service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    /// It runs.
    Running,
    /// It does not.
    Stopped,
    /// Nobody can tell.
    #[default]
    Unknown,
}

impl Status {
    /// The word in text and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Status::Running => "running",
            Status::Stopped => "stopped",
            Status::Unknown => "unknown",
        }
    }
}

/// The supervisor's view of the process.
#[derive(Debug, Clone, Default)]
pub struct Runtime {
    /// Whether it runs.
    pub status: Status,
    /// `ActiveState`
    pub state: Option<String>,
    /// `SubState`
    pub sub_state: Option<String>,
    /// Main process.
    pub pid: Option<u32>,
    /// Last exit status.
    pub last_exit_status: Option<i64>,
    /// How the last process ended.
    pub last_exit_reason: Option<String>,
    /// Why nothing is known.
    pub detail: Option<String>,
    /// There is no such unit.
    pub missing_unit: bool,
}

/// What a unit file says.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// The words of `ExecStart`.
    pub argv: Vec<String>,
    /// `WorkingDirectory`
    pub working_dir: Option<String>,
    /// All of `Environment`; only [`SAFE_ENV`] may be shown.
    pub env: Vec<(String, String)>,
    /// The file.
    pub source: PathBuf,
    /// Lines that concern the audit: `After`, `Wants`, `RestartSec`.
    pub settings: Vec<(String, String)>,
}

impl Command {
    /// `--port` of the service's command line.
    pub fn port(&self) -> Option<u16> {
        let mut words = self.argv.iter();
        while let Some(word) = words.next() {
            if word == "--port" {
                return words.next()?.parse().ok();
            }
            if let Some(port) = word.strip_prefix("--port=") {
                return port.parse().ok();
            }
        }
        None
    }

    /// The variables that may be shown.
    pub fn safe_env(&self) -> Vec<(&str, &str)> {
        let safe = self.env.iter().filter(|(name, _)| SAFE_ENV.contains(&name.as_str()));
        safe.map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

/// A remark about the unit file (`spec/cli.md` 4.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Stable code.
    pub code: &'static str,
    /// One line.
    pub message: &'static str,
    /// `recommended` or `aggressive`
    pub level: &'static str,
}

/// Everything about the service.
#[derive(Debug, Clone)]
pub struct Service {
    /// Name of the supervisor, or that there is none.
    pub label: &'static str,
    /// Whether there is a supervisor that can be asked.
    pub supervised: bool,
    /// The unit's name, with its ending.
    pub unit: String,
    /// Whether the unit lies in the system directory instead of the user's.
    pub system_unit: bool,
    /// Whether it is enabled.
    pub loaded: bool,
    /// What the unit file says, if there is one.
    pub command: Option<Command>,
    /// What the supervisor says.
    pub runtime: Runtime,
    /// Remarks about the unit file; none without one.
    pub audit: Vec<Remark>,
}

/// Label without a supervisor, as the newer original prints it.
pub const NO_SUPERVISOR: &str = "no supported service manager detected";

/// The unit's name for a profile (`spec/lifecycle.md` 16), or what `OPENCLAW_SYSTEMD_UNIT` says.
pub fn unit_name(env: &Env, paths: &Paths) -> String {
    let name = match (env.get("OPENCLAW_SYSTEMD_UNIT"), paths.profile.as_deref()) {
        (Some(unit), _) => unit.trim_end_matches(".service").to_string(),
        (None, Some(profile)) => format!("openclaw-gateway-{profile}"),
        (None, None) => "openclaw-gateway".to_string(),
    };
    format!("{name}.service")
}

/// The text of a unit or environment file; none when there is none, it cannot be read or is too long for one.
fn read_text(path: &Path) -> Option<String> {
    let limit = u64::try_from(limits::UNIT_FILE_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(limit.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    (bytes.len() <= limits::UNIT_FILE_BYTES).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// Looks at the service of this profile.
pub fn inspect(env: &Env, paths: &Paths) -> Service {
    let unit = unit_name(env, paths);
    let user_file = paths.home.join(".config/systemd/user").join(&unit);
    let system_file = PathBuf::from("/etc/systemd/system").join(&unit);
    let user = systemd::read_unit(&user_file);
    let system_unit = user.is_none() && system_file.exists();
    let command = user.or_else(|| systemd::read_unit(&system_file));
    let audit = command.as_ref().map(systemd::audit).unwrap_or_default();
    let Some(program) = child::find(env, "systemctl") else {
        let detail = Some("systemctl is not installed".to_string());
        let runtime = Runtime { detail, missing_unit: command.is_none(), ..Runtime::default() };
        return Service {
            label: NO_SUPERVISOR,
            supervised: false,
            unit,
            system_unit,
            loaded: false,
            command,
            runtime,
            audit,
        };
    };
    let systemctl = systemd::Systemctl { program, system: system_unit };
    let runtime = systemctl.runtime(&unit);
    let supervised = runtime.status != Status::Unknown || runtime.missing_unit;
    let loaded = supervised && systemctl.is_enabled(&unit);
    let label = if supervised || command.is_some() { "systemd" } else { NO_SUPERVISOR };
    Service { label, supervised, unit, system_unit, loaded, command, runtime, audit }
}
