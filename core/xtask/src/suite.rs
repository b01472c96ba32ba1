//! What `check` and `test` run, in order. A failed step does not stop the later ones: one run tells everything.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::advisories::{self, Means};
use crate::shell::Beside;
use crate::shell::{self, Count};
use crate::{house, licences, setup};

/// Without arguments: what every change must pass, in at most 15 minutes on two cores once the crates are fetched.
const STEPS: &[&str] = &["check", "unit", "sim", "fuzz", "real"];
/// What `--all` adds: as many seeds again, the bootable image, and guests that boot it.
const STEPS_OF_ALL: &[&str] = &["seeds", "image", "qemu"];
/// Run only when they are named: one needs a desktop's packages, the other one npm's.
const STEPS_BY_NAME: &[&str] = &["thunderbird", "imapflow"];

/// Format, clippy, licences, house rules.
pub fn check(root: &Path) -> Result<(), String> {
    let mut tally = Tally::default();
    check_steps(root, &mut tally);
    tally.close(root)
}

/// The usual steps, all of them, or only the named ones. Names may be joined by commas.
pub fn test(root: &Path, all: bool, only: &[String]) -> Result<(), String> {
    let only: Vec<&str> = only.iter().flat_map(|word| word.split(',')).collect();
    let known = [STEPS, STEPS_OF_ALL, STEPS_BY_NAME].concat();
    if let Some(unknown) = only.iter().find(|step| !known.contains(step)) {
        return Err(format!(
            "no step '{unknown}'; there are: {}",
            known.join(", ")
        ));
    }
    let wanted = |step: &str| {
        if only.is_empty() {
            STEPS.contains(&step) || (all && STEPS_OF_ALL.contains(&step))
        } else {
            only.contains(&step)
        }
    };
    let mut tally = Tally::default();
    if wanted("check") {
        check_steps(root, &mut tally);
    }
    if ["unit", "sim", "fuzz", "real", "seeds", "qemu"]
        .iter()
        .chain(STEPS_BY_NAME)
        .any(|step| wanted(step))
    {
        // Once, for all of them, and always of the whole workspace: building a part of it turns other features of shared
        // dependencies on, and so compiles those anew. Benchmarks are not run here: that clippy has read them is enough.
        let everything = [
            "build",
            "--workspace",
            "--lib",
            "--bins",
            "--tests",
            "--locked",
        ];
        tally.command("build", &mut cargo(root, &everything));
    }
    // Tests wait for each other now and then, real processes most of all, and seeds only compute: side by side, and seeds give way.
    let mut seeds = wanted("sim").then(|| simulator(root, &["--seeds", "1000"]));
    let beside = match seeds.take_if(|_| wanted("unit") || wanted("real")) {
        Some(seeds) => tally.begin(root, &seeds),
        None => None,
    };
    if wanted("unit") {
        tally.counted("unit tests", &mut tests(root, Tests::Unit));
    }
    if wanted("sim") {
        tally.command(
            "simulator: every crash point",
            &mut simulator(root, &["--exhaustive"]),
        );
    }
    if wanted("fuzz") {
        tally.command("fuzz smoke", &mut built(root, "fuzz", &["smoke"]));
    }
    if wanted("real") {
        tally.timed("packages for the real-process tests", || {
            setup::run(false, false)
        });
        tally.counted("real processes", &mut tests(root, Tests::Real));
    }
    if let Some(mut seeds) = seeds {
        tally.command(SEEDS, &mut seeds);
    }
    if let Some(beside) = beside {
        tally.timed(SEEDS_AFTER, || beside.end());
    }
    if wanted("seeds") {
        let more = ["--from", "1000", "--seeds", "1000"];
        tally.command("simulator: 1,000 seeds more", &mut simulator(root, &more));
    }
    for step in STEPS_BY_NAME.iter().filter(|step| wanted(step)) {
        let packages = match *step {
            "thunderbird" => setup::for_thunderbird,
            _ => setup::for_imapflow,
        };
        tally.timed(&format!("packages for {step}"), packages);
        let mut command = cargo(root, &["test", "--locked"]);
        command.args(["--workspace", "--test", REAL, step]);
        command.args(["--", "--ignored", "--nocapture"]);
        tally.counted(&format!("a day with {step}"), &mut command);
    }
    if wanted("image") || wanted("qemu") {
        tally.timed("packages for guests", setup::for_boot);
        // Always anew: an image of yesterday would show yesterday's behaviour.
        // By its place, not by `current_exe`: the build above may have put another program there.
        tally.timed("packages for the image", setup::for_image);
        tally.command("image", &mut built(root, "image-maker", &["image"]));
    }
    if wanted("qemu") {
        let tool = built(root, "ringpostctl", &[]);
        let mut stories = built(root, "qemu-tests", &[]);
        stories.env("RINGPOSTCTL", tool.get_program());
        tally.counted("stories in QEMU", &mut stories);
    }
    tally.close(root)
}

/// What can be checked without running anything of ours.
fn check_steps(root: &Path, tally: &mut Tally) {
    tally.command("format", &mut cargo(root, &["fmt", "--all", "--check"]));
    tally.command(
        "clippy",
        &mut cargo(
            root,
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--locked",
                "--",
                "-D",
                "warnings",
            ],
        ),
    );
    tally.timed("house rules", || house_rules(root));
    tally.timed("licences", || listed(licences::complaints(root)));
    deny(root, tally);
}

/// The tidy test. Mentions are printed and fail nothing.
fn house_rules(root: &Path) -> Result<(), String> {
    let findings = house::inspect(root)?;
    for mention in &findings.mentions {
        eprintln!("mention: {mention}");
    }
    listed(Ok(findings.complaints))
}

fn listed(complaints: Result<Vec<String>, String>) -> Result<(), String> {
    let complaints = complaints?;
    if complaints.is_empty() {
        Ok(())
    } else {
        Err(format!("\n  {}", complaints.join("\n  ")))
    }
}

/// cargo-deny, as far as this machine can. What stays unchecked is printed here and once more before the closing line.
fn deny(root: &Path, tally: &mut Tally) {
    let means = advisories::means(root);
    if !matches!(means, Means::NoTool { .. }) {
        let fixed = ["deny", "--locked", "check", "licenses", "bans", "sources"];
        tally.command("cargo deny", &mut cargo(root, &fixed));
    }
    if means == Means::All {
        let fresh = ["deny", "--offline", "check", "advisories"]; // with what was fetched just now
        tally.command("advisories", &mut cargo(root, &fresh));
    }
    match advisories::verdict(&means, advisories::in_ci()) {
        Ok(None) => {}
        Ok(Some(line)) => {
            eprintln!("{line}");
            tally.unchecked.push(line);
        }
        Err(why) => tally.timed("cargo deny", || Err(why)),
    }
}

/// The cargo that runs us, in the root of the tree.
fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(shell::cargo_path());
    command.current_dir(root).args(arguments);
    command
}

/// A program of the step `build`: it is beside this one, wherever cargo's target folder is.
fn built(root: &Path, name: &str, arguments: &[&str]) -> Command {
    let here = std::env::current_exe().unwrap_or_else(|_| root.join("target/debug/xtask"));
    let mut command = Command::new(here.with_file_name(name));
    command.current_dir(root).args(arguments);
    command
}

/// The simulator. Its allocator keeps what it got from the kernel: each seed asks for the same again, and giving back and faulting in was a twentieth of the time.
fn simulator(root: &Path, arguments: &[&str]) -> Command {
    let mut command = built(root, "sim", arguments);
    command.env("MIMALLOC_PURGE_DELAY", "-1");
    command
}

/// The name of the seeds in the table of costs.
const SEEDS: &str = "simulator: 1,000 seeds";
/// What is left of them when the steps that they ran beside are over.
const SEEDS_AFTER: &str = "simulator: 1,000 seeds, the rest of them";

/// The test program that starts daemons.
const REAL: &str = "real";

/// The two groups of tests. Those that start processes run by themselves.
#[derive(Clone, Copy, PartialEq)]
enum Tests {
    /// Every test program but `REAL`.
    Unit,
    /// Only `REAL`.
    Real,
}

/// nextest when it is there, else cargo's own runner.
fn tests(root: &Path, which: Tests) -> Command {
    if shell::found("cargo-nextest") {
        let filter = match which {
            Tests::Unit => format!("not binary({REAL})"),
            Tests::Real => format!("binary({REAL})"),
        };
        let run = [
            "nextest",
            "run",
            "--locked",
            "--no-fail-fast",
            "--workspace",
        ];
        let mut command = cargo(root, &run);
        command.args(["-E", &filter]);
        if which == Tests::Real {
            // They wait for daemons more than they compute.
            command.args(["--test-threads", "3"]);
        }
        return command;
    }
    let mut command = cargo(root, &["test", "--locked", "--no-fail-fast", "--workspace"]);
    match which {
        // Test programs by name: cargo has no way to say "all but one".
        Tests::Unit => command.args(["--lib", "--bins"]).args(OTHER_TESTS),
        Tests::Real => command.args(["--test", REAL]),
    };
    command
}

/// The folders and files below `tests/` of our packages, but `REAL`. A test holds it to the tree.
const OTHER_TESTS: &[&str] = &[
    "--test",
    "commands",
    "--test",
    "evaluate",
    "--test",
    "largest_id",
    "--test",
    "own",
    "--test",
    "pipelined",
    "--test",
    "relay",
    "--test",
    "replies_page",
    "--test",
    "sieve",
    "--test",
    "slapd",
    "--test",
    "smoke",
    "--test",
    "transcripts",
    "--test",
    "volume",
    "--test",
    "wire",
];

/// Counts what passed and failed, and remembers why, and what each step cost.
struct Tally {
    begin: Instant,
    count: Count,
    /// Names of steps that failed.
    failures: Vec<String>,
    /// What could not be looked at here, as a line each.
    unchecked: Vec<String>,
    /// One for each step, in their order.
    costs: Vec<Cost>,
}

/// What one step took and found.
struct Cost {
    step: String,
    /// Building included.
    took: Duration,
    /// What passed and failed in it.
    count: Count,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            begin: Instant::now(),
            count: Count::default(),
            failures: Vec::new(),
            unchecked: Vec::new(),
            costs: Vec::new(),
        }
    }
}

impl Tally {
    /// Starts the seeds beside what follows. `None`: they could not be started, which counts as a failure.
    fn begin(&mut self, root: &Path, command: &Command) -> Option<Beside> {
        match Beside::begin(command, &root.join("target/seeds.log")) {
            Ok(beside) => Some(beside),
            Err(why) => {
                self.timed(SEEDS, || Err(why));
                None
            }
        }
    }

    /// A step without tests of its own: it counts as one.
    fn timed(&mut self, name: &str, step: impl FnOnce() -> Result<(), String>) {
        let begin = Instant::now();
        let outcome = step();
        let mut count = Count::default();
        match outcome {
            Ok(()) => {
                count.passed = 1;
                eprintln!("ok      {name}");
            }
            Err(reason) => {
                count.failed = 1;
                eprintln!("FAILED  {name}: {reason}");
                self.failures.push(name.to_string());
            }
        }
        self.note(name, begin.elapsed(), count);
    }

    /// A program as a step; its output goes to the terminal.
    fn command(&mut self, name: &str, command: &mut Command) {
        eprintln!("--- {name}");
        self.timed(name, || shell::run(command));
    }

    /// A test runner: its own tests are counted; it counts as one failure when it fails without naming one.
    fn counted(&mut self, name: &str, command: &mut Command) {
        eprintln!("--- {name}");
        let begin = Instant::now();
        let (mut count, fine) = shell::run_counted(command).unwrap_or_else(|reason| {
            eprintln!("{reason}");
            (Count::default(), false)
        });
        if !fine {
            count.failed += u64::from(count.failed == 0);
            self.failures.push(name.to_string());
            eprintln!("FAILED  {name}");
        }
        self.note(name, begin.elapsed(), count);
    }

    /// Adds a step to the tally.
    fn note(&mut self, step: &str, took: Duration, count: Count) {
        self.count.passed += count.passed;
        self.count.failed += count.failed;
        self.costs.push(Cost {
            step: step.to_string(),
            took,
            count,
        });
    }

    /// Prints what each step cost, then the closing line. Nothing may be printed to standard output after it.
    fn close(self, root: &Path) -> Result<(), String> {
        let table = table(&self.costs, self.begin.elapsed());
        eprint!("\n{table}");
        // For whoever compares two runs; a tree that cannot be written to has said so already.
        let _ = std::fs::write(root.join("target/test-costs.md"), &table);
        for line in &self.unchecked {
            eprintln!("{line}");
        }
        for failure in &self.failures {
            eprintln!("failed: {failure}");
        }
        println!("{} passed, {} failed", self.count.passed, self.count.failed);
        // The line above says it all; the exit code must agree with it.
        if self.count.failed == 0 {
            Ok(())
        } else {
            std::process::exit(1)
        }
    }
}

/// One row for each step, as Markdown: seconds (building included), what passed and failed.
fn table(costs: &[Cost], took: Duration) -> String {
    let mut text = String::from("| step | seconds | passed | failed |\n|---|---:|---:|---:|\n");
    for cost in costs {
        text.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            cost.step,
            cost.took.as_secs(),
            cost.count.passed,
            cost.count.failed
        ));
    }
    text.push_str(&format!("| all of it | {} | | |\n", took.as_secs()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_a_row_and_the_whole_stands_below() {
        let cost = |step: &str, seconds, passed| Cost {
            step: step.into(),
            took: Duration::from_secs(seconds),
            count: Count { passed, failed: 0 },
        };
        let costs = [cost("unit tests", 90, 700), cost("fuzz smoke", 30, 1)];
        let shown = table(&costs, Duration::from_secs(121));
        assert!(shown.contains("| unit tests | 90 | 700 | 0 |"));
        assert!(shown.ends_with("| all of it | 121 | | |\n"));
    }

    /// Without nextest a test program that is missing in the list would never run.
    #[test]
    fn every_test_program_is_in_the_list() {
        let root = crate::root();
        let mut found = vec![REAL.to_string()];
        found.extend(
            OTHER_TESTS
                .iter()
                .skip(1)
                .step_by(2)
                .map(|name| name.to_string()),
        );
        found.sort();
        let mut there = Vec::new();
        for floor in ["core", "appliance", "."] {
            for package in std::fs::read_dir(root.join(floor))
                .expect("a folder")
                .flatten()
            {
                let tests = package.path().join("tests");
                if !package.path().join("Cargo.toml").is_file() || !tests.is_dir() {
                    continue;
                }
                for entry in std::fs::read_dir(tests).expect("a folder").flatten() {
                    let path = entry.path();
                    let program = path.join("main.rs").is_file()
                        || path.extension().is_some_and(|ending| ending == "rs");
                    if program {
                        let name = path.file_stem().expect("a name").to_string_lossy();
                        there.push(name.into_owned());
                    }
                }
            }
        }
        there.sort();
        // Several packages may have one of a name.
        there.dedup();
        assert_eq!(found, there);
    }

    #[test]
    fn an_unknown_step_is_refused_with_the_list() {
        let refused = test(Path::new("."), false, &["unit,units".into()]).unwrap_err();
        assert!(
            refused.contains("no step 'units'") && refused.contains("qemu"),
            "{refused}"
        );
    }
}
