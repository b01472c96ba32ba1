//! The engine layer: our programs, `image/layer`, the profiles and the brand, as one small archive over the OS layer.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::os::Variant;
use crate::places;
use crate::{Inputs, cpio};

/// The cargo profile that programs are built with; also the name of its folder.
const PROFILE: &str = "firmware";
const ENGINE: &str = "ringpostd";
/// Programs of the workspace that belong into the image: the engine, and every one whose name begins so.
const PREFIX: &str = "ringpost-";
/// Only from here: load generators and benches have such names too.
const SHIPPED: &str = "appliance";
/// What `__DATE__` would say in C code. The same for every commit: build scripts of C libraries run again when it changes, and with them
/// most of the workspace would be compiled again for each commit (8 minutes instead of seconds).
const C_EPOCH: &str = "1";

/// Builds the programs; the folder that holds them, with nothing else in it.
pub fn programs(inputs: &Inputs<'_>) -> Result<PathBuf, String> {
    if let Some(given) = &inputs.wishes.programs {
        let folder = inputs.places.work.join("programs-given");
        places::fresh(&folder)?;
        return pick(given, &folder).map(|()| folder);
    }
    let names = names(inputs.root)?;
    let mut command = Command::new(crate::cargo_path());
    command
        .current_dir(inputs.root)
        .args(["build", "--locked", "--profile", PROFILE])
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(inputs))
        .env("CFLAGS", c_flags(inputs))
        .env("SOURCE_DATE_EPOCH", C_EPOCH);
    for (package, program) in &names {
        command.args(["-p", package, "--bin", program]);
    }
    inputs.progress.tool("cargo", &mut command)?;
    let folder = inputs.places.work.join("programs");
    places::fresh(&folder)?;
    for (_, program) in &names {
        let built = inputs.places.target.join(PROFILE).join(program);
        places::copy(&built, &folder.join(program))?;
    }
    Ok(folder)
}

/// Copies our programs, and nothing else, out of a folder that may be cargo's own: what is beside them there fills a guest's
/// memory.
fn pick(from: &Path, to: &Path) -> Result<(), String> {
    if !from.join(ENGINE).is_file() {
        return Err(format!("{}: there is no {ENGINE} in it", from.display()));
    }
    let entries = fs::read_dir(from).map_err(|error| format!("{}: {error}", from.display()))?;
    for entry in entries {
        let entry = entry.map_err(|error| format!("{}: {error}", from.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = name == ENGINE || name.starts_with(PREFIX) && !name.contains('.');
        if ours && entry.path().is_file() {
            places::copy(&entry.path(), &to.join(name))?;
        }
    }
    Ok(())
}

/// Package and program, as cargo knows them.
fn names(root: &Path) -> Result<Vec<(String, String)>, String> {
    let output = Command::new(crate::cargo_path())
        .current_dir(root)
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked"])
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let mut names = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        if !Path::new(manifest).starts_with(root.join(SHIPPED)) {
            continue;
        }
        for target in package["targets"].as_array().into_iter().flatten() {
            let is_program = target["kind"][0] == "bin";
            let name = target["name"].as_str().unwrap_or_default();
            if is_program && (name == ENGINE || name.starts_with(PREFIX)) {
                let package = package["name"].as_str().unwrap_or_default();
                names.push((package.to_string(), name.to_string()));
            }
        }
    }
    names.sort();
    Ok(names)
}

/// Paths of this machine become the same words everywhere, so that another checkout gives the same bytes.
fn moved_paths(inputs: &Inputs<'_>) -> Vec<(PathBuf, &'static str)> {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let cargo = std::env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    // The last one that fits is taken: the target directory is in the checkout.
    vec![
        (cargo, "/cargo"),
        (inputs.root.to_path_buf(), "/ringpost"),
        (inputs.places.target.clone(), "/target"),
    ]
}

fn rustflags(inputs: &Inputs<'_>) -> OsString {
    let mut flags: Vec<OsString> = Vec::new();
    if let Some(own) = std::env::var_os("CARGO_ENCODED_RUSTFLAGS") {
        flags.push(own);
    } else if let Ok(own) = std::env::var("RUSTFLAGS") {
        flags.extend(own.split_whitespace().map(OsString::from));
    }
    for (from, to) in moved_paths(inputs) {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from);
        flag.push("=");
        flag.push(to);
        flags.push(flag);
    }
    flags.join(std::ffi::OsStr::new("\u{1f}"))
}

fn c_flags(inputs: &Inputs<'_>) -> String {
    let mut flags = std::env::var("CFLAGS").unwrap_or_default();
    for (from, to) in moved_paths(inputs) {
        flags.push_str(&format!(" -ffile-prefix-map={}={to}", from.display()));
    }
    flags.trim_start().to_string()
}

/// Puts the layer together and packs it; the archive's path.
pub fn layer(inputs: &Inputs<'_>, programs: &Path) -> Result<PathBuf, String> {
    let staging = inputs.places.work.join("layer");
    places::fresh(&staging)?;
    overlay(&inputs.root.join("image/layer"), &staging)?;
    if inputs.variant == Variant::Debug {
        overlay(&inputs.root.join("image/layer-debug"), &staging)?;
    }
    let bin = staging.join("usr/bin");
    overlay(programs, &bin)?;
    let tool = bin.join("ringpostctl");
    if fs::symlink_metadata(&tool).is_err() {
        symlink(ENGINE, &tool).map_err(|error| format!("{}: {error}", tool.display()))?;
    }
    let share = staging.join("usr/share/ringpost");
    overlay(&inputs.root.join("hw-profiles"), &share.join("hw-profiles"))?;
    inputs.brand.install(&staging)?;
    let release = inputs.brand.os_release(inputs.version, inputs.variant);
    places::write(&staging.join("usr/lib/os-release"), release)?;
    if let Some(keys) = inputs.keys {
        places::copy(&keys.update_public(), &share.join("update.pub"))?;
    }
    for folder in &inputs.wishes.overlay {
        overlay(folder, &staging)?;
    }
    let archive = cpio::of_folder(&staging, inputs.epoch)?;
    // A quick level: the programs are half of it already compressed, and every boot unpacks them.
    let packed = zstd::bulk::compress(&archive, 9).map_err(|error| format!("zstd: {error}"))?;
    let path = inputs.places.work.join("layer.cpio.zst");
    places::write(&path, packed)?;
    Ok(path)
}

/// Copies a tree over another one: folders join, files and links replace.
pub fn overlay(from: &Path, to: &Path) -> Result<(), String> {
    places::make(to)?;
    let told = |error: std::io::Error| format!("{}: {error}", from.display());
    for entry in fs::read_dir(from).map_err(told)? {
        let entry = entry.map_err(told)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(told)?;
        if kind.is_dir() {
            overlay(&source, &target)?;
            continue;
        }
        match fs::remove_file(&target) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("{}: {error}", target.display()));
            }
            _ => {}
        }
        if kind.is_symlink() {
            let points = fs::read_link(&source).map_err(told)?;
            symlink(points, &target).map_err(|error| format!("{}: {error}", target.display()))?;
        } else {
            places::copy(&source, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_among_the_programs() {
        let names = names(&crate::root()).expect("cargo answers");
        assert!(names.contains(&("ringpostd".to_string(), ENGINE.to_string())));
        assert!(names.iter().all(|(package, _)| package != "bench"));
    }

    #[test]
    fn of_cargos_own_folder_the_programs_alone_are_taken() {
        let folder = std::env::temp_dir().join(format!("xtask-pick-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        places::make(&from.join("deps")).expect("made");
        places::make(&to).expect("made");
        assert!(pick(&from, &to).is_err(), "no engine");
        for name in [
            "ringpostd",
            "ringpost-boot",
            "ringpost-boot.d",
            "deps/ringpostd",
            "xtask",
        ] {
            places::write(&from.join(name), "x").expect("written");
        }
        pick(&from, &to).expect("picked");
        let mut names: Vec<_> = fs::read_dir(&to)
            .expect("there")
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["ringpost-boot", "ringpostd"]);
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn the_later_tree_wins_and_links_stay_links() {
        let folder = std::env::temp_dir().join(format!("xtask-overlay-{}", std::process::id()));
        let (below, above, out) = (folder.join("1"), folder.join("2"), folder.join("out"));
        for made in [below.join("d"), above.join("d")] {
            places::make(&made).expect("made");
        }
        symlink("/dev/null", below.join("d/unit")).expect("linked");
        places::write(&above.join("d/unit"), "mine").expect("written");
        symlink("unit", above.join("d/other")).expect("linked");
        overlay(&below, &out).expect("first");
        overlay(&above, &out).expect("second");
        assert_eq!(
            fs::read_to_string(out.join("d/unit")).expect("a file now"),
            "mine"
        );
        assert!(fs::read_link(out.join("d/other")).is_ok_and(|points| points == Path::new("unit")));
        fs::remove_dir_all(&folder).expect("removed");
    }
}
