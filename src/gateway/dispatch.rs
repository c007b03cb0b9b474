//! From a checked request to its one answer: role, scope, parameters, memory of repeated calls,
//! handler. The only place that binds rows of the method table to code.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;

use super::broadcast;
use super::dedupe::{self, Remembered};
use super::event::{Answer, Call, ConnId, Effect, Handled};
use super::methods::{
    agent, agents, approvals, channels, chat, config, cron, devices, health, logs, models, nodes, session_read,
    session_write, sessions, system, tools, usage,
};
use super::metrics::Answered;
use super::state::{Role, Session, State};
use super::trouble::Trouble;
use crate::limits;
use crate::protocol::errors::{Code, WireError};
use crate::protocol::methods;
use crate::protocol::table::{Handler, Method, Scope};
use crate::sys::clock::Now;

/// A request on its way through a handler.
pub struct Request<'a> {
    /// Who asked.
    pub conn: ConnId,
    /// The request's id.
    pub id: &'a str,
    /// Checked parameters, always an object.
    pub params: Value,
    /// The moment.
    pub now: Now,
}

/// Answers a request, now or (for handlers that wait for something) later.
pub fn dispatch(state: &mut State, conn: ConnId, id: &str, call: Call, now: Now, fx: &mut Vec<Effect>) {
    state.counters.requests += 1;
    let row = match &call {
        Call::Known(row, _) => Some(*row),
        Call::Unknown(_) => None,
    };
    let name = row.map_or("unknown", |row| row.name);
    let held = state.held.len();
    if state.facts.log_requests {
        log::debug!(target: "gateway/ws", "← req {name} conn={conn}");
    }
    let answer = match answer(state, conn, id, call, now, fx) {
        Ok(Answer::Json(payload)) => {
            broadcast::reply(fx, conn, id, &payload);
            Ok(())
        }
        Ok(Answer::Raw(payload)) => {
            broadcast::reply_raw(fx, conn, id, &payload);
            Ok(())
        }
        Ok(Answer::Later) => {
            // one that waits for the session indexes comes here once more
            if state.held.len() == held {
                state.metrics.request(row, Answered::Accepted);
            }
            return;
        }
        Err(error) => Err(error),
    };
    match answer {
        Ok(()) => {
            state.metrics.request(row, Answered::Ok);
            log::debug!(target: "gateway/ws", "⇄ res ✓ {name} conn={conn}");
        }
        Err(error) => {
            state.metrics.request(row, Answered::refusing(error.code));
            state.counters.failed += 1;
            let (code, what) = (error.code.row().name, error.for_log());
            log::info!(target: "gateway/ws", "⇄ res ✗ {name} conn={conn} code={code} error={what}");
            broadcast::fail(fx, conn, id, &error);
        }
    }
}

fn answer(state: &mut State, conn: ConnId, id: &str, call: Call, now: Now, fx: &mut Vec<Effect>) -> Handled {
    if state.stopping {
        return Err(closing());
    }
    authorize(state, conn, &call, fx)?;
    let (row, params) = match call {
        Call::Known(row, params) => (row, params),
        Call::Unknown(name) => return Err(unknown(&name)),
    };
    let params = params.map_err(WireError::invalid)?;
    if !state.sessions.ready && asks_sessions(row) {
        if state.held.len() >= limits::EVENT_QUEUE {
            return Err(starting());
        }
        state.held.push((conn, id.to_string(), Call::Known(row, Ok(params))));
        return Ok(Answer::Later);
    }
    let remembered = row.idempotent.then(|| dedupe::key(row.name, &params)).flatten();
    match remembered.as_ref().and_then(|key| state.memory.recall(key, now.mono)) {
        Some(Remembered::Ended(answer)) => return answer.clone().map(Answer::Json),
        Some(Remembered::Running(Some(first))) => return Ok(Answer::Json(first.clone())),
        Some(Remembered::Running(None)) => return Err(WireError::unavailable("the same call is still running")),
        None => {}
    }
    let handled = run(state, row, Request { conn, id, params, now }, fx);
    if let Some(key) = remembered {
        remember(state, key, &handled, now);
    }
    handled
}

/// Whether a call makes no sense before the session indexes have been read, right after the start.
fn asks_sessions(row: &Method) -> bool {
    row.name == "agent" || row.name.starts_with("chat.") || row.name.starts_with("sessions.")
}

/// Keeps the answer for a repeated call; one that comes later is kept by whoever gives it. A refused call had no
/// effect: the same key may come again, put right or at a better time.
fn remember(state: &mut State, key: String, handled: &Handled, now: Now) {
    let ended = match handled {
        Ok(Answer::Json(payload)) => Remembered::Ended(Ok(payload.clone())),
        Ok(Answer::Raw(_)) => return,
        // Whoever answers later may have noted more than that it runs.
        Ok(Answer::Later) if state.memory.recall(&key, now.mono).is_some() => return,
        Ok(Answer::Later) => Remembered::Running(None),
        Err(_) => return,
    };
    state.memory.note(key, ended, now.mono);
}

/// Runs the handler so that a bug in it costs one answer, not the process.
fn run(state: &mut State, row: &'static Method, request: Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    let before = fx.len();
    let (conn, now_ms) = (request.conn, request.now.wall_ms);
    match catch_unwind(AssertUnwindSafe(|| handler(state, row.handler, request, fx))) {
        Ok(handled) => handled,
        Err(_) => {
            state.trouble.add(Trouble::Panic, Some(conn), now_ms);
            fx.truncate(before);
            log::error!(target: "gateway", "handler panicked method={}", row.name);
            Err(WireError::unavailable("internal error; see the gateway log"))
        }
    }
}

fn starting() -> WireError {
    let error = WireError::unavailable("the gateway is starting; try again");
    WireError { retryable: Some(true), retry_after_ms: Some(500), ..error }
}

fn closing() -> WireError {
    WireError { retry_after_ms: Some(1000), ..WireError::unavailable("gateway closing before request dispatch") }
}

fn unknown(name: &str) -> WireError {
    let shown: String = name.chars().take(limits::METHOD_NAME_CHARS).collect();
    let error = WireError::invalid(format!("unknown method: {shown}"));
    match methods::suggest(&shown) {
        Some(near) => error.with_details(json!({"suggestion": near})),
        None => error,
    }
}

/// Role before scope, and scope before anything that would tell an outsider which methods exist
/// (protocol.md 8: unknown names need `operator.admin` too).
fn authorize(state: &mut State, conn: ConnId, call: &Call, fx: &mut Vec<Effect>) -> Result<(), WireError> {
    let Some(session) = state.session_mut(conn) else { return Err(WireError::invalid("unauthorized")) };
    match permit(session, call) {
        Ok(()) => {
            session.unauthorized = 0;
            Ok(())
        }
        Err(error) => {
            session.unauthorized += 1;
            if session.role == Role::Node && session.unauthorized > limits::UNAUTHORIZED_IN_A_ROW {
                state.close(conn, 1008, "repeated unauthorized calls", fx);
            }
            Err(error)
        }
    }
}

fn permit(session: &Session, call: &Call) -> Result<(), WireError> {
    let scope = match call {
        Call::Known(row, _) => {
            if !row.roles(session.protocol).allow(session.role.name()) {
                return Err(WireError::invalid(format!("unauthorized role: {}", session.role.name())));
            }
            row.scope(session.protocol)
        }
        Call::Unknown(_) if session.role == Role::Node => {
            return Err(WireError::invalid("unauthorized role: node"));
        }
        Call::Unknown(_) => Scope::Admin,
    };
    if session.role == Role::Node || scope.allowed_by(&session.scopes) {
        return Ok(());
    }
    Err(missing(scope, session.protocol))
}

fn missing(scope: Scope, protocol: u8) -> WireError {
    let code = if protocol >= 4 { Code::Forbidden } else { Code::InvalidRequest };
    let details = json!({"code": "MISSING_SCOPE", "missingScope": scope.name(), "requiredScopes": [scope.name()]});
    WireError::new(code, format!("missing scope: {}", scope.name())).with_details(details)
}

/// The binding. Exhaustive: a row without code does not compile.
fn handler(state: &mut State, handler: Handler, request: Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    match handler {
        Handler::Connect => Err(WireError::invalid("connect is only valid as the first request")),
        Handler::CronAdd => cron::add(state, &request, fx),
        Handler::CronGet => cron::get(state, &request),
        Handler::CronList => cron::list(state, &request),
        Handler::CronRemove => cron::remove(state, &request, fx),
        Handler::CronRun => cron::run(state, &request, fx),
        Handler::CronRuns => cron::runs(state, &request, fx),
        Handler::CronStatus => cron::status(state, &request),
        Handler::CronUpdate => cron::update(state, &request, fx),
        Handler::Health => health::health(state, &request, fx),
        Handler::Status => health::status(state, &request),
        Handler::SystemPresence => system::presence(state, &request),
        Handler::SystemEvent => system::event(state, &request, fx),
        Handler::LastHeartbeat => system::last_heartbeat(state),
        Handler::SetHeartbeats => system::set_heartbeats(state, &request, fx),
        Handler::Wake => system::wake(state, &request, fx),
        Handler::DiagnosticsStability => system::stability(state, &request),
        Handler::GatewayIdentityGet => system::identity(state),
        Handler::UpdateStatus => system::update_status(),
        Handler::LogsTail => logs::tail(state, &request, fx),
        Handler::DevicePairList => devices::list(state, &request),
        Handler::DevicePairApprove => devices::approve(state, &request, fx),
        Handler::DevicePairReject => devices::reject(state, &request, fx),
        Handler::DevicePairRemove => devices::remove(state, &request, fx),
        Handler::DevicePairRename => devices::rename(state, &request, fx),
        Handler::DeviceTokenRotate => devices::rotate(state, &request, fx),
        Handler::DeviceTokenRevoke => devices::revoke(state, &request, fx),
        Handler::ConfigGet => config::get(state, &request, fx),
        Handler::ConfigSchema => config::schema(&request),
        Handler::ConfigSchemaLookup => config::lookup(&request),
        Handler::SecretsReload => config::reload_secrets(state, &request, fx),
        Handler::ModelsList => models::list(state, &request, fx),
        Handler::ModelsAuthStatus => models::auth_status(state, &request, fx),
        Handler::UsageStatus => usage::status(&request),
        Handler::UsageCost => usage::cost(state, &request, fx),
        Handler::SessionsUsage => usage::sessions(state, &request, fx),
        Handler::SessionsUsageLogs => usage::logs(state, &request, fx),
        Handler::SessionsUsageTimeseries => usage::series(state, &request, fx),
        Handler::ExecApprovalsNodeGet | Handler::ExecApprovalsNodeSet => approvals::of_node(state, &request),
        Handler::SessionsSteer => session_write::steer(state, &request, fx),
        Handler::ToolsEffective => tools::effective(state, &request, fx),
        Handler::AgentsList => agents::list(state),
        Handler::AgentsCreate => agents::create(state, &request, fx),
        Handler::AgentsDelete => agents::delete(state, &request, fx),
        Handler::AgentsFilesGet => agents::file_get(state, &request, fx),
        Handler::AgentsFilesList => agents::files(state, &request, fx),
        Handler::AgentsFilesSet => agents::file_set(state, &request, fx),
        Handler::AgentsUpdate => agents::update(state, &request, fx),
        Handler::AgentIdentityGet => agents::identity(state, &request),
        Handler::ChannelsStatus => channels::status(&request),
        Handler::NodeList => nodes::list(state, &request),
        Handler::NodeDescribe => nodes::describe(state, &request),
        Handler::NodePairRequest => nodes::request(state, &request, fx),
        Handler::NodePairList => nodes::pairs(state, &request),
        Handler::NodePairApprove => nodes::approve(state, &request, fx),
        Handler::NodePairReject => nodes::reject(state, &request, fx),
        Handler::NodePairRemove => nodes::remove(state, &request, fx),
        Handler::NodePairVerify => nodes::verify(state, &request),
        Handler::NodeRename => nodes::rename(state, &request, fx),
        Handler::SessionsList => sessions::list(state, &request, fx),
        Handler::CommandsList => chat::commands_list(&request),
        Handler::ToolsCatalog => tools::catalog(state, &request),
        Handler::ExecApprovalRequest => approvals::request(state, &request, fx),
        Handler::ExecApprovalResolve => approvals::resolve(state, &request, fx),
        Handler::ExecApprovalList => approvals::list(state),
        Handler::ExecApprovalGet => approvals::get(state, &request),
        Handler::ExecApprovalWaitDecision => approvals::wait(state, &request),
        Handler::ExecApprovalsGet => approvals::file(state, &request, fx),
        Handler::ExecApprovalsSet => approvals::set(state, &request, fx),
        Handler::Agent => agent::run(state, &request, fx),
        Handler::AgentWait => agent::wait(state, &request, fx),
        Handler::ChatAbort => chat::abort(state, &request, fx),
        Handler::ChatHistory => chat::history(state, &request, fx),
        Handler::ChatInject => chat::inject(state, &request, fx),
        Handler::ChatMessageGet => chat::message_get(state, &request, fx),
        Handler::ChatMetadata => chat::metadata(state, &request),
        Handler::ChatSend => chat::send(state, &request, fx),
        Handler::ChatStartup => chat::startup(state, &request, fx),
        Handler::SessionsAbort => session_write::abort(state, &request, fx),
        Handler::SessionsCompact => session_write::compact(state, &request, fx),
        Handler::SessionsCreate => session_write::create(state, &request, fx),
        Handler::SessionsDelete => session_write::delete(state, &request, fx),
        Handler::SessionsDescribe => session_read::describe(state, &request),
        Handler::SessionsGet => session_read::get(state, &request, fx),
        Handler::SessionsMessagesSubscribe => session_read::follow(state, &request),
        Handler::SessionsMessagesUnsubscribe => session_read::leave(state, &request),
        Handler::SessionsPatch => session_write::patch(state, &request, fx),
        Handler::SessionsPreview => session_read::preview(state, &request, fx),
        Handler::SessionsReset => session_write::reset(state, &request, fx),
        Handler::SessionsResolve => session_read::resolve(state, &request),
        Handler::SessionsSend => session_write::send(state, &request, fx),
        Handler::SessionsSubscribe => session_read::subscribe(state, &request),
        Handler::SessionsUnsubscribe => session_read::unsubscribe(state, &request),
    }
}

impl Request<'_> {
    /// A string parameter that the table made sure of, or the empty string.
    pub fn text(&self, name: &str) -> &str {
        self.params.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// An optional non-negative integer; a fraction of zero counts as an integer, as in JavaScript.
    pub fn count(&self, name: &str) -> Option<u64> {
        let value = self.params.get(name)?;
        value.as_u64().or_else(|| value.as_f64().filter(|n| *n >= 0.0).map(|n| n as u64))
    }

    /// An optional boolean.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.params.get(name).and_then(Value::as_bool)
    }

    /// An optional list of strings.
    pub fn texts(&self, name: &str) -> Option<Vec<String>> {
        let items = self.params.get(name)?.as_array()?;
        Some(items.iter().filter_map(|item| item.as_str().map(str::to_string)).collect())
    }
}
