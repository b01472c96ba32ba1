//! Who may come in: argon2id off the protocol's path, bounded, with a short memory of who just proved it.

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use argon2::password_hash::{PasswordHash, PasswordVerifier};
use base::Time;
use mail::Address;
use mailbox::{Account, AccountId, MailboxFault};
use runtime::SessionHost;
use storage::owner::Ask;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Checks passwords for all cores; clones share it.
#[derive(Clone)]
pub struct Logins {
    shared: Arc<Shared>,
    /// What is done about a failed login; `None`: nothing.
    on_failure: Option<Arc<OnFailure>>,
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

/// Holds a password against a stored hash, wherever that does not hold the session's thread.
pub trait Verifier: Send + Sync + 'static {
    /// `Unavailable`: it could not be done. `permit` is given back when the work is over, also where the caller is gone by then.
    fn verify(&self, hash: String, password: Vec<u8>, permit: Permit) -> Verifying;

    /// A hash that no account has, and that costs as much as one.
    fn decoy(&self) -> String;
}

/// One of the checks that may be under way.
pub type Permit = OwnedSemaphorePermit;

/// `Ok(false)`: the password is wrong.
pub type Verifying = Pin<Box<dyn Future<Output = Result<bool, Unavailable>>>>;

/// argon2id with the parameters of the stored hash, on a thread for blocking work.
struct Argon2id;

impl Verifier for Argon2id {
    fn verify(&self, hash: String, password: Vec<u8>, permit: Permit) -> Verifying {
        Box::pin(async move {
            // Work that began runs to its end, with or without a caller: the permit goes with it, or clients that leave could start any number.
            let verified = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                PasswordHash::new(&hash).is_ok_and(|hash| {
                    argon2::Argon2::default()
                        .verify_password(&password, &hash)
                        .is_ok()
                })
            });
            verified.await.map_err(|_| Unavailable)
        })
    }

    fn decoy(&self) -> String {
        DECOY.to_owned()
    }
}

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
            }),
            on_failure: None,
        }
    }

    /// Every failed login of IMAP, POP3 and submission is reported to `on_failure`.
    pub fn reporting(mut self, on_failure: Arc<OnFailure>) -> Logins {
        self.on_failure = Some(on_failure);
        self
    }

    /// A login from `peer` failed.
    pub fn failed(&self, peer: IpAddr) {
        if let Some(on_failure) = &self.on_failure {
            on_failure(peer);
        }
    }

    /// The account that `user` and `password` belong to; `None` when they do not.
    ///
    /// `user` is an address, or the local part of one when there is a single domain.
    pub async fn check(
        &self,
        owner: &impl Ask,
        host: &SessionHost,
        user: &[u8],
        password: &[u8],
    ) -> Result<Option<Account>, Unavailable> {
        let account = match std::str::from_utf8(user) {
            Ok(user) => find(owner, user).await?,
            Err(_) => None,
        };
        let hash = account
            .as_ref()
            .map_or(&self.shared.decoy, |account| &account.password_hash);
        let proof = self.proof(hash, password);
        if let Some(account) = &account
            && self.remembers(account.id, &proof, host.now())
        {
            return Ok(Some(account.clone()));
        }
        let good = self.verify(hash.clone(), password.to_vec()).await?;
        let account = account.filter(|_| good);
        if let Some(account) = &account {
            self.remember(account.id, proof, host.now());
        }
        Ok(account)
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

/// `user` is an address, or a local part if there is one domain only.
async fn find(owner: &impl Ask, user: &str) -> Result<Option<Account>, Unavailable> {
    let user = user.to_owned();
    let found = owner.ask(move |mailboxes| async move {
        let domains = mailboxes.domains();
        let (local, domain) = match (user.rsplit_once('@'), &domains[..]) {
            (Some((local, domain)), _) => (local, domain),
            (None, [only]) => (&user[..], &only[..]),
            (None, _) => return Ok(None),
        };
        match Address::from_parts(local, domain) {
            Some(address) => mailboxes.account(&address).await,
            None => Ok(None),
        }
    });
    match found.await {
        Ok(Ok(account)) => Ok(account),
        Ok(Err(MailboxFault::NoAccount)) => Ok(None),
        Ok(Err(_)) | Err(_) => Err(Unavailable),
    }
}

/// A hash that no password is known for, with the parameters of `admin::password`: argon2id, 19 MiB, two passes (the crate's defaults,
/// OWASP's recommendation).
const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdC4uLg$bm9ib2R5J3MgaGFzaCwgMzIgYnl0ZXMgb2YgaXQuLi4";

/// Password checks under way at once, over all cores: each takes 19 MiB and some 20 ms of a core.
pub const PASSWORD_CHECKS_MAX: usize = 2;
/// Logins waiting for a password check; past it the answer is UNAVAILABLE.
pub const LOGINS_WAITING_MAX: usize = 512;
/// Accounts whose last good password is remembered, as a keyed hash: about 100 bytes each.
pub const VERIFIED_MAX: usize = 65_536;
/// How long it is: a client that opens several connections, or checks for mail every few minutes, costs one argon2.
pub const VERIFIED_AGE_MAX: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(7);

    #[test]
    fn a_remembered_proof_ends_with_the_password_it_was_for() {
        let logins = Logins::new();
        let (one, two) = (DECOY.to_owned(), DECOY.replace("m=", "n="));
        let proof = logins.proof(&one, b"one");
        assert!(!logins.remembers(AccountId(7), &proof, NOW));
        logins.remember(AccountId(7), proof, NOW);
        assert!(logins.remembers(AccountId(7), &proof, NOW));
        assert!(!logins.remembers(AccountId(8), &proof, NOW));
        assert!(!logins.remembers(AccountId(7), &logins.proof(&two, b"one"), NOW));
        assert!(!logins.remembers(AccountId(7), &logins.proof(&one, b"two"), NOW));
        let later = NOW.after_us(VERIFIED_AGE_MAX.as_micros() as u64);
        assert!(!logins.remembers(AccountId(7), &proof, later));
        assert_ne!(Logins::new().proof(&one, b"one"), proof);
    }

    /// An unknown user must cost what a known one does: the parameters of every hash that is made today.
    #[test]
    fn the_decoy_costs_as_much_as_an_account_and_lets_nobody_in() {
        let decoy = PasswordHash::new(DECOY).expect("a PHC string");
        let argon2 = argon2::Argon2::default();
        assert_eq!(decoy.algorithm, argon2::Algorithm::default().ident());
        assert_eq!(decoy.version, Some(argon2::Version::default().into()));
        let params = argon2::Params::try_from(&decoy).expect("parameters");
        assert_eq!(
            (params.m_cost(), params.t_cost(), params.p_cost()),
            (
                argon2.params().m_cost(),
                argon2.params().t_cost(),
                argon2.params().p_cost()
            )
        );
        assert_eq!(decoy.hash.expect("a hash").len(), 32);
        // Not an error of the parameters: the whole work was done.
        let refused = argon2
            .verify_password(b"", &decoy)
            .expect_err("no password");
        assert_eq!(refused, argon2::password_hash::Error::Password);
    }

    /// Checks that never end.
    struct Endless;

    impl Verifier for Endless {
        fn verify(&self, _hash: String, _password: Vec<u8>, permit: Permit) -> Verifying {
            Box::pin(async move {
                let _permit = permit;
                std::future::pending().await
            })
        }

        fn decoy(&self) -> String {
            DECOY.to_owned()
        }
    }

    /// Polls once; the future has not ended.
    fn begin<T>(future: Pin<&mut impl Future<Output = T>>) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(future.poll(&mut context).is_pending());
    }

    /// A client that goes away while its password is checked, or while it waits for that.
    #[test]
    fn a_check_that_is_dropped_gives_its_place_back() {
        let logins = Logins::with(Endless);
        let waiting = || logins.shared.waiting.load(Relaxed);
        for _ in 0..3 {
            let mut checks: Vec<_> = (0..PASSWORD_CHECKS_MAX + 1)
                .map(|_| Box::pin(logins.verify(String::new(), Vec::new())))
                .collect();
            for check in &mut checks {
                begin(check.as_mut());
            }
            assert_eq!(waiting(), PASSWORD_CHECKS_MAX + 1);
            drop(checks);
            assert_eq!(waiting(), 0);
            assert_eq!(
                logins.shared.permits.available_permits(),
                PASSWORD_CHECKS_MAX
            );
        }
    }

    /// Checks that go on when their caller has left, as those on a thread do.
    #[derive(Clone, Default)]
    struct Elsewhere(Arc<Mutex<Vec<Permit>>>);

    impl Verifier for Elsewhere {
        fn verify(&self, _hash: String, _password: Vec<u8>, permit: Permit) -> Verifying {
            self.0.lock().unwrap().push(permit);
            Box::pin(std::future::pending())
        }

        fn decoy(&self) -> String {
            DECOY.to_owned()
        }
    }

    #[test]
    fn a_check_that_goes_on_without_its_caller_keeps_its_permit() {
        let elsewhere = Elsewhere::default();
        let logins = Logins::with(elsewhere.clone());
        let left = || logins.shared.permits.available_permits();
        let mut check = Box::pin(logins.verify(String::new(), Vec::new()));
        begin(check.as_mut());
        drop(check);
        assert_eq!(left(), PASSWORD_CHECKS_MAX - 1);
        elsewhere.0.lock().unwrap().clear();
        assert_eq!(left(), PASSWORD_CHECKS_MAX);
    }

    #[test]
    fn one_too_many_is_refused_and_takes_no_place() {
        let logins = Logins::with(Endless);
        let mut checks: Vec<_> = (0..LOGINS_WAITING_MAX)
            .map(|_| Box::pin(logins.verify(String::new(), Vec::new())))
            .collect();
        for check in &mut checks {
            begin(check.as_mut());
        }
        let mut late = Box::pin(logins.verify(String::new(), Vec::new()));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let refused = late.as_mut().poll(&mut context);
        assert_eq!(refused, std::task::Poll::Ready(Err(Unavailable)));
        assert_eq!(logins.shared.waiting.load(Relaxed), LOGINS_WAITING_MAX);
    }
}
