//! Operations on accounts.
//!
//! An account comes and goes together with its mailboxes: the directory gives its part of the group (`Vacancy::take`, `Leaving::part`),
//! and `mailbox` commits it with its own.

use std::collections::BTreeMap;

use mail::{Address, spelling};
use store::Purpose;
use tenancy::encoding::{Broken, decode_number};
use tenancy::{Locked, Part};

use crate::account::{AccountEntry, AccountRow, KEYS};
use crate::limits::{ACCOUNT_ROWS, PASSWORD_HASH_BYTES_MAX};
use crate::load::Pin;
use crate::record::{Entry, name_lock};
use crate::{Account, AccountId, Directory, DirectoryFault};

/// An address that no account has, and that none gets meanwhile.
pub struct Vacancy<'a> {
    directory: &'a Directory,
    address: Address,
    _locked: Locked<'a>,
}

/// An account that is to be removed; nothing new comes to it meanwhile.
pub struct Leaving<'a> {
    directory: &'a Directory,
    account: AccountId,
    pin: Pin,
    _locked: Locked<'a>,
}

impl Directory {
    /// The address as a new account would have it: composed (NFC), with the domain as we have it. Its domain must be ours.
    pub async fn vacancy(&self, address: &Address) -> Result<Vacancy<'_>, DirectoryFault> {
        let domain = {
            let state = self.inner.state.borrow();
            let ours = state.domain(address.domain()).map(|(domain, _)| domain);
            ours.ok_or(DirectoryFault::Refused(NOT_OURS))?
        };
        let local = spelling::composed(address.local());
        let address = Address::from_parts(&local, &domain);
        let address = address.ok_or(DirectoryFault::Refused("the address is too long"))?;
        let _locked = self.inner.locks.lock(name_lock(&address.key())).await;
        if self.id_of(&address).await?.is_some() || self.listed(&address).is_some() {
            return Err(DirectoryFault::Exists);
        }
        Ok(Vacancy {
            directory: self,
            address,
            _locked,
        })
    }

    /// Begins the removal of an account.
    pub async fn leaving(&self, account: AccountId) -> Result<Leaving<'_>, DirectoryFault> {
        let _locked = self.inner.locks.lock(account_lock(account)).await;
        let mut pin = self.inner.hold(account).await?;
        {
            let state = self.inner.state.borrow();
            let entry = state.accounts.get(&account);
            let entry = entry.filter(|entry| entry.live().is_some());
            pin.close(&entry.ok_or(DirectoryFault::NoAccount)?.closing);
        }
        Ok(Leaving {
            directory: self,
            account,
            pin,
            _locked,
        })
    }

    /// `password_hash` is a PHC string, at most `PASSWORD_HASH_BYTES_MAX`; it is not parsed here. Durable when it answers.
    pub async fn set_password_hash(
        &self,
        account: AccountId,
        password_hash: &str,
    ) -> Result<(), DirectoryFault> {
        self.set_password_hash_beside(account, password_hash, Vec::new())
            .await
    }

    /// The same in one group with `beside`, parts of other tenants: all of them are durable, or none.
    pub async fn set_password_hash_beside(
        &self,
        account: AccountId,
        password_hash: &str,
        beside: Vec<Part>,
    ) -> Result<(), DirectoryFault> {
        check_password_hash(password_hash)?;
        let change = AccountEntry::Password {
            account,
            password_hash: password_hash.to_owned(),
        };
        self.change(account, change, beside).await
    }

    /// 0: no limit. An account may be over its new quota; it then takes no more mail.
    pub async fn set_quota(
        &self,
        account: AccountId,
        quota_bytes: u64,
    ) -> Result<(), DirectoryFault> {
        let change = AccountEntry::Quota {
            account,
            quota_bytes,
        };
        self.change(account, change, Vec::new()).await
    }

    /// One record about an account that exists, durable when it answers, together with `beside`.
    async fn change(
        &self,
        account: AccountId,
        change: AccountEntry,
        beside: Vec<Part>,
    ) -> Result<(), DirectoryFault> {
        let inner = &self.inner;
        let room = inner.tenancy.room_for(Purpose::Keep, false, ACCOUNT_ROWS);
        room.await?;
        // Taken for every change of the row until it is applied: a snapshot is written under it.
        let _locked = inner.locks.lock(account_lock(account)).await;
        let pin = inner.hold(account).await?;
        if self.row(account, |_| ()).is_none() {
            return Err(DirectoryFault::NoAccount);
        }
        let mut parts = vec![inner.part(vec![Entry::Account(change)], vec![pin])];
        parts.extend(beside);
        let committed = inner.tenancy.commit(Purpose::Keep, Vec::new(), parts);
        committed.await?;
        Ok(())
    }

    /// By `Address::key`, in any of its spellings (RFC 6532 §3.1: composed or not; RFC 5890: a domain in letters or in ASCII).
    /// `local+detail@domain` finds `local@domain` when no such account exists itself (RFC 5233).
    pub async fn account(&self, address: &Address) -> Result<Option<Account>, DirectoryFault> {
        let mut found = self.id_of(address).await?;
        if found.is_none()
            && let Some((local, _detail)) = address.local().split_once('+')
            && let Some(base) = Address::from_parts(local, address.domain())
        {
            found = self.id_of(&base).await?;
        }
        match found {
            Some(account) => self.account_by_id(account).await,
            None => Ok(None),
        }
    }

    /// `None`: no such account, or one that is being removed.
    pub async fn account_by_id(
        &self,
        account: AccountId,
    ) -> Result<Option<Account>, DirectoryFault> {
        let _pin = self.inner.hold(account).await?;
        Ok(self.row(account, |row| Account {
            id: account,
            address: row.address.clone(),
            password_hash: row.password_hash.clone(),
            quota_bytes: row.quota_bytes,
        }))
    }

    /// In address order (of `Address::key`), at most `count_max`, after the key `after`.
    pub async fn accounts(
        &self,
        after: Option<&str>,
        count_max: usize,
    ) -> Result<Vec<Account>, DirectoryFault> {
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
        let rows = self.inner.store.range(KEYS, from, vec![0xff], rows_max);
        let rows = rows.await?;
        let complete = rows.len() < rows_max;
        let last = rows.last().map(|(key, _)| key.clone());
        let mut found = BTreeMap::new();
        for (key, value) in rows {
            let key = String::from_utf8(key).map_err(|_| Broken)?;
            found.insert(key, Some(read_id(&value)?));
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

    /// Keeps the account's row in memory, if there is one: `quota_bytes` knows it then.
    pub async fn hold(&self, account: AccountId) -> Result<Pin, DirectoryFault> {
        self.inner.hold(account).await
    }

    /// Of an account that is held; 0: no limit, or no such account.
    pub fn quota_bytes(&self, account: AccountId) -> u64 {
        self.row(account, |row| row.quota_bytes).unwrap_or(0)
    }

    /// Of an account that is held.
    pub(crate) fn hash_of(&self, account: AccountId) -> Option<String> {
        self.row(account, |row| row.password_hash.clone())
    }

    fn row<T>(&self, account: AccountId, get: impl FnOnce(&AccountRow) -> T) -> Option<T> {
        let state = self.inner.state.borrow();
        state.accounts.get(&account)?.live().map(get)
    }

    /// Accounts made by earlier releases are kept in the spelling they were given in.
    pub(crate) async fn id_of(
        &self,
        address: &Address,
    ) -> Result<Option<AccountId>, DirectoryFault> {
        for key in spelling::keys(address) {
            if let Some(account) = self.id_of_key(&key).await? {
                return Ok(Some(account));
            }
        }
        Ok(None)
    }

    async fn id_of_key(&self, key: &str) -> Result<Option<AccountId>, DirectoryFault> {
        let inner = &self.inner;
        let generation = || inner.generation.load(std::sync::atomic::Ordering::Acquire);
        loop {
            // Ends: each turn but the last saw a change of the directory.
            let before = generation();
            if let Some(known) = inner.state.borrow().key(key) {
                return Ok(known);
            }
            let row = inner.store.get(KEYS, key.as_bytes().to_vec()).await?;
            let account = row.as_deref().map(read_id).transpose()?;
            // When the directory changed while we looked, what we read may be of before the change: look again.
            if generation() == before {
                let mut state = inner.state.borrow_mut();
                state.cache_key(key.to_owned(), account);
                return Ok(account);
            }
        }
    }
}

impl Vacancy<'_> {
    /// A number for the account and the directory's part of the group that makes it. In the same turn as the commit.
    pub fn take(
        &self,
        password_hash: &str,
        quota_bytes: u64,
    ) -> Result<(AccountId, Part), DirectoryFault> {
        check_password_hash(password_hash)?;
        let inner = &self.directory.inner;
        let (account, pin) = {
            let mut state = inner.state.borrow_mut();
            let domain = state.domains.get(self.address.domain());
            let domain = domain.filter(|domain| domain.is_open());
            let pin = Pin::of(&domain.ok_or(DirectoryFault::Refused(NOT_OURS))?.arriving);
            (state.assign(), pin)
        };
        let put = AccountEntry::Put {
            account,
            address: self.address.clone(),
            password_hash: password_hash.to_owned(),
            quota_bytes,
        };
        Ok((account, inner.part(vec![Entry::Account(put)], vec![pin])))
    }
}

impl<'a> Leaving<'a> {
    /// The directory's part of the group that removes the account, and the lock to be held until that is applied.
    pub fn part(self) -> (Part, Locked<'a>) {
        let remove = AccountEntry::Remove {
            account: self.account,
        };
        let entries = vec![Entry::Account(remove)];
        let part = self.directory.inner.part(entries, vec![self.pin]);
        (part, self._locked)
    }
}

/// The name of the lock of one account's row.
pub(crate) fn account_lock(account: AccountId) -> String {
    format!("account {}", account.0)
}

/// The bound keeps the row within one page of the projection.
fn check_password_hash(password_hash: &str) -> Result<(), DirectoryFault> {
    if password_hash.len() > PASSWORD_HASH_BYTES_MAX {
        return Err(DirectoryFault::Refused("the password hash is too long"));
    }
    Ok(())
}

/// The value of a row of `KEYS`.
fn read_id(row: &[u8]) -> Result<AccountId, Broken> {
    let number = decode_number(row)?;
    u32::try_from(number).map(AccountId).map_err(|_| Broken)
}

pub(crate) const NOT_OURS: &str = "its domain is not ours: add the domain first";
