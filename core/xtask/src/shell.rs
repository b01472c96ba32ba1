//! Running other programs: echo the command, pass its output through, and count the tests it reports.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// What a test runner said of itself.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    pub passed: u64,
    pub failed: u64,
}

/// Runs cargo in `root` with everything inherited. `Err` names the command that failed.
pub fn cargo(root: &Path, fixed: &[&str], rest: &[String]) -> Result<(), String> {
    let mut command = Command::new(cargo_path());
    command.current_dir(root).args(fixed).args(rest);
    run(&mut command)
}

/// The cargo that runs us, so that toolchain overrides are kept.
pub fn cargo_path() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".into())
}

pub fn run(command: &mut Command) -> Result<(), String> {
    let shown = show(command);
    eprintln!("$ {shown}");
    let status = command
        .status()
        .map_err(|error| format!("cannot start {shown}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{shown}: {status}"))
    }
}

/// A program that runs beside others and gives way to them.
pub struct Beside {
    shown: String,
    child: Child,
    log: PathBuf,
}

impl Beside {
    /// Starts it at the lowest priority. What it prints goes to `log`, so that it does not mix with what the others print.
    pub fn begin(command: &Command, log: &Path) -> Result<Beside, String> {
        let shown = show(command);
        eprintln!("$ {shown} (beside what follows)");
        let begin = || -> std::io::Result<Child> {
            let output = std::fs::File::create(log)?;
            let mut niced = Command::new("nice");
            niced.args(["-n", "19"]).arg(command.get_program());
            niced.args(command.get_args()).stdin(Stdio::null());
            if let Some(folder) = command.get_current_dir() {
                niced.current_dir(folder);
            }
            niced.stdout(output.try_clone()?).stderr(output).spawn()
        };
        match begin() {
            Ok(child) => Ok(Beside {
                shown,
                child,
                log: log.to_owned(),
            }),
            Err(error) => Err(format!("cannot start {shown}: {error}")),
        }
    }

    /// Waits for its end and shows what it printed.
    pub fn end(mut self) -> Result<(), String> {
        let status = self.child.wait();
        let printed = std::fs::read(&self.log).unwrap_or_default();
        // As above: the exit status tells.
        let _ = std::io::stderr().write_all(&printed);
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{}: {status}", self.shown)),
            Err(error) => Err(format!("{}: {error}", self.shown)),
        }
    }
}

/// Runs and passes output through, counting test results in both streams.
/// The second value is whether the program exited with 0.
pub fn run_counted(command: &mut Command) -> Result<(Count, bool), String> {
    let shown = show(command);
    eprintln!("$ {shown}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {shown}: {error}"))?;
    let passed = AtomicU64::new(0);
    let failed = AtomicU64::new(0);
    let out = child.stdout.take().expect("stdout was asked for");
    let err = child.stderr.take().expect("stderr was asked for");
    std::thread::scope(|scope| {
        scope.spawn(|| pass_through(out, std::io::stdout(), &passed, &failed));
        scope.spawn(|| pass_through(err, std::io::stderr(), &passed, &failed));
    });
    let status = child.wait().map_err(|error| format!("{shown}: {error}"))?;
    let count = Count {
        passed: passed.into_inner(),
        failed: failed.into_inner(),
    };
    Ok((count, status.success()))
}

fn pass_through(from: impl Read, mut to: impl Write, passed: &AtomicU64, failed: &AtomicU64) {
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .is_ok_and(|length| length > 0)
    {
        // A closed terminal must not stop the test run: the exit status still tells.
        let _ = to.write_all(&line);
        let count = count_of(&String::from_utf8_lossy(&line));
        passed.fetch_add(count.passed, Ordering::Relaxed);
        failed.fetch_add(count.failed, Ordering::Relaxed);
        line.clear();
    }
    let _ = to.flush();
}

/// Reads the closing line of libtest (`test result: ok. 3 passed; 0 failed; …`) and of nextest
/// (`Summary [ 0.1s] 4 tests run: 3 passed, 1 failed, 2 skipped`). Other lines count nothing.
pub fn count_of(line: &str) -> Count {
    let line = line.trim();
    let closing = line.starts_with("test result:")
        || (line.starts_with("Summary [") && line.contains("run:"));
    if !closing {
        return Count::default();
    }
    let tail = line.rsplit_once("run:").map_or(line, |(_, tail)| tail);
    let words: Vec<&str> = tail.split_whitespace().collect();
    let number_before = |word: &str| {
        words
            .windows(2)
            .find(|pair| pair[1].trim_end_matches([',', ';']) == word)
            .and_then(|pair| pair[0].parse().ok())
            .unwrap_or(0)
    };
    Count {
        passed: number_before("passed"),
        failed: number_before("failed") + number_before("timed"),
    }
}

/// Whether a program of this name is found on the search path (system directories included).
pub fn found(name: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let home = std::env::var("HOME")
        .map(|home| format!("{home}/.cargo/bin"))
        .unwrap_or_default();
    path.split(':')
        .chain([
            home.as_str(),
            "/usr/local/bin",
            "/usr/bin",
            "/usr/sbin",
            "/sbin",
        ])
        .any(|directory| !directory.is_empty() && Path::new(directory).join(name).is_file())
}

fn show(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    let mut shown = program.to_string_lossy().into_owned();
    for argument in command.get_args() {
        shown.push(' ');
        shown.push_str(&argument.to_string_lossy());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_both_runners_are_counted() {
        let libtest = "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(
            count_of(libtest),
            Count {
                passed: 3,
                failed: 1
            }
        );
        let nextest =
            "     Summary [   0.005s] 40 tests run: 39 passed (1 slow), 1 failed, 2 skipped";
        assert_eq!(
            count_of(nextest),
            Count {
                passed: 39,
                failed: 1
            }
        );
        let fine = "     Summary [   0.005s] 4 tests run: 4 passed, 0 skipped";
        assert_eq!(
            count_of(fine),
            Count {
                passed: 4,
                failed: 0
            }
        );
    }

    #[test]
    fn what_runs_beside_is_waited_for_and_its_failure_is_named() {
        let log = std::env::temp_dir().join(format!("ringpost-beside-{}", std::process::id()));
        let run = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            Beside::begin(&command, &log).unwrap().end()
        };
        assert_eq!(run("echo fine"), Ok(()));
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "fine\n");
        assert!(
            run("exit 3")
                .unwrap_err()
                .contains("exit 3: exit status: 3")
        );
        std::fs::remove_file(&log).unwrap();
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(count_of("running 3 tests, 2 passed"), Count::default());
    }
}
