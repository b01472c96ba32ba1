//! What is in memory: every list, every key, and those texts that the projection does not have yet. A checkpoint collects what changed.
//!
//! What must hold: a text that a list names is in `texts`, in `writing_texts`, or a row of the projection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use store::{Change as Row, Lsn, Table};
use tenancy::encoding::Broken;

use crate::keys::{Key, Keys};
use crate::limits::*;
use crate::list::{Kept, List, Owner, Version};

pub(crate) const LISTS: Table = Table(104);
pub(crate) const TEXTS: Table = Table(105);
pub(crate) const KEYS: Table = Table(106);

/// `None`: the row goes.
type Texts = BTreeMap<(Owner, Version), Option<Arc<[u8]>>>;

#[derive(Default)]
pub(crate) struct State {
    /// As rows.
    lists: BTreeMap<Owner, Box<[u8]>>,
    /// Of all lists (`cost`).
    pub cost: usize,
    pub keys: BTreeMap<u32, Keys>,
    /// Of all accounts.
    pub keys_count: usize,
    /// Differ from the projection since the last `collect`.
    dirty_lists: BTreeSet<Owner>,
    dirty_keys: BTreeSet<u32>,
    texts: Texts,
    /// What the checkpoint under way writes.
    writing_lists: BTreeSet<Owner>,
    writing_keys: BTreeSet<u32>,
    writing_texts: Texts,
    /// Bytes of both kinds of texts.
    text_bytes: usize,
}

impl State {
    pub fn install_list(&mut self, key: &[u8], row: &[u8]) -> Result<(), Broken> {
        let owner = Owner::of_key(key)?;
        Kept::decode(row)?;
        self.cost += cost(row);
        self.lists.insert(owner, row.into());
        Ok(())
    }

    pub fn install_keys(&mut self, key: &[u8], row: &[u8]) -> Result<(), Broken> {
        let account = u32::from_be_bytes(key.try_into().map_err(|_| Broken)?);
        let keys = Keys::decode(row)?;
        self.keys_count += keys.len();
        self.keys.insert(account, keys);
        Ok(())
    }

    pub fn kept(&self, owner: &Owner) -> Option<Kept> {
        let row = self.lists.get(owner)?;
        Some(Kept::decode(row).expect("it was read once, or written here"))
    }

    pub fn has_list(&self, owner: &Owner) -> bool {
        self.lists.contains_key(owner)
    }

    /// Ascending.
    pub fn listed(&self) -> impl ExactSizeIterator<Item = &Owner> {
        self.lists.keys()
    }

    /// A text that no row stands for yet. `None`: it is in the projection, if anywhere.
    pub fn waiting_text(&self, owner: &Owner, version: Version) -> Option<Arc<[u8]>> {
        let key = (owner.clone(), version);
        let found = self.texts.get(&key);
        let found = found.or_else(|| self.writing_texts.get(&key));
        found.cloned().flatten()
    }

    // Changes; `record::Change::apply` alone calls these, and the hour `expire`.

    pub fn set_list(
        &mut self,
        owner: &Owner,
        list: &List,
        text: Option<(Version, &[u8])>,
        lsn: Lsn,
    ) {
        let before = self.kept(owner).unwrap_or_default();
        let (old, old_at) = (before.list, before.texts_at);
        let at = |version: Version| {
            if text.is_some_and(|(with, _)| with == version) {
                return lsn;
            }
            let found = old
                .scripts
                .iter()
                .position(|script| script.version == version);
            found.map_or(Lsn(0), |index| old_at[index])
        };
        let texts_at = list
            .scripts
            .iter()
            .map(|script| at(script.version))
            .collect();
        for script in &old.scripts {
            if !list.has(script.version) {
                self.put_text(owner, script.version, None);
            }
        }
        // A replay may read a list before the record that has this text of it: reclaim wrote that one again.
        let is_there = |version| {
            let index = old.scripts.iter().position(|old| old.version == version);
            index.is_some_and(|index| old_at[index] > Lsn(0))
        };
        if let Some((version, text)) = text
            && !is_there(version)
        {
            self.put_text(owner, version, Some(text.into()));
        }
        let kept = Kept {
            list: list.clone(),
            at: lsn,
            texts_at,
        };
        let row = kept.encode().into_boxed_slice();
        self.cost += cost(&row);
        let before = self.lists.insert(owner.clone(), row);
        self.cost -= before.map_or(0, |row| cost(&row));
        self.dirty_lists.insert(owner.clone());
    }

    pub fn remove(&mut self, owner: &Owner) {
        if let Some(kept) = self.kept(owner) {
            let row = self.lists.remove(owner);
            self.cost -= row.map_or(0, |row| cost(&row));
            for script in &kept.list.scripts {
                self.put_text(owner, script.version, None);
            }
            self.dirty_lists.insert(owner.clone());
        }
        if let Owner::Account(account) = owner
            && let Some(keys) = self.keys.remove(account)
        {
            self.keys_count -= keys.len();
            self.dirty_keys.insert(*account);
        }
    }

    pub fn remember(&mut self, account: u32, keys: &[(Key, u64)], now: u64) {
        let known = self.keys.entry(account).or_default();
        let before = known.len();
        known.remember(keys, now);
        self.keys_count = self.keys_count - before + known.len();
        if known.is_empty() {
            self.keys.remove(&account);
        }
        self.dirty_keys.insert(account);
    }

    /// Forgets keys that ended, of so many accounts that a checkpoint takes them.
    pub fn expire(&mut self, now: u64) -> usize {
        let mut forgotten = 0;
        let mut gone = Vec::new();
        for (account, keys) in &mut self.keys {
            if self.dirty_keys.len() + self.writing_keys.len() >= WAITING_ACCOUNTS_MAX / 2 {
                break;
            }
            let before = keys.len();
            if keys.expire(now) {
                forgotten += before - keys.len();
                self.dirty_keys.insert(*account);
                if keys.is_empty() {
                    gone.push(*account);
                }
            }
        }
        self.keys_count -= forgotten;
        gone.iter().for_each(|account| {
            self.keys.remove(account);
        });
        forgotten
    }

    fn put_text(&mut self, owner: &Owner, version: Version, text: Option<Arc<[u8]>>) {
        self.text_bytes += text.as_ref().map_or(0, |text| text.len());
        let before = self.texts.insert((owner.clone(), version), text);
        self.text_bytes -= before.flatten().map_or(0, |text| text.len());
    }

    // Rows out.

    pub fn is_dirty(&self) -> bool {
        self.waiting_lists() + self.waiting_keys() > 0
            || !self.texts.is_empty()
            || !self.writing_texts.is_empty()
    }

    /// Never so far that mail would wait: live changes are refused before. A replay refuses nothing, and has checkpoints instead.
    pub fn is_behind(&self, part: usize) -> bool {
        let quarters = if part < 4 { part } else { 8 };
        self.text_bytes >= WAITING_BYTES_MAX / 4 * quarters
            || part < 4
                && (self.waiting_lists() >= WAITING_LISTS_MAX / 4 * part
                    || self.waiting_keys() >= WAITING_ACCOUNTS_MAX / 4 * part)
    }

    /// Whether a change of a list, with so many bytes of text, may wait for the next checkpoint too.
    pub fn takes_list(&self, text_bytes: usize) -> bool {
        self.waiting_lists() < WAITING_LISTS_MAX
            && self.text_bytes + text_bytes <= WAITING_BYTES_MAX
    }

    /// Whether keys of this account may.
    pub fn takes_keys(&self, account: u32) -> bool {
        self.dirty_keys.contains(&account) || self.waiting_keys() < WAITING_ACCOUNTS_MAX
    }

    fn waiting_lists(&self) -> usize {
        self.dirty_lists.len() + self.writing_lists.len()
    }

    fn waiting_keys(&self) -> usize {
        self.dirty_keys.len() + self.writing_keys.len()
    }

    pub fn dirty_rows(&self) -> u64 {
        let texts = self.texts.values().chain(self.writing_texts.values());
        let texts = texts.map(|text| text_rows(text.as_ref().map_or(0, |text| text.len())));
        self.waiting_lists() as u64 * LIST_ROWS
            + self.waiting_keys() as u64 * KEYS_ROWS
            + texts.sum::<u64>()
    }

    /// Adds every row that differs from the projection. What an earlier checkpoint failed to write is among them.
    pub fn collect(&mut self, rows: &mut Vec<Row>) {
        self.writing_lists.append(&mut self.dirty_lists);
        self.writing_keys.append(&mut self.dirty_keys);
        for (key, text) in std::mem::take(&mut self.texts) {
            let before = self.writing_texts.insert(key, text);
            self.text_bytes -= before.flatten().map_or(0, |text| text.len());
        }
        let lists = self.writing_lists.iter().map(|owner| Row {
            table: LISTS,
            key: owner.key(),
            value: self.lists.get(owner).map(|row| row.to_vec()),
        });
        let texts = self
            .writing_texts
            .iter()
            .map(|((owner, version), text)| Row {
                table: TEXTS,
                key: owner.text_key(*version),
                value: text.as_ref().map(|text| text.to_vec()),
            });
        let keys = self.writing_keys.iter().map(|account| Row {
            table: KEYS,
            key: account.to_be_bytes().to_vec(),
            value: self.keys.get(account).map(Keys::encode),
        });
        rows.extend(lists.chain(texts).chain(keys));
    }

    /// What the last `collect` gave is durable in the projection.
    pub fn settle(&mut self) {
        self.writing_lists.clear();
        self.writing_keys.clear();
        for (_, text) in std::mem::take(&mut self.writing_texts) {
            self.text_bytes -= text.map_or(0, |text| text.len());
        }
    }

    /// What must hold between calls.
    #[cfg(test)]
    pub fn check(&self) {
        let all: usize = self.lists.values().map(|row| cost(row)).sum();
        assert_eq!(self.cost, all);
        let keys: usize = self.keys.values().map(Keys::len).sum();
        assert_eq!(self.keys_count, keys);
        let texts = self.texts.values().chain(self.writing_texts.values());
        let bytes: usize = texts.flatten().map(|text| text.len()).sum();
        assert_eq!(self.text_bytes, bytes);
        for kept in self.lists.keys().flat_map(|owner| self.kept(owner)) {
            assert_eq!(kept.texts_at.len(), kept.list.scripts.len());
            assert!(kept.texts_at.iter().all(|at| *at > Lsn(0)));
        }
    }
}

/// What a list counts for in `LISTS_BYTES_MAX`.
fn cost(row: &[u8]) -> usize {
    OWNER_COST + row.len()
}

/// Rows of usual size that a text stands for.
pub(crate) fn text_rows(bytes: usize) -> u64 {
    1 + bytes.div_ceil(TEXT_BYTES_PER_ROW) as u64
}
