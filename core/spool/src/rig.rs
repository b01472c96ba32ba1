//! For tests: a spool on two legs of a simulated machine.

use std::cell::RefCell;
use std::rc::Rc;

use device::DeviceIndex;
use device::sim::SimWorld;
use store::{Replay, Store};
use volume::{Volume, VolumeId, Witness, WitnessFault, WitnessRecord};

use crate::{Settings, Spool};

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

/// What stays over power cuts.
pub struct Disks {
    legs: [DeviceIndex; 2],
    witness: Rc<Memory>,
}

impl Disks {
    /// Two new disks of `world` with an empty volume.
    pub fn new(world: &SimWorld, seed: u64) -> Disks {
        let legs = [world.add_disk(LEG_BYTES), world.add_disk(LEG_BYTES)];
        let witness = Rc::new(Memory::default());
        let (io, settings) = (world.io(), settings());
        world.block_on(async {
            let created = Volume::create(&io, &legs, &settings, &*witness, seed);
            created.await.expect("blank legs");
        });
        Disks { legs, witness }
    }

    /// Spoils `bytes` wherever they lie, on both legs.
    pub fn rot(&self, world: &SimWorld, bytes: &[u8]) {
        for leg in self.legs {
            let disk = world.peek(leg, 0, LEG_BYTES as usize);
            let places = disk.windows(bytes.len()).enumerate();
            let places: Vec<usize> = places
                .filter(|(_, window)| *window == bytes)
                .map(|(at, _)| at)
                .collect();
            assert!(!places.is_empty(), "they are not there");
            for at in places {
                world.flip_bit(leg, at as u64, 2);
            }
        }
    }

    /// The store of the volume; a spool or anything else may be opened on it.
    pub async fn store(&self, world: &SimWorld) -> (Store, Replay) {
        let (io, settings) = (world.io(), settings());
        let opened = Volume::open(&io, &self.legs, &settings, self.witness.clone());
        let volume = opened.await.expect("a volume");
        let settings = store::Settings {
            projection_cache_bytes: 1 << 20,
            compression_level: 1,
            lead: store::no_lead,
        };
        let opened = Store::open(io, volume, settings).await;
        opened.expect("a store")
    }

    /// One that keeps nothing behind a hand-over.
    pub async fn open(&self, world: &SimWorld, bytes_max: u64, messages_max: usize) -> Spool {
        self.open_keeping(world, bytes_max, messages_max, 0).await
    }

    pub async fn open_keeping(
        &self,
        world: &SimWorld,
        bytes_max: u64,
        messages_max: usize,
        keep_s: u64,
    ) -> Spool {
        let (store, replay) = self.store(world).await;
        let settings = Settings {
            bytes_max,
            messages_max,
            addressees_max: 10_000,
            keep_s,
            checkpoints: tenancy::Settings {
                checkpoint_groups: u64::MAX,
                checkpoint_bytes: u64::MAX,
                checkpoint_us: u64::MAX,
            },
        };
        let opened = Spool::open(world.io(), store, replay, settings).await;
        opened.expect("a spool")
    }
}

const LEG_BYTES: u64 = 40 << 20;

fn settings() -> volume::Settings {
    volume::Settings {
        segment_bytes: 1 << 20,
        ..volume::Settings::default()
    }
}
