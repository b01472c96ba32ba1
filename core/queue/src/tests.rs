//! The queue alone on its log, on the simulated machine.

mod arrived;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use base::BodyName;
use bytes::Bytes;
use device::DeviceIndex;
use device::sim::{Halt, SimWorld};
use store::{Record, Store, Tenant};
use volume::{Volume, VolumeId, Witness, WitnessFault, WitnessRecord};

use crate::fuzzing::changes;
use crate::record::Change;
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
            lead: store::no_lead,
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
            Addressee::new(format!("to{number}@example.net")),
            Addressee::new("b@example.com"),
        ],
        arrived: UnixSeconds(1_000 + number),
        warns: UnixSeconds(15_400),
        expires: UnixSeconds(433_000),
        terms: Terms::default(),
    }
}

fn body(number: u64) -> BodyIn {
    let raw = raw(number);
    BodyIn {
        name: BodyName::of(&raw),
        raw,
        summary: Bytes::new(),
    }
}

async fn put(queue: &Queue, number: u64) -> Result<QueueId, QueueFault> {
    queue.enqueue(body(number), envelope(number)).await
}

fn outcome(recipient: u32, state: RecipientState) -> Outcome {
    Outcome {
        recipient,
        state,
        reply: "250 ok".to_owned(),
        host: "mx.example.net".to_owned(),
    }
}

fn note(outcomes: Vec<Outcome>) -> Note {
    Note {
        at: UnixSeconds(5_000),
        warned: false,
        outcomes,
    }
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
        assert_eq!(
            entry.recipients[0].to.path,
            format!("to{number}@example.net")
        );
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
        let later = RecipientState::Waiting(UnixSeconds(9_000));
        let tried = vec![outcome(0, RecipientState::Delivered), outcome(1, later)];
        queue.settle(first, note(tried), None).await.unwrap();
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
        assert_eq!(entry.recipients[1].host, "mx.example.net");
        assert_eq!(entry.recipients[1].tried, UnixSeconds(5_000));
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
        let many = Envelope {
            recipients: vec![Addressee::new("a".repeat(300)); 1_000],
            ..envelope(1)
        };
        for envelope in [none, long, many] {
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
        let absent = outcome(2, RecipientState::Failed);
        let talkative = Outcome {
            reply: "a".repeat(REPLY_BYTES_MAX + 1),
            ..outcome(0, RecipientState::Failed)
        };
        for bad in [absent, talkative] {
            let refused = queue.settle(id, note(vec![bad]), None).await;
            assert!(
                matches!(refused, Err(QueueFault::Refused(_))),
                "{refused:?}"
            );
        }
        let nobody = QueueId(99);
        let absent = queue.settle(nobody, note(vec![]), None).await;
        assert_eq!(absent, Err(QueueFault::NoEntry));
        assert_eq!(queue.hold(nobody, true).await, Err(QueueFault::NoEntry));
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

/// The report about a message and the removal of it: whenever the power goes, one of them is there and never both.
#[test]
fn a_report_takes_the_place_of_its_message_in_one_step() {
    let mut seen = [0, 0];
    for seed in 0..100 {
        let rig = Rig::new(seed);
        let told: Result<_, Halt> = rig.world.run(async {
            let queue = rig.open().await;
            let id = put(&queue, 1).await.unwrap();
            let cut = rig.world.draw(1..12);
            rig.world.crash_at(rig.world.boundaries() + cut);
            let failed = [0, 1].map(|index| outcome(index, RecipientState::Failed));
            let report = Some((body(2), envelope(2)));
            queue.settle(id, note(failed.to_vec()), report).await
        });
        rig.reopened(async |queue| {
            let entries = queue.entries(None, usize::MAX);
            assert_eq!(entries.len(), 1, "seed {seed}");
            let is_report = entries[0].recipients[0].to.path == "to2@example.net";
            assert!(is_report || !matches!(told, Ok(Ok(_))), "seed {seed}");
            verify(&queue, &[(entries[0].id, 1 + u64::from(is_report))].into()).await;
            seen[usize::from(is_report)] += 1;
        });
    }
    assert!(seen.iter().all(|count| *count > 3), "{seen:?}");
}

#[test]
fn what_is_held_is_not_due_and_a_retry_is_due_at_once() {
    let rig = Rig::new(5);
    let id = rig.world.block_on(async {
        let queue = rig.open().await;
        let id = put(&queue, 1).await.unwrap();
        let later = RecipientState::Waiting(UnixSeconds(90_000));
        let tried = vec![outcome(0, later), outcome(1, later)];
        queue.settle(id, note(tried), None).await.unwrap();
        assert_eq!(queue.due(UnixSeconds(6_000), 9), []);
        queue.retry(id, UnixSeconds(6_000)).await.unwrap();
        assert_eq!(queue.due(UnixSeconds(6_000), 9), [id]);
        queue.hold(id, true).await.unwrap();
        id
    });
    rig.reopened(async |queue| {
        let ever = UnixSeconds(u64::MAX);
        assert!(queue.entry(id).unwrap().held);
        assert_eq!(queue.due(ever, 9), []);
        assert_eq!(queue.entry(id).unwrap().end(), None);
        queue.hold(id, false).await.unwrap();
        assert_eq!(queue.due(UnixSeconds(6_000), 9), [id]);
    });
}

/// Many messages for a few sites, and one for another: it does not stand behind them.
#[test]
fn what_is_due_comes_in_turn_by_sites() {
    let rig = Rig::new(6);
    rig.world.block_on(async {
        let queue = rig.open().await;
        let mut by_site = BTreeMap::new();
        for number in 0..12 {
            let site = ["a.example", "b.example", "B.EXAMPLE", "c.example"][number % 4];
            let recipients = vec![Addressee::new(format!("x@{site}"))];
            let envelope = Envelope {
                recipients,
                ..envelope(number as u64)
            };
            let id = queue.enqueue(body(number as u64), envelope).await.unwrap();
            let site = site.to_lowercase();
            by_site.entry(site).or_insert_with(Vec::new).push(id);
        }
        let mut after = String::new();
        let mut look = |closed: &str, taken: &[QueueId], now: u64, count_max: usize| {
            let turn = Turn {
                age_counts: true,
                warns: true,
                count_max,
                room: &|site| if site == closed { 0 } else { 2 },
                is_taken: &|id| taken.contains(&id),
            };
            queue.due_in_turn(UnixSeconds(now), &turn, &mut after)
        };
        let (a, b, c) = (
            by_site["a.example"].clone(),
            by_site["b.example"].clone(),
            by_site["c.example"].clone(),
        );
        let first = look("", &[], 2_000, 9);
        assert_eq!(first, [a[0], a[1], b[0], b[1], c[0], c[1]]);
        // The next look goes on behind the last site that it came to.
        assert_eq!(look("", &first, 2_000, 3), [a[2], b[2], b[3]]);
        assert_eq!(look("c.example", &[], 2_000, 3), [a[0], a[1], b[0]]);
        // Past its deadline a message comes in any case.
        let late = look("c.example", &[], 15_400, 100);
        assert_eq!(late.len(), 12);
    });
}

/// The clock is not to be believed: what it says is too old waits for its next try, and what it says is far ahead does not wait for that.
#[test]
fn a_clock_that_jumps_neither_hurries_nor_delays() {
    let rig = Rig::new(7);
    rig.world.block_on(async {
        let queue = rig.open().await;
        let id = put(&queue, 1).await.unwrap();
        let entry = queue.entry(id).unwrap();
        let later = UnixSeconds(entry.expires.0 + 10_000);
        let state = RecipientState::Waiting(UnixSeconds(later.0 + 600));
        let outcomes = (0..2).map(|recipient| Outcome {
            recipient,
            state,
            reply: String::new(),
            host: String::new(),
        });
        let note = Note {
            at: later,
            warned: true,
            outcomes: outcomes.collect(),
        };
        queue.settle(id, note, None).await.unwrap();
        let look = |now: u64, age_counts: bool| {
            let turn = Turn {
                age_counts,
                warns: false,
                count_max: 9,
                room: &|_| 9,
                is_taken: &|_| false,
            };
            let due = queue.due_in_turn(UnixSeconds(now), &turn, &mut String::new());
            !due.is_empty()
        };
        assert!(look(later.0, true), "it is past its time");
        assert!(!look(later.0, false) && look(later.0 + 600, false));
        assert!(!look(later.0 + 600 - AHEAD_MAX_S, false));
        assert!(
            look(later.0 + 599 - AHEAD_MAX_S, false),
            "set back by hours"
        );
        assert!(look(0, false), "set back by years");
    });
}

/// Each message of one step counts before any of them is visible: an expansion goes past the bound by nothing.
#[test]
fn recipients_on_their_way_count_against_the_bound() {
    let rig = Rig::new(8);
    rig.world.block_on(async {
        let queue = rig.open().await;
        let many = || Envelope {
            recipients: vec![Addressee::new("a@b.c"); RECIPIENTS_MAX],
            ..envelope(1)
        };
        let mut parts = Vec::new();
        for _ in 0..ADDRESSEES_MAX / RECIPIENTS_MAX {
            parts.push(queue.put(many(), 0).unwrap().1);
        }
        assert_eq!(queue.put(envelope(2), 0).map(drop), Err(QueueFault::Full));
        // One that goes nowhere makes room.
        parts.pop();
        queue.put(many(), 0).map(drop).unwrap();
        parts.clear();
        assert_eq!(queue.inner.state.borrow().addressees_arriving, 0);
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
        // A log without those removals gives what is there.
        let bodies: Vec<BodyRef> = vec![queue.entry(QueueId(1)).unwrap().body];
        let mut state = State::new();
        for number in 1..=6 {
            let put = Change::Put {
                id: QueueId(number),
                body_index: 0,
                envelope: envelope(number),
            };
            put.apply(Lsn(number), &bodies, &mut state);
        }
        let third = Change::Remove { id: QueueId(3) };
        third.apply(Lsn(7), &bodies, &mut state);
        carried[0].apply(Lsn(8), &bodies, &mut state);
        state.check();
        let left: Vec<u64> = state.entries.keys().map(|id| id.0).collect();
        assert_eq!(left, [1, 4, 6]);
        queue
            .inner
            .carry_forward(vec![removal(2), removal(5)])
            .await
            .unwrap();
        assert!(queue.inner.tenancy.applied() > lsn, "it is in the log");
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

/// Age does not count for hours, and everything is past its time: a look costs what it finds, and what is to be heard of is found behind all of it.
#[test]
fn what_is_past_its_time_is_not_walked_over_while_age_does_not_count() {
    let rig = Rig::new(9);
    rig.world.block_on(async {
        let queue = rig.open().await;
        let mut ids = Vec::new();
        for number in 0..8 {
            ids.push(put(&queue, number).await.unwrap());
        }
        let end = queue.entry(ids[0]).unwrap().expires;
        for id in &ids[..7] {
            let note = Note {
                at: UnixSeconds(2_000),
                warned: true,
                outcomes: Vec::new(),
            };
            queue.settle(*id, note, None).await.unwrap();
        }
        let asked = Cell::new(0);
        let look = |age_counts: bool, warns: bool| {
            asked.set(0);
            let turn = Turn {
                age_counts,
                warns,
                count_max: 9,
                room: &|_| 0,
                is_taken: &|_| {
                    asked.set(asked.get() + 1);
                    false
                },
            };
            let now = UnixSeconds(end.0 + 10_000);
            queue.due_in_turn(now, &turn, &mut String::new())
        };
        assert_eq!(look(false, true), [ids[7]]);
        assert_eq!(asked.get(), 1);
        assert_eq!(look(true, true), ids, "each of them once");
        assert_eq!(look(true, false), ids);
        assert!(look(false, false).is_empty());
        queue.hold(ids[7], true).await.unwrap();
        assert!(look(false, true).is_empty(), "it is held");
    });
}
