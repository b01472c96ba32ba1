//! Accounts elsewhere: rows and marks are as they were after a crash, bounds hold, and what an earlier account noted counts for none.

use super::*;
use crate::fuzzing::sample_fetch;
use crate::limits::*;

async fn ada(directory: &Directory) -> AccountId {
    directory.add_domain("example.org").await.expect("a domain");
    let vacancy = directory.vacancy(&address("ada")).await.expect("vacant");
    let (account, part) = vacancy.take("$hash", 0).expect("room");
    let tenancy = &directory.inner.tenancy;
    let made = tenancy.commit(Purpose::Keep, Vec::new(), vec![part]).await;
    made.expect("durable");
    account
}

fn marks(ids: std::ops::Range<u64>) -> Vec<SeenMark> {
    ids.map(|id| SeenMark { id, day: 9 }).collect()
}

fn noting(serial: u32, block: u32, ids: std::ops::Range<u64>) -> Noting {
    Noting {
        serial,
        marks: vec![(block, marks(ids))],
        ..Noting::default()
    }
}

#[test]
fn an_account_elsewhere_and_its_marks_are_there_after_a_crash_with_a_checkpoint_and_without() {
    let rig = Rig::new(101);
    let account = rig.world.block_on(async {
        let directory = rig.open().await;
        let account = ada(&directory).await;
        for number in 1..=3 {
            let added = directory.add_fetch(account, sample_fetch()).await;
            assert_eq!(added, Ok(number));
        }
        let first = noting(77, 0, 0..100);
        directory.note_fetch(account, 1, first).await.unwrap();
        directory
            .note_fetch(account, 2, noting(77, 0, 0..5))
            .await
            .unwrap();
        directory.inner.tenancy.checkpoint().await.unwrap();
        let second = Noting {
            looked: Some((5, 301)),
            refusals: Some(0),
            stopped: Some("w".repeat(1_000)),
            ..noting(77, 1, 100..103)
        };
        directory.note_fetch(account, 1, second).await.unwrap();
        directory.remove_fetch(account, 2).await.unwrap();
        account
    });
    for _ in 0..2 {
        rig.reopened(async |directory| {
            let found = directory.fetching(account, 1).expect("it is there");
            assert_eq!((found.row.uid, found.row.refusals), (301, 0));
            assert_eq!(found.row.stopped.len(), FETCH_REASON_BYTES_MAX);
            assert_eq!(found.row.sealed, sample_fetch().sealed);
            assert_eq!(found.marks, [(0, marks(0..100)), (1, marks(100..103))]);
            assert_eq!(directory.fetched_count(account, 1), 103);
            assert_eq!(directory.fetching(account, 2), None);
            assert_eq!(directory.fetched_count(account, 2), 0);
            assert_eq!(directory.fetches(), [(account, 1, 77), (account, 3, 77)]);
            directory.inner.tenancy.checkpoint().await.unwrap();
        });
    }
}

#[test]
fn a_part_counts_with_its_group_alone_and_for_the_account_that_it_began_with() {
    let rig = Rig::new(102);
    rig.world.block_on(async {
        let directory = rig.open().await;
        let account = ada(&directory).await;
        directory.add_fetch(account, sample_fetch()).await.unwrap();
        let before = directory
            .generation()
            .load(std::sync::atomic::Ordering::Relaxed);
        let part = directory.fetch_part(account, 1, noting(77, 0, 0..1));
        let (part, locked) = part.unwrap().expect("the lock is free");
        assert_eq!(
            directory.fetched_count(account, 1),
            0,
            "not before it is durable"
        );
        // Whoever comes meanwhile does not wait, and gets nothing.
        let second = directory.fetch_part(account, 1, noting(77, 0, 0..2));
        assert!(second.unwrap().is_none());
        let tenancy = &directory.inner.tenancy;
        let done = tenancy.commit(Purpose::Keep, Vec::new(), vec![part]).await;
        done.expect("durable");
        drop(locked);
        assert_eq!(directory.fetched_count(account, 1), 1);
        let after = directory
            .generation()
            .load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(before, after, "no cache of look-ups is emptied");
        // It becomes another account elsewhere: what was fetched is forgotten, and what the earlier run notes counts no more.
        let changed = directory
            .change_fetch(account, 1, |row| row.serial = 78)
            .await;
        assert_eq!(changed.unwrap().serial, 78);
        assert_eq!(directory.fetched_count(account, 1), 0);
        let late = directory.fetch_part(account, 1, noting(77, 0, 0..3));
        assert!(matches!(late, Err(DirectoryFault::Refused(_))));
        let late = directory.note_fetch(account, 1, noting(77, 0, 0..3)).await;
        assert!(matches!(late, Err(DirectoryFault::Refused(_))), "{late:?}");
        let gone = directory.remove_fetch(account, 9).await;
        assert!(matches!(gone, Err(DirectoryFault::Refused(_))), "{gone:?}");
    });
}

#[test]
fn a_person_has_eight_and_a_message_more_than_is_remembered_is_refused() {
    let rig = Rig::new(103);
    rig.world.block_on(async {
        let directory = rig.open().await;
        let account = ada(&directory).await;
        for _ in 0..FETCHES_EACH_MAX {
            directory.add_fetch(account, sample_fetch()).await.unwrap();
        }
        let ninth = directory.add_fetch(account, sample_fetch()).await;
        assert!(
            matches!(ninth, Err(DirectoryFault::TooMany(_))),
            "{ninth:?}"
        );
        let gone = directory.add_fetch(AccountId(99), sample_fetch()).await;
        assert_eq!(gone, Err(DirectoryFault::NoAccount));
        let long = FetchRow {
            host: "h".repeat(FETCH_HOST_BYTES_MAX + 1),
            ..sample_fetch()
        };
        directory.remove_fetch(account, 4).await.unwrap();
        let added = directory.add_fetch(account, long).await;
        assert!(
            matches!(added, Err(DirectoryFault::Refused(_))),
            "{added:?}"
        );
        assert_eq!(directory.add_fetch(account, sample_fetch()).await, Ok(4));
        let last = FETCHED_EACH_MAX.div_ceil(FETCHED_PER_ROW_MAX) as u32;
        directory
            .note_fetch(account, 1, noting(77, last - 1, 0..1))
            .await
            .unwrap();
        for wrong in [
            noting(77, last, 0..1),
            noting(77, 0, 0..FETCHED_PER_ROW_MAX as u64 + 1),
        ] {
            let noted = directory.note_fetch(account, 1, wrong).await;
            assert!(
                matches!(noted, Err(DirectoryFault::TooMany(_))),
                "{noted:?}"
            );
        }
        // A row without marks goes; and so does all of an account that is gone.
        directory
            .note_fetch(account, 1, noting(77, last - 1, 0..0))
            .await
            .unwrap();
        assert_eq!(directory.fetching(account, 1).unwrap().marks, []);
        for block in 0..300 {
            directory
                .note_fetch(account, 2, noting(77, block, 0..1))
                .await
                .unwrap();
        }
        directory.forget_fetches(account).await.unwrap();
        assert_eq!(directory.fetches(), []);
        assert_eq!(directory.inner.state.borrow().fetches.count(), 0);
        assert_eq!(directory.inner.state.borrow().fetches.octets(), 0);
    });
}
