//! The mailboxes of an account: list, create, delete, rename, subscribe (RFC 3501 §6.3.3–§6.3.9).
//!
//! One change at a time for each account: it looks, decides, and waits for durability before the next one looks.

use std::collections::{BTreeMap, BTreeSet};

use mail::{ModSeq, UidValidity};
use store::Purpose;

use crate::access::AccessEntry;
use crate::accounts::account_lock;
use crate::deliver::Standing;
use crate::folder::FolderEntry;
use crate::hold::Hold;
use crate::inner::Inner;
use crate::limits::{
    ACCESS_BYTES_PER_ACCOUNT_MAX, ACCESS_PER_ACCOUNT_MAX, CONDEMNED_MAX, DIRECTORY_ROWS,
    MAILBOXES_PER_ACCOUNT_MAX, NAMES_BYTES_PER_ACCOUNT_MAX, SUBSCRIPTIONS_PER_ACCOUNT_MAX,
};
use crate::name::{self, INBOX};
use crate::noun::Depth;
use crate::record::Entry;
use crate::row::{AccessList, Tree, list_bytes_max, name_bytes_max};
use crate::sharing::nearest_above;
use crate::tree::TreeEntry;
use crate::{AccountId, MailboxFault, MailboxId, MailboxInfo, Mailboxes, SpecialUse};

const BELOW_ITSELF: &str = "a mailbox cannot be moved below itself";

/// Stands for a name that is only the parent of others.
const NO_MAILBOX: MailboxId = MailboxId(0);

impl Mailboxes {
    /// In name order; parents that exist only through their children are among them and not selectable.
    // Parents that were never made are not rows: they follow from the names, and are gone with the last child.
    pub async fn list(&self, account: AccountId) -> Result<Vec<MailboxInfo>, MailboxFault> {
        let _hold = self.hold_live_account(account).await?;
        self.with_account(account, |row| {
            let mut found = BTreeMap::new();
            for (name, folder) in &row.folders {
                for parent in
                    name::parents(name).filter(|parent| !row.folders.contains_key(*parent))
                {
                    found.entry(parent.to_owned()).or_insert((NO_MAILBOX, None));
                }
                found.insert(name.clone(), (folder.mailbox, folder.special_use));
            }
            let line = |(name, (id, special_use)): (String, (MailboxId, Option<SpecialUse>))| {
                MailboxInfo {
                    id,
                    subscribed: row.subscriptions.contains(&name),
                    name,
                    special_use,
                    selectable: id != NO_MAILBOX,
                }
            };
            found.into_iter().map(line).collect()
        })
    }

    /// `NoMailbox` also for a name that is only the parent of others.
    pub async fn find(&self, account: AccountId, name: &str) -> Result<MailboxId, MailboxFault> {
        let _hold = self.hold_live_account(account).await?;
        let name = name::parse(name).map_err(|_| MailboxFault::NoMailbox)?;
        self.inner
            .folder(account, &name)?
            .ok_or(MailboxFault::NoMailbox)
    }

    /// Creates missing parents too.
    pub async fn create(
        &self,
        account: AccountId,
        name: &str,
        special_use: Option<SpecialUse>,
    ) -> Result<MailboxId, MailboxFault> {
        let name = name::parse(name)?;
        // Before the lock: waiting for a checkpoint must not keep this account's other changes waiting.
        self.inner.tenancy.keep_up().await?;
        self.inner
            .room_for(Purpose::Keep, false, DIRECTORY_ROWS)
            .await?;
        let _locked = self.inner.locks.lock(account_lock(account)).await;
        let hold = self.hold_live_account(account).await?;
        let mut entries = Vec::new();
        let mailbox = {
            let row = self.with_account(account, Tree::clone)?;
            // A name that is the same in another spelling (Unicode) is the same mailbox, and keeps the spelling that it was made with.
            let name = name::parse(&row.spelled(&name))?;
            if row.folders.contains_key(&name) {
                return Err(MailboxFault::Exists);
            }
            let mut plan = Creation::of(self, account, &row);
            plan.parents(&name, &mut entries)?;
            plan.mailbox(&name, special_use, &mut entries)?
        };
        self.inner.commit(Vec::new(), entries, hold).await?;
        Ok(mailbox)
    }

    /// Takes the mailbox and its messages away. Its children stay, and so does its name while it has any.
    pub async fn delete(&self, account: AccountId, name: &str) -> Result<(), MailboxFault> {
        let name = name::parse(name)?;
        // RFC 3501 §6.3.4: INBOX cannot be deleted.
        if name == INBOX {
            return Err(MailboxFault::Refused("INBOX cannot be deleted"));
        }
        self.inner
            .deleting(DIRECTORY_ROWS, async || {
                self.try_delete(account, &name).await
            })
            .await
    }

    /// The name is free when the record is durable; the chunk rows are cleared away later, and the bound of those that wait
    /// is checked here, where the client can still be refused.
    async fn try_delete(&self, account: AccountId, name: &str) -> Result<(), MailboxFault> {
        let _locked = self.inner.locks.lock(account_lock(account)).await;
        let mut hold = self.hold_live_account(account).await?;
        let name = self.with_account(account, |row| row.spelled(name))?;
        let Some(mailbox) = self.inner.folder(account, &name)? else {
            let parent = self.with_account(account, |row| {
                row.folders.keys().any(|other| name::is_below(other, &name))
            })?;
            // RFC 3501 §6.3.4: a \Noselect name with inferior names is not deleted.
            return Err(if parent {
                MailboxFault::Refused("Name is only the parent of other mailboxes")
            } else {
                MailboxFault::NoMailbox
            });
        };
        hold.join(self.hold_open(mailbox, Depth::Head).await?);
        let uid_validity = {
            let state = self.inner.state.borrow();
            if state.condemned.len() >= CONDEMNED_MAX {
                return Err(MailboxFault::TooMany(
                    "deleted mailboxes waiting to be cleared away",
                ));
            }
            let entry = state.mailboxes.get(&mailbox).expect("it is held and open");
            // From now on nothing new begins in it. What began before is in the log ahead of the deletion and is gone with it.
            hold.set(&entry.closing, &self.inner.settled);
            entry.head.uid_validity
        };
        let delete = FolderEntry::Delete {
            account,
            mailbox,
            name,
            uid_validity,
        };
        let entries = vec![delete.into()];
        self.inner.commit(Vec::new(), entries, hold).await?;
        Ok(())
    }

    /// RFC 3501 §6.3.5, children and INBOX's special case included.
    pub async fn rename(
        &self,
        account: AccountId,
        from: &str,
        to: &str,
    ) -> Result<(), MailboxFault> {
        let from = name::parse(from)?;
        let to = name::parse(to)?;
        self.inner
            .room_for(Purpose::Keep, false, DIRECTORY_ROWS)
            .await?;
        let _locked = self.inner.locks.lock(account_lock(account)).await;
        let mut hold = self.hold_live_account(account).await?;
        let row = self.with_account(account, Tree::clone)?;
        let (from, to) = (row.spelled(&from), name::parse(&row.spelled(&to))?);
        if name::is_below(&to, &from) && from != INBOX {
            return Err(MailboxFault::Refused(BELOW_ITSELF));
        }
        if from == INBOX {
            return self.rename_inbox(account, to, hold).await;
        }
        let moving: Vec<(&String, MailboxId)> = row
            .folders
            .iter()
            .filter(|(name, _)| **name == from || name::is_below(name, &from))
            .map(|(name, folder)| (name, folder.mailbox))
            .collect();
        if moving.is_empty() {
            return Err(MailboxFault::NoMailbox);
        }
        if row.folders.contains_key(&to) {
            return Err(MailboxFault::Exists);
        }
        // All of them, before any number is given: one that is frozen or gone makes the whole rename wait or fail.
        for (_, mailbox) in &moving {
            hold.join(self.hold_open(*mailbox, Depth::Head).await?);
        }
        // No await from here on: numbers are given in the order of the log.
        let mut entries = Vec::new();
        let mut plan = Creation::of(self, account, &row);
        plan.parents(&to, &mut entries)?;
        // A parent that is made on the way, and a child that moves onto its name, would otherwise both get it.
        let mut taken: BTreeSet<String> = plan.created.clone();
        for (name, mailbox) in moving {
            let new = name::parse(&format!("{to}{}", &name[from.len()..]))?;
            if row.folders.contains_key(&new) || !taken.insert(new.clone()) {
                return Err(MailboxFault::Exists);
            }
            plan.grow(new.len().saturating_sub(name.len()))?;
            let (uid_validity, moved_at) = plan.moved(mailbox, &new, &mut hold)?;
            let rename = FolderEntry::Rename {
                account,
                mailbox,
                from: name.clone(),
                to: new,
                uid_validity,
                moved_at,
            };
            entries.push(rename.into());
        }
        self.inner.commit(Vec::new(), entries, hold).await?;
        Ok(())
    }

    /// The messages go with their mailbox, UIDs and all, to the new name; INBOX starts again, empty. Children of INBOX stay. Sessions
    /// that have the old INBOX selected learn that it is gone.
    // RFC 3501 §6.3.5: renaming INBOX moves its messages and leaves INBOX, empty.
    async fn rename_inbox(
        &self,
        account: AccountId,
        to: String,
        mut hold: Hold,
    ) -> Result<(), MailboxFault> {
        let row = self.with_account(account, Tree::clone)?;
        if row.folders.contains_key(&to) {
            return Err(MailboxFault::Exists);
        }
        let mailbox = self
            .inner
            .folder(account, INBOX)?
            .ok_or(MailboxFault::NoMailbox)?;
        hold.join(self.hold_open(mailbox, Depth::Head).await?);
        let mut entries = Vec::new();
        let mut plan = Creation::of(self, account, &row);
        plan.parents(&to, &mut entries)?;
        plan.grow(to.len().saturating_sub(INBOX.len()))?;
        let (uid_validity, moved_at) = plan.moved(mailbox, &to, &mut hold)?;
        // INBOX's sessions have to learn of it even where the numbers could stay: under their name there is another mailbox now.
        let moved_at = match moved_at {
            None => Some(self.inner.next_modseq(mailbox, &mut hold)),
            moved_at => moved_at,
        };
        let rename = FolderEntry::Rename {
            account,
            mailbox,
            from: INBOX.to_owned(),
            to,
            uid_validity,
            moved_at,
        };
        entries.push(rename.into());
        plan.mailbox(INBOX, None, &mut entries)?;
        self.inner.commit(Vec::new(), entries, hold).await?;
        Ok(())
    }

    /// The mailbox need not exist.
    pub async fn subscribe(
        &self,
        account: AccountId,
        name: &str,
        subscribed: bool,
    ) -> Result<(), MailboxFault> {
        let name = name::parse(name)?;
        self.inner
            .room_for(Purpose::Keep, false, DIRECTORY_ROWS)
            .await?;
        let _locked = self.inner.locks.lock(account_lock(account)).await;
        let hold = self.hold_live_account(account).await?;
        let (name, known, count, bytes) = self.with_account(account, |row| {
            let name = match row.subscriptions.contains(&name) {
                true => name,
                false => row.spelled(&name),
            };
            let known = row.subscriptions.contains(&name);
            (name, known, row.subscriptions.len(), row.names_bytes_max())
        })?;
        // No record for what is so already: clients subscribe at every start.
        if known == subscribed {
            return Ok(());
        }
        if subscribed && count >= SUBSCRIPTIONS_PER_ACCOUNT_MAX {
            return Err(MailboxFault::TooMany("subscriptions"));
        }
        if subscribed && bytes + name_bytes_max(&name) > NAMES_BYTES_PER_ACCOUNT_MAX {
            return Err(MailboxFault::TooMany("bytes of mailbox names"));
        }
        let subscribe = TreeEntry::Subscribe {
            account,
            name,
            subscribed,
        };
        let entries = vec![subscribe.into()];
        self.inner.commit(Vec::new(), entries, hold).await?;
        Ok(())
    }

    /// Subscribed names, those of deleted mailboxes included (RFC 3501 §6.3.9).
    pub async fn subscriptions(&self, account: AccountId) -> Result<Vec<String>, MailboxFault> {
        let _hold = self.hold_live_account(account).await?;
        self.with_account(account, |row| row.subscriptions.iter().cloned().collect())
    }

    /// Holds the mailbox at a moment when it takes new operations.
    pub(crate) async fn hold_open(
        &self,
        mailbox: MailboxId,
        depth: Depth,
    ) -> Result<Hold, MailboxFault> {
        loop {
            let hold = self.inner.hold_mailbox(mailbox, depth).await?;
            match self.inner.standing(&[mailbox]) {
                Standing::Open => return Ok(hold),
                Standing::Frozen(wait) => wait.await,
                Standing::Gone => return Err(MailboxFault::NoMailbox),
            }
        }
    }

    pub(crate) fn with_account<T>(
        &self,
        account: AccountId,
        look: impl FnOnce(&Tree) -> T,
    ) -> Result<T, MailboxFault> {
        let state = self.inner.state.borrow();
        let row = state
            .accounts
            .get(&account)
            .and_then(|entry| entry.live())
            .ok_or(MailboxFault::NoAccount)?;
        Ok(look(row))
    }
}

/// Numbers for new mailboxes of one account.
struct Creation<'a> {
    mailboxes: &'a Mailboxes,
    account: AccountId,
    row: &'a Tree,
    uid_validity_last: UidValidity,
    created: BTreeSet<String>,
    /// Bytes that names take in the row.
    names_bytes: usize,
    /// Entries of access lists that new folders began with, and their bytes in the row.
    inherited_count: usize,
    inherited_bytes: usize,
}

impl<'a> Creation<'a> {
    fn of(mailboxes: &'a Mailboxes, account: AccountId, row: &'a Tree) -> Creation<'a> {
        Creation {
            mailboxes,
            account,
            row,
            uid_validity_last: row.uid_validity_last,
            created: BTreeSet::new(),
            names_bytes: row.names_bytes_max(),
            inherited_count: 0,
            inherited_bytes: 0,
        }
    }

    /// Names take so much more of the row.
    fn grow(&mut self, bytes: usize) -> Result<(), MailboxFault> {
        self.names_bytes += bytes;
        match bytes > 0 && self.names_bytes > NAMES_BYTES_PER_ACCOUNT_MAX {
            true => Err(MailboxFault::TooMany("bytes of mailbox names")),
            false => Ok(()),
        }
    }

    /// The parents of `name` that are not there yet.
    fn parents(&mut self, name: &str, entries: &mut Vec<Entry>) -> Result<(), MailboxFault> {
        for parent in name::parents(name) {
            if !self.row.folders.contains_key(parent) {
                self.mailbox(parent, None, entries)?;
            }
        }
        Ok(())
    }

    fn mailbox(
        &mut self,
        name: &str,
        special_use: Option<SpecialUse>,
        entries: &mut Vec<Entry>,
    ) -> Result<MailboxId, MailboxFault> {
        if self.row.folders.len() + self.created.len() >= MAILBOXES_PER_ACCOUNT_MAX {
            return Err(MailboxFault::TooMany("mailboxes"));
        }
        self.grow(name_bytes_max(name))?;
        let uid_validity = self.uid_validity()?;
        let mailbox = {
            let mut state = self.mailboxes.inner.state.borrow_mut();
            let mailbox = state.assigned.mailbox_next;
            state.assigned.mailbox_next = MailboxId(mailbox.0 + 1);
            mailbox
        };
        self.created.insert(name.to_owned());
        let create = FolderEntry::Create {
            account: self.account,
            mailbox,
            name: name.to_owned(),
            uid_validity,
            special_use,
        };
        entries.push(create.into());
        if let Some(list) = self.inherited(name)? {
            let inherits = AccessEntry::List {
                account: self.account,
                mailbox,
                list,
            };
            entries.push(inherits.into());
        }
        Ok(mailbox)
    }

    /// A new folder begins with the access list of the folder above it (RFC 4314 leaves it to the server); `None`: there is none.
    fn inherited(&mut self, name: &str) -> Result<Option<AccessList>, MailboxFault> {
        let access = &self.row.access;
        let above = nearest_above(self.row, name);
        let list = above.and_then(|above| access.lists.get(&above)).cloned();
        self.inherited_count += list.as_ref().map_or(0, AccessList::len);
        self.inherited_bytes += list.as_ref().map_or(0, list_bytes_max);
        let is_too_much = || {
            access.entries_count() + self.inherited_count > ACCESS_PER_ACCOUNT_MAX
                || access.bytes_max() + self.inherited_bytes > ACCESS_BYTES_PER_ACCOUNT_MAX
        };
        if list.is_some() && is_too_much() {
            return Err(MailboxFault::TooMany("entries of access lists"));
        }
        Ok(list)
    }

    /// RFC 3501 §2.3.1.1: higher than any value the name had before; the account's counter is higher than any of its names'.
    fn uid_validity(&mut self) -> Result<UidValidity, MailboxFault> {
        let after_last = self
            .uid_validity_last
            .0
            .checked_add(1)
            .ok_or(MailboxFault::TooMany("mailboxes in the account's life"))?;
        // The clock makes it differ from what another server gave the name; the counter keeps it rising when the clock is set back.
        let uid_validity = UidValidity(self.mailboxes.inner.unix_seconds().max(after_last));
        self.uid_validity_last = uid_validity;
        Ok(uid_validity)
    }

    /// The UIDVALIDITY with which `mailbox`, held and open, comes to the name `to`. It keeps its own, unless the name may have had a
    /// higher one: then it gets a new one, and sessions that have it selected learn that it is gone.
    fn moved(
        &mut self,
        mailbox: MailboxId,
        to: &str,
        hold: &mut Hold,
    ) -> Result<(UidValidity, Option<ModSeq>), MailboxFault> {
        let own = {
            let state = self.mailboxes.inner.state.borrow();
            let entry = state.mailboxes.get(&mailbox);
            entry.expect("it is held and open").head.uid_validity
        };
        if own >= self.row.left.lowest(to) {
            return Ok((own, None));
        }
        let uid_validity = self.uid_validity()?;
        Ok((
            uid_validity,
            Some(self.mailboxes.inner.next_modseq(mailbox, hold)),
        ))
    }
}

impl Inner {
    /// For a change of `mailbox`, held and open, which is pending from now on.
    fn next_modseq(&self, mailbox: MailboxId, hold: &mut Hold) -> ModSeq {
        let mut state = self.state.borrow_mut();
        let entry = state.mailboxes.get_mut(&mailbox);
        let entry = entry.expect("it is held and open");
        hold.pend(entry, &self.settled);
        entry.next_modseq()
    }
}
