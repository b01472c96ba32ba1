//! ENABLE (RFC 9051 §6.3.1), ID (RFC 2971) and NAMESPACE (RFC 9051 §6.3.10).

use crate::rig::run;

#[test]
fn imap4rev2_is_enabled_once_and_changes_what_select_tells() {
    run(|rig| async move {
        let mut session = rig.session().await;
        let before = session.ok("SELECT INBOX").await;
        assert!(before.iter().any(|line| line.ends_with(" RECENT")));
        assert_eq!(
            session.ok("ENABLE IMAP4rev2 NOTHING").await,
            ["* ENABLED IMAP4REV2"]
        );
        let after = session.ok("SELECT INBOX").await;
        assert!(after[0].starts_with("* OK [CLOSED]"), "{after:?}");
        assert!(
            after.iter().any(|line| line.starts_with("* LIST ")),
            "{after:?}"
        );
        assert!(
            !after.iter().any(|line| line.ends_with(" RECENT")),
            "{after:?}"
        );
    });
}

#[test]
fn namespaces_are_ones_own_other_peoples_and_shared() {
    run(|rig| async move {
        let mut session = rig.session().await;
        assert_eq!(
            session.ok("NAMESPACE").await,
            ["* NAMESPACE ((\"\" \"/\")) ((\"Other Users/\" \"/\")) ((\"Shared/\" \"/\"))"]
        );
    });
}

#[test]
fn id_is_answered_before_login_and_after() {
    run(|rig| async move {
        let mut session = rig.connect().await;
        let lines = session.ok("ID NIL").await;
        assert!(lines[0].starts_with("* ID "), "{lines:?}");
        session.ok("LOGIN alice secret").await;
        let again = session.ok("ID (\"name\" \"test\")").await;
        assert_eq!(again, lines);
    });
}
