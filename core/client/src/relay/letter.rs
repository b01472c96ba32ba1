//! A message under way: its lease, and what has become of its recipients since that began.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use base::host::Bell;
use queue::{Entry, RecipientState};
use storage::outgoing::Lease;

/// Shared by the tries of one message; the lease ends with the last of them.
pub struct Letter {
    lease: Lease,
    states: RefCell<Vec<RecipientState>>,
    /// Its sender heard that it waits, or hears it now.
    pub warned: Cell<bool>,
    _counted: Counted,
}

/// Some recipients of one message that go the same way.
pub struct Job {
    pub letter: Rc<Letter>,
    /// Indexes; at most `RECIPIENTS_PER_TRANSACTION`.
    pub recipients: Vec<u32>,
}

/// Messages under way.
#[derive(Clone, Default)]
pub struct Count {
    count: Rc<Cell<usize>>,
    /// Rung when there is one less.
    pub bell: Bell,
}

struct Counted(Count);

impl Count {
    pub fn get(&self) -> usize {
        self.count.get()
    }

    fn one_more(&self) -> Counted {
        self.count.set(self.count.get() + 1);
        Counted(self.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        self.0.bell.ring();
    }
}

impl Letter {
    pub fn new(lease: Lease, count: &Count) -> Rc<Letter> {
        let states = lease.entry.recipients.iter().map(|each| each.state);
        Rc::new(Letter {
            states: RefCell::new(states.collect()),
            warned: Cell::new(lease.entry.warned),
            lease,
            _counted: count.one_more(),
        })
    }

    /// As it was when the lease began.
    pub fn entry(&self) -> &Entry {
        &self.lease.entry
    }

    pub fn is_here(&self, recipient: u32) -> bool {
        self.lease.here.contains(&recipient)
    }

    pub fn set_state(&self, recipient: u32, state: RecipientState) {
        if let Some(known) = self.states.borrow_mut().get_mut(recipient as usize) {
            *known = state;
        }
    }

    /// Recipients that still wait.
    pub fn waiting(&self) -> Vec<u32> {
        let states = self.states.borrow();
        let each = (0..).zip(states.iter());
        let waiting = each.filter(|(_, state)| matches!(state, RecipientState::Waiting(_)));
        waiting.map(|(index, _)| index).collect()
    }
}
