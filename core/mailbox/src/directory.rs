//! Domains and accounts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use mail::{Address, UidValidity, spelling};
use store::Purpose;

use crate::inner::{broken, unavailable};
use crate::limits::{CONDEMNED_MAX, DOMAINS_MAX, PASSWORD_HASH_BYTES_MAX};
use crate::load::Hold;
use crate::name::INBOX;
use crate::record::Entry;
use crate::row;
use crate::space::{ACCOUNT_ROWS, DIRECTORY_ROWS};
use crate::{Account, AccountId, MailboxFault, MailboxId, Mailboxes, SpecialUse};

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
    /// `Exists` when it is ours already, in any spelling. The name is kept in lower case and composed (NFC), in letters or in ASCII as it was
    /// given.
    pub async fn add_domain(&self, domain: &str) -> Result<(), MailboxFault> {
        let domain = spelling::composed(&domain.to_lowercase()).into_owned();
        if Address::from_parts("postmaster", &domain).is_none() || domain.contains('@') {
            return Err(MailboxFault::Refused("that is not a domain name"));
        }
        self.inner
            .room_for(Purpose::Keep, false, DIRECTORY_ROWS)
            .await?;
        let _locked = self.inner.locks.lock(DOMAINS_LOCK.to_owned()).await;
        {
            let state = self.inner.state.borrow();
            if state.domain(&domain).is_some() {
                return Err(MailboxFault::Exists);
            }
            if state.domains.len() >= DOMAINS_MAX {
                return Err(MailboxFault::TooMany("domains"));
            }
        }
        self.inner
            .commit(
                Vec::new(),
                vec![Entry::DomainPut { domain }],
                Hold::default(),
            )
            .await?;
        Ok(())
    }

    /// Refused while accounts remain in it.
    pub async fn remove_domain(&self, domain: &str) -> Result<(), MailboxFault> {
        self.inner
            .deleting(DIRECTORY_ROWS, async || {
                self.try_remove_domain(domain).await
            })
            .await
    }

    async fn try_remove_domain(&self, domain: &str) -> Result<(), MailboxFault> {
        let _locked = self.inner.locks.lock(DOMAINS_LOCK.to_owned()).await;
        let domain = {
            let state = self.inner.state.borrow();
            let found = state.domain(domain);
            let (domain, entry) = found.ok_or(MailboxFault::Refused("no such domain"))?;
            if entry.accounts > 0 {
                return Err(MailboxFault::Refused("accounts remain in the domain"));
            }
            domain
        };
        self.inner
            .commit(
                Vec::new(),
                vec![Entry::DomainRemove { domain }],
                Hold::default(),
            )
            .await?;
        Ok(())
    }

    /// Whether this volume has mail for `domain`, in any of its spellings.
    pub fn has_domain(&self, domain: &str) -> bool {
        self.inner.state.borrow().domain(domain).is_some()
    }

    /// All domains this volume has mail for, in order.
    pub fn domains(&self) -> Vec<String> {
        let state = self.inner.state.borrow();
        state
            .domains
            .iter()
            .filter(|(_, domain)| domain.present)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Creates the account with INBOX and the usual folders (Drafts, Sent, Junk, Trash, Archive with their special use, subscribed).
    /// Its domain must be ours; the address is kept composed (NFC), with the domain as we have it. `quota_bytes` 0: no limit.
    pub async fn add_account(
        &self,
        address: &Address,
        password_hash: &str,
        quota_bytes: u64,
    ) -> Result<AccountId, MailboxFault> {
        check_password_hash(password_hash)?;
        self.inner
            .room_for(Purpose::Keep, false, ACCOUNT_ROWS)
            .await?;
        let domain = {
            let state = self.inner.state.borrow();
            let ours = state.domain(address.domain()).map(|(domain, _)| domain);
            ours.ok_or(MailboxFault::Refused(NOT_OURS))?
        };
        let local = spelling::composed(address.local());
        let address = Address::from_parts(&local, &domain);
        let address = address.ok_or(MailboxFault::Refused("the address is too long"))?;
        let _locked = self
            .inner
            .locks
            .lock(format!("address {}", address.key()))
            .await;
        if self.account_of(&address).await?.is_some() {
            return Err(MailboxFault::Exists);
        }
        let (account, entries) = {
            let mut state = self.inner.state.borrow_mut();
            if !state
                .domains
                .get(address.domain())
                .is_some_and(|domain| domain.present)
            {
                return Err(MailboxFault::Refused(NOT_OURS));
            }
            let account = state.assigned.account_next;
            state.assigned.account_next = AccountId(account.0 + 1);
            let mut entries = vec![Entry::AccountPut {
                account,
                address: address.clone(),
                password_hash: password_hash.to_owned(),
                quota_bytes,
            }];
            // RFC 3501 §2.3.1.1: the address may have had mailboxes of these names before.
            let removed = state.counters.uid_validity_removed;
            let mut uid_validity =
                UidValidity(self.inner.unix_seconds().max(removed.0.saturating_add(1)));
            for (name, special_use) in FIRST_FOLDERS {
                let mailbox = state.assigned.mailbox_next;
                state.assigned.mailbox_next = MailboxId(mailbox.0 + 1);
                entries.push(Entry::MailboxCreate {
                    account,
                    mailbox,
                    name: name.to_owned(),
                    uid_validity,
                    special_use,
                });
                entries.push(Entry::Subscribe {
                    account,
                    name: name.to_owned(),
                    subscribed: true,
                });
                uid_validity = UidValidity(uid_validity.0 + 1);
            }
            (account, entries)
        };
        self.inner
            .commit(Vec::new(), entries, Hold::default())
            .await?;
        Ok(account)
    }

    /// Removes the account and all its mail.
    pub async fn remove_account(&self, account: AccountId) -> Result<(), MailboxFault> {
        self.inner
            .deleting(DIRECTORY_ROWS, async || {
                self.try_remove_account(account).await
            })
            .await
    }

    async fn try_remove_account(&self, account: AccountId) -> Result<(), MailboxFault> {
        let _locked = self.inner.locks.lock(account_lock(account)).await;
        let mut hold = self.inner.hold_account(account).await?;
        let (mailbox_next, uid_validity_last) = {
            let state = self.inner.state.borrow();
            let entry = state.accounts.get(&account);
            let (entry, row) = entry
                .and_then(|entry| Some((entry, entry.live()?)))
                .ok_or(MailboxFault::NoAccount)?;
            if state.condemned.len() >= CONDEMNED_MAX {
                return Err(MailboxFault::TooMany(
                    "deleted mailboxes waiting to be cleared away",
                ));
            }
            hold.set(&entry.closing, &self.inner.settled);
            (state.assigned.mailbox_next, row.uid_validity_last)
        };
        let entry = Entry::AccountRemove {
            account,
            mailbox_next,
            uid_validity_last,
        };
        self.inner.commit(Vec::new(), vec![entry], hold).await?;
        Ok(())
    }

    pub async fn set_password_hash(
        &self,
        account: AccountId,
        password_hash: &str,
    ) -> Result<(), MailboxFault> {
        check_password_hash(password_hash)?;
        self.inner
            .room_for(Purpose::Keep, false, DIRECTORY_ROWS)
            .await?;
        let _locked = self.inner.locks.lock(account_lock(account)).await;
        let hold = self.hold_live_account(account).await?;
        let entry = Entry::AccountPassword {
            account,
            password_hash: password_hash.to_owned(),
        };
        self.inner.commit(Vec::new(), vec![entry], hold).await?;
        Ok(())
    }

    /// 0: no limit. An account may be over its new quota; it then takes no more mail.
    pub async fn set_quota(
        &self,
        account: AccountId,
        quota_bytes: u64,
    ) -> Result<(), MailboxFault> {
        self.inner
            .room_for(Purpose::Keep, false, DIRECTORY_ROWS)
            .await?;
        let _locked = self.inner.locks.lock(account_lock(account)).await;
        let hold = self.hold_live_account(account).await?;
        self.inner
            .commit(
                Vec::new(),
                vec![Entry::AccountQuota {
                    account,
                    quota_bytes,
                }],
                hold,
            )
            .await?;
        Ok(())
    }

    /// By `Address::key`, in any of its spellings (RFC 6532 §3.1: composed or not; RFC 5890: a domain in letters or in ASCII).
    /// `local+detail@domain` finds `local@domain` when no such account exists itself (RFC 5233).
    pub async fn account(&self, address: &Address) -> Result<Option<Account>, MailboxFault> {
        let mut found = self.account_of(address).await?;
        if found.is_none()
            && let Some((local, _detail)) = address.local().split_once('+')
            && let Some(base) = Address::from_parts(local, address.domain())
        {
            found = self.account_of(&base).await?;
        }
        match found {
            Some(account) => self.account_by_id(account).await,
            None => Ok(None),
        }
    }

    /// In address order (of `Address::key`), at most `count_max`, after the key `after`.
    pub async fn accounts(
        &self,
        after: Option<&str>,
        count_max: usize,
    ) -> Result<Vec<Account>, MailboxFault> {
        let from = after.map_or(Vec::new(), |after| [after.as_bytes(), &[0]].concat());
        // Keys that changed since the projection was written are laid over its rows; each can hide one row at most.
        let changed: BTreeMap<String, Option<AccountId>> = {
            let state = self.inner.state.borrow();
            let newer = state
                .keys
                .iter()
                .filter(|(key, _)| key.as_bytes() >= from.as_slice());
            newer
                .map(|(key, (account, _))| (key.clone(), *account))
                .collect()
        };
        let rows_max = count_max.saturating_add(changed.len());
        let rows = self
            .inner
            .store
            .range(row::KEYS, from, vec![0xff], rows_max)
            .await
            .map_err(unavailable)?;
        let complete = rows.len() < rows_max;
        let last = rows.last().map(|(key, _)| key.clone());
        let mut found = BTreeMap::new();
        for (key, value) in rows {
            let key = String::from_utf8(key).map_err(|_| broken(row::Broken))?;
            let account = row::decode_number(&value).map_err(broken)?;
            found.insert(
                key,
                Some(AccountId(
                    u32::try_from(account).map_err(|_| broken(row::Broken))?,
                )),
            );
        }
        found.extend(
            changed
                .into_iter()
                .filter(|(key, _)| complete || Some(key.as_bytes()) <= last.as_deref()),
        );
        let mut accounts = Vec::new();
        for account in found.into_values().flatten() {
            if accounts.len() == count_max {
                break;
            }
            accounts.extend(self.account_by_id(account).await?);
        }
        Ok(accounts)
    }

    /// Rises with every directory change: caches of `account` elsewhere are good while it stands still.
    pub fn directory_generation(&self) -> Arc<AtomicU64> {
        self.inner.directory_generation.clone()
    }

    pub(crate) async fn hold_live_account(&self, account: AccountId) -> Result<Hold, MailboxFault> {
        let hold = self.inner.hold_account(account).await?;
        let state = self.inner.state.borrow();
        if state
            .accounts
            .get(&account)
            .and_then(|entry| entry.live())
            .is_none()
        {
            return Err(MailboxFault::NoAccount);
        }
        Ok(hold)
    }

    async fn account_by_id(&self, account: AccountId) -> Result<Option<Account>, MailboxFault> {
        let _hold = self.inner.hold_account(account).await?;
        let state = self.inner.state.borrow();
        let Some(entry) = state.accounts.get(&account) else {
            return Ok(None);
        };
        Ok(entry.live().map(|row| Account {
            id: account,
            address: row.address.clone(),
            password_hash: row.password_hash.clone(),
            quota_bytes: row.quota_bytes,
            used_bytes: entry.used_bytes,
        }))
    }

    /// Accounts made by earlier releases are kept in the spelling they were given in.
    async fn account_of(&self, address: &Address) -> Result<Option<AccountId>, MailboxFault> {
        for key in spelling::keys(address) {
            if let Some(account) = self.account_of_key(&key).await? {
                return Ok(Some(account));
            }
        }
        Ok(None)
    }

    async fn account_of_key(&self, key: &str) -> Result<Option<AccountId>, MailboxFault> {
        loop {
            let generation = self.inner.generation();
            if let Some(known) = self.inner.state.borrow().key(key) {
                return Ok(known);
            }
            let row = self
                .inner
                .store
                .get(row::KEYS, key.as_bytes().to_vec())
                .await
                .map_err(unavailable)?;
            let mut account = None;
            if let Some(value) = row {
                let number = row::decode_number(&value).map_err(broken)?;
                account = Some(AccountId(
                    u32::try_from(number).map_err(|_| broken(row::Broken))?,
                ));
            }
            // When the directory changed while we looked, what we read may be of before the change: look again.
            if self.inner.generation() == generation {
                self.inner
                    .state
                    .borrow_mut()
                    .cache_key(key.to_owned(), account);
                return Ok(account);
            }
        }
    }
}

pub(crate) fn account_lock(account: AccountId) -> String {
    format!("account {}", account.0)
}

fn check_password_hash(password_hash: &str) -> Result<(), MailboxFault> {
    if password_hash.len() > PASSWORD_HASH_BYTES_MAX {
        return Err(MailboxFault::Refused("the password hash is too long"));
    }
    Ok(())
}

const NOT_OURS: &str = "its domain is not ours: add the domain first";
/// Held from the look at a domain to the durable change of it.
pub(crate) const DOMAINS_LOCK: &str = "domains";
