//! The loop of a run: ask the model, do what it asks for, ask again, until it is done, stopped or fails. Owns order
//! and bounds; models, tools and the transcript are behind [`Parts`].

use std::time::Instant;

use serde_json::Value;

use super::begin::failure;
use super::pieces::Pieces;
use super::{Account, Cause, ClientCall, RunEvent, RunFailure, RunResult, ToolEnd, ToolStart, ToolUpdate};
use crate::agent::control::{AbortReason, Control};
use crate::agent::message::{
    AssistantMessage, Block, Extra, Message, StopReason, ToolResultMessage, Usage, UserMessage, text_of,
};
use crate::agent::model::failover::Change;
use crate::agent::model::{ErrorKind, ModelError, ModelEvent, ModelRef, ModelReply, ModelRequest};
use crate::limits;
use crate::session::{heartbeat, made};

/// What a tool gave back.
pub struct ToolAnswer {
    /// What the model sees.
    pub content: Vec<Block>,
    /// What clients see in addition.
    pub details: Option<Value>,
    /// Whether it failed.
    pub is_error: bool,
    /// A short label for people.
    pub meta: String,
}

/// How a conversation became shorter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shortened {
    /// A model wrote a summary of the older messages.
    Summarised,
    /// No model could, for a reason that will stay: so many older messages are gone from its view.
    Dropped(usize),
}

/// A tool the model wants.
pub struct ToolCall {
    /// Names the call.
    pub id: String,
    /// The tool.
    pub name: String,
    /// Its arguments; a text when they were no JSON.
    pub arguments: Value,
}

impl ToolCall {
    fn into_clients(self) -> ClientCall {
        ClientCall { id: self.id, name: self.name, arguments: self.arguments }
    }
}

/// Asks for what a person has said between two tools.
type Steering<'a> = dyn FnMut(&mut dyn Parts, &Control) -> Vec<Vec<Block>> + 'a;

/// What the loop works with; scripted in tests.
pub trait Parts {
    /// Adds a message to the transcript; the id of its entry.
    fn append(&mut self, message: &Message) -> Result<String, String>;
    /// The request that continues the conversation as the transcript has it.
    fn request(&mut self) -> Result<ModelRequest, String>;
    /// Asks the model, with retries and fallbacks.
    fn ask(
        &mut self,
        request: &ModelRequest,
        control: &Control,
        on: &mut dyn FnMut(ModelEvent),
    ) -> Result<ModelReply, ModelError>;
    /// Runs a tool.
    fn use_tool(&mut self, call: &ToolCall, control: &Control, show: &mut dyn FnMut(Value)) -> ToolAnswer;
    /// Whether the tool is a program's own, which it runs itself.
    fn is_clients(&self, _name: &str) -> bool {
        false
    }
    /// Results of calls that ended an earlier run, where their program has brought them along; once.
    fn brought_results(&mut self) -> Vec<ToolResultMessage> {
        Vec::new()
    }
    /// What the person said meanwhile and wants heard now; each message once.
    fn steering(&mut self, control: &Control) -> Vec<Vec<Block>>;
    /// Whether the conversation is so long that it should be shortened before the next call.
    fn is_crowded(&self) -> bool;
    /// Shortens it; none when there is nothing left to shorten.
    fn compact(&mut self, mind: Option<&str>, control: &Control) -> Result<Option<Shortened>, ModelError>;
    /// What the calls for summaries cost since the last time.
    fn spent(&mut self) -> Usage {
        Usage::default()
    }
    /// Tokens the conversation takes, about.
    fn context_tokens(&self) -> u64;
    /// What was learnt about accounts since the last time.
    fn learnt(&mut self) -> Vec<Change>;
    /// Who paid for the last answer, for people.
    fn paid_by(&self) -> String;
    /// The model that was asked last, whatever came of it.
    fn asked(&self) -> Option<ModelRef>;
    /// Tokens the context of the model in use holds.
    fn context_window(&self) -> u64;
    /// Wall-clock time in milliseconds.
    fn now_ms(&self) -> u64;
}

/// Answers one message. Everything that goes on is told as it happens.
pub(super) fn answer(
    parts: &mut dyn Parts,
    prompts: Vec<Vec<Block>>,
    thoughts: bool,
    control: &Control,
    tell: &dyn Fn(RunEvent),
) -> Result<RunResult, Box<RunFailure>> {
    let mut turn =
        Turn { parts, control, tell, thoughts, mark: Extra::new(), account: Account::default(), model: None };
    let stop = turn.run(prompts);
    turn.end(stop)
}

/// Shortens the conversation because a person asks for it.
pub(super) fn compact(
    parts: &mut dyn Parts,
    mind: Option<&str>,
    control: &Control,
    tell: &dyn Fn(RunEvent),
) -> Result<RunResult, Box<RunFailure>> {
    let mut turn =
        Turn { parts, control, tell, thoughts: false, mark: Extra::new(), account: Account::default(), model: None };
    let stop = turn.shorten(mind);
    turn.end(stop)
}

/// Why the loop ended early.
enum End {
    Model(ModelError),
    Storage(String),
    Stopped(AbortReason),
    TooManySteps,
}

impl End {
    /// A failure while the run was being stopped is the stop, whatever it looked like inside.
    fn told(self, control: &Control) -> RunFailure {
        let (cause, message) = match self {
            End::Storage(text) => (Cause::Storage, text),
            End::Stopped(reason) => (Cause::Stopped(reason), String::new()),
            End::Model(error) => match control.stopped() {
                Some(reason) => (Cause::Stopped(reason), String::new()),
                None => {
                    let failure = failure(Cause::Model(error.kind), error.message);
                    return RunFailure { retry_after: error.retry_after, status: error.status, ..failure };
                }
            },
            End::TooManySteps => {
                let text = format!("the model called tools {} times without an answer", limits::RUN_STEPS);
                (Cause::Model(ErrorKind::Protocol), text)
            }
        };
        failure(cause, message)
    }
}

struct Turn<'a> {
    parts: &'a mut dyn Parts,
    control: &'a Control,
    tell: &'a dyn Fn(RunEvent),
    thoughts: bool,
    /// Members of what is said to the model.
    mark: Extra,
    account: Account,
    model: Option<ModelRef>,
}

impl Turn<'_> {
    /// What became of it, with everything that is known.
    fn end(self, stop: Result<StopReason, End>) -> Result<RunResult, Box<RunFailure>> {
        match stop {
            Ok(stop) => Ok(RunResult { account: self.account, stop_reason: stop.name() }),
            Err(end) => Err(Box::new(RunFailure { account: self.account, ..end.told(self.control) })),
        }
    }

    fn run(&mut self, prompts: Vec<Vec<Block>>) -> Result<StopReason, End> {
        for result in self.parts.brought_results() {
            self.append(Message::ToolResult(result))?;
        }
        self.hear(prompts)?;
        for _ in 0..limits::RUN_STEPS {
            let reply = self.step()?;
            let calls = calls_of(&reply.content);
            if calls.is_empty() {
                return Ok(reply.stop);
            }
            let (theirs, own): (Vec<ToolCall>, Vec<ToolCall>) =
                calls.into_iter().partition(|call| self.parts.is_clients(&call.name));
            if theirs.is_empty() {
                self.use_tools(&own, &mut |parts, control| parts.steering(control))?;
                continue;
            }
            // What a person says meanwhile waits: this run has no further answer for it.
            self.use_tools(&own, &mut |_, _| Vec::new())?;
            self.account.calls = theirs.into_iter().map(ToolCall::into_clients).collect();
            return Ok(if reply.stop == StopReason::Length { reply.stop } else { StopReason::ToolUse });
        }
        Err(End::TooManySteps)
    }

    /// One answer of the model, written down. A conversation that is too long is shortened once.
    fn step(&mut self) -> Result<ModelReply, End> {
        let mut compacted = false;
        loop {
            self.check()?;
            if !compacted && self.parts.is_crowded() {
                compacted = true;
                if self.make_room()? {
                    continue;
                }
            }
            let request = self.parts.request().map_err(End::Storage)?;
            let mut said = String::new();
            let answer = self.ask(&request, &mut said);
            let learnt = self.parts.learnt();
            if !learnt.is_empty() {
                (self.tell)(RunEvent::Learnt(learnt));
            }
            match answer {
                Ok(reply) => {
                    self.heard(&reply, &said)?;
                    return Ok(reply);
                }
                // what was told already would be told once more
                Err(error) if error.kind == ErrorKind::ContextOverflow && !compacted && !error.streamed => {
                    compacted = true;
                    if !self.make_room()? {
                        self.broken_off(&said, &error)?;
                        return Err(End::Model(error));
                    }
                }
                Err(error) => {
                    self.broken_off(&said, &error)?;
                    return Err(End::Model(error));
                }
            }
        }
    }

    fn check(&self) -> Result<(), End> {
        self.control.stopped().map_or(Ok(()), |reason| Err(End::Stopped(reason)))
    }

    fn ask(&mut self, request: &ModelRequest, said: &mut String) -> Result<ModelReply, ModelError> {
        let (tell, shown) = (self.tell, self.thoughts);
        let mut thoughts = Pieces::default();
        let answer = self.parts.ask(request, self.control, &mut |event| match event {
            ModelEvent::Text(text) => {
                said.push_str(&text);
                tell(RunEvent::Text(text));
            }
            ModelEvent::Thinking(thought) if shown => {
                thoughts.add(&thought, Instant::now()).into_iter().for_each(|piece| tell(RunEvent::Thought(piece)));
            }
            ModelEvent::Thinking(_) | ModelEvent::ToolCall { .. } => {}
        });
        thoughts.take(Instant::now()).into_iter().for_each(|piece| tell(RunEvent::Thought(piece)));
        answer
    }

    /// The model's answer goes into the transcript and out to clients. An answer that came in one piece has not been
    /// told yet.
    fn heard(&mut self, reply: &ModelReply, said: &str) -> Result<(), End> {
        let text = text_of(&reply.content);
        if said.is_empty() && !text.is_empty() {
            (self.tell)(RunEvent::Text(text.clone()));
        }
        self.account_for(reply, text);
        self.account.paid_by = self.parts.paid_by();
        self.append(Message::Assistant(AssistantMessage {
            content: reply.content.clone(),
            api: reply.api.to_string(),
            provider: reply.provider.clone(),
            model: reply.model.clone(),
            usage: reply.usage,
            stop_reason: reply.stop,
            timestamp: self.parts.now_ms(),
            ..AssistantMessage::default()
        }))?;
        (self.tell)(RunEvent::MessageEnd);
        Ok(())
    }

    fn account_for(&mut self, reply: &ModelReply, text: String) {
        let account = &mut self.account;
        if !text.trim().is_empty() {
            account.texts.push(text);
        }
        let thought = |block: &Block| match block {
            Block::Thinking { thinking, .. } => Some(thinking.trim().to_string()),
            _ => None,
        };
        account.thoughts.extend(reply.content.iter().filter_map(thought).filter(|thought| !thought.is_empty()));
        account.usage.add(&reply.usage);
        account.last_usage = reply.usage;
        account.context_window = self.parts.context_window();
        if let Some(id) = &reply.cli_session {
            account.cli_session = Some((reply.provider.clone(), id.clone()));
        }
        let model = ModelRef::new(reply.provider.as_str(), reply.model.as_str());
        if self.model.as_ref() != Some(&model) {
            self.model = Some(model.clone());
            (self.tell)(RunEvent::Model(model.clone()));
        }
        account.model = Some(model);
    }

    /// What was said before it broke off stays in the transcript, marked so that no model sees it again.
    fn broken_off(&mut self, text: &str, error: &ModelError) -> Result<(), End> {
        let stopped = self.control.stopped().is_some();
        if stopped && text.is_empty() {
            return Ok(());
        }
        let kept = text.get(..text.floor_char_boundary(limits::BROKEN_OFF_BYTES)).unwrap_or_default();
        let content = if kept.is_empty() { Vec::new() } else { vec![Block::text(kept)] };
        let model = self.parts.asked().unwrap_or_else(|| ModelRef::new("", ""));
        self.append(Message::Assistant(AssistantMessage {
            content,
            provider: model.provider,
            model: model.model,
            stop_reason: if stopped { StopReason::Aborted } else { StopReason::Error },
            error_message: (!stopped).then(|| error.message.clone()),
            timestamp: self.parts.now_ms(),
            ..AssistantMessage::default()
        }))
    }

    /// What a person says goes into the transcript.
    fn hear(&mut self, prompts: Vec<Vec<Block>>) -> Result<(), End> {
        for content in prompts {
            let timestamp = self.parts.now_ms();
            self.append(Message::User(UserMessage { content, timestamp, extra: self.mark.clone() }))?;
        }
        Ok(())
    }

    /// Every call gets a result, so that the transcript stays whole. A new word of the person comes before the calls
    /// that are left: they belong to a plan that may not hold any more.
    fn use_tools(&mut self, calls: &[ToolCall], steering: &mut Steering<'_>) -> Result<(), End> {
        let mut said = Vec::new();
        for call in calls {
            let answer = match self.control.stopped() {
                Some(_) => ToolAnswer::refused("the run was stopped before this tool was called"),
                None if !said.is_empty() => ToolAnswer::refused("skipped: the user has said something new"),
                None => self.use_tool(call),
            };
            if said.is_empty() && self.control.stopped().is_none() {
                said = steering(self.parts, self.control);
            }
            self.append(Message::ToolResult(ToolResultMessage {
                tool_call_id: call.id.clone(),
                tool_name: call.name.clone(),
                content: answer.content,
                details: answer.details,
                is_error: answer.is_error,
                timestamp: self.parts.now_ms(),
                ..ToolResultMessage::default()
            }))?;
        }
        self.hear(said)?;
        self.check()
    }

    fn use_tool(&mut self, call: &ToolCall) -> ToolAnswer {
        let tell = self.tell;
        tell(RunEvent::ToolStart(ToolStart {
            call: call.id.clone(),
            name: call.name.clone(),
            args: call.arguments.clone(),
        }));
        let answer = self.parts.use_tool(call, self.control, &mut |partial| {
            tell(RunEvent::ToolUpdate(ToolUpdate { call: call.id.clone(), name: call.name.clone(), partial }));
        });
        let mut result = json!({"content": answer.content});
        if let (Some(details), Some(members)) = (&answer.details, result.as_object_mut()) {
            members.insert("details".into(), details.clone());
        }
        tell(RunEvent::ToolEnd(ToolEnd {
            call: call.id.clone(),
            name: call.name.clone(),
            meta: answer.meta.clone(),
            is_error: answer.is_error,
            result,
        }));
        answer
    }

    /// The answer to a person who asked for a shorter conversation.
    fn shorten(&mut self, mind: Option<&str>) -> Result<StopReason, End> {
        let before = self.parts.context_tokens();
        let text = match self.compact(mind)? {
            Some(how) => {
                let after = self.parts.context_tokens();
                self.account.shortened_to = Some(after);
                format!("{} About {after} tokens instead of {before}.", how.told())
            }
            None => "There is nothing to summarise yet.".to_string(),
        };
        (self.tell)(RunEvent::Text(text.clone()));
        self.append(made::message(&text, made::Cause::Injected, self.parts.now_ms()))?;
        (self.tell)(RunEvent::MessageEnd);
        self.account.texts.push(text);
        Ok(StopReason::Stop)
    }

    /// Makes room for the next call; false when there is none to be made. That something was lost is said at once.
    fn make_room(&mut self) -> Result<bool, End> {
        let Some(how) = self.compact(None)? else { return Ok(false) };
        if how != Shortened::Summarised {
            (self.tell)(RunEvent::Text(how.told()));
            (self.tell)(RunEvent::MessageEnd);
            self.account.texts.push(how.told());
        }
        Ok(true)
    }

    fn compact(&mut self, mind: Option<&str>) -> Result<Option<Shortened>, End> {
        (self.tell)(RunEvent::Compaction { done: false, completed: false });
        let outcome = self.parts.compact(mind, self.control);
        let completed = matches!(outcome, Ok(Some(_)));
        (self.tell)(RunEvent::Compaction { done: true, completed });
        self.account.compactions += u64::from(completed);
        self.account.usage.add(&self.parts.spent());
        outcome.map_err(End::Model)
    }

    fn append(&mut self, message: Message) -> Result<(), End> {
        let id = self.parts.append(&message).map_err(End::Storage)?;
        let message = serde_json::to_value(&message).unwrap_or(Value::Null);
        (self.tell)(RunEvent::Appended { id, message });
        Ok(())
    }
}

/// Answers what the gateway asks in a person's place; the transcript says so.
pub(super) fn look_around(
    parts: &mut dyn Parts,
    prompts: Vec<Vec<Block>>,
    control: &Control,
    tell: &dyn Fn(RunEvent),
) -> Result<RunResult, Box<RunFailure>> {
    let mark = heartbeat::mark();
    let mut turn = Turn { parts, control, tell, thoughts: false, mark, account: Account::default(), model: None };
    let stop = turn.run(prompts);
    turn.end(stop)
}

impl Shortened {
    /// For people.
    fn told(&self) -> String {
        match self {
            Shortened::Summarised => "The conversation is summarised.".to_string(),
            Shortened::Dropped(count) => format!(
                "The model could not summarise the conversation: {count} older messages were dropped, and it does not \
                 know any more what they said."
            ),
        }
    }
}

impl ToolAnswer {
    /// A refusal the model can read.
    pub fn refused(text: &str) -> ToolAnswer {
        ToolAnswer { content: vec![Block::text(text)], details: None, is_error: true, meta: String::new() }
    }
}

fn calls_of(content: &[Block]) -> Vec<ToolCall> {
    let call = |block: &Block| match block {
        Block::ToolCall { id, name, arguments, .. } => {
            Some(ToolCall { id: id.clone(), name: name.clone(), arguments: arguments.clone() })
        }
        _ => None,
    };
    content.iter().filter_map(call).collect()
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
