//! Builds the simulator with one planted fault after another, and looks whether it finds them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use crate::limits::PLANTED_SEEDS;
use crate::planted::{self, Fault, Finder};

/// Crates in which faults are planted, and what is built anew with them.
const QUICKLY_BUILT: [&str; 10] = [
    "device", "volume", "store", "mailbox", "queue", "inbound", "storage", "client", "spool", "sim",
];

/// What became of one fault.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub fault: Fault,
    /// What found it, and where: a seed, a crash point, a test. `None`: nothing did.
    pub found: Option<Found>,
    /// Of the runs, without the build.
    pub seconds: f64,
}

#[derive(Debug, Clone)]
pub struct Found {
    pub by: String,
    /// After how many seeds, where seeds found it.
    pub seeds: Option<u64>,
    /// What the checker said, its first line.
    pub story: String,
}

impl Verdict {
    /// Found where something has to find it, and only there.
    pub fn is_right(&self) -> bool {
        let harmless = matches!(self.fault.finder, Finder::Harmless(_));
        self.found.is_some() != harmless
    }
}

/// Plants every fault (or the one called `only`) and hands each verdict over as it comes. `Err`: it cannot be done, in words.
pub fn run(only: Option<&str>, mut tell: impl FnMut(&Verdict)) -> Result<Vec<Verdict>, String> {
    let mut faults = planted::all()?;
    if let Some(only) = only {
        faults.retain(|fault| fault.name == only);
        if faults.is_empty() {
            return Err(format!("there is no planted/{only}.patch"));
        }
    }
    let root = planted::root();
    for fault in &faults {
        fault.fits(&root)?;
    }
    let place = place(&root);
    let tree = place.join("tree");
    copy_tree(&root, &tree)?;
    let (mut verdicts, mut untried) = (Vec::new(), Vec::new());
    for fault in faults {
        fault.plant(&tree)?;
        let verdict = look_for(fault.clone(), &place, &tree);
        fault.pull_out(&tree)?;
        match verdict {
            Ok(verdict) => {
                tell(&verdict);
                verdicts.push(verdict);
            }
            // The others are looked for all the same.
            Err(why) => {
                eprintln!("{why}");
                untried.push(fault.name);
            }
        }
    }
    match untried.is_empty() {
        true => Ok(verdicts),
        false => Err(format!("not tried: {}", untried.join(", "))),
    }
}

/// Copy of the tree and its build, beside the other builds.
fn place(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| root.join("target"), |named| root.join(named));
    target.join("planted")
}

/// Makes `tree` equal to `root`, as far as git would keep it. Files that are the same are left alone, so that cargo builds only what changed.
fn copy_tree(root: &Path, tree: &Path) -> Result<(), String> {
    let mut git = Command::new("git");
    git.current_dir(root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let listed = finished(&mut git)?;
    let listed = String::from_utf8_lossy(&listed.stdout);
    let names: BTreeSet<&Path> = listed.split_terminator('\0').map(Path::new).collect();
    for name in &names {
        let (from, to) = (root.join(name), tree.join(name));
        let Ok(bytes) = std::fs::read(&from) else {
            continue; // deleted, or a link: nothing that is built
        };
        if std::fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        let folder = to.parent().expect("it is in the tree");
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&to, bytes));
        written.map_err(|fault| format!("{to:?}: {fault}"))?;
    }
    remove_others(tree, tree, &names)
}

/// Files under `folder` that the tree does not have any more.
fn remove_others(tree: &Path, folder: &Path, names: &BTreeSet<&Path>) -> Result<(), String> {
    let entries = std::fs::read_dir(folder).map_err(|fault| format!("{folder:?}: {fault}"))?;
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.strip_prefix(tree).expect("it is in the tree");
        if path.is_dir() {
            remove_others(tree, &path, names)?;
        } else if !names.contains(name) {
            std::fs::remove_file(&path).map_err(|fault| format!("{path:?}: {fault}"))?;
        }
    }
    Ok(())
}

fn look_for(fault: Fault, place: &Path, tree: &Path) -> Result<Verdict, String> {
    let began = Instant::now();
    if let Finder::Test { of, name } = &fault.finder {
        let mut test = cargo(place, tree);
        let test = test.args(["test", "--package", of, name]);
        let output = test.output().map_err(|fault| format!("cargo: {fault}"))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !said.contains("test result") {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{}: the test is not built\n{why}", fault.name));
        }
        let found = (!output.status.success()).then(|| Found {
            by: format!("the test {name} of {of}"),
            seeds: None,
            story: String::new(),
        });
        let seconds = began.elapsed().as_secs_f64();
        return Ok(Verdict {
            fault,
            found,
            seconds,
        });
    }
    let mut build = cargo(place, tree);
    build.args(["build", "--quiet", "--release", "--package", "sim"]);
    // What is built anew for each fault is built fast: it runs for seconds.
    for quick in QUICKLY_BUILT {
        build.args([
            "--config",
            &format!("profile.release.package.{quick}.opt-level=1"),
        ]);
    }
    finished(build.args(["--config", "profile.release.incremental=true"]))
        .map_err(|why| format!("{} does not build: {why}", fault.name))?;
    let program = place.join("build/release/sim");
    let began = Instant::now();
    let seeds = PLANTED_SEEDS.to_string();
    let mut how = vec!["--seeds", &seeds, "--from", "0", "--stop-after", "1"];
    let is_outbound = fault.finder == Finder::Outbound;
    how.extend(is_outbound.then_some("--outbound"));
    let mut found = hunt(&program, &how)?;
    if found.is_none() && !is_outbound {
        found = hunt(&program, &["--exhaustive"])?;
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(Verdict {
        fault,
        found,
        seconds,
    })
}

/// One run of the simulator with the fault in it.
fn hunt(program: &Path, how: &[&str]) -> Result<Option<Found>, String> {
    let mut run = Command::new(program);
    let run = run.args(how).arg("--json").env("RUST_BACKTRACE", "0");
    let output = run
        .output()
        .map_err(|fault| format!("{program:?}: {fault}"))?;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let json = said
        .lines()
        .next()
        .and_then(|line| serde_json::from_str(line).ok());
    // A run that is killed (out of memory, out of stack) has found something too.
    let json: serde_json::Value = json.unwrap_or_default();
    let story = json["story"].as_str().unwrap_or("the simulator died");
    let by_seeds = how[0] == "--seeds";
    Ok(Some(Found {
        by: if by_seeds { "seeds" } else { "crash points" }.to_owned(),
        seeds: json["seed"]
            .as_u64()
            .filter(|_| by_seeds)
            .map(|seed| seed + 1),
        story: story.lines().next().unwrap_or_default().to_owned(),
    }))
}

fn cargo(place: &Path, tree: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", place.join("build"));
    // A fault changes a few functions. The variable, which builds that happen once are told to set to 0, stands above the profile.
    cargo.env("CARGO_INCREMENTAL", "1");
    cargo.env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    cargo
}

fn finished(command: &mut Command) -> Result<Output, String> {
    let output = command.output();
    let output = output.map_err(|fault| format!("{command:?}: {fault}"))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
