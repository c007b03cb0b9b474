//! What a request for embeddings needs of the state, and what its failure is to a program. Pure; the request itself is
//! served in `conn::program`.

use std::sync::Arc;

use super::failure::of_error;
use super::target::{Aim, aimed_agent};
use crate::agent::model::failover::{Change, Cooldowns};
use crate::agent::model::{ErrorKind, ModelError, ModelRef};
use crate::config::env::Env;
use crate::config::model::Config;
use crate::config::paths::Paths;
use crate::gateway::event::Effect;
use crate::gateway::health::millis;
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

/// A provider's failure, as programs are told of a run's.
pub fn failure(error: &ModelError) -> Reply {
    // without an answer of the provider it is a key that is missing here, and not the program's
    let missing = error.kind == ErrorKind::Auth && error.status.is_none();
    let kind = if missing { ErrorKind::NotConfigured } else { error.kind };
    let wait = error.retry_after.map(|wait| millis(wait).div_ceil(1000));
    of_error(kind, error.status, &error.message, wait).reply()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_key_that_is_missing_here_is_no_wrong_key_of_the_program() {
        let told = |status| failure(&ModelError { status, ..ModelError::new(ErrorKind::Auth, "why") }).status();
        assert_eq!((told(None), told(Some(401)), told(Some(403))), (500, 401, 403));
        let wait = Some(Duration::from_millis(1001));
        let slow = failure(&ModelError { retry_after: wait, ..ModelError::new(ErrorKind::RateLimit, "") });
        assert_eq!((slow.status(), slow.header_value("retry-after")), (429, Some("2")));
    }
}
