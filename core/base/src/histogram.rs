//! How long things took, counted in fixed buckets: adding is two additions, reading is a copy.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The upper bounds of the buckets in microseconds, each included (OpenMetrics `le`); one more bucket takes what is slower. From a
/// write to flash with power-loss protection (tens of microseconds) to a disk that hangs.
pub const BOUNDS_US: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000, 60_000_000,
];

/// The bounds and the bucket above them.
pub const BUCKETS: usize = BOUNDS_US.len() + 1;

const _: () = {
    let mut at = 1;
    while at < BOUNDS_US.len() {
        assert!(BOUNDS_US[at - 1] < BOUNDS_US[at], "bounds rise");
        at += 1;
    }
};

/// A histogram of durations that one thread keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many fell into each bucket; not cumulative.
    pub counts: [u64; BUCKETS],
    pub sum_us: u64,
}

impl Histogram {
    /// Counts one duration of `us` microseconds.
    pub fn note(&mut self, us: u64) {
        self.counts[bucket(us)] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds what `other` counted.
    pub fn add(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }
}

/// A histogram that one core writes and any thread reads. A reader may see a duration in its bucket and not yet in the sum.
#[derive(Debug, Default)]
pub struct SharedHistogram {
    counts: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl SharedHistogram {
    /// Counts one duration of `us` microseconds.
    pub fn note(&self, us: u64) {
        self.counts[bucket(us)].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    pub fn read(&self) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|at| self.counts[at].load(Relaxed)),
            sum_us: self.sum_us.load(Relaxed),
        }
    }
}

fn bucket(us: u64) -> usize {
    BOUNDS_US.partition_point(|bound| *bound < us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut histogram = Histogram::default();
        for us in [0, 50, 51, 60_000_000, 60_000_001, u64::MAX] {
            histogram.note(us);
        }
        assert_eq!(histogram.counts[..2], [2, 1]);
        assert_eq!(histogram.counts[BUCKETS - 2..], [1, 2]);
        assert_eq!(histogram.count(), 6);
        assert_eq!(
            histogram.sum_us,
            u64::MAX,
            "the sum stops, it does not wrap"
        );
    }

    #[test]
    fn what_cores_counted_adds_up() {
        let shared = SharedHistogram::default();
        shared.note(70);
        shared.note(3_000_000);
        let mut sum = shared.read();
        sum.add(&shared.read());
        assert_eq!((sum.count(), sum.sum_us), (4, 6_000_140));
        assert_eq!(sum.counts[1], 2);
    }
}
