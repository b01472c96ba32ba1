//! A cell that remembers that it was borrowed for writing, so that `check` looks only at what may have changed.

use std::cell::{Cell, Ref, RefCell, RefMut};

/// A `RefCell` that knows whether its content may have changed since it was checked.
pub(crate) struct Checked<T> {
    value: RefCell<T>,
    changed: Cell<bool>,
}

impl<T> Checked<T> {
    pub fn new(value: T) -> Checked<T> {
        Checked {
            value: RefCell::new(value),
            changed: Cell::new(true),
        }
    }

    /// Whether it may have changed since this was last asked.
    pub fn take_changed(&self) -> bool {
        self.changed.replace(false)
    }

    pub fn borrow(&self) -> Ref<'_, T> {
        self.value.borrow()
    }

    pub fn borrow_mut(&self) -> RefMut<'_, T> {
        self.changed.set(true);
        self.value.borrow_mut()
    }
}
