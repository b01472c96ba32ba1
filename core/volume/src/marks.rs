//! A sparse index of where LSNs lie, so that a walk begins near its first batch.

use device::BLOCK_BYTES;

use crate::inner::Inner;
use crate::limits::{MARK_BYTES, MARKS_MAX};
use crate::log::Log;
use crate::types::*;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    pub lsn: Lsn,
    pub segment: SegmentIndex,
    pub generation: Generation,
    pub block: u32,
}

impl Inner {
    /// The last mark at or before `lsn`: where a walk to it may begin.
    pub fn mark_before(&self, lsn: Lsn) -> Option<Mark> {
        let log = self.log.borrow();
        log.marks.iter().rev().find(|mark| mark.lsn <= lsn).copied()
    }
}

/// Marks the batch about to be submitted, unless a mark is near. A full index forgets every other one.
pub(crate) fn mark(log: &mut Log) {
    let entry = &log.pipeline[log.submitted];
    let blocks_apart = (MARK_BYTES / BLOCK_BYTES as u64) as u32;
    let near = log.marks.back().is_some_and(|mark| {
        mark.segment == entry.segment
            && entry.block >= mark.block
            && entry.block - mark.block < blocks_apart
    });
    if near {
        return;
    }
    log.marks.push_back(Mark {
        lsn: entry.lsn,
        segment: entry.segment,
        generation: entry.generation,
        block: entry.block,
    });
    if log.marks.len() > MARKS_MAX {
        let mut keep = false;
        log.marks.retain(|_| {
            keep = !keep;
            keep
        });
    }
}
