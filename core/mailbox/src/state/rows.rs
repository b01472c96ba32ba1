//! Rows of the projection into memory, and what a checkpoint writes back.

use std::sync::Arc;

use store::Change;

use super::{AccountEntry, Condemned, Epoch, MailboxEntry, State, of_chunk};
use crate::limits::CHUNK_MESSAGES;
use crate::row::{self, Broken, Chunk, Counters, Gone, Head, Tree};
use crate::{AccountId, MailboxId, Message};

/// What one checkpoint writes.
/// Rows are taken in one turn without an await, so that they are the state at one LSN. While they are written the state goes on to change;
/// the epoch tells what changed since.
pub struct Collected {
    pub changes: Vec<Change>,
    epoch: Epoch,
    messages: usize,
    mailboxes: Vec<MailboxId>,
    accounts: Vec<AccountId>,
}

/// From `before_checkpoint` to `settle`. One that failed is replaced by the next one.
#[derive(Default)]
pub struct Writing {
    pub cleared: Cleared,
    pub collected: Option<Collected>,
}

/// Some rows of deleted mailboxes, to be deleted.
#[derive(Default)]
pub struct Cleared {
    pub changes: Vec<Change>,
    /// `None`: nothing is left of it.
    pub mailboxes: Vec<(MailboxId, Option<Chunk>)>,
}

impl State {
    pub fn install_counters(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.counters = Counters::decode(bytes)?;
        self.assigned = self.counters;
        Ok(())
    }

    pub fn install_condemned(&mut self, key: &[u8]) -> Result<(), Broken> {
        self.condemned.insert(
            row::read_mailbox_key(key)?,
            Condemned {
                dirty: None,
                cleared_to: Chunk(0),
            },
        );
        Ok(())
    }

    /// An account that was not in memory; both rows may be missing.
    pub fn install_account(
        &mut self,
        account: AccountId,
        tree: Option<&[u8]>,
        usage: Option<&[u8]>,
    ) -> Result<(), Broken> {
        let tree = tree
            .map(|bytes| Tree::decode(&mut base::cursor::Reader::new(bytes)))
            .transpose()?;
        let used_bytes = usage.map(row::decode_number).transpose()?.unwrap_or(0);
        self.insert_account(
            account,
            AccountEntry {
                tree,
                used_bytes,
                ..AccountEntry::default()
            },
        );
        Ok(())
    }

    /// A mailbox that was not in memory; none of its messages are yet.
    pub fn install_head(&mut self, mailbox: MailboxId, bytes: &[u8]) -> Result<(), Broken> {
        let head = Head::decode(&mut base::cursor::Reader::new(bytes))?;
        self.insert_mailbox(mailbox, MailboxEntry::of(head));
        Ok(())
    }

    /// What went from a mailbox in memory. Without a row nothing went, or an earlier release expunged, whose STATUS told modification
    /// sequences: `Gone::is_whole` finds that out.
    pub fn install_gone(&mut self, mailbox: MailboxId, row: Option<&[u8]>) -> Result<(), Broken> {
        let Some(entry) = self.mailboxes.get_mut(&mailbox) else {
            return Ok(());
        };
        if entry.gone.is_none() {
            let gone = row.map(|bytes| Gone::decode(&mut base::cursor::Reader::new(bytes)));
            entry.gone = Some(gone.transpose()?.unwrap_or_default());
        }
        Ok(())
    }

    /// The chunk rows of `from..loaded_from`, in order. `from` is the new `loaded_from`.
    pub fn install_chunks(
        &mut self,
        mailbox: MailboxId,
        from: Chunk,
        rows: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<(), Broken> {
        let Some(entry) = self.mailboxes.get_mut(&mailbox) else {
            return Ok(());
        };
        assert!(from <= entry.loaded_from, "only what was missing is loaded");
        entry.outline = None;
        // A chunk read back from a bad place could claim any number; the rows at hand bound it.
        let rows_hold = rows.len() * CHUNK_MESSAGES as usize;
        let mut messages =
            Vec::with_capacity(rows_hold.min(entry.head.messages as usize) + entry.messages.len());
        for (key, value) in rows {
            let (row_mailbox, chunk) = row::read_chunk_key(key)?;
            if row_mailbox != mailbox || chunk < from || chunk >= entry.loaded_from {
                return Err(Broken);
            }
            row::read_messages(&mut base::cursor::Reader::new(value), &mut messages)?;
            if messages
                .last()
                .is_some_and(|message| Chunk::of(message.uid) != chunk)
            {
                return Err(Broken);
            }
        }
        entry.loaded_from = from;
        entry.keyword_bytes += messages.iter().map(Message::keyword_bytes).sum::<usize>();
        if entry.messages.is_empty() {
            entry.messages = Arc::new(messages);
        } else {
            messages.extend(entry.messages.iter().cloned());
            entry.messages = Arc::new(messages);
        }
        self.charge(mailbox);
        Ok(())
    }

    /// Every row that differs from the projection. A new epoch begins.
    pub fn collect(&mut self) -> Collected {
        let mut collected = Collected {
            changes: Vec::new(),
            epoch: self.epoch,
            messages: self.dirty_messages,
            mailboxes: self.dirty_mailboxes.iter().copied().collect(),
            accounts: self.dirty_accounts.iter().copied().collect(),
        };
        collected.mailboxes.sort_unstable();
        collected.accounts.sort_unstable();
        let changes = &mut collected.changes;
        let mut put = |table, key: Vec<u8>, value: Option<Vec<u8>>| {
            changes.push(Change { table, key, value })
        };
        if self.counters_dirty.is_some() {
            put(row::COUNTERS, Vec::new(), Some(self.counters.encode()));
        }
        for id in &collected.accounts {
            let entry = &self.accounts[id];
            if entry.tree_dirty.is_some() {
                let tree = entry.tree.as_ref();
                let value = tree.map(|tree| encoded(|out| tree.encode(out)));
                put(row::TREES, row::account_key(*id), value);
            }
            // An account that is gone has no usage either: its row must not meet another account that gets the number.
            if entry.used_dirty.is_some() || entry.tree.is_none() {
                put(
                    row::USAGE,
                    row::account_key(*id),
                    (entry.used_bytes > 0).then(|| row::encode_number(entry.used_bytes)),
                );
            }
            if entry.shares_dirty.is_some() {
                let value = self.shares.get(id).map(row::encode_grantees);
                put(row::SHARES, row::account_key(*id), value);
            }
        }
        for id in &collected.mailboxes {
            let entry = &self.mailboxes[id];
            if entry.head_dirty.is_some() {
                put(
                    row::HEADS,
                    row::mailbox_key(*id),
                    Some(encoded(|out| entry.head.encode(out))),
                );
            }
            if let (Some(_), Some(gone)) = (entry.gone_dirty, &entry.gone) {
                put(
                    row::GONE,
                    row::mailbox_key(*id),
                    Some(encoded(|out| gone.encode(out))),
                );
            }
            for chunk in entry.dirty_chunks.keys() {
                let messages = of_chunk(&entry.messages, *chunk);
                // An empty chunk has no row, and a row that was there is deleted.
                let value =
                    (!messages.is_empty()).then(|| encoded(|out| row::put_messages(out, messages)));
                put(row::CHUNKS, row::chunk_key(*id, *chunk), value);
            }
        }
        let condemned = self
            .condemned_dirty
            .map_or_else(Default::default, |_| self.condemned.iter());
        for id in condemned
            .filter(|(_, condemned)| condemned.dirty.is_some())
            .map(|(id, _)| id)
        {
            put(row::HEADS, row::mailbox_key(*id), None);
            put(row::GONE, row::mailbox_key(*id), None);
            // A deletion of a large mailbox is one small row here. Its chunks are cleared away later, some with each checkpoint.
            put(row::CONDEMNED, row::mailbox_key(*id), Some(Vec::new()));
        }
        self.collect_copies(changes);
        self.epoch += 1;
        collected
    }

    /// `collected` is durable in the projection: what did not change since is clean.
    pub fn settle(&mut self, collected: &Collected) {
        let epoch = collected.epoch;
        let clear = |stamp: &mut Option<Epoch>| {
            // Changed again meanwhile: it has a later stamp and stays dirty.
            if stamp.is_some_and(|stamp| stamp <= epoch) {
                *stamp = None;
            }
        };
        clear(&mut self.counters_dirty);
        self.settle_copies(epoch);
        if self.condemned_dirty.is_some() {
            self.condemned
                .values_mut()
                .for_each(|condemned| clear(&mut condemned.dirty));
            clear(&mut self.condemned_dirty);
        }
        for id in &collected.accounts {
            let Some(entry) = self.accounts.get_mut(id) else {
                continue;
            };
            clear(&mut entry.tree_dirty);
            clear(&mut entry.used_dirty);
            clear(&mut entry.shares_dirty);
            if !entry.is_dirty() {
                self.dirty_accounts.remove(id);
            }
        }
        for id in &collected.mailboxes {
            let Some(entry) = self.mailboxes.get_mut(id) else {
                continue;
            };
            clear(&mut entry.head_dirty);
            clear(&mut entry.gone_dirty);
            entry.dirty_chunks.retain(|_, stamp| *stamp > epoch);
            if !entry.is_dirty() {
                self.dirty_mailboxes.remove(id);
            }
        }
        self.dirty_messages -= collected.messages;
        // Only what is clean can leave memory; a checkpoint is when most of it becomes so.
        self.evict();
    }
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    encode(&mut out);
    out
}
