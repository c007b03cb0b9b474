//! Tools: what a model may do besides talking. One table says what there is; a [`Toolbox`] is the tools of one turn:
//! which ones its policy leaves, how models and people are told, and how a call is run. Knows nothing of models and of
//! the gateway but its [`desk::Desk`]. A call never fails the run: whatever goes wrong is a result the model reads.

mod apply;
pub mod approval;
pub mod args;
pub mod catalog;
pub mod desk;
mod exec;
mod files;
mod memory;
pub mod outcome;
mod patch;
pub mod policy;
mod process;
mod readable;
mod sessions;
mod settings;
pub mod table;
mod text;
pub mod web;
mod workspace;

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use self::approval::judge::{ExecPolicy, Origin, Rules, Security};
use self::args::Args;
use self::desk::Desk;
pub use self::exec::{Job, Jobs, file_rules, jobs, run_ended};
use self::outcome::{Partial, ToolOutcome};
use self::policy::{Policy, Subject};
use self::settings::Settings;
use self::table::{Needs, TOOLS, Tool, ToolId};
use self::web::Web;
use self::workspace::Workspace;
use crate::agent::control::Control;
use crate::agent::model::ToolSpec;
use crate::config::{Config, Env};
use crate::limits;
use crate::sys::id::Entropy;

/// Everything a turn's tools are made of.
pub struct Setup {
    /// The configuration.
    pub config: Arc<Config>,
    /// The agent.
    pub agent_id: String,
    /// The canonical key of the session.
    pub session_key: String,
    /// The run.
    pub run_id: String,
    /// The agent's workspace; created when it is missing.
    pub workspace: PathBuf,
    /// `exec-approvals.json`.
    pub approvals_file: PathBuf,
    /// The person's home.
    pub home: PathBuf,
    /// Who started the turn.
    pub origin: Origin,
    /// Provider of the turn's model.
    pub provider: String,
    /// The model, without the provider.
    pub model: String,
    /// The model's context, from which a result's share is taken.
    pub context_tokens: u64,
    /// What the session says about commands (`execSecurity`, `execAsk`).
    pub session_exec: Rules,
    /// Environment that commands start from.
    pub env: Env,
    /// Commands in the background.
    pub jobs: Jobs,
    /// The gateway.
    pub desk: Arc<dyn Desk>,
    /// The client for web pages; without one, `web_fetch` is not offered.
    pub web: Option<Arc<dyn Web>>,
    /// Names and ids.
    pub entropy: Entropy,
    /// Tools that are not offered in addition to what the policy says.
    pub deny: Vec<String>,
}

/// A call as the model made it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Its id.
    pub id: &'a str,
    /// The tool's name.
    pub name: &'a str,
    /// An object, or the text the model wrote in its place.
    pub arguments: &'a Value,
}

/// The tools of one turn.
pub struct Toolbox {
    setup: Setup,
    settings: Settings,
    workspace: Workspace,
    offered: Vec<&'static Tool>,
    warnings: Vec<String>,
}

/// What a running tool may use.
struct Work<'a> {
    args: &'a Args,
    control: &'a Control,
    on: &'a mut dyn FnMut(Partial),
}

/// What else decides which tools a turn gets.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Who started the turn.
    pub origin: Origin,
    /// Whether there is a client for web pages.
    pub web: bool,
    /// Tools the caller leaves out.
    pub deny: &'a [String],
    /// What the session and the approvals file say about commands.
    pub exec: &'a [Rules],
}

/// The tools of a turn in the order of the table, and what is wrong with the tool settings. Pure: also answers
/// `tools.effective`. Tools whose calls could only fail are not among them.
pub fn offered(config: &Value, subject: Subject<'_>, wanted: Wanted<'_>) -> (Vec<&'static Tool>, Vec<String>) {
    let settings = Settings::read(config, subject.agent_id, wanted.origin);
    let policy = Policy::new(config, subject).and_deny(wanted.deny.iter().map(String::as_str));
    let has = |tool: &&Tool| match tool.needs {
        Needs::Nothing => true,
        Needs::Web => wanted.web && settings.web_fetch,
        Needs::Commands => runs_commands(settings.exec, &wanted),
        Needs::PatchSetting => settings.apply_patch,
        Needs::Operator => wanted.origin == Origin::Operator,
    };
    let offered = TOOLS.iter().filter(has).filter(|tool| policy.allows(tool)).collect();
    (offered, policy.warnings)
}

/// Whether any command could run at all.
fn runs_commands(configured: Rules, wanted: &Wanted<'_>) -> bool {
    let places = [&[configured], wanted.exec].concat();
    ExecPolicy::effective(wanted.origin, &places).security != Security::Deny
}

impl Toolbox {
    /// The tools of a turn; fails only when the workspace cannot be opened or created.
    pub fn new(setup: Setup) -> std::io::Result<Toolbox> {
        let settings = Settings::read(&setup.config.raw, &setup.agent_id, setup.origin);
        let workspace = Workspace::open(&setup.workspace, &setup.home, settings.confinement)?;
        let subject = Subject { agent_id: &setup.agent_id, provider: &setup.provider, model: &setup.model };
        let rules = [setup.session_exec, file_rules(&setup.approvals_file, &setup.agent_id)];
        let wanted = Wanted { origin: setup.origin, web: setup.web.is_some(), deny: &setup.deny, exec: &rules };
        let (offered, warnings) = offered(&setup.config.raw, subject, wanted);
        Ok(Toolbox { offered, warnings, settings, workspace, setup })
    }

    /// What is wrong with the tool settings, for the log.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The tools in the order of the table.
    pub fn offered(&self) -> &[&'static Tool] {
        &self.offered
    }

    /// The tools as models are told of them; always in the same order, so that prompt caches hit.
    pub fn specs(&self) -> Vec<ToolSpec> {
        self.offered.iter().map(|tool| catalog::spec(tool)).collect()
    }

    /// Runs a call to its end. `on` gets news of calls that take long. Blocks; ends early when `control` says stop.
    pub fn call(&mut self, call: Call<'_>, control: &Control, on: &mut dyn FnMut(Partial)) -> ToolOutcome {
        let found = table::find(call.name).filter(|tool| self.offered.iter().any(|offered| offered.id == tool.id));
        let Some(tool) = found else {
            return ToolOutcome::error(self.unknown(call.name));
        };
        if let Some(reason) = control.stopped() {
            return ToolOutcome::error(format!("not run: the turn was stopped ({})", reason.name()));
        }
        let outcome = match Args::read(tool, call.arguments) {
            Ok(args) => self.run(tool.id, Work { args: &args, control, on }),
            Err(text) => ToolOutcome::error(format!("invalid arguments for {}: {text}", tool.name)),
        };
        outcome.truncated(self.setup.context_tokens)
    }

    fn run(&mut self, id: ToolId, work: Work<'_>) -> ToolOutcome {
        match id {
            ToolId::Read => files::read(&self.workspace, work.args),
            ToolId::Write => files::write(&self.workspace, work.args),
            ToolId::Edit => files::edit(&self.workspace, work.args),
            ToolId::ApplyPatch => apply::run(&self.workspace, work.args),
            ToolId::Exec => self.exec(work),
            ToolId::Process => self.process(work),
            ToolId::SessionStatus => sessions::status(self.setup.desk.as_ref(), &work),
            ToolId::AgentsList => sessions::agents(self.setup.desk.as_ref(), &work),
            ToolId::SessionsList => sessions::list(self.setup.desk.as_ref(), &work),
            ToolId::SessionsHistory => sessions::history(self.setup.desk.as_ref(), &work),
            ToolId::SessionsSend => sessions::send(self.setup.desk.as_ref(), &work),
            ToolId::Cron => sessions::cron(self.setup.desk.as_ref(), &work),
            ToolId::WebFetch => match &self.setup.web {
                Some(web) => web::run(web.as_ref(), &work, &self.settings),
                None => ToolOutcome::error("web_fetch is not available"),
            },
            ToolId::MemorySearch => memory::search(&self.workspace, work.args, work.control),
            ToolId::MemoryGet => memory::get(&self.workspace, work.args),
        }
    }

    fn unknown(&self, name: &str) -> String {
        let name: String = name.chars().take(limits::FAULT_NAME_CHARS).collect();
        let names: Vec<&str> = self.offered.iter().map(|tool| tool.name).collect();
        format!("no tool named \"{}\"; there are: {}", name.escape_debug(), names.join(", "))
    }
}

#[cfg(test)]
mod tests;
