//! QUOTA (RFC 9208).

use mail::Address;

use crate::rig::{Rig, run};

/// Alice may have so many bytes.
async fn limited(rig: &Rig, bytes: u64) {
    let address = Address::from_parts("alice", "example.org").expect("an address");
    let account = rig.mailboxes.account(&address).await;
    let account = account.expect("it is read").expect("she is there").id;
    let set = rig.mailboxes.set_quota(account, bytes).await;
    set.expect("a quota");
}

#[test]
fn the_one_root_shows_what_is_used_and_the_limit() {
    run(|rig| async move {
        let mut session = rig.session().await;
        let none = session.ok("GETQUOTAROOT INBOX").await;
        assert_eq!(none, ["* QUOTAROOT \"INBOX\" \"\"", "* QUOTA \"\" ()"]);
        limited(&rig, 100 * 1_024).await;
        rig.deliver(&format!("Subject: x\r\n\r\n{}", "x".repeat(2_000)))
            .await;
        let quota = "* QUOTA \"\" (STORAGE 2 100)";
        assert_eq!(session.ok("GETQUOTA \"\"").await, [quota]);
        let lines = session.ok("GETQUOTAROOT \"not there yet\"").await;
        assert_eq!(lines, ["* QUOTAROOT \"not there yet\" \"\"", quota]);
        let refused = session.refused("GETQUOTA other").await;
        assert!(refused.starts_with("NO [NONEXISTENT] "), "{refused}");
        let refused = session.refused("SETQUOTA \"\" (STORAGE 500)").await;
        assert!(refused.starts_with("NO [NOPERM] "), "{refused}");
        assert_eq!(session.ok("GETQUOTA \"\"").await, [quota]);
    });
}

#[test]
fn what_does_not_fit_is_over_quota() {
    run(|rig| async move {
        limited(&rig, 3_000).await;
        let mut session = rig.selected().await;
        let raw = format!("Subject: x\r\n\r\n{}", "x".repeat(2_000));
        let append = format!("APPEND INBOX {{{}+}}\r\n{raw}", raw.len());
        session.ok(&append).await;
        for command in [&append[..], "COPY 1 Archive"] {
            let refused = session.refused(command).await;
            assert!(refused.starts_with("NO [OVERQUOTA] "), "{refused}");
        }
        session.ok("MOVE 1 Archive").await;
    });
}

#[test]
fn deleted_storage_is_what_expunge_gives_back() {
    run(|rig| async move {
        rig.deliver_some(3).await;
        let mut session = rig.selected().await;
        let status = |deleted: usize| format!("* STATUS \"INBOX\" (DELETED-STORAGE {deleted})");
        let none = session.ok("STATUS INBOX (DELETED-STORAGE)").await;
        assert_eq!(none, [status(0)]);
        session.ok("STORE 1,3 +FLAGS.SILENT (\\Deleted)").await;
        let one = "Subject: 1\r\nFrom: b@example.net\r\n\r\nbody 1\r\n".len();
        let some = session.ok("STATUS INBOX (DELETED-STORAGE)").await;
        assert_eq!(some, [status(2 * one)]);
    });
}
