//! Which of the legs that the witness counts are believed to hold what they should (DESIGN.md B5, INVARIANTS.md I11).
//!
//! A leg's word about itself is evidence, and it can only lower trust. A LUN put back from a snapshot, a file copied back
//! and a disk that lied about its flushes all say "in sync" of themselves, honestly for the moment they remember. So each
//! leg is measured:
//!
//! - against the witness: the last term that was opened, and the superblock number that was durable on every leg;
//! - against itself: each superblock names the one before. Where the one before is missing although the leg counted,
//!   the leg went back in time while it was running;
//! - against the others: a superblock is durable on every leg before another one names it as the one before. So a power cut
//!   explains that a leg lacks the last one of a term, and of each term whose opening was cut short after it; nothing explains that
//!   it lacks one that another of the same term follows. One that was refused somewhere is followed by none, whichever leg has it.
//!
//! A leg that fails is *behind*: it is stale since the last position that it proves, and returns by `attach`. A leg that is a
//! few numbers behind for an ordinary reason stays: `recover` proves what it holds from the smaller position on, batch by
//! batch, before the opening is over. Stale for so little would cost the mail if the other leg died the next minute.
//!
//! Beyond this, and not decided here: an old witness beside an old leg agree with each other. That is more than one fault.

use device::{DeviceIndex, Io};

use crate::Settings;
use crate::inner::Inner;
use crate::layout::{Frame, RING_SLOTS};
use crate::leg::wwid;
use crate::limits::SUPERBLOCKS_SKIPPED_MAX;
use crate::superblock::{Quorum, Trace};
use crate::types::*;

/// A device that is a leg of the volume being opened.
pub(crate) struct Present {
    pub device: DeviceIndex,
    pub quorum: Box<Quorum>,
    pub frame: Frame,
    /// Every batch up to here is on it by its own word. What came later must be proved.
    pub holds: Lsn,
}

/// The legs that the witness counts, sorted.
pub(crate) struct Sorted {
    /// These serve. Never empty.
    pub serving: Vec<Present>,
    /// In sync by the witness, and not believed: with the position that they prove.
    pub behind: Vec<(LegId, Lsn)>,
}

/// Leaves out devices that cannot be what they say: shorter than the volume, a copy, or moved without leave. Each is
/// named; the rest goes on without it.
pub(crate) fn leave_unfit(
    io: &Io,
    settings: &Settings,
    present: &mut Vec<Present>,
    left_out: &mut Vec<String>,
) {
    let name = |leg: &Present| io.device.geometry(leg.device).stable_id;
    present.retain(|leg| {
        let plan = leg.quorum.superblock.plan;
        let fits = plan.fits(&leg.frame);
        if !fits {
            left_out.push(too_short(&name(leg), leg.quorum.leg, plan.segments_end()));
        }
        fits
    });
    let at_home = |leg: &Present| leg.quorum.own_wwid() == Some(wwid(io, leg.device));
    if !settings.accept_moved {
        present.retain(|leg| {
            let stays = at_home(leg);
            if !stays {
                left_out.push(moved(&name(leg), leg.quorum.leg));
            }
            stays
        });
    }
    // Of several devices with one leg's name: the one it was made on, else the one that was written last.
    let rank = |leg: &Present| {
        (
            at_home(leg),
            leg.quorum.superblock.epoch,
            leg.quorum.seq_seen,
        )
    };
    present.sort_by_key(|leg| (leg.quorum.leg, std::cmp::Reverse(rank(leg)), leg.device));
    let mut last = None;
    present.retain(|leg| {
        let first = last.replace(leg.quorum.leg) != Some(leg.quorum.leg);
        if !first {
            left_out.push(format!(
                "leg {} is already here on another device: {} is a copy of it",
                leg.quorum.leg,
                name(leg)
            ));
        }
        first
    });
    present.sort_by_key(|leg| leg.device);
}

/// Why a device is left out that ends before its volume does.
pub(crate) fn too_short(name: &str, leg: LegId, wanted_bytes: u64) -> String {
    format!(
        "device {name} is shorter than its leg {leg} (or of another layout): its segments end at byte {wanted_bytes}; give \
         the device its size back, or attach a blank device in its place"
    )
}

/// Why a device is left out that is not the one its leg was made on.
pub(crate) fn moved(name: &str, leg: LegId) -> String {
    format!(
        "leg {leg} is now on another device ({name}) than the one it was made on: is this a copy? If it was moved on \
         purpose and the original is gone, start once with --accept-moved"
    )
}

/// Sorts the legs that the witness counts. `Misfit`: none of them may serve.
pub(crate) fn sort(
    io: &Io,
    settings: &Settings,
    record: &WitnessRecord,
    position: Position,
    mut believed: Vec<Present>,
    left_out: &mut Vec<String>,
) -> Result<Sorted, OpenRefusal> {
    let newest = newest_of(&believed)?.quorum.superblock.clone();
    let last_holds = newest.acked;
    let member = |leg: &Present| newest.members.iter().any(|row| row.id == leg.quorum.leg);
    believed.retain(|leg| {
        let known = member(leg);
        if !known {
            left_out.push(format!(
                "leg {} on device {} is counted by the state directory and missing from the newest member table: restore the \
                 state directory, or blank the device and attach it",
                leg.quorum.leg,
                io.device.geometry(leg.device).stable_id
            ));
        }
        known
    });
    let newest_hash = newest_of(&believed)?.quorum.body_hash;
    let judged = believed.iter();
    let verdicts: Vec<Result<(), Behind>> = judged
        .map(|leg| judge(leg, newest_hash, &believed, record, position))
        .collect();
    let all_behind = verdicts.iter().all(Result::is_err);
    let (mut serving, mut behind) = (Vec::new(), Vec::new());
    for (mut leg, verdict) in believed.into_iter().zip(verdicts) {
        let name = io.device.geometry(leg.device).stable_id;
        match verdict {
            Err(why) if !(all_behind && settings.accept_damage) => {
                left_out.push(format!(
                    "leg {} on device {name} went back to an older state ({}); it counts as stale since LSN {}: `leg \
                     attach` brings it up to date",
                    leg.quorum.leg, why.what, why.holds
                ));
                tracing::error!(leg = %leg.quorum.leg, why = why.what, holds = why.holds.0, "a leg is not trusted");
                behind.push((leg.quorum.leg, why.holds));
            }
            _ => {
                let same = leg.quorum.superblock.seq == newest.seq;
                leg.holds = if same { last_holds } else { leg.quorum.says() };
                serving.push(leg);
            }
        }
    }
    if serving.is_empty() {
        return misfit(format!(
            "no in-sync leg of volume {} is here that has all of it; stale legs never serve. Bring the others back, or rescue \
             what there is with `ringpostctl salvage`. {}",
            record.volume,
            left_out.join("; ")
        ));
    }
    Ok(Sorted { serving, behind })
}

/// What speaks against a leg, and how far its word still goes.
struct Behind {
    what: &'static str,
    holds: Lsn,
}

/// Whether the leg's rings agree with the witness, with the position noted outside the legs, and with the other legs. Only
/// what no power cut explains is held against it (head of the file).
fn judge(
    leg: &Present,
    newest_hash: u128,
    believed: &[Present],
    record: &WitnessRecord,
    position: Position,
) -> Result<(), Behind> {
    let quorum = &leg.quorum;
    let others = believed
        .iter()
        .filter(|other| other.quorum.leg != quorum.leg);
    let elsewhere: Vec<Trace> = others
        .flat_map(|other| other.quorum.traces.iter().copied())
        .collect();
    // A single copy proves no superblock, but that the leg was there when it was written.
    let term_seen = quorum
        .traces
        .iter()
        .map(|trace| trace.term)
        .max()
        .unwrap_or(0);
    let own = quorum.says();
    let behind = |what, holds| Err(Behind { what, holds });
    // Alone there is nothing to compare with; the witness's word below is what such a leg is measured against.
    if let Some(edge) = quorum.hole(&elsewhere) {
        return behind("its superblocks do not follow one another", edge);
    }
    if term_seen < record.opened {
        return behind("the volume was opened since, without this leg", own);
    }
    if quorum.seq_seen < position.seq {
        return behind("it lacks a superblock that every leg had", own);
    }
    let all = || believed.iter().flat_map(|leg| leg.quorum.traces.iter());
    let newest = all().find(|trace| trace.hash == newest_hash);
    let replaced = quorum.traces_from_quorum().next().map(|trace| trace.parent);
    // Both were to replace the same one: a superblock that some leg refused is on others all the same, and the next try has another number.
    if newest.is_some_and(|newest| replaced == Some(newest.parent)) {
        return Ok(());
    }
    let (mut at, mut child_term, mut steps) = (newest, None, 0);
    // bounded by the traces: numbers fall
    while let Some(trace) = at {
        if trace.hash == quorum.body_hash || replaced == Some(trace.hash) {
            return Ok(());
        }
        if child_term == Some(trace.term) {
            break; // not the last one of its term: no crash came with it
        }
        at = all().find(|parent| parent.precedes(trace));
        (child_term, steps) = (Some(trace.term), steps + 1);
    }
    // So many openings were cut short that the rings hold nothing else; the number noted before them was looked at above.
    if at.is_none() && position.seq > 0 && steps + SUPERBLOCKS_SKIPPED_MAX >= RING_SLOTS {
        return Ok(());
    }
    behind(
        "its superblock is further behind than any crash explains",
        own,
    )
}

impl Inner {
    /// The opening goes on without `leg`, which holds only so much: `take_over` records it as stale since then. The last leg stays.
    pub fn leave_behind(&self, leg: LegIndex, holds: Lsn, why: &str) {
        let others = self.legs_where(|other| other.serves());
        if others.iter().all(|(other, _)| *other == leg) {
            return;
        }
        let mut legs = self.legs.borrow_mut();
        let leg = &mut legs[leg];
        tracing::error!(leg = %leg.id(), why, holds = holds.0, "a leg is not trusted");
        self.report.borrow_mut().left_out.push(format!(
            "leg {} does not hold what it should ({why}); it counts as stale since LSN {holds}: `leg attach` brings it up to date",
            leg.id()
        ));
        leg.leave_behind(holds);
    }
}

impl Quorum {
    /// The device that the leg's own superblock names as its place.
    pub fn own_wwid(&self) -> Option<u64> {
        let mut members = self.superblock.members.iter();
        members
            .find(|member| member.id == self.leg)
            .map(|member| member.wwid)
    }

    /// The traces from the superblock that counts on, older ones behind it.
    fn traces_from_quorum(&self) -> impl Iterator<Item = &Trace> {
        let newest = self
            .traces
            .iter()
            .position(|trace| trace.hash == self.body_hash);
        self.traces[newest.unwrap_or(self.traces.len())..].iter()
    }

    /// What the leg says that it holds.
    pub fn says(&self) -> Lsn {
        let newest = self.traces_from_quorum().next();
        newest.map_or(Lsn(0), |trace| trace.holds)
    }

    /// Where the leg went back in time while it was running, as far as its rings and those of other legs (`elsewhere`) show it:
    /// what it held before. A superblock that no leg has (its writes were late everywhere) is not evidence against any
    /// leg, nor is one that was the last of its term: a power cut came with it.
    fn hole(&self, elsewhere: &[Trace]) -> Option<Lsn> {
        let newest_seq = self.superblock.seq;
        let mut current = *self.traces_from_quorum().next()?;
        let mut here = true;
        // bounded by the traces: numbers fall
        while !here || current.counted {
            let child = current;
            let own = self.traces.iter().find(|trace| trace.precedes(&child));
            let other = elsewhere.iter().find(|trace| trace.precedes(&child));
            here = own.is_some();
            current = *own.or(other)?;
            if current.seq + RING_SLOTS <= newest_seq {
                return None; // written over since
            }
            if !here && current.term == child.term {
                return self.before(current.seq);
            }
        }
        None
    }

    /// What the leg said that it holds in the last superblock before number `seq`, if any is left.
    fn before(&self, seq: u64) -> Option<Lsn> {
        let mut older = self
            .traces
            .iter()
            .filter(|trace| trace.seq < seq && trace.copies >= 2);
        older.next().map(|trace| trace.holds)
    }

    /// What the leg's own superblocks prove that it holds; no other is asked. For a leg that returns: what is doubted without
    /// need is only compared.
    pub fn proves(&self) -> Lsn {
        let own = self.says();
        let Some(mut current) = self.traces_from_quorum().next().copied() else {
            return own;
        };
        // bounded by the traces: numbers fall
        while current.counted {
            match self.traces.iter().find(|trace| trace.precedes(&current)) {
                Some(parent) => current = *parent,
                // Numbers may be left out, so a slot may have been used again a little early.
                None if current.seq + RING_SLOTS
                    <= self.superblock.seq + 1 + SUPERBLOCKS_SKIPPED_MAX =>
                {
                    break;
                }
                None => return self.before(current.seq).map_or(own, |edge| edge.min(own)),
            }
        }
        own
    }
}

/// The believed leg whose superblock is newest. Two contents under one number and epoch are a fork.
pub(crate) fn newest_of(believed: &[Present]) -> Result<&Present, OpenRefusal> {
    let key = |leg: &Present| (leg.quorum.superblock.epoch, leg.quorum.superblock.seq);
    let Some(newest) = believed.iter().max_by_key(|leg| key(leg)) else {
        return misfit(
            "no leg that the state directory counts is in the newest member table: restore the state directory",
        );
    };
    let forked = believed
        .iter()
        .find(|leg| key(leg) == key(newest) && leg.quorum.body_hash != newest.quorum.body_hash);
    match forked {
        None => Ok(newest),
        Some(other) => misfit(format!(
            "legs {} and {} have two histories under one number (a fork): open with one of them and attach the other as a \
             blank device",
            newest.quorum.leg, other.quorum.leg
        )),
    }
}
