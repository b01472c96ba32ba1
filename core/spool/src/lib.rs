//! *The inbound spool*: messages that were accepted while storage was full, slow or away, until storage takes them, and for a while after that.
//!
//! The spool is a volume of its own, with the same engine below: what `take` accepted is durable on every leg that counts. Its one tenant is a
//! `queue::Queue`, because an entry of the spool is what an entry of the queue is: bytes, an envelope with what the sender wants to hear, and a number
//! that only grows. The two differ in where a message goes next. From here all of them go to the storage zone, in the order of their numbers;
//! so no record, no row and no rule of reclaim had to be written again.
//!
//! A message **waits** (an entry that is not held) until storage has it. Then it is **kept** (held, with the time of the hand-over as its try) for
//! `Settings::keep_s`, so that it can be handed over again after a loss: `redeliver` has it wait once more. The tries of an entry are its hand-overs so
//! far, and name the round that the next one belongs to (`round`).
//!
//! What must hold between calls:
//! - a message is in the spool from before it is accepted until after storage has it durably: `take` answers after the commit, and `done` is called
//!   after the hand-over was answered. A crash in between hands over once more, and storage knows the delivery (`storage::outgoing`).
//! - what waits is bounded in bytes, messages and recipients. A full spool refuses, and nothing that waits is dropped.
//! - what is kept never takes room from new mail: the oldest copies are given up for it (`keeping.rs`).
//! - `Gauges` never show less than what is durable: a message counts from when it is to be taken.
//!
//! Start reading here; who takes and hands over is `inbound::spool`.
#![forbid(unsafe_code)]

mod damage;
mod gauges;
mod keeping;
pub mod limits;
#[doc(hidden)]
pub mod rig;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::rc::Rc;
use std::sync::Arc;

use base::host::{Bell, BellWait, oneshot};
use queue::{Entry, Envelope, Queue, QueueFault, QueueId, UnixSeconds};
use store::{BodyIn, ReadFault, Replay, Store, StoreFault};
use tenancy::Tenancy;

pub use gauges::Gauges;

use limits::{ROOM_TRIES, STALE_READS_MAX};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolFault {
    /// Nothing more fits until storage has taken something over: 452 4.3.1.
    #[error("the spool is full")]
    Full,
    /// The message fits no spool: an envelope or a body past the engine's bounds.
    #[error("not allowed: {0}")]
    Refused(String),
    /// The spool's own volume refuses, or is closed.
    #[error("the spool takes nothing: {0}")]
    Away(String),
}

#[derive(Debug, Clone)]
pub struct Settings {
    /// Of all messages that wait, as they were received. A volume that has less room bounds it further (`limits::usable_bytes`).
    pub bytes_max: u64,
    pub messages_max: usize,
    /// Recipients of all messages: their texts are most of the memory.
    pub addressees_max: usize,
    /// How long a message stays after its hand-over, in seconds, as far as room allows; 0: not at all.
    pub keep_s: u64,
    pub checkpoints: tenancy::Settings,
}

/// The spool of one volume; lives on one thread. Clones share one state.
#[derive(Clone)]
pub struct Spool {
    inner: Rc<Inner>,
}

struct Inner {
    queue: Queue,
    settings: Settings,
    gauges: Arc<Gauges>,
    waiting: RefCell<BTreeSet<QueueId>>,
    /// What storage has, by the time of its hand-over.
    kept: RefCell<BTreeSet<(UnixSeconds, QueueId)>>,
    /// Rung when something was taken.
    arrived: Bell,
}

/// Which hand-over of the message comes next: 0 is the first. Each has a delivery id of its own.
pub fn round(entry: &Entry) -> u32 {
    entry.recipients.first().map_or(0, |first| first.tries)
}

impl Spool {
    /// Reads the log, and then everything that waits is in memory.
    pub async fn open(
        io: device::Io,
        store: Store,
        replay: Replay,
        mut settings: Settings,
    ) -> Result<Spool, StoreFault> {
        let tenancy = Tenancy::new(io, store, settings.checkpoints.clone());
        let queue = Queue::new(&tenancy);
        tenancy.open(replay, vec![queue.tenant()]).await?;
        let room = tenancy.store().volume().room();
        settings.bytes_max = settings.bytes_max.min(limits::usable_bytes(&room));
        let gauges = Gauges::new(settings.messages_max, settings.bytes_max);
        let inner = Inner {
            queue,
            settings,
            gauges: Arc::new(gauges),
            waiting: RefCell::default(),
            kept: RefCell::default(),
            arrived: Bell::new(),
        };
        for entry in inner.queue.entries(None, usize::MAX) {
            inner.place(&entry);
            if !entry.held {
                inner.gauges.enter(u64::from(entry.body.raw_bytes));
            }
        }
        inner.note_oldest();
        Ok(Spool {
            inner: Rc::new(inner),
        })
    }

    /// Takes a message; durable when this resolves with `Ok`. It goes on when no caller waits for it any more.
    pub async fn take(&self, body: BodyIn, envelope: Envelope) -> Result<QueueId, SpoolFault> {
        let inner = self.inner.clone();
        let (sender, receiver) = oneshot();
        let host = inner.queue.tenancy().io().host.clone();
        host.spawn(Box::pin(async move {
            sender.send(inner.take(body, envelope).await);
        }));
        let gone = || SpoolFault::Away("its thread ended".to_owned());
        receiver.await.unwrap_or_else(|| Err(gone()))
    }

    /// Messages that wait, by number, after `after`, at most `count_max`.
    pub fn entries(&self, after: Option<QueueId>, count_max: usize) -> Vec<Entry> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let waiting = self.inner.waiting.borrow();
        let ids = waiting.range((from, Bound::Unbounded)).take(count_max);
        ids.filter_map(|id| self.inner.queue.entry(*id)).collect()
    }

    /// Everything that is in it, by number, after `after`, at most `count_max`.
    pub fn every(&self, after: Option<QueueId>, count_max: usize) -> Vec<QueueId> {
        let page = self.inner.queue.entries(after, count_max);
        page.iter().map(|entry| entry.id).collect()
    }

    /// The bytes of a message, as they were taken. `None`: it is not in the spool any more.
    pub async fn read(&self, id: QueueId) -> Option<Result<BodyIn, ReadFault>> {
        let store = self.inner.queue.tenancy().store();
        let mut read = Err(ReadFault::Damaged);
        for _attempt in 0..STALE_READS_MAX {
            // Reclaim may move it meanwhile.
            let body = self.inner.queue.entry(id)?.body;
            read = async {
                let summaries = store.summaries(std::slice::from_ref(&body)).await;
                let summary = summaries.into_iter().next();
                Ok(BodyIn {
                    // Proved by its name: the name is what the delivery is known by.
                    raw: store.body_proved(&body).await?,
                    summary: summary.unwrap_or(Err(ReadFault::Damaged))?,
                    name: body.name,
                })
            }
            .await;
            if !matches!(read, Err(ReadFault::Stale)) {
                break;
            }
        }
        Some(read)
    }

    /// Resolves when something is taken after this call.
    pub fn arrival(&self) -> BellWait {
        self.inner.arrived.wait()
    }

    /// What any thread may read.
    pub fn gauges(&self) -> Arc<Gauges> {
        self.inner.gauges.clone()
    }

    /// The log that it is in.
    pub fn tenancy(&self) -> &Tenancy {
        self.inner.queue.tenancy()
    }
}

impl Inner {
    async fn take(&self, body: BodyIn, envelope: Envelope) -> Result<QueueId, SpoolFault> {
        let bytes = body.raw.len() as u64;
        let gauges = &self.gauges;
        if gauges.waiting() >= self.settings.messages_max
            || gauges.bytes().saturating_add(bytes) > self.settings.bytes_max
        {
            return Err(SpoolFault::Full);
        }
        gauges.enter(bytes);
        let taken = self.enqueue(body, envelope).await;
        match taken {
            Ok(id) => {
                // It may be in the list already, and counted, where damage was given up meanwhile.
                if !self.waiting.borrow_mut().insert(id) {
                    gauges.leave(bytes);
                }
                gauges.note_taken();
                self.note_oldest();
                self.arrived.ring();
                Ok(id)
            }
            Err(fault) => {
                gauges.leave(bytes);
                Err(fault)
            }
        }
    }

    /// Kept copies go before new mail is refused.
    async fn enqueue(&self, body: BodyIn, envelope: Envelope) -> Result<QueueId, SpoolFault> {
        let addressees = envelope.recipients.len();
        self.give_way(addressees).await;
        if self.queue.addressees() + addressees > self.settings.addressees_max {
            return Err(SpoolFault::Full);
        }
        for _ in 0..ROOM_TRIES {
            let fault = match self.queue.enqueue(body.clone(), envelope.clone()).await {
                Ok(id) => return Ok(id),
                Err(fault) => spool_fault(fault),
            };
            // What the log holds of them comes back as room after a round of reclaim.
            let eased = self.queue.tenancy().eased();
            if fault != SpoolFault::Full || !self.give_up_half().await {
                return Err(fault);
            }
            self.queue.tenancy().hurry();
            eased.await;
        }
        let enqueued = self.queue.enqueue(body, envelope).await;
        enqueued.map_err(spool_fault)
    }

    /// Into the list that the entry belongs to.
    fn place(&self, entry: &Entry) {
        let bytes = u64::from(entry.body.raw_bytes);
        let is_new = match entry.held {
            true => self.kept.borrow_mut().insert((since(entry), entry.id)),
            false => self.waiting.borrow_mut().insert(entry.id),
        };
        if is_new && entry.held {
            self.gauges.keep(bytes);
        }
    }

    fn note_oldest(&self) {
        let first = self.waiting.borrow().first().copied();
        let oldest = first.and_then(|id| self.queue.entry(id));
        self.gauges.note_oldest(oldest.map(|entry| entry.arrived));
    }
}

/// When a kept entry was handed over.
pub fn since(entry: &Entry) -> UnixSeconds {
    let first = entry.recipients.first();
    first.map_or(UnixSeconds(0), |first| first.tried)
}

fn spool_fault(fault: QueueFault) -> SpoolFault {
    match fault {
        QueueFault::Full | QueueFault::Store(StoreFault::Full) => SpoolFault::Full,
        QueueFault::Refused(_) | QueueFault::Store(StoreFault::TooLarge) => {
            SpoolFault::Refused(fault.to_string())
        }
        QueueFault::NoEntry | QueueFault::Store(_) => SpoolFault::Away(fault.to_string()),
    }
}
