//! The desk with a real transcript and real programs in place of models.

use super::*;
use crate::agent::model::ToolChoice;
use crate::agent::run::{ClientResult, ClientTools, Speaker, Task};
use crate::agent::tool::approval::pending::Request;
use crate::agent::tool::desk::{Ask, Desk as Gateway, DeskFault, Note, Waiting};
use crate::config::load::testing::TempDir;
use crate::config::paths::{Paths, Profile};
use crate::config::{Config, Env};
use std::time::Duration;

/// A gateway nobody asks: programs that stand for models get no tools.
struct Nobody;

impl Gateway for Nobody {
    fn ask(&self, _: Ask, _: &Control) -> Result<Value, DeskFault> {
        Err(DeskFault::Silent)
    }

    fn approve(&self, _: Request, _: &Control) -> Result<Waiting, DeskFault> {
        Err(DeskFault::NoApprover)
    }

    fn tell(&self, _: Note) {}
}

/// The ground of a session whose model is this backend `x`, with these lines in its transcript.
fn ground(dir: &TempDir, backend: Value, lines: &[Value]) -> Ground {
    let mut text = String::from("{\"type\":\"session\",\"version\":3,\"id\":\"s\"}\n");
    for (at, message) in lines.iter().enumerate() {
        let parent = at.checked_sub(1).map(|parent| format!("{parent:08}"));
        let line = json!({"type": "message", "id": format!("{at:08}"), "parentId": parent, "message": message});
        text.push_str(&format!("{line}\n"));
    }
    dir.write("s.jsonl", &text);
    let path = std::env::var("PATH").unwrap();
    let home = dir.path().display().to_string();
    let env = Env::of([("PATH", path.as_str()), ("HOME", home.as_str())]);
    let defaults = json!({"model": {"primary": "x/m1"}, "cliBackends": {"x": backend}});
    let spec = RunSpec {
        run_id: "r".into(),
        session_key: "agent:main:main".into(),
        agent_id: "main".into(),
        session_id: "s".into(),
        transcript: dir.path().join("s.jsonl"),
        workspace: dir.path().to_owned(),
        task: Task::Answer,
        shows_thoughts: false,
        prompts: Vec::new(),
        model: None,
        auth_profile: None,
        speaker: Speaker::Operator,
        cooldowns: Cooldowns::default(),
        client_tools: ClientTools::default(),
        channel: None,
        found: None,
        thinking: None,
        limit: None,
        extra_system: None,
        cli_sessions: json!({"x": "the-persons-own"}),
        exec_security: None,
        exec_ask: None,
        config: Arc::new(Config::from_value(json!({"agents": {"defaults": defaults}}))),
        paths: Paths::resolve(&env, &Profile::none()),
        env: Arc::new(env),
        http: crate::agent::http::Settings::default(),
        seed: [7; 32],
    };
    Ground::prepare(spec, &Control::new()).map_err(|failure| failure.message).unwrap()
}

fn opened(ground: &Ground) -> Desk<'_> {
    let hands = Hands { desk: Arc::new(Nobody), jobs: crate::agent::tool::jobs() };
    Desk::open(ground, hands).map_err(|failure| failure.message).unwrap()
}

fn watchdog() -> Control {
    Control::within(Duration::from_secs(20))
}

/// A few messages that are long enough to be summarised.
fn talk() -> Vec<Value> {
    let said = |role: &str| json!({"role": role, "content": [{"type": "text", "text": "word ".repeat(100)}]});
    (0..8).map(|at| said(if at % 2 == 0 { "user" } else { "assistant" })).collect()
}

#[test]
fn pictures_are_kept_within_their_bytes_when_they_are_read_and_when_they_are_added() {
    let dir = TempDir::new("pictures");
    let picture = |name: &str| {
        let data = format!("{name}{}", "A".repeat(limits::CONTEXT_PICTURE_BYTES / 2 - 1));
        json!({"role": "user", "content": [{"type": "image", "data": data, "mimeType": "image/png"}]})
    };
    let ground = ground(&dir, json!({"command": "true"}), &["a", "b", "c"].map(picture));
    let mut desk = opened(&ground);
    let shown = |desk: &mut Desk<'_>| -> Vec<String> {
        let messages = desk.request().unwrap().messages;
        let first = |message: &Message| match &message.content()[0] {
            Block::Image { data, .. } => data[..1].to_string(),
            block => block.as_text().unwrap()[..19].to_string(),
        };
        messages.iter().map(first).collect()
    };
    assert_eq!(shown(&mut desk), ["[an earlier picture", "b", "c"]);
    desk.append(&serde_json::from_value(picture("d")).unwrap()).unwrap();
    assert_eq!(shown(&mut desk), ["[an earlier picture", "[an earlier picture", "c", "d"]);
}

#[test]
fn a_summary_is_asked_outside_of_the_persons_conversation() {
    let dir = TempDir::new("summary");
    let say = "printf 'told:%s' \"$1\"";
    let backend = json!({
        "command": "sh", "args": ["-c", say, "sh", "first"], "resumeArgs": ["-c", say, "sh", "{sessionId}"],
        "output": "text", "input": "stdin",
    });
    let ground = ground(&dir, backend, &talk());
    let mut desk = opened(&ground);
    assert_eq!(desk.compact(None, &watchdog()).unwrap(), Some(Shortened::Summarised));
    assert_eq!(desk.context.summary.as_deref(), Some("told:first"));
    let request = desk.request().unwrap();
    let reply = desk.ask(&request, &watchdog(), &mut |_| {}).unwrap();
    assert_eq!(crate::agent::message::text_of(&reply.content), "told:the-persons-own");
}

#[test]
fn a_summary_that_fails_drops_messages_only_where_it_would_fail_again_and_then_says_so() {
    let compacted = |script: &str| {
        let dir = TempDir::new("no-summary");
        let ground = ground(&dir, json!({"command": "sh", "args": ["-c", script], "output": "text"}), &talk());
        let mut desk = opened(&ground);
        let outcome = desk.compact(None, &watchdog()).map_err(|error| (error.kind, error.message));
        (outcome, desk.context.items.len(), desk.context.summary)
    };
    let (outcome, left, summary) = compacted("echo 'invalid api key' >&2; exit 1");
    let (kind, text) = outcome.unwrap_err();
    assert!(kind == ErrorKind::Auth && text.contains("nothing was dropped; try again: x: invalid"), "{text}");
    assert_eq!((left, summary), (talk().len(), None));
    for lasting in ["echo 'prompt is too long' >&2; exit 1", "exit 3", "true"] {
        let (outcome, left, summary) = compacted(lasting);
        let Ok(Some(Shortened::Dropped(count))) = outcome else { panic!("{lasting}: {outcome:?}") };
        assert_eq!(left, talk().len() - count + 1, "{lasting}");
        assert!(summary.unwrap().contains("not known any more"));
    }
}

/// A provider that is never asked; its models take tools.
fn with_client(dir: &TempDir, client: ClientTools, lines: &[Value]) -> Ground {
    let mut ground = ground(dir, json!({"command": "true"}), lines);
    let model = json!({"id": "m", "name": "m"});
    let provider =
        json!({"baseUrl": "http://127.0.0.1:1/v1", "apiKey": "k", "api": "openai-completions", "models": [model]});
    ground.spec.config = Arc::new(Config::from_value(json!({
        "models": {"providers": {"p": provider}}, "agents": {"defaults": {"model": "p/m", "skipBootstrap": true}},
    })));
    ground.spec.client_tools = client;
    Ground::prepare(ground.spec, &Control::new()).map_err(|failure| failure.message).unwrap()
}

fn tool(name: &str) -> ToolSpec {
    ToolSpec { name: name.into(), description: format!("{name} of a program"), parameters: json!({"type": "object"}) }
}

fn names(request: &ModelRequest) -> Vec<&str> {
    request.tools.iter().map(|tool| tool.name.as_str()).collect()
}

#[test]
fn a_programs_tools_stand_beside_the_gateways_and_win_over_the_same_name() {
    let dir = TempDir::new("client-tools");
    let client = ClientTools { tools: vec![tool("exec"), tool("look_up")], ..ClientTools::default() };
    let ground = with_client(&dir, client, &[]);
    let mut desk = opened(&ground);
    let request = desk.request().unwrap();
    let found = names(&request);
    assert!(found.contains(&"read") && found.ends_with(&["exec", "look_up"]), "{found:?}");
    assert_eq!(found.iter().filter(|name| **name == "exec").count(), 1);
    let exec = request.tools.iter().find(|tool| tool.name == "exec").unwrap();
    assert_eq!(exec.description, "exec of a program");
    assert!(request.system.contains("exec of a program") && request.needs_tools);
    assert!(desk.is_clients("exec") && !desk.is_clients("read"));
}

#[test]
fn a_forced_choice_leaves_nothing_else_to_call() {
    let offered = |choice: ToolChoice| {
        let dir = TempDir::new("forced");
        let client = ClientTools { tools: vec![tool("a"), tool("b")], choice, ..ClientTools::default() };
        let ground = with_client(&dir, client, &[]);
        let request = opened(&ground).request().unwrap();
        let found = names(&request).iter().map(|name| name.to_string()).collect::<Vec<_>>();
        (found, request.tool_choice)
    };
    assert_eq!(offered(ToolChoice::Required), (vec!["a".into(), "b".into()], ToolChoice::Required));
    let named = ToolChoice::Named("b".into());
    assert_eq!(offered(named.clone()), (vec!["b".into()], named));
    let (found, choice) = offered(ToolChoice::None);
    assert!(found.iter().any(|name| name == "read") && !found.iter().any(|name| name == "a"));
    assert_eq!(choice, ToolChoice::Auto);
}

#[test]
fn results_of_open_calls_take_the_place_of_those_that_were_made_up() {
    let dir = TempDir::new("brought");
    let call = |id: &str| json!({"type": "toolCall", "id": id, "name": "look_up", "arguments": {}});
    let lines = [
        json!({"role": "user", "content": "q"}),
        json!({"role": "assistant", "content": [call("one"), call("two")], "stopReason": "toolUse"}),
    ];
    let result = |id: &str| ClientResult { id: id.into(), text: format!("result {id}") };
    let client = ClientTools { results: vec![result("two"), result("ghost")], ..ClientTools::default() };
    let ground = with_client(&dir, client, &lines);
    let mut desk = opened(&ground);
    let brought = desk.brought_results();
    assert_eq!(brought.len(), 1);
    assert_eq!((brought[0].tool_call_id.as_str(), brought[0].tool_name.as_str()), ("two", "look_up"));
    desk.append(&Message::ToolResult(brought[0].clone())).unwrap();
    desk.append(&Message::user("go on", 1)).unwrap();
    assert!(desk.brought_results().is_empty(), "further back they answer nothing");
    drop(desk);
    let read = conversation(&ground.spec.transcript, 0).unwrap().messages();
    let errors = read.iter().filter_map(|message| match message {
        Message::ToolResult(result) => Some((result.tool_call_id.as_str(), result.is_error)),
        _ => None,
    });
    assert_eq!(errors.collect::<Vec<_>>(), [("two", false), ("one", true)]);
}

#[test]
fn a_model_without_tools_refuses_a_programs_own() {
    let dir = TempDir::new("no-tools");
    let mut ground = ground(&dir, json!({"command": "true"}), &[]);
    ground.spec.client_tools = ClientTools { tools: vec![tool("a")], ..ClientTools::default() };
    let mut desk = opened(&ground);
    let request = desk.request().unwrap();
    let error = desk.ask(&request, &watchdog(), &mut |_| {}).unwrap_err();
    assert!(error.kind == ErrorKind::Format && error.message.contains("x/m1 takes no tools of programs"), "{error}");
}
