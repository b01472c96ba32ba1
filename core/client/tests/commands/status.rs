//! STATUS (RFC 9051 §6.3.11).

use crate::rig::run;

#[test]
fn every_count_that_is_asked_for() {
    run(|rig| async move {
        rig.deliver_some(3).await;
        let mut session = rig.selected().await;
        session.ok("STORE 1 +FLAGS.SILENT (\\Seen \\Deleted)").await;
        let lines = session
            .ok("STATUS INBOX (MESSAGES UIDNEXT UNSEEN DELETED)")
            .await;
        assert!(
            lines[0].ends_with(" (MESSAGES 3 UIDNEXT 4 UNSEEN 2 DELETED 1)"),
            "{lines:?}"
        );
        assert!(
            session
                .refused("STATUS none (MESSAGES)")
                .await
                .starts_with("NO [NONEXISTENT] ")
        );
    });
}
