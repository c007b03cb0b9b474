//! What a run's events become on the wire: `agent` for everyone, throttled `chat`, tool events for the
//! one who started the run, mirrors for subscribers (agent.md 4, 5; protocol.md 9). Shapes and sends only.

use serde::Serialize;
use serde_json::Value;

use super::said::Due;
use super::{Run, RunNo, Verbose};
use crate::agent::run::{ToolEnd, ToolStart, ToolUpdate};
use crate::gateway::broadcast::Reach;
use crate::gateway::event::{Class, ConnId, Effect, Timer};
use crate::gateway::state::State;
use crate::protocol::defs::CAP_TOOL_EVENTS;
use crate::sys::clock::Now;

/// Payload of an `agent` event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AgentEvent<'a, D: Serialize> {
    run_id: &'a str,
    stream: &'static str,
    data: D,
    session_key: &'a str,
    session_id: &'a str,
    agent_id: &'a str,
    seq: u64,
    ts: u64,
}

#[derive(Serialize)]
struct Assistant<'a> {
    text: &'a str,
    delta: &'a str,
}

/// Payload of a `chat` event; absent members are left out.
#[derive(Serialize, Default, Clone, Copy)]
#[serde(rename_all = "camelCase")]
struct ChatEvent<'a> {
    run_id: &'a str,
    session_key: &'a str,
    agent_id: &'a str,
    seq: u64,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta_text: Option<&'a str>,
    #[serde(skip_serializing_if = "is_false")]
    replace: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<ChatMessage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_kind: Option<&'a str>,
}

#[derive(Serialize, Clone, Copy)]
struct ChatMessage<'a> {
    role: &'static str,
    content: [ChatText<'a>; 1],
    timestamp: u64,
}

#[derive(Serialize, Clone, Copy)]
struct ChatText<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: &'a str,
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

fn chat_message(text: &str, now_ms: u64) -> ChatMessage<'_> {
    ChatMessage { role: "assistant", content: [ChatText { kind: "text", text }], timestamp: now_ms }
}

/// Serialising these shapes cannot fail: no maps with odd keys, no numbers out of range.
fn text_of<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn agent_event<D: Serialize>(run: &mut Run, stream: &'static str, data: D, now: Now) -> String {
    let seq = run.said.next_seq();
    text_of(&AgentEvent {
        run_id: &run.id,
        stream,
        data,
        session_key: &run.session_key,
        session_id: &run.session_id,
        agent_id: &run.agent_id,
        seq,
        ts: now.wall_ms,
    })
}

/// How a run's last `chat` event reads.
pub enum ChatEnd<'a> {
    /// The whole answer.
    Final {
        /// Its text; nothing to show when empty.
        text: &'a str,
        /// Why the model stopped.
        stop_reason: &'a str,
    },
    /// Somebody stopped it, or its time was over.
    Aborted {
        /// Who or what.
        reason: &'a str,
        /// More for people.
        message: Option<&'a str>,
    },
    /// It failed.
    Error {
        /// What went wrong.
        message: &'a str,
        /// What kind of trouble.
        kind: &'a str,
    },
}

impl State {
    /// A lifecycle event for everyone.
    pub fn tell_lifecycle(&mut self, no: RunNo, data: &Value, now: Now, fx: &mut Vec<Effect>) {
        self.tell_stream(no, "lifecycle", data, now, fx);
    }

    /// An event of any stream that everyone sees.
    pub fn tell_stream(&mut self, no: RunNo, stream: &'static str, data: &Value, now: Now, fx: &mut Vec<Effect>) {
        let Some(run) = self.runs.get_mut(no) else { return };
        let payload = agent_event(run, stream, data, now);
        self.broadcast_raw("agent", &payload, fx);
    }

    /// What was thought and not told yet.
    pub fn tell_thought(&mut self, no: RunNo, now: Now, fx: &mut Vec<Effect>) {
        let Some(run) = self.runs.get_mut(no) else { return };
        let Some((delta, text)) = run.said.show_thought() else { return };
        let data = json!({"text": text, "delta": delta});
        self.tell_stream(no, "thinking", &data, now, fx);
    }

    /// More of the assistant's text: as `agent` event unless they come too fast, and as `chat` delta when one is due.
    pub fn tell_text(&mut self, no: RunNo, delta: &str, now: Now, fx: &mut Vec<Effect>) {
        self.tell_thought(no, now, fx);
        let Some(run) = self.runs.get_mut(no) else { return };
        run.said.add(delta);
        if run.is_heartbeat() || run.said.is_hidden(false) {
            return;
        }
        let (due, paid) = (run.said.due(now.mono), run.said.may_show(now.mono));
        self.feed_text(no, fx);
        match due {
            Due::Now => self.tell_said(no, now, fx),
            Due::After(wait) => fx.push(Effect::Timer(wait, Timer::ChatDelta(no))),
            Due::Waiting => {}
        }
        if paid {
            self.tell_piece(no, now, fx);
        }
    }

    /// Everything said and not told yet, in both forms.
    pub fn tell_said(&mut self, no: RunNo, now: Now, fx: &mut Vec<Effect>) {
        self.tell_piece(no, now, fx);
        self.tell_chat_delta(no, now, fx);
    }

    /// A message is complete: what was held back for its first letters goes out, unless it is silence.
    pub fn tell_message_end(&mut self, no: RunNo, now: Now, fx: &mut Vec<Effect>) {
        self.tell_thought(no, now, fx);
        let Some(run) = self.runs.get_mut(no) else { return };
        if !run.is_heartbeat() && !run.said.is_hidden(true) {
            self.feed_text(no, fx);
            self.tell_said(no, now, fx);
        }
        if let Some(run) = self.runs.get_mut(no) {
            run.said.next_message();
        }
    }

    fn tell_piece(&mut self, no: RunNo, now: Now, fx: &mut Vec<Effect>) {
        let Some(run) = self.runs.get_mut(no).filter(|run| run.said.has_more()) else { return };
        let seq = run.said.next_seq();
        let (delta, text) = run.said.show();
        // The whole text is written out each time: not for nobody.
        if self.conns.is_empty() {
            return;
        }
        let payload = text_of(&AgentEvent {
            run_id: &run.id,
            stream: "assistant",
            data: Assistant { text, delta },
            session_key: &run.session_key,
            session_id: &run.session_id,
            agent_id: &run.agent_id,
            seq,
            ts: now.wall_ms,
        });
        self.broadcast_raw("agent", &payload, fx);
    }

    /// The chat delta of everything said since the last one, if there is anything.
    fn tell_chat_delta(&mut self, no: RunNo, now: Now, fx: &mut Vec<Effect>) {
        let Some(run) = self.runs.get_mut(no) else { return };
        let seq = run.said.seq();
        let Some(delta) = run.said.take(now.mono) else { return };
        if self.conns.is_empty() {
            return;
        }
        let payload = text_of(&ChatEvent {
            run_id: &run.id,
            session_key: &run.session_key,
            agent_id: &run.agent_id,
            seq,
            state: "delta",
            delta_text: Some(delta.added),
            replace: delta.replace,
            message: Some(chat_message(delta.whole, now.wall_ms)),
            ..ChatEvent::default()
        });
        // A slow client misses deltas; the final event has everything.
        self.broadcast_as("chat", &payload, Class::Droppable, fx);
    }

    /// The run's last `chat` event.
    pub fn tell_chat_end(&mut self, no: RunNo, end: &ChatEnd<'_>, now: Now, fx: &mut Vec<Effect>) {
        let Some(run) = self.runs.get(no).filter(|run| !run.is_heartbeat()) else { return };
        let bare = ChatEvent {
            run_id: &run.id,
            session_key: &run.session_key,
            agent_id: &run.agent_id,
            seq: run.said.seq(),
            ..ChatEvent::default()
        };
        let event = match end {
            ChatEnd::Final { text, stop_reason } => ChatEvent {
                state: "final",
                message: (!text.is_empty()).then(|| chat_message(text, now.wall_ms)),
                stop_reason: Some(stop_reason),
                ..bare
            },
            ChatEnd::Aborted { reason, message } => {
                ChatEvent { state: "aborted", stop_reason: Some(reason), error_message: *message, ..bare }
            }
            ChatEnd::Error { message, kind } => {
                ChatEvent { state: "error", error_message: Some(message), error_kind: Some(kind), ..bare }
            }
        };
        // The answer is shown once; of the other messages clients learn that nothing more will come.
        let others = run.joined.iter().map(|joined| text_of(&ChatEvent { run_id: &joined.id, message: None, ..event }));
        let payloads: Vec<String> = std::iter::once(text_of(&event)).chain(others).collect();
        for payload in payloads {
            self.broadcast_raw("chat", &payload, fx);
        }
    }

    /// One message of a run that waits was taken away.
    pub fn tell_chat_aborted(&mut self, run_id: &str, key: &str, agent: &str, reason: &str, fx: &mut Vec<Effect>) {
        let payload = text_of(&ChatEvent {
            run_id,
            session_key: key,
            agent_id: agent,
            seq: 1,
            state: "aborted",
            stop_reason: Some(reason),
            ..ChatEvent::default()
        });
        self.broadcast_raw("chat", &payload, fx);
    }

    /// A `chat` event that belongs to no run: an answer of the gateway itself, or an injected message.
    pub fn tell_chat_note(
        &mut self,
        key: &str,
        agent: &str,
        run_id: &str,
        seq: u64,
        message: Value,
        fx: &mut Vec<Effect>,
    ) {
        let mut payload = json!({
            "runId": run_id, "sessionKey": key, "agentId": agent, "seq": seq, "state": "final", "stopReason": "stop",
        });
        if let Some(members) = payload.as_object_mut().filter(|_| !message.is_null()) {
            members.insert("message".into(), message);
        }
        self.broadcast("chat", &payload, fx);
    }

    /// A tool begins.
    pub fn tell_tool_start(&mut self, no: RunNo, start: ToolStart, now: Now, fx: &mut Vec<Effect>) {
        let data = json!({"phase": "start", "name": start.name, "toolCallId": start.call, "args": start.args});
        self.tell_tool(no, data, now, fx);
    }

    /// A tool shows something.
    pub fn tell_tool_update(&mut self, no: RunNo, update: ToolUpdate, now: Now, fx: &mut Vec<Effect>) {
        let data =
            json!({"phase": "update", "name": update.name, "toolCallId": update.call, "partialResult": update.partial});
        self.tell_tool(no, data, now, fx);
    }

    /// A tool is done.
    pub fn tell_tool_end(&mut self, no: RunNo, end: ToolEnd, now: Now, fx: &mut Vec<Effect>) {
        let data = json!({
            "phase": "result", "name": end.name, "toolCallId": end.call, "meta": end.meta,
            "isError": end.is_error, "result": end.result,
        });
        self.tell_tool(no, data, now, fx);
    }

    /// Tool events go to the connection that started the run, if it asked for them and the session shows
    /// them, and whole to those who follow the session.
    fn tell_tool(&mut self, no: RunNo, data: Value, now: Now, fx: &mut Vec<Effect>) {
        let Some(run) = self.runs.get_mut(no) else { return };
        let (verbose, conn, key) = (run.verbose, run.conn, run.session_key.clone());
        let payload = agent_event(run, "tool", &data, now);
        let starter = conn.filter(|conn| verbose != Verbose::Off && self.wants_tools(*conn));
        if let Some(conn) = starter {
            let shown = if verbose == Verbose::Full { payload.clone() } else { shortened(&payload) };
            self.tell(&[conn], "agent", &shown, Reach::Targeted, fx);
        }
        let followers = self.followers(&key);
        if !followers.is_empty() {
            self.tell(&followers, "session.tool", &payload, Reach::Numbered, fx);
        }
    }

    fn wants_tools(&self, conn: ConnId) -> bool {
        self.session(conn).is_some_and(|session| session.caps.iter().any(|cap| cap == CAP_TOOL_EVENTS))
    }
}

/// The same event without results, for the middle level of verbosity.
fn shortened(payload: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(payload) else { return payload.to_string() };
    if let Some(data) = value.get_mut("data").and_then(Value::as_object_mut) {
        data.remove("result");
        data.remove("partialResult");
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortened_tool_event_has_no_results() {
        let full = json!({"data": {"phase": "result", "result": {"content": []}, "meta": "ls"}}).to_string();
        assert_eq!(shortened(&full), json!({"data": {"phase": "result", "meta": "ls"}}).to_string());
    }

    #[test]
    fn chat_events_leave_absent_members_out() {
        let event = ChatEvent {
            run_id: "r",
            session_key: "k",
            agent_id: "a",
            seq: 1,
            state: "aborted",
            stop_reason: Some("rpc"),
            ..ChatEvent::default()
        };
        assert_eq!(
            text_of(&event),
            r#"{"runId":"r","sessionKey":"k","agentId":"a","seq":1,"state":"aborted","stopReason":"rpc"}"#
        );
    }
}
