//! RFC 5490 §3, RFC 8579, RFC 9042.

use crate::common::{World, holds, refusal, says};

const LETTER: &str = "Subject: x\n\n";

#[test]
fn mailboxes_are_asked_for() {
    for (test, wanted) in [
        (r#"mailboxexists "Lists""#, true),
        (r#"mailboxexists ["Lists", "Nowhere"]"#, false),
        (r#"mailboxidexists "F2""#, true),
        (r#"mailboxidexists ["F2", "F9"]"#, false),
        (r#"specialuse_exists "\\Junk""#, true),
        (r#"specialuse_exists ["\\Junk", "\\Sent"]"#, false),
        (r#"specialuse_exists "Spam" "\\junk""#, true),
        (r#"specialuse_exists "Lists" "\\Junk""#, false),
    ] {
        assert_eq!(
            holds("mailbox mailboxid special-use", test, LETTER),
            wanted,
            "{test}"
        );
    }
}

/// Which of them exists is for the delivery to find, since it may make one.
#[test]
fn filing_names_a_mailbox_in_several_ways() {
    says(
        r#"require ["fileinto", "mailbox", "mailboxid", "special-use"];
           fileinto :create "New/One";
           fileinto :mailboxid "F2" "Lists";
           fileinto :specialuse "\\Junk" :create "Spam";"#,
        LETTER,
        &[
            r#"fileinto "New/One" create"#,
            r#"fileinto "Lists" id F2"#,
            r#"fileinto "Spam" use \Junk create"#,
        ],
    );
    assert!(refusal(r#"require "fileinto"; fileinto :create "a";"#).contains("\"mailbox\""));
}

/// Unknown is not absent.
#[test]
fn a_question_without_an_answer_ends_the_run() {
    let world = World {
        is_away: true,
        ..World::default()
    };
    let script = r#"require "mailbox"; if mailboxexists "a" { discard; }"#;
    assert_eq!(world.run(&[script], LETTER), Err(sieve::Later));
    // Nothing is asked that does not decide anything.
    let script = r#"require "mailbox"; if anyof (true, mailboxexists "a") { discard; }"#;
    world.says(script, LETTER, &["discard"]);
}
