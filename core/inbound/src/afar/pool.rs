//! Connections of one core that wait for the next message to their storage node.

use std::cell::RefCell;
use std::collections::VecDeque;

use base::Time;
use runtime::Dialled;

use super::limits::{CARRIED_MAX, IDLE_FOR, IDLE_MAX};
use super::talk::Talk;

/// Connections, each with the time since which it waits.
type Waiting<C> = VecDeque<(Talk<C>, Time)>;

/// By the index of the storage node. Each list is bounded by `IDLE_MAX`; the one that waited longest is in front. `None`: none is kept any more.
pub(super) struct Pool<C> {
    idle: RefCell<Option<Vec<Waiting<C>>>>,
}

impl<C: Dialled> Pool<C> {
    pub fn new(targets: usize) -> Pool<C> {
        let lists = (0..targets).map(|_| VecDeque::new());
        Pool {
            idle: RefCell::new(Some(lists.collect())),
        }
    }

    /// The one that was used last: the others may end by their age.
    pub fn take(&self, target: usize, now: Time) -> Option<Talk<C>> {
        self.forget_old(now);
        let mut idle = self.idle.borrow_mut();
        let list = idle.as_mut()?.get_mut(target)?;
        list.pop_back().map(|(talk, _)| talk)
    }

    /// Keeps it, unless there are enough or it has carried enough.
    pub fn put(&self, target: usize, talk: Talk<C>, now: Time) {
        self.forget_old(now);
        if talk.carried >= CARRIED_MAX {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let list = idle.as_mut().and_then(|all| all.get_mut(target));
        if let Some(list) = list.filter(|list| list.len() < IDLE_MAX) {
            list.push_back((talk, now));
        }
    }

    /// None of a storage node that failed is of any use.
    pub fn clear(&self, target: usize) {
        let mut idle = self.idle.borrow_mut();
        if let Some(list) = idle.as_mut().and_then(|all| all.get_mut(target)) {
            list.clear();
        }
    }

    /// Closes all, and keeps none from now on: the core stops, and waits for connections to end.
    pub fn close(&self) {
        *self.idle.borrow_mut() = None;
    }

    pub fn forget_old(&self, now: Time) {
        let mut idle = self.idle.borrow_mut();
        for list in idle.iter_mut().flatten() {
            let is_old =
                |(_, since): &(Talk<C>, Time)| now.since_us(*since) > IDLE_FOR.as_micros() as u64;
            while list.front().is_some_and(is_old) {
                list.pop_front();
            }
        }
    }
}
