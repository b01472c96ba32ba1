//! Submission (RFC 6409): who may send what to whom, and where it is when the 250 comes.

use mail::Address;
use queue::Notify;
use scan::Known;
use storage::outgoing::Wanted;

use crate::rig::{Rig, Session, run};

/// NUL alice NUL secret.
const ALICE: &str = "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n";

async fn logged_in(rig: &Rig) -> Session {
    let mut session = rig.submission().await;
    let answers = session.smtp(&format!("EHLO c.example\r\n{ALICE}"), 2).await;
    assert_eq!(answers[1], "235 2.7.0 authentication successful");
    session
}

/// What waits in the queue: reverse-path, recipients, content.
async fn queued(rig: &Rig) -> Vec<(String, Vec<String>, String)> {
    let mut found = Vec::new();
    for entry in rig.outgoing.queue().entries(None, 100) {
        let paths = entry
            .recipients
            .iter()
            .map(|recipient| recipient.to.path.clone());
        let body = rig
            .outgoing
            .body(entry.id, 0)
            .await
            .expect("it waits")
            .expect("it is there");
        let text = String::from_utf8_lossy(&body).into_owned();
        found.push((entry.from.clone(), paths.collect(), text));
    }
    found
}

#[test]
fn nobody_sends_without_a_login() {
    run(|rig| async move {
        let mut session = rig.submission().await;
        let lines = "EHLO c.example\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<x@example.net>\r\nDATA\r\n";
        let answers = session.smtp(lines, 4).await;
        assert_eq!(answers[1], "530 5.7.0 authentication required");
        assert!(answers[2].starts_with("503 ") && answers[3].starts_with("503 "));
        let wrong = session
            .smtp(
                "AUTH PLAIN AGFsaWNlAHdyb25n\r\nMAIL FROM:<alice@example.org>\r\n",
                2,
            )
            .await;
        assert!(
            wrong[0].starts_with("535 ") && wrong[1].starts_with("530 "),
            "{wrong:?}"
        );
        assert_eq!(rig.outgoing.queue().count(), 0);
    });
}

#[test]
fn one_message_goes_here_and_elsewhere_in_one_step() {
    run(|rig| async move {
        let bob = Address::from_parts("bob", "example.org").unwrap();
        rig.mailboxes.add_account(&bob, "$hash", 0).await.unwrap();
        let mut session = logged_in(&rig).await;
        let lines = "MAIL FROM:<Alice@example.org> RET=HDRS ENVID=e1\r\n\
            RCPT TO:<alice@example.org>\r\n\
            RCPT TO:<x@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+40example.net\r\n\
            RCPT TO:<y@example.com>\r\n\
            RCPT TO:<x@example.net>\r\n\
            RCPT TO:<gone@example.org>\r\n\
            DATA\r\n";
        let answers = session.smtp(lines, 7).await;
        assert!(
            answers[..5].iter().all(|answer| answer.starts_with("250 ")),
            "{answers:?}"
        );
        assert!(answers[5].starts_with("550 5.1.1 ") && answers[6].starts_with("354 "));
        let done = session
            .smtp(
                "Bcc: eve@example.net\r\nSubject: s\r\n\r\nhello\r\n.\r\n",
                1,
            )
            .await;
        assert!(done[0].starts_with("250 2.0.0 ok 7.1.0"), "{done:?}");

        let found = queued(&rig).await;
        let [(from, paths, text)] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(from, "Alice@example.org");
        assert_eq!(paths[..], ["x@example.net", "y@example.com"]);
        assert!(
            text.contains("\r\n\tby mx.example.org with ESMTPA\r\n\tid 7.1.0"),
            "{text}"
        );
        assert!(
            text.contains("\r\nMessage-ID: <7.1.0@mx.example.org>\r\nSubject: s\r\n\r\nhello\r\n")
        );
        assert!(!text.contains("Bcc") && text.contains("\r\nDate: "));
        let entry = rig.outgoing.queue().entries(None, 1).remove(0);
        assert!(entry.recipients[0].to.notify.has(Notify::SUCCESS));
        assert!(!entry.recipients[0].to.notify.of_failure());
        assert!(entry.recipients[1].to.notify.of_failure());
        assert_eq!(entry.terms.envelope_id, "e1");

        let mut reader = rig.selected().await;
        let lines = reader.ok("FETCH 1:* (BODY.PEEK[])").await;
        assert!(lines.iter().any(|line| line == "hello"), "{lines:?}");
    });
}

#[test]
fn people_send_under_their_own_addresses() {
    run(|rig| async move {
        let mut session = logged_in(&rig).await;
        let lines = "MAIL FROM:<bob@example.org>\r\nMAIL FROM:<alice@example.net>\r\nMAIL FROM:<alice+tag@example.org>\r\nRSET\r\nMAIL FROM:<>\r\n";
        let answers = session.smtp(lines, 5).await;
        assert!(answers[0].starts_with("553 5.7.1 ") && answers[1].starts_with("553 5.7.1 "));
        assert!(answers[2].starts_with("250 ") && answers[4].starts_with("250 "));
    });
}

#[test]
fn a_message_for_elsewhere_alone_is_in_the_queue_when_it_is_answered() {
    run(|rig| async move {
        let mut session = logged_in(&rig).await;
        let lines = "MAIL FROM:<alice@example.org>\r\nRCPT TO:<\"a b\"@example.net>\r\nRCPT TO:<Postmaster>\r\nDATA\r\n";
        let answers = session.smtp(lines, 4).await;
        assert!(answers[3].starts_with("354 "), "{answers:?}");
        let done = session
            .smtp("Subject: s\r\n\r\nx\r\n.\r\nQUIT\r\n", 2)
            .await;
        assert!(done[0].starts_with("250 ") && done[1].starts_with("221 "));
        let found = queued(&rig).await;
        assert_eq!(found[0].1, ["\"a b\"@example.net"]);
        let wanted = Wanted {
            age_counts: true,
            warns: true,
            now: queue::UnixSeconds(u64::MAX),
            count_max: 10,
            each_max: 10,
            here_max: 10,
            rooms: Default::default(),
        };
        let lease = rig.outgoing.due(&wanted);
        assert_eq!(lease.len(), 1);
    });
}

/// RFC 6409 §6.1: what other people's programs show is an address of the sender's.
#[test]
fn the_from_field_has_addresses_of_the_person_alone() {
    run(|rig| async move {
        let directory = rig.mailboxes.directory();
        let at = |path: &str| Address::from_path(path).unwrap();
        let alice = rig
            .mailboxes
            .account(&at("alice@example.org"))
            .await
            .unwrap()
            .unwrap();
        let put = async |name: &str, targets: &[&str]| {
            let targets = targets.iter().map(|target| at(target)).collect();
            directory.put_alias(name, targets).await.unwrap();
        };
        put("ali@example.org", &["alice+x@example.org"]).await;
        put("both@example.org", &["alice@example.org", "x@example.net"]).await;
        put("team@example.org", &["x@example.net"]).await;
        directory
            .grant(&at("team@example.org"), alice.id, true)
            .await
            .unwrap();
        let mut session = logged_in(&rig).await;
        for (from, wanted) in [
            ("alice@example.org", "250 "),
            ("Alice <ALICE+tag@example.org>", "250 "),
            ("ali@example.org", "250 "),
            ("team@example.org", "250 "),
            ("alice@example.org, team+x@example.org", "250 "),
            (
                "both@example.org",
                "550 5.7.1 the From field has an address that does not belong to this account: <both@example.org>",
            ),
            (
                "\"alice@example.org\" <boss@example.net>",
                "550 5.7.1 the From field has an address that does not belong to this account: <boss@example.net>",
            ),
            ("alice@example.org, boss@example.net", "550 5.7.1 "),
            ("alice@example.org\r\nFrom: boss@example.net", "550 5.7.1 "),
            (
                "nobody",
                "550 5.7.1 the From field has an address that does not belong to this account: <no address>",
            ),
        ] {
            let lines = "MAIL FROM:<team@example.org>\r\nRCPT TO:<x@example.net>\r\nDATA\r\n";
            let answers = session.smtp(lines, 3).await;
            assert!(answers[2].starts_with("354 "), "{answers:?}");
            let done = session
                .smtp(&format!("From: {from}\r\n\r\nx\r\n.\r\n"), 1)
                .await;
            assert!(done[0].starts_with(wanted), "{from}: {done:?}");
        }
        assert_eq!(rig.outgoing.queue().count(), 5);
        directory
            .grant(&at("team@example.org"), alice.id, false)
            .await
            .unwrap();
        let answers = session.smtp("MAIL FROM:<team@example.org>\r\n", 1).await;
        assert!(answers[0].starts_with("553 5.7.1 "), "{answers:?}");
    });
}

#[test]
fn an_address_that_leads_on_is_a_recipient_like_any_other() {
    run(|rig| async move {
        let directory = rig.mailboxes.directory();
        let at = |path: &str| Address::from_path(path).unwrap();
        directory
            .put_alias("sales@example.org", vec![at("x@example.net")])
            .await
            .unwrap();
        let closed = mailbox::names::Posters::Members;
        directory
            .make_group("us@example.org", closed, at("x@example.net"), "")
            .await
            .unwrap();
        let mut session = logged_in(&rig).await;
        let lines = "MAIL FROM:<alice@example.org>\r\nRCPT TO:<Sales@example.org>\r\nRCPT TO:<us@example.org>\r\nDATA\r\n";
        let answers = session.smtp(lines, 4).await;
        assert!(
            answers[1].starts_with("250 ") && answers[3].starts_with("354 "),
            "{answers:?}"
        );
        assert!(answers[2].starts_with("550 5.7.2 "), "{answers:?}");
        let done = session
            .smtp("From: alice@example.org\r\n\r\nx\r\n.\r\n", 1)
            .await;
        assert!(done[0].starts_with("250 "), "{done:?}");
        assert_eq!(queued(&rig).await[0].1, ["Sales@example.org"]);
    });
}

/// RFC 6409 leaves it to us; the reply says when it is free again, and an administrator may give more.
#[test]
fn a_person_sends_so_much_in_an_hour() {
    run(|rig| async move {
        let mut session = logged_in(&rig).await;
        let send = async |session: &mut Session| {
            let lines = "MAIL FROM:<alice@example.org>\r\nRCPT TO:<x@example.net>\r\nDATA\r\n";
            let answers = session.smtp(lines, 3).await;
            match answers[2].starts_with("354 ") {
                true => session
                    .smtp("From: alice@example.org\r\n\r\nx\r\n.\r\n", 1)
                    .await
                    .remove(0),
                false => answers[0].clone(),
            }
        };
        for _ in 0..8 {
            assert!(send(&mut session).await.starts_with("250 "));
        }
        let wanted = "450 4.7.1 sending limit of this account reached; try again in 60 minutes";
        assert_eq!(send(&mut session).await, wanted);
        // Another connection is no other person, unless the administrator gave more.
        let directory = rig.mailboxes.directory();
        let address = Address::from_path("alice@example.org").unwrap();
        let alice = rig.mailboxes.account(&address).await.unwrap().unwrap();
        directory.set_allowance(alice.id, 2).await.unwrap();
        let mut another = logged_in(&rig).await;
        assert!(send(&mut another).await.starts_with("250 "));
        let mut lines = "MAIL FROM:<alice@example.org>\r\n".to_owned();
        for number in 0..32 {
            lines += &format!("RCPT TO:<x{number}@example.net>\r\n");
        }
        let answers = another.smtp(&lines, 33).await;
        assert!(answers[31].starts_with("250 "), "{answers:?}");
        assert!(
            answers[32].starts_with("450 4.7.1 sending limit"),
            "{answers:?}"
        );
    });
}

#[test]
fn a_virus_is_refused_and_what_looks_like_spam_is_not() {
    run(|rig| async move {
        let mut session = logged_in(&rig).await;
        for (known, sample) in scan::known::samples() {
            let begun = session
                .smtp(
                    "MAIL FROM:<alice@example.org>\r\nRCPT TO:<x@example.net>\r\nDATA\r\n",
                    3,
                )
                .await;
            assert!(begun[2].starts_with("354 "), "{begun:?}");
            let text = format!("Subject: s\r\n\r\n{sample}\r\n.\r\n");
            let done = session.smtp(&text, 1).await;
            let (reply, waiting) = match known {
                Known::Eicar => ("550 5.7.1 message contains a virus EICAR test file", 0),
                Known::Gtube => ("250 2.0.0 ok", 1),
            };
            assert!(done[0].starts_with(reply), "{done:?}");
            assert_eq!(rig.outgoing.queue().count(), waiting);
        }
        // It leaves as it came, without a field about scanning.
        let [(_, _, text)] = &queued(&rig).await[..] else {
            panic!("one message")
        };
        assert!(
            text.contains("GTUBE") && !text.contains("X-Ringpost-Scan"),
            "{text}"
        );
    });
}
