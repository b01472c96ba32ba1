//! A new version onto every ESP: copied and checked, read back and checked, and only then given its name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use semver::Version;
use serde::Serialize;
use thiserror::Error;

use crate::failures;
use crate::fetch::Source;
use crate::limits::*;
use crate::signature::{Claim, Keys, Signed};
use crate::slots::{Esp, Slot, Standing};

/// What images of ours call themselves.
pub const PRODUCT: &str = "ringpost";

/// What an update did.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// The version that the next boot tries.
    pub version: String,
    /// Versions that were taken away: two are kept.
    pub removed: Vec<String>,
    /// How often the new version is tried.
    pub tries: u32,
}

/// Why an update was refused. The slots are as they were.
#[derive(Debug, Error)]
pub enum Refused {
    /// The source could not be read to its end.
    #[error("{0}")]
    Source(String),
    /// The signature is not one, or is of another format.
    #[error("the signature cannot be used: {0}; nothing was changed")]
    Signature(String),
    /// No key of ours made it.
    #[error(
        "no update key of this appliance verifies the signature of the image: it is damaged or has another origin; nothing was changed"
    )]
    NotSigned,
    /// An image of another product, or for another architecture.
    #[error("this is {0}, not ringpost for {arch}: use the right file", arch = std::env::consts::ARCH)]
    WrongProduct(String),
    /// A version that is not newer is refused: going back is `rollback`.
    #[error(
        "version {new} is not newer than the running version {running}: to go back, use `update rollback`"
    )]
    NotNewer { new: Version, running: Version },
    /// More than a slot holds.
    #[error("the image is larger than {} MiB", IMAGE_BYTES_MAX >> 20)]
    TooLarge,
    /// The disk does not give back what was written to it.
    #[error("{path}: reading back what was written failed: replace that disk; nothing was changed")]
    ReadBack { path: PathBuf },
    #[error("{path}: {error}")]
    Disk { path: PathBuf, error: io::Error },
    /// The record of the system disks cannot be written.
    #[error("{0}: cannot record which system disk is ahead")]
    Record(String),
    /// No other version is installed.
    #[error("there is no other version to go back to")]
    NothingToGoBackTo,
}

fn disk(path: &Path) -> impl FnOnce(io::Error) -> Refused + '_ {
    |error| Refused::Disk {
        path: path.to_owned(),
        error,
    }
}

/// Puts the version that `source` holds beside the running one on every ESP. `progress` hears bytes and, when known, of how many.
///
/// The image is proved while it is copied and once more as read back. Versions other than it and the running one are removed at
/// the end: an ESP has room for three images (image/README.md), and a refused update takes no way back away. The new version
/// is booted at most `tries` times (1 to `TRIES_MAX`) before it is given up.
pub fn apply(
    esps: &[Esp],
    keys: &Keys,
    running: &Version,
    mut source: Source,
    tries: u32,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<Applied, Refused> {
    let signed = Signed::parse(&source.signature).map_err(Refused::Signature)?;
    let claim = signed.claim();
    fits(claim, running)?;
    let incoming: Vec<Incoming> = esps
        .iter()
        .map(Incoming::create)
        .collect::<Result<_, _>>()?;
    copy(&mut source, &incoming, keys, &signed, progress)?;
    for one in &incoming {
        one.read_back(keys, &signed)?;
    }
    let mut removed = Vec::new();
    for one in incoming {
        // The other system disks have not got this yet, and must not be believed if one of them starts the box.
        system::record::raise(one.esp.root()).map_err(Refused::Record)?;
        let esp = one.name(&claim.version, tries)?;
        clear(&esp, running, &claim.version, &mut removed)?;
    }
    Ok(Applied {
        version: claim.version.to_string(),
        removed,
        tries,
    })
}

/// Whether an image with this claim may be installed here.
fn fits(claim: &Claim, running: &Version) -> Result<(), Refused> {
    if claim.product != PRODUCT || claim.arch != std::env::consts::ARCH {
        return Err(Refused::WrongProduct(format!(
            "{} for {}",
            claim.product, claim.arch
        )));
    }
    if claim.version <= *running {
        return Err(Refused::NotNewer {
            new: claim.version.clone(),
            running: running.clone(),
        });
    }
    Ok(())
}

/// Keeps the running version and the new one. Where the running one is not known to be good (on trial, or started from
/// elsewhere), everything stays: one of the others may be what a failed start falls back to.
fn clear(
    esp: &Esp,
    running: &Version,
    new: &Version,
    removed: &mut Vec<String>,
) -> Result<(), Refused> {
    let slots = esp.slots().map_err(disk(&esp.images()))?;
    if !slots
        .iter()
        .any(|slot| slot.version == *running && slot.standing == Standing::Good)
    {
        return Ok(());
    }
    for slot in slots
        .iter()
        .filter(|slot| slot.version != *running && slot.version != *new)
    {
        let path = esp.images().join(&slot.file);
        fs::remove_file(&path).map_err(disk(&path))?;
        failures::forget(esp, &slot.version);
        let version = slot.version.to_string();
        if !removed.contains(&version) {
            removed.push(version);
        }
    }
    Ok(())
}

/// Names are on the disk, not only in the cache.
fn settle(directory: &Path) -> Result<(), Refused> {
    files::sync_folder(directory).map_err(disk(directory))
}

/// A copy under a name that no boot loader starts; removed unless it was named.
struct Incoming {
    /// The disk that it is on.
    esp: Esp,
    /// Its name until it is complete.
    path: PathBuf,
    /// Open for writing and reading back.
    file: File,
    /// It has its name: it stays.
    named: bool,
}

impl Incoming {
    /// An empty copy. What an earlier attempt left is overwritten.
    fn create(esp: &Esp) -> Result<Incoming, Refused> {
        let path = esp.images().join("ringpost.incoming");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(disk(&path))?;
        Ok(Incoming {
            esp: esp.clone(),
            path,
            file,
            named: false,
        })
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Refused> {
        (&self.file).write_all(bytes).map_err(|error| {
            let error = match error.kind() {
                ErrorKind::StorageFull => io::Error::new(
                    ErrorKind::StorageFull,
                    "the EFI system partition is full: remove files from it that do not belong to Ringpost",
                ),
                _ => error,
            };
            Refused::Disk {
                path: self.path.clone(),
                error,
            }
        })
    }

    /// Durable, and equal to what was signed as the disk gives it back.
    fn read_back(&self, keys: &Keys, signed: &Signed) -> Result<(), Refused> {
        self.file.sync_all().map_err(disk(&self.path))?;
        // Out of the page cache, so that the disk is asked; where the file system cannot, the copy in memory is compared.
        let _ = nix::fcntl::posix_fadvise(
            &self.file,
            0,
            0,
            nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED,
        );
        let mut file = File::open(&self.path).map_err(disk(&self.path))?;
        let mut check = keys.check(signed);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            // until the end of the file
            let count = file.read(&mut chunk).map_err(disk(&self.path))?;
            if count == 0 {
                break;
            }
            check.update(&chunk[..count]);
        }
        if check.done() {
            Ok(())
        } else {
            Err(Refused::ReadBack {
                path: self.path.clone(),
            })
        }
    }

    /// Gives the copy its name with a counter, durably. From then on the boot loader tries it.
    fn name(mut self, version: &Version, tries: u32) -> Result<Esp, Refused> {
        let images = self.esp.images();
        // An earlier copy of this version, tried or given up, would stand beside the new one under another counter.
        for slot in self.esp.slots().map_err(disk(&images))? {
            if slot.version == *version {
                let old = images.join(&slot.file);
                fs::remove_file(&old).map_err(disk(&old))?;
            }
        }
        // What an earlier file of this version did is not held against this one.
        failures::forget(&self.esp, version);
        let path = images.join(Slot::file_name(version, Some(tries)));
        fs::rename(&self.path, &path).map_err(disk(&path))?;
        self.named = true;
        settle(&images)?;
        Ok(self.esp.clone())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.named {
            let _ = fs::remove_file(&self.path); // the next update begins the file anew anyway
        }
    }
}

/// Copies the image to every disk at once and proves the signature over what was read.
fn copy(
    source: &mut Source,
    incoming: &[Incoming],
    keys: &Keys,
    signed: &Signed,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(), Refused> {
    let mut check = keys.check(signed);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut done = 0_u64;
    loop {
        // until the end of the image, or IMAGE_BYTES_MAX
        let count = match source.image.read(&mut chunk) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(Refused::Source(format!(
                    "the image ended after {done} bytes: {error}"
                )));
            }
        };
        if count == 0 {
            break;
        }
        done += count as u64;
        if done > IMAGE_BYTES_MAX {
            return Err(Refused::TooLarge);
        }
        check.update(&chunk[..count]);
        for one in incoming {
            one.write(&chunk[..count])?;
        }
        progress(done, source.length);
    }
    if check.done() {
        Ok(())
    } else {
        Err(Refused::NotSigned)
    }
}

/// Takes the next boot back: where a version newer than the running one would be started (an update that was not booted yet, or
/// an older version chosen in the boot menu), every newer one is given up; else the running one, for the newest other one that
/// is good. Refused, with nothing changed, where an ESP has none.
pub fn rollback(esps: &[Esp], running: &Version) -> Result<Version, Refused> {
    let mut target: Option<Version> = None;
    let mut orders = Vec::new();
    for esp in esps {
        let slots = esp.slots().map_err(disk(&esp.images()))?;
        let newer: Vec<Slot> = slots
            .iter()
            .filter(|slot| slot.version > *running && !slot.is_given_up())
            .cloned()
            .collect();
        let good = |slot: &&Slot| slot.standing == Standing::Good;
        let (stays, given_up) = if newer.is_empty() {
            let other = slots
                .iter()
                .filter(good)
                .find(|slot| slot.version != *running);
            let own = slots.iter().filter(|slot| slot.version == *running);
            (other, own.cloned().collect())
        } else {
            (
                slots
                    .iter()
                    .filter(good)
                    .find(|slot| slot.version == *running),
                newer,
            )
        };
        let stays = stays.ok_or(Refused::NothingToGoBackTo)?;
        target = Some(stays.version.clone());
        orders.push((esp, given_up));
    }
    for (esp, slots) in orders {
        system::record::raise(esp.root()).map_err(Refused::Record)?;
        let images = esp.images();
        for slot in slots {
            let given_up = images.join(Slot::file_name(&slot.version, Some(0)));
            fs::rename(images.join(&slot.file), &given_up).map_err(disk(&given_up))?;
        }
        settle(&images)?;
    }
    target.ok_or(Refused::NothingToGoBackTo)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::comment;
    use minisign::KeyPair;

    struct Appliance {
        directory: tempfile::TempDir,
        pair: KeyPair,
        keys: Keys,
    }

    fn version(text: &str) -> Version {
        Version::parse(text).expect("a version")
    }

    impl Appliance {
        fn new(esps: usize, slots: &[&str]) -> Appliance {
            let directory = tempfile::tempdir().expect("a directory");
            for esp in 0..esps {
                let images = directory.path().join(esp.to_string()).join("EFI/Linux");
                fs::create_dir_all(&images).expect("made");
                for slot in slots {
                    fs::write(images.join(slot), slot).expect("written");
                }
            }
            let pair = KeyPair::generate_unencrypted_keypair().expect("a key");
            let keys = Keys::parse(&pair.pk.to_base64()).expect("a key");
            Appliance {
                directory,
                pair,
                keys,
            }
        }

        fn esps(&self) -> Vec<Esp> {
            let count = fs::read_dir(self.directory.path()).expect("listed").count();
            (0..count)
                .map(|esp| Esp::at(&self.directory.path().join(esp.to_string())).expect("an ESP"))
                .collect()
        }

        fn names(&self, esp: usize) -> Vec<String> {
            let images = self.esps()[esp].images();
            let mut names: Vec<String> = fs::read_dir(images)
                .expect("listed")
                .map(|entry| {
                    entry
                        .expect("an entry")
                        .file_name()
                        .into_string()
                        .expect("text")
                })
                .collect();
            names.sort();
            names
        }

        /// An image as the signer sends it, with `bytes` arriving in its place.
        fn source(&self, pair: &KeyPair, words: &str, signed: &[u8], bytes: &[u8]) -> Source {
            let signature =
                minisign::sign(None, &pair.sk, signed, Some(words), None).expect("signed");
            Source {
                signature: signature.into_string(),
                image: Box::new(io::Cursor::new(bytes.to_vec())),
                length: None,
            }
        }

        fn apply(&self, source: Source) -> Result<Applied, Refused> {
            apply(
                &self.esps(),
                &self.keys,
                &version("1.0.0"),
                source,
                TRIES,
                &mut |_, _| {},
            )
        }
    }

    fn words(text: &str) -> String {
        comment(&Claim {
            product: PRODUCT.into(),
            arch: std::env::consts::ARCH.into(),
            version: version(text),
        })
    }

    const RUNNING: &str = "ringpost_1.0.0.efi";

    #[test]
    fn a_signed_newer_image_is_put_on_every_esp_to_be_tried() {
        let appliance = Appliance::new(2, &["ringpost_0.9.0.efi", RUNNING, "other.efi"]);
        let source = appliance.source(&appliance.pair, &words("1.1.0"), b"image", b"image");
        let applied = appliance.apply(source).expect("applied");
        assert_eq!(applied.removed, ["0.9.0"]);
        for esp in 0..2 {
            assert_eq!(
                appliance.names(esp),
                ["other.efi", RUNNING, "ringpost_1.1.0+3.efi"]
            );
        }
    }

    #[test]
    fn what_is_not_exactly_what_our_key_signed_changes_nothing() {
        let before = ["ringpost_0.9.0.efi", RUNNING];
        let appliance = Appliance::new(1, &before);
        let stranger = KeyPair::generate_unencrypted_keypair().expect("a key");
        for source in [
            appliance.source(&appliance.pair, &words("1.1.0"), b"image", b"imagE"),
            appliance.source(&appliance.pair, &words("1.1.0"), b"image", b"imag"),
            appliance.source(&appliance.pair, &words("1.1.0"), b"image", b""),
            appliance.source(&stranger, &words("1.1.0"), b"image", b"image"),
        ] {
            let refused = appliance.apply(source).expect_err("refused");
            assert!(matches!(refused, Refused::NotSigned), "{refused}");
            assert_eq!(appliance.names(0), before);
        }
    }

    #[test]
    fn a_claim_that_was_edited_after_signing_is_refused() {
        let appliance = Appliance::new(1, &[RUNNING]);
        let mut source = appliance.source(&appliance.pair, &words("1.1.0"), b"image", b"image");
        source.signature = source.signature.replace("version=1.1.0", "version=1.2.0");
        assert!(matches!(appliance.apply(source), Err(Refused::NotSigned)));
        assert_eq!(appliance.names(0), [RUNNING]);
    }

    #[test]
    fn an_image_that_is_older_or_for_another_machine_is_refused_by_its_signed_claim() {
        let appliance = Appliance::new(1, &[RUNNING]);
        for old in ["0.9.0", "1.0.0"] {
            let source = appliance.source(&appliance.pair, &words(old), b"image", b"image");
            assert!(matches!(
                appliance.apply(source),
                Err(Refused::NotNewer { .. })
            ));
        }
        let foreign = words("1.1.0").replace(std::env::consts::ARCH, "riscv64");
        let source = appliance.source(&appliance.pair, &foreign, b"image", b"image");
        assert!(matches!(
            appliance.apply(source),
            Err(Refused::WrongProduct(_))
        ));
        assert_eq!(appliance.names(0), [RUNNING]);
    }

    #[test]
    fn a_version_that_was_given_up_may_be_tried_again() {
        let appliance = Appliance::new(1, &[RUNNING, "ringpost_1.1.0+0-3.efi"]);
        let source = appliance.source(&appliance.pair, &words("1.1.0"), b"better", b"better");
        appliance.apply(source).expect("applied");
        assert_eq!(appliance.names(0), [RUNNING, "ringpost_1.1.0+3.efi"]);
    }

    #[test]
    fn an_update_during_a_trial_keeps_the_version_to_fall_back_to() {
        let appliance = Appliance::new(1, &["ringpost_0.9.0.efi", "ringpost_1.0.0+2-1.efi"]);
        let source = appliance.source(&appliance.pair, &words("1.1.0"), b"image", b"image");
        appliance.apply(source).expect("applied");
        assert!(
            appliance
                .names(0)
                .contains(&"ringpost_0.9.0.efi".to_string())
        );
    }

    #[test]
    fn a_copy_that_breaks_off_leaves_the_slots_as_they_were() {
        struct Broken(usize);
        impl Read for Broken {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                if self.0 > 2 {
                    return Err(io::Error::other("the server went away"));
                }
                buffer.fill(7);
                Ok(buffer.len())
            }
        }
        let appliance = Appliance::new(1, &[RUNNING]);
        let mut source = appliance.source(&appliance.pair, &words("1.1.0"), b"image", b"");
        source.image = Box::new(Broken(0));
        assert!(matches!(appliance.apply(source), Err(Refused::Source(_))));
        assert_eq!(appliance.names(0), [RUNNING]);
    }

    #[test]
    fn going_back_gives_the_running_version_up_on_every_esp_or_not_at_all() {
        let appliance = Appliance::new(2, &["ringpost_0.9.0.efi", RUNNING]);
        let target = rollback(&appliance.esps(), &version("1.0.0")).expect("gone back");
        assert_eq!(target, version("0.9.0"));
        for esp in 0..2 {
            assert_eq!(
                appliance.names(esp),
                ["ringpost_0.9.0.efi", "ringpost_1.0.0+0.efi"]
            );
        }
        let waiting = Appliance::new(1, &["ringpost_0.9.0.efi", RUNNING, "ringpost_1.1.0+3.efi"]);
        let target = rollback(&waiting.esps(), &version("1.0.0")).expect("taken back");
        assert_eq!(
            target,
            version("1.0.0"),
            "the newer one is given up, not what runs"
        );
        assert_eq!(
            waiting.names(0),
            ["ringpost_0.9.0.efi", RUNNING, "ringpost_1.1.0+0.efi"]
        );
        let alone = Appliance::new(1, &[RUNNING, "ringpost_1.1.0+0-3.efi"]);
        assert!(matches!(
            rollback(&alone.esps(), &version("1.0.0")),
            Err(Refused::NothingToGoBackTo)
        ));
        assert_eq!(alone.names(0), [RUNNING, "ringpost_1.1.0+0-3.efi"]);
    }
}
