//! What a run has left is posted to the address its job names: on a thread of its own, a few times at most, and never to
//! this machine or its network unless the configuration says so. Knows no state.

use std::time::Duration;

use serde_json::Value;

use crate::agent::control::Control;
use crate::agent::http::{Client, Deadlines, HttpError, Reach, Request, Settings, plain};
use crate::agent::tool::web::{check_address, host_of};
use crate::config::Secret;
use crate::limits;
use crate::protocol::errors::WireError;

/// Something to post.
pub struct Post {
    /// The address.
    pub url: String,
    /// Who may be asked.
    pub reach: Reach,
    /// The token the receiver knows the gateway by.
    pub token: Option<Secret>,
    /// What the run left, as JSON.
    pub body: Vec<u8>,
    /// The process's HTTP settings.
    pub http: Settings,
}

/// Where an address of a job may lead: to public machines, and to those the operator names (`cron.webhookSsrfPolicy`).
///
/// # Errors
/// Why it may not be asked.
pub fn reach(config: &Value, url: &str) -> Result<Reach, String> {
    let policy = config.pointer("/cron/webhookSsrfPolicy").unwrap_or(&Value::Null);
    let host = host_of(url).unwrap_or_default();
    let named = policy.get("allowedHostnames").and_then(Value::as_array).into_iter().flatten();
    let is_named = named.filter_map(Value::as_str).any(|name| name.trim().eq_ignore_ascii_case(&host));
    if is_named || policy.get("dangerouslyAllowPrivateNetwork") == Some(&Value::Bool(true)) {
        return Ok(Reach::Anywhere);
    }
    let hint = "; if it is yours, name its host in cron.webhookSsrfPolicy.allowedHostnames";
    check_address(url).map(|()| Reach::Public).map_err(|why| format!("{why}{hint}"))
}

/// Posts it, again if the receiver is not there or says that it is busy.
///
/// # Errors
/// Why nobody took it; without the address, which may be a secret.
pub fn post(post: &Post) -> Result<String, WireError> {
    let control = Control::within(limits::WEB_TIME);
    let mut why = String::new();
    for pause in limits::CRON_POST_PAUSES {
        std::thread::sleep(pause.min(control.remaining().unwrap_or(Duration::ZERO)));
        match once(post, &control) {
            Ok(status @ 200..300) => {
                log::debug!(target: "gateway/cron", "cron: webhook took a run status={status}");
                return Ok(String::new());
            }
            Ok(status @ 300..400) => return Err(refused(&format!("status {status}; redirects are not followed"))),
            Ok(status @ (408 | 425 | 429 | 500..)) => why = format!("status {status}"),
            Ok(status) => return Err(refused(&format!("status {status}"))),
            Err(fault) => why = fault,
        }
    }
    Err(refused(&why))
}

fn refused(why: &str) -> WireError {
    WireError::unavailable(format!("the webhook did not take it: {why}"))
}

fn once(post: &Post, control: &Control) -> Result<u16, String> {
    // Its own words would repeat the address.
    let plainly = |fault: HttpError| match fault {
        HttpError::BadUrl(_) => "delivery.to is not a valid address".to_string(),
        other => other.to_string(),
    };
    let client = Client::new(&post.url, &post.http, post.reach).map_err(plainly)?;
    let bearer = post.token.as_ref().map(|token| plain("Authorization", &format!("Bearer {}", token.expose())));
    let headers: Vec<(String, Secret)> = bearer.into_iter().collect();
    let deadlines =
        Deadlines { connect: limits::WEB_CONNECT, first: limits::WEB_SILENCE, between: limits::WEB_SILENCE };
    let request = Request { url: &post.url, headers: &headers, body: Some(&post.body), deadlines };
    client.send(&request, control).map(|answer| answer.status).map_err(plainly)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_time_for_every_attempt() {
        let pauses: Duration = limits::CRON_POST_PAUSES.iter().sum();
        assert!(pauses + limits::WEB_SILENCE < limits::WEB_TIME && limits::CRON_POST_PAUSES[0].is_zero());
    }

    #[test]
    fn only_the_operator_opens_the_own_network() {
        let policy = |policy: Value| json!({"cron": {"webhookSsrfPolicy": policy}});
        let none = json!({});
        assert_eq!(reach(&none, "https://example.org/x"), Ok(Reach::Public));
        for private in ["http://127.0.0.1:8/x", "http://nas.local/", "http://localhost", "http://[::1]/"] {
            let why = reach(&none, private).unwrap_err();
            assert!(why.contains("private address") && why.contains("allowedHostnames"), "{why}");
            assert_eq!(reach(&policy(json!({"dangerouslyAllowPrivateNetwork": true})), private), Ok(Reach::Anywhere));
        }
        let named = policy(json!({"allowedHostnames": [" NAS.local "]}));
        assert_eq!(reach(&named, "http://nas.local:9/x"), Ok(Reach::Anywhere));
        assert!(reach(&named, "http://127.0.0.1/").is_err());
        assert!(reach(&named, "http://nas.local:9@127.0.0.1/").is_err());
    }
}
