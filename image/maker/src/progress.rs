//! What is going on, for a person or (`--json`) for a program; and the log of each tool.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use crate::limits::LOG_LINES_SHOWN;

pub struct Progress {
    json: bool,
    logs: PathBuf,
    begin: Instant,
    /// Whether the current line of the terminal holds a passing remark.
    remark: Cell<bool>,
}

impl Progress {
    pub fn begin(json: bool, logs: &Path) -> Result<Progress, String> {
        crate::places::make(logs)?;
        Ok(Progress {
            json,
            logs: logs.to_path_buf(),
            begin: Instant::now(),
            remark: Cell::new(false),
        })
    }

    /// Does one step, and says when it begins and how long it took.
    pub fn step<T>(
        &self,
        name: &str,
        work: impl FnOnce() -> Result<T, String>,
    ) -> Result<T, String> {
        self.event(&json!({"step": name, "state": "begin"}), || {
            format!("--- {name}")
        });
        let begin = Instant::now();
        let outcome = work();
        let seconds = begin.elapsed().as_secs_f64();
        let state = if outcome.is_ok() { "done" } else { "failed" };
        self.clear();
        self.event(
            &json!({"step": name, "state": state, "seconds": (seconds * 10.0).round() / 10.0}),
            || format!("    {state}, {seconds:.1} s"),
        );
        outcome.map_err(|reason| format!("{name}: {reason}"))
    }

    /// A sentence worth keeping.
    pub fn note(&self, sentence: &str) {
        self.clear();
        self.event(&json!({"note": sentence}), || format!("    {sentence}"));
    }

    /// The end of it: what is where.
    pub fn done(&self, summary: &Value) {
        let seconds = self.begin.elapsed().as_secs();
        self.event(
            &json!({"state": "done", "seconds": seconds, "manifest": summary}),
            || format!("done in {seconds} s"),
        );
        if !self.json {
            for file in summary["files"].as_array().into_iter().flatten() {
                eprintln!(
                    "    {} ({:.1} MB)",
                    file["path"].as_str().unwrap_or_default(),
                    file["bytes"].as_u64().unwrap_or(0) as f64 / 1e6
                );
            }
        }
    }

    /// Runs a tool with its output in `NAME.log`; on a terminal its last line passes by. A failure shows the log's end.
    pub fn tool(&self, name: &str, command: &mut Command) -> Result<(), String> {
        let path = self.logs.join(format!("{name}.log"));
        let told = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut log = File::create(&path).map_err(told)?;
        let (reader, writer) = std::io::pipe().map_err(|error| format!("pipe: {error}"))?;
        let again = writer
            .try_clone()
            .map_err(|error| format!("pipe: {error}"))?;
        let spawned = command
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(again)
            .spawn();
        // The command holds the writing ends: let go of them, or the reader never ends.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = spawned.map_err(|error| {
            format!(
                "cannot start {}: {error}",
                command.get_program().to_string_lossy()
            )
        })?;
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .is_ok_and(|length| length > 0)
        {
            log.write_all(&line).map_err(told)?;
            self.pass(&String::from_utf8_lossy(&line));
            line.clear();
        }
        let status = child.wait().map_err(|error| format!("{name}: {error}"))?;
        if status.success() {
            return Ok(());
        }
        self.clear();
        let text = fs::read(&path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n    ");
        Err(format!(
            "{name} failed ({status}); its output is in {}; the last lines:\n    {tail}",
            path.display()
        ))
    }

    fn event(&self, value: &Value, text: impl FnOnce() -> String) {
        if self.json {
            println!("{value}");
        } else {
            eprintln!("{}", text());
        }
    }

    fn pass(&self, line: &str) {
        if self.json || !std::io::stderr().is_terminal() {
            return;
        }
        let plain: String = line.chars().filter(|c| !c.is_control()).take(100).collect();
        if !plain.trim().is_empty() {
            eprint!("\r\x1b[K    {}", plain.trim());
            self.remark.set(true);
        }
    }

    fn clear(&self) {
        if self.remark.replace(false) {
            eprint!("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_tool_says_its_last_words() {
        let folder = std::env::temp_dir().join(format!("xtask-progress-{}", std::process::id()));
        let progress = Progress::begin(true, &folder).expect("a folder");
        let mut command = Command::new("sh");
        command.args(["-c", "echo first; echo the reason >&2; exit 3"]);
        let told = progress.tool("story", &mut command).expect_err("exit 3");
        assert!(
            told.contains("the reason") && told.contains("story.log"),
            "{told}"
        );
        fs::remove_dir_all(&folder).expect("removed");
    }
}
