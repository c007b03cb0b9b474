//! Tests of what hooks ask for: every refusal, and what mappings make of requests.

use super::*;

fn config(more: Value) -> Config {
    let mut hooks = json!({"enabled": true, "token": "t"});
    hooks.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Config::from_value(json!({"hooks": hooks, "agents": {"list": [{"id": "main"}, {"id": "ops"}]}}))
}

fn ask(config: &Config, path: &str, payload: Value) -> Result<Wishes, (u16, String)> {
    let headers = [("x-ci".to_string(), "jenkins".to_string())];
    let source = Source { path, headers: &headers, query: &[], payload: &payload, now_ms: 0 };
    read(config, &source).map_err(|reply| {
        let text = String::from_utf8(reply.body_bytes().to_vec()).unwrap();
        let error = serde_json::from_str::<Value>(&text).ok().and_then(|body| body["error"].as_str().map(String::from));
        (reply.status(), error.unwrap_or(text))
    })
}

fn text_of(config: &Config, path: &str, payload: Value) -> String {
    let (status, text) = ask(config, path, payload).unwrap_err();
    assert_eq!(status, 400, "{text}");
    text
}

fn turn_of(config: &Config, path: &str, payload: Value) -> TurnWish {
    match ask(config, path, payload).unwrap().all.remove(0) {
        Wish::Turn(turn) => *turn,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wake_needs_a_text_and_an_agent_that_exists() {
    let plain = config(json!({}));
    for payload in [json!({}), json!({"text": " "}), json!({"text": 5})] {
        assert_eq!(text_of(&plain, "wake", payload), "text required");
    }
    let with = |more: Value| {
        let mut payload = json!({"text": " hi "});
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        payload
    };
    assert_eq!(text_of(&plain, "wake", with(json!({"agentId": ""}))), "agentId must be a non-empty string");
    assert_eq!(text_of(&plain, "wake", with(json!({"agentId": "x"}))), "unknown agentId \"x\"");
    assert_eq!(text_of(&plain, "wake", with(json!({"sessionKey": 1}))), "sessionKey must be a non-empty string");
    let late = with(json!({"sessionKey": "a", "mode": "next-heartbeat"}));
    assert_eq!(text_of(&plain, "wake", late), "sessionKey requires mode=now");
    assert!(text_of(&plain, "wake", with(json!({"sessionKey": "a"}))).starts_with("sessionKey is disabled"));
    let wish = ask(&plain, "wake", with(json!({"mode": "whenever", "agentId": "Ops"}))).unwrap();
    let wake = WakeWish { text: "hi".into(), waits: false, agent: "ops".into(), session_key: None };
    assert_eq!(wish, Wishes { all: vec![Wish::Wake(wake)], fans_out: false, waits: false });
}

#[test]
fn a_turn_is_checked_member_by_member() {
    let plain = config(json!({}));
    let text = |more: Value| {
        let mut payload = json!({"message": "m"});
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        text_of(&plain, "agent", payload)
    };
    assert_eq!(text_of(&plain, "agent", json!({})), "message required");
    for (more, refusal) in [
        (json!({"channel": "pigeon"}), "channel must be last"),
        (json!({"channel": ""}), "channel must be last"),
        (json!({"channel": "last"}), "channel and to must be set together for hook delivery"),
        (json!({"to": "x"}), "channel and to must be set together for hook delivery"),
        (json!({"to": " "}), "to must be a non-empty string for hook delivery"),
        (json!({"channel": "last", "to": "x"}), "channel must name a concrete channel for hook delivery"),
        (json!({"accountId": "x"}), "accountId requires channel and to for hook delivery"),
        (json!({"accountId": 5}), "accountId must be a non-empty string for hook delivery"),
        (json!({"model": ""}), "model required"),
        (json!({"sessionMode": "both"}), "sessionMode must be isolated or persistent"),
        (json!({"sessionMode": "persistent"}), "sessionKey is required when sessionMode is persistent"),
        (json!({"waitForCompletion": "yes"}), "waitForCompletion must be boolean"),
        (json!({"agentId": 5}), "agentId must be a non-empty string"),
    ] {
        assert_eq!(text(more.clone()), refusal, "{more}");
    }
    let wish = turn_of(
        &plain,
        "agent",
        json!({"message": " m ", "name": "a\n b", "deliver": false, "timeoutSeconds": 1.9,
        "wakeMode": "next-heartbeat", "thinking": "low", "channel": "last"}),
    );
    let expected = TurnWish {
        message: "m".into(),
        name: "a b".into(),
        agent: "main".into(),
        waits: true,
        thinking: Some("low".into()),
        seconds: Some(1),
        ..TurnWish::default()
    };
    assert_eq!(wish, expected);
    for timeout in [json!(0), json!(-1), json!("5"), json!(null)] {
        assert_eq!(turn_of(&plain, "agent", json!({"message": "m", "timeoutSeconds": timeout})).seconds, None);
    }
    let long = turn_of(&plain, "agent", json!({"message": "m", "name": "x".repeat(5000)}));
    assert_eq!(long.name.len(), limits::HOOK_NAME_CHARS);
}

#[test]
fn callers_choose_sessions_and_agents_only_where_they_may() {
    let open = config(json!({"allowRequestSessionKey": true, "allowedSessionKeyPrefixes": ["hook:", "x:"],
        "defaultSessionKey": "hook:all", "allowedAgentIds": ["OPS"]}));
    let ask = |more: Value| {
        let mut payload = json!({"message": "m", "agentId": "ops"});
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        payload
    };
    assert_eq!(turn_of(&open, "agent", ask(json!({}))).session_key.as_deref(), Some("hook:all"));
    assert_eq!(turn_of(&open, "agent", ask(json!({"sessionKey": "X:1"}))).session_key.as_deref(), Some("X:1"));
    assert!(turn_of(&open, "agent", ask(json!({"sessionKey": "x:1", "sessionMode": "persistent"}))).persistent);
    let refusal = text_of(&open, "agent", ask(json!({"sessionKey": "main"})));
    assert_eq!(refusal, "sessionKey must start with one of: hook:, x:");
    let refusal = text_of(&open, "agent", json!({"message": "m"}));
    assert_eq!(refusal, "agentId is not allowed by hooks.allowedAgentIds", "the default agent is not on the list");
    let long = ask(json!({"sessionKey": format!("x:{}", "y".repeat(limits::SESSION_KEY_CHARS))}));
    assert!(text_of(&open, "agent", long).contains("characters"));
    let free = config(json!({"allowRequestSessionKey": true}));
    for reserved in ["cron:x", "agent:ops:Subagent:x", "ACP:x"] {
        let refusal = text_of(&free, "agent", json!({"message": "m", "sessionKey": reserved}));
        assert_eq!(refusal, "sessionKey cannot use reserved internal session namespaces", "{reserved}");
    }
    let refusal = text_of(&free, "wake", json!({"text": "t", "sessionKey": "a\nb"}));
    assert_eq!(refusal, "sessionKey must not have control characters");
    let lasting = json!({"message": "m", "sessionKey": "a", "sessionMode": "persistent"});
    assert!(text_of(&free, "agent", lasting).starts_with("hooks.allowedSessionKeyPrefixes is required"));
}

#[test]
fn the_first_mapping_that_fits_decides() {
    let mapped = config(json!({"mappings": [
        {"match": {"path": "deploy"}, "action": "wake", "wakeMode": "next-heartbeat", "textTemplate": "{{name}}: {{status}}"},
        {"match": {"path": "ci", "source": "gh"}, "messageTemplate": "both"},
        {"match": {"path": "ci"}, "messageTemplate": "build {{build.id}} by {{headers.x-ci}}", "name": "CI {{build.id}}",
            "agentId": "ops", "sessionKey": "hook:ci", "allowUnsafeExternalContent": true, "timeoutSeconds": 5},
        {"match": {"path": "empty"}, "messageTemplate": "{{nothing}}"},
        {"match": {"path": "quiet"}, "action": "wake"},
        {"match": {"source": "gh"}, "action": "wake", "textTemplate": "gh"},
    ]}));
    let wake = |path: &str, payload: Value| match ask(&mapped, path, payload).unwrap().all.remove(0) {
        Wish::Wake(wake) => (wake.text, wake.waits),
        other => panic!("{other:?}"),
    };
    assert_eq!(wake("deploy", json!({"name": "web", "status": "ok"})), ("web: ok".to_string(), true));
    assert_eq!(wake("whatever", json!({"source": "gh"})), ("gh".to_string(), false));
    assert_eq!(turn_of(&mapped, "ci", json!({"source": "gh"})).message, "both");
    let ci = turn_of(&mapped, "ci", json!({"build": {"id": 7}}));
    assert_eq!((ci.message.as_str(), ci.name.as_str(), ci.agent.as_str()), ("build 7 by jenkins", "CI 7", "ops"));
    assert_eq!((ci.session_key.as_deref(), ci.trusted, ci.seconds), (Some("hook:ci"), true, Some(5)));
    assert_eq!(text_of(&mapped, "empty", json!({})), "hook mapping requires message");
    assert_eq!(text_of(&mapped, "quiet", json!({})), "hook mapping requires text");
    assert_eq!(ask(&mapped, "zzz", json!({})).unwrap_err(), (404, "Not Found".to_string()));
}

#[test]
fn new_mail_makes_a_turn_for_each_message() {
    let mail =
        config(json!({"presets": ["gmail"], "allowRequestSessionKey": true, "allowedSessionKeyPrefixes": ["hook:"]}));
    let message =
        |n: usize| json!({"id": format!("m{n}"), "from": "a@b", "subject": "s", "snippet": "sn", "body": "b"});
    let many: Vec<Value> = (0..limits::HOOK_ITEMS + 5).map(message).collect();
    let wishes = ask(&mail, "gmail", json!({ "messages": many })).unwrap();
    assert_eq!((wishes.all.len(), wishes.fans_out), (limits::HOOK_ITEMS, true));
    let Wish::Turn(second) = &wishes.all[1] else { panic!() };
    assert_eq!(second.session_key.as_deref(), Some("hook:gmail:m1"));
    assert!(second.message.contains("a@b") && second.message.contains("Subject: s") && !second.trusted);
    assert!(ask(&mail, "gmail", json!({})).unwrap().all.is_empty());
    let long = |n: usize| json!({"id": format!("m{n}"), "body": "b".repeat(limits::HOOK_TEXT_BYTES / 2)});
    let wishes = ask(&mail, "gmail", json!({"messages": (0..40).map(long).collect::<Vec<Value>>()})).unwrap().all;
    let bytes: usize = wishes.iter().map(Wish::bytes).sum();
    let all = limits::HOOK_ITEMS_BYTES / (limits::HOOK_TEXT_BYTES / 2);
    assert!(bytes <= limits::HOOK_ITEMS_BYTES && wishes.len() + 1 == all, "{}", wishes.len());
}
