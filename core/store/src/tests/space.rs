//! Space: reclaim, the reserve, and what may never be lost on the way.

use super::*;

pub fn body(key: u64) -> Bytes {
    if key.is_multiple_of(50) {
        noise(key, 1_500_000)
    } else {
        noise(key, 20_000 + key as usize)
    }
}

pub fn large(key: u64) -> Bytes {
    if key.is_multiple_of(50) {
        noise(key, 1_500_000)
    } else {
        noise(key, 200_000 + key as usize)
    }
}

pub fn free(shelf: &Shelf) -> usize {
    shelf
        .store
        .volume()
        .segments()
        .iter()
        .filter(|segment| segment.state == volume::SegmentState::Free)
        .count()
}

#[test]
fn a_full_volume_refuses_bodies_first_and_can_be_emptied() {
    let rig = Rig::new(2);
    rig.block_on(async {
        let shelf = rig.open().await;
        let mut last = 0;
        for key in 1..5_000 {
            match shelf.put(key, &noise(key, 100_000)).await {
                Ok(_) => last = key,
                Err(fault) => {
                    assert_eq!(fault, StoreFault::Full);
                    break;
                }
            }
        }
        assert!(last > 50);
        for key in 1..=last {
            shelf.take(key).await.unwrap();
        }
        shelf.checkpoint().await.unwrap();
        for _ in 0..10 {
            shelf.store.reclaim(&shelf).await.unwrap();
            shelf.checkpoint().await.unwrap();
        }
        for key in 1..=last / 3 {
            shelf.put(key, &noise(key, 100_000)).await.unwrap();
        }
        shelf.verify(|key| noise(key, 100_000)).await;
    });
}

/// Bodies are refused first; then flags and the like, until nothing goes in any more.
fn filled_to_the_brim(seed: u64, content: impl Fn(u64) -> Bytes) -> Rig {
    let rig = Rig::with_leg_bytes(seed, 24 << 20);
    rig.block_on(async {
        let shelf = rig.open().await;
        let mut key = 1;
        while shelf.put(key, &content(key)).await.is_ok() {
            key += 1;
        }
        let filler = Record {
            kind: TAKE, // of a key that nobody has
            payload: noise(1, 100_000),
        };
        let mut fillers = 0;
        for purpose in [Purpose::Keep, Purpose::Delete] {
            let group = || Group {
                records: vec![filler.clone()],
                purpose,
                ..Group::default()
            };
            while shelf.append(group()).await.is_ok() {
                fillers += 1;
            }
        }
        assert!(key > 50 && fillers > 10, "{key}, {fillers}");
    });
    rig.world.crash();
    rig
}

/// Forty times the power is cut while a full store opens and checkpoints, with `reclaims` also while it makes room.
fn cut_again_and_again(rig: &Rig, reclaims: bool) {
    let mut keys = Vec::new();
    for round in 0..40 {
        rig.world
            .crash_at(rig.world.boundaries() + rig.world.draw(1..160));
        let story = rig.run(async {
            let shelf = rig.open().await;
            if keys.is_empty() {
                keys = shelf.keys();
            }
            assert_eq!(shelf.keys(), keys, "round {round}");
            for _ in 0..3 {
                shelf.checkpoint().await.unwrap();
                if reclaims {
                    // Where it was interrupted too often it has no room left for a copy.
                    let reclaimed = shelf.store.reclaim(&shelf).await;
                    assert!(matches!(reclaimed, Ok(_) | Err(StoreFault::Full)));
                }
            }
        });
        assert!(story.is_ok() || story == Err(Halt::PowerCut));
        rig.world.crash();
    }
}

#[test]
fn a_full_store_opens_and_checkpoints_however_often_reclaim_is_cut_off() {
    // Those of 20..50 that ended without room for a checkpoint while reclaim's batches were kept whatever became of the pass.
    for seed in [21, 23, 26, 37, 42, 49] {
        let content = |key| noise(key, 100_000);
        let rig = filled_to_the_brim(seed, content);
        cut_again_and_again(&rig, true);
        rig.block_on(async {
            let shelf = rig.open().await;
            shelf.verify(content).await;
            shelf.checkpoint().await.unwrap();
        });
    }
}

#[test]
fn what_was_emptied_before_a_power_cut_comes_back_after_it() {
    let rig = Rig::new(7);
    let emptied = rig.block_on(async {
        let shelf = rig.open().await;
        for key in 1..=400 {
            shelf.put(key, &body(key)).await.unwrap();
        }
        for key in 1..=400 {
            if key % 10 != 5 {
                shelf.take(key).await.unwrap();
            }
        }
        shelf.checkpoint().await.unwrap();
        assert_eq!(shelf.store.reclaim(&shelf).await, Ok(0));
        shelf.checkpoint().await.unwrap();
        shelf.store.inner.reclaim.emptied_segments().len()
    });
    assert!(emptied > 1);
    for cut_short in [true, false] {
        rig.world.crash();
        rig.block_on(async {
            let shelf = rig.open().await;
            assert_eq!(shelf.store.inner.reclaim.emptied_segments().len(), emptied);
            if cut_short {
                // The list outlives an opening and a checkpoint that do nothing about it.
                shelf.checkpoint().await.unwrap();
                return;
            }
            assert_eq!(shelf.store.reclaim(&shelf).await, Ok(emptied));
            shelf.checkpoint().await.unwrap();
            shelf.verify(body).await;
        });
    }
    rig.world.crash();
    rig.block_on(async {
        let shelf = rig.open().await;
        shelf.verify(body).await;
        shelf.store.request_rebuild().await.unwrap();
    });
    rig.world.crash();
    rig.block_on(async {
        let shelf = rig.open().await;
        assert!(shelf.store.open_report().rebuilt);
        shelf.verify(body).await;
    });
}

#[test]
fn a_full_store_outlives_restarts_and_can_be_emptied() {
    for seed in 30..33 {
        let content = |key| noise(key, 100_000);
        let rig = filled_to_the_brim(seed, content);
        cut_again_and_again(&rig, false);
        rig.block_on(async {
            let shelf = rig.open().await;
            shelf.verify(content).await;
            shelf.checkpoint().await.unwrap();
            for _ in 0..3 {
                shelf.store.reclaim(&shelf).await.unwrap();
                shelf.checkpoint().await.unwrap();
            }
            for key in shelf.keys() {
                shelf.take(key).await.unwrap();
            }
            shelf.checkpoint().await.unwrap();
            for _ in 0..10 {
                shelf.store.reclaim(&shelf).await.unwrap();
                shelf.checkpoint().await.unwrap();
            }
            for key in 1..=20 {
                shelf.put(key, &content(key)).await.unwrap();
            }
        });
    }
}

/// As releases before the reserve was a sum left it: filled down to what the volume itself keeps, and no checkpoint made of any of it.
fn wedged(rig: &Rig, content: impl Fn(u64) -> Bytes) {
    rig.block_on(async {
        let shelf = rig.open().await;
        shelf.store.inner.keeps_all.set(true);
        for first in (0..).step_by(16) {
            let mut group = Group {
                // It asks nothing of the store's own reserve.
                purpose: Purpose::Reclaim,
                ..Group::default()
            };
            for key in first..first + 16 {
                let one = put_group(key, &content(key));
                group.bodies.extend(one.bodies);
                group.records.extend(one.records);
            }
            let bytes: usize = group.bodies.iter().map(|body| body.raw.len()).sum();
            let room = shelf.store.volume().room();
            if room.spare_segments == volume::limits::KEPT_FROM_RECLAIM
                && room.open_blocks < 2 + bytes as u64 / 4096
            {
                break;
            }
            shelf.append(group).await.unwrap();
        }
        let room = shelf.store.volume().room();
        assert_eq!(room.spare_segments, volume::limits::KEPT_FROM_RECLAIM);
    });
}

/// An opening checkpoints, and its index takes the segment that it began. The next opening has nothing new to write down: its checkpoint is for
/// that segment.
#[test]
fn a_checkpoint_with_nothing_to_say_gives_the_last_ones_segment_back() {
    let rig = Rig::with_leg_bytes(40, 24 << 20);
    wedged(&rig, |key| noise(key, 30_000));
    let mut spare = Vec::new();
    for round in 0..4 {
        rig.world.crash();
        rig.block_on(async {
            let shelf = rig.open().await;
            assert_eq!(shelf.store.checkpoint_gives(), round > 0);
            let before = shelf.store.volume().room().spare_segments;
            shelf.checkpoint().await.unwrap();
            assert!(!shelf.store.checkpoint_gives());
            let after = shelf.store.volume().room().spare_segments;
            assert_eq!(after, before + usize::from(round > 0));
            spare.push(after);
        });
    }
    assert!(spare.iter().all(|now| *now == spare[0]), "{spare:?}");
}

#[test]
fn a_volume_that_an_older_release_wedged_comes_free() {
    for seed in 40..43 {
        let content = |key| noise(key, 30_000 + (key % 7) as usize * 500);
        let rig = Rig::with_leg_bytes(seed, 24 << 20);
        wedged(&rig, content);
        rig.world.crash();
        rig.block_on(async {
            let shelf = rig.open().await;
            shelf.checkpoint().await.unwrap();
            shelf.verify(content).await;
            // There is nothing to reclaim; only that lets deletions take what reclaim keeps for itself.
            shelf.store.reclaim(&shelf).await.unwrap();
            for keys in shelf.keys().chunks(shelf.store.rows_at_once() as usize / 2) {
                shelf.take_all(keys).await.unwrap();
            }
            for _ in 0..10 {
                shelf.checkpoint().await.unwrap();
                shelf.store.reclaim(&shelf).await.unwrap();
            }
            for key in 1_000_001..1_000_040 {
                shelf.put(key, &noise(key, 100_000)).await.unwrap();
            }
        });
    }
}

#[test]
fn a_volume_too_small_to_take_mail_is_refused_when_it_is_new() {
    let segments = crate::open::segments_min(SEGMENT_BYTES / 4096) as u64;
    let frame = 512 << 10;
    for (segments, fits) in [(segments - 1, false), (segments, true)] {
        let rig = Rig::with_leg_bytes(50, frame + segments * SEGMENT_BYTES);
        rig.block_on(async {
            match rig.open_store().await {
                Ok((io, store, replay)) => {
                    let shelf = Shelf::open(io, store, replay).await;
                    assert!(fits);
                    shelf.put(1, &noise(1, 20_000)).await.unwrap();
                }
                Err(fault) => assert!(!fits && matches!(fault, StoreFault::Misfit(_)), "{fault}"),
            }
        });
    }
}

/// An older release took it, and the power went before its first checkpoint.
#[test]
fn a_volume_that_is_too_small_by_now_and_holds_mail_is_opened_and_emptied() {
    let segments = crate::open::segments_min(SEGMENT_BYTES / 4096) as u64 - 1;
    let rig = Rig::with_leg_bytes(51, (512 << 10) + segments * SEGMENT_BYTES);
    rig.block_on(async {
        let volume = rig.open_volume().await;
        let (io, settings) = (rig.world.io(), rig.store_settings());
        let opened = Store::open_rebuilding(io.clone(), volume, settings).await;
        let (store, replay) = opened.unwrap();
        let shelf = Shelf::open(io, store, replay).await;
        shelf.put(1, &noise(1, 20_000)).await.unwrap();
        let none = crate::pages::Note {
            sync: None,
            rebuild: false,
            emptied: Vec::new(),
            past_damage: Vec::new(),
        };
        let none = volume::Checkpoint {
            lsn: Lsn(0),
            note: none.encode(),
        };
        shelf.store.volume().set_checkpoint(none).await.unwrap();
    });
    for _ in 0..2 {
        rig.world.crash();
        rig.block_on(async {
            let shelf = rig.open().await;
            assert_eq!(shelf.keys(), [1]);
            shelf.verify(|key| noise(key, 20_000)).await;
        });
    }
    rig.block_on(async {
        let shelf = rig.open().await;
        shelf.take(1).await.unwrap();
        shelf.checkpoint().await.unwrap();
        assert_eq!(shelf.keys(), []);
    });
}
