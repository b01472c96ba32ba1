//! Small files of `/sys` and `/proc`.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::limits::{ENTRIES_MAX, FILE_BYTES_MAX, TABLE_BYTES_MAX};

/// A file's text without the space around it; `None`: it cannot be read.
pub fn text(path: &Path) -> Option<String> {
    at_most(path, FILE_BYTES_MAX)
}

/// A file with a line for each of something and a column for each CPU.
pub fn table(path: &Path) -> Option<String> {
    at_most(path, TABLE_BYTES_MAX)
}

fn at_most(path: &Path, bytes_max: u64) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(bytes_max)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

pub fn number(path: &Path) -> Option<u64> {
    text(path)?.parse().ok()
}

/// A NUMA node; the kernel writes -1 where there is none.
pub fn node(path: &Path) -> Option<usize> {
    text(path)?.parse().ok()
}

/// Names in a directory, sorted; none where there is no directory.
pub fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .take(ENTRIES_MAX)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// The number at the end of `cpu12` for `cpu`.
pub fn numbered(name: &str, prefix: &str) -> Option<usize> {
    name.strip_prefix(prefix)?.parse().ok()
}

/// Where a link leads, below the root again when it is absolute.
pub fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The last part of where a link leads: `…/bus/pci/drivers/e1000e` → `e1000e`.
pub fn target_name(path: &Path) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}
