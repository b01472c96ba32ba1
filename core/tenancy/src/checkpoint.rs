//! Memory goes into the projection from time to time, so that recovery has little to replay and memory can be let go.
//!
//! The rows of all tenants are collected in one turn: they are exactly f(log up to the last group applied). Mail goes on beside
//! the write. A checkpoint that fails loses nothing: what it held is still dirty, and the log has it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::Poll;

use base::host::sleep_us;
use store::{Lsn, StoreFault};
use volume::SegmentState;

use crate::limits::{RECLAIM_STEP_US, RECLAIM_STEP_US_MAX, UPKEEP_RETRY_US, UPKEEP_STEP_US};
use crate::{Inner, Tenancy};

impl Tenancy {
    /// Writes everything newer than the projection into it now.
    pub async fn checkpoint(&self) -> Result<(), StoreFault> {
        self.inner.checkpoint().await
    }
}

impl Inner {
    /// The tasks that checkpoint and reclaim for as long as there are tenants. Two of them: a long reclaim pass must not
    /// keep checkpoints waiting, nor the deliveries that wait for those.
    pub(crate) fn start_upkeep(self: &Rc<Self>) {
        let host = &self.io.host;
        host.spawn(Box::pin(checkpoints(Rc::downgrade(self))));
        host.spawn(Box::pin(reclaims(Rc::downgrade(self))));
    }

    /// One at a time; a second caller waits and then writes what came since.
    pub(crate) async fn checkpoint(&self) -> Result<(), StoreFault> {
        while self.checkpointing.get() {
            self.checkpointed.wait().await;
        }
        let _running = Running::begin(self);
        let tenants = self.tenants()?;
        for tenant in &tenants {
            tenant.before_checkpoint().await?;
        }
        // Nothing may be waited for from here until the store has begun: a pass would begin, and the tenants' rows would stand
        // for different positions.
        self.store.between_passes().await;
        let mut changes = Vec::new();
        for tenant in &tenants {
            let before = changes.len();
            tenant.collect(&mut changes);
            let tables = tenant.share().tables;
            let own = changes[before..]
                .iter()
                .all(|change| tables.contains(&change.table.0));
            assert!(own, "a tenant writes its own tables only");
        }
        let is_nothing_new = changes.is_empty() && self.store.since_checkpoint().groups == 0;
        if is_nothing_new && !self.store.checkpoint_gives() {
            return Ok(());
        }
        debug_assert!(self.store.is_between_passes());
        self.store.checkpoint(changes, self.applied.get()).await?;
        for tenant in &tenants {
            tenant.settle();
        }
        Ok(())
    }

    /// Whether the store would empty segments: half of the volume is taken (`store::limits::RECLAIM_IDLE_PART`).
    fn is_filling(&self) -> bool {
        let segments = self.store.volume().segments();
        let free_count = segments
            .iter()
            .filter(|segment| segment.state == SegmentState::Free)
            .count();
        free_count * 2 <= segments.len()
    }

    fn checkpoint_is_due(&self, waited_us: u64) -> bool {
        let since = self.store.since_checkpoint();
        since.groups >= self.settings.checkpoint_groups
            || since.bytes >= self.settings.checkpoint_bytes
            || waited_us >= self.settings.checkpoint_us
            || self.any(|tenant| tenant.is_behind(2))
            || self.store.owes_much()
    }
}

struct Running<'a>(&'a Inner);
impl<'a> Running<'a> {
    fn begin(inner: &'a Inner) -> Running<'a> {
        inner.checkpointing.set(true);
        Running(inner)
    }
}
impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.checkpointing.set(false);
        self.0.checkpointed.ring();
    }
}

async fn checkpoints(tenancy: Weak<Inner>) {
    let mut dirty_since = None;
    loop {
        // until the last tenant is gone
        let Some(inner) = tenancy.upgrade().filter(|inner| !inner.closed.get()) else {
            return;
        };
        let now = inner.io.host.now();
        let mut rest = Rest::For(UPKEEP_STEP_US);
        if !inner.any(|tenant| tenant.is_dirty()) && inner.store.since_checkpoint().groups == 0 {
            dirty_since = None;
            rest = Rest::UntilWork;
        } else if inner.store.volume().refuses().is_some() {
            rest = Rest::For(UPKEEP_RETRY_US);
        } else if inner.checkpoint_is_due(now.since_us(*dirty_since.get_or_insert(now))) {
            match inner.checkpoint().await {
                Ok(()) => dirty_since = None,
                Err(fault) => {
                    tracing::error!(%fault, "a checkpoint failed; the log keeps everything, the next attempt follows");
                    rest = Rest::For(UPKEEP_RETRY_US);
                }
            }
        }
        take(rest, inner).await;
    }
}

async fn reclaims(tenancy: Weak<Inner>) {
    let mut step_us = RECLAIM_STEP_US;
    let mut seen = Lsn(0);
    loop {
        // until the last tenant is gone
        let Some(inner) = tenancy.upgrade().filter(|inner| !inner.closed.get()) else {
            return;
        };
        let applied = inner.applied.get();
        let refuses = inner.store.volume().refuses().is_some();
        if refuses {
            // No room can be made; callers that wait for it get an error, and what is filled is looked at after the usual rest.
            inner.hurried.set(false);
            inner.eased.ring();
        } else if inner.hurried.get() {
            inner.make_room().await;
        }
        let freed_count = if inner.is_filling() && !refuses {
            inner.reclaim().await
        } else {
            0
        };
        // What cannot be freed now is looked at again, ever more rarely while nothing happens.
        step_us = if applied != seen || freed_count > 0 {
            RECLAIM_STEP_US
        } else {
            (step_us * 2).min(RECLAIM_STEP_US_MAX)
        };
        seen = applied;
        let rest = if inner.is_filling() {
            Rest::For(step_us)
        } else {
            Rest::UntilWork
        };
        if inner.hurried.get() {
            continue;
        }
        let (host, hurry) = (inner.io.host.clone(), inner.hurry.wait());
        let rested = async {
            let pause = matches!(rest, Rest::UntilWork).then_some(RECLAIM_STEP_US);
            take(rest, inner).await;
            if let Some(us) = pause {
                sleep_us(&*host, us).await;
            }
        };
        first_of(rested, hurry).await;
    }
}

enum Rest {
    UntilWork,
    For(u64),
}

async fn first_of(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|context| match one.as_mut().poll(context) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => other.as_mut().poll(context),
    })
    .await;
}

/// Rests without keeping the tenancy alive.
async fn take(rest: Rest, inner: Rc<Inner>) {
    let host = inner.io.host.clone();
    let work = inner.work.wait();
    drop(inner);
    match rest {
        Rest::UntilWork => work.await,
        Rest::For(us) => sleep_us(&*host, us).await,
    }
}
