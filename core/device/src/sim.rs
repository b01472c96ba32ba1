//! The simulated device and host: the whole machine in one thread, from one seed.
//!
//! A `SimWorld` owns virtual time, a task executor and disks. Code under test gets `world.io()` and cannot distinguish it
//! from the real thing. Which ready task runs next, how long each operation takes and which completions overtake others
//! follow from the seed alone, so a failure replays.
//!
//! ```
//! use device::{Op, sim::SimWorld};
//! let world = SimWorld::new(7);
//! let disk = world.add_disk(1 << 20);
//! let io = world.io();
//! let read = world.block_on(async move {
//!     io.device.start(disk, Op::Read { at: 0, into: device::Buffer::zeroed(4096), bytes: 4096 }).await
//! });
//! assert_eq!(read.result, Ok(()));
//! ```
//!
//! A crash (`crash`, `crash_at`) is a power cut: every task and every operation in flight is gone, each write in flight is
//! stored whole, in part (by 512-byte sectors) or not at all, the volatile cache of completed but not durable writes is
//! lost by the seed's choice, and the same world goes on with its disks as after a reboot. Handles from before the crash
//! are dead: what they start never completes. `PowerCut` holds the moment of a cut as a value, for tests that try *every* outcome.
//!
//! What must hold: nothing here reads a clock or randomness from outside; no map with a random order is iterated.

mod crash;
mod disk;
mod executor;
mod faults;
mod image;
mod port;
#[cfg(test)]
mod tests;
mod world;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Range;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use base::Time;
use fastrand::Rng;

use crate::limits::{LOGGED_WRITES_MAX, POLLS_MAX, RUN_US_MAX};
use crate::operation::{Completer, Completion};
use crate::{Buffer, DeviceIndex, Io, Op};

pub use crash::{CutWrite, PowerCut};
pub use disk::{CacheLanding, Landing, Medium};
pub use faults::{FaultCounts, Faults};

use disk::{Disk, FlushScope};
use executor::{Happening, ROOT, Ready, TaskWaker, Tasks};
use port::Port;

/// Why `SimWorld::run` stopped before its future was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The boundary given to `crash_at` was reached. Call `crash` or `power_cut` next.
    #[error("the power was cut")]
    PowerCut,
    /// Nothing is ready and nothing will ever happen: the future waits for something that cannot come.
    #[error("nothing is left that could happen")]
    Idle,
    /// `limits::RUN_US_MAX` of virtual time or `limits::POLLS_MAX` polls went by.
    #[error("the future does not come to an end")]
    Endless,
}

/// One write as the device saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedWrite {
    pub device: DeviceIndex,
    pub at: u64,
    pub bytes: usize,
    pub durable: bool,
    pub started: Time,
    /// `None`: still in flight, or lost with the power.
    pub completed: Option<Time>,
}

/// The world; clones are handles to the same one. When the last is dropped, its tasks are too.
#[derive(Clone)]
pub struct SimWorld {
    owner: Rc<Owner>,
}

struct Owner {
    world: Rc<World>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Tasks hold ports and ports hold the world: without this no world would ever be freed.
        self.world.forget_everything_running();
        // A batch that was in flight holds its volume, and the volume the batch; the disks need not stay in memory with them.
        self.world.disks.take();
    }
}

struct World {
    /// Counts power-ons; a port of an earlier boot is dead.
    boot: Cell<u32>,
    now_us: Cell<u64>,
    /// See `SimWorld::set_clock_by`.
    clock_s: Cell<i64>,
    rng: RefCell<Rng>,
    tasks: RefCell<Tasks>,
    ready: Arc<Ready>,
    future: RefCell<executor::Future>,
    disks: RefCell<Vec<Slot>>,
    flights: RefCell<BTreeMap<u64, Flight>>,
    next_flight: Cell<u64>,
    boundaries: Cell<u64>,
    /// See `SimWorld::digest`.
    digest: Cell<u64>,
    cut_at: Cell<Option<u64>>,
    cut: Cell<bool>,
    log: RefCell<Option<Vec<LoggedWrite>>>,
    /// See `SimWorld::after_each_step`.
    looks: RefCell<Vec<Look>>,
}

/// `false`: it has nothing to look at any more.
type Look = Box<dyn Fn() -> bool>;

struct Slot {
    disk: Disk,
    in_flight: usize,
}

/// An operation between `start` and its completion.
struct Flight {
    device: DeviceIndex,
    work: Work,
    completer: Completer,
    /// Its line in the write log.
    logged: Option<usize>,
    /// Waits for `release`, `remove` or a power cut.
    hung: bool,
}

enum Work {
    Write {
        at: u64,
        data: Arc<Buffer>,
        range: Range<usize>,
        durable: bool,
    },
    Read {
        at: u64,
        into: Buffer,
        bytes: usize,
    },
    Flush(FlushScope),
    Discard {
        at: u64,
        bytes: u64,
    },
}

impl SimWorld {
    pub fn new(seed: u64) -> SimWorld {
        crate::buffer::keep_maps();
        let world = World {
            boot: Cell::new(1),
            now_us: Cell::new(0),
            clock_s: Cell::new(0),
            rng: RefCell::new(Rng::with_seed(seed)),
            tasks: RefCell::new(Tasks::new()),
            ready: Arc::new(Ready::default()),
            future: RefCell::new(executor::Future::default()),
            disks: RefCell::new(Vec::new()),
            flights: RefCell::new(BTreeMap::new()),
            next_flight: Cell::new(0),
            boundaries: Cell::new(0),
            digest: Cell::new(0),
            cut_at: Cell::new(None),
            cut: Cell::new(false),
            log: RefCell::new(None),
            looks: RefCell::default(),
        };
        SimWorld {
            owner: Rc::new(Owner {
                world: Rc::new(world),
            }),
        }
    }

    fn world(&self) -> &Rc<World> {
        &self.owner.world
    }

    /// A hash of every operation that was started since the world began: what, where, when, and the bytes of writes. Two worlds with one seed
    /// and one caller have the same; a difference means that the caller depends on something that is not in the seed.
    pub fn digest(&self) -> u64 {
        self.world().digest.get()
    }

    /// Adds a blank disk of `bytes` (a multiple of `BLOCK_BYTES`) and answers its index: 0, 1, 2 …
    pub fn add_disk(&self, bytes: u64) -> DeviceIndex {
        assert!(bytes > 0 && bytes.is_multiple_of(crate::BLOCK_BYTES as u64));
        let world = self.world();
        let seed = world.rng.borrow_mut().u64(..);
        world.add(Disk::new(bytes, seed))
    }

    /// The ground for code under test: this boot's devices and host.
    pub fn io(&self) -> Io {
        let port = Rc::new(Port::new(self.world().clone()));
        Io {
            device: port.clone(),
            host: port,
        }
    }

    pub fn now(&self) -> Time {
        Time(self.world().now_us.get())
    }

    /// The time of day is so many seconds later from now on, or earlier; the time that only counts is as it was.
    pub fn set_clock_by(&self, seconds: i64) {
        let clock = &self.world().clock_s;
        clock.set(clock.get() + seconds);
    }

    /// A number from the world's seed, for tests that want their own choices to replay too.
    pub fn draw(&self, range: Range<u64>) -> u64 {
        self.world().rng.borrow_mut().u64(range)
    }

    // Running.

    /// Runs the world until `future` is done. Spawned tasks live on afterwards and go on at the next `run`.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> Result<T, Halt> {
        let world = self.world();
        let mut future = pin!(future);
        let root = TaskWaker::new(ROOT, world.ready.clone());
        let waker = Waker::from(root.clone());
        root.wake_by_ref();
        let until_us = world.now_us.get() + RUN_US_MAX;
        for _ in 0..POLLS_MAX {
            if world.cut.get() {
                return Err(Halt::PowerCut);
            }
            let id = world.ready.take(&mut world.rng.borrow_mut());
            match id {
                Some(ROOT) => {
                    root.polled();
                    let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
                    world.look();
                    if let Poll::Ready(value) = polled {
                        // A power cut during this poll wins: no caller saw the answer.
                        return if world.cut.get() {
                            Err(Halt::PowerCut)
                        } else {
                            Ok(value)
                        };
                    }
                }
                Some(id) => {
                    world.poll_task(id);
                    world.look();
                }
                None if world.happen(until_us) => {}
                None if world.future.borrow().is_empty() => return Err(Halt::Idle),
                None => return Err(Halt::Endless),
            }
        }
        Err(Halt::Endless)
    }

    /// Runs the world until `future` is done, and stops the test when it cannot come to an end.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        match self.run(future) {
            Ok(value) => value,
            Err(halt) => panic!("{halt} at {} us", self.now().0),
        }
    }

    /// Calls `look` after each step from now on, a step being one poll of one task: nothing runs meanwhile, so what must hold between two steps
    /// can be looked at. Until it answers `false`, or the power is cut.
    pub fn after_each_step(&self, look: impl Fn() -> bool + 'static) {
        self.world().looks.borrow_mut().push(Box::new(look));
    }

    /// Lets background tasks go on until this moment of virtual time.
    pub fn run_until(&self, until: Time) -> Result<(), Halt> {
        let host = self.io().host;
        self.run(host.sleep_until(until))
    }

    /// As `run_until`, from now.
    pub fn run_for_us(&self, us: u64) -> Result<(), Halt> {
        self.run_until(self.now().after_us(us))
    }

    // Faults.

    pub fn set_faults(&self, device: DeviceIndex, faults: Faults) {
        self.with_disk(device, |medium| medium.faults = faults);
    }

    pub fn faults(&self, device: DeviceIndex) -> Faults {
        self.with_disk(device, |medium| medium.faults.clone())
    }

    pub fn fault_counts(&self, device: DeviceIndex) -> FaultCounts {
        self.with_disk(device, |medium| medium.counts)
    }

    /// The disk disappears: everything in flight and everything later answers `Gone`.
    pub fn remove(&self, device: DeviceIndex) {
        self.with_disk(device, |medium| medium.present = false);
        self.release(device);
    }

    /// The disk comes back as it was. (With older content: `restore` first.)
    pub fn insert(&self, device: DeviceIndex) {
        self.with_disk(device, |medium| medium.present = true);
    }

    /// Lets operations that hang complete now, late as they are.
    pub fn release(&self, device: DeviceIndex) {
        let world = self.world();
        let mut flights = world.flights.borrow_mut();
        for (number, flight) in flights
            .iter_mut()
            .filter(|(_, flight)| flight.device == device && flight.hung)
        {
            flight.hung = false;
            let at_us = world.now_us.get() + 1;
            world.future.borrow_mut().add(
                at_us,
                &mut world.rng.borrow_mut(),
                Happening::Complete(*number),
            );
        }
    }

    // The disks' bytes, without the engine's knowledge.

    pub fn with_disk<T>(&self, device: DeviceIndex, look: impl FnOnce(&mut Medium) -> T) -> T {
        let disk = self.world().disk(device);
        look(&mut disk.lock())
    }

    pub fn peek(&self, device: DeviceIndex, at: u64, bytes: usize) -> Vec<u8> {
        let mut into = vec![0; bytes];
        self.with_disk(device, |medium| medium.peek(at, &mut into));
        into
    }

    pub fn poke(&self, device: DeviceIndex, at: u64, bytes: &[u8]) {
        self.with_disk(device, |medium| medium.poke(at, bytes));
    }

    /// Turns over bit `bit` (0 to 7) of the byte at `at`.
    pub fn flip_bit(&self, device: DeviceIndex, at: u64, bit: u8) {
        self.with_disk(device, |medium| medium.flip_bit(at, bit));
    }

    /// The disk as it is, cheaply; `restore` puts it back (an old disk returns).
    pub fn snapshot(&self, device: DeviceIndex) -> Medium {
        self.with_disk(device, |medium| medium.clone())
    }

    /// Replaces the content; faults, counts and presence stay.
    pub fn restore(&self, device: DeviceIndex, content: &Medium) {
        self.with_disk(device, |medium| {
            assert_eq!(medium.capacity_bytes(), content.capacity_bytes());
            let (present, faults, counts) = (medium.present, medium.faults.clone(), medium.counts);
            *medium = content.clone();
            (medium.present, medium.faults, medium.counts) = (present, faults, counts);
        });
    }

    /// The disk ends after `bytes` (a multiple of `BLOCK_BYTES`) from now on.
    pub fn cut_short(&self, device: DeviceIndex, bytes: u64) {
        assert!(bytes.is_multiple_of(crate::BLOCK_BYTES as u64));
        self.with_disk(device, |medium| medium.cut_short(bytes));
    }

    // Crashes.

    /// Starts and completions of writes and flushes since the world began: the moments worth a crash.
    pub fn boundaries(&self) -> u64 {
        self.world().boundaries.get()
    }

    /// Cuts the power right after boundary number `boundary` (as `boundaries` counts, from 1): `run` then answers
    /// `Halt::PowerCut`, and what is started after it goes nowhere.
    pub fn crash_at(&self, boundary: u64) {
        assert!(boundary > self.boundaries());
        self.world().cut_at.set(Some(boundary));
    }

    /// A power cut now, with an outcome of the seed's choice; the world goes on as after a reboot.
    pub fn crash(&self) {
        let cache = match self.draw(0..3) {
            0 => CacheLanding::Lost,
            1 => CacheLanding::Kept,
            _ => CacheLanding::Random,
        };
        let world = self.world().clone();
        self.crash_with(cache, |_| match world.rng.borrow_mut().u8(..4) {
            0 => Landing::Nothing,
            1 => Landing::All,
            _ => Landing::Random,
        });
    }

    /// A power cut now; `choose` decides each write in flight, in the order they were started.
    pub fn crash_with(&self, cache: CacheLanding, mut choose: impl FnMut(&CutWrite) -> Landing) {
        let cut = self.power_cut();
        for write in &cut.writes {
            let landing = choose(write);
            let disk = self.world().disk(write.device);
            disk.lock().land(write.at, write.bytes(), landing);
        }
        for device in 0..cut.disks.len() {
            self.with_disk(DeviceIndex(device as u16), |medium| {
                medium.land_cache(cache)
            });
        }
        self.world().reboot();
    }

    /// The moment of a power cut as a value; this world is untouched.
    pub fn power_cut(&self) -> PowerCut {
        self.world().power_cut()
    }

    /// A fresh world with the disks of `cut`: `choose` decides each write that was in flight.
    pub fn after_cut(
        seed: u64,
        cut: &PowerCut,
        cache: CacheLanding,
        mut choose: impl FnMut(usize, &CutWrite) -> Landing,
    ) -> SimWorld {
        let after = SimWorld::new(seed);
        after.world().now_us.set(cut.now.0);
        for medium in &cut.disks {
            let mut medium = medium.clone();
            medium.reseed(after.draw(0..u64::MAX));
            after.world().add(Disk::of(medium));
        }
        for (index, write) in cut.writes.iter().enumerate() {
            let landing = choose(index, write);
            after.with_disk(write.device, |medium| {
                medium.land(write.at, write.bytes(), landing)
            });
        }
        for device in 0..cut.disks.len() {
            after.with_disk(DeviceIndex(device as u16), |medium| {
                medium.land_cache(cache)
            });
        }
        after
    }

    // The write log.

    /// Starts remembering every write (at most `limits::LOGGED_WRITES_MAX`).
    pub fn log_writes(&self) {
        self.world().log.borrow_mut().get_or_insert_default();
    }

    /// The writes since `log_writes` or the last call. Call it while nothing is in flight, or completions of those in flight are not noted.
    pub fn take_write_log(&self) -> Vec<LoggedWrite> {
        for flight in self.world().flights.borrow_mut().values_mut() {
            flight.logged = None;
        }
        self.world()
            .log
            .borrow_mut()
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }
}
