//! Running a backend's program: a process group of its own, output handed on while it comes, ended with everything it
//! started when the run is stopped. Owns the pipes; knows nothing of what the output means.

use std::io::{ErrorKind as IoKind, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crossbeam_channel::select;

use super::super::ErrorKind;
use super::super::fault::clean;
use crate::agent::control::{Control, Pause};
use crate::limits;
use crate::sys::cancel::Registration;
use crate::sys::child::has_members;
use crate::sys::queue::{Receiver, Sender, bounded};
use crate::sys::turn::{Taken, Turns};
use crate::sys::{group, thread};

/// Pieces of output waiting for the run; a full queue blocks the program.
const QUEUE: usize = 16;
/// Distance of the looks at a program that closed its output but has not ended.
const EXIT_POLL: Duration = Duration::from_millis(10);

/// What is run.
pub(super) struct Job<'a> {
    pub(super) command: &'a str,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) directory: Option<&'a Path>,
    /// Standard input; nothing when none.
    pub(super) input: Option<String>,
}

/// How the program ended.
pub(super) struct Ended {
    pub(super) success: bool,
    stderr: Vec<u8>,
}

impl Ended {
    /// What it complained about: its error output, else its output.
    pub(super) fn complaint(&self, stdout: &str) -> String {
        let stderr = String::from_utf8_lossy(&self.stderr);
        let texts = [stderr.trim(), stdout.trim(), "CLI failed."];
        clean(texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default(), None)
    }
}

/// Why it could not be run to its end.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: ErrorKind,
    pub(super) text: String,
}

enum Piece {
    Out(Vec<u8>),
    Err(Vec<u8>),
    /// The program has ended; what it left behind may still hold its output open.
    Ended,
}

/// Runs a program; `on` gets its output.
pub(super) fn run(
    job: &Job<'_>,
    control: &Control,
    on: &mut dyn FnMut(&[u8]) -> Result<(), String>,
) -> Result<Ended, Failure> {
    if let Some(reason) = control.stopped() {
        return Err(Failure { kind: ErrorKind::Aborted, text: format!("stopped ({})", reason.name()) });
    }
    let mut child = start(job)?;
    let watched = watch(&mut child, job).and_then(|pieces| collect(&pieces, control, on));
    let collected = watched.and_then(|(stderr, ended)| {
        if ended {
            end_leftovers(child.id());
        }
        Ok((wait(&mut child, control)?, stderr))
    });
    match collected {
        Ok((success, stderr)) => Ok(Ended { success, stderr }),
        Err(failure) => {
            end(&mut child);
            Err(failure)
        }
    }
}

/// Whose turn it is, by backend: some programs keep one state for all their processes.
static TURNS: Turns = Turns::new();

/// Waits until no other process of that backend runs here.
pub(super) fn turn(backend: &str, control: &Control) -> Result<Taken, Failure> {
    let turn = TURNS.of(backend);
    let (stopped, _registration) = stop_signal(control);
    loop {
        select! {
            recv(turn.free()) -> _ => return Ok(turn.taken()),
            recv(stopped) -> _ => return Err(stopped_by(control)),
            default(control.at_most(Duration::from_secs(3600))) => {
                if control.stopped().is_some() {
                    return Err(stopped_by(control));
                }
            }
        }
    }
}

/// Brings a message when the run is stopped.
fn stop_signal(control: &Control) -> (crossbeam_channel::Receiver<()>, Registration) {
    let (stop, stopped) = crossbeam_channel::bounded(1);
    let registration = control.on_cancel(move || {
        // full means it was said before
        let _ = stop.try_send(());
    });
    (stopped, registration)
}

fn start(job: &Job<'_>) -> Result<Child, Failure> {
    let mut command = Command::new(job.command);
    command.args(&job.args).env_clear().envs(job.env.iter().map(|(name, value)| (name, value)));
    if let Some(directory) = job.directory {
        command.current_dir(directory);
    }
    command.stdin(if job.input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    group::lead(&mut command).spawn().map_err(|fault| {
        let (kind, hint) = match fault.kind() {
            IoKind::NotFound => (ErrorKind::NotConfigured, ": is it installed and in PATH?"),
            IoKind::ArgumentListTooLong => (ErrorKind::Format, ": give less in args, or prompts through stdin"),
            _ => (ErrorKind::NotConfigured, ""),
        };
        Failure { kind, text: format!("cannot run the command \"{}\": {fault}{hint}", job.command) }
    })
}

/// A thread for each pipe, and one that notices the end.
fn watch(child: &mut Child, job: &Job<'_>) -> Result<Receiver<Piece>, Failure> {
    let (send, receive) = bounded(QUEUE);
    let threads = || -> std::io::Result<()> {
        let (leader, ended) = (child.id(), send.clone());
        let watch = move || {
            // a run that does not listen any more has ended it itself
            let _ = group::await_exit(leader).then(|| ended.send(Piece::Ended));
        };
        thread::spawn("backend:wait", limits::STACK_WRITER, watch)?;
        if let Some(stdout) = child.stdout.take() {
            pump("backend:out", stdout, send.clone(), Piece::Out)?;
        }
        if let Some(stderr) = child.stderr.take() {
            pump("backend:err", stderr, send, Piece::Err)?;
        }
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), job.input.clone()) {
            // a program that does not read its input is its own affair
            thread::spawn("backend:in", limits::STACK_WRITER, move || drop(stdin.write_all(input.as_bytes())))?;
        }
        Ok(())
    };
    threads().map_err(|fault| Failure { kind: ErrorKind::Server, text: format!("cannot start a thread: {fault}") })?;
    Ok(receive)
}

fn pump(
    name: &str,
    mut pipe: impl Read + Send + 'static,
    send: Sender<Piece>,
    wrap: fn(Vec<u8>) -> Piece,
) -> std::io::Result<()> {
    let pump = move || {
        let mut buf = [0; 8192];
        while let Ok(count) = pipe.read(&mut buf) {
            let piece = buf.get(..count).unwrap_or_default().to_vec();
            if count == 0 || send.send(wrap(piece)).is_err() {
                return;
            }
        }
    };
    thread::spawn(name, limits::STACK_WRITER, pump).map(|_| ())
}

/// Takes output until both pipes are closed, or until shortly after the program's end; gives back the error output and
/// whether the end was seen.
fn collect(
    pieces: &Receiver<Piece>,
    control: &Control,
    on: &mut dyn FnMut(&[u8]) -> Result<(), String>,
) -> Result<(Vec<u8>, bool), Failure> {
    let (stopped, _registration) = stop_signal(control);
    let mut stderr = Vec::new();
    // once the program has ended, what it wrote is in the pipes: silence means that all of it was read
    let mut ended: Option<Instant> = None;
    loop {
        let patience = if ended.is_some() { limits::CHILD_DRAIN } else { Duration::from_secs(3600) };
        let piece = select! {
            recv(pieces.parcels()) -> parcel => parcel.ok().map(|parcel| pieces.open(parcel)),
            recv(stopped) -> _ => return Err(stopped_by(control)),
            default(control.at_most(patience)) => match control.stopped() {
                Some(_) => return Err(stopped_by(control)),
                None if ended.is_some() => None,
                None => continue,
            },
        };
        match piece {
            None => return Ok((stderr, ended.is_some())),
            Some(Piece::Ended) => ended = Some(Instant::now()),
            // the pipes hold less than this takes: it is somebody else who writes
            Some(_) if ended.is_some_and(|at| at.elapsed() > limits::BACKEND_GRACE) => return Ok((stderr, true)),
            Some(Piece::Out(bytes)) => on(&bytes).map_err(|text| Failure { kind: ErrorKind::Protocol, text })?,
            Some(Piece::Err(bytes)) => {
                let room = limits::BACKEND_ERROR_BYTES.saturating_sub(stderr.len());
                stderr.extend(bytes.into_iter().take(room));
            }
        }
    }
}

fn stopped_by(control: &Control) -> Failure {
    let reason = control.stopped().map_or("rpc", |reason| reason.name());
    Failure { kind: ErrorKind::Aborted, text: format!("stopped ({reason})") }
}

/// The end of a program whose output is closed: at once, as a rule.
fn wait(child: &mut Child, control: &Control) -> Result<bool, Failure> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Ok(None) => {}
            Err(fault) => return Err(Failure { kind: ErrorKind::Server, text: fault.to_string() }),
        }
        if let Pause::Stopped(_) = control.pause(EXIT_POLL) {
            return Err(stopped_by(control));
        }
    }
}

/// Ends what a program left behind in its group; its number is still ours until it is collected.
fn end_leftovers(leader: u32) {
    group::terminate(leader);
    let grace = Control::within(limits::BACKEND_GRACE);
    while has_members(leader) && grace.pause(EXIT_POLL * 5) == Pause::Over {}
    group::kill(leader);
}

/// Asks the whole group to end, then makes it: also one that ignores being asked.
fn end(child: &mut Child) {
    let leader = child.id();
    group::terminate(leader);
    let grace = Control::within(limits::BACKEND_GRACE);
    while let Ok(None) = child.try_wait() {
        if let Pause::Stopped(_) = grace.pause(EXIT_POLL) {
            break;
        }
    }
    group::kill(leader);
    let _ = child.wait();
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn of_endless_complaints_the_beginning_is_kept() {
        let args = vec!["-c".to_string(), "yes complaint | head -c 1000000 >&2; exit 3".to_string()];
        let env = vec![("PATH".to_string(), "/usr/bin:/bin".to_string())];
        let job = Job { command: "sh", args, env, directory: None, input: None };
        let ended = run(&job, &Control::within(Duration::from_secs(20)), &mut |_| Ok(())).unwrap();
        assert_eq!((ended.success, ended.stderr.len()), (false, limits::BACKEND_ERROR_BYTES));
        assert!(ended.complaint("").starts_with("complaint"));
    }
}
