//! Who hears what.

use mailbox::{DkimAlgorithm, DkimKey, DkimState, PrivateKey};
use queue::Notify;

use crate::rig::{MX, run};
use crate::server::{Script, say};

#[test]
fn a_report_for_a_sender_elsewhere_leaves_by_the_queue_and_is_not_reported_about() {
    run(|rig| async move {
        rig.server(
            "a.example",
            1,
            Script::at("RCPT", say("550 5.1.1 no such user")),
        );
        let home = rig.server("home.example", 2, Script::usual());
        let running = rig.send(MX);
        rig.submit("hello", rig.envelope("eve@home.example", &["x@a.example"]))
            .await;
        rig.until(20, "the report arrives", || home.count() == 1)
            .await;
        let report = home.got().remove(0);
        assert!(report.mail.starts_with("MAIL FROM:<>"));
        assert_eq!(report.recipients, ["RCPT TO:<eve@home.example>"]);
        assert!(report.content.contains("Status: 5.1.1"));
        // A report that is refused is given up in silence.
        rig.submit("hello", rig.envelope("eve@a.example", &["x@a.example"]))
            .await;
        rig.until(20, "nothing is left", || rig.outgoing.queue().count() == 0)
            .await;
        rig.sleep(60).await;
        rig.at_rest(&running).await;
        assert_eq!(home.count(), 1);
    });
}

#[test]
fn only_those_who_failed_are_named_and_the_others_got_it() {
    run(|rig| async move {
        let alice = rig.alice().await;
        let script = Script::with(|line| match line.contains("RCPT TO:<bad") {
            true => say("550 5.1.1 no such user"),
            false => None,
        });
        let server = rig.server("a.example", 1, script);
        let running = rig.send(MX);
        rig.put("hello", &["good@a.example", "bad@a.example"]).await;
        rig.until(20, "it arrives", || server.count() == 1).await;
        rig.sleep(10).await;
        let reports = rig.inbox(alice).await;
        assert_eq!(reports.len(), 1);
        assert!(reports[0].starts_with("Return-Path: <>\r\n"));
        assert!(reports[0].contains("<bad@a.example>") && !reports[0].contains("good@a.example"));
        rig.at_rest(&running).await;
    });
}

#[test]
fn a_sender_that_wants_to_hear_of_success_hears_where_no_one_else_will_tell() {
    run(|rig| async move {
        let alice = rig.alice().await;
        rig.server("plain.example", 1, Script::usual());
        rig.server("dsn.example", 2, Script::usual().offering(&["DSN"]));
        let running = rig.send(MX);
        for domain in ["plain", "dsn"] {
            let mut envelope = rig.envelope("alice@example.org", &[&format!("x@{domain}.example")]);
            envelope.recipients[0].notify = Notify::SUCCESS;
            rig.submit(domain, envelope).await;
        }
        rig.sleep(20).await;
        let reports = rig.inbox(alice).await;
        assert_eq!(reports.len(), 1, "the other server reports itself");
        assert!(
            reports[0].contains("Action: relayed\r\n") && reports[0].contains("x@plain.example")
        );
        rig.at_rest(&running).await;
    });
}

#[test]
fn a_report_for_a_mailbox_of_ours_that_is_not_there_ends_quietly() {
    run(|rig| async move {
        rig.server(
            "a.example",
            1,
            Script::at("RCPT", say("550 5.1.1 no such user")),
        );
        let running = rig.send(MX);
        rig.submit("hello", rig.envelope("gone@example.org", &["x@a.example"]))
            .await;
        rig.sleep(30).await;
        rig.at_rest(&running).await;
    });
}

/// Our host is mx.example.org: the key of the domain above signs what it writes.
#[test]
fn a_report_is_signed_for_the_domain_of_our_host_name() {
    run(|rig| async move {
        let refuse = Script::at("RCPT", say("550 5.1.1 no such user"));
        rig.server("a.example", 1, refuse);
        let home = rig.server("home.example", 2, Script::usual());
        let made = dkim::SigningKey::generate(dkim::Algorithm::Ed25519Sha256).unwrap();
        let key = DkimKey {
            domain: "example.org".to_owned(),
            selector: "e".to_owned(),
            algorithm: DkimAlgorithm::Ed25519,
            state: DkimState::Active,
            made_unix_s: 1,
            private: PrivateKey::new(&made).unwrap(),
        };
        let mailboxes = rig.outgoing.mailboxes();
        mailboxes.add_dkim_key(key).await.unwrap();
        let running = rig.send(MX);
        rig.submit("hello", rig.envelope("eve@home.example", &["x@a.example"]))
            .await;
        rig.until(20, "the report arrives", || home.count() == 1)
            .await;
        let content = home.got().remove(0).content;
        let signed =
            "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n\td=example.org; s=e;";
        assert!(content.starts_with(signed), "{content}");
        assert!(content.contains("\r\nFrom: Mail delivery <MAILER-DAEMON@mx.example.org>\r\n"));
        rig.at_rest(&running).await;
    });
}
