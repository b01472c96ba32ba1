//! A checkpoint: rows into redb, its pages onto the legs, their checks into the log, the pointer into the superblocks.
//!
//! The order is the safety: (1) redb commits into memory; (2) the pages go to every leg, onto places that the last logged
//! checkpoint does not use; (3) IDX-SYNC with their checks and page 0 becomes durable in the log; (4) the volume's checkpoint
//! points to it. A crash before (4) is a crash before (1): `open` takes the older IDX-SYNC and finds its pages untouched. For that
//! to hold, no second commit may happen before (4): what was begun is finished first (`settle`).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use base::host::{Bell, job, oneshot};
use volume::{Checkpoint, Lsn, ReadFault, RecordAddress, SegmentIndex};

use crate::backend::{Arena, Burst};
use crate::frame::Kind;
use crate::limits::*;
use crate::pages::{Base, IndexSync, Note};
use crate::projection::{Projection, Row};
use crate::{Change, Inner, Store, StoreFault, Table, append};

/// The projection and how far it is logged.
pub(crate) struct Checkpointer {
    /// Rows, on the index thread.
    rows: Arc<Projection>,
    /// The pages that redb reads and writes.
    arena: Arc<Arena>,
    /// One checkpoint is running; the others wait for `bell`.
    busy: Cell<bool>,
    /// Checkpoints called for and not over.
    under_way: Cell<u32>,
    /// Rung when a checkpoint has ended.
    bell: Bell,
    /// The IDX-SYNC records in the log.
    chain: RefCell<Chain>,
    /// A commit of redb that no durable checkpoint tells of yet, and the LSN it stands for.
    unsettled: Cell<Option<Lsn>>,
    /// What the last durable checkpoint stands for.
    applied: Cell<Lsn>,
    /// The batches right behind which damage was left out of the rows (`Note::past_damage`).
    past_damage: RefCell<Vec<Lsn>>,
    /// redb answers nothing any more, and why. Nothing of it may be logged from here.
    broken: RefCell<Option<StoreFault>>,
}

/// The IDX-SYNC records that `open` would follow now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chain {
    /// The record that `open` reads first.
    pub newest: Option<RecordAddress>,
    /// Segments that hold a record of the chain: they must not be freed.
    pub segments: Vec<SegmentIndex>,
    /// Page deltas since the last whole table.
    pub deltas: u32,
    /// Bytes of those deltas: at some point a whole table is shorter to read.
    pub delta_bytes: usize,
}

impl Checkpointer {
    /// The state after `open`.
    pub fn new(
        rows: Arc<Projection>,
        arena: Arc<Arena>,
        chain: Chain,
        applied: Lsn,
        past_damage: Vec<Lsn>,
    ) -> Checkpointer {
        // Opening redb may have committed something of its own: it is logged before the next commit.
        let unsettled = arena.has_unlogged().then_some(applied);
        Checkpointer {
            rows,
            arena,
            busy: Cell::new(false),
            under_way: Cell::new(0),
            bell: Bell::new(),
            chain: RefCell::new(chain),
            unsettled: Cell::new(unsettled),
            applied: Cell::new(applied),
            past_damage: RefCell::new(past_damage),
            broken: RefCell::new(None),
        }
    }

    /// The group up to which the projection is complete, durably.
    pub fn applied(&self) -> Lsn {
        self.applied.get()
    }

    /// Stops the process where the projection is ahead of the log; `landed` is its newest durable batch.
    pub fn check(&self, landed: Lsn) {
        let applied = self.applied.get();
        assert!(applied <= landed, "I8: applied {applied}, durable {landed}");
        let begun = self.unsettled.get();
        assert!(begun.is_none_or(|begun| applied <= begun && begun <= landed));
        assert!(self.under_way.get() > 0 || !self.busy.get());
    }

    /// Whether the chain that `open` would follow lies partly in one of `segments`.
    pub fn chain_lies_in(&self, segments: &[SegmentIndex]) -> bool {
        self.chain
            .borrow()
            .segments
            .iter()
            .any(|segment| segments.contains(segment))
    }

    /// What lay right behind `before` is left out of the rows: no leg could give it.
    pub fn note_damage(&self, before: Lsn) {
        let mut past = self.past_damage.borrow_mut();
        if past.len() < DAMAGE_NOTED_MAX && !past.contains(&before) {
            past.push(before);
        }
    }

    /// Resolves once no checkpoint is under way.
    pub async fn rests(&self) {
        while self.under_way.get() > 0 {
            self.bell.wait().await;
        }
    }

    /// redb writes nothing more.
    pub fn close(&self) {
        self.arena.close();
    }

    /// Reads of pages bring their neighbours along.
    pub fn replay_begins(&self) {
        self.arena.replay_begins();
    }

    /// Pages are read one by one again, and those that were read ahead are dropped.
    pub fn replay_ended(&self) {
        self.arena.replay_ended();
    }
}

impl Store {
    /// The projection's row at `key`. Runs on the index thread and sees the last `checkpoint`, nothing newer.
    pub async fn get(&self, table: Table, key: Vec<u8>) -> Result<Option<Vec<u8>>, StoreFault> {
        let mut values = self.get_many(table, vec![key]).await?;
        Ok(values.pop().flatten())
    }

    /// The rows at `keys`, in the order asked: one visit to the index thread for all of them. Bounded by the caller.
    pub async fn get_many(
        &self,
        table: Table,
        keys: Vec<Vec<u8>>,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreFault> {
        self.inner
            .projection_read(move |rows| rows.get(table, &keys))
            .await
    }

    /// Rows with `from <= key < to`, in order, at most `rows_max` (and `limits::RANGE_ROWS_MAX`). Sees the last `checkpoint`.
    pub async fn range(
        &self,
        table: Table,
        from: Vec<u8>,
        to: Vec<u8>,
        rows_max: usize,
    ) -> Result<Vec<Row>, StoreFault> {
        self.inner
            .projection_read(move |rows| {
                rows.range(table, &from, &to, rows_max.min(RANGE_ROWS_MAX))
            })
            .await
    }

    /// Durably replaces rows so that the projection equals f(log prefix up to the group applied last). Call with everything that changed since
    /// the last checkpoint. Afterwards recovery replays only what came later. At most one at a time (others wait); appends go on
    /// beside it. Once begun it goes on to its end even when the future is dropped.
    ///
    /// After an error the rows may or may not be readable, and the same changes must be given again: they replace whole rows.
    pub async fn checkpoint(&self, changes: Vec<Change>, applied: Lsn) -> Result<(), StoreFault> {
        let fits = |change: &Change| {
            change.key.len() <= KEY_BYTES_MAX
                && change
                    .value
                    .as_ref()
                    .is_none_or(|value| value.len() <= VALUE_BYTES_MAX)
        };
        if !changes.iter().all(fits) {
            return Err(StoreFault::TooLarge);
        }
        let (reply, receiver) = oneshot();
        let inner = self.inner.clone();
        // In this turn: what is applied later is not among `changes`.
        let rows = inner.space.landed_rows();
        let under_way = &self.inner.projection.under_way;
        under_way.set(under_way.get() + 1);
        let work = async move {
            let result = inner.clone().checkpoint(changes, applied, rows).await;
            let projection = &inner.projection;
            projection.under_way.set(projection.under_way.get() - 1);
            projection.bell.ring();
            reply.send(result)
        };
        self.inner.io.host.spawn(Box::pin(work));
        receiver.await.unwrap_or_else(|| Err(append::stopped()))
    }

    /// Why the projection is not readable any more; the next open reads it again, or rebuilds it.
    pub fn projection_fault(&self) -> Option<StoreFault> {
        self.inner.projection.broken.borrow().clone()
    }

    /// The next open will not use the projection but replay the whole log (fsck; after `StoreFault::Projection`).
    pub async fn request_rebuild(&self) -> Result<(), StoreFault> {
        self.inner.note_rebuild().await
    }

    /// Reads every page of the last checkpoint, which repairs what one leg has lost, then every row. Runs on the index thread
    /// and holds up other reads of the projection.
    pub async fn scrub_projection(&self) -> ProjectionScrub {
        let arena = self.inner.projection.arena.clone();
        let (pages, unknown) = job(&*self.inner.io.host, move || arena.scrub()).await;
        let rows = self.inner.projection_read(|rows| rows.count()).await;
        ProjectionScrub {
            pages,
            unknown,
            rows: rows.ok(),
        }
    }
}

/// What `scrub_projection` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProjectionScrub {
    /// Pages that were read.
    pub pages: u64,
    /// Pages that no leg has as the table says. A crash inside a checkpoint leaves some that redb has no use for; what counts is `rows`.
    pub unknown: u64,
    /// Rows in all tables; `None`: they cannot all be read, and the next open rebuilds.
    pub rows: Option<u64>,
}

impl Inner {
    /// One checkpoint at a time; the others wait.
    async fn checkpoint(
        self: Rc<Inner>,
        changes: Vec<Change>,
        applied: Lsn,
        owed_rows: u64,
    ) -> Result<(), StoreFault> {
        let projection = &self.projection;
        while projection.busy.get() {
            projection.bell.wait().await;
        }
        projection.busy.set(true);
        let result = self.checkpoint_alone(changes, applied).await;
        if result.is_ok() {
            self.space.pay(owed_rows);
        }
        projection.busy.set(false);
        projection.bell.ring();
        result
    }

    /// Steps 1 to 4. What an earlier checkpoint left unfinished is settled first, because redb must not commit twice
    /// before the log has the first.
    async fn checkpoint_alone(
        self: &Rc<Inner>,
        changes: Vec<Change>,
        applied: Lsn,
    ) -> Result<(), StoreFault> {
        let projection = &self.projection;
        self.projection_usable()?;
        if let Some(begun) = projection.unsettled.get() {
            self.settle(begun).await?;
        }
        let begun_us = self.io.host.now();
        let since = (
            self.since_checkpoint.bytes.get(),
            self.since_checkpoint.groups.get(),
        );
        let row_count = changes.len() as u64;
        assert!(applied >= projection.applied(), "I8: rows only grow newer");
        // From here a commit may be in redb's memory, whatever happens.
        projection.unsettled.set(Some(applied));
        self.projection_read(move |rows| rows.apply(changes, applied))
            .await?;
        let (pages, bytes) = self.settle(applied).await?;
        self.since_checkpoint.subtract(since);
        self.counted(|counters| {
            counters.checkpoints += 1;
            counters.checkpoint_rows += row_count;
        });
        let us = self.io.host.now().since_us(begun_us);
        tracing::debug!(
            applied = applied.0,
            rows = row_count,
            pages,
            bytes,
            us,
            "checkpoint"
        );
        Ok(())
    }

    /// Steps 2–4 for the commit that redb holds in memory. May be repeated after a fault.
    async fn settle(self: &Rc<Inner>, applied: Lsn) -> Result<(u64, u64), StoreFault> {
        let projection = &self.projection;
        let arena = projection.arena.clone();
        let burst = job(&*self.io.host, move || arena.take_burst()).await;
        let pages = burst.pages.len() as u64;
        self.write_pages(&burst).await?;
        let (logged_bytes, logged_at) = self.log_checks(&burst, applied).await?;
        projection.arena.retire(&burst);
        self.space
            .set_used_pages((projection.arena.table_bytes() / 8) as u64);
        // With nothing else in between, recovery need not look at this checkpoint's own batches either.
        let recovered_from = if self.told.get() <= applied {
            logged_at
        } else {
            applied
        };

        let sync = projection.chain.borrow().newest;
        let past_damage = projection.past_damage.borrow().clone();
        self.set_note(
            recovered_from,
            Note {
                sync,
                rebuild: false,
                emptied: self.reclaim.emptied_by(applied),
                past_damage,
            },
        )
        .await?;
        projection.applied.set(applied);
        projection.unsettled.set(None);
        let bytes = pages * PAGE_BYTES as u64 + logged_bytes;
        self.counted(|counters| {
            counters.checkpoint_pages += pages;
            counters.checkpoint_bytes += bytes;
        });
        Ok((pages, bytes))
    }

    /// Step 2: the pages go to every leg, onto places that the last logged checkpoint does not use. The arena grows
    /// where they do not fit.
    async fn write_pages(&self, burst: &Burst) -> Result<(), StoreFault> {
        let Some((last, ..)) = burst.pages.last() else {
            return Ok(());
        };
        // Bounded by the projection's size; each round adds one segment.
        while self.volume.arena_pages() <= *last {
            self.volume.arena_grow().await?;
        }
        // A quarter ahead while there is plenty: what follows need not wait for it.
        if self.volume.arena_pages() <= last + last / 4
            && self.space.has_plenty(&self.volume)
            && let Err(fault) = self.volume.arena_grow().await
        {
            tracing::warn!(%fault, "the projection has no room to grow");
        }
        for pages in burst.pages.chunks(CHECKPOINT_PAGES_PER_WRITE) {
            let pages = pages
                .iter()
                .map(|(page, bytes, _)| (*page, bytes.clone()))
                .collect();
            self.volume.arena_write(pages).await?;
        }
        Ok(())
    }

    /// Makes IDX-SYNC durable, with a delta or a whole table; says how many bytes, and its LSN.
    async fn log_checks(
        self: &Rc<Inner>,
        burst: &Burst,
        applied: Lsn,
    ) -> Result<(u64, Lsn), StoreFault> {
        let projection = &self.projection;
        let chain = projection.chain.borrow().clone();
        let changed: Vec<(u64, u64)> = burst
            .pages
            .iter()
            .map(|(page, _, check)| (*page, *check))
            .collect();
        let mut sync = IndexSync {
            applied,
            logical_bytes: burst.logical_bytes,
            base: Base::Table(Vec::new()),
            changed: Vec::new(),
            page0: burst.page0.clone(),
        };
        let delta_bytes = changed.len() * DELTA_ENTRY_BYTES;
        let repeat_bytes = projection.arena.table_bytes().max(TABLE_REPEAT_BYTES_MIN);
        let delta_pays = chain.deltas < DELTAS_MAX
            && delta_bytes <= self.sizes.delta_bytes_max
            && chain.delta_bytes + delta_bytes <= repeat_bytes
            // A chain keeps every segment it lies in occupied: where space is short the next checkpoint lets all of them go.
            && !self.space.is_scarce(&self.volume);
        let mut next = match chain.newest {
            Some(previous)
                if delta_pays && !projection.chain_lies_in(&self.reclaim.emptied_segments()) =>
            {
                sync.base = Base::Previous(previous);
                sync.changed = changed;
                Chain {
                    newest: None,
                    deltas: chain.deltas + 1,
                    delta_bytes: chain.delta_bytes + delta_bytes,
                    ..chain
                }
            }
            _ => Chain::default(),
        };
        let mut logged_bytes = 0;
        if let Base::Table(addresses) = &mut sync.base {
            for run in projection
                .arena
                .table_with(burst)
                .runs(self.sizes.table_run_pages)
            {
                logged_bytes += run.len() as u64;
                let (_, address) = self.append_own(Kind::IndexTable, run).await?;
                next.note(&address);
                addresses.push(address);
            }
        }
        let payload = sync.encode();
        logged_bytes += payload.len() as u64;
        let (lsn, address) = self.append_own(Kind::IndexSync, payload.into()).await?;
        next.note(&address);
        next.newest = Some(address);
        *projection.chain.borrow_mut() = next;
        Ok((logged_bytes, lsn))
    }

    /// Step 4: the superblocks point to the checkpoint, and name the segments that `open` will need.
    async fn set_note(&self, recovered_from: Lsn, note: Note) -> Result<(), StoreFault> {
        // In a rebuild the rows stand for less than what the volume itself need not recover any more.
        let lsn = recovered_from.max(self.volume.checkpoint().lsn);
        let needed = self.projection.chain.borrow().segments.clone();
        Ok(self
            .volume
            .set_checkpoint_with(
                Checkpoint {
                    lsn,
                    note: note.encode(),
                },
                needed,
            )
            .await?)
    }

    /// The note by which the next open rebuilds the projection from the log.
    async fn note_rebuild(&self) -> Result<(), StoreFault> {
        let sync = self.projection.chain.borrow().newest;
        self.set_note(
            Lsn(0),
            Note {
                sync,
                rebuild: true,
                emptied: Vec::new(),
                past_damage: Vec::new(),
            },
        )
        .await
    }

    /// A fault where redb answers nothing any more.
    fn projection_usable(&self) -> Result<(), StoreFault> {
        self.projection.broken.borrow().clone().map_or(Ok(()), Err)
    }

    /// Runs `work` on the index thread. After an error redb answers nothing more until the store is opened again; a page that
    /// no leg has makes that open a rebuild.
    async fn projection_read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Projection) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreFault> {
        self.projection_usable()?;
        let rows = self.projection.rows.clone();
        let fault = match job(&*self.io.host, move || work(&rows)).await {
            Ok(answer) => return Ok(answer),
            Err(fault) => StoreFault::Projection(fault.to_string()),
        };
        let first = self
            .projection
            .broken
            .borrow_mut()
            .replace(fault.clone())
            .is_none();
        if first && self.projection.arena.fault() != Some(ReadFault::Unavailable) {
            tracing::error!(%fault, "the projection is lost; the next open rebuilds it from the log");
            if let Err(fault) = self.note_rebuild().await {
                tracing::warn!(%fault, "that could not be recorded");
            }
        }
        Err(fault)
    }
}

impl Chain {
    /// A record of the chain is at `address`.
    pub fn note(&mut self, address: &RecordAddress) {
        if !self.segments.contains(&address.segment) {
            self.segments.push(address.segment);
        }
    }
}
