//! From a [`super::Boot`] to a first state: the lock on the state directory, the stores, the facts.
//! Runs once, before any other thread needs the state.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use super::StartError;
use super::state::{Counters, Facts, Heartbeats, State};
use crate::config::env::Env;
use crate::config::load::Snapshot;
use crate::config::paths::Paths;
use crate::config::resolve::Plan;
use crate::limits;
use crate::store::atomic;
use crate::sys::clock::Now;
use crate::sys::host;
use crate::sys::id::Entropy;
use crate::sys::notify::Notifier;

/// Holds the state directory for this process; the kernel gives it back even after `kill -9`.
pub struct Lock(#[allow(dead_code)] Option<File>);

/// Takes the lock, waiting a moment for a gateway that is just leaving (lifecycle.md 10).
pub fn lock(paths: &Paths, env: &Env) -> Result<Lock, StartError> {
    if env.truthy("OPENCLAW_ALLOW_MULTI_GATEWAY") {
        return Ok(Lock(None));
    }
    let fail = |error| StartError::System("cannot create the lock file", error);
    atomic::create_dir(&paths.state_dir).map_err(fail)?;
    let mut file = open_lock(&paths.lock_file).map_err(fail)?;
    let end = Instant::now() + limits::LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(limits::LOCK_POLL),
            Err(TryLockError::WouldBlock) => return Err(StartError::Locked(paths.lock_file.clone(), owner(&mut file))),
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
    }
    // The number is for people and error texts only; the lock itself is the kernel's.
    let _ = file.set_len(0);
    let _ = write!(file, "{}", std::process::id());
    Ok(Lock(Some(file)))
}

fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn owner(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.rewind();
    let _ = file.take(16).read_to_string(&mut text);
    match text.trim().parse::<u32>() {
        Ok(pid) => format!(" (pid {pid})"),
        Err(_) => String::new(),
    }
}
