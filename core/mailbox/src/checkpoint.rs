//! What a checkpoint writes of mailboxes: rows that differ from the projection, and the clearing away of deleted ones.
//!
//! `tenancy` says when, and collects the rows of all tenants in one turn.

use store::Change;

use crate::inner::{Inner, broken, unavailable};
use crate::limits::{CONDEMNED_PER_CHECKPOINT, CONDEMNED_ROWS_PER_CHECKPOINT};
use crate::row::{self, Chunk};
use crate::state::Cleared;
use crate::{MailboxFault, MailboxId, Mailboxes};

impl Mailboxes {
    /// Checkpoints what is in memory; for a clean stop. Later changes are refused.
    pub async fn close(&self) -> Result<(), MailboxFault> {
        self.inner.tenancy.close().await.map_err(unavailable)
    }

    /// Writes everything newer than the projection into it now.
    pub async fn checkpoint(&self) -> Result<(), MailboxFault> {
        self.inner.tenancy.checkpoint().await.map_err(unavailable)
    }

    /// One reclaim pass; the store decides whether there is anything to do. Says how many segments were freed.
    /// A second call while one runs answers 0.
    pub async fn reclaim(&self) -> usize {
        self.inner.tenancy.reclaim().await
    }
}

impl Inner {
    /// Looks up rows of deleted mailboxes. No session can open them any more, so they may go at any checkpoint after the one that
    /// wrote the deletion down.
    pub async fn clear_condemned(&self) -> Result<(), MailboxFault> {
        let mailboxes: Vec<(MailboxId, Chunk)> = {
            let state = self.state.borrow();
            let written = state
                .condemned
                .iter()
                .filter(|(_, condemned)| condemned.dirty.is_none());
            written
                .take(CONDEMNED_PER_CHECKPOINT)
                .map(|(id, condemned)| (*id, condemned.cleared_to))
                .collect()
        };
        let mut cleared = Cleared::default();
        for (mailbox, from) in mailboxes {
            let (from, to) = (
                row::chunk_key(mailbox, from),
                row::mailbox_key(MailboxId(mailbox.0 + 1)),
            );
            let rows = self
                .store
                .range(row::CHUNKS, from, to, CONDEMNED_ROWS_PER_CHECKPOINT)
                .await
                .map_err(unavailable)?;
            let cleared_to = match rows.last() {
                Some((key, _)) if rows.len() == CONDEMNED_ROWS_PER_CHECKPOINT => {
                    Some(row::read_chunk_key(key).map_err(broken)?.1.next())
                }
                _ => None,
            };
            cleared
                .changes
                .extend(rows.into_iter().map(|(key, _)| Change {
                    table: row::CHUNKS,
                    key,
                    value: None,
                }));
            if cleared_to.is_none() {
                cleared.changes.push(Change {
                    table: row::CONDEMNED,
                    key: row::mailbox_key(mailbox),
                    value: None,
                });
            }
            cleared.mailboxes.push((mailbox, cleared_to));
        }
        self.writing.borrow_mut().cleared = cleared;
        Ok(())
    }

    /// Adds every row that differs from the projection to `changes`.
    pub fn collect_rows(&self, changes: &mut Vec<Change>) {
        let mut writing = self.writing.borrow_mut();
        let mut collected = self.state.borrow_mut().collect();
        changes.append(&mut collected.changes);
        changes.append(&mut writing.cleared.changes);
        writing.collected = Some(collected);
    }

    /// What `collect_rows` gave is durable in the projection.
    pub fn settle_rows(&self) {
        let writing = std::mem::take(&mut *self.writing.borrow_mut());
        let mut state = self.state.borrow_mut();
        if let Some(collected) = &writing.collected {
            state.settle(collected);
        }
        for (mailbox, cleared_to) in writing.cleared.mailboxes {
            match cleared_to {
                None => _ = state.condemned.remove(&mailbox),
                Some(chunk) => {
                    if let Some(condemned) = state.condemned.get_mut(&mailbox) {
                        condemned.cleared_to = chunk;
                    }
                }
            }
        }
    }
}
