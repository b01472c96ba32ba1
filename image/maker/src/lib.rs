//! `cargo xtask image`: from this tree to a disk image, a UKI, an SBOM and a manifest.
//!
//! Two layers, so that a change of ours costs seconds: the OS layer (Debian's kernel and userland, built by mkosi from
//! `image/os`, kept in the cache by the hash of what goes in) and the engine layer (our programs, `image/layer`, the brand; a
//! small cpio). `ukify` joins them. All tools but mmdebstrap and python3 come from a Debian 13 tools tree of our own, so that
//! Debian 12 and 13 give the same image.
//!
//! What must hold: the same OS layer, commit, brand and toolchain give the same engine layer and the same unsigned UKI, bit for bit
//! (`repeat.rs` is the check); nothing is written outside the target directory and the cache; a failure says which step, what
//! the tool printed, and what to do.
//!
//! Start reading at `build`; the steps are in the order of its lines.
#![forbid(unsafe_code)]

pub mod addon;
pub mod boot;
pub mod brand;
pub mod cpio;
pub mod digest;
pub mod disk;
pub mod engine;
pub mod enrol;
pub mod keys;
pub mod limits;
pub mod machine;
pub mod os;
pub mod pe;
pub mod places;
pub mod progress;
pub mod repeat;
pub mod sbom;
pub mod sources;
pub mod summary;
pub mod tools;
pub mod uki;

use std::fs;
use std::path::{Path, PathBuf};

use brand::Brand;
use keys::Keys;
use os::Variant;
use places::Places;
use progress::Progress;
use tools::Tools;

/// The arguments of `cargo xtask image`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Wishes {
    /// With a shell and a root login on the serial port; for the laboratory, never for a customer
    #[arg(long)]
    pub debug: bool,
    /// One JSON object per line on standard output instead of text for people
    #[arg(long)]
    pub json: bool,
    /// Version in names and in os-release [default: the workspace's]
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    /// The OEM's folder: brand.toml, logo.txt, ringpost.toml, hw-profiles, root/ (image/README.md)
    #[arg(long, value_name = "DIR")]
    pub brand: Option<PathBuf>,
    /// Files to put over the engine layer; may be given more than once
    #[arg(long, value_name = "DIR")]
    pub overlay: Vec<PathBuf>,
    /// Words to add to the kernel's command line (isolation of a hardware profile, for instance)
    #[arg(long, value_name = "WORDS")]
    pub cmdline: Option<String>,
    /// A hardware profile whose kernel arguments come along as an addon beside the UKI; needs --machine
    #[arg(long, value_name = "NAME", requires = "machine")]
    pub profile: Option<String>,
    /// The machine that --profile is for: words like "cpus=32 nodes=2 disk_node=1 nic_node=0", or a box's boot.json
    #[arg(long, value_name = "MACHINE", requires = "profile")]
    pub machine: Option<String>,
    /// Keys made by `cargo xtask keys` [default: the keys at the default place, if there are any]
    #[arg(long, value_name = "DIR")]
    pub keys: Option<PathBuf>,
    /// Do not sign, even if there are keys
    #[arg(long, conflicts_with = "keys")]
    pub unsigned: bool,
    /// Fetch today's Debian packages and build the OS layer again
    #[arg(long)]
    pub refresh: bool,
    /// Build the engine layer and the UKI a second time and compare every byte
    #[arg(long)]
    pub repeat: bool,
    /// Use the programs in this folder instead of building them
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
    /// Where the output goes [default: image, in cargo's target directory]
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// What was built, for those who boot it.
#[derive(Debug, Clone)]
pub struct Image {
    pub raw: PathBuf,
    /// The kernel alone, for a quick probe of the accelerator.
    pub linux: PathBuf,
    /// OVMF variables with our keys enrolled; only of a signed image.
    pub vars: Option<PathBuf>,
}

/// Everything that goes into one UKI.
pub struct Inputs<'a> {
    pub root: &'a Path,
    pub wishes: &'a Wishes,
    /// Where things are kept and built.
    pub places: &'a Places,
    pub progress: &'a Progress,
    pub tools: &'a Tools,
    /// Names and files of the brand.
    pub brand: &'a Brand,
    /// What the UKI is signed with; `None`: it is not signed.
    pub keys: Option<&'a Keys>,
    /// As slots are named by.
    pub version: &'a str,
    /// For customers, or with a root login.
    pub variant: Variant,
    /// Seconds since 1970 that stand for "now" in everything of ours.
    pub epoch: u64,
}

/// The repository: two floors above this crate's manifest.
pub fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest
        .ancestors()
        .nth(2)
        .expect("image/maker lies two floors below the root")
        .to_path_buf()
}

/// The cargo that runs us, so that toolchain overrides are kept.
fn cargo_path() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".into())
}

/// As `build`, without the answer.
pub fn run(root: &Path, wishes: &Wishes) -> Result<(), String> {
    build(root, wishes).map(|_| ())
}

/// Every step from the tools to the files, in order. The first one that fails ends it.
pub fn build(root: &Path, wishes: &Wishes) -> Result<Image, String> {
    let places = Places::of(root, wishes.output.as_deref())?;
    let progress = Progress::begin(wishes.json, &places.logs)?;
    let brand = Brand::read(root, wishes.brand.as_deref())?;
    let keys = keys_of(wishes)?;
    let version = match &wishes.version {
        Some(version) => checked_version(version)?,
        None => workspace_version(root)?,
    };
    let variant = if wishes.debug {
        Variant::Debug
    } else {
        Variant::Product
    };
    let tools = progress.step("tools", || Tools::ready(&places, &progress))?;
    let inputs = Inputs {
        root,
        wishes,
        places: &places,
        progress: &progress,
        tools: &tools,
        brand: &brand,
        keys: keys.as_ref(),
        version: &version,
        variant,
        epoch: commit_time(root),
    };
    let os = progress.step("OS layer", || os::ready(&inputs))?;
    let programs = progress.step("programs", || engine::programs(&inputs))?;
    let layer = progress.step("engine layer", || engine::layer(&inputs, &programs))?;
    let name = match variant {
        Variant::Product => format!("ringpost_{version}"),
        Variant::Debug => format!("ringpost_{version}_debug"),
    };
    let uki = progress.step("UKI", || uki::join(&inputs, &os, &layer, &name))?;
    if wishes.repeat {
        progress.step("the same again", || {
            repeat::check(&inputs, &os, &programs, &layer)
        })?;
    }
    let addon = match (&wishes.profile, &wishes.machine) {
        (Some(profile), Some(machine)) => Some(progress.step("addon", || {
            addon::make(&inputs, &programs, profile, machine)
        })?),
        _ => None,
    };
    let files = disk::Files {
        uki: &uki,
        addon: addon.as_deref(),
    };
    let raw = progress.step("disk image", || disk::write(&inputs, &files, &name))?;
    let vars = match inputs.keys {
        Some(keys) => {
            Some(progress.step("firmware variables", || keys::enrolled_vars(&inputs, keys))?)
        }
        None => None,
    };
    progress.step("SBOM", || sbom::write(&inputs, &os, &name))?;
    let summary = progress.step("manifest", || {
        summary::write(&inputs, &os, &name, addon.as_deref())
    })?;
    progress.done(&summary);
    Ok(Image {
        raw,
        linux: os.file("linux"),
        vars,
    })
}

/// The keys asked for, or those at the default place, or none.
fn keys_of(wishes: &Wishes) -> Result<Option<Keys>, String> {
    if wishes.unsigned {
        return Ok(None);
    }
    match &wishes.keys {
        Some(folder) => Keys::open(folder).map(Some),
        None => {
            let folder = keys::default_folder()?;
            if folder.join(keys::CERTIFICATE).exists() {
                Keys::open(&folder).map(Some)
            } else {
                Ok(None)
            }
        }
    }
}

/// The version in the workspace's manifest.
fn workspace_version(root: &Path) -> Result<String, String> {
    let path = root.join("Cargo.toml");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let table: toml::Table = text
        .parse()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    table["workspace"]["package"]["version"]
        .as_str()
        .map(String::from)
        .ok_or_else(|| format!("{}: no workspace.package.version", path.display()))
}

/// A version as slots are named by: MAJOR.MINOR.PATCH (`appliance/update` knows no others).
fn checked_version(version: &str) -> Result<String, String> {
    let fits = |part: &str| {
        !part.is_empty()
            && part.len() <= limits::VERSION_PART_DIGITS_MAX
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let parts: Vec<&str> = version.split('.').collect();
    if parts.len() == 3 && parts.iter().all(|part| fits(part)) {
        Ok(version.to_string())
    } else {
        Err(format!(
            "--version {version}: write MAJOR.MINOR.PATCH, as in 0.2.0"
        ))
    }
}

/// The time of the commit that is checked out; 0 outside of git.
fn commit_time(root: &Path) -> u64 {
    std::process::Command::new("git")
        .current_dir(root)
        .args(["log", "-1", "--format=%ct"])
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_would_break_a_file_name_is_refused() {
        for good in ["0.1.0", "12.0.345"] {
            assert_eq!(checked_version(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "v1.0.0",
            "1.0",
            "1.0.0+3",
            "1/2.0.0",
            "1.0.01",
            "1.0.0-rc1",
        ] {
            assert!(checked_version(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_workspace_has_a_version() {
        let version = workspace_version(&crate::root()).expect("readable");
        assert_eq!(checked_version(&version), Ok(version.clone()));
    }
}
