//! What things cost, where that is a promise: counts of rows and bytes, never times.

use super::*;

/// Restart reads what changed since the checkpoint, however many accounts there are.
#[test]
fn a_start_reads_only_what_the_replayed_groups_are_about() {
    let rig = Rig::new(60);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        for number in 0..300 {
            let account = add(&mailboxes, &format!("user{number}")).await;
            deliver(&mailboxes, number, account).await;
        }
        mailboxes.checkpoint().await.unwrap();
        let account = mailboxes
            .account(&address("user7"))
            .await
            .unwrap()
            .unwrap()
            .id;
        deliver(&mailboxes, 1_000, account).await;
    });
    rig.crash();
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let read = mailboxes.inner.rows_read.get();
        assert!(read <= 4, "{read} rows for one delivery");
        assert!(mailboxes.inner.state.borrow().mailboxes.len() <= 1);
    });
}

#[test]
fn a_delivery_to_a_large_mailbox_reads_its_tail_only() {
    let rig = Rig::new(61);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        for number in 0..10 * u64::from(limits::CHUNK_MESSAGES) {
            deliver(&mailboxes, number % 10, ada).await;
        }
        mailboxes.checkpoint().await.unwrap();
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
        let placed = deliver(&mailboxes, 1, ada).await;
        let loaded = mailboxes.inner.state.borrow().mailboxes[&placed.mailbox]
            .messages
            .len();
        assert!(loaded <= limits::CHUNK_MESSAGES as usize, "{loaded}");
        assert_eq!(
            mailboxes.status(placed.mailbox).await.unwrap().messages,
            10 * limits::CHUNK_MESSAGES + 1
        );
        assert_eq!(
            mailboxes.view(placed.mailbox).await.unwrap().messages.len() as u32,
            10 * limits::CHUNK_MESSAGES + 1
        );
    });
}

/// Rows of deleted mailboxes go in the background, some at each checkpoint.
#[test]
fn a_deleted_mailbox_leaves_no_rows_behind() {
    let rig = Rig::new(62);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        for number in 0..200 {
            deliver(&mailboxes, number % 10, ada).await;
        }
        mailboxes.checkpoint().await.unwrap();
        let rows = async || {
            mailboxes
                .store()
                .range(row::CHUNKS, vec![], vec![0xff; 13], 1_000)
                .await
                .unwrap()
                .len()
        };
        assert!(rows().await > 5);
        mailboxes.remove_account(ada).await.unwrap();
        for _ in 0..3 {
            mailboxes.checkpoint().await.unwrap();
        }
        assert_eq!(rows().await, 0);
        assert!(mailboxes.inner.state.borrow().condemned.is_empty());
    });
}

/// Prints index bytes per delivered message. Run by hand: `cargo test --release -p mailbox -- --ignored --nocapture index_bytes`.
#[test]
#[ignore = "a measurement"]
fn index_bytes_per_delivered_message() {
    for mailboxes_count in [3u64, 1_000] {
        let rig = Rig::of_size(63, 1 << 30, 16 << 20);
        rig.block_on(async {
            let mailboxes = rig.open().await;
            let mut accounts = Vec::new();
            for number in 0..mailboxes_count {
                accounts.push(add(&mailboxes, &format!("user{number:05}")).await);
            }
            mailboxes.checkpoint().await.unwrap();
            for round in 0..4u64 {
                let before = mailboxes.store().counters();
                let mut random = fastrand::Rng::with_seed(round);
                for number in 0..10_000u64 {
                    let account = accounts[random.usize(0..accounts.len())];
                    deliver(&mailboxes, number % 100, account).await;
                }
                mailboxes.checkpoint().await.unwrap();
                let after = mailboxes.store().counters();
                println!(
                    "{mailboxes_count} mailboxes, round {round}: {} rows, {} bytes of index per message",
                    after.checkpoint_rows - before.checkpoint_rows,
                    (after.checkpoint_bytes - before.checkpoint_bytes) / 10_000
                );
            }
        });
    }
}

/// Prints what a mailbox of 100,000 messages costs its owner thread. Run by hand, as above, with `large_mailbox`.
#[test]
#[ignore = "a measurement"]
fn large_mailbox() {
    let mut rig = Rig::of_size(64, 1 << 30, 16 << 20);
    rig.settings.cache_bytes = 256 << 20;
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        for number in 0..1_000 {
            deliver(&mailboxes, number, ada).await;
        }
        while mailboxes.status(inbox).await.unwrap().messages < 100_000 {
            let some: Vec<Uid> = (1..=1_000).map(Uid).collect();
            mailboxes.copy(inbox, &some, inbox).await.unwrap();
        }
        mailboxes.checkpoint().await.unwrap();
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
        let timed =
            |what: &str, begun: std::time::Instant| println!("{what}: {:?}", begun.elapsed());
        let begun = std::time::Instant::now();
        let view = mailboxes.view(inbox).await.unwrap();
        timed("first view", begun);
        let begun = std::time::Instant::now();
        drop(mailboxes.view(inbox).await.unwrap());
        timed("second view", begun);
        let begun = std::time::Instant::now();
        let before = view.status.highest_modseq;
        deliver(&mailboxes, 1, ada).await;
        timed(
            "delivery while a view is held (sim and body included)",
            begun,
        );
        let begun = std::time::Instant::now();
        deliver(&mailboxes, 2, ada).await;
        timed("the next delivery", begun);
        let begun = std::time::Instant::now();
        assert_eq!(
            mailboxes
                .changes(inbox, before)
                .await
                .unwrap()
                .changed
                .len(),
            2
        );
        timed("changes", begun);
        let all: Vec<Uid> = view.messages.iter().map(|message| message.uid).collect();
        let begun = std::time::Instant::now();
        mailboxes
            .flag(inbox, &all, FlagChange::Add, &flags(SystemFlags::SEEN))
            .await
            .unwrap();
        timed("flag all", begun);
        let begun = std::time::Instant::now();
        mailboxes.checkpoint().await.unwrap();
        timed("checkpoint of all", begun);
        println!("{} bytes a message in memory", size_of::<Message>());
    });
}

/// Mail to ever more mailboxes than memory has room for: deliveries wait for checkpoints, memory does not grow.
#[test]
fn memory_is_bounded_when_mail_outruns_checkpoints() {
    let mut rig = Rig::new(65);
    rig.settings.cache_bytes = 1;
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let mut highest_bytes = 0;
        for number in 0..1_200 {
            let account = add(&mailboxes, &format!("user{number}")).await;
            deliver(&mailboxes, number, account).await;
            highest_bytes = highest_bytes.max(mailboxes.inner.state.borrow().cached_bytes());
        }
        assert!(mailboxes.store().counters().checkpoints > 5);
        assert!(
            highest_bytes < 3 * limits::CACHE_BYTES_MIN,
            "{highest_bytes}"
        );
        assert_eq!(mailboxes.accounts(None, 10_000).await.unwrap().len(), 1_200);
    });
}

#[test]
fn after_close_nothing_is_taken_in() {
    let rig = Rig::new(66);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        mailboxes.close().await.unwrap();
        let placed = mailboxes.deliver(delivery(1, vec![to(ada, "INBOX")])).await;
        assert!(matches!(placed[0], Err(MailboxFault::Unavailable(_))));
        assert!(mailboxes.create(ada, "more", None).await.is_err());
        assert!(mailboxes.add_domain("example.net").await.is_err());
    });
}
