//! The mailboxes of one account, a row of `TREES`.

use std::collections::{BTreeMap, BTreeSet};

use base::cursor::{Reader, Write};
use mail::UidValidity;
use store::Lsn;
use tenancy::encoding::{put_text, read_text};

use super::{Access, Broken, NamesLeft, Notes, ROW_VERSION, read_u32};
use crate::{MailboxId, SpecialUse};

/// One name in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folder {
    /// The mailbox of that name.
    pub mailbox: MailboxId,
    /// Its role, if it has one.
    pub special_use: Option<SpecialUse>,
}

/// The mailboxes of one account, but for the bytes they use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// By name, from the root, with `/` between levels.
    pub folders: BTreeMap<String, Folder>,
    /// Names that the user subscribed to, mailboxes or not.
    pub subscriptions: BTreeSet<String>,
    /// The next mailbox's UIDVALIDITY is higher.
    pub uid_validity_last: UidValidity,
    /// Names that mailboxes were deleted or renamed from, with the UIDVALIDITY that each had.
    pub left: NamesLeft,
    /// Records about the tree before it are no longer needed.
    pub snapshot: Lsn,
    /// Who else may do what with the folders.
    pub access: Access,
    /// What programs noted about them.
    pub notes: Notes,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree {
            folders: BTreeMap::new(),
            subscriptions: BTreeSet::new(),
            uid_validity_last: UidValidity(0),
            left: NamesLeft::default(),
            snapshot: Lsn(0),
            access: Access::default(),
            notes: Notes::default(),
        }
    }
}

/// Of a mailbox or a subscription in the row, beside its name: lengths, number, role.
const BESIDE_NAME_BYTES_MAX: usize = 2 + 10 + 1;

/// What a mailbox or a subscription of this name takes in the row, at most.
pub fn name_bytes_max(name: &str) -> usize {
    name.len() + BESIDE_NAME_BYTES_MAX
}

impl Tree {
    /// What mailboxes and subscriptions take in the row, at most.
    pub fn names_bytes_max(&self) -> usize {
        let names = self.folders.keys().chain(&self.subscriptions);
        names.map(|name| name_bytes_max(name)).sum()
    }

    /// Appends the row; the pair of `decode`. One without access lists and notes has the bytes that earlier releases wrote, and they read it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let is_plain = self.access.is_empty() && self.notes.is_empty();
        out.put_u8(if is_plain { ROW_VERSION } else { WITH_ACCESS });
        out.put_varint(u64::from(self.uid_validity_last.0));
        self.left.encode(out);
        out.put_varint(self.snapshot.0);
        out.put_varint(self.folders.len() as u64);
        for (name, folder) in &self.folders {
            put_text(out, name);
            out.put_varint(folder.mailbox.0);
            put_special_use(out, folder.special_use);
        }
        out.put_varint(self.subscriptions.len() as u64);
        for name in &self.subscriptions {
            put_text(out, name);
        }
        if !is_plain {
            self.access.encode(out);
            self.notes.encode(out);
        }
    }
    /// Reads what `encode` wrote. `Broken`: another version, or bytes that end early.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Tree, Broken> {
        let version = reader.u8()?;
        if version != ROW_VERSION && version != WITH_ACCESS {
            return Err(Broken);
        }
        let uid_validity_last = UidValidity(read_u32(reader)?);
        let left = NamesLeft::decode(reader)?;
        let snapshot = Lsn(reader.varint()?);
        let mut folders = BTreeMap::new();
        for _ in 0..reader.varint()? {
            let name = read_text(reader)?;
            let mailbox = MailboxId(reader.varint()?);
            folders.insert(
                name,
                Folder {
                    mailbox,
                    special_use: read_special_use(reader)?,
                },
            );
        }
        let mut subscriptions = BTreeSet::new();
        for _ in 0..reader.varint()? {
            subscriptions.insert(read_text(reader)?);
        }
        let (access, notes) = match version {
            WITH_ACCESS => (Access::decode(reader)?, Notes::decode(reader)?),
            _ => Default::default(),
        };
        Ok(Tree {
            folders,
            subscriptions,
            uid_validity_last,
            left,
            snapshot,
            access,
            notes,
        })
    }
}

/// The version of rows with access lists or notes.
const WITH_ACCESS: u8 = ROW_VERSION + 1;

/// The format's number of a role; 0 for none.
pub fn put_special_use(out: &mut Vec<u8>, special_use: Option<SpecialUse>) {
    out.put_u8(match special_use {
        None => 0,
        Some(SpecialUse::Archive) => 1,
        Some(SpecialUse::Drafts) => 2,
        Some(SpecialUse::Flagged) => 3,
        Some(SpecialUse::Junk) => 4,
        Some(SpecialUse::Sent) => 5,
        Some(SpecialUse::Trash) => 6,
        Some(SpecialUse::All) => 7,
    });
}
/// The pair of `put_special_use`.
pub fn read_special_use(reader: &mut Reader<'_>) -> Result<Option<SpecialUse>, Broken> {
    Ok(match reader.u8()? {
        0 => None,
        1 => Some(SpecialUse::Archive),
        2 => Some(SpecialUse::Drafts),
        3 => Some(SpecialUse::Flagged),
        4 => Some(SpecialUse::Junk),
        5 => Some(SpecialUse::Sent),
        6 => Some(SpecialUse::Trash),
        7 => Some(SpecialUse::All),
        _ => return Err(Broken),
    })
}
