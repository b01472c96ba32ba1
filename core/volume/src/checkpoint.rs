//! Checkpoints: the segment table into the log, then one superblock that points at it and at where replay begins.

use std::rc::Rc;

use crate::BATCH_HEADER_BYTES;
use crate::format::Kind;
use crate::inner::Inner;
use crate::limits::{NOTE_BYTES_MAX, OWN_FREED_AT_ONCE_MAX, TABLE_PARTS_MAX};
use crate::log::WrittenTable;
use crate::superblock::Spot;
use crate::types::*;

impl Inner {
    /// The table is durable in the log before superblocks name it, and superblocks are durable before a segment of the
    /// volume's own is freed: an opening at any moment between finds one whole checkpoint. `needed`: `None` keeps the list.
    pub async fn set_checkpoint(
        self: &Rc<Self>,
        mut checkpoint: Checkpoint,
        needed: Option<Vec<SegmentIndex>>,
    ) -> Result<(), CommitFault> {
        assert!(checkpoint.note.len() <= NOTE_BYTES_MAX);
        let _pass = self.checkpointing.enter().await;
        self.look_for_last_superblock().await;
        let needed = needed.unwrap_or_else(|| self.log.borrow().table().needed().to_vec());
        {
            let log = self.log.borrow();
            assert!(
                checkpoint.lsn <= log.acked(),
                "a checkpoint of what is durable"
            );
            checkpoint.lsn = checkpoint.lsn.max(log.checkpoint().lsn);
        }
        self.log
            .borrow_mut()
            .table_mut()
            .keep_provisional(checkpoint.lsn);
        // until no batch moved while the table was on its way
        let table = loop {
            if let Some(table) = self.write_table(&needed).await? {
                break table;
            }
        };
        {
            let mut log = self.log.borrow_mut();
            let start = log.mark_before(checkpoint.lsn.next());
            log.set_checkpoint(checkpoint, start, table);
        }
        self.publish().await?;
        self.note_position();
        self.log.borrow_mut().table_mut().need(needed);
        self.free_own_segments().await
    }

    /// The segment table as it is now, durable in the log. `None`: a device refused a write meanwhile, and batches that the
    /// table places elsewhere have moved; it must be written again.
    async fn write_table(
        self: &Rc<Self>,
        needed: &[SegmentIndex],
    ) -> Result<Option<WrittenTable>, CommitFault> {
        let part_bytes = self.plan.batch_bytes_max() - BATCH_HEADER_BYTES;
        let (parts, moves) = {
            let log = self.log.borrow();
            (log.table().encode(part_bytes, needed), log.moves())
        };
        assert!(parts.len() <= TABLE_PARTS_MAX);
        // Encoded and enqueued without an await between: the table knows exactly what batches before its first part did.
        let mut waiting = Vec::with_capacity(parts.len());
        for part in &parts {
            waiting.push(self.enqueue_own(Kind::Table, part, &[])?);
        }
        let chain = self.log.borrow().chain();
        // Claims since then: those that the parts themselves carry.
        let mut spots = Vec::with_capacity(parts.len());
        let mut first = None;
        for part in waiting {
            let address = part
                .await
                .unwrap_or_else(|| Err(CommitFault::Deferred("the volume stopped".into())))?;
            first.get_or_insert(address.lsn);
            let (segment, generation) = (address.segment.0, address.generation.0);
            spots.push(Spot {
                segment,
                generation,
                block: address.block,
            });
        }
        let lsn = first.expect("a table has a part");
        let same = self.log.borrow().moves() == moves;
        Ok(same.then_some(WrittenTable { spots, lsn, chain }))
    }

    /// Gives back segments in which only the volume's own batches lie, or what earlier checkpoints needed.
    async fn free_own_segments(self: &Rc<Self>) -> Result<(), CommitFault> {
        let dead = {
            let log = self.log.borrow();
            log.table().own_only(log.checkpoint().lsn)
        };
        for segment in dead.into_iter().take(OWN_FREED_AT_ONCE_MAX) {
            match self.free_segment(segment).await {
                // No room to say so: the next checkpoint tries again.
                Ok(()) | Err(CommitFault::Full) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }
}
