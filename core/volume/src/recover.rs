//! Where the log ends (DESIGN.md B5): what a crash leaves, and how an opening finds the log in it.
//!
//! # What a crash leaves
//!
//! A power cut stops a handful of batches on their way to the legs: at most `BATCHES_IN_FLIGHT_MAX`, each one contiguous write for each
//! leg. A batch may then be whole on both legs, whole on one, torn, or absent, and a later one may be whole although an earlier one is
//! not. What was written before is untouched, because no batch is ever overwritten by another one. So the question is never "which
//! copy is newer", only "where does the log end", and each batch that is whole proves itself by its checksum.
//!
//! # Finding what is there
//!
//! The newest superblock names a segment table and a checkpoint. Behind the checkpoint batches can only be in segments that the table
//! knows to be filled or claimed, or that a claim inside an earlier batch names: an owner writes nowhere else (I5). All of these are
//! read on *every* serving leg, and on a leg that holds less by its own word from there on (`scan`). Bodies are read too, because the
//! checksum covers them. When an acknowledged number is missing, a claim may have been in it, so the first blocks of all free segments
//! are looked at as well.
//!
//! # Which of it is the log
//!
//! The accepted log is the longest unbroken chain over the *union* of what the legs hold (`chain`). Each batch names the hash of
//! the one before it. Of two for one number the later term counts, and a SEAL voids what an owner of an earlier term wrote late.
//!
//! # Damage or torn tail
//!
//! Each header also says up to which number everything was acknowledged when it was sealed. The highest such number seen, together with what
//! the superblocks say and what is noted beside the witness, is the line: a batch missing at or below it is *damage*, never the
//! end (I6), and beyond it the first gap is the *torn tail*. With damage the volume opens for reading only, until the operator accepts the loss.
//! So it does where no leg lets the place of the next batch be read: an unreadable end is unknown, not absent (I12).
//!
//! # Making the legs identical
//!
//! An acknowledged batch that a leg lacks is written back where it belongs (`repairs`); a leg that lacks more than rot explains
//! is not believed any further (`trust`, `normalise`). What was *not* acknowledged and is not on every leg must not be completed in
//! place while there is room: its segment is another owner's, and that owner's late write could still arrive there. The new owner appends it
//! again in segments of its own (`again`), under its own term, and seals what is behind.
//!
//! # An opening that is cut short
//!
//! Nothing in this file writes; `takeover` does. A second crash on the way finds the same legs, perhaps with a SEAL whose superblocks never
//! followed. That SEAL and what came with it are forgotten, because no caller waited for them (`Union::forget_unfinished`). Until the batches
//! in `again` are durable in their new place, the segments that hold them are kept from being claimed (`held`): the only good copy may
//! be there.
//!
//! # What it costs
//!
//! - An opening reads the log behind the checkpoint once on each leg. Checkpoints bound it; a volume without any is read whole.
//! - Each opening fills a part of a segment with its SEAL and its table. The next one gives that back (`give_up_own`). A full volume keeps
//!   one segment for this purpose.
//! - A message whose sender never got its 250 may still be there. It is kept, and the sender's next try is a second copy (I10).
//! - The batches to be appended again are held in memory, which the pipeline's bound keeps small.

use std::rc::Rc;

use bytes::Bytes;
use device::DeviceIndex;

use crate::chain::{kept_skips, longest_chain, stretches};
use crate::format::{Header, Holds, Inline, Kind};
use crate::inner::Inner;
use crate::limits::{CLAIMS_OF_OPENING, KEPT_FOR_OPENING};
use crate::marks::Marks;
use crate::normalise::{Evidence, normalise, place_of, prove_before};
use crate::opening::{GivenUp, Recovered};
use crate::scan::{Scan, Union};
use crate::segment::{Of, State, Table};
use crate::skip::Skip;
use crate::superblock::Superblock;
use crate::types::*;

/// Reads the segment table that `superblock` names, from any serving leg.
async fn read_table(inner: &Rc<Inner>, superblock: &Superblock) -> Result<Table, OpenRefusal> {
    let mut parts: Vec<Bytes> = Vec::new();
    for spot in &superblock.table {
        let of = Of {
            segment: SegmentIndex(spot.segment),
            generation: Generation(spot.generation),
        };
        if spot.segment >= inner.plan.segment_count {
            return misfit("the superblock names a segment table outside the volume");
        }
        let mut part = None;
        for (_, device) in inner.legs_where(|leg| leg.serves()) {
            if let Ok(Some((header, bytes))) = inner.read_batch(device, of, spot.block).await
                && header.kind == Kind::Table
            {
                let from = crate::BATCH_HEADER_BYTES;
                part = Some(bytes.slice(from..from + header.payload_bytes as usize));
                break;
            }
        }
        let Some(part) = part else {
            return misfit(format!(
                "no leg has a whole copy of the segment table of checkpoint {}; attach the missing legs, or rescue \
                 the mail with `ringpostctl salvage`",
                superblock.checkpoint
            ));
        };
        parts.push(part);
    }
    if parts.is_empty() {
        return Ok(Table::new(inner.plan.segment_count));
    }
    Table::decode(&parts, inner.plan.segment_count)
        .map_or_else(|| misfit("the segment table does not fit the volume"), Ok)
}

/// Finds the end of the log and what must be done so that the legs are identical up to it. Only reads.
pub(crate) async fn recover(
    inner: &Rc<Inner>,
    superblock: &Superblock,
    evidence: &Evidence,
) -> Result<Recovered, OpenRefusal> {
    let mut table = read_table(inner, superblock).await?;
    let claims = superblock.claims.iter();
    table.claim_again(claims.map(|claim| (claim.segment, claim.generation)));
    // The pair of the assertions before it was written: behind a good checksum, and all the same only what a device says.
    if let Some(why) = table.contradiction(inner.plan.segment_blocks()) {
        return misfit(format!(
            "the segment table does not fit the volume: {why}; attach the missing legs, or rescue the mail with `ringpostctl salvage`"
        ));
    }
    let checkpoint = superblock.checkpoint;
    let known_acked = superblock.acked.max(superblock.table_lsn).max(checkpoint);
    let known_acked = known_acked.max(evidence.acked);
    let mut scan = Scan {
        inner,
        superblock,
        work: first_work(&table, checkpoint),
        union: Union::default(),
    };
    scan.read_all(&inner.legs_where(|leg| leg.serves()), &table)
        .await;
    let mut acked = scan
        .union
        .forget_unfinished(superblock.table_lsn, evidence.opened)
        .max(known_acked);
    if !longest_chain(&scan.union, superblock, acked, inner.id)
        .1
        .is_empty()
    {
        // A claim may have gone with a missing batch: look at the beginning of every free segment as well.
        let free = (0..inner.plan.segment_count)
            .map(SegmentIndex)
            .filter(|&s| table.row(s).state == State::Free);
        scan.work.extend(free.map(|segment| Of {
            segment,
            generation: table.row(segment).generation,
        }));
        scan.union = Union::default();
        scan.read_all(&inner.legs_where(|leg| leg.serves()), &table)
            .await;
        acked = scan
            .union
            .forget_unfinished(superblock.table_lsn, evidence.opened)
            .max(known_acked);
    }
    let (union, work) = (scan.union, scan.work);
    let (mut accepted, damaged) = longest_chain(&union, superblock, acked, inner.id);
    // As the log leaves it: what was given back after the table was written need not be on any leg.
    let mut now = table.clone();
    now.bring_forward(&accepted, accepted.len(), superblock);
    let known = accepted.partition_point(|header| header.lsn <= acked);
    let tail = (&union, &accepted[..known]);
    let mut repairs = prove_before(inner, &now, checkpoint, evidence, tail).await;
    repairs.extend(normalise(inner, &union, &accepted[..known], evidence));
    let serving = inner.legs_where(|leg| leg.serves());
    if serving.is_empty() {
        return misfit(format!("no leg of volume {} answers", inner.id));
    }
    // What only a leg has that is not believed any more was never acknowledged.
    let on_some = |header: &Header| {
        let on = union.legs_with(header);
        serving.iter().any(|(leg, _)| on.contains(leg))
    };
    let gone = accepted[known..].iter().position(|header| !on_some(header));
    accepted.truncate(gone.map_or(accepted.len(), |gone| known + gone));
    let mut pivot = first_incomplete(&union, &accepted, acked, &serving);
    let is_own = |header: &Header| header.kind != Kind::Store;
    let mut again = Vec::new();
    for header in &accepted[pivot..] {
        match read_from_any(inner, &union, header, &serving).await {
            Some(bytes) => again.push((header.clone(), bytes)),
            None => break,
        }
    }
    // What verified a moment ago may be the last acknowledged one, which nothing behind it tells: not being readable now is no end.
    let lost_sight = pivot + again.len() < accepted.len();
    accepted.truncate(pivot + again.len());
    if !lost_sight {
        let kept = drop_provisional(&mut again);
        accepted.truncate(pivot + kept);
    }
    // Counted as things stand at the end of the log, not as the table says.
    let mut in_place = table.clone();
    in_place.bring_forward(&accepted, accepted.len(), superblock);
    let wanted = segments_for(&again, inner.plan.segment_bytes) + CLAIMS_OF_OPENING;
    if in_place.claimable() < wanted + KEPT_FOR_OPENING {
        // No room to append them again: complete them where they are.
        repairs.extend(accepted[pivot..].iter().map(place_of));
        pivot = accepted.len();
        again.clear();
    }
    let kept = &accepted[..pivot];
    let top = kept
        .last()
        .map_or(checkpoint, |header| header.lsn)
        .max(acked);
    let behind = |header: &&(Header, Bytes)| header.0.lsn == top.next();
    let chain = match kept.last() {
        Some(last) if last.lsn == top => last.chain(inner.id),
        // The last acknowledged batch is damaged. What follows names its chain value; where nothing does, a new chain begins.
        _ => again
            .first()
            .filter(behind)
            .map_or(superblock.table_chain, |(header, _)| header.prev),
    };
    if again.first().filter(behind).is_none() {
        again.clear();
    }
    table.bring_forward(&accepted, pivot, superblock);
    if again
        .iter()
        .any(|(header, _)| header.holds() == Holds::Store)
    {
        // It may point to what they say.
        table.keep_provisional(Lsn(u64::MAX));
    }
    let held = hold(&mut table, &again);
    let unknown_end = lost_sight || end_is_unknown(&union, &accepted, &work, &serving);
    let sound = !unknown_end && damaged.is_empty();
    let idle = sound && accepted.iter().all(is_own);
    let given_up = if sound && top == kept.last().map_or(checkpoint, |header| header.lsn) {
        give_up_own(&table, checkpoint, (top, chain))
    } else {
        GivenUp::default()
    };
    let no_room = table.claimable() == 0;
    let (batches, marks) = (union.batches, marks_of(kept));
    let mut lost = stretches(&damaged, kept, chain);
    lost.extend(kept_skips(&accepted, checkpoint, &given_up));
    let skips = accepted.iter().flat_map(Skip::all_of).collect();
    Ok(Recovered {
        table,
        top,
        chain,
        marks,
        acked_seen: acked,
        again,
        unknown_end,
        idle,
        damaged,
        lost,
        skips,
        batches,
        repairs,
        given_up,
        held,
        no_room,
    })
}

/// No caller got an acknowledgement for the end of `again` from its first provisional batch on, unless something of the store's is among
/// it: that end is given up, as a torn tail is. Answers how many stay.
fn drop_provisional(again: &mut Vec<(Header, Bytes)>) -> usize {
    let holds = |(header, _): &(Header, Bytes)| header.holds();
    let first = again
        .iter()
        .position(|batch| holds(batch) == Holds::Provisional);
    if let Some(first) = first
        && !again.iter().any(|batch| holds(batch) == Holds::Store)
    {
        again.truncate(first);
    }
    again.len()
}

/// Keeps the segments that hold `again` from being claimed: until those batches are durable elsewhere their only good copy may be there, and an
/// opening that is cut short must leave it to the next one. Under the same generation, so that the next one still looks there.
fn hold(table: &mut Table, again: &[(Header, Bytes)]) -> Vec<SegmentIndex> {
    let mut held = Vec::new();
    for (header, _) in again {
        if table.hold_back(header.segment, header.generation) {
            held.push(header.segment);
        }
    }
    held
}

/// Segments that batches moved from elsewhere can take at most.
pub(crate) fn segments_for(again: &[(Header, Bytes)], segment_bytes: u64) -> usize {
    let bytes: usize = again.iter().map(|(_, bytes)| bytes.len()).sum();
    (2 * bytes.div_ceil(segment_bytes as usize)).min(again.len())
}

/// The volume's own segments at the end of the log, and those that a checkpoint has passed. `end` is the last batch that
/// stays where it is, with its chain value.
fn give_up_own(table: &Table, checkpoint: Lsn, end: (Lsn, u128)) -> GivenUp {
    let mut segments = table.own_only(checkpoint);
    let order = table.in_log_order();
    let own_tail = order
        .iter()
        .rev()
        .take_while(|&&s| table.is_dead(s) && table.row(s).last > checkpoint);
    let own_tail: Vec<SegmentIndex> = own_tail.copied().collect();
    let before = order[..order.len() - own_tail.len()].last();
    let after = before.map_or(checkpoint, |&s| table.row(s).last.max(checkpoint));
    let skip = Inline::Skip {
        after,
        until: end.0,
        chain: end.1,
    };
    let skip = (!own_tail.is_empty()).then_some((after, skip));
    segments.extend(own_tail);
    GivenUp { segments, skip }
}

/// The segments known beforehand to reach past the checkpoint: by LSN, then the claimed ones in order of use.
fn first_work(table: &Table, checkpoint: Lsn) -> Vec<Of> {
    let holding = table.in_log_order().into_iter();
    let holding =
        holding.filter(|&s| table.row(s).last > checkpoint || table.row(s).state == State::Open);
    // An open segment without batches yet is not in log order, but may have got some since.
    let empty = table.open().filter(|&s| table.row(s).used_blocks == 0);
    let segments = holding.chain(empty).chain(table.claimed());
    segments
        .map(|segment| Of {
            segment,
            generation: table.row(segment).generation,
        })
        .collect()
}

/// Where the part of the accepted log begins that must be appended again: not acknowledged, and missing on a leg, or lying in a segment
/// that the log had already left, or behind a hole: there an interrupted opening wrote a batch again that still has its old place, and the
/// segment would be read as damaged.
fn first_incomplete(
    union: &Union,
    accepted: &[Header],
    acked: Lsn,
    serving: &[(LegIndex, DeviceIndex)],
) -> usize {
    let mut left: Vec<SegmentIndex> = Vec::new();
    let mut current = None;
    let mut follows = None;
    for (index, header) in accepted.iter().enumerate() {
        let same_segment = current == Some(header.segment);
        let expected = if same_segment { follows } else { Some(0) };
        // Before the first one lies what the checkpoint covers.
        let hole = index > 0 && expected != Some(header.block);
        follows = Some(header.end_block());
        if hole && header.lsn > acked {
            return index;
        }
        if current != Some(header.segment) {
            let back = left.contains(&header.segment);
            left.extend(current.replace(header.segment));
            if back && header.lsn > acked {
                return index;
            }
        }
        let on = union.legs_with(header);
        if header.lsn > acked && !serving.iter().all(|(leg, _)| on.contains(leg)) {
            return index;
        }
    }
    accepted.len()
}

/// Whether no serving leg could be read where the batch after the last accepted one would begin: directly behind it, or
/// at the start of the next segment.
fn end_is_unknown(
    union: &Union,
    accepted: &[Header],
    work: &[Of],
    serving: &[(LegIndex, DeviceIndex)],
) -> bool {
    let Some(last) = accepted.last() else {
        return false;
    };
    let here = work
        .iter()
        .position(|of| of.segment == last.segment && of.generation == last.generation);
    let following = here
        .and_then(|here| work.get(here + 1))
        .map(|of| (of.segment, 0));
    let places = [Some((last.segment, last.end_block())), following];
    let unread = |leg: LegIndex| {
        places
            .iter()
            .flatten()
            .any(|&(segment, block)| union.unknown.contains(&(segment, block, leg)))
    };
    serving.iter().all(|(leg, _)| unread(*leg))
}

/// The batch from a leg that has it, read again and proved: between the scan and now a block may have rotted.
async fn read_from_any(
    inner: &Rc<Inner>,
    union: &Union,
    header: &Header,
    serving: &[(LegIndex, DeviceIndex)],
) -> Option<Bytes> {
    let of = Of {
        segment: header.segment,
        generation: header.generation,
    };
    let on = union.legs_with(header);
    for (_, device) in serving.iter().filter(|(leg, _)| on.contains(leg)) {
        if let Ok(Some((found, bytes))) = inner.read_batch(*device, of, header.block).await
            && found == *header
        {
            return Some(bytes);
        }
    }
    None
}

/// Marks over the accepted batches, for walks of the log that begin in the middle.
fn marks_of(accepted: &[Header]) -> Marks {
    let mut marks = Marks::default();
    for header in accepted {
        marks.note(header.address());
    }
    marks
}
