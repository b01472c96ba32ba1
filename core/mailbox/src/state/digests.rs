//! Digests of messages (`mail::Summary`, whose content this crate does not look at) that were read lately.
//!
//! On a leg each digest is stored beside its body, which costs nothing at delivery. A list of ten thousand messages therefore reads nearly all
//! of the log that holds them. The same list is asked for again and again: by the next session, by the next search. Digests in memory
//! make that a look into a table. They are found by their place in the log: what is at a place never changes within a generation of
//! its segment, so nothing here can be out of date.
//!
//! What must hold: `bytes` is the sum over `kept`, and each key of `kept` is in `clock` once.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use volume::RecordAddress;

use crate::limits::{DIGEST_KEPT_BYTES_MAX, DIGEST_LOOK_MAX};

/// What a digest takes beside its own bytes: its place twice, the handle to its bytes and what the allocator and the table add.
const ENTRY_BYTES: usize = 2 * size_of::<RecordAddress>() + size_of::<Kept>() + 64;

/// Bounded by `keep_within`; second chance in the order of arrival.
#[derive(Default)]
pub struct Digests {
    kept: HashMap<RecordAddress, Kept>,
    clock: VecDeque<RecordAddress>,
    /// What all of it takes, about.
    bytes: usize,
    counts: DigestCounts,
}

/// How many digests were asked for since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DigestCounts {
    /// They were in memory.
    pub remembered: u64,
    /// They were read from a leg.
    pub read: u64,
}

struct Kept {
    bytes: Bytes,
    /// Second chance: cleared by `keep_within`, set by `find`.
    used_lately: bool,
}

impl Digests {
    /// The digest at `place`, if it is in memory.
    pub fn find(&mut self, place: &RecordAddress) -> Option<Bytes> {
        let found = self.kept.get_mut(place);
        let count = match found {
            Some(_) => &mut self.counts.remembered,
            None => &mut self.counts.read,
        };
        *count += 1;
        let kept = found?;
        kept.used_lately = true;
        Some(kept.bytes.clone())
    }

    /// Remembers what was read. Of the others as many are forgotten as `keep_within` may; what has no room then is not kept, for some large digests
    /// come faster than so many looks forget small ones.
    pub fn take_in(&mut self, read: &[(RecordAddress, Bytes)], bytes_max: usize) {
        let costs = read.iter().map(|(_, bytes)| ENTRY_BYTES + bytes.len());
        self.keep_within(bytes_max.saturating_sub(costs.sum()));
        for (place, bytes) in read {
            if self.bytes + ENTRY_BYTES + bytes.len() <= bytes_max {
                self.keep(*place, bytes);
            }
        }
    }

    fn keep(&mut self, place: RecordAddress, bytes: &Bytes) {
        // All empty ones may have one place, and a very large one would take the room of hundreds.
        if bytes.is_empty() || bytes.len() > DIGEST_KEPT_BYTES_MAX {
            return;
        }
        let kept = Kept {
            bytes: bytes.clone(),
            used_lately: false,
        };
        // Two sessions may have read the same one at the same time.
        if self.kept.insert(place, kept).is_none() {
            self.clock.push_back(place);
            self.bytes += ENTRY_BYTES + bytes.len();
        }
    }

    /// Forgets the oldest until the rest takes at most `bytes_max`, as far as `DIGEST_LOOK_MAX` looks allow.
    pub fn keep_within(&mut self, bytes_max: usize) {
        for _ in 0..DIGEST_LOOK_MAX {
            if self.bytes <= bytes_max {
                return;
            }
            let Some(place) = self.clock.pop_front() else {
                return;
            };
            let kept = self.kept.get_mut(&place).expect("the clock has no others");
            if std::mem::take(&mut kept.used_lately) {
                self.clock.push_back(place);
                continue;
            }
            self.bytes -= ENTRY_BYTES + kept.bytes.len();
            self.kept.remove(&place);
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn counts(&self) -> DigestCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use volume::{Generation, SegmentIndex};

    use super::*;

    fn place(number: u32) -> RecordAddress {
        RecordAddress {
            segment: SegmentIndex(0),
            generation: Generation(1),
            batch_block: number,
            at: 0,
            bytes: 100,
            check: 0,
        }
    }

    fn digest(number: u32) -> Bytes {
        Bytes::from(vec![number as u8; 100])
    }

    #[test]
    fn what_was_used_lately_stays_and_the_oldest_of_the_others_goes() {
        let mut digests = Digests::default();
        for number in 0..100 {
            digests.keep(place(number), &digest(number));
        }
        assert_eq!(digests.find(&place(7)), Some(digest(7)));
        let each = digests.bytes() / 100;
        digests.keep_within(50 * each);
        assert_eq!(digests.bytes(), 50 * each);
        assert_eq!(digests.find(&place(7)), Some(digest(7)));
        assert_eq!(digests.find(&place(8)), None);
        assert_eq!(digests.find(&place(99)), Some(digest(99)));
        let counts = digests.counts();
        assert_eq!((counts.remembered, counts.read), (3, 1));
    }

    #[test]
    fn bytes_are_counted_once_and_come_back_to_nothing() {
        let mut digests = Digests::default();
        for _ in 0..3 {
            digests.keep(place(1), &digest(1));
        }
        assert_eq!(digests.bytes(), ENTRY_BYTES + 100);
        digests.keep(place(2), &Bytes::new());
        let large = Bytes::from(vec![0; DIGEST_KEPT_BYTES_MAX + 1]);
        digests.keep(place(3), &large);
        assert_eq!(digests.bytes(), ENTRY_BYTES + 100);
        digests.keep_within(0);
        assert_eq!(digests.bytes(), 0);
        assert!(digests.kept.is_empty() && digests.clock.is_empty());
    }

    /// One person's mailbox with long headers does not take the memory that others' short ones leave slowly.
    #[test]
    fn what_has_no_room_is_not_kept() {
        let mut digests = Digests::default();
        let small = 20 * DIGEST_LOOK_MAX as u32;
        for number in 0..small {
            digests.take_in(&[(place(number), digest(number))], usize::MAX);
            digests.find(&place(number)).expect("it was kept");
        }
        let bytes_max = digests.bytes();
        let large = Bytes::from(vec![7; DIGEST_KEPT_BYTES_MAX]);
        for round in 0..100 {
            let first = small + 64 * round;
            let read: Vec<_> = (first..first + 64)
                .map(|number| (place(number), large.clone()))
                .collect();
            digests.take_in(&read, bytes_max);
            assert!(digests.bytes() <= bytes_max, "{round}: {}", digests.bytes());
        }
        let last = digests.find(&place(small + 64 * 100 - 1));
        assert_eq!(last, Some(large), "in the end the others are forgotten");
    }

    /// The owner's thread has other work.
    #[test]
    fn one_call_forgets_so_many_and_no_more() {
        let mut digests = Digests::default();
        let count = 3 * DIGEST_LOOK_MAX as u32;
        for number in 0..count {
            digests.keep(place(number), &digest(number));
        }
        digests.keep_within(0);
        assert_eq!(digests.kept.len(), 2 * DIGEST_LOOK_MAX);
    }
}
