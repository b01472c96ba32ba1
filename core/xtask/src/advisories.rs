//! cargo-deny: licences, bans and sources as `deny.toml` has them, and known faults of dependencies (advisories).
//!
//! What must hold: a check that did not happen is named in capitals with its reason; in CI a cargo-deny that could be there and is not
//! fails the run. Nothing here waits longer than `NETWORK_MAX` for the network.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::shell;

/// The version that `cargo xtask setup --deny` installs.
pub const VERSION: &str = "cargo-deny@0.20.2";
/// Set by CI to anything: what is missing there is an error where a developer's machine only says so.
const CI: &str = "RINGPOST_CI";
/// The longest wait for the advisory database (about 10 MB), and for the registry's word on cargo-deny.
const NETWORK_MAX: Duration = Duration::from_secs(60);

/// What the machine lets us check.
#[derive(Debug, PartialEq, Eq)]
pub enum Means {
    /// cargo-deny is there, and so is a fresh database.
    All,
    /// cargo-deny is there; the database is not, for this reason.
    NoDatabase(&'static str),
    /// There is no cargo-deny; the registry has it, or cannot be reached.
    NoTool { registry_has_it: bool },
}

/// What follows from `means`: a line to print, or an error, when something stays unchecked.
pub fn verdict(means: &Means, in_ci: bool) -> Result<Option<String>, String> {
    match means {
        Means::All => Ok(None),
        Means::NoDatabase(why) => Ok(Some(format!("NOT CHECKED: advisories ({why})"))),
        Means::NoTool {
            registry_has_it: true,
        } if in_ci => Err(
            "cargo-deny is missing and the registry has it: run `cargo xtask setup --deny` first"
                .into(),
        ),
        Means::NoTool { .. } => Ok(Some(
            "NOT CHECKED: advisories (no cargo-deny; `cargo xtask setup --deny` installs it)"
                .into(),
        )),
    }
}

/// Looks at this machine: whether the tool is there, and whether the database can be fetched.
pub fn means(root: &Path) -> Means {
    if !shell::found("cargo-deny") {
        // Only CI makes a difference of it; a developer does not wait for the network.
        let registry_has_it = in_ci() && in_time(root, &["info", VERSION]);
        return Means::NoTool { registry_has_it };
    }
    if in_time(root, &["deny", "fetch", "db"]) {
        Means::All
    } else {
        Means::NoDatabase("the advisory database cannot be fetched from here")
    }
}

pub fn in_ci() -> bool {
    std::env::var_os(CI).is_some()
}

/// Whether cargo, run quietly with `arguments`, ends well within `NETWORK_MAX`.
fn in_time(root: &Path, arguments: &[&str]) -> bool {
    let mut command = Command::new(shell::cargo_path());
    command.current_dir(root).args(arguments);
    ends_well(&mut command, NETWORK_MAX)
}

/// Starts `command` without input and output, and ends it when `longest` is over.
fn ends_well(command: &mut Command, longest: Duration) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let Ok(mut child) = quiet.spawn() else {
        return false;
    };
    let begun = Instant::now();
    while begun.elapsed() < longest {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => sleep(Duration::from_millis(50)),
            Err(_) => return false,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_checked_is_named_and_in_ci_a_tool_that_could_be_there_must_be() {
        assert_eq!(verdict(&Means::All, true), Ok(None));
        let offline = Means::NoDatabase("no network");
        assert_eq!(
            verdict(&offline, true),
            Ok(Some("NOT CHECKED: advisories (no network)".into()))
        );
        let missing = |registry_has_it| Means::NoTool { registry_has_it };
        let named = |line: Result<Option<String>, String>| {
            line.is_ok_and(|line| line.is_some_and(|line| line.starts_with("NOT CHECKED")))
        };
        assert!(named(verdict(&missing(true), false)));
        assert!(named(verdict(&missing(false), true)));
        let why = verdict(&missing(true), true).expect_err("in CI");
        assert!(why.contains("setup --deny"), "{why}");
    }

    #[test]
    fn a_command_that_hangs_is_ended() {
        assert!(ends_well(&mut Command::new("true"), NETWORK_MAX));
        assert!(!ends_well(&mut Command::new("false"), NETWORK_MAX));
        assert!(!ends_well(
            &mut Command::new("no-such-program"),
            NETWORK_MAX
        ));
        let mut hangs = Command::new("sleep");
        assert!(!ends_well(hangs.arg("600"), Duration::ZERO));
    }
}
