//! FETCH (RFC 9051 §6.4.5).

use crate::rig::run;

#[test]
fn a_list_view_and_a_body() {
    run(|rig| async move {
        rig.deliver("Subject: hello\r\nFrom: Bob <b@example.net>\r\n\r\none\r\ntwo\r\n")
            .await;
        let mut session = rig.selected().await;
        let lines = session
            .ok("FETCH 1 (UID FLAGS RFC822.SIZE ENVELOPE BODYSTRUCTURE)")
            .await;
        let line = &lines[0];
        assert!(
            line.starts_with("* 1 FETCH (UID 1 FLAGS (\\Recent) RFC822.SIZE "),
            "{line}"
        );
        assert!(
            line.contains("\"hello\"") && line.contains("((\"Bob\" NIL \"b\" \"example.net\"))"),
            "{line}"
        );
        assert!(line.contains("BODYSTRUCTURE (\"TEXT\" \"PLAIN\""), "{line}");
        let lines = session.ok("FETCH 1 (BODY[TEXT]<2.4>)").await;
        assert_eq!(lines[0], "* 1 FETCH (BODY[TEXT]<2> {4}");
        assert_eq!(lines[1..3], ["e", "t)"]);
    });
}

#[test]
fn reading_sets_seen_and_peeking_does_not() {
    run(|rig| async move {
        rig.deliver_some(2).await;
        let mut session = rig.selected().await;
        session.ok("FETCH 1 BODY.PEEK[]").await;
        assert_eq!(session.ok("SEARCH SEEN").await, ["* SEARCH"]);
        let lines = session.ok("FETCH 1 BODY[]").await;
        assert!(
            lines.last().expect("a flag").contains("\\Seen"),
            "{lines:?}"
        );
        assert_eq!(session.ok("SEARCH SEEN").await, ["* SEARCH 1"]);
        session.ok("EXAMINE INBOX").await;
        session.ok("FETCH 2 BODY[]").await;
        assert_eq!(session.ok("SEARCH SEEN").await, ["* SEARCH 1"]);
    });
}

/// Larger than what is held of a message: it is sent in pieces, through a connection that holds 4 KiB.
#[test]
fn a_large_body_comes_whole() {
    run(|rig| async move {
        let body =
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n".repeat(6_000);
        rig.deliver(&format!("Subject: large\r\n\r\n{body}")).await;
        let mut session = rig.selected().await;
        let lines = session.ok("FETCH 1 BODY.PEEK[TEXT]").await;
        assert_eq!(
            lines[0],
            format!("* 1 FETCH (BODY[TEXT] {{{}}}", body.len())
        );
        assert_eq!(lines.len(), 6_002);
        assert!(lines[1..=6_000].iter().all(|line| line.len() == 62));
        assert_eq!(lines[6_001], ")");
    });
}

#[test]
fn a_number_beyond_the_mailbox_is_bad_and_a_uid_is_not() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let mut session = rig.selected().await;
        assert!(session.refused("FETCH 2 UID").await.starts_with("BAD "));
        assert!(session.ok("UID FETCH 2 UID").await.is_empty());
    });
}
