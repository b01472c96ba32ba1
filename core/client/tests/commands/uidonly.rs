//! UIDONLY (RFC 9586).

use crate::rig::{Rig, Session, run};

async fn enabled(rig: &Rig) -> Session {
    let mut session = rig.session().await;
    assert_eq!(session.ok("ENABLE UIDONLY").await, ["* ENABLED UIDONLY"]);
    session
}

/// Messages 2, 4 and 5, with these UIDs: no number is a UID.
async fn three(rig: &Rig) {
    rig.deliver_some(5).await;
    let mut session = rig.selected().await;
    session.ok("STORE 1,3 +FLAGS.SILENT (\\Deleted)").await;
    session.ok("CLOSE").await;
}

#[test]
fn answers_name_uids_and_no_numbers() {
    run(|rig| async move {
        three(&rig).await;
        let mut session = enabled(&rig).await;
        let opened = session.ok("SELECT INBOX").await;
        assert!(opened.iter().any(|line| line == "* 3 EXISTS"), "{opened:?}");
        // A message number.
        assert!(
            !opened.iter().any(|line| line.contains("[UNSEEN")),
            "{opened:?}"
        );
        assert_eq!(
            session.ok("UID FETCH 4:* (FLAGS)").await,
            ["* 4 UIDFETCH (FLAGS ())", "* 5 UIDFETCH (FLAGS ())"]
        );
        // The UID is an item like others for who asks.
        assert_eq!(
            session.ok("UID FETCH 2 (UID MODSEQ)").await.last().unwrap(),
            "* 2 UIDFETCH (UID 2 MODSEQ (3))"
        );
        let lines = session.ok("UID STORE 5 +FLAGS ($Work)").await;
        assert_eq!(
            lines.last().unwrap(),
            "* 5 UIDFETCH (FLAGS ($Work) MODSEQ (9))"
        );
        let lines = session.ok("UID FETCH 4 BODY[TEXT]").await;
        assert!(
            lines[0].starts_with("* 4 UIDFETCH (BODY[TEXT] "),
            "{lines:?}"
        );
        // \Seen, in a line of its own.
        assert!(
            lines
                .last()
                .unwrap()
                .starts_with("* 4 UIDFETCH (FLAGS (\\Seen"),
            "{lines:?}"
        );
        let refused = session.refused("FETCH 1 FLAGS").await;
        assert_eq!(
            refused,
            "BAD [UIDREQUIRED] Message numbers are not allowed after ENABLE UIDONLY"
        );
    });
}

#[test]
fn what_goes_is_told_by_vanished() {
    run(|rig| async move {
        three(&rig).await;
        let mut session = enabled(&rig).await;
        session.ok("SELECT INBOX").await;
        let mut other = rig.selected().await;
        other.ok("UID STORE 4 +FLAGS (\\Flagged)").await;
        other.ok("UID STORE 2 +FLAGS.SILENT (\\Deleted)").await;
        other.ok("EXPUNGE").await;
        rig.deliver_some(1).await;
        assert_eq!(
            session.ok("NOOP").await,
            [
                "* 4 EXISTS",
                "* 1 RECENT",
                "* 4 UIDFETCH (FLAGS (\\Flagged))",
                "* VANISHED 2"
            ]
            .map(str::to_owned)
            .to_vec()
        );
        session.ok("UID STORE 6 +FLAGS.SILENT (\\Deleted)").await;
        assert_eq!(session.ok("UID EXPUNGE 5:6").await, ["* VANISHED 6"]);
        let moved = session.ok("UID MOVE 4:5 Trash").await;
        assert!(moved[0].contains("[COPYUID "), "{moved:?}");
        assert_eq!(moved[1..], ["* VANISHED 4:5"]);
    });
}

#[test]
fn enabled_with_a_mailbox_open_it_counts_from_the_next_answer_on() {
    run(|rig| async move {
        three(&rig).await;
        let mut session = rig.selected().await;
        session.ok("ENABLE UIDONLY").await;
        let mut other = rig.selected().await;
        other.ok("UID STORE 4 +FLAGS.SILENT (\\Deleted)").await;
        other.ok("EXPUNGE").await;
        assert_eq!(session.ok("NOOP").await, ["* VANISHED 4"]);
        session.ok("UNSELECT").await;
        session.ok("UNAUTHENTICATE").await;
        session.ok("LOGIN alice secret").await;
        session.ok("SELECT INBOX").await;
        let lines = session.ok("FETCH 2 UID").await;
        assert_eq!(lines, ["* 2 FETCH (UID 5)"]);
    });
}

#[test]
fn results_and_resynchronisation_are_of_uids() {
    run(|rig| async move {
        three(&rig).await;
        let mut session = enabled(&rig).await;
        session.ok("ENABLE QRESYNC").await;
        session.ok("SELECT INBOX").await;
        assert_eq!(
            session.ok("UID SEARCH RETURN (SAVE ALL) UID 3:*").await,
            ["* ESEARCH (TAG \"t\") UID ALL 4:5"]
        );
        let lines = session.ok("UID STORE $ +FLAGS.SILENT (\\Flagged)").await;
        assert_eq!(
            lines,
            ["* 4 UIDFETCH (MODSEQ (9))", "* 5 UIDFETCH (MODSEQ (9))"]
        );
        // PARTIAL counts results, not messages of the mailbox.
        assert_eq!(
            session.ok("UID FETCH 1:* (UID) (PARTIAL -1:-1)").await,
            ["* 5 UIDFETCH (UID 5)"]
        );
        let lines = session
            .ok("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 8 VANISHED)")
            .await;
        assert_eq!(lines.len(), 2, "{lines:?}");
        let stale = session
            .ask("UID STORE 2,4 (UNCHANGEDSINCE 8) +FLAGS (\\Seen)")
            .await;
        assert!(
            stale.last().unwrap().starts_with("OK [MODIFIED 4] "),
            "{stale:?}"
        );
    });
}

/// RFC 5465 beside it.
#[test]
fn what_notify_tells_names_uids_and_no_numbers() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let (mut watcher, mut other) = (rig.session().await, rig.selected().await);
        watcher.ok("ENABLE UIDONLY").await;
        watcher.ok("SELECT INBOX").await;
        watcher
            .ok("NOTIFY SET (selected (MessageNew (UID FLAGS) MessageExpunge FlagChange))")
            .await;
        other.ok("STORE 1 +FLAGS (\\Deleted)").await;
        let line = watcher.line().await;
        assert!(line.starts_with("* 1 UIDFETCH (FLAGS (\\Deleted"), "{line}");
        other.ok("EXPUNGE").await;
        assert_eq!(watcher.line().await, "* VANISHED 1");
        rig.deliver_some(1).await;
        assert_eq!(watcher.line().await, "* 1 EXISTS");
        let mut line = watcher.line().await;
        if line.ends_with(" RECENT") {
            line = watcher.line().await;
        }
        assert!(line.starts_with("* 2 UIDFETCH ("), "{line}");
        watcher.send("t IDLE\r\n").await;
        assert!(watcher.line().await.starts_with("+ "));
        other.ok("NOOP").await;
        other.ok("STORE 1 +FLAGS (\\Deleted)").await;
        let line = watcher.line().await;
        assert!(line.starts_with("* 2 UIDFETCH (FLAGS "), "{line}");
        other.ok("EXPUNGE").await;
        assert_eq!(watcher.line().await, "* VANISHED 2");
        watcher.send("DONE\r\n").await;
        watcher.answer().await;
    });
}
