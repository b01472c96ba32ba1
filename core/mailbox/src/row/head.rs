//! The numbers of one mailbox, a row of `HEADS`.

use base::cursor::{Reader, Write};
use mail::{ModSeq, Uid, UidValidity};
use store::Lsn;

use super::{Broken, ROW_VERSION, read_u32, version};
use crate::AccountId;

/// The numbers of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Whose mailbox it is.
    pub account: AccountId,
    /// UIDs of another UIDVALIDITY mean other messages.
    pub uid_validity: UidValidity,
    /// The UID that the next message gets.
    pub uid_next: Uid,
    /// The highest modification sequence (RFC 7162).
    pub highest_modseq: ModSeq,
    pub messages: u32,
    /// Messages without \Seen.
    pub unseen: u32,
    /// Messages with \Deleted.
    pub deleted: u32,
    /// The sum of RFC822.SIZE.
    pub size_bytes: u64,
    /// Sessions that saw the mailbox before this still think it is INBOX; it was renamed away (0: never).
    pub moved_at: ModSeq,
    /// Records about this mailbox at or before it are no longer needed: a snapshot came later.
    pub snapshot: Lsn,
}

impl Head {
    /// A mailbox without messages.
    pub fn new(account: AccountId, uid_validity: UidValidity) -> Head {
        Head {
            account,
            uid_validity,
            uid_next: Uid(1),
            highest_modseq: ModSeq(1),
            messages: 0,
            unseen: 0,
            deleted: 0,
            size_bytes: 0,
            moved_at: ModSeq(0),
            snapshot: Lsn(0),
        }
    }
    /// Appends the row; the pair of `decode`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(ROW_VERSION);
        out.put_varint(u64::from(self.account.0));
        out.put_varint(u64::from(self.uid_validity.0));
        out.put_varint(u64::from(self.uid_next.0));
        out.put_varint(self.highest_modseq.0);
        out.put_varint(u64::from(self.messages));
        out.put_varint(u64::from(self.unseen));
        out.put_varint(u64::from(self.deleted));
        out.put_varint(self.size_bytes);
        out.put_varint(self.moved_at.0);
        out.put_varint(self.snapshot.0);
    }
    /// Reads what `encode` wrote. `Broken`: another version, or bytes that end early.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Head, Broken> {
        version(reader)?;
        Ok(Head {
            account: AccountId(read_u32(reader)?),
            uid_validity: UidValidity(read_u32(reader)?),
            uid_next: Uid(read_u32(reader)?),
            highest_modseq: ModSeq(reader.varint()?),
            messages: read_u32(reader)?,
            unseen: read_u32(reader)?,
            deleted: read_u32(reader)?,
            size_bytes: reader.varint()?,
            moved_at: ModSeq(reader.varint()?),
            snapshot: Lsn(reader.varint()?),
        })
    }
}
