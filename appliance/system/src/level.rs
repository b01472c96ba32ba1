//! One ESP made equal to another: boot loader, slots with their counters, settings, notes.
//!
//! `plan` compares and changes nothing; `carry_out` does it in an order in which a power cut leaves every file either old or
//! new: a copy goes under a name that nothing starts, is read back and compared, and then renamed. Files of the same length
//! and time count as equal, for each was compared when it was written; whether they
//! still are is what `differing` reads.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use files::{Mode, Replacement};

use crate::limits::{CHUNK_BYTES, ESP_DEPTH_MAX, ESP_FILES_MAX};

/// Of one disk alone: the boot loader's random seed, the membership (`record.rs`), orders that are carried out once.
const OWN: [&str; 4] = [
    "loader/random-seed",
    crate::record::FILE,
    "ringpost/install",
    "ringpost/factory-reset",
];
/// What is on the other disk only and begins like this is taken away there; other files of others stay.
const OURS: [&str; 3] = ["efi/linux/ringpost_", "loader/addons/", "ringpost/"];
/// What the names of our versions begin with.
const SLOTS: &str = "efi/linux/ringpost_";
/// The name of a copy that is not complete.
const INCOMING: &str = "ringpost.incoming";

/// One change to the target; paths are below its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A counter changed.
    Rename {
        /// The name on the target now.
        from: PathBuf,
        /// The name on the source.
        to: PathBuf,
    },
    /// The file is missing there, or has other bytes.
    Copy(PathBuf),
    /// Equal by content, not by time: so that it is not compared again.
    Date(PathBuf, SystemTime),
    /// The file is not on the source.
    Remove(PathBuf),
}

/// One file of an ESP.
#[derive(Debug, Clone)]
struct Entry {
    /// Below the root, in the case that it has.
    path: PathBuf,
    bytes: u64,
    /// When it was written, as exactly as FAT keeps it.
    modified: SystemTime,
}

/// FAT knows no case; the key does not either.
type Tree = BTreeMap<String, Entry>;

/// What makes `target` equal to `source`.
pub fn plan(source: &Path, target: &Path) -> Result<Vec<Step>, String> {
    let wanted = tree(source)?;
    let found = tree(target)?;
    if !wanted.keys().any(|key| key.starts_with(SLOTS)) {
        // Not mounted, or damaged: whoever takes nothing for the truth empties the other disk too.
        return Err("the source disk contains no version".into());
    }
    let (mut renames, mut copies, mut removes) = (Vec::new(), Vec::new(), Vec::new());
    let mut spoken_for = Vec::new();
    for (key, entry) in &wanted {
        if let Some(there) = found.get(key) {
            if there.bytes != entry.bytes {
                copies.push(Step::Copy(entry.path.clone()));
            } else if seconds(there.modified) != seconds(entry.modified) {
                copies.push(match equal(source, entry, target, there)? {
                    true => Step::Date(there.path.clone(), entry.modified),
                    false => Step::Copy(entry.path.clone()),
                });
            }
            continue;
        }
        let other_count = found.iter().find(|(other, there)| {
            uncounted(other) == uncounted(key)
                && key.starts_with(SLOTS)
                && !wanted.contains_key(*other)
                && !spoken_for.contains(*other)
                && there.bytes == entry.bytes
        });
        match other_count {
            Some((other, there))
                if seconds(there.modified) == seconds(entry.modified)
                    || equal(source, entry, target, there)? =>
            {
                spoken_for.push(other.clone());
                renames.push(Step::Rename {
                    from: there.path.clone(),
                    to: entry.path.clone(),
                });
                if seconds(there.modified) != seconds(entry.modified) {
                    renames.push(Step::Date(entry.path.clone(), entry.modified));
                }
            }
            _ => copies.push(Step::Copy(entry.path.clone())),
        }
    }
    for (key, entry) in &found {
        let ours = OURS.iter().any(|start| key.starts_with(start));
        if ours && !wanted.contains_key(key) && !spoken_for.contains(key) {
            removes.push(Step::Remove(entry.path.clone()));
        }
    }
    // What is new first: until it is whole, what was there can be started.
    Ok([renames, copies, removes].concat())
}

/// Files that have the same length and time on both and yet other bytes: one of the disks does not give back what was written.
pub fn differing(source: &Path, target: &Path) -> Result<Vec<PathBuf>, String> {
    let found = tree(target)?;
    let mut differing = Vec::new();
    for (key, entry) in tree(source)? {
        let there = found.get(&key).filter(|there| {
            there.bytes == entry.bytes && seconds(there.modified) == seconds(entry.modified)
        });
        if let Some(there) = there
            && !equal(source, &entry, target, there)?
        {
            differing.push(entry.path);
        }
    }
    Ok(differing)
}

/// Does it. On an error the target is between two states and can be started.
pub fn carry_out(source: &Path, target: &Path, steps: &[Step]) -> Result<(), String> {
    let mut made_room = false;
    for step in steps {
        match step {
            Step::Rename { from, to } => {
                files::rename(&target.join(from), &target.join(to)).map_err(told(target, to))?;
            }
            Step::Date(path, modified) => date(&target.join(path), *modified)
                .map_err(|error| format!("{}: {error}", path.display()))?,
            Step::Copy(path) => match copy(source, target, path) {
                // Slots that go anyway give their room; the one that comes takes their place.
                Err((_, true)) if !made_room => {
                    made_room = true;
                    take_away(target, steps)?;
                    copy(source, target, path).map_err(|(why, _)| why)?;
                }
                copied => copied.map_err(|(why, _)| why)?,
            },
            Step::Remove(_) => {}
        }
    }
    take_away(target, steps)
}

/// Removes files first: their room may be needed. One that is gone already is not a fault.
fn take_away(target: &Path, steps: &[Step]) -> Result<(), String> {
    for step in steps {
        let Step::Remove(path) = step else { continue };
        match fs::remove_file(target.join(path)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(told(target, path)(error));
            }
            _ => settle(target, path)?,
        }
    }
    Ok(())
}

/// `Err` also says whether it was for want of room.
fn copy(source: &Path, target: &Path, path: &Path) -> Result<(), (String, bool)> {
    let to = target.join(path);
    let folder = to.parent().unwrap_or(target).to_owned();
    let incoming = folder.join(INCOMING);
    let copied = (|| {
        fs::create_dir_all(&folder)?;
        let from = File::open(source.join(path))?;
        let mut fresh = Replacement::begin_as(&to, &incoming, Mode::Umask)?;
        let file = fresh.file();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            // until the end of the file
            let count = (&from).read(&mut chunk)?;
            if count == 0 {
                break;
            }
            file.write_all(&chunk[..count])?;
        }
        file.set_modified(from.metadata()?.modified()?)?;
        file.sync_all()?;
        // Out of the page cache, so that the disk is asked.
        let _ = nix::fcntl::posix_fadvise(
            &*file,
            0,
            0,
            nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED,
        );
        if !same_bytes(&source.join(path), &incoming)? {
            return Err(std::io::Error::other(
                "reading back what was written failed",
            ));
        }
        fresh.put()
    })();
    if let Err(error) = copied {
        let full = error.kind() == ErrorKind::StorageFull;
        let why = match full {
            true => "it does not have enough space".to_owned(),
            false => error.to_string(),
        };
        return Err((format!("{}: {why}", path.display()), full));
    }
    Ok(())
}

/// Sets the time of a file, durably.
fn date(path: &Path, modified: SystemTime) -> std::io::Result<()> {
    let file = File::options().write(true).open(path)?;
    file.set_modified(modified)?;
    file.sync_all()
}

/// Whether two files have the same bytes.
fn equal(source: &Path, one: &Entry, target: &Path, other: &Entry) -> Result<bool, String> {
    same_bytes(&source.join(&one.path), &target.join(&other.path))
        .map_err(|error| format!("{}: {error}", one.path.display()))
}

/// Reads both to the end, a chunk at a time.
fn same_bytes(one: &Path, other: &Path) -> std::io::Result<bool> {
    let (one, other) = (File::open(one)?, File::open(other)?);
    let (mut left, mut right) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    loop {
        // until both end, or differ
        let (had, has) = (fill(&one, &mut left)?, fill(&other, &mut right)?);
        if left[..had] != right[..has] {
            return Ok(false);
        }
        if had == 0 {
            return Ok(true);
        }
    }
}

/// As much as there is, up to the whole chunk.
fn fill(mut file: &File, chunk: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < chunk.len() {
        match file.read(&mut chunk[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// Every file below `root` that is not one disk's own.
fn tree(root: &Path) -> Result<Tree, String> {
    let mut tree = Tree::new();
    walk(root, Path::new(""), 0, &mut tree)?;
    Ok(tree)
}

/// Adds what is below `below`. Depth and number of files are bounded: the other disk may hold anything.
fn walk(root: &Path, below: &Path, depth: usize, tree: &mut Tree) -> Result<(), String> {
    let entries = fs::read_dir(root.join(below)).map_err(told(root, below))?;
    for entry in entries {
        let entry = entry.map_err(told(root, below))?;
        let path = below.join(entry.file_name());
        let meta = entry.metadata().map_err(told(root, &path))?;
        let key = path.to_string_lossy().to_ascii_lowercase();
        if meta.is_dir() {
            if depth == ESP_DEPTH_MAX {
                return Err(format!(
                    "{key}: directories are nested more than {ESP_DEPTH_MAX} levels deep"
                ));
            }
            walk(root, &path, depth + 1, tree)?;
            continue;
        }
        if OWN.contains(&key.as_str()) || key.ends_with(INCOMING) || key.ends_with(".new") {
            continue;
        }
        if tree.len() == ESP_FILES_MAX {
            return Err(format!("it holds more than {ESP_FILES_MAX} files"));
        }
        let modified = meta.modified().map_err(told(root, &path))?;
        let bytes = meta.len();
        tree.insert(
            key,
            Entry {
                path,
                bytes,
                modified,
            },
        );
    }
    Ok(())
}

/// `efi/linux/ringpost_1.2.0+2-1.efi` → `efi/linux/ringpost_1.2.0`.
fn uncounted(key: &str) -> &str {
    let name = key.strip_suffix(".efi").unwrap_or(key);
    name.split_once('+').map_or(name, |(name, _)| name)
}

/// FAT keeps every other second.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() / 2)
}

/// Makes a change of names durable.
fn settle(target: &Path, path: &Path) -> Result<(), String> {
    let whole = target.join(path);
    let folder = whole.parent().unwrap_or(target);
    files::sync_folder(folder).map_err(told(target, path))
}

fn told<'a>(root: &'a Path, path: &'a Path) -> impl Fn(std::io::Error) -> String + 'a {
    move |error| format!("{}: {error}", root.join(path).display())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Pair(tempfile::TempDir);

    impl Pair {
        fn new(first: &[(&str, &str)], second: &[(&str, &str)]) -> Pair {
            let folder = tempfile::tempdir().expect("a folder");
            let pair = Pair(folder);
            for (root, files) in [(pair.first(), first), (pair.second(), second)] {
                fs::create_dir_all(&root).expect("made");
                for (path, text) in files {
                    put(&root, path, text, 1_000);
                }
            }
            pair
        }

        fn first(&self) -> PathBuf {
            self.0.path().join("1")
        }

        fn second(&self) -> PathBuf {
            self.0.path().join("2")
        }

        fn plan(&self) -> Vec<Step> {
            plan(&self.first(), &self.second()).expect("compared")
        }

        fn level(&self) {
            let steps = self.plan();
            carry_out(&self.first(), &self.second(), &steps).expect("done");
            assert_eq!(self.plan(), [], "level means that nothing is left to do");
        }

        fn files(&self) -> Vec<String> {
            tree(&self.second()).expect("read").into_keys().collect()
        }
    }

    fn put(root: &Path, path: &str, text: &str, at_s: u64) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, text).expect("written");
        date(&path, SystemTime::UNIX_EPOCH + Duration::from_secs(at_s)).expect("dated");
    }

    #[test]
    fn a_new_version_is_copied_and_an_old_one_goes() {
        let pair = Pair::new(
            &[
                ("EFI/Linux/ringpost_1.0.0.efi", "one"),
                ("EFI/Linux/ringpost_1.1.0+3.efi", "two"),
                ("EFI/BOOT/BOOTX64.EFI", "loader"),
                ("loader/random-seed", "first's own"),
                ("ringpost/ringpost.toml", "settings"),
                ("ringpost/system.json", "{}"),
            ],
            &[
                ("EFI/Linux/ringpost_0.9.0.efi", "none"),
                ("EFI/Linux/ringpost_1.0.0.efi", "one"),
                ("EFI/Linux/debian.efi", "not ours"),
                ("EFI/BOOT/BOOTX64.EFI", "older"),
                ("loader/random-seed", "second's own"),
                ("ringpost/failed_0.9.0.json", "{}"),
            ],
        );
        pair.level();
        assert_eq!(
            pair.files(),
            [
                "efi/boot/bootx64.efi",
                "efi/linux/debian.efi",
                "efi/linux/ringpost_1.0.0.efi",
                "efi/linux/ringpost_1.1.0+3.efi",
                "ringpost/ringpost.toml"
            ]
        );
        let read = |path: &str| fs::read_to_string(pair.second().join(path)).expect("there");
        assert_eq!(read("EFI/BOOT/BOOTX64.EFI"), "loader");
        assert_eq!(read("loader/random-seed"), "second's own");
        assert!(!pair.second().join("ringpost/system.json").exists());
    }

    #[test]
    fn a_blessing_a_lost_try_and_a_roll_back_are_renames() {
        for (first, second) in [
            ("ringpost_1.1.0.efi", "ringpost_1.1.0+2-1.efi"),
            ("ringpost_1.1.0+1-2.efi", "ringpost_1.1.0+3.efi"),
            ("ringpost_1.1.0+0-3.efi", "ringpost_1.1.0.efi"),
        ] {
            let at = |name: &str| format!("EFI/Linux/{name}");
            let pair = Pair::new(&[(&at(first), "two")], &[(&at(second), "two")]);
            assert_eq!(
                pair.plan(),
                [Step::Rename {
                    from: at(second).into(),
                    to: at(first).into()
                }]
            );
            pair.level();
        }
    }

    #[test]
    fn another_file_of_the_same_version_is_copied_not_renamed() {
        let pair = Pair::new(&[], &[("EFI/Linux/ringpost_1.1.0+0-3.efi", "bad!")]);
        put(
            &pair.first(),
            "EFI/Linux/ringpost_1.1.0+3.efi",
            "good",
            5_000,
        );
        assert!(matches!(pair.plan()[0], Step::Copy(_)));
        pair.level();
        assert_eq!(pair.files(), ["efi/linux/ringpost_1.1.0+3.efi"]);
    }

    #[test]
    fn equal_bytes_of_another_day_are_not_copied() {
        let slot = ("EFI/Linux/ringpost_1.0.0.efi", "one");
        let pair = Pair::new(&[("EFI/BOOT/BOOTX64.EFI", "loader"), slot], &[slot]);
        put(&pair.second(), "efi/boot/bootx64.efi", "loader", 5_000);
        // As FAT: the other spelling is the same file. Here it is another one, so only the step is looked at.
        assert!(matches!(pair.plan()[..], [Step::Date(..)]));
    }

    #[test]
    fn what_a_cut_short_copy_left_is_in_nobodys_way() {
        let pair = Pair::new(
            &[("EFI/Linux/ringpost_1.1.0.efi", "two")],
            &[("EFI/Linux/ringpost.incoming", "tw")],
        );
        pair.level();
        assert_eq!(pair.files(), ["efi/linux/ringpost_1.1.0.efi"]);
        assert!(!pair.second().join("EFI/Linux/ringpost.incoming").exists());
    }

    #[test]
    fn a_source_that_cannot_be_read_changes_nothing() {
        let pair = Pair::new(&[], &[("EFI/Linux/ringpost_1.1.0.efi", "two")]);
        assert!(plan(Path::new("/nowhere"), &pair.second()).is_err());
        // Nothing is mounted there.
        assert!(plan(&pair.first(), &pair.second()).is_err());
    }

    #[test]
    fn bytes_that_changed_by_themselves_are_found() {
        let slot = ("EFI/Linux/ringpost_1.0.0.efi", "one");
        let pair = Pair::new(&[slot], &[("EFI/Linux/ringpost_1.0.0.efi", "onf")]);
        assert_eq!(pair.plan(), [], "by length and time they are equal");
        let found = differing(&pair.first(), &pair.second()).expect("compared");
        assert_eq!(found, [PathBuf::from(slot.0)]);
        let pair = Pair::new(&[slot], &[slot]);
        assert_eq!(differing(&pair.first(), &pair.second()), Ok(Vec::new()));
    }
}
