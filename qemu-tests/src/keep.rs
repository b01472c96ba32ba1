//! Where runs keep their things: one directory each, thrown away after success, kept and named after failure. What a
//! story-teller that was killed left behind is removed by the next one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::failure::{Doing, Told};
use crate::limits::FAILED_KEPT;

/// A run's directory. Dropped without `keep`, it is removed.
pub struct Keep {
    path: PathBuf,
    kept: bool,
    /// Locked as long as we live, so that others see that the directory is in use.
    _lock: fs::File,
}

impl Keep {
    /// A new directory below `parent`, named after the story and the second.
    pub fn new(parent: &Path, story: &str) -> Told<Keep> {
        fs::create_dir_all(parent).doing(parent.display())?;
        forget_abandoned(parent);
        let second = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        for suffix in 0..1_000 {
            let path = parent.join(format!("{story}-{second}-{suffix}"));
            match fs::create_dir(&path) {
                Ok(()) => {
                    let lock = path.join(LOCK);
                    let _lock = fs::File::create(&lock)
                        .and_then(|file| file.lock().map(|()| file))
                        .doing(lock.display())?;
                    return Ok(Keep {
                        path,
                        kept: false,
                        _lock,
                    });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).doing(path.display()),
            }
        }
        Err(crate::failure::Failure::new(format!(
            "{}: a thousand runs in one second",
            parent.display()
        )))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps it for people to look at, and removes the oldest kept ones.
    pub fn keep(&mut self) {
        self.kept = true;
        let _ = fs::write(self.path.join(KEPT), b"a story failed here\n");
        if let Some(parent) = self.path.parent() {
            forget_old(parent);
        }
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// The mark of a directory that was kept.
const KEPT: &str = "KEPT";
const LOCK: &str = "lock";

/// Removes directories whose story-teller is gone and did not keep them. One that has no lock yet is being made.
fn forget_abandoned(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(lock) = fs::File::open(path.join(LOCK)) else {
            continue;
        };
        if !path.join(KEPT).exists() && lock.try_lock().is_ok() {
            let _ = fs::remove_dir_all(path);
        }
    }
}

fn forget_old(parent: &Path) {
    let mut kept: Vec<(SystemTime, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let mark = fs::metadata(entry.path().join(KEPT)).ok()?;
            Some((mark.modified().ok()?, entry.path()))
        })
        .collect();
    kept.sort();
    let surplus = kept.len().saturating_sub(FAILED_KEPT);
    for (_, path) in kept.into_iter().take(surplus) {
        let _ = fs::remove_dir_all(path);
    }
}

/// Copies a file, leaving holes where it is zero, so that a disk image takes what it holds and no more.
pub fn copy_sparse(from: &Path, to: &Path) -> Told<()> {
    use std::io::{Read, Seek, SeekFrom, Write};
    const CHUNK: usize = 64 << 10;
    let mut source = fs::File::open(from).doing(from.display())?;
    let mut target = fs::File::create(to).doing(to.display())?;
    let mut chunk = vec![0; CHUNK];
    loop {
        // until the end of the file
        let count = source.read(&mut chunk).doing(from.display())?;
        if count == 0 {
            break;
        }
        if chunk[..count].iter().all(|byte| *byte == 0) {
            target
                .seek(SeekFrom::Current(count as i64))
                .doing(to.display())?;
        } else {
            target.write_all(&chunk[..count]).doing(to.display())?;
        }
    }
    let size = source.stream_position().doing(from.display())?;
    target.set_len(size).doing(to.display())
}

/// A file of `bytes` zeroes that takes no room.
pub fn blank(path: &Path, bytes: u64) -> Told<()> {
    fs::File::create(path)
        .and_then(|file| file.set_len(bytes))
        .doing(path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_leaves_nothing_and_failure_leaves_a_bounded_few() {
        let parent = tempfile::tempdir().expect("a directory");
        let gone = Keep::new(parent.path(), "fine").expect("room");
        let path = gone.path().to_owned();
        drop(gone);
        assert!(!path.exists());
        let mut last = PathBuf::new();
        for _ in 0..FAILED_KEPT + 2 {
            let mut kept = Keep::new(parent.path(), "bad").expect("room");
            kept.keep();
            last = kept.path().to_owned();
            // The marks' times tell the order.
            std::thread::sleep(std::time::Duration::from_millis(12));
        }
        assert!(last.exists());
        assert_eq!(
            fs::read_dir(parent.path()).expect("readable").count(),
            FAILED_KEPT
        );
    }

    #[test]
    fn what_a_killed_story_teller_left_is_removed_by_the_next_one() {
        let parent = tempfile::tempdir().expect("a directory");
        let running = Keep::new(parent.path(), "running").expect("room");
        let abandoned = parent.path().join("abandoned");
        fs::create_dir(&abandoned).expect("our own");
        fs::write(abandoned.join(LOCK), b"").expect("our own");
        let next = Keep::new(parent.path(), "next").expect("room");
        assert!(!abandoned.exists());
        assert!(running.path().exists() && next.path().exists());
    }

    #[test]
    fn a_sparse_copy_is_equal_to_its_source() {
        let directory = tempfile::tempdir().expect("a directory");
        let (from, to) = (directory.path().join("a"), directory.path().join("b"));
        let mut bytes = vec![0; 300_000];
        bytes[70_000] = 7;
        fs::write(&from, &bytes).expect("written");
        copy_sparse(&from, &to).expect("copied");
        assert_eq!(fs::read(&to).expect("read"), bytes);
    }
}
