//! What NOTIFY may cost, and how it ends.

use super::{rest, silent};
use crate::rig::run;

#[test]
fn too_much_is_said_and_ends_it() {
    run(|rig| async move {
        let (mut watcher, mut other) = (rig.session().await, rig.session().await);
        watcher.ok("NOTIFY SET (personal (MailboxName))").await;
        let alice = rig.alice();
        rig.busy.set(true);
        for number in 0..200 {
            let name = format!("folder {number:0>60}");
            let made = rig.mailboxes.create(alice, &name, None);
            made.await.expect("there is room");
        }
        rig.busy.set(false);
        let line = watcher.line().await;
        assert!(line.starts_with("* OK [NOTIFICATIONOVERFLOW] "), "{line}");
        other.ok("CREATE a").await;
        rest(&rig).await;
        silent(&mut watcher).await;
        assert_eq!(rig.mailboxes.account_watches(), 0);
        watcher.ok("NOTIFY SET (personal (MailboxName))").await;
        other.ok("CREATE b").await;
        assert_eq!(watcher.line().await, "* LIST (\\HasNoChildren) \"/\" \"b\"");
    });
}

#[test]
fn what_cannot_be_looked_at_now_is_told_later() {
    run(|rig| async move {
        let mut watcher = rig.session().await;
        watcher
            .ok("NOTIFY SET (personal (MessageNew MessageExpunge MailboxName))")
            .await;
        rig.busy.set(true);
        rig.deliver_some(1).await;
        rest(&rig).await;
        let made = rig.mailboxes.create(rig.alice(), "a", None);
        made.await.expect("there is room");
        rest(&rig).await;
        rig.busy.set(false);
        assert_eq!(watcher.line().await, "* LIST (\\HasNoChildren) \"/\" \"a\"");
        let line = watcher.line().await;
        assert!(
            line.starts_with("* STATUS \"INBOX\" (MESSAGES 1 "),
            "{line}"
        );
    });
}

#[test]
fn a_watch_ends_with_its_session() {
    run(|rig| async move {
        let asked = "NOTIFY SET (personal (MessageNew MessageExpunge)) (subtree \"Other Users/bob@example.org\" (MailboxName))";
        rig.session_of("bob").await;
        let mut one = rig.session().await;
        one.ok(asked).await;
        assert_eq!(rig.mailboxes.account_watches(), 2);
        one.ok(asked).await;
        rest(&rig).await;
        assert_eq!(rig.mailboxes.account_watches(), 2);
        {
            // One that is cut off.
            let mut two = rig.session().await;
            two.ok(asked).await;
            assert_eq!(rig.mailboxes.account_watches(), 4);
        }
        rest(&rig).await;
        assert_eq!(rig.mailboxes.account_watches(), 2);
        one.ok("UNAUTHENTICATE").await;
        rest(&rig).await;
        assert_eq!(rig.mailboxes.account_watches(), 0);
        one.ok("LOGIN alice secret").await;
        one.ok(asked).await;
        one.ok("LOGOUT").await;
        rest(&rig).await;
        assert_eq!(rig.mailboxes.account_watches(), 0);
    });
}

#[test]
fn what_notify_asks_for_is_bounded() {
    run(|rig| async move {
        let mut session = rig.session().await;
        for number in 0..33 {
            rig.session_of(&format!("user{number}")).await;
        }
        let names = |count: usize| {
            let one = |number| format!(" \"Other Users/user{number}@example.org/INBOX\"");
            (0..count).map(one).collect::<String>()
        };
        let asked = |count| {
            format!(
                "NOTIFY SET (mailboxes ({}) (MailboxName))",
                names(count).trim()
            )
        };
        session.ok(&asked(32)).await;
        let refused = session.refused(&asked(33)).await;
        assert!(
            refused.starts_with("NO [NOTIFICATIONOVERFLOW] "),
            "{refused}"
        );
        // What was set before goes on.
        rest(&rig).await;
        assert_eq!(rig.mailboxes.account_watches(), 33);
    });
}

#[test]
fn a_command_that_is_under_way_is_not_interrupted() {
    run(|rig| async move {
        let mut watcher = rig.session().await;
        watcher
            .ok("NOTIFY SET (personal (MessageNew MessageExpunge))")
            .await;
        watcher.send("t CREATE {3}\r\n").await;
        assert!(watcher.line().await.starts_with("+ "));
        rig.deliver_some(1).await;
        rest(&rig).await;
        watcher.send("a/b\r\n").await;
        assert!(watcher.line().await.starts_with("t OK "));
        let line = watcher.line().await;
        assert!(
            line.starts_with("* STATUS \"INBOX\" (MESSAGES 1 "),
            "{line}"
        );
    });
}

#[test]
fn what_is_kept_for_an_account_is_a_share_of_its_own() {
    run(|rig| async move {
        let asked = "NOTIFY SET (personal (MessageNew MessageExpunge))";
        let mut sessions = Vec::new();
        let refused = loop {
            // until the share is spent
            let mut session = rig.session().await;
            let answer = session.ask(asked).await.pop().expect("an answer");
            sessions.push(session);
            assert!(sessions.len() < 200, "some 140 have room");
            if !answer.starts_with("OK ") {
                break answer;
            }
        };
        assert!(
            refused.starts_with("NO [NOTIFICATIONOVERFLOW] "),
            "{refused}"
        );
        rig.session_of("bob").await.ok(asked).await;
        sessions.remove(0);
        rest(&rig).await;
        let last = sessions.last_mut().expect("the one that was refused");
        last.ok(asked).await;
    });
}

#[test]
fn many_changes_are_looked_at_together() {
    run(|rig| async move {
        let mut watcher = rig.session().await;
        watcher
            .ok("NOTIFY SET (personal (MessageNew MessageExpunge))")
            .await;
        rest(&rig).await;
        rig.asked.set(0);
        for _ in 0..50 {
            rig.deliver_some(1).await;
            let host = runtime::SessionHost::on(rig.host.clone());
            host.sleep(std::time::Duration::from_millis(10)).await;
        }
        rest(&rig).await;
        let lines = watcher.ok("NOOP").await;
        let last = lines.last().expect("a line");
        assert!(
            last.starts_with("* STATUS \"INBOX\" (MESSAGES 50 "),
            "{last}"
        );
        assert!(rig.asked.get() < 6, "{} trips", rig.asked.get());
    });
}

#[test]
fn each_of_many_mailboxes_is_told_of_once_at_the_beginning() {
    run(|rig| async move {
        for number in 0..600 {
            let name = format!("f{number:03}");
            let made = rig.mailboxes.create(rig.alice(), &name, None);
            made.await.expect("there is room");
        }
        let mut watcher = rig.session().await;
        let lines = watcher
            .ok("NOTIFY SET STATUS (personal (MessageNew MessageExpunge))")
            .await;
        for number in 0..600 {
            let begin = format!("* STATUS \"f{number:03}\" (MESSAGES 0 ");
            let told = lines.iter().filter(|line| line.starts_with(&begin));
            assert_eq!(told.count(), 1, "{begin}");
        }
    });
}

#[test]
fn what_was_not_looked_at_yet_is_told_before_another_notify() {
    run(|rig| async move {
        let mut watcher = rig.session().await;
        watcher.ok("NOTIFY SET (personal (MailboxName))").await;
        let make = async |name: &str| {
            let made = rig.mailboxes.create(rig.alice(), name, None).await;
            made.expect("there is room");
        };
        make("a").await;
        assert_eq!(watcher.line().await, "* LIST (\\HasNoChildren) \"/\" \"a\"");
        make("b").await;
        let lines = watcher.ok("NOTIFY SET (personal (MailboxName))").await;
        assert_eq!(lines, ["* LIST (\\HasNoChildren) \"/\" \"b\""]);
    });
}

#[test]
fn a_watch_that_could_not_be_ended_ends_with_the_next_change() {
    run(|rig| async move {
        let mut session = rig.session().await;
        session
            .ok("NOTIFY SET (personal (MessageNew MessageExpunge))")
            .await;
        rig.busy.set(true);
        drop(session);
        // Longer than it is tried.
        let host = runtime::SessionHost::on(rig.host.clone());
        host.sleep(std::time::Duration::from_secs(20)).await;
        rig.busy.set(false);
        rest(&rig).await;
        assert_eq!(rig.mailboxes.account_watches(), 1);
        rig.deliver_some(1).await;
        assert_eq!(rig.mailboxes.account_watches(), 0);
    });
}
