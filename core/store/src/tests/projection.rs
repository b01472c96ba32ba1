//! The projection: checkpoints, crashes inside them, rot, and life without it.

use super::*;

fn body(key: u64) -> Bytes {
    noise(key, 200 + (key % 7) as usize * 300)
}

async fn fill(shelf: &Shelf, keys: std::ops::Range<u64>) {
    for key in keys {
        shelf.put(key, &body(key)).await.unwrap();
    }
}

#[test]
fn what_was_checkpointed_is_not_replayed() {
    let rig = Rig::new(1);
    rig.block_on(async {
        let shelf = rig.open().await;
        fill(&shelf, 0..50).await;
        assert_eq!(shelf.store.since_checkpoint().groups, 50);
        shelf.checkpoint().await.unwrap();
        assert_eq!(shelf.store.since_checkpoint().groups, 0);
        fill(&shelf, 50..53).await;
        shelf.take(7).await.unwrap();
    });
    rig.world.crash();
    rig.block_on(async {
        let shelf = rig.open().await;
        let report = shelf.store.open_report();
        assert_eq!((report.rebuilt, report.replayed_groups), (false, 4));
        assert_eq!(
            shelf.keys(),
            (0..53).filter(|key| *key != 7).collect::<Vec<_>>()
        );
        shelf.verify(body).await;
        assert!(
            shelf
                .store
                .get(BODIES, 7u64.to_be_bytes().to_vec())
                .await
                .unwrap()
                .is_some(),
            "reads see the checkpoint"
        );
        shelf.checkpoint().await.unwrap();
        assert!(
            shelf
                .store
                .get(BODIES, 7u64.to_be_bytes().to_vec())
                .await
                .unwrap()
                .is_none()
        );
        let rows = shelf
            .store
            .range(
                BODIES,
                3u64.to_be_bytes().to_vec(),
                9u64.to_be_bytes().to_vec(),
                4,
            )
            .await
            .unwrap();
        let keys: Vec<u8> = rows.iter().map(|(key, _)| key[7]).collect();
        assert_eq!(keys, [3, 4, 5, 6]);
        assert_eq!(
            shelf
                .store
                .range(Table(99), vec![], vec![255], 4)
                .await
                .unwrap(),
            []
        );
    });
}

/// Puts, takes and checkpoints; the keys after each step, so that a crash leaves one of them.
async fn script(shelf: &Shelf, steps: &RefCell<Vec<Vec<u64>>>) {
    for round in 0..3u64 {
        for key in round * 10..round * 10 + 4 {
            shelf.put(key, &body(key)).await.unwrap();
            steps.borrow_mut().push(shelf.keys());
        }
        shelf.take(round * 10 + 3).await.unwrap();
        steps.borrow_mut().push(shelf.keys());
        shelf.checkpoint().await.unwrap();
    }
}

#[test]
fn a_crash_anywhere_in_checkpoints_leaves_a_log_prefix() {
    let boundaries = {
        let rig = Rig::new(2);
        let before = rig.world.boundaries();
        rig.block_on(async { script(&rig.open().await, &RefCell::default()).await });
        rig.world.boundaries() - before
    };
    let mut opened_after_checkpoint = 0;
    // Every third boundary here; `core/sim` tries all of them over longer stories.
    for boundary in (1..=boundaries).step_by(3) {
        let rig = Rig::new(2);
        rig.world.crash_at(rig.world.boundaries() + boundary);
        let steps = RefCell::default();
        let halt = rig.run(async { script(&rig.open().await, &steps).await });
        if halt.is_ok() {
            continue;
        }
        rig.world.crash();
        rig.block_on(async {
            let shelf = rig.open().await;
            let report = shelf.store.open_report();
            assert!(
                !report.rebuilt,
                "boundary {boundary}: the projection was lost by a crash"
            );
            opened_after_checkpoint += usize::from(report.applied > Lsn(0));
            // At most the one group in flight is more than what was answered.
            let acked = steps.borrow().last().cloned().unwrap_or_default();
            let more = shelf.keys().len().abs_diff(acked.len());
            assert!(
                more <= 1,
                "boundary {boundary}: {:?} instead of {acked:?}",
                shelf.keys()
            );
            assert!(
                acked
                    .iter()
                    .filter(|key| !shelf.keys().contains(key))
                    .count()
                    <= 1
            );
            shelf.verify(body).await;
            shelf.checkpoint().await.unwrap();
            let rows = shelf.store.scrub_projection().await.rows;
            assert_eq!(rows, Some(shelf.keys().len() as u64), "boundary {boundary}");
        });
        rig.world.crash();
        rig.block_on(async {
            let shelf = rig.open().await;
            assert!(!shelf.store.open_report().rebuilt);
            shelf.verify(body).await;
        });
    }
    assert!(opened_after_checkpoint > 10);
}

#[test]
fn without_an_arena_the_log_gives_the_same_state() {
    let rig = Rig::new(3);
    let before = rig.block_on(async {
        let shelf = rig.open().await;
        fill(&shelf, 0..40).await;
        shelf.checkpoint().await.unwrap();
        fill(&shelf, 40..60).await;
        for key in [1, 41, 42] {
            shelf.take(key).await.unwrap();
        }
        shelf.checkpoint().await.unwrap();
        fill(&shelf, 60..62).await;
        rig.wipe_arena(0, &shelf.store);
        rig.wipe_arena(1, &shelf.store);
        shelf.keys()
    });
    rig.world.crash();
    rig.block_on(async {
        let shelf = rig.open().await;
        let report = shelf.store.open_report();
        assert!(report.rebuilt);
        assert_eq!(report.replayed_groups, 65);
        assert_eq!(shelf.keys(), before);
        shelf.verify(body).await;
        // The new projection takes the place of the old one.
        shelf.checkpoint().await.unwrap();
    });
    rig.world.crash();
    rig.block_on(async {
        let shelf = rig.open().await;
        assert_eq!(shelf.store.open_report().replayed_groups, 0);
        assert!(!shelf.store.open_report().rebuilt);
        assert_eq!(shelf.keys(), before);
    });
}

#[test]
fn a_rebuild_that_is_cut_short_begins_again_or_goes_on() {
    for boundary in (1..36).step_by(2) {
        let rig = Rig::new(4);
        let before = rig.block_on(async {
            let shelf = rig.open().await;
            fill(&shelf, 0..30).await;
            shelf.checkpoint().await.unwrap();
            fill(&shelf, 30..35).await;
            shelf.store.request_rebuild().await.unwrap();
            shelf.keys()
        });
        rig.world.crash();
        rig.world.crash_at(rig.world.boundaries() + boundary);
        let _ = rig.run(async {
            let shelf = rig.open().await;
            shelf.checkpoint().await.unwrap();
        });
        rig.world.crash();
        rig.block_on(async {
            let shelf = rig.open().await;
            assert_eq!(shelf.keys(), before, "boundary {boundary}");
            shelf.verify(body).await;
        });
    }
}

#[test]
fn a_page_lost_on_one_leg_is_repaired_from_the_other() {
    let rig = Rig::new(5);
    rig.block_on(async {
        let shelf = rig.open().await;
        fill(&shelf, 0..200).await;
        shelf.checkpoint().await.unwrap();
        rig.wipe_arena(0, &shelf.store);
        let scrub = shelf.store.scrub_projection().await;
        assert!(scrub.pages > 5);
        assert_eq!((scrub.unknown, scrub.rows), (0, Some(200)));
        // The owner thread repairs at its next turn.
        fill(&shelf, 200..201).await;
        base::host::sleep_us(&*shelf.io.host, 1_000_000).await;
        assert!(shelf.store.volume().legs()[0].repairs > 0);
    });
    rig.world.crash();
    rig.block_on(async {
        let shelf = rig.open().await;
        assert!(!shelf.store.open_report().rebuilt);
        shelf.verify(body).await;
    });
}

#[test]
fn a_scrub_repairs_rotten_pages_that_nobody_reads() {
    let rig = Rig::new(15);
    rig.block_on(async {
        let shelf = rig.open().await;
        fill(&shelf, 0..200).await;
        shelf.checkpoint().await.unwrap();
        let volume = shelf.store.volume().clone();
        let sound = volume.scrub().await;
        assert_eq!((sound.repaired, sound.pages_lost), (0, 0));
        rig.wipe_arena(1, &shelf.store);
        let scrub = volume.scrub().await;
        assert!(scrub.repaired > 5, "{scrub:?}");
        assert_eq!((scrub.pages_lost, scrub.damaged), (0, vec![]));
        // Now the other leg can rot: the pages are there.
        rig.wipe_arena(0, &shelf.store);
        let again = volume.scrub().await;
        assert_eq!(
            (again.repaired, again.pages_lost),
            (scrub.repaired, 0),
            "as many pages as before"
        );
    });
    rig.world.crash();
    rig.block_on(async {
        let shelf = rig.open().await;
        assert!(!shelf.store.open_report().rebuilt);
        shelf.verify(body).await;
    });
}

/// Pages are written and logged while the scrub holds them against their checks.
#[test]
fn a_scrub_beside_checkpoints_finds_nothing_where_nothing_is() {
    let rig = Rig::new(16);
    rig.block_on(async {
        let shelf = rig.open().await;
        let done = Rc::new(Cell::new(false));
        let (volume, scrubbed) = (shelf.store.volume().clone(), done.clone());
        shelf.io.host.spawn(Box::pin(async move {
            for _ in 0..40 {
                let report = volume.scrub().await;
                assert_eq!((report.repaired, report.pages_lost), (0, 0));
            }
            scrubbed.set(true);
        }));
        let mut key = 0;
        while !done.get() {
            fill(&shelf, key..key + 10).await;
            key += 10;
            shelf.checkpoint().await.unwrap();
            base::host::sleep_us(&*shelf.io.host, 700).await;
        }
        assert!(key > 100, "{key}");
    });
}

#[test]
fn pages_lost_on_both_legs_under_load_are_rebuilt_at_the_next_open() {
    let rig = Rig::new(6);
    let before = rig.block_on(async {
        let (io, store, replay) = rig.open_store().await.unwrap();
        let shelf = Shelf::open(io, store, replay).await;
        fill(&shelf, 0..2000).await;
        shelf.checkpoint().await.unwrap();
        shelf.keys()
    });
    rig.world.crash();
    rig.block_on(async {
        let shelf = rig.open().await;
        rig.wipe_arena(0, &shelf.store);
        rig.wipe_arena(1, &shelf.store);
        fill(&shelf, 2000..2010).await;
        // redb's cache may still answer a while.
        let mut faults = 0;
        for key in 0..2000u64 {
            match shelf.store.get(BODIES, key.to_be_bytes().to_vec()).await {
                Ok(_) => {}
                Err(StoreFault::Projection(_)) => faults += 1,
                Err(other) => panic!("{other}"),
            }
        }
        if faults > 0 {
            assert!(
                matches!(shelf.checkpoint().await, Err(StoreFault::Projection(_))),
                "nothing of it is logged any more"
            );
        }
        // The log takes on as ever.
        fill(&shelf, 2010..2012).await;
    });
    rig.world.crash();
    rig.block_on(async {
        let shelf = rig.open().await;
        assert!(shelf.store.open_report().rebuilt);
        assert_eq!(shelf.keys().len(), before.len() + 12);
        shelf.verify(body).await;
    });
}

#[test]
fn many_checkpoints_keep_the_way_back_short() {
    let rig = Rig::new(7);
    rig.block_on(async {
        let shelf = rig.open().await;
        for round in 0..150u64 {
            fill(&shelf, round * 4..round * 4 + 4).await;
            shelf.checkpoint().await.unwrap();
        }
    });
    rig.world.crash();
    rig.block_on(async {
        let shelf = rig.open().await;
        let report = shelf.store.open_report();
        assert_eq!((report.rebuilt, report.replayed_groups), (false, 0));
        assert_eq!(shelf.keys(), (0..600).collect::<Vec<_>>());
    });
}

#[test]
fn appends_go_on_beside_a_checkpoint() {
    let rig = Rig::new(8);
    rig.block_on(async {
        let shelf = rig.open().await;
        fill(&shelf, 0..100).await;
        let (at_once, done) = (shelf.clone(), counter());
        let (finished, host) = (done.clone(), shelf.io.host.clone());
        host.spawn(Box::pin(async move {
            at_once.checkpoint().await.unwrap();
            finished.set(1);
        }));
        fill(&shelf, 100..140).await;
        while done.get() == 0 {
            base::host::sleep_us(&*shelf.io.host, 100).await;
        }
    });
    rig.world.crash();
    rig.block_on(async {
        let shelf = rig.open().await;
        assert!(shelf.store.open_report().replayed_groups <= 40);
        assert_eq!(shelf.keys(), (0..140).collect::<Vec<_>>());
    });
}

/// Finding O1: one leg alone was damaged, the projection was rebuilt past that, and then the leg came back that has everything.
#[test]
fn a_rebuild_past_damage_takes_in_what_it_left_out_when_a_leg_brings_it_back() {
    let rig = Rig::new(90);
    let (good, weak) = (rig.legs[0], rig.legs[1]);
    rig.block_on(async {
        let shelf = rig.open().await;
        fill(&shelf, 0..600).await;
        shelf.checkpoint().await.unwrap();
        // The good leg leaves; then a batch rots on the one that stays, and the projection is wanted anew.
        rig.world.remove(good);
        fill(&shelf, 600..610).await;
        let lost = shelf.state.borrow().bodies[&20].clone();
        let at = segment_at(lost.body.segment) + u64::from(lost.body.batch_block) * 4096;
        rig.world.flip_bit(weak, at + 40, 3);
        shelf.checkpoint().await.unwrap();
        shelf.store.request_rebuild().await.unwrap();
    });
    // It says so as long as it lasts, over restarts too, and is not rebuilt each time.
    for round in 0..3 {
        rig.world.crash();
        rig.block_on(async {
            let shelf = rig.open().await;
            let report = shelf.store.open_report();
            assert_eq!((report.rebuilt, report.damaged_stretches), (round == 0, 1));
            assert!(!shelf.keys().contains(&20) && shelf.keys().contains(&609));
            shelf.checkpoint().await.unwrap();
        });
    }
    rig.world.insert(good);
    rig.block_on(async {
        let shelf = rig.open().await;
        let volume = shelf.store.volume().clone();
        volume.attach(good).await.unwrap();
        while volume
            .legs()
            .iter()
            .any(|leg| leg.state != volume::LegState::InSync)
        {
            base::host::sleep_us(&*shelf.io.host, 10_000).await;
        }
        fill(&shelf, 610..615).await;
        shelf.checkpoint().await.unwrap();
    });
    for round in 0..2 {
        rig.world.crash();
        rig.block_on(async {
            let shelf = rig.open().await;
            let report = shelf.store.open_report();
            assert_eq!((report.rebuilt, report.damaged_stretches), (round == 0, 0));
            assert_eq!(shelf.keys(), (0..615).collect::<Vec<_>>());
            shelf.verify(body).await;
            shelf.checkpoint().await.unwrap();
        });
    }
}
