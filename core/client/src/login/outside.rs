//! People whose passwords another directory (LDAP) checks, and what is done while it is away.
//!
//! What must hold:
//! - a right password lets a user into the account of the address that the directory has for the user and no other, whatever name was typed.
//! - an account without a mark is none of its business: its password is the one that is kept here.
//! - a password that the other directory says is right is kept as argon2id, in the background. While that directory is away it is right for as long as `kept_for`
//!   says; what is not known then is not wrong: the login is put off.
//! - an empty password is wrong, and is never sent anywhere (RFC 4513 §5.1.2).
//! - SCRAM is not offered, because a proof cannot be shown to the other directory.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use mail::{Address, spelling};
use mailbox::names::NewHash;
use mailbox::{Account, MailboxFault};
use runtime::SessionHost;
use storage::logins::ChangeFault;
use storage::outside;
use storage::owner::Ask;

use super::audit::{From, Outcome};
use super::known::{By, Known};
use super::{Logins, Shared, Unavailable};
use crate::limits::LOGIN_FAILURE_DELAY;

/// Another directory.
pub trait Outside: Send + Sync + 'static {
    /// Whether users of this name may be its. The name is an address in lower case.
    fn answers_for(&self, name: &str) -> bool;

    /// What a new account may hold, in bytes; `None`: accounts are not made at a login.
    fn makes_accounts(&self) -> Option<u64>;

    /// How long a password that was right there is right here while it is away.
    fn kept_for(&self) -> Duration;

    /// Whether the password is the user's. It ends in time, whatever the directory does.
    fn check(&self, name: String, password: Vec<u8>) -> Asking;
}

pub type Asking = Pin<Box<dyn Future<Output = Answer>>>;

/// What another directory says of a name and a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The address that the directory has for the user; `None`: it has none.
    Right(Option<Address>),
    Wrong,
    /// It could not be asked.
    Away,
}

impl Logins {
    /// The other directory, where it has to say something about this user.
    pub(super) fn outside_of(&self, known: &Known) -> Option<Arc<dyn Outside>> {
        let outside = self.outside.as_ref()?;
        let is_its = match &known.account {
            Some(_) => known.mark.is_some(),
            None => outside.answers_for(&known.name),
        };
        is_its.then(|| outside.clone())
    }

    /// As `decide`, by the other directory.
    pub(super) async fn decide_outside(
        &self,
        owner: &impl Ask,
        host: &SessionHost,
        from: &From,
        known: &mut Known,
        password: &[u8],
        outside: Arc<dyn Outside>,
    ) -> Result<By, Unavailable> {
        if password.is_empty() {
            return Ok(By::Nothing(Outcome::Password));
        }
        let Some(account) = known.account.clone() else {
            return self
                .decide_newcomer(owner, host, known, password, &*outside)
                .await;
        };
        let mark = known.mark.unwrap_or_default();
        let proof = self.proof(&account.password_hash, password);
        if !mark.is_disabled && self.remembers(account.id, &proof, host.now()) {
            self.shared.remembered.fetch_add(1, Relaxed);
            return Ok(By::Main);
        }
        let asked = outside.check(known.name.clone(), password.to_vec());
        match asked.await {
            Answer::Right(address) if is_of(&account, address.as_ref()) => {
                self.remember(account.id, proof, host.now());
                self.keep(owner, host, known, &account, password);
                Ok(By::Main)
            }
            // A directory finds users by more than their addresses: it is right for a user whose account this is not.
            Answer::Right(_) | Answer::Wrong => {
                self.look_at_kept(owner, &account, mark.proved_unix_s, password)
                    .await?;
                Ok(By::Nothing(Outcome::Password))
            }
            Answer::Away => {
                let age = unix_seconds(host).saturating_sub(mark.proved_unix_s);
                if mark.proved_unix_s == 0 || age > outside.kept_for().as_secs() {
                    return put_off(host).await;
                }
                let hash = account.password_hash.clone();
                if self.verify(hash, password.to_vec()).await? {
                    self.remember(account.id, proof, host.now());
                    return Ok(By::Main);
                }
                // It may be a new one. It does not count as a failure, but guesses are slowed down as others are.
                let number = self.number(&known.name);
                self.attempts.failed(from.peer, number, host.now());
                put_off(host).await
            }
        }
    }

    /// A user who has no account of this name here. One that the other directory has may be called otherwise.
    async fn decide_newcomer(
        &self,
        owner: &impl Ask,
        host: &SessionHost,
        known: &mut Known,
        password: &[u8],
        outside: &dyn Outside,
    ) -> Result<By, Unavailable> {
        let address = match outside.check(known.name.clone(), password.to_vec()).await {
            Answer::Right(address) => address,
            Answer::Wrong => {
                // It costs what a wrong password costs.
                self.verify(self.shared.decoy.clone(), password.to_vec())
                    .await?;
                return Ok(By::Nothing(Outcome::NoAccount));
            }
            Answer::Away => return put_off(host).await,
        };
        let asked = || {
            let (local, domain) = known.name.rsplit_once('@')?;
            Address::from_parts(local, domain)
        };
        let Some(address) = address.or_else(asked) else {
            return Ok(By::Nothing(Outcome::NoAccount));
        };
        let quota_bytes = outside.makes_accounts();
        let made = owner.ask_outgoing(move |outgoing| async move {
            outside::account(&outgoing, &address, quota_bytes).await
        });
        match made.await.map_err(|_| Unavailable)? {
            Ok((account, mark)) => {
                known.mark = Some(mark);
                known.account = Some(account.clone());
                self.keep(owner, host, known, &account, password);
                Ok(By::Main)
            }
            // An account of this directory alone has its own password.
            Err(ChangeFault::Account(MailboxFault::Exists | MailboxFault::NoAccount)) => {
                Ok(By::Nothing(Outcome::NoAccount))
            }
            Err(fault) => {
                tracing::warn!(%fault, "no account can be made for a user of the directory");
                put_off(host).await
            }
        }
    }

    /// The directory refused the password. If it is the one that is kept, it is not right any more: it must not be while the directory is away.
    async fn look_at_kept(
        &self,
        owner: &impl Ask,
        account: &Account,
        proved_unix_s: u64,
        password: &[u8],
    ) -> Result<(), Unavailable> {
        let hash = match proved_unix_s {
            0 => self.shared.decoy.clone(),
            _ => account.password_hash.clone(),
        };
        if !self.verify(hash.clone(), password.to_vec()).await? || proved_unix_s == 0 {
            return Ok(());
        }
        let account = account.id;
        let done = owner.ask_outgoing(move |outgoing| async move {
            outside::disproved(&outgoing, account, hash).await
        });
        match done.await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => {
                tracing::warn!(account = account.0, %fault, "a password that is not right any more is still kept");
            }
            Err(busy) => {
                tracing::warn!(account = account.0, %busy, "a password that is not right any more is still kept");
            }
        }
        Ok(())
    }

    /// Keeps a password that was right a moment ago, in the background, a few at a time: without a place it is done by a later login. The account is not disabled:
    /// the directory has just said so.
    fn keep(
        &self,
        owner: &impl Ask,
        host: &SessionHost,
        known: &mut Known,
        account: &Account,
        password: &[u8],
    ) {
        let mark = known.mark.unwrap_or_default();
        if let Some(mark) = &mut known.mark {
            mark.is_disabled = false;
        }
        let Some(place) = Keeping::enter(&self.shared) else {
            return;
        };
        let (logins, owner, at) = (self.clone(), owner.clone(), host.clone());
        let (account, password) = (account.clone(), password.to_vec());
        host.spawn(Box::pin(async move {
            let seen = account.password_hash;
            let is_kept = match mark.proved_unix_s {
                0 => Ok(false),
                _ => logins.verify(seen.clone(), password.clone()).await,
            };
            let Ok(is_kept) = is_kept else { return };
            let now = unix_seconds(&at);
            let is_fresh = now.saturating_sub(mark.proved_unix_s) < KEPT_AGAIN_AFTER.as_secs();
            if is_kept && is_fresh && !mark.is_disabled {
                return;
            }
            let hash = match is_kept {
                true => Ok(seen.clone()),
                false => logins.hash(password.clone()).await,
            };
            let Ok(hash) = hash else { return };
            let proof = logins.proof(&hash, &password);
            let (id, new) = (account.id, NewHash { seen, hash });
            let written = owner.ask_outgoing(move |outgoing| async move {
                outside::proved(&outgoing, id, new, now).await
            });
            match written.await {
                // Its next login comes with another hash.
                Ok(Ok(())) => logins.remember(id, proof, at.now()),
                Ok(Err(fault)) => {
                    tracing::debug!(account = id.0, %fault, "a right password is not kept");
                }
                Err(busy) => {
                    tracing::debug!(account = id.0, %busy, "a right password is not kept");
                }
            }
            drop(place);
        }));
    }

    /// argon2id of a password, in its turn.
    async fn hash(&self, password: Vec<u8>) -> Result<String, Unavailable> {
        let shared = &self.shared;
        let permit = shared.permits.clone().acquire_owned().await;
        let permit = permit.map_err(|_| Unavailable)?;
        shared.verifier.hash(password, permit).await
    }
}

/// Whether it is the account of the user who has this address there. A user who has none was found by the account's name.
fn is_of(account: &Account, address: Option<&Address>) -> bool {
    let keys = spelling::keys(&account.address);
    address.is_none_or(|address| keys.contains(&address.key()))
}

/// Not at once, or one connection could ask again without end.
async fn put_off(host: &SessionHost) -> Result<By, Unavailable> {
    host.sleep(LOGIN_FAILURE_DELAY).await;
    Err(Unavailable)
}

fn unix_seconds(host: &SessionHost) -> u64 {
    u64::try_from(host.unix_seconds()).unwrap_or(0)
}

/// A place among passwords that are being kept; given back when dropped.
struct Keeping(Arc<Shared>);

impl Keeping {
    fn enter(shared: &Arc<Shared>) -> Option<Keeping> {
        let before = shared.keeping.fetch_add(1, Relaxed);
        let keeping = Keeping(shared.clone());
        (before < KEEPING_MAX).then_some(keeping)
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.0.keeping.fetch_sub(1, Relaxed);
    }
}

/// Passwords that are being kept at a time.
const KEEPING_MAX: usize = 16;
/// A record for each login would be many.
const KEPT_AGAIN_AFTER: Duration = Duration::from_secs(3_600);
