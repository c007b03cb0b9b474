//! The gateway as tools of a run see it: questions go into the state thread's queue, answers come back on a channel of
//! the run's thread. Lives on run threads; owns no state.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender};
use serde_json::Value;

use super::event::{Event, ToolReply};
use super::runs::RunNo;
use super::session_key::Place;
use crate::agent::control::Control;
use crate::agent::message::Block;
use crate::agent::tool::approval::pending::{Decision, Request};
use crate::agent::tool::desk::{Ask, Desk, DeskFault, Note, Waiting};
use crate::limits;
use crate::session::history;
use crate::store::transcript::Transcript;
use crate::sys::queue::{self, bounded};

/// What a run's tools want of the state thread.
#[derive(Debug)]
pub enum ToolAsk {
    /// A question about sessions.
    Ask(Ask),
    /// A command for which an operator is to be asked.
    Approve(Request),
    /// What the person said meanwhile.
    Steering,
}

/// On whose behalf a tool asks.
#[derive(Debug, Clone)]
pub enum Behalf {
    /// A run's.
    Run(RunNo),
    /// An HTTP program's, for this session.
    Place(Place),
}

/// The way to the gateway of one run, or of one call of a program.
pub struct RunDesk {
    by: Behalf,
    events: Sender<Event>,
}

impl RunDesk {
    /// A desk.
    pub fn new(by: Behalf, events: Sender<Event>) -> Arc<RunDesk> {
        Arc::new(RunDesk { by, events })
    }

    fn question(
        &self,
        ask: ToolAsk,
        control: &Control,
    ) -> Result<(ToolReply, queue::Receiver<Option<Decision>>), DeskFault> {
        let (reply, answer) = bounded(1);
        let (decide, decision) = bounded(1);
        let _stop = control.on_cancel({
            let reply = reply.clone();
            move || drop(reply.try_send(ToolReply::Refused(DeskFault::Silent)))
        });
        self.events.send(Event::Tool { by: self.by.clone(), ask, reply, decide }).map_err(|_| DeskFault::Silent)?;
        match answer.recv_timeout(control.at_most(limits::TOOL_ANSWER_MAX)) {
            Ok(reply) => Ok((reply, decision)),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(DeskFault::Silent),
        }
    }
}

impl Desk for RunDesk {
    fn ask(&self, question: Ask, control: &Control) -> Result<Value, DeskFault> {
        match self.question(ToolAsk::Ask(question), control)?.0 {
            ToolReply::Value(value) => Ok(value),
            ToolReply::Read { key, path, limit, include_tools } => {
                read(&key, path.as_deref(), limit, include_tools).map_err(DeskFault::Refused)
            }
            ToolReply::Frame(frame) => payload(&frame),
            ToolReply::Refused(fault) => Err(fault),
            ToolReply::Filed { .. } | ToolReply::Said(_) => Err(DeskFault::Silent),
        }
    }

    fn approve(&self, request: Request, control: &Control) -> Result<Waiting, DeskFault> {
        let step = control.step(limits::STATE_REPLY);
        match self.question(ToolAsk::Approve(request), &step)? {
            (ToolReply::Filed { id, expires_at_ms }, decision) => Ok(Waiting { id, expires_at_ms, decision }),
            (ToolReply::Refused(fault), _) => Err(fault),
            _ => Err(DeskFault::Silent),
        }
    }

    fn steering(&self, control: &Control) -> Vec<Vec<Block>> {
        // No deadline of its own: what the state thread has given away must not be lost on the way.
        match self.question(ToolAsk::Steering, control) {
            Ok((ToolReply::Said(said), _)) => said,
            _ => Vec::new(),
        }
    }

    fn tell(&self, note: Note) {
        // A note is worth a moment, not a stop of the run.
        let _ = self.events.send_timeout(Event::Note(note), Duration::from_millis(500));
    }
}

/// What a response says.
fn payload(frame: &[u8]) -> Result<Value, DeskFault> {
    let mut frame: Value = serde_json::from_slice(frame).map_err(|_| DeskFault::Silent)?;
    match frame.pointer("/error/message").and_then(Value::as_str) {
        Some(error) => Err(DeskFault::Refused(error.to_string())),
        None => Ok(frame.get_mut("payload").map(Value::take).unwrap_or_default()),
    }
}

/// A session's last messages, read on the run's own thread.
fn read(key: &str, path: Option<&std::path::Path>, limit: usize, include_tools: bool) -> Result<Value, String> {
    let ask = history::Ask { limit, offset: 0, bytes: limits::TOOL_RESULT_BYTES };
    let enough = |known: &Transcript| history::suffices(known, &ask);
    let read = path.map(|path| Transcript::read_for_client(path, enough)).transpose();
    let read = read.map_err(|error| format!("cannot read the transcript: {error}"))?.flatten();
    let page = read.map(|transcript| history::page(&transcript, &ask)).unwrap_or_default();
    let parsed = page.messages.iter().filter_map(|shown| serde_json::from_str::<Value>(&shown.json).ok());
    let wanted = |message: &Value| include_tools || message.get("role").and_then(Value::as_str) != Some("toolResult");
    let messages: Vec<Value> = parsed.filter(wanted).collect();
    let bytes: usize = messages.iter().map(|message| message.to_string().len()).sum();
    Ok(json!({
        "sessionKey": key,
        "messages": messages,
        "truncated": page.has_more,
        "droppedMessages": page.has_more,
        "contentTruncated": false,
        "bytes": bytes,
    }))
}
