//! Chapter 12: the command line (`spec/cli.md`) against a running gateway, and starts that are refused
//! (`spec/lifecycle.md` 8): exact texts and exit codes.

use std::process::Output;

use serde_json::{Value, json};

use crate::harness::TOKEN;
use crate::harness::gateway::{Gateway, Home, Setup};
use crate::harness::peer::{Hello, Peer};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A start that must be refused: configuration, words, environment, exit code, texts on standard error.
struct Refusal {
    config: Option<&'static str>,
    words: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
    code: i32,
    texts: &'static [&'static str],
}

const LOCAL: Option<&str> = Some(r#"{gateway: {mode: "local"}}"#);
const SECRET: &[(&str, &str)] = &[("OPENCLAW_GATEWAY_TOKEN", "t-0123456789")];

const REFUSALS: &[Refusal] = &[
    Refusal { config: LOCAL, words: &["--reset"], env: SECRET, code: 1, texts: &["Use --reset with --dev."] },
    Refusal {
        config: LOCAL,
        words: &["--ws-log", "loud"],
        env: SECRET,
        code: 1,
        texts: &[r#"Invalid --ws-log (use "auto", "full", "compact")"#],
    },
    Refusal { config: LOCAL, words: &["--port", "banana"], env: SECRET, code: 1, texts: &["Invalid port"] },
    Refusal { config: LOCAL, words: &["--port", "70000"], env: SECRET, code: 1, texts: &["Invalid port"] },
    Refusal { config: LOCAL, words: &["--auth", "magic"], env: SECRET, code: 1, texts: &["Invalid --auth"] },
    Refusal {
        config: LOCAL,
        words: &["--bind", "everywhere"],
        env: SECRET,
        code: 1,
        texts: &[r#"Invalid --bind (use "loopback", "lan", "tailnet", "auto", or "custom")"#],
    },
    Refusal {
        config: LOCAL,
        words: &["--tailscale", "maybe"],
        env: SECRET,
        code: 1,
        texts: &[r#"Invalid --tailscale (use "off", "serve", or "funnel")"#],
    },
    Refusal {
        config: None,
        words: &[],
        env: SECRET,
        code: 78,
        texts: &["Missing config. Run `openclaw setup` or set gateway.mode=local (or pass --allow-unconfigured)."],
    },
    Refusal {
        config: Some(r#"{gateway: {mode: "remote"}}"#),
        words: &[],
        env: SECRET,
        code: 78,
        texts: &["Gateway start blocked: set gateway.mode=local (current: remote) or pass --allow-unconfigured."],
    },
    Refusal {
        config: Some("{gateway: {port: 1}}"),
        words: &[],
        env: SECRET,
        code: 78,
        texts: &["Gateway start blocked: set gateway.mode=local (current: unset) or pass --allow-unconfigured."],
    },
    Refusal {
        config: LOCAL,
        words: &["--auth", "password"],
        env: &[],
        code: 78,
        texts: &[
            "Gateway auth is set to password, but no password is configured.",
            "Set gateway.auth.password (or OPENCLAW_GATEWAY_PASSWORD), or pass --password.",
        ],
    },
    Refusal {
        config: LOCAL,
        words: &["--bind", "lan"],
        env: &[],
        code: 78,
        texts: &[
            "Refusing to bind gateway to lan without auth.",
            "Set gateway.auth.token/password (or OPENCLAW_GATEWAY_TOKEN/OPENCLAW_GATEWAY_PASSWORD) or pass \
             --token/--password.",
        ],
    },
    Refusal {
        config: Some(r#"{gateway: {mode: "local", bind: "lan", auth: {mode: "none"}}}"#),
        words: &[],
        env: &[],
        code: 78,
        texts: &["Refusing to bind gateway to lan without auth."],
    },
    Refusal {
        config: Some("{gateway: {mode: \"local\",\n  port: }}"),
        words: &[],
        env: SECRET,
        code: 78,
        texts: &["Config invalid", "openclaw.json", "Run: openclaw doctor --fix"],
    },
    Refusal {
        config: Some(r#"{gateway: {mode: "local", port: "many"}}"#),
        words: &[],
        env: SECRET,
        code: 78,
        texts: &["Config invalid", "gateway.port"],
    },
    Refusal {
        config: Some(r#"{gateway: {mode: "local", auth: {token: "${NO_SUCH_VARIABLE}"}}}"#),
        words: &[],
        env: &[],
        code: 78,
        texts: &["NO_SUCH_VARIABLE"],
    },
];

#[test]
fn starts_that_cannot_be_right_are_refused_with_their_text_and_code() {
    for refusal in REFUSALS {
        let home = Home::new();
        if let Some(config) = refusal.config {
            home.configure(config);
        }
        let mut words = vec!["gateway"];
        if !refusal.words.contains(&"--port") {
            words.extend(["--port", "1"]);
        }
        words.extend(refusal.words);
        let output = home.run(&words, refusal.env);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(refusal.code), "{words:?} {:?}: {text}", refusal.config);
        for part in refusal.texts {
            assert!(text.contains(part), "{words:?}: {part:?} is not in\n{text}");
        }
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn a_state_directory_that_cannot_be_written_is_named_with_the_way_out() {
    for token in ["", "given"] {
        let home = Home::new();
        let config = ("OPENCLAW_CONFIG_PATH", "/nonexistent/openclaw.json");
        let env = [config, ("OPENCLAW_STATE_DIR", "/dev/null/state"), ("OPENCLAW_GATEWAY_TOKEN", token)];
        let output = home.run(&["gateway", "--allow-unconfigured", "--port", "0"], &env);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains("State is kept in /dev/null/state") && text.contains("OPENCLAW_STATE_DIR=<dir>"),
            "{text}"
        );
    }
}

#[test]
fn the_first_command_a_newcomer_is_told_reaches_this_gateway() {
    let mut gateway = Setup::new().env("OPENCLAW_GATEWAY_TOKEN", "").start();
    let told = gateway.line("Try in another terminal:");
    let words = told.split_once("-- ").or_else(|| told.split_once("openclaw ")).unwrap().1;
    let words: Vec<&str> = words.split_whitespace().collect();
    let output = gateway.home().run(&words, &[]);
    assert!(output.status.success(), "{told}\n{}", stderr(&output));
}

#[test]
fn a_syntax_error_is_given_with_line_and_column() {
    let home = Home::new();
    home.configure("{\n  gateway: {\n    mode: ,\n  },\n}\n");
    let text = stderr(&home.run(&["gateway"], SECRET));
    assert!(text.contains("3:"), "line 3 is not named: {text}");
}

#[test]
fn an_unknown_key_is_a_warning_with_a_suggestion() {
    let mut gateway = Setup::new().config(r#"{gateway: {mode: "local", prot: 5, controlUi: {enabeld: true}}}"#).start();
    let line = gateway.line("prot");
    assert!(line.contains("port"), "{line}");
}

/// Everything the gateway has logged.
fn log_of(gateway: &Gateway) -> String {
    std::fs::read_to_string(gateway.home().path.join("openclaw.log")).unwrap()
}

#[test]
fn a_newcomer_needs_no_secret_on_the_same_machine() {
    use std::os::unix::fs::PermissionsExt;
    let mut gateway = Setup::new().env("OPENCLAW_GATEWAY_TOKEN", "").start();
    let file = gateway.home().state("gateway-token");
    let token = std::fs::read_to_string(&file).unwrap().trim().to_string();
    assert!(token.len() >= 32, "{} characters", token.len());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let said = gateway.line("kept in ~/.openclaw/gateway-token");
    assert!(said.contains("commands on this machine find it"), "{said}");
    let dashboard = gateway.line("Dashboard: http://127.0.0.1:");
    assert!(dashboard.ends_with(&format!("#token={token}")), "{dashboard}");
    assert!(!log_of(&gateway).contains(&token), "the token is shown to a person once and never logged");
    let mut managed = Setup::new().env("OPENCLAW_GATEWAY_TOKEN", "").env("INVOCATION_ID", "1").start();
    managed.line("Stop it with Ctrl-C");
    assert!(!managed.console().contains("#token="), "standard output of a service is kept in a journal");

    let port = gateway.port.to_string();
    let output = gateway.home().run(&["health", "--json"], &[("OPENCLAW_GATEWAY_PORT", &port)]);
    assert!(output.status.success(), "{}", stderr(&output));
    let (_, home) = gateway.stop();
    let mut again = Setup::new().env("OPENCLAW_GATEWAY_TOKEN", "").home(home).start();
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), token, "the next start keeps it");
    assert!(!again.console().contains(&token));
    Peer::connect(&again, &Hello::v4().auth(json!({"token": token}))).alive();
}

#[test]
fn commands_answer_with_the_documented_json() {
    let gateway = Gateway::start();
    let health = gateway.cli_json(&["gateway", "call", "health", "--json"]);
    assert_eq!(health["ok"], true);
    assert_eq!(gateway.cli_json(&["health", "--json"])["ok"], true);
    assert!(gateway.cli_json(&["gateway", "call", "status", "--json"])["sessions"]["count"].is_u64());
    let presence = gateway.cli_json(&["system", "presence", "--json"]);
    assert!(presence.as_array().unwrap().iter().any(|entry| entry["mode"] == "gateway"), "{presence}");

    let status = gateway.cli_json(&["gateway", "status", "--json"]);
    assert_eq!(status["rpc"]["ok"], true, "{status}");
    assert_eq!(status["gateway"]["port"], gateway.port);
    assert_eq!(status["gateway"]["bindMode"], "loopback");

    let probe = gateway.cli_json(&["gateway", "probe", "--json"]);
    assert_eq!(probe["ok"], true, "{probe}");
    assert_eq!(probe["targets"][0]["connect"]["ok"], true);
    assert_eq!(probe["targets"][0]["health"]["ok"], true);

    let overview = gateway.cli_json(&["status", "--json"]);
    assert_eq!(overview["gateway"]["reachable"], true, "{overview}");
    assert!(gateway.cli_json(&["devices", "list", "--json"])["paired"].is_array());
    assert_eq!(gateway.cli_json(&["system", "event", "--text", "hello", "--json"]), json!({"ok": true}));
    assert_eq!(gateway.cli_json(&["system", "heartbeat", "enable", "--json"]), json!({"ok": true, "enabled": true}));
    assert_eq!(gateway.cli_json(&["system", "heartbeat", "last", "--json"]), Value::Null);
}

#[test]
fn texts_for_people_name_what_matters() {
    let gateway = Gateway::start();
    let health = gateway.cli(&["gateway", "health"]);
    assert!(stdout(&health).contains("OK ("), "{}", stdout(&health));
    let status = gateway.cli(&["gateway", "status"]);
    assert_eq!(status.status.code(), Some(0));
    assert!(stdout(&status).contains("Connectivity probe: ok"), "{}", stdout(&status));
    assert!(stdout(&status).contains("Capability: "));
    let probe = gateway.cli(&["gateway", "probe"]);
    assert!(stdout(&probe).contains("Reachable: yes"), "{}", stdout(&probe));
}

#[test]
fn the_log_is_printed_line_by_line() {
    let gateway = Gateway::start();
    let output = gateway.cli(&["logs", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["type"], "meta");
    assert!(lines[0]["cursor"].is_u64() && lines[0]["file"].is_string());
    let listening =
        lines.iter().any(|line| line["type"] == "log" && line["message"].to_string().contains("listening on"));
    assert!(listening, "{lines:?}");
    assert!(lines[1..].iter().all(|line| line["time"].is_string() && line["level"].is_string()));
    assert!(!stdout(&output).contains(TOKEN));
}

#[test]
fn failures_have_their_texts_and_codes() {
    let gateway = Gateway::start();
    let output = gateway.cli(&["gateway", "call", "no.such.method"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("Gateway call failed: unknown method: no.such.method"), "{}", stderr(&output));

    let output = gateway.cli(&["gateway", "call", "no.such.method", "--json"]);
    let error: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(error["error"]["type"], "gateway_request_error", "{error}");
    assert_eq!(error["error"]["code"], "INVALID_REQUEST");

    let output = gateway.cli(&["gateway", "call", "health", "--params", "{"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--params must be valid JSON"), "{}", stderr(&output));

    let url = format!("ws://127.0.0.1:{}", gateway.port);
    let output = gateway.cli(&["gateway", "call", "health", "--url", &url]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("gateway url override requires explicit credentials"), "{}", stderr(&output));

    let output = gateway.cli(&["gateway", "call", "health", "--url", &url, "--token", "wrong-secret"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("unauthorized: gateway token mismatch"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("wrong-secret"));
}

#[test]
fn a_gateway_that_is_down_is_said_to_be_down() {
    let home = Home::new();
    let env = [("OPENCLAW_GATEWAY_TOKEN", "t"), ("OPENCLAW_GATEWAY_PORT", "1")];
    let cases: [(&[&str], i32); 7] = [
        (&["gateway", "call", "health"], 1),
        (&["gateway", "health"], 1),
        (&["health"], 1),
        (&["gateway", "probe"], 1),
        (&["logs"], 1),
        (&["gateway", "status"], 0),
        (&["status"], 0),
    ];
    for (words, code) in cases {
        let output = home.run(words, &env);
        let all = stdout(&output) + &stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {all}");
        assert!(!all.contains("panicked"), "{all}");
    }
    let text = stderr(&home.run(&["gateway", "call", "health"], &env));
    assert!(text.contains("Gateway target: ws://127.0.0.1:1"), "{text}");
    assert!(text.contains("Source: local loopback"), "{text}");
    let output = home.run(&["gateway", "status", "--require-rpc"], &env);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn words_that_mean_nothing_are_refused() {
    let home = Home::new();
    let cases: [(&[&str], i32, &str); 5] = [
        (&["foobar"], 1, "foobar"),
        (&["gateway", "--nosuch"], 1, "--nosuch"),
        (&["--profile", "a b", "health"], 2, "Invalid --profile (use letters, numbers, \"_\", \"-\" only)"),
        (&["--dev", "--profile", "x", "health"], 2, "Cannot combine --dev with --profile"),
        (&["--profile"], 2, "--profile requires a value"),
    ];
    for (words, code, part) in cases {
        let output = home.run(words, &[]);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{words:?}: {}", stderr(&output));
    }
}

#[test]
fn help_and_version_always_work() {
    let home = Home::new();
    home.configure("{ broken");
    for words in
        [&["--help"][..], &["--version"], &["gateway", "--help"], &["gateway", "call", "--help"], &["logs", "-h"]]
    {
        let output = home.run(words, &[]);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", stderr(&output));
        assert!(!stdout(&output).is_empty());
    }
    assert!(stdout(&home.run(&["--version"], &[])).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_profile_has_its_own_state_and_config() {
    let mut gateway = Setup::new();
    gateway = gateway.env("OPENCLAW_PROFILE", "");
    let gateway = gateway.start();
    let home = gateway.home();
    let output = home.run(&["--profile", "rescue", "gateway", "--port", "1"], SECRET);
    assert_eq!(output.status.code(), Some(78), "the profile has no config: {}", stderr(&output));
    let port = gateway.port.to_string();
    let env = [("OPENCLAW_GATEWAY_TOKEN", TOKEN), ("OPENCLAW_GATEWAY_PORT", &*port)];
    let output = home.run(&["--profile", "rescue", "gateway", "status", "--json"], &env);
    let status: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(status["config"]["cli"]["path"].as_str().unwrap().contains(".openclaw-rescue/"), "{status}");
}

#[test]
fn devices_are_approved_from_the_command_line() {
    use crate::harness::device::Device;
    use crate::harness::websocket::Socket;
    let gateway = Gateway::start();
    let device = Device::number(60);
    let remote = || Peer::over(Socket::open_with(gateway.port, "/", "Host: gateway.example\r\n"));
    let answer = remote().greet_device(&Hello::v3(), &device, 2);
    let request = answer["error"]["details"]["requestId"].as_str().unwrap().to_string();
    let list = gateway.cli_json(&["devices", "list", "--json"]);
    assert_eq!(list["pending"][0]["requestId"], request.as_str(), "{list}");
    let output = gateway.cli(&["devices", "approve", &request]);
    assert!(stdout(&output).contains("Approved"), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(remote().greet_device(&Hello::v3(), &device, 2)["ok"], true);
    let rotated = gateway.cli_json(&["devices", "rotate", "--device", &device.id, "--role", "operator"]);
    assert!(rotated["token"].is_string() || rotated["rotatedAtMs"].is_u64(), "{rotated}");
    let output = gateway.cli(&["devices", "reject", "no-such-request"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("unknown requestId"), "{}", stderr(&output));
}
