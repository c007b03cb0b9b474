//! systemd, read-only: unit files, `is-enabled`, `show` (`spec/lifecycle.md` 17).
//! Never starts, stops, enables or writes anything.

use std::path::{Path, PathBuf};

use super::child::{self, Ended};
use super::{Command, Remark, Runtime, Status, read_text};

const PROPERTIES: &str = "LoadState,ActiveState,SubState,MainPID,ExecMainStatus,ExecMainCode";

/// The program and the manager to ask.
pub struct Systemctl {
    /// `systemctl`
    pub program: PathBuf,
    /// Ask the system's manager instead of the user's.
    pub system: bool,
}

impl Systemctl {
    fn run(&self, args: &[&str]) -> Ended {
        let mut all = if self.system { Vec::new() } else { vec!["--user"] };
        all.extend_from_slice(args);
        child::run(&self.program, &all)
    }

    /// Whether the unit is enabled.
    pub fn is_enabled(&self, unit: &str) -> bool {
        self.run(&["is-enabled", unit]).ok()
    }

    /// What the manager says about the unit.
    pub fn runtime(&self, unit: &str) -> Runtime {
        let ended = self.run(&["show", unit, "--no-page", "--property", PROPERTIES]);
        if ended.ok() {
            return parse_show(&ended.stdout);
        }
        let reason = ended.reason();
        if reason.to_lowercase().contains("not found") {
            return Runtime { status: Status::Stopped, missing_unit: true, detail: Some(reason), ..Runtime::default() };
        }
        Runtime { detail: Some(format!("systemctl unavailable: {reason}")), ..Runtime::default() }
    }
}

/// Reads the output of `systemctl show`. Unknown units do not fail there: `LoadState` tells.
pub fn parse_show(text: &str) -> Runtime {
    let value = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.map(str::trim).filter(|value| !value.is_empty()).map(str::to_string)
    };
    let missing_unit = value("LoadState").as_deref() == Some("not-found");
    let state = value("ActiveState");
    let status = match state.as_deref() {
        Some("active") => Status::Running,
        Some(_) => Status::Stopped,
        None => Status::Unknown,
    };
    Runtime {
        status,
        sub_state: value("SubState"),
        pid: value("MainPID").and_then(|pid| pid.parse().ok()).filter(|pid| *pid > 0),
        last_exit_status: value("ExecMainStatus").and_then(|status| status.parse().ok()),
        last_exit_reason: value("ExecMainCode"),
        state,
        detail: None,
        missing_unit,
    }
}

/// Reads a unit file; `None` when there is none that can be read.
pub fn read_unit(path: &Path) -> Option<Command> {
    let mut command = parse_unit(&read_text(path)?);
    let files: Vec<PathBuf> = command
        .settings
        .iter()
        .filter(|(name, _)| name == "EnvironmentFile")
        .map(|(_, file)| PathBuf::from(file.trim_start_matches('-')))
        .collect();
    for text in files.iter().filter_map(|file| read_text(file)) {
        command.env.extend(crate::config::env::parse_dotenv(&text));
    }
    command.source = path.to_path_buf();
    Some(command)
}

/// The parts of a unit file that status and audit read.
pub fn parse_unit(text: &str) -> Command {
    let mut command = Command::default();
    let joined = text.replace("\\\n", " ");
    for line in joined.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        let Some((name, value)) = line.split_once('=') else { continue };
        let (name, value) = (name.trim(), value.trim());
        match name {
            "ExecStart" => command.argv = words(value.trim_start_matches(['-', '@', ':', '+', '!'])),
            "WorkingDirectory" => command.working_dir = Some(value.trim_start_matches('-').to_string()),
            "Environment" => {
                let pairs = words(value);
                let pairs = pairs.iter().filter_map(|pair| pair.split_once('='));
                command.env.extend(pairs.map(|(name, value)| (name.to_string(), value.to_string())));
            }
            _ => command.settings.push((name.to_string(), value.to_string())),
        }
    }
    command
}

/// Words of a unit file's value: quotes group, `\` escapes, `%%` is one percent sign.
fn words(value: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut open) = (Vec::new(), String::new(), None, false);
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => (quote, open) = (Some(c), true),
            (_, '\\') => word.extend(chars.next()),
            (_, '%') if chars.peek() == Some(&'%') => word.extend(chars.next()),
            (None, c) if c.is_whitespace() => {
                if open || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                open = false;
            }
            (_, c) => word.push(c),
        }
    }
    if open || !word.is_empty() {
        words.push(word);
    }
    words
}

/// Remarks about a unit file (`spec/cli.md` 4.5); those about other run times do not apply here.
pub fn audit(command: &Command) -> Vec<Remark> {
    let mentions = |name: &str, what: &str| {
        command.settings.iter().any(|(key, value)| key == name && value.split_whitespace().any(|word| word == what))
    };
    let restart = command.settings.iter().find(|(key, _)| key == "RestartSec").map(|(_, value)| value.as_str());
    let checks = [
        (command.argv.is_empty(), "gateway-command-missing", "Unit has no ExecStart", "aggressive"),
        (
            !command.argv.iter().any(|word| word == "gateway"),
            "gateway-command-missing",
            "Service command does not run the gateway",
            "aggressive",
        ),
        (
            !mentions("After", "network-online.target"),
            "systemd-after-network-online",
            "Missing systemd After=network-online.target",
            "recommended",
        ),
        (
            !mentions("Wants", "network-online.target"),
            "systemd-wants-network-online",
            "Missing systemd Wants=network-online.target",
            "recommended",
        ),
        (!matches!(restart, Some("5" | "5s")), "systemd-restart-sec", "RestartSec is not 5s", "recommended"),
    ];
    let mut remarks: Vec<Remark> = Vec::new();
    for (wrong, code, message, level) in checks {
        if wrong && !remarks.iter().any(|remark| remark.code == code) {
            remarks.push(Remark { code, message, level });
        }
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = "[Unit]\nAfter=network-online.target\nWants=network-online.target\n[Service]\n\
        ExecStart=/opt/open\\ claw/openclaw gateway --port 18800\nRestartSec=5\nEnvironment=\"HOME=/home/u v\"\n\
        Environment=OPENCLAW_GATEWAY_PORT=18800 OPENCLAW_GATEWAY_TOKEN=geheim\nEnvironment=\"P=100%%\"\n# ExecStart=no\n";

    #[test]
    fn reads_a_unit_file() {
        let command = parse_unit(UNIT);
        assert_eq!(command.argv, ["/opt/open claw/openclaw", "gateway", "--port", "18800"]);
        assert_eq!(command.port(), Some(18800));
        assert_eq!(command.safe_env(), [("OPENCLAW_GATEWAY_PORT", "18800")]);
        assert!(command.env.contains(&("HOME".into(), "/home/u v".into())));
        assert!(command.env.contains(&("P".into(), "100%".into())));
        assert!(audit(&command).is_empty());
    }

    #[test]
    fn remarks_name_what_a_unit_lacks() {
        let codes: Vec<&str> = audit(&parse_unit("[Service]\nExecStart=/bin/true\n")).iter().map(|r| r.code).collect();
        assert_eq!(
            codes,
            [
                "gateway-command-missing",
                "systemd-after-network-online",
                "systemd-wants-network-online",
                "systemd-restart-sec"
            ]
        );
    }

    #[test]
    fn reads_show_and_sees_a_missing_unit() {
        let runtime = parse_show(
            "LoadState=loaded\nActiveState=active\nSubState=running\nMainPID=42\nExecMainStatus=0\nExecMainCode=0\n",
        );
        assert_eq!((runtime.status, runtime.pid, runtime.missing_unit), (Status::Running, Some(42), false));
        let runtime = parse_show("LoadState=not-found\nActiveState=inactive\nMainPID=0\n");
        assert_eq!((runtime.status, runtime.pid, runtime.missing_unit), (Status::Stopped, None, true));
        assert_eq!(parse_show("").status, Status::Unknown);
    }
}
