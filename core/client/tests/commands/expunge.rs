//! EXPUNGE, CLOSE and UNSELECT (RFC 9051 §6.4.1 to §6.4.3, §6.4.9).

use crate::rig::run;

#[test]
fn what_is_deleted_goes_and_others_are_told() {
    run(|rig| async move {
        rig.deliver_some(4).await;
        let (mut one, mut other) = (rig.selected().await, rig.selected().await);
        one.ok("STORE 2,4 +FLAGS.SILENT (\\Deleted)").await;
        assert_eq!(one.ok("UID EXPUNGE 1:3").await, ["* 2 EXPUNGE"]);
        assert_eq!(one.ok("EXPUNGE").await, ["* 3 EXPUNGE"]);
        let lines = other.ok("NOOP").await;
        let told = lines
            .iter()
            .filter(|line| line.ends_with(" EXPUNGE"))
            .count();
        assert_eq!(told, 2, "{lines:?}");
        assert_eq!(other.ok("UID SEARCH ALL").await, ["* SEARCH 1 3"]);
    });
}

/// RFC 9051 §7.5.1.
#[test]
fn no_expunge_is_told_while_numbers_are_used() {
    run(|rig| async move {
        rig.deliver_some(2).await;
        let (mut one, mut other) = (rig.selected().await, rig.selected().await);
        one.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
        one.ok("EXPUNGE").await;
        for command in ["FETCH 2 UID", "STORE 2 +FLAGS (\\Seen)", "SEARCH ALL"] {
            let lines = other.ok(command).await;
            assert!(
                !lines.iter().any(|line| line.ends_with(" EXPUNGE")),
                "{lines:?}"
            );
        }
        assert!(
            other
                .ok("UID FETCH 2 UID")
                .await
                .contains(&"* 1 EXPUNGE".to_owned())
        );
    });
}

#[test]
fn close_expunges_in_silence_and_unselect_does_not() {
    run(|rig| async move {
        rig.deliver_some(2).await;
        let mut session = rig.selected().await;
        session.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
        assert!(session.ok("UNSELECT").await.is_empty());
        assert!(session.refused("EXPUNGE").await.starts_with("BAD "));
        session.ok("SELECT INBOX").await;
        assert!(session.ok("CLOSE").await.is_empty());
        let lines = session.ok("EXAMINE INBOX").await;
        assert!(lines.contains(&"* 1 EXISTS".to_owned()), "{lines:?}");
        session.ok("CLOSE").await;
    });
}
