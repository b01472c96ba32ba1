//! Who else may do what with the folders of an account (RFC 4314), and what programs noted about them (RFC 5464).
//!
//! | record | payload |
//! |---|---|
//! | 55 `Access` | account, 0, shared or not; or account, 1, mailbox, the whole list |
//! | 56 `Note` | account, mailbox or 0, name, present or not, value |
//!
//! Rows: in that of its tree (`row::Tree`), and `SHARES`.

use std::collections::BTreeSet;

use base::cursor::{Reader, Write};
use store::{BodyRef, Lsn, Purpose, RecordKind};
use tenancy::encoding::{Broken, put_text, read_text, read_u32};

use crate::limits::DIRECTORY_ROWS;
use crate::noun::{Effect, Needs, Noun};
use crate::remains::Remains;
use crate::row::{
    AccessList, Grantee, Who, put_access_list, put_value, read_access_list, read_bool, read_value,
};
use crate::state::State;
use crate::{AccountId, MailboxId};

const ACCESS: RecordKind = RecordKind(55);
const NOTE: RecordKind = RecordKind(56);

/// What happened to access lists and notes, as one record of the log. The record's kind is in the table above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessEntry {
    /// The account stands in the shared namespace from now on, or (`false`) among other users.
    Shared { account: AccountId, is_shared: bool },
    /// The folder has this access list from now on; an empty one: none.
    List {
        account: AccountId,
        mailbox: MailboxId,
        list: AccessList,
    },
    /// The folder, or (0) the account, has this note from now on; `None`: it is gone.
    Note {
        account: AccountId,
        mailbox: MailboxId,
        /// Lower case.
        name: String,
        value: Option<Vec<u8>>,
    },
}

impl AccessEntry {
    fn account(&self) -> AccountId {
        match self {
            AccessEntry::Shared { account, .. }
            | AccessEntry::List { account, .. }
            | AccessEntry::Note { account, .. } => *account,
        }
    }
}

impl Noun for AccessEntry {
    fn encode(&self, out: &mut Vec<u8>) -> RecordKind {
        out.put_varint(u64::from(self.account().0));
        match self {
            AccessEntry::Shared { is_shared, .. } => {
                out.put_u8(0);
                out.put_u8(u8::from(*is_shared));
                ACCESS
            }
            AccessEntry::List { mailbox, list, .. } => {
                out.put_u8(1);
                out.put_varint(mailbox.0);
                put_access_list(out, list);
                ACCESS
            }
            AccessEntry::Note {
                mailbox,
                name,
                value,
                ..
            } => {
                out.put_varint(mailbox.0);
                put_text(out, name);
                out.put_u8(u8::from(value.is_some()));
                if let Some(value) = value {
                    put_value(out, value);
                }
                NOTE
            }
        }
    }

    fn decode(kind: RecordKind, reader: &mut Reader<'_>) -> Result<Option<AccessEntry>, Broken> {
        if kind != ACCESS && kind != NOTE {
            return Ok(None);
        }
        let account = AccountId(read_u32(reader)?);
        if kind == NOTE {
            return Ok(Some(AccessEntry::Note {
                account,
                mailbox: MailboxId(reader.varint()?),
                name: read_text(reader)?,
                value: match read_bool(reader)? {
                    true => Some(read_value(reader)?),
                    false => None,
                },
            }));
        }
        Ok(Some(match reader.u8()? {
            0 => AccessEntry::Shared {
                account,
                is_shared: read_bool(reader)?,
            },
            1 => AccessEntry::List {
                account,
                mailbox: MailboxId(reader.varint()?),
                list: read_access_list(reader)?,
            },
            _ => return Err(Broken),
        }))
    }

    fn samples() -> Vec<AccessEntry> {
        let (account, mailbox) = (AccountId(7), MailboxId(9));
        let grantee = |negative, who| Grantee { negative, who };
        let rights = |text| mail::Rights::parse(text).expect("letters of rights");
        let team = Who::Group {
            name: "team@example.org".into(),
            serial: 5,
        };
        let list = AccessList::from([
            (grantee(false, Who::Anyone), rights("l")),
            (grantee(false, team), rights("lrswi")),
            (grantee(true, Who::Account(AccountId(8))), rights("wi")),
        ]);
        vec![
            AccessEntry::List {
                account,
                mailbox,
                list,
            },
            AccessEntry::Note {
                account,
                mailbox,
                name: "/private/comment".into(),
                value: Some(b"mine".to_vec()),
            },
        ]
    }

    fn tree(&self) -> Option<AccountId> {
        Some(self.account())
    }

    fn needs(&self) -> Needs {
        Needs::account(self.account())
    }

    fn purpose(&self) -> Purpose {
        Purpose::Keep
    }

    fn rows(&self, _state: &State) -> u64 {
        DIRECTORY_ROWS
    }

    fn apply(&self, _lsn: Lsn, _bodies: &[BodyRef], state: &mut State) -> Effect {
        match self {
            AccessEntry::Shared { account, is_shared } => state.change_tree(*account, |tree| {
                tree.access.is_shared = *is_shared;
            }),
            AccessEntry::List {
                account,
                mailbox,
                list,
            } => {
                let effect = state.change_tree(*account, |tree| {
                    if list.is_empty() {
                        tree.access.lists.remove(mailbox);
                    } else {
                        tree.access.lists.insert(*mailbox, list.clone());
                    }
                });
                // A session that lost its rights learns it now.
                let entry = state.mailboxes.get(mailbox);
                let highest = entry.map_or(mail::ModSeq(0), |entry| entry.head.highest_modseq);
                state.rung.push((*mailbox, highest));
                effect
            }
            AccessEntry::Note {
                account,
                mailbox,
                name,
                value,
            } => state.change_tree(*account, |tree| {
                tree.notes.set(*mailbox, name, value.as_deref());
            }),
        }
    }

    /// Salvage brings mail back, and gives it to its owner.
    fn salvage(&self, _bodies: &[BodyRef], _remains: &mut Remains) {}

    fn describe(&self) -> String {
        match self {
            AccessEntry::List { .. } => format!("Access{self:?}"),
            AccessEntry::Shared { .. } => format!("Access{self:?}"),
            AccessEntry::Note {
                account,
                mailbox,
                name,
                value,
            } => {
                let bytes = value.as_ref().map(Vec::len);
                format!(
                    "Note {{ account: {account:?}, mailbox: {mailbox:?}, name: {name:?}, bytes: {bytes:?} }}"
                )
            }
        }
    }
}

impl State {
    /// The account's tree changed, or is gone: whom it is shared with is worked out again, and what it takes in memory.
    pub fn note_access(&mut self, account: AccountId) {
        let Some(entry) = self.accounts.get(&account) else {
            return;
        };
        let tree = entry.tree.as_ref();
        let has_lists = tree.is_some_and(|tree| !tree.access.lists.is_empty());
        if has_lists || self.shares.contains_key(&account) {
            let now = tree.map_or_else(BTreeSet::new, |tree| tree.access.grantees());
            self.set_shares(account, now);
        }
        self.charge_account(account);
    }
}
