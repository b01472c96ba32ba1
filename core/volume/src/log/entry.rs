//! A batch between its number and its acknowledgement.

use std::sync::Arc;

use base::Time;
use base::host::Sender;
use device::{Buffer, IoFault};

use crate::format::{Kind, blocks_of};
use crate::limits;
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
    pub legs: [LegWrite; limits::LEGS_MAX],
    pub waiter: Option<Sender<Result<BatchAddress, CommitFault>>>,
}

impl Entry {
    /// Header, payload and padding.
    pub fn bytes(&self) -> usize {
        blocks_of(self.payload_bytes) as usize * device::BLOCK_BYTES
    }

    pub fn address(&self) -> BatchAddress {
        BatchAddress {
            lsn: self.lsn,
            segment: self.segment,
            generation: self.generation,
            block: self.block,
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
