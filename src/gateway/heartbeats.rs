//! Heartbeats: turns the gateway starts by itself so that an agent looks around. Decides with `session::heartbeat` when
//! one is due, starts it like any other run, and tells how it ended. Reads no file and no clock.

use serde_json::Value;

use super::event::{Effect, Timer};
use super::state::State;
use crate::limits;
use crate::sys::clock::Now;
use crate::sys::table::Table;
use std::time::Duration;

/// When an agent looks at what waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Soon; several within a moment make one run.
    Now,
    /// With its next heartbeat.
    NextHeartbeat,
}

/// Heartbeats of all agents.
pub struct Heartbeats {
    /// Whether heartbeats run at all; clients may change it for the life of the process.
    pub enabled: bool,
    /// The last heartbeat event.
    pub last: Option<Value>,
    /// Agents somebody wants to run soon: why, and from when on.
    wakes: Table<String, (String, Duration)>,
}

impl Default for Heartbeats {
    fn default() -> Heartbeats {
        Heartbeats { enabled: true, last: None, wakes: Table::new() }
    }
}

impl State {
    /// Asks for a heartbeat of an agent.
    pub fn wake(&mut self, agent: &str, mode: Wake, reason: &str, now: Now, fx: &mut Vec<Effect>) {
        if mode == Wake::NextHeartbeat || self.stopping {
            return;
        }
        let at = now.mono + limits::HEARTBEAT_COALESCE;
        self.heartbeats.wakes.get_or_insert_with(agent.to_string(), || (reason.to_string(), at));
        fx.push(Effect::Timer(limits::HEARTBEAT_COALESCE, Timer::Heartbeat));
    }

    /// A heartbeat may be due.
    pub fn heartbeats_due(&mut self, now: Now, _fx: &mut Vec<Effect>) {
        self.heartbeats.wakes.retain(|agent, (reason, at)| {
            let waits = *at > now.mono;
            if !waits {
                log::info!(target: "gateway/heartbeat", "woken agent={agent} reason={reason}");
            }
            waits
        });
    }
}
