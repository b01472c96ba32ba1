//! People whose passwords another directory checks: what is asked of it, what is kept, and what is done while it is away.

use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::login::VERIFIED_AGE_MAX;
use client::login::outside::{Answer, Asking, Outside};
use mail::Address;
use mailbox::names::Mark;
use storage::outside;

use crate::rig::{Rig, run_with};

/// A directory that the test speaks for.
#[derive(Clone)]
struct Other {
    answer: Arc<Mutex<Answer>>,
    asked: Arc<Mutex<Vec<String>>>,
    makes: bool,
}

impl Outside for Other {
    fn answers_for(&self, name: &str) -> bool {
        name.ends_with("@example.org")
    }

    fn makes_accounts(&self) -> Option<u64> {
        self.makes.then_some(5_000)
    }

    fn kept_for(&self) -> Duration {
        Duration::from_secs(1_500)
    }

    fn check(&self, name: String, password: Vec<u8>) -> Asking {
        assert!(!password.is_empty(), "an empty password is never sent");
        self.asked.lock().expect("no holder panics").push(name);
        let answer = self.answer.lock().expect("no holder panics").clone();
        // `right` is right, where anything is.
        let answer = match answer {
            Answer::Right(_) if password != b"right" => Answer::Wrong,
            answer => answer,
        };
        Box::pin(async move { answer })
    }
}

impl Other {
    fn new(makes: bool) -> Other {
        Other {
            answer: Arc::new(Mutex::new(Answer::Right(None))),
            asked: Arc::default(),
            makes,
        }
    }

    fn says(&self, answer: Answer) {
        *self.answer.lock().expect("no holder panics") = answer;
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("no holder panics"))
    }
}

fn at(text: &str) -> Address {
    let (local, domain) = text.split_once('@').expect("an address");
    Address::from_parts(local, domain).expect("an address")
}

/// An account of the directory, as a reading of it makes one.
async fn ada(rig: &Rig) -> Mark {
    let (_, mark) = outside::account(&rig.outgoing, &at("ada@example.org"), Some(0))
        .await
        .expect("an account");
    mark
}

async fn mark(rig: &Rig, address: &str) -> (String, Mark) {
    let found = rig.mailboxes.account(&at(address)).await.expect("read");
    let account = found.expect("an account");
    let mark = rig.mailboxes.directory().account_mark(account.id);
    (account.password_hash, mark.expect("a mark"))
}

/// What runs in the background ends, and what is remembered is forgotten.
async fn later(rig: &Rig, span: Duration) {
    base::host::sleep_us(&*rig.host, span.as_micros() as u64).await;
}

async fn login(rig: &Rig, user: &str, password: &str) -> String {
    let mut session = rig.connect().await;
    session
        .send(&format!("t LOGIN {user} {password}\r\n"))
        .await;
    session.answer().await.pop().expect("an answer")
}

fn run<F: Future<Output = ()>>(makes: bool, story: impl FnOnce(Rig, Other) -> F) {
    let other = Other::new(makes);
    let outside = Arc::new(other.clone());
    run_with(
        move |logins| logins.with_outside(outside.clone()),
        |rig| story(rig, other),
    );
}

#[test]
fn an_account_of_this_directory_alone_keeps_its_password_and_the_other_is_not_asked() {
    run(true, |rig, other| async move {
        other.says(Answer::Away);
        assert!(login(&rig, "alice", "secret").await.starts_with("OK "));
        assert!(
            login(&rig, "alice", "right")
                .await
                .contains("[AUTHENTICATIONFAILED]")
        );
        assert!(other.asked().is_empty());
    });
}

#[test]
fn a_first_login_makes_the_account_under_the_address_that_the_directory_has() {
    run(true, |rig, other| async move {
        let right = Answer::Right(Some(at("ada.lovelace@example.org")));
        other.says(right);
        assert!(
            login(&rig, "ada", "wrong")
                .await
                .contains("[AUTHENTICATIONFAILED]")
        );
        assert!(login(&rig, "ada", "right").await.starts_with("OK "));
        let account = rig.mailboxes.account(&at("ada.lovelace@example.org")).await;
        assert_eq!(account.expect("read").expect("made").quota_bytes, 5_000);
        assert!(
            rig.mailboxes
                .account(&at("ada@example.org"))
                .await
                .expect("read")
                .is_none()
        );
        later(&rig, Duration::from_secs(1)).await;
        let (hash, kept) = mark(&rig, "ada.lovelace@example.org").await;
        assert_eq!(hash, "kept right");
        assert!(kept.proved_unix_s > 0 && !kept.is_disabled);
        // Under either name it is the same account.
        assert!(
            login(&rig, "ada.lovelace", "right")
                .await
                .starts_with("OK ")
        );
        assert!(login(&rig, "ada", "right").await.starts_with("OK "));
        // An address of an account that is of this directory alone is not given away.
        other.says(Answer::Right(Some(at("alice@example.org"))));
        assert!(
            login(&rig, "mallory", "right")
                .await
                .contains("[AUTHENTICATIONFAILED]")
        );
        assert!(login(&rig, "alice", "secret").await.starts_with("OK "));
    });
}

#[test]
fn without_the_setting_no_account_is_made() {
    run(false, |rig, other| async move {
        assert!(
            login(&rig, "ada", "right")
                .await
                .contains("[AUTHENTICATIONFAILED]")
        );
        assert!(
            rig.mailboxes
                .account(&at("ada@example.org"))
                .await
                .expect("read")
                .is_none()
        );
        ada(&rig).await;
        assert!(login(&rig, "ada", "right").await.starts_with("OK "));
        assert_eq!(other.asked().len(), 2);
    });
}

/// The directory may find another user by the name of an account whose user is gone there, because names have no domain in it.
#[test]
fn a_right_password_of_another_user_does_not_open_an_account() {
    run(true, |rig, other| async move {
        ada(&rig).await;
        other.says(Answer::Right(Some(at("ADA@example.org"))));
        assert!(login(&rig, "ada", "right").await.starts_with("OK "));
        later(&rig, VERIFIED_AGE_MAX + Duration::from_secs(1)).await;
        other.says(Answer::Right(Some(at("mallory@example.org"))));
        for _ in 0..2 {
            assert!(
                login(&rig, "ada", "right")
                    .await
                    .contains("[AUTHENTICATIONFAILED]")
            );
        }
        // Nor while the directory is away.
        other.says(Answer::Away);
        assert!(
            login(&rig, "ada", "right")
                .await
                .starts_with("NO [UNAVAILABLE]")
        );
    });
}

#[test]
fn a_right_password_is_not_asked_for_again_at_once() {
    run(false, |rig, other| async move {
        ada(&rig).await;
        assert!(login(&rig, "ada", "right").await.starts_with("OK "));
        later(&rig, Duration::from_secs(1)).await;
        assert!(login(&rig, "ada", "right").await.starts_with("OK "));
        assert_eq!(other.asked(), ["ada@example.org"]);
        later(&rig, VERIFIED_AGE_MAX + Duration::from_secs(1)).await;
        assert!(login(&rig, "ada", "right").await.starts_with("OK "));
        assert_eq!(other.asked(), ["ada@example.org"]);
    });
}

/// All servers are away. What was right a while ago is right; anything else is not known, which is neither wrong nor a failure.
#[test]
fn while_it_is_away_a_kept_password_is_right_and_another_is_put_off() {
    run(true, |rig, other| async move {
        ada(&rig).await;
        other.says(Answer::Away);
        assert!(
            login(&rig, "ada", "right")
                .await
                .starts_with("NO [UNAVAILABLE]")
        );
        other.says(Answer::Right(None));
        assert!(login(&rig, "ada", "right").await.starts_with("OK "));
        later(&rig, VERIFIED_AGE_MAX + Duration::from_secs(1)).await;
        other.says(Answer::Away);
        rig.audited.lock().expect("no holder panics").clear();
        assert!(
            login(&rig, "ada", "newer")
                .await
                .starts_with("NO [UNAVAILABLE]")
        );
        assert!(
            login(&rig, "stranger", "right")
                .await
                .starts_with("NO [UNAVAILABLE]")
        );
        assert!(rig.failed.lock().expect("no holder panics").is_empty());
        assert!(rig.audited.lock().expect("no holder panics").is_empty());
        assert!(login(&rig, "ada", "right").await.starts_with("OK "));
        later(&rig, Duration::from_secs(1_500)).await;
        assert!(
            login(&rig, "ada", "right")
                .await
                .starts_with("NO [UNAVAILABLE]"),
            "too old"
        );
        other.says(Answer::Right(None));
        assert!(login(&rig, "ada", "right").await.starts_with("OK "));
    });
}

/// A user changes the password there: the old one must not come back by an outage.
#[test]
fn a_password_that_was_refused_is_not_kept() {
    run(false, |rig, other| async move {
        ada(&rig).await;
        assert!(login(&rig, "ada", "right").await.starts_with("OK "));
        later(&rig, VERIFIED_AGE_MAX + Duration::from_secs(1)).await;
        other.says(Answer::Wrong);
        assert!(
            login(&rig, "ada", "other")
                .await
                .contains("[AUTHENTICATIONFAILED]")
        );
        assert_eq!(
            mark(&rig, "ada@example.org").await.0,
            "kept right",
            "another was wrong"
        );
        assert!(
            login(&rig, "ada", "right")
                .await
                .contains("[AUTHENTICATIONFAILED]")
        );
        let (hash, kept) = mark(&rig, "ada@example.org").await;
        assert_eq!((hash.as_str(), kept.proved_unix_s), (outside::NO_HASH, 0));
        other.says(Answer::Away);
        assert!(
            login(&rig, "ada", "right")
                .await
                .starts_with("NO [UNAVAILABLE]")
        );
    });
}

#[test]
fn a_disabled_account_lets_no_one_in_until_the_directory_says_otherwise() {
    run(false, |rig, other| async move {
        ada(&rig).await;
        assert!(login(&rig, "ada", "right").await.starts_with("OK "));
        later(&rig, Duration::from_secs(1)).await;
        let account = rig.mailboxes.account(&at("ada@example.org")).await;
        let account = account.expect("read").expect("there").id;
        outside::set_disabled(&rig.outgoing, account, true)
            .await
            .expect("disabled");
        other.says(Answer::Away);
        rig.audited.lock().expect("no holder panics").clear();
        // Not by what is kept, and not by what is remembered.
        assert!(
            login(&rig, "ada", "right")
                .await
                .contains("[AUTHENTICATIONFAILED]")
        );
        let lines = rig.audited.lock().expect("no holder panics").clone();
        assert_eq!(
            lines,
            ["imap LOGIN command ada@example.org -: account is disabled"]
        );
        other.says(Answer::Right(None));
        assert!(login(&rig, "ada", "right").await.starts_with("OK "));
        later(&rig, Duration::from_secs(1)).await;
        assert!(!mark(&rig, "ada@example.org").await.1.is_disabled);
    });
}

/// RFC 4513 §5.1.2: a server says yes to a name without a password.
#[test]
fn an_empty_password_is_wrong_and_is_sent_nowhere() {
    run(true, |rig, other| async move {
        ada(&rig).await;
        for user in ["ada", "newcomer"] {
            assert!(
                login(&rig, user, "\"\"")
                    .await
                    .contains("[AUTHENTICATIONFAILED]")
            );
        }
        assert!(other.asked().is_empty());
    });
}

#[test]
fn scram_is_not_offered_beside_another_directory() {
    run(true, |rig, _| async move {
        let mut session = rig.connect().await;
        let asked = Cell::new(0);
        session.send("t CAPABILITY\r\n").await;
        for line in session.answer().await {
            asked.set(asked.get() + usize::from(line.contains("AUTH=PLAIN")));
            assert!(!line.contains("SCRAM"), "{line}");
        }
        assert_eq!(asked.get(), 1);
        session
            .send("t AUTHENTICATE SCRAM-SHA-256 biwsbj1hZGE=\r\n")
            .await;
        let last = session.answer().await.pop().expect("an answer");
        assert!(
            last.starts_with("NO ") || last.starts_with("BAD "),
            "{last}"
        );
    });
}

#[test]
fn two_first_logins_at_a_time_make_one_account() {
    run(true, |rig, _| async move {
        let (mut one, mut two) = (rig.connect().await, rig.connect().await);
        one.send("t LOGIN ada right\r\n").await;
        two.send("t LOGIN ada right\r\n").await;
        for session in [&mut one, &mut two] {
            let last = session.answer().await.pop().expect("an answer");
            assert!(last.starts_with("OK "), "{last}");
        }
        let accounts = rig.mailboxes.accounts(None, 9).await.expect("read");
        assert_eq!(accounts.len(), 2, "alice and ada");
    });
}
