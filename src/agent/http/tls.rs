//! Whom TLS trusts: the system's CA bundle (or `SSL_CERT_FILE`), and CA files of the environment and the
//! configuration. No certificates are compiled in, so that an operator's own bundle is the whole truth.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, KeyProvider};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::{HttpError, Settings, Trust};
use crate::limits;

/// Where systems keep their bundle; the first that exists is used.
const BUNDLES: [&str; 8] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
    "/opt/homebrew/etc/ca-certificates/cert.pem",
    "/data/data/com.termux/files/usr/etc/tls/cert.pem",
];

/// The authorities that were read; a failure is not kept, so that the next client looks again.
pub(super) type Roots = Arc<OnceLock<Arc<Vec<Certificate<'static>>>>>;

/// A configuration that trusts exactly these authorities.
pub(super) fn config(settings: &Settings) -> Result<TlsConfig, HttpError> {
    let certificates = match settings.roots.get() {
        Some(known) => Arc::clone(known),
        None => {
            let read = Arc::new(roots(&settings.trust)?);
            Arc::clone(settings.roots.get_or_init(|| read))
        }
    };
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::Specific(certificates))
        .unversioned_rustls_crypto_provider(Arc::new(provider()))
        .build())
}

/// The cryptography of TLS without that of private keys: no client certificate is ever shown.
fn provider() -> CryptoProvider {
    CryptoProvider { key_provider: &NoKeys, ..rustls::crypto::ring::default_provider() }
}

#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Err(rustls::Error::General("client certificates are not supported".to_string()))
    }
}

fn roots(trust: &Trust) -> Result<Vec<Certificate<'static>>, HttpError> {
    let system = || BUNDLES.iter().map(PathBuf::from).find(|path| path.is_file());
    let bundle = trust.bundle.clone().or_else(system);
    let mut all = Vec::new();
    for path in bundle.iter().chain(&trust.extra) {
        all.extend(read(path)?);
    }
    if all.is_empty() {
        let text = "no CA certificates: install the system's ca-certificates package or set SSL_CERT_FILE";
        return Err(HttpError::Trust(text.to_string()));
    }
    Ok(all)
}

/// The certificates of one file; other PEM blocks in it are skipped.
fn read(path: &Path) -> Result<Vec<Certificate<'static>>, HttpError> {
    let refused = |why: &str| HttpError::Trust(format!("cannot use the CA file {}: {why}", path.display()));
    let file = File::open(path).map_err(|fault| refused(&fault.to_string()))?;
    let mut text = Vec::new();
    let mut bounded = file.take(limits::CA_FILE_BYTES + 1);
    bounded.read_to_end(&mut text).map_err(|fault| refused(&fault.to_string()))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > limits::CA_FILE_BYTES {
        return Err(refused("it is too large"));
    }
    let items = parse_pem(&text).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let found: Vec<_> = items.collect();
    if found.is_empty() { Err(refused("no certificate in it")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::super::upstream::WATCHDOG;
    use super::super::{Answer, Client, MODEL, Reach, Request};
    use super::*;
    use crate::agent::control::{AbortReason, Control};
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use std::io::Write;
    use std::net::TcpListener;
    use std::sync::mpsc::channel;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls").join(name)
    }

    /// Answers one TLS connection with these bytes and then waits for its end.
    fn server(answer: &'static [u8]) -> String {
        let certificate = CertificateDer::from_pem_file(fixture("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        crate::sys::thread::spawn("tls", limits::STACK_PARSER, move || {
            let (socket, _) = listener.accept().unwrap();
            socket.set_read_timeout(Some(WATCHDOG)).unwrap();
            let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(config).unwrap(), socket);
            let mut buf = [0; 4096];
            // a client that does not trust us never gets here
            if stream.read(&mut buf).is_ok_and(|count| count > 0) {
                stream.write_all(answer).unwrap();
                stream.flush().unwrap();
                while stream.read(&mut buf).is_ok_and(|count| count > 0) {}
            }
        })
        .unwrap();
        url
    }

    fn ask(url: &str, extra: &[&str], control: &Control) -> Result<Answer, HttpError> {
        let trust = Trust { bundle: None, extra: extra.iter().map(|name| fixture(name)).collect() };
        let settings = Settings { trust, ..Settings::default() };
        Client::new(url, &settings, Reach::Anywhere)?
            .send(&Request { url, headers: &[], body: None, deadlines: MODEL }, control)
    }

    #[test]
    fn an_authority_of_the_configuration_is_trusted() {
        let url = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        let mut answer = ask(&url, &["ca.pem"], &Control::within(WATCHDOG)).unwrap();
        assert_eq!(answer.read_all(10).unwrap(), b"hi");
    }

    #[test]
    fn an_unknown_authority_is_a_failed_connection_in_words() {
        let bundle = Trust { bundle: Some(fixture("server.pem")), extra: Vec::new() };
        let url = server(b"");
        let settings = Settings { trust: bundle, ..Settings::default() };
        let client = Client::new(&url, &settings, Reach::Anywhere).unwrap();
        let request = Request { url: &url, headers: &[], body: None, deadlines: MODEL };
        let fault = client.send(&request, &Control::within(WATCHDOG)).unwrap_err();
        assert!(matches!(fault, HttpError::Tls(..)) && fault.to_string().contains("localhost"), "{fault:?}");
    }

    #[test]
    fn cancelling_ends_a_blocked_read_through_tls() {
        let url = server(b"HTTP/1.1 200 OK\r\n\r\nhi");
        let control = Control::within(WATCHDOG * 2);
        let mut answer = ask(&url, &["ca.pem"], &control).unwrap();
        let mut buf = [0; 10];
        assert_eq!(answer.read(&mut buf, 100).unwrap(), 2);
        let (send, receive) = channel();
        crate::sys::thread::spawn("read", limits::STACK_PARSER, move || {
            send.send(answer.read_all(100).unwrap_err()).unwrap();
        })
        .unwrap();
        control.cancel(AbortReason::Stop);
        let fault = receive.recv_timeout(WATCHDOG).unwrap();
        assert!(matches!(fault, HttpError::Stopped(AbortReason::Stop)), "{fault:?}");
    }

    #[test]
    fn a_bundle_is_read_once_and_a_failure_is_not_remembered() {
        let file = std::env::temp_dir().join(format!("openclaw-ca-{}.pem", std::process::id()));
        let _ = std::fs::remove_file(&file);
        let trust = Trust { bundle: Some(file.clone()), extra: Vec::new() };
        let settings = Settings { trust, ..Settings::default() };
        let client = |settings: &Settings| Client::new("https://localhost/", settings, Reach::Anywhere).map(|_| ());
        assert!(client(&settings).is_err());
        std::fs::copy(fixture("ca.pem"), &file).unwrap();
        client(&settings).unwrap();
        std::fs::remove_file(&file).unwrap();
        client(&settings.clone()).unwrap();
    }

    #[test]
    fn a_bundle_beyond_its_bound_is_refused() {
        let file = std::env::temp_dir().join(format!("openclaw-large-ca-{}.pem", std::process::id()));
        let mut bundle = std::fs::read(fixture("ca.pem")).unwrap();
        bundle.resize(usize::try_from(limits::CA_FILE_BYTES).unwrap(), b'\n');
        std::fs::write(&file, &bundle).unwrap();
        assert_eq!(read(&file).unwrap().len(), 1);
        bundle.push(b'\n');
        std::fs::write(&file, &bundle).unwrap();
        let fault = read(&file).unwrap_err();
        std::fs::remove_file(&file).unwrap();
        assert!(fault.to_string().contains("too large"), "{fault}");
    }

    #[test]
    fn files_without_certificates_are_named() {
        for name in ["server.key", "no-such-file.pem"] {
            let trust = Trust { bundle: Some(fixture(name)), extra: Vec::new() };
            let fault = roots(&trust).unwrap_err();
            assert!(fault.to_string().contains(name), "{fault}");
        }
    }
}
