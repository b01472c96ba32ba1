//! Operations on grants and allowances: who may send under the address of an alias or a group, and how much.

use mail::Address;
use store::Purpose;

use crate::aliases::check_count;
use crate::allowance::Allowance;
use crate::grant::Grant;
use crate::limits::{GRANTS_EACH_MAX, GRANTS_MAX, TIMES_MAX};
use crate::record::{Entry, name_lock};
use crate::whole::Named;
use crate::{AccountId, Directory, DirectoryFault};

impl Directory {
    /// The account may send under this address (`true`), or not any more. `Refused`: the address is neither an alias nor a group, or
    /// there is no such grant.
    pub async fn grant(
        &self,
        address: &Address,
        account: AccountId,
        granted: bool,
    ) -> Result<(), DirectoryFault> {
        let listed = self.normal_name(&address.to_string())?;
        let name = grant_name(&listed, account);
        let attempt = async || {
            let inner = &self.inner;
            let _locked = inner.locks.lock(name_lock(&listed)).await;
            // Grants of accounts that were removed are not looked for until they are in the way: removing an account would otherwise have to know all
            // addresses that it could send under.
            let dead = match granted {
                true => self.dead_grants(&listed).await?,
                false => Vec::new(),
            };
            {
                let state = inner.state.borrow();
                let is_there = state.grants.get(&name).is_some();
                let all = state.grants.starting(format!("{listed}\0")).count() - dead.len();
                if granted && !is_there && all >= GRANTS_EACH_MAX {
                    return Err(DirectoryFault::TooMany("grants for one address"));
                }
                // With some dead ones taken out in the same commit there is room in any case.
                if dead.is_empty() {
                    check_count::<Grant>(&state, &name)?;
                }
                let is_listed =
                    state.aliases.get(&listed).is_some() || state.groups.get(&listed).is_some();
                match (granted, is_there, is_listed) {
                    (false, false, _) => return Err(DirectoryFault::Refused("no such grant")),
                    (true, _, false) => {
                        let why = "a grant is for the address of an alias or a group";
                        return Err(DirectoryFault::Refused(why));
                    }
                    // It is so already: no record.
                    (true, true, _) => return Ok(()),
                    _ => {}
                }
            }
            let name = name.clone();
            let entry = match granted {
                true => Named::Put {
                    name,
                    row: Grant { account },
                },
                false => Named::Remove { name },
            };
            let purpose = match granted {
                true => Purpose::Keep,
                false => Purpose::Delete,
            };
            let dead = dead.into_iter().map(|name| Named::Remove { name });
            let mut entries: Vec<Entry> = dead.map(Entry::Grant).collect();
            entries.push(Entry::Grant(entry));
            inner.commit(purpose, entries, Vec::new()).await?;
            Ok(())
        };
        let rows = 1 + GRANTS_EACH_MAX as u64;
        self.inner.tenancy.deleting(rows, attempt).await
    }

    /// Grants for the address of accounts that are gone: none as long as there is room beside them.
    async fn dead_grants(&self, listed: &str) -> Result<Vec<String>, DirectoryFault> {
        let all: Vec<(String, AccountId)> = {
            let state = self.inner.state.borrow();
            let all = state.grants.starting(format!("{listed}\0"));
            let all: Vec<_> = all
                .map(|(name, grant)| (name.clone(), grant.account))
                .collect();
            if all.len() < GRANTS_EACH_MAX && state.grants.count() < GRANTS_MAX {
                return Ok(Vec::new());
            }
            all
        };
        let mut dead = Vec::new();
        for (name, account) in all {
            if self.account_by_id(account).await?.is_none() {
                dead.push(name);
            }
        }
        Ok(dead)
    }

    /// The account may send `times` as much as others, from its next login on; 1 is what all others may.
    pub async fn set_allowance(
        &self,
        account: AccountId,
        times: u32,
    ) -> Result<(), DirectoryFault> {
        if !(1..=TIMES_MAX).contains(&times) {
            return Err(DirectoryFault::Refused(
                "an allowance is 1 to 10000 times the usual limits",
            ));
        }
        if self.account_by_id(account).await?.is_none() {
            return Err(DirectoryFault::NoAccount);
        }
        let name = account.0.to_string();
        let attempt = async || {
            let inner = &self.inner;
            let _locked = inner.locks.lock(name_lock(&name)).await;
            let is_there = {
                let state = inner.state.borrow();
                check_count::<Allowance>(&state, &name)?;
                state.allowances.get(&name).is_some()
            };
            let name = name.clone();
            let entry = match times {
                // 1 is what everybody has, and has no row.
                1 if !is_there => return Ok(()),
                1 => Named::Remove { name },
                times => Named::Put {
                    name,
                    row: Allowance { times },
                },
            };
            let entries = vec![Entry::Allowance(entry)];
            inner.commit(Purpose::Keep, entries, Vec::new()).await?;
            Ok(())
        };
        self.inner.tenancy.deleting(1, attempt).await
    }

    /// How many times as much as others the account may send.
    pub fn allowance(&self, account: AccountId) -> u32 {
        let state = self.inner.state.borrow();
        let allowance = state.allowances.get(&account.0.to_string());
        allowance.map_or(1, |allowance| allowance.times)
    }

    /// The accounts that may send under this address, some of which may be gone.
    pub fn grants(&self, address: &Address) -> Vec<AccountId> {
        let Ok(listed) = self.normal_name(&address.to_string()) else {
            return Vec::new();
        };
        let state = self.inner.state.borrow();
        let grants = state.grants.starting(format!("{listed}\0"));
        grants.map(|(_, grant)| grant.account).collect()
    }
}

/// The NUL cannot be in an address, so that all grants of one address are neighbours and those of no other are among them.
fn grant_name(listed: &str, account: AccountId) -> String {
    format!("{listed}\0{}", account.0)
}
