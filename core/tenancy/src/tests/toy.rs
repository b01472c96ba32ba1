//! A tenant that keeps numbered bodies, and a machine for two of them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::{Rc, Weak};

use base::BodyName;
use base::cursor::{Reader, Write};
use bytes::Bytes;
use device::DeviceIndex;
use device::sim::{Halt, SimWorld};
use store::{BodyIn, BodyRef, Record, RecordKind, Table};
use volume::{SegmentIndex, Volume, VolumeId, Witness, WitnessFault, WitnessRecord};

use crate::*;

pub const SEGMENT_BYTES: u64 = 1 << 20;
/// Where the second tenant's kinds and tables begin.
const SECOND: u8 = 10;

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

pub struct Rig {
    pub world: SimWorld,
    legs: [DeviceIndex; 2],
    witness: Rc<Memory>,
}

/// A log with two tenants: kinds and tables 1–9 and 10–19.
pub struct Open {
    pub tenancy: Tenancy,
    pub first: Rc<Toy>,
    pub second: Rc<Toy>,
    pub report: store::OpenReport,
}

impl Rig {
    pub fn new(seed: u64) -> Rig {
        let world = SimWorld::new(seed);
        let legs = [world.add_disk(40 << 20), world.add_disk(40 << 20)];
        let rig = Rig {
            world,
            legs,
            witness: Rc::default(),
        };
        let io = rig.world.io();
        let (settings, witness) = (volume_settings(), rig.witness.clone());
        rig.world.block_on(async {
            let created = Volume::create(&io, &rig.legs, &settings, &*witness, seed);
            created.await.expect("a volume");
        });
        rig
    }

    /// `Err`: the power went, or the opening was refused.
    pub async fn try_open(&self) -> Result<Open, StoreFault> {
        let io = self.world.io();
        let settings = volume_settings();
        let opened = Volume::open(&io, &self.legs, &settings, self.witness.clone());
        let volume = opened
            .await
            .map_err(|refusal| StoreFault::Deferred(refusal.to_string()))?;
        let settings = store::Settings {
            projection_cache_bytes: 1 << 20,
            compression_level: 0,
            lead: store::no_lead,
        };
        let (store, replay) = Store::open(io.clone(), volume, settings).await?;
        let report = store.open_report();
        let never = Settings {
            checkpoint_groups: u64::MAX,
            checkpoint_bytes: u64::MAX,
            checkpoint_us: u64::MAX,
        };
        let tenancy = Tenancy::new(io, store, never);
        let (first, second) = (Toy::new(&tenancy, 1), Toy::new(&tenancy, SECOND));
        let tenants: Vec<Rc<dyn Tenant>> = vec![first.clone(), second.clone()];
        tenancy.open(replay, tenants).await?;
        Ok(Open {
            tenancy,
            first,
            second,
            report,
        })
    }

    /// Runs `story` until it ends or the power is cut.
    pub fn run<T>(&self, story: impl Future<Output = T>) -> Result<T, Halt> {
        self.world.run(story)
    }
}

fn volume_settings() -> volume::Settings {
    volume::Settings {
        segment_bytes: SEGMENT_BYTES,
        ..volume::Settings::default()
    }
}

/// Bodies by number. Its records: PUT, TAKE, MOVED, PICTURE, from kind `base` on.
pub struct Toy {
    me: Weak<Toy>,
    base: u8,
    tenancy: Tenancy,
    pub state: RefCell<State>,
    ahead: RefCell<VecDeque<Replayed>>,
    pub passes_ended: Cell<u32>,
    /// Parts handed out and not applied yet.
    pending: Rc<Cell<u32>>,
}

#[derive(Default)]
pub struct State {
    pub bodies: BTreeMap<u64, BodyRef>,
    dirty: BTreeSet<u64>,
    pictured: Lsn,
}

pub fn raw_of(key: u64) -> Bytes {
    let mut rng = fastrand::Rng::with_seed(key);
    let mut raw = vec![0; 20_000];
    rng.fill(&mut raw);
    raw.into()
}

pub fn body_of(key: u64) -> BodyIn {
    let raw = raw_of(key);
    BodyIn {
        name: BodyName::of(&raw),
        raw,
        summary: Bytes::from_static(b"toy"),
    }
}

impl Toy {
    fn new(tenancy: &Tenancy, base: u8) -> Rc<Toy> {
        Rc::new_cyclic(|me| Toy {
            me: me.clone(),
            base,
            tenancy: tenancy.clone(),
            state: RefCell::default(),
            ahead: RefCell::default(),
            passes_ended: Cell::new(0),
            pending: Rc::default(),
        })
    }

    fn record(&self, what: u8, payload: Vec<u8>) -> Record {
        Record {
            kind: RecordKind(self.base + what),
            payload: payload.into(),
        }
    }

    /// The part of a group that puts its first body under `key`.
    pub fn put(&self, key: u64) -> Part {
        self.part(self.record(0, key.to_le_bytes().to_vec()))
    }

    pub fn take(&self, key: u64) -> Part {
        self.part(self.record(1, key.to_le_bytes().to_vec()))
    }

    fn part(&self, record: Record) -> Part {
        let me = self.me.upgrade().expect("it is in use");
        let records = vec![record.clone()];
        self.pending.set(self.pending.get() + 1);
        Part {
            records,
            rows: 1,
            applied: Box::new(move |committed| {
                me.apply(committed.lsn, &record, &committed.bodies);
                me.pending.set(me.pending.get() - 1);
            }),
        }
    }

    fn apply(&self, lsn: Lsn, record: &Record, bodies: &[BodyRef]) {
        let mut state = self.state.borrow_mut();
        let mut reader = Reader::new(&record.payload);
        let set = |state: &mut State, key: u64, body: Option<BodyRef>| {
            state.dirty.insert(key);
            match body {
                Some(body) => _ = state.bodies.insert(key, body),
                None => _ = state.bodies.remove(&key),
            }
        };
        match record.kind.0 - self.base {
            0 => set(&mut state, reader.u64().unwrap(), Some(bodies[0].clone())),
            1 => {
                let key = reader.u64().unwrap();
                // An estimate of what is alive where; in these stories the second tenant holds a body longest.
                if self.base == SECOND {
                    let dead = state.bodies.get(&key);
                    dead.iter()
                        .for_each(|body| self.tenancy.store().note_dead(body));
                }
                set(&mut state, key, None)
            }
            2 => {
                while !reader.is_empty() {
                    let old = BodyRef::decode(&mut reader).unwrap();
                    let new = BodyRef::decode(&mut reader).unwrap();
                    let held = state.bodies.iter().find(|(_, body)| body.body == old.body);
                    if let Some(key) = held.map(|(key, _)| *key) {
                        set(&mut state, key, Some(new));
                    }
                }
            }
            3 => {
                state.pictured = lsn;
                let mut pictured = BTreeMap::new();
                while !reader.is_empty() {
                    let key = reader.u64().unwrap();
                    pictured.insert(key, BodyRef::decode(&mut reader).unwrap());
                }
                for key in state.bodies.keys().copied().collect::<Vec<_>>() {
                    set(&mut state, key, None);
                }
                for (key, body) in pictured {
                    set(&mut state, key, Some(body));
                }
            }
            other => panic!("no record of kind {other} is written"),
        }
    }

    fn picture(&self) -> Record {
        let mut payload = Vec::new();
        for (key, body) in &self.state.borrow().bodies {
            payload.put_u64(*key);
            body.encode(&mut payload);
        }
        self.record(3, payload)
    }

    pub fn keys(&self) -> Vec<u64> {
        self.state.borrow().bodies.keys().copied().collect()
    }

    /// Every body is there and is what was put.
    pub async fn verify(&self) {
        let bodies = self.state.borrow().bodies.clone();
        for (key, body) in bodies {
            let raw = self.tenancy.store().body_proved(&body).await;
            assert_eq!(raw.as_deref(), Ok(&raw_of(key)[..]), "body {key}");
        }
    }
}

impl Tenant for Toy {
    fn share(&self) -> Share {
        let own = self.base..=self.base + 8;
        Share {
            name: "toy",
            kinds: own.clone(),
            tables: own,
        }
    }

    fn load(&self) -> LocalFuture<'_, Result<(), StoreFault>> {
        Box::pin(async move {
            let table = Table(self.base);
            let all = self
                .tenancy
                .store()
                .range(table, vec![], vec![0xff; 9], usize::MAX);
            for (key, row) in all.await? {
                let key = u64::from_be_bytes(key.try_into().unwrap());
                let body = BodyRef::decode(&mut Reader::new(&row)).unwrap();
                self.state.borrow_mut().bodies.insert(key, body);
            }
            Ok(())
        })
    }

    fn read_ahead(
        &self,
        groups: Vec<Replayed>,
        _reading: Reading,
    ) -> LocalFuture<'_, Result<(), StoreFault>> {
        let own = |record: &Record| self.share().owns(record);
        assert!(groups.iter().all(|group| group.records.iter().all(own)));
        self.ahead.borrow_mut().extend(groups);
        Box::pin(async { Ok(()) })
    }

    fn apply_until(&self, lsn: Lsn, _reading: Reading) -> LocalFuture<'_, Result<(), StoreFault>> {
        let mut ahead = self.ahead.borrow_mut();
        while ahead.front().is_some_and(|group| group.lsn <= lsn) {
            let group = ahead.pop_front().unwrap();
            for record in &group.records {
                self.apply(group.lsn, record, &group.bodies);
            }
        }
        Box::pin(async { Ok(()) })
    }

    fn replayed(
        &self,
        _reading: Reading,
        _writable: bool,
    ) -> LocalFuture<'_, Result<(), StoreFault>> {
        assert!(
            self.ahead.borrow().is_empty(),
            "all that was read is applied"
        );
        Box::pin(async { Ok(()) })
    }

    fn collect(&self, changes: &mut Vec<Change>) {
        let mut state = self.state.borrow_mut();
        for key in std::mem::take(&mut state.dirty) {
            let value = state.bodies.get(&key).map(|body| {
                let mut value = Vec::new();
                body.encode(&mut value);
                value
            });
            changes.push(Change {
                table: Table(self.base),
                key: key.to_be_bytes().to_vec(),
                value,
            });
        }
    }

    fn settle(&self) {}

    fn is_dirty(&self) -> bool {
        !self.state.borrow().dirty.is_empty()
    }

    fn is_behind(&self, _part: usize) -> bool {
        false
    }

    fn dirty_rows(&self) -> u64 {
        self.state.borrow().dirty.len() as u64
    }

    fn pass_ended(&self) {
        self.passes_ended.set(self.passes_ended.get() + 1);
    }
}

impl store::Tenant for Toy {
    fn live_bodies<'a>(
        &'a self,
        segments: &'a [SegmentIndex],
    ) -> LocalFuture<'a, Result<Vec<BodyRef>, StoreFault>> {
        let state = self.state.borrow();
        let live = state
            .bodies
            .values()
            .filter(|body| body.may_lie_in(segments));
        let live = live.cloned().collect();
        Box::pin(async move { Ok(live) })
    }

    fn moved<'a>(
        &'a self,
        pairs: Vec<(BodyRef, BodyRef)>,
    ) -> LocalFuture<'a, Result<(), StoreFault>> {
        Box::pin(async move {
            let mut payload = Vec::new();
            for (old, new) in pairs {
                old.encode(&mut payload);
                new.encode(&mut payload);
            }
            let part = self.part(self.record(2, payload));
            self.tenancy
                .commit(Purpose::Reclaim, vec![], vec![part])
                .await
                .map(drop)
        })
    }

    fn moved_bytes(&self, bodies: &[&BodyRef]) -> u64 {
        bodies.len() as u64 * 200
    }

    fn carried_bytes<'a>(
        &'a self,
        _records: &'a [(Lsn, Record)],
    ) -> LocalFuture<'a, Result<u64, StoreFault>> {
        let bytes = self.picture().payload.len() as u64;
        Box::pin(async move { Ok(bytes) })
    }

    fn carry_forward<'a>(
        &'a self,
        records: Vec<(Lsn, Record)>,
    ) -> LocalFuture<'a, Result<(), StoreFault>> {
        let own = |(_, record): &(Lsn, Record)| self.share().owns(record);
        assert!(records.iter().all(own), "records come to their owner");
        let pictured = self.state.borrow().pictured;
        if records.iter().all(|(lsn, _)| *lsn < pictured) {
            return Box::pin(async { Ok(()) });
        }
        Box::pin(async move {
            // A picture of memory is the state at its place of the log only while nothing is on its way there.
            while self.pending.get() > 0 {
                base::host::sleep_us(&*self.tenancy.io().host, 100).await;
            }
            let part = self.part(self.picture());
            self.tenancy
                .commit(Purpose::Reclaim, vec![], vec![part])
                .await
                .map(drop)
        })
    }
}
