//! What a change costs the projection, what it may take from the reserve, and how room is made at once when there is none.
//!
//! A full volume does not wait for its timers: whoever is refused, or deletes, sets `hurry`, and the upkeep task runs rounds of checkpoint
//! and reclaim until mail fits again. Mail that was deleted makes room in two rounds: the first writes the deletion down and empties
//! segments, the second writes down that they are empty and frees them.

use std::rc::Rc;

use mail::{SystemFlags, Uid};
use store::Purpose;

use crate::copy::encoded_bytes_max;
use crate::inner::Inner;
use crate::limits::{
    ROOM_ROUNDS_AWAITED, ROOM_ROUNDS_MAX, ROW_BYTES, TIDY_ROUNDS, UIDS_PER_RECORD_MAX,
};
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

impl Mailboxes {
    /// Before a full volume is served again: gives back what earlier starts left half filled. Each start begins a segment, and the first
    /// deletion would keep it; started again and again, the volume would be used up.
    pub(crate) async fn tidy(&self) {
        for _round in 0..TIDY_ROUNDS {
            if !self.inner.store.is_short() {
                return;
            }
            let written = self.inner.checkpoint().await;
            // What an earlier checkpoint let go is freed even where there is no room for another one.
            let freed_count = self.reclaim().await;
            if let Err(fault) = written
                && freed_count == 0
            {
                tracing::warn!(%fault, "a full volume could not be tidied at its opening");
                return;
            }
        }
    }
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

    /// Waits until the log would take a group for this `purpose` that changes some `rows`. What is kept is refused as `Full` unless a
    /// checkpoint alone makes room for it; a deletion waits for reclaim, which it feeds.
    pub async fn room_for(
        &self,
        purpose: Purpose,
        has_bodies: bool,
        rows: u64,
    ) -> Result<(), MailboxFault> {
        self.room().await?;
        for _round in 0..ROOM_ROUNDS_AWAITED {
            if self.store.admits(purpose, has_bodies, rows) {
                return Ok(());
            }
            let helps =
                purpose == Purpose::Delete || self.store.owes_much() && !self.store.is_short();
            let eased = self.eased.wait();
            self.hurry();
            if !helps {
                break;
            }
            eased.await;
            if let Some(why) = self.store.volume().refuses() {
                return Err(MailboxFault::Unavailable(why));
            }
            if self.closed.get() {
                break;
            }
        }
        if self.store.admits(purpose, has_bodies, rows) {
            return Ok(());
        }
        Err(MailboxFault::Full)
    }

    /// A deletion that waits for locks and holds between its look for room and its append: reclaim goes on meanwhile and may take the room.
    /// `attempt` has had no effect when it answers `Full`, and is made again.
    pub async fn deleting<T>(
        &self,
        rows: u64,
        attempt: impl AsyncFn() -> Result<T, MailboxFault>,
    ) -> Result<T, MailboxFault> {
        for _attempt in 0..ROOM_ROUNDS_AWAITED {
            self.room_for(Purpose::Delete, false, rows).await?;
            match attempt().await {
                Err(MailboxFault::Full) => {}
                done => return done,
            }
        }
        Err(MailboxFault::Full)
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

    /// Has the upkeep task make room as soon as it can.
    pub fn hurry(&self) {
        self.hurried.set(true);
        self.hurry.ring();
    }

    /// Checkpoints, and reclaims where that is what is missing, until mail fits or nothing more comes of it.
    pub async fn make_room(self: &Rc<Self>) {
        let mailboxes = Mailboxes {
            inner: self.clone(),
        };
        let mut emptied_count = self.store.emptied_segments();
        let mut uncounted = self.store.uncounted_segments();
        if self.futile_at.get() == self.state.borrow().applied {
            // Nothing happened since the last time that nothing came of it.
            self.hurried.set(false);
            self.eased.ring();
            return;
        }
        for _round in 0..ROOM_ROUNDS_MAX {
            self.hurried.set(false);
            let written = self.checkpoint().await;
            if let Err(fault) = &written {
                tracing::error!(%fault, "a checkpoint failed; the log keeps everything, the next attempt follows");
            }
            let freed_count = if self.store.is_short() {
                mailboxes.reclaim().await
            } else {
                0
            };
            let before = std::mem::replace(&mut emptied_count, self.store.emptied_segments());
            let unseen = std::mem::replace(&mut uncounted, self.store.uncounted_segments());
            let moves = freed_count > 0 || emptied_count > before || uncounted < unseen;
            self.eased.ring();
            if written.is_err() && freed_count == 0 || !self.store.is_short() {
                return;
            }
            if !moves {
                self.futile_at.set(self.state.borrow().applied);
                return;
            }
        }
    }
}
