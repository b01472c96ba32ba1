//! A volume on simulated disks, and the few verbs that the stories need.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use device::DeviceIndex;
use device::sim::SimWorld;
use volume::*;

pub const LEG_BYTES: u64 = 8 << 20;

pub fn settings() -> Settings {
    Settings {
        segment_bytes: 256 << 10,
        batch_buffers: 8,
        ..Settings::default()
    }
}

/// A witness in memory: what a small synced file would be.
#[derive(Default)]
pub struct Memory {
    pub record: RefCell<Option<WitnessRecord>>,
    pub position: RefCell<Option<Position>>,
    pub away: RefCell<bool>,
}

impl Witness for Memory {
    fn read(&self, volume: VolumeId) -> Result<Option<WitnessRecord>, WitnessFault> {
        if *self.away.borrow() {
            return Err(WitnessFault::Unavailable("a test took it away".into()));
        }
        Ok(self
            .record
            .borrow()
            .clone()
            .filter(|record| record.volume == volume))
    }
    fn replace(
        &self,
        expected: Option<&WitnessRecord>,
        new: &WitnessRecord,
    ) -> Result<(), WitnessFault> {
        if *self.away.borrow() {
            return Err(WitnessFault::Unavailable("a test took it away".into()));
        }
        if self.record.borrow().as_ref() != expected {
            return Err(WitnessFault::Lost);
        }
        *self.record.borrow_mut() = Some(new.clone());
        Ok(())
    }
    fn position(&self, _volume: VolumeId) -> Result<Option<Position>, WitnessFault> {
        Ok(*self.position.borrow())
    }
    fn note(&self, _volume: VolumeId, position: Position) {
        *self.position.borrow_mut() = Some(position);
    }
}

pub struct Bench {
    pub world: SimWorld,
    pub witness: Rc<Memory>,
    pub disks: Vec<DeviceIndex>,
}

impl Bench {
    pub fn new(seed: u64, legs: usize) -> Bench {
        Bench::with_legs(seed, legs, LEG_BYTES)
    }

    pub fn with_legs(seed: u64, legs: usize, leg_bytes: u64) -> Bench {
        let world = SimWorld::new(seed);
        let disks: Vec<_> = (0..legs).map(|_| world.add_disk(leg_bytes)).collect();
        let bench = Bench {
            world,
            witness: Rc::default(),
            disks,
        };
        let (io, disks, witness) = (bench.world.io(), bench.disks.clone(), bench.witness.clone());
        let made = async move { Volume::create(&io, &disks, &settings(), &*witness, seed).await };
        bench
            .world
            .block_on(made)
            .expect("blank disks become a volume");
        bench
    }

    pub fn open(&self) -> Volume {
        self.try_open(&self.disks).expect("the volume opens")
    }

    pub fn try_open(&self, disks: &[DeviceIndex]) -> Result<Volume, OpenRefusal> {
        let (io, disks, witness) = (self.world.io(), disks.to_vec(), self.witness.clone());
        let opened = self
            .world
            .block_on(async move { Volume::open(&io, &disks, &settings(), witness).await });
        opened.inspect(|volume| self.world.after_each_step(volume.checker()))
    }

    /// The payloads of the whole log.
    pub fn payloads(&self, volume: &Volume) -> Vec<Bytes> {
        self.world.block_on(payloads(volume.clone()))
    }

    pub fn append(&self, volume: &Volume, payload: &[u8]) -> Result<BatchAddress, CommitFault> {
        self.world
            .block_on(append(volume.clone(), payload.to_vec()))
    }
}

pub async fn append(volume: Volume, payload: Vec<u8>) -> Result<BatchAddress, CommitFault> {
    let mut batch = volume.begin().await;
    batch.place(&payload);
    volume.commit(batch).await
}

pub async fn payloads(volume: Volume) -> Vec<Bytes> {
    let mut walk = volume.walk(Lsn(0));
    let mut found = Vec::new();
    while let Some((_, payload)) = walk.next().await.expect("the log is whole") {
        found.push(payload);
    }
    found
}

/// A payload that names itself.
pub fn letter(number: usize, bytes: usize) -> Vec<u8> {
    let mut payload = format!("letter {number}\n").into_bytes();
    let mut random = fastrand::Rng::with_seed(number as u64);
    payload.resize_with(bytes.max(payload.len()), || random.u8(..));
    payload
}

/// The address of the whole payload of a batch.
pub fn record(volume: &Volume, address: BatchAddress, payload: &[u8]) -> RecordAddress {
    RecordAddress {
        segment: address.segment,
        generation: address.generation,
        batch_block: address.block,
        at: BATCH_HEADER_BYTES as u32,
        bytes: payload.len() as u32,
        check: base::hash::xxh3_64(payload, volume.check_seed()),
    }
}
