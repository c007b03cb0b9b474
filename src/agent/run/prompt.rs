//! The system prompt of a run: gathers what `session::prompt` puts into words. Reads the workspace and nothing else;
//! the same configuration and files give the same text, so that caches of providers hit.

use super::RunSpec;
use crate::agent::model::{ModelRef, Thinking};
use crate::agent::tool::Toolbox;
use crate::limits;
use crate::session::key::KeyRules;
use crate::session::prompt::{self, Facts};
use crate::session::settings::Settings;
use crate::session::stamp;
use crate::session::workspace::{self, Reader};
use crate::sys::zone::Zone;
use crate::sys::{clock, date, host};

/// The prompt for this run; a new workspace gets its first files, unless the configuration says otherwise.
pub(super) fn system(spec: &RunSpec, model: &ModelRef, thinking: Thinking, toolbox: Option<&Toolbox>) -> String {
    let offered = toolbox.map(Toolbox::offered).unwrap_or_default();
    let mut tools: Vec<(&str, &str)> = offered.iter().map(|tool| (tool.name, tool.line)).collect();
    tools.extend(spec.client_tools.offered().map(|tool| (tool.name.as_str(), line(&tool.description))));
    let settings = Settings::read(&spec.config.raw);
    if !spec.config.agents.defaults.skip_bootstrap
        && let Err(error) = workspace::seed(&spec.workspace)
    {
        log::warn!(target: "agent", "workspace cannot be prepared folder={} error={error}", spec.workspace.display());
    }
    let rules = KeyRules::of(&spec.config);
    let key = rules.canonical(&spec.session_key);
    let reader = match &key {
        Some(key) if key.is_subagent() => Reader::Subagent,
        Some(key) if rules.is_main(key) => Reader::Main,
        _ => Reader::Session,
    };
    let files = workspace::read(&spec.workspace, reader, settings.file_chars);
    let agent = spec.config.agents.find(&spec.agent_id);
    let name = agent.as_ref().and_then(|agent| {
        agent.identity.as_ref().and_then(|identity| identity.name.clone()).or_else(|| agent.name.clone())
    });
    let (zone, os) = (zone(spec, &settings), format!("{} ({})", host::platform(), host::arch()));
    let (workspace, host, model) = (spec.workspace.display().to_string(), host::hostname(), model.to_string());
    prompt::system(&Facts {
        agent_id: &spec.agent_id,
        name: name.as_deref(),
        tools: &tools,
        workspace: &workspace,
        files: &files,
        zone: &zone,
        heartbeat: agent.as_ref().and_then(|agent| agent.heartbeat.as_ref()).map(|beat| beat.prompt.as_str()),
        subagent: reader == Reader::Subagent,
        extra: spec.extra_system.as_deref(),
        channel: spec.channel.as_deref(),
        host: &host,
        os: &os,
        model: &model,
        thinking: thinking.name(),
    })
}

/// The first line of a description, as far as a list has room for it.
fn line(description: &str) -> &str {
    let line = description.trim().lines().next().unwrap_or_default();
    line.get(..line.floor_char_boundary(limits::META_CHARS)).unwrap_or_default()
}

fn zone(spec: &RunSpec, settings: &Settings) -> String {
    let zone = Zone::local(|name| spec.env.get(name).map(Into::into));
    settings.zone.clone().unwrap_or_else(|| stamp::zone_name(zone.offset(date::seconds(clock::wall_ms()))))
}
