//! SUBSCRIBE and UNSUBSCRIBE (RFC 9051 §6.3.7, §6.3.8).

use crate::rig::run;

#[test]
fn a_subscription_outlives_its_mailbox_and_needs_one_to_begin() {
    run(|rig| async move {
        let mut session = rig.session().await;
        assert!(
            session
                .refused("SUBSCRIBE none")
                .await
                .starts_with("NO [NONEXISTENT] ")
        );
        session.ok("CREATE a").await;
        session.ok("SUBSCRIBE a").await;
        session.ok("DELETE a").await;
        let lines = session.ok("LSUB \"\" a*").await;
        assert!(
            lines[0].ends_with("a") || lines[0].ends_with("\"a\""),
            "{lines:?}"
        );
        session.ok("UNSUBSCRIBE a").await;
        assert!(session.ok("LSUB \"\" a*").await.is_empty());
    });
}
