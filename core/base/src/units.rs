//! Sizes and spans, spelled once.

pub const KIB: usize = 1024;
pub const MIB: usize = 1024 * KIB;
pub const GIB: usize = 1024 * MIB;

/// `bytes` rounded up to a multiple of `unit`. `unit` must be a power of two.
pub const fn round_up(bytes: usize, unit: usize) -> usize {
    assert!(unit.is_power_of_two());
    (bytes + unit - 1) & !(unit - 1)
}

/// `bytes` rounded down to a multiple of `unit`. `unit` must be a power of two.
pub const fn round_down(bytes: usize, unit: usize) -> usize {
    assert!(unit.is_power_of_two());
    bytes & !(unit - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_meets_the_unit_from_both_sides() {
        assert_eq!(round_up(0, 4096), 0);
        assert_eq!(round_up(1, 4096), 4096);
        assert_eq!(round_up(4096, 4096), 4096);
        assert_eq!(round_down(4097, 4096), 4096);
    }
}
