//! MULTIAPPEND (RFC 3502).

use crate::rig::run;

#[test]
fn several_messages_come_at_once_with_their_flags_and_dates() {
    run(|rig| async move {
        let mut session = rig.selected().await;
        let last = session
            .ask(
                "APPEND Archive (\\Seen) \" 5-Jan-2024 10:00:00 +0100\" {4+}\r\nabcd (\\Flagged) {5+}\r\nefghi {6+}\r\njklmno",
            )
            .await
            .pop()
            .expect("an answer");
        assert!(
            last.starts_with("OK [APPENDUID ") && last.contains(" 1:3] "),
            "{last}"
        );
        session.ok("SELECT Archive").await;
        let lines = session.ok("FETCH 1:* (FLAGS RFC822.SIZE)").await;
        let expected = [
            "* 1 FETCH (FLAGS (\\Seen \\Recent) RFC822.SIZE 4)",
            "* 2 FETCH (FLAGS (\\Flagged \\Recent) RFC822.SIZE 5)",
            "* 3 FETCH (FLAGS (\\Recent) RFC822.SIZE 6)",
        ];
        assert_eq!(lines, expected);
    });
}

/// Each of them is refused as one APPEND is, and then none is placed.
#[test]
fn one_that_is_refused_takes_the_others_with_it() {
    run(|rig| async move {
        let mut session = rig.session().await;
        for (command, answer) in [
            ("APPEND INBOX {4+}\r\nabcd {0+}\r\n", "NO [CANNOT] "),
            ("APPEND none {4+}\r\nabcd {4+}\r\nefgh", "NO [TRYCREATE] "),
            ("APPEND INBOX {4+}\r\nabcd \"no date\" {4+}\r\nefgh", "BAD "),
            ("APPEND INBOX {4+}\r\nabcd efgh", "BAD "),
        ] {
            let last = session.refused(command).await;
            assert!(last.starts_with(answer), "{command}: {last}");
        }
        let many = format!("APPEND INBOX{}", " {1+}\r\nx".repeat(33));
        let last = session.refused(&many).await;
        assert!(last.starts_with("NO [LIMIT] "), "{last}");
        let status = session.ok("STATUS INBOX (MESSAGES)").await;
        assert!(status[0].contains("MESSAGES 0"), "{status:?}");
    });
}

/// Together they may have what one may have.
#[test]
fn their_sum_is_bounded() {
    run(|rig| async move {
        let mut session = rig.session().await;
        let half = "x".repeat(60_000);
        session
            .send(&format!(
                "t APPEND INBOX {{60000+}}\r\n{half} {{60000}}\r\n"
            ))
            .await;
        let last = session.answer().await.pop().expect("an answer");
        assert!(last.starts_with("NO [TOOBIG] "), "{last}");
        session.ok("NOOP").await;
        let status = session.ok("STATUS INBOX (MESSAGES)").await;
        assert!(status[0].contains("MESSAGES 0"), "{status:?}");
    });
}
