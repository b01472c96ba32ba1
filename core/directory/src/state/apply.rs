//! What the records of the log do to memory.
//!
//! A record is applied at the moment of its durability, and in a replay in the order of the log. Both go through `State::apply`, so that a
//! restart ends with the state that the daemon had before it.

use store::Lsn;

use super::{AccountEntry as Cached, Held, State};
use crate::AccountId;
use crate::account::{AccountEntry, AccountRow};
use crate::dkim_key::{DkimKeyEntry, DkimKeyRow};
use crate::domain::DomainEntry;
use crate::group::Group;
use crate::limits::{ACCOUNT_ROWS, DOMAIN_ROWS};
use crate::record::{Entry, of_named};
use crate::whole::Named;

impl State {
    /// The one place where a record changes what is visible: live at the moment of durability, in replay alike.
    pub fn apply(&mut self, lsn: Lsn, entry: &Entry) {
        of_named!(entry, entry => entry.apply(self),
            Entry::Domain(entry) => entry.apply(self),
            Entry::Account(entry) => entry.apply(lsn, self),
            Entry::DkimKey(entry) => entry.apply(lsn, self),
        )
    }
}

impl Entry {
    /// Rows that a checkpoint has to write because of it, at most, when it is applied to `state`.
    pub fn rows(&self, state: &State) -> u64 {
        match self {
            Entry::Domain(_) | Entry::DkimKey(_) => DOMAIN_ROWS,
            Entry::Account(_) => ACCOUNT_ROWS,
            Entry::Group(Named::Remove { name }) => match Group::rows(state).get(name) {
                Some(group) => state.members.starting(group.members_start(name)).count() as u64 + 1,
                None => 1,
            },
            _ => 1,
        }
    }

    /// What stands for the record, and for every earlier one about its name. Only for nouns of `whole.rs`.
    pub fn carried(&self, state: &State) -> Entry {
        match self {
            Entry::Alias(entry) => Entry::Alias(Named::present(entry.name().to_owned(), state)),
            Entry::Group(entry) => Entry::Group(Named::present(entry.name().to_owned(), state)),
            Entry::Member(entry) => Entry::Member(Named::present(entry.name().to_owned(), state)),
            Entry::Route(entry) => Entry::Route(Named::present(entry.name().to_owned(), state)),
            Entry::Grant(entry) => Entry::Grant(Named::present(entry.name().to_owned(), state)),
            Entry::Allowance(entry) => {
                Entry::Allowance(Named::present(entry.name().to_owned(), state))
            }
            Entry::KeptPolicy(entry) => {
                Entry::KeptPolicy(Named::present(entry.name().to_owned(), state))
            }
            Entry::Mark(entry) => Entry::Mark(Named::present(entry.name().to_owned(), state)),
            Entry::Fetch(entry) => Entry::Fetch(Named::present(entry.name().to_owned(), state)),
            Entry::Key(entry) => Entry::Key(Named::present(entry.name().to_owned(), state)),
            Entry::Domain(_) | Entry::Account(_) | Entry::DkimKey(_) => {
                unreachable!("its file says what stands for it")
            }
        }
    }
}

impl AccountEntry {
    /// The account must be loaded. One that is absent does not exist: it was removed, or in a rebuild from the bare log a
    /// later snapshot stands for it; then the entry has no effect.
    pub fn apply(&self, lsn: Lsn, state: &mut State) {
        match self {
            AccountEntry::Put {
                account,
                address,
                password_hash,
                quota_bytes,
            } => {
                let row = AccountRow {
                    address: address.clone(),
                    password_hash: password_hash.clone(),
                    quota_bytes: *quota_bytes,
                    snapshot: Lsn(0),
                };
                state.put_account(*account, row);
            }
            AccountEntry::Remove { account } => state.remove_account(*account),
            AccountEntry::Password {
                account,
                password_hash,
            } => state.change_account(*account, |row| row.password_hash.clone_from(password_hash)),
            AccountEntry::Quota {
                account,
                quota_bytes,
            } => state.change_account(*account, |row| row.quota_bytes = *quota_bytes),
            AccountEntry::Snapshot { account, row } => {
                let row = AccountRow {
                    snapshot: lsn,
                    ..row.clone()
                };
                if state.has_row(*account) {
                    state.change_account(*account, |known| *known = row);
                } else {
                    state.put_account(*account, row);
                }
            }
        }
    }
}

impl State {
    /// The domain's count goes up with the new row and down with the row it replaces, so that a record applied twice counts
    /// once.
    fn put_account(&mut self, account: AccountId, row: AccountRow) {
        self.raise_next(account);
        self.count_account(row.address.domain(), 1);
        self.put_key(row.address.key(), Some(account));
        if !self.accounts.contains_key(&account) {
            self.insert_account(account, Cached::default());
        }
        let entry = self.accounts.get_mut(&account).expect("just made certain");
        if let Some(known) = entry.row.replace(row) {
            // Only a log that was rebuilt from names an account twice.
            self.count_account(known.address.domain(), -1);
        }
        self.touch_account(account);
    }

    /// The address is freed unless another account has it: a rebuild may have met that account's record first.
    fn remove_account(&mut self, account: AccountId) {
        self.raise_next(account);
        let entry = self.accounts.get_mut(&account);
        let Some(row) = entry.and_then(|entry| entry.row.take()) else {
            return;
        };
        self.touch_account(account);
        self.count_account(row.address.domain(), -1);
        let key = row.address.key();
        let holder = self.keys.get(&key);
        if holder.is_none_or(|(holder, _)| *holder == Some(account)) {
            self.put_key(key, None);
        }
    }

    /// Does nothing where the account has no row: a later snapshot stands for it.
    fn change_account(&mut self, account: AccountId, change: impl FnOnce(&mut AccountRow)) {
        let entry = self.accounts.get_mut(&account);
        if let Some(row) = entry.and_then(|entry| entry.row.as_mut()) {
            change(row);
            self.touch_account(account);
        }
    }

    fn has_row(&self, account: AccountId) -> bool {
        let entry = self.accounts.get(&account);
        entry.is_some_and(|entry| entry.row.is_some())
    }
}

impl DomainEntry {
    /// Makes it visible, live and in replay alike. Accounts are counted by `count_account`, not here.
    pub fn apply(&self, state: &mut State) {
        let present = matches!(self, DomainEntry::Put { .. });
        let entry = state.domains.entry(self.domain().to_owned());
        entry.or_default().present = present;
        state.touch_domain(self.domain());
    }
}

impl State {
    /// An account of `domain` came or went.
    pub(crate) fn count_account(&mut self, domain: &str, change: i64) {
        let entry = self.domains.entry(domain.to_owned()).or_default();
        entry.accounts = entry.accounts.saturating_add_signed(change);
        self.touch_domain(domain);
    }
}

impl DkimKeyEntry {
    /// Makes it visible, live and in replay alike.
    pub fn apply(&self, lsn: Lsn, state: &mut State) {
        let row = match self {
            DkimKeyEntry::Put { row, .. } => Some(DkimKeyRow {
                written: lsn,
                ..row.clone()
            }),
            DkimKeyEntry::Remove { .. } => None,
        };
        state.put_dkim_key(self.name().clone(), row);
    }
}
