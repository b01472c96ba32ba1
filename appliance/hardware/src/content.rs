//! What is on a disk: nothing, a leg, or something else. Reads only; a disk that cannot be read is unknown, never blank.
//!
//! Small programs ask this, and they do not link the engine. The few facts of `core/volume/FORMAT.md` that it takes stand here once
//! more; tests of `ringpostd`, which sees both, hold them to the engine's.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::health::Holds;

/// A device is blank when this much of its beginning and end is zero, and the samples between.
pub const BLANK_BYTES: usize = 4 << 20;
/// Most samples.
const BLANK_SAMPLES_MAX: u64 = 256;
/// Bytes at the beginning of a leg that hold its first ring of superblocks.
pub const HEAD_BYTES: usize = 128 << 10;
/// Where that ring begins, and how long each of its slots is.
const RING_AT: usize = 64 << 10;
const SLOT_BYTES: usize = 4096;
/// The first bytes of a superblock in every version of the format.
const SUPERBLOCK: &[u8] = b"RPSUPER1";

/// What is on the device at `path`. A superblock that is damaged, or that a newer release wrote, makes it a leg all the same: it may
/// hold mail.
pub fn look(path: &Path) -> Holds {
    read(path).unwrap_or(Holds::Unknown)
}

fn read(path: &Path) -> io::Result<Holds> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::with_capacity(BLANK_BYTES);
    (&file).take(BLANK_BYTES as u64).read_to_end(&mut bytes)?;
    if is_leg(&bytes) {
        return Ok(Holds::Leg);
    }
    if !is_zero(&bytes) {
        return Ok(Holds::Something);
    }
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(BLANK_BYTES as u64)))?;
    bytes.clear();
    (&file).take(BLANK_BYTES as u64).read_to_end(&mut bytes)?;
    let mut is_blank = length > 0 && is_zero(&bytes);
    for at in blank_samples(length) {
        let mut block = [0; 4096];
        file.read_exact_at(&mut block, at)?;
        is_blank &= is_zero(&block);
    }
    Ok(match is_blank {
        true => Holds::Nothing,
        false => Holds::Something,
    })
}

fn is_leg(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(HEAD_BYTES)];
    let ring = head.get(RING_AT..).unwrap_or_default();
    ring.chunks(SLOT_BYTES)
        .any(|slot| slot.starts_with(SUPERBLOCK))
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Where blocks between the ends are looked at: evenly, and where segments may begin.
pub fn blank_samples(length: u64) -> impl Iterator<Item = u64> {
    let ends = BLANK_BYTES as u64;
    let stride = length
        .saturating_sub(2 * ends)
        .div_ceil(BLANK_SAMPLES_MAX)
        .next_multiple_of(ends)
        .max(ends);
    (ends..length.saturating_sub(ends)).step_by(stride as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_zero_at_both_ends_and_between_them_holds_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("disk");
        let holds = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("written");
            look(&path)
        };
        let mut bytes = vec![0; 3 * BLANK_BYTES];
        assert_eq!(holds(&bytes), Holds::Nothing);
        *bytes.last_mut().expect("not empty") = 1;
        assert_eq!(holds(&bytes), Holds::Something);
        bytes.fill(0);
        bytes[0] = 1;
        assert_eq!(holds(&bytes), Holds::Something);
        bytes.fill(0);
        bytes[BLANK_BYTES] = 1;
        assert_eq!(holds(&bytes), Holds::Something);
        assert_eq!(
            look(&directory.path().join("gone")),
            Holds::Unknown,
            "what cannot be read is not blank"
        );
    }

    #[test]
    fn a_disk_with_one_superblock_left_is_a_leg() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("disk");
        let mut bytes = vec![0; 3 * BLANK_BYTES];
        for slot in [RING_AT, HEAD_BYTES - SLOT_BYTES] {
            bytes.fill(0);
            bytes[slot..slot + SUPERBLOCK.len()].copy_from_slice(SUPERBLOCK);
            std::fs::write(&path, &bytes).expect("written");
            assert_eq!(look(&path), Holds::Leg, "at {slot}");
        }
        bytes.fill(0);
        bytes[RING_AT + 8..RING_AT + 16].copy_from_slice(SUPERBLOCK);
        std::fs::write(&path, &bytes).expect("written");
        assert_eq!(look(&path), Holds::Something, "not at a slot's beginning");
    }
}
