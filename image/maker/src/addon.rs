//! A hardware profile's kernel arguments as an addon: a small EFI file that systemd-stub reads beside the UKI, signed like it.
//!
//! The arguments follow from the profile and the machine's CPUs and nodes, so they are asked of the very program that compares them
//! at boot. An addon on the ESP's `loader/addons` belongs to every UKI there: an update keeps it.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Inputs;

const STUB: &str = "/usr/lib/systemd/boot/efi/addonx64.efi.stub";

/// `PROFILE.addon.efi` in the output folder. Not called after the version: a search for the newest image there finds images.
pub fn make(
    inputs: &Inputs<'_>,
    programs: &Path,
    profile: &str,
    machine: &str,
) -> Result<PathBuf, String> {
    if profile.contains('/') {
        return Err(format!(
            "--profile {profile}: write a profile's name; an OEM's file is stored in the brand's hw-profiles"
        ));
    }
    let words = arguments(inputs, programs, profile, machine)?;
    inputs.progress.note(&format!("{profile}: {words}"));
    let output = inputs.places.output.join(format!("{profile}.addon.efi"));
    let folder = output.parent().expect("a file is in a folder");
    let mut command = inputs.tools.sandboxed("ukify", &[(folder, true)]);
    command
        .env("SOURCE_DATE_EPOCH", inputs.epoch.to_string())
        .arg("build")
        .arg(format!("--stub={STUB}"))
        .arg(format!("--cmdline={words}"))
        .arg(format!("--output={}", output.display()));
    inputs.progress.tool("ukify-addon", &mut command)?;
    if let Some(keys) = inputs.keys {
        keys.sign(inputs, &output, &output)?;
    }
    Ok(output)
}

/// What the profile wants on that machine, as the image's own `ringpostctl` says. An OEM's profiles are a file's path here.
fn arguments(
    inputs: &Inputs<'_>,
    programs: &Path,
    profile: &str,
    machine: &str,
) -> Result<String, String> {
    let tool = inputs.places.work.join("ringpostctl");
    let _ = std::fs::remove_file(&tool);
    let engine = std::path::absolute(programs.join("ringpostd"))
        .map_err(|error| format!("{}: {error}", programs.display()))?;
    symlink(&engine, &tool).map_err(|error| format!("{}: {error}", tool.display()))?;
    let own = inputs.brand.profile(profile);
    let output = Command::new(&tool)
        .args(["profile", "cmdline"])
        .arg(own.as_deref().unwrap_or(Path::new(profile)))
        .args(["--machine", machine])
        .output()
        .map_err(|error| format!("{}: {error}", engine.display()))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let words = said(&output.stdout);
    match (output.status.success(), words.is_empty()) {
        (true, false) => Ok(words),
        (true, true) => Err(format!(
            "--profile {profile}: it asks for no kernel arguments on such a machine; leave --profile out"
        )),
        (false, _) => Err(format!("--profile {profile}: {}", said(&output.stderr))),
    }
}
