//! One message read piece by piece, for a session that sends it: some of it is in memory, whatever the message's size and the client's pace.
//!
//! With room in the account's share of `Memory::sending` a piece is what the store keeps together, half a mebibyte. Without, a piece is cut
//! down to what every connection may hold anyway: it is read again for each cut, so that a slow client costs others nothing
//! but some reads at its own slow pace.

use std::cell::RefCell;
use std::collections::VecDeque;

use base::BodyName;
use bytes::Bytes;
use mailbox::{MailboxFault, MailboxId, Message};
use runtime::{Holder, SessionHost};
use storage::owner::Ask;
use store::Pieces;

use crate::limits::{
    ASK_AGAIN_AFTER, ASK_AGAIN_MAX, DAMAGED_REMEMBERED_MAX, LEAST_BYTES, WINDOW_BYTES,
};
use crate::memory::Memory;

/// Why a piece could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    Mailbox(MailboxFault),
    /// The owner did not answer in a minute.
    Busy,
}

impl From<MailboxFault> for Unread {
    fn from(fault: MailboxFault) -> Self {
        Unread::Mailbox(fault)
    }
}

/// Messages that were found damaged while they were sent, of one core. A small memory: it forgets the oldest.
#[derive(Default)]
pub struct Damages(RefCell<VecDeque<BodyName>>);

impl Damages {
    /// Whether it was. A leg that came back may have repaired it since: all of it is to be read before anything is announced.
    pub fn knows(&self, message: &Message) -> bool {
        self.0.borrow().contains(&message.body.name)
    }

    /// It was read to its end.
    pub fn forget(&self, message: &Message) {
        let mut names = self.0.borrow_mut();
        names.retain(|name| *name != message.body.name);
    }

    /// It could not be.
    pub fn remember(&self, message: &Message) {
        if self.knows(message) {
            return;
        }
        let mut names = self.0.borrow_mut();
        if names.len() >= DAMAGED_REMEMBERED_MAX {
            names.pop_front();
        }
        names.push_back(message.body.name);
    }
}

/// Whose memory is used, and where the messages are.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    pub holder: Holder,
    pub mailbox: MailboxId,
}

/// Reads one message piece by piece.
pub struct Reader<'s, K> {
    pub owner: &'s K,
    pub host: &'s SessionHost,
    pub memory: &'s Memory,
    pub reading: Reading,
    pub message: &'s Message,
    /// What the last read found, so that the next one looks nothing up.
    pub kept: Option<Pieces>,
    /// There is a window to hold pieces in as they are stored.
    pub large: bool,
}

impl<K: Ask> Reader<'_, K> {
    /// Some bytes from `at` on, none past `end`; at least one before it. Without a window (`!large`) a copy of a few.
    pub async fn read(&mut self, at: usize, end: usize) -> Result<Bytes, Unread> {
        if at >= end {
            return Ok(Bytes::new());
        }
        if self.large {
            let piece = self.piece(at).await?;
            return Ok(piece.slice(..piece.len().min(end - at)));
        }
        // Held while it is read and cut down, which no client can prolong.
        let memory = &self.memory.reading;
        let _charge = memory.wait_for(self.reading.holder, WINDOW_BYTES).await;
        let piece = self.piece(at).await?;
        let bytes = piece.len().min(end - at).min(LEAST_BYTES);
        Ok(Bytes::copy_from_slice(&piece[..bytes]))
    }

    async fn piece(&mut self, at: usize) -> Result<Bytes, Unread> {
        let (mailbox, uid, at) = (self.reading.mailbox, self.message.uid, at as u32);
        for _ in 0..ASK_AGAIN_MAX {
            let (body, kept) = (self.message.body.clone(), self.kept.clone());
            let asked = self
                .owner
                .ask(move |mailboxes| async move {
                    mailboxes.piece(mailbox, uid, &body, kept, at).await
                })
                .await;
            match asked {
                Ok(Ok((bytes, pieces))) if !bytes.is_empty() => {
                    self.kept = Some(pieces);
                    return Ok(bytes);
                }
                Ok(Ok(_)) => return Err(MailboxFault::Damaged.into()),
                Ok(Err(fault)) => return Err(fault.into()),
                // The lane is full for a moment: no reason to cut short what was begun.
                Err(_) => self.host.sleep(ASK_AGAIN_AFTER).await,
            }
        }
        Err(Unread::Busy)
    }
}
