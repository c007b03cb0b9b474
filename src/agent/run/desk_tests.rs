//! The desk with a real transcript and real programs in place of models.

use super::*;
use crate::agent::run::{ClientTools, Task};
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
        cooldowns: Cooldowns::default(),
        client_tools: ClientTools::default(),
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
