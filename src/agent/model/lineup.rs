//! The models of one run, ready to be asked: opens them when they are needed, asks them through [`Failover`], keeps
//! connections and the choice of a working one for the run's further questions. The run's way into this folder.

use std::time::Duration;

use super::failover::{Candidate, Change, Cooldowns, Failover, Failure, Step};
use super::keys::{Key, KeyRing, KeySource};
use super::open::Opener;
use super::resolve::Selection;
use super::{ErrorKind, Model, ModelError, ModelEvent, ModelRef, ModelReply, ModelRequest};
use crate::agent::control::{Control, Pause};
use crate::limits;
use crate::sys::clock;
use crate::sys::id::Entropy;

/// Time, chance and waiting, so that tests need none of them.
pub trait World {
    /// Unix time in milliseconds.
    fn now_ms(&self) -> u64;
    /// A number between 0 and 1.
    fn chance(&mut self) -> f64;
    /// Waits unless the run is stopped.
    fn pause(&mut self, time: Duration, control: &Control) -> Pause;
}

/// The real one.
#[derive(Debug)]
pub struct Live(pub Entropy);

impl World for Live {
    fn now_ms(&self) -> u64 {
        clock::wall_ms()
    }

    fn chance(&mut self) -> f64 {
        // 53 bits are what a float holds exactly
        (self.0.number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn pause(&mut self, time: Duration, control: &Control) -> Pause {
        control.pause(time)
    }
}

type Opened = Box<dyn Model>;
type Open<'a> = Box<dyn FnMut(&Candidate, &Key) -> Result<Opened, ModelError> + 'a>;

struct Entry {
    candidate: Candidate,
    key: Key,
    model: Option<Opened>,
}

/// The models of one run.
pub struct Lineup<'a> {
    entries: Vec<Entry>,
    open: Open<'a>,
    cooldowns: Cooldowns,
    changes: Vec<Change>,
    preferred: Option<usize>,
    /// Who was asked last.
    asked: Option<usize>,
}

/// An answer and how it came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The answer.
    pub reply: ModelReply,
    /// The account that paid.
    pub key_source: KeySource,
    /// The calls that failed before.
    pub failures: Vec<Failure>,
}

/// What a run may want to tell while it waits for an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A sentence for the log and the status.
    Note(String),
    /// A call failed and is repeated after that time.
    Retry(Failure, Duration),
    /// A call failed and another model or account is tried.
    Fallback(Failure, Candidate),
}

impl<'a> Lineup<'a> {
    /// The models of a selection with every key they may be called with.
    pub fn new(
        selection: &Selection,
        ring: &KeyRing<'_>,
        session_profile: Option<&str>,
        opener: Opener<'a>,
        cooldowns: Cooldowns,
    ) -> Lineup<'a> {
        let mut entries = Vec::new();
        for reference in selection.all().take(limits::MODEL_FALLBACKS) {
            for key in ring.keys(&reference.provider, session_profile).into_iter().take(limits::MODEL_FALLBACKS) {
                let account = match &key.source {
                    KeySource::Profile(id) => id.clone(),
                    _ => reference.provider.clone(),
                };
                entries.push((Candidate { reference: reference.clone(), account }, key));
            }
        }
        Lineup::of(entries, Box::new(move |candidate, key| opener.open(&candidate.reference, key)), cooldowns)
    }

    /// Any models, opened by that function: for tests and for providers of other kinds.
    pub fn of(entries: Vec<(Candidate, Key)>, open: Open<'a>, cooldowns: Cooldowns) -> Lineup<'a> {
        let entries = entries.into_iter().map(|(candidate, key)| Entry { candidate, key, model: None }).collect();
        Lineup { entries, open, cooldowns, changes: Vec::new(), preferred: None, asked: None }
    }

    /// The model that is asked next: for its context window and abilities. One that cannot be opened (no key) gives way
    /// to the next, as it will when it is asked; when none can, the first one's error tells why.
    pub fn first(&mut self) -> Result<&dyn Model, ModelError> {
        let order = self.failover(clock::wall_ms()).order().to_vec();
        let mut refused = None;
        for at in order {
            match self.model(at).map(|_| ()) {
                Ok(()) => return self.model(at),
                Err(error) => drop(refused.get_or_insert(error)),
            }
        }
        Err(refused.unwrap_or_else(|| ModelError::new(ErrorKind::NotConfigured, "no model to call")))
    }

    /// Who paid for the last answer, for people: where the key comes from, and the key masked.
    pub fn paid_by(&self) -> String {
        let key = self.preferred.and_then(|at| self.entries.get(at)).map(|entry| &entry.key);
        key.map_or(String::new(), |key| match key.secret {
            Some(_) => format!("{}, {}", key.source.describe(), key.masked()),
            None => key.source.describe(),
        })
    }

    /// The model that was asked last, whatever came of it.
    pub fn asked(&self) -> Option<&ModelRef> {
        self.asked.and_then(|at| self.entries.get(at)).map(|entry| &entry.candidate.reference)
    }

    /// What was learnt about accounts; the gateway enters it into its own record and the profiles file.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Asks, with retries and fallbacks. The error of an answer that was already handed out in part says so.
    pub fn ask(
        &mut self,
        request: &ModelRequest,
        control: &Control,
        world: &mut dyn World,
        on: &mut dyn FnMut(ModelEvent),
        notice: &mut dyn FnMut(Notice),
    ) -> Result<Answered, ModelError> {
        let mut course = self.failover(world.now_ms());
        if let Some(note) = course.note() {
            notice(Notice::Note(note.to_string()));
        }
        let mut reply = None;
        let mut ask = |at| {
            self.asked = Some(at);
            reply = Some(call(self.model(at)?, request, control, on)?);
            Ok(())
        };
        let outcome = follow(&mut course, control, world, &mut ask, &mut |course, step| tell(course, step, notice));
        self.preferred = outcome.as_ref().ok().copied().or(self.preferred);
        for change in course.changes() {
            self.cooldowns.apply(change);
            self.changes.push(change.clone());
        }
        let at = outcome?;
        let reply = reply.ok_or_else(|| ModelError::new(ErrorKind::NotConfigured, "no model to call"))?;
        let key_source = self.entries.get(at).map_or(KeySource::None, |entry| entry.key.source.clone());
        Ok(Answered { reply, key_source, failures: course.failures().to_vec() })
    }

    fn failover(&self, now_ms: u64) -> Failover {
        let candidates = self.entries.iter().map(|entry| entry.candidate.clone()).collect();
        Failover::new(candidates, self.cooldowns.clone(), self.preferred, now_ms)
    }

    fn model(&mut self, at: usize) -> Result<&dyn Model, ModelError> {
        let missing = || ModelError::new(ErrorKind::NotConfigured, "no model to call");
        let entry = self.entries.get_mut(at).ok_or_else(missing)?;
        if entry.model.is_none() {
            entry.model = Some((self.open)(&entry.candidate, &entry.key)?);
        }
        entry.model.as_deref().ok_or_else(missing)
    }
}

/// A model that takes no tools would answer as if a program had offered none.
fn call(
    model: &dyn Model,
    request: &ModelRequest,
    control: &Control,
    on: &mut dyn FnMut(ModelEvent),
) -> Result<ModelReply, ModelError> {
    if request.needs_tools && !model.takes_tools() {
        let text =
            format!("{} takes no tools of programs; leave `tools` out or choose another model", model.reference());
        return Err(ModelError::new(ErrorKind::Format, text));
    }
    model.call(request, control, on)
}

/// Calls the candidates of a course, with its pauses, until one of them answers: which one.
pub(super) fn follow(
    course: &mut Failover,
    control: &Control,
    world: &mut dyn World,
    call: &mut dyn FnMut(usize) -> Result<(), ModelError>,
    tell: &mut dyn FnMut(&Failover, &Step),
) -> Result<usize, ModelError> {
    let mut step = course.begin();
    loop {
        let at = match step {
            Step::Fail(error) => return Err(error),
            Step::Call(at) => at,
            Step::Pause(time, at) => match world.pause(time, control) {
                Pause::Over => at,
                Pause::Stopped(reason) => {
                    let text = format!("stopped ({})", reason.name());
                    return Err(ModelError::new(ErrorKind::Aborted, text));
                }
            },
        };
        match call(at) {
            Ok(()) => {
                course.succeeded();
                return Ok(at);
            }
            Err(error) => {
                step = course.failed(error, world.now_ms(), world.chance());
                tell(course, &step);
            }
        }
    }
}

fn tell(course: &Failover, step: &Step, notice: &mut dyn FnMut(Notice)) {
    let Some(failure) = course.failures().last().cloned() else { return };
    match step {
        Step::Pause(time, _) => notice(Notice::Retry(failure, *time)),
        Step::Call(at) => {
            if let Some(next) = course.candidate(*at) {
                notice(Notice::Fallback(failure, next.clone()));
            }
        }
        Step::Fail(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::control::AbortReason;
    use crate::agent::message::{Block, StopReason, Usage};
    use crate::agent::model::keys::Noted;
    use std::cell::RefCell;
    use std::rc::Rc;

    struct Scripted {
        reference: ModelRef,
        answer: Option<ErrorKind>,
    }

    impl Model for Scripted {
        fn reference(&self) -> &ModelRef {
            &self.reference
        }

        fn context_window(&self) -> u64 {
            1
        }

        fn call(
            &self,
            _: &ModelRequest,
            _: &Control,
            on: &mut dyn FnMut(ModelEvent),
        ) -> Result<ModelReply, ModelError> {
            if let Some(kind) = self.answer {
                return Err(ModelError::new(kind, kind.name()));
            }
            on(ModelEvent::Text("hi".into()));
            Ok(ModelReply {
                content: vec![Block::text("hi")],
                usage: Usage::default(),
                stop: StopReason::Stop,
                model: self.reference.model.clone(),
                provider: self.reference.provider.clone(),
                api: "scripted",
                cli_session: None,
            })
        }
    }

    #[derive(Default)]
    struct Fake {
        paused: Vec<Duration>,
        stop: bool,
    }

    impl World for Fake {
        fn now_ms(&self) -> u64 {
            1000
        }

        fn chance(&mut self) -> f64 {
            0.0
        }

        fn pause(&mut self, time: Duration, _: &Control) -> Pause {
            self.paused.push(time);
            if self.stop { Pause::Stopped(AbortReason::Rpc) } else { Pause::Over }
        }
    }

    /// Models `a/m`, `b/m`, … that fail as told, and how often each was opened.
    fn lineup(answers: &[Option<ErrorKind>]) -> (Lineup<'static>, Rc<RefCell<Vec<String>>>) {
        let opened = Rc::new(RefCell::new(Vec::new()));
        let names = ["a", "b", "c"];
        let entries = names.iter().take(answers.len()).map(|name| {
            let candidate = Candidate { reference: ModelRef::new(*name, "m"), account: (*name).to_string() };
            (candidate, Key { secret: None, source: KeySource::None })
        });
        let (answers, log) = (answers.to_vec(), opened.clone());
        let open = move |candidate: &Candidate, _: &Key| -> Result<Box<dyn Model>, ModelError> {
            log.borrow_mut().push(candidate.account.clone());
            let at = names.iter().position(|name| *name == candidate.account).unwrap();
            Ok(Box::new(Scripted { reference: candidate.reference.clone(), answer: answers[at] }))
        };
        (Lineup::of(entries.collect(), Box::new(open), Cooldowns::default()), opened)
    }

    fn ask(lineup: &mut Lineup<'_>, world: &mut Fake) -> (Result<Answered, ModelError>, Vec<Notice>) {
        let mut notices = Vec::new();
        let request = ModelRequest::default();
        let answer = lineup.ask(&request, &Control::new(), world, &mut |_| (), &mut |notice| notices.push(notice));
        (answer, notices)
    }

    #[test]
    fn a_fallback_answers_and_is_asked_first_from_then_on() {
        let (mut lineup, opened) = lineup(&[Some(ErrorKind::Server), None]);
        let mut world = Fake::default();
        let (answer, notices) = ask(&mut lineup, &mut world);
        let answer = answer.unwrap();
        assert_eq!((answer.reply.provider.as_str(), answer.failures.len(), notices.len()), ("b", 3, 3));
        assert_eq!(world.paused, [Duration::from_secs(1), Duration::from_secs(2)]);
        assert!(matches!(&notices[2], Notice::Fallback(_, next) if next.account == "b"));
        let (answer, notices) = ask(&mut lineup, &mut world);
        assert!(answer.unwrap().failures.is_empty() && notices.is_empty());
        assert_eq!(*opened.borrow(), ["a", "b"], "each model is opened once");
        assert_eq!(lineup.take_changes().len(), 2);
        assert_eq!(lineup.asked().unwrap().provider, "b");
    }

    #[test]
    fn a_model_that_cannot_be_opened_gives_way_to_the_next() {
        let entries = ["a", "b"].map(|name| {
            let candidate = Candidate { reference: ModelRef::new(name, "m"), account: name.to_string() };
            (candidate, Key { secret: None, source: KeySource::None })
        });
        let open = |opens: &'static str| -> Open<'static> {
            Box::new(move |candidate: &Candidate, _: &Key| match candidate.account == opens {
                true => Ok(Box::new(Scripted { reference: candidate.reference.clone(), answer: None })),
                false => Err(ModelError::new(ErrorKind::Auth, format!("no key for {}", candidate.account))),
            })
        };
        let mut lineup = Lineup::of(entries.to_vec(), open("b"), Cooldowns::default());
        assert_eq!(lineup.first().unwrap().reference().provider, "b");
        assert_eq!(ask(&mut lineup, &mut Fake::default()).0.unwrap().reply.provider, "b");
        let mut lineup = Lineup::of(entries.to_vec(), open("none"), Cooldowns::default());
        assert_eq!(lineup.first().err().unwrap().message, "no key for a");
        assert_eq!(
            Lineup::of(vec![], open("b"), Cooldowns::default()).first().err().unwrap().kind,
            ErrorKind::NotConfigured
        );
    }

    #[test]
    fn accounts_that_failed_are_reported() {
        let (mut lineup, _) = lineup(&[Some(ErrorKind::Auth)]);
        let (answer, _) = ask(&mut lineup, &mut Fake::default());
        assert_eq!(answer.unwrap_err().kind, ErrorKind::Auth);
        assert_eq!(lineup.take_changes(), [Change { account: "a".into(), noted: Noted::CoolsUntil(61_000) }]);
        let (answer, notices) = ask(&mut lineup, &mut Fake::default());
        assert!(answer.is_err() && matches!(&notices[0], Notice::Note(text) if text.contains("60 s")), "{notices:?}");
    }

    #[test]
    fn a_stop_during_a_pause_ends_it() {
        let (mut lineup, _) = lineup(&[Some(ErrorKind::Timeout), None]);
        let (answer, _) = ask(&mut lineup, &mut Fake { stop: true, ..Fake::default() });
        assert_eq!(answer.unwrap_err().kind, ErrorKind::Aborted);
    }

    #[test]
    fn chance_stays_between_nought_and_one() {
        let mut live = Live(Entropy::from_seed([1; 32]));
        assert!((0..100).all(|_| (0.0..1.0).contains(&live.chance())));
    }
}
