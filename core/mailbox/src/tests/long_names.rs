//! The row of an account is written as one record when reclaim carries it along: however long names are, it fits.

use super::*;
use crate::limits::NAMES_BYTES_PER_ACCOUNT_MAX;
use crate::row::Tree;

/// Of `bytes` bytes, in levels.
fn long(number: usize, bytes: usize) -> String {
    let mut name = format!("{number:06}");
    while name.len() + 201 <= bytes {
        name.push('/');
        name.push_str(&"x".repeat(200));
    }
    name
}

#[test]
fn names_are_bounded_in_bytes_and_the_row_is_carried_along() {
    let mut rig = Rig::of_size(631, 40 << 20, 1 << 20);
    rig.settings.checkpoint_bytes = 2 << 20;
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let bob = add(&mailboxes, "bob").await;
        let mut refused = None;
        for number in 0..400 {
            match mailboxes.create(ada, &long(number, 900), None).await {
                Ok(_) => {}
                Err(fault) => {
                    refused = Some((number, fault));
                    break;
                }
            }
        }
        let (number, fault) = refused.expect("a bound");
        assert_eq!(fault, MailboxFault::TooMany("bytes of mailbox names"));
        assert!(number > 250, "{number} names with their parents");
        // A short name may still fit, and subscriptions count as well.
        let mut subscribed = 0;
        let fault = loop {
            match mailboxes
                .subscribe(ada, &long(1_000 + subscribed, 900), true)
                .await
            {
                Ok(()) => subscribed += 1,
                Err(fault) => break fault,
            }
            assert!(subscribed < 1_000);
        };
        assert_eq!(fault, MailboxFault::TooMany("bytes of mailbox names"));
        let to = long(7, 900).replacen("000007", &"y".repeat(200), 1);
        let renamed = mailboxes.rename(ada, "000007", &to[..200]).await;
        assert_eq!(
            renamed,
            Err(MailboxFault::TooMany("bytes of mailbox names"))
        );
        let bytes = mailboxes
            .with_account(ada, |tree: &Tree| {
                let mut row = Vec::new();
                tree.encode(&mut row);
                (tree.names_bytes_max(), row.len())
            })
            .unwrap();
        assert!(
            bytes.0 <= NAMES_BYTES_PER_ACCOUNT_MAX
                && bytes.1 <= store::limits::GROUP_FIXED_BYTES_MAX
        );
        // What takes nothing more goes on.
        mailboxes
            .subscribe(ada, &long(1_000, 900), false)
            .await
            .unwrap();
        mailboxes.delete(ada, &long(3, 900)).await.unwrap();
        mailboxes.rename(ada, &long(4, 900), "short").await.unwrap();

        let inbox = mailboxes.find(bob, "INBOX").await.unwrap();
        for round in 0..120u64 {
            for number in 0..5 {
                let mut delivery = delivery(number, vec![super::to(bob, "INBOX")]);
                let bytes = raw(round * 5 + number, 60_000);
                delivery.body = BodyIn {
                    name: BodyName::of(&bytes),
                    raw: bytes,
                    summary: Bytes::new(),
                };
                mailboxes.deliver(delivery).await.pop().unwrap().unwrap();
            }
            let view = mailboxes.view(inbox).await.unwrap();
            let all: Vec<Uid> = view.messages.iter().map(|message| message.uid).collect();
            mailboxes.remove(inbox, &all).await.unwrap();
            drop(view);
            if round % 20 == 19 {
                mailboxes.checkpoint().await.unwrap();
                mailboxes.reclaim().await;
            }
        }
        assert!(mailboxes.store().counters().reclaimed_segments > 5);
        mailboxes.store().request_rebuild().await.unwrap();
    });
    rig.crash();
    rig.block_on(async {
        let mailboxes = rig.open().await;
        assert!(mailboxes.store().open_report().rebuilt);
        let ada = Address::from_parts("ada", "example.org").unwrap();
        let ada = mailboxes
            .account(&ada)
            .await
            .unwrap()
            .expect("she is there");
        mailboxes.find(ada.id, "short").await.unwrap();
    });
}
