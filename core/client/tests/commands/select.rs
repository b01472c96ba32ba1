//! SELECT and EXAMINE (RFC 9051 §6.3.2, §6.3.3).

use crate::rig::run;

#[test]
fn a_mailbox_is_described() {
    run(|rig| async move {
        rig.deliver_some(2).await;
        let mut session = rig.session().await;
        let lines = session.ask("SELECT INBOX").await;
        for wanted in [
            "* 2 EXISTS",
            "* 2 RECENT",
            "* FLAGS (",
            "* OK [PERMANENTFLAGS (",
            "* OK [UIDVALIDITY ",
            "* OK [UIDNEXT 3]",
            "* OK [UNSEEN 1]",
            "OK [READ-WRITE] ",
        ] {
            assert!(
                lines.iter().any(|line| line.starts_with(wanted)),
                "{wanted}: {lines:?}"
            );
        }
    });
}

/// RFC 3501 §2.3.2: one session has the recent ones, and one that only looks leaves them.
#[test]
fn examine_changes_nothing() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let mut session = rig.session().await;
        let lines = session.ask("EXAMINE INBOX").await;
        assert!(
            lines
                .last()
                .expect("an answer")
                .starts_with("OK [READ-ONLY] "),
            "{lines:?}"
        );
        assert!(
            session
                .refused("STORE 1 +FLAGS (\\Seen)")
                .await
                .starts_with("NO ")
        );
        session.ok("UNSELECT").await;
        for count in [1, 0] {
            let lines = session.ok("SELECT INBOX").await;
            assert!(lines.contains(&format!("* {count} RECENT")), "{lines:?}");
        }
    });
}

#[test]
fn a_select_that_fails_leaves_nothing_open() {
    run(|rig| async move {
        let mut session = rig.selected().await;
        let lines = session.ask("SELECT none").await;
        assert!(lines[0].starts_with("* OK [CLOSED] "), "{lines:?}");
        assert!(session.refused("FETCH 1 UID").await.starts_with("BAD "));
    });
}
