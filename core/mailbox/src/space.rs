//! What a change costs the projection, and what it may take from the reserve (`tenancy`, `room.rs`).

use std::rc::Rc;

use mail::Uid;
use store::Purpose;

use crate::hold::Hold;
use crate::inner::{Inner, unavailable};
use crate::limits::{ROOM_ROUNDS_AWAITED, UIDS_PER_RECORD_MAX};
use crate::noun::Depth;
use crate::row::Chunk;
use crate::{MailboxFault, MailboxId, Mailboxes};

/// Rows that a change of `uids` (ascending) writes, about: their chunks, the head, the bytes used, what went.
pub fn rows_of_part(uids: &[Uid]) -> u64 {
    3 + uids.chunk_by(|a, b| Chunk::of(*a) == Chunk::of(*b)).count() as u64
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
