//! The last lines of the daemon's log, kept in memory for `ringpostctl logs`: an appliance has no shell to read a journal with.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Mutex, OnceLock};

use crate::limits::{LOG_BYTES_MAX, LOG_LINES_MAX};

static RECENT: Mutex<Recent> = Mutex::new(Recent {
    lines: VecDeque::new(),
    bytes: 0,
});

struct Recent {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Recent {
    fn push(&mut self, line: &str) {
        // One line longer than everything together would leave nothing else.
        let line: String = line.chars().take(LOG_BYTES_MAX / 16).collect();
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > LOG_LINES_MAX || self.bytes > LOG_BYTES_MAX {
            self.bytes -= self.lines.pop_front().map_or(0, |gone| gone.len());
        }
    }

    fn last(&self, count: usize) -> Vec<String> {
        let skip = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skip).cloned().collect()
    }
}

/// The last `count` lines, oldest first.
pub fn last(count: usize) -> Vec<String> {
    RECENT.lock().expect("nobody panics holding it").last(count)
}

/// Standard error, and a copy of each line for `last`. What tracing writes by: one call for each event.
pub struct Kept;

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(mut recent) = RECENT.lock() {
            for line in text.lines() {
                recent.push(line);
            }
        }
        if !in_journal() {
            return io::stderr().write(bytes);
        }
        // sd-daemon(3): the journal forwards what is less urgent than `info` to no console, where it would run across the
        // dashboard. READY and a refusal are no log lines and do reach it.
        let marked: String = text.lines().map(|line| format!("<7>{line}\n")).collect();
        io::stderr().write_all(marked.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// systemd sets it where standard output or error lead to its journal.
fn in_journal() -> bool {
    static IN_JOURNAL: OnceLock<bool> = OnceLock::new();
    *IN_JOURNAL.get_or_init(|| std::env::var_os("JOURNAL_STREAM").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_lines_make_room_for_new_ones() {
        let mut recent = Recent {
            lines: VecDeque::new(),
            bytes: 0,
        };
        for number in 0..LOG_LINES_MAX + 10 {
            recent.push(&number.to_string());
        }
        assert_eq!(recent.lines.len(), LOG_LINES_MAX);
        assert_eq!(recent.last(1), [(LOG_LINES_MAX + 9).to_string()]);
        assert_eq!(
            recent.bytes,
            recent.lines.iter().map(String::len).sum::<usize>()
        );
    }

    #[test]
    fn huge_lines_stay_within_the_bound() {
        let mut recent = Recent {
            lines: VecDeque::new(),
            bytes: 0,
        };
        for _ in 0..100 {
            recent.push(&"x".repeat(LOG_BYTES_MAX));
        }
        assert!(recent.bytes <= LOG_BYTES_MAX && !recent.lines.is_empty());
    }
}
