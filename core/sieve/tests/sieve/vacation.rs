//! RFC 5230, RFC 6131, RFC 8580.

use sieve::{Action, Key, Reply};

use crate::common::{World, refusal, says, shown};

const LETTER: &str = "\
From: Ann <ann@example.net>
To: Bob <bob@example.org>
Subject: the sea
Message-ID: <1@example.net>
References: <0@example.net>

";
const WEEK: &str = "604800";

fn reply(world: &World, script: &str, letter: &str) -> Option<Reply> {
    let script =
        format!("require [\"vacation\", \"vacation-seconds\", \"variables\", \"fcc\"]; {script}");
    let outcome = world.run(&[&script], letter).expect("an outcome");
    assert_eq!(outcome.failure, None);
    assert!(matches!(
        outcome.actions.last(),
        Some(Action::Keep { implicit: true, .. })
    ));
    match outcome.actions.into_iter().next() {
        Some(Action::Reply(reply)) => Some(*reply),
        _ => None,
    }
}

#[test]
fn a_letter_gets_a_reply_and_is_kept() {
    says(
        r#"require "vacation"; vacation "I am away.";"#,
        LETTER,
        &[
            &format!(
                "reply to ann@example.net from bob@example.org after {WEEK} s: Auto: the sea: I am away."
            ),
            "implicit keep",
        ],
    );
    says(
        r#"require ["vacation", "vacation-seconds", "fcc", "mailbox", "imap4flags"];
           vacation :seconds 1800 :subject "Away" :from "Bob <bob@example.org>" :fcc "Sent" :create :flags "\\Seen" "Later.";"#,
        LETTER,
        &[
            r#"reply to ann@example.net from Bob <bob@example.org> after 1800 s: Away: Later., copy to "Sent" create (\Seen)"#,
            "implicit keep",
        ],
    );
}

#[test]
fn no_reply_goes_to_programs_lists_and_strangers_mail() {
    let script = r#"vacation "away";"#;
    let world = World::default();
    assert!(reply(&world, script, LETTER).is_some());
    for field in [
        "Auto-Submitted: auto-replied",
        "Auto-Submitted: auto-generated (x)",
        "Precedence: bulk",
        "Precedence: List",
        "Precedence: junk",
        "List-Id: <l.example.net>",
        "List-Unsubscribe: <mailto:x@example.net>",
        "List-Post: NO",
        "X-Auto-Response-Suppress: DR, OOF, AutoReply",
        "X-Auto-Response-Suppress: All",
    ] {
        let letter = format!("{field}\n{LETTER}");
        assert_eq!(reply(&world, script, &letter), None, "{field}");
    }
    for field in [
        "Auto-Submitted: no",
        "Precedence: first-class",
        "X-Auto-Response-Suppress: DR, NDR",
    ] {
        assert!(
            reply(&world, script, &format!("{field}\n{LETTER}")).is_some(),
            "{field}"
        );
    }
    for from in [
        None,
        Some("MAILER-DAEMON@example.net"),
        Some("owner-sea@example.net"),
        Some("sea-request@example.net"),
        Some("listserv@example.net"),
        Some("majordomo@example.net"),
        Some("bob@example.org"),
        Some("robert@example.org"),
    ] {
        let world = World {
            from,
            ..World::default()
        };
        assert_eq!(reply(&world, script, LETTER), None, "{from:?}");
    }
    // The person is not named: a list, or a blind copy.
    let hidden = LETTER.replace("To: Bob <bob@", "To: Sea <sea@");
    assert_eq!(reply(&world, script, &hidden), None);
    let in_name = LETTER.replace(
        "To: Bob <bob@example.org>",
        "To: \"bob@example.org\" <x@example.org>",
    );
    assert_eq!(reply(&world, script, &in_name), None);
}

#[test]
fn the_person_is_known_by_several_addresses() {
    let world = World::default();
    let script = r#"vacation :addresses ["Bobby <bobby@example.com>"] "away";"#;
    for to in [
        "ROBERT@example.org",
        "bobby@example.com",
        "x@y.z, Sea: bob@example.org;",
    ] {
        let letter = LETTER.replace("Bob <bob@example.org>", to);
        assert!(reply(&world, script, &letter).is_some(), "{to}");
    }
    let letter = LETTER.replace("To: ", "Resent-Cc: ");
    assert!(reply(&world, script, &letter).is_some());
    let tagged = World {
        to: "bob+shop@example.org",
        ..World::default()
    };
    assert!(reply(&tagged, script, LETTER).is_some());
}

/// §4.2: what tells replies apart.
#[test]
fn the_key_stands_for_sender_and_reply() {
    let world = World::default();
    let key = |script: &str| -> Key { reply(&world, script, LETTER).expect("a reply").key };
    let plain = key(r#"vacation "away";"#);
    assert_eq!(plain, key(r#"vacation :days 3 :addresses "a@b.c" "away";"#));
    for other in [
        r#"vacation "gone";"#,
        r#"vacation :subject "x" "away";"#,
        r#"vacation :from "bob@example.com" "away";"#,
        r#"vacation :mime "away";"#,
        r#"vacation :handle "h" "away";"#,
    ] {
        assert_ne!(plain, key(other), "{other}");
    }
    assert_eq!(
        key(r#"vacation :handle "h" "away";"#),
        key(r#"vacation :handle "h" :subject "s" "gone";"#)
    );
    let other = World {
        from: Some("dan@example.net"),
        ..World::default()
    };
    assert_ne!(
        plain,
        reply(&other, r#"vacation "away";"#, LETTER)
            .expect("a reply")
            .key
    );
}

/// The sender chooses the subject. If a reply that quotes it were another one each time, a program that answers replies would get an answer
/// for each of its answers.
#[test]
fn a_reply_that_quotes_the_message_is_one_reply() {
    let script = r#"if header :matches "subject" "*" { vacation :subject "Re: ${1}" "About ${1}: I am away."; }"#;
    let world = World::default();
    let one = reply(&world, script, LETTER).expect("a reply");
    let other = reply(&world, script, &LETTER.replace("the sea", "the lake"));
    let other = other.expect("a reply");
    assert_ne!(one.reason, other.reason);
    assert_eq!(one.key, other.key);
    let script = script.replace("About", "Of");
    let changed = reply(&world, &script, LETTER).expect("a reply");
    assert_ne!(one.key, changed.key);
}

/// The loop rules are about the message as it came.
#[test]
fn a_script_cannot_hide_that_a_list_sent_the_message() {
    for field in ["List-Id: <sea.example.net>", "Precedence: bulk"] {
        let name = field.split(':').next().unwrap_or_default();
        let script = format!(
            "require [\"editheader\", \"vacation\"]; deleteheader \"{name}\"; vacation \"away\";"
        );
        let outcome = World::default().run(&[&script], &format!("{field}\n{LETTER}"));
        assert_eq!(
            shown(&outcome.expect("an outcome")),
            ["implicit keep, edition 1"],
            "{field}"
        );
    }
}

#[test]
fn the_time_has_a_least_and_a_most() {
    let world = World::default();
    for (tags, seconds) in [
        ("", 604_800),
        (":days 0", 86_400),
        (":days 3", 259_200),
        (":days 9999999999", 90 * 86_400),
        (":seconds 0", 0),
        (":seconds 9999999999", 90 * 86_400),
    ] {
        let script = format!("vacation {tags} \"away\";");
        assert_eq!(
            reply(&world, &script, LETTER).expect("a reply").again_s,
            seconds,
            "{tags}"
        );
    }
}

#[test]
fn it_is_once_in_a_script_and_the_first_of_several_scripts_replies() {
    let once = r#"require "vacation"; vacation "one";"#;
    let twice = "require \"vacation\"; vacation \"one\";\nvacation \"two\";";
    says(
        twice,
        LETTER,
        &[
            "implicit keep",
            "failed: line 2, column 1: A message gets one \"vacation\" reply",
        ],
    );
    let second = r#"require "vacation"; vacation "two";"#;
    let outcome = World::default()
        .run(&[once, second], LETTER)
        .expect("an outcome");
    assert_eq!(shown(&outcome).len(), 2);
    assert!(shown(&outcome)[0].ends_with(": one"));
}

#[test]
fn the_reply_is_a_whole_message() {
    let text = |script: &str| {
        let reply = reply(&World::default(), script, LETTER).expect("a reply");
        let message = reply.message("Mon, 30 Nov 2026 10:00:00 +0000", "<2@example.org>");
        String::from_utf8(message)
            .expect("text")
            .replace("\r\n", "\n")
    };
    assert_eq!(
        text(r#"vacation "I am away.";"#),
        "Date: Mon, 30 Nov 2026 10:00:00 +0000\nMessage-ID: <2@example.org>\nFrom: bob@example.org\nTo: ann@example.net\n\
         Subject: Auto: the sea\nIn-Reply-To: <1@example.net>\nReferences: <0@example.net> <1@example.net>\n\
         Auto-Submitted: auto-replied\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\
         Content-Transfer-Encoding: 7bit\n\nI am away.\n"
    );
    let other = text(r#"vacation :subject "Grüße" :from "Böb <bob@example.org>" "Schöne Grüße";"#);
    assert!(other.contains("Subject: =?utf-8?B?R3LDvMOfZQ==?=\n"));
    assert!(other.contains("From: =?utf-8?B?QsO2Yg==?= <bob@example.org>\n"));
    assert!(other.ends_with("base64\n\nU2Now7ZuZSBHcsO8w59lDQo=\n"));
    // Fields of its own cannot make another message of it.
    let mime =
        text("vacation :mime \"Content-Type: text/html\nBcc: x@example.net\n\n<p>away</p>\";");
    assert!(
        mime.ends_with("MIME-Version: 1.0\nContent-Type: text/html\n\n<p>away</p>\n"),
        "{mime}"
    );
}

/// Some take a CR alone for a line end, and a line of a dot behind it for the end of the message. Both come out of an encoded word.
#[test]
fn a_reply_has_neither_a_cr_alone_nor_a_nul() {
    let odd = "Subject: =?utf-8?q?a=0D.=0Db=00c?=";
    let letter = LETTER.replace("Subject: the sea", odd);
    for tag in ["", ":mime "] {
        let script = format!(
            "if header :matches \"subject\" \"*\" {{ vacation {tag}\"x: y\r\n\r\n${{1}}\r\n\"; }}"
        );
        let reply = reply(&World::default(), &script, &letter).expect("a reply");
        let message = reply.message("Mon, 30 Nov 2026 10:00:00 +0000", "<2@example.org>");
        let text = String::from_utf8(message).expect("text");
        assert!(!text.replace("\r\n", "").contains(['\r', '\0']), "{text:?}");
    }
}

/// RFC 5322 §2.1.1: relays refuse longer lines, or break them.
#[test]
fn a_subject_without_spaces_makes_no_long_line() {
    let letter = LETTER.replace("the sea", &"x".repeat(5_000));
    let reply = reply(&World::default(), "vacation \"x\";", &letter).expect("a reply");
    let message = reply.message("Mon, 30 Nov 2026 10:00:00 +0000", "<2@example.org>");
    let text = String::from_utf8(message).expect("text");
    assert!(text.lines().all(|line| line.len() <= 998), "{text}");
}

#[test]
fn a_subject_of_the_message_cannot_begin_a_field() {
    let letter = LETTER.replace("the sea", "=?utf-8?q?a=0D=0ABcc:_x@y.z?=");
    let reply = reply(&World::default(), r#"vacation "away";"#, &letter).expect("a reply");
    let message = String::from_utf8(reply.message("d", "<i@x>")).expect("text");
    assert!(
        message.contains("Subject: Auto: a  Bcc: x@y.z\r\n"),
        "{message}"
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (script, text) in [
        (r#"vacation "x";"#, "\"vacation\""),
        (
            r#"require "vacation"; vacation :seconds 5 "x";"#,
            "\"vacation-seconds\"",
        ),
        (
            r#"require "vacation-seconds"; vacation :days 1 :seconds 5 "x";"#,
            "cannot stand together",
        ),
        (
            r#"require "vacation"; vacation :from "nonsense" "x";"#,
            "\"nonsense\" is not an address",
        ),
        (
            r#"require ["vacation", "mailbox"]; vacation :create "x";"#,
            "\":create\" needs \":fcc\"",
        ),
        (
            r#"require "vacation"; vacation :days "x";"#,
            "needs a number of days",
        ),
    ] {
        let refusal = refusal(script);
        assert!(refusal.contains(text), "{refusal}");
    }
}
