//! The registry of runs: which ones there are, whose turn it is, what each has said so far. One run
//! per session at a time, in the order of arrival; a cap over all. Pure; knows no model, tool or file.

pub mod course;
mod ended;
mod lanes;
pub mod outcome;
mod queue;
pub mod said;
pub mod tell;

use std::time::Duration;

pub use self::ended::{Ended, EndedRuns};
use self::lanes::Lanes;
use self::said::Said;
use super::disk::Waiting;
use super::event::ConnId;
use crate::agent::control::AbortReason;
use crate::agent::message::Block;
use crate::agent::run::{Prompt, RunSpec};
use crate::agent::tool::approval::judge::Origin as Speaker;
use crate::session::queue::Lost;
use crate::sys::table::Table;

/// One run for as long as the process lives; never reused, unlike the ids that clients choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunNo(pub u64);

/// Through which method a run was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `agent`: a second answer is due.
    Agent,
    /// `chat.send` and `sessions.send`: events only.
    Chat,
}

/// Who waits for the end of a run.
#[derive(Debug, Clone)]
pub enum Asker {
    /// A client, for its second answer.
    Client(Waiting),
    /// A tool of another run.
    Tool(u64),
    /// Nobody: the named agent's heartbeat is due.
    Heartbeat(String),
    /// An HTTP program, which is told through its feed.
    Program(u64),
    /// A hook, by its number.
    Hook(u64),
    /// A job of the schedule.
    Cron(String),
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waits for its session's lane or for a place under the cap.
    Queued,
    /// Its thread works.
    Running,
    /// It was told to stop; whatever its thread still says is not passed on.
    Stopping(AbortReason),
}

/// What a run does while it waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Waits {
    /// It waits for its turn.
    #[default]
    Turn,
    /// It takes further messages in.
    Gathers,
    /// The running turn may take it in.
    Steers,
    /// The running turn may hear it; it keeps its own turn.
    SteersAndStays,
}

/// A message that another one's run answers.
#[derive(Debug, Clone)]
pub struct Joined {
    /// The client's name for it.
    pub id: String,
    /// Key of the idempotency memory.
    pub remembered: Option<String>,
}

/// One run.
pub struct Run {
    /// The client's name for it: its idempotency key.
    pub id: String,
    /// Messages it answers beside its own.
    pub joined: Vec<Joined>,
    /// Why its answer will not be delivered, when it should be.
    pub undelivered: Option<&'static str>,
    /// What it does while it waits.
    pub waits: Waits,
    /// When it may start, on the monotonic clock; none for at once.
    pub not_before: Option<Duration>,
    /// Messages that had to go before it.
    pub lost: Lost,
    /// How it was asked for.
    pub origin: Origin,
    /// Who speaks in it.
    pub speaker: Speaker,
    /// Canonical key of its session; also its lane.
    pub session_key: String,
    /// Its agent.
    pub agent_id: String,
    /// Its transcript.
    pub session_id: String,
    /// Who started it; receives its tool events.
    pub conn: Option<ConnId>,
    /// Who waits for the second answer; taken exactly once.
    pub asker: Option<Asker>,
    /// Key of the idempotency memory.
    pub remembered: Option<String>,
    /// Where it stands.
    pub phase: Phase,
    /// What its thread will do; taken at the start.
    pub spec: Option<Box<RunSpec>>,
    /// How much of tool calls its starter sees.
    pub verbose: Verbose,
    /// What stands around its answer.
    pub dress: Dress,
    /// What it has said.
    pub said: Said,
    /// Wall-clock time of its start.
    pub started_ms: Option<u64>,
    /// Wall-clock time of its arrival.
    pub accepted_ms: u64,
}

impl Run {
    /// What the run's thread does; once.
    fn begin(&mut self) -> Option<Box<RunSpec>> {
        self.tell_lost();
        let spec = self.spec.take()?;
        self.phase = Phase::Running;
        Some(spec)
    }

    /// Puts what is left of messages that had to go before its own.
    fn tell_lost(&mut self) {
        let first = self.spec.as_mut().and_then(|spec| spec.prompts.first_mut());
        if let (Some(first), Some(told)) = (first, std::mem::take(&mut self.lost).told()) {
            first.content.insert(0, Block::text(told));
        }
    }

    /// Its messages, while it waits.
    pub fn waiting(&self) -> &[Prompt] {
        self.spec.as_ref().map_or(&[], |spec| &spec.prompts)
    }

    /// Whether nobody asked for it, so that people hear of it only if there is something to hear.
    pub fn is_heartbeat(&self) -> bool {
        matches!(self.asker, Some(Asker::Heartbeat(_)))
    }

    /// All names clients have for it, its own first.
    pub fn ids(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.id).chain(self.joined.iter().map(|joined| &joined.id))
    }
}

/// What people see around an answer, by the session's switches; the transcript has none of it (agent.md 12).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dress {
    /// Whether the model's thoughts stand above it.
    pub thoughts: bool,
    /// Which figures stand below it: `tokens`, `full` or nothing.
    pub usage: String,
}

/// How much of tool calls is shown (agent.md 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbose {
    /// Nothing.
    Off,
    /// Names and arguments.
    On,
    /// Results too.
    Full,
}

impl Verbose {
    /// The level of a session's entry; nothing said means off.
    pub fn parse(text: Option<&str>) -> Verbose {
        match text {
            Some("on") => Verbose::On,
            Some("full") => Verbose::Full,
            _ => Verbose::Off,
        }
    }
}

/// A run that was given up while its thread works on.
pub struct Stuck {
    /// The client's name for it.
    pub run_id: String,
    /// The conversation it may still write to.
    pub session_id: String,
}

/// All runs that have not ended, and a short memory of those that have.
pub struct Runs {
    by_no: Table<RunNo, Run>,
    by_id: Table<String, RunNo>,
    lanes: Lanes,
    next: u64,
    /// Runs that were given up.
    pub stuck: Table<RunNo, Stuck>,
    /// Runs that have ended, for `agent.wait` and repeated calls.
    pub ended: EndedRuns,
}

impl Runs {
    /// An empty registry that lets so many runs work at once.
    pub fn new(cap: usize) -> Runs {
        Runs {
            by_no: Table::new(),
            by_id: Table::new(),
            lanes: Lanes::new(cap),
            next: 0,
            stuck: Table::default(),
            ended: EndedRuns::default(),
        }
    }

    /// Another cap; runs that work already go on.
    pub fn set_cap(&mut self, cap: usize) {
        self.lanes.set_cap(cap);
    }

    /// Takes a run into its lane. The id must be free.
    pub fn add(&mut self, run: Run) -> RunNo {
        self.next += 1;
        let no = RunNo(self.next);
        self.by_id.insert(run.id.clone(), no);
        self.lanes.push(&run.session_key, no);
        self.by_no.insert(no, run);
        no
    }

    /// The runs whose turn it is now, marked as running, and how long until the next one that waits for silence. Those
    /// that wait take no place under the cap.
    pub fn due(&mut self, now: Duration) -> (Vec<(RunNo, Box<RunSpec>)>, Option<Duration>) {
        let (mut due, mut wait) = (Vec::new(), None::<Duration>);
        loop {
            let runs = &self.by_no;
            let is_ready = |no: RunNo| {
                let run = runs.get(&no);
                // stopped while it waited: it only ends
                if run.is_some_and(|run| run.phase != Phase::Queued) {
                    return false;
                }
                let left = run.and_then(|run| run.not_before?.checked_sub(now)).filter(|left| !left.is_zero());
                wait = wait.into_iter().chain(left).min();
                left.is_none()
            };
            let Some(no) = self.lanes.next(is_ready) else { return (due, wait) };
            match self.by_no.get_mut(&no) {
                Some(run) => due.extend(run.begin().map(|spec| (no, spec))),
                None => self.lanes.remove(no),
            }
        }
    }

    /// Nothing starts in this session while the disk thread works on it; see [`Lanes::hold`].
    pub fn hold(&mut self, key: &str) {
        self.lanes.hold(key);
    }

    /// Whether the session's lane goes on now.
    pub fn let_go(&mut self, key: &str) -> bool {
        self.lanes.let_go(key)
    }

    /// Whether the disk thread works on this session.
    pub fn is_held(&self, key: &str) -> bool {
        self.lanes.is_held(key)
    }

    /// Takes a run out; its lane goes on.
    pub fn remove(&mut self, no: RunNo) -> Option<Run> {
        let run = self.by_no.remove(&no)?;
        self.by_id.remove(&run.id);
        for joined in &run.joined {
            self.by_id.remove(&joined.id);
        }
        self.lanes.remove(no);
        Some(run)
    }

    /// A run answers these messages, too.
    pub fn join(&mut self, no: RunNo, joined: impl IntoIterator<Item = Joined>) {
        let Some(run) = self.by_no.get_mut(&no) else { return };
        for joined in joined {
            self.by_id.insert(joined.id.clone(), no);
            run.joined.push(joined);
        }
    }

    /// One message of a waiting run goes away, another one of the same run gives it its name.
    pub fn part(&mut self, no: RunNo, id: &str) -> Option<Joined> {
        let run = self.by_no.get_mut(&no)?;
        let at = run.joined.iter().position(|joined| joined.id == id);
        let mut gone = run.joined.remove(at.or_else(|| (run.id == id && !run.joined.is_empty()).then_some(0))?);
        if at.is_none() {
            std::mem::swap(&mut run.id, &mut gone.id);
            std::mem::swap(&mut run.remembered, &mut gone.remembered);
        }
        if let Some(spec) = &mut run.spec {
            spec.prompts.retain(|prompt| prompt.run_id != id);
            spec.run_id.clone_from(&run.id);
        }
        self.by_id.remove(id);
        Some(gone)
    }

    /// A run by number.
    pub fn get(&self, no: RunNo) -> Option<&Run> {
        self.by_no.get(&no)
    }

    /// A run by number, to change.
    pub fn get_mut(&mut self, no: RunNo) -> Option<&mut Run> {
        self.by_no.get_mut(&no)
    }

    /// A run by the client's id.
    pub fn find(&self, id: &str) -> Option<RunNo> {
        self.by_id.get(id).copied()
    }

    /// Who waits for the end of a run, to be told before it has ended; scheduled work waits for the real end.
    pub fn take_asker(&mut self, no: RunNo) -> Option<Asker> {
        let early = |asker: &mut Asker| !matches!(asker, Asker::Heartbeat(_) | Asker::Cron(_) | Asker::Hook(_));
        self.by_no.get_mut(&no)?.asker.take_if(early)
    }

    /// The run whose end this tool waits for.
    pub fn asked_by_tool(&mut self, ticket: u64) -> Option<&mut Run> {
        self.by_no.values_mut().find(|run| matches!(run.asker, Some(Asker::Tool(asked)) if asked == ticket))
    }

    /// Runs of a session, the one at work first.
    pub fn of_session<'a>(&'a self, key: &'a str) -> impl Iterator<Item = (RunNo, &'a Run)> {
        self.by_no.iter().filter(move |(_, run)| run.session_key == key).map(|(no, run)| (*no, run))
    }

    /// Whether the thread of one of the session's runs works.
    pub fn is_at_work(&self, key: &str) -> bool {
        self.of_session(key).any(|(_, run)| run.spec.is_none())
    }

    /// All runs.
    pub fn all(&self) -> impl Iterator<Item = (RunNo, &Run)> {
        self.by_no.iter().map(|(no, run)| (*no, run))
    }

    /// Number of runs, waiting ones included.
    pub fn len(&self) -> usize {
        self.by_no.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_no.is_empty()
    }

    /// Runs whose thread works.
    pub fn at_work(&self) -> usize {
        self.by_no.values().filter(|run| run.phase != Phase::Queued).count()
    }
}
