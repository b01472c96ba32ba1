//! Page-aligned memory for O_DIRECT, without `unsafe`: each buffer is an anonymous map of its own.
//!
//! Mapping costs microseconds, so whoever needs buffers all the time keeps a pool of them.

use memmap2::MmapMut;

use crate::BLOCK_BYTES;

/// A page-aligned run of bytes, a multiple of `BLOCK_BYTES` long.
#[derive(Debug)]
pub struct Buffer {
    map: MmapMut,
    /// The part of the map in use.
    bytes: usize,
    /// Where a ring registered this memory, if it did.
    registered: Option<u16>,
}

impl Buffer {
    /// `bytes` zeroed bytes; a positive multiple of `BLOCK_BYTES`. Stops the process when the machine has no
    /// memory left: the plan has counted every buffer before start.
    pub fn zeroed(bytes: usize) -> Buffer {
        assert!(bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES));
        let map = MmapMut::map_anon(bytes).expect("planned memory is there");
        Buffer::from_map(map, bytes)
    }

    /// The first `bytes` (a positive multiple of `BLOCK_BYTES`) of memory mapped elsewhere: a huge page may be larger than what is wanted of it.
    pub fn from_map(map: MmapMut, bytes: usize) -> Buffer {
        assert!(bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES) && bytes <= map.len());
        Buffer {
            map,
            bytes,
            registered: None,
        }
    }

    pub fn registered(&self) -> Option<u16> {
        self.registered
    }

    /// For a ring only: this buffer's place in its registered table.
    pub fn set_registered(&mut self, index: Option<u16>) {
        self.registered = index;
    }
}

impl std::ops::Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.map[..self.bytes]
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.map[..self.bytes]
    }
}
