//! The one place where an entry of the log changes what clients see: live at the moment of durability, in replay alike.
//!
//! Deterministic: same state and same entry, same result. What an entry is about must be loaded (`load::Need`); what is
//! absent then does not exist (it was deleted, or in a rebuild from the bare log a later snapshot stands for it), and
//! the entry has no effect there.

mod messages;

use std::collections::BTreeSet;

use store::{BodyRef, Lsn};

use crate::record::Entry;
use crate::row::{Chunk, Folder, Head, Tree};
use crate::state::{AccountEntry, MailboxEntry, State};
use crate::{AccountId, MailboxId, Message};

use messages::{SnapshotPart, raise_modseq};

/// Whether the entry met what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Effect {
    Applied,
    Absent,
}

impl State {
    /// `bodies` are the group's, in order.
    pub fn apply(&mut self, lsn: Lsn, entry: &Entry, bodies: &[BodyRef]) -> Effect {
        assert!(lsn >= self.applied, "groups are applied in log order");
        self.applied = lsn;
        match entry {
            Entry::TreePut { account } => self.put_tree(*account),
            Entry::TreeRemove {
                account,
                mailbox_next,
                uid_validity_last,
            } => {
                self.raise_counters(mailbox_next.0.checked_sub(1).map(MailboxId));
                self.raise_removed(*uid_validity_last);
                self.remove_tree(*account)
            }
            Entry::MailboxCreate {
                account,
                mailbox,
                name,
                uid_validity,
                special_use,
            } => {
                self.raise_counters(Some(*mailbox));
                let folder = Folder {
                    mailbox: *mailbox,
                    special_use: *special_use,
                };
                let _known = self.change_tree(*account, |tree| {
                    tree.folders.insert(name.clone(), folder);
                    tree.left.take(name);
                    tree.uid_validity_last = tree.uid_validity_last.max(*uid_validity);
                });
                // In a rebuild the account may come later, as a snapshot.
                self.new_mailbox(*mailbox, Head::new(*account, *uid_validity));
                Effect::Applied
            }
            Entry::MailboxRename {
                account,
                mailbox,
                from,
                to,
                uid_validity,
                moved_at,
            } => {
                let effect = self.change_tree(*account, |tree| {
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
                    && let Some(entry) = self.mailboxes.get_mut(mailbox)
                {
                    entry.head.uid_validity = *uid_validity;
                    entry.head.moved_at = *modseq;
                    raise_modseq(entry, *modseq);
                    self.touch_head(*mailbox);
                    self.rung.push((*mailbox, *modseq));
                }
                effect
            }
            Entry::MailboxDelete {
                account,
                mailbox,
                name,
                uid_validity,
            } => {
                let effect = self.change_tree(*account, |tree| {
                    if tree
                        .folders
                        .get(name)
                        .is_some_and(|folder| folder.mailbox == *mailbox)
                    {
                        tree.folders.remove(name);
                    }
                    tree.left.leave(name, *uid_validity);
                });
                self.delete_mailbox(*mailbox);
                effect
            }
            Entry::Subscribe {
                account,
                name,
                subscribed,
            } => self.change_tree(*account, |tree| {
                if *subscribed {
                    tree.subscriptions.insert(name.clone());
                } else {
                    tree.subscriptions.remove(name);
                }
            }),
            Entry::Deliver {
                mailbox,
                uid,
                modseq,
                flags,
                internal_date,
                body_index,
            } => {
                let body = bodies[*body_index as usize].clone();
                let message = Message {
                    uid: *uid,
                    modseq: *modseq,
                    flags: flags.clone(),
                    internal_date: *internal_date,
                    size_bytes: body.raw_bytes,
                    body,
                };
                self.place(*mailbox, std::slice::from_ref(&message))
            }
            Entry::Place { mailbox, messages } => self.place(*mailbox, messages),
            Entry::Flag {
                mailbox,
                modseq,
                change,
                flags,
                uids,
            } => self.flag(*mailbox, *modseq, *change, flags, uids),
            Entry::Expunge {
                mailbox,
                modseq,
                deleted_only,
                uids,
            } => self.expunge(*mailbox, *modseq, *deleted_only, uids),
            Entry::Relocate { mailbox, bodies } => self.relocate(*mailbox, bodies),
            Entry::TreeSnapshot {
                account,
                tree,
                mailbox_next,
            } => {
                self.raise_counters(mailbox_next.0.checked_sub(1).map(MailboxId));
                self.restore_tree(lsn, *account, tree)
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
                let part = SnapshotPart {
                    lsn,
                    begun: *begun,
                    last: *last,
                    range: *from..*to,
                };
                self.restore_messages(*mailbox, head, part, messages)
            }
        }
    }

    // Which mailboxes there are.

    fn put_tree(&mut self, account: AccountId) -> Effect {
        if !self.accounts.contains_key(&account) {
            self.insert_account(account, AccountEntry::default());
        }
        let entry = self.accounts.get_mut(&account).expect("just made certain");
        entry.tree = Some(Tree::default());
        self.touch_account(account);
        Effect::Applied
    }

    fn remove_tree(&mut self, account: AccountId) -> Effect {
        let entry = self.accounts.get_mut(&account);
        let Some(tree) = entry.and_then(|entry| entry.tree.take()) else {
            return Effect::Absent;
        };
        self.touch_account(account);
        for folder in tree.folders.values() {
            self.delete_mailbox(folder.mailbox);
        }
        if let Some(entry) = self.accounts.get_mut(&account) {
            entry.used_bytes = 0;
        }
        Effect::Applied
    }

    fn change_tree(&mut self, account: AccountId, change: impl FnOnce(&mut Tree)) -> Effect {
        let entry = self.accounts.get_mut(&account);
        let Some(tree) = entry.and_then(|entry| entry.tree.as_mut()) else {
            return Effect::Absent;
        };
        change(tree);
        self.touch_account(account);
        Effect::Applied
    }

    fn new_mailbox(&mut self, mailbox: MailboxId, head: Head) {
        let mut entry = MailboxEntry::of(head);
        // It has no messages, so all of them are in memory.
        entry.loaded_from = Chunk(0);
        self.insert_mailbox(mailbox, entry);
        self.touch_head(mailbox);
    }

    fn delete_mailbox(&mut self, mailbox: MailboxId) {
        if let Some(entry) = self.forget_mailbox(mailbox) {
            self.use_bytes(entry.head.account, -(entry.head.size_bytes as i64));
            self.rung.push((mailbox, entry.head.highest_modseq));
            self.dropped
                .extend(entry.messages.iter().map(|message| message.body.clone()));
        }
        self.condemn(mailbox);
    }

    /// After a rebuild from the bare log: a mailbox that no account lists was deleted, by a record that a later snapshot of the account made
    /// superfluous. Mailbox and account must be loaded.
    pub fn drop_orphan(&mut self, mailbox: MailboxId) {
        let Some(entry) = self.mailboxes.get(&mailbox) else {
            return;
        };
        let tree = self
            .accounts
            .get(&entry.head.account)
            .and_then(|entry| entry.tree.as_ref());
        let is_listed = |tree: &Tree| {
            tree.folders
                .values()
                .any(|folder| folder.mailbox == mailbox)
        };
        if !tree.is_some_and(is_listed) {
            self.delete_mailbox(mailbox);
        }
    }

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

#[cfg(test)]
mod tests;
