//! What code under test holds: the devices and the host of one boot.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use base::host::BlockingJob;
use base::{Host, LocalTask, Time};

use super::World;
use super::executor::{Happening, Sleeper, sleeper};
use crate::operation::{Pending, pending};
use crate::{BlockingRead, Device, DeviceIndex, Geometry, Op};

/// Unix time at the beginning of every world.
const UNIX_SECONDS_AT_START: i64 = 1_700_000_000;

/// How long a posted job waits before it runs, in microseconds.
const JOB_DELAY_US: std::ops::Range<u64> = 1..200;

/// The devices and the host of one boot. After a crash it answers nothing: what still holds it belongs to a machine
/// that is off.
pub struct Port {
    world: Rc<World>,
    /// Which boot of the machine it belongs to.
    boot: u32,
}

impl Port {
    /// The port of the present boot.
    pub fn new(world: Rc<World>) -> Port {
        let boot = world.boot.get();
        Port { world, boot }
    }

    /// A port from before a crash: the machine it belonged to is off.
    fn is_dead(&self) -> bool {
        self.boot != self.world.boot.get()
    }
}

impl Device for Port {
    fn start(&self, device: DeviceIndex, op: Op) -> Pending {
        let (completer, future) = pending();
        if !self.is_dead() {
            self.world.begin(device, op, completer);
        }
        future
    }

    fn geometry(&self, device: DeviceIndex) -> Geometry {
        let capacity_bytes = self.world.disk(device).lock().capacity_bytes();
        Geometry {
            capacity_bytes,
            stable_id: format!("sim-{}", device.0),
            direct: true,
        }
    }

    fn blocking_reader(&self, device: DeviceIndex) -> Arc<dyn BlockingRead> {
        Arc::new(self.world.disk(device))
    }

    fn in_flight(&self, device: DeviceIndex) -> usize {
        self.world.disks.borrow()[usize::from(device.0)].in_flight
    }
}

impl Host for Port {
    fn now(&self) -> Time {
        Time(self.world.now_us.get())
    }

    fn unix_seconds(&self) -> i64 {
        let passed = (self.world.now_us.get() / 1_000_000) as i64;
        UNIX_SECONDS_AT_START + self.world.clock_s.get() + passed
    }

    fn sleep_until(&self, until: Time) -> LocalTask {
        Box::pin(Sleep {
            world: self.world.clone(),
            boot: self.boot,
            until,
            sleeper: None,
        })
    }

    fn spawn(&self, task: LocalTask) {
        if !self.is_dead() {
            self.world.tasks.borrow_mut().add(task, &self.world.ready);
        }
    }

    fn post(&self, job: BlockingJob) {
        if !self.is_dead() {
            let world = &self.world;
            let mut rng = world.rng.borrow_mut();
            let at_us = world.now_us.get() + rng.u64(JOB_DELAY_US);
            let mut future = world.future.borrow_mut();
            future.jobs.push_back(job);
            future.add(at_us, &mut rng, Happening::Job);
        }
    }
}

/// A sleep on virtual time.
struct Sleep {
    /// The world whose clock it waits for.
    world: Rc<World>,
    boot: u32,
    until: Time,
    /// Its entry in the schedule; `None` before the first poll.
    sleeper: Option<Rc<Sleeper>>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.boot != self.world.boot.get() {
            return Poll::Pending;
        }
        if self.world.now_us.get() >= self.until.0 {
            return Poll::Ready(());
        }
        match &self.sleeper {
            Some(sleeper) => sleeper.borrow_mut().clone_from(context.waker()),
            None => {
                let sleeper = sleeper(context.waker());
                let wake = Happening::Wake(Rc::downgrade(&sleeper));
                self.world.future.borrow_mut().add(
                    self.until.0,
                    &mut self.world.rng.borrow_mut(),
                    wake,
                );
                self.sleeper = Some(sleeper);
            }
        }
        Poll::Pending
    }
}
