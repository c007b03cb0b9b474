//! Chapter 9: hooks (`spec/http.md` 10): other programs wake an agent or give it work.

use serde_json::{Value, json};

use crate::harness::gateway::{Gateway, Setup};
use crate::harness::http::{Answer, Wire, fetch};
use crate::harness::peer::{Hello, Peer};
use crate::harness::replay::{Exchange, Replay};
use crate::harness::upstream::{Act, Upstream};
use crate::harness::{PATIENCE, TOKEN};

const HOOK: &str = "hook-token-5b21";

/// The recorded exchanges' set-up: three mappings.
const HOOKS: &str = r#", hooks: {enabled: true, token: "hook-token-5b21", mappings: [
    {match: {path: "deploy"}, action: "wake", wakeMode: "next-heartbeat", textTemplate: "Deploy {{name}}: {{status}}"},
    {match: {path: "ci"}, action: "agent", wakeMode: "next-heartbeat", name: "CI",
        messageTemplate: "Build {{build.id}} by {{headers.x-ci}}", deliver: false},
    {match: {source: "gh"}, action: "wake", wakeMode: "next-heartbeat", textTemplate: "from gh"}]}"#;

fn gateway(script: Vec<Act>) -> (Gateway, Upstream) {
    let upstream = Upstream::play(script);
    let gateway = Setup::new().config(&upstream.config(HOOKS)).start();
    (gateway, upstream)
}

fn request(path: &str, headers: &str, body: &str) -> String {
    format!("POST /hooks{path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn post(gateway: &Gateway, path: &str, body: Value) -> Answer {
    let headers = format!("Authorization: Bearer {HOOK}\r\n");
    Wire::open(gateway.port).ask(request(path, &headers, &body.to_string()))
}

#[test]
fn it_answers_as_the_newer_original_does() {
    let (gateway, _upstream) = gateway(Vec::new());
    Replay::of(&gateway)
        .value("<HOOK_TOKEN>", HOOK)
        .ignore("hooks-badjson", &["/error"])
        .ignore("hooks-good-during-lockout", &["/eventOutcome"])
        .ignore("hooks-wake-now", &["/eventOutcome"])
        .ignore("hooks-wake", &["/eventOutcome"])
        .ignore("hooks-wake-xheader", &["/eventOutcome"])
        .leave_out("hooks-429", "needs twenty wrong tokens first; see below")
        .play("hooks");
    Replay::of(&gateway).value("<HOOK_TOKEN>", HOOK).ignore("expect-100", &["/eventOutcome"]).play("expect");
}

#[test]
fn a_guesser_is_told_to_wait_and_the_right_token_still_works() {
    let (gateway, _upstream) = gateway(Vec::new());
    let replay = Replay::of(&gateway).value("<HOOK_TOKEN>", HOOK);
    let wrong = request("/wake", "X-OpenClaw-Token: bad\r\n", "{}");
    for _ in 0..openclaw::limits::HOOK_FAILURES {
        assert_eq!(Wire::open(gateway.port).ask(&wrong).status, 401);
    }
    assert_eq!(replay.check(&Exchange::read("hooks-429")), [""; 0]);
    assert_eq!(post(&gateway, "/wake", json!({"text": "x"})).status, 200);
    assert_eq!(Wire::open(gateway.port).ask(&wrong).status, 401, "the count begins anew");
    assert_eq!(fetch(gateway.port, "/health").status, 200);
}

#[test]
fn a_turn_hears_the_message_as_material_from_outside() {
    let (gateway, upstream) = gateway(vec![Act::Say(&["Two new mails."])]);
    let body = json!({"message": "Summarise inbox", "name": "Email", "waitForCompletion": true, "thinking": "low"});
    let answer = post(&gateway, "/agent", body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let completion = answer.json()["completion"].clone();
    let expected =
        json!({"status": "ok", "replyDisposition": "visible", "delivered": false, "deliveryAttempted": false});
    assert_eq!(completion, expected);
    let asked = upstream.asked().to_string();
    assert!(asked.contains("EXTERNAL_UNTRUSTED_CONTENT") && asked.contains("Summarise inbox"), "{asked}");
    assert!(!asked.contains(HOOK) && !asked.contains(TOKEN));
    assert!(asked.contains("sessions_list") && !asked.contains("- cron:"), "no stranger plans work: {asked}");
    // The main session hears of it with its next turn.
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    peer.get("chat.send", json!({"sessionKey": "main", "message": "hi", "idempotencyKey": "k"}));
    let heard = upstream.asked().to_string();
    assert!(heard.contains("Hook Email: Two new mails."), "{heard}");
    let sessions = peer.get("sessions.list", json!({})).to_string();
    assert!(sessions.contains("agent:main:hook:"), "{sessions}");
}

#[test]
fn a_thinking_level_nobody_knows_is_left_out_and_the_log_says_so() {
    let (mut gateway, upstream) = gateway(vec![]);
    for word in ["ultrathink", "enormous"] {
        let answer = post(&gateway, "/agent", json!({"message": "go", "thinking": word, "deliver": false}));
        assert_eq!(answer.status, 200, "{}", answer.body);
        upstream.asked();
    }
    // The log comes by a thread of its own; what the first word had to say would stand before this.
    let line = gateway.line("a hook's thinking level is not known");
    assert!(line.contains("off|minimal|low|medium|high") && !line.contains("enormous"), "{line}");
    assert_eq!(gateway.console().matches("thinking level").count(), 1);
}

#[test]
fn a_model_of_nobody_is_refused_with_what_to_set() {
    let (gateway, upstream) = gateway(vec![]);
    let answer = post(&gateway, "/agent", json!({"message": "go", "model": "nope/m"}));
    assert!(answer.status == 400 && answer.body.contains("models.providers.nope.baseUrl"), "{}", answer.body);
    assert!(!upstream.asked_more());
}

#[test]
fn a_mapping_reads_the_request_and_never_the_secret() {
    let upstream = Upstream::play(Vec::new());
    let hooks = r#", hooks: {enabled: true, token: "hook-token-5b21", path: "/in", mappings: [{
        match: {path: "ci"}, deliver: false, allowUnsafeExternalContent: true, sessionKey: "hook:ci",
        messageTemplate: "Build {{build.id}} of {{query.who}} [{{headers.authorization}}{{__proto__}}]"}]}"#;
    let gateway = Setup::new().config(&upstream.config(hooks)).start();
    let body = r#"{"build": {"id": 7}}"#;
    let text = format!(
        "POST /in/ci?who=a%20b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {HOOK}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(Wire::open(gateway.port).ask(&text).status, 200);
    let asked = upstream.asked().to_string();
    assert!(asked.contains("Build 7 of a b []") && !asked.contains("UNTRUSTED"), "{asked}");
    assert_eq!(Wire::open(gateway.port).ask(text.replace("/in/ci", "/hooks/ci")).status, 404);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    assert!(peer.get("sessions.list", json!({})).to_string().contains("agent:main:hook:ci"));
}

#[test]
fn what_was_accepted_is_there_after_a_kill() {
    let (mut gateway, upstream) = gateway(vec![Act::Hang]);
    let answer = post(&gateway, "/agent", json!({"message": "long work", "deliver": false}));
    assert_eq!(answer.status, 200);
    upstream.asked();
    gateway.signal("KILL");
    let _ = gateway.wait();
    let home = gateway.into_home();
    let gateway = Setup::new().home(home).start();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    let list = peer.get("sessions.list", json!({}));
    assert_eq!(list["sessions"][0]["abortedLastRun"], true, "{list}");
}

#[test]
fn a_caller_who_waits_and_leaves_does_not_stop_the_turn() {
    let (gateway, upstream) = gateway(vec![Act::SayWhenTold("done")]);
    let body = json!({"message": "m", "name": "Slow", "waitForCompletion": true}).to_string();
    let mut wire = Wire::open(gateway.port);
    wire.send(request("/agent", &format!("X-OpenClaw-Token: {HOOK}\r\n"), &body));
    upstream.asked();
    drop(wire);
    upstream.go();
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    // The line is there once the turn is over; until then the main session's turns do not have it.
    let heard = (0..200).any(|n| {
        let key = format!("k{n}");
        peer.get("chat.send", json!({"sessionKey": "main", "message": "hi", "idempotencyKey": key}));
        let asked = upstream.asked().to_string();
        peer.get("agent.wait", json!({"runId": key}));
        asked.contains("Hook Slow: done")
    });
    assert!(heard);
}

#[test]
fn bad_bodies_and_paths_are_refused() {
    let (gateway, _upstream) = gateway(Vec::new());
    let token = format!("X-OpenClaw-Token: {HOOK}\r\n");
    let said = |path: &str, headers: &str, body: &str| {
        let answer = Wire::open(gateway.port).ask(request(path, &format!("{token}{headers}"), body));
        (answer.status, answer.body)
    };
    assert_eq!(said("/wake", "", &"[".repeat(100_000)).0, 400);
    assert_eq!(
        said("/wake", "", "[1]"),
        (400, r#"{"error":"text required","ok":false}"#.into()),
        "no object counts as an empty one"
    );
    let many = format!("{{\"text\":[{}0]}}", "0,".repeat(100_000));
    assert_eq!(said("/wake", "", &many).0, 400);
    let key = format!("Idempotency-Key: {}\r\n", "k".repeat(openclaw::limits::HOOK_KEY_CHARS + 1));
    let (status, text) = said("/agent", &key, r#"{"message": "m"}"#);
    assert!(status == 400 && text.contains("idempotency key"), "{text}");
    let large = format!("{{\"text\":\"{}\"}}", "x".repeat(300_000));
    assert_eq!(said("/wake", "", &large), (413, r#"{"error":"payload too large","ok":false}"#.into()));
    let mut chunked = Wire::open(gateway.port);
    chunked.send(format!("POST /hooks/wake HTTP/1.1\r\nHost: x\r\n{token}Transfer-Encoding: chunked\r\n\r\n"));
    (0..20).for_each(|_| chunked.send(format!("4000\r\n{}\r\n", "x".repeat(0x4000))));
    assert_eq!(chunked.answer().unwrap().status, 413);
    for path in ["/", "/wake/x", "/%77ake", "/../tools/invoke", "//"] {
        assert_eq!(said(path, "", "{}").0, 404, "{path}");
    }
    assert_eq!(said("/wake/", "", r#"{"text": "x"}"#).0, 200, "slashes around do not count");
}

#[test]
fn hooks_are_off_until_they_are_switched_on_and_follow_the_file() {
    let gateway = Gateway::start();
    assert_eq!(post(&gateway, "/wake", json!({"text": "x"})).status, 404);
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    gateway.home().configure(&format!("{{hooks: {{enabled: true, token: {HOOK:?}}}}}"));
    peer.get("secrets.reload", json!({}));
    assert_eq!(post(&gateway, "/wake", json!({"text": "x"})).status, 200);
    gateway.home().configure("{hooks: {enabled: true, token: \"another\"}}");
    peer.get("secrets.reload", json!({}));
    assert_eq!(post(&gateway, "/wake", json!({"text": "x"})).status, 401);
    gateway.home().configure("{}");
    peer.get("secrets.reload", json!({}));
    assert_eq!(post(&gateway, "/wake", json!({"text": "x"})).status, 404);
}

#[test]
fn a_section_that_cannot_work_stops_the_start_with_its_reason() {
    for (hooks, reason) in [
        ("{enabled: true}", "hooks.enabled requires hooks.token"),
        ("{enabled: true, token: \"t\", path: \"/\"}", "hooks.path may not be '/'"),
        ("{mappings: [{transform: {module: \"x.js\"}}]}", "transforms are JavaScript modules"),
    ] {
        let setup = crate::harness::gateway::Home::new();
        setup.configure(&format!("{{gateway: {{mode: \"local\"}}, hooks: {hooks}}}"));
        let output = setup.run(&["gateway", "--port", "0"], &[("OPENCLAW_GATEWAY_TOKEN", TOKEN)]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn a_token_that_opens_the_gateway_too_is_warned_of() {
    let mut gateway = Setup::new().config(&format!("{{hooks: {{enabled: true, token: {TOKEN:?}}}}}")).start();
    assert!(!gateway.line("give hooks a token of their own").contains(TOKEN));
}

#[test]
fn a_flood_of_hooks_leaves_the_gateway_answering() {
    let (gateway, _upstream) = gateway((0..200).map(|_| Act::Hang).collect());
    let mut wire = Wire::open(gateway.port);
    let one = request("/agent", &format!("X-OpenClaw-Token: {HOOK}\r\n"), r#"{"message": "m"}"#);
    wire.send(one.repeat(200));
    let answers: Vec<u16> = (0..200).map(|_| wire.answer().unwrap().status).collect();
    let taken = answers.iter().filter(|status| **status == 200).count();
    assert_eq!(taken, openclaw::limits::HOOK_RUNS, "{answers:?}");
    assert!(answers.iter().all(|status| [200, 503].contains(status)));
    let mut peer = Peer::connect(&gateway, &Hello::v4());
    peer.alive();
    let began = std::time::Instant::now();
    let (status, _home) = gateway.stop();
    assert!(status.success() && began.elapsed() < PATIENCE / 2);
}
