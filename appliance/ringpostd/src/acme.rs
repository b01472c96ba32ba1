//! A certificate from an authority that gives it by itself (ACME, RFC 8555): ordered, shown without a restart, and renewed.
//!
//! What must hold: a failing order leaves the certificate that is shown as it is. The authority is not asked in a tight loop, over restarts
//! neither (`tries.rs`). A certificate is durable before it is shown, and its key stays the same over renewals, so that what others know of the key
//! (TLSA records, RFC 6698) stays right.
//!
//! All of it runs on the main thread, beside administration; no thread that serves mail takes part. `run` waits until it is time, `order.rs`
//! makes one order over `web.rs`, and proves the names by `certificate/answers.rs` or `zone.rs`.

mod order;
mod tries;
mod web;
mod zone;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::admin::acme::AcmeLine;
use ::admin::certificate::{Facts, facts_of, now_s};
use dns::Names;
use plan::Misfit;
use plan::settings::Settings;
use rustls::ClientConfig;
use rustls::sign::CertifiedKey;
use tokio::sync::Notify;

use crate::certificate::{self, Answers, Shown};
use crate::state::State;
use tries::{Tries, covers};
use zone::Zone;

/// The clock may be set while we wait: it is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(10 * 60);
/// One try, and one question when to renew.
const TRY_WITHIN: Duration = Duration::from_secs(45 * 60);

/// Where the pieces are kept.
#[derive(Debug, Clone)]
struct Places {
    account: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    tries: PathBuf,
}

/// What keeps the certificate. Administration asks it, and listeners its answers.
pub struct Acme {
    settings: plan::acme::Acme,
    names: Vec<String>,
    places: Places,
    trust: Arc<ClientConfig>,
    zone: Option<Zone>,
    shown: Arc<Shown>,
    answers: Arc<Answers>,
    tries: Mutex<Tries>,
    /// Facts of the certificate that is kept; `None`: there is none.
    facts: Mutex<Option<Facts>>,
    under_way: Mutex<bool>,
    asked: Notify,
}

impl Acme {
    /// Reads what is kept, and shows its certificate. `None`: the settings order none. A kept certificate that cannot be read is ordered again,
    /// and the log says so: mail goes on with the other one.
    pub fn open(
        settings: &Settings,
        state: &State,
        shown: &Arc<Shown>,
    ) -> Result<Option<Arc<Acme>>, Misfit> {
        if !settings.acme.is_on() {
            return Ok(None);
        }
        let places = Places {
            account: state.join("acme-account.json"),
            certificate: state.join("acme-certificate.pem"),
            key: state.join("acme-key.pem"),
            tries: state.join("acme-tries.json"),
        };
        let zone = match settings.acme.challenge {
            plan::acme::Challenge::Dns => Some(Zone::open(&settings.acme.dns)?),
            _ => None,
        };
        let acme = Acme {
            names: settings.acme.names(&settings.server.name),
            trust: web::trust(settings.acme.authorities.as_deref())?,
            zone,
            shown: shown.clone(),
            answers: shown.answers().clone(),
            tries: Mutex::new(Tries::read(&places.tries, now_s())),
            facts: Mutex::new(None),
            under_way: Mutex::new(false),
            asked: Notify::new(),
            settings: settings.acme.clone(),
            places,
        };
        if acme.places.certificate.exists() {
            match certificate::read(&acme.places.certificate, &acme.places.key) {
                Ok(pair) => acme.show(pair),
                Err(misfit) => {
                    tracing::warn!(%misfit, "the certificate of the authority is ordered again")
                }
            }
        }
        Ok(Some(Arc::new(acme)))
    }

    /// Orders and renews as long as the daemon runs.
    pub async fn run(self: Arc<Acme>, names: impl Names) {
        loop {
            // until the daemon ends
            if self.must_look() {
                self.look(names.clone()).await;
            }
            let wait_s = self.try_s() - now_s();
            let asked = if wait_s > 0 {
                let wait = Duration::from_secs(wait_s.cast_unsigned());
                let asked = tokio::time::timeout(wait.min(LOOK_EVERY), self.asked.notified());
                asked.await.is_ok()
            } else {
                true
            };
            if asked && self.tries().limited_s <= now_s() {
                self.attempt(names.clone()).await;
            }
        }
    }

    /// An operator wants a new certificate now. `Err`: one sentence.
    pub fn renew(&self) -> Result<(), String> {
        if *self.under_way.lock().expect("no holder panics") {
            return Err(
                "an order is under way: `ringpostctl certificate status` says what comes of it"
                    .to_owned(),
            );
        }
        let limited_s = self.tries().limited_s;
        if limited_s > now_s() {
            return Err(format!(
                "the authority does not want to be asked before {}: try again then",
                date(limited_s)
            ));
        }
        self.asked.notify_one();
        Ok(())
    }

    /// How it is, for people and programs.
    pub fn line(&self) -> AcmeLine {
        let tries = self.tries();
        let under_way = *self.under_way.lock().expect("no holder panics");
        AcmeLine {
            directory: self.settings.directory.clone(),
            challenge: match self.settings.challenge {
                plan::acme::Challenge::Http => "http-01",
                plan::acme::Challenge::TlsAlpn => "tls-alpn-01",
                plan::acme::Challenge::Dns => "dns-01",
            }
            .to_owned(),
            names: self.names.clone(),
            under_way,
            by_authority: tries.window.is_some(),
            next_s: tries.try_s(self.due_s(&tries)).max(0).cast_unsigned(),
            // A try is counted as a failure when it begins.
            failures: tries.failures - u32::from(under_way).min(tries.failures),
            error: tries.error.filter(|_| !under_way),
        }
    }

    /// What the operator should look at although no certificate ends soon.
    pub fn alarm(&self) -> Option<String> {
        let tries = self.tries();
        let missing = self.facts.lock().expect("no holder panics").is_none();
        let under_way = *self.under_way.lock().expect("no holder panics");
        let why = tries.error.filter(|_| missing && !under_way)?;
        Some(format!(
            "acme: the authority has given no certificate yet: {why}: `ringpostctl certificate status` says when the next try is"
        ))
    }

    /// What is served to the authority under a token.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    fn tries(&self) -> Tries {
        self.tries.lock().expect("no holder panics").clone()
    }

    fn due_s(&self, tries: &Tries) -> i64 {
        tries.due_s(
            self.facts.lock().expect("no holder panics").as_ref(),
            &self.names,
        )
    }

    fn try_s(&self) -> i64 {
        let tries = self.tries();
        tries.try_s(self.due_s(&tries))
    }

    /// Whether the authority is to be asked when to renew.
    fn must_look(&self) -> bool {
        let (tries, now_s) = (self.tries(), now_s());
        let is_there = self.facts.lock().expect("no holder panics").is_some();
        is_there && tries.look_s <= now_s && tries.next_s <= now_s && tries.limited_s <= now_s
    }

    fn show(&self, pair: CertifiedKey) {
        let chain: Vec<Vec<u8>> = pair.cert.iter().map(|one| one.to_vec()).collect();
        *self.facts.lock().expect("no holder panics") = facts_of(&chain);
        self.shown.show_ordered(pair);
    }

    /// Changes the record, and keeps it. A record that cannot be kept is an error in the log; the one in memory counts as long as we run.
    fn change(&self, change: impl FnOnce(&mut Tries)) {
        let mut tries = self.tries.lock().expect("no holder panics");
        change(&mut tries);
        if let Err(error) = tries.write(&self.places.tries) {
            tracing::error!(%error, path = %self.places.tries.display(), "cannot keep when the authority was asked");
        }
    }

    /// Asks the authority when to renew (RFC 9773).
    async fn look(&self, names: impl Names) {
        let looked = tokio::time::timeout(TRY_WITHIN, self.with_client(names, order::window)).await;
        match looked {
            Ok((Ok(Some((window, again))), _)) => {
                let again_s = i64::try_from(again.as_secs()).unwrap_or(i64::MAX);
                self.change(|tries| tries.set_window(now_s(), window, again_s, fastrand::f64()));
            }
            Ok((Ok(None), _)) => self.change(|tries| {
                tries.window = None;
                tries.no_window(now_s());
            }),
            Ok((Err(why), limited)) => {
                tracing::info!(why, "the authority does not say when to renew");
                self.change(|tries| {
                    tries.no_window(now_s());
                    tries.look_s = tries.look_s.max(limited.unwrap_or(0).min(now_s() + WEEK_S));
                });
            }
            Err(_) => self.change(|tries| tries.no_window(now_s())),
        }
    }

    async fn attempt(&self, names: impl Names) {
        *self.under_way.lock().expect("no holder panics") = true;
        self.change(|tries| tries.begin(now_s(), fastrand::f64()));
        let tried = tokio::time::timeout(TRY_WITHIN, self.with_client(names, order::order)).await;
        self.answers.clear();
        let (outcome, limited) = tried.unwrap_or_else(|_| {
            (
                Err("the order took longer than 45 minutes".to_owned()),
                None,
            )
        });
        match outcome {
            Ok(pair) => {
                self.show(pair);
                self.change(|tries| tries.end_well(now_s()));
                tracing::info!(
                    names = self.names.join(" "),
                    "the authority gave a certificate"
                );
            }
            Err(why) => {
                self.change(|tries| {
                    tries.end_failed(now_s(), why.clone(), limited, fastrand::f64());
                });
                tracing::warn!(
                    why,
                    again = date(self.try_s()),
                    "no certificate from the authority"
                );
            }
        }
        *self.under_way.lock().expect("no holder panics") = false;
    }

    /// Runs `work` with a client, and says before when the authority does not want to be asked again.
    async fn with_client<T>(
        &self,
        names: impl Names,
        work: impl AsyncFnOnce(&Acme, web::Web) -> Result<T, String>,
    ) -> (Result<T, String>, Option<i64>) {
        let limited = web::NotBefore::default();
        let (client, asked) = web::web();
        // It ends when the client is dropped, which is with the order.
        let serving = web::serve(asked, names, self.trust.clone(), limited.clone());
        tokio::task::spawn_local(serving);
        let done = work(self, client).await;
        let limited = *limited.lock().expect("no holder panics");
        (done, limited)
    }
}

const WEEK_S: i64 = 7 * 24 * 60 * 60;

fn date(s: i64) -> String {
    plan::date(s.max(0).cast_unsigned())
}

/// The kept key, so that a renewal has the same one. One that cannot be read is an error, and not a reason for a new one.
fn kept_key(path: &Path) -> Result<Option<String>, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}
