//! RFC 6785: scripts about messages that are in a mailbox.

use mail::{Flags, SystemFlags};

use crate::common::{World, holds};

const LETTER: &str = "From: boss@example.com\nSubject: x\n\n";

fn world(cause: &'static str, changed: &'static str, flags: Flags) -> World {
    World {
        event: Some((cause, changed, flags)),
        ..World::default()
    }
}

#[test]
fn the_items_say_what_happened_and_are_absent_at_a_delivery() {
    let event = world("FLAG", r"\Flagged $Work", Flags::default());
    for (test, wanted) in [
        (r#"environment :is "imap.user" "bob""#, true),
        (r#"environment :is "imap.email" "bob@example.org""#, true),
        (r#"environment :is "IMAP.Cause" "FLAG""#, true),
        (r#"environment :is "imap.mailbox" "Lists""#, true),
        (r#"environment :contains "imap.changedflags" "$work""#, true),
        (r#"environment :is "phase" "post""#, true),
        (r#"environment :is "location" "MS""#, true),
        (r#"environment :contains "imap.other" """#, false),
    ] {
        let require = "imapsieve environment";
        assert_eq!(event.holds(require, test, LETTER), wanted, "{test}");
        let at_delivery = test.contains("location");
        assert_eq!(holds(require, test, LETTER), at_delivery, "{test}");
    }
}

/// RFC 5232 with RFC 6785: a script that says nothing of flags changes none, and one that adds a flag leaves the others.
#[test]
fn the_internal_variable_begins_as_the_message_is() {
    let seen = || Flags::system(SystemFlags::SEEN);
    world("COPY", "", seen()).says("keep;", LETTER, &[r"keep (\Seen)"]);
    world("COPY", "", seen()).says(
        r#"require ["imapsieve", "imap4flags"];
           if hasflag "\\Seen" { addflag "$Read"; }"#,
        LETTER,
        &[r"implicit keep (\Seen $Read)"],
    );
    world("COPY", "", seen()).says(
        r#"require ["imapsieve", "imap4flags"]; setflag "";"#,
        LETTER,
        &["implicit keep"],
    );
}

#[test]
fn a_message_that_is_stored_is_neither_refused_nor_answered() {
    for (script, what) in [
        (
            r#"require ["imapsieve", "reject"]; reject "no";"#,
            "rejected",
        ),
        (
            r#"require ["imapsieve", "ereject"]; ereject "no";"#,
            "rejected",
        ),
        (
            r#"require ["imapsieve", "vacation"]; vacation "away";"#,
            "answered by \"vacation\"",
        ),
    ] {
        let event = world("APPEND", "", Flags::default());
        let outcome = event.run(&[script], LETTER).expect("no question is open");
        let failure = outcome.failure.expect("it fails").to_string();
        assert!(failure.contains(what), "{failure}");
        assert_eq!(outcome.actions.len(), 1, "the message stays");
    }
}
