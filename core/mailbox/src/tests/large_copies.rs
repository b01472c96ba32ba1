//! COPYs of several groups: all of them or nothing, wherever the power fails, and from the log alone.

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
        let (mailboxes, _, archive, _) = prepared(&rig).await;
        let part = CopyEntry::Part {
            mailbox: archive,
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
            state.note_copying(inbox, Uid(1 + copy), &[(Uid(1 + copy), Uid(1 + copy))]);
        }
        let fault = mailboxes.copy(inbox, &all, archive).await.unwrap_err();
        assert!(matches!(fault, MailboxFault::TooMany(_)), "{fault:?}");
        assert_eq!(count(&mailboxes, archive).await, 0);
        // One that fits a group needs no mark.
        mailboxes.copy(inbox, &all[..20], archive).await.unwrap();
    });
}
