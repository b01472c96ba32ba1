//! Reads: from the least busy leg, verified, from another leg when that fails, and then the bad copy is put right.
//!
//! A repair rewrites the whole batch: read from a good leg, proved by its own checksum, written to the bad one, read
//! back. The segment is pinned meanwhile, so that it cannot be reused under the repair's feet.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use base::hash::xxh3_64;
use bytes::Bytes;
use device::{BLOCK_BYTES, Buffer, DeviceIndex, IoFault, Op, Pending};

use crate::BATCH_HEADER_BYTES;
use crate::format::Header;
use crate::gate::within;
use crate::inner::Inner;
use crate::limits::{READ_BYTES_MAX, READ_GAP_BYTES, READS_AT_ONCE_MAX};
use crate::segment::Of;
use crate::segment::State;
use crate::types::*;

/// One device read that serves one or more of the addresses asked for.
struct Fetch {
    at: u64,
    bytes: usize,
    /// Which of the addresses, by position.
    serves: Vec<usize>,
}

struct Running {
    fetch: Fetch,
    leg: LegIndex,
    pending: Pending,
}

impl Inner {
    /// One answer for each address, in their order. Neighbours are read together. What one leg does not give, or gives with
    /// another check, is read from the other legs one by one before it counts as damaged.
    pub async fn read_many(
        self: &Rc<Self>,
        addresses: &[RecordAddress],
    ) -> Vec<Result<Bytes, ReadFault>> {
        let mut answers: Vec<Result<Bytes, ReadFault>> =
            vec![Err(ReadFault::Unavailable); addresses.len()];
        let mut fetches: VecDeque<Fetch> = self.plan_fetches(addresses, &mut answers).into();
        let mut running: VecDeque<Running> = VecDeque::new();
        let mut again = Vec::new();
        while !fetches.is_empty() || !running.is_empty() {
            while running.len() < READS_AT_ONCE_MAX
                && let Some(fetch) = fetches.pop_front()
            {
                match self.start_fetch(fetch) {
                    Ok(started) => running.push_back(started),
                    Err(fetch) => fetch
                        .serves
                        .iter()
                        .for_each(|&which| answers[which] = Err(ReadFault::Unavailable)),
                }
            }
            let Some(Running {
                fetch,
                leg,
                pending,
            }) = running.pop_front()
            else {
                continue;
            };
            let completion = within(&*self.io.host, self.settings.hard_deadline_us, pending).await;
            self.legs.borrow_mut()[leg].read_ends();
            let buffer = match completion.map(|completion| (completion.result, completion.buffer)) {
                Some((Ok(()), Some(buffer))) => buffer,
                ended => {
                    if matches!(ended, Some((Err(IoFault::Gone), _))) {
                        self.suspect(leg, "it is gone");
                    }
                    again.extend(fetch.serves.iter().map(|&which| (which, leg)));
                    continue;
                }
            };
            for &which in &fetch.serves {
                let address = &addresses[which];
                let from = (self.record_at(address) - fetch.at) as usize;
                let run = &buffer[from..from + address.bytes as usize];
                if xxh3_64(run, self.id.check_seed()) == address.check {
                    answers[which] = Ok(Bytes::copy_from_slice(run));
                } else {
                    again.push((which, leg));
                }
            }
            self.return_read_buffer(buffer);
        }
        for (which, bad) in again {
            answers[which] = self.read_elsewhere(&addresses[which], bad).await;
        }
        answers
    }

    /// Whether the address still means what it meant.
    fn is_current(&self, address: &RecordAddress) -> bool {
        let log = self.log.borrow();
        if address.segment.0 >= self.plan.segment_count {
            return false;
        }
        let row = log.table().row(address.segment);
        let end = u64::from(address.batch_block) * BLOCK_BYTES as u64
            + u64::from(address.at)
            + u64::from(address.bytes);
        row.generation == address.generation
            && matches!(row.state, State::Open | State::Sealed)
            && end <= self.plan.segment_bytes
    }

    /// Byte offset of the run on a leg.
    fn record_at(&self, address: &RecordAddress) -> u64 {
        self.plan.at(address.segment, address.batch_block) + u64::from(address.at)
    }

    /// Sorts by place and joins neighbours.
    fn plan_fetches(
        &self,
        addresses: &[RecordAddress],
        answers: &mut [Result<Bytes, ReadFault>],
    ) -> Vec<Fetch> {
        let mut order = Vec::with_capacity(addresses.len());
        for (which, address) in addresses.iter().enumerate() {
            if self.is_current(address) {
                order.push(which);
            } else {
                answers[which] = Err(ReadFault::Stale);
            }
        }
        order.sort_by_key(|&which| self.record_at(&addresses[which]));
        let mut fetches: Vec<Fetch> = Vec::new();
        for which in order {
            let (at, bytes) = blocks_around(
                self.record_at(&addresses[which]),
                u64::from(addresses[which].bytes),
            );
            if let Some(last) = fetches.last_mut() {
                let last_end = last.at + last.bytes as u64;
                let end = last_end.max(at + bytes);
                if at <= last_end + READ_GAP_BYTES && end - last.at <= READ_BYTES_MAX as u64 {
                    last.bytes = (end - last.at) as usize;
                    last.serves.push(which);
                    continue;
                }
            }
            fetches.push(Fetch {
                at,
                bytes: bytes as usize,
                serves: vec![which],
            });
        }
        fetches
    }

    /// Reads from the serving leg with the fewest reads in flight. Gives the fetch back where no leg serves.
    fn start_fetch(&self, fetch: Fetch) -> Result<Running, Fetch> {
        let chosen = {
            let legs = self.legs.borrow();
            let serving = self.legs_where(|leg| leg.serves());
            serving
                .into_iter()
                .min_by_key(|(leg, _)| legs[*leg].reading())
        };
        let Some((leg, device)) = chosen else {
            return Err(fetch);
        };
        self.legs.borrow_mut()[leg].read_begins();
        self.count(|c| {
            (c.device_reads, c.bytes_read) = (c.device_reads + 1, c.bytes_read + fetch.bytes as u64)
        });
        let into = self.read_buffer(fetch.bytes);
        let pending = self.io.device.start(
            device,
            Op::Read {
                at: fetch.at,
                into,
                bytes: fetch.bytes,
            },
        );
        Ok(Running {
            fetch,
            leg,
            pending,
        })
    }

    /// One leg could not give this run: try all of them in turn (the first one again too: it may have been a passing
    /// fault), then repair.
    async fn read_elsewhere(
        self: &Rc<Self>,
        address: &RecordAddress,
        bad: LegIndex,
    ) -> Result<Bytes, ReadFault> {
        self.legs.borrow_mut()[bad].note_read_fault();
        let (at, bytes) = blocks_around(self.record_at(address), u64::from(address.bytes));
        let mut legs = self.legs_where(|leg| leg.serves());
        legs.sort_by_key(|(leg, _)| *leg == bad);
        let mut unknown = legs.is_empty();
        for (leg, device) in legs {
            let buffer = match self.read_raw(device, at, bytes as usize).await {
                Ok(buffer) => buffer,
                Err(fault) => {
                    unknown |= fault != IoFault::Medium;
                    continue;
                }
            };
            let from = (self.record_at(address) - at) as usize;
            let run = &buffer[from..from + address.bytes as usize];
            let good = xxh3_64(run, self.id.check_seed()) == address.check;
            let answer = good.then(|| Bytes::copy_from_slice(run));
            self.return_read_buffer(buffer);
            let Some(answer) = answer else { continue };
            if leg != bad {
                let of = Of {
                    segment: address.segment,
                    generation: address.generation,
                };
                // The reader has its bytes; a repair that fails is counted and tried at the next read or scrub.
                let _ = self.repair_batch(of, address.batch_block).await;
            }
            return Ok(answer);
        }
        if !self.is_current(address) {
            return Err(ReadFault::Stale);
        }
        if unknown {
            return Err(ReadFault::Unavailable);
        }
        self.note_damage(Lsn(0), address.segment, address.batch_block);
        Err(ReadFault::Damaged)
    }

    /// The batch that begins at `block`, from whichever leg has it whole, after which every serving leg has it.
    /// `Ok(None)`: no leg holds a valid batch there.
    pub async fn repair_batch(
        self: &Rc<Self>,
        of: Of,
        block: u32,
    ) -> Result<Option<(Header, Bytes)>, ReadFault> {
        self.log.borrow_mut().table_mut().pin(of.segment);
        let result = self.repair_pinned(of, block).await;
        self.log.borrow_mut().table_mut().unpin(of.segment);
        result
    }

    /// Reads the batch from every leg and rewrites the copies that are not the best one. The segment is pinned by the caller,
    /// so that it cannot get another generation below these writes. `None`: every leg answered, and no copy is whole.
    async fn repair_pinned(
        self: &Rc<Self>,
        of: Of,
        block: u32,
    ) -> Result<Option<(Header, Bytes)>, ReadFault> {
        if self.log.borrow().table().row(of.segment).generation != of.generation {
            return Err(ReadFault::Stale);
        }
        let mut copies = Vec::new();
        let mut unknown = false;
        for (leg, device) in self.legs_where(|leg| leg.serves()) {
            match self.read_batch(device, of, block).await {
                Ok(copy) => copies.push((leg, device, copy)),
                Err(IoFault::Gone) => self.suspect(leg, "it is gone"),
                Err(fault) => {
                    unknown |= fault != IoFault::Medium;
                    copies.push((leg, device, None));
                }
            }
        }
        let whole = copies.iter().filter_map(|(_, _, copy)| copy.clone());
        // A copy of an older attempt at the same place is as wrong as a torn one.
        let best = whole.max_by_key(|(header, _)| (header.term, header.lsn, header.attempt));
        let Some((header, bytes)) = best else {
            // I12: a leg that did not answer may have it.
            return if unknown || copies.is_empty() {
                Err(ReadFault::Unavailable)
            } else {
                Ok(None)
            };
        };
        for (leg, device, copy) in copies {
            if copy.is_none_or(|(copy, _)| !same(&copy, &header)) {
                self.rewrite(leg, device, of, block, &header, &bytes).await;
            }
        }
        Ok(Some((header, bytes)))
    }

    /// Writes a proved batch to `leg` and reads it back.
    async fn rewrite(
        self: &Rc<Self>,
        leg: LegIndex,
        device: DeviceIndex,
        of: Of,
        block: u32,
        header: &Header,
        bytes: &Bytes,
    ) {
        let mut data = Buffer::zeroed(bytes.len());
        data.copy_from_slice(bytes);
        let at = self.plan.at(of.segment, block);
        let data = Arc::new(data);
        let mut written = self.write_raw(device, at, data.clone(), bytes.len()).await;
        if written == Err(IoFault::Medium) {
            written = self.write_raw(device, at, data, bytes.len()).await;
        }
        let back = match written {
            Ok(()) => self.read_batch(device, of, block).await,
            Err(fault) => Err(fault),
        };
        match back {
            Ok(Some((again, _))) if same(&again, header) => self.note_repair(leg, header),
            Err(IoFault::Gone | IoFault::NoSpace | IoFault::Other(_)) => {
                self.suspect(leg, "a repair failed")
            }
            Err(IoFault::Conflict) => self.stop("another owner holds a device of this volume"),
            _ => {
                self.legs.borrow_mut()[leg].note_write_fault();
                tracing::warn!(leg = leg.0, lsn = header.lsn.0, "a repair did not hold");
                // It is known to lack a batch now: it may not count any longer.
                let holds = Lsn(header.lsn.0.saturating_sub(1));
                self.believe_up_to(leg, holds, "a repair did not hold");
            }
        }
    }

    /// Too many repairs within `REPAIRS_WINDOW_US` and nothing on the leg is trusted any more: it leaves, and is rebuilt when it
    /// returns. The last leg stays.
    pub fn note_repair(self: &Rc<Self>, leg: LegIndex, header: &Header) {
        self.count(|c| c.repairs += 1);
        let now = self.io.host.now();
        let too_many = self.legs.borrow_mut()[leg].note_repair(now);
        tracing::warn!(
            leg = leg.0,
            lsn = header.lsn.0,
            segment = header.segment.0,
            "a batch was repaired"
        );
        let others = self.legs_where(|leg| leg.serves()).len() > 1;
        if too_many && others {
            self.legs.borrow_mut()[leg].believe_up_to(Lsn(0));
            self.suspect(leg, "too many repairs within an hour");
        }
    }

    /// The batch at `block` on one leg; `Ok(None)` when what stands there does not verify.
    pub async fn read_batch(
        &self,
        device: DeviceIndex,
        of: Of,
        block: u32,
    ) -> Result<Option<(Header, Bytes)>, IoFault> {
        if block >= self.plan.segment_blocks() {
            return Ok(None);
        }
        let at = self.plan.at(of.segment, block);
        let head = self.read_raw(device, at, BATCH_HEADER_BYTES).await?;
        let header = Header::decode(&head, self.id, of.segment, of.generation, block);
        self.return_read_buffer(head);
        let Some(header) = header.filter(|header| header.end_block() <= self.plan.segment_blocks())
        else {
            return Ok(None);
        };
        let bytes = header.blocks() as usize * BLOCK_BYTES;
        let whole = self.read_raw(device, at, bytes).await?;
        let again = Header::decode(&whole, self.id, of.segment, of.generation, block);
        let proved = again.as_ref() == Some(&header) && header.proves(&whole[..bytes], self.id);
        let copy = proved.then(|| Bytes::copy_from_slice(&whole[..bytes]));
        self.return_read_buffer(whole);
        Ok(copy.map(|bytes| (header, bytes)))
    }
}

/// Whether two headers at one place are copies of one another. Epoch and `acked` may differ between attempts.
fn same(left: &Header, right: &Header) -> bool {
    left.lsn == right.lsn
        && left.content == right.content
        && left.prev == right.prev
        && left.term == right.term
}

fn blocks_around(at: u64, bytes: u64) -> (u64, u64) {
    let block = BLOCK_BYTES as u64;
    let from = at / block * block;
    let end = (at + bytes.max(1)).div_ceil(block) * block;
    (from, end - from)
}
