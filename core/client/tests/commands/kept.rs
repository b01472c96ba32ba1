//! Mail that POP3 clients delete and that a rule keeps.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use storage::kept::{Counters, Rule, Rules, expire};

use crate::rig::{Rig, Session, run};

/// As the rig's server keeps mail.
pub fn rules() -> Rules {
    Rules {
        folder: "Kept".to_owned(),
        days: 30,
        accounts: vec![Rule {
            of: "bob@example.org".to_owned(),
            days: 0,
        }],
        domains: Vec::new(),
    }
}

const DAY_S: u64 = 86_400;

/// Deletes all of Alice's INBOX.
async fn delete_all(rig: &Rig, count: usize) -> String {
    let mut session = rig.keeping_maildrop("alice").await;
    for number in 1..=count {
        session.pop(&format!("DELE {number}")).await;
    }
    session.pop("QUIT").await
}

async fn flags(session: &mut Session, mailbox: &str) -> Vec<String> {
    session.ok(&format!("EXAMINE {mailbox}")).await;
    session.ok("FETCH 1:* (FLAGS)").await
}

/// What goes from the rig's folders `days` after now.
async fn expired(rig: &Rig, rules: &Rules, days: u64) -> u64 {
    let counters = Arc::new(Counters::default());
    let now = rig.host.unix_seconds().max(0) as u64 + days * DAY_S;
    let last = expire(&rig.mailboxes, rules, None, now, &counters).await;
    assert_eq!(last, Ok(None));
    counters.expired.load(Relaxed)
}

#[test]
fn what_pop3_deletes_is_in_the_folder_until_its_time_is_over() {
    run(|rig| async move {
        rig.deliver_some(2).await;
        assert_eq!(delete_all(&rig, 2).await, "+OK Logging out");
        let mut session = rig.keeping_maildrop("alice").await;
        assert!(session.pop("STAT").await.starts_with("+OK 0 "));
        let mut imap = rig.session().await;
        // A person's own mail in that folder is none of the rule's.
        imap.ok("APPEND Kept {3+}\r\na\r\n").await;
        let lines = flags(&mut imap, "Kept").await;
        assert_eq!(lines.len(), 3, "{lines:?}");
        let marked = |line: &&String| line.contains("$Pop3Deleted");
        assert_eq!(lines.iter().filter(marked).count(), 2, "{lines:?}");
        assert_eq!(imap.ok("FETCH 2 BODY.PEEK[TEXT]").await[1], "body 2");
        assert_eq!(expired(&rig, &rules(), 29).await, 0);
        // No rule is about the account any more: nothing goes.
        let none = Rules { days: 0, ..rules() };
        assert_eq!(expired(&rig, &none, 400).await, 0);
        assert_eq!(expired(&rig, &rules(), 31).await, 2);
        let left = flags(&mut imap, "Kept").await;
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(expired(&rig, &rules(), 400).await, 0);
    });
}

#[test]
fn an_account_with_a_rule_of_its_own_keeps_nothing() {
    run(|rig| async move {
        let mut bob = rig.session_of("bob").await;
        bob.ok("APPEND INBOX {3+}\r\na\r\n").await;
        let mut session = rig.keeping_maildrop("bob").await;
        session.pop("DELE 1").await;
        assert_eq!(session.pop("QUIT").await, "+OK Logging out");
        let refused = bob.refused("SELECT Kept").await;
        assert!(refused.starts_with("NO "), "{refused}");
        assert_eq!(
            bob.ok("STATUS INBOX (MESSAGES)").await,
            ["* STATUS \"INBOX\" (MESSAGES 0)"]
        );
    });
}

/// The clock was wrong when it was moved or when it arrived, and nothing says which.
#[test]
fn what_arrived_long_after_it_was_moved_stays() {
    run(|rig| async move {
        let mut imap = rig.session().await;
        imap.ok("APPEND INBOX \" 1-Jan-2090 00:00:00 +0000\" {3+}\r\na\r\n")
            .await;
        assert_eq!(delete_all(&rig, 1).await, "+OK Logging out");
        assert_eq!(expired(&rig, &rules(), 400).await, 0);
        assert_eq!(flags(&mut imap, "Kept").await.len(), 1);
    });
}

/// A move brings nothing new: who is over quota can still empty INBOX.
#[test]
fn quota_stops_no_deletion_and_what_is_kept_counts() {
    run(|rig| async move {
        rig.deliver_some(3).await;
        let used = async || rig.mailboxes.usage(rig.alice()).await.expect("it is read");
        let before = used().await;
        let set = rig.mailboxes.set_quota(rig.alice(), 1).await;
        set.expect("a quota");
        assert_eq!(delete_all(&rig, 3).await, "+OK Logging out");
        assert_eq!(used().await.used_bytes, before.used_bytes);
        assert_eq!(expired(&rig, &rules(), 31).await, 3);
        assert_eq!(used().await.used_bytes, 0);
    });
}

/// A message that can take no mark is kept all the same, and longer rather than shorter. The others of that QUIT have theirs.
#[test]
fn a_message_full_of_keywords_is_kept_without_the_mark() {
    run(|rig| async move {
        rig.deliver_some(3).await;
        let mut imap = rig.selected().await;
        let words: Vec<String> = (0..64).map(|number| format!("k{number}")).collect();
        imap.ok(&format!("STORE 2 +FLAGS ({})", words.join(" ")))
            .await;
        assert_eq!(delete_all(&rig, 3).await, "+OK Logging out");
        assert_eq!(expired(&rig, &rules(), 400).await, 2);
        let left = flags(&mut imap, "Kept").await;
        assert!(left.len() == 1 && left[0].contains("k63"), "{left:?}");
    });
}

/// The mark is about where a rule put a message: it does not go along with what a person does with the message then.
#[test]
fn what_a_person_takes_out_and_puts_back_or_copies_stays() {
    run(|rig| async move {
        rig.deliver_some(3).await;
        assert_eq!(delete_all(&rig, 3).await, "+OK Logging out");
        let mut imap = rig.session().await;
        imap.ok("SELECT Kept").await;
        imap.ok("MOVE 1 INBOX").await;
        imap.ok("COPY 1 Kept").await;
        imap.ok("COPY 2 INBOX").await;
        let back = flags(&mut imap, "INBOX").await;
        assert_eq!(back.len(), 2);
        assert!(!back.join(" ").contains("$Pop3Deleted"), "{back:?}");
        // An archive may have the name of the folder.
        imap.ok("SELECT INBOX").await;
        imap.ok("MOVE 1:2 Kept").await;
        assert_eq!(expired(&rig, &rules(), 400).await, 2);
        assert_eq!(flags(&mut imap, "Kept").await.len(), 3);
    });
}

/// Another session renamed INBOX meanwhile: its messages are in another mailbox and stay there.
#[test]
fn a_renamed_inbox_loses_nothing() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let mut session = rig.keeping_maildrop("alice").await;
        session.pop("DELE 1").await;
        let mut imap = rig.session().await;
        imap.ok("RENAME INBOX Old").await;
        let answer = session.pop("QUIT").await;
        assert_eq!(answer, "-ERR [SYS/TEMP] Some deleted messages not removed");
        assert_eq!(flags(&mut imap, "Old").await.len(), 1);
    });
}
