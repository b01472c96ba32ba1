//! What `check` and `test` run, in order. A failed step does not stop the later ones: one run tells everything.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::shell::{self, Count};
use crate::{house, licences, setup};

const STEPS: &[&str] = &["check", "unit", "sim", "fuzz", "real", "qemu"];
/// Run only when named: what it needs is a desktop.
const STEP_BY_NAME: &str = "thunderbird";

/// Format, clippy, licences, house rules.
pub fn check(root: &Path) -> Result<(), String> {
    let mut tally = Tally::default();
    check_steps(root, &mut tally);
    tally.close()
}

/// Everything, or only the named steps.
pub fn test(root: &Path, only: &[String]) -> Result<(), String> {
    let known = |step: &&String| STEPS.contains(&step.as_str()) || *step == STEP_BY_NAME;
    if let Some(unknown) = only.iter().find(|step| !known(step)) {
        return Err(format!(
            "no step '{unknown}'; there are: {}, {STEP_BY_NAME}",
            STEPS.join(", ")
        ));
    }
    let wanted = |step: &str| only.is_empty() || only.iter().any(|word| word == step);
    let mut tally = Tally::default();
    if wanted("check") {
        check_steps(root, &mut tally);
    }
    if wanted("unit") {
        tally.counted(
            "unit tests",
            &mut runner(root, &["--workspace", "--exclude", "ringpostd"]),
        );
        tally.counted(
            "unit tests of the daemon",
            &mut runner(root, &["-p", "ringpostd", "--bins"]),
        );
    }
    if wanted("sim") {
        tally.command(
            "simulator: every crash point",
            &mut program(root, "sim", &["--exhaustive"]),
        );
        tally.command(
            "simulator: 2,000 seeds",
            &mut program(root, "sim", &["--seeds", "2000"]),
        );
    }
    if wanted("fuzz") {
        tally.command("fuzz smoke", &mut program(root, "fuzz", &["smoke"]));
    }
    if wanted("real") {
        tally.step(
            "packages for the real-process tests",
            setup::run(false, false),
        );
        let mut build = cargo(
            root,
            &[
                "build",
                "--release",
                "-p",
                "ringpostd",
                "-p",
                "control",
                "--bins",
            ],
        );
        tally.command("release build of the daemon", &mut build);
        tally.counted(
            "real processes",
            &mut runner(root, &["--release", "-p", "ringpostd", "--test", "*"]),
        );
    }
    if only.iter().any(|step| step == STEP_BY_NAME) {
        tally.step("packages for Thunderbird", setup::for_thunderbird());
        let story = ["-p", "ringpostd", "--test", "real", "thunderbird"];
        let mut command = cargo(root, &["test", "--locked", "--release"]);
        command.args(story).args(["--", "--ignored", "--nocapture"]);
        tally.counted("a day with Thunderbird", &mut command);
    }
    if wanted("qemu") {
        tally.step("packages for guests", setup::for_boot());
        // Always anew: an image of yesterday would tell yesterday's stories.
        match std::env::current_exe() {
            Ok(xtask) => tally.command("image", Command::new(xtask).current_dir(root).arg("image")),
            Err(error) => tally.step("image", Err(error.to_string())),
        }
        tally.counted("stories in QEMU", &mut program(root, "qemu-tests", &[]));
    }
    tally.close()
}

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
    tally.step("house rules", house_rules(root));
    tally.step("licences", listed(licences::complaints(root)));
    deny(root, tally);
}

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

/// cargo-deny when it is there. Advisories need a database from the network: when it cannot be had, that is said, and
/// only that part is left out.
fn deny(root: &Path, tally: &mut Tally) {
    if !shell::found("cargo-deny") {
        eprintln!("left out: advisories (no cargo-deny; `cargo xtask setup --deny` installs it)");
        return;
    }
    tally.command(
        "cargo deny",
        &mut cargo(
            root,
            &["deny", "--offline", "check", "licenses", "bans", "sources"],
        ),
    );
    let fetched = cargo(root, &["deny", "fetch", "db"])
        .output()
        .is_ok_and(|output| output.status.success());
    if fetched {
        tally.command(
            "advisories",
            &mut cargo(root, &["deny", "check", "advisories"]),
        );
    } else {
        eprintln!("left out: advisories (the advisory database cannot be fetched from here)");
    }
}

fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(shell::cargo_path());
    command.current_dir(root).args(arguments);
    command
}

fn program(root: &Path, package: &str, arguments: &[&str]) -> Command {
    let mut command = cargo(
        root,
        &[
            "run",
            "--quiet",
            "--release",
            "--locked",
            "-p",
            package,
            "--",
        ],
    );
    command.args(arguments);
    command
}

/// nextest when it is there, else cargo's own runner.
fn runner(root: &Path, arguments: &[&str]) -> Command {
    let mut command = if shell::found("cargo-nextest") {
        cargo(
            root,
            &[
                "nextest",
                "run",
                "--locked",
                "--no-fail-fast",
                "--no-tests",
                "pass",
            ],
        )
    } else {
        cargo(root, &["test", "--locked", "--no-fail-fast"])
    };
    command.args(arguments);
    command
}

/// Counts what passed and failed, and remembers why.
#[derive(Default)]
struct Tally {
    count: Count,
    failures: Vec<String>,
}

impl Tally {
    fn step(&mut self, name: &str, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => {
                self.count.passed += 1;
                eprintln!("ok      {name}");
            }
            Err(reason) => {
                self.count.failed += 1;
                eprintln!("FAILED  {name}: {reason}");
                self.failures.push(name.to_string());
            }
        }
    }

    fn command(&mut self, name: &str, command: &mut Command) {
        eprintln!("--- {name}");
        let begin = Instant::now();
        let outcome = shell::run(command);
        eprintln!("    {} s", begin.elapsed().as_secs());
        self.step(name, outcome);
    }

    /// A test runner: its own tests are counted; it counts as one failure when it fails without naming one.
    fn counted(&mut self, name: &str, command: &mut Command) {
        eprintln!("--- {name}");
        let begin = Instant::now();
        let (count, fine) = shell::run_counted(command).unwrap_or_else(|reason| {
            eprintln!("{reason}");
            (Count::default(), false)
        });
        eprintln!("    {} s", begin.elapsed().as_secs());
        self.count.passed += count.passed;
        self.count.failed += count.failed;
        if !fine {
            self.count.failed += u64::from(count.failed == 0);
            self.failures.push(name.to_string());
            eprintln!("FAILED  {name}");
        }
    }

    /// Prints the closing line. Nothing may be printed to standard output after it.
    fn close(self) -> Result<(), String> {
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
