//! The tool `exec`: a shell command under the exec policy, in a process group of its own, waited for or left in the
//! background. Owns the flow from arguments to result; processes are `sys::child`'s, the judgement is `approval`'s.
//!
//! A command dies with its run: when the run is stopped, all of its commands end; when the run ends well, commands in
//! the background go on until their time is over, the gateway stops, or `process kill`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::approval::file::ApprovalsFile;
use super::approval::judge::{self, ExecPolicy, Facts, Origin, Place, Rules, Security, Verdict};
use super::approval::pending::Request;
use super::desk::{DeskFault, Note};
use super::outcome::{Partial, ToolOutcome, head_and_tail};
use super::{Toolbox, Work, text};
use crate::agent::message::Block;
use crate::config::Secret;
use crate::limits;
use crate::store::atomic;
use crate::sys::child::{Child, Exit, Input, Keep, Roster, Spec, Stderr, StopReason, Stream};
use crate::sys::clock::wall_ms;

mod approved;
mod launch;

use self::launch::Launch;

/// A command in the background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The session it belongs to.
    pub session_key: String,
    /// The run that started it.
    pub run_id: String,
    /// Who spoke in that run.
    pub speaker: Origin,
    /// The command line.
    pub command: String,
    /// Its directory.
    pub cwd: PathBuf,
    /// When it started, in Unix milliseconds.
    pub started_at_ms: u64,
}

/// All commands in the background; clones are the same list.
pub type Jobs = Roster<Job>;

/// An empty list: one per gateway.
pub fn jobs() -> Jobs {
    Roster::new(limits::BACKGROUND_JOBS)
}

/// Ends the commands of a run that was stopped; for a run that ended well there is nothing to do.
pub fn run_ended(jobs: &Jobs, run_id: &str) {
    jobs.stop(|job| job.run_id == run_id);
}

/// What was asked for.
struct Wish {
    command: String,
    cwd: PathBuf,
    env: Vec<(String, String)>,
    background: bool,
    yield_after: Duration,
    timeout: Duration,
}

/// What the approvals file says about an agent's commands; one that cannot be read lets none run.
pub fn file_rules(path: &Path, agent_id: &str) -> Rules {
    let denied = Rules { security: Some(Security::Deny), ..Rules::default() };
    approvals(path).map_or(denied, |file| file.rules(agent_id))
}

fn approvals(path: &Path) -> Result<ApprovalsFile, String> {
    let bytes = atomic::read_bounded(path, limits::APPROVALS_FILE_BYTES)
        .map_err(|fault| format!("exec denied: the approvals file cannot be read: {fault}"))?;
    let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(ApprovalsFile::read(text.as_deref()))
}

impl Toolbox {
    /// Runs `exec`.
    pub(super) fn exec(&mut self, work: Work<'_>) -> ToolOutcome {
        let meta = text::label(work.args.text("command"), limits::META_CHARS);
        let outcome = match self.wish(&work) {
            Ok(wish) => self.judged(wish, work),
            Err(text) => ToolOutcome::error(text),
        };
        outcome.with_meta(meta)
    }

    fn wish(&self, work: &Work<'_>) -> Result<Wish, String> {
        let command = work.args.text("command").trim();
        if command.is_empty() || command.contains('\0') || command.len() > limits::COMMAND_BYTES {
            return Err(format!("command must be a text of 1 to {} bytes without zero bytes", limits::COMMAND_BYTES));
        }
        let cwd =
            self.workspace.directory(work.args.optional("workdir")).map_err(|fault| format!("workdir: {fault}"))?;
        if !cwd.is_dir() {
            return Err(format!("workdir: no such directory: {}", cwd.display()));
        }
        let mut env = Vec::new();
        for (name, value) in work.args.members("env") {
            launch::check_variable(name)?;
            let value = value.as_str().unwrap_or_default();
            if value.contains('\0') {
                return Err(format!("env: {name} has a zero byte"));
            }
            env.push((name.to_string(), value.to_string()));
        }
        let count = |name: &str| work.args.count(name).and_then(|count| u64::try_from(count).ok());
        let timeout = count("timeout").filter(|seconds| *seconds > 0).map(Duration::from_secs);
        Ok(Wish {
            command: command.to_string(),
            cwd,
            env,
            background: work.args.flag("background"),
            yield_after: count("yieldMs")
                .map_or(self.settings.yield_after, Duration::from_millis)
                .min(limits::EXEC_YIELD_MAX),
            timeout: timeout.unwrap_or(self.settings.timeout).min(limits::EXEC_TIMEOUT_MAX),
        })
    }

    fn judged(&mut self, wish: Wish, work: Work<'_>) -> ToolOutcome {
        let file = match approvals(&self.setup.approvals_file) {
            Ok(file) => file,
            Err(text) => return ToolOutcome::error(text),
        };
        let rules = [self.settings.exec, self.setup.session_exec, file.rules(&self.setup.agent_id)];
        let policy = ExecPolicy::effective(self.setup.origin, &rules);
        let launch = self.launch(&wish);
        let facts = self.facts(&file, &wish, &launch);
        match judge::judge(policy, &facts) {
            Verdict::Run => self.note_use(policy, &facts, &wish),
            Verdict::Refuse(text) => return ToolOutcome::error(text),
            Verdict::Ask => match self.ask(policy, &facts, &wish, &launch, &work) {
                Asked::Run => {}
                Asked::Answer(outcome) => return outcome,
            },
        }
        self.start(wish, launch, work)
    }

    fn allowed(&self) -> launch::Allowed<'_> {
        let keys = self.setup.config.providers.iter().filter_map(|provider| provider.api_key.as_ref());
        launch::Allowed { pass: &self.settings.pass_env, keys: keys.map(Secret::expose).collect() }
    }

    fn launch(&self, wish: &Wish) -> Launch {
        Launch {
            shell: launch::shell(&self.setup.env),
            command: wish.command.clone(),
            cwd: wish.cwd.clone(),
            env: launch::environment(&self.setup.env, &self.allowed(), &self.settings.path_prepend, &wish.env),
            timeout: wish.timeout,
        }
    }

    fn facts(&self, file: &ApprovalsFile, wish: &Wish, launch: &Launch) -> Facts {
        let list = file.allowlist(&self.setup.agent_id);
        let is_program: &dyn Fn(&Path) -> bool = &launch::is_program;
        let place = Place { cwd: &wish.cwd, path: launch.path(), home: &self.setup.home, is_program };
        let mut facts = judge::examine(&wish.command, &list, &self.settings.safe_bins, &place);
        // variables change what programs do (GIT_SSH_COMMAND, NODE_OPTIONS): a list of programs says nothing then
        if !wish.env.is_empty() {
            facts.covered = false;
            facts.own_variables = true;
        }
        facts
    }

    fn note_use(&self, policy: ExecPolicy, facts: &Facts, wish: &Wish) {
        if policy.security != Security::Allowlist {
            return;
        }
        for (pattern, resolved) in &facts.used {
            self.setup.desk.tell(Note::AllowlistUsed {
                agent_id: self.setup.agent_id.clone(),
                pattern: pattern.clone(),
                command: wish.command.clone(),
                resolved_path: resolved.display().to_string(),
            });
        }
    }

    fn ask(&mut self, policy: ExecPolicy, facts: &Facts, wish: &Wish, launch: &Launch, work: &Work<'_>) -> Asked {
        let request = Request {
            command: wish.command.clone(),
            cwd: Some(wish.cwd.display().to_string()),
            host: Some("gateway".to_string()),
            security: Some(policy.security.name().to_string()),
            ask: Some(policy.ask.name().to_string()),
            agent_id: Some(self.setup.agent_id.clone()),
            resolved_path: facts.resolved_path.as_ref().map(|path| path.display().to_string()),
            session_key: Some(self.setup.session_key.clone()),
        };
        match self.setup.desk.approve(request, &work.control.step(limits::STATE_REPLY)) {
            Ok(waiting) => Asked::Answer(self.approve_later(waiting, policy, facts, launch, work)),
            Err(DeskFault::NoApprover) => match judge::fallback(policy, facts, &DeskFault::NoApprover.to_string()) {
                Verdict::Run => Asked::Run,
                Verdict::Refuse(text) => Asked::Answer(ToolOutcome::error(text)),
                Verdict::Ask => Asked::Answer(ToolOutcome::error("exec denied: approval needed")),
            },
            Err(fault) => Asked::Answer(ToolOutcome::error(format!("exec denied: approval needed, but {fault}"))),
        }
    }

    fn start(&mut self, wish: Wish, launch: Launch, work: Work<'_>) -> ToolOutcome {
        if !self.setup.jobs.has_room() {
            let text = format!("{} commands run in the background already; end one first", limits::BACKGROUND_JOBS);
            return ToolOutcome::error(text);
        }
        let child = match launch.start(wish.background) {
            Ok(child) => child,
            Err(fault) => return ToolOutcome::error(format!("the command could not be started: {fault}")),
        };
        let job = self.job(&wish.command, &wish.cwd);
        let stopper = child.clone();
        let registration = work.control.on_cancel(move || stopper.stop(StopReason::Asked));
        let wait = if wish.background { Duration::ZERO } else { wish.yield_after };
        let name = self.fresh_name();
        let outcome = match watch(&child, &job, &name, wait, work) {
            Some(exit) => ended(&child, &job, exit),
            None => self.goes_on(child, job, name),
        };
        drop(registration);
        outcome
    }

    fn job(&self, command: &str, cwd: &Path) -> Job {
        Job {
            session_key: self.setup.session_key.clone(),
            run_id: self.setup.run_id.clone(),
            speaker: self.setup.origin,
            command: command.to_string(),
            cwd: cwd.to_owned(),
            started_at_ms: wall_ms(),
        }
    }

    fn goes_on(&self, child: Child, job: Job, name: String) -> ToolOutcome {
        let details = running(&child, &job, &name);
        let seen = child.output(Stream::Out, 0).end;
        let so_far = tail(&child);
        let mut shown = format!(
            "The command goes on in the background (session {name}, pid {}). Follow it with process: poll, log, write, eof, kill.",
            child.pid()
        );
        if !so_far.is_empty() {
            shown = format!("{so_far}\n\n{shown}");
        }
        self.setup.jobs.add(name.clone(), job.clone(), child.clone(), seen);
        if self.settings.notify_on_exit {
            let (desk, watched) = (std::sync::Arc::clone(&self.setup.desk), child.clone());
            child.at_exit(move |exit| {
                // whoever killed it knows
                if exit.stopped != Some(StopReason::Asked) {
                    let text = format!("Background command {name} {}: {}", how(exit), text::label(&job.command, 80));
                    let text = with_tail(text, &tail(&watched));
                    let Job { session_key, speaker, .. } = job;
                    desk.tell(Note::SystemEvent { session_key, text, wake: true, speaker });
                }
            });
        }
        ToolOutcome::text(shown).with_details(details)
    }

    /// A name like `wild-reef` that no command in the background has.
    fn fresh_name(&mut self) -> String {
        launch::fresh_name(&mut self.setup.entropy, |name| self.setup.jobs.is_taken(name))
    }
}

enum Asked {
    Run,
    Answer(ToolOutcome),
}

/// Waits for the end at most that long, telling the news on the way; none when it still runs. A stopped run ends the
/// command and waits until it is gone.
fn watch(child: &Child, job: &Job, name: &str, wait: Duration, work: Work<'_>) -> Option<Exit> {
    let deadline = Instant::now() + wait;
    let mut seen = 0;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let time = work.control.at_most(left);
        let news = child.wait_news(seen, time, || false);
        if let Some(exit) = child.exit() {
            return Some(exit);
        }
        if work.control.stopped().is_some() {
            child.stop(StopReason::Asked);
            return child.wait(limits::EXEC_GRACE + limits::EXEC_GRACE);
        }
        if Instant::now() >= deadline {
            return None;
        }
        if news {
            seen = child.output(Stream::Out, 0).end;
            let details = running(child, job, name);
            (work.on)(Partial { content: vec![Block::text(tail(child))], details });
            // the next news at the earliest after this; the end comes at once
            child.wait(work.control.at_most(limits::EXEC_UPDATE.min(left)));
        }
    }
}

/// The result of a command that has ended.
fn ended(child: &Child, job: &Job, exit: Exit) -> ToolOutcome {
    let output = output(child, 0);
    let mut shown = if output.trim().is_empty() { "(no output)".to_string() } else { output.clone() };
    let failed = exit.code != Some(0) || exit.stopped.is_some();
    if failed {
        shown = format!("{}\n\n(the command {})", shown.trim_end(), how(exit));
    }
    if exit.left_behind {
        shown.push_str("\n\n(processes it left behind were stopped; use background:true to keep a command running)");
    }
    let details = json!({
        "status": if failed { "failed" } else { "completed" },
        "exitCode": exit.code,
        "durationMs": u64::try_from(child.age().as_millis()).unwrap_or(u64::MAX),
        "aggregated": head_and_tail(output.trim_end(), limits::EXEC_DETAILS_BYTES),
        "cwd": job.cwd.display().to_string(),
    });
    ToolOutcome { is_error: failed, ..ToolOutcome::text(shown.trim_end()).with_details(details) }
}

/// Details of a command that runs.
pub(super) fn running(child: &Child, job: &Job, name: &str) -> Value {
    json!({
        "status": "running", "sessionId": name, "pid": child.pid(), "startedAt": job.started_at_ms,
        "cwd": job.cwd.display().to_string(), "tail": tail(child),
    })
}

/// How it ended, in words.
pub(super) fn how(exit: Exit) -> String {
    match (exit.stopped, exit.code, exit.signal) {
        (Some(StopReason::Timeout), ..) => "was ended: its time was over".to_string(),
        (Some(StopReason::Asked), ..) => "was ended".to_string(),
        (None, Some(code), _) => format!("ended with code {code}"),
        (None, None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None, None) => "ended".to_string(),
    }
}

/// What is kept of the output from a position on, as text.
pub(super) fn output(child: &Child, position: u64) -> String {
    let piece = child.output(Stream::Out, position);
    text::safe(&piece.bytes(|gap| format!("\n[... {gap} bytes left out ...]\n")))
}

/// The last of the output.
pub(super) fn tail(child: &Child) -> String {
    let end = child.output(Stream::Out, u64::MAX).end;
    let start = end.saturating_sub(u64::try_from(limits::EXEC_PARTIAL_BYTES).unwrap_or(u64::MAX));
    output(child, start).trim_end().to_string()
}

fn with_tail(head: String, tail: &str) -> String {
    let short: Vec<&str> = tail.lines().rev().take(5).collect();
    let short: String = short.into_iter().rev().collect::<Vec<_>>().join("\n");
    if short.is_empty() { head } else { format!("{head}\n{short}") }
}
