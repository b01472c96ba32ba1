//! Which faults one seed gets: some kinds, at some strength, on one leg at a time.

use device::sim::Faults;
use fastrand::Rng;

/// Each kind of fault is in the swarm or not: seeds with few kinds reach deeper than seeds with all of them. Kinds that leave bad bytes
/// behind without a sign only for a leg that may be `silent`.
pub fn faults(rng: &mut Rng, strength: f64, silent: bool) -> Faults {
    let mut faults = Faults::default();
    let mut kind = |of: &mut f64, weight: f64| {
        if rng.u8(..3) == 0 {
            *of = strength * weight * rng.f64();
        }
    };
    kind(&mut faults.read_error, 1.0);
    kind(&mut faults.sticky_read_error, 0.5);
    kind(&mut faults.write_error, 0.3);
    kind(&mut faults.lost_write, 0.5);
    kind(&mut faults.misdirected_write, 0.3);
    kind(&mut faults.misdirected_read, 0.5);
    kind(&mut faults.rot, 0.5);
    kind(&mut faults.lying_flush, 0.5);
    kind(&mut faults.stall, 0.2);
    kind(&mut faults.hang, 0.02);
    if !silent {
        faults.sticky_read_error = 0.0;
        faults.lost_write = 0.0;
        faults.misdirected_write = 0.0;
        faults.rot = 0.0;
        faults.lying_flush = 0.0;
    }
    faults.stall_us = [5_000, 500_000, 5_000_000][rng.usize(..3)];
    faults
}

/// Latency alone: operations of one disk overtake each other, and one disk may be much slower than the other.
pub fn latency(rng: &mut Rng) -> std::ops::Range<u64> {
    let from = rng.u64(1..200);
    from..from + [1, 50, 500, 5_000][rng.usize(..4)]
}
