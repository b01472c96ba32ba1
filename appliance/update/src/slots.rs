//! What is on an EFI system partition: file names in which the boot loader counts.
//!
//! Boot Loader Specification, "Boot counting": `NAME.efi` is good, `NAME+LEFT.efi` and `NAME+LEFT-DONE.efi` are on trial while
//! LEFT is above zero and given up at zero.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use semver::Version;
use serde::Serialize;

use crate::limits::FILES_MAX;

/// One mounted EFI system partition.
#[derive(Debug, Clone)]
pub struct Esp {
    /// Where the partition is mounted.
    root: PathBuf,
}

/// What the boot loader makes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "standing")]
pub enum Standing {
    /// Passed its health gate.
    Good,
    /// Will be tried `left` more times.
    OnTrial { left: u32 },
    /// Was tried and never passed, or given up by an order (`tried` 0); started only when nothing else is there.
    GivenUp { tried: u32 },
}

/// One version on one ESP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Slot {
    /// The version in the file's name.
    #[serde(serialize_with = "as_text")]
    pub version: Version,
    /// By the counter in the file's name.
    #[serde(flatten)]
    pub standing: Standing,
    pub file: String,
}

/// A version in JSON is text.
fn as_text<S: serde::Serializer>(version: &Version, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(version)
}

/// What the name of a version of ours begins with.
const PREFIX: &str = "ringpost_";
/// What the boot loader looks for.
const SUFFIX: &str = ".efi";

impl Slot {
    /// From a file name; `None` for files that are not ours.
    pub fn parse(file: &str) -> Option<Slot> {
        let name = file.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
        let (version, standing) = match name.rsplit_once('+') {
            None => (name, Standing::Good),
            Some((version, counter)) => {
                let (left, done) = counter.split_once('-').unwrap_or((counter, "0"));
                let standing = match (number(left)?, number(done)?) {
                    (0, tried) => Standing::GivenUp { tried },
                    (left, _) => Standing::OnTrial { left },
                };
                (version, standing)
            }
        };
        Some(Slot {
            version: plain_version(version)?,
            standing,
            file: file.to_owned(),
        })
    }

    pub fn is_given_up(&self) -> bool {
        matches!(self.standing, Standing::GivenUp { .. })
    }

    /// The name of `version` with `tries` left, or without a counter.
    pub fn file_name(version: &Version, tries: Option<u32>) -> String {
        match tries {
            Some(tries) => format!("{PREFIX}{version}+{tries}{SUFFIX}"),
            None => format!("{PREFIX}{version}{SUFFIX}"),
        }
    }
}

/// A counter as the boot loader writes it; longer ones are of others.
fn number(digits: &str) -> Option<u32> {
    (digits.len() <= 4 && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

/// MAJOR.MINOR.PATCH and nothing else: the boot loader, the file name and we then agree on the order.
pub fn plain_version(text: &str) -> Option<Version> {
    Version::parse(text)
        .ok()
        .filter(|version| version.pre.is_empty() && version.build.is_empty())
}

impl Esp {
    /// `root` is where the partition is mounted; it must hold `EFI/Linux`.
    pub fn at(root: &Path) -> io::Result<Esp> {
        let esp = Esp {
            root: root.to_owned(),
        };
        fs::read_dir(esp.images())?;
        Ok(esp)
    }

    /// Where the boot loader looks for unified kernel images.
    pub fn images(&self) -> PathBuf {
        self.root.join("EFI/Linux")
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the next boot starts, as the boot loader sorts: the newest version that was not given up, else the newest.
    pub fn next(slots: &[Slot]) -> Option<&Slot> {
        slots
            .iter()
            .max_by_key(|slot| (!slot.is_given_up(), &slot.version))
    }

    /// Our versions, newest first. Foreign files are left alone; more than `FILES_MAX` files are an error.
    pub fn slots(&self) -> io::Result<Vec<Slot>> {
        let mut slots = Vec::new();
        for (index, entry) in fs::read_dir(self.images())?.enumerate() {
            if index == FILES_MAX {
                return Err(io::Error::other(format!(
                    "{} holds more than {FILES_MAX} files",
                    self.images().display()
                )));
            }
            slots.extend(entry?.file_name().to_str().and_then(Slot::parse));
        }
        slots.sort_by(|a, b| b.version.cmp(&a.version).then(a.file.cmp(&b.file)));
        Ok(slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_loaders_counter_tells_the_standing() {
        let standing = |file: &str| Slot::parse(file).map(|slot| slot.standing);
        assert_eq!(standing("ringpost_1.2.0.efi"), Some(Standing::Good));
        assert_eq!(
            standing("ringpost_1.2.0+3.efi"),
            Some(Standing::OnTrial { left: 3 })
        );
        assert_eq!(
            standing("ringpost_1.2.0+2-1.efi"),
            Some(Standing::OnTrial { left: 2 })
        );
        assert_eq!(
            standing("ringpost_1.2.0+0-3.efi"),
            Some(Standing::GivenUp { tried: 3 })
        );
    }

    #[test]
    fn names_that_are_not_ours_are_no_slots() {
        for file in [
            "debian.efi",
            "ringpost_.efi",
            "ringpost_1.2.efi",
            "ringpost_1.2.0-rc1.efi",
            "ringpost_1.2.0+.efi",
            "ringpost_1.2.0+x.efi",
            "ringpost_1.2.0+3-.efi",
            "ringpost_1.2.0+99999999999.efi",
            "ringpost_1.2.0.efi.new",
        ] {
            assert_eq!(Slot::parse(file), None, "{file}");
        }
    }

    #[test]
    fn the_next_boot_starts_the_newest_that_was_not_given_up() {
        let next = |files: &[&str]| {
            let slots: Vec<Slot> = files.iter().filter_map(|file| Slot::parse(file)).collect();
            Esp::next(&slots).map(|slot| slot.version.to_string())
        };
        let (old, new) = ("ringpost_1.9.0.efi", "ringpost_1.10.0+3.efi");
        assert_eq!(next(&[old, new]).as_deref(), Some("1.10.0"));
        assert_eq!(
            next(&[old, "ringpost_1.10.0+0-3.efi"]).as_deref(),
            Some("1.9.0")
        );
        assert_eq!(
            next(&["ringpost_1.10.0+0-3.efi"]).as_deref(),
            Some("1.10.0")
        );
        assert_eq!(next(&[]), None);
    }

    #[test]
    fn a_name_reads_back_as_it_was_written() {
        let version = Version::new(10, 0, 3);
        for tries in [None, Some(3)] {
            let slot = Slot::parse(&Slot::file_name(&version, tries)).expect("ours");
            assert_eq!(slot.version, version);
        }
    }
}
