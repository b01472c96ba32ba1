//! A small volume in a simulated world: its disks, its witness, its clients and their ledger.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use base::host::sleep_us;
use device::sim::{CacheLanding, Landing, PowerCut, SimWorld};
use device::{DeviceIndex, Io};
use volume::{CommitFault, LegId, OpenRefusal, RecordAddress, SegmentState, Volume, WitnessRecord};

use crate::ledger::{Ledger, payload};
use crate::machine::{Machine, Shape, Weakness, describe, trusts};

/// Where the segments of a small leg begin (below 64 MiB the frame is small; `volume/src/layout.rs`).
pub const SEGMENTS_AT: u64 = 256 << 10;

/// A machine, its clients and what they were told.
pub struct VolumeBox {
    pub machine: Machine,
    pub ledger: Rc<RefCell<Ledger>>,
    /// The first broken promise a client saw.
    pub broken: Rc<RefCell<Option<String>>>,
}

impl std::ops::Deref for VolumeBox {
    type Target = Machine;
    fn deref(&self) -> &Machine {
        &self.machine
    }
}

impl VolumeBox {
    /// A fresh volume on blank disks.
    pub fn create(seed: u64, shape: Shape) -> Result<VolumeBox, String> {
        Ok(VolumeBox::of(
            Machine::create(seed, shape)?,
            Ledger::default(),
        ))
    }

    fn of(machine: Machine, ledger: Ledger) -> VolumeBox {
        let volume_box = VolumeBox {
            machine,
            ledger: Rc::new(RefCell::new(ledger)),
            broken: Rc::default(),
        };
        volume_box.watch_witness();
        volume_box
    }

    /// The same box after one outcome of a power cut.
    pub fn after_cut(
        &self,
        seed: u64,
        cut: &PowerCut,
        outcome: &[Landing],
        cache: CacheLanding,
    ) -> VolumeBox {
        let machine = self.machine.after_cut(seed, cut, outcome, cache);
        VolumeBox::of(machine, self.ledger.borrow().clone())
    }

    pub async fn open(&self, io: &Io) -> Result<Volume, OpenRefusal> {
        self.ledger.borrow_mut().note_opening();
        self.machine.open(io).await
    }

    /// I1 and I4, at the moment when the witness counts legs: each of them has everything acknowledged.
    fn watch_witness(&self) {
        let (disks, ledger, broken) = (self.disks(), self.ledger.clone(), self.broken.clone());
        self.witness.on_change(move |record| {
            if ledger.borrow().may_have_moved() {
                return;
            }
            for leg in disks.promised(record) {
                let runs = ledger.borrow().addresses();
                if let Some((token, at)) = disks.lacks(leg, &runs) {
                    let text = format!(
                        "leg {leg:?} is counted in epoch {}, and lacks token {token} at {at:?}",
                        record.epoch
                    );
                    broken.borrow_mut().get_or_insert(text);
                }
            }
        });
    }

    /// Every leg that is promised to be in sync is opened by itself, in a world of its own, and has everything.
    pub fn each_alone(&self, seed: u64) -> Result<(), String> {
        for leg in self.promised() {
            self.only(seed, leg)
                .read_all()
                .map_err(|text| format!("leg {leg:?} alone: {text}"))?;
        }
        Ok(())
    }

    /// The same box as it would be if the power went now and only the disk of `leg` came back.
    pub fn only(&self, seed: u64, leg: DeviceIndex) -> VolumeBox {
        VolumeBox::of(self.machine.alone(seed, leg), self.ledger.borrow().clone())
    }

    /// Opens what is there and compares; then the power goes.
    pub fn read_all(&self) -> Result<(), String> {
        let io = self.world.io();
        let checked = self.world.run(async {
            let opened = self.open(&io).await;
            let volume = opened.map_err(|refusal| format!("open: {refusal}"))?;
            let damaged = volume.open_report().damaged;
            if !damaged.is_empty() {
                return Err(format!("open reports damage: {damaged:?}"));
            }
            let mut ledger = self.ledger.borrow().clone();
            let compared = ledger.check(&volume, true).await;
            compared.map_err(|text| format!("{text}\n{}", describe(&volume)))
        });
        self.world.crash();
        checked.map_err(|halt| halt.to_string())??;
        self.unbroken()
    }

    /// Starts a client that commits `count` batches one after another and writes down what it is told.
    pub fn start_client(
        &self,
        io: &Io,
        volume: &Volume,
        seed: u64,
        count: usize,
        running: Rc<Cell<usize>>,
    ) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (io, volume, ledger) = (io.clone(), volume.clone(), self.ledger.clone());
        let (broken, witness) = (self.broken.clone(), self.witness.clone());
        let disks = self.disks();
        running.set(running.get() + 1);
        let host = io.host.clone();
        host.spawn(Box::pin(async move {
            for _ in 0..count {
                let mut batch = volume.begin().await;
                let placed =
                    ledger
                        .borrow_mut()
                        .place(&mut batch, volume.check_seed(), rng.u64(..));
                let committed = volume.commit(batch).await;
                match committed {
                    Ok(at) => {
                        let runs = ledger.borrow_mut().note_acked(&placed, at);
                        for leg in disks.promised_of(&witness.in_sync()) {
                            if disks.lacks(leg, &runs).is_some() {
                                let text = format!(
                                    "batch {} was acknowledged, and leg {leg:?} does not have it",
                                    at.lsn
                                );
                                broken.borrow_mut().get_or_insert(text);
                            }
                        }
                    }
                    // It may have got a place: its tokens stay open.
                    Err(CommitFault::Deferred(_)) => sleep_us(&*io.host, 200_000).await,
                    Err(CommitFault::Full) => {
                        ledger.borrow_mut().note_refused(&placed);
                        break;
                    }
                }
                if rng.u8(..4) == 0 {
                    sleep_us(&*io.host, rng.u64(..2_000)).await;
                }
            }
            running.set(running.get() - 1);
        }));
    }

    fn disks(&self) -> Disks {
        Disks {
            world: self.world.clone(),
            names: self.names.clone(),
            weakness: self.weakness.clone(),
            segment_bytes: self.shape.segment_bytes,
        }
    }

    /// Ends with the first promise broken in front of a client.
    pub fn unbroken(&self) -> Result<(), String> {
        match &*self.broken.borrow() {
            Some(text) => Err(text.clone()),
            None => Ok(()),
        }
    }

    /// Every acknowledged run lies on every disk: looked at behind the volume's back.
    pub fn legs_equal(&self) -> Result<(), String> {
        for (token, at) in self.ledger.borrow().addresses() {
            for leg in &self.legs {
                if !holds(&self.world, *leg, token, &at, self.shape.segment_bytes) {
                    return Err(format!(
                        "token {token} at {at:?} is not on leg {leg:?} at rest"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Moves the checkpoint to everything acknowledged.
    pub async fn checkpoint(&self, volume: &Volume) -> Result<(), String> {
        let lsn = self.ledger.borrow().acked_lsn();
        let note = payload(lsn.0, 256);
        match volume
            .set_checkpoint(volume::Checkpoint {
                lsn,
                note: note.clone(),
            })
            .await
        {
            Ok(()) if volume.checkpoint().note != note => {
                Err("the checkpoint's note is another one".to_owned())
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Gives back the oldest sealed segments that the checkpoint covers.
    pub async fn free_oldest(&self, volume: &Volume, count: usize) {
        let covered = volume.checkpoint().lsn;
        let mut sealed: Vec<_> = volume.segments();
        sealed.retain(|report| report.state == SegmentState::Sealed && report.last_lsn <= covered);
        sealed.sort_by_key(|report| report.first_lsn);
        for report in sealed.into_iter().take(count) {
            self.ledger
                .borrow_mut()
                .note_leaving(report.index, report.generation);
            if volume.free_segment(report.index).await.is_err() {
                return; // unknown: its tokens stay in doubt until the next check
            }
        }
        self.ledger.borrow_mut().note_left();
    }
}

/// The disks, for a checker that looks behind the volume's back. (Holding the world keeps it alive until the crash.)
struct Disks {
    world: SimWorld,
    names: Rc<RefCell<BTreeMap<LegId, DeviceIndex>>>,
    weakness: Rc<Cell<Weakness>>,
    segment_bytes: u64,
}

impl Disks {
    fn promised(&self, record: &WitnessRecord) -> Vec<DeviceIndex> {
        self.promised_of(&record.in_sync)
    }

    /// The disks of `counted` legs, but for one that may have gone bad in silence.
    fn promised_of(&self, counted: &[LegId]) -> Vec<DeviceIndex> {
        let names = self.names.borrow();
        let legs = counted.iter().filter_map(|id| names.get(id).copied());
        legs.filter(|leg| trusts(self.weakness.get(), *leg))
            .collect()
    }

    /// The first of `runs` that is not durable on `leg`.
    fn lacks(
        &self,
        leg: DeviceIndex,
        runs: &[(u64, RecordAddress)],
    ) -> Option<(u64, RecordAddress)> {
        let missing = runs
            .iter()
            .find(|(token, at)| !holds(&self.world, leg, *token, at, self.segment_bytes));
        missing.copied()
    }
}

fn holds(
    world: &SimWorld,
    leg: DeviceIndex,
    token: u64,
    at: &RecordAddress,
    segment_bytes: u64,
) -> bool {
    let begin = SEGMENTS_AT
        + u64::from(at.segment.0) * segment_bytes
        + u64::from(at.batch_block) * 4096
        + u64::from(at.at);
    let mut run = vec![0; at.bytes as usize];
    world.with_disk(leg, |medium| medium.peek_durable(begin, &mut run));
    run[..8] == token.to_le_bytes() && run[16..] == payload(token, run.len() - 16)
}
