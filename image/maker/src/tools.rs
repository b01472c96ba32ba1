//! The tools tree: a small Debian 13 with mkosi, ukify, systemd-repart and the signing tools, and how they are run.
//!
//! Made once by mmdebstrap and kept in the cache by the hash of its package list. Tools run in a sandbox of mkosi's making (a
//! user namespace, no privileges needed): they see the tree as their root, and of this machine only the folders named.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::digest::sha256;
use crate::places::{self, Places};
use crate::progress::Progress;
use crate::sources;

const PACKAGES: &[&str] = &[
    "apt",
    "ca-certificates",
    "coreutils",
    "cpio",
    "debian-archive-keyring",
    "dosfstools",
    "dpkg-dev",
    "e2fsprogs",
    "gpg",
    "kmod",
    "mkosi",
    "mtools",
    "openssl",
    "python3-cryptography",
    "python3-pefile",
    "python3-virt-firmware",
    "sbsigntool",
    "sqv",
    "systemd-boot",
    "systemd-boot-efi",
    "systemd-container",
    "systemd-repart",
    "systemd-ukify",
    "tar",
    "udev",
    "util-linux",
    "xz-utils",
    "zstd",
];

pub struct Tools {
    pub tree: PathBuf,
    /// Changes when the tree does.
    pub key: String,
}

impl Tools {
    /// The tree, made first where it is missing.
    pub fn ready(places: &Places, progress: &Progress) -> Result<Tools, String> {
        let key = sha256(format!("{} {}", sources::RELEASE, PACKAGES.join(",")).as_bytes());
        let tree = places.cache.join(format!("tools-{}", &key[..12]));
        let tools = Tools { tree, key };
        if tools.tree.join("usr/bin/ukify").exists() {
            return Ok(tools);
        }
        progress.note("a Debian 13 tree with the tools is fetched, once (about 100 MB)");
        let made = places.cache.join("tools.new");
        remove(&made)?;
        places::make(&made)?;
        let archive = places.cache.join("tools.tar");
        let mut command = Command::new("mmdebstrap");
        command
            .args(["--variant=apt", "--architectures=amd64", "--format=tar"])
            .arg(format!("--include={}", PACKAGES.join(",")))
            .arg("--aptopt=Acquire::Languages \"none\"")
            .args(
                ["man", "doc", "locale", "info"]
                    .map(|folder| format!("--dpkgopt=path-exclude=/usr/share/{folder}/*")),
            )
            .arg(sources::RELEASE)
            .arg(&archive);
        let own = sources::of_this_machine();
        if own.is_empty() {
            progress.note("this machine's apt names no Debian mirror: the tools' default is used");
        } else {
            let list = places.work.join("tools.sources");
            places::write(&list, sources::file(&own, "main"))?;
            command.arg(&list);
        }
        progress.tool("tools", &mut command).map_err(|reason| {
            format!("{reason}\n    if the mirror cannot be reached: mend /etc/apt/sources.list(.d) until `apt-get update` works, and begin again")
        })?;
        let mut unpack = Command::new("tar");
        unpack
            .args([
                "--extract",
                "--no-same-owner",
                "--exclude=./dev/*",
                "--file",
            ])
            .arg(&archive)
            .arg("--directory")
            .arg(&made);
        progress.tool("tools-unpack", &mut unpack)?;
        places::write(&made.join("etc/resolv.conf"), "")?;
        fs::rename(&made, &tools.tree)
            .map_err(|error| format!("{}: {error}", tools.tree.display()))?;
        fs::remove_file(&archive).map_err(|error| format!("{}: {error}", archive.display()))?;
        Ok(tools)
    }

    /// The tree's mkosi under this machine's python3.
    pub fn mkosi(&self) -> Command {
        let mut command = Command::new("python3");
        command
            .env(
                "PYTHONPATH",
                self.tree.join("usr/lib/python3/dist-packages"),
            )
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .args(["-m", "mkosi"])
            .arg(format!("--tools-tree={}", self.tree.display()));
        command
    }

    /// `program` of the tree, seeing `folders` of this machine at the same paths (the second value: may it write there).
    pub fn sandboxed(&self, program: &str, folders: &[(&Path, bool)]) -> Command {
        let mut command = Command::new("python3");
        command.env("PYTHONDONTWRITEBYTECODE", "1").arg(
            self.tree
                .join("usr/lib/python3/dist-packages/mkosi/sandbox.py"),
        );
        for (from, to) in [("usr", "/usr"), ("etc", "/etc")] {
            command.arg("--ro-bind").arg(self.tree.join(from)).arg(to);
        }
        for folder in ["bin", "sbin", "lib", "lib64"] {
            command.args(["--symlink", &format!("usr/{folder}"), &format!("/{folder}")]);
        }
        for folder in ["/tmp", "/var/tmp", "/run"] {
            command.args(["--tmpfs", folder]);
        }
        command.args(["--proc", "/proc", "--dev", "/dev", "--unshare-net"]);
        for (folder, writable) in folders {
            let how = if *writable { "--bind" } else { "--ro-bind" };
            command.arg(how).arg(folder).arg(folder);
        }
        command.args([
            "--become-root",
            "--setenv",
            "PATH",
            "/usr/bin:/usr/sbin",
            "--setenv",
            "LC_ALL",
            "C.UTF-8",
        ]);
        command.args(["--", program]);
        command
    }
}

/// Removes a folder that a build with sub-users may have left; absent is fine.
pub fn remove(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!(
            "cannot remove {}: {error}; remove it by hand (as root) and begin again",
            folder.display()
        )),
        _ => Ok(()),
    }
}
