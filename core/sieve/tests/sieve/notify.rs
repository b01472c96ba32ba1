//! RFC 5435 and RFC 5436.

use sieve::Action;

use crate::common::{World, holds, refusal, says};

const LETTER: &str = "From: ann@example.net\nTo: bob@example.org\nSubject: the sea\n\n";

/// RFC 5435 §7: it is news of a message and not a place for it.
#[test]
fn a_notification_goes_by_mail_and_leaves_the_keep() {
    says(
        r#"require "enotify"; notify "mailto:bob@phone.example";"#,
        LETTER,
        &[
            "notify bob@phone.example with 2: New message: the sea: ",
            "implicit keep",
        ],
    );
    says(
        r#"require ["enotify", "variables"]; set "who" "ann";
           notify :importance "1" :message "From ${who}" "mailto:bob@phone.example?body=Look%20now&subject=other";"#,
        LETTER,
        &[
            "notify bob@phone.example with 1: From ann: Look now",
            "implicit keep",
        ],
    );
}

/// RFC 5436 §2: two notifications could cause each other.
#[test]
fn what_a_program_sent_causes_no_notification() {
    let notify = r#"require "enotify"; notify "mailto:bob@phone.example";"#;
    let list = format!("List-Id: <sea.example.net>\n{LETTER}");
    let to_bob = "notify bob@phone.example with 2: New message: the sea: ";
    says(notify, &list, &[to_bob, "implicit keep"]);
    let letter = format!("Auto-Submitted: auto-replied\n{LETTER}");
    says(
        r#"require "enotify"; notify "mailto:bob@phone.example";"#,
        &letter,
        &["implicit keep"],
    );
}

/// A script asks before it notifies, since an unknown method would end the run.
#[test]
fn methods_can_be_asked_for() {
    for (test, wanted) in [
        (r#"valid_notify_method "mailto:bob@phone.example""#, true),
        (
            r#"valid_notify_method ["mailto:bob@phone.example", "xmpp:bob@phone.example"]"#,
            false,
        ),
        (
            r#"notify_method_capability "mailto:bob@phone.example" "Online" ["yes", "maybe"]"#,
            true,
        ),
        (
            r#"notify_method_capability "mailto:bob@phone.example" "Online" "yes""#,
            false,
        ),
        (
            r#"notify_method_capability "xmpp:b@c.d" "online" "maybe""#,
            false,
        ),
    ] {
        assert_eq!(holds("enotify", test, LETTER), wanted, "{test}");
    }
}

/// The caller adds nothing but the date and the id; what stops loops is in it.
#[test]
fn the_message_is_whole() {
    let script = r#"require "enotify"; notify :importance "3" :message "Grüße" "mailto:bob@phone.example?body=Hi";"#;
    let outcome = World::default().run(&[script], LETTER).expect("an outcome");
    let Action::Notify(note) = &outcome.actions[0] else {
        panic!("{outcome:?}");
    };
    let message = note.message(
        "Mon, 30 Nov 2026 10:00:00 +0000",
        "<n@example.org>",
        "bob@example.org",
    );
    let message = String::from_utf8(message).expect("text");
    assert_eq!(
        message.replace("\r\n", "\n"),
        "Date: Mon, 30 Nov 2026 10:00:00 +0000\nMessage-ID: <n@example.org>\nFrom: bob@example.org\nTo: bob@phone.example\n\
         Subject: =?utf-8?B?R3LDvMOfZQ==?=\nAuto-Submitted: auto-notified; owner-email=\"bob@example.org\"\nImportance: low\n\
         X-Priority: 5\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 7bit\n\nHi\n"
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (script, text) in [
        (r#"notify "mailto:a@b.c";"#, "\"enotify\""),
        (
            r#"require "enotify"; notify "xmpp:a@b.c";"#,
            "write \"mailto:\" and an address",
        ),
        (
            r#"require "enotify"; notify :importance "4" "mailto:a@b.c";"#,
            "The importance is",
        ),
        (
            r#"require "enotify"; notify :from "no address at all" "mailto:a@b.c";"#,
            "is not an address",
        ),
    ] {
        let refusal = refusal(script);
        assert!(refusal.contains(text), "{refusal}");
    }
}

/// A subject in a URI could else add parameters to it.
#[test]
fn a_url_is_encoded() {
    says(
        r#"require ["enotify", "variables", "fileinto"]; set :encodeurl "a" "x y/ü"; fileinto "${a}";"#,
        LETTER,
        &[r#"fileinto "x%20y%2F%C3%BC""#],
    );
}
