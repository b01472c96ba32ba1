//! Images with a hardware profile's kernel arguments: the image under test, with an addon beside its UKI.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::failure::{Doing, Failure, Told};
use crate::image::Image;
use crate::tool::Tool;

/// Makes one in `directory` from the same programs and OS layer, by `cargo xtask image --profile`.
pub fn make(image: &Image, directory: &Path, profile: &str, machine: &str) -> Told<Image> {
    let began = Instant::now();
    let output: PathBuf = directory.join(format!("image-{profile}"));
    let programs = programs(image)?;
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let told = Command::new(cargo)
        .current_dir(root())
        .args(["run", "--quiet", "--locked", "-p", "xtask", "--", "image"])
        .args(["--unsigned", "--version", &image.version])
        .args(["--profile", profile, "--machine", machine])
        .arg("--programs")
        .arg(programs)
        .arg("--output")
        .arg(&output)
        .output()
        .doing("cargo xtask image")?;
    let made = Image::find(&output).filter(|_| told.status.success());
    let made = made.ok_or_else(|| {
        let said = String::from_utf8_lossy(&told.stderr);
        Failure::new(format!(
            "cargo xtask image --profile {profile}: {}",
            said.trim()
        ))
    })?;
    eprintln!(
        "an image with the arguments of {profile} in {} s",
        began.elapsed().as_secs()
    );
    Ok(made)
}

/// The image's own `ringpostctl`, which runs here, too; with its certificates in `directory`.
pub fn tool(image: &Image, directory: &Path) -> Told<Tool> {
    let program = directory.join("ringpostctl");
    let daemon = std::path::absolute(programs(image)?.join("ringpostd")).doing("its path")?;
    symlink(&daemon, &program).doing(program.display())?;
    Tool::with(&program, &directory.join("admin"))
}

/// The programs that are in the image: they run here, too.
fn programs(image: &Image) -> Told<&Path> {
    image.programs.as_deref().ok_or_else(|| {
        Failure::new(
            "the image's programs are not beside it (work/programs): build it by `cargo xtask image`",
        )
    })
}

/// The source tree.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(Path::new(".")).to_owned()
}
