//! From a [`super::Boot`] to a first state: the lock on the state directory, the stores, the facts.
//! Runs once, before any other thread needs the state.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::StartError;
use super::access::Access;
use super::cron::files::book_path;
use super::pairing_devices::DeviceBook;
use super::pairing_nodes::NodeBook;
use super::state::{Beginning, Facts, State};
use super::system_events::SystemEvents;
use crate::agent::http;
use crate::config::env::Env;
use crate::config::load::Snapshot;
use crate::config::model::{Config, Gateway};
use crate::config::paths::Paths;
use crate::config::resolve::{Plan, WsLog};
use crate::http::locality::Proxies;
use crate::http::proxy_login::ProxyLogin;
use crate::identity::{DeviceFile, SecretKey};
use crate::limits;
use crate::session::settings::Settings;
use crate::store::atomic;
use crate::store::records::{self, Record, Records};
use crate::sys::clock::Now;
use crate::sys::host;
use crate::sys::id::Entropy;
use crate::sys::notify::Notifier;
use crate::sys::zone::Zone;

/// Holds the state directory for this process; the kernel gives it back even after `kill -9`.
pub struct Lock(#[allow(dead_code)] Option<File>);

/// Takes the lock, waiting a moment for a gateway that is just leaving (lifecycle.md 10).
pub fn lock(paths: &Paths, env: &Env) -> Result<Lock, StartError> {
    if env.truthy("OPENCLAW_ALLOW_MULTI_GATEWAY") {
        return Ok(Lock(None));
    }
    let fail = |error| StartError::Unwritable(paths.lock_file.clone(), error);
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

/// The state before the first event.
pub fn state(
    plan: &Plan,
    snapshot: &Snapshot,
    paths: &Paths,
    port: u16,
    now: Now,
    notifier: &Notifier,
) -> Result<State, StartError> {
    let mut entropy = Entropy::from_os().map_err(|error| StartError::System("no random numbers", error))?;
    let facts = facts(plan, paths, snapshot, port, now, notifier, &mut entropy)?;
    clean(paths, &snapshot.config);
    let dir = |dir: &Path, name: &str| dir.join(name);
    let devices = DeviceBook::load(
        book(&dir(&paths.devices_dir, "paired.json"))?,
        book(&dir(&paths.devices_dir, "pending.json"))?,
        now.wall_ms,
    );
    let nodes = NodeBook::load(
        book(&dir(&paths.nodes_dir, "paired.json"))?,
        book(&dir(&paths.nodes_dir, "pending.json"))?,
        now.wall_ms,
    );
    let beginning = Beginning {
        facts,
        config: snapshot.config.clone(),
        config_warnings: snapshot.warnings.len(),
        access: Access::of(plan.auth.clone()),
        allowed_origins: plan.allowed_origins.clone(),
        entropy,
        devices,
        nodes,
    };
    let mut state = State::new(beginning);
    state.system_events = waiting_lines(&paths.system_events());
    Ok(state)
}

/// A file that cannot be read holds nothing a start should fail for; it is put aside and not written over.
fn waiting_lines(path: &Path) -> SystemEvents {
    let read = match atomic::read_bounded(path, limits::STATE_FILE_BYTES) {
        Ok(None) => return SystemEvents::default(),
        Ok(Some(file)) => SystemEvents::read(&file),
        Err(error) => Err(error.to_string()),
    };
    read.unwrap_or_else(|why| {
        let aside = path.with_extension("unreadable.json");
        let kept =
            std::fs::rename(path, &aside).map_or_else(|error| error.to_string(), |()| aside.display().to_string());
        log::warn!(
            target: "gateway", "waiting lines of the last process cannot be read file={} error={why} kept={kept}",
            path.display()
        );
        SystemEvents::default()
    })
}

fn facts(
    plan: &Plan,
    paths: &Paths,
    snapshot: &Snapshot,
    port: u16,
    now: Now,
    notifier: &Notifier,
    entropy: &mut Entropy,
) -> Result<Facts, StartError> {
    let zone = zone(snapshot);
    Ok(Facts {
        version: env!("CARGO_PKG_VERSION"),
        host: host::hostname(),
        ip: host::primary_address().map(|ip| ip.to_string()),
        platform: format!("{} {}", host::platform(), host::kernel_release()),
        arch: host::arch(),
        port,
        paths: paths.clone(),
        zone,
        env: Arc::new(snapshot.env.clone()),
        http: http::Settings::new(&snapshot.env, None),
        identity: Some(identity(&paths.identity_dir.join("gateway.json"), entropy, now.wall_ms)?),
        log_requests: plan.ws_log == WsLog::Full,
        tick: tick(&snapshot.env),
        handshake: plan.handshake,
        watchdog: notifier.watchdog_interval(),
        started: now.mono,
    })
}

/// Each kill in the midst of a write leaves a file behind; the lock is held, so nobody else is writing.
fn clean(paths: &Paths, config: &Config) {
    let shared = [&paths.devices_dir, &paths.nodes_dir, &paths.identity_dir, &paths.state_dir];
    let files: Vec<PathBuf> = config
        .agents
        .resolved()
        .iter()
        .flat_map(|agent| [config.session_store(paths, &agent.id), paths.auth_profiles(&agent.id)])
        .chain([book_path(config, paths)])
        .collect();
    for dir in shared.map(PathBuf::as_path).into_iter().chain(files.iter().filter_map(|file| file.parent())) {
        match atomic::clean(dir) {
            Ok(0) => {}
            Ok(count) => {
                log::info!(target: "store", "removed unfinished writes dir={} count={count}", dir.display());
            }
            Err(error) => log::warn!(target: "store", "cannot look for leftovers dir={} error={error}", dir.display()),
        }
    }
}

/// The zone of message stamps: the configured one, else the machine's.
fn zone(snapshot: &Snapshot) -> Zone {
    let named = Settings::read(&snapshot.config.raw).zone.as_deref().and_then(Zone::named);
    named.unwrap_or_else(|| Zone::local(|name| snapshot.env.get(name).map(Into::into)))
}

/// A store of records; one that cannot be read stops the start, because going on would overwrite it.
fn book<T: Record>(path: &Path) -> Result<Records<T>, StartError> {
    let fail = |cause: String| StartError::State(path.to_path_buf(), cause);
    let bytes = atomic::read_bounded(path, limits::STATE_FILE_BYTES).map_err(|error| fail(error.to_string()))?;
    let text = String::from_utf8(bytes.unwrap_or_default()).map_err(|error| fail(error.to_string()))?;
    let records = records::parse(&text).map_err(|error| fail(error.to_string()))?;
    if !records.skipped.is_empty() {
        keep_copy(path, &text, &records.skipped)?;
    }
    Ok(records)
}

/// Records that this program cannot read would be lost with the next write, so the file is kept aside.
fn keep_copy(path: &Path, text: &str, skipped: &[String]) -> Result<(), StartError> {
    let copy = path.with_extension("unreadable.json");
    log::warn!(
        target: "store", "some records cannot be read and are left out file={} count={} copy={}",
        path.display(), skipped.len(), copy.display()
    );
    atomic::write(&copy, text.as_bytes(), 0o600).map_err(|error| StartError::Unwritable(copy, error))
}

/// The gateway's own key pair, made at the first start; kept apart from the command line's device.
fn identity(path: &Path, entropy: &mut Entropy, now_ms: u64) -> Result<(String, String), StartError> {
    let fail = |cause: String| StartError::State(path.to_path_buf(), cause);
    let bytes = atomic::read_bounded(path, limits::STATE_FILE_BYTES).map_err(|error| fail(error.to_string()))?;
    let file = match bytes {
        Some(bytes) => DeviceFile::parse(&String::from_utf8_lossy(&bytes)).map_err(|error| fail(error.to_string()))?,
        None => {
            let mut seed = [0_u8; 32];
            entropy.fill(&mut seed);
            let key = SecretKey::from_seed(seed).map_err(|error| fail(error.to_string()))?;
            let file = DeviceFile { key, created_at_ms: now_ms };
            let failed = |error| StartError::Unwritable(path.to_path_buf(), error);
            atomic::write(path, file.to_text().as_bytes(), 0o600).map_err(failed)?;
            file
        }
    };
    let public = file.key.public();
    Ok((public.device_id(), public.encode()))
}

/// `OPENCLAW_GATEWAY_TICK_MS` for tests and very slow links; clients learn the interval from `hello-ok`.
fn tick(env: &Env) -> Duration {
    let asked = env.get("OPENCLAW_GATEWAY_TICK_MS").and_then(|text| text.trim().parse::<u64>().ok());
    asked.map_or(limits::TICK, Duration::from_millis).clamp(limits::TICK_MIN, limits::TICK)
}

/// Connections there is room for: each takes one file, and stores, log and listeners need some too. Better to refuse a
/// client with a word than to run out of files in the midst of a write.
pub fn room(wanted: usize, files: Option<usize>) -> usize {
    let room = files.map_or(wanted, |files| files.saturating_sub(limits::FILES_RESERVED).max(1));
    if room < wanted {
        log::warn!(
            target: "gateway",
            "the system allows {} open files, so {room} connections are taken instead of {wanted}; raise `ulimit -n` \
             (LimitNOFILE= in a unit)",
            files.unwrap_or_default()
        );
    }
    room.min(wanted)
}

/// The proxies whose headers count; an entry that is neither address nor range is said aloud.
pub fn proxies(gateway: &Gateway) -> Proxies {
    let (proxies, faulty) = Proxies::parse(gateway.trusted_proxies.iter().map(String::as_str));
    for entry in faulty {
        log::warn!(target: "gateway", "gateway.trustedProxies entry is neither an address nor a range entry={entry}");
    }
    proxies
}

/// How the proxy names the user; without it nobody can log in, which is worth a warning.
pub fn proxy_login(config: &Config) -> Option<ProxyLogin> {
    let login = config.raw.pointer("/gateway/auth/trustedProxy").and_then(ProxyLogin::read);
    if login.is_none() {
        log::warn!(target: "gateway", "gateway.auth.trustedProxy.userHeader is not set: no proxy user can log in");
    }
    login
}

/// The lines that scripts wait for (cli.md 3), and the service manager's.
pub fn announce(addresses: &[SocketAddr], missing: &[(SocketAddr, io::Error)], notifier: &Notifier) {
    for (addr, error) in missing {
        log::warn!(target: "gateway", "failed to bind loopback alias {addr} ({error})");
    }
    for (index, addr) in addresses.iter().enumerate() {
        let pid = if index == 0 { format!(" (PID {})", std::process::id()) } else { String::new() };
        log::info!(target: "gateway", "listening on ws://{addr}{pid}");
    }
    log::info!(target: "gateway", "ready");
    let first = addresses.first().map(ToString::to_string).unwrap_or_default();
    notifier.ready(&format!("listening on ws://{first}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_no_more_connections_than_there_are_files() {
        assert_eq!(room(256, None), 256);
        assert_eq!(room(256, Some(1024)), 256);
        assert_eq!(room(256, Some(64)), 64 - limits::FILES_RESERVED);
        assert_eq!(room(256, Some(8)), 1);
    }

    #[test]
    fn a_key_that_cannot_be_kept_is_no_file_that_cannot_be_read() {
        let path = Path::new("/proc/nowhere/gateway.json");
        let failed = identity(path, &mut Entropy::from_seed([3; 32]), 1).err().map(|error| error.to_string());
        assert!(failed.as_ref().is_some_and(|text| text.starts_with("cannot write /proc/nowhere/")), "{failed:?}");
    }
}
