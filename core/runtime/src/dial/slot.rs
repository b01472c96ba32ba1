//! The count of a dialler's open connections in memory, kept by the connections themselves.

use std::cell::Cell;
use std::rc::Rc;

/// One of a dialler's connections, for as long as it lives.
pub(crate) struct Slot {
    open: Rc<Cell<usize>>,
}

impl Slot {
    /// Counts one more in `open` until the slot is dropped.
    pub fn take(open: &Rc<Cell<usize>>) -> Slot {
        open.set(open.get() + 1);
        Slot { open: open.clone() }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}
