//! Opening a volume (DESIGN.md A1, B5, B8); making one is `create`, what an opening writes is `takeover`.
//!
//! Only legs that the witness names are believed, and of those only what they prove (`trust`). Stale and blank devices, and
//! what cannot be what it says, are reported by name and left alone; `attach` admits them later.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use device::{DeviceIndex, Io};

use crate::arena::shared::ArenaShared;
use crate::checked::Checked;
use crate::damage::{WAY_OUT, sentence};
use crate::inner::Inner;
use crate::leg::{Probe, probe, wwid};
use crate::legs::{Leg, Legs};
use crate::log::Log;
use crate::normalise::Evidence;
use crate::opening::{Recovered, Takeover};
use crate::pool::Pool;
use crate::recover::recover;
use crate::superblock::Member;
use crate::takeover::take_over;
use crate::trust::{Present, Sorted, leave_unfit, newest_of, sort};
use crate::types::*;
use crate::{Settings, Volume};

pub(crate) async fn open(
    io: &Io,
    devices: &[DeviceIndex],
    settings: &Settings,
    witness: Rc<dyn Witness>,
) -> Result<Volume, OpenRefusal> {
    // Nothing is written until `take_over`: whoever starts the daemon with the wrong disks gets a sentence, and the disks are as they were.
    let mut left_out = Vec::new();
    let mut present = Vec::new();
    for &device in devices {
        let name = io.device.geometry(device).stable_id;
        match probe(io, device, settings.hard_deadline_us).await {
            Probe::Leg(quorum, frame) => present.push(Present {
                device,
                quorum,
                frame,
                holds: Lsn(0),
            }),
            Probe::Blank(_) => left_out.push(format!(
                "device {name} is blank: `leg attach` makes it a leg"
            )),
            Probe::Unusable(why) => left_out.push(why),
        }
    }
    leave_strangers(io, &*witness, &mut present, &mut left_out);
    let volume = one_volume(io, &present, &left_out)?;
    let record = match witness.read(volume) {
        Ok(Some(record)) => record,
        Ok(None) => {
            return misfit(format!(
                "the state directory has no record of volume {volume}: it is the wrong one, or it was lost; restore it, or \
                 start with an empty state directory and every leg that counted: then the record is created again"
            ));
        }
        Err(fault) => {
            return misfit(format!(
                "the record of volume {volume} cannot be read: {fault}"
            ));
        }
    };
    // The position only ever adds evidence to the record (what was acknowledged, which superblock
    // was the last), so an absent one is the least and not a fault; an unreadable one is unknown, and unknown is not absent (I12).
    let position = match witness.position(volume) {
        Ok(position) => position.unwrap_or_default(),
        Err(fault) => {
            return misfit(format!(
                "the position of volume {volume} cannot be read: {fault}"
            ));
        }
    };
    // All legs that are here count for this comparison, the stale ones too: a leg that knows of a later epoch than the witness
    // proves that the state directory was restored from a copy, and then the witness's list of members is the wrong one.
    let newest = |of: fn(&Present) -> u64| present.iter().map(of).max().unwrap_or(0);
    let epoch = newest(|leg| leg.quorum.superblock.epoch);
    let term = newest(|leg| leg.quorum.superblock.term);
    let knows_more = if epoch > record.epoch {
        Some(("epoch", epoch, record.epoch))
    } else {
        (term > record.term).then_some(("term", term, record.term))
    };
    if let Some((what, theirs, ours)) = knows_more {
        return misfit(format!(
            "a leg of volume {volume} has {what} {theirs}, the state directory only {ours}: the state directory is an old \
             copy; restore the current one"
        ));
    }
    // Of every leg, before any is left out: a superblock written with a number below this one could lose against an old one.
    let seq = newest(|leg| leg.quorum.seq_seen);
    leave_unfit(io, settings, &mut present, &mut left_out);
    let (believed, stale): (Vec<_>, Vec<_>) = present
        .into_iter()
        .partition(|leg| record.in_sync.contains(&leg.quorum.leg));
    for leg in &stale {
        left_out.push(format!(
            "leg {} on device {} is stale: `leg attach` brings it up to date",
            leg.quorum.leg,
            io.device.geometry(leg.device).stable_id
        ));
    }
    if believed.is_empty() {
        let wanted: Vec<String> = record.in_sync.iter().map(LegId::to_string).collect();
        return misfit(format!(
            "no in-sync leg of volume {volume} is here (wanted: {}); stale legs never serve. Bring one of them back, or \
             rescue what there is with `ringpostctl salvage`. {}",
            wanted.join(", "),
            left_out.join("; ")
        ));
    }
    let sorted = sort(io, settings, &record, position, believed, &mut left_out)?;
    let inner = assemble(io, settings, witness, volume, &record, &sorted, left_out)?;
    {
        let mut log = inner.log.borrow_mut();
        log.pass_seq(seq.max(position.seq));
    }
    start_owning(&inner, &record, &sorted.serving, position).await?;
    Ok(Volume { inner })
}

/// Where the witness knows one of several volumes, that is the one meant: legs of the others are left out, untouched.
fn leave_strangers(
    io: &Io,
    witness: &dyn Witness,
    present: &mut Vec<Present>,
    left_out: &mut Vec<String>,
) {
    let volumes: BTreeSet<VolumeId> = present
        .iter()
        .map(|leg| leg.quorum.superblock.volume)
        .collect();
    // A record that cannot be read is not an absent one: its volume counts as known, and `open` says what is wrong.
    let known: Vec<VolumeId> = volumes
        .into_iter()
        .filter(|volume| !matches!(witness.read(*volume), Ok(None)))
        .collect();
    let [ours] = known[..] else { return };
    present.retain(|leg| {
        let theirs = leg.quorum.superblock.volume;
        if theirs != ours {
            let name = io.device.geometry(leg.device).stable_id;
            left_out.push(format!(
                "device {name} belongs to volume {theirs}, not to {ours}"
            ));
        }
        theirs == ours
    });
}

/// The one volume that the present legs belong to.
fn one_volume(io: &Io, present: &[Present], left_out: &[String]) -> Result<VolumeId, OpenRefusal> {
    let volumes: BTreeSet<VolumeId> = present
        .iter()
        .map(|leg| leg.quorum.superblock.volume)
        .collect();
    match volumes.len() {
        1 => Ok(*volumes.first().expect("one")),
        0 => misfit(format!(
            "none of the devices is a leg. {}",
            left_out.join("; ")
        )),
        _ => {
            let legs: Vec<String> = present
                .iter()
                .map(|leg| {
                    let name = io.device.geometry(leg.device).stable_id;
                    format!(
                        "device {name} belongs to volume {}",
                        leg.quorum.superblock.volume
                    )
                })
                .collect();
            misfit(format!(
                "the devices are legs of different volumes: {}; name only one volume's",
                legs.join(", ")
            ))
        }
    }
}

/// Builds the state from the newest superblock among the legs that serve.
fn assemble(
    io: &Io,
    settings: &Settings,
    witness: Rc<dyn Witness>,
    volume: VolumeId,
    record: &WitnessRecord,
    sorted: &Sorted,
    left_out: Vec<String>,
) -> Result<Rc<Inner>, OpenRefusal> {
    // The members are the superblock's, not the devices': a leg that is away keeps its place, its id and what is known of its age.
    let newest = newest_of(&sorted.serving)?;
    let superblock = &newest.quorum.superblock;
    let mut legs = Vec::new();
    for member in &superblock.members {
        let mut here = sorted.serving.iter();
        let here = here.find(|leg| leg.quorum.leg == member.id);
        let state = if here.is_some() {
            LegState::InSync
        } else {
            absent_state(member, record)
        };
        let mut leg = Leg::absent(member.id, state, member.stale_since, member.wwid);
        if let Some(here) = here {
            // Until it was proved: should it fail before that, this is how far it is believed.
            let less = (here.holds < superblock.acked).then_some(here.holds);
            leg.is_here(here.device, here.frame, wwid(io, here.device), less);
        }
        if let Some((_, holds)) = sorted.behind.iter().find(|(id, _)| *id == member.id) {
            leg.believe_up_to(*holds);
        }
        legs.push(leg);
    }
    let plan = superblock.plan;
    let log = Log::found(superblock, record, newest.quorum.body_hash);
    Ok(Rc::new(Inner {
        io: io.clone(),
        pool: Pool::new(
            &settings.premade,
            settings.batch_buffers,
            plan.batch_bytes_max(),
        ),
        settings: settings.clone(),
        id: volume,
        plan,
        witness,
        legs: Checked::new(Legs::new(legs)),
        log: Checked::new(log),
        publishing: Default::default(),
        checkpointing: Default::default(),
        attaching: Default::default(),
        arena_writing: Default::default(),
        arena: Arc::new(ArenaShared::default()),
        moved: Default::default(),
        counters: Cell::default(),
        report: RefCell::new(OpenReport {
            left_out,
            clean: superblock.clean,
            ..OpenReport::default()
        }),
        damage: RefCell::default(),
        given_up: RefCell::default(),
        held: Cell::default(),
        scrubbed: Cell::new(superblock.scrub),
        scrubbing: Default::default(),
        read_cache: RefCell::default(),
        page_checks: RefCell::default(),
        takeover: RefCell::default(),
    }))
}

fn absent_state(member: &Member, record: &WitnessRecord) -> LegState {
    // A leg that the witness counts and that is not here is as stale as the others' first write makes it.
    match member.state {
        LegState::InSync | LegState::CatchingUp | LegState::Rebuilding => LegState::Stale,
        other if record.in_sync.contains(&member.id) => {
            tracing::warn!(leg = %member.id, state = ?other, "the witness counts a leg that its superblock does not");
            LegState::Stale
        }
        other => other,
    }
}

/// Finds the end of the log, reading only; then takes the volume over, unless something acknowledged may be lost by that.
async fn start_owning(
    inner: &Rc<Inner>,
    record: &WitnessRecord,
    serving: &[Present],
    position: Position,
) -> Result<(), OpenRefusal> {
    let superblock = newest_of(serving)?.quorum.superblock.clone();
    let before = inner.counters.get().bytes_read;
    let holds = serving.iter().map(|leg| (leg.quorum.leg, leg.holds));
    let evidence = Evidence {
        holds: holds.collect(),
        acked: position.acked,
        opened: record.opened,
    };
    // From here the newest superblock of the legs that serve is the start, and everything later than it is found in the log itself.
    let mut recovered = recover(inner, &superblock, &evidence).await?;
    {
        let mut report = inner.report.borrow_mut();
        report.tail_batches = recovered.batches;
        report.tail_bytes = inner.counters.get().bytes_read - before;
        report.damaged = recovered.damaged.clone();
    }
    let loss = loss(&recovered);
    let takeover = Takeover {
        record: record.clone(),
        // Above every term that either side has seen, so that batches of this opening can be told from those of any opening before (I2).
        term: record.term.max(superblock.term) + 1,
        acked_seen: recovered.acked_seen,
        repairs: std::mem::take(&mut recovered.repairs),
        again: std::mem::take(&mut recovered.again),
        idle: recovered.idle,
        given_up: std::mem::take(&mut recovered.given_up),
        lost: std::mem::take(&mut recovered.lost),
        held: std::mem::take(&mut recovered.held),
    };
    let no_room = recovered.no_room;
    adopt(inner, recovered);
    match loss {
        _ if no_room => {
            let why = "no segment is free for a new owner to write in: the volume can only be read; \
                       copy the mail off it with `ringpostctl salvage`";
            tracing::error!(why, "the volume is read-only");
            inner.log.borrow_mut().stay_read_only(why.into());
            Ok(())
        }
        // Reading goes on: most of the mail is intact, and people can have it while the operator decides. The takeover waits with
        // everything that it needs, so that `accept_damage` does not have to read the log again.
        Some(why) if !inner.settings.accept_damage => {
            tracing::error!(why, "the volume is read-only");
            inner.log.borrow_mut().stay_read_only(why);
            *inner.takeover.borrow_mut() = Some(takeover);
            Ok(())
        }
        _ => take_over(inner, takeover).await,
    }
}

/// What must not happen without the operator: acknowledged batches would be given up.
fn loss(recovered: &Recovered) -> Option<String> {
    if recovered.unknown_end {
        return Some(format!(
            "the end of the log cannot be read on any leg, and acknowledged mail may be stored there: {WAY_OUT}"
        ));
    }
    let damaged = &recovered.damaged;
    (!damaged.is_empty()).then(|| sentence(damaged))
}

/// Takes over what recovery found, for reading.
fn adopt(inner: &Rc<Inner>, mut recovered: Recovered) {
    inner.log.borrow_mut().adopt(&mut recovered);
    *inner.given_up.borrow_mut() = recovered.skips;
    // The damaged batches have no place on any leg; a place that no segment has keeps them in the list without matching one.
    let unplaced = SegmentIndex(u32::MAX);
    inner
        .damage
        .borrow_mut()
        .extend(recovered.damaged.iter().map(|&lsn| (lsn, unplaced, 0)));
    inner.arena.set_legs(inner);
    inner.arena.set_segments(inner);
}
