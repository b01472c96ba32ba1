//! Power cuts: what was in flight, and the reboot.

use std::ops::Range;
use std::sync::Arc;

use base::Time;

use super::disk::Medium;
use super::executor::{self, Tasks};
use super::{Work, World};
use crate::{Buffer, DeviceIndex};

/// A write that was in flight when the power went.
#[derive(Clone)]
pub struct CutWrite {
    pub device: DeviceIndex,
    pub at: u64,
    pub durable: bool,
    data: Arc<Buffer>,
    range: Range<usize>,
}

impl CutWrite {
    pub fn bytes(&self) -> &[u8] {
        &self.data[self.range.clone()]
    }
}

/// The moment of a power cut: the disks with their volatile caches, and the writes whose fate is open. Cheap to copy.
#[derive(Clone)]
pub struct PowerCut {
    pub now: Time,
    pub disks: Vec<Medium>,
    /// In the order they were started.
    pub writes: Vec<CutWrite>,
}

impl World {
    pub(super) fn power_cut(&self) -> PowerCut {
        let disks = self
            .disks
            .borrow()
            .iter()
            .map(|slot| slot.disk.lock().clone())
            .collect();
        let mut writes = Vec::new();
        for flight in self.flights.borrow().values() {
            if let Work::Write {
                at,
                data,
                range,
                durable,
            } = &flight.work
            {
                let (data, range) = (data.clone(), range.clone());
                writes.push(CutWrite {
                    device: flight.device,
                    at: *at,
                    durable: *durable,
                    data,
                    range,
                });
            }
        }
        PowerCut {
            now: Time(self.now_us.get()),
            disks,
            writes,
        }
    }

    /// Everything that ran is gone; the disks stay.
    pub(super) fn reboot(&self) {
        self.forget_everything_running();
        self.boot.set(self.boot.get() + 1);
        self.cut.set(false);
        self.cut_at.set(None);
        for slot in self.disks.borrow_mut().iter_mut() {
            slot.in_flight = 0;
        }
    }

    pub(super) fn forget_everything_running(&self) {
        self.looks.take();
        // Taken out first and dropped after: what is dropped may call back in.
        let tasks = self.tasks.replace(Tasks::new());
        let flights = self.flights.take();
        let future = self.future.replace(executor::Future::default());
        drop((tasks, flights, future));
        // Whatever those destructors started is gone too.
        let late = (
            self.tasks.replace(Tasks::new()),
            self.flights.take(),
            self.future.take(),
        );
        drop(late);
        self.ready.clear();
    }
}
