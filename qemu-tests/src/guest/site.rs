//! The place of one machine: its directory, its disks on the host, its firmware's variables. It outlives the guests that run there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Doing, Told};
use crate::keep::{self, Keep};
use crate::shape::{Accel, Boot, By, STICK, Shape};

use super::FIRMWARE;

/// A machine that may be switched on and off: its shape, its disks on the host, what it boots.
pub struct Site {
    pub keep: Keep,
    pub shape: Shape,
    pub boot: Boot,
    pub accel: Accel,
}

impl Site {
    /// Makes blank disks and fresh firmware variables. `system` is copied to be the system disk.
    pub fn new(
        keep: Keep,
        shape: Shape,
        boot: Boot,
        accel: Accel,
        system: Option<&Path>,
    ) -> Told<Site> {
        let directory = keep.path().to_owned();
        let site = Site {
            keep,
            shape,
            boot,
            accel,
        };
        for disk in &site.shape.disks {
            keep::blank(&directory.join(disk.file()), disk.bytes)?;
            if disk.logged {
                keep::blank(&directory.join(disk.log_file()), 0)?;
            }
        }
        if let Some(text) = &site.shape.stick {
            let stick = directory.join(STICK);
            fs::create_dir_all(&stick).doing(stick.display())?;
            let path = stick.join("ringpost.toml");
            fs::write(&path, text).doing(path.display())?;
        }
        site.write_system(system)?;
        site.forget_firmware_variables()?;
        Ok(site)
    }

    /// Makes the system disk as `system` has it. `None`: there is none.
    pub fn write_system(&self, system: Option<&Path>) -> Told<()> {
        let Some(system) = system else { return Ok(()) };
        let copy = self.path("system.raw");
        keep::copy_sparse(system, &copy)?;
        // Room for the state partition that systemd-repart makes.
        let file = fs::OpenOptions::new()
            .write(true)
            .open(&copy)
            .doing(copy.display())?;
        let size = file.metadata().doing(copy.display())?.len();
        file.set_len(size + STATE_BYTES).doing(copy.display())
    }

    /// The variables as a new machine has them.
    pub fn forget_firmware_variables(&self) -> Told<()> {
        let vars = self.keep.path().join("vars.fd");
        if matches!(self.boot, Boot::Kernel { .. }) {
            return Ok(());
        }
        fs::copy(FIRMWARE.1, &vars)
            .map(|_| ())
            .doing(format!("{} (Debian package ovmf)", FIRMWARE.1))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.keep.path().join(name)
    }

    /// The file behind a disk.
    pub fn disk(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.raw"))
    }

    pub(super) fn write_credentials(&self) -> Told<()> {
        for credential in &self.shape.credentials {
            let (name, text) = match credential.by {
                By::Smbios => (credential.smbios_file(), credential.smbios_string()),
                By::FwCfg => (credential.file(), credential.text.clone()),
            };
            let path = self.path(&name);
            fs::write(&path, text).doing(path.display())?;
        }
        Ok(())
    }
}

/// Added to the system disk; the state partition takes what is there.
const STATE_BYTES: u64 = 768 << 20;
