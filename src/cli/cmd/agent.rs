//! `agent`: one message to an agent, the answer as it comes, and an exit status that tells how it went (`spec/cli.md` 19).

use std::io::Read;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::cli::fail::{CliError, Kind};
use crate::cli::parse::Parsed;
use crate::cli::rpc::{self, Line};
use crate::cli::world::World;
use crate::client::Incoming;
use crate::limits;
use crate::protocol::errors::Code;
use crate::sys::id::Entropy;

/// `agent`
///
/// # Errors
/// A bad command line, no gateway, or a turn that failed.
pub fn run(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let timeout = seconds(parsed)?;
    let run_id = Entropy::from_os().map_err(|error| CliError::other(format!("no random numbers: {error}")))?.uuid();
    let params = params(world, parsed, timeout, &run_id)?;
    let mut line = Line::open_within(world, parsed, &["agent"], limits::AGENT_ANSWER_MARGIN)?;
    let limit = timeout.map_or(world.config().agents.defaults.timeout, Duration::from_secs);
    line.allow(limit.saturating_add(limits::AGENT_ANSWER_MARGIN));
    let mut shown = Shown::new(world, &run_id);
    let answer = line.call_final("agent", &params, &mut |event| shown.event(event));
    shown.end()?;
    let answer = answer.map_err(|error| failed(error, &run_id, &world.command("gateway call agent.wait")))?;
    if world.json {
        return world.out.json(&answer);
    }
    if shown.anything {
        return Ok(());
    }
    text(&answer).iter().try_for_each(|line| world.out.line(line))
}

/// What went wrong, with the name of the turn and what to do next. A request that was refused began no turn.
fn failed(mut error: CliError, run_id: &str, wait: &str) -> CliError {
    let code = error.wire.code.as_deref();
    if error.kind == Kind::Usage || code == Some(Code::InvalidRequest.row().name) {
        return error;
    }
    let timed_out = code == Some(Code::AgentTimeout.row().name);
    error.wire.run_id = Some(run_id.to_string());
    if error.kind == Kind::Transport {
        let ask = format!("The turn may go on; ask for its end with: {wait} --params '{{\"runId\":\"{run_id}\"}}'");
        return error.hint(ask);
    }
    let error = error.hint(format!("Run: {run_id}"));
    match timed_out {
        true => error.hint("Give it more time with --timeout <seconds> or agents.defaults.timeoutSeconds."),
        false => error,
    }
}

/// `--timeout` in seconds; without it the gateway's own limit holds.
fn seconds(parsed: &Parsed) -> Result<Option<u64>, CliError> {
    let Some(text) = parsed.text("timeout") else { return Ok(None) };
    let seconds = text.trim().parse::<u64>().ok();
    let seconds = seconds.filter(|seconds| (1..=limits::AGENT_TIMEOUT_MAX.as_secs()).contains(seconds));
    seconds.map(Some).ok_or_else(|| CliError::usage("--timeout must be a positive integer (seconds)"))
}

fn params(world: &World, parsed: &Parsed, timeout: Option<u64>, run_id: &str) -> Result<Value, CliError> {
    let message = message(world, parsed)?;
    let mut params = Map::new();
    params.insert("message".into(), message.into());
    params.insert("idempotencyKey".into(), run_id.into());
    params.extend(timeout.map(|seconds| ("timeout".to_string(), seconds.into())));
    let members = [
        ("agent", "agentId"),
        ("to", "to"),
        ("session-id", "sessionId"),
        ("session-key", "sessionKey"),
        ("thinking", "thinking"),
    ];
    for (flag, member) in members {
        params.extend(parsed.text(flag).map(|text| (member.to_string(), text.into())));
    }
    if let Some(agent) = parsed.text("agent") {
        check_agent(world, agent)?;
    }
    Ok(Value::Object(params))
}

/// `--message`, or the file of `--message-file` (`-` is standard input).
fn message(world: &World, parsed: &Parsed) -> Result<String, CliError> {
    let text = match (parsed.text("message"), parsed.text("message-file")) {
        (Some(text), _) => text.to_string(),
        (None, Some(file)) => read(world, file)?,
        (None, None) => return Err(CliError::usage("Message (--message) is required")),
    };
    if text.trim().is_empty() {
        return Err(CliError::usage("Message (--message) is required"));
    }
    Ok(text)
}

fn read(world: &World, file: &str) -> Result<String, CliError> {
    if file == "-" {
        return read_all(file, std::io::stdin().lock());
    }
    let opened = std::fs::File::open(world.paths.expand(file, world.env.cwd()));
    read_all(file, opened.map_err(|error| CliError::other(format!("cannot read {file}: {error}")))?)
}

/// All of it: a message that loses its end says something else.
fn read_all(file: &str, from: impl Read) -> Result<String, CliError> {
    let limit = u64::try_from(limits::PROMPT_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let read = from.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| CliError::other(format!("cannot read {file}: {error}")))?;
    if bytes.len() > limits::PROMPT_BYTES {
        return Err(CliError::other(format!("{file} is larger than {} bytes", limits::PROMPT_BYTES)));
    }
    String::from_utf8(bytes).map_err(|_| CliError::other(format!("{file} is not UTF-8 text")))
}

/// The gateway would refuse it too; here the hint names this program's command.
fn check_agent(world: &World, id: &str) -> Result<(), CliError> {
    if world.config().agents.find(&id.trim().to_lowercase()).is_some() {
        return Ok(());
    }
    let list = world.command("agents list");
    Err(CliError::new(Kind::Usage, format!("Unknown agent id \"{id}\". Use \"{list}\" to see configured agents.")))
}

/// The answer on a terminal, as it comes.
struct Shown<'a> {
    world: &'a World,
    run_id: String,
    live: bool,
    anything: bool,
    open_line: bool,
}

impl<'a> Shown<'a> {
    fn new(world: &'a World, run_id: &str) -> Shown<'a> {
        let live = world.out.terminal && !world.json;
        Shown { world, run_id: run_id.to_string(), live, anything: false, open_line: false }
    }

    /// True once something stands on the terminal: the spinner has to go.
    fn event(&mut self, event: &Incoming) -> bool {
        let data = event.payload.get("data");
        let ours = event.event == "agent" && rpc::text(&event.payload, "runId") == self.run_id;
        if !self.live || !ours || rpc::text(&event.payload, "stream") != "assistant" {
            return false;
        }
        let delta = data.map(|data| rpc::text(data, "delta")).unwrap_or_default();
        if delta.is_empty() {
            return false;
        }
        // A text that is all delta is a message of its own, after a tool.
        let fresh = data.is_some_and(|data| rpc::text(data, "text") == delta) && self.open_line;
        let shown = if fresh { format!("\n\n{delta}") } else { delta.to_string() };
        self.anything = true;
        self.open_line = true;
        self.world.out.piece(&shown).is_ok()
    }

    fn end(&mut self) -> Result<(), CliError> {
        if std::mem::take(&mut self.open_line) { self.world.out.line("") } else { Ok(()) }
    }
}

/// The final answer as lines.
fn text(answer: &Value) -> Vec<String> {
    let payloads = answer.get("result").map(|result| rpc::list(result, "payloads")).unwrap_or_default();
    let mut lines = Vec::new();
    for payload in payloads {
        let text = rpc::text(payload, "text");
        if !text.trim().is_empty() {
            lines.push(text.trim_end().to_string());
        }
        let one = payload.get("mediaUrl").and_then(Value::as_str);
        let media = rpc::list(payload, "mediaUrls").iter().filter_map(Value::as_str).chain(one);
        lines.extend(media.map(|url| format!("MEDIA:{url}")));
    }
    if lines.is_empty() {
        let summary = rpc::text(answer, "summary");
        let nothing = summary.is_empty() || summary == "completed";
        lines.push(if nothing { "No reply from agent.".to_string() } else { summary.to_string() });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_whole_or_not_at_all() {
        let of = |bytes: &[u8]| read_all("m.txt", bytes).map_err(|error| error.message);
        assert_eq!(of("grüße".as_bytes()).unwrap(), "grüße");
        assert_eq!(of(&vec![b'x'; limits::PROMPT_BYTES]).unwrap().len(), limits::PROMPT_BYTES);
        assert!(of(&vec![b'x'; limits::PROMPT_BYTES + 1]).unwrap_err().contains("larger than 4194304 bytes"));
        assert!(of(b"\xff").unwrap_err().contains("not UTF-8"));
    }

    #[test]
    fn a_turn_that_failed_is_named_with_what_to_do_next() {
        let of = |kind, code: &str| {
            let mut error = CliError::new(kind, "no");
            error.wire.code = (!code.is_empty()).then(|| code.to_string());
            failed(error, "r-1", "openclaw gateway call agent.wait")
        };
        let lost = of(Kind::Transport, "");
        assert!(lost.lines().contains("agent.wait --params '{\"runId\":\"r-1\"}'"), "{}", lost.lines());
        assert_eq!((&lost.to_json()["runId"], &lost.to_json()["origin"]), (&json!("r-1"), &json!("gateway")));
        let late = of(Kind::Request, "AGENT_TIMEOUT").to_json();
        assert!(late["hints"].to_string().contains("--timeout <seconds>") && late["runId"] == "r-1", "{late}");
        assert_eq!(of(Kind::Request, "UNAVAILABLE").lines(), "no\nRun: r-1");
        assert_eq!(of(Kind::Request, "INVALID_REQUEST").to_json().get("runId"), None, "no turn began");
    }

    #[test]
    fn the_answer_as_text() {
        let answer = |payloads: Value| json!({"summary": "completed", "result": {"payloads": payloads}});
        assert_eq!(text(&answer(json!([{"text": "a\n", "mediaUrl": null}, {"text": "b"}]))), ["a", "b"]);
        assert_eq!(text(&answer(json!([{"text": "", "mediaUrl": "http://x/y.png"}]))), ["MEDIA:http://x/y.png"]);
        assert_eq!(text(&answer(json!([]))), ["No reply from agent."]);
        assert_eq!(text(&json!({"summary": "nothing to do"})), ["nothing to do"]);
    }
}
