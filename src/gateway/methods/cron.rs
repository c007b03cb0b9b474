//! `cron.*`: scheduled jobs listed, changed, run by hand, and what came of their runs. A change is answered when it is
//! on disk.

use serde_json::{Map, Value};

use super::chat::waiting;
use crate::cron::history::Wanted;
use crate::cron::input;
use crate::cron::job::{self, Job as CronEntry};
use crate::cron::schedule::Fault;
use crate::gateway::cron::files::CronJob;
use crate::gateway::cron::{Cron, Standing};
use crate::gateway::disk::{Job, Then};
use crate::gateway::dispatch::Request;
use crate::gateway::event::{Answer, Call, Effect, Handled};
use crate::gateway::session_key;
use crate::gateway::state::State;
use crate::limits;
use crate::protocol::errors::WireError;
use crate::protocol::methods;
use crate::session::key::is_reserved;
use crate::sys::order;

/// Whether the book can be asked. While it is being read the call waits: `Ok(false)`.
fn ready(state: &mut State, method: &str, request: &Request<'_>) -> Result<bool, WireError> {
    match &state.cron.standing {
        Standing::Ready => Ok(true),
        Standing::Loading => put_off(state, method, request).map(|()| false),
        Standing::Broken(why) => Err(WireError::unavailable(why.clone())),
    }
}

fn put_off(state: &mut State, method: &str, request: &Request<'_>) -> Result<(), WireError> {
    let Some(row) = methods::find(method) else { return Ok(()) };
    state.hold_for_cron(request.conn, request.id, Call::Known(row, Ok(request.params.clone())))
}

fn id_of(method: &str, request: &Request<'_>) -> Result<String, WireError> {
    let named = [request.text("id").trim(), request.text("jobId").trim()].into_iter().find(|id| !id.is_empty());
    named.map(str::to_string).ok_or_else(|| WireError::invalid(format!("invalid {method} params: missing id")))
}

/// Nobody has this id.
fn unknown(id: &str) -> WireError {
    let shown: String = id.chars().take(limits::METHOD_NAME_CHARS).collect();
    WireError::invalid(format!("cron job not found: {shown}. List the jobs (cron.list) and use one of their ids."))
        .with_details(json!({"code": "CRON_JOB_NOT_FOUND", "jobId": shown}))
}

fn refused(method: &str, why: String) -> WireError {
    // These the original says without its usual beginning.
    let bare = why.starts_with("schedule.at ") || why.starts_with("Invalid schedule.at");
    WireError::invalid(if bare { why } else { format!("invalid {method} params: {why}") })
}

/// Whether jobs run, and when the next one does.
pub fn status(state: &mut State, request: &Request<'_>) -> Handled {
    if !ready(state, "cron.status", request)? {
        return Ok(Answer::Later);
    }
    let next = state.cron.book.next_wake().filter(|_| state.cron.enabled);
    Ok(Answer::Json(json!({
        "enabled": state.cron.enabled,
        "storePath": state.cron.path.display().to_string(),
        "jobs": state.cron.book.jobs.len(),
        "nextWakeAtMs": next,
    })))
}

/// One job.
pub fn get(state: &mut State, request: &Request<'_>) -> Handled {
    if !ready(state, "cron.get", request)? {
        return Ok(Answer::Later);
    }
    let id = id_of("cron.get", request)?;
    let job = state.cron.book.find(&id).ok_or_else(|| unknown(&id))?;
    Ok(Answer::Json(Value::Object(job.members().clone())))
}

/// The jobs, as the caller wants them cut and sorted; the next one first.
pub fn list(state: &mut State, request: &Request<'_>) -> Handled {
    if !ready(state, "cron.list", request)? {
        return Ok(Answer::Later);
    }
    let wanted = |job: &&CronEntry| is_wanted(job, request);
    let mut jobs: Vec<&CronEntry> = state.cron.book.jobs.iter().filter(wanted).collect();
    match request.text("sortBy") {
        "name" => order::by_key(&mut jobs, |job| job.text("name").to_lowercase()),
        "updatedAtMs" => order::by_key(&mut jobs, |job| job.members().get("updatedAtMs").and_then(Value::as_u64)),
        // As the original: without a next run first.
        _ => order::by_key(&mut jobs, |job| job.state("nextRunAtMs").unwrap_or(0)),
    }
    if request.text("sortDir") == "desc" {
        jobs.reverse();
    }
    let total = jobs.len();
    let limit = request.count("limit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or(total.max(1));
    let from = request.count("offset").and_then(|from| usize::try_from(from).ok()).unwrap_or(0).min(total);
    let shown: Vec<&Map<String, Value>> = jobs.iter().skip(from).take(limit).map(|job| job.members()).collect();
    let next = Some(from + shown.len()).filter(|next| *next < total);
    Ok(Answer::Json(json!({
        "jobs": shown, "total": total, "offset": from, "limit": limit, "hasMore": next.is_some(), "nextOffset": next,
        "snapshotRevision": format!("{}-{}", state.facts.started.as_nanos(), state.cron.revision),
    })))
}

fn is_wanted(job: &CronEntry, request: &Request<'_>) -> bool {
    let enabled = match request.text("enabled") {
        "all" => true,
        "enabled" => job.is_enabled(),
        "disabled" => !job.is_enabled(),
        _ => job.is_enabled() || request.flag("includeDisabled") == Some(true),
    };
    let is = |name: &str, value: &str| matches!(request.text(name), "" | "all") || request.text(name) == value;
    let status = Some(job.inner_text("state", "lastStatus")).filter(|status| !status.is_empty()).unwrap_or("unknown");
    let query = request.text("query").trim().to_lowercase();
    let texts = [
        job.id(),
        job.text("name"),
        job.text("description"),
        job.inner_text("payload", "text"),
        job.inner_text("payload", "message"),
    ];
    enabled
        && is("scheduleKind", job.inner_text("schedule", "kind"))
        && is("lastRunStatus", status)
        && is("agentId", job.text("agentId"))
        && (query.is_empty() || texts.iter().any(|text| text.to_lowercase().contains(&query)))
}

/// Gives the conversation a turn is part of its full name. It must be one that its agent may speak into.
fn name_session(state: &State, members: &mut Map<String, Value>) -> Result<(), String> {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let Some(written) = text("sessionTarget").and_then(|target| target.strip_prefix(job::IN_SESSION)) else {
        return Ok(());
    };
    let shown: String = written.chars().take(limits::SESSION_KEY_CHARS).collect();
    let agent = text("agentId").unwrap_or(state.config.default_agent_id());
    let place = session_key::of_key(&state.config, written, Some(agent));
    if shown.len() < written.len() || is_reserved(&place.key) {
        return Err(format!("nobody may speak into session \"{shown}\""));
    }
    if place.agent != agent {
        return Err(format!("session \"{shown}\" belongs to agent \"{}\"", place.agent));
    }
    members.insert("sessionTarget".into(), format!("{}{}", job::IN_SESSION, place.key).into());
    Ok(())
}

/// Reads a job's schedule and agent before anything is changed. `Ok(None)` when a time zone must be read first.
fn checked(
    state: &mut State,
    method: &str,
    request: &Request<'_>,
    mut members: Map<String, Value>,
    fx: &mut Vec<Effect>,
) -> Result<Option<CronEntry>, WireError> {
    if let Some(agent) = members.get_mut("agentId") {
        let id = agent.as_str().unwrap_or_default().to_lowercase();
        if state.config.agents.find(&id).is_none() {
            return Err(refused(method, format!("unknown agent id \"{id}\"")));
        }
        *agent = id.into();
    }
    name_session(state, &mut members).map_err(|why| refused(method, why))?;
    if state.cron.size + Value::Object(members.clone()).to_string().len() > limits::CRON_FULL_BYTES {
        let text =
            format!("the schedule is full ({} bytes); remove jobs or shorten their texts", limits::CRON_FULL_BYTES);
        return Err(WireError::unavailable(text));
    }
    let expression = members.get("schedule").and_then(|schedule| schedule.get("expr")).cloned();
    let Some(mut job) = CronEntry::of(members, &state.cron.zones) else { return Ok(None) };
    match job.schedule() {
        Ok(_) => {}
        Err(Fault::Wrong(why)) => return Err(refused(method, why.clone())),
        Err(Fault::Unread(zone)) => {
            put_off(state, method, request)?;
            state.read_cron_zone(zone.clone(), fx);
            return Ok(None);
        }
    }
    job.aim(request.now.wall_ms);
    if let (true, None, Some(expression)) = (job.is_enabled(), job.next_run(), expression) {
        let why = format!("cron expression {expression} has no upcoming run time and would never fire");
        return Err(refused(method, why));
    }
    Ok(Some(job))
}

/// Adds a job; one that is declared under the same key is changed instead.
pub fn add(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    if !ready(state, "cron.add", request)? {
        return Ok(Answer::Later);
    }
    let key = request.text("declarationKey").trim();
    let declared = state.cron.book.jobs.iter().find(|job| !key.is_empty() && job.text("declarationKey") == key);
    if let Some(job) = declared {
        let id = job.id().to_string();
        return change(state, "cron.add", request, &id, &request.params.clone(), fx);
    }
    if state.cron.book.jobs.len() >= limits::CRON_JOBS {
        let text = format!("too many scheduled jobs (limit {}); remove some first", limits::CRON_JOBS);
        return Err(WireError::unavailable(text));
    }
    let id = state.entropy.uuid();
    let mut members =
        input::create(&request.params, id.clone(), request.now.wall_ms).map_err(|why| refused("cron.add", why))?;
    if !key.is_empty() {
        members.insert("declarationKey".into(), key.into());
    }
    let Some(job) = checked(state, "cron.add", request, members, fx)? else { return Ok(Answer::Later) };
    let view = Value::Object(job.members().clone());
    let answer = if key.is_empty() { view } else { json!({"created": true, "job": view}) };
    state.cron.book.jobs.push(job);
    log::info!(target: "gateway/cron", "cron: job added job={id}");
    done(state, request, &id, "added", answer, fx)
}

/// Changes a job.
pub fn update(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    if !ready(state, "cron.update", request)? {
        return Ok(Answer::Later);
    }
    let id = id_of("cron.update", request)?;
    let patch = request.params.get("patch").cloned().unwrap_or_default();
    change(state, "cron.update", request, &id, &patch, fx)
}

fn change(
    state: &mut State,
    method: &str,
    request: &Request<'_>,
    id: &str,
    patch: &Value,
    fx: &mut Vec<Effect>,
) -> Handled {
    let known = state.cron.book.find(id).ok_or_else(|| unknown(id))?;
    let (was, next) = (known.members().clone(), known.next_run());
    let mut members = was.clone();
    input::update(&mut members, patch, request.now.wall_ms).map_err(|why| refused(method, why))?;
    let same = ["schedule", "enabled"].iter().all(|name| members.get(*name) == was.get(*name));
    let Some(mut job) = checked(state, method, request, members, fx)? else { return Ok(Answer::Later) };
    if same {
        job.set("nextRunAtMs", next.map(Value::from));
    }
    let view = Value::Object(job.members().clone());
    let answer = if method == "cron.update" { view } else { json!({"created": false, "updated": true, "job": view}) };
    if let Some(known) = state.cron.book.find_mut(id) {
        *known = job;
    }
    done(state, request, id, "updated", answer, fx)
}

/// A change is made: it goes to disk, then the caller is answered, then everybody is told.
fn done(
    state: &mut State,
    request: &Request<'_>,
    id: &str,
    action: &str,
    answer: Value,
    fx: &mut Vec<Effect>,
) -> Handled {
    state.cron_changed(id, action, request.now);
    state.save_cron(Some((waiting(request), answer)), fx);
    state.cron_due(request.now, fx);
    Ok(Answer::Later)
}

/// Removes a job. What it is running goes on; its log stays.
pub fn remove(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    if !ready(state, "cron.remove", request)? {
        return Ok(Answer::Later);
    }
    let id = id_of("cron.remove", request)?;
    if state.cron.book.remove(&id).is_none() {
        return Ok(Answer::Json(json!({"ok": true, "removed": false})));
    }
    done(state, request, &id, "removed", json!({"ok": true, "removed": true}), fx)
}

/// Runs a job now.
pub fn run(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    if !ready(state, "cron.run", request)? {
        return Ok(Answer::Later);
    }
    let id = id_of("cron.run", request)?;
    let job = state.cron.book.find(&id).ok_or_else(|| unknown(&id))?;
    let now = request.now;
    let due = job.next_run().is_some_and(|next| next <= now.wall_ms);
    let is_turn = job.is_turn();
    let why_not = match request.text("mode") {
        _ if state.cron.is_busy(&id) => Some("already-running"),
        "due" if !due => Some("not-due"),
        "if-enabled" if !job.is_enabled() => Some("disabled"),
        _ => None,
    };
    if let Some(reason) = why_not {
        return Ok(Answer::Json(json!({"ok": true, "ran": false, "reason": reason})));
    }
    if is_turn {
        state.begin_cron_turn(&id, None, Some(waiting(request)), now, fx);
    } else {
        let answer = match state.cron_event(&id, None, now, fx) {
            None => Cron::ran(None),
            Some(reason) => json!({"ok": true, "ran": false, "reason": reason}),
        };
        state.save_cron(Some((waiting(request), answer)), fx);
    }
    state.cron_due(now, fx);
    Ok(Answer::Later)
}

/// What came of a job's runs.
pub fn runs(state: &mut State, request: &Request<'_>, fx: &mut Vec<Effect>) -> Handled {
    if !ready(state, "cron.runs", request)? {
        return Ok(Answer::Later);
    }
    let id = id_of("cron.runs", request)?;
    if !job::is_plain(&id) {
        return Err(WireError::invalid("invalid cron.runs params: invalid id"));
    }
    let number = |name: &str| request.count(name).and_then(|number| usize::try_from(number).ok());
    let text = |name: &str| Some(request.text(name).trim().to_string()).filter(|text| !text.is_empty());
    let one = text("status").filter(|status| status != "all");
    let wanted = Wanted {
        limit: number("limit").unwrap_or(limits::CRON_RUNS),
        offset: number("offset").unwrap_or(0),
        run_id: text("runId"),
        statuses: one.into_iter().chain(request.texts("statuses").unwrap_or_default()).collect(),
        query: text("query"),
        newest_first: text("sortDir").map(|direction| direction == "desc"),
    };
    state.read_begins(request.conn)?;
    // The log of a job that is gone stays; without one, nobody has ever had this id.
    let otherwise = state.cron.book.find(&id).is_none().then(|| Box::new(unknown(&id)));
    let job = CronJob::Runs(state.cron.log_path(&id), id, wanted, otherwise);
    fx.push(Effect::Disk(Job::Cron(job), Then::Answer(waiting(request))));
    Ok(Answer::Later)
}
