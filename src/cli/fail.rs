//! The one error of the command line: what a person reads, what a program branches on, how it exits.
//! Knows no socket and no file; `rpc` and the commands turn their errors into this.

use serde_json::{Map, Value};

/// What went wrong, as far as exit status and the JSON error type depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The command line itself.
    Usage,
    /// The combination of `--profile` and `--dev`.
    Profile,
    /// The config file, or what it lacks.
    Config,
    /// No credentials for a target that needs some.
    Credentials,
    /// The gateway could not be reached, or the connection broke.
    Transport,
    /// The gateway answered with an error.
    Request,
    /// Anything else.
    Other,
    /// A result that is negative but already printed.
    Negative,
    /// Standard output was closed by its reader: not a failure.
    BrokenPipe,
}

/// An error on its way to the person.
#[derive(Debug, Clone)]
pub struct CliError {
    /// Decides exit status and JSON type.
    pub kind: Kind,
    /// The message; may have several lines.
    pub message: String,
    /// Lines after it: what to type next.
    pub hints: Vec<String>,
    /// What only programs read; boxed because errors travel through every return value.
    pub wire: Box<Wire>,
}

/// The machine-readable part of an error.
#[derive(Debug, Clone, Default)]
pub struct Wire {
    /// Wire error code, for [`Kind::Request`].
    pub code: Option<String>,
    /// Details of the gateway's error.
    pub details: Option<Value>,
    /// The target, for errors of the connection.
    pub target: Option<Value>,
    /// The bare cause of a transport error.
    pub reason: Option<String>,
    /// The turn that was asked for: its outcome can be asked for again.
    pub run_id: Option<String>,
    /// Whether the same call may work later.
    pub retryable: bool,
    /// Whether the gateway refused to start because of its configuration: exit 78 instead of 1.
    pub refused_start: bool,
}

impl CliError {
    /// An error of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> CliError {
        CliError { kind, message: message.into(), hints: Vec::new(), wire: Box::default() }
    }

    /// An error of no special kind.
    pub fn other(message: impl Into<String>) -> CliError {
        CliError::new(Kind::Other, message)
    }

    /// A wrong command line.
    pub fn usage(message: impl Into<String>) -> CliError {
        CliError::new(Kind::Usage, message)
    }

    /// The exit status 1 of a command that already said why.
    pub fn negative() -> CliError {
        CliError::new(Kind::Negative, "")
    }

    /// The same error with one more line.
    pub fn hint(mut self, line: impl Into<String>) -> CliError {
        self.hints.push(line.into());
        self
    }

    /// Message and hints, as standard error shows them.
    pub fn lines(&self) -> String {
        let mut all = self.message.clone();
        for hint in &self.hints {
            all.push('\n');
            all.push_str(hint);
        }
        all
    }

    /// The error document that `--json` prints (`spec/cli.md` 1.4).
    pub fn to_json(&self) -> Value {
        let mut error = Map::new();
        error.insert("type".into(), type_name(self.kind).into());
        if let Some(code) = &self.wire.code {
            error.insert("code".into(), code.as_str().into());
        }
        error.insert("message".into(), self.message.as_str().into());
        if let Some(details) = &self.wire.details {
            error.insert("details".into(), details.clone());
        }
        if let Some(reason) = &self.wire.reason {
            error.insert("reason".into(), reason.as_str().into());
        }
        if self.kind == Kind::Request {
            error.insert("retryable".into(), self.wire.retryable.into());
        }
        let mut document = json!({ "ok": false, "error": error });
        if let (Some(target), Value::Object(members)) = (&self.wire.target, &mut document) {
            members.insert("gateway".into(), target.clone());
        }
        if let (Some(run_id), Value::Object(members)) = (&self.wire.run_id, &mut document) {
            members.insert("runId".into(), run_id.as_str().into());
            members.insert("origin".into(), "gateway".into());
            members.insert("hints".into(), self.hints.as_slice().into());
        }
        document
    }
}

fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Credentials => "gateway_credentials_required",
        Kind::Transport => "gateway_transport_error",
        Kind::Request => "gateway_request_error",
        _ => "cli_error",
    }
}

/// The exit status of an error: the only place that decides it (`spec/cli.md` 26).
pub fn exit_code(error: &CliError) -> u8 {
    match error.kind {
        Kind::BrokenPipe => 0,
        Kind::Profile => 2,
        Kind::Config if error.wire.refused_start => 78,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_status_follows_the_kind() {
        assert_eq!(exit_code(&CliError::usage("x")), 1);
        assert_eq!(exit_code(&CliError::new(Kind::Profile, "x")), 2);
        assert_eq!(exit_code(&CliError::new(Kind::BrokenPipe, "x")), 0);
        let mut refused = CliError::new(Kind::Config, "x");
        refused.wire.refused_start = true;
        assert_eq!(exit_code(&refused), 78);
    }

    #[test]
    fn json_errors_carry_type_and_code() {
        let mut error = CliError::new(Kind::Request, "no");
        error.wire.code = Some("INVALID_REQUEST".into());
        assert_eq!(
            error.to_json(),
            json!({"ok": false, "error": {"type": "gateway_request_error", "code": "INVALID_REQUEST",
                   "message": "no", "retryable": false}})
        );
    }
}
