//! COPYs of several groups: all of them or nothing, wherever the power fails, and from the log alone.

use std::cell::Cell;

use super::*;
use crate::copying::CopyEntry;
use crate::hold::Hold;
use crate::record::Entry;

/// Sixty messages with these fill a group.
fn heavy() -> Flags {
    let keyword = |number: usize| Keyword::parse(&format!("{number:0>64}")).unwrap();
    Flags {
        keywords: (0..mail::flags::KEYWORDS_MAX).map(keyword).collect(),
        ..Flags::default()
    }
}

const MESSAGES: u64 = 150;

/// Messages in INBOX, and nothing in Archive.
async fn prepared(rig: &Rig) -> (Mailboxes, MailboxId, MailboxId, Vec<Uid>) {
    let mailboxes = rig.open().await;
    let ada = add(&mailboxes, "ada").await;
    for number in 0..MESSAGES {
        let mut recipient = to(ada, "INBOX");
        recipient.flags = heavy();
        let placed = mailboxes.deliver(delivery(number, vec![recipient])).await;
        assert!(placed.iter().all(Result::is_ok));
    }
    let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
    let archive = mailboxes.find(ada, "Archive").await.unwrap();
    let all = (1..=MESSAGES as u32).map(Uid).collect();
    (mailboxes, inbox, archive, all)
}

async fn count(mailboxes: &Mailboxes, mailbox: MailboxId) -> u64 {
    let view = mailboxes.view(mailbox).await.unwrap();
    assert_eq!(view.status.messages as usize, view.messages.len());
    view.messages.len() as u64
}

fn unfinished(mailboxes: &Mailboxes) -> usize {
    mailboxes.inner.state.borrow().unfinished.len()
}

#[test]
fn a_large_copy_is_all_or_nothing_across_a_crash_anywhere() {
    let start = || {
        let rig = Rig::of_size(44, 48 << 20, 1 << 20);
        let (inbox, archive, all) = rig.block_on(async {
            let (mailboxes, inbox, archive, all) = prepared(&rig).await;
            mailboxes.close().await.unwrap();
            (inbox, archive, all)
        });
        (rig, inbox, archive, all)
    };
    let copy = async |rig: &Rig, checkpoint: bool, (inbox, archive, all): (_, _, &[Uid])| {
        let mailboxes = rig.open().await;
        let beside = mailboxes.clone();
        if checkpoint {
            // The marks of a copy under way are in the projection too.
            rig.world.io().host.spawn(Box::pin(async move {
                while unfinished(&beside) == 0 {
                    base::host::sleep_us(&*beside.inner.io.host, 20).await;
                }
                let _ = beside.checkpoint().await;
            }));
        }
        let copied = mailboxes.copy(inbox, all, archive).await;
        assert_eq!(copied.unwrap().1.len() as u64, MESSAGES);
    };
    for checkpoint in [false, true] {
        let boundaries = {
            let (rig, inbox, archive, all) = start();
            let before = rig.world.boundaries();
            rig.block_on(copy(&rig, checkpoint, (inbox, archive, &all[..])));
            rig.world.boundaries() - before
        };
        assert!(boundaries > 6, "{boundaries}");
        let mut halves = 0;
        for boundary in 1..=boundaries {
            let (rig, inbox, archive, all) = start();
            rig.world.crash_at(rig.world.boundaries() + boundary);
            let story = rig
                .world
                .run(copy(&rig, checkpoint, (inbox, archive, &all[..])));
            rig.crash();
            let (first, is_half) = rig.block_on(async {
                let mailboxes = rig.open().await;
                let there = count(&mailboxes, archive).await;
                let status = mailboxes.status(archive).await.unwrap();
                assert!(
                    there == MESSAGES || (there == 0 && story.is_err()),
                    "boundary {boundary}: {there}"
                );
                assert_eq!(unfinished(&mailboxes), 0, "boundary {boundary}");
                assert_eq!(count(&mailboxes, inbox).await, MESSAGES);
                mailboxes.store().request_rebuild().await.unwrap();
                (
                    picture(&mailboxes).await,
                    there == 0 && status.uid_next > Uid(1),
                )
            });
            halves += u32::from(is_half);
            rig.crash();
            rig.block_on(async {
                let mailboxes = rig.open().await;
                assert!(mailboxes.store().open_report().rebuilt);
                assert_same(&picture(&mailboxes).await, &first);
            });
        }
        assert!(halves > 1, "some crash was between two groups: {halves}");
    }
}

#[test]
fn a_small_copy_leaves_no_mark_and_a_large_one_none_at_its_end() {
    let rig = Rig::new(45);
    rig.block_on(async {
        let (mailboxes, inbox, archive, all) = prepared(&rig).await;
        let before = mailboxes.inner.state.borrow().applied;
        mailboxes.copy(inbox, &all[..20], archive).await.unwrap();
        assert_eq!(unfinished(&mailboxes), 0);
        mailboxes.copy(inbox, &all, archive).await.unwrap();
        assert_eq!(unfinished(&mailboxes), 0);
        assert!(mailboxes.inner.state.borrow().applied > before);
        // Behind the last of them are some that are not there.
        let mut more = all.clone();
        more.extend((1_000..1_100).map(Uid));
        let (_, pairs) = mailboxes.copy(inbox, &more, archive).await.unwrap();
        assert_eq!(pairs.len() as u64, MESSAGES);
        assert_eq!(unfinished(&mailboxes), 0);
        assert_eq!(count(&mailboxes, archive).await, 20 + 2 * MESSAGES);
    });
}

#[test]
fn a_large_copy_that_fails_is_taken_back_with_its_mark() {
    let rig = Rig::new(46);
    rig.block_on(async {
        let (mailboxes, inbox, archive, all) = prepared(&rig).await;
        let ada = mailboxes.account(&address("ada")).await.unwrap().unwrap();
        let used = ada.used_bytes;
        // Room for half of them.
        mailboxes.set_quota(ada.id, used + used / 2).await.unwrap();
        let fault = mailboxes.copy(inbox, &all, archive).await.unwrap_err();
        assert_eq!(fault, MailboxFault::OverQuota);
        assert_eq!(count(&mailboxes, archive).await, 0);
        assert_eq!(unfinished(&mailboxes), 0);
    });
}

/// Records of a copy, without the messages.
async fn marked(mailboxes: &Mailboxes, entries: Vec<CopyEntry>) {
    let entries: Vec<Entry> = entries.into_iter().map(Entry::from).collect();
    let hold = Hold::default();
    mailboxes
        .inner
        .commit(Vec::new(), entries, hold)
        .await
        .unwrap();
}

/// What reclaim writes again, so that older records may go: a copy that is done must not be taken back, one that is not must be.
#[test]
fn marks_outlast_reclaim_for_copies_that_are_not_done_only() {
    for is_done in [false, true] {
        let rig = Rig::new(47);
        let (archive, before) = rig.block_on(async {
            let (mailboxes, inbox, archive, all) = prepared(&rig).await;
            mailboxes.copy(inbox, &all[..20], archive).await.unwrap();
            let copy = Uid(11);
            let part = CopyEntry::Part {
                mailbox: archive,
                from: inbox,
                copy,
                ranges: vec![(Uid(11), Uid(20))],
            };
            let done = CopyEntry::Done {
                mailbox: archive,
                copy,
            };
            let mut entries = vec![part];
            entries.extend(is_done.then_some(done));
            marked(&mailboxes, entries).await;
            let record = Entry::from(CopyEntry::Done {
                mailbox: archive,
                copy,
            });
            // As if a segment with a record about it were freed.
            let lsn = mailboxes.inner.state.borrow().applied;
            let carried = vec![(lsn, record.encode())];
            store::Tenant::carry_forward(&*mailboxes.inner, carried)
                .await
                .unwrap();
            assert_eq!(unfinished(&mailboxes), usize::from(!is_done));
            mailboxes.store().request_rebuild().await.unwrap();
            (archive, count(&mailboxes, archive).await)
        });
        assert_eq!(before, 20);
        rig.crash();
        rig.block_on(async {
            let mailboxes = rig.open().await;
            let left = if is_done { 20 } else { 10 };
            assert_eq!(count(&mailboxes, archive).await, left);
            assert_eq!(unfinished(&mailboxes), 0);
        });
    }
}

#[test]
fn a_mailbox_that_goes_takes_its_marks_along() {
    let rig = Rig::new(48);
    rig.block_on(async {
        let (mailboxes, inbox, archive, _) = prepared(&rig).await;
        let part = CopyEntry::Part {
            mailbox: archive,
            from: inbox,
            copy: Uid(1),
            ranges: vec![(Uid(1), Uid(5))],
        };
        marked(&mailboxes, vec![part]).await;
        assert_eq!(unfinished(&mailboxes), 1);
        mailboxes.checkpoint().await.unwrap();
        let ada = mailboxes.account(&address("ada")).await.unwrap().unwrap();
        mailboxes.delete(ada.id, "Archive").await.unwrap();
        assert_eq!(unfinished(&mailboxes), 0);
        mailboxes.checkpoint().await.unwrap();
    });
    rig.crash();
    rig.block_on(async {
        let mailboxes = rig.open().await;
        assert_eq!(unfinished(&mailboxes), 0);
    });
}

#[test]
fn copies_that_may_be_under_way_are_bounded() {
    let rig = Rig::new(49);
    rig.block_on(async {
        let (mailboxes, inbox, archive, all) = prepared(&rig).await;
        for copy in 0..limits::COPIES_UNFINISHED_MAX as u32 {
            let mut state = mailboxes.inner.state.borrow_mut();
            let uid = Uid(1 + copy);
            state.note_copying(inbox, archive, uid, &[(uid, uid)]);
        }
        let fault = mailboxes.copy(inbox, &all, archive).await.unwrap_err();
        assert!(matches!(fault, MailboxFault::TooMany(_)), "{fault:?}");
        assert_eq!(count(&mailboxes, archive).await, 0);
        // One that fits a group needs no mark.
        mailboxes.copy(inbox, &all[..20], archive).await.unwrap();
    });
}

/// A COPY was answered NO and could not be taken back, or a crash cut it, and meanwhile a person deleted originals of which there were copies.
#[test]
fn a_copy_whose_original_is_gone_stays() {
    for source_goes in [false, true] {
        let rig = Rig::new(50);
        let archive = rig.block_on(async {
            let (mailboxes, inbox, archive, all) = prepared(&rig).await;
            let ada = mailboxes.account(&address("ada")).await.unwrap().unwrap();
            let work = mailboxes.create(ada.id, "Work", None).await.unwrap();
            mailboxes.copy(inbox, &all[..20], work).await.unwrap();
            mailboxes.copy(work, &all[..20], archive).await.unwrap();
            let part = CopyEntry::Part {
                mailbox: archive,
                from: work,
                copy: Uid(11),
                ranges: vec![(Uid(11), Uid(20))],
            };
            marked(&mailboxes, vec![part]).await;
            // They are in INBOX too, but that is not where they were copied from.
            match source_goes {
                true => mailboxes.delete(ada.id, "Work").await.unwrap(),
                false => {
                    let gone = mailboxes.remove(work, &all[10..15]).await.unwrap();
                    assert_eq!(gone.len(), 5);
                }
            }
            archive
        });
        rig.crash();
        rig.block_on(async {
            let mailboxes = rig.open().await;
            assert_eq!(unfinished(&mailboxes), 0);
            let view = mailboxes.view(archive).await.unwrap();
            let uids: Vec<u32> = view.messages.iter().map(|message| message.uid.0).collect();
            let last = if source_goes { 20 } else { 15 };
            assert_eq!(uids, (1..=last).collect::<Vec<u32>>());
        });
    }
}

#[test]
fn a_copy_into_its_own_mailbox_is_not_its_own_original() {
    let rig = Rig::new(51);
    let archive = rig.block_on(async {
        let (mailboxes, inbox, archive, all) = prepared(&rig).await;
        mailboxes.copy(inbox, &all[..20], archive).await.unwrap();
        mailboxes.copy(archive, &all[..10], archive).await.unwrap();
        mailboxes.remove(archive, &all[..5]).await.unwrap();
        let part = CopyEntry::Part {
            mailbox: archive,
            from: archive,
            copy: Uid(21),
            ranges: vec![(Uid(21), Uid(30))],
        };
        marked(&mailboxes, vec![part]).await;
        archive
    });
    rig.crash();
    rig.block_on(async {
        let mailboxes = rig.open().await;
        assert_eq!(unfinished(&mailboxes), 0);
        let view = mailboxes.view(archive).await.unwrap();
        let uids: Vec<u32> = view.messages.iter().map(|message| message.uid.0).collect();
        assert_eq!(uids, (6..=25).collect::<Vec<u32>>());
    });
}

/// The marks of copies that begin in one turn are not in memory when the next one looks; more rows than planned for would refuse every opening.
#[test]
fn copies_that_begin_together_are_bounded() {
    let rig = Rig::new(52);
    rig.block_on(async {
        let (mailboxes, inbox, archive, all) = prepared(&rig).await;
        mailboxes.copy_in_groups_of(400);
        let (ended, most) = (Rc::new(Cell::new((0, 0))), Rc::new(Cell::new(0)));
        let count = 3 * limits::COPIES_UNFINISHED_MAX;
        for _ in 0..count {
            let (mailboxes, ended, most) = (mailboxes.clone(), ended.clone(), most.clone());
            let some = all[..3].to_vec();
            rig.world.io().host.spawn(Box::pin(async move {
                let copied = mailboxes.copy(inbox, &some, archive).await;
                most.set(most.get().max(unfinished(&mailboxes)));
                let (done, refused) = ended.get();
                ended.set(match copied {
                    Ok(_) => (done + 1, refused),
                    Err(MailboxFault::TooMany(_)) => (done, refused + 1),
                    Err(fault) => panic!("{fault:?}"),
                });
            }));
        }
        let host = rig.world.io().host;
        while ended.get().0 + ended.get().1 < count {
            base::host::sleep_us(&*host, 20).await;
            most.set(most.get().max(unfinished(&mailboxes)));
        }
        let (done, refused) = ended.get();
        assert!(done >= limits::COPIES_UNFINISHED_MAX && refused > 0);
        assert!(most.get() > 1 && most.get() <= limits::COPIES_UNFINISHED_MAX);
        assert_eq!(unfinished(&mailboxes), 0);
    });
}

/// Of more messages than a deletion may take at once.
#[test]
fn a_large_take_back_goes_in_steps() {
    let rig = Rig::of_size(53, 48 << 20, 1 << 20);
    let archive = rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        for number in 0..MESSAGES {
            let placed = mailboxes
                .deliver(delivery(number, vec![to(ada, "INBOX")]))
                .await;
            assert!(placed.iter().all(Result::is_ok));
        }
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let archive = mailboxes.find(ada, "Archive").await.unwrap();
        let all: Vec<Uid> = (1..=MESSAGES as u32).map(Uid).collect();
        let at_once = mailboxes.store().rows_at_once() / 2 * u64::from(limits::CHUNK_MESSAGES);
        let mut ranges = Vec::new();
        for _ in 0..=3 * at_once / MESSAGES {
            let (_, pairs) = mailboxes.copy(inbox, &all, archive).await.unwrap();
            ranges.push((pairs[0].1, pairs[pairs.len() - 1].1));
            mailboxes.checkpoint().await.unwrap();
        }
        assert!(count(&mailboxes, archive).await > 3 * at_once);
        let part = CopyEntry::Part {
            mailbox: archive,
            from: inbox,
            copy: ranges[0].0,
            ranges,
        };
        marked(&mailboxes, vec![part]).await;
        mailboxes.checkpoint().await.unwrap();
        archive
    });
    rig.crash();
    rig.block_on(async {
        let mailboxes = rig.open().await;
        assert_eq!(unfinished(&mailboxes), 0);
        assert_eq!(count(&mailboxes, archive).await, 0);
    });
}
