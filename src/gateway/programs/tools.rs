//! Tools that HTTP programs call outside of a turn: which session a call is for, what its tools are made of, and which
//! tools are never offered this way (http.md 9). Pure; the tool runs on the program's connection.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use crate::agent::model::{ModelRef, resolve};
use crate::agent::tool::approval::judge::Rules;
use crate::agent::tool::table::{self, Group, TOOLS, Tool};
use crate::config::{Config, Env, Paths};
use crate::gateway::session_key::{self, Place};
use crate::gateway::state::State;
use crate::limits;
use crate::protocol::errors::WireError;

/// Tools that act on this machine or on others; `gateway.tools.allow` gives them back to who holds the secret.
const DENIED: &[&str] = &[
    "exec",
    "spawn",
    "shell",
    "fs_write",
    "fs_delete",
    "fs_move",
    "apply_patch",
    "terminal",
    "portal",
    "sessions_spawn",
    "sessions_send",
    "conversations_list",
    "conversations_send",
    "conversations_turn",
    "automations",
    "cron",
    "gateway",
    "plugins",
    "nodes",
    "computer",
    "mobile_ui",
    "openclaw",
];

/// What the tools of one call are made of.
#[derive(Debug, Clone)]
pub struct Ground {
    /// The session.
    pub place: Place,
    /// The configuration.
    pub config: Arc<Config>,
    /// Where files are.
    pub paths: Paths,
    /// The environment.
    pub env: Arc<Env>,
    /// The agent's workspace.
    pub workspace: PathBuf,
    /// The session's model, for policies by provider.
    pub model: Option<ModelRef>,
    /// What the session says about commands.
    pub exec: Rules,
}

impl State {
    /// What a call for this session needs; the main one when none is named.
    pub fn tool_ground(&self, session_key: Option<&str>, agent: Option<&str>) -> Result<Ground, WireError> {
        let params = json!({"sessionKey": session_key, "agentId": agent});
        let place = session_key::of_params(&self.config, "tools.invoke", &params, "sessionKey")?;
        let entry = self.sessions.get(&place.agent, &place.key);
        let own = |name: &str| entry.and_then(|entry| entry.text(name)).map(|word| word.into_owned());
        let chosen = entry.and_then(super::super::intake::own_model).or_else(|| {
            resolve::select(&self.config, &place.agent, None).ok().flatten().map(|selection| selection.primary)
        });
        Ok(Ground {
            config: self.config.clone(),
            paths: self.facts.paths.clone(),
            env: self.facts.env.clone(),
            workspace: self.config.workspace(&self.facts.paths, &place.agent),
            model: chosen,
            exec: Rules::of_session(own("execSecurity").as_deref(), own("execAsk").as_deref()),
            place,
        })
    }
}

/// What is not offered over HTTP, beside what the policy leaves out: tools for files and commands never, those of the
/// list unless the owner allows them, and whatever `gateway.tools.deny` adds.
pub fn denied(config: &Value, owner: bool) -> Vec<String> {
    let texts = |name: &str| {
        let list = config.pointer(&format!("/gateway/tools/{name}")).and_then(Value::as_array);
        let names = list.into_iter().flatten().filter_map(Value::as_str);
        names.map(|name| name.trim().to_ascii_lowercase()).take(limits::POLICY_NAMES / 2).collect::<Vec<_>>()
    };
    let allowed = if owner { texts("allow") } else { Vec::new() };
    let coding = |group: Group| matches!(group, Group::Fs | Group::Runtime);
    let local = TOOLS.iter().filter(|tool| coding(tool.group)).map(|tool| tool.name.to_string());
    // By the tool: a name and its other spelling may both stand on the list.
    let given = |tool: &Tool| allowed.iter().any(|name| table::find(name).is_some_and(|found| found.id == tool.id));
    let listed = DENIED.iter().filter_map(|name| table::find(name)).filter(|tool| !given(tool));
    local.chain(listed.map(|tool| tool.name.to_string())).chain(texts("deny")).collect()
}

/// Agents that an agent may start turns of beside itself (`subagents.allowAgents`); whether it is all of them.
pub fn allowed_agents(config: &Value, agent: &str) -> (bool, Vec<String>) {
    let listed = config.pointer("/agents/list").and_then(Value::as_array).into_iter().flatten();
    let mut own = listed.filter(|row| row.get("id").and_then(Value::as_str) == Some(agent));
    let own = own.next().and_then(|row| row.pointer("/subagents/allowAgents"));
    let list = own.or_else(|| config.pointer("/agents/defaults/subagents/allowAgents"));
    let names = list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let names: Vec<String> = names.map(|name| name.trim().to_lowercase()).take(limits::POLICY_NAMES).collect();
    (names.iter().any(|name| name == "*"), names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_sees_those_its_settings_name() {
        let config = json!({"agents": {"defaults": {"subagents": {"allowAgents": ["*"]}},
            "list": [{"id": "a", "subagents": {"allowAgents": [" B "]}}, {"id": "b"}]}});
        assert_eq!(allowed_agents(&config, "a"), (false, vec!["b".to_string()]));
        assert!(allowed_agents(&config, "b").0 && !allowed_agents(&Value::Null, "b").0);
    }

    #[test]
    fn the_owner_may_take_names_off_the_list_but_not_the_tools_for_files() {
        let config = json!({"gateway": {"tools": {"allow": ["Sessions_Send", "exec", "read"], "deny": ["web_fetch"]}}});
        let has = |owner, name: &str| denied(&config, owner).iter().any(|known| known == name);
        assert!(!has(true, "sessions_send") && has(false, "sessions_send"));
        for name in ["read", "write", "edit", "apply_patch", "exec", "process", "web_fetch"] {
            assert!(has(true, name) && has(false, name), "{name}");
        }
        assert!(has(true, "cron"), "it was not asked for");
        for name in ["cron", " Automations"] {
            let config = json!({"gateway": {"tools": {"allow": [name]}}});
            assert!(!denied(&config, true).iter().any(|known| known == "cron" || known == "automations"), "{name}");
        }
        assert!(!has(true, "sessions_list") && denied(&Value::Null, true).contains(&"sessions_send".to_string()));
    }
}
