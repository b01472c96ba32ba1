//! Several tenants of one log: who owns which records, replay, checkpoints of all at one position, room and reclaim.
//!
//! A [`Tenant`] is a layer whose state is stored in the log of one `store::Store`: mailboxes, the directory of accounts, the queue.
//! It owns a range of record kinds and of tables ([`Share`]), and its memory is f(log), worked out from its own records alone.
//! [`Tenancy`] does what must be done for all of them together:
//!
//! - **commit**: one group may carry records of several tenants. They become durable together or not at all, and every
//!   tenant applies its part in the same turn.
//! - **opening**: each record goes to its owner, in log order. A record without an owner refuses the opening.
//! - **checkpoint**: the rows of all tenants are collected in one turn, so that they stand for one position of the log.
//! - **room and reclaim**: all tenants are asked what is wanted, and all follow what was moved.
//!
//! What must hold between calls:
//! - every tenant's memory over its tables = f(its records up to `applied`); `applied` is the position of the last group that any
//!   tenant applied.
//! - applying a record of one tenant never looks at another tenant's memory: replay may apply them in any order within a batch.
//! - no RefCell is borrowed across an await. A tenancy never keeps its tenants alive: the server holds them.
//!
//! Start reading here, then `replay.rs` (the way back), `checkpoint.rs` (the way into the projection) and `room.rs`.
#![forbid(unsafe_code)]

mod checkpoint;
pub mod encoding;
pub mod limits;
mod locks;
mod reclaim;
mod replay;
mod room;
mod share;
#[cfg(test)]
mod tests;

use std::cell::{Cell, OnceCell};
use std::rc::{Rc, Weak};

use base::host::Bell;
use store::{
    BodyIn, Change, Committed, Group, LocalFuture, Lsn, Purpose, Record, Replay, Replayed, Store,
    StoreFault,
};

pub use locks::{Locked, Locks};
pub use share::Share;

/// A layer whose state is stored in the log, beside others. What reclaim asks (`store::Tenant`) is asked about its own records only.
pub trait Tenant: store::Tenant {
    fn share(&self) -> Share;

    /// What must be in memory before anything else: small tables, whole. Before replay, once.
    fn load(&self) -> LocalFuture<'_, Result<(), StoreFault>>;

    /// Takes groups with records of this tenant, in log order, to be applied by `apply_until`; what they are about may be
    /// loaded together. `BesideReaders`: others look at the memory meanwhile.
    fn read_ahead(
        &self,
        groups: Vec<Replayed>,
        reading: Reading,
    ) -> LocalFuture<'_, Result<(), StoreFault>>;

    /// Applies what was read ahead up to the batch `lsn`, inclusive.
    fn apply_until(&self, lsn: Lsn, reading: Reading) -> LocalFuture<'_, Result<(), StoreFault>>;

    /// The log was read to its end, at an opening or behind an accepted loss. The volume takes writes if `writable`.
    fn replayed(&self, reading: Reading, writable: bool)
    -> LocalFuture<'_, Result<(), StoreFault>>;

    /// What has to be read from the projection for the next `collect`.
    fn before_checkpoint(&self) -> LocalFuture<'_, Result<(), StoreFault>> {
        Box::pin(async { Ok(()) })
    }

    /// Adds every row that differs from the projection; in one turn with all other tenants.
    fn collect(&self, changes: &mut Vec<Change>);

    /// What the last `collect` gave is durable in the projection: it is clean unless it changed since.
    fn settle(&self);

    /// Something differs from the projection.
    fn is_dirty(&self) -> bool;

    /// At least `part` in four of what may wait in memory for a checkpoint waits.
    fn is_behind(&self, part: usize) -> bool;

    /// Rows that the next checkpoint writes, about.
    fn dirty_rows(&self) -> u64;

    /// A reclaim pass is over, whether it ended well or not.
    fn pass_ended(&self) {}
}

/// Who else uses the tenants' memory while the log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// An opening.
    Alone,
    BesideReaders,
}

#[derive(Debug, Clone)]
pub struct Settings {
    /// A checkpoint is due after so many groups, so many bytes of log, or so long after the first change.
    pub checkpoint_groups: u64,
    pub checkpoint_bytes: u64,
    pub checkpoint_us: u64,
}

/// One tenant's part of a group.
pub struct Part {
    pub records: Vec<Record>,
    /// Rows that the next checkpoint has to write because of it, at most.
    pub rows: u64,
    /// Runs at the moment of durability, in log order: the tenant applies its records to its memory here.
    pub applied: Box<dyn FnOnce(&Committed)>,
}

/// One log and its tenants, on the volume's owner thread. Clones share one state.
#[derive(Clone)]
pub struct Tenancy {
    inner: Rc<Inner>,
}

pub(crate) struct Inner {
    io: device::Io,
    store: Store,
    settings: Settings,
    tenants: OnceCell<Vec<Weak<dyn Tenant>>>,
    /// Of the tenants, in the same order.
    shares: OnceCell<Vec<Share>>,
    /// The last group applied.
    applied: Cell<Lsn>,
    /// Rung when something changed that a checkpoint should write.
    work: Bell,
    /// Rung when room is to be made at once; `hurried` until that begins.
    hurry: Bell,
    hurried: Cell<bool>,
    /// What was applied when making room came to nothing.
    futile_at: Cell<Lsn>,
    /// Rung after each round of making room.
    eased: Bell,
    /// Rung when a checkpoint ended.
    checkpointed: Bell,
    checkpointing: Cell<bool>,
    reclaiming: Cell<bool>,
    closed: Cell<bool>,
    /// The log is being read on after an accepted loss: nothing may be numbered meanwhile.
    accepting: Cell<bool>,
}

impl Tenancy {
    /// A log without tenants as yet: they are made with a clone of this, and then `open` reads the log to them.
    pub fn new(io: device::Io, store: Store, settings: Settings) -> Tenancy {
        let applied = store.open_report().applied;
        let inner = Inner {
            io,
            store,
            settings,
            tenants: OnceCell::new(),
            shares: OnceCell::new(),
            applied: Cell::new(applied),
            work: Bell::new(),
            hurry: Bell::new(),
            hurried: Cell::new(false),
            futile_at: Cell::new(Lsn(0)),
            eased: Bell::new(),
            checkpointed: Bell::new(),
            checkpointing: Cell::new(false),
            reclaiming: Cell::new(false),
            closed: Cell::new(false),
            accepting: Cell::new(false),
        };
        Tenancy {
            inner: Rc::new(inner),
        }
    }

    /// Replays what is newer than the projection to its owners and starts the upkeep tasks (checkpoints, reclaim). They end
    /// with the last tenant. Called once; the caller keeps the tenants.
    pub async fn open(
        &self,
        replay: Replay,
        tenants: Vec<Rc<dyn Tenant>>,
    ) -> Result<(), StoreFault> {
        assert!(
            tenants.len() <= limits::TENANTS_MAX,
            "a tenant more than planned for"
        );
        let shares: Vec<Share> = tenants.iter().map(|tenant| tenant.share()).collect();
        share::check(&shares);
        assert!(
            self.inner.shares.set(shares).is_ok(),
            "a log is opened once"
        );
        let weak = tenants.iter().map(Rc::downgrade).collect();
        assert!(self.inner.tenants.set(weak).is_ok(), "a log is opened once");
        for tenant in &tenants {
            tenant.load().await?;
        }
        self.inner.replay(replay, Reading::Alone).await?;
        self.inner.tidy().await;
        self.inner.start_upkeep();
        Ok(())
    }

    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    pub fn io(&self) -> &device::Io {
        &self.inner.io
    }

    /// The position that the memory of all tenants stands for.
    pub fn applied(&self) -> Lsn {
        self.inner.applied.get()
    }

    /// Makes `parts` and `bodies` durable and then visible, together and in this order. The order of groups is that of these calls:
    /// every number in `parts` is given in the same turn, without an await before this call.
    ///
    /// A group that is refused was not written, and no part of it is applied.
    pub async fn commit(
        &self,
        purpose: Purpose,
        bodies: Vec<BodyIn>,
        parts: Vec<Part>,
    ) -> Result<Committed, StoreFault> {
        let inner = &self.inner;
        if inner.closed.get() {
            return Err(closed());
        }
        if inner.accepting.get() {
            let why = "the log is read on behind an accepted loss";
            return Err(StoreFault::Deferred(why.to_owned()));
        }
        let (mut records, mut rows, mut applied) = (Vec::new(), 0, Vec::new());
        for part in parts {
            records.extend(part.records);
            rows += part.rows;
            applied.push(part.applied);
        }
        let is_owned = |record: &Record| inner.shares().iter().any(|share| share.owns(record));
        assert!(
            records.iter().all(is_owned),
            "a record without a tenant would refuse every opening"
        );
        let group = Group {
            bodies,
            records,
            purpose,
            rows,
        };
        let shared = inner.clone();
        let at_durability = Box::new(move |committed: &Committed| {
            assert!(
                committed.lsn >= shared.applied.get(),
                "groups are applied in log order"
            );
            shared.applied.set(committed.lsn);
            for part in applied {
                part(committed);
            }
            shared.work.ring();
            if purpose == Purpose::Delete && shared.store.is_short() {
                shared.hurry();
            }
        });
        inner.store.append_then(group, at_durability).await
    }

    /// Checkpoints what is in memory; for a clean stop. Later changes are refused.
    pub async fn close(&self) -> Result<(), StoreFault> {
        self.inner.closed.set(true);
        self.inner.work.ring();
        self.inner.checkpoint().await
    }

    /// The operator gives up acknowledged batches that no leg has (`Volume::would_give_up`): the volume is written again, and a
    /// checkpoint leaves the damage behind. `Deferred` also when the log could not be read on: then nothing is taken until a restart.
    pub async fn accept_damage(&self) -> Result<(), StoreFault> {
        let inner = &self.inner;
        // From here no number is given until what recovery had kept is applied.
        inner.accepting.set(true);
        let accepted = inner.store.volume().accept_damage().await;
        accepted.map_err(|refusal| StoreFault::Deferred(refusal.to_string()))?;
        let rest = inner.store.replay_rest();
        inner.read_log(rest, Reading::BesideReaders).await?;
        inner.accepting.set(false);
        inner.replayed(Reading::BesideReaders).await?;
        inner.checkpoint().await
    }
}

impl Inner {
    /// `Deferred`: they are gone, or going.
    fn tenants(&self) -> Result<Vec<Rc<dyn Tenant>>, StoreFault> {
        let tenants = self.tenants.get().into_iter().flatten();
        let tenants: Option<Vec<_>> = tenants.map(Weak::upgrade).collect();
        tenants.ok_or_else(closed)
    }

    fn shares(&self) -> &[Share] {
        self.shares.get().map_or(&[], Vec::as_slice)
    }

    fn dirty_rows(&self) -> u64 {
        let tenants = self.tenants.get().into_iter().flatten();
        let tenants = tenants.filter_map(Weak::upgrade);
        tenants.map(|tenant| tenant.dirty_rows()).sum()
    }

    fn any(&self, is: impl Fn(&dyn Tenant) -> bool) -> bool {
        let tenants = self.tenants.get().into_iter().flatten();
        tenants.filter_map(Weak::upgrade).any(|tenant| is(&*tenant))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The upkeep tasks wait for work; they find nothing left and end.
        self.work.ring();
    }
}

fn closed() -> StoreFault {
    StoreFault::Deferred("the mailboxes are closed".to_owned())
}
