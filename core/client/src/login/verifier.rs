//! Passwords against their hashes: argon2id on threads for blocking work, and what stands in for it in tests.

use std::future::Future;
use std::pin::Pin;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use tokio::sync::OwnedSemaphorePermit;

use super::{Unavailable, fill_random};

/// Holds a password against a stored hash, wherever that does not hold the session's thread.
pub trait Verifier: Send + Sync + 'static {
    /// `Unavailable`: it could not be done. `permit` is given back when the work is over, also where the caller is gone by then.
    fn verify(&self, hash: String, password: Vec<u8>, permit: Permit) -> Verifying;

    /// A new hash of a password, as `verify` takes it.
    fn hash(&self, password: Vec<u8>, permit: Permit) -> Hashing {
        drop((password, permit));
        Box::pin(async { Err(Unavailable) })
    }

    /// A hash that no account has, and that costs as much as one.
    fn decoy(&self) -> String;
}

/// One of the checks that may be under way.
pub type Permit = OwnedSemaphorePermit;

/// `Ok(false)`: the password is wrong.
pub type Verifying = Pin<Box<dyn Future<Output = Result<bool, Unavailable>>>>;

/// A new hash.
pub type Hashing = Pin<Box<dyn Future<Output = Result<String, Unavailable>>>>;

/// argon2id with the parameters of the stored hash, on a thread for blocking work.
pub(super) struct Argon2id;

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

    fn hash(&self, password: Vec<u8>, permit: Permit) -> Hashing {
        Box::pin(async move {
            let hashed = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                let mut salt = [0; 16];
                fill_random(&mut salt);
                let salt = SaltString::encode_b64(&salt).ok()?;
                let hash = argon2::Argon2::default().hash_password(&password, &salt);
                Some(hash.ok()?.to_string())
            });
            hashed.await.ok().flatten().ok_or(Unavailable)
        })
    }

    fn decoy(&self) -> String {
        DECOY.to_owned()
    }
}

/// A hash that no password is known for, with the parameters of `admin::password`: argon2id, 19 MiB, two passes (the crate's defaults,
/// OWASP's recommendation).
pub(super) const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdC4uLg$bm9ib2R5J3MgaGFzaCwgMzIgYnl0ZXMgb2YgaXQuLi4";
