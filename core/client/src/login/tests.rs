//! The memory of right passwords, and the bound on checks.

use std::pin::Pin;

use argon2::password_hash::{PasswordHash, PasswordVerifier};

use super::verifier::DECOY;
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
