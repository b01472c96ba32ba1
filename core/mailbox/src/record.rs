//! Entries of the log, as bytes. What happened, with every number it was given: replay invents none.
//!
//! Flag changes and expunges say what was asked, not what came of it; `state::apply` works that out from the state it
//! finds, live and in replay alike. So two sessions that change one message in one commit batch do not undo each other.
//! What a COPY places is written out in full: the target can be rebuilt when the source's records are gone.

use base::cursor::{Reader, Write};
use bytes::Bytes;
use mail::{Flags, InternalDate, ModSeq, Uid, UidValidity};
use store::{BodyRef, Lsn, Record, RecordKind};

use tenancy::encoding::{Broken, put_magic, put_text, read_magic, read_text, read_u32};

use crate::row::{
    Head, Tree, put_date, put_flags, put_messages, put_special_use, read_date, read_flags,
    read_messages, read_special_use,
};
use crate::{AccountId, FlagChange, MailboxId, Message, SpecialUse};

// Kinds, of the mailboxes' share (`share.rs`).
const TREE_PUT: u8 = 32;
const TREE_REMOVE: u8 = 33;
const TREE_SNAPSHOT: u8 = 34;
const SUBSCRIBE: u8 = 35;
const MAILBOX_CREATE: u8 = 40;
const MAILBOX_RENAME: u8 = 41;
const MAILBOX_DELETE: u8 = 42;
const MAILBOX_SNAPSHOT: u8 = 43;
const DELIVER: u8 = 48;
const PLACE: u8 = 49;
const FLAG: u8 = 50;
const EXPUNGE: u8 = 51;
const RELOCATE: u8 = 52;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The account has a tree of mailboxes from now on, without any as yet.
    TreePut { account: AccountId },
    /// The account is gone, and all its mailboxes with it.
    TreeRemove {
        account: AccountId,
        /// So that a rebuilt volume does not give its mailboxes' numbers again.
        mailbox_next: MailboxId,
        /// No mailbox of the account had a higher one: an account that takes its address later begins above it.
        uid_validity_last: UidValidity,
    },
    MailboxCreate {
        account: AccountId,
        mailbox: MailboxId,
        name: String,
        uid_validity: UidValidity,
        special_use: Option<SpecialUse>,
    },
    /// `from` itself is no longer anybody's name unless a `MailboxCreate` in the same group takes it.
    MailboxRename {
        account: AccountId,
        mailbox: MailboxId,
        from: String,
        to: String,
        /// Of the mailbox from now on.
        uid_validity: UidValidity,
        /// Set for INBOX, and where UIDVALIDITY changes: sessions that had it selected are told it is gone.
        moved_at: Option<ModSeq>,
    },
    MailboxDelete {
        account: AccountId,
        mailbox: MailboxId,
        name: String,
        uid_validity: UidValidity,
    },
    Subscribe {
        account: AccountId,
        name: String,
        subscribed: bool,
    },
    Deliver {
        mailbox: MailboxId,
        uid: Uid,
        modseq: ModSeq,
        flags: Flags,
        internal_date: InternalDate,
        /// Which of the group's bodies.
        body_index: u32,
    },
    Flag {
        mailbox: MailboxId,
        modseq: ModSeq,
        change: FlagChange,
        flags: Flags,
        uids: Vec<Uid>,
    },
    Expunge {
        mailbox: MailboxId,
        modseq: ModSeq,
        /// Only those that are \Deleted when it takes effect; a MOVE's expunge is unconditional.
        deleted_only: bool,
        uids: Vec<Uid>,
    },
    /// Messages placed by COPY or MOVE, at their new UIDs and modification sequence.
    Place {
        mailbox: MailboxId,
        messages: Vec<Message>,
    },
    /// Reclaim moved bodies: nothing a client could see changes.
    Relocate {
        mailbox: MailboxId,
        bodies: Vec<(Uid, BodyRef)>,
    },
    /// All about the account's mailboxes but their messages, written again so that older records may go.
    TreeSnapshot {
        account: AccountId,
        tree: Tree,
        mailbox_next: MailboxId,
    },
    /// The messages with `from <= uid < to` and the head, written again. With the last part, the records before the first one are
    /// no longer needed.
    MailboxSnapshot {
        mailbox: MailboxId,
        head: Head,
        from: Uid,
        to: Uid,
        /// Where the first part is; `None`: this is it.
        begun: Option<Lsn>,
        last: bool,
        messages: Vec<Message>,
    },
}

impl Entry {
    pub fn encode(&self) -> Record {
        let mut out = Vec::with_capacity(48);
        let kind = match self {
            Entry::TreePut { account } => {
                out.put_varint(u64::from(account.0));
                TREE_PUT
            }
            Entry::TreeRemove {
                account,
                mailbox_next,
                uid_validity_last,
            } => {
                put_magic(&mut out);
                out.put_varint(u64::from(account.0));
                out.put_varint(mailbox_next.0);
                out.put_varint(u64::from(uid_validity_last.0));
                TREE_REMOVE
            }
            Entry::MailboxCreate {
                account,
                mailbox,
                name,
                uid_validity,
                special_use,
            } => {
                out.put_varint(u64::from(account.0));
                out.put_varint(mailbox.0);
                put_text(&mut out, name);
                out.put_varint(u64::from(uid_validity.0));
                put_special_use(&mut out, *special_use);
                MAILBOX_CREATE
            }
            Entry::MailboxRename {
                account,
                mailbox,
                from,
                to,
                uid_validity,
                moved_at,
            } => {
                out.put_varint(u64::from(account.0));
                out.put_varint(mailbox.0);
                put_text(&mut out, from);
                put_text(&mut out, to);
                out.put_varint(u64::from(uid_validity.0));
                out.put_varint(moved_at.map_or(0, |modseq| modseq.0));
                MAILBOX_RENAME
            }
            Entry::MailboxDelete {
                account,
                mailbox,
                name,
                uid_validity,
            } => {
                put_magic(&mut out);
                out.put_varint(u64::from(account.0));
                out.put_varint(mailbox.0);
                put_text(&mut out, name);
                out.put_varint(u64::from(uid_validity.0));
                MAILBOX_DELETE
            }
            Entry::Subscribe {
                account,
                name,
                subscribed,
            } => {
                out.put_varint(u64::from(account.0));
                put_text(&mut out, name);
                out.put_u8(u8::from(*subscribed));
                SUBSCRIBE
            }
            Entry::Deliver {
                mailbox,
                uid,
                modseq,
                flags,
                internal_date,
                body_index,
            } => {
                out.put_varint(mailbox.0);
                out.put_varint(u64::from(uid.0));
                out.put_varint(modseq.0);
                put_flags(&mut out, flags);
                put_date(&mut out, *internal_date);
                out.put_varint(u64::from(*body_index));
                DELIVER
            }
            Entry::Flag {
                mailbox,
                modseq,
                change,
                flags,
                uids,
            } => {
                out.put_varint(mailbox.0);
                out.put_varint(modseq.0);
                out.put_u8(match change {
                    FlagChange::Replace => 0,
                    FlagChange::Add => 1,
                    FlagChange::Remove => 2,
                });
                put_flags(&mut out, flags);
                put_uids(&mut out, uids);
                FLAG
            }
            Entry::Expunge {
                mailbox,
                modseq,
                deleted_only,
                uids,
            } => {
                put_magic(&mut out);
                out.put_varint(mailbox.0);
                out.put_varint(modseq.0);
                out.put_u8(u8::from(*deleted_only));
                put_uids(&mut out, uids);
                EXPUNGE
            }
            Entry::Place { mailbox, messages } => {
                out.put_varint(mailbox.0);
                put_messages(&mut out, messages);
                PLACE
            }
            Entry::Relocate { mailbox, bodies } => {
                out.put_varint(mailbox.0);
                out.put_varint(bodies.len() as u64);
                for (uid, body) in bodies {
                    out.put_varint(u64::from(uid.0));
                    body.encode(&mut out);
                }
                RELOCATE
            }
            Entry::TreeSnapshot {
                account,
                tree,
                mailbox_next,
            } => {
                out.put_varint(u64::from(account.0));
                tree.encode(&mut out);
                out.put_varint(mailbox_next.0);
                TREE_SNAPSHOT
            }
            Entry::MailboxSnapshot {
                mailbox,
                head,
                from,
                to,
                begun,
                last,
                messages,
            } => {
                out.put_varint(mailbox.0);
                head.encode(&mut out);
                out.put_varint(u64::from(from.0));
                out.put_varint(u64::from(to.0));
                out.put_varint(begun.map_or(0, |lsn| lsn.0));
                out.put_u8(u8::from(*last));
                put_messages(&mut out, messages);
                MAILBOX_SNAPSHOT
            }
        };
        Record {
            kind: RecordKind(kind),
            payload: Bytes::from(out),
        }
    }

    /// `Broken` for a kind or a shape this release does not know: such a log must not be opened by it.
    pub fn decode(record: &Record) -> Result<Entry, Broken> {
        let reader = &mut Reader::new(&record.payload);
        let entry = match record.kind.0 {
            TREE_PUT => Entry::TreePut {
                account: AccountId(read_u32(reader)?),
            },
            TREE_REMOVE => {
                read_magic(reader)?;
                Entry::TreeRemove {
                    account: AccountId(read_u32(reader)?),
                    mailbox_next: MailboxId(reader.varint()?),
                    uid_validity_last: UidValidity(read_u32(reader)?),
                }
            }
            MAILBOX_CREATE => Entry::MailboxCreate {
                account: AccountId(read_u32(reader)?),
                mailbox: MailboxId(reader.varint()?),
                name: read_text(reader)?,
                uid_validity: UidValidity(read_u32(reader)?),
                special_use: read_special_use(reader)?,
            },
            MAILBOX_RENAME => Entry::MailboxRename {
                account: AccountId(read_u32(reader)?),
                mailbox: MailboxId(reader.varint()?),
                from: read_text(reader)?,
                to: read_text(reader)?,
                uid_validity: UidValidity(read_u32(reader)?),
                moved_at: match reader.varint()? {
                    0 => None,
                    modseq => Some(ModSeq(modseq)),
                },
            },
            MAILBOX_DELETE => {
                read_magic(reader)?;
                Entry::MailboxDelete {
                    account: AccountId(read_u32(reader)?),
                    mailbox: MailboxId(reader.varint()?),
                    name: read_text(reader)?,
                    uid_validity: UidValidity(read_u32(reader)?),
                }
            }
            SUBSCRIBE => Entry::Subscribe {
                account: AccountId(read_u32(reader)?),
                name: read_text(reader)?,
                subscribed: read_bool(reader)?,
            },
            DELIVER => Entry::Deliver {
                mailbox: MailboxId(reader.varint()?),
                uid: Uid(read_u32(reader)?),
                modseq: ModSeq(reader.varint()?),
                flags: read_flags(reader)?,
                internal_date: read_date(reader)?,
                body_index: read_u32(reader)?,
            },
            FLAG => Entry::Flag {
                mailbox: MailboxId(reader.varint()?),
                modseq: ModSeq(reader.varint()?),
                change: match reader.u8()? {
                    0 => FlagChange::Replace,
                    1 => FlagChange::Add,
                    2 => FlagChange::Remove,
                    _ => return Err(Broken),
                },
                flags: read_flags(reader)?,
                uids: read_uids(reader)?,
            },
            EXPUNGE => {
                read_magic(reader)?;
                Entry::Expunge {
                    mailbox: MailboxId(reader.varint()?),
                    modseq: ModSeq(reader.varint()?),
                    deleted_only: read_bool(reader)?,
                    uids: read_uids(reader)?,
                }
            }
            PLACE => {
                let mailbox = MailboxId(reader.varint()?);
                let mut messages = Vec::new();
                read_messages(reader, &mut messages)?;
                Entry::Place { mailbox, messages }
            }
            RELOCATE => {
                let mailbox = MailboxId(reader.varint()?);
                let mut bodies = Vec::new();
                for _ in 0..reader.varint()? {
                    bodies.push((Uid(read_u32(reader)?), BodyRef::decode(reader)?));
                }
                Entry::Relocate { mailbox, bodies }
            }
            TREE_SNAPSHOT => Entry::TreeSnapshot {
                account: AccountId(read_u32(reader)?),
                tree: Tree::decode(reader)?,
                mailbox_next: MailboxId(reader.varint()?),
            },
            MAILBOX_SNAPSHOT => {
                let mailbox = MailboxId(reader.varint()?);
                let head = Head::decode(reader)?;
                let from = Uid(read_u32(reader)?);
                let to = Uid(read_u32(reader)?);
                let begun = match reader.varint()? {
                    0 => None,
                    lsn => Some(Lsn(lsn)),
                };
                let last = read_bool(reader)?;
                let mut messages = Vec::new();
                read_messages(reader, &mut messages)?;
                Entry::MailboxSnapshot {
                    mailbox,
                    head,
                    from,
                    to,
                    begun,
                    last,
                    messages,
                }
            }
            _ => return Err(Broken),
        };
        if reader.is_empty() {
            Ok(entry)
        } else {
            Err(Broken)
        }
    }

    /// The mailbox whose head or messages the entry is about; only a later snapshot of it makes the entry superfluous. A deletion
    /// is a matter of the account: a later list of its folders says the same.
    pub fn mailbox(&self) -> Option<MailboxId> {
        match self {
            Entry::MailboxCreate { mailbox, .. }
            | Entry::MailboxRename {
                mailbox,
                moved_at: Some(_),
                ..
            }
            | Entry::Deliver { mailbox, .. }
            | Entry::Flag { mailbox, .. }
            | Entry::Expunge { mailbox, .. }
            | Entry::Place { mailbox, .. }
            | Entry::Relocate { mailbox, .. }
            | Entry::MailboxSnapshot { mailbox, .. } => Some(*mailbox),
            _ => None,
        }
    }

    /// The account whose tree the entry is about; only a later snapshot of it makes the entry superfluous.
    pub fn tree(&self) -> Option<AccountId> {
        match self {
            Entry::TreePut { account }
            | Entry::TreeRemove { account, .. }
            | Entry::MailboxCreate { account, .. }
            | Entry::MailboxRename { account, .. }
            | Entry::MailboxDelete { account, .. }
            | Entry::Subscribe { account, .. }
            | Entry::TreeSnapshot { account, .. } => Some(*account),
            _ => None,
        }
    }
}

/// Ascending UIDs as runs: (distance from the last run's end, length).
fn put_uids(out: &mut Vec<u8>, uids: &[Uid]) {
    debug_assert!(uids.is_sorted());
    let mut runs = Vec::new();
    for uid in uids {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == uid.0 => *count += 1,
            _ => runs.push((uid.0, 1u32)),
        }
    }
    out.put_varint(runs.len() as u64);
    let mut end = 0;
    for (first, count) in runs {
        out.put_varint(u64::from(first - end));
        out.put_varint(u64::from(count));
        end = first + count;
    }
}

fn read_uids(reader: &mut Reader<'_>) -> Result<Vec<Uid>, Broken> {
    let mut uids = Vec::new();
    let mut end = 0u32;
    for _ in 0..reader.varint()? {
        let first = end.checked_add(read_u32(reader)?).ok_or(Broken)?;
        let count = read_u32(reader)?;
        end = first.checked_add(count).ok_or(Broken)?;
        if uids.len() + count as usize > UIDS_READ_MAX {
            return Err(Broken);
        }
        uids.extend((first..end).map(Uid));
    }
    Ok(uids)
}

fn read_bool(reader: &mut Reader<'_>) -> Result<bool, Broken> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Broken),
    }
}

/// A record never names more UIDs than a mailbox can hold; a false length must not fill memory.
const UIDS_READ_MAX: usize = crate::limits::UIDS_PER_RECORD_MAX;

#[cfg(test)]
mod tests;
