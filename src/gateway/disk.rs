//! The store thread: the only one that writes files below the state directory while the gateway
//! runs, runs and their transcripts apart. Jobs are data; each comes back to the state thread with what was to follow
//! it. A second thread reads for clients, so that no acknowledgement waits behind a long transcript; it sees every
//! write that was acknowledged before the read was asked for. Knows no protocol and no policy.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use serde_json::Value;

use super::agent_files::{self, FileAsk};
use super::approvals_file::{self, ApprovalChange};
use super::cron::files::{self as cron_files, CronJob, Loaded};
use super::event::{ConnId, Event, Input};
use super::handshake::Greeting;
use super::heartbeats::{HeartbeatAsk, HeartbeatRead};
use super::journal::{self, OpenRun};
use super::methods::tools::{self, ToolsAsk};
use super::notes::Note;
use super::roster::{self, Renewal, Renewed};
use super::session_key;
use super::sessions::{self, Shelf};
use super::transcripts::{self, Addition, Ask};
use crate::agent::model::failover::Change;
use crate::agent::model::keys::AuthProfiles;
use crate::config::env::Env;
use crate::config::load::{self, Snapshot};
use crate::config::paths::Paths;
use crate::http::reply::Reply;
use crate::limits;
use crate::protocol::errors::WireError;
use crate::session::workspace;
use crate::store::atomic;
use crate::store::index_file::IndexFiles;
use crate::store::session::archive::{self, Reason};
use crate::store::session::retain::{self, Retain};
use crate::store::sessions::{Arrival, Index};
use crate::store::tail::{self, Tail, TailRequest};
use crate::sys::zone::Zone;
use crate::sys::{queue, thread};

/// Something to do with files.
pub enum Job {
    /// Replace files, each atomically, in this order.
    Write(Vec<FileWrite>),
    /// Read the end of the log.
    Tail(TailAsk),
    /// Read the configuration anew.
    Config,
    /// Read the session indexes of these agents.
    Sessions(Vec<(String, PathBuf)>),
    /// Read a transcript, or shorten one.
    Transcript(Ask),
    /// Add messages to a transcript.
    Add(Box<Addition>),
    /// Read `exec-approvals.json`.
    ApprovalsGet,
    /// Change the configuration, or read it for the state to take over.
    Renew(Box<Renewal>),
    /// Read or write files of an agent's workspace.
    AgentFiles(FileAsk),
    /// Say which tools a session's next turn gets.
    Tools(Box<ToolsAsk>),
    /// Replace it, with a seed for new ids.
    ApprovalsSet(Value, [u8; 32]),
    /// Add to it what a turn caused.
    ApprovalsChange(ApprovalChange),
    /// Rename transcripts out of the way.
    PutAway(Vec<PathBuf>, u64),
    /// Change the journal of turns.
    Journal(PathBuf, journal::Change),
    /// Read what the journal of the last process says, with a seed for the lines of restored messages.
    Recover(PathBuf, [u8; 32]),
    /// Enter into a profiles file what happened with its accounts.
    Profiles(PathBuf, Vec<Change>, u64),
    /// Let old transcripts go.
    Retain(Vec<Retain>),
    /// Read what heartbeats need.
    Heartbeat(HeartbeatAsk),
    /// Read or write files of scheduled work.
    Cron(CronJob),
    /// Replace session indexes.
    Indexes(Vec<(PathBuf, Arc<Index>)>),
}

/// Which part of the log is wanted; the file is the one in use.
#[derive(Debug, Clone, Copy)]
pub struct TailAsk {
    /// Byte offset up to which the caller has read.
    pub cursor: Option<u64>,
    /// Most lines.
    pub limit: usize,
    /// Most bytes.
    pub max_bytes: usize,
}

/// A file's new content.
pub struct FileWrite {
    /// The file.
    pub path: PathBuf,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// How a job went.
pub enum Done {
    /// Written, or why not.
    Written(Result<(), String>),
    /// The log's end.
    Tail(Result<Tail, String>),
    /// The configuration as it stands on disk.
    Config(Box<Snapshot>),
    /// Session indexes by agent.
    Sessions(Vec<(String, Shelf)>),
    /// What another program put into a session index.
    Arrived(PathBuf, Vec<Arrival>),
    /// Turns the last process broke off.
    Recovered(Vec<OpenRun>),
    /// A serialised answer about a transcript.
    Transcript(Result<String, String>),
    /// The last added message's entry.
    Added(Result<String, String>),
    /// A whole answer, serialised.
    Answer(Result<String, WireError>),
    /// The configuration to take over.
    Renewed(Box<Result<Renewed, WireError>>),
    /// What was read for heartbeats.
    Heartbeat(HeartbeatRead),
    /// Where transcripts are now.
    PutAway(Vec<String>),
    /// The jobs of the schedule.
    CronLoaded(Box<Loaded>),
    /// A time zone, if there is one of that name.
    CronZone(String, Option<Arc<Zone>>),
    /// It was not done: the queue was full, or a bug got in the way.
    Refused,
}

impl Job {
    /// Whether it only reads what a client wants to see; such a job changes nothing and may take long.
    fn reads(&self) -> bool {
        // Not a run log: who sees that a run is over finds it there, so it is read behind what is to be written.
        matches!(self, Job::Tail(_)) || matches!(self, Job::Transcript(ask) if !matches!(ask, Ask::Shorten { .. }))
    }
}

impl Done {
    /// The outcome of a job that was never taken.
    pub fn refused(job: &Job) -> Done {
        match job {
            Job::Write(_) | Job::Indexes(_) | Job::Retain(_) | Job::Profiles(..) | Job::Journal(..) => {
                Done::Written(Err("too many writes are waiting".to_string()))
            }
            Job::Tail(_) => Done::Tail(Err("too many reads are waiting".to_string())),
            Job::Transcript(_) => Done::Transcript(Err("too many reads are waiting".to_string())),
            Job::Add(_) => Done::Added(Err("too many writes are waiting".to_string())),
            Job::Cron(CronJob::Runs(..)) => {
                Done::Answer(Err(WireError::unavailable("too many reads are waiting; try again")))
            }
            Job::Config
            | Job::Cron(_)
            | Job::Sessions(_)
            | Job::Recover(..)
            | Job::PutAway(..)
            | Job::ApprovalsGet
            | Job::Renew(_)
            | Job::AgentFiles(_)
            | Job::Tools(_)
            | Job::Heartbeat(_)
            | Job::ApprovalsSet(..)
            | Job::ApprovalsChange(_) => Done::Refused,
        }
    }
}

/// A request that waits for the disk.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Who asked.
    pub conn: ConnId,
    /// The request's id.
    pub id: String,
}

/// What follows a job.
pub enum Then {
    /// Nothing; a failed write is tried again with the next change.
    Nothing,
    /// Answer a program once what is written for it is on disk.
    Reply(u64, Box<Reply>),
    /// Learn that the waiting lines are saved.
    Lines,
    /// A change that must be on disk before anyone hears of it.
    Commit(Box<Commit>),
    /// Answer `logs.tail`.
    LogsTail(Waiting),
    /// Answer `config.get`.
    ConfigGet(Waiting),
    /// Take over the configuration with its secrets, then answer `secrets.reload`.
    SecretsReload(Waiting),
    /// Take over the configuration, then answer.
    Renew(Waiting),
    /// Take over the session indexes, or learn that they are saved.
    Sessions,
    /// Answer with what was read of a transcript.
    Transcript(Waiting),
    /// Answer `sessions.compact`; the session goes on.
    Shortened(Waiting, session_key::Place),
    /// Answer and tell once messages of the gateway are in a transcript.
    Added(Box<Note>),
    /// Pass the answer on.
    Answer(Waiting),
    /// Answer `sessions.delete`.
    PutAway(Waiting, String),
    /// Go on with heartbeats: with the time zones, or with this agent's.
    Heartbeat(Option<String>),
    /// Take over the schedule, or a time zone for it.
    CronLoaded,
    /// Start this job's turn.
    CronBegun(String),
    /// Go on with this job: what it left was posted, or not.
    CronPosted(String),
}

/// What is said once a change is on disk.
#[derive(Default)]
pub struct Commit {
    /// The answer to whoever asked for it.
    pub reply: Option<(Waiting, Value)>,
    /// Events for everyone who may see them.
    pub events: Vec<(&'static str, Value)>,
    /// A handshake that can be finished now.
    pub greeting: Option<Box<Greeting>>,
    /// Connections whose credentials this change ended.
    pub revoked: Vec<ConnId>,
    /// Sessions that changed, for their followers.
    pub changed: Vec<Value>,
    /// A message that is taken away again if it cannot be saved, by the name of its run.
    pub message: Option<String>,
    /// Its line for the journal, which is written next; all else waits for that, too.
    pub line: Option<Box<OpenRun>>,
    /// A session in which nothing starts before this is known.
    pub held: Option<String>,
    /// Under which name a repeated call finds the answer.
    pub remembered: Option<String>,
    /// Transcripts that may go once the indexes no longer name them.
    pub retain: Vec<Retain>,
    /// A deleted session's transcript, and who is answered once it is put away.
    pub put_away: Option<(PathBuf, Waiting, String)>,
}

/// Where the disk thread works.
pub struct Place {
    /// Paths of this instance.
    pub paths: Paths,
    /// The environment the configuration is resolved with.
    pub env: Env,
    /// Asked for at each job: the log file changes with the date.
    pub log_file: Box<dyn Fn() -> Option<PathBuf> + Send + Sync>,
}

impl Place {
    fn approvals(&self) -> PathBuf {
        self.paths.state_dir.join("exec-approvals.json")
    }
}

/// The running threads and the way to them.
pub struct Store {
    /// Their queues.
    pub queues: Queues,
    /// Closed when the thread that writes ends.
    pub ended: Receiver<()>,
}

/// The ways to the disk.
pub struct Queues {
    writes: queue::Sender<(Job, Then)>,
    reads: queue::Sender<(Job, Then)>,
}

impl Queues {
    /// Queues a job, or gives it back when too many wait.
    pub fn try_send(&self, job: Job, then: Then) -> Result<(), TrySendError<(Job, Then)>> {
        let queue = if job.reads() { &self.reads } else { &self.writes };
        queue.try_send((job, then))
    }
}

/// Starts the threads. They end when the queues are dropped, the one that writes after everything queued is on disk.
pub fn spawn(place: Place, events: Sender<Event>) -> std::io::Result<Store> {
    let place = Arc::new(place);
    let (alive, ended) = bounded(0);
    let writes = worker("store", &place, &events, Some(alive))?;
    let reads = worker("reader", &place, &events, None)?;
    Ok(Store { queues: Queues { writes, reads }, ended })
}

fn worker(
    name: &str,
    place: &Arc<Place>,
    events: &Sender<Event>,
    alive: Option<Sender<()>>,
) -> std::io::Result<queue::Sender<(Job, Then)>> {
    let (jobs, queue) = queue::bounded(limits::STORE_QUEUE);
    let mut hands = Hands { place: Arc::clone(place), indexes: IndexFiles::default(), arrived: Vec::new() };
    let events = events.clone();
    thread::spawn(name, limits::STACK_PARSER, move || {
        let _alive = alive;
        run(&mut hands, &queue, &events);
    })?;
    Ok(jobs)
}

/// Waits until everything queued is on disk, but not for ever: what hangs now was acknowledged to nobody.
pub fn wait(ended: &Receiver<()>, longest: Duration) {
    if ended.recv_timeout(longest) == Err(RecvTimeoutError::Timeout) {
        let waited = longest.as_secs();
        log::error!(target: "store", "the disk did not answer for {waited} s; leaving without the last changes, which nobody was told are saved");
    }
}

/// What a thread works with.
struct Hands {
    place: Arc<Place>,
    indexes: IndexFiles,
    /// What was found in index files, for the state thread.
    arrived: Vec<(PathBuf, Vec<Arrival>)>,
}

fn run(hands: &mut Hands, queue: &queue::Receiver<(Job, Then)>, events: &Sender<Event>) {
    while let Ok(first) = queue.recv() {
        let mut batch: VecDeque<_> = std::iter::once(first).chain(queue.try_iter()).collect();
        while let Some((job, then)) = batch.pop_front() {
            if superseded(&job, &then, &batch) {
                continue;
            }
            let done = guarded(|| perform(hands, job));
            // The state hears of it before anyone is told that the change is saved.
            for (path, arrivals) in hands.arrived.drain(..) {
                let done = Done::Arrived(path, arrivals);
                let _ = events.send(Event::Input(Input::Stored { then: Then::Sessions, done }));
            }
            let _ = events.send(Event::Input(Input::Stored { then, done }));
        }
    }
}

/// A bug in one job costs that job: without this thread nothing would be saved any more.
fn guarded(job: impl FnOnce() -> Done) -> Done {
    catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|_| {
        log::error!(target: "store", "a disk job panicked; see the line before");
        Done::Refused
    })
}

/// Lines that nobody waits for are left out when the very next job writes them anew; a job in between may rest on them.
fn superseded(job: &Job, then: &Then, behind: &VecDeque<(Job, Then)>) -> bool {
    let (Job::Write(files), Then::Lines, Some((Job::Write(later), _))) = (job, then, behind.front()) else {
        return false;
    };
    files.iter().all(|file| later.iter().any(|other| other.path == file.path))
}

fn perform(hands: &mut Hands, job: Job) -> Done {
    let place = hands.place.as_ref();
    match job {
        Job::Write(files) => Done::Written(files.iter().try_for_each(write)),
        Job::Indexes(files) => Done::Written(files.into_iter().try_for_each(|(path, index)| {
            let arrivals = hands.indexes.write(&path, index).map_err(|error| unwritten(&path, &error))?;
            if !arrivals.is_empty() {
                hands.arrived.push((path, arrivals));
            }
            Ok(())
        })),
        Job::Transcript(ask) => Done::Transcript(transcripts::read(ask)),
        Job::Add(addition) => Done::Added(transcripts::add(&addition)),
        Job::ApprovalsGet => {
            let read = approvals_file::get(&place.approvals());
            Done::Transcript(read.map(|payload| payload.to_string()).map_err(|error| error.message))
        }
        Job::ApprovalsSet(params, seed) => Done::Answer(text(approvals_file::set(&place.approvals(), &params, seed))),
        Job::Renew(renewal) => Done::Renewed(Box::new(roster::renew(place, &mut hands.indexes, *renewal))),
        Job::Tools(ask) => Done::Answer(Ok(tools::answer(&ask, &place.approvals()).to_string())),
        Job::AgentFiles(ask) => Done::Answer(text(agent_files::answer(&ask))),
        Job::ApprovalsChange(change) => {
            approvals_file::change(&place.approvals(), &change);
            Done::Written(Ok(()))
        }
        Job::Recover(path, seed) => Done::Recovered(journal::recover(&path, seed)),
        Job::Journal(path, change) => {
            Done::Written(journal::write(&path, &change).map_err(|error| unwritten(&path, &error)))
        }
        Job::Profiles(path, changes, now_ms) => {
            if let Err(error) = note_profiles(&path, &changes, now_ms) {
                log::warn!(target: "store", "auth profiles not updated file={} error={error}", path.display());
            }
            Done::Written(Ok(()))
        }
        Job::Retain(wishes) => {
            wishes.iter().for_each(let_go);
            Done::Written(Ok(()))
        }
        Job::PutAway(files, now_ms) => Done::PutAway(put_away(&files, now_ms)),
        Job::Heartbeat(ask) => Done::Heartbeat(heartbeat_read(&ask, &place.env)),
        Job::Tail(ask) => Done::Tail(read_log(place, ask)),
        Job::Cron(job) => cron_files::perform(job),
        Job::Config => Done::Config(Box::new(load::load(&place.paths, &place.env))),
        Job::Sessions(stores) => Done::Sessions(sessions::read_all(stores, &mut hands.indexes)),
    }
}

fn heartbeat_read(ask: &HeartbeatAsk, env: &Env) -> HeartbeatRead {
    let zone = |name: &String| match name.as_str() {
        "local" => Some(Zone::local(|name| env.get(name).map(Into::into))),
        name => Zone::named(name),
    };
    match ask {
        HeartbeatAsk::Zones(names) => {
            HeartbeatRead::Zones(names.iter().map(|name| (name.clone(), zone(name))).collect())
        }
        HeartbeatAsk::File(folder) => HeartbeatRead::AsksNothing(workspace::heartbeat_asks_nothing(folder)),
    }
}

/// The file is a person's; nothing is written unless it names one of the accounts.
fn note_profiles(path: &Path, changes: &[Change], now_ms: u64) -> Result<(), String> {
    let Some(bytes) = atomic::read_bounded(path, limits::AUTH_PROFILES_BYTES).map_err(|error| error.to_string())?
    else {
        return Ok(());
    };
    let mut profiles = AuthProfiles::parse(&bytes)?;
    let known = |change: &&Change| profiles.ids().any(|id| id == change.account);
    let known: Vec<&Change> = changes.iter().filter(known).collect();
    if known.is_empty() {
        return Ok(());
    }
    for change in known {
        profiles.note(&change.account, change.noted, now_ms);
    }
    atomic::write(path, profiles.to_json().as_bytes(), atomic::PRIVATE).map_err(|error| error.to_string())
}

fn let_go(wish: &Retain) {
    match retain::retain(wish) {
        Ok((0, 0)) => {}
        Ok((away, removed)) => log::info!(
            target: "store", "old transcripts put away={away} removed={removed} folder={}", wish.folder.display()
        ),
        Err(error) => log::warn!(
            target: "store", "old transcripts cannot be let go folder={} error={error}", wish.folder.display()
        ),
    }
}

fn text(answer: Result<Value, WireError>) -> Result<String, WireError> {
    answer.map(|answer| answer.to_string())
}

fn put_away(files: &[PathBuf], now_ms: u64) -> Vec<String> {
    let mut places = Vec::new();
    for file in files {
        match archive::put_away(file, Reason::Deleted, now_ms) {
            Ok(place) => places.extend(place.map(|path| path.display().to_string())),
            Err(error) => log::warn!(target: "store", "cannot put away file={} error={error}", file.display()),
        }
    }
    places
}

fn read_log(place: &Place, ask: TailAsk) -> Result<Tail, String> {
    let TailAsk { cursor, limit, max_bytes } = ask;
    // Whoever asks expects to see what he has just caused.
    log::logger().flush();
    let file = (place.log_file)().ok_or("the log file is switched off")?;
    tail::tail(TailRequest { file: &file, cursor, limit, max_bytes }).map_err(|error| error.to_string())
}

fn write(file: &FileWrite) -> Result<(), String> {
    atomic::write(&file.path, &file.bytes, 0o600).map_err(|error| unwritten(&file.path, &error))
}

fn unwritten(path: &Path, error: &std::io::Error) -> String {
    log::error!(target: "store", "cannot write file={} error={error}", path.display());
    format!("cannot write {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(name: &str, log_file: Box<dyn Fn() -> Option<PathBuf> + Send + Sync>) -> (Store, Receiver<Event>) {
        let state = std::env::temp_dir().join(format!("openclaw-disk-{}-{name}", std::process::id()));
        let env = Env::of([("OPENCLAW_STATE_DIR", state.to_str().unwrap())]);
        let paths = Paths::resolve(&env, &crate::config::Profile::none());
        let (events, told) = bounded(8);
        (spawn(Place { paths, env, log_file }, events).unwrap(), told)
    }

    fn next(told: &Receiver<Event>) -> Done {
        match told.recv_timeout(Duration::from_secs(10)) {
            Ok(Event::Input(Input::Stored { done, .. })) => done,
            _ => panic!("no answer"),
        }
    }

    fn tail() -> Job {
        Job::Tail(TailAsk { cursor: None, limit: 1, max_bytes: 1 })
    }

    fn waiting() -> Waiting {
        Waiting { conn: ConnId(1), id: "r".into() }
    }

    #[test]
    fn a_disk_that_hangs_does_not_hold_the_end_up() {
        let (alive, ended) = bounded(0);
        wait(&ended, Duration::from_millis(1));
        drop(alive);
        wait(&ended, Duration::MAX);
    }

    #[test]
    fn a_job_that_panics_is_answered_and_the_next_one_is_done() {
        let (store, told) = store("panics", Box::new(|| panic!("on purpose, in a test")));
        for _ in 0..2 {
            assert!(store.queues.try_send(tail(), Then::LogsTail(waiting())).is_ok());
            assert!(matches!(next(&told), Done::Refused));
        }
        drop(store.queues);
        wait(&store.ended, Duration::from_secs(10));
    }

    #[test]
    fn a_write_does_not_wait_behind_a_long_read() {
        let (go_on, held) = bounded::<()>(0);
        let wait = Box::new(move || {
            let _ = held.recv();
            None
        });
        let (store, told) = store("reads", wait);
        assert!(store.queues.try_send(tail(), Then::LogsTail(waiting())).is_ok());
        assert!(store.queues.try_send(Job::Write(Vec::new()), Then::Sessions).is_ok());
        assert!(matches!(next(&told), Done::Written(Ok(()))));
        drop(go_on);
        assert!(matches!(next(&told), Done::Tail(Err(_))));
    }

    #[test]
    fn lines_are_written_before_what_rests_on_them() {
        let write = |name: &str| Job::Write(vec![FileWrite { path: name.into(), bytes: Vec::new() }]);
        let commit = || Then::Commit(Box::default());
        let lines = || (write("lines"), Then::Lines);
        let left_out = |behind: Vec<(Job, Then)>| superseded(&write("lines"), &Then::Lines, &behind.into());
        assert!(left_out(vec![lines()]) && left_out(vec![(write("lines"), commit())]));
        assert!(!left_out(Vec::new()) && !left_out(vec![(write("jobs"), commit()), lines()]));
        assert!(!superseded(&write("lines"), &commit(), &vec![lines()].into()), "somebody waits for it");
    }
}
