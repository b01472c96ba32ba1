//! Reading one stretch of one segment on one leg from front to back, fast: large reads, several at once, batches
//! verified as they pass. Walks, recovery, scrub and resync all read through this.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use device::{BLOCK_BYTES, Buffer, DeviceIndex, IoFault, Op, Pending};

use crate::BATCH_HEADER_BYTES;
use crate::format::Header;
use crate::gate::within;
use crate::inner::Inner;
use crate::limits::{STREAM_READ_BYTES, STREAM_READS_MAX};
use crate::segment::Of;

const CHUNK_BLOCKS: u32 = (STREAM_READ_BYTES / BLOCK_BYTES) as u32;

#[derive(Debug)]
pub(crate) enum Found {
    /// A verified batch, header and padding included.
    Batch(Header, Bytes),
    /// No valid batch begins at this block. `skip` decides what comes next.
    Nothing { block: u32 },
    /// The cursor is at the end of the stretch.
    End,
}

/// A stretch of one segment on one leg, and how far it was read.
pub(crate) struct Stream {
    /// The volume: its buffers and devices.
    inner: Rc<Inner>,
    device: DeviceIndex,
    of: Of,
    /// The block `bytes` begins with.
    at_block: u32,
    /// The stretch ends before this block.
    end_block: u32,
    /// The block that the next read begins with.
    next_read: u32,
    /// Reads at the device: first block, blocks, completion.
    reads: VecDeque<(u32, u32, Pending)>,
    /// What was read and not given out yet.
    bytes: BytesMut,
    /// The device stopped answering: everything from here on is unknown, not absent (I12).
    dead: bool,
    /// Blocks that answered EIO: "unknown", not "absent".
    unreadable: BTreeSet<u32>,
}

impl Stream {
    pub fn new(
        inner: Rc<Inner>,
        device: DeviceIndex,
        of: Of,
        from_block: u32,
        end_block: u32,
    ) -> Stream {
        assert!(from_block <= end_block && end_block <= inner.plan.segment_blocks());
        Stream {
            inner,
            device,
            of,
            at_block: from_block,
            end_block,
            next_read: from_block,
            reads: VecDeque::new(),
            bytes: BytesMut::new(),
            dead: false,
            unreadable: BTreeSet::new(),
        }
    }

    /// The batch at the cursor, which then moves behind it.
    pub async fn next(&mut self) -> Found {
        if self.at_block >= self.end_block {
            return Found::End;
        }
        self.fill(BATCH_HEADER_BYTES).await;
        let volume = self.inner.id;
        let block = self.at_block;
        let header = Header::decode(
            &self.bytes,
            volume,
            self.of.segment,
            self.of.generation,
            block,
        );
        let Some(header) = header.filter(|header| header.end_block() <= self.end_block) else {
            return Found::Nothing { block };
        };
        let bytes = header.blocks() as usize * BLOCK_BYTES;
        self.fill(bytes).await;
        if !header.proves(&self.bytes[..bytes], volume) {
            return Found::Nothing { block };
        }
        self.at_block = header.end_block();
        Found::Batch(header, self.bytes.split_to(bytes).freeze())
    }

    /// Whether the device stopped answering, so that what `next` does not find may well be there.
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// Whether a batch that begins at `block` may be there although `next` said `Nothing`.
    pub fn is_unknown(&self, block: u32) -> bool {
        let until = block.saturating_add((crate::BATCH_BYTES_MAX / BLOCK_BYTES) as u32);
        self.dead || self.unreadable.range(block..until).next().is_some()
    }

    pub fn end(&self) -> u32 {
        self.end_block
    }

    /// Moves the cursor to `block`, at or after where it is.
    pub async fn skip_to(&mut self, block: u32) {
        assert!(block >= self.at_block && block <= self.end_block);
        // bounded by the reads in flight
        while self.at_block < block {
            if self.bytes.is_empty() {
                if self.reads.is_empty() {
                    self.at_block = block;
                    self.next_read = self.next_read.max(block);
                    return;
                }
                self.fill(BLOCK_BYTES).await;
            }
            let step = ((block - self.at_block) as usize * BLOCK_BYTES).min(self.bytes.len());
            let _ = self.bytes.split_to(step);
            self.at_block += (step / BLOCK_BYTES) as u32;
        }
    }

    /// Moves the cursor to the next block that could begin a batch.
    pub async fn skip_one(&mut self) {
        let next = self.at_block + 1;
        self.skip_to(next).await;
    }

    /// Makes at least `bytes` bytes stand at the cursor; never asked past the end.
    async fn fill(&mut self, bytes: usize) {
        // bounded by the segment
        while self.bytes.len() < bytes {
            self.read_ahead();
            let (block, blocks, pending) =
                self.reads.pop_front().expect("never asked past the end");
            let deadline_us = self.inner.settings.hard_deadline_us;
            let completion = within(&*self.inner.io.host, deadline_us, pending).await;
            let whole = blocks as usize * BLOCK_BYTES;
            match completion.map(|completion| (completion.result, completion.buffer)) {
                Some((Ok(()), Some(buffer))) => {
                    self.bytes.extend_from_slice(&buffer[..whole]);
                    self.inner.return_read_buffer(buffer);
                }
                Some((Err(IoFault::Medium), _)) => self.fill_by_blocks(block, blocks).await,
                _ => {
                    self.dead = true;
                    self.bytes.resize(self.bytes.len() + whole, 0);
                }
            }
            self.read_ahead();
        }
    }

    /// Keeps as many reads at the device as it takes to be busy.
    fn read_ahead(&mut self) {
        while self.reads.len() < STREAM_READS_MAX && self.next_read < self.end_block {
            let blocks = CHUNK_BLOCKS.min(self.end_block - self.next_read);
            let bytes = blocks as usize * BLOCK_BYTES;
            let at = self.inner.plan.at(self.of.segment, self.next_read);
            let into: Buffer = self.inner.read_buffer(bytes);
            self.inner.count(|c| {
                (c.device_reads, c.bytes_read) = (c.device_reads + 1, c.bytes_read + bytes as u64)
            });
            let pending = self
                .inner
                .io
                .device
                .start(self.device, Op::Read { at, into, bytes });
            self.reads.push_back((self.next_read, blocks, pending));
            self.next_read += blocks;
        }
    }

    /// A large read failed: block by block, unreadable ones as zeroes, and let the checksums speak.
    async fn fill_by_blocks(&mut self, block: u32, blocks: u32) {
        for block in block..block + blocks {
            let at = self.inner.plan.at(self.of.segment, block);
            match self.inner.read_raw(self.device, at, BLOCK_BYTES).await {
                Ok(buffer) => {
                    self.bytes.extend_from_slice(&buffer[..BLOCK_BYTES]);
                    self.inner.return_read_buffer(buffer);
                }
                Err(_) => {
                    self.unreadable.insert(block);
                    self.bytes.resize(self.bytes.len() + BLOCK_BYTES, 0);
                }
            }
        }
    }
}
