//! From `append` to durable: the queue and the committer. What goes into a batch is in `place.rs`, what fits none in `chunk.rs`.
//!
//! Groups wait in one queue in the order of the `append` calls. One committer, started when the queue fills and gone when it
//! is empty, places them into batches and keeps at most `BATCHES_IN_FLIGHT_MAX` of those on their way: *batch while busy*. With
//! nothing in flight a group leaves at once and alone, or waits a moment (`GATHER_BRIEF_US`) where others were answered just now
//! and will be back; while a batch is being written the next one gathers until a slot frees, it is full, or `GATHER_US`
//! passed. When a batch is durable every group in it is applied in log order and
//! only then are the waiters woken.
//!
//! Invariants: a group lies wholly in one batch; a group is never placed before one that was appended earlier; a group that
//! was answered with a fault is not in the log (the volume refuses a batch before it numbers it, or stops for good).

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use base::host::{Receiver, Time, oneshot};
use bytes::Bytes;
use volume::{Batch, BatchAddress, RecordAddress};

use crate::body::chunk_list_bytes_max;
use crate::committer::{Cargo, Committer, Flight};
use crate::frame::{Kind, align8};
use crate::limits::*;
use crate::place::fixed_frame_bytes;
use crate::queue::{Applied, Landed, OwnFrame, Packed, Waiting};
use crate::space::Wanted;
use crate::{BodyIn, BodyRef, Committed, Group, Inner, Lsn, Purpose, StoreFault};

/// Who appends.
pub(crate) enum Origin {
    /// The layer above: its bodies are compressed as they are placed.
    Layer,
    /// Reclaim, which compressed its copies beforehand.
    Reclaim(Packed),
}

impl Inner {
    /// Puts `group` into the queue, or says at once why not.
    pub(crate) fn enqueue(
        self: &Rc<Self>,
        group: Group,
        applied: Option<Applied>,
        origin: Origin,
    ) -> Result<Receiver<Result<Committed, StoreFault>>, StoreFault> {
        self.check_bounds(&group)?;
        // Nothing new waits behind batches that cannot become durable just now.
        if let Some(why) = self.volume.refuses() {
            return Err(StoreFault::Deferred(why));
        }
        let bytes = group_bytes(&group);
        let (packed, rows) = match origin {
            Origin::Layer => (Packed::new(), group.rows.max(group.records.len() as u64)),
            Origin::Reclaim(packed) => (packed, 0),
        };
        let wanted = Wanted {
            purpose: group.purpose,
            has_bodies: !group.bodies.is_empty(),
            rows,
            bytes: (self.queue.borrow().bytes() + bytes) as u64,
        };
        if !self.admits(&wanted) {
            return Err(StoreFault::Full);
        }
        if group.purpose != Purpose::Reclaim {
            self.reclaim.note_change(bytes as u64);
        }
        let purpose = group.purpose;
        let (reply, receiver) = oneshot();
        let start = {
            let mut queue = self.queue.borrow_mut();
            if queue.is_past_hard(bytes) {
                return Err(StoreFault::Deferred(
                    "more is waiting for the disks than memory is planned for".into(),
                ));
            }
            self.space.owe_queued(rows);
            let waiting = Waiting {
                group,
                applied,
                reply,
                packed,
                purpose,
                bytes,
                rows,
                since: self.io.host.now(),
            };
            queue.push(waiting, self.sizes.payload_bytes_max)
        };
        if start {
            self.wake_committer();
        }
        Ok(receiver)
    }

    /// Appends one frame of the store's own with one run and resolves with the run's address once durable.
    pub(crate) async fn append_own(
        self: &Rc<Self>,
        kind: Kind,
        run: Bytes,
    ) -> Result<(Lsn, RecordAddress), StoreFault> {
        let (reply, receiver) = oneshot();
        let placed = Box::new(move |result| reply.send(result));
        self.queue.borrow_mut().push_own(OwnFrame {
            kind,
            run,
            purpose: Purpose::Reclaim,
            placed,
        });
        self.wake_committer();
        receiver.await.unwrap_or_else(|| Err(stopped()))
    }

    /// What can never fit is refused at once (`TooLarge`): waiting would not make it smaller.
    fn check_bounds(&self, group: &Group) -> Result<(), StoreFault> {
        let list = |body: &BodyIn| {
            align8(chunk_list_bytes_max(
                body.raw.len().div_ceil(self.sizes.chunk_bytes),
            ))
        };
        let fits = fixed_frame_bytes(group) + group.bodies.iter().map(list).sum::<usize>()
            <= self.sizes.group_fixed_bytes_max
            && group.records.len() <= GROUP_RECORDS_MAX
            && group.bodies.len() <= GROUP_BODIES_MAX
            && group
                .bodies
                .iter()
                .all(|body| body.raw.len() <= BODY_BYTES_MAX);
        if fits {
            Ok(())
        } else {
            Err(StoreFault::TooLarge)
        }
    }

    /// Rings the committer, or starts one.
    fn wake_committer(self: &Rc<Self>) {
        if !self.queue.borrow_mut().begin_committing() {
            self.queue_bell.ring();
            return;
        }
        let committer = Committer {
            inner: self.clone(),
            flights: VecDeque::new(),
            big: None,
            meta: Vec::new(),
        };
        self.io.host.spawn(Box::pin(committer.run()));
    }
}

/// The answer to what comes after `close`.
pub(crate) fn stopped() -> StoreFault {
    StoreFault::Deferred("the store is stopping".into())
}

/// What a waiting group takes of the queue's bound, about.
fn group_bytes(group: &Group) -> usize {
    let bodies: usize = group
        .bodies
        .iter()
        .map(|body| body.raw.len() + body.summary.len())
        .sum();
    let records: usize = group
        .records
        .iter()
        .map(|record| record.payload.len())
        .sum();
    bodies + records + 64
}

impl Committer {
    /// Runs until the queue is empty and every batch has landed.
    async fn run(mut self) {
        // Ends when nothing waits and nothing is in flight; the next append starts another.
        loop {
            self.start_big_group();
            if self.has_placeable() {
                self.wait_for_turn().await;
                let Some(batch) = self.begin().await else {
                    continue;
                };
                self.fill_and_submit(batch);
            } else if !self.flights.is_empty() {
                let before = self.flights.len();
                let bell = self.inner.queue_bell.wait();
                self.drive_until(before, bell).await;
            } else {
                assert!(self.big.is_none(), "no caller is left behind");
                self.inner.queue.borrow_mut().end_committing();
                if cfg!(debug_assertions) {
                    self.inner.check();
                }
                return;
            }
        }
    }

    /// Whether something could go into a batch now.
    fn has_placeable(&self) -> bool {
        let queue = self.inner.queue.borrow();
        match &self.big {
            Some(big) => queue.has_own() || big.is_settled(),
            None => !queue.is_empty(),
        }
    }

    /// Batch while busy: with something in flight, gather. With nothing in flight, a moment for those to come back who were
    /// answered together.
    async fn wait_for_turn(&mut self) {
        loop {
            // until the time is up, a full batch, or the batch in flight
            let in_flight = self.flights.len();
            let until = self.gathers_until();
            if until.is_none() && in_flight < BATCHES_IN_FLIGHT_MAX {
                self.inner.queue.borrow_mut().await_groups(0);
                return;
            }
            let bell = self.inner.queue_bell.wait();
            match until {
                Some(until) if in_flight < BATCHES_IN_FLIGHT_MAX => {
                    let timer = self.inner.io.host.sleep_until(until);
                    self.drive_until(in_flight, either(bell, timer)).await;
                }
                _ => self.drive_until(in_flight, bell).await,
            }
        }
    }

    /// How long the next batch waits for company; `None`: not any longer.
    fn gathers_until(&self) -> Option<Time> {
        let mut queue = self.inner.queue.borrow_mut();
        let oldest = queue.first()?.since;
        if queue.bytes() >= self.inner.sizes.payload_bytes_max
            || queue.has_own()
            || self.big.is_some()
        {
            return None;
        }
        let now = self.inner.io.host.now();
        let landed = queue.landed();
        let until = if !self.flights.is_empty() {
            oldest.after_us(GATHER_US)
        } else if queue.groups() < landed.groups && now.since_us(landed.at) < GATHER_US {
            let brief = landed.took_us.min(GATHER_BRIEF_US);
            let until = oldest.max(landed.at).after_us(brief);
            queue.await_groups(landed.groups);
            until
        } else {
            return None;
        };
        (now < until).then_some(until)
    }

    /// A batch buffer; settles what lands meanwhile.
    async fn begin(&mut self) -> Option<Batch> {
        let volume = self.inner.volume.clone();
        let mut begin = pin!(volume.begin());
        let batch = poll_fn(|context| {
            self.poll_flights(context);
            begin.as_mut().poll(context)
        })
        .await;
        // A big group may have failed with a chunk that landed meanwhile.
        self.has_placeable().then_some(batch)
    }

    /// Resolves when fewer than `before` batches are in flight, or `until` does.
    async fn drive_until(&mut self, before: usize, until: impl Future<Output = ()>) {
        let mut until = pin!(until);
        poll_fn(|context| {
            self.poll_flights(context);
            if self.flights.len() < before {
                Poll::Ready(())
            } else {
                until.as_mut().poll(context)
            }
        })
        .await;
    }

    /// Polls every batch on its way. They land in the order of the log, even where a later one is durable first.
    fn poll_flights(&mut self, context: &mut Context<'_>) {
        for flight in &mut self.flights {
            if flight.done.is_none()
                && let Poll::Ready(result) = flight.commit.as_mut().poll(context)
            {
                flight.done = Some(result);
            }
        }
        while self
            .flights
            .front()
            .is_some_and(|flight| flight.done.is_some())
        {
            let flight = self.flights.pop_front().expect("the front was looked at");
            self.land(flight);
        }
    }

    /// A batch is durable, or failed: apply in log order, then answer.
    fn land(&mut self, mut flight: Flight) {
        let now = self.inner.io.host.now();
        self.inner.queue.borrow_mut().flight_ends(Landed {
            at: now,
            took_us: now.since_us(flight.since),
            groups: flight.cargo.len(),
        });
        match flight.done.take().expect("only finished flights land") {
            Ok(address) => self.landed(flight, &address, now),
            Err(fault) => self.fail(flight, fault.into()),
        }
        self.fail_big_group();
        if !self.inner.queue.borrow().is_past_soft() {
            self.inner.room_bell.ring();
        }
    }

    /// A batch is durable: every group is applied before the first answer, so that a caller that was answered sees all
    /// of it.
    fn landed(&mut self, flight: Flight, address: &BatchAddress, now: Time) {
        let mut answers = Vec::with_capacity(flight.cargo.len());
        let (mut groups, mut tells) = (0, false);
        for cargo in flight.cargo {
            match cargo {
                Cargo::Group {
                    bodies,
                    applied,
                    reply,
                    rows,
                    since,
                    ..
                } => {
                    groups += 1;
                    let took_us = now.since_us(since);
                    self.inner
                        .counted(|counters| counters.commits.note(took_us));
                    tells |= rows > 0;
                    self.inner.space.settle_queued(rows, true);
                    let bodies: Vec<BodyRef> = bodies.iter().map(|body| body.at(address)).collect();
                    let bytes = bodies
                        .iter()
                        .map(|body| u64::from(body.body.bytes) + u64::from(body.summary.bytes));
                    self.inner.reclaim.note_placed(address.segment, bytes.sum());
                    let committed = Committed {
                        lsn: address.lsn,
                        bodies,
                    };
                    if let Some(applied) = applied {
                        applied(&committed);
                    }
                    answers.push((reply, committed));
                }
                Cargo::Own { kind, run, placed } => {
                    let is_chunk = kind == Kind::Chunk;
                    let bytes = if is_chunk { u64::from(run.bytes) } else { 0 };
                    self.inner.reclaim.note_placed(address.segment, bytes);
                    placed(Ok((address.lsn, run.address(address))))
                }
            }
        }
        self.inner.note_batch(address, flight.bytes, groups);
        if tells {
            self.inner.told.set(address.lsn);
        }
        for (reply, committed) in answers {
            reply.send(Ok(committed));
        }
    }

    /// A batch was refused: none of its groups is in the log, and each caller gets the fault.
    fn fail(&self, flight: Flight, fault: StoreFault) {
        tracing::warn!(%fault, groups = flight.cargo.len(), "a commit batch was refused");
        for cargo in flight.cargo {
            match cargo {
                Cargo::Group { reply, rows, .. } => {
                    self.inner.space.settle_queued(rows, false);
                    reply.send(Err(fault.clone()))
                }
                Cargo::Own { placed, .. } => placed(Err(fault.clone())),
            }
        }
    }
}

/// Resolves with the first of two futures. The other one is dropped.
async fn either(first: impl Future<Output = ()>, second: impl Future<Output = ()>) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|context| match first.as_mut().poll(context) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => second.as_mut().poll(context),
    })
    .await;
}
