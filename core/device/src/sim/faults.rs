//! How a simulated disk misbehaves, and how often it did.

use fastrand::Rng;

use crate::IoFault;

/// Probabilities (0 to 1) per operation of one disk, and its latency. All faults are off by default.
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    /// A read fails with `Medium`; the next attempt may succeed.
    pub read_error: f64,
    /// One block of the range goes bad: reads of it fail until it is rewritten.
    pub sticky_read_error: f64,
    /// A write fails with `Medium` after storing any subset of its sectors.
    pub write_error: f64,
    /// Every write fails with this and stores nothing: a thin pool that is full, an array that is away.
    pub refuses_writes: Option<IoFault>,
    /// A write is acknowledged and not stored.
    pub lost_write: f64,
    /// A write is acknowledged and stored somewhere else.
    pub misdirected_write: f64,
    /// A read succeeds with the bytes of another place.
    pub misdirected_read: f64,
    /// One bit of what a write stores is turned over.
    pub rot: f64,
    /// A flush or a durable write is acknowledged while its bytes are still in the volatile cache.
    pub lying_flush: f64,
    /// An operation takes `stall_us` longer.
    pub stall: f64,
    pub stall_us: u64,
    /// An operation does not complete until the disk is released, removed or loses power.
    pub hang: f64,
    /// Ordinary latency, drawn evenly; operations overtake each other.
    pub latency_us: std::ops::Range<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Faults {
            read_error: 0.0,
            sticky_read_error: 0.0,
            write_error: 0.0,
            refuses_writes: None,
            lost_write: 0.0,
            misdirected_write: 0.0,
            misdirected_read: 0.0,
            rot: 0.0,
            lying_flush: 0.0,
            stall: 0.0,
            stall_us: 0,
            hang: 0.0,
            latency_us: 50..300,
        }
    }
}

/// How often each fault struck one disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Reads that failed, block errors that stay included.
    pub read_errors: u64,
    pub write_errors: u64,
    /// Writes that were acknowledged and not stored.
    pub lost_writes: u64,
    /// Writes that were stored somewhere else.
    pub misdirected_writes: u64,
    /// Reads that got the bytes of another place.
    pub misdirected_reads: u64,
    /// Bits that were turned over.
    pub bit_flips: u64,
    /// Flushes that were acknowledged and not done.
    pub lying_flushes: u64,
    pub stalls: u64,
    pub hangs: u64,
    /// Writes of which a power cut stored some sectors and not others.
    pub torn_writes: u64,
    /// Blocks of the volatile cache that a power cut took, whole or in part.
    pub cache_blocks_lost: u64,
}

impl FaultCounts {
    /// Adds the counts of another disk.
    pub fn add(&mut self, other: &FaultCounts) {
        self.read_errors += other.read_errors;
        self.write_errors += other.write_errors;
        self.lost_writes += other.lost_writes;
        self.misdirected_writes += other.misdirected_writes;
        self.misdirected_reads += other.misdirected_reads;
        self.bit_flips += other.bit_flips;
        self.lying_flushes += other.lying_flushes;
        self.stalls += other.stalls;
        self.hangs += other.hangs;
        self.torn_writes += other.torn_writes;
        self.cache_blocks_lost += other.cache_blocks_lost;
    }
}

/// Draws a fault. A probability of zero draws nothing, so that switching one fault on does not reshuffle the others.
pub fn strikes(rng: &mut Rng, probability: f64) -> bool {
    probability > 0.0 && rng.f64() < probability
}
