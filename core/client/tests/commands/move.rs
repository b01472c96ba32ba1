//! MOVE (RFC 9051 §6.4.8, RFC 6851).

use crate::rig::run;

#[test]
fn copyuid_comes_before_the_expunges() {
    run(|rig| async move {
        rig.deliver_some(3).await;
        let mut session = rig.selected().await;
        session.ok("CREATE kept").await;
        let lines = session.ok("MOVE 1:2 kept").await;
        assert!(
            lines[0].starts_with("* OK [COPYUID ") && lines[0].contains(" 1:2 1:2] "),
            "{lines:?}"
        );
        assert_eq!(lines[1..], ["* 1 EXPUNGE", "* 1 EXPUNGE"]);
        let status = session.ok("STATUS kept (MESSAGES)").await;
        assert!(status[0].contains("MESSAGES 2"), "{status:?}");
        assert_eq!(session.ok("UID SEARCH ALL").await, ["* SEARCH 3"]);
    });
}

#[test]
fn a_move_without_a_target_moves_nothing() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let mut session = rig.selected().await;
        assert!(
            session
                .refused("MOVE 1 none")
                .await
                .starts_with("NO [TRYCREATE] ")
        );
        assert_eq!(session.ok("SEARCH ALL").await, ["* SEARCH 1"]);
    });
}
