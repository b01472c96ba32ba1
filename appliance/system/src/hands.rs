//! `mirror.rs` on real disks: mounts, partitions, the other disk's state.
//!
//! Mounts are made for a moment and in a mount namespace of the service's own (`PrivateMounts=`): whatever happens, nothing of
//! a disk that is pulled stays behind.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::disk::{ESP_LABEL, Names, kernel_name};
use crate::limits::{CHUNK_BYTES, SYSTEM_DISK_BYTES_MIN, SYSTEM_DISK_ENDS_BYTES};
use crate::mirror::{Found, Hands, Home, Way};
use crate::tool::{run, status, text};
use crate::{efi, keep, state};

/// Where other system disks are mounted, one at a time.
const MOUNTS: &str = "/run/ringpost-mirror";
/// The name of another disk's unlocked state.
const MAPPED: &str = "ringpost-state-other";
/// The argument that gives systemd-repart the partitions of a system disk of ours.
pub(crate) const DEFINITIONS: &str = "--definitions=/usr/lib/ringpost/install.d";

/// The machine's own disks.
pub struct Machine {
    /// Where the kernel's names are.
    pub names: Names,
    /// The disk that the box was started from.
    pub started: String,
    /// What the last look kept on each disk, by the ESP's identifier (`keep::mark`): looked at again only when it changed.
    pub kept: BTreeMap<String, String>,
}

/// The disk that the box was started from. `None`: from none (net boot). `Err`: it is gone.
pub fn home(names: &Names) -> Result<Option<Home>, String> {
    let Some(esp) = efi::started_from() else {
        return Ok(None);
    };
    let link = names.dev.join("disk/by-partuuid").join(&esp);
    let disk = kernel_name(&link).and_then(|partition| names.disk_of(&partition));
    let disk = disk.ok_or(
        "the system disk that the appliance was booted from is gone: restart to boot from the other one",
    )?;
    Ok(Some(Home {
        root: "/efi".into(),
        found: Found {
            name: names.by_id(&disk),
            disk,
            esp,
        },
    }))
}

impl Hands for Machine {
    fn others(&mut self) -> Vec<Found> {
        let disks = self.names.disks();
        let others = disks.into_iter().filter(|disk| *disk != self.started);
        others.filter_map(|disk| self.names.esp_of(&disk)).collect()
    }

    fn open(&mut self, found: &Found, write: bool) -> Result<PathBuf, String> {
        let partition = self
            .names
            .labelled(&found.disk, ESP_LABEL)
            .ok_or_else(|| format!("{} no longer has an ESP", found.disk))?;
        let device = text(&self.names.node(&partition));
        if write {
            let _ = status("fsck.fat", &["-a", &device]); // its outcome is the mount's
        }
        let root = place(found);
        fs::create_dir_all(&root).map_err(|error| format!("{}: {error}", root.display()))?;
        let how = if write { "rw" } else { "ro" };
        let options = format!("{how},umask=0077,nodev,nosuid,noexec,noatime");
        run(
            "mount",
            &["-t", "vfat", "-o", &options, &device, &text(&root)],
        )?;
        Ok(root)
    }

    fn close(&mut self, found: &Found) -> Result<(), String> {
        run("umount", &[&text(&place(found))])
    }

    fn make(&mut self, path: &Path) -> Result<Found, String> {
        let disk = fit(&self.names, path, &self.started)?;
        let node = text(&self.names.node(&disk));
        let arguments = [
            "--dry-run=no",
            "--no-pager",
            "--empty=require",
            "--seed=random",
            DEFINITIONS,
            &node,
        ];
        run("systemd-repart", &arguments)?;
        run("udevadm", &["settle", "--timeout=10"])?;
        self.names
            .esp_of(&disk)
            .ok_or_else(|| format!("{node} was written but has no partition {ESP_LABEL}"))
    }

    fn keep(&mut self, found: &Found, way: Way) -> Result<(), String> {
        let own = Path::new(state::STATE);
        if !state::is_on_disk() {
            // State in memory is not passed on.
            return Ok(());
        }
        let mark = keep::mark(own);
        if way == Way::To && self.kept.get(&found.esp) == Some(&mark) {
            return Ok(());
        }
        let partition = state::ready_on(&self.names, &found.disk, way == Way::To)?;
        let Some((device, sealed)) = state::unlock(&self.names.node(&partition), MAPPED)? else {
            return Ok(());
        };
        let done = state::check(&device).and_then(|()| self.keep_at(&device, way));
        if sealed {
            let let_go = run("/usr/bin/systemd-cryptsetup", &["detach", MAPPED]);
            done.and(let_go)?;
        } else {
            done?;
        }
        self.kept.insert(found.esp.clone(), mark);
        Ok(())
    }
}

impl Machine {
    /// Copies the box's own files to or from the state on `device`, mounted for that.
    fn keep_at(&self, device: &Path, way: Way) -> Result<(), String> {
        let root = Path::new(MOUNTS).join("state");
        fs::create_dir_all(&root).map_err(|error| format!("{}: {error}", root.display()))?;
        let how = if way == Way::To { "rw" } else { "ro" };
        let options = format!("{how},nodev,nosuid,noexec,noatime");
        run(
            "mount",
            &["-t", "ext4", "-o", &options, &text(device), &text(&root)],
        )?;
        let own = Path::new(state::STATE);
        let done = match way {
            Way::To => keep::mirror(own, &root),
            Way::From => keep::bring(&root, own),
        };
        done.and(run("umount", &[&text(&root)]))
    }
}

/// Where the disk's ESP is mounted.
fn place(found: &Found) -> PathBuf {
    Path::new(MOUNTS).join(&found.disk)
}

/// The disk's kernel name, when it is a whole disk, large enough, unused and blank.
fn fit(names: &Names, path: &Path, started: &str) -> Result<String, String> {
    let told = path.display();
    if !path.starts_with(&names.dev) || path.components().any(|part| part.as_os_str() == "..") {
        return Err(format!("{told}: a disk's path begins with /dev/"));
    }
    let disk = kernel_name(path)
        .filter(|name| names.disks().contains(name))
        .ok_or_else(|| format!("{told} is not a disk of this machine"))?;
    if disk == started {
        return Err(format!(
            "{told} is the disk that the appliance was booted from"
        ));
    }
    if !names.partitions(&disk).is_empty() {
        return Err(format!("{told} has partitions: use a blank disk"));
    }
    let sys = names.sys.join(&disk);
    if fs::read_dir(sys.join("holders")).is_ok_and(|mut holders| holders.next().is_some()) {
        return Err(format!("{told} is in use"));
    }
    let told_error = |error: std::io::Error| match error.raw_os_error() {
        Some(EBUSY) => format!("{told} is in use: is it a leg?"),
        _ => format!("{told}: {error}"),
    };
    // Alone: a process that has it open as its own (a leg, a mount) keeps it.
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::fcntl::OFlag::O_EXCL.bits())
        .open(names.node(&disk))
        .map_err(told_error)?;
    let bytes = file.seek(SeekFrom::End(0)).map_err(told_error)?;
    if bytes < SYSTEM_DISK_BYTES_MIN {
        return Err(format!(
            "{told} is too small: a system disk has at least {} MiB",
            SYSTEM_DISK_BYTES_MIN >> 20
        ));
    }
    for at in [0, bytes - SYSTEM_DISK_ENDS_BYTES] {
        if !zero(&mut file, at).map_err(told_error)? {
            return Err(format!(
                "{told} is not blank: erase it first, or use a blank disk"
            ));
        }
    }
    Ok(disk)
}

/// The kernel's answer where a disk is in use.
const EBUSY: i32 = nix::errno::Errno::EBUSY as i32;

/// Whether the next `SYSTEM_DISK_ENDS_BYTES` from `at` on are zero.
fn zero(file: &mut File, at: u64) -> std::io::Result<bool> {
    file.seek(SeekFrom::Start(at))?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut left = file.take(SYSTEM_DISK_ENDS_BYTES);
    loop {
        // until the end, or something
        match left.read(&mut chunk)? {
            0 => return Ok(true),
            count if chunk[..count].iter().any(|byte| *byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> (tempfile::TempDir, Names) {
        let folder = tempfile::tempdir().expect("a folder");
        let names = Names {
            sys: folder.path().join("sys"),
            dev: folder.path().join("dev"),
            udev: folder.path().join("udev"),
        };
        fs::create_dir_all(&names.dev).expect("made");
        (folder, names)
    }

    fn disk(names: &Names, name: &str, bytes: u64) -> PathBuf {
        fs::create_dir_all(names.sys.join(name).join("holders")).expect("made");
        let node = names.dev.join(name);
        let file = File::create(&node).expect("made");
        file.set_len(bytes).expect("sparse");
        node
    }

    #[test]
    fn only_a_blank_disk_that_nobody_uses_becomes_a_system_disk() {
        let (_folder, names) = machine();
        let blank = disk(&names, "sdb", SYSTEM_DISK_BYTES_MIN);
        assert_eq!(fit(&names, &blank, "sda").as_deref(), Ok("sdb"));
        let told = |path: &Path| fit(&names, path, "sda").expect_err("not fit");
        assert!(fit(&names, &blank, "sdb").is_err(), "the started one");
        assert!(told(Path::new("/etc/passwd")).contains("/dev/"));
        assert!(told(&names.dev.join("nothing")).contains("not a disk"));
        let small = disk(&names, "sdc", SYSTEM_DISK_BYTES_MIN - 1);
        assert!(told(&small).contains("too small"));
        fs::write(names.sys.join("sdb/holders/dm-0"), "").expect("written");
        assert!(told(&blank).contains("in use"));
        for at in [0, 64 << 10, SYSTEM_DISK_BYTES_MIN - 1] {
            let path = disk(&names, "sdd", SYSTEM_DISK_BYTES_MIN);
            let mut file = OpenOptions::new().write(true).open(&path).expect("opened");
            file.seek(SeekFrom::Start(at)).expect("there");
            std::io::Write::write_all(&mut file, b"x").expect("written");
            assert!(told(&path).contains("not blank"), "{at}");
        }
        let parted = disk(&names, "sde", SYSTEM_DISK_BYTES_MIN);
        fs::create_dir_all(names.sys.join("sde/sde1")).expect("made");
        fs::write(names.sys.join("sde/sde1/partition"), "1").expect("written");
        assert!(told(&parted).contains("partitions"));
    }
}
