//! The witness's files: how a record and a position are written.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base::hash;
use volume::{LegId, Lsn, Position, VolumeId, WitnessFault, WitnessRecord};

/// First line of the files; the number is the layout's. Layout 1 had no `opened`: it reads as "none is known".
const MAGIC: &str = "ringpost witness 2";
pub(crate) const MAGIC_BEFORE: &str = "ringpost witness 1";
const POSITION_MAGIC: &str = "ringpost position 1";
/// More than any record: a file larger than this is not ours.
const FILE_BYTES_MAX: u64 = 64 * 1024;

pub(crate) fn position_path(directory: &Path, volume: VolumeId) -> PathBuf {
    directory.join(format!("position-{volume}"))
}

/// The whole file; `None` when there is none.
pub(crate) fn read(path: &Path) -> Result<Option<String>, WitnessFault> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unavailable(path, error)),
        Ok(meta) if meta.len() > FILE_BYTES_MAX => Err(WitnessFault::Unavailable(format!(
            "{} is not a file of this appliance",
            path.display()
        ))),
        Ok(_) => fs::read_to_string(path)
            .map(Some)
            .map_err(|error| unavailable(path, error)),
    }
}

pub(crate) fn unavailable(path: &Path, error: std::io::Error) -> WitnessFault {
    WitnessFault::Unavailable(format!("{}: {error}", path.display()))
}

pub(crate) fn encode(record: &WitnessRecord) -> String {
    let mut text = format!(
        "{MAGIC}\nvolume {}\nepoch {}\nterm {}\nopened {}\n",
        record.volume, record.epoch, record.term, record.opened
    );
    for leg in &record.in_sync {
        text.push_str(&format!("in_sync {leg}\n"));
    }
    sealed(text)
}

pub(crate) fn encode_position(volume: VolumeId, position: Position) -> String {
    sealed(format!(
        "{POSITION_MAGIC}\nvolume {volume}\nsuperblock {}\nacked {}\n",
        position.seq, position.acked
    ))
}

/// With a last line that proves the others.
pub(crate) fn sealed(mut text: String) -> String {
    let check = hash::xxh3_64(text.as_bytes(), 0);
    text.push_str(&format!("check {check:016x}\n"));
    text
}

/// What the last line proves.
fn unsealed(text: &str) -> Option<std::str::Lines<'_>> {
    let (body, check) = text.rsplit_once("check ")?;
    let check = u64::from_str_radix(check.trim_end(), 16).ok()?;
    (check == hash::xxh3_64(body.as_bytes(), 0)).then(|| body.lines())
}

/// `None`: not a whole record of ours.
pub(crate) fn decode(text: &str) -> Option<WitnessRecord> {
    let mut lines = unsealed(text)?;
    let magic = lines.next()?;
    if magic != MAGIC && magic != MAGIC_BEFORE {
        return None;
    }
    let volume = VolumeId(id(lines.next()?.strip_prefix("volume ")?)?);
    let epoch = lines.next()?.strip_prefix("epoch ")?.parse().ok()?;
    let term = lines.next()?.strip_prefix("term ")?.parse().ok()?;
    let opened = if magic == MAGIC {
        lines.next()?.strip_prefix("opened ")?.parse().ok()?
    } else {
        0
    };
    let in_sync = lines
        .map(|line| Some(LegId(id(line.strip_prefix("in_sync ")?)?)))
        .collect::<Option<Vec<_>>>()?;
    Some(WitnessRecord {
        volume,
        epoch,
        term,
        opened,
        in_sync,
    })
}

pub(crate) fn decode_position(text: &str, volume: VolumeId) -> Option<Position> {
    let mut lines = unsealed(text)?;
    if lines.next()? != POSITION_MAGIC {
        return None;
    }
    let theirs = VolumeId(id(lines.next()?.strip_prefix("volume ")?)?);
    let seq = lines.next()?.strip_prefix("superblock ")?.parse().ok()?;
    let acked = Lsn(lines.next()?.strip_prefix("acked ")?.parse().ok()?);
    (theirs == volume).then_some(Position { seq, acked })
}

/// The 16 bytes of a hyphenated UUID.
fn id(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    if digits.len() != 32 {
        return None;
    }
    u128::from_str_radix(&digits, 16)
        .ok()
        .map(u128::to_be_bytes)
}
