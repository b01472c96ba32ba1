//! UIDBATCHES (RFC 10022).

use crate::rig::run;

#[test]
fn a_mailbox_is_cut_into_ranges_of_uids() {
    run(|rig| async move {
        let mut session = rig.selected().await;
        assert_eq!(
            session.ok("UIDBATCHES 500").await,
            ["* UIDBATCHES (TAG \"t\")"]
        );
        // 3, then doubled by copies of all of them.
        rig.deliver_some(3).await;
        session.ok("NOOP").await;
        assert_eq!(
            session.ok("UIDBATCHES 500").await,
            ["* UIDBATCHES (TAG \"t\") 3:1"]
        );
        for _ in 0..9 {
            session.ok("UID COPY 1:* INBOX").await;
        }
        assert_eq!(
            session.ok("UIDBATCHES 500").await,
            ["* UIDBATCHES (TAG \"t\") 1536:1037,1036:537,536:37,36:1"]
        );
        assert_eq!(
            session.ok("UIDBATCHES 500 2:3").await,
            ["* UIDBATCHES (TAG \"t\") 1036:537,536:37"]
        );
        assert_eq!(
            session.ok("UIDBATCHES 500 5:4000000000").await,
            ["* UIDBATCHES (TAG \"t\")"]
        );
        // Each has as many messages as were asked for, whatever UIDs are missing.
        session
            .ok("UID STORE 1000:1500 +FLAGS.SILENT (\\Deleted)")
            .await;
        session.ok("EXPUNGE").await;
        assert_eq!(
            session.ok("UIDBATCHES 500").await,
            ["* UIDBATCHES (TAG \"t\") 1536:536,535:36,35:1"]
        );
        assert_eq!(
            session.ok("UID SEARCH RETURN (COUNT) UID 1536:536").await,
            ["* ESEARCH (TAG \"t\") UID COUNT 500"]
        );
    });
}

#[test]
fn small_batches_are_refused_and_the_saved_result_stays() {
    run(|rig| async move {
        rig.deliver_some(4).await;
        let mut session = rig.selected().await;
        session.ok("UID SEARCH RETURN (SAVE) UID 2:3").await;
        assert_eq!(
            session.refused("UIDBATCHES 499").await,
            "NO [TOOFEW] A batch must have at least 500 messages"
        );
        session.ok("UIDBATCHES 500").await;
        assert_eq!(
            session.ok("UID FETCH $ UID").await,
            ["* 2 FETCH (UID 2)", "* 3 FETCH (UID 3)"]
        );
    });
}
