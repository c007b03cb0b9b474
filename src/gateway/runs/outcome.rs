//! How a run ended, as clients are told: the second answer, the last lifecycle event, the error (agent.md 2, 4, 7).
//! Pure shapes; sends nothing.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{Dress, Run};
use crate::agent::control::AbortReason;
use crate::agent::run::{Account, Cause, RunFailure, RunResult};
use crate::gateway::health::millis;
use crate::protocol::errors::{Code, WireError};
use crate::session::{prompt, reply};

/// How a run ended.
pub struct Outcome {
    /// What is known of it.
    pub account: Account,
    /// Why the model stopped.
    pub stop_reason: &'static str,
    failure: Option<Failure>,
}

struct Failure {
    cause: Cause,
    message: String,
    retry_after: Option<Duration>,
    status: Option<u16>,
}

impl Outcome {
    /// It ended well.
    pub fn ok(result: RunResult) -> Outcome {
        Outcome { account: result.account, stop_reason: result.stop_reason, failure: None }
    }

    /// It failed or was stopped.
    pub fn failed(failure: RunFailure) -> Outcome {
        let RunFailure { account, cause, message, retry_after, status } = failure;
        Outcome { account, stop_reason: cause.name(), failure: Some(Failure { cause, message, retry_after, status }) }
    }

    /// It was stopped while it waited.
    pub fn never_started(reason: AbortReason) -> Outcome {
        let cause = Cause::Stopped(reason);
        let (message, retry_after, status) = (String::new(), None, None);
        Outcome::failed(RunFailure { account: Account::default(), cause, message, retry_after, status })
    }

    /// Why it was stopped, if it was.
    pub fn stopped(&self) -> Option<AbortReason> {
        match self.failure.as_ref()?.cause {
            Cause::Stopped(reason) => Some(reason),
            _ => None,
        }
    }

    /// Why it failed, if it did.
    pub fn cause(&self) -> Option<Cause> {
        self.failure.as_ref().map(|failure| failure.cause)
    }

    /// The provider's HTTP status, if it failed with one.
    pub fn status(&self) -> Option<u16> {
        self.failure.as_ref()?.status
    }

    /// The texts for people, one for each message.
    pub fn texts(&self, run: &Run) -> Vec<String> {
        let spoken = self.account.texts.iter().filter(|text| prompt::spoken(text).is_some()).cloned();
        let mut texts: Vec<String> = self.thoughts(&run.dress).into_iter().chain(spoken).collect();
        if let (Some(last), Some(footer)) = (texts.last_mut(), self.footer(&run.dress)) {
            last.push_str("\n\n");
            last.push_str(&footer);
        }
        texts
    }

    /// Whether a person, or something a person did, ended it.
    pub fn stopped_by_person(&self) -> bool {
        self.stopped().is_some_and(|reason| !matches!(reason, AbortReason::Timeout))
    }

    /// One word for the log.
    pub fn name(&self) -> &'static str {
        self.failure.as_ref().map_or("ok", |failure| failure.cause.name())
    }

    /// `errorKind` of the chat event.
    pub fn chat_kind(&self) -> &'static str {
        self.failure.as_ref().map_or("unknown", |failure| failure.cause.chat_kind())
    }

    /// The text a chat window shows at the end.
    pub fn text(&self, dress: &Dress) -> String {
        match self.account.texts.last().and_then(|text| prompt::spoken(text)) {
            Some(text) => [self.thoughts(dress), Some(text.to_string()), self.footer(dress)]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("\n\n"),
            None => String::new(),
        }
    }

    fn thoughts(&self, dress: &Dress) -> Option<String> {
        let shown = dress.thoughts && !self.account.thoughts.is_empty();
        shown.then(|| format!("Reasoning:\n{}", self.account.thoughts.join("\n\n")))
    }

    fn footer(&self, dress: &Dress) -> Option<String> {
        let usage = &self.account.usage;
        reply::footer(&dress.usage, usage.prompt_tokens(), usage.output, usage.cost.total)
            .filter(|_| self.account.model.is_some())
    }

    /// The error the asker gets, if it failed.
    pub fn error(&self, run: &Run) -> Option<WireError> {
        let failure = self.failure.as_ref()?;
        let (code, message) = match failure.cause {
            Cause::Stopped(AbortReason::Timeout) => (Code::AgentTimeout, self.timeout_text()),
            Cause::Stopped(AbortReason::Shutdown) => (Code::Unavailable, "the gateway is stopping".to_string()),
            Cause::Stopped(reason) => (Code::Unavailable, format!("run aborted ({})", reason.name())),
            _ => (Code::Unavailable, failure.message.clone()),
        };
        Some(WireError {
            retryable: Some(failure.cause.retryable()),
            retry_after_ms: failure.retry_after.map(millis),
            details: Some(json!({"reason": failure.cause.name(), "runId": run.id})),
            ..WireError::new(code, message)
        })
    }

    fn timeout_text(&self) -> String {
        let seconds = self.account.took.as_secs_f64();
        match seconds {
            short if short < 10.0 => format!("agent timed out after {short:.1}s"),
            long => format!("agent timed out after {long:.0}s"),
        }
    }

    /// Data of the last lifecycle event.
    pub fn lifecycle(&self, started_ms: Option<u64>, now_ms: u64) -> Value {
        let mut data = Map::new();
        let failed = self.failure.as_ref().filter(|_| self.stopped().is_none());
        data.insert("phase".into(), if failed.is_some() { "error" } else { "end" }.into());
        if let Some(failure) = failed {
            data.insert("error".into(), failure.message.as_str().into());
        }
        data.extend(started_ms.map(|at| ("startedAt".to_string(), at.into())));
        data.insert("endedAt".into(), now_ms.into());
        data.insert("stopReason".into(), self.stop_reason.into());
        data.insert("aborted".into(), self.stopped().is_some().into());
        Value::Object(data)
    }

    /// The second answer of a run that ended well.
    pub fn answer(&self, run: &Run) -> Value {
        let payloads: Vec<Value> = self.texts(run).iter().map(|text| json!({"text": text, "mediaUrl": null})).collect();
        let mut result = json!({"payloads": payloads, "meta": self.meta(run)});
        if let (Some(reason), Some(members)) = (run.undelivered, result.as_object_mut()) {
            let status = json!({
                "requested": true, "attempted": false, "status": "failed", "succeeded": false, "error": true, "reason": reason,
            });
            members.insert("deliveryStatus".into(), status);
        }
        json!({"runId": run.id, "status": "ok", "summary": "completed", "result": result})
    }

    fn meta(&self, run: &Run) -> Value {
        let mut agent = Map::new();
        agent.insert("sessionId".into(), run.session_id.as_str().into());
        if let Some(model) = &self.account.model {
            agent.insert("provider".into(), model.provider.as_str().into());
            agent.insert("model".into(), model.model.as_str().into());
        }
        agent.insert("usage".into(), self.usage());
        json!({"durationMs": millis(self.account.took), "agentMeta": agent, "aborted": false})
    }

    /// Cached tokens only where there are any, as protocol 3 has it.
    fn usage(&self) -> Value {
        let usage = &self.account.usage;
        let mut row = Map::new();
        let members = [
            ("input", usage.input),
            ("output", usage.output),
            ("cacheRead", usage.cache_read),
            ("cacheWrite", usage.cache_write),
        ];
        row.extend(members.into_iter().filter(|(_, n)| *n > 0).map(|(name, n)| (name.to_string(), n.into())));
        row.insert("total".into(), usage.total_tokens.into());
        Value::Object(row)
    }
}
