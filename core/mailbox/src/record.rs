//! Entries of the log, as bytes. What happened, with every number it was given: replay invents none.
//!
//! Flag changes and expunges say what was asked, not what came of it; `state::apply` works that out from the state it
//! finds, live and in replay alike. So two sessions that change one message in one commit batch do not undo each other.
//! What a COPY places is written out in full: the target can be rebuilt when the source's records are gone.

use base::cursor::{Reader, Write};
use bytes::Bytes;
use mail::{Address, Flags, InternalDate, ModSeq, Uid, UidValidity};
use store::{BodyRef, Lsn, Record, RecordKind};

use crate::row::{
    AccountRow, Broken, Head, put_date, put_flags, put_messages, put_special_use, put_text,
    read_date, read_flags, read_messages, read_special_use, read_text, read_u32,
};
use crate::{AccountId, FlagChange, MailboxId, Message, SpecialUse};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    DomainPut {
        domain: String,
    },
    DomainRemove {
        domain: String,
    },
    AccountPut {
        account: AccountId,
        address: Address,
        password_hash: String,
        quota_bytes: u64,
    },
    AccountRemove {
        account: AccountId,
        /// So that a rebuilt volume does not give its mailboxes' numbers again.
        mailbox_next: MailboxId,
        /// No mailbox of the account had a higher one: an account that takes its address later begins above it.
        uid_validity_last: UidValidity,
    },
    AccountPassword {
        account: AccountId,
        password_hash: String,
    },
    AccountQuota {
        account: AccountId,
        quota_bytes: u64,
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
    /// Everything about the account but its messages, written again so that older records may go.
    AccountSnapshot {
        account: AccountId,
        row: AccountRow,
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
            Entry::DomainPut { domain } => {
                put_text(&mut out, domain);
                1
            }
            Entry::DomainRemove { domain } => {
                out.put_u64(PROTECTIVE_MAGIC);
                put_text(&mut out, domain);
                2
            }
            Entry::AccountPut {
                account,
                address,
                password_hash,
                quota_bytes,
            } => {
                out.put_varint(u64::from(account.0));
                put_text(&mut out, address.local());
                put_text(&mut out, address.domain());
                put_text(&mut out, password_hash);
                out.put_varint(*quota_bytes);
                3
            }
            Entry::AccountRemove {
                account,
                mailbox_next,
                uid_validity_last,
            } => {
                out.put_u64(PROTECTIVE_MAGIC);
                out.put_varint(u64::from(account.0));
                out.put_varint(mailbox_next.0);
                out.put_varint(u64::from(uid_validity_last.0));
                4
            }
            Entry::AccountPassword {
                account,
                password_hash,
            } => {
                out.put_varint(u64::from(account.0));
                put_text(&mut out, password_hash);
                5
            }
            Entry::AccountQuota {
                account,
                quota_bytes,
            } => {
                out.put_varint(u64::from(account.0));
                out.put_varint(*quota_bytes);
                6
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
                7
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
                8
            }
            Entry::MailboxDelete {
                account,
                mailbox,
                name,
                uid_validity,
            } => {
                out.put_u64(PROTECTIVE_MAGIC);
                out.put_varint(u64::from(account.0));
                out.put_varint(mailbox.0);
                put_text(&mut out, name);
                out.put_varint(u64::from(uid_validity.0));
                9
            }
            Entry::Subscribe {
                account,
                name,
                subscribed,
            } => {
                out.put_varint(u64::from(account.0));
                put_text(&mut out, name);
                out.put_u8(u8::from(*subscribed));
                10
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
                11
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
                12
            }
            Entry::Expunge {
                mailbox,
                modseq,
                deleted_only,
                uids,
            } => {
                out.put_u64(PROTECTIVE_MAGIC);
                out.put_varint(mailbox.0);
                out.put_varint(modseq.0);
                out.put_u8(u8::from(*deleted_only));
                put_uids(&mut out, uids);
                13
            }
            Entry::Place { mailbox, messages } => {
                out.put_varint(mailbox.0);
                put_messages(&mut out, messages);
                14
            }
            Entry::Relocate { mailbox, bodies } => {
                out.put_varint(mailbox.0);
                out.put_varint(bodies.len() as u64);
                for (uid, body) in bodies {
                    out.put_varint(u64::from(uid.0));
                    body.encode(&mut out);
                }
                15
            }
            Entry::AccountSnapshot {
                account,
                row,
                mailbox_next,
            } => {
                out.put_varint(u64::from(account.0));
                row.encode(&mut out);
                out.put_varint(mailbox_next.0);
                16
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
                17
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
            1 => Entry::DomainPut {
                domain: read_text(reader)?,
            },
            2 => {
                magic(reader)?;
                Entry::DomainRemove {
                    domain: read_text(reader)?,
                }
            }
            3 => {
                let account = AccountId(read_u32(reader)?);
                let local = read_text(reader)?;
                let domain = read_text(reader)?;
                let address = Address::from_parts(&local, &domain).ok_or(Broken)?;
                Entry::AccountPut {
                    account,
                    address,
                    password_hash: read_text(reader)?,
                    quota_bytes: reader.varint()?,
                }
            }
            4 => {
                magic(reader)?;
                Entry::AccountRemove {
                    account: AccountId(read_u32(reader)?),
                    mailbox_next: MailboxId(reader.varint()?),
                    uid_validity_last: UidValidity(read_u32(reader)?),
                }
            }
            5 => Entry::AccountPassword {
                account: AccountId(read_u32(reader)?),
                password_hash: read_text(reader)?,
            },
            6 => Entry::AccountQuota {
                account: AccountId(read_u32(reader)?),
                quota_bytes: reader.varint()?,
            },
            7 => Entry::MailboxCreate {
                account: AccountId(read_u32(reader)?),
                mailbox: MailboxId(reader.varint()?),
                name: read_text(reader)?,
                uid_validity: UidValidity(read_u32(reader)?),
                special_use: read_special_use(reader)?,
            },
            8 => Entry::MailboxRename {
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
            9 => {
                magic(reader)?;
                Entry::MailboxDelete {
                    account: AccountId(read_u32(reader)?),
                    mailbox: MailboxId(reader.varint()?),
                    name: read_text(reader)?,
                    uid_validity: UidValidity(read_u32(reader)?),
                }
            }
            10 => Entry::Subscribe {
                account: AccountId(read_u32(reader)?),
                name: read_text(reader)?,
                subscribed: read_bool(reader)?,
            },
            11 => Entry::Deliver {
                mailbox: MailboxId(reader.varint()?),
                uid: Uid(read_u32(reader)?),
                modseq: ModSeq(reader.varint()?),
                flags: read_flags(reader)?,
                internal_date: read_date(reader)?,
                body_index: read_u32(reader)?,
            },
            12 => Entry::Flag {
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
            13 => {
                magic(reader)?;
                Entry::Expunge {
                    mailbox: MailboxId(reader.varint()?),
                    modseq: ModSeq(reader.varint()?),
                    deleted_only: read_bool(reader)?,
                    uids: read_uids(reader)?,
                }
            }
            14 => {
                let mailbox = MailboxId(reader.varint()?);
                let mut messages = Vec::new();
                read_messages(reader, &mut messages)?;
                Entry::Place { mailbox, messages }
            }
            15 => {
                let mailbox = MailboxId(reader.varint()?);
                let mut bodies = Vec::new();
                for _ in 0..reader.varint()? {
                    bodies.push((Uid(read_u32(reader)?), BodyRef::decode(reader)?));
                }
                Entry::Relocate { mailbox, bodies }
            }
            16 => Entry::AccountSnapshot {
                account: AccountId(read_u32(reader)?),
                row: AccountRow::decode(reader)?,
                mailbox_next: MailboxId(reader.varint()?),
            },
            17 => {
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

    /// The account whose row the entry is about; only a later snapshot of it makes the entry superfluous.
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Entry::AccountPut { account, .. }
            | Entry::AccountRemove { account, .. }
            | Entry::AccountPassword { account, .. }
            | Entry::AccountQuota { account, .. }
            | Entry::MailboxCreate { account, .. }
            | Entry::MailboxRename { account, .. }
            | Entry::MailboxDelete { account, .. }
            | Entry::Subscribe { account, .. }
            | Entry::AccountSnapshot { account, .. } => Some(*account),
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

fn magic(reader: &mut Reader<'_>) -> Result<(), Broken> {
    if reader.u64()? == PROTECTIVE_MAGIC {
        Ok(())
    } else {
        Err(Broken)
    }
}

/// Stands before everything that takes mail away (storage.md A7): no stray record shape can pass for one.
const PROTECTIVE_MAGIC: u64 = 0x6e6f_7369_6c79_6d67;
/// A record never names more UIDs than a mailbox can hold; a false length must not fill memory.
const UIDS_READ_MAX: usize = crate::limits::UIDS_PER_RECORD_MAX;

#[cfg(test)]
mod tests;
