//! What a disk with a volatile write cache holds after its power was cut.
//!
//! QEMU's `blklogwrites` writes down every request that a disk gets, in the format of Linux's dm-log-writes (kernel
//! documentation, `admin-guide/device-mapper/log-writes.rst`): a superblock of one sector, then for each request a sector with four
//! little-endian words (sector, sectors, flags, length) and the bytes written. From that log a disk is made that lost what was only in
//! its cache: a write is on it for certain once a flush has followed, or when it was a forced one.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use crate::failure::{Doing, Told, ensure};
use crate::keep;

/// Flags of a request.
const FLUSH: u64 = 1;
const FORCED: u64 = 2;
const DISCARD: u64 = 4;

const SECTOR_BYTES: u64 = 512;
const MAGIC: u64 = 0x006a_7366_7773_6872;

/// One request takes at least a sector of the log; a story's log has some thousands.
const REQUESTS_MAX: usize = 1 << 20;
/// QEMU splits larger requests.
const REQUEST_BYTES_MAX: u64 = 64 << 20;

/// What became of the writes before the cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    /// On the disk for certain.
    pub durable: usize,
    /// In the cache only, and gone.
    pub lost: usize,
    /// In the cache only, and written all the same.
    pub kept: usize,
}

/// A write as the log has it.
struct Logged {
    /// Where its bytes begin in the log.
    at: u64,
    sector: u64,
    bytes: u64,
    durable: bool,
}

/// How long a disk's log is by now: all requests that have been answered lie before that place.
pub fn length(log: &Path) -> Told<u64> {
    std::fs::metadata(log)
        .map(|found| found.len())
        .doing(log.display())
}

/// The place at or behind `cut` where the power takes most: writes lie in the cache, and the flush that forces them comes next. `cut`
/// itself where no flush follows.
pub fn before_next_flush(log: &Path, cut: u64) -> Told<u64> {
    let mut source = File::open(log).doing(log.display())?;
    let mut at = SECTOR_BYTES;
    let mut cached = false;
    for _ in 0..REQUESTS_MAX {
        let words = words(&mut source, at).doing(log.display())?;
        let Some([_, sectors, flags, _]) = words else {
            break;
        };
        if flags & FLUSH != 0 {
            if at >= cut && cached {
                return Ok(at);
            }
            cached = false;
        }
        at += SECTOR_BYTES;
        if flags & DISCARD == 0 && sectors > 0 {
            cached |= flags & FORCED == 0;
            at = at.saturating_add(sectors.saturating_mul(SECTOR_BYTES));
        }
    }
    Ok(cut)
}

/// Makes `disk`, of `bytes`, as it is when the power fails at the place `cut` of its log. It was blank when the log began. `keeps`
/// says of each write that only the cache had whether it gets to the disk after all; real caches write back in any order.
pub fn replay(
    log: &Path,
    cut: u64,
    disk: &Path,
    bytes: u64,
    mut keeps: impl FnMut() -> bool,
) -> Told<Replayed> {
    let mut source = File::open(log).doing(log.display())?;
    let writes = writes(&mut source, cut).doing(log.display())?;
    keep::blank(disk, bytes)?;
    let mut target = File::options()
        .write(true)
        .open(disk)
        .doing(disk.display())?;
    let mut outcome = Replayed::default();
    for write in writes {
        match (write.durable, write.durable || keeps()) {
            (true, _) => outcome.durable += 1,
            (false, true) => outcome.kept += 1,
            (false, false) => {
                outcome.lost += 1;
                continue;
            }
        }
        let to = write.sector * SECTOR_BYTES;
        ensure(to + write.bytes <= bytes, || {
            format!("{}: a write beyond the disk's end", log.display())
        })?;
        source
            .seek(SeekFrom::Start(write.at))
            .doing(log.display())?;
        target.seek(SeekFrom::Start(to)).doing(disk.display())?;
        let copied = std::io::copy(&mut (&mut source).take(write.bytes), &mut target);
        // A request that was under way when the power failed may be in the log with its head only; its bytes count as lost.
        ensure(
            copied.doing(disk.display())? == write.bytes || !write.durable,
            || format!("{}: the log ends in a write", log.display()),
        )?;
    }
    Ok(outcome)
}

/// The writes before `cut`, in the order in which the disk got them.
fn writes(log: &mut File, cut: u64) -> std::io::Result<Vec<Logged>> {
    let mut found: Vec<Logged> = Vec::new();
    let mut unflushed = 0;
    let mut at = SECTOR_BYTES;
    let malformed = |text| Err(std::io::Error::new(ErrorKind::InvalidData, text));
    match words(log, 0)? {
        Some([MAGIC, 1, ..]) => {}
        // QEMU writes the superblock with the first flush.
        None | Some([0, ..]) => return Ok(found),
        Some(_) => return malformed("not a log of writes"),
    }
    while at < cut {
        let Some([sector, sectors, flags, _]) = words(log, at)? else {
            break;
        };
        if found.len() >= REQUESTS_MAX {
            return malformed("too many requests");
        }
        at += SECTOR_BYTES;
        if flags & FLUSH != 0 {
            for write in &mut found[unflushed..] {
                write.durable = true;
            }
            unflushed = found.len();
        }
        if flags & DISCARD != 0 || sectors == 0 {
            continue;
        }
        let bytes = match sectors.checked_mul(SECTOR_BYTES) {
            Some(bytes) if bytes <= REQUEST_BYTES_MAX => bytes,
            _ => return malformed("a request of that size"),
        };
        found.push(Logged {
            at,
            sector,
            bytes,
            durable: flags & FORCED != 0,
        });
        at += bytes;
    }
    Ok(found)
}

/// The four words at a place of the log; `None` behind its end.
fn words(log: &mut File, at: u64) -> std::io::Result<Option<[u64; 4]>> {
    log.seek(SeekFrom::Start(at))?;
    let mut bytes = [0; 32];
    match log.read_exact(&mut bytes) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    }
    Ok(Some(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of these requests: flags, sector, and a letter for each sector written.
    fn log(requests: &[(u64, u64, &str)]) -> Vec<u8> {
        let mut bytes = sector(&[MAGIC, 1, requests.len() as u64, SECTOR_BYTES]);
        for (flags, at, letters) in requests {
            bytes.extend(sector(&[*at, letters.len() as u64, *flags, 0]));
            for letter in letters.bytes() {
                bytes.extend([letter; SECTOR_BYTES as usize]);
            }
        }
        bytes
    }

    fn sector(words: &[u64]) -> Vec<u8> {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.resize(SECTOR_BYTES as usize, 0);
        bytes
    }

    /// The first letter of each of the disk's four sectors after a cut; `.` is blank.
    fn after(requests: &[(u64, u64, &str)], cut: u64, keeps: bool) -> (String, Replayed) {
        let directory = tempfile::tempdir().expect("a directory");
        let (from, to) = (directory.path().join("log"), directory.path().join("disk"));
        std::fs::write(&from, log(requests)).expect("written");
        let outcome =
            replay(&from, cut, &to, 4 * SECTOR_BYTES, || keeps).expect("a well-formed log");
        let disk = std::fs::read(&to).expect("a disk");
        let letters = disk
            .chunks(SECTOR_BYTES as usize)
            .map(|sector| match sector[0] {
                0 => '.',
                letter => char::from(letter),
            });
        (letters.collect(), outcome)
    }

    const ALL: u64 = u64::MAX;

    #[test]
    fn what_was_flushed_or_forced_is_there_and_the_rest_is_not() {
        let requests = [(0, 0, "a"), (FLUSH, 0, ""), (0, 1, "b"), (FORCED, 2, "c")];
        let (disk, outcome) = after(&requests, ALL, false);
        assert_eq!(disk, "a.c.");
        let expected = Replayed {
            durable: 2,
            lost: 1,
            kept: 0,
        };
        assert_eq!(outcome, expected);
        assert_eq!(after(&requests, ALL, true).0, "abc.");
    }

    #[test]
    fn a_flush_behind_the_cut_has_not_happened() {
        let requests = [(0, 0, "ab"), (FLUSH, 0, "")];
        // The superblock, the head of the write and its two sectors.
        let before_the_flush = 4 * SECTOR_BYTES;
        assert_eq!(after(&requests, before_the_flush, false).0, "....");
        assert_eq!(
            after(&requests, before_the_flush + SECTOR_BYTES, false).0,
            "ab.."
        );
    }

    #[test]
    fn a_cut_moves_on_to_where_the_cache_holds_something() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let requests = [
            (0, 0, "a"),
            (FLUSH, 0, ""),
            (FORCED, 1, "b"),
            (FLUSH, 0, ""),
        ];
        let mut all = requests.to_vec();
        all.extend([(0, 2, "cd"), (FLUSH, 0, ""), (0, 0, "e")]);
        std::fs::write(&path, log(&all)).expect("written");
        let next = |cut| before_next_flush(&path, cut * SECTOR_BYTES).expect("a log");
        // Superblock, head and bytes of `a`; then its flush.
        assert_eq!(next(1), 3 * SECTOR_BYTES);
        // Behind it a forced write, its flush, and two sectors before the next one.
        assert_eq!(next(4), 10 * SECTOR_BYTES);
        assert_eq!(next(11), 11 * SECTOR_BYTES, "no flush follows");
    }

    #[test]
    fn later_writes_cover_earlier_ones_however_they_became_durable() {
        let requests = [(0, 0, "a"), (FORCED, 0, "b"), (FLUSH, 0, "")];
        assert_eq!(after(&requests, ALL, false).0, "b...");
        let requests = [(0, 0, "a"), (FLUSH, 0, ""), (0, 0, "b")];
        assert_eq!(
            after(&requests, ALL, false).0,
            "a...",
            "the newer one is lost"
        );
    }

    #[test]
    fn a_discard_carries_no_bytes_and_other_files_are_refused() {
        let requests = [(DISCARD, 0, ""), (FORCED, 3, "d")];
        assert_eq!(after(&requests, ALL, false).0, "...d");
        let directory = tempfile::tempdir().expect("a directory");
        let (from, to) = (directory.path().join("log"), directory.path().join("disk"));
        std::fs::write(&from, [7; 4_096]).expect("written");
        let refused = replay(&from, ALL, &to, 4_096, || false).expect_err("not a log");
        assert!(refused.to_string().contains("not a log"), "{refused}");
    }
}
