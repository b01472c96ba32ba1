//! Reclaim: what dies comes back as room, and what lives is never lost on the way.

use super::space::{body, free, large};
use super::*;

#[test]
fn dead_segments_come_back_and_the_living_move() {
    let rig = Rig::new(1);
    let kept: Vec<u64> = rig.block_on(async {
        let shelf = rig.open().await;
        for key in 1..=400 {
            shelf.put(key, &body(key)).await.unwrap();
        }
        shelf.checkpoint().await.unwrap();
        let full = free(&shelf);
        for key in 1..=400 {
            if key % 10 != 5 && key != 200 {
                shelf.take(key).await.unwrap();
            }
        }
        shelf.checkpoint().await.unwrap();
        let mut freed = 0;
        for _ in 0..12 {
            freed += shelf.store.reclaim(&shelf).await.unwrap();
            shelf.checkpoint().await.unwrap();
        }
        assert!(freed >= 5, "only {freed} segments came back");
        assert!(
            free(&shelf) > full + 2,
            "{} free, {full} before",
            free(&shelf)
        );
        shelf.verify(body).await;
        shelf.keys()
    });
    assert_eq!(
        kept,
        (1..=400)
            .filter(|key| key % 10 == 5 || *key == 200)
            .collect::<Vec<_>>()
    );
    rig.world.crash();
    rig.block_on(async {
        let shelf = rig.open().await;
        assert_eq!(shelf.keys(), kept);
        shelf.verify(body).await;
        shelf.store.request_rebuild().await.unwrap();
    });
    rig.world.crash();
    rig.block_on(async {
        let shelf = rig.open().await;
        assert!(shelf.store.open_report().rebuilt);
        assert_eq!(shelf.keys(), kept, "the log alone gives the same state");
        shelf.verify(body).await;
    });
}

/// Forty letters of which every fourth lives; their segments are emptied, and no checkpoint stands for that yet. Also where all bodies were before.
async fn emptied_and_not_checkpointed(rig: &Rig) -> (Shelf, BTreeMap<u64, BodyRef>) {
    let shelf = rig.open().await;
    for key in 1..=40 {
        shelf.put(key, &large(key)).await.unwrap();
    }
    for key in 1..=40 {
        if key % 4 != 0 {
            shelf.take(key).await.unwrap();
        }
    }
    // More of it, so that there is something to gain.
    for key in 41..=90 {
        shelf.put(key, &large(key)).await.unwrap();
    }
    shelf.checkpoint().await.unwrap();
    let before = shelf.state.borrow().bodies.clone();
    assert_eq!(shelf.store.reclaim(&shelf).await, Ok(0));
    assert!(shelf.store.emptied_segments() > 0);
    (shelf, before)
}

#[test]
fn an_emptied_segment_is_freed_only_when_a_checkpoint_stands_for_that() {
    let rig = Rig::new(8);
    let kept = rig.block_on(async {
        let (shelf, _) = emptied_and_not_checkpointed(&rig).await;
        for _ in 0..3 {
            assert_eq!(shelf.store.reclaim(&shelf).await, Ok(0));
        }
        shelf.keys()
    });
    rig.world.crash();
    rig.block_on(async {
        let shelf = rig.open().await;
        assert_eq!(shelf.keys(), kept);
        shelf.verify(large).await;
    });
}

/// A COPY took the address of a body just before it was moved, and came to the log behind the move.
#[test]
fn an_emptied_segment_is_kept_when_an_old_address_came_back() {
    let rig = Rig::new(9);
    rig.block_on(async {
        let (shelf, old) = emptied_and_not_checkpointed(&rig).await;
        let new = shelf.state.borrow().bodies.clone();
        let moved = |key: &u64| old[key] != new[key];
        let key = *new.keys().find(|key| moved(key)).expect("one was moved");
        let mut payload = Vec::new();
        new[&key].encode(&mut payload);
        old[&key].encode(&mut payload);
        let back = Record {
            kind: MOVED,
            payload: payload.into(),
        };
        let group = Group {
            records: vec![back],
            ..Group::default()
        };
        shelf.append(group).await.unwrap();
        assert_eq!(shelf.state.borrow().bodies[&key], old[&key]);
        for _ in 0..3 {
            shelf.checkpoint().await.unwrap();
            shelf.store.reclaim(&shelf).await.unwrap();
            shelf.verify(large).await;
        }
    });
}

#[test]
fn a_crash_at_any_moment_of_reclaim_loses_nothing() {
    let mut boundary = 1;
    let mut crashes = 0;
    // Every eleventh boundary until the story runs through.
    loop {
        let rig = Rig::new(3);
        let shelf = rig.block_on(async {
            let shelf = rig.open().await;
            for key in 1..=80 {
                shelf.put(key, &large(key)).await.unwrap();
            }
            for key in 1..=80 {
                if key % 8 != 0 && key != 50 {
                    shelf.take(key).await.unwrap();
                }
            }
            shelf.checkpoint().await.unwrap();
            shelf
        });
        let kept = shelf.keys();
        rig.world.crash_at(rig.world.boundaries() + boundary);
        let through = rig.run(async {
            for _ in 0..3 {
                shelf.store.reclaim(&shelf).await.unwrap();
                shelf.checkpoint().await.unwrap();
            }
        });
        drop(shelf);
        rig.world.crash();
        rig.block_on(async {
            let shelf = rig.open().await;
            assert_eq!(shelf.keys(), kept, "boundary {boundary}");
            shelf.verify(large).await;
            shelf.store.request_rebuild().await.unwrap();
        });
        rig.world.crash();
        rig.block_on(async {
            let shelf = rig.open().await;
            assert_eq!(
                shelf.keys(),
                kept,
                "boundary {boundary}, from the log alone"
            );
            shelf.verify(large).await;
        });
        if through.is_ok() {
            break;
        }
        crashes += 1;
        boundary += 11;
    }
    assert!(crashes > 5);
}

fn letter(key: u64) -> Bytes {
    text(key, if key == 12 { 1_100_000 } else { 20_000 })
}

#[test]
fn reclaim_packs_what_came_in_raw() {
    let mut rig = Rig::new(4);
    rig.compression_level = 0;
    rig.block_on(async {
        let shelf = rig.open().await;
        for key in 1..=700 {
            shelf.put(key, &letter(key)).await.unwrap();
        }
        for key in 1..=700 {
            if key % 6 != 0 {
                shelf.take(key).await.unwrap();
            }
        }
        shelf.checkpoint().await.unwrap();
    });
    rig.world.crash();
    rig.compression_level = 3;
    rig.block_on(async {
        let shelf = rig.open().await;
        for _ in 0..6 {
            shelf.store.reclaim(&shelf).await.unwrap();
            shelf.checkpoint().await.unwrap();
        }
        let packed = shelf
            .state
            .borrow()
            .bodies
            .values()
            .filter(|body| body.codec == Codec::Zstd)
            .count();
        assert!(packed > 20, "{packed} bodies were packed");
        let long = shelf.state.borrow().bodies[&12].clone();
        assert!(
            shelf
                .store
                .chunk_codecs(&long)
                .await
                .iter()
                .all(|codec| *codec == Codec::Zstd)
        );
        shelf.verify(letter).await;
    });
}

#[test]
fn a_segment_with_damage_is_kept() {
    let rig = Rig::new(5);
    rig.block_on(async {
        let shelf = rig.open().await;
        for key in 1..=600 {
            shelf.put(key, &noise(key, 20_000)).await.unwrap();
        }
        let first = shelf.state.borrow().bodies[&1].clone();
        for key in 2..=600 {
            shelf.take(key).await.unwrap();
        }
        shelf.checkpoint().await.unwrap();
        let at = segment_at(first.body.segment)
            + u64::from(first.body.batch_block) * 4096
            + u64::from(first.body.at);
        for leg in rig.legs {
            rig.world.flip_bit(leg, at + 9, 1);
        }
        for _ in 0..8 {
            shelf.store.reclaim(&shelf).await.unwrap();
            shelf.checkpoint().await.unwrap();
        }
        assert_eq!(
            shelf.store.body(&first).await,
            Err(ReadFault::Damaged),
            "not stale: its segment was not given away"
        );
        assert!(
            shelf.store.counters().reclaimed_segments > 2,
            "the others were"
        );
    });
}

/// The end of an emptied segment may be newer than the checkpoint: it has copies of a pass that stopped, which were not reported.
#[test]
fn an_emptied_segment_that_is_too_new_does_not_stop_the_pass() {
    let rig = Rig::with_leg_bytes(10, 64 << 20);
    rig.block_on(async {
        let shelf = rig.open().await;
        for key in 1..=40 {
            shelf.put(key, &large(key)).await.unwrap();
        }
        shelf.checkpoint().await.unwrap();
        for key in 41..=80 {
            shelf.put(key, &large(key)).await.unwrap();
        }
        let segments = shelf.store.volume().segments();
        let sealed = |s: &&volume::SegmentReport| s.state == volume::SegmentState::Sealed;
        let newest = segments.iter().filter(sealed).max_by_key(|s| s.last_lsn);
        let oldest = segments.iter().filter(sealed).min_by_key(|s| s.last_lsn);
        let both = [newest.unwrap(), oldest.unwrap()];
        assert!(both[0].last_lsn > shelf.store.volume().checkpoint().lsn);
        for report in both {
            let emptied = crate::ledger::Emptied {
                segment: report.index,
                generation: report.generation,
                since: Lsn(0),
            };
            shelf.store.inner.reclaim.emptied.borrow_mut().push(emptied);
            let lives = |body: &BodyRef| body.may_lie_in(&[report.index]);
            shelf
                .state
                .borrow_mut()
                .bodies
                .retain(|_, body| !lives(body));
        }
        assert_eq!(shelf.store.reclaim(&shelf).await, Ok(1));
        assert_eq!(shelf.store.emptied_segments(), 1);
    });
}

/// A rebuild past damage may leave a reference whose segment holds something else by now.
#[test]
fn a_reference_that_outlived_its_bytes_does_not_stop_the_pass() {
    let rig = Rig::new(11);
    rig.block_on(async {
        let shelf = rig.open().await;
        for key in 1..=90 {
            shelf.put(key, &large(key)).await.unwrap();
        }
        for key in 1..=40 {
            shelf.take(key).await.unwrap();
        }
        shelf.checkpoint().await.unwrap();
        let first = shelf.store.volume().segments()[0].generation;
        let mut dead = shelf.state.borrow().bodies[&41].clone();
        dead.body.segment = volume::SegmentIndex(0);
        dead.body.generation = volume::Generation(first.0 - 1);
        dead.summary = dead.body;
        shelf.state.borrow_mut().bodies.insert(1_000, dead);
        assert_eq!(shelf.store.reclaim(&shelf).await, Ok(0));
        let emptied = shelf.store.inner.reclaim.emptied.borrow();
        let of_first = |emptied: &crate::ledger::Emptied| emptied.segment.0 == 0;
        assert!(emptied.iter().any(of_first), "{emptied:?}");
    });
}
