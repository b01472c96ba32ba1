//! The server's certificate: the configured one, or a self-signed one that is made once and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use plan::Misfit;
use plan::settings::{Settings, Tls};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use crate::state::{State, write_private};

/// What every TLS listener shows. It can be changed while they serve: who connects from then on sees the new one.
#[derive(Debug)]
pub struct Shown {
    current: RwLock<Arc<CertifiedKey>>,
    certificate: PathBuf,
    key: PathBuf,
    /// Named by the settings: whoever wrote those files replaces them.
    configured: bool,
}

impl Shown {
    /// The configured certificate, or the one that was made and kept, made now where there is none.
    pub fn open(settings: &Tls, state: &State, server_name: &str) -> Result<Arc<Shown>, Misfit> {
        let configured = settings.certificate.is_some();
        let (certificate, key) = match (&settings.certificate, &settings.key) {
            (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
            _ => (state.join("certificate.pem"), state.join("key.pem")),
        };
        // A disk that does not answer is not a missing certificate: a new one would take its place for good.
        let there = |path: &Path| {
            path.try_exists()
                .map_err(|error| Misfit::new(format!("{}: {error}", path.display())))
        };
        let kept = there(&certificate)? && there(&key)?;
        if !configured && !kept {
            make(&certificate, &key, server_name)?;
        }
        let current = RwLock::new(Arc::new(read(&certificate, &key)?));
        Ok(Arc::new(Shown {
            current,
            certificate,
            key,
            configured,
        }))
    }

    fn show_from_now_on(&self, certified: CertifiedKey) {
        *self.current.write().expect("nobody panics holding it") = Arc::new(certified);
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.current
            .read()
            .expect("nobody panics holding it")
            .clone()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl control::admin::Certificate for Shown {
    fn chain(&self) -> Vec<Vec<u8>> {
        let current = self.current();
        current.cert.iter().map(|one| one.to_vec()).collect()
    }

    fn replace(&self, chain: &str, key: &str) -> Result<(), String> {
        if self.configured {
            return Err(format!(
                "the settings name {}: replace it and its key there, then `ringpostctl certificate reload`",
                self.certificate.display()
            ));
        }
        let certified = certified(parse_chain(chain.as_bytes())?, parse_key(key.as_bytes())?)?;
        // The key first: a certificate without its key is made again at the next start.
        write_private(&self.key, key.as_bytes())
            .and_then(|()| write_private(&self.certificate, chain.as_bytes()))
            .map_err(|error| format!("{}: {error}", self.certificate.display()))?;
        self.show_from_now_on(certified);
        Ok(())
    }

    fn reload(&self) -> Result<(), String> {
        let certified = read(&self.certificate, &self.key).map_err(|misfit| misfit.to_string())?;
        self.show_from_now_on(certified);
        Ok(())
    }
}

/// TLS for mail: no certificate is asked of clients.
pub fn for_mail(shown: &Arc<Shown>) -> Arc<ServerConfig> {
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(shown.clone());
    Arc::new(config)
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, Misfit> {
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

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, String> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(|error| {
        format!("this and its key do not make a TLS certificate: {error}; the server's own certificate comes first, and the key is its key")
    })
}

/// What HTTPS shows: the same certificate, and a request for the client's where `[admin] client_ca` says whose are believed.
/// A client without one is served too (`/metrics`); what it may ask is `control`'s to say.
pub fn for_https(settings: &Settings, shown: &Arc<Shown>) -> Result<Arc<ServerConfig>, Misfit> {
    let Some(authority) = &settings.admin.client_ca else {
        return Ok(for_mail(shown));
    };
    let inline = authority.trim_start().starts_with("-----BEGIN");
    let told = |why: String| Misfit::new(format!("[admin] client_ca: {why}"));
    let pem = if inline {
        authority.clone().into_bytes()
    } else {
        fs::read(authority).map_err(|error| told(format!("{authority}: {error}")))?
    };
    let trusted = parse_chain(&pem).map_err(|_| {
        told("it holds no PEM certificate: paste ca.pem of `ringpostctl admin-cert`".into())
    })?;
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
    let config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(shown.clone());
    Ok(Arc::new(config))
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

fn parse_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = rustls_pemfile::certs(&mut &pem[..]).collect();
    chain
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or_else(|| "it holds no PEM certificate: write one, or name another file".into())
}

fn parse_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    match rustls_pemfile::private_key(&mut &pem[..]) {
        Ok(Some(key)) => Ok(key),
        _ => Err("it holds no PEM private key: write one, or name another file".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::admin::Certificate;

    fn state() -> (tempfile::TempDir, State) {
        let directory = tempfile::tempdir().expect("a directory");
        let state = State::open(directory.path()).expect("free");
        (directory, state)
    }

    fn another() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["other.example".to_owned()]).expect("made");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_certificate_is_made_once_and_found_again() {
        let (_directory, state) = state();
        let made = Shown::open(&Tls::default(), &state, "mail.example.org").expect("made");
        let found = Shown::open(&Tls::default(), &state, "mail.example.org").expect("found");
        assert_eq!(made.chain(), found.chain());
    }

    #[test]
    fn a_key_that_is_none_is_named() {
        let (_directory, state) = state();
        Shown::open(&Tls::default(), &state, "mail.example.org").expect("made");
        let tls = Tls {
            certificate: Some(state.join("certificate.pem")),
            key: Some(state.join("certificate.pem")),
        };
        let misfit = Shown::open(&tls, &state, "x")
            .expect_err("no key")
            .to_string();
        assert!(misfit.contains("no PEM private key"), "{misfit}");
    }

    #[test]
    fn a_new_certificate_is_shown_at_once_and_after_a_restart() {
        let (_directory, state) = state();
        let shown = Shown::open(&Tls::default(), &state, "x").expect("made");
        let before = shown.chain();
        let (chain, key) = another();
        shown.replace(&chain, &key).expect("replaced");
        assert_ne!(shown.chain(), before);
        let again = Shown::open(&Tls::default(), &state, "x").expect("found");
        assert_eq!(again.chain(), shown.chain());
    }

    #[test]
    fn a_key_of_another_certificate_changes_nothing() {
        let (_directory, state) = state();
        let shown = Shown::open(&Tls::default(), &state, "x").expect("made");
        let before = shown.chain();
        let ((chain, _), (_, key)) = (another(), another());
        assert!(shown.replace(&chain, &key).is_err());
        assert!(shown.replace("", &key).is_err());
        assert_eq!(shown.chain(), before);
        let again = Shown::open(&Tls::default(), &state, "x").expect("found");
        assert_eq!(again.chain(), before);
    }

    #[test]
    fn configured_files_are_reloaded_not_replaced() {
        let (directory, state) = state();
        let (chain, key) = another();
        let files = ["c.pem", "k.pem"].map(|name| directory.path().join(name));
        fs::write(&files[0], &chain).expect("written");
        fs::write(&files[1], &key).expect("written");
        let tls = Tls {
            certificate: Some(files[0].clone()),
            key: Some(files[1].clone()),
        };
        let shown = Shown::open(&tls, &state, "x").expect("found");
        assert!(
            shown
                .replace(&chain, &key)
                .is_err_and(|why| why.contains("reload"))
        );
        let (chain, key) = another();
        fs::write(&files[0], &chain).expect("written");
        assert!(shown.reload().is_err(), "its key is not there yet");
        fs::write(&files[1], &key).expect("written");
        let before = shown.chain();
        shown.reload().expect("both are there");
        assert_ne!(shown.chain(), before);
    }
}
