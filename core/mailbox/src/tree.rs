//! The tree of an account: that the account has mailboxes at all, its subscriptions, and the whole of it written again.
//!
//! | record | payload |
//! |---|---|
//! | 32 `Put` | account |
//! | 33 `Remove` | protective magic, account, next mailbox, highest UIDVALIDITY |
//! | 34 `Snapshot` | account, row, next mailbox |
//! | 35 `Subscribe` | account, name, yes or no |
//!
//! Row of `TREES`: `row::Tree`.

use std::collections::BTreeSet;

use base::cursor::{Reader, Write};
use mail::UidValidity;
use store::{BodyRef, Lsn, Purpose, RecordKind};
use tenancy::encoding::{Broken, put_magic, put_text, read_magic, read_text, read_u32};

use crate::limits::DIRECTORY_ROWS;
use crate::noun::{Effect, Needs, Noun};
use crate::remains::Remains;
use crate::row::{Folder, NamesLeft, Tree, read_bool};
use crate::state::{AccountEntry, State};
use crate::{AccountId, MailboxId, SpecialUse};

const PUT: RecordKind = RecordKind(32);
const REMOVE: RecordKind = RecordKind(33);
const SNAPSHOT: RecordKind = RecordKind(34);
const SUBSCRIBE: RecordKind = RecordKind(35);

/// What happened to an account's tree, as one record of the log. The record's kind is in the table above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeEntry {
    /// The account has a tree of mailboxes from now on, without any as yet.
    Put { account: AccountId },
    /// The account is gone, and all its mailboxes with it.
    Remove {
        account: AccountId,
        /// So that a rebuilt volume does not give its mailboxes' numbers again.
        mailbox_next: MailboxId,
        /// No mailbox of the account had a higher one: an account that takes its address later begins above it.
        uid_validity_last: UidValidity,
    },
    /// The account subscribed to a name, or not any more. The mailbox need not exist (RFC 3501 §6.3.6).
    Subscribe {
        account: AccountId,
        name: String,
        /// `false`: the subscription is gone.
        subscribed: bool,
    },
    /// All about the account's mailboxes but their messages, written again so that older records may go.
    Snapshot {
        account: AccountId,
        /// The whole row, folders and subscriptions included.
        tree: Tree,
        /// The next mailbox number at that time.
        mailbox_next: MailboxId,
    },
}

impl TreeEntry {
    /// The account that the record is about.
    fn account(&self) -> AccountId {
        match self {
            TreeEntry::Put { account }
            | TreeEntry::Remove { account, .. }
            | TreeEntry::Subscribe { account, .. }
            | TreeEntry::Snapshot { account, .. } => *account,
        }
    }
}

impl Noun for TreeEntry {
    fn encode(&self, out: &mut Vec<u8>) -> RecordKind {
        match self {
            TreeEntry::Put { account } => {
                out.put_varint(u64::from(account.0));
                PUT
            }
            TreeEntry::Remove {
                account,
                mailbox_next,
                uid_validity_last,
            } => {
                put_magic(out);
                out.put_varint(u64::from(account.0));
                out.put_varint(mailbox_next.0);
                out.put_varint(u64::from(uid_validity_last.0));
                REMOVE
            }
            TreeEntry::Subscribe {
                account,
                name,
                subscribed,
            } => {
                out.put_varint(u64::from(account.0));
                put_text(out, name);
                out.put_u8(u8::from(*subscribed));
                SUBSCRIBE
            }
            TreeEntry::Snapshot {
                account,
                tree,
                mailbox_next,
            } => {
                out.put_varint(u64::from(account.0));
                tree.encode(out);
                out.put_varint(mailbox_next.0);
                SNAPSHOT
            }
        }
    }

    fn decode(kind: RecordKind, reader: &mut Reader<'_>) -> Result<Option<TreeEntry>, Broken> {
        Ok(Some(match kind {
            PUT => TreeEntry::Put {
                account: AccountId(read_u32(reader)?),
            },
            REMOVE => {
                read_magic(reader)?;
                TreeEntry::Remove {
                    account: AccountId(read_u32(reader)?),
                    mailbox_next: MailboxId(reader.varint()?),
                    uid_validity_last: UidValidity(read_u32(reader)?),
                }
            }
            SUBSCRIBE => TreeEntry::Subscribe {
                account: AccountId(read_u32(reader)?),
                name: read_text(reader)?,
                subscribed: read_bool(reader)?,
            },
            SNAPSHOT => TreeEntry::Snapshot {
                account: AccountId(read_u32(reader)?),
                tree: Tree::decode(reader)?,
                mailbox_next: MailboxId(reader.varint()?),
            },
            _ => return Ok(None),
        }))
    }

    fn samples() -> Vec<TreeEntry> {
        let account = AccountId(7);
        let folder = Folder {
            mailbox: MailboxId(9),
            special_use: Some(SpecialUse::Junk),
        };
        let tree = Tree {
            folders: [("INBOX".to_owned(), folder)].into(),
            subscriptions: ["INBOX".to_owned()].into(),
            uid_validity_last: UidValidity(3),
            left: NamesLeft::default(),
            snapshot: Lsn(8),
            ..Tree::default()
        };
        vec![
            TreeEntry::Put { account },
            TreeEntry::Remove {
                account,
                mailbox_next: MailboxId(10),
                uid_validity_last: UidValidity(3),
            },
            TreeEntry::Subscribe {
                account,
                name: "Old".into(),
                subscribed: true,
            },
            TreeEntry::Snapshot {
                account,
                tree,
                mailbox_next: MailboxId(10),
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
        match self {
            TreeEntry::Put { .. } | TreeEntry::Subscribe { .. } => Purpose::Keep,
            TreeEntry::Remove { .. } => Purpose::Delete,
            TreeEntry::Snapshot { .. } => Purpose::Reclaim,
        }
    }

    fn rows(&self, state: &State) -> u64 {
        match self {
            TreeEntry::Subscribe { .. } => 1,
            TreeEntry::Put { .. } => 2,
            TreeEntry::Snapshot { .. } => DIRECTORY_ROWS,
            // Each of its mailboxes has a head. The rows that remember them until their chunks are cleared are small and neighbours.
            TreeEntry::Remove { account, .. } => {
                let entry = state.accounts.get(account);
                let tree = entry.and_then(|entry| entry.tree.as_ref());
                DIRECTORY_ROWS + tree.map_or(0, |tree| tree.folders.len() as u64)
            }
        }
    }

    fn apply(&self, lsn: Lsn, _bodies: &[BodyRef], state: &mut State) -> Effect {
        match self {
            TreeEntry::Put { account } => state.put_tree(*account),
            TreeEntry::Remove {
                account,
                mailbox_next,
                uid_validity_last,
            } => {
                state.raise_counters(mailbox_next.0.checked_sub(1).map(MailboxId));
                state.raise_removed(*uid_validity_last);
                state.remove_tree(*account)
            }
            TreeEntry::Subscribe {
                account,
                name,
                subscribed,
            } => state.change_tree(*account, |tree| {
                if *subscribed {
                    tree.subscriptions.insert(name.clone());
                } else {
                    tree.subscriptions.remove(name);
                }
            }),
            TreeEntry::Snapshot {
                account,
                tree,
                mailbox_next,
            } => {
                state.raise_counters(mailbox_next.0.checked_sub(1).map(MailboxId));
                state.restore_tree(lsn, *account, tree)
            }
        }
    }

    fn salvage(&self, _bodies: &[BodyRef], remains: &mut Remains) {
        match self {
            TreeEntry::Remove { account, .. } => {
                remains
                    .mailboxes
                    .retain(|_, known| known.account != Some(*account));
            }
            // A snapshot lists every folder: what it does not list was deleted.
            TreeEntry::Snapshot { account, tree, .. } => {
                let listed = |mailbox: &MailboxId| {
                    tree.folders
                        .values()
                        .any(|folder| folder.mailbox == *mailbox)
                };
                remains
                    .mailboxes
                    .retain(|mailbox, known| known.account != Some(*account) || listed(mailbox));
                for (name, folder) in &tree.folders {
                    remains.name(folder.mailbox, *account, name);
                }
            }
            TreeEntry::Put { .. } | TreeEntry::Subscribe { .. } => {}
        }
    }

    fn describe(&self) -> String {
        match self {
            TreeEntry::Snapshot { account, tree, .. } => {
                let folders = tree.folders.len();
                format!("TreeSnapshot {{ account: {account:?}, folders: {folders} }}")
            }
            TreeEntry::Subscribe { .. } => format!("{self:?}"),
            TreeEntry::Put { .. } | TreeEntry::Remove { .. } => format!("Tree{self:?}"),
        }
    }
}

impl State {
    /// The account has a tree, empty. A tree that is there already is emptied.
    fn put_tree(&mut self, account: AccountId) -> Effect {
        if !self.accounts.contains_key(&account) {
            self.insert_account(account, AccountEntry::default());
        }
        let entry = self.accounts.get_mut(&account).expect("just made certain");
        entry.tree = Some(Tree::default());
        self.touch_account(account);
        self.note_access(account);
        Effect::Applied
    }

    /// The tree is gone, and every mailbox in it. `Absent`: there was none.
    fn remove_tree(&mut self, account: AccountId) -> Effect {
        let entry = self.accounts.get_mut(&account);
        let Some(tree) = entry.and_then(|entry| entry.tree.take()) else {
            return Effect::Absent;
        };
        self.touch_account(account);
        self.note_access(account);
        for folder in tree.folders.values() {
            self.delete_mailbox(folder.mailbox);
        }
        if let Some(entry) = self.accounts.get_mut(&account) {
            entry.used_bytes = 0;
        }
        Effect::Applied
    }

    /// Changes the tree, and marks it for the next checkpoint. `Absent`: there is none.
    pub fn change_tree(&mut self, account: AccountId, change: impl FnOnce(&mut Tree)) -> Effect {
        let entry = self.accounts.get_mut(&account);
        let Some(tree) = entry.and_then(|entry| entry.tree.as_mut()) else {
            return Effect::Absent;
        };
        change(tree);
        self.touch_account(account);
        self.note_access(account);
        Effect::Applied
    }

    /// The tree becomes what a snapshot says. Mailboxes that it does not list are deleted.
    fn restore_tree(&mut self, lsn: Lsn, account: AccountId, tree: &Tree) -> Effect {
        let known = self.accounts.get(&account);
        if known.is_none_or(|entry| entry.tree.is_none()) {
            let _ = self.put_tree(account);
        }
        let now: BTreeSet<MailboxId> = tree.folders.values().map(|folder| folder.mailbox).collect();
        let mut lost = Vec::new();
        let effect = self.change_tree(account, |known| {
            let listed = known.folders.values().map(|folder| folder.mailbox);
            lost.extend(listed.filter(|mailbox| !now.contains(mailbox)));
            known.clone_from(tree);
            known.snapshot = lsn;
        });
        // Only in a rebuild: their deletion was dropped from the log because this snapshot came after it.
        lost.into_iter()
            .for_each(|mailbox| self.delete_mailbox(mailbox));
        effect
    }
}
