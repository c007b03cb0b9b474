//! Old sessions let go by age and number (`session.maintenance`, agent.md 9): which ones is decided here, from the
//! indexes in memory; their files are the disk thread's. Nothing goes unless the configuration asks for it.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::PathBuf;

use super::disk::{Job, Then};
use super::event::Effect;
use super::state::State;
use crate::limits;
use crate::session::key::KeyRules;
use crate::session::retention::Keep;
use crate::session::settings::Settings;
use crate::store::session::archive;
use crate::store::session::retain::Retain;
use crate::sys::clock::Now;

impl State {
    /// Lets old sessions go, now and then.
    pub fn retain_sessions(&mut self, now: Now, fx: &mut Vec<Effect>) {
        let waits = self.retained.is_some_and(|last| now.mono.saturating_sub(last) < limits::SESSION_RETAIN);
        if waits || !self.sessions.ready || self.stopping {
            return;
        }
        self.retained = Some(now.mono);
        let keep = Settings::read(&self.config.raw).keep;
        if keep.age.is_none() && keep.count.is_none() {
            return;
        }
        let agents: Vec<String> = self.sessions.indexes().map(|(agent, _)| agent.to_string()).collect();
        let wishes: Vec<Retain> = agents.iter().filter_map(|agent| self.retain(agent, &keep, now)).collect();
        self.save_sessions(fx);
        if !wishes.is_empty() {
            fx.push(Effect::Disk(Job::Retain(wishes), Then::Nothing));
        }
    }

    /// Takes the sessions of an agent out of its index; what is to become of its folder.
    fn retain(&mut self, agent: &str, keep: &Keep, now: Now) -> Option<Retain> {
        let rules = KeyRules { default_agent: agent.to_string(), ..KeyRules::of(&self.config) };
        let store = self.config.session_store(&self.facts.paths, agent);
        let folder = store.parent()?.to_path_buf();
        let (_, index) = self.sessions.indexes().find(|(known, _)| *known == agent)?;
        let busy = |key: &str| self.runs.of_session(key).next().is_some();
        let going = keep.going(index, &rules, busy, now.wall_ms);
        let verb = if keep.warn_only { "would go" } else { "go" };
        if !going.is_empty() {
            log::info!(target: "agent", "{} old sessions {verb} agent={agent} (session.maintenance)", going.len());
        }
        if keep.warn_only {
            return None;
        }
        let mut gone: Vec<PathBuf> = Vec::new();
        if !going.is_empty() {
            let index = self.sessions.open(agent, || store.clone()).ok()?;
            for session in &going {
                gone.extend(index.remove(&session.key).and_then(|entry| archive::transcript(&folder, &entry)));
            }
        }
        let (_, index) = self.sessions.indexes().find(|(known, _)| *known == agent)?;
        let files = index.iter().filter_map(|(_, entry)| archive::transcript(&folder, entry));
        let named: HashSet<OsString> = files.filter_map(|path| path.file_name().map(OsString::from)).collect();
        // Two keys may share a transcript.
        gone.retain(|path| path.file_name().is_some_and(|name| !named.contains(name)));
        Some(Retain { folder, gone, named, age: keep.age, now_ms: now.wall_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::event::Timer;
    use crate::gateway::script::Script;
    use crate::gateway::sessions::Shelf;
    use crate::store::sessions::Index;
    use std::sync::Arc;

    fn keys(script: &Script) -> Vec<String> {
        script.state.sessions.indexes().flat_map(|(_, index)| index.iter().map(|(key, _)| key.to_string())).collect()
    }

    fn gateway(maintenance: serde_json::Value) -> Script {
        let mut script = Script::new(json!({"session": {"maintenance": maintenance}}));
        let text = r#"{"agent:main:main": {"sessionId": "m", "updatedAt": 1}, "agent:main:old": {"sessionId": "o", "updatedAt": 1},
            "agent:main:new": {"sessionId": "n", "updatedAt": 1760000000000}}"#;
        let index = Arc::new(Index::parse(text.as_bytes()).unwrap());
        script
            .state
            .sessions
            .fill(vec![("main".into(), Shelf { path: "x".into(), index, fault: None, unsaved: false })]);
        script.state.sessions.ready = true;
        script
    }

    #[test]
    fn old_sessions_go_by_age_and_never_the_main_one() {
        let mut script = gateway(json!({"pruneAfter": "30d"}));
        script.timer(Timer::Sweep);
        assert_eq!(keys(&script), ["agent:main:main", "agent:main:new"]);
    }

    #[test]
    fn nothing_goes_unasked_or_when_only_a_warning_is_wanted() {
        for maintenance in [json!({}), json!({"pruneAfter": "30d", "mode": "warn"})] {
            let mut script = gateway(maintenance);
            script.timer(Timer::Sweep);
            assert_eq!(keys(&script).len(), 3);
        }
    }

    #[test]
    fn they_are_looked_for_once_an_hour() {
        let mut script = gateway(json!({"maxEntries": 2}));
        script.timer(Timer::Sweep);
        assert_eq!(keys(&script), ["agent:main:main", "agent:main:new"]);
        script.state.config =
            Arc::new(crate::config::Config::from_value(json!({"session": {"maintenance": {"maxEntries": 1}}})));
        script.timer(Timer::Sweep);
        assert_eq!(keys(&script).len(), 2);
        script.wait(limits::SESSION_RETAIN);
        script.timer(Timer::Sweep);
        assert_eq!(keys(&script), ["agent:main:main"]);
    }
}
