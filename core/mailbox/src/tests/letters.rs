//! Mail comes, is read, marked, copied, moved and thrown away.

use super::*;

#[test]
fn one_body_for_many_recipients() {
    let rig = Rig::new(1);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let bob = add(&mailboxes, "bob").await;
        let recipients = vec![
            to(ada, "INBOX"),
            to(bob, "inbox"),
            to(bob, "Archive"),
            to(bob, "No/Such/Folder"),
        ];
        let placed = mailboxes.deliver(delivery(1, recipients)).await;
        let placed: Vec<Placed> = placed.into_iter().map(Result::unwrap).collect();
        let inbox = mailboxes.find(bob, "INBOX").await.unwrap();
        assert_eq!(placed[1].mailbox, inbox);
        assert_eq!(
            placed[2].mailbox,
            mailboxes.find(bob, "Archive").await.unwrap()
        );
        // No folder is made by mail from outside.
        assert_eq!((placed[3].mailbox, placed[3].uid), (inbox, Uid(2)));
        let mut places = Vec::new();
        for placed in placed {
            places.push(
                mailboxes.view(placed.mailbox).await.unwrap().messages[0]
                    .body
                    .body,
            );
        }
        places.dedup();
        assert_eq!(places.len(), 1, "stored once");
        let counters = mailboxes.store().counters();
        assert_eq!(counters.body_raw_bytes, body(1).raw.len() as u64);
    });
}

#[test]
fn a_busy_day_survives_power_cuts_with_and_without_checkpoints() {
    let rig = Rig::new(2);
    let mut before = BTreeMap::new();
    for day in 0..4u64 {
        rig.block_on(async {
            let mailboxes = rig.open().await;
            if day > 0 {
                assert_same(&picture(&mailboxes).await, &before);
            }
            let ada = add(&mailboxes, &format!("ada{day}")).await;
            let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
            let sent = mailboxes.find(ada, "Sent").await.unwrap();
            for number in 0..80 {
                deliver(&mailboxes, day * 1_000 + number, ada).await;
            }
            let some = |range: std::ops::RangeInclusive<u32>| range.map(Uid).collect::<Vec<_>>();
            mailboxes
                .flag(
                    inbox,
                    &some(1..=40),
                    FlagChange::Add,
                    &flags(SystemFlags::SEEN),
                )
                .await
                .unwrap();
            mailboxes
                .flag(inbox, &some(30..=50), FlagChange::Add, &keyword("Work"))
                .await
                .unwrap();
            if day % 2 == 1 {
                mailboxes.checkpoint().await.unwrap();
            }
            mailboxes
                .flag(
                    inbox,
                    &some(20..=90),
                    FlagChange::Add,
                    &flags(SystemFlags::DELETED),
                )
                .await
                .unwrap();
            mailboxes.copy(inbox, &some(10..=25), sent).await.unwrap();
            mailboxes.r#move(inbox, &some(1..=5), sent).await.unwrap();
            let gone = mailboxes.expunge(inbox, &some(1..=60)).await.unwrap();
            assert_eq!(gone, some(20..=60));
            mailboxes.subscribe(ada, "Later", true).await.unwrap();
            before = picture(&mailboxes).await;
        });
        rig.crash();
    }
    rig.block_on(async {
        let mailboxes = rig.open().await;
        assert_same(&picture(&mailboxes).await, &before);
        // And after a clean stop.
        mailboxes.close().await.unwrap();
    });
    rig.crash();
    rig.block_on(async {
        let mailboxes = rig.open().await;
        assert_eq!(mailboxes.store().open_report().replayed_groups, 0);
        assert_same(&picture(&mailboxes).await, &before);
    });
}

#[test]
fn flags_answer_what_is_there_and_cost_nothing_when_nothing_changes() {
    let rig = Rig::new(3);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        for number in 0..3 {
            deliver(&mailboxes, number, ada).await;
        }
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let seen = flags(SystemFlags::SEEN);
        let asked = [Uid(3), Uid(1), Uid(99)];
        let answer = mailboxes
            .flag(inbox, &asked, FlagChange::Add, &seen)
            .await
            .unwrap();
        assert_eq!(
            answer
                .iter()
                .map(|message| message.uid.0)
                .collect::<Vec<_>>(),
            [1, 3]
        );
        assert!(answer.iter().all(|message| message.flags == seen));
        let status = mailboxes.status(inbox).await.unwrap();
        assert_eq!((status.messages, status.unseen, status.deleted), (3, 1, 0));
        let groups = mailboxes.store().counters().groups;
        let again = mailboxes
            .flag(inbox, &asked, FlagChange::Add, &seen)
            .await
            .unwrap();
        assert_eq!(again, answer);
        assert_eq!(mailboxes.store().counters().groups, groups);
        let replaced = mailboxes
            .flag(inbox, &asked, FlagChange::Replace, &keyword("Work"))
            .await
            .unwrap();
        assert!(
            replaced
                .iter()
                .all(|message| message.flags == keyword("work"))
        );
        assert_eq!(mailboxes.status(inbox).await.unwrap().unseen, 3);
    });
}

#[test]
fn only_deleted_messages_are_expunged() {
    let rig = Rig::new(4);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        for number in 0..4 {
            deliver(&mailboxes, number, ada).await;
        }
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let all = [Uid(1), Uid(2), Uid(3), Uid(4)];
        assert_eq!(mailboxes.expunge(inbox, &all).await.unwrap(), []);
        mailboxes
            .flag(
                inbox,
                &[Uid(2), Uid(4)],
                FlagChange::Add,
                &flags(SystemFlags::DELETED),
            )
            .await
            .unwrap();
        assert_eq!(
            mailboxes.expunge(inbox, &[Uid(1), Uid(2)]).await.unwrap(),
            [Uid(2)]
        );
        assert_eq!(uids(&mailboxes.view(inbox).await.unwrap()), [1, 3, 4]);
        // UIDs are never given again.
        assert_eq!(deliver(&mailboxes, 9, ada).await.uid, Uid(5));
    });
}

/// What QUIT of POP3 asks for: a power cut at each moment leaves all of the messages or none.
#[test]
fn a_removal_is_all_or_nothing_across_a_power_cut() {
    let mut outcomes = std::collections::BTreeSet::new();
    for boundary in 1..12 {
        let rig = Rig::new(41);
        let inbox = rig.block_on(async {
            let mailboxes = rig.open().await;
            let ada = add(&mailboxes, "ada").await;
            for number in 0..40 {
                deliver(&mailboxes, number, ada).await;
            }
            mailboxes.find(ada, "INBOX").await.unwrap()
        });
        let removed = rig.world.run(async {
            let mailboxes = rig.open().await;
            rig.world.crash_at(rig.world.boundaries() + boundary);
            let every_second: Vec<Uid> = (1..=20).map(|index| Uid(2 * index)).collect();
            mailboxes.remove(inbox, &every_second).await
        });
        rig.crash();
        rig.block_on(async {
            let mailboxes = rig.open().await;
            let left = uids(&mailboxes.view(inbox).await.unwrap());
            let odd: Vec<u32> = (0..20).map(|index| 2 * index + 1).collect();
            let all: Vec<u32> = (1..=40).collect();
            assert!(
                left == odd || (left == all && !matches!(removed, Ok(Ok(_)))),
                "{left:?}"
            );
            outcomes.insert(left.len());
        });
    }
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), [20, 40]);
}

#[test]
fn a_removal_needs_no_flag_and_says_what_went() {
    let rig = Rig::new(42);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        for number in 0..3 {
            deliver(&mailboxes, number, ada).await;
        }
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let asked = [Uid(1), Uid(3), Uid(9)];
        assert_eq!(
            mailboxes.remove(inbox, &asked).await,
            Ok(vec![Uid(1), Uid(3)])
        );
        assert_eq!(mailboxes.remove(inbox, &asked).await, Ok(vec![]));
        assert_eq!(uids(&mailboxes.view(inbox).await.unwrap()), [2]);
    });
}

#[test]
fn a_copy_shares_the_body_and_a_move_leaves_nothing_behind() {
    let rig = Rig::new(5);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        for number in 0..4 {
            deliver(&mailboxes, number, ada).await;
        }
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let archive = mailboxes.find(ada, "Archive").await.unwrap();
        let stored = mailboxes.store().counters().body_stored_bytes;
        let (validity, pairs) = mailboxes
            .copy(inbox, &[Uid(3), Uid(1), Uid(77)], archive)
            .await
            .unwrap();
        assert_eq!(
            validity,
            mailboxes.status(archive).await.unwrap().uid_validity
        );
        assert_eq!(pairs, [(Uid(1), Uid(1)), (Uid(3), Uid(2))]);
        let moved = mailboxes.r#move(inbox, &[Uid(2)], archive).await.unwrap();
        let pairs = moved.pairs;
        assert_eq!(pairs, [(Uid(2), Uid(3))]);
        assert_eq!(mailboxes.store().counters().body_stored_bytes, stored);
        assert_eq!(uids(&mailboxes.view(inbox).await.unwrap()), [1, 3, 4]);
        assert_eq!(uids(&mailboxes.view(archive).await.unwrap()), [1, 2, 3]);
        assert_eq!(
            mailboxes.copy(inbox, &[Uid(2)], archive).await.unwrap().1,
            []
        );
        assert_eq!(
            mailboxes.copy(inbox, &[Uid(1)], MailboxId(999)).await,
            Err(MailboxFault::NoMailbox)
        );
        let account = mailboxes.account(&address("ada")).await.unwrap().unwrap();
        let sizes = mailboxes.status(inbox).await.unwrap().size_bytes
            + mailboxes.status(archive).await.unwrap().size_bytes;
        assert_eq!(account.used_bytes, sizes);
        // Into itself: new UIDs, the same mail.
        let moved = mailboxes.r#move(inbox, &[Uid(1), Uid(3)], inbox).await;
        let pairs = moved.unwrap().pairs;
        assert_eq!(pairs, [(Uid(1), Uid(5)), (Uid(3), Uid(6))]);
        assert_eq!(uids(&mailboxes.view(inbox).await.unwrap()), [4, 5, 6]);
    });
}

#[test]
fn thousands_are_copied_in_several_steps_and_all_arrive() {
    let rig = Rig::new(6);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let archive = mailboxes.find(ada, "Archive").await.unwrap();
        for number in 0..60 {
            deliver(&mailboxes, number, ada).await;
        }
        for _ in 0..6 {
            let all: Vec<Uid> = mailboxes
                .view(inbox)
                .await
                .unwrap()
                .messages
                .iter()
                .map(|message| message.uid)
                .collect();
            mailboxes.copy(inbox, &all, inbox).await.unwrap();
        }
        let all: Vec<Uid> = mailboxes
            .view(inbox)
            .await
            .unwrap()
            .messages
            .iter()
            .map(|message| message.uid)
            .collect();
        assert_eq!(all.len(), 60 * 64);
        let Moved { pairs, fault, .. } = mailboxes.r#move(inbox, &all, archive).await.unwrap();
        assert_eq!((pairs.len(), fault), (all.len(), None));
        assert!(pairs.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
        assert_eq!(mailboxes.status(inbox).await.unwrap().messages, 0);
        assert_eq!(
            mailboxes.status(archive).await.unwrap().messages as usize,
            all.len()
        );
    });
}

/// RFC 6851 §3.3. The target takes the first step and has no room for the next.
#[test]
fn a_move_that_stops_on_the_way_says_so() {
    let rig = Rig::new(8);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let bob = add(&mailboxes, "bob").await;
        let from = mailboxes.find(ada, "INBOX").await.unwrap();
        let to = mailboxes.find(bob, "INBOX").await.unwrap();
        deliver(&mailboxes, 1, ada).await;
        for round in 0..12 {
            let all: Vec<Uid> = (1..=1 << round).map(Uid).collect();
            mailboxes.copy(from, &all, from).await.unwrap();
        }
        let all: Vec<Uid> = (1..=1 << 12).map(Uid).collect();
        let size = body(1).raw.len() as u64;
        mailboxes.set_quota(bob, 3_000 * size).await.unwrap();
        let moved = mailboxes.r#move(from, &all, to).await.unwrap();
        assert_eq!(moved.fault, Some(MailboxFault::OverQuota));
        let count = moved.pairs.len();
        assert!((1..=3_000).contains(&count), "{count}");
        let there = mailboxes.status(to).await.unwrap().messages as usize;
        let here = mailboxes.status(from).await.unwrap().messages as usize;
        assert_eq!((there, here), (count, all.len() - count));
        // Not one that can go.
        let rest = &all[count..];
        mailboxes.set_quota(bob, size).await.unwrap();
        let none = mailboxes.r#move(from, rest, to).await;
        assert_eq!(none, Err(MailboxFault::OverQuota));
    });
}

#[test]
fn over_quota_is_one_recipients_trouble() {
    let rig = Rig::new(7);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let bob = add(&mailboxes, "bob").await;
        let size = body(1).raw.len() as u64;
        mailboxes.set_quota(ada, 2 * size).await.unwrap();
        for round in 0..3 {
            let placed = mailboxes
                .deliver(delivery(1, vec![to(ada, "INBOX"), to(bob, "INBOX")]))
                .await;
            assert!(placed[1].is_ok());
            assert_eq!(placed[0].is_ok(), round < 2);
        }
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let trash = mailboxes.find(ada, "Trash").await.unwrap();
        // COPY needs room, MOVE in the same account does not.
        assert_eq!(
            mailboxes.copy(inbox, &[Uid(1)], trash).await,
            Err(MailboxFault::OverQuota)
        );
        mailboxes.r#move(inbox, &[Uid(1)], trash).await.unwrap();
        mailboxes
            .flag(
                inbox,
                &[Uid(2)],
                FlagChange::Add,
                &flags(SystemFlags::DELETED),
            )
            .await
            .unwrap();
        mailboxes.expunge(inbox, &[Uid(2)]).await.unwrap();
        deliver(&mailboxes, 1, ada).await;
        assert_eq!(
            mailboxes
                .account(&address("ada"))
                .await
                .unwrap()
                .unwrap()
                .used_bytes,
            2 * size
        );
        // Everyone over: nothing is written at all.
        let groups = mailboxes.store().counters().groups;
        let placed = mailboxes.deliver(delivery(1, vec![to(ada, "INBOX")])).await;
        assert_eq!(placed, [Err(MailboxFault::OverQuota)]);
        assert_eq!(mailboxes.store().counters().groups, groups);
    });
}

#[test]
fn watchers_hear_of_every_change_once_it_is_durable() {
    let rig = Rig::new(8);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let heard: Rc<RefCell<Vec<u64>>> = Rc::default();
        let ear = heard.clone();
        let watch = mailboxes.watch(
            inbox,
            Box::new(move |modseq| ear.borrow_mut().push(modseq.0)),
        );
        let before = mailboxes.view(inbox).await.unwrap().status;
        for number in 0..3 {
            deliver(&mailboxes, number, ada).await;
        }
        mailboxes
            .flag(
                inbox,
                &[Uid(1)],
                FlagChange::Add,
                &flags(SystemFlags::DELETED),
            )
            .await
            .unwrap();
        mailboxes.expunge(inbox, &[Uid(1)]).await.unwrap();
        assert_eq!(heard.borrow().len(), 5);
        assert!(heard.borrow().is_sorted());
        let changes = mailboxes
            .changes(inbox, before.highest_modseq)
            .await
            .unwrap();
        assert_eq!(
            changes
                .changed
                .iter()
                .map(|message| message.uid.0)
                .collect::<Vec<_>>(),
            [2, 3]
        );
        assert_eq!(changes.expunged, [Uid(1)]);
        assert_eq!(
            (changes.uid_next, changes.too_old, changes.gone),
            (Uid(4), false, false)
        );
        let none = mailboxes
            .changes(inbox, changes.highest_modseq)
            .await
            .unwrap();
        assert!(none.changed.is_empty() && none.expunged.is_empty());
        drop(watch);
        deliver(&mailboxes, 9, ada).await;
        assert_eq!(heard.borrow().len(), 5);
    });
    rig.crash();
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = mailboxes
            .account(&address("ada"))
            .await
            .unwrap()
            .unwrap()
            .id;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        mailboxes.checkpoint().await.unwrap();
        // What was expunged before the start is not known any more.
        let changes = mailboxes.changes(inbox, mail::ModSeq(1)).await.unwrap();
        assert!(changes.too_old || changes.expunged == [Uid(1)]);
    });
}

#[test]
fn views_share_one_list_and_keep_what_they_saw() {
    let rig = Rig::new(9);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        deliver(&mailboxes, 1, ada).await;
        let first = mailboxes.view(inbox).await.unwrap();
        let second = mailboxes.view(inbox).await.unwrap();
        assert!(std::sync::Arc::ptr_eq(&first.messages, &second.messages));
        deliver(&mailboxes, 2, ada).await;
        assert_eq!(uids(&first), [1]);
        assert_eq!(uids(&mailboxes.view(inbox).await.unwrap()), [1, 2]);
    });
}

#[test]
fn an_opening_tells_what_the_messages_say_after_every_change() {
    let rig = Rig::new(19);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let seen = |view: &View, index: usize| {
            let flags = view.messages[index].flags.system;
            flags.contains(SystemFlags::SEEN)
        };
        let opened = async || {
            let view = mailboxes.view(inbox).await.unwrap();
            let opening = mailboxes.opening(inbox).await.unwrap();
            let told: Vec<u32> = opening
                .uids
                .iter()
                .flat_map(|run| run.uids())
                .map(|uid| uid.0)
                .collect();
            assert_eq!(told, uids(&view));
            assert_eq!(opening.status, view.status);
            let first = (0..view.messages.len()).find(|index| !seen(&view, *index));
            assert_eq!(opening.first_unseen, first.map(|index| index as u32 + 1));
            opening
        };
        assert_eq!(opened().await.first_unseen, None);
        for number in 1..=40 {
            deliver(&mailboxes, number, ada).await;
        }
        assert_eq!(opened().await.uids.len(), 1);
        let (read, kept, gone) = (
            flags(SystemFlags::SEEN),
            keyword("kept"),
            flags(SystemFlags::DELETED),
        );
        let set = async |uids: &[u32], change, flags: &Flags| {
            let uids: Vec<Uid> = uids.iter().copied().map(Uid).collect();
            mailboxes.flag(inbox, &uids, change, flags).await.unwrap();
        };
        set(&[1, 2, 5], FlagChange::Add, &read).await;
        assert_eq!(opened().await.first_unseen, Some(3));
        set(&[2], FlagChange::Remove, &read).await;
        assert_eq!(opened().await.first_unseen, Some(2));
        set(&[7, 9], FlagChange::Add, &kept).await;
        assert_eq!(opened().await.keywords, kept.keywords);
        set(&[2, 20], FlagChange::Replace, &gone).await;
        mailboxes.expunge(inbox, &[Uid(2), Uid(20)]).await.unwrap();
        let opening = opened().await;
        assert_eq!((opening.uids.len(), opening.first_unseen), (3, Some(2)));
        deliver(&mailboxes, 41, ada).await;
        set(&(1..=41).collect::<Vec<_>>(), FlagChange::Add, &read).await;
        assert_eq!(opened().await.first_unseen, None);
    });
}

#[test]
fn many_writers_at_once_get_numbers_in_log_order() {
    let rig = Rig::new(10);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let done: Rc<RefCell<Vec<u32>>> = Rc::default();
        for writer in 0..20u64 {
            let (mailboxes, done) = (mailboxes.clone(), done.clone());
            rig.world.io().host.spawn(Box::pin(async move {
                for turn in 0..10 {
                    let placed = deliver(&mailboxes, writer * 100 + turn, ada).await;
                    let view = mailboxes.view(placed.mailbox).await.unwrap();
                    assert!(uids(&view).contains(&placed.uid.0), "accepted is visible");
                    let seen = flags(SystemFlags::SEEN);
                    mailboxes
                        .flag(placed.mailbox, &[placed.uid], FlagChange::Add, &seen)
                        .await
                        .unwrap();
                    done.borrow_mut().push(placed.uid.0);
                }
            }));
        }
        while done.borrow().len() < 200 {
            base::host::sleep_us(&*rig.world.io().host, 1_000).await;
        }
        let mut given = done.borrow().clone();
        given.sort_unstable();
        assert_eq!(given, (1..=200).collect::<Vec<_>>());
        assert_eq!(mailboxes.status(inbox).await.unwrap().unseen, 0);
    });
}
