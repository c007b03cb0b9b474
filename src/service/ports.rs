//! Who listens on a port: from `/proc` alone, no helper program (`spec/cli.md` 4.3).
//! Elsewhere than on Linux it only tells whether something answers.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::limits;
use crate::sys::order;
use crate::sys::redact::is_secret_name;

/// A listening socket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listener {
    /// Process, when it may be seen.
    pub pid: Option<u32>,
    /// Its parent.
    pub ppid: Option<u32>,
    /// Program name.
    pub command: Option<String>,
    /// Whole command line.
    pub command_line: Option<String>,
    /// Owner of the process.
    pub user: Option<String>,
    /// `127.0.0.1:18789`, `[::1]:18789`
    pub address: String,
}

/// What is known about a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The port.
    pub port: u16,
    /// `free`, `busy` or `unknown`
    pub status: &'static str,
    /// Who listens.
    pub listeners: Vec<Listener>,
    /// What to do about it.
    pub hints: Vec<String>,
}

/// Looks at a port. `stop` is the command that stops our own gateway.
pub fn inspect(port: u16, stop: &str) -> Port {
    let mut sockets: Vec<(String, u64)> = Vec::new();
    let mut readable = false;
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        if let Ok(text) = fs::read_to_string(table) {
            readable = true;
            sockets.extend(listening(&text, port));
        }
    }
    if !readable {
        return answering(port);
    }
    let mut listeners: Vec<Listener> = sockets.iter().map(|(address, inode)| owned(address, *inode)).collect();
    order::by(&mut listeners, |a, b| a.address.cmp(&b.address));
    let status = if listeners.is_empty() { "free" } else { "busy" };
    let hints = hints(&listeners, stop);
    Port { port, status, listeners, hints }
}

fn answering(port: u16) -> Port {
    let peer = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let status = match TcpStream::connect_timeout(&peer, Duration::from_millis(300)) {
        Ok(_) => "busy",
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => "free",
        Err(_) => "unknown",
    };
    Port { port, status, listeners: Vec::new(), hints: Vec::new() }
}

/// Addresses and inodes of the listening sockets of one port in a `/proc/net/tcp` table.
fn listening(table: &str, port: u16) -> Vec<(String, u64)> {
    let rows = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let (ip, at) = local.split_once(':')?;
        let same = *state == "0A" && u16::from_str_radix(at, 16) == Ok(port);
        same.then(|| Some((SocketAddr::new(address(ip)?, port).to_string(), inode.parse().ok()?)))?
    });
    rows.take(limits::UNIT_FILES).collect()
}

/// The kernel prints addresses as 32-bit words in host order.
fn address(hex: &str) -> Option<IpAddr> {
    let words: Option<Vec<u32>> = hex
        .as_bytes()
        .chunks(8)
        .map(|word| {
            u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok().map(|n| u32::from_ne_bytes(n.to_le_bytes()))
        })
        .collect();
    let bytes: Vec<u8> = words?.iter().flat_map(|word| word.to_le_bytes()).collect();
    if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(Ipv4Addr::from(four).into());
    }
    <[u8; 16]>::try_from(bytes.as_slice()).ok().map(|sixteen| Ipv6Addr::from(sixteen).into())
}

/// The listener with its process, if a readable one holds the socket.
fn owned(address: &str, inode: u64) -> Listener {
    let mut listener = Listener { address: address.to_string(), ..Listener::default() };
    let Some(pid) = holder(inode) else { return listener };
    let dir = Path::new("/proc").join(pid.to_string());
    let words = fs::read(dir.join("cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&words);
    let line = without_secrets(words.split('\0')).join(" ").trim().chars().take(400).collect::<String>();
    listener.pid = Some(pid);
    listener.ppid = fs::read_to_string(dir.join("stat")).ok().and_then(|stat| parent(&stat));
    listener.command = fs::read_to_string(dir.join("comm")).ok().map(|name| name.trim().to_string());
    listener.command_line = (!line.is_empty()).then_some(line);
    listener.user = fs::metadata(&dir).ok().map(|facts| user_name(facts.uid()));
    listener
}

/// The words of a command line, the values of flags that are called like secrets replaced. Takes words and no line: a
/// secret may have blanks in it.
pub fn without_secrets<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut hide = false;
    let shown = words.map(|word| {
        let (flag, value) = word.split_once('=').unwrap_or((word, ""));
        let secret = flag.starts_with("--") && is_secret_name(flag);
        let shown = match (hide, secret && !value.is_empty()) {
            (true, _) => "***".to_string(),
            (false, true) => format!("{flag}=***"),
            (false, false) => word.to_string(),
        };
        hide = secret && value.is_empty();
        shown
    });
    shown.collect()
}

fn holder(inode: u64) -> Option<u32> {
    let wanted = format!("socket:[{inode}]");
    let pids = fs::read_dir("/proc").ok()?.filter_map(Result::ok).take(limits::PROC_ENTRIES);
    pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find(|pid| {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        let mut links = files.filter_map(Result::ok).take(limits::PROC_ENTRIES);
        links.any(|file| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str()))
    })
}

/// The fourth field of `stat`; the second is in parentheses and may hold anything.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn user_name(uid: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid.to_string()).then(|| name.to_string())
    });
    found.unwrap_or_else(|| uid.to_string())
}

/// What kind of program listens, and what to do.
fn hints(listeners: &[Listener], stop: &str) -> Vec<String> {
    if listeners.is_empty() {
        return Vec::new();
    }
    let mut hints = Vec::new();
    let known = |listener: &&Listener| listener.pid.is_some();
    let has = |word: &str| {
        let line =
            |l: &Listener| l.command_line.clone().or_else(|| l.command.clone()).unwrap_or_default().to_lowercase();
        listeners.iter().any(|listener| line(listener).contains(word))
    };
    let ssh = listeners.iter().any(|l| matches!(l.command.as_deref(), Some("ssh" | "sshd" | "autossh")));
    if !listeners.iter().any(|listener| known(&listener)) {
        hints.push(
            "Port is in use but process details are unavailable (run as the owner or an admin user).".to_string(),
        );
    } else if has("openclaw") {
        hints.push(format!("Gateway already running locally. Stop it ({stop}) or use a different port."));
    } else if ssh {
        hints.push(
            "SSH tunnel already bound to this port. Close the tunnel or use a different local port in -L.".to_string(),
        );
    } else {
        hints.push("Another process is listening on this port.".to_string());
    }
    let mut pids: Vec<u32> = listeners.iter().filter_map(|listener| listener.pid).collect();
    order::by(&mut pids, Ord::cmp);
    pids.dedup();
    if pids.len() > 1 {
        hints.push(
            "Multiple listeners detected; ensure only one gateway/tunnel per port unless intentionally running isolated profiles."
                .to_string(),
        );
    }
    hints
}

/// The diagnostics block of a busy port.
pub fn lines(port: &Port) -> Vec<String> {
    let mut lines = vec![format!("Port {} is already in use.", port.port)];
    for listener in &port.listeners {
        let pid = listener.pid.map(|pid| pid.to_string()).unwrap_or_else(|| "unknown".to_string());
        let user = listener.user.as_deref().map(|user| format!(" {user}")).unwrap_or_default();
        let line = listener.command_line.as_deref().or(listener.command.as_deref()).unwrap_or("unknown");
        lines.push(format!("- pid {pid}{user}: {line} ({})", listener.address));
    }
    lines.extend(port.hints.iter().map(|hint| format!("- {hint}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn reads_the_kernels_tables() {
        let four = "  sl  local_address\n   0: 0100007F:4965 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1\n   1: 0100007F:4965 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 778 1\n";
        assert_eq!(listening(four, 18789), [("127.0.0.1:18789".to_string(), 777)]);
        assert_eq!(address("00000000000000000000000001000000"), Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        assert_eq!(address("xyz"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn finds_its_own_listener() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let seen = inspect(port, "stop");
        assert_eq!(seen.status, "busy");
        assert_eq!(seen.listeners[0].pid, Some(std::process::id()));
        assert_eq!(seen.listeners[0].address, format!("127.0.0.1:{port}"));
        drop(socket);
        assert_eq!(inspect(port, "stop").status, "free");
    }

    #[test]
    fn command_lines_lose_their_secrets() {
        let line = ["x", "gateway", "--token", "abc", "--password=p q", "y", "--api-key", "two words", "--port", "1"];
        let shown = ["x", "gateway", "--token", "***", "--password=***", "y", "--api-key", "***", "--port", "1"];
        assert_eq!(without_secrets(line.into_iter()), shown);
    }

    #[test]
    fn the_parent_is_found_behind_a_strange_name() {
        assert_eq!(parent("12 (a) b) S 7 12 12"), Some(7));
    }
}
