//! Termination and restart signals turned into calls. Knows nothing of what is stopped; the only file that names
//! ctrlc.
//!
//! INT, TERM and HUP are handled (handlers do not survive exec, so children start clean); USR1 and USR2 are blocked
//! and waited for, because blocking TERM would be inherited by every child process (exemplars 2c).

use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, io};

use nix::sys::signal::{SigSet, Signal as Os};

use crate::limits;
use crate::sys::thread;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// INT, TERM or HUP; a second one means "at once".
    Terminate,
    /// USR1, or its synonym USR2 (lifecycle.md 12); several in a row may arrive as one.
    Restart,
}

/// Why signals could not be set up.
#[derive(Debug)]
pub enum SignalError {
    /// The mask could not be changed.
    Mask(nix::errno::Errno),
    /// The handler could not be installed, for example a second time.
    Handler(ctrlc::Error),
    /// The waiting thread could not be started.
    Thread(io::Error),
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignalError::Mask(fault) => write!(f, "cannot block restart signals: {fault}"),
            SignalError::Handler(fault) => write!(f, "cannot handle termination signals: {fault}"),
            SignalError::Thread(fault) => write!(f, "cannot start the signal thread: {fault}"),
        }
    }
}

impl std::error::Error for SignalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SignalError::Mask(fault) => Some(fault),
            SignalError::Handler(fault) => Some(fault),
            SignalError::Thread(fault) => Some(fault),
        }
    }
}

/// Blocks USR1 and USR2 in this thread and all it starts; must run before any other thread exists, because an
/// unblocked and unhandled USR1 ends the process. Under `nohup` HUP is blocked too, so that it stays without effect.
pub fn block_restart_signal() -> Result<(), SignalError> {
    let mut set = restart_set();
    if std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status)) {
        set.add(Os::SIGHUP);
    }
    set.thread_block().map_err(SignalError::Mask)
}

/// Delivers signals to `sender` until the process ends; once per process. Each termination signal is its own call,
/// made from a thread of its own, so `sender` must not block.
pub fn install(sender: impl Fn(Signal) + Send + 'static) -> Result<(), SignalError> {
    let sender = Arc::new(Mutex::new(sender));
    let terminate = Arc::clone(&sender);
    let handler = move || deliver(&terminate, Signal::Terminate);
    ctrlc::set_handler(handler).map_err(SignalError::Handler)?;
    let wait = move || {
        while let Some(signal) = wait_restart() {
            deliver(&sender, signal);
        }
    };
    thread::spawn("usr1", limits::STACK_WRITER, wait).map(drop).map_err(SignalError::Thread)
}

fn deliver(sender: &Mutex<impl Fn(Signal)>, signal: Signal) {
    let sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
    sender(signal);
}

fn restart_set() -> SigSet {
    let mut set = SigSet::empty();
    set.add(Os::SIGUSR1);
    set.add(Os::SIGUSR2);
    set
}

/// The next restart signal; `None` when waiting is impossible (the set is valid, so this does not happen).
fn wait_restart() -> Option<Signal> {
    loop {
        match restart_set().wait() {
            Ok(_) => return Some(Signal::Restart),
            Err(nix::errno::Errno::EINTR) => continue,
            Err(fault) => {
                log::error!(target: "gateway", "cannot wait for restart signals: {fault}");
                return None;
            }
        }
    }
}

/// Whether `/proc/self/status` shows HUP as ignored, which is how `nohup` starts a program.
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{kill, raise};
    use nix::unistd::Pid;
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn usr1_and_usr2_are_waited_for() {
        block_restart_signal().unwrap();
        for signal in [Os::SIGUSR1, Os::SIGUSR2] {
            raise(signal).unwrap();
            assert_eq!(wait_restart(), Some(Signal::Restart));
        }
    }

    #[test]
    fn sees_that_nohup_was_used() {
        assert!(ignores_hangup("Name:\tx\nSigIgn:\t0000000000000001\n"));
        assert!(!ignores_hangup("Name:\tx\nSigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangup(""));
    }

    /// Runs only inside the process that the next test starts: handlers belong to a whole process.
    #[test]
    #[ignore = "started by every_termination_signal_is_its_own_call"]
    fn child_that_counts_signals() {
        let (send, receive) = mpsc::channel();
        block_restart_signal().unwrap();
        install(move |signal| send.send(signal).unwrap()).unwrap();
        let mask = Command::new("grep").args(["SigBlk", "/proc/self/status"]).output().unwrap();
        print!("ready\n{}", String::from_utf8_lossy(&mask.stdout));
        std::io::stdout().flush().unwrap();
        for _ in 0..3 {
            println!("got {:?}", receive.recv_timeout(Duration::from_secs(20)).unwrap());
        }
    }

    #[test]
    fn every_termination_signal_is_its_own_call() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sys::signals::tests::child_that_counts_signals", "--ignored", "--nocapture"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.by_ref().any(|line| line.ends_with("ready")));
        let mask = lines.next().unwrap();
        let mask = u64::from_str_radix(mask.split_whitespace().last().unwrap(), 16).unwrap();
        assert_eq!(mask & (1 << 14 | 1 << 1 | 1), 0, "children must not inherit blocked TERM, INT or HUP");
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        for signal in [Os::SIGTERM, Os::SIGTERM, Os::SIGHUP] {
            kill(pid, signal).unwrap();
            assert_eq!(lines.next().as_deref(), Some("got Terminate"));
        }
        assert!(child.wait().unwrap().success());
    }
}
