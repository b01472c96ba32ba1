//! Checksums. XXH3 says "these are the bytes we wrote, where we wrote them"; BLAKE3 names a body against
//! senders who are adversaries (DESIGN.md A5).

use twox_hash::{XxHash3_64, XxHash3_128};

/// XXH3-128 of `bytes`, seeded with what the bytes must belong to (volume, segment generation, address):
/// a well-formed structure in the wrong place does not verify.
pub fn xxh3_128(bytes: &[u8], seed: u64) -> u128 {
    XxHash3_128::oneshot_with_seed(seed, bytes)
}

/// XXH3-64 of `bytes` under `seed`.
pub fn xxh3_64(bytes: &[u8], seed: u64) -> u64 {
    XxHash3_64::oneshot_with_seed(seed, bytes)
}

/// Folds several numbers into one checksum seed.
pub fn seed(parts: &[u64]) -> u64 {
    let mut state = 0x5249_4e47_504f_5354; // "RINGPOST"
    for part in parts {
        state = xxh3_64(&part.to_le_bytes(), state);
    }
    state
}

/// Keyed BLAKE3: a MAC that only the holder of `key` can make.
pub fn keyed(key: &[u8; 32], bytes: &[u8]) -> [u8; 32] {
    *blake3::keyed_hash(key, bytes).as_bytes()
}

/// BLAKE3-256 of the raw bytes of one body: its name for ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BodyName(pub [u8; 32]);

impl BodyName {
    pub fn of(raw: &[u8]) -> Self {
        Self(*blake3::hash(raw).as_bytes())
    }
}

impl std::fmt::Display for BodyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&blake3::Hash::from(self.0).to_hex())
    }
}

impl std::fmt::Debug for BodyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BodyName({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with another implementation (xxhash-rust 0.8): what is stored on disks must be readable for ever.
    #[test]
    fn checksums_are_those_of_xxh3() {
        let bytes: Vec<u8> = (0..1_000u32).map(|index| (index * 31 + 7) as u8).collect();
        let known = [
            (0, 0x913ae0873e9b7eb8, 0x76a30bdf56cdfa2ccb4aa04fe72c771f),
            (5, 0x7bebb0a5b854eb33, 0x8295e95b0de2a45c84cd2d74e9d6b3b2),
            (100, 0xab0d2d5c4b7b1f91, 0x7cbba1c6006d88e0897245cf78b574fd),
            (
                1_000,
                0x7ef6320eeeb48141,
                0xb199d40644b584907ef6320eeeb48141,
            ),
        ];
        for (count, short, long) in known {
            assert_eq!(xxh3_64(&bytes[..count], 7), short);
            assert_eq!(xxh3_128(&bytes[..count], 7), long);
        }
        assert_eq!(seed(&[1, 2]), 0x31fcd19c62c3710a);
    }

    #[test]
    fn the_same_bytes_elsewhere_have_another_checksum() {
        assert_ne!(xxh3_128(b"x", seed(&[1, 2])), xxh3_128(b"x", seed(&[2, 1])));
    }
}
