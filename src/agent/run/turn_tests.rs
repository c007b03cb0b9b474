//! The loop against scripted parts.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::*;
use crate::agent::message::Usage;

type Answer = Result<ModelReply, ModelError>;

#[derive(Default)]
struct Script {
    answers: VecDeque<(Vec<&'static str>, Answer)>,
    transcript: Vec<Message>,
    tools: Vec<String>,
    crowded: bool,
    compactions: usize,
    compactable: bool,
    forgetful: bool,
    stop_in_tool: bool,
    steering: VecDeque<&'static str>,
    theirs: &'static str,
    brought: Vec<ToolResultMessage>,
}

impl Parts for Script {
    fn append(&mut self, message: &Message) -> Result<String, String> {
        self.transcript.push(message.clone());
        Ok(format!("{:08x}", self.transcript.len()))
    }
    fn request(&mut self) -> Result<ModelRequest, String> {
        Ok(ModelRequest { messages: self.transcript.clone(), ..ModelRequest::default() })
    }
    fn ask(&mut self, _: &ModelRequest, control: &Control, on: &mut dyn FnMut(ModelEvent)) -> Answer {
        let Some((pieces, answer)) = self.answers.pop_front() else {
            control.cancel(AbortReason::Rpc);
            return Err(error(ErrorKind::Aborted));
        };
        for piece in pieces {
            on(ModelEvent::Text(piece.to_string()));
        }
        answer
    }
    fn use_tool(&mut self, call: &ToolCall, control: &Control, show: &mut dyn FnMut(Value)) -> ToolAnswer {
        self.tools.push(call.name.clone());
        show(json!({"content": []}));
        if self.stop_in_tool {
            control.cancel(AbortReason::Stop);
        }
        ToolAnswer { content: vec![Block::text("done")], details: None, is_error: false, meta: "did".into() }
    }
    fn is_clients(&self, name: &str) -> bool {
        name == self.theirs
    }
    fn brought_results(&mut self) -> Vec<ToolResultMessage> {
        std::mem::take(&mut self.brought)
    }
    fn steering(&mut self, _: &Control) -> Vec<Vec<Block>> {
        self.steering.pop_front().into_iter().map(|text| vec![Block::text(text)]).collect()
    }
    fn is_crowded(&self) -> bool {
        self.crowded
    }
    fn compact(&mut self, _: Option<&str>, _: &Control) -> Result<Option<Shortened>, ModelError> {
        self.compactions += 1;
        self.crowded = false;
        let how = if self.forgetful { Shortened::Dropped(9) } else { Shortened::Summarised };
        Ok(self.compactable.then_some(how))
    }
    fn spent(&mut self) -> Usage {
        Usage { input: 100, total_tokens: 100, ..Usage::default() }
    }
    fn context_tokens(&self) -> u64 {
        500 - 100 * self.compactions as u64
    }
    fn learnt(&mut self) -> Vec<Change> {
        Vec::new()
    }
    fn paid_by(&self) -> String {
        "nobody".into()
    }
    fn asked(&self) -> Option<ModelRef> {
        Some(ModelRef::new("p", "m"))
    }
    fn context_window(&self) -> u64 {
        1000
    }
    fn now_ms(&self) -> u64 {
        7
    }
}

fn error(kind: ErrorKind) -> ModelError {
    ModelError { kind, message: "no".into(), status: None, retry_after: None, streamed: false }
}

fn reply(content: Vec<Block>, stop: StopReason) -> Answer {
    let usage = Usage { input: 10, output: 2, total_tokens: 12, ..Usage::default() };
    Ok(ModelReply { content, usage, stop, model: "m".into(), provider: "p".into(), api: "test", cli_session: None })
}

fn says(text: &'static str) -> (Vec<&'static str>, Answer) {
    (vec![text], reply(vec![Block::text(text)], StopReason::Stop))
}

fn wants(tools: &[&str]) -> (Vec<&'static str>, Answer) {
    let calls = tools.iter().enumerate().map(|(n, name)| Block::tool_call(format!("c{n}"), *name, json!({}))).collect();
    (vec![], reply(calls, StopReason::ToolUse))
}

fn run(script: &mut Script) -> (Result<RunResult, Box<RunFailure>>, Vec<String>) {
    let told = RefCell::new(Vec::new());
    let note = |event: RunEvent| {
        told.borrow_mut().push(match event {
            RunEvent::Text(text) => format!("text {text}"),
            RunEvent::ToolStart(start) => format!("start {}", start.name),
            RunEvent::ToolUpdate(_) => "update".into(),
            RunEvent::ToolEnd(end) => format!("end {}", end.meta),
            RunEvent::Compaction { done, .. } => format!("compaction {done}"),
            RunEvent::Appended { message, .. } => format!("line {}", message["role"].as_str().unwrap()),
            RunEvent::MessageEnd => "message".into(),
            RunEvent::Model(model) => format!("model {model}"),
            other => format!("{other:?}"),
        });
    };
    let result = answer(script, vec![vec![Block::text("hi")]], false, &Control::new(), &note);
    (result, told.into_inner())
}

#[test]
fn an_answer_is_streamed_and_written_down() {
    let mut script = Script { answers: [says("hello")].into(), ..Script::default() };
    let (result, told) = run(&mut script);
    let result = result.unwrap();
    assert_eq!(told, ["line user", "text hello", "model p/m", "line assistant", "message"]);
    assert_eq!((result.stop_reason, result.account.texts.as_slice()), ("stop", &["hello".to_string()][..]));
    assert_eq!((result.account.usage.total_tokens, result.account.context_window), (12, 1000));
}

#[test]
fn an_answer_in_one_piece_is_told_too() {
    let mut script =
        Script { answers: [(vec![], reply(vec![Block::text("all")], StopReason::Stop))].into(), ..Script::default() };
    assert!(run(&mut script).1.contains(&"text all".to_string()));
}

#[test]
fn tools_are_called_in_order_and_usage_adds_up() {
    let mut script = Script { answers: [wants(&["read", "exec"]), says("ok")].into(), ..Script::default() };
    let (result, told) = run(&mut script);
    assert_eq!(script.tools, ["read", "exec"]);
    assert_eq!(told.iter().filter(|line| *line == "line toolResult").count(), 2);
    assert_eq!(told[3..7], ["message", "start read", "update", "end did"]);
    assert_eq!(result.unwrap().account.usage.total_tokens, 24);
}

#[test]
fn a_model_error_ends_the_run_and_leaves_a_line() {
    let mut script = Script { answers: [(vec!["par"], Err(error(ErrorKind::Auth)))].into(), ..Script::default() };
    let failure = run(&mut script).0.unwrap_err();
    assert_eq!((failure.cause, failure.message.as_str()), (Cause::Model(ErrorKind::Auth), "no"));
    let Some(Message::Assistant(last)) = script.transcript.last() else { panic!("no line") };
    assert_eq!((last.stop_reason, last.error_message.as_deref()), (StopReason::Error, Some("no")));
    assert_eq!((text_of(&last.content).as_str(), last.provider.as_str(), last.model.as_str()), ("par", "p", "m"));
}

#[test]
fn a_stop_is_a_stop_whatever_the_model_says() {
    let failure = run(&mut Script::default()).0.unwrap_err();
    assert_eq!(failure.cause, Cause::Stopped(AbortReason::Rpc));
    let mut script =
        Script { answers: [wants(&["exec", "read"]), says("never")].into(), stop_in_tool: true, ..Script::default() };
    let failure = run(&mut script).0.unwrap_err();
    assert_eq!(failure.cause, Cause::Stopped(AbortReason::Stop));
    assert_eq!(script.tools, ["exec"]);
    let results = script.transcript.iter().filter(|message| matches!(message, Message::ToolResult(_))).count();
    assert_eq!(results, 2, "every call has a result");
}

#[test]
fn an_overflow_is_compacted_once() {
    let overflow = || (vec![], Err(error(ErrorKind::ContextOverflow)));
    let mut script = Script { answers: [overflow(), says("ok")].into(), compactable: true, ..Script::default() };
    assert_eq!(run(&mut script).0.unwrap().account.compactions, 1);
    let mut script = Script { answers: [overflow(), overflow()].into(), compactable: true, ..Script::default() };
    assert_eq!(run(&mut script).0.unwrap_err().cause, Cause::Model(ErrorKind::ContextOverflow));
    assert_eq!(script.compactions, 1);
}

#[test]
fn a_crowded_context_is_compacted_before_the_call() {
    let mut script = Script { answers: [says("ok")].into(), crowded: true, compactable: true, ..Script::default() };
    let (result, told) = run(&mut script);
    assert_eq!(told[1..3], ["compaction false", "compaction true"]);
    assert_eq!(result.unwrap().account.compactions, 1);
}

#[test]
fn messages_that_are_dropped_without_a_summary_are_told() {
    let forgetful = || Script { forgetful: true, compactable: true, ..Script::default() };
    let mut script = Script { answers: [says("ok")].into(), crowded: true, ..forgetful() };
    let (result, told) = run(&mut script);
    assert!(told[3].starts_with("text The model could not summarise") && told[4] == "message", "{told:?}");
    let texts = result.unwrap().account.texts;
    assert!(texts[0].contains("9 older messages were dropped") && texts[1] == "ok", "{texts:?}");
    let done = compact(&mut forgetful(), None, &Control::new(), &|_| ()).unwrap();
    assert!(done.account.texts[0].contains("9 older messages were dropped"), "{:?}", done.account.texts);
}

#[test]
fn a_model_that_never_stops_calling_tools_is_stopped() {
    let answers = std::iter::repeat_with(|| wants(&["exec"])).take(limits::RUN_STEPS + 1).collect();
    let failure = run(&mut Script { answers, ..Script::default() }).0.unwrap_err();
    assert_eq!(failure.cause, Cause::Model(ErrorKind::Protocol));
}

#[test]
fn a_new_word_is_heard_after_the_tool_and_before_the_calls_that_are_left() {
    let answers = [wants(&["read", "exec"]), says("ok")].into();
    let mut script = Script { answers, steering: ["rather this"].into(), ..Script::default() };
    run(&mut script).0.unwrap();
    assert_eq!(script.tools, ["read"]);
    let roles: Vec<&str> = script
        .transcript
        .iter()
        .map(|message| match message {
            Message::User(_) => "user",
            Message::Assistant(_) => "assistant",
            Message::ToolResult(result) if result.is_error => "skipped",
            Message::ToolResult(_) => "result",
        })
        .collect();
    assert_eq!(roles, ["user", "assistant", "result", "skipped", "user", "assistant"]);
}

#[test]
fn a_conversation_is_shortened_on_request() {
    let mut script = Script { compactable: true, ..Script::default() };
    let done = compact(&mut script, Some("names"), &Control::new(), &|_| ()).unwrap();
    assert_eq!((done.account.compactions, done.account.shortened_to), (1, Some(400)));
    assert!(done.account.texts[0].contains("400 tokens instead of 500"), "{:?}", done.account.texts);
    let done = compact(&mut Script::default(), None, &Control::new(), &|_| ()).unwrap();
    assert!(done.account.texts[0].contains("nothing") && done.account.shortened_to.is_none());
}

#[test]
fn a_call_of_a_programs_tool_ends_the_run_after_the_gateways_own_are_done() {
    let mut script = Script {
        answers: [wants(&["exec", "theirs", "theirs"]), says("never asked")].into(),
        theirs: "theirs",
        steering: ["a word"].into(),
        ..Script::default()
    };
    let (result, _) = run(&mut script);
    let result = result.unwrap();
    let ids: Vec<&str> = result.account.calls.iter().map(|call| call.id.as_str()).collect();
    assert_eq!((ids, result.stop_reason), (vec!["c1", "c2"], "toolUse"));
    assert_eq!(script.tools, ["exec"], "only the gateway's own ran");
    let results = script.transcript.iter().filter(|message| matches!(message, Message::ToolResult(_))).count();
    assert_eq!((results, script.answers.len()), (1, 1));
    assert_eq!(script.steering.len(), 1, "what a person says waits for the next run");
}

#[test]
fn results_a_program_brings_stand_before_what_it_says() {
    let brought = ToolResultMessage { tool_call_id: "c0".into(), ..ToolResultMessage::default() };
    let mut script = Script { answers: [says("thanks")].into(), brought: vec![brought], ..Script::default() };
    let (_, told) = run(&mut script);
    let lines: Vec<&str> = told.iter().filter_map(|event| event.strip_prefix("line ")).collect();
    assert_eq!(lines, ["toolResult", "user", "assistant"]);
}

#[test]
fn a_context_that_overflows_in_mid_answer_is_not_answered_twice() {
    let overflow = ModelError { streamed: true, ..error(ErrorKind::ContextOverflow) };
    let answers = [(vec!["half"], Err(overflow)), says("again")].into();
    let mut script = Script { answers, compactable: true, ..Script::default() };
    let (result, told) = run(&mut script);
    assert_eq!(result.unwrap_err().cause, Cause::Model(ErrorKind::ContextOverflow));
    assert_eq!(told.iter().filter(|line| line.starts_with("text")).count(), 1, "{told:?}");
}

#[test]
fn what_a_summary_cost_is_part_of_the_turns_sum_and_not_of_its_last_call() {
    let mut script = Script { answers: [says("ok")].into(), crowded: true, compactable: true, ..Script::default() };
    let account = run(&mut script).0.unwrap().account;
    assert_eq!((account.usage.total_tokens, account.last_usage.total_tokens), (112, 12));
}
