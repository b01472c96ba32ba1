//! The way from any core to a spool on a thread of its own: a bounded lane of closures, as `storage::owner` is for the mailboxes.
//!
//! A thread of its own, because the spool is there for the time in which storage's thread stands still, and a box with one or two CPUs runs receivers on
//! that very thread. It also drains while receivers wait for nothing.
//!
//! What must hold: what is under way is bounded by the lane's items, and its bytes by the credits of `Spooled`; a `take` that began runs to its end.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use base::host::{Bell, oneshot};
use queue::{Envelope, QueueId};
use runtime::{Lane, LaneEnd, lane};
use spool::{Gauges, Spool, SpoolFault};
use storage::owner::Busy;
use store::BodyIn;

use super::limits::{LANE_ITEMS_MAX, UNDER_WAY_MAX};
use super::{Held, Spooling};

type Task = Pin<Box<dyn Future<Output = ()>>>;
type Work = Box<dyn FnOnce(Spool) -> Task + Send>;

/// Clonable, sendable handle to the spool's thread.
#[derive(Clone)]
pub struct SpoolLane {
    lane: Lane<Work>,
    gauges: Arc<Gauges>,
    health: Arc<SpoolHealth>,
}

/// The spool thread's end: give it to `run` there.
pub struct SpoolEnd {
    lane: LaneEnd<Work>,
    health: Arc<SpoolHealth>,
}

/// Whether the spool's volume can be written, by the last probe. Written by the spool's thread.
#[derive(Default)]
pub struct SpoolHealth {
    is_away: AtomicBool,
    trouble: Mutex<Option<String>>,
}

impl SpoolHealth {
    /// `trouble`: why nothing can be spooled. Reported once, when it begins and when it is over.
    pub fn note(&self, trouble: Option<String>) {
        let was_away = self.is_away.swap(trouble.is_some(), Ordering::AcqRel);
        match &trouble {
            Some(why) if !was_away => {
                tracing::error!(
                    why,
                    "the spool takes nothing; mail goes straight to storage, and is deferred when storage takes none"
                );
            }
            None if was_away => tracing::info!("the spool takes mail again"),
            _ => {}
        }
        *self.trouble.lock().expect("no holder of this lock panics") = trouble;
    }

    pub fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock();
        trouble.expect("no holder of this lock panics").clone()
    }
}

/// A handle to `spool` and the end that serves it.
pub fn spool_lane(spool: &Spool) -> (SpoolLane, SpoolEnd) {
    let (sending, receiving) = lane(LANE_ITEMS_MAX);
    let health = Arc::new(SpoolHealth::default());
    (
        SpoolLane {
            lane: sending,
            gauges: spool.gauges(),
            health: health.clone(),
        },
        SpoolEnd {
            lane: receiving,
            health,
        },
    )
}

impl SpoolLane {
    /// Runs `work` on the spool's thread and brings its result back. `Busy`: the lane is full, or the thread ends. Dropping the wait does not stop the work.
    pub async fn ask<T, F, W>(&self, work: W) -> Result<T, Busy>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Spool) -> F + Send + 'static,
    {
        let (sender, receiver) = oneshot();
        let begin: Work = Box::new(move |spool| {
            let task = work(spool);
            Box::pin(async move { sender.send(task.await) })
        });
        if self.lane.push(begin).is_err() {
            return Err(Busy);
        }
        receiver.await.ok_or(Busy)
    }

    /// What any thread may read.
    pub fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// Why nothing can be spooled; `None`: it can, as far as the last probe saw.
    pub fn trouble(&self) -> Option<String> {
        self.health.trouble()
    }

    fn is_away(&self) -> bool {
        self.health.is_away.load(Ordering::Acquire)
    }
}

impl Spooling for SpoolLane {
    async fn take(
        &self,
        body: BodyIn,
        envelope: Envelope,
        held: Held,
    ) -> Result<QueueId, SpoolFault> {
        if self.is_away() {
            let why = self.trouble().unwrap_or_default();
            return Err(SpoolFault::Away(why));
        }
        let taken = self.ask(move |spool| async move {
            let taken = spool.take(body, envelope).await;
            drop(held);
            taken
        });
        let busy = || SpoolFault::Away("its lane is full, or it is being closed".to_owned());
        taken.await.unwrap_or_else(|Busy| Err(busy()))
    }

    /// What waits behind legs that are away is not waited for: mail goes straight to storage meanwhile.
    fn waits(&self) -> bool {
        self.gauges.waits() && !self.is_away()
    }

    fn is_full(&self) -> bool {
        self.gauges.is_full() || self.is_away()
    }
}

impl SpoolEnd {
    /// What handles show.
    pub fn health(&self) -> Arc<SpoolHealth> {
        self.health.clone()
    }

    /// Serves the lane on this thread (inside its runtime) until `stop` resolves; then takes no more and waits for what is under way.
    pub async fn run(mut self, spool: Spool, stop: impl Future<Output = ()>) {
        let (under_way, ended) = (Rc::new(Cell::new(0usize)), Bell::new());
        let serve = async {
            // until every handle is gone
            while let Some(work) = self.lane.next().await {
                while under_way.get() >= UNDER_WAY_MAX {
                    ended.wait().await;
                }
                under_way.set(under_way.get() + 1);
                let (task, under_way, ended) =
                    (work(spool.clone()), under_way.clone(), ended.clone());
                tokio::task::spawn_local(async move {
                    task.await;
                    under_way.set(under_way.get() - 1);
                    ended.ring();
                });
            }
        };
        tokio::select! {
            () = stop => {}
            () = serve => {}
        }
        drop(self.lane); // callers that still wait in it get `Busy`
        while under_way.get() > 0 {
            ended.wait().await;
        }
    }
}
