//! The installer: the system that runs now, from a stick, is written to the system disks that an order names.
//!
//! An order is a text: one disk per line by its stable path, `overwrite` behind it where the disk is not blank. Every disk gets
//! the same content (ESP with boot loader, UKIs, settings) and identifiers of its own; its state partition it makes at its first start.
//! Two disks also get a record that they belong together.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::disk::{self, Content, ESP_LABEL, Names};
use crate::efi;
use crate::hands::{DEFINITIONS, Machine};
use crate::limits::{INSTALL_DISKS_MAX, INSTALL_ORDER_BYTES_MAX};
use crate::mirror::Hands;
use crate::record::{Member, Record};
use crate::tool::{run, text};

/// Where an order may be stored: handed over by the machine, or on the stick.
const ORDERS: [&str; 2] = [
    "/run/credentials/@system/ringpost.install",
    "/efi/ringpost/install",
];
/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub path: PathBuf,
    /// What is on it may go. Without this word a disk that has anything on it is refused, because paths are easily confused.
    pub overwrite: bool,
}

/// Carries the order out; the disks that were written.
pub fn run_order() -> Result<Vec<PathBuf>, String> {
    let targets = read_order()?;
    // The stick itself is known by the partition that the firmware started, and not by its being removable: some disks say that they are, too.
    let names = Names::default();
    let started_from = efi::started_from()
        .and_then(|identifier| names.wait_for(&identifier))
        .and_then(|partition| names.disk_of(&partition))
        .ok_or("this system was not booted from a disk, so there is nothing to copy: boot it from a USB stick with the disk image")?;
    let mut checked = Vec::new();
    for target in &targets {
        let disk = check(&names, target, &started_from)?;
        if checked.contains(&disk) {
            return Err(format!("{} is named twice", target.path.display()));
        }
        checked.push(disk);
    }
    // Nothing is written before every disk was found fit.
    for disk in &checked {
        let node = text(&names.node(disk));
        let arguments = [
            "--dry-run=no",
            "--no-pager",
            "--empty=force",
            "--seed=random",
            DEFINITIONS,
            &node,
        ];
        run("systemd-repart", &arguments)?;
        println!("installed on {node}");
    }
    // The kernel has the new tables, but their names below /dev/disk come later.
    run("udevadm", &["settle", "--timeout=10"])?;
    belong_together(&names, &checked)?;
    Ok(targets.into_iter().map(|target| target.path).collect())
}

/// Each of the disks records which ones are of one installation, so that they are mirrored (`mirror.rs`).
fn belong_together(names: &Names, disks: &[String]) -> Result<(), String> {
    let mut made = Vec::new();
    for disk in disks {
        made.push(
            names
                .esp_of(disk)
                .ok_or_else(|| format!("{disk} was written but has no partition {ESP_LABEL}"))?,
        );
    }
    let members = made
        .iter()
        .map(|found| Member::new(&found.esp, &found.name));
    let record = Record::new(members.collect())?;
    let mut hands = Machine {
        names: Names::default(),
        started: String::new(),
        kept: BTreeMap::new(),
    };
    for found in &made {
        let root = hands.open(found, true)?;
        // Closed first, whatever came of it: a file system that stays mounted keeps the machine from a clean restart.
        let stored = record.store(&root);
        hands.close(found)?;
        stored?;
    }
    Ok(())
}

/// Whether this start is an installer's.
pub fn is_ordered() -> bool {
    ORDERS.iter().any(|path| Path::new(path).exists())
}

fn read_order() -> Result<Vec<Target>, String> {
    let path = ORDERS
        .iter()
        .map(Path::new)
        .find(|path| path.exists())
        .ok_or("no install order was given")?;
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    if fs::metadata(path).map_err(told)?.len() > INSTALL_ORDER_BYTES_MAX {
        return Err(format!("{}: too long for an order", path.display()));
    }
    parse(&fs::read_to_string(path).map_err(told)?)
}

pub fn parse(order: &str) -> Result<Vec<Target>, String> {
    let mut targets = Vec::new();
    for line in order.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        let path = words.next().unwrap_or_default();
        let overwrite = match (words.next(), words.next()) {
            (None, _) => false,
            (Some("overwrite"), None) => true,
            _ => {
                return Err(format!(
                    "install order, `{line}`: write the disk's path, followed by `overwrite` if the disk may be erased"
                ));
            }
        };
        // Not for safety, since whoever writes the order has the disks anyway: a file that is named by mistake would be made, and fill the memory.
        if !path.starts_with("/dev/") || path.contains("/../") {
            return Err(format!(
                "install order, `{path}`: a disk's path begins with /dev/"
            ));
        }
        targets.push(Target {
            path: path.into(),
            overwrite,
        });
    }
    if targets.is_empty() || targets.len() > INSTALL_DISKS_MAX {
        return Err(format!(
            "install order: name one disk, or {INSTALL_DISKS_MAX} that are mirrored"
        ));
    }
    Ok(targets)
}

/// The disk's kernel name, when it may be written.
fn check(names: &Names, target: &Target, started_from: &str) -> Result<String, String> {
    let path = target.path.display();
    let disk =
        disk::kernel_name(&target.path).ok_or_else(|| format!("{path}: there is no such disk"))?;
    // A partition has a kernel name, too, and would get a table of partitions inside it.
    if !names.disks().contains(&disk) {
        return Err(format!("{path} is not a whole disk: name the disk itself"));
    }
    if disk == started_from {
        return Err(format!(
            "{path} is the disk that this system was booted from: name another disk"
        ));
    }
    // Only now: no word makes the disk a good target that this system runs from.
    if target.overwrite {
        return Ok(disk);
    }
    if !names.partitions(&disk).is_empty() || disk::content(&names.node(&disk))? != Content::Blank {
        return Err(format!(
            "{path} is not blank: write `overwrite` after it in the order if its contents may be erased"
        ));
    }
    Ok(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_names_disks_and_says_which_may_be_emptied() {
        let order = "# system\n/dev/disk/by-id/nvme-a\n\n/dev/disk/by-id/nvme-b overwrite\n";
        let targets = parse(order).expect("an order");
        assert_eq!(
            targets
                .iter()
                .map(|target| target.overwrite)
                .collect::<Vec<_>>(),
            [false, true]
        );
    }

    #[test]
    fn what_is_no_order_is_refused_before_anything_is_written() {
        for wrong in [
            "",
            "sda",
            "/dev/sda please",
            "/dev/sda overwrite now",
            "/dev/a\n/dev/b\n/dev/c",
            "/dev/../etc/passwd",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_disk_with_anything_on_it_needs_an_explicit_word() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = Names {
            sys: folder.path().join("sys"),
            dev: folder.path().join("dev"),
            udev: folder.path().join("udev"),
        };
        for disk in ["sda", "sdb"] {
            fs::create_dir_all(names.sys.join(disk)).expect("made");
        }
        fs::create_dir_all(&names.dev).expect("made");
        fs::write(names.dev.join("sda"), vec![1; 8_192]).expect("written");
        fs::write(names.dev.join("sdb"), vec![0; 8_192]).expect("written");
        let target = |disk: &str, overwrite| Target {
            path: names.dev.join(disk),
            overwrite,
        };
        let told = check(&names, &target("sda", false), "sdc").expect_err("not blank");
        assert!(told.contains("overwrite"), "{told}");
        assert_eq!(
            check(&names, &target("sda", true), "sdc").as_deref(),
            Ok("sda")
        );
        assert_eq!(
            check(&names, &target("sdb", false), "sdc").as_deref(),
            Ok("sdb")
        );
        assert!(
            check(&names, &target("sdb", true), "sdb").is_err(),
            "never the disk we run from"
        );
        assert!(check(&names, &target("sdx", true), "sdc").is_err());
    }
}
