//! Where the log ends (storage.md B5).
//!
//! One leg is read from the checkpoint on; the others from the last acknowledged batch on, or as far back when the first
//! leg has holes. The accepted log is the longest unbroken chain over the *union* of what the legs hold. A batch that
//! is missing at or below the highest acknowledged number ever seen is damage, never the end (I6); beyond that it is
//! the torn tail. Then the legs are made identical again.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use device::{BLOCK_BYTES, Buffer, DeviceIndex, IoFault};

use crate::format::{Header, Inline, Kind};
use crate::inner::{Inner, Mark};
use crate::limits::SEARCH_WINDOW_BYTES;
use crate::segment::{State, Table};
use crate::stream::{Found, Of, Stream};
use crate::superblock::Superblock;
use crate::types::*;

/// One batch found on at least one leg.
struct Candidate {
    header: Header,
    on: Vec<LegIndex>,
}

#[derive(Default)]
struct Union {
    found: BTreeMap<Lsn, Vec<Candidate>>,
    batches: u64,
}

impl Union {
    fn add(&mut self, header: Header, leg: LegIndex) {
        self.batches += 1;
        let same = |c: &&mut Candidate| {
            c.header.address() == header.address()
                && (c.header.term, c.header.attempt, c.header.content)
                    == (header.term, header.attempt, header.content)
        };
        let candidates = self.found.entry(header.lsn).or_default();
        match candidates.iter_mut().find(same) {
            Some(candidate) if candidate.on.contains(&leg) => {}
            Some(candidate) => candidate.on.push(leg),
            None => candidates.push(Candidate {
                header,
                on: vec![leg],
            }),
        }
    }

    fn acked_seen(&self) -> Lsn {
        let headers = self
            .found
            .values()
            .flatten()
            .map(|candidate| candidate.header.acked);
        headers.max().unwrap_or_default()
    }
}

/// What recovery hands to `open`.
pub(crate) struct Recovered {
    pub table: Table,
    pub top: Lsn,
    pub chain: u128,
    pub marks: Vec<Mark>,
    pub acked_seen: Lsn,
    /// Claimed by earlier owners and never written: free again, under the next generation.
    pub damaged: Vec<Lsn>,
    pub batches: u64,
    pub normalised: u64,
}

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

/// Finds the end of the log and makes the legs identical up to it. Writes only to repair copies.
pub(crate) async fn recover(
    inner: &Rc<Inner>,
    superblock: &Superblock,
) -> Result<Recovered, OpenRefusal> {
    let mut table = read_table(inner, superblock).await?;
    for claim in &superblock.claims {
        table.replay(&Inline::Claim {
            segment: claim.segment,
            generation: claim.generation,
        });
    }
    table.derive();
    let serving = inner.legs_where(|leg| leg.serves());
    let checkpoint = superblock.checkpoint;
    let known_acked = superblock.acked.max(superblock.table_lsn).max(checkpoint);

    let mut union = Union::default();
    let (first, rest) = serving
        .split_first()
        .expect("open made sure that a leg serves");
    scan(inner, *first, &table, superblock, Lsn(0), &mut union).await;
    let acked = union.acked_seen().max(known_acked);
    // I6: everything up to `acked` must be there; where the first leg has a hole the others are read as far back.
    let holes = (checkpoint.0 + 1..=acked.0).any(|lsn| !union.found.contains_key(&Lsn(lsn)));
    let others_from = if holes { checkpoint } else { acked };
    for leg in rest {
        scan(inner, *leg, &table, superblock, others_from, &mut union).await;
    }
    let acked = union.acked_seen().max(known_acked);
    let (accepted, damaged) = longest_chain(&union, superblock, acked, inner.id);
    let top = accepted
        .last()
        .map_or(checkpoint, |header| header.lsn)
        .max(acked);
    let normalised = normalise(inner, &union, &accepted, acked, &serving).await;

    apply(&mut table, &accepted, superblock);
    let chain = match accepted.last() {
        Some(last) if last.lsn == top => last.chain(inner.id),
        _ => superblock.table_chain,
    };
    let marks = marks_of(&accepted);
    Ok(Recovered {
        table,
        top,
        chain,
        marks,
        acked_seen: acked,
        damaged,
        batches: union.batches,
        normalised,
    })
}

/// Reads one leg's part of the tail into the union: the segments the table knows to reach past `from`, then the claimed
/// ones, then those whose claims were found on the way.
async fn scan(
    inner: &Rc<Inner>,
    (leg, device): (LegIndex, DeviceIndex),
    table: &Table,
    superblock: &Superblock,
    from: Lsn,
    union: &mut Union,
) {
    let mut work: Vec<Of> = Vec::new();
    let of = |segment| Of {
        segment,
        generation: table.row(segment).generation,
    };
    for segment in table.in_log_order() {
        let row = table.row(segment);
        if row.last > superblock.checkpoint || row.state == State::Open {
            work.push(of(segment));
        }
    }
    work.extend(table.claimed.iter().map(|&segment| of(segment)));
    let mut next = 0;
    let mut empty = 0;
    // bounded by the segments: each enters the list once per generation claimed
    while next < work.len() {
        let of = work[next];
        next += 1;
        let start = superblock
            .start
            .filter(|s| s.segment == of.segment.0 && s.generation == of.generation.0);
        let mut block = start.map_or(0, |spot| spot.block.min(inner.plan.segment_blocks()));
        if let Some(known) = union
            .found
            .range(..=from)
            .next_back()
            .map(|(_, c)| c[0].header.address())
            && from > superblock.checkpoint
        {
            // An earlier leg showed where `from` lies: segments wholly before it are done, its own begins there.
            let position = work
                .iter()
                .position(|w| w.segment == known.segment && w.generation == known.generation);
            match position {
                Some(position) if next - 1 < position => continue,
                Some(position) if next - 1 == position => block = block.max(known.block),
                _ => {}
            }
        }
        // After one empty segment the pipeline cannot have reached far: the rest get a probe of their first block.
        let window = if empty == 0 {
            SEARCH_WINDOW_BYTES
        } else {
            BLOCK_BYTES as u64
        };
        let claims = scan_segment(inner, (leg, device), of, block, window, union).await;
        match claims {
            None => empty += 1,
            Some(claims) => {
                for claim in claims {
                    let newer = claim.generation >= table.row(claim.segment).generation;
                    if newer && !work.contains(&claim) {
                        work.push(claim);
                    }
                }
            }
        }
    }
}

/// Adds every valid batch of one segment to the union and returns the claims they carry; `None`: nothing valid here.
async fn scan_segment(
    inner: &Rc<Inner>,
    (leg, device): (LegIndex, DeviceIndex),
    of: Of,
    from: u32,
    window_bytes: u64,
    union: &mut Union,
) -> Option<Vec<Of>> {
    let window = (window_bytes / BLOCK_BYTES as u64) as u32;
    let mut claims = None;
    // A probe must not read ahead: look at one block first.
    if window == 1 && !matches!(inner.read_batch(device, of, from).await, Ok(Some(_))) {
        return None;
    }
    let window = window.max((SEARCH_WINDOW_BYTES / BLOCK_BYTES as u64) as u32);
    let end = inner.plan.segment_blocks();
    let mut stream = Stream::new(inner.clone(), device, of, from, end);
    let mut last_good = from;
    // bounded by the segment
    loop {
        match stream.next().await {
            Found::End => break,
            Found::Batch(header, _) => {
                last_good = header.end_block();
                let found: &mut Vec<Of> = claims.get_or_insert_default();
                for record in header.records().unwrap_or_default() {
                    if let Inline::Claim {
                        segment,
                        generation,
                    } = record
                        && segment.0 < inner.plan.segment_count
                    {
                        found.push(Of {
                            segment,
                            generation,
                        });
                    }
                }
                union.add(header, leg);
            }
            Found::Nothing { block } => {
                if block.saturating_sub(last_good) >= window {
                    break;
                }
                stream.skip_one().await;
            }
        }
    }
    claims
}

/// The accepted log after the checkpoint, and the acknowledged numbers that no leg holds.
fn longest_chain(
    union: &Union,
    superblock: &Superblock,
    acked: Lsn,
    volume: VolumeId,
) -> (Vec<Header>, Vec<Lsn>) {
    let mut accepted: Vec<Header> = Vec::new();
    let mut damaged = Vec::new();
    let mut voided: BTreeSet<(u64, Lsn)> = BTreeSet::new();
    for candidate in union.found.values().flatten() {
        for record in candidate.header.records().unwrap_or_default() {
            if let Inline::Seal { last } = record {
                voided.insert((candidate.header.term, last));
            }
        }
    }
    let is_void = |header: &Header| {
        voided
            .iter()
            .any(|&(term, last)| header.term < term && header.lsn > last)
    };
    let mut lsn = superblock.checkpoint.next();
    let last_found = union.found.keys().next_back().copied().unwrap_or_default();
    // The chain value the next batch must name; `None` where the batch before is missing.
    let mut link: Option<u128> = None;
    let mut floor = (0, 0);
    while lsn <= last_found || lsn <= acked {
        let mut candidates: Vec<&Header> = union
            .found
            .get(&lsn)
            .into_iter()
            .flatten()
            .map(|candidate| &candidate.header)
            .filter(|header| !is_void(header) && link.is_none_or(|link| header.prev == link))
            .filter(|header| (header.term, header.epoch) >= floor)
            .collect();
        candidates
            .sort_by_key(|header| std::cmp::Reverse((header.term, header.attempt, header.epoch)));
        match candidates.first() {
            Some(header) => {
                link = Some(header.chain(volume));
                floor = (header.term, header.epoch);
                accepted.push((*header).clone());
            }
            None if lsn <= acked => {
                damaged.push(lsn);
                link = None;
            }
            None => break,
        }
        lsn = lsn.next();
    }
    (accepted, damaged)
}

/// Copies accepted batches to legs that lack them (I: "identical from here"), returns how many copies were written.
async fn normalise(
    inner: &Rc<Inner>,
    union: &Union,
    accepted: &[Header],
    acked: Lsn,
    serving: &[(LegIndex, DeviceIndex)],
) -> u64 {
    let mut copies = 0;
    for header in accepted {
        let candidate = union.found[&header.lsn]
            .iter()
            .find(|c| c.header == *header);
        let on = &candidate.expect("accepted from the union").on;
        let first_lacks_it = serving.first().is_some_and(|(leg, _)| !on.contains(leg));
        if header.lsn <= acked && !first_lacks_it {
            continue;
        }
        let of = Of {
            segment: header.segment,
            generation: header.generation,
        };
        let lacking: Vec<_> = serving
            .iter()
            .filter(|(leg, _)| !on.contains(leg))
            .collect();
        if lacking.is_empty() {
            continue;
        }
        let source = serving
            .iter()
            .find(|(leg, _)| on.contains(leg))
            .expect("found on a serving leg");
        let Ok(Some((_, bytes))) = inner.read_batch(source.1, of, header.block).await else {
            continue;
        };
        for &&(leg, device) in &lacking {
            // A leg read only from `acked` on was not asked about older batches.
            if matches!(inner.read_batch(device, of, header.block).await, Ok(Some((there, _))) if there == *header)
            {
                continue;
            }
            let mut data = Buffer::zeroed(bytes.len());
            data.copy_from_slice(&bytes);
            let at = inner.plan.at(header.segment, header.block);
            let mut result = inner
                .write_raw(device, at, Arc::new(data), bytes.len())
                .await;
            if result.is_ok() {
                let back = inner.read_batch(device, of, header.block).await;
                result = match back {
                    Ok(Some((there, _))) if there == *header => Ok(()),
                    Ok(_) => Err(IoFault::Medium),
                    Err(fault) => Err(fault),
                };
            }
            match result {
                Ok(()) => copies += 1,
                Err(fault) => inner.suspect(
                    leg,
                    &format!("the log's tail could not be completed: {fault}"),
                ),
            }
        }
    }
    copies
}

/// Brings the table forward over the accepted batches and closes every segment of earlier owners.
fn apply(table: &mut Table, accepted: &[Header], superblock: &Superblock) {
    for row in &mut table.rows {
        if row.state == State::Open {
            row.state = State::Sealed;
        }
        if row.state == State::Sealed && row.last > superblock.checkpoint {
            // Learnt anew from the batches themselves: the last ones may have moved after the table was written.
            (row.last, row.used_blocks) = (
                superblock
                    .checkpoint
                    .max(Lsn(row.first.0.saturating_sub(1))),
                0,
            );
        }
    }
    if let Some(start) = superblock.start
        && let Some(row) = table.rows.get_mut(start.segment as usize)
        && row.generation.0 == start.generation
    {
        row.used_blocks = row.used_blocks.max(start.block);
    }
    for header in accepted {
        if header.lsn >= superblock.table_lsn {
            for record in header.records().unwrap_or_default() {
                table.replay(&record);
            }
        }
        let row = table.row_mut(header.segment);
        if matches!(row.state, State::Claimed | State::Free) {
            (row.state, row.first) = (State::Sealed, header.lsn);
        }
        if row.state == State::Sealed && row.generation == header.generation {
            row.first = if row.used_blocks == 0 {
                header.lsn
            } else {
                row.first
            };
            row.last = header.lsn;
            row.used_blocks = row.used_blocks.max(header.end_block());
        }
    }
    // Claims that nobody filled: free again, under a generation in which a late write of their owner means nothing.
    for row in &mut table.rows {
        let unused =
            row.state == State::Claimed || (row.state == State::Sealed && row.used_blocks == 0);
        if unused {
            row.generation = Generation(row.generation.0 + 1);
            (row.state, row.first, row.last, row.used_blocks) = (State::Free, Lsn(0), Lsn(0), 0);
        }
        row.known = Lsn(0);
    }
    table.derive();
}

fn marks_of(accepted: &[Header]) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    for header in accepted {
        let near = marks.last().is_some_and(|mark| {
            mark.segment == header.segment
                && header.block >= mark.block
                && header.block - mark.block < 256
        });
        if !near {
            marks.push(Mark {
                lsn: header.lsn,
                segment: header.segment,
                block: header.block,
            });
        }
    }
    marks
}
