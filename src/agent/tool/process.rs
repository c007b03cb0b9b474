//! The tool `process`: looks after commands in the background. A session sees only its own, and a turn in which a
//! stranger speaks only those of such turns: what it may not run, it must not type into a shell that runs already.

use std::time::Duration;

use serde_json::Value;

use super::approval::judge::Origin;
use super::args::Args;
use super::exec::{Job, how, output, running, tail};
use super::outcome::ToolOutcome;
use super::{Toolbox, Work, text};
use crate::limits;
use crate::sys::child::{Exit, Listed, StopReason};

impl Toolbox {
    /// Runs `process`.
    pub(super) fn process(&mut self, work: Work<'_>) -> ToolOutcome {
        let action = work.args.text("action");
        if action == "list" {
            return self.list().with_meta("list");
        }
        let name = work.args.text("sessionId").trim();
        let Some(listed) = self.setup.jobs.find(name, |job| self.is_mine(job)) else {
            let text = if name.is_empty() { "sessionId is needed".to_string() } else { format!("no command {name}") };
            return ToolOutcome::error(format!("{text}; see process list"));
        };
        let outcome = match action {
            "poll" => self.poll(&listed, &work),
            "log" => log(&listed, &work),
            "write" => write(&listed, &work),
            "eof" => {
                listed.child.close_input();
                ToolOutcome::text(format!("The input of {name} is closed."))
            }
            _ => kill(&listed),
        };
        outcome.with_meta(format!("{action} {name}"))
    }

    fn is_mine(&self, job: &Job) -> bool {
        let heard = self.setup.origin == Origin::Operator || job.speaker == self.setup.origin;
        job.session_key == self.setup.session_key && heard
    }

    fn list(&self) -> ToolOutcome {
        let all = self.setup.jobs.all(|job| self.is_mine(job));
        let lines: Vec<String> = all.iter().map(line).collect();
        let sessions: Vec<Value> = all.iter().map(row).collect();
        let shown = if lines.is_empty() { "No commands in the background.".to_string() } else { lines.join("\n") };
        ToolOutcome::text(shown).with_details(json!({"status": "completed", "sessions": sessions}))
    }

    fn poll(&self, listed: &Listed<Job>, work: &Work<'_>) -> ToolOutcome {
        let time = work.control.at_most(patience(work.args));
        let (control, child) = (work.control.clone(), listed.child.clone());
        let registration = work.control.on_cancel(move || child.nudge());
        listed.child.wait_news(listed.read_to, time, || control.cancelled());
        drop(registration);
        // first the end, then the output: what an ended command wrote is complete
        let exit = listed.child.exit();
        let end = listed.child.output(crate::sys::child::Stream::Out, u64::MAX).end;
        let news = output(&listed.child, listed.read_to);
        self.setup.jobs.read_to(&listed.name, end);
        let state = match exit {
            None => "It still runs.".to_string(),
            Some(exit) => format!("The command {}.", how(exit)),
        };
        let news = if news.trim().is_empty() { "(no new output)" } else { news.trim_end() };
        ToolOutcome::text(format!("{news}\n\n{state}")).with_details(details(listed, exit))
    }
}

/// How long a poll waits for news.
fn patience(args: &Args) -> Duration {
    let wanted = args.count("timeoutMs").and_then(|count| u64::try_from(count).ok());
    wanted.map_or(Duration::ZERO, Duration::from_millis).min(limits::POLL_WAIT)
}

fn line(listed: &Listed<Job>) -> String {
    let state = listed.child.exit().map_or_else(|| "running".to_string(), how);
    let seconds = listed.child.age().as_secs();
    format!("{} {state} {seconds}s: {}", listed.name, text::label(&listed.about.command, limits::META_CHARS))
}

fn row(listed: &Listed<Job>) -> Value {
    let mut row = details(listed, listed.child.exit());
    if let Some(row) = row.as_object_mut() {
        row.insert("command".into(), json!(listed.about.command));
        row.insert("runtimeMs".into(), json!(u64::try_from(listed.child.age().as_millis()).unwrap_or(u64::MAX)));
    }
    row
}

fn details(listed: &Listed<Job>, exit: Option<Exit>) -> Value {
    let mut details = running(&listed.child, &listed.about, &listed.name);
    if let (Some(exit), Some(details)) = (exit, details.as_object_mut()) {
        details.insert("status".into(), json!(if exit.code == Some(0) { "completed" } else { "failed" }));
        details.insert("exitCode".into(), json!(exit.code));
    }
    details
}

fn log(listed: &Listed<Job>, work: &Work<'_>) -> ToolOutcome {
    let all = output(&listed.child, 0);
    let lines: Vec<&str> = all.lines().collect();
    let limit = work.args.count("limit").unwrap_or(limits::LOG_LINES).min(limits::READ_LINES);
    let last = lines.len().saturating_sub(limit);
    let from = work.args.count("offset").map_or(last, |offset| offset.saturating_sub(1));
    let shown: Vec<&str> = lines.iter().skip(from).take(limit).copied().collect();
    let text = if shown.is_empty() { "(no output there)".to_string() } else { shown.join("\n") };
    let mut details = details(listed, listed.child.exit());
    if let Some(details) = details.as_object_mut() {
        details.insert("totalLines".into(), json!(lines.len()));
    }
    ToolOutcome::text(text).with_details(details)
}

fn write(listed: &Listed<Job>, work: &Work<'_>) -> ToolOutcome {
    let data = work.args.text("data");
    if data.len() > limits::PROCESS_WRITE_BYTES {
        return ToolOutcome::error(format!("data is over {} bytes", limits::PROCESS_WRITE_BYTES));
    }
    if let Err(fault) = listed.child.write(data.as_bytes()) {
        let hint = "only commands started with background:true have an input";
        return ToolOutcome::error(format!("{}: {fault} ({hint})", listed.name));
    }
    if work.args.flag("eof") {
        listed.child.close_input();
    }
    ToolOutcome::text(format!("Sent {} bytes to {}.", data.len(), listed.name))
}

fn kill(listed: &Listed<Job>) -> ToolOutcome {
    if let Some(exit) = listed.child.exit() {
        return ToolOutcome::text(format!("The command {} before.", how(exit)))
            .with_details(details(listed, Some(exit)));
    }
    listed.child.stop(StopReason::Asked);
    match listed.child.wait(limits::EXEC_GRACE + limits::EXEC_GRACE) {
        Some(exit) => ToolOutcome::text(format!("{} was ended.\n{}", listed.name, tail(&listed.child)).trim_end())
            .with_details(details(listed, Some(exit))),
        None => ToolOutcome::error(format!("{} does not end; the system was told to kill it", listed.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::tool::table;

    #[test]
    fn a_poll_waits_as_long_as_is_wished_but_not_for_ever() {
        let time = |wish: Value| patience(&Args::read(table::find("process").unwrap(), &wish).unwrap());
        assert_eq!(time(json!({"action": "poll"})), Duration::ZERO);
        assert_eq!(time(json!({"action": "poll", "timeoutMs": 7})), Duration::from_millis(7));
        assert_eq!(time(json!({"action": "poll", "timeoutMs": 86_400_000})), limits::POLL_WAIT);
    }
}
