//! Checksums. XXH3 says "these are the bytes we wrote, where we wrote them"; BLAKE3 names a body against
//! senders who are adversaries (storage.md A5).

/// XXH3-128 of `bytes`, seeded with what the bytes must belong to (volume, segment generation, address):
/// a well-formed structure in the wrong place does not verify.
pub fn xxh3_128(bytes: &[u8], seed: u64) -> u128 {
    xxhash_rust::xxh3::xxh3_128_with_seed(bytes, seed)
}

/// XXH3-64 of `bytes` under `seed`.
pub fn xxh3_64(bytes: &[u8], seed: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, seed)
}

/// Folds several numbers into one checksum seed.
pub fn seed(parts: &[u64]) -> u64 {
    let mut state = 0x5249_4e47_504f_5354; // "RINGPOST"
    for part in parts {
        state = xxhash_rust::xxh3::xxh3_64_with_seed(&part.to_le_bytes(), state);
    }
    state
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

    #[test]
    fn the_same_bytes_elsewhere_have_another_checksum() {
        assert_ne!(xxh3_128(b"x", seed(&[1, 2])), xxh3_128(b"x", seed(&[2, 1])));
    }
}
