//! What becomes of a message that storage has: it is kept for a while, and can be handed over again after a loss.
//!
//! What must hold: a copy that is kept never stands in the way of new mail. The oldest are given up when their time is over, when copies take more than half of
//! the spool, and when a message needs their place. An entry that waits is never given up here. And a copy is not made where the log has room for
//! removals only.

use queue::{Entry, QueueFault, QueueId, UnixSeconds};
use store::StoreFault;

use crate::limits::{GIVEN_UP_AT_ONCE, ROOM_TRIES};
use crate::{Inner, Spool, SpoolFault, since, spool_fault};

impl Spool {
    /// Storage has these durably: they wait no more, in one durable step for every few of them, and are kept if copies are. Called by one task at a time.
    pub async fn done(&self, entries: &[Entry]) -> Result<(), SpoolFault> {
        let inner = &self.inner;
        let there = entries
            .iter()
            .filter(|entry| inner.waiting.borrow().contains(&entry.id));
        let there: Vec<&Entry> = there.collect();
        let ids: Vec<QueueId> = there.iter().map(|entry| entry.id).collect();
        let is_full = |result: &Result<(), QueueFault>| {
            matches!(result, Err(QueueFault::Store(StoreFault::Full)))
        };
        let mut left = Err(QueueFault::Store(StoreFault::Full));
        let has_room = inner.has_room();
        if !has_room {
            inner.queue.tenancy().hurry();
        }
        if inner.settings.keep_s > 0 && has_room {
            left = inner.queue.keep_all(&ids, self.now()).await;
        }
        if is_full(&left) {
            left = inner.queue.remove_all(&ids).await;
        }
        // Of several steps some may have been made before one failed.
        let mut gone = 0;
        for entry in there {
            let now = inner.queue.entry(entry.id);
            if now.as_ref().is_some_and(|now| !now.held) {
                continue;
            }
            inner.waiting.borrow_mut().remove(&entry.id);
            inner.gauges.leave(u64::from(entry.body.raw_bytes));
            now.iter().for_each(|now| inner.place(now));
            gone += 1;
        }
        inner.gauges.note_handed(gone);
        inner.note_oldest();
        left.map_err(spool_fault)?;
        self.trim().await;
        Ok(())
    }

    /// Gives up copies whose time is over, and those past the half of the spool that copies may take. Called now and then.
    pub async fn trim(&self) {
        let (inner, now) = (&self.inner, self.now());
        let settings = &inner.settings;
        loop {
            // until what is left may stay; each round gives one up at least, or ends it
            let gauges = &inner.gauges;
            let (mut count, mut bytes) = (gauges.kept(), gauges.kept_bytes());
            let old = inner.oldest_kept(|copy| {
                let is_much = bytes > settings.bytes_max / 2 || count > settings.messages_max / 2;
                count = count.saturating_sub(1);
                bytes = bytes.saturating_sub(u64::from(copy.body.raw_bytes));
                is_much || now.0 >= since(copy).0.saturating_add(settings.keep_s)
            });
            if old.is_empty() || !inner.give_up(&old).await {
                return;
            }
        }
    }

    /// Has every copy that was handed over at `from` or later wait again, the oldest first. How many that are. `Err`: the rest is as it was.
    pub async fn redeliver(&self, from: UnixSeconds) -> Result<usize, SpoolFault> {
        let inner = &self.inner;
        let wanted: Vec<(UnixSeconds, QueueId)> = {
            let kept = inner.kept.borrow();
            kept.range((from, QueueId(0))..).copied().collect()
        };
        let mut count = 0;
        for some in wanted.chunks(GIVEN_UP_AT_ONCE) {
            if !inner.room_comes().await {
                return Err(SpoolFault::Full);
            }
            // Those that were given up meanwhile are not there.
            let some = inner.out_of_kept(some);
            let ids: Vec<QueueId> = some.iter().map(|(_, id)| *id).collect();
            let released = inner.queue.release_all(&ids).await;
            for id in ids {
                let Some(entry) = inner.queue.entry(id) else {
                    continue;
                };
                if !entry.held {
                    inner.gauges.enter(u64::from(entry.body.raw_bytes));
                    count += 1;
                }
                inner.place(&entry);
            }
            inner.note_oldest();
            released.map_err(spool_fault)?;
            inner.arrived.ring();
        }
        Ok(count)
    }

    /// Copies by the time of their hand-over, behind `after`, at most `count_max`.
    pub fn kept(&self, after: Option<(UnixSeconds, QueueId)>, count_max: usize) -> Vec<Entry> {
        let inner = &self.inner;
        let kept = inner.kept.borrow();
        let from = after.map_or((UnixSeconds(0), QueueId(0)), |(at, id)| {
            (at, QueueId(id.0 + 1))
        });
        let ids = kept.range(from..).take(count_max);
        ids.filter_map(|(_, id)| inner.queue.entry(*id)).collect()
    }

    fn now(&self) -> UnixSeconds {
        let host = &self.inner.queue.tenancy().io().host;
        UnixSeconds(u64::try_from(host.unix_seconds()).unwrap_or(0))
    }
}

impl Inner {
    /// Whether the log has room beyond what is reserved for removals. Keeping and releasing write and free nothing: out of that reserve they would end
    /// in a full spool that cannot note a hand-over any more, and empties never.
    fn has_room(&self) -> bool {
        self.queue.tenancy().store().admits_bodies()
    }

    /// Waits for what was given up to come back as room. `false`: it does not.
    async fn room_comes(&self) -> bool {
        let tenancy = self.queue.tenancy();
        for _ in 0..ROOM_TRIES {
            if self.has_room() {
                return true;
            }
            let eased = tenancy.eased();
            tenancy.hurry();
            eased.await;
        }
        self.has_room()
    }

    /// Makes place for one more message, by numbers.
    pub(crate) async fn give_way(&self, addressees: usize) {
        loop {
            // until it fits, or no copy is left
            let (gauges, settings) = (&self.gauges, &self.settings);
            let mut count = gauges.waiting() + gauges.kept();
            let mut bytes = gauges.bytes() + gauges.kept_bytes();
            let mut addressees = self.queue.addressees() + addressees;
            let old = self.oldest_kept(|copy| {
                let is_much = count > settings.messages_max
                    || bytes > settings.bytes_max
                    || addressees > settings.addressees_max;
                count = count.saturating_sub(1);
                bytes = bytes.saturating_sub(u64::from(copy.body.raw_bytes));
                addressees = addressees.saturating_sub(copy.recipients.len());
                is_much
            });
            if old.is_empty() || !self.give_up(&old).await {
                return;
            }
        }
    }

    /// Gives up the older half of the copies. `false`: there is none.
    pub(crate) async fn give_up_half(&self) -> bool {
        let old: Vec<(UnixSeconds, QueueId)> = {
            let kept = self.kept.borrow();
            kept.iter().take(kept.len().div_ceil(2)).copied().collect()
        };
        !old.is_empty() && self.give_up(&old).await
    }

    /// The oldest copies for as long as `may_go`, one by one; at most `GIVEN_UP_AT_ONCE`.
    fn oldest_kept(&self, mut may_go: impl FnMut(&Entry) -> bool) -> Vec<(UnixSeconds, QueueId)> {
        let kept = self.kept.borrow();
        let old = kept.iter().take_while(|(_, id)| {
            let copy = self.queue.entry(*id);
            copy.is_none_or(|copy| may_go(&copy))
        });
        old.take(GIVEN_UP_AT_ONCE).copied().collect()
    }

    /// Takes these copies out for ever. `false`: that is not possible now, and they stay.
    async fn give_up(&self, old: &[(UnixSeconds, QueueId)]) -> bool {
        let old = self.out_of_kept(old);
        let ids: Vec<QueueId> = old.iter().map(|(_, id)| *id).collect();
        let removed = self.queue.remove_all(&ids).await;
        if let Err(fault) = &removed {
            tracing::warn!(%fault, "copies in the spool cannot be given up now");
        }
        for entry in ids.iter().filter_map(|id| self.queue.entry(*id)) {
            self.place(&entry);
        }
        removed.is_ok()
    }

    /// Those of `some` that are kept, which no other caller sees until they are placed again.
    fn out_of_kept(&self, some: &[(UnixSeconds, QueueId)]) -> Vec<(UnixSeconds, QueueId)> {
        let mut kept = self.kept.borrow_mut();
        let there = some.iter().filter(|each| kept.remove(each));
        let there: Vec<(UnixSeconds, QueueId)> = there.copied().collect();
        for entry in there.iter().filter_map(|(_, id)| self.queue.entry(*id)) {
            self.gauges.unkeep(u64::from(entry.body.raw_bytes));
        }
        there
    }
}
