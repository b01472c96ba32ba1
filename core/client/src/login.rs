//! Who may come in: argon2id off the protocol's path, bounded, with a short memory of who just proved it; SCRAM and app passwords by what `storage::logins` keeps.
//!
//! `log_in`, `keys` and `proved` are the ways in for every protocol: they count failures (`attempts.rs`), answer wrong passwords late, and report each
//! login to the audit (`audit.rs`). What a password was right for is remembered under a keyed hash of the stored hash and the password, so another password, or
//! an account that is gone, is a miss at once: the account is looked up for every login.

pub mod attempts;
pub mod audit;
pub mod certificate;
mod challenge;
mod known;
pub mod oauth;
pub mod outside;
mod pass;
mod verifier;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::Time;
use mailbox::{Account, AccountId};
use runtime::{SessionHost, TlsFacts};
use sasl::Offer;
use sasl::scram::{Binding, Found, ITERATIONS, Keys, NONCE_BYTES, Proved};
use storage::owner::Ask;
use tokio::sync::Semaphore;

use crate::limits::LOGIN_FAILURE_DELAY;
use attempts::Attempts;
use audit::{Entry, From, Outcome, Sink};
pub use challenge::Challenge;
use known::{By, Known, learn, note_use};
use outside::Outside;
use verifier::Argon2id;
pub use verifier::{Hashing, Permit, Verifier, Verifying};

/// Checks passwords for all cores; clones share it.
#[derive(Clone)]
pub struct Logins {
    shared: Arc<Shared>,
    /// What is done about a failed login; `None`: nothing.
    on_failure: Option<Arc<OnFailure>>,
    /// Each login goes there; `None`: nowhere.
    audit: Option<Arc<Sink>>,
    /// Storage keeps SCRAM keys and app passwords (`storage::logins`).
    has_keyring: bool,
    offers_scram: bool,
    attempts: Attempts,
    /// Checks passwords of its own people; `None`: there is none.
    outside: Option<Arc<dyn Outside>>,
    /// Asks providers about tokens; `None`: there are none.
    tokens: Option<Arc<dyn oauth::Tokens>>,
    /// Reads certificates of clients; `None`: none is asked for.
    certificates: Option<Arc<certificate::Names>>,
}

/// What is done about an address whose login failed.
pub type OnFailure = dyn Fn(IpAddr) + Send + Sync;

/// What all cores share.
struct Shared {
    /// argon2id, or another one in tests.
    verifier: Box<dyn Verifier>,
    /// At most `PASSWORD_CHECKS_MAX` checks at a time.
    permits: Arc<Semaphore>,
    /// Logins that wait for a permit; past the bound a login is refused for now.
    waiting: AtomicUsize,
    /// Known to this process only: what the table holds cannot be tried against it elsewhere.
    key: [u8; 32],
    /// Accounts that proved their password lately.
    verified: Mutex<HashMap<AccountId, Verified>>,
    /// A hash of no account: an unknown user costs the same time as a known one.
    decoy: String,
    /// Logins that were right by `verified` alone, since start.
    remembered: AtomicU64,
    /// SCRAM keys that are being made: one account's at a time.
    learning: AtomicUsize,
    /// Passwords of another directory that are being kept.
    keeping: AtomicUsize,
    /// For administrators who move mail.
    passes: pass::Passes,
}

/// A password that was right a moment ago: clients log in many times with the same one.
struct Verified {
    /// Keyed hash of the stored password hash and the password: a changed password is a miss.
    proof: [u8; 32],
    /// Until then the password need not be checked again.
    until: Time,
}

/// Storage could not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

impl Logins {
    /// With argon2id.
    pub fn new() -> Logins {
        Logins::with(Argon2id)
    }

    /// With another verifier, in tests and in the simulator.
    pub fn with(verifier: impl Verifier) -> Logins {
        let mut key = [0; 32];
        fill_random(&mut key);
        Logins {
            shared: Arc::new(Shared {
                permits: Arc::new(Semaphore::new(PASSWORD_CHECKS_MAX)),
                waiting: AtomicUsize::new(0),
                key,
                verified: Mutex::default(),
                decoy: verifier.decoy(),
                verifier: Box::new(verifier),
                remembered: AtomicU64::new(0),
                learning: AtomicUsize::new(0),
                keeping: AtomicUsize::new(0),
                passes: pass::Passes::default(),
            }),
            on_failure: None,
            audit: None,
            has_keyring: false,
            offers_scram: false,
            attempts: Attempts::default(),
            outside: None,
            tokens: None,
            certificates: None,
        }
    }

    /// Every failed login of IMAP, POP3 and submission is reported to `on_failure`.
    pub fn reporting(mut self, on_failure: Arc<OnFailure>) -> Logins {
        self.on_failure = Some(on_failure);
        self
    }

    /// Every login is reported to `sink`.
    pub fn auditing(mut self, sink: Arc<Sink>) -> Logins {
        self.audit = Some(sink);
        self
    }

    /// Storage keeps SCRAM keys and app passwords; `scram`: it is offered.
    pub fn with_keyring(mut self, scram: bool) -> Logins {
        self.has_keyring = true;
        self.offers_scram = scram;
        self
    }

    /// Tokens of OAuth are taken; `tokens` asks their providers.
    pub fn with_tokens(mut self, tokens: Arc<dyn oauth::Tokens>) -> Logins {
        self.tokens = Some(tokens);
        self
    }

    /// Clients may log in by the certificates that TLS asks them for.
    pub fn with_certificates(mut self, names: Arc<certificate::Names>) -> Logins {
        self.certificates = Some(names);
        self
    }

    /// Passwords of some people are checked by another directory. SCRAM is not offered then.
    pub fn with_outside(mut self, outside: Arc<dyn Outside>) -> Logins {
        self.outside = Some(outside);
        self
    }

    /// A password for one login to `account` by IMAP within a minute (`pass.rs`). `purpose` goes to the audit.
    pub fn pass_for(&self, account: AccountId, purpose: String, now_unix_s: i64) -> String {
        self.shared.passes.give(account, purpose, now_unix_s)
    }

    /// For the metrics.
    pub fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    /// Logins since start that needed no argon2, because the same password was right a moment before.
    pub fn remembered(&self) -> u64 {
        self.shared.remembered.load(Relaxed)
    }

    /// What is offered on a connection, by its TLS.
    pub fn offer(&self, tls: Option<&TlsFacts>) -> Offer {
        Offer {
            scram: self.offers_scram && self.outside.is_none(),
            binding: tls.and_then(|tls| tls.exporter).map(Binding),
            tokens: self.tokens.is_some(),
            external: self.certificates.is_some()
                && tls.is_some_and(|tls| tls.client_certificate.is_some()),
        }
    }

    /// A login by name and password. `Ok(None)`: refused, which was answered late, counted and reported. `Unavailable`: it was not decided.
    pub async fn log_in(
        &self,
        owner: &impl Ask,
        host: &SessionHost,
        from: &From,
        user: &[u8],
        password: &[u8],
    ) -> Result<Option<Account>, Unavailable> {
        let mut known = self.known(owner, user).await?;
        if let Some(account) = self.by_pass(host, from, &known, password) {
            return Ok(Some(account));
        }
        let pass = self.pass(host, from, &known).await?;
        let decided = self.decide(owner, host, from, &mut known, password).await;
        // The source's place is taken until the late answer.
        let answer = self.settle(owner, host, from, &known, decided).await;
        drop(pass);
        answer
    }

    /// SCRAM: the keys of a user, or what looks like keys of one. The session keeps the challenge until `proved`, or drops it.
    pub async fn keys(
        &self,
        owner: &impl Ask,
        host: &SessionHost,
        from: &From,
        user: &[u8],
    ) -> Result<(Found, Box<Challenge>), Unavailable> {
        let known = self.known(owner, user).await?;
        let number = self.number(&known.name);
        let entered = self.attempts.challenge(from.peer, number, host.now());
        let (pass, open) = match entered {
            Ok((pass, open)) => (Ok(pass), Some(open)),
            Err(put_off) => (Err(put_off), None),
        };
        let (_pass, open) = (self.wait(host, pass).await?, open.expect("with its pass"));
        let mut nonce = [0; NONCE_BYTES];
        fill_random(&mut nonce);
        let mut keys = known.keys(from.protocol.bit());
        if keys.is_empty() {
            // No proof fits it, and it costs what a key costs.
            let mut random = [0; 32];
            fill_random(&mut random);
            keys.push(Keys {
                stored: random,
                server: random,
            });
        }
        let found = Found {
            salt: known.salt.to_vec(),
            iterations: ITERATIONS,
            keys,
            nonce,
            fate: Arc::default(),
        };
        let challenge = Challenge {
            fate: found.fate.clone(),
            open,
            audit: self.audit.clone(),
            host: host.clone(),
            from: *from,
            name: known.audited().map(str::to_owned),
            is_settled: false,
        };
        Ok((found, Box::new(challenge)))
    }

    /// SCRAM is over. The account is looked up again: its password may be another one by now.
    pub async fn proved(
        &self,
        owner: &impl Ask,
        host: &SessionHost,
        from: &From,
        proved: Proved,
        challenge: Option<Box<Challenge>>,
    ) -> Result<Option<Account>, Unavailable> {
        let known = self.known(owner, &proved.user).await?;
        // Until the late answer it holds its place. Dropped before, by a client that leaves, it says so.
        let mut challenge = challenge;
        let decided = match (&known.account, proved.by) {
            (None, _) => By::Nothing(Outcome::NoAccount),
            (Some(_), None) => By::Nothing(Outcome::Password),
            (Some(_), Some(keys)) => known.by_keys(&keys, from.protocol.bit()),
        };
        if let Some(challenge) = &mut challenge {
            challenge.settle();
        }
        self.settle(owner, host, from, &known, Ok(decided)).await
    }

    /// The account, where the password is a pass for it. It says nothing of the account's own failures, so none is forgotten.
    /// An account that another directory has disabled is opened, too: mail of people who left is exported.
    fn by_pass(
        &self,
        host: &SessionHost,
        from: &From,
        known: &Known,
        password: &[u8],
    ) -> Option<Account> {
        let account = known.account.as_ref()?;
        let (passes, now) = (&self.shared.passes, host.unix_seconds());
        let purpose = passes.take(account.id, from.protocol, password, now)?;
        self.report(host, from, known, Some(&purpose), Outcome::Granted);
        Some(account.clone())
    }

    async fn known(&self, owner: &impl Ask, user: &[u8]) -> Result<Known, Unavailable> {
        let user = String::from_utf8_lossy(user);
        Known::find(owner, &user, self.has_keyring).await
    }

    /// Waits as long as the source must.
    async fn pass(
        &self,
        host: &SessionHost,
        from: &From,
        known: &Known,
    ) -> Result<attempts::Pass, Unavailable> {
        let number = self.number(&known.name);
        let entered = self.attempts.enter(from.peer, number, host.now());
        self.wait(host, entered).await
    }

    async fn wait(
        &self,
        host: &SessionHost,
        entered: Result<attempts::Pass, attempts::PutOff>,
    ) -> Result<attempts::Pass, Unavailable> {
        match entered {
            Ok(pass) => {
                if !pass.wait.is_zero() {
                    host.sleep(pass.wait).await;
                }
                Ok(pass)
            }
            Err(attempts::PutOff) => {
                // Not at once, or one connection could ask again without end. It is counted, and it is no line of the audit: nothing was decided.
                host.sleep(LOGIN_FAILURE_DELAY).await;
                Err(Unavailable)
            }
        }
    }

    /// Whether the password is the account's, or that of one of its app passwords.
    async fn decide(
        &self,
        owner: &impl Ask,
        host: &SessionHost,
        from: &From,
        known: &mut Known,
        password: &[u8],
    ) -> Result<By, Unavailable> {
        if let Some(by) = known.by_app(password, from.protocol.bit()) {
            return Ok(by);
        }
        if let Some(outside) = self.outside_of(known) {
            return self
                .decide_outside(owner, host, from, known, password, outside)
                .await;
        }
        let (account, is_right) = (
            known.account.as_ref(),
            self.is_right(host, known.account.as_ref(), password),
        );
        Ok(match (is_right.await?, account) {
            (true, Some(account)) => {
                if self.has_keyring && known.lacks_keys() {
                    let learning = Learning::enter(&self.shared);
                    learn(owner, host, account.id, known, password, learning);
                }
                By::Main
            }
            (_, None) => By::Nothing(Outcome::NoAccount),
            (false, Some(_)) => By::Nothing(Outcome::Password),
        })
    }

    /// Counts, reports, and answers a refusal late.
    async fn settle(
        &self,
        owner: &impl Ask,
        host: &SessionHost,
        from: &From,
        known: &Known,
        decided: Result<By, Unavailable>,
    ) -> Result<Option<Account>, Unavailable> {
        let number = self.number(&known.name);
        let by = match decided? {
            By::Main | By::App(_) if known.is_disabled() => By::Nothing(Outcome::Disabled),
            by => by,
        };
        if let By::Nothing(outcome) = by {
            if outcome.is_guess() {
                self.attempts.failed(from.peer, number, host.now());
                self.failed(from.peer);
            }
            self.report(host, from, known, None, outcome);
            host.sleep(LOGIN_FAILURE_DELAY).await;
            return Ok(None);
        }
        self.attempts.succeeded(from.peer, number, host.now());
        let app = match by {
            By::App(number) => known.app(number),
            By::Main | By::Nothing(_) => None,
        };
        let name = app.map(|app| app.name.as_str());
        self.report(host, from, known, name, Outcome::Granted);
        if let (Some(app), Some(account)) = (app, &known.account) {
            note_use(owner, host, account.id, app, from);
        }
        Ok(known.account.clone())
    }

    fn report(
        &self,
        host: &SessionHost,
        from: &From,
        known: &Known,
        app: Option<&str>,
        outcome: Outcome,
    ) {
        let Some(sink) = &self.audit else { return };
        sink(&Entry {
            unix_seconds: host.unix_seconds(),
            from,
            name: known.audited(),
            app,
            outcome,
            what: None,
        });
    }

    /// The account `name`, logged in from there, changed rights: the audit gets it.
    pub fn changed(&self, host: &SessionHost, from: &From, name: Option<&str>, what: &str) {
        let Some(sink) = &self.audit else { return };
        sink(&Entry {
            unix_seconds: host.unix_seconds(),
            from,
            name,
            app: None,
            outcome: Outcome::Changed,
            what: Some(what),
        });
    }

    /// Stands for a name in the table of failures.
    fn number(&self, name: &str) -> u64 {
        let hash = blake3::keyed_hash(&self.shared.key, name.as_bytes());
        let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// A login from `peer` failed.
    pub fn failed(&self, peer: IpAddr) {
        if let Some(on_failure) = &self.on_failure {
            on_failure(peer);
        }
    }

    /// The account that `user` and its own password belong to; `None` when they do not. Counts, delays and reports nothing: protocols call `log_in`.
    ///
    /// `user` is an address, or the local part of one when there is a single domain.
    pub async fn check(
        &self,
        owner: &impl Ask,
        host: &SessionHost,
        user: &[u8],
        password: &[u8],
    ) -> Result<Option<Account>, Unavailable> {
        let user = String::from_utf8_lossy(user);
        let known = Known::find(owner, &user, false).await?;
        let is_right = self.is_right(host, known.account.as_ref(), password);
        Ok(is_right.await?.then_some(known.account).flatten())
    }

    /// Whether the password is the account's own. Without an account it costs the same, and is not.
    async fn is_right(
        &self,
        host: &SessionHost,
        account: Option<&Account>,
        password: &[u8],
    ) -> Result<bool, Unavailable> {
        let hash = account.map_or(&self.shared.decoy, |account| &account.password_hash);
        let proof = self.proof(hash, password);
        if let Some(account) = account
            && self.remembers(account.id, &proof, host.now())
        {
            self.shared.remembered.fetch_add(1, Relaxed);
            return Ok(true);
        }
        let is_right = self.verify(hash.clone(), password.to_vec()).await?;
        match account {
            Some(account) if is_right => {
                self.remember(account.id, proof, host.now());
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// One check in its turn. Past the bound of those that wait a login is refused for now, which tells nothing about
    /// the password.
    async fn verify(&self, hash: String, password: Vec<u8>) -> Result<bool, Unavailable> {
        let shared = &self.shared;
        let _waiting = Waiting::enter(&shared.waiting).ok_or(Unavailable)?;
        let permit = shared.permits.clone().acquire_owned().await;
        let permit = permit.map_err(|_| Unavailable)?;
        shared.verifier.verify(hash, password, permit).await
    }

    /// What the table holds of a password that was right.
    fn proof(&self, hash: &str, password: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.shared.key);
        hasher.update(&(hash.len() as u64).to_le_bytes());
        hasher.update(hash.as_bytes());
        hasher.update(password);
        *hasher.finalize().as_bytes()
    }

    /// Whether this very password was right a moment ago.
    fn remembers(&self, account: AccountId, proof: &[u8; 32], now: Time) -> bool {
        let verified = self.shared.verified.lock().expect("no holder panics");
        verified.get(&account).is_some_and(|known| {
            // `blake3::Hash` compares in constant time.
            known.until > now && blake3::Hash::from(known.proof) == blake3::Hash::from(*proof)
        })
    }

    /// The password was right. A table that is full of fresh entries is emptied: it saves work, and decides nothing.
    fn remember(&self, account: AccountId, proof: [u8; 32], now: Time) {
        let mut verified = self.shared.verified.lock().expect("no holder panics");
        if verified.len() >= VERIFIED_MAX {
            verified.retain(|_, known| known.until > now);
            if verified.len() >= VERIFIED_MAX {
                verified.clear();
            }
        }
        let until = now.after_us(VERIFIED_AGE_MAX.as_micros() as u64);
        verified.insert(account, Verified { proof, until });
    }
}

/// A place among those who wait for a password check; given back when dropped, also by a session that ends meanwhile.
struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    /// `None`: `LOGINS_WAITING_MAX` wait.
    fn enter(count: &AtomicUsize) -> Option<Waiting<'_>> {
        // Made first: one too many is taken back by its drop.
        let (before, waiting) = (count.fetch_add(1, Relaxed), Waiting(count));
        (before < LOGINS_WAITING_MAX).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Default for Logins {
    fn default() -> Self {
        Logins::new()
    }
}

/// From the operating system. It stops the process where that has none.
fn fill_random(bytes: &mut [u8]) {
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(bytes)
        .expect("the operating system has random numbers");
}

/// The one place for keys that are being made; given back when dropped.
struct Learning(Arc<Shared>);

impl Learning {
    /// `None`: it is taken. The next login makes the keys.
    fn enter(shared: &Arc<Shared>) -> Option<Learning> {
        let before = shared.learning.fetch_add(1, Relaxed);
        let learning = Learning(shared.clone());
        (before == 0).then_some(learning)
    }
}

impl Drop for Learning {
    fn drop(&mut self) {
        self.0.learning.fetch_sub(1, Relaxed);
    }
}

/// Password checks under way at once, over all cores: each takes 19 MiB and some 20 ms of a core.
pub const PASSWORD_CHECKS_MAX: usize = 2;
/// Logins waiting for a password check; past it the answer is UNAVAILABLE.
pub const LOGINS_WAITING_MAX: usize = 512;
/// Accounts whose last good password is remembered, as a keyed hash: about 100 bytes each.
pub const VERIFIED_MAX: usize = 65_536;
/// How long it is: a client that opens several connections, or checks for mail every few minutes, costs one argon2.
pub const VERIFIED_AGE_MAX: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests;
