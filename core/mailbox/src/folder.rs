//! A folder: one mailbox as a name in the tree of its account. What it holds is in `message`.
//!
//! | record | payload |
//! |---|---|
//! | 40 `Create` | account, mailbox, name, UIDVALIDITY, special use |
//! | 41 `Rename` | account, mailbox, name before, name after, UIDVALIDITY, MODSEQ or 0 |
//! | 42 `Delete` | protective magic, account, mailbox, name, UIDVALIDITY |
//!
//! Rows: in that of its tree (`row::Tree`), and `row::Head`.

use base::cursor::{Reader, Write};
use mail::{ModSeq, UidValidity};
use store::{BodyRef, Lsn, Purpose, RecordKind};
use tenancy::encoding::{Broken, put_magic, put_text, read_magic, read_text, read_u32};

use crate::limits::DIRECTORY_ROWS;
use crate::noun::{Depth, Effect, Needs, Noun};
use crate::remains::Remains;
use crate::row::{Folder, Head, put_special_use, read_special_use};
use crate::state::State;
use crate::{AccountId, MailboxId, SpecialUse};

const CREATE: RecordKind = RecordKind(40);
const RENAME: RecordKind = RecordKind(41);
const DELETE: RecordKind = RecordKind(42);

/// What happened to a folder, as one record of the log. The record's kind is in the table above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FolderEntry {
    /// A new mailbox, empty.
    Create {
        account: AccountId,
        /// Its number, which was never used before.
        mailbox: MailboxId,
        /// Its name, from the root.
        name: String,
        /// Higher than any that the name had before (RFC 3501 §2.3.1.1).
        uid_validity: UidValidity,
        /// Its role, if it has one.
        special_use: Option<SpecialUse>,
    },
    /// `from` itself is no longer anybody's name unless a `Create` in the same group takes it.
    Rename {
        account: AccountId,
        /// Its number, which stays.
        mailbox: MailboxId,
        /// The name before.
        from: String,
        /// The name from now on.
        to: String,
        /// Of the mailbox from now on.
        uid_validity: UidValidity,
        /// Set for INBOX, and where UIDVALIDITY changes: sessions that had it selected learn that it is gone.
        moved_at: Option<ModSeq>,
    },
    /// The mailbox and its messages are gone.
    Delete {
        account: AccountId,
        mailbox: MailboxId,
        /// Its name, which may be given to another mailbox.
        name: String,
        /// A later mailbox of the name gets a higher one.
        uid_validity: UidValidity,
    },
}

impl FolderEntry {
    /// The account that the record is about.
    fn account(&self) -> AccountId {
        match self {
            FolderEntry::Create { account, .. }
            | FolderEntry::Rename { account, .. }
            | FolderEntry::Delete { account, .. } => *account,
        }
    }
}

impl Noun for FolderEntry {
    fn encode(&self, out: &mut Vec<u8>) -> RecordKind {
        match self {
            FolderEntry::Create {
                account,
                mailbox,
                name,
                uid_validity,
                special_use,
            } => {
                out.put_varint(u64::from(account.0));
                out.put_varint(mailbox.0);
                put_text(out, name);
                out.put_varint(u64::from(uid_validity.0));
                put_special_use(out, *special_use);
                CREATE
            }
            FolderEntry::Rename {
                account,
                mailbox,
                from,
                to,
                uid_validity,
                moved_at,
            } => {
                out.put_varint(u64::from(account.0));
                out.put_varint(mailbox.0);
                put_text(out, from);
                put_text(out, to);
                out.put_varint(u64::from(uid_validity.0));
                out.put_varint(moved_at.map_or(0, |modseq| modseq.0));
                RENAME
            }
            FolderEntry::Delete {
                account,
                mailbox,
                name,
                uid_validity,
            } => {
                put_magic(out);
                out.put_varint(u64::from(account.0));
                out.put_varint(mailbox.0);
                put_text(out, name);
                out.put_varint(u64::from(uid_validity.0));
                DELETE
            }
        }
    }

    fn decode(kind: RecordKind, reader: &mut Reader<'_>) -> Result<Option<FolderEntry>, Broken> {
        Ok(Some(match kind {
            CREATE => FolderEntry::Create {
                account: AccountId(read_u32(reader)?),
                mailbox: MailboxId(reader.varint()?),
                name: read_text(reader)?,
                uid_validity: UidValidity(read_u32(reader)?),
                special_use: read_special_use(reader)?,
            },
            RENAME => FolderEntry::Rename {
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
            DELETE => {
                read_magic(reader)?;
                FolderEntry::Delete {
                    account: AccountId(read_u32(reader)?),
                    mailbox: MailboxId(reader.varint()?),
                    name: read_text(reader)?,
                    uid_validity: UidValidity(read_u32(reader)?),
                }
            }
            _ => return Ok(None),
        }))
    }

    fn samples() -> Vec<FolderEntry> {
        let (account, mailbox) = (AccountId(7), MailboxId(9));
        vec![
            FolderEntry::Create {
                account,
                mailbox,
                name: "Junk".into(),
                uid_validity: UidValidity(2),
                special_use: Some(SpecialUse::Junk),
            },
            FolderEntry::Rename {
                account,
                mailbox,
                from: "INBOX".into(),
                to: "Old/\u{e9}".into(),
                uid_validity: UidValidity(4),
                moved_at: Some(ModSeq(4)),
            },
            FolderEntry::Delete {
                account,
                mailbox,
                name: "Old".into(),
                uid_validity: UidValidity(4),
            },
        ]
    }

    fn tree(&self) -> Option<AccountId> {
        Some(self.account())
    }

    /// A deletion is a matter of the account: a later list of its folders says the same.
    fn mailbox(&self) -> Option<MailboxId> {
        match self {
            FolderEntry::Create { mailbox, .. }
            | FolderEntry::Rename {
                mailbox,
                moved_at: Some(_),
                ..
            } => Some(*mailbox),
            FolderEntry::Rename { moved_at: None, .. } | FolderEntry::Delete { .. } => None,
        }
    }

    fn needs(&self) -> Needs {
        let mailbox = match self {
            FolderEntry::Create { .. } | FolderEntry::Rename { moved_at: None, .. } => None,
            FolderEntry::Rename { mailbox, .. } | FolderEntry::Delete { mailbox, .. } => {
                Some((*mailbox, Depth::Head))
            }
        };
        Needs {
            account: Some(self.account()),
            mailbox,
        }
    }

    fn purpose(&self) -> Purpose {
        match self {
            FolderEntry::Create { .. } | FolderEntry::Rename { .. } => Purpose::Keep,
            FolderEntry::Delete { .. } => Purpose::Delete,
        }
    }

    fn rows(&self, _state: &State) -> u64 {
        match self {
            FolderEntry::Create { .. } | FolderEntry::Rename { .. } => 3,
            FolderEntry::Delete { .. } => DIRECTORY_ROWS,
        }
    }

    fn apply(&self, _lsn: Lsn, _bodies: &[BodyRef], state: &mut State) -> Effect {
        match self {
            FolderEntry::Create {
                account,
                mailbox,
                name,
                uid_validity,
                special_use,
            } => {
                state.raise_counters(Some(*mailbox));
                let folder = Folder {
                    mailbox: *mailbox,
                    special_use: *special_use,
                };
                let _known = state.change_tree(*account, |tree| {
                    tree.folders.insert(name.clone(), folder);
                    tree.left.take(name);
                    tree.uid_validity_last = tree.uid_validity_last.max(*uid_validity);
                });
                // In a rebuild the account may come later, as a snapshot.
                state.new_mailbox(*mailbox, Head::new(*account, *uid_validity));
                Effect::Applied
            }
            FolderEntry::Rename {
                account,
                mailbox,
                from,
                to,
                uid_validity,
                moved_at,
            } => {
                let effect = state.change_tree(*account, |tree| {
                    if tree
                        .folders
                        .get(from)
                        .is_some_and(|folder| folder.mailbox == *mailbox)
                        && let Some(folder) = tree.folders.remove(from)
                    {
                        tree.folders.insert(to.clone(), folder);
                    }
                    tree.uid_validity_last = tree.uid_validity_last.max(*uid_validity);
                    tree.left.leave(from, *uid_validity);
                    tree.left.take(to);
                });
                if let Some(modseq) = moved_at
                    && let Some(entry) = state.mailboxes.get_mut(mailbox)
                {
                    entry.head.uid_validity = *uid_validity;
                    entry.head.moved_at = *modseq;
                    entry.raise_modseq(*modseq);
                    state.touch_head(*mailbox);
                    state.rung.push((*mailbox, *modseq));
                }
                effect
            }
            FolderEntry::Delete {
                account,
                mailbox,
                name,
                uid_validity,
            } => {
                let effect = state.change_tree(*account, |tree| {
                    if tree
                        .folders
                        .get(name)
                        .is_some_and(|folder| folder.mailbox == *mailbox)
                    {
                        tree.folders.remove(name);
                    }
                    tree.access.lists.remove(mailbox);
                    tree.notes.forget(*mailbox);
                    tree.left.leave(name, *uid_validity);
                });
                state.delete_mailbox(*mailbox);
                effect
            }
        }
    }

    fn salvage(&self, _bodies: &[BodyRef], remains: &mut Remains) {
        match self {
            FolderEntry::Create {
                account,
                mailbox,
                name,
                ..
            }
            | FolderEntry::Rename {
                account,
                mailbox,
                to: name,
                ..
            } => remains.name(*mailbox, *account, name),
            FolderEntry::Delete { mailbox, .. } => _ = remains.mailboxes.remove(mailbox),
        }
    }

    fn describe(&self) -> String {
        format!("Mailbox{self:?}")
    }
}
