//! The server's certificate: the configured one, or a self-signed one that is made once and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plan::Misfit;
use plan::settings::{Settings, Tls};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::state::{State, write_private};

pub fn load(settings: &Tls, state: &State, server_name: &str) -> Result<Arc<ServerConfig>, Misfit> {
    let (certificate, key) = places(settings, state);
    if settings.certificate.is_none() && !(certificate.exists() && key.exists()) {
        make(&certificate, &key, server_name)?;
    }
    let chain = chain(&certificate)?;
    let private = private(&key)?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, private);
    config.map(Arc::new).map_err(|error| {
        Misfit::new(format!(
            "{} and {} do not make a TLS certificate: {error}; the server's own certificate comes first, and the key is its key",
            certificate.display(),
            key.display()
        ))
    })
}

/// What HTTPS shows: the same certificate, and a request for the client's where `[admin] client_ca` says whose are believed.
/// A client without one is served too (`/metrics`); what it may ask is `control`'s to say.
pub fn for_https(
    settings: &Settings,
    state: &State,
    plain: Arc<ServerConfig>,
) -> Result<Arc<ServerConfig>, Misfit> {
    let Some(authority) = &settings.admin.client_ca else {
        return Ok(plain);
    };
    let inline = authority.trim_start().starts_with("-----BEGIN");
    let told = |why: String| Misfit::new(format!("[admin] client_ca: {why}"));
    let trusted = if inline {
        let pem: Result<Vec<_>, _> = rustls_pemfile::certs(&mut authority.as_bytes()).collect();
        pem.ok().filter(|found| !found.is_empty()).ok_or_else(|| {
            told("it holds no PEM certificate: paste ca.pem of `ringpostctl admin-cert`".into())
        })?
    } else {
        chain(Path::new(authority))?
    };
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots
            .add(certificate)
            .map_err(|error| told(error.to_string()))?;
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
        .allow_unauthenticated()
        .build()
        .map_err(|error| told(error.to_string()))?;
    let (certificate, key) = places(&settings.tls, state);
    let config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(&certificate)?, private(&key)?)
        .map_err(|error| told(error.to_string()))?;
    Ok(Arc::new(config))
}

/// The configured files, or those that are made and kept.
fn places(settings: &Tls, state: &State) -> (PathBuf, PathBuf) {
    match (&settings.certificate, &settings.key) {
        (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
        _ => (state.join("certificate.pem"), state.join("key.pem")),
    }
}

fn make(certificate: &Path, key: &Path, server_name: &str) -> Result<(), Misfit> {
    let mut names = vec![server_name.to_owned()];
    for name in ["localhost", "127.0.0.1", "::1"] {
        if name != server_name {
            names.push(name.to_owned());
        }
    }
    let made = rcgen::generate_simple_self_signed(names).map_err(|error| {
        Misfit::new(format!(
            "cannot make a certificate for `{server_name}`: {error}"
        ))
    })?;
    // The key first: a certificate without its key is made again at the next start.
    let written = write_private(key, made.signing_key.serialize_pem().as_bytes())
        .and_then(|()| write_private(certificate, made.cert.pem().as_bytes()));
    written.map_err(|error| {
        Misfit::new(format!(
            "cannot keep the certificate {}: {error}",
            certificate.display()
        ))
    })
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Misfit> {
    let pem = fs::read(path).map_err(|error| {
        Misfit::new(format!(
            "cannot read the certificate {}: {error}",
            path.display()
        ))
    })?;
    let chain: Result<Vec<_>, _> = rustls_pemfile::certs(&mut &pem[..]).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(Misfit::new(format!(
            "{} holds no PEM certificate: write one, or name another file",
            path.display()
        ))),
    }
}

fn private(path: &Path) -> Result<PrivateKeyDer<'static>, Misfit> {
    let pem = fs::read(path)
        .map_err(|error| Misfit::new(format!("cannot read the key {}: {error}", path.display())))?;
    match rustls_pemfile::private_key(&mut &pem[..]) {
        Ok(Some(key)) => Ok(key),
        _ => Err(Misfit::new(format!(
            "{} holds no PEM private key: write one, or name another file",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_found_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = State::open(directory.path()).expect("free");
        load(&Tls::default(), &state, "mail.example.org").expect("made");
        let before = fs::read(state.join("certificate.pem")).expect("kept");
        load(&Tls::default(), &state, "mail.example.org").expect("found");
        assert_eq!(
            fs::read(state.join("certificate.pem")).expect("kept"),
            before
        );
    }

    #[test]
    fn a_key_that_is_none_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = State::open(directory.path()).expect("free");
        load(&Tls::default(), &state, "mail.example.org").expect("made");
        let tls = Tls {
            certificate: Some(state.join("certificate.pem")),
            key: Some(state.join("certificate.pem")),
        };
        let misfit = load(&tls, &state, "x").expect_err("no key").to_string();
        assert!(misfit.contains("no PEM private key"), "{misfit}");
    }
}
