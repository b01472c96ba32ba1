//! Page-aligned memory for O_DIRECT, without `unsafe`: each buffer is an anonymous map of its own.
//!
//! Mapping costs microseconds, so whoever needs buffers all the time keeps a pool of them.

use memmap2::MmapMut;

use crate::BLOCK_BYTES;

/// A page-aligned run of bytes, a multiple of `BLOCK_BYTES` long.
#[derive(Debug)]
pub struct Buffer {
    map: MmapMut,
    /// Where a ring registered this memory, if it did.
    registered: Option<u16>,
}

impl Buffer {
    /// `bytes` zeroed bytes; a positive multiple of `BLOCK_BYTES`. Stops the process when the machine has no
    /// memory left: the plan has counted every buffer before start.
    pub fn zeroed(bytes: usize) -> Buffer {
        assert!(bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES));
        Buffer::from_map(MmapMut::map_anon(bytes).expect("planned memory is there"))
    }

    /// Wraps memory mapped elsewhere (huge pages). Its length must be a multiple of `BLOCK_BYTES`.
    pub fn from_map(map: MmapMut) -> Buffer {
        assert!(!map.is_empty() && map.len().is_multiple_of(BLOCK_BYTES));
        Buffer {
            map,
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
        &self.map
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.map
    }
}
