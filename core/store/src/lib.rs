//! The append log, the projection, reclaim. (API agreed on 2026-11-21; the story belongs here once the code does.)
#![forbid(unsafe_code)]
#![allow(unused_variables, dead_code)]

use base::BodyName;
use bytes::Bytes;
use device::Io;
pub use volume::{Lsn, ReadFault};
use volume::{RecordAddress, Volume};

/// What a record is, to the layer above; 0–127 are that layer's, 128–255 the store's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKind(pub u8);

/// One entry of the log that belongs to the layer above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub kind: RecordKind,
    pub payload: Bytes,
}

/// A body to be stored: immutable bytes with their name and a short digest kept beside them (for mail: envelope and structure).
#[derive(Debug, Clone)]
pub struct BodyIn {
    pub name: BodyName,
    pub raw: Bytes,
    pub summary: Bytes,
}

/// Where a stored body is, and how to prove it. Encodes to at most `BODY_REF_BYTES_MAX` bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyRef {
    pub name: BodyName,
    pub raw_bytes: u32,
    pub summary: RecordAddress,
    pub body: RecordAddress,
    pub codec: Codec,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    Raw,
    Zstd,
    /// `body` is a list of chunk addresses (a message larger than a batch).
    Chunked,
}
impl BodyRef {
    pub fn encode(&self, out: &mut Vec<u8>) {
        unimplemented!()
    }
    pub fn decode(reader: &mut base::cursor::Reader<'_>) -> Result<BodyRef, base::cursor::Short> {
        unimplemented!()
    }
}

/// What becomes durable together or not at all.
#[derive(Debug, Clone, Default)]
pub struct Group {
    pub bodies: Vec<BodyIn>,
    pub records: Vec<Record>,
}

#[derive(Debug, Clone)]
pub struct Committed {
    pub lsn: Lsn,
    /// One for each of the group's bodies, in order.
    pub bodies: Vec<BodyRef>,
}

/// A group found in the log at open, newer than the projection.
#[derive(Debug, Clone)]
pub struct Replayed {
    pub lsn: Lsn,
    pub bodies: Vec<BodyRef>,
    pub records: Vec<Record>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    #[error("storage is full")]
    Full,
    #[error("storage defers: {0}")]
    Deferred(String),
    #[error("every copy is damaged")]
    Damaged,
    #[error("the projection failed: {0}")]
    Projection(String),
}

/// One row to write (`Some`) or delete (`None`) in the projection.
#[derive(Debug, Clone)]
pub struct Change {
    pub table: Table,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}
/// A table of the projection: byte keys in memcmp order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(pub u8);

#[derive(Clone)]
pub struct Store {}

#[derive(Debug, Clone)]
pub struct Settings {
    pub projection_cache_bytes: usize,
    /// zstd level for bodies, 0: store raw.
    pub compression_level: i32,
}

impl Store {
    /// Opens the log and the projection of an open volume. The caller then replays `replay` to its end before any `append`.
    pub async fn open(
        io: Io,
        volume: Volume,
        settings: Settings,
    ) -> Result<(Store, Replay), StoreFault> {
        unimplemented!()
    }
    pub fn volume(&self) -> &Volume {
        unimplemented!()
    }

    /// Queues `group`; its order in the log is the order of these calls (decided before the first await). Resolves when durable on every
    /// counting leg, in log order. Groups of many callers share one batch (group commit: submit at once when idle, else gather).
    /// Waits (bounded) for room when the queue is full.
    pub async fn append(&self, group: Group) -> Result<Committed, StoreFault> {
        unimplemented!()
    }
    /// As `append`, but `applied` runs on this thread at the moment of durability, in log order, before any waiter is woken: the layer above
    /// applies its change there, so that its memory is always f(log prefix) and `applied_lsn` needs no guess.
    pub async fn append_then(
        &self,
        group: Group,
        applied: Box<dyn FnOnce(&Committed)>,
    ) -> Result<Committed, StoreFault> {
        unimplemented!()
    }

    /// The raw bytes of a body, proved by checksum (and BLAKE3 when `prove`).
    pub async fn body(&self, body: &BodyRef) -> Result<Bytes, ReadFault> {
        unimplemented!()
    }
    pub async fn bodies(&self, bodies: &[BodyRef]) -> Vec<Result<Bytes, ReadFault>> {
        unimplemented!()
    }
    pub async fn summaries(&self, bodies: &[BodyRef]) -> Vec<Result<Bytes, ReadFault>> {
        unimplemented!()
    }

    // The projection. Reads run on the index thread and see the last `checkpoint`, nothing newer.
    pub async fn get(&self, table: Table, key: Vec<u8>) -> Result<Option<Vec<u8>>, StoreFault> {
        unimplemented!()
    }
    /// Rows with `from <= key < to`, in order, at most `rows_max`.
    pub async fn range(
        &self,
        table: Table,
        from: Vec<u8>,
        to: Vec<u8>,
        rows_max: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreFault> {
        unimplemented!()
    }
    /// Durably replaces rows so that the projection equals f(log prefix up to the group applied last). Call with everything that changed since
    /// the last checkpoint. Afterwards recovery replays only what came later. At most one at a time; appends go on beside it.
    pub async fn checkpoint(&self, changes: Vec<Change>, applied: Lsn) -> Result<(), StoreFault> {
        unimplemented!()
    }
    /// Log bytes and groups since the last checkpoint: when to call it.
    pub fn since_checkpoint(&self) -> (u64, u64) {
        unimplemented!()
    }

    /// One reclaim pass; see `Tenant`. Says how many segments were freed.
    pub async fn reclaim(&self, tenant: &dyn Tenant) -> Result<usize, StoreFault> {
        unimplemented!()
    }
}

/// Gives the log after the projection's LSN, group by group.
pub struct Replay {}
impl Replay {
    pub async fn next(&mut self) -> Result<Option<Replayed>, StoreFault> {
        unimplemented!()
    }
}

/// What reclaim asks of the layer above. Mark and sweep: the layer above knows which bodies and records still count.
pub trait Tenant {
    /// Every body reference that lies in one of `segments` and is still wanted, from memory and projection together (one pass).
    fn live_bodies<'a>(
        &'a self,
        segments: &'a [volume::SegmentIndex],
    ) -> LocalFuture<'a, Result<Vec<BodyRef>, StoreFault>>;
    /// The bodies were copied; make every reference point to the new place (appends records of its own and waits for them).
    fn moved<'a>(
        &'a self,
        pairs: Vec<(BodyRef, BodyRef)>,
    ) -> LocalFuture<'a, Result<(), StoreFault>>;
    /// `records` are about to disappear from the log: append whatever is needed so that the log alone still gives the same state (snapshots).
    fn carry_forward<'a>(
        &'a self,
        records: Vec<(Lsn, Record)>,
    ) -> LocalFuture<'a, Result<(), StoreFault>>;
}
pub type LocalFuture<'a, T> = std::pin::Pin<Box<dyn std::future::Future<Output = T> + 'a>>;
