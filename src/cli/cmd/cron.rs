//! `cron status|list|add|edit|enable|disable|rm|run|runs`: scheduled work (`spec/cli.md` 24). Times, spans and words to
//! choose from are read here; everything else is the gateway's to judge.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::cli::amount;
use crate::cli::commands::{MISSED, WAKE};
use crate::cli::fail::CliError;
use crate::cli::grid;
use crate::cli::out::Style;
use crate::cli::parse::Parsed;
use crate::cli::rpc::{self, list as items, text};
use crate::cli::spinner::Spinner;
use crate::cli::world::World;
use crate::cron::job::IN_SESSION;
use crate::cron::{moment, schedule};
use crate::sys::date;

/// Characters of an id that a table shows; commands take the beginning of an id.
const SHORT: usize = 8;
/// Characters of a whole id.
const WHOLE: usize = 36;

/// The job a person means: by its id, the beginning of it, or its name. What nobody knows is the gateway's to refuse.
fn resolve(line: &mut rpc::Line, given: &str) -> Result<String, CliError> {
    if given.len() == WHOLE && given.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
        return Ok(given.to_string());
    }
    let answer = line.call("cron.list", &json!({"includeDisabled": true}))?;
    let ids = |meant: &dyn Fn(&Value) -> bool| -> Vec<String> {
        items(&answer, "jobs").iter().filter(|job| meant(job)).map(|job| text(job, "id").to_string()).collect()
    };
    let mut found = ids(&|job| text(job, "id") == given || text(job, "name") == given);
    if found.is_empty() && given.len() >= 4 {
        found = ids(&|job| text(job, "id").starts_with(given));
    }
    match found.as_slice() {
        [] => Ok(given.to_string()),
        [one] => Ok(one.clone()),
        many => Err(CliError::usage(format!("\"{given}\" means several jobs: {}", many.join(", ")))),
    }
}

/// `cron status`
///
/// # Errors
/// As every call.
pub fn status(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let answer = rpc::call(world, parsed, "cron.status", &json!({}))?;
    if world.json {
        return world.out.json(&answer);
    }
    let enabled = answer.get("enabled").and_then(Value::as_bool) == Some(true);
    let jobs = answer.get("jobs").and_then(Value::as_u64).unwrap_or(0);
    world.out.line(&format!("Scheduler: {}", if enabled { "on" } else { "off (cron.enabled: false)" }))?;
    world.out.line(&format!("Jobs: {jobs}"))?;
    world.out.line(&format!("Next: {}", relative(answer.get("nextWakeAtMs"), world.now_ms)))?;
    world.out.line(&format!("Store: {}", text(&answer, "storePath")))
}

/// `cron list`
///
/// # Errors
/// As every call.
pub fn list(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let mut params = json!({"includeDisabled": parsed.has("all")});
    put(&mut params, "agentId", parsed.text("agent"));
    let answer = rpc::call(world, parsed, "cron.list", &params)?;
    if world.json {
        return world.out.json(&answer);
    }
    let jobs = items(&answer, "jobs");
    if jobs.is_empty() {
        return world.out.line("No cron jobs.");
    }
    let rows: Vec<Vec<String>> = jobs.iter().map(|job| row(job, world.now_ms)).collect();
    world.out.line(&grid::draw(&["Job", "When", "Next", "Last", "Status"], &rows, world.out.width()))
}

fn row(job: &Value, now_ms: u64) -> Vec<String> {
    let state = job.get("state").cloned().unwrap_or_default();
    let enabled = job.get("enabled").and_then(Value::as_bool) != Some(false);
    let none = Value::Null;
    let next = relative(state.get("nextRunAtMs").filter(|_| enabled), now_ms);
    vec![
        format!("{}\n{}", text(job, "name"), text(job, "id").get(..SHORT).unwrap_or(text(job, "id"))),
        when(job.get("schedule").unwrap_or(&none)),
        next,
        relative(state.get("lastRunAtMs"), now_ms),
        standing(&state, enabled),
    ]
}

fn standing(state: &Value, enabled: bool) -> String {
    let last = text(state, "lastStatus");
    let mut words = match (enabled, state.get("runningAtMs").is_some()) {
        (_, true) => "running".to_string(),
        (false, _) if last.is_empty() => "disabled".to_string(),
        (false, _) => format!("disabled\n{last}"),
        (true, _) if last.is_empty() => "idle".to_string(),
        (true, _) => last.to_string(),
    };
    let error: String = text(state, "lastError").chars().take(80).collect();
    if !error.is_empty() {
        words.push_str(&format!("\n{error}"));
    } else if let Some(count) = state.pointer("/missed/count").and_then(Value::as_u64) {
        words.push_str(&format!("\nmissed {count}, {}", text(&state["missed"], "action")));
    }
    words
}

fn when(schedule: &Value) -> String {
    match text(schedule, "kind") {
        "at" => format!("at {}", text(schedule, "at").get(..16).unwrap_or_default().replace('T', " ") + "Z"),
        "every" => format!("every {}", exact(schedule.get("everyMs").and_then(Value::as_u64).unwrap_or(0))),
        "cron" if !text(schedule, "tz").is_empty() => {
            format!("cron {}\n{}", text(schedule, "expr"), text(schedule, "tz"))
        }
        "cron" => format!("cron {}", text(schedule, "expr")),
        kind => kind.to_string(),
    }
}

/// A span in the largest unit it is a multiple of.
fn exact(ms: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
    let unit = units.iter().find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit)).unwrap_or(&(1, "ms"));
    format!("{}{}", ms / unit.0, unit.1)
}

fn relative(at: Option<&Value>, now_ms: u64) -> String {
    match at.and_then(Value::as_u64).filter(|at| *at > 0) {
        None => "-".to_string(),
        Some(at) if at >= now_ms => format!("in {}", amount::span(at - now_ms)),
        Some(at) => amount::ago(now_ms - at),
    }
}

fn put(params: &mut Value, name: &str, value: Option<impl Into<Value>>) {
    if let (Some(members), Some(value)) = (params.as_object_mut(), value) {
        members.insert(name.to_string(), value.into());
    }
}

/// `cron add`
///
/// # Errors
/// Not exactly one schedule and one payload, a time that cannot be read, or the gateway's refusal.
pub fn add(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let schedule = schedule_of(parsed, world.now_ms)?
        .ok_or_else(|| CliError::usage("Choose exactly one schedule: --at, --every, or --cron"))?;
    let payload = match (said(parsed, "system-event"), said(parsed, "message")) {
        (Some(text), None) => json!({"kind": "systemEvent", "text": text}),
        (None, Some(_)) => Value::Object(turn_of(parsed)?.unwrap_or_default()),
        _ => return Err(CliError::usage("Choose exactly one payload: --system-event or --message")),
    };
    let turn = text(&payload, "kind") == "agentTurn";
    let mut params = members_of(parsed)?;
    put(&mut params, "schedule", Some(schedule));
    put(&mut params, "payload", Some(payload));
    put(&mut params, "enabled", Some(!parsed.has("disabled")));
    if turn {
        // What is said in a conversation stands there.
        let own = !text(&params, "sessionTarget").starts_with(IN_SESSION);
        put(&mut params, "delivery", delivery_of(parsed)?.or_else(|| own.then(|| json!({"mode": "announce"}))));
    } else if delivery_of(parsed)?.is_some() {
        return Err(CliError::usage(
            "--announce, --no-deliver, --channel, --to and --webhook need a turn (--message).",
        ));
    }
    changed(world, parsed, "cron.add", &params, "added")
}

/// `cron edit`
///
/// # Errors
/// As [`add`].
pub fn edit(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    if parsed.has("enable") && parsed.has("disable") {
        return Err(CliError::usage("Choose --enable or --disable, not both"));
    }
    let mut patch = members_of(parsed)?;
    put(&mut patch, "schedule", schedule_of(parsed, world.now_ms)?);
    put(&mut patch, "enabled", parsed.has("enable").then_some(true));
    put(&mut patch, "enabled", parsed.has("disable").then_some(false));
    put(&mut patch, "agentId", parsed.has("clear-agent").then_some(Value::Null));
    let turn = turn_of(parsed)?;
    match said(parsed, "system-event") {
        Some(_) if turn.is_some() => return Err(CliError::usage("Choose at most one payload change")),
        Some(text) => put(&mut patch, "payload", Some(json!({"kind": "systemEvent", "text": text}))),
        None => put(&mut patch, "payload", turn.map(Value::Object)),
    }
    put(&mut patch, "delivery", delivery_of(parsed)?);
    if patch.as_object().is_some_and(Map::is_empty) {
        return Err(CliError::usage("Nothing to change. Name a flag, such as --every 1h or --disable."));
    }
    changed(world, parsed, "cron.update", &json!({ "patch": patch }), "changed")
}

fn said(parsed: &Parsed, flag: &str) -> Option<String> {
    parsed.text(flag).map(str::trim).filter(|text| !text.is_empty()).map(str::to_string)
}

/// What `add` and `edit` have in common.
fn members_of(parsed: &Parsed) -> Result<Value, CliError> {
    let mut members = json!({});
    let names = [
        ("name", "name"),
        ("description", "description"),
        ("agentId", "agent"),
        ("sessionTarget", "session"),
        ("wakeMode", "wake"),
        ("missed", "missed"),
    ];
    for (name, flag) in names {
        put(&mut members, name, parsed.text(flag));
    }
    for (flag, choices) in [("missed", MISSED), ("wake", WAKE)] {
        if parsed.text(flag).is_some_and(|given| !choices.contains(&given)) {
            return Err(CliError::usage(format!("--{flag} must be {}", choices.join(" or "))));
        }
    }
    match (parsed.has("delete-after-run"), parsed.has("keep-after-run")) {
        (true, true) => return Err(CliError::usage("Choose --delete-after-run or --keep-after-run, not both")),
        (true, false) => put(&mut members, "deleteAfterRun", Some(true)),
        (false, true) => put(&mut members, "deleteAfterRun", Some(false)),
        (false, false) => {}
    }
    Ok(members)
}

fn schedule_of(parsed: &Parsed, now_ms: u64) -> Result<Option<Value>, CliError> {
    let given = (said(parsed, "at"), said(parsed, "every"), said(parsed, "cron"));
    let tz = said(parsed, "tz");
    Ok(Some(match given {
        (None, None, None) if tz.is_some() => {
            return Err(CliError::usage("--tz belongs to --cron or --at: name the schedule with it"));
        }
        (_, Some(_), _) if tz.is_some() => {
            return Err(CliError::usage("--tz means nothing with --every; use --cron for times of day"));
        }
        (None, None, None) => return Ok(None),
        (Some(at), None, None) => {
            json!({"kind": "at", "at": date::iso_utc(moment_of(&at, tz.as_deref(), now_ms)?)})
        }
        (None, Some(every), None) => match moment::span(&every) {
            Some(ms) => json!({"kind": "every", "everyMs": ms}),
            None => return Err(CliError::usage("Invalid --every; use e.g. 10m, 1h, 1d")),
        },
        (None, None, Some(expr)) => {
            let mut schedule = json!({"kind": "cron", "expr": expr});
            put(&mut schedule, "tz", tz);
            schedule
        }
        _ => return Err(CliError::usage("Choose exactly one schedule: --at, --every, or --cron")),
    }))
}

fn moment_of(at: &str, tz: Option<&str>, now_ms: u64) -> Result<u64, CliError> {
    if let Some(span) = moment::span(at.strip_prefix('+').unwrap_or(at)) {
        return Ok(now_ms.saturating_add(span));
    }
    let zone = match tz {
        Some(name) => Some(
            schedule::read_zone(name)
                .ok_or_else(|| CliError::usage(format!("Unknown time zone \"{name}\"; use e.g. Europe/Berlin")))?,
        ),
        None => None,
    };
    let wrong = || CliError::usage("Invalid --at; use an ISO time (UTC unless --tz says otherwise) or a span like 20m");
    moment::parse(at, zone.as_deref()).ok_or_else(wrong)
}

/// The members of a turn that the flags name.
fn turn_of(parsed: &Parsed) -> Result<Option<Map<String, Value>>, CliError> {
    let mut payload = json!({});
    put(&mut payload, "message", said(parsed, "message"));
    put(&mut payload, "model", said(parsed, "model"));
    put(&mut payload, "thinking", said(parsed, "thinking"));
    if let Some(seconds) = parsed.text("timeout-seconds") {
        match seconds.trim().parse::<u64>() {
            Ok(seconds) if seconds > 0 => put(&mut payload, "timeoutSeconds", Some(seconds)),
            _ => return Err(CliError::usage("Invalid --timeout-seconds; use a positive number")),
        }
    }
    let Value::Object(mut payload) = payload else { return Ok(None) };
    if payload.is_empty() {
        return Ok(None);
    }
    payload.insert("kind".to_string(), "agentTurn".into());
    Ok(Some(payload))
}

fn delivery_of(parsed: &Parsed) -> Result<Option<Value>, CliError> {
    if let Some(url) = said(parsed, "webhook") {
        return Ok(Some(json!({"mode": "webhook", "to": url})));
    }
    let (announce, silent) = (parsed.has("announce"), parsed.has("no-deliver"));
    if announce && silent {
        return Err(CliError::usage("Choose at most one of --announce or --no-deliver"));
    }
    let (channel, to) = (parsed.text("channel"), parsed.text("to"));
    if !announce && !silent && channel.is_none() && to.is_none() {
        return Ok(None);
    }
    let mut delivery = json!({"mode": if silent { "none" } else { "announce" }});
    put(&mut delivery, "channel", channel);
    put(&mut delivery, "to", to);
    Ok(Some(delivery))
}

/// `cron enable`
///
/// # Errors
/// As every call.
pub fn enable(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    switch(world, parsed, true, "enabled")
}

/// `cron disable`
///
/// # Errors
/// As every call.
pub fn disable(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    switch(world, parsed, false, "disabled")
}

fn switch(world: &World, parsed: &Parsed, enabled: bool, word: &str) -> Result<(), CliError> {
    changed(world, parsed, "cron.update", &json!({"patch": {"enabled": enabled}}), word)
}

/// Sends a change, of the job the first argument names if there is one, and says what came of it; also when jobs do
/// not run by themselves.
fn changed(world: &World, parsed: &Parsed, method: &str, params: &Value, word: &str) -> Result<(), CliError> {
    let mut line = rpc::Line::open(world, parsed, &[method, "cron.status", "cron.list"])?;
    let mut params = params.clone();
    if let Some(given) = parsed.arg(0) {
        put(&mut params, "id", Some(resolve(&mut line, given)?));
    }
    let job = line.call(method, &params).map_err(|error| unknown(world, error))?;
    if world.json {
        world.out.json(&job)?;
    } else {
        let next = relative(job.pointer("/state/nextRunAtMs"), world.now_ms);
        world.out.line(&format!("Job {} {word}: {} ({})", text(&job, "id"), text(&job, "name"), next_words(&next)))?;
    }
    let status = line.call("cron.status", &json!({}))?;
    if status.get("enabled").and_then(Value::as_bool) == Some(false) {
        let told = "The scheduler is off (cron.enabled: false): jobs are kept but run by hand only.";
        world.out.note(Style::Warn, told);
    }
    Ok(())
}

fn next_words(next: &str) -> String {
    if next == "-" { "no next run".to_string() } else { format!("next run {next}") }
}

fn unknown(world: &World, error: CliError) -> CliError {
    if error.message.contains("not found: ") || error.message.contains("unknown cron job") {
        return error.hint(format!("See the ids with: {}", world.command("cron list --all")));
    }
    match other_session(&error.message) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// What to add when a job would say something that its session does not take.
fn other_session(refusal: &str) -> Option<&'static str> {
    let refused = |kind: &str| refusal.contains(&format!("{kind} cron jobs require payload.kind"));
    match () {
        () if refused("isolated") => Some("A turn says a --message; for a --system-event add --session main."),
        () if refused("main") => {
            Some("The main session gets a --system-event; for a --message add --session isolated.")
        }
        () => None,
    }
}

/// `cron rm`
///
/// # Errors
/// As every call; an id that is not there is a negative result.
pub fn remove(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let mut line = rpc::Line::open(world, parsed, &["cron.remove", "cron.list"])?;
    let id = resolve(&mut line, parsed.arg(0).unwrap_or_default())?;
    let answer = line.call("cron.remove", &json!({"id": id})).map_err(|error| unknown(world, error))?;
    if world.json {
        return world.out.json(&answer);
    }
    match answer.get("removed").and_then(Value::as_bool) {
        Some(false) => Err(unknown(world, CliError::other(format!("cron job not found: {id}")))),
        _ => world.out.line(&format!("Job {id} removed.")),
    }
}

/// `cron run`
///
/// # Errors
/// As every call; a job that does not run is a negative result.
pub fn run(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let mut line = rpc::Line::open(world, parsed, &["cron.run", "cron.list"])?;
    let id = resolve(&mut line, parsed.arg(0).unwrap_or_default())?;
    let params = json!({"id": id, "mode": if parsed.has("due") { "due" } else { "force" }});
    let wait =
        parsed.has("wait").then(|| Ok((span(parsed, "wait-timeout", "10m")?, span(parsed, "poll-interval", "1s")?)));
    let wait = wait.transpose()?;
    let mut answer = line.call("cron.run", &params).map_err(|error| unknown(world, error))?;
    if let (Some((most, pause)), false) = (wait, text(&answer, "runId").is_empty()) {
        let entry = ended(world, &mut line, &id, text(&answer, "runId"), most, pause)?;
        return told(world, &id, &mut answer, entry);
    }
    let is = |name: &str| answer.get(name).and_then(Value::as_bool) == Some(true);
    let ran = is("ran") || is("enqueued");
    if world.json {
        world.out.json(&answer)?;
        return if ran { Ok(()) } else { Err(CliError::negative()) };
    }
    if !ran {
        return Err(CliError::other(format!("Job {id} was not run: {}", text(&answer, "reason"))));
    }
    if is("enqueued") {
        let look = world.command(&format!("cron runs {id}"));
        return world.out.line(&format!("Job {id} is running. See what came of it with: {look}"));
    }
    world.out.line(&format!("Job {id} was run."))
}

fn span(parsed: &Parsed, flag: &str, default: &str) -> Result<Duration, CliError> {
    let span = moment::span(parsed.text(flag).unwrap_or(default)).map(Duration::from_millis);
    span.ok_or_else(|| CliError::usage(format!("Invalid --{flag}; use e.g. 30s, 10m")))
}

/// Waits until a run stands in the log.
fn ended(
    world: &World,
    line: &mut rpc::Line,
    id: &str,
    run: &str,
    most: Duration,
    pause: Duration,
) -> Result<Value, CliError> {
    let begun = Instant::now();
    let _spinner = Spinner::start("Waiting for the turn…", !world.json);
    loop {
        line.renew();
        // While a job that was removed has no log yet, there is nothing to tell of it.
        let page = line.call_if_possible("cron.runs", &json!({"id": id, "runId": run, "limit": 1}))?;
        if let Some(entry) = page.as_ref().and_then(|page| items(page, "entries").first()) {
            return Ok(entry.clone());
        }
        if begun.elapsed() >= most {
            let look = world.command(&format!("cron runs {id}"));
            let text = format!(
                "Job {id} still runs after {}",
                exact_or_seconds(u64::try_from(most.as_millis()).unwrap_or(u64::MAX))
            );
            return Err(CliError::other(text).hint(format!("It goes on; see what came of it with: {look}")));
        }
        std::thread::sleep(pause.min(most.saturating_sub(begun.elapsed())));
    }
}

/// Says how a run ended that was waited for.
fn told(world: &World, id: &str, answer: &mut Value, entry: Value) -> Result<(), CliError> {
    let (status, well) = (text(&entry, "status").to_string(), text(&entry, "status") == "ok");
    let said = [text(&entry, "error"), text(&entry, "summary")].into_iter().find(|said| !said.is_empty());
    let said = said.unwrap_or_default().to_string();
    if world.json {
        put(answer, "completed", Some(true));
        put(answer, "status", Some(status));
        put(answer, "run", Some(entry));
        world.out.json(answer)?;
        return if well { Ok(()) } else { Err(CliError::negative()) };
    }
    match well {
        true if said.is_empty() => world.out.line(&format!("Job {id} ended well.")),
        true => world.out.line(&said),
        false => Err(CliError::other(format!("Job {id} ended with {status}: {said}"))),
    }
}

/// `cron runs`
///
/// # Errors
/// No id, a limit that is no number, or the call.
pub fn runs(world: &World, parsed: &Parsed) -> Result<(), CliError> {
    let id = match (parsed.arg(0), parsed.text("id")) {
        (Some(one), Some(other)) if one != other => return Err(CliError::usage("Name one job, not two.")),
        (Some(id), _) | (None, Some(id)) => id,
        (None, None) => return Err(CliError::usage("Which job? Name its id, or use --id.")),
    };
    let limit = parsed.text("limit").unwrap_or("50").trim().parse::<u64>();
    let limit = limit.ok().filter(|limit| *limit > 0);
    let limit = limit.ok_or_else(|| CliError::usage("Invalid --limit; use a positive number"))?;
    let mut line = rpc::Line::open(world, parsed, &["cron.runs", "cron.list"])?;
    let id = resolve(&mut line, id)?;
    let answer = line.call("cron.runs", &json!({"id": id, "limit": limit})).map_err(|error| {
        let known = !error.message.contains("not found: ");
        let error = unknown(world, error);
        if known { error } else { error.hint("A one-time job is removed after success: name it by its whole id then.") }
    })?;
    if world.json {
        return world.out.json(&answer);
    }
    let entries = items(&answer, "entries");
    if entries.is_empty() {
        return world.out.line("No runs.");
    }
    let rows: Vec<Vec<String>> = entries.iter().map(run_row).collect();
    world.out.line(&grid::draw(&["When", "Status", "Took", "What"], &rows, world.out.width()))
}

fn run_row(entry: &Value) -> Vec<String> {
    let number = |name: &str| entry.get(name).and_then(Value::as_u64);
    let at = number("runAtMs").or_else(|| number("ts")).map(date::iso_utc).unwrap_or_default();
    let taken = if entry.get("delivered").and_then(Value::as_bool) == Some(true) { "delivered" } else { "" };
    let said = [text(entry, "error"), text(entry, "summary"), text(entry, "deliveryError"), taken];
    let said: Vec<String> = said.iter().filter(|text| !text.is_empty()).map(|text| short(text)).collect();
    vec![
        at.get(..19).unwrap_or_default().replace('T', " ") + "Z",
        text(entry, "status").to_string(),
        number("durationMs").map(exact_or_seconds).unwrap_or_default(),
        said.join("\n"),
    ]
}

fn exact_or_seconds(ms: u64) -> String {
    if ms < 1000 { format!("{ms}ms") } else { amount::span(ms) }
}

fn short(text: &str) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match one_line.char_indices().nth(160) {
        Some((at, _)) => format!("{}…", one_line.get(..at).unwrap_or_default()),
        None => one_line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parse;

    #[test]
    fn schedules_read_as_they_are_typed() {
        assert_eq!(when(&json!({"kind": "at", "at": "2026-11-21T10:12:50.932Z"})), "at 2026-11-21 10:12Z");
        assert_eq!(when(&json!({"kind": "every", "everyMs": 5_400_000})), "every 90m");
        assert_eq!(when(&json!({"kind": "every", "everyMs": 86_400_000})), "every 1d");
        assert_eq!(when(&json!({"kind": "cron", "expr": "0 7 * * *", "tz": "UTC"})), "cron 0 7 * * *\nUTC");
    }

    #[test]
    fn what_was_missed_stands_beside_the_status() {
        let state = json!({"lastStatus": "ok", "missed": {"count": 3, "action": "caught-up"}});
        assert_eq!(standing(&state, true), "ok\nmissed 3, caught-up");
        assert_eq!(standing(&json!({"lastStatus": "error", "lastError": "broken"}), true), "error\nbroken");
        assert_eq!(standing(&json!({}), false), "disabled");
        assert_eq!(standing(&json!({"runningAtMs": 5}), true), "running");
    }

    fn typed(flags: &str) -> Parsed {
        let line = format!("openclaw cron add --name x {flags}");
        let words: Vec<std::ffi::OsString> = line.split_whitespace().skip(1).map(Into::into).collect();
        match parse::parse(&words) {
            Ok(parse::Wish::Run(parsed)) => *parsed,
            _ => panic!("{flags}"),
        }
    }

    #[test]
    fn a_zone_that_would_mean_nothing_is_refused() {
        let refused = |flags: &str| schedule_of(&typed(flags), 5).unwrap_err().message;
        assert!(refused("--tz UTC").contains("--cron or --at"));
        assert!(refused("--tz UTC --every 1h").contains("--every"));
        assert!(schedule_of(&typed("--tz UTC --cron @daily"), 5).is_ok());
        assert!(schedule_of(&typed(""), 5).unwrap().is_none());
    }

    #[test]
    fn a_word_that_is_no_choice_is_refused_with_the_choices() {
        let told = |flags: &str| members_of(&typed(flags)).err().map(|error| error.message).unwrap_or_default();
        assert_eq!(told("--missed sometimes"), "--missed must be run or skip");
        assert_eq!(told("--wake soon"), "--wake must be now or next-heartbeat");
        assert_eq!(told("--missed skip --wake now"), "");
    }

    #[test]
    fn a_run_says_that_its_answer_was_taken() {
        let what = |entry: Value| run_row(&entry).pop().unwrap();
        assert_eq!(what(json!({"summary": "hello", "delivered": true})), "hello\ndelivered");
        assert_eq!(what(json!({"summary": "hello", "delivered": false, "deliveryError": "no"})), "hello\nno");
    }

    #[test]
    fn a_payload_for_the_other_session_says_what_to_add() {
        let hint = |text: &str| other_session(&format!("invalid cron.update params: {text}")).unwrap_or_default();
        assert!(hint("main cron jobs require payload.kind=\"systemEvent\"").ends_with("--session isolated."));
        assert!(hint("isolated cron jobs require payload.kind=\"agentTurn\"").ends_with("--session main."));
        assert_eq!(hint("cron job name is required"), "");
    }

    #[test]
    fn moments_are_spans_or_times() {
        assert_eq!(moment_of("+20m", None, 5).unwrap(), 1_200_005);
        assert_eq!(moment_of("20m", None, 5).unwrap(), 1_200_005);
        assert_eq!(date::iso_utc(moment_of("2026-12-01", None, 5).unwrap()), "2026-12-01T00:00:00.000Z");
        assert!(moment_of("soon", None, 5).unwrap_err().message.contains("Invalid --at"));
    }
}
