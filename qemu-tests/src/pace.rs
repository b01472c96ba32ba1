//! How slow this machine is: as slow as the slowest boot so far.
//!
//! Deadlines in stories are written for an unshared two-core machine under TCG. `stretched` multiplies them. Before the
//! first measurement the factor is `STRETCH_MAX`: nothing may fail for want of a measurement. Boots themselves have no deadline made
//! of earlier ones: others may come and use the machine (`limits::BOOT_MAX`, `limits::BOOT_CPU_MAX`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::limits::{BOOT_NOMINAL, STRETCH_MAX};

/// Milliseconds; 0: none yet.
static SLOWEST_BOOT: AtomicU64 = AtomicU64::new(0);

/// Notes how long a boot took.
pub fn measured(boot: Duration) {
    let ms = boot.as_millis().max(1) as u64;
    let before = SLOWEST_BOOT.fetch_max(ms, Ordering::Relaxed);
    let stretches = |ms| factor(ms) > 1.0;
    if before == 0 || ms > before && stretches(ms) {
        eprintln!(
            "pace: this machine boots in {} s; deadlines are stretched {:.1} times",
            boot.as_secs(),
            factor(ms)
        );
    }
}

/// A deadline for this machine.
pub fn stretched(nominal: Duration) -> Duration {
    nominal.mul_f64(factor(SLOWEST_BOOT.load(Ordering::Relaxed)))
}

fn factor(slowest_ms: u64) -> f64 {
    if slowest_ms == 0 {
        return STRETCH_MAX;
    }
    (slowest_ms as f64 / BOOT_NOMINAL.as_millis() as f64).clamp(1.0, STRETCH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_boot_stretches_and_a_fast_one_does_not_shrink() {
        let nominal = BOOT_NOMINAL.as_millis() as u64;
        assert_eq!(factor(0), STRETCH_MAX);
        assert_eq!(factor(nominal / 4), 1.0);
        assert_eq!(factor(nominal * 2), 2.0);
        assert_eq!(factor(nominal * 1_000), STRETCH_MAX);
    }
}
