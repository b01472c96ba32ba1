//! The commit path alone: a volume over real rings on two files, batches of one size, so many in flight, nothing above.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use base::Host;
use uring::local::Local;
use volume::{
    BATCH_HEADER_BYTES, Settings, Volume, VolumeId, Witness, WitnessFault, WitnessRecord,
};

/// A witness that forgets with the process: nothing here outlives it either.
#[derive(Default)]
pub struct MemoryWitness {
    record: RefCell<Option<WitnessRecord>>,
}

impl Witness for MemoryWitness {
    fn read(&self, _volume: VolumeId) -> Result<Option<WitnessRecord>, WitnessFault> {
        Ok(self.record.borrow().clone())
    }

    fn replace(
        &self,
        expected: Option<&WitnessRecord>,
        new: &WitnessRecord,
    ) -> Result<(), WitnessFault> {
        if self.record.borrow().as_ref() != expected {
            return Err(WitnessFault::Lost);
        }
        self.record.replace(Some(new.clone()));
        Ok(())
    }
}

/// How to commit.
#[derive(Debug, Clone, Copy)]
pub struct Pattern {
    /// Bytes of each device write, header included; a multiple of 4,096, at most a batch.
    pub block_bytes: usize,
    pub in_flight: usize,
    pub leg_bytes: u64,
    pub within: Duration,
}

/// Commits batch after batch and returns bytes per second and leg. Stops early when the volume is full.
pub fn bytes_per_second(directory: &Path, pattern: &Pattern) -> io::Result<f64> {
    let paths = [directory.join("a.leg"), directory.join("b.leg")];
    for path in &paths {
        uring::create_file_leg(path, pattern.leg_bytes, |_| {}).map_err(io::Error::other)?;
    }
    // The production ring and host, without a runtime around them: what is between the two figures is the price of everything above.
    let local = Local::new().map_err(io::Error::other)?;
    let mut legs = Vec::new();
    for path in &paths {
        legs.push(local.ring.open(path).map_err(io::Error::other)?);
    }
    let io = local.io();
    let settings = Settings {
        batches_in_flight_max: pattern.in_flight,
        ..Settings::default()
    };
    let witness = Rc::new(MemoryWitness::default());
    let volume = local
        .run(async {
            Volume::create(&io, &legs, &settings, &*witness, 1).await?;
            Volume::open(&io, &legs, &settings, witness.clone()).await
        })
        .map_err(io::Error::other)?;
    let written = Rc::new(Cell::new(0u64));
    let writers = Rc::new(Cell::new(pattern.in_flight));
    let finished = base::host::Bell::new();
    let begin = Instant::now();
    for _ in 0..pattern.in_flight {
        let (volume, written, writers, finished) = (
            volume.clone(),
            written.clone(),
            writers.clone(),
            finished.clone(),
        );
        // Not zeros: some disks and file systems do not write those.
        let payload = vec![7; pattern.block_bytes - BATCH_HEADER_BYTES];
        let within = pattern.within;
        let block_bytes = pattern.block_bytes as u64;
        local.host.spawn(Box::pin(async move {
            while begin.elapsed() < within {
                let mut batch = volume.begin().await;
                batch.place(&payload);
                // Full: the figure is of what was written until then.
                if volume.commit(batch).await.is_err() {
                    break;
                }
                written.set(written.get() + block_bytes);
            }
            writers.set(writers.get() - 1);
            finished.ring();
        }));
    }
    local.run(async {
        while writers.get() > 0 {
            finished.wait().await;
        }
    });
    Ok(written.get() as f64 / begin.elapsed().as_secs_f64())
}
