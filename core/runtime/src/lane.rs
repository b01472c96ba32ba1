//! The way from one core to another: a bounded queue and one doorbell. A full lane is an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

use base::Full;
use crossbeam::queue::ArrayQueue;
use tokio::sync::Notify;

use crate::stall;

/// The sending end; clones share one lane. Any thread.
pub struct Lane<T> {
    shared: Arc<Shared<T>>,
}

/// The receiving end: one core.
pub struct LaneEnd<T> {
    shared: Arc<Shared<T>>,
}

/// What both ends have.
struct Shared<T> {
    /// The items on their way.
    items: ArrayQueue<T>,
    /// Rung for a receiver that waits.
    bell: Notify,
    /// Set by the receiver before it waits, so that a busy lane costs no bell.
    waiting: AtomicBool,
    /// Sending ends that are left.
    senders: AtomicUsize,
    /// The receiving end is gone.
    ended: AtomicBool,
}

/// A lane with room for `items_max` items (at least one).
pub fn lane<T>(items_max: usize) -> (Lane<T>, LaneEnd<T>) {
    let shared = Arc::new(Shared {
        items: ArrayQueue::new(items_max),
        bell: Notify::new(),
        waiting: AtomicBool::new(false),
        senders: AtomicUsize::new(1),
        ended: AtomicBool::new(false),
    });
    (
        Lane {
            shared: shared.clone(),
        },
        LaneEnd { shared },
    )
}

impl<T> Lane<T> {
    /// Hands `item` over, or gives it back when the lane is full or its other end is gone.
    pub fn push(&self, item: T) -> Result<(), Full<T>> {
        if self.shared.ended.load(Ordering::Acquire) {
            return Err(Full(item));
        }
        self.shared.items.push(item).map_err(Full)?;
        // The end stores `ended` and then empties the lane: one of the two sees what the other did.
        fence(Ordering::SeqCst);
        if self.shared.ended.load(Ordering::Relaxed) {
            self.shared.empty();
        }
        self.shared.ring();
        Ok(())
    }

    /// Items on their way; a gauge, not a promise.
    pub fn len(&self) -> usize {
        self.shared.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.shared.items.is_empty()
    }
}

impl<T> Shared<T> {
    /// What was on its way is dropped, so that a caller that waits for an answer learns that none will come.
    fn empty(&self) {
        while self.items.pop().is_some() {}
    }

    /// Rings only for a receiver that waits: waking a busy core would cost a system call for each item.
    fn ring(&self) {
        // The swap is sequentially consistent with the receiver's store and its second look at the queue.
        if self.waiting.swap(false, Ordering::SeqCst) {
            self.bell.notify_one();
        }
    }
}

impl<T> Clone for Lane<T> {
    fn clone(&self) -> Self {
        self.shared.senders.fetch_add(1, Ordering::Relaxed);
        Lane {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Drop for Lane<T> {
    fn drop(&mut self) {
        if self.shared.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.bell.notify_one();
        }
    }
}

impl<T> LaneEnd<T> {
    /// The next item, in the order pushed; `None` once every sender is gone and the lane is empty. Cancel-safe.
    pub async fn next(&mut self) -> Option<T> {
        let item = self.item().await;
        stall::arm();
        item
    }

    /// The next item. After it has set `waiting` the receiver looks into the queue once more: an item that was pushed
    /// before a sender could see `waiting` rang no bell.
    async fn item(&mut self) -> Option<T> {
        loop {
            if let Some(item) = self.shared.items.pop() {
                return Some(item);
            }
            let heard = self.shared.bell.notified();
            self.shared.waiting.store(true, Ordering::SeqCst);
            if let Some(item) = self.shared.items.pop() {
                return Some(item);
            }
            if self.shared.senders.load(Ordering::Acquire) == 0 {
                return None;
            }
            heard.await;
        }
    }

    /// The next item, if one is there.
    pub fn try_next(&mut self) -> Option<T> {
        self.shared.items.pop()
    }
}

impl<T> Drop for LaneEnd<T> {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        self.shared.empty();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime")
            .block_on(future)
    }

    #[test]
    fn a_full_lane_gives_the_item_back() {
        let (lane, mut end) = lane(2);
        assert_eq!(lane.push(1), Ok(()));
        assert_eq!(lane.push(2), Ok(()));
        assert_eq!(lane.push(3), Err(Full(3)));
        assert_eq!(end.try_next(), Some(1));
        assert_eq!(lane.push(3), Ok(()));
    }

    /// A caller that pushes at that moment would wait for an answer as long as the lane is held.
    #[test]
    fn nothing_stays_in_a_lane_that_ends_while_it_is_filled() {
        for _ in 0..200 {
            let (lane, end) = lane(64);
            let start = std::sync::Barrier::new(3);
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        start.wait();
                        while lane.push(1).is_ok() {}
                    });
                }
                start.wait();
                drop(end);
            });
            assert!(lane.is_empty());
        }
    }

    #[test]
    fn a_lane_without_its_end_takes_nothing() {
        let (lane, end) = lane(2);
        drop(end);
        assert_eq!(lane.push(1), Err(Full(1)));
    }

    #[test]
    fn no_item_and_no_bell_is_lost_between_threads() {
        const PER_SENDER: u64 = 20_000;
        let (lane, mut end) = lane(64);
        let senders: Vec<_> = (0..3u64)
            .map(|sender| {
                let lane = lane.clone();
                std::thread::spawn(move || {
                    for number in 0..PER_SENDER {
                        let mut item = sender * PER_SENDER + number;
                        while let Err(Full(back)) = lane.push(item) {
                            item = back;
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        drop(lane);
        let mut last = [None; 3];
        let mut count = 0;
        block_on(async {
            while let Some(item) = end.next().await {
                let sender = (item / PER_SENDER) as usize;
                assert!(
                    last[sender].is_none_or(|before| before < item),
                    "one sender's items keep their order"
                );
                last[sender] = Some(item);
                count += 1;
            }
        });
        assert_eq!(count, 3 * PER_SENDER);
        for sender in senders {
            sender.join().expect("the sender ends");
        }
    }
}
