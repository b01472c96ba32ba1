//! Buffers that the kernel has pinned once instead of at every operation.

use device::Buffer;
use io_uring::IoUring;
use memmap2::{Advice, MmapMut, MmapOptions};
use nix::libc;

use crate::limits::{REGISTERED_BUFFER_BYTES_MIN, REGISTERED_BUFFERS_MAX, REGISTERED_BYTES_MAX};

/// x86-64 and AArch64 with 4 KiB pages.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// The ring's table of registered buffers. A slot is used once: buffers meant for it live as long as their pool.
pub struct Registered {
    state: State,
    used: usize,
    bytes: usize,
}

/// Whether the ring's table can be used.
#[derive(PartialEq)]
enum State {
    /// No buffer was large enough yet.
    Untried,
    /// The kernel made the table.
    Ready,
    /// The kernel or the memory limit refused; everything goes on without.
    Off,
}

impl Registered {
    /// An empty table; the kernel is asked for it with the first buffer that is large enough.
    pub fn new() -> Registered {
        Registered {
            state: State::Untried,
            used: 0,
            bytes: 0,
        }
    }

    /// Buffers registered so far.
    pub fn count(&self) -> usize {
        self.used
    }

    #[expect(unsafe_code, reason = "registering hands the kernel an address")]
    /// A buffer of `bytes`, registered when it is large enough, a slot is free and the memory limit allows.
    pub fn allocate(&mut self, ring: &IoUring, bytes: usize) -> Buffer {
        let mut buffer = Buffer::from_map(map(bytes), bytes);
        if bytes < REGISTERED_BUFFER_BYTES_MIN
            || self.used == REGISTERED_BUFFERS_MAX
            || self.bytes + bytes > REGISTERED_BYTES_MAX
        {
            return buffer;
        }
        if self.state == State::Untried {
            self.state = match ring
                .submitter()
                .register_buffers_sparse(REGISTERED_BUFFERS_MAX as u32)
            {
                Ok(()) => State::Ready,
                Err(error) => {
                    tracing::warn!(%error, "registered buffers are not available; going on with plain ones");
                    State::Off
                }
            };
        }
        if self.state == State::Off {
            return buffer;
        }
        let slot = self.used as u32;
        let vector = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        // NEEDED: registering memory is how the kernel pins it once; there is no safe call for it.
        // SOUND: the range is this buffer's own mapping. The kernel holds its own reference to the pages, so a slot whose buffer
        // was dropped pins memory but points at nothing of ours; only a live `Buffer` carries the slot's number.
        let registered = unsafe {
            ring.submitter()
                .register_buffers_update(slot, &[vector], None)
        };
        match registered {
            Ok(()) => {
                self.used += 1;
                self.bytes += bytes;
                buffer.set_registered(Some(slot as u16));
            }
            Err(error) => {
                // ENOMEM: ordinary users may lock 8 MiB.
                tracing::warn!(
                    %error,
                    registered_bytes = self.bytes,
                    "no more buffers can be registered (LimitMEMLOCK?); going on with plain ones"
                );
                self.state = State::Off;
            }
        }
        buffer
    }
}

/// Anonymous memory; huge pages of its own when it fills half of the last one at least and the pool has them. Batches are of 1 MiB: what
/// stays unused is memory that was set aside anyway, and sharing a page between two buffers would take `unsafe` at every access.
fn map(bytes: usize) -> MmapMut {
    let huge_bytes = bytes.next_multiple_of(HUGE_PAGE_BYTES);
    if huge_bytes - bytes <= HUGE_PAGE_BYTES / 2
        && let Ok(map) = MmapOptions::new()
            .len(huge_bytes)
            .huge(Some(21))
            .populate()
            .map_anon()
    {
        return map;
    }
    let map = MmapOptions::new()
        .len(bytes)
        .populate()
        .map_anon()
        .expect("planned memory is there");
    if bytes >= HUGE_PAGE_BYTES {
        // Only advice: without transparent huge pages everything works the same.
        drop(map.advise(Advice::HugePage));
    }
    map
}
