//! Name lookup that can refuse addresses: whoever follows an address a stranger wrote must not reach this machine or
//! its network, also when a public name points there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::{error, fmt};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Where a client may connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Anywhere: the address comes from the configuration.
    Anywhere,
    /// Public addresses only, and never through a proxy: the address comes from a model.
    Public,
}

/// A name that leads to a refused address.
#[derive(Debug)]
pub(super) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a public address")
    }
}

impl error::Error for Refused {}

/// The system's resolver with [`Reach`] applied to what it finds: the addresses checked are the ones connected to.
#[derive(Debug)]
pub(super) struct CheckedResolver {
    reach: Reach,
    inner: DefaultResolver,
}

impl CheckedResolver {
    pub(super) fn new(reach: Reach) -> CheckedResolver {
        CheckedResolver { reach, inner: DefaultResolver::default() }
    }
}

impl Resolver for CheckedResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = match literal(uri) {
            // The system's lookup takes a thread of its own, which an address that needs none must not wait for.
            Some(address) => {
                let mut found = self.empty();
                found.push(address);
                found
            }
            None => self.inner.resolve(uri, config, timeout)?,
        };
        // one refused address refuses the name: else a mixed answer would be a matter of luck
        match self.reach {
            Reach::Public if found.iter().any(|addr| !is_public(addr.ip())) => {
                Err(ureq::Error::Other(Box::new(Refused)))
            }
            _ => Ok(found),
        }
    }
}

/// The address of a host that is written as one.
fn literal(uri: &Uri) -> Option<SocketAddr> {
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    let usual = match uri.scheme_str()? {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    Some(SocketAddr::new(host.parse().ok()?, uri.port_u16().unwrap_or(usual)))
}

/// Whether an address is on the public internet.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, d] = ip.octets();
    let special = match (a, b) {
        // Azure's wire server: a public number that answers every machine there with its secrets
        (168, 63) => (c, d) == (129, 16),
        (0 | 10 | 127, _) | (169, 254) | (192, 168) | (198, 18 | 19) => true,
        (172, second) => (16..32).contains(&second),
        (100, second) => (64..128).contains(&second),
        (192, 0) => c == 0 || c == 2,
        (192, 88) => c == 99,
        (198, 51) => c == 100,
        (203, 0) => c == 113,
        _ => a >= 224,
    };
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [first, second, middle @ .., seventh, eighth] = ip.segments();
    let embedded = Ipv4Addr::from((u32::from(seventh) << 16) | u32::from(eighth));
    if let Some(mapped) = ip.to_ipv4() {
        return is_public_v4(mapped);
    }
    match first {
        // NAT64 and 6to4 carry an IPv4 address inside
        0x0064 if second == 0xff9b => middle == [0; 4] && is_public_v4(embedded),
        0x2002 => {
            let [_, high, low, ..] = ip.segments();
            is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
        }
        // Teredo, documentation
        0x2001 => second != 0 && second != 0xdb8,
        // global unicast is 2000::/3
        _ => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_addresses_need_no_lookup() {
        let of = |text: &str| literal(&text.parse().unwrap()).map(|address| address.to_string());
        assert_eq!(of("http://127.0.0.1:11434/v1").as_deref(), Some("127.0.0.1:11434"));
        assert_eq!(of("https://[2001:db8::1]/v1").as_deref(), Some("[2001:db8::1]:443"));
        assert_eq!(of("http://10.0.0.1").as_deref(), Some("10.0.0.1:80"));
        assert_eq!((of("http://localhost/"), of("http://2130706433/"), of("ftp://127.0.0.1/")), (None, None, None));
    }

    #[test]
    fn addresses_of_machines_and_networks_are_not_public() {
        for text in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.9.9",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.2.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1:7f00:0:100:808:808",
            "168.63.129.16",
            "::ffff:168.63.129.16",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "::7f00:1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in
            ["1.1.1.1", "168.63.129.17", "172.32.0.1", "100.128.0.1", "192.0.1.1", "2606:4700::1", "64:ff9b::101:101"]
        {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }
}
