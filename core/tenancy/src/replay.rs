//! The log after the projection, read once and handed to its owners.
//!
//! Groups are read ahead by the hundred, so that each tenant can load what they are about with a few visits to the index thread. They
//! are applied batch by batch: a checkpoint stands for whole batches, and one batch may hold several groups, so a checkpoint
//! that is due comes between two batches.

use std::rc::Rc;

use store::{Purpose, Replay, Replayed, StoreFault};

use crate::limits::{REPLAY_GROUPS_AHEAD, REPLAY_GROUPS_LOOK, REPLAY_ROWS_PER_GROUP};
use crate::share::by_tenant;
use crate::{Inner, Reading};

impl Inner {
    /// Reads the log to its end and lets every tenant know.
    pub(crate) async fn replay(
        self: &Rc<Self>,
        replay: Replay,
        reading: Reading,
    ) -> Result<(), StoreFault> {
        self.read_log(replay, reading).await?;
        self.store.note_replayed(self.dirty_rows());
        self.replayed(reading).await
    }

    pub(crate) async fn replayed(&self, reading: Reading) -> Result<(), StoreFault> {
        let writable = self.store.volume().refuses().is_none();
        for tenant in self.tenants()? {
            tenant.replayed(reading, writable).await?;
        }
        Ok(())
    }

    pub(crate) async fn read_log(
        self: &Rc<Self>,
        mut replay: Replay,
        reading: Reading,
    ) -> Result<(), StoreFault> {
        let tenants = self.tenants()?;
        let (mut groups_count, mut unlooked) = (0u64, 0u64);
        loop {
            // until the log ends
            let mut ahead: Vec<Vec<Replayed>> = tenants.iter().map(|_| Vec::new()).collect();
            let mut batches = Vec::new();
            let mut count = 0;
            while count < REPLAY_GROUPS_AHEAD
                && let Some(group) = replay.next().await?
            {
                count += 1;
                match batches.last_mut() {
                    Some((lsn, groups)) if *lsn == group.lsn => *groups += 1,
                    _ => batches.push((group.lsn, 1)),
                }
                for (whose, part) in by_tenant(self.shares(), group)? {
                    ahead[whose].push(part);
                }
            }
            if count == 0 {
                break;
            }
            groups_count += count as u64;
            for (tenant, groups) in tenants.iter().zip(ahead) {
                if !groups.is_empty() {
                    tenant.read_ahead(groups, reading).await?;
                }
            }
            for (lsn, groups) in batches {
                // The last batch of the groups before may go on in these.
                if lsn > self.applied.get() {
                    self.checkpoint_while_replaying(&mut unlooked).await?;
                }
                for tenant in &tenants {
                    tenant.apply_until(lsn, reading).await?;
                }
                self.applied.set(self.applied.get().max(lsn));
                unlooked += groups;
            }
        }
        tracing::info!(groups_count, "the log after the projection is replayed");
        Ok(())
    }

    /// A long log (the projection was lost) must not fill memory, nor owe the projection more than fits. `unlooked` groups have
    /// been applied since the last look.
    async fn checkpoint_while_replaying(
        self: &Rc<Self>,
        unlooked: &mut u64,
    ) -> Result<(), StoreFault> {
        let mut is_due = self.any(|tenant| tenant.is_behind(4));
        if *unlooked >= REPLAY_GROUPS_LOOK {
            *unlooked = 0;
            let rows = self.dirty_rows() + REPLAY_GROUPS_LOOK * REPLAY_ROWS_PER_GROUP;
            is_due |= !self.store.admits(Purpose::Delete, false, rows);
        }
        if is_due && self.store.volume().refuses().is_none() {
            self.checkpoint().await?;
        }
        Ok(())
    }
}
