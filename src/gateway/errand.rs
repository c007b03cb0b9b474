//! The errand thread: questions that take longer than a file's reading, one after the other, so that neither the state
//! thread nor the disk thread waits for them. Starts with the first question. Writes nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::Sender;

use super::cron::webhook::{self, Post};
use super::disk::{Done, Then};
use super::event::{Event, Input};
use super::usage::{self, Counted};
use crate::agent::control::Control;
use crate::agent::model::discover::{self, Places};
use crate::agent::model::keys::{AuthProfiles, KeyRing};
use crate::agent::model::standing;
use crate::config::Config;
use crate::config::env::Env;
use crate::limits;
use crate::protocol::errors::WireError;
use crate::sys::{queue, thread};

/// A question.
pub enum Errand {
    /// `models.list`.
    Models(ModelsAsk),
    /// `models.authStatus`.
    Auth(ModelsAsk),
    /// `usage.cost`, `sessions.usage` and its details.
    Usage(Box<usage::Ask>),
    /// Post what a run left.
    Post(Box<Post>),
}

/// About models.
pub struct ModelsAsk {
    /// For this agent.
    pub agent: String,
    /// The configuration.
    pub config: Arc<Config>,
    /// The environment.
    pub env: Arc<Env>,
    /// Where the agent keeps its keys.
    pub profiles: PathBuf,
    /// Whether to look for model servers on this machine.
    pub look: bool,
    /// When.
    pub now_ms: u64,
}

/// The way to the thread.
pub struct Errands {
    queue: Option<queue::Sender<(Errand, Then)>>,
    events: Sender<Event>,
}

impl Errands {
    /// No thread yet; answers will go here.
    pub fn new(events: Sender<Event>) -> Errands {
        Errands { queue: None, events }
    }

    /// Takes a question; gives it back when too many wait.
    pub fn run(&mut self, errand: Errand, then: Then) -> Result<(), Then> {
        if self.queue.is_none() {
            let (queue, taken) = queue::bounded(limits::ERRANDS);
            let events = self.events.clone();
            match thread::spawn("errand", limits::STACK_RUN, move || work(&taken, &events)) {
                Ok(_) => self.queue = Some(queue),
                Err(error) => log::error!(target: "gateway", "cannot start the errand thread error={error}"),
            }
        }
        match &self.queue {
            Some(queue) => queue.try_send((errand, then)).map_err(|error| error.into_inner().1),
            None => Err(then),
        }
    }
}

fn work(queue: &queue::Receiver<(Errand, Then)>, events: &Sender<Event>) {
    let mut counted = Counted::default();
    while let Ok((errand, then)) = queue.recv() {
        let answer = catch_unwind(AssertUnwindSafe(|| perform(&errand, &mut counted)));
        let answer = answer.unwrap_or_else(|_| Err(WireError::unavailable("internal error; see the gateway log")));
        let _ = events.send(Event::Input(Input::Stored { then, done: Done::Answer(answer) }));
    }
}

fn perform(errand: &Errand, counted: &mut Counted) -> Result<String, WireError> {
    let (ask, auth) = match errand {
        Errand::Post(post) => return webhook::post(post),
        Errand::Usage(ask) => return usage::answer(ask, counted),
        Errand::Models(ask) => (ask, false),
        Errand::Auth(ask) => (ask, true),
    };
    let profiles = AuthProfiles::open(&ask.profiles);
    let ring = KeyRing { config: &ask.config, env: &ask.env, profiles: &profiles, now_ms: ask.now_ms };
    if auth {
        return Ok(standing::auth(&ring, &ask.agent).to_string());
    }
    let found = match ask.look {
        true => discover::look_everywhere(&Places::of(&ask.env), &Control::new()),
        false => Vec::new(),
    };
    let rows = standing::models(&ask.config, &ask.agent, &found, Some(&ring));
    Ok(json!({ "models": rows }).to_string())
}
