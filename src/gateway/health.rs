//! The health and status objects (protocol.md 11), built from the state and kept serialised.
//! Builds payloads only; when to refresh is decided in `handle`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::event::{Effect, Timer};
use super::state::State;
use crate::agent::model::ModelRef;
use crate::agent::model::discover::Found;
use crate::config::sections::ResolvedAgent;
use crate::limits;
use crate::session::list;
use crate::session::row::{self, Defaults};
use crate::sys::clock::Now;

/// Rows in a `recent` list of `health`.
const RECENT: usize = 5;
/// Rows in a `recent` list of `status`.
const RECENT_STATUS: usize = 10;

/// The last health object.
pub struct HealthCache {
    /// Serialised once per refresh.
    pub json: Arc<str>,
    /// Counts refreshes; starts at 1 with the first.
    pub version: u64,
    /// Wall-clock time of the refresh, milliseconds.
    pub ts: u64,
}

impl Default for HealthCache {
    fn default() -> HealthCache {
        HealthCache { json: "{}".into(), version: 0, ts: 0 }
    }
}

impl State {
    /// Builds the health object anew, counts the version up and tells everyone.
    pub fn refresh_health(&mut self, now: Now, fx: &mut Vec<Effect>) {
        self.health.ts = now.wall_ms;
        self.health.version += 1;
        self.health.json = self.health_object(now).to_string().into();
        let payload = self.health.json.clone();
        self.broadcast_raw("health", &payload, fx);
    }

    /// Refreshes soon: a thousand clients connecting at once cause one refresh, not a thousand.
    pub fn health_soon(&mut self, fx: &mut Vec<Effect>) {
        if !self.health_gate.held {
            self.health_gate.held = true;
            fx.push(Effect::Timer(limits::HEALTH_INTERVAL, Timer::HealthSoon));
        }
    }

    fn health_object(&self, now: Now) -> Value {
        let config = &self.config;
        let listed = config.agents.resolved();
        let agents: Vec<Value> = listed.iter().map(|agent| self.agent_health(agent, now)).collect();
        let main = config.default_agent_id();
        let beat = listed.iter().find(|agent| agent.id == main).and_then(|agent| agent.heartbeat.as_ref());
        let every = beat.map_or(0, |beat| beat.every.as_secs());
        json!({
            "ok": true,
            "ts": now.wall_ms,
            "durationMs": 0,
            "channels": {}, "channelOrder": [], "channelLabels": {},
            "heartbeatSeconds": if self.heartbeats.enabled { every } else { 0 },
            "defaultAgentId": main,
            "agents": agents,
            "sessions": self.agent_sessions(main, now, RECENT),
        })
    }

    fn agent_health(&self, agent: &ResolvedAgent, now: Now) -> Value {
        let mut row = Map::new();
        row.insert("agentId".into(), agent.id.as_str().into());
        if let Some(name) = &agent.name {
            row.insert("name".into(), name.as_str().into());
        }
        row.insert("isDefault".into(), agent.is_default.into());
        row.insert("heartbeat".into(), self.heartbeat(agent));
        row.insert("sessions".into(), self.agent_sessions(&agent.id, now, RECENT));
        Value::Object(row)
    }

    /// A heartbeat as clients show it; an agent without one has it disabled (protocol.md 11.1).
    fn heartbeat(&self, agent: &ResolvedAgent) -> Value {
        let beat = self.config.agents.heartbeat_settings(&agent.id);
        let on = agent.heartbeat.is_some();
        let mut row = json!({
            "enabled": self.heartbeats.enabled && on,
            "every": if on { interval(beat.every) } else { "disabled".to_string() },
            "everyMs": on.then(|| millis(beat.every)),
            "prompt": beat.prompt,
            "target": beat.target,
            "ackMaxChars": beat.ack_max_chars,
        });
        let told = [("model", beat.model), ("session", beat.session)];
        if let Some(members) = row.as_object_mut() {
            members.extend(told.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?.into()))));
        }
        row
    }

    fn agent_sessions(&self, agent: &str, now: Now, most: usize) -> Value {
        let (count, rows) = self.sessions.newest(Some(agent), most);
        let recent: Vec<Value> = rows.iter().map(|found| row::recent(found.key, found.entry, now.wall_ms)).collect();
        json!({"path": self.sessions_file(agent), "count": count, "recent": recent})
    }

    /// The agent's session index on disk.
    pub fn sessions_file(&self, agent: &str) -> String {
        self.config.session_store(&self.facts.paths, agent).display().to_string()
    }

    /// The status object.
    pub fn status_object(&self, now: Now) -> Value {
        let agents = self.config.agents.resolved();
        let beats: Vec<Value> = agents
            .iter()
            .map(|agent| {
                let Value::Object(mut beat) = self.heartbeat(agent) else { return Value::Null };
                beat.retain(|name, _| ["enabled", "every", "everyMs"].contains(&name.as_str()));
                beat.insert("agentId".into(), agent.id.as_str().into());
                Value::Object(beat)
            })
            .collect();
        let by_agent: Vec<Value> = agents.iter().map(|agent| self.agent_status(&agent.id, now)).collect();
        let paths: Vec<String> = agents.iter().map(|agent| self.sessions_file(&agent.id)).collect();
        let mut object = json!({
            "runtimeVersion": self.facts.version,
            "heartbeat": {"defaultAgentId": self.config.default_agent_id(), "agents": beats},
            "channelSummary": [],
            "queuedSystemEvents": self.system_events.texts(&self.main_place(self.config.default_agent_id()).key).collect::<Vec<_>>(),
            "sessions": {
                "paths": paths,
                "count": self.sessions.len(),
                "defaults": self.defaults().to_wire(),
                "recent": self.sessions.newest(None, RECENT_STATUS).1.iter().map(|row| status_row(row, &self.defaults(), now)).collect::<Vec<_>>(),
                "byAgent": by_agent,
            },
        });
        if let (Some(found), Some(object)) = (self.found_model(), object.as_object_mut()) {
            object.insert("modelFound".into(), found.why.as_str().into());
        }
        object
    }

    fn agent_status(&self, agent: &str, now: Now) -> Value {
        let (count, rows) = self.sessions.newest(Some(agent), RECENT_STATUS);
        let recent: Vec<Value> = rows.iter().map(|row| status_row(row, &self.defaults(), now)).collect();
        json!({"agentId": agent, "path": self.sessions_file(agent), "count": count, "recent": recent})
    }

    /// The model server found on this machine, if it is what the default agent uses.
    fn found_model(&self) -> Option<&Found> {
        let chosen = self.config.agents.resolved().iter().any(|agent| agent.is_default && agent.model.is_some());
        self.models.last_found().filter(|_| !chosen)
    }

    /// What sessions without settings of their own use; `null` where no model is configured and none was found.
    pub fn defaults(&self) -> Defaults {
        if let Some(found) = self.found_model() {
            let ModelRef { provider, model } = found.reference.clone();
            return Defaults { provider: Some(provider), model: Some(model), context_tokens: found.context_window };
        }
        let agents = self.config.agents.resolved();
        let choice = agents.iter().find(|agent| agent.is_default).and_then(|agent| agent.model.as_ref());
        let (provider, model) = choice.map_or((None, None), |choice| {
            let (provider, model) = choice.split();
            (provider, Some(model))
        });
        let known = self.config.providers.iter().filter(|row| provider.is_none_or(|id| id == row.id));
        let row = known.flat_map(|row| &row.models).find(|row| Some(row.id.as_str()) == model);
        Defaults {
            provider: provider.map(str::to_string),
            model: model.map(str::to_string),
            context_tokens: row.and_then(|row| row.context_window),
        }
    }
}

/// `30m`, `2h`, `90s`: the shortest form that is exact.
fn interval(every: Duration) -> String {
    match every.as_secs() {
        secs if secs > 0 && secs % 3600 == 0 => format!("{}h", secs / 3600),
        secs if secs > 0 && secs % 60 == 0 => format!("{}m", secs / 60),
        secs => format!("{secs}s"),
    }
}

fn status_row(row: &list::Found<'_>, defaults: &Defaults, now: Now) -> Value {
    let mut entry = row::row(row.key, row.entry, defaults);
    entry.retain(|name, _| {
        [
            "key",
            "kind",
            "updatedAt",
            "sessionId",
            "thinkingLevel",
            "systemSent",
            "abortedLastRun",
            "inputTokens",
            "outputTokens",
            "totalTokens",
            "model",
            "contextTokens",
        ]
        .contains(&name.as_str())
    });
    entry.insert("agentId".into(), row.agent.into());
    entry.insert("age".into(), now.wall_ms.saturating_sub(row.entry.updated_ms()).into());
    for name in ["totalTokens", "remainingTokens", "percentUsed", "model", "contextTokens"] {
        entry.entry(name).or_insert(Value::Null);
    }
    let flags = flags(&entry);
    entry.insert("flags".into(), flags);
    usage(&mut entry);
    Value::Object(entry)
}

fn flags(entry: &Map<String, Value>) -> Value {
    let mut flags = Vec::new();
    if let Some(level) = entry.get("thinkingLevel").and_then(Value::as_str) {
        flags.push(format!("think:{level}"));
    }
    if entry.get("systemSent").and_then(Value::as_bool) == Some(true) {
        flags.push("system".to_string());
    }
    if let Some(id) = entry.get("sessionId").and_then(Value::as_str) {
        flags.push(format!("id:{id}"));
    }
    flags.into()
}

/// `remainingTokens` and `percentUsed` where both sides are known.
fn usage(entry: &mut Map<String, Value>) {
    let number = |name: &str| entry.get(name).and_then(Value::as_u64);
    if let (Some(total), Some(context)) = (number("totalTokens"), number("contextTokens").filter(|window| *window > 0))
    {
        entry.insert("remainingTokens".into(), context.saturating_sub(total).into());
        entry.insert("percentUsed".into(), (total.saturating_mul(100) / context).min(999).into());
    }
    // A session that has not run yet has none of these; clients print them, so the members are there.
    for name in ["totalTokens", "remainingTokens", "percentUsed", "model", "contextTokens"] {
        entry.entry(name).or_insert(Value::Null);
    }
}

/// Milliseconds for the wire.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
