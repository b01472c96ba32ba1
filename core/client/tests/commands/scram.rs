//! SCRAM (RFC 7677) and app passwords, in IMAP, POP3 and submission, with what storage keeps of them.

use client::login::audit::Protocol;
use mail::Address;
use sasl::base64;
use sasl::scram::client::Client;
use sasl::scram::{ITERATIONS, Keys};
use storage::logins::{self, NewApp, Password};

use crate::rig::{Rig, Session, run};

const FRESH: [u8; 32] = [5; 32];
const APP: &str = "abcd-efgh-ijkl-mnop-qrst-uvwx";

fn address(local: &str) -> Address {
    Address::from_parts(local, "example.org").expect("an address")
}

async fn keys(rig: &Rig, local: &str, password: &str) -> ::logins::Keys {
    let salt = logins::salt_of(&rig.outgoing, &address(local), FRESH).await;
    let Keys { stored, server } = Keys::derive(password, &salt.expect("a salt"), ITERATIONS);
    ::logins::Keys { stored, server }
}

/// An account as `ringpostctl` makes one.
async fn make(rig: &Rig, local: &str, password: &str) {
    let password = Password {
        hash: format!("$hash of {local}"),
        keys: Some(keys(rig, local, password).await),
        iterations: ITERATIONS,
    };
    let made = logins::add_account(&rig.outgoing, &address(local), &password, 0).await;
    made.expect("an account");
}

async fn make_app(rig: &Rig, name: &str, scopes: &[Protocol], password: &str) {
    let account = rig
        .mailboxes
        .account(&address("alice"))
        .await
        .expect("read");
    let account = account.expect("an account").id;
    let bits = scopes.iter().fold(0, |bits, scope| bits | scope.bit());
    let new = NewApp {
        name: name.to_owned(),
        scopes: bits,
        digest: *blake3::hash(password.as_bytes()).as_bytes(),
        keys: keys(rig, "alice", password).await,
        iterations: ITERATIONS,
        day: 20_000,
    };
    let added = logins::add_app(&rig.outgoing, account, new, FRESH).await;
    added.expect("an app password");
}

/// The last words of an exchange in IMAP.
async fn imap(session: &mut Session, user: &str, password: &str) -> String {
    let client = Client::new(user, password, "abc", "n", b"");
    let first = client.first();
    session
        .send(&format!("t AUTHENTICATE SCRAM-SHA-256 {first}\r\n"))
        .await;
    let challenge = session.line().await;
    let challenge = challenge.strip_prefix("+ ").expect("a challenge");
    let last = client.last(challenge.trim_end()).expect("a challenge");
    session.send(&format!("{last}\r\n")).await;
    let line = session.line().await;
    match line.strip_prefix("+ ") {
        Some(signature) => {
            let signature = base64::decode(signature.trim_end().as_bytes());
            assert!(signature.expect("base64").starts_with(b"v="));
            session.send("\r\n").await;
            session.line().await
        }
        None => line,
    }
}

fn audited(rig: &Rig) -> Vec<String> {
    std::mem::take(&mut *rig.audited.lock().expect("no holder panics"))
}

#[test]
fn an_account_logs_in_by_scram_from_its_first_moment_and_after_a_change() {
    run(|rig| async move {
        make(&rig, "bob", "ringpost").await;
        let mut session = rig.connect().await;
        assert!(
            imap(&mut session, "bob", "wrong")
                .await
                .contains("NO [AUTHENTICATIONFAILED]")
        );
        assert!(
            imap(&mut session, "bob", "ringpost")
                .await
                .starts_with("t OK ")
        );
        assert_eq!(
            audited(&rig),
            [
                "imap SCRAM-SHA-256 bob@example.org -: wrong password",
                "imap SCRAM-SHA-256 bob@example.org -: granted",
            ]
        );
        let bob = rig.mailboxes.account(&address("bob")).await.expect("read");
        let password = Password {
            hash: "$another".into(),
            keys: Some(keys(&rig, "bob", "other one").await),
            iterations: ITERATIONS,
        };
        let id = bob.expect("an account").id;
        logins::set_password(&rig.outgoing, id, &password)
            .await
            .expect("set");
        let mut session = rig.connect().await;
        assert!(imap(&mut session, "bob", "ringpost").await.contains(" NO "));
        assert!(
            imap(&mut session, "bob", "other one")
                .await
                .starts_with("t OK ")
        );
        // A password that is set without keys leaves none of the old one.
        rig.mailboxes
            .set_password_hash(id, "$third")
            .await
            .expect("set");
        let mut session = rig.connect().await;
        assert!(
            imap(&mut session, "bob", "other one")
                .await
                .contains(" NO ")
        );
        logins::remove_account(&rig.outgoing, id)
            .await
            .expect("removed");
        let keyring = rig.outgoing.keyring().expect("it is there");
        assert_eq!(keyring.row(id.0).await, Ok(::logins::Row::default()));
    });
}

#[test]
fn an_account_of_an_older_release_gets_its_keys_with_its_first_plain_login() {
    run(|rig| async move {
        let mut session = rig.connect().await;
        assert!(imap(&mut session, "alice", "secret").await.contains(" NO "));
        session.ok("LOGIN alice secret").await;
        // They are made in the background.
        let host = rig.host.clone();
        base::host::sleep_us(&*host, 1_000_000).await;
        let mut session = rig.connect().await;
        assert!(
            imap(&mut session, "alice@example.org", "secret")
                .await
                .starts_with("t OK ")
        );
        let mut session = rig.connect().await;
        assert!(imap(&mut session, "alice", "Secret").await.contains(" NO "));
    });
}

/// RFC 5802 §9: whether there is such a user does not show.
#[test]
fn a_user_that_does_not_exist_has_a_challenge_like_any_other_and_always_the_same_salt() {
    run(|rig| async move {
        make(&rig, "bob", "ringpost").await;
        let challenge = async |user: &str| {
            let mut session = rig.connect().await;
            let first = Client::new(user, "x", "abc", "n", b"").first();
            session
                .send(&format!("t AUTHENTICATE SCRAM-SHA-256 {first}\r\n"))
                .await;
            let line = session.line().await;
            let text = line
                .strip_prefix("+ ")
                .expect("a challenge")
                .trim_end()
                .to_owned();
            let text = base64::decode(text.as_bytes()).expect("base64");
            let text = String::from_utf8(text).expect("ASCII");
            let (nonce, rest) = text.split_once(",s=").expect("a salt");
            (nonce.len(), rest.to_owned())
        };
        let (known, unknown) = (challenge("bob").await, challenge("eve").await);
        assert_eq!(known.0, unknown.0);
        assert_eq!(known.1.len(), unknown.1.len());
        assert_ne!(known.1, unknown.1);
        for spelled in ["EVE", "eve@example.org", "Eve+tag@EXAMPLE.org"] {
            assert_eq!(challenge(spelled).await, unknown, "{spelled}");
        }
        for spelled in ["BOB", "bob@example.org", "Bob+tag@EXAMPLE.org"] {
            assert_eq!(challenge(spelled).await, known, "{spelled}");
        }
        // Should Eve come one day, nothing changes for who asked before.
        make(&rig, "eve", "ringpost").await;
        assert_eq!(challenge("eve").await, unknown);
        let mut session = rig.connect().await;
        assert!(
            imap(&mut session, "carol", "x")
                .await
                .contains("NO [AUTHENTICATIONFAILED]")
        );
    });
}

#[test]
fn pop3_and_submission_take_scram_too() {
    run(|rig| async move {
        make(&rig, "bob", "ringpost").await;
        let client = Client::new("bob", "ringpost", "abc", "n", b"");
        let mut session = rig.pop3().await;
        let challenge = session
            .pop(&format!("AUTH SCRAM-SHA-256 {}", client.first()))
            .await;
        let last = client.last(
            challenge
                .strip_prefix("+ ")
                .expect("a challenge")
                .trim_end(),
        );
        let proof = session.pop(&last.expect("a challenge")).await;
        assert!(proof.starts_with("+ "), "{proof}");
        assert!(session.pop("").await.starts_with("+OK"));
        let mut session = rig.submission().await;
        let lines = format!(
            "EHLO c.example\r\nAUTH SCRAM-SHA-256 {}\r\n",
            client.first()
        );
        let answers = session.smtp(&lines, 2).await;
        let challenge = answers[1]
            .strip_prefix("334 ")
            .expect("a challenge")
            .to_owned();
        let last = client.last(challenge.trim_end()).expect("a challenge");
        let answers = session.smtp(&format!("{last}\r\n\r\n"), 2).await;
        assert!(answers[1].starts_with("235 "), "{answers:?}");
        assert_eq!(
            audited(&rig),
            [
                "pop3 SCRAM-SHA-256 bob@example.org -: granted",
                "submission SCRAM-SHA-256 bob@example.org -: granted",
            ]
        );
    });
}

#[test]
fn an_app_password_is_for_its_protocols_and_ends_with_its_removal() {
    run(|rig| async move {
        make_app(&rig, "phone", &[Protocol::Imap], APP).await;
        let mut session = rig.connect().await;
        session.ok(&format!("LOGIN alice {APP}")).await;
        let mut session = rig.connect().await;
        session
            .ok(&format!(
                "LOGIN alice \"{}\"",
                APP.replace('-', " ").to_uppercase()
            ))
            .await;
        let mut session = rig.connect().await;
        assert!(imap(&mut session, "alice", APP).await.starts_with("t OK "));
        let mut session = rig.pop3().await;
        session.pop("USER alice").await;
        assert!(
            session
                .pop(&format!("PASS {APP}"))
                .await
                .starts_with("-ERR")
        );
        // The account's own password is not touched.
        session.pop("USER alice").await;
        assert!(session.pop("PASS secret").await.starts_with("+OK"));
        let lines = audited(&rig);
        assert_eq!(
            lines[0],
            "imap LOGIN command alice@example.org phone: granted"
        );
        assert_eq!(
            lines[2],
            "imap SCRAM-SHA-256 alice@example.org phone: granted"
        );
        assert_eq!(
            lines[3],
            "pop3 USER alice@example.org -: app password is for another protocol"
        );
        assert!(
            lines
                .iter()
                .all(|line| !line.contains(APP) && !line.contains("secret"))
        );
        let account = rig
            .mailboxes
            .account(&address("alice"))
            .await
            .expect("read");
        let id = account.expect("an account").id;
        let apps = logins::apps(&rig.outgoing, id).await.expect("read");
        let used = apps[0].used.clone().expect("it was used");
        assert_eq!(used.protocol, Protocol::Imap.bit());
        assert!(used.peer.parse::<std::net::IpAddr>().is_ok());
        logins::remove_app(&rig.outgoing, id, "phone")
            .await
            .expect("removed");
        let mut session = rig.connect().await;
        assert!(
            session
                .refused(&format!("LOGIN alice {APP}"))
                .await
                .starts_with("NO ")
        );
        assert!(imap(&mut session, "alice", APP).await.contains(" NO "));
    });
}

#[test]
fn a_password_typed_as_a_name_is_not_in_the_audit() {
    run(|rig| async move {
        let mut session = rig.connect().await;
        session.refused("LOGIN hunter2 x").await;
        session.refused("LOGIN eve@example.org x").await;
        // With an at sign, and not an address of this server.
        let mut session = rig.connect().await;
        session.refused("LOGIN p@ssw0rd x").await;
        session.refused("LOGIN \"e\x1b[2J@example.org\" x").await;
        let unnamed = "imap LOGIN command - -: no such account";
        assert_eq!(
            audited(&rig),
            [
                unnamed,
                "imap LOGIN command eve@example.org -: no such account",
                unnamed,
                unnamed,
            ]
        );
    });
}

/// The owner of an account that is attacked from elsewhere.
#[test]
fn a_source_that_guesses_waits_and_others_do_not() {
    run(|rig| async move {
        for _round in 0..8 {
            let mut session = rig.connect().await;
            for _guess in 0..2 {
                session.refused("LOGIN alice wrong").await;
            }
        }
        let began = rig.host.now();
        let mut session = rig.connect().await;
        session.ok("LOGIN alice secret").await;
        let waited = rig.host.now().since_us(began);
        assert!(waited >= 1_000_000, "{waited}");
    });
}
