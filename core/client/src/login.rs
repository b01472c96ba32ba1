//! Who may come in: argon2id off the protocol's path, bounded, with a short memory of who just proved it.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use base::Time;
use mail::Address;
use mailbox::{Account, AccountId, MailboxFault};
use runtime::SessionHost;
use storage::owner::Ask;
use tokio::sync::Semaphore;

/// Checks passwords for all cores; clones share it.
#[derive(Clone)]
pub struct Logins {
    shared: Arc<Shared>,
}

/// What all cores share.
struct Shared {
    verifier: Box<dyn Verifier>,
    /// At most `PASSWORD_CHECKS_MAX` checks at a time.
    permits: Semaphore,
    /// Logins that wait for a permit; past the bound a login is refused for now.
    waiting: AtomicUsize,
    /// Known to this process only: what the table holds cannot be tried against it elsewhere.
    key: [u8; 32],
    verified: Mutex<HashMap<AccountId, Verified>>,
    /// A hash of no account: an unknown user costs the same time as a known one.
    decoy: String,
}

/// A password that was right a moment ago: clients log in many times with the same one.
struct Verified {
    /// Keyed hash of the stored password hash and the password: a changed password is a miss.
    proof: [u8; 32],
    until: Time,
}

/// Storage could not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// Holds a password against a stored hash, wherever that does not hold the session's thread.
pub trait Verifier: Send + Sync + 'static {
    /// `Unavailable`: it could not be done.
    fn verify(&self, hash: String, password: Vec<u8>) -> Verifying;

    /// A hash that no account has, and that costs as much as one.
    fn decoy(&self) -> String;
}

/// `Ok(false)`: the password is wrong.
pub type Verifying = Pin<Box<dyn Future<Output = Result<bool, Unavailable>>>>;

/// argon2id with the parameters of the stored hash, on a thread for blocking work.
struct Argon2id;

impl Verifier for Argon2id {
    fn verify(&self, hash: String, password: Vec<u8>) -> Verifying {
        Box::pin(async move {
            let verified = tokio::task::spawn_blocking(move || {
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
        hash_password(b"nobody's")
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
                permits: Semaphore::new(PASSWORD_CHECKS_MAX),
                waiting: AtomicUsize::new(0),
                key,
                verified: Mutex::default(),
                decoy: verifier.decoy(),
                verifier: Box::new(verifier),
            }),
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

    async fn verify(&self, hash: String, password: Vec<u8>) -> Result<bool, Unavailable> {
        let shared = &self.shared;
        if shared.waiting.fetch_add(1, Relaxed) >= LOGINS_WAITING_MAX {
            shared.waiting.fetch_sub(1, Relaxed);
            return Err(Unavailable);
        }
        let permit = shared.permits.acquire().await;
        let verified = shared.verifier.verify(hash, password).await;
        drop(permit);
        shared.waiting.fetch_sub(1, Relaxed);
        verified
    }

    fn proof(&self, hash: &str, password: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.shared.key);
        hasher.update(&(hash.len() as u64).to_le_bytes());
        hasher.update(hash.as_bytes());
        hasher.update(password);
        *hasher.finalize().as_bytes()
    }

    fn remembers(&self, account: AccountId, proof: &[u8; 32], now: Time) -> bool {
        let verified = self.shared.verified.lock().expect("no holder panics");
        verified.get(&account).is_some_and(|known| {
            // `blake3::Hash` compares in constant time.
            known.until > now && blake3::Hash::from(known.proof) == blake3::Hash::from(*proof)
        })
    }

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

impl Default for Logins {
    fn default() -> Self {
        Logins::new()
    }
}

/// The PHC string to store for `password`: argon2id, 19 MiB, two passes (the crate's defaults, OWASP's recommendation).
pub fn hash_password(password: &[u8]) -> String {
    let mut salt = [0; 16];
    fill_random(&mut salt);
    let salt = SaltString::encode_b64(&salt).expect("16 bytes are a salt");
    let hash = argon2::Argon2::default().hash_password(password, &salt);
    hash.expect("the default parameters are valid").to_string()
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
        let (one, two) = (hash_password(b"one"), hash_password(b"two"));
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

    #[test]
    fn hashes_are_salted_argon2id() {
        let (one, two) = (hash_password(b"x"), hash_password(b"x"));
        assert!(one.starts_with("$argon2id$"));
        assert_ne!(one, two);
    }
}
