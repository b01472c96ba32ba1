//! RFC 5429.

use sieve::Action;

use crate::common::{World, refusal, says, shown};

const LETTER: &str = "From: ann@example.net\nTo: bob@example.org\nSubject: x\n\n";
const TOGETHER: &str = "A message that is rejected cannot be filed, sent or answered too";

#[test]
fn a_rejected_message_is_not_kept() {
    says(
        r#"require "reject"; reject "No, thank you.";"#,
        LETTER,
        &["reject No, thank you."],
    );
    says(
        r#"require "ereject"; ereject "Nein, grüß Gott.";"#,
        LETTER,
        &["ereject Nein, grüß Gott."],
    );
}

#[test]
fn nothing_else_happens_to_it() {
    for rest in [
        "keep;",
        "discard;",
        "fileinto \"a\";",
        "redirect \"a@b.c\";",
        "vacation \"x\";",
        "reject \"no\";",
    ] {
        let head = r#"require ["reject", "fileinto", "vacation"]; "#;
        let behind = format!("{head}reject \"no\"; {rest}");
        let column = head.len() + 14;
        let failed = format!("failed: line 1, column {column}: {TOGETHER}");
        says(&behind, LETTER, &["implicit keep", &failed]);
        let before = format!("{head}{rest} reject \"no\";");
        let column = head.len() + rest.len() + 2;
        let failed = format!("failed: line 1, column {column}: {TOGETHER}");
        says(&before, LETTER, &["implicit keep", &failed]);
    }
}

/// RFC 5435 §7: a notification goes beside any action.
#[test]
fn its_owner_may_be_told() {
    for script in [
        r#"notify :message "a" "mailto:a@b.c"; reject "no";"#,
        r#"reject "no"; notify :message "a" "mailto:a@b.c";"#,
    ] {
        let script = format!("require [\"reject\", \"enotify\"]; {script}");
        let outcome = World::default().run(&[&script], LETTER);
        let outcome = outcome.expect("an outcome");
        assert_eq!(outcome.failure, None);
        let mut lines = shown(&outcome);
        lines.sort();
        assert_eq!(lines, ["notify a@b.c with 2: a: ", "reject no"]);
    }
}

/// RFC 5429 §2: a message to the sender could begin a loop, or has no address to go to.
#[test]
fn no_message_answers_a_program_or_the_null_sender() {
    let by_message = |world: &World, letter: &str| {
        let script = r#"require "reject"; reject "no";"#;
        let outcome = world.run(&[script], letter).expect("an outcome");
        match &outcome.actions[..] {
            [Action::Reject { by_message, .. }] => *by_message,
            other => panic!("{other:?}"),
        }
    };
    let world = World::default();
    assert!(by_message(&world, LETTER));
    for field in [
        "Auto-Submitted: auto-replied",
        "List-Id: <a.b>",
        "Precedence: bulk",
    ] {
        assert!(
            !by_message(&world, &format!("{field}\n{LETTER}")),
            "{field}"
        );
    }
    for from in [None, Some("bob@example.org"), Some("MAILER-DAEMON@b.c")] {
        let world = World {
            from,
            ..World::default()
        };
        assert!(!by_message(&world, LETTER), "{from:?}");
    }
}

#[test]
fn each_of_the_two_is_required_by_its_name() {
    assert!(refusal(r#"require "reject"; ereject "x";"#).contains("\"ereject\""));
    assert!(refusal(r#"require "ereject"; reject "x";"#).contains("\"reject\""));
}
