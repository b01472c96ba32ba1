//! RENAME (RFC 9051 §6.3.6).

use crate::rig::run;

#[test]
fn what_is_below_goes_along() {
    run(|rig| async move {
        let mut session = rig.session().await;
        session.ok("CREATE a/b").await;
        session.ok("RENAME a c").await;
        session.ok("SELECT c/b").await;
        assert!(
            session
                .refused("SELECT a/b")
                .await
                .starts_with("NO [NONEXISTENT] ")
        );
        session.ok("CREATE d").await;
        assert!(
            session
                .refused("RENAME d c")
                .await
                .starts_with("NO [ALREADYEXISTS] ")
        );
    });
}

#[test]
fn inbox_gives_its_messages_away_and_is_there_again() {
    run(|rig| async move {
        rig.deliver_some(2).await;
        let mut session = rig.selected().await;
        let lines = session.ok("RENAME INBOX old").await;
        assert!(lines.contains(&"* 1 EXPUNGE".to_owned()), "{lines:?}");
        assert!(session.ok("STATUS old (MESSAGES)").await[0].contains("MESSAGES 2"));
        rig.deliver_some(1).await;
        let lines = session.ok("SELECT INBOX").await;
        assert!(lines.contains(&"* 1 EXISTS".to_owned()), "{lines:?}");
    });
}
