//! A batch between its number and its acknowledgement.

use std::sync::Arc;

use base::Time;
use base::host::Sender;
use device::{Buffer, DeviceIndex, IoFault};

use crate::format::{Header, Holds, Kind, blocks_of};
use crate::limits::LEGS_MAX;
use crate::types::*;

pub(crate) struct Entry {
    pub lsn: Lsn,
    pub kind: Kind,
    pub payload_bytes: u32,
    pub inline: Vec<u8>,
    pub unix_seconds: i64,
    pub prev: u128,
    pub content: u128,
    pub segment: SegmentIndex,
    pub generation: Generation,
    pub block: u32,
    pub attempt: u32,
    pub buffer: Arc<Buffer>,
    /// When it got its number.
    pub since: Time,
    pub legs: [LegWrite; LEGS_MAX],
    pub waiter: Option<Sender<Result<BatchAddress, CommitFault>>>,
}

impl Entry {
    /// Header, payload and padding.
    pub fn bytes(&self) -> usize {
        self.blocks() as usize * device::BLOCK_BYTES
    }

    pub fn blocks(&self) -> u32 {
        blocks_of(self.payload_bytes)
    }

    pub fn address(&self) -> BatchAddress {
        BatchAddress {
            lsn: self.lsn,
            segment: self.segment,
            generation: self.generation,
            block: self.block,
        }
    }

    pub fn holds(&self) -> Holds {
        Holds::of(self.kind, &self.inline)
    }

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
    Flying { since: Time },
    Durable,
    Failed(IoFault),
}
