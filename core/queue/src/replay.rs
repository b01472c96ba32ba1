//! The queue as a tenant of the log: what the tenancy asks.

use base::cursor::Reader;
use store::{Change as Row, LocalFuture, Lsn, Replayed, StoreFault};
use tenancy::encoding::Broken;
use tenancy::{Reading, Share, Tenant};

use crate::arrived::{ARRIVED, BLOCKS};
use crate::entry::ENTRIES;
use crate::limits::{ENTRIES_MAX, REPORTS_MAX, ROWS_PER_READ};
use crate::record::Change;
use crate::state::COUNTERS;
use crate::{Inner, QueueFault, store_fault};

/// Records 64–95 and tables 64–95.
pub fn share() -> Share {
    Share {
        name: "queue",
        kinds: 64..=95,
        tables: 64..=95,
    }
}

impl Tenant for Inner {
    fn share(&self) -> Share {
        share()
    }

    fn load(&self) -> LocalFuture<'_, Result<(), StoreFault>> {
        Box::pin(async move { self.load_all().await.map_err(store_fault) })
    }

    fn read_ahead(
        &self,
        groups: Vec<Replayed>,
        _reading: Reading,
    ) -> LocalFuture<'_, Result<(), StoreFault>> {
        let decoded = self.decode(groups).map_err(store_fault);
        Box::pin(async { decoded })
    }

    // In log order up to `lsn`, and not further: the tenancy brings all tenants to the same place before anything may look at two of them.
    fn apply_until(&self, lsn: Lsn, _reading: Reading) -> LocalFuture<'_, Result<(), StoreFault>> {
        let mut ahead = self.ahead.borrow_mut();
        let mut state = self.state.borrow_mut();
        while ahead.front().is_some_and(|(at, ..)| *at <= lsn)
            && let Some((at, changes, bodies)) = ahead.pop_front()
        {
            for change in &changes {
                change.apply(at, &bodies, &mut state);
            }
            // What replay removes has no reader that waits for it.
            state.dropped.clear();
        }
        Box::pin(async { Ok(()) })
    }

    fn replayed(
        &self,
        _reading: Reading,
        _writable: bool,
    ) -> LocalFuture<'_, Result<(), StoreFault>> {
        Box::pin(async { Ok(()) })
    }

    fn collect(&self, rows: &mut Vec<Row>) {
        self.state.borrow_mut().collect(rows);
    }

    fn settle(&self) {
        self.state.borrow_mut().settle();
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
}

impl Inner {
    fn decode(&self, groups: Vec<Replayed>) -> Result<(), QueueFault> {
        for group in groups {
            let changes: Result<Vec<Change>, Broken> =
                group.records.iter().map(Change::decode).collect();
            let ahead = (group.lsn, changes?, group.bodies);
            self.ahead.borrow_mut().push_back(ahead);
        }
        Ok(())
    }

    /// Every message that waits.
    /// All of it, and not on demand as mailboxes are: the sender asks at every look for what is due next, among all that waits.
    async fn load_all(&self) -> Result<(), QueueFault> {
        let store = self.tenancy.store();
        if let Some(counters) = store.get(COUNTERS, Vec::new()).await? {
            self.state.borrow_mut().install_counters(&counters)?;
        }
        self.load_arrived().await?;
        let mut from = Vec::new();
        loop {
            // until the table ends; a queue never has more
            let rows = store
                .range(ENTRIES, from, vec![0xff; 9], ROWS_PER_READ)
                .await?;
            let mut state = self.state.borrow_mut();
            for (_, row) in &rows {
                state.install(row)?;
            }
            // More than `put` ever admits is damage. The process would otherwise run out of memory, which tells nothing about the reason.
            if state.entries.len() > ENTRIES_MAX + REPORTS_MAX {
                return Err(Broken.into());
            }
            match rows.last() {
                Some((last, _)) if rows.len() == ROWS_PER_READ => {
                    from = [last.as_slice(), &[0]].concat()
                }
                _ => return Ok(()),
            }
        }
    }
}

impl Inner {
    async fn load_arrived(&self) -> Result<(), QueueFault> {
        let (store, mut from) = (self.tenancy.store(), Vec::new());
        let mut all: Vec<Vec<u8>> = Vec::new();
        // Never more rows than blocks: a row more is found Broken.
        while all.len() <= BLOCKS {
            let rows = store
                .range(ARRIVED, from, vec![0xff; 5], ROWS_PER_READ)
                .await?;
            let is_last = rows.len() < ROWS_PER_READ;
            from = rows
                .last()
                .map_or(Vec::new(), |(key, _)| [key.as_slice(), &[0]].concat());
            all.extend(rows.into_iter().map(|(_, row)| row));
            if is_last {
                break;
            }
        }
        Ok(self.state.borrow_mut().arrived.install(&all)?)
    }
}

/// A row of `ENTRIES` as the fuzzer reads it.
pub(crate) fn read_row(row: &[u8]) -> Result<crate::Entry, Broken> {
    crate::Entry::decode(&mut Reader::new(row))
}
