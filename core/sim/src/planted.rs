//! Faults planted into the engine on purpose, one at a time: does the simulator find them?
//!
//! Each is one patch in `planted/`, with a head that says what it breaks and what is expected to find it. A patch that applies no more is an
//! error that names it: the code it broke has moved, and the patch has to follow. Patches are applied to a copy of the tree, never to the
//! tree itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where a fault is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finder {
    /// Within `limits::PLANTED_SEEDS` seeds.
    Seeds,
    /// Within as many stories of mail that leaves, told alone.
    Outbound,
    /// At some crash point of a scripted run.
    CrashPoints,
    /// Outside the simulator: a test of this crate, by its name.
    Test { of: String, name: String },
    /// By nothing, because it does no harm: why.
    Harmless(String),
}

/// One fault to plant.
#[derive(Debug, Clone)]
pub struct Fault {
    pub name: String,
    pub breaks: String,
    pub invariant: String,
    pub finder: Finder,
    pub patch: PathBuf,
}

/// The root of the source tree that this program was built from.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).expect("core/sim is two below");
    root.to_path_buf()
}

/// Every planted fault, by name. `Err` names the patch whose head is not whole.
pub fn all() -> Result<Vec<Fault>, String> {
    let folder = root().join("core/sim/planted");
    let entries = std::fs::read_dir(&folder).map_err(|fault| format!("{folder:?}: {fault}"))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "patch"))
        .collect();
    paths.sort();
    paths.into_iter().map(fault).collect()
}

/// Reads one patch. `Err`: its head is not whole.
pub fn fault(patch: PathBuf) -> Result<Fault, String> {
    let text = std::fs::read_to_string(&patch).map_err(|fault| format!("{patch:?}: {fault}"))?;
    let name = patch.file_stem().unwrap_or_default().to_string_lossy();
    let name = name.into_owned();
    let said = |word: &str| {
        let begin = format!("# {word}: ");
        let lines = text.lines().filter_map(|line| line.strip_prefix(&begin));
        lines.collect::<Vec<_>>().join(" ")
    };
    let (breaks, invariant, why) = (said("breaks"), said("invariant"), said("why"));
    let found_by = said("finder");
    let finder = match *found_by.split_whitespace().collect::<Vec<_>>() {
        ["seeds"] => Finder::Seeds,
        ["outbound"] => Finder::Outbound,
        ["crash", "points"] => Finder::CrashPoints,
        ["test", of, name] => Finder::Test {
            of: of.to_owned(),
            name: name.to_owned(),
        },
        ["harmless"] if !why.is_empty() => Finder::Harmless(why),
        _ => {
            return Err(format!(
                "planted/{name}.patch: `# finder: {found_by}` is none"
            ));
        }
    };
    if breaks.is_empty() || invariant.is_empty() {
        return Err(format!(
            "planted/{name}.patch: say what it breaks, and which invariant"
        ));
    }
    Ok(Fault {
        name,
        breaks,
        invariant,
        finder,
        patch,
    })
}

impl Fault {
    /// Whether the patch fits the tree at `root`; `Err` says what does not.
    pub fn fits(&self, root: &Path) -> Result<(), String> {
        self.git_apply(root, &["--check"])
    }

    pub fn plant(&self, root: &Path) -> Result<(), String> {
        self.git_apply(root, &[])
    }

    pub fn pull_out(&self, root: &Path) -> Result<(), String> {
        self.git_apply(root, &["--reverse"])
    }

    fn git_apply(&self, root: &Path, how: &[&str]) -> Result<(), String> {
        let mut git = Command::new("git");
        // A tree inside another repository is patched as it lies there.
        git.env("GIT_CEILING_DIRECTORIES", root.parent().unwrap_or(root));
        git.current_dir(root)
            .arg("apply")
            .args(how)
            .arg(&self.patch);
        let output = git.stdin(Stdio::null()).output();
        let output = output.map_err(|fault| format!("git apply cannot be run: {fault}"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!(
            "planted/{}.patch does not apply any more: {}",
            self.name,
            said.trim()
        ))
    }
}
