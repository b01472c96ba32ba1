//! What a change costs the projection, and what it may take from the reserve (`tenancy`, `room.rs`).

use std::rc::Rc;

use mail::{SystemFlags, Uid};
use store::Purpose;

use crate::copy::encoded_bytes_max;
use crate::inner::{Inner, unavailable};
use crate::limits::{ROOM_ROUNDS_AWAITED, ROW_BYTES, UIDS_PER_RECORD_MAX};
use crate::load::{Depth, Hold};
use crate::record::Entry;
use crate::row::Chunk;
use crate::state::{State, of_chunk};
use crate::{FlagChange, MailboxFault, MailboxId, Mailboxes};

impl Entry {
    /// What the entry is for. What writes older entries again is reclaim's.
    fn purpose(&self) -> Purpose {
        match self {
            Entry::Expunge { .. } | Entry::MailboxDelete { .. } | Entry::AccountRemove { .. } => {
                Purpose::Delete
            }
            Entry::Flag { change, flags, .. }
                if *change != FlagChange::Remove && flags.system.contains(SystemFlags::DELETED) =>
            {
                Purpose::Delete
            }
            Entry::Relocate { .. }
            | Entry::AccountSnapshot { .. }
            | Entry::MailboxSnapshot { .. } => Purpose::Reclaim,
            _ => Purpose::Keep,
        }
    }
}

/// Rows that a change of an account or of one of its folders writes: account, key, counters, head, a row of a deleted mailbox.
pub const DIRECTORY_ROWS: u64 = 5;

/// A new account with its folders.
pub const ACCOUNT_ROWS: u64 = 40;

/// Of a group: the purpose that all its entries share, else it is kept.
pub fn purpose_of(entries: &[Entry]) -> Purpose {
    let first = entries.first().map_or(Purpose::Keep, Entry::purpose);
    let same = entries.iter().all(|entry| entry.purpose() == first);
    if same { first } else { Purpose::Keep }
}

impl State {
    /// Rows that a checkpoint has to write because of `entries`, at most. A row larger than two pages counts as several.
    pub fn rows_of(&self, entries: &[Entry]) -> u64 {
        entries.iter().map(|entry| self.rows_of_one(entry)).sum()
    }

    fn rows_of_one(&self, entry: &Entry) -> u64 {
        match entry {
            Entry::Subscribe { .. } => 1,
            Entry::DomainPut { .. }
            | Entry::DomainRemove { .. }
            | Entry::MailboxSnapshot { .. } => 2,
            Entry::AccountPut { .. }
            | Entry::AccountPassword { .. }
            | Entry::AccountQuota { .. }
            | Entry::AccountSnapshot { .. }
            | Entry::MailboxDelete { .. } => DIRECTORY_ROWS,
            Entry::MailboxCreate { .. } | Entry::MailboxRename { .. } => 3,
            // Each of its mailboxes has a head. The rows that remember them until their chunks are cleared are small and neighbours.
            Entry::AccountRemove { account, .. } => {
                let row = self
                    .accounts
                    .get(account)
                    .and_then(|entry| entry.row.as_ref());
                DIRECTORY_ROWS + row.map_or(0, |row| row.folders.len() as u64)
            }
            // The head, the bytes used, the chunk.
            Entry::Deliver { mailbox, uid, .. } => 2 + self.rows_of_chunks(*mailbox, &[*uid]),
            Entry::Flag { mailbox, uids, .. } | Entry::Expunge { mailbox, uids, .. } => {
                2 + self.rows_of_chunks(*mailbox, uids)
            }
            Entry::Place { mailbox, messages } => {
                let uids: Vec<Uid> = messages.iter().map(|message| message.uid).collect();
                let bytes: usize = messages.iter().map(encoded_bytes_max).sum();
                2 + self.rows_of_chunks(*mailbox, &uids) + (bytes / ROW_BYTES) as u64
            }
            Entry::Relocate { mailbox, bodies } => {
                let uids: Vec<Uid> = bodies.iter().map(|(uid, _)| *uid).collect();
                1 + self.rows_of_chunks(*mailbox, &uids)
            }
        }
    }

    /// `uids` ascend.
    fn rows_of_chunks(&self, mailbox: MailboxId, uids: &[Uid]) -> u64 {
        let messages = self
            .mailboxes
            .get(&mailbox)
            .map(|entry| &entry.messages[..]);
        let chunks = uids.chunk_by(|a, b| Chunk::of(*a) == Chunk::of(*b));
        chunks
            .map(|uids| {
                let there = of_chunk(messages.unwrap_or(&[]), Chunk::of(uids[0]));
                let bytes: usize = there.iter().map(encoded_bytes_max).sum();
                1 + (bytes / ROW_BYTES) as u64
            })
            .sum()
    }
}

/// Rows that a change of `uids` (ascending) writes, about: their chunks, the head, the bytes used.
pub fn rows_of_part(uids: &[Uid]) -> u64 {
    2 + uids.chunk_by(|a, b| Chunk::of(*a) == Chunk::of(*b)).count() as u64
}

impl Inner {
    /// `uids` ascending, without repetition, in pieces whose change fits one record and a full volume's reserve.
    pub fn in_parts(&self, uids: &[Uid]) -> Vec<Vec<Uid>> {
        let mut uids = uids.to_vec();
        uids.sort_unstable();
        uids.dedup();
        let rows_max = (self.store.rows_at_once() / 2).max(1);
        let mut parts: Vec<Vec<Uid>> = Vec::new();
        let (mut rows, mut last) = (0, None);
        for uid in uids {
            let chunk = Some(Chunk::of(uid));
            rows += u64::from(chunk != last);
            last = chunk;
            match parts.last_mut() {
                Some(part) if rows <= rows_max && part.len() < UIDS_PER_RECORD_MAX => {
                    part.push(uid)
                }
                _ => {
                    parts.push(vec![uid]);
                    rows = 1;
                }
            }
        }
        parts
    }

    /// `Tenancy::room_for`.
    pub async fn room_for(
        &self,
        purpose: Purpose,
        has_bodies: bool,
        rows: u64,
    ) -> Result<(), MailboxFault> {
        let room = self.tenancy.room_for(purpose, has_bodies, rows).await;
        room.map_err(unavailable)
    }

    /// `Tenancy::deleting`.
    pub async fn deleting<T>(
        &self,
        rows: u64,
        attempt: impl AsyncFn() -> Result<T, MailboxFault>,
    ) -> Result<T, MailboxFault> {
        self.tenancy.deleting(rows, attempt).await
    }

    /// As `room_for`, with `mailbox` held at the end. Reclaim goes on while the mailbox is waited for, and what it writes may take the room that was
    /// there: the group is to be appended without waiting for anything in between.
    pub async fn room_and_hold(
        self: &Rc<Self>,
        purpose: Purpose,
        rows: u64,
        mailbox: MailboxId,
        depth: Depth,
    ) -> Result<Hold, MailboxFault> {
        let mailboxes = Mailboxes {
            inner: self.clone(),
        };
        for _attempt in 0..ROOM_ROUNDS_AWAITED {
            self.room_for(purpose, false, rows).await?;
            let hold = mailboxes.hold_open(mailbox, depth).await?;
            if self.store.admits(purpose, false, rows) {
                return Ok(hold);
            }
        }
        Err(MailboxFault::Full)
    }
}
