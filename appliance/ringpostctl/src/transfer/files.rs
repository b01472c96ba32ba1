//! Files of people, as an administrator opens them: what is found must be what was looked for.
//!
//! What must hold: a person who owns the directory cannot lead an import to a file of others, nor let it wait.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

/// A file that its owner made a link or a pipe meanwhile is neither followed nor waited for.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a file")),
    }
}

/// `Err`: it is none, or a link to one.
pub(crate) fn directory(at: &Path) -> io::Result<()> {
    match fs::symlink_metadata(at)?.is_dir() {
        true => Ok(()),
        false => Err(io::Error::other("it is not a directory")),
    }
}
