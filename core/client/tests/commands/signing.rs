//! DKIM (RFC 6376): what is signed when it is taken for the queue, for whom, and what is not.

use std::sync::Arc;

use dkim::{Algorithm, Signer, SigningKey};
use mail::Address;
use mailbox::{DkimAlgorithm, DkimKey, DkimState, PrivateKey};

use crate::rig::{Rig, Session, run};

/// NUL alice@example.org NUL secret: with several domains the local part alone is not a user.
const ALICE: &str = "AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAHNlY3JldA==\r\n";

/// An active key, in the directory and as its signer.
async fn key(rig: &Rig, domain: &str, selector: &str, algorithm: DkimAlgorithm) -> Signer {
    let kind = match algorithm {
        DkimAlgorithm::Rsa2048 => Algorithm::RsaSha256,
        DkimAlgorithm::Ed25519 => Algorithm::Ed25519Sha256,
    };
    let made = SigningKey::generate(kind).expect("a key");
    let key = DkimKey {
        domain: domain.to_owned(),
        selector: selector.to_owned(),
        algorithm,
        state: DkimState::Active,
        made_unix_s: 1,
        private: PrivateKey::new(&made).expect("it is short"),
    };
    rig.mailboxes.add_dkim_key(key).await.expect("room for it");
    let read = SigningKey::parse(kind, &made).expect("it was just made");
    Signer::new(domain, selector, Arc::new(read))
}

/// Submits `content` for `to` as Alice, who has logged in; what the last command was answered.
async fn send(session: &mut Session, from: &str, to: &str, content: &str) -> String {
    let lines = format!("MAIL FROM:<{from}>\r\nRCPT TO:<{to}>\r\nDATA\r\n");
    let answers = session.smtp(&lines, 3).await;
    assert!(answers[2].starts_with("354 "), "{answers:?}");
    session.smtp(&format!("{content}.\r\n"), 1).await.remove(0)
}

async fn logged_in(rig: &Rig) -> Session {
    let mut session = rig.submission().await;
    let answers = session.smtp(&format!("EHLO c.example\r\n{ALICE}"), 2).await;
    assert_eq!(answers[1], "235 2.7.0 authentication successful");
    session
}

/// The content of the message that came last.
async fn last(rig: &Rig) -> String {
    let entries = rig.outgoing.queue().entries(None, 100);
    let id = entries.last().expect("one waits").id;
    let body = rig.outgoing.body(id, 0).await;
    let body = body.expect("it waits").expect("it is there");
    String::from_utf8_lossy(&body).into_owned()
}

/// Asserts that `text` has, behind our Received field, the signatures of `signers` over all that follows them.
fn assert_signed(text: &str, signers: &[Signer]) {
    let at = text.find("DKIM-Signature: ").expect("a signature");
    assert!(text[..at].contains("\r\nReceived: "), "{text}");
    let unsigned = text.find("Date: ").expect("the message's own fields");
    let time = text[at..].split("\tt=").nth(1).expect("t=");
    let time = time.split(';').next().and_then(|time| time.parse().ok());
    let fields = dkim::sign(&text.as_bytes()[unsigned..], signers, time.expect("a time"));
    let fields = fields.expect("it signs").expect("it can be signed");
    assert_eq!(&text[at..unsigned], String::from_utf8_lossy(&fields));
}

const TEXT: &str = "From: Alice <alice@example.org>\r\nSubject: s\r\n\r\nhello\r\n";

#[test]
fn what_leaves_is_signed_with_both_algorithms_over_what_is_queued() {
    run(|rig| async move {
        let rsa = key(&rig, "example.org", "r", DkimAlgorithm::Rsa2048).await;
        let ed25519 = key(&rig, "example.org", "e", DkimAlgorithm::Ed25519).await;
        let mut session = logged_in(&rig).await;
        let from = "alice@example.org";
        let done = send(&mut session, from, "x@example.net", TEXT).await;
        assert!(done.starts_with("250 "), "{done}");
        // RSA stands first. Date and Message-ID that submission added are signed.
        let both = [rsa, ed25519.clone()];
        assert_signed(&last(&rig).await, &both);
        // A key that is retired signs no more, although this core knew it.
        let retired = DkimState::Retired;
        let set = rig
            .mailboxes
            .set_dkim_key_state("example.org", "r", retired);
        set.await.expect("a key");
        send(&mut session, from, "x@example.net", TEXT).await;
        assert_signed(&last(&rig).await, &[ed25519]);
    });
}

#[test]
fn what_stays_here_is_not_signed_and_a_copy_beside_one_that_leaves_is() {
    run(|rig| async move {
        let ed25519 = key(&rig, "example.org", "e", DkimAlgorithm::Ed25519).await;
        let mut session = logged_in(&rig).await;
        let (from, here) = ("alice@example.org", "alice@example.org");
        send(&mut session, from, here, TEXT).await;
        let mut reader = rig.selected().await;
        let first = reader.ok("FETCH 1 (BODY.PEEK[])").await.join("\r\n");
        assert!(
            first.contains("hello") && !first.contains("DKIM-Signature"),
            "{first}"
        );
        let lines = "MAIL FROM:<alice@example.org>\r\nRCPT TO:<alice@example.org>\r\nRCPT TO:<x@example.net>\r\nDATA\r\n";
        session.smtp(lines, 4).await;
        session.smtp(&format!("{TEXT}.\r\n"), 1).await;
        assert_signed(&last(&rig).await, &[ed25519]);
        let mut reader = rig.selected().await;
        let second = reader.ok("FETCH 2 (BODY.PEEK[])").await.join("\r\n");
        assert!(second.contains("DKIM-Signature"), "{second}");
    });
}

#[test]
fn without_an_active_key_it_is_sent_as_it_is() {
    run(|rig| async move {
        let mut session = logged_in(&rig).await;
        let done = send(&mut session, "alice@example.org", "x@example.net", TEXT).await;
        assert!(done.starts_with("250 "), "{done}");
        assert!(!last(&rig).await.contains("DKIM-Signature"));
        // A key that comes later signs the next message.
        let signer = key(&rig, "example.org", "e", DkimAlgorithm::Ed25519).await;
        send(&mut session, "alice@example.org", "x@example.net", TEXT).await;
        assert_signed(&last(&rig).await, &[signer]);
    });
}

/// A signature vouches for From: one domain of this box does not sign what a person of another wrote there.
#[test]
fn only_the_senders_own_domain_signs() {
    run(|rig| async move {
        rig.mailboxes.add_domain("bank.example").await.unwrap();
        key(&rig, "bank.example", "b", DkimAlgorithm::Ed25519).await;
        let ours = key(&rig, "example.org", "e", DkimAlgorithm::Ed25519).await;
        let mut session = logged_in(&rig).await;
        let from = "alice@example.org";
        for author in [
            "ceo@bank.example",
            "alice@example.org, ceo@bank.example",
            "ceo@sub.bank.example",
            "alice@elsewhere.example",
            "alice@badexample.org",
            "alice@news.example.org",
        ] {
            let text = format!("From: {author}\r\nSubject: s\r\n\r\nx\r\n");
            let done = send(&mut session, from, "x@example.net", &text).await;
            assert!(done.starts_with("550 5.7.1 "), "{author}: {done}");
        }
        let twice = format!("From: ceo@bank.example\r\n{TEXT}");
        let done = send(&mut session, from, "x@example.net", &twice).await;
        assert!(done.starts_with("550 5.7.1 "), "{done}");
        // An alias of that domain is theirs when it leads to them alone, and is not signed in the name of a domain that is not the sender's.
        let target = mail::Address::from_path(from).unwrap();
        let directory = rig.mailboxes.directory();
        directory
            .put_alias("alice@bank.example", vec![target])
            .await
            .unwrap();
        let text = "From: alice@bank.example\r\nSubject: s\r\n\r\nx\r\n";
        let done = send(&mut session, from, "x@example.net", text).await;
        assert!(done.starts_with("250 "), "{done}");
        assert!(!last(&rig).await.contains("DKIM-"));
        send(&mut session, from, "x@example.net", TEXT).await;
        assert_signed(&last(&rig).await, &[ours]);
    });
}

#[test]
fn a_domain_of_ours_below_another_has_its_own_key_or_the_one_above() {
    run(|rig| async move {
        let above = key(&rig, "example.org", "a", DkimAlgorithm::Ed25519).await;
        rig.mailboxes.add_domain("dept.example.org").await.unwrap();
        let bob = Address::from_parts("bob", "dept.example.org").unwrap();
        rig.mailboxes.add_account(&bob, "$hash", 0).await.unwrap();
        // NUL bob@dept.example.org NUL secret.
        let bob = "AUTH PLAIN AGJvYkBkZXB0LmV4YW1wbGUub3JnAHNlY3JldA==\r\n";
        let mut session = rig.submission().await;
        session.smtp(&format!("EHLO c.example\r\n{bob}"), 2).await;
        let (from, text) = (
            "bob@dept.example.org",
            "From: bob@dept.example.org\r\nSubject: s\r\n\r\nx\r\n",
        );
        send(&mut session, from, "x@example.net", text).await;
        assert_signed(&last(&rig).await, &[above]);
        let own = key(&rig, "dept.example.org", "o", DkimAlgorithm::Ed25519).await;
        send(&mut session, from, "x@example.net", text).await;
        assert_signed(&last(&rig).await, &[own]);
    });
}

/// Unknown is not absent: what might have to be signed does not leave unsigned.
#[test]
fn a_message_whose_keys_cannot_be_looked_up_is_deferred() {
    run(|rig| async move {
        let signer = key(&rig, "example.org", "e", DkimAlgorithm::Ed25519).await;
        let mut session = logged_in(&rig).await;
        let lines = "MAIL FROM:<alice@example.org>\r\nRCPT TO:<x@example.net>\r\nDATA\r\n";
        session.smtp(lines, 3).await;
        rig.busy.set(true);
        let done = session.smtp(&format!("{TEXT}.\r\n"), 1).await;
        assert!(done[0].starts_with("451 4.3.2 "), "{done:?}");
        assert_eq!(rig.outgoing.queue().count(), 0);
        rig.busy.set(false);
        let done = send(&mut session, "alice@example.org", "x@example.net", TEXT).await;
        assert!(done.starts_with("250 "), "{done}");
        assert_signed(&last(&rig).await, &[signer]);
    });
}

#[test]
fn a_key_that_cannot_be_used_defers_until_it_is_retired() {
    run(|rig| async move {
        let broken = DkimKey {
            domain: "example.org".to_owned(),
            selector: "broken".to_owned(),
            algorithm: DkimAlgorithm::Rsa2048,
            state: DkimState::Active,
            made_unix_s: 1,
            private: PrivateKey::new(b"not a key").expect("it is short"),
        };
        rig.mailboxes.add_dkim_key(broken).await.expect("room");
        let mut session = logged_in(&rig).await;
        let from = "alice@example.org";
        let done = send(&mut session, from, "x@example.net", TEXT).await;
        assert!(done.starts_with("451 4.3.0 "), "{done}");
        assert_eq!(rig.outgoing.queue().count(), 0);
        let retired = DkimState::Retired;
        let set = rig
            .mailboxes
            .set_dkim_key_state("example.org", "broken", retired);
        set.await.expect("a key");
        let done = send(&mut session, from, "x@example.net", TEXT).await;
        assert!(done.starts_with("250 "), "{done}");
    });
}
