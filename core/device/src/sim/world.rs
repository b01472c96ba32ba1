//! The insides of a world: how operations begin, complete and are cut.

use super::*;

impl World {
    pub(super) fn add(&self, disk: Disk) -> DeviceIndex {
        let mut disks = self.disks.borrow_mut();
        disks.push(Slot { disk, in_flight: 0 });
        DeviceIndex((disks.len() - 1) as u16)
    }

    pub(super) fn disk(&self, device: DeviceIndex) -> Disk {
        self.disks.borrow()[usize::from(device.0)].disk.clone()
    }

    pub(super) fn poll_task(&self, id: u64) {
        // The task is out of the table while it is polled: it may spawn others.
        // Were it polled in place, a task that spawns another would borrow the table twice.
        let task = self.tasks.borrow_mut().waiting.remove(&id);
        let Some(mut task) = task else { return };
        task.signal.polled();
        if task
            .future
            .as_mut()
            .poll(&mut Context::from_waker(&task.waker))
            .is_pending()
        {
            self.tasks.borrow_mut().waiting.insert(id, task);
        }
    }

    /// The checks that a volume and a store entered (`SimWorld::after_each_step`). One whose volume was dropped answers `false` and goes.
    pub(super) fn look(&self) {
        let mut looks = self.looks.borrow_mut();
        if !looks.is_empty() {
            looks.retain(|look| look());
        }
    }

    /// Lets the next event happen; `false` when none is due by `until_us`.
    pub(super) fn happen(&self, until_us: u64) -> bool {
        let next = self.future.borrow_mut().next(until_us);
        let Some((at_us, what)) = next else {
            return false;
        };
        assert!(at_us >= self.now_us.get());
        self.now_us.set(at_us);
        match what {
            // A sleep that was dropped meanwhile (a time-out that was not needed) has no waker any more, and time has moved all the same.
            Happening::Wake(sleeper) => {
                if let Some(sleeper) = sleeper.upgrade() {
                    sleeper.borrow().wake_by_ref();
                }
            }
            Happening::Complete(number) => self.complete(number),
            Happening::Job => {
                let job = self.future.borrow_mut().jobs.pop_front();
                job.expect("each job has its event")();
            }
        }
        true
    }

    pub(super) fn begin(&self, device: DeviceIndex, op: Op, completer: Completer) {
        if self.cut.get() {
            return; // no power: the completer is dropped and the waiter waits for ever
        }
        let disk = self.disk(device);
        let mut medium = disk.lock();
        let capacity = medium.capacity_bytes();
        check(&op, capacity);
        self.note(device, &op);
        let is_write = matches!(op, Op::Write { .. });
        // Where the power may be cut: when a write or a flush begins, and again when it ends. Reads change nothing, so that cutting at them
        // would only repeat the boundary before.
        let is_boundary = matches!(op, Op::Write { .. } | Op::Flush);
        let logged = if is_write {
            self.log_write(device, &op)
        } else {
            None
        };
        let work = match op {
            Op::Write {
                at,
                data,
                range,
                durable,
            } => Work::Write {
                at,
                data,
                range,
                durable,
            },
            Op::Read { at, into, bytes } => Work::Read { at, into, bytes },
            Op::Flush => Work::Flush(medium.flush_begins()),
            Op::Discard { at, bytes } => Work::Discard { at, bytes },
        };
        // One generator for all draws, and always drawn in this order: with the same seed every run is the same, to the byte of the digest.
        let mut rng = self.rng.borrow_mut();
        let faults = medium.faults.clone();
        let mut latency_us = rng
            .u64(faults.latency_us.start..faults.latency_us.end.max(faults.latency_us.start + 1));
        // Only what is there can hang. A leg that was pulled out answers with an error, as the kernel does.
        let hung = medium.present && faults::strikes(&mut rng, faults.hang);
        if hung {
            medium.counts.hangs += 1;
        } else if faults::strikes(&mut rng, faults.stall) {
            medium.counts.stalls += 1;
            latency_us += faults.stall_us;
        }
        let number = self.next_flight.get();
        self.next_flight.set(number + 1);
        self.flights.borrow_mut().insert(
            number,
            Flight {
                device,
                work,
                completer,
                logged,
                hung,
            },
        );
        self.disks.borrow_mut()[usize::from(device.0)].in_flight += 1;
        // An operation that hangs stays in the table of flights and completes never: the caller's own deadline has to notice.
        if !hung {
            let at_us = self.now_us.get() + latency_us;
            self.future
                .borrow_mut()
                .add(at_us, &mut rng, Happening::Complete(number));
        }
        if is_boundary {
            self.pass_boundary();
        }
    }

    /// Mixes `op` into the digest.
    /// Time, device, kind, place and bytes all count: two runs with one digest did the same things at the same moments.
    fn note(&self, device: DeviceIndex, op: &Op) {
        let (kind, at, bytes, data): (u64, u64, u64, &[u8]) = match op {
            Op::Write {
                at, data, range, ..
            } => (1, *at, range.len() as u64, &data[range.clone()]),
            Op::Read { at, bytes, .. } => (2, *at, *bytes as u64, &[]),
            Op::Flush => (3, 0, 0, &[]),
            Op::Discard { at, bytes } => (4, *at, *bytes, &[]),
        };
        let now_us = self.now_us.get();
        let parts = [
            self.digest.get(),
            now_us,
            u64::from(device.0),
            kind,
            at,
            bytes,
        ];
        self.digest
            .set(base::hash::xxh3_64(data, base::hash::seed(&parts)));
    }

    fn complete(&self, number: u64) {
        let flight = self
            .flights
            .borrow_mut()
            .remove(&number)
            .expect("an operation completes once");
        self.disks.borrow_mut()[usize::from(flight.device.0)].in_flight -= 1;
        let disk = self.disk(flight.device);
        let mut medium = disk.lock();
        let (result, buffer, is_boundary) = match flight.work {
            Work::Write {
                at,
                data,
                range,
                durable,
            } => {
                let bytes = &data[range];
                let result = medium.write(at, bytes, durable);
                (result, None, true)
            }
            Work::Read {
                at,
                mut into,
                bytes,
            } => {
                let result = medium.read(at, &mut into[..bytes]);
                (result, Some(into), false)
            }
            Work::Flush(scope) => (medium.flush_ends(scope), None, true),
            Work::Discard { at, bytes } => (medium.discard(at, bytes), None, false),
        };
        drop(medium);
        if let (Some(line), Some(log)) = (flight.logged, self.log.borrow_mut().as_mut()) {
            log[line].completed = Some(Time(self.now_us.get()));
        }
        // The bytes may be on the medium, and the caller never learns of it: that is what an outcome of a cut is made of.
        if is_boundary && self.pass_boundary() {
            return; // the power went before any caller got it
        }
        flight.completer.complete(Completion { result, buffer });
    }

    /// Counts a boundary; `true` when the power is cut at it.
    fn pass_boundary(&self) -> bool {
        self.boundaries.set(self.boundaries.get() + 1);
        if self.cut_at.get() == Some(self.boundaries.get()) {
            self.cut.set(true);
        }
        self.cut.get()
    }

    fn log_write(&self, device: DeviceIndex, op: &Op) -> Option<usize> {
        let mut log = self.log.borrow_mut();
        let log = log.as_mut()?;
        let Op::Write {
            at, range, durable, ..
        } = op
        else {
            return None;
        };
        assert!(
            log.len() < LOGGED_WRITES_MAX,
            "take the write log now and then"
        );
        let started = Time(self.now_us.get());
        log.push(LoggedWrite {
            device,
            at: *at,
            bytes: range.len(),
            durable: *durable,
            started,
            completed: None,
        });
        Some(log.len() - 1)
    }
}

/// Unaligned or out of range is ours, not the device's.
fn check(op: &Op, capacity_bytes: u64) {
    let (at, bytes) = match op {
        Op::Write {
            at, data, range, ..
        } => {
            assert!(
                range.start <= range.end && range.end <= data.len(),
                "the range is within the buffer"
            );
            assert!(
                range.start.is_multiple_of(crate::BLOCK_BYTES),
                "unaligned in memory"
            );
            (*at, range.len() as u64)
        }
        Op::Read { at, into, bytes } => {
            assert!(*bytes <= into.len());
            (*at, *bytes as u64)
        }
        Op::Flush => return,
        Op::Discard { at, bytes } => (*at, *bytes),
    };
    let block = crate::BLOCK_BYTES as u64;
    assert!(
        at.is_multiple_of(block) && bytes.is_multiple_of(block),
        "unaligned: {at}+{bytes}"
    );
    assert!(
        bytes > 0
            && at
                .checked_add(bytes)
                .is_some_and(|end| end <= capacity_bytes),
        "out of range: {at}+{bytes}"
    );
}
