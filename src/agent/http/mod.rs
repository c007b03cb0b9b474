//! Outgoing HTTP: bounded in bytes and time, ended at once by the run's control, never more than asked for (no
//! redirects of its own, no cookies, no decompression). Owns sockets, TLS and proxies; knows nothing of models.

mod error;
mod patience;
mod proxy;
mod resolve;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(test)]
pub(crate) mod upstream;

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, TcpConnector};

pub use self::error::HttpError;
use self::patience::{Patience, PatientConnector};
pub use self::proxy::Proxies;
use self::resolve::CheckedResolver;
pub use self::resolve::{Reach, is_public};
use super::control::Control;
use crate::config::{Env, Secret};
use crate::limits;
use crate::sys::cancel::Registration;
use crate::sys::{clock, date};

/// What every client of one process has in common; cloned cheaply.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Proxies of the environment.
    pub proxies: Proxies,
    /// Files with CA certificates that are trusted beside or instead of the system's.
    pub trust: Trust,
    /// What was read from them: once, at the first client that needs it, and shared by all clones.
    #[cfg(feature = "tls")]
    pub(super) roots: tls::Roots,
}

/// Which certificate authorities are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// `SSL_CERT_FILE`: takes the place of the system's bundle.
    pub bundle: Option<PathBuf>,
    /// `NODE_EXTRA_CA_CERTS` and files of the configuration: trusted in addition.
    pub extra: Vec<PathBuf>,
}

impl Settings {
    /// The settings of an environment, with further CA files from the configuration.
    pub fn new(env: &Env, extra: impl IntoIterator<Item = PathBuf>) -> Settings {
        let path = |name| env.get(name).map(|path| PathBuf::from(path.trim()));
        let extra = path("NODE_EXTRA_CA_CERTS").into_iter().chain(extra).collect();
        let trust = Trust { bundle: path("SSL_CERT_FILE"), extra };
        Settings { proxies: Proxies::read(env), trust, ..Settings::default() }
    }
}

/// How long one exchange may take at each of its stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Looking up the name, connecting, TLS.
    pub connect: Duration,
    /// Longest silence before the answer begins.
    pub first: Duration,
    /// Longest silence afterwards, once [`Answer::steady`] was called.
    pub between: Duration,
}

/// A call to a model.
pub const MODEL: Deadlines = Deadlines {
    connect: limits::MODEL_CONNECT,
    first: limits::MODEL_FIRST_BYTE,
    between: limits::MODEL_BETWEEN_CHUNKS,
};

/// One request.
#[derive(Debug)]
pub struct Request<'a> {
    /// Absolute address, `http` or `https`.
    pub url: &'a str,
    /// Headers; their values may be secrets.
    pub headers: &'a [(String, Secret)],
    /// JSON for a POST; none for a GET.
    pub body: Option<&'a [u8]>,
    /// Deadlines of its stages.
    pub deadlines: Deadlines,
}

/// Connections to one server, kept between the calls of one run. A cancelled control ends its calls *and* the client.
#[derive(Clone, Debug)]
pub struct Client {
    agent: ureq::Agent,
    patience: Patience,
    https: bool,
    host: String,
}

impl Client {
    /// A client for the server of `url`; fails when the address or the settings can never work.
    pub fn new(url: &str, settings: &Settings, reach: Reach) -> Result<Client, HttpError> {
        let uri: Uri = url.parse().map_err(|_| HttpError::BadUrl(bare(url)))?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| HttpError::BadUrl(bare(url)))?.to_string();
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(HttpError::BadUrl(bare(url))),
        };
        if https && !cfg!(feature = "tls") {
            return Err(HttpError::NoTls(host));
        }
        let patience = Patience::default();
        let config = configuration(settings, https, settings.proxies.choose(https, &host, uri.port_u16()), reach)?;
        let resolver = CheckedResolver::new(reach);
        let chain = ().chain(ConnectProxyConnector::default()).chain(TcpConnector::default());
        #[cfg(feature = "tls")]
        let chain = chain.chain(ureq::unversioned::transport::RustlsConnector::default());
        let agent = ureq::Agent::with_parts(config, chain.chain(PatientConnector::new(patience.clone())), resolver);
        Ok(Client { agent, patience, https, host })
    }

    /// Sends a request and reads the head of its answer. Every status is an answer, not an error.
    pub fn send(&self, request: &Request<'_>, control: &Control) -> Result<Answer, HttpError> {
        if let Some(reason) = control.stopped() {
            return Err(HttpError::Stopped(reason));
        }
        let agent = self.agent.clone();
        let registration = control.on_cancel(move || agent.shutdown());
        self.patience.set(request.deadlines.first);
        let headers = built_headers(request)?;
        let answer = self.exchange(request, headers, control).map_err(|fault| self.fault(fault, control))?;
        let (parts, body) = answer.into_parts();
        let headers = parts.headers.iter().filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?)));
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: headers.map(|(name, value)| (name, value.to_string())).collect(),
            body: body.into_reader(),
            client: self.clone(),
            between: request.deadlines.between,
            control: control.clone(),
            taken: 0,
            _registration: registration,
        })
    }

    fn exchange(
        &self,
        request: &Request<'_>,
        headers: HeaderMap,
        control: &Control,
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let method = if request.body.is_some() { Method::POST } else { Method::GET };
        let mut built = ureq::http::Request::builder().method(method).uri(request.url);
        if let Some(all) = built.headers_mut() {
            all.extend(headers);
        }
        let deadlines = request.deadlines;
        match request.body {
            Some(body) => {
                let built = built.header(header::CONTENT_TYPE, "application/json").body(body)?;
                self.agent.run(self.timed(built, deadlines, control))
            }
            None => self.agent.run(self.timed(built.body(())?, deadlines, control)),
        }
    }

    fn timed<S: ureq::AsSendBody>(
        &self,
        request: ureq::http::Request<S>,
        deadlines: Deadlines,
        control: &Control,
    ) -> ureq::http::Request<S> {
        let config = self.agent.configure_request(request);
        let config = config.timeout_resolve(Some(deadlines.connect)).timeout_connect(Some(deadlines.connect));
        let config = config.timeout_send_body(Some(limits::MODEL_SEND)).timeout_global(control.remaining());
        config.timeout_recv_response(Some(deadlines.first)).build()
    }

    /// Names what happened; a stopped run explains everything.
    fn fault(&self, fault: ureq::Error, control: &Control) -> HttpError {
        match control.stopped() {
            Some(reason) => HttpError::Stopped(reason),
            None => HttpError::of(fault, &self.host, self.https),
        }
    }
}

/// The headers of a request, or the name of the one that cannot be sent.
fn built_headers(request: &Request<'_>) -> Result<HeaderMap, HttpError> {
    let mut all = HeaderMap::new();
    for (name, value) in request.headers {
        let bad = || HttpError::BadHeader(name.chars().filter(|c| !c.is_control()).take(100).collect());
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| bad())?;
        value.set_sensitive(true);
        all.append(HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?, value);
    }
    Ok(all)
}

/// The address without query and user, which may hold keys.
fn bare(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    crate::sys::redact::redact(url.get(..end).unwrap_or_default()).chars().take(200).collect()
}

fn configuration(
    settings: &Settings,
    https: bool,
    proxy: Option<&str>,
    reach: Reach,
) -> Result<ureq::config::Config, HttpError> {
    let proxy = match proxy.filter(|_| reach == Reach::Anywhere) {
        Some(url) => Some(proxy::proxy(url)?),
        None => None,
    };
    let builder = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(proxy)
        .user_agent(concat!("openclaw/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("")
        .timeout_await_100(None)
        .max_response_header_size(limits::MODEL_HEAD_BYTES);
    #[cfg(feature = "tls")]
    let builder = if https { builder.tls_config(tls::config(settings)?) } else { builder };
    #[cfg(not(feature = "tls"))]
    let _ = (settings, https);
    Ok(builder.build())
}

/// An answer whose body is still to be read.
pub struct Answer {
    /// The status.
    pub status: u16,
    headers: Vec<(String, String)>,
    body: ureq::BodyReader<'static>,
    client: Client,
    between: Duration,
    control: Control,
    taken: u64,
    _registration: Registration,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).field("taken", &self.taken).finish_non_exhaustive()
    }
}

impl Answer {
    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The media type without parameters, in lower case.
    pub fn media_type(&self) -> String {
        let text = self.header("content-type").unwrap_or_default();
        text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// From here on the shorter deadline between two pieces holds.
    pub fn steady(&self) {
        self.client.patience.set(self.between);
    }

    /// Reads what is there, blocking until something is; 0 at the proper end. More than `limit` bytes in all is an
    /// error.
    pub fn read(&mut self, buf: &mut [u8], limit: u64) -> Result<usize, HttpError> {
        let count = self.body.read(buf).map_err(|fault| self.client.fault(ureq::Error::from(fault), &self.control))?;
        // an interrupted socket may look like the end of the body
        if let (0, Some(reason)) = (count, self.control.stopped()) {
            return Err(HttpError::Stopped(reason));
        }
        self.taken = self.taken.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        if self.taken > limit { Err(HttpError::TooLarge(limit)) } else { Ok(count) }
    }

    /// Reads the rest, at most that many bytes.
    pub fn read_all(&mut self, limit: u64) -> Result<Vec<u8>, HttpError> {
        let mut all = Vec::new();
        let mut buf = [0; 8192];
        loop {
            match self.read(&mut buf, limit)? {
                0 => return Ok(all),
                count => all.extend_from_slice(buf.get(..count).unwrap_or_default()),
            }
        }
    }

    /// Reads the beginning of the rest, for people to look at: what comes later, or never, is left out.
    pub fn read_some(&mut self, most: u64, time: Duration) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buf = [0; 8192];
        let begun = Instant::now();
        loop {
            let left = time.saturating_sub(begun.elapsed());
            self.client.patience.set(left.max(Duration::from_millis(1)));
            match self.read(&mut buf, most) {
                Ok(count) if count > 0 && !left.is_zero() => {
                    all.extend_from_slice(buf.get(..count).unwrap_or_default());
                }
                _ => return all,
            }
        }
    }

    /// Waits shortly for the end of a body whose meaning is complete, so that its connection can be used again.
    pub fn drain(&mut self, patience: Duration) {
        self.client.patience.set(patience);
        let mut buf = [0; 1024];
        for _ in 0..4 {
            if !self.body.read(&mut buf).is_ok_and(|count| count > 0) {
                break;
            }
        }
    }

    /// How long the server asks to wait: `Retry-After-Ms`, or `Retry-After` in seconds or as a date.
    pub fn retry_after(&self) -> Option<Duration> {
        let number = |name| self.header(name).and_then(|text| text.trim().parse::<f64>().ok());
        let seconds = number("retry-after-ms").map(|millis| millis / 1000.0).or_else(|| number("retry-after"));
        seconds.map_or_else(|| self.retry_date(), |seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    /// The time to a date, by the server's clock where it tells it: ours may be wrong. A date that has passed is now.
    fn retry_date(&self) -> Option<Duration> {
        let date = |name| self.header(name).and_then(date::from_http);
        let now = date("date").unwrap_or_else(|| date::seconds(clock::wall_ms()));
        let left = date("retry-after")?.saturating_sub(now);
        Some(Duration::from_secs(u64::try_from(left).unwrap_or(0)))
    }
}

/// A header whose value is no secret.
pub fn plain(name: &str, value: &str) -> (String, Secret) {
    (name.to_string(), Secret::new(value))
}

#[cfg(test)]
mod tests {
    use super::upstream::{Step, Upstream, WATCHDOG};
    use super::*;
    use crate::agent::control::AbortReason;
    use crate::sys::thread::spawn;
    use std::net::TcpListener;
    use std::time::Instant;

    #[test]
    fn a_wait_is_asked_for_in_seconds_milliseconds_or_until_a_date() {
        for (headers, seconds) in [
            ("Retry-After: 7\r\n", Some(7)),
            ("Retry-After: 7\r\nRetry-After-Ms: 2000\r\n", Some(2)),
            ("Date: Sun, 06 Nov 1994 08:49:00 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n", Some(37)),
            ("Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n", Some(0)),
            ("Retry-After: soon\r\n", None),
        ] {
            let upstream = Upstream::play(vec![Upstream::answer("429 Slow", headers, "later")]);
            let request = Request { url: &upstream.url, headers: &[], body: None, deadlines: MODEL };
            let answer = client(&upstream.url).send(&request, &Control::within(WATCHDOG)).unwrap();
            assert_eq!(answer.retry_after(), seconds.map(Duration::from_secs), "{headers}");
        }
    }

    const QUICK: Deadlines =
        Deadlines { connect: WATCHDOG, first: Duration::from_millis(50), between: Duration::from_millis(50) };

    fn client(url: &str) -> Client {
        Client::new(url, &Settings::default(), Reach::Anywhere).unwrap()
    }

    fn send(url: &str, deadlines: Deadlines, control: &Control) -> Result<Answer, HttpError> {
        let headers = [plain("x-test", "1")];
        client(url).send(&Request { url, headers: &headers, body: Some(b"{}"), deadlines }, control)
    }

    fn whole(url: &str) -> Result<Vec<u8>, HttpError> {
        send(url, MODEL, &Control::within(WATCHDOG))?.read_all(1000)
    }

    #[test]
    fn an_answer_has_status_headers_and_body() {
        let upstream = Upstream::play(vec![Upstream::answer("429 Slow", "Retry-After: 7\r\nX: y\r\n", "later")]);
        let mut answer = send(&upstream.url, MODEL, &Control::new()).unwrap();
        assert_eq!(
            (answer.status, answer.header("x"), answer.retry_after()),
            (429, Some("y"), Some(Duration::from_secs(7)))
        );
        assert_eq!(answer.read_all(100).unwrap(), b"later");
        let asked = upstream.asked();
        assert!(asked.head.starts_with("POST / HTTP/1.1\r\n"), "{}", asked.head);
        assert!(asked.head.contains("x-test: 1") && asked.head.contains("user-agent: openclaw/") && asked.body == "{}");
    }

    #[test]
    fn a_redirect_is_an_answer_and_is_not_followed() {
        let upstream = Upstream::play(vec![Upstream::answer("307 There", "Location: /x\r\n", "")]);
        assert_eq!(send(&upstream.url, MODEL, &Control::new()).unwrap().status, 307);
    }

    #[test]
    fn a_body_shorter_than_declared_or_cut_inside_a_chunk_is_cut() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf!\r\n9\r\nx",
        ] {
            let upstream = Upstream::play(vec![vec![Step::Send(text.as_bytes().to_vec())]]);
            let fault = whole(&upstream.url).unwrap_err();
            assert!(matches!(fault, HttpError::Cut(..) | HttpError::Malformed(..)), "{fault:?}");
        }
    }

    #[test]
    fn more_than_declared_is_left_out() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhalf and more";
        let upstream = Upstream::play(vec![vec![Step::Send(text.as_bytes().to_vec())]]);
        assert_eq!(whole(&upstream.url).unwrap(), b"half");
    }

    #[test]
    fn chunks_arrive_one_byte_at_a_time() {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let upstream = Upstream::play(vec![vec![Step::Trickle(text.as_bytes().to_vec())]]);
        assert_eq!(whole(&upstream.url).unwrap(), b"hello");
    }

    #[test]
    fn what_is_not_http_and_too_large_is_an_error() {
        let play = |step: Step| {
            let upstream = Upstream::play(vec![vec![step]]);
            whole(&upstream.url).unwrap_err()
        };
        assert!(matches!(play(Step::Send(b"hello there\r\n\r\n".to_vec())), HttpError::Malformed(..)));
        let endless = play(Step::Flood(b"HTTP/1.1 200 OK\r\n".to_vec()));
        assert!(!matches!(endless, HttpError::Timeout(..)), "{endless:?}");
        let long_head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(limits::MODEL_HEAD_BYTES));
        assert!(matches!(play(Step::Send(long_head.into_bytes())), HttpError::LargeHead(_)));
        let body = format!("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{}", "z".repeat(5000));
        assert!(matches!(play(Step::Send(body.into_bytes())), HttpError::TooLarge(1000)));
    }

    #[test]
    fn silence_before_and_inside_an_answer_has_its_deadline() {
        let upstream = Upstream::play(vec![vec![Step::Hang], vec![Upstream::stream_head(), Step::Hang]]);
        let control = Control::within(WATCHDOG);
        let fault = send(&upstream.url, QUICK, &control).unwrap_err();
        assert!(matches!(fault, HttpError::Timeout(..)), "{fault:?}");
        let slow_start = Deadlines { first: WATCHDOG, ..QUICK };
        let mut answer = send(&upstream.url, slow_start, &control).unwrap();
        answer.steady();
        let fault = answer.read_all(100).unwrap_err();
        assert!(matches!(fault, HttpError::Timeout(..)), "{fault:?}");
    }

    #[test]
    fn the_runs_deadline_is_a_stop_and_not_a_fault_of_the_server() {
        let upstream = Upstream::play(vec![vec![Step::Hang]]);
        let fault = send(&upstream.url, MODEL, &Control::within(Duration::from_millis(50))).unwrap_err();
        assert!(matches!(fault, HttpError::Stopped(AbortReason::Timeout)), "{fault:?}");
    }

    #[test]
    fn cancelling_ends_a_blocked_read_at_once_and_closes_the_connection() {
        for script in [vec![Step::Hang], vec![Upstream::stream_head(), Step::Hang]] {
            let upstream = Upstream::play(vec![script]);
            let control = Control::within(WATCHDOG * 2);
            let (url, held) = (upstream.url.clone(), control.clone());
            let (send_back, receive) = std::sync::mpsc::channel();
            spawn("read", limits::STACK_PARSER, move || {
                let fault = send(&url, MODEL, &held).and_then(|mut answer| answer.read_all(100)).unwrap_err();
                send_back.send(fault).unwrap();
            })
            .unwrap();
            upstream.asked();
            let begun = Instant::now();
            control.cancel(AbortReason::Rpc);
            let fault = receive.recv_timeout(WATCHDOG).unwrap();
            assert!(matches!(fault, HttpError::Stopped(AbortReason::Rpc)), "{fault:?}");
            upstream.left.recv_timeout(WATCHDOG).expect("the connection is closed");
            assert!(begun.elapsed() < WATCHDOG);
            assert!(matches!(send(&upstream.url, MODEL, &control), Err(HttpError::Stopped(AbortReason::Rpc))));
        }
    }

    #[test]
    fn nobody_listening_is_a_failed_connection() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let fault = send(&format!("http://{free}"), MODEL, &Control::within(WATCHDOG)).unwrap_err();
        assert!(matches!(fault, HttpError::Connect(..)), "{fault:?}");
        let fault = send("http://no-such-name.invalid/", MODEL, &Control::within(WATCHDOG)).unwrap_err();
        assert!(matches!(fault, HttpError::Lookup(_) | HttpError::Stopped(_)), "{fault:?}");
    }

    #[test]
    fn strangers_addresses_do_not_reach_this_machine() {
        let upstream = Upstream::play(vec![Upstream::answer("200 OK", "", "secret")]);
        let port = upstream.url.rsplit(':').next().unwrap();
        for host in ["127.0.0.1", "localhost"] {
            let url = format!("http://{host}:{port}/");
            let client = Client::new(&url, &Settings::default(), Reach::Public).unwrap();
            let request = Request { url: &url, headers: &[], body: None, deadlines: MODEL };
            let fault = client.send(&request, &Control::within(WATCHDOG)).unwrap_err();
            assert!(matches!(fault, HttpError::Private(_)), "{fault:?}");
        }
    }

    #[test]
    fn addresses_that_cannot_work_are_refused_without_their_secrets() {
        for url in ["", "ftp://h/", "http://", "h:80", "file:///x?key=canary"] {
            let fault = Client::new(url, &Settings::default(), Reach::Anywhere).unwrap_err();
            assert!(matches!(fault, HttpError::BadUrl(_)) && !fault.to_string().contains("canary"), "{fault:?}");
        }
    }

    #[test]
    fn a_key_that_fits_no_header_is_named_without_being_shown() {
        let url = "http://127.0.0.1:1/";
        for (name, value) in [("authorization", "Bearer can\nary"), ("x-key", "can\u{7f}ary"), ("a b", "canary")] {
            let headers = [plain(name, value)];
            let request = Request { url, headers: &headers, body: None, deadlines: MODEL };
            let fault = client(url).send(&request, &Control::new()).unwrap_err().to_string();
            assert!(fault.contains(&format!("header {name} has")) && !fault.contains("ary"), "{fault}");
        }
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn without_tls_the_text_says_what_to_do() {
        let fault = Client::new("https://h/", &Settings::default(), Reach::Anywhere).unwrap_err();
        assert!(fault.to_string().contains("--features tls"));
    }

    #[test]
    fn a_proxy_is_asked_to_connect_and_its_refusal_is_told() {
        let upstream = Upstream::play(vec![Upstream::answer("403 No", "", "")]);
        let settings = Settings {
            proxies: Proxies::read(&Env::of([("http_proxy", upstream.url.as_str())])),
            ..Settings::default()
        };
        let client = Client::new("http://model.example/v1", &settings, Reach::Anywhere).unwrap();
        let request = Request { url: "http://model.example/v1", headers: &[], body: None, deadlines: MODEL };
        let fault = client.send(&request, &Control::within(WATCHDOG)).unwrap_err();
        assert!(matches!(fault, HttpError::Proxy(_)), "{fault:?}");
        assert!(upstream.asked().head.starts_with("CONNECT model.example:80 HTTP/1.1"));
    }
}
