//! The walk's file: from `commit` to one contiguous write per leg, and home again when all of them are durable.
//!
//! What must hold between calls: `pipeline` is in LSN order and its first `submitted` entries are at the devices; an
//! entry leaves it only from the front and only when every counting leg has it durable (I1); a leg that failed keeps
//! counting, and so holds acknowledgements back, until its leaving is recorded (`membership`).

use std::rc::Rc;
use std::sync::Arc;

use base::host::oneshot;
use device::{BLOCK_BYTES, Buffer, DeviceIndex, IoFault, Op, Pending};

use crate::format::{Header, Holds, Inline, Kind, blocks_of, content_hash, encode_inline};
use crate::inner::Inner;
use crate::limits::LEGS_MAX;
use crate::log::{Entry, LegWrite, Mode, Stamp};
use crate::segment::{Purpose, Row};
use crate::types::*;
use crate::{BATCH_HEADER_BYTES, Checkpoint};

/// A batch on its way in: sealed by the caller, without a number yet.
pub(crate) struct Sealed {
    /// Whose payload it is.
    pub kind: Kind,
    /// Header, payload and padding; the header is not written yet.
    pub buffer: Buffer,
    /// Payload without padding.
    pub payload_bytes: u32,
    /// Encoded inline records of the caller.
    pub inline: Vec<u8>,
    /// The reserve that it may draw on.
    pub purpose: Purpose,
}

/// Resolves when the batch is acknowledged, or never will be.
pub(crate) type Waiting = base::host::Receiver<Result<BatchAddress, CommitFault>>;

impl Inner {
    /// Numbers and places a batch and hands it to the devices as far as the pipeline allows. No await: the order of
    /// calls is the order of the log.
    pub fn enqueue(self: &Rc<Self>, mut sealed: Sealed) -> Result<Waiting, CommitFault> {
        let blocks = blocks_of(sealed.payload_bytes);
        let (sender, receiver) = oneshot();
        {
            let mut log = self.log.borrow_mut();
            let refusal = match log.taken_over() {
                Some(_) if sealed.purpose == Purpose::Own => None,
                taken_over => taken_over.or_else(|| log.mode().why()),
            };
            let refusal = refusal.map(|why| CommitFault::Deferred(why.into()));
            let segment_blocks = self.plan.segment_blocks();
            let has_room = log.table().has_room(blocks, segment_blocks, sealed.purpose);
            if let Some(fault) = refusal.or((!has_room).then_some(CommitFault::Full)) {
                self.pool.put(sealed.buffer);
                return Err(fault);
            }
            let lsn = log.next();
            log.claim_ahead(&mut sealed.inline);
            let holds = Holds::of(sealed.kind, &sealed.inline);
            let usable = |row: &Row| row.known < lsn;
            let place = log
                .table_mut()
                .place(lsn, blocks, segment_blocks, holds, usable);
            let (segment, generation, block) = place.expect("has_room said so");
            let end = BATCH_HEADER_BYTES + sealed.payload_bytes as usize;
            let padded_end = blocks as usize * BLOCK_BYTES;
            sealed.buffer[end..padded_end].fill(0);
            let entry = Entry {
                lsn,
                kind: sealed.kind,
                payload_bytes: sealed.payload_bytes,
                inline: sealed.inline,
                unix_seconds: self.io.host.unix_seconds(),
                prev: log.chain(),
                content: content_hash(&sealed.buffer[BATCH_HEADER_BYTES..padded_end], self.id),
                segment,
                generation,
                block,
                attempt: 0,
                buffer: Arc::new(sealed.buffer),
                since: self.io.host.now(),
                legs: [LegWrite::Absent; LEGS_MAX],
                waiter: Some(sender),
            };
            let header = entry.header(log.epoch(), log.term(), log.acked());
            log.append(entry, header.chain(self.id));
        }
        self.pump();
        Ok(receiver)
    }

    /// A batch of the volume's own.
    pub fn enqueue_own(
        self: &Rc<Self>,
        kind: Kind,
        payload: &[u8],
        records: &[Inline],
    ) -> Result<Waiting, CommitFault> {
        let mut buffer = self.pool.take_now();
        buffer[BATCH_HEADER_BYTES..BATCH_HEADER_BYTES + payload.len()].copy_from_slice(payload);
        let mut inline = Vec::new();
        for record in records {
            encode_inline(record, &mut inline);
        }
        let payload_bytes = payload.len() as u32;
        self.enqueue(Sealed {
            kind,
            buffer,
            payload_bytes,
            inline,
            purpose: Purpose::Own,
        })
    }

    /// Puts a batch that recovery found back into the log, unchanged but for its place: same number, same link.
    pub fn enqueue_again(
        self: &Rc<Self>,
        header: &Header,
        bytes: &[u8],
    ) -> Result<Waiting, CommitFault> {
        let (sender, receiver) = oneshot();
        {
            let mut buffer = self.pool.take_now();
            buffer[..bytes.len()].copy_from_slice(bytes);
            let mut log = self.log.borrow_mut();
            assert_eq!(header.lsn, log.next(), "the chain goes on");
            let place = log.table_mut().place(
                header.lsn,
                header.blocks(),
                self.plan.segment_blocks(),
                header.holds(),
                |_| true,
            );
            let (segment, generation, block) = place.ok_or(CommitFault::Full)?;
            let entry = Entry {
                lsn: header.lsn,
                kind: header.kind,
                payload_bytes: header.payload_bytes,
                inline: header.inline.clone(),
                unix_seconds: header.unix_seconds,
                prev: header.prev,
                content: header.content,
                segment,
                generation,
                block,
                attempt: header.attempt + 1,
                buffer: Arc::new(buffer),
                since: self.io.host.now(),
                legs: [LegWrite::Absent; LEGS_MAX],
                waiter: Some(sender),
            };
            log.append(entry, header.chain(self.id));
        }
        self.pump();
        Ok(receiver)
    }

    /// Submits as many waiting batches as the pipeline allows, in order.
    pub fn pump(self: &Rc<Self>) {
        // bounded by the pipeline
        while self.submit_next() {}
    }

    /// Submits the next batch to every leg that receives. `false`: none may go now.
    fn submit_next(self: &Rc<Self>) -> bool {
        let targets = self.legs_where(|leg| leg.receives());
        if targets.is_empty() {
            return false;
        }
        let mut log = self.log.borrow_mut();
        let in_flight_max = self.settings.batches_in_flight_max;
        let Some((entry, stamp)) = log.next_to_submit(in_flight_max) else {
            return false;
        };
        let bytes = seal_header(self, entry, stamp);
        let now = self.io.host.now();
        for &(leg, device) in &targets {
            let at = self.plan.at(entry.segment, entry.block);
            let data = entry.buffer.clone();
            let op = || Op::Write {
                at,
                data: data.clone(),
                range: 0..bytes,
                durable: true,
            };
            let first = self.io.device.start(device, op());
            entry.legs[leg.0 as usize] = LegWrite::Flying { since: now };
            self.legs.borrow_mut()[leg].write_begins();
            let task = follow_write(
                self.clone(),
                entry.lsn,
                entry.attempt,
                leg,
                device,
                first,
                op(),
            );
            self.io.host.spawn(Box::pin(task));
        }
        let count = targets.len() as u64;
        self.count(|c| {
            c.device_writes += count;
            c.bytes_written += count * bytes as u64;
        });
        log.note_submitted();
        if log.begin_watching() {
            self.io
                .host
                .spawn(Box::pin(crate::deadline::watch(self.clone())));
        }
        true
    }

    /// A write of `lsn` has ended on `leg`.
    fn note_write(
        self: &Rc<Self>,
        lsn: Lsn,
        attempt: u32,
        leg: LegIndex,
        result: Result<(), IoFault>,
    ) {
        let now = self.io.host.now();
        let took_us = self
            .log
            .borrow_mut()
            .note_write(lsn, attempt, leg, result, now);
        self.legs.borrow_mut()[leg].write_ends(took_us);
        if let Err(fault) = result {
            self.write_fault(leg, fault);
        }
        self.settle();
        self.judge_refused(true);
    }

    /// A write failed for good. On a leg that counts the meaning depends on the others (`outage`).
    fn write_fault(self: &Rc<Self>, leg: LegIndex, fault: IoFault) {
        let counts = {
            let mut legs = self.legs.borrow_mut();
            legs[leg].note_write_fault();
            legs[leg].counts()
        };
        match fault {
            IoFault::Conflict => self.stop("another owner holds a device of this volume"),
            _ if counts => self.log.borrow_mut().note_refused(),
            fault => self.suspect(leg, &format!("a write failed: {fault}")),
        }
    }

    /// Acknowledges, in LSN order, everything durable on every counting leg.
    pub fn settle(self: &Rc<Self>) {
        let mut any = false;
        // bounded by the pipeline
        while let Some(entry) = self.take_durable() {
            any = true;
            let address = entry.address();
            let result = Ok(address);
            if let Some(waiter) = entry.waiter {
                waiter.send(result);
            }
            self.pool.put_shared(entry.buffer);
        }
        if any {
            self.arena.owner_turn(self);
            self.note_when_quiet();
        }
        self.moved.ring();
        self.pump();
    }

    /// The next batch to be acknowledged, if it is durable on every leg that counts.
    fn take_durable(&self) -> Option<Entry> {
        let counting = self.legs_where(|leg| leg.counts());
        let entry = self.log.borrow_mut().take_durable(&counting)?;
        self.count(|c| c.batches += 1);
        Some(entry)
    }

    /// Nothing is acknowledged any more; every waiting caller gets a fault.
    pub fn stop(self: &Rc<Self>, why: &str) {
        let Some(waiting) = self.log.borrow_mut().stop(why) else {
            return;
        };
        let result = Err(CommitFault::Deferred(why.to_string()));
        for entry in waiting {
            if let Some(waiter) = entry.waiter {
                waiter.send(result.clone());
            }
            self.pool.put_shared(entry.buffer);
        }
        self.moved.ring();
    }

    /// The medium refused a write twice: the open segment ends before the first batch that is not durable, and that
    /// batch and all later ones move to the next segment on every leg.
    pub fn give_up_segment(self: &Rc<Self>, leg: LegIndex) {
        let now = self.io.host.now();
        let too_many = self.legs.borrow_mut()[leg].note_spoiled(now);
        if too_many {
            self.suspect(leg, "too many segments refused writes");
            return;
        }
        if self.log.borrow_mut().begin_respool() {
            self.io.host.spawn(Box::pin(respool(self.clone())));
        }
    }

    /// Whether a counting leg has a batch write in flight. One that is failing counts until its leaving is recorded, and an outage may
    /// keep it: its late write must not land in a place that has been given up and used again.
    pub fn writes_fly(&self) -> bool {
        let legs = self.legs_where(|leg| leg.counts() && leg.flying() > 0);
        !legs.is_empty()
    }

    /// Waits until everything numbered so far is acknowledged, or the volume cannot.
    pub async fn drained(&self) -> Result<(), CommitFault> {
        let until = Lsn(self.log.borrow().next().0 - 1);
        // until acknowledged or refused
        loop {
            let moved = self.moved.wait();
            {
                let log = self.log.borrow();
                if log.acked() >= until {
                    return Ok(());
                }
                if let Some(why) = log.mode().why_hopeless() {
                    return Err(CommitFault::Deferred(why.into()));
                }
            }
            moved.await;
        }
    }

    /// The checkpoint that the log has now.
    pub fn checkpoint_now(&self) -> Checkpoint {
        self.log.borrow().checkpoint().clone()
    }
}

/// Follows one write to its end: a medium error is tried once more.
async fn follow_write(
    inner: Rc<Inner>,
    lsn: Lsn,
    attempt: u32,
    leg: LegIndex,
    device: DeviceIndex,
    first: Pending,
    again: Op,
) {
    let mut result = first.await.result;
    if result == Err(IoFault::Medium) {
        inner.count(|c| c.device_writes += 1);
        result = inner.io.device.start(device, again).await.result;
    } else {
        drop(again);
    }
    inner.note_write(lsn, attempt, leg, result);
}

/// Gives a segment up: waits until nothing is written to it, then moves its last batches to the next one.
async fn respool(inner: Rc<Inner>) {
    // until no counting leg has a write in flight; `deadline` sees to it that a silent one leaves, or begins an outage
    loop {
        let moved = inner.moved.wait();
        if !inner.writes_fly() {
            break;
        }
        if matches!(
            inner.log.borrow().mode(),
            Mode::Outage(_) | Mode::Stopped(_)
        ) {
            // The batches stay where they are: an outage writes them again in their places, or takes out a leg that does not.
            inner.log.borrow_mut().end_respool();
            return;
        }
        moved.await;
    }
    inner.settle();
    inner.count(|c| c.segments_spoiled += 1);
    tracing::warn!("a segment refused a write; its last batches move to the next one");
    let mut placed = inner.move_if_places();
    if placed.is_err() {
        let claimed = inner.claim_in_superblock().await;
        placed = claimed.and_then(|()| inner.move_if_places());
    }
    inner.log.borrow_mut().end_respool();
    if placed.is_err() {
        inner.judge_without_places();
    }
    inner.settle();
}

/// Writes the header into the entry's buffer and says how many bytes to write. A buffer that a device still holds
/// from an earlier attempt is left to it, and copied.
fn seal_header(inner: &Inner, entry: &mut Entry, stamp: Stamp) -> usize {
    let header = entry.header(stamp.epoch, stamp.term, stamp.acked);
    let bytes = header.blocks() as usize * BLOCK_BYTES;
    if Arc::get_mut(&mut entry.buffer).is_none() {
        let mut copy = Buffer::zeroed(entry.buffer.len());
        copy[..bytes].copy_from_slice(&entry.buffer[..bytes]);
        let held = std::mem::replace(&mut entry.buffer, Arc::new(copy));
        inner.pool.put_shared(held);
    }
    let buffer = Arc::get_mut(&mut entry.buffer).expect("just made sure");
    header.encode(inner.id, &mut buffer[..BATCH_HEADER_BYTES]);
    bytes
}
