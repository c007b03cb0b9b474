//! Questions of tools, answered by the state thread: sessions, turns in other sessions, approvals, notes.

use serde_json::Value;

use super::approvals_file::ApprovalChange;
use super::desk::{Behalf, ToolAsk};
use super::disk::{Job, Then};
use super::event::{Effect, Timer, ToolReply};
use super::heartbeats::Wake;
use super::intake::Intake;
use super::methods::{agent, chat, commands};
use super::programs::tools::allowed_agents;
use super::runs::{Asker, Origin};
use super::session_key::{self, Place};
use super::state::State;
use crate::agent::tool::approval::judge::Origin as Speaker;
use crate::agent::tool::approval::pending::{Request, Settled};
use crate::agent::tool::desk::{Ask, DeskFault, Note, Target};
use crate::protocol::table::Scope;
use crate::session::key::KeyRules;
use crate::session::list::{Filter, Found, Named};
use crate::session::row;
use crate::sys::clock::Now;

/// Who waits for an approval.
#[derive(Debug, Clone)]
pub enum Approver {
    /// A client, by its request.
    Client(super::disk::Waiting),
    /// A tool of a run.
    Tool(u64),
}

impl State {
    /// Answers a tool, now or (for a turn it waits for) later.
    pub fn tool_asks(&mut self, by: &Behalf, ticket: u64, ask: ToolAsk, now: Now, fx: &mut Vec<Effect>) {
        let reply = match ask {
            ToolAsk::Steering => Ok(ToolReply::Said(match by {
                Behalf::Run(run) => self.steering(*run),
                Behalf::Place(_) => Vec::new(),
            })),
            ToolAsk::Approve(request) => self.file_approval(ticket, request, now, fx),
            ToolAsk::Ask(Ask::Cron(args)) => match self.tool_cron(by, ticket, &args, now, fx).transpose() {
                None => return,
                Some(reply) => reply,
            },
            ToolAsk::Ask(Ask::Agents) => self.tool_agents(by),
            ToolAsk::Ask(Ask::Status { session_key }) => self.tool_status(by, session_key.as_deref(), now),
            ToolAsk::Ask(Ask::List { limit, active_minutes, search }) => {
                self.tool_list(by, limit, active_minutes, search, now)
            }
            ToolAsk::Ask(Ask::History { target, limit, include_tools }) => self.tool_target(by, &target).map(|place| {
                ToolReply::Read { path: chat::transcript(self, &place), key: place.key, limit, include_tools }
            }),
            ToolAsk::Ask(Ask::Send { target, message, wait }) => {
                match self.tool_send(by, ticket, &target, &message, wait, now, fx) {
                    Ok(None) => return,
                    Ok(Some(value)) => Ok(ToolReply::Value(value)),
                    Err(fault) => Err(fault),
                }
            }
        };
        fx.push(Effect::AnswerTool(ticket, reply.unwrap_or_else(ToolReply::Refused)));
    }

    /// The session a tool asks from.
    pub fn own_place(&self, by: &Behalf) -> Result<Place, DeskFault> {
        let run = match by {
            Behalf::Place(place) => return Ok(place.clone()),
            Behalf::Run(run) => self.runs.get(*run).ok_or(DeskFault::Silent)?,
        };
        Ok(Place { agent: run.agent_id.clone(), key: run.session_key.clone() })
    }

    /// Who speaks through a tool.
    pub fn speaker(&self, by: &Behalf) -> Result<Speaker, DeskFault> {
        match by {
            Behalf::Run(run) => self.runs.get(*run).map(|run| run.speaker).ok_or(DeskFault::Silent),
            // Programs that call tools hold an operator's scope.
            Behalf::Place(_) => Ok(Speaker::Operator),
        }
    }

    /// The agents that this one may start turns of: itself, and those its settings name.
    fn tool_agents(&self, by: &Behalf) -> Result<ToolReply, DeskFault> {
        let own = self.own_place(by)?.agent;
        let (any, named) = allowed_agents(&self.config.raw, &own);
        let known = self.config.agents.resolved();
        let shown = known.iter().filter(|agent| agent.id == own || any || named.contains(&agent.id));
        let rows: Vec<Value> = shown
            .map(|agent| {
                let mut row = json!({"id": agent.id, "configured": true});
                if let Some(members) = row.as_object_mut() {
                    members.extend(agent.name.as_deref().map(|name| ("name".to_string(), name.into())));
                    let model = agent.model.as_ref().map(|model| model.primary.as_str());
                    members.extend(model.map(|model| ("model".to_string(), model.into())));
                }
                row
            })
            .collect();
        Ok(ToolReply::Value(json!({"requester": own, "allowAny": any, "agents": rows})))
    }

    fn tool_status(&self, by: &Behalf, key: Option<&str>, now: Now) -> Result<ToolReply, DeskFault> {
        let own = self.own_place(by)?;
        let place = match key {
            Some(key) => session_key::of_key(&self.config, key, Some(&own.agent)),
            None => own.clone(),
        };
        if place.agent != own.agent {
            return Err(foreign(&place.key, &place.agent));
        }
        let entry = self.sessions.get(&place.agent, &place.key);
        let entry = entry.ok_or_else(|| DeskFault::Refused(format!("Unknown sessionKey: {}", place.key)))?;
        let text = commands::status(self, &place, entry, now);
        Ok(ToolReply::Value(json!({
            "ok": true,
            "sessionKey": place.key,
            "agentId": place.agent,
            "changedModel": false,
            "statusText": text,
        })))
    }

    fn tool_list(
        &self,
        by: &Behalf,
        limit: usize,
        active_minutes: Option<usize>,
        search: Option<String>,
        now: Now,
    ) -> Result<ToolReply, DeskFault> {
        let filter = Filter {
            limit: Some(limit),
            active_minutes: active_minutes.and_then(|minutes| u64::try_from(minutes).ok()),
            search,
            agent_id: Some(self.own_place(by)?.agent),
            ..Filter::default()
        };
        let page = filter.page(self.sessions.indexes(), now.wall_ms);
        let defaults = self.defaults();
        let shown = |found: &Found<'_>| {
            let mut row = row::row(found.key, found.entry, &defaults);
            row.entry("channel").or_insert_with(|| "unknown".into());
            Value::Object(row)
        };
        let rows: Vec<Value> = page.rows.iter().map(shown).collect();
        Ok(ToolReply::Value(json!({"count": rows.len(), "sessions": rows})))
    }

    /// A session of the same agent.
    fn tool_target(&self, by: &Behalf, target: &Target) -> Result<Place, DeskFault> {
        let own = self.own_place(by)?;
        let named = match target {
            Target::Key(key) => Named { key: Some(key.clone()), ..Named::default() },
            Target::Label(label) => {
                Named { label: Some(label.clone()), agent_id: Some(own.agent.clone()), ..Named::default() }
            }
        };
        let rules = KeyRules { default_agent: own.agent.clone(), ..KeyRules::of(&self.config) };
        let key = named
            .resolve(&rules, self.sessions.indexes())
            .map_err(|refusal| DeskFault::Refused(refusal.to_string()))?;
        let agent = rules.owner(&key).to_string();
        if agent != own.agent {
            return Err(foreign(key.as_str(), &agent));
        }
        Ok(Place { agent, key: key.as_str().to_string() })
    }

    #[allow(clippy::too_many_arguments, reason = "the question has these parts, and a struct would only repeat it")]
    fn tool_send(
        &mut self,
        by: &Behalf,
        ticket: u64,
        target: &Target,
        message: &str,
        wait: std::time::Duration,
        now: Now,
        fx: &mut Vec<Effect>,
    ) -> Result<Option<Value>, DeskFault> {
        let (own, place) = (self.own_place(by)?, self.tool_target(by, target)?);
        if own == place {
            return Err(DeskFault::Refused("a session cannot send to itself".to_string()));
        }
        let run_id = self.entropy.uuid();
        let refused = |error: crate::protocol::errors::WireError| DeskFault::Refused(error.message);
        agent::check_size("sessions_send", message).map_err(refused)?;
        let note = format!("(from session {}) {message}", own.key);
        let prompt = agent::prompt(self, &note, Vec::new(), Some(&run_id), now);
        let limit = Some(self.config.agents.defaults.timeout);
        let speaker = self.speaker(by)?;
        let intake = Intake { speaker, ..Intake::new(place.clone(), run_id.clone(), Origin::Agent, prompt, limit) };
        let asker = (!wait.is_zero()).then_some(Asker::Tool(ticket));
        let waits = asker.is_some();
        self.take_in_for(None, asker, intake, now, fx).map_err(refused)?;
        if waits {
            fx.push(Effect::Timer(wait, Timer::ToolWait(ticket)));
            return Ok(None);
        }
        Ok(Some(json!({"runId": run_id, "status": "accepted", "sessionKey": place.key})))
    }

    /// A tool has waited long enough for a turn it started; the turn goes on.
    pub fn tool_wait_is_over(&mut self, ticket: u64, fx: &mut Vec<Effect>) {
        let Some(run) = self.runs.asked_by_tool(ticket) else { return };
        run.asker = None;
        let value = json!({"runId": run.id, "status": "timeout", "sessionKey": run.session_key});
        fx.push(Effect::AnswerTool(ticket, ToolReply::Value(value)));
    }

    /// Whether a client that may decide approvals is connected.
    fn has_approver(&self) -> bool {
        self.sessions_in_use().any(|(_, _, session)| {
            session.role == super::state::Role::Operator && Scope::Approvals.allowed_by(&session.scopes)
        })
    }

    fn file_approval(
        &mut self,
        ticket: u64,
        request: Request,
        now: Now,
        fx: &mut Vec<Effect>,
    ) -> Result<ToolReply, DeskFault> {
        if !self.has_approver() {
            return Err(DeskFault::NoApprover);
        }
        let id = self.entropy.uuid();
        let waiter = Some(Approver::Tool(ticket));
        let event = self
            .approvals
            .request(request, id.clone(), None, waiter, now)
            .map_err(|error| DeskFault::Refused(error.message))?;
        let expires_at_ms = event.get("expiresAtMs").and_then(Value::as_u64).unwrap_or(now.wall_ms);
        self.broadcast("exec.approval.requested", &event, fx);
        self.approval_timer(now, fx);
        Ok(ToolReply::Filed { id, expires_at_ms })
    }

    /// Wakes the state thread when the next approval expires. One timer is enough, unless this one is earlier.
    pub fn approval_timer(&mut self, now: Now, fx: &mut Vec<Effect>) {
        let Some(at) = self.approvals.next_expiry() else { return };
        if self.approvals_at.is_none_or(|set| at < set) {
            self.approvals_at = Some(at);
            fx.push(Effect::Timer(at.saturating_sub(now.mono), Timer::Approvals));
        }
    }

    /// Ends approvals that nobody decided. A timer that was overtaken by an earlier one does nothing.
    pub fn approvals_due(&mut self, now: Now, fx: &mut Vec<Effect>) {
        if self.approvals_at.is_some_and(|at| now.mono < at) {
            return;
        }
        self.approvals_at = None;
        for settled in self.approvals.expire(now) {
            self.approval_settled(settled, fx);
        }
        self.approval_timer(now, fx);
    }

    /// Tells everybody who waits, and all operators.
    pub fn approval_settled(&mut self, settled: Settled<Approver>, fx: &mut Vec<Effect>) {
        for waiter in settled.waiters {
            match waiter {
                Approver::Client(waiting) => {
                    super::broadcast::reply(fx, waiting.conn, &waiting.id, &settled.answer);
                }
                Approver::Tool(ticket) => fx.push(Effect::Decide(ticket, settled.decision)),
            }
        }
        if let Some(event) = &settled.event {
            self.broadcast("exec.approval.resolved", event, fx);
        }
    }

    /// Something a tool wants to be known.
    pub fn tool_notes(&mut self, note: Note, now: Now, fx: &mut Vec<Effect>) {
        match note {
            Note::SystemEvent { session_key, text, wake, speaker } => {
                let place = session_key::of_key(&self.config, &session_key, None);
                self.queue_line(&place, &text, speaker, now);
                // A heartbeat looks at the main session only.
                if wake && place == self.main_place(&place.agent) {
                    self.wake(&place.agent, Wake::Now, "exec-event", now, fx);
                }
            }
            Note::AllowlistUsed { agent_id, pattern, command, resolved_path } => {
                let change = ApprovalChange::Used { agent_id, pattern, command, resolved_path, now_ms: now.wall_ms };
                fx.push(Effect::Disk(Job::ApprovalsChange(change), Then::Nothing));
            }
            Note::AllowAlways { agent_id, patterns } => {
                let ids = patterns.iter().map(|_| self.entropy.uuid()).collect();
                let change = ApprovalChange::Allow { agent_id, patterns, ids };
                fx.push(Effect::Disk(Job::ApprovalsChange(change), Then::Nothing));
            }
        }
    }
}

/// Sessions of other agents are none of a tool's business.
fn foreign(key: &str, agent: &str) -> DeskFault {
    DeskFault::Refused(format!("session {key} belongs to agent {agent}"))
}
