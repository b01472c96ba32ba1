//! The one place where an entry of the log changes what clients see: live at the moment of durability, in replay alike.
//!
//! Deterministic: same state and same entry, same result. What an entry is about must be loaded (`load::Need`); what is
//! absent then does not exist (it was deleted, or in a rebuild from the bare log a later snapshot stands for it), and
//! the entry has no effect there.

mod messages;

use std::collections::BTreeSet;

use mail::UidValidity;
use store::{BodyRef, Lsn};

use crate::record::Entry;
use crate::row::{AccountRow, Chunk, Folder, Head, NamesLeft};
use crate::state::{AccountEntry, Domain, MailboxEntry, State};
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
            Entry::DomainPut { domain } => self.put_domain(domain, true),
            Entry::DomainRemove { domain } => self.put_domain(domain, false),
            Entry::AccountPut {
                account,
                address,
                password_hash,
                quota_bytes,
            } => {
                let row = AccountRow {
                    address: address.clone(),
                    password_hash: password_hash.clone(),
                    quota_bytes: *quota_bytes,
                    folders: Default::default(),
                    subscriptions: BTreeSet::new(),
                    uid_validity_last: UidValidity(0),
                    left: NamesLeft::default(),
                    snapshot: Lsn(0),
                };
                self.put_account(*account, row)
            }
            Entry::AccountRemove {
                account,
                mailbox_next,
                uid_validity_last,
            } => {
                self.raise_counters(None, mailbox_next.0.checked_sub(1).map(MailboxId));
                self.raise_removed(*uid_validity_last);
                self.remove_account(*account)
            }
            Entry::AccountPassword {
                account,
                password_hash,
            } => self.change_account(*account, |row| row.password_hash.clone_from(password_hash)),
            Entry::AccountQuota {
                account,
                quota_bytes,
            } => self.change_account(*account, |row| row.quota_bytes = *quota_bytes),
            Entry::MailboxCreate {
                account,
                mailbox,
                name,
                uid_validity,
                special_use,
            } => {
                self.raise_counters(None, Some(*mailbox));
                let folder = Folder {
                    mailbox: *mailbox,
                    special_use: *special_use,
                };
                let _known = self.change_account(*account, |row| {
                    row.folders.insert(name.clone(), folder);
                    row.left.take(name);
                    row.uid_validity_last = row.uid_validity_last.max(*uid_validity);
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
                let effect = self.change_account(*account, |row| {
                    if row
                        .folders
                        .get(from)
                        .is_some_and(|folder| folder.mailbox == *mailbox)
                        && let Some(folder) = row.folders.remove(from)
                    {
                        row.folders.insert(to.clone(), folder);
                    }
                    row.uid_validity_last = row.uid_validity_last.max(*uid_validity);
                    row.left.leave(from, *uid_validity);
                    row.left.take(to);
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
                let effect = self.change_account(*account, |row| {
                    if row
                        .folders
                        .get(name)
                        .is_some_and(|folder| folder.mailbox == *mailbox)
                    {
                        row.folders.remove(name);
                    }
                    row.left.leave(name, *uid_validity);
                });
                self.delete_mailbox(*mailbox);
                effect
            }
            Entry::Subscribe {
                account,
                name,
                subscribed,
            } => self.change_account(*account, |row| {
                if *subscribed {
                    row.subscriptions.insert(name.clone());
                } else {
                    row.subscriptions.remove(name);
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
            Entry::AccountSnapshot {
                account,
                row,
                mailbox_next,
            } => {
                self.raise_counters(None, mailbox_next.0.checked_sub(1).map(MailboxId));
                self.restore_account(lsn, *account, row)
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

    // Domains, accounts, and which mailboxes there are.

    fn put_domain(&mut self, domain: &str, present: bool) -> Effect {
        let entry = self.domains.entry(domain.to_owned()).or_insert(Domain {
            present,
            accounts: 0,
            dirty: None,
        });
        entry.present = present;
        self.touch_domain(domain);
        Effect::Applied
    }

    fn count_account(&mut self, domain: &str, change: i64) {
        let entry = self.domains.entry(domain.to_owned()).or_insert(Domain {
            present: false,
            accounts: 0,
            dirty: None,
        });
        entry.accounts = entry.accounts.saturating_add_signed(change);
        self.touch_domain(domain);
    }

    fn put_account(&mut self, account: AccountId, row: AccountRow) -> Effect {
        self.raise_counters(Some(account), None);
        self.count_account(row.address.domain(), 1);
        self.put_key(row.address.key(), Some(account));
        if !self.accounts.contains_key(&account) {
            self.insert_account(account, AccountEntry::default());
        }
        let entry = self.accounts.get_mut(&account).expect("just made certain");
        if let Some(known) = entry.row.replace(row) {
            // Only a log that was rebuilt from names an account twice.
            self.count_account(known.address.domain(), -1);
        }
        self.touch_account(account);
        Effect::Applied
    }

    fn remove_account(&mut self, account: AccountId) -> Effect {
        self.raise_counters(Some(account), None);
        let Some(entry) = self.accounts.get_mut(&account) else {
            return Effect::Absent;
        };
        let Some(row) = entry.row.take() else {
            return Effect::Absent;
        };
        self.touch_account(account);
        self.count_account(row.address.domain(), -1);
        if self
            .keys
            .get(&row.address.key())
            .is_none_or(|(holder, _)| *holder == Some(account))
        {
            self.put_key(row.address.key(), None);
        }
        for folder in row.folders.values() {
            self.delete_mailbox(folder.mailbox);
        }
        if let Some(entry) = self.accounts.get_mut(&account) {
            entry.used_bytes = 0;
        }
        Effect::Applied
    }

    fn change_account(
        &mut self,
        account: AccountId,
        change: impl FnOnce(&mut AccountRow),
    ) -> Effect {
        let Some(row) = self
            .accounts
            .get_mut(&account)
            .and_then(|entry| entry.row.as_mut())
        else {
            return Effect::Absent;
        };
        change(row);
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
        let row = self
            .accounts
            .get(&entry.head.account)
            .and_then(|entry| entry.row.as_ref());
        if !row.is_some_and(|row| row.folders.values().any(|folder| folder.mailbox == mailbox)) {
            self.delete_mailbox(mailbox);
        }
    }

    fn restore_account(&mut self, lsn: Lsn, account: AccountId, row: &AccountRow) -> Effect {
        let known = self
            .accounts
            .get(&account)
            .and_then(|entry| entry.row.as_ref());
        if known.is_none() {
            let _ = self.put_account(account, row.clone());
        }
        let now: BTreeSet<MailboxId> = row.folders.values().map(|folder| folder.mailbox).collect();
        let mut lost = Vec::new();
        let effect = self.change_account(account, |known| {
            lost.extend(
                known
                    .folders
                    .values()
                    .map(|folder| folder.mailbox)
                    .filter(|mailbox| !now.contains(mailbox)),
            );
            known.clone_from(row);
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
