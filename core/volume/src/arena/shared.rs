//! What readers of the arena on other threads share with the owner: where pages are, and which of them need repair.
//!
//! A reader takes the lock for reading only. The owner changes the view when legs or segments change, and takes the repairs in its turns.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use device::{BLOCK_BYTES, BlockingRead};

use super::page_check;
use crate::ArenaRead;
use crate::limits::ARENA_REPAIRS_MAX;
use crate::types::*;

/// What readers on other threads share with the owner.
#[derive(Default)]
pub(crate) struct ArenaShared {
    /// Legs and segments as they are now.
    view: RwLock<View>,
    /// Pages and their checks, which readers want repaired.
    repairs: Mutex<VecDeque<(u64, u64)>>,
    /// There is something in `repairs`: looked at on each turn without the lock.
    wanted: AtomicBool,
}

/// What a reader needs to find a page.
#[derive(Default)]
struct View {
    /// A blocking reader of each leg that serves.
    legs: Vec<Arc<dyn BlockingRead>>,
    /// Byte offset on every leg of each arena segment, by ordinal.
    segments: Vec<u64>,
    /// Pages of one segment.
    pages_per_segment: u64,
}

impl View {
    /// Byte offset of a page on every leg; `None`: the arena does not reach that far.
    fn at(&self, page: u64) -> Option<u64> {
        let segment = self
            .segments
            .get(usize::try_from(page / self.pages_per_segment).ok()?)?;
        Some(segment + page % self.pages_per_segment * BLOCK_BYTES as u64)
    }
}

impl ArenaShared {
    /// The readers read from these legs from now on.
    pub fn show_legs(&self, readers: Vec<Arc<dyn BlockingRead>>) {
        self.view
            .write()
            .expect("no holder of this lock panics")
            .legs = readers;
    }

    /// The arena is in these segments from now on: the byte offset of each on every leg, by ordinal.
    pub fn show_segments(&self, segments: Vec<u64>, pages_per_segment: u64) {
        let mut view = self.view.write().expect("no holder of this lock panics");
        view.segments = segments;
        view.pages_per_segment = pages_per_segment;
    }

    /// The repairs that readers asked for; `None`: none since the last call.
    pub fn take_repairs(&self) -> Option<VecDeque<(u64, u64)>> {
        let wanted = self.wanted.swap(false, Ordering::AcqRel);
        wanted.then(|| {
            std::mem::take(&mut *self.repairs.lock().expect("no holder of this lock panics"))
        })
    }

    /// Remembers a page that one leg has and another has not. Past the bound it is forgotten until it is read again.
    fn ask_repair(&self, page: u64, check: u64) {
        let mut repairs = self.repairs.lock().expect("no holder of this lock panics");
        if repairs.len() < ARENA_REPAIRS_MAX && !repairs.contains(&(page, check)) {
            repairs.push_back((page, check));
            self.wanted.store(true, Ordering::Release);
        }
    }
}

impl ArenaRead for ArenaShared {
    fn read_page(&self, page: u64, check: u64, into: &mut [u8]) -> Result<(), ReadFault> {
        assert_eq!(into.len(), BLOCK_BYTES);
        let view = self.view.read().expect("no holder of this lock panics");
        let at = view.at(page).ok_or(ReadFault::Stale)?;
        let mut answered = false;
        // Neighbouring pages are spread over the legs in stretches that a device's read-ahead likes.
        let first = (page / 64) as usize;
        for step in 0..view.legs.len() {
            let leg = &view.legs[(first + step) % view.legs.len()];
            let read = leg.read_at(at, into);
            answered |= read.is_ok();
            if read.is_ok() && page_check(page, into) == check {
                if step > 0 {
                    self.ask_repair(page, check);
                }
                return Ok(());
            }
        }
        Err(if answered {
            ReadFault::Damaged
        } else {
            ReadFault::Unavailable
        })
    }

    fn read_pages(&self, first: u64, checks: &[u64], into: &mut [u8]) -> Result<(), ReadFault> {
        assert_eq!(into.len(), checks.len() * BLOCK_BYTES);
        let read_together = {
            let view = self.view.read().expect("no holder of this lock panics");
            let inside = first % view.pages_per_segment.max(1) + checks.len() as u64;
            let leg = view
                .legs
                .get((first / 64) as usize % view.legs.len().max(1));
            match (view.at(first), leg) {
                (Some(at), Some(leg)) if inside <= view.pages_per_segment => {
                    leg.read_at(at, into).is_ok()
                }
                _ => false,
            }
        };
        let pages = into.chunks_mut(BLOCK_BYTES).zip(checks);
        for (page, (bytes, check)) in (first..).zip(pages) {
            if !read_together || page_check(page, bytes) != *check {
                self.read_page(page, *check, bytes)?;
            }
        }
        Ok(())
    }
}
