//! The disk image: a GPT with an EFI system partition that holds systemd-boot and the UKI. The state partition is not in it:
//! each box makes its own at its first start, in the room behind.

use std::path::{Path, PathBuf};

use crate::limits::ESP_MIB;
use crate::{Inputs, places};

/// The partition's label; the box looks for the partition it was started from, this is for people.
const LABEL: &str = "ringpost-esp";
/// Partition and disk identifiers of the image come from this; the installer gives each disk its own.
const SEED: &str = "8f1c6a52-5d0e-4d5c-9a0b-72696e67706f";
const BOOT_LOADER: &str = "usr/lib/systemd/boot/efi/systemd-bootx64.efi";

/// What is on the partition beside the boot loader.
pub struct Files<'a> {
    pub uki: &'a Path,
    /// A profile's kernel arguments.
    pub addon: Option<&'a Path>,
}

pub fn write(inputs: &Inputs<'_>, files: &Files<'_>, name: &str) -> Result<PathBuf, String> {
    let work = &inputs.places.work;
    let esp = work.join("esp");
    places::fresh(&esp)?;
    fill(inputs, files, &esp)?;
    let definitions = work.join("repart.d");
    places::fresh(&definitions)?;
    places::write(
        &definitions.join("10-esp.conf"),
        format!(
            "[Partition]\nType=esp\nLabel={LABEL}\nFormat=vfat\nSizeMinBytes={ESP_MIB}M\nSizeMaxBytes={ESP_MIB}M\nCopyFiles={}:/\n",
            esp.display()
        ),
    )?;
    let output = inputs.places.output.join(format!("{name}.raw"));
    match std::fs::remove_file(&output) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("{}: {error}", output.display()));
        }
        _ => {}
    }
    let mut command = inputs.tools.sandboxed(
        "systemd-repart",
        &[(work, false), (&inputs.places.output, true)],
    );
    command
        .env("SOURCE_DATE_EPOCH", inputs.epoch.to_string())
        .args([
            "--empty=create",
            "--size=auto",
            "--offline=yes",
            "--dry-run=no",
        ])
        .args(["--no-pager", "--json=off"])
        .arg(format!("--seed={SEED}"))
        .arg(format!("--definitions={}", definitions.display()))
        .arg(&output);
    inputs.progress.tool("repart", &mut command)?;
    Ok(output)
}

/// The partition's files.
fn fill(inputs: &Inputs<'_>, files: &Files<'_>, esp: &Path) -> Result<(), String> {
    for folder in ["EFI/BOOT", "EFI/Linux", "loader", "ringpost"] {
        places::make(&esp.join(folder))?;
    }
    let loader = esp.join("EFI/BOOT/BOOTX64.EFI");
    places::copy(&inputs.tools.tree.join(BOOT_LOADER), &loader)?;
    // The name of a slot (`appliance/update`), whatever the file beside us is called; without tries: it is the only one.
    let slot = format!("EFI/Linux/ringpost_{}.efi", inputs.version);
    places::copy(files.uki, &esp.join(slot))?;
    if let Some(addon) = files.addon {
        // Beside every UKI, those of later updates too; an addon in a slot's own folder would go with the slot.
        let folder = esp.join("loader/addons");
        places::make(&folder)?;
        places::copy(addon, &folder.join(addon.file_name().unwrap_or_default()))?;
    }
    // No menu and no editing of the command line; a key held down at power-on still shows the slots.
    let mut settings = String::from("timeout 0\neditor no\nauto-firmware no\n");
    if let Some(keys) = inputs.keys {
        keys.sign(inputs, &loader, &loader)?;
        let auto = esp.join("loader/keys/auto");
        places::make(&auto)?;
        for list in keys.enrolment() {
            places::copy(&list, &auto.join(list.file_name().unwrap_or_default()))?;
        }
        // By itself only in virtual machines, which cannot be bricked; on a board from the menu, or by its own set-up.
        settings.push_str("secure-boot-enroll if-safe\n");
    }
    places::write(&esp.join("loader/loader.conf"), settings)?;
    if let Some(own) = inputs.brand.settings() {
        places::copy(&own, &esp.join("ringpost/ringpost.toml"))?;
    }
    Ok(())
}
