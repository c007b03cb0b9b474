//! Where a request really comes from: this machine, a trusted proxy, or a stranger pretending (http.md 5.2, 5.3;
//! protocol.md 3.4). Pure functions of the socket's peer and the head.

use std::net::IpAddr;

use crate::http::head::Head;
use crate::http::reply::Reply;
use crate::limits;

/// Addresses and ranges of `gateway.trustedProxies`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    ranges: Vec<(IpAddr, u32)>,
}

impl Proxies {
    /// Reads addresses and CIDR ranges; the second part lists entries that are neither.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> (Proxies, Vec<&'a str>) {
        let (mut ranges, mut faulty) = (Vec::new(), Vec::new());
        for entry in entries {
            match parse_range(entry.trim()) {
                Some(range) => ranges.push(range),
                None => faulty.push(entry),
            }
        }
        (Proxies { ranges }, faulty)
    }

    /// Whether the address is a trusted proxy.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.ranges.iter().any(|(base, bits)| in_range(address, *base, *bits))
    }
}

fn parse_range(entry: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = match entry.split_once('/') {
        Some((address, bits)) => (address.parse::<IpAddr>().ok()?, Some(bits.parse().ok()?)),
        None => (entry.parse::<IpAddr>().ok()?, None),
    };
    let address = address.to_canonical();
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(width);
    (bits <= width).then_some((address, bits))
}

fn in_range(address: IpAddr, base: IpAddr, bits: u32) -> bool {
    match (address, base) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0,
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0,
        _ => false,
    }
}

/// Whether the address is this machine's own loopback, also in its IPv6-mapped form.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Whether any header says that a proxy passed the request on (http.md 5.2).
pub fn is_forwarded(head: &Head) -> bool {
    head.headers().any(|(name, _)| {
        name.eq_ignore_ascii_case("forwarded")
            || name.eq_ignore_ascii_case("x-real-ip")
            || starts_with(name, "x-forwarded-")
            || starts_with(name, "tailscale-")
    })
}

/// Whether the request comes directly from this machine; the `Host` header does not matter (http.md 5.2).
pub fn is_local_direct(peer: IpAddr, head: &Head) -> bool {
    is_loopback(peer) && !is_forwarded(head)
}

/// Whether `X-Real-IP` may stand in for a missing `X-Forwarded-For` (`gateway.allowRealIpFallback`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RealIp {
    /// It is ignored.
    Ignore,
    /// It is used.
    Fallback,
}

/// A proxy-shaped request whose client cannot be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unattributed;

impl Unattributed {
    /// 403 as http.md 5.3 rule 1 words it.
    pub fn reply(self) -> Reply {
        const BODY: &str = r#"{"error":{"message":"Proxy client attribution is required. Configure gateway.trustedProxies narrowly and make the proxy overwrite or safely rebuild forwarded client headers.","type":"proxy_attribution_required"}}"#;
        Reply::json(403, BODY)
    }
}

/// The client's address: the peer of a plain request, what a trusted proxy says of a forwarded one, and a refusal for
/// every other forwarded request (http.md 5.3 rule 1).
pub fn client_address(peer: IpAddr, head: &Head, proxies: &Proxies, real_ip: RealIp) -> Result<IpAddr, Unattributed> {
    if !is_forwarded(head) {
        return Ok(peer.to_canonical());
    }
    if !proxies.contains(peer) {
        return Err(Unattributed);
    }
    let client = forwarded_client(head, proxies, real_ip).ok_or(Unattributed)?;
    if is_loopback(client) || client.is_unspecified() { Err(Unattributed) } else { Ok(client) }
}

/// The rightmost address of the chain that is no trusted proxy: everything left of it was written by strangers.
fn forwarded_client(head: &Head, proxies: &Proxies, real_ip: RealIp) -> Option<IpAddr> {
    let chain: Vec<&str> =
        head.all("x-forwarded-for").flat_map(|value| value.split(',')).take(limits::FORWARDED_CHAIN + 1).collect();
    if chain.is_empty() {
        let value = head.header("x-real-ip").filter(|_| real_ip == RealIp::Fallback)?;
        return parse_address(value);
    }
    if chain.len() > limits::FORWARDED_CHAIN {
        return None;
    }
    for entry in chain.iter().rev() {
        let address = parse_address(entry)?;
        if !proxies.contains(address) {
            return Some(address);
        }
    }
    None
}

/// An address as proxies write it: bare, with port, or in brackets.
fn parse_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    bare.or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

fn starts_with(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::HeadReader;

    fn head(host: &str, headers: &str) -> Head {
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
        HeadReader::new().push(text.as_bytes()).unwrap().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn proxies(entries: &[&str]) -> Proxies {
        Proxies::parse(entries.iter().copied()).0
    }

    #[test]
    fn ranges_hold_what_they_should() {
        let list = proxies(&["10.0.0.0/8", "192.168.1.5", "fd00::/8", "::ffff:172.16.0.1", "0.0.0.0/32"]);
        for inside in ["10.255.0.1", "::ffff:10.1.1.1", "192.168.1.5", "fdab::1", "172.16.0.1"] {
            assert!(list.contains(ip(inside)), "{inside}");
        }
        for outside in ["11.0.0.1", "192.168.1.6", "fe80::1", "172.16.0.2", "::1"] {
            assert!(!list.contains(ip(outside)), "{outside}");
        }
        assert!(proxies(&["0.0.0.0/0"]).contains(ip("8.8.8.8")));
        assert!(!proxies(&["0.0.0.0/0"]).contains(ip("2001:db8::1")));
        assert!(proxies(&["::/0"]).contains(ip("2001:db8::1")));
    }

    #[test]
    fn reports_entries_that_are_no_addresses() {
        let (list, faulty) = Proxies::parse(["10.0.0.1", "proxy.local", "10.0.0.0/33", "10.0.0.0/x", ""]);
        assert!(list.contains(ip("10.0.0.1")));
        assert_eq!(faulty, ["proxy.local", "10.0.0.0/33", "10.0.0.0/x", ""]);
    }

    #[test]
    fn direct_requests_from_loopback_are_local_under_any_host() {
        for peer in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert!(is_local_direct(ip(peer), &head("gw.example.com", "")));
        }
        assert!(!is_local_direct(ip("192.168.0.2"), &head("localhost", "")));
        for header in ["Forwarded: for=1", "X-Forwarded-Anything: 1", "x-real-ip: 1", "Tailscale-User-Login: a"] {
            assert!(!is_local_direct(ip("127.0.0.1"), &head("localhost", &format!("{header}\r\n"))), "{header}");
        }
    }

    #[test]
    fn forwarded_requests_need_a_trusted_proxy() {
        let none = proxies(&[]);
        let plain = head("a", "");
        assert_eq!(client_address(ip("::ffff:10.0.0.9"), &plain, &none, RealIp::Ignore), Ok(ip("10.0.0.9")));
        let forwarded = head("a", "X-Forwarded-For: 203.0.113.7\r\n");
        assert_eq!(client_address(ip("127.0.0.1"), &forwarded, &none, RealIp::Ignore), Err(Unattributed));
        let nginx = proxies(&["127.0.0.1"]);
        assert_eq!(client_address(ip("127.0.0.1"), &forwarded, &nginx, RealIp::Ignore), Ok(ip("203.0.113.7")));
    }

    #[test]
    fn the_client_is_the_rightmost_stranger() {
        let list = proxies(&["10.0.0.0/8"]);
        let client = |value: &str, real_ip| {
            client_address(ip("10.0.0.1"), &head("a", &format!("{value}\r\n")), &list, real_ip).ok()
        };
        let ignore = RealIp::Ignore;
        assert_eq!(client("X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.0.0.2", ignore), Some(ip("203.0.113.7")));
        assert_eq!(
            client("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.7:99", ignore),
            Some(ip("203.0.113.7"))
        );
        assert_eq!(client("X-Forwarded-For: [2001:db8::1]", ignore), Some(ip("2001:db8::1")));
        for refused in
            ["127.0.0.1", "10.0.0.3", "unknown", "", "6.6.6.6, , 10.0.0.2", "::1", "::ffff:127.0.0.1", "0.0.0.0"]
        {
            assert_eq!(client(&format!("X-Forwarded-For: {refused}"), ignore), None, "{refused}");
        }
        assert_eq!(
            client(&format!("X-Forwarded-For: {}9.9.9.9", "10.0.0.2,".repeat(limits::FORWARDED_CHAIN)), ignore),
            None
        );
        assert_eq!(client("X-Real-IP: 203.0.113.7", ignore), None);
        assert_eq!(client("X-Real-IP: 203.0.113.7", RealIp::Fallback), Some(ip("203.0.113.7")));
        assert_eq!(client("Forwarded: for=203.0.113.7", RealIp::Fallback), None);
    }

    #[test]
    fn the_refusal_is_the_recorded_one() {
        assert_eq!((Unattributed.reply().status(), Unattributed.reply().body_bytes().len()), (403, 212));
    }
}
