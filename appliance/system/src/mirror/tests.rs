//! Two system disks as folders: what is pulled, fails and comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::*;

/// A machine whose disks are folders; the one that it was started from is `home`.
struct Disks {
    folder: tempfile::TempDir,
    home: String,
    /// Not plugged in.
    out: BTreeSet<String>,
    /// There, and every mount fails.
    broken: BTreeSet<String>,
    /// Whose state was written, or read.
    kept: BTreeMap<String, Way>,
    /// Disks that `make` may take.
    blank: BTreeSet<String>,
}

impl Disks {
    fn new(disks: &[&str]) -> Disks {
        let made = Disks {
            folder: tempfile::tempdir().expect("a folder"),
            home: disks[0].into(),
            out: BTreeSet::new(),
            broken: BTreeSet::new(),
            kept: BTreeMap::new(),
            blank: BTreeSet::new(),
        };
        for disk in disks {
            made.format(disk);
        }
        made
    }

    /// As the installer leaves it.
    fn installed(disks: &[&str]) -> Disks {
        let made = Disks::new(disks);
        let members = disks.iter().map(|disk| Member::new(disk, disk)).collect();
        let record = Record::new(members).expect("a name");
        for disk in disks {
            record.store(&made.root(disk)).expect("stored");
            made.put(disk, "ringpost_1.0.0.efi");
        }
        made
    }

    fn root(&self, disk: &str) -> PathBuf {
        self.folder.path().join(disk)
    }

    fn format(&self, disk: &str) {
        fs::create_dir_all(self.root(disk).join("EFI/Linux")).expect("made");
    }

    fn put(&self, disk: &str, slot: &str) {
        let version = slot.split(['+']).next().unwrap_or(slot);
        fs::write(self.root(disk).join("EFI/Linux").join(slot), version).expect("written");
    }

    fn slots(&self, disk: &str) -> Vec<String> {
        slots(&self.root(disk))
    }

    fn record(&self, disk: &str) -> Record {
        Record::load(&self.root(disk))
            .expect("read")
            .expect("there")
    }

    fn look(&mut self) -> Report {
        self.look_and_add(None)
    }

    fn look_and_add(&mut self, add: Option<&str>) -> Report {
        let home = Home {
            root: self.root(&self.home),
            found: found(&self.home),
        };
        let wish = Wish {
            add: add.map(Path::new),
            thorough: true,
        };
        run(self, &home, wish)
    }

    fn standing(&mut self, disk: &str) -> Standing {
        let report = self.look();
        let line = report.disks.iter().find(|line| line.name == disk);
        line.unwrap_or_else(|| panic!("{disk} is not in {report:#?}"))
            .standing
    }
}

fn found(disk: &str) -> Found {
    Found {
        disk: disk.into(),
        esp: disk.into(),
        name: disk.into(),
    }
}

impl Hands for Disks {
    fn others(&mut self) -> Vec<Found> {
        let folders = fs::read_dir(self.folder.path()).expect("listed").flatten();
        let mut names: Vec<String> = folders
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| *name != self.home && !self.out.contains(name))
            .collect();
        names.sort();
        names.iter().map(|name| found(name)).collect()
    }

    fn open(&mut self, found: &Found, _write: bool) -> Result<PathBuf, String> {
        match self.broken.contains(&found.disk) {
            true => Err("I/O error".into()),
            false => Ok(self.root(&found.disk)),
        }
    }

    fn close(&mut self, _found: &Found) -> Result<(), String> {
        Ok(())
    }

    fn make(&mut self, path: &Path) -> Result<Found, String> {
        let name = path.to_string_lossy().into_owned();
        if !self.blank.remove(&name) {
            return Err("it is not blank".into());
        }
        self.format(&name);
        Ok(found(&name))
    }

    fn keep(&mut self, found: &Found, way: Way) -> Result<(), String> {
        self.kept.insert(found.disk.clone(), way);
        Ok(())
    }
}

#[test]
fn an_update_a_blessing_and_a_roll_back_are_on_both_disks() {
    let mut machine = Disks::installed(&["a", "b"]);
    machine.put("a", "ringpost_1.1.0+3.efi");
    crate::record::raise(&machine.root("a")).expect("raised");
    let report = machine.look();
    assert_eq!(report.alarms, [""; 0], "{report:#?}");
    assert_eq!(report.disks[1].standing, Standing::Level);
    assert_eq!(
        report.disks[1].slots,
        ["ringpost_1.0.0.efi", "ringpost_1.1.0+3.efi"]
    );
    assert_eq!(machine.record("a"), machine.record("b"));
    assert_eq!(machine.kept["b"], Way::To);
    for (from, to) in [
        ("ringpost_1.1.0+3.efi", "ringpost_1.1.0.efi"),
        ("ringpost_1.1.0.efi", "ringpost_1.1.0+0.efi"),
    ] {
        let slots = machine.root("a").join("EFI/Linux");
        fs::rename(slots.join(from), slots.join(to)).expect("renamed");
        machine.look();
        assert_eq!(machine.slots("b"), machine.slots("a"));
    }
}

#[test]
fn a_disk_that_is_missing_is_told_and_catches_up_when_it_is_back() {
    let mut machine = Disks::installed(&["a", "b"]);
    machine.out.insert("b".into());
    let report = machine.look();
    assert!(report.alarms[0].contains("b is missing"), "{report:#?}");
    machine.put("a", "ringpost_1.1.0.efi");
    assert_eq!(machine.standing("b"), Standing::Missing);
    machine.out.clear();
    let report = machine.look();
    assert_eq!(
        (report.alarms.len(), report.disks[1].standing),
        (0, Standing::Level)
    );
    assert_eq!(machine.slots("b"), machine.slots("a"));
    assert!(!machine.record("b").disks.iter().any(|member| member.behind));
}

#[test]
fn a_disk_that_fails_holds_nobody_up() {
    let mut machine = Disks::installed(&["a", "b"]);
    machine.broken.insert("b".into());
    let report = machine.look();
    assert_eq!(report.disks[1].standing, Standing::Behind);
    assert!(report.alarms[0].contains("I/O error"), "{report:#?}");
    assert!(machine.record("a").disks[1].behind);
}

/// A was out while B was updated; the firmware starts A first again. Without the revision A's old version would come to B.
#[test]
fn a_start_from_a_disk_that_missed_an_update_takes_nothing_away() {
    let mut machine = Disks::installed(&["a", "b"]);
    machine.home = "b".into();
    machine.out.insert("a".into());
    machine.look();
    machine.put("b", "ringpost_1.1.0.efi");
    machine.look();
    machine.home = "a".into();
    machine.out.clear();
    let report = machine.look();
    assert!(
        report
            .restart
            .as_ref()
            .is_some_and(|told| told.contains("restart")),
        "{report:#?}"
    );
    for disk in ["a", "b"] {
        assert_eq!(
            machine.slots(disk),
            ["ringpost_1.0.0.efi", "ringpost_1.1.0.efi"],
            "{disk}"
        );
    }
    assert_eq!(machine.kept["b"], Way::To, "and afterwards they are alike");
    assert_eq!(machine.record("a"), machine.record("b"));
    assert_eq!(
        machine.look().restart,
        None,
        "it is reported once from here"
    );
}

#[test]
fn a_blank_disk_takes_the_place_of_the_lost_one_and_the_lost_one_is_out() {
    let mut machine = Disks::installed(&["a", "b"]);
    machine.blank.insert("c".into());
    let report = machine.look_and_add(Some("c"));
    assert!(
        report
            .refused
            .as_ref()
            .is_some_and(|why| why.contains("2 system disks")),
        "{report:#?}"
    );
    machine.out.insert("b".into());
    let report = machine.look_and_add(Some("c"));
    assert_eq!(
        (report.refused.clone(), report.alarms.len()),
        (None, 0),
        "{report:#?}"
    );
    assert_eq!(machine.slots("c"), machine.slots("a"));
    assert_eq!(machine.standing("c"), Standing::Level);
    // The lost one turns up: it is named, and not written to.
    machine.out.clear();
    machine.put("a", "ringpost_1.1.0.efi");
    assert_eq!(machine.standing("b"), Standing::Foreign);
    assert_eq!(machine.slots("b"), ["ringpost_1.0.0.efi"]);
    // Even when the firmware starts it.
    machine.home = "b".into();
    let report = machine.look();
    assert!(report.alarms[0].contains("was replaced"), "{report:#?}");
    assert_eq!(machine.slots("b"), ["ringpost_1.0.0.efi"]);
    assert_eq!(machine.slots("a").len(), 2);
}

#[test]
fn a_disk_that_is_not_blank_is_not_made_a_system_disk() {
    let mut machine = Disks::installed(&["a", "b"]);
    machine.out.insert("b".into());
    let before = machine.record("a");
    let report = machine.look_and_add(Some("c"));
    assert_eq!(report.refused.as_deref(), Some("it is not blank"));
    let after = machine.record("a");
    assert_eq!(
        before.disks.len(),
        after.disks.len(),
        "the lost one is still missed"
    );
}

#[test]
fn a_box_of_one_disk_has_nothing_to_miss_and_may_get_a_second() {
    let mut machine = Disks::new(&["a"]);
    machine.put("a", "ringpost_1.0.0.efi");
    let report = machine.look();
    assert_eq!((report.alarms.len(), report.disks.len()), (0, 1));
    machine.blank.insert("c".into());
    machine.look_and_add(Some("c"));
    assert_eq!(machine.standing("c"), Standing::Level);
}

#[test]
fn a_disk_that_gives_back_other_bytes_is_told_and_nothing_is_copied() {
    let mut machine = Disks::installed(&["a", "b"]);
    machine.look();
    let slot = "EFI/Linux/ringpost_1.0.0.efi";
    let date = fs::metadata(machine.root("a").join(slot))
        .and_then(|meta| meta.modified())
        .expect("dated");
    let path = machine.root("b").join(slot);
    let bytes = fs::read(&path).expect("read");
    fs::write(&path, vec![b'?'; bytes.len()]).expect("rotten");
    let file = fs::File::options().write(true).open(&path).expect("there");
    file.set_modified(date).expect("dated");
    let report = machine.look();
    assert_eq!(report.disks[1].standing, Standing::Behind);
    assert!(report.alarms[0].contains("differs between"), "{report:#?}");
    assert_ne!(fs::read(&path).expect("read"), bytes);
}

#[test]
fn an_esp_without_a_version_empties_no_other() {
    let mut machine = Disks::installed(&["a", "b"]);
    machine.look();
    fs::remove_file(machine.root("a").join("EFI/Linux/ringpost_1.0.0.efi")).expect("removed");
    assert_eq!(machine.standing("b"), Standing::Behind);
    assert_eq!(machine.slots("b"), ["ringpost_1.0.0.efi"]);
    machine.out.insert("b".into());
    machine.blank.insert("c".into());
    let report = machine.look_and_add(Some("c"));
    assert!(report.refused.is_some_and(|why| why.contains("no version")));
}

#[test]
fn another_boxs_disk_is_never_written_to() {
    let mut machine = Disks::installed(&["a", "b"]);
    machine.format("x");
    Record::new(vec![Member::new("x", "x")])
        .expect("a name")
        .store(&machine.root("x"))
        .expect("stored");
    assert_eq!(machine.standing("x"), Standing::Foreign);
    assert_eq!(machine.slots("x"), [""; 0]);
    // A stick without an installation has no owner.
    machine.format("stick");
    let report = machine.look();
    assert!(report.disks.iter().all(|line| line.name != "stick"));
}

#[test]
fn a_record_that_cannot_be_read_stops_everything() {
    let mut machine = Disks::installed(&["a", "b"]);
    fs::write(machine.root("a").join(crate::record::FILE), "{").expect("cut short");
    machine.put("a", "ringpost_1.1.0.efi");
    let report = machine.look();
    assert_eq!(report.alarms.len(), 1);
    assert_eq!(machine.slots("b"), ["ringpost_1.0.0.efi"]);
}
