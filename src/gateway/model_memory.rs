//! What turns have learnt about models, for the turns after them: accounts that pause, a model server found on this
//! machine, who paid. Lives with the process; what belongs to a profile goes into the profiles file as well.

use std::time::Duration;

use super::disk::{Job, Then};
use super::event::Effect;
use super::state::State;
use crate::agent::model::discover::Found;
use crate::agent::model::failover::{Change, Cooldowns};
use crate::agent::model::keys::Noted;
use crate::limits;
use crate::sys::clock::Now;
use crate::sys::table::Table;

/// The memory.
#[derive(Default)]
pub struct ModelMemory {
    /// Accounts that pause.
    pub cooldowns: Cooldowns,
    /// Who paid for the last answer of each provider, for `/status`.
    pub paid_by: Table<String, String>,
    /// When the profiles file was last told that an account was used.
    used_ms: Table<String, u64>,
    found: Option<(Found, Duration)>,
}

impl ModelMemory {
    /// The server found on this machine, unless that is too long ago.
    pub fn found(&self, now: Duration) -> Option<&Found> {
        let fresh = |at: Duration| now.saturating_sub(at) < limits::DISCOVERY_AGE;
        self.found.as_ref().filter(|(_, at)| fresh(*at)).map(|(found, _)| found)
    }

    /// The one found last, for people to see.
    pub fn last_found(&self) -> Option<&Found> {
        self.found.as_ref().map(|(found, _)| found)
    }

    /// One was found.
    pub fn remember(&mut self, found: Found, now: Duration) {
        self.found = Some((found, now));
    }

    /// It does not answer any more: the next turn looks again.
    pub fn forget(&mut self) {
        self.found = None;
    }

    /// Enters a change; whether the profiles file should have it, too. That an account works is not written down again
    /// and again.
    fn enter(&mut self, change: &Change, now_ms: u64) -> bool {
        let paused = self.cooldowns.apply(change);
        let often = millis_between(self.used_ms.get(&change.account), now_ms) < limits::PROFILE_USED_MS;
        if change.noted == Noted::Used && often && !paused {
            return false;
        }
        self.used_ms.insert(change.account.clone(), now_ms);
        true
    }
}

fn millis_between(since: Option<&u64>, now_ms: u64) -> u64 {
    since.map_or(u64::MAX, |since| now_ms.saturating_sub(*since))
}

impl State {
    /// A run has learnt something about accounts.
    pub fn learnt(&mut self, agent: &str, changes: Vec<Change>, now: Now, fx: &mut Vec<Effect>) {
        for change in &changes {
            if let Noted::CoolsUntil(until_ms) | Noted::DisabledUntil(until_ms) = change.noted {
                let seconds = until_ms.saturating_sub(now.wall_ms).div_ceil(1000);
                log::warn!(target: "agent", "account pauses account={} seconds={seconds}", change.account);
            }
        }
        let memory = &mut self.models;
        let written: Vec<Change> = changes.into_iter().filter(|change| memory.enter(change, now.wall_ms)).collect();
        // Only ids of profiles have a colon; keys of the environment and the configuration have no file.
        let written: Vec<Change> = written.into_iter().filter(|change| change.account.contains(':')).collect();
        if !written.is_empty() {
            let path = self.facts.paths.auth_profiles(agent);
            fx.push(Effect::Disk(Job::Profiles(path, written, now.wall_ms), Then::Nothing));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(noted: Noted) -> Change {
        Change { account: "p:a".into(), noted }
    }

    #[test]
    fn pauses_last_across_runs_and_end_with_an_answer() {
        let mut memory = ModelMemory::default();
        assert!(memory.enter(&change(Noted::CoolsUntil(5000)), 1000));
        assert_eq!(memory.cooldowns.until("p:a", 1000), Some(5000));
        assert!(memory.enter(&change(Noted::Used), 2000), "the file must hear that the pause is over");
        assert_eq!(memory.cooldowns.until("p:a", 1000), None);
        assert!(!memory.enter(&change(Noted::Used), 3000));
        assert!(memory.enter(&change(Noted::Used), 2000 + limits::PROFILE_USED_MS));
    }

    #[test]
    fn a_found_server_is_remembered_for_a_while() {
        let mut memory = ModelMemory::default();
        memory.remember(Found::default(), Duration::from_secs(10));
        assert!(memory.found(Duration::from_secs(11)).is_some());
        assert!(memory.found(Duration::from_secs(10) + limits::DISCOVERY_AGE).is_none());
        memory.forget();
        assert!(memory.found(Duration::from_secs(11)).is_none());
    }
}
