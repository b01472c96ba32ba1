//! Batch buffers: a fixed number, page-aligned, waited for when all are out. That wait is the volume's back-pressure.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use base::host::Bell;
use device::Buffer;

use crate::limits::ZOMBIE_BUFFERS_MAX;

/// Buffers made (and registered with a ring) elsewhere, handed over in `Settings`.
#[derive(Clone, Default)]
pub struct Premade(pub Rc<RefCell<Vec<Buffer>>>);

impl Premade {
    pub fn new(buffers: Vec<Buffer>) -> Premade {
        Premade(Rc::new(RefCell::new(buffers)))
    }
}

impl std::fmt::Debug for Premade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Premade({})", self.0.borrow().len())
    }
}

pub(crate) struct Pool {
    free: RefCell<Vec<Buffer>>,
    /// Written, answered, and still held by a device that has not let go.
    held: RefCell<Vec<Arc<Buffer>>>,
    replacements: Cell<usize>,
    buffer_bytes: usize,
    returned: Bell,
}

impl Pool {
    pub fn new(premade: &Premade, count: usize, buffer_bytes: usize) -> Rc<Pool> {
        let mut free: Vec<Buffer> = std::mem::take(&mut *premade.0.borrow_mut());
        free.retain(|buffer| buffer.len() >= buffer_bytes);
        while free.len() < count.max(1) {
            free.push(Buffer::zeroed(buffer_bytes));
        }
        Rc::new(Pool {
            free: RefCell::new(free),
            held: RefCell::default(),
            replacements: Cell::new(0),
            buffer_bytes,
            returned: Bell::new(),
        })
    }

    pub async fn take(&self) -> Buffer {
        // until a buffer comes back
        loop {
            let returned = self.returned.wait();
            self.reclaim();
            if let Some(buffer) = self.free.borrow_mut().pop() {
                return buffer;
            }
            if let Some(buffer) = self.replacement() {
                return buffer;
            }
            returned.await;
        }
    }

    /// A buffer for one that a stuck device holds, within the zombie cap.
    fn replacement(&self) -> Option<Buffer> {
        let made = self.replacements.get();
        if made >= ZOMBIE_BUFFERS_MAX || made >= self.held.borrow().len() {
            return None;
        }
        self.replacements.set(made + 1);
        Some(Buffer::zeroed(self.buffer_bytes))
    }

    /// For the volume's own batches: never waits, because the volume itself may be what all other callers wait for.
    pub fn take_now(&self) -> Buffer {
        self.reclaim();
        if let Some(buffer) = self.free.borrow_mut().pop() {
            return buffer;
        }
        self.replacements.set(self.replacements.get() + 1);
        Buffer::zeroed(self.buffer_bytes)
    }

    pub fn put(&self, buffer: Buffer) {
        if self.replacements.get() > 0 && buffer.registered().is_none() {
            self.replacements.set(self.replacements.get() - 1);
        } else {
            self.free.borrow_mut().push(buffer);
        }
        self.returned.ring();
    }

    pub fn put_shared(&self, buffer: Arc<Buffer>) {
        match Arc::try_unwrap(buffer) {
            Ok(buffer) => self.put(buffer),
            Err(held) => {
                self.held.borrow_mut().push(held);
                self.returned.ring();
            }
        }
    }

    /// Takes back what devices have let go of since.
    pub fn reclaim(&self) {
        let held = std::mem::take(&mut *self.held.borrow_mut());
        for buffer in held {
            match Arc::try_unwrap(buffer) {
                Ok(buffer) => self.put(buffer),
                Err(held) => self.held.borrow_mut().push(held),
            }
        }
    }
}
