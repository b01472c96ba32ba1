//! Memory goes into the projection from time to time, so that recovery has little to replay and memory can be let go.
//!
//! The rows are collected in one turn: they are exactly f(log up to the last group applied). Mail goes on beside the write. A
//! checkpoint that fails loses nothing: what it held is still dirty, and the log has it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::Poll;

use base::host::sleep_us;
use store::{Change, Lsn};
use volume::SegmentState;

use crate::inner::{Inner, broken, unavailable};
use crate::limits::{
    CONDEMNED_PER_CHECKPOINT, CONDEMNED_ROWS_PER_CHECKPOINT, RECLAIM_STEP_US, RECLAIM_STEP_US_MAX,
    UPKEEP_RETRY_US, UPKEEP_STEP_US,
};
use crate::row::{self, Chunk};
use crate::{MailboxFault, MailboxId, Mailboxes};

impl Mailboxes {
    /// Checkpoints what is in memory; for a clean stop. Later changes are refused.
    pub async fn close(&self) -> Result<(), MailboxFault> {
        self.inner.closed.set(true);
        self.inner.work.ring();
        self.inner.checkpoint().await
    }

    /// Writes everything newer than the projection into it now.
    pub async fn checkpoint(&self) -> Result<(), MailboxFault> {
        self.inner.checkpoint().await
    }

    /// The tasks that checkpoint and reclaim for as long as anybody holds these mailboxes. Two of them: a long reclaim pass must not
    /// keep checkpoints waiting, nor the deliveries that wait for those.
    pub(crate) fn start_upkeep(&self) {
        let host = &self.inner.io.host;
        host.spawn(Box::pin(checkpoints(Rc::downgrade(&self.inner))));
        host.spawn(Box::pin(reclaims(Rc::downgrade(&self.inner))));
    }
}

impl Inner {
    /// One at a time; a second caller waits and then writes what came since.
    pub async fn checkpoint(&self) -> Result<(), MailboxFault> {
        while self.checkpointing.get() {
            self.checkpointed.wait().await;
        }
        let _running = Running::begin(self);
        let cleared = self.clear_condemned().await?;
        // Nothing may be waited for from here until the store has begun: a pass would begin.
        self.store.between_passes().await;
        let mut collected = self.state.borrow_mut().collect();
        let mut changes = std::mem::take(&mut collected.changes);
        changes.extend(cleared.changes);
        let is_nothing_new = changes.is_empty() && self.store.since_checkpoint().groups == 0;
        if is_nothing_new && !self.store.checkpoint_gives() {
            return Ok(());
        }
        debug_assert!(self.store.is_between_passes());
        self.store
            .checkpoint(changes, collected.applied)
            .await
            .map_err(unavailable)?;
        let mut state = self.state.borrow_mut();
        state.settle(&collected);
        for (mailbox, cleared_to) in cleared.mailboxes {
            match cleared_to {
                None => _ = state.condemned.remove(&mailbox),
                Some(chunk) => {
                    if let Some(condemned) = state.condemned.get_mut(&mailbox) {
                        condemned.cleared_to = chunk;
                    }
                }
            }
        }
        Ok(())
    }

    /// Some rows of deleted mailboxes. Nobody looks at them any more, so they may go at any checkpoint after the one that
    /// wrote the deletion down.
    async fn clear_condemned(&self) -> Result<Cleared, MailboxFault> {
        let mailboxes: Vec<(MailboxId, Chunk)> = {
            let state = self.state.borrow();
            let written = state
                .condemned
                .iter()
                .filter(|(_, condemned)| condemned.dirty.is_none());
            written
                .take(CONDEMNED_PER_CHECKPOINT)
                .map(|(id, condemned)| (*id, condemned.cleared_to))
                .collect()
        };
        let mut cleared = Cleared::default();
        for (mailbox, from) in mailboxes {
            let (from, to) = (
                row::chunk_key(mailbox, from),
                row::mailbox_key(MailboxId(mailbox.0 + 1)),
            );
            let rows = self
                .store
                .range(row::CHUNKS, from, to, CONDEMNED_ROWS_PER_CHECKPOINT)
                .await
                .map_err(unavailable)?;
            let cleared_to = match rows.last() {
                Some((key, _)) if rows.len() == CONDEMNED_ROWS_PER_CHECKPOINT => {
                    Some(row::read_chunk_key(key).map_err(broken)?.1.next())
                }
                _ => None,
            };
            cleared
                .changes
                .extend(rows.into_iter().map(|(key, _)| Change {
                    table: row::CHUNKS,
                    key,
                    value: None,
                }));
            if cleared_to.is_none() {
                cleared.changes.push(Change {
                    table: row::CONDEMNED,
                    key: row::mailbox_key(mailbox),
                    value: None,
                });
            }
            cleared.mailboxes.push((mailbox, cleared_to));
        }
        Ok(cleared)
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
            || self.state.borrow().is_behind(2)
            || self.store.owes_much()
    }
}

#[derive(Default)]
struct Cleared {
    changes: Vec<Change>,
    /// `None`: nothing is left of it.
    mailboxes: Vec<(MailboxId, Option<Chunk>)>,
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

async fn checkpoints(mailboxes: Weak<Inner>) {
    let mut dirty_since = None;
    loop {
        // until nobody holds the mailboxes
        let Some(inner) = mailboxes.upgrade().filter(|inner| !inner.closed.get()) else {
            return;
        };
        let now = inner.io.host.now();
        let mut rest = Rest::For(UPKEEP_STEP_US);
        if !inner.state.borrow().is_dirty() && inner.store.since_checkpoint().groups == 0 {
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

async fn reclaims(mailboxes: Weak<Inner>) {
    let mut step_us = RECLAIM_STEP_US;
    let mut seen = Lsn(0);
    loop {
        // until nobody holds the mailboxes
        let Some(inner) = mailboxes.upgrade().filter(|inner| !inner.closed.get()) else {
            return;
        };
        let applied = inner.state.borrow().applied;
        let refuses = inner.store.volume().refuses().is_some();
        if refuses {
            // Nothing can be made room for; whoever waits for it hears so, and what is filled is looked at after the usual rest.
            inner.hurried.set(false);
            inner.eased.ring();
        } else if inner.hurried.get() {
            inner.make_room().await;
        }
        let freed_count = if inner.is_filling() && !refuses {
            Mailboxes {
                inner: inner.clone(),
            }
            .reclaim()
            .await
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

/// Rests without keeping the mailboxes alive.
async fn take(rest: Rest, inner: Rc<Inner>) {
    let host = inner.io.host.clone();
    let work = inner.work.wait();
    drop(inner);
    match rest {
        Rest::UntilWork => work.await,
        Rest::For(us) => sleep_us(&*host, us).await,
    }
}
