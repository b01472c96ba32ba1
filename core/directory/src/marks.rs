//! Operations on marks: what another directory (LDAP) owns of accounts, aliases and groups.

use store::Purpose;
use tenancy::Part;

use crate::account::AccountEntry;
use crate::accounts::account_lock;
use crate::aliases::check_count;
use crate::limits::{ACCOUNT_ROWS, PASSWORD_HASH_BYTES_MAX};
use crate::mark::Mark;
use crate::record::{Entry, name_lock};
use crate::whole::Named;
use crate::{AccountId, Directory, DirectoryFault};

/// What an address stands for that another directory may own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    Alias,
    Group,
}

/// A new hash of the password, in place of the one that was seen.
#[derive(Debug, Clone)]
pub struct NewHash {
    /// The hash that the account had when it was decided; another one by now is left as it is.
    pub seen: String,
    pub hash: String,
}

impl Directory {
    /// `None`: the account is of this directory alone.
    pub fn account_mark(&self, account: AccountId) -> Option<Mark> {
        let state = self.inner.state.borrow();
        state.marks.get(&of_account(account)).copied()
    }

    /// The part of a new account's group that marks it. `TooMany`: there is no room for a mark.
    pub fn new_mark(&self, account: AccountId, mark: Mark) -> Part {
        let name = of_account(account);
        let put = Entry::Mark(Named::Put { name, row: mark });
        self.inner.part(vec![put], Vec::new())
    }

    /// Whether another account, alias or group can be marked.
    pub fn has_room_for_mark(&self) -> Result<(), DirectoryFault> {
        check_count::<Mark>(&self.inner.state.borrow(), "")
    }

    /// Changes the mark of an account that has one, together with the hash of its password. `Refused`: it is of this directory alone. What two
    /// callers change at a time both counts.
    pub async fn alter_mark(
        &self,
        account: AccountId,
        new: Option<NewHash>,
        change: impl FnOnce(&mut Mark),
    ) -> Result<(), DirectoryFault> {
        let inner = &self.inner;
        inner
            .tenancy
            .room_for(Purpose::Keep, false, ACCOUNT_ROWS + 1)
            .await?;
        let name = of_account(account);
        let _account = inner.locks.lock(account_lock(account)).await;
        let _name = inner.locks.lock(name_lock(&name)).await;
        let pin = inner.hold(account).await?;
        let here = self.hash_of(account).ok_or(DirectoryFault::NoAccount)?;
        let before = self.account_mark(account);
        let mut mark = before.ok_or(DirectoryFault::Refused(NOT_MARKED))?;
        let mut entries = Vec::new();
        if let Some(NewHash { seen, hash }) = new {
            if hash.len() > PASSWORD_HASH_BYTES_MAX {
                return Err(DirectoryFault::Refused("the password hash is too long"));
            }
            if seen != here {
                return Ok(());
            }
            if hash != here {
                entries.push(Entry::Account(AccountEntry::Password {
                    account,
                    password_hash: hash,
                }));
            }
        }
        change(&mut mark);
        if entries.is_empty() && before == Some(mark) {
            return Ok(());
        }
        entries.push(Entry::Mark(Named::Put { name, row: mark }));
        inner.commit(Purpose::Keep, entries, vec![pin]).await?;
        Ok(())
    }

    /// Forgets the mark of an account: it is of this directory alone from now on, or it is gone.
    pub async fn remove_mark(&self, account: AccountId) -> Result<(), DirectoryFault> {
        self.forget(of_account(account)).await
    }

    /// Whether another directory owns the alias or group of this name, as it is listed.
    pub fn is_marked(&self, what: Marked, name: &str) -> bool {
        let state = self.inner.state.borrow();
        state.marks.get(&of_name(what, name)).is_some()
    }

    /// Marks the name of an alias or group, or forgets that it was marked.
    pub async fn mark(
        &self,
        what: Marked,
        name: &str,
        is_marked: bool,
    ) -> Result<(), DirectoryFault> {
        let listed = of_name(what, name);
        if !is_marked {
            return self.forget(listed).await;
        }
        let inner = &self.inner;
        inner.tenancy.room_for(Purpose::Keep, false, 1).await?;
        let _name = inner.locks.lock(name_lock(&listed)).await;
        if inner.state.borrow().marks.get(&listed).is_some() {
            return Ok(());
        }
        check_count::<Mark>(&inner.state.borrow(), &listed)?;
        let put = Entry::Mark(Named::Put {
            name: listed,
            row: Mark::default(),
        });
        inner.commit(Purpose::Keep, vec![put], Vec::new()).await?;
        Ok(())
    }

    /// Every account with a mark, also one that is gone; at most `count_max`, after the number `after`.
    pub fn marked_accounts(&self) -> Vec<(AccountId, Mark)> {
        let state = self.inner.state.borrow();
        let marks = state.marks.starting(ACCOUNT.to_owned());
        let of = |(name, mark): (&String, &Mark)| {
            let number = name[ACCOUNT.len()..].parse().ok()?;
            Some((AccountId(number), *mark))
        };
        marks.filter_map(of).collect()
    }

    /// Every name that is marked as an alias or as a group.
    pub fn marked_names(&self, what: Marked) -> Vec<String> {
        let start = of_name(what, "");
        let state = self.inner.state.borrow();
        let marks = state.marks.starting(start.clone());
        marks
            .map(|(name, _)| name[start.len()..].to_owned())
            .collect()
    }

    async fn forget(&self, name: String) -> Result<(), DirectoryFault> {
        let attempt = async || {
            let inner = &self.inner;
            let _name = inner.locks.lock(name_lock(&name)).await;
            if inner.state.borrow().marks.get(&name).is_none() {
                return Ok(());
            }
            let remove = Entry::Mark(Named::Remove { name: name.clone() });
            let done = inner.commit(Purpose::Delete, vec![remove], Vec::new());
            done.await?;
            Ok(())
        };
        self.inner.tenancy.deleting(1, attempt).await
    }
}

fn of_account(account: AccountId) -> String {
    format!("{ACCOUNT}{}", account.0)
}

fn of_name(what: Marked, name: &str) -> String {
    match what {
        Marked::Alias => format!("alias {name}"),
        Marked::Group => format!("group {name}"),
    }
}

const ACCOUNT: &str = "account ";
const NOT_MARKED: &str = "the account is of this directory alone";
