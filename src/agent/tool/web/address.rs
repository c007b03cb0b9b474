//! Addresses of pages as texts: what may be asked at all, and where a redirect leads. Pure; whether a name leads to a
//! public machine is checked again when it is looked up.

use std::net::IpAddr;

use crate::agent::http::is_public;
use crate::limits;

/// Ends of names that stand for this machine or its network.
const LOCAL_ENDS: &[&str] = &["localhost", "local", "internal", "localdomain", "lan", "home.arpa", "intranet"];

/// Refuses what is not an address of a public page.
pub fn check(url: &str) -> Result<(), String> {
    if url.len() > limits::WEB_URL_BYTES {
        return Err("the address is too long".to_string());
    }
    if url.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err("the address has characters that none has".to_string());
    }
    let (scheme, rest) = url.split_once("://").ok_or("the address must begin with http:// or https://")?;
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err("only http and https addresses can be fetched".to_string());
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("addresses with a user or password are not fetched".to_string());
    }
    let host = host(authority)?;
    if is_local(&host) {
        return Err(format!("{host} is a private address; only public ones are fetched"));
    }
    Ok(())
}

/// The host of an address.
pub fn host_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    host(rest.split(['/', '?', '#']).next().unwrap_or_default()).ok()
}

/// The host in lower case, without port, brackets and the dot at the end.
fn host(authority: &str) -> Result<String, String> {
    let bad = || "the address has no valid host".to_string();
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or_else(bad)?;
            (host, after.strip_prefix(':').or(after.is_empty().then_some("")).ok_or_else(bad)?)
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    if !port.is_empty() && port.parse::<u16>().is_err() {
        return Err(bad());
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if host.is_empty() { Err(bad()) } else { Ok(host) }
}

fn is_local(host: &str) -> bool {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return !is_public(ip);
    }
    // a zone index, or a number in a form that only some resolvers read (2130706433, 0x7f.1)
    let numeric = host.rsplit('.').next().is_some_and(|last| {
        last.chars().all(|c| c.is_ascii_digit())
            || last.strip_prefix("0x").is_some_and(|hex| hex.chars().all(|c| c.is_ascii_hexdigit()))
    });
    let ends = |end: &str| host == end || host.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'));
    numeric || host.contains(['%', ':']) || !host.contains('.') || LOCAL_ENDS.iter().any(|end| ends(end))
}

/// Where a `Location` leads, seen from an address.
pub(super) fn join(base: &str, target: &str) -> Result<String, String> {
    let target = target.trim();
    let (scheme, rest) = base.split_once("://").ok_or("no base")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let has_scheme = target
        .find("://")
        .is_some_and(|at| target.get(..at).is_some_and(|s| s.chars().all(|c| c.is_ascii_alphanumeric())));
    let target = target.split('#').next().unwrap_or_default();
    Ok(if has_scheme {
        target.to_string()
    } else if let Some(rest) = target.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if target.starts_with('/') {
        format!("{scheme}://{authority}{target}")
    } else if target.starts_with('?') {
        format!("{scheme}://{authority}{path}{target}")
    } else if target.split(['/', '?']).next().is_some_and(|first| first.contains(':')) {
        return Err("the redirect leads to something that is not http".to_string());
    } else {
        let folder = path.rfind('/').and_then(|at| path.get(..=at)).unwrap_or("/");
        format!("{scheme}://{authority}{folder}{target}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_pages_may_be_asked() {
        for url in
            ["http://example.org", "HTTPS://Example.org:8443/x?y#z", "http://93.184.216.34/", "https://[2606:4700::1]/"]
        {
            assert_eq!(check(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn this_machine_and_its_network_may_not() {
        for url in [
            "http://localhost",
            "http://LOCALHOST.:80/",
            "http://a.localhost",
            "http://127.0.0.1",
            "http://127.1",
            "http://0/",
            "http://2130706433",
            "http://0x7f000001",
            "http://0x7f.1",
            "http://017700000001",
            "http://10.0.0.1",
            "http://192.168.1.1:8080",
            "http://169.254.169.254/latest/meta-data",
            "http://100.64.1.1",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]",
            "http://[fe80::1%25eth0]/",
            "http://metadata.google.internal/",
            "http://printer.local",
            "http://router",
            "http://nas.lan",
            "http://x.home.arpa",
        ] {
            assert!(check(url).is_err_and(|text| text.contains("private")), "{url}: {:?}", check(url));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for url in [
            "",
            "example.org",
            "ftp://example.org",
            "file:///etc/passwd",
            "javascript://x",
            "http://",
            "http:///x",
            "http://[::1",
            "http://[::1]x/",
            "http://a:b@example.org",
            "http://example.org@127.0.0.1",
            "http://example.org:99999",
            "http://exa mple.org",
            "http://example.org\\@x",
            "http://example.org/\r\nHost: x",
            "http://.",
        ] {
            assert!(check(url).is_err(), "{url:?}");
        }
        assert!(check(&format!("http://example.org/{}", "x".repeat(limits::WEB_URL_BYTES))).is_err());
    }

    #[test]
    fn redirects_lead_where_a_browser_would_go() {
        let base = "https://a.org/one/two?x=1";
        for (target, expected) in [
            ("http://b.org/x", "http://b.org/x"),
            ("//b.org/x", "https://b.org/x"),
            ("/x?y#z", "https://a.org/x?y"),
            ("three", "https://a.org/one/three"),
            ("?y=2", "https://a.org/one/two?y=2"),
            (" ./x ", "https://a.org/one/./x"),
            ("x?u=http://c.org", "https://a.org/one/x?u=http://c.org"),
        ] {
            assert_eq!(join(base, target).unwrap(), expected, "{target}");
        }
        assert_eq!(join("http://a.org", "x").unwrap(), "http://a.org/x");
        assert!(join(base, "javascript:alert(1)").is_err() && join(base, "data:text/html,x").is_err());
    }
}
