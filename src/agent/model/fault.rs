//! From what a provider says to a typed error: statuses, error objects, texts (agent.md 22). Owns the mapping tables
//! and keeps secrets out of what people read.

use std::time::Duration;

use serde_json::Value;

use super::{ErrorKind, ModelError};
use crate::agent::http::HttpError;
use crate::config::Secret;
use crate::limits;
use crate::sys::redact::redact;

/// Pieces of provider texts, in lower case, and what they mean; the first that is found counts.
const TEXTS: [(&str, ErrorKind); 31] = [
    ("context_length", ErrorKind::ContextOverflow),
    ("context length", ErrorKind::ContextOverflow),
    ("context window", ErrorKind::ContextOverflow),
    ("context size", ErrorKind::ContextOverflow),
    ("maximum context", ErrorKind::ContextOverflow),
    ("prompt is too long", ErrorKind::ContextOverflow),
    ("prompt too long", ErrorKind::ContextOverflow),
    ("input is too long", ErrorKind::ContextOverflow),
    ("too many tokens", ErrorKind::ContextOverflow),
    ("exceed_context", ErrorKind::ContextOverflow),
    ("insufficient credit", ErrorKind::Billing),
    ("insufficient_quota", ErrorKind::Billing),
    ("insufficient quota", ErrorKind::Billing),
    ("insufficient balance", ErrorKind::Billing),
    ("credit balance", ErrorKind::Billing),
    ("billing", ErrorKind::Billing),
    ("payment required", ErrorKind::Billing),
    ("rate_limit", ErrorKind::RateLimit),
    ("rate limit", ErrorKind::RateLimit),
    ("too many requests", ErrorKind::RateLimit),
    ("overloaded", ErrorKind::Overloaded),
    ("unauthorized", ErrorKind::Auth),
    ("authentication", ErrorKind::Auth),
    ("invalid_api_key", ErrorKind::Auth),
    ("invalid api key", ErrorKind::Auth),
    ("permission_error", ErrorKind::Auth),
    ("model_not_found", ErrorKind::NotFound),
    ("not_found_error", ErrorKind::NotFound),
    ("invalid model", ErrorKind::NotFound),
    ("timed out", ErrorKind::Timeout),
    ("invalid_request", ErrorKind::Format),
];

impl ModelError {
    /// An error of that kind; the text is bounded and cleaned of everything that looks like a secret.
    pub fn new(kind: ErrorKind, message: impl AsRef<str>) -> ModelError {
        ModelError { kind, message: clean(message.as_ref(), None), status: None, retry_after: None, streamed: false }
    }

    /// An answer that is not what the wire form promises.
    pub(super) fn protocol(provider: &str, what: impl std::fmt::Display) -> ModelError {
        ModelError::new(ErrorKind::Protocol, format!("{provider} gave an answer that cannot be used: {what}"))
    }

    /// A connection that failed.
    pub(super) fn transport(provider: &str, fault: &HttpError) -> ModelError {
        let kind = match fault {
            HttpError::BadUrl(_) | HttpError::BadHeader(_) | HttpError::NoTls(_) | HttpError::Trust(_) => {
                ErrorKind::NotConfigured
            }
            HttpError::Timeout(..) => ErrorKind::Timeout,
            HttpError::Malformed(..) | HttpError::LargeHead(_) | HttpError::TooLarge(_) => ErrorKind::Protocol,
            HttpError::Stopped(_) => ErrorKind::Aborted,
            HttpError::Lookup(_)
            | HttpError::Private(_)
            | HttpError::Connect(..)
            | HttpError::Tls(..)
            | HttpError::Proxy(_)
            | HttpError::Cut(..) => ErrorKind::Network,
        };
        ModelError::new(kind, format!("{provider}: {fault}"))
    }

    /// An answer whose status is no success.
    pub(super) fn status(
        provider: &str,
        status: u16,
        retry_after: Option<Duration>,
        body: &[u8],
        key: Option<&Secret>,
    ) -> ModelError {
        let text = String::from_utf8_lossy(body);
        // LiteLLM reports failures of a stream's start as an event
        let text = text.trim_start().strip_prefix("data:").and_then(|text| text.lines().next()).unwrap_or(&text);
        let said = serde_json::from_str(text).ok().and_then(|value: Value| said(&value));
        let plain = if text.trim_start().starts_with('<') { String::new() } else { text.trim().to_string() };
        let said = said.unwrap_or(plain);
        let separator = if said.is_empty() { "" } else { ": " };
        let message = clean(&format!("{provider} answered {status}{separator}{said}"), key);
        ModelError { kind: kind_of(status, text), message, status: Some(status), retry_after, streamed: false }
    }

    /// An error object inside an answer that began as a success.
    pub(super) fn inside(provider: &str, error: &Value, key: Option<&Secret>) -> ModelError {
        let number = |name| error.get(name).and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        let status = ["status", "code"].into_iter().find_map(number).filter(|code| (400..600).contains(code));
        let whole = error.to_string();
        let said = said(error).unwrap_or_else(|| whole.clone());
        let kind = status.map_or_else(|| by_text(&whole).unwrap_or(ErrorKind::Server), |code| kind_of(code, &whole));
        let message = clean(&format!("{provider} broke off with an error: {said}"), key);
        ModelError { kind, message, status, retry_after: None, streamed: false }
    }
}

/// The kind of a status, with the text where the status alone says too little.
fn kind_of(status: u16, text: &str) -> ErrorKind {
    let told = by_text(text);
    match status {
        401 | 403 => ErrorKind::Auth,
        402 => ErrorKind::Billing,
        // an exhausted account also answers 429, and no waiting helps
        429 if told == Some(ErrorKind::Billing) => ErrorKind::Billing,
        429 => ErrorKind::RateLimit,
        404 => ErrorKind::NotFound,
        408 | 504 => ErrorKind::Timeout,
        413 | 400 | 422 => match told {
            Some(ErrorKind::ContextOverflow) => ErrorKind::ContextOverflow,
            Some(ErrorKind::Billing) => ErrorKind::Billing,
            Some(ErrorKind::NotFound) => ErrorKind::NotFound,
            _ => ErrorKind::Format,
        },
        503 | 529 => ErrorKind::Overloaded,
        // small servers answer 500 for a prompt that is too long
        500..600 if told == Some(ErrorKind::ContextOverflow) => ErrorKind::ContextOverflow,
        409 | 500..600 => ErrorKind::Server,
        _ => ErrorKind::Format,
    }
}

/// What a provider's text means, if it says anything known.
pub(super) fn by_text(text: &str) -> Option<ErrorKind> {
    let text = text.to_lowercase();
    TEXTS.iter().find(|(piece, _)| text.contains(piece)).map(|(_, kind)| *kind)
}

/// The sentence in an error answer: `error.message`, `error`, `message`, `detail`.
fn said(value: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().map(str::trim).filter(|text| !text.is_empty()).map(String::from);
    if let Value::Array(list) = value {
        return said(list.first().filter(|first| !first.is_array())?);
    }
    let error = value.get("error").unwrap_or(value);
    let inner = ["message", "detail", "error"].into_iter().find_map(|name| error.get(name).and_then(text));
    inner.or_else(|| text(error)).or_else(|| value.get("message").and_then(text))
}

/// A text for people: one line, bounded, without the key and without anything that looks like a secret.
pub(super) fn clean(text: &str, key: Option<&Secret>) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    let mut line = line.join(" ");
    if let Some(key) = key.filter(|key| key.expose().len() >= 4) {
        line = line.replace(key.expose(), "***");
    }
    let line = redact(&line);
    if line.chars().count() <= limits::MODEL_ERROR_CHARS {
        return line.into_owned();
    }
    line.chars().take(limits::MODEL_ERROR_CHARS).chain(std::iter::once('…')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, body: &str) -> ModelError {
        ModelError::status("p", status, None, body.as_bytes(), Some(&Secret::new("canary-key")))
    }

    #[test]
    fn statuses_have_their_kinds() {
        for (code, body, kind) in [
            (401, r#"{"error":{"message":"bad key"}}"#, ErrorKind::Auth),
            (403, "", ErrorKind::Auth),
            (402, "", ErrorKind::Billing),
            (429, r#"{"error":{"message":"slow down"}}"#, ErrorKind::RateLimit),
            (429, r#"{"error":{"code":"insufficient_quota"}}"#, ErrorKind::Billing),
            (404, r#"{"error":"model 'x' not found"}"#, ErrorKind::NotFound),
            (408, "", ErrorKind::Timeout),
            (400, r#"{"error":{"message":"This model's maximum context length is 8192"}}"#, ErrorKind::ContextOverflow),
            (400, r#"{"error":{"message":"prompt is too long: 210000 tokens"}}"#, ErrorKind::ContextOverflow),
            (400, r#"{"message":"nonsense"}"#, ErrorKind::Format),
            (400, r#"{"error":"Invalid model name passed in"}"#, ErrorKind::NotFound),
            (500, "oops", ErrorKind::Server),
            (500, r#"{"error":"the request exceeds the available context size"}"#, ErrorKind::ContextOverflow),
            (503, "", ErrorKind::Overloaded),
            (529, "", ErrorKind::Overloaded),
            (307, "", ErrorKind::Format),
        ] {
            let error = status(code, body);
            assert_eq!((error.kind, error.status), (kind, Some(code)), "{code} {body}");
        }
    }

    #[test]
    fn the_providers_sentence_is_kept_and_nothing_else() {
        assert_eq!(status(401, r#"{"error":{"message":"bad key","type":"x"}}"#).message, "p answered 401: bad key");
        assert_eq!(status(400, r#"{"detail":"no"}"#).message, "p answered 400: no");
        assert_eq!(status(500, r#"[{"error":{"message":"inside a list"}}]"#).message, "p answered 500: inside a list");
        assert_eq!(status(500, "data: {\"error\":{\"message\":\"x\"}}\n\ndata: [DONE]\n").message, "p answered 500: x");
        assert_eq!(status(502, "<html><body>Bad gateway</body></html>").message, "p answered 502");
        assert_eq!(status(500, "  plain\n text ").message, "p answered 500: plain text");
    }

    #[test]
    fn keys_and_long_texts_do_not_get_through() {
        let error = status(401, r#"{"error":{"message":"key canary-key or sk-proj-abcdefghijklmn is wrong"}}"#);
        assert!(!error.message.contains("canary") && !error.message.contains("abcdefgh"), "{}", error.message);
        assert!(status(500, &"x".repeat(60_000)).message.chars().count() <= limits::MODEL_ERROR_CHARS + 1);
    }

    #[test]
    fn errors_inside_an_answer_are_told_apart() {
        let kind = |value: Value| ModelError::inside("p", &value, None).kind;
        assert_eq!(kind(json!({"type":"overloaded_error","message":"Overloaded"})), ErrorKind::Overloaded);
        assert_eq!(kind(json!({"code":429,"message":"x"})), ErrorKind::RateLimit);
        assert_eq!(kind(json!("out of memory")), ErrorKind::Server);
        assert_eq!(kind(json!({"type":"authentication_error"})), ErrorKind::Auth);
        assert_eq!(ModelError::inside("p", &json!("boom"), None).message, "p broke off with an error: boom");
    }
}
