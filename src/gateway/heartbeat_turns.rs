//! A heartbeat's turn: whether there is anything to look at, its start like that of any other turn, what its answer
//! means, and how everyone hears of it. When one is due is `heartbeats`' to know.

use serde_json::{Map, Value};

use super::deliver::Parcel;
use super::disk::{Job, Then};
use super::event::Effect;
use super::health::millis;
use super::heartbeats::{Beat, HeartbeatAsk, Turn, Work};
use super::intake::Intake;
use super::runs::outcome::Outcome;
use super::runs::{Asker, Origin, Run};
use super::session_key::Place;
use super::state::State;
use crate::agent::message::Block;
use crate::agent::model::resolve;
use crate::agent::run::Task;
use crate::config::sections::ResolvedHeartbeat;
use crate::limits;
use crate::protocol::errors::WireError;
use crate::session::heartbeat::{self, Verdict, Visibility};
use crate::session::prompt::HEARTBEAT_OK;
use crate::session::stamp;
use crate::sys::clock::Now;

/// How a heartbeat ended, for the event.
struct Told<'a> {
    status: &'static str,
    reason: Option<&'a str>,
    /// The alert.
    text: Option<&'a str>,
    /// Whether people saw nothing of it.
    silent: Option<bool>,
}

/// Whose heartbeat, and when.
struct Scene {
    agent: String,
    settings: ResolvedHeartbeat,
    began: Now,
    now: Now,
}

impl State {
    /// One is due: its file is read first, unless this is no time for it.
    pub(super) fn heartbeat_is_due(&mut self, agent: &str, reason: &str, open: bool, now: Now, fx: &mut Vec<Effect>) {
        let Some(scene) = self.scene(agent, now, now) else { return drop(self.heartbeats.beats.remove(agent)) };
        let refused = match (open, self.visibility(&scene)) {
            (false, _) => Some("quiet-hours"),
            (_, Visibility { ok: false, alerts: false, indicator: false }) => Some("alerts-disabled"),
            _ => None,
        };
        let Some(why) = refused else {
            let file = HeartbeatAsk::File(self.config.workspace(&self.facts.paths, agent));
            return fx.push(Effect::Disk(Job::Heartbeat(file), Then::Heartbeat(Some(agent.to_string()))));
        };
        self.heartbeat_rests(agent);
        // That the night is quiet is nothing to tell; that a wish was not heard is.
        if open || reason != "interval" {
            self.tell_heartbeat(&scene, &Told::skipped(why), fx);
        }
    }

    /// Its file was read.
    pub(super) fn heartbeat_looked(&mut self, agent: &str, asks_nothing: bool, now: Now, fx: &mut Vec<Effect>) {
        let Some(Work::Reading(reason, began)) = self.heartbeats.beats.get(agent).map(|beat| beat.work.clone()) else {
            return;
        };
        let wanted = self.heartbeats.enabled && !self.stopping;
        let Some(scene) = self.scene(agent, began, now).filter(|_| wanted) else { return self.heartbeat_rests(agent) };
        if self.has_no_room(agent) {
            return self.beat(agent, |beat| beat.again(reason, now));
        }
        let place = self.heartbeat_place(agent);
        if asks_nothing && !self.system_events.wait_for(&place.key) {
            self.heartbeat_rests(agent);
            return self.tell_heartbeat(&scene, &Told::skipped("empty-heartbeat-file"), fx);
        }
        if let Err(text) = self.start_heartbeat(&scene, place, reason, fx) {
            self.heartbeat_failed(&scene, &text, fx);
        }
    }

    fn start_heartbeat(
        &mut self,
        scene: &Scene,
        place: Place,
        reason: String,
        fx: &mut Vec<Effect>,
    ) -> Result<(), String> {
        let (settings, now) = (&scene.settings, scene.now);
        let model = settings.model.as_deref().map(|text| resolve::find(&self.config, text)).transpose();
        let model = model.map_err(|error| format!("heartbeat.model: {}", error.message))?;
        let lines = self.system_events.wait_for(&place.key);
        let time = stamp::moment(now.wall_ms, &self.facts.zone);
        let prompt = vec![Block::text(heartbeat::prompt_for(&reason, lines, &settings.prompt, &time))];
        let before = self.sessions.get(&place.agent, &place.key).map(|entry| entry.updated_ms());
        let age = before.map(|before| (now.wall_ms.max(before), before));
        let run_id = self.entropy.uuid();
        let turn = Turn { run_id: run_id.clone(), reason, began: scene.began, age };
        self.beat(&scene.agent, |beat| (beat.work, beat.turn) = (Work::Running, Some(turn)));
        let limit = Some(self.config.agents.defaults.timeout);
        let intake =
            Intake { model, task: Task::Heartbeat, ..Intake::new(place, run_id, Origin::Agent, prompt, limit) };
        let asker = Asker::Heartbeat(scene.agent.clone());
        self.take_in_for(None, Some(asker), intake, now, fx).map_err(|error| error.message)
    }

    /// Its turn is over.
    pub fn heartbeat_ended(
        &mut self,
        agent: &str,
        run: &Run,
        outcome: &Outcome,
        error: Option<WireError>,
        now: Now,
        fx: &mut Vec<Effect>,
    ) {
        let turn = self.heartbeats.beats.get(agent).and_then(|beat| beat.turn.as_ref());
        let Some(turn) = turn.filter(|turn| turn.run_id == run.id) else { return };
        let (began, reason) = (turn.began, turn.reason.clone());
        self.heartbeat_rests(agent);
        let Some(scene) = self.scene(agent, began, now).filter(|_| !self.stopping) else { return };
        match error {
            None => {}
            Some(_) if outcome.stopped_by_person() => {
                return self.tell_heartbeat(&scene, &Told::skipped("aborted"), fx);
            }
            Some(error) => return self.heartbeat_failed(&scene, &error.message, fx),
        }
        self.beat(agent, |beat| beat.failures = 0);
        let answer = outcome.account.texts.iter().rev().find(|text| !text.trim().is_empty());
        let status = match heartbeat::judge(answer.map_or("", String::as_str), scene.settings.ack_max_chars) {
            Verdict::Alert(text) => return self.heartbeat_alert(&scene, run, outcome, &text, fx),
            Verdict::Fine => "ok-token",
            Verdict::Empty => "ok-empty",
        };
        let shown = self.visibility(&scene).ok;
        if shown {
            self.say_in_chat(run, HEARTBEAT_OK, now, fx);
        }
        let told = Told { status, reason: Some(&reason), text: None, silent: Some(!shown) };
        self.tell_heartbeat(&scene, &told, fx);
    }

    /// Somebody should read what the agent says. The chat windows of the session show it; a channel would get it, too.
    fn heartbeat_alert(&mut self, scene: &Scene, run: &Run, outcome: &Outcome, text: &str, fx: &mut Vec<Effect>) {
        let reason = self.alert_reason(scene, run, outcome, text, fx);
        self.tell_heartbeat(scene, &Told { text: Some(text), ..Told::skipped(reason) }, fx);
    }

    fn alert_reason(
        &mut self,
        scene: &Scene,
        run: &Run,
        outcome: &Outcome,
        text: &str,
        fx: &mut Vec<Effect>,
    ) -> &'static str {
        let (settings, began_ms) = (&scene.settings, scene.began.wall_ms);
        let place = Place { agent: run.agent_id.clone(), key: run.session_key.clone() };
        let shows = self.visibility(scene).alerts;
        if let Some(entry) = self.sessions.get_mut(&place.agent, &place.key) {
            let (last, last_ms) = (entry.text("lastHeartbeatText"), entry.number("lastHeartbeatSentAt"));
            if heartbeat::is_repeated(text, last.as_deref(), last_ms, began_ms) {
                return "duplicate";
            }
            if shows {
                entry.set("lastHeartbeatText", text);
                entry.set("lastHeartbeatSentAt", began_ms);
            }
        }
        if !shows {
            return "alerts-disabled";
        }
        self.say_in_chat(run, text, scene.now, fx);
        let thoughts = outcome.account.thoughts.join("\n\n");
        let with_thoughts = settings.include_reasoning && !thoughts.is_empty();
        let whole = if with_thoughts { format!("Reasoning:\n{thoughts}\n\n{text}") } else { text.to_string() };
        let (channel, to) = (settings.target.as_str(), settings.to.as_deref());
        let parcel = Parcel { place: &place, channel, to, from: "Heartbeat", text: &whole, speaker: run.speaker };
        self.deliver(&parcel, scene.now).reason()
    }

    fn heartbeat_failed(&mut self, scene: &Scene, text: &str, fx: &mut Vec<Effect>) {
        self.heartbeat_rests(&scene.agent);
        self.beat(&scene.agent, |beat| beat.failed(scene.now));
        log::error!(target: "gateway/heartbeat", "heartbeat failed agent={} error={text}", scene.agent);
        self.tell_heartbeat(scene, &Told { status: "failed", ..Told::skipped(text) }, fx);
    }

    fn say_in_chat(&mut self, run: &Run, text: &str, now: Now, fx: &mut Vec<Effect>) {
        let content = [json!({"type": "text", "text": text})];
        let message = json!({"role": "assistant", "content": content, "timestamp": now.wall_ms});
        self.tell_chat_note(&run.session_key, &run.agent_id, &run.id, run.said.seq(), message, fx);
    }

    fn tell_heartbeat(&mut self, scene: &Scene, told: &Told<'_>, fx: &mut Vec<Effect>) {
        let Scene { agent, settings, began, now } = scene;
        let (status, reason) = (told.status, told.reason.unwrap_or_default());
        self.metrics.heartbeat(status);
        let took = millis(now.mono.saturating_sub(began.mono));
        log::info!(target: "gateway/heartbeat", "heartbeat: {status} agent={agent} reason={reason} durationMs={took}");
        let preview = told.text.map(|text| text.chars().take(limits::HEARTBEAT_PREVIEW_CHARS).collect::<String>());
        let channel = self.channel_of(scene).filter(|_| settings.target == "last");
        let sign = heartbeat::indicator(status).filter(|_| self.visibility(scene).indicator);
        let mut event = Map::new();
        let mut put = |name: &str, value: Option<Value>| event.extend(value.map(|value| (name.to_string(), value)));
        put("ts", Some(now.wall_ms.into()));
        put("status", Some(status.into()));
        put("reason", told.reason.map(Value::from));
        put("preview", preview.map(Value::from));
        put("durationMs", Some(took.into()));
        put("hasMedia", told.text.map(|_| false.into()));
        put("channel", channel.map(Value::from));
        put("accountId", settings.account_id.as_deref().map(Value::from));
        put("silent", told.silent.map(Value::from));
        put("indicatorType", sign.map(Value::from));
        let event = Value::Object(event);
        self.broadcast("heartbeat", &event, fx);
        self.heartbeats.last = Some(event);
    }

    fn scene(&self, agent: &str, began: Now, now: Now) -> Option<Scene> {
        let settings = self.config.agents.find(agent)?.heartbeat?;
        Some(Scene { agent: agent.to_string(), settings, began, now })
    }

    fn visibility(&self, scene: &Scene) -> Visibility {
        let channel = self.channel_of(scene);
        heartbeat::visibility(&self.config.raw, channel.as_deref(), scene.settings.account_id.as_deref())
    }

    fn channel_of(&self, scene: &Scene) -> Option<String> {
        match scene.settings.target.as_str() {
            "none" => None,
            "last" => self.last_channel(&self.heartbeat_place(&scene.agent)),
            named => Some(named.to_string()),
        }
    }

    fn beat(&mut self, agent: &str, change: impl FnOnce(&mut Beat)) {
        if let Some(beat) = self.heartbeats.beats.get_mut(agent) {
            change(beat);
        }
    }

    /// Nothing goes on; an agent that has no heartbeats any more is forgotten when its last turn is.
    fn heartbeat_rests(&mut self, agent: &str) {
        self.beat(agent, |beat| beat.work = Work::Idle);
    }
}

impl<'a> Told<'a> {
    fn skipped(reason: &'a str) -> Told<'a> {
        Told { status: "skipped", reason: Some(reason), text: None, silent: None }
    }
}
