//! The directory as a tenant of the log: which records and tables are its own, what the tenancy asks, and what reclaim would lose.

use std::collections::{BTreeMap, BTreeSet};

use store::{BodyRef, Change, LocalFuture, Lsn, Purpose, Record, Replayed, StoreFault};
use tenancy::{Reading, Share, Tenant};
use volume::SegmentIndex;

use crate::account::AccountEntry;
use crate::accounts::account_lock;
use crate::dkim_key::{DkimKeyEntry, KeyName};
use crate::domain::DomainEntry;
use crate::domains::DOMAINS_LOCK;
use crate::record::{Entry, name_lock};
use crate::{AccountId, DirectoryFault, Inner, store_fault};

/// Records 1–31 and tables 1–31.
pub fn share() -> Share {
    Share {
        name: "directory",
        kinds: 1..=31,
        tables: 1..=31,
    }
}

impl Tenant for Inner {
    fn share(&self) -> Share {
        share()
    }

    fn load(&self) -> LocalFuture<'_, Result<(), StoreFault>> {
        Box::pin(async move { self.load_small_tables().await.map_err(store_fault) })
    }

    fn read_ahead(
        &self,
        groups: Vec<Replayed>,
        reading: Reading,
    ) -> LocalFuture<'_, Result<(), StoreFault>> {
        Box::pin(async move { self.decode(groups, reading).await.map_err(store_fault) })
    }

    fn apply_until(&self, lsn: Lsn, reading: Reading) -> LocalFuture<'_, Result<(), StoreFault>> {
        Box::pin(async move { self.apply_ahead(lsn, reading).await.map_err(store_fault) })
    }

    fn replayed(
        &self,
        _reading: Reading,
        _writable: bool,
    ) -> LocalFuture<'_, Result<(), StoreFault>> {
        self.state.borrow_mut().drop_orphans();
        self.changed();
        Box::pin(async { Ok(()) })
    }

    fn collect(&self, changes: &mut Vec<Change>) {
        let mut collected = self.state.borrow_mut().collect();
        changes.append(&mut collected.changes);
        self.collected.set(Some(collected));
    }

    fn settle(&self) {
        if let Some(collected) = self.collected.take() {
            self.state.borrow_mut().settle(&collected);
        }
    }

    fn is_dirty(&self) -> bool {
        self.state.borrow().is_dirty()
    }

    fn is_behind(&self, part: usize) -> bool {
        self.state.borrow().is_behind(part)
    }

    fn dirty_rows(&self) -> u64 {
        self.state.borrow().dirty_rows()
    }
}

/// The directory keeps no bodies.
impl store::Tenant for Inner {
    fn live_bodies<'a>(
        &'a self,
        _segments: &'a [SegmentIndex],
    ) -> LocalFuture<'a, Result<Vec<BodyRef>, StoreFault>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn moved<'a>(
        &'a self,
        _pairs: Vec<(BodyRef, BodyRef)>,
    ) -> LocalFuture<'a, Result<(), StoreFault>> {
        Box::pin(async { Ok(()) })
    }

    fn moved_bytes(&self, _bodies: &[&BodyRef]) -> u64 {
        0
    }

    fn carried_bytes<'a>(
        &'a self,
        records: &'a [(Lsn, Record)],
    ) -> LocalFuture<'a, Result<u64, StoreFault>> {
        Box::pin(async move { self.weigh(records).await.map_err(store_fault) })
    }

    fn carry_forward<'a>(
        &'a self,
        records: Vec<(Lsn, Record)>,
    ) -> LocalFuture<'a, Result<(), StoreFault>> {
        Box::pin(async move { self.carry(records).await.map_err(store_fault) })
    }
}

impl Inner {
    /// Bytes that `carry` would append for `records`, at most.
    async fn weigh(&self, records: &[(Lsn, Record)]) -> Result<u64, DirectoryFault> {
        let said = Said::in_records(records)?;
        let small = said.domains.len() + said.removed.len();
        let mut bytes = small * CARRIED_BYTES;
        {
            let state = self.state.borrow();
            let each = said.named.values().map(|entry| entry.carried(&state));
            bytes += each
                .map(|entry| entry.encode().payload.len() + CARRIED_BYTES)
                .sum::<usize>();
        }
        for (account, lsn) in &said.accounts {
            if let Some(snapshot) = self.snapshot(*account, *lsn).await? {
                bytes += snapshot.encode().payload.len() + CARRIED_BYTES;
            }
        }
        for (name, lsn) in &said.dkim_keys {
            if let Some(entry) = self.dkim_key_carried(name, *lsn).await? {
                bytes += entry.encode().payload.len() + CARRIED_BYTES;
            }
        }
        Ok(bytes as u64)
    }

    /// Writes again what would be lost with `records`. What a later snapshot covers is lost without harm.
    async fn carry(&self, records: Vec<(Lsn, Record)>) -> Result<(), DirectoryFault> {
        let said = Said::in_records(&records)?;
        drop(records);
        let gone = said
            .removed
            .iter()
            .map(|account| Entry::Account(AccountEntry::Remove { account: *account }));
        let gone: Vec<Entry> = gone.collect();
        for some in gone.chunks(CARRIED_AT_ONCE) {
            self.commit(Purpose::Reclaim, some.to_vec(), Vec::new())
                .await?;
        }
        for domain in said.domains {
            // A change of it that is on its way would be undone by what is visible before it.
            let _locked = self.locks.lock(DOMAINS_LOCK.to_owned()).await;
            let present = {
                let state = self.state.borrow();
                state
                    .domains
                    .get(&domain)
                    .is_some_and(|entry| entry.present)
            };
            let entry = if present {
                DomainEntry::Put { domain }
            } else {
                DomainEntry::Remove { domain }
            };
            let entries = vec![Entry::Domain(entry)];
            self.commit(Purpose::Reclaim, entries, Vec::new()).await?;
        }
        for (name, lsn) in said.dkim_keys {
            let _locked = self.locks.lock(DOMAINS_LOCK.to_owned()).await;
            if let Some(entry) = self.dkim_key_carried(&name, lsn).await? {
                self.commit(Purpose::Reclaim, vec![entry], Vec::new())
                    .await?;
            }
        }
        for ((_, name), entry) in said.named {
            // As for a domain.
            let _locked = self.locks.lock(name_lock(&name)).await;
            let present = entry.carried(&self.state.borrow());
            self.commit(Purpose::Reclaim, vec![present], Vec::new())
                .await?;
        }
        for (account, lsn) in said.accounts {
            // Every change of the row takes this lock until it is applied: what is read here is the row at this place of the log.
            let _locked = self.locks.lock(account_lock(account)).await;
            if let Some(snapshot) = self.snapshot(account, lsn).await? {
                self.commit(Purpose::Reclaim, vec![snapshot], Vec::new())
                    .await?;
            }
        }
        Ok(())
    }

    /// The key as a record, unless one after `lsn` says what it is. That it is gone, nothing else says: this is kept for ever.
    async fn dkim_key_carried(
        &self,
        name: &KeyName,
        lsn: Lsn,
    ) -> Result<Option<Entry>, DirectoryFault> {
        let name = name.clone();
        let entry = match self.dkim_key_row(&name).await? {
            Some(row) if row.written > lsn => return Ok(None),
            Some(row) => DkimKeyEntry::Put { name, row },
            None => DkimKeyEntry::Remove { name },
        };
        Ok(Some(Entry::DkimKey(entry)))
    }

    /// The account as a record, unless a snapshot after `lsn` exists or the account does not.
    async fn snapshot(
        &self,
        account: AccountId,
        lsn: Lsn,
    ) -> Result<Option<Entry>, DirectoryFault> {
        let _pin = self.hold(account).await?;
        let state = self.state.borrow();
        let row = state.accounts.get(&account).and_then(|entry| entry.live());
        let row = row.filter(|row| row.snapshot <= lsn).cloned();
        Ok(row.map(|row| Entry::Account(AccountEntry::Snapshot { account, row })))
    }
}

/// What records are about, accounts and keys with the latest of them.
#[derive(Default)]
struct Said {
    /// Domains that records name.
    domains: BTreeSet<String>,
    /// Nothing else says that the account is gone, so this is kept for ever.
    removed: BTreeSet<AccountId>,
    /// Accounts that records name, with the newest of them.
    accounts: BTreeMap<AccountId, Lsn>,
    /// DKIM keys that records name, with the newest record of each.
    dkim_keys: BTreeMap<KeyName, Lsn>,
    /// Of the nouns of `whole.rs`, by noun and name.
    named: BTreeMap<(&'static str, String), Entry>,
}

impl Said {
    /// Reads the records of a segment that is to be freed.
    fn in_records(records: &[(Lsn, Record)]) -> Result<Said, DirectoryFault> {
        let mut said = Said::default();
        for (lsn, record) in records {
            let entry = Entry::decode(record)?;
            if let Some(named) = entry.named() {
                said.named.insert(named, entry);
                continue;
            }
            match entry {
                Entry::Domain(entry) => _ = said.domains.insert(entry.domain().to_owned()),
                Entry::DkimKey(entry) => {
                    let name = entry.name().clone();
                    let latest = said.dkim_keys.entry(name).or_insert(*lsn);
                    *latest = (*lsn).max(*latest);
                }
                Entry::Account(AccountEntry::Remove { account }) => {
                    said.removed.insert(account);
                }
                Entry::Account(entry) => {
                    let latest = said.accounts.entry(entry.account()).or_insert(*lsn);
                    *latest = (*lsn).max(*latest);
                }
                _ => unreachable!("it has a name"),
            }
        }
        Ok(said)
    }
}

/// A record of a domain or of a removal, and the frame around a snapshot.
const CARRIED_BYTES: usize = 512;
/// Removals in one group.
const CARRIED_AT_ONCE: usize = 256;
