//! One leg without its volume: the groups that stand on it, and bodies read past damage. For `salvage` and `log dump`.
//!
//! No projection, no other leg, no order but what the LSNs say: the caller sorts. Nothing is written.

use bytes::{Bytes, BytesMut};
use device::{DeviceIndex, Io};
use volume::orphan::OrphanLeg;
use volume::{BatchAddress, OpenRefusal, ReadFault, RecordAddress, VolumeId};

use crate::body::{Zstd, decode_chunks, no_lead};
use crate::frame::{Frames, Kind};
use crate::{BodyRef, Codec, Replayed};

/// An orphan leg, read batch by batch.
pub struct Salvage {
    leg: OrphanLeg,
    zstd: Zstd,
}

/// What one batch holds.
#[derive(Debug)]
pub struct SalvagedBatch {
    pub address: BatchAddress,
    pub payload_bytes: usize,
    /// Those without records are copies of bodies (reclaim's).
    pub groups: Vec<Replayed>,
    /// Frames that are the store's own: chunks of large bodies, tables of the projection.
    pub own_frames: usize,
    /// Why the rest of this batch could not be read, if so.
    pub broken: Option<String>,
}

impl Salvage {
    /// `Misfit` when nothing of a leg is found there.
    pub async fn open(io: &Io, device: DeviceIndex) -> Result<Salvage, OpenRefusal> {
        Ok(Salvage {
            leg: OrphanLeg::open(io, device).await?,
            zstd: Zstd::new(0, no_lead),
        })
    }

    pub fn volume(&self) -> VolumeId {
        self.leg.volume()
    }

    /// The next batch, or a sentence about a stretch that holds none although one was expected; `None` at the leg's end.
    pub async fn next_batch(&mut self) -> Option<Result<SalvagedBatch, String>> {
        match self.leg.next_batch().await? {
            Ok((address, payload)) => Some(Ok(open_batch(
                address,
                payload,
                self.leg.volume().check_seed(),
            ))),
            Err(damage) => Some(Err(damage.to_string())),
        }
    }

    /// The raw bytes of a body, each stored byte proved by its own check; the batch around it may be damaged.
    pub async fn body(&mut self, body: &BodyRef) -> Result<Bytes, ReadFault> {
        let stored = self.run(&body.body).await?;
        if body.codec != Codec::Chunked {
            return self.zstd.expand(stored, body.codec, body.raw_bytes);
        }
        let chunks = decode_chunks(&stored, body.raw_bytes).map_err(|_| ReadFault::Damaged)?;
        let mut raw = BytesMut::new();
        for chunk in chunks {
            let piece = self.run(&chunk.address).await?;
            raw.extend_from_slice(&self.zstd.expand(piece, chunk.codec, chunk.raw_bytes)?);
        }
        Ok(raw.freeze())
    }

    async fn run(&mut self, address: &RecordAddress) -> Result<Bytes, ReadFault> {
        // An empty run was never written.
        if address.bytes == 0 {
            return Ok(Bytes::new());
        }
        self.leg.read(address).await
    }
}

/// Keeps every group up to the first frame that is broken; what follows it cannot be found.
fn open_batch(address: BatchAddress, payload: Bytes, seed: u64) -> SalvagedBatch {
    let mut batch = SalvagedBatch {
        address,
        payload_bytes: payload.len(),
        groups: Vec::new(),
        own_frames: 0,
        broken: None,
    };
    let mut frames = Frames::new(payload, seed);
    // bounded by the payload
    loop {
        match frames.next() {
            Ok(None) => return batch,
            Ok(Some(frame)) if frame.kind == Kind::Group => {
                match crate::replay::replayed(&frame, &address) {
                    Ok(group) => batch.groups.push(group),
                    Err(fault) => batch.broken = Some(fault.to_string()),
                }
            }
            Ok(Some(_)) => batch.own_frames += 1,
            Err(fault) => {
                batch.broken = Some(fault.to_string());
                return batch;
            }
        }
    }
}
