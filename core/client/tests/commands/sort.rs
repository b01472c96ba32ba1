//! SORT and THREAD (RFC 5256), ESORT (RFC 5267), PARTIAL (RFC 9394), WITHIN (RFC 5032), INPROGRESS (RFC 9585).

use mail::Summary;

use crate::rig::{Rig, run};

/// A discussion in the order of arrival, which is not that of its dates.
async fn deliver_talk(rig: &Rig) {
    for (id, refers, subject, from, day) in [
        ("a", "", "Plan", "Zoe <ann@example.net>", 3),
        ("b", "<a@x>", "Re: Plan", "Ann <zoe@example.net>", 2),
        ("c", "<a@x> <b@x>", "Re: Plan", "Bob <bob@example.net>", 5),
        ("d", "", "[list] Re: plan", "carl@example.net", 4),
        ("e", "", "Another", "Ann <zoe@example.net>", 1),
    ] {
        rig.deliver(&format!(
            "Message-ID: <{id}@x>\r\nReferences: {refers}\r\nSubject: {subject}\r\nFrom: {from}\r\n\
             Date: {day} Jan 2026 00:00:00 +0000\r\n\r\n{}\r\n",
            "x".repeat(10 - day)
        ))
        .await;
    }
}

#[test]
fn messages_come_in_the_order_that_is_asked_for() {
    run(|rig| async move {
        deliver_talk(&rig).await;
        let mut session = rig.selected().await;
        for (asked, found) in [
            ("(DATE) UTF-8 ALL", " 5 2 1 4 3"),
            ("(REVERSE DATE) UTF-8 ALL", " 3 4 1 2 5"),
            ("(ARRIVAL) UTF-8 ALL", " 1 2 3 4 5"),
            ("(FROM DATE) UTF-8 ALL", " 1 3 4 5 2"),
            ("(DISPLAYFROM REVERSE DATE) UTF-8 ALL", " 2 5 3 4 1"),
            ("(SUBJECT REVERSE DATE) UTF-8 ALL", " 5 3 4 1 2"),
            ("(SUBJECT) UTF-8 SUBJECT another", " 5"),
            ("(SUBJECT) UTF-8 SUBJECT absent", ""),
            ("(DATE) UTF-8 BODY xxxxxx", " 5 2 1 4"),
        ] {
            let lines = session.ok(&format!("SORT {asked}")).await;
            assert_eq!(lines, [format!("* SORT{found}")], "{asked}");
            let lines = session.ok(&format!("UID SORT {asked}")).await;
            assert_eq!(lines, [format!("* SORT{found}")], "{asked}");
        }
    });
}

#[test]
fn results_of_a_sort_are_cut_counted_and_saved() {
    run(|rig| async move {
        deliver_talk(&rig).await;
        let mut session = rig.selected().await;
        for (asked, answer) in [
            ("RETURN () (DATE)", "ALL 5,2,1,4,3"),
            ("RETURN (MIN MAX COUNT) (DATE)", "MIN 5 MAX 3 COUNT 5"),
            ("RETURN (PARTIAL 2:3) (DATE)", "PARTIAL (2:3 2,1)"),
            ("RETURN (PARTIAL -1:-2) (DATE)", "PARTIAL (-1:-2 4,3)"),
        ] {
            let lines = session.ok(&format!("UID SORT {asked} UTF-8 ALL")).await;
            assert_eq!(
                lines,
                [format!("* ESEARCH (TAG \"t\") UID {answer}")],
                "{asked}"
            );
        }
        let lines = session.ok("SORT RETURN (SAVE MIN) (DATE) UTF-8 ALL").await;
        assert_eq!(lines, ["* ESEARCH (TAG \"t\") MIN 5"]);
        assert_eq!(session.ok("FETCH $ UID").await, ["* 5 FETCH (UID 5)"]);
        // NO empties `$`.
        session
            .refused("SORT RETURN (SAVE) (DATE) X-KLINGON ALL")
            .await;
        assert!(session.ok("FETCH $ UID").await.is_empty());
    });
}

#[test]
fn discussions_are_trees() {
    run(|rig| async move {
        let mut session = rig.selected().await;
        assert_eq!(
            session.ok("THREAD REFERENCES UTF-8 ALL").await,
            ["* THREAD"]
        );
        assert_eq!(session.ok("SORT (DATE) UTF-8 ALL").await, ["* SORT"]);
        deliver_talk(&rig).await;
        session.ok("NOOP").await;
        for (asked, answer) in [
            ("REFERENCES UTF-8 ALL", "(5)(1 (2 3)(4))"),
            ("ORDEREDSUBJECT UTF-8 ALL", "(5)(2 (1)(4)(3))"),
            ("REFERENCES UTF-8 2:5", "(5)((2 3)(4))"),
        ] {
            let lines = session.ok(&format!("THREAD {asked}")).await;
            assert_eq!(lines, [format!("* THREAD {answer}")], "{asked}");
        }
        session.ok("UID EXPUNGE 1").await;
        session.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
        session.ok("EXPUNGE").await;
        let lines = session.ok("UID THREAD REFERENCES UTF-8 ALL").await;
        assert_eq!(lines, ["* THREAD (5)((2 3)(4))"]);
    });
}

/// RFC 7162 §3.1.9.
#[test]
fn the_highest_modseq_follows_the_order_and_the_trees() {
    run(|rig| async move {
        deliver_talk(&rig).await;
        let mut session = rig.selected().await;
        session.ok("STORE 2 +FLAGS (\\Flagged)").await;
        let lines = session.ok("SORT (DATE) UTF-8 MODSEQ 1").await;
        let line = lines.last().expect("an answer");
        let modseq = line.strip_prefix("* SORT 5 2 1 4 3 (MODSEQ ");
        let modseq = modseq.unwrap_or_else(|| panic!("{lines:?}"));
        let lines = session.ok("THREAD REFERENCES UTF-8 MODSEQ 1").await;
        assert_eq!(
            lines,
            [format!("* THREAD (5)(1 (2 3)(4)) (MODSEQ {modseq}")]
        );
        let lines = session.ok("SORT RETURN (MIN) (DATE) UTF-8 MODSEQ 1").await;
        assert!(
            lines[0].starts_with("* ESEARCH (TAG \"t\") MIN 5 MODSEQ "),
            "{lines:?}"
        );
        assert!(
            !lines[0].ends_with(modseq.trim_end_matches(')')),
            "{lines:?}"
        );
    });
}

/// What the kept summary has no room for is in the header; of a damaged message nothing counts.
#[test]
fn summaries_that_do_not_say_enough_are_made_good() {
    run(|rig| async move {
        let people = "someone.with.a.long.name@example.net,\r\n ".repeat(2_000);
        let wide = format!(
            "To: {people}last@example.net\r\nSubject: middle\r\nMessage-ID: <w@x>\r\n\r\nbody\r\n"
        );
        assert!(!Summary::of(wide.as_bytes()).complete);
        rig.deliver("Subject: upper\r\nIn-Reply-To: <w@x>\r\n\r\nbody\r\n")
            .await;
        rig.deliver(&wide).await;
        rig.deliver("Subject: lower\r\n\r\nbody\r\n").await;
        let raw = b"Subject: broken\r\nX-Mark: spoiled-here\r\n\r\nbody\r\n";
        rig.deliver_with(raw, b"no summary".to_vec()).await;
        let mut session = rig.selected().await;
        let sorted = session.ok("SORT (SUBJECT) UTF-8 ALL").await;
        assert_eq!(sorted, ["* SORT 4 3 2 1"]);
        let threads = session.ok("THREAD REFERENCES UTF-8 1:3").await;
        assert_eq!(threads, ["* THREAD (2 1)(3)"]);
        rig.spoil(b"spoiled-here");
        let sorted = session.ok("SORT (REVERSE SUBJECT) UTF-8 ALL").await;
        assert_eq!(sorted, ["* SORT 1 2 3 4"], "an empty subject is the least");
    });
}

#[test]
fn a_fetch_may_be_for_a_part_of_its_set() {
    run(|rig| async move {
        rig.deliver_some(5).await;
        let mut session = rig.selected().await;
        for (asked, uids) in [
            ("1:* (UID) (PARTIAL 1:2)", &[1, 2][..]),
            ("1:* (UID) (PARTIAL -1:-2)", &[4, 5]),
            ("2,4,5 (UID) (PARTIAL 2:9)", &[4, 5]),
            ("1:* (UID) (PARTIAL 6:9)", &[]),
        ] {
            let lines = session.ok(&format!("UID FETCH {asked}")).await;
            let wanted = uids.iter().map(|uid| format!("* {uid} FETCH (UID {uid})"));
            assert!(lines.iter().cloned().eq(wanted), "{asked}: {lines:?}");
        }
        let line = session.refused("FETCH 1:* UID (PARTIAL 1:2)").await;
        assert!(line.starts_with("BAD "), "{line}");
    });
}

#[test]
fn ages_are_counted_from_now() {
    run(|rig| async move {
        let mut session = rig.selected().await;
        for date in ["\"01-Feb-1994 00:00:00 +0000\" ", ""] {
            let append = format!("APPEND INBOX {date}{{14+}}\r\nSubject: x\r\n\r\n");
            session.ok(&append).await;
        }
        for (key, found) in [
            ("YOUNGER 3600", " 2"),
            ("OLDER 3600", " 1"),
            ("NOT OLDER 3600", " 2"),
        ] {
            let lines = session.ok(&format!("SEARCH {key}")).await;
            assert_eq!(lines, [format!("* SEARCH{found}")], "{key}");
        }
    });
}

/// RFC 9585 §4.
#[test]
fn long_commands_are_reported_on() {
    run(|rig| async move {
        rig.deliver_some(3).await;
        let mut session = rig.eager().await;
        for (command, answer) in [
            ("SEARCH BODY body", "* SEARCH 1 2 3"),
            ("SORT (SUBJECT) UTF-8 ALL", "* SORT 1 2 3"),
            ("THREAD REFERENCES UTF-8 ALL", "* THREAD (1)(2)(3)"),
        ] {
            let mut lines = session.ok(command).await;
            assert_eq!(lines.pop().as_deref(), Some(answer));
            assert!(!lines.is_empty(), "{command}");
            for line in &lines {
                assert!(
                    line.starts_with("* OK [INPROGRESS (\"t\" "),
                    "{command}: {line}"
                );
            }
            let last = lines.last().expect("not empty");
            assert!(last.contains(" 3 3)] "), "{command}: {last}");
        }
        let mut session = rig.selected().await;
        let lines = session.ok("SORT (SUBJECT) UTF-8 ALL").await;
        assert_eq!(lines, ["* SORT 1 2 3"], "nothing of what is done at once");
    });
}
