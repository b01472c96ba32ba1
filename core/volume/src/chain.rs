//! Which of the batches that the legs hold are the log: the longest unbroken chain over their union, what is missing in it, and what
//! was given up of it. Nothing here does I/O.
//!
//! What must hold: term and epoch never decrease along the chain (I2); a missing number at or below the highest acknowledged one is
//! damage, and only beyond it the chain may end (I6).

use crate::format::Header;
use crate::opening::GivenUp;
use crate::scan::Union;
use crate::skip::Skip;
use crate::superblock::Superblock;
use crate::types::*;

/// The accepted log after the checkpoint, and the acknowledged numbers that no leg holds.
pub(crate) fn longest_chain(
    union: &Union,
    superblock: &Superblock,
    acked: Lsn,
    volume: VolumeId,
) -> (Vec<Header>, Vec<Lsn>) {
    let mut accepted: Vec<Header> = Vec::new();
    let mut damaged = Vec::new();
    let seals = union.seals();
    let is_void = |header: &Header| seals.iter().any(|seal| seal.voids(header));
    let skips = union.skips(|header| !is_void(header));
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
        // Of stretches that begin alike the longest was given up last.
        let skip = skips.iter().filter(|skip| skip.covers(lsn));
        let skip = skip.max_by_key(|skip| skip.until);
        match (candidates.first(), skip) {
            (Some(header), _) => {
                link = Some(header.chain(volume));
                floor = (header.term, header.epoch);
                accepted.push((*header).clone());
            }
            (None, Some(skip)) => {
                link = Some(skip.chain);
                lsn = skip.until;
            }
            (None, None) if lsn <= acked => {
                damaged.push(lsn);
                link = None;
            }
            (None, None) => break,
        }
        lsn = lsn.next();
    }
    (accepted, damaged)
}

/// The missing numbers as stretches, each with the chain value that the batch behind it names; `end` where there is none.
pub(crate) fn stretches(damaged: &[Lsn], kept: &[Header], end: u128) -> Vec<Skip> {
    let runs = damaged.chunk_by(|lsn, next| lsn.next() == *next);
    let skips = runs.map(|run| {
        let until = run[run.len() - 1];
        let behind = kept.binary_search_by_key(&until.next(), |header| header.lsn);
        Skip {
            after: Lsn(run[0].0 - 1),
            until,
            chain: behind.map_or(end, |index| kept[index].prev),
        }
    });
    skips.collect()
}

/// What was given up behind the checkpoint, and is said only in batches that are themselves given up now: it is to be said again.
pub(crate) fn kept_skips(accepted: &[Header], checkpoint: Lsn, given_up: &GivenUp) -> Vec<Skip> {
    let Some((after, _)) = given_up.skip else {
        return Vec::new();
    };
    let going = accepted.iter().filter(|header| header.lsn > after);
    let mut kept: Vec<Skip> = going
        .flat_map(Skip::all_of)
        .filter(|skip| skip.until > checkpoint && skip.until <= after)
        .collect();
    kept.dedup_by_key(|skip| (skip.after, skip.until));
    kept
}
