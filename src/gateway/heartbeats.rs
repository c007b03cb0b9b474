//! Heartbeats: when the gateway has an agent look around by itself. Owns the schedule of all agents, wishes of others
//! that one of them looks soon, and the switch. The turns are `heartbeat_turns`'; reads no file and no clock.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::disk::{Done, Job, Then};
use super::event::{Effect, Timer};
use super::runs::{Asker, Run};
use super::session_key::{self, Place};
use super::state::State;
use crate::config::sections::{ActiveHours, ResolvedHeartbeat};
use crate::limits;
use crate::session::heartbeat::{Hours, Rhythm};
use crate::sys::clock::Now;
use crate::sys::table::Table;
use crate::sys::zone::Zone;

/// When an agent looks at what waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Soon; several within a moment make one run.
    Now,
    /// With its next heartbeat.
    NextHeartbeat,
}

/// What the disk thread reads for heartbeats.
#[derive(Debug)]
pub enum HeartbeatAsk {
    /// These time zones; `local` is the machine's.
    Zones(Vec<String>),
    /// `HEARTBEAT.md` of this workspace.
    File(PathBuf),
}

/// What it found.
pub enum HeartbeatRead {
    /// Zones by name; none where there is no such zone.
    Zones(Vec<(String, Option<Zone>)>),
    /// Whether the file is there and asks for nothing.
    AsksNothing(bool),
}

/// Heartbeats of all agents.
pub struct Heartbeats {
    /// Whether heartbeats run at all; clients may change it for the life of the process.
    pub enabled: bool,
    /// The last heartbeat event.
    pub last: Option<Value>,
    pub(super) beats: Table<String, Beat>,
    zones: Table<String, Option<Zone>>,
    /// Time zones are being read; nothing is due before.
    reading: bool,
    /// When the clocks were last looked at.
    seen: Option<Now>,
    /// When the next look is due, on the monotonic clock.
    armed: Option<Duration>,
}

/// One agent's.
pub(super) struct Beat {
    rhythm: Rhythm,
    /// When the next one is due by the clock on the wall.
    due_ms: u64,
    /// Somebody wants one soon.
    want: Option<Want>,
    pub(super) work: Work,
    /// The last turn.
    pub(super) turn: Option<Turn>,
    /// Failures in a row.
    pub(super) failures: u32,
    /// When wishes started one, lately.
    woken: VecDeque<Duration>,
}

/// A wish for a heartbeat.
struct Want {
    reason: String,
    at: Duration,
}

/// What is going on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Work {
    /// Nothing.
    Idle,
    /// The disk thread reads `HEARTBEAT.md`; why, and since when.
    Reading(String, Now),
    /// A turn runs.
    Running,
}

/// A heartbeat's turn.
pub(super) struct Turn {
    pub(super) run_id: String,
    pub(super) reason: String,
    pub(super) began: Now,
    /// `updatedAt` of its session as the turn left it at its beginning, and before; a new session has none.
    pub(super) age: Option<(u64, u64)>,
}

impl Default for Heartbeats {
    fn default() -> Heartbeats {
        Heartbeats {
            enabled: true,
            last: None,
            beats: Table::new(),
            zones: Table::new(),
            reading: false,
            seen: None,
            armed: None,
        }
    }
}

impl Heartbeats {
    /// When a heartbeat's session was last in use, as it stood during the turn and as it was before.
    pub fn age_kept(&self, run: &Run) -> Option<(u64, u64)> {
        let Some(Asker::Heartbeat(agent)) = &run.asker else { return None };
        self.beats.get(agent)?.turn.as_ref().filter(|turn| turn.run_id == run.id)?.age
    }

    /// The agent whose turn is due and why, if one is; `busy` says whose session has no room.
    fn due(&mut self, now: Now, busy: impl Fn(&str) -> bool) -> Option<(String, String, bool)> {
        for (agent, beat) in self.beats.iter_mut().filter(|(_, beat)| beat.work == Work::Idle) {
            let Some(reason) = beat.due(now).filter(|_| !busy(agent)) else { continue };
            let open = beat.rhythm.is_open(now.wall_ms);
            beat.begin(reason.clone(), now, open);
            return Some((agent.clone(), reason, open));
        }
        None
    }

    /// How long until the next look; none when there is nothing to wait for.
    fn wait(&self, now: Now) -> Option<Duration> {
        let left = |beat: &Beat| {
            let want = beat.want.as_ref().map(|want| want.at.saturating_sub(now.mono));
            let due = Duration::from_millis(beat.due_ms.saturating_sub(now.wall_ms));
            want.map_or(due, |want| want.min(due))
        };
        let idle = self.beats.values().filter(|beat| beat.work == Work::Idle);
        let next = idle.map(left).map(|left| if left.is_zero() { limits::HEARTBEAT_LOOK } else { left }).min();
        (self.enabled && !self.beats.is_empty())
            .then(|| next.map_or(limits::HEARTBEAT_LOOK, |next| next.min(limits::HEARTBEAT_LOOK)))
    }
}

impl Beat {
    /// Why one is due now, if it is.
    fn due(&mut self, now: Now) -> Option<String> {
        if self.want.as_ref().is_some_and(|want| want.at <= now.mono) {
            let window = now.mono.saturating_sub(limits::HEARTBEAT_WAKE_WINDOW);
            self.woken.retain(|at| *at > window);
            match self.woken.front().filter(|_| self.woken.len() >= limits::HEARTBEAT_WAKES) {
                Some(oldest) => {
                    let at = *oldest + limits::HEARTBEAT_WAKE_WINDOW;
                    self.want.iter_mut().for_each(|want| want.at = at);
                }
                None => return self.want.as_ref().map(|want| want.reason.clone()),
            }
        }
        (self.due_ms <= now.wall_ms).then(|| "interval".to_string())
    }

    /// Takes what is due; the next one is that after it.
    fn begin(&mut self, reason: String, now: Now, open: bool) {
        if self.want.take().is_some_and(|want| want.at <= now.mono) {
            self.woken.push_back(now.mono);
        }
        self.due_ms = self.rhythm.after_run(now.wall_ms);
        if open {
            self.work = Work::Reading(reason, now);
        }
    }

    /// Tries again when the session has room.
    pub(super) fn again(&mut self, reason: String, now: Now) {
        self.work = Work::Idle;
        self.want.get_or_insert(Want { reason, at: now.mono });
    }

    /// It failed: the next one is further away with each failure.
    pub(super) fn failed(&mut self, now: Now) {
        self.failures = self.failures.saturating_add(1);
        self.due_ms = self.rhythm.after_failure(now.wall_ms, self.failures);
    }
}

impl State {
    /// Asks for a heartbeat of an agent.
    pub fn wake(&mut self, agent: &str, mode: Wake, reason: &str, now: Now, fx: &mut Vec<Effect>) {
        if mode == Wake::NextHeartbeat || self.stopping {
            return;
        }
        let enabled = self.heartbeats.enabled;
        let Some(beat) = self.heartbeats.beats.get_mut(agent).filter(|_| enabled) else {
            log::info!(target: "gateway/heartbeat", "not woken, heartbeats are off; what waits is seen at the next turn agent={agent} reason={reason}");
            return;
        };
        let at = now.mono + limits::HEARTBEAT_COALESCE;
        beat.want.get_or_insert_with(|| Want { reason: reason.to_string(), at });
        self.look_soon(now, fx);
    }

    /// Takes the configuration's heartbeats over: at the start, and when it has changed.
    pub fn plan_heartbeats(&mut self, now: Now, fx: &mut Vec<Effect>) {
        let agents = self.config.agents.resolved();
        let wanted: Vec<_> = agents.into_iter().filter_map(|agent| Some((agent.id, agent.heartbeat?))).collect();
        self.ask_for_zones(wanted.iter().filter_map(|(_, beat)| beat.active_hours.as_ref()).filter_map(zone_name), fx);
        let machine = self.facts.identity.as_ref().map_or(self.facts.host.as_str(), |(id, _)| id);
        let rhythms: Vec<(String, Rhythm)> = wanted
            .iter()
            .map(|(id, beat)| (id.clone(), Rhythm::new(beat.every, machine, id, self.hours(beat))))
            .collect();
        let before = self.heartbeats.beats.len();
        // A turn that runs tells its end although its agent has no heartbeats any more.
        self.heartbeats
            .beats
            .retain(|id, beat| beat.work != Work::Idle || rhythms.iter().any(|(other, _)| other == id));
        for (id, rhythm) in rhythms {
            match self.heartbeats.beats.get_mut(&id) {
                Some(beat) if beat.rhythm == rhythm => {}
                Some(beat) => (beat.due_ms, beat.rhythm) = (rhythm.next(now.wall_ms), rhythm),
                None => drop(self.heartbeats.beats.insert(id, Beat::new(rhythm, now))),
            }
        }
        match (before, wanted.iter().map(|(_, beat)| beat.every).min()) {
            (0, Some(every)) => {
                log::info!(target: "gateway/heartbeat", "heartbeat: started agents={} everyMs={}", wanted.len(), every.as_millis())
            }
            (_, None) => log::info!(target: "gateway/heartbeat", "heartbeat: disabled"),
            _ => {}
        }
        self.arm_heartbeats(now, fx);
    }

    fn ask_for_zones(&mut self, names: impl Iterator<Item = String>, fx: &mut Vec<Effect>) {
        let mut missing: Vec<String> = names.filter(|name| !self.heartbeats.zones.contains_key(name)).collect();
        missing.dedup();
        if !missing.is_empty() {
            self.heartbeats.reading = true;
            fx.push(Effect::Disk(Job::Heartbeat(HeartbeatAsk::Zones(missing)), Then::Heartbeat(None)));
        }
    }

    fn hours(&self, beat: &ResolvedHeartbeat) -> Option<Hours> {
        let written = beat.active_hours.as_ref()?;
        let named = zone_name(written).and_then(|name| self.heartbeats.zones.get(&name).cloned().flatten());
        let hours = Hours::read(written, named.unwrap_or_else(|| self.facts.zone.clone()));
        if hours.is_none() && written.start != written.end {
            let (start, end) = (written.start.as_deref().unwrap_or(""), written.end.as_deref().unwrap_or(""));
            log::warn!(target: "gateway/heartbeat", "activeHours limit nothing, write both times as HH:MM start={start} end={end}");
        }
        hours
    }

    /// The disk thread has read something for heartbeats.
    pub fn heartbeat_read(&mut self, agent: Option<&str>, done: Done, now: Now, fx: &mut Vec<Effect>) {
        match (agent, done) {
            (None, Done::Heartbeat(HeartbeatRead::Zones(zones))) => {
                for (name, zone) in zones {
                    if zone.is_none() {
                        log::warn!(target: "gateway/heartbeat", "unknown time zone, activeHours use the user's name={name}");
                    }
                    self.heartbeats.zones.insert(name, zone);
                }
                self.heartbeats.reading = false;
                self.plan_heartbeats(now, fx);
            }
            (None, _) => {
                self.heartbeats.reading = false;
                log::warn!(target: "gateway/heartbeat", "time zones were not read; activeHours use the user's");
            }
            (Some(agent), Done::Heartbeat(HeartbeatRead::AsksNothing(nothing))) => {
                self.heartbeat_looked(agent, nothing, now, fx);
            }
            // What cannot be read may ask for something.
            (Some(agent), _) => self.heartbeat_looked(agent, false, now, fx),
        }
        self.arm_heartbeats(now, fx);
    }

    /// A heartbeat may be due.
    pub fn heartbeats_due(&mut self, now: Now, fx: &mut Vec<Effect>) {
        if self.heartbeats.armed.is_some_and(|at| now.mono < at) {
            return;
        }
        self.heartbeats.armed = None;
        self.mind_the_clock(now);
        if self.heartbeats.enabled && !self.heartbeats.reading && self.sessions.ready && !self.stopping {
            let busy: Vec<String> =
                self.heartbeats.beats.keys().filter(|agent| self.has_no_room(agent)).cloned().collect();
            while let Some((agent, reason, open)) = self.heartbeats.due(now, |agent| busy.iter().any(|id| id == agent))
            {
                self.heartbeat_is_due(&agent, &reason, open, now, fx);
            }
        }
        self.arm_heartbeats(now, fx);
    }

    /// A clock that was set back moves what is due: nobody waits an hour longer because of it.
    fn mind_the_clock(&mut self, now: Now) {
        let Some(seen) = self.heartbeats.seen.replace(now) else { return };
        let passed = now.mono.saturating_sub(seen.mono).as_millis();
        let expected = seen.wall_ms.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX));
        if now.wall_ms.saturating_add(limits::HEARTBEAT_CLOCK_SLACK_MS) < expected {
            log::info!(target: "gateway/heartbeat", "the clock was set back by {} s; heartbeats are planned anew", (expected - now.wall_ms) / 1000);
            for beat in self.heartbeats.beats.values_mut() {
                beat.due_ms = beat.rhythm.after_run(now.wall_ms);
            }
        }
    }

    /// Whether a turn of the agent would have to wait.
    pub(super) fn has_no_room(&self, agent: &str) -> bool {
        let key = self.heartbeat_place(agent).key;
        self.runs.of_session(&key).next().is_some() || self.runs.is_held(&key)
    }

    /// The session an agent's heartbeat runs in: the main one, or the configured one of the same agent; the main one if
    /// lines wait there only.
    pub(super) fn heartbeat_place(&self, agent: &str) -> Place {
        let main = self.main_place(agent);
        let beat = self.config.agents.find(agent).and_then(|agent| agent.heartbeat);
        let Some(written) = beat.and_then(|beat| beat.session) else { return main };
        let place = session_key::of_key(&self.config, &written, Some(agent));
        let elsewhere = self.system_events.wait_for(&main.key) && !self.system_events.wait_for(&place.key);
        if place.agent == main.agent && !elsewhere { place } else { main }
    }

    /// A turn has ended: whoever waited for room is looked at again.
    pub fn heartbeats_have_room(&mut self, now: Now, fx: &mut Vec<Effect>) {
        let late = |beat: &Beat| {
            beat.work == Work::Idle
                && (beat.due_ms <= now.wall_ms || beat.want.as_ref().is_some_and(|want| want.at <= now.mono))
        };
        if self.heartbeats.beats.values().any(late) {
            self.look_soon(now, fx);
        }
        self.arm_heartbeats(now, fx);
    }

    /// Switches heartbeats on or off until the next start.
    pub fn set_heartbeats(&mut self, enabled: bool, now: Now, fx: &mut Vec<Effect>) {
        if !enabled {
            self.heartbeats.beats.values_mut().for_each(|beat| beat.want = None);
        } else if !self.heartbeats.enabled {
            // What came due meanwhile was not wanted.
            for beat in self.heartbeats.beats.values_mut().filter(|beat| beat.due_ms <= now.wall_ms) {
                beat.due_ms = beat.rhythm.next(now.wall_ms);
            }
        }
        self.heartbeats.enabled = enabled;
        self.arm_heartbeats(now, fx);
    }

    fn look_soon(&mut self, now: Now, fx: &mut Vec<Effect>) {
        self.arm(now.mono + limits::HEARTBEAT_COALESCE, now, fx);
    }

    fn arm_heartbeats(&mut self, now: Now, fx: &mut Vec<Effect>) {
        if let Some(wait) = self.heartbeats.wait(now).filter(|_| !self.stopping) {
            self.arm(now.mono + wait, now, fx);
        }
    }

    fn arm(&mut self, at: Duration, now: Now, fx: &mut Vec<Effect>) {
        if self.heartbeats.armed.is_none_or(|armed| at < armed) {
            self.heartbeats.armed = Some(at);
            fx.push(Effect::Timer(at.saturating_sub(now.mono), Timer::Heartbeat));
        }
    }
}

impl Beat {
    /// The first one does not come while everything else begins, too.
    fn new(rhythm: Rhythm, now: Now) -> Beat {
        let due_ms = rhythm.next(now.wall_ms).max(rhythm.settled(now.wall_ms));
        Beat { rhythm, due_ms, want: None, work: Work::Idle, turn: None, failures: 0, woken: VecDeque::new() }
    }
}

/// The zone that active hours name; the user's, which is known, has no name here.
fn zone_name(hours: &ActiveHours) -> Option<String> {
    let name = hours.timezone.as_deref()?.trim();
    (!name.is_empty() && name != "user").then(|| name.to_string())
}
