//! COPYs that placed some of their messages and not all: in memory whole, since the next start looks for them.

use mail::Uid;
use store::Change;

use super::{Epoch, State};
use crate::MailboxId;
use crate::limits::{COPIES_UNFINISHED_MAX, COPY_RANGES_MAX};
use crate::row::{self, Broken, copy_key, decode_copy, encode_copy, read_copy_key};

/// What a COPY has placed so far.
#[derive(Debug, Clone)]
pub struct Unfinished {
    /// Where the originals are.
    pub from: MailboxId,
    /// Ascending, both ends included.
    pub ranges: Vec<(Uid, Uid)>,
}

impl State {
    /// A row of `UNFINISHED`.
    pub fn install_copy(&mut self, key: &[u8], value: &[u8]) -> Result<(), Broken> {
        let (from, ranges) = decode_copy(value)?;
        self.unfinished
            .insert(read_copy_key(key)?, Unfinished { from, ranges });
        Ok(())
    }

    /// The copy placed these messages too; `ranges` ascend, and so do those of one copy in the log.
    pub fn note_copying(
        &mut self,
        mailbox: MailboxId,
        from: MailboxId,
        copy: Uid,
        ranges: &[(Uid, Uid)],
    ) {
        let begun = || Unfinished {
            from,
            ranges: Vec::new(),
        };
        let known = self.unfinished.entry((mailbox, copy));
        let known = &mut known.or_insert_with(begun).ranges;
        for (low, high) in ranges {
            match known.last_mut() {
                Some(last) if last.1.0.checked_add(1) == Some(low.0) => last.1 = *high,
                // In a rebuild from the bare log a snapshot may have named it.
                Some(last) if last.1 >= *low => last.1 = last.1.max(*high),
                _ => known.push((*low, *high)),
            }
        }
        self.unfinished_dirty.insert((mailbox, copy), self.epoch);
    }

    /// The copy is at its end. Whether it was known.
    pub fn note_copied(&mut self, mailbox: MailboxId, copy: Uid) -> bool {
        let known = self.unfinished.remove(&(mailbox, copy)).is_some();
        if known {
            self.unfinished_dirty.insert((mailbox, copy), self.epoch);
        }
        known
    }

    /// The mailbox is gone, or a snapshot of it names those that are not done.
    pub fn forget_copies(&mut self, mailbox: MailboxId) {
        let of_mailbox = (mailbox, Uid(0))..=(mailbox, Uid(u32::MAX));
        let copies: Vec<(MailboxId, Uid)> = self
            .unfinished
            .range(of_mailbox)
            .map(|(name, _)| *name)
            .collect();
        for (mailbox, copy) in copies {
            self.note_copied(mailbox, copy);
        }
    }

    /// Those into `mailbox`.
    pub fn copies_into(&self, mailbox: MailboxId) -> impl Iterator<Item = (Uid, &Unfinished)> {
        self.unfinished
            .range((mailbox, Uid(0))..=(mailbox, Uid(u32::MAX)))
            .map(|((_, copy), unfinished)| (*copy, unfinished))
    }

    /// Ranges of all of them.
    pub fn copied_ranges(&self) -> usize {
        let copies = self.unfinished.values();
        copies.map(|copy| copy.ranges.len()).sum()
    }

    /// Whether a copy may go on for one more range, or begin.
    pub fn has_room_for_copy(&self, begins: bool) -> bool {
        self.copied_ranges() < COPY_RANGES_MAX
            && (!begins || self.unfinished.len() < COPIES_UNFINISHED_MAX)
    }

    /// Rows that differ from the projection.
    pub(super) fn collect_copies(&self, changes: &mut Vec<Change>) {
        for (mailbox, copy) in self.unfinished_dirty.keys() {
            let unfinished = self.unfinished.get(&(*mailbox, *copy));
            changes.push(Change {
                table: row::UNFINISHED,
                key: copy_key(*mailbox, *copy),
                value: unfinished.map(|copy| encode_copy(copy.from, &copy.ranges)),
            });
        }
    }

    /// Those of this epoch or before are durable.
    pub(super) fn settle_copies(&mut self, epoch: Epoch) {
        self.unfinished_dirty.retain(|_, stamp| *stamp > epoch);
    }
}
