//! Accounts, as far as mailboxes come and go with them.
//!
//! Who there is, the directory knows (`directory`). An account and its first folders are made by one group with a part of each
//! tenant; so are they removed.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use directory::{Directory, DirectoryFault, DkimKey, DkimState};
use mail::{Address, UidValidity};
use store::Purpose;
use tenancy::Part;

use crate::folder::FolderEntry;
use crate::hold::Hold;
use crate::inner::unavailable;
use crate::limits::{ACCOUNT_ROWS, CONDEMNED_MAX, DIRECTORY_ROWS};
use crate::name::INBOX;
use crate::record::Entry;
use crate::tree::TreeEntry;
use crate::{Account, AccountId, MailboxFault, MailboxId, Mailboxes, SpecialUse, Usage};

/// What a new account finds, all of it subscribed.
const FIRST_FOLDERS: [(&str, Option<SpecialUse>); 6] = [
    (INBOX, None),
    ("Archive", Some(SpecialUse::Archive)),
    ("Drafts", Some(SpecialUse::Drafts)),
    ("Junk", Some(SpecialUse::Junk)),
    ("Sent", Some(SpecialUse::Sent)),
    ("Trash", Some(SpecialUse::Trash)),
];

impl Mailboxes {
    /// Whose mailboxes these are.
    pub fn directory(&self) -> &Directory {
        &self.inner.directory
    }

    /// `Directory::add_domain`.
    pub async fn add_domain(&self, domain: &str) -> Result<(), MailboxFault> {
        Ok(self.directory().add_domain(domain).await?)
    }

    /// `Directory::remove_domain`.
    pub async fn remove_domain(&self, domain: &str) -> Result<(), MailboxFault> {
        Ok(self.directory().remove_domain(domain).await?)
    }

    /// `Directory::has_domain`.
    pub fn has_domain(&self, domain: &str) -> bool {
        self.directory().has_domain(domain)
    }

    /// `Directory::domains`.
    pub fn domains(&self) -> Vec<String> {
        self.directory().domains()
    }

    /// `Directory::add_dkim_key`.
    pub async fn add_dkim_key(&self, key: DkimKey) -> Result<DkimKey, MailboxFault> {
        Ok(self.directory().add_dkim_key(key).await?)
    }

    /// `Directory::set_dkim_key_state`.
    pub async fn set_dkim_key_state(
        &self,
        domain: &str,
        selector: &str,
        state: DkimState,
    ) -> Result<(), MailboxFault> {
        let set = self.directory().set_dkim_key_state(domain, selector, state);
        Ok(set.await?)
    }

    /// `Directory::remove_dkim_key`.
    pub async fn remove_dkim_key(&self, domain: &str, selector: &str) -> Result<(), MailboxFault> {
        Ok(self.directory().remove_dkim_key(domain, selector).await?)
    }

    /// `Directory::dkim_keys`.
    pub async fn dkim_keys(&self, domain: &str) -> Result<Vec<DkimKey>, MailboxFault> {
        Ok(self.directory().dkim_keys(domain).await?)
    }

    /// `Directory::generation`.
    pub fn directory_generation(&self) -> Arc<AtomicU64> {
        self.directory().generation()
    }

    /// Creates the account with INBOX and the usual folders (Drafts, Sent, Junk, Trash, Archive with their special use, subscribed).
    /// Its domain must be ours; the address is kept composed (NFC), with the domain as we have it. `quota_bytes` 0: no limit.
    pub async fn add_account(
        &self,
        address: &Address,
        password_hash: &str,
        quota_bytes: u64,
    ) -> Result<AccountId, MailboxFault> {
        self.add_account_beside(address, password_hash, quota_bytes, |_| Vec::new())
            .await
    }

    /// The same in one group with what `beside` makes for the new account, parts of other tenants: all of them are durable, or none.
    pub async fn add_account_beside(
        &self,
        address: &Address,
        password_hash: &str,
        quota_bytes: u64,
        beside: impl FnOnce(AccountId) -> Vec<Part>,
    ) -> Result<AccountId, MailboxFault> {
        let inner = &self.inner;
        inner.room_for(Purpose::Keep, false, ACCOUNT_ROWS).await?;
        let vacancy = inner.directory.vacancy(address).await?;
        // No await from here to the commit.
        let (account, people) = vacancy.take(password_hash, quota_bytes)?;
        let folders = inner.part(self.first_folders(account), Hold::default());
        let mut parts = vec![people, folders];
        parts.extend(beside(account));
        let committed = inner.tenancy.commit(Purpose::Keep, Vec::new(), parts).await;
        committed.map_err(unavailable)?;
        Ok(account)
    }

    fn first_folders(&self, account: AccountId) -> Vec<Entry> {
        let mut state = self.inner.state.borrow_mut();
        // RFC 3501 §2.3.1.1: the address may have had mailboxes of these names before.
        let removed = state.counters.uid_validity_removed;
        let mut uid_validity =
            UidValidity(self.inner.unix_seconds().max(removed.0.saturating_add(1)));
        let mut entries = vec![TreeEntry::Put { account }.into()];
        for (name, special_use) in FIRST_FOLDERS {
            let mailbox = state.assigned.mailbox_next;
            state.assigned.mailbox_next = MailboxId(mailbox.0 + 1);
            let create = FolderEntry::Create {
                account,
                mailbox,
                name: name.to_owned(),
                uid_validity,
                special_use,
            };
            let subscribe = TreeEntry::Subscribe {
                account,
                name: name.to_owned(),
                subscribed: true,
            };
            entries.extend([create.into(), subscribe.into()]);
            uid_validity = UidValidity(uid_validity.0 + 1);
        }
        entries
    }

    /// Removes the account and all its mail.
    pub async fn remove_account(&self, account: AccountId) -> Result<(), MailboxFault> {
        self.remove_account_beside(account, Vec::new).await
    }

    /// The same in one group with what `beside` makes, parts of other tenants. It is called again where room must be made first.
    pub async fn remove_account_beside(
        &self,
        account: AccountId,
        beside: impl Fn() -> Vec<Part>,
    ) -> Result<(), MailboxFault> {
        self.inner
            .deleting(DIRECTORY_ROWS, async || {
                self.try_remove_account(account, &beside).await
            })
            .await
    }

    /// Tree and directory change in one group: an address is never free while its mailboxes are still there. `closing` is set
    /// before the commit, so no delivery gets in behind the record.
    async fn try_remove_account(
        &self,
        account: AccountId,
        beside: &impl Fn() -> Vec<Part>,
    ) -> Result<(), MailboxFault> {
        let inner = &self.inner;
        let leaving = inner.directory.leaving(account).await?;
        let _locked = inner.locks.lock(account_lock(account)).await;
        let mut hold = inner.hold_account(account).await?;
        let (mailbox_next, uid_validity_last) = {
            let state = inner.state.borrow();
            let entry = state.accounts.get(&account);
            let (entry, tree) = entry
                .and_then(|entry| Some((entry, entry.live()?)))
                .ok_or(MailboxFault::NoAccount)?;
            if state.condemned.len() >= CONDEMNED_MAX {
                return Err(MailboxFault::TooMany(
                    "deleted mailboxes waiting to be cleared away",
                ));
            }
            hold.set(&entry.closing, &inner.settled);
            (state.assigned.mailbox_next, tree.uid_validity_last)
        };
        let remove = TreeEntry::Remove {
            account,
            mailbox_next,
            uid_validity_last,
        };
        let folders = inner.part(vec![remove.into()], hold);
        let (people, _leaving) = leaving.part();
        let mut parts = vec![people, folders];
        parts.extend(beside());
        let committed = inner
            .tenancy
            .commit(Purpose::Delete, Vec::new(), parts)
            .await;
        committed.map_err(unavailable)?;
        Ok(())
    }

    /// `Directory::set_password_hash`.
    pub async fn set_password_hash(
        &self,
        account: AccountId,
        password_hash: &str,
    ) -> Result<(), MailboxFault> {
        let changed = self.directory().set_password_hash(account, password_hash);
        Ok(changed.await?)
    }

    /// `Directory::set_quota`.
    pub async fn set_quota(
        &self,
        account: AccountId,
        quota_bytes: u64,
    ) -> Result<(), MailboxFault> {
        Ok(self.directory().set_quota(account, quota_bytes).await?)
    }

    /// `Directory::account`, with the bytes that its mailboxes use.
    pub async fn account(&self, address: &Address) -> Result<Option<Account>, MailboxFault> {
        match self.directory().account(address).await? {
            Some(known) => self.with_usage(known).await.map(Some),
            None => Ok(None),
        }
    }

    /// `Directory::accounts`, with the bytes that their mailboxes use.
    pub async fn accounts(
        &self,
        after: Option<&str>,
        count_max: usize,
    ) -> Result<Vec<Account>, MailboxFault> {
        let mut accounts = Vec::new();
        for known in self.directory().accounts(after, count_max).await? {
            accounts.push(self.with_usage(known).await?);
        }
        Ok(accounts)
    }

    /// What the account's messages take, and its limit.
    pub async fn usage(&self, account: AccountId) -> Result<Usage, MailboxFault> {
        let _hold = self.hold_live_account(account).await?;
        let state = self.inner.state.borrow();
        let entry = state.accounts.get(&account);
        Ok(Usage {
            used_bytes: entry.map_or(0, |entry| entry.used_bytes),
            quota_bytes: self.directory().quota_bytes(account),
        })
    }

    async fn with_usage(&self, known: directory::Account) -> Result<Account, MailboxFault> {
        let _hold = self.inner.hold_tree(known.id).await?;
        let state = self.inner.state.borrow();
        let entry = state.accounts.get(&known.id);
        Ok(Account {
            id: known.id,
            address: known.address,
            password_hash: known.password_hash,
            quota_bytes: known.quota_bytes,
            used_bytes: entry.map_or(0, |entry| entry.used_bytes),
        })
    }

    pub(crate) async fn hold_live_account(&self, account: AccountId) -> Result<Hold, MailboxFault> {
        let hold = self.inner.hold_account(account).await?;
        let state = self.inner.state.borrow();
        let entry = state.accounts.get(&account);
        match entry.and_then(|entry| entry.live()) {
            Some(_) => Ok(hold),
            None => Err(MailboxFault::NoAccount),
        }
    }
}

pub(crate) fn account_lock(account: AccountId) -> String {
    format!("account {}", account.0)
}

impl From<DirectoryFault> for MailboxFault {
    fn from(fault: DirectoryFault) -> MailboxFault {
        match fault {
            DirectoryFault::NoAccount => MailboxFault::NoAccount,
            DirectoryFault::Exists => MailboxFault::Exists,
            DirectoryFault::Refused(why) => MailboxFault::Refused(why),
            DirectoryFault::TooMany(what) => MailboxFault::TooMany(what),
            DirectoryFault::Store(fault) => unavailable(fault),
        }
    }
}
