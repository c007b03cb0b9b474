//! Texts turned into vectors by a provider's model (agent.md 27, http.md 7): bounded batches in their order, each
//! through the layer of retries that turns use. Owns the course of one request; which server it is stands in `choice`,
//! what is said to it in `wire`. Never takes another model in the midst of a request: vectors of two do not compare.

mod choice;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::Arc;
use std::time::Duration;

pub use self::choice::Refusal;
use self::choice::{Choice, Target};
use super::discover::Places;
use super::failover::{Candidate, Change, Cooldowns, Failover};
use super::keys::{AuthProfiles, Key, KeyRing, KeySource};
use super::lineup::{World, follow};
use super::{ErrorKind, ModelError, ModelRef};
use crate::agent::control::{AbortReason, Control, Pause};
use crate::agent::http::Settings;
use crate::config::{Config, Env};
use crate::limits;

/// What is to be turned into vectors, and how.
#[derive(Debug, Default)]
pub struct Ask {
    /// Whose settings hold.
    pub agent: String,
    /// Another model of the agent's provider, alone or as `provider/model`.
    pub model: Option<String>,
    /// Length of the vectors, where the model can choose.
    pub dimensions: Option<usize>,
    /// The texts; none is empty.
    pub texts: Vec<String>,
}

/// Where settings and keys are looked for.
pub struct Ground {
    /// The configuration.
    pub config: Arc<Config>,
    /// The environment.
    pub env: Arc<Env>,
    /// The agent's profiles.
    pub profiles: AuthProfiles,
    /// Proxies and certificates.
    pub http: Settings,
    /// Where servers of this machine listen.
    pub places: Places,
    /// Accounts that pause.
    pub cooldowns: Cooldowns,
}

/// Vectors of one length, one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vectors {
    width: usize,
    numbers: Vec<f32>,
}

impl Vectors {
    /// Each vector.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.numbers.chunks_exact(self.width.max(1))
    }

    /// Adds one; false when it is empty or of another length than the others.
    fn push(&mut self, row: &[f32]) -> bool {
        if self.numbers.is_empty() {
            self.width = row.len();
        }
        self.numbers.extend_from_slice(row);
        !row.is_empty() && row.len() == self.width
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// One vector for each text, in their order.
    pub vectors: Vectors,
    /// Tokens that were read, where the server says; the sum of all batches.
    pub tokens: u64,
    /// Who answered.
    pub reference: ModelRef,
}

/// Asks. What is learnt about accounts is added to `changes`, whatever becomes of the request.
pub fn embed(
    ask: &Ask,
    ground: &Ground,
    control: &Control,
    world: &mut dyn World,
    changes: &mut Vec<Change>,
) -> Result<Embedded, Refusal> {
    let ring = KeyRing { config: &ground.config, env: &ground.env, profiles: &ground.profiles, now_ms: world.now_ms() };
    let Choice { target, keys } = choice::choose(ask, ground, &ring, control)?;
    let mut course = Course { target, keys, cooldowns: ground.cooldowns.clone(), preferred: None, control };
    let mut answer = Embedded { vectors: Vectors::default(), tokens: 0, reference: course.target.reference().clone() };
    for batch in batches(&ask.texts) {
        course.batch(batch, &mut answer, world, changes)?;
    }
    Ok(answer)
}

/// The texts in pieces that servers take: so many at most, and not too long together.
fn batches(texts: &[String]) -> impl Iterator<Item = &[String]> {
    let mut rest = texts;
    std::iter::from_fn(move || {
        let mut bytes = 0_usize;
        let fits = |text: &&String| {
            bytes = bytes.saturating_add(text.len());
            bytes <= limits::EMBED_BATCH_BYTES
        };
        let count = rest.iter().take(limits::EMBED_BATCH).take_while(fits).count().max(1).min(rest.len());
        let (batch, after) = rest.split_at_checked(count)?;
        rest = after;
        (!batch.is_empty()).then_some(batch)
    })
}

/// One request on its way through accounts and batches.
struct Course<'a> {
    target: Target,
    keys: Vec<Key>,
    cooldowns: Cooldowns,
    preferred: Option<usize>,
    control: &'a Control,
}

impl Course<'_> {
    fn batch(
        &mut self,
        texts: &[String],
        answer: &mut Embedded,
        world: &mut dyn World,
        changes: &mut Vec<Change>,
    ) -> Result<(), ModelError> {
        let mut failover = self.failover(world.now_ms());
        let mut said = None;
        let mut call = |at: usize| {
            let key = self.keys.get(at).and_then(|key| key.secret.clone());
            said = Some(self.target.ask(key, texts, self.control)?);
            Ok(())
        };
        let mut patient = Patient { world, control: self.control };
        let outcome = follow(&mut failover, self.control, &mut patient, &mut call, &mut |course, _| note(course));
        for change in failover.changes() {
            self.cooldowns.apply(change);
            changes.push(change.clone());
        }
        match outcome {
            Ok(at) => self.preferred = Some(at),
            Err(error) => return Err(self.told(error, &failover)),
        }
        let said = said.unwrap_or_default();
        answer.tokens = answer.tokens.saturating_add(said.tokens);
        self.target.add(said, &mut answer.vectors)
    }

    fn failover(&self, now_ms: u64) -> Failover {
        let account = |key: &Key| match &key.source {
            KeySource::Profile(id) => id.clone(),
            _ => self.target.reference().provider.clone(),
        };
        let candidate = |key| Candidate { reference: self.target.reference().clone(), account: account(key) };
        let candidates = self.keys.iter().map(candidate).collect();
        Failover::new(candidates, self.cooldowns.clone(), self.preferred, now_ms)
    }

    /// A pause that does not fit into the time ends the request with the failure that asked for it; time that is over
    /// is told as what it is.
    fn told(&self, error: ModelError, course: &Failover) -> ModelError {
        match self.control.stopped() {
            Some(AbortReason::Timeout) => {
                let provider = &self.target.reference().provider;
                let seconds = limits::EMBED_TIME.as_secs();
                ModelError::new(ErrorKind::Timeout, format!("{provider} did not answer within {seconds} seconds"))
            }
            None if error.kind == ErrorKind::Aborted => {
                course.failures().last().map_or(error, |failure| failure.error.clone())
            }
            _ => error,
        }
    }
}

fn note(course: &Failover) {
    if let Some(failure) = course.failures().last() {
        log::info!(
            target: "agent", "embedding call failed model={} kind={}", failure.candidate.reference, failure.error.kind.name()
        );
    }
}

/// A world whose pauses never outlast the request.
struct Patient<'a> {
    world: &'a mut dyn World,
    control: &'a Control,
}

impl World for Patient<'_> {
    fn now_ms(&self) -> u64 {
        self.world.now_ms()
    }

    fn chance(&mut self) -> f64 {
        self.world.chance()
    }

    fn pause(&mut self, time: Duration, control: &Control) -> Pause {
        match self.control.remaining() {
            Some(left) if left < time => Pause::Stopped(AbortReason::Timeout),
            _ => self.world.pause(time, control),
        }
    }
}
