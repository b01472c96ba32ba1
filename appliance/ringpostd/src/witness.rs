//! The witness of a single box (storage.md B2): one small file on the state partition, replaced durably.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

use base::hash;
use volume::{LegId, VolumeId, Witness, WitnessFault, WitnessRecord};

/// First line of the file; the number is the layout's.
const MAGIC: &str = "ringpost witness 1";
/// More than any record: a file larger than this is not ours.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// One record for each volume that this box knows, in `DIR/witness-ID`.
pub struct FileWitness {
    directory: PathBuf,
}

impl FileWitness {
    pub fn new(directory: PathBuf) -> FileWitness {
        FileWitness { directory }
    }

    /// Whether any volume is known here. An error is no answer.
    pub fn knows_any(&self) -> io::Result<bool> {
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("witness-") && !name.ends_with(".new") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn path(&self, volume: VolumeId) -> PathBuf {
        self.directory.join(format!("witness-{volume}"))
    }
}

impl Witness for FileWitness {
    fn read(&self, volume: VolumeId) -> Result<Option<WitnessRecord>, WitnessFault> {
        let path = self.path(volume);
        let text = match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unavailable(&path, error)),
            Ok(meta) if meta.len() > FILE_BYTES_MAX => {
                return Err(WitnessFault::Unavailable(format!(
                    "{} is not a witness",
                    path.display()
                )));
            }
            Ok(_) => fs::read_to_string(&path).map_err(|error| unavailable(&path, error))?,
        };
        match decode(&text).filter(|record| record.volume == volume) {
            Some(record) => Ok(Some(record)),
            // Unknown is not absent: a damaged witness stops us, it does not let us guess.
            None => Err(WitnessFault::Unavailable(format!(
                "{} is damaged",
                path.display()
            ))),
        }
    }

    fn replace(
        &self,
        expected: Option<&WitnessRecord>,
        new: &WitnessRecord,
    ) -> Result<(), WitnessFault> {
        // One process holds the state directory's lock: reading and replacing are not raced.
        if self.read(new.volume)?.as_ref() != expected {
            return Err(WitnessFault::Lost);
        }
        let path = self.path(new.volume);
        let fresh = path.with_extension("new");
        let write = || {
            let mut file = File::create(&fresh)?;
            file.write_all(encode(new).as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|error| unavailable(&path, error))
    }
}

fn unavailable(path: &std::path::Path, error: std::io::Error) -> WitnessFault {
    WitnessFault::Unavailable(format!("{}: {error}", path.display()))
}

fn encode(record: &WitnessRecord) -> String {
    let mut text = format!(
        "{MAGIC}\nvolume {}\nepoch {}\nterm {}\n",
        record.volume, record.epoch, record.term
    );
    for leg in &record.in_sync {
        text.push_str(&format!("in_sync {leg}\n"));
    }
    let check = hash::xxh3_64(text.as_bytes(), 0);
    text.push_str(&format!("check {check:016x}\n"));
    text
}

/// `None`: not a whole record of ours.
fn decode(text: &str) -> Option<WitnessRecord> {
    let (body, check) = text.rsplit_once("check ")?;
    if u64::from_str_radix(check.trim_end(), 16).ok()? != hash::xxh3_64(body.as_bytes(), 0) {
        return None;
    }
    let mut lines = body.lines();
    if lines.next()? != MAGIC {
        return None;
    }
    let volume = VolumeId(id(lines.next()?.strip_prefix("volume ")?)?);
    let epoch = lines.next()?.strip_prefix("epoch ")?.parse().ok()?;
    let term = lines.next()?.strip_prefix("term ")?.parse().ok()?;
    let in_sync = lines
        .map(|line| Some(LegId(id(line.strip_prefix("in_sync ")?)?)))
        .collect::<Option<Vec<_>>>()?;
    Some(WitnessRecord {
        volume,
        epoch,
        term,
        in_sync,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: u64) -> WitnessRecord {
        WitnessRecord {
            volume: VolumeId([7; 16]),
            epoch,
            term: 3,
            in_sync: vec![LegId([1; 16]), LegId([255; 16])],
        }
    }

    #[test]
    fn a_record_is_replaced_only_by_who_knows_the_last_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let witness = FileWitness::new(directory.path().to_owned());
        assert!(!witness.knows_any().unwrap());
        assert_eq!(witness.read(VolumeId([7; 16])), Ok(None));
        assert_eq!(witness.replace(None, &record(1)), Ok(()));
        assert_eq!(witness.replace(None, &record(2)), Err(WitnessFault::Lost));
        assert_eq!(witness.replace(Some(&record(1)), &record(2)), Ok(()));
        assert_eq!(witness.read(VolumeId([7; 16])), Ok(Some(record(2))));
        assert!(witness.knows_any().unwrap());
    }

    #[test]
    fn a_directory_that_cannot_be_listed_is_not_one_without_records() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("not-a-directory");
        fs::write(&file, "").expect("written");
        assert!(FileWitness::new(file).knows_any().is_err());
    }

    #[test]
    fn a_damaged_record_is_not_an_absent_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let witness = FileWitness::new(directory.path().to_owned());
        witness.replace(None, &record(1)).expect("written");
        let path = witness.path(VolumeId([7; 16]));
        let text = fs::read_to_string(&path).expect("it is there");
        for wrong in [
            text.replace("epoch 1", "epoch 2"),
            String::new(),
            text[..text.len() / 2].to_owned(),
        ] {
            fs::write(&path, wrong).expect("written");
            assert!(matches!(
                witness.read(VolumeId([7; 16])),
                Err(WitnessFault::Unavailable(_))
            ));
            assert!(witness.replace(None, &record(9)).is_err());
        }
    }
}
