//! The way from any core to the mailboxes: a bounded lane of closures to the volume's owner thread.
//!
//! Work that comes from the owner's own thread takes no lane. What must hold: the number of closures under way is
//! bounded, and one that began runs to its end also when no caller waits for its result any more.

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base::host::{Bell, Sender, oneshot};
use mailbox::Mailboxes;
use runtime::{Lane, LaneEnd, lane};

use crate::gauges::Gauges;
use crate::outgoing::Outgoing;

/// Closures waiting in the lane: a burst from every connection of a busy box, a few hundred bytes each.
pub const LANE_ITEMS_MAX: usize = 8_192;
/// Closures begun and not ended. Each may hold a message; the memory of messages has its own budget in front of this.
pub const UNDER_WAY_MAX: usize = 8_192;

type Task = Pin<Box<dyn Future<Output = ()>>>;
type Work = Box<dyn FnOnce(Place) -> Task + Send>;

/// The owner's lane is full or the owner is gone: 451, NO [UNAVAILABLE].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("storage is busy")]
pub struct Busy;

/// The way to the mailboxes, as sessions see it. `Owner` is the appliance's; the simulator's leads to mailboxes on the same thread.
///
/// What must hold: work that began runs to its end, also when the wait for it is dropped; `Busy` means that it did not begin, or
/// that it is not known how it ended.
pub trait Ask: Clone + 'static {
    /// Runs `work` beside the mailboxes and brings its result back.
    fn ask<T, F, W>(&self, work: W) -> impl Future<Output = Result<T, Busy>>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Mailboxes) -> F + Send + 'static;

    /// As `ask`, beside the queue of messages that must leave. `Busy` for ever where there is none.
    fn ask_outgoing<T, F, W>(&self, work: W) -> impl Future<Output = Result<T, Busy>>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Outgoing) -> F + Send + 'static,
    {
        drop(work);
        async { Err(Busy) }
    }

    /// As `ask`, beside the queue too where there is one.
    fn ask_either<T, F, W>(&self, work: W) -> impl Future<Output = Result<T, Busy>>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Mailboxes, Option<Outgoing>) -> F + Send + 'static,
    {
        self.ask(move |mailboxes| work(mailboxes, None))
    }

    /// Whether no mail can be taken just now.
    fn refuses_mail(&self) -> bool;
}

/// What closures may work on, on the owner's thread.
#[derive(Clone)]
pub struct Place {
    mailboxes: Mailboxes,
    outgoing: Option<Outgoing>,
}

impl From<Mailboxes> for Place {
    /// Without a queue.
    fn from(mailboxes: Mailboxes) -> Place {
        Place {
            mailboxes,
            outgoing: None,
        }
    }
}

impl From<Outgoing> for Place {
    fn from(outgoing: Outgoing) -> Place {
        Place {
            mailboxes: outgoing.mailboxes().clone(),
            outgoing: Some(outgoing),
        }
    }
}

/// Clonable, sendable handle to the mailboxes' owner.
#[derive(Clone)]
pub struct Owner {
    lane: Lane<Work>,
    number: usize,
    gauges: Arc<Gauges>,
}

/// The owner thread's end: give it to `run` there.
pub struct OwnerEnd {
    lane: LaneEnd<Work>,
    number: usize,
    gauges: Arc<Gauges>,
}

/// What the owner's own thread knows of itself.
#[derive(Clone)]
struct Home {
    number: usize,
    place: Place,
    under_way: Rc<Cell<usize>>,
    ended: Bell,
}

thread_local! {
    /// The owners that this thread serves, one for each volume, while their `run` goes on. Asked for by number, so that several do not get in each
    /// other's way: work for an owner that is here begins at once, because a lane to the own thread could be full without a reader.
    static HOMES: RefCell<Vec<Home>> = const { RefCell::new(Vec::new()) };
}

/// Takes an owner out of `HOMES` when its `run` ends, or is dropped.
struct AtHome(usize);

impl Drop for AtHome {
    fn drop(&mut self) {
        // A thread that ends has dropped its list already.
        let _ = HOMES.try_with(|homes| homes.borrow_mut().retain(|home| home.number != self.0));
    }
}

/// A handle and the end that serves it.
pub fn owner() -> (Owner, OwnerEnd) {
    static OWNERS: AtomicUsize = AtomicUsize::new(0);
    let number = OWNERS.fetch_add(1, Ordering::Relaxed);
    let gauges = Arc::new(Gauges::default());
    let (sending, receiving) = lane(LANE_ITEMS_MAX);
    (
        Owner {
            lane: sending,
            number,
            gauges: gauges.clone(),
        },
        OwnerEnd {
            lane: receiving,
            number,
            gauges,
        },
    )
}

impl Owner {
    /// Runs `work` on the owner's thread and brings its result back to this one. `Busy` when the lane is full.
    ///
    /// Dropping the wait does not stop the work. `owner.ask(move |mailboxes| async move { mailboxes.status(id).await }).await`
    pub async fn ask<T, F, W>(&self, work: W) -> Result<T, Busy>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Mailboxes) -> F + Send + 'static,
    {
        self.bring(|sender| {
            move |place: Place| -> Task {
                let task = work(place.mailboxes);
                Box::pin(async move { sender.send(task.await) })
            }
        })
        .await
    }

    /// As `ask`, beside the queue.
    pub async fn ask_outgoing<T, F, W>(&self, work: W) -> Result<T, Busy>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Outgoing) -> F + Send + 'static,
    {
        self.bring(|sender| {
            move |place: Place| -> Task {
                // Without a queue the sender is dropped: `Busy`.
                let task = place.outgoing.map(work);
                Box::pin(async move {
                    if let Some(task) = task {
                        sender.send(task.await);
                    }
                })
            }
        })
        .await
    }

    /// Begins the work at once where the owner is this thread, else by its lane. `Busy`: the lane is full, or the owner ended
    /// before it answered; what the work did by then is not known.
    async fn bring<T, W>(&self, work: impl FnOnce(Sender<T>) -> W) -> Result<T, Busy>
    where
        T: Send + 'static,
        W: FnOnce(Place) -> Task + Send + 'static,
    {
        let (sender, receiver) = oneshot();
        let work = work(sender);
        let home = HOMES.with_borrow(|homes| {
            let mut homes = homes.iter();
            homes.find(|home| home.number == self.number).cloned()
        });
        let begun = match home {
            Some(home) => home.begin(&self.gauges, work),
            None => self.lane.push(Box::new(work)).is_ok(),
        };
        let counted = if begun {
            &self.gauges.asked
        } else {
            &self.gauges.refused
        };
        counted.fetch_add(1, Ordering::Relaxed);
        if !begun {
            return Err(Busy);
        }
        let answer = receiver.await.ok_or(Busy);
        runtime::stall::arm();
        answer
    }

    pub fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// Closures in the lane, not yet begun.
    pub fn waiting(&self) -> usize {
        self.lane.len()
    }
}

impl Ask for Owner {
    async fn ask<T, F, W>(&self, work: W) -> Result<T, Busy>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Mailboxes) -> F + Send + 'static,
    {
        Owner::ask(self, work).await
    }

    async fn ask_outgoing<T, F, W>(&self, work: W) -> Result<T, Busy>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Outgoing) -> F + Send + 'static,
    {
        Owner::ask_outgoing(self, work).await
    }

    async fn ask_either<T, F, W>(&self, work: W) -> Result<T, Busy>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Mailboxes, Option<Outgoing>) -> F + Send + 'static,
    {
        self.bring(|sender| {
            move |place: Place| -> Task {
                let task = work(place.mailboxes, place.outgoing);
                Box::pin(async move { sender.send(task.await) })
            }
        })
        .await
    }

    fn refuses_mail(&self) -> bool {
        self.gauges.refusing.load(Ordering::Relaxed)
    }
}

impl Home {
    /// Starts `work` as a task of this thread; `false` when too many are under way.
    fn begin(&self, gauges: &Gauges, work: impl FnOnce(Place) -> Task) -> bool {
        if self.under_way.get() >= UNDER_WAY_MAX {
            return false;
        }
        self.under_way.set(self.under_way.get() + 1);
        gauges
            .under_way
            .store(self.under_way.get(), Ordering::Relaxed);
        let task = work(self.place.clone());
        let (under_way, ended) = (self.under_way.clone(), self.ended.clone());
        tokio::task::spawn_local(async move {
            task.await;
            under_way.set(under_way.get() - 1);
            ended.ring();
        });
        true
    }
}

impl OwnerEnd {
    /// The figures that handles show.
    pub fn gauges(&self) -> Arc<Gauges> {
        self.gauges.clone()
    }

    /// Serves the lane on this thread (inside its runtime) until `stop` resolves; then takes no more and waits for what is
    /// under way. A thread may serve several owners.
    pub async fn run(mut self, place: impl Into<Place>, stop: impl Future<Output = ()>) {
        let home = Home {
            number: self.number,
            place: place.into(),
            under_way: Rc::new(Cell::new(0)),
            ended: Bell::new(),
        };
        HOMES.with_borrow_mut(|homes| homes.push(home.clone()));
        let at_home = AtHome(self.number);
        tokio::select! {
            () = stop => {}
            () = self.serve(&home) => {}
        }
        drop(at_home);
        drop(self.lane); // callers that still wait in it get `Busy`
        while home.under_way.get() > 0 {
            home.ended.wait().await;
        }
    }

    async fn serve(&mut self, home: &Home) {
        // until every handle is gone
        while let Some(work) = self.lane.next().await {
            while home.under_way.get() >= UNDER_WAY_MAX {
                home.ended.wait().await;
            }
            assert!(home.begin(&self.gauges, work));
        }
    }
}
