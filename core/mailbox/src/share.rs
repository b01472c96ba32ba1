//! Mailboxes as a tenant of the log: which records and tables are theirs, and what the tenancy asks.

use store::{Change, LocalFuture, Lsn, Replayed, StoreFault};
use tenancy::{Reading, Share, Tenant};

use crate::inner::{Inner, store_fault};

/// Records 1–31 and tables 1–31 (FORMAT.md).
pub fn share() -> Share {
    Share {
        name: "mailbox",
        kinds: 1..=31,
        tables: 1..=31,
    }
}

impl Tenant for Inner {
    fn share(&self) -> Share {
        share()
    }

    fn load(&self) -> LocalFuture<'_, Result<(), StoreFault>> {
        Box::pin(async move { self.load_small_tables().await.map_err(store_fault) })
    }

    fn read_ahead(
        &self,
        groups: Vec<Replayed>,
        reading: Reading,
    ) -> LocalFuture<'_, Result<(), StoreFault>> {
        Box::pin(async move { self.decode(groups, reading).await.map_err(store_fault) })
    }

    fn apply_until(&self, lsn: Lsn, reading: Reading) -> LocalFuture<'_, Result<(), StoreFault>> {
        Box::pin(async move { self.apply_ahead(lsn, reading).await.map_err(store_fault) })
    }

    fn replayed(
        &self,
        reading: Reading,
        writable: bool,
    ) -> LocalFuture<'_, Result<(), StoreFault>> {
        Box::pin(async move {
            self.log_was_read(reading, writable)
                .await
                .map_err(store_fault)
        })
    }

    fn before_checkpoint(&self) -> LocalFuture<'_, Result<(), StoreFault>> {
        Box::pin(async move { self.clear_condemned().await.map_err(store_fault) })
    }

    fn collect(&self, changes: &mut Vec<Change>) {
        self.collect_rows(changes);
    }

    fn settle(&self) {
        self.settle_rows();
    }

    fn is_dirty(&self) -> bool {
        self.state.borrow().is_dirty()
    }

    fn is_behind(&self, part: usize) -> bool {
        self.state.borrow().is_behind(part)
    }

    fn dirty_rows(&self) -> u64 {
        self.state.borrow().dirty_rows()
    }

    fn pass_ended(&self) {
        // Every reference was redirected, or the pass failed and nothing is freed; the lists are large.
        *self.pass.borrow_mut() = None;
    }
}
