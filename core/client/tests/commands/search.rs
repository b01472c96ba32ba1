//! SEARCH (RFC 9051 §6.4.4).

use crate::rig::run;

#[test]
fn rows_summaries_and_bodies_are_looked_through() {
    run(|rig| async move {
        rig.deliver_some(3).await;
        let mut session = rig.selected().await;
        session.ok("STORE 2 +FLAGS.SILENT (\\Flagged)").await;
        for (keys, found) in [
            ("FLAGGED", " 2"),
            ("NOT FLAGGED", " 1 3"),
            ("SUBJECT 3", " 3"),
            ("FROM b@example", " 1 2 3"),
            ("BODY \"body 1\"", " 1"),
            ("OR (FLAGGED) (BODY \"body 3\")", " 2 3"),
            ("TEXT nowhere", ""),
        ] {
            let lines = session.ok(&format!("SEARCH {keys}")).await;
            assert_eq!(lines, [format!("* SEARCH{found}")], "{keys}");
        }
    });
}

#[test]
fn a_saved_result_is_used_by_the_next_command() {
    run(|rig| async move {
        rig.deliver_some(3).await;
        let mut session = rig.selected().await;
        let lines = session.ok("UID SEARCH RETURN (SAVE COUNT) UID 2:3").await;
        assert!(
            lines[0].starts_with("* ESEARCH ") && lines[0].ends_with("COUNT 2"),
            "{lines:?}"
        );
        let lines = session.ok("FETCH $ UID").await;
        assert_eq!(lines, ["* 2 FETCH (UID 2)", "* 3 FETCH (UID 3)"]);
    });
}
