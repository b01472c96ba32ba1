//! A leg whose bytes anything may have happened to: the volume opens and gives back what was committed, or says why not.
//!
//! The input is a list of writes over one leg of a mirror that has been in use (both legs when its first byte is odd): an offset
//! of three bytes, a length of one, then the bytes. No checksum is made good: this is rot, not forgery.

use std::cell::RefCell;
use std::rc::Rc;

use base::cursor::Reader;
use bytes::Bytes;
use device::sim::{Medium, SimWorld};
use device::{BLOCK_BYTES, DeviceIndex};
use volume::{Lsn, Settings, Volume, VolumeId, Witness, WitnessFault, WitnessRecord};

/// Enough for a dozen segments.
const LEG_BYTES: u64 = 3 << 20;
/// Batches that were committed before anything was spoiled.
const BATCHES: usize = 12;

/// Writes over every kind of place of a small leg, on one leg and on both.
pub fn seeds() -> Vec<Vec<u8>> {
    // Superblock rings, guard page, first segment: the places of the small layout.
    let places: [u32; 6] = [0, 64 << 10, 128 << 10, 192 << 10, 256 << 10, 300 << 10];
    let write = |at: u32| [&at.to_le_bytes()[..3], &[40], &[0xa5; 40]].concat();
    let single = places.map(|at| [&[0], &*write(at)].concat());
    let both = [
        &[1][..],
        &write(64 << 10),
        &write(256 << 10),
        &write(260 << 10),
    ]
    .concat();
    single.into_iter().chain([both]).collect()
}

/// A witness in memory. It is intact in every run: only the legs rot.
#[derive(Default)]
struct Memory {
    /// The record, once a volume was made.
    record: RefCell<Option<WitnessRecord>>,
}

impl Witness for Memory {
    fn read(&self, volume: VolumeId) -> Result<Option<WitnessRecord>, WitnessFault> {
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
        if self.record.borrow().as_ref() != expected {
            return Err(WitnessFault::Lost);
        }
        *self.record.borrow_mut() = Some(new.clone());
        Ok(())
    }
}

/// Two legs in use, and what was committed to them.
struct Used {
    /// What each leg holds.
    legs: [Medium; 2],
    /// The witness's record at that time.
    witness: Option<WitnessRecord>,
    /// What was committed, in order.
    payloads: Vec<Bytes>,
}

/// Small segments, so that a small leg has several.
fn settings() -> Settings {
    Settings {
        segment_bytes: 256 << 10,
        batch_buffers: 8,
        ..Settings::default()
    }
}

/// The payload of batch `number`; each has another length.
fn payload(number: usize) -> Vec<u8> {
    vec![number as u8; 100 + number * 700]
}

/// Makes a volume and commits to it, once for all inputs.
fn used() -> Used {
    let world = SimWorld::new(1);
    let disks = [0; 2].map(|_| world.add_disk(LEG_BYTES));
    let witness = Rc::new(Memory::default());
    let (io, keeper) = (world.io(), witness.clone());
    world.block_on(async move {
        Volume::create(&io, &disks, &settings(), &*keeper, 1)
            .await
            .expect("blank disks become a volume");
        let volume = Volume::open(&io, &disks, &settings(), keeper)
            .await
            .expect("a new volume opens");
        for number in 0..BATCHES {
            let mut batch = volume.begin().await;
            batch.place(&payload(number));
            volume.commit(batch).await.expect("healthy legs take it");
        }
    });
    let legs = disks.map(|disk| world.snapshot(disk));
    let record = witness.record.borrow().clone();
    Used {
        legs,
        witness: record,
        payloads: (0..BATCHES)
            .map(|number| Bytes::from(payload(number)))
            .collect(),
    }
}

thread_local! {
    // Made once in a thread: most of a run's time otherwise.
    static USED: Used = used();
}

/// Spoils the legs as `data` says, opens the volume, and holds what it gives back against what was committed.
pub fn leg(data: &[u8]) {
    let Some((&choice, writes)) = data.split_first() else {
        return;
    };
    let both = choice & 1 == 1;
    USED.with(|used| {
        let world = SimWorld::new(2);
        let disks = [0; 2].map(|_| world.add_disk(LEG_BYTES));
        for (disk, medium) in disks.iter().zip(&used.legs) {
            world.restore(*disk, medium);
        }
        spoil(&world, if both { &disks } else { &disks[..1] }, writes);
        let witness = Rc::new(Memory {
            record: RefCell::new(used.witness.clone()),
        });
        let io = world.io();
        let found = world.run(async move {
            let volume = Volume::open(&io, &disks, &settings(), witness).await.ok()?;
            let mut walk = volume.walk(Lsn(0));
            let mut found = Vec::new();
            while let Ok(Some((_, payload))) = walk.next().await {
                found.push(payload);
            }
            Some(found)
        });
        let found = found.expect("opening comes to an end");
        match found {
            // With one leg whole nothing may be missing.
            found if !both => assert_eq!(
                found.as_ref(),
                Some(&used.payloads),
                "one whole leg is enough"
            ),
            // With both spoiled: nothing but what was committed, in order.
            Some(found) => {
                let mut committed = used.payloads.iter();
                assert!(
                    found
                        .iter()
                        .all(|payload| committed.any(|one| one == payload)),
                    "bytes that were not committed"
                );
            }
            None => {}
        }
    });
}

/// Performs the writes of an input on `disks`.
fn spoil(world: &SimWorld, disks: &[DeviceIndex], writes: &[u8]) {
    let mut reader = Reader::new(writes);
    // Bounded by the input.
    while let Ok(at) = reader.array::<3>() {
        let Ok(length) = reader.u8() else { break };
        let rest = reader.rest();
        let bytes = reader
            .take(usize::from(length).min(rest.len()))
            .unwrap_or_default();
        let at = u64::from(u32::from_le_bytes([at[0], at[1], at[2], 0]))
            % (LEG_BYTES - BLOCK_BYTES as u64);
        for disk in disks {
            world.poke(*disk, at, bytes);
        }
    }
}
