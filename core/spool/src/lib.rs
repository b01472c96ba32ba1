//! *The inbound spool*: messages that were accepted while storage was full, slow or away, until storage takes them.
//!
//! The spool is a volume of its own, with the same engine below: what `take` accepted is durable on every leg that counts. Its one tenant is a
//! `queue::Queue`, because an entry of the spool is what an entry of the queue is: bytes, an envelope with what the sender wants to hear, and a number
//! that only grows. The two differ in where a message goes next. From here all of them go to the storage zone, in the order of their numbers;
//! so no record, no row and no rule of reclaim had to be written again.
//!
//! What must hold between calls:
//! - a message is in the spool from before it is accepted until after storage has it durably: `take` answers after the commit, and `done` is called
//!   after the hand-over was answered. A crash in between hands over once more, and storage knows the delivery (`storage::outgoing`).
//! - what waits is bounded in bytes and in messages. A full spool refuses, and nothing in it is dropped.
//! - `Gauges` never show less than what is durable: a message counts from when it is to be taken.
//!
//! Start reading here; who takes and hands over is `inbound::spool`.
#![forbid(unsafe_code)]

mod gauges;
pub mod limits;
#[doc(hidden)]
pub mod rig;
#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::sync::Arc;

use base::host::{Bell, BellWait, oneshot};
use queue::{Entry, Envelope, Queue, QueueFault, QueueId};
use store::{BodyIn, ReadFault, Replay, Store, StoreFault};
use tenancy::Tenancy;

pub use gauges::Gauges;

use limits::STALE_READS_MAX;

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
    /// Of all messages that wait, as they were received.
    pub bytes_max: u64,
    pub messages_max: usize,
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
    /// Rung when something was taken.
    arrived: Bell,
}

impl Spool {
    /// Reads the log, and then everything that waits is in memory.
    pub async fn open(
        io: device::Io,
        store: Store,
        replay: Replay,
        settings: Settings,
    ) -> Result<Spool, StoreFault> {
        let tenancy = Tenancy::new(io, store, settings.checkpoints.clone());
        let queue = Queue::new(&tenancy);
        tenancy.open(replay, vec![queue.tenant()]).await?;
        let gauges = Gauges::new(settings.messages_max, settings.bytes_max);
        for entry in queue.entries(None, usize::MAX) {
            gauges.enter(u64::from(entry.body.raw_bytes));
        }
        gauges.note_oldest(queue.oldest());
        let inner = Inner {
            queue,
            settings,
            gauges: Arc::new(gauges),
            arrived: Bell::new(),
        };
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
        self.inner.queue.entries(after, count_max)
    }

    /// The bytes of a message that waits, as they were taken. `None`: it does not wait any more.
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

    /// Storage has these durably: they leave the spool, in one durable step. Called by one task at a time.
    pub async fn done(&self, entries: &[Entry]) -> Result<(), SpoolFault> {
        let queue = &self.inner.queue;
        let there = entries
            .iter()
            .filter(|entry| queue.entry(entry.id).is_some());
        let there: Vec<&Entry> = there.collect();
        let ids: Vec<QueueId> = there.iter().map(|entry| entry.id).collect();
        queue.remove_all(&ids).await.map_err(spool_fault)?;
        self.inner.gauges.note_handed(there.len());
        for entry in there {
            self.inner.gauges.leave(u64::from(entry.body.raw_bytes));
        }
        self.inner.gauges.note_oldest(queue.oldest());
        Ok(())
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
        let taken = self.queue.enqueue(body, envelope).await;
        match taken {
            Ok(id) => {
                gauges.note_taken();
                gauges.note_oldest(self.queue.oldest());
                self.arrived.ring();
                Ok(id)
            }
            Err(fault) => {
                gauges.leave(bytes);
                Err(spool_fault(fault))
            }
        }
    }
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
