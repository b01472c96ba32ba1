//! CONDSTORE (RFC 7162 §3.1).

use crate::rig::{Session, run};

/// The number behind `word` in some line.
pub fn number_after(lines: &[String], word: &str) -> u64 {
    let found = lines.iter().find_map(|line| {
        let (_, rest) = line.split_once(word)?;
        let digits = rest.split(|other: char| !other.is_ascii_digit()).next()?;
        digits.parse().ok()
    });
    found.unwrap_or_else(|| panic!("{word}: {lines:?}"))
}

async fn highest(session: &mut Session) -> u64 {
    let lines = session.ok("STATUS INBOX (HIGHESTMODSEQ)").await;
    number_after(&lines, "HIGHESTMODSEQ ")
}

#[test]
fn select_and_status_tell_the_same_highest() {
    run(|rig| async move {
        rig.deliver_some(2).await;
        let mut session = rig.session().await;
        for command in ["SELECT INBOX", "EXAMINE INBOX", "SELECT INBOX (CONDSTORE)"] {
            let lines = session.ok(command).await;
            let told = number_after(&lines, "* OK [HIGHESTMODSEQ ");
            assert!(!lines.iter().any(|line| line.contains("NOMODSEQ")));
            assert_eq!(told, highest(&mut session).await, "{command}");
        }
    });
}

/// RFC 7162 §3.1: from the first of these commands on.
#[test]
fn every_enabling_command_enables() {
    for command in [
        "ENABLE CONDSTORE",
        "ENABLE QRESYNC",
        "STATUS INBOX (HIGHESTMODSEQ)",
        "LIST \"\" * RETURN (STATUS (HIGHESTMODSEQ))",
        "FETCH 1 MODSEQ",
        "FETCH 1 (UID) (CHANGEDSINCE 1)",
        "STORE 1 (UNCHANGEDSINCE 1) +FLAGS (\\Seen)",
        "SEARCH MODSEQ 1",
        "SELECT INBOX (CONDSTORE)",
        "EXAMINE INBOX (CONDSTORE)",
    ] {
        run(|rig| async move {
            rig.deliver_some(1).await;
            let (mut session, mut other) = (rig.selected().await, rig.selected().await);
            other.ok("STORE 1 +FLAGS (\\Flagged)").await;
            let plain = session.ok("NOOP").await;
            assert!(
                !plain.iter().any(|line| line.contains("MODSEQ")),
                "{plain:?}"
            );
            let lines = session.ok(command).await;
            assert!(
                number_after(&lines, "* OK [HIGHESTMODSEQ ") > 1,
                "{command}"
            );
            let again = session.ok("ENABLE CONDSTORE").await;
            assert!(!again.iter().any(|line| line.contains("HIGHESTMODSEQ")));
            other.ok("STORE 1 +FLAGS (\\Answered)").await;
            let told = session.ok("NOOP").await;
            assert!(number_after(&told, " MODSEQ (") > 1, "{command}: {told:?}");
        });
    }
}

#[test]
fn fetch_tells_modseq_and_only_of_what_changed_since() {
    run(|rig| async move {
        rig.deliver_some(3).await;
        let mut session = rig.selected().await;
        let since = highest(&mut session).await;
        session.ok("STORE 2 +FLAGS (\\Flagged)").await;
        let now = since + 1;
        for (command, lines) in [
            ("FETCH 2 MODSEQ", format!("* 2 FETCH (MODSEQ ({now}))")),
            (
                "FETCH 1:* (UID) (CHANGEDSINCE {})",
                format!("* 2 FETCH (UID 2 MODSEQ ({now}))"),
            ),
            (
                "UID FETCH 1:* FLAGS (CHANGEDSINCE {})",
                format!("* 2 FETCH (UID 2 FLAGS (\\Flagged \\Recent) MODSEQ ({now}))"),
            ),
        ] {
            let command = command.replace("{}", &since.to_string());
            assert_eq!(session.ok(&command).await, [lines], "{command}");
        }
        let none = format!("FETCH 1:* (FLAGS) (CHANGEDSINCE {now})");
        assert!(session.ok(&none).await.is_empty());
        let numbers = session.ok("FETCH 1 (UID) (CHANGEDSINCE 0)").await;
        assert_eq!(numbers.len(), 1);
    });
}

#[test]
fn a_conditional_store_is_done_where_nothing_changed() {
    run(|rig| async move {
        rig.deliver_some(3).await;
        let (mut session, mut other) = (rig.selected().await, rig.selected().await);
        let since = highest(&mut session).await;
        other.ok("STORE 2 +FLAGS (\\Answered)").await;
        let command = format!("STORE 1:3 (UNCHANGEDSINCE {since}) +FLAGS.SILENT (\\Deleted)");
        let lines = session.ask(&command).await;
        let now = since + 2;
        assert_eq!(
            lines,
            [
                // RFC 7162 §3.1.3, Example 3: in spite of .SILENT.
                format!("* 1 FETCH (UID 1 MODSEQ ({now}))"),
                format!("* 3 FETCH (UID 3 MODSEQ ({now}))"),
                format!(
                    "* 2 FETCH (UID 2 FLAGS (\\Answered \\Recent) MODSEQ ({}))",
                    since + 1
                ),
                "OK [MODIFIED 2] Conditional STORE failed for messages that changed".to_owned(),
            ]
        );
        // UIDs for UID STORE, and what is set already is done.
        session.ok("EXPUNGE").await;
        let command = format!("UID STORE 2 (UNCHANGEDSINCE {since}) FLAGS (\\Seen)");
        let last = session.ask(&command).await.pop().expect("an answer");
        assert!(last.starts_with("OK [MODIFIED 2]"), "{last}");
        let command = format!(
            "UID STORE 2 (UNCHANGEDSINCE {}) +FLAGS (\\Answered)",
            since + 1
        );
        let lines = session.ok(&command).await;
        assert_eq!(number_after(&lines, " MODSEQ ("), since + 1);
        // Nothing is unchanged since 0.
        let last = session
            .ask("STORE 1 (UNCHANGEDSINCE 0) FLAGS ()")
            .await
            .pop();
        assert!(last.expect("an answer").starts_with("OK [MODIFIED 1]"));
    });
}

#[test]
fn a_client_that_did_not_ask_sees_no_modseq() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let mut session = rig.selected().await;
        let stored = session.ok("STORE 1 +FLAGS (\\Seen)").await;
        let fetched = session.ok("FETCH 1 (FLAGS BODY[])").await;
        for lines in [stored, fetched] {
            assert!(
                !lines.iter().any(|line| line.contains("MODSEQ")),
                "{lines:?}"
            );
        }
    });
}

#[test]
fn search_finds_what_changed_and_tells_the_highest() {
    run(|rig| async move {
        rig.deliver_some(4).await;
        let mut session = rig.selected().await;
        let since = highest(&mut session).await;
        session.ok("STORE 1 +FLAGS (\\Flagged)").await;
        session.ok("STORE 3 +FLAGS (\\Flagged)").await;
        let (one, three) = (since + 1, since + 2);
        for (command, line) in [
            ("SEARCH MODSEQ {}", format!("* SEARCH 1 3 (MODSEQ {three})")),
            (
                "SEARCH MODSEQ \"/flags/\\\\Flagged\" all {}",
                format!("* SEARCH 1 3 (MODSEQ {three})"),
            ),
            (
                "UID SEARCH NOT MODSEQ {}",
                format!("* SEARCH 2 4 (MODSEQ {since})"),
            ),
            (
                "SEARCH RETURN (MIN) MODSEQ {}",
                format!("* ESEARCH (TAG \"t\") MIN 1 MODSEQ {one}"),
            ),
            (
                "SEARCH RETURN (MAX) MODSEQ {}",
                format!("* ESEARCH (TAG \"t\") MAX 3 MODSEQ {three}"),
            ),
            (
                "SEARCH RETURN (MIN MAX) MODSEQ {}",
                format!("* ESEARCH (TAG \"t\") MIN 1 MAX 3 MODSEQ {three}"),
            ),
            (
                "SEARCH RETURN (COUNT) MODSEQ {}",
                format!("* ESEARCH (TAG \"t\") COUNT 2 MODSEQ {three}"),
            ),
        ] {
            let command = command.replace("{}", &one.to_string());
            let lines = session.ok(&command).await;
            assert_eq!(lines.last(), Some(&line), "{command}");
        }
        let none = session.ok(&format!("SEARCH MODSEQ {}", three + 1)).await;
        assert_eq!(none, ["* SEARCH"]);
    });
}
