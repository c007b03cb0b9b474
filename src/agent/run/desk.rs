//! What a run works with: the session's transcript, the models it may ask, the prompt they get. The real counterpart
//! of the loop's [`Parts`]; owns the transcript's file while the run works.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::turn::{Parts, Shortened, ToolAnswer, ToolCall};
use super::{Cause, Hands, RunFailure, RunSpec, begin, prompt};
use crate::agent::control::Control;
use crate::agent::message::{Block, Message, ToolResultMessage, Usage, text_of};
use crate::agent::model::discover::{self, Found, Places};
use crate::agent::model::failover::{Change, Cooldowns};
use crate::agent::model::keys::{AuthProfiles, KeyRing};
use crate::agent::model::lineup::{Lineup, Live, Notice};
use crate::agent::model::open::Opener;
use crate::agent::model::resolve::{self, Selection};
use crate::agent::model::{
    CallSession, ErrorKind, ModelError, ModelEvent, ModelRef, ModelReply, ModelRequest, Thinking, ToolSpec,
};
use crate::agent::tool::approval::judge::Rules;
use crate::agent::tool::desk as tool_desk;
use crate::agent::tool::web::HttpWeb;
use crate::agent::tool::{Call, Setup, Toolbox, table};
use crate::limits;
use crate::session::compact::{self, Budget, Force};
use crate::session::context::{self, Context, Item};
use crate::session::settings::Settings as SessionSettings;
use crate::store::session::writer::{NewLine, Safety, Start, Writer};
use crate::store::transcript::Transcript;
use crate::sys::clock;
use crate::sys::id::Entropy;

/// What outlives the desk, because the models borrow from it.
pub(super) struct Ground {
    pub(super) spec: RunSpec,
    profiles: AuthProfiles,
    selection: Selection,
    found: Option<Found>,
}

impl Ground {
    /// The server on this machine, when nobody chose a model.
    pub(super) fn found(&self) -> Option<&Found> {
        self.found.as_ref()
    }

    /// Chooses the model; with none configured looks for one on this machine.
    pub(super) fn prepare(spec: RunSpec, control: &Control) -> Result<Ground, Box<RunFailure>> {
        let chosen =
            resolve::select(&spec.config, &spec.agent_id, spec.model.as_ref()).map_err(|e| model_failure(&e))?;
        let (selection, found) = match chosen {
            Some(selection) => (selection, None),
            None => {
                let found = match spec.found.clone() {
                    Some(found) => found,
                    None => look(&spec, control)?,
                };
                (found.selection(), Some(found))
            }
        };
        let profiles = AuthProfiles::open(&spec.paths.auth_profiles(&spec.agent_id));
        Ok(Ground { spec, profiles, selection, found })
    }
}

/// Looks for a model server on this machine.
fn look(spec: &RunSpec, control: &Control) -> Result<Found, Box<RunFailure>> {
    let found = discover::look(&Places::of(&spec.env), control).map_err(|error| model_failure(&error))?;
    log::info!(target: "agent", "no model configured; {}", found.why);
    Ok(found)
}

fn model_failure(error: &ModelError) -> Box<RunFailure> {
    let failure = begin::failure(Cause::Model(error.kind), error.message.clone());
    Box::new(RunFailure { retry_after: error.retry_after, status: error.status, ..failure })
}

fn storage(error: &std::io::Error) -> Box<RunFailure> {
    Box::new(begin::failure(Cause::Storage, format!("cannot use the session's transcript: {error}")))
}

/// The desk.
pub(super) struct Desk<'a> {
    spec: &'a RunSpec,
    writer: Writer,
    context: Context,
    lineup: Lineup<'a>,
    world: Live,
    system: String,
    tools: Vec<ToolSpec>,
    toolbox: Option<Toolbox>,
    gateway: Arc<dyn tool_desk::Desk>,
    reserve: Option<u64>,
    thinking: Thinking,
    window: u64,
    new_cli_session: String,
    /// What summaries cost.
    spent: Usage,
}

impl<'a> Desk<'a> {
    /// Opens the transcript and lines the models up.
    pub(super) fn open(ground: &'a Ground, hands: Hands) -> Result<Desk<'a>, Box<RunFailure>> {
        let spec = &ground.spec;
        let now_ms = clock::wall_ms();
        let mut entropy = Entropy::from_seed(spec.seed);
        let workspace = spec.workspace.display().to_string();
        let start = Start { session_id: &spec.session_id, cwd: &workspace, now_ms };
        let writer = Writer::open(&spec.transcript, &start, branch(&mut entropy)).map_err(|error| storage(&error))?;
        let context = conversation(&spec.transcript, ack_chars(spec)).map_err(|error| storage(&error))?;
        let ring = KeyRing { config: &spec.config, env: &spec.env, profiles: &ground.profiles, now_ms };
        let opener = Opener { config: &spec.config, env: &spec.env, http: &spec.http, found: ground.found.as_ref() };
        let cooldowns = Cooldowns::of_profiles(&ground.profiles).with(&spec.cooldowns);
        let mut lineup = Lineup::new(&ground.selection, &ring, spec.auth_profile.as_deref(), opener, cooldowns);
        let first = lineup.first().map_err(|error| model_failure(&error))?;
        let (window, takes_tools) = (first.context_window(), first.takes_tools());
        let gateway = Arc::clone(&hands.desk);
        // A program that wants one of its own tools called gets no other answer.
        let toolbox = match takes_tools && !spec.client_tools.is_forced() {
            true => Some(toolbox(ground, hands, window, branch(&mut entropy)).map_err(|error| storage(&error))?),
            false => None,
        };
        let mut desk = Desk {
            spec,
            writer,
            context,
            lineup,
            system: prompt::system(
                spec,
                &ground.selection.primary,
                spec.thinking.unwrap_or_default(),
                toolbox.as_ref(),
            ),
            tools: toolbox.iter().flat_map(Toolbox::specs).chain(spec.client_tools.offered().cloned()).collect(),
            toolbox,
            gateway,
            reserve: SessionSettings::read(&spec.config.raw).reserve_tokens,
            thinking: spec.thinking.unwrap_or_default(),
            window,
            new_cli_session: entropy.uuid(),
            spent: Usage::default(),
            world: Live(entropy),
        };
        desk.note_switches(&ground.selection, now_ms).map_err(|error| storage(&error))?;
        Ok(desk)
    }

    /// The lines that say which model and thinking level hold from here on, where that changed (agent.md 10).
    fn note_switches(&mut self, selection: &Selection, now_ms: u64) -> std::io::Result<()> {
        let model = (selection.primary.provider.clone(), selection.primary.model.clone());
        if self.context.model.as_ref() != Some(&model) {
            let line = NewLine::ModelChange { provider: &model.0, model: &model.1 };
            self.writer.append(&line, now_ms, Safety::Process)?;
        }
        let level = self.thinking.name();
        if self.context.thinking.as_deref().unwrap_or("off") != level || self.context.thinking.is_none() {
            self.writer.append(&NewLine::ThinkingLevel(level), now_ms, Safety::Process)?;
        }
        Ok(())
    }

    /// Tokens of what every request carries beside the conversation.
    fn fixed_tokens(&self) -> u64 {
        let tools: usize =
            self.tools.iter().map(|tool| tool.description.len() + tool.parameters.to_string().len()).sum();
        u64::try_from((self.system.len() + tools) / 4).unwrap_or(u64::MAX)
    }

    fn budget(&self) -> Budget {
        Budget::of(self.window, self.fixed_tokens(), self.reserve)
    }

    fn question(&self, system: String, messages: Vec<Message>, tools: Vec<ToolSpec>) -> ModelRequest {
        let session = CallSession { workspace: Some(self.spec.workspace.clone()), ..CallSession::default() };
        ModelRequest { system, messages, tools, thinking: self.thinking, session, ..ModelRequest::default() }
    }

    /// The summary that takes the place of the first messages, and how it came about.
    fn summary(
        &mut self,
        count: usize,
        mind: Option<&str>,
        control: &Control,
    ) -> Result<(String, Shortened), ModelError> {
        let items: Vec<Item> = self.context.items.iter().take(count).cloned().collect();
        // A log of half the window leaves room for the task and the summary.
        let chars = usize::try_from(self.window.saturating_mul(2)).unwrap_or(usize::MAX);
        let log = compact::log_text(&items, mind, chars);
        // in no conversation of a command-line backend: the person's own would go on with this task
        let request = self.question(compact::SUMMARY_TASK.to_string(), vec![Message::user(log, 0)], Vec::new());
        let answered = self.lineup.ask(&request, control, &mut self.world, &mut |_| {}, &mut note);
        let written = answered.map(|answered| {
            self.spent.add(&answered.reply.usage);
            text_of(&answered.reply.content)
        });
        let why = match written {
            Ok(text) if !text.trim().is_empty() => return Ok((text, Shortened::Summarised)),
            Ok(_) => "it was empty".to_string(),
            Err(error) if will_stay(error.kind) => error.message,
            Err(error) if error.kind == ErrorKind::Aborted => return Err(error),
            Err(error) => {
                let message = format!(
                    "the conversation must be shortened and could not be summarised, so nothing was dropped; try again: {}",
                    error.message
                );
                return Err(ModelError { message, ..error });
            }
        };
        log::warn!(target: "agent", "no summary, older messages are dropped error={why}");
        Ok((compact::plain_summary(count, self.context.summary.as_deref()), Shortened::Dropped(count)))
    }
}

/// Whether a summary will fail again: to keep the older messages then would leave no way on.
fn will_stay(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ContextOverflow | ErrorKind::Format | ErrorKind::Protocol)
}

/// The tools of this run.
fn toolbox(ground: &Ground, hands: Hands, window: u64, entropy: Entropy) -> std::io::Result<Toolbox> {
    let spec = &ground.spec;
    let toolbox = Toolbox::new(Setup {
        config: spec.config.clone(),
        agent_id: spec.agent_id.clone(),
        session_key: spec.session_key.clone(),
        run_id: spec.run_id.clone(),
        workspace: spec.workspace.clone(),
        approvals_file: spec.paths.state_dir.join("exec-approvals.json"),
        home: spec.paths.home.clone(),
        origin: spec.speaker,
        provider: ground.selection.primary.provider.clone(),
        model: ground.selection.primary.model.clone(),
        context_tokens: window,
        session_exec: Rules::of_session(spec.exec_security.as_deref(), spec.exec_ask.as_deref()),
        env: (*spec.env).clone(),
        jobs: hands.jobs,
        desk: hands.desk,
        web: Some(Arc::new(HttpWeb::new(spec.http.clone()))),
        entropy,
        deny: hidden(spec),
    })?;
    for warning in toolbox.warnings() {
        log::warn!(target: "agent", "tool settings: {warning}");
    }
    Ok(toolbox)
}

/// Tools of the gateway that a program has one of the same name for: its own is meant in its conversation.
fn hidden(spec: &RunSpec) -> Vec<String> {
    let same = |name: &String| table::find(name).is_some_and(|tool| tool.name == *name);
    spec.client_tools.offered().map(|tool| tool.name.clone()).filter(same).collect()
}

/// What the model gets of a transcript. Pictures are held several times while they are sent, so only some are kept.
fn conversation(transcript: &Path, ack_chars: usize) -> std::io::Result<Context> {
    let read = Transcript::read_until(transcript, context::suffices)?;
    let mut context = read.map(|transcript| context::context(&transcript, None)).unwrap_or_default();
    context.forget_quiet_heartbeats(ack_chars);
    context.shed_pictures(limits::CONTEXT_PICTURE_BYTES);
    Ok(context)
}

/// How much beside its token a quiet heartbeat of the agent may say.
fn ack_chars(spec: &RunSpec) -> usize {
    let agent = spec.config.agents.find(&spec.agent_id);
    agent.and_then(|agent| agent.heartbeat).map_or(0, |beat| beat.ack_max_chars)
}

/// A second source that never gives the numbers of the first.
fn branch(entropy: &mut Entropy) -> Entropy {
    let mut seed = [0_u8; 32];
    entropy.fill(&mut seed);
    Entropy::from_seed(seed)
}

fn note(notice: Notice) {
    match notice {
        Notice::Note(text) => log::info!(target: "agent", "{text}"),
        Notice::Retry(failure, after) => log::info!(
            target: "agent", "model call failed, trying again model={} kind={} inMs={}",
            failure.candidate.reference, failure.error.kind.name(), after.as_millis()
        ),
        Notice::Fallback(failure, next) => log::warn!(
            target: "agent", "model call failed, trying another model={} kind={} next={}",
            failure.candidate.reference, failure.error.kind.name(), next.reference
        ),
    }
}

impl Parts for Desk<'_> {
    fn append(&mut self, message: &Message) -> Result<String, String> {
        let text = serde_json::to_string(message).map_err(|error| error.to_string())?;
        let last = matches!(message, Message::Assistant(_));
        let safety = if last { Safety::Power } else { Safety::Process };
        let id = self
            .writer
            .append(&NewLine::Message(&text), self.now_ms(), safety)
            .map_err(|error| format!("cannot write the transcript: {error}"))?;
        self.context.items.push(Item { id: Some(id.as_str().into()), message: message.clone() });
        self.context.shed_pictures(limits::CONTEXT_PICTURE_BYTES);
        Ok(id)
    }

    fn request(&mut self) -> Result<ModelRequest, String> {
        let mut request = self.question(self.system.clone(), self.context.messages(), self.tools.clone());
        request.session.cli_sessions = self.spec.cli_sessions.clone();
        request.session.new_cli_session = self.new_cli_session.clone();
        let client = &self.spec.client_tools;
        request.needs_tools = client.offered().next().is_some();
        request.sampling = client.sampling.clone();
        if client.is_forced() {
            request.tool_choice = client.choice.clone();
        }
        Ok(request)
    }

    fn ask(
        &mut self,
        request: &ModelRequest,
        control: &Control,
        on: &mut dyn FnMut(ModelEvent),
    ) -> Result<ModelReply, ModelError> {
        let answered = self.lineup.ask(request, control, &mut self.world, on, &mut note);
        answered.map(|answered| answered.reply)
    }

    fn use_tool(&mut self, call: &ToolCall, control: &Control, show: &mut dyn FnMut(Value)) -> ToolAnswer {
        let Some(toolbox) = &mut self.toolbox else {
            return ToolAnswer::refused("this model is not given tools");
        };
        let call = Call { id: &call.id, name: &call.name, arguments: &call.arguments };
        let outcome = toolbox.call(call, control, &mut |partial| show(partial.to_value()));
        ToolAnswer {
            content: outcome.content,
            details: outcome.details,
            is_error: outcome.is_error,
            meta: outcome.meta,
        }
    }

    fn is_clients(&self, name: &str) -> bool {
        self.spec.client_tools.offered().any(|tool| tool.name == name)
    }

    /// Only calls at the end of the conversation: a result further back would answer nothing.
    fn brought_results(&mut self) -> Vec<ToolResultMessage> {
        let items = &mut self.context.items;
        let said = items.iter().rposition(|item| !matches!(item.message, Message::ToolResult(_)));
        let (mut brought, brings) = (Vec::new(), &self.spec.client_tools.results);
        for item in items.split_off(said.map_or(0, |at| at + 1)) {
            let lost = match &item.message {
                Message::ToolResult(lost) if item.id.is_none() => Some(lost),
                _ => None,
            };
            let given = lost.and_then(|lost| brings.iter().find(|given| given.id == lost.tool_call_id).zip(Some(lost)));
            match given {
                Some((given, lost)) => brought.push(ToolResultMessage {
                    tool_call_id: lost.tool_call_id.clone(),
                    tool_name: lost.tool_name.clone(),
                    content: vec![Block::text(given.text.as_str())],
                    timestamp: clock::wall_ms(),
                    ..ToolResultMessage::default()
                }),
                None => items.push(item),
            }
        }
        brought
    }

    fn steering(&mut self, control: &Control) -> Vec<Vec<Block>> {
        self.gateway.steering(control)
    }

    fn is_crowded(&self) -> bool {
        compact::plan(&self.context, &self.budget(), Force::No).is_some()
    }

    fn context_tokens(&self) -> u64 {
        compact::estimated(&self.context, self.fixed_tokens())
    }

    fn learnt(&mut self) -> Vec<Change> {
        self.lineup.take_changes()
    }

    fn paid_by(&self) -> String {
        self.lineup.paid_by()
    }

    fn asked(&self) -> Option<ModelRef> {
        self.lineup.asked().cloned()
    }

    fn compact(&mut self, mind: Option<&str>, control: &Control) -> Result<Option<Shortened>, ModelError> {
        let Some(plan) = compact::plan(&self.context, &self.budget(), Force::Yes) else { return Ok(None) };
        log::info!(target: "agent", "compacting session={} plan={}", self.spec.session_key, compact::describe(&plan));
        let (summary, how) = self.summary(plan.summarise, mind, control)?;
        let line =
            NewLine::Compaction { summary: &summary, first_kept: &plan.first_kept, tokens_before: plan.tokens_before };
        let failed = |error: std::io::Error| ModelError::new(ErrorKind::Protocol, format!("cannot compact: {error}"));
        self.writer.append(&line, self.now_ms(), Safety::Power).map_err(failed)?;
        self.context = conversation(self.writer.path(), ack_chars(self.spec)).map_err(failed)?;
        Ok(Some(how))
    }

    fn spent(&mut self) -> Usage {
        std::mem::take(&mut self.spent)
    }

    fn context_window(&self) -> u64 {
        self.window
    }

    fn now_ms(&self) -> u64 {
        clock::wall_ms()
    }
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
