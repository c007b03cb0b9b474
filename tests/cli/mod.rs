//! Snapshots of the command line: standard output, standard error and exit status of the real binary
//! against `fixtures/cli/*.txt`. `UPDATE=1` rewrites them; review the diff like code.

#![allow(clippy::unwrap_used)]

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A port on which nothing can listen for long: the discard service's.
const NOBODY: &str = "9";

/// One snapshot: file name, environment beyond the fixed one, command line.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

const TOKEN: &[(&str, &str)] = &[("OPENCLAW_GATEWAY_TOKEN", "test-token")];
const INVALID: &[(&str, &str)] =
    &[("OPENCLAW_CONFIG_PATH", "@/invalid.json"), ("OPENCLAW_GATEWAY_TOKEN", "test-token")];
const VALID: &[(&str, &str)] = &[("OPENCLAW_CONFIG_PATH", "@/valid.json")];

const CASES: &[Case] = &[
    ("version", &[], &["--version"]),
    ("completion-bash", &[], &["completion", "-s", "bash"]),
    ("completion-fish", &[], &["completion", "--shell", "fish"]),
    ("completion-zsh", &[], &["completion"]),
    ("completion-unknown", &[], &["completion", "-s", "tcsh"]),
    ("man", &[], &["man"]),
    ("help-wins", &[], &["gateway", "status", "--nosuch", "--help"]),
    ("help-unknown", &[], &["help", "nosuch"]),
    ("group", &[], &["devices"]),
    ("unknown-command", &[], &["foobar"]),
    ("unknown-command-near", &[], &["gatway"]),
    ("unknown-command-json", &[], &["foobar", "--json"]),
    ("unknown-subcommand", &[], &["gateway", "statsu"]),
    ("unknown-option", &[], &["gateway", "--nosuch"]),
    ("unknown-option-near", &[], &["gateway", "status", "--jsno"]),
    ("unknown-option-of-parent", &[], &["gateway", "--bind", "lan", "status"]),
    ("missing-value", &[], &["gateway", "status", "--url"]),
    ("missing-argument", &[], &["gateway", "call"]),
    ("missing-option", &[], &["system", "event"]),
    ("too-many-arguments", &[], &["devices", "list", "x"]),
    ("exclusive-options", &[], &["gateway", "status", "--port", "1", "--url", "ws://127.0.0.1:1"]),
    ("profile-invalid", &[], &["--profile", "a b", "status"]),
    ("profile-and-dev", &[], &["--dev", "--profile", "x", "status"]),
    ("profile-missing", &[], &["--profile"]),
    ("bad-port", TOKEN, &["gateway", "call", "health", "--port", "abc"]),
    ("bad-timeout", TOKEN, &["gateway", "call", "health", "--timeout", "x"]),
    ("bad-params", TOKEN, &["gateway", "call", "health", "--params", "{x"]),
    ("bad-log-level", &[], &["--log-level", "loud", "status"]),
    ("url-without-credentials", &[], &["gateway", "call", "health", "--url", "ws://127.0.0.1:9"]),
    ("url-wss", &[], &["gateway", "call", "health", "--url", "wss://gateway.example", "--token", "t"]),
    ("url-http", &[], &["gateway", "call", "health", "--url", "http://gateway.example", "--token", "t"]),
    ("no-credentials", &[], &["devices", "list"]),
    ("no-credentials-json", &[], &["devices", "list", "--json"]),
    ("down-call", TOKEN, &["gateway", "call", "health"]),
    ("down-call-json", TOKEN, &["gateway", "call", "health", "--json"]),
    ("down-health", TOKEN, &["health"]),
    ("down-profile", TOKEN, &["--profile", "rescue", "health"]),
    ("down-logs", TOKEN, &["logs"]),
    ("down-logs-json", TOKEN, &["logs", "--json"]),
    ("down-channels", TOKEN, &["channels", "status"]),
    ("down-channels-json", TOKEN, &["channels", "status", "--json"]),
    ("down-probe", TOKEN, &["gateway", "probe"]),
    ("down-status", TOKEN, &["gateway", "status"]),
    ("down-status-unprobed", TOKEN, &["gateway", "status", "--no-probe"]),
    ("down-status-require-rpc", TOKEN, &["gateway", "status", "--require-rpc"]),
    ("discover", &[], &["gateway", "discover"]),
    ("discover-json", &[], &["gateway", "discover", "--json"]),
    ("config-file", &[], &["config", "file"]),
    ("config-file-profile", &[], &["--profile", "rescue", "config", "file"]),
    ("config-validate-missing", &[], &["config", "validate"]),
    ("config-validate-missing-json", &[], &["config", "validate", "--json"]),
    ("config-validate", VALID, &["config", "validate"]),
    ("config-validate-invalid", INVALID, &["config", "validate"]),
    ("config-invalid-refused", INVALID, &["devices", "list"]),
    ("config-invalid-tolerated", INVALID, &["gateway", "health"]),
    ("config-get", VALID, &["config", "get", "gateway.bind"]),
    ("config-get-object", VALID, &["config", "get", "gateway", "--json"]),
    ("config-get-missing", VALID, &["config", "get", "gateway.nosuch"]),
    ("protocol-gen-nothing", &[], &["protocol", "gen"]),
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cli")
}

/// A home of its own per case: the commands may write there, and paths must not differ between machines.
fn home(name: &str) -> PathBuf {
    let home = std::env::temp_dir().join(format!("openclaw-cli-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("invalid.json"), "{ gateway: { port: 'x' } }").unwrap();
    std::fs::write(home.join("valid.json"), VALID_CONFIG).unwrap();
    home
}

const VALID_CONFIG: &str =
    "{ // a comment\n  gateway: { mode: 'local', bind: 'loopback', auth: { token: 'geheim-1234567890' } },\n}\n";

fn run(home: &Path, env: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_openclaw"));
    command.args(args).env_clear().current_dir(home);
    command.env("HOME", home).env("PATH", home).env("OPENCLAW_GATEWAY_PORT", NOBODY).env("COLUMNS", "80");
    for (name, value) in env {
        command.env(name, value.replace('@', &home.to_string_lossy()));
    }
    command.output().unwrap()
}

/// One snapshot as text, with what differs between machines and days replaced.
fn snapshot(home: &Path, args: &[&str], output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code().map_or("signal".to_string(), |code| code.to_string());
    let text = format!("$ openclaw {}\nstatus: {code}\n--- stdout\n{stdout}--- stderr\n{stderr}", args.join(" "));
    let text = text.replace(&*home.to_string_lossy(), "[HOME]").replace(env!("CARGO_PKG_VERSION"), "[VERSION]");
    dates(&text)
}

/// `openclaw-2026-11-21.log` → `openclaw-[DATE].log`
fn dates(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("openclaw-2") {
        let (before, found) = rest.split_at(at);
        out.push_str(before);
        match (found.get(19..23), found.get(23..)) {
            (Some(".log"), Some(after)) => {
                out.push_str("openclaw-[DATE].log");
                rest = after;
            }
            _ => {
                out.push_str("openclaw-2");
                rest = found.get(10..).unwrap_or("");
            }
        }
    }
    out + rest
}

fn compare(name: &str, text: &str, wrong: &mut Vec<String>) {
    let path = fixtures().join(format!("{name}.txt"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(fixtures()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if expected != text {
        wrong.push(format!("{name}:\n{text}"));
    }
}

/// Every help page, named by its path.
fn help_cases() -> Vec<(String, Vec<String>)> {
    let mut cases = vec![("help".to_string(), vec!["--help".to_string()])];
    for command in *openclaw::cli::commands::COMMANDS {
        let mut args: Vec<String> = command.path.iter().map(|word| (*word).to_string()).collect();
        args.push("--help".to_string());
        cases.push((format!("help-{}", command.path.join("-")), args));
    }
    cases
}

#[test]
fn output_matches_the_snapshots() {
    let mut wrong = Vec::new();
    let mut known = Vec::new();
    for (name, env, args) in CASES {
        let home = home(name);
        let output = run(&home, env, args);
        compare(name, &snapshot(&home, args, &output), &mut wrong);
        known.push((*name).to_string());
        std::fs::remove_dir_all(home).unwrap();
    }
    let home = home("help");
    for (name, args) in help_cases() {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        compare(&name, &snapshot(&home, &args, &run(&home, &[], &args)), &mut wrong);
        known.push(name);
    }
    std::fs::remove_dir_all(home).unwrap();
    assert!(wrong.is_empty(), "{} differ; run with UPDATE=1 and review:\n\n{}", wrong.len(), wrong.join("\n\n"));
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().trim_end_matches(".txt").to_string();
        assert!(known.contains(&name), "fixtures/cli/{name}.txt belongs to no case");
    }
}

#[test]
fn json_answers_are_one_document_without_colours_and_secrets() {
    let home = home("json");
    let mut env = VALID.to_vec();
    env.push(("FORCE_COLOR", "1"));
    for args in [
        &["gateway", "status", "--json"][..],
        &["gateway", "probe", "--json"],
        &["status", "--json"],
        &["channels", "status", "--json"],
        &["gateway", "call", "health", "--json"],
        &["config", "get", "gateway", "--json"],
    ] {
        let output = run(&home, &env, args);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(serde_json::from_str::<Value>(&text).is_ok(), "{args:?}: {text}");
        assert!(!text.contains('\x1b') && !text.contains("geheim"), "{args:?}: {text}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("geheim"), "{args:?}");
    }
    std::fs::remove_dir_all(home).unwrap();
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    use std::process::Stdio;
    let mut command = Command::new(env!("CARGO_BIN_EXE_openclaw"));
    command.args(["completion", "-s", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// Going on with the default state directory, or without the token, would be something else than what was asked for.
#[test]
fn words_and_settings_that_are_no_text_are_refused() {
    let home = home("no-text");
    let broken = std::ffi::OsStr::from_bytes(b"\xff");
    let program = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_openclaw"));
        command.env_clear().env("HOME", &home);
        command
    };
    let setting = program().env("OPENCLAW_STATE_DIR", broken).args(["config", "file"]).output().unwrap();
    let word = program().args(["config", "get"]).arg(broken).output().unwrap();
    let value = program().args(["gateway", "--password-file"]).arg(broken).output().unwrap();
    for (output, text) in [
        (setting, "OPENCLAW_STATE_DIR is not valid UTF-8"),
        (word, "an argument is not valid UTF-8"),
        (value, "an argument is not valid UTF-8"),
    ] {
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(text), "{stderr}");
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), b"".as_slice()));
    }
}

/// Two zones in which it is never the same day.
#[test]
fn the_log_file_is_named_by_the_day_of_the_gateways_zone() {
    let home = home("zones");
    let file = |zone: &str| {
        let output = run(&home, &[("TZ", zone)], &["gateway", "status", "--no-probe", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        status["logFile"].as_str().unwrap().to_string()
    };
    assert_ne!(file("EAST-14"), file("WEST+12"));
}

/// A gateway that went on would end at the state directory, with another status.
#[test]
fn a_configuration_that_asks_for_what_is_not_here_is_refused() {
    let home = home("not-here");
    for (key, text) in
        [("tls: { enabled: true }", "gateway.tls.enabled"), ("tailscale: { mode: 'serve' }", "gateway.tailscale.mode")]
    {
        let config = format!("{{ gateway: {{ mode: 'local', auth: {{ token: 'geheim-1234567890' }}, {key} }} }}");
        std::fs::write(home.join("asking.json"), config).unwrap();
        let env = [("OPENCLAW_CONFIG_PATH", "@/asking.json"), ("OPENCLAW_STATE_DIR", "/proc/nowhere")];
        let output = run(&home, &env, &["gateway", "--port", "0"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.starts_with(&format!("{text} is not available in this version")), "{stderr}");
        assert_eq!(output.status.code(), Some(78));
    }
}
