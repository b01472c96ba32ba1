//! Page-aligned memory for O_DIRECT, without `unsafe`: each buffer is an anonymous map of its own.
//!
//! Mapping costs microseconds, so a caller that needs buffers all the time keeps a pool of them. The simulator makes and drops
//! buffers for whole machines: on its threads dropped maps are kept and used again (`keep_maps`).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use memmap2::MmapMut;

use crate::BLOCK_BYTES;

/// A page-aligned run of bytes, a multiple of `BLOCK_BYTES` long.
#[derive(Debug)]
pub struct Buffer {
    /// `None` only while it is dropped.
    map: Option<MmapMut>,
    /// The part of the map in use.
    bytes: usize,
    /// Where a ring registered this memory, if it did.
    registered: Option<u16>,
}

impl Buffer {
    /// `bytes` zeroed bytes; a positive multiple of `BLOCK_BYTES`. Stops the process when the machine has no
    /// memory left: the plan has counted every buffer before start.
    pub fn zeroed(bytes: usize) -> Buffer {
        let mut buffer = Buffer::for_read(bytes);
        // A new map is zeroed by the kernel.
        if KEEPS.get() {
            buffer.fill(0);
        }
        buffer
    }

    /// As `zeroed`, with any bytes in it: a read that succeeds fills what it was asked for.
    pub fn for_read(bytes: usize) -> Buffer {
        assert!(bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES));
        let map = kept_map(bytes)
            .unwrap_or_else(|| MmapMut::map_anon(bytes).expect("planned memory is there"));
        Buffer::from_map(map, bytes)
    }

    /// The first `bytes` (a positive multiple of `BLOCK_BYTES`) of memory mapped elsewhere: a huge page may be larger than what is wanted of it.
    pub fn from_map(map: MmapMut, bytes: usize) -> Buffer {
        assert!(bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES) && bytes <= map.len());
        Buffer {
            map: Some(map),
            bytes,
            registered: None,
        }
    }

    /// The place in a ring's table of registered buffers; `None`: it is not registered.
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
        &self.map.as_ref().expect("it has its map")[..self.bytes]
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.map.as_mut().expect("it has its map")[..self.bytes]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(map) = self.map.take()
            && self.registered.is_none()
        {
            keep(map);
        }
    }
}

// Both end with the thread.
thread_local! {
    static KEEPS: Cell<bool> = const { Cell::new(false) };
    static KEPT: RefCell<Kept> = RefCell::default();
}

/// Maps by their bytes.
#[derive(Default)]
struct Kept {
    maps: HashMap<usize, Vec<MmapMut>>,
    /// Of all of them.
    bytes: usize,
}

/// Of all maps kept on one thread. A count of 64 was too little: most maps were unmapped and mapped again at each crash of a simulated machine, which
/// was nine of ten page faults.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// From here on this thread keeps the maps of dropped buffers for later ones. For simulations.
pub(crate) fn keep_maps() {
    KEEPS.set(true);
}

/// Keeps the map for a later buffer, within the bounds.
fn keep(map: MmapMut) {
    // A thread that ends drops its kept maps, and buffers after them.
    let keeps = KEEPS.try_with(Cell::get).unwrap_or(false);
    if keeps {
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.bytes + map.len() <= KEPT_BYTES_MAX {
                kept.bytes += map.len();
                kept.maps.entry(map.len()).or_default().push(map);
            }
        });
    }
}

/// A kept map of exactly `bytes`, with what was in it.
fn kept_map(bytes: usize) -> Option<MmapMut> {
    if !KEEPS.get() {
        return None;
    }
    KEPT.with_borrow_mut(|kept| {
        let map = kept.maps.get_mut(&bytes)?.pop()?;
        kept.bytes -= bytes;
        Some(map)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_map_comes_back_zeroed() {
        keep_maps();
        let mut first = Buffer::zeroed(8192);
        first.fill(7);
        let at = first.as_ptr();
        drop(first);
        let again = Buffer::zeroed(8192);
        assert_eq!(again.as_ptr(), at);
        assert!(again.iter().all(|byte| *byte == 0));
        assert!(kept_map(8192).is_none() && kept_map(4096).is_none());
    }
}
