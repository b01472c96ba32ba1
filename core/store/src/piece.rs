//! A body read in pieces, so that a large one is never whole in memory.

use bytes::Bytes;
use volume::ReadFault;

use crate::body::Chunk;
use crate::{BodyRef, Codec, Inner, Store};

/// Where the pieces of one body are. A few kilobytes for the largest; holds nothing on the volume, so that reclaim may move
/// the body meanwhile: reads then answer `Stale`.
#[derive(Debug, Clone)]
pub struct Pieces {
    chunks: Vec<Chunk>,
}

impl Store {
    /// Looks up where the pieces of `body` are; of a body stored in chunks this reads the list. `Stale`: it was moved by reclaim.
    pub async fn pieces(&self, body: &BodyRef) -> Result<Pieces, ReadFault> {
        self.inner.pieces(body).await
    }

    /// The raw bytes of the body from `at` (less than its length) to the end of the piece that holds that byte: one batch at most.
    /// Proved by their checksum.
    pub async fn piece(&self, pieces: &Pieces, at: u32) -> Result<Bytes, ReadFault> {
        let (chunk, within) = pieces.find(at).ok_or(ReadFault::Damaged)?;
        let raw = self.inner.piece(chunk).await?;
        Ok(raw.slice(within..))
    }
}

impl Pieces {
    /// The piece that holds byte `at`, and which of its bytes that is.
    fn find(&self, at: u32) -> Option<(&Chunk, usize)> {
        let mut begin = 0;
        for chunk in &self.chunks {
            let end = begin + chunk.raw_bytes;
            if at < end {
                return Some((chunk, (at - begin) as usize));
            }
            begin = end;
        }
        None
    }
}

impl Inner {
    async fn pieces(&self, body: &BodyRef) -> Result<Pieces, ReadFault> {
        let chunks = match body.codec {
            Codec::Chunked => self.chunks(body).await?,
            codec => vec![Chunk {
                address: body.body,
                codec,
                raw_bytes: body.raw_bytes,
            }],
        };
        Ok(Pieces { chunks })
    }
}
