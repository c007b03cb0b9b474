//! Request heads, read incrementally from bytes as they come (sans I/O). Strict where two parsers could disagree about
//! where a request ends. Knows nothing of routes and sockets; deadlines are the caller's.

use std::fmt;
use std::ops::Range;

use crate::limits;

/// Digits of a `Content-Length`: more could overflow, and no body of ours is near it.
const LENGTH_DIGITS: usize = 18;
/// Methods with a meaning anywhere in HTTP; all others are not implemented.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"];

/// Collects bytes until a whole head is there; one per connection, used for all its requests.
#[derive(Debug, Default)]
pub struct HeadReader {
    buf: Vec<u8>,
    scanned: usize,
    line_start: usize,
    blank_lines: u32,
}

impl HeadReader {
    /// A reader with nothing in it.
    pub fn new() -> HeadReader {
        HeadReader::default()
    }

    /// Adds bytes from the peer; a head as soon as one is complete. With pipelined requests call again with no bytes
    /// after each answer. After a fault the connection must be closed.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Head>, HeadFault> {
        self.buf.extend_from_slice(bytes);
        self.skip_blank_lines()?;
        if self.buf.first().is_some_and(|byte| !is_token(*byte) && *byte != b'\r') {
            return Err(HeadFault::Malformed("request line does not start with a method"));
        }
        let Some(end) = self.find_end()? else {
            return if self.buf.len() >= limits::HTTP_HEAD_BYTES { Err(HeadFault::TooLarge) } else { Ok(None) };
        };
        if end > limits::HTTP_HEAD_BYTES {
            return Err(HeadFault::TooLarge);
        }
        let head: Vec<u8> = self.buf.drain(..end).collect();
        (self.scanned, self.line_start, self.blank_lines) = (0, 0, 0);
        parse(text(head)).map(Some)
    }

    /// Whether part of a head has arrived: from here its deadline runs.
    pub fn started(&self) -> bool {
        !self.buf.is_empty()
    }

    /// Bytes after the last head: the request's body, the next request or the first WebSocket frame.
    pub fn rest(&self) -> &[u8] {
        &self.buf
    }

    /// Drops the first `count` bytes of [`HeadReader::rest`], because a body reader took them.
    pub fn consume(&mut self, count: usize) {
        self.buf.drain(..count.min(self.buf.len()));
        (self.scanned, self.line_start) = (0, 0);
    }

    /// Puts bytes behind the rest that belong to the next request.
    pub fn give_back(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// Takes [`HeadReader::rest`] away, for example to hand it to the WebSocket reader.
    pub fn take_rest(&mut self) -> Vec<u8> {
        (self.scanned, self.line_start, self.blank_lines) = (0, 0, 0);
        std::mem::take(&mut self.buf)
    }

    fn skip_blank_lines(&mut self) -> Result<(), HeadFault> {
        while self.scanned <= 1 && self.buf.starts_with(b"\r\n") {
            self.buf.drain(..2);
            (self.scanned, self.line_start) = (0, 0);
            self.blank_lines += 1;
            if self.blank_lines > limits::HTTP_BLANK_LINES {
                return Err(HeadFault::Malformed("too many empty lines before the request line"));
            }
        }
        Ok(())
    }

    /// Position after the empty line that ends the head. Every byte is looked at once, however small the pieces are.
    fn find_end(&mut self) -> Result<Option<usize>, HeadFault> {
        let mut rest = self.buf.get(self.scanned..).unwrap_or_default();
        while let Some(offset) = rest.iter().position(|byte| *byte == b'\n') {
            let at = self.scanned + offset;
            let line = self.buf.get(self.line_start..at).unwrap_or_default();
            if line.last() != Some(&b'\r') {
                return Err(HeadFault::Malformed("line feed without carriage return"));
            }
            self.scanned = at + 1;
            self.line_start = at + 1;
            if line.len() == 1 {
                return Ok(Some(at + 1));
            }
            rest = self.buf.get(self.scanned..).unwrap_or_default();
        }
        self.scanned = self.buf.len();
        Ok(None)
    }
}

/// Why a head was refused; the connection is closed after the answer, because its framing is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadFault {
    /// More bytes than `limits::HTTP_HEAD_BYTES`.
    TooLarge,
    /// More headers than `limits::HTTP_HEADERS`.
    TooManyHeaders,
    /// Against the grammar, or ambiguous.
    Malformed(&'static str),
    /// A method that HTTP does not define.
    UnknownMethod,
    /// Another version than 1.0 and 1.1.
    Version,
}

impl HeadFault {
    /// The status to answer with.
    pub fn status(self) -> u16 {
        match self {
            HeadFault::TooLarge | HeadFault::TooManyHeaders => 431,
            HeadFault::Malformed(_) => 400,
            HeadFault::UnknownMethod => 501,
            HeadFault::Version => 505,
        }
    }
}

impl fmt::Display for HeadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeadFault::TooLarge => write!(f, "request head over {} bytes", limits::HTTP_HEAD_BYTES),
            HeadFault::TooManyHeaders => write!(f, "more than {} headers", limits::HTTP_HEADERS),
            HeadFault::Malformed(what) => write!(f, "malformed request head: {what}"),
            HeadFault::UnknownMethod => f.write_str("unknown method"),
            HeadFault::Version => f.write_str("unsupported HTTP version"),
        }
    }
}

impl std::error::Error for HeadFault {}

/// How a request's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// No body.
    None,
    /// That many bytes.
    Exact(u64),
    /// Chunked transfer coding.
    Chunked,
}

/// What an `Expect` header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// No such header, or a version that does not know it.
    None,
    /// `100-continue`.
    Continue,
    /// Something we cannot meet: 417.
    Other,
}

#[derive(Clone, Debug)]
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

/// A whole request head in one text; everything else is ranges into it.
#[derive(Clone)]
pub struct Head {
    text: String,
    method: Range<usize>,
    path: Range<usize>,
    query: Option<Range<usize>>,
    fields: Vec<Field>,
    body: BodyLength,
    version_minor: u8,
}

impl Head {
    /// The method, case kept.
    pub fn method(&self) -> &str {
        self.slice(&self.method)
    }

    /// The path, still percent-encoded, without query; `*` only for OPTIONS.
    pub fn path(&self) -> &str {
        self.slice(&self.path)
    }

    /// The query without its question mark.
    pub fn query(&self) -> Option<&str> {
        self.query.as_ref().map(|range| self.slice(range))
    }

    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub fn version_minor(&self) -> u8 {
        self.version_minor
    }

    /// How the body is delimited.
    pub fn body(&self) -> BodyLength {
        self.body
    }

    /// The declared length of the body.
    pub fn content_length(&self) -> Option<u64> {
        match self.body {
            BodyLength::Exact(length) => Some(length),
            BodyLength::None | BodyLength::Chunked => None,
        }
    }

    /// All headers in order, names as sent.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|field| (self.slice(&field.name), self.slice(&field.value)))
    }

    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All headers of that name, in any case.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers().filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All headers of that name as one list (RFC 9110, 5.3).
    pub fn joined(&self, name: &str) -> Option<String> {
        let all: Vec<&str> = self.all(name).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// Whether a comma-separated header lists `token`, in any case and in any of its lines.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name).flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
    }

    /// The `Host` header; always there on HTTP/1.1.
    pub fn host(&self) -> Option<&str> {
        self.header("host")
    }

    /// Whether the request asks for any upgrade.
    pub fn is_upgrade(&self) -> bool {
        self.header("upgrade").is_some()
    }

    /// Whether the request asks for a WebSocket: `Upgrade` names it *and* `Connection` names the upgrade (http.md 2).
    pub fn is_upgrade_websocket(&self) -> bool {
        self.version_minor == 1 && self.lists("upgrade", "websocket") && self.lists("connection", "upgrade")
    }

    /// Whether the client wants the connection kept after the answer.
    pub fn keep_alive(&self) -> bool {
        match self.version_minor {
            0 => self.lists("connection", "keep-alive") && !self.lists("connection", "close"),
            _ => !self.lists("connection", "close"),
        }
    }

    /// What the client expects before it sends the body.
    pub fn expectation(&self) -> Expectation {
        match self.header("expect") {
            Some(_) if self.version_minor == 0 => Expectation::None,
            Some(value) if value.eq_ignore_ascii_case("100-continue") => Expectation::Continue,
            Some(_) => Expectation::Other,
            None => Expectation::None,
        }
    }

    /// Whether the client waits for `100 Continue`.
    pub fn expects_continue(&self) -> bool {
        self.expectation() == Expectation::Continue
    }

    /// The secret of `Authorization: Bearer …`, scheme in any case, trimmed (http.md 5.1).
    pub fn bearer(&self) -> Option<&str> {
        let (scheme, secret) = self.header("authorization")?.split_once(' ')?;
        Some(secret.trim()).filter(|secret| scheme.eq_ignore_ascii_case("bearer") && !secret.is_empty())
    }

    fn slice(&self, range: &Range<usize>) -> &str {
        self.text.get(range.clone()).unwrap_or_default()
    }
}

/// Headers carry secrets: only the request line without its query is shown.
impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Head({} {} HTTP/1.{}, {} headers)",
            self.method(),
            self.path(),
            self.version_minor,
            self.fields.len()
        )
    }
}

/// Heads are ASCII in practice; other bytes are UTF-8 if they can be, else Latin-1 as the original's runtime reads them.
fn text(head: Vec<u8>) -> String {
    String::from_utf8(head).unwrap_or_else(|fault| fault.into_bytes().into_iter().map(char::from).collect())
}

fn parse(text: String) -> Result<Head, HeadFault> {
    let mut headers = [httparse::EMPTY_HEADER; limits::HTTP_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(text.as_bytes()) {
        Ok(httparse::Status::Complete(size)) if size == text.len() => {}
        Ok(_) => return Err(HeadFault::Malformed("head ends in another place")),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadFault::TooManyHeaders),
        Err(httparse::Error::Version) => return Err(version_fault(&text)),
        Err(_) => return Err(HeadFault::Malformed("against the grammar")),
    }
    let method = request.method.unwrap_or_default();
    if !METHODS.contains(&method) {
        return Err(HeadFault::UnknownMethod);
    }
    let version_minor = request.version.unwrap_or_default();
    let body = check(request.headers, version_minor)?;
    let target = request.path.unwrap_or_default();
    let (path, query) = split_target(target, method, host_of(request.headers))?;
    let field = |header: &httparse::Header<'_>| Field {
        name: range_in(&text, header.name.as_bytes()),
        value: range_in(&text, header.value),
    };
    Ok(Head {
        method: range_in(&text, method.as_bytes()),
        path: range_in(&text, path.as_bytes()),
        query: query.map(|query| range_in(&text, query.as_bytes())),
        fields: request.headers.iter().map(field).collect(),
        body,
        version_minor,
        text,
    })
}

/// `HTTP/2.0` is a version we do not speak; `HTTX` is no version.
fn version_fault(text: &str) -> HeadFault {
    let mut words = text.lines().next().unwrap_or_default().split(' ').skip(2);
    let version = words.next().and_then(|word| word.strip_prefix("HTTP/"));
    match version.map(str::as_bytes) {
        _ if words.next().is_some() => HeadFault::Malformed("space in the request target"),
        Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit() => HeadFault::Version,
        _ => HeadFault::Malformed("no HTTP version"),
    }
}

/// The rules that keep two parsers from seeing different requests (RFC 9112, 6.3 and 11.2), and the body's length.
fn check(headers: &[httparse::Header<'_>], version_minor: u8) -> Result<BodyLength, HeadFault> {
    let (mut hosts, mut length, mut chunked, mut secret) = (0, None, false, None);
    for header in headers {
        if header.name.eq_ignore_ascii_case("host") {
            hosts += 1;
            check_host(header.value)?;
        } else if header.name.eq_ignore_ascii_case("content-length") {
            if length.replace(parse_length(header.value)?).is_some() {
                return Err(HeadFault::Malformed("repeated content-length"));
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if chunked || !header.value.eq_ignore_ascii_case(b"chunked") || version_minor == 0 {
                return Err(HeadFault::Malformed("transfer-encoding other than chunked"));
            }
            chunked = true;
        } else if header.name.eq_ignore_ascii_case("authorization")
            && secret.replace(header.value).is_some_and(|first| first != header.value)
        {
            // A proxy in front may have judged the other one.
            return Err(HeadFault::Malformed("two different authorization headers"));
        }
    }
    if hosts > 1 || (hosts == 0 && version_minor == 1) {
        return Err(HeadFault::Malformed("not exactly one host header"));
    }
    match (length, chunked) {
        (Some(_), true) => Err(HeadFault::Malformed("content-length and transfer-encoding")),
        (None, true) => Ok(BodyLength::Chunked),
        (None | Some(0), false) => Ok(BodyLength::None),
        (Some(length), false) => Ok(BodyLength::Exact(length)),
    }
}

fn check_host(value: &[u8]) -> Result<(), HeadFault> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+;=".contains(byte);
    if value.iter().all(plain) { Ok(()) } else { Err(HeadFault::Malformed("host header with other characters")) }
}

fn parse_length(value: &[u8]) -> Result<u64, HeadFault> {
    const FAULT: HeadFault = HeadFault::Malformed("content-length is not a number");
    if value.is_empty() || value.len() > LENGTH_DIGITS || !value.iter().all(u8::is_ascii_digit) {
        return Err(FAULT);
    }
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or(FAULT)
}

fn host_of<'a>(headers: &[httparse::Header<'a>]) -> &'a [u8] {
    headers.iter().find(|header| header.name.eq_ignore_ascii_case("host")).map_or(b"", |header| header.value)
}

/// Path and query of a target in origin form, absolute form (as proxies send it; its authority must agree with `Host`)
/// or, for OPTIONS, asterisk form.
fn split_target<'a>(target: &'a str, method: &str, host: &[u8]) -> Result<(&'a str, Option<&'a str>), HeadFault> {
    let target = target.split('#').next().unwrap_or_default();
    if target == "*" && method == "OPTIONS" {
        return Ok((target, None));
    }
    let local = if target.starts_with('/') { target } else { strip_authority(target, host)? };
    match local.split_once('?') {
        Some((path, query)) => Ok((path, Some(query))),
        None => Ok((local, None)),
    }
}

fn strip_authority<'a>(target: &'a str, host: &[u8]) -> Result<&'a str, HeadFault> {
    const FAULT: HeadFault = HeadFault::Malformed("request target is no path");
    let (scheme, rest) = target.split_once("://").ok_or(FAULT)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(FAULT);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, local) = rest.split_at_checked(end).ok_or(FAULT)?;
    if !authority.as_bytes().eq_ignore_ascii_case(host) {
        return Err(HeadFault::Malformed("request target names another host"));
    }
    // `http://host` and `http://host?x` ask for the root: only the former can be said with a range of the text
    if local.starts_with('/') { Ok(local) } else { Err(FAULT) }
}

/// Where `part` lies in `text`, which it was parsed from.
fn range_in(text: &str, part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(text.as_ptr().addr());
    start..start + part.len()
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "GET /ready?x=1 HTTP/1.1\r\nHost: 127.0.0.1:18789\r\nAccept: */*\r\n\r\n";

    fn read(bytes: impl AsRef<[u8]>) -> Result<Option<Head>, HeadFault> {
        HeadReader::new().push(bytes.as_ref())
    }

    fn head(bytes: impl AsRef<[u8]>) -> Head {
        read(bytes).unwrap().unwrap()
    }

    fn status(bytes: impl AsRef<[u8]>) -> u16 {
        read(bytes).unwrap_err().status()
    }

    fn with(headers: &str) -> String {
        format!("POST /x HTTP/1.1\r\nHost: a\r\n{headers}\r\n")
    }

    fn assert_plain(head: &Head) {
        assert_eq!((head.method(), head.path(), head.query()), ("GET", "/ready", Some("x=1")));
        assert_eq!(head.host(), Some("127.0.0.1:18789"));
        assert_eq!(head.header("ACCEPT"), Some("*/*"));
        assert_eq!(head.headers().count(), 2);
        assert!(head.keep_alive());
        assert_eq!(head.body(), BodyLength::None);
    }

    #[test]
    fn reads_a_head_in_one_piece() {
        assert_plain(&head(PLAIN));
    }

    #[test]
    fn reads_a_head_byte_by_byte() {
        let mut reader = HeadReader::new();
        for (index, byte) in PLAIN.bytes().enumerate() {
            let found = reader.push(&[byte]).unwrap();
            assert_eq!(found.is_some(), index + 1 == PLAIN.len());
            assert_eq!(reader.started(), index + 1 < PLAIN.len());
            found.iter().for_each(assert_plain);
        }
    }

    #[test]
    fn reads_a_head_cut_at_every_index() {
        for cut in 1..PLAIN.len() {
            let mut reader = HeadReader::new();
            assert!(reader.push(&PLAIN.as_bytes()[..cut]).unwrap().is_none());
            assert_plain(&reader.push(&PLAIN.as_bytes()[cut..]).unwrap().unwrap());
        }
    }

    #[test]
    fn hands_back_what_follows_the_head() {
        let mut reader = HeadReader::new();
        reader.push(format!("{PLAIN}\u{1}frame").as_bytes()).unwrap().unwrap();
        assert_eq!(reader.rest(), b"\x01frame");
        reader.consume(1);
        assert_eq!(reader.take_rest(), b"frame");
        assert!(!reader.started());
    }

    #[test]
    fn reads_pipelined_heads_one_after_the_other() {
        let mut reader = HeadReader::new();
        assert_plain(&reader.push(format!("{PLAIN}\r\n{PLAIN}{PLAIN}GE").as_bytes()).unwrap().unwrap());
        assert_plain(&reader.push(b"").unwrap().unwrap());
        assert_plain(&reader.push(b"").unwrap().unwrap());
        assert!(reader.push(b"").unwrap().is_none());
        assert!(reader.started());
        assert_plain(&reader.push(&PLAIN.as_bytes()[2..]).unwrap().unwrap());
    }

    #[test]
    fn tolerates_few_empty_lines_before_a_request_and_does_not_count_them_as_started() {
        let mut reader = HeadReader::new();
        assert!(reader.push(b"\r\n\r").unwrap().is_none());
        assert!(reader.push(b"\n").unwrap().is_none());
        assert!(!reader.started());
        assert_plain(&reader.push(PLAIN.as_bytes()).unwrap().unwrap());
        let after = |lines: u32| read("\r\n".repeat(lines as usize) + PLAIN);
        assert_plain(&after(limits::HTTP_BLANK_LINES).unwrap().unwrap());
        assert_eq!(after(limits::HTTP_BLANK_LINES + 1).unwrap_err().status(), 400);
    }

    #[test]
    fn refuses_a_head_over_the_limit_whether_or_not_it_ends() {
        let long = "x".repeat(limits::HTTP_HEAD_BYTES);
        assert_eq!(status(format!("GET /{long}")), 431);
        assert_eq!(status(with(&format!("X: {long}\r\n"))), 431);
        let mut reader = HeadReader::new();
        let outcome = (0..).find_map(|_| reader.push(b"a").err());
        assert_eq!(outcome, Some(HeadFault::TooLarge));
        assert_eq!(reader.rest().len(), limits::HTTP_HEAD_BYTES);
    }

    #[test]
    fn takes_as_many_headers_as_allowed_and_not_one_more() {
        let lines = |count| "A: b\r\n".repeat(count);
        assert!(read(with(&lines(limits::HTTP_HEADERS - 1))).unwrap().is_some());
        assert_eq!(status(with(&lines(limits::HTTP_HEADERS))), 431);
    }

    #[test]
    fn refuses_what_another_parser_could_read_differently() {
        for headers in [
            "A: b\nC: d\r\n",
            "A: b\r\n folded\r\n",
            "A : b\r\n",
            ": b\r\n",
            "A b\r\n",
            "A: b\u{0}\r\n",
            "A: b\rc\r\n",
            "Host: b\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length: \r\n",
            "Content-Length: 1111111111111111111\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
        ] {
            assert_eq!(status(with(headers)), 400, "{headers:?}");
        }
        for whole in [
            "GET / HTTP/1.1\n\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
            "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTX/1.1\r\nHost: a\r\n\r\n",
            "GET /\r\nHost: a\r\n\r\n",
            "\u{16}\u{3}\u{1}",
            " GET / HTTP/1.1\r\n",
        ] {
            assert_eq!(status(whole), 400, "{whole:?}");
        }
    }

    #[test]
    fn refuses_other_versions_and_methods_by_their_own_status() {
        assert_eq!(status("PRI * HTTP/2.0\r\n\r\n"), 505);
        assert_eq!(status("GET / HTTP/1.2\r\nHost: a\r\n\r\n"), 505);
        assert_eq!(status("PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n"), 501);
        assert_eq!(status("get / HTTP/1.1\r\nHost: a\r\n\r\n"), 501);
    }

    #[test]
    fn knows_how_the_body_is_delimited() {
        assert_eq!(head(with("")).body(), BodyLength::None);
        assert_eq!(head(with("content-length: 0\r\n")).body(), BodyLength::None);
        assert_eq!(head(with("CONTENT-LENGTH: 12\r\n")).content_length(), Some(12));
        assert_eq!(head(with("Transfer-Encoding: Chunked\r\n")).body(), BodyLength::Chunked);
    }

    #[test]
    fn keeps_connections_by_the_rules_of_each_version() {
        let old = |headers: &str| head(format!("GET / HTTP/1.0\r\n{headers}\r\n")).keep_alive();
        assert!(!old(""));
        assert!(old("Connection: Keep-Alive\r\n"));
        assert!(head(with("")).keep_alive());
        assert!(!head(with("Connection: foo, CLOSE\r\n")).keep_alive());
        assert!(!head(with("Connection: foo\r\nConnection: close\r\n")).keep_alive());
    }

    #[test]
    fn an_upgrade_needs_both_headers() {
        assert!(head(with("Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n")).is_upgrade_websocket());
        assert!(!head(with("Upgrade: websocket\r\n")).is_upgrade_websocket());
        assert!(!head(with("Connection: upgrade\r\n")).is_upgrade_websocket());
        assert!(!head(with("Upgrade: h2c\r\nConnection: upgrade\r\n")).is_upgrade_websocket());
        assert!(head(with("Upgrade: h2c\r\nConnection: upgrade\r\n")).is_upgrade());
    }

    #[test]
    fn knows_expectations() {
        assert!(head(with("Expect: 100-Continue\r\n")).expects_continue());
        assert_eq!(head(with("Expect: 200-ok\r\n")).expectation(), Expectation::Other);
        assert_eq!(head(with("")).expectation(), Expectation::None);
        assert_eq!(head("GET / HTTP/1.0\r\nExpect: x\r\n\r\n").expectation(), Expectation::None);
    }

    #[test]
    fn takes_the_secret_of_a_bearer_header_only() {
        assert_eq!(head(with("Authorization: bearer  canary \r\n")).bearer(), Some("canary"));
        assert_eq!(head(with("Authorization: Basic canary\r\n")).bearer(), None);
        assert_eq!(head(with("Authorization: Bearer\r\n")).bearer(), None);
        assert_eq!(head(with("")).bearer(), None);
    }

    #[test]
    fn a_secret_said_twice_is_the_same_one_or_a_fault() {
        let same = "Authorization: Bearer a\r\nauthorization:  Bearer a \r\n";
        assert_eq!(head(with(same)).bearer(), Some("a"));
        let other = HeadReader::new().push(with("Authorization: Bearer a\r\nAuthorization: Bearer b\r\n").as_bytes());
        assert_eq!(other.unwrap_err(), HeadFault::Malformed("two different authorization headers"));
        assert_eq!(head(with("X: a\r\nY: n\r\nx: b,c\r\n")).joined("x").as_deref(), Some("a, b,c"));
        assert_eq!(head(with("")).joined("x"), None);
    }

    #[test]
    fn takes_targets_in_every_form_a_server_must_know() {
        let target = |line: &str| {
            let head = head(format!("{line} HTTP/1.1\r\nHost: a:1\r\n\r\n"));
            (head.path().to_owned(), head.query().map(str::to_owned))
        };
        assert_eq!(target("GET /a/b?c=d?e#f"), ("/a/b".into(), Some("c=d?e".into())));
        assert_eq!(target("GET http://A:1/x?y"), ("/x".into(), Some("y".into())));
        assert_eq!(target("OPTIONS *"), ("*".into(), None));
        assert_eq!(target("GET /?"), ("/".into(), Some(String::new())));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_latin_1() {
        assert_eq!(head(b"GET / HTTP/1.1\r\nHost: a\r\nX: caf\xe9\r\n\r\n").header("x"), Some("café"));
        assert_eq!(head("GET / HTTP/1.1\r\nHost: a\r\nX: café\r\n\r\n").header("x"), Some("café"));
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let text =
            format!("{:?}", head("GET /?token=canary HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer canary\r\n\r\n"));
        assert_eq!(text, "Head(GET / HTTP/1.1, 2 headers)");
    }

    #[test]
    fn mutated_heads_never_panic_and_stay_within_their_text() {
        let corpus =
            [PLAIN.to_owned(), with("Content-Length: 3\r\n"), with("Upgrade: websocket\r\nConnection: upgrade\r\n")];
        let mut random = crate::sys::id::Entropy::from_seed([42; 32]);
        let mut accepted = 0;
        for round in 0..20_000 {
            let mut bytes = corpus[round % corpus.len()].clone().into_bytes();
            for _ in 0..=random.number() % 3 {
                let at = usize::try_from(random.number()).unwrap() % bytes.len();
                match random.number() % 3 {
                    0 => bytes[at] = random.number().to_le_bytes()[0],
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, b"\r\n: \0\xff,"[usize::try_from(random.number() % 7).unwrap()]),
                }
            }
            let mut reader = HeadReader::new();
            let pieces = bytes.chunks(1 + round % 9).map(|piece| reader.push(piece));
            if let Some(Ok(Some(head))) = pieces.into_iter().find(|outcome| !matches!(outcome, Ok(None))) {
                accepted += 1;
                assert!(head.headers().all(|(name, value)| !name.is_empty() && !value.contains(['\r', '\n'])));
                assert!(METHODS.contains(&head.method()));
            }
        }
        assert!(accepted > 1000, "the mutations should leave some heads valid, left {accepted}");
    }
}
