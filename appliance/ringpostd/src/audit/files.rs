//! The files of the audit: each begins with the end of the one before; the oldest are removed when they are too old or too much.
//!
//! What must hold: a file is only appended to, and cut back only to the end of its last whole line, when writing failed; what is removed is whole files, the oldest
//! first, so that what is left is a chain without a gap.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ::admin::logins::{AuditLine, AuditVerdict};
use logins::Head;
use plan::settings::Login;

use super::chain::{End, Fields};

/// Files in which all lines are kept, about.
const PARTS: u64 = 16;
const PART_BYTES_MAX: u64 = 16 << 20;
const DAY: Duration = Duration::from_secs(86_400);
/// A line is some 400 bytes, and 2 KiB at most; one that is longer is not ours.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// Faults that a verdict names.
const FAULTS_MAX: usize = 20;
/// Lines of one answer.
const LISTED_MAX: usize = 2_000;

pub(super) struct Files {
    directory: PathBuf,
    age_max: Duration,
    bytes_max: u64,
    end: End,
    open: Option<Part>,
    /// The next line says that the files did not have the end that storage has.
    gap: bool,
    /// How many lost lines the file says already.
    told: u64,
    /// The last line could not be written.
    trouble: bool,
    unix_seconds: i64,
}

struct Part {
    file: File,
    bytes: u64,
    /// Of its first line, since 1970: whole files are removed, so that a file of few logins must not grow for years.
    day: i64,
}

impl Files {
    /// Where the chain goes on. With a sentence where the files do not have the end that storage has: it goes on behind that one then, and the next line says so, for as long as it is kept.
    pub fn open(directory: &Path, settings: &Login, head: Option<Head>) -> (Files, Option<String>) {
        let mut files = Files {
            directory: directory.to_owned(),
            age_max: DAY * settings.audit_days,
            bytes_max: settings.audit_size.0,
            end: End::default(),
            open: None,
            gap: false,
            told: 0,
            trouble: false,
            unix_seconds: 0,
        };
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory);
        let found = made.and_then(|()| last_end(directory, head.map(|head| head.line)));
        let kept = head.map(|head| End {
            line: head.line,
            hash: head.hash,
        });
        let (end, trouble) = match (found, kept) {
            (Ok(found), None) => (found.last, None),
            (Ok(found), Some(kept)) if found.at_head == Some(kept) => (found.last, None),
            (Ok(_), Some(kept)) => {
                let trouble = format!("line {} is not there as storage remembers it", kept.line);
                (kept, Some(trouble))
            }
            (Err(error), kept) => (kept.unwrap_or_default(), Some(error.to_string())),
        };
        files.end = end;
        files.gap = trouble.is_some() && kept.is_some();
        (files, trouble)
    }

    /// The end of what is written.
    pub fn head(&self) -> Option<Head> {
        let End { line, hash } = self.end;
        (line > 0).then_some(Head {
            line,
            hash,
            unix_seconds: self.unix_seconds,
        })
    }

    /// Makes what is written durable; `false`: it is not known to be.
    pub fn sync(&mut self) -> bool {
        let part = self.open.as_ref();
        part.is_none_or(|part| part.file.sync_data().is_ok())
    }

    /// Writes lines, and answers how many could not be written. `lost`: lines lost since start, before these.
    pub fn take(&mut self, lines: VecDeque<Fields>, lost: u64) -> u64 {
        let mut failed = 0;
        for fields in lines {
            let all_lost = lost + failed;
            match self.append(&fields, all_lost - self.told) {
                Ok(()) => (self.told, self.trouble) = (all_lost, false),
                Err(error) => {
                    failed += 1;
                    if !std::mem::replace(&mut self.trouble, true) {
                        let place = self.directory.display();
                        tracing::error!(%place, %error, "logins cannot be written to the audit");
                    }
                }
            }
        }
        failed
    }

    fn append(&mut self, fields: &Fields, lost: u64) -> io::Result<()> {
        let full = (self.bytes_max / PARTS).clamp(1, PART_BYTES_MAX);
        let day = fields.unix_s.div_euclid(DAY.as_secs() as i64);
        let has_room = |part: &Part| part.bytes < full && part.day == day;
        if !self.open.as_ref().is_some_and(has_room) {
            // What comes behind is durable only where this is.
            if let Some(full) = self.open.take() {
                full.file.sync_data()?;
            }
            self.remove_old(SystemTime::now())?;
            self.open = Some(self.part(day)?);
        }
        let (line, end) = self.end.link(fields, lost, self.gap);
        let part = self.open.as_mut().expect("it was just opened");
        if let Err(error) = part.file.write_all(line.as_bytes()) {
            // Half a line is not left behind; where that fails, the next line goes to another file.
            if part.file.set_len(part.bytes).is_err() {
                self.open = None;
            }
            return Err(error);
        }
        part.bytes += line.len() as u64;
        self.gap = false;
        self.end = end;
        self.unix_seconds = fields.unix_s;
        Ok(())
    }

    /// A new file, named by the line that it goes on behind.
    fn part(&self, day: i64) -> io::Result<Part> {
        let head = self.end.head();
        // A second one of the same name: the first one could not be written, or is not the chain's. Both stay.
        for again in 0..1_000 {
            let name = format!("{:020}-{again:03}.{ENDING}", self.end.line);
            let mut options = OpenOptions::new();
            options.append(true).create_new(true).mode(0o600);
            match options.open(self.directory.join(name)) {
                Ok(mut file) => {
                    file.write_all(head.as_bytes())?;
                    let bytes = head.len() as u64;
                    return Ok(Part { file, bytes, day });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn remove_old(&self, now: SystemTime) -> io::Result<()> {
        let files = files(&self.directory)?;
        let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
        for file in files {
            let age = now.duration_since(file.written).unwrap_or_default();
            if age <= self.age_max && bytes <= self.bytes_max {
                break;
            }
            fs::remove_file(&file.path)?;
            bytes -= file.bytes;
        }
        Ok(())
    }
}

struct Kept {
    path: PathBuf,
    bytes: u64,
    written: SystemTime,
}

/// The oldest first.
fn files(directory: &Path) -> io::Result<Vec<Kept>> {
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

struct Found {
    last: End,
    /// What the line of storage's end says of itself.
    at_head: Option<End>,
}

/// Looks at the newest file that has lines for the last of them, and where `line` is.
fn last_end(directory: &Path, line: Option<u64>) -> io::Result<Found> {
    let mut found = Found {
        last: End::default(),
        at_head: None,
    };
    for file in files(directory)?.iter().rev() {
        let mut last = None;
        each_line(&file.path, |text| {
            let end = End::said(text).or_else(|| End::of_head(text));
            if let Some(end) = end {
                if Some(end.line) == line && found.at_head.is_none() {
                    found.at_head = Some(end);
                }
                last = Some(end);
            }
        })?;
        if found.last.line == 0 {
            found.last = last.unwrap_or_default();
        }
        let is_known = line.is_none() || found.at_head.is_some();
        if found.last.line > 0 && is_known {
            break;
        }
    }
    Ok(found)
}

/// Whether the line of this end is in the files as it was written.
pub(super) fn have(directory: &Path, head: Head) -> io::Result<bool> {
    let found = last_end(directory, Some(head.line))?;
    let kept = End {
        line: head.line,
        hash: head.hash,
    };
    Ok(found.at_head == Some(kept))
}

/// The last lines, the newest last.
pub(crate) fn list(directory: &Path, of: Option<&str>, count: usize) -> io::Result<Vec<AuditLine>> {
    let count = count.clamp(1, LISTED_MAX);
    let mut lines: VecDeque<AuditLine> = VecDeque::new();
    let mut newer: Vec<VecDeque<AuditLine>> = Vec::new();
    let mut total = 0;
    for file in files(directory)?.iter().rev() {
        each_line(&file.path, |text| {
            let line: Option<AuditLine> = serde_json::from_str(text).ok();
            let is_of = |line: &AuditLine| of.is_none_or(|of| line.user.as_deref() == Some(of));
            lines.extend(line.filter(is_of));
            if lines.len() > count {
                lines.pop_front();
            }
        })?;
        total += lines.len();
        newer.push(std::mem::take(&mut lines));
        if total >= count {
            break;
        }
    }
    let all: Vec<AuditLine> = newer.into_iter().rev().flatten().collect();
    Ok(all[all.len().saturating_sub(count)..].to_vec())
}

/// Whether the files are what was written, up to the end that storage has.
pub(crate) fn verify(directory: &Path, head: Option<Head>) -> io::Result<AuditVerdict> {
    let mut verdict = AuditVerdict {
        intact: true,
        lines: 0,
        first: 0,
        last: 0,
        head: head.map(|head| head.line),
        faults: Vec::new(),
    };
    let mut faults = 0;
    let mut fault = |text: String, verdict: &mut AuditVerdict| {
        faults += 1;
        verdict.intact = false;
        if faults <= FAULTS_MAX {
            verdict.faults.push(text);
        }
    };
    let mut end: Option<End> = None;
    let mut at_head = None;
    for file in files(directory)? {
        let name = file.path.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let mut is_first = true;
        each_line(&file.path, |text| {
            if std::mem::take(&mut is_first) {
                let head = End::of_head(text);
                match (head, end) {
                    (None, _) => fault(format!("{name} has no head"), &mut verdict),
                    (Some(head), Some(end)) if head != end => {
                        let line = end.line;
                        fault(
                            format!("{name} does not go on behind line {line}"),
                            &mut verdict,
                        );
                    }
                    _ => {}
                }
                end = head.or(end);
                return;
            }
            let before = end.unwrap_or_default();
            match before.follow(text) {
                Some(next) => end = Some(next),
                None => {
                    let line = before.line + 1;
                    fault(
                        format!("line {line} in {name} is not what was written"),
                        &mut verdict,
                    );
                    end = End::said(text).or(end);
                }
            }
            let now = end.unwrap_or_default();
            if End::is_behind_gap(text) {
                let line = now.line;
                fault(
                    format!(
                        "line {line} was written where lines before it were not there as storage remembered them"
                    ),
                    &mut verdict,
                );
            }
            if verdict.lines == 0 {
                verdict.first = now.line;
            }
            verdict.lines += 1;
            verdict.last = now.line;
            if head.is_some_and(|head| head.line == now.line) {
                at_head = Some(now.hash);
            }
        })?;
    }
    if let Some(head) = head
        && at_head != Some(head.hash)
    {
        let line = head.line;
        let text = match at_head {
            Some(_) => format!("line {line} is not the one that the mirrored volume remembers"),
            None => format!("line {line}, which the mirrored volume remembers, is missing"),
        };
        fault(text, &mut verdict);
    }
    Ok(verdict)
}

/// Each whole line without its end. A file that was removed meanwhile has none; a line that is too long is cut, and so is not what was written.
fn each_line(path: &Path, mut look: impl FnMut(&str)) -> io::Result<()> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::new(file);
    loop {
        // until the file ends
        let mut line = Vec::new();
        let bytes = reader
            .by_ref()
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)?;
        if bytes == 0 {
            return Ok(());
        }
        if line.pop() != Some(b'\n') {
            // A crash cut it, or it is longer than any of ours.
            if (bytes as u64) < LINE_BYTES_MAX {
                return Ok(());
            }
        }
        look(&String::from_utf8_lossy(&line));
    }
}

/// Behind the number of a line, with leading zeros.
const ENDING: &str = "jsonl";
