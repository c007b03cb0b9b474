//! The TCP connection under the client, with one deadline over everything that happens on it.
//! Owns address parsing and the wait for bytes; knows no frames.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::error::ClientError;
use crate::limits;

/// A point in time, and how much time that was in the beginning.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    whole: Duration,
}

impl Deadline {
    /// That much time from now.
    pub fn after(whole: Duration) -> Deadline {
        let now = Instant::now();
        Deadline { at: now.checked_add(whole).unwrap_or(now), whole }
    }

    /// What is left; an error when nothing is.
    fn left(&self) -> io::Result<Duration> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    /// The error of a passed deadline.
    pub fn error(&self) -> ClientError {
        ClientError::Timeout { after: self.whole }
    }
}

/// A gateway address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host name or literal address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Address {
    /// Reads `ws://host[:port][/path]`.
    ///
    /// # Errors
    /// Other schemes, credentials inside the address, bad ports.
    pub fn parse(url: &str) -> Result<Address, ClientError> {
        let bad = |why| ClientError::Url { url: shown(url), why };
        if url.starts_with("wss://") {
            return Err(ClientError::TlsMissing { url: shown(url) });
        }
        let rest = url.strip_prefix("ws://").ok_or_else(|| bad("must start with ws://"))?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(bad("must not contain credentials"));
        }
        let (host, port) = split_port(authority).ok_or_else(|| bad("has no usable port"))?;
        if host.is_empty() || host.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(bad("has no usable host"));
        }
        Ok(Address { host: host.to_string(), port })
    }

    /// Whether the host is this machine.
    pub fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost") || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// An address as errors show it: bounded, without a query (which may hold a secret) or credentials.
fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let url = match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => url.to_string(),
    };
    url.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn split_port(authority: &str) -> Option<(&str, u16)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, port.parse().ok()?)),
            None if after.is_empty() => Some((host, 80)),
            None => None,
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host, port.parse().ok().filter(|port| *port > 0)?)),
        None => Some((authority, 80)),
    }
}

/// A socket whose every read and write ends at the deadline.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    /// When the current exchange must be over.
    pub deadline: Deadline,
}

impl Link {
    /// Connects, trying the addresses of a name in turn.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] with the last cause, or the deadline.
    pub fn open(address: &Address, deadline: Deadline) -> Result<Link, ClientError> {
        let failed = |source: io::Error, at: String| ClientError::Unreachable { address: at, source };
        let mut last = failed(io::ErrorKind::NotFound.into(), address.to_string());
        for peer in lookup(address, deadline)? {
            let left = deadline.left().map_err(|_| deadline.error())?;
            match TcpStream::connect_timeout(&peer, left) {
                Ok(stream) => {
                    // Requests are small and waited for: Nagle would only delay them.
                    stream.set_nodelay(true).map_err(|error| failed(error, peer.to_string()))?;
                    return Ok(Link { stream, deadline });
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut && deadline.left().is_err() => {
                    return Err(deadline.error());
                }
                Err(error) => last = failed(error, peer.to_string()),
            }
        }
        Err(last)
    }
}

/// Addresses of a host. Name servers have no deadline of their own, so names are asked in a thread.
fn lookup(address: &Address, deadline: Deadline) -> Result<Vec<SocketAddr>, ClientError> {
    if let Ok(ip) = address.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, address.port)]);
    }
    let (host, port) = (address.host.clone(), address.port);
    let ask = move || {
        let found = (host.as_str(), port).to_socket_addrs().ok()?;
        Some(found.take(limits::LOOKUP_ADDRESSES).collect())
    };
    let unreachable = |source| ClientError::Unreachable { address: address.to_string(), source };
    let pending = crate::sys::thread::ask("lookup", limits::STACK_ACCEPT, ask).map_err(unreachable)?;
    let left = deadline.left().map_err(|_| deadline.error())?;
    match pending.wait(left) {
        Some(Some(found)) => Ok(found),
        Some(None) => Err(unreachable(io::ErrorKind::NotFound.into())),
        None => Err(deadline.error()),
    }
}

/// A socket timeout surfaces as `WouldBlock`, which the WebSocket layer would take for "not yet".
fn timed(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.deadline.left()?))?;
        self.stream.read(buffer).map_err(timed)
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.deadline.left()?))?;
        self.stream.write(bytes).map_err(timed)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_and_refuses_what_it_cannot_use() {
        let ok = |url: &str| Address::parse(url).map(|a| (a.to_string(), a.is_loopback())).unwrap();
        assert_eq!(ok("ws://127.0.0.1:18789"), ("127.0.0.1:18789".into(), true));
        assert_eq!(ok("ws://[::1]:1/x?y"), ("[::1]:1".into(), true));
        assert_eq!(ok("ws://gateway.local"), ("gateway.local:80".into(), false));
        for bad in ["http://x", "ws://", "ws://x:0", "ws://x:99999", "ws://:1", "ws://u:p@x:1", "ws://[::1", ""] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
        let error = Address::parse("wss://x/?token=secret").unwrap_err().to_string();
        assert!(error.contains("TLS") && !error.contains("secret"), "{error}");
        assert!(!Address::parse("ws://u:hunter2@x:1").unwrap_err().to_string().contains("hunter2"));
    }

    #[test]
    fn says_who_refused() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let address = Address { host: "127.0.0.1".into(), port: free.port() };
        let error = Link::open(&address, Deadline::after(Duration::from_secs(5))).unwrap_err();
        assert_eq!(error.to_string(), format!("connect ECONNREFUSED {free}"));
        assert_eq!(error.errno(), Some("ECONNREFUSED"));
    }

    #[test]
    fn a_silent_peer_ends_at_the_deadline() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
        let mut link = Link::open(&address, Deadline::after(Duration::from_millis(50))).unwrap();
        let error = link.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
