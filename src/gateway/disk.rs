//! The store thread: the only one that touches files below the state directory while the gateway
//! runs. Jobs are data; each comes back to the state thread with what was to follow it.
//! Knows no protocol and no policy.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde_json::Value;

use super::event::{ConnId, Event, Input};
use super::handshake::Greeting;
use super::sessions::{self, SessionRow};
use crate::config::env::Env;
use crate::config::load::{self, Snapshot};
use crate::config::paths::Paths;
use crate::limits;
use crate::store::atomic;
use crate::store::tail::{self, Tail, TailRequest};
use crate::sys::thread;

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
    /// Session rows of all agents.
    Sessions(Vec<SessionRow>),
    /// The queue was full.
    Refused,
}

impl Done {
    /// The outcome of a job that was never taken.
    pub fn refused(job: &Job) -> Done {
        match job {
            Job::Write(_) => Done::Written(Err("too many writes are waiting".to_string())),
            Job::Tail(_) => Done::Tail(Err("too many reads are waiting".to_string())),
            Job::Config | Job::Sessions(_) => Done::Refused,
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
    /// A change that must be on disk before anyone hears of it.
    Commit(Commit),
    /// Answer `logs.tail`.
    LogsTail(Waiting),
    /// Answer `config.get`.
    ConfigGet(Waiting),
    /// Answer `secrets.reload`.
    SecretsReload(Waiting),
    /// Take over the session rows.
    Sessions,
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
}

/// Where the disk thread works.
pub struct Place {
    /// Paths of this instance.
    pub paths: Paths,
    /// The environment the configuration is resolved with.
    pub env: Env,
    /// Asked for at each job: the log file changes with the date.
    pub log_file: Box<dyn Fn() -> Option<PathBuf> + Send>,
}

/// The running thread and the way to it.
pub struct Store {
    /// Its queue.
    pub jobs: Sender<(Job, Then)>,
    /// Closed when the thread ends.
    pub ended: Receiver<Infallible>,
}

/// Starts the thread. It ends when the sender is dropped, after everything queued is on disk.
pub fn spawn(place: Place, events: Sender<Event>) -> std::io::Result<Store> {
    let (jobs, queue) = bounded(limits::STORE_QUEUE);
    let (alive, ended) = bounded(0);
    thread::spawn("store", limits::STACK_PARSER, move || {
        let _alive = alive;
        run(&place, &queue, &events);
    })?;
    Ok(Store { jobs, ended })
}

/// Waits until everything queued is on disk, but not for ever: what hangs now was acknowledged to nobody.
pub fn wait(ended: &Receiver<Infallible>, longest: Duration) {
    if ended.recv_timeout(longest) == Err(RecvTimeoutError::Timeout) {
        let waited = longest.as_secs();
        log::error!(target: "store", "the disk did not answer for {waited} s; leaving without the last changes, which nobody was told are saved");
    }
}

fn run(place: &Place, queue: &Receiver<(Job, Then)>, events: &Sender<Event>) {
    while let Ok(first) = queue.recv() {
        let mut batch: VecDeque<_> = std::iter::once(first).chain(queue.try_iter()).collect();
        while let Some((job, then)) = batch.pop_front() {
            if superseded(&job, &then, &batch) {
                continue;
            }
            let done = perform(place, job);
            let _ = events.send(Event::Input(Input::Stored { then, done }));
        }
    }
}

/// A write that nobody waits for is left out when a later one to the same files waits behind it.
fn superseded(job: &Job, then: &Then, behind: &VecDeque<(Job, Then)>) -> bool {
    let (Job::Write(files), Then::Nothing) = (job, then) else { return false };
    let rewritten = |path: &PathBuf| {
        behind
            .iter()
            .any(|(later, _)| matches!(later, Job::Write(files) if files.iter().any(|file| file.path == *path)))
    };
    files.iter().all(|file| rewritten(&file.path))
}

fn perform(place: &Place, job: Job) -> Done {
    match job {
        Job::Write(files) => Done::Written(files.iter().try_for_each(write)),
        Job::Tail(ask) => Done::Tail(read_log(place, ask)),
        Job::Config => Done::Config(Box::new(load::load(&place.paths, &place.env))),
        Job::Sessions(stores) => Done::Sessions(sessions::read_all(&stores)),
    }
}

fn read_log(place: &Place, ask: TailAsk) -> Result<Tail, String> {
    let TailAsk { cursor, limit, max_bytes } = ask;
    // Whoever asks expects to see what he has just caused.
    log::logger().flush();
    let file = (place.log_file)().ok_or("the log file is switched off")?;
    tail::tail(TailRequest { file: &file, cursor, limit, max_bytes }).map_err(|error| error.to_string())
}

fn write(file: &FileWrite) -> Result<(), String> {
    atomic::write(&file.path, &file.bytes, 0o600).map_err(|error| {
        log::error!(target: "store", "cannot write file={} error={error}", file.path.display());
        format!("cannot write {}: {error}", file.path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_hangs_does_not_hold_the_end_up() {
        let (alive, ended) = bounded(0);
        wait(&ended, Duration::from_millis(1));
        drop(alive);
        wait(&ended, Duration::MAX);
    }
}
