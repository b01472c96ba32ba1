//! A group too large for a batch: its largest bodies go ahead in chunks, and the group waits at the head of the queue until they are
//! durable. Groups behind it wait too (their order is the log's), while its chunks keep the pipeline full.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use volume::RecordAddress;

use crate::body::{Chunk, Codec, chunk_list_bytes_max, encode_chunks};
use crate::committer::{BigGroup, ChunkSlots, Committer};
use crate::frame::{Kind, align8};
use crate::place::{Prepared, raw_frame_bytes};
use crate::queue::{OwnFrame, Waiting};
use crate::{BodyIn, Lsn, Purpose, StoreFault};

impl Committer {
    /// When the head group fits no batch: its largest bodies become chunks, which go first.
    pub(crate) fn start_big_group(&mut self) {
        if self.big.is_some() {
            return;
        }
        let waiting = {
            let mut queue = self.inner.queue.borrow_mut();
            // Judged by the raw size, before compression: whether it would fit packed is known only after the work that this is to avoid.
            let is_big = |waiting: &&Waiting| {
                raw_frame_bytes(&waiting.group) > self.inner.sizes.payload_bytes_max
            };
            if queue.first().filter(is_big).is_none() {
                return;
            }
            let waiting = queue.take_first().expect("the front was looked at");
            queue.chunking_begins(waiting.rows);
            waiting
        };
        let mut total = raw_frame_bytes(&waiting.group);
        let mut by_size: Vec<usize> = (0..waiting.group.bodies.len()).collect();
        // The largest first, and only as many as needed: each chunk list costs a read more when the body is fetched.
        by_size.sort_by_key(|index| std::cmp::Reverse(waiting.group.bodies[*index].raw.len()));
        let mut chunks = vec![None; waiting.group.bodies.len()];
        for index in by_size {
            let raw = &waiting.group.bodies[index].raw;
            if total <= self.inner.sizes.payload_bytes_max {
                break;
            }
            total = total - align8(raw.len())
                + align8(chunk_list_bytes_max(
                    raw.len().div_ceil(self.inner.sizes.chunk_bytes),
                ));
            let packed = waiting.packed.get(index).map_or(&[][..], Vec::as_slice);
            chunks[index] = Some(self.queue_chunks(raw, packed, waiting.purpose));
        }
        assert!(
            total <= self.inner.sizes.payload_bytes_max,
            "bounds were checked at append"
        );
        self.big = Some(BigGroup { waiting, chunks });
    }

    /// Large bodies come in raw: packing one would hold up every other caller for many milliseconds. Reclaim brings packed chunks.
    fn queue_chunks(&self, raw: &Bytes, packed: &[Option<Bytes>], purpose: Purpose) -> ChunkSlots {
        let chunk_bytes = self.inner.sizes.chunk_bytes;
        let count = raw.len().div_ceil(chunk_bytes);
        let slots: ChunkSlots = Rc::new(RefCell::new(Ok(vec![None; count])));
        let mut queue = self.inner.queue.borrow_mut();
        for index in 0..count {
            let piece = raw.slice(index * chunk_bytes..raw.len().min((index + 1) * chunk_bytes));
            let raw_bytes = piece.len() as u32;
            // Packed chunks were made for another size of chunk if their number differs; then the raw bytes are cut again.
            let packs = packed.get(index).filter(|_| packed.len() == count);
            let (codec, run) = match packs.cloned().flatten() {
                Some(packed) => (Codec::Zstd, packed),
                None => (Codec::Raw, piece),
            };
            let slots = slots.clone();
            let placed = Box::new(move |result: Result<(Lsn, RecordAddress), StoreFault>| {
                let mut slots = slots.borrow_mut();
                match (result, &mut *slots) {
                    (Ok((_, address)), Ok(chunks)) => {
                        chunks[index] = Some(Chunk {
                            address,
                            codec,
                            raw_bytes,
                        })
                    }
                    // One chunk that failed fails the group. The others stay in the log without a reference, and reclaim drops them with their segment.
                    (Err(fault), Ok(_)) => *slots = Err(fault),
                    (_, Err(_)) => {}
                }
            });
            queue.push_own(OwnFrame {
                kind: Kind::Chunk,
                run,
                purpose,
                placed,
            });
        }
        slots
    }

    pub(crate) fn fail_big_group(&mut self) {
        let Some(fault) = self.big.as_ref().and_then(BigGroup::fault) else {
            return;
        };
        let big = self.big.take().expect("looked at just now");
        self.inner.queue.borrow_mut().chunking_ends();
        self.inner.space.settle_queued(big.waiting.rows, false);
        // Nothing of the group itself was placed: to its caller it is as if it had never been enqueued.
        big.waiting.reply.send(Err(fault));
    }
}

impl BigGroup {
    /// Every chunk is durable, or one failed.
    pub fn is_settled(&self) -> bool {
        let settled = |slots: &ChunkSlots| {
            slots
                .borrow()
                .as_ref()
                .map_or(true, |chunks| chunks.iter().all(Option::is_some))
        };
        self.fault().is_some() || self.chunks.iter().flatten().all(settled)
    }

    fn fault(&self) -> Option<StoreFault> {
        self.chunks
            .iter()
            .flatten()
            .find_map(|slots| slots.borrow().as_ref().err().cloned())
    }

    /// What takes the place of each body: the list of its chunks, or the body itself. Called when every chunk is durable, so
    /// that a list never names a chunk that is not.
    pub fn prepared(&self) -> Vec<Prepared> {
        let store = |(body, slots): (&BodyIn, &Option<ChunkSlots>)| match slots {
            None => Prepared {
                codec: Codec::Raw,
                stored: body.raw.clone(),
            },
            Some(slots) => {
                let slots = slots.borrow();
                let chunks = slots.as_ref().expect("asked once settled without a fault");
                let chunks: Vec<Chunk> = chunks.iter().flatten().cloned().collect();
                Prepared {
                    codec: Codec::Chunked,
                    stored: encode_chunks(&chunks).into(),
                }
            }
        };
        self.waiting
            .group
            .bodies
            .iter()
            .zip(&self.chunks)
            .map(store)
            .collect()
    }
}
