//! Messages that had not left, from the records of an orphan leg, whatever is missing among them; and records as lines for people.

use store::{BodyRef, Lsn, Record};

use crate::Entry;
use crate::record::Change;
use crate::state::State;

/// Gathers records in any order; `finish` puts them in theirs.
#[derive(Default)]
pub struct Salvage {
    groups: Vec<(Lsn, Change, Vec<BodyRef>)>,
}

impl Salvage {
    /// Takes in one record with the bodies of its group; `false`: it cannot be read.
    pub fn note(&mut self, lsn: Lsn, record: &Record, bodies: &[BodyRef]) -> bool {
        let Ok(change) = Change::decode(record) else {
            return false;
        };
        let has_body = match &change {
            Change::Put { body_index, .. } => (*body_index as usize) < bodies.len(),
            _ => true,
        };
        if has_body {
            self.groups.push((lsn, change, bodies.to_vec()));
        }
        has_body
    }

    /// The messages that the records leave, by number.
    pub fn finish(mut self) -> Vec<Entry> {
        // Stable: records of one batch keep their order. A batch found twice says the same twice.
        self.groups.sort_by_key(|(lsn, ..)| *lsn);
        let mut state = State::new();
        for (lsn, change, bodies) in self.groups {
            change.apply(lsn, &bodies, &mut state);
        }
        state.entries.into_values().collect()
    }
}

/// One record in a line, for people. `None`: this version cannot read it.
pub fn describe(record: &Record) -> Option<String> {
    Some(Change::decode(record).ok()?.describe())
}
