//! An acknowledged batch that every leg has lost: the rest is served, what is gone is named, and mail goes on when it is accepted.

use super::*;

/// Flips a bit in the stored body of message `number`, on both legs.
fn spoil(rig: &Rig, number: u64) {
    let wanted = body(number).raw;
    for leg in rig.legs {
        let found = rig.world.with_disk(leg, |medium| {
            let blocks = medium.written_blocks();
            let mut bytes = vec![0; 4096];
            blocks.into_iter().find_map(|block| {
                medium.peek(block * 4096, &mut bytes);
                let at = bytes.windows(64).position(|part| part == &wanted[..64])?;
                Some(block * 4096 + at as u64)
            })
        });
        rig.world.flip_bit(leg, found.expect("stored"), 2);
    }
}

async fn inbox(mailboxes: &Mailboxes, account: AccountId) -> View {
    let inbox = mailboxes.find(account, "INBOX").await.unwrap();
    mailboxes.view(inbox).await.unwrap()
}

#[test]
fn damage_near_the_end_of_the_log_is_served_around_and_given_up_once() {
    let rig = Rig::new(81);
    let ada = rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        for number in 1..=6 {
            deliver(&mailboxes, number, ada).await;
        }
        ada
    });
    rig.crash();
    spoil(&rig, 3);
    let after = rig.block_on(async {
        let mailboxes = rig.open().await;
        let volume = mailboxes.store().volume().clone();
        assert!(
            volume
                .refuses()
                .is_some_and(|why| why.contains("accept-damage"))
        );
        assert_eq!(volume.would_give_up().map(|lost| lost.len()), Some(1));
        // All that is good is served, nothing is written.
        let view = inbox(&mailboxes, ada).await;
        assert_eq!(uids(&view), [1, 2, 4, 5, 6]);
        picture(&mailboxes).await;
        let refused = mailboxes.deliver(delivery(7, vec![to(ada, "INBOX")])).await;
        assert!(matches!(refused[..], [Err(MailboxFault::Unavailable(_))]));
        let id = mailboxes.find(ada, "INBOX").await.unwrap();
        let seen = flags(SystemFlags::SEEN);
        let refused = mailboxes.flag(id, &[Uid(1)], FlagChange::Add, &seen).await;
        assert!(matches!(refused, Err(MailboxFault::Unavailable(_))));
        let named = mailboxes.named_in_damage(10).await;
        assert_eq!(
            named,
            ["the message with UID 3 in INBOX of ada@example.org"]
        );

        mailboxes.accept_damage().await.unwrap();
        assert_eq!(deliver(&mailboxes, 7, ada).await.uid, Uid(7));
        mailboxes
            .flag(id, &[Uid(1)], FlagChange::Add, &seen)
            .await
            .unwrap();
        picture(&mailboxes).await
    });
    for _ in 0..2 {
        rig.crash();
        rig.block_on(async {
            let mailboxes = rig.open().await;
            assert_eq!(mailboxes.store().volume().refuses(), None);
            assert_same(&picture(&mailboxes).await, &after);
        });
    }
}

/// The batch lies before the checkpoint: the start does not need it, and its message alone is missing.
#[test]
fn damage_before_the_checkpoint_does_not_keep_the_mailboxes_from_opening() {
    let rig = Rig::new(82);
    let ada = rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        for number in 1..=3 {
            deliver(&mailboxes, number, ada).await;
        }
        mailboxes.checkpoint().await.unwrap();
        for number in 4..=6 {
            deliver(&mailboxes, number, ada).await;
        }
        ada
    });
    rig.crash();
    spoil(&rig, 3);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        assert_eq!(mailboxes.store().volume().refuses(), None);
        let view = inbox(&mailboxes, ada).await;
        assert_eq!(uids(&view), [1, 2, 3, 4, 5, 6]);
        for message in &view.messages[..] {
            let body = mailboxes.bodies(std::slice::from_ref(&message.body)).await;
            assert_eq!(body[0].is_err(), message.uid == Uid(3));
        }
        assert_eq!(deliver(&mailboxes, 7, ada).await.uid, Uid(7));
    });
}

/// Every leg refuses for a while: no delivery waits, and what is stored is read.
#[test]
fn an_outage_refuses_new_mail_at_once_and_serves_what_is_stored() {
    let rig = Rig::new(83);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        deliver(&mailboxes, 1, ada).await;
        let before = picture(&mailboxes).await;
        let refuse = |fault| {
            for leg in rig.legs {
                let refuses_writes = fault;
                rig.world.set_faults(
                    leg,
                    device::sim::Faults {
                        refuses_writes,
                        ..rig.world.faults(leg)
                    },
                );
            }
        };
        refuse(Some(device::IoFault::NoSpace));
        let host = rig.world.io().host;
        let (sending, (done, answer)) = (mailboxes.clone(), base::host::oneshot());
        host.spawn(Box::pin(async move {
            done.send(deliver(&sending, 2, ada).await);
        }));
        let volume = mailboxes.store().volume().clone();
        while volume.refuses().is_none() {
            base::host::sleep_us(&*host, 1_000).await;
        }
        for number in 3..20 {
            let refused = mailboxes
                .deliver(delivery(number, vec![to(ada, "INBOX")]))
                .await;
            assert!(matches!(refused[..], [Err(MailboxFault::Unavailable(_))]));
        }
        assert_same(&picture(&mailboxes).await, &before);
        refuse(None);
        assert_eq!(answer.await.expect("answered").uid, Uid(2));
        assert_eq!(deliver(&mailboxes, 20, ada).await.uid, Uid(3));
        assert_eq!(uids(&inbox(&mailboxes, ada).await), [1, 2, 3]);
    });
}

/// Room is to be made, and every leg refuses: the upkeep rests until they take writes again (it span, and the storage thread with it).
#[test]
fn an_outage_while_room_is_to_be_made_keeps_no_task_busy() {
    let rig = Rig::new(84);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        deliver(&mailboxes, 1, ada).await;
        let refuse = |refuses_writes| {
            for leg in rig.legs {
                let faults = device::sim::Faults {
                    refuses_writes,
                    ..rig.world.faults(leg)
                };
                rig.world.set_faults(leg, faults);
            }
        };
        refuse(Some(device::IoFault::NoSpace));
        let host = rig.world.io().host;
        let (sending, (done, answer)) = (mailboxes.clone(), base::host::oneshot());
        host.spawn(Box::pin(async move {
            done.send(deliver(&sending, 2, ada).await);
        }));
        let volume = mailboxes.store().volume().clone();
        while volume.refuses().is_none() {
            base::host::sleep_us(&*host, 1_000).await;
        }
        mailboxes.inner.tenancy.hurry();
        base::host::sleep_us(&*host, 5_000_000).await;
        assert!(!mailboxes.inner.tenancy.is_hurried());
        refuse(None);
        assert_eq!(answer.await.expect("answered").uid, Uid(2));
        assert_eq!(deliver(&mailboxes, 3, ada).await.uid, Uid(3));
    });
}
