//! Trusted-proxy mode: how a reverse proxy in front says who the user is (http.md 5.3, rule 2).
//! Pure; the socket's peer and the head decide. Knows nothing of scopes or sessions.

use std::net::IpAddr;

use serde_json::Value;

use super::head::Head;
use super::locality::{Proxies, is_loopback};

/// Characters of a user name that are looked at.
const USER_CHARS: usize = 256;

/// `gateway.auth.trustedProxy`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyLogin {
    /// The header that names the user.
    pub user_header: String,
    /// Headers that must be there and not blank.
    pub required_headers: Vec<String>,
    /// Users that may come in; all when empty.
    pub allow_users: Vec<String>,
    /// Whether a proxy on this machine counts.
    pub allow_loopback: bool,
}

impl ProxyLogin {
    /// Reads the configuration block; without a user header nobody can log in this way.
    pub fn read(block: &Value) -> Option<ProxyLogin> {
        let texts = |name: &str| -> Vec<String> {
            let items = block.get(name).and_then(Value::as_array).into_iter().flatten();
            items.filter_map(|item| item.as_str().map(|text| text.trim().to_string())).collect()
        };
        let user_header = block.get("userHeader")?.as_str()?.trim().to_ascii_lowercase();
        (!user_header.is_empty()).then(|| ProxyLogin {
            user_header,
            required_headers: texts("requiredHeaders").iter().map(|name| name.to_ascii_lowercase()).collect(),
            allow_users: texts("allowUsers"),
            allow_loopback: block.get("allowLoopback").and_then(Value::as_bool).unwrap_or(false),
        })
    }

    /// The user whom the peer, if it is a trusted proxy, vouches for.
    pub fn user(&self, peer: IpAddr, head: &Head, proxies: &Proxies) -> Option<String> {
        let trusted = proxies.contains(peer) && (self.allow_loopback || !is_loopback(peer));
        if !trusted || !self.required_headers.iter().all(|name| is_set(head, name)) {
            return None;
        }
        // A second one would be the client's own, which the proxy passed on: nobody can tell which.
        let mut named = head.all(&self.user_header);
        let user = named.next().filter(|_| named.next().is_none())?.trim();
        let known = self.allow_users.is_empty() || self.allow_users.iter().any(|allowed| allowed == user);
        (!user.is_empty() && user.chars().count() <= USER_CHARS && known).then(|| user.to_string())
    }
}

fn is_set(head: &Head, name: &str) -> bool {
    head.header(name).is_some_and(|value| !value.trim().is_empty())
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::http::head::HeadReader;

    fn head(extra: &str) -> Head {
        let text = format!("GET / HTTP/1.1\r\nHost: x\r\n{extra}\r\n");
        HeadReader::new().push(text.as_bytes()).unwrap().unwrap()
    }

    fn login(user: &str, peer: &str, config: Value) -> Option<String> {
        let (proxies, _) = Proxies::parse(["192.0.2.1", "127.0.0.1"]);
        ProxyLogin::read(&config)?.user(peer.parse().unwrap(), &head(user), &proxies)
    }

    #[test]
    fn believes_a_trusted_proxy_only() {
        let config = json!({"userHeader": "X-User"});
        let header = "X-User: ann\r\n";
        assert_eq!(login(header, "192.0.2.1", config.clone()).as_deref(), Some("ann"));
        assert_eq!(login(header, "192.0.2.2", config.clone()), None);
        assert_eq!(login(header, "127.0.0.1", config), None);
        let local = json!({"userHeader": "X-User", "allowLoopback": true});
        assert_eq!(login(header, "127.0.0.1", local).as_deref(), Some("ann"));
    }

    #[test]
    fn a_user_named_twice_is_nobody() {
        let config = json!({"userHeader": "X-User", "allowUsers": ["ann"]});
        assert_eq!(login("X-User: ann\r\nx-user: bob\r\n", "192.0.2.1", config.clone()), None);
        assert_eq!(login("X-User: ann\r\nX-User: ann\r\n", "192.0.2.1", config), None);
    }

    #[test]
    fn demands_the_headers_and_users_it_is_told_to() {
        let config = json!({"userHeader": "x-user", "requiredHeaders": ["X-Proto"], "allowUsers": ["ann"]});
        assert_eq!(login("X-User: ann\r\n", "192.0.2.1", config.clone()), None);
        assert_eq!(login("X-User: ann\r\nX-Proto: https\r\n", "192.0.2.1", config.clone()).as_deref(), Some("ann"));
        assert_eq!(login("X-User: bob\r\nX-Proto: https\r\n", "192.0.2.1", config.clone()), None);
        assert_eq!(login("X-User:  \r\nX-Proto: https\r\n", "192.0.2.1", config), None);
    }

    #[test]
    fn lets_nobody_in_without_a_user_header() {
        assert_eq!(ProxyLogin::read(&json!({"allowLoopback": true})), None);
        assert_eq!(ProxyLogin::read(&json!({"userHeader": " "})), None);
    }
}
