//! The last lines of the daemon's log, kept in memory for `ringpostctl logs`: an appliance has no shell to read a journal with.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Mutex, OnceLock};

use crate::admin::limits::{LOG_BYTES_MAX, LOG_LINES_MAX, LOG_WRITE_BYTES};

/// Shared by every thread that logs.
static RECENT: Mutex<Recent> = Mutex::new(Recent {
    lines: VecDeque::new(),
    bytes: 0,
});

/// The lines, and what they take.
struct Recent {
    /// The oldest first.
    lines: VecDeque<String>,
    /// Bytes of all lines: at most `LOG_BYTES_MAX`.
    bytes: usize,
}

impl Recent {
    /// One more line. The oldest make room.
    fn push(&mut self, line: &str) {
        // One line longer than everything together would leave nothing else.
        let line: String = line.chars().take(LOG_BYTES_MAX / 16).collect();
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > LOG_LINES_MAX || self.bytes > LOG_BYTES_MAX {
            self.bytes -= self.lines.pop_front().map_or(0, |gone| gone.len());
        }
    }

    /// The last `count` lines, oldest first.
    fn last(&self, count: usize) -> Vec<String> {
        let skip = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skip).cloned().collect()
    }
}

/// The last `count` lines, oldest first.
pub fn last(count: usize) -> Vec<String> {
    RECENT
        .lock()
        .expect("no holder of this lock panics")
        .last(count)
}

/// Asked when the number is shown: the writer counts on a thread of its own.
type Count = Box<dyn Fn() -> u64 + Send + Sync>;
static DROPPED: OnceLock<Count> = OnceLock::new();

/// Who counts the lines that found no room on their way to standard error. Once for each process.
pub fn counts_dropped(count: impl Fn() -> u64 + Send + Sync + 'static) {
    let _ = DROPPED.set(Box::new(count));
}

/// Lines dropped since start.
pub fn dropped() -> u64 {
    DROPPED.get().map_or(0, |count| count())
}

/// Standard error, and a copy of each line for `last`. One call of `write` for each event, `flush` when no more are waiting: what comes
/// together is written together.
pub struct Kept<W = io::Stderr> {
    out: W,
    /// Lines get the prefix by which the journal knows their level.
    marked: bool,
    /// What waits for the next flush.
    waiting: Vec<u8>,
}

impl Kept {
    pub fn to_stderr() -> Kept {
        Kept {
            out: io::stderr(),
            marked: in_journal(),
            waiting: Vec::new(),
        }
    }
}

impl<W: Write> Write for Kept<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(mut recent) = RECENT.lock() {
            for line in text.lines() {
                recent.push(line);
            }
        }
        if self.marked {
            // sd-daemon(3): the journal forwards what is less urgent than `info` to no console, where it would run across the
            // dashboard. READY and a refusal are no log lines and do reach it.
            for line in text.lines() {
                self.waiting.extend_from_slice(b"<7>");
                self.waiting.extend_from_slice(line.as_bytes());
                self.waiting.push(b'\n');
            }
        } else {
            self.waiting.extend_from_slice(bytes);
        }
        if self.waiting.len() > LOG_WRITE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.out.write_all(&self.waiting);
        // Who reads it may be gone for good; what waits must not grow for that.
        self.waiting.clear();
        written?;
        self.out.flush()
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
    fn lines_that_come_together_are_written_together_and_none_is_lost() {
        let mut calls = Calls::default();
        let mut kept = Kept {
            out: &mut calls,
            marked: true,
            waiting: Vec::new(),
        };
        for number in 0..3 {
            let line = format!("line {number}\n");
            kept.write_all(line.as_bytes()).expect("in memory");
        }
        kept.flush().expect("in memory");
        let long = "x".repeat(LOG_WRITE_BYTES);
        kept.write_all(format!("{long}\n").as_bytes())
            .expect("in memory");
        assert_eq!(calls.0[0], "<7>line 0\n<7>line 1\n<7>line 2\n");
        assert_eq!(calls.0[1], format!("<7>{long}\n"));
    }

    /// What it was given in each call.
    #[derive(Default)]
    struct Calls(Vec<String>);
    impl Write for Calls {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
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
