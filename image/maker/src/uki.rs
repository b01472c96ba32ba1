//! Joining the layers into one EFI program, signed when there are keys.

use std::path::{Path, PathBuf};

use crate::os::{OsLayer, Variant};
use crate::{Inputs, places};

/// The UKI as `NAME.efi` in the output folder.
pub fn join(
    inputs: &Inputs<'_>,
    os: &OsLayer,
    layer: &Path,
    name: &str,
) -> Result<PathBuf, String> {
    let output = inputs.places.output.join(format!("{name}.efi"));
    unsigned(inputs, os, layer, &output)?;
    if let Some(keys) = inputs.keys {
        // Two signatures for two readers: firmware checks the one inside the file at every boot, `ringpost-update` the one beside it before it
        // writes.
        keys.sign(inputs, &output, &output)?;
        keys.sign_update(&output, inputs.version)?;
    }
    Ok(output)
}

/// Without a signature: a function of its inputs alone.
pub fn unsigned(
    inputs: &Inputs<'_>,
    os: &OsLayer,
    layer: &Path,
    output: &Path,
) -> Result<(), String> {
    let work = &inputs.places.work;
    // Brand and version stand here and nowhere else in the image: the boot menu and `status` read them from this section.
    let release = work.join("os-release");
    places::write(
        &release,
        inputs.brand.os_release(inputs.version, inputs.variant),
    )?;
    let uname = places::read(&os.file("uname"))?;
    let uname = String::from_utf8_lossy(&uname).into_owned();
    let folder = output.parent().expect("a file is in a folder");
    let mut command = inputs.tools.sandboxed(
        "ukify",
        &[(&os.folder, false), (work, false), (folder, true)],
    );
    command
        // The time stamp in the PE header would otherwise make every build differ.
        .env("SOURCE_DATE_EPOCH", inputs.epoch.to_string())
        .arg("build")
        .arg("--stub=/usr/lib/systemd/boot/efi/linuxx64.efi.stub")
        .arg(argument("--linux=", &os.file("linux")))
        .arg(argument("--microcode=", &os.file("ucode")))
        // Debian's initrd below, the engine's layer above: files of the later archive win.
        .arg(argument("--initrd=", &os.file("initrd")))
        .arg(argument("--initrd=", layer))
        .arg(argument("--os-release=@", &release))
        .arg(format!("--uname={}", uname.trim_end_matches('\0')))
        .arg(format!("--cmdline={}", command_line(inputs)?))
        .arg(argument("--output=", output));
    inputs.progress.tool("ukify", &mut command)
}

fn argument(option: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(option);
    argument.push(path);
    argument
}

/// `image/cmdline`, without its remarks, and what was asked for beside it.
fn command_line(inputs: &Inputs<'_>) -> Result<String, String> {
    let path = inputs.root.join("image/cmdline");
    let text = places::read(&path)?;
    let text = String::from_utf8_lossy(&text);
    let mut words: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_whitespace)
        .collect();
    if inputs.variant == Variant::Debug {
        // Someone who boots the debug image wants to read what the kernel says.
        words.retain(|word| *word != "quiet");
    }
    let more = inputs.wishes.cmdline.as_deref().unwrap_or_default();
    words.extend(more.split_whitespace());
    Ok(words.join(" "))
}
