//! IDLE (RFC 2177, RFC 9051 §6.3.13).

use crate::rig::run;

#[test]
fn changes_are_told_as_they_happen() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let (mut idle, mut other) = (rig.selected().await, rig.selected().await);
        idle.send("t IDLE\r\n").await;
        assert!(idle.line().await.starts_with("+ "));
        rig.deliver_some(1).await;
        assert_eq!(idle.line().await, "* 2 EXISTS");
        assert!(idle.line().await.ends_with(" RECENT"));
        other.ok("STORE 1 +FLAGS (\\Flagged)").await;
        let line = idle.line().await;
        assert!(
            line.starts_with("* 1 FETCH (") && line.contains("\\Flagged"),
            "{line}"
        );
        idle.send("DONE\r\n").await;
        assert_eq!(idle.answer().await, ["OK Idle completed"]);
    });
}

/// Virtual time: 31 minutes.
#[test]
fn a_client_that_idles_for_ever_is_logged_out() {
    run(|rig| async move {
        let mut session = rig.selected().await;
        session.send("t IDLE\r\n").await;
        assert!(session.line().await.starts_with("+ "));
        let began = rig.host.now();
        assert!(session.line().await.starts_with("* BYE "));
        let minutes = rig.host.now().since_us(began) / 60_000_000;
        assert_eq!(minutes, 31);
        assert!(session.is_over().await);
    });
}
