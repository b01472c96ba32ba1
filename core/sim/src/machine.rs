//! What both levels of stories stand on: a world, disks as legs, a witness, and one leg that may be weak.
//!
//! The weak leg is another one from time to time: weakness moves once every leg is proved to be in sync (`alone`).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use base::host::sleep_us;
use device::sim::{CacheLanding, FaultCounts, Faults, Landing, Medium, PowerCut, SimWorld};
use device::{DeviceIndex, Io, IoFault};
use fastrand::Rng;
use volume::{LegId, LegState, OpenRefusal, Settings, Volume, Witness};

use crate::knobs::Knobs;
use crate::limits::HEAL_US_MAX;
use crate::witness::SimWitness;
use crate::{superblocks, swarm};

/// Sizes of one story.
#[derive(Debug, Clone)]
pub struct Shape {
    pub legs: usize,
    pub leg_bytes: u64,
    pub segment_bytes: u64,
    pub in_flight_max: usize,
    pub clients: usize,
}

/// The fault budget from one point where every leg is proved to be in sync to the next: one leg at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weakness {
    pub leg: Option<DeviceIndex>,
    /// It may lose or spoil bytes without a sign. A leg that is not silent fails only in ways that the volume hears of: that
    /// the witness counts it is then a promise like any other leg's.
    pub silent: bool,
    /// The power was off when it went back to an older state: it holds less than the witness counts on, until all is well again. The volume has
    /// to find out by itself, without a scrub.
    pub went_back: bool,
}

/// What survives a crash.
pub struct Machine {
    pub world: SimWorld,
    pub legs: Vec<DeviceIndex>,
    pub witness: Rc<SimWitness>,
    pub shape: Shape,
    pub weakness: Rc<Cell<Weakness>>,
    pub knobs: Cell<Knobs>,
    /// Which disk is which leg, as far as an open volume told.
    pub names: Rc<RefCell<BTreeMap<LegId, DeviceIndex>>>,
    /// What the weak leg held some time ago.
    older: RefCell<Option<Medium>>,
    /// What one leg held when the power was off some time ago.
    relic: RefCell<Option<(DeviceIndex, Medium)>>,
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
            weakness: Rc::default(),
            knobs: Cell::default(),
            names: Rc::default(),
            older: RefCell::default(),
            relic: RefCell::default(),
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
            weakness: Rc::new(Cell::new(self.weakness.get())),
            knobs: self.knobs.clone(),
            names: Rc::new(RefCell::new(self.names.borrow().clone())),
            older: RefCell::default(),
            relic: RefCell::default(),
        }
    }

    /// The same machine as it would be if the power went now and only the disk of `leg` came back.
    pub fn alone(&self, seed: u64, leg: DeviceIndex) -> Machine {
        let cut = self.world.power_cut();
        let nothing = vec![Landing::Nothing; cut.writes.len()];
        let alone = self.after_cut(seed, &cut, &nothing, CacheLanding::Lost);
        for other in &alone.legs {
            alone.world.set_faults(*other, Faults::default());
            alone.world.remove(*other);
        }
        alone.world.insert(leg);
        alone.weakness.set(Weakness::default());
        alone
    }

    /// The legs whose place in the in-sync set is a promise: counted by the witness, and not gone bad in silence.
    pub fn promised(&self) -> Vec<DeviceIndex> {
        let names = self.names.borrow();
        let counted = self.witness.in_sync().into_iter();
        let legs = counted.filter_map(|id| names.get(&id).copied());
        legs.filter(|leg| self.trusts(*leg)).collect()
    }

    fn trusts(&self, leg: DeviceIndex) -> bool {
        trusts(self.weakness.get(), leg)
    }

    pub async fn open(&self, io: &Io) -> Result<Volume, OpenRefusal> {
        let witness: Rc<dyn Witness> = self.witness.clone();
        let volume = Volume::open(io, &self.legs, &self.settings(), witness).await?;
        self.note_names(&volume);
        self.world.after_each_step(volume.checker());
        Ok(volume)
    }

    fn note_names(&self, volume: &Volume) {
        let legs = volume.legs().into_iter();
        let here = legs.filter_map(|leg| Some((leg.id, leg.device?)));
        self.names.borrow_mut().extend(here);
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
        let leg = self.legs[rng.usize(..self.legs.len())];
        self.weakness.set(Weakness {
            leg: (rng.u8(..4) > 0).then_some(leg),
            silent: rng.bool(),
            went_back: false,
        });
        self.older.take();
    }

    /// The power comes on: the witness answers, and the weak leg has faults of its own. It may have been replaced by what it was.
    pub fn draw_faults(&self, rng: &mut Rng) {
        self.witness.set_down(false);
        refuse_writes(&self.world, &self.legs, None);
        self.damage_superblocks(rng);
        let Some(weak) = self.weakness.get().leg else {
            return;
        };
        let strength = [0.0, 0.01, 0.1, 0.5][rng.usize(..4)];
        let latency_us = self.world.faults(weak).latency_us;
        self.world.set_faults(
            weak,
            Faults {
                latency_us,
                ..swarm::faults(rng, strength, self.weakness.get().silent)
            },
        );
        if rng.u8(..3) == 0 {
            self.world.insert(weak);
        }
        if rng.u8(..3) == 0 && self.make_older(weak) {
            self.weakness.set(Weakness {
                went_back: true,
                ..self.weakness.get()
            });
        }
    }

    /// Copies of the newest superblock are gone on one leg, at most as many as the volume bears.
    fn damage_superblocks(&self, rng: &mut Rng) {
        let (leg, dice, mut own) = (rng.usize(..self.legs.len()), rng.u8(..4), rng.fork());
        let (leg, knobs) = (self.legs[leg], self.knobs.get());
        let weak = self.weakness.get().leg;
        let count = match dice {
            // The leg may be disbelieved for that until it has been brought up to date: one leg at a time, then.
            0 if knobs.last_superblock && weak.is_none_or(|weak| weak == leg) => {
                self.weakness.set(Weakness {
                    leg: Some(leg),
                    ..self.weakness.get()
                });
                3
            }
            // A leg that refuses writes may have one copy fewer than it should.
            0 | 1 => 1,
            2 if weak != Some(leg) => 2,
            _ => 0,
        };
        if knobs.superblocks || knobs.last_superblock {
            superblocks::damage(&self.world, leg, count, &mut own);
        }
    }

    /// Remembers what the weak leg holds, or puts back what it held when it was remembered: `true`.
    fn make_older(&self, weak: DeviceIndex) -> bool {
        if !self.knobs.get().older_leg {
            return false;
        }
        match self.older.take() {
            None => *self.older.borrow_mut() = Some(self.world.snapshot(weak)),
            Some(older) => {
                self.world.restore(weak, &older);
                return true;
            }
        }
        false
    }

    pub fn keep_relic(&self, leg: DeviceIndex) {
        *self.relic.borrow_mut() = Some((leg, self.world.snapshot(leg)));
    }

    pub fn take_relic(&self) -> Option<(DeviceIndex, Medium)> {
        self.relic.take()
    }

    /// Something happens to the weak leg.
    pub fn disturb(&self, rng: &mut Rng) {
        let Weakness { leg, silent, .. } = self.weakness.get();
        let Some(weak) = leg else { return };
        match rng.u8(..6) {
            0 => self.world.remove(weak),
            1 => self.world.insert(weak),
            2 => self.world.release(weak),
            3 if silent => {
                let blocks = self.world.with_disk(weak, |medium| medium.written_blocks());
                let at = blocks[rng.usize(..blocks.len())] * 4096 + rng.u64(..4096);
                self.world.flip_bit(weak, at, rng.u8(..8));
            }
            4 if silent => {
                let blocks = self.world.with_disk(weak, |medium| medium.written_blocks());
                let bad = blocks[rng.usize(..blocks.len())];
                self.world.with_disk(weak, |medium| medium.mark_bad(bad));
            }
            // It is taken out, and another time it comes back as it was.
            5 => {
                self.world.remove(weak);
                // Nobody may have met it while it was out: then its writes got lost in silence.
                let silent = self.make_older(weak) || silent;
                self.weakness.set(Weakness {
                    silent,
                    ..self.weakness.get()
                });
            }
            _ => {}
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

    /// Every leg refuses writes for up to twenty seconds: a pool without room, an array that restarts. Not while one of them may have gone
    /// bad in silence: then the others are what is left.
    pub fn begin_outage(&self, io: &Io, rng: &mut Rng) {
        let fault = [IoFault::NoSpace, IoFault::Medium, IoFault::Gone][rng.usize(..3)];
        let us = rng.u64(1..20_000_000);
        let Weakness { leg, silent, .. } = self.weakness.get();
        if !self.knobs.get().all_refuse || leg.is_some() && silent {
            return;
        }
        refuse_writes(&self.world, &self.legs, Some(fault));
        let host = io.host.clone();
        let (world, legs) = (self.world.clone(), self.legs.clone());
        io.host.spawn(Box::pin(async move {
            sleep_us(&*host, us).await;
            refuse_writes(&world, &legs, None);
        }));
    }

    /// Tries to bring back what is not attached; refusals are for `heal` to mind.
    pub async fn attach_missing(&self, volume: &Volume) {
        for leg in self.missing(volume) {
            drop(volume.attach(leg).await);
            self.note_names(volume);
        }
    }

    /// In every other round some writes of the legs that are not attached take longer than all that follows them: such a leg must not be
    /// counted before they end.
    pub fn slow_missing(&self, volume: &Volume, round: u64) {
        if round.is_multiple_of(2) {
            return;
        }
        for leg in self.missing(volume) {
            let faults = self.world.faults(leg);
            self.world.set_faults(
                leg,
                Faults {
                    stall: 0.2,
                    stall_us: 50_000,
                    ..faults
                },
            );
        }
    }

    fn missing(&self, volume: &Volume) -> Vec<DeviceIndex> {
        let here = volume.legs();
        let is_here = |leg: &&DeviceIndex| here.iter().any(|report| report.device == Some(**leg));
        self.legs
            .iter()
            .filter(|leg| !is_here(leg))
            .copied()
            .collect()
    }

    pub fn faults_off(&self) {
        for leg in &self.legs {
            let latency_us = self.world.faults(*leg).latency_us;
            self.world.set_faults(
                *leg,
                Faults {
                    latency_us,
                    ..Faults::default()
                },
            );
            self.world.insert(*leg);
            self.world.release(*leg);
        }
        self.witness.set_down(false);
    }

    async fn bring_in_sync(&self, io: &Io, volume: &Volume) -> Result<(), String> {
        let give_up = io.host.now().after_us(HEAL_US_MAX);
        while !self.all_in_sync(volume) {
            for leg in self.missing(volume) {
                if let Err(refusal) = volume.attach(leg).await {
                    // One that went back is not trusted: whichever knobs are on, no other leg is excused.
                    if self.trusts(leg) {
                        return Err(format!("a leg that only failed is refused: {refusal}"));
                    }
                    // What the faults left of its superblocks is not believed: the operator puts a blank disk in.
                    self.world.with_disk(leg, |medium| medium.wipe());
                    volume
                        .attach(leg)
                        .await
                        .map_err(|again| format!("attach: {refusal}; blank: {again}"))?;
                }
                self.note_names(volume);
            }
            sleep_us(&*io.host, 100_000).await;
            if io.host.now() > give_up {
                return Err(format!("the legs do not get in sync\n{}", describe(volume)));
            }
        }
        Ok(())
    }

    /// Faults are over: every leg comes back and is in sync. What a leg lost in silence a scrub finds, and a second one finds nothing; where
    /// no leg was silent nothing is scrubbed, and being in sync has to mean that nothing is missing.
    pub async fn heal(&self, io: &Io, volume: &Volume) -> Result<(), String> {
        self.bring_in_sync(io, volume).await?;
        if self.weakness.get().leg.is_some() && self.weakness.get().silent {
            // So much may be found that the leg is put out once more.
            volume.scrub().await;
            self.bring_in_sync(io, volume).await?;
            scrub_twice(volume).await?;
        }
        // Blocks that hold nothing are not scrubbed. One that cannot be read there is not one fault with what another leg does later.
        for leg in &self.legs {
            self.world.with_disk(*leg, |medium| {
                medium.clear_bad();
                // What a flush lied about has been written out by now: a scrub reads it from the cache and cannot know better.
                medium.land_cache(CacheLanding::Kept);
            });
        }
        self.weakness.set(Weakness::default());
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

/// The first scrub may find what no reader had met; the second must find nothing.
pub async fn scrub_twice(volume: &Volume) -> Result<(), String> {
    let first = volume.scrub().await;
    let second = volume.scrub().await;
    if !first.damaged.is_empty() || second.repaired > 0 || !second.damaged.is_empty() {
        return Err(format!(
            "scrubs find {first:?}, then {second:?}\n{}",
            describe(volume)
        ));
    }
    Ok(())
}

/// Whether that the witness counts `leg` is a promise, under this weakness.
pub fn trusts(weakness: Weakness, leg: DeviceIndex) -> bool {
    weakness.leg != Some(leg) || !weakness.silent && !weakness.went_back
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
