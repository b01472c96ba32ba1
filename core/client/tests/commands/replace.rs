//! REPLACE (RFC 8508).

use crate::rig::run;

#[test]
fn a_message_takes_the_place_of_another() {
    run(|rig| async move {
        rig.deliver_some(3).await;
        let mut session = rig.selected().await;
        let lines = session.ok("REPLACE 2 INBOX (\\Draft) {4+}\r\nabcd").await;
        assert!(
            lines[0].starts_with("* OK [APPENDUID ") && lines[0].contains(" 4] "),
            "{lines:?}"
        );
        assert!(lines.contains(&"* 2 EXPUNGE".to_owned()), "{lines:?}");
        let lines = session.ok("UID REPLACE 1 Drafts {4+}\r\nefgh").await;
        assert!(
            lines[0].contains(" 1] ") && lines.contains(&"* 1 EXPUNGE".to_owned()),
            "{lines:?}"
        );
        let left = session.ok("FETCH 1:* (UID RFC822.SIZE)").await;
        assert!(
            left.len() == 2 && left[1].contains("UID 4 RFC822.SIZE 4"),
            "{left:?}"
        );
    });
}

#[test]
fn what_is_refused_changes_nothing() {
    run(|rig| async move {
        rig.deliver_some(2).await;
        let mut session = rig.selected().await;
        for (command, answer) in [
            ("REPLACE 1 none {4+}\r\nabcd", "NO [TRYCREATE] "),
            ("UID REPLACE 9 INBOX {4+}\r\nabcd", "NO [NONEXISTENT] "),
            ("REPLACE 9 INBOX {4+}\r\nabcd", "BAD "),
            ("REPLACE 1:2 INBOX {4+}\r\nabcd", "BAD "),
            ("REPLACE 1 INBOX {0+}\r\n", "NO [CANNOT] "),
        ] {
            let last = session.refused(command).await;
            assert!(last.starts_with(answer), "{command}: {last}");
        }
        let big = session.refused("UID REPLACE 1 INBOX {100001}").await;
        assert!(big.starts_with("NO [TOOBIG] "), "{big}");
        let left = session.ok("FETCH 1:* UID").await;
        assert_eq!(left, ["* 1 FETCH (UID 1)", "* 2 FETCH (UID 2)"]);
        session.ok("EXAMINE INBOX").await;
        let last = session.refused("REPLACE 1 INBOX {4+}\r\nabcd").await;
        assert_eq!(last, "NO Mailbox is read-only");
    });
}
