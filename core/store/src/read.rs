//! Reading bodies and summaries back, proved.

use base::BodyName;
use bytes::{Bytes, BytesMut};
use volume::{ReadFault, RecordAddress};

use crate::body::{Chunk, decode_chunks};
use crate::limits::CHUNKS_PER_READ;
use crate::{BodyRef, Codec, Inner, Store};

impl Store {
    /// The raw bytes of a body, each stored byte proved by its checksum. `Stale`: the body was moved by reclaim, look the reference up again.
    pub async fn body(&self, body: &BodyRef) -> Result<Bytes, ReadFault> {
        self.inner.body(body).await
    }

    /// As `body`, and proved against its BLAKE3 name too (fsck, reclaim, salvage).
    pub async fn body_proved(&self, body: &BodyRef) -> Result<Bytes, ReadFault> {
        self.inner.body_proved(body).await
    }

    /// Many at once; answers in the order asked. Neighbours in the log are fetched together.
    pub async fn bodies(&self, bodies: &[BodyRef]) -> Vec<Result<Bytes, ReadFault>> {
        self.inner.bodies(bodies).await
    }

    /// The first bytes of each body, as many as are wanted of it, and all of a shorter one. Where the body has a lead that is long enough, no more than
    /// that is expanded.
    pub async fn heads(&self, wanted: &[(&BodyRef, usize)]) -> Vec<Result<Bytes, ReadFault>> {
        self.inner.heads(wanted).await
    }

    /// The digests kept beside the bodies; no body is read.
    pub async fn summaries(&self, bodies: &[BodyRef]) -> Vec<Result<Bytes, ReadFault>> {
        self.inner.summaries(bodies).await
    }
}

impl Inner {
    async fn body(&self, body: &BodyRef) -> Result<Bytes, ReadFault> {
        let stored = self.read_run(&body.body).await?;
        self.expand(body, stored).await
    }

    async fn body_proved(&self, body: &BodyRef) -> Result<Bytes, ReadFault> {
        let raw = self.body(body).await?;
        if BodyName::of(&raw) == body.name {
            Ok(raw)
        } else {
            Err(ReadFault::Damaged)
        }
    }

    pub(crate) async fn bodies(&self, bodies: &[BodyRef]) -> Vec<Result<Bytes, ReadFault>> {
        let stored = self
            .read_runs(bodies.iter().map(|body| body.body).collect())
            .await;
        let mut answers = Vec::with_capacity(bodies.len());
        for (body, stored) in bodies.iter().zip(stored) {
            answers.push(match stored {
                Ok(stored) => self.expand(body, stored).await,
                Err(fault) => Err(fault),
            });
        }
        answers
    }

    async fn heads(&self, wanted: &[(&BodyRef, usize)]) -> Vec<Result<Bytes, ReadFault>> {
        let addresses = wanted.iter().map(|(body, _)| body.body).collect();
        let stored = self.read_runs(addresses).await;
        let mut answers = Vec::with_capacity(wanted.len());
        for (&(body, bytes), stored) in wanted.iter().zip(stored) {
            answers.push(match stored {
                Ok(stored) => self.head(body, stored, bytes).await,
                Err(fault) => Err(fault),
            });
        }
        answers
    }

    /// The first bytes of what is stored; of a chunked body those of its first chunk, where they are enough.
    async fn head(&self, body: &BodyRef, stored: Bytes, bytes: usize) -> Result<Bytes, ReadFault> {
        if body.codec != Codec::Chunked {
            return self.zstd.head(&stored, body.codec, body.raw_bytes, bytes);
        }
        let chunks = decode_chunks(&stored, body.raw_bytes).map_err(|_| ReadFault::Damaged)?;
        match chunks.first() {
            Some(first) if first.raw_bytes as usize >= bytes => {
                let run = self.read_run(&first.address).await?;
                self.zstd.head(&run, first.codec, first.raw_bytes, bytes)
            }
            _ => {
                let whole = self.expand(body, stored).await?;
                Ok(Bytes::copy_from_slice(&whole[..bytes.min(whole.len())]))
            }
        }
    }

    pub(crate) async fn summaries(&self, bodies: &[BodyRef]) -> Vec<Result<Bytes, ReadFault>> {
        self.read_runs(bodies.iter().map(|body| body.summary).collect())
            .await
    }

    /// The chunk list of a chunked body.
    pub(crate) async fn chunks(&self, body: &BodyRef) -> Result<Vec<Chunk>, ReadFault> {
        let list = self.read_run(&body.body).await?;
        decode_chunks(&list, body.raw_bytes).map_err(|_| ReadFault::Damaged)
    }

    /// The raw bytes of what is stored. Bytes that do not expand to the length in the reference are `Damaged`.
    async fn expand(&self, body: &BodyRef, stored: Bytes) -> Result<Bytes, ReadFault> {
        if body.codec != Codec::Chunked {
            return self.zstd.expand(stored, body.codec, body.raw_bytes);
        }
        let chunks = decode_chunks(&stored, body.raw_bytes).map_err(|_| ReadFault::Damaged)?;
        let mut raw = BytesMut::with_capacity(body.raw_bytes as usize);
        // Some at a time: what is stored is then never whole in memory beside what it expands to.
        for some in chunks.chunks(CHUNKS_PER_READ) {
            let addresses = some.iter().map(|chunk| chunk.address).collect();
            let pieces = self.read_runs(addresses).await;
            for (chunk, piece) in some.iter().zip(pieces) {
                raw.extend_from_slice(&self.zstd.expand(piece?, chunk.codec, chunk.raw_bytes)?);
            }
        }
        Ok(raw.freeze())
    }

    /// One piece of a body, expanded.
    pub(crate) async fn piece(&self, chunk: &Chunk) -> Result<Bytes, ReadFault> {
        let stored = self.read_run(&chunk.address).await?;
        self.zstd.expand(stored, chunk.codec, chunk.raw_bytes)
    }

    async fn read_run(&self, address: &RecordAddress) -> Result<Bytes, ReadFault> {
        // An empty run was never written.
        if address.bytes == 0 {
            return Ok(Bytes::new());
        }
        self.volume.read(address).await
    }

    /// One answer for each address, in their order. Empty runs have no bytes in the log and are not asked for.
    async fn read_runs(&self, addresses: Vec<RecordAddress>) -> Vec<Result<Bytes, ReadFault>> {
        if addresses.iter().all(|address| address.bytes != 0) {
            return self.volume.read_many(&addresses).await;
        }
        let asked: Vec<RecordAddress> = addresses
            .iter()
            .filter(|address| address.bytes != 0)
            .copied()
            .collect();
        let mut read = self.volume.read_many(&asked).await.into_iter();
        let mut answers = Vec::with_capacity(addresses.len());
        for address in &addresses {
            answers.push(match address.bytes {
                0 => Ok(Bytes::new()),
                _ => read.next().expect("one answer for each address"),
            });
        }
        answers
    }
}
