//! How full the volume is, and what is still admitted (storage.md A9: the reserve).

use std::cell::Cell;

use volume::{BatchAddress, SegmentIndex, SegmentState, Volume};

use crate::limits::{
    RECLAIM_IDLE_PART, RECLAIM_PRESSURE_PART, RESERVE_BODIES_PART, RESERVE_BODIES_SEGMENTS_MIN,
};

/// Free segments, counted anew whenever the log enters another segment or one is freed: never per group.
#[derive(Default)]
pub(crate) struct Space {
    segments: Cell<usize>,
    free: Cell<usize>,
    last: Cell<Option<SegmentIndex>>,
    reclaiming: Cell<bool>,
}

impl Space {
    pub fn recount(&self, volume: &Volume) {
        let segments = volume.segments();
        self.segments.set(segments.len());
        self.free.set(
            segments
                .iter()
                .filter(|segment| segment.state == SegmentState::Free)
                .count(),
        );
    }

    pub fn note_batch(&self, volume: &Volume, address: &BatchAddress) {
        if self.last.replace(Some(address.segment)) != Some(address.segment) {
            self.recount(volume);
        }
    }

    /// Whether a group with bodies still goes in. Records go on until the volume says `Full`.
    pub fn admits_bodies(&self) -> bool {
        self.free.get()
            >= (self.segments.get() / RESERVE_BODIES_PART).max(RESERVE_BODIES_SEGMENTS_MIN)
    }

    /// While reclaim runs, records may take from the volume's own reserve: they are what frees space.
    pub fn set_reclaiming(&self, reclaiming: bool) {
        self.reclaiming.set(reclaiming);
    }

    pub fn is_reclaiming(&self) -> bool {
        self.reclaiming.get()
    }

    /// Copying now would only cost: most of the volume is free.
    pub fn is_roomy(&self) -> bool {
        self.free.get() > self.segments.get() / RECLAIM_IDLE_PART
    }

    pub fn is_pressed(&self) -> bool {
        self.free.get() < self.segments.get().div_ceil(RECLAIM_PRESSURE_PART)
    }
}
