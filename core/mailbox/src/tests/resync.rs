//! Clients that come back: what is reported to them of changes and of messages that went, over power cuts, checkpoints, reclaim and a lost projection.

use super::*;
use mail::ModSeq;

/// What really happened, as a client saw it that never looked away.
#[derive(Default)]
struct Model {
    /// The modification sequence with which each message went.
    went: BTreeMap<Uid, ModSeq>,
    highest: ModSeq,
}

const ALL: &UidRanges = &[(Uid(1), Uid(u32::MAX))];

impl Model {
    /// Holds `mailbox` against what happened; `after`: which messages went just now.
    async fn look(&mut self, mailboxes: &Mailboxes, mailbox: MailboxId, after: &[Uid]) {
        let status = mailboxes.status(mailbox).await.unwrap();
        assert!(status.highest_modseq >= self.highest);
        self.highest = status.highest_modseq;
        let went = after.iter().map(|uid| (*uid, status.highest_modseq));
        self.went.extend(went);
    }

    /// Every question that a client may ask is answered with all that went and with nothing that is there. How many were exact.
    async fn check(&self, mailboxes: &Mailboxes, mailbox: MailboxId) -> usize {
        let view = mailboxes.view(mailbox).await.unwrap();
        let mut exact = 0;
        for since in (0..=self.highest.0).step_by(3).map(ModSeq) {
            let resync = mailboxes.resync(mailbox, since, ALL, true).await.unwrap();
            let newer = view.messages.iter();
            let newer = newer.filter(|message| message.modseq > since);
            let newer: Vec<Uid> = newer.map(|message| message.uid).collect();
            assert_eq!(resync.changed, newer);
            let told: Vec<Uid> = resync.vanished.iter().flat_map(|run| run.uids()).collect();
            let went = self.went.iter().filter(|(_, modseq)| **modseq > since);
            let went: Vec<Uid> = went.map(|(uid, _)| *uid).collect();
            assert!(went.iter().all(|uid| told.contains(uid)), "since {since:?}");
            assert!(
                view.messages
                    .iter()
                    .all(|message| !told.contains(&message.uid))
            );
            assert!(told.iter().all(|uid| *uid < view.status.uid_next));
            if resync.exact {
                assert_eq!(told, went, "since {since:?}");
                exact += 1;
            }
        }
        exact
    }
}

/// Some messages go, one way or another.
async fn some_go(
    mailboxes: &Mailboxes,
    random: &mut fastrand::Rng,
    (inbox, archive): (MailboxId, MailboxId),
) -> Vec<Uid> {
    let view = mailboxes.view(inbox).await.unwrap();
    let mut some: Vec<Uid> = view.messages.iter().map(|message| message.uid).collect();
    some.retain(|_| random.u8(0..6) == 0);
    if some.is_empty() {
        return some;
    }
    if random.bool() {
        mailboxes.r#move(inbox, &some, archive).await.unwrap();
    } else {
        let deleted = flags(SystemFlags::DELETED);
        let change = mailboxes.flag(inbox, &some, FlagChange::Add, &deleted);
        change.await.unwrap();
        mailboxes.expunge(inbox, &some).await.unwrap();
    }
    some
}

#[test]
fn a_client_that_comes_back_is_told_of_all_that_went() {
    for seed in 0..6 {
        let mut random = fastrand::Rng::with_seed(seed);
        let rig = Rig::new(900 + seed);
        let (mut model, mut exact) = (Model::default(), 0);
        for life in 0..4 {
            rig.block_on(async {
                let mailboxes = rig.open().await;
                if life == 0 {
                    add(&mailboxes, "ada").await;
                }
                let ada = mailboxes
                    .account(&address("ada"))
                    .await
                    .unwrap()
                    .unwrap()
                    .id;
                let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
                let archive = mailboxes.find(ada, "Archive").await.unwrap();
                exact += model.check(&mailboxes, inbox).await;
                for number in 0..40 {
                    let mut went = Vec::new();
                    match random.u8(0..12) {
                        0..=6 => drop(deliver(&mailboxes, number, ada).await),
                        7..=9 => went = some_go(&mailboxes, &mut random, (inbox, archive)).await,
                        10 => mailboxes.checkpoint().await.unwrap(),
                        // Loads everything again.
                        _ => mailboxes.inner.state.borrow_mut().shrink_cache(0),
                    }
                    model.look(&mailboxes, inbox, &went).await;
                }
                exact += model.check(&mailboxes, inbox).await;
                if life == 2 {
                    mailboxes.store().request_rebuild().await.unwrap();
                }
            });
            rig.crash();
        }
        assert!(exact > 20, "seed {seed}: the mailbox remembers {exact}");
    }
}

/// Reclaim drops old records; what they said of expunges is not guessed afterwards.
#[test]
fn a_rebuild_from_a_reclaimed_log_reports_too_much_rather_than_too_little() {
    let mut rig = Rig::of_size(950, 40 << 20, 1 << 20);
    rig.settings.checkpoint_bytes = 2 << 20;
    let mut random = fastrand::Rng::with_seed(950);
    let mut model = Model::default();
    let freed = rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let archive = mailboxes.find(ada, "Archive").await.unwrap();
        let mut freed = 0;
        for round in 0..60u64 {
            for number in 0..12 {
                let mut large = delivery(round * 100 + number, vec![to(ada, "INBOX")]);
                let raw = raw(round * 100 + number, 60_000);
                large.body = BodyIn {
                    name: BodyName::of(&raw),
                    raw,
                    summary: Bytes::from_static(b"s"),
                };
                mailboxes.deliver(large).await.pop().unwrap().unwrap();
            }
            model.look(&mailboxes, inbox, &[]).await;
            let all = mailboxes.view(inbox).await.unwrap();
            let most: Vec<Uid> = all.messages.iter().map(|message| message.uid).collect();
            let most: Vec<Uid> = most.into_iter().filter(|_| random.u8(0..20) > 0).collect();
            let deleted = flags(SystemFlags::DELETED);
            let change = mailboxes.flag(inbox, &most, FlagChange::Add, &deleted);
            change.await.unwrap();
            mailboxes.expunge(inbox, &most).await.unwrap();
            model.look(&mailboxes, inbox, &most).await;
            let _ = archive;
            mailboxes.checkpoint().await.unwrap();
            freed += mailboxes.reclaim().await;
            mailboxes.checkpoint().await.unwrap();
        }
        model.check(&mailboxes, inbox).await;
        mailboxes.store().request_rebuild().await.unwrap();
        freed
    });
    assert!(freed > 10, "{freed}");
    rig.crash();
    rig.block_on(async {
        let mailboxes = rig.open().await;
        assert!(mailboxes.store().open_report().rebuilt);
        let ada = mailboxes
            .account(&address("ada"))
            .await
            .unwrap()
            .unwrap()
            .id;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        model.check(&mailboxes, inbox).await;
    });
}

/// As after a snapshot, or after too many expunges.
#[test]
fn what_is_forgotten_is_not_taken_for_known() {
    let rig = Rig::new(960);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        for number in 0..9 {
            deliver(&mailboxes, number, ada).await;
        }
        let mut model = Model::default();
        model.look(&mailboxes, inbox, &[]).await;
        let went = [Uid(3), Uid(4)];
        let deleted = flags(SystemFlags::DELETED);
        let change = mailboxes.flag(inbox, &went, FlagChange::Add, &deleted);
        change.await.unwrap();
        mailboxes.expunge(inbox, &went).await.unwrap();
        model.look(&mailboxes, inbox, &went).await;
        let forget = || {
            mailboxes
                .inner
                .state
                .borrow_mut()
                .forget_gone(inbox, ModSeq(2))
        };
        forget();
        let resync = mailboxes.resync(inbox, ModSeq(1), ALL, true).await.unwrap();
        assert!(!resync.exact);
        model.check(&mailboxes, inbox).await;
        let within = [(Uid(1), Uid(3)), (Uid(8), Uid(8))];
        let some = mailboxes
            .resync(inbox, ModSeq(1), &within, true)
            .await
            .unwrap();
        assert_eq!(some.changed, [Uid(1), Uid(2), Uid(8)]);
        let only = UidRun {
            first: Uid(3),
            count: 1,
        };
        assert_eq!(some.vanished, [only]);
    });
}

#[test]
fn a_conditional_change_is_refused_for_what_changed_since() {
    let rig = Rig::new(970);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        for number in 0..3 {
            deliver(&mailboxes, number, ada).await;
        }
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let seen = flags(SystemFlags::SEEN);
        let since = mailboxes.status(inbox).await.unwrap().highest_modseq;
        let second = [Uid(2)];
        let changed = mailboxes.flag(inbox, &second, FlagChange::Add, &seen);
        changed.await.unwrap();
        let all = [Uid(1), Uid(2), Uid(3)];
        let flagged = flags(SystemFlags::FLAGGED);
        let change = mailboxes.change_flags(inbox, &all, FlagChange::Add, &flagged, Some(since));
        let answer = change.await.unwrap();
        let refused: Vec<bool> = answer.iter().map(|flagged| flagged.is_refused).collect();
        assert_eq!(refused, [false, true, false]);
        let systems = |answer: &[Flagged]| -> Vec<SystemFlags> {
            let messages = answer.iter().map(|flagged| &flagged.message);
            messages.map(|message| message.flags.system).collect()
        };
        let (one, two) = (SystemFlags::FLAGGED, SystemFlags::SEEN);
        assert_eq!(systems(&answer), [one, two, one]);
        // All of them changed: nothing is written, and nothing changes.
        let before = mailboxes.status(inbox).await.unwrap();
        let change = mailboxes.change_flags(inbox, &all, FlagChange::Replace, &seen, Some(since));
        assert!(
            change
                .await
                .unwrap()
                .iter()
                .all(|flagged| flagged.is_refused)
        );
        assert_eq!(mailboxes.status(inbox).await.unwrap(), before);
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
        let view = mailboxes.view(inbox).await.unwrap();
        assert_eq!(view.messages[1].flags, flags(SystemFlags::SEEN));
        assert_eq!(view.messages[2].flags, flags(SystemFlags::FLAGGED));
    });
}

/// Both look before either is durable.
#[test]
fn of_two_conditional_changes_at_once_one_is_refused() {
    let rig = Rig::new(971);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        deliver(&mailboxes, 0, ada).await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let since = Some(mailboxes.status(inbox).await.unwrap().highest_modseq);
        let (seen, draft) = (flags(SystemFlags::SEEN), flags(SystemFlags::DRAFT));
        let (first, second) = flags::futures_of(
            mailboxes.change_flags(inbox, &[Uid(1)], FlagChange::Replace, &seen, since),
            mailboxes.change_flags(inbox, &[Uid(1)], FlagChange::Replace, &draft, since),
        )
        .await;
        assert!(!first.unwrap()[0].is_refused);
        assert!(second.unwrap()[0].is_refused);
        let view = mailboxes.view(inbox).await.unwrap();
        assert_eq!(view.messages[0].flags, seen);
    });
}

/// A mailbox out of which an earlier release took messages: the projection has no row about it, or one of later expunges only.
#[test]
fn what_went_before_there_was_a_memory_is_not_taken_for_there() {
    let rig = Rig::new(980);
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        for number in 0..5 {
            deliver(&mailboxes, number, ada).await;
        }
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let since = mailboxes.status(inbox).await.unwrap().highest_modseq;
        let deleted = flags(SystemFlags::DELETED);
        let told = async |went: Uid, is_forgotten: bool| {
            let uids = [went];
            let change = mailboxes.flag(inbox, &uids, FlagChange::Add, &deleted);
            change.await.unwrap();
            mailboxes.expunge(inbox, &uids).await.unwrap();
            if is_forgotten {
                let mut state = mailboxes.inner.state.borrow_mut();
                state.mailboxes.get_mut(&inbox).unwrap().gone = Some(Default::default());
            }
            let resync = mailboxes.resync(inbox, since, ALL, true).await.unwrap();
            let uids: Vec<Uid> = resync.vanished.iter().flat_map(|run| run.uids()).collect();
            (uids, resync.exact)
        };
        assert_eq!(told(Uid(2), true).await, (vec![Uid(2)], false));
        assert_eq!(told(Uid(4), false).await, (vec![Uid(2), Uid(4)], false));
    });
}
