//! CREATE (RFC 9051 §6.3.4).

use crate::rig::run;

#[test]
fn parents_are_made_too_and_a_name_is_made_once() {
    run(|rig| async move {
        let mut session = rig.session().await;
        session.ok("CREATE a/b").await;
        let lines = session.ok("LIST \"\" a*").await;
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            session
                .refused("CREATE a/b")
                .await
                .starts_with("NO [ALREADYEXISTS] ")
        );
        assert!(session.refused("CREATE inbox").await.starts_with("NO ["));
        session.ok("SELECT a/b").await;
    });
}
