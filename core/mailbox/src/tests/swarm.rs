//! Several clients do things at random to the same few mailboxes while checkpoints and reclaim run on a small volume and memory is short;
//! then the power fails. What the log and the index give must equal what the bare log gives, and every body must be what its name says.

use super::*;

#[derive(Default)]
struct Tally {
    running: usize,
    refused: usize,
    done: usize,
}

async fn client(mailboxes: Mailboxes, seed: u64, tally: Rc<RefCell<Tally>>) {
    let mut random = fastrand::Rng::with_seed(seed);
    for step in 0..100u64 {
        let result = act(&mailboxes, &mut random, seed * 1_000 + step).await;
        let mut tally = tally.borrow_mut();
        match result {
            Ok(()) => tally.done += 1,
            Err(_) => tally.refused += 1,
        }
    }
    tally.borrow_mut().running -= 1;
}

async fn act(
    mailboxes: &Mailboxes,
    random: &mut fastrand::Rng,
    number: u64,
) -> Result<(), MailboxFault> {
    let account = mailboxes.accounts(None, 10).await?;
    let Some(account) = random.choice(account).map(|account| account.id) else {
        return Ok(());
    };
    let folders = mailboxes.list(account).await?;
    let folders: Vec<MailboxInfo> = folders.into_iter().filter(|info| info.selectable).collect();
    let Some(from) = random.choice(&folders) else {
        return Ok(());
    };
    let Some(to_folder) = random.choice(&folders) else {
        return Ok(());
    };
    let view = mailboxes.view(from.id).await?;
    let share = random.u8(1..10);
    let some: Vec<Uid> = view
        .messages
        .iter()
        .map(|message| message.uid)
        .filter(|_| random.u8(0..10) < share)
        .collect();
    match random.u8(0..100) {
        0..36 => {
            let raw = raw(number, random.usize(100..150_000));
            let body = BodyIn {
                name: BodyName::of(&raw),
                raw,
                summary: Bytes::from(format!("summary {number}")),
            };
            let recipients = vec![to(account, &from.name), to(account, "INBOX")];
            let delivery = Delivery {
                body,
                internal_date: InternalDate::utc(number as i64),
                recipients,
            };
            for placed in mailboxes.deliver(delivery).await {
                let placed = placed?;
                let changes = mailboxes.changes(placed.mailbox, mail::ModSeq(0)).await?;
                assert!(changes.too_old || changes.gone || changes.uid_next > placed.uid);
            }
        }
        36..48 => {
            let system = SystemFlags(random.u8(0..32));
            let change =
                [FlagChange::Replace, FlagChange::Add, FlagChange::Remove][random.usize(0..3)];
            mailboxes
                .flag(from.id, &some, change, &flags(system))
                .await?;
        }
        48..70 => {
            mailboxes
                .flag(
                    from.id,
                    &some,
                    FlagChange::Add,
                    &flags(SystemFlags::DELETED),
                )
                .await?;
            mailboxes.expunge(from.id, &some).await?;
        }
        70..80 => {
            let few = &some[..some.len().min(20)];
            let (_, pairs) = mailboxes.copy(from.id, few, to_folder.id).await?;
            assert!(pairs.len() <= few.len());
        }
        80..90 => _ = mailboxes.r#move(from.id, &some, to_folder.id).await?,
        90..93 => {
            _ = mailboxes
                .create(account, &format!("f{}/g", random.u8(0..5)), None)
                .await?
        }
        93..95 => {
            mailboxes
                .rename(account, &from.name, &format!("r{}", random.u8(0..9)))
                .await?
        }
        95..97 => mailboxes.delete(account, &from.name).await?,
        97 => {
            mailboxes
                .set_quota(account, random.u64(1 << 20..1 << 24))
                .await?
        }
        98 => mailboxes.remove_account(account).await?,
        _ => {
            _ = mailboxes
                .add_account(&address(&format!("user{}", random.u8(0..6))), "x", 0)
                .await?
        }
    }
    Ok(())
}

fn swarm(seed: u64, cut: bool) {
    let mut rig = Rig::of_size(seed, 20 << 20, 512 << 10);
    rig.settings.cache_bytes = 1;
    let tally: Rc<RefCell<Tally>> = Rc::default();
    let story = async {
        let mailboxes = rig.open().await;
        for number in 0..4 {
            add(&mailboxes, &format!("user{number}")).await;
        }
        let host = rig.world.io().host.clone();
        tally.borrow_mut().running = 5;
        for number in 0..5 {
            host.spawn(Box::pin(client(
                mailboxes.clone(),
                seed * 10 + number,
                tally.clone(),
            )));
        }
        let mut random = fastrand::Rng::with_seed(seed);
        while tally.borrow().running > 0 {
            base::host::sleep_us(&*host, random.u64(200..4_000)).await;
            let _ = mailboxes.checkpoint().await;
            mailboxes.reclaim().await;
        }
        picture(&mailboxes).await
    };
    if cut {
        rig.world
            .crash_at(rig.world.boundaries() + rig.world.draw(50..1_500));
    }
    let before = rig.world.run(story).ok();
    rig.crash();
    let after = rig.block_on(async {
        let mailboxes = rig.open().await;
        let after = picture(&mailboxes).await;
        for account in mailboxes.accounts(None, 100).await.unwrap() {
            let mut used_bytes = 0;
            for info in mailboxes
                .list(account.id)
                .await
                .unwrap()
                .into_iter()
                .filter(|info| info.selectable)
            {
                used_bytes += mailboxes.status(info.id).await.unwrap().size_bytes;
            }
            assert_eq!(account.used_bytes, used_bytes, "seed {seed}");
        }
        mailboxes.store().request_rebuild().await.unwrap();
        after
    });
    if let Some(before) = before {
        assert_same(&after, &before);
        assert!(
            tally.borrow().done > 100,
            "seed {seed}: {} done, {} refused",
            tally.borrow().done,
            tally.borrow().refused
        );
    }
    rig.crash();
    rig.block_on(async {
        let mailboxes = rig.open().await;
        assert!(mailboxes.store().open_report().rebuilt);
        assert_same(&picture(&mailboxes).await, &after);
    });
}

#[test]
fn the_log_alone_gives_what_clients_left() {
    (200..206).for_each(|seed| swarm(seed, false));
}

#[test]
fn the_log_alone_gives_what_a_power_cut_left() {
    (300..308).for_each(|seed| swarm(seed, true));
}
