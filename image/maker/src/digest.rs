//! SHA-256 of bytes and files, in lower-case hex: the names of cached layers, and the sums in `manifest.json` and the SBOM.

use std::path::Path;

use sha2::{Digest, Sha256};

/// The digest of `bytes`, 64 digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The digest of a file and its size in bytes. Reads piece by piece: a disk image is large and mostly holes.
pub fn sha256_of(path: &Path) -> Result<(String, u64), String> {
    let mut file =
        std::fs::File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut digest = Sha256::new();
    let bytes = std::io::copy(&mut file, &mut digest)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let sum = digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok((sum, bytes))
}
