//! Disks and partitions as the kernel shows them in `/sys/class/block`.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::limits::{BLANK_BYTES, DISK_PAUSE_MS, DISK_WAIT_MS};
use crate::mirror::Found;

/// The label of an ESP of ours; the definitions of `install.d` give it to the partition.
pub(crate) const ESP_LABEL: &str = "ringpost-esp";

/// Where the kernel's and udev's names are; another folder in tests.
pub struct Names {
    pub sys: PathBuf,
    pub dev: PathBuf,
    /// udev's database.
    pub udev: PathBuf,
}

impl Default for Names {
    fn default() -> Names {
        Names {
            sys: "/sys/class/block".into(),
            dev: "/dev".into(),
            udev: "/run/udev/data".into(),
        }
    }
}

impl Names {
    /// The kernel's name (`nvme0n1p1`) of the partition with this GPT identifier, as soon as udev has seen it.
    pub fn wait_for(&self, identifier: &str) -> Option<String> {
        let link = self.dev.join("disk/by-partuuid").join(identifier);
        let give_up = Instant::now() + Duration::from_millis(DISK_WAIT_MS);
        loop {
            // until it is there or time is up
            if let Some(name) = kernel_name(&link) {
                return Some(name);
            }
            if Instant::now() > give_up {
                return None;
            }
            std::thread::sleep(Duration::from_millis(DISK_PAUSE_MS));
        }
    }

    /// The disk that holds a partition: one floor up in sysfs.
    pub fn disk_of(&self, partition: &str) -> Option<String> {
        let place = self.sys.join(partition);
        if !place.join("partition").exists() {
            return None;
        }
        let real = fs::canonicalize(&place).ok()?;
        Some(real.parent()?.file_name()?.to_str()?.to_string())
    }

    /// The disk's partition with this label, by the kernel's name.
    pub fn labelled(&self, disk: &str, label: &str) -> Option<String> {
        self.partitions(disk)
            .into_iter()
            .find(|partition| self.label(partition).as_deref() == Some(label))
    }

    pub fn partitions(&self, disk: &str) -> Vec<String> {
        let mut found: Vec<String> = fs::read_dir(self.sys.join(disk))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.path().join("partition").exists())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        found.sort();
        found
    }

    /// Every whole disk, by the kernel's name.
    pub fn disks(&self) -> Vec<String> {
        let mut found: Vec<String> = fs::read_dir(&self.sys)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| !entry.path().join("partition").exists())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        found.sort();
        found
    }

    /// By the kernel, or by udev: of a partition that was added to a disk in use the kernel knows only its place.
    fn label(&self, partition: &str) -> Option<String> {
        let place = self.sys.join(partition);
        let text = fs::read_to_string(place.join("uevent")).ok()?;
        if let Some(label) = value(&text, "PARTNAME=") {
            return Some(label);
        }
        let number = fs::read_to_string(place.join("dev")).ok()?;
        let record = self.udev.join(format!("b{}", number.trim()));
        value(&fs::read_to_string(record).ok()?, "E:ID_PART_ENTRY_NAME=")
    }

    /// The disk's ESP, when it has one of ours.
    pub fn esp_of(&self, disk: &str) -> Option<Found> {
        let partition = self.labelled(disk, ESP_LABEL)?;
        Some(Found {
            esp: self.identifier(&partition)?,
            name: self.by_id(disk),
            disk: disk.to_owned(),
        })
    }

    /// The GPT identifier of a partition, in lower case.
    fn identifier(&self, partition: &str) -> Option<String> {
        let links = fs::read_dir(self.dev.join("disk/by-partuuid")).ok()?;
        let link = links
            .flatten()
            .find(|link| kernel_name(&link.path()).as_deref() == Some(partition))?;
        Some(link.file_name().to_str()?.to_ascii_lowercase())
    }

    /// A name below `/dev/disk/by-id` that people recognise, the kernel's where there is none.
    pub fn by_id(&self, disk: &str) -> String {
        let links = fs::read_dir(self.dev.join("disk/by-id"));
        let named = links
            .into_iter()
            .flatten()
            .flatten()
            .filter(|link| kernel_name(&link.path()).as_deref() == Some(disk))
            .filter_map(|link| link.file_name().into_string().ok());
        // Model and serial number rather than a world-wide number.
        let rank = |name: &String| {
            let number = name.starts_with("wwn-") || name.starts_with("nvme-eui.");
            (number, name.len(), name.clone())
        };
        named.min_by_key(rank).unwrap_or_else(|| disk.to_owned())
    }

    pub fn node(&self, name: &str) -> PathBuf {
        self.dev.join(name)
    }
}

fn value(text: &str, key: &str) -> Option<String> {
    text.lines()
        .find_map(|line| line.strip_prefix(key))
        .map(String::from)
}

/// What a link below `/dev/disk` points at, by the kernel's name; also a device node itself.
pub fn kernel_name(link: &Path) -> Option<String> {
    let real = fs::canonicalize(link).ok()?;
    Some(real.file_name()?.to_str()?.to_string())
}

/// What the first bytes of a device say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Zeroes only.
    Blank,
    /// An encrypted volume (LUKS 1 or 2).
    Luks,
    Something,
}

/// An error is an error, never "blank".
pub fn content(device: &Path) -> Result<Content, String> {
    let told = |error: std::io::Error| format!("cannot read {}: {error}", device.display());
    let mut head = Vec::with_capacity(BLANK_BYTES);
    File::open(device)
        .map_err(told)?
        .take(BLANK_BYTES as u64)
        .read_to_end(&mut head)
        .map_err(told)?;
    if head.starts_with(b"LUKS\xba\xbe") {
        Ok(Content::Luks)
    } else if head.iter().all(|byte| *byte == 0) {
        Ok(Content::Blank)
    } else {
        Ok(Content::Something)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with two partitions, as sysfs shows it.
    fn names(folder: &Path) -> Names {
        let sys = folder.join("class");
        let disk = folder.join("devices/nvme0n1");
        for (name, number, label) in [
            ("nvme0n1p1", "1", "ringpost-esp"),
            ("nvme0n1p2", "2", "ringpost-state"),
        ] {
            let part = disk.join(name);
            fs::create_dir_all(&part).expect("made");
            fs::write(part.join("partition"), number).expect("written");
            fs::write(
                part.join("uevent"),
                format!("DEVTYPE=partition\nPARTNAME={label}\n"),
            )
            .expect("written");
        }
        fs::create_dir_all(&sys).expect("made");
        for (name, target) in [
            ("nvme0n1", disk.clone()),
            ("nvme0n1p1", disk.join("nvme0n1p1")),
            ("nvme0n1p2", disk.join("nvme0n1p2")),
        ] {
            std::os::unix::fs::symlink(target, sys.join(name)).expect("linked");
        }
        Names {
            sys,
            dev: folder.join("dev"),
            udev: folder.join("udev"),
        }
    }

    #[test]
    fn a_partition_that_was_just_added_is_known_to_udev_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = names(folder.path());
        let part = names.sys.join("nvme0n1p2");
        fs::write(part.join("uevent"), "DEVTYPE=partition\n").expect("written");
        fs::write(part.join("dev"), "259:3\n").expect("written");
        assert_eq!(names.labelled("nvme0n1", "ringpost-state"), None);
        fs::create_dir_all(&names.udev).expect("made");
        fs::write(
            names.udev.join("b259:3"),
            "S:disk/by-x\nE:ID_PART_ENTRY_NAME=ringpost-state\n",
        )
        .expect("written");
        assert_eq!(
            names.labelled("nvme0n1", "ringpost-state").as_deref(),
            Some("nvme0n1p2")
        );
    }

    #[test]
    fn the_state_partition_is_looked_for_on_the_disk_we_were_started_from() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = names(folder.path());
        let disk = names.disk_of("nvme0n1p1").expect("its disk");
        assert_eq!(disk, "nvme0n1");
        assert_eq!(
            names.labelled(&disk, "ringpost-state").as_deref(),
            Some("nvme0n1p2")
        );
        assert_eq!(names.labelled(&disk, "data"), None);
        assert_eq!(
            names.disk_of("nvme0n1"),
            None,
            "a whole disk is not on another disk"
        );
        assert_eq!(names.disks(), ["nvme0n1"]);
    }

    #[test]
    fn a_system_disk_is_known_by_its_esp_and_named_for_people() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = names(folder.path());
        fs::create_dir_all(names.dev.join("disk/by-partuuid")).expect("made");
        fs::create_dir_all(names.dev.join("disk/by-id")).expect("made");
        for node in ["nvme0n1", "nvme0n1p1"] {
            fs::write(names.dev.join(node), "").expect("made");
        }
        assert_eq!(names.esp_of("nvme0n1"), None, "udev has not seen it yet");
        for (link, node) in [
            ("disk/by-partuuid/8F1C", "nvme0n1p1"),
            ("disk/by-id/nvme-eui.01", "nvme0n1"),
            ("disk/by-id/nvme-MODEL_S1", "nvme0n1"),
            ("disk/by-id/nvme-MODEL_S1_1", "nvme0n1"),
        ] {
            let target = names.dev.join(node);
            std::os::unix::fs::symlink(target, names.dev.join(link)).expect("linked");
        }
        let found = names.esp_of("nvme0n1").expect("one of ours");
        assert_eq!(
            (found.esp.as_str(), found.name.as_str()),
            ("8f1c", "nvme-MODEL_S1")
        );
    }

    #[test]
    fn only_zeroes_are_blank() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("device");
        for (bytes, content_is) in [
            (vec![0; 100_000], Content::Blank),
            ([vec![0; 1_024], vec![1]].concat(), Content::Something),
            (
                [b"LUKS\xba\xbe".to_vec(), vec![0; 90]].concat(),
                Content::Luks,
            ),
        ] {
            fs::write(&path, bytes).expect("written");
            assert_eq!(content(&path), Ok(content_is));
        }
        assert!(content(&folder.path().join("gone")).is_err());
    }
}
