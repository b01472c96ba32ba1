//! STORE (RFC 9051 §6.4.6).

use crate::rig::run;

#[test]
fn flags_are_added_removed_and_replaced() {
    run(|rig| async move {
        rig.deliver_some(2).await;
        let mut session = rig.selected().await;
        for (change, flags) in [
            ("+FLAGS (\\Flagged \\Seen)", "\\Flagged \\Seen"),
            ("-FLAGS (\\Seen)", "\\Flagged"),
            ("FLAGS (\\Draft)", "\\Draft"),
        ] {
            let lines = session.ok(&format!("STORE 2 {change}")).await;
            assert_eq!(
                lines,
                [format!("* 2 FETCH (UID 2 FLAGS ({flags} \\Recent))")]
            );
        }
    });
}

#[test]
fn a_silent_store_is_told_to_others_only() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let (mut one, mut other) = (rig.selected().await, rig.selected().await);
        assert!(
            one.ok("UID STORE 1 +FLAGS.SILENT (\\Answered)")
                .await
                .is_empty()
        );
        assert!(one.ok("NOOP").await.is_empty());
        assert_eq!(
            other.ok("NOOP").await,
            ["* 1 FETCH (UID 1 FLAGS (\\Answered))"]
        );
    });
}

#[test]
fn a_new_keyword_is_shown_before_it_is_used() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let mut session = rig.selected().await;
        let lines = session.ok("STORE 1 +FLAGS ($Work)").await;
        let at = |begin: &str| lines.iter().position(|line| line.starts_with(begin));
        assert!(
            at("* FLAGS (").expect("shown") < at("* 1 FETCH").expect("told"),
            "{lines:?}"
        );
    });
}
