//! What can go wrong on the way to a server and back, told apart by what a person would do about it.

use std::{fmt, io};

use crate::agent::control::AbortReason;
use crate::limits;

/// Why there is no answer, or only part of one. Texts name the host, never the whole address, which may hold keys.
#[derive(Debug)]
pub enum HttpError {
    /// Not an address this client can call.
    BadUrl(String),
    /// A header has a character that none may have: its name.
    BadHeader(String),
    /// `https` in a build without TLS.
    NoTls(String),
    /// The name does not resolve.
    Lookup(String),
    /// The address is on this machine or its network, where this call may not go.
    Private(String),
    /// No connection.
    Connect(String, io::Error),
    /// TLS failed: a certificate nobody trusts, most of the time.
    Tls(String, String),
    /// The proxy is unusable or refused.
    Proxy(String),
    /// A file of CA certificates cannot be used.
    Trust(String),
    /// A stage took too long.
    Timeout(String, &'static str),
    /// The connection broke before the end of the answer.
    Cut(String, String),
    /// The answer is not HTTP.
    Malformed(String, String),
    /// The head of the answer is too large.
    LargeHead(String),
    /// The body is larger than that.
    TooLarge(u64),
    /// The run was stopped.
    Stopped(AbortReason),
}

impl HttpError {
    pub(super) fn of(fault: ureq::Error, host: &str, https: bool) -> HttpError {
        let host = host.to_string();
        match fault {
            ureq::Error::Io(fault) => HttpError::of_io(fault, host, https),
            ureq::Error::Timeout(stage) => HttpError::Timeout(host, stage_name(stage)),
            ureq::Error::HostNotFound => HttpError::Lookup(host),
            ureq::Error::ConnectionFailed => {
                HttpError::Connect(host, io::Error::new(io::ErrorKind::ConnectionRefused, "connection failed"))
            }
            ureq::Error::ConnectProxyFailed(text) => HttpError::Proxy(text),
            ureq::Error::InvalidProxyUrl => HttpError::Proxy("not a proxy address".to_string()),
            ureq::Error::LargeResponseHeader(..) => HttpError::LargeHead(host),
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => HttpError::BadUrl(host),
            ureq::Error::Tls(text) => HttpError::Tls(host, text.to_string()),
            #[cfg(feature = "tls")]
            ureq::Error::Rustls(fault) => HttpError::Tls(host, fault.to_string()),
            ureq::Error::Other(fault) => match fault.downcast::<super::resolve::Refused>() {
                Ok(_) => HttpError::Private(host),
                Err(fault) => HttpError::Malformed(host, fault.to_string()),
            },
            fault => HttpError::Malformed(host, fault.to_string()),
        }
    }

    fn of_io(fault: io::Error, host: String, https: bool) -> HttpError {
        use io::ErrorKind as Kind;
        match fault.kind() {
            Kind::ConnectionRefused
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::AddrNotAvailable
            | Kind::PermissionDenied => HttpError::Connect(host, fault),
            Kind::TimedOut | Kind::WouldBlock => HttpError::Timeout(host, "answering"),
            // rustls reports its own faults through InvalidData
            Kind::InvalidData if https => HttpError::Tls(host, fault.to_string()),
            _ if fault.to_string().contains("lookup address") => HttpError::Lookup(host),
            _ => HttpError::Cut(host, fault.to_string()),
        }
    }
}

fn stage_name(stage: ureq::Timeout) -> &'static str {
    match stage {
        ureq::Timeout::Resolve => "looking up its name",
        ureq::Timeout::Connect => "connecting",
        ureq::Timeout::SendRequest | ureq::Timeout::SendBody | ureq::Timeout::PerWrite => "taking the request",
        _ => "answering",
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::BadUrl(url) => write!(f, "not an http address: {url}"),
            HttpError::BadHeader(name) => write!(
                f,
                "the header {name} has a character that no header may have: look at the key or the configured headers"
            ),
            HttpError::NoTls(host) => write!(
                f,
                "https://{host} needs TLS, which this build leaves out: build with `--features tls`, or use a model \
                 server that is reached by plain http on this machine"
            ),
            HttpError::Lookup(host) => write!(f, "the name {host} does not resolve"),
            HttpError::Private(host) => write!(f, "{host} is an address of this machine or its network"),
            HttpError::Connect(host, fault) => write!(f, "cannot connect to {host}: {fault}"),
            HttpError::Tls(host, text) => write!(f, "no secure connection to {host}: {text}"),
            HttpError::Proxy(text) => write!(f, "the proxy does not work: {text}"),
            HttpError::Trust(text) => f.write_str(text),
            HttpError::Timeout(host, stage) => write!(f, "{host} took too long {stage}"),
            HttpError::Cut(host, text) => write!(f, "{host} broke off its answer: {text}"),
            HttpError::Malformed(host, text) => write!(f, "{host} did not answer in HTTP: {text}"),
            HttpError::LargeHead(host) => {
                write!(f, "{host} sent a head of more than {} bytes", limits::MODEL_HEAD_BYTES)
            }
            HttpError::TooLarge(limit) => write!(f, "the answer has more than {limit} bytes"),
            HttpError::Stopped(reason) => write!(f, "stopped ({})", reason.name()),
        }
    }
}

impl std::error::Error for HttpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            HttpError::Connect(_, fault) => Some(fault),
            _ => None,
        }
    }
}
