//! What is in memory: every sheet. A checkpoint collects those that changed; none is evicted.
//!
//! Rows of `FLOORS`: subject (u8) → day (varint), place in the log of the record that said so (varint).

use std::collections::{BTreeMap, BTreeSet};

use base::cursor::{Reader, Write};
use store::{Change as Row, Lsn, Table};
use tenancy::encoding::{Broken, read_u32};

use crate::limits::*;
use crate::sheet::{Day, Key, Sheet, Subject};

pub(crate) const SHEETS: Table = Table(112);
pub(crate) const FLOORS: Table = Table(113);

/// Sheets of a subject before a day are gone; and which record said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Floor {
    pub day: Day,
    pub lsn: Lsn,
}

#[derive(Default)]
pub(crate) struct State {
    pub sheets: BTreeMap<Key, Sheet>,
    pub floors: BTreeMap<Subject, Floor>,
    /// What the sheets of each subject cost.
    bytes: BTreeMap<Subject, usize>,
    /// Differ from the projection since the last `collect`, or gone from here.
    dirty: BTreeSet<Key>,
    floors_are_dirty: bool,
    /// What the checkpoint under way writes.
    writing: BTreeSet<Key>,
    floors_are_written: bool,
}

impl State {
    pub fn install(&mut self, key: &[u8], row: &[u8]) -> Result<(), Broken> {
        let (key, sheet) = (Key::of_row_key(key)?, read_row(row)?);
        *self.bytes.entry(key.subject).or_default() += sheet.cost(&key.name);
        self.sheets.insert(key, sheet);
        Ok(())
    }

    pub fn install_floor(&mut self, key: &[u8], row: &[u8]) -> Result<(), Broken> {
        let [subject] = key else { return Err(Broken) };
        let reader = &mut Reader::new(row);
        let floor = Floor {
            day: Day(read_u32(reader)?),
            lsn: Lsn(reader.varint()?),
        };
        self.floors.insert(Subject(*subject), floor);
        Ok(())
    }

    /// The first day of the subject that may have sheets.
    pub fn floor(&self, subject: Subject) -> Day {
        self.floors.get(&subject).map_or(Day(0), |floor| floor.day)
    }

    // Changes; `record::Change::apply` alone calls these.

    /// What is before the floor stays gone.
    pub fn change(&mut self, key: &Key, change: impl FnOnce(&mut Sheet)) {
        if key.day < self.floor(key.subject) {
            return;
        }
        let before = self
            .sheets
            .get(key)
            .map_or(0, |sheet| sheet.cost(&key.name));
        let sheet = self.sheets.entry(key.clone()).or_default();
        change(sheet);
        let bytes = self.bytes.entry(key.subject).or_default();
        *bytes = *bytes - before + sheet.cost(&key.name);
        self.dirty.insert(key.clone());
    }

    pub fn raise_floor(&mut self, subject: Subject, day: Day, lsn: Lsn) {
        let day = day.max(self.floor(subject));
        self.floors.insert(subject, Floor { day, lsn });
        self.floors_are_dirty = true;
        for key in self.before(subject, day) {
            if let Some(sheet) = self.sheets.remove(&key) {
                *self.bytes.entry(subject).or_default() -= sheet.cost(&key.name);
            }
            self.dirty.insert(key);
        }
    }

    /// The sheets of a subject before a day.
    pub fn before(&self, subject: Subject, day: Day) -> Vec<Key> {
        let of = self
            .sheets
            .range(first(subject, Day(0))..first(subject, day));
        of.map(|(key, _)| key.clone()).collect()
    }

    /// What all sheets of a subject cost.
    pub fn bytes_of(&self, subject: Subject) -> usize {
        self.bytes.get(&subject).copied().unwrap_or(0)
    }

    /// What all sheets cost.
    pub fn bytes(&self) -> usize {
        self.bytes.values().sum()
    }

    /// How many sheets of a subject there are.
    pub fn count_of(&self, subject: Subject) -> usize {
        let next = Subject(subject.0.saturating_add(1));
        let of = self
            .sheets
            .range(first(subject, Day(0))..first(next, Day(0)));
        of.count()
    }

    /// How many sheets of a subject there are on a day.
    pub fn count_on(&self, subject: Subject, day: Day) -> usize {
        let next = Day(day.0.saturating_add(1));
        let of = self.sheets.range(first(subject, day)..first(subject, next));
        of.count()
    }

    // Rows out.

    pub fn is_dirty(&self) -> bool {
        self.waiting() > 0 || self.floors_are_dirty || self.floors_are_written
    }

    /// Sheets that wait for a checkpoint.
    fn waiting(&self) -> usize {
        self.dirty.len() + self.writing.len()
    }

    /// Never so far that mail would wait: `takes` refuses counts instead.
    pub fn is_behind(&self, part: usize) -> bool {
        part < 4 && self.waiting() >= DIRTY_MAX / 4 * part
    }

    /// Whether these sheets may change what the next checkpoint writes.
    pub fn takes<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> bool {
        let new = keys.filter(|key| !self.dirty.contains(key));
        self.waiting() + new.count() <= DIRTY_MAX
    }

    pub fn dirty_rows(&self) -> u64 {
        self.waiting() as u64 * SHEET_ROWS
    }

    /// Adds every row that differs from the projection. What an earlier checkpoint failed to write is among them.
    pub fn collect(&mut self, rows: &mut Vec<Row>) {
        self.writing.append(&mut self.dirty);
        self.floors_are_written |= std::mem::take(&mut self.floors_are_dirty);
        for key in &self.writing {
            let value = self.sheets.get(key).map(|sheet| {
                let mut out = Vec::new();
                sheet.encode(&mut out);
                out
            });
            rows.push(Row {
                table: SHEETS,
                key: key.row_key(),
                value,
            });
        }
        if !self.floors_are_written {
            return;
        }
        for (subject, floor) in &self.floors {
            let mut out = Vec::new();
            out.put_varint(u64::from(floor.day.0));
            out.put_varint(floor.lsn.0);
            rows.push(Row {
                table: FLOORS,
                key: vec![subject.0],
                value: Some(out),
            });
        }
    }

    /// What the last `collect` gave is durable in the projection.
    pub fn settle(&mut self) {
        self.writing.clear();
        self.floors_are_written = false;
    }

    /// What must hold between calls.
    #[cfg(test)]
    pub fn check(&self) {
        let cost = |(key, sheet): (&Key, &Sheet)| sheet.cost(&key.name);
        let bytes: usize = self.sheets.iter().map(cost).sum();
        assert_eq!(bytes, self.bytes());
        for key in self.sheets.keys() {
            assert!(key.day >= self.floor(key.subject), "{key:?} is gone");
        }
    }
}

/// Where the sheets of a subject and day begin.
fn first(subject: Subject, day: Day) -> Key {
    Key {
        subject,
        day,
        name: String::new(),
    }
}

pub(crate) fn read_row(row: &[u8]) -> Result<Sheet, Broken> {
    let reader = &mut Reader::new(row);
    let sheet = Sheet::decode(reader)?;
    match reader.is_empty() {
        true => Ok(sheet),
        false => Err(Broken),
    }
}
