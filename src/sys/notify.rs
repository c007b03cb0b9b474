//! The service manager's notification protocol (`sd_notify`): one datagram per message. Knows nothing of the gateway;
//! without a manager every call does nothing. The environment enters as a function.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use std::{io, process};

/// The link to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`; a socket that cannot be used counts as none.
    pub fn from_env(get: impl Fn(&str) -> Option<OsString>) -> Notifier {
        let socket = get("NOTIFY_SOCKET").filter(|name| !name.is_empty()).and_then(|name| {
            let opened = open(name.as_bytes());
            opened.inspect_err(|fault| log::warn!(target: "gateway", "cannot notify the service manager: {fault}")).ok()
        });
        let watchdog = watchdog(&get, process::id()).filter(|_| socket.is_some());
        Notifier { socket, watchdog }
    }

    /// Whether a service manager listens.
    pub fn active(&self) -> bool {
        self.socket.is_some()
    }

    /// Start-up is done.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}\n", one_line(status)));
    }

    /// An in-process restart begins at the given monotonic time; [`Notifier::ready`] ends it.
    pub fn reloading(&self, mono: Duration) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}\n", mono.as_micros()));
    }

    /// Shutdown has begun.
    pub fn stopping(&self) {
        self.send("STOPPING=1\n");
    }

    /// A line for `systemctl status`.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={}\n", one_line(text)));
    }

    /// The sign of life that [`Notifier::watchdog_interval`] asks for.
    pub fn alive(&self) {
        self.send("WATCHDOG=1\n");
    }

    /// How often to call [`Notifier::alive`]: half of the manager's patience; `None` when it does not watch.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|patience| patience / 2)
    }

    /// Best effort: a manager that does not read must never stop the gateway.
    fn send(&self, message: &str) {
        if let Some(socket) = &self.socket
            && let Err(fault) = socket.send(message.as_bytes())
        {
            log::debug!(target: "gateway", "service manager not notified: {fault}");
        }
    }
}

fn open(name: &[u8]) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address(name)?)?;
    Ok(socket)
}

/// `/path` or `@abstract`; anything else is refused as the manager's own library does.
fn address(name: &[u8]) -> io::Result<SocketAddr> {
    match name.split_first() {
        Some((b'/', _)) => SocketAddr::from_pathname(std::path::Path::new(std::ffi::OsStr::from_bytes(name))),
        Some((b'@', rest)) => abstract_address(rest),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "NOTIFY_SOCKET is neither a path nor an abstract name")),
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

fn watchdog(get: &impl Fn(&str) -> Option<OsString>, pid: u32) -> Option<Duration> {
    let number = |name| get(name)?.into_string().ok()?.trim().parse::<u64>().ok();
    if get("WATCHDOG_PID").is_some() && number("WATCHDOG_PID") != Some(u64::from(pid)) {
        return None;
    }
    number("WATCHDOG_USEC").filter(|usec| *usec > 0).map(Duration::from_micros)
}

/// A line end would start another assignment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
    }

    fn received(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut bytes = [0; 500];
        let size = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..size].to_vec()).unwrap()
    }

    #[test]
    fn tells_the_manager_on_a_path() {
        let dir = std::env::temp_dir().join(format!("openclaw-notify-{}", process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("socket");
        let manager = UnixDatagram::bind(&path).unwrap();
        let name = path.to_str().unwrap();
        let notifier = Notifier::from_env(env(&[("NOTIFY_SOCKET", name), ("WATCHDOG_USEC", "30000000")]));
        assert!(notifier.active());
        notifier.ready("two\nlines");
        assert_eq!(received(&manager), "READY=1\nSTATUS=two lines\n");
        notifier.stopping();
        assert_eq!(received(&manager), "STOPPING=1\n");
        notifier.alive();
        assert_eq!(received(&manager), "WATCHDOG=1\n");
        notifier.reloading(Duration::from_micros(7));
        assert_eq!(received(&manager), "RELOADING=1\nMONOTONIC_USEC=7\n");
        notifier.status("ok");
        assert_eq!(received(&manager), "STATUS=ok\n");
        assert_eq!(notifier.watchdog_interval(), Some(Duration::from_secs(15)));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn tells_the_manager_on_an_abstract_name() {
        let name = format!("@openclaw-notify-{}", process::id());
        let manager = UnixDatagram::bind_addr(&address(name.as_bytes()).unwrap()).unwrap();
        Notifier::from_env(env(&[("NOTIFY_SOCKET", &name)])).stopping();
        assert_eq!(received(&manager), "STOPPING=1\n");
    }

    #[test]
    fn does_nothing_without_a_manager() {
        for pairs in
            [&[][..], &[("NOTIFY_SOCKET", "")], &[("NOTIFY_SOCKET", "relative")], &[("NOTIFY_SOCKET", "/none")]]
        {
            let notifier = Notifier::from_env(env(pairs));
            assert!(!notifier.active());
            notifier.ready("ignored");
            assert_eq!(notifier.watchdog_interval(), None);
        }
    }

    #[test]
    fn a_full_queue_does_not_block() {
        let (manager, socket) = UnixDatagram::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        let notifier = Notifier { socket: Some(socket), watchdog: None };
        for _ in 0..5000 {
            notifier.status("again");
        }
        drop(manager);
    }

    #[test]
    fn watchdog_of_another_process_is_not_ours() {
        let pairs = [("WATCHDOG_USEC", "10"), ("WATCHDOG_PID", "77")];
        assert_eq!(watchdog(&env(&pairs), 77), Some(Duration::from_micros(10)));
        assert_eq!(watchdog(&env(&pairs), 78), None);
        assert_eq!(watchdog(&env(&[("WATCHDOG_USEC", "0")]), 1), None);
        assert_eq!(watchdog(&env(&[("WATCHDOG_USEC", "many")]), 1), None);
    }
}
