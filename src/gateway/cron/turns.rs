//! Jobs that are turns of an agent: started when there is room and the mark that they run is on disk, each in a
//! conversation of its own under the job's key, and what they leave behind.

use std::time::Duration;

use serde_json::Value;

use super::webhook::{self, Post};
use super::{Cron, wake_of};
use crate::agent::message::Block;
use crate::agent::model::{Thinking, resolve};
use crate::agent::tool::approval::judge::Origin as Speaker;
use crate::config::Secret;
use crate::config::sections::ACK_MAX_CHARS;
use crate::cron::history;
use crate::cron::job::{Ended, Job as CronEntry, Missed, Status};
use crate::gateway::broadcast;
use crate::gateway::deliver::{Delivered, Parcel};
use crate::gateway::disk::{Done, Job, Then, Waiting};
use crate::gateway::errand::Errand;
use crate::gateway::event::Effect;
use crate::gateway::intake::Intake;
use crate::gateway::runs::outcome::Outcome;
use crate::gateway::runs::{Asker, Origin, Run};
use crate::gateway::session_key::{self, Place};
use crate::gateway::state::State;
use crate::limits;
use crate::protocol::errors::WireError;
use crate::session::heartbeat::{self, Verdict};
use crate::store::session::throwaway::Kind;
use crate::sys::clock::Now;

const STOPPED: &str = "interrupted: the gateway was stopped while the job ran";

const UNPOSTED: &str = "the gateway was stopped before the webhook had taken it";

/// A turn that was started for a job.
pub struct Turn {
    /// Its name.
    run_id: String,
    /// When it began.
    began: u64,
    /// What it catches up.
    missed: Option<Missed>,
    /// Who is told that it has begun.
    asker: Option<Waiting>,
    /// Who was heard in it.
    speaker: Speaker,
    /// How it ended, while that is posted.
    posted: Option<Ended>,
}

impl Cron {
    /// The answer of `cron.run` for a job that was started.
    pub fn ran(run_id: Option<&str>) -> Value {
        let mut answer = json!({"ok": true, "ran": true});
        if let (Some(run_id), Some(members)) = (run_id, answer.as_object_mut()) {
            members.insert("enqueued".into(), true.into());
            members.insert("runId".into(), run_id.into());
        }
        answer
    }
}

impl State {
    /// Starts the turns there is room for.
    pub fn start_cron_turns(&mut self, now: Now, fx: &mut Vec<Effect>) {
        while self.cron.turns.len() < self.cron.slots
            && let Some((id, missed)) = self.cron.next_waiting()
        {
            // It may have become a line for the main session while it waited.
            if self.cron.book.find(&id).is_some_and(CronEntry::is_turn) {
                self.begin_cron_turn(&id, missed, None, now, fx);
            } else {
                self.cron_event(&id, missed, now, fx);
            }
        }
    }

    /// Marks a job as running; it starts when the mark is on disk, so that a crash cannot hide it.
    pub fn begin_cron_turn(
        &mut self,
        id: &str,
        missed: Option<Missed>,
        asker: Option<Waiting>,
        now: Now,
        fx: &mut Vec<Effect>,
    ) {
        let run_id = self.entropy.uuid();
        let Some(job) = self.cron.book.find_mut(id) else { return };
        job.begin(now.wall_ms);
        self.cron.tell(id, "started", &json!({"runAtMs": now.wall_ms}));
        let turn = Turn { run_id, began: now.wall_ms, missed, asker, speaker: Speaker::Operator, posted: None };
        self.cron.turns.insert(id.to_string(), turn);
        self.write_cron_log(fx);
        let files = self.cron_files();
        fx.push(Effect::Disk(Job::Write(files), Then::CronBegun(id.to_string())));
    }

    /// The mark of a job is on disk.
    pub fn cron_begun(&mut self, id: &str, done: Done, now: Now, fx: &mut Vec<Effect>) {
        if !matches!(done, Done::Written(Ok(()))) {
            log::error!(target: "gateway/cron", "cron: a job starts without its mark on disk job={id}");
            self.cron.unsaved = true;
        }
        for (name, payload) in std::mem::take(&mut self.cron.told) {
            self.broadcast(name, &payload, fx);
        }
        let Some(turn) = self.cron.turns.get_mut(id) else { return };
        let (run_id, asker, missed) = (turn.run_id.clone(), turn.asker.take(), turn.missed);
        let started = match self.cron_intake(id, &run_id, missed, now) {
            _ if self.stopping => Err(WireError::unavailable(STOPPED)),
            Ok(intake) => self.take_in_for(None, Some(Asker::Cron(id.to_string())), intake, now, fx),
            Err(error) => Err(error),
        };
        match (asker, &started) {
            (None, _) => {}
            (Some(waiting), Ok(())) => broadcast::reply(fx, waiting.conn, &waiting.id, &Cron::ran(Some(&run_id))),
            (Some(waiting), Err(error)) => {
                let message = format!("job {id} did not start: {}", error.message);
                self.counters.failed += 1;
                broadcast::fail(fx, waiting.conn, &waiting.id, &WireError { message, ..error.clone() });
            }
        }
        if let Err(error) = started {
            self.cron_turn_over(id, Err(error.message), None, now, fx);
        }
    }

    fn cron_intake(&mut self, id: &str, run_id: &str, missed: Option<Missed>, now: Now) -> Result<Intake, WireError> {
        let gone = || WireError::invalid(format!("unknown cron job id: {id}"));
        let job = self.cron.book.find(id).ok_or_else(gone)?;
        let text = |name: &str| Some(job.inner_text("payload", name).trim()).filter(|text| !text.is_empty());
        let model = match text("model") {
            Some(name) => {
                Some(resolve::find(&self.config, name).map_err(|error| WireError::invalid(error.to_string()))?)
            }
            None => None,
        };
        let thinking = match text("thinking") {
            Some(word) => Some(Thinking::parse(word).ok_or_else(|| unknown_level(word))?),
            None => None,
        };
        let limit = match job.inner("payload", "timeoutSeconds").and_then(Value::as_u64) {
            None => limits::CRON_TIMEOUT,
            // As with `agent`: no limit of its own.
            Some(0) => limits::AGENT_TIMEOUT_MAX,
            Some(seconds) => Duration::from_secs(seconds).min(limits::AGENT_TIMEOUT_MAX),
        };
        let late = missed.map(|missed| format!(" (late: was due at {})", self.local_time(missed.first)));
        let prompt = format!(
            "[cron:{id} {}] {}\nCurrent time: {}{}",
            job.text("name"),
            text("message").unwrap_or_default(),
            self.local_time(now.wall_ms),
            late.unwrap_or_default()
        );
        let (place, fresh) = (self.cron_place(job), job.session().is_none());
        if place.agent != self.cron_agent(job) {
            return Err(WireError::invalid(format!("session {} belongs to agent {}", place.key, place.agent)));
        }
        Ok(Intake {
            model,
            thinking,
            label: fresh.then(|| format!("Cron: {}", job.text("name"))),
            fresh,
            throwaway: fresh.then_some(Kind::Run),
            ..Intake::new(place, run_id.to_string(), Origin::Agent, vec![Block::text(prompt)], Some(limit))
        })
    }

    fn cron_place(&self, job: &CronEntry) -> Place {
        let own = format!("cron:{}", job.id());
        session_key::of_key(&self.config, job.session().unwrap_or(&own), Some(&self.cron_agent(job)))
    }

    /// The run of a job is over.
    pub fn cron_ended(
        &mut self,
        id: &str,
        run: &Run,
        outcome: &Outcome,
        error: Option<WireError>,
        now: Now,
        fx: &mut Vec<Effect>,
    ) {
        // It may have taken a stranger's line along.
        self.cron.turns.get_mut(id).into_iter().for_each(|turn| turn.speaker = run.speaker);
        let session = (run.session_id.clone(), run.session_key.clone());
        let result = match error {
            None => Ok(outcome.texts(run).last().map(|text| history::cut(text)).filter(|text| !text.is_empty())),
            Some(_) if self.stopping => Err(STOPPED.to_string()),
            Some(error) => Err(error.message),
        };
        self.cron_turn_over(id, result, Some(session), now, fx);
    }

    fn cron_turn_over(
        &mut self,
        id: &str,
        result: Result<Option<String>, String>,
        session: Option<(String, String)>,
        now: Now,
        fx: &mut Vec<Effect>,
    ) {
        let Some(turn) = self.cron.turns.get(id) else { return };
        let (status, error, summary) = match result {
            Ok(summary) => (Status::Ok, None, summary),
            Err(error) => (Status::Error, Some(history::cut(&error)), None),
        };
        let mut ended = Ended {
            status,
            error,
            summary,
            session,
            run_id: Some(turn.run_id.clone()),
            began: turn.began,
            ended: now.wall_ms,
            delivered: false,
            undelivered: None,
        };
        match self.cron_post(id, &ended) {
            Ok(Some(_)) if self.stopping => ended.undelivered = Some(UNPOSTED.to_string()),
            Ok(Some(post)) => {
                fx.push(Effect::Errand(Errand::Post(Box::new(post)), Then::CronPosted(id.to_string())));
                if let Some(turn) = self.cron.turns.get_mut(id) {
                    turn.posted = Some(ended);
                }
                return;
            }
            Ok(None) if self.stands_where_it_belongs(id, &ended) => ended.delivered = true,
            Ok(None) => ended.undelivered = self.deliver_cron(id, &ended, now, fx),
            Err(why) => ended.undelivered = Some(why),
        }
        self.cron_turn_ended(id, &ended, now, fx);
    }

    fn cron_turn_ended(&mut self, id: &str, ended: &Ended, now: Now, fx: &mut Vec<Effect>) {
        self.cron.turns.remove(id);
        self.end_cron(id, ended);
        self.save_cron(None, fx);
        self.cron_due(now, fx);
    }

    /// What a job's run left was posted, or not: now it is over.
    pub fn cron_posted(&mut self, id: &str, done: Done, now: Now, fx: &mut Vec<Effect>) {
        let Some(mut ended) = self.cron.turns.get_mut(id).and_then(|turn| turn.posted.take()) else { return };
        match done {
            Done::Answer(Ok(_)) => ended.delivered = true,
            Done::Answer(Err(error)) => ended.undelivered = Some(error.message),
            _ => ended.undelivered = Some("too many webhooks wait to be called".to_string()),
        }
        if let Some(why) = &ended.undelivered {
            log::warn!(target: "gateway/cron", "cron: not delivered job={id} reason={why}");
        }
        self.cron_turn_ended(id, &ended, now, fx);
    }

    /// The gateway stops: who still posts is on record with that.
    pub fn cron_stops(&mut self, now: Now, fx: &mut Vec<Effect>) {
        let posting: Vec<String> =
            self.cron.turns.iter().filter(|(_, turn)| turn.posted.is_some()).map(|(id, _)| id.clone()).collect();
        for id in posting {
            self.cron_posted(&id, Done::Answer(Err(WireError::unavailable(UNPOSTED))), now, fx);
        }
    }

    /// What is to be posted of a run, if its job wants that; why it cannot be.
    fn cron_post(&self, id: &str, ended: &Ended) -> Result<Option<Post>, String> {
        let job = self.cron.book.find(id).filter(|job| job.inner_text("delivery", "mode") == "webhook");
        let Some((job, _)) = job.and_then(|job| Some((job, self.cron_news(job, ended)?))) else { return Ok(None) };
        let url = job.inner_text("delivery", "to").to_string();
        let config = &self.config.raw;
        let token = match config.pointer("/cron/webhookToken") {
            None | Some(Value::Null) => None,
            Some(Value::String(token)) => Some(Secret::new(token.trim())),
            Some(_) => return Err("cron.webhookToken is no text; write the token, or ${A_VARIABLE}".to_string()),
        };
        let reach = webhook::reach(config, &url)?;
        let mut event = history::line(id, ended, None);
        event.retain(|name, _| name != "ts");
        event.insert("job".into(), Value::Object(job.members().clone()));
        let body = Value::Object(event).to_string().into_bytes();
        Ok(Some(Post { url, reach, token, body, http: self.facts.http.clone() }))
    }

    /// Longest text beside the token that is nothing to say.
    fn ack_chars(&self, job: &CronEntry) -> usize {
        let beat = self.config.agents.find(&self.cron_agent(job)).and_then(|agent| agent.heartbeat);
        beat.map_or(ACK_MAX_CHARS, |beat| beat.ack_max_chars)
    }

    /// What a run has to say; nothing if it only says that there is nothing.
    fn cron_news(&self, job: &CronEntry, ended: &Ended) -> Option<String> {
        match (&ended.summary, &ended.error) {
            (_, Some(error)) => Some(format!("failed: {error}")),
            (Some(summary), None) => match heartbeat::judge(summary, self.ack_chars(job)) {
                Verdict::Alert(text) => Some(text),
                Verdict::Fine | Verdict::Empty => None,
            },
            (None, None) => None,
        }
    }

    /// Whether an answer that is to be delivered was said in the conversation it is for, which no channel leads to.
    fn stands_where_it_belongs(&self, id: &str, ended: &Ended) -> bool {
        let announced = |job: &&CronEntry| {
            job.inner_text("delivery", "mode") == "announce"
                && matches!(job.inner_text("delivery", "channel"), "" | "last")
                && job.session().is_some()
                && ended.error.is_none()
        };
        let job = self.cron.book.find(id).filter(announced);
        job.is_some_and(|job| {
            self.last_channel(&self.cron_place(job)).is_none() && self.cron_news(job, ended).is_some()
        })
    }

    /// Delivers what a run has to say, when its job wants that; why it was not delivered otherwise.
    fn deliver_cron(&mut self, id: &str, ended: &Ended, now: Now, fx: &mut Vec<Effect>) -> Option<String> {
        let job = self.cron.book.find(id)?;
        let text = self.cron_news(job, ended)?;
        if job.inner_text("delivery", "mode") != "announce" {
            return None;
        }
        let (place, wake, from) = (self.cron_place(job), wake_of(job), format!("Cron \"{}\"", job.text("name")));
        let member = |name: &str| Some(job.inner_text("delivery", name).to_string()).filter(|text| !text.is_empty());
        let (channel, to) = (member("channel").unwrap_or_else(|| "last".to_string()), member("to"));
        let speaker = self.cron.turns.get(id).map_or(Speaker::Operator, |turn| turn.speaker);
        let parcel = Parcel { place: &place, channel: &channel, to: to.as_deref(), from: &from, text: &text, speaker };
        let delivered = self.deliver(&parcel, now);
        if delivered == Delivered::Unwanted {
            return None;
        }
        if !self.stopping {
            self.wake(&place.agent, wake, &format!("cron:{id}"), now, fx);
        }
        Some(delivered.text())
    }
}

fn unknown_level(word: &str) -> WireError {
    let names: Vec<&str> = Thinking::NAMES.iter().map(|(name, _)| *name).collect();
    WireError::invalid(format!("unknown thinking level \"{word}\": use one of {}", names.join(", ")))
}
