//! Why a run gave no answer, in the words of the OpenAI-style interfaces (http.md 6.6): the provider's own status where
//! there is one, a type programs know, and a text. One table for `/v1/chat/completions` and `/v1/responses`.

use super::runs::Failed;
use crate::agent::control::AbortReason;
use crate::agent::model::ErrorKind;
use crate::agent::run::Cause;
use crate::http::api::fault::Fault;
use crate::protocol::errors::Code;

/// What programs are told of a kind of failure.
struct Told {
    /// Where the provider gave no status.
    status: u16,
    kind: &'static str,
    /// In place of the provider's own text, which says nothing to a program's user.
    text: Option<&'static str>,
}

const fn told(status: u16, kind: &'static str, text: Option<&'static str>) -> Told {
    Told { status, kind, text }
}

const fn of_model(kind: ErrorKind) -> Told {
    match kind {
        ErrorKind::Auth => told(401, "authentication_error", None),
        ErrorKind::Billing => told(402, "insufficient_quota", None),
        ErrorKind::RateLimit => told(429, "rate_limit_error", None),
        ErrorKind::Format | ErrorKind::ContextOverflow => told(400, "invalid_request_error", None),
        ErrorKind::NotFound => told(404, "invalid_request_error", None),
        ErrorKind::Overloaded => told(503, "api_error", Some("upstream provider overloaded")),
        ErrorKind::Server => told(502, "api_error", Some("upstream provider error")),
        ErrorKind::Timeout => told(504, "api_error", Some("upstream provider timeout")),
        ErrorKind::Network | ErrorKind::Protocol => told(502, "api_error", None),
        ErrorKind::NotConfigured | ErrorKind::Aborted => told(500, "api_error", None),
    }
}

/// What a program is told of a model's failure.
pub fn of_error(kind: ErrorKind, status: Option<u16>, text: &str, wait: Option<u64>) -> Fault {
    let told = of_model(kind);
    let own = status.filter(|status| (400..600).contains(status));
    // A key that is known and not allowed to do this.
    let kind = if own == Some(403) { "permission_error" } else { told.kind };
    Fault { retry_after: wait, ..Fault::new(own.unwrap_or(told.status), kind, told.text.unwrap_or(text)) }
}

/// What a program is told of a run that failed.
pub fn fault(failed: &Failed) -> Fault {
    let text = failed.error.message.as_str();
    let wait = failed.error.retry_after_ms.map(|ms| ms.div_ceil(1000));
    match failed.cause {
        Some(Cause::Model(kind)) => of_error(kind, failed.status, text, wait),
        Some(Cause::Stopped(AbortReason::Timeout)) => Fault::new(504, "api_error", text),
        Some(Cause::Stopped(AbortReason::Shutdown)) => Fault::unavailable(text, 1),
        Some(Cause::Stopped(_)) => Fault::new(500, "api_error", text),
        Some(Cause::Storage | Cause::Internal) => Fault::new(500, "api_error", "internal error"),
        None if failed.error.code == Code::InvalidRequest => Fault::new(400, "invalid_request_error", text),
        None if failed.error.code == Code::AgentTimeout => Fault::new(504, "api_error", text),
        None => Fault::unavailable(text, wait.unwrap_or(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::errors::WireError;

    fn of(cause: Option<Cause>, status: Option<u16>, error: WireError) -> (u16, &'static str, String) {
        let fault = fault(&Failed { cause, status, error });
        (fault.status, fault.kind, fault.message)
    }

    fn model(kind: ErrorKind, status: Option<u16>) -> (u16, &'static str, String) {
        of(Some(Cause::Model(kind)), status, WireError::unavailable("up answered: no"))
    }

    #[test]
    fn a_providers_refusal_keeps_its_status_and_text() {
        let own = |status, kind| (status, kind, "up answered: no".to_string());
        for (kind, status, told) in [
            (ErrorKind::Format, Some(400), own(400, "invalid_request_error")),
            (ErrorKind::Format, Some(422), own(422, "invalid_request_error")),
            (ErrorKind::ContextOverflow, None, own(400, "invalid_request_error")),
            (ErrorKind::NotFound, Some(404), own(404, "invalid_request_error")),
            (ErrorKind::Auth, Some(401), own(401, "authentication_error")),
            (ErrorKind::Auth, Some(403), own(403, "permission_error")),
            (ErrorKind::Billing, Some(402), own(402, "insufficient_quota")),
            (ErrorKind::RateLimit, Some(429), own(429, "rate_limit_error")),
            (ErrorKind::RateLimit, None, own(429, "rate_limit_error")),
            (ErrorKind::Network, None, own(502, "api_error")),
            (ErrorKind::Protocol, Some(200), own(502, "api_error")),
            (ErrorKind::NotConfigured, None, own(500, "api_error")),
        ] {
            assert_eq!(model(kind, status), told, "{kind:?}");
        }
    }

    #[test]
    fn troubles_of_a_provider_have_fixed_texts() {
        let text = |kind, status| model(kind, status);
        assert_eq!(text(ErrorKind::Server, None), (502, "api_error", "upstream provider error".into()));
        assert_eq!(text(ErrorKind::Server, Some(500)), (500, "api_error", "upstream provider error".into()));
        assert_eq!(text(ErrorKind::Timeout, None), (504, "api_error", "upstream provider timeout".into()));
        assert_eq!(text(ErrorKind::Overloaded, Some(529)), (529, "api_error", "upstream provider overloaded".into()));
    }

    #[test]
    fn what_the_gateway_itself_refuses_or_stops_is_told_apart() {
        let stopped = |reason| of(Some(Cause::Stopped(reason)), None, WireError::unavailable("why"));
        assert_eq!(stopped(AbortReason::Timeout), (504, "api_error", "why".into()));
        assert_eq!(stopped(AbortReason::Shutdown).0, 503);
        assert_eq!(stopped(AbortReason::Rpc), (500, "api_error", "why".into()));
        let storage = of(Some(Cause::Storage), None, WireError::unavailable("cannot write /home/x"));
        assert_eq!(storage, (500, "api_error", "internal error".into()));
        assert_eq!(of(None, None, WireError::invalid("no")), (400, "invalid_request_error", "no".into()));
        let late = WireError::new(Code::AgentTimeout, "late");
        assert_eq!(of(None, None, late), (504, "api_error", "late".into()));
        let busy = WireError { retry_after_ms: Some(4500), ..WireError::unavailable("busy") };
        let told = fault(&Failed { cause: None, status: None, error: busy });
        assert_eq!((told.status, told.kind, told.retry_after), (503, "service_unavailable", Some(5)));
    }
}
