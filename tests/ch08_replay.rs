//! Chapter 8: the recorded exchanges of `/v1/chat/completions`, `/v1/models`, `/v1/embeddings`, the probes, unknown
//! paths and the ways to log in, as the newer original answers them. Other groups stand with their interfaces.

use serde_json::json;

use crate::harness::gateway::{Gateway, Setup};
use crate::harness::replay::{Exchange, Replay};
use crate::harness::upstream::{Act, Upstream};

const PROGRAMS: &str = "http: {endpoints: {chatCompletions: {enabled: true}, responses: {enabled: true}}}";

/// As in the second set-up of the recordings.
fn with_hsts() -> String {
    PROGRAMS.replacen('{', "{securityHeaders: {strictTransportSecurity: \"max-age=31536000\"}, ", 1)
}

fn start(upstream: &Upstream, gateway: &str) -> Gateway {
    let more = format!(", gateway: {{mode: \"local\", {PROGRAMS}{gateway}}}");
    // The recorded provider's name.
    let config = upstream.config(&more).replace("{up:", "{fake:").replace("up/m", "fake/m");
    Setup::new().config(&config).start()
}

#[test]
fn chat_completions_answer_as_recorded() {
    let hello = &["Hello", " from the", " fake model."];
    let refusal = r#"{"error":{"message":"fake upstream refused"}}"#;
    let call = || Act::Call("get_weather", json!({"city": "Oslo"}));
    // In the order of the names of those that reach the model, the first ten with a text.
    let mut script: Vec<Act> = (0..10).map(|_| Act::Say(hello)).collect();
    script.extend([call(), Act::Say(hello), call()]);
    script.extend([Act::Refuse(400, "", refusal), Act::Refuse(400, "", refusal), Act::Say(hello), Act::Say(hello)]);
    let upstream = Upstream::play(script);
    let gateway = start(&upstream, "");
    // Our model server counts otherwise; call ids stay the provider's.
    let mut replay = Replay::of(&gateway)
        .ignore("chat-badjson", &["/error/message"])
        .ignore("chat-stream-usage", &["#5/usage"])
        .ignore("chat-upstream-error", &["/error/message"])
        .ignore("chat-upstream-error-stream", &["#1/error/message"])
        .ignore("chat-tools", &["/usage", "/choices/0/message/tool_calls/0/id"])
        .ignore("chat-tools-stream", &["#4/usage", "#1/choices/0/delta/tool_calls/0/id"])
        .leave_out("chat-tool-name-conflict", "a program's own tool wins (decisions 19)");
    let whole = ["history", "image-data", "model-agentprefix", "model-default", "nostream", "sessionkey"];
    for name in whole.into_iter().chain(["tools-followup", "user", "xmodel-bad"]) {
        replay = replay.ignore(&format!("chat-{name}"), &["/usage"]);
    }
    replay.play("chat");
}

#[test]
fn models_answer_as_recorded() {
    let upstream = Upstream::play(Vec::new());
    let gateway = start(&upstream, "");
    Replay::of(&gateway).play("models");
}

#[test]
fn embeddings_without_a_provider_answer_as_recorded() {
    let upstream = Upstream::play(Vec::new());
    let gateway = start(&upstream, "");
    Replay::of(&gateway).ignore("embeddings", &["/error/message"]).play("embeddings");
}

#[test]
fn probes_and_unknown_paths_answer_as_recorded() {
    let upstream = Upstream::play(Vec::new());
    let gateway = start(&upstream, "");
    // The readings of Node's event loop have no counterpart here.
    let mut probes = Replay::of(&gateway);
    for name in ["probe-ready", "probe-ready-remotehost", "probe-readyz"] {
        probes = probes.ignore(name, &["/eventLoop"]);
    }
    probes.ignore("probe-startup", &["/version"]).ignore("probe-startupz", &["/version"]).play("probe");
    // There a page was in charge.
    Replay::of(&gateway).ignore("unknown-get-json", &["permissions-policy"]).play("unknown");
    Replay::of(&gateway).play("options");
}

#[test]
fn ways_to_log_in_answer_as_recorded() {
    let upstream = Upstream::play(Vec::new());
    let gateway = start(&upstream, "");
    Replay::of(&gateway)
        .leave_out("auth-429", "see the next test")
        .leave_out("auth-429-goodtoken", "see the next test")
        .play("auth");
}

#[test]
fn too_many_wrong_tokens_answer_as_recorded() {
    let upstream = Upstream::play(Vec::new());
    let limit = "auth: {rateLimit: {maxAttempts: 3, lockoutMs: 60000, exemptLoopback: false}}";
    let more = format!(", gateway: {{mode: \"local\", {}, {limit}}}", with_hsts());
    let gateway = Setup::new().config(&upstream.config(&more)).start();
    let replay = Replay::of(&gateway);
    let (wrong, right) = (Exchange::read("auth-429"), Exchange::read("auth-429-goodtoken"));
    let before: Vec<u16> = (0..3).map(|_| replay.ask(&wrong).status).collect();
    assert_eq!(before, [401, 401, 401]);
    assert_eq!([replay.check(&wrong), replay.check(&right)].concat(), [""; 0]);
}

#[test]
fn a_trusted_proxy_logs_in_as_recorded() {
    let hello = &["Hello", " from the", " fake model."];
    let upstream = Upstream::play((0..2).map(|_| Act::Say(hello)).collect());
    let proxy = r#", auth: {mode: "trusted-proxy", password: "pw1", trustedProxy: {userHeader: "x-forwarded-user",
        requiredHeaders: ["x-forwarded-proto"], allowLoopback: true}}, trustedProxies: ["127.0.0.1"]"#;
    let more = format!(", gateway: {{mode: \"local\", {}{proxy}}}", with_hsts());
    let gateway = Setup::new().config(&upstream.config(&more)).start();
    Replay::of(&gateway).play("tp");
}
