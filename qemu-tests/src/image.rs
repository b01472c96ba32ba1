//! The image under test: made by `cargo xtask image`, found in its output directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Doing, Failure, Told};
use crate::keep::copy_sparse;

/// What a story boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// GPT disk: ESP with systemd-boot and the UKI. `None`: only the UKI was made, and it is booted as a net boot would.
    pub raw: Option<PathBuf>,
    pub uki: PathBuf,
    pub version: String,
    /// The folder that its programs came from, while it is there.
    pub programs: Option<PathBuf>,
}

impl Image {
    /// The newest image in `directory`. `None` when there is none.
    pub fn find(directory: &Path) -> Option<Image> {
        let mut found: Vec<_> = fs::read_dir(directory)
            .ok()?
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let version = name.strip_prefix("ringpost_")?.strip_suffix(".efi")?;
                let modified = entry.metadata().ok()?.modified().ok()?;
                Some((modified, version.to_owned(), entry.path()))
            })
            .collect();
        found.sort();
        let (_, version, uki) = found.pop()?;
        let raw = directory.join(format!("ringpost_{version}.raw"));
        let programs = directory.join("work/programs");
        Some(Image {
            raw: raw.is_file().then_some(raw),
            uki,
            version,
            programs: programs.join("ringpostd").is_file().then_some(programs),
        })
    }

    /// Finds it, or makes it by `cargo xtask image`.
    pub fn get(directory: &Path, root: &Path) -> Told<Image> {
        if let Some(image) = Image::find(directory) {
            return Ok(image);
        }
        eprintln!("no image in {}: making one", directory.display());
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let status = Command::new(cargo)
            .current_dir(root)
            .args(["xtask", "image"])
            .status()
            .doing("cargo xtask image")?;
        match Image::find(directory) {
            Some(image) if status.success() => Ok(image),
            _ => Err(Failure::new(format!(
                "there is no image in {} and `cargo xtask image` made none: run it and see why",
                directory.display()
            ))),
        }
    }

    /// A copy of everything in `directory`, so that a new build under way does not change a running story.
    pub fn hold(&self, directory: &Path) -> Told<Image> {
        fs::create_dir_all(directory).doing(directory.display())?;
        let held = Image {
            raw: self.raw.is_some().then(|| directory.join("system.raw")),
            uki: directory.join("system.efi"),
            version: self.version.clone(),
            programs: self.programs.is_some().then(|| directory.join("programs")),
        };
        if let (Some(from), Some(to)) = (&self.raw, &held.raw) {
            copy_sparse(from, to)?;
        }
        copy_sparse(&self.uki, &held.uki)?;
        if let (Some(from), Some(to)) = (&self.programs, &held.programs) {
            fs::create_dir_all(to).doing(to.display())?;
            for program in fs::read_dir(from).doing(from.display())?.flatten() {
                // With their modes: they are run.
                fs::copy(program.path(), to.join(program.file_name())).doing(from.display())?;
            }
        }
        Ok(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_image_is_found_with_its_disk() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(Image::find(directory.path()), None);
        let make = |name: &str| fs::write(directory.path().join(name), b"x").expect("written");
        make("ringpost_1.raw");
        assert_eq!(
            Image::find(directory.path()),
            None,
            "a disk without its UKI"
        );
        make("ringpost_1.efi");
        make("other.efi");
        let image = Image::find(directory.path()).expect("an image");
        assert_eq!(image.version, "1");
        assert!(image.raw.is_some());
    }
}
