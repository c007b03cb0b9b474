//! Which proxy a call takes: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and the exceptions of `NO_PROXY`, in either case.
//! Pure: reads an environment snapshot.

use std::net::IpAddr;

use super::HttpError;
use crate::config::{Env, Secret};

/// Proxies of an environment. Their addresses may hold passwords.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    http: Option<Secret>,
    https: Option<Secret>,
    except: Vec<String>,
}

impl Proxies {
    /// Reads the usual variables; lower case wins, as it does in curl.
    pub fn read(env: &Env) -> Proxies {
        let read = |name: &str| env.get(name).or_else(|| env.get(&name.to_ascii_uppercase())).map(str::trim);
        let address = |name| read(name).or_else(|| read("all_proxy")).map(Secret::new);
        let except = read("no_proxy").unwrap_or_default().split([',', ' ']);
        Proxies {
            http: address("http_proxy"),
            https: address("https_proxy"),
            except: except.map(|item| item.trim().to_ascii_lowercase()).filter(|item| !item.is_empty()).collect(),
        }
    }

    /// The proxy for a host; none for this machine itself and for the exceptions.
    pub(super) fn choose(&self, https: bool, host: &str, port: Option<u16>) -> Option<&str> {
        let proxy = if https { self.https.as_ref() } else { self.http.as_ref() }?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let port = port.unwrap_or(if https { 443 } else { 80 });
        let direct = is_loopback(&host) || self.except.iter().any(|item| matches(item, &host, port));
        (!direct).then(|| proxy.expose())
    }
}

/// Whether a host is this machine: a proxy elsewhere could not reach it.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// `*`, `host`, `.domain`, `*.domain`, `host:port`, an address or an IPv4 network with its size.
fn matches(item: &str, host: &str, port: u16) -> bool {
    if item == "*" {
        return true;
    }
    if let Some((network, size)) = item.split_once('/') {
        return in_network(network, size, host).unwrap_or(false);
    }
    let (name, wanted) = match item.rsplit_once(':') {
        Some((name, digits)) if !name.contains(':') => (name, digits.parse::<u16>().ok()),
        _ => (item, None),
    };
    let name = name.trim_start_matches('*').trim_start_matches('.').trim_matches(['[', ']']);
    let suffix = host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !name.is_empty() && suffix && wanted.is_none_or(|wanted| wanted == port)
}

fn in_network(network: &str, size: &str, host: &str) -> Option<bool> {
    let network = u32::from(network.parse::<std::net::Ipv4Addr>().ok()?);
    let host = u32::from(host.parse::<std::net::Ipv4Addr>().ok()?);
    let size: u32 = size.parse().ok().filter(|size| *size <= 32)?;
    let mask = u32::MAX.checked_shl(32 - size).unwrap_or(0);
    Some(network & mask == host & mask)
}

/// A proxy of that address; only the kinds that work here.
pub(super) fn proxy(url: &str) -> Result<ureq::Proxy, HttpError> {
    let with_scheme = if url.contains("://") { url.to_string() } else { format!("http://{url}") };
    let kind = with_scheme.split("://").next().unwrap_or_default().to_ascii_lowercase();
    match kind.as_str() {
        "http" => {}
        "https" if cfg!(feature = "tls") => {}
        _ => return Err(HttpError::Proxy(format!("{kind} proxies are not supported, only http ones"))),
    }
    ureq::Proxy::new(&with_scheme).map_err(|_| HttpError::Proxy("its address cannot be read".to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(vars: &[(&str, &str)], https: bool, host: &str) -> Option<String> {
        let proxies = Proxies::read(&Env::of(vars.iter().copied()));
        proxies.choose(https, host, None).map(String::from)
    }

    #[test]
    fn each_scheme_has_its_variable_and_one_stands_for_all() {
        let vars = [("HTTPS_PROXY", "http://s:1"), ("http_proxy", "http://h:2"), ("HTTP_PROXY", "http://no:3")];
        assert_eq!(chosen(&vars, true, "a.example").as_deref(), Some("http://s:1"));
        assert_eq!(chosen(&vars, false, "a.example").as_deref(), Some("http://h:2"));
        assert_eq!(chosen(&[("ALL_PROXY", "http://a:4")], true, "x").as_deref(), Some("http://a:4"));
        assert_eq!(chosen(&[], true, "x"), None);
    }

    #[test]
    fn this_machine_is_never_reached_through_a_proxy() {
        for host in ["localhost", "127.0.0.1", "[::1]", "a.localhost", "127.9.9.9"] {
            assert_eq!(chosen(&[("ALL_PROXY", "http://p")], false, host), None, "{host}");
        }
    }

    #[test]
    fn exceptions_are_names_domains_ports_and_networks() {
        let direct =
            |list: &str, host: &str| chosen(&[("ALL_PROXY", "http://p"), ("NO_PROXY", list)], true, host).is_none();
        assert!(direct("*", "x.y") && direct("y", "x.y") && direct(".x.y, z", "a.x.y") && direct("*.x.y", "a.x.y"));
        assert!(direct("x.y:443", "x.y") && !direct("x.y:8443", "x.y") && !direct("y", "xy") && !direct("", "x"));
        assert!(
            direct("10.0.0.0/8", "10.1.2.3") && !direct("10.0.0.0/8", "11.1.2.3") && direct("0.0.0.0/0", "9.9.9.9")
        );
        assert!(direct("fd00::1", "[fd00::1]") && !direct("10.0.0.0/99", "10.0.0.1"));
    }

    #[test]
    fn a_proxy_of_another_kind_is_refused_in_words() {
        assert!(proxy("socks5://h:1").unwrap_err().to_string().contains("socks5"));
        assert!(proxy("h:3128").is_ok() && proxy("http://user:pw@h:3128").is_ok());
        let debug = format!("{:?}", Proxies::read(&Env::of([("http_proxy", "http://u:canary@h")])));
        assert!(!debug.contains("canary"));
    }
}
