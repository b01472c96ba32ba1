//! Running a program of the system (mount, systemd-repart, …), its words kept for the message when it fails.

use std::path::Path;
use std::process::{Command, Stdio};

/// `Err` is one sentence: the program and the last line it printed.
pub fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    match status(program, arguments)? {
        (0, _) => Ok(()),
        (code, said) => Err(format!("{program} failed ({code}): {said}")),
    }
}

/// Exit code (-1 for a signal) and the last line it printed.
pub fn status(program: &str, arguments: &[&str]) -> Result<(i32, String), String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    let all = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&all);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    Ok((
        output.status.code().unwrap_or(-1),
        last.unwrap_or("without a message").trim().to_string(),
    ))
}

/// A path as an argument; ours are all UTF-8, they come from the kernel or from a text.
pub fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_the_programs_last_line() {
        let told = run("sh", &["-c", "echo one; echo two >&2; exit 4"]).expect_err("exit 4");
        assert!(told.contains("(4): two"), "{told}");
        assert!(run("/nonexistent", &[]).is_err());
    }
}
