//! The witness of a single box (DESIGN.md B2): one small file on the state partition, replaced durably. Beside it lies how far
//! the volume had come at the last checkpoint, stop or quiet moment; that file is written by a thread of its own, because a
//! slow state partition must not hold up mail.

use std::fs;
use std::io;
use std::path::PathBuf;

use files::Mode;
use volume::{Position, VolumeId, Witness, WitnessFault, WitnessRecord};

use crate::notes::Notes;
use crate::witness_file::{decode, decode_position, encode, position_path, read, unavailable};

/// One record for each volume that this box knows, in `DIR/witness-ID`, and how far it had come in `DIR/position-ID`.
pub struct FileWitness {
    directory: PathBuf,
    notes: Notes,
}

impl FileWitness {
    pub fn new(directory: PathBuf) -> FileWitness {
        let notes = Notes::new(directory.clone());
        FileWitness { directory, notes }
    }

    /// Whether any volume is known here. An error is not an answer.
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
        let Some(text) = read(&path)? else {
            return Ok(None);
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
        let written = files::replace(&path, encode(new).as_bytes(), Mode::Umask);
        written.map_err(|error| unavailable(&path, error))
    }

    fn position(&self, volume: VolumeId) -> Result<Option<Position>, WitnessFault> {
        let path = position_path(&self.directory, volume);
        let Some(text) = read(&path)? else {
            return Ok(None);
        };
        match decode_position(&text, volume) {
            Some(position) => Ok(Some(position)),
            None => Err(WitnessFault::Unavailable(format!(
                "{} is damaged; if every leg is connected, remove this file and it is created again",
                path.display()
            ))),
        }
    }

    fn note(&self, volume: VolumeId, position: Position) {
        self.notes.note(volume, position);
    }
}

#[cfg(test)]
mod tests {
    use volume::{LegId, Lsn};

    use crate::witness_file::{MAGIC_BEFORE, sealed};

    use super::*;

    fn record(epoch: u64) -> WitnessRecord {
        WitnessRecord {
            volume: VolumeId([7; 16]),
            epoch,
            term: 3,
            opened: 2,
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
    fn a_record_of_the_layout_before_reads_as_one_that_knows_of_no_opening() {
        let directory = tempfile::tempdir().expect("a directory");
        let witness = FileWitness::new(directory.path().to_owned());
        let [volume, leg] = [VolumeId([7; 16]).to_string(), LegId([1; 16]).to_string()];
        let text = format!("{MAGIC_BEFORE}\nvolume {volume}\nepoch 4\nterm 3\nin_sync {leg}\n");
        fs::write(witness.path(VolumeId([7; 16])), sealed(text)).expect("written");
        let read = witness
            .read(VolumeId([7; 16]))
            .expect("whole")
            .expect("there");
        assert_eq!((read.epoch, read.term, read.opened), (4, 3, 0));
        assert_eq!(read.in_sync, [LegId([1; 16])]);
        // It is replaced like any other, and is one of this layout then.
        assert_eq!(witness.replace(Some(&read), &record(5)), Ok(()));
        assert_eq!(witness.read(VolumeId([7; 16])), Ok(Some(record(5))));
    }

    #[test]
    fn the_last_position_noted_is_there_after_a_stop_and_a_damaged_one_is_not_an_absent_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let volume = VolumeId([7; 16]);
        let witness = FileWitness::new(directory.path().to_owned());
        assert_eq!(witness.position(volume), Ok(None));
        for number in 1..=100 {
            let (seq, acked) = (number, Lsn(number * 10));
            witness.note(volume, Position { seq, acked });
        }
        drop(witness);
        let witness = FileWitness::new(directory.path().to_owned());
        let (seq, acked) = (100, Lsn(1000));
        assert_eq!(witness.position(volume), Ok(Some(Position { seq, acked })));
        assert_eq!(witness.position(VolumeId([8; 16])), Ok(None));
        let path = position_path(directory.path(), volume);
        let text = fs::read_to_string(&path).expect("it is there");
        for wrong in [text.replace("acked 1000", "acked 1"), String::new()] {
            fs::write(&path, wrong).expect("written");
            let refused = witness.position(volume);
            assert!(
                matches!(refused, Err(WitnessFault::Unavailable(why)) if why.contains("damaged"))
            );
        }
        // It is no record of a volume.
        assert!(!witness.knows_any().unwrap());
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
