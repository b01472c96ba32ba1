//! DELETE (RFC 9051 §6.3.5).

use crate::rig::run;

#[test]
fn a_session_in_it_is_told_bye_and_the_name_is_free() {
    run(|rig| async move {
        let (mut one, mut other) = (rig.session().await, rig.session().await);
        one.ok("CREATE a").await;
        other.ok("SELECT a").await;
        one.ok("DELETE a").await;
        other.send("t NOOP\r\n").await;
        let mut last = String::new();
        while !last.starts_with("* BYE") {
            last = other.line().await;
        }
        assert!(other.is_over().await);
        assert!(
            one.refused("SELECT a")
                .await
                .starts_with("NO [NONEXISTENT] ")
        );
        assert!(
            one.refused("DELETE a")
                .await
                .starts_with("NO [NONEXISTENT] ")
        );
        one.ok("CREATE a").await;
    });
}

#[test]
fn inbox_stays() {
    run(|rig| async move {
        let mut session = rig.session().await;
        assert!(session.refused("DELETE INBOX").await.starts_with("NO ["));
    });
}
