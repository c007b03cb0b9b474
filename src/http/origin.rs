//! Which web pages may talk to the gateway (http.md 11.6). Pure: compares an `Origin` with the configuration and the
//! `Host` the request was sent to.

use std::net::IpAddr;

use crate::http::locality::{host_name, is_local_name};

/// Whether the client is on this machine (see `locality`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// On this machine.
    Local,
    /// Elsewhere.
    Remote,
}

/// Whether a page of that origin may connect: it is listed (`*` lists all), it was served by this very host under a
/// name that cannot be rebound from outside, or it is a loopback page of a local caller.
pub fn is_allowed(origin: &str, host: &str, listed: &[String], caller: Caller) -> bool {
    let origin = origin.trim().trim_end_matches('/').to_ascii_lowercase();
    if listed.iter().any(|entry| matches(entry, &origin)) {
        return true;
    }
    let Some(authority) = authority(&origin) else { return false };
    let (name, host) = (host_name(authority), host.trim().to_ascii_lowercase());
    if caller == Caller::Local && is_loopback_name(name) && is_loopback_name(host_name(&host)) {
        return true;
    }
    same_authority(&origin, authority, &host) && is_safe_name(name, caller)
}

fn matches(entry: &str, origin: &str) -> bool {
    let entry = entry.trim().trim_end_matches('/');
    entry == "*" || entry.eq_ignore_ascii_case(origin)
}

/// `host:port` of an `http` or `https` origin; `null` and other schemes have none.
fn authority(origin: &str) -> Option<&str> {
    let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))?;
    Some(rest).filter(|rest| !rest.is_empty() && !rest.contains(['/', '@', '?', '#', ' ']))
}

/// Equal with default ports filled in: browsers leave them out on both sides, other clients may not.
fn same_authority(origin: &str, authority: &str, host: &str) -> bool {
    let port = if origin.starts_with("https:") { ":443" } else { ":80" };
    let bare = |text: &str| text.strip_suffix(port).unwrap_or(text).to_owned();
    bare(authority) == bare(host)
}

/// A foreign page can give its own name any address (DNS rebinding), but not these names.
fn is_safe_name(name: &str, caller: Caller) -> bool {
    if is_loopback_name(name) {
        return caller == Caller::Local;
    }
    name.ends_with(".local") || name.ends_with(".ts.net") || name.parse::<IpAddr>().is_ok_and(is_private)
}

fn is_loopback_name(name: &str) -> bool {
    is_local_name(name) || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Private, link-local, carrier-grade (100.64/10, which Tailscale uses) and unique local addresses.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local() || v4.to_bits() >> 22 == 0x6440_0000 >> 22,
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origin: &str, host: &str, caller: Caller) -> bool {
        is_allowed(origin, host, &["https://ui.example.com/".to_owned()], caller)
    }

    #[test]
    fn listed_origins_are_allowed_from_anywhere() {
        assert!(allowed("https://UI.example.com", "gw", Caller::Remote));
        assert!(!allowed("http://ui.example.com", "gw", Caller::Remote));
        assert!(!allowed("https://ui.example.com.evil.net", "gw", Caller::Remote));
        assert!(is_allowed("null", "gw", &["*".to_owned()], Caller::Remote));
    }

    #[test]
    fn loopback_pages_may_talk_to_a_local_gateway() {
        assert!(allowed("http://localhost:5173", "127.0.0.1:18789", Caller::Local));
        assert!(allowed("http://[::1]:1", "localhost:18789", Caller::Local));
        assert!(!allowed("http://localhost:5173", "127.0.0.1:18789", Caller::Remote));
        assert!(!allowed("http://localhost:5173", "gw.example.com", Caller::Local));
    }

    #[test]
    fn own_pages_are_allowed_under_names_that_cannot_be_rebound() {
        for host in ["192.168.1.4:18789", "box.local:18789", "box.tail.ts.net", "100.101.1.2:1", "[fd00::1]:1"] {
            assert!(allowed(&format!("http://{host}"), host, Caller::Remote), "{host}");
            assert!(!allowed(&format!("http://{host}"), "192.168.1.5:18789", Caller::Remote), "{host}");
        }
        assert!(allowed("https://box.ts.net", "box.ts.net:443", Caller::Remote));
        assert!(!allowed("http://evil.com:18789", "evil.com:18789", Caller::Local), "rebinding");
        assert!(!allowed("http://8.8.8.8", "8.8.8.8", Caller::Remote));
    }

    #[test]
    fn nonsense_is_refused() {
        for origin in ["", "null", "file://", "http://", "chrome-extension://abc", "http://a@localhost"] {
            assert!(!allowed(origin, "localhost", Caller::Local), "{origin}");
        }
    }
}
