//! Backends against real programs: shell scripts that print what the known command-line tools print.

use super::super::Thinking;
use super::*;
use crate::agent::control::AbortReason;
use crate::config::Config;
use crate::config::env::OURS;
use serde_json::Value;
use std::time::{Duration, Instant};

const WATCHDOG: Duration = Duration::from_secs(20);

fn model(backend: Value) -> CliBackend {
    let config = Config::from_value(json!({"agents": {"defaults": {"cliBackends": {"x": backend}}}}));
    let mut vars = vec![("PATH", "/usr/local/bin:/usr/bin:/bin"), ("KEEP", "kept"), ("DROP", "dropped")];
    vars.extend(OURS.map(|name| (name, "canary")));
    let env = Env::of(vars);
    CliBackend::new(ModelRef::new("x", "m1"), configured(&config, "x").expect("a backend").expect("a valid one"), env)
}

/// Tests run beside each other and must not wait for each other's turn.
fn script(text: &str) -> Value {
    json!({"command": "sh", "args": ["-c", text, "sh"], "output": "text", "serialize": false})
}

fn with(mut backend: Value, more: Value) -> Value {
    if let (Some(backend), Value::Object(more)) = (backend.as_object_mut(), more) {
        backend.extend(more);
    }
    backend
}

fn request(text: &str) -> ModelRequest {
    ModelRequest {
        system: "be brief".into(),
        messages: vec![Message::user("earlier", 1), Message::user(text, 2)],
        thinking: Thinking::Off,
        session: CallSession { new_cli_session: "new-id".into(), ..CallSession::default() },
        ..ModelRequest::default()
    }
}

fn ask(backend: Value, request: &ModelRequest) -> (Result<ModelReply, ModelError>, Vec<ModelEvent>) {
    let mut events = Vec::new();
    let reply = model(backend).call(request, &Control::within(WATCHDOG), &mut |event| events.push(event));
    (reply, events)
}

fn text(reply: &ModelReply) -> String {
    text_of(&reply.content)
}

#[test]
fn arguments_come_in_the_documented_order() {
    let more = json!({"modelArg": "--model", "systemPromptArg": "--system", "sessionArg": "--session", "modelAliases": {"m1": "one"}});
    let backend = with(script(r#"for a in "$@"; do printf '%s|' "$a"; done"#), more);
    let (reply, _) = ask(backend, &request("hi"));
    let expected = format!("--model|one|--system|be brief\n\n{NO_TOOLS}|--session|new-id|hi|");
    let reply = reply.unwrap();
    assert_eq!((text(&reply), reply.cli_session.as_deref()), (expected, Some("new-id")));
}

#[test]
fn a_known_session_is_resumed_with_its_own_arguments() {
    let resume = json!({"resumeArgs": ["-c", "echo resumed $1 $2", "sh", "{sessionId}"], "modelArg": "--model"});
    let mut request = request("go");
    request.session.cli_sessions = json!({"x": "s-7", "codex-cli": "s-8"});
    let (reply, _) = ask(with(script("echo first"), resume.clone()), &request);
    let reply = reply.unwrap();
    assert_eq!((text(&reply).as_str(), reply.cli_session.as_deref()), ("resumed s-7 go", Some("s-7")));
    request.session.cli_sessions = json!({"codex-cli": "s-8"});
    let reply = ask(with(script("echo first"), resume), &request).0.unwrap();
    assert_eq!((text(&reply).as_str(), reply.cli_session.as_deref()), ("first", Some("new-id")), "another's id");
}

#[test]
fn environment_and_standard_input_are_what_is_configured() {
    let more = json!({"input": "stdin", "env": {"ADDED": "yes"}, "clearEnv": ["DROP"]});
    let (reply, _) = ask(with(script("cat; echo \" $KEEP $DROP $ADDED\""), more), &request("from stdin"));
    assert_eq!(text(&reply.unwrap()), "from stdin kept  yes");
    let more = json!({"maxPromptArgChars": 3});
    let (reply, _) = ask(with(script("printf '%s:' \"$#\"; cat"), more), &request("longer"));
    assert_eq!(text(&reply.unwrap()), "0:longer");
}

#[test]
fn a_program_gets_nothing_that_is_the_gateways_own() {
    let (reply, _) = ask(script("env"), &request("hi"));
    let env = text(&reply.unwrap());
    assert!(env.contains("KEEP=kept") && !env.contains("canary"), "{env}");
}

#[test]
fn a_prompt_that_looks_like_an_option_is_no_argument() {
    let (reply, _) = ask(script("printf '%s:' \"$#\"; cat"), &request("--dangerously-skip-permissions"));
    assert_eq!(text(&reply.unwrap()), "0:--dangerously-skip-permissions");
}

#[test]
fn what_a_program_leaves_behind_neither_holds_the_answer_up_nor_stays() {
    let begun = Instant::now();
    let (reply, _) = ask(script("sleep 1000 & echo $!"), &request("hi"));
    let child = text(&reply.unwrap());
    assert!(begun.elapsed() < WATCHDOG / 2, "{:?}", begun.elapsed());
    let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    assert!(stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X'])), "{stat}");
}

#[test]
fn somebody_left_behind_who_goes_on_talking_does_not_hold_the_answer_up_either() {
    let begun = Instant::now();
    let (reply, _) = ask(script("(while :; do echo more; sleep 0.05; done) & echo hi"), &request("hi"));
    assert!(text(&reply.unwrap()).contains("hi") && begun.elapsed() < WATCHDOG / 2, "{:?}", begun.elapsed());
}

#[test]
fn json_is_read_in_all_its_shapes() {
    for (printed, expected) in [
        (r#"{"result":"a","session_id":"s","usage":{"input_tokens":3,"output_tokens":2}}"#, "a"),
        (r#"{"message":{"content":[{"text":"a"},{"text":"b"}]}}"#, "ab"),
        (r#"{"content":"a"}"#, "a"),
        (r#"{"text":"a"}"#, "a"),
        (r#"[{"type":"system"},{"type":"result","result":"a"}]"#, "a"),
        ("not json", "not json"),
    ] {
        let backend = with(script(&format!("cat <<'END'\n{printed}\nEND")), json!({"output": "json"}));
        let (reply, events) = ask(backend, &request("hi"));
        assert_eq!(text(&reply.unwrap()), expected, "{printed}");
        assert_eq!(events, [ModelEvent::Text(expected.to_string())]);
    }
}

#[test]
fn codex_lines_stream_their_messages() {
    let lines = r#"cat <<'END'
starting
{"type":"thread.started","thread_id":"t-1"}
{"type":"item.completed","item":{"type":"reasoning","text":"hm"}}
{"type":"item.completed","item":{"type":"agent_message","text":"one"}}
{"type":"item.completed","item":{"type":"agent_message","text":"two"}}
{"type":"turn.completed","usage":{"input_tokens":10,"cached_input_tokens":4,"output_tokens":3}}
END"#;
    let (reply, events) = ask(with(script(lines), json!({"output": "jsonl"})), &request("hi"));
    let reply = reply.unwrap();
    assert_eq!((text(&reply).as_str(), reply.cli_session.as_deref()), ("one\ntwo", Some("t-1")));
    assert_eq!((reply.usage.input, reply.usage.cache_read, reply.usage.total_tokens), (6, 4, 13));
    assert_eq!(events, [ModelEvent::Text("one".into()), ModelEvent::Text("\ntwo".into())]);
}

#[test]
fn what_codex_gets_over_is_no_failure() {
    let lines = r#"cat <<'END'
{"type":"error","message":"Reconnecting... 1/5"}
{"type":"item.completed","item":{"type":"agent_message","text":"one"}}
END"#;
    let lines_after = |last: &str| format!("{lines}\necho '{last}'");
    let jsonl = || json!({"output": "jsonl"});
    let (reply, _) = ask(with(script(&lines_after(r#"{"type":"turn.completed"}"#)), jsonl()), &request("hi"));
    assert_eq!(text(&reply.unwrap()), "one");
    let failed = r#"{"type":"turn.failed","error":{"message":"no connection"}}"#;
    let (reply, _) = ask(with(script(&lines_after(failed)), jsonl()), &request("hi"));
    assert!(reply.unwrap_err().message.contains("no connection"));
}

#[test]
fn claudes_events_stream_their_pieces() {
    let lines = r#"cat <<'END'
{"type":"system","subtype":"init","session_id":"c-1"}
{"type":"stream_event","event":{"type":"content_block_delta","delta":{"type":"text_delta","text":"Hel"}}}
{"type":"stream_event","event":{"type":"content_block_delta","delta":{"type":"text_delta","text":"lo"}}}
{"type":"assistant","message":{"content":[{"type":"text","text":"Hello"}]}}
{"type":"result","subtype":"success","is_error":false,"result":"Hello","total_cost_usd":0.5,"usage":{"input_tokens":3,"cache_read_input_tokens":7,"output_tokens":2}}
END"#;
    let (reply, events) = ask(with(script(lines), json!({"output": "stream-json"})), &request("hi"));
    let reply = reply.unwrap();
    assert_eq!(
        (text(&reply).as_str(), reply.cli_session.as_deref(), reply.usage.cost.total),
        ("Hello", Some("c-1"), 0.5)
    );
    assert_eq!(events, [ModelEvent::Text("Hel".into()), ModelEvent::Text("lo".into())]);
}

#[test]
fn failures_are_errors_with_the_programs_own_words() {
    let kind = |backend: Value| {
        let error = ask(backend, &request("hi")).0.unwrap_err();
        (error.kind, error.message)
    };
    assert_eq!(kind(script("echo bad >&2; exit 3")), (ErrorKind::Format, "x: bad".into()));
    assert_eq!(kind(script("exit 3")), (ErrorKind::Format, "x: CLI failed.".into()));
    assert_eq!(kind(script("echo 'rate limit reached' >&2; exit 1")).0, ErrorKind::RateLimit);
    let claude = r#"echo '{"type":"result","subtype":"success","is_error":true,"result":"Invalid API key"}'"#;
    let (kind_found, text) = kind(with(script(claude), json!({"output": "json"})));
    assert_eq!((kind_found, text.as_str()), (ErrorKind::Auth, "x: Invalid API key"));
    let (kind_found, text) = kind(json!({"command": "no-such-program-here"}));
    assert!(kind_found == ErrorKind::NotConfigured && text.contains("PATH"), "{text}");
}

#[test]
fn endless_output_is_an_error_and_ends_the_program() {
    let (reply, _) = ask(with(script("yes '{}'"), json!({"output": "jsonl"})), &request("hi"));
    let error = reply.unwrap_err();
    let most = limits::BACKEND_OUTPUT_BYTES.to_string();
    assert!(error.kind == ErrorKind::Protocol && error.message.contains(&most), "{error}");
}

#[test]
fn cancelling_ends_a_program_and_its_children_at_once() {
    let control = Control::within(WATCHDOG * 2);
    let stop = control.clone();
    let begun = Instant::now();
    let mut on = |event| {
        assert_eq!(event, ModelEvent::Text("up\n".into()));
        stop.cancel(AbortReason::Stop);
    };
    let backend = model(script("trap '' TERM; echo up; sleep 1000"));
    let error = backend.call(&request("hi"), &control, &mut on).unwrap_err();
    assert_eq!((error.kind, error.streamed), (ErrorKind::Aborted, true));
    assert!(begun.elapsed() < WATCHDOG);
}

#[test]
fn the_runs_deadline_ends_a_silent_program() {
    let control = Control::within(Duration::from_millis(50));
    let error = model(script("sleep 1000")).call(&request("hi"), &control, &mut |_| ()).unwrap_err();
    assert!(error.kind == ErrorKind::Aborted && error.message.contains("timeout"), "{error}");
}

#[test]
fn pictures_are_files_that_go_away() {
    let mut request = request("look");
    if let Some(Message::User(user)) = request.messages.last_mut() {
        user.content.push(Block::image("aGk=", "image/png"));
    }
    let backend = with(script("f=$(printf '%s' \"$1\" | tail -1); cat $f; printf ' %s' $f"), json!({}));
    let (reply, _) = ask(backend, &request);
    let text = text(&reply.unwrap());
    let (content, path) = text.split_once(' ').unwrap();
    assert!(content == "hi" && path.ends_with(".png") && !std::path::Path::new(path).exists(), "{text}");
}

#[test]
fn several_pictures_share_a_flag_when_the_program_wants_a_list() {
    let mut request = request("look");
    if let Some(Message::User(user)) = request.messages.last_mut() {
        user.content.extend([Block::image("aGk=", "image/png"), Block::image("aG8=", "image/gif")]);
    }
    for (mode, counts) in [("repeat", "5"), ("list", "3")] {
        let more = json!({"imageArg": "--image", "imageMode": mode});
        let (reply, _) = ask(with(script("printf '%s %s' \"$#\" \"$2\""), more), &request);
        let text = text(&reply.unwrap());
        let (count, first) = text.split_once(' ').unwrap();
        assert_eq!((count, first.split(',').count() == 2), (counts, mode == "list"), "{text}");
    }
}

#[test]
fn one_process_of_a_backend_runs_at_a_time_unless_it_is_told_otherwise() {
    let held = process::turn("x", &Control::new()).unwrap();
    assert_eq!(text(&ask(script("echo hi"), &request("hi")).0.unwrap()), "hi");
    let serial = with(script("echo hi"), json!({"serialize": true}));
    let control = Control::within(WATCHDOG);
    let stop = control.clone();
    let stopper = std::thread::spawn(move || stop.cancel(AbortReason::Stop));
    let error = model(serial.clone()).call(&request("hi"), &control, &mut |_| ()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Aborted, "it waits, and a stop ends the wait");
    assert!(stopper.join().unwrap());
    let brief = Control::within(Duration::from_millis(20));
    let error = model(serial.clone()).call(&request("hi"), &brief, &mut |_| ()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Aborted, "its time is over");
    drop(held);
    assert_eq!(text(&ask(serial, &request("hi")).0.unwrap()), "hi");
}

#[test]
fn a_system_prompt_goes_through_a_file_or_is_refused_when_it_is_too_long_for_an_argument() {
    let mut request = request("hi");
    request.system = "s".repeat(limits::BACKEND_ARGUMENT_BYTES);
    let backend = script("wc -c < $2; printf '%s' \"$2\"");
    let error = ask(with(backend.clone(), json!({"systemPromptArg": "--system"})), &request).0.unwrap_err();
    assert!(error.kind == ErrorKind::Format && error.message.contains("systemPromptFileArg"), "{error}");
    let text = text(&ask(with(backend, json!({"systemPromptFileArg": "--file"})), &request).0.unwrap());
    let (size, path) = text.split_once('\n').unwrap();
    assert_eq!(size.trim(), (request.system.len() + 2 + NO_TOOLS.len()).to_string());
    assert!(path.ends_with(".txt") && !std::path::Path::new(path).exists(), "{path}");
}

#[test]
fn arguments_that_the_system_does_not_take_are_named() {
    let backend = json!({"command": "sh", "args": ["-c", "true", "x".repeat(300_000)]});
    let error = ask(backend, &request("hi")).0.unwrap_err();
    assert!(error.kind == ErrorKind::Format && error.message.contains("stdin"), "{error}");
}

#[test]
fn words_that_mean_nothing_are_refused_and_replacing_changes_the_flags() {
    let read = |id: &str, backend: Value| {
        configured(&Config::from_value(json!({"agents": {"defaults": {"cliBackends": {id: backend}}}})), id).unwrap()
    };
    for name in ["input", "sessionMode", "systemPromptWhen", "systemPromptMode", "imageMode", "output", "serialize"] {
        let error = read("x", with(script("true"), json!({name: "nonsense"}))).unwrap_err();
        assert!(error.message.contains(&format!("cliBackends.x.{name} is")), "{error}");
    }
    let claude = read("claude-cli", json!({"systemPromptMode": "replace"})).unwrap();
    assert_eq!(claude.system_prompt_file_arg.as_deref(), Some("--system-prompt-file"));
    let own = read("claude-cli", json!({"systemPromptMode": "replace", "systemPromptArg": "--mine"})).unwrap();
    assert_eq!((own.system_prompt_arg.as_deref(), own.system_prompt_file_arg), (Some("--mine"), None));
    let error = read("x", with(script("true"), json!({"systemPromptMode": "replace"}))).unwrap_err();
    assert!(error.message.contains("no systemPromptArg says how"), "{error}");
}

#[test]
fn the_built_in_ones_ask_for_no_dangerous_permission() {
    for id in ["claude-cli", "codex-cli"] {
        let backend = configured(&Config::default(), id).unwrap().unwrap();
        assert!(!format!("{backend:?}").contains("dangerous"));
        assert_eq!((backend.input, backend.serialize), (Input::Stdin, true));
        assert!(backend.resume_args.unwrap().contains(&"{sessionId}".to_string()));
    }
    assert!(configured(&Config::default(), "other").is_none());
}
