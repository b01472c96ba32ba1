//! Operations on domains.

use mail::{Address, spelling};
use store::Purpose;

use crate::dkim_key::DkimKeyEntry;
use crate::domain::DomainEntry;
use crate::limits::{DKIM_KEYS_PER_DOMAIN_MAX, DOMAIN_ROWS, DOMAINS_MAX};
use crate::load::Pin;
use crate::record::Entry;
use crate::{Directory, DirectoryFault};

impl Directory {
    /// `Exists` when it is ours already, in any spelling. The name is kept in lower case and composed (NFC), in letters or in ASCII as it was
    /// given.
    pub async fn add_domain(&self, domain: &str) -> Result<(), DirectoryFault> {
        let domain = spelling::composed(&domain.to_lowercase()).into_owned();
        if Address::from_parts("postmaster", &domain).is_none() || domain.contains('@') {
            return Err(DirectoryFault::Refused("that is not a domain name"));
        }
        let inner = &self.inner;
        let room = inner.tenancy.room_for(Purpose::Keep, false, DOMAIN_ROWS);
        room.await?;
        let _locked = inner.locks.lock(DOMAINS_LOCK.to_owned()).await;
        {
            let state = inner.state.borrow();
            if state.domain(&domain).is_some() {
                return Err(DirectoryFault::Exists);
            }
            if state.domains.len() >= DOMAINS_MAX {
                return Err(DirectoryFault::TooMany("domains"));
            }
        }
        let put = Entry::Domain(DomainEntry::Put { domain });
        inner.commit(Purpose::Keep, vec![put], Vec::new()).await?;
        Ok(())
    }

    /// Refused while accounts, aliases or groups remain in it. Its DKIM keys go with it, in the same group.
    pub async fn remove_domain(&self, domain: &str) -> Result<(), DirectoryFault> {
        let attempt = async || self.try_remove_domain(domain).await;
        let rows = DOMAIN_ROWS * (1 + DKIM_KEYS_PER_DOMAIN_MAX as u64);
        self.inner.tenancy.deleting(rows, attempt).await
    }

    async fn try_remove_domain(&self, domain: &str) -> Result<(), DirectoryFault> {
        let inner = &self.inner;
        let _locked = inner.locks.lock(DOMAINS_LOCK.to_owned()).await;
        let (domain, pin) = {
            let state = inner.state.borrow();
            let found = state.domain(domain);
            let (domain, entry) = found.ok_or(DirectoryFault::Refused("no such domain"))?;
            if entry.accounts > 0 || entry.arriving.get() > 0 {
                return Err(DirectoryFault::Refused("accounts remain in the domain"));
            }
            if state.is_listed_in(&domain) {
                let why = "aliases or groups remain in the domain";
                return Err(DirectoryFault::Refused(why));
            }
            let mut pin = Pin::of(&entry.arriving);
            pin.close(&entry.closing);
            (domain, pin)
        };
        let keys = inner.dkim_keys_of(&domain).await?;
        let keys = keys.into_keys().map(|name| DkimKeyEntry::Remove { name });
        let mut gone: Vec<Entry> = keys.map(Entry::DkimKey).collect();
        gone.push(Entry::Domain(DomainEntry::Remove { domain }));
        inner.commit(Purpose::Keep, gone, vec![pin]).await?;
        Ok(())
    }

    /// Whether this volume has mail for `domain`, in any of its spellings.
    pub fn has_domain(&self, domain: &str) -> bool {
        self.inner.state.borrow().domain(domain).is_some()
    }

    /// All domains this volume has mail for, in order.
    pub fn domains(&self) -> Vec<String> {
        let state = self.inner.state.borrow();
        let present = state.domains.iter().filter(|(_, domain)| domain.present);
        present.map(|(name, _)| name.clone()).collect()
    }
}

/// Held from the look at a domain, or at a DKIM key of it, to the durable change of it.
pub(crate) const DOMAINS_LOCK: &str = "domains";
