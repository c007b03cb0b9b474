//! The browser-origin rule at `connect` and the question who counts as local
//! (`spec/protocol.md` sections 1 and 3.4, runbook G4). Pure text work: no DNS, no sockets, no configuration.

use std::net::{IpAddr, Ipv6Addr};

use serde_json::{Map, Value};

use crate::protocol::errors::WireError;

/// Longest `Origin` that is looked at; a host name has at most 253 characters.
const ORIGIN_BYTES: usize = 512;

/// One attempt to connect, as far as the origin rule cares.
#[derive(Debug, Clone, Copy)]
pub struct OriginCheck<'a> {
    /// Negotiated protocol.
    pub protocol: u8,
    /// `client.id`.
    pub client_id: &'a str,
    /// `client.mode`.
    pub client_mode: &'a str,
    /// The `Origin` header of the upgrade.
    pub origin: Option<&'a str>,
    /// The `Host` header of the upgrade.
    pub host: Option<&'a str>,
    /// `gateway.controlUi.allowedOrigins`.
    pub allowed: &'a [String],
    /// Whether a secret guards the gateway. Without one, a page may not pass by naming its own host in `Host`:
    /// a rebound DNS name would then be let in (http.md 11.6).
    pub guarded: bool,
}

/// Why an origin is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginFault {
    /// Absent, `null` or no origin at all.
    Invalid,
    /// A good origin that nothing allows; its normal form.
    NotAllowed(String),
}

impl OriginFault {
    /// The refusal as the peer sees it, with the configuration line that would let it in.
    pub fn wire(&self) -> WireError {
        let mut details = Map::new();
        details.insert("code".into(), "CONTROL_UI_ORIGIN_NOT_ALLOWED".into());
        let reason = match self {
            OriginFault::Invalid => "origin-invalid",
            OriginFault::NotAllowed(_) => "origin-not-allowed",
        };
        details.insert("reason".into(), reason.into());
        if let OriginFault::NotAllowed(origin) = self {
            details.insert("origin".into(), origin.as_str().into());
            details.insert("configLine".into(), format!("gateway.controlUi.allowedOrigins: [\"{origin}\"]").into());
        }
        WireError::invalid(
            "origin not allowed (open the Control UI from the gateway host or allow it in gateway.controlUi.allowedOrigins)",
        )
        .with_details(Value::Object(details))
    }
}

/// Whether the client is one of those that run in a browser page.
pub fn is_browser_client(client_id: &str, client_mode: &str) -> bool {
    matches!(client_id, "openclaw-control-ui" | "webchat-ui") || client_mode == "webchat"
}

/// Checks the origin where the protocol asks for it.
pub fn check(attempt: &OriginCheck<'_>) -> Result<(), OriginFault> {
    let browser = is_browser_client(attempt.client_id, attempt.client_mode);
    let any_page = attempt.protocol >= 4 && attempt.origin.is_some();
    if !browser && !any_page {
        return Ok(());
    }
    let origin = attempt.origin.and_then(Origin::parse).ok_or(OriginFault::Invalid)?;
    let text = origin.text();
    let listed = attempt.allowed.iter().any(|entry| entry.trim() == "*" || same_origin(entry, &text));
    if listed || host_lets_in(&origin, attempt) {
        return Ok(());
    }
    Err(OriginFault::NotAllowed(text))
}

/// An allowlist entry may be written with a trailing slash, a default port or in capitals.
fn same_origin(entry: &str, origin: &str) -> bool {
    Origin::parse(entry).is_some_and(|entry| entry.text() == origin)
}

fn host_lets_in(origin: &Origin, attempt: &OriginCheck<'_>) -> bool {
    let Some(host) = attempt.host.and_then(|host| Authority::parse(host.trim())) else { return false };
    let same = origin.authority.host == host.host && origin.port() == host.port.or(origin.default_port());
    let trusted_name = attempt.guarded || is_unreboundable(&host.host);
    (same && trusted_name) || (is_loopback_host(&origin.authority.host) && is_loopback_host(&host.host))
}

/// Names that no stranger's DNS can point at this machine.
fn is_unreboundable(host: &str) -> bool {
    host_ip(host).is_some() || host == "localhost" || host.ends_with(".local") || host.ends_with(".ts.net")
}

/// Whether a host (without port; IPv6 with or without brackets) is this machine: a loopback address or exactly
/// `localhost`. Names that merely look like it are not.
pub fn is_loopback_host(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host_ip(host).is_some_and(is_loopback)
}

/// Whether an address is loopback, IPv4-mapped ones included.
pub fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

fn host_ip(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

/// What decides whether a client is local.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// The client's address, taken from forwarding headers only if a trusted proxy sent them.
    pub ip: IpAddr,
    /// The `Host` header.
    pub host: Option<&'a str>,
    /// Whether forwarding headers came from a peer that is no trusted proxy.
    pub forwarded_by_stranger: bool,
}

impl Peer<'_> {
    /// The strict rule: loopback address, loopback or tailnet host name, nothing forwarded (protocol.md 3.4).
    pub fn is_local(&self) -> bool {
        self.is_direct_loopback()
            && self
                .host
                .and_then(|host| Authority::parse(host.trim()))
                .is_some_and(|host| is_loopback_host(&host.host) || host.host.ends_with(".ts.net"))
    }

    /// A loopback socket without foreign forwarding headers, whatever the `Host` says.
    pub fn is_direct_loopback(&self) -> bool {
        is_loopback(self.ip) && !self.forwarded_by_stranger
    }

    /// Whether a pairing request of this peer is approved at once: local; on protocol 4 also a loopback socket with
    /// a foreign `Host` once the shared secret was right. A page that is no Control UI never is (protocol.md 3.4).
    pub fn approves_silently(&self, check: &OriginCheck<'_>, secret: SharedSecret) -> bool {
        let page = check.origin.is_some() && !is_browser_client(check.client_id, check.client_mode);
        let near =
            self.is_local() || (check.protocol >= 4 && secret == SharedSecret::Right && self.is_direct_loopback());
        near && !page
    }
}

/// Whether the caller showed the shared secret itself (not a device token).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedSecret {
    /// It did, and it was right.
    Right,
    /// It came in another way.
    NotShown,
}

/// A parsed `scheme://host[:port]`, lower-cased.
struct Origin {
    scheme: String,
    authority: Authority,
}

impl Origin {
    /// Parses by hand and strictly: user information, paths, queries and anything a browser never sends are refused.
    fn parse(text: &str) -> Option<Origin> {
        let text = text.trim();
        if text.len() > ORIGIN_BYTES || text.eq_ignore_ascii_case("null") {
            return None;
        }
        let (scheme, rest) = text.split_once("://")?;
        let first_is_letter = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
        if !first_is_letter || !scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) {
            return None;
        }
        let authority = Authority::parse(rest.strip_suffix('/').unwrap_or(rest))?;
        Some(Origin { scheme: scheme.to_ascii_lowercase(), authority })
    }

    fn default_port(&self) -> Option<u16> {
        match self.scheme.as_str() {
            "http" | "ws" => Some(80),
            "https" | "wss" => Some(443),
            _ => None,
        }
    }

    fn port(&self) -> Option<u16> {
        self.authority.port.or(self.default_port())
    }

    /// The normal form: lower case, default port left out.
    fn text(&self) -> String {
        let Authority { host, port } = &self.authority;
        match port.filter(|port| Some(*port) != self.default_port()) {
            Some(port) => format!("{}://{host}:{port}", self.scheme),
            None => format!("{}://{host}", self.scheme),
        }
    }
}

/// A `host[:port]`, lower-cased; IPv6 keeps its brackets.
struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    fn parse(text: &str) -> Option<Authority> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (inside, after) = rest.split_once(']')?;
                let ip: Ipv6Addr = inside.parse().ok()?;
                (format!("[{ip}]"), if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
            }
            None => match text.split_once(':') {
                Some((host, port)) => (plain_host(host)?, Some(port)),
                None => (plain_host(text)?, None),
            },
        };
        let port = match port {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
            Some(_) => return None,
            None => None,
        };
        Some(Authority { host, port })
    }
}

fn plain_host(host: &str) -> Option<String> {
    let good = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    good.then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt<'a>(origin: Option<&'a str>, host: &'a str, allowed: &'a [String]) -> OriginCheck<'a> {
        OriginCheck {
            protocol: 3,
            client_id: "openclaw-control-ui",
            client_mode: "webchat",
            origin,
            host: Some(host),
            allowed,
            guarded: true,
        }
    }

    fn passes(origin: &str, host: &str) -> bool {
        check(&attempt(Some(origin), host, &[])).is_ok()
    }

    #[test]
    fn same_host_and_port_pass() {
        for (origin, host, expected) in [
            ("http://gw.example:18789", "gw.example:18789", true),
            ("HTTP://GW.example:18789", "gw.EXAMPLE:18789", true),
            ("http://gw.example", "gw.example", true),
            ("http://gw.example", "gw.example:80", true),
            ("https://gw.example:443", "gw.example", true),
            ("http://gw.example:18789", "gw.example", false),
            ("http://gw.example:18789", "gw.example:18790", false),
            ("http://evil.example", "gw.example", false),
            ("http://[fd00::1]:18789", "[fd00::1]:18789", true),
            ("http://[fd00:0:0::1]:18789", "[fd00::1]:18789", true),
            ("http://[fd00::2]:18789", "[fd00::1]:18789", false),
        ] {
            assert_eq!(passes(origin, host), expected, "{origin} at {host}");
        }
    }

    #[test]
    fn two_loopback_names_pass_whatever_their_ports() {
        for origin in [
            "http://localhost:5173",
            "http://127.0.0.1",
            "http://127.9.9.9:1",
            "http://[::1]:9",
            "http://[::ffff:127.0.0.1]",
        ] {
            for host in ["127.0.0.1:18789", "localhost:18789", "[::1]:18789", "LOCALHOST"] {
                assert!(passes(origin, host), "{origin} at {host}");
            }
            assert!(!passes(origin, "gw.example:18789"), "{origin}");
        }
    }

    #[test]
    fn names_that_only_look_like_loopback_do_not_pass() {
        for origin in [
            "http://127.0.0.1.evil.example",
            "http://localhost.evil",
            "http://[::1].evil",
            "http://evil-localhost",
            "http://localhost.",
            "http://127.1.evil",
            "http://127.0.0.1@evil.example",
            "http://localhost:18789@evil.example",
            "http://user@localhost",
            "http://evil.example#localhost",
            "http://evil.example/localhost",
            "http://evil.example?localhost",
            "http://evil.example\\@localhost",
            "http://2130706433.evil",
            "http://0.0.0.0",
            "http://128.0.0.1",
        ] {
            assert!(!passes(origin, "127.0.0.1:18789"), "{origin}");
        }
        for host in ["127.0.0.1.evil", "localhost.evil", "[::1].evil", "::1", "localhost:x", ""] {
            assert!(!passes("http://localhost", host), "host {host}");
        }
    }

    #[test]
    fn what_is_no_origin_is_invalid() {
        let long = format!("http://{}", "a".repeat(600));
        for origin in [
            "",
            "null",
            "NULL",
            "localhost",
            "http://",
            "http:///",
            "://x",
            "http://a b",
            "http://a:99999",
            "http://a:-1",
            "http://[::1",
            "http://é.example",
            "1http://a",
            &long,
        ] {
            assert_eq!(check(&attempt(Some(origin), "localhost", &[])), Err(OriginFault::Invalid), "{origin}");
        }
        assert_eq!(check(&attempt(None, "localhost", &[])), Err(OriginFault::Invalid));
    }

    #[test]
    fn the_allowlist_compares_whole_origins() {
        let allowed = ["https://Panel.example/".to_string(), "tauri://localhost".to_string()];
        for (origin, expected) in [
            ("https://panel.example", true),
            ("https://panel.example:443", true),
            ("http://panel.example", false),
            ("https://panel.example:8443", false),
            ("https://panel.example.evil", false),
            ("https://x.panel.example", false),
            ("tauri://localhost", true),
        ] {
            assert_eq!(check(&attempt(Some(origin), "gw.example", &allowed)).is_ok(), expected, "{origin}");
        }
        let any = ["*".to_string()];
        assert!(check(&attempt(Some("https://x.example"), "gw.example", &any)).is_ok());
        assert!(check(&attempt(Some("null"), "gw.example", &any)).is_err());
    }

    #[test]
    fn protocol_3_asks_only_pages_and_protocol_4_whoever_has_an_origin() {
        for (protocol, id, mode, origin, refused) in [
            (3, "cli", "cli", Some("http://evil.example"), false),
            (3, "gateway-client", "ui", Some("null"), false),
            (3, "webchat-ui", "ui", Some("http://evil.example"), true),
            (3, "cli", "webchat", Some("http://evil.example"), true),
            (3, "webchat-ui", "webchat", None, true),
            (4, "cli", "cli", Some("http://evil.example"), true),
            (4, "cli", "cli", Some("null"), true),
            (4, "cli", "cli", None, false),
            (4, "openclaw-control-ui", "webchat", None, true),
            (4, "cli", "cli", Some("http://localhost:3000"), false),
        ] {
            let check_of =
                OriginCheck { protocol, client_id: id, client_mode: mode, ..attempt(origin, "localhost:18789", &[]) };
            assert_eq!(check(&check_of).is_err(), refused, "{protocol} {id} {mode} {origin:?}");
        }
    }

    #[test]
    fn without_a_secret_a_rebound_name_does_not_pass() {
        for (origin, host, expected) in [
            ("http://rebound.example:18789", "rebound.example:18789", false),
            ("http://192.168.1.5:18789", "192.168.1.5:18789", true),
            ("http://pi.local:18789", "pi.local:18789", true),
            ("http://localhost:18789", "127.0.0.1:18789", true),
        ] {
            let open = OriginCheck { guarded: false, ..attempt(Some(origin), host, &[]) };
            assert_eq!(check(&open).is_ok(), expected, "{origin}");
        }
    }

    #[test]
    fn the_refusal_names_the_line_that_would_allow_it() {
        let fault = check(&attempt(Some("HTTPS://Evil.example:443"), "gw.example", &[])).unwrap_err();
        let wire = fault.wire();
        assert_eq!(
            wire.message,
            "origin not allowed (open the Control UI from the gateway host or allow it in gateway.controlUi.allowedOrigins)"
        );
        let details = wire.details.unwrap();
        assert_eq!(details["code"], "CONTROL_UI_ORIGIN_NOT_ALLOWED");
        assert_eq!(details["reason"], "origin-not-allowed");
        assert_eq!(details["configLine"], "gateway.controlUi.allowedOrigins: [\"https://evil.example\"]");
        assert!(OriginFault::Invalid.wire().details.unwrap().get("configLine").is_none());
    }

    #[test]
    fn local_needs_loopback_address_and_name_and_nothing_forwarded() {
        let local = |ip: &str, host: Option<&str>, forwarded_by_stranger| {
            Peer { ip: ip.parse().unwrap(), host, forwarded_by_stranger }.is_local()
        };
        for (ip, host, expected) in [
            ("127.0.0.1", Some("localhost:18789"), true),
            ("::1", Some("[::1]:18789"), true),
            ("::ffff:127.0.0.1", Some("127.0.0.1"), true),
            ("127.0.0.1", Some("pi.tail1.ts.net"), true),
            ("127.0.0.1", Some("gw.example"), false),
            ("127.0.0.1", Some("localhost.evil"), false),
            ("127.0.0.1", None, false),
            ("10.0.0.2", Some("localhost"), false),
        ] {
            assert_eq!(local(ip, host, false), expected, "{ip} {host:?}");
            assert!(!local(ip, host, true));
        }
    }

    #[test]
    fn silent_approval_follows_the_protocol() {
        let near = Peer { ip: "127.0.0.1".parse().unwrap(), host: Some("localhost"), forwarded_by_stranger: false };
        let foreign = Peer { host: Some("gw.example"), ..near };
        let none = OriginCheck { client_id: "gateway-client", client_mode: "ui", ..attempt(None, "x", &[]) };
        let v4 = OriginCheck { protocol: 4, ..none };
        let page = OriginCheck { origin: Some("http://localhost"), ..v4 };
        assert!(near.approves_silently(&none, SharedSecret::Right));
        assert!(near.approves_silently(&v4, SharedSecret::NotShown));
        assert!(!foreign.approves_silently(&none, SharedSecret::Right));
        assert!(foreign.approves_silently(&v4, SharedSecret::Right));
        assert!(!foreign.approves_silently(&v4, SharedSecret::NotShown));
        assert!(!near.approves_silently(&page, SharedSecret::Right));
        assert!(near.approves_silently(&OriginCheck { client_id: "openclaw-control-ui", ..page }, SharedSecret::Right));
    }
}
