//! What people's scripts send: signed before it leaves, once, and reported where a script refuses.

use ::scripts::Owner;
use base::BodyName;
use bytes::Bytes;
use mail::{InternalDate, Summary};
use mailbox::{AccountId, DkimAlgorithm, DkimKey, DkimState, PrivateKey};
use queue::{Addressee, Terms};
use storage::arrival::{Arrival, Posted, Refusing};
use store::BodyIn;

use crate::rig::{MX, Rig, run};
use crate::server::{Script, say};

async fn script(rig: &Rig, account: AccountId, text: &'static str) {
    let scripts = rig.outgoing.scripts().expect("the rig has some");
    let text = Bytes::from_static(text.as_bytes());
    let owner = Owner::Account(account.0);
    let put = scripts.put(&owner, "main", text, true);
    put.await.expect("there is room");
}

async fn sign(rig: &Rig) {
    let made = dkim::SigningKey::generate(dkim::Algorithm::Ed25519Sha256).expect("a key");
    let key = DkimKey {
        domain: "example.org".to_owned(),
        selector: "k1".to_owned(),
        algorithm: DkimAlgorithm::Ed25519,
        state: DkimState::Active,
        made_unix_s: 1,
        private: PrivateKey::new(&made).expect("it is short"),
    };
    let added = rig.outgoing.mailboxes().add_dkim_key(key).await;
    added.expect("a key");
}

/// A message from eve@a.example for Alice arrives.
async fn arrives(rig: &Rig, alice: AccountId, number: u32) {
    let raw = format!(
        "Return-Path: <eve@a.example>\r\nReceived: from x\r\nFrom: eve@a.example\r\nTo: alice@example.org\r\nMessage-ID: <{number}@a.example>\r\nSubject: hello\r\n\r\ntext\r\n"
    );
    let raw = Bytes::from(raw);
    let arrival = Arrival {
        body: BodyIn {
            name: BodyName::of(&raw),
            summary: Bytes::from(Summary::of(&raw).encode()),
            raw,
        },
        internal_date: InternalDate::utc(1),
        accounts: vec![alice],
        junk: Vec::new(),
        posted: Posted {
            from: "eve@a.example".to_owned(),
            to: vec![Addressee::new("alice@example.org")],
            terms: Terms::default(),
            refusing: Refusing::Report,
        },
    };
    assert_eq!(rig.outgoing.deliver(arrival).await, [Ok(())]);
}

#[test]
fn a_vacation_reply_leaves_signed_and_once() {
    run(|rig| async move {
        let alice = rig.alice().await;
        sign(&rig).await;
        let server = rig.server("a.example", 1, Script::usual());
        script(
            &rig,
            alice,
            "require \"vacation\"; vacation \"back on Monday\";",
        )
        .await;
        let running = rig.send(MX);
        arrives(&rig, alice, 1).await;
        rig.until(20, "the reply arrives", || server.count() == 1)
            .await;
        let reply = server.got().remove(0);
        assert!(reply.mail.starts_with("MAIL FROM:<>"));
        assert_eq!(reply.recipients, ["RCPT TO:<eve@a.example>"]);
        assert!(
            reply.content.starts_with("DKIM-Signature: "),
            "{}",
            reply.content
        );
        assert!(reply.content.contains("d=example.org"), "{}", reply.content);
        assert!(reply.content.contains("back on Monday"));
        arrives(&rig, alice, 2).await;
        rig.sleep(600).await;
        rig.at_rest(&running).await;
        assert_eq!(server.count(), 1, "once");
        assert_eq!(rig.inbox(alice).await.len(), 2);
    });
}

#[test]
fn a_reply_without_a_key_leaves_as_it_is_and_one_that_is_refused_is_given_up_in_silence() {
    run(|rig| async move {
        let alice = rig.alice().await;
        let script_of = Script::at("RCPT", say("550 5.1.1 no such user"));
        let server = rig.server("a.example", 1, script_of);
        script(&rig, alice, "require \"vacation\"; vacation \"away\";").await;
        let running = rig.send(MX);
        arrives(&rig, alice, 1).await;
        rig.until(60, "nothing is left", || rig.outgoing.queue().count() == 0)
            .await;
        rig.at_rest(&running).await;
        assert_eq!(server.count(), 0);
        assert_eq!(rig.inbox(alice).await.len(), 1, "no report comes back");
    });
}

#[test]
fn a_redirect_arrives_elsewhere_as_it_came_behind_the_address_that_it_left() {
    run(|rig| async move {
        let alice = rig.alice().await;
        let server = rig.server("a.example", 1, Script::usual());
        script(&rig, alice, "redirect \"alice@a.example\";").await;
        let running = rig.send(MX);
        arrives(&rig, alice, 1).await;
        rig.until(20, "it arrives", || server.count() == 1).await;
        let sent = server.got().remove(0);
        assert_eq!(sent.recipients, ["RCPT TO:<alice@a.example>"]);
        assert!(sent.mail.contains("@example.org>"), "sealed: {}", sent.mail);
        let front = "Delivered-To: alice@example.org\r\nReceived: from x\r\n";
        assert!(sent.content.starts_with(front), "{}", sent.content);
        rig.at_rest(&running).await;
        assert_eq!(rig.inbox(alice).await.len(), 0);
    });
}

#[test]
fn the_sender_of_what_a_script_refuses_hears_its_words() {
    run(|rig| async move {
        let alice = rig.alice().await;
        let server = rig.server("a.example", 1, Script::usual());
        script(
            &rig,
            alice,
            "require \"reject\"; reject \"please write to bob\";",
        )
        .await;
        let running = rig.send(MX);
        arrives(&rig, alice, 1).await;
        rig.until(20, "the report arrives", || server.count() == 1)
            .await;
        let report = server.got().remove(0);
        assert!(report.mail.starts_with("MAIL FROM:<>"));
        assert_eq!(report.recipients, ["RCPT TO:<eve@a.example>"]);
        assert!(
            report.content.contains("please write to bob"),
            "{}",
            report.content
        );
        assert!(report.content.contains("Status: 5.7.1"));
        rig.at_rest(&running).await;
        assert_eq!(rig.inbox(alice).await.len(), 0);
    });
}
