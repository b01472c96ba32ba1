//! Memory that many connections share, in bytes, with a bound: past it the answer is no, not growth.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that may be in use at once. Clones share it, across threads.
#[derive(Debug, Clone)]
pub struct Budget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    used_bytes: AtomicUsize,
    bytes_max: usize,
}

/// Bytes taken from a budget; given back when dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    pub fn new(bytes_max: usize) -> Budget {
        Budget {
            shared: Arc::new(Shared {
                used_bytes: AtomicUsize::new(0),
                bytes_max,
            }),
        }
    }

    /// Takes `bytes`, or `None` when that many are not left: the peer is asked to come back later.
    pub fn take(&self, bytes: usize) -> Option<Charge> {
        let mut charge = Charge {
            budget: self.clone(),
            bytes: 0,
        };
        charge.grow(bytes).then_some(charge)
    }

    pub fn used_bytes(&self) -> usize {
        self.shared.used_bytes.load(Ordering::Relaxed)
    }

    pub fn bytes_max(&self) -> usize {
        self.shared.bytes_max
    }
}

impl Charge {
    /// Takes `bytes` more; `false`, and nothing taken, when they are not left.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let shared = &self.budget.shared;
        let fits = |used: usize| {
            used.checked_add(bytes)
                .filter(|sum| *sum <= shared.bytes_max)
        };
        let taken = shared
            .used_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .is_ok();
        if taken {
            self.bytes += bytes;
        }
        taken
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let before = self
            .budget
            .shared
            .used_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
        assert!(before >= self.bytes, "a budget is given back once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_budget_says_no_until_a_charge_comes_back() {
        let budget = Budget::new(100);
        let mut first = budget.take(60).expect("room");
        assert!(budget.take(50).is_none());
        assert!(first.grow(40));
        assert!(!first.grow(1));
        assert!(!first.grow(usize::MAX));
        assert_eq!(budget.used_bytes(), 100);
        drop(first);
        assert_eq!(budget.used_bytes(), 0);
        assert!(budget.take(100).is_some());
    }
}
