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

/// Where the part of a message begins that travels; `first` are its first bytes. A copy that submission placed here has a Return-Path in front,
/// which final delivery alone may add (RFC 5321 §4.4).
pub fn travels_from(first: &[u8]) -> usize {
    if !first.starts_with(b"Return-Path: <") {
        return 0;
    }
    memchr::memchr(b'\n', first).map_or(0, |end| end + 1)
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

    /// The site of the server that a route names for it.
    pub fn routed(&self, recipient: u32) -> Option<&str> {
        self.lease.routed.get(&recipient).map(String::as_str)
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

#[cfg(test)]
mod tests {
    use super::travels_from;

    #[test]
    fn a_return_path_stays_here() {
        let ours = b"Return-Path: <ann@example.org>\r\nReceived: from x";
        assert_eq!(&ours[travels_from(ours)..], b"Received: from x");
        for other in [
            &b""[..],
            b"Received: x\r\n",
            b"Return-Path: <cut",
            b"return-path: x\r\n",
        ] {
            assert_eq!(travels_from(other), 0);
        }
    }
}
