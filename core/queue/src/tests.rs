//! The queue alone on its log, on the simulated machine.

use std::cell::RefCell;
use std::collections::BTreeMap;

use base::BodyName;
use bytes::Bytes;
use device::DeviceIndex;
use device::sim::{Halt, SimWorld};
use store::{BodyIn, Record, Store, Tenant};
use volume::{Volume, VolumeId, Witness, WitnessFault, WitnessRecord};

use crate::fuzzing::changes;
use crate::*;

#[derive(Default)]
struct Memory(RefCell<Option<WitnessRecord>>);
impl Witness for Memory {
    fn read(&self, _volume: VolumeId) -> Result<Option<WitnessRecord>, WitnessFault> {
        Ok(self.0.borrow().clone())
    }
    fn replace(
        &self,
        expected: Option<&WitnessRecord>,
        new: &WitnessRecord,
    ) -> Result<(), WitnessFault> {
        if self.0.borrow().as_ref() != expected {
            return Err(WitnessFault::Lost);
        }
        *self.0.borrow_mut() = Some(new.clone());
        Ok(())
    }
}

struct Rig {
    world: SimWorld,
    legs: [DeviceIndex; 2],
    witness: Rc<Memory>,
}

fn volume_settings() -> volume::Settings {
    volume::Settings {
        segment_bytes: 1 << 20,
        ..volume::Settings::default()
    }
}

impl Rig {
    fn new(seed: u64) -> Rig {
        let world = SimWorld::new(seed);
        let legs = [world.add_disk(40 << 20), world.add_disk(40 << 20)];
        let rig = Rig {
            world,
            legs,
            witness: Rc::default(),
        };
        let (io, settings, witness) = (rig.world.io(), volume_settings(), rig.witness.clone());
        rig.world.block_on(async {
            let created = Volume::create(&io, &rig.legs, &settings, &*witness, seed);
            created.await.expect("a volume");
        });
        rig
    }

    async fn open(&self) -> Queue {
        let io = self.world.io();
        let settings = volume_settings();
        let opened = Volume::open(&io, &self.legs, &settings, self.witness.clone());
        let volume = opened.await.expect("it opens");
        let settings = store::Settings {
            projection_cache_bytes: 1 << 20,
            compression_level: 0,
        };
        let (store, replay) = Store::open(io.clone(), volume, settings)
            .await
            .expect("a store");
        let never = tenancy::Settings {
            checkpoint_groups: u64::MAX,
            checkpoint_bytes: u64::MAX,
            checkpoint_us: u64::MAX,
        };
        let tenancy = Tenancy::new(io, store, never);
        let queue = Queue::new(&tenancy);
        tenancy
            .open(replay, vec![queue.tenant()])
            .await
            .expect("a queue");
        queue.inner.state.borrow().check();
        queue
    }

    /// The power goes, and the queue is opened again.
    fn reopened<T>(&self, look: impl AsyncFnOnce(Queue) -> T) -> T {
        self.world.crash();
        self.world.block_on(async { look(self.open().await).await })
    }
}

fn raw(number: u64) -> Bytes {
    let mut raw = vec![0; 20_000];
    raw[..8].copy_from_slice(&number.to_le_bytes());
    let mut state = number;
    for byte in &mut raw[8..] {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        *byte = (state >> 56) as u8;
    }
    raw.into()
}

fn envelope(number: u64) -> Envelope {
    Envelope {
        from: "alice@example.org".to_owned(),
        recipients: vec![
            format!("to{number}@example.net"),
            "b@example.net".to_owned(),
        ],
        arrived: UnixSeconds(1_000 + number),
        expires: UnixSeconds(433_000),
    }
}

/// As the MTA will do it, with a body of its own.
async fn put(queue: &Queue, number: u64) -> Result<QueueId, QueueFault> {
    let tenancy = &queue.inner.tenancy;
    tenancy.room_for(Purpose::Keep, true, ENTRY_ROWS).await?;
    let (id, part) = queue.put(envelope(number), 0)?;
    let raw = raw(number);
    let body = BodyIn {
        name: BodyName::of(&raw),
        raw,
        summary: Bytes::new(),
    };
    tenancy
        .commit(Purpose::Keep, vec![body], vec![part])
        .await?;
    Ok(id)
}

/// Every message is there with its envelope, and its body is what was put.
async fn verify(queue: &Queue, expected: &BTreeMap<QueueId, u64>) {
    let ids: Vec<QueueId> = queue
        .entries(None, usize::MAX)
        .iter()
        .map(|entry| entry.id)
        .collect();
    assert_eq!(ids, expected.keys().copied().collect::<Vec<_>>());
    for (id, number) in expected {
        let entry = queue.entry(*id).expect("listed");
        assert_eq!(entry.recipients[0].path, format!("to{number}@example.net"));
        let body = queue.inner.tenancy.store().body_proved(&entry.body).await;
        assert_eq!(body.as_deref(), Ok(&raw(*number)[..]), "message {id:?}");
    }
    queue.inner.state.borrow().check();
}

#[test]
fn every_record_comes_back_as_it_was_and_every_cut_is_refused() {
    for change in changes() {
        let record = change.encode();
        assert!(share().owns(&record), "{change:?}");
        assert_eq!(Change::decode(&record).as_ref(), Ok(&change));
        for end in 0..record.payload.len() {
            let cut = Record {
                kind: record.kind,
                payload: record.payload.slice(..end),
            };
            assert!(Change::decode(&cut).is_err(), "{change:?} to {end}");
        }
        assert!(salvage::describe(&record).is_some());
    }
}

#[test]
fn what_was_put_and_tried_is_there_after_a_crash_with_a_checkpoint_and_without() {
    let rig = Rig::new(1);
    let (first, second) = rig.world.block_on(async {
        let queue = rig.open().await;
        let first = put(&queue, 1).await.unwrap();
        queue.inner.tenancy.checkpoint().await.unwrap();
        let second = put(&queue, 2).await.unwrap();
        let outcome = |recipient, state| Outcome {
            recipient,
            state,
            reply: "250 ok".to_owned(),
        };
        let later = RecipientState::Waiting(UnixSeconds(9_000));
        let tried = vec![outcome(0, RecipientState::Delivered), outcome(1, later)];
        queue.tried(first, tried).await.unwrap();
        (first, second)
    });
    rig.reopened(async |queue| {
        verify(&queue, &[(first, 1), (second, 2)].into()).await;
        let entry = queue.entry(first).unwrap();
        assert_eq!(entry.recipients[0].state, RecipientState::Delivered);
        assert_eq!(
            (entry.recipients[1].tries, entry.next_try()),
            (1, Some(UnixSeconds(9_000)))
        );
        // The one that was put off comes last, and not before its time.
        assert_eq!(queue.due(UnixSeconds(8_999), 9), [second]);
        assert_eq!(queue.due(UnixSeconds(9_000), 9), [second, first]);
        queue.remove(first).await.unwrap();
        assert_eq!(queue.remove(first).await, Err(QueueFault::NoEntry));
        queue.inner.tenancy.checkpoint().await.unwrap();
    });
    rig.reopened(async |queue| {
        verify(&queue, &[(second, 2)].into()).await;
        assert!(
            put(&queue, 3).await.unwrap() > second,
            "no number is given twice"
        );
    });
}

#[test]
fn a_message_is_there_after_its_answer_whenever_the_power_goes() {
    let mut seen = [0, 0];
    for seed in 0..40 {
        let rig = Rig::new(seed);
        let acked: Result<_, Halt> = rig.world.run(async {
            let queue = rig.open().await;
            let cut = rig.world.draw(1..12);
            rig.world.crash_at(rig.world.boundaries() + cut);
            put(&queue, 1).await
        });
        rig.reopened(async |queue| {
            let count = queue.count();
            assert!(count == 1 || !matches!(acked, Ok(Ok(_))), "seed {seed}");
            seen[count] += 1;
        });
    }
    assert!(seen.iter().all(|count| *count > 3), "{seen:?}");
}

#[test]
fn bounds_and_nonsense_are_refused() {
    let rig = Rig::new(2);
    rig.world.block_on(async {
        let queue = rig.open().await;
        let none = Envelope {
            recipients: vec![],
            ..envelope(1)
        };
        let long = Envelope {
            from: "a".repeat(PATH_BYTES_MAX + 1),
            ..envelope(1)
        };
        for envelope in [none, long] {
            let refused = queue.put(envelope, 0).map(drop);
            assert!(
                matches!(refused, Err(QueueFault::Refused(_))),
                "{refused:?}"
            );
        }
        // A part that is thrown away counts no longer.
        drop(queue.put(envelope(1), 0).unwrap());
        assert_eq!(queue.inner.state.borrow().arriving, 0);
        let id = put(&queue, 1).await.unwrap();
        let outcome = Outcome {
            recipient: 2,
            state: RecipientState::Failed,
            reply: String::new(),
        };
        let refused = queue.tried(id, vec![outcome]).await;
        assert!(
            matches!(refused, Err(QueueFault::Refused(_))),
            "{refused:?}"
        );
        assert_eq!(
            queue.tried(QueueId(99), vec![]).await,
            Err(QueueFault::NoEntry)
        );
    });
}

/// Most messages leave, a few wait for long; reclaim empties their segments, the projection is thrown away and nothing comes back.
#[test]
fn what_left_never_comes_back_and_what_waits_is_carried_along() {
    let rig = Rig::new(3);
    let waiting = rig.world.block_on(async {
        let queue = rig.open().await;
        let mut waiting = BTreeMap::new();
        for number in 0..900 {
            let id = put(&queue, number).await.unwrap();
            match number % 30 {
                0 => _ = waiting.insert(id, number),
                _ => queue.remove(id).await.unwrap(),
            }
        }
        let mut freed = 0;
        for _ in 0..14 {
            queue.inner.tenancy.checkpoint().await.unwrap();
            freed += queue.inner.tenancy.reclaim().await;
        }
        assert!(freed > 3, "{freed} segments were freed");
        verify(&queue, &waiting).await;
        queue.inner.tenancy.store().request_rebuild().await.unwrap();
        waiting
    });
    rig.reopened(async |queue| {
        assert!(queue.inner.tenancy.store().open_report().rebuilt);
        verify(&queue, &waiting).await;
    });
}

#[test]
fn one_record_stands_for_many_removals() {
    let rig = Rig::new(4);
    rig.world.block_on(async {
        let queue = rig.open().await;
        for number in 0..6 {
            put(&queue, number).await.unwrap();
        }
        for id in [2, 3, 5] {
            queue.remove(QueueId(id)).await.unwrap();
        }
        let lsn = queue.inner.tenancy.applied();
        let removal = |id| (lsn, Change::Remove { id: QueueId(id) }.encode());
        let carried = queue.inner.carried(&[removal(2), removal(5)]).unwrap();
        let kept = vec![QueueId(4)];
        let (from, to) = (QueueId(2), QueueId(6));
        assert_eq!(carried, [Change::Gone { from, to, kept }]);
        queue
            .inner
            .carry_forward(vec![removal(2), removal(5)])
            .await
            .unwrap();
        assert_eq!(queue.count(), 3);
    });
}

#[test]
fn salvage_finds_what_waits_from_records_in_any_order() {
    let puts = changes();
    let (put, snapshot) = (puts[0].encode(), puts[4].encode());
    let Change::Snapshot { entry } = &puts[4] else {
        panic!("a snapshot");
    };
    let mut salvage = salvage::Salvage::default();
    assert!(salvage.note(Lsn(9), &snapshot, &[]));
    assert!(!salvage.note(Lsn(1), &put, &[]), "its body is missing");
    assert!(salvage.note(Lsn(1), &put, std::slice::from_ref(&entry.body)));
    let found = salvage.finish();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].recipients, entry.recipients);
}
