//! Power cuts at any moment, too little memory, too little disk, a lost index.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use store::Lsn;

use super::*;
use crate::record::Entry;

async fn three_writers(rig: &Rig, accepted: &Rc<RefCell<BTreeMap<u64, Placed>>>) {
    let host = rig.world.io().host.clone();
    let mailboxes = rig.open().await;
    let ada = mailboxes
        .account(&address("ada"))
        .await
        .unwrap()
        .unwrap()
        .id;
    let done: Rc<RefCell<u32>> = Rc::default();
    for writer in 0..3u64 {
        let (mailboxes, accepted, done) = (mailboxes.clone(), accepted.clone(), done.clone());
        host.spawn(Box::pin(async move {
            for turn in 0..8 {
                let number = writer * 100 + turn;
                let placed = mailboxes
                    .deliver(delivery(number, vec![to(ada, "INBOX")]))
                    .await
                    .pop();
                if let Some(Ok(placed)) = placed {
                    accepted.borrow_mut().insert(number, placed);
                    let seen = flags(SystemFlags::SEEN);
                    let _ = mailboxes
                        .flag(placed.mailbox, &[placed.uid], FlagChange::Add, &seen)
                        .await;
                }
                if turn == 4 && writer == 1 {
                    let _ = mailboxes.checkpoint().await;
                }
            }
            *done.borrow_mut() += 1;
        }));
    }
    while *done.borrow() < 3 {
        base::host::sleep_us(&*host, 200).await;
    }
}

/// Three writers deliver and mark, one removes; the power fails at a boundary. Whatever was answered is there after the start, once.
#[test]
fn what_was_accepted_is_there_once_after_a_crash_anywhere() {
    let start = |seed| {
        let rig = Rig::of_size(seed, 48 << 20, 1 << 20);
        rig.block_on(async {
            let mailboxes = rig.open().await;
            add(&mailboxes, "ada").await;
        });
        rig
    };
    let boundaries = {
        let rig = start(40);
        let before = rig.world.boundaries();
        rig.block_on(three_writers(&rig, &Rc::default()));
        rig.world.boundaries() - before
    };
    assert!(boundaries > 20);
    for boundary in (1..=boundaries).step_by(3) {
        let rig = start(40);
        let accepted: Rc<RefCell<BTreeMap<u64, Placed>>> = Rc::default();
        rig.world.crash_at(rig.world.boundaries() + boundary);
        if rig.world.run(three_writers(&rig, &accepted)).is_ok() {
            continue;
        }
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
            let view = mailboxes.view(inbox).await.unwrap();
            for (number, placed) in accepted.borrow().iter() {
                let name = body(*number).name;
                let found: Vec<Uid> = view
                    .messages
                    .iter()
                    .filter(|message| message.body.name == name)
                    .map(|message| message.uid)
                    .collect();
                assert_eq!(found, [placed.uid], "boundary {boundary}, message {number}");
            }
            picture(&mailboxes).await;
            let next = deliver(&mailboxes, 999, ada).await;
            assert!(view.messages.iter().all(|message| message.uid < next.uid));
        });
    }
}

#[test]
fn a_small_cache_changes_nothing_but_reads() {
    let mut rig = Rig::new(41);
    rig.settings.cache_bytes = 1;
    let before = rig.block_on(async {
        let mailboxes = rig.open().await;
        let mut accounts = Vec::new();
        for number in 0..40 {
            accounts.push(add(&mailboxes, &format!("user{number}")).await);
        }
        for number in 0..4_000u64 {
            let account = accounts[(number * 7 % 40) as usize];
            deliver(&mailboxes, number % 50, account).await;
            if number % 500 == 0 {
                mailboxes.checkpoint().await.unwrap();
            }
        }
        mailboxes.checkpoint().await.unwrap();
        for account in &accounts {
            let inbox = mailboxes.find(*account, "INBOX").await.unwrap();
            assert_eq!(
                uids(&mailboxes.view(inbox).await.unwrap()),
                (1..=100).collect::<Vec<_>>()
            );
        }
        let cached = mailboxes.inner.state.borrow().cached_bytes();
        assert!(cached < 2 * limits::CACHE_BYTES_MIN, "{cached}");
        picture(&mailboxes).await
    });
    rig.crash();
    rig.settings.cache_bytes = 256 << 20;
    rig.block_on(async {
        let mailboxes = rig.open().await;
        assert_same(&picture(&mailboxes).await, &before);
    });
}

#[test]
fn a_lost_index_is_built_again_from_the_log() {
    let rig = Rig::new(42);
    let before = rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let bob = add(&mailboxes, "bob").await;
        for number in 0..50 {
            deliver(&mailboxes, number, ada).await;
        }
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let archive = mailboxes.find(ada, "Archive").await.unwrap();
        let some: Vec<Uid> = (1..30).map(Uid).collect();
        mailboxes.r#move(inbox, &some, archive).await.unwrap();
        mailboxes.delete(ada, "Junk").await.unwrap();
        mailboxes.remove_account(bob).await.unwrap();
        mailboxes.checkpoint().await.unwrap();
        mailboxes.checkpoint().await.unwrap();
        deliver(&mailboxes, 77, ada).await;
        mailboxes.store().request_rebuild().await.unwrap();
        picture(&mailboxes).await
    });
    rig.crash();
    rig.block_on(async {
        let mailboxes = rig.open().await;
        assert!(mailboxes.store().open_report().rebuilt);
        assert_same(&picture(&mailboxes).await, &before);
    });
}

/// A small volume, much mail that comes and goes, some that stays: segments are freed, bodies move, old records are carried forward.
#[test]
fn reclaim_keeps_what_stays_and_frees_what_went() {
    let mut rig = Rig::of_size(43, 40 << 20, 1 << 20);
    rig.settings.checkpoint_bytes = 2 << 20;
    let before = rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let bob = add(&mailboxes, "bob").await;
        let kept = mailboxes.find(bob, "Archive").await.unwrap();
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let deleted = flags(SystemFlags::DELETED);
        let held = mailboxes.view(kept).await.unwrap();
        drop(held);
        let mut old_view = None;
        let mut begun = Vec::new();
        for round in 0..140u64 {
            let size = if round == 20 { 1_200_000 } else { 300_000 };
            let large = raw(round, size);
            let body = BodyIn {
                name: BodyName::of(&large),
                raw: large,
                summary: Bytes::from_static(b"large"),
            };
            let mut recipients = vec![to(ada, "INBOX")];
            if round % 20 == 0 {
                recipients.push(to(bob, "Archive"));
            }
            let delivery = Delivery {
                body,
                internal_date: InternalDate::utc(round as i64),
                recipients,
            };
            for placed in mailboxes.deliver(delivery).await {
                placed.unwrap_or_else(|fault| panic!("round {round}: {fault}"));
            }
            if round == 25 {
                let view = mailboxes.view(kept).await.unwrap();
                for Message { uid, body, .. } in view.messages.iter() {
                    let read = mailboxes.piece(kept, *uid, body, None, 0).await;
                    begun.push((*uid, body.clone(), read.unwrap()));
                }
                old_view = Some(view);
            }
            let all: Vec<Uid> = mailboxes
                .view(inbox)
                .await
                .unwrap()
                .messages
                .iter()
                .map(|message| message.uid)
                .collect();
            mailboxes
                .flag(inbox, &all, FlagChange::Add, &deleted)
                .await
                .unwrap();
            mailboxes.expunge(inbox, &all).await.unwrap();
            if round % 10 == 9 {
                mailboxes.checkpoint().await.unwrap();
                mailboxes.reclaim().await;
                mailboxes.checkpoint().await.unwrap();
                mailboxes.reclaim().await;
            }
        }
        let counters = mailboxes.store().counters();
        assert!(counters.reclaimed_segments > 10, "{counters:?}");
        assert_eq!(mailboxes.status(kept).await.unwrap().messages, 7);
        // A session that still holds the addresses of long ago is helped to the new ones.
        let old: Vec<_> = old_view
            .unwrap()
            .messages
            .iter()
            .map(|message| message.body.clone())
            .collect();
        let found: Vec<_> = (mailboxes.bodies(&old).await.into_iter())
            .map(|body| body.map(|bytes| bytes.len()))
            .collect();
        assert!(found.iter().all(Result::is_ok), "{found:?}");
        let now = mailboxes.view(kept).await.unwrap().messages[0].body.body;
        assert_ne!(old[0].body, now, "the body moved");
        // One that is in the middle of such a body goes on where it was.
        for (uid, body, (first, mut pieces)) in begun {
            let size = body.raw_bytes as usize;
            assert_eq!(
                first.len() < size,
                size > 1 << 20,
                "large ones come in pieces"
            );
            let mut sent = first[..first.len() / 2].to_vec();
            while sent.len() < size {
                let at = sent.len() as u32;
                let read = mailboxes.piece(kept, uid, &body, Some(pieces), at).await;
                let (bytes, next) = read.unwrap();
                sent.extend_from_slice(&bytes);
                pieces = next;
            }
            assert_eq!(BodyName::of(&sent), body.name);
        }
        let before = picture(&mailboxes).await;
        mailboxes.store().request_rebuild().await.unwrap();
        before
    });
    rig.crash();
    rig.block_on(async {
        let mailboxes = rig.open().await;
        assert!(mailboxes.store().open_report().rebuilt);
        assert_same(&picture(&mailboxes).await, &before);
    });
}

#[test]
fn a_full_volume_refuses_mail_and_can_be_emptied() {
    let rig = Rig::of_size(44, 24 << 20, 1 << 20);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let mut count = 0;
        let large = |number| {
            let raw = raw(number, 400_000);
            let body = BodyIn {
                name: BodyName::of(&raw),
                raw,
                summary: Bytes::new(),
            };
            Delivery {
                body,
                internal_date: InternalDate::utc(0),
                recipients: vec![to(ada, "INBOX")],
            }
        };
        while mailboxes.deliver(large(count)).await[0].is_ok() {
            count += 1;
            assert!(count < 100, "it never fills");
        }
        assert!(matches!(
            mailboxes.deliver(large(count)).await[0],
            Err(MailboxFault::Full)
        ));
        assert_eq!(
            u64::from(mailboxes.status(inbox).await.unwrap().messages),
            count
        );
        let all: Vec<Uid> = (1..=count as u32).map(Uid).collect();
        mailboxes
            .flag(inbox, &all, FlagChange::Add, &flags(SystemFlags::DELETED))
            .await
            .unwrap();
        assert_eq!(
            mailboxes.expunge(inbox, &all).await.unwrap().len() as u64,
            count
        );
        for _ in 0..8 {
            let eased = mailboxes.inner.tenancy.eased();
            if mailboxes.deliver(large(1)).await[0].is_ok() {
                return;
            }
            eased.await;
        }
        panic!("no mail is taken again");
    });
}

/// Simulator seed 1587: one batch may hold many groups, and a checkpoint in the midst of them stood for all: what came behind it in the
/// same batch was gone after a second power cut.
#[test]
fn a_checkpoint_while_the_log_is_replayed_stands_for_whole_batches() {
    let mut rig = Rig::new(1_587);
    let before = rig.block_on(async {
        let mailboxes = rig.open().await;
        let host = rig.world.io().host.clone();
        let mut accounts = Vec::new();
        for number in 0..200 {
            accounts.push(add(&mailboxes, &format!("a{number}")).await);
        }
        mailboxes.checkpoint().await.unwrap();
        let batches = mailboxes.store().volume().counters().batches;
        let done: Rc<RefCell<usize>> = Rc::default();
        for (number, account) in accounts.iter().copied().enumerate() {
            let (mailboxes, done) = (mailboxes.clone(), done.clone());
            host.spawn(Box::pin(async move {
                deliver(&mailboxes, number as u64, account).await;
                *done.borrow_mut() += 1;
            }));
        }
        while *done.borrow() < accounts.len() {
            base::host::sleep_us(&*host, 1_000).await;
        }
        let batches = mailboxes.store().volume().counters().batches - batches;
        assert!(batches < 20, "few batches with many groups each: {batches}");
        picture(&mailboxes).await
    });
    rig.crash();
    // So little memory that the opening must checkpoint on its way.
    rig.settings.cache_bytes = 0;
    for _ in 0..2 {
        let after = rig.block_on(async {
            let mailboxes = rig.open().await;
            picture(&mailboxes).await
        });
        assert_same(&before, &after);
        rig.crash();
    }
}

/// What is visible of a domain is what was durable before the change that is on its way; reclaim must not write that down behind it.
#[test]
fn a_change_of_a_domain_on_its_way_is_not_undone_by_reclaim() {
    use store::Tenant;
    let rig = Rig::new(58);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        mailboxes.add_domain("gone.example").await.unwrap();
        let removal = mailboxes.remove_domain("gone.example");
        let put = Entry::DomainPut {
            domain: "gone.example".to_owned(),
        };
        let carried = mailboxes.inner.carry_forward(vec![(Lsn(1), put.encode())]);
        // In one turn: the removal is in flight when reclaim looks.
        let (mut removal, mut carried) = (pin!(removal), pin!(carried));
        let (mut removed, mut done) = (None, None);
        poll_fn(|context| {
            if removed.is_none()
                && let Poll::Ready(result) = removal.as_mut().poll(context)
            {
                removed = Some(result);
            }
            if done.is_none()
                && let Poll::Ready(result) = carried.as_mut().poll(context)
            {
                done = Some(result);
            }
            match removed.is_some() && done.is_some() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        assert_eq!(removed, Some(Ok(())));
        assert_eq!(done, Some(Ok(())));
        assert!(!mailboxes.has_domain("gone.example"));
    });
    rig.crash();
    rig.block_on(async {
        let mailboxes = rig.open().await;
        assert!(!mailboxes.has_domain("gone.example"), "in the log too");
    });
}
