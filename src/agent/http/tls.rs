//! Whom TLS trusts: the system's CA bundle (or `SSL_CERT_FILE`), and CA files of the environment and the
//! configuration. No certificates are compiled in, so that an operator's own bundle is the whole truth.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::{HttpError, Trust};
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

/// A configuration that trusts exactly these authorities.
pub(super) fn config(trust: &Trust) -> Result<TlsConfig, HttpError> {
    let certificates = Arc::new(roots(trust)?);
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::Specific(certificates))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
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
