//! Stories on the simulated machine: a small layer above (a shelf of numbered bodies), two legs, crashes and rot.

mod log;
mod projection;
mod reclaim;
mod space;
mod swarm;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use base::BodyName;
use base::cursor::{Reader, Write};
use bytes::Bytes;
use device::sim::{Halt, SimWorld};
use device::{DeviceIndex, Io};
use volume::{SegmentIndex, Volume, VolumeId, Witness, WitnessFault, WitnessRecord};

use crate::*;

pub(crate) const LEG_BYTES: u64 = 40 << 20;
pub(crate) const SEGMENT_BYTES: u64 = 1 << 20;

/// The witness on the boot disk: it survives what the legs go through.
#[derive(Default)]
pub(crate) struct Memory(RefCell<Option<WitnessRecord>>);
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

/// A machine with two legs.
pub(crate) struct Rig {
    pub world: SimWorld,
    pub legs: [DeviceIndex; 2],
    pub witness: Rc<Memory>,
    pub compression_level: i32,
}

impl Rig {
    pub fn new(seed: u64) -> Rig {
        Rig::with_leg_bytes(seed, LEG_BYTES)
    }

    pub fn with_leg_bytes(seed: u64, bytes: u64) -> Rig {
        let world = SimWorld::new(seed);
        let legs = [world.add_disk(bytes), world.add_disk(bytes)];
        let rig = Rig {
            world,
            legs,
            witness: Rc::default(),
            compression_level: 1,
        };
        let (io, settings, witness) = (rig.world.io(), rig.settings(), rig.witness.clone());
        rig.world
            .block_on(async { Volume::create(&io, &legs, &settings, &*witness, seed).await })
            .unwrap();
        rig
    }

    fn settings(&self) -> volume::Settings {
        volume::Settings {
            segment_bytes: SEGMENT_BYTES,
            ..volume::Settings::default()
        }
    }

    pub async fn open_volume(&self) -> Volume {
        let io = self.world.io();
        Volume::open(&io, &self.legs, &self.settings(), self.witness.clone())
            .await
            .unwrap()
    }

    pub fn store_settings(&self) -> Settings {
        Settings {
            projection_cache_bytes: 1 << 20,
            compression_level: self.compression_level,
            lead: crate::no_lead,
        }
    }

    pub async fn open_store(&self) -> Result<(Io, Store, Replay), StoreFault> {
        let io = self.world.io();
        let volume = self.open_volume().await;
        let (store, replay) = Store::open(io.clone(), volume, self.store_settings()).await?;
        self.world.after_each_step(store.volume().checker());
        self.world.after_each_step(store.checker());
        Ok((io, store, replay))
    }

    /// Opens everything and replays.
    pub async fn open(&self) -> Shelf {
        let (io, store, replay) = self.open_store().await.unwrap();
        Shelf::open(io, store, replay).await
    }

    /// Runs `story` until it ends or the power is cut.
    pub fn run<T>(&self, story: impl Future<Output = T>) -> Result<T, Halt> {
        self.world.run(story)
    }

    pub fn block_on<T>(&self, story: impl Future<Output = T>) -> T {
        self.world.block_on(story)
    }

    /// Overwrites every arena page on one leg.
    pub fn wipe_arena(&self, leg: usize, store: &Store) {
        for segment in store.volume().segments() {
            if segment.state == volume::SegmentState::Arena {
                self.world.poke(
                    self.legs[leg],
                    segment_at(segment.index),
                    &vec![0xee; SEGMENT_BYTES as usize],
                );
            }
        }
    }
}

impl Store {
    /// How each chunk of a large body is stored.
    async fn chunk_codecs(&self, body: &BodyRef) -> Vec<Codec> {
        let chunks = self.inner.chunks(body).await.unwrap();
        chunks.iter().map(|chunk| chunk.codec).collect()
    }
}

/// Where a segment begins on a (small) leg: volume's FORMAT.md.
pub(crate) fn segment_at(segment: SegmentIndex) -> u64 {
    (256 << 10) + u64::from(segment.0) * SEGMENT_BYTES
}

/// The layer above: numbered bodies. Its state is f(log prefix) and nothing else.
#[derive(Clone)]
pub(crate) struct Shelf {
    pub io: Io,
    pub store: Store,
    pub state: Rc<RefCell<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub bodies: BTreeMap<u64, BodyRef>,
    pub dirty: BTreeSet<u64>,
    pub applied: Lsn,
    /// Where the last picture lies: what is older counts no more.
    pub pictured: Lsn,
}

const PUT: RecordKind = RecordKind(1);
const TAKE: RecordKind = RecordKind(2);
const MOVED: RecordKind = RecordKind(3);
const PICTURE: RecordKind = RecordKind(4);
pub(crate) const BODIES: Table = Table(7);

impl State {
    fn set(&mut self, key: u64, body: Option<BodyRef>) {
        self.dirty.insert(key);
        match body {
            Some(body) => self.bodies.insert(key, body),
            None => self.bodies.remove(&key),
        };
    }

    pub fn apply(&mut self, lsn: Lsn, records: &[Record], bodies: &[BodyRef]) {
        assert!(lsn >= self.applied, "applied in log order");
        self.applied = lsn;
        let mut bodies = bodies.iter();
        for record in records {
            let mut reader = Reader::new(&record.payload);
            match record.kind {
                PUT => self.set(reader.u64().unwrap(), Some(bodies.next().unwrap().clone())),
                TAKE => self.set(reader.u64().unwrap(), None),
                MOVED => {
                    let (old, new) = (
                        BodyRef::decode(&mut reader).unwrap(),
                        BodyRef::decode(&mut reader).unwrap(),
                    );
                    let keys: Vec<u64> = self
                        .bodies
                        .iter()
                        .filter(|(_, body)| **body == old)
                        .map(|(key, _)| *key)
                        .collect();
                    for key in keys {
                        self.set(key, Some(new.clone()));
                    }
                }
                PICTURE => {
                    self.pictured = lsn;
                    let keys: Vec<u64> = self.bodies.keys().copied().collect();
                    for key in keys {
                        self.set(key, None);
                    }
                    while !reader.is_empty() {
                        let key = reader.u64().unwrap();
                        self.set(key, Some(BodyRef::decode(&mut reader).unwrap()));
                    }
                }
                other => panic!("no test writes {other:?}"),
            }
        }
    }

    fn picture(&self) -> Record {
        let mut payload = Vec::new();
        for (key, body) in &self.bodies {
            payload.put_u64(*key);
            body.encode(&mut payload);
        }
        Record {
            kind: PICTURE,
            payload: payload.into(),
        }
    }
}

impl Shelf {
    pub async fn open(io: Io, store: Store, mut replay: Replay) -> Shelf {
        let mut state = State {
            applied: store.open_report().applied,
            ..State::default()
        };
        for (key, row) in store
            .range(BODIES, vec![], vec![0xff; 9], usize::MAX)
            .await
            .unwrap()
        {
            state.bodies.insert(
                Reader::new(&key).u64().unwrap().swap_bytes(),
                BodyRef::decode(&mut Reader::new(&row)).unwrap(),
            );
        }
        while let Some(group) = replay.next().await.unwrap() {
            state.apply(group.lsn, &group.records, &group.bodies);
        }
        Shelf {
            io,
            store,
            state: Rc::new(RefCell::new(state)),
        }
    }

    /// Starts `group` and applies it when durable.
    pub async fn append(&self, group: Group) -> Result<Committed, StoreFault> {
        let (state, records) = (self.state.clone(), group.records.clone());
        let applied = move |committed: &Committed| {
            state
                .borrow_mut()
                .apply(committed.lsn, &records, &committed.bodies)
        };
        self.store.append_then(group, Box::new(applied)).await
    }

    pub async fn put(&self, key: u64, raw: &Bytes) -> Result<Committed, StoreFault> {
        self.append_or_checkpoint(put_group(key, raw)).await
    }

    /// Where the projection is owed more than fits, a checkpoint makes room for `group`.
    async fn append_or_checkpoint(&self, group: Group) -> Result<Committed, StoreFault> {
        for _ in 0..5 {
            match self.append(group.clone()).await {
                Err(StoreFault::Full) if self.store.owes_much() => self.checkpoint().await?,
                Err(StoreFault::Full) if group.purpose == Purpose::Delete => {}
                done => return done,
            }
            if let Ok(committed) = self.append(group.clone()).await {
                return Ok(committed);
            }
            if group.purpose == Purpose::Delete {
                self.store.reclaim(self).await?;
            }
        }
        Err(StoreFault::Full)
    }

    pub async fn take(&self, key: u64) -> Result<Committed, StoreFault> {
        self.take_all(&[key]).await
    }

    pub async fn take_all(&self, keys: &[u64]) -> Result<Committed, StoreFault> {
        let record = |key: &u64| Record {
            kind: TAKE,
            payload: Bytes::copy_from_slice(&key.to_le_bytes()),
        };
        let records = keys.iter().map(record).collect();
        for key in keys {
            if let Some(body) = self.state.borrow().bodies.get(key) {
                self.store.note_dead(body);
            }
        }
        self.append_or_checkpoint(Group {
            records,
            purpose: Purpose::Delete,
            ..Group::default()
        })
        .await
    }

    pub async fn checkpoint(&self) -> Result<(), StoreFault> {
        let (changes, applied) = {
            let mut state = self.state.borrow_mut();
            let dirty = std::mem::take(&mut state.dirty);
            let row = |key: u64| {
                let value = state.bodies.get(&key).map(|body| {
                    let mut value = Vec::new();
                    body.encode(&mut value);
                    value
                });
                Change {
                    table: BODIES,
                    key: key.to_be_bytes().to_vec(),
                    value,
                }
            };
            (
                dirty.into_iter().map(row).collect::<Vec<_>>(),
                state.applied,
            )
        };
        self.store.checkpoint(changes, applied).await
    }

    pub fn keys(&self) -> Vec<u64> {
        self.state.borrow().bodies.keys().copied().collect()
    }

    /// Every body is read back, proved, and is what was put.
    pub async fn verify(&self, expected: impl Fn(u64) -> Bytes) {
        let bodies: Vec<(u64, BodyRef)> = self
            .state
            .borrow()
            .bodies
            .iter()
            .map(|(key, body)| (*key, body.clone()))
            .collect();
        for (key, body) in bodies {
            match self.store.body_proved(&body).await {
                Ok(raw) => assert!(raw == expected(key), "body {key} is another"),
                Err(fault) => panic!("body {key}: {fault}"),
            }
            let summary = self.store.summaries(&[body]).await.remove(0);
            assert_eq!(summary.unwrap(), summary_of(key));
        }
    }
}

impl Tenant for Shelf {
    fn live_bodies<'a>(
        &'a self,
        segments: &'a [SegmentIndex],
    ) -> LocalFuture<'a, Result<Vec<BodyRef>, StoreFault>> {
        let state = self.state.borrow();
        let live = state
            .bodies
            .values()
            .filter(|body| body.may_lie_in(segments))
            .cloned()
            .collect();
        Box::pin(async move { Ok(live) })
    }

    fn moved<'a>(
        &'a self,
        pairs: Vec<(BodyRef, BodyRef)>,
    ) -> LocalFuture<'a, Result<(), StoreFault>> {
        Box::pin(async move {
            let record = |(old, new): &(BodyRef, BodyRef)| {
                let mut payload = Vec::new();
                old.encode(&mut payload);
                new.encode(&mut payload);
                Record {
                    kind: MOVED,
                    payload: payload.into(),
                }
            };
            self.append(Group {
                records: pairs.iter().map(record).collect(),
                purpose: Purpose::Reclaim,
                ..Group::default()
            })
            .await
            .map(drop)
        })
    }

    fn moved_bytes(&self, bodies: &[&BodyRef]) -> u64 {
        bodies.len() as u64 * 200
    }

    fn carried_bytes<'a>(
        &'a self,
        records: &'a [(Lsn, Record)],
    ) -> LocalFuture<'a, Result<u64, StoreFault>> {
        let picture = self.state.borrow().picture().payload.len() as u64;
        let pictured = self.state.borrow().pictured;
        let needed = records.iter().any(|(lsn, _)| *lsn >= pictured);
        Box::pin(async move { Ok(if needed { picture } else { 0 }) })
    }

    fn carry_forward<'a>(
        &'a self,
        records: Vec<(Lsn, Record)>,
    ) -> LocalFuture<'a, Result<(), StoreFault>> {
        let pictured = self.state.borrow().pictured;
        if records.iter().all(|(lsn, _)| *lsn < pictured) {
            return Box::pin(async { Ok(()) });
        }
        // These stories append nothing beside a reclaim pass, so memory is what the log says here.
        Box::pin(async move {
            let records = vec![self.state.borrow().picture()];
            let bodies = vec![];
            let purpose = Purpose::Reclaim;
            let rows = self.state.borrow().bodies.len() as u64;
            self.append(Group {
                bodies,
                records,
                purpose,
                rows,
            })
            .await
            .map(drop)
        })
    }
}

pub(crate) fn put_group(key: u64, raw: &Bytes) -> Group {
    Group {
        bodies: vec![BodyIn {
            name: BodyName::of(raw),
            raw: raw.clone(),
            summary: summary_of(key),
        }],
        records: vec![Record {
            kind: PUT,
            payload: Bytes::copy_from_slice(&key.to_le_bytes()),
        }],
        ..Group::default()
    }
}

pub(crate) fn summary_of(key: u64) -> Bytes {
    format!("summary of {key}").into()
}

/// Bytes that follow from `key` and do not compress.
pub(crate) fn noise(key: u64, bytes: usize) -> Bytes {
    let mut state = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// Text that follows from `key` and compresses well.
pub(crate) fn text(key: u64, bytes: usize) -> Bytes {
    format!("line {key} of a letter\r\n")
        .bytes()
        .cycle()
        .take(bytes)
        .collect()
}

/// Counts down.
pub(crate) fn counter() -> Rc<Cell<usize>> {
    Rc::default()
}
