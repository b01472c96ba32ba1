//! The OS layer: Debian's kernel, microcode and userland as mkosi builds them from `image/os`, kept in the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::Inputs;
use crate::digest::sha256;
use crate::limits::OS_LAYER_DAYS_OLD;
use crate::places;
use crate::{pe, sources, tools};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// No shell, no login.
    Product,
    /// Both, on the serial port.
    Debug,
}

impl Variant {
    pub fn name(self) -> &'static str {
        match self {
            Variant::Product => "product",
            Variant::Debug => "debug",
        }
    }
}

/// An OS layer in the cache: `linux`, `initrd`, `ucode`, `uname`, `packages.json`, `licences.tar.zst`.
pub struct OsLayer {
    pub folder: PathBuf,
    /// Hash of what it is made from (not of what came out: packages move on; see the manifest for their versions).
    pub key: String,
}

impl OsLayer {
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

pub fn ready(inputs: &Inputs<'_>) -> Result<OsLayer, String> {
    let folder = inputs.root.join("image/os");
    // The mirror that this machine uses, so that a build behind a firewall works; it is part of the key, because another mirror may be of
    // another day.
    let own = sources::file(&sources::of_this_machine(), "main non-free-firmware");
    let key = key(&folder, &[inputs.variant.name(), &inputs.tools.key, &own])?;
    let layer = OsLayer {
        folder: inputs
            .places
            .cache
            .join(format!("os-{}-{}", inputs.variant.name(), &key[..12])),
        key,
    };
    // The manifest is the last file that a build leaves, so a layer that was cut off is not taken for one.
    if layer.file("packages.json").exists() && !inputs.wishes.refresh {
        let days = days_old(&layer.file("packages.json"));
        if days >= OS_LAYER_DAYS_OLD {
            inputs.progress.note(&format!(
                "the OS layer is {days} days old: `cargo xtask image --refresh` fetches Debian's fixes"
            ));
        }
        return Ok(layer);
    }
    build(inputs, &folder, &own, &layer)?;
    Ok(layer)
}

fn build(inputs: &Inputs<'_>, folder: &Path, own: &str, layer: &OsLayer) -> Result<(), String> {
    let cache = &inputs.places.cache;
    // Beside the old layer, which stays until the new one is whole.
    let made = cache.join("os.new");
    let workspace = cache.join("workspace");
    tools::remove(&made)?;
    for folder in [&made, &workspace, &cache.join("packages")] {
        places::make(folder)?;
    }
    let mut command = inputs.tools.mkosi();
    command
        .arg("--directory")
        .arg(folder)
        .arg(format!("--output-directory={}", made.display()))
        .arg(format!("--workspace-directory={}", workspace.display()))
        .arg(format!(
            "--package-cache-directory={}",
            cache.join("packages").display()
        ))
        .arg(format!("--environment=VARIANT={}", inputs.variant.name()))
        .arg("--force");
    if !own.is_empty() {
        let sandbox = inputs.places.work.join("apt");
        places::make(&sandbox.join("etc/apt/sources.list.d"))?;
        places::write(&sandbox.join("etc/apt/sources.list.d/mkosi.sources"), own)?;
        command.arg(format!("--sandbox-tree={}", sandbox.display()));
    }
    command.arg("build");
    inputs.progress.tool("mkosi", &mut command).map_err(|reason| {
        format!("{reason}\n    a package that cannot be fetched: `apt-get update`, then again with --refresh; no user namespaces: run as root")
    })?;
    // Of mkosi's own UKI only the parts are wanted.
    let whole = places::read(&made.join("ringpost.efi"))?;
    for (section, file) in [(".ucode", "ucode"), (".uname", "uname")] {
        let bytes = pe::section(&whole, section)
            .ok_or_else(|| format!("mkosi's UKI has no section {section}"))?;
        places::write(&made.join(file), bytes)?;
    }
    for (from, to) in [
        ("ringpost.vmlinuz", "linux"),
        ("ringpost.initrd", "initrd"),
        ("ringpost.manifest", "packages.json"),
    ] {
        fs::rename(made.join(from), made.join(to))
            .map_err(|error| format!("mkosi left no {from}: {error}"))?;
    }
    for leftover in ["ringpost.efi", "ringpost"] {
        let _ = fs::remove_file(made.join(leftover));
    }
    tools::remove(&layer.folder)?;
    fs::rename(&made, &layer.folder).map_err(|error| format!("{}: {error}", layer.folder.display()))
}

/// Hash of the folder's files and of `more`.
fn key(folder: &Path, more: &[&str]) -> Result<String, String> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(|error| format!("{}: {error}", folder.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    // The order of a directory depends on the file system, and the key must not.
    files.sort();
    let mut all = Vec::new();
    for file in files {
        all.extend(file.file_name().unwrap_or_default().as_encoded_bytes());
        all.extend(sha256(&places::read(&file)?).as_bytes());
    }
    for word in more {
        all.extend(sha256(word.as_bytes()).as_bytes());
    }
    Ok(sha256(&all))
}

fn days_old(path: &Path) -> u64 {
    fs::metadata(path)
        .and_then(|meta| meta.modified())
        .ok()
        .and_then(|made| SystemTime::now().duration_since(made).ok())
        .map_or(0, |age| age.as_secs() / 86_400)
}
