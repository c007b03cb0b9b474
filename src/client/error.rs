//! Everything that can go wrong between the command line and a gateway, with the texts of
//! `spec/cli.md` 2.4. Knows no socket; holds no secret.

use std::fmt;
use std::io;
use std::time::Duration;

use serde_json::Value;

/// An error frame of the gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Wire code (`INVALID_REQUEST`).
    pub code: String,
    /// Text for a person.
    pub message: String,
    /// Machine-readable details.
    pub details: Option<Value>,
    /// Whether the same call may work later.
    pub retryable: bool,
    /// When.
    pub retry_after_ms: Option<u64>,
}

impl Answer {
    /// Reads the `error` member of a response frame; what is missing stays empty.
    pub fn from_frame(error: &Value) -> Answer {
        let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
        let message = match text("message") {
            empty if empty.is_empty() => "gateway request failed".to_string(),
            message => message,
        };
        Answer {
            code: text("code"),
            message,
            details: error.get("details").filter(|details| !details.is_null()).cloned(),
            retryable: error.get("retryable").and_then(Value::as_bool).unwrap_or(false),
            retry_after_ms: error.get("retryAfterMs").and_then(Value::as_u64),
        }
    }

    /// `details.code`, the finer code that both protocols may carry.
    pub fn detail_code(&self) -> &str {
        self.details.as_ref().and_then(|details| details.get("code")).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum ClientError {
    /// The address cannot be used.
    Url {
        /// The address as given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The address needs TLS, which this build has not.
    TlsMissing {
        /// The address as given.
        url: String,
    },
    /// No TCP connection.
    Unreachable {
        /// Host and port that were tried.
        address: String,
        /// The cause.
        source: io::Error,
    },
    /// The deadline passed.
    Timeout {
        /// The whole time that was given.
        after: Duration,
    },
    /// The gateway closed the connection.
    Closed {
        /// Close code; 1006 without a close frame.
        code: u16,
        /// Close reason, maybe empty.
        reason: String,
    },
    /// Something else listens there.
    NotGateway(String),
    /// The gateway refused `connect`.
    Refused(Answer),
    /// The gateway answered a request with an error.
    Request(Answer),
    /// A frame that no gateway should send.
    Garbage(&'static str),
    /// The device identity of this machine cannot be used.
    Identity(String),
}

impl ClientError {
    /// The error frame, if the gateway sent one.
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            ClientError::Refused(answer) | ClientError::Request(answer) => Some(answer),
            _ => None,
        }
    }

    /// The name of the system error (`ECONNREFUSED`), if nothing listens or the way there is broken.
    pub fn errno(&self) -> Option<&'static str> {
        match self {
            ClientError::Unreachable { source, .. } => Some(errno_name(source)),
            _ => None,
        }
    }

    /// Close code and reason, if the gateway closed.
    pub fn close(&self) -> Option<(u16, &str)> {
        match self {
            ClientError::Closed { code, reason } => Some((*code, reason)),
            _ => None,
        }
    }

    /// Whether the gateway wants this device to be approved first.
    pub fn pairing_required(&self) -> bool {
        match self {
            ClientError::Refused(answer) => {
                answer.code == "NOT_PAIRED" && answer.message.starts_with("pairing required")
                    || answer.detail_code() == "PAIRING_REQUIRED"
            }
            ClientError::Closed { reason, .. } => reason.starts_with("pairing required"),
            _ => false,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Url { url, why } => write!(f, "gateway url \"{url}\" {why}"),
            ClientError::TlsMissing { url } => {
                write!(f, "gateway url \"{url}\" needs TLS, which this build does not have")
            }
            ClientError::Unreachable { address, source } => write!(f, "connect {} {address}", errno_name(source)),
            ClientError::Timeout { after } => write!(f, "gateway timeout after {}ms", after.as_millis()),
            ClientError::Closed { code, reason } => {
                let hint = close_hint(*code);
                let reason = if reason.is_empty() { "no close reason" } else { reason };
                write!(f, "gateway closed ({code}{hint}): {reason}")
            }
            ClientError::NotGateway(what) => write!(f, "not a gateway: {what}"),
            ClientError::Refused(answer) | ClientError::Request(answer) => f.write_str(&answer.message),
            ClientError::Garbage(what) => write!(f, "unreadable answer from the gateway: {what}"),
            ClientError::Identity(what) => write!(f, "device identity: {what}"),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ClientError::Unreachable { source, .. } => Some(source),
            _ => None,
        }
    }
}

fn close_hint(code: u16) -> &'static str {
    match code {
        1000 => " normal closure",
        1006 => " abnormal closure (no close frame)",
        1012 => " service restart",
        _ => "",
    }
}

/// The POSIX name of a connect error, as scripts know it from the original.
fn errno_name(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "ECONNREFUSED",
        io::ErrorKind::ConnectionReset => "ECONNRESET",
        io::ErrorKind::ConnectionAborted => "ECONNABORTED",
        io::ErrorKind::HostUnreachable => "EHOSTUNREACH",
        io::ErrorKind::NetworkUnreachable => "ENETUNREACH",
        io::ErrorKind::AddrNotAvailable => "EADDRNOTAVAIL",
        io::ErrorKind::PermissionDenied => "EACCES",
        io::ErrorKind::TimedOut => "ETIMEDOUT",
        io::ErrorKind::NotFound => "ENOTFOUND",
        _ => "EIO",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closes_and_refusals_read_like_the_originals() {
        let closed = ClientError::Closed { code: 1006, reason: String::new() };
        assert_eq!(closed.to_string(), "gateway closed (1006 abnormal closure (no close frame)): no close reason");
        let closed = ClientError::Closed { code: 1008, reason: "unauthorized: gateway token mismatch (x)".into() };
        assert_eq!(closed.to_string(), "gateway closed (1008): unauthorized: gateway token mismatch (x)");
        let source = io::Error::from(io::ErrorKind::ConnectionRefused);
        let down = ClientError::Unreachable { address: "127.0.0.1:18789".into(), source };
        assert_eq!(down.to_string(), "connect ECONNREFUSED 127.0.0.1:18789");
        let late = ClientError::Timeout { after: Duration::from_millis(1500) };
        assert_eq!(late.to_string(), "gateway timeout after 1500ms");
    }

    #[test]
    fn an_error_frame_without_members_still_has_a_message() {
        let answer = Answer::from_frame(&Value::Null);
        assert_eq!(answer.message, "gateway request failed");
        assert_eq!(answer.detail_code(), "");
    }
}
