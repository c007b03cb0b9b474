//! A changed configuration takes effect: the part of it that turns read is taken over while the gateway runs; ports,
//! secrets of the start and the log keep what they were started with.

use std::sync::Arc;

use super::disk::{Job, Then, Waiting};
use super::event::Effect;
use super::roster::{Renewal, Renewed, Wanted};
use super::state::State;
use crate::agent::http;
use crate::config::load::Snapshot;
use crate::protocol::errors::WireError;
use crate::sys::clock::Now;

impl State {
    /// Has the configuration changed or read; the answer comes when it is in force.
    pub fn renew(&mut self, wanted: Wanted, waiting: Waiting, fx: &mut Vec<Effect>) -> Result<(), WireError> {
        self.read_begins(waiting.conn)?;
        let known = self.sessions.indexes().map(|(agent, _)| agent.to_string()).collect();
        let then = if matches!(wanted, Wanted::Reread) { Then::SecretsReload(waiting) } else { Then::Renew(waiting) };
        fx.push(Effect::Disk(Job::Renew(Box::new(Renewal { wanted, known })), then));
        Ok(())
    }

    /// Takes over what the disk thread made of it.
    pub fn renewed(&mut self, renewed: Renewed, now: Now, fx: &mut Vec<Effect>) {
        let Renewed { snapshot, shelves, .. } = renewed;
        self.adopt(snapshot);
        self.hooks_in_force(fx);
        self.sessions.keep(|agent| self.config.agents.find(agent).is_some());
        self.sessions.fill(shelves);
        self.plan_heartbeats(now, fx);
        self.refresh_health(now, fx);
        self.start_due_runs(now, fx);
        self.cron_renewed(now, fx);
    }

    fn adopt(&mut self, snapshot: Snapshot) {
        if self.config.raw.get("gateway") != snapshot.config.raw.get("gateway") {
            log::warn!(target: "config", "gateway.* has changed; it takes effect at the next start");
        }
        self.config = Arc::new(self.config.with_turns_of(&snapshot.config));
        self.config_warnings = snapshot.warnings.len();
        self.facts.http = http::Settings::new(&snapshot.env, None);
        self.facts.env = Arc::new(snapshot.env);
        self.runs.set_cap(self.config.agents.defaults.max_concurrent);
        log::info!(target: "config", "configuration in force agents={}", self.config.agents.resolved().len());
    }
}
