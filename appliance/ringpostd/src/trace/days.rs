//! The files: one for each day or part of a day, in the order of their names, the oldest removed first.
//!
//! What must hold: all files together are at most `bytes_max` and one part and one buffer longer; none is older than `days`. A file is only appended to, so
//! a reader may read it at any time; a line that was cut by a crash is the last of its file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plan::settings::Trace;

/// Files in which all lines are kept, about; more where the days are quiet.
const PARTS: u64 = 16;
/// Bytes of one file, and one line: a search reads it whole.
const PART_BYTES_MAX: u64 = 16 << 20;
const DAY: Duration = Duration::from_secs(86_400);

static KEPT: Mutex<Option<Days>> = Mutex::new(None);
static UNWRITTEN: AtomicU64 = AtomicU64::new(0);

/// From now on lines are kept in `directory`, as `settings` say; what they no longer allow is removed.
pub(crate) fn keep(directory: &Path, settings: &Trace) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let days = Days {
        directory: directory.to_owned(),
        age_max: DAY * settings.days,
        bytes_max: if settings.days > 0 {
            settings.size.0
        } else {
            0
        },
        open: None,
        trouble: false,
    };
    days.remove_old(SystemTime::now())?;
    if settings.days > 0 {
        *KEPT.lock().expect("no holder of this lock panics") = Some(days);
    }
    Ok(())
}

/// Lines that could not be written since start.
pub(super) fn unwritten() -> u64 {
    UNWRITTEN.load(Relaxed)
}

/// Writes whole lines, where they are kept.
pub(super) fn write(lines: &[u8]) {
    let mut kept = KEPT.lock().expect("no holder of this lock panics");
    if let Some(days) = &mut *kept
        && !days.take(lines, SystemTime::now())
    {
        let count = lines.iter().filter(|byte| **byte == b'\n').count();
        UNWRITTEN.fetch_add(count as u64, Relaxed);
    }
}

struct Days {
    directory: PathBuf,
    age_max: Duration,
    bytes_max: u64,
    open: Option<Part>,
    /// The last line could not be written.
    trouble: bool,
}

struct Part {
    file: File,
    bytes: u64,
    day: u64,
}

impl Days {
    /// Whether the lines were written.
    fn take(&mut self, lines: &[u8], now: SystemTime) -> bool {
        let written = self.append(lines, now);
        match &written {
            Err(error) if !self.trouble => {
                let place = self.directory.display();
                tracing::warn!(%place, %error, "traces of messages cannot be written; `ringpostctl trace` will miss some");
            }
            Err(_) | Ok(()) => {}
        }
        self.trouble = written.is_err();
        !self.trouble
    }

    fn append(&mut self, lines: &[u8], now: SystemTime) -> io::Result<()> {
        let (day, full) = (day(now), (self.bytes_max / PARTS).min(PART_BYTES_MAX));
        let fits = |part: &Part| part.day == day && part.bytes < full;
        if !self.open.as_ref().is_some_and(fits) {
            self.open = None;
            self.remove_old(now)?;
            self.open = Some(self.part(day, full, now)?);
        }
        let part = self.open.as_mut().expect("it was just opened");
        part.bytes += lines.len() as u64;
        part.file.write_all(lines)
    }

    /// The newest file where it is of today and has room, else a new one: a daemon that starts again and again makes few files.
    fn part(&self, day: u64, full: u64, now: SystemTime) -> io::Result<Part> {
        let newest = files(&self.directory)?.pop();
        let mut options = OpenOptions::new();
        options.append(true).mode(0o600);
        if let Some(newest) = &newest
            && self::day(newest.written) == day
            && newest.bytes < full
        {
            let mut file = options.open(&newest.path)?;
            // A crash may have cut its last line.
            file.write_all(b"\n")?;
            let bytes = newest.bytes;
            return Ok(Part { file, bytes, day });
        }
        let mut micros = now
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_micros() as u64;
        // Where the clock went back names go on: they are the order of the lines.
        let last = newest.and_then(|newest| newest.path.file_stem()?.to_str()?.parse().ok());
        micros = micros.max(last.map_or(0, |last: u64| last.saturating_add(1)));
        let path = self.directory.join(format!("{micros:020}.{ENDING}"));
        let file = options.create_new(true).open(path)?;
        let bytes = 0;
        Ok(Part { file, bytes, day })
    }

    /// Removes what is too old, and the oldest of what is too much.
    fn remove_old(&self, now: SystemTime) -> io::Result<()> {
        let files = files(&self.directory)?;
        let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
        for file in files {
            let age = now.duration_since(file.written).unwrap_or_default();
            if age <= self.age_max && bytes <= self.bytes_max {
                continue;
            }
            fs::remove_file(&file.path)?;
            bytes -= file.bytes;
        }
        Ok(())
    }
}

/// A file of lines.
pub(super) struct Kept {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// When its last line was written.
    pub(super) written: SystemTime,
}

/// The files, the oldest first.
pub(super) fn files(directory: &Path) -> io::Result<Vec<Kept>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == ENDING) {
            let about = entry.metadata()?;
            files.push(Kept {
                path,
                bytes: about.len(),
                written: about.modified()?,
            });
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

/// Behind microseconds since 1970, with leading zeros.
const ENDING: &str = "jsonl";

fn day(now: SystemTime) -> u64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() / DAY.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(directory: &Path, days: u32, bytes_max: u64) -> Days {
        Days {
            directory: directory.to_owned(),
            age_max: DAY * days,
            bytes_max,
            open: None,
            trouble: false,
        }
    }

    #[test]
    fn a_day_has_a_file_and_old_ones_make_room() {
        let place = tempfile::tempdir().expect("a directory");
        let mut kept = days(place.path(), 14, 16 * 100);
        let begin = SystemTime::now();
        for minute in 0..200u64 {
            let now = begin + Duration::from_millis(minute);
            assert!(kept.take(&[b'x'; 30], now));
            let bytes: u64 = files(place.path()).unwrap().iter().map(|f| f.bytes).sum();
            assert!(bytes <= 16 * 100 + 130, "{bytes}");
        }
        let parts = files(place.path()).unwrap().len();
        assert!((10..=17).contains(&parts), "{parts}");
        // A day later there is another file, and after fourteen more the first ones are gone.
        assert!(kept.take(b"later\n", begin + DAY));
        assert!(kept.take(b"much later\n", begin + DAY * 16));
        assert_eq!(files(place.path()).unwrap().len(), 1);
    }

    #[test]
    fn a_restart_goes_on_in_the_file_of_the_day_and_a_clock_that_goes_back_changes_no_order() {
        let place = tempfile::tempdir().expect("a directory");
        let now = SystemTime::now();
        assert!(days(place.path(), 14, 1 << 20).take(b"cut", now));
        assert!(days(place.path(), 14, 1 << 20).take(b"two\n", now));
        let all = files(place.path()).unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(fs::read(&all[0].path).unwrap(), b"cut\ntwo\n");
        // Two days back by its clock: the file is behind the one of today all the same.
        assert!(days(place.path(), 14, 1 << 20).take(b"three\n", now - DAY * 2));
        let all = files(place.path()).unwrap();
        assert_eq!(fs::read(&all[1].path).unwrap(), b"three\n");
    }

    #[test]
    fn a_place_that_cannot_be_written_costs_lines_and_comes_back() {
        let place = tempfile::tempdir().expect("a directory");
        let gone = place.path().join("trace");
        let mut kept = days(&gone, 14, 1_600);
        assert!(!kept.take(b"one\n", SystemTime::now()));
        fs::create_dir(&gone).unwrap();
        assert!(kept.take(b"two\n", SystemTime::now()));
    }
}
