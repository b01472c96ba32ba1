//! Rows of the projection, as bytes.
//!
//! | table | key | value |
//! |---|---|---|
//! | `COUNTERS` | empty | next mailbox, highest UIDVALIDITY of accounts removed |
//! | `TREES` | account (u32 big-endian) | UIDVALIDITYs, folders, subscriptions |
//! | `USAGE` | account (u32 big-endian) | bytes used |
//! | `HEADS` | mailbox (u64 big-endian) | numbers of the mailbox |
//! | `CHUNKS` | mailbox (u64 big-endian), chunk (u32 big-endian) | up to `CHUNK_MESSAGES` messages |
//! | `GONE` | mailbox (u64 big-endian) | UIDs that were expunged lately |
//! | `SHARES` | account (u32 big-endian) | whom its access lists give rights to |
//! | `UNFINISHED` | mailbox (u64 big-endian), first UID of the copy (u32 big-endian) | source, and ranges of UIDs, of a COPY under way |
//! | `CONDEMNED` | mailbox (u64 big-endian) | empty: deleted, its chunks are still to be cleared away |
//!
//! A message's chunk is its UID divided by `CHUNK_MESSAGES`: no row is ever split or merged, and the row to rewrite after
//! a change is known without looking.
//!
//! Here are tables, keys and what all rows share; each kind of row has a file. Reading never panics on what the bytes say.

mod access;
mod counters;
mod gone;
mod head;
mod left;
mod message;
mod notes;
mod tree;
mod unfinished;

pub use access::{
    Access, AccessList, Grantee, Who, decode_grantees, encode_grantees, list_bytes_max,
    put_access_list, read_access_list,
};
pub use counters::Counters;
pub use gone::Gone;
pub use head::Head;
pub use left::NamesLeft;
pub use message::{
    encoded_bytes_max, put_date, put_flags, put_messages, read_date, read_flags, read_messages,
};
pub use notes::{Notes, put_value, read_value};
pub use tree::{Folder, Tree, name_bytes_max, put_special_use, read_special_use};
pub use unfinished::{copy_key, decode_copy, encode_copy, put_ranges, read_copy_key, read_ranges};

use base::cursor::Reader;
use mail::Uid;
use store::Table;

pub use tenancy::encoding::{Broken, decode_number, encode_number, read_u32};

use crate::limits::CHUNK_MESSAGES;
use crate::{AccountId, MailboxId};

/// One row: the counters of the volume.
pub const COUNTERS: Table = Table(32);
/// By account.
pub const TREES: Table = Table(33);
/// By account.
pub const USAGE: Table = Table(34);
/// By mailbox.
pub const HEADS: Table = Table(35);
/// By mailbox and chunk.
pub const CHUNKS: Table = Table(36);
/// By mailbox.
pub const CONDEMNED: Table = Table(37);
/// By mailbox.
pub const GONE: Table = Table(38);
/// By account.
pub const SHARES: Table = Table(39);
/// By mailbox and first UID.
pub const UNFINISHED: Table = Table(41);

/// Which chunk row holds a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chunk(pub u32);

impl Chunk {
    pub fn of(uid: Uid) -> Chunk {
        Chunk(uid.0 / CHUNK_MESSAGES)
    }
    pub fn next(self) -> Chunk {
        Chunk(self.0 + 1)
    }
    /// The lowest UID of the chunk (0 for the first chunk, which no message has).
    pub fn first_uid(self) -> Uid {
        Uid(self.0.saturating_mul(CHUNK_MESSAGES))
    }
}

/// Big-endian, so that the projection's order is the order of numbers.
pub fn account_key(account: AccountId) -> Vec<u8> {
    account.0.to_be_bytes().to_vec()
}
/// As `account_key`.
pub fn mailbox_key(mailbox: MailboxId) -> Vec<u8> {
    mailbox.0.to_be_bytes().to_vec()
}
/// The mailbox's key and the chunk: the chunks of a mailbox are neighbours, in the order of UIDs.
pub fn chunk_key(mailbox: MailboxId, chunk: Chunk) -> Vec<u8> {
    let mut key = mailbox_key(mailbox);
    key.extend_from_slice(&chunk.0.to_be_bytes());
    key
}
/// The pair of `account_key`.
pub fn read_account_key(key: &[u8]) -> Result<AccountId, Broken> {
    Ok(AccountId(u32::from_be_bytes(
        key.try_into().map_err(|_| Broken)?,
    )))
}
/// The pair of `mailbox_key`.
pub fn read_mailbox_key(key: &[u8]) -> Result<MailboxId, Broken> {
    Ok(MailboxId(u64::from_be_bytes(
        key.try_into().map_err(|_| Broken)?,
    )))
}
/// The pair of `chunk_key`.
pub fn read_chunk_key(key: &[u8]) -> Result<(MailboxId, Chunk), Broken> {
    let (mailbox, chunk) = key.split_at_checked(8).ok_or(Broken)?;
    Ok((
        read_mailbox_key(mailbox)?,
        Chunk(u32::from_be_bytes(chunk.try_into().map_err(|_| Broken)?)),
    ))
}

/// 0 or 1.
pub fn read_bool(reader: &mut Reader<'_>) -> Result<bool, Broken> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Broken),
    }
}

/// The first byte of a row.
fn version(reader: &mut Reader<'_>) -> Result<(), Broken> {
    if reader.u8()? == ROW_VERSION {
        Ok(())
    } else {
        Err(Broken)
    }
}

/// The shape of all rows; another one is `Broken`, which refuses the opening.
const ROW_VERSION: u8 = 3;

#[cfg(test)]
pub(crate) mod tests;
