//! The pure heart: one input and the state become a changed state and a list of effects.
//! No socket, file, clock or randomness; the same input on the same state does the same.

use std::time::Duration;

use serde_json::Value;

use super::broadcast;
use super::conn::Peer;
use super::disk::{Done, Then, Waiting};
use super::dispatch;
use super::event::{ConnId, Effect, Ended, HttpAnswer, HttpAsk, Inbound, Input, Notice, Order, Timer, Violation};
use super::handshake;
use super::methods::{agent, config, system};
use super::programs::feed::Feed;
use super::roster::Renewed;
use super::session_key::Place;
use super::sessions::Shelf;
use super::state::{Conn, Phase, State};
use super::tool_asks::Approver;
use super::trouble::Trouble;
use crate::limits;
use crate::protocol::errors::WireError;
use crate::protocol::frame;
use crate::store::tail::Tail;
use crate::sys::clock::Now;
use crate::sys::signals::Signal;

/// Handles one input.
pub fn handle(state: &mut State, input: Input, now: Now, fx: &mut Vec<Effect>) {
    let before = fx.len();
    decide(state, input, now, fx);
    state.save_system_events(before, fx);
}

fn decide(state: &mut State, input: Input, now: Now, fx: &mut Vec<Effect>) {
    match input {
        input if !state.sessions.ready && asks_sessions(&input) => state.held_inputs.push(input),
        Input::Opened { conn, peer } => opened(state, conn, peer, now, fx),
        Input::Frame { conn, frame } => inbound(state, conn, frame, now, fx),
        Input::Alive(conn) => alive(state, conn),
        Input::Closed { conn, why } => closed(state, conn, &why, now, fx),
        Input::Http { ticket, ask } => fx.push(Effect::Answer(ticket, http(state, &ask, now))),
        Input::Program { ticket, order: wish } => order(state, ticket, wish, now, fx),
        Input::Embedded(report) => state.embedded(*report, now, fx),
        Input::ProgramGone(ticket) => state.program_gone(ticket, now, fx),
        Input::Given(given) => state.previous.note(*given, now.mono),
        Input::Stored { then, done } => stored(state, then, done, now, fx),
        Input::Tool { by, ticket, ask } => state.tool_asks(&by, ticket, ask, now, fx),
        Input::Note(note) => state.tool_notes(note, now, fx),
        Input::Run(no, event) => state.run_event(no, event, now, fx),
        Input::Timer(timer) => due(state, timer, now, fx),
        Input::Signal(signal) => signalled(state, signal, now, fx),
    }
}

/// Whether a program's wish makes no sense before the session indexes have been read, right after the start. Each
/// connection waits for one at most, so that their number is bounded.
fn asks_sessions(input: &Input) -> bool {
    matches!(
        input,
        Input::Http { ask: HttpAsk::Tools { .. }, .. } | Input::Program { order: Order::Run(_) | Order::Hook(_), .. }
    )
}

fn opened(state: &mut State, conn: ConnId, peer: Peer, now: Now, fx: &mut Vec<Effect>) {
    state.counters.opened += 1;
    let nonce = state.entropy.uuid();
    let public_id = state.entropy.uuid();
    log::debug!(target: "gateway/ws", "← open remoteAddr={} conn={conn}", peer.addr);
    let challenge = json!({"nonce": nonce, "ts": now.wall_ms});
    fx.push(Effect::Send(conn, frame::event_plain("connect.challenge", &challenge.to_string()).into()));
    if !std::mem::replace(&mut state.handshakes_timed, true) {
        fx.push(Effect::Timer(state.facts.handshake, Timer::Handshake));
    }
    let phase = Phase::Challenged { nonce };
    let is = Conn { peer, phase, public_id, opened: now.mono, pinged: false, reads: 0 };
    state.conns.insert(conn, Box::new(is));
    // It came through the door before the door was closed, and would hold the exit up.
    if state.stopping {
        state.close(conn, 1012, "service restart", fx);
    }
}

fn alive(state: &mut State, conn: ConnId) {
    if let Some(entry) = state.conns.get_mut(&conn) {
        entry.pinged = false;
    }
}

fn inbound(state: &mut State, conn: ConnId, frame: Inbound, now: Now, fx: &mut Vec<Effect>) {
    alive(state, conn);
    let Some(entry) = state.conns.get(&conn) else { return };
    match (&entry.phase, frame) {
        (Phase::Closing(_), _) => {}
        (_, Inbound::Fatal(violation)) => violated(state, conn, violation, now, fx),
        (Phase::Challenged { .. }, Inbound::Connect { id, request }) => {
            handshake::connect(state, conn, &id, request, now, fx);
        }
        (Phase::Challenged { .. }, Inbound::Call { id, .. }) => {
            let text = "invalid handshake: first request must be connect";
            broadcast::fail(fx, conn, &id, &WireError::invalid(text));
            state.counters.refused += 1;
            state.close(conn, 1008, text, fx);
        }
        (Phase::Ready(_), Inbound::Call { id, call }) => dispatch::dispatch(state, conn, &id, call, now, fx),
        (Phase::Ready(_), Inbound::NotRequest { id, text }) => {
            let id = id.as_deref().unwrap_or("invalid");
            broadcast::fail(fx, conn, id, &WireError::invalid(format!("invalid request frame: {text}")));
        }
        // The reader waits for the verdict on its connect, so nothing else can arrive here.
        (Phase::Challenged { .. } | Phase::Joining(_) | Phase::Ready(_), _) => {}
    }
}

fn violated(state: &mut State, conn: ConnId, violation: Violation, now: Now, fx: &mut Vec<Effect>) {
    let (code, reason) = match violation {
        Violation::FirstNotJson => (1000, ""),
        Violation::FirstNotRequest => (1008, "invalid request frame"),
        Violation::TooLarge => (1009, ""),
        Violation::Protocol => (1002, ""),
        Violation::NotText => (1007, ""),
    };
    let remote = state.conns.get(&conn).map(|entry| entry.peer.addr.to_string()).unwrap_or_default();
    log::info!(target: "gateway/ws", "bad input conn={conn} remote={remote} what={violation:?}");
    state.trouble.add(Trouble::BadInput, Some(conn), now.wall_ms);
    state.close(conn, code, reason, fx);
}

fn closed(state: &mut State, conn: ConnId, why: &Ended, now: Now, fx: &mut Vec<Effect>) {
    fx.push(Effect::Forget(conn));
    let Some(entry) = state.conns.remove(&conn) else { return };
    let lasted = now.mono.saturating_sub(entry.opened).as_millis();
    match entry.phase {
        Phase::Ready(session) | Phase::Closing(Some(session)) => {
            log::debug!(target: "gateway/ws", "→ close conn={conn} why={why:?} durationMs={lasted}");
            state.left(&session, now, fx);
        }
        Phase::Challenged { .. } => {
            log::info!(target: "gateway/ws", "closed before connect conn={conn} remote={} why={why:?}", entry.peer.addr);
        }
        Phase::Joining(_) | Phase::Closing(None) => {
            log::debug!(target: "gateway/ws", "closed conn={conn} durationMs={lasted}");
        }
    }
    state.watch.forget(conn);
    state.approvals.drop_waiters(|waiter| matches!(waiter, Approver::Client(waiting) if waiting.conn == conn));
    if state.stopping {
        state.exit_when_empty(fx);
    }
}

fn http(state: &mut State, ask: &HttpAsk, now: Now) -> HttpAnswer {
    let caller = match ask {
        HttpAsk::Ready(caller) | HttpAsk::Startup(caller) => caller,
        HttpAsk::Admit(ask) => {
            return match state.admit_program(ask, now) {
                Ok(grant) => HttpAnswer::Admitted(grant),
                Err(reply) => HttpAnswer::Refused(reply),
            };
        }
        HttpAsk::Hook(knock) => return state.knock(knock, now),
        HttpAsk::Tools { session_key, agent } => {
            return HttpAnswer::Tools(state.tool_ground(session_key.as_deref(), agent.as_deref()).map(Box::new));
        }
        HttpAsk::Aim(aim) => {
            return match state.take_aim(aim) {
                Ok(target) => HttpAnswer::Aimed(Box::new(target)),
                Err(reply) => HttpAnswer::Refused(reply),
            };
        }
        HttpAsk::Agents => {
            let agents = state.config.agents.resolved().into_iter().map(|agent| agent.id);
            return HttpAnswer::Agents(agents.collect());
        }
        HttpAsk::Metrics => return HttpAnswer::Metrics(Box::new(state.metrics_snapshot())),
        HttpAsk::Embeddings(aim) => {
            return match state.embedding_setting(aim) {
                Ok(setting) => HttpAnswer::Embeddings(Box::new(setting)),
                Err(reply) => HttpAnswer::Refused(reply),
            };
        }
        HttpAsk::Earlier(earlier) => {
            let mut known = state.previous.known(earlier, now.mono);
            // A session that was deleted meanwhile cannot go on.
            known.session_key = known.session_key.filter(|key| state.sessions.holds(key));
            return HttpAnswer::Earlier(known);
        }
    };
    let failing = if state.stopping { vec!["stopping"] } else { Vec::new() };
    HttpAnswer::Probe {
        failing,
        uptime_ms: super::health::millis(state.uptime(now)),
        detailed: caller.local || state.bearer_is_valid(caller, now),
    }
}

fn order(state: &mut State, ticket: u64, order: Order, now: Now, fx: &mut Vec<Effect>) {
    match order {
        Order::Run(order) => state.order_run(ticket, *order, now, fx),
        Order::Call(order) => state.order_call(ticket, *order, now, fx),
        Order::Hook(order) => state.order_hook(ticket, *order, now, fx),
    }
}

fn stored(state: &mut State, then: Then, done: Done, now: Now, fx: &mut Vec<Effect>) {
    if let Then::LogsTail(waiting)
    | Then::ConfigGet(waiting)
    | Then::SecretsReload(waiting)
    | Then::Renew(waiting)
    | Then::Answer(waiting)
    | Then::Transcript(waiting) = &then
    {
        state.read_done(waiting.conn);
    }
    match (then, done) {
        (Then::Nothing, _) => {}
        (Then::Reply(ticket, reply), Done::Written(Ok(()))) => fx.push(Effect::Feed(ticket, Feed::Reply(reply))),
        (Then::Reply(ticket, _), _) => state.hook_not_saved(ticket, now, fx),
        (Then::Lines, Done::Written(Ok(()))) => {}
        (Then::Lines, _) => {
            state.trouble.add(Trouble::WriteFailed, None, now.wall_ms);
            state.system_events.not_saved();
        }
        (Then::CronLoaded, Done::CronZone(name, zone)) => state.cron_zone(name, zone, now, fx),
        (Then::CronLoaded, Done::CronLoaded(loaded)) => state.cron_loaded(Some(*loaded), now, fx),
        (Then::CronLoaded, _) => state.cron_loaded(None, now, fx),
        (Then::CronBegun(id), done) => state.cron_begun(&id, done, now, fx),
        (Then::CronPosted(id), done) => state.cron_posted(&id, done, now, fx),
        (Then::Commit(commit), Done::Written(Ok(()))) => state.committed(*commit, now, fx),
        (Then::Commit(commit), Done::Written(Err(text))) => state.not_committed(*commit, &text, now, fx),
        (Then::LogsTail(waiting), Done::Tail(tail)) => {
            answer(state, &waiting, tail.map(tail_answer), "log read failed: ", fx)
        }
        (Then::ConfigGet(waiting), Done::Config(snapshot)) => {
            broadcast::reply(fx, waiting.conn, &waiting.id, &config::snapshot(&snapshot));
        }
        (then @ (Then::SecretsReload(_) | Then::Renew(_)), Done::Renewed(result)) => {
            renewed(state, then, *result, now, fx);
        }
        (Then::Sessions, Done::Arrived(path, arrivals)) => state.sessions_arrived(&path, arrivals, now, fx),
        (Then::Sessions, Done::Recovered(broken)) => state.broken_off = broken,
        (Then::Sessions, Done::Sessions(shelves)) => sessions_read(state, shelves, now, fx),
        (Then::Transcript(waiting), Done::Transcript(Ok(payload))) => {
            broadcast::reply_raw(fx, waiting.conn, &waiting.id, &payload);
        }
        (Then::Transcript(waiting), Done::Transcript(Err(text))) => answer(state, &waiting, Err(text), "", fx),
        (Then::Shortened(waiting, place), done) => shortened(state, &waiting, &place, done, now, fx),
        (Then::Answer(waiting), Done::Answer(result)) => wired(state, &waiting, result, fx),
        (Then::Added(note), Done::Added(result)) => state.messages_added(*note, result, now, fx),
        (Then::Heartbeat(agent), done) => state.heartbeat_read(agent.as_deref(), done, now, fx),
        (Then::PutAway(waiting, key), Done::PutAway(archived)) => {
            let payload = json!({"ok": true, "key": key, "deleted": true, "archived": archived});
            broadcast::reply(fx, waiting.conn, &waiting.id, &payload);
        }
        (
            Then::LogsTail(waiting)
            | Then::ConfigGet(waiting)
            | Then::SecretsReload(waiting)
            | Then::Transcript(waiting)
            | Then::Renew(waiting)
            | Then::Answer(waiting)
            | Then::PutAway(waiting, _),
            _,
        ) => {
            answer(state, &waiting, Err("the disk is busy; try again".to_string()), "", fx);
        }
        (Then::Commit(commit), _) => state.not_committed(*commit, "the disk is busy", now, fx),
        (Then::Added(note), _) => state.messages_added(*note, Err("the disk is busy".to_string()), now, fx),
        (Then::Sessions, Done::Written(Err(_)) | Done::Refused) => {
            state.trouble.add(Trouble::WriteFailed, None, now.wall_ms);
            state.sessions.not_saved();
        }
        (Then::Sessions, _) => {}
    }
}

/// The session indexes are there: what waited for them goes on.
fn sessions_read(state: &mut State, shelves: Vec<(String, Shelf)>, now: Now, fx: &mut Vec<Effect>) {
    state.sessions.fill(shelves);
    state.sessions.ready = true;
    state.show_broken_off(now, fx);
    if !state.sessions.is_empty() {
        state.refresh_health(now, fx);
    }
    for (conn, id, call) in std::mem::take(&mut state.held) {
        dispatch::dispatch(state, conn, &id, call, now, fx);
    }
    for input in std::mem::take(&mut state.held_inputs) {
        handle(state, input, now, fx);
    }
    state.cron_due(now, fx);
}

fn answer(state: &mut State, waiting: &Waiting, result: Result<Value, String>, prefix: &str, fx: &mut Vec<Effect>) {
    match result {
        Ok(payload) => broadcast::reply(fx, waiting.conn, &waiting.id, &payload),
        Err(text) => {
            state.counters.failed += 1;
            broadcast::fail(fx, waiting.conn, &waiting.id, &WireError::unavailable(format!("{prefix}{text}")));
        }
    }
}

/// A transcript was shortened, or was not: the session goes on.
fn shortened(state: &mut State, waiting: &Waiting, place: &Place, done: Done, now: Now, fx: &mut Vec<Effect>) {
    match done {
        Done::Transcript(Ok(payload)) => {
            broadcast::reply_raw(fx, waiting.conn, &waiting.id, &payload);
            let changed = state.change_of(&place.agent, &place.key, "compact", now);
            state.tell_changes(changed.as_slice(), fx);
        }
        Done::Transcript(Err(text)) => answer(state, waiting, Err(text), "", fx),
        _ => answer(state, waiting, Err("the disk is busy; try again".to_string()), "", fx),
    }
    state.let_go(&place.key, now, fx);
}

fn wired(state: &mut State, waiting: &Waiting, result: Result<String, WireError>, fx: &mut Vec<Effect>) {
    match result {
        Ok(payload) => broadcast::reply_raw(fx, waiting.conn, &waiting.id, &payload),
        Err(error) => {
            state.counters.failed += 1;
            broadcast::fail(fx, waiting.conn, &waiting.id, &error);
        }
    }
}

/// A changed configuration: in force first, answered then.
fn renewed(state: &mut State, then: Then, result: Result<Renewed, WireError>, now: Now, fx: &mut Vec<Effect>) {
    let (Then::SecretsReload(waiting) | Then::Renew(waiting)) = &then else { return };
    let answer = result.map(|mut renewed| {
        let answer = renewed.answer.take();
        if matches!(then, Then::SecretsReload(_)) {
            system::secrets_reloaded(state, waiting.conn, &renewed.snapshot.config, fx);
        }
        state.renewed(renewed, now, fx);
        answer
    });
    wired(state, waiting, answer.map(|answer| answer.to_string()), fx);
}

fn tail_answer(tail: Tail) -> Value {
    json!({
        "file": tail.file.display().to_string(),
        "cursor": tail.cursor,
        "size": tail.size,
        "lines": tail.lines,
        "truncated": tail.truncated,
        "reset": tail.reset,
    })
}

fn due(state: &mut State, timer: Timer, now: Now, fx: &mut Vec<Effect>) {
    match timer {
        Timer::Handshake => handshakes_due(state, now, fx),
        Timer::Tick => tick(state, now, fx),
        Timer::Ping => ping(state, now, fx),
        Timer::Sweep => sweep(state, now, fx),
        Timer::Presence => {
            state.presence_gate.held = false;
            state.presence_changed(now, fx);
        }
        Timer::HealthSoon => {
            state.health_gate.held = false;
            state.refresh_health(now, fx);
        }
        Timer::Health => {
            state.refresh_health(now, fx);
            fx.push(Effect::Timer(limits::HEALTH_AGE, Timer::Health));
        }
        Timer::Watchdog => {
            fx.push(Effect::Notify(Notice::Alive));
            fx.extend(state.facts.watchdog.map(|interval| Effect::Timer(interval, Timer::Watchdog)));
        }
        Timer::Shutdown => {
            state.save_unsaved(fx);
            state.save_sessions(fx);
            fx.push(Effect::Exit);
        }
        Timer::Heartbeat => state.heartbeats_due(now, fx),
        Timer::Cron => state.cron_due(now, fx),
        Timer::Approvals => state.approvals_due(now, fx),
        Timer::ToolWait(ticket) => state.tool_wait_is_over(ticket, fx),
        Timer::SaveSessions => state.save_sessions(fx),
        Timer::Runs => state.start_due_runs(now, fx),
        Timer::ChatDelta(no) => state.chat_delta_due(no, now, fx),
        Timer::RunOverdue(no) => state.run_overdue(no, fx),
        Timer::RunStuck(no) => state.run_stuck(no, now, fx),
        Timer::DeleteWait(ticket) => state.deletion_is_over(ticket, now, fx),
        Timer::AgentWait(ticket) => agent::wait_is_over(state, ticket, fx),
    }
}

/// Ends the handshakes that took too long and waits for the oldest of the others.
fn handshakes_due(state: &mut State, now: Now, fx: &mut Vec<Effect>) {
    let patience = state.facts.handshake;
    let waiting = state.conns.iter().filter(|(_, entry)| matches!(entry.phase, Phase::Challenged { .. }));
    let (late, early): (Vec<_>, Vec<_>) = waiting
        .map(|(conn, entry)| (*conn, (entry.opened + patience).saturating_sub(now.mono)))
        .partition(|(_, left)| left.is_zero());
    let next = early.iter().map(|(_, left)| *left).min();
    state.handshakes_timed = next.is_some();
    fx.extend(next.map(|left| Effect::Timer(left, Timer::Handshake)));
    for (conn, _) in late {
        log::info!(target: "gateway/ws", "handshake timeout conn={conn}");
        state.trouble.add(Trouble::HandshakeTimeout, Some(conn), now.wall_ms);
        state.counters.refused += 1;
        state.close(conn, 1000, "", fx);
    }
}

fn tick(state: &mut State, now: Now, fx: &mut Vec<Effect>) {
    state.renew_presence(now);
    state.broadcast("tick", &json!({"ts": now.wall_ms}), fx);
    fx.push(Effect::Timer(state.facts.tick, Timer::Tick));
}

/// Pings everyone; whoever has said nothing since the last ping is gone (a cable pulled, a laptop shut).
fn ping(state: &mut State, now: Now, fx: &mut Vec<Effect>) {
    let silent: Vec<ConnId> = state.conns.iter().filter(|(_, conn)| conn.pinged).map(|(id, _)| *id).collect();
    for conn in silent {
        log::info!(target: "gateway/ws", "no answer to a ping conn={conn}");
        state.trouble.add(Trouble::PingTimeout, Some(conn), now.wall_ms);
        state.close(conn, 1001, "ping timeout", fx);
    }
    for (id, conn) in state.conns.iter_mut() {
        if matches!(conn.phase, Phase::Ready(_)) {
            conn.pinged = true;
            fx.push(Effect::Ping(*id));
        }
    }
    fx.push(Effect::Timer(limits::PING, Timer::Ping));
}

fn sweep(state: &mut State, now: Now, fx: &mut Vec<Effect>) {
    state.expire(now);
    state.previous.sweep(now.mono);
    state.save_unsaved(fx);
    // What could not be written before is tried again, even if nothing else changes.
    state.save_sessions(fx);
    state.retain_sessions(now, fx);
    fx.push(Effect::Timer(limits::SWEEP, Timer::Sweep));
}

fn signalled(state: &mut State, signal: Signal, now: Now, fx: &mut Vec<Effect>) {
    match signal {
        Signal::Terminate if state.stopping => {
            log::warn!(target: "gateway", "second signal; exiting at once");
            fx.push(Effect::Exit);
        }
        Signal::Terminate => stop(state, now, fx),
        Signal::Restart => {
            log::warn!(target: "gateway", "SIGUSR1 restart ignored (not authorized; enable commands.restart or use gateway tool).");
        }
    }
}

/// Tells everyone, closes everyone, and leaves when the last has gone or the time is over.
fn stop(state: &mut State, now: Now, fx: &mut Vec<Effect>) {
    log::info!(target: "gateway", "received a stop signal; shutting down clients={}", state.conns.len());
    fx.push(Effect::Notify(Notice::Stopping));
    fx.push(Effect::StopAccepting);
    state.stopping = true;
    state.interrupt_runs(now, fx);
    state.cron_stops(now, fx);
    state.broadcast("shutdown", &json!({"reason": "gateway stopping"}), fx);
    state.save_unsaved(fx);
    let all: Vec<ConnId> = state.conns.keys().copied().collect();
    for conn in all {
        state.close(conn, 1012, "service restart", fx);
    }
    fx.push(Effect::Timer(limits::SHUTDOWN.saturating_sub(Duration::from_secs(2)), Timer::Shutdown));
    state.exit_when_empty(fx);
}

impl State {
    /// Leaves once the last client and the last run have gone.
    pub fn exit_when_empty(&mut self, fx: &mut Vec<Effect>) {
        if self.conns.is_empty() && self.runs.is_empty() {
            self.save_sessions(fx);
            fx.push(Effect::Exit);
        }
    }
}
