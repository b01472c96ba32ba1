//! Where things are: output in the target directory, what is dear to make in the user's cache (it outlives `cargo clean`).

use std::fs;
use std::path::{Path, PathBuf};

pub struct Places {
    /// `target/image`: what a person wants to have.
    pub output: PathBuf,
    /// Cargo's target directory.
    pub target: PathBuf,
    /// Staging, thrown away at each run.
    pub work: PathBuf,
    pub logs: PathBuf,
    /// `$XDG_CACHE_HOME/ringpost-image`: tools tree, OS layers, Debian packages.
    pub cache: PathBuf,
}

impl Places {
    pub fn of(root: &Path, output: Option<&Path>) -> Result<Places, String> {
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => root.join(folder),
            None => root.join("target"),
        };
        let output = match output {
            Some(folder) => std::path::absolute(folder)
                .map_err(|error| format!("{}: {error}", folder.display()))?,
            None => target.join("image"),
        };
        let places = Places {
            work: output.join("work"),
            logs: output.join("log"),
            cache: user_folder("XDG_CACHE_HOME", ".cache")?.join("ringpost-image"),
            target,
            output,
        };
        for folder in [&places.output, &places.work, &places.logs, &places.cache] {
            make(folder)?;
        }
        Ok(places)
    }
}

/// A folder of the XDG base directories.
pub fn user_folder(variable: &str, below_home: &str) -> Result<PathBuf, String> {
    if let Some(folder) = std::env::var_os(variable).filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    std::env::var_os("HOME")
        .filter(|home| !home.is_empty())
        .map(|home| PathBuf::from(home).join(below_home))
        .ok_or_else(|| format!("neither {variable} nor HOME is set: set one, files go below it"))
}

pub fn make(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))
}

/// An empty folder, whatever was there before.
pub fn fresh(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot empty {}: {error}", folder.display()))
        }
        _ => make(folder),
    }
}

pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

pub fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to).map(|_| ()).map_err(|error| {
        format!(
            "cannot copy {} to {}: {error}",
            from.display(),
            to.display()
        )
    })
}
