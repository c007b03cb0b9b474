//! The interfaces for programs: which path is which, the method it takes, the largest body, the scope it needs
//! (http.md 2, 5.4). One table; whether a surface is switched on and who may use it is decided elsewhere.

pub mod admin;
pub mod chat;
pub mod embeddings;
pub mod fault;
pub mod fields;
pub mod messages;
pub mod models;
pub mod pictures;
pub mod responses;
pub mod strict;
pub mod tools;

use serde_json::Value;

use crate::http::head::Head;
use crate::http::reply::Reply;
use crate::limits;
use crate::protocol::table::Scope;
use crate::protocol::{check, lenient};

/// One interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// `/v1/models` and `/v1/models/{id}`.
    Models,
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/responses`.
    Responses,
    /// `/v1/embeddings`.
    Embeddings,
    /// `/tools/invoke`.
    Tools,
    /// `/api/v1/admin/rpc`.
    AdminRpc,
    /// `/metrics`.
    Metrics,
}

/// What the table says of one.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// Which.
    pub surface: Surface,
    /// Its path.
    pub path: &'static str,
    /// Whether paths below it are its own, too.
    pub below: bool,
    /// The one method.
    pub method: &'static str,
    /// Largest body, bytes.
    pub body: usize,
    /// What the caller must hold.
    pub scope: Scope,
}

const fn row(surface: Surface, path: &'static str, method: &'static str, body: usize, scope: Scope) -> Row {
    Row { surface, path, below: matches!(surface, Surface::Models), method, body, scope }
}

/// All of them.
pub const SURFACES: &[Row] = &[
    row(Surface::Models, "/v1/models", "GET", 0, Scope::Read),
    row(Surface::Chat, "/v1/chat/completions", "POST", limits::HTTP_BODY_BYTES as usize, Scope::Write),
    row(Surface::Responses, "/v1/responses", "POST", limits::HTTP_BODY_BYTES as usize, Scope::Write),
    row(Surface::Embeddings, "/v1/embeddings", "POST", limits::EMBEDDINGS_BODY_BYTES, Scope::Write),
    row(Surface::Tools, "/tools/invoke", "POST", limits::TOOLS_BODY_BYTES, Scope::Write),
    row(Surface::AdminRpc, "/api/v1/admin/rpc", "POST", limits::ADMIN_BODY_BYTES, Scope::Admin),
    row(Surface::Metrics, "/metrics", "GET", 0, Scope::Read),
];

/// The interface a path belongs to.
pub fn surface(path: &str) -> Option<&'static Row> {
    SURFACES.iter().find(|row| match path.strip_prefix(row.path) {
        Some("") => true,
        Some(rest) => row.below && rest.starts_with('/'),
        None => false,
    })
}

impl Row {
    /// Whether the request comes by the method the interface takes.
    pub fn takes(&self, head: &Head) -> bool {
        head.method() == self.method
    }

    /// The answer to another method.
    pub fn other_method(&self) -> Reply {
        match self.surface {
            Surface::AdminRpc => admin::other_method(),
            _ => Reply::method_not_allowed(self.method),
        }
    }

    /// The answer to a body that was refused, in this interface's words.
    pub fn body_refused(&self, reply: Reply) -> Reply {
        match (self.surface, reply.status()) {
            (Surface::AdminRpc, 413) => admin::body_refused(413, "Payload too large"),
            (Surface::AdminRpc, 408) => admin::body_refused(408, "Request body timeout"),
            _ => reply,
        }
    }
}

/// A body as JSON, or what is wrong with it; an empty one is an object without members (http.md 3).
pub fn object(body: &[u8]) -> Result<Value, String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(json!({}));
    }
    let text = std::str::from_utf8(body).map_err(|_| "the body is not UTF-8".to_string())?;
    if check::has_too_many_values(text) {
        return Err(format!("the body has more than {} values", limits::JSON_VALUES));
    }
    lenient::value(text).map_err(|error| error.to_string())
}

/// The answer to a request that says something wrong.
pub fn invalid(text: &str) -> Reply {
    Reply::error(400, text, "invalid_request_error")
}

/// The answer to a caller without the right secret (http.md 3): no challenge, and nothing about what was wrong.
pub fn unauthorized() -> Reply {
    Reply::error(401, "Unauthorized", "unauthorized")
}

/// The answer to a caller without the scope (http.md 5.4): another envelope than the other errors have.
pub fn missing_scope(scope: Scope) -> Reply {
    let name = scope.name();
    let body = json!({"ok": false, "error": {
        "type": "forbidden", "message": format!("missing scope: {name}"),
        "details": {"code": "MISSING_SCOPE", "missingScope": name, "requiredScopes": [name]},
    }});
    Reply::json(403, body.to_string())
}

/// The answer to an address with too many failed logins, even with the right secret (http.md 5.5).
pub fn locked_out(wait_ms: u64) -> Reply {
    Reply::error(429, "Too many failed authentication attempts. Please try again later.", "rate_limited")
        .header("Retry-After", wait_ms.div_ceil(1000).max(1).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_exact_but_for_what_stands_below_models() {
        let of = |path| surface(path).map(|row| row.surface);
        assert_eq!(of("/v1/models"), Some(Surface::Models));
        assert_eq!(of("/v1/models/"), Some(Surface::Models));
        assert_eq!(of("/v1/models/openclaw/main"), Some(Surface::Models));
        assert_eq!(of("/v1/modelsx"), None);
        assert_eq!(of("/v1/chat/completions"), Some(Surface::Chat));
        assert_eq!(of("/v1/chat/completions/"), None);
        assert_eq!(of("/tools/invoke/x"), None);
    }

    #[test]
    fn a_lockout_is_told_in_whole_seconds() {
        assert_eq!(locked_out(1).header_value("retry-after"), Some("1"));
        assert_eq!(locked_out(299_001).header_value("retry-after"), Some("300"));
    }

    #[test]
    fn a_missing_scope_is_named() {
        let reply = missing_scope(Scope::Write);
        assert_eq!(reply.status(), 403);
        assert!(std::str::from_utf8(reply.body_bytes()).unwrap().contains(r#""missingScope":"operator.write""#));
    }
}
