//! Rows come in on demand, and an account that is worked on stays in memory until that is done (`Pin`).
//!
//! At most one task at a time loads one account; others wait for it. What is being loaded is not in memory yet, so nothing can
//! change under the reader.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use store::{StoreFault, Table};
use tenancy::Reading;
use tenancy::encoding::Broken;

use crate::account::{ACCOUNTS, account_key};
use crate::alias::Alias;
use crate::allowance::Allowance;
use crate::domain::DOMAINS;
use crate::fetch::Fetch;
use crate::grant::Grant;
use crate::group::{Group, Member};
use crate::kept_policy::KeptPolicy;
use crate::key::Key;
use crate::limits::{DOMAINS_MAX, ROWS_PER_READ};
use crate::mark::Mark;
use crate::record::Entry;
use crate::route::Route;
use crate::state::{COUNTERS, Held};
use crate::{AccountId, DirectoryFault, Inner};

/// Keeps an account in memory, or a domain from being removed, until it is dropped.
pub struct Pin {
    count: Rc<Cell<u32>>,
    /// A removal that is under way until then.
    closing: Option<Rc<Cell<bool>>>,
}

impl Pin {
    /// Counts one more pin on `count`.
    pub(crate) fn of(count: &Rc<Cell<u32>>) -> Pin {
        count.set(count.get() + 1);
        Pin {
            count: count.clone(),
            closing: None,
        }
    }

    /// Nothing new may come in while this pin is held.
    pub(crate) fn close(&mut self, closing: &Rc<Cell<bool>>) {
        assert!(!closing.replace(true), "one removal at a time");
        self.closing = Some(closing.clone());
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.count.set(self.count.get() - 1);
        if let Some(closing) = &self.closing {
            closing.set(false);
        }
    }
}

impl Inner {
    /// The account's entry, which may say that there is no such account.
    pub(crate) async fn hold(&self, account: AccountId) -> Result<Pin, DirectoryFault> {
        loop {
            let wait = {
                let mut state = self.state.borrow_mut();
                if let Some(entry) = state.account_used(account) {
                    let pin = Pin::of(&entry.pins);
                    state.evict();
                    return Ok(pin);
                }
                let first = self.loading.borrow_mut().insert(account);
                (!first).then(|| self.loaded.wait())
            };
            match wait {
                Some(wait) => wait.await,
                None => {
                    let _loading = Loading {
                        inner: self,
                        account,
                    };
                    let row = self.store.get(ACCOUNTS, account_key(account)).await?;
                    let mut state = self.state.borrow_mut();
                    // A creation may have been applied meanwhile; it knows better.
                    if !state.accounts.contains_key(&account) {
                        state.install_account(account, row.as_deref())?;
                    }
                }
            }
        }
    }

    /// Counters, domains and the tables of `whole.rs`.
    pub(crate) async fn load_small_tables(&self) -> Result<(), DirectoryFault> {
        if let Some(counters) = self.store.get(COUNTERS, Vec::new()).await? {
            self.state.borrow_mut().install_counters(&counters)?;
        }
        let mut count = 0;
        let mut from = Vec::new();
        loop {
            // until the table ends
            let rows = self
                .store
                .range(DOMAINS, from, vec![0xff; 9], ROWS_PER_READ);
            let rows = rows.await?;
            count += rows.len();
            if count > 2 * DOMAINS_MAX {
                return Err(too_many(DOMAINS));
            }
            for (name, row) in &rows {
                self.state.borrow_mut().install_domain(name, row)?;
            }
            match rows.last() {
                Some((last, _)) if rows.len() == ROWS_PER_READ => {
                    from = [last.as_slice(), &[0]].concat()
                }
                _ => break,
            }
        }
        self.load_whole::<Alias>().await?;
        self.load_whole::<Group>().await?;
        self.load_whole::<Member>().await?;
        self.load_whole::<Route>().await?;
        self.load_whole::<Grant>().await?;
        self.load_whole::<Key>().await?;
        self.load_whole::<Allowance>().await?;
        self.load_whole::<KeptPolicy>().await?;
        self.load_whole::<Mark>().await?;
        self.load_whole::<Fetch>().await
    }

    /// Every row of one noun's table.
    async fn load_whole<N: Held>(&self) -> Result<(), DirectoryFault> {
        let mut from = Vec::new();
        loop {
            // until the table ends
            let rows = self
                .store
                .range(N::TABLE, from, vec![0xff; 9], ROWS_PER_READ);
            let rows = rows.await?;
            let mut state = self.state.borrow_mut();
            let table = N::rows_mut(&mut state);
            for (name, row) in &rows {
                table.install(name, row)?;
            }
            // Changes at a time each saw room, and a rebuild has members of groups that are gone.
            if table.count() > 2 * N::ROWS_MAX {
                return Err(too_many(N::TABLE));
            }
            match rows.last() {
                Some((last, _)) if rows.len() == ROWS_PER_READ => {
                    from = [last.as_slice(), &[0]].concat()
                }
                _ => return Ok(()),
            }
        }
    }

    /// Takes groups to be applied. Their accounts are loaded together, unless others look at the memory meanwhile: then each is
    /// loaded when it is applied.
    pub(crate) async fn decode(
        &self,
        groups: Vec<store::Replayed>,
        reading: Reading,
    ) -> Result<(), DirectoryFault> {
        let mut ahead = Vec::with_capacity(groups.len());
        for group in groups {
            let entries: Result<Vec<Entry>, Broken> =
                group.records.iter().map(Entry::decode).collect();
            ahead.push((group.lsn, entries?));
        }
        if reading == Reading::Alone {
            let entries = ahead.iter().flat_map(|(_, entries)| entries);
            self.load(entries.filter_map(Entry::account).collect())
                .await?;
        }
        self.ahead.borrow_mut().extend(ahead);
        Ok(())
    }

    async fn load(&self, mut accounts: BTreeSet<AccountId>) -> Result<(), DirectoryFault> {
        {
            let state = self.state.borrow();
            accounts.retain(|account| !state.accounts.contains_key(account));
        }
        if accounts.is_empty() {
            return Ok(());
        }
        let keys = accounts
            .iter()
            .map(|account| account_key(*account))
            .collect();
        let rows = self.store.get_many(ACCOUNTS, keys).await?;
        let mut state = self.state.borrow_mut();
        for (account, row) in accounts.into_iter().zip(rows) {
            state.install_account(account, row.as_deref())?;
        }
        Ok(())
    }

    /// Applies what was read, up to the batch `until`.
    pub(crate) async fn apply_ahead(
        &self,
        until: store::Lsn,
        reading: Reading,
    ) -> Result<(), DirectoryFault> {
        let next = || {
            let mut ahead = self.ahead.borrow_mut();
            let is_due = ahead.front().is_some_and(|(lsn, _)| *lsn <= until);
            if is_due { ahead.pop_front() } else { None }
        };
        while let Some((lsn, entries)) = next() {
            for entry in &entries {
                let _pin = match entry.account() {
                    Some(account) => Some(self.hold(account).await?),
                    None => None,
                };
                self.state.borrow_mut().apply(lsn, entry);
            }
            if reading == Reading::Alone {
                self.state.borrow_mut().evict();
            }
        }
        Ok(())
    }
}

/// A projection with twice the rows that `limits.rs` allows was not written by this release.
fn too_many(table: Table) -> DirectoryFault {
    let why = format!("table {} holds more rows than it may", table.0);
    DirectoryFault::Store(StoreFault::Deferred(why))
}

/// An account that is being read from the projection: others that want it wait. Its end, by success, error or drop, wakes them.
struct Loading<'a> {
    inner: &'a Inner,
    account: AccountId,
}
impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.inner.loading.borrow_mut().remove(&self.account);
        self.inner.loaded.ring();
    }
}
