//! OAUTHBEARER (RFC 7628) and XOAUTH2 in the four protocols, and SCRAM where many guess at once or leave in the middle.

use std::sync::Arc;

use client::limits::LOGIN_FAILURE_DELAY;
use client::login::Unavailable;
use client::login::oauth::{Checking, Tokens};
use oauth::Flaw;
use sasl::base64;
use sasl::bearer::{Failure, Status};
use sasl::scram::client::Client;

use crate::rig::{Rig, run};

/// `good:NAME` is a token of NAME; `away`, `old` and anything else are what they say.
struct Provider;

impl Tokens for Provider {
    fn check(&self, token: String) -> Checking {
        Box::pin(async move {
            Ok(match token.split_once("..") {
                Some(("good", name)) => Ok(name.replace('_', "@")),
                _ if token == "away" => return Err(Unavailable),
                _ if token == "old" => Err(Flaw::Expired),
                _ => Err(Flaw::Signature),
            })
        })
    }

    fn failure(&self, status: Status) -> Failure {
        Failure {
            status,
            scope: "mail".to_owned(),
            configuration: String::new(),
        }
    }
}

pub fn tokens() -> Arc<dyn Tokens> {
    Arc::new(Provider)
}

fn oauthbearer(user: &str, token: &str) -> String {
    let text = match user {
        "" => format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}"),
        user => format!("n,a={user},\u{1}auth=Bearer {token}\u{1}\u{1}"),
    };
    base64::encode(text.as_bytes())
}

fn xoauth2(user: &str, token: &str) -> String {
    let text = format!("user={user}\u{1}auth=Bearer {token}\u{1}\u{1}");
    base64::encode(text.as_bytes())
}

fn audited(rig: &Rig) -> Vec<String> {
    std::mem::take(&mut *rig.audited.lock().expect("no holder panics"))
}

/// The shortest wait, on virtual time.
const A_WAIT_US: u64 = 500_000;
const ALICE: &str = "good..alice_example.org";

#[test]
fn a_token_logs_in_whom_it_names_and_nobody_else() {
    run(|rig| async move {
        for user in ["", "alice", "ALICE@example.org"] {
            let mut session = rig.connect().await;
            let line = oauthbearer(user, ALICE);
            session
                .ok(&format!("AUTHENTICATE OAUTHBEARER {line}"))
                .await;
            session.ok("SELECT INBOX").await;
        }
        let line = "imap OAUTHBEARER alice@example.org -: granted";
        assert_eq!(audited(&rig), [line; 3]);
        for (user, token, outcome) in [
            (
                "bob",
                ALICE,
                "imap OAUTHBEARER alice@example.org -: of another account",
            ),
            (
                "",
                "good..carol_example.org",
                "imap OAUTHBEARER carol@example.org -: no such account",
            ),
            (
                "alice",
                "forged",
                "imap OAUTHBEARER alice@example.org -: wrong signature of the token",
            ),
            (
                "",
                "forged",
                "imap OAUTHBEARER - -: wrong signature of the token",
            ),
        ] {
            let mut session = rig.connect().await;
            let line = oauthbearer(user, token);
            session
                .send(&format!("t AUTHENTICATE OAUTHBEARER {line}\r\n"))
                .await;
            let why = session.line().await;
            let why = base64::decode(why.strip_prefix("+ ").expect("why").as_bytes());
            let why = String::from_utf8(why.expect("base64")).expect("JSON");
            assert_eq!(why, r#"{"status":"invalid_token","scope":"mail"}"#);
            session.send("AQ==\r\n").await;
            let line = session.line().await;
            assert!(line.starts_with("t NO [AUTHENTICATIONFAILED]"), "{line}");
            assert_eq!(audited(&rig), [outcome]);
        }
        let failed = rig.failed.lock().expect("no holder panics").len();
        assert_eq!(failed, 4);
    });
}

/// A phone shows an old token before it fetches a new one: it gets the reason, and that is not a guess. A provider that is away decides nothing.
#[test]
fn an_old_token_bans_nobody_and_a_provider_that_is_away_refuses_nobody() {
    run(|rig| async move {
        let mut session = rig.connect().await;
        let away = xoauth2("alice", "away");
        let before = rig.host.now();
        let answer = session
            .refused(&format!("AUTHENTICATE XOAUTH2 {away}"))
            .await;
        let delay_us = LOGIN_FAILURE_DELAY.as_micros() as u64;
        assert!(rig.host.now().since_us(before) >= delay_us, "at once");
        assert!(answer.contains("[UNAVAILABLE]"), "{answer}");
        let mut session = rig.pop3().await;
        let answer = session.pop(&format!("AUTH XOAUTH2 {away}")).await;
        assert!(answer.starts_with("-ERR [SYS/TEMP]"), "{answer}");
        let mut session = rig.submission().await;
        let lines = format!("EHLO c.example\r\nAUTH XOAUTH2 {away}\r\n");
        let answers = session.smtp(&lines, 2).await;
        assert!(answers[1].starts_with("454 "), "{answers:?}");
        assert!(audited(&rig).is_empty());
        for _ in 0..30 {
            let mut session = rig.connect().await;
            let old = xoauth2("alice", "old");
            session
                .send(&format!("t AUTHENTICATE XOAUTH2 {old}\r\n"))
                .await;
            assert!(session.line().await.starts_with("+ "));
            session.send("\r\n").await;
            assert!(session.line().await.starts_with("t NO "));
        }
        assert_eq!(audited(&rig).len(), 30);
        assert!(rig.failed.lock().expect("no holder panics").is_empty());
        let before = rig.host.now();
        let mut session = rig.connect().await;
        session.ok("LOGIN alice secret").await;
        assert!(rig.host.now().since_us(before) < A_WAIT_US, "it waits");
    });
}

#[test]
fn pop3_submission_and_managesieve_take_tokens_too() {
    run(|rig| async move {
        let mut session = rig.pop3().await;
        let why = session
            .pop(&format!("AUTH OAUTHBEARER {}", oauthbearer("alice", "x")))
            .await;
        assert!(why.starts_with("+ "), "{why}");
        assert!(session.pop("AQ==").await.starts_with("-ERR [AUTH]"));
        let good = oauthbearer("alice", ALICE);
        let answer = session.pop(&format!("AUTH OAUTHBEARER {good}")).await;
        assert!(answer.starts_with("+OK"), "{answer}");
        let mut session = rig.submission().await;
        let good = xoauth2("alice", ALICE);
        let bad = xoauth2("alice", "x");
        let lines = format!("EHLO c.example\r\nAUTH XOAUTH2 {bad}\r\n\r\nAUTH XOAUTH2 {good}\r\n");
        let answers = session.smtp(&lines, 4).await;
        assert!(answers[1].starts_with("334 "), "{answers:?}");
        assert!(answers[2].starts_with("535 "), "{answers:?}");
        assert!(answers[3].starts_with("235 "), "{answers:?}");
        let mut session = rig.managesieve().await;
        let lines = session
            .sieve(&format!("AUTHENTICATE \"XOAUTH2\" \"{good}\""))
            .await;
        assert!(
            lines.last().expect("a reply").starts_with("OK"),
            "{lines:?}"
        );
        assert_eq!(
            audited(&rig),
            [
                "pop3 OAUTHBEARER alice@example.org -: wrong signature of the token",
                "pop3 OAUTHBEARER alice@example.org -: granted",
                "submission XOAUTH2 alice@example.org -: wrong signature of the token",
                "submission XOAUTH2 alice@example.org -: granted",
                "sieve XOAUTH2 alice@example.org -: granted",
            ]
        );
    });
}

/// A client opens many connections, and answers no challenge until it has them all.
#[test]
fn challenges_that_are_open_at_once_slow_each_other_down() {
    run(|rig| async move {
        let mut waits = Vec::new();
        let mut held = Vec::new();
        for _ in 0..14 {
            let mut session = rig.connect().await;
            let first = Client::new("alice", "guess", "abc", "n", b"").first();
            let before = rig.host.now();
            session
                .send(&format!("t AUTHENTICATE SCRAM-SHA-256 {first}\r\n"))
                .await;
            assert!(session.line().await.starts_with("+ "));
            waits.push(rig.host.now().since_us(before));
            held.push(session);
        }
        assert!(
            waits[..10].iter().all(|wait| *wait < A_WAIT_US),
            "{waits:?}"
        );
        assert!(
            waits[10..].iter().all(|wait| *wait >= A_WAIT_US),
            "{waits:?}"
        );
        drop(held);
        base::host::sleep_us(&*rig.host, 1_000_000).await;
        let before = rig.host.now();
        let mut session = rig.connect().await;
        session.ok("LOGIN alice secret").await;
        assert!(
            rig.host.now().since_us(before) < A_WAIT_US,
            "nothing is left of them"
        );
    });
}

/// The server's signature is the word that the password is right, so a guesser need not send the last, empty line. And a proof that was made for another connection is an attack.
#[test]
fn a_right_guess_without_its_end_and_a_forged_binding_are_audited() {
    run(|rig| async move {
        let mut session = rig.connect().await;
        // The keys of alice are made by her first login.
        session.ok("LOGIN alice secret").await;
        base::host::sleep_us(&*rig.host, 1_000_000).await;
        audited(&rig);
        for (password, is_right) in [("secret", true), ("guess", false)] {
            let mut session = rig.connect().await;
            let client = Client::new("alice", password, "abc", "n", b"");
            let first = client.first();
            session
                .send(&format!("t AUTHENTICATE SCRAM-SHA-256 {first}\r\n"))
                .await;
            let challenge = session.line().await;
            let challenge = challenge.strip_prefix("+ ").expect("a challenge");
            let last = client.last(challenge).expect("a challenge");
            session.send(&format!("{last}\r\n")).await;
            let answer = session.line().await;
            assert_eq!(answer.starts_with("+ "), is_right, "{answer}");
            drop(session);
            base::host::sleep_us(&*rig.host, 5_000_000).await;
            let outcome = match is_right {
                true => "right password, login not completed",
                false => "wrong password",
            };
            let line = format!("imap SCRAM-SHA-256 alice@example.org -: {outcome}");
            assert_eq!(audited(&rig), [line]);
        }
        let mut session = rig.connect().await;
        let client = Client::new("alice", "secret", "abc", "n", b"");
        let first = client.first();
        session
            .send(&format!("t AUTHENTICATE SCRAM-SHA-256 {first}\r\n"))
            .await;
        let challenge = session.line().await;
        let challenge = challenge.strip_prefix("+ ").expect("a challenge");
        let last = client.last(challenge).expect("a challenge");
        let last = base64::decode(last.as_bytes()).expect("base64");
        let last = String::from_utf8(last).expect("ASCII");
        // `c=` of another header than the one that began.
        let last = last.replacen("c=biws", "c=eSws", 1);
        let last = base64::encode(last.as_bytes());
        session.send(&format!("{last}\r\n")).await;
        let answer = session.line().await;
        assert!(answer.starts_with("t NO "), "{answer}");
        drop(session);
        base::host::sleep_us(&*rig.host, 1_000_000).await;
        let line = "imap SCRAM-SHA-256 alice@example.org -: bound to another connection";
        assert_eq!(audited(&rig), [line]);
    });
}
