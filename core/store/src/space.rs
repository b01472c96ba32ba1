//! How full the volume is, and what is still admitted (DESIGN.md A9: the reserve; the sum is in `limits.rs`).
//!
//! What was accepted owes the next checkpoint pages of the projection, and those need segments. So the debt is counted from the moment at which a
//! group is queued: mail is refused while there is still room for the checkpoint that follows, never so late that the checkpoint fails.
//!
//! Why no number of power cuts uses the volume up, in segments and step by step: volume/FORMAT.md, "Room". What this crate adds: a deletion ends higher than
//! reclaim begins, except where reclaim has just found nothing (`Ledger::found_nothing`); and where room is short no checkpoint stands for half a
//! pass (`Store::between_passes`, `Checkpointer::rests`).

use std::cell::Cell;

use volume::{Room, Volume};

use crate::Purpose;
use crate::limits::*;

/// What the log owes the projection, in rows.
#[derive(Default)]
pub(crate) struct Space {
    /// Of groups that wait or are on their way.
    queued_rows: Cell<u64>,
    /// Of groups in the log, since open.
    landed_rows: Cell<u64>,
    /// Those of them that a durable checkpoint holds.
    paid_rows: Cell<u64>,
    /// Pages of the arena that the projection uses: the highest one counts.
    used_pages: Cell<u64>,
}

/// What a group wants.
pub(crate) struct Wanted {
    /// The reserve that it may draw on.
    pub purpose: Purpose,
    /// It brings mail, and so leaves more free than records alone.
    pub has_bodies: bool,
    /// Rows that it will owe.
    pub rows: u64,
    /// With everything that waits in front of it.
    pub bytes: u64,
}

impl Space {
    /// A group was queued that will owe so many rows.
    pub fn owe_queued(&self, rows: u64) {
        self.queued_rows.set(self.queued_rows.get() + rows);
    }

    /// The group is in the log, or (`None`) it never will be.
    pub fn settle_queued(&self, rows: u64, landed: bool) {
        assert!(rows <= self.queued_rows.get(), "owed since it was queued");
        self.queued_rows.set(self.queued_rows.get() - rows);
        if landed {
            self.owe_landed(rows);
        }
    }

    /// A group in the log owes so many rows: it has just landed, or a replay has read it.
    pub fn owe_landed(&self, rows: u64) {
        self.landed_rows.set(self.landed_rows.get() + rows);
    }

    /// Rows owed by groups that wait or are on their way.
    pub fn queued_rows(&self) -> u64 {
        self.queued_rows.get()
    }

    /// Stops the process where more is paid than was owed.
    pub fn check(&self) {
        assert!(self.paid_rows.get() <= self.landed_rows.get());
    }

    /// Rows that have landed, for `pay`.
    pub fn landed_rows(&self) -> u64 {
        self.landed_rows.get()
    }

    /// A checkpoint is durable with all rows that had landed when `landed_rows` said so.
    pub fn pay(&self, landed_rows: u64) {
        assert!(
            landed_rows <= self.landed_rows.get(),
            "nothing is paid ahead"
        );
        self.paid_rows.set(self.paid_rows.get().max(landed_rows));
    }

    /// The projection uses so many pages of the arena.
    pub fn set_used_pages(&self, pages: u64) {
        self.used_pages.set(pages);
    }

    /// All rows that no durable checkpoint holds.
    fn owed_rows(&self) -> u64 {
        self.queued_rows.get() + self.landed_rows.get() - self.paid_rows.get()
    }

    /// Segments that the arena needs more for a commit of so many rows.
    fn growth(&self, room: &Room, rows: u64) -> usize {
        if rows == 0 {
            return 0;
        }
        let wanted = self.used_pages.get() + PAGES_PER_COMMIT + rows * PAGES_PER_ROW;
        wanted
            .saturating_sub(room.arena_pages)
            .div_ceil(room.segment_pages) as usize
    }

    /// Free segments that new bodies leave, without what is owed.
    pub fn kept_from_bodies(&self, room: &Room) -> usize {
        let snapshots = self.used_pages.get() / RESERVE_SNAPSHOTS_PART / room.segment_pages;
        (KEPT_FROM_BODIES + snapshots as usize).max(room.segments / RESERVE_BODIES_PART)
    }

    /// `is_last_resort`: reclaim has nothing to do, so only deletions can help.
    pub fn admits(
        &self,
        volume: &Volume,
        wanted: &Wanted,
        is_last_resort: impl Fn() -> bool,
    ) -> bool {
        let room = volume.room();
        let growth = self.growth(&room, self.owed_rows() + wanted.rows);
        let queued = (wanted.bytes / (room.segment_pages * PAGE_BYTES as u64)) as usize;
        let kept = match wanted.purpose {
            // The volume itself says when there is none left for it.
            Purpose::Reclaim => return true,
            Purpose::Delete => {
                // Half of a segment is theirs in any case: each opening begins one, and what they let die is what reclaim lives on.
                let kept = if room.open_blocks * 2 > room.segment_pages {
                    volume::limits::KEPT_FROM_DELETES - 1 + growth
                } else {
                    KEPT_FROM_DELETES + growth.saturating_sub(RESERVE_ARENA_SEGMENTS)
                };
                let last = volume::limits::KEPT_FROM_CHECKPOINT - 1 + growth;
                return room.spare_segments > kept + queued
                    || room.spare_segments > last + queued && is_last_resort();
            }
            Purpose::Keep if wanted.has_bodies => self.kept_from_bodies(&room) + growth,
            Purpose::Keep => KEPT_FROM_RECORDS + growth,
        };
        // It may have to begin one, and still leaves what it must.
        room.spare_segments > kept + queued
    }

    /// Whether bodies are refused, or soon will be: then batches are kept apart, and every checkpoint lets go of what it can.
    pub fn is_scarce(&self, volume: &Volume) -> bool {
        let room = volume.room();
        room.spare_segments <= self.kept_from_bodies(&room) + self.growth(&room, self.owed_rows())
    }

    /// Bodies are refused, and would be even if everything owed were paid.
    pub fn is_short(&self, volume: &Volume) -> bool {
        let room = volume.room();
        room.spare_segments <= self.kept_from_bodies(&room) + self.growth(&room, 1)
    }

    /// Half of what the arena can still give is owed.
    pub fn owes_much(&self, volume: &Volume) -> bool {
        let (room, owed) = (volume.room(), self.owed_rows());
        owed > 0
            && room.spare_segments <= self.kept_from_bodies(&room) + self.growth(&room, 2 * owed)
    }

    /// Rows that one group may change: two commits of this size fit into what the arena may take while a full volume is emptied.
    pub fn rows_at_once(&self, volume: &Volume) -> u64 {
        let pages = volume.room().segment_pages * RESERVE_ARENA_SEGMENTS as u64 / 2;
        (pages.saturating_sub(PAGES_PER_COMMIT) / PAGES_PER_ROW).max(ROWS_AT_ONCE_MIN)
    }

    /// Whether the arena may be grown ahead of need.
    pub fn has_plenty(&self, volume: &Volume) -> bool {
        let room = volume.room();
        room.spare_segments > 2 * self.kept_from_bodies(&room)
    }

    /// Copying now would only cost: most of the volume is free.
    pub fn is_roomy(&self, volume: &Volume) -> bool {
        let room = volume.room();
        // On the smallest volumes half of all may be less than what new bodies leave.
        room.spare_segments > room.segments / RECLAIM_IDLE_PART && !self.is_short(volume)
    }

    /// What is left is for reclaim, and for what must follow it.
    pub fn is_at_the_bottom(&self, volume: &Volume) -> bool {
        volume.room().spare_segments <= KEPT_FROM_DELETES
    }

    /// Reclaim is worth paying for: little is free, or bodies are refused.
    pub fn is_pressed(&self, volume: &Volume) -> bool {
        let room = volume.room();
        room.spare_segments < room.segments.div_ceil(RECLAIM_PRESSURE_PART)
            || self.is_scarce(volume)
    }
}
