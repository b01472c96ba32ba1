//! Signed images for stories about updates: the one that a box runs, a newer one, and a newer one that takes no mail.
//!
//! They are variants of the image under test: the same programs and OS layer under other version numbers, signed with keys
//! made for the run. `cargo xtask image` makes each in some ten seconds.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::failure::{Doing, Failure, Told};
use crate::image::Image;
use crate::keep::Keep;
use crate::tool::Tool;

/// What the box runs at first.
pub const BASE: &str = "1.0.0";
/// A good update.
pub const NEXT: &str = "1.1.0";
/// An update that takes no mail.
pub const BAD: &str = "1.2.0";

pub struct Releases {
    pub base: Image,
    pub next: PathBuf,
    pub bad: PathBuf,
    /// Of an administrator whom the boxes believe.
    pub tool: Tool,
    /// Outside the tree and the build directory: `cargo xtask keys` refuses to put keys there.
    keys: tempfile::TempDir,
    directory: Keep,
}

impl Releases {
    /// `broken` is what the bad update's daemon reads in place of its settings.
    pub fn make(image: &Image, root: &Path, directory: &Path, broken: &str) -> Told<Releases> {
        let began = Instant::now();
        let keys = tempfile::Builder::new()
            .prefix("ringpost-keys")
            .tempdir()
            .doing("a directory for keys")?;
        let directory = Keep::new(directory, "releases")?;
        let maker = Maker {
            root,
            keys: keys.path().join("keys"),
            directory: directory.path(),
        };
        maker.xtask(&["keys", "--to", &text(&maker.keys)])?;
        let base = maker.image(BASE, image.programs.as_deref(), None)?;
        let base = Image::find(&base)
            .ok_or_else(|| Failure::new(format!("there is no image in {}", base.display())))?;
        let programs = image
            .programs
            .as_deref()
            .or(base.programs.as_deref())
            .ok_or_else(|| Failure::new("`cargo xtask image` left no programs"))?;
        let next = maker.image(NEXT, Some(programs), None)?;
        let overlay = directory.path().join("overlay");
        break_the_engine(&overlay, broken)?;
        let bad = maker.image(BAD, Some(programs), Some(&overlay))?;
        // The programs run here too: called as `ringpostctl` the daemon is the tool.
        let program = directory.path().join("ringpostctl");
        let daemon = fs::canonicalize(programs.join("ringpostd")).doing("ringpostd")?;
        symlink(daemon, &program).doing(program.display())?;
        let certificates = keys.path().join("admin");
        fs::create_dir(&certificates).doing(certificates.display())?;
        let tool = Tool::with(&program, &certificates)?;
        let releases = Releases {
            next: next.join(format!("ringpost_{NEXT}.efi")),
            bad: bad.join(format!("ringpost_{BAD}.efi")),
            tool,
            base,
            keys,
            directory,
        };
        eprintln!("three signed images in {} s", began.elapsed().as_secs());
        Ok(releases)
    }

    /// Where stories may put files of their own.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The private key of updates, as minisign writes it.
    pub fn update_key(&self) -> Told<String> {
        let path = self.keys.path().join("keys/update.key");
        fs::read_to_string(&path).doing(path.display())
    }
}

struct Maker<'a> {
    root: &'a Path,
    keys: PathBuf,
    directory: &'a Path,
}

impl Maker<'_> {
    /// The directory that holds the image of this version.
    fn image(
        &self,
        version: &str,
        programs: Option<&Path>,
        overlay: Option<&Path>,
    ) -> Told<PathBuf> {
        let output = self.directory.join(version);
        let (keys, to) = (text(&self.keys), text(&output));
        let mut words = vec![
            "image",
            "--keys",
            &keys,
            "--version",
            version,
            "--output",
            &to,
        ];
        let (programs, overlay) = (programs.map(text), overlay.map(text));
        if let Some(programs) = &programs {
            words.extend(["--programs", programs]);
        }
        if let Some(overlay) = &overlay {
            words.extend(["--overlay", overlay]);
        }
        self.xtask(&words)?;
        Ok(output)
    }

    fn xtask(&self, words: &[&str]) -> Told<()> {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let output = Command::new(cargo)
            .current_dir(self.root)
            .args(["run", "--quiet", "--locked", "-p", "xtask", "--"])
            .args(words)
            .output()
            .doing("cargo xtask")?;
        if output.status.success() {
            return Ok(());
        }
        Err(Failure::new(format!(
            "cargo xtask {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        )))
    }
}

/// The daemon starts, opens the volume, says READY, and nobody can hand it a message.
fn break_the_engine(overlay: &Path, settings: &str) -> Told<()> {
    let unit = overlay.join("usr/lib/systemd/system/ringpostd.service.d");
    let share = overlay.join("usr/share/ringpost");
    for directory in [&unit, &share] {
        fs::create_dir_all(directory).doing(directory.display())?;
    }
    let unit = unit.join("90-broken.conf");
    fs::write(
        &unit,
        "[Service]\nExecStart=\nExecStart=/usr/bin/ringpostd --config /usr/share/ringpost/broken.toml\n",
    )
    .doing(unit.display())?;
    let share = share.join("broken.toml");
    fs::write(&share, settings).doing(share.display())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
