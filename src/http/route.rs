//! Which surface a request is for, decided from its head alone (http.md 2, column of the newer version), and the
//! bodies of the probes. Pure; whether the caller may use the surface is decided elsewhere.

use serde_json::Value;

use crate::http::api::{self, Row};
use crate::http::head::{Expectation, Head};
use crate::http::pages;
use crate::http::reply::Reply;

const PROBE_METHODS: &str = "GET, HEAD";

/// A probe of http.md 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The process runs.
    Live,
    /// All parts are ready.
    Ready,
    /// Start-up is done.
    Startup,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A valid WebSocket upgrade; its key is [`websocket_key`].
    WebSocket,
    /// A probe, GET or HEAD.
    Probe(Probe),
    /// The page at `/`.
    Index,
    /// An interface for programs, by any method.
    Api(&'static Row),
    /// Not ours to serve: answer with [`Refusal::reply`].
    Refused(Refusal),
}

/// Why a request has no surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// An `Expect` that is not `100-continue`.
    Expectation,
    /// An upgrade to something else than a WebSocket.
    BadUpgrade,
    /// A WebSocket upgrade by another method than GET.
    UpgradeMethod,
    /// A WebSocket upgrade without a valid key.
    UpgradeKey,
    /// A WebSocket upgrade of another version than 13.
    UpgradeVersion,
    /// A known path, wrong method.
    Method {
        /// The methods that are allowed.
        allow: &'static str,
    },
    /// An unknown path.
    NotFound,
}

impl Refusal {
    /// The answer.
    pub fn reply(self) -> Reply {
        match self {
            Refusal::Expectation => Reply::plain(417).closing(),
            Refusal::BadUpgrade => Reply::plain(400).closing(),
            Refusal::UpgradeMethod => Reply::method_not_allowed("GET").closing(),
            Refusal::UpgradeKey => Reply::text(400, "Missing or invalid Sec-WebSocket-Key header").closing(),
            Refusal::UpgradeVersion => Reply::plain(426).header("Sec-WebSocket-Version", "13").closing(),
            Refusal::Method { allow } => Reply::method_not_allowed(allow),
            Refusal::NotFound => Reply::not_found(),
        }
    }
}

/// The surface a request is for; first match wins (http.md 2).
pub fn route(head: &Head) -> Route {
    if head.expectation() == Expectation::Other {
        return Route::Refused(Refusal::Expectation);
    }
    if head.is_upgrade_websocket() {
        return upgrade(head);
    }
    if head.is_upgrade() {
        return Route::Refused(Refusal::BadUpgrade);
    }
    if let Some(row) = api::surface(head.path()) {
        return Route::Api(row);
    }
    let reading = matches!(head.method(), "GET" | "HEAD");
    match (probe(head.path()), reading) {
        (Some(probe), true) => Route::Probe(probe),
        (Some(_), false) => Route::Refused(Refusal::Method { allow: PROBE_METHODS }),
        (None, true) if head.path() == "/" => Route::Index,
        (None, _) => Route::Refused(Refusal::NotFound),
    }
}

/// The key of a WebSocket upgrade, if it is 16 bytes in base64 (RFC 6455, 4.2.1).
pub fn websocket_key(head: &Head) -> Option<&str> {
    let mut keys = head.all("sec-websocket-key");
    let key = keys.next().filter(|_| keys.next().is_none())?;
    let body = key.strip_suffix("==").filter(|body| body.len() == 22)?;
    body.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/').then_some(key)
}

/// The first subprotocol a WebSocket client offers, which is echoed to it (http.md 2); tokens only.
pub fn websocket_protocol(head: &Head) -> Option<&str> {
    let first = head.header("sec-websocket-protocol")?.split(',').next()?.trim();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    Some(first).filter(|name| !name.is_empty() && name.bytes().all(token))
}

fn upgrade(head: &Head) -> Route {
    if head.method() != "GET" {
        return Route::Refused(Refusal::UpgradeMethod);
    }
    if websocket_key(head).is_none() {
        return Route::Refused(Refusal::UpgradeKey);
    }
    match head.header("sec-websocket-version") {
        Some("13") => Route::WebSocket,
        _ => Route::Refused(Refusal::UpgradeVersion),
    }
}

fn probe(path: &str) -> Option<Probe> {
    match path {
        "/health" | "/healthz" => Some(Probe::Live),
        "/ready" | "/readyz" => Some(Probe::Ready),
        "/startup" | "/startupz" => Some(Probe::Startup),
        _ => None,
    }
}

/// How much a probe tells: all of it to callers on this machine or with the right secret (http.md 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Yes or no.
    Plain,
    /// With reasons and times.
    Full,
}

/// The answer of `/health`: always 200.
pub fn live() -> Reply {
    Reply::json(200, r#"{"ok":true,"status":"live"}"#).no_store()
}

/// The answer of `/ready`: 200 when nothing is failing, else 503. `failing` names the parts that are not ready.
pub fn ready(failing: &[&str], uptime_ms: u64, detail: Detail) -> Reply {
    let ready = failing.is_empty();
    let status = if ready { 200 } else { 503 };
    let body = match detail {
        Detail::Plain => format!("{{\"ready\":{ready}}}"),
        Detail::Full => {
            format!("{{\"ready\":{ready},\"failing\":{},\"uptimeMs\":{uptime_ms}}}", json!(failing))
        }
    };
    Reply::json(status, body).no_store()
}

/// The answer of `/startup`: 503 with the reason while one is given, then 200.
pub fn startup(pending: Option<&str>, version: &str, uptime_ms: u64, detail: Detail) -> Reply {
    let (status, mut body) = match pending {
        None => (200, String::from(r#"{"ok":true,"status":"started""#)),
        Some(_) => (503, String::from(r#"{"ok":false,"status":"starting""#)),
    };
    if detail == Detail::Full {
        body.push_str(&format!(",\"version\":{},\"uptimeMs\":{uptime_ms}", Value::from(version)));
        if let Some(reason) = pending {
            body.push_str(&format!(",\"pendingReason\":{}", Value::from(reason)));
        }
    }
    body.push('}');
    Reply::json(status, body).no_store()
}

/// The answer to work that arrives while the gateway stops or restarts (http.md 3).
pub fn unavailable() -> Reply {
    const BODY: &str = r#"{"error":{"message":"Gateway is temporarily unavailable while suspending or restarting","type":"service_unavailable","code":"gateway_unavailable"}}"#;
    Reply::json(503, BODY).header("Retry-After", "1").no_store()
}

/// The answer to an upgrade that arrives while the gateway stops, or when too many sockets of one address have not
/// authenticated yet (http.md 2).
pub fn upgrade_unavailable() -> Reply {
    Reply::plain(503).header("Retry-After", "1").closing()
}

/// The page at `/`.
pub fn index() -> Reply {
    pages::index()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::HeadReader;

    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const UP: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n";

    fn head(line: &str, headers: &str) -> Head {
        let text = format!("{line} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        HeadReader::new().push(text.as_bytes()).unwrap().unwrap()
    }

    fn refusal(line: &str, headers: &str) -> Reply {
        match route(&head(line, headers)) {
            Route::Refused(refusal) => refusal.reply(),
            other => panic!("{line} goes to {other:?}"),
        }
    }

    fn text(reply: &Reply) -> &str {
        std::str::from_utf8(reply.body_bytes()).unwrap()
    }

    #[test]
    fn probes_answer_get_and_head_with_any_query() {
        for (path, probe) in [
            ("/health", Probe::Live),
            ("/healthz?x", Probe::Live),
            ("/ready", Probe::Ready),
            ("/readyz", Probe::Ready),
            ("/startup", Probe::Startup),
            ("/startupz", Probe::Startup),
        ] {
            assert_eq!(route(&head(&format!("GET {path}"), "")), Route::Probe(probe));
            assert_eq!(route(&head(&format!("HEAD {path}"), "")), Route::Probe(probe));
            let reply = refusal(&format!("POST {path}"), "");
            assert_eq!((reply.status(), reply.header_value("Allow")), (405, Some("GET, HEAD")));
        }
    }

    #[test]
    fn everything_else_is_not_found() {
        for line in
            ["GET /health/x", "GET /health/", "GET /api/nope", "GET /v1/nope", "POST /nope", "OPTIONS *", "POST /"]
        {
            let reply = refusal(line, "");
            assert_eq!((reply.status(), text(&reply)), (404, "Not Found"), "{line}");
        }
        assert_eq!(route(&head("GET /", "")), Route::Index);
        assert_eq!(route(&head("HEAD /?a=b", "")), Route::Index);
    }

    #[test]
    fn any_path_takes_a_websocket() {
        for path in ["/", "/ws", "/v1/models", "/health"] {
            let valid = head(&format!("GET {path}"), &format!("{UP}{KEY}Sec-WebSocket-Version: 13\r\n"));
            assert_eq!(route(&valid), Route::WebSocket);
            assert_eq!(websocket_key(&valid), Some("dGhlIHNhbXBsZSBub25jZQ=="));
        }
    }

    #[test]
    fn other_upgrades_are_bad_requests_that_close() {
        for headers in ["Upgrade: h2c\r\nConnection: Upgrade\r\n", "Upgrade: websocket\r\n"] {
            let reply = refusal("GET /", headers);
            assert_eq!((reply.status(), text(&reply)), (400, "Bad Request"));
        }
    }

    #[test]
    fn a_websocket_needs_a_valid_key_method_and_version() {
        for key in
            ["", "Sec-WebSocket-Key: short==\r\n", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n", &KEY.repeat(2)]
        {
            let reply = refusal("GET /", &format!("{UP}{key}Sec-WebSocket-Version: 13\r\n"));
            assert_eq!((reply.status(), text(&reply)), (400, "Missing or invalid Sec-WebSocket-Key header"));
        }
        let reply = refusal("GET /", &format!("{UP}{KEY}Sec-WebSocket-Version: 8\r\n"));
        assert_eq!((reply.status(), reply.header_value("Sec-WebSocket-Version")), (426, Some("13")));
        assert_eq!(refusal("GET /", &format!("{UP}{KEY}")).status(), 426);
        assert_eq!(refusal("POST /", &format!("{UP}{KEY}Sec-WebSocket-Version: 13\r\n")).status(), 405);
    }

    #[test]
    fn only_one_expectation_can_be_met() {
        assert_eq!(refusal("POST /nope", "Expect: something\r\n").status(), 417);
        assert_eq!(refusal("POST /nope", "Expect: 100-continue\r\n").status(), 404);
    }

    #[test]
    fn echoes_only_a_token_as_protocol() {
        let protocol = |value: &str| {
            websocket_protocol(&head("GET /", &format!("Sec-WebSocket-Protocol: {value}\r\n"))).map(str::to_owned)
        };
        assert_eq!(protocol("chat, other").as_deref(), Some("chat"));
        assert_eq!(protocol("a b"), None);
        assert_eq!(protocol(", b"), None);
    }

    #[test]
    fn probe_bodies_are_the_recorded_ones() {
        assert_eq!(text(&live()), r#"{"ok":true,"status":"live"}"#);
        assert_eq!(live().header_value("cache-control"), Some("no-store"));
        let cases = [
            (ready(&[], 5, Detail::Plain), 200, r#"{"ready":true}"#),
            (ready(&["whatsapp"], 5, Detail::Plain), 503, r#"{"ready":false}"#),
            (ready(&[], 5, Detail::Full), 200, r#"{"ready":true,"failing":[],"uptimeMs":5}"#),
            (ready(&["a\"b"], 5, Detail::Full), 503, r#"{"ready":false,"failing":["a\"b"],"uptimeMs":5}"#),
            (startup(None, "1", 5, Detail::Plain), 200, r#"{"ok":true,"status":"started"}"#),
            (startup(Some("x"), "1", 5, Detail::Plain), 503, r#"{"ok":false,"status":"starting"}"#),
            (startup(None, "1", 5, Detail::Full), 200, r#"{"ok":true,"status":"started","version":"1","uptimeMs":5}"#),
            (
                startup(Some("x"), "1", 5, Detail::Full),
                503,
                r#"{"ok":false,"status":"starting","version":"1","uptimeMs":5,"pendingReason":"x"}"#,
            ),
        ];
        for (reply, status, body) in &cases {
            assert_eq!((reply.status(), text(reply)), (*status, *body));
        }
    }

    #[test]
    fn work_during_a_restart_may_be_retried() {
        assert_eq!((unavailable().status(), unavailable().header_value("Retry-After")), (503, Some("1")));
        assert!(serde_json::from_slice::<Value>(unavailable().body_bytes()).is_ok());
        assert_eq!(text(&upgrade_unavailable()), "Service Unavailable");
    }
}
