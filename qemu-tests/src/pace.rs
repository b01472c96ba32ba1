//! How slow this machine is, measured once: by the first boot that reached READY.
//!
//! Deadlines in stories are written for an unshared two-core machine under TCG. `stretched` multiplies them. Before the
//! first measurement the factor is `STRETCH_MAX`: nothing may fail for want of a measurement.

use std::sync::OnceLock;
use std::time::Duration;

use crate::limits::{BOOT_MAX, BOOT_NOMINAL, BOOT_SLACK, STRETCH_MAX};

static FIRST_BOOT: OnceLock<Duration> = OnceLock::new();

/// Notes how long a boot took. Only the first call counts.
pub fn measured(boot: Duration) {
    if FIRST_BOOT.set(boot).is_ok() {
        eprintln!(
            "pace: this machine boots in {} s; deadlines are stretched {:.1} times",
            boot.as_secs(),
            factor(Some(boot))
        );
    }
}

/// A deadline for this machine.
pub fn stretched(nominal: Duration) -> Duration {
    nominal.mul_f64(factor(FIRST_BOOT.get().copied()))
}

/// How long a boot is waited for.
pub fn boot_deadline() -> Duration {
    deadline_after(FIRST_BOOT.get().copied())
}

fn factor(first: Option<Duration>) -> f64 {
    first.map_or(STRETCH_MAX, |boot| {
        (boot.as_secs_f64() / BOOT_NOMINAL.as_secs_f64()).clamp(1.0, STRETCH_MAX)
    })
}

fn deadline_after(first: Option<Duration>) -> Duration {
    first.map_or(BOOT_MAX, |boot| {
        boot.max(BOOT_NOMINAL).mul_f64(BOOT_SLACK).min(BOOT_MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_first_boot_stretches_and_a_fast_one_does_not_shrink() {
        assert_eq!(factor(None), STRETCH_MAX);
        assert_eq!(factor(Some(BOOT_NOMINAL / 4)), 1.0);
        assert_eq!(factor(Some(BOOT_NOMINAL * 2)), 2.0);
        assert_eq!(factor(Some(BOOT_NOMINAL * 1_000)), STRETCH_MAX);
        assert_eq!(deadline_after(None), BOOT_MAX);
        assert_eq!(deadline_after(Some(BOOT_MAX)), BOOT_MAX);
        assert_eq!(
            deadline_after(Some(Duration::from_secs(1))),
            BOOT_NOMINAL.mul_f64(BOOT_SLACK)
        );
    }
}
