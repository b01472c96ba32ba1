//! NOTIFY (RFC 5465): what is reported between commands, of mailboxes that are open and of others.

use crate::rig::{Rig, Session, run};

mod bounds;

const PLANS: &str = "\"Other Users/alice@example.org/Plans\"";

/// Nothing is waiting to be told: an empty command is answered at once.
async fn silent(session: &mut Session) {
    let lines = session.ok("CAPABILITY").await;
    let others: Vec<&String> = lines
        .iter()
        .filter(|line| !line.starts_with("* CAPABILITY"))
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

async fn append(session: &mut Session, mailbox: &str, subject: &str) {
    let raw = format!("Subject: {subject}\r\n\r\nx\r\n");
    let command = format!("APPEND {mailbox} {{{}+}}\r\n{raw}", raw.len());
    session.ok(&command).await;
}

/// The virtual clock goes on until what was begun has ended.
async fn rest(rig: &Rig) {
    let host = runtime::SessionHost::on(rig.host.clone());
    // A session looks once a second.
    host.sleep(std::time::Duration::from_millis(1_500)).await;
}

#[test]
fn a_delivery_is_told_between_commands() {
    run(|rig| async move {
        let mut watcher = rig.session().await;
        let lines = watcher
            .ok("NOTIFY SET STATUS (personal (MessageNew MessageExpunge))")
            .await;
        let inbox: Vec<&String> = lines.iter().filter(|line| line.contains("INBOX")).collect();
        assert!(
            inbox[0].starts_with("* STATUS \"INBOX\" (MESSAGES 0 UIDNEXT 1 UIDVALIDITY "),
            "{inbox:?}"
        );
        rig.deliver_some(1).await;
        let line = watcher.line().await;
        assert!(
            line.starts_with("* STATUS \"INBOX\" (MESSAGES 1 UIDNEXT 2 "),
            "{line}"
        );
        // In IDLE the same.
        watcher.send("t IDLE\r\n").await;
        assert!(watcher.line().await.starts_with("+ "));
        rig.deliver_some(1).await;
        let line = watcher.line().await;
        assert!(
            line.starts_with("* STATUS \"INBOX\" (MESSAGES 2 UIDNEXT 3 "),
            "{line}"
        );
        watcher.send("DONE\r\n").await;
        assert_eq!(watcher.answer().await, ["OK Idle completed"]);
        // Flags were not asked for.
        let mut other = rig.selected().await;
        other.ok("STORE 1 +FLAGS (\\Deleted)").await;
        rest(&rig).await;
        silent(&mut watcher).await;
        other.ok("EXPUNGE").await;
        let line = watcher.line().await;
        assert!(
            line.starts_with("* STATUS \"INBOX\" (MESSAGES 1 UIDNEXT 3 "),
            "{line}"
        );
        silent(&mut watcher).await;
    });
}

#[test]
fn the_open_mailbox_is_told_with_what_was_asked_of_new_messages() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let (mut watcher, mut other) = (rig.selected().await, rig.selected().await);
        let items = "UID BODY.PEEK[HEADER.FIELDS (SUBJECT)]";
        watcher
            .ok(&format!(
                "NOTIFY SET (selected (MessageNew ({items}) MessageExpunge FlagChange))"
            ))
            .await;
        rig.deliver("Subject: new\r\n\r\nx\r\n").await;
        assert_eq!(watcher.line().await, "* 2 EXISTS");
        assert!(watcher.line().await.ends_with(" RECENT"));
        let line = watcher.line().await;
        assert!(
            line.starts_with("* 2 FETCH (UID 2 BODY[HEADER.FIELDS (SUBJECT)] {"),
            "{line}"
        );
        assert_eq!(watcher.line().await, "Subject: new");
        assert_eq!(watcher.line().await, "");
        assert_eq!(watcher.line().await, ")");
        other.ok("STORE 1 +FLAGS (\\Deleted)").await;
        let line = watcher.line().await;
        assert!(
            line.starts_with("* 1 FETCH (UID 1 FLAGS (\\Deleted"),
            "{line}"
        );
        other.ok("EXPUNGE").await;
        assert_eq!(watcher.line().await, "* 1 EXPUNGE");
        // §5.2: its own message is counted, and not fetched.
        let lines = watcher
            .ok("APPEND INBOX {15+}\r\nSubject: x\r\n\r\n.")
            .await;
        assert_eq!(lines[0], "* 2 EXISTS");
        assert!(
            !lines.iter().any(|line| line.contains("FETCH")),
            "{lines:?}"
        );
        silent(&mut watcher).await;
        let lines = watcher.ok("UID COPY 2 INBOX").await;
        assert_eq!(lines[0], "* 3 EXISTS");
        assert!(
            !lines.iter().any(|line| line.contains("FETCH")),
            "{lines:?}"
        );
        silent(&mut watcher).await;
    });
}

#[test]
fn numbers_stay_between_commands_where_the_client_asked_for_that() {
    run(|rig| async move {
        rig.deliver_some(3).await;
        let (mut watcher, mut other) = (rig.selected().await, rig.selected().await);
        watcher
            .ok("NOTIFY SET (selected-delayed (MessageNew MessageExpunge))")
            .await;
        other.ok("STORE 1 +FLAGS (\\Deleted)").await;
        other.ok("EXPUNGE").await;
        rig.deliver_some(1).await;
        assert_eq!(watcher.line().await, "* 4 EXISTS");
        assert!(watcher.line().await.ends_with(" RECENT"));
        let lines = watcher.ok("FETCH 2 UID").await;
        assert_eq!(lines, ["* 2 FETCH (UID 2)"]);
        watcher.send("t IDLE\r\n").await;
        assert!(watcher.line().await.starts_with("+ "));
        assert_eq!(watcher.line().await, "* 1 EXPUNGE");
        watcher.send("DONE\r\n").await;
        watcher.answer().await;
        let lines = watcher.ok("FETCH 2 UID").await;
        assert_eq!(lines, ["* 2 FETCH (UID 3)"]);
    });
}

#[test]
fn flags_that_were_not_wanted_are_told_when_they_are() {
    run(|rig| async move {
        rig.deliver_some(2).await;
        let (mut watcher, mut other) = (rig.selected().await, rig.selected().await);
        watcher.ok("ENABLE QRESYNC").await;
        watcher
            .ok("NOTIFY SET (selected (MessageNew MessageExpunge))")
            .await;
        other.ok("STORE 1 +FLAGS (\\Flagged)").await;
        rest(&rig).await;
        rig.deliver_some(1).await;
        assert_eq!(watcher.line().await, "* 3 EXISTS");
        assert!(watcher.line().await.ends_with(" RECENT"));
        silent(&mut watcher).await;
        let lines = watcher
            .ok("NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))")
            .await;
        assert!(
            lines[0].starts_with("* 1 FETCH (UID 1 FLAGS (\\Flagged"),
            "{lines:?}"
        );
        // And of those that came meanwhile, whose flags may have changed since.
        assert!(
            !lines.iter().any(|line| line.contains("UID 2 ")),
            "{lines:?}"
        );
        other.ok("STORE 2 +FLAGS (\\Flagged)").await;
        let line = watcher.line().await;
        assert!(
            line.starts_with("* 2 FETCH (UID 2 FLAGS (\\Flagged"),
            "{line}"
        );
    });
}

#[test]
fn another_mailbox_is_told_of_while_one_is_open() {
    run(|rig| async move {
        let mut other = rig.session().await;
        other.ok("CREATE Lists/a").await;
        append(&mut other, "Lists/a", "one").await;
        rig.deliver_some(1).await;
        let mut watcher = rig.selected().await;
        watcher.ok("ENABLE CONDSTORE").await;
        watcher
            .ok(
                "NOTIFY SET (selected (MessageNew MessageExpunge FlagChange)) \
                 (subtree Lists (MessageNew MessageExpunge FlagChange))",
            )
            .await;
        other.ok("SELECT Lists/a").await;
        other.ok("STORE 1 +FLAGS (\\Seen \\Deleted)").await;
        let line = watcher.line().await;
        let begin = "* STATUS \"Lists/a\" (UIDVALIDITY ";
        assert!(
            line.starts_with(begin) && line.contains(" UNSEEN 0 HIGHESTMODSEQ "),
            "{line}"
        );
        other.ok("EXPUNGE").await;
        let line = watcher.line().await;
        let begin = "* STATUS \"Lists/a\" (MESSAGES 0 UIDNEXT 2 UIDVALIDITY ";
        assert!(
            line.starts_with(begin) && line.contains(" HIGHESTMODSEQ "),
            "{line}"
        );
        // The open one by its own responses, and by them alone.
        rig.deliver_some(1).await;
        assert_eq!(watcher.line().await, "* 2 EXISTS");
        assert!(watcher.line().await.ends_with(" RECENT"));
        silent(&mut watcher).await;
    });
}

#[test]
fn names_are_told_as_they_come_and_go() {
    run(|rig| async move {
        let (mut watcher, mut other) = (rig.session().await, rig.session().await);
        watcher
            .ok("NOTIFY SET (personal (MailboxName SubscriptionChange))")
            .await;
        other.ok("CREATE a").await;
        assert_eq!(watcher.line().await, "* LIST (\\HasNoChildren) \"/\" \"a\"");
        other.ok("CREATE a/b").await;
        assert_eq!(
            watcher.line().await,
            "* LIST (\\HasNoChildren) \"/\" \"a/b\""
        );
        other.ok("RENAME a c").await;
        assert_eq!(
            watcher.line().await,
            "* LIST (\\HasChildren) \"/\" \"c\" (\"OLDNAME\" (\"a\"))"
        );
        assert_eq!(
            watcher.line().await,
            "* LIST (\\HasNoChildren) \"/\" \"c/b\" (\"OLDNAME\" (\"a/b\"))"
        );
        other.ok("SUBSCRIBE c/b").await;
        assert_eq!(
            watcher.line().await,
            "* LIST (\\HasNoChildren \\Subscribed) \"/\" \"c/b\""
        );
        other.ok("DELETE c").await;
        assert_eq!(
            watcher.line().await,
            "* LIST (\\Noselect \\HasChildren) \"/\" \"c\""
        );
        other.ok("DELETE c/b").await;
        assert_eq!(
            watcher.line().await,
            "* LIST (\\NonExistent \\HasNoChildren \\Subscribed) \"/\" \"c/b\""
        );
        other.ok("UNSUBSCRIBE c/b").await;
        assert_eq!(
            watcher.line().await,
            "* LIST (\\NonExistent \\HasNoChildren) \"/\" \"c/b\""
        );
        other.ok("CREATE j (USE (\\Archive))").await;
        let line = watcher.line().await;
        assert!(line.contains("\\Archive"), "{line}");
        // §5: what it does itself is not told.
        watcher.ok("CREATE d/e").await;
        watcher.ok("RENAME d f/d").await;
        watcher.ok("SUBSCRIBE f/d").await;
        watcher.ok("UNSUBSCRIBE f/d").await;
        watcher.ok("DELETE f/d/e").await;
        rest(&rig).await;
        silent(&mut watcher).await;
    });
}

#[test]
fn inbox_that_is_renamed_is_another_one() {
    run(|rig| async move {
        rig.deliver_some(2).await;
        let (mut watcher, mut other) = (rig.session().await, rig.session().await);
        watcher
            .ok("NOTIFY SET (personal (MessageNew MessageExpunge MailboxName))")
            .await;
        other.ok("RENAME INBOX old").await;
        assert_eq!(
            watcher.line().await,
            "* LIST (\\HasNoChildren) \"/\" \"old\""
        );
        assert_eq!(
            watcher.line().await,
            "* LIST (\\HasNoChildren \\Subscribed) \"/\" \"INBOX\""
        );
        let mut lines = [watcher.line().await, watcher.line().await];
        lines.sort();
        assert!(
            lines[0].starts_with("* STATUS \"INBOX\" (MESSAGES 0 UIDNEXT 1 "),
            "{lines:?}"
        );
        assert!(
            lines[1].starts_with("* STATUS \"old\" (MESSAGES 2 UIDNEXT 3 "),
            "{lines:?}"
        );
        silent(&mut watcher).await;
    });
}

#[test]
fn the_groups_say_which_mailboxes_and_a_name_in_two_has_the_events_of_both() {
    run(|rig| async move {
        let (mut watcher, mut other) = (rig.session().await, rig.session().await);
        for name in ["Lists", "Lists/a", "Listsb", "one"] {
            other.ok(&format!("CREATE {name}")).await;
        }
        other.ok("SUBSCRIBE one").await;
        let events = "(MessageNew MessageExpunge)";
        watcher
            .ok(&format!(
                "NOTIFY SET (subtree Lists {events}) (mailboxes (Lists nope) (MailboxName)) (subscribed {events})"
            ))
            .await;
        append(&mut other, "Listsb", "x").await;
        append(&mut other, "Lists/a", "x").await;
        let line = watcher.line().await;
        assert!(
            line.starts_with("* STATUS \"Lists/a\" (MESSAGES 1 "),
            "{line}"
        );
        append(&mut other, "one", "x").await;
        let line = watcher.line().await;
        assert!(line.starts_with("* STATUS \"one\" (MESSAGES 1 "), "{line}");
        // §6.4: the list of subscriptions is looked at again.
        other.ok("UNSUBSCRIBE one").await;
        append(&mut other, "one", "x").await;
        other.ok("SUBSCRIBE Listsb").await;
        append(&mut other, "Listsb", "x").await;
        let line = watcher.line().await;
        assert!(
            line.starts_with("* STATUS \"Listsb\" (MESSAGES 2 "),
            "{line}"
        );
        other.ok("RENAME Lists/a Lists/b").await;
        other.ok("RENAME Lists more").await;
        let line = watcher.line().await;
        assert!(
            line.ends_with(" \"more\" (\"OLDNAME\" (\"Lists\"))"),
            "{line}"
        );
        rest(&rig).await;
        silent(&mut watcher).await;
    });
}

#[test]
fn annotations_are_told_by_their_names() {
    run(|rig| async move {
        let (mut watcher, mut other) = (rig.session().await, rig.session().await);
        watcher
            .ok("NOTIFY SET (personal (MailboxMetadataChange ServerMetadataChange))")
            .await;
        other.ok("SETMETADATA INBOX (/private/comment \"x\")").await;
        assert_eq!(
            watcher.line().await,
            "* METADATA \"INBOX\" /private/comment"
        );
        other.ok("SETMETADATA \"\" (/private/comment \"x\")").await;
        assert_eq!(watcher.line().await, "* METADATA \"\" /private/comment");
        other.ok("SETMETADATA INBOX (/private/comment NIL)").await;
        assert_eq!(
            watcher.line().await,
            "* METADATA \"INBOX\" /private/comment"
        );
    });
}

#[test]
fn nothing_is_told_unasked_after_none() {
    run(|rig| async move {
        rig.deliver_some(1).await;
        let (mut watcher, mut other) = (rig.selected().await, rig.selected().await);
        watcher
            .ok("NOTIFY SET (selected (MessageNew MessageExpunge FlagChange)) (personal (MailboxName))")
            .await;
        watcher.ok("NOTIFY NONE").await;
        rig.deliver_some(1).await;
        other.ok("STORE 1 +FLAGS (\\Flagged)").await;
        other.ok("CREATE a").await;
        rest(&rig).await;
        silent(&mut watcher).await;
        assert_eq!(rig.mailboxes.account_watches(), 0);
        watcher.send("t IDLE\r\n").await;
        assert!(watcher.line().await.starts_with("+ "));
        rig.deliver_some(1).await;
        rest(&rig).await;
        watcher.send("DONE\r\n").await;
        assert_eq!(watcher.answer().await, ["OK Idle completed"]);
        // One who polls is answered.
        let lines = watcher.ok("NOOP").await;
        assert_eq!(lines[0], "* 3 EXISTS");
        assert!(
            lines.iter().any(|line| line.contains("\\Flagged")),
            "{lines:?}"
        );
        // As before, an EXPUNGE is reported to who asked for it.
        watcher.ok("STORE 1 +FLAGS (\\Deleted)").await;
        assert_eq!(watcher.ok("EXPUNGE").await, ["* 1 EXPUNGE"]);
    });
}

#[test]
fn rights_decide_what_is_told_of_other_accounts() {
    run(|rig| async move {
        let mut alice = rig.session().await;
        let mut bob = rig.session_of("bob").await;
        alice.ok("CREATE Plans").await;
        alice.ok("CREATE Secret").await;
        let lines = bob
            .ok("NOTIFY SET (subtree \"Other Users/alice@example.org\" (MessageNew MessageExpunge MailboxName MailboxMetadataChange))")
            .await;
        assert!(lines.is_empty(), "{lines:?}");
        append(&mut alice, "Plans", "x").await;
        alice.ok("DELETE Secret").await;
        alice.ok("SETACL Plans bob@example.org lr").await;
        let plans = format!("* LIST (\\HasNoChildren) \"/\" {PLANS}");
        assert_eq!(bob.line().await, plans);
        append(&mut alice, "Plans", "x").await;
        let line = bob.line().await;
        assert!(
            line.starts_with(&format!("* STATUS {PLANS} (MESSAGES 2 ")),
            "{line}"
        );
        // What is private is the owner's.
        alice.ok("SETMETADATA Plans (/private/comment \"x\")").await;
        alice.ok("SETMETADATA Plans (/shared/comment \"x\")").await;
        assert_eq!(
            bob.line().await,
            format!("* METADATA {PLANS} /shared/comment")
        );
        alice.ok("SETACL Plans bob@example.org l").await;
        let no_access = format!("* LIST (\\NoAccess \\HasNoChildren) \"/\" {PLANS}");
        assert_eq!(bob.line().await, no_access);
        append(&mut alice, "Plans", "x").await;
        rest(&rig).await;
        silent(&mut bob).await;
        // §3.1: at the beginning too.
        let lines = bob
            .ok(&format!(
                "NOTIFY SET STATUS (mailboxes {PLANS} (MessageNew MessageExpunge MailboxName))"
            ))
            .await;
        assert_eq!(lines, [no_access]);
        alice.ok("DELETEACL Plans bob@example.org").await;
        let gone = format!("* LIST (\\NonExistent \\HasNoChildren \\NoAccess) \"/\" {PLANS}");
        assert_eq!(bob.line().await, gone);
        append(&mut alice, "Plans", "x").await;
        alice.ok("RENAME Plans Other").await;
        alice.ok("RENAME Other Plans").await;
        rest(&rig).await;
        silent(&mut bob).await;
        alice.ok("SETACL Plans anyone lr").await;
        assert_eq!(bob.line().await, plans);
        alice.ok("DELETE Plans").await;
        let gone = format!("* LIST (\\NonExistent \\HasNoChildren) \"/\" {PLANS}");
        assert_eq!(bob.line().await, gone);
    });
}

#[test]
fn a_name_that_a_folder_had_without_rights_is_not_told() {
    run(|rig| async move {
        let mut alice = rig.session().await;
        let mut bob = rig.session_of("bob").await;
        alice.ok("CREATE Plans").await;
        alice.ok("SETACL Plans bob@example.org lr").await;
        bob.ok("NOTIFY SET (subtree \"Other Users/alice@example.org\" (MessageNew MessageExpunge MailboxName))")
            .await;
        // Bob's session looks when all of it has happened.
        rig.busy.set(true);
        let change = async |folder: &str, change: &str| {
            let change = mail::RightsChange::parse(change).expect("rights");
            let mailboxes = &rig.mailboxes;
            let changed = mailboxes.change_access(rig.alice(), folder, "bob@example.org", change);
            changed.await.expect("it is changed");
        };
        let rename = async |from: &str, to: &str| {
            let renamed = rig.mailboxes.rename(rig.alice(), from, to);
            renamed.await.expect("it is renamed");
        };
        change("Plans", "-lr").await;
        rename("Plans", "Layoffs").await;
        let made = rig.mailboxes.create(rig.alice(), "Secret", None).await;
        made.expect("there is room");
        rename("Secret", "Open").await;
        change("Open", "lr").await;
        rig.busy.set(false);
        rest(&rig).await;
        let lines = bob.ok("NOOP").await;
        let gone = format!("* LIST (\\NonExistent \\HasNoChildren \\NoAccess) \"/\" {PLANS}");
        assert_eq!(lines[0], gone);
        let open = format!(
            "* LIST (\\HasNoChildren) \"/\" {}",
            PLANS.replace("Plans", "Open")
        );
        assert!(
            lines.len() > 1 && lines[1..].iter().all(|line| *line == open),
            "{lines:?}"
        );
        // What it may not read does not ring either.
        rig.asked.set(0);
        append(&mut alice, "Layoffs", "x").await;
        rest(&rig).await;
        let asked = rig.asked.get();
        append(&mut alice, "Open", "x").await;
        assert!(bob.line().await.contains("/Open\" (MESSAGES 1 "));
        assert!(rig.asked.get() > 2 * asked, "one look more");
    });
}

#[test]
fn a_name_of_another_account_that_is_subscribed_is_watched_from_then_on() {
    run(|rig| async move {
        let mut alice = rig.session().await;
        let (mut bob, mut again) = (rig.session_of("bob").await, rig.session_of("bob").await);
        alice.ok("CREATE Plans").await;
        alice.ok("SETACL Plans bob@example.org lr").await;
        bob.ok("NOTIFY SET (subscribed (MessageNew MessageExpunge SubscriptionChange))")
            .await;
        append(&mut alice, "Plans", "x").await;
        again.ok(&format!("SUBSCRIBE {PLANS}")).await;
        let listed = format!("* LIST (\\HasNoChildren \\Subscribed) \"/\" {PLANS}");
        assert_eq!(bob.line().await, listed);
        rest(&rig).await;
        append(&mut alice, "Plans", "x").await;
        let line = bob.line().await;
        assert!(
            line.starts_with(&format!("* STATUS {PLANS} (MESSAGES 2 ")),
            "{line}"
        );
    });
}

#[test]
fn what_the_client_subscribes_to_itself_is_watched_too() {
    run(|rig| async move {
        let mut alice = rig.session().await;
        let mut bob = rig.session_of("bob").await;
        alice.ok("CREATE Plans").await;
        alice.ok("SETACL Plans bob@example.org lr").await;
        bob.ok("NOTIFY SET (subscribed (MessageNew MessageExpunge SubscriptionChange))")
            .await;
        bob.ok(&format!("SUBSCRIBE {PLANS}")).await;
        rest(&rig).await;
        silent(&mut bob).await;
        assert_eq!(rig.mailboxes.account_watches(), 2);
        append(&mut alice, "Plans", "x").await;
        let line = bob.line().await;
        assert!(
            line.starts_with(&format!("* STATUS {PLANS} (MESSAGES 1 ")),
            "{line}"
        );
    });
}
