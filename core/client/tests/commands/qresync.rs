//! QRESYNC (RFC 7162 §3.2).

use super::condstore::number_after;
use crate::rig::{Rig, Session, run};

/// What a client keeps when it goes.
struct Kept {
    uid_validity: u64,
    modseq: u64,
}

impl Kept {
    /// The parameter of its next SELECT; `rest` is the optional part.
    fn select(&self, rest: &str) -> String {
        let Kept {
            uid_validity,
            modseq,
        } = self;
        format!("SELECT INBOX (QRESYNC ({uid_validity} {modseq}{rest}))")
    }
}

async fn enabled(rig: &Rig) -> Session {
    let mut session = rig.session().await;
    assert_eq!(session.ok("ENABLE QRESYNC").await, ["* ENABLED QRESYNC"]);
    session
}

/// A client that has seen everything.
async fn seen(rig: &Rig) -> (Session, Kept) {
    let mut session = enabled(rig).await;
    let lines = session.ok("SELECT INBOX").await;
    let kept = Kept {
        uid_validity: number_after(&lines, "[UIDVALIDITY "),
        modseq: number_after(&lines, "[HIGHESTMODSEQ "),
    };
    (session, kept)
}

/// Lines of resynchronisation only.
fn news(lines: Vec<String>) -> Vec<String> {
    let is_news = |line: &String| line.contains("VANISHED") || line.contains("FETCH");
    lines.into_iter().filter(is_news).collect()
}

#[test]
fn without_enable_it_is_refused() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let mut session = rig.selected().await;
        session.ok("ENABLE CONDSTORE").await;
        for command in [
            "SELECT INBOX (QRESYNC (1 1))",
            "UID FETCH 1:* FLAGS (CHANGEDSINCE 1 VANISHED)",
        ] {
            let refused = session.refused(command).await;
            assert_eq!(refused, "BAD ENABLE QRESYNC first");
        }
        // The mailbox is still open.
        session.ok("FETCH 1 UID").await;
    });
}

#[test]
fn a_client_that_comes_back_is_told_what_it_missed() {
    run(|rig| async move {
        rig.deliver_some(9).await;
        let (mut away, kept) = seen(&rig).await;
        away.ok("LOGOUT").await;
        let mut other = rig.selected().await;
        other.ok("STORE 2,5:7 +FLAGS.SILENT (\\Deleted)").await;
        other.ok("EXPUNGE").await;
        other.ok("UID STORE 4 +FLAGS ($Work)").await;
        rig.deliver_some(1).await;
        let mut session = enabled(&rig).await;
        let lines = session.ok(&kept.select("")).await;
        let at = |text: &str| lines.iter().position(|line| line.contains(text));
        let (exists, vanished) = (at("* 6 EXISTS"), at("VANISHED (EARLIER) 2,5:7"));
        assert!(
            exists < vanished && vanished < at("* 3 FETCH (UID 4 FLAGS ($Work) MODSEQ ("),
            "{lines:?}"
        );
        assert!(
            at("* 6 FETCH (UID 10 FLAGS (\\Recent) MODSEQ (").is_some(),
            "{lines:?}"
        );
        // The keyword is listed before it is used.
        assert_eq!(at("* FLAGS ("), at("$Work"));
        assert_eq!(news(lines).len(), 3);
        // The known UIDs bound what is reported.
        let lines = session.ok(&kept.select(" 1:5,10")).await;
        assert!(lines[0].starts_with("* OK [CLOSED]"));
        assert_eq!(
            news(lines),
            [
                "* VANISHED (EARLIER) 2,5",
                "* 3 FETCH (UID 4 FLAGS ($Work) MODSEQ (13))",
                "* 6 FETCH (UID 10 FLAGS () MODSEQ (14))"
            ]
        );
        // Another UIDVALIDITY: the rest means nothing.
        let other = Kept {
            uid_validity: kept.uid_validity + 1,
            ..kept
        };
        let lines = session.ok(&other.select("")).await;
        assert!(lines.iter().any(|line| line.contains("[HIGHESTMODSEQ ")));
        assert!(news(lines).is_empty());
    });
}

#[test]
fn uid_fetch_tells_what_vanished_before_what_changed() {
    run(|rig| async move {
        rig.deliver_some(6).await;
        let (mut away, kept) = seen(&rig).await;
        away.ok("UNSELECT").await;
        let mut other = rig.selected().await;
        other.ok("STORE 6,3 +FLAGS.SILENT (\\Deleted)").await;
        other.ok("EXPUNGE").await;
        other.ok("STORE 1 +FLAGS (\\Flagged)").await;
        away.ok("SELECT INBOX").await;
        let command = format!(
            "UID FETCH 1:* (FLAGS) (CHANGEDSINCE {} VANISHED)",
            kept.modseq
        );
        // The last message went: it is beyond `*`.
        assert_eq!(
            away.ok(&command).await,
            [
                "* VANISHED (EARLIER) 3,6",
                "* 1 FETCH (UID 1 FLAGS (\\Flagged) MODSEQ (10))"
            ]
        );
        let command = command.replace("1:*", "2:5");
        assert_eq!(away.ok(&command).await, ["* VANISHED (EARLIER) 3"]);
    });
}

#[test]
fn expunges_are_told_by_uid_with_the_new_highest() {
    run(|rig| async move {
        rig.deliver_some(7).await;
        let (mut session, _) = seen(&rig).await;
        let mut other = rig.selected().await;
        session.ok("STORE 1:3,5 +FLAGS.SILENT (\\Deleted)").await;
        let lines = session.ask("UID EXPUNGE 3:5").await;
        assert_eq!(lines[0], "* VANISHED 3,5");
        let told = number_after(&lines, "OK [HIGHESTMODSEQ ");
        let lines = session.ask("EXPUNGE").await;
        assert_eq!(lines[0], "* VANISHED 1:2");
        assert!(number_after(&lines, "OK [HIGHESTMODSEQ ") > told);
        assert_eq!(session.ask("EXPUNGE").await, ["OK Expunge completed"]);
        let lines = session.ask("MOVE 1 Archive").await;
        assert!(lines[0].starts_with("* OK [COPYUID "), "{lines:?}");
        assert_eq!(lines[1], "* VANISHED 4");
        assert!(lines[2].starts_with("OK [HIGHESTMODSEQ "), "{lines:?}");
        // Numbers, to a client that did not enable it.
        let lines = other.ok("NOOP").await;
        assert_eq!(lines.len(), 5);
        assert!(lines.iter().all(|line| line.ends_with(" EXPUNGE")));
        // RFC 7162 §3.2.8: not with CLOSE.
        session.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
        assert_eq!(session.ask("CLOSE").await, ["OK Close completed"]);
    });
}

/// RFC 7162 §6: the client would come back with the greatest MODSEQ that it saw, and miss what it was not told.
#[test]
fn while_expunges_wait_the_highest_that_was_told_is_repeated() {
    run(|rig| async move {
        rig.deliver_some(3).await;
        let (mut session, kept) = seen(&rig).await;
        let mut other = rig.selected().await;
        other.ok("STORE 2 +FLAGS.SILENT (\\Deleted)").await;
        other.ok("EXPUNGE").await;
        other.ok("UID STORE 3 +FLAGS (\\Flagged)").await;
        // By number: no VANISHED now (RFC 9051 §7.5.1).
        let lines = session.ok("FETCH 3 (FLAGS)").await;
        assert!(!lines.iter().any(|line| line.contains("VANISHED")));
        assert!(number_after(&lines, " MODSEQ (") > kept.modseq);
        assert_eq!(number_after(&lines, "* OK [HIGHESTMODSEQ "), kept.modseq);
        // SEARCH names a modification sequence too (§3.1.6).
        let lines = session.ok("SEARCH MODSEQ 1").await;
        assert!(number_after(&lines, " (MODSEQ ") > kept.modseq);
        assert_eq!(number_after(&lines, "* OK [HIGHESTMODSEQ "), kept.modseq);
        let lines = session.ok("NOOP").await;
        assert_eq!(lines, ["* VANISHED 2"]);
        let mut again = enabled(&rig).await;
        let lines = again.ok(&kept.select("")).await;
        assert!(news(lines).contains(&"* VANISHED (EARLIER) 2".to_owned()));
    });
}

/// RFC 7162 §3.2.5.2, once the mailbox has forgotten: numbers that still fit bound what is reported.
#[test]
fn what_is_forgotten_is_told_as_all_that_is_not_there() {
    run(|rig| async move {
        rig.deliver_some(4).await;
        let mut other = rig.selected().await;
        other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
        other.ok("EXPUNGE").await;
        let (mut away, kept) = seen(&rig).await;
        away.ok("UNSELECT").await;
        // One expunge of more runs than are kept.
        let count = 2 * mailbox::limits::GONE_RUNS_MAX + 20;
        rig.deliver_some(count).await;
        other.ok("NOOP").await;
        let every_second: Vec<String> = (0..count / 2).map(|n| (6 + 2 * n).to_string()).collect();
        for some in every_second.chunks(300) {
            let set = some.join(",");
            other
                .ok(&format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)"))
                .await;
        }
        other.ok("EXPUNGE").await;
        let told = |lines: Vec<String>| -> Vec<u32> {
            let lines = lines.into_iter();
            let sets = lines.filter_map(|line| Some(line.split_once("(EARLIER) ")?.1.to_owned()));
            let uids = sets.flat_map(|set| {
                let uids = set.split(',').map(|uid| uid.parse().expect("no range"));
                uids.collect::<Vec<u32>>()
            });
            uids.collect()
        };
        let went = every_second
            .iter()
            .map(|uid| uid.parse().expect("a number"));
        let went: Vec<u32> = went.collect();
        let lines = away.ok(&kept.select(" 1:100000")).await;
        // UID 1 went before the client looked.
        assert_eq!(told(lines), [&[1], &went[..]].concat());
        let lines = away.ok(&kept.select(" 1:100000 (1,3 2,4)")).await;
        assert_eq!(told(lines), went);
        let lines = away.ok(&kept.select(" (1,3 2,9)")).await;
        assert_eq!(told(lines), [&[1], &went[..]].concat()[1..]);
    });
}

#[test]
fn enable_with_a_mailbox_open_tells_the_highest() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let mut session = rig.selected().await;
        let lines = session.ok("ENABLE QRESYNC").await;
        assert_eq!(lines[0], "* ENABLED QRESYNC");
        assert!(lines[1].starts_with("* OK [HIGHESTMODSEQ "), "{lines:?}");
        let mut other = rig.selected().await;
        other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
        other.ok("EXPUNGE").await;
        let lines = session.ok("NOOP").await;
        assert_eq!(lines, ["* VANISHED 1"]);
    });
}

/// RFC 7162 §7: no modification sequence is 0. What comes first into an empty mailbox is reported to the client that saw it empty.
#[test]
fn a_client_comes_back_to_a_mailbox_that_was_empty() {
    run(|rig| async move {
        let (mut session, kept) = seen(&rig).await;
        session.ok("UNSELECT").await;
        assert!(kept.modseq > 0);
        rig.deliver_some(1).await;
        let lines = news(session.ok(&kept.select("")).await);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("* 1 FETCH (UID 1 FLAGS "), "{lines:?}");
    });
}
