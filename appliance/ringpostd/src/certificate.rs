//! The certificates that TLS listeners show. The default is the configured one, the one that `certificate set` keeps in the state directory,
//! or a self-signed one; beside it are those of `[[tls.certificates]]` and the one that an authority gave us (ACME). Who names a host gets
//! the one that names it (`index.rs`). Only the self-signed one is ever made, renewed or replaced here; `crate::acme` brings its own.

mod answers;
mod index;
mod pem;
mod server;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use ::admin::certificate::{self as x509, Facts};
use files::Mode;
use plan::Misfit;
use plan::settings::Tls;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::admin::held::{Certificate, Source};
use crate::self_signed::{self, Pair};
use crate::state::State;
pub use answers::{ACME_TLS, Answers};
use index::{Held, Index};
use pem::next;
pub(crate) use pem::{certified, parse_chain, parse_key, read};
pub use server::{for_https, for_mail, for_people, for_strangers};

/// How often the end of the certificates is looked at while the daemon runs.
const LOOK_EVERY: Duration = Duration::from_secs(6 * 60 * 60);

/// What every TLS listener shows. It can be changed while they serve: who connects from then on sees the new ones.
#[derive(Debug)]
pub struct Shown {
    /// What the next handshake looks into.
    current: RwLock<Arc<Index>>,
    parts: Mutex<Parts>,
    /// For an authority that looks whether a name is ours, while an order is under way.
    answers: Arc<Answers>,
    /// The file of the default certificate's chain.
    certificate: PathBuf,
    key: PathBuf,
    /// Named by the settings: their author replaces them.
    configured: bool,
    /// Pairs of the settings beside the default one.
    named: Vec<(PathBuf, PathBuf)>,
    /// The name that a self-signed certificate is made for.
    server_name: String,
    /// Made by this start and not on the disk yet.
    unkept: Mutex<Option<Pair>>,
}

/// What the index is made of.
#[derive(Debug)]
struct Parts {
    default: Held,
    named: Vec<Held>,
    ordered: Option<Held>,
}

impl Parts {
    /// All that are shown, the default one first. One that an authority gave us is a better default than one of our own making.
    fn all(&self) -> Vec<Held> {
        let ours = x509::facts_of(&chain_of(&self.default)).is_some_and(|facts| facts.self_made);
        let mut all = vec![self.default.clone()];
        all.extend(self.named.iter().cloned());
        match &self.ordered {
            Some(ordered) if ours => all[0] = ordered.clone(),
            ordered => all.extend(ordered.clone()),
        }
        all
    }
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
        let pairs = settings.certificates.iter();
        let named: Vec<_> = pairs
            .map(|pair| (pair.certificate.clone(), pair.key.clone()))
            .collect();
        let parts = Parts {
            default: Held {
                source: certificate.display().to_string(),
                pair: Arc::new(current),
            },
            named: read_named(&named)?,
            ordered: None,
        };
        Ok(Arc::new(Shown {
            current: RwLock::new(Arc::new(Index::of(&parts.all()))),
            parts: Mutex::new(parts),
            answers: Arc::default(),
            certificate,
            key,
            configured,
            named,
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

    /// What is shown to an authority that looks whether a name is ours.
    pub fn answers(&self) -> &Arc<Answers> {
        &self.answers
    }

    /// Shows the certificate that an authority gave us, from the next handshake on.
    pub fn show_ordered(&self, pair: CertifiedKey) {
        self.change(|parts| {
            parts.ordered = Some(Held {
                source: ORDERED.to_owned(),
                pair: Arc::new(pair),
            });
        });
    }

    /// Certificate and key change together. The new key waits under another name until its certificate is there: between
    /// two steps either the old pair is whole or the new one (`read` knows both places).
    fn write(&self, pair: &Pair) -> std::io::Result<()> {
        write_pair(&self.certificate, &self.key, pair)
    }

    /// Renews a self-signed certificate that is due, and says in the log what the operator has to do about another one.
    fn look(&self, now_s: i64) {
        let default = chain_of(&self.parts.lock().expect("no holder panics").default);
        if let Some(facts) = x509::facts_of(&default)
            && facts.self_made
            && !self.configured
            && self_signed::is_due(&facts, &self.server_name, now_s)
        {
            match self.renew(now_s) {
                Ok(()) => tracing::info!("the self-signed certificate was renewed"),
                Err(why) => tracing::warn!(why, "the self-signed certificate cannot be renewed"),
            }
        }
        for source in self.sources() {
            match source.alarm(now_s) {
                Some(alarm) if x509::is_urgent(&source.chain, now_s) => tracing::error!(alarm),
                Some(alarm) => tracing::warn!(alarm),
                None => {}
            }
        }
        if self.configured && others_read(&self.key) {
            tracing::warn!(key = %self.key.display(), "others may read this key: give it to the daemon alone (chmod 600)");
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

    /// The next handshake gets this pair by default. Connections that stand keep what they have.
    fn show_from_now_on(&self, certified: CertifiedKey) {
        self.change(|parts| parts.default.pair = Arc::new(certified));
    }

    /// Changes what is shown, and makes the index of it.
    fn change(&self, change: impl FnOnce(&mut Parts)) {
        let mut parts = self.parts.lock().expect("no holder panics");
        change(&mut parts);
        let index = Arc::new(Index::of(&parts.all()));
        *self.current.write().expect("no holder of this lock panics") = index;
    }

    fn current(&self) -> Arc<Index> {
        self.current
            .read()
            .expect("no holder of this lock panics")
            .clone()
    }
}

/// What `certificate status` calls the certificate that an authority gave us.
const ORDERED: &str = "acme";

fn chain_of(held: &Held) -> Vec<Vec<u8>> {
    held.pair.cert.iter().map(|one| one.to_vec()).collect()
}

/// Writes a pair so that at every moment the old one or the new one can be read.
pub fn write_pair(certificate: &Path, key: &Path, pair: &Pair) -> std::io::Result<()> {
    let next = next(key);
    files::replace(&next, pair.key.as_bytes(), Mode::Private)?;
    files::replace(certificate, pair.chain.as_bytes(), Mode::Private)?;
    files::rename(&next, key)
}

/// All pairs that the settings name beside the default one, or the first that cannot be shown.
fn read_named(named: &[(PathBuf, PathBuf)]) -> Result<Vec<Held>, Misfit> {
    let one = |(certificate, key): &(PathBuf, PathBuf)| {
        let pair = read(certificate, key)?;
        if others_read(key) {
            return Err(Misfit::new(format!(
                "{}: others may read or change this key: give it to the daemon alone (chmod 600)",
                key.display()
            )));
        }
        let facts = pair.cert.first().and_then(|der| Facts::of(der));
        if facts.is_none_or(|facts| facts.names.is_empty()) {
            return Err(Misfit::new(format!(
                "{}: this certificate contains no DNS name, so no client can ask for it: give it one, or remove it from [[tls.certificates]]",
                certificate.display()
            )));
        }
        Ok(Held {
            source: certificate.display().to_string(),
            pair: Arc::new(pair),
        })
    };
    named.iter().map(one).collect()
}

/// Whether a file is readable or writable by all users, or writable by its group. One that cannot be looked at is reported by who reads it.
pub(crate) fn others_read(key: &Path) -> bool {
    fs::metadata(key).is_ok_and(|meta| meta.permissions().mode() & 0o026 != 0)
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
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // RFC 8737 §3: who asks for this protocol alone is an authority that looks whether the name is ours.
        if hello
            .alpn()
            .is_some_and(|mut asked| asked.all(|one| one == ACME_TLS))
        {
            return self.answers.certificate(hello.server_name()?);
        }
        Some(self.current().find(hello.server_name()))
    }
}

impl Certificate for Shown {
    fn chain(&self) -> Vec<Vec<u8>> {
        let default = self.current().find(None);
        default.cert.iter().map(|one| one.to_vec()).collect()
    }

    fn sources(&self) -> Vec<Source> {
        let all = self.parts.lock().expect("no holder panics").all();
        let source = |held: &Held| Source {
            name: held.source.clone(),
            ordered: held.source == ORDERED,
            chain: chain_of(held),
        };
        all.iter().map(source).collect()
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
        // All of them are read before one is shown: a bad file leaves the whole set as it is.
        let certified = read(&self.certificate, &self.key).map_err(|misfit| misfit.to_string())?;
        let named = read_named(&self.named).map_err(|misfit| misfit.to_string())?;
        self.change(|parts| {
            parts.default.pair = Arc::new(certified);
            parts.named = named;
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
