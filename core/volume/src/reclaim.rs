//! Giving a segment back: a record in the log first, the reuse only after that record is durable.
//!
//! A leg that is stale needs nothing of a freed segment: what still mattered in it was appended again under later LSNs,
//! which resync copies. So nothing is kept back for resync; only repairs and copies that are writing pin a segment.

use std::rc::Rc;

use crate::format::{Inline, Kind};
use crate::inner::Inner;
use crate::segment::State;
use crate::types::*;

impl Inner {
    /// The record of the free is queued and the row changed in one turn: a batch that is enqueued later finds the segment
    /// free, and it is used again only when that record is durable (I7).
    pub async fn free_segment(self: &Rc<Self>, segment: SegmentIndex) -> Result<(), CommitFault> {
        let waiting = {
            let generation = {
                let log = self.log.borrow();
                let row = *log.table().row(segment);
                assert_eq!(
                    row.state,
                    State::Sealed,
                    "only a sealed segment is given back"
                );
                if row.last > log.checkpoint().lsn {
                    let why = format!("segment {} is newer than the checkpoint", segment.0);
                    return Err(CommitFault::Deferred(why));
                }
                // The store may have let it go in favour of a checkpoint that no superblock names yet: the one that an opening would find
                // still reads its index here.
                if log.table().needed().contains(&segment) {
                    let why = format!("the last checkpoint needs segment {}", segment.0);
                    return Err(CommitFault::Deferred(why));
                }
                Generation(row.generation.0 + 1)
            };
            let waiting = self.enqueue_own(
                Kind::Records,
                &[],
                &[Inline::Free {
                    segment,
                    generation,
                }],
            )?;
            let mut log = self.log.borrow_mut();
            let recorded = Lsn(log.next().0 - 1);
            assert_eq!(log.table_mut().free(segment, recorded), generation);
            waiting
        };
        waiting
            .await
            .unwrap_or_else(|| Err(CommitFault::Deferred("the volume stopped".into())))?;
        Ok(())
    }
}
