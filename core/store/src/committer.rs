//! The committer and what it holds: batches on their way, and a group whose chunks go ahead.
//!
//! What it does is in three files: `append.rs` (its turns), `place.rs` (what goes into a batch) and `chunk.rs` (what fits no batch).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;

use base::host::Time;
use volume::{BatchAddress, CommitFault};

use crate::body::Chunk;
use crate::frame::{Kind, PlacedBody, Run};
use crate::queue::{Applied, Load, OnPlaced, Reply, Waiting};
use crate::{Committed, Inner, StoreFault};

/// A batch on its way, and who waits for it.
pub(crate) struct Flight {
    /// Resolves when the batch is durable, or was refused.
    pub commit: Pin<Box<dyn Future<Output = Result<BatchAddress, CommitFault>>>>,
    /// Its outcome, kept until the batches before it have landed.
    pub done: Option<Result<BatchAddress, CommitFault>>,
    /// What is in it, in the order of the log.
    pub cargo: Vec<Cargo>,
    pub bytes: u64,
    /// When it was submitted.
    pub since: Time,
}

/// One frame of a batch, and what is owed to its caller.
pub(crate) enum Cargo {
    /// A group of the layer above or of reclaim.
    Group {
        /// Where the group's bodies are in the batch.
        bodies: Vec<PlacedBody>,
        /// Called with the addresses when the batch is durable.
        applied: Option<Applied>,
        /// The caller, which is answered last.
        reply: Reply<Committed>,
        /// Rows that the group owes the projection.
        rows: u64,
        /// When it was appended.
        since: Time,
        /// Its chunks went ahead.
        is_chunked: bool,
    },
    /// A frame of the store's own.
    Own {
        kind: Kind,
        /// Where its run is in the batch.
        run: Run,
        /// Called with the address when the batch is durable.
        placed: OnPlaced,
    },
}

/// The task that turns waiting groups into batches. There is one at a time, and none while nothing waits.
pub(crate) struct Committer {
    pub inner: Rc<Inner>,
    /// Batches on their way, the oldest first.
    pub flights: VecDeque<Flight>,
    /// A group whose chunks go ahead of it.
    pub big: Option<BigGroup>,
    /// Scratch for one frame's header and meta.
    pub meta: Vec<u8>,
}

impl Cargo {
    /// What it owes, and whether its chunks went ahead.
    pub fn load(cargo: &[Cargo]) -> Load {
        let mut load = Load::default();
        for cargo in cargo {
            if let Cargo::Group {
                rows, is_chunked, ..
            } = cargo
            {
                load.rows += rows;
                load.chunked += u32::from(*is_chunked);
            }
        }
        load
    }
}

/// The head group, waiting for its chunks to be durable.
pub(crate) struct BigGroup {
    /// The group itself. No later group goes to the log before it.
    pub waiting: Waiting,
    /// For each body its chunks, or nothing when it is stored inline.
    pub chunks: Vec<Option<ChunkSlots>>,
}
/// A body's chunks, filled in as they become durable, or why they cannot.
pub(crate) type ChunkSlots = Rc<RefCell<Result<Vec<Option<Chunk>>, StoreFault>>>;
