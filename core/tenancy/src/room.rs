//! What a change may take from the reserve, and how room is made at once when there is none.
//!
//! A full volume does not wait for its timers: a caller that is refused, or that deletes, sets `hurry`, and the upkeep task runs rounds of checkpoint
//! and reclaim until mail fits again. Mail that was deleted makes room in two rounds: the first writes the deletion down and empties
//! segments, the second writes down that they are empty and frees them.

use std::rc::Rc;

use base::host::BellWait;
use store::{Purpose, StoreFault};

use crate::limits::{CHECKPOINTS_AWAITED, ROOM_ROUNDS_AWAITED, ROOM_ROUNDS_MAX, TIDY_ROUNDS};
use crate::{Inner, Tenancy, closed};

impl Tenancy {
    /// Waits until the projection is not too far behind the log. Changes begin here, so memory stays bounded when a checkpoint
    /// is slower than the mail that comes in.
    pub async fn keep_up(&self) -> Result<(), StoreFault> {
        let inner = &self.inner;
        // No queue moves and no checkpoint ends then: a waiting caller would wait for the devices.
        if let Some(why) = inner.store.volume().refuses() {
            return Err(StoreFault::Deferred(why));
        }
        // Before numbers are given: the order of the log is that of `append`, which does not wait.
        inner.store.room().await;
        if inner.closed.get() {
            return Err(closed());
        }
        for _attempt in 0..CHECKPOINTS_AWAITED {
            if !inner.any(|tenant| tenant.is_behind(4)) {
                return Ok(());
            }
            let done = inner.checkpointed.wait();
            inner.work.ring();
            done.await;
        }
        if !inner.any(|tenant| tenant.is_behind(4)) {
            return Ok(());
        }
        Err(StoreFault::Deferred("the index is behind".to_owned()))
    }

    /// Waits until the log would take a group for this `purpose` that changes some `rows`. What is kept is refused as `Full` unless a
    /// checkpoint alone makes room for it; a deletion waits for reclaim, which it feeds.
    pub async fn room_for(
        &self,
        purpose: Purpose,
        has_bodies: bool,
        rows: u64,
    ) -> Result<(), StoreFault> {
        self.keep_up().await?;
        let inner = &self.inner;
        let store = &inner.store;
        for _round in 0..ROOM_ROUNDS_AWAITED {
            if store.admits(purpose, has_bodies, rows) {
                return Ok(());
            }
            let helps = purpose == Purpose::Delete || store.owes_much() && !store.is_short();
            let eased = inner.eased.wait();
            inner.hurry();
            if !helps {
                break;
            }
            eased.await;
            if let Some(why) = store.volume().refuses() {
                return Err(StoreFault::Deferred(why));
            }
            if inner.closed.get() {
                break;
            }
        }
        if store.admits(purpose, has_bodies, rows) {
            return Ok(());
        }
        Err(StoreFault::Full)
    }

    /// A deletion that waits for locks and holds between its look for room and its append: reclaim goes on meanwhile and may take the room.
    /// `attempt` has had no effect when it answers `Full`, and is made again.
    pub async fn deleting<T, F: From<StoreFault> + PartialEq>(
        &self,
        rows: u64,
        attempt: impl AsyncFn() -> Result<T, F>,
    ) -> Result<T, F> {
        let full = || F::from(StoreFault::Full);
        for _attempt in 0..ROOM_ROUNDS_AWAITED {
            self.room_for(Purpose::Delete, false, rows).await?;
            match attempt().await {
                Err(fault) if fault == full() => {}
                done => return done,
            }
        }
        Err(full())
    }

    /// Has the upkeep task make room as soon as it can.
    pub fn hurry(&self) {
        self.inner.hurry();
    }

    /// Whether `hurry` was called and making room has not begun.
    pub fn is_hurried(&self) -> bool {
        self.inner.hurried.get()
    }

    /// Resolves after the next round of making room.
    pub fn eased(&self) -> BellWait {
        self.inner.eased.wait()
    }
}

impl Inner {
    pub(crate) fn hurry(&self) {
        self.hurried.set(true);
        self.hurry.ring();
    }

    /// Checkpoints, and reclaims where that is what is missing, until mail fits or nothing more comes of it.
    pub(crate) async fn make_room(self: &Rc<Self>) {
        let mut emptied_count = self.store.emptied_segments();
        let mut uncounted = self.store.uncounted_segments();
        if self.futile_at.get() == self.applied.get() {
            // Nothing happened since the last time that nothing came of it.
            self.hurried.set(false);
            self.eased.ring();
            return;
        }
        for _round in 0..ROOM_ROUNDS_MAX {
            self.hurried.set(false);
            let written = self.checkpoint().await;
            if let Err(fault) = &written {
                tracing::error!(%fault, "a checkpoint failed; the log keeps everything, the next attempt follows");
            }
            let freed_count = if self.store.is_short() {
                self.reclaim().await
            } else {
                0
            };
            let before = std::mem::replace(&mut emptied_count, self.store.emptied_segments());
            let unseen = std::mem::replace(&mut uncounted, self.store.uncounted_segments());
            let moves = freed_count > 0 || emptied_count > before || uncounted < unseen;
            self.eased.ring();
            if written.is_err() && freed_count == 0 || !self.store.is_short() {
                return;
            }
            if !moves {
                self.futile_at.set(self.applied.get());
                return;
            }
        }
    }

    /// Before a full volume is served again: gives back what earlier starts left half filled. Each start begins a segment, and the first
    /// deletion would keep it; started again and again, the volume would be used up.
    pub(crate) async fn tidy(self: &Rc<Self>) {
        for _round in 0..TIDY_ROUNDS {
            if !self.store.is_short() {
                return;
            }
            let written = self.checkpoint().await;
            // What an earlier checkpoint let go is freed even where there is no room for another one.
            let freed_count = self.reclaim().await;
            if let Err(fault) = written
                && freed_count == 0
            {
                tracing::warn!(%fault, "a full volume could not be tidied at its opening");
                return;
            }
        }
    }
}
