//! A batch between its number and its acknowledgement.
//!
//! It keeps its buffer until it is acknowledged: an outage writes the same bytes again, and a segment that refuses
//! them gives the batch another place.

use std::sync::Arc;

use base::Time;
use base::host::Sender;
use device::{Buffer, DeviceIndex, IoFault};

use crate::format::{Header, Holds, Kind, blocks_of};
use crate::limits::LEGS_MAX;
use crate::types::*;

/// A batch that has its number and is not acknowledged.
pub(crate) struct Entry {
    /// Its number, which never changes.
    pub lsn: Lsn,
    /// Whose payload it is.
    pub kind: Kind,
    /// Payload without header and padding.
    pub payload_bytes: u32,
    /// Encoded inline records.
    pub inline: Vec<u8>,
    /// When it got its number, by the machine's clock.
    pub unix_seconds: i64,
    /// The chain value of the batch before.
    pub prev: u128,
    /// The hash of payload and padding.
    pub content: u128,
    /// The segment that it is written to.
    pub segment: SegmentIndex,
    pub generation: Generation,
    /// Blocks from the start of the segment.
    pub block: u32,
    /// As in `Header`. The end of a write is matched by it: one at an earlier place says nothing of this one.
    pub attempt: u32,
    /// Header, payload and padding, as they are written.
    pub buffer: Arc<Buffer>,
    /// When it got its number.
    pub since: Time,
    /// What became of it on each leg.
    pub legs: [LegWrite; LEGS_MAX],
    /// The caller; `None` for the volume's own batches.
    pub waiter: Option<Sender<Result<BatchAddress, CommitFault>>>,
}

impl Entry {
    /// Header, payload and padding.
    pub fn bytes(&self) -> usize {
        self.blocks() as usize * device::BLOCK_BYTES
    }

    /// Blocks of header, payload and padding.
    pub fn blocks(&self) -> u32 {
        blocks_of(self.payload_bytes)
    }

    /// Where it is, as the caller will get it.
    pub fn address(&self) -> BatchAddress {
        BatchAddress {
            lsn: self.lsn,
            segment: self.segment,
            generation: self.generation,
            block: self.block,
        }
    }

    /// What it leaves in its segment.
    pub fn holds(&self) -> Holds {
        Holds::of(self.kind, &self.inline)
    }

    /// What became of it on `leg`.
    pub fn on(&self, leg: LegIndex) -> LegWrite {
        self.legs[usize::from(leg.0)]
    }

    /// I1: a batch is durable when every leg that counts has it.
    pub fn is_durable_on(&self, counting: &[(LegIndex, DeviceIndex)]) -> bool {
        let mut legs = counting.iter();
        !counting.is_empty() && legs.all(|(leg, _)| self.on(*leg) == LegWrite::Durable)
    }

    /// The header as it is written under this owner.
    pub fn header(&self, epoch: u64, term: u64, acked: Lsn) -> Header {
        Header {
            kind: self.kind,
            epoch,
            term,
            lsn: self.lsn,
            acked,
            segment: self.segment,
            generation: self.generation,
            block: self.block,
            payload_bytes: self.payload_bytes,
            attempt: self.attempt,
            unix_seconds: self.unix_seconds,
            prev: self.prev,
            content: self.content,
            inline: self.inline.clone(),
        }
    }
}

/// One batch's write on one leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LegWrite {
    Absent,
    /// Handed to the device at this moment.
    Flying {
        since: Time,
    },
    Durable,
    /// The device refused it, or did not answer in time.
    Failed(IoFault),
}
