//! One task at a time for one name: what looks before it writes holds the lock from the look to the durable change.

use std::cell::RefCell;
use std::collections::HashSet;

use base::host::Bell;

#[derive(Default)]
pub struct Locks {
    held: RefCell<HashSet<String>>,
    bell: Bell,
}

impl Locks {
    /// Waits its turn. The number of waiters is bounded by the callers.
    pub async fn lock(&self, name: String) -> Locked<'_> {
        loop {
            let wait = self.bell.wait();
            if self.held.borrow_mut().insert(name.clone()) {
                return Locked { locks: self, name };
            }
            wait.await;
        }
    }

    /// The lock if it is free; `None`: another task has it. For those that must not wait, because they hold what its holder may wait for.
    pub fn try_lock(&self, name: String) -> Option<Locked<'_>> {
        let is_free = self.held.borrow_mut().insert(name.clone());
        // Made only then: one that is dropped lets the lock go.
        is_free.then(|| Locked { locks: self, name })
    }
}

/// The lock is let go when this is dropped.
pub struct Locked<'a> {
    locks: &'a Locks,
    name: String,
}
impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.locks.held.borrow_mut().remove(&self.name);
        self.locks.bell.ring();
    }
}
