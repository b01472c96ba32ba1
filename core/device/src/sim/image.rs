//! The content of a simulated disk: sparse, and cheap to copy (a crash test copies it at every write boundary).

use std::sync::Arc;

use crate::BLOCK_BYTES;

pub type Block = [u8; BLOCK_BYTES];

/// Blocks of one chunk, the unit shared between copies of an image: 1 MiB.
const CHUNK_BLOCKS: usize = 256;

type Chunk = [Option<Arc<Block>>; CHUNK_BLOCKS];

/// A block that was never written reads as zeroes.
#[derive(Clone)]
pub struct Image {
    chunks: Vec<Option<Arc<Chunk>>>,
    blocks: u64,
}

impl Image {
    pub fn new(bytes: u64) -> Image {
        let blocks = bytes / BLOCK_BYTES as u64;
        let chunks = blocks.div_ceil(CHUNK_BLOCKS as u64) as usize;
        Image {
            chunks: vec![None; chunks],
            blocks,
        }
    }

    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Ends the image after `bytes`; what was behind is gone.
    pub fn cut_short(&mut self, bytes: u64) {
        let blocks = bytes / BLOCK_BYTES as u64;
        assert!(blocks > 0 && blocks <= self.blocks);
        for block in blocks..self.blocks {
            if self.block(block).is_some() {
                self.set(block, Arc::new([0; BLOCK_BYTES]));
            }
        }
        self.blocks = blocks;
        self.chunks
            .truncate(blocks.div_ceil(CHUNK_BLOCKS as u64) as usize);
    }

    pub fn block(&self, block: u64) -> Option<&Arc<Block>> {
        assert!(block < self.blocks);
        let (chunk, within) = split(block);
        self.chunks[chunk].as_ref()?[within].as_ref()
    }

    pub fn set(&mut self, block: u64, bytes: Arc<Block>) {
        assert!(block < self.blocks);
        let (chunk, within) = split(block);
        let chunk =
            self.chunks[chunk].get_or_insert_with(|| Arc::new([const { None }; CHUNK_BLOCKS]));
        Arc::make_mut(chunk)[within] = Some(bytes);
    }

    /// The block's bytes to be changed in place; zeroes when it was never written.
    pub fn block_mut(&mut self, block: u64) -> &mut Block {
        assert!(block < self.blocks);
        let (chunk, within) = split(block);
        let chunk =
            self.chunks[chunk].get_or_insert_with(|| Arc::new([const { None }; CHUNK_BLOCKS]));
        let bytes = Arc::make_mut(chunk)[within].get_or_insert_with(|| Arc::new([0; BLOCK_BYTES]));
        Arc::make_mut(bytes)
    }

    /// Blocks that were ever written, ascending.
    pub fn written(&self) -> impl Iterator<Item = u64> + '_ {
        self.chunks
            .iter()
            .enumerate()
            .flat_map(|(index, chunk)| {
                chunk.iter().flat_map(move |chunk| {
                    let written = chunk
                        .iter()
                        .enumerate()
                        .filter(|(_, block)| block.is_some());
                    written.map(move |(within, _)| (index * CHUNK_BLOCKS + within) as u64)
                })
            })
            .filter(|block| *block < self.blocks)
    }
}

fn split(block: u64) -> (usize, usize) {
    (
        (block / CHUNK_BLOCKS as u64) as usize,
        (block % CHUNK_BLOCKS as u64) as usize,
    )
}

/// One block out of a longer run, copied.
pub fn block_of(bytes: &[u8]) -> Arc<Block> {
    let block: &Block = bytes.try_into().expect("a block is 4 KiB");
    Arc::new(*block)
}
