//! The arena pages of a leg that is being brought in (`resync`): those that it missed, or all of them.

use std::collections::BTreeSet;
use std::rc::Rc;

use device::{BLOCK_BYTES, Buffer};

use crate::inner::Inner;
use crate::limits::STREAM_READ_BYTES;
use crate::resync::{Ended, Target};

impl Inner {
    /// Copies the arena pages that the leg missed, or all of them when that is not known.
    pub async fn copy_arena(self: &Rc<Self>, target: Target) -> Result<(), Ended> {
        // until it misses none; bounded by the pages, because what is written from now on reaches it
        loop {
            let missed: Option<BTreeSet<u64>> = {
                // A write that began before the leg was admitted is not sent to it, and says at its end which pages that were.
                let _pass = self.arena_writing.enter().await;
                self.still(target)?;
                let legs = self.legs.borrow();
                legs[target.leg].arena_missed().cloned()
            };
            match missed {
                Some(pages) if pages.is_empty() => return Ok(()),
                Some(pages) => {
                    for page in pages {
                        self.copy_pages(target, page, 1).await?;
                        self.still(target)?;
                        self.legs.borrow_mut()[target.leg].has_page(page);
                    }
                }
                None => {
                    self.copy_whole_arena(target).await?;
                    self.still(target)?;
                    self.legs.borrow_mut()[target.leg].has_all_pages();
                }
            }
        }
    }

    /// Every page of every arena segment, for a leg of which it is not known what it missed.
    async fn copy_whole_arena(self: &Rc<Self>, target: Target) -> Result<(), Ended> {
        let per_segment = self.plan.pages_per_segment();
        let segments = self.log.borrow().table().arena().len() as u64;
        let chunk = (STREAM_READ_BYTES / BLOCK_BYTES) as u64;
        self.progress(target, 0, segments * self.plan.segment_bytes);
        for segment in 0..segments {
            for first in (0..per_segment).step_by(chunk as usize) {
                let count = chunk.min(per_segment - first);
                self.copy_pages(target, segment * per_segment + first, count)
                    .await?;
                self.progress(target, count * BLOCK_BYTES as u64, 0);
            }
        }
        Ok(())
    }

    /// Copies `count` pages of one arena segment while no page is being written.
    async fn copy_pages(
        self: &Rc<Self>,
        target: Target,
        first: u64,
        count: u64,
    ) -> Result<(), Ended> {
        let _pass = self.arena_writing.enter().await;
        self.still(target)?;
        let per_segment = self.plan.pages_per_segment();
        let segment = self.log.borrow().table().arena()[(first / per_segment) as usize];
        let at = self.plan.at(segment, (first % per_segment) as u32);
        let size = count as usize * BLOCK_BYTES;
        let mut data = Buffer::zeroed(size);
        let mut read = false;
        for (_, device) in self.legs_where(|leg| leg.serves()) {
            if let Ok(source) = self.read_raw(device, at, size).await {
                data.copy_from_slice(&source[..size]);
                self.return_read_buffer(source);
                read = true;
                break;
            }
        }
        let bad = if read {
            self.bad_pages(first, &data)
        } else {
            (0..count as usize).collect()
        };
        self.gather_pages(first, at, bad, &mut data).await;
        self.copy_verified(target, at, data).await
    }

    /// Page by page from whichever leg has it; a page that no leg has stays as it is, and its reader will hear so.
    async fn gather_pages(&self, first: u64, at: u64, bad: Vec<usize>, data: &mut Buffer) {
        for index in bad {
            let page_at = at + (index * BLOCK_BYTES) as u64;
            for (_, device) in self.legs_where(|leg| leg.serves()) {
                let Ok(source) = self.read_raw(device, page_at, BLOCK_BYTES).await else {
                    continue;
                };
                let slot = &mut data[index * BLOCK_BYTES..][..BLOCK_BYTES];
                slot.copy_from_slice(&source[..BLOCK_BYTES]);
                if self.page_is_good(first + index as u64, slot) {
                    break;
                }
            }
        }
    }

    /// Which pages of `data` are known to be wrong.
    pub fn bad_pages(&self, first: u64, data: &[u8]) -> Vec<usize> {
        let pages = data.chunks(BLOCK_BYTES).enumerate();
        pages
            .filter(|(index, page)| !self.page_is_good(first + *index as u64, page))
            .map(|(index, _)| index)
            .collect()
    }

    fn page_is_good(&self, page: u64, bytes: &[u8]) -> bool {
        let checks = self.page_checks.borrow().clone();
        let check = checks.and_then(|check_of| check_of(page));
        check.is_none_or(|check| crate::arena::page_check(page, bytes) == check)
    }
}
