//! A stranger's address tricks: none of them makes this server an open relay. Our domain is example.org; alice has a mailbox, `sales` is an alias
//! with a target elsewhere, `list` a group, and example.com has a catch-all.

use mail::{Address, return_path};

use crate::door::Door;
use crate::rig::{Rig, run};

/// RCPT, and the code it is answered with.
const TRICKS: &[(&str, &str)] = &[
    // Plainly elsewhere.
    ("<victim@victim.example>", "550 5.7.1"),
    ("<victim@mx.example.org>", "550 5.7.1"),
    ("<victim@sub.example.org>", "550 5.7.1"),
    ("<victim@xexample.org>", "550 5.7.1"),
    ("<victim@example.org.victim.example>", "550 5.7.1"),
    ("<victim@localhost>", "550 5.7.1"),
    ("<victim@org>", "550 5.7.1"),
    // The percent hack (RFC 1123 §5.2.16) and its relatives: a local part is no route.
    ("<victim%victim.example@example.org>", "550 5.1.1"),
    ("<\"victim%victim.example\"@example.org>", "550 5.1.1"),
    (
        "<victim%victim.example%other.example@example.org>",
        "550 5.1.1",
    ),
    ("<alice%victim.example@example.org>", "550 5.1.1"),
    ("<victim%victim.example@victim.example>", "550 5.7.1"),
    ("<victim@victim.example@example.org>", "501 5.1.7"),
    ("<victim@victim.example%example.org>", "501 5.1.7"),
    ("<\"victim@victim.example\"@example.org>", "550 5.1.1"),
    (
        "<\"victim@victim.example@example.org\"@example.org>",
        "550 5.1.1",
    ),
    ("<\"victim\\@victim.example\"@example.org>", "550 5.1.1"),
    ("<victim\\@victim.example@example.org>", "501 5.1.7"),
    // Bang paths (UUCP).
    ("<victim.example!victim@example.org>", "550 5.1.1"),
    ("<example.org!victim.example!victim>", "501 5.1.7"),
    ("<victim.example!victim>", "501 5.1.7"),
    ("<example.org!victim@victim.example>", "550 5.7.1"),
    ("<\"victim.example!victim\"@example.org>", "550 5.1.1"),
    ("<victim!alice@example.org>", "550 5.1.1"),
    // Source routes (RFC 5321 §F.2: dropped, never followed).
    ("<@example.org:victim@victim.example>", "550 5.7.1"),
    (
        "<@example.org,@victim.example:victim@victim.example>",
        "550 5.7.1",
    ),
    ("<@victim.example:nobody@example.org>", "550 5.1.1"),
    (
        "<@example.org:victim.example!victim@example.org>",
        "550 5.1.1",
    ),
    (
        "<@example.org:@victim.example:victim@victim.example>",
        "501 5.1.7",
    ),
    ("<example.org:victim@victim.example>", "501 5.1.7"),
    ("<@[127.0.0.1]:victim@victim.example>", "501 5.1.7"),
    ("<@:victim@victim.example>", "501 5.1.7"),
    // Quoted local parts.
    ("<\"\"@victim.example>", "501 5.1.7"),
    ("<\"victim\"@victim.example>", "550 5.7.1"),
    ("<\"alice\"@victim.example>", "550 5.7.1"),
    ("<\"alice@example.org\"@victim.example>", "550 5.7.1"),
    ("<\"alice\" @example.org>", "501 5.1.7"),
    (
        "<\"victim>, <victim@victim.example\"@example.org>",
        "550 5.1.1",
    ),
    ("<\"|/bin/sh\"@example.org>", "550 5.1.1"),
    ("<|/bin/sh>", "501 5.1.7"),
    ("<\"/etc/passwd\"@example.org>", "550 5.1.1"),
    // The domain's form.
    ("<victim@victim.example.>", "501 5.1.7"),
    ("<alice@example.org.>", "501 5.1.7"),
    ("<victim@.example.org>", "501 5.1.7"),
    ("<victim@example..org>", "501 5.1.7"),
    ("<victim@>", "501 5.1.7"),
    ("<@example.org>", "501 5.1.7"),
    ("<victim>", "501 5.1.7"),
    ("<alice@[127.0.0.1]>", "550 5.1.2"),
    ("<victim@[192.0.2.77]>", "550 5.1.2"),
    ("<alice@[IPv6:::1]>", "550 5.1.2"),
    ("<alice@[example.org]>", "501 5.1.7"),
    ("<alice@#2130706433>", "501 5.1.7"),
    ("<alice@127.0.0.1>", "550 5.7.1"),
    // Two addresses in one.
    ("<alice@example.org,victim@victim.example>", "501 5.1.7"),
    ("<alice@example.org> <victim@victim.example>", "555 5.5.4"),
    ("<alice@example.org>,<victim@victim.example>", "501 5.1.7"),
    ("<alice@example.org;victim@victim.example>", "501 5.1.7"),
    ("<alice@example.org victim@victim.example>", "501 5.1.7"),
    ("alice@example.org", "501 5.1.7"),
    ("<<victim@victim.example>>", "501 5.1.7"),
    ("<alice@example.org", "501 5.1.7"),
    // Names that look like ours, and UTF-8 that was not announced.
    ("<victim@ex\u{430}mple.org>", "553 5.6.7"),
    ("<victim@xn--exmple-4uf.org>", "550 5.7.1"),
    ("<victim@\u{ff45}\u{ff58}\u{ff41}mple.org>", "553 5.6.7"),
    ("<\u{430}lice@example.org>", "553 5.6.7"),
    ("<victim@example\u{3002}org>", "553 5.6.7"),
    // Postmaster is one person here, and one elsewhere.
    ("<Postmaster@victim.example>", "550 5.7.1"),
    ("<postmaster%victim.example@example.org>", "550 5.1.1"),
    ("<Postmaster@victim.example@example.org>", "501 5.1.7"),
    ("<postmaster+victim@victim.example>", "550 5.7.1"),
    // Seals that are not ours.
    (
        "<SRS0=AAAAAAAA=AA=victim.example=victim@example.org>",
        "550 5.7.1",
    ),
    (
        "<SRS0+AAAAAAAA=AA=victim.example=victim@example.org>",
        "550 5.7.1",
    ),
    (
        "<srs0=AAAA=AA=victim.example=victim@example.org>",
        "550 5.7.1",
    ),
    ("<SRS0==AA=victim.example=victim@example.org>", "550 5.7.1"),
    ("<SRS0=victim@example.org>", "550 5.7.1"),
    (
        "<SRS1=AAAAAAAA=victim.example==AAAA=AA=x=victim@example.org>",
        "550 5.7.1",
    ),
    (
        "<\"SRS0=AAAAAAAA=AA=victim.example=victim\"@example.org>",
        "550 5.7.1",
    ),
    // A catch-all takes what is of its own domain, and takes it home.
    ("<victim%victim.example@example.net>", "550 5.7.1"),
    ("<victim@sub.example.com>", "550 5.7.1"),
    // Tags do not reach other people's servers.
    ("<alice+victim@victim.example>", "550 5.7.1"),
    ("<nobody+victim%victim.example@example.org>", "550 5.1.1"),
    // The group is closed to strangers.
    ("<list@example.org>", "550 5.7.2"),
    ("<list+x@example.org>", "550 5.7.2"),
];

/// Lines that are more than one command, or none.
const LINES: &[&[u8]] = &[
    b"RCPT TO:<alice@example.org\0>\r\n",
    b"RCPT TO:<victim\0@example.org>\r\n",
    b"RCPT TO:<alice@example.org>\0<victim@victim.example>\r\n",
    b"RCPT TO:<victim@victim.example\r>\r\n",
    b"RCPT TO:<alice@example.org\rRCPT TO:<victim@victim.example>\r\n",
    b"RCPT TO:<victim@victim.example>\xff\r\n",
    b"RCPT TO:<\xc3\x28@example.org>\r\n",
    b"RCPT TO:<victim@victim.example> ORCPT=rfc822;alice@example.org\r\n",
    b"RCPT TO: victim@victim.example\r\n",
    b"RCPT FROM:<alice@example.org>\r\n",
    b"VRFY victim@victim.example\r\n",
    b"EXPN list@example.org\r\n",
    b"ETRN victim.example\r\n",
    b"ATRN victim.example\r\n",
];

async fn town(rig: &Rig) -> Door {
    rig.alice().await;
    let directory = rig.outgoing.mailboxes().directory();
    let at = |path: &str| Address::from_path(path).expect("an address");
    directory.add_domain("example.com").await.expect("a domain");
    let alice = vec![at("alice@example.org")];
    directory
        .put_alias("@example.com", alice.clone())
        .await
        .expect("a catch-all");
    directory
        .put_alias("sales@example.org", vec![at("x@partner.example")])
        .await
        .expect("an alias");
    let posters = mailbox::names::Posters::Members;
    directory
        .make_group("list@example.org", posters, at("alice@example.org"), "")
        .await
        .expect("a group");
    directory
        .add_members("list@example.org", alice)
        .await
        .expect("a member");
    directory.key("srs", [5; 32]).await.expect("a key");
    Door::new(rig, 1)
}

/// The reply to the last of `lines`.
async fn last(door: &Door, rig: &Rig, lines: &[&[u8]]) -> String {
    door.talk(rig, lines).await.pop().expect("a reply to each")
}

#[test]
fn no_trick_with_an_address_makes_an_open_relay() {
    run(|rig| async move {
        let door = town(&rig).await;
        let (mut tried, mut wrong) = (0, Vec::new());
        for sender in [
            "stranger@stranger.example",
            "",
            "alice@example.org",
            "postmaster@example.org",
        ] {
            let mail = format!("MAIL FROM:<{sender}>\r\n");
            for (path, wanted) in TRICKS {
                let line = format!("RCPT TO:{path}\r\n");
                let reply = last(&door, &rig, &[mail.as_bytes(), line.as_bytes()]).await;
                // alice is a member of the list; who writes that is checked elsewhere (SPF, DMARC).
                if sender == "alice@example.org" && path.starts_with("<list") {
                    assert!(reply.starts_with("250 "), "{path}: {reply}");
                    continue;
                }
                if !reply.starts_with(wanted) {
                    wrong.push(format!("{path} from <{sender}>: {reply}, not {wanted}"));
                }
                tried += 1;
            }
            for line in LINES {
                let reply = last(&door, &rig, &[mail.as_bytes(), line]).await;
                let shown = String::from_utf8_lossy(line);
                if !reply.starts_with('5') && !reply.starts_with("252 ") {
                    wrong.push(format!("{shown} from <{sender}>: {reply}"));
                }
                tried += 1;
            }
        }
        assert_eq!(wrong, Vec::<String>::new());
        assert!(tried > 4 * 60, "{tried}");
        assert_eq!(rig.outgoing.queue().count(), 0);
    });
}

/// With SMTPUTF8 the letters are allowed, and still lead nowhere.
#[test]
fn letters_that_look_like_ours_are_other_names() {
    run(|rig| async move {
        let door = town(&rig).await;
        for (path, wanted) in [
            ("<victim@ex\u{430}mple.org>", "550 5.7.1"),
            ("<\u{430}lice@example.org>", "550 5.1.1"),
            ("<victim\u{ff20}victim.example@example.org>", "550 5.1.1"),
            ("<victim\u{ff05}victim.example@example.org>", "550 5.1.1"),
            ("<alice\u{202e}@example.org>", "550 5.1.1"),
            ("<alice\u{85}@example.org>", "501 5.1.7"),
        ] {
            let line = format!("RCPT TO:{path}\r\n");
            let lines: [&[u8]; 2] = [b"MAIL FROM:<s@s.example> SMTPUTF8\r\n", line.as_bytes()];
            let reply = last(&door, &rig, &lines).await;
            assert!(reply.starts_with(wanted), "{path}: {reply}");
        }
    });
}

/// What is taken goes where an administrator said, and nowhere else.
#[test]
fn what_is_taken_leads_where_an_administrator_said() {
    run(|rig| async move {
        let door = town(&rig).await;
        let stranger: &[u8] = b"MAIL FROM:<s@stranger.example>\r\n";
        for path in [
            "<alice@example.org>",
            "<ALICE+tag@Example.ORG>",
            "<@victim.example:alice@example.org>",
            "<\"alice\"@example.org>",
            "<Postmaster>",
            "<postmaster@example.org>",
            "<abuse%victim.example@example.com>",
            "<\"victim@victim.example\"@example.com>",
            "<victim.example!victim@example.com>",
            "<list+owner@example.org>",
            "<sales@example.org>",
        ] {
            let line = format!("RCPT TO:{path}\r\n");
            let lines: [&[u8]; 4] = [
                stranger,
                line.as_bytes(),
                b"DATA\r\n",
                b"Subject: x\r\n\r\nx\r\n.\r\n",
            ];
            let reply = last(&door, &rig, &lines).await;
            assert!(reply.starts_with("250 "), "{path}: {reply}");
        }
        // A seal of ours, but not for a report: from a stranger it would be a relay to whoever once wrote to us.
        let sender = Address::from_path("victim@victim.example").expect("an address");
        let sealed =
            return_path::seal(&sender, "example.org", &[5; 32], rig.now().0).expect("it fits");
        let line = format!("RCPT TO:<{}>\r\n", sealed.to_path());
        let reply = last(&door, &rig, &[stranger, line.as_bytes()]).await;
        assert!(reply.starts_with("550 5.7.1"), "{reply}");
        let running = rig.send(client::relay::Route::Nowhere);
        let is_foreign =
            |path: &str| !path.ends_with("example.org") && !path.ends_with("example.com");
        let foreign = || {
            let entries = rig.outgoing.queue().entries(None, 100).into_iter();
            let recipients = entries.flat_map(|entry| entry.recipients);
            let paths = recipients.map(|recipient| recipient.to.path);
            paths.filter(|path| is_foreign(path)).collect::<Vec<_>>()
        };
        rig.until(60, "all is led on", || {
            rig.outgoing.queue().count() == 1 && foreign().len() == 1
        })
        .await;
        assert_eq!(foreign(), ["x@partner.example"]);
        assert_eq!(running.memory.used_bytes(), 0);
    });
}
