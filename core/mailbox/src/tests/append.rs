//! Several messages in one step, and one in the place of another (RFC 3502, RFC 8508).

use super::*;
use crate::Appending;

fn appending(number: u64) -> Appending {
    Appending {
        body: body(number),
        internal_date: InternalDate::utc(number as i64),
        flags: Flags::default(),
    }
}

async fn names(mailboxes: &Mailboxes, mailbox: MailboxId) -> Vec<(Uid, base::BodyName)> {
    let view = mailboxes.view(mailbox).await.unwrap();
    let messages = view.messages.iter();
    messages
        .map(|message| (message.uid, message.body.name))
        .collect()
}

#[test]
fn several_messages_are_there_with_all_of_them_or_with_none() {
    let rig = Rig::new(31);
    let before = rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let three = (1..=3).map(appending).collect();
        let placed = mailboxes.append(ada, "INBOX", three, None).await.unwrap();
        assert_eq!((placed.mailbox, placed.uid), (inbox, Uid(1)));
        let expected: Vec<_> = (1..=3).map(|n| (Uid(n), body(u64::from(n)).name)).collect();
        assert_eq!(names(&mailboxes, inbox).await, expected);
        // Room for two of three: none is placed.
        let used = mailboxes.usage(ada).await.unwrap().used_bytes;
        let two = body(4).raw.len() as u64 + body(5).raw.len() as u64;
        mailboxes.set_quota(ada, used + two).await.unwrap();
        let three = (4..=6).map(appending).collect();
        let refused = mailboxes.append(ada, "INBOX", three, None).await;
        assert_eq!(refused.err(), Some(MailboxFault::OverQuota));
        let three = (4..=6).map(appending).collect();
        let refused = mailboxes.append(ada, "No/Such", three, None).await;
        assert_eq!(refused.err(), Some(MailboxFault::NoMailbox));
        assert_eq!(names(&mailboxes, inbox).await, expected);
        let many = (0..33).map(appending).collect();
        let refused = mailboxes.append(ada, "INBOX", many, None).await;
        assert!(matches!(refused, Err(MailboxFault::TooMany(_))));
        picture(&mailboxes).await
    });
    rig.crash();
    rig.block_on(async {
        let mailboxes = rig.open().await;
        assert_same(&picture(&mailboxes).await, &before);
    });
}

/// A limit that was lowered below what is there.
#[test]
fn what_brings_no_bytes_is_done_over_the_limit_too() {
    let rig = Rig::new(34);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let trash = mailboxes.find(ada, "Trash").await.unwrap();
        deliver(&mailboxes, 1, ada).await;
        deliver(&mailboxes, 1, ada).await;
        mailboxes.set_quota(ada, 1).await.unwrap();
        let refused = mailboxes
            .append(ada, "INBOX", vec![appending(1)], None)
            .await;
        assert_eq!(refused.err(), Some(MailboxFault::OverQuota));
        let moved = mailboxes.r#move(inbox, &[Uid(1)], trash).await.unwrap();
        assert_eq!(moved.fault, None);
        let same = vec![appending(1)];
        let placed = mailboxes.append(ada, "INBOX", same, Some((inbox, Uid(2))));
        assert_eq!(placed.await.unwrap().uid, Uid(3));
        assert_eq!(names(&mailboxes, inbox).await.len(), 1);
        assert_eq!(names(&mailboxes, trash).await.len(), 1);
    });
}

#[test]
fn a_message_takes_the_place_of_another_also_without_room_for_both() {
    let rig = Rig::new(32);
    let before = rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let drafts = mailboxes.find(ada, "Drafts").await.unwrap();
        deliver(&mailboxes, 1, ada).await;
        let used = mailboxes.usage(ada).await.unwrap().used_bytes;
        mailboxes.set_quota(ada, used + 200).await.unwrap();
        for (number, name) in [(2, "INBOX"), (3, "Drafts")] {
            let (from, uid) = (inbox, names(&mailboxes, inbox).await[0].0);
            let one = vec![appending(number)];
            let placed = mailboxes.append(ada, name, one, Some((from, uid))).await;
            assert_eq!(
                placed.is_ok(),
                number == 2 || name == "Drafts",
                "{placed:?}"
            );
        }
        assert_eq!(names(&mailboxes, inbox).await, []);
        let placed = names(&mailboxes, drafts).await;
        assert_eq!(placed, [(Uid(1), body(3).name)]);
        // What is gone is not replaced, and nothing is placed for it.
        let one = vec![appending(4)];
        let refused = mailboxes
            .append(ada, "Drafts", one, Some((inbox, Uid(1))))
            .await;
        assert!(matches!(refused, Err(MailboxFault::Refused(_))));
        assert_eq!(names(&mailboxes, drafts).await, placed);
        picture(&mailboxes).await
    });
    rig.crash();
    rig.block_on(async {
        let mailboxes = rig.open().await;
        assert_same(&picture(&mailboxes).await, &before);
    });
}

/// RFC 8514: each placement has its own date, and it is kept.
#[test]
fn the_date_of_placement_is_recorded_and_a_copy_has_its_own() {
    let rig = Rig::new(33);
    let dates = rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let archive = mailboxes.find(ada, "Archive").await.unwrap();
        deliver(&mailboxes, 1, ada).await;
        let first = mailboxes.view(inbox).await.unwrap().messages[0].saved_s;
        assert!(first > 0);
        let host = mailboxes.inner.io.host.clone();
        base::host::sleep_us(&*host, 5_000_000).await;
        mailboxes.copy(inbox, &[Uid(1)], archive).await.unwrap();
        let copied = mailboxes.view(archive).await.unwrap().messages[0].saved_s;
        assert!(copied >= first + 5, "{first} {copied}");
        let still = mailboxes.view(inbox).await.unwrap().messages[0].saved_s;
        assert_eq!(still, first);
        [(inbox, first), (archive, copied)]
    });
    rig.crash();
    rig.block_on(async {
        let mailboxes = rig.open().await;
        for (mailbox, saved_s) in dates {
            let view = mailboxes.view(mailbox).await.unwrap();
            assert_eq!(view.messages[0].saved_s, saved_s);
        }
    });
}
