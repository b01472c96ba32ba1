//! Every start: mount the ESP at `/efi` and the state partition at `/var/lib/ringpost`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::disk::{self, Content, Names};
use crate::efi;
use crate::keep;
use crate::limits::MEMORY_STATE_BYTES;
use crate::tool::{run, status, text};

/// Where the ESP is mounted.
const ESP: &str = "/efi";
/// Where the state partition is mounted.
pub(crate) const STATE: &str = "/var/lib/ringpost";
/// `/var/log/journal` is a link to it.
const JOURNAL: &str = "/var/lib/ringpost/journal";
/// What `report` writes, for the boot and the self-test.
const REPORT: &str = "/run/ringpost/state.json";
const LABEL: &str = "ringpost-state";
/// The name of the unlocked device.
const MAPPED: &str = "ringpost-state";
/// Unlocks a partition that is sealed to the TPM.
const CRYPTSETUP: &str = "/usr/bin/systemd-cryptsetup";
/// Partition definitions for systemd-repart, without and with a TPM.
const PLAIN: &str = "/usr/lib/ringpost/repart.d";
/// With a partition that is sealed to the TPM.
const SEALED: &str = "/usr/lib/ringpost/repart-tpm.d";
/// There when the machine has a TPM 2.0: the kernel's resource manager of it.
const TPM: &str = "/dev/tpmrm0";
/// Ordered by `ringpostctl` or by hand: the state is created again at the next start.
const RESET_ORDER: &str = "/efi/ringpost/factory-reset";

/// Where the state is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On its partition; `sealed` to the TPM or not; `made` at this start.
    Disk { sealed: bool, made: bool },
    /// In memory, and why. Gone with the next start: an alarm.
    Memory { why: String },
}

/// Mounts both, whatever happens, and leaves the report. `Err` only when not even memory can be mounted.
pub fn ready() -> Result<Place, String> {
    let place = match on_disk(&Names::default()) {
        Ok(place) => place,
        Err(why) => {
            let size = format!("size={MEMORY_STATE_BYTES},mode=0700,nodev,nosuid,noexec");
            make_folder(STATE)?;
            run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", STATE])?;
            Place::Memory { why }
        }
    };
    report(&place)?;
    Ok(place)
}

/// Finds or makes the partition on the disk that the box was started from. Whatever fails here puts the state into
/// memory.
fn on_disk(names: &Names) -> Result<Place, String> {
    let identifier = efi::started_from().ok_or(
        "this system was not booted from a disk (network or direct kernel boot), so there is no state partition",
    )?;
    let esp = names
        .wait_for(&identifier)
        .ok_or("the boot disk was not found: the image may not contain its driver")?;
    let disk = names
        .disk_of(&esp)
        .ok_or_else(|| format!("{esp} is not on a disk with partitions"))?;
    mount_esp(&names.node(&esp))?;
    let reset = Path::new(RESET_ORDER).exists();
    let mut made = false;
    let partition = match names.labelled(&disk, LABEL) {
        Some(partition) if !reset => partition,
        found => {
            make(names, &disk, found.is_some())?;
            made = true;
            labelled(names, &disk)?
        }
    };
    let device = names.node(&partition);
    let mut content = disk::content(&device)?;
    if content == Content::Blank && !made {
        // Wiped, or the first start was cut short between partition and file system.
        make(names, &disk, true)?;
        made = true;
        content = disk::content(&names.node(&labelled(names, &disk)?))?;
    }
    let (device, sealed) = match content {
        Content::Luks => (open_sealed(&device, MAPPED)?, true),
        Content::Something => (device, false),
        Content::Blank => {
            return Err("the state partition stays blank: the disk may be read-only".into());
        }
    };
    check(&device)?;
    make_folder(STATE)?;
    let options = "nodev,nosuid,noexec,noatime";
    run(
        "mount",
        &["-t", "ext4", "-o", options, &text(&device), STATE],
    )?;
    make_folder(JOURNAL)?;
    if reset {
        // The other system disk keeps settings too, and gets the order when it is there.
        let forgotten = Path::new(STATE).join(keep::FORGOTTEN);
        fs::write(&forgotten, b"").map_err(|error| format!("{}: {error}", forgotten.display()))?;
        fs::remove_file(RESET_ORDER).map_err(|error| format!("{RESET_ORDER}: {error}"))?;
    }
    Ok(Place::Disk { sealed, made })
}

/// The state partition of `disk`, by its label.
fn labelled(names: &Names, disk: &str) -> Result<String, String> {
    names
        .labelled(disk, LABEL)
        .ok_or_else(|| format!("systemd-repart made no partition {LABEL} on {disk}"))
}

/// The ESP is written to only by updates; a check mends what a power cut left, and its outcome is the mount's.
fn mount_esp(device: &Path) -> Result<(), String> {
    let device = text(device);
    let _ = status("fsck.fat", &["-a", &device]);
    make_folder(ESP)?;
    let options = "umask=0077,nodev,nosuid,noexec,noatime";
    run("mount", &["-t", "vfat", "-o", options, &device, ESP])
}

/// Makes the partition in the room behind the ESP; an existing one is removed first if `anew` is set.
fn make(names: &Names, disk: &str, anew: bool) -> Result<(), String> {
    let node = text(&names.node(disk));
    let definitions = if Path::new(TPM).exists() {
        SEALED
    } else {
        PLAIN
    };
    let definitions = format!("--definitions={definitions}");
    let anew = format!("--factory-reset={}", if anew { "yes" } else { "no" });
    let arguments = ["--dry-run=no", "--no-pager", &definitions, &anew, &node];
    run("systemd-repart", &arguments)?;
    // The kernel shows the partition at once, udev's node for it comes a moment later.
    run("udevadm", &["settle", "--timeout=10"])
}

/// Whether the state is on its partition, as `ready` recorded.
pub(crate) fn is_on_disk() -> bool {
    let told = fs::read_to_string(REPORT).unwrap_or_default();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap_or_default();
    told["kind"] == "disk"
}

/// The state partition of another system disk; `may_make`: where there is none, or a blank one, it is made.
pub(crate) fn ready_on(names: &Names, disk: &str, may_make: bool) -> Result<String, String> {
    let found = names.labelled(disk, LABEL);
    if let Some(partition) = &found
        && (!may_make || disk::content(&names.node(partition))? != Content::Blank)
    {
        return Ok(partition.clone());
    }
    if !may_make {
        return Err(format!("{disk} has no state partition"));
    }
    make(names, disk, found.is_some())?;
    labelled(names, disk)
}

/// The device to mount, and whether it was sealed; `None`: it is blank.
pub(crate) fn unlock(device: &Path, mapped: &str) -> Result<Option<(PathBuf, bool)>, String> {
    match disk::content(device)? {
        Content::Blank => Ok(None),
        Content::Something => Ok(Some((device.to_owned(), false))),
        Content::Luks => {
            if Path::new("/dev/mapper").join(mapped).exists() {
                // Of a run that was ended in the middle.
                run(CRYPTSETUP, &["detach", mapped])?;
            }
            Ok(Some((open_sealed(device, mapped)?, true)))
        }
    }
}

/// Unlocks without a question: the TPM gives the key if board and Secure Boot are as they were.
fn open_sealed(device: &Path, mapped: &str) -> Result<PathBuf, String> {
    let arguments = [
        "attach",
        mapped,
        &text(device),
        "-",
        "tpm2-device=auto,headless=true",
    ];
    run(CRYPTSETUP, &arguments).map_err(|reason| {
        format!(
            "the TPM does not unlock the state partition (another board or TPM, or changed Secure Boot settings): {reason}; undo the change, or request a factory reset"
        )
    })?;
    Ok(Path::new("/dev/mapper").join(mapped))
}

/// e2fsck mends what it can by itself; 1 means mended, 4 and above that it could not.
pub(crate) fn check(device: &Path) -> Result<(), String> {
    let (code, said) = status("fsck.ext4", &["-p", &text(device)])?;
    if (0..4).contains(&code) {
        Ok(())
    } else {
        Err(format!(
            "the state partition is damaged ({said}) and was not changed; a factory reset creates it again"
        ))
    }
}

/// A folder with those above it.
fn make_folder(path: &str) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| format!("cannot make {path}: {error}"))
}

/// Leaves word of where the state is.
fn report(place: &Place) -> Result<(), String> {
    let told = match place {
        Place::Disk { sealed, made } => json!({"kind": "disk", "sealed": sealed, "made": made}),
        Place::Memory { why } => json!({"kind": "memory", "alarm": true, "why": why}),
    };
    make_folder("/run/ringpost")?;
    fs::write(REPORT, format!("{told}\n")).map_err(|error| format!("{REPORT}: {error}"))
}
