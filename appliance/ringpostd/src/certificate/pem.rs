//! Certificates and keys as files: a pair is read, checked to belong together, and found where a change was cut short.

use std::fs;
use std::path::{Path, PathBuf};

use plan::Misfit;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// The certificate with its key; with the key that waits for it, where a change was cut short.
pub(crate) fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, Misfit> {
    let waiting = next(key);
    match read_pair(certificate, key) {
        Err(_) if waiting.exists() && read_pair(certificate, &waiting).is_ok() => {
            files::rename(&waiting, key)
                .map_err(|error| Misfit::new(format!("{}: {error}", key.display())))?;
            read_pair(certificate, key)
        }
        found => found,
    }
}

/// The certificate with the key beside it.
fn read_pair(certificate: &Path, key: &Path) -> Result<CertifiedKey, Misfit> {
    let file = |what: &str, path: &Path| {
        fs::read(path).map_err(|error| {
            Misfit::new(format!(
                "cannot read the {what} {}: {error}",
                path.display()
            ))
        })
    };
    let told = |path: &Path, why: String| Misfit::new(format!("{}: {why}", path.display()));
    let chain =
        parse_chain(&file("certificate", certificate)?).map_err(|why| told(certificate, why))?;
    let private = parse_key(&file("key", key)?).map_err(|why| told(key, why))?;
    certified(chain, private).map_err(|why| told(certificate, why))
}

/// The pair, checked to belong together.
pub(crate) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, String> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(|error| {
        format!("the certificate and the key cannot be used together: {error}; put the server's own certificate first, and give its key")
    })
}

/// Where a new key waits for its certificate.
pub(crate) fn next(key: &Path) -> PathBuf {
    let mut name = key.as_os_str().to_owned();
    name.push(".next");
    name.into()
}

/// Every certificate in `pem`, the server's own first.
pub(crate) fn parse_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    chain
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or_else(|| "it contains no PEM certificate: write one, or name another file".into())
}

/// The first private key in `pem`.
pub(crate) fn parse_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| "it contains no PEM private key: write one, or name another file".into())
}
