//! The tools that ask the gateway, for sessions and scheduled work: arguments into questions, answers into results. Knows
//! no session itself.

use std::time::Duration;

use serde_json::Value;

use super::Work;
use super::args::Args;
use super::desk::{Ask, Desk, DeskFault, Target};
use super::outcome::ToolOutcome;
use crate::limits;

/// `session_status`.
pub(super) fn status(desk: &dyn Desk, work: &Work<'_>) -> ToolOutcome {
    let session_key = work.args.optional("sessionKey").map(String::from);
    match ask(desk, work, Ask::Status { session_key }, limits::STATE_REPLY) {
        // the card is the text; the rest is for clients
        Ok(value) => match value.get("statusText").and_then(Value::as_str) {
            Some(text) => ToolOutcome::text(text).with_details(value.clone()),
            None => ToolOutcome::json(value),
        },
        Err(fault) => ToolOutcome::error(fault.to_string()),
    }
}

/// `agents_list`.
pub(super) fn agents(desk: &dyn Desk, work: &Work<'_>) -> ToolOutcome {
    answer(ask(desk, work, Ask::Agents, limits::STATE_REPLY))
}

/// `sessions_list`.
pub(super) fn list(desk: &dyn Desk, work: &Work<'_>) -> ToolOutcome {
    let limit = work.args.count("limit").unwrap_or(limits::TOOL_SESSION_ROWS).min(limits::TOOL_SESSION_ROWS_MAX);
    let active_minutes = work.args.count("activeMinutes");
    let search = work.args.optional("search").map(String::from);
    answer(ask(desk, work, Ask::List { limit, active_minutes, search }, limits::STATE_REPLY))
}

/// `sessions_history`.
pub(super) fn history(desk: &dyn Desk, work: &Work<'_>) -> ToolOutcome {
    let limit = work.args.count("limit").unwrap_or(limits::TOOL_SESSION_ROWS).min(limits::TOOL_SESSION_ROWS_MAX);
    let include_tools = work.args.flag("includeTools");
    match target(work.args) {
        Ok(target) => answer(ask(desk, work, Ask::History { target, limit, include_tools }, limits::STATE_REPLY)),
        Err(outcome) => outcome,
    }
}

/// `sessions_send`.
pub(super) fn send(desk: &dyn Desk, work: &Work<'_>) -> ToolOutcome {
    let seconds = work.args.count("timeoutSeconds").and_then(|count| u64::try_from(count).ok());
    let wait = seconds.map_or(limits::SESSION_SEND_WAIT, Duration::from_secs).min(limits::SESSION_SEND_WAIT_MAX);
    let message = work.args.text("message").to_string();
    match target(work.args) {
        Ok(target) => answer(ask(desk, work, Ask::Send { target, message, wait }, wait + limits::STATE_REPLY)),
        Err(outcome) => outcome,
    }
}

/// `cron`.
pub(super) fn cron(desk: &dyn Desk, work: &Work<'_>) -> ToolOutcome {
    answer(ask(desk, work, Ask::Cron(work.args.whole().clone()), limits::STATE_REPLY))
}

fn target(args: &Args) -> Result<Target, ToolOutcome> {
    match (args.optional("sessionKey"), args.optional("label")) {
        (Some(key), None) => Ok(Target::Key(key.to_string())),
        (None, Some(label)) => Ok(Target::Label(label.to_string())),
        (None, None) => Err(ToolOutcome::error("sessionKey required")),
        _ => Err(ToolOutcome::error("give either sessionKey or label")),
    }
}

fn ask(desk: &dyn Desk, work: &Work<'_>, question: Ask, time: Duration) -> Result<Value, DeskFault> {
    desk.ask(question, &work.control.step(time))
}

fn answer(answered: Result<Value, DeskFault>) -> ToolOutcome {
    answered.map_or_else(|fault| ToolOutcome::error(fault.to_string()), ToolOutcome::json)
}
