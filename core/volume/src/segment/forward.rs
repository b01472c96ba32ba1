//! What an opening makes of the segment table that the superblocks name: it is brought forward over the batches that recovery accepted.

use super::{Row, State, Table};
use crate::format::{Header, Inline};
use crate::superblock::Superblock;
use crate::types::{Generation, Lsn, SegmentIndex};

impl Table {
    /// Claims that a superblock lists beside the table.
    pub fn claim_again(&mut self, claims: impl IntoIterator<Item = (SegmentIndex, Generation)>) {
        for (segment, generation) in claims {
            self.replay(&Inline::Claim {
                segment,
                generation,
            });
        }
        self.derive();
    }

    /// Brings the table forward over the accepted batches, of which those from `pivot` on will move, and closes every segment of earlier owners.
    pub fn bring_forward(&mut self, accepted: &[Header], pivot: usize, superblock: &Superblock) {
        for row in &mut self.rows {
            if row.state == State::Open {
                row.state = State::Sealed;
            }
            if row.state == State::Sealed && row.last > superblock.checkpoint {
                // Learnt anew from the batches themselves: the last ones may have moved after the table was written. What lies before
                // the checkpoint is not read again, and stays even where all that follows it is damaged.
                let unread = row.first <= superblock.checkpoint;
                row.last = superblock
                    .checkpoint
                    .max(Lsn(row.first.0.saturating_sub(1)));
                row.used_blocks = if unread { row.used_blocks } else { 0 };
            }
        }
        if let Some(start) = superblock.start
            && let Some(row) = self.rows.get_mut(start.segment as usize)
            && row.generation.0 == start.generation
        {
            row.used_blocks = row.used_blocks.max(start.block);
        }
        for (index, header) in accepted.iter().enumerate() {
            if header.lsn >= superblock.table_lsn {
                for record in header.records().unwrap_or_default() {
                    self.replay(&record);
                }
            }
            if index >= pivot {
                continue;
            }
            let row = self.row_mut(header.segment);
            row.hold(header.holds(), header.lsn);
            if matches!(row.state, State::Claimed | State::Free) {
                (row.state, row.first) = (State::Sealed, header.lsn);
            }
            if row.state == State::Sealed && row.generation == header.generation {
                row.first = if row.used_blocks == 0 {
                    header.lsn
                } else {
                    row.first
                };
                row.last = header.lsn;
                row.used_blocks = row.used_blocks.max(header.end_block());
            }
        }
        // Claims that nobody filled: free again, under a generation in which a late write of their owner means nothing.
        for row in &mut self.rows {
            let unused =
                row.state == State::Claimed || (row.state == State::Sealed && row.used_blocks == 0);
            if unused {
                *row = Row::free(Generation(row.generation.0 + 1), Lsn(0));
            }
            row.known = Lsn(0);
        }
        self.derive();
    }

    /// Keeps a segment that looks free and under `generation` still holds batches to be appended again: pinned, and under that generation, so that
    /// an opening after one that is cut short still looks there. `false`: it is not such a segment.
    pub fn hold_back(&mut self, segment: SegmentIndex, generation: Generation) -> bool {
        let row = self.row_mut(segment);
        if row.state != State::Free || row.generation.0 != generation.0 + 1 {
            return false;
        }
        row.generation = generation;
        self.pin(segment);
        true
    }

    /// What a segment held back held has a new place: it is free for good. It stays pinned.
    pub fn free_held(&mut self, segment: SegmentIndex) {
        assert!(self.pins.contains_key(&segment), "it was held back");
        let row = self.row_mut(segment);
        assert_eq!(row.state, State::Free);
        row.generation = Generation(row.generation.0 + 1);
    }

    /// Replays one inline record of a batch newer than the table. `derive` afterwards.
    fn replay(&mut self, record: &Inline) {
        let count = self.rows.len() as u32;
        match *record {
            Inline::Claim {
                segment,
                generation,
            } if segment.0 < count => {
                self.claim_number += 1;
                let number = Lsn(self.claim_number);
                let row = self.row_mut(segment);
                if row.generation <= generation {
                    *row = Row {
                        state: State::Claimed,
                        generation,
                        used_blocks: 0,
                        holds_store: false,
                        provisional: Lsn(0),
                        first: number,
                        ..*row
                    };
                }
            }
            Inline::Free {
                segment,
                generation,
            } if segment.0 < count => {
                let row = self.row_mut(segment);
                if row.generation < generation {
                    *row = Row::free(generation, row.known);
                }
            }
            Inline::ArenaGrow {
                segment,
                generation,
                ordinal,
            } if segment.0 < count => {
                let row = self.row_mut(segment);
                *row = Row {
                    state: State::Arena { ordinal },
                    first: row.first,
                    ..Row::free(generation, row.known)
                };
            }
            _ => {}
        }
    }
}
