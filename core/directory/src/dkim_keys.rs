//! Operations on DKIM keys.
//!
//! A change holds the lock of the domains until it is applied: a domain is not removed under a key on its way, and reclaim does not write down
//! behind it what was before.

use std::collections::BTreeMap;

use store::{Lsn, Purpose};
use tenancy::encoding::Broken;

use crate::dkim_key::{DKIM_KEYS, DkimKeyEntry, DkimKeyRow, KeyName};
use crate::domains::DOMAINS_LOCK;
use crate::limits::{
    DKIM_KEYS_PER_DOMAIN_MAX, DKIM_RECORD_NAME_BYTES_MAX, DKIM_SELECTOR_BYTES_MAX, DOMAIN_ROWS,
};
use crate::record::Entry;
use crate::{Directory, DirectoryFault, DkimKey, DkimState, Inner};

impl Directory {
    /// Takes a key for its domain, which must be ours; both names in any spelling. `Exists`: the domain has a key with this selector.
    /// Durable when it answers.
    pub async fn add_dkim_key(&self, key: DkimKey) -> Result<DkimKey, DirectoryFault> {
        let selector = selector(&key.selector)?;
        let inner = &self.inner;
        let room = inner.tenancy.room_for(Purpose::Keep, false, DOMAIN_ROWS);
        room.await?;
        let _locked = inner.locks.lock(DOMAINS_LOCK.to_owned()).await;
        let domain = self.domain_of_ours(&key.domain)?;
        if domain.len() + selector.len() > DKIM_RECORD_NAME_BYTES_MAX {
            return Err(DirectoryFault::Refused(
                "the selector is too long for this domain: its DNS name would be over 253 octets",
            ));
        }
        let known = inner.dkim_keys_of(&domain).await?;
        if known.keys().any(|name| name.selector == selector) {
            return Err(DirectoryFault::Exists);
        }
        if known.len() >= DKIM_KEYS_PER_DOMAIN_MAX {
            return Err(DirectoryFault::TooMany(
                "DKIM keys in the domain: remove a retired one first",
            ));
        }
        let name = KeyName { domain, selector };
        let row = DkimKeyRow {
            algorithm: key.algorithm,
            state: key.state,
            made_unix_s: key.made_unix_s,
            written: Lsn(0),
            private: key.private,
        };
        inner.put_dkim_key(name.clone(), row.clone()).await?;
        Ok(row.into_key(name))
    }

    /// Has a key sign (`Active`), or no longer sign (`Retired`). Any number of keys may be active; the signer takes the newest of each algorithm.
    pub async fn set_dkim_key_state(
        &self,
        domain: &str,
        selector: &str,
        state: DkimState,
    ) -> Result<(), DirectoryFault> {
        let inner = &self.inner;
        let room = inner.tenancy.room_for(Purpose::Keep, false, DOMAIN_ROWS);
        room.await?;
        let _locked = inner.locks.lock(DOMAINS_LOCK.to_owned()).await;
        let (name, row) = self.our_dkim_key(domain, selector).await?;
        if row.state == state {
            return Ok(());
        }
        inner.put_dkim_key(name, DkimKeyRow { state, ..row }).await
    }

    /// Takes a key away for ever. Refused while it is active.
    pub async fn remove_dkim_key(
        &self,
        domain: &str,
        selector: &str,
    ) -> Result<(), DirectoryFault> {
        let attempt = async || {
            let inner = &self.inner;
            let _locked = inner.locks.lock(DOMAINS_LOCK.to_owned()).await;
            let (name, row) = self.our_dkim_key(domain, selector).await?;
            if row.state == DkimState::Active {
                return Err(DirectoryFault::Refused(
                    "the key signs: activate another one, then retire this one",
                ));
            }
            let remove = Entry::DkimKey(DkimKeyEntry::Remove { name });
            inner
                .commit(Purpose::Keep, vec![remove], Vec::new())
                .await?;
            Ok(())
        };
        self.inner.tenancy.deleting(DOMAIN_ROWS, attempt).await
    }

    /// The keys of a domain of ours, in the order of their selectors. No keys for a domain that is not ours.
    pub async fn dkim_keys(&self, domain: &str) -> Result<Vec<DkimKey>, DirectoryFault> {
        let Ok(domain) = self.domain_of_ours(domain) else {
            return Ok(Vec::new());
        };
        let keys = self.inner.dkim_keys_of(&domain).await?;
        let keys = keys.into_iter().map(|(name, row)| row.into_key(name));
        Ok(keys.collect())
    }

    /// The name under which the directory has it.
    fn domain_of_ours(&self, domain: &str) -> Result<String, DirectoryFault> {
        let state = self.inner.state.borrow();
        let found = state.domain(domain).map(|(domain, _)| domain);
        found.ok_or(DirectoryFault::Refused("no such domain"))
    }

    async fn our_dkim_key(
        &self,
        domain: &str,
        selector: &str,
    ) -> Result<(KeyName, DkimKeyRow), DirectoryFault> {
        let domain = self.domain_of_ours(domain)?;
        let selector = selector.to_ascii_lowercase();
        let mut keys = self.inner.dkim_keys_of(&domain).await?;
        let name = KeyName { domain, selector };
        let row = keys.remove(&name);
        let row = row.ok_or(DirectoryFault::Refused(
            "the domain has no key with this selector",
        ))?;
        Ok((name, row))
    }
}

impl Inner {
    async fn put_dkim_key(&self, name: KeyName, row: DkimKeyRow) -> Result<(), DirectoryFault> {
        let put = Entry::DkimKey(DkimKeyEntry::Put { name, row });
        self.commit(Purpose::Keep, vec![put], Vec::new()).await?;
        Ok(())
    }

    /// The keys of the domain that the directory has under this very name: the rows of the projection, and over them what changed since.
    pub(crate) async fn dkim_keys_of(
        &self,
        domain: &str,
    ) -> Result<BTreeMap<KeyName, DkimKeyRow>, DirectoryFault> {
        // Read first: a change that a checkpoint writes meanwhile is in both.
        let changed: Vec<(KeyName, Option<DkimKeyRow>)> = {
            let state = self.state.borrow();
            let changed = state.dkim_keys_changed(domain);
            changed
                .map(|(name, row)| (name.clone(), row.clone()))
                .collect()
        };
        let (from, to) = ([domain.as_bytes(), &[0]], [domain.as_bytes(), &[1]]);
        let rows_max = ROWS_READ_MAX;
        let rows = self
            .store
            .range(DKIM_KEYS, from.concat(), to.concat(), rows_max);
        let mut keys = BTreeMap::new();
        for (key, row) in rows.await? {
            let row = DkimKeyRow::decode(&mut base::cursor::Reader::new(&row))?;
            keys.insert(KeyName::of_row_key(&key)?, row);
        }
        for (name, row) in changed {
            match row {
                Some(row) => _ = keys.insert(name, row),
                None => _ = keys.remove(&name),
            }
        }
        Ok(keys)
    }

    /// The key, in memory or in the projection.
    pub(crate) async fn dkim_key_row(
        &self,
        name: &KeyName,
    ) -> Result<Option<DkimKeyRow>, DirectoryFault> {
        if let Some(known) = self.state.borrow().dkim_key_changed(name) {
            return Ok(known.clone());
        }
        let row = self.store.get(DKIM_KEYS, name.row_key()).await?;
        let row = row.map(|row| DkimKeyRow::decode(&mut base::cursor::Reader::new(&row)));
        Ok(row.transpose().map_err(|Broken| Broken)?)
    }
}

/// RFC 6376 §3.1: labels with dots between them, in lower case.
fn selector(given: &str) -> Result<String, DirectoryFault> {
    let is_label = |label: &str| {
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty()
            && label.bytes().all(inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if given.len() > DKIM_SELECTOR_BYTES_MAX || !given.split('.').all(is_label) {
        return Err(DirectoryFault::Refused(
            "a selector has letters, digits, hyphens and dots, at most 63 characters",
        ));
    }
    Ok(given.to_ascii_lowercase())
}

/// The rows of one domain, and as many more as would show that its bound was passed.
const ROWS_READ_MAX: usize = 2 * DKIM_KEYS_PER_DOMAIN_MAX;
