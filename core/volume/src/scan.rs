//! What the legs hold behind the checkpoint, before anybody says which of it is the log.
//!
//! Recovery collects every batch that verifies on any leg, and only then decides which of them are the log
//! (`chain.rs`): a leg alone may hold batches that were never acknowledged, or lack some that were.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use device::{BLOCK_BYTES, DeviceIndex};

use crate::format::{Header, Inline, Kind};
use crate::inner::Inner;
use crate::limits::SEARCH_WINDOW_BYTES;
use crate::segment::{Of, Table};
use crate::skip::Skip;
use crate::stream::{Found, Stream};
use crate::superblock::Superblock;
use crate::types::*;

/// One batch found on at least one leg.
pub(crate) struct Candidate {
    /// What the batch says of itself.
    pub header: Header,
    /// The legs that hold exactly this batch.
    pub on: Vec<LegIndex>,
}

/// The end of what earlier owners wrote, as the opening of `term` found it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seal {
    /// The term of the opening that wrote it.
    term: u64,
    /// The last batch of earlier terms that it kept.
    last: Lsn,
}

impl Seal {
    /// Whether it gives this batch up.
    pub fn voids(&self, header: &Header) -> bool {
        header.term < self.term && header.lsn > self.last
    }
}

/// All batches of all legs behind the checkpoint.
#[derive(Default)]
pub(crate) struct Union {
    /// By number. Two batches with one number differ in content or in place.
    pub found: BTreeMap<Lsn, Vec<Candidate>>,
    /// Where a leg could not be read, so that a batch may begin there all the same (I12).
    pub unknown: BTreeSet<(SegmentIndex, u32, LegIndex)>,
    /// Batches that were read, each leg's copy by itself.
    pub batches: u64,
}

impl Union {
    /// A batch was found on `leg`.
    pub fn add(&mut self, header: Header, leg: LegIndex) {
        self.batches += 1;
        let same =
            |c: &&mut Candidate| c.header.address() == header.address() && c.header == header;
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

    /// The legs on which exactly this batch was found.
    pub fn legs_with(&self, header: &Header) -> &[LegIndex] {
        let candidates = self.found.get(&header.lsn).into_iter().flatten();
        candidates
            .filter(|c| c.header == *header)
            .map(|c| &c.on[..])
            .next()
            .unwrap_or_default()
    }

    /// What batches on `leg` name as acknowledged, and so as held by every leg that counted when they were written. Batches of an
    /// opening after the term `opened` are not believed: it may have been cut short before the legs were identical.
    pub fn acked_by(&self, leg: LegIndex, opened: u64) -> Lsn {
        let here =
            |candidate: &&Candidate| candidate.on.contains(&leg) && candidate.header.term <= opened;
        let candidates = self.found.values().flatten().filter(here);
        candidates
            .map(|candidate| candidate.header.acked)
            .max()
            .unwrap_or_default()
    }

    /// The SEALs that count. One that a later opening's voids is not among them: that opening decided again what stays, and a SEAL of
    /// an opening that was cut short may void what it kept.
    pub fn seals(&self) -> Vec<Seal> {
        let mut found = Vec::new();
        for header in self.found.values().flatten().map(|found| &found.header) {
            for record in header.records().unwrap_or_default() {
                if let Inline::Seal { last } = record {
                    let term = header.term;
                    found.push((header, Seal { term, last }));
                }
            }
        }
        found.sort_by_key(|(_, seal)| std::cmp::Reverse(seal.term));
        let mut seals: Vec<Seal> = Vec::new();
        for (header, seal) in found {
            if !seals.iter().any(|later| later.voids(header)) {
                seals.push(seal);
            }
        }
        seals
    }

    /// What batches that `counts` chooses say was given up.
    pub fn skips(&self, counts: impl Fn(&Header) -> bool) -> Vec<Skip> {
        let headers = self.found.values().flatten().map(|found| &found.header);
        headers
            .filter(|header| counts(header))
            .flat_map(Skip::all_of)
            .collect()
    }

    /// Forgets what openings wrote that never came to their end: their SEALs and what they wrote behind them. An opening is over
    /// when the superblocks name its table; until then only the opening itself waited for any of it, nothing of the
    /// store's follows, and what it gives up is all still there. So it is as if it had never been.
    ///
    /// The superblock read may be an older one than the last (its copies rotted): a batch of the store's behind a SEAL, under
    /// the same term, proves as well that the opening was over, and so does the witness of the last one that it saw (`opened`).
    ///
    /// Answers the highest number that is said to be acknowledged: read before anything is forgotten, and of an opening that
    /// did not end only what it found.
    pub fn forget_unfinished(&mut self, table_lsn: Lsn, opened: u64) -> Lsn {
        let headers = || self.found.values().flatten().map(|found| &found.header);
        let was_over = |term: u64, seal: Lsn| {
            let store = |header: &Header| matches!(header.kind, Kind::Store | Kind::Index);
            term == opened
                || headers().any(|header| header.term == term && header.lsn > seal && store(header))
        };
        let unfinished: Vec<(u64, Lsn)> = headers()
            .filter(|header| header.lsn > table_lsn && is_seal(header))
            .map(|header| (header.term, header.lsn))
            .filter(|&(term, seal)| !was_over(term, seal))
            .collect();
        let of_unfinished = |header: &Header| {
            let mut seals = unfinished.iter();
            let seal = seals.find(|&&(term, seal)| header.term == term && header.lsn >= seal);
            seal.map(|&(_, seal)| seal)
        };
        let acked = headers().map(|header| match of_unfinished(header) {
            Some(seal) => header.acked.min(Lsn(seal.0 - 1)),
            None => header.acked,
        });
        let acked = acked.max().unwrap_or_default();
        self.found.retain(|_, candidates| {
            candidates.retain(|found| of_unfinished(&found.header).is_none());
            !candidates.is_empty()
        });
        acked
    }
}

/// The reading of all legs' tails.
pub(crate) struct Scan<'a> {
    /// The volume that is being opened.
    pub inner: &'a Rc<Inner>,
    /// What the superblocks agree on.
    pub superblock: &'a Superblock,
    /// Segments to read, in log order; grows by the claims found on the way. Shared by the legs.
    pub work: Vec<Of>,
    pub union: Union,
}

impl Scan<'_> {
    /// Reads every serving leg's copy of the log after the checkpoint. All of them, from the checkpoint on: what a leg lacks in
    /// between is otherwise not seen before the other legs are gone.
    pub async fn read_all(&mut self, legs: &[(LegIndex, DeviceIndex)], table: &Table) {
        let mut done = vec![0; legs.len()];
        // Until the claims that one leg shows were followed on the others; bounded as `work` is.
        while done.iter().any(|&done| done < self.work.len()) {
            for (leg, done) in legs.iter().zip(&mut done) {
                *done = self.read_leg(*leg, table, *done).await;
            }
        }
    }

    /// Reads one leg's copy of `work` from the one numbered `next` on, and says how far it came.
    async fn read_leg(
        &mut self,
        leg: (LegIndex, DeviceIndex),
        table: &Table,
        mut next: usize,
    ) -> usize {
        let mut empty = 0;
        // bounded by the segments: each enters the list once per generation claimed
        while next < self.work.len() {
            let of = self.work[next];
            let start = self.superblock.start.filter(|start| {
                start.segment == of.segment.0 && start.generation == of.generation.0
            });
            let block = start.map_or(0, |spot| spot.block.min(self.inner.plan.segment_blocks()));
            next += 1;
            // After one empty segment the pipeline cannot have reached far: the rest get a probe of their first block.
            let claims = scan_segment(self.inner, leg, of, block, empty > 0, &mut self.union).await;
            let Some(claims) = claims else {
                empty += 1;
                continue;
            };
            for claim in claims {
                let newer = claim.generation >= table.row(claim.segment).generation;
                if newer && !self.work.contains(&claim) {
                    self.work.push(claim);
                }
            }
        }
        next
    }
}

/// Adds every valid batch of one segment to the union and returns the claims they carry; `None`: nothing valid here.
async fn scan_segment(
    inner: &Rc<Inner>,
    (leg, device): (LegIndex, DeviceIndex),
    of: Of,
    from: u32,
    probe_first: bool,
    union: &mut Union,
) -> Option<Vec<Of>> {
    if probe_first {
        let probed = inner.read_batch(device, of, from).await;
        if probed.is_err() {
            union.unknown.insert((of.segment, from, leg));
        }
        if !matches!(probed, Ok(Some(_))) {
            return None;
        }
    }
    let window = (SEARCH_WINDOW_BYTES / BLOCK_BYTES as u64) as u32;
    let mut claims = None;
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
                if stream.is_dead() {
                    inner.suspect(leg, "it did not answer while the log was recovered");
                    break;
                }
                if stream.is_unknown(block) {
                    union.unknown.insert((of.segment, block, leg));
                }
                if block.saturating_sub(last_good) >= window {
                    break;
                }
                stream.skip_one().await;
            }
        }
    }
    claims
}

/// The first batch that an opening writes of its own.
fn is_seal(header: &Header) -> bool {
    let records = header.records().unwrap_or_default();
    records
        .iter()
        .any(|record| matches!(record, Inline::Seal { .. }))
}
