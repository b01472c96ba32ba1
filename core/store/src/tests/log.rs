//! The log: order, durability, crashes, sizes.

use super::*;

/// Eight writers put three bodies each, and the power fails somewhere.
fn writers(shelf: &Shelf, acked: &Rc<RefCell<BTreeSet<u64>>>) -> Rc<Cell<usize>> {
    let done = counter();
    for writer in 0..8u64 {
        let (shelf, acked, done, host) = (
            shelf.clone(),
            acked.clone(),
            done.clone(),
            shelf.io.host.clone(),
        );
        host.spawn(Box::pin(async move {
            for turn in 0..3 {
                let key = writer * 100 + turn;
                if shelf
                    .put(key, &noise(key, 300 + 40 * key as usize))
                    .await
                    .is_ok()
                {
                    acked.borrow_mut().insert(key);
                }
            }
            done.set(done.get() + 1);
        }));
    }
    done
}

fn body(key: u64) -> Bytes {
    noise(key, 300 + 40 * key as usize)
}

#[test]
fn what_is_acknowledged_survives_a_crash_anywhere() {
    let boundaries = {
        let rig = Rig::new(1);
        let before = rig.world.boundaries();
        rig.block_on(async {
            let shelf = rig.open().await;
            let acked = Rc::default();
            let done = writers(&shelf, &acked);
            while done.get() < 8 {
                base::host::sleep_us(&*shelf.io.host, 100).await;
            }
            assert_eq!(acked.borrow().len(), 24);
        });
        rig.world.boundaries() - before
    };
    assert!(boundaries > 20);
    for boundary in (1..=boundaries).step_by(2) {
        let rig = Rig::new(1);
        rig.world.crash_at(rig.world.boundaries() + boundary);
        let acked: Rc<RefCell<BTreeSet<u64>>> = Rc::default();
        let halt = rig.run(async {
            let shelf = rig.open().await;
            let done = writers(&shelf, &acked);
            while done.get() < 8 {
                base::host::sleep_us(&*shelf.io.host, 100).await;
            }
        });
        if halt.is_ok() {
            continue;
        }
        rig.world.crash();
        rig.block_on(async {
            let shelf = rig.open().await;
            let found: BTreeSet<u64> = shelf.keys().into_iter().collect();
            assert!(
                found.is_superset(&acked.borrow()),
                "boundary {boundary}: an acknowledged body is missing"
            );
            for writer in 0..8 {
                let turns: Vec<u64> = found
                    .iter()
                    .filter(|key| **key / 100 == writer)
                    .copied()
                    .collect();
                let expected: Vec<u64> = (0..turns.len() as u64)
                    .map(|turn| writer * 100 + turn)
                    .collect();
                assert_eq!(
                    turns, expected,
                    "boundary {boundary}: a later group without an earlier one"
                );
            }
            shelf.verify(body).await;
            // And it goes on.
            shelf.put(999, &body(999)).await.unwrap();
        });
    }
}

#[test]
fn callers_share_batches_and_are_answered_in_log_order() {
    let rig = Rig::new(3);
    rig.block_on(async {
        let shelf = rig.open().await;
        let order: Rc<RefCell<Vec<u64>>> = Rc::default();
        let appends: Vec<_> = (0..100u64)
            .map(|key| {
                let order = order.clone();
                let applied = move |_: &Committed| order.borrow_mut().push(key);
                Box::pin(
                    shelf
                        .store
                        .append_then(put_group(key, &noise(key, 2_000)), Box::new(applied)),
                )
            })
            .collect();
        let mut lsns = Vec::new();
        for append in poll_in_order(appends).await {
            lsns.push(append.unwrap().lsn);
        }
        assert_eq!(*order.borrow(), (0..100).collect::<Vec<_>>());
        assert!(lsns.is_sorted());
        lsns.dedup();
        assert!(
            lsns.len() <= 4,
            "a hundred groups took {} batches",
            lsns.len()
        );
    });
}

/// Polls each once in order, so that their groups are queued in order, then waits for all.
async fn poll_in_order<T>(
    futures: Vec<std::pin::Pin<Box<impl Future<Output = T> + ?Sized>>>,
) -> Vec<T> {
    let mut slots: Vec<_> = futures.into_iter().map(|future| (future, None)).collect();
    std::future::poll_fn(|context| {
        for (future, slot) in &mut slots {
            if slot.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *slot = Some(value);
            }
        }
        if slots.iter().all(|(_, slot)| slot.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    slots.into_iter().map(|(_, slot)| slot.unwrap()).collect()
}

#[test]
fn a_lone_compressible_body_is_packed_and_a_crowd_is_not() {
    let rig = Rig::new(4);
    rig.block_on(async {
        let shelf = rig.open().await;
        let letter = text(1, 20_000);
        let alone = shelf.put(1, &letter).await.unwrap().bodies.remove(0);
        assert_eq!(alone.codec, Codec::Zstd);
        assert!(alone.body.bytes < 2_000);
        let tiny = shelf.put(2, &text(2, 100)).await.unwrap().bodies.remove(0);
        assert_eq!(tiny.codec, Codec::Raw);
        let hard = shelf
            .put(3, &noise(3, 20_000))
            .await
            .unwrap()
            .bodies
            .remove(0);
        assert_eq!(hard.codec, Codec::Raw);
        let crowd = (10..20)
            .map(|key| Box::pin(shelf.store.append(put_group(key, &letter))))
            .collect();
        let raw = poll_in_order(crowd)
            .await
            .into_iter()
            .filter(|done| done.as_ref().unwrap().bodies[0].codec == Codec::Raw)
            .count();
        assert!(raw >= 9);
        assert_eq!(shelf.store.body(&alone).await.unwrap(), letter);
        let counters = shelf.store.counters();
        assert_eq!(counters.groups, 13);
        assert_eq!(counters.commits.count(), 13, "one duration for each group");
        assert!(counters.commits.sum_us > 0, "the log's writes take time");
        assert!(counters.body_stored_bytes < counters.body_raw_bytes);
    });
}

#[test]
fn a_body_larger_than_a_batch_is_stored_in_chunks_and_keeps_its_place() {
    let rig = Rig::new(5);
    rig.block_on(async {
        let shelf = rig.open().await;
        let order: Rc<RefCell<Vec<u64>>> = Rc::default();
        let sizes = [500usize, 5_000_000, 700, 1_100_000, 0, 900];
        let appends: Vec<_> = (0u64..)
            .zip(sizes)
            .map(|(key, bytes)| {
                let (order, state) = (order.clone(), shelf.state.clone());
                let group = put_group(key, &noise(key, bytes));
                let records = group.records.clone();
                let applied = move |done: &Committed| {
                    order.borrow_mut().push(key);
                    state.borrow_mut().apply(done.lsn, &records, &done.bodies);
                };
                Box::pin(shelf.store.append_then(group, Box::new(applied)))
            })
            .collect();
        for done in poll_in_order(appends).await {
            done.unwrap();
        }
        assert_eq!(*order.borrow(), [0, 1, 2, 3, 4, 5]);
        let codecs: Vec<Codec> = shelf
            .state
            .borrow()
            .bodies
            .values()
            .map(|body| body.codec)
            .collect();
        use Codec::{Chunked, Raw};
        assert_eq!(codecs, [Raw, Chunked, Raw, Chunked, Raw, Raw]);
        shelf.verify(|key| noise(key, sizes[key as usize])).await;
    });
    rig.world.crash();
    rig.block_on(async {
        let shelf = rig.open().await;
        assert_eq!(shelf.keys(), [0, 1, 2, 3, 4, 5]);
        shelf
            .verify(|key| {
                noise(
                    key,
                    [500usize, 5_000_000, 700, 1_100_000, 0, 900][key as usize],
                )
            })
            .await;
    });
}

#[test]
fn a_big_body_is_there_wholly_or_not_at_all_after_a_crash() {
    for boundary in (1..40).step_by(3) {
        let rig = Rig::new(6);
        let shelf = rig.block_on(async {
            let shelf = rig.open().await;
            shelf.put(1, &body(1)).await.unwrap();
            shelf
        });
        rig.world.crash_at(rig.world.boundaries() + boundary);
        let put = rig.run(shelf.put(2, &noise(2, 3_000_000)));
        let acked = matches!(put, Ok(Ok(_)));
        drop(shelf);
        rig.world.crash();
        rig.block_on(async {
            let shelf = rig.open().await;
            let keys = shelf.keys();
            assert!(
                keys == [1, 2] || keys == [1] && !acked,
                "boundary {boundary}: {keys:?}"
            );
            shelf
                .verify(|key| {
                    if key == 1 {
                        body(1)
                    } else {
                        noise(2, 3_000_000)
                    }
                })
                .await;
        });
    }
}

#[test]
fn what_passes_a_limit_is_refused_before_anything_is_written() {
    let rig = Rig::new(7);
    rig.block_on(async {
        let shelf = rig.open().await;
        let long = Record {
            kind: RecordKind(9),
            payload: vec![0; limits::GROUP_FIXED_BYTES_MAX + 1].into(),
        };
        let refused = shelf
            .store
            .append(Group {
                records: vec![long],
                ..Group::default()
            })
            .await;
        assert_eq!(refused.unwrap_err(), StoreFault::TooLarge);
        let vast = Bytes::from(vec![0; limits::BODY_BYTES_MAX + 1]);
        assert_eq!(shelf.put(1, &vast).await.unwrap_err(), StoreFault::TooLarge);
        assert_eq!(shelf.store.counters().batches, 0);
    });
}

#[test]
fn a_full_queue_answers_instead_of_growing() {
    let rig = Rig::with_leg_bytes(8, 256 << 20);
    rig.block_on(async {
        let shelf = rig.open().await;
        let raw = Bytes::from(vec![1; 60 << 20]);
        let mut appends: Vec<_> = (0..4)
            .map(|key| Box::pin(shelf.store.append(put_group(key, &raw))))
            .collect();
        let mut answers = Vec::new();
        std::future::poll_fn(|context| {
            for append in &mut appends {
                answers.push(append.as_mut().poll(context));
            }
            std::task::Poll::Ready(())
        })
        .await;
        assert!(answers[1].is_pending());
        let refused = matches!(
            &answers[2],
            std::task::Poll::Ready(Err(StoreFault::Deferred(_)))
        );
        assert!(refused, "the third does not fit what memory is planned for");
    });
}

#[test]
fn a_rotten_copy_of_a_body_is_read_from_the_other_leg() {
    let rig = Rig::new(10);
    rig.block_on(async {
        let shelf = rig.open().await;
        for key in 0..5 {
            shelf.put(key, &body(key)).await.unwrap();
        }
        let first = shelf.state.borrow().bodies[&3].clone();
        let at = segment_at(first.body.segment)
            + u64::from(first.body.batch_block) * 4096
            + u64::from(first.body.at);
        rig.world.flip_bit(rig.legs[0], at + 5, 3);
        for _ in 0..4 {
            shelf.verify(body).await;
        }
        rig.world.flip_bit(rig.legs[0], at + 5, 3);
        rig.world.flip_bit(rig.legs[1], at + 6, 3);
        rig.world.flip_bit(rig.legs[0], at + 7, 1);
        assert_eq!(shelf.store.body(&first).await, Err(ReadFault::Damaged));
        let all: Vec<BodyRef> = shelf.state.borrow().bodies.values().cloned().collect();
        let answers = shelf.store.bodies(&all).await;
        assert_eq!(
            answers.iter().filter(|answer| answer.is_ok()).count(),
            4,
            "the rest is served"
        );
    });
}
