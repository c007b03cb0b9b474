//! Start-up decisions, one test per rule of lifecycle.md 6–8.

use super::*;
use crate::config::load::interpret;
use crate::config::paths::Profile;
use std::path::Path;

const TAILNET: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 101, 102, 103));

fn flags(set: impl FnOnce(&mut Flags)) -> Flags {
    let mut flags = Flags::default();
    set(&mut flags);
    flags
}

struct Case {
    env: Vec<(&'static str, &'static str)>,
    flags: Flags,
    config: Option<&'static str>,
    profile: Profile,
}

fn case(config: &'static str) -> Case {
    Case { env: vec![("HOME", "/h")], flags: Flags::default(), config: Some(config), profile: Profile::none() }
}

impl Case {
    fn flags(mut self, set: impl FnOnce(&mut Flags)) -> Case {
        self.flags = flags(set);
        self
    }

    fn env(mut self, name: &'static str, value: &'static str) -> Case {
        self.env.push((name, value));
        self
    }

    fn run_on(&self, interfaces: &[IpAddr]) -> Result<Plan, Refusal> {
        let mut env = Env::of(self.env.iter().copied());
        self.profile.apply(&mut env);
        let paths = Paths::resolve(&env, &self.profile);
        let snapshot = match self.config {
            Some(text) => interpret(&paths.config_file, text.to_string(), &env),
            None => crate::config::load::load(&paths, &env),
        };
        plan(&self.flags, &snapshot, &paths, interfaces)
    }

    fn plan(&self) -> Plan {
        self.run_on(&[]).unwrap_or_else(|refusal| panic!("{refusal:?}"))
    }

    fn refusal(&self) -> (Vec<String>, u8) {
        let refusal = self.run_on(&[]).expect_err("a refusal");
        (refusal.lines, refusal.exit_code)
    }

    fn refuses(&self, exit_code: u8, lines: &[&str]) {
        let (found, code) = self.refusal();
        assert_eq!(found, lines);
        assert_eq!(code, exit_code);
    }
}

const LOCAL: &str = "{gateway: {mode: 'local'}}";
const TOKEN: &str = "{gateway: {mode: 'local', auth: {token: 't'}}}";

#[test]
fn port_is_flag_then_env_then_config_then_default() {
    let config = "{gateway: {mode: 'local', port: 3}}";
    let port = |case: Case| (case.plan().port, case.plan().port_source);
    assert_eq!(port(case(LOCAL)), (18789, Source::Default));
    assert_eq!(port(case(config)), (3, Source::Config));
    assert_eq!(port(case(config).env("OPENCLAW_GATEWAY_PORT", "2")), (2, Source::Env));
    assert_eq!(port(case(config).env("OPENCLAW_GATEWAY_PORT", "-2")), (3, Source::Config));
    let flagged = case(config).env("OPENCLAW_GATEWAY_PORT", "2").flags(|f| f.port = Some("1".into()));
    assert_eq!(port(flagged), (1, Source::Flag));
}

#[test]
fn flags_are_refused_in_the_words_of_the_original() {
    case(LOCAL).flags(|f| f.reset = true).refuses(1, &["Use --reset with --dev."]);
    case(LOCAL)
        .flags(|f| f.ws_log = Some("x".into()))
        .refuses(1, &["Invalid --ws-log (use \"auto\", \"full\", \"compact\")"]);
    for port in ["x", "65536", "-1", ""] {
        case(LOCAL).flags(|f| f.port = Some(port.into())).refuses(1, &["Invalid port"]);
    }
    let auth = "Invalid --auth (use \"token\", \"password\", \"none\", or \"trusted-proxy\")";
    case(LOCAL).flags(|f| f.auth = Some("x".into())).refuses(1, &[auth]);
    let tailscale = "Invalid --tailscale (use \"off\", \"serve\", or \"funnel\")";
    case(LOCAL).flags(|f| f.tailscale = Some("x".into())).refuses(1, &[tailscale]);
    let bind = "Invalid --bind (use \"loopback\", \"lan\", \"tailnet\", \"auto\", or \"custom\")";
    case(LOCAL).flags(|f| f.bind = Some("0.0.0.0".into())).refuses(1, &[bind]);
}

#[test]
fn an_invalid_config_is_shown_and_exits_78() {
    case("{gateway: {port: 'x'}}").refuses(
        78,
        &[
            "Config invalid",
            "File: ~/.openclaw/openclaw.json",
            "Problem:",
            "  - gateway.port: Invalid input: expected number, received string (line 1, column 12)",
            "",
            "Run: openclaw doctor --fix",
        ],
    );
}

#[test]
fn a_syntax_error_names_line_and_column() {
    let (lines, _) = case("{\n  gateway: local\n}").refusal();
    let expected = "  - <root>: JSON5 parse failed: /h/.openclaw/openclaw.json:2:12: \
        expected a value, found a bare word (text needs quotes)";
    assert_eq!(lines[3], expected);
}

#[test]
fn a_missing_config_or_mode_blocks_the_start() {
    let mut missing = case("");
    missing.config = None;
    missing.refuses(
        78,
        &["Missing config. Run `openclaw setup` or set gateway.mode=local (or pass --allow-unconfigured)."],
    );
    case("{}")
        .refuses(78, &["Gateway start blocked: set gateway.mode=local (current: unset) or pass --allow-unconfigured."]);
    case("{gateway: {mode: 'remote'}}").refuses(
        78,
        &["Gateway start blocked: set gateway.mode=local (current: remote) or pass --allow-unconfigured."],
    );
    assert_eq!(case("{gateway: {mode: 'remote'}}").flags(|f| f.allow_unconfigured = true).plan().port, 18789);
    missing.flags.dev = true;
    assert!(missing.plan().dev);
}

#[test]
fn the_dev_profile_starts_without_config_on_its_port() {
    let mut dev = case("");
    dev.config = None;
    dev.profile = Profile::named("dev").unwrap();
    let plan = dev.plan();
    assert_eq!((plan.port, plan.canvas_port, plan.browser_port), (19001, Some(19005), Some(19003)));
    assert_eq!(plan.workspace, Path::new("/h/.openclaw/workspace-dev"));
    assert_eq!(plan.canvas_root, Path::new("/h/.openclaw/workspace-dev/canvas"));
}

#[test]
fn with_no_auth_on_loopback_a_token_will_be_made() {
    let plan = case(LOCAL).plan();
    assert_eq!((plan.auth.mode, plan.auth.generated, plan.auth.source), (AuthMode::Token, true, Source::File));
    assert!(plan.auth.needs_token());
    assert_eq!(plan.hosts, [LOOPBACK]);
    assert_eq!(plan.optional_hosts, [IpAddr::V6(Ipv6Addr::LOCALHOST)]);
}

#[test]
fn a_made_token_settles_the_plan_and_is_kept() {
    let dir = crate::config::load::testing::TempDir::new("settle");
    let home = dir.path().to_string_lossy().into_owned();
    let paths = Paths::resolve(&Env::of([("HOME", home.as_str())]), &Profile::none());
    let mut first = case(LOCAL).plan();
    assert!(first.settle_token(&paths, &[3; token::TOKEN_BYTES]).unwrap());
    let mut second = case(LOCAL).plan();
    assert!(!second.settle_token(&paths, &[4; token::TOKEN_BYTES]).unwrap());
    assert_eq!(first.auth.token, second.auth.token);
    let mut configured = case(TOKEN).plan();
    assert!(!configured.settle_token(&paths, &[5; token::TOKEN_BYTES]).unwrap());
    assert_eq!(configured.auth.token.as_ref().map(Secret::expose), Some("t"));
}

#[test]
fn the_token_is_flag_then_config_then_env() {
    let env = |config| case(config).env("OPENCLAW_GATEWAY_TOKEN", "e");
    let token = |case: Case| case.plan().auth.token.map(|t| t.expose().to_string()).unwrap_or_default();
    assert_eq!(token(env(TOKEN)), "t");
    assert_eq!(token(env(LOCAL)), "e");
    assert_eq!(token(env(TOKEN).flags(|f| f.token = Some(Secret::new("f")))), "f");
    assert_eq!(env(LOCAL).plan().auth.source, Source::Env);
}

#[test]
fn the_mode_is_flag_then_config_then_what_exists() {
    let mode = |case: Case| case.plan().auth.mode;
    let both = "{gateway: {mode: 'local', auth: {token: 't', password: 'p'}}}";
    assert_eq!(mode(case(both)), AuthMode::Password);
    assert_eq!(mode(case(both).flags(|f| f.auth = Some("token".into()))), AuthMode::Token);
    assert_eq!(mode(case(both).flags(|f| f.token = Some(Secret::new("x")))), AuthMode::Token);
    assert_eq!(mode(case(TOKEN).flags(|f| f.password = Some(Secret::new("x")))), AuthMode::Password);
    assert_eq!(mode(case(LOCAL).env("OPENCLAW_GATEWAY_PASSWORD", "p")), AuthMode::Password);
    let open = "{gateway: {mode: 'local', auth: {mode: 'none'}}}";
    assert_eq!(mode(case(open)), AuthMode::None);
    assert_eq!(mode(case(open).flags(|f| f.token = Some(Secret::new("x")))), AuthMode::Token);
    assert!(case(open).plan().auth.token.is_none());
}

#[test]
fn a_mode_without_its_secret_is_refused() {
    case("{gateway: {mode: 'local', auth: {mode: 'token'}, token: 'x', remote: {token: 'y'}}}").refuses(
        78,
        &[
            "Gateway auth is set to token, but no token is configured.",
            "Set gateway.auth.token (or OPENCLAW_GATEWAY_TOKEN), or pass --token.",
            "Found \"gateway.token\" in config. Use \"gateway.auth.token\" instead.",
            "\"gateway.remote.token\" is for remote CLI calls; it does not enable local gateway auth.",
        ],
    );
    case(LOCAL).flags(|f| f.auth = Some("password".into())).refuses(
        78,
        &[
            "Gateway auth is set to password, but no password is configured.",
            "Set gateway.auth.password (or OPENCLAW_GATEWAY_PASSWORD), or pass --password.",
        ],
    );
}

#[test]
fn beyond_loopback_a_secret_is_needed_and_none_is_made() {
    let second = "Set gateway.auth.token/password (or OPENCLAW_GATEWAY_TOKEN/OPENCLAW_GATEWAY_PASSWORD) \
        or pass --token/--password.";
    for bind in ["lan", "tailnet"] {
        let first = format!("Refusing to bind gateway to {bind} without auth.");
        case(LOCAL).flags(|f| f.bind = Some(bind.into())).refuses(78, &[&first, second]);
    }
    let open = "{gateway: {mode: 'local', bind: 'lan', auth: {mode: 'none'}}}";
    case(open).refuses(78, &["Refusing to bind gateway to lan without auth.", second]);
}

#[test]
fn no_auth_is_allowed_on_private_addresses() {
    let open = case("{gateway: {mode: 'local', bind: 'tailnet', auth: {mode: 'none'}}}");
    assert_eq!(open.run_on(&[TAILNET]).unwrap().hosts, [TAILNET, LOOPBACK]);
    let custom = |host: &'static str| match host {
        "private" => {
            case("{gateway: {mode: 'local', bind: 'custom', customBindHost: '192.168.1.9', auth: {mode: 'none'}}}")
        }
        _ => case("{gateway: {mode: 'local', bind: 'custom', customBindHost: '8.8.4.4', auth: {mode: 'none'}}}"),
    };
    assert_eq!(custom("private").plan().hosts.len(), 2);
    assert_eq!(custom("public").refusal().0[0], "Refusing to bind gateway to custom without auth.");
}

#[test]
fn trusted_proxy_needs_proxies_that_can_reach_it() {
    let start = "{gateway: {mode: 'local', auth: {mode: 'trusted-proxy'}}}";
    assert_eq!(case(start).refusal().1, 78);
    assert!(case(start).refusal().0[0].contains("gateway.trustedProxies"));
    let far = "{gateway: {mode: 'local', trustedProxies: ['10.0.0.1'], auth: {mode: 'trusted-proxy'}}}";
    assert!(case(far).refusal().0[0].contains("bind=loopback"));
    let near = "{gateway: {mode: 'local', trustedProxies: ['127.0.0.1'], auth: {mode: 'trusted-proxy'}}}";
    assert_eq!(case(near).plan().auth.mode, AuthMode::TrustedProxy);
    let lan = "{gateway: {mode: 'local', bind: 'lan', trustedProxies: ['10.0.0.0/8'], auth: {mode: 'trusted-proxy'}}}";
    assert!(case(lan).plan().exposed);
}

#[test]
fn hosts_follow_the_bind_mode_and_never_widen() {
    let with = |bind: &str, extra: &str| {
        let text = format!("{{gateway: {{mode: 'local', bind: '{bind}', {extra} auth: {{token: 't'}}}}}}");
        Box::leak(text.into_boxed_str())
    };
    let hosts = |text, list: &[IpAddr]| case(text).run_on(list).unwrap().hosts;
    assert_eq!(hosts(with("auto", ""), &[TAILNET]), [LOOPBACK]);
    assert_eq!(hosts(with("lan", ""), &[]), [ANY]);
    assert_eq!(hosts(with("tailnet", ""), &[]), [LOOPBACK]);
    assert_eq!(case(with("tailnet", "")).plan().notes.len(), 1);
    assert_eq!(hosts(with("tailnet", ""), &["10.0.0.1".parse().unwrap(), TAILNET]), [TAILNET, LOOPBACK]);
    assert_eq!(hosts(with("custom", "customBindHost: '0.0.0.0',"), &[]), [ANY]);
    assert_eq!(hosts(with("custom", "customBindHost: '127.0.0.1',"), &[]), [LOOPBACK]);
    let refusal = case(with("custom", "")).refusal();
    assert_eq!(refusal, (vec!["gateway.bind=custom requires gateway.customBindHost".to_string()], 78));
    let refusal = case(with("custom", "customBindHost: 'localhost',")).refusal();
    assert_eq!(refusal.0, ["gateway.customBindHost is not an IPv4 address: localhost"]);
}

#[test]
fn tailscale_has_its_own_conditions() {
    let serve = |bind: &str| {
        let bind = bind.to_string();
        case(TOKEN).flags(move |f| {
            f.tailscale = Some("serve".into());
            f.bind = Some(bind);
        })
    };
    assert!(serve("loopback").plan().allow_tailscale);
    let text = "Gateway failed to start: Error: tailscale serve/funnel requires gateway bind=loopback (127.0.0.1)";
    serve("lan").refuses(1, &[text]);
    let funnel = case(TOKEN).flags(|f| f.tailscale = Some("funnel".into()));
    assert!(funnel.refusal().0[0].contains("tailscale funnel requires gateway auth mode=password"));
}

#[test]
fn local_origins_are_seeded_only_beyond_loopback() {
    assert_eq!(case(TOKEN).plan().allowed_origins, [""; 0]);
    let lan = case(TOKEN).flags(|f| {
        f.bind = Some("lan".into());
        f.port = Some("7".into());
    });
    assert_eq!(lan.plan().allowed_origins, ["http://localhost:7", "http://127.0.0.1:7"]);
    let own = "{gateway: {mode: 'local', bind: 'lan', auth: {token: 't'}, controlUi: {allowedOrigins: ['https://x']}}}";
    assert_eq!(case(own).plan().allowed_origins, ["https://x"]);
}

#[test]
fn connections_and_handshake_have_caps() {
    let count = |value| case(LOCAL).env("OPENCLAW_GATEWAY_MAX_CONNECTIONS", value).plan().max_connections;
    assert_eq!([count("2000"), count("0"), count("999999")], [2000, limits::CONNECTIONS, limits::CONNECTIONS_MAX]);
    let time = |value| case(LOCAL).env("OPENCLAW_HANDSHAKE_TIMEOUT_MS", value).plan().handshake;
    assert_eq!(time("250"), Duration::from_millis(250));
    assert_eq!(time("99999999"), limits::HANDSHAKE_MAX);
}

#[test]
fn the_canvas_can_be_moved_and_switched_off() {
    let port = |text| case(text).plan().canvas_port;
    assert_eq!(port(LOCAL), Some(18793));
    assert_eq!(port("{gateway: {mode: 'local'}, canvasHost: {port: 5}}"), Some(5));
    assert_eq!(port("{gateway: {mode: 'local'}, canvasHost: {enabled: false}}"), None);
    assert_eq!(case(LOCAL).env("OPENCLAW_SKIP_CANVAS_HOST", "1").plan().canvas_port, None);
    assert_eq!(case(LOCAL).flags(|f| f.port = Some("65535".into())).plan().canvas_port, None);
}

#[test]
fn a_missing_variable_never_becomes_a_token() {
    let text = "{gateway: {mode: 'local', auth: {token: '${NOPE}'}}}";
    assert_eq!(
        case(text).refusal().0[3],
        "  - gateway.auth.token: Missing env var \"NOPE\" referenced at config path: gateway.auth.token \
         (line 1, column 34)"
    );
    assert_eq!(case(text).env("NOPE", "real").plan().auth.token.as_ref().map(Secret::expose), Some("real"));
}

#[test]
fn what_lacks_because_of_a_missing_variable_says_so() {
    let refusal = case("{gateway: {mode: 'local'}, hooks: {enabled: true, token: '${NOPE}'}}").refusal();
    let told = refusal.0.join("\n");
    assert!(told.contains("hooks.token: Missing env var \"NOPE\""), "{told}");
    assert!(told.contains("hooks.enabled requires hooks.token"), "{told}");
}

#[test]
fn two_ways_to_give_a_password_contradict() {
    let mut both = flags(|f| {
        f.password = Some(Secret::new("x"));
        f.password_file = Some("/nowhere".into());
    });
    assert_eq!(both.read_password_file().unwrap_err().exit_code, 1);
    let mut gone = flags(|f| f.password_file = Some("/nowhere/at/all".into()));
    assert!(
        gone.read_password_file().unwrap_err().lines[0].starts_with("Cannot read --password-file /nowhere/at/all: ")
    );
}

#[test]
fn secrets_do_not_show_in_a_printed_plan() {
    let plan = case("{gateway: {mode: 'local', auth: {token: 'canary-9'}}}").plan();
    assert!(!format!("{plan:?}").contains("canary"));
}
