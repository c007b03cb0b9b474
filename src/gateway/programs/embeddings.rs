//! What a request for embeddings needs of the state, and how a provider's failure is told to a program (http.md 6.6).
//! Pure; the request itself is served in `conn::program`.

use std::sync::Arc;

use super::target::{Aim, aimed_agent};
use crate::agent::model::failover::{Change, Cooldowns};
use crate::agent::model::{ErrorKind, ModelError, ModelRef};
use crate::config::env::Env;
use crate::config::model::Config;
use crate::config::paths::Paths;
use crate::gateway::event::Effect;
use crate::gateway::state::State;
use crate::http::reply::Reply;
use crate::sys::clock::Now;

/// What the state knows of the agent whose texts become vectors.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The agent.
    pub agent: String,
    /// The configuration.
    pub config: Arc<Config>,
    /// The environment.
    pub env: Arc<Env>,
    /// Where files are.
    pub paths: Paths,
    /// Accounts that pause.
    pub cooldowns: Cooldowns,
}

/// What came of a request.
#[derive(Debug)]
pub struct Report {
    /// The agent.
    pub agent: String,
    /// What was learnt about accounts.
    pub changes: Vec<Change>,
    /// Who answered and the tokens that were read, when there was an answer.
    pub used: Option<(ModelRef, u64)>,
}

impl State {
    /// The setting of the agent a request names, or the answer that there is no such agent.
    pub fn embedding_setting(&self, aim: &Aim) -> Result<Setting, Box<Reply>> {
        Ok(Setting {
            agent: aimed_agent(&self.config, aim)?,
            config: self.config.clone(),
            env: self.facts.env.clone(),
            paths: self.facts.paths.clone(),
            cooldowns: self.models.cooldowns.clone(),
        })
    }

    /// A request for embeddings is over.
    pub fn embedded(&mut self, report: Report, now: Now, fx: &mut Vec<Effect>) {
        if let Some((model, tokens)) = &report.used {
            self.metrics.embedded(model, *tokens);
        }
        self.learnt(&report.agent, report.changes, now, fx);
    }
}

/// A provider's failure: its own status where it has one, in the classes that clients branch on.
pub fn failure(error: &ModelError) -> Reply {
    let own = error.status.filter(|status| (400..600).contains(status));
    let (kind, usual) = match error.kind {
        ErrorKind::Auth if own == Some(403) => ("permission_error", 403),
        // without an answer of the provider it is a key that is missing here
        ErrorKind::Auth if own.is_none() => ("api_error", 500),
        ErrorKind::Auth => ("authentication_error", 401),
        ErrorKind::Format | ErrorKind::ContextOverflow => ("invalid_request_error", 400),
        ErrorKind::NotFound => ("invalid_request_error", 404),
        ErrorKind::RateLimit => ("rate_limit_error", 429),
        ErrorKind::Billing => ("insufficient_quota", 429),
        ErrorKind::Timeout => ("api_error", 504),
        ErrorKind::Overloaded => ("api_error", 503),
        ErrorKind::Server | ErrorKind::Network | ErrorKind::Protocol => ("api_error", 502),
        ErrorKind::Aborted => ("api_error", 503),
        ErrorKind::NotConfigured => ("api_error", 500),
    };
    let reply = Reply::error(own.unwrap_or(usual), &error.message, kind);
    match error.retry_after {
        Some(wait) => reply.header("Retry-After", wait.as_secs().max(1).to_string()),
        None => reply,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn told(kind: ErrorKind, status: Option<u16>) -> (u16, String) {
        let reply = failure(&ModelError { status, ..ModelError::new(kind, "why") });
        let body: Value = serde_json::from_slice(reply.body_bytes()).unwrap();
        assert_eq!(body["error"]["message"], "why");
        (reply.status(), body["error"]["type"].as_str().unwrap().to_string())
    }

    #[test]
    fn failures_keep_the_providers_status_and_name_their_class() {
        let rows = [
            (ErrorKind::Auth, Some(401), (401, "authentication_error")),
            (ErrorKind::Auth, Some(403), (403, "permission_error")),
            (ErrorKind::Auth, None, (500, "api_error")),
            (ErrorKind::RateLimit, Some(429), (429, "rate_limit_error")),
            (ErrorKind::Billing, Some(402), (402, "insufficient_quota")),
            (ErrorKind::ContextOverflow, Some(400), (400, "invalid_request_error")),
            (ErrorKind::NotFound, Some(404), (404, "invalid_request_error")),
            (ErrorKind::Server, Some(500), (500, "api_error")),
            // a redirect is no answer a client could use
            (ErrorKind::Format, Some(307), (400, "invalid_request_error")),
            (ErrorKind::Network, None, (502, "api_error")),
            (ErrorKind::Protocol, None, (502, "api_error")),
            (ErrorKind::Timeout, None, (504, "api_error")),
            (ErrorKind::NotConfigured, None, (500, "api_error")),
        ];
        for (kind, status, (code, name)) in rows {
            assert_eq!(told(kind, status), (code, name.to_string()), "{kind:?} {status:?}");
        }
        let wait = Some(std::time::Duration::from_millis(1));
        let slow = failure(&ModelError { retry_after: wait, ..ModelError::new(ErrorKind::RateLimit, "") });
        assert_eq!(slow.header_value("retry-after"), Some("1"));
    }
}
