//! Other programs in process groups of their own: started, fed, read in bounded memory, and ended with everything they
//! started. The house's only place that starts long-lived programs; knows nothing of why they run.
//!
//! A group ends in order: TERM, a grace, KILL. When a program ends by itself, what it left behind in its group is ended
//! the same way, and only then it counts as ended. Residual: a process that makes a session of its own (`setsid`)
//! leaves the group; it is not ended, and if it holds the output open, one parked reader thread waits for it.

mod capture;
mod roster;

use std::ffi::OsString;
use std::io::{self, PipeReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::TrySendError;

pub use capture::{Capture, Keep, Piece};
pub use roster::{Listed, Roster};

use crate::limits;
use crate::sys::queue::{Receiver, Sender, bounded};
use crate::sys::{group, thread};

/// What to start.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The program; a bare name is searched in the `PATH` of `env`.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its directory.
    pub dir: PathBuf,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Its input.
    pub input: Input,
    /// Its error output.
    pub stderr: Stderr,
    /// How much of each output is kept.
    pub keep: Keep,
    /// When it is ended; never when none.
    pub timeout: Option<Duration>,
    /// Time between TERM and KILL.
    pub grace: Duration,
}

/// Where input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// There is none.
    Closed,
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// Whatever [`Child::write`] sends, until [`Child::close_input`].
    Open,
}

/// Where error output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stderr {
    /// Between the standard output, in the order of writing.
    Joined,
    /// Kept apart.
    Apart,
}

/// One of the outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, error output included when joined.
    Out,
    /// Error output when apart.
    Err,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether we ended it, and why.
    pub stopped: Option<StopReason>,
    /// Whether it left processes behind that we ended.
    pub left_behind: bool,
}

/// Why we end a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Its time was over.
    Timeout,
    /// Somebody asked.
    Asked,
}

/// Why input was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputFault {
    /// It has no input, or it was closed, or the program ended.
    Closed,
    /// The program does not read what was sent before.
    Full,
}

impl std::fmt::Display for InputFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            InputFault::Closed => "its input is closed",
            InputFault::Full => "it does not read its input",
        })
    }
}

impl std::error::Error for InputFault {}

/// A started program; clones are the same one. Dropping it does not end the program.
#[derive(Clone)]
pub struct Child {
    shared: Arc<Shared>,
}

struct Shared {
    pid: u32,
    started: Instant,
    grace: Duration,
    state: Mutex<State>,
    news: Condvar,
}

struct State {
    out: Capture,
    err: Capture,
    /// Outputs that are still open.
    open: usize,
    input: Option<Sender<Vec<u8>>>,
    /// Whether the number of the process is still ours to signal.
    ours: bool,
    stop: Option<(StopReason, Instant)>,
    exit: Option<Exit>,
    at_exit: Vec<Box<dyn FnOnce(Exit) + Send>>,
    /// How long it ran, once it has ended.
    ran: Option<Duration>,
}

impl Child {
    /// Starts a program in a new process group.
    pub fn spawn(spec: Spec) -> io::Result<Child> {
        let (mut command, outputs, kinds) = command(&spec)?;
        let mut process = command.spawn()?;
        // the parent's ends of the pipes: without this the readers would never see the end
        drop(command);
        let (input, feed) = feed(spec.input, process.stdin.is_some());
        let state = State {
            out: Capture::new(spec.keep),
            err: Capture::new(spec.keep),
            open: outputs.len(),
            input,
            ours: true,
            stop: None,
            exit: None,
            at_exit: Vec::new(),
            ran: None,
        };
        let (pid, grace, timeout) = (process.id(), spec.grace, spec.timeout);
        let shared = Shared { pid, started: Instant::now(), grace, state: Mutex::new(state), news: Condvar::new() };
        let child = Child { shared: Arc::new(shared) };
        let stdin = process.stdin.take();
        if let Err(fault) = child.start_threads(process, timeout, outputs.into_iter().zip(kinds), feed.zip(stdin)) {
            child.signal(group::kill);
            return Err(fault);
        }
        Ok(child)
    }

    fn start_threads(
        &self,
        process: process::Child,
        timeout: Option<Duration>,
        outputs: impl Iterator<Item = (PipeReader, Stream)>,
        feed: Option<(Receiver<Vec<u8>>, process::ChildStdin)>,
    ) -> io::Result<()> {
        let name = |part: &str| format!("tool:{}:{part}", self.pid());
        // first, so that the process is reaped also when another thread cannot be started
        let child = self.clone();
        thread::spawn(&name("wait"), limits::STACK_WRITER, move || child.wait_and_reap(process))?;
        let child = self.clone();
        thread::spawn(&name("guard"), limits::STACK_WRITER, move || child.guard(timeout))?;
        for (pipe, stream) in outputs {
            let child = self.clone();
            thread::spawn(&name("out"), limits::STACK_WRITER, move || child.read(pipe, stream))?;
        }
        if let Some((queue, pipe)) = feed {
            thread::spawn(&name("in"), limits::STACK_WRITER, move || pour(&queue, pipe))?;
        }
        Ok(())
    }

    /// Its process number, which is also its group's.
    pub fn pid(&self) -> u32 {
        self.shared.pid
    }

    /// How long it runs, or ran.
    pub fn age(&self) -> Duration {
        self.state().ran.unwrap_or_else(|| self.shared.started.elapsed())
    }

    /// How it ended; none while it runs.
    pub fn exit(&self) -> Option<Exit> {
        self.state().exit
    }

    /// What is kept of an output from a position on.
    pub fn output(&self, stream: Stream, position: u64) -> Piece {
        let state = self.state();
        match stream {
            Stream::Out => state.out.since(position),
            Stream::Err => state.err.since(position),
        }
    }

    /// Waits until there is output beyond this position of the standard output, or the program has ended, or the time
    /// is over, or `given_up` says so after a [`Child::nudge`]; whether there is news.
    pub fn wait_news(&self, position: u64, time: Duration, given_up: impl Fn() -> bool) -> bool {
        let news = |state: &State| state.exit.is_some() || state.out.total() > position;
        self.wait_until(time, |state| news(state) || given_up());
        news(&self.state())
    }

    /// Lets everybody who waits look again.
    pub fn nudge(&self) {
        // under the lock: else it could fall between somebody's look and sleep
        let _state = self.state();
        self.shared.news.notify_all();
    }

    /// Waits for the end; none when the time is over first.
    pub fn wait(&self, time: Duration) -> Option<Exit> {
        self.wait_until(time, |state| state.exit.is_some());
        self.exit()
    }

    /// Sends input; never blocks.
    pub fn write(&self, bytes: &[u8]) -> Result<(), InputFault> {
        let state = self.state();
        let sender = state.input.as_ref().ok_or(InputFault::Closed)?;
        sender.try_send(bytes.to_vec()).map_err(|fault| match fault {
            TrySendError::Full(_) => InputFault::Full,
            TrySendError::Disconnected(_) => InputFault::Closed,
        })
    }

    /// Ends the input after what was sent.
    pub fn close_input(&self) {
        self.state().input = None;
    }

    /// Ends the group: TERM now, KILL after the grace. Never blocks; a second call changes nothing.
    pub fn stop(&self, reason: StopReason) {
        let mut state = self.state();
        if state.exit.is_none() && state.stop.is_none() {
            state.stop = Some((reason, Instant::now()));
            self.send(&state, group::terminate);
            self.shared.news.notify_all();
        }
    }

    /// Runs this when it has ended, at once if it has.
    pub fn at_exit(&self, action: impl FnOnce(Exit) + Send + 'static) {
        let mut state = self.state();
        match state.exit {
            None => state.at_exit.push(Box::new(action)),
            Some(exit) => {
                drop(state);
                action(exit);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: fn(u32)) {
        self.send(&self.state(), signal);
    }

    /// Under the lock: the number cannot become another process's meanwhile.
    fn send(&self, state: &State, signal: fn(u32)) {
        if state.ours {
            signal(self.shared.pid);
        }
    }

    fn wait_until(&self, time: Duration, done: impl Fn(&State) -> bool) -> bool {
        let until = Instant::now().checked_add(time);
        let mut state = self.state();
        while !done(&state) {
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            state = self.pause(state, left);
        }
        true
    }

    fn pause<'a>(&'a self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        // a bounded wait: the clock's arithmetic overflows on absurd durations
        let time = time.min(Duration::from_secs(3600));
        self.shared.news.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Thread `out`: keeps what the program writes until it closes the pipe.
    fn read(&self, mut pipe: PipeReader, stream: Stream) {
        let mut buf = [0; 8 * 1024];
        loop {
            let count = match pipe.read(&mut buf) {
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) | Err(_) => break,
                Ok(count) => count,
            };
            let mut state = self.state();
            let bytes = buf.get(..count).unwrap_or_default();
            match stream {
                Stream::Out => state.out.push(bytes),
                Stream::Err => state.err.push(bytes),
            }
            self.shared.news.notify_all();
        }
        self.state().open -= 1;
        self.shared.news.notify_all();
    }

    /// Thread `guard`: the time limit, and KILL when TERM was not enough.
    fn guard(&self, timeout: Option<Duration>) {
        let deadline = timeout.and_then(|timeout| self.shared.started.checked_add(timeout));
        let mut killed = false;
        let mut state = self.state();
        while state.exit.is_none() {
            let due = match state.stop {
                Some((_, at)) => at.checked_add(self.shared.grace).filter(|_| !killed),
                None => deadline,
            };
            let left = due.map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()));
            if !left.is_zero() {
                state = self.pause(state, left);
                continue;
            }
            let signal = if state.stop.is_some() { group::kill } else { group::terminate };
            killed = state.stop.is_some();
            state.stop.get_or_insert((StopReason::Timeout, Instant::now()));
            self.send(&state, signal);
        }
    }

    /// Thread `wait`: notices the end, ends what was left behind, collects the status.
    fn wait_and_reap(&self, mut process: process::Child) {
        let early = (!group::await_exit(self.pid())).then(|| process.wait());
        self.wait_until(limits::CHILD_DRAIN, |state| state.open == 0);
        let held = self.state().open > 0;
        // still ours: the ended process keeps the number until it is collected
        self.signal(group::terminate);
        let status = {
            let _state = self.state();
            early.unwrap_or_else(|| process.wait())
        };
        let left = has_members(self.pid());
        if left {
            self.end_leftovers();
        }
        self.state().ours = false;
        self.wait_until(limits::CHILD_DRAIN, |state| state.open == 0);
        self.finish(status, left || held);
    }

    /// Members of the group keep its number taken, so signals cannot reach strangers as long as there are any.
    fn end_leftovers(&self) {
        if self.group_ends_within(self.shared.grace) {
            return;
        }
        self.signal(group::kill);
        self.group_ends_within(limits::CHILD_DRAIN);
    }

    /// Nobody tells when a group is empty, so this looks again and again; it happens only after something was left.
    fn group_ends_within(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while has_members(self.pid()) {
            if Instant::now() >= until {
                return false;
            }
            let state = self.state();
            drop(self.pause(state, limits::CHILD_DRAIN / 10));
        }
        true
    }

    fn finish(&self, status: io::Result<ExitStatus>, left_behind: bool) {
        let mut state = self.state();
        let (code, signal) = status.map_or((None, None), |status| (status.code(), status.signal()));
        let stopped = state.stop.map(|(reason, _)| reason);
        let exit = Exit { code, signal, stopped, left_behind: left_behind && stopped.is_none() };
        state.exit = Some(exit);
        state.ran = Some(self.shared.started.elapsed());
        state.input = None;
        let actions = std::mem::take(&mut state.at_exit);
        drop(state);
        self.shared.news.notify_all();
        for action in actions {
            action(exit);
        }
    }
}

/// Whether a group has members that run. Ended ones that nobody collected (a container without an init has many) do not
/// count; where there is no `/proc` they cannot be told apart and do.
pub fn has_members(leader: u32) -> bool {
    if !group::exists(leader) {
        return false;
    }
    let Ok(entries) = std::fs::read_dir("/proc") else { return true };
    let numbered =
        entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(|c: char| c.is_ascii_digit()));
    numbered
        .take(limits::PROC_ENTRIES)
        .any(|entry| std::fs::read_to_string(entry.path().join("stat")).is_ok_and(|stat| is_member(&stat, leader)))
}

/// Reads `/proc/<pid>/stat`: after the name in parentheses come state, parent and group.
fn is_member(stat: &str, leader: u32) -> bool {
    let Some((_, rest)) = stat.rsplit_once(") ") else { return false };
    let mut fields = rest.split(' ');
    let (state, group) = (fields.next(), fields.nth(1));
    !matches!(state, Some("Z" | "X")) && group.and_then(|group| group.parse().ok()) == Some(leader)
}

/// The command, our ends of its outputs, and which is which.
fn command(spec: &Spec) -> io::Result<(Command, Vec<PipeReader>, Vec<Stream>)> {
    let mut command = Command::new(&spec.program);
    group::lead(&mut command).args(&spec.args).current_dir(&spec.dir).env_clear();
    command.envs(spec.env.iter().map(|(name, value)| (name, value)));
    command.stdin(if spec.input == Input::Closed { Stdio::null() } else { Stdio::piped() });
    let (out, out_write) = io::pipe()?;
    let mut outputs = vec![out];
    let mut kinds = vec![Stream::Out];
    match spec.stderr {
        Stderr::Joined => command.stderr(out_write.try_clone()?),
        Stderr::Apart => {
            let (err, err_write) = io::pipe()?;
            outputs.push(err);
            kinds.push(Stream::Err);
            command.stderr(err_write)
        }
    };
    command.stdout(out_write);
    Ok((command, outputs, kinds))
}

/// What one call of [`Child::write`] sends.
type Sent = Vec<u8>;

/// The queue of the input thread, if there is input; bytes known beforehand are in it already, and it is closed.
fn feed(input: Input, piped: bool) -> (Option<Sender<Sent>>, Option<Receiver<Sent>>) {
    if !piped {
        return (None, None);
    }
    let (sender, receiver) = bounded(limits::CHILD_INPUT_QUEUE);
    match input {
        Input::Bytes(bytes) => {
            // an empty queue takes one item
            let _ = sender.try_send(bytes);
            (None, Some(receiver))
        }
        _ => (Some(sender), Some(receiver)),
    }
}

/// Thread `in`: a program that does not read blocks only this thread.
fn pour(queue: &Receiver<Vec<u8>>, mut pipe: process::ChildStdin) {
    for bytes in queue.iter() {
        // a program that closed its input has read what it wanted
        if pipe.write_all(&bytes).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No test waits longer.
    const WATCHDOG: Duration = Duration::from_secs(20);

    fn spec(script: &str) -> Spec {
        Spec {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            dir: std::env::temp_dir(),
            env: vec![("PATH".into(), std::env::var_os("PATH").unwrap())],
            input: Input::Closed,
            stderr: Stderr::Joined,
            keep: Keep { head: 1000, tail: 1000 },
            timeout: Some(WATCHDOG),
            grace: Duration::from_millis(50),
        }
    }

    fn start(script: &str) -> Child {
        Child::spawn(spec(script)).unwrap()
    }

    fn text(child: &Child) -> String {
        String::from_utf8(child.output(Stream::Out, 0).bytes(|gap| format!("[{gap}]"))).unwrap()
    }

    fn wait_for(child: &Child, part: &str) {
        let mut seen = 0;
        while !text(child).contains(part) {
            assert!(child.wait_news(seen, WATCHDOG, || false) && child.exit().is_none(), "{}", text(child));
            seen = child.output(Stream::Out, 0).end;
        }
    }

    #[test]
    fn members_are_read_from_the_system() {
        assert!(is_member("12 (a) b) S 1 7 7 0", 7) && !is_member("12 (x) Z 1 7 7 0", 7));
        assert!(!is_member("12 (x) S 1 8 7 0", 7) && !is_member("", 7));
    }

    fn is_alive(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    }

    #[test]
    fn both_outputs_come_in_order_with_the_exit_code() {
        let child = start("echo out; echo err >&2; echo more; exit 3");
        let exit = child.wait(WATCHDOG).unwrap();
        assert_eq!((exit.code, exit.signal, exit.stopped, exit.left_behind), (Some(3), None, None, false));
        assert_eq!(text(&child), "out\nerr\nmore\n");
    }

    #[test]
    fn error_output_can_be_kept_apart() {
        let child = Child::spawn(Spec { stderr: Stderr::Apart, ..spec("echo out; echo err >&2") }).unwrap();
        child.wait(WATCHDOG).unwrap();
        assert_eq!((text(&child).as_str(), child.output(Stream::Err, 0).head), ("out\n", b"err\n".to_vec()));
    }

    #[test]
    fn the_environment_is_exactly_the_given_one_and_there_is_no_input() {
        let mut spec = spec("/usr/bin/env; cat");
        spec.env = vec![("A".into(), "b".into())];
        let child = Child::spawn(spec).unwrap();
        child.wait(WATCHDOG).unwrap();
        let seen = text(&child);
        let names: Vec<&str> = seen.lines().filter_map(|line| line.split('=').next()).collect();
        assert!(names.iter().all(|name| ["A", "PWD", "SHLVL", "_", "OLDPWD"].contains(name)), "{seen}");
    }

    #[test]
    fn a_group_that_ignores_term_is_killed_with_its_grandchildren() {
        let child = start(
            "trap '' TERM; (trap '' TERM; echo $$ grand; while :; do sleep 1; done) & echo ready; while :; do sleep 1; done",
        );
        wait_for(&child, "grand");
        wait_for(&child, "ready");
        child.stop(StopReason::Asked);
        let exit = child.wait(WATCHDOG).unwrap();
        assert_eq!((exit.signal, exit.stopped), (Some(9), Some(StopReason::Asked)));
        assert!(!has_members(child.pid()));
    }

    #[test]
    fn term_is_enough_for_those_who_listen() {
        let child = Child::spawn(Spec {
            grace: WATCHDOG,
            ..spec("trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.01; done")
        })
        .unwrap();
        wait_for(&child, "up");
        child.stop(StopReason::Asked);
        assert_eq!(child.wait(WATCHDOG).unwrap().code, Some(7));
        assert!(text(&child).ends_with("bye\n"));
    }

    #[test]
    fn what_a_program_leaves_behind_ends_with_it() {
        let child = start(
            "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & read x < /dev/null; while ! [ -e /nonexistent ]; do sleep 0.05; break; done",
        );
        let exit = child.wait(WATCHDOG).unwrap();
        assert!(exit.left_behind && exit.code.is_some());
        assert!(!is_alive(&text(&child)));
    }

    #[test]
    fn the_time_limit_ends_it() {
        let child = Child::spawn(Spec { timeout: Some(Duration::from_millis(30)), ..spec("sleep 60") }).unwrap();
        let exit = child.wait(WATCHDOG).unwrap();
        assert_eq!((exit.signal, exit.stopped), (Some(15), Some(StopReason::Timeout)));
        assert!(child.age() < WATCHDOG);
    }

    #[test]
    fn endless_output_stays_bounded() {
        let child = start("yes 0123456789");
        assert!(child.wait_news(1_000_000, WATCHDOG, || false));
        child.stop(StopReason::Asked);
        child.wait(WATCHDOG).unwrap();
        let piece = child.output(Stream::Out, 0);
        assert!(piece.left_out > 900_000 && piece.head.len() == 1000 && piece.tail.len() == 1000);
    }

    #[test]
    fn input_arrives_and_ends() {
        let child = Child::spawn(Spec { input: Input::Open, ..spec("cat; echo end") }).unwrap();
        child.write(b"one\n").unwrap();
        wait_for(&child, "one");
        child.write(b"two\n").unwrap();
        child.close_input();
        assert_eq!(child.wait(WATCHDOG).unwrap().code, Some(0));
        assert_eq!(text(&child), "one\ntwo\nend\n");
        assert_eq!(child.write(b"x"), Err(InputFault::Closed));
        let child = Child::spawn(Spec { input: Input::Bytes(b"given".to_vec()), ..spec("cat") }).unwrap();
        child.wait(WATCHDOG).unwrap();
        assert_eq!(text(&child), "given");
    }

    #[test]
    fn a_program_that_does_not_read_never_blocks_the_writer() {
        let child = Child::spawn(Spec { input: Input::Open, ..spec("sleep 60") }).unwrap();
        let chunk = vec![0; 1 << 20];
        let full = (0..limits::CHILD_INPUT_QUEUE + 2).find_map(|_| child.write(&chunk).err());
        assert_eq!(full, Some(InputFault::Full));
        child.stop(StopReason::Asked);
        child.wait(WATCHDOG).unwrap();
    }

    #[test]
    fn a_program_that_does_not_exist_is_an_error() {
        let fault = Child::spawn(Spec { program: "/no/such".into(), ..spec("") }).map(|_| ()).unwrap_err();
        assert_eq!(fault.kind(), io::ErrorKind::NotFound);
        assert!(Child::spawn(Spec { dir: "/no/such".into(), ..spec("") }).is_err());
    }

    #[test]
    fn the_end_is_told_once_also_to_those_who_come_late() {
        let (send, receive) = std::sync::mpsc::channel();
        let child = start("exit 5");
        let early = send.clone();
        child.at_exit(move |exit| early.send(exit.code).unwrap());
        child.wait(WATCHDOG).unwrap();
        child.at_exit(move |exit| send.send(exit.code).unwrap());
        assert_eq!(receive.recv_timeout(WATCHDOG), Ok(Some(5)));
        assert_eq!(receive.recv_timeout(WATCHDOG), Ok(Some(5)));
        assert!(receive.recv_timeout(WATCHDOG).is_err());
    }
}
