//! Nouns that are a name and what it stands for, in tables that are in memory whole: aliases, groups and their members, routes, grants, keys.
//!
//! | record | payload |
//! |---|---|
//! | `Put` | name, row |
//! | `Remove` | protective magic, name |
//!
//! Each noun has its own pair of kinds and its own table (name → row). A `Put` of a name that is there replaces its row. A row is small and
//! the number of rows is bounded (`limits.rs`), so a look-up reads nothing and cannot fail.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Bound;

use base::cursor::{Reader, Write};
use store::{Change, Record, RecordKind, Table};
use tenancy::encoding::{Broken, put_magic, put_text, read_magic, read_text};

/// Counts checkpoints; the present one is what changes are stamped with.
pub(crate) type Epoch = u64;

/// One kind of name. `encode` and `decode` are of the row, without the name.
pub(crate) trait Noun: Clone + PartialEq + Eq + Debug + 'static {
    /// For people and for the names of locks.
    const NOUN: &'static str;
    /// The same for several, in texts about bounds.
    const NOUNS: &'static str;
    /// The kind of a record that puts a row.
    const PUT: RecordKind;
    /// The kind of a record that removes a name.
    const REMOVE: RecordKind;
    /// The table of the projection.
    const TABLE: Table;
    /// Names that there may be.
    const ROWS_MAX: usize;

    /// Appends the row; the pair of `decode`.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads what `encode` wrote. `Broken`: it did not.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Broken>;
    /// For people, without secrets.
    fn describe(&self) -> String;

    /// What a row counts in `Whole::octets`; nothing where only their number is bounded.
    fn octets(&self, name: &str) -> usize {
        let _ = name;
        0
    }
}

/// What happened to a name, as one record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named<N> {
    /// The name stands for this row from now on.
    Put { name: String, row: N },
    /// The name stands for nothing.
    Remove { name: String },
}

impl<N: Noun> Named<N> {
    /// The record; its pair is `decode`.
    pub fn encode(&self) -> Record {
        let mut out = Vec::with_capacity(64);
        let kind = match self {
            Named::Put { name, row } => {
                put_text(&mut out, name);
                row.encode(&mut out);
                N::PUT
            }
            Named::Remove { name } => {
                put_magic(&mut out);
                put_text(&mut out, name);
                N::REMOVE
            }
        };
        Record {
            kind,
            payload: out.into(),
        }
    }

    /// `None`: the record is another noun's.
    pub fn decode(kind: RecordKind, reader: &mut Reader<'_>) -> Result<Option<Named<N>>, Broken> {
        if kind == N::PUT {
            return Ok(Some(Named::Put {
                name: read_text(reader)?,
                row: N::decode(reader)?,
            }));
        }
        if kind != N::REMOVE {
            return Ok(None);
        }
        read_magic(reader)?;
        Ok(Some(Named::Remove {
            name: read_text(reader)?,
        }))
    }

    /// The name that the record is about.
    pub fn name(&self) -> &str {
        match self {
            Named::Put { name, .. } | Named::Remove { name } => name,
        }
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        let shown = |name: &str| name.replace('\0', " ").escape_debug().to_string();
        match self {
            Named::Put { name, row } => {
                format!("{}Put {{ {}: {} }}", N::NOUN, shown(name), row.describe())
            }
            Named::Remove { name } => format!("{}Remove {{ {} }}", N::NOUN, shown(name)),
        }
    }
}

/// Every row of one table, and when each was changed that the projection does not have yet.
pub(crate) struct Whole<N> {
    /// Every row, by name.
    rows: BTreeMap<String, N>,
    /// When each name was last changed, as long as the projection does not have it.
    changed: BTreeMap<String, Epoch>,
    /// Of all rows.
    octets: usize,
}

impl<N> Default for Whole<N> {
    fn default() -> Whole<N> {
        Whole {
            rows: BTreeMap::new(),
            changed: BTreeMap::new(),
            octets: 0,
        }
    }
}

impl<N: Noun> Whole<N> {
    pub fn get(&self, name: &str) -> Option<&N> {
        self.rows.get(name)
    }

    /// How many rows there are, for the bound.
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// Those of all rows together, as `Noun::octets` counts them.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// In order of names, after `after`.
    pub fn after(&self, after: Option<&str>) -> impl Iterator<Item = (&String, &N)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.rows.range::<str, _>((from, Bound::Unbounded))
    }

    /// Those whose name begins with `start`, in order.
    pub fn starting(&self, start: String) -> impl Iterator<Item = (&String, &N)> {
        let from = (Bound::Included(start.as_str()), Bound::Unbounded);
        let found = self.rows.range::<str, _>(from);
        found.take_while(move |(name, _)| name.starts_with(&start))
    }

    /// From the projection, before anything is replayed.
    pub fn install(&mut self, name: &[u8], row: &[u8]) -> Result<(), Broken> {
        let name = std::str::from_utf8(name).map_err(|_| Broken)?.to_owned();
        let mut reader = Reader::new(row);
        if reader.u8()? != ROW_VERSION {
            return Err(Broken);
        }
        let row = N::decode(&mut reader)?;
        self.set(name, row);
        Ok(())
    }

    /// Adds or replaces a row, stamped with `epoch`.
    pub fn put(&mut self, name: String, row: N, epoch: Epoch) {
        self.changed.insert(name.clone(), epoch);
        self.set(name, row);
    }

    fn set(&mut self, name: String, row: N) {
        self.octets += row.octets(&name);
        let earlier = self.rows.get(&name).map_or(0, |row| row.octets(&name));
        self.octets -= earlier;
        self.rows.insert(name, row);
    }

    /// The row that was there.
    pub fn remove(&mut self, name: &str, epoch: Epoch) -> Option<N> {
        let row = self.rows.remove(name)?;
        self.octets -= row.octets(name);
        self.changed.insert(name.to_owned(), epoch);
        Some(row)
    }

    /// Rows that the next checkpoint writes.
    pub fn dirty_rows(&self) -> usize {
        self.changed.len()
    }

    /// Every row that differs from the projection.
    pub fn collect(&self, changes: &mut Vec<Change>) {
        for name in self.changed.keys() {
            let value = self.rows.get(name).map(|row| {
                let mut out = Vec::with_capacity(64);
                out.put_u8(ROW_VERSION);
                row.encode(&mut out);
                out
            });
            changes.push(Change {
                table: N::TABLE,
                key: name.as_bytes().to_vec(),
                value,
            });
        }
    }

    /// What was collected in `epoch` is durable in the projection.
    pub fn settle(&mut self, epoch: Epoch) {
        self.changed.retain(|_, stamp| *stamp > epoch);
    }
}

/// The shape of every row here; another one is `Broken`, which refuses the opening.
const ROW_VERSION: u8 = 1;
