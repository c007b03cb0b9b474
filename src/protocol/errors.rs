//! The error codes of the wire and the one error shape that peers see.
//! Rows are never renumbered or reused. Knows nothing of where errors come from.

use serde_json::{Map, Value};

/// A wire error code (`spec/protocol.md` section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Bad parameters, unknown method, refused authentication, business refusals.
    InvalidRequest,
    /// A dependency is missing, a handler failed, or the gateway is stopping.
    Unavailable,
    /// Device identity or pairing is required.
    NotPaired,
    /// The channel that should carry the message is not linked.
    NotLinked,
    /// The agent run did not end in time.
    AgentTimeout,
    /// A scope is missing (protocol 4; protocol 3 says `INVALID_REQUEST`).
    Forbidden,
    /// The approval is unknown or expired.
    ApprovalNotFound,
}

/// One row of the error table.
#[derive(Debug, Clone, Copy)]
pub struct ErrorRow {
    /// The code.
    pub code: Code,
    /// Its name on the wire.
    pub name: &'static str,
    /// Whether trying again unchanged can help.
    pub retryable: bool,
    /// What it means, for the generated files.
    pub doc: &'static str,
}

/// The table, in the order of the generated files.
pub const ERRORS: &[ErrorRow] = &[
    ErrorRow {
        code: Code::InvalidRequest,
        name: "INVALID_REQUEST",
        retryable: false,
        doc: "The request is malformed, unknown or refused.",
    },
    ErrorRow {
        code: Code::Unavailable,
        name: "UNAVAILABLE",
        retryable: true,
        doc: "Something the request needs is not available now.",
    },
    ErrorRow {
        code: Code::NotPaired,
        name: "NOT_PAIRED",
        retryable: false,
        doc: "The device must identify itself or be approved first.",
    },
    ErrorRow {
        code: Code::NotLinked,
        name: "NOT_LINKED",
        retryable: false,
        doc: "The channel is not linked to an account.",
    },
    ErrorRow {
        code: Code::AgentTimeout,
        name: "AGENT_TIMEOUT",
        retryable: true,
        doc: "The agent run did not end in time.",
    },
    ErrorRow {
        code: Code::Forbidden,
        name: "FORBIDDEN",
        retryable: false,
        doc: "The connection lacks a scope (protocol 4).",
    },
    ErrorRow {
        code: Code::ApprovalNotFound,
        name: "APPROVAL_NOT_FOUND",
        retryable: false,
        doc: "The approval is unknown or has expired.",
    },
];

impl Code {
    /// The code's row.
    pub fn row(self) -> &'static ErrorRow {
        ERRORS.iter().find(|row| row.code == self).expect("every code has a row")
    }
}

/// An error as a peer sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct WireError {
    /// What a program branches on.
    pub code: Code,
    /// What a person reads.
    pub message: String,
    /// Machine-readable details, by situation.
    pub details: Option<Value>,
    /// Milliseconds after which a retry makes sense; also marks the error retryable.
    pub retry_after_ms: Option<u64>,
    /// Whether the same request may succeed later, where the code alone does not tell.
    pub retryable: Option<bool>,
}

impl WireError {
    /// An error without details.
    pub fn new(code: Code, message: impl Into<String>) -> WireError {
        WireError { code, message: message.into(), details: None, retry_after_ms: None, retryable: None }
    }

    /// `INVALID_REQUEST` with this text.
    pub fn invalid(message: impl Into<String>) -> WireError {
        WireError::new(Code::InvalidRequest, message)
    }

    /// `UNAVAILABLE` with this text.
    pub fn unavailable(message: impl Into<String>) -> WireError {
        WireError::new(Code::Unavailable, message)
    }

    /// The same error with details.
    pub fn with_details(mut self, details: Value) -> WireError {
        self.details = Some(details);
        self
    }

    /// The message for a log: without the part in which the validator repeats what the peer wrote.
    pub fn for_log(&self) -> &str {
        let repeats = self.message.starts_with("invalid ") || self.message.starts_with("unknown method");
        if repeats { self.message.split(':').next().unwrap_or_default() } else { &self.message }
    }

    /// The error object of a response frame: never a `null` member (strict v3 clients drop such frames).
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        map.insert("code".into(), self.code.row().name.into());
        map.insert("message".into(), self.message.as_str().into());
        if let Some(details) = &self.details {
            map.insert("details".into(), details.clone());
        }
        let retryable = self.retryable.or(self.retry_after_ms.map(|_| true));
        map.extend(retryable.map(|retryable| ("retryable".to_string(), retryable.into())));
        map.extend(self.retry_after_ms.map(|after| ("retryAfterMs".to_string(), after.into())));
        Value::Object(map)
    }
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_exactly_one_row() {
        use Code::*;
        let codes = [InvalidRequest, Unavailable, NotPaired, NotLinked, AgentTimeout, Forbidden, ApprovalNotFound];
        assert_eq!(codes.len(), ERRORS.len());
        for code in codes {
            assert_eq!(ERRORS.iter().filter(|row| row.code == code).count(), 1, "{code:?}");
            assert_eq!(code.row().code, code);
        }
    }

    #[test]
    fn an_error_has_no_null_members() {
        let bare = WireError::invalid("no").to_value();
        assert_eq!(bare, json!({"code": "INVALID_REQUEST", "message": "no"}));
    }

    #[test]
    fn a_delay_marks_the_error_retryable() {
        let error = WireError { retry_after_ms: Some(500), ..WireError::unavailable("soon") };
        assert_eq!(error.to_value()["retryable"], true);
        assert_eq!(error.to_value()["retryAfterMs"], 500);
    }
}
