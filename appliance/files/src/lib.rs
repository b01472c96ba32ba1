//! Small files that a crash or a power cut must not leave half written.
//!
//! A replacement is written beside the file, synced, renamed over it, and the folder is synced. At every moment the name leads to
//! the old content or to the new one. What an earlier replacement left behind is overwritten: its name is always the same, so
//! leftovers do not add up.
#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The file is written under the same name with this extension.
const EXTENSION: &str = "new";

/// Which mode bits the new file has before its first byte is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// 0600.
    Private,
    /// 0644, whatever the umask is.
    Public,
    /// 0666 without the umask's bits. The only mode that FAT takes.
    Umask,
}

impl Mode {
    fn bits(self) -> Option<u32> {
        match self {
            Mode::Private => Some(0o600),
            Mode::Public => Some(0o644),
            Mode::Umask => None,
        }
    }
}

/// Replaces the file at `path`, or makes it. Durable when it returns. On an error the file is the old one, except where only the
/// last sync failed: then it may be either.
pub fn replace(path: &Path, content: &[u8], mode: Mode) -> io::Result<()> {
    let mut fresh = Replacement::begin(path, mode)?;
    fresh.file().write_all(content)?;
    fresh.put()
}

/// A file that is written beside the one it replaces. Dropped before `put`, it is removed and the old file stays.
pub struct Replacement {
    file: File,
    fresh: PathBuf,
    path: PathBuf,
    put: bool,
}

impl Replacement {
    /// Writes under the file's name with the extension `new`.
    pub fn begin(path: &Path, mode: Mode) -> io::Result<Replacement> {
        Replacement::begin_as(path, &path.with_extension(EXTENSION), mode)
    }

    /// Writes under `fresh`, which is in the same folder as `path`. What lies under that name is removed and never followed: other
    /// users may be able to write into the folder.
    pub fn begin_as(path: &Path, fresh: &Path, mode: Mode) -> io::Result<Replacement> {
        assert_eq!(path.parent(), fresh.parent(), "a rename within one folder");
        assert_ne!(path, fresh);
        remove_name(fresh)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        if let Some(bits) = mode.bits() {
            options.mode(bits);
        }
        let this = Replacement {
            file: options.open(fresh)?,
            fresh: fresh.to_owned(),
            path: path.to_owned(),
            put: false,
        };
        if let Some(bits) = mode.bits() {
            this.file.set_permissions(Permissions::from_mode(bits))?;
        }
        Ok(this)
    }

    /// Open for reading and writing.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Syncs the file, gives it the name of the one it replaces, and syncs the folder.
    pub fn put(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.fresh, &self.path)?;
        self.put = true;
        sync_folder(folder(&self.path))
    }

    /// The same where no file has the name yet. `AlreadyExists`: one has, and stays.
    pub fn put_new(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::hard_link(&self.fresh, &self.path)?;
        let path = self.path.clone();
        drop(self); // takes the other name away
        sync_folder(folder(&path))
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.put {
            let _ = fs::remove_file(&self.fresh); // the next replacement removes it too
        }
    }
}

/// Gives a file another name, durably. A file that has the new name already is replaced.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder(folder(to))?;
    if folder(from) != folder(to) {
        sync_folder(folder(from))?;
    }
    Ok(())
}

/// Removes a file, durably. A file that is not there is removed already.
pub fn remove(path: &Path) -> io::Result<()> {
    if remove_name(path)? {
        sync_folder(folder(path))?;
    }
    Ok(())
}

/// Makes durable which names the folder holds.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whether there was something to remove.
fn remove_name(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder == Path::new("") => Path::new("."),
        Some(folder) => folder,
        None => Path::new("/"),
    }
}

#[cfg(test)]
mod tests;
