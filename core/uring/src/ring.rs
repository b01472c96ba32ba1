//! The ring: `device::Device` over io_uring.
//!
//! `start` only writes down what is wanted and kicks the owner; everything that talks to the kernel happens in `turn`, once
//! for all operations.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use device::operation::{Completer, pending};
use device::{
    BLOCK_BYTES, BlockingRead, Buffer, Completion, Device, DeviceIndex, Geometry, IoFault, Op,
    Pending,
};
use io_uring::IoUring;
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::Misfit;
use crate::fault;
use crate::flight::{Flight, Verdict, Work};
use crate::limits::{
    DEVICES_MAX, DROP_WAIT_MS, FILE_CHECK_MS, IN_KERNEL_MAX, ROUNDS_PER_TURN_MAX,
    SUBMIT_PER_ENTER_MAX,
};
use crate::memory::Registered;
use crate::open::{self, OpenLeg};
use crate::setup::{self, FLAGS, Flags};

/// The open devices of one thread. Stays on the thread that made it.
pub struct Ring {
    inner: RefCell<Inner>,
    /// Readable when completions have come.
    eventfd: EventFd,
    /// Those that the kernel accepted.
    flags: Flags,
    /// How the owner is asked for a turn.
    kick: RefCell<Option<Box<dyn Fn()>>>,
    /// The owner was kicked and has not had its turn.
    kicked: Cell<bool>,
}

/// What one turn changes; borrowed for the time of a call only.
struct Inner {
    /// The kernel's two queues.
    ring: IoUring,
    /// By `DeviceIndex`; `None` after a close, and its place in the kernel's file table is free.
    devices: Vec<Option<Open>>,
    /// By the user data of their entries.
    flights: Vec<Option<Flight>>,
    /// Free places in `flights`.
    free: Vec<u32>,
    /// Flights that wait for their entry, in order.
    waiting: VecDeque<u32>,
    /// Entries in the submission queue that the kernel has not taken.
    queued: usize,
    /// Flights with an entry in the queue or in the kernel.
    outstanding: usize,
    /// Buffers that the kernel knows beforehand.
    registered: Registered,
}

/// A leg in the file table.
struct Open {
    /// The descriptor, and what is known of the device.
    leg: OpenLeg,
    /// Operations that were started and have not completed; a device is closed only at 0.
    in_flight: usize,
    /// Found removed or cut short: everything answers `Gone`.
    gone: bool,
    /// When the file behind a leg was last looked at.
    checked: Instant,
}

impl Ring {
    /// A ring with the best flags the kernel knows.
    pub fn new() -> Result<Ring, Misfit> {
        Ring::with_flags(&FLAGS)
    }

    /// A ring with the first of `wanted` that the kernel accepts.
    pub fn with_flags(wanted: &[Flags]) -> Result<Ring, Misfit> {
        let (ring, flags) = setup::build(wanted)?;
        let eventfd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let eventfd =
            eventfd.map_err(|errno| Misfit(format!("no eventfd for the ring: {errno}")))?;
        let registered = ring.submitter().register_eventfd(eventfd.as_raw_fd());
        registered.map_err(|error| Misfit(format!("the ring accepts no eventfd: {error}")))?;
        let sparse = [-1; DEVICES_MAX];
        let files = ring.submitter().register_files(&sparse);
        files.map_err(|error| Misfit(format!("the ring accepts no file table: {error}")))?;
        let inner = Inner {
            ring,
            devices: Vec::new(),
            flights: Vec::new(),
            free: Vec::new(),
            waiting: VecDeque::new(),
            queued: 0,
            outstanding: 0,
            registered: Registered::new(),
        };
        tracing::debug!(?flags, "ring ready");
        Ok(Ring {
            inner: RefCell::new(inner),
            eventfd,
            flags,
            kick: RefCell::new(None),
            kicked: Cell::new(false),
        })
    }

    /// The set of flags that the kernel accepted.
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// Opens a leg's file or block device for this process alone.
    pub fn open(&self, path: &Path) -> Result<DeviceIndex, Misfit> {
        let leg = open::open(path)?;
        if !leg.geometry.direct {
            tracing::warn!(path = %path.display(), "no O_DIRECT here; writes go through the page cache");
        }
        let mut inner = self.inner.borrow_mut();
        let place = inner
            .devices
            .iter()
            .position(Option::is_none)
            .unwrap_or(inner.devices.len());
        if place == DEVICES_MAX {
            return Err(Misfit(format!(
                "{}: {DEVICES_MAX} devices are open already",
                path.display()
            )));
        }
        let update = inner
            .ring
            .submitter()
            .register_files_update(place as u32, &[leg.file().as_raw_fd()]);
        update.map_err(|error| Misfit::new(path, error))?;
        let open = Open {
            leg,
            in_flight: 0,
            gone: false,
            checked: Instant::now(),
        };
        if place == inner.devices.len() {
            inner.devices.push(Some(open));
        } else {
            inner.devices[place] = Some(open);
        }
        Ok(DeviceIndex(place as u16))
    }

    /// Lets go of a device, its lock included; its index may come back for another one. `false`, and nothing changes, while
    /// operations are in flight on it.
    pub fn close(&self, device: DeviceIndex) -> bool {
        let mut inner = self.inner.borrow_mut();
        if inner.open(device).in_flight > 0 {
            return false;
        }
        let cleared = inner
            .ring
            .submitter()
            .register_files_update(u32::from(device.0), &[-1]);
        if let Err(error) = cleared {
            tracing::warn!(%error, device = device.0, "the ring keeps the descriptor of a closed device");
        }
        inner.devices[usize::from(device.0)] = None;
        true
    }

    /// Whether the device is still what was opened: a file leg that was removed or cut short is not. Looks at once.
    pub fn is_present(&self, device: DeviceIndex) -> bool {
        self.inner.borrow_mut().open_mut(device).look_again(true)
    }

    /// Becomes readable when a turn is worth while. (With DEFER_TASKRUN the ring's own descriptor never would.)
    pub fn eventfd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }

    /// `kick` is called when the first operation is queued after a turn, so that the owner schedules one. It must not call back in.
    pub fn set_kick(&self, kick: Box<dyn Fn()>) {
        *self.kick.borrow_mut() = Some(kick);
    }

    /// Operations that only a turn will bring to the kernel.
    pub fn has_unsubmitted(&self) -> bool {
        let inner = self.inner.borrow();
        inner.queued > 0 || (!inner.waiting.is_empty() && inner.outstanding < IN_KERNEL_MAX)
    }

    /// Everything started and not completed, on all devices.
    pub fn outstanding(&self) -> usize {
        let inner = self.inner.borrow();
        inner.outstanding + inner.waiting.len()
    }

    /// Registered buffers in use.
    pub fn registered_buffers(&self) -> usize {
        self.inner.borrow().registered.count()
    }

    /// Submits what is queued, reaps what is done, wakes who waits. Answers how many operations completed.
    pub fn turn(&self) -> usize {
        self.kicked.set(false);
        let mut completed = 0;
        for _ in 0..ROUNDS_PER_TURN_MAX {
            let (done, more) = self.inner.borrow_mut().round();
            completed += done.len();
            // Outside the borrow: a waker may start the next operation at once.
            for (completer, completion) in done {
                completer.complete(completion);
            }
            if !more {
                break;
            }
        }
        if self.has_unsubmitted() {
            self.kick();
        }
        completed
    }

    /// Asks the owner for a turn, once until it has had it.
    fn kick(&self) {
        if !self.kicked.replace(true)
            && let Some(kick) = &*self.kick.borrow()
        {
            kick();
        }
    }
}

impl Device for Ring {
    fn start(&self, device: DeviceIndex, op: Op) -> Pending {
        let (completer, future) = pending();
        let mut inner = self.inner.borrow_mut();
        let open = inner.open_mut(device);
        check(&op, open.leg.geometry.capacity_bytes);
        let writes = matches!(op, Op::Write { .. } | Op::Flush);
        if open.gone || (writes && !open.look_again(false)) {
            let buffer = match op {
                Op::Read { into, .. } => Some(into),
                _ => None,
            };
            drop(inner);
            completer.complete(Completion {
                result: Err(IoFault::Gone),
                buffer,
            });
            return future;
        }
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
            Op::Flush => Work::Flush,
            Op::Discard { .. } => {
                drop(inner);
                completer.complete(Completion {
                    result: Ok(()),
                    buffer: None,
                });
                return future;
            }
        };
        open.in_flight += 1;
        inner.enqueue(Flight::new(device, work, completer));
        drop(inner);
        self.kick();
        future
    }

    fn geometry(&self, device: DeviceIndex) -> Geometry {
        self.inner.borrow().open(device).leg.geometry.clone()
    }

    fn blocking_reader(&self, device: DeviceIndex) -> Arc<dyn BlockingRead> {
        let reader = self.inner.borrow().open(device).leg.blocking_reader();
        reader.unwrap_or_else(|error| {
            tracing::error!(%error, "no second descriptor for a leg's reader");
            Arc::new(NoReader)
        })
    }

    fn in_flight(&self, device: DeviceIndex) -> usize {
        let inner = self.inner.borrow();
        inner
            .devices
            .get(usize::from(device.0))
            .and_then(Option::as_ref)
            .map_or(0, |open| open.in_flight)
    }

    fn allocate(&self, bytes: usize) -> Buffer {
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        inner.registered.allocate(&inner.ring, bytes)
    }
}

/// Stands in when the process has no descriptor left; readers then use another leg.
struct NoReader;

impl BlockingRead for NoReader {
    fn read_at(&self, _at: u64, _into: &mut [u8]) -> Result<(), IoFault> {
        Err(IoFault::Gone)
    }
}

impl Inner {
    /// The device, which the caller must have open.
    fn open(&self, device: DeviceIndex) -> &Open {
        self.devices[usize::from(device.0)]
            .as_ref()
            .expect("the device is open")
    }

    /// As `open`, to be changed.
    fn open_mut(&mut self, device: DeviceIndex) -> &mut Open {
        self.devices[usize::from(device.0)]
            .as_mut()
            .expect("the device is open")
    }

    /// A new flight waits for its entry. Places are used again, so `flights` grows to the largest number at once.
    fn enqueue(&mut self, flight: Flight) {
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.flights.push(None);
                (self.flights.len() - 1) as u32
            }
        };
        self.flights[place as usize] = Some(flight);
        self.waiting.push_back(place);
    }

    /// One enter and one reap. The second answer says whether another round is worth while.
    fn round(&mut self) -> (Vec<(Completer, Completion)>, bool) {
        self.fill();
        let taken = match self.ring.submit() {
            Ok(taken) => taken,
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(0);
                // EBUSY: completions must be reaped first, which is next. EAGAIN: the kernel is short of memory just now.
                assert!(
                    fault::is_transient(errno),
                    "io_uring_enter refuses what this ring submits: {error}"
                );
                0
            }
        };
        assert!(taken <= self.queued);
        self.queued -= taken;
        let done = self.reap();
        let more = !done.is_empty() && (self.queued > 0 || !self.waiting.is_empty());
        let more = more || (taken == SUBMIT_PER_ENTER_MAX && !self.waiting.is_empty());
        (done, more)
    }

    /// Gives entries to waiting flights, as many as one enter takes and the kernel may have at once.
    #[expect(unsafe_code, reason = "submission entries carry pointers")]
    fn fill(&mut self) {
        while self.queued < SUBMIT_PER_ENTER_MAX && self.outstanding < IN_KERNEL_MAX {
            let Some(place) = self.waiting.pop_front() else {
                break;
            };
            let flight = self.flights[place as usize]
                .as_mut()
                .expect("a waiting flight is there");
            let entry = flight.entry().user_data(u64::from(place));
            // NEEDED: an entry points into memory that the kernel reads or writes later.
            // SOUND: the flight owns that memory (a mapping that does not move) and stays in `flights` until this entry's
            // completion was reaped; `Ring::drop` waits for that or leaks the flights.
            let pushed = unsafe { self.ring.submission().push(&entry) };
            pushed.expect("the queue has room for more than one enter takes");
            self.queued += 1;
            self.outstanding += 1;
        }
    }

    /// Takes what the kernel has completed. A flight that was cut short gets another entry, before those that wait.
    fn reap(&mut self) -> Vec<(Completer, Completion)> {
        let mut done = Vec::new();
        let mut completions = self.ring.completion();
        completions.sync();
        for completion in completions {
            let place = completion.user_data() as u32;
            self.outstanding -= 1;
            let flight = self.flights[place as usize]
                .as_mut()
                .expect("one completion for each flight");
            match flight.on_completion(completion.result()) {
                Verdict::Again => self.waiting.push_front(place),
                Verdict::Done(result) => {
                    let flight = self.flights[place as usize]
                        .take()
                        .expect("it was there just now");
                    self.free.push(place);
                    let open = self.devices[usize::from(flight.device.0)]
                        .as_mut()
                        .expect("closed only at rest");
                    open.in_flight -= 1;
                    if result == Err(IoFault::Gone) {
                        open.gone = true;
                    }
                    done.push(flight.finish(result));
                }
            }
        }
        done
    }
}

impl Open {
    /// Whether the device is still there; a file is looked at when it was not for a while, or `now`.
    fn look_again(&mut self, now: bool) -> bool {
        if self.gone || !self.leg.is_file {
            return !self.gone;
        }
        let time = Instant::now();
        if now || time.duration_since(self.checked) >= Duration::from_millis(FILE_CHECK_MS) {
            self.checked = time;
            if !self.leg.is_whole() {
                tracing::error!(path = %self.leg.path.display(), "the leg's file was removed or cut short");
                self.gone = true;
            }
        }
        !self.gone
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let inner = self.inner.get_mut();
        // What never reached the kernel can simply go.
        for place in std::mem::take(&mut inner.waiting) {
            inner.flights[place as usize] = None;
        }
        let give_up = Instant::now() + Duration::from_millis(DROP_WAIT_MS);
        while inner.outstanding > 0 && Instant::now() < give_up {
            inner.round();
            for place in std::mem::take(&mut inner.waiting) {
                inner.flights[place as usize] = None;
            }
            if inner.outstanding > 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        if inner.outstanding > 0 {
            tracing::error!(
                operations = inner.outstanding,
                "the kernel does not give memory back; leaking it"
            );
            std::mem::forget(std::mem::take(&mut inner.flights));
        }
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
                range.start.is_multiple_of(BLOCK_BYTES),
                "unaligned in memory"
            );
            (*at, range.len() as u64)
        }
        Op::Read { at, into, bytes } => {
            assert!(*bytes <= into.len(), "the bytes fit the buffer");
            (*at, *bytes as u64)
        }
        Op::Flush => return,
        Op::Discard { at, bytes } => (*at, *bytes),
    };
    let block = BLOCK_BYTES as u64;
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
