//! The certificate that TLS listeners show: the configured one, the one that `certificate set` keeps in the state
//! directory, or a self-signed one. Only the last kind is ever made, renewed or replaced by the daemon itself.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use ::admin::certificate::{self as x509, Facts};
use files::Mode;
use plan::Misfit;
use plan::settings::{Settings, Tls};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use crate::admin::shared::Certificate;
use crate::self_signed::{self, Pair};
use crate::state::State;

/// How often the end of the certificate is looked at while the daemon runs.
const LOOK_EVERY: Duration = Duration::from_secs(6 * 60 * 60);

/// What every TLS listener shows. It can be changed while they serve: who connects from then on sees the new one.
#[derive(Debug)]
pub struct Shown {
    /// What the next handshake gets.
    current: RwLock<Arc<CertifiedKey>>,
    /// The file of the certificate chain.
    certificate: PathBuf,
    key: PathBuf,
    /// Named by the settings: their author replaces them.
    configured: bool,
    /// The name that a self-signed certificate is made for.
    server_name: String,
    /// Made by this start and not on the disk yet.
    unkept: Mutex<Option<Pair>>,
}

impl Shown {
    /// The configured certificate, or the kept one; a self-signed one where there is none, or where the kept one is
    /// self-signed and due. Writes nothing: `keep` does, once the start cannot be refused any more. A certificate without
    /// its key is refused, except one that the daemon made itself.
    pub fn open(settings: &Tls, state: &State, server_name: &str) -> Result<Arc<Shown>, Misfit> {
        let configured = settings.certificate.is_some();
        let (certificate, key) = match (&settings.certificate, &settings.key) {
            (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
            _ => (state.join("certificate.pem"), state.join("key.pem")),
        };
        let made = if configured {
            None
        } else {
            kept_or_made(&certificate, &key, server_name, x509::now_s())?
        };
        let current = match &made {
            Some(pair) => pair.certified().map_err(Misfit::new)?,
            None => read(&certificate, &key)?,
        };
        Ok(Arc::new(Shown {
            current: RwLock::new(Arc::new(current)),
            certificate,
            key,
            configured,
            server_name: server_name.to_owned(),
            unkept: Mutex::new(made),
        }))
    }

    /// Writes what `open` made. Called when the volume stands.
    pub fn keep(&self) -> Result<(), Misfit> {
        let Some(pair) = self.unkept.lock().expect("no holder panics").take() else {
            return Ok(());
        };
        self.write(&pair).map_err(|error| {
            Misfit::new(format!(
                "cannot store the certificate {}: {error}",
                self.certificate.display()
            ))
        })
    }

    /// Certificate and key change together. The new key waits under another name until its certificate is there: between
    /// two steps either the old pair is whole or the new one (`read` knows both places).
    fn write(&self, pair: &Pair) -> std::io::Result<()> {
        let next = next(&self.key);
        files::replace(&next, pair.key.as_bytes(), Mode::Private)?;
        files::replace(&self.certificate, pair.chain.as_bytes(), Mode::Private)?;
        files::rename(&next, &self.key)
    }

    /// Renews a self-signed certificate that is due, and says in the log what the operator has to do about another one.
    fn look(&self, now_s: i64) {
        let chain = self.chain();
        let facts = chain.first().and_then(|der| Facts::of(der));
        if let Some(facts) = facts
            && facts.self_made
            && !self.configured
            && self_signed::is_due(&facts, &self.server_name, now_s)
        {
            match self.renew(now_s) {
                Ok(()) => tracing::info!("the self-signed certificate was renewed"),
                Err(why) => tracing::warn!(why, "the self-signed certificate cannot be renewed"),
            }
        }
        if let Some(alarm) = x509::alarm(&self.chain(), now_s) {
            tracing::warn!(alarm);
        }
    }

    /// Makes a new certificate for the same key, so that clients that pinned the key go on.
    fn renew(&self, now_s: i64) -> Result<(), String> {
        let key = fs::read_to_string(&self.key).ok();
        let pair = self_signed::make(&self.server_name, key.as_deref(), now_s)
            .map_err(|error| error.to_string())?;
        let certified = pair.certified()?;
        self.write(&pair)
            .map_err(|error| format!("{}: {error}", self.certificate.display()))?;
        self.show_from_now_on(certified);
        Ok(())
    }

    /// The next handshake gets this pair. Connections that stand keep what they have.
    fn show_from_now_on(&self, certified: CertifiedKey) {
        *self.current.write().expect("no holder of this lock panics") = Arc::new(certified);
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.current
            .read()
            .expect("no holder of this lock panics")
            .clone()
    }
}

/// Looks after what is shown as long as the daemon runs.
pub async fn look_after(shown: Arc<Shown>) {
    loop {
        // until the daemon ends
        shown.look(x509::now_s());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// `None`: the files hold a certificate that is to be shown as it is.
fn kept_or_made(
    certificate: &Path,
    key: &Path,
    server_name: &str,
    now_s: i64,
) -> Result<Option<Pair>, Misfit> {
    let make = |key: Option<&str>| {
        self_signed::make(server_name, key, now_s)
            .map(Some)
            .map_err(|error| {
                Misfit::new(format!(
                    "cannot make a certificate for `{server_name}`: {error}"
                ))
            })
    };
    let (kept, own_key) = (there(certificate)?, there(key)?);
    let Some(kept) = kept else {
        return make(own_key.as_deref());
    };
    let facts = parse_chain(kept.as_bytes()).ok();
    let facts = facts.and_then(|chain| Facts::of(chain.first()?));
    let ours = facts.filter(|facts| facts.self_made);
    match (ours, own_key.is_some() || there(&next(key))?.is_some()) {
        (Some(facts), true) if !self_signed::is_due(&facts, server_name, now_s) => Ok(None),
        (Some(_), _) => make(own_key.as_deref()),
        (None, true) => Ok(None),
        (None, false) => Err(Misfit::new(format!(
            "{} is missing, the key of {}: put it back, or move the certificate away too (then a self-signed one is made)",
            key.display(),
            certificate.display()
        ))),
    }
}

/// A file's text; `None`: there is no such file. One that cannot be read is not a missing one: another would take its place
/// for good.
fn there(path: &Path) -> Result<Option<String>, Misfit> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Misfit::new(format!("{}: {error}", path.display()))),
    }
}

/// Where a new key waits for its certificate.
fn next(key: &Path) -> PathBuf {
    let mut name = key.as_os_str().to_owned();
    name.push(".next");
    name.into()
}

impl Pair {
    /// The pair as TLS takes it.
    fn certified(&self) -> Result<CertifiedKey, String> {
        certified(
            parse_chain(self.chain.as_bytes())?,
            parse_key(self.key.as_bytes())?,
        )
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl Certificate for Shown {
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
        let pair = Pair {
            chain: chain.to_owned(),
            key: key.to_owned(),
        };
        self.write(&pair)
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

/// The certificate with its key; with the key that waits for it, where a change was cut short.
fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, Misfit> {
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
fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, String> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(|error| {
        format!("the certificate and the key cannot be used together: {error}; put the server's own certificate first, and give its key")
    })
}

/// What HTTPS shows: the same certificate, and a request for the client's where `[admin] client_ca` says whose are believed.
/// A client without one is served too (`/metrics`); what it may ask is for `admin/http.rs` to say.
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
        told("it contains no PEM certificate: paste ca.pem of `ringpostctl admin-cert`".into())
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

/// Every certificate in `pem`, the server's own first.
fn parse_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    chain
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or_else(|| "it contains no PEM certificate: write one, or name another file".into())
}

/// The first private key in `pem`.
fn parse_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| "it contains no PEM private key: write one, or name another file".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> (tempfile::TempDir, State) {
        let directory = tempfile::tempdir().expect("a directory");
        let state = State::open(directory.path()).expect("free");
        (directory, state)
    }

    fn another() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["other.example".to_owned()]).expect("made");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    const DAY_S: i64 = 24 * 60 * 60;

    fn open(state: &State) -> Arc<Shown> {
        let shown = Shown::open(&Tls::default(), state, "mail.example.org").expect("shown");
        shown.keep().expect("kept");
        shown
    }

    fn facts(shown: &Shown) -> Facts {
        Facts::of(&shown.chain()[0]).expect("readable")
    }

    #[test]
    fn a_certificate_is_made_once_and_found_again() {
        let (_directory, state) = state();
        let made = open(&state);
        assert_eq!(made.chain(), open(&state).chain());
        let facts = facts(&made);
        assert!(facts.self_made && facts.names.contains(&"mail.example.org".to_owned()));
        assert!(
            (364..=365).contains(&facts.days_left(x509::now_s())),
            "{facts:?}"
        );
    }

    #[test]
    fn nothing_is_written_before_the_start_is_sure() {
        let (_directory, state) = state();
        Shown::open(&Tls::default(), &state, "mail.example.org").expect("made");
        assert!(!state.join("certificate.pem").exists() && !state.join("key.pem").exists());
    }

    #[test]
    fn a_self_signed_certificate_is_renewed_with_its_key_before_it_ends() {
        let (_directory, state) = state();
        let shown = open(&state);
        let (before, key) = (
            shown.chain(),
            fs::read(state.join("key.pem")).expect("kept"),
        );
        shown.look(x509::now_s() + 300 * DAY_S);
        assert_eq!(shown.chain(), before, "65 days are left");
        shown.look(x509::now_s() + 340 * DAY_S);
        assert_ne!(shown.chain(), before);
        assert!(facts(&shown).days_left(x509::now_s()) > 600);
        assert_eq!(fs::read(state.join("key.pem")).expect("kept"), key);
        assert_eq!(open(&state).chain(), shown.chain());
        // Another name of the server is another reason.
        let renamed = Shown::open(&Tls::default(), &state, "mx.example.org").expect("made");
        assert!(facts(&renamed).names.contains(&"mx.example.org".to_owned()));
    }

    #[test]
    fn an_operator_s_certificate_is_never_renewed() {
        let (_directory, state) = state();
        let shown = open(&state);
        let (chain, key) = another();
        shown.replace(&chain, &key).expect("replaced");
        let before = shown.chain();
        shown.look(i64::MAX / 2);
        assert_eq!(shown.chain(), before);
    }

    #[test]
    fn a_certificate_without_its_key_is_refused_and_stays_as_it_is() {
        let (_directory, state) = state();
        let shown = open(&state);
        let (chain, key) = another();
        shown.replace(&chain, &key).expect("replaced");
        fs::remove_file(state.join("key.pem")).expect("our own");
        let misfit = Shown::open(&Tls::default(), &state, "mail.example.org").expect_err("no key");
        assert!(
            misfit.to_string().contains("key.pem is missing"),
            "{misfit}"
        );
        assert_eq!(
            fs::read_to_string(state.join("certificate.pem")).expect("there"),
            chain
        );
        assert!(!state.join("key.pem").exists());
        // One of our own making has nothing to lose.
        fs::remove_file(state.join("certificate.pem")).expect("our own");
        open(&state);
        fs::remove_file(state.join("key.pem")).expect("our own");
        assert!(facts(&open(&state)).self_made);
    }

    #[test]
    fn a_key_without_its_certificate_is_not_replaced() {
        let (_directory, state) = state();
        open(&state);
        let key = fs::read(state.join("key.pem")).expect("kept");
        fs::remove_file(state.join("certificate.pem")).expect("our own");
        open(&state);
        assert_eq!(fs::read(state.join("key.pem")).expect("kept"), key);
    }

    /// The power goes between two steps of a change: one of the two pairs is shown.
    #[test]
    fn a_change_that_is_cut_short_leaves_a_certificate_with_its_key() {
        let (_directory, state) = state();
        let shown = open(&state);
        let old = shown.chain();
        let (chain, key) = another();
        fs::write(state.join("key.pem.next"), &key).expect("the first step");
        assert_eq!(open(&state).chain(), old);
        fs::write(state.join("certificate.pem"), &chain).expect("the second step");
        let new = open(&state);
        assert_ne!(new.chain(), old);
        assert_eq!(
            fs::read_to_string(state.join("key.pem")).expect("there"),
            key
        );
        assert!(!state.join("key.pem.next").exists());
    }

    #[test]
    fn a_key_that_is_none_is_named() {
        let (_directory, state) = state();
        open(&state);
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
        let shown = open(&state);
        let before = shown.chain();
        let (chain, key) = another();
        shown.replace(&chain, &key).expect("replaced");
        assert_ne!(shown.chain(), before);
        let again = open(&state);
        assert_eq!(again.chain(), shown.chain());
    }

    #[test]
    fn a_key_of_another_certificate_changes_nothing() {
        let (_directory, state) = state();
        let shown = open(&state);
        let before = shown.chain();
        let ((chain, _), (_, key)) = (another(), another());
        assert!(shown.replace(&chain, &key).is_err());
        assert!(shown.replace("", &key).is_err());
        assert_eq!(shown.chain(), before);
        let again = open(&state);
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
