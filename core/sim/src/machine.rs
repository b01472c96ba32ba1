//! What both levels of stories stand on: a world, disks as legs, a witness, and one leg that may be weak.

use std::cell::Cell;
use std::rc::Rc;

use base::host::sleep_us;
use device::sim::{CacheLanding, FaultCounts, Faults, Landing, PowerCut, SimWorld};
use device::{DeviceIndex, Io, IoFault};
use fastrand::Rng;
use volume::{LegState, OpenRefusal, Settings, Volume, Witness};

use crate::limits::HEAL_US_MAX;
use crate::swarm;
use crate::witness::SimWitness;

/// Sizes of one story.
#[derive(Debug, Clone)]
pub struct Shape {
    pub legs: usize,
    pub leg_bytes: u64,
    pub segment_bytes: u64,
    pub in_flight_max: usize,
    pub clients: usize,
}

/// What survives a crash.
pub struct Machine {
    pub world: SimWorld,
    pub legs: Vec<DeviceIndex>,
    pub witness: Rc<SimWitness>,
    pub shape: Shape,
    /// The leg whose copies may be bad. The fault budget: all others are sound.
    pub weak: Rc<Cell<Option<DeviceIndex>>>,
}

impl Machine {
    /// A fresh volume on blank disks.
    pub fn create(seed: u64, shape: Shape) -> Result<Machine, String> {
        let world = SimWorld::new(seed);
        let legs: Vec<DeviceIndex> = (0..shape.legs)
            .map(|_| world.add_disk(shape.leg_bytes))
            .collect();
        let machine = Machine {
            world,
            legs,
            witness: Rc::default(),
            shape,
            weak: Rc::default(),
        };
        let (io, settings) = (machine.world.io(), machine.settings());
        let created = machine.world.run(Volume::create(
            &io,
            &machine.legs,
            &settings,
            &*machine.witness,
            seed,
        ));
        created
            .map_err(|halt| format!("create: {halt}"))?
            .map_err(|refusal| format!("create: {refusal}"))?;
        Ok(machine)
    }

    /// The same machine after one outcome of a power cut.
    pub fn after_cut(
        &self,
        seed: u64,
        cut: &PowerCut,
        outcome: &[Landing],
        cache: CacheLanding,
    ) -> Machine {
        Machine {
            world: SimWorld::after_cut(seed, cut, cache, |index, _| outcome[index]),
            legs: self.legs.clone(),
            witness: Rc::new(SimWitness::fork(&self.witness)),
            shape: self.shape.clone(),
            weak: self.weak.clone(),
        }
    }

    pub async fn open(&self, io: &Io) -> Result<Volume, OpenRefusal> {
        let witness: Rc<dyn Witness> = self.witness.clone();
        Volume::open(io, &self.legs, &self.settings(), witness).await
    }

    fn settings(&self) -> Settings {
        Settings {
            segment_bytes: self.shape.segment_bytes,
            batches_in_flight_max: self.shape.in_flight_max,
            batch_buffers: self.shape.in_flight_max + 4,
            ..Settings::default()
        }
    }

    pub fn all_in_sync(&self, volume: &Volume) -> bool {
        volume
            .legs()
            .into_iter()
            .filter(|leg| leg.state == LegState::InSync)
            .count()
            == self.shape.legs
    }

    /// Gives every leg a latency of its own and, three times of four, makes one weak.
    pub fn draw_weakness(&self, rng: &mut Rng) {
        for leg in &self.legs {
            let latency_us = swarm::latency(rng);
            self.world.set_faults(
                *leg,
                Faults {
                    latency_us,
                    ..Faults::default()
                },
            );
        }
        if rng.u8(..4) > 0 {
            self.weak.set(Some(self.legs[rng.usize(..self.legs.len())]));
        }
    }

    /// The power comes on: the witness answers, and the weak leg has faults of its own.
    pub fn draw_faults(&self, rng: &mut Rng) {
        self.witness.set_down(false);
        refuse_writes(&self.world, &self.legs, None);
        let Some(weak) = self.weak.get() else { return };
        let strength = [0.0, 0.01, 0.1, 0.5][rng.usize(..4)];
        let latency_us = self.world.faults(weak).latency_us;
        self.world.set_faults(
            weak,
            Faults {
                latency_us,
                ..swarm::faults(rng, strength)
            },
        );
        if rng.u8(..3) == 0 {
            self.world.insert(weak);
        }
    }

    /// Something happens to the weak leg.
    pub fn disturb(&self, rng: &mut Rng) {
        let Some(weak) = self.weak.get() else { return };
        match rng.u8(..5) {
            0 => self.world.remove(weak),
            1 => self.world.insert(weak),
            2 => self.world.release(weak),
            3 => {
                let blocks = self.world.with_disk(weak, |medium| medium.written_blocks());
                let at = blocks[rng.usize(..blocks.len())] * 4096 + rng.u64(..4096);
                self.world.flip_bit(weak, at, rng.u8(..8));
            }
            _ => {
                let blocks = self.world.with_disk(weak, |medium| medium.written_blocks());
                let bad = blocks[rng.usize(..blocks.len())];
                self.world.with_disk(weak, |medium| medium.mark_bad(bad));
            }
        }
    }

    /// The witness does not answer for up to five seconds.
    pub fn interrupt_witness(&self, io: &Io, rng: &mut Rng) {
        let (host, witness, us) = (io.host.clone(), self.witness.clone(), rng.u64(1..5_000_000));
        witness.set_down(true);
        io.host.spawn(Box::pin(async move {
            sleep_us(&*host, us).await;
            witness.set_down(false);
        }));
    }

    /// Every leg refuses writes for up to twenty seconds: a pool without room, an array that restarts.
    pub fn begin_outage(&self, io: &Io, rng: &mut Rng) {
        let fault = [IoFault::NoSpace, IoFault::Medium, IoFault::Gone][rng.usize(..3)];
        refuse_writes(&self.world, &self.legs, Some(fault));
        let (host, us) = (io.host.clone(), rng.u64(1..20_000_000));
        let (world, legs) = (self.world.clone(), self.legs.clone());
        io.host.spawn(Box::pin(async move {
            sleep_us(&*host, us).await;
            refuse_writes(&world, &legs, None);
        }));
    }

    /// Tries to bring back what is not attached; refusals are for `heal` to mind.
    pub async fn attach_missing(&self, volume: &Volume) {
        for leg in &self.legs {
            if !volume
                .legs()
                .iter()
                .any(|report| report.device == Some(*leg))
            {
                drop(volume.attach(*leg).await);
            }
        }
    }

    pub fn faults_off(&self) {
        for leg in &self.legs {
            self.world.set_faults(*leg, Faults::default());
            self.world.insert(*leg);
            self.world.release(*leg);
        }
        self.witness.set_down(false);
    }

    async fn bring_in_sync(&self, io: &Io, volume: &Volume) -> Result<(), String> {
        let give_up = io.host.now().after_us(HEAL_US_MAX);
        while !self.all_in_sync(volume) {
            for leg in &self.legs {
                if volume
                    .legs()
                    .iter()
                    .any(|report| report.device == Some(*leg))
                {
                    continue;
                }
                if let Err(refusal) = volume.attach(*leg).await {
                    // What the faults left of its superblocks is not believed: the operator puts a blank disk in.
                    self.world.with_disk(*leg, |medium| medium.wipe());
                    volume
                        .attach(*leg)
                        .await
                        .map_err(|again| format!("attach: {refusal}; blank: {again}"))?;
                }
            }
            sleep_us(&*io.host, 100_000).await;
            if io.host.now() > give_up {
                return Err(format!("the legs do not get in sync\n{}", describe(volume)));
            }
        }
        Ok(())
    }

    /// Faults are over: every leg comes back and is in sync, and after one scrub nothing is left to repair.
    pub async fn heal(&self, io: &Io, volume: &Volume) -> Result<(), String> {
        self.bring_in_sync(io, volume).await?;
        // The first scrub may find what nobody had read, and so much of it that the leg is put out once more; the next must find nothing.
        let mut first = volume.scrub().await;
        if !self.all_in_sync(volume) {
            self.bring_in_sync(io, volume).await?;
            first = volume.scrub().await;
        }
        let second = volume.scrub().await;
        if !first.damaged.is_empty() || second.repaired > 0 || !second.damaged.is_empty() {
            return Err(format!(
                "scrubs find {first:?}, then {second:?}\n{}",
                describe(volume)
            ));
        }
        Ok(())
    }

    pub fn fault_counts(&self) -> FaultCounts {
        let mut counts = FaultCounts::default();
        for leg in &self.legs {
            counts.add(&self.world.fault_counts(*leg));
        }
        counts
    }
}

fn refuse_writes(world: &SimWorld, legs: &[DeviceIndex], refuses_writes: Option<IoFault>) {
    for leg in legs {
        let before = world.faults(*leg);
        world.set_faults(
            *leg,
            Faults {
                refuses_writes,
                ..before
            },
        );
    }
}

/// The state of a volume, for whoever reads a failure.
pub fn describe(volume: &Volume) -> String {
    let mut text = format!(
        "checkpoint {}, {:?}\n",
        volume.checkpoint().lsn,
        volume.open_report()
    );
    for leg in volume.legs() {
        text += &format!(
            "leg {:?} {:?} stale since {:?}: {:?}\n",
            leg.index, leg.state, leg.stale_since, leg.why
        );
    }
    for report in volume.segments() {
        let (first, last) = (report.first_lsn, report.last_lsn);
        let (index, generation) = (report.index.0, report.generation.0);
        text += &format!(
            "segment {index}.{generation} {:?} {first}..={last} {} bytes\n",
            report.state, report.used_bytes
        );
    }
    text
}
