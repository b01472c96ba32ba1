//! Power that takes a disk's write cache with it: what a 250 rests on must have been forced to the medium.

use std::path::PathBuf;

use crate::failure::{Told, ensure};
use crate::keep;
use crate::shape::{Bus, Disk, Shape};
use crate::stories::mail::more;
use crate::tool::Tool;
use crate::world::{Machine, World};
use crate::write_cache::{self, Replayed};

/// Where the power may fail, and what had been acknowledged before.
struct Cut {
    promised: Vec<u64>,
    /// How far each leg's log of writes goes.
    at: Vec<u64>,
}

pub fn power_cut_takes_the_write_cache(world: &mut World) -> Told<()> {
    let root = world.root().to_owned();
    let machine = world.boot(Shape {
        // Not NVMe: QEMU's takes a forced write for an ordinary one.
        disks: ["leg-a", "leg-b"]
            .map(|name| Disk {
                logged: true,
                ..Disk::new(name, Bus::Virtio, LEG_BYTES)
            })
            .to_vec(),
        ..Shape::default()
    })?;
    world.told(machine, |machine| {
        let cuts = under_load(machine)?;
        let mut cached = 0;
        for (index, cut) in cuts.iter().enumerate() {
            for (leg, name) in LEGS.iter().enumerate() {
                for share in SHARES_KEPT {
                    let disk = machine.site.path("after-the-cut.raw");
                    let outcome = replay(machine, cut, leg, *share, disk.clone())?;
                    cached += outcome.lost + outcome.kept;
                    let to = machine.site.path("salvaged");
                    Tool::salvage(&root, &disk, &to)?;
                    machine
                        .ledger
                        .check_files(&cut.promised, &to)
                        .map_err(|failure| {
                            failure.during(format!("cut {index}, {name} alone, {outcome:?}"))
                        })?;
                    let _ = std::fs::remove_dir_all(&to);
                }
            }
        }
        ensure(cached > 0, || {
            "no cut found a write in a cache: the story proves nothing".into()
        })?;
        eprintln!(
            "{} cuts: {cached} writes were in a cache only, and either leg alone had all that was acknowledged",
            cuts.len()
        );
        start_after(machine, cuts.last().expect("the last cut is the real one"))
    })
}

/// Delivers mail, notes places where the power might have failed, and cuts it.
fn under_load(machine: &mut Machine) -> Told<Vec<Cut>> {
    let logs = LEGS.map(|leg| machine.site.path(&format!("{leg}.log")));
    let guest = machine.take();
    let ledger = &machine.ledger;
    let cut = || -> Told<Cut> {
        // The promise first: a log that is looked at later holds all that it rests on.
        let promised = ledger.promised();
        let at = logs.iter().map(|log| write_cache::length(log));
        Ok(Cut {
            promised,
            at: at.collect::<Told<_>>()?,
        })
    };
    let mut cuts = ledger.under_load(guest, |guest| {
        let mut cuts = Vec::new();
        for _ in 0..CUTS {
            more(ledger, ledger.acknowledged(), 15)?;
            ledger.fill(&guest, 1, 3_000)?;
            cuts.push(cut()?);
        }
        guest.cut_power();
        Ok(cuts)
    })?;
    // Between two messages the caches are empty. A little later they hold what the next flush would have forced; the promise was given
    // before, so it holds there as well.
    for cut in &mut cuts {
        for (at, log) in cut.at.iter_mut().zip(&logs) {
            *at = write_cache::before_next_flush(log, *at)?;
        }
    }
    cuts.push(cut()?);
    Ok(cuts)
}

/// Makes `disk` as a leg was after a cut: of what only its cache held, one in `share` writes was written all the same.
fn replay(
    machine: &Machine,
    cut: &Cut,
    leg: usize,
    share: Option<u8>,
    disk: PathBuf,
) -> Told<Replayed> {
    let log = machine.site.path(&format!("{}.log", LEGS[leg]));
    let mut random = fastrand::Rng::with_seed(cut.at[leg]);
    write_cache::replay(&log, cut.at[leg], &disk, LEG_BYTES, || {
        share.is_some_and(|share| random.u8(..share) == 0)
    })
}

/// Starts from both legs as they were after a cut.
fn start_after(machine: &mut Machine, cut: &Cut) -> Told<()> {
    for (leg, name) in LEGS.iter().enumerate() {
        replay(machine, cut, leg, Some(2), machine.site.disk(name))?;
        keep::blank(&machine.site.path(&format!("{name}.log")), 0)?;
    }
    machine.boot()?;
    let (guest, ledger) = machine.both();
    ledger
        .check(guest)
        .map_err(|failure| failure.during("after the cut"))?;
    ledger.fill(guest, 3, 3_000)?;
    machine.wait_until_in_sync()
}

const LEGS: [&str; 2] = ["leg-a", "leg-b"];
const LEG_BYTES: u64 = 1 << 30;
/// Places beside the last one, where the power really fails.
const CUTS: usize = 4;
/// Nothing of the cache is written, half of it, all of it.
const SHARES_KEPT: &[Option<u8>] = &[None, Some(2), Some(1)];
