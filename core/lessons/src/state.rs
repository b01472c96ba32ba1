//! What is in memory: every model. A checkpoint collects those that changed; nothing is evicted.

use std::collections::{BTreeMap, BTreeSet};

use base::cursor::Reader;
use store::{Change as Row, Table};
use tenancy::encoding::Broken;

use crate::limits::{DIRTY_MAX, MODEL_ROWS};
use crate::model::{Model, Whom};

pub(crate) const MODELS: Table = Table(96);

#[derive(Default)]
pub(crate) struct State {
    pub models: BTreeMap<Whom, Model>,
    /// Of all models.
    pub words: usize,
    /// Differ from the projection since the last `collect`, or gone from here.
    dirty: BTreeSet<Whom>,
    /// What the checkpoint under way writes.
    writing: BTreeSet<Whom>,
}

impl State {
    pub fn install(&mut self, key: &[u8], row: &[u8]) -> Result<(), Broken> {
        let (whom, model) = (Whom::of_key(key)?, read_row(row)?);
        self.words += model.words_count();
        self.models.insert(whom, model);
        Ok(())
    }

    // Changes; `record::Change::apply` alone calls these.

    pub fn change(&mut self, whom: &Whom, change: impl FnOnce(&mut Model)) {
        let model = self.models.entry(whom.clone()).or_default();
        let before = model.words_count();
        change(model);
        self.words = self.words - before + model.words_count();
        self.dirty.insert(whom.clone());
    }

    pub fn remove(&mut self, whom: &Whom) {
        if let Some(model) = self.models.remove(whom) {
            self.words -= model.words_count();
            self.dirty.insert(whom.clone());
        }
    }

    // Rows out.

    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.writing.is_empty()
    }

    /// Never so far that mail would wait: `takes` refuses lessons instead.
    pub fn is_behind(&self, part: usize) -> bool {
        part < 4 && self.dirty.len() + self.writing.len() >= DIRTY_MAX / 4 * part
    }

    /// Whether a lesson for these models may change what the next checkpoint writes.
    pub fn takes(&self, of: &[Whom]) -> bool {
        let new = of.iter().filter(|whom| !self.dirty.contains(whom));
        self.dirty.len() + self.writing.len() + new.count() <= DIRTY_MAX
    }

    pub fn dirty_rows(&self) -> u64 {
        (self.dirty.len() + self.writing.len()) as u64 * MODEL_ROWS
    }

    /// Adds every row that differs from the projection. What an earlier checkpoint failed to write is among them.
    pub fn collect(&mut self, rows: &mut Vec<Row>) {
        self.writing.append(&mut self.dirty);
        for whom in &self.writing {
            let value = self.models.get(whom).map(|model| {
                let mut out = Vec::new();
                model.encode(&mut out);
                out
            });
            rows.push(Row {
                table: MODELS,
                key: whom.key(),
                value,
            });
        }
    }

    /// What the last `collect` gave is durable in the projection.
    pub fn settle(&mut self) {
        self.writing.clear();
    }

    /// What must hold between calls.
    #[cfg(test)]
    pub fn check(&self) {
        let words: usize = self.models.values().map(Model::words_count).sum();
        assert_eq!(self.words, words);
    }
}

pub(crate) fn read_row(row: &[u8]) -> Result<Model, Broken> {
    let reader = &mut Reader::new(row);
    let model = Model::decode(reader)?;
    match reader.is_empty() {
        true => Ok(model),
        false => Err(Broken),
    }
}
