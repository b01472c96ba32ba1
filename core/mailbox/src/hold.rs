//! What an operation works on stays in memory until it is done, and what it promised stays in force (`Hold`).

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use base::host::Bell;
use mail::Uid;

use crate::state::{AccountEntry, MailboxEntry};
use crate::{AccountId, MailboxId};

/// What is loaded by one task at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Object {
    Mailbox(MailboxId),
    Account(AccountId),
}

/// Keeps objects in memory and promises in force; letting go of it takes all of it back.
#[derive(Default)]
pub struct Hold {
    undo: Vec<Undo>,
    /// Rung when promises end.
    bell: Option<Bell>,
}

enum Undo {
    Uncount(Rc<Cell<u32>>),
    Unreserve(Rc<Cell<u64>>, u64),
    Unset(Rc<Cell<bool>>),
    Stay(Rc<RefCell<BTreeSet<Uid>>>, Vec<Uid>),
    Run(Box<dyn FnOnce()>),
    /// The account's row in the directory; dropped.
    Row {
        _pin: directory::Pin,
    },
}

impl Hold {
    pub fn pin(&mut self, count: &Rc<Cell<u32>>) {
        count.set(count.get() + 1);
        self.undo.push(Undo::Uncount(count.clone()));
    }
    /// The mailbox has an operation under way that is not applied yet; `bell` rings when it ends.
    pub fn pend(&mut self, entry: &MailboxEntry, bell: &Bell) {
        self.pin(&entry.pending);
        self.bell = Some(bell.clone());
    }
    pub fn reserve(&mut self, entry: &AccountEntry, bytes: u64) {
        entry.reserved_bytes.set(entry.reserved_bytes.get() + bytes);
        self.undo
            .push(Undo::Unreserve(entry.reserved_bytes.clone(), bytes));
    }
    /// Sets `flag` until let go.
    pub fn set(&mut self, flag: &Rc<Cell<bool>>, bell: &Bell) {
        assert!(!flag.replace(true), "one holder at a time");
        self.undo.push(Undo::Unset(flag.clone()));
        self.bell = Some(bell.clone());
    }
    pub fn leave(&mut self, entry: &MailboxEntry, uids: Vec<Uid>) {
        entry.leaving.borrow_mut().extend(uids.iter().copied());
        self.undo.push(Undo::Stay(entry.leaving.clone(), uids));
    }
    pub fn row(&mut self, pin: directory::Pin) {
        self.undo.push(Undo::Row { _pin: pin });
    }
    pub fn finally(&mut self, run: impl FnOnce() + 'static) {
        self.undo.push(Undo::Run(Box::new(run)));
    }
    pub fn join(&mut self, mut other: Hold) {
        self.undo.append(&mut other.undo);
        self.bell = self.bell.take().or(other.bell.take());
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        for undo in self.undo.drain(..) {
            match undo {
                Undo::Uncount(count) => count.set(count.get() - 1),
                Undo::Unreserve(count, bytes) => count.set(count.get() - bytes),
                Undo::Unset(flag) => flag.set(false),
                Undo::Stay(leaving, uids) => {
                    let mut leaving = leaving.borrow_mut();
                    uids.iter().for_each(|uid| _ = leaving.remove(uid));
                }
                Undo::Run(run) => run(),
                Undo::Row { .. } => {}
            }
        }
        if let Some(bell) = self.bell.take() {
            bell.ring();
        }
    }
}
