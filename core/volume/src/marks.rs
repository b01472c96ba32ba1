//! A sparse index of where LSNs lie, so that a walk begins near its first batch.

use std::collections::VecDeque;

use device::BLOCK_BYTES;

use crate::limits::{MARK_BYTES, MARKS_MAX};
use crate::types::*;

/// In the order of LSNs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marks {
    marks: VecDeque<Mark>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    pub lsn: Lsn,
    pub segment: SegmentIndex,
    pub generation: Generation,
    pub block: u32,
}

impl Marks {
    /// Marks the batch at `at`, unless a mark is near. A full index forgets every other one.
    pub fn note(&mut self, at: BatchAddress) {
        let near = self.marks.back().is_some_and(|mark| {
            mark.segment == at.segment
                && at.block >= mark.block
                && at.block - mark.block < BLOCKS_APART
        });
        if near {
            return;
        }
        assert!(self.marks.back().is_none_or(|mark| mark.lsn < at.lsn));
        self.marks.push_back(Mark {
            lsn: at.lsn,
            segment: at.segment,
            generation: at.generation,
            block: at.block,
        });
        if self.marks.len() > MARKS_MAX {
            let mut keep = false;
            self.marks.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// The last mark at or before `lsn`: where a walk to it may begin.
    pub fn before(&self, lsn: Lsn) -> Option<Mark> {
        let mut newest_first = self.marks.iter().rev();
        newest_first.find(|mark| mark.lsn <= lsn).copied()
    }

    /// No walk begins before `mark` any more.
    pub fn forget_before(&mut self, mark: Mark) {
        while self.marks.front().is_some_and(|front| front.lsn < mark.lsn) {
            self.marks.pop_front();
        }
    }

    /// Batches from `lsn` on move to other places.
    pub fn forget_from(&mut self, lsn: Lsn) {
        while self.marks.back().is_some_and(|mark| mark.lsn >= lsn) {
            self.marks.pop_back();
        }
    }

    /// The marks of batches from `lsn` on.
    pub fn from(&self, lsn: Lsn) -> impl Iterator<Item = &Mark> {
        let newest_first = self.marks.iter().rev();
        newest_first.take_while(move |mark| mark.lsn >= lsn)
    }
}

const BLOCKS_APART: u32 = (MARK_BYTES / BLOCK_BYTES as u64) as u32;

const _: () = assert!(BLOCKS_APART > 0 && MARKS_MAX > 1);
