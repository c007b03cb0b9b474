//! Facts about the machine, named as the original clients know them. Reads small system files; knows nothing of
//! what they are shown for.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};

use super::order;
use crate::limits;

/// The machine's name; `localhost` when it has none.
pub fn hostname() -> String {
    let name = first_line("/proc/sys/kernel/hostname").or_else(|| first_line("/etc/hostname")).or_else(|| uname("-n"));
    name.unwrap_or_else(|| "localhost".to_owned())
}

/// The kernel's release, such as `6.8.0-45-generic`; empty when unknown.
pub fn kernel_release() -> String {
    first_line("/proc/sys/kernel/osrelease").or_else(|| uname("-r")).unwrap_or_default()
}

/// The processor architecture in Node's naming.
pub fn arch() -> &'static str {
    node_arch(std::env::consts::ARCH)
}

/// The operating system in Node's naming.
pub fn platform() -> &'static str {
    node_platform(std::env::consts::OS)
}

/// Whether the address is one of this machine's own: only at those can a socket be bound, and none is sent anything.
/// In doubt it is.
pub fn is_own(mut address: SocketAddr) -> bool {
    address.set_ip(address.ip().to_canonical());
    address.set_port(0);
    UdpSocket::bind(address).map_or_else(|error| error.kind() != ErrorKind::AddrNotAvailable, |_| true)
}

/// The address other machines most likely reach this one at: the one the kernel would send from to the outside.
/// Connecting a datagram socket sends nothing; the target is a documentation address (RFC 5737).
pub fn primary_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) if outward(address) => Some(address),
        _ => None,
    }
}

/// All IPv4 addresses of this machine but loopback and link-local ones, the primary one first.
pub fn lan_addresses() -> Vec<Ipv4Addr> {
    let table = read("/proc/net/fib_trie").unwrap_or_default();
    let primary = primary_address();
    let others = local_addresses(&table).into_iter().filter(|address| outward(*address) && Some(*address) != primary);
    primary.into_iter().chain(others).collect()
}

/// How many files this process may have open; `None` where that is unlimited or cannot be learnt.
pub fn open_files_limit() -> Option<usize> {
    soft_limit(&read("/proc/self/limits")?)
}

/// The first number of the line `Max open files  <soft>  <hard>  files`.
fn soft_limit(table: &str) -> Option<usize> {
    let line = table.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Columns of the terminal this process runs at. A program that every system has is asked: the call it makes takes
/// unsafe code.
pub fn terminal_columns() -> Option<usize> {
    let terminal = File::open("/dev/tty").ok()?;
    let output = Command::new("stty").arg("size").stdin(terminal).stderr(Stdio::null()).output().ok()?;
    columns(&String::from_utf8(output.stdout).ok()?)
}

/// The second number of `<rows> <columns>`.
fn columns(size: &str) -> Option<usize> {
    size.split_whitespace().nth(1)?.parse().ok().filter(|columns| *columns > 0)
}

/// The number of the account this process runs as.
#[cfg(unix)]
pub fn user_id() -> Option<u32> {
    Some(nix::unistd::getuid().as_raw())
}

/// Accounts have no numbers here.
#[cfg(not(unix))]
pub fn user_id() -> Option<u32> {
    None
}

fn outward(address: Ipv4Addr) -> bool {
    !(address.is_loopback() || address.is_link_local() || address.is_unspecified() || address.is_broadcast())
}

fn node_arch(rust: &'static str) -> &'static str {
    match rust {
        "x86_64" => "x64",
        "x86" => "ia32",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64",
        "loongarch64" => "loong64",
        other => other,
    }
}

fn node_platform(rust: &'static str) -> &'static str {
    match rust {
        "macos" => "darwin",
        "windows" => "win32",
        "solaris" | "illumos" => "sunos",
        other => other,
    }
}

/// The addresses marked as this host's own in the text of the kernel's routing trie: a line `|-- 10.0.0.5` followed
/// by `/32 host LOCAL`.
fn local_addresses(table: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut last: Option<Ipv4Addr> = None;
    for line in table.lines() {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("|-- ") {
            last = text.trim().parse().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(last);
        }
    }
    order::by_key(&mut found, |address| *address);
    found.dedup();
    found
}

fn first_line(path: &str) -> Option<String> {
    let text = read(path)?;
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(limits::SYSTEM_FILE_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Systems without `/proc` tell through a program that all of them have.
fn uname(option: &str) -> Option<String> {
    let output = Command::new("uname").arg(option).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_our_own_or_it_is_not() {
        let is_own = |text: &str| super::is_own(text.parse().unwrap());
        assert!(is_own("127.0.0.1:80") && is_own("[::ffff:127.0.0.1]:80"));
        assert!(!is_own("203.0.113.77:80") && !is_own("[::ffff:192.0.2.1]:80"));
        assert!(primary_address().is_none_or(|address| super::is_own((address, 1).into())));
    }

    #[test]
    fn reads_the_soft_limit_of_open_files() {
        let table = "Limit  Soft  Hard  Units\nMax processes  9  9  processes\nMax open files            1024    4096    files\n";
        assert_eq!(soft_limit(table), Some(1024));
        assert_eq!(soft_limit("Max open files            unlimited            unlimited            files\n"), None);
        assert_eq!(soft_limit(""), None);
    }

    #[test]
    fn reads_the_size_of_a_terminal() {
        assert_eq!(columns("24 132\n"), Some(132));
        assert!(columns("0 0\n").is_none() && columns("").is_none());
    }

    #[test]
    fn names_follow_node() {
        assert_eq!(node_arch("x86_64"), "x64");
        assert_eq!(node_arch("aarch64"), "arm64");
        assert_eq!(node_arch("riscv64"), "riscv64");
        assert_eq!(node_platform("macos"), "darwin");
        assert_eq!(node_platform("linux"), "linux");
    }

    #[test]
    fn finds_own_addresses_in_the_routing_trie() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 10.1.2.0/24 2 0 2\n        \
            |-- 10.1.2.0\n           /24 link UNICAST\n        |-- 10.1.2.15\n           /32 host LOCAL\n        \
            |-- 10.1.2.255\n           /32 link BROADCAST\nLocal:\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
        let found: Vec<_> = local_addresses(table).into_iter().filter(|address| outward(*address)).collect();
        assert_eq!(found, [Ipv4Addr::new(10, 1, 2, 15)]);
        assert!(local_addresses("|-- nonsense\n/32 host LOCAL\n").is_empty());
    }

    #[test]
    fn facts_of_this_machine_are_one_line_each() {
        for fact in [hostname(), kernel_release()] {
            assert!(!fact.is_empty() && !fact.contains('\n'), "{fact:?}");
        }
        assert!(lan_addresses().iter().all(|address| outward(*address)));
    }
}
