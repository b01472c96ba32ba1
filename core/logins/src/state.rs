//! What is in memory: rows that differ from the projection, the secret, and the audit's head. All other rows are read where they are wanted: a login
//! that argon2id or a network waits for anyway is not worth a cache.

use std::collections::BTreeMap;

use base::cursor::Reader;
use store::{Change as Row, Table};
use tenancy::encoding::Broken;

use crate::head::Head;
use crate::limits::*;
use crate::row::{Kept, read_array};

/// Account, big-endian → row.
pub(crate) const ROWS: Table = Table(120);
/// One byte → the secret, the head.
pub(crate) const SINGLES: Table = Table(121);

pub(crate) const SECRET_KEY: [u8; 1] = [0];
pub(crate) const HEAD_KEY: [u8; 1] = [1];

#[derive(Default)]
pub(crate) struct State {
    /// `None`: the row is gone.
    changed: BTreeMap<u32, Changed>,
    /// Of `changed`, as rows.
    bytes: usize,
    secret: Single<[u8; 32]>,
    head: Single<Head>,
}

struct Changed {
    kept: Option<Kept>,
    bytes: usize,
    /// As it is here, the checkpoint under way writes it.
    is_writing: bool,
}

struct Single<T> {
    value: Option<T>,
    is_changed: bool,
    is_writing: bool,
}

impl<T> Default for Single<T> {
    fn default() -> Self {
        Single {
            value: None,
            is_changed: false,
            is_writing: false,
        }
    }
}

impl<T: Copy> Single<T> {
    fn set(&mut self, value: T) {
        self.value = Some(value);
        (self.is_changed, self.is_writing) = (true, false);
    }

    /// What a checkpoint writes, if anything.
    fn collect(&mut self) -> Option<T> {
        self.is_writing = self.is_changed;
        self.value.filter(|_| self.is_changed)
    }

    fn settle(&mut self) {
        if std::mem::take(&mut self.is_writing) {
            self.is_changed = false;
        }
    }
}

impl State {
    /// `None`: memory does not have it, and the projection does.
    pub fn row(&self, account: u32) -> Option<Option<&Kept>> {
        let changed = self.changed.get(&account)?;
        Some(changed.kept.as_ref())
    }

    pub fn secret(&self) -> Option<[u8; 32]> {
        self.secret.value
    }

    pub fn head(&self) -> Option<Head> {
        self.head.value
    }

    /// A row of `SINGLES`, at the opening.
    pub fn install(&mut self, key: [u8; 1], row: &[u8]) -> Result<(), Broken> {
        let reader = &mut Reader::new(row);
        match key {
            SECRET_KEY => self.secret.value = Some(read_array(reader)?),
            _ => self.head.value = Some(Head::decode(reader)?),
        }
        match reader.is_empty() {
            true => Ok(()),
            false => Err(Broken),
        }
    }

    // Changes; `record::Change::apply` alone calls these.

    pub fn change(&mut self, account: u32, kept: Option<Kept>) {
        let row_bytes = kept.as_ref().map_or(0, |kept| kept.encode().len());
        let changed = Changed {
            bytes: row_bytes + CHANGED_ENTRY_BYTES,
            kept,
            is_writing: false,
        };
        self.bytes += changed.bytes;
        if let Some(before) = self.changed.insert(account, changed) {
            self.bytes -= before.bytes;
        }
    }

    pub fn set_secret(&mut self, secret: [u8; 32]) {
        self.secret.set(secret);
    }

    pub fn set_head(&mut self, head: Head) {
        self.head.set(head);
    }

    // Rows out.

    pub fn is_dirty(&self) -> bool {
        !self.changed.is_empty() || self.secret.is_changed || self.head.is_changed
    }

    /// Never so far that mail would wait: `takes` refuses changes instead.
    pub fn is_behind(&self, part: usize) -> bool {
        part < 4 && self.bytes >= CHANGED_BYTES_MAX / 4 * part
    }

    /// Whether a change more may wait.
    pub fn takes(&self) -> bool {
        self.bytes + ROW_BYTES_MAX + CHANGED_ENTRY_BYTES <= CHANGED_BYTES_MAX
    }

    pub fn dirty_rows(&self) -> u64 {
        let rows = self.changed.len() as u64 * ROW_ROWS;
        rows + u64::from(self.secret.is_changed) + u64::from(self.head.is_changed)
    }

    /// Adds every row that differs from the projection. What an earlier checkpoint failed to write is among them.
    pub fn collect(&mut self, rows: &mut Vec<Row>) {
        for (account, changed) in &mut self.changed {
            changed.is_writing = true;
            rows.push(Row {
                table: ROWS,
                key: account.to_be_bytes().to_vec(),
                value: changed.kept.as_ref().map(Kept::encode),
            });
        }
        if let Some(secret) = self.secret.collect() {
            rows.push(single(SECRET_KEY, secret.to_vec()));
        }
        if let Some(head) = self.head.collect() {
            let mut out = Vec::new();
            head.encode(&mut out);
            rows.push(single(HEAD_KEY, out));
        }
    }

    /// What the last `collect` gave is durable in the projection; what changed meanwhile stays here.
    pub fn settle(&mut self) {
        let bytes = &mut self.bytes;
        self.changed.retain(|_, changed| {
            if changed.is_writing {
                *bytes -= changed.bytes;
            }
            !changed.is_writing
        });
        self.secret.settle();
        self.head.settle();
    }

    /// What must hold between calls.
    #[cfg(test)]
    pub fn check(&self) {
        let bytes: usize = self.changed.values().map(|changed| changed.bytes).sum();
        assert_eq!(self.bytes, bytes);
    }
}

fn single(key: [u8; 1], value: Vec<u8>) -> Row {
    Row {
        table: SINGLES,
        key: key.to_vec(),
        value: Some(value),
    }
}
