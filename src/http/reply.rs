//! Fixed replies: status, headers and a whole body, written into one buffer. Knows nothing of routes; every reply of
//! the gateway gets its security headers here (http.md 3).

use std::borrow::Cow;
use std::io::Write;

use tiny_http::StatusCode;

use crate::http::head::{Head, HeadFault};
use crate::limits;
use crate::sys::date;

/// What a client that sent `Expect: 100-continue` waits for.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Sent with every answer: no sniffing, no referrer, no devices but the microphone for our own page (http.md 3).
const SECURITY: &[u8] = b"X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
Permissions-Policy: camera=(), microphone=(self), geolocation=()\r\n";

/// Content type of JSON answers.
pub const JSON: &str = "application/json; charset=utf-8";
/// Content type of text answers.
pub const TEXT: &str = "text/plain; charset=utf-8";
/// Content type of pages.
pub const HTML: &str = "text/html; charset=utf-8";

/// What the request and the moment say about the form of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// HEAD: headers only.
    pub head_only: bool,
    /// The connection may stay open.
    pub keep_alive: bool,
    /// 0 or 1.
    pub version_minor: u8,
    /// Text of the `Date` header, from [`DateText`]; empty leaves the header out.
    pub date: &'a str,
    /// Value of `Strict-Transport-Security` when the operator set one.
    pub hsts: Option<&'a str>,
}

impl<'a> Context<'a> {
    /// The context of a request.
    pub fn of(head: &Head, date: &'a str, hsts: Option<&'a str>) -> Context<'a> {
        Context {
            head_only: head.method() == "HEAD",
            keep_alive: head.keep_alive(),
            version_minor: head.version_minor(),
            date,
            hsts,
        }
    }

    /// The context when there is no whole request: the connection ends with the answer.
    pub fn closing(date: &'a str, hsts: Option<&'a str>) -> Context<'a> {
        Context { head_only: false, keep_alive: false, version_minor: 1, date, hsts }
    }
}

/// Whether the connection may carry another request after this answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Read the next request.
    Keep,
    /// Close after writing.
    Close,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, Cow<'static, str>)>,
    body: Cow<'static, [u8]>,
    close: bool,
}

impl Reply {
    /// An answer without body and headers of its own.
    pub fn new(status: u16) -> Reply {
        Reply { status, headers: Vec::new(), body: Cow::Borrowed(b""), close: false }
    }

    /// A JSON answer; `body` is already serialised.
    pub fn json(status: u16, body: impl Into<Cow<'static, str>>) -> Reply {
        Reply::new(status).body(JSON, into_bytes(body.into()))
    }

    /// A text answer without trailing newline.
    pub fn text(status: u16, body: impl Into<Cow<'static, str>>) -> Reply {
        Reply::new(status).body(TEXT, into_bytes(body.into()))
    }

    /// A text answer that says its own status, such as 404 `Not Found`.
    pub fn plain(status: u16) -> Reply {
        Reply::text(status, reason(status))
    }

    /// 404 `Not Found`.
    pub fn not_found() -> Reply {
        Reply::plain(404)
    }

    /// 405 `Method Not Allowed` with the methods that are.
    pub fn method_not_allowed(allow: &'static str) -> Reply {
        Reply::plain(405).header("Allow", allow)
    }

    /// 413 in the API's error shape, then close (http.md 3).
    pub fn too_large() -> Reply {
        Reply::error(413, "Payload too large", "invalid_request_error").closing()
    }

    /// 408 for a body that did not arrive in time, then close (http.md 3).
    pub fn body_timeout() -> Reply {
        Reply::error(408, "Request body timeout", "invalid_request_error").closing()
    }

    /// The error envelope of the OpenAI-style endpoints (http.md 3).
    pub fn error(status: u16, message: &str, kind: &str) -> Reply {
        let (message, kind) = (serde_json::Value::from(message), serde_json::Value::from(kind));
        Reply::json(status, format!("{{\"error\":{{\"message\":{message},\"type\":{kind}}}}}"))
    }

    /// The answer to a head that could not be read: what is wrong with it, in words that hold nothing of it.
    pub fn head_fault(fault: HeadFault) -> Reply {
        Reply::text(fault.status(), fault.to_string()).closing()
    }

    /// Adds a header; line ends in the value are dropped, so that no value can add another header.
    pub fn header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Reply {
        let value = value.into();
        let unsafe_char = |c: char| matches!(c, '\r' | '\n' | '\0');
        let value = if value.contains(unsafe_char) { value.replace(unsafe_char, "").into() } else { value };
        self.headers.push((name, value));
        self
    }

    /// Sets body and content type.
    pub fn body(mut self, content_type: &'static str, body: impl Into<Cow<'static, [u8]>>) -> Reply {
        self.body = body.into();
        self.header("Content-Type", content_type)
    }

    /// Forbids caches to keep the answer.
    pub fn no_store(self) -> Reply {
        self.header("Cache-Control", "no-store")
    }

    /// Ends the connection after this answer.
    pub fn closing(mut self) -> Reply {
        self.close = true;
        self
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The body's bytes.
    pub fn body_bytes(&self) -> &[u8] {
        &self.body
    }

    /// The value of one of its own headers.
    pub fn header_value(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_ref())
    }

    /// Appends the whole answer to `out`, for one write; says whether the connection may be kept.
    pub fn write_to(&self, out: &mut Vec<u8>, context: &Context<'_>) -> After {
        let after = if context.keep_alive && !self.close { After::Keep } else { After::Close };
        out.reserve(512 + self.body.len());
        write_status(out, self.status);
        write_security(out, context, self.headers.iter().any(|(name, _)| *name == "Permissions-Policy"));
        for (name, value) in &self.headers {
            write_header(out, name, value);
        }
        if bodiless(self.status) {
            write_tail(out, context, after);
            return after;
        }
        put(out, format_args!("Content-Length: {}\r\n", self.body.len()));
        write_tail(out, context, after);
        if !context.head_only {
            out.extend_from_slice(&self.body);
        }
        after
    }
}

/// The 101 that turns the connection into a WebSocket. `accept` is derived from the client's key; `protocol` is the
/// first one it offered (http.md 2).
pub fn write_switching(out: &mut Vec<u8>, accept: &str, protocol: Option<&str>) {
    write_status(out, 101);
    out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\n");
    write_header(out, "Sec-WebSocket-Accept", accept);
    if let Some(protocol) = protocol {
        write_header(out, "Sec-WebSocket-Protocol", protocol);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the start of a streamed answer's head: everything up to its own headers.
pub(super) fn write_start(out: &mut Vec<u8>, status: u16, context: &Context<'_>) {
    write_status(out, status);
    write_security(out, context, false);
}

/// Appends one header line.
pub(super) fn write_header(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends date, connection headers and the empty line.
pub(super) fn write_tail(out: &mut Vec<u8>, context: &Context<'_>, after: After) {
    if !context.date.is_empty() {
        write_header(out, "Date", context.date);
    }
    match after {
        After::Close => out.extend_from_slice(b"Connection: close\r\n"),
        After::Keep => {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
            put(out, format_args!("Keep-Alive: timeout={}\r\n", limits::HTTP_IDLE.as_secs()));
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn write_status(out: &mut Vec<u8>, status: u16) {
    put(out, format_args!("HTTP/1.1 {status} {}\r\n", reason(status)));
}

/// `own_policy`: the reply carries a permissions policy of its own, which replaces the common one.
fn write_security(out: &mut Vec<u8>, context: &Context<'_>, own_policy: bool) {
    let common = if own_policy { without_policy() } else { SECURITY };
    out.extend_from_slice(common);
    if let Some(value) = context.hsts {
        write_header(out, "Strict-Transport-Security", value);
    }
}

fn without_policy() -> &'static [u8] {
    let end = SECURITY.windows(19).position(|part| part == b"Permissions-Policy:").unwrap_or(SECURITY.len());
    SECURITY.get(..end).unwrap_or(SECURITY)
}

/// Statuses whose answers have no body and no length (RFC 9110, 6.4.1).
fn bodiless(status: u16) -> bool {
    status < 200 || status == 204 || status == 304
}

fn reason(status: u16) -> &'static str {
    StatusCode(status).default_reason_phrase()
}

fn into_bytes(text: Cow<'static, str>) -> Cow<'static, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

fn put(out: &mut Vec<u8>, piece: std::fmt::Arguments<'_>) {
    out.write_fmt(piece).expect("writing to a Vec cannot fail");
}

/// The text of the `Date` header, made anew once a second.
#[derive(Debug, Default)]
pub struct DateText {
    second: u64,
    text: String,
}

impl DateText {
    /// The text for the moment.
    pub fn at(&mut self, wall_ms: u64) -> &str {
        let second = wall_ms / 1000;
        if second != self.second || self.text.is_empty() {
            self.second = second;
            self.text = date::http(wall_ms);
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::HeadReader;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn context(head: &str) -> Context<'static> {
        let head = HeadReader::new().push(head.as_bytes()).unwrap().unwrap();
        Context::of(&head, DATE, None)
    }

    fn get() -> Context<'static> {
        context("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    }

    fn written(reply: &Reply, context: &Context<'_>) -> (String, After) {
        let mut out = Vec::new();
        let after = reply.write_to(&mut out, context);
        (String::from_utf8(out).unwrap(), after)
    }

    #[test]
    fn writes_the_headers_of_the_recorded_probe() {
        let reply = Reply::json(200, r#"{"ok":true,"status":"live"}"#).no_store();
        let (text, after) = written(&reply, &context("GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
             Permissions-Policy: camera=(), microphone=(self), geolocation=()\r\n\
             Content-Type: application/json; charset=utf-8\r\nCache-Control: no-store\r\nContent-Length: 27\r\n\
             Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\n\r\n{\"ok\":true,\"status\":\"live\"}"
        );
        assert_eq!(after, After::Close);
    }

    #[test]
    fn keeps_the_connection_and_says_how_long() {
        let (text, after) = written(&Reply::not_found(), &get());
        assert!(text.starts_with("HTTP/1.1 404 Not Found\r\n"));
        assert!(text.contains("\r\nConnection: keep-alive\r\nKeep-Alive: timeout=30\r\n\r\nNot Found"));
        assert_eq!(after, After::Keep);
    }

    #[test]
    fn head_gets_the_length_and_no_body() {
        let (text, _) = written(&Reply::text(200, "body"), &context("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(text.contains("\r\nContent-Length: 4\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    }

    #[test]
    fn statuses_without_body_carry_no_length() {
        for status in [204, 304] {
            let (text, _) = written(&Reply::new(status), &get());
            assert!(!text.contains("Content-Length") && text.ends_with("\r\n\r\n"), "{text}");
        }
    }

    #[test]
    fn a_closing_reply_closes_a_kept_connection() {
        for reply in [Reply::too_large(), Reply::body_timeout(), Reply::head_fault(HeadFault::TooLarge)] {
            let (text, after) = written(&reply, &get());
            assert!(text.contains("\r\nConnection: close\r\n"));
            assert_eq!(after, After::Close);
        }
        assert_eq!(Reply::too_large().body_bytes().len(), 72, "as recorded in [chat-large]");
    }

    #[test]
    fn an_old_client_keeps_only_when_it_asks() {
        assert_eq!(written(&Reply::plain(404), &context("GET / HTTP/1.0\r\n\r\n")).1, After::Close);
        let asked = context("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(written(&Reply::plain(404), &asked).1, After::Keep);
    }

    #[test]
    fn adds_hsts_when_set_and_lets_a_page_replace_the_policy() {
        let context = Context { hsts: Some("max-age=1"), ..get() };
        let (text, _) = written(&Reply::plain(200).header("Permissions-Policy", "camera=()"), &context);
        assert!(text.contains("\r\nStrict-Transport-Security: max-age=1\r\n"));
        assert_eq!(text.matches("Permissions-Policy").count(), 1);
        assert!(text.contains("\r\nPermissions-Policy: camera=()\r\n") && text.contains("Referrer-Policy"));
    }

    #[test]
    fn no_value_can_add_a_header() {
        let (text, _) = written(&Reply::new(302).header("Location", String::from("/a\r\nX: y")), &get());
        assert!(text.contains("\r\nLocation: /aX: y\r\n"));
    }

    #[test]
    fn error_messages_are_escaped() {
        let reply = Reply::error(400, "a \"quote\"", "kind");
        assert_eq!(reply.body_bytes(), br#"{"error":{"message":"a \"quote\"","type":"kind"}}"#);
    }

    #[test]
    fn says_which_methods_are_allowed() {
        let (text, _) = written(&Reply::method_not_allowed("GET, HEAD"), &get());
        assert!(text.starts_with("HTTP/1.1 405 Method Not Allowed\r\n") && text.contains("\r\nAllow: GET, HEAD\r\n"));
        assert!(text.ends_with("\r\n\r\nMethod Not Allowed"));
    }

    #[test]
    fn switching_echoes_the_protocol() {
        let mut out = Vec::new();
        write_switching(&mut out, "abc=", Some("chat"));
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: abc=\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
        );
    }

    #[test]
    fn date_text_changes_with_the_second() {
        let mut date = DateText::default();
        assert_eq!(date.at(784_111_777_999), DATE);
        assert_eq!(date.at(784_111_778_000), "Sun, 06 Nov 1994 08:49:38 GMT");
    }
}
