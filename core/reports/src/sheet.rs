//! A sheet: what was counted of one subject, on one day, under one name.
//!
//! Row of `SHEETS`: subject (u8), day (u32 big-endian), name → [`Sheet`].
//!
//! What a line says is not known here: bytes that are the same are one line, with one count. A sheet that is closed has served its purpose:
//! its lines are gone and it takes no more, and while it is there it is not served a second time.

use std::collections::BTreeMap;

use base::cursor::{Reader, Write};
use store::Lsn;
use tenancy::encoding::{Broken, put_text, read_text};

use crate::limits::*;

/// What kind of sheet it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(pub u8);

/// Days since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u32);

/// Which sheet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub subject: Subject,
    pub day: Day,
    /// Of a domain, in lower case.
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sheet {
    /// What is said once; the last that was said.
    pub head: Vec<u8>,
    /// How often each line was counted.
    pub lines: BTreeMap<Vec<u8>, u64>,
    /// What was counted without a line, because there was no room for another one.
    pub other: u64,
    pub is_closed: bool,
    /// Records about it before this one are no longer needed.
    pub(crate) snapshot: Lsn,
}

/// What is to be added to a sheet, which is made where it is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    pub key: Key,
    /// Empty: what is there stays.
    pub head: Vec<u8>,
    /// A line that stands for the addition itself: where the sheet has it already, nothing is added.
    pub once: Option<Vec<u8>>,
    pub lines: Vec<(Vec<u8>, u64)>,
    pub other: u64,
}

impl Day {
    pub fn of(unix_seconds: u64) -> Day {
        Day(u32::try_from(unix_seconds / DAY_S).unwrap_or(u32::MAX))
    }

    /// Its first second.
    pub fn begin(self) -> u64 {
        u64::from(self.0) * DAY_S
    }

    /// The first second of the next one.
    pub fn end(self) -> u64 {
        self.begin() + DAY_S
    }
}

impl Key {
    pub fn is_valid(&self) -> bool {
        self.subject.0 < SUBJECTS_MAX && (1..=NAME_BYTES_MAX).contains(&self.name.len())
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.subject.0);
        out.put_varint(u64::from(self.day.0));
        put_text(out, &self.name);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Key, Broken> {
        let key = Key {
            subject: Subject(reader.u8()?),
            day: Day(tenancy::encoding::read_u32(reader)?),
            name: read_text(reader)?,
        };
        match key.is_valid() {
            true => Ok(key),
            false => Err(Broken),
        }
    }

    /// In the projection: by subject, then day.
    pub(crate) fn row_key(&self) -> Vec<u8> {
        let mut out = vec![self.subject.0];
        out.extend_from_slice(&self.day.0.to_be_bytes());
        out.extend_from_slice(self.name.as_bytes());
        out
    }

    pub(crate) fn of_row_key(bytes: &[u8]) -> Result<Key, Broken> {
        let (subject, rest) = bytes.split_first().ok_or(Broken)?;
        let (day, name) = rest.split_first_chunk::<4>().ok_or(Broken)?;
        let key = Key {
            subject: Subject(*subject),
            day: Day(u32::from_be_bytes(*day)),
            name: std::str::from_utf8(name).map_err(|_| Broken)?.to_owned(),
        };
        match key.is_valid() {
            true => Ok(key),
            false => Err(Broken),
        }
    }
}

impl Sheet {
    /// Memory, about. A sheet never has more than `SHEET_BYTES_MAX`, except when a rebuild reads more than was once let in.
    pub(crate) fn cost(&self, name: &str) -> usize {
        let lines: usize = self.lines.keys().map(|line| line_cost(line)).sum();
        SHEET_COST_BYTES + name.len() + self.head.len() + lines
    }

    /// Everything that was counted.
    pub fn total(&self) -> u64 {
        let counts = self.lines.values();
        counts.fold(self.other, |sum, count| sum.saturating_add(*count))
    }

    pub(crate) fn add(&mut self, addition: &Addition) {
        if self.is_closed {
            return;
        }
        if let Some(once) = &addition.once {
            if self.lines.contains_key(once) {
                return;
            }
            self.lines.insert(once.clone(), 1);
        }
        if !addition.head.is_empty() {
            self.head.clone_from(&addition.head);
        }
        for (line, count) in &addition.lines {
            let there = self.lines.entry(line.clone()).or_default();
            *there = there.saturating_add(*count);
        }
        self.other = self.other.saturating_add(addition.other);
    }

    pub(crate) fn close(&mut self) {
        *self = Sheet {
            is_closed: true,
            snapshot: self.snapshot,
            ..Sheet::default()
        };
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(u8::from(self.is_closed));
        put_bytes(out, &self.head);
        out.put_varint(self.other);
        out.put_varint(self.snapshot.0);
        put_lines(
            out,
            self.lines.iter().map(|(line, count)| (&line[..], *count)),
        );
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Sheet, Broken> {
        let is_closed = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Broken),
        };
        let head = read_bytes(reader)?;
        let other = reader.varint()?;
        let snapshot = Lsn(reader.varint()?);
        let mut lines = BTreeMap::new();
        for (line, count) in read_lines(reader)? {
            if lines.insert(line, count).is_some() {
                return Err(Broken);
            }
        }
        Ok(Sheet {
            head,
            lines,
            other,
            is_closed,
            snapshot,
        })
    }
}

impl Addition {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.key.encode(out);
        put_bytes(out, &self.head);
        put_bytes(out, self.once.as_deref().unwrap_or_default());
        out.put_varint(self.other);
        put_lines(
            out,
            self.lines.iter().map(|(line, count)| (&line[..], *count)),
        );
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Addition, Broken> {
        Ok(Addition {
            key: Key::decode(reader)?,
            head: read_bytes(reader)?,
            once: Some(read_bytes(reader)?).filter(|once| !once.is_empty()),
            other: reader.varint()?,
            lines: read_lines(reader)?,
        })
    }
}

pub(crate) fn line_cost(line: &[u8]) -> usize {
    LINE_COST_BYTES + line.len()
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_varint(bytes.len() as u64);
    out.put_bytes(bytes);
}

fn read_bytes(reader: &mut Reader<'_>) -> Result<Vec<u8>, Broken> {
    let count = usize::try_from(reader.varint()?).map_err(|_| Broken)?;
    Ok(reader.take(count)?.to_vec())
}

fn put_lines<'a>(out: &mut Vec<u8>, lines: impl ExactSizeIterator<Item = (&'a [u8], u64)>) {
    out.put_varint(lines.len() as u64);
    for (line, count) in lines {
        put_bytes(out, line);
        out.put_varint(count);
    }
}

/// As many as the bytes hold: each takes one at least.
fn read_lines(reader: &mut Reader<'_>) -> Result<Vec<(Vec<u8>, u64)>, Broken> {
    let mut lines = Vec::new();
    for _ in 0..reader.varint()? {
        lines.push((read_bytes(reader)?, reader.varint()?));
    }
    Ok(lines)
}

const DAY_S: u64 = 86_400;
