//! Reading ahead while the log is replayed.
//!
//! Replay looks at rows all over the projection, one after the other, and a device takes as long for one page as for thirty beside it.
//! So a page that is read then brings its neighbours along. A page kept here counts only while the table still has its check; it
//! is left behind, not searched for, when redb writes it again. Live reads have redb's cache, which is larger.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;

use crate::limits::{PAGE_BYTES, READ_AHEAD_PAGES, READ_AHEAD_PAGES_KEPT_MAX};

/// Pages that came along, by number.
#[derive(Default)]
pub(crate) struct Ahead {
    on: bool,
    kept: HashMap<u64, (u64, Bytes)>,
}

impl Ahead {
    pub fn begin(&mut self) {
        self.on = true;
    }

    pub fn end(&mut self) {
        *self = Ahead::default();
    }

    pub fn page(&self, page: u64, check: u64) -> Option<&[u8]> {
        let (of, bytes) = self.kept.get(&page)?;
        (*of == check).then_some(&bytes[..])
    }

    /// What to read instead of `wanted`: the pages around it that `is_on_legs`. `None`: `wanted` alone.
    pub fn around(
        &self,
        wanted: Range<u64>,
        is_on_legs: impl Fn(u64) -> bool,
    ) -> Option<Range<u64>> {
        let window = wanted.start / READ_AHEAD_PAGES * READ_AHEAD_PAGES;
        let window = window..window + READ_AHEAD_PAGES;
        if !self.on || wanted.end > window.end {
            return None;
        }
        let fits = |page: &u64| is_on_legs(*page) && !self.kept.contains_key(page);
        let before = (window.start..wanted.start).rev().take_while(fits).count() as u64;
        let behind = (wanted.end..window.end).take_while(fits).count() as u64;
        (before + behind > 0).then_some(wanted.start - before..wanted.end + behind)
    }

    /// Keeps pages that were read, from `first` on, with the checks they were held against.
    pub fn keep(&mut self, first: u64, checks: &[u64], bytes: &Bytes) {
        if !self.on {
            return;
        }
        if self.kept.len() + checks.len() > READ_AHEAD_PAGES_KEPT_MAX {
            // Replay has moved on; what it still wants comes again.
            self.kept.clear();
        }
        for (index, check) in checks.iter().enumerate() {
            let page = bytes.slice(index * PAGE_BYTES..(index + 1) * PAGE_BYTES);
            self.kept.insert(first + index as u64, (*check, page));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_on_the_legs_come_along_up_to_a_gap_and_the_windows_end() {
        let mut ahead = Ahead::default();
        let on_legs = |page: u64| page != 37;
        assert_eq!(ahead.around(40..41, on_legs), None, "not while it is off");
        ahead.begin();
        assert_eq!(ahead.around(40..41, on_legs), Some(38..64));
        assert_eq!(ahead.around(36..37, on_legs), Some(32..37));
        assert_eq!(ahead.around(63..66, on_legs), None, "over the window's end");
        assert_eq!(ahead.around(40..41, |page| page == 40), None, "all alone");
    }

    #[test]
    fn a_kept_page_counts_while_its_check_is_the_tables_and_replay_lasts() {
        let mut ahead = Ahead::default();
        let bytes = Bytes::from(vec![7; 2 * PAGE_BYTES]);
        ahead.keep(4, &[11, 12], &bytes);
        assert_eq!(ahead.page(4, 11), None, "not while it is off");
        ahead.begin();
        ahead.keep(4, &[11, 12], &bytes);
        assert_eq!(ahead.page(5, 12), Some(&bytes[PAGE_BYTES..]));
        assert_eq!(ahead.page(5, 13), None, "it was written again");
        for round in 0..READ_AHEAD_PAGES_KEPT_MAX as u64 {
            ahead.keep(100 + 2 * round, &[1, 2], &bytes);
            assert!(ahead.kept.len() <= READ_AHEAD_PAGES_KEPT_MAX);
        }
        ahead.end();
        assert!(ahead.kept.is_empty());
    }
}
