//! Counts failed logins per address and locks an address out after too many (`spec/http.md` 5.5).
//! Pure: the clock comes in as milliseconds since the start, which no corrected date moves; knows nothing of secrets.

use std::net::{IpAddr, Ipv6Addr};

use crate::limits;
use crate::sys::table::Table;

/// `gateway.auth.rateLimit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginLimits {
    /// Failures within the window that lock an address out.
    pub attempts: u32,
    /// The window.
    pub window_ms: u64,
    /// Length of the lockout.
    pub lockout_ms: u64,
    /// Whether loopback addresses are never locked out.
    pub exempt_loopback: bool,
}

impl Default for LoginLimits {
    fn default() -> LoginLimits {
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        LoginLimits {
            attempts: limits::LOGIN_ATTEMPTS,
            window_ms: ms(limits::LOGIN_WINDOW),
            lockout_ms: ms(limits::LOGIN_LOCKOUT),
            exempt_loopback: true,
        }
    }
}

/// The failed logins of all addresses; at most `LOGIN_ADDRESSES` are remembered, the oldest is forgotten first.
#[derive(Debug)]
pub struct Logins {
    limits: LoginLimits,
    entries: Table<IpAddr, Entry>,
    /// (last failure, address), oldest first.
    order: Table<(u64, IpAddr), ()>,
    failures: u64,
}

#[derive(Debug)]
struct Entry {
    failures: u32,
    window_start_ms: u64,
    last_ms: u64,
    locked_until_ms: Option<u64>,
}

impl Logins {
    /// An empty count with these limits.
    pub fn new(limits: LoginLimits) -> Logins {
        Logins { limits, entries: Table::new(), order: Table::new(), failures: 0 }
    }

    /// Milliseconds until the lockout of this address ends, if it is locked out.
    pub fn locked(&self, address: IpAddr, now_ms: u64) -> Option<u64> {
        if self.is_exempt(address) {
            return None;
        }
        let until = self.entries.get(&subject(address))?.locked_until_ms?;
        (until > now_ms).then(|| until - now_ms)
    }

    /// Failures of all addresses since the start, those without a limit included.
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// Counts a failure; answers the length of the lockout it caused.
    pub fn failed(&mut self, address: IpAddr, now_ms: u64) -> Option<u64> {
        self.failures += 1;
        if self.is_exempt(address) || self.limits.attempts == 0 {
            return None;
        }
        let address = subject(address);
        let mut entry = self.take(address).unwrap_or(Entry::new(now_ms));
        let lock_over = entry.locked_until_ms.is_some_and(|until| until <= now_ms);
        let window_over = now_ms.saturating_sub(entry.window_start_ms) >= self.limits.window_ms;
        if lock_over || (entry.locked_until_ms.is_none() && window_over) {
            entry = Entry::new(now_ms);
        }
        entry.failures = entry.failures.saturating_add(1);
        entry.last_ms = now_ms;
        if entry.failures >= self.limits.attempts && entry.locked_until_ms.is_none() {
            entry.locked_until_ms = Some(now_ms.saturating_add(self.limits.lockout_ms));
        }
        let locked = entry.locked_until_ms.map(|until| until.saturating_sub(now_ms));
        self.put(address, entry);
        locked
    }

    /// Forgets the failures of an address that proved it knows the secret.
    pub fn succeeded(&mut self, address: IpAddr) {
        self.take(subject(address));
    }

    /// Drops entries whose window and lockout are over.
    pub fn sweep(&mut self, now_ms: u64) {
        let window_ms = self.limits.window_ms;
        let entries = &mut self.entries;
        self.order.retain(|(_, address), ()| {
            let keep = entries.get(address).is_some_and(|entry| entry.matters(now_ms, window_ms));
            if !keep {
                entries.remove(address);
            }
            keep
        });
    }

    /// Addresses remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn is_exempt(&self, address: IpAddr) -> bool {
        self.limits.exempt_loopback && super::origin::is_loopback(address)
    }

    fn take(&mut self, address: IpAddr) -> Option<Entry> {
        let entry = self.entries.remove(&address)?;
        self.order.remove(&(entry.last_ms, address));
        Some(entry)
    }

    fn put(&mut self, address: IpAddr, entry: Entry) {
        self.order.insert((entry.last_ms, address), ());
        self.entries.insert(address, entry);
        while self.entries.len() > limits::LOGIN_ADDRESSES {
            let Some(((_, oldest), ())) = self.order.pop_first() else { return };
            self.entries.remove(&oldest);
        }
    }
}

impl Entry {
    fn new(now_ms: u64) -> Entry {
        Entry { failures: 0, window_start_ms: now_ms, last_ms: now_ms, locked_until_ms: None }
    }

    fn matters(&self, now_ms: u64, window_ms: u64) -> bool {
        match self.locked_until_ms {
            Some(until) => until > now_ms,
            None => now_ms.saturating_sub(self.window_start_ms) < window_ms,
        }
    }
}

/// Whom a failure is counted against. One host usually owns a whole IPv6 /64, so that is one guesser.
fn subject(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const MINUTE: u64 = 60_000;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ten_failures_in_a_minute_lock_for_five() {
        let mut logins = Logins::new(LoginLimits::default());
        let address = ip("203.0.113.7");
        for n in 0..9 {
            assert_eq!(logins.failed(address, n * 1000), None);
            assert_eq!(logins.locked(address, n * 1000), None);
        }
        assert_eq!(logins.failed(address, 9_000), Some(300_000));
        assert_eq!(logins.locked(address, 10_000), Some(299_000));
        assert_eq!(logins.locked(address, 308_999), Some(1));
        assert_eq!(logins.locked(address, 309_000), None);
        assert_eq!(logins.failed(address, 309_000), None, "the count starts anew after a lockout");
    }

    #[test]
    fn failures_in_different_windows_do_not_add_up() {
        let mut logins = Logins::new(LoginLimits::default());
        for n in 0..50 {
            assert_eq!(logins.failed(ip("203.0.113.7"), n * MINUTE / 5), None, "{n}");
        }
    }

    #[test]
    fn success_clears_the_count_and_others_are_not_affected() {
        let mut logins = Logins::new(LoginLimits { attempts: 3, ..LoginLimits::default() });
        let (a, b) = (ip("203.0.113.7"), ip("203.0.113.8"));
        logins.failed(a, 0);
        logins.failed(a, 0);
        logins.succeeded(a);
        assert_eq!(logins.failed(a, 0), None);
        assert_eq!(logins.failed(a, 0), None);
        assert!(logins.failed(a, 0).is_some());
        assert_eq!(logins.locked(b, 0), None);
    }

    #[test]
    fn loopback_is_exempt_unless_configured() {
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            let mut logins = Logins::new(LoginLimits { attempts: 1, ..LoginLimits::default() });
            assert_eq!(logins.failed(ip(address), 0), None);
            assert!(logins.is_empty());
            let limits = LoginLimits { attempts: 1, exempt_loopback: false, ..LoginLimits::default() };
            let mut logins = Logins::new(limits);
            assert!(logins.failed(ip(address), 0).is_some(), "{address}");
        }
    }

    #[test]
    fn one_ipv6_network_is_one_guesser_and_mapped_addresses_are_ipv4() {
        let mut logins = Logins::new(LoginLimits { attempts: 2, ..LoginLimits::default() });
        logins.failed(ip("2001:db8:1:2::1"), 0);
        assert!(logins.failed(ip("2001:db8:1:2:ffff::9"), 0).is_some());
        assert_eq!(logins.locked(ip("2001:db8:1:3::1"), 0), None);
        logins.failed(ip("::ffff:203.0.113.7"), 0);
        assert!(logins.failed(ip("203.0.113.7"), 0).is_some());
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let mut logins = Logins::new(LoginLimits { attempts: 1, ..LoginLimits::default() });
        let count = u32::try_from(limits::LOGIN_ADDRESSES).unwrap() + 10;
        for n in 0..count {
            logins.failed(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n)), u64::from(n));
        }
        assert_eq!(logins.len(), limits::LOGIN_ADDRESSES);
        assert_eq!(logins.locked(ip("10.0.0.0"), u64::from(count)), None);
        assert!(logins.locked(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + count - 1)), u64::from(count)).is_some());
        logins.sweep(u64::from(count) + 300_000);
        assert!(logins.is_empty() && logins.order.is_empty());
    }
}
