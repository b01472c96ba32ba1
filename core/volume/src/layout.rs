//! Where things are on a leg. The same on every leg of a volume, except the tail rings.

use device::BLOCK_BYTES;

use crate::limits::SEGMENTS_MAX;
use crate::types::SegmentIndex;

/// Slots of one superblock ring.
pub(crate) const RING_SLOTS: u64 = 16;
pub(crate) const RING_BYTES: u64 = RING_SLOTS * BLOCK_BYTES as u64;
/// The guard page: text for the human who looks at a disk.
pub(crate) const GUARD_AT: u64 = 0;

/// Below this a leg gets the small layout, so that tests and trials need no 6 MiB of frame per leg.
const SMALL_LEG_BYTES: u64 = 64 << 20;

// Rings, guard page and segments of the small layout do not overlap; the large one has more room between the same things.
const _: () = assert!(GUARD_AT + BLOCK_BYTES as u64 <= 64 << 10);
const _: () =
    assert!((64 << 10) + RING_BYTES <= 128 << 10 && (128 << 10) + RING_BYTES <= 256 << 10);
const _: () = assert!(RING_BYTES <= 64 << 10, "T1 is the last of the tail");

/// Head and tail areas of one leg, by its capacity alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// H0, T0, H1, T1: the order of writing; a copy's number is its place here.
    pub rings: [u64; 4],
    /// Where segments may begin.
    pub segments_at: u64,
    /// Where segments must end: the tail rings follow.
    pub segments_end: u64,
}

/// `None`: too small for even one segment of `segment_bytes` beside the frame is the caller's to judge; this says
/// only that the frame itself fits.
pub(crate) fn frame(capacity_bytes: u64) -> Option<Frame> {
    let (h1, segments_at, t0_back, t1_back) = if capacity_bytes < SMALL_LEG_BYTES {
        (128 << 10, 256 << 10, 128 << 10, 64 << 10)
    } else {
        (512 << 10, 4 << 20, 2 << 20, 1 << 20)
    };
    let segments_end = capacity_bytes.checked_sub(t0_back)?;
    if segments_end <= segments_at {
        return None;
    }
    let rings = [
        64 << 10,
        capacity_bytes - t0_back,
        h1,
        capacity_bytes - t1_back,
    ];
    Some(Frame {
        rings,
        segments_at,
        segments_end,
    })
}

impl Frame {
    /// How many segments fit between head and tail.
    pub fn segments(&self, segment_bytes: u64) -> u64 {
        (self.segments_end - self.segments_at) / segment_bytes
    }
}

/// Segments as one volume sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Where the first segment begins.
    pub segments_at: u64,
    pub segment_bytes: u64,
    pub segment_count: u32,
}

impl Plan {
    /// Whether every segment of the plan fits on a device with this frame. What a superblock says of its device is only its
    /// word: the device may have been cut short since, or be a shorter copy.
    pub fn fits(&self, frame: &Frame) -> bool {
        let block = BLOCK_BYTES as u64;
        let sound = self.segment_bytes.is_multiple_of(block)
            && self.segment_bytes >= 4 * block
            && self.segment_bytes <= u64::from(u32::MAX) * block
            && (1..=SEGMENTS_MAX as u64).contains(&u64::from(self.segment_count));
        sound
            && self.segments_at == frame.segments_at
            && u64::from(self.segment_count) <= frame.segments(self.segment_bytes)
    }

    /// Where the last segment ends on a leg.
    pub fn segments_end(&self) -> u64 {
        let bytes = self
            .segment_bytes
            .saturating_mul(u64::from(self.segment_count));
        self.segments_at.saturating_add(bytes)
    }

    /// Byte offset on a leg of a block of a segment.
    pub fn at(&self, segment: SegmentIndex, block: u32) -> u64 {
        assert!(segment.0 < self.segment_count && block <= self.segment_blocks());
        self.segments_at
            + u64::from(segment.0) * self.segment_bytes
            + u64::from(block) * BLOCK_BYTES as u64
    }

    pub fn segment_blocks(&self) -> u32 {
        (self.segment_bytes / BLOCK_BYTES as u64) as u32
    }

    /// The largest batch of this volume: never more than a segment.
    pub fn batch_bytes_max(&self) -> usize {
        crate::BATCH_BYTES_MAX.min(self.segment_bytes as usize)
    }

    /// Arena pages of one segment: as many as blocks.
    pub fn pages_per_segment(&self) -> u64 {
        self.segment_bytes / BLOCK_BYTES as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_fits_only_a_device_that_has_all_of_it() {
        let capacity = 14 << 20;
        let here = frame(capacity).expect("large enough");
        let segment_bytes = 256 << 10;
        let plan = Plan {
            segments_at: here.segments_at,
            segment_bytes,
            segment_count: here.segments(segment_bytes) as u32,
        };
        assert!(plan.fits(&here));
        assert!(plan.fits(&frame(capacity + (1 << 20)).expect("larger")));
        assert!(!plan.fits(&frame(capacity - segment_bytes).expect("shorter")));
        // Another layout altogether, and numbers that no device of ours ever wrote.
        assert!(!plan.fits(&frame(64 << 20).expect("large")));
        for segment_bytes in [0, 4096, 4097, u64::MAX] {
            let odd = Plan {
                segment_bytes,
                ..plan
            };
            assert!(!odd.fits(&here));
        }
        let segment_count = 0;
        assert!(
            !Plan {
                segment_count,
                ..plan
            }
            .fits(&here)
        );
    }

    #[test]
    fn rings_and_segments_never_overlap() {
        for capacity in [1 << 20, 14 << 20, (64 << 20) - 4096, 64 << 20, 1 << 40] {
            let frame = frame(capacity).expect("a megabyte is enough for a frame");
            for (index, ring) in frame.rings.iter().enumerate() {
                assert!(ring + RING_BYTES <= frame.segments_at || *ring >= frame.segments_end);
                assert!(ring + RING_BYTES <= capacity);
                for other in &frame.rings[index + 1..] {
                    assert!(ring + RING_BYTES <= *other || other + RING_BYTES <= *ring);
                }
            }
        }
        assert_eq!(frame(64 << 10), None);
    }
}
